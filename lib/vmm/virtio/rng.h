/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A source of random numbers, which are the host's. */
#pragma once

#include "../vm.h"

bool rng_plug(struct vm *vm, struct failure *failure);
