/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PCI and a virtio disk on it, as a guest without KVM sees them: through the buses, and rings in its memory. */
#include "device/power.h"
#include "machine.h"
#include "rate.h"
#include "unit.h"
#include "virtio/blk.h"
#include "virtio/blkio.h"
#include "virtio/rng.h"
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>

enum {
    DISK_SECTORS = 64,
    SECTOR = 512,
    QUEUE = 8,
    DESCRIPTORS = 0x1000,
    AVAILABLE = 0x2000,
    USED = 0x3000,
    HEADER = 0x4000,
    STATUS = 0x4100,
    DATA = 0x10000,
    ISR = 0x1000,
    DEVICE = 0x2000,
    NOTIFY = 0x3000,
    TABLE = 0x6000,
    PENDING = 0x7000,
    NO_STATUS = 0xaa
};

static int disk;

static int make_disk(void)
{
    const int descriptor = memfd_create("disk", MFD_CLOEXEC);

    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(ftruncate(descriptor, DISK_SECTORS * SECTOR), 0);
    for (unsigned i = 0; i < DISK_SECTORS; i++)
        ck_assert_int_eq(pwrite(descriptor, &(char){(char)('A' + i % 26)}, 1, i * SECTOR), 1);
    return descriptor;
}

static void plug_disk(bool is_readonly)
{
    static unsigned    count;
    char               name[16];
    struct blk_options options = {
        .name = name, .serial = "0123456789", .is_readonly = is_readonly, .can_discard = true, .queues = 1};
    struct failure failure = {0};

    snprintf(name, sizeof(name), "%u", count++);
    disk = options.descriptor = make_disk();
    ck_assert_msg(blk_plug(&vm, &options, &failure), "%s", failure.message);
}

static uint64_t bar(void)
{
    return load(&vm.mmio, config(1, PCI_BASE_ADDRESS_0), 4);
}

/* --- a driver --- */

static void set_register(unsigned offset, unsigned size, uint64_t value)
{
    store(&vm.mmio, bar() + offset, size, value);
}

static uint8_t status(void)
{
    return (uint8_t)load(&vm.mmio, bar() + VIRTIO_PCI_COMMON_STATUS, 1);
}

