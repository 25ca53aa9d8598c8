/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Drives a virtio disk: op=read, op=write or op=check, which writes or expects in each eight bytes the number of
 * where on the disk they are, inverted. count=N requests of block=BYTES, depth=N of them at a time, one after the
 * other or with order=random anywhere on the disk. With "recover" it says when a request fails first, and goes on
 * until then twice the whole disk was without an error.
 */
#include "virtio.h"

enum { SECTOR = 512, MOST = 64, PARTS = 3, READ = 0, WRITE = 1, FLUSH = 4, FLUSH_FEATURE = 1 << 9 };

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

struct request {
    struct header header;
    uint8_t       status;
    uint8_t      *data;
};

static struct virtio    device;
static struct virtqueue queue;
static struct request   requests[MOST];
static uint64_t         block, blocks, count, begun, ended, errors, good, wrong;
static bool             writes, checks, is_random, recovers;

/* --- data --- */

static void fill(const struct request *request)
{
    uint64_t *words = (uint64_t *)request->data;

    for (uint64_t i = 0; i < block / 8; i++)
        words[i] = ~(request->header.sector * SECTOR + i * 8);
}

static void check(const struct request *request)
{
    const uint64_t *words = (const uint64_t *)request->data;

    for (uint64_t i = 0; i < block / 8; i++)
        wrong += words[i] != ~(request->header.sector * SECTOR + i * 8);
}

/* --- requests --- */

static uint64_t next_block(void)
{
    static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

    if (!is_random)
        return begun % blocks;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % blocks;
}

static void begin(unsigned index)
{
    struct request *request = &requests[index];

    request->header = (struct header){.type = writes ? WRITE : READ, .sector = next_block() * (block / SECTOR)};
    request->status = UINT8_MAX;
    if (writes)
        fill(request);
    begun++;
    virtqueue_offer(&queue, (uint16_t)(index * PARTS));
}

static void fail(void)
{
    if (recovers && !errors)
        say("blk: an error\n");
    errors++;
    good = 0;
}

static void end_one(unsigned index, uint32_t written)
{
    const struct request *request = &requests[index];

    ended++;
    if (recovers && errors && ++good == 2 * blocks)
        count = begun;
    if (request->status || written != (writes ? 1 : block + 1))
        fail();
    else if (checks)
        check(request);
}

/* A chain for each: the header, the data, the status. */
static void lay_out(unsigned depth)
{
    uint8_t *data = heap(4096);

    for (unsigned i = 0; i < depth; i++, data += block) {
        struct request    *request = &requests[i];
        struct descriptor *parts = &queue.descriptors[i * PARTS];
        const uint16_t     next = (uint16_t)(i * PARTS + 1);

        request->data = data;
        parts[0] = (struct descriptor){(uintptr_t)&request->header, sizeof(request->header), DESCRIPTOR_NEXT, next};
        parts[1] = (struct descriptor){(uintptr_t)data, (uint32_t)block,
                                       DESCRIPTOR_NEXT | (writes ? 0 : DESCRIPTOR_WRITE), (uint16_t)(next + 1)};
        parts[2] = (struct descriptor){(uintptr_t)&request->status, 1, DESCRIPTOR_WRITE, 0};
    }
}

static void run(unsigned depth)
{
    uint32_t written;
    int      head;

    for (unsigned i = 0; i < depth && begun < count; i++)
        begin(i);
    virtqueue_kick(&queue);
    while (ended < count) {
        bool again = false;

        while ((head = virtqueue_take(&queue, &written)) >= 0) {
            end_one((unsigned)head / PARTS, written);
            if (begun < count) {
                begin((unsigned)head / PARTS);
                again = true;
            }
        }
        if (again)
            virtqueue_kick(&queue);
        else
            pause();
    }
}

/* What was written is on the disk; with a chain of its own, without data. */
static void flush(void)
{
    struct request    *request = &requests[0];
    struct descriptor *parts = queue.descriptors;
    uint32_t           written;

    request->header = (struct header){.type = FLUSH};
    parts[0].next = 2;
    virtqueue_offer(&queue, 0);
    virtqueue_kick(&queue);
    while (virtqueue_take(&queue, &written) < 0)
        pause();
    errors += request->status != 0;
}

void guest_main(const char *cmdline)
{
    const uint64_t depth = argument(cmdline, "depth", 1);
    uint64_t       start;

    writes = has_argument(cmdline, "op=write");
    checks = has_argument(cmdline, "op=check");
    is_random = has_argument(cmdline, "order=random");
    block = argument(cmdline, "block", 4096);
    recovers = has_argument(cmdline, "recover");
    count = argument(cmdline, "count", recovers ? UINT64_MAX : 1);
    if (!virtio_find(&device, VIRTIO_BLK) ||
        !virtio_begin(&device, VIRTIO_VERSION_1 | VIRTIO_EVENT_INDEX | FLUSH_FEATURE) || !device.config) {
        say("blk: no disk\n");
        return;
    }
    blocks = *(volatile uint64_t *)device.config / (block / SECTOR);
    if (!depth || depth > MOST || !blocks) {
        say("blk: no such depth or block\n");
        return;
    }
    lay_out((unsigned)depth);
    virtio_add_queue(&device, 0, &queue);
    virtio_go(&device);
    start = cycles();
    run((unsigned)depth);
    start = cycles() - start;
    if (writes)
        flush();
    say("blk:");
    say_value("requests", ended);
    say_value("errors", errors);
    say_value("wrong", wrong);
    say_value("kicks", queue.kicks);
    say_value("cycles", start);
    say("\n");
}
