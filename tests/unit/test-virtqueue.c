/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Virtqueues: what a driver puts in comes out once and whole; what a hostile one puts in breaks the queue alone. */
#include "unit.h"
#include "virtio/queue.h"
#include <linux/virtio_ring.h>

enum {
    MEMORY = 1 << 20,
    SIZE = 8,
    DESCRIPTORS = 0x1000,
    AVAILABLE = 0x2000,
    USED = 0x3000,
    TABLE = 0x4000,
    DATA = 0x10000
};

static struct memory          memory;
static struct virtqueue       queue;
static struct virtqueue_chain chain;

static void *at(uint64_t address)
{
    return memory.base + address;
}

static void setup(uint16_t size, bool has_event_index)
{
    if (!memory.base)
        ck_assert(memory_create(&memory, MEMORY));
    ck_assert(memory_clear(&memory));
    virtqueue_reset(&queue, &memory);
    queue.size = size;
    queue.descriptors = DESCRIPTORS;
    queue.available = AVAILABLE;
    queue.used = USED;
    ck_assert(virtqueue_enable(&queue, has_event_index));
}

static void describe_in(uint64_t table, unsigned index, uint64_t address, uint32_t length, uint16_t flags,
                        uint16_t next)
{
    ((struct vring_desc *)at(table))[index] = (struct vring_desc){address, length, flags, next};
}

static void describe(unsigned index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
    describe_in(DESCRIPTORS, index, address, length, flags, next);
}

static void offer(uint16_t head)
{
    struct vring_avail *available = at(AVAILABLE);

    available->ring[available->idx % queue.size] = head;
    available->idx++;
}

static const struct vring_used *used(void)
{
    return at(USED);
}

#define assert_breaks(part)                                                                                          \
    do {                                                                                                             \
        ck_assert(!virtqueue_pop(&queue, &chain));                                                                   \
        ck_assert_ptr_nonnull(queue.broken);                                                                         \
        ck_assert_msg(strstr(queue.broken, part) != NULL, "\"%s\" does not say \"%s\"", queue.broken, part);         \
        ck_assert(!virtqueue_pop(&queue, &chain));                                                                   \
    } while (0)

START_TEST(a_chain_comes_out_whole)
{
    char data[16] = {0};

    setup(SIZE, false);
    ck_assert(!virtqueue_pop(&queue, &chain));
    memcpy(at(DATA), "head", 4);
    memcpy(at(DATA + 0x100), "more", 4);
    describe(3, DATA, 4, VRING_DESC_F_NEXT, 5);
    describe(5, DATA + 0x100, 4, VRING_DESC_F_NEXT, 0);
    describe(0, DATA + 0x200, 2, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 7);
    describe(7, DATA + 0x300, 100, VRING_DESC_F_WRITE, 0);
    offer(3);
    ck_assert(virtqueue_pop(&queue, &chain));
    ck_assert_uint_eq(chain.head, 3);
    ck_assert_uint_eq(chain.readable, 2);
    ck_assert_uint_eq(chain.writable, 2);
    ck_assert_uint_eq(chain.readable_bytes, 8);
    ck_assert_uint_eq(chain.writable_bytes, 102);
    ck_assert_uint_eq(virtqueue_chain_read(&chain, data, 7), 7);
    ck_assert_str_eq(data, "headmor");
    ck_assert_uint_eq(virtqueue_chain_read(&chain, data, sizeof(data)), 8);
    ck_assert_uint_eq(virtqueue_chain_write(&chain, "answer", 6), 6);
    ck_assert_int_eq(memcmp(at(DATA + 0x200), "an", 2), 0);
    ck_assert_int_eq(memcmp(at(DATA + 0x300), "swer", 4), 0);
    ck_assert(!virtqueue_pop(&queue, &chain));
    ck_assert_uint_eq(used()->idx, 0);
    virtqueue_push(&queue, 3, 6);
    ck_assert_uint_eq(used()->idx, 1);
    ck_assert_uint_eq(used()->ring[0].id, 3);
    ck_assert_uint_eq(used()->ring[0].len, 6);
}
END_TEST

