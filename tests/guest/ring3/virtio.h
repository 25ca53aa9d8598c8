/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Drives virtio devices over PCI as they are at power-on: BARs are where the machine put them. No interrupts. */
#pragma once

#include "ring3.h"

#define PCI_ECAM UINT64_C(0xe0000000)

enum { VIRTIO_NET = 1, VIRTIO_BLK = 2, VIRTIO_RNG = 4, VIRTIO_BALLOON = 5, VIRTIO_QUEUE_SIZE = 256 };
/* Features that all have. */
#define VIRTIO_EVENT_INDEX (UINT64_C(1) << 29)
#define VIRTIO_VERSION_1 (UINT64_C(1) << 32)

enum { DESCRIPTOR_NEXT = 1, DESCRIPTOR_WRITE = 2 };

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

struct virtqueue {
    struct descriptor descriptors[VIRTIO_QUEUE_SIZE];
    struct {
        uint16_t flags, index, ring[VIRTIO_QUEUE_SIZE], used_event;
    } available;
    _Alignas(8) struct {
        uint16_t flags, index;
        struct {
            uint32_t id, length;
        } ring[VIRTIO_QUEUE_SIZE];
        uint16_t available_event;
    } used;
    uint16_t           number;
    uint16_t           told, seen; /* of available.index, and of used.index */
    volatile uint16_t *doorbell;
    uint64_t           kicks;
} __attribute__((aligned(16)));

struct virtio {
    volatile uint8_t *common, *notify, *config;
    uint32_t          notify_step;
};

/* The first device of this kind. */
bool virtio_find(struct virtio *device, unsigned kind);
/* From its reset to the features; false when it does not take them. */
bool               virtio_begin(struct virtio *device, uint64_t features);
volatile uint16_t *virtio_doorbell(struct virtio *device, unsigned queue);
void               virtio_add_queue(struct virtio *device, unsigned number, struct virtqueue *queue);
/* The queues that were added work. */
void virtio_go(struct virtio *device);

/* Offers a chain by its first descriptor; the device hears of it by the kick. */
void virtqueue_offer(struct virtqueue *queue, uint16_t head);
void virtqueue_kick(struct virtqueue *queue);
/* The first descriptor of a chain that came back, and how many bytes were written; -1: none. */
int virtqueue_take(struct virtqueue *queue, uint32_t *written);
