/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engine cannot do without, and old kernels lack. */
#pragma once

#include "failure.h"

/* KVM's answer to whether it has a capability: more than 0 if so. */
typedef int (*capability_asker)(int kvm, int capability);
int capability_ask(int kvm, int capability);

/* false: the failure names the first that is missing. */
bool capability_check(int kvm, capability_asker ask, struct failure *failure);
