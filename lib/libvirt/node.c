/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a libvirt host says of itself: a spec of kind "host". A call that its driver lacks leaves a property out. */
#include "libvirt/domain.h"
#include "libvirt/xml.h"
#include "libvirt/xpath.h"

static void put_node(vmh_spec *spec, virConnectPtr connection)
{
    virNodeInfo        info;
    unsigned long long free_memory;

    if (virNodeGetInfo(connection, &info) == 0) {
        vmhi_spec_put_u64(spec, "cpu.count", info.cpus);
        vmhi_spec_put_u64(spec, "cpu.sockets", info.sockets);
        vmhi_spec_put_u64(spec, "cpu.cores", info.cores);
        vmhi_spec_put_u64(spec, "cpu.threads", info.threads);
        if (info.mhz)
            vmhi_spec_put_u64(spec, "cpu.mhz", info.mhz);
        vmhi_spec_put_u64(spec, "memory.total", (uint64_t)info.memory * 1024);
    }
    free_memory = virNodeGetFreeMemory(connection);
    if (free_memory)
        vmhi_spec_put_u64(spec, "memory.free", free_memory);
}

/* The test host is this process, where libvirt would ask the network for its name and complain on stderr. */
static char *host_name(virConnectPtr connection, const vmhi_platform *platform)
{
    if (g_strcmp0(platform->type, "TEST") == 0)
        return g_strdup(g_get_host_name());
    return virConnectGetHostname(connection);
}

static void put_identity(vmh_spec *spec, virConnectPtr connection, const vmhi_platform *platform)
{
    g_autofree char *name = host_name(connection, platform);
    unsigned long    version;

    vmhi_spec_put(spec, "hypervisor.name", platform->type);
    if (virConnectGetVersion(connection, &version) == 0) {
        g_autofree char *text =
            g_strdup_printf("%lu.%lu.%lu", version / 1000000, version / 1000 % 1000, version % 1000);
        vmhi_spec_put(spec, "hypervisor.version", text);
    }
    if (name)
        vmhi_spec_put(spec, "name", name);
    vmhi_spec_put(spec, "arch", platform->arch);
    vmhi_spec_put(spec, "accelerator.kind", platform->accelerator);
    vmhi_spec_put(spec, "accelerator.reason", platform->reason);
}

/* libvirt writes memory with a unit, KiB in all that is known. */
static uint64_t bytes_of(uint64_t number, const char *unit)
{
    static const struct {
        const char *unit;
        uint64_t    factor;
    } units[] = {{"b", 1}, {"bytes", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};

    for (size_t i = 0; unit && i < G_N_ELEMENTS(units); i++)
        if (g_str_equal(units[i].unit, unit))
            return number * units[i].factor;
    return number * 1024;
}

static void put_cell(vmh_spec *spec, xmlNode *cell)
{
    g_autofree char *id = vmhi_xml_get(cell, "@id");
    g_autofree char *cpus_path = id ? vmhi_path("numa", id, "cpus") : NULL;
    g_autofree char *memory_path = id ? vmhi_path("numa", id, "memory") : NULL;
    g_autofree char *unit = vmhi_xml_get(cell, "memory@unit");
    g_autoptr(GString) cpus = g_string_new("");
    uint64_t memory;

    if (!id)
        return;
    for (xmlNode *cpu = vmhi_xml_child(vmhi_xml_child(cell, "cpus"), "cpu"); cpu; cpu = vmhi_xml_next(cpu, "cpu")) {
        g_autofree char *number = vmhi_xml_get(cpu, "@id");
        if (number)
            g_string_append_printf(cpus, "%s%s", cpus->len ? "," : "", number);
    }
    if (cpus->len)
        vmhi_spec_put(spec, cpus_path, cpus->str);
    if (vmhi_xml_number(cell, "memory", &memory))
        vmhi_spec_put_u64(spec, memory_path, bytes_of(memory, unit));
}

static void put_capabilities(vmh_spec *spec, virConnectPtr connection)
{
    g_autofree char *xml = virConnectGetCapabilities(connection);
    g_autoptr(xmlDoc) doc = xml ? vmhi_xpath_read(xml) : NULL;
    g_autofree char *uuid = doc ? vmhi_xpath_text(doc, "/capabilities/host/uuid") : NULL;
    g_autofree char *model = doc ? vmhi_xpath_text(doc, "/capabilities/host/cpu/model") : NULL;
    g_autoptr(GPtrArray) cells = NULL;

    if (!doc)
        return;
    if (uuid)
        vmhi_spec_put(spec, "uuid", uuid);
    if (model)
        vmhi_spec_put(spec, "cpu.model", model);
    cells = vmhi_xpath_nodes(doc, "/capabilities/host/topology/cells/cell");
    for (guint i = 0; i < cells->len; i++)
        put_cell(spec, cells->pdata[i]);
}

static uint64_t sum(const vmh_frame *frame, const char *metric, uint64_t *present)
{
    const uint64_t *values;
    uint64_t        total = 0;

    *present = 0;
    if (vmh_frame_column(frame, metric, &values, NULL, NULL) != 0)
        return 0;
    for (size_t i = 0; i < vmh_frame_rows(frame); i++) {
        if (values[i] != VMH_METRIC_NONE) {
            total += values[i];
            (*present)++;
        }
    }
    return total;
}

/* Only a VM that runs has memory and vCPUs now: the metrics tell all that is allocated. */
static gboolean put_allocated(vmh_spec *spec, vmhi_driver_host *host, vmh_error **error)
{
    g_autoptr(vmhi_wanted) wanted = vmhi_wanted_new("cpu.count,memory.size", error);
    g_autoptr(vmh_frame) frame = wanted ? vmhi_frame_new(wanted, 256) : NULL;
    uint64_t running;

    if (!frame || !vmhi_libvirt_sample(host, frame, error))
        return FALSE;
    vmhi_frame_finish(frame, NULL, g_get_monotonic_time());
    vmhi_spec_put_u64(spec, "cpu.allocated", sum(frame, "cpu.count", &running));
    vmhi_spec_put_u64(spec, "memory.allocated", sum(frame, "memory.size", &running));
    vmhi_spec_put_u64(spec, "vms.running", running);
    vmhi_spec_put_u64(spec, "vms.total", vmh_frame_rows(frame));
    return TRUE;
}

vmh_spec *vmhi_libvirt_describe(vmhi_driver_host *host, vmh_error **error)
{
    g_autoptr(vmh_spec) spec = vmh_spec_new("host", error);
    virConnectPtr connection = spec ? vmhi_libvirt_connection(host, error) : NULL;
    gboolean      done;

    if (!connection)
        return NULL;
    put_identity(spec, connection, &host->platform);
    put_node(spec, connection);
    put_capabilities(spec, connection);
    virConnectClose(connection);
    done = put_allocated(spec, host, error);
    return done ? g_steal_pointer(&spec) : NULL;
}
