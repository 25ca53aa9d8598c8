/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PCI as a guest without KVM sees it, and the registers of a virtio device on it. */
#include "disk.h"
#include "unit.h"
#include "virtio/rng.h"
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

enum { ISR = 0x1000, DEVICE = 0x2000, TABLE = 0x6000, PENDING = 0x7000 };

static uint64_t bar(unsigned slot)
{
    return load(&vm.mmio, config(slot, PCI_BASE_ADDRESS_0), 4);
}

START_TEST(configuration_has_two_ways)
{
    make_machine();
    ck_assert_uint_eq(load(&vm.mmio, config(0, PCI_VENDOR_ID), 2), 0x1b36);
    store(&vm.ports, 0xcf8, 4, 0x80000000);
    ck_assert_uint_eq(load(&vm.ports, 0xcfc, 2), 0x1b36);
    ck_assert_uint_eq(load(&vm.ports, 0xcfe, 2), 0x0008);
    ck_assert_uint_eq(load(&vm.ports, 0xcf8, 4), 0x80000000);
    /* Another bus, slot and function, the rest of the page, and the ports while they are off. */
    store(&vm.ports, 0xcf8, 4, 0x80010000);
    ck_assert_uint_eq(load(&vm.ports, 0xcfc, 4), UINT32_MAX);
    ck_assert_uint_eq(load(&vm.mmio, config(5, 0), 4), UINT32_MAX);
    ck_assert_uint_eq(load(&vm.mmio, config(0, 1 << 12), 4), UINT32_MAX);
    ck_assert_uint_eq(load(&vm.mmio, config(0, 0x100), 4), UINT32_MAX);
    ck_assert_uint_eq(load(&vm.mmio, config(0, 0xfe), 4), UINT32_MAX);
    store(&vm.ports, 0xcf8, 4, 0);
    ck_assert_uint_eq(load(&vm.ports, 0xcfc, 4), UINT32_MAX);
}
END_TEST

START_TEST(the_reset_port_amid_the_others_works)
{
    make_machine();
    store(&vm.ports, 0xcf8, 4, 0x80000000);
    store(&vm.ports, 0xcf9, 1, 0x02);
    ck_assert_int_eq(vm.wish, VM_NOTHING);
    ck_assert_uint_eq(load(&vm.ports, 0xcf8, 4), 0x80000000);
    store(&vm.ports, 0xcf9, 1, 0x06);
    ck_assert_int_eq(vm.wish, VM_RESET);
}
END_TEST

START_TEST(bars_are_sized_and_moved)
{
    const uint64_t there = 0xd0000000;
    uint64_t       here;

    make_machine();
    plug_disk(false);
    ck_assert_uint_eq(load(&vm.mmio, config(1, PCI_VENDOR_ID), 4), 0x10421af4);
    here = bar(1);
    ck_assert(!disk_answers_at(here));
    pci_power_on();
    ck_assert(disk_answers_at(here));
    store(&vm.mmio, config(1, PCI_BASE_ADDRESS_0), 4, UINT32_MAX);
    ck_assert_uint_eq(bar(1), 0xffff8000);
    ck_assert(!disk_answers_at(here));
    store(&vm.mmio, config(1, PCI_BASE_ADDRESS_0), 4, there);
    ck_assert(disk_answers_at(there));
    ck_assert(!disk_answers_at(here));
    store(&vm.mmio, config(1, PCI_COMMAND), 2, 0);
    ck_assert(!disk_answers_at(there));
    store(&vm.mmio, config(1, PCI_COMMAND), 2, PCI_COMMAND_MEMORY);
    ck_assert(disk_answers_at(there));
    pci_power_off();
    ck_assert(!disk_answers_at(there));
    pci_power_on();
    ck_assert(disk_answers_at(here));
}
END_TEST

START_TEST(a_bar_takes_no_other_place)
{
    uint64_t first;
    uint64_t second;

    make_machine();
    plug_disk(false);
    plug_disk(false);
    pci_power_on();
    first = bar(1);
    second = bar(2);
    ck_assert_uint_ne(first, second);
    ck_assert(disk_answers_at(second));
    store(&vm.mmio, config(2, PCI_BASE_ADDRESS_0), 4, first);
    ck_assert(disk_answers_at(first));
    ck_assert(!disk_answers_at(second));
    store(&vm.mmio, config(2, PCI_BASE_ADDRESS_0), 4, PCI_ECAM);
    ck_assert_uint_eq(load(&vm.mmio, PCI_ECAM, 2), 0x1b36);
    store(&vm.mmio, config(2, PCI_BASE_ADDRESS_0), 4, 0);
    ck_assert(disk_answers_at(first));
}
END_TEST

static unsigned find_capability(uint8_t id)
{
    unsigned at_offset = (unsigned)load(&vm.mmio, config(1, PCI_CAPABILITY_LIST), 1);

    while (at_offset && load(&vm.mmio, config(1, at_offset), 1) != id)
        at_offset = (unsigned)load(&vm.mmio, config(1, at_offset + 1), 1);
    return at_offset;
}

