/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads and writes a disk's file for one queue: by io_uring, or where the host has none, one request at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum blkio_operation { BLKIO_READ, BLKIO_WRITE, BLKIO_FLUSH, BLKIO_DISCARD, BLKIO_ZERO };

struct blkio_request {
    enum blkio_operation  operation;
    bool                  durable; /* a write that is on the disk when it ends */
    struct iovec         *parts;   /* changed on the way */
    unsigned              count;
    uint64_t              offset, length; /* likewise */
    int                   error;          /* an errno, or 0 */
    struct blkio_request *next;
};

struct blkio {
    int                   file, kick, timer;
    unsigned              under_way; /* begun, and not yet taken back */
    struct blkio_request *ended;     /* those that were done at once */
    struct blkio_request *last_ended;

    int                  ring; /* -1: none */
    void                *rings, *entries;
    uint32_t             rings_size, entries_size;
    unsigned            *submit_head, *submit_tail, *complete_head, *complete_tail;
    unsigned             submit_mask, submit_count, complete_mask, to_submit;
    struct io_uring_cqe *completions;
    uint64_t             kick_count;
    bool                 is_waiting; /* for the kick */
    bool                 is_kicked;  /* since the last wait */
    bool                 is_timed;   /* waits for the timer */
};

/* The descriptors of the file, of an eventfd and of a timerfd stay the caller's. What needs rights is done here. */
void blkio_init(struct blkio *io, int file, int kick, int timer);
void blkio_destroy(struct blkio *io);

/* The rest is called by the queue's thread alone. */
void blkio_begin(struct blkio *io, struct blkio_request *request);
/* The kernel begins with what there is, which a wait does as well. */
void                  blkio_submit(struct blkio *io);
struct blkio_request *blkio_take_ended(struct blkio *io);
/* Until a request ended, or there was a kick since the last wait, or if that is wanted until the timer's time. */
void blkio_wait(struct blkio *io, bool timed);
