/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all virtio devices have in common, whichever way the guest reaches them. */
#pragma once

#include "../vm.h"
#include "queue.h"

enum { VIRTIO_QUEUES = 17, VIRTIO_CONFIG = 64, VIRTIO_CONFIG_CHANGED = -1, VIRTIO_NAME = 48 };

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
    /* These limits, as WIRE_LIMIT_… counts them, hold from now on; or NULL. By the control thread. */
    void (*limit)(struct virtio_device *device, const uint64_t *limits);
    /* What it is attached to is gone: the driver is told; or NULL. By the control thread, with the lock held. */
    void (*lost)(struct virtio_device *device);
    /* The process ends: what is locked is for others now; or NULL. */
    void (*let_go)(struct virtio_device *device);
    /* Frees all of it; NULL where it is never taken out. */
    void (*destroy)(struct virtio_device *device);
};

struct virtio_device {
    const struct virtio_kind *kind;
    struct vm                *vm;
    char                      name[VIRTIO_NAME]; /* such as disk.root; "": it stays for good */
    pthread_mutex_t           lock;              /* held while the driver is served; taken after the bus's */
    uint64_t                  offered, accepted; /* features */
    uint8_t                   status;
    uint32_t                  offered_select, accepted_select;
    uint16_t                  queue_select;
    uint8_t                   config[VIRTIO_CONFIG];
    unsigned                  config_size;
    unsigned                  queue_count;
    struct virtqueue          queues[VIRTIO_QUEUES];
    int                       kicks[VIRTIO_QUEUES]; /* an eventfd each, by which the driver notifies */
    bool                      started;
    atomic_bool               needs_reset;
    atomic_bool               is_lost; /* until the control thread has seen it */
    struct virtio_device     *next; /* of those that are plugged in */
    /* The transport's. From any thread; a queue's number, or VIRTIO_CONFIG_CHANGED. */
    void *transport;
    void (*interrupt)(struct virtio_device *device, int queue);
};

/* A name of its own makes it a device that can be taken out again. */
bool virtio_name(struct virtio_device *device, const char *class_name, const char *id, struct failure *failure);
/* Fills in what every device has, and makes the eventfds; false with errno. */
bool virtio_init(struct virtio_device *device, const struct virtio_kind *kind, struct vm *vm, unsigned queues);
/* Where the guest finds it, complete as it is: the last step. */
bool virtio_plug(struct virtio_device *device, struct failure *failure);
/* For the control thread, which plugs and destroys them: the one of a name, such as disk.root, or NULL. */
struct virtio_device *virtio_find(const char *name);
/* The names of those that are there, a line each: one that was taken out is there until it is destroyed. */
void virtio_list(char *text, size_t size);
/* After the last of them has stopped, and before the process ends. */
void virtio_let_go(void);
/* Of what these made, as far as they came. */
void virtio_destroy(struct virtio_device *device);
/* The driver may reset it; nothing else works any more. From any thread. */
void virtio_break(struct virtio_device *device);
/* What it is attached to is gone. From any thread; the VM's lost_descriptor tells the control thread, which takes it. */
void virtio_lose(struct virtio_device *device);
/* One whose driver was just told of that, or NULL. */
const struct virtio_device *virtio_take_lost(void);

void virtio_kick(struct virtio_device *device, unsigned queue);

/* --- for the transport, with the lock held: what the driver reads and writes, wherever it does --- */
void virtio_reset(struct virtio_device *device);
/* Those bits that the driver added; zero is a reset, which is the transport's to begin. */
void    virtio_set_status(struct virtio_device *device, uint8_t value);
uint8_t virtio_get_status(const struct virtio_device *device);
/* The half of the features that is selected. */
uint32_t virtio_get_offered(const struct virtio_device *device);
uint32_t virtio_get_accepted(const struct virtio_device *device);
void     virtio_set_accepted(struct virtio_device *device, uint32_t value);
/* The queue that is selected, or NULL; and the one that may be set up still, as it was not enabled yet. */
struct virtqueue *virtio_get_queue(struct virtio_device *device);
struct virtqueue *virtio_get_new_queue(struct virtio_device *device);
void              virtio_set_address(uint64_t *address, bool is_high, uint32_t value);
void              virtio_enable_queue(struct virtio_device *device, struct virtqueue *queue);
/* The selected one, which no thread serves yet. */
void virtio_disable_queue(struct virtio_device *device);
void virtio_read_config(const struct virtio_device *device, uint64_t offset, unsigned size, uint64_t *value);
void virtio_write_config(struct virtio_device *device, uint64_t offset, unsigned size, uint64_t value);
