/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Metrics of all VMs of a libvirt host: in one bulk call where the driver has it, else by single calls. Which
 * of both, and which single calls a driver lacks, is learnt once for each connection.
 */
#include "libvirt/sampler.h"
#include <string.h>

/* What a parameter of the bulk call is to us; libvirt's KiB become bytes. */
typedef struct {
    const char *field;
    int         whole;  /* vmhi_metric, or NONE */
    int         device; /* of the same, by device */
    uint64_t    factor;
} field;

enum { NONE = -1 };

static const field whole_fields[] = {
    {"cpu.time", VMHI_METRIC_CPU_TIME, NONE, 1},
    {"cpu.user", VMHI_METRIC_CPU_USER, NONE, 1},
    {"cpu.system", VMHI_METRIC_CPU_SYSTEM, NONE, 1},
    {"balloon.current", VMHI_METRIC_MEMORY_SIZE, NONE, 1024},
    {"balloon.maximum", VMHI_METRIC_MEMORY_MAX, NONE, 1024},
    {"balloon.rss", VMHI_METRIC_MEMORY_RSS, NONE, 1024},
    {"balloon.unused", VMHI_METRIC_MEMORY_UNUSED, NONE, 1024},
    {"balloon.available", VMHI_METRIC_MEMORY_AVAILABLE, NONE, 1024},
    {"balloon.usable", VMHI_METRIC_MEMORY_USABLE, NONE, 1024},
    {"balloon.major_fault", VMHI_METRIC_MEMORY_MAJOR_FAULTS, NONE, 1},
    {"balloon.minor_fault", VMHI_METRIC_MEMORY_MINOR_FAULTS, NONE, 1},
    {"balloon.swap_in", VMHI_METRIC_MEMORY_SWAP_IN, NONE, 1024},
    {"balloon.swap_out", VMHI_METRIC_MEMORY_SWAP_OUT, NONE, 1024},
    {"vcpu.current", VMHI_METRIC_CPU_COUNT, NONE, 1},
};

static const field vcpu_fields[] = {
    {"time", VMHI_METRIC_VCPU_TIME, VMHI_METRIC_VCPU_N_TIME, 1},
    {"wait", VMHI_METRIC_VCPU_WAIT, VMHI_METRIC_VCPU_N_WAIT, 1},
    {"delay", VMHI_METRIC_VCPU_DELAY, VMHI_METRIC_VCPU_N_DELAY, 1},
};

static const field block_fields[] = {
    {"rd.reqs", VMHI_METRIC_BLOCK_READ_OPS, VMHI_METRIC_DISK_READ_OPS, 1},
    {"rd.bytes", VMHI_METRIC_BLOCK_READ_BYTES, VMHI_METRIC_DISK_READ_BYTES, 1},
    {"rd.times", NONE, VMHI_METRIC_DISK_READ_TIME, 1},
    {"wr.reqs", VMHI_METRIC_BLOCK_WRITE_OPS, VMHI_METRIC_DISK_WRITE_OPS, 1},
    {"wr.bytes", VMHI_METRIC_BLOCK_WRITE_BYTES, VMHI_METRIC_DISK_WRITE_BYTES, 1},
    {"wr.times", NONE, VMHI_METRIC_DISK_WRITE_TIME, 1},
    {"fl.reqs", NONE, VMHI_METRIC_DISK_FLUSH_OPS, 1},
    {"capacity", NONE, VMHI_METRIC_DISK_CAPACITY, 1},
    {"allocation", NONE, VMHI_METRIC_DISK_ALLOCATION, 1},
};

static const field net_fields[] = {
    {"rx.bytes", VMHI_METRIC_NET_RX_BYTES, VMHI_METRIC_NIC_RX_BYTES, 1},
    {"rx.pkts", VMHI_METRIC_NET_RX_PACKETS, VMHI_METRIC_NIC_RX_PACKETS, 1},
    {"rx.errs", NONE, VMHI_METRIC_NIC_RX_ERRORS, 1},
    {"rx.drop", VMHI_METRIC_NET_RX_DROPS, VMHI_METRIC_NIC_RX_DROPS, 1},
    {"tx.bytes", VMHI_METRIC_NET_TX_BYTES, VMHI_METRIC_NIC_TX_BYTES, 1},
    {"tx.pkts", VMHI_METRIC_NET_TX_PACKETS, VMHI_METRIC_NIC_TX_PACKETS, 1},
    {"tx.errs", NONE, VMHI_METRIC_NIC_TX_ERRORS, 1},
    {"tx.drop", VMHI_METRIC_NET_TX_DROPS, VMHI_METRIC_NIC_TX_DROPS, 1},
};

