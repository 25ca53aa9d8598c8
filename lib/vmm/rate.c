/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rates are kept as fractions, so that no rounding adds up: a nanosecond has as many parts as the rate has units a
 * second, and a unit takes 10^9 of these parts.
 */
#include "rate.h"
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

#define SECOND UINT64_C(1000000000)
/* Never, which is a time that timers take. */
#define NEVER ((uint64_t)INT64_MAX)

/* How much time is made up for at most when a thread was late. */
#define LATE (SECOND / 5)

typedef unsigned __int128 parts;

/* --- one rate --- */

static void owe(struct rate *rate, uint64_t since, parts owed)
{
    const parts time = owed / rate->per_second;

    rate->paid = time < NEVER - since ? since + (uint64_t)time : NEVER;
    rate->part = time < NEVER - since ? (uint64_t)(owed % rate->per_second) : 0;
}

void rate_set(struct rate *rate, uint64_t per_second, uint64_t burst, uint64_t now)
{
    parts owed = 0;

    if (rate->per_second && rate->paid >= now)
        owed = (parts)(rate->paid - now) * rate->per_second + rate->part;
    *rate = (struct rate){.per_second = per_second, .burst = burst};
    if (per_second)
        owe(rate, now, owed);
}

uint64_t rate_book(struct rate *rate, uint64_t amount, uint64_t asked, uint64_t slack)
{
    uint64_t earliest = asked > slack ? asked - slack : 0;
    uint64_t opens, early = 0;

    if (!rate->per_second || !amount)
        return 0;
    if (rate->paid < earliest) {
        rate->paid = earliest = asked;
        rate->part = 0;
    }
    opens = rate->paid; /* without its part, lest what follows came after it */
    if (rate->burst > amount) {
        const parts time = (parts)(rate->burst - amount) * SECOND / rate->per_second;

        early = time < opens ? (uint64_t)time : opens;
    }
    owe(rate, rate->paid, (parts)amount * SECOND + rate->part);
    return opens - early > earliest ? opens - early : earliest;
}

void rate_cancel(struct rate *rate, uint64_t amount)
{
    const parts refund = (parts)amount * SECOND;
    parts       time;

    if (!rate->per_second)
        return;
    if (refund <= rate->part) {
        rate->part -= (uint64_t)refund;
        return;
    }
    time = (refund - rate->part + rate->per_second - 1) / rate->per_second;
    rate->part = (uint64_t)(time * rate->per_second - (refund - rate->part));
    rate->paid = time < rate->paid ? rate->paid - (uint64_t)time : 0;
}

/* --- those of a device --- */

void limiter_init(struct limiter *limiter)
{
    memset(limiter, 0, sizeof(*limiter));
    pthread_mutex_init(&limiter->lock, NULL);
}

void limiter_set(struct limiter *limiter, const struct rate *rates, unsigned count, uint64_t now)
{
    bool is_limiting = false;

    pthread_mutex_lock(&limiter->lock);
    for (unsigned i = 0; i < count; i++) {
        rate_set(&limiter->rates[i], rates[i].per_second, rates[i].burst, now);
        is_limiting = is_limiting || rates[i].per_second;
    }
    limiter->version++;
    atomic_store(&limiter->is_limiting, is_limiting);
    pthread_mutex_unlock(&limiter->lock);
}

/* Under the lock, as is the next. */
static void book(struct gate *gate, uint64_t asked, uint64_t slack)
{
    gate->version = gate->limiter->version;
    gate->opens = 0;
    for (unsigned i = 0; i < LIMITER_RATES; i++) {
        const uint64_t opens = rate_book(&gate->limiter->rates[i], gate->amounts[i], asked, slack);

        gate->opens = opens > gate->opens ? opens : gate->opens;
    }
    if (!gate->opens)
        gate->opens = asked;
}

static void take_back(struct gate *gate)
{
    for (unsigned i = 0; i < LIMITER_RATES; i++)
        rate_cancel(&gate->limiter->rates[i], gate->amounts[i]);
}

/* --- those who ask --- */

bool gate_is_guarded(const struct gate *gate)
{
    return gate->is_waiting || atomic_load(&gate->limiter->is_limiting);
}

/*
 * A request that was behind another was there when that one was to go, however late its thread is. And who asks anew
 * when the one before has ended would have asked earlier, had that one not been late.
 */
static void book_anew(struct gate *gate, uint64_t now)
{
    if (!gate->last)
        book(gate, now, gate->late);
    else
        book(gate, now > LATE && gate->last < now - LATE ? now - LATE : gate->last, 0);
}

bool gate_pass(struct gate *gate, const uint64_t amounts[LIMITER_RATES], uint64_t now)
{
    pthread_mutex_lock(&gate->limiter->lock);
    if (!gate->is_waiting) {
        memcpy(gate->amounts, amounts, sizeof(gate->amounts));
        gate->since = now;
        book_anew(gate, now);
    } else if (gate->version != gate->limiter->version) {
        take_back(gate);
        book(gate, now, 0);
    }
    pthread_mutex_unlock(&gate->limiter->lock);
    gate->is_waiting = gate->opens > now;
    if (gate->is_waiting)
        return false;
    gate->last = gate->opens;
    gate->late = now - gate->opens < LATE ? now - gate->opens : LATE;
    gate->waited = now - gate->since;
    return true;
}

void gate_rest(struct gate *gate)
{
    gate->last = 0;
}

void gate_cancel(struct gate *gate)
{
    if (!gate->is_waiting)
        return;
    pthread_mutex_lock(&gate->limiter->lock);
    take_back(gate);
    pthread_mutex_unlock(&gate->limiter->lock);
    gate->is_waiting = false;
    gate->last = 0;
}

/* --- the clock --- */

uint64_t rate_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

void rate_alarm(int timer, uint64_t at)
{
    const struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at / SECOND), .tv_nsec = (long)(at % SECOND)}};

    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}
