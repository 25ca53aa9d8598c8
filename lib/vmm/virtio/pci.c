/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The registers of virtio over PCI. Notifications come by ioeventfd, and by exits where KVM has none to give. */
#include "pci.h"
#include "../device/pci.h"
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>

/* A page for each structure; the last two are those of MSI-X. */
enum {
    VENDOR = 0x1af4,
    FIRST_DEVICE = 0x1040,
    PAGE = 4096,
    COMMON = 0,
    ISR = PAGE,
    DEVICE = 2 * PAGE,
    NOTIFY = 3 * PAGE,
    BAR_SIZE = 8 * PAGE,
    NOTIFY_STEP = 4,
    ISR_QUEUE = 1,
    ISR_CONFIG = 2
};

_Static_assert((int)VIRTIO_QUEUES < (int)PCI_VECTORS, "a vector for each queue, and one for the configuration");

struct virtio_pci {
    struct pci_function   function; /* first: PCI knows this one */
    struct virtio_device *device;
    atomic_uchar          interrupts; /* bits of the ISR register */
    _Atomic uint16_t      config_vector;
    _Atomic uint16_t      queue_vectors[VIRTIO_QUEUES];
    unsigned              window; /* where in the configuration the way to the BAR is */
};

static struct virtio_pci *of(struct pci_function *function)
{
    return (struct virtio_pci *)function;
}

static void interrupt(struct virtio_device *device, int queue)
{
    struct virtio_pci *pci = device->transport;
    unsigned           vector;

    atomic_fetch_or(&pci->interrupts, queue == VIRTIO_CONFIG_CHANGED ? ISR_CONFIG : ISR_QUEUE);
    vector = queue == VIRTIO_CONFIG_CHANGED ? pci->config_vector : pci->queue_vectors[queue];
    pci_interrupt(&pci->function, vector);
}

static void reset(struct virtio_pci *pci)
{
    virtio_reset(pci->device);
    pci->config_vector = VIRTIO_MSI_NO_VECTOR;
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        pci->queue_vectors[i] = VIRTIO_MSI_NO_VECTOR;
    atomic_store(&pci->interrupts, 0);
}

/* --- the common configuration --- */

static void fill_common(struct virtio_pci *pci, struct virtio_pci_common_cfg *common)
{
    struct virtio_device   *device = pci->device;
    const struct virtqueue *queue = virtio_get_queue(device);

    *common = (struct virtio_pci_common_cfg){
        .device_feature_select = device->offered_select,
        .device_feature = virtio_get_offered(device),
        .guest_feature_select = device->accepted_select,
        .guest_feature = virtio_get_accepted(device),
        .msix_config = pci->config_vector,
        .num_queues = (uint16_t)device->queue_count,
        .device_status = virtio_get_status(device),
        .queue_select = device->queue_select,
        .queue_msix_vector = VIRTIO_MSI_NO_VECTOR,
    };
    if (!queue)
        return;
    common->queue_size = queue->size;
    common->queue_msix_vector = pci->queue_vectors[device->queue_select];
    common->queue_enable = queue->enabled;
    common->queue_notify_off = device->queue_select;
    common->queue_desc_lo = (uint32_t)queue->descriptors;
    common->queue_desc_hi = (uint32_t)(queue->descriptors >> 32);
    common->queue_avail_lo = (uint32_t)queue->available;
    common->queue_avail_hi = (uint32_t)(queue->available >> 32);
    common->queue_used_lo = (uint32_t)queue->used;
    common->queue_used_hi = (uint32_t)(queue->used >> 32);
}

static void read_common(struct virtio_pci *pci, uint64_t offset, unsigned size, uint64_t *value)
{
    struct virtio_pci_common_cfg common;

    *value = 0;
    fill_common(pci, &common);
    if (offset + size <= sizeof(common))
        memcpy(value, (uint8_t *)&common + offset, size);
}

static void set_vector(struct virtio_pci *pci, _Atomic uint16_t *vector, uint64_t value)
{
    *vector = value < pci->function.vector_count ? (uint16_t)value : VIRTIO_MSI_NO_VECTOR;
}

static void set_address(uint64_t *address, bool is_high, unsigned size, uint64_t value)
{
    if (size == 8)
        *address = value;
    else
        virtio_set_address(address, is_high, (uint32_t)value);
}

static void write_queue(struct virtio_pci *pci, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtqueue *queue = virtio_get_new_queue(pci->device);

    if (!queue)
        return;
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        queue->size = (uint16_t)value;
        break;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        if (value == 1)
            virtio_enable_queue(pci->device, queue);
        break;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        set_address(&queue->descriptors, offset == VIRTIO_PCI_COMMON_Q_DESCHI, size, value);
        break;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        set_address(&queue->available, offset == VIRTIO_PCI_COMMON_Q_AVAILHI, size, value);
        break;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        set_address(&queue->used, offset == VIRTIO_PCI_COMMON_Q_USEDHI, size, value);
        break;
    default:
        break;
    }
}

static void write_common(struct virtio_pci *pci, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio_device *device = pci->device;

    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        device->offered_select = (uint32_t)value;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        device->accepted_select = (uint32_t)value;
        break;
    case VIRTIO_PCI_COMMON_GF:
        virtio_set_accepted(device, (uint32_t)value);
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        set_vector(pci, &pci->config_vector, value);
        break;
    case VIRTIO_PCI_COMMON_STATUS:
        if ((uint8_t)value)
            virtio_set_status(device, (uint8_t)value);
        else
            reset(pci);
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        device->queue_select = (uint16_t)value;
        break;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        if (virtio_get_queue(device))
            set_vector(pci, &pci->queue_vectors[device->queue_select], value);
        break;
    default:
        write_queue(pci, offset, size, value);
        break;
    }
}

