/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* virtio over PCI, as of version 1. */
#pragma once

#include "../device/pci.h"
#include "device.h"

struct virtio_pci {
    struct pci_function   function; /* first: PCI knows this one */
    struct virtio_device *device;
    uint8_t               status;
    atomic_uchar          interrupts; /* bits of the ISR register */
    uint32_t              offered_select, accepted_select;
    uint16_t              queue_select;
    _Atomic uint16_t      config_vector;
    _Atomic uint16_t      queue_vectors[VIRTIO_QUEUES];
    unsigned              window; /* where in the configuration the way to the BAR is */
};

/* Plugs in a device that is complete; both live until it is destroyed. */
bool virtio_pci_plug(struct virtio_pci *pci, struct virtio_device *device, struct failure *failure);
