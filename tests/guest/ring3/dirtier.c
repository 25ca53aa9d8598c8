/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dirties memory: rate=N pages a second (0: as many as it can) of pages=N, one after the other, and writes into each
 * its number of all that were dirtied. Whatever byte it is told, it answers with that number, and with how many
 * pages do not hold what they should.
 */
#include "ring3.h"

enum { PAGE = 4096, AT_ONCE = 64 };

static uint64_t pages, total;

static uint64_t *page(uint64_t number)
{
    return (uint64_t *)(heap(PAGE) + number % pages * PAGE);
}

static void dirty(uint64_t count)
{
    while (count--) {
        *(volatile uint64_t *)page(total) = total + 1;
        total++;
    }
}

/* Each page holds the last number that fell to it, or 0. */
static uint64_t count_wrong(void)
{
    uint64_t wrong = 0;

    for (uint64_t i = 0; i < pages; i++) {
        const uint64_t rounds = total / pages + (i < total % pages);

        wrong += *(volatile uint64_t *)page(i) != (rounds ? (rounds - 1) * pages + i + 1 : 0);
    }
    return wrong;
}

static void answer(void)
{
    say("dirtier:");
    say_value("total", total);
    say_value("wrong", count_wrong());
    say("\n");
}

void guest_main(const char *cmdline)
{
    const uint64_t ms = cycles_per_ms();
    const uint64_t rate = argument(cmdline, "rate", 0);
    const uint64_t start = cycles();
    uint64_t       looked = start;

    pages = argument(cmdline, "pages", 256);
    if (!pages)
        pages = 1;
    say("dirtier: ready");
    say_value("cycles-per-ms", ms);
    say("\n");
    for (;;) {
        const uint64_t now = cycles();
        const uint64_t due = rate ? (now - start) / ms * rate / 1000 : total + AT_ONCE;

        if (due > total)
            dirty(due - total < AT_ONCE ? due - total : AT_ONCE);
        else
            pause();
        if (now - looked < 10 * ms)
            continue;
        looked = now; /* looking leaves the guest, and so is rare */
        if (hear() >= 0)
            answer();
    }
}
