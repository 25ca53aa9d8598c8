/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* virtio over PCI, as of version 1. */
#pragma once

#include "device.h"

/* For virtio_plug(). */
bool virtio_pci_plug(struct virtio_device *device, struct failure *failure);
