/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A virtio network card of one or several pairs of queues. The driver chooses by the control queue how many of them
 * carry packets; the tap device is told, lest it gives packets to those that nobody looks at.
 */
#include "net.h"
#include "device.h"
#include "netpair.h"
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <net/if.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>

enum {
    CLASS = 0x020000,
    CONFIG_SIZE = offsetof(struct virtio_net_config, max_virtqueue_pairs),
    CONFIG_SIZE_MQ = offsetof(struct virtio_net_config, mtu)
};

struct net {
    struct virtio_device   device; /* first */
    struct wire_line      *line;
    struct limiter         limiter;
    int                    kind;
    atomic_bool            is_lost;
    struct virtqueue_chain command;
    unsigned               pair_count;
    struct netpair         pairs[];
};

static bool has_feature(const struct net *net, unsigned feature)
{
    return net->device.accepted >> feature & 1;
}

/* --- how many pairs carry packets --- */

static bool set_tap_queue(const struct netpair *pair, bool is_attached)
{
    struct ifreq request = {.ifr_flags = is_attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

    return ioctl(pair->descriptor, TUNSETQUEUE, &request) == 0;
}

/* What a queue of the tap still holds goes with it. The first always stays. */
static bool activate(struct netpair *pair, bool is_active)
{
    if (pair->is_active == is_active)
        return true;
    if (!is_active)
        pair->is_active = false;
    if (!set_tap_queue(pair, is_active))
        return false;
    pair->is_active = is_active;
    netpair_wake(pair);
    return true;
}

static bool use_pairs(struct net *net, unsigned count)
{
    bool done = true;

    for (unsigned i = 1; i < net->pair_count; i++)
        done = activate(&net->pairs[i], i < count) && done;
    return done;
}

/* --- the control queue --- */

/* Where it is depends on whether the driver knows of more than one pair. */
static int control_queue(const struct net *net)
{
    if (!has_feature(net, VIRTIO_NET_F_CTRL_VQ))
        return -1;
    return (int)(has_feature(net, VIRTIO_NET_F_MQ) ? net->pair_count * NETPAIR_QUEUES : NETPAIR_QUEUES);
}

static uint8_t obey(struct net *net)
{
    struct {
        struct virtio_net_ctrl_hdr header;
        uint16_t                   pairs;
    } __attribute__((packed)) command;

    if (net->command.readable_bytes != sizeof(command) ||
        virtqueue_chain_read(&net->command, &command, sizeof(command)) != sizeof(command) ||
        command.header.class != VIRTIO_NET_CTRL_MQ || command.header.cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ||
        !has_feature(net, VIRTIO_NET_F_MQ) || command.pairs < 1 || command.pairs > net->pair_count)
        return VIRTIO_NET_ERR;
    return use_pairs(net, command.pairs) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
}

/* By the thread of the first pair. */
static void serve_control(struct virtio_device *device)
{
    struct net       *net = (struct net *)device;
    const int         number = control_queue(net);
    struct virtqueue *queue = &device->queues[number];

    while (virtqueue_pop(queue, &net->command) ||
           (virtqueue_ask(queue, true) && virtqueue_pop(queue, &net->command))) {
        const uint8_t answer = obey(net);

        if (virtqueue_chain_write(&net->command, &answer, sizeof(answer)) != sizeof(answer)) {
            queue->broken = "a command has no room for its answer";
            return;
        }
        virtqueue_push(queue, net->command.head, sizeof(answer));
    }
    if (virtqueue_must_tell(queue))
        device->interrupt(device, number);
}

/* --- what it is attached to goes --- */

/* A queue of a tap that is detached says the same as one of a tap that is gone, but the first is never detached. */
static bool is_gone(const struct net *net)
{
    struct pollfd first = {.fd = net->pairs[0].descriptor};

    return net->kind == WIRE_NIC_STREAM || (poll(&first, 1, 0) > 0 && first.revents & POLLERR);
}

static void check_lost(struct virtio_device *device)
{
    struct net *net = (struct net *)device;

    if (is_gone(net) && !atomic_exchange(&net->is_lost, true))
        virtio_lose(device);
}

static void unplug_cable(struct virtio_device *device)
{
    const uint16_t status = 0;

    memcpy(device->config + offsetof(struct virtio_net_config, status), &status, sizeof(status));
    device->interrupt(device, VIRTIO_CONFIG_CHANGED);
}

/* --- its life --- */

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
    ioctl(net->pairs[0].descriptor, TUNSETOFFLOAD, flags);
}

