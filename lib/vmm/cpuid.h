/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a vCPU says of itself: what KVM offers of the host's CPU, and its place in this machine. */
#pragma once

#include "vm.h"

/* vCPUs are numbered by threads of a core, then cores of a socket. An APIC id has a field of bits for each. */
unsigned cpuid_apic_id(const struct topology *topology, unsigned index);

enum { CPUID_ENTRIES = 256 };

/* Makes what is true of the host's CPUs true of this one. `cpuid` has room for CPUID_ENTRIES. */
void cpuid_adapt(struct kvm_cpuid2 *cpuid, const struct topology *topology, unsigned index, bool has_deadline_timer);

/*
 * What KVM offers, by whoever has asked it already: that is slow where a hypervisor beneath answers for each leaf.
 * false: it is none. Else KVM is asked once.
 */
bool cpuid_take(const void *data, size_t length);

bool cpuid_set(struct vcpu *vcpu, struct failure *failure);
