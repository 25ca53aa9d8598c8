/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests of a disk, from the ring to the file and back; what the host cannot do the guest gets as an I/O error. */
#include "blkqueue.h"
#include "blkfile.h"
#include "sandbox.h"
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <sys/timerfd.h>

enum { SECTOR = BLKFILE_SECTOR, REQUESTS_AT_ONCE = 8, BYTES_AT_ONCE = 256 * 1024 };

/* In the place of a request's type. */
#define NO_HEADER UINT32_MAX

struct blk_request {
    struct blkio_request   io; /* first: that is what comes back */
    struct blk_request    *next_free;
    uint32_t               type;
    uint64_t               sector;
    uint8_t               *status;
    uint64_t               bytes;
    struct virtqueue_chain chain;
};

static void count(struct blkqueue *queue, unsigned what, uint64_t amount)
{
    if (queue->blk->line)
        __atomic_fetch_add(&queue->blk->line->values[what], amount, __ATOMIC_RELAXED);
}

static bool has_feature(const struct blkqueue *queue, unsigned feature)
{
    return queue->blk->device.accepted >> feature & 1;
}

/* --- requests --- */

static struct blk_request *take_free(struct blkqueue *queue)
{
    struct blk_request *request = queue->free;

    if (request)
        queue->free = request->next_free;
    else if (queue->fresh < VIRTQUEUE_SIZE)
        request = &queue->requests[queue->fresh++];
    return request;
}

static void put_free(struct blkqueue *queue, struct blk_request *request)
{
    request->next_free = queue->free;
    queue->free = request;
}

static void count_end(struct blkqueue *queue, const struct blk_request *request, uint8_t status)
{
    if (status != VIRTIO_BLK_S_OK) {
        count(queue, WIRE_DISK_ERRORS, 1);
    } else if (request->type == VIRTIO_BLK_T_IN) {
        count(queue, WIRE_DISK_READS, 1);
        count(queue, WIRE_DISK_READ_BYTES, request->bytes);
    } else if (request->type == VIRTIO_BLK_T_OUT) {
        count(queue, WIRE_DISK_WRITES, 1);
        count(queue, WIRE_DISK_WRITTEN_BYTES, request->bytes);
    } else if (request->type == VIRTIO_BLK_T_FLUSH) {
        count(queue, WIRE_DISK_FLUSHES, 1);
    }
}

static void end(struct blkqueue *queue, struct blk_request *request, uint8_t status)
{
    uint64_t written = 1;

    if (status == VIRTIO_BLK_S_OK && request->type != VIRTIO_BLK_T_OUT)
        written += request->bytes;
    *request->status = status;
    count_end(queue, request, status);
    virtqueue_push(&queue->blk->device.queues[queue->index], request->chain.head,
                   (uint32_t)(written < UINT32_MAX ? written : UINT32_MAX));
    put_free(queue, request);
}

