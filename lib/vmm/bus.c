/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds the device that answers to an address. */
#include "bus.h"
#include <string.h>

void bus_init(struct bus *bus)
{
    pthread_rwlock_init(&bus->lock, NULL);
    bus->count = 0;
}

/* The first range that does not end before the address. */
static unsigned find(const struct bus *bus, uint64_t address)
{
    unsigned low = 0;
    unsigned high = bus->count;

    while (low < high) {
        const unsigned          middle = (low + high) / 2;
        const struct bus_range *range = &bus->ranges[middle];

        if (address >= range->start && address - range->start >= range->length)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool bus_add(struct bus *bus, const struct bus_range *range)
{
    bool added = false;

    pthread_rwlock_wrlock(&bus->lock);
    const unsigned at = find(bus, range->start);
    const bool     is_free = at == bus->count || (bus->ranges[at].start > range->start &&
                                              bus->ranges[at].start - range->start >= range->length);
    if (range->length && is_free && bus->count < BUS_RANGES) {
        memmove(&bus->ranges[at + 1], &bus->ranges[at], (bus->count - at) * sizeof(*range));
        bus->ranges[at] = *range;
        bus->count++;
        added = true;
    }
    pthread_rwlock_unlock(&bus->lock);
    return added;
}

void bus_remove(struct bus *bus, uint64_t start)
{
    pthread_rwlock_wrlock(&bus->lock);
    const unsigned at = find(bus, start);
    if (at < bus->count && bus->ranges[at].start == start) {
        bus->count--;
        memmove(&bus->ranges[at], &bus->ranges[at + 1], (bus->count - at) * sizeof(bus->ranges[0]));
    }
    pthread_rwlock_unlock(&bus->lock);
}

static uint64_t ones(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (size * 8)) - 1;
}

void bus_do(struct bus *bus, uint64_t address, unsigned size, bool write, uint64_t *value)
{
    struct bus_range range = {.access = NULL};

    pthread_rwlock_rdlock(&bus->lock);
    const unsigned at = find(bus, address);
    if (at < bus->count && address >= bus->ranges[at].start)
        range = bus->ranges[at];
    pthread_rwlock_unlock(&bus->lock);
    if (!write)
        *value = ones(size);
    /* An access that begins in a range and leaves it is answered by nobody. */
    if (!range.access || size > range.length - (address - range.start))
        return;
    if (range.lock)
        pthread_mutex_lock(range.lock);
    range.access(range.device, address - range.start, size, write, value);
    if (range.lock)
        pthread_mutex_unlock(range.lock);
    if (!write)
        *value &= ones(size);
}
