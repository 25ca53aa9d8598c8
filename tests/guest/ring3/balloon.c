/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Drives a virtio balloon: writes to touch=MIB of its memory, puts as many pages of it into the balloon as it is
 * asked for, and reports report=MIB behind them to be free. It says when it has done each, and then does nothing.
 */
#include "virtio.h"

enum {
    INFLATE = 0,
    REPORTING = 3,
    STATISTICS_FEATURE = 1 << 1, /* its queue is before that of the reports */
    REPORTING_FEATURE = 1 << 5,
    PAGE = 4096,
    MIB = 1 << 20,
    AT_ONCE = 256
};

struct configuration {
    uint32_t wanted, actual; /* pages */
};

static struct virtio    device;
static struct virtqueue inflate, reporting;
static uint32_t         numbers[AT_ONCE];
static uint8_t         *memory;

static void do_chain(struct virtqueue *queue, void *data, uint32_t size, uint16_t flags)
{
    uint32_t written;

    queue->descriptors[0] = (struct descriptor){(uintptr_t)data, size, flags, 0};
    virtqueue_offer(queue, 0);
    virtqueue_kick(queue);
    while (virtqueue_take(queue, &written) < 0)
        pause();
}

static void touch(uint64_t mib)
{
    for (uint64_t at = 0; at < mib * MIB; at += PAGE)
        *(volatile uint8_t *)(memory + at) = 1;
    say("balloon: touched\n");
}

static void fill(volatile struct configuration *configuration)
{
    uint32_t wanted, done = 0;

    while (!(wanted = configuration->wanted))
        pause();
    while (done < wanted) {
        uint32_t count = 0;

        for (; count < AT_ONCE && done < wanted; done++)
            numbers[count++] = (uint32_t)((uintptr_t)memory / PAGE) + done;
        do_chain(&inflate, numbers, count * (uint32_t)sizeof(numbers[0]), 0);
    }
    configuration->actual = done;
    memory += (uint64_t)done * PAGE;
    say("balloon: filled\n");
}

static void report(uint64_t mib)
{
    for (uint64_t i = 0; i < mib; i++)
        do_chain(&reporting, memory + i * MIB, MIB, DESCRIPTOR_WRITE);
    say("balloon: reported\n");
}

void guest_main(const char *cmdline)
{
    memory = heap(PAGE);
    if (!virtio_find(&device, VIRTIO_BALLOON) ||
        !virtio_begin(&device, VIRTIO_VERSION_1 | VIRTIO_EVENT_INDEX | STATISTICS_FEATURE | REPORTING_FEATURE) ||
        !device.config) {
        say("balloon: there is none\n");
        return;
    }
    virtio_add_queue(&device, INFLATE, &inflate);
    virtio_add_queue(&device, REPORTING, &reporting);
    virtio_go(&device);
    touch(argument(cmdline, "touch", 1));
    fill((volatile struct configuration *)device.config);
    report(argument(cmdline, "report", 1));
    for (;;)
        pause();
}
