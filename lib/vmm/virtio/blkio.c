/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* io_uring by plain system calls. The ring may do nothing but what a disk needs, on this one file. */
#include "blkio.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The files of a ring are known by number. */
enum { ENTRIES = 256, FILE_DISK = 0, FILE_KICK = 1, FILE_TIMER = 2, FILES = 3, RETRY_MS = 1 };

/* What stands in the ring in a request's place. */
enum { MARK_KICK = 0, MARK_TIMER = 1 };

static int mode_of(const struct blkio_request *request)
{
    return FALLOC_FL_KEEP_SIZE | (request->operation == BLKIO_DISCARD ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

static void put_ended(struct blkio *io, struct blkio_request *request, int error)
{
    request->error = error;
    request->next = NULL;
    if (io->ended)
        io->last_ended->next = request;
    else
        io->ended = request;
    io->last_ended = request;
}

/* Takes what was done off the request; true when something is left to do. */
static bool advance(struct blkio_request *request, uint64_t done)
{
    request->offset += done;
    request->length -= done < request->length ? done : request->length;
    while (request->count && done >= request->parts->iov_len) {
        done -= request->parts->iov_len;
        request->parts++;
        request->count--;
    }
    if (!request->count)
        return false;
    request->parts->iov_base = (uint8_t *)request->parts->iov_base + done;
    request->parts->iov_len -= done;
    return true;
}

static bool moves_data(const struct blkio_request *request)
{
    return request->operation == BLKIO_READ || request->operation == BLKIO_WRITE;
}

/* What the kernel said of a request: true when it is to be asked again for the rest. */
static bool take_result(struct blkio *io, struct blkio_request *request, ssize_t result)
{
    if (result == -EINTR || result == -EAGAIN)
        return true;
    if (result > 0 && moves_data(request) && advance(request, (uint64_t)result))
        return true;
    /* Nothing where there should be data: the file became shorter. */
    put_ended(io, request,
              result < 0                                              ? (int)-result
              : result == 0 && moves_data(request) && request->length ? EIO
                                                                      : 0);
    return false;
}

/* --- one at a time --- */

static ssize_t call(const struct blkio *io, const struct blkio_request *request)
{
    switch (request->operation) {
    case BLKIO_READ:
        return preadv(io->file, request->parts, (int)request->count, (off_t)request->offset);
    case BLKIO_WRITE:
        return pwritev2(io->file, request->parts, (int)request->count, (off_t)request->offset,
                        request->durable ? RWF_DSYNC : 0);
    case BLKIO_FLUSH:
        return fdatasync(io->file);
    default:
        return fallocate(io->file, mode_of(request), (off_t)request->offset, (off_t)request->length);
    }
}

static void do_now(struct blkio *io, struct blkio_request *request)
{
    ssize_t result;

    do {
        result = call(io, request);
    } while (take_result(io, request, result < 0 ? -errno : result));
}

/* --- the ring --- */

static void enter(struct blkio *io, unsigned wait_for)
{
    const int submitted = (int)syscall(__NR_io_uring_enter, io->ring, io->to_submit, wait_for,
                                       wait_for ? IORING_ENTER_GETEVENTS : 0, NULL, 0);

    if (submitted > 0)
        io->to_submit -= (unsigned)submitted;
    else if (submitted < 0 && errno != EINTR)
        poll(NULL, 0, RETRY_MS); /* the kernel is short of something; what was asked for stays in the ring */
}

static struct io_uring_sqe *add_entry(struct blkio *io)
{
    const unsigned       tail = *io->submit_tail;
    struct io_uring_sqe *entry = (struct io_uring_sqe *)io->entries + (tail & io->submit_mask);

    while (tail - __atomic_load_n(io->submit_head, __ATOMIC_ACQUIRE) == io->submit_count)
        enter(io, 0);
    memset(entry, 0, sizeof(*entry));
    entry->flags = IOSQE_FIXED_FILE;
    entry->fd = FILE_DISK;
    return entry;
}

static void publish(struct blkio *io)
{
    __atomic_store_n(io->submit_tail, *io->submit_tail + 1, __ATOMIC_RELEASE);
    io->to_submit++;
}

static void put_into_ring(struct blkio *io, struct blkio_request *request)
{
    struct io_uring_sqe *entry = add_entry(io);

    entry->user_data = (uintptr_t)request;
    entry->off = request->offset;
    if (moves_data(request)) {
        entry->opcode = request->operation == BLKIO_READ ? IORING_OP_READV : IORING_OP_WRITEV;
        entry->addr = (uintptr_t)request->parts;
        entry->len = request->count;
        entry->rw_flags = request->operation == BLKIO_WRITE && request->durable ? RWF_DSYNC : 0;
    } else if (request->operation == BLKIO_FLUSH) {
        entry->opcode = IORING_OP_FSYNC;
        entry->off = 0;
        entry->fsync_flags = IORING_FSYNC_DATASYNC;
    } else {
        entry->opcode = IORING_OP_FALLOCATE;
        entry->addr = request->length;
        entry->len = (uint32_t)mode_of(request);
    }
    publish(io);
}

static void wait_for_kick(struct blkio *io)
{
    struct io_uring_sqe *entry;

    if (io->is_waiting)
        return;
    entry = add_entry(io);
    entry->opcode = IORING_OP_READ;
    entry->fd = FILE_KICK;
    entry->addr = (uintptr_t)&io->kick_count;
    entry->len = sizeof(io->kick_count);
    entry->user_data = MARK_KICK;
    publish(io);
    io->is_waiting = true;
}

/* It need not be read: it is set to another time before it is waited for again. */
static void wait_for_timer(struct blkio *io)
{
    struct io_uring_sqe *entry;

    if (io->is_timed)
        return;
    entry = add_entry(io);
    entry->opcode = IORING_OP_POLL_ADD;
    entry->fd = FILE_TIMER;
    entry->poll32_events = POLLIN;
    entry->user_data = MARK_TIMER;
    publish(io);
    io->is_timed = true;
}

/* Takes what the ring has to say. */
static void reap(struct blkio *io)
{
    unsigned head = *io->complete_head;

    while (head != __atomic_load_n(io->complete_tail, __ATOMIC_ACQUIRE)) {
        const struct io_uring_cqe completion = io->completions[head & io->complete_mask];
        struct blkio_request     *request = (struct blkio_request *)(uintptr_t)completion.user_data;

        __atomic_store_n(io->complete_head, ++head, __ATOMIC_RELEASE);
        /* The waits for a kick and for the timer also end with the thread that began them. */
        if (completion.user_data == MARK_KICK) {
            io->is_waiting = false;
            io->is_kicked = true;
        } else if (completion.user_data == MARK_TIMER) {
            io->is_timed = false;
        } else if (take_result(io, request, completion.res)) {
            put_into_ring(io, request);
        }
    }
}

/* What a kick is about may have come when its thread had looked for it, and had not looked for kicks yet. */
static void wait_for_ring(struct blkio *io, bool timed)
{
    if (!io->is_kicked) {
        wait_for_kick(io);
        if (timed)
            wait_for_timer(io);
        enter(io, 1);
        reap(io);
    }
    io->is_kicked = false;
}

static bool restrict_ring(const struct blkio *io)
{
    static const uint8_t operations[] = {IORING_OP_READV,     IORING_OP_WRITEV, IORING_OP_FSYNC,
                                         IORING_OP_FALLOCATE, IORING_OP_READ,   IORING_OP_POLL_ADD};
    enum { COUNT = sizeof(operations) };
    struct io_uring_restriction rules[COUNT + 2] = {
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_FIXED_FILE},
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE}};
    const int files[FILES] = {io->file, io->kick, io->timer};

    for (unsigned i = 0; i < COUNT; i++)
        rules[i + 2] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = operations[i]};
    return syscall(__NR_io_uring_register, io->ring, IORING_REGISTER_FILES, files, FILES) == 0 &&
           syscall(__NR_io_uring_register, io->ring, IORING_REGISTER_RESTRICTIONS, rules, COUNT + 2) == 0 &&
           syscall(__NR_io_uring_register, io->ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0) == 0;
}

