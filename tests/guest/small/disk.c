/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A driver for the engine's virtio disk, which reads one sector after the other for as long as the guest runs. */
#include "disk.h"

enum {
    ECAM = 0xe0000000,
    SLOTS = 32,
    DISK = 0x10421af4, /* device and vendor */
    BAR = 0x10,
    CAPABILITIES = 0x34,
    MSIX = 0x11,
    MSIX_ENABLE = 1 << 15,

    /* Within the BAR, as the engine lays it out. */
    ACCEPTED_SELECT = 0x08,
    ACCEPTED = 0x0c,
    STATUS = 0x14,
    QUEUE_SIZE = 0x18,
    QUEUE_VECTOR = 0x1a,
    QUEUE_ENABLE = 0x1c,
    QUEUE_DESCRIPTORS = 0x20,
    QUEUE_AVAILABLE = 0x28,
    QUEUE_USED = 0x30,
    NOTIFY = 0x3000,
    TABLE = 0x6000,

    FEATURES_OK = 1 | 2 | 8,
    DRIVER_OK = FEATURES_OK | 4,
    QUEUE = 4,
    SECTOR = 512,
    NEXT = 1,
    WRITABLE = 2
};

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

static struct descriptor descriptors[QUEUE] __attribute__((aligned(16)));
static struct {
    uint16_t flags, index, ring[QUEUE], event;
} available __attribute__((aligned(16)));
static struct {
    uint16_t flags, index;
    struct {
        uint32_t index, length;
    } ring[QUEUE];
    uint16_t event;
} used __attribute__((aligned(16)));
static struct {
    uint32_t type, reserved;
    uint64_t sector;
} header;
static uint8_t  data[SECTOR], status;
static uint64_t bar;

static void set16(unsigned where, uint16_t value)
{
    *(volatile uint16_t *)(bar + where) = value;
}

static void set32(unsigned where, uint32_t value)
{
    *(volatile uint32_t *)(bar + where) = value;
}

static void set_address(unsigned where, const volatile void *address)
{
    set32(where, (uint32_t)(uint64_t)address);
    set32(where + 4, 0);
}

static void read_one(void)
{
    available.ring[available.index % QUEUE] = 0;
    __atomic_store_n(&available.index, (uint16_t)(available.index + 1), __ATOMIC_RELEASE);
    set16(NOTIFY, 0);
}

static void enable_interrupt(volatile uint8_t *config, uint8_t vector)
{
    unsigned at = config[CAPABILITIES];

    while (at && config[at] != MSIX)
        at = config[at + 1];
    set32(TABLE, 0xfee00000);
    set32(TABLE + 4, 0);
    set32(TABLE + 8, vector);
    set32(TABLE + 12, 0);
    *(volatile uint16_t *)(config + at + 2) = MSIX_ENABLE;
}

static void start(void)
{
    *(volatile uint8_t *)(bar + STATUS) = 0;
    set32(ACCEPTED_SELECT, 1);
    set32(ACCEPTED, 1); /* version 1 of the standard */
    *(volatile uint8_t *)(bar + STATUS) = FEATURES_OK;
    set16(QUEUE_SIZE, QUEUE);
    set16(QUEUE_VECTOR, 0);
    set_address(QUEUE_DESCRIPTORS, descriptors);
    set_address(QUEUE_AVAILABLE, &available);
    set_address(QUEUE_USED, &used);
    set16(QUEUE_ENABLE, 1);
    *(volatile uint8_t *)(bar + STATUS) = DRIVER_OK;
}

void disk_begin(uint8_t vector)
{
    volatile uint8_t *config = 0;

    for (unsigned slot = 0; slot < SLOTS && !config; slot++) {
        volatile uint8_t *place = (volatile uint8_t *)(uint64_t)(ECAM + ((uint64_t)slot << 15));

        if (*(volatile uint32_t *)place == DISK)
            config = place;
    }
    if (!config)
        return;
    bar = *(volatile uint32_t *)(config + BAR) & ~15u;
    descriptors[0] = (struct descriptor){(uint64_t)&header, sizeof(header), NEXT, 1};
    descriptors[1] = (struct descriptor){(uint64_t)data, sizeof(data), NEXT | WRITABLE, 2};
    descriptors[2] = (struct descriptor){(uint64_t)&status, 1, WRITABLE, 0};
    enable_interrupt(config, vector);
    start();
    read_one();
}

void disk_go_on(void)
{
    if (__atomic_load_n(&used.index, __ATOMIC_ACQUIRE) == available.index)
        read_one();
}
