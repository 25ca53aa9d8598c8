/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A virtio console of one port, served on the loop. What nobody reads is stored and, when there is too much of it,
 * lost, as with a serial line: a guest's kernel stands still until its console has taken what it says.
 */
#include "console.h"
#include "../loop.h"
#include "device.h"
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/epoll.h>

enum {
    CLASS = 0x078000,
    RX = 0,
    TX = 1,
    /* One chain may be all of the guest's memory many times over, and others wait for the loop. */
    BYTES_AT_ONCE = 64 << 10,
    PARTS_AT_ONCE = 256
};

struct port {
    struct virtio_device   device; /* first */
    struct console         console;
    struct port           *next;
    char                  *name;
    struct virtqueue_chain chain; /* what the guest says, as far as it is not taken */
    bool                   is_under_way;
    unsigned               part;
    size_t                 done; /* of that part */
};

static struct port *ports;

/* --- from the guest --- */

static void end_chain(struct port *port)
{
    virtqueue_push(&port->device.queues[TX], port->chain.head, 0);
    port->is_under_way = false;
}

static bool begin_chain(struct port *port)
{
    if (!virtqueue_pop(&port->device.queues[TX], &port->chain))
        return false;
    port->is_under_way = true;
    port->part = 0;
    port->done = 0;
    return true;
}

/* A part of a chain, or as much of it as is left to take. false: the guest says nothing more. */
static bool hear_part(struct port *port, size_t *left)
{
    if (!port->is_under_way && !begin_chain(port))
        return false;
    if (port->part < port->chain.readable) {
        const struct iovec *part = &port->chain.parts[port->part];
        const size_t        count = part->iov_len - port->done < *left ? part->iov_len - port->done : *left;

        console_write(&port->console, (uint8_t *)part->iov_base + port->done, (unsigned)count);
        *left -= count;
        port->done += count;
        if (port->done == part->iov_len) {
            port->part++;
            port->done = 0;
        }
    }
    if (port->part >= port->chain.readable)
        end_chain(port);
    return true;
}

static void tell(struct port *port, int index)
{
    struct virtqueue *queue = &port->device.queues[index];

    if (virtqueue_must_tell(queue))
        port->device.interrupt(&port->device, index);
    if (queue->broken)
        virtio_break(&port->device);
}

static void hear(struct port *port)
{
    size_t   left = BYTES_AT_ONCE;
    unsigned parts = 0;

    do {
        while (left && parts < PARTS_AT_ONCE && hear_part(port, &left))
            parts++;
    } while (left && parts < PARTS_AT_ONCE && virtqueue_ask(&port->device.queues[TX], true));
    if (!left || parts == PARTS_AT_ONCE)
        virtio_kick(&port->device, TX);
    tell(port, TX);
}

static bool is_kicked(const struct port *port, unsigned index)
{
    uint64_t count;

    return read(port->device.kicks[index], &count, sizeof(count)) == sizeof(count);
}

static void on_said(void *data, uint32_t events)
{
    struct port *port = data;

    (void)events;
    if (!is_kicked(port, TX))
        return;
    pthread_mutex_lock(&port->device.lock);
    if (port->device.started)
        hear(port);
    pthread_mutex_unlock(&port->device.lock);
}

/* --- to the guest --- */

static unsigned deliver(struct port *port, const uint8_t *bytes, unsigned count)
{
    static struct virtqueue_chain chain; /* the loop's thread is the only one */
    struct virtqueue             *queue = &port->device.queues[RX];
    unsigned                      taken = 0;

    do {
        while (taken < count && virtqueue_pop(queue, &chain)) {
            const size_t size = virtqueue_chain_write(&chain, bytes + taken, count - taken);

            if (!size)
                queue->broken = "a buffer for input has no room";
            else
                virtqueue_push(queue, chain.head, (uint32_t)size);
            taken += (unsigned)size;
        }
    } while (taken < count && virtqueue_ask(queue, true));
    tell(port, RX);
    return taken;
}

static unsigned input(void *data, const uint8_t *bytes, unsigned count)
{
    struct port *port = data;
    unsigned     taken = 0;

    pthread_mutex_lock(&port->device.lock);
    if (port->device.started)
        taken = deliver(port, bytes, count);
    pthread_mutex_unlock(&port->device.lock);
    return taken;
}

static void on_room(void *data, uint32_t events)
{
    struct port *port = data;

    (void)events;
    if (is_kicked(port, RX))
        console_ready(&port->console);
}

/* --- its life --- */

/* Under the lock that the loop takes: it sees whether the device is started. */
static bool start(struct virtio_device *device)
{
    virtio_kick(device, RX);
    virtio_kick(device, TX);
    return true;
}

/* A guest's last words may still be on their way when its power goes off. */
static void stop(struct virtio_device *device)
{
    struct port *port = (struct port *)device;

    hear(port);
    port->is_under_way = false;
}

static void destroy(struct port *port)
{
    for (unsigned i = 0; i < port->device.queue_count; i++)
        loop_remove(port->device.kicks[i]);
    virtio_destroy(&port->device);
    console_destroy(&port->console);
    free(port->name);
    free(port);
}

static bool build(struct port *port, struct vm *vm, const char *name, struct failure *failure)
{
    static const struct virtio_kind kind = {
        .id = VIRTIO_ID_CONSOLE, .class_code = CLASS, .start = start, .stop = stop};

    port->name = strdup(name);
    if (!port->name || !console_init(&port->console, input, port) || !virtio_init(&port->device, &kind, vm, 2) ||
        !loop_add(port->device.kicks[RX], EPOLLIN, on_room, port) ||
        !loop_add(port->device.kicks[TX], EPOLLIN, on_said, port))
        return fail(failure, WIRE_HOST, NULL, "no console: %s", strerror(errno));
    return virtio_plug(&port->device, failure);
}

struct console *virtio_console_plug(struct vm *vm, const char *name, struct failure *failure)
{
    struct port **last = &ports;
    struct port  *port = calloc(1, sizeof(*port));

    if (!port) {
        fail(failure, WIRE_HOST, NULL, "no memory for a console");
        return NULL;
    }
    if (!build(port, vm, name, failure)) {
        destroy(port);
        return NULL;
    }
    while (*last)
        last = &(*last)->next;
    *last = port;
    return &port->console;
}

struct console *virtio_console_find(const char *name)
{
    for (struct port *port = ports; port; port = port->next) {
        if (strcmp(port->name, name) == 0)
            return &port->console;
    }
    return NULL;
}

void virtio_console_detach_all(void)
{
    for (struct port *port = ports; port; port = port->next)
        console_detach(&port->console);
}
