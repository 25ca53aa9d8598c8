/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two buses by which a guest reaches devices: I/O ports and memory that is none. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * One access of 1, 2, 4 or 8 bytes at an offset into the device's range. Called on any vCPU's thread with the lock of
 * the device held; a read leaves in *value what the guest gets.
 */
typedef void (*bus_access)(void *device, uint64_t offset, unsigned size, bool write, uint64_t *value);

struct bus_range {
    uint64_t         start;
    uint64_t         length;
    bus_access       access;
    void            *device;
    pthread_mutex_t *lock; /* the device's, or NULL where it needs none */
};

enum { BUS_RANGES = 160 };

struct bus {
    pthread_rwlock_t lock;
    struct bus_range ranges[BUS_RANGES]; /* by start */
    unsigned         count;
};

void bus_init(struct bus *bus);
/* false when there is no room, or the range is taken. */
bool bus_add(struct bus *bus, const struct bus_range *range);
void bus_remove(struct bus *bus, uint64_t start);
/* What nobody answers reads as all ones. */
void bus_do(struct bus *bus, uint64_t address, unsigned size, bool write, uint64_t *value);
