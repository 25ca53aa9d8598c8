/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the benchmarks share: turns, medians, the line, a machine with many VMs, and a frame of them. */
#include "bench.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static double read_clock(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

double bench_now_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* --- medians --- */

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

/* The value below which this part of all values lies. */
static double quantile(const double *values, size_t count, double part)
{
    g_autofree double *sorted = g_memdup2(values, count * sizeof *values);
    double             place = part * (count - 1);
    size_t             below = (size_t)place;

    qsort(sorted, count, sizeof *sorted, compare);
    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (place - below) * (sorted[below + 1] - sorted[below]);
}

static double median(const double *values, size_t count)
{
    return quantile(values, count, 0.5);
}

/* --- turns --- */

/* What one side took in each turn. */
typedef struct {
    double *values;
    double *cpu;
} series;

/*
 * Each side runs once unmeasured before, for the caches hold what the side before it used. By turns the order is
 * turned round as well: no side always comes after the same other one.
 */
static void take_turn(const bench_side *sides, size_t count, size_t turn, series *all, void *data)
{
    for (size_t i = 0; i < count; i++) {
        size_t side = turn % 2 ? count - 1 - i : i;
        double before;
        sides[side].run(data);
        before = read_clock(CLOCK_PROCESS_CPUTIME_ID);
        all[side].values[turn] = sides[side].run(data);
        all[side].cpu[turn] = read_clock(CLOCK_PROCESS_CPUTIME_ID) - before;
    }
}

static void print_line(const char *name, const bench_side *sides, size_t count, size_t runs, const series *all)
{
    g_autofree double *ratios = g_new(double, runs);
    double             ours = median(all[0].values, runs), peer = median(all[1].values, runs);
    double             cpu = median(all[0].cpu, runs);

    for (size_t i = 0; i < runs; i++)
        ratios[i] = all[0].values[i] / all[1].values[i];
    printf("bench %s ours=%.2f peer=%.2f ratio=%.3f spread=%.3f..%.3f runs=%zu over=%.2f cpu=%.3f", name, ours, peer,
           ours / peer, quantile(ratios, runs, 0.25), quantile(ratios, runs, 0.75), runs, ours - peer,
           cpu / median(all[1].cpu, runs));
    for (size_t side = 2; side < count; side++)
        printf(" peer-%s=%.2f ratio-%s=%.3f cpu-%s=%.3f", sides[side].name, median(all[side].values, runs),
               sides[side].name, ours / median(all[side].values, runs), sides[side].name,
               cpu / median(all[side].cpu, runs));
    putchar('\n');
}

void bench_run(const char *name, const bench_side *sides, size_t count, size_t runs, void *data)
{
    g_autofree series *all = g_new(series, count);

    for (size_t side = 0; side < count; side++)
        all[side] = (series){g_new(double, runs), g_new(double, runs)};
    for (size_t turn = 0; turn < runs; turn++)
        take_turn(sides, count, turn, all, data);
    print_line(name, sides, count, runs, all);
    for (size_t side = 0; side < count; side++) {
        g_free(all[side].values);
        g_free(all[side].cpu);
    }
}

/* --- a machine with many VMs --- */

static const char machines[] = "/proc/self/fd/";

static char *machine_xml(unsigned vms)
{
    GString *xml = g_string_new("<node>\n");

    for (unsigned i = 0; i < vms; i++)
        g_string_append_printf(xml,
                               "<domain type='test'><name>vm-%04u</name>"
                               "<uuid>6d626d68-0000-4000-8000-%012x</uuid><memory unit='MiB'>256</memory>"
                               "<vcpu>2</vcpu><os><type>hvm</type></os></domain>\n",
                               i, i + 1);
    g_string_append(xml, "</node>\n");
    return g_string_free(xml, FALSE);
}

/* A file in memory goes with the program, whatever ends it. */
char *bench_machine_new(unsigned vms)
{
    g_autofree char *xml = machine_xml(vms);
    size_t           length = strlen(xml);
    int              fd = memfd_create("machine.xml", MFD_CLOEXEC);

    bench_require(fd >= 0 && write(fd, xml, length) == (ssize_t)length, NULL, "writing a machine's file");
    return g_strdup_printf("test://%s%d", machines, fd);
}

void bench_machine_free(char *uri)
{
    close(atoi(uri + strlen("test://") + strlen(machines)));
    g_free(uri);
}

/* --- a frame --- */

static uint64_t sum_up(const vmh_frame *frame, const char *metric, size_t vms)
{
    const uint64_t *values;
    uint64_t        sum = 0;
    vmh_error      *error = NULL;

    bench_require(vmh_frame_column(frame, metric, &values, NULL, &error) == 0, error, metric);
    for (size_t row = 0; row < vms; row++) {
        bench_require(values[row] != VMH_METRIC_NONE, NULL, "a value is missing");
        sum += values[row];
    }
    return sum;
}

uint64_t bench_sample(vmh_host *host, size_t vms)
{
    vmh_error *error = NULL;
    vmh_frame *frame = vmh_host_sample(host, "cpu.time,cpu.count,memory.size,memory.max", 0, &error);
    uint64_t   sum;

    bench_require(frame && vmh_frame_rows(frame) == vms, error, "vmh_host_sample");
    sum = sum_up(frame, "cpu.time", vms) + sum_up(frame, "cpu.count", vms) + sum_up(frame, "memory.size", vms) +
          sum_up(frame, "memory.max", vms);
    vmh_frame_unref(frame);
    return sum;
}

/* --- what must succeed --- */

void bench_fail(const vmh_error *error, const char *what)
{
    const char *reason = virGetLastError() ? virGetLastErrorMessage() : g_strerror(errno);

    fprintf(stderr, "%s: %s\n", what, error ? vmh_error_message(error) : reason);
    exit(1);
}

vmh_host *bench_open(const char *uri)
{
    vmh_error *error = NULL;
    vmh_host  *host = vmh_host_open(uri, NULL, 0, &error);

    bench_require(host != NULL, error, uri);
    return host;
}

virConnectPtr bench_open_bare(const char *uri)
{
    virConnectPtr connection = virConnectOpen(uri);

    bench_require(connection != NULL, NULL, uri);
    return connection;
}
