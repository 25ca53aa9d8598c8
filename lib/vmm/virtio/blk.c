/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A virtio disk. Each queue has a thread of its own; what the host cannot do the guest gets as an I/O error. */
#include "blk.h"
#include "blkfile.h"
#include "blkio.h"
#include "device.h"
#include "rate.h"
#include "sandbox.h"
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/timerfd.h>

enum {
    CLASS = 0x010000,
    SECTOR = BLKFILE_SECTOR,
    DISCARD_ALIGNMENT = 4096 / SECTOR,
    DISCARD_SECTORS = 1 << 22,
    REQUESTS_AT_ONCE = 8,
    BYTES_AT_ONCE = 256 * 1024,
    CONFIG_SIZE = offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4
};

/* In the place of a request's type. */
#define NO_HEADER UINT32_MAX

struct request {
    struct blkio_request   io; /* first: that is what comes back */
    struct request        *next_free;
    uint32_t               type;
    uint64_t               sector;
    uint8_t               *status;
    uint64_t               bytes;
    struct virtqueue_chain chain;
};

struct queue {
    struct blk     *blk;
    unsigned        index;
    pthread_t       thread;
    bool            has_thread;
    atomic_bool     stopping;
    struct blkio    io;
    struct request *requests; /* touched only as far as they are needed */
    unsigned        fresh;    /* the first that never was */
    struct request *free;
    struct gate     gate;
    struct request *held; /* at the gate; those after it are not taken from the ring yet */
    int             timer;
};

struct blk {
    struct virtio_device device; /* first */
    struct queue         queues[BLK_QUEUES];
    struct wire_line    *line;
    struct limiter       limiter;
    int                  descriptor;
    bool                 is_readonly;
    uint64_t             sectors;
    char                 serial[BLK_SERIAL];
};

static void count(struct queue *queue, unsigned what, uint64_t amount)
{
    if (queue->blk->line)
        __atomic_fetch_add(&queue->blk->line->values[what], amount, __ATOMIC_RELAXED);
}

static bool has_feature(const struct queue *queue, unsigned feature)
{
    return queue->blk->device.accepted >> feature & 1;
}

/* --- requests --- */

static struct request *take_free(struct queue *queue)
{
    struct request *request = queue->free;

    if (request)
        queue->free = request->next_free;
    else if (queue->fresh < VIRTQUEUE_SIZE)
        request = &queue->requests[queue->fresh++];
    return request;
}

static void put_free(struct queue *queue, struct request *request)
{
    request->next_free = queue->free;
    queue->free = request;
}

static void count_end(struct queue *queue, const struct request *request, uint8_t status)
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

static void end(struct queue *queue, struct request *request, uint8_t status)
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

static bool within(const struct queue *queue, uint64_t sector, uint64_t bytes)
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

static uint8_t begin_data(struct queue *queue, struct request *request, uint64_t sector)
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
static uint8_t begin_range(struct queue *queue, struct request *request)
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

static uint8_t give_serial(struct queue *queue, struct request *request)
{
    request->bytes = virtqueue_chain_write(&request->chain, queue->blk->serial, BLK_SERIAL);
    end(queue, request, VIRTIO_BLK_S_OK);
    return VIRTIO_BLK_S_OK;
}

/* VIRTIO_BLK_S_OK: it is under way, or has ended. */
static uint8_t begin(struct queue *queue, struct request *request)
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
static void measure(const struct request *request, uint64_t amounts[LIMITER_RATES])
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

static bool may_go(struct queue *queue, const struct request *request)
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
static void put_back_held(struct queue *queue)
{
    if (!queue->held)
        return;
    gate_cancel(&queue->gate);
    virtqueue_unpop(&queue->blk->device.queues[queue->index]);
    put_free(queue, queue->held);
    queue->held = NULL;
}

/* The last byte that the device may write is for the status; the data ends before it. */
static bool take_status(struct request *request)
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

static void read_header(struct request *request)
{
    struct virtio_blk_outhdr header;
    const bool is_whole = virtqueue_chain_read(&request->chain, &header, sizeof(header)) == sizeof(header);

    request->type = is_whole ? header.type : NO_HEADER;
    request->sector = is_whole ? header.sector : 0;
    request->bytes = 0;
}

