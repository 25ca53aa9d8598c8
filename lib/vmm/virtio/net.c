/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A virtio network card with a thread of its own. A tap takes and gives packets with virtio's header; a stream
 * has each packet after its length, and no header. What there is no room for is dropped, as a wire would.
 */
#include "net.h"
#include "device.h"
#include "sandbox.h"
#include <arpa/inet.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>

enum {
    CLASS = 0x020000,
    RX = 0,
    TX = 1,
    HEADER = sizeof(struct virtio_net_hdr_v1),
    LENGTH = sizeof(uint32_t), /* before each packet of a stream */
    PACKET = 65536 + 64,
    CHAINS = 64, /* that one packet may be spread over */
    AT_ONCE = 256,
    CONFIG_SIZE = offsetof(struct virtio_net_config, max_virtqueue_pairs)
};

/* A packet on its way, with all that may precede it. */
struct packet {
    uint8_t bytes[PACKET];
    size_t  size;
    size_t  done;
};

struct net {
    struct virtio_device   device; /* first */
    struct wire_line      *line;
    int                    kind;
    int                    descriptor;
    pthread_t              thread;
    bool                   has_thread;
    atomic_bool            stopping;
    struct packet          in;       /* from outside: a header, and the packet */
    uint32_t               expected; /* of a stream: how long the packet is that comes */
    struct packet          out;      /* to a stream */
    struct virtqueue_chain chain;
};

static void count(struct net *net, unsigned what, uint64_t amount)
{
    if (net->line)
        __atomic_fetch_add(&net->line->values[what], amount, __ATOMIC_RELAXED);
}

static bool has_feature(const struct net *net, unsigned feature)
{
    return net->device.accepted >> feature & 1;
}

/* --- from the guest --- */

/* To a tap as it is, its header first. */
static bool send_to_tap(struct net *net)
{
    const ssize_t sent = writev(net->descriptor, net->chain.parts, (int)net->chain.readable);

    return sent >= 0;
}

/* To a stream after its length, and without the header. */
static bool send_to_stream(struct net *net)
{
    uint8_t        bytes[HEADER];
    const uint64_t size = net->chain.readable_bytes - HEADER;
    const uint32_t length = htonl((uint32_t)size);
    size_t         at = LENGTH;
    size_t         skip = virtqueue_chain_read(&net->chain, bytes, HEADER);

    memcpy(net->out.bytes, &length, LENGTH);
    for (unsigned i = 0; i < net->chain.readable; i++) {
        const struct iovec *part = &net->chain.parts[i];
        const size_t        omitted = skip < part->iov_len ? skip : part->iov_len;

        memcpy(net->out.bytes + at, (uint8_t *)part->iov_base + omitted, part->iov_len - omitted);
        at += part->iov_len - omitted;
        skip -= omitted;
    }
    net->out.size = at;
    net->out.done = 0;
    return true;
}