static void accept_features(uint64_t features)
{
    set_register(VIRTIO_PCI_COMMON_STATUS, 1, 0);
    set_register(VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    for (unsigned i = 0; i < 2; i++) {
        set_register(VIRTIO_PCI_COMMON_GFSELECT, 4, i);
        set_register(VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> (32 * i)));
    }
    set_register(VIRTIO_PCI_COMMON_STATUS, 1,
                 VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
}

static void start_driver(void)
{
    set_register(VIRTIO_PCI_COMMON_STATUS, 1, 0);
    memset(at(0), 0, DATA);
    accept_features(UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_BLK_F_FLUSH |
                    UINT64_C(1) << VIRTIO_BLK_F_WRITE_ZEROES);
    ck_assert_uint_eq(status() & VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_FEATURES_OK);
    set_register(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
    set_register(VIRTIO_PCI_COMMON_Q_SIZE, 2, QUEUE);
    set_register(VIRTIO_PCI_COMMON_Q_DESCLO, 4, DESCRIPTORS);
    set_register(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, AVAILABLE);
    set_register(VIRTIO_PCI_COMMON_Q_USEDLO, 4, USED);
    set_register(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    set_register(VIRTIO_PCI_COMMON_STATUS, 1, status() | VIRTIO_CONFIG_S_DRIVER_OK);
    ck_assert_uint_eq(status() & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

static void wait_until_used(uint16_t index)
{
    const gint64 limit = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

    while (__atomic_load_n(&((struct vring_used *)at(USED))->idx, __ATOMIC_ACQUIRE) != index) {
        ck_assert_msg(g_get_monotonic_time() < limit, "the request does not end");
        g_usleep(100);
    }
}

/* Used or broken. */
static void wait_until_done(void)
{
    const struct vring_avail *available = at(AVAILABLE);
    const struct vring_used  *used = at(USED);
    const gint64              limit = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

    while (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) != available->idx &&
           !(status() & VIRTIO_CONFIG_S_NEEDS_RESET)) {
        ck_assert_msg(g_get_monotonic_time() < limit, "the device neither serves nor breaks");
        g_usleep(10);
    }
}

static void wait_until_broken(void)
{
    const gint64 limit = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

    while (!(status() & VIRTIO_CONFIG_S_NEEDS_RESET)) {
        ck_assert_msg(g_get_monotonic_time() < limit, "the device does not ask for a reset");
        g_usleep(100);
    }
}

static void describe_part(unsigned index, uint64_t address, uint32_t length, uint16_t flags)
{
    ((struct vring_desc *)at(DESCRIPTORS))[index] =
        (struct vring_desc){address, length, flags, (uint16_t)(index + 1)};
}

static uint16_t offer(void)
{
    struct vring_avail *available = at(AVAILABLE);

    available->ring[available->idx % QUEUE] = 0;
    __atomic_store_n(&available->idx, available->idx + 1, __ATOMIC_RELEASE);
    set_register(NOTIFY, 2, 0);
    return available->idx;
}

/* Header, data if there is any, status; what the device says, and how much it wrote. */
static uint8_t request(uint32_t type, uint64_t sector, uint64_t address, uint32_t length, uint32_t *written)
{
    const bool               is_out = type != VIRTIO_BLK_T_IN && type != VIRTIO_BLK_T_GET_ID;
    const struct vring_used *used = at(USED);
    unsigned                 index = 0;
    uint16_t                 count;

    *(struct virtio_blk_outhdr *)at(HEADER) = (struct virtio_blk_outhdr){.type = type, .sector = sector};
    *(uint8_t *)at(STATUS) = NO_STATUS;
    describe_part(index++, HEADER, sizeof(struct virtio_blk_outhdr), VRING_DESC_F_NEXT);
    if (length)
        describe_part(index++, address, length, (uint16_t)(VRING_DESC_F_NEXT | (is_out ? 0 : VRING_DESC_F_WRITE)));
    describe_part(index, STATUS, 1, VRING_DESC_F_WRITE);
    count = offer();
    wait_until_used(count);
    if (written)
        *written = used->ring[(count - 1) % QUEUE].len;
    return *(uint8_t *)at(STATUS);
}

/* --- PCI --- */

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

static bool answers_at(uint64_t address)
{
    return load(&vm.mmio, address + DEVICE, 4) == DISK_SECTORS;
}

START_TEST(bars_are_sized_and_moved)
{
    const uint64_t there = 0xd0000000;
    uint64_t       here;

    make_machine();
    plug_disk(false);
    ck_assert_uint_eq(load(&vm.mmio, config(1, PCI_VENDOR_ID), 4), 0x10421af4);
    here = bar();
    ck_assert(!answers_at(here));
    pci_power_on();
    ck_assert(answers_at(here));
    store(&vm.mmio, config(1, PCI_BASE_ADDRESS_0), 4, UINT32_MAX);
    ck_assert_uint_eq(bar(), 0xffff8000);
    ck_assert(!answers_at(here));
    store(&vm.mmio, config(1, PCI_BASE_ADDRESS_0), 4, there);
    ck_assert(answers_at(there));
    ck_assert(!answers_at(here));
    store(&vm.mmio, config(1, PCI_COMMAND), 2, 0);
    ck_assert(!answers_at(there));
    store(&vm.mmio, config(1, PCI_COMMAND), 2, PCI_COMMAND_MEMORY);
    ck_assert(answers_at(there));
    pci_power_off();
    ck_assert(!answers_at(there));
    pci_power_on();
    ck_assert(answers_at(here));
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
    first = bar();
    second = load(&vm.mmio, config(2, PCI_BASE_ADDRESS_0), 4);
    ck_assert_uint_ne(first, second);
    ck_assert(answers_at(second));
    store(&vm.mmio, config(2, PCI_BASE_ADDRESS_0), 4, first);
    ck_assert(answers_at(first));
    ck_assert(!answers_at(second));
    store(&vm.mmio, config(2, PCI_BASE_ADDRESS_0), 4, PCI_ECAM);
    ck_assert_uint_eq(load(&vm.mmio, PCI_ECAM, 2), 0x1b36);
    store(&vm.mmio, config(2, PCI_BASE_ADDRESS_0), 4, 0);
    ck_assert(answers_at(first));
}
END_TEST

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
    ck_assert(answers_at(load(&vm.mmio, config(2, PCI_BASE_ADDRESS_0), 4)));
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
    start_driver();
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
    ck_assert(!answers_at(PCI_WINDOW + (1 << 20)));
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
    make_machine();
    plug_disk(false);
    pci_power_on();
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
    start_driver();
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, DATA, SECTOR, NULL), VIRTIO_BLK_S_OK);
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

    make_machine();
    plug_disk(false);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
    options.descriptor = open(path, O_RDWR | O_CLOEXEC);
    ck_assert(!blk_plug(&vm, &options, &failure));
    ck_assert_int_eq(failure.code, WIRE_BUSY);
    pci_power_on();
    start_driver();
    request(VIRTIO_BLK_T_IN, 0, DATA, SECTOR, NULL);
    unplug("disk.0", false);
    /* In use, and all that it has still to do is done or dropped first. */
    describe_part(0, HEADER, sizeof(struct virtio_blk_outhdr), 0);
    offer();
    store(&vm.ports, POWER_PORT + POWER_PCI_OUT, 4, 1 << 1);
    ck_assert_uint_eq(destroy_ejected(), 1);
    ck_assert_msg(blk_plug(&vm, &options, &failure), "%s", failure.message);
    ck_assert(is_there(1));
    pci_power_off();
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

    make_machine();
    plug_disk(false);
    pci_power_on();
    msix = find_capability(PCI_CAP_ID_MSIX);
    ck_assert_uint_ne(msix, 0);
    ck_assert_uint_eq(load(&vm.mmio, config(1, msix + PCI_MSIX_FLAGS), 2), 1);
    store(&vm.mmio, config(1, msix + PCI_MSIX_FLAGS), 2, PCI_MSIX_FLAGS_ENABLE);
    set_register(TABLE + 16, 8, 0xfee00000);
    set_register(TABLE + 24, 4, 0x41);
    ck_assert_uint_eq(load(&vm.mmio, bar() + TABLE + 16, 8), 0xfee00000);
    ck_assert_uint_eq(load(&vm.mmio, bar() + TABLE + 28, 4), PCI_MSIX_ENTRY_CTRL_MASKBIT);
    start_driver();
    set_register(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
    request(VIRTIO_BLK_T_IN, 0, DATA, SECTOR, NULL);
    /* The interrupt follows what is used. */
    while (!load(&vm.mmio, bar() + PENDING, 8))
        g_usleep(100);
    ck_assert_uint_eq(load(&vm.mmio, bar() + PENDING, 8), 2);
    set_register(TABLE + 28, 4, 0);
    ck_assert_uint_eq(load(&vm.mmio, bar() + PENDING, 8), 0);
    ck_assert_uint_eq(load(&vm.mmio, bar() + ISR, 1), 1);
    ck_assert_uint_eq(load(&vm.mmio, bar() + ISR, 1), 0);
    /* A vector that is none. */
    set_register(VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);
    ck_assert_uint_eq(load(&vm.mmio, bar() + VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
    pci_power_off();
}
END_TEST

START_TEST(the_bar_is_reached_through_the_configuration)
{
    unsigned window;

    make_machine();
    plug_disk(false);
    pci_power_on();
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

/* --- the disk --- */

START_TEST(features_must_be_offered)
{
    make_machine();
    plug_disk(false);
    pci_power_on();
    accept_features(UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_BLK_F_RO);
    ck_assert_uint_eq(status() & VIRTIO_CONFIG_S_FEATURES_OK, 0);
    accept_features(0);
    ck_assert_uint_eq(status() & VIRTIO_CONFIG_S_FEATURES_OK, 0);
    set_register(VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_DRIVER_OK);
    ck_assert_uint_eq(status() & VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_CONFIG_S_NEEDS_RESET);
    set_register(VIRTIO_PCI_COMMON_STATUS, 1, 0);
    ck_assert_uint_eq(status(), 0);
}
END_TEST

START_TEST(a_disk_is_read_and_written)
{
    char     text[SECTOR];
    uint32_t written = 0;

    make_machine();
    plug_disk(false);
    pci_power_on();
    start_driver();
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 1, DATA, 2 * SECTOR, &written), VIRTIO_BLK_S_OK);
    ck_assert_uint_eq(written, 2 * SECTOR + 1);
    ck_assert_int_eq(*(char *)at(DATA), 'B');
    ck_assert_int_eq(*(char *)at(DATA + SECTOR), 'C');
    strcpy(at(DATA), "written");
    ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, DISK_SECTORS - 1, DATA, SECTOR, &written), VIRTIO_BLK_S_OK);
    ck_assert_uint_eq(written, 1);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0, NULL), VIRTIO_BLK_S_OK);
    ck_assert_int_eq(pread(disk, text, SECTOR, (DISK_SECTORS - 1) * SECTOR), SECTOR);
    ck_assert_str_eq(text, "written");
    ck_assert_uint_eq(request(VIRTIO_BLK_T_GET_ID, 0, DATA, 20, NULL), VIRTIO_BLK_S_OK);
    ck_assert_str_eq(at(DATA), "0123456789");
    ck_assert_uint_eq(vm.stats->lines[0].values[WIRE_DISK_READ_BYTES], 2 * SECTOR);
    ck_assert_uint_eq(vm.stats->lines[0].values[WIRE_DISK_WRITES], 1);
    ck_assert_uint_eq(vm.stats->lines[0].values[WIRE_DISK_FLUSHES], 1);
    /* A reset by its driver, and one of the machine. */
    start_driver();
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, DATA, SECTOR, NULL), VIRTIO_BLK_S_OK);
    pci_power_off();
    pci_power_on();
    ck_assert_uint_eq(status(), 0);
    start_driver();
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, DATA, SECTOR, NULL), VIRTIO_BLK_S_OK);
    ck_assert_int_eq(*(char *)at(DATA), 'A');
    pci_power_off();
}
END_TEST

