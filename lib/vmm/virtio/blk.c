/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A virtio disk: what its driver finds, and how it begins and ends. */
#include "blk.h"
#include "blkfile.h"
#include "blkqueue.h"
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <stdlib.h>

enum {
    CLASS = 0x010000,
    SECTOR = BLKFILE_SECTOR,
    DISCARD_ALIGNMENT = 4096 / SECTOR,
    DISCARD_SECTORS = 1 << 22,
    CONFIG_SIZE = offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4
};

static void stop(struct virtio_device *device)
{
    struct blk *blk = (struct blk *)device;

    for (unsigned i = 0; i < device->queue_count; i++)
        blkqueue_stop(&blk->queues[i]);
}

static bool start(struct virtio_device *device)
{
    struct blk *blk = (struct blk *)device;

    for (unsigned i = 0; i < device->queue_count; i++) {
        if (device->queues[i].enabled && !blkqueue_start(&blk->queues[i])) {
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
        if (!blkqueue_init(&blk->queues[i], blk, i))
            return fail(failure, WIRE_HOST, NULL, "no memory or no timer for a disk's queue: %s", strerror(errno));
    }
    return true;
}

/* But for the descriptor, which is the disk's if it works. */
static void destroy(struct blk *blk)
{
    for (unsigned i = 0; i < BLK_QUEUES; i++)
        blkqueue_destroy(&blk->queues[i]);
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
