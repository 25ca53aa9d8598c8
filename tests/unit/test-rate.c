/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Limits of rates, by a clock of the test's own: hours pass in no time, and threads are as late as it says. */
#include "rate.h"
#include "unit.h"

#define SECOND UINT64_C(1000000000)
#define START (1000 * SECOND)

static struct limiter limiter;
static struct gate    gate;
static uint64_t       now;

static void limit(uint64_t per_second, uint64_t burst)
{
    limiter_set(&limiter, &(struct rate){.per_second = per_second, .burst = burst}, 1, now);
}

static void begin(uint64_t per_second, uint64_t burst)
{
    now = START;
    limiter_init(&limiter);
    gate = (struct gate){.limiter = &limiter};
    limit(per_second, burst);
}

static bool pass(uint64_t amount)
{
    return gate_pass(&gate, (uint64_t[LIMITER_RATES]){amount}, now);
}

/* Waits as long as it must, and some more. */
static void pass_late(uint64_t amount, uint64_t late)
{
    while (!pass(amount))
        now = gate.opens + late;
}

static void assert_within(double got, double wanted, double part)
{
    ck_assert_msg(got >= wanted * (1 - part) && got <= wanted * (1 + part), "%.3f and not %.3f", got, wanted);
}

/* --- exact at every rate --- */

static const uint64_t rates[] = {1,
                                 3,
                                 7,
                                 10,
                                 100,
                                 333,
                                 1000,
                                 2999,
                                 10007,
                                 65536,
                                 1000003,
                                 99999999,
                                 1000000000,
                                 3333333333,
                                 10000000000,
                                 64000000000,
                                 1000000000000000};

/* With one request always behind another. */
static void run_for(uint64_t per_second, uint64_t most_requests, uint64_t largest, uint64_t late)
{
    const uint64_t end = START + 3 * 3600 * SECOND;
    g_autoptr(GRand) random = g_rand_new_with_seed(7);
    double   total = 0;
    uint64_t count = 0, amount = 0;

    begin(per_second, 0);
    for (; count < most_requests && now < end; count++) {
        amount = largest > 1 ? (uint64_t)g_rand_int_range(random, 1, (gint32)largest) : 1;
        pass_late(amount, late ? (uint64_t)g_rand_int_range(random, 0, (gint32)late) : 0);
        total += (double)amount;
    }
    /* Up to when the last one went, which is not paid for yet. */
    total -= (double)amount;
    assert_within(total / ((double)(gate.last - START) / 1e9), (double)per_second,
                  1e-9 + 2 / (double)(gate.last - START));
    if (now < end && now - START > SECOND)
        assert_within(total / ((double)(now - START) / 1e9), (double)per_second, 0.01);
}

START_TEST(operations_are_exact_at_every_rate)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rates); i++)
        run_for(rates[i], 300000, 1, 0);
}
END_TEST

START_TEST(bytes_are_exact_at_every_rate)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rates); i++)
        run_for(rates[i], 300000, 1 << 20, 0);
}
END_TEST

START_TEST(threads_that_are_late_make_up_for_it)
{
    static const uint64_t some[] = {100, 3000, 20000, 1000000};

    for (size_t i = 0; i < G_N_ELEMENTS(some); i++)
        run_for(some[i], 300000, 1, 5000000);
}
END_TEST

/* A guest with one request at a time, which asks again some time after the last one went. */
START_TEST(a_guest_that_waits_for_each_gets_them_all)
{
    static const uint64_t some[] = {50, 3000, 10000};
    g_autoptr(GRand) random = g_rand_new_with_seed(9);

    for (size_t i = 0; i < G_N_ELEMENTS(some); i++) {
        const uint64_t each = SECOND / some[i];

        begin(some[i], 0);
        for (unsigned j = 0; j < 50000; j++) {
            pass_late(1, (uint64_t)g_rand_double_range(random, 0, (double)each * 0.9));
            gate_rest(&gate);
            now += each / 2;
        }
        assert_within(50000 / ((double)(now - START) / 1e9), (double)some[i], 0.01);
        /* It is made up for, and no more. */
        now += 3600 * SECOND;
        ck_assert(pass(1));
        ck_assert(!pass(1));
    }
}
END_TEST

