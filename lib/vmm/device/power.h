/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Power: ACPI's registers to sleep and to reset, and the event device: it tells of the button and of PCI devices. */
#pragma once

#include "../vm.h"

/* Ports, as the ACPI tables name them, and the line of the event device. */
enum {
    POWER_PORT = 0x600,
    POWER_SLEEP = 0,
    POWER_STATUS = 1,
    POWER_RESET = 2,
    POWER_EVENT = 4,
    POWER_PCI_IN = 8,   /* the slots into which something was put */
    POWER_PCI_OUT = 12, /* those that the guest is asked to give up; written: those that it gives up */
    POWER_LINE = 9
};
enum {
    POWER_RESET_VALUE = 1,
    POWER_SLEEP_OFF = 5,
    POWER_EVENT_BUTTON = 1,
    POWER_EVENT_PCI = 2,
    POWER_EVENT_GENERATION = 4
};

bool power_init(struct vm *vm);
void power_reset(void);
/* The port 0xcf9, which lies amid those of PCI's configuration. */
void power_access_reset(bool write, uint64_t *value);
/* The guest learns of these if it has the driver. */
void power_button(void);
/* A device was put into a slot of the PCI bus, or the guest shall let go of the one that is there. */
void power_pci_in(unsigned slot);
void power_pci_out(unsigned slot);
