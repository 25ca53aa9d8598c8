/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Metrics: read from pages that the VMs' processes share, without asking anybody. */
#include "kvm/common.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static void set(vmh_frame *frame, size_t row, vmhi_metric metric, uint64_t value)
{
    vmhi_frame_set(frame, row, metric, value);
}

/* The kernel keeps it for any process, by a clock. */
static void put_cpu_time(vmh_frame *frame, size_t row, clockid_t clock)
{
    struct timespec time;

    if (clock != CLOCK_REALTIME && vmhi_wanted_has(vmhi_frame_wanted(frame), VMHI_METRIC_CPU_TIME) &&
        clock_gettime(clock, &time) == 0)
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

/* What the values of a device's line are, of the whole VM and of the device. */
typedef struct {
    unsigned index;
    int      whole; /* vmhi_metric, or NONE */
    int      device;
} column;

enum { NONE = -1 };

static const column disk_columns[] = {
    {WIRE_DISK_READ_BYTES, VMHI_METRIC_BLOCK_READ_BYTES, VMHI_METRIC_DISK_READ_BYTES},
    {WIRE_DISK_READS, VMHI_METRIC_BLOCK_READ_OPS, VMHI_METRIC_DISK_READ_OPS},
    {WIRE_DISK_WRITTEN_BYTES, VMHI_METRIC_BLOCK_WRITE_BYTES, VMHI_METRIC_DISK_WRITE_BYTES},
    {WIRE_DISK_WRITES, VMHI_METRIC_BLOCK_WRITE_OPS, VMHI_METRIC_DISK_WRITE_OPS},
    {WIRE_DISK_FLUSHES, NONE, VMHI_METRIC_DISK_FLUSH_OPS},
    {WIRE_DISK_CAPACITY, NONE, VMHI_METRIC_DISK_CAPACITY},
};

static const column nic_columns[] = {
    {WIRE_NIC_RX_BYTES, VMHI_METRIC_NET_RX_BYTES, VMHI_METRIC_NIC_RX_BYTES},
    {WIRE_NIC_RX_PACKETS, VMHI_METRIC_NET_RX_PACKETS, VMHI_METRIC_NIC_RX_PACKETS},
    {WIRE_NIC_RX_DROPS, VMHI_METRIC_NET_RX_DROPS, VMHI_METRIC_NIC_RX_DROPS},
    {WIRE_NIC_TX_BYTES, VMHI_METRIC_NET_TX_BYTES, VMHI_METRIC_NIC_TX_BYTES},
    {WIRE_NIC_TX_PACKETS, VMHI_METRIC_NET_TX_PACKETS, VMHI_METRIC_NIC_TX_PACKETS},
    {WIRE_NIC_TX_DROPS, VMHI_METRIC_NET_TX_DROPS, VMHI_METRIC_NIC_TX_DROPS},
};

/* By direction. */
static const column disk_stalled[] = {
    {WIRE_IN, VMHI_METRIC_BLOCK_READ_STALLED, VMHI_METRIC_DISK_READ_STALLED},
    {WIRE_OUT, VMHI_METRIC_BLOCK_WRITE_STALLED, VMHI_METRIC_DISK_WRITE_STALLED},
};

static const column nic_stalled[] = {
    {WIRE_IN, VMHI_METRIC_NET_RX_STALLED, VMHI_METRIC_NIC_RX_STALLED},
    {WIRE_OUT, VMHI_METRIC_NET_TX_STALLED, VMHI_METRIC_NIC_TX_STALLED},
};

static void put_values(vmh_frame *frame, size_t row, const struct wire_line *line, const uint64_t *values,
                       const column *columns, gsize count)
{
    char name[sizeof(line->name)];

    memcpy(name, line->name, sizeof(name));
    name[sizeof(name) - 1] = '\0';
    for (gsize i = 0; i < count; i++) {
        const uint64_t value = __atomic_load_n(&values[columns[i].index], __ATOMIC_RELAXED);

        if (columns[i].whole != NONE)
            vmhi_frame_add(frame, row, columns[i].whole, value);
        vmhi_frame_set_device(frame, row, columns[i].device, name, value);
    }
}

static void put_devices(vmh_frame *frame, size_t row, const struct wire_stats *stats)
{
    const uint32_t count = MIN(stats->line_count, WIRE_STATS_LINES);

    for (uint32_t i = 0; i < count; i++) {
        const struct wire_line *line = &stats->lines[i];
        const uint64_t         *stalled = stats->stalled_ns[i];

        if (line->kind == WIRE_LINE_DISK) {
            put_values(frame, row, line, line->values, disk_columns, G_N_ELEMENTS(disk_columns));
            put_values(frame, row, line, stalled, disk_stalled, G_N_ELEMENTS(disk_stalled));
        } else if (line->kind == WIRE_LINE_NIC) {
            put_values(frame, row, line, line->values, nic_columns, G_N_ELEMENTS(nic_columns));
            put_values(frame, row, line, stalled, nic_stalled, G_N_ELEMENTS(nic_stalled));
        }
    }
}

/* What the guest's balloon driver told last. */
static void put_guest(vmh_frame *frame, size_t row, const struct wire_stats *stats)
{
    static const vmhi_metric metrics[] = {VMHI_METRIC_MEMORY_SWAP_IN,      VMHI_METRIC_MEMORY_SWAP_OUT,
                                          VMHI_METRIC_MEMORY_MAJOR_FAULTS, VMHI_METRIC_MEMORY_MINOR_FAULTS,
                                          VMHI_METRIC_MEMORY_UNUSED,       VMHI_METRIC_MEMORY_AVAILABLE,
                                          VMHI_METRIC_MEMORY_USABLE};
    const uint32_t           known = __atomic_load_n(&stats->guest_known, __ATOMIC_RELAXED);

    for (gsize i = 0; i < G_N_ELEMENTS(metrics); i++) {
        if (known >> i & 1)
            set(frame, row, metrics[i], __atomic_load_n(&stats->guest[i], __ATOMIC_RELAXED));
    }
}

static void add_row(void *data, const vmhi_kvm_counters *counters)
{
    vmh_frame               *frame = data;
    const struct wire_stats *stats = counters->stats;
    const size_t             row = vmhi_frame_add_row(frame, counters->uuid, counters->name);

    if (stats) {
        set(frame, row, VMHI_METRIC_CPU_COUNT, stats->cpus);
        set(frame, row, VMHI_METRIC_MEMORY_SIZE, stats->memory - stats->balloon);
        set(frame, row, VMHI_METRIC_MEMORY_MAX, stats->memory);
        put_cpu_time(frame, row, counters->clock);
        put_resident(frame, row, counters->process);
        put_devices(frame, row, stats);
        put_guest(frame, row, stats);
    }
    vmhi_frame_complete(frame, row);
}

gboolean vmhi_kvm_sample(vmhi_driver_host *host, vmh_frame *frame, vmh_error **error)
{
    (void)error;
    vmhi_kvm_watch_counters(host->watch, add_row, frame);
    return TRUE;
}