START_TEST(a_guest_that_is_slow_saves_up_nothing)
{
    begin(1000, 0);
    for (unsigned i = 0; i < 1000; i++) {
        pass_late(1, SECOND / 2000);
        gate_rest(&gate);
        now += SECOND / 500;
    }
    ck_assert(pass(1));
    ck_assert(!pass(1));
}
END_TEST

/* --- bursts --- */

/* How much goes at once. */
static uint64_t go_at_once(uint64_t amount)
{
    uint64_t total = 0;

    while (total < 100000 && pass(amount))
        total += amount;
    gate_cancel(&gate);
    gate_rest(&gate);
    return total;
}

START_TEST(idleness_saves_up_no_more_than_the_burst)
{
    static const uint64_t bursts[] = {0, 1, 999, 1000, 1001, 5000};
    static const uint64_t expected[] = {1000, 1000, 1000, 1000, 1000, 5000};

    for (size_t i = 0; i < G_N_ELEMENTS(bursts); i++) {
        begin(10000, bursts[i]);
        ck_assert_uint_eq(go_at_once(1000), expected[i]);
        ck_assert_uint_eq(go_at_once(1000), 0);
        now += 3600 * SECOND;
        ck_assert_uint_eq(go_at_once(1000), expected[i]);
    }
}
END_TEST

START_TEST(a_burst_is_paid_for)
{
    double total = 5000;

    begin(10000, 5000);
    ck_assert_uint_eq(go_at_once(1000), 5000);
    for (unsigned i = 0; i < 1000; i++, total += 1000)
        pass_late(1000, 0);
    assert_within(total, 5000 + 10000 * (double)(now - START) / 1e9, 1e-6);
}
END_TEST

START_TEST(what_is_larger_than_the_burst_goes)
{
    begin(1000, 100);
    ck_assert(pass(50000));
    ck_assert(!pass(50000));
    ck_assert_uint_eq(gate.opens, START + 50 * SECOND);
    now = gate.opens;
    ck_assert(pass(50000));
    /* And small ones of another queue do not go before one that came first. */
    struct gate other = {.limiter = &limiter};
    ck_assert(!pass(100));
    ck_assert(!gate_pass(&other, (uint64_t[LIMITER_RATES]){1}, now));
    ck_assert_uint_gt(other.opens, gate.opens);
}
END_TEST

START_TEST(a_frozen_thread_makes_up_for_little)
{
    uint64_t count = 0;

    begin(1000, 0);
    for (unsigned i = 0; i < 10; i++)
        pass_late(1, 0);
    ck_assert(!pass(1));
    now += 60 * SECOND;
    while (pass(1))
        count++;
    ck_assert_uint_lt(count, 300);
}
END_TEST

/* --- several queues, several rates --- */

START_TEST(queues_share_what_there_is)
{
    enum { QUEUES = 4, REQUESTS = 20000 };
    struct gate gates[QUEUES];
    uint64_t    counts[QUEUES] = {0};

    begin(3000, 0);
    for (unsigned i = 0; i < QUEUES; i++)
        gates[i] = (struct gate){.limiter = &limiter};
    for (unsigned total = 0; total < REQUESTS;) {
        uint64_t next = UINT64_MAX;

        for (unsigned i = 0; i < QUEUES; i++) {
            while (gate_pass(&gates[i], (uint64_t[LIMITER_RATES]){1}, now)) {
                counts[i]++;
                total++;
            }
            next = MIN(next, gates[i].opens);
        }
        now = next;
    }
    assert_within(REQUESTS / ((double)(now - START) / 1e9), 3000, 0.001);
    for (unsigned i = 0; i < QUEUES; i++)
        assert_within((double)counts[i], REQUESTS / QUEUES, 0.01);
}
END_TEST

