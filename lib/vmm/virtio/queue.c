/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Walks descriptor chains that a hostile guest may have written, and may change while they are walked. */
#include "queue.h"
#include <linux/virtio_ring.h>
#include <string.h>

enum { TABLE_ALIGNMENT = 16, AVAILABLE_ALIGNMENT = 2, USED_ALIGNMENT = 4 };

#define READ_ONCE(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define WRITE_ONCE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELAXED)

void virtqueue_reset(struct virtqueue *queue, const struct memory *memory)
{
    *queue = (struct virtqueue){.size = VIRTQUEUE_SIZE, .memory = memory};
}

static bool broken(struct virtqueue *queue, const char *why)
{
    queue->broken = why;
    return false;
}

static void *ring_at(const struct virtqueue *queue, uint64_t address, uint64_t length, unsigned alignment)
{
    return address % alignment ? NULL : memory_at(queue->memory, address, length);
}

bool virtqueue_enable(struct virtqueue *queue, bool has_event_index)
{
    const uint64_t size = queue->size;

    if (!size || size > VIRTQUEUE_SIZE || size & (size - 1))
        return broken(queue, "its size is not a power of two within the limit");
    /* Each ring ends with the event index, whether or not it is in use. */
    queue->descriptor_table = ring_at(queue, queue->descriptors, size * sizeof(struct vring_desc), TABLE_ALIGNMENT);
    queue->available_ring = ring_at(queue, queue->available, 6 + 2 * size, AVAILABLE_ALIGNMENT);
    queue->used_ring = ring_at(queue, queue->used, 6 + 8 * size, USED_ALIGNMENT);
    if (!queue->descriptor_table || !queue->available_ring || !queue->used_ring)
        return broken(queue, "its rings are not in the guest's memory, or not aligned");
    queue->has_event_index = has_event_index;
    queue->next_available = queue->next_used = queue->told_used = 0;
    queue->broken = NULL;
    queue->enabled = true;
    return true;
}

static struct vring_desc read_descriptor(const struct vring_desc *table, unsigned index)
{
    return (struct vring_desc){.addr = READ_ONCE(table[index].addr),
                               .len = READ_ONCE(table[index].len),
                               .flags = READ_ONCE(table[index].flags),
                               .next = READ_ONCE(table[index].next)};
}

static bool add_part(struct virtqueue *queue, struct virtqueue_chain *chain, const struct vring_desc *descriptor)
{
    const unsigned count = chain->readable + chain->writable;
    const bool     is_writable = descriptor->flags & VRING_DESC_F_WRITE;
    void          *base;

    if (!is_writable && chain->writable)
        return broken(queue, "a readable descriptor follows a writable one");
    if (!descriptor->len)
        return true;
    if (count == VIRTQUEUE_SIZE)
        return broken(queue, "a chain has too many descriptors");
    base = memory_at(queue->memory, descriptor->addr, descriptor->len);
    if (!base)
        return broken(queue, "a descriptor is not of the guest's memory");
    chain->parts[count] = (struct iovec){base, descriptor->len};
    *(is_writable ? &chain->writable : &chain->readable) += 1;
    *(is_writable ? &chain->writable_bytes : &chain->readable_bytes) += descriptor->len;
    return true;
}

/* Follows one table from an index. A walk longer than the table goes round in circles. */
static bool walk(struct virtqueue *queue, struct virtqueue_chain *chain, const struct vring_desc *table,
                 unsigned size, unsigned index, struct vring_desc *indirect)
{
    for (unsigned steps = 0; steps < size; steps++) {
        if (index >= size)
            return broken(queue, "a descriptor's number is beyond its table");
        const struct vring_desc descriptor = read_descriptor(table, index);

        if (descriptor.flags & VRING_DESC_F_INDIRECT) {
            if (!indirect || descriptor.flags & VRING_DESC_F_NEXT)
                return broken(queue, "an indirect descriptor within an indirect table, or not at the end");
            *indirect = descriptor;
            return true;
        }
        if (!add_part(queue, chain, &descriptor))
            return false;
        if (!(descriptor.flags & VRING_DESC_F_NEXT))
            return true;
        index = descriptor.next;
    }
    return broken(queue, "a chain of descriptors does not end");
}

