/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of devices share; see machine.h. */
#include "machine.h"
#include "device/power.h"
#include "loop.h"
#include "unit.h"
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

enum { PAGE = 4096, NOTIFY = 3 * PAGE };

struct vm vm;

static uint64_t registers; /* of the device that is driven */

void make_machine(void)
{
    ck_assert(loop_init());
    ck_assert(vm_init(&vm, -1));
    ck_assert(memory_create(&vm.memory, MACHINE_MEMORY));
    ck_assert(power_init(&vm));
    ck_assert(pci_init(&vm));
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

void drive_pci(unsigned slot)
{
    registers = load(&vm.mmio, config(slot, PCI_BASE_ADDRESS_0), 4);
}

static void set(unsigned offset, unsigned size, uint64_t value)
{
    store(&vm.mmio, registers + offset, size, value);
}

void set_status(uint8_t status)
{
    set(VIRTIO_PCI_COMMON_STATUS, 1, status);
}

uint8_t get_status(void)
{
    return (uint8_t)load(&vm.mmio, registers + VIRTIO_PCI_COMMON_STATUS, 1);
}

bool negotiate(uint64_t features)
{
    features |= UINT64_C(1) << VIRTIO_F_VERSION_1;
    set_status(0);
    set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    for (unsigned i = 0; i < 2; i++) {
        set(VIRTIO_PCI_COMMON_GFSELECT, 4, i);
        set(VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> (32 * i)));
    }
    set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
    return get_status() & VIRTIO_CONFIG_S_FEATURES_OK;
}

struct ring set_up_ring(uint16_t index, uint64_t address)
{
    memset(at(address), 0, (size_t)3 * PAGE);
    set(VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    set(VIRTIO_PCI_COMMON_Q_SIZE, 2, RING_SIZE);
    set(VIRTIO_PCI_COMMON_Q_DESCLO, 4, address);
    set(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, address + PAGE);
    set(VIRTIO_PCI_COMMON_Q_USEDLO, 4, address + 2 * PAGE);
    set(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    return (struct ring){index, at(address), at(address + PAGE), at(address + 2 * PAGE)};
}

void go(void)
{
    set_status(get_status() | VIRTIO_CONFIG_S_DRIVER_OK);
    ck_assert_uint_eq(get_status() & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

void offer_chain(struct ring *ring, uint16_t head)
{
    ring->available->ring[ring->available->idx % RING_SIZE] = head;
    __atomic_store_n(&ring->available->idx, ring->available->idx + 1, __ATOMIC_RELEASE);
    set(NOTIFY + ring->index * 4u, 2, ring->index);
}

static void wait_until(bool (*is_so)(const struct ring *, uint16_t), const struct ring *ring, uint16_t count,
                       const char *what)
{
    const gint64 limit = g_get_monotonic_time() + MACHINE_PATIENCE_S * G_USEC_PER_SEC;

    while (!is_so(ring, count)) {
        ck_assert_msg(g_get_monotonic_time() < limit, "%s", what);
        g_usleep(100);
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
