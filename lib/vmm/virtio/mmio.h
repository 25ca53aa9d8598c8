/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* virtio over memory, of version 2: a page of registers and a line of the I/O APIC for each device, and no bus. */
#pragma once

#include "device.h"

enum { VIRTIO_MMIO_PAGE = 4096 };

/* For virtio_plug(), before the machine has its power. */
bool virtio_mmio_plug(struct virtio_device *device, struct failure *failure);

/* With a new machine of KVM's, and before it goes. */
void virtio_mmio_power_on(void);
void virtio_mmio_power_off(void);

/* What ACPI tells of them, from number 0 on. */
unsigned virtio_mmio_count(void);
uint64_t virtio_mmio_address(unsigned number);
unsigned virtio_mmio_line(unsigned number);
