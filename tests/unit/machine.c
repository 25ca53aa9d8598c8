/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of devices share, and fuzzers use as well; see machine.h. */
#include "machine.h"
#include "device/power.h"
#include "loop.h"
#include "virtio/mmio.h"
#include <glib.h>
#include <linux/pci_regs.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>

enum { PAGE = 4096, NOTIFY = 3 * PAGE };

struct vm vm;

static uint64_t registers; /* of the device that is driven */
static bool     is_mmio;

void make_machine(void)
{
    g_assert_true(loop_init());
    g_assert_true(vm_init(&vm, -1));
    g_assert_true(memory_create(&vm.memory, MACHINE_MEMORY));
    g_assert_true(power_init(&vm));
    g_assert_true(pci_init(&vm));
}

uint64_t load(struct bus *bus, uint64_t address, unsigned size)
{
    uint64_t value = 0;

    bus_do(bus, address, size, false, &value);
    return value;
}

void store(struct bus *bus, uint64_t address, unsigned size, uint64_t value)
{
    bus_do(bus, address, size, true, &value);
}

void *at(uint64_t address)
{
    return vm.memory.base + address;
}

uint64_t config(unsigned slot, unsigned offset)
{
    return PCI_ECAM + (slot << 15) + offset;
}

/* --- the driver --- */

enum place {
    STATUS,
    OFFERED_SELECT,
    OFFERED,
    FEATURES_SELECT,
    FEATURES,
    QUEUE_SELECT,
    QUEUE_SIZE,
    QUEUE_DESCRIPTORS,
    QUEUE_AVAILABLE,
    QUEUE_USED,
    QUEUE_ENABLE,
    PLACES
};

static const struct {
    unsigned pci, pci_size, mmio;
} places[PLACES] = {
    [STATUS] = {VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_MMIO_STATUS},
    [OFFERED_SELECT] = {VIRTIO_PCI_COMMON_DFSELECT, 4, VIRTIO_MMIO_DEVICE_FEATURES_SEL},
    [OFFERED] = {VIRTIO_PCI_COMMON_DF, 4, VIRTIO_MMIO_DEVICE_FEATURES},
    [FEATURES_SELECT] = {VIRTIO_PCI_COMMON_GFSELECT, 4, VIRTIO_MMIO_DRIVER_FEATURES_SEL},
    [FEATURES] = {VIRTIO_PCI_COMMON_GF, 4, VIRTIO_MMIO_DRIVER_FEATURES},
    [QUEUE_SELECT] = {VIRTIO_PCI_COMMON_Q_SELECT, 2, VIRTIO_MMIO_QUEUE_SEL},
    [QUEUE_SIZE] = {VIRTIO_PCI_COMMON_Q_SIZE, 2, VIRTIO_MMIO_QUEUE_NUM},
    [QUEUE_DESCRIPTORS] = {VIRTIO_PCI_COMMON_Q_DESCLO, 4, VIRTIO_MMIO_QUEUE_DESC_LOW},
    [QUEUE_AVAILABLE] = {VIRTIO_PCI_COMMON_Q_AVAILLO, 4, VIRTIO_MMIO_QUEUE_AVAIL_LOW},
    [QUEUE_USED] = {VIRTIO_PCI_COMMON_Q_USEDLO, 4, VIRTIO_MMIO_QUEUE_USED_LOW},
    [QUEUE_ENABLE] = {VIRTIO_PCI_COMMON_Q_ENABLE, 2, VIRTIO_MMIO_QUEUE_READY},
};

void drive_pci(unsigned slot)
{
    registers = load(&vm.mmio, config(slot, PCI_BASE_ADDRESS_0), 4);
    is_mmio = false;
}

void drive_mmio(unsigned number)
{
    registers = virtio_mmio_address(number);
    is_mmio = true;
}

uint64_t driven(unsigned offset)
{
    return registers + offset;
}

static void set(enum place place, uint64_t value)
{
    if (is_mmio)
        store(&vm.mmio, registers + places[place].mmio, 4, value);
    else
        store(&vm.mmio, registers + places[place].pci, places[place].pci_size, value);
}

