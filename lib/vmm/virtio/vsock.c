/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A virtio socket device, served on the loop, a few packets at a time: its queues, and no more of what they carry. */
#include "vsock.h"
#include "../loop.h"
#include "device.h"
#include "vsockets.h"
#include <linux/virtio_ids.h>
#include <linux/vm_sockets.h>
#include <sys/epoll.h>

enum {
    CLASS = 0x078000,
    RX = 0, /* to the guest */
    TX = 1,
    EVENTS = 2, /* takes the guest's buffers, for none of which there is an event yet */
    QUEUES = 3,
    HEADER = sizeof(struct virtio_vsock_hdr),
    PACKETS_AT_ONCE = 64
};

static struct virtio_device   device;
static struct virtqueue_chain chain;

/* The next chain; when there is none, the driver is to say when there is. */
static bool pop(unsigned index)
{
    struct virtqueue *queue = &device.queues[index];

    return virtqueue_pop(queue, &chain) || (virtqueue_ask(queue, true) && virtqueue_pop(queue, &chain));
}

/* From the guest; true: there was something. */
static bool take(unsigned *left)
{
    const unsigned          before = *left;
    struct virtio_vsock_hdr header;

    while (*left && vsockets_may_take() && pop(TX)) {
        /* Half a header is nobody's. */
        if (virtqueue_chain_read(&chain, &header, HEADER) == HEADER)
            vsockets_take(&header, &chain);
        virtqueue_push(&device.queues[TX], chain.head, 0);
        --*left;
    }
    return *left < before;
}

/* To the guest; true: there was something, and room. */
static bool give(unsigned *left)
{
    struct virtqueue       *queue = &device.queues[RX];
    const unsigned          before = *left;
    struct virtio_vsock_hdr header;

    while (*left && vsockets_have_packets() && pop(RX)) {
        if (chain.writable_bytes <= HEADER) {
            queue->broken = "a buffer has no room for a packet";
            break;
        }
        if (!vsockets_give(&header, &chain)) {
            queue->next_available--; /* for the next one */
            break;
        }
        virtqueue_chain_write(&chain, &header, HEADER);
        virtqueue_push(queue, chain.head, HEADER + header.len);
        --*left;
    }
    return *left < before;
}

static void serve(void)
{
    unsigned left = PACKETS_AT_ONCE;
    bool     is_busy;

    do {
        is_busy = give(&left);
        is_busy = take(&left) || is_busy; /* what is taken has answers */
    } while (is_busy);
    if (!left)
        virtio_kick(&device, TX); /* others have their turn first */
    for (unsigned i = RX; i <= TX; i++) {
        if (device.queues[i].enabled && virtqueue_must_tell(&device.queues[i]))
            device.interrupt(&device, (int)i);
        if (device.queues[i].broken)
            virtio_break(&device);
    }
}

void vsock_lock(void)
{
    pthread_mutex_lock(&device.lock);
}

void vsock_unlock(void)
{
    if (device.started)
        serve();
    pthread_mutex_unlock(&device.lock);
}

bool vsock_is_up(void)
{
    return device.started;
}

static void on_kick(void *data, uint32_t events)
{
    uint64_t count;

    (void)events;
    if (read(device.kicks[(uintptr_t)data], &count, sizeof(count)) < 0)
        return;
    vsock_lock();
    vsock_unlock();
}

/* Under the lock that on_kick() takes. */
static bool start(struct virtio_device *self)
{
    virtio_kick(self, TX);
    return true;
}

static void stop(struct virtio_device *self)
{
    (void)self;
    vsockets_reset();
}

static bool build(struct vm *vm, uint64_t cid, int listener, struct failure *failure)
{
    static const struct virtio_kind kind = {.id = VIRTIO_ID_VSOCK, .class_code = CLASS, .start = start, .stop = stop};
    const struct virtio_vsock_config config = {.guest_cid = cid};

    memcpy(device.config, &config, sizeof(config));
    device.config_size = sizeof(config);
    vsockets_init(cid);
    if (!virtio_init(&device, &kind, vm, QUEUES))
        return fail(failure, WIRE_HOST, NULL, "no socket device: %s", strerror(errno));
    for (uintptr_t i = RX; i <= TX; i++) {
        if (!loop_add(device.kicks[i], EPOLLIN, on_kick, (void *)i))
            return fail(failure, WIRE_HOST, NULL, "no socket device: %s", strerror(errno));
    }
    if (!vsockhost_init(listener))
        return fail(failure, WIRE_HOST, NULL, "the listener of sockets cannot be watched: %s", strerror(errno));
    if (virtio_plug(&device, failure))
        return true;
    loop_remove(listener);
    return false;
}

bool vsock_plug(struct vm *vm, uint64_t cid, int listener, struct failure *failure)
{
    if (device.queue_count)
        return fail(failure, WIRE_WRONG_STATE, "vsock.cid", "there is a socket device already");
    if (cid <= VMADDR_CID_HOST || cid >= UINT32_MAX)
        return fail(failure, WIRE_VALUE, "vsock.cid", "no guest can have the address %llu", (unsigned long long)cid);
    if (build(vm, cid, listener, failure))
        return true;
    virtio_destroy(&device);
    return false;
}
