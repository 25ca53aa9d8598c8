/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The balloon: memory that the guest gives back to the host, for as long as it is asked to. */
#pragma once

#include "../vm.h"

bool balloon_plug(struct vm *vm, struct failure *failure);
/* The guest is asked to make do with this many bytes of its memory; it may take its time. */
void balloon_aim(uint64_t size);
