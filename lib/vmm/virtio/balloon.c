/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A virtio balloon, served on the loop: pages that the guest puts into it are the host's again, and so are those that
 * it reports to be free. It also tells how the guest's memory is used, whenever it is asked.
 */
#include "balloon.h"
#include "../loop.h"
#include "device.h"
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

enum {
    CLASS = 0x050000,
    PAGE = 1 << VIRTIO_BALLOON_PFN_SHIFT,
    INFLATE = 0,
    DEFLATE = 1,
    STATISTICS = 2,
    REPORTING = 3,
    QUEUES = 4,
    PAGES_AT_ONCE = 1024,
    CHAINS_AT_ONCE = 64,
    ACTUAL = offsetof(struct virtio_balloon_config, actual),
    STATISTICS_S = 5,
    CONFIG_SIZE = offsetof(struct virtio_balloon_config, free_page_hint_cmd_id)
};

static struct virtio_device   device;
static struct virtqueue_chain chain;
static bool                   has_statistics; /* a buffer of the guest's to be filled */
static uint16_t               statistics;

static void set_pages(uint64_t pages)
{
    const uint32_t value = (uint32_t)pages;

    memcpy(device.config + offsetof(struct virtio_balloon_config, num_pages), &value, sizeof(value));
}

static uint32_t get_actual(void)
{
    uint32_t value;

    memcpy(&value, device.config + ACTUAL, sizeof(value));
    return value;
}

/* --- pages --- */

/* Neighbours are given back together. */
static void give_back(const uint32_t *pages, unsigned count)
{
    unsigned first = 0;

    for (unsigned i = 1; i <= count; i++) {
        if (i < count && pages[i] == pages[i - 1] + 1)
            continue;
        memory_discard(&device.vm->memory, (uint64_t)pages[first] * PAGE, (uint64_t)(i - first) * PAGE);
        first = i;
    }
}

static void inflate(void)
{
    uint32_t pages[PAGES_AT_ONCE];
    size_t   size = virtqueue_chain_read(&chain, pages, sizeof(pages));

    give_back(pages, (unsigned)(size / sizeof(pages[0])));
}

/* The parts are the free memory itself. */
static void report(void)
{
    for (unsigned i = 0; i < chain.writable; i++) {
        const struct iovec *part = &chain.parts[chain.readable + i];

        memory_discard(&device.vm->memory, memory_address(&device.vm->memory, part->iov_base), part->iov_len);
    }
}

/* --- statistics --- */

static void take_statistics(void)
{
    struct virtio_balloon_stat values[WIRE_GUEST_VALUES];
    const size_t               size = virtqueue_chain_read(&chain, values, sizeof(values));
    struct wire_stats         *stats = device.vm->stats;

    for (size_t i = 0; i < size / sizeof(values[0]); i++) {
        if (values[i].tag >= WIRE_GUEST_VALUES)
            continue;
        __atomic_store_n(&stats->guest[values[i].tag], values[i].val, __ATOMIC_RELAXED);
        __atomic_fetch_or(&stats->guest_known, 1u << values[i].tag, __ATOMIC_RELAXED);
    }
    /* Kept until they are wanted again: the guest fills it anew when it gets it back. */
    has_statistics = true;
    statistics = chain.head;
}

static void on_timer(void *data, uint32_t events)
{
    uint64_t count;

    (void)events;
    if (read((int)(intptr_t)data, &count, sizeof(count)) < 0)
        return;
    pthread_mutex_lock(&device.lock);
    if (has_statistics && device.started && device.queues[STATISTICS].enabled) {
        virtqueue_push(&device.queues[STATISTICS], statistics, 0);
        has_statistics = false;
        if (virtqueue_must_tell(&device.queues[STATISTICS]))
            device.interrupt(&device, STATISTICS);
    }
    pthread_mutex_unlock(&device.lock);
}

/* --- the loop --- */

/* One chain of a queue; false when there is none. */
static bool serve_one(unsigned index)
{
    struct virtqueue *queue = &device.queues[index];

    if (!virtqueue_pop(queue, &chain))
        return false;
    if (index == STATISTICS) {
        take_statistics();
        return true;
    }
    if (index == INFLATE)
        inflate();
    else if (index == REPORTING)
        report();
    virtqueue_push(queue, chain.head, 0);
    return true;
}

