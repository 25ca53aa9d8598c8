/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Metrics: read from pages that the VMs' processes share, without asking anybody. */
#include "kvm/common.h"
#include <stdio.h>
#include <time.h>

static void set(vmh_frame *frame, size_t row, vmhi_metric metric, uint64_t value)
{
    vmhi_frame_set(frame, row, metric, value);
}

/* The kernel keeps it for any process, by a clock. */
static void put_cpu_time(vmh_frame *frame, size_t row, int process)
{
    struct timespec time;
    clockid_t       clock;

    if (process > 0 && clock_getcpuclockid(process, &clock) == 0 && clock_gettime(clock, &time) == 0)
        set(frame, row, VMHI_METRIC_CPU_TIME, (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec);
}

/* A file to read for each VM: only for those who want it. */
static void put_resident(vmh_frame *frame, size_t row, int process)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm", process);
    g_autofree char *text = NULL;
    unsigned long    size, resident;

    if (vmhi_wanted_has(vmhi_frame_wanted(frame), VMHI_METRIC_MEMORY_RSS) &&
        g_file_get_contents(path, &text, NULL, NULL) && sscanf(text, "%lu %lu", &size, &resident) == 2)
        set(frame, row, VMHI_METRIC_MEMORY_RSS, resident * (uint64_t)sysconf(_SC_PAGESIZE));
}

static void add_row(void *data, const char *uuid, const char *name, const struct wire_stats *stats, int process)
{
    vmh_frame   *frame = data;
    const size_t row = vmhi_frame_add_row(frame, uuid, name);

    if (stats) {
        set(frame, row, VMHI_METRIC_CPU_COUNT, stats->cpus);
        set(frame, row, VMHI_METRIC_MEMORY_SIZE, stats->memory - stats->balloon);
        set(frame, row, VMHI_METRIC_MEMORY_MAX, stats->memory);
        put_cpu_time(frame, row, process);
        put_resident(frame, row, process);
    }
    vmhi_frame_complete(frame, row);
}

gboolean vmhi_kvm_sample(vmhi_driver_host *host, vmh_frame *frame, vmh_error **error)
{
    (void)error;
    vmhi_kvm_watch_counters(host->watch, add_row, frame);
    return TRUE;
}
