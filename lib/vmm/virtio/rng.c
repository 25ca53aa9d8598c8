/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Random numbers for the guest. It is served on the loop, a little at a time, so that a greedy guest stays alone. */
#include "rng.h"
#include "../loop.h"
#include "device.h"
#include <linux/virtio_ids.h>
#include <sys/epoll.h>
#include <sys/random.h>

enum { CLASS = 0x00ff00, BYTES = 256, CHAINS_AT_ONCE = 16 };

static struct virtio_device device;

/* getrandom() gives up to 256 bytes without fail. */
static bool serve_one(struct virtqueue *queue)
{
    static struct virtqueue_chain chain;
    uint8_t                       bytes[BYTES];

    if (!virtqueue_pop(queue, &chain))
        return false;
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        chain.writable = 0;
    virtqueue_push(queue, chain.head, (uint32_t)virtqueue_chain_write(&chain, bytes, sizeof(bytes)));
    return true;
}

static void serve(struct virtqueue *queue)
{
    unsigned count = 0;

    do {
        while (count < CHAINS_AT_ONCE && serve_one(queue))
            count++;
    } while (count < CHAINS_AT_ONCE && virtqueue_ask(queue, true));
    if (count == CHAINS_AT_ONCE)
        virtio_kick(&device, 0);
    if (virtqueue_must_tell(queue))
        device.interrupt(&device, 0);
    if (queue->broken)
        virtio_break(&device);
}

static void on_kick(void *data, uint32_t events)
{
    uint64_t count;

    (void)data;
    (void)events;
    if (read(device.kicks[0], &count, sizeof(count)) < 0)
        return;
    pthread_mutex_lock(&device.lock);
    if (device.started && device.queues[0].enabled)
        serve(&device.queues[0]);
    pthread_mutex_unlock(&device.lock);
}

/* Under the lock that on_kick() takes: it sees whether the device is started. */
static bool start(struct virtio_device *self)
{
    virtio_kick(self, 0);
    return true;
}

static void stop(struct virtio_device *self)
{
    (void)self;
}

static bool build(struct vm *vm, struct failure *failure)
{
    static const struct virtio_kind kind = {.id = VIRTIO_ID_RNG, .class_code = CLASS, .start = start, .stop = stop};

    if (!virtio_init(&device, &kind, vm, 1) || !loop_add(device.kicks[0], EPOLLIN, on_kick, NULL))
        return fail(failure, WIRE_HOST, NULL, "no random numbers: %s", strerror(errno));
    return virtio_plug(&device, failure);
}

bool rng_plug(struct vm *vm, struct failure *failure)
{
    if (device.queue_count)
        return fail(failure, WIRE_WRONG_STATE, "rng", "there are random numbers already");
    if (build(vm, failure))
        return true;
    virtio_destroy(&device);
    return false;
}