/* One VM's record while it is read. */
typedef struct {
    vmhi_sampling_round *round;
    size_t               row;
    virDomainPtr         domain;
    unsigned             domain_id;
    const char          *uuid;
    char                *device; /* the id of the device whose parameters come now */
} record;

static const field *find_field(const field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].field, name) == 0)
            return &fields[i];
    return NULL;
}

static gboolean param_number(const virTypedParameter *param, uint64_t *value)
{
    switch (param->type) {
    case VIR_TYPED_PARAM_INT:
        *value = (uint64_t)param->value.i;
        return param->value.i >= 0;
    case VIR_TYPED_PARAM_UINT:
        *value = param->value.ui;
        return TRUE;
    case VIR_TYPED_PARAM_LLONG:
        *value = (uint64_t)param->value.l;
        return param->value.l >= 0;
    case VIR_TYPED_PARAM_ULLONG:
        *value = param->value.ul;
        return TRUE;
    default:
        return FALSE;
    }
}

static void store(const record *r, const field *f, const char *device, const virTypedParameter *param)
{
    vmh_frame *frame = r->round->frame;
    uint64_t   value;

    if (!f || !param_number(param, &value))
        return;
    value *= f->factor;
    if (f->whole != NONE && f->device != NONE)
        vmhi_frame_add(frame, r->row, f->whole, value);
    else if (f->whole != NONE)
        vmhi_frame_set(frame, r->row, f->whole, value);
    if (f->device != NONE && device)
        vmhi_frame_set_device(frame, r->row, f->device, device, value);
}

/* "vcpu.3.time": the number is the device. */
static void store_vcpu(const record *r, const char *rest, const virTypedParameter *param)
{
    char   number[16];
    size_t length = strspn(rest, "0123456789");

    if (length == 0 || length >= sizeof number || rest[length] != '.')
        return;
    memcpy(number, rest, length);
    number[length] = '\0';
    store(r, find_field(vcpu_fields, G_N_ELEMENTS(vcpu_fields), rest + length + 1), number, param);
}

/* "block.0.name" comes first and says which device; "block.0.rd.bytes" and the like follow. */
static void store_device(record *r, gboolean by_device, const field *fields, size_t count, const char *rest,
                         const virTypedParameter *param)
{
    size_t length = strspn(rest, "0123456789");

    if (length == 0 || rest[length] != '.')
        return;
    rest += length + 1;
    if (strcmp(rest, "name") == 0) {
        g_clear_pointer(&r->device, g_free);
        if (by_device && param->type == VIR_TYPED_PARAM_STRING)
            r->device = vmhi_sampler_device_id(r->round, r->domain, r->uuid, r->domain_id, param->value.s);
        return;
    }
    store(r, find_field(fields, count, rest), r->device, param);
}

static void read_param(record *r, const virTypedParameter *param)
{
    const char *name = param->field;

    if (g_str_has_prefix(name, "block."))
        store_device(r, r->round->by_disk, block_fields, G_N_ELEMENTS(block_fields), name + strlen("block."), param);
    else if (g_str_has_prefix(name, "net."))
        store_device(r, r->round->by_nic, net_fields, G_N_ELEMENTS(net_fields), name + strlen("net."), param);
    else if (g_str_has_prefix(name, "vcpu.") && g_ascii_isdigit(name[strlen("vcpu.")]))
        store_vcpu(r, name + strlen("vcpu."), param);
    else
        store(r, find_field(whole_fields, G_N_ELEMENTS(whole_fields), name), NULL, param);
}

/* A VM that does not run has no use of anything; of it only the memory it can have is told. */
static void read_record(vmhi_sampling_round *round, const virDomainStatsRecord *stats)
{
    char   uuid[VIR_UUID_STRING_BUFLEN];
    record r = {.round = round, .domain = stats->dom, .domain_id = virDomainGetID(stats->dom), .uuid = uuid};

    vmhi_libvirt_uuid(stats->dom, uuid);
    r.row = vmhi_frame_add_row(round->frame, uuid, virDomainGetName(stats->dom));
    if (r.domain_id != (unsigned)-1) {
        for (int i = 0; i < stats->nparams; i++)
            read_param(&r, &stats->params[i]);
    } else {
        const virTypedParameter *maximum = virTypedParamsGet(stats->params, stats->nparams, "balloon.maximum");
        if (maximum)
            store(&r, find_field(whole_fields, G_N_ELEMENTS(whole_fields), "balloon.maximum"), NULL, maximum);
        vmhi_frame_complete(round->frame, r.row);
    }
    g_free(r.device);
}

