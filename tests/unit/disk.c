/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of disks, and of what devices are plugged into, share; see disk.h. */
#include "disk.h"
#include "unit.h"
#include "virtio/blk.h"
#include <sys/mman.h>

enum { RING = 0x1000, HEADER = 0x4000, STATUS = 0x4100, NO_STATUS = 0xaa, DEVICE = 0x2000 };

struct ring disk_ring;

int make_disk(void)
{
    const int descriptor = memfd_create("disk", MFD_CLOEXEC);

    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(ftruncate(descriptor, DISK_SECTORS * SECTOR), 0);
    for (unsigned i = 0; i < DISK_SECTORS; i++)
        ck_assert_int_eq(pwrite(descriptor, &(char){(char)('A' + i % 26)}, 1, i * SECTOR), 1);
    return descriptor;
}

int plug_disk(bool is_readonly)
{
    static unsigned    count;
    char               name[16];
    struct blk_options options = {
        .name = name, .serial = "0123456789", .is_readonly = is_readonly, .can_discard = true, .queues = 1};
    struct failure failure = {0};

    snprintf(name, sizeof(name), "%u", count++);
    options.descriptor = make_disk();
    ck_assert_msg(blk_plug(&vm, &options, &failure), "%s", failure.message);
    return options.descriptor;
}

int make_machine_with_disk(void)
{
    int disk;

    make_machine();
    disk = plug_disk(false);
    pci_power_on();
    drive_pci(1);
    return disk;
}

void start_disk(void)
{
    const uint64_t known = UINT64_C(1) << VIRTIO_BLK_F_FLUSH | UINT64_C(1) << VIRTIO_BLK_F_WRITE_ZEROES;

    ck_assert(negotiate(get_offered() & known));
    disk_ring = set_up_ring(0, RING);
    go();
}

uint8_t request(uint32_t type, uint64_t sector, uint64_t address, uint32_t length, uint32_t *written)
{
    const bool is_out = type != VIRTIO_BLK_T_IN && type != VIRTIO_BLK_T_GET_ID;
    unsigned   index = 0;
    uint16_t   count;

    *(struct virtio_blk_outhdr *)at(HEADER) = (struct virtio_blk_outhdr){.type = type, .sector = sector};
    *(uint8_t *)at(STATUS) = NO_STATUS;
    describe(&disk_ring, index++, HEADER, sizeof(struct virtio_blk_outhdr), VRING_DESC_F_NEXT);
    if (length)
        describe(&disk_ring, index++, address, length,
                 (uint16_t)(VRING_DESC_F_NEXT | (is_out ? 0 : VRING_DESC_F_WRITE)));
    describe(&disk_ring, index, STATUS, 1, VRING_DESC_F_WRITE);
    count = offer_chain(&disk_ring, 0);
    wait_for_used(&disk_ring, count);
    if (written)
        *written = disk_ring.used->ring[(count - 1) % RING_SIZE].len;
    return *(uint8_t *)at(STATUS);
}

uint8_t read_sector(uint64_t sector)
{
    return request(VIRTIO_BLK_T_IN, sector, DISK_DATA, SECTOR, NULL);
}

void request_nothing(void)
{
    describe(&disk_ring, 0, HEADER, sizeof(struct virtio_blk_outhdr), 0);
    offer_chain(&disk_ring, 0);
}

void assert_disk_serves(void)
{
    start_disk();
    *(char *)at(DISK_DATA) = 0;
    ck_assert_uint_eq(read_sector(0), VIRTIO_BLK_S_OK);
    ck_assert_int_eq(*(char *)at(DISK_DATA), 'A');
}

bool disk_answers_at(uint64_t address)
{
    return load(&vm.mmio, address + DEVICE, 4) == DISK_SECTORS;
}
