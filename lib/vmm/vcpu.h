/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The threads that run the guest's CPUs. */
#pragma once

#include "vm.h"

enum { KICK_SIGNAL = 34 }; /* the first that the C library leaves to programs */

/* Once, before the first thread: what makes a vCPU leave the guest. */
bool vcpu_init(void);
bool vcpu_start(struct vcpu *vcpu);
/* Makes it look whether it is to be held. */
void vcpu_kick(struct vcpu *vcpu);
void vcpu_join(struct vcpu *vcpu);
