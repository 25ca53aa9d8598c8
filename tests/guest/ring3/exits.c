/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What leaving the guest costs: exit=port writes to a register of the serial port, exit=memory reads one of PCI's
 * configuration, and exit=doorbell rings that of a virtio device, or what is at=ADDRESS; count=N times, and says how
 * many cycles a hundred of them took.
 */
#include "ring3.h"
#include "virtio.h"

enum { SCRATCH = 0x3ff, BATCH = 100 };

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

/* The fastest hundred of all: others on the machine take time from a guest, and never give it any. */
static uint64_t measure(void (*leave)(void), uint64_t count)
{
    uint64_t fastest = UINT64_MAX;

    for (uint64_t done = 0; done < count; done += BATCH) {
        const uint64_t start = cycles();
        uint64_t       took;

        for (int i = 0; i < BATCH; i++)
            leave();
        took = cycles() - start;
        fastest = took < fastest ? took : fastest;
    }
    return fastest;
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
    say_value("count", BATCH);
    say_value("cycles", took);
    say("\n");
}