static uint64_t get(enum place place)
{
    if (is_mmio)
        return load(&vm.mmio, registers + places[place].mmio, 4);
    return load(&vm.mmio, registers + places[place].pci, places[place].pci_size);
}

void set_status(uint8_t status)
{
    set(STATUS, status);
}

uint8_t get_status(void)
{
    return (uint8_t)get(STATUS);
}

uint64_t get_offered(void)
{
    uint64_t features = 0;

    for (unsigned i = 0; i < 2; i++) {
        set(OFFERED_SELECT, i);
        features |= get(OFFERED) << (32 * i);
    }
    return features;
}

bool negotiate_only(uint64_t features)
{
    set_status(0);
    set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    for (unsigned i = 0; i < 2; i++) {
        set(FEATURES_SELECT, i);
        set(FEATURES, (uint32_t)(features >> (32 * i)));
    }
    set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
    return get_status() & VIRTIO_CONFIG_S_FEATURES_OK;
}

bool negotiate(uint64_t features)
{
    return negotiate_only(features | UINT64_C(1) << VIRTIO_F_VERSION_1);
}

struct ring set_up_ring(uint16_t index, uint64_t address)
{
    memset(at(address), 0, (size_t)3 * PAGE);
    set(QUEUE_SELECT, index);
    set(QUEUE_SIZE, RING_SIZE);
    set(QUEUE_DESCRIPTORS, address);
    set(QUEUE_AVAILABLE, address + PAGE);
    set(QUEUE_USED, address + 2 * PAGE);
    set(QUEUE_ENABLE, 1);
    return (struct ring){index, at(address), at(address + PAGE), at(address + 2 * PAGE)};
}

void go(void)
{
    set_status(get_status() | VIRTIO_CONFIG_S_DRIVER_OK);
    g_assert_false(get_status() & VIRTIO_CONFIG_S_NEEDS_RESET);
}

void notify(const struct ring *ring)
{
    if (is_mmio)
        store(&vm.mmio, registers + VIRTIO_MMIO_QUEUE_NOTIFY, 4, ring->index);
    else
        store(&vm.mmio, registers + NOTIFY + ring->index * 4u, 2, ring->index);
}

void describe(struct ring *ring, unsigned index, uint64_t address, uint32_t length, uint16_t flags)
{
    ring->descriptors[index] = (struct vring_desc){address, length, flags, (uint16_t)(index + 1)};
}

uint16_t offer_chain(struct ring *ring, uint16_t head)
{
    const uint16_t count = (uint16_t)(ring->available->idx + 1);

    /* A driver that offers more than the ring holds writes where the device may be reading. */
    __atomic_store_n(&ring->available->ring[ring->available->idx % RING_SIZE], head, __ATOMIC_RELAXED);
    __atomic_store_n(&ring->available->idx, count, __ATOMIC_RELEASE);
    notify(ring);
    return count;
}

static void wait_until(bool (*is_so)(const struct ring *, uint16_t), const struct ring *ring, uint16_t count,
                       const char *what)
{
    const gint64 limit = g_get_monotonic_time() + MACHINE_PATIENCE_S * G_USEC_PER_SEC;

    while (!is_so(ring, count)) {
        if (g_get_monotonic_time() > limit)
            g_error("%s", what);
        g_usleep(20);
    }
}

static bool is_used(const struct ring *ring, uint16_t count)
{
    return __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) == count;
}

void wait_for_used(const struct ring *ring, uint16_t count)
{
    wait_until(is_used, ring, count, "the device does not give the chain back");
}

static bool is_broken(const struct ring *ring, uint16_t count)
{
    (void)ring;
    (void)count;
    return get_status() & VIRTIO_CONFIG_S_NEEDS_RESET;
}

void wait_for_break(void)
{
    wait_until(is_broken, NULL, 0, "the device does not ask for a reset");
}

static bool is_at_end(const struct ring *ring, uint16_t count)
{
    return is_used(ring, count) || is_broken(ring, count);
}

void wait_for_end(const struct ring *ring, uint16_t count)
{
    wait_until(is_at_end, ring, count, "the device neither serves nor breaks");
}
