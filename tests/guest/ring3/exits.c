/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What leaving the guest costs: exit=port writes to a register of the serial port, exit=memory reads one of PCI's
 * configuration, and exit=doorbell rings that of a virtio device, or what is at=ADDRESS; count=N times.
 */
#include "ring3.h"
#include "virtio.h"

enum { SCRATCH = 0x3ff, WARM = 1000 };

static volatile uint16_t *doorbell;

static void write_port(void)
{
    out8(SCRATCH, 0x55);
}

static void read_memory(void)
{
    *(volatile uint32_t *)PCI_ECAM;
}

static void ring(void)
{
    *doorbell = 0;
}

static uint64_t measure(void (*leave)(void), uint64_t count)
{
    uint64_t start;

    for (int i = 0; i < WARM; i++)
        leave();
    start = cycles();
    for (uint64_t i = 0; i < count; i++)
        leave();
    return cycles() - start;
}

void guest_main(const char *cmdline)
{
    const uint64_t count = argument(cmdline, "count", 10000);
    uint64_t       took = 0;

    if (has_argument(cmdline, "exit=port")) {
        took = measure(write_port, count);
    } else if (has_argument(cmdline, "exit=memory")) {
        took = measure(read_memory, count);
    } else if (has_argument(cmdline, "exit=doorbell")) {
        const uint64_t at = argument(cmdline, "at", 0);
        struct virtio  device;

        if (!at && !virtio_find(&device, VIRTIO_RNG)) {
            say("exits: no device\n");
            return;
        }
        doorbell = at ? (volatile uint16_t *)at : virtio_doorbell(&device, 0);
        took = measure(ring, count);
    }
    say("exits:");
    say_value("count", count);
    say_value("cycles", took);
    say("\n");
}
