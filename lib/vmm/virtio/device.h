/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all virtio devices have in common, whichever way the guest reaches them. */
#pragma once

#include "../vm.h"
#include "queue.h"

enum { VIRTIO_QUEUES = 16, VIRTIO_CONFIG = 64, VIRTIO_CONFIG_CHANGED = -1 };

struct virtio_device;

struct virtio_kind {
    uint16_t id; /* as the standard numbers them */
    uint32_t class_code;
    /* The driver is ready: the queues that are enabled are served from now on. false: the device is broken. */
    bool (*start)(struct virtio_device *device);
    /* Nothing touches the queues, or the guest, after it. Only after a start that worked. */
    void (*stop)(struct virtio_device *device);
    /* The driver wrote to the configuration, where the kind has it writable; or NULL. */
    void (*written)(struct virtio_device *device);
    unsigned writable_offset, writable_size;
    /* Frees all of it; NULL where it is never taken out. */
    void (*destroy)(struct virtio_device *device);
};

struct virtio_device {
    const struct virtio_kind *kind;
    struct vm                *vm;
    uint64_t                  offered, accepted; /* features */
    uint8_t                   config[VIRTIO_CONFIG];
    unsigned                  config_size;
    unsigned                  queue_count;
    struct virtqueue          queues[VIRTIO_QUEUES];
    int                       kicks[VIRTIO_QUEUES]; /* an eventfd each, by which the driver notifies */
    bool                      started;
    atomic_bool               needs_reset;
    void                     *transport;
    /* The transport's. From any thread; a queue's number, or VIRTIO_CONFIG_CHANGED. */
    void (*interrupt)(struct virtio_device *device, int queue);
};

/* Fills in what every device has, and makes the eventfds; false with errno. */
bool virtio_init(struct virtio_device *device, const struct virtio_kind *kind, struct vm *vm, unsigned queues);
void virtio_destroy(struct virtio_device *device);
/* The driver may reset it; nothing else works any more. From any thread. */
void virtio_break(struct virtio_device *device);

/* For the transport, under its lock. */
bool virtio_start(struct virtio_device *device);
void virtio_reset(struct virtio_device *device);
void virtio_write_config(struct virtio_device *device, uint64_t offset, unsigned size, uint64_t value);
void virtio_kick(struct virtio_device *device, unsigned queue);