START_TEST(what_a_disk_cannot_do_is_an_error)
{
    static const struct virtio_blk_discard_write_zeroes beyond = {.sector = 60, .num_sectors = 5};

    make_machine();
    plug_disk(false);
    pci_power_on();
    start_driver();
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, DISK_SECTORS, DATA, SECTOR, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, DISK_SECTORS - 1, DATA, 2 * SECTOR, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, UINT64_MAX, DATA, SECTOR, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, UINT64_MAX / SECTOR, DATA, SECTOR, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 0, DATA, SECTOR - 1, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(12345, 0, DATA, SECTOR, NULL), VIRTIO_BLK_S_UNSUPP);
    memcpy(at(DATA), &beyond, sizeof(beyond));
    ck_assert_uint_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, sizeof(beyond), NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, 3, NULL), VIRTIO_BLK_S_IOERR);
    /* It was not accepted. */
    ck_assert_uint_eq(request(VIRTIO_BLK_T_DISCARD, 0, DATA, sizeof(beyond), NULL), VIRTIO_BLK_S_UNSUPP);
    /* The host's file became shorter. */
    ck_assert_int_eq(ftruncate(disk, SECTOR), 0);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, DATA, 2 * SECTOR, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, DATA, SECTOR, NULL), VIRTIO_BLK_S_OK);
    ck_assert_uint_eq(vm.stats->lines[0].values[WIRE_DISK_ERRORS], 10);
    pci_power_off();
}
END_TEST

