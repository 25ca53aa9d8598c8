/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A virtio disk as a guest without KVM drives it, and its file as its queues read and write it. */
#include "disk.h"
#include "rate.h"
#include "unit.h"
#include "virtio/blk.h"
#include "virtio/blkio.h"
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>

enum { GARBAGE = 0x4000 };

START_TEST(features_must_be_offered)
{
    make_machine_with_disk();
    ck_assert(!negotiate(UINT64_C(1) << VIRTIO_BLK_F_RO));
    ck_assert(!negotiate_only(0));
    set_status(VIRTIO_CONFIG_S_DRIVER_OK);
    ck_assert_uint_eq(get_status() & VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_CONFIG_S_NEEDS_RESET);
    set_status(0);
    ck_assert_uint_eq(get_status(), 0);
}
END_TEST

START_TEST(a_disk_is_read_and_written)
{
    char     text[SECTOR];
    uint32_t written = 0;
    int      disk = make_machine_with_disk();

    start_disk();
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 1, DISK_DATA, 2 * SECTOR, &written), VIRTIO_BLK_S_OK);
    ck_assert_uint_eq(written, 2 * SECTOR + 1);
    ck_assert_int_eq(*(char *)at(DISK_DATA), 'B');
    ck_assert_int_eq(*(char *)at(DISK_DATA + SECTOR), 'C');
    strcpy(at(DISK_DATA), "written");
    ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, DISK_SECTORS - 1, DISK_DATA, SECTOR, &written), VIRTIO_BLK_S_OK);
    ck_assert_uint_eq(written, 1);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0, NULL), VIRTIO_BLK_S_OK);
    ck_assert_int_eq(pread(disk, text, SECTOR, (DISK_SECTORS - 1) * SECTOR), SECTOR);
    ck_assert_str_eq(text, "written");
    ck_assert_uint_eq(request(VIRTIO_BLK_T_GET_ID, 0, DISK_DATA, 20, NULL), VIRTIO_BLK_S_OK);
    ck_assert_str_eq(at(DISK_DATA), "0123456789");
    ck_assert_uint_eq(vm.stats->lines[0].values[WIRE_DISK_READ_BYTES], 2 * SECTOR);
    ck_assert_uint_eq(vm.stats->lines[0].values[WIRE_DISK_WRITES], 1);
    ck_assert_uint_eq(vm.stats->lines[0].values[WIRE_DISK_FLUSHES], 1);
    /* A reset by its driver, and one of the machine. */
    assert_disk_serves();
    pci_power_off();
    pci_power_on();
    ck_assert_uint_eq(get_status(), 0);
    assert_disk_serves();
    pci_power_off();
}
END_TEST

START_TEST(what_a_disk_cannot_do_is_an_error)
{
    static const struct virtio_blk_discard_write_zeroes beyond = {.sector = 60, .num_sectors = 5};
    const int                                           disk = make_machine_with_disk();

    start_disk();
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, DISK_SECTORS, DISK_DATA, SECTOR, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, DISK_SECTORS - 1, DISK_DATA, 2 * SECTOR, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, UINT64_MAX, DISK_DATA, SECTOR, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, UINT64_MAX / SECTOR, DISK_DATA, SECTOR, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 0, DISK_DATA, SECTOR - 1, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(12345, 0, DISK_DATA, SECTOR, NULL), VIRTIO_BLK_S_UNSUPP);
    memcpy(at(DISK_DATA), &beyond, sizeof(beyond));
    ck_assert_uint_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, sizeof(beyond), NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 3, NULL), VIRTIO_BLK_S_IOERR);
    /* It was not accepted. */
    ck_assert_uint_eq(request(VIRTIO_BLK_T_DISCARD, 0, DISK_DATA, sizeof(beyond), NULL), VIRTIO_BLK_S_UNSUPP);
    /* The host's file became shorter. */
    ck_assert_int_eq(ftruncate(disk, SECTOR), 0);
    ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, DISK_DATA, 2 * SECTOR, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(read_sector(0), VIRTIO_BLK_S_OK);
    ck_assert_uint_eq(vm.stats->lines[0].values[WIRE_DISK_ERRORS], 10);
    pci_power_off();
}
END_TEST