static void stop(struct virtio_device *device)
{
    struct net *net = (struct net *)device;

    for (unsigned i = 0; i < net->pair_count; i++)
        netpair_stop(&net->pairs[i]);
    use_pairs(net, 1);
}

static bool start(struct virtio_device *device)
{
    struct net    *net = (struct net *)device;
    const unsigned count = has_feature(net, VIRTIO_NET_F_MQ) ? net->pair_count : 1;

    set_offload(net);
    net->pairs[0].control = control_queue(net);
    for (unsigned i = 0; i < count; i++) {
        if (!netpair_start(&net->pairs[i])) {
            stop(device);
            return false;
        }
    }
    return true;
}

static void set_limits(struct virtio_device *device, const uint64_t *limits)
{
    struct net       *net = (struct net *)device;
    const struct rate rates[] = {
        [WIRE_IN] = {.per_second = limits[WIRE_LIMIT_INBOUND], .burst = limits[WIRE_LIMIT_INBOUND_BURST]},
        [WIRE_OUT] = {.per_second = limits[WIRE_LIMIT_OUTBOUND], .burst = limits[WIRE_LIMIT_OUTBOUND_BURST]}};

    limiter_set(&net->limiter, rates, WIRE_DIRECTIONS, rate_clock());
    for (unsigned i = 0; i < net->pair_count; i++)
        netpair_wake(&net->pairs[i]);
}

/* --- building --- */

/* Both sides must agree on the header before a packet. */
static bool prepare_tap(struct net *net, struct netpair *pair, struct failure *failure)
{
    struct ifreq request = {0};
    int          header = NETPAIR_HEADER;

    if (ioctl(pair->descriptor, TUNGETIFF, &request) < 0 || !(request.ifr_flags & IFF_TAP))
        return fail(failure, WIRE_VALUE, NULL, "the NIC's descriptor is no tap device");
    if (!(request.ifr_flags & IFF_VNET_HDR) || ioctl(pair->descriptor, TUNSETVNETHDRSZ, &header) < 0)
        return fail(failure, WIRE_UNSUPPORTED, NULL, "the tap device does not take virtio's headers");
    net->device.offered |= UINT64_C(1) << VIRTIO_NET_F_CSUM | UINT64_C(1) << VIRTIO_NET_F_HOST_TSO4 |
                           UINT64_C(1) << VIRTIO_NET_F_HOST_TSO6 | UINT64_C(1) << VIRTIO_NET_F_GUEST_CSUM |
                           UINT64_C(1) << VIRTIO_NET_F_GUEST_TSO4 | UINT64_C(1) << VIRTIO_NET_F_GUEST_TSO6;
    return true;
}

/* Until the driver asks for more there is one pair. */
static bool make_pair(struct net *net, unsigned index, int descriptor, struct failure *failure)
{
    struct netpair *pair = &net->pairs[index];

    pair->device = &net->device;
    pair->line = &net->line;
    pair->index = index;
    pair->kind = net->kind;
    pair->descriptor = descriptor;
    pair->serve_control = serve_control;
    pair->is_lost = &net->is_lost;
    pair->check_lost = check_lost;
    pair->is_active = index == 0;
    if (!netpair_init(pair, &net->limiter))
        return fail(failure, WIRE_HOST, NULL, "no timer for a NIC's queue: %s", strerror(errno));
    if (net->kind == WIRE_NIC_STREAM)
        return true;
    if (!prepare_tap(net, pair, failure))
        return false;
    if (index > 0 && !set_tap_queue(pair, false))
        return fail(failure, WIRE_UNSUPPORTED, NULL, "the tap device has one queue: %s", strerror(errno));
    return true;
}