static void *map_ring(const struct blkio *io, size_t size, off_t what)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, io->ring, what);

    return base == MAP_FAILED ? NULL : base;
}

static bool map_rings(struct blkio *io, const struct io_uring_params *params)
{
    const uint32_t submit = params->sq_off.array + params->sq_entries * (uint32_t)sizeof(unsigned);
    const uint32_t complete = params->cq_off.cqes + params->cq_entries * (uint32_t)sizeof(struct io_uring_cqe);
    uint8_t       *base;

    io->rings_size = submit > complete ? submit : complete;
    io->entries_size = params->sq_entries * (uint32_t)sizeof(struct io_uring_sqe);
    io->rings = map_ring(io, io->rings_size, IORING_OFF_SQ_RING);
    io->entries = map_ring(io, io->entries_size, IORING_OFF_SQES);
    if (!(params->features & IORING_FEAT_SINGLE_MMAP) || !io->rings || !io->entries)
        return false;
    base = io->rings;
    io->submit_head = (unsigned *)(base + params->sq_off.head);
    io->submit_tail = (unsigned *)(base + params->sq_off.tail);
    io->submit_mask = *(unsigned *)(base + params->sq_off.ring_mask);
    io->submit_count = params->sq_entries;
    io->complete_head = (unsigned *)(base + params->cq_off.head);
    io->complete_tail = (unsigned *)(base + params->cq_off.tail);
    io->complete_mask = *(unsigned *)(base + params->cq_off.ring_mask);
    io->completions = (struct io_uring_cqe *)(base + params->cq_off.cqes);
    for (unsigned i = 0; i < params->sq_entries; i++)
        ((unsigned *)(base + params->sq_off.array))[i] = i;
    return true;
}