/* What a stream has not taken yet; false when it is full. */
static bool flush(struct net *net)
{
    while (net->out.done < net->out.size) {
        const ssize_t sent = send(net->descriptor, net->out.bytes + net->out.done, net->out.size - net->out.done,
                                  MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        /* To a peer that is gone, packets go nowhere. */
        net->out.done = sent < 0 ? net->out.size : net->out.done + (size_t)sent;
    }
    return true;
}

static void send_one(struct net *net)
{
    const uint64_t size = net->chain.readable_bytes;
    bool           sent = false;

    if (size > HEADER && size <= PACKET - LENGTH)
        sent = net->kind == WIRE_NIC_TAP ? send_to_tap(net) : send_to_stream(net);
    count(net, sent ? WIRE_NIC_TX_PACKETS : WIRE_NIC_TX_DROPS, 1);
    if (sent)
        count(net, WIRE_NIC_TX_BYTES, size - HEADER);
}

static void transmit(struct net *net)
{
    struct virtqueue *queue = &net->device.queues[TX];
    unsigned          left = AT_ONCE;

    while (left && flush(net)) {
        if (!virtqueue_pop(queue, &net->chain)) {
            if (!virtqueue_ask(queue, true))
                break;
            continue;
        }
        send_one(net);
        virtqueue_push(queue, net->chain.head, 0);
        left--;
    }
    if (!left)
        virtio_kick(&net->device, TX); /* the other direction has its turn first */
    if (virtqueue_must_tell(queue))
        net->device.interrupt(&net->device, TX);
}

/* --- to the guest --- */

static bool receive_from_tap(struct net *net)
{
    const ssize_t got = read(net->descriptor, net->in.bytes, sizeof(net->in.bytes));

    net->in.size = got > HEADER ? (size_t)got : 0;
    return net->in.size > 0;
}

/* Reads as much as is missing of the length, then of the packet. true when it is complete; -1: the peer is gone. */
static bool receive_from_stream(struct net *net)
{
    for (;;) {
        const bool    has_length = net->in.done >= LENGTH;
        const size_t  goal = has_length ? LENGTH + net->expected : LENGTH;
        uint8_t      *place = net->in.bytes + HEADER - LENGTH + net->in.done;
        const ssize_t got = recv(net->descriptor, place, goal - net->in.done, MSG_DONTWAIT);

        if (got <= 0) {
            if (got == 0)
                net->expected = UINT32_MAX;
            return false;
        }
        net->in.done += (size_t)got;
        if (net->in.done < goal)
            continue;
        if (has_length) {
            net->in.size = HEADER + net->expected;
            net->in.done = 0;
            memset(net->in.bytes, 0, HEADER);
            return true;
        }
        memcpy(&net->expected, net->in.bytes + HEADER - LENGTH, LENGTH);
        net->expected = ntohl(net->expected);
        if (!net->expected || net->expected > PACKET - HEADER) {
            net->expected = UINT32_MAX; /* nothing that follows makes sense */
            return false;
        }
    }
}

static bool is_gone(const struct net *net)
{
    return net->kind == WIRE_NIC_STREAM && net->expected == UINT32_MAX;
}

static bool receive(struct net *net)
{
    if (net->in.size)
        return true; /* one that the guest had no room for */
    return net->kind == WIRE_NIC_TAP ? receive_from_tap(net) : !is_gone(net) && receive_from_stream(net);
}

/* Writes the packet into one chain or, where the driver merges them, into several. false: there are too few. */
static bool deliver(struct net *net)
{
    struct virtqueue *queue = &net->device.queues[RX];
    const bool        merges = has_feature(net, VIRTIO_NET_F_MRG_RXBUF);
    const uint16_t    available = queue->next_available;
    uint16_t          heads[CHAINS];
    uint32_t          sizes[CHAINS];
    uint16_t          used = 0;
    size_t            done = 0;
    uint8_t          *where = NULL; /* of the number of chains, which is known at the end */

    while (done < net->in.size && used < (merges ? CHAINS : 1) && virtqueue_pop(queue, &net->chain)) {
        if (!used && net->chain.writable && net->chain.parts[net->chain.readable].iov_len >= HEADER)
            where = net->chain.parts[net->chain.readable].iov_base;
        heads[used] = net->chain.head;
        sizes[used] = (uint32_t)virtqueue_chain_write(&net->chain, net->in.bytes + done, net->in.size - done);
        done += sizes[used++];
    }
    if (done < net->in.size && !queue->broken && used < (merges ? CHAINS : 1)) {
        queue->next_available = available; /* all of them are offered again with more */
        return false;
    }
    if (where)
        memcpy(where + offsetof(struct virtio_net_hdr_v1, num_buffers), &used, sizeof(used));
    for (uint16_t i = 0; i < used; i++)
        virtqueue_push(queue, heads[i], sizes[i]);
    count(net, done == net->in.size ? WIRE_NIC_RX_PACKETS : WIRE_NIC_RX_DROPS, 1);
    if (done == net->in.size)
        count(net, WIRE_NIC_RX_BYTES, net->in.size - HEADER);
    net->in.size = 0;
    return true;
}

/* true: packets wait outside, and the guest has room. */
static bool fill(struct net *net)
{
    struct virtqueue *queue = &net->device.queues[RX];
    unsigned          left = AT_ONCE;
    bool              has_room = true;

    while (left && has_room && !queue->broken && receive(net)) {
        has_room = deliver(net) || (virtqueue_ask(queue, true) && deliver(net));
        left--;
    }
    if (virtqueue_must_tell(queue))
        net->device.interrupt(&net->device, RX);
    return has_room;
}

/* --- the thread --- */

static void drain(int eventfd)
{
    uint64_t value;

    if (read(eventfd, &value, sizeof(value)) < 0)
        return;
}

static void *serve(void *data)
{
    struct net   *net = data;
    struct pollfd waits[] = {{.fd = net->descriptor},
                             {.fd = net->device.kicks[RX], .events = POLLIN},
                             {.fd = net->device.kicks[TX], .events = POLLIN}};
    bool          has_room = true;

    sandbox_enter_thread(SANDBOX_WORKER);
    while (!atomic_load(&net->stopping)) {
        waits[0].fd = is_gone(net) ? -1 : net->descriptor;
        waits[0].events = (short)((has_room ? POLLIN : 0) | (net->out.done < net->out.size ? POLLOUT : 0));
        if (!waits[0].events)
            waits[0].fd = -1; /* an error would be told for ever */
        if (poll(waits, 3, -1) < 0)
            continue;
        for (unsigned i = RX; i <= TX; i++) {
            if (waits[1 + i].revents)
                drain(net->device.kicks[i]);
        }
        has_room = fill(net);
        transmit(net);
        if (net->device.queues[RX].broken || net->device.queues[TX].broken) {
            virtio_break(&net->device);
            break;
        }
    }
    return NULL;
}

static void set_offload(const struct net *net)
{
    unsigned long flags = 0;

    if (net->kind != WIRE_NIC_TAP)
        return;
    if (has_feature(net, VIRTIO_NET_F_GUEST_CSUM))
        flags |= TUN_F_CSUM;
    if (has_feature(net, VIRTIO_NET_F_GUEST_TSO4))
        flags |= TUN_F_TSO4;
    if (has_feature(net, VIRTIO_NET_F_GUEST_TSO6))
        flags |= TUN_F_TSO6;
    ioctl(net->descriptor, TUNSETOFFLOAD, flags);
}

static bool start(struct virtio_device *device)
{
    struct net *net = (struct net *)device;

    set_offload(net);
    atomic_store(&net->stopping, false);
    net->has_thread = pthread_create(&net->thread, NULL, serve, net) == 0;
    return net->has_thread;
}

static void stop(struct virtio_device *device)
{
    struct net *net = (struct net *)device;

    if (!net->has_thread)
        return;
    atomic_store(&net->stopping, true);
    virtio_kick(device, TX);
    pthread_join(net->thread, NULL);
    net->has_thread = false;
}

/* --- building --- */

/* Both sides must agree on the header before a packet. */
static bool prepare_tap(struct net *net, struct failure *failure)
{
    struct ifreq request = {0};
    int          header = HEADER;

    if (ioctl(net->descriptor, TUNGETIFF, &request) < 0 || !(request.ifr_flags & IFF_TAP))
        return fail(failure, WIRE_VALUE, NULL, "the NIC's descriptor is no tap device");
    if (!(request.ifr_flags & IFF_VNET_HDR) || ioctl(net->descriptor, TUNSETVNETHDRSZ, &header) < 0)
        return fail(failure, WIRE_UNSUPPORTED, NULL, "the tap device does not take virtio's headers");
    net->device.offered = UINT64_C(1) << VIRTIO_NET_F_CSUM | UINT64_C(1) << VIRTIO_NET_F_HOST_TSO4 |
                          UINT64_C(1) << VIRTIO_NET_F_HOST_TSO6 | UINT64_C(1) << VIRTIO_NET_F_GUEST_CSUM |
                          UINT64_C(1) << VIRTIO_NET_F_GUEST_TSO4 | UINT64_C(1) << VIRTIO_NET_F_GUEST_TSO6;
    return true;
}

static void remove_nic(struct virtio_device *device)
{
    struct net *net = (struct net *)device;

    if (net->line)
        vm_remove_line(device->vm, net->line);
    close(net->descriptor);
    virtio_destroy(device);
    free(net);
}

static bool build(struct net *net, struct vm *vm, const struct net_options *options, struct failure *failure)
{
    static const struct virtio_kind kind = {
        .id = VIRTIO_ID_NET, .class_code = CLASS, .start = start, .stop = stop, .destroy = remove_nic};
    struct virtio_net_config config = {.status = VIRTIO_NET_S_LINK_UP};

    if (!virtio_name(&net->device, "nic", options->name, failure))
        return false;
    net->kind = options->kind;
    net->descriptor = options->descriptor;
    if (net->kind != WIRE_NIC_TAP && net->kind != WIRE_NIC_STREAM)
        return fail(failure, WIRE_UNSUPPORTED, NULL, "this VMM does not know NICs of kind %d", net->kind);
    if (net->kind == WIRE_NIC_TAP && !prepare_tap(net, failure))
        return false;
    memcpy(config.mac, options->mac, sizeof(config.mac));
    memcpy(net->device.config, &config, CONFIG_SIZE);
    net->device.config_size = CONFIG_SIZE;
    net->device.offered |=
        UINT64_C(1) << VIRTIO_NET_F_MAC | UINT64_C(1) << VIRTIO_NET_F_STATUS | UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF;
    if (!virtio_init(&net->device, &kind, vm, 2))
        return fail(failure, WIRE_HOST, NULL, "no descriptors for a NIC's queues: %s", strerror(errno));
    return virtio_plug(&net->device, failure);
}

bool net_plug(struct vm *vm, const struct net_options *options, struct failure *failure)
{
    struct net *net = calloc(1, sizeof(*net));

    if (!net)
        return fail(failure, WIRE_HOST, NULL, "no memory for a NIC");
    if (!build(net, vm, options, failure)) {
        virtio_destroy(&net->device);
        free(net);
        return false;
    }
    net->line = vm_add_line(vm, WIRE_LINE_NIC, options->name);
    return true;
}
