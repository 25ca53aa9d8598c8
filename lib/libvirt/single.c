/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Metrics by single calls for each VM, for drivers without the bulk call, or with one that says too little. */
#include "libvirt/sampler.h"

enum { MAX_VCPUS = 256 };

/* Beside libvirt's states of a VM. */
enum { GONE = 254, UNKNOWN = 255 };

/* What the wanted metrics need, found once for a frame. */
typedef struct {
    vmhi_sampling_round *round;
    gboolean             memory, vcpus, block, block_info, net;
} needs;

/* One VM. */
typedef struct {
    const needs *needs;
    virDomainPtr domain;
    const char  *uuid;
    size_t       row;
    gboolean     whole; /* nothing of it failed */
} single;

static void find_needs(needs *n, vmhi_sampling_round *round)
{
    const vmhi_wanted *wanted = vmhi_frame_wanted(round->frame);

    n->round = round;
    n->memory = vmhi_wanted_any(wanted, VMHI_METRIC_MEMORY_RSS, VMHI_METRIC_MEMORY_SWAP_OUT);
    n->vcpus = vmhi_wanted_any(wanted, VMHI_METRIC_VCPU_TIME, VMHI_METRIC_VCPU_TIME) ||
               vmhi_wanted_any(wanted, VMHI_METRIC_VCPU_N_TIME, VMHI_METRIC_VCPU_N_TIME);
    n->block = vmhi_wanted_any(wanted, VMHI_METRIC_BLOCK_READ_BYTES, VMHI_METRIC_BLOCK_WRITE_OPS) ||
               vmhi_wanted_any(wanted, VMHI_METRIC_DISK_READ_BYTES, VMHI_METRIC_DISK_FLUSH_OPS);
    n->block_info = vmhi_wanted_any(wanted, VMHI_METRIC_DISK_CAPACITY, VMHI_METRIC_DISK_ALLOCATION);
    if (round->sparing)
        n->memory = n->block = n->block_info = FALSE;
    n->net = vmhi_wanted_any(wanted, VMHI_METRIC_NET_RX_BYTES, VMHI_METRIC_NET_TX_DROPS) || round->by_nic;
}

/* A call failed: the driver lacks it, which is remembered; or this VM has no such thing; or it did not answer. */
static void failed(single *s, unsigned call)
{
    if (virGetLastErrorCode() == VIR_ERR_NO_SUPPORT)
        s->needs->round->lacks |= call;
    else if (!vmhi_sampler_call_missing())
        s->whole = FALSE;
}

static gboolean lacks(const single *s, unsigned call)
{
    return (s->needs->round->lacks & call) != 0;
}

static void set(const single *s, vmhi_metric metric, uint64_t value)
{
    vmhi_frame_set(s->needs->round->frame, s->row, metric, value);
}

static void sample_memory(single *s)
{
    static const struct {
        int         tag;
        vmhi_metric metric;
        uint64_t    factor;
    } tags[] = {
        {VIR_DOMAIN_MEMORY_STAT_RSS, VMHI_METRIC_MEMORY_RSS, 1024},
        {VIR_DOMAIN_MEMORY_STAT_UNUSED, VMHI_METRIC_MEMORY_UNUSED, 1024},
        {VIR_DOMAIN_MEMORY_STAT_AVAILABLE, VMHI_METRIC_MEMORY_AVAILABLE, 1024},
        {VIR_DOMAIN_MEMORY_STAT_USABLE, VMHI_METRIC_MEMORY_USABLE, 1024},
        {VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT, VMHI_METRIC_MEMORY_MAJOR_FAULTS, 1},
        {VIR_DOMAIN_MEMORY_STAT_MINOR_FAULT, VMHI_METRIC_MEMORY_MINOR_FAULTS, 1},
        {VIR_DOMAIN_MEMORY_STAT_SWAP_IN, VMHI_METRIC_MEMORY_SWAP_IN, 1024},
        {VIR_DOMAIN_MEMORY_STAT_SWAP_OUT, VMHI_METRIC_MEMORY_SWAP_OUT, 1024},
    };
    virDomainMemoryStatStruct stats[VIR_DOMAIN_MEMORY_STAT_NR];
    int                       count = virDomainMemoryStats(s->domain, stats, G_N_ELEMENTS(stats), 0);

    if (count < 0)
        failed(s, VMHI_LACKS_MEMORY);
    for (int i = 0; i < count; i++)
        for (size_t j = 0; j < G_N_ELEMENTS(tags); j++)
            if (stats[i].tag == tags[j].tag)
                set(s, tags[j].metric, stats[i].val * tags[j].factor);
}

