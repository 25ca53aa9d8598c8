/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A split virtqueue. All that the guest wrote is read once and checked; what is wrong breaks the queue, not the VMM.
 */
#pragma once

#include "../memory.h"
#include <sys/uio.h>

/* The largest queue, and the most parts that a chain may have. */
enum { VIRTQUEUE_SIZE = 256 };

struct virtqueue {
    /* What the driver sets up before it enables the queue. */
    uint16_t size;
    uint64_t descriptors, available, used; /* addresses of the guest */

    bool        enabled;
    const char *broken; /* why it is not served any more, or NULL */

    const struct memory      *memory;
    const struct vring_desc  *descriptor_table;
    const struct vring_avail *available_ring;
    struct vring_used        *used_ring;
    bool                      has_event_index;
    uint16_t                  next_available, next_used;
    uint16_t                  told_used; /* next_used when the driver was last told */
};

/* One request: what the device reads, then what it may write. */
struct virtqueue_chain {
    uint16_t     head;
    unsigned     readable, writable; /* parts */
    uint64_t     readable_bytes, writable_bytes;
    struct iovec parts[VIRTQUEUE_SIZE];
};

/* Disabled, with the largest size. */
void virtqueue_reset(struct virtqueue *queue, const struct memory *memory);
/* false when what was set up cannot be a queue. */
bool virtqueue_enable(struct virtqueue *queue, bool has_event_index);

/* The next chain; false when there is none, or the queue is broken. */
bool virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain);
/* The chain that was taken last, which was not given back, is the next again. */
void virtqueue_unpop(struct virtqueue *queue);
/* Gives a chain back, with this many bytes of its writable part written. */
void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);
/* Whether the driver wants an interrupt for what was pushed since it was last asked. */
bool virtqueue_must_tell(struct virtqueue *queue);
/* Asks the driver to notify, or not to. After it was asked to, true says that chains came in the meantime. */
bool virtqueue_ask(struct virtqueue *queue, bool notify);

/* Copies between a chain and the VMM, from the start; how many bytes there were. */
size_t virtqueue_chain_read(const struct virtqueue_chain *chain, void *data, size_t size);
size_t virtqueue_chain_write(const struct virtqueue_chain *chain, const void *data, size_t size);