/* --- the BAR --- */

static void access_structure(struct virtio_pci *pci, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    switch (offset / PAGE * PAGE) {
    case COMMON:
        if (write)
            write_common(pci, offset, size, *value);
        else
            read_common(pci, offset, size, value);
        break;
    case ISR:
        if (!write)
            *value = atomic_exchange(&pci->interrupts, 0);
        break;
    case DEVICE:
        if (write)
            virtio_write_config(pci->device, offset - DEVICE, size, *value);
        else
            virtio_read_config(pci->device, offset - DEVICE, size, value);
        break;
    case NOTIFY:
        if (write)
            virtio_kick(pci->device, (unsigned)(offset - NOTIFY) / NOTIFY_STEP);
        break;
    default:
        break;
    }
}

static void access_registers(struct pci_function *function, uint64_t offset, unsigned size, bool write,
                             uint64_t *value)
{
    struct virtio_pci *pci = of(function);

    pthread_mutex_lock(&pci->device->lock);
    access_structure(pci, offset, size, write, value);
    pthread_mutex_unlock(&pci->device->lock);
}

/* Without an ioeventfd a notification is an access like any other, and slower. */
static void place(struct pci_function *function, uint64_t address, bool is_there)
{
    const struct virtio_device *device = of(function)->device;

    for (unsigned i = 0; i < device->queue_count; i++) {
        /* Of any length, for which KVM need not decode the instruction. */
        const struct kvm_ioeventfd event = {.addr = address + NOTIFY + i * NOTIFY_STEP,
                                            .fd = device->kicks[i],
                                            .flags = is_there ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN};

        ioctl(device->vm->descriptor, KVM_IOEVENTFD, &event);
    }
}

static void power_off(struct pci_function *function)
{
    struct virtio_pci *pci = of(function);

    pthread_mutex_lock(&pci->device->lock);
    reset(pci);
    pthread_mutex_unlock(&pci->device->lock);
}

static void destroy(struct pci_function *function)
{
    struct virtio_device *device = of(function)->device;

    device->kind->destroy(device);
}

/* --- the configuration --- */

/* A window onto the BAR, for who cannot reach it: the capability says where, and its last four bytes are there. */
static bool configure(struct pci_function *function, unsigned offset, unsigned size, bool write, uint64_t *value)
{
    const struct virtio_pci *pci = of(function);
    struct virtio_pci_cap    where;

    if (offset != pci->window + sizeof(where))
        return false;
    memcpy(&where, function->config + pci->window, sizeof(where));
    if (!write)
        *value = 0;
    if (where.bar || where.length != size || where.offset % size || where.offset >= NOTIFY + PAGE)
        return true;
    access_registers(function, where.offset, size, write, value);
    return true;
}

static void add_structure(struct virtio_pci *pci, uint8_t type, uint32_t offset, uint32_t length)
{
    const struct virtio_pci_notify_cap capability = {
        .cap = {.cfg_type = type,
                .offset = offset,
                .length = length,
                .cap_len = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? sizeof(capability) : sizeof(capability.cap)},
        .notify_off_multiplier = NOTIFY_STEP,
    };

    pci_add_capability(&pci->function, PCI_CAP_ID_VNDR, &capability.cap.cap_len, capability.cap.cap_len - 2u);
}

static void add_window(struct virtio_pci *pci)
{
    const struct virtio_pci_cfg_cap capability = {
        .cap = {.cfg_type = VIRTIO_PCI_CAP_PCI_CFG, .cap_len = sizeof(capability)}};
    uint8_t *writable = pci->function.writable;

    pci->window =
        pci_add_capability(&pci->function, PCI_CAP_ID_VNDR, &capability.cap.cap_len, sizeof(capability) - 2);
    writable[pci->window + offsetof(struct virtio_pci_cap, bar)] = 0xff;
    memset(writable + pci->window + offsetof(struct virtio_pci_cap, offset), 0xff, 8);
}

bool virtio_pci_plug(struct virtio_device *device, struct failure *failure)
{
    static const struct pci_kind kind = {access_registers, configure, place, power_off, destroy};
    struct virtio_pci           *pci = calloc(1, sizeof(*pci));

    device->transport = pci;
    if (!pci)
        return fail(failure, WIRE_HOST, NULL, "no memory for a device");
    pci->device = device;
    device->interrupt = interrupt;
    pci_describe(&pci->function, &kind, VENDOR, (uint16_t)(FIRST_DEVICE + device->kind->id),
                 device->kind->class_code);
    pci->function.name = device->name;
    pci->function.bar_size = BAR_SIZE;
    add_structure(pci, VIRTIO_PCI_CAP_COMMON_CFG, COMMON, sizeof(struct virtio_pci_common_cfg));
    add_structure(pci, VIRTIO_PCI_CAP_ISR_CFG, ISR, 1);
    if (device->config_size)
        add_structure(pci, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE, device->config_size);
    add_structure(pci, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY, device->queue_count * NOTIFY_STEP);
    add_window(pci);
    pci_add_vectors(&pci->function, device->queue_count + 1);
    reset(pci);
    return pci_plug(&pci->function, failure);
}
