/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk's queues, each with a thread of its own, and what they share. */
#pragma once

#include "../rate.h"
#include "blk.h"
#include "blkio.h"
#include "device.h"
#include <pthread.h>

struct blk;
struct blk_request;

struct blkqueue {
    struct blk         *blk;
    unsigned            index;
    pthread_t           thread;
    bool                has_thread;
    atomic_bool         stopping;
    struct blkio        io;
    struct blk_request *requests; /* touched only as far as they are needed */
    unsigned            fresh;    /* the first that never was */
    struct blk_request *free;
    struct gate         gate;
    struct blk_request *held; /* at the gate; those after it are not taken from the ring yet */
    int                 timer;
};

struct blk {
    struct virtio_device device; /* first */
    struct blkqueue      queues[BLK_QUEUES];
    struct wire_line    *line;
    struct limiter       limiter;
    int                  descriptor;
    bool                 is_readonly;
    uint64_t             sectors;
    char                 serial[BLK_SERIAL];
};

/* Of one that is zeroed; false with errno. All that needs rights is done here. */
bool blkqueue_init(struct blkqueue *queue, struct blk *blk, unsigned index);
void blkqueue_destroy(struct blkqueue *queue);
bool blkqueue_start(struct blkqueue *queue);
/* Waits for what is under way. */
void blkqueue_stop(struct blkqueue *queue);