START_TEST(an_indirect_chain_may_follow_a_direct_one)
{
    setup(SIZE, false);
    describe(0, DATA, 16, VRING_DESC_F_NEXT, 1);
    describe(1, TABLE, 2 * sizeof(struct vring_desc), VRING_DESC_F_INDIRECT, 0);
    describe_in(TABLE, 0, DATA + 0x100, 16, VRING_DESC_F_NEXT, 1);
    describe_in(TABLE, 1, DATA + 0x200, 1, VRING_DESC_F_WRITE, 0);
    offer(0);
    ck_assert(virtqueue_pop(&queue, &chain));
    ck_assert_uint_eq(chain.readable, 2);
    ck_assert_uint_eq(chain.writable, 1);
    ck_assert_ptr_eq(chain.parts[2].iov_base, at(DATA + 0x200));
}
END_TEST

/* The 16-bit indexes go round, and so does the ring. */
START_TEST(it_goes_round)
{
    setup(SIZE, true);
    for (unsigned i = 0; i < 200000; i++) {
        describe(i % SIZE, DATA, 1 + i % 100, 0, 0);
        offer(i % SIZE);
        ck_assert(virtqueue_pop(&queue, &chain));
        ck_assert_uint_eq(chain.readable_bytes, 1 + i % 100);
        virtqueue_push(&queue, chain.head, 0);
    }
    ck_assert_uint_eq(used()->idx, 200000 % 65536);
}
END_TEST

START_TEST(interrupts_come_when_they_are_wanted)
{
    struct vring_avail *available;

    setup(SIZE, false);
    available = at(AVAILABLE);
    ck_assert(!virtqueue_must_tell(&queue));
    virtqueue_push(&queue, 0, 0);
    ck_assert(virtqueue_must_tell(&queue));
    ck_assert(!virtqueue_must_tell(&queue));
    available->flags = VRING_AVAIL_F_NO_INTERRUPT;
    virtqueue_push(&queue, 0, 0);
    ck_assert(!virtqueue_must_tell(&queue));

    setup(SIZE, true);
    available = at(AVAILABLE);
    available->ring[SIZE] = 2; /* the third, please */
    virtqueue_push(&queue, 0, 0);
    virtqueue_push(&queue, 0, 0);
    ck_assert(!virtqueue_must_tell(&queue));
    virtqueue_push(&queue, 0, 0);
    ck_assert(virtqueue_must_tell(&queue));
    virtqueue_push(&queue, 0, 0);
    ck_assert(!virtqueue_must_tell(&queue));
}
END_TEST

START_TEST(notifications_are_asked_for)
{
    setup(SIZE, false);
    ck_assert(!virtqueue_ask(&queue, false));
    ck_assert_uint_eq(used()->flags, VRING_USED_F_NO_NOTIFY);
    offer(0);
    ck_assert(virtqueue_ask(&queue, true));
    ck_assert_uint_eq(used()->flags, 0);

    setup(SIZE, true);
    describe(0, DATA, 1, 0, 0);
    offer(0);
    ck_assert(virtqueue_pop(&queue, &chain));
    ck_assert(!virtqueue_ask(&queue, true));
    ck_assert_uint_eq(*(const uint16_t *)at(USED + sizeof(struct vring_used) + SIZE * sizeof(struct vring_used_elem)),
                      1);
    offer(0);
    ck_assert(virtqueue_ask(&queue, true));
}
END_TEST

START_TEST(rings_that_cannot_be_are_refused)
{
    static const struct {
        uint16_t size;
        uint64_t descriptors, available, used;
    } wrong[] = {
        {0, DESCRIPTORS, AVAILABLE, USED},
        {3, DESCRIPTORS, AVAILABLE, USED},
        {512, DESCRIPTORS, AVAILABLE, USED},
        {SIZE, DESCRIPTORS + 8, AVAILABLE, USED},
        {SIZE, DESCRIPTORS, AVAILABLE + 1, USED},
        {SIZE, DESCRIPTORS, AVAILABLE, USED + 2},
        {SIZE, MEMORY, AVAILABLE, USED},
        {SIZE, MEMORY - 16, AVAILABLE, USED},
        {SIZE, UINT64_MAX - 15, AVAILABLE, USED},
        {SIZE, DESCRIPTORS, MEMORY - 20, USED},
        {SIZE, DESCRIPTORS, AVAILABLE, MEMORY - 64},
        {SIZE, DESCRIPTORS, MEMORY_HOLE, USED},
    };

    setup(SIZE, false);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        virtqueue_reset(&queue, &memory);
        queue.size = wrong[i].size;
        queue.descriptors = wrong[i].descriptors;
        queue.available = wrong[i].available;
        queue.used = wrong[i].used;
        ck_assert_msg(!virtqueue_enable(&queue, false), "the wrong queue %zu is taken", i);
        ck_assert(!virtqueue_pop(&queue, &chain));
    }
}
END_TEST