START_TEST(a_readonly_disk_stays_as_it_is)
{
    char byte = 0;

    make_machine();
    plug_disk(true);
    pci_power_on();
    memset(at(0), 0, DATA);
    ck_assert_uint_eq(load(&vm.mmio, bar() + VIRTIO_PCI_COMMON_DF, 4) & 1 << VIRTIO_BLK_F_RO, 1 << VIRTIO_BLK_F_RO);
    accept_features(UINT64_C(1) << VIRTIO_F_VERSION_1);
    set_register(VIRTIO_PCI_COMMON_Q_SIZE, 2, QUEUE);
    set_register(VIRTIO_PCI_COMMON_Q_DESCLO, 8, DESCRIPTORS);
    set_register(VIRTIO_PCI_COMMON_Q_AVAILLO, 8, AVAILABLE);
    set_register(VIRTIO_PCI_COMMON_Q_USEDLO, 8, USED);
    set_register(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    set_register(VIRTIO_PCI_COMMON_STATUS, 1, status() | VIRTIO_CONFIG_S_DRIVER_OK);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 0, DATA, SECTOR, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, DATA, SECTOR, NULL), VIRTIO_BLK_S_OK);
    ck_assert_int_eq(pread(disk, &byte, 1, 0), 1);
    ck_assert_int_eq(byte, 'A');
    pci_power_off();
}
END_TEST