START_TEST(a_readonly_disk_stays_as_it_is)
{
    char byte = 0;
    int  disk;

    make_machine();
    disk = plug_disk(true);
    pci_power_on();
    drive_pci(1);
    ck_assert_uint_ne(get_offered() & UINT64_C(1) << VIRTIO_BLK_F_RO, 0);
    start_disk();
    ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 0, DISK_DATA, SECTOR, NULL), VIRTIO_BLK_S_IOERR);
    ck_assert_uint_eq(read_sector(0), VIRTIO_BLK_S_OK);
    ck_assert_int_eq(pread(disk, &byte, 1, 0), 1);
    ck_assert_int_eq(byte, 'A');
    pci_power_off();
}
END_TEST

START_TEST(requests_without_sense_break_one_disk)
{
    make_machine_with_disk();
    start_disk();
    request_nothing();
    wait_for_break();
    start_disk();
    describe(&disk_ring, 0, DISK_DATA, UINT32_MAX, VRING_DESC_F_WRITE);
    offer_chain(&disk_ring, 0);
    wait_for_break();
    /* Its driver resets it, and all is well. */
    assert_disk_serves();
    /* No header, but a place for the status. */
    *(uint8_t *)at(DISK_DATA) = VIRTIO_BLK_S_OK;
    describe(&disk_ring, 0, DISK_DATA, 1, VRING_DESC_F_WRITE);
    wait_for_used(&disk_ring, offer_chain(&disk_ring, 0));
    ck_assert_uint_eq(*(uint8_t *)at(DISK_DATA), VIRTIO_BLK_S_IOERR);
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
        /* Nor is a kick lost that comes while its thread looks for what has ended. */
        do_io(&io, BLKIO_READ, data, sizeof(data), 0, 0);
        ck_assert_int_eq(eventfd_write(kick, 1), 0);
        ck_assert_ptr_null(blkio_take_ended(&io));
        blkio_wait(&io, false);
        rate_alarm(timer, rate_clock() + 1000000);
        blkio_wait(&io, true);
        ck_assert_ptr_null(blkio_take_ended(&io));
        blkio_destroy(&io);
    }
}
END_TEST

/* --- garbage --- */

/* While the device reads it: that race is the point. */
__attribute__((no_sanitize("thread"))) static void write_garbage(GRand *random)
{
    for (unsigned i = 0; i < RING_SIZE; i++) {
        struct vring_desc *one = &disk_ring.descriptors[i];

        one->addr = g_rand_int_range(random, 0, 50) ? GARBAGE + (uint64_t)g_rand_int_range(random, 0, 1 << 16)
                                                    : g_rand_int(random);
        one->len = g_rand_boolean(random) ? SECTOR : (uint32_t)g_rand_int_range(random, 0, 4096);
        one->flags = (uint16_t)g_rand_int_range(random, 0, 4);
        one->next = (uint16_t)g_rand_int_range(random, 0, RING_SIZE);
    }
    /* Types and sectors that are often right. */
    for (unsigned i = 0; i < 1 << 12; i++)
        ((uint32_t *)at(GARBAGE))[i * 4] = ((uint32_t *)at(GARBAGE))[i * 4 + 2] =
            (uint32_t)g_rand_int_range(random, 0, 16);
}

START_TEST(garbage_in_the_rings_does_no_harm)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(2);

    make_machine_with_disk();
    for (unsigned round = 0; round < 300; round++) {
        start_disk();
        for (unsigned i = 0; i < 40 && !(get_status() & VIRTIO_CONFIG_S_NEEDS_RESET); i++) {
            uint16_t count;

            write_garbage(random);
            count = offer_chain(&disk_ring, (uint16_t)g_rand_int_range(random, 0, RING_SIZE));
            /* Now and then it is reset amid its work. */
            if (i % 8)
                wait_for_end(&disk_ring, count);
        }
    }
    assert_disk_serves();
    pci_power_off();
    /* It was not all refused at the door. */
    ck_assert_uint_gt(vm.stats->lines[0].values[WIRE_DISK_READS] + vm.stats->lines[0].values[WIRE_DISK_ERRORS], 100);
}
END_TEST

UNIT_RUN("disk", features_must_be_offered, a_disk_is_read_and_written, what_a_disk_cannot_do_is_an_error,
         a_readonly_disk_stays_as_it_is, requests_without_sense_break_one_disk, disks_that_are_none_are_refused,
         a_file_is_read_with_and_without_a_ring, garbage_in_the_rings_does_no_harm)
