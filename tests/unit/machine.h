/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A machine without KVM, and a driver of virtio devices: all that a guest reaches through its buses and its memory.
 */
#pragma once

#include "device/pci.h"
#include "virtio/device.h"
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

enum { MACHINE_MEMORY = 1 << 20, MACHINE_PATIENCE_S = 20 };

extern struct vm vm;

void     make_machine(void);
uint64_t load(struct bus *bus, uint64_t address, unsigned size);
void     store(struct bus *bus, uint64_t address, unsigned size, uint64_t value);
/* The guest's memory. */
void *at(uint64_t address);
/* Where the configuration of a slot is. */
uint64_t config(unsigned slot, unsigned offset);

/* --- a driver of one device at a time --- */
/* From now on it is the one in this slot, or with this number. */
void drive_pci(unsigned slot);
void drive_mmio(unsigned number);
/* Where its registers are. */
uint64_t driven(unsigned offset);

void    set_status(uint8_t status); /* 0 resets it */
uint8_t get_status(void);
/* Its features. */
uint64_t get_offered(void);
/* Up to where the queues are set up; false when the device does not take the features. */
bool negotiate_only(uint64_t features);
/* With version 1 as well, without which no device goes on. */
bool negotiate(uint64_t features);

/* A queue's rings, each in a page of its own from this address on, with descriptors for the driver to fill in. */
enum { RING_SIZE = 8 };
struct ring {
    uint16_t            index;
    struct vring_desc  *descriptors;
    struct vring_avail *available;
    struct vring_used  *used;
};
struct ring set_up_ring(uint16_t index, uint64_t address);
/* The device serves from now on. */
void go(void);
void notify(const struct ring *ring);
/* The next descriptor follows if the flags say so. */
void describe(struct ring *ring, unsigned index, uint64_t address, uint32_t length, uint16_t flags);
/* Offers the chain that begins with this descriptor, and notifies; how many were offered. */
uint16_t offer_chain(struct ring *ring, uint16_t head);
/* Until the device has given back so many chains in all. */
void wait_for_used(const struct ring *ring, uint16_t count);
void wait_for_break(void);
/* Either of them. */
void wait_for_end(const struct ring *ring, uint16_t count);
