/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* virtio over PCI, from a driver's side. */
#include "virtio.h"

enum {
    VENDOR = 0x1af4,
    FIRST_DEVICE = 0x1040,
    SLOTS = 32,
    COMMAND = 4,
    COMMAND_MEMORY = 2,
    BAR = 0x10,
    CAPABILITIES = 0x34,
    VENDOR_CAPABILITY = 9,
    COMMON = 1,
    NOTIFY = 2,
    CONFIG = 4,

    DRIVER_FEATURES_SELECT = 8,
    DRIVER_FEATURES = 12,
    STATUS = 20,
    QUEUE_SELECT = 22,
    QUEUE_SIZE = 24,
    QUEUE_ENABLE = 28,
    QUEUE_NOTIFY = 30,
    QUEUE_DESCRIPTORS = 32,
    QUEUE_AVAILABLE = 40,
    QUEUE_USED = 48,

    ACKNOWLEDGED = 1,
    DRIVER = 2,
    DRIVER_OK = 4,
    FEATURES_OK = 8
};

static volatile uint8_t *r8(volatile uint8_t *base, unsigned offset)
{
    return base + offset;
}

static volatile uint16_t *r16(volatile uint8_t *base, unsigned offset)
{
    return (volatile uint16_t *)(base + offset);
}

static volatile uint32_t *r32(volatile uint8_t *base, unsigned offset)
{
    return (volatile uint32_t *)(base + offset);
}

/* --- finding it --- */

static void take_capability(struct virtio *device, volatile uint8_t *capability, volatile uint8_t *bar)
{
    volatile uint8_t *place = bar + *r32(capability, 8);

    switch (*r8(capability, 3)) {
    case COMMON:
        device->common = place;
        break;
    case NOTIFY:
        device->notify = place;
        device->notify_step = *r32(capability, 16);
        break;
    case CONFIG:
        device->config = place;
        break;
    default:
        break;
    }
}

bool virtio_find(struct virtio *device, unsigned kind)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        volatile uint8_t *function = (volatile uint8_t *)(uintptr_t)PCI_ECAM + slot * 0x8000;
        volatile uint8_t *bar;

        if (*r32(function, 0) != ((FIRST_DEVICE + kind) << 16 | VENDOR))
            continue;
        *device = (struct virtio){0};
        *r16(function, COMMAND) |= COMMAND_MEMORY;
        bar = (volatile uint8_t *)(uintptr_t)(*r32(function, BAR) & ~0xfu);
        for (unsigned at = *r8(function, CAPABILITIES); at; at = *r8(function, at + 1)) {
            if (*r8(function, at) == VENDOR_CAPABILITY)
                take_capability(device, function + at, bar);
        }
        return device->common && device->notify;
    }
    return false;
}

volatile uint16_t *virtio_doorbell(struct virtio *device, unsigned queue)
{
    *r16(device->common, QUEUE_SELECT) = (uint16_t)queue;
    return (volatile uint16_t *)(device->notify + *r16(device->common, QUEUE_NOTIFY) * device->notify_step);
}

/* --- setting it up --- */

bool virtio_begin(struct virtio *device, uint64_t features)
{
    volatile uint8_t *status = r8(device->common, STATUS);

    *status = 0;
    *status = ACKNOWLEDGED | DRIVER;
    for (unsigned half = 0; half < 2; half++) {
        *r32(device->common, DRIVER_FEATURES_SELECT) = half;
        *r32(device->common, DRIVER_FEATURES) = (uint32_t)(features >> (32 * half));
    }
    *status = ACKNOWLEDGED | DRIVER | FEATURES_OK;
    return *status & FEATURES_OK;
}

static void set_address(struct virtio *device, unsigned offset, const volatile void *what)
{
    *r32(device->common, offset) = (uint32_t)(uintptr_t)what;
    *r32(device->common, offset + 4) = (uint32_t)((uintptr_t)what >> 32);
}

void virtio_add_queue(struct virtio *device, unsigned number, struct virtqueue *queue)
{
    queue->number = (uint16_t)number;
    queue->doorbell = virtio_doorbell(device, number);
    *r16(device->common, QUEUE_SIZE) = VIRTIO_QUEUE_SIZE;
    set_address(device, QUEUE_DESCRIPTORS, queue->descriptors);
    set_address(device, QUEUE_AVAILABLE, &queue->available);
    set_address(device, QUEUE_USED, &queue->used);
    *r16(device->common, QUEUE_ENABLE) = 1;
}

void virtio_go(struct virtio *device)
{
    *r8(device->common, STATUS) = ACKNOWLEDGED | DRIVER | FEATURES_OK | DRIVER_OK;
}

/* --- using it --- */

void virtqueue_offer(struct virtqueue *queue, uint16_t head)
{
    const uint16_t index = queue->available.index;

    queue->available.ring[index % VIRTIO_QUEUE_SIZE] = head;
    __atomic_store_n(&queue->available.index, (uint16_t)(index + 1), __ATOMIC_RELEASE);
}

/* Only where the device asked for it: when what it waits for lies among what was offered since the last time. */
void virtqueue_kick(struct virtqueue *queue)
{
    const uint16_t before = queue->told;
    uint16_t       event;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    event = __atomic_load_n(&queue->used.available_event, __ATOMIC_RELAXED);
    queue->told = queue->available.index;
    if ((uint16_t)(queue->told - event - 1) >= (uint16_t)(queue->told - before))
        return;
    queue->kicks++;
    *queue->doorbell = queue->number;
}

int virtqueue_take(struct virtqueue *queue, uint32_t *written)
{
    const uint16_t at = queue->seen % VIRTIO_QUEUE_SIZE;

    if (__atomic_load_n(&queue->used.index, __ATOMIC_ACQUIRE) == queue->seen)
        return -1;
    queue->seen++;
    *written = queue->used.ring[at].length;
    return (int)queue->used.ring[at].id;
}
