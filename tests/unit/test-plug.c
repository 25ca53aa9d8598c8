/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices that come to a running machine's bus, and go when the guest lets go of them or at once. */
#include "device/power.h"
#include "disk.h"
#include "unit.h"
#include "virtio/blk.h"
#include <fcntl.h>
#include <linux/pci_regs.h>

START_TEST(what_is_plugged_in_later_is_told_once)
{
    make_machine();
    plug_disk(false);
    ck_assert_uint_eq(load(&vm.ports, POWER_PORT + POWER_EVENT, 1), 0);
    pci_power_on();
    plug_disk(false);
    ck_assert_uint_eq(load(&vm.ports, POWER_PORT + POWER_EVENT, 1), POWER_EVENT_PCI);
    ck_assert_uint_eq(load(&vm.ports, POWER_PORT + POWER_PCI_IN, 4), 1 << 2);
    ck_assert_uint_eq(load(&vm.ports, POWER_PORT + POWER_EVENT, 1), 0);
    ck_assert_uint_eq(load(&vm.ports, POWER_PORT + POWER_PCI_IN, 4), 0);
    ck_assert(disk_answers_at(load(&vm.mmio, config(2, PCI_BASE_ADDRESS_0), 4)));
    pci_power_off();
}
END_TEST

static bool is_there(unsigned slot)
{
    return load(&vm.mmio, config(slot, PCI_VENDOR_ID), 2) == 0x1af4;
}

static void unplug(const char *name, bool at_once)
{
    struct failure failure = {0};

    ck_assert_msg(pci_unplug(name, at_once, &failure), "%s", failure.message);
}

/* What the control thread does. */
static unsigned destroy_ejected(void)
{
    struct pci_function *function;
    unsigned             count = 0;

    for (; (function = pci_take_ejected()); count++)
        function->kind->destroy(function);
    return count;
}

START_TEST(what_the_guest_lets_go_of_is_gone)
{
    char names[256];

    make_machine();
    plug_disk(false);
    plug_disk(false);
    pci_power_on();
    drive_pci(1);
    start_disk();
    ck_assert(is_there(1) && is_there(2));
    /* It was not asked to. */
    store(&vm.ports, POWER_PORT + POWER_PCI_OUT, 4, UINT32_MAX);
    ck_assert(is_there(1) && is_there(2));
    unplug("disk.0", false);
    ck_assert(is_there(1));
    ck_assert_uint_eq(load(&vm.ports, POWER_PORT + POWER_EVENT, 1), POWER_EVENT_PCI);
    ck_assert_uint_eq(load(&vm.ports, POWER_PORT + POWER_PCI_IN, 4), 0);
    ck_assert_uint_eq(load(&vm.ports, POWER_PORT + POWER_PCI_OUT, 4), 1 << 1);
    ck_assert_uint_eq(load(&vm.ports, POWER_PORT + POWER_PCI_OUT, 4), 0);
    /* Half a register is none. */
    store(&vm.ports, POWER_PORT + POWER_PCI_OUT, 2, UINT16_MAX);
    store(&vm.ports, POWER_PORT + POWER_PCI_IN, 4, UINT32_MAX);
    ck_assert(is_there(1));
    store(&vm.ports, POWER_PORT + POWER_PCI_OUT, 4, UINT32_MAX);
    ck_assert(!is_there(1) && is_there(2));
    ck_assert(!disk_answers_at(PCI_WINDOW + (1 << 20)));
    /* Nobody else may have its name, or its file, before. */
    virtio_list(names, sizeof(names));
    ck_assert_str_eq(names, "disk.1\ndisk.0\n");
    ck_assert_uint_eq(destroy_ejected(), 1);
    virtio_list(names, sizeof(names));
    ck_assert_str_eq(names, "disk.1\n");
    ck_assert_uint_eq(vm.stats->lines[0].kind, 0);
    ck_assert_uint_eq(vm.stats->lines[1].kind, WIRE_LINE_DISK);
    pci_power_off();
}
END_TEST

START_TEST(a_slot_is_used_again)
{
    make_machine_with_disk();
    ck_assert(is_there(1));
    unplug("disk.0", false);
    unplug("disk.0", false);
    store(&vm.ports, POWER_PORT + POWER_PCI_OUT, 4, 1 << 1);
    plug_disk(false);
    ck_assert_uint_eq(load(&vm.ports, POWER_PORT + POWER_PCI_IN, 4), 1 << 1);
    /* The one that is there now was not meant. */
    ck_assert_uint_eq(load(&vm.ports, POWER_PORT + POWER_PCI_OUT, 4), 0);
    store(&vm.ports, POWER_PORT + POWER_PCI_OUT, 4, 1 << 1);
    ck_assert(is_there(1));
    ck_assert_uint_eq(destroy_ejected(), 1);
    drive_pci(1);
    assert_disk_serves();
    ck_assert_uint_eq(vm.stats->lines[1].values[WIRE_DISK_READS], 1);
    pci_power_off();
}
END_TEST

START_TEST(what_nobody_looked_at_goes_at_once)
{
    struct failure failure = {0};

    make_machine();
    plug_disk(false);
    unplug("disk.0", false); /* the power is off */
    ck_assert_uint_eq(destroy_ejected(), 1);
    ck_assert(!pci_unplug("disk.0", true, &failure));
    ck_assert_int_eq(failure.code, WIRE_ABSENT);
    ck_assert(!pci_unplug("", true, &failure));
    pci_power_on();
    plug_disk(false);
    unplug("disk.1", true);
    ck_assert_uint_eq(destroy_ejected(), 1);
    plug_disk(false);
    ck_assert(is_there(1));
    unplug("disk.2", true);
    ck_assert_uint_eq(destroy_ejected(), 0);
    /* A guest that never lets go of it finds it no more when it starts again. */
    pci_power_off();
    ck_assert_uint_eq(destroy_ejected(), 1);
    pci_power_on();
    ck_assert(!is_there(1));
    pci_power_off();
}
END_TEST

START_TEST(a_disk_that_is_let_go_of_is_free)
{
    char               path[64];
    struct blk_options options = {.name = "again", .serial = "", .queues = 1};
    struct failure     failure = {0};

    snprintf(path, sizeof(path), "/proc/self/fd/%d", make_machine_with_disk());
    options.descriptor = open(path, O_RDWR | O_CLOEXEC);
    ck_assert(!blk_plug(&vm, &options, &failure));
    ck_assert_int_eq(failure.code, WIRE_BUSY);
    assert_disk_serves();
    unplug("disk.0", false);
    /* In use, and all that it has still to do is done or dropped first. */
    request_nothing();
    store(&vm.ports, POWER_PORT + POWER_PCI_OUT, 4, 1 << 1);
    ck_assert_uint_eq(destroy_ejected(), 1);
    ck_assert_msg(blk_plug(&vm, &options, &failure), "%s", failure.message);
    ck_assert(is_there(1));
    pci_power_off();
}
END_TEST

UNIT_RUN("plug", what_is_plugged_in_later_is_told_once, what_the_guest_lets_go_of_is_gone, a_slot_is_used_again,
         what_nobody_looked_at_goes_at_once, a_disk_that_is_let_go_of_is_free)