/* The groups of parameters that the wanted metrics need; never none, which would mean all. */
static unsigned needed_groups(const vmhi_wanted *wanted)
{
    static const struct {
        vmhi_metric first, last;
        unsigned    group;
    } needs[] = {
        {VMHI_METRIC_CPU_TIME, VMHI_METRIC_CPU_SYSTEM, VIR_DOMAIN_STATS_CPU_TOTAL},
        {VMHI_METRIC_CPU_COUNT, VMHI_METRIC_VCPU_DELAY, VIR_DOMAIN_STATS_VCPU},
        {VMHI_METRIC_VCPU_N_TIME, VMHI_METRIC_VCPU_N_DELAY, VIR_DOMAIN_STATS_VCPU},
        {VMHI_METRIC_MEMORY_SIZE, VMHI_METRIC_MEMORY_SWAP_OUT, VIR_DOMAIN_STATS_BALLOON},
        {VMHI_METRIC_BLOCK_READ_BYTES, VMHI_METRIC_BLOCK_WRITE_OPS, VIR_DOMAIN_STATS_BLOCK},
        {VMHI_METRIC_DISK_READ_BYTES, VMHI_METRIC_DISK_ALLOCATION, VIR_DOMAIN_STATS_BLOCK},
        {VMHI_METRIC_NET_RX_BYTES, VMHI_METRIC_NET_TX_DROPS, VIR_DOMAIN_STATS_INTERFACE},
        {VMHI_METRIC_NIC_RX_BYTES, VMHI_METRIC_NIC_TX_DROPS, VIR_DOMAIN_STATS_INTERFACE},
    };
    unsigned groups = VIR_DOMAIN_STATS_STATE;

    for (size_t i = 0; i < G_N_ELEMENTS(needs); i++)
        if (vmhi_wanted_any(wanted, needs[i].first, needs[i].last))
            groups |= needs[i].group;
    return groups;
}

/*
 * NOWAIT leaves out what a VM's monitor would have to tell while another call talks to it; so a VM that hangs
 * holds one call and no more. The caller sees to it that not too many of them are held.
 */
static int call_bulk(vmhi_sampling_round *round, unsigned groups, virDomainStatsRecordPtr **records)
{
    unsigned flags = round->way == VMHI_WAY_BULK_NOWAIT ? VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT : 0;
    int      count;

    if (groups & ~round->proven)
        flags |= VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS;
    count = virConnectGetAllDomainStats(round->connection, groups, records, flags);
    if (count >= 0)
        round->proven |= groups;
    return count;
}

/* *missing: this way is not there, and the next one is to be tried. */
static gboolean sample_bulk(vmhi_sampling_round *round, gboolean *missing, vmh_error **error)
{
    virDomainStatsRecordPtr *records = NULL;
    unsigned                 groups = needed_groups(vmhi_frame_wanted(round->frame));
    int                      count = call_bulk(round, groups, &records);

    *missing = count < 0 && vmhi_sampler_call_missing();
    if (*missing)
        round->way++;
    else if (count < 0)
        vmhi_libvirt_error(error, NULL, "asking for the metrics of all VMs");
    for (int i = 0; i < count; i++)
        read_record(round, records[i]);
    if (count >= 0)
        virDomainStatsRecordListFree(records);
    return count >= 0;
}

/* The ways from the best on, until one is there; where bulk calls hang, single calls that ask no monitor. */
static gboolean sample(vmhi_sampling_round *round, vmh_error **error)
{
    gboolean missing = TRUE;
    gboolean done = FALSE;
    int      slot;

    if (round->way == VMHI_WAY_SINGLE)
        return vmhi_sampler_single(round, error);
    slot = vmhi_sampler_enter(round);
    round->sparing = slot < 0;
    if (round->sparing)
        return vmhi_sampler_single(round, error);
    while (missing && round->way != VMHI_WAY_SINGLE)
        done = sample_bulk(round, &missing, error);
    if (missing)
        done = vmhi_sampler_single(round, error);
    vmhi_sampler_leave(round, slot);
    return done;
}

gboolean vmhi_libvirt_sample(vmhi_driver_host *host, vmh_frame *frame, vmh_error **error)
{
    vmhi_sampling_round round;
    gboolean            done;

    if (!vmhi_sampler_begin(&round, host, frame, error))
        return FALSE;
    done = sample(&round, error);
    vmhi_sampler_end(&round);
    return done;
}
