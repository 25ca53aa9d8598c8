/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two queues of a network card, to the guest and from it, with a thread of their own. */
#pragma once

#include "../rate.h"
#include "device.h"
#include <linux/virtio_net.h>

enum { NETPAIR_RX = 0, NETPAIR_TX = 1, NETPAIR_QUEUES = 2, NETPAIR_PACKET = 65536 + 64 };

#define NETPAIR_HEADER sizeof(struct virtio_net_hdr_v1)

/* A packet on its way, with all that may precede it. */
struct netpair_packet {
    uint8_t bytes[NETPAIR_PACKET];
    size_t  size;
    size_t  done;
    bool    is_paid; /* the limits let it through */
};

struct netpair {
    struct virtio_device *device;
    struct wire_line    **line; /* the device's */
    unsigned              index;
    int                   kind; /* WIRE_NIC_… */
    int                   descriptor;
    atomic_bool           is_active; /* of a card's pairs the driver chooses how many carry packets */
    atomic_bool          *is_lost;   /* the device's: nothing comes from outside any more */
    /* Served along with this pair; -1: there is none. */
    int control;
    void (*serve_control)(struct virtio_device *device);
    /* The descriptor says that what it was of is gone, or that this queue of it is detached. */
    void (*check_lost)(struct virtio_device *device);

    pthread_t              thread;
    bool                   has_thread;
    atomic_bool            stopping;
    int                    timer;
    struct gate            gates[NETPAIR_QUEUES];
    struct virtqueue_chain chains[NETPAIR_QUEUES];
    bool                   is_held;  /* the chain that is to be sent waits at its gate */
    struct netpair_packet  in;       /* from outside: a header, and the packet */
    uint32_t               expected; /* of a stream: how long the packet is that comes */
    struct netpair_packet  out;      /* to a stream */
};

/* Of one that is zeroed and knows its device, kind and descriptor; false with errno. */
bool netpair_init(struct netpair *pair, struct limiter *limiter);
void netpair_destroy(struct netpair *pair);
bool netpair_start(struct netpair *pair);
void netpair_stop(struct netpair *pair);
/* Wakes it, to look at what was changed. */
void netpair_wake(struct netpair *pair);