START_TEST(a_loop_ends)
{
    setup(SIZE, false);
    describe(0, DATA, 1, VRING_DESC_F_NEXT, 1);
    describe(1, DATA, 1, VRING_DESC_F_NEXT, 0);
    offer(0);
    assert_breaks("does not end");

    setup(SIZE, false);
    describe(0, TABLE, 2 * sizeof(struct vring_desc), VRING_DESC_F_INDIRECT, 0);
    describe_in(TABLE, 0, DATA, 1, VRING_DESC_F_NEXT, 0);
    offer(0);
    assert_breaks("does not end");
}
END_TEST

START_TEST(memory_that_is_none_is_not_touched)
{
    static const struct {
        uint64_t address;
        uint32_t length;
    } wrong[] = {{MEMORY, 1},     {MEMORY - 1, 2},  {UINT64_MAX, 1}, {UINT64_MAX - 10, 100},
                 {0, UINT32_MAX}, {MEMORY_HOLE, 1}, {MEMORY_HIGH, 1}};

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        setup(SIZE, false);
        describe(0, wrong[i].address, wrong[i].length, VRING_DESC_F_WRITE, 0);
        offer(0);
        assert_breaks("not of the guest's memory");
        setup(SIZE, false);
        /* As a table it is read: of a whole descriptor, the end is outside as well. */
        if (wrong[i].address < MEMORY - 8)
            continue;
        describe(0, wrong[i].address & ~UINT64_C(7), 16, VRING_DESC_F_INDIRECT, 0);
        offer(0);
        assert_breaks("not in the guest's memory");
    }
}
END_TEST