START_TEST(requests_without_sense_break_one_disk)
{
    make_machine();
    plug_disk(false);
    pci_power_on();
    start_driver();
    describe_part(0, HEADER, sizeof(struct virtio_blk_outhdr), 0);
    offer();
    wait_until_broken();
    start_driver();
    describe_part(0, DATA, UINT32_MAX, VRING_DESC_F_WRITE);
    offer();
    wait_until_broken();
    /* Its driver resets it, and all is well. */
    start_driver();
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, DATA, SECTOR, NULL), VIRTIO_BLK_S_OK);
    /* No header, but a place for the status. */
    *(uint8_t *)at(STATUS) = NO_STATUS;
    describe_part(0, STATUS, 1, VRING_DESC_F_WRITE);
    wait_until_used(offer());
    ck_assert_uint_eq(*(uint8_t *)at(STATUS), VIRTIO_BLK_S_IOERR);
    pci_power_off();
}
END_TEST

START_TEST(disks_that_are_none_are_refused)
{
    const int          folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int          empty = memfd_create("empty", MFD_CLOEXEC);
    char               path[64];
    int                other;
    struct blk_options options = {.name = "root", .serial = "", .queues = 1, .is_readonly = true};
    struct failure     failure = {0};

    make_machine();
    options.descriptor = folder;
    ck_assert(!blk_plug(&vm, &options, &failure));
    ck_assert_str_eq(failure.property, "disk.root.path");
    options.is_readonly = false;
    ck_assert(!blk_plug(&vm, &options, &failure));
    options.descriptor = empty;
    ck_assert(!blk_plug(&vm, &options, &failure));
    ck_assert_ptr_nonnull(strstr(failure.message, "shorter than a sector"));
    options.descriptor = make_disk();
    options.serial = "of twenty-one letters";
    ck_assert(!blk_plug(&vm, &options, &failure));
    ck_assert_str_eq(failure.property, "disk.root.serial");
    options.serial = "";
    snprintf(path, sizeof(path), "/proc/self/fd/%d", options.descriptor);
    other = open(path, O_RDWR | O_CLOEXEC);
    ck_assert(blk_plug(&vm, &options, &failure));
    options.descriptor = other;
    ck_assert(!blk_plug(&vm, &options, &failure));
    ck_assert_ptr_nonnull(strstr(failure.message, "has that name"));
    options.name = "data";
    ck_assert(!blk_plug(&vm, &options, &failure));
    ck_assert_int_eq(failure.code, WIRE_BUSY);
}
END_TEST

/* --- either way of doing I/O --- */

static void do_io(struct blkio *io, enum blkio_operation operation, void *data, size_t size, uint64_t offset,
                  int error)
{
    struct iovec         parts[] = {{data, 1}, {(char *)data + 1, size - 1}};
    struct blkio_request one = {
        .operation = operation, .durable = true, .parts = parts, .count = 2, .offset = offset, .length = size};
    struct blkio_request *ended;

    blkio_begin(io, &one);
    while (!(ended = blkio_take_ended(io)))
        blkio_wait(io, false);
    ck_assert_ptr_eq(ended, &one);
    ck_assert_int_eq(one.error, error);
    ck_assert_uint_eq(io->under_way, 0);
}