START_TEST(the_tightest_of_several_limits_holds)
{
    static const struct rate both[] = {{.per_second = 100}, {.per_second = 1000000}};
    uint64_t                 bytes = 0;

    begin(1, 0);
    now = START;
    limiter_set(&limiter, both, 2, now);
    for (unsigned i = 0; i < 1000; i++) {
        while (!gate_pass(&gate, (uint64_t[LIMITER_RATES]){1, 100}, now))
            now = gate.opens;
    }
    assert_within((double)(now - START), 9.99e9, 1e-6);
    /* The other one did not save up what it could not use. */
    for (unsigned i = 0; i < 100; i++, bytes += 100000) {
        while (!gate_pass(&gate, (uint64_t[LIMITER_RATES]){1, 100000}, now))
            now = gate.opens;
    }
    assert_within((double)bytes, 1e6 * ((double)(now - START) / 1e9 - 9.99), 0.03);
    /* What takes none of a rate does not wait for it. */
    ck_assert(!gate_pass(&gate, (uint64_t[LIMITER_RATES]){1, 1}, now));
    struct gate free_of_it = {.limiter = &limiter};
    ck_assert(gate_pass(&free_of_it, (uint64_t[LIMITER_RATES]){0}, now));
}
END_TEST

/* --- changes --- */

START_TEST(lifting_the_limit_lets_the_waiting_go)
{
    begin(1, 0);
    ck_assert(pass(1000000));
    ck_assert(!pass(1));
    ck_assert_uint_eq(gate.opens, START + 1000000 * SECOND);
    now += SECOND;
    limit(0, 0);
    ck_assert(gate_is_guarded(&gate));
    ck_assert(pass(1));
    ck_assert_uint_eq(gate.waited, SECOND);
    ck_assert(!gate_is_guarded(&gate));
}
END_TEST

START_TEST(another_rate_holds_at_once)
{
    begin(1, 0);
    ck_assert(pass(10));
    ck_assert(!pass(1));
    now += SECOND;
    limit(1000, 0);
    /* Nine are still owed. */
    ck_assert(!pass(1));
    ck_assert_uint_eq(gate.opens, now + 9 * SECOND / 1000);
    now = gate.opens;
    ck_assert(pass(1));
    ck_assert(!pass(1));
    limit(2, 0);
    ck_assert(!pass(1));
    ck_assert_uint_eq(gate.opens, now + SECOND / 2);
    /* The same again changes nothing. */
    for (unsigned i = 0; i < 100; i++) {
        now += 1000;
        limit(2, 0);
        ck_assert(!pass(1));
    }
    ck_assert_uint_eq(gate.opens, now - 100000 + SECOND / 2);
}
END_TEST

START_TEST(what_is_taken_back_is_not_paid_for)
{
    struct gate other = {.limiter = &limiter};

    begin(7, 0);
    ck_assert(pass(1));
    ck_assert(!pass(500));
    gate_cancel(&gate);
    gate_cancel(&gate);
    ck_assert(!gate_pass(&other, (uint64_t[LIMITER_RATES]){1}, now));
    ck_assert_uint_le(other.opens, START + SECOND / 7 + 1);
}
END_TEST

START_TEST(numbers_beyond_all_measure_do_no_harm)
{
    begin(1, 0);
    ck_assert(pass(UINT64_MAX));
    ck_assert(!pass(UINT64_MAX));
    ck_assert_uint_le(gate.opens, INT64_MAX);
    gate_cancel(&gate);
    limit(UINT64_MAX, UINT64_MAX);
    pass_late(UINT64_MAX, 0);
    limit(1, UINT64_MAX);
    pass(1);
    limit(0, 0);
    ck_assert(pass(1));
}
END_TEST

UNIT_RUN("rate", operations_are_exact_at_every_rate, bytes_are_exact_at_every_rate,
         threads_that_are_late_make_up_for_it, a_guest_that_waits_for_each_gets_them_all,
         a_guest_that_is_slow_saves_up_nothing, idleness_saves_up_no_more_than_the_burst, a_burst_is_paid_for,
         what_is_larger_than_the_burst_goes, a_frozen_thread_makes_up_for_little, queues_share_what_there_is,
         the_tightest_of_several_limits_holds, lifting_the_limit_lets_the_waiting_go, another_rate_holds_at_once,
         what_is_taken_back_is_not_paid_for, numbers_beyond_all_measure_do_no_harm)