static bool walk_indirect(struct virtqueue *queue, struct virtqueue_chain *chain, const struct vring_desc *indirect)
{
    const unsigned           count = indirect->len / sizeof(struct vring_desc);
    const struct vring_desc *table;

    if (indirect->len % sizeof(struct vring_desc) || !count || count > VIRTQUEUE_SIZE)
        return broken(queue, "the length of an indirect table is wrong");
    /* The standard asks for no alignment, but what is atomic needs one, and every driver has it. */
    table = ring_at(queue, indirect->addr, indirect->len, sizeof(uint64_t));
    if (!table)
        return broken(queue, "an indirect table is not in the guest's memory, or not aligned");
    return walk(queue, chain, table, count, 0, NULL);
}

bool virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain)
{
    struct vring_desc indirect = {.len = 0};
    uint16_t          waiting;

    if (!queue->enabled || queue->broken)
        return false;
    waiting = (uint16_t)(__atomic_load_n(&queue->available_ring->idx, __ATOMIC_ACQUIRE) - queue->next_available);
    if (!waiting)
        return false;
    if (waiting > queue->size)
        return broken(queue, "more chains are available than the queue holds");
    chain->head = READ_ONCE(queue->available_ring->ring[queue->next_available % queue->size]);
    chain->readable = chain->writable = 0;
    chain->readable_bytes = chain->writable_bytes = 0;
    if (!walk(queue, chain, queue->descriptor_table, queue->size, chain->head, &indirect) ||
        (indirect.flags & VRING_DESC_F_INDIRECT && !walk_indirect(queue, chain, &indirect)))
        return false;
    queue->next_available++;
    return true;
}

void virtqueue_unpop(struct virtqueue *queue)
{
    queue->next_available--;
}

void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written)
{
    struct vring_used_elem *element = &queue->used_ring->ring[queue->next_used % queue->size];

    WRITE_ONCE(element->id, head);
    WRITE_ONCE(element->len, written);
    queue->next_used++;
    __atomic_store_n(&queue->used_ring->idx, queue->next_used, __ATOMIC_RELEASE);
}

bool virtqueue_must_tell(struct virtqueue *queue)
{
    const uint16_t before = queue->told_used;
    const uint16_t now = queue->next_used;
    uint16_t       event;

    if (now == before)
        return false;
    /* The driver writes what it wants, then looks at the index; we do it the other way round. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    queue->told_used = now;
    if (!queue->has_event_index)
        return !(READ_ONCE(queue->available_ring->flags) & VRING_AVAIL_F_NO_INTERRUPT);
    event = READ_ONCE(queue->available_ring->ring[queue->size]);
    return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

bool virtqueue_ask(struct virtqueue *queue, bool notify)
{
    if (!queue->enabled || queue->broken)
        return false;
    if (queue->has_event_index) {
        uint16_t *event = (void *)(queue->used_ring->ring + queue->size);

        /* Left behind, it is not reached again for a whole round of the index. */
        if (notify)
            WRITE_ONCE(*event, queue->next_available);
    } else {
        WRITE_ONCE(queue->used_ring->flags, (uint16_t)(notify ? 0 : VRING_USED_F_NO_NOTIFY));
    }
    if (!notify)
        return false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return READ_ONCE(queue->available_ring->idx) != queue->next_available;
}

size_t virtqueue_chain_read(const struct virtqueue_chain *chain, void *data, size_t size)
{
    size_t done = 0;

    for (unsigned i = 0; i < chain->readable && done < size; i++) {
        const size_t count = chain->parts[i].iov_len < size - done ? chain->parts[i].iov_len : size - done;

        memcpy((uint8_t *)data + done, chain->parts[i].iov_base, count);
        done += count;
    }
    return done;
}

size_t virtqueue_chain_write(const struct virtqueue_chain *chain, const void *data, size_t size)
{
    const struct iovec *parts = chain->parts + chain->readable;
    size_t              done = 0;

    for (unsigned i = 0; i < chain->writable && done < size; i++) {
        const size_t count = parts[i].iov_len < size - done ? parts[i].iov_len : size - done;

        memcpy(parts[i].iov_base, (const uint8_t *)data + done, count);
        done += count;
    }
    return done;
}