static void sample_vcpus(single *s, unsigned vcpus)
{
    virVcpuInfo info[MAX_VCPUS];
    int         count = virDomainGetVcpus(s->domain, info, MIN(vcpus, MAX_VCPUS), NULL, 0);
    uint64_t    total = 0;

    if (count < 0) {
        failed(s, VMHI_LACKS_VCPUS);
        return;
    }
    for (int i = 0; i < count; i++) {
        char number[16];
        g_snprintf(number, sizeof number, "%u", info[i].number);
        vmhi_frame_set_device(s->needs->round->frame, s->row, VMHI_METRIC_VCPU_N_TIME, number, info[i].cpuTime);
        total += info[i].cpuTime;
    }
    set(s, VMHI_METRIC_VCPU_TIME, total);
}

/* libvirt says -1 where a driver does not know; whole is a metric of the whole VM, or -1. */
static void add(const single *s, const char *device, int whole, vmhi_metric by_device, long long value)
{
    vmh_frame *frame = s->needs->round->frame;

    if (value < 0)
        return;
    if (whole >= 0)
        vmhi_frame_add(frame, s->row, whole, value);
    vmhi_frame_set_device(frame, s->row, by_device, device, value);
}

static void sample_disk(single *s, const vmhi_device_name *disk)
{
    virDomainBlockStatsStruct stats;

    if (virDomainBlockStats(s->domain, disk->target, &stats, sizeof stats) < 0) {
        failed(s, VMHI_LACKS_BLOCK);
        return;
    }
    add(s, disk->id, VMHI_METRIC_BLOCK_READ_BYTES, VMHI_METRIC_DISK_READ_BYTES, stats.rd_bytes);
    add(s, disk->id, VMHI_METRIC_BLOCK_READ_OPS, VMHI_METRIC_DISK_READ_OPS, stats.rd_req);
    add(s, disk->id, VMHI_METRIC_BLOCK_WRITE_BYTES, VMHI_METRIC_DISK_WRITE_BYTES, stats.wr_bytes);
    add(s, disk->id, VMHI_METRIC_BLOCK_WRITE_OPS, VMHI_METRIC_DISK_WRITE_OPS, stats.wr_req);
}

static void sample_disk_info(single *s, const vmhi_device_name *disk)
{
    virDomainBlockInfo info;

    if (virDomainGetBlockInfo(s->domain, disk->target, &info, 0) < 0) {
        failed(s, VMHI_LACKS_BLOCK_INFO);
        return;
    }
    add(s, disk->id, -1, VMHI_METRIC_DISK_CAPACITY, (long long)info.capacity);
    add(s, disk->id, -1, VMHI_METRIC_DISK_ALLOCATION, (long long)info.allocation);
}

static void sample_nic(single *s, const vmhi_device_name *nic)
{
    virDomainInterfaceStatsStruct stats;

    if (virDomainInterfaceStats(s->domain, nic->target, &stats, sizeof stats) < 0) {
        failed(s, VMHI_LACKS_NET);
        vmhi_sampler_forget_devices(s->needs->round, s->uuid); /* a new run of the VM has new names */
        return;
    }
    add(s, nic->id, VMHI_METRIC_NET_RX_BYTES, VMHI_METRIC_NIC_RX_BYTES, stats.rx_bytes);
    add(s, nic->id, VMHI_METRIC_NET_RX_PACKETS, VMHI_METRIC_NIC_RX_PACKETS, stats.rx_packets);
    add(s, nic->id, -1, VMHI_METRIC_NIC_RX_ERRORS, stats.rx_errs);
    add(s, nic->id, VMHI_METRIC_NET_RX_DROPS, VMHI_METRIC_NIC_RX_DROPS, stats.rx_drop);
    add(s, nic->id, VMHI_METRIC_NET_TX_BYTES, VMHI_METRIC_NIC_TX_BYTES, stats.tx_bytes);
    add(s, nic->id, VMHI_METRIC_NET_TX_PACKETS, VMHI_METRIC_NIC_TX_PACKETS, stats.tx_packets);
    add(s, nic->id, -1, VMHI_METRIC_NIC_TX_ERRORS, stats.tx_errs);
    add(s, nic->id, VMHI_METRIC_NET_TX_DROPS, VMHI_METRIC_NIC_TX_DROPS, stats.tx_drop);
}

