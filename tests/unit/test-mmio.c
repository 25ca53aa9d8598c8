/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices of a machine without a bus, as a guest without KVM drives them: right, wrong, and at random. */
#include "disk.h"
#include "unit.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/mmio.h"
#include "virtio/rng.h"
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>

enum { RING = 0x1000 };

/* One disk, and its power is on. */
static void make_disk_without_bus(void)
{
    make_machine();
    ck_assert(pci_remove());
    plug_disk(false);
    virtio_mmio_power_on();
    drive_mmio(0);
}

static uint32_t get(unsigned offset)
{
    return (uint32_t)load(&vm.mmio, driven(offset), 4);
}

static void set(unsigned offset, uint32_t value)
{
    store(&vm.mmio, driven(offset), 4, value);
}

START_TEST(there_is_no_bus)
{
    struct failure failure = {0};

    make_machine();
    ck_assert_uint_ne(load(&vm.mmio, PCI_ECAM, 4), UINT32_MAX);
    ck_assert(pci_remove());
    ck_assert_uint_eq(load(&vm.mmio, PCI_ECAM, 4), UINT32_MAX);
    store(&vm.ports, PCI_PORT, 4, 0x80000000);
    ck_assert_uint_eq(load(&vm.ports, PCI_PORT, 4), UINT32_MAX);
    ck_assert(!pci_unplug("disk.0", true, &failure));
}
END_TEST

START_TEST(a_bus_with_devices_stays)
{
    make_machine();
    plug_disk(false);
    ck_assert(!pci_remove());
    ck_assert_uint_ne(load(&vm.mmio, PCI_ECAM, 4), UINT32_MAX);
    ck_assert_uint_eq(virtio_mmio_count(), 0);
}
END_TEST

