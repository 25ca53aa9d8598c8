/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Measures sides by turns in one process, so that what disturbs one disturbs all, and tells the outcome in a line. */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>
#include <vmhost/vmhost.h>

/* One way to do the same work. run() does it once and returns what it took, in the unit that the name ends with. */
typedef struct {
    const char *name; /* the first is "ours", the second "peer"; others have names of their own, such as "events" */
    double (*run)(void *data);
} bench_side;

/*
 * Measures each side `runs` times, by turns, each time after a run that is not counted, and prints
 *   bench NAME ours=… peer=… ratio=… spread=…..… runs=… over=… cpu=… peer-events=… ratio-events=… cpu-events=…
 * Values are medians; ratio and over are those of the medians; spread is the quartiles of the ratio by turn; cpu is
 * the ratio of the processor time that all threads took, which other programs on the machine disturb less.
 */
void bench_run(const char *name, const bench_side *sides, size_t count, size_t runs, void *data);

double bench_now_us(void);

/* A machine of libvirt's test driver with so many running VMs, as a URI; bench_machine_free() drops it. */
char *bench_machine_new(unsigned vms);
void  bench_machine_free(char *uri);

/* Takes a frame of a host with so many VMs: what they use of CPU and memory. Returns the sum of all its values. */
uint64_t bench_sample(vmh_host *host, size_t vms);

/* What must succeed. Ends the program with the error otherwise, or with errno's. */
vmh_host     *bench_open(const char *uri);
virConnectPtr bench_open_bare(const char *uri);
void          bench_fail(const vmh_error *error, const char *what) G_GNUC_NORETURN;
/* The error is looked at when the condition, which may set it, has been. */
#define bench_require(condition, error, what)                                                                        \
    do {                                                                                                             \
        if (!(condition))                                                                                            \
            bench_fail(error, what);                                                                                 \
    } while (0)