static void close_ring(struct blkio *io)
{
    if (io->rings)
        munmap(io->rings, io->rings_size);
    if (io->entries)
        munmap(io->entries, io->entries_size);
    if (io->ring >= 0)
        close(io->ring);
    io->rings = io->entries = NULL;
    io->ring = -1;
}

/* --- either --- */

void blkio_init(struct blkio *io, int file, int kick, int timer)
{
    struct io_uring_params params = {.flags = IORING_SETUP_R_DISABLED};

    *io = (struct blkio){.file = file, .kick = kick, .timer = timer};
    io->ring = (int)syscall(__NR_io_uring_setup, ENTRIES, &params);
    if (io->ring >= 0 && (!map_rings(io, &params) || !restrict_ring(io)))
        close_ring(io);
}

void blkio_destroy(struct blkio *io)
{
    close_ring(io);
}

void blkio_begin(struct blkio *io, struct blkio_request *request)
{
    io->under_way++;
    if (io->ring >= 0)
        put_into_ring(io, request);
    else
        do_now(io, request);
}

void blkio_submit(struct blkio *io)
{
    if (io->ring >= 0 && io->to_submit)
        enter(io, 0);
}

struct blkio_request *blkio_take_ended(struct blkio *io)
{
    struct blkio_request *request;

    if (!io->ended && io->ring >= 0)
        reap(io);
    request = io->ended;
    if (!request)
        return NULL;
    io->ended = request->next;
    io->under_way--;
    return request;
}

static void wait_without_ring(struct blkio *io, bool timed)
{
    struct pollfd waits[] = {{.fd = io->kick, .events = POLLIN}, {.fd = timed ? io->timer : -1, .events = POLLIN}};

    if (poll(waits, 2, -1) < 0 || (waits[0].revents && read(io->kick, &io->kick_count, sizeof(io->kick_count)) < 0))
        poll(NULL, 0, RETRY_MS);
}

void blkio_wait(struct blkio *io, bool timed)
{
    if (io->ended)
        return;
    if (io->ring < 0)
        wait_without_ring(io, timed);
    else
        wait_for_ring(io, timed);
}