START_TEST(a_file_is_read_with_and_without_a_ring)
{
    const int file = make_disk();
    const int kick = eventfd(0, EFD_CLOEXEC);
    const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    char      data[2 * SECTOR];

    for (unsigned i = 0; i < 2; i++) {
        struct blkio io;

        blkio_init(&io, file, kick, timer);
        if (i == 1)
            blkio_destroy(&io); /* goes on without */
        do_io(&io, BLKIO_READ, data, sizeof(data), 3 * SECTOR, 0);
        ck_assert_int_eq(data[0], 'D');
        ck_assert_int_eq(data[SECTOR], 'E');
        memset(data, 'x', sizeof(data));
        do_io(&io, BLKIO_WRITE, data, sizeof(data), (10 + i) * SECTOR, 0);
        do_io(&io, BLKIO_FLUSH, data, 2, 0, 0);
        memset(data, 0, sizeof(data));
        do_io(&io, BLKIO_READ, data, sizeof(data), (10 + i) * SECTOR, 0);
        ck_assert_int_eq(data[2 * SECTOR - 1], 'x');
        do_io(&io, BLKIO_DISCARD, data, 4096, 4096, 0);
        do_io(&io, BLKIO_READ, data, sizeof(data), 4096, 0);
        ck_assert_int_eq(data[0], 0);
        do_io(&io, BLKIO_READ, data, sizeof(data), (DISK_SECTORS - 1) * SECTOR, EIO);
        ck_assert_int_eq(eventfd_write(kick, 1), 0);
        blkio_wait(&io, false);
        ck_assert_ptr_null(blkio_take_ended(&io));
        rate_alarm(timer, rate_clock() + 1000000);
        blkio_wait(&io, true);
        ck_assert_ptr_null(blkio_take_ended(&io));
        blkio_destroy(&io);
    }
}
END_TEST

/* --- garbage --- */

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
    start_driver();
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, DATA, SECTOR, NULL), VIRTIO_BLK_S_OK);
    pci_power_off();
}
END_TEST

/* While the device reads it: that race is the point. */
__attribute__((no_sanitize("thread"))) static void write_garbage(GRand *random)
{
    struct vring_desc  *descriptors = at(DESCRIPTORS);
    struct vring_avail *available = at(AVAILABLE);

    for (unsigned i = 0; i < QUEUE; i++) {
        descriptors[i].addr = g_rand_int_range(random, 0, 50)
                                  ? HEADER + (uint64_t)g_rand_int_range(random, 0, 1 << 16)
                                  : g_rand_int(random);
        descriptors[i].len = g_rand_boolean(random) ? SECTOR : (uint32_t)g_rand_int_range(random, 0, 4096);
        descriptors[i].flags = (uint16_t)g_rand_int_range(random, 0, 4);
        descriptors[i].next = (uint16_t)g_rand_int_range(random, 0, QUEUE);
    }
    /* Types and sectors that are often right. */
    for (unsigned i = 0; i < 1 << 12; i++)
        ((uint32_t *)at(HEADER))[i * 4] = ((uint32_t *)at(HEADER))[i * 4 + 2] =
            (uint32_t)g_rand_int_range(random, 0, 16);
    available->ring[available->idx % QUEUE] = (uint16_t)g_rand_int_range(random, 0, QUEUE);
    __atomic_store_n(&available->idx, available->idx + 1, __ATOMIC_RELEASE);
}

START_TEST(garbage_in_the_rings_does_no_harm)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(2);

    make_machine();
    plug_disk(false);
    pci_power_on();
    for (unsigned round = 0; round < 300; round++) {
        start_driver();
        for (unsigned i = 0; i < 40 && !(status() & VIRTIO_CONFIG_S_NEEDS_RESET); i++) {
            write_garbage(random);
            set_register(NOTIFY, 2, 0);
            /* Now and then it is reset amid its work. */
            if (i % 8)
                wait_until_done();
        }
    }
    start_driver();
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, DATA, SECTOR, NULL), VIRTIO_BLK_S_OK);
    pci_power_off();
    /* It was not all refused at the door. */
    ck_assert_uint_gt(vm.stats->lines[0].values[WIRE_DISK_READS] + vm.stats->lines[0].values[WIRE_DISK_ERRORS], 100);
}
END_TEST

UNIT_RUN("virtio", configuration_has_two_ways, the_reset_port_amid_the_others_works, bars_are_sized_and_moved,
         a_bar_takes_no_other_place, what_is_plugged_in_later_is_told_once, what_the_guest_lets_go_of_is_gone,
         a_slot_is_used_again, what_nobody_looked_at_goes_at_once, a_disk_that_is_let_go_of_is_free,
         a_masked_interrupt_is_pending, the_bar_is_reached_through_the_configuration, features_must_be_offered,
         a_disk_is_read_and_written, what_a_disk_cannot_do_is_an_error, a_readonly_disk_stays_as_it_is,
         requests_without_sense_break_one_disk, disks_that_are_none_are_refused,
         a_file_is_read_with_and_without_a_ring, garbage_in_every_register_does_no_harm,
         garbage_in_the_rings_does_no_harm)