static uint8_t status_of(int error)
{
    if (!error)
        return VIRTIO_BLK_S_OK;
    return error == EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

static bool within(const struct blkqueue *queue, uint64_t sector, uint64_t bytes)
{
    const uint64_t sectors = queue->blk->sectors;

    return bytes % SECTOR == 0 && sector <= sectors && bytes / SECTOR <= sectors - sector;
}

/* Leaves the data out of the parts that are read: the header comes first. */
static void skip(struct iovec **parts, unsigned *parts_left, size_t bytes)
{
    while (*parts_left && bytes >= (*parts)->iov_len) {
        bytes -= (*parts)->iov_len;
        (*parts)++;
        (*parts_left)--;
    }
    if (*parts_left && bytes) {
        (*parts)->iov_base = (uint8_t *)(*parts)->iov_base + bytes;
        (*parts)->iov_len -= bytes;
    }
}

static uint8_t begin_data(struct blkqueue *queue, struct blk_request *request, uint64_t sector)
{
    const bool              is_write = request->type == VIRTIO_BLK_T_OUT;
    struct virtqueue_chain *chain = &request->chain;
    struct blkio_request   *io = &request->io;

    io->operation = is_write ? BLKIO_WRITE : BLKIO_READ;
    io->parts = chain->parts + (is_write ? 0 : chain->readable);
    io->count = is_write ? chain->readable : chain->writable;
    if (is_write)
        skip(&io->parts, &io->count, sizeof(struct virtio_blk_outhdr));
    request->bytes = is_write ? chain->readable_bytes - sizeof(struct virtio_blk_outhdr) : chain->writable_bytes;
    if ((is_write && queue->blk->is_readonly) || !within(queue, sector, request->bytes))
        return VIRTIO_BLK_S_IOERR;
    io->offset = sector * SECTOR;
    io->length = request->bytes;
    /* A driver that never flushes must find all that it wrote. */
    io->durable = is_write && !has_feature(queue, VIRTIO_BLK_F_FLUSH);
    if (request->bytes)
        blkio_begin(&queue->io, io);
    else
        end(queue, request, VIRTIO_BLK_S_OK);
    return VIRTIO_BLK_S_OK;
}

/* One segment at a time, which is what the configuration says. */
static uint8_t begin_range(struct blkqueue *queue, struct blk_request *request)
{
    const bool is_discard = request->type == VIRTIO_BLK_T_DISCARD;
    struct {
        struct virtio_blk_outhdr               header;
        struct virtio_blk_discard_write_zeroes range;
    } data;

    if (!has_feature(queue, is_discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES))
        return VIRTIO_BLK_S_UNSUPP;
    if (request->chain.readable_bytes != sizeof(data) ||
        virtqueue_chain_read(&request->chain, &data, sizeof(data)) != sizeof(data) || queue->blk->is_readonly)
        return VIRTIO_BLK_S_IOERR;
    if (data.range.flags & ~(is_discard ? 0u : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP))
        return VIRTIO_BLK_S_UNSUPP;
    if (!within(queue, data.range.sector, (uint64_t)data.range.num_sectors * SECTOR) || !data.range.num_sectors)
        return VIRTIO_BLK_S_IOERR;
    request->io.operation = is_discard || data.range.flags ? BLKIO_DISCARD : BLKIO_ZERO;
    request->io.offset = data.range.sector * SECTOR;
    request->io.length = (uint64_t)data.range.num_sectors * SECTOR;
    blkio_begin(&queue->io, &request->io);
    return VIRTIO_BLK_S_OK;
}

static uint8_t give_serial(struct blkqueue *queue, struct blk_request *request)
{
    request->bytes = virtqueue_chain_write(&request->chain, queue->blk->serial, BLK_SERIAL);
    end(queue, request, VIRTIO_BLK_S_OK);
    return VIRTIO_BLK_S_OK;
}

/* VIRTIO_BLK_S_OK: it is under way, or has ended. */
static uint8_t begin(struct blkqueue *queue, struct blk_request *request)
{
    switch (request->type) {
    case NO_HEADER:
        return VIRTIO_BLK_S_IOERR;
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_OUT:
        return begin_data(queue, request, request->sector);
    case VIRTIO_BLK_T_FLUSH:
        request->io.operation = BLKIO_FLUSH;
        blkio_begin(&queue->io, &request->io);
        return VIRTIO_BLK_S_OK;
    case VIRTIO_BLK_T_GET_ID:
        return give_serial(queue, request);
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return begin_range(queue, request);
    default:
        return VIRTIO_BLK_S_UNSUPP;
    }
}

/* --- limits --- */

/* A flush is free, and what is discarded or zeroed is a write of no bytes. */
static void measure(const struct blk_request *request, uint64_t amounts[LIMITER_RATES])
{
    const bool is_read = request->type == VIRTIO_BLK_T_IN;
    uint64_t   bytes = 0;

    memset(amounts, 0, LIMITER_RATES * sizeof(*amounts));
    if (is_read)
        bytes = request->chain.writable_bytes;
    else if (request->type == VIRTIO_BLK_T_OUT)
        bytes = request->chain.readable_bytes - sizeof(struct virtio_blk_outhdr);
    else if (request->type != VIRTIO_BLK_T_DISCARD && request->type != VIRTIO_BLK_T_WRITE_ZEROES)
        return;
    amounts[WIRE_LIMIT_OPS] = amounts[is_read ? WIRE_LIMIT_OPS_READ : WIRE_LIMIT_OPS_WRITE] = 1;
    amounts[WIRE_LIMIT_BYTES] = amounts[is_read ? WIRE_LIMIT_BYTES_READ : WIRE_LIMIT_BYTES_WRITE] = bytes;
}

static bool may_go(struct blkqueue *queue, const struct blk_request *request)
{
    struct gate *gate = &queue->gate;
    uint64_t     amounts[LIMITER_RATES];

    if (!gate_is_guarded(gate))
        return true;
    measure(request, amounts);
    if (!gate_pass(gate, amounts, rate_clock())) {
        rate_alarm(queue->timer, gate->opens);
        return false;
    }
    vm_count_stalled(queue->blk->device.vm, queue->blk->line, request->type == VIRTIO_BLK_T_IN ? WIRE_IN : WIRE_OUT,
                     gate->waited);
    return true;
}

/* As if it had never been taken from the ring. */
static void put_back_held(struct blkqueue *queue)
{
    if (!queue->held)
        return;
    gate_cancel(&queue->gate);
    virtqueue_unpop(&queue->blk->device.queues[queue->index]);
    put_free(queue, queue->held);
    queue->held = NULL;
}

/* The last byte that the device may write is for the status; the data ends before it. */
static bool take_status(struct blk_request *request)
{
    struct virtqueue_chain *chain = &request->chain;
    struct iovec           *last;

    if (!chain->writable)
        return false;
    last = &chain->parts[chain->readable + chain->writable - 1];
    last->iov_len--;
    chain->writable_bytes--;
    request->status = (uint8_t *)last->iov_base + last->iov_len;
    if (!last->iov_len)
        chain->writable--;
    return true;
}

/* --- the thread of a queue --- */

static void read_header(struct blk_request *request)
{
    struct virtio_blk_outhdr header;
    const bool is_whole = virtqueue_chain_read(&request->chain, &header, sizeof(header)) == sizeof(header);

    request->type = is_whole ? header.type : NO_HEADER;
    request->sector = is_whole ? header.sector : 0;
    request->bytes = 0;
}

/* The one that was held comes first. NULL: there is none, or no room for one. */
static struct blk_request *take_request(struct blkqueue *queue)
{
    struct virtqueue   *ring = &queue->blk->device.queues[queue->index];
    struct blk_request *request = queue->held;

    queue->held = NULL;
    if (request)
        return request;
    request = take_free(queue);
    if (request && virtqueue_pop(ring, &request->chain)) {
        if (take_status(request)) {
            read_header(request);
            return request;
        }
        ring->broken = "a request has no room for its status";
    }
    if (request)
        put_free(queue, request);
    gate_rest(&queue->gate);
    return NULL;
}

/*
 * true: there may be more, but those that were taken are done first. If all were, the driver would wait for the
 * device to end them, and then the device for the driver to begin others.
 */
static bool take_requests(struct blkqueue *queue)
{
    unsigned taken = 0;
    uint64_t bytes = 0;

    while (taken < REQUESTS_AT_ONCE && bytes < BYTES_AT_ONCE) {
        struct blk_request *request = take_request(queue);
        uint8_t             status;

        if (!request) {
            if (queue->blk->device.queues[queue->index].broken)
                virtio_break(&queue->blk->device);
            return false;
        }
        if (!may_go(queue, request)) {
            queue->held = request;
            return false;
        }
        status = begin(queue, request);
        taken++;
        bytes += request->bytes;
        if (status != VIRTIO_BLK_S_OK)
            end(queue, request, status);
    }
    return true;
}

static void end_requests(struct blkqueue *queue)
{
    struct virtio_device *device = &queue->blk->device;
    struct blkio_request *io;

    while ((io = blkio_take_ended(&queue->io)))
        end(queue, (struct blk_request *)io, status_of(io->error));
    if (virtqueue_must_tell(&device->queues[queue->index]))
        device->interrupt(device, (int)queue->index);
}

static void *serve(void *data)
{
    struct blkqueue  *queue = data;
    struct virtqueue *ring = &queue->blk->device.queues[queue->index];

    sandbox_enter_thread(SANDBOX_WORKER);
    for (;;) {
        const bool is_stopping = queue->stopping;
        bool       is_more = false;

        if (is_stopping)
            put_back_held(queue);
        else
            is_more = take_requests(queue);
        if (is_more)
            blkio_submit(&queue->io);
        end_requests(queue);
        if (is_stopping && !queue->io.under_way)
            break;
        if (is_more)
            continue;
        if (is_stopping || queue->held || !virtqueue_ask(ring, true) || queue->io.under_way == VIRTQUEUE_SIZE)
            blkio_wait(&queue->io, queue->held != NULL);
        virtqueue_ask(ring, false);
    }
    return NULL;
}

bool blkqueue_start(struct blkqueue *queue)
{
    queue->stopping = false;
    queue->has_thread = pthread_create(&queue->thread, NULL, serve, queue) == 0;
    return queue->has_thread;
}

void blkqueue_stop(struct blkqueue *queue)
{
    if (!queue->has_thread)
        return;
    queue->stopping = true;
    virtio_kick(&queue->blk->device, queue->index);
    pthread_join(queue->thread, NULL);
    queue->has_thread = false;
}

bool blkqueue_init(struct blkqueue *queue, struct blk *blk, unsigned index)
{
    queue->blk = blk;
    queue->index = index;
    queue->gate.limiter = &blk->limiter;
    queue->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    queue->requests = queue->timer < 0 ? NULL : calloc(VIRTQUEUE_SIZE, sizeof(*queue->requests));
    if (!queue->requests)
        return false;
    blkio_init(&queue->io, blk->descriptor, blk->device.kicks[index], queue->timer);
    return true;
}

void blkqueue_destroy(struct blkqueue *queue)
{
    if (queue->requests)
        blkio_destroy(&queue->io);
    free(queue->requests);
    if (queue->timer > 0)
        close(queue->timer);
}
