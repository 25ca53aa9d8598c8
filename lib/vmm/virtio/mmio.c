/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registers of virtio over memory. Notifications come by ioeventfd, and by exits where KVM has none to give; an
 * interrupt is an edge, of a line that no other device has.
 */
#include "mmio.h"
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

enum {
    MAGIC = 0x74726976, /* "virt" */
    VERSION = 2,
    VENDOR = 0x1af4,
    REGISTER = 4, /* bytes, all of which are read or written at once */
    DEVICES = 17
};

struct virtio_mmio {
    struct virtio_device *device;
    unsigned              line;
    atomic_uint           interrupts; /* bits of the status that the driver has not acknowledged */
};

static struct virtio_device *devices[DEVICES];
static unsigned              count;
static bool                  is_on;

/* --- places --- */

unsigned virtio_mmio_count(void)
{
    return count;
}

uint64_t virtio_mmio_address(unsigned number)
{
    return MEMORY_HOLE + (uint64_t)number * VIRTIO_MMIO_PAGE;
}

/* First those of the I/O APIC alone, then those which had no use on a PC. */
unsigned virtio_mmio_line(unsigned number)
{
    static const uint8_t lines[DEVICES] = {16, 17, 18, 19, 20, 21, 22, 23, 5, 6, 7, 10, 11, 12, 13, 14, 15};

    return lines[number];
}

/* --- registers --- */

static void interrupt(struct virtio_device *device, int queue)
{
    struct virtio_mmio *mmio = device->transport;

    atomic_fetch_or(&mmio->interrupts,
                    queue == VIRTIO_CONFIG_CHANGED ? VIRTIO_MMIO_INT_CONFIG : VIRTIO_MMIO_INT_VRING);
    vm_interrupt(device->vm, mmio->line);
}

static void reset(struct virtio_mmio *mmio)
{
    virtio_reset(mmio->device);
    atomic_store(&mmio->interrupts, 0);
}

static uint32_t read_register(struct virtio_mmio *mmio, uint64_t offset)
{
    struct virtio_device   *device = mmio->device;
    const struct virtqueue *queue = virtio_get_queue(device);

    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        return MAGIC;
    case VIRTIO_MMIO_VERSION:
        return VERSION;
    case VIRTIO_MMIO_DEVICE_ID:
        return device->kind->id;
    case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return virtio_get_offered(device);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return queue ? VIRTQUEUE_SIZE : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return queue && queue->enabled;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return atomic_load(&mmio->interrupts);
    case VIRTIO_MMIO_STATUS:
        return virtio_get_status(device);
    case VIRTIO_MMIO_SHM_LEN_LOW:
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return UINT32_MAX; /* there is no shared memory */
    default:
        return 0;
    }
}

static void write_queue(struct virtio_device *device, uint64_t offset, uint32_t value)
{
    struct virtqueue *queue = virtio_get_new_queue(device);

    if (!queue)
        return;
    switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
        queue->size = value <= VIRTQUEUE_SIZE ? (uint16_t)value : 0;
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        if (value == 1)
            virtio_enable_queue(device, queue);
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        virtio_set_address(&queue->descriptors, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
        virtio_set_address(&queue->available, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
        break;
    case VIRTIO_MMIO_QUEUE_USED_LOW:
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        virtio_set_address(&queue->used, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
        break;
    default:
        break;
    }
}

static void write_register(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
    struct virtio_device *device = mmio->device;

    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        device->offered_select = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        device->accepted_select = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        virtio_set_accepted(device, value);
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        device->queue_select = value <= UINT16_MAX ? (uint16_t)value : UINT16_MAX;
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        virtio_kick(device, value);
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        atomic_fetch_and(&mmio->interrupts, ~value);
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        if (value)
            write_queue(device, offset, value);
        else
            virtio_disable_queue(device);
        break;
    case VIRTIO_MMIO_STATUS:
        if ((uint8_t)value)
            virtio_set_status(device, (uint8_t)value);
        else
            reset(mmio);
        break;
    default:
        write_queue(device, offset, value);
        break;
    }
}

static void access_config(struct virtio_device *device, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    if (write)
        virtio_write_config(device, offset, size, *value);
    else
        virtio_read_config(device, offset, size, value);
}

static void access_page(void *data, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    struct virtio_mmio *mmio = data;
    const bool          is_whole = size == REGISTER && offset % REGISTER == 0;

    if (offset >= VIRTIO_MMIO_CONFIG)
        access_config(mmio->device, offset - VIRTIO_MMIO_CONFIG, size, write, value);
    else if (!write)
        *value = is_whole ? read_register(mmio, offset) : 0;
    else if (is_whole)
        write_register(mmio, offset, (uint32_t)*value);
}

/* --- power --- */

/* Without an ioeventfd a notification is an access like any other, and slower. */
static void watch_notifications(const struct virtio_device *device, uint64_t address)
{
    for (unsigned i = 0; i < device->queue_count; i++) {
        const struct kvm_ioeventfd event = {.datamatch = i,
                                            .addr = address + VIRTIO_MMIO_QUEUE_NOTIFY,
                                            .len = REGISTER,
                                            .fd = device->kicks[i],
                                            .flags = KVM_IOEVENTFD_FLAG_DATAMATCH};

        ioctl(device->vm->descriptor, KVM_IOEVENTFD, &event);
    }
}

void virtio_mmio_power_on(void)
{
    for (unsigned i = 0; i < count; i++)
        watch_notifications(devices[i], virtio_mmio_address(i));
    is_on = true;
}

void virtio_mmio_power_off(void)
{
    is_on = false;
    for (unsigned i = 0; i < count; i++) {
        pthread_mutex_lock(&devices[i]->lock);
        reset(devices[i]->transport);
        pthread_mutex_unlock(&devices[i]->lock);
    }
}

bool virtio_mmio_plug(struct virtio_device *device, struct failure *failure)
{
    struct virtio_mmio    *mmio = calloc(1, sizeof(*mmio));
    const struct bus_range range = {virtio_mmio_address(count), VIRTIO_MMIO_PAGE, access_page, mmio, &device->lock};

    device->transport = mmio;
    device->interrupt = interrupt;
    if (!mmio)
        return fail(failure, WIRE_HOST, NULL, "no memory for a device");
    if (is_on)
        return fail(failure, WIRE_UNSUPPORTED, "machine", "a machine without a bus takes no device while it runs");
    if (count == DEVICES)
        return fail(failure, WIRE_VALUE, "machine", "more than %d devices, each of which has a line of its own",
                    DEVICES);
    mmio->device = device;
    mmio->line = virtio_mmio_line(count);
    if (!bus_add(&device->vm->mmio, &range))
        return fail(failure, WIRE_HOST, NULL, "no place for a device");
    devices[count++] = device;
    return true;
}