START_TEST(a_device_says_what_it_is)
{
    make_disk_without_bus();
    ck_assert_uint_eq(get(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
    ck_assert_uint_eq(get(VIRTIO_MMIO_VERSION), 2);
    ck_assert_uint_eq(get(VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BLOCK);
    ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), 0);
    ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_NUM_MAX), VIRTQUEUE_SIZE);
    ck_assert_uint_eq(get(VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
    ck_assert_uint_eq(load(&vm.mmio, driven(VIRTIO_MMIO_CONFIG), 8), DISK_SECTORS);
    ck_assert_uint_eq(load(&vm.mmio, driven(VIRTIO_MMIO_CONFIG), 1), DISK_SECTORS);
    /* Half a register, one and a half, what is behind its configuration, and the place of the next device. */
    ck_assert_uint_eq(load(&vm.mmio, driven(VIRTIO_MMIO_MAGIC_VALUE), 2), 0);
    ck_assert_uint_eq(load(&vm.mmio, driven(VIRTIO_MMIO_MAGIC_VALUE + 2), 4), 0);
    ck_assert_uint_eq(load(&vm.mmio, driven(VIRTIO_MMIO_MAGIC_VALUE), 8), 0);
    ck_assert_uint_eq(get(VIRTIO_MMIO_CONFIG + VIRTIO_CONFIG), 0);
    ck_assert_uint_eq(get(VIRTIO_MMIO_PAGE), UINT32_MAX);
    set(VIRTIO_MMIO_QUEUE_SEL, 1);
    ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
    set(VIRTIO_MMIO_QUEUE_SEL, 1 << 16);
    ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
}
END_TEST

START_TEST(a_disk_is_read)
{
    make_disk_without_bus();
    assert_disk_serves();
    ck_assert_uint_eq(read_sector(DISK_SECTORS), VIRTIO_BLK_S_IOERR);
    /* The machine's reset, and the driver's. */
    virtio_mmio_power_off();
    ck_assert_uint_eq(get_status(), 0);
    virtio_mmio_power_on();
    assert_disk_serves();
    assert_disk_serves();
    virtio_mmio_power_off();
}
END_TEST

static void wait_for_interrupt(uint32_t bit)
{
    const gint64 limit = g_get_monotonic_time() + MACHINE_PATIENCE_S * G_USEC_PER_SEC;

    while (!(get(VIRTIO_MMIO_INTERRUPT_STATUS) & bit)) {
        ck_assert_msg(g_get_monotonic_time() < limit, "no interrupt");
        g_usleep(100);
    }
}

START_TEST(an_interrupt_is_acknowledged)
{
    make_disk_without_bus();
    assert_disk_serves();
    wait_for_interrupt(VIRTIO_MMIO_INT_VRING); /* which follows what is used */
    set(VIRTIO_MMIO_INTERRUPT_STATUS, 0);
    set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
    ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
    set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
    ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    read_sector(1);
    wait_for_interrupt(VIRTIO_MMIO_INT_VRING);
    set_status(0);
    ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}
END_TEST

START_TEST(the_wrong_order_breaks_it_until_a_reset)
{
    make_disk_without_bus();
    set_status(VIRTIO_CONFIG_S_DRIVER_OK); /* features are not agreed on */
    ck_assert_uint_ne(get_status() & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
    ck_assert(!negotiate(UINT64_C(1) << 63));
    /* A queue of no size, of too many, of a number that is none, and one outside of the memory. */
    for (unsigned i = 0; i < 4; i++) {
        static const uint32_t sizes[] = {0, VIRTQUEUE_SIZE * 2, 3, RING_SIZE};

        ck_assert(negotiate(0));
        set(VIRTIO_MMIO_QUEUE_NUM, sizes[i]);
        set(VIRTIO_MMIO_QUEUE_DESC_HIGH, 1);
        set(VIRTIO_MMIO_QUEUE_READY, 1);
        ck_assert_uint_ne(get_status() & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
        ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
    }
    assert_disk_serves();
}
END_TEST

START_TEST(a_queue_is_set_up_once)
{
    make_disk_without_bus();
    ck_assert(negotiate(0));
    disk_ring = set_up_ring(0, RING);
    set(VIRTIO_MMIO_QUEUE_DESC_LOW, DISK_DATA); /* too late */
    ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 1);
    set(VIRTIO_MMIO_QUEUE_READY, 0);
    ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
    disk_ring = set_up_ring(0, RING);
    go();
    /* It is in use. */
    set(VIRTIO_MMIO_QUEUE_READY, 0);
    set(VIRTIO_MMIO_QUEUE_NUM, 2);
    ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 1);
    ck_assert_uint_eq(read_sector(0), VIRTIO_BLK_S_OK);
    /* A queue that is none is notified, and set up. */
    set(VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
    set(VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
    set(VIRTIO_MMIO_QUEUE_READY, 1);
    ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
    ck_assert_uint_eq(read_sector(0), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(a_chain_without_an_end_breaks_it)
{
    make_disk_without_bus();
    start_disk();
    describe(&disk_ring, 0, DISK_DATA, SECTOR, VRING_DESC_F_NEXT);
    describe(&disk_ring, 1, DISK_DATA, SECTOR, VRING_DESC_F_NEXT);
    disk_ring.descriptors[1].next = 0;
    offer_chain(&disk_ring, 0);
    wait_for_break();
    wait_for_interrupt(VIRTIO_MMIO_INT_CONFIG);
    assert_disk_serves();
}
END_TEST

START_TEST(every_kind_of_device_is_reached)
{
    struct failure failure = {0};

    make_machine();
    ck_assert(pci_remove());
    ck_assert(rng_plug(&vm, &failure) && balloon_plug(&vm, &failure));
    ck_assert_ptr_nonnull(virtio_console_plug(&vm, "c", &failure));
    virtio_mmio_power_on();
    drive_mmio(1);
    ck_assert_uint_eq(get(VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BALLOON);
    balloon_aim(0);
    ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
    ck_assert_uint_eq(get(VIRTIO_MMIO_CONFIG + offsetof(struct virtio_balloon_config, num_pages)),
                      MACHINE_MEMORY / 4096);
    set(VIRTIO_MMIO_CONFIG + offsetof(struct virtio_balloon_config, num_pages), 0); /* not the driver's to say */
    set(VIRTIO_MMIO_CONFIG + offsetof(struct virtio_balloon_config, actual), 2);
    ck_assert_uint_eq(vm.stats->balloon, 2 * 4096);
    drive_mmio(2);
    ck_assert_uint_eq(get(VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_CONSOLE);
    ck_assert(negotiate(0));
    set_up_ring(0, RING);
    go();
    set_up_ring(1, RING + 0x3000);
    virtio_mmio_power_off();
}
END_TEST

START_TEST(there_are_as_many_as_lines)
{
    struct blk_options options = {.name = "one-more", .serial = "", .queues = 1};
    struct failure     failure = {0};

    make_machine();
    ck_assert(pci_remove());
    for (unsigned i = 0; i < 17; i++) {
        plug_disk(false);
        for (unsigned j = 0; j < i; j++)
            ck_assert_uint_ne(virtio_mmio_line(i), virtio_mmio_line(j));
    }
    options.descriptor = make_disk();
    ck_assert(!blk_plug(&vm, &options, &failure));
    ck_assert_int_eq(failure.code, WIRE_VALUE);
    ck_assert_str_eq(failure.property, "machine");
    ck_assert_uint_eq(virtio_mmio_count(), 17);
    virtio_mmio_power_on();
    drive_mmio(16);
    assert_disk_serves();
    ck_assert(!blk_plug(&vm, &options, &failure));
    ck_assert_int_eq(failure.code, WIRE_UNSUPPORTED);
    virtio_mmio_power_off();
}
END_TEST

START_TEST(garbage_in_every_register_does_no_harm)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    struct failure failure = {0};

    make_machine();
    ck_assert(pci_remove());
    plug_disk(false);
    ck_assert(rng_plug(&vm, &failure) && balloon_plug(&vm, &failure));
    ck_assert_ptr_nonnull(virtio_console_plug(&vm, "c", &failure));
    for (unsigned round = 0; round < 30; round++) {
        virtio_mmio_power_on();
        for (unsigned i = 0; i < 3000; i++) {
            const unsigned size = g_rand_int_range(random, 0, 8) ? 4 : 1u << g_rand_int_range(random, 0, 4);
            const uint64_t value =
                g_rand_boolean(random) ? g_rand_int(random) : (uint64_t)g_rand_int_range(random, 0, 16);
            const uint64_t where = virtio_mmio_address((unsigned)g_rand_int_range(random, 0, 5)) +
                                   (uint64_t)g_rand_int_range(random, 0, 0x130 / 4) * 4;

            store(&vm.mmio, where + (uint64_t)(g_rand_int_range(random, 0, 20) == 0), size, value);
            load(&vm.mmio, where, size);
        }
        virtio_mmio_power_off();
    }
    virtio_mmio_power_on();
    drive_mmio(0);
    assert_disk_serves();
    virtio_mmio_power_off();
}
END_TEST

UNIT_RUN("mmio", there_is_no_bus, a_bus_with_devices_stays, a_device_says_what_it_is, a_disk_is_read,
         an_interrupt_is_acknowledged, the_wrong_order_breaks_it_until_a_reset, a_queue_is_set_up_once,
         a_chain_without_an_end_breaks_it, every_kind_of_device_is_reached, there_are_as_many_as_lines,
         garbage_in_every_register_does_no_harm)
