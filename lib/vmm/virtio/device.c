/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of a virtio device between power-on, its driver and a reset. */
#include "device.h"
#include "mmio.h"
#include "pci.h"
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <sys/eventfd.h>

static struct virtio_device *plugged;

static void reset_queues(struct virtio_device *device)
{
    for (unsigned i = 0; i < device->queue_count; i++)
        virtqueue_reset(&device->queues[i], &device->vm->memory);
}

bool virtio_name(struct virtio_device *device, const char *class_name, const char *id, struct failure *failure)
{
    const int length = snprintf(device->name, sizeof(device->name), "%s.%s", class_name, id);

    if (length >= VIRTIO_NAME)
        return fail(failure, WIRE_VALUE, NULL, "the name %s… is too long", device->name);
    return !virtio_find(device->name) ? true
                                      : fail(failure, WIRE_VALUE, NULL, "another %s has that name", class_name);
}

bool virtio_init(struct virtio_device *device, const struct virtio_kind *kind, struct vm *vm, unsigned queues)
{
    pthread_mutex_init(&device->lock, NULL);
    device->kind = kind;
    device->vm = vm;
    device->offered |= UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC |
                       UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX;
    for (device->queue_count = 0; device->queue_count < queues; device->queue_count++) {
        const int kick = eventfd(0, EFD_CLOEXEC);

        if (kick < 0)
            return false;
        device->kicks[device->queue_count] = kick;
    }
    reset_queues(device);
    return true;
}

bool virtio_plug(struct virtio_device *device, struct failure *failure)
{
    if (!(device->vm->has_pci ? virtio_pci_plug : virtio_mmio_plug)(device, failure))
        return false;
    device->next = plugged;
    plugged = device;
    return true;
}

struct virtio_device *virtio_find(const char *name)
{
    struct virtio_device *device = plugged;

    while (device && !(*name && strcmp(device->name, name) == 0))
        device = device->next;
    return device;
}

void virtio_list(char *text, size_t size)
{
    size_t length = 0;

    *text = '\0';
    for (const struct virtio_device *device = plugged; device; device = device->next) {
        if (*device->name && length + VIRTIO_NAME < size)
            length += (size_t)snprintf(text + length, size - length, "%s\n", device->name);
    }
}

void virtio_let_go(void)
{
    for (struct virtio_device *device = plugged; device; device = device->next) {
        if (device->kind->let_go)
            device->kind->let_go(device);
    }
}

static void forget(const struct virtio_device *device)
{
    struct virtio_device **link = &plugged;

    while (*link && *link != device)
        link = &(*link)->next;
    if (*link)
        *link = device->next;
}

void virtio_destroy(struct virtio_device *device)
{
    forget(device);
    while (device->queue_count)
        close(device->kicks[--device->queue_count]);
    free(device->transport);
    device->transport = NULL;
}

void virtio_break(struct virtio_device *device)
{
    if (!atomic_exchange(&device->needs_reset, true))
        device->interrupt(device, VIRTIO_CONFIG_CHANGED);
}

void virtio_lose(struct virtio_device *device)
{
    const uint64_t one = 1;

    atomic_store(&device->is_lost, true);
    if (write(device->vm->lost_descriptor, &one, sizeof(one)) < 0)
        abort(); /* nobody lets it count that far */
}

const struct virtio_device *virtio_take_lost(void)
{
    struct virtio_device *device = plugged;

    while (device && !atomic_exchange(&device->is_lost, false))
        device = device->next;
    if (device && device->kind->lost) {
        pthread_mutex_lock(&device->lock);
        device->kind->lost(device);
        pthread_mutex_unlock(&device->lock);
    }
    return device;
}

void virtio_kick(struct virtio_device *device, unsigned queue)
{
    const uint64_t one = 1;

    if (queue < device->queue_count && write(device->kicks[queue], &one, sizeof(one)) < 0)
        abort(); /* nobody lets it count that far */
}

/* --- what the driver reads and writes --- */

void virtio_reset(struct virtio_device *device)
{
    if (device->started)
        device->kind->stop(device);
    device->started = false;
    device->status = 0;
    device->accepted = 0;
    device->offered_select = device->accepted_select = 0;
    device->queue_select = 0;
    atomic_store(&device->needs_reset, false);
    reset_queues(device);
}

static bool start(struct virtio_device *device)
{
    if (!device->started)
        device->started = device->kind->start(device);
    return device->started;
}

void virtio_set_status(struct virtio_device *device, uint8_t value)
{
    const uint8_t added = value & ~device->status;

    /* The driver sees that the bit stays away. */
    if (added & VIRTIO_CONFIG_S_FEATURES_OK &&
        (device->accepted & ~device->offered || !(device->accepted >> VIRTIO_F_VERSION_1 & 1)))
        value &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
    device->status |= value;
    if (!(added & VIRTIO_CONFIG_S_DRIVER_OK))
        return;
    if (!(device->status & VIRTIO_CONFIG_S_FEATURES_OK) || !start(device))
        virtio_break(device);
}

uint8_t virtio_get_status(const struct virtio_device *device)
{
    return device->status | (device->needs_reset ? VIRTIO_CONFIG_S_NEEDS_RESET : 0);
}

static uint32_t half(uint64_t features, uint32_t select)
{
    return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

uint32_t virtio_get_offered(const struct virtio_device *device)
{
    return half(device->offered, device->offered_select);
}

uint32_t virtio_get_accepted(const struct virtio_device *device)
{
    return half(device->accepted, device->accepted_select);
}

void virtio_set_address(uint64_t *address, bool is_high, uint32_t value)
{
    if (is_high)
        *address = (uint64_t)value << 32 | (uint32_t)*address;
    else
        *address = (*address & ~(uint64_t)UINT32_MAX) | value;
}

void virtio_set_accepted(struct virtio_device *device, uint32_t value)
{
    if (device->accepted_select < 2 && !(device->status & VIRTIO_CONFIG_S_FEATURES_OK))
        virtio_set_address(&device->accepted, device->accepted_select == 1, value);
}

struct virtqueue *virtio_get_queue(struct virtio_device *device)
{
    return device->queue_select < device->queue_count ? &device->queues[device->queue_select] : NULL;
}

/* A queue is set up before it is enabled, and never changed after. */
struct virtqueue *virtio_get_new_queue(struct virtio_device *device)
{
    struct virtqueue *queue = virtio_get_queue(device);

    return queue && !queue->enabled && !device->started ? queue : NULL;
}

void virtio_enable_queue(struct virtio_device *device, struct virtqueue *queue)
{
    if (!virtqueue_enable(queue, device->accepted >> VIRTIO_RING_F_EVENT_IDX & 1))
        virtio_break(device);
}

void virtio_disable_queue(struct virtio_device *device)
{
    struct virtqueue *queue = virtio_get_queue(device);

    if (queue && !device->started)
        queue->enabled = false;
}

void virtio_read_config(const struct virtio_device *device, uint64_t offset, unsigned size, uint64_t *value)
{
    *value = 0;
    if (offset + size <= device->config_size)
        memcpy(value, device->config + offset, size);
}

void virtio_write_config(struct virtio_device *device, uint64_t offset, unsigned size, uint64_t value)
{
    const struct virtio_kind *kind = device->kind;

    if (!kind->written || offset != kind->writable_offset || size != kind->writable_size)
        return;
    memcpy(device->config + offset, &value, size);
    kind->written(device);
}
