/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The threads that run the guest's CPUs. */
#pragma once

#include "vm.h"

enum { KICK_SIGNAL = 34 }; /* the first that the C library leaves to programs */

/* Once, before the first thread: what makes a vCPU leave the guest. */
bool vcpu_init(void);
/* false with errno. */
bool vcpu_start(struct vcpu *vcpu);
/* Now if it runs, and at each start. false with errno: the host does not let it. */
bool vcpu_pin(struct vcpu *vcpu, const cpu_set_t *affinity);
/* Makes it look whether it is to be held. */
void vcpu_kick(struct vcpu *vcpu);
void vcpu_join(struct vcpu *vcpu);
/* Of the vCPU whose thread this is, as the guest itself says: the VM crashes, with its registers. */
void vcpu_crash(struct vm *vm, const char *what);
