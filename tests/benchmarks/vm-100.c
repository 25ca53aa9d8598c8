/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hundred VMs at once, each of which answers in the end: how long the last ten take from the wish for one to its
 * first byte, against the first ten. Says as well what memory their processes hold, the guests' included.
 */
#include "sides.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RUNS = 3, VMS = 100, COMPARED = 10 };

/* All are measured before they are compared, as one measurement has both sides. Each is asked for twice. */
typedef struct {
    double   first[RUNS], last[RUNS];
    unsigned asked_first, asked_last;
} starts;

static double start_one(vmh_host *host, bench_running *running)
{
    static const bench_guest guest = {.memory_mib = "64", .kernel = SMALL_GUEST, .cmdline = "tick=4000"};
    const double             start = bench_now_us();

    *running = bench_start_ours(host, &guest);
    bench_hear(running, "");
    return (bench_now_us() - start) / 1000;
}

static void expect_answer(const bench_running *running)
{
    static const char question[] = "are you there\n";

    bench_require(write(running->console, question, strlen(question)) == (ssize_t)strlen(question), NULL, "asking");
    bench_hear(running, "echo: are you there");
}

static void tell_memory(vmh_host *host)
{
    vmh_error      *error = NULL;
    vmh_frame      *frame = vmh_host_sample(host, "memory.rss", 0, &error);
    const uint64_t *values;
    uint64_t        sum = 0;

    bench_require(frame && vmh_frame_rows(frame) == VMS, error, "vmh_host_sample");
    bench_require(vmh_frame_column(frame, "memory.rss", &values, NULL, &error) == 0, error, "memory.rss");
    for (size_t i = 0; i < VMS; i++) {
        bench_require(values[i] != VMH_METRIC_NONE, NULL, "a VM's memory");
        sum += values[i];
    }
    printf("%d VMs hold %.1f MiB, %.0f KiB each\n", VMS, sum / 1048576.0, sum / 1024.0 / VMS);
    vmh_frame_unref(frame);
}

static void measure(vmh_host *host, double *first, double *last)
{
    bench_running running[VMS];
    double        took[VMS];

    *first = *last = 0;
    for (int i = 0; i < VMS; i++)
        took[i] = start_one(host, &running[i]);
    for (int i = 0; i < COMPARED; i++) {
        *first += took[i] / COMPARED;
        *last += took[VMS - 1 - i] / COMPARED;
    }
    for (int i = 0; i < VMS; i++)
        expect_answer(&running[i]);
    tell_memory(host);
    for (int i = 0; i < VMS; i++)
        bench_end(&running[i]);
}

static double ours(void *data)
{
    starts *s = data;

    return s->last[s->asked_last++ / 2];
}

static double peer(void *data)
{
    starts *s = data;

    return s->first[s->asked_first++ / 2];
}

int main(void)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}};
    vmh_host        *host = bench_own_host();
    starts           s = {0};

    for (int i = 0; i < RUNS; i++)
        measure(host, &s.first[i], &s.last[i]);
    bench_run("vm-100-ms", sides, G_N_ELEMENTS(sides), RUNS, &s);
    bench_own_host_free(host);
    return 0;
}
