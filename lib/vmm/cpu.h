/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state in which a vCPU begins: its registers, by the mode in which the guest is entered. */
#pragma once

#include "vm.h"

/* Tables that the modes need lie in the guest's memory below 64 KiB. */
bool cpu_set_entry(struct vcpu *vcpu, const struct entry *entry, struct failure *failure);