static void serve(unsigned index)
{
    struct virtqueue *queue = &device.queues[index];
    unsigned          count = 0;

    do {
        while (count < CHAINS_AT_ONCE && serve_one(index))
            count++;
    } while (count < CHAINS_AT_ONCE && virtqueue_ask(queue, true));
    if (count == CHAINS_AT_ONCE)
        virtio_kick(&device, index);
    if (virtqueue_must_tell(queue))
        device.interrupt(&device, (int)index);
    if (queue->broken)
        virtio_break(&device);
}

static void on_kick(void *data, uint32_t events)
{
    const unsigned index = (unsigned)(uintptr_t)data;
    uint64_t       count;

    (void)events;
    if (read(device.kicks[index], &count, sizeof(count)) < 0)
        return;
    pthread_mutex_lock(&device.lock);
    if (device.started && device.queues[index].enabled)
        serve(index);
    pthread_mutex_unlock(&device.lock);
}

/* The driver says how large the balloon is by now. */
static void resized(struct virtio_device *self)
{
    const uint64_t balloon = (uint64_t)get_actual() * PAGE;
    const uint64_t memory = self->vm->memory.size;

    __atomic_store_n(&self->vm->stats->balloon, balloon < memory ? balloon : memory, __ATOMIC_RELAXED);
}

static bool start(struct virtio_device *self)
{
    has_statistics = false;
    memset(self->config + ACTUAL, 0, sizeof(uint32_t));
    for (unsigned i = 0; i < self->queue_count; i++)
        virtio_kick(self, i);
    return true;
}

static void stop(struct virtio_device *self)
{
    struct wire_stats *stats = self->vm->stats;

    __atomic_store_n(&stats->balloon, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->guest_known, 0, __ATOMIC_RELAXED);
}

void balloon_aim(uint64_t size)
{
    const uint64_t memory = device.vm->memory.size;

    pthread_mutex_lock(&device.lock);
    set_pages(size < memory ? (memory - size) / PAGE : 0);
    pthread_mutex_unlock(&device.lock);
    device.interrupt(&device, VIRTIO_CONFIG_CHANGED);
}

static bool start_timer(void)
{
    const struct itimerspec every = {{STATISTICS_S, 0}, {STATISTICS_S, 0}};
    static int              timer = -1; /* kept when the balloon could not be made otherwise */

    if (timer >= 0)
        return true;
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return timer >= 0 && timerfd_settime(timer, 0, &every, NULL) == 0 &&
           loop_add(timer, EPOLLIN, on_timer, (void *)(intptr_t)timer);
}

static bool build(struct vm *vm, struct failure *failure)
{
    static const struct virtio_kind kind = {.id = VIRTIO_ID_BALLOON,
                                            .class_code = CLASS,
                                            .start = start,
                                            .stop = stop,
                                            .written = resized,
                                            .writable_offset = ACTUAL,
                                            .writable_size = sizeof(uint32_t)};

    device.offered = UINT64_C(1) << VIRTIO_BALLOON_F_STATS_VQ | UINT64_C(1) << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
                     UINT64_C(1) << VIRTIO_BALLOON_F_REPORTING;
    device.config_size = CONFIG_SIZE;
    if (!virtio_init(&device, &kind, vm, QUEUES))
        return fail(failure, WIRE_HOST, NULL, "no balloon: %s", strerror(errno));
    for (unsigned i = 0; i < QUEUES; i++) {
        if (!loop_add(device.kicks[i], EPOLLIN, on_kick, (void *)(uintptr_t)i))
            return fail(failure, WIRE_HOST, NULL, "no balloon: %s", strerror(errno));
    }
    if (!start_timer())
        return fail(failure, WIRE_HOST, NULL, "no timer for the balloon: %s", strerror(errno));
    return virtio_plug(&device, failure);
}

bool balloon_plug(struct vm *vm, struct failure *failure)
{
    if (build(vm, failure))
        return true;
    virtio_destroy(&device);
    return false;
}