/* The one that was held comes first. NULL: there is none, or no room for one. */
static struct request *take_request(struct queue *queue)
{
    struct virtqueue *ring = &queue->blk->device.queues[queue->index];
    struct request   *request = queue->held;

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
static bool take_requests(struct queue *queue)
{
    unsigned taken = 0;
    uint64_t bytes = 0;

    while (taken < REQUESTS_AT_ONCE && bytes < BYTES_AT_ONCE) {
        struct request *request = take_request(queue);
        uint8_t         status;

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

static void end_requests(struct queue *queue)
{
    struct virtio_device *device = &queue->blk->device;
    struct blkio_request *io;

    while ((io = blkio_take_ended(&queue->io)))
        end(queue, (struct request *)io, status_of(io->error));
    if (virtqueue_must_tell(&device->queues[queue->index]))
        device->interrupt(device, (int)queue->index);
}

static void *serve(void *data)
{
    struct queue     *queue = data;
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

static void stop(struct virtio_device *device)
{
    struct blk *blk = (struct blk *)device;

    for (unsigned i = 0; i < device->queue_count; i++) {
        struct queue *queue = &blk->queues[i];

        if (!queue->has_thread)
            continue;
        queue->stopping = true;
        virtio_kick(device, i);
        pthread_join(queue->thread, NULL);
        queue->has_thread = false;
    }
}

static bool start(struct virtio_device *device)
{
    struct blk *blk = (struct blk *)device;

    for (unsigned i = 0; i < device->queue_count; i++) {
        struct queue *queue = &blk->queues[i];

        queue->stopping = false;
        if (device->queues[i].enabled && pthread_create(&queue->thread, NULL, serve, queue) == 0)
            queue->has_thread = true;
        else if (device->queues[i].enabled) {
            stop(device);
            return false;
        }
    }
    return true;
}

static void set_limits(struct virtio_device *device, const uint64_t *limits)
{
    struct blk *blk = (struct blk *)device;
    struct rate rates[WIRE_LIMITS];

    for (unsigned i = 0; i < WIRE_LIMITS; i++)
        rates[i] = (struct rate){.per_second = limits[i]};
    limiter_set(&blk->limiter, rates, WIRE_LIMITS, rate_clock());
    for (unsigned i = 0; i < device->queue_count; i++)
        virtio_kick(device, i);
}

/* --- building --- */

static void configure(struct blk *blk, const struct blk_options *options, uint32_t block)
{
    struct virtio_blk_config config = {
        .capacity = blk->sectors,
        .seg_max = VIRTQUEUE_SIZE - 2, /* with a header and a status */
        .blk_size = block,
        .num_queues = (uint16_t)options->queues,
        .max_discard_sectors = DISCARD_SECTORS,
        .max_discard_seg = 1,
        .discard_sector_alignment = DISCARD_ALIGNMENT,
        .max_write_zeroes_sectors = DISCARD_SECTORS,
        .max_write_zeroes_seg = 1,
        .write_zeroes_may_unmap = options->can_discard,
    };
    uint64_t features = UINT64_C(1) << VIRTIO_BLK_F_SEG_MAX | UINT64_C(1) << VIRTIO_BLK_F_BLK_SIZE |
                        UINT64_C(1) << VIRTIO_BLK_F_FLUSH;

    if (options->queues > 1)
        features |= UINT64_C(1) << VIRTIO_BLK_F_MQ;
    if (options->is_readonly)
        features |= UINT64_C(1) << VIRTIO_BLK_F_RO;
    else
        features |= UINT64_C(1) << VIRTIO_BLK_F_WRITE_ZEROES;
    if (options->can_discard && !options->is_readonly)
        features |= UINT64_C(1) << VIRTIO_BLK_F_DISCARD;
    blk->device.offered = features;
    blk->device.config_size = CONFIG_SIZE;
    memcpy(blk->device.config, &config, CONFIG_SIZE);
}

static bool make_queues(struct blk *blk, struct failure *failure)
{
    for (unsigned i = 0; i < blk->device.queue_count; i++) {
        struct queue *queue = &blk->queues[i];

        queue->blk = blk;
        queue->index = i;
        queue->gate.limiter = &blk->limiter;
        queue->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
        queue->requests = queue->timer < 0 ? NULL : calloc(VIRTQUEUE_SIZE, sizeof(*queue->requests));
        if (!queue->requests)
            return fail(failure, WIRE_HOST, NULL, "no memory or no timer for a disk's queue");
        blkio_init(&queue->io, blk->descriptor, blk->device.kicks[i], queue->timer);
    }
    return true;
}

/* But for the descriptor, which is the disk's if it works. */
static void destroy(struct blk *blk)
{
    for (unsigned i = 0; i < BLK_QUEUES; i++) {
        if (blk->queues[i].requests)
            blkio_destroy(&blk->queues[i].io);
        free(blk->queues[i].requests);
        if (blk->queues[i].timer > 0)
            close(blk->queues[i].timer);
    }
    virtio_destroy(&blk->device);
    free(blk);
}

static void let_go(struct virtio_device *device)
{
    blkfile_unlock(((struct blk *)device)->descriptor);
}

static void remove_disk(struct virtio_device *device)
{
    struct blk *blk = (struct blk *)device;

    if (blk->line)
        vm_remove_line(device->vm, blk->line);
    let_go(device);
    close(blk->descriptor);
    destroy(blk);
}

static bool build(struct blk *blk, struct vm *vm, const struct blk_options *options, struct failure *failure)
{
    static const struct virtio_kind kind = {.id = VIRTIO_ID_BLOCK,
                                            .class_code = CLASS,
                                            .start = start,
                                            .stop = stop,
                                            .limit = set_limits,
                                            .let_go = let_go,
                                            .destroy = remove_disk};
    uint32_t                        block = SECTOR;

    if (!virtio_name(&blk->device, "disk", options->name, failure) ||
        !blkfile_take(options, &blk->sectors, &block, failure))
        return false;
    blk->descriptor = options->descriptor;
    blk->is_readonly = options->is_readonly;
    memcpy(blk->serial, options->serial, strlen(options->serial));
    configure(blk, options, block);
    if (!virtio_init(&blk->device, &kind, vm, (unsigned)options->queues))
        return fail(failure, WIRE_HOST, NULL, "no descriptors for a disk's queues: %s", strerror(errno));
    limiter_init(&blk->limiter);
    if (!make_queues(blk, failure))
        return false;
    set_limits(&blk->device, options->limits);
    return virtio_plug(&blk->device, failure);
}

bool blk_plug(struct vm *vm, const struct blk_options *options, struct failure *failure)
{
    struct blk *blk = calloc(1, sizeof(*blk));

    if (!blk)
        return fail(failure, WIRE_HOST, NULL, "no memory for a disk");
    if (!build(blk, vm, options, failure)) {
        destroy(blk);
        return false;
    }
    /* More devices than lines: those have no counters. */
    blk->line = vm_add_line(vm, WIRE_LINE_DISK, options->name);
    if (blk->line)
        blk->line->values[WIRE_DISK_CAPACITY] = blk->sectors * SECTOR;
    return true;
}
