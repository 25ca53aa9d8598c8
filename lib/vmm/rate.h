/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Limits of operations and bytes a second, by virtual scheduling (GCRA): who asks gets the time at which it may go.
 * All but the last two functions know no clock but the one that they are given, in nanoseconds.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* All that was booked is paid for at `paid` and `part` of as many parts of a nanosecond as go through in a second. */
struct rate {
    uint64_t per_second; /* 0: no limit */
    uint64_t burst;      /* what may go at once after a pause; one request may, however large it is */
    uint64_t paid, part;
};

/* What was booked before is still owed, at the new rate. */
void rate_set(struct rate *rate, uint64_t per_second, uint64_t burst, uint64_t now);
/* When an amount may go that is asked for at a time; 0: at any. What is not used up to then is lost, but for a slack.
 */
uint64_t rate_book(struct rate *rate, uint64_t amount, uint64_t asked, uint64_t slack);
void     rate_cancel(struct rate *rate, uint64_t amount);

enum { LIMITER_RATES = 6 };

/* The limits of a device, which all its queues share. */
struct limiter {
    pthread_mutex_t lock;
    atomic_bool     is_limiting;
    unsigned        version; /* another after each change */
    struct rate     rates[LIMITER_RATES];
};

void limiter_init(struct limiter *limiter);
/* From any thread, who then wakes those that wait; of the rates given, `per_second` and `burst`. */
void limiter_set(struct limiter *limiter, const struct rate *rates, unsigned count, uint64_t now);

/* Where the requests of one queue go through one after the other. It belongs to one thread. */
struct gate {
    struct limiter *limiter;
    bool            is_waiting; /* with a request that is booked */
    unsigned        version;
    uint64_t        amounts[LIMITER_RATES];
    uint64_t        since;  /* when it was asked for */
    uint64_t        opens;  /* when it may go */
    uint64_t        last;   /* when the one before it was to go; 0: there was a pause */
    uint64_t        late;   /* how long after that it went */
    uint64_t        waited; /* how long the last one that went had to wait */
};

/* false: there are no limits, so nobody need ask. */
bool gate_is_guarded(const struct gate *gate);
/* Whether a request may go that takes so much of each rate. If not it is to ask again, at `opens` or when woken. */
bool gate_pass(struct gate *gate, const uint64_t amounts[LIMITER_RATES], uint64_t now);
/* There is no request. What comes next does not make up for the time until then. */
void gate_rest(struct gate *gate);
/* The request that waits is taken back. */
void gate_cancel(struct gate *gate);

/* The clock of all of this, and a timerfd that ends at a time of it. */
uint64_t rate_clock(void);
void     rate_alarm(int timer, uint64_t at);