static void sample_devices(single *s)
{
    g_autoptr(GPtrArray) devices = vmhi_sampler_devices(s->needs->round, s->domain, s->uuid, 0);

    for (guint i = 0; i < devices->len; i++) {
        const vmhi_device_name *device = devices->pdata[i];
        if (device->is_nic && s->needs->net && !lacks(s, VMHI_LACKS_NET))
            sample_nic(s, device);
        if (!device->is_nic && s->needs->block && !lacks(s, VMHI_LACKS_BLOCK))
            sample_disk(s, device);
        if (!device->is_nic && s->needs->block_info && !lacks(s, VMHI_LACKS_BLOCK_INFO))
            sample_disk_info(s, device);
    }
}

/* As in the bulk call, a VM that does not run uses nothing: only the memory it can have is told. */
static void sample_running(single *s, const virDomainInfo *info)
{
    const needs *n = s->needs;

    set(s, VMHI_METRIC_CPU_TIME, info->cpuTime);
    set(s, VMHI_METRIC_CPU_COUNT, info->nrVirtCpu);
    set(s, VMHI_METRIC_MEMORY_SIZE, (uint64_t)info->memory * 1024);
    if (n->memory && !lacks(s, VMHI_LACKS_MEMORY))
        sample_memory(s);
    if (n->vcpus && !lacks(s, VMHI_LACKS_VCPUS))
        sample_vcpus(s, info->nrVirtCpu);
    if (n->block || n->block_info || n->net)
        sample_devices(s);
}

static gboolean is_active(const virDomainInfo *info)
{
    return info->state != VIR_DOMAIN_SHUTOFF && info->state != VIR_DOMAIN_CRASHED;
}

static void sample_member(const needs *n, const vmhi_member *member, const virDomainInfo *info)
{
    single s = {.needs = n, .domain = member->domain, .uuid = member->uuid, .whole = TRUE};

    s.row = vmhi_frame_add_lent_row(n->round->frame, member->uuid, member->name);
    if (info->state == UNKNOWN)
        return;
    set(&s, VMHI_METRIC_MEMORY_MAX, (uint64_t)info->maxMem * 1024);
    if (is_active(info))
        sample_running(&s, info);
    if (s.whole && !(n->round->sparing && is_active(info)))
        vmhi_frame_complete(n->round->frame, s.row);
}

/* FALSE: one of them is gone. The state of one that did not answer is UNKNOWN. */
static gboolean ask_all(const vmhi_roster *roster, virDomainInfo *infos)
{
    gboolean all = TRUE;

    for (guint i = 0; i < roster->count; i++) {
        if (virDomainGetInfo(roster->members[i].domain, &infos[i]) == 0)
            continue;
        infos[i].state = virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ? GONE : UNKNOWN;
        all = all && infos[i].state != GONE;
    }
    return all;
}

gboolean vmhi_sampler_single(vmhi_sampling_round *round, vmh_error **error)
{
    g_autofree virDomainInfo *infos = NULL;
    gboolean                  listed;
    vmhi_roster              *roster = vmhi_sampler_roster(round, FALSE, &listed, error);
    needs                     n;

    while (roster) {
        infos = g_renew(virDomainInfo, infos, roster->count + 1);
        if (ask_all(roster, infos) || listed)
            break;
        vmhi_roster_unref(roster); /* one is gone, and perhaps another one came */
        roster = vmhi_sampler_roster(round, TRUE, &listed, error);
    }
    if (!roster)
        return FALSE;
    find_needs(&n, round);
    vmhi_frame_hold(round->frame, vmhi_texts_ref(roster->texts), vmhi_texts_unref);
    for (guint i = 0; i < roster->count; i++)
        if (infos[i].state != GONE)
            sample_member(&n, &roster->members[i], &infos[i]);
    vmhi_roster_unref(roster);
    return TRUE;
}