/* But for the descriptors, which are the card's if it works. */
static void destroy(struct net *net)
{
    for (unsigned i = 0; i < net->pair_count; i++)
        netpair_destroy(&net->pairs[i]);
    virtio_destroy(&net->device);
    free(net);
}

static void remove_nic(struct virtio_device *device)
{
    struct net *net = (struct net *)device;

    if (net->line)
        vm_remove_line(device->vm, net->line);
    for (unsigned i = 0; i < net->pair_count; i++)
        close(net->pairs[i].descriptor);
    destroy(net);
}

static void configure(struct net *net, const struct net_options *options)
{
    struct virtio_net_config config = {.status = VIRTIO_NET_S_LINK_UP,
                                       .max_virtqueue_pairs = (uint16_t)net->pair_count};
    const bool               is_multiple = net->pair_count > 1;

    memcpy(config.mac, options->mac, sizeof(config.mac));
    memcpy(net->device.config, &config, CONFIG_SIZE_MQ);
    net->device.config_size = is_multiple ? CONFIG_SIZE_MQ : CONFIG_SIZE;
    net->device.offered |=
        UINT64_C(1) << VIRTIO_NET_F_MAC | UINT64_C(1) << VIRTIO_NET_F_STATUS | UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF;
    if (is_multiple)
        net->device.offered |= UINT64_C(1) << VIRTIO_NET_F_CTRL_VQ | UINT64_C(1) << VIRTIO_NET_F_MQ;
}

static bool build(struct net *net, struct vm *vm, const struct net_options *options, struct failure *failure)
{
    static const struct virtio_kind kind = {.id = VIRTIO_ID_NET,
                                            .class_code = CLASS,
                                            .start = start,
                                            .stop = stop,
                                            .limit = set_limits,
                                            .lost = unplug_cable,
                                            .destroy = remove_nic};
    const unsigned                  queues = options->pairs * NETPAIR_QUEUES + (options->pairs > 1 ? 1 : 0);

    if (!virtio_name(&net->device, "nic", options->name, failure))
        return false;
    net->kind = options->kind;
    if (net->kind != WIRE_NIC_TAP && net->kind != WIRE_NIC_STREAM)
        return fail(failure, WIRE_UNSUPPORTED, NULL, "this VMM does not know NICs of kind %d", net->kind);
    if (net->kind == WIRE_NIC_STREAM && options->pairs > 1)
        return fail(failure, WIRE_UNSUPPORTED, NULL, "a stream has one queue");
    limiter_init(&net->limiter);
    while (net->pair_count < options->pairs) {
        const unsigned index = net->pair_count++;

        if (!make_pair(net, index, options->descriptors[index], failure))
            return false;
    }
    configure(net, options);
    if (!virtio_init(&net->device, &kind, vm, queues))
        return fail(failure, WIRE_HOST, NULL, "no descriptors for a NIC's queues: %s", strerror(errno));
    set_limits(&net->device, options->limits);
    return virtio_plug(&net->device, failure);
}

bool net_plug(struct vm *vm, const struct net_options *options, struct failure *failure)
{
    struct net *net = calloc(1, sizeof(*net) + options->pairs * sizeof(net->pairs[0]));

    if (!net)
        return fail(failure, WIRE_HOST, NULL, "no memory for a NIC");
    if (!build(net, vm, options, failure)) {
        destroy(net);
        return false;
    }
    net->line = vm_add_line(vm, WIRE_LINE_NIC, options->name);
    return true;
}
