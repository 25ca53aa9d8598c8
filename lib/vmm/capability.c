/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asks KVM before a machine is made. What is missing would show itself late and oddly, as a guest that never wakes.
 */
#include "capability.h"
#include <linux/kvm.h>
#include <sys/ioctl.h>

static const struct {
    int         number;
    const char *name, *use;
} needed[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "to give a guest its memory"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "to tell a guest what its CPU is"},
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", "to interrupt a guest"},
    {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI", "to let devices interrupt a guest"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "to pause a guest"},
};

int capability_ask(int kvm, int capability)
{
    return ioctl(kvm, KVM_CHECK_EXTENSION, (unsigned long)capability);
}

bool capability_check(int kvm, capability_asker ask, struct failure *failure)
{
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (ask(kvm, needed[i].number) <= 0)
            return fail(failure, WIRE_UNSUPPORTED, NULL,
                        "the KVM of this host's kernel lacks %s, which it takes %s; Linux 4.12 has it",
                        needed[i].name, needed[i].use);
    }
    return true;
}