START_TEST(a_masked_interrupt_is_pending)
{
    unsigned msix;

    make_machine_with_disk();
    msix = find_capability(PCI_CAP_ID_MSIX);
    ck_assert_uint_ne(msix, 0);
    ck_assert_uint_eq(load(&vm.mmio, config(1, msix + PCI_MSIX_FLAGS), 2), 1);
    store(&vm.mmio, config(1, msix + PCI_MSIX_FLAGS), 2, PCI_MSIX_FLAGS_ENABLE);
    store(&vm.mmio, driven(TABLE + 16), 8, 0xfee00000);
    store(&vm.mmio, driven(TABLE + 24), 4, 0x41);
    ck_assert_uint_eq(load(&vm.mmio, driven(TABLE + 16), 8), 0xfee00000);
    ck_assert_uint_eq(load(&vm.mmio, driven(TABLE + 28), 4), PCI_MSIX_ENTRY_CTRL_MASKBIT);
    start_disk();
    store(&vm.mmio, driven(VIRTIO_PCI_COMMON_Q_MSIX), 2, 1);
    read_sector(0);
    /* The interrupt follows what is used. */
    while (!load(&vm.mmio, driven(PENDING), 8))
        g_usleep(100);
    ck_assert_uint_eq(load(&vm.mmio, driven(PENDING), 8), 2);
    store(&vm.mmio, driven(TABLE + 28), 4, 0);
    ck_assert_uint_eq(load(&vm.mmio, driven(PENDING), 8), 0);
    ck_assert_uint_eq(load(&vm.mmio, driven(ISR), 1), 1);
    ck_assert_uint_eq(load(&vm.mmio, driven(ISR), 1), 0);
    /* A vector that is none. */
    store(&vm.mmio, driven(VIRTIO_PCI_COMMON_Q_MSIX), 2, 2);
    ck_assert_uint_eq(load(&vm.mmio, driven(VIRTIO_PCI_COMMON_Q_MSIX), 2), VIRTIO_MSI_NO_VECTOR);
    pci_power_off();
}
END_TEST

START_TEST(the_bar_is_reached_through_the_configuration)
{
    unsigned window;

    make_machine_with_disk();
    window = find_capability(PCI_CAP_ID_VNDR);
    while (load(&vm.mmio, config(1, window + 3), 1) != VIRTIO_PCI_CAP_PCI_CFG) {
        window = (unsigned)load(&vm.mmio, config(1, window + 1), 1);
        ck_assert_uint_ne(window, 0);
    }
    store(&vm.mmio, config(1, window + 8), 4, DEVICE);
    store(&vm.mmio, config(1, window + 12), 4, 4);
    ck_assert_uint_eq(load(&vm.mmio, config(1, window + 16), 4), DISK_SECTORS);
    store(&vm.mmio, config(1, window + 8), 4, UINT32_MAX - 3);
    ck_assert_uint_eq(load(&vm.mmio, config(1, window + 16), 4), 0);
}
END_TEST

START_TEST(a_place_of_eight_bytes_is_written_in_any_way)
{
    make_machine_with_disk();
    ck_assert(negotiate(0));
    store(&vm.mmio, driven(VIRTIO_PCI_COMMON_Q_DESCLO), 8, UINT64_C(0x1234567890));
    ck_assert_uint_eq(load(&vm.mmio, driven(VIRTIO_PCI_COMMON_Q_DESCLO), 8), UINT64_C(0x1234567890));
    store(&vm.mmio, driven(VIRTIO_PCI_COMMON_Q_DESCHI), 4, 0x56);
    store(&vm.mmio, driven(VIRTIO_PCI_COMMON_Q_DESCLO), 4, 0x1000);
    ck_assert_uint_eq(load(&vm.mmio, driven(VIRTIO_PCI_COMMON_Q_DESCLO), 8), UINT64_C(0x5600001000));
}
END_TEST

START_TEST(garbage_in_every_register_does_no_harm)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    struct failure failure;

    make_machine();
    plug_disk(false);
    plug_disk(true);
    ck_assert(rng_plug(&vm, &failure));
    for (unsigned round = 0; round < 30; round++) {
        pci_power_on();
        for (unsigned i = 0; i < 3000; i++) {
            const unsigned slot = (unsigned)g_rand_int_range(random, 0, 5);
            const unsigned size = 1u << g_rand_int_range(random, 0, 4);
            const uint64_t value =
                g_rand_boolean(random) ? g_rand_int(random) : (uint64_t)g_rand_int_range(random, 0, 16);
            const uint64_t where = PCI_WINDOW + (uint64_t)g_rand_int_range(random, 0, 3 * 0x8000);

            if (g_rand_int_range(random, 0, 4))
                store(&vm.mmio, g_rand_boolean(random) ? where : (where & ~UINT64_C(0x7fff)) + (where & 0x3f), size,
                      value);
            else
                store(&vm.mmio, config(slot, (unsigned)g_rand_int_range(random, 4, 4096)), size, value);
            load(&vm.mmio, where, size);
            store(&vm.ports, 0xcf8 + (uint64_t)g_rand_int_range(random, 0, 8), size > 4 ? 4 : size, value);
        }
        pci_power_off();
    }
    pci_power_on();
    drive_pci(1);
    assert_disk_serves();
    pci_power_off();
}
END_TEST

UNIT_RUN("pci", configuration_has_two_ways, the_reset_port_amid_the_others_works, bars_are_sized_and_moved,
         a_bar_takes_no_other_place, a_masked_interrupt_is_pending, the_bar_is_reached_through_the_configuration,
         a_place_of_eight_bytes_is_written_in_any_way, garbage_in_every_register_does_no_harm)
