/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of a virtio device between power-on, its driver and a reset. */
#include "device.h"
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <sys/eventfd.h>

static void reset_queues(struct virtio_device *device)
{
    for (unsigned i = 0; i < device->queue_count; i++)
        virtqueue_reset(&device->queues[i], &device->vm->memory);
}

bool virtio_init(struct virtio_device *device, const struct virtio_kind *kind, struct vm *vm, unsigned queues)
{
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

void virtio_destroy(struct virtio_device *device)
{
    while (device->queue_count)
        close(device->kicks[--device->queue_count]);
}

void virtio_break(struct virtio_device *device)
{
    if (!atomic_exchange(&device->needs_reset, true))
        device->interrupt(device, VIRTIO_CONFIG_CHANGED);
}

bool virtio_start(struct virtio_device *device)
{
    if (!device->started)
        device->started = device->kind->start(device);
    return device->started;
}

void virtio_reset(struct virtio_device *device)
{
    if (device->started)
        device->kind->stop(device);
    device->started = false;
    device->accepted = 0;
    atomic_store(&device->needs_reset, false);
    reset_queues(device);
}

void virtio_write_config(struct virtio_device *device, uint64_t offset, unsigned size, uint64_t value)
{
    const struct virtio_kind *kind = device->kind;

    if (!kind->written || offset != kind->writable_offset || size != kind->writable_size)
        return;
    memcpy(device->config + offset, &value, size);
    kind->written(device);
}

void virtio_kick(struct virtio_device *device, unsigned queue)
{
    const uint64_t one = 1;

    if (queue < device->queue_count && write(device->kicks[queue], &one, sizeof(one)) < 0)
        abort(); /* nobody lets it count that far */
}
