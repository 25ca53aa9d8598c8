/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A host whose KVM is too old, or fails: it is said what is missing, and no guest goes on without its interrupts. */
#include "capability.h"
#include "unit.h"
#include "vm.h"
#include <fcntl.h>

static int            missing;
static struct failure failure;

static int ask(G_GNUC_UNUSED int kvm, int capability)
{
    return capability != missing;
}

START_TEST(what_is_missing_is_named)
{
    static const struct {
        int         number;
        const char *name;
    } rows[] = {{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
                {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
                {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
                {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
                {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"}};

    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        missing = rows[i].number;
        ck_assert(!capability_check(-1, ask, &failure));
        ck_assert_int_eq(failure.code, WIRE_UNSUPPORTED);
        ck_assert_msg(strstr(failure.message, rows[i].name) != NULL, "%s", failure.message);
    }
    missing = -1;
    ck_assert(capability_check(-1, ask, &failure));
}
END_TEST

/* What answers to none of KVM's requests. */
START_TEST(a_kvm_that_answers_nothing_has_nothing)
{
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    ck_assert(!capability_check(null, capability_ask, &failure));
    ck_assert_ptr_nonnull(strstr(failure.message, "KVM_CAP_USER_MEMORY"));
    close(null);
}
END_TEST

START_TEST(interrupts_that_kvm_refuses_end_the_vm)
{
    static struct vm vm;

    for (guint i = 0; i < 2; i++) {
        ck_assert(vm_init(&vm, -1));
        /* Before there is a machine, nobody waits for any. */
        ck_assert(!vm_message_interrupt(&vm, 0xfee00000, 0x30));
        ck_assert_int_eq(vm.wish, VM_NOTHING);
        vm.descriptor = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (i == 0)
            ck_assert(!vm_message_interrupt(&vm, 0xfee00000, 0x30));
        else
            vm_interrupt(&vm, 4);
        ck_assert_int_eq(vm.wish, VM_CRASH);
        ck_assert_msg(strstr(vm.wish_reason, "interrupt") && strstr(vm.wish_reason, g_strerror(ENOTTY)), "%s",
                      vm.wish_reason);
        close(vm.descriptor);
    }
}
END_TEST

UNIT_RUN("capability", what_is_missing_is_named, a_kvm_that_answers_nothing_has_nothing,
         interrupts_that_kvm_refuses_end_the_vm)