START_TEST(chains_that_make_no_sense_break_it)
{
    setup(SIZE, false);
    offer(SIZE);
    assert_breaks("beyond its table");

    setup(SIZE, false);
    describe(0, DATA, 1, VRING_DESC_F_NEXT, 0xffff);
    offer(0);
    assert_breaks("beyond its table");

    setup(SIZE, false);
    ((struct vring_avail *)at(AVAILABLE))->idx = SIZE + 1;
    assert_breaks("more chains");

    setup(SIZE, false);
    describe(0, DATA, 1, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
    describe(1, DATA, 1, 0, 0);
    offer(0);
    assert_breaks("follows a writable");

    setup(SIZE, false);
    describe(0, TABLE, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
    offer(0);
    assert_breaks("indirect");

    setup(SIZE, false);
    describe(0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
    describe_in(TABLE, 0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
    offer(0);
    assert_breaks("indirect");
}
END_TEST

START_TEST(indirect_tables_of_odd_lengths_break_it)
{
    static const uint32_t wrong[] = {0, 1, 15, 17, 16 * (VIRTQUEUE_SIZE + 1), UINT32_MAX, UINT32_MAX - 15};

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        setup(SIZE, false);
        describe(0, TABLE, wrong[i], VRING_DESC_F_INDIRECT, 0);
        offer(0);
        assert_breaks("length of an indirect table");
    }
    setup(SIZE, false);
    describe(0, TABLE + 4, 16, VRING_DESC_F_INDIRECT, 0);
    offer(0);
    assert_breaks("not aligned");
}
END_TEST

/* A direct descriptor, and as many as a table may have: one too many. */
START_TEST(a_chain_has_a_longest_length)
{
    setup(SIZE, false);
    describe(0, DATA, 1, VRING_DESC_F_NEXT, 1);
    describe(1, TABLE, VIRTQUEUE_SIZE * sizeof(struct vring_desc), VRING_DESC_F_INDIRECT, 0);
    for (unsigned i = 0; i < VIRTQUEUE_SIZE; i++)
        describe_in(TABLE, i, DATA, 1, i + 1 < VIRTQUEUE_SIZE ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
    offer(0);
    assert_breaks("too many");
}
END_TEST

static void assert_chain_within(void)
{
    uint64_t bytes = 0;

    ck_assert_uint_le(chain.readable + chain.writable, VIRTQUEUE_SIZE);
    for (unsigned i = 0; i < chain.readable + chain.writable; i++) {
        const uint8_t *base = chain.parts[i].iov_base;

        ck_assert(base >= memory.base && base < memory.base + memory.size);
        ck_assert_uint_le(chain.parts[i].iov_len, (size_t)(memory.base + memory.size - base));
        bytes += chain.parts[i].iov_len;
    }
    ck_assert_uint_eq(bytes, chain.readable_bytes + chain.writable_bytes);
    ck_assert_uint_lt(chain.head, queue.size);
}

static uint16_t some_flags(GRand *random)
{
    return (uint16_t)(g_rand_int(random) & g_rand_int(random) & 7);
}

/* Near to what is right, so that it gets far. */
static void write_garbage(GRand *random)
{
    struct vring_avail *available = at(AVAILABLE);

    for (unsigned i = 0; i < 64; i++) {
        const uint64_t table = g_rand_boolean(random) ? DESCRIPTORS : TABLE;
        const uint64_t address = g_rand_int_range(random, 0, 8)
                                     ? (uint64_t)g_rand_int_range(random, 0, MEMORY / 16) * 16
                                     : (uint64_t)g_rand_int(random) << 32 | g_rand_int(random);
        const uint32_t length =
            g_rand_int_range(random, 0, 8) ? (uint32_t)g_rand_int_range(random, 0, 16) * 16 : g_rand_int(random);

        describe_in(table, (unsigned)g_rand_int_range(random, 0, SIZE), g_rand_boolean(random) ? TABLE : address,
                    length, some_flags(random), (uint16_t)g_rand_int_range(random, 0, SIZE + 1));
    }
    for (unsigned i = 0; i <= SIZE; i++)
        available->ring[i] = (uint16_t)g_rand_int_range(random, 0, SIZE + 1);
    available->idx = (uint16_t)(queue.next_available + g_rand_int_range(random, 0, SIZE + 2));
}

START_TEST(garbage_reaches_nothing_else)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    unsigned popped = 0;

    for (unsigned round = 0; round < 50000; round++) {
        if (round % 16 == 0 || queue.broken)
            setup(SIZE, g_rand_boolean(random));
        write_garbage(random);
        while (virtqueue_pop(&queue, &chain)) {
            assert_chain_within();
            virtqueue_chain_write(&chain, "0123456789", 10);
            virtqueue_push(&queue, chain.head, 10);
            popped++;
        }
        virtqueue_must_tell(&queue);
        virtqueue_ask(&queue, g_rand_boolean(random));
    }
    ck_assert_uint_gt(popped, 10000);
}
END_TEST

/* Races with the queue, which is the point. */
__attribute__((no_sanitize("thread"))) static gpointer change_all_the_time(gpointer data)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(2);

    while (!g_atomic_int_get((int *)data))
        ((volatile uint8_t *)at(DESCRIPTORS))[g_rand_int_range(random, 0, TABLE + 0x100 - DESCRIPTORS)] =
            (uint8_t)g_rand_int(random);
    return NULL;
}

START_TEST(a_ring_that_changes_under_us_reaches_nothing_else)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(3);
    int      is_done = 0;
    GThread *thread;

    setup(SIZE, true);
    thread = g_thread_new("guest", change_all_the_time, &is_done);
    for (unsigned round = 0; round < 50000; round++) {
        virtqueue_enable(&queue, g_rand_boolean(random));
        write_garbage(random);
        while (virtqueue_pop(&queue, &chain)) {
            assert_chain_within();
            virtqueue_push(&queue, chain.head, 0);
        }
    }
    g_atomic_int_set(&is_done, 1);
    g_thread_join(thread);
}
END_TEST

UNIT_RUN("virtqueue", a_chain_comes_out_whole, an_indirect_chain_may_follow_a_direct_one, it_goes_round,
         interrupts_come_when_they_are_wanted, notifications_are_asked_for, rings_that_cannot_be_are_refused,
         a_loop_ends, memory_that_is_none_is_not_touched, chains_that_make_no_sense_break_it,
         indirect_tables_of_odd_lengths_break_it, a_chain_has_a_longest_length, garbage_reaches_nothing_else,
         a_ring_that_changes_under_us_reaches_nothing_else)
