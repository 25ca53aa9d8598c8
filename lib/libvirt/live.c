/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changing what runs, by libvirt's calls: one function for what one call changes. */
#include "libvirt/domain-map.h"
#include "libvirt/update.h"

#include <stdlib.h>
#include <string.h>

#define LIVE_FLAG VIR_DOMAIN_AFFECT_LIVE

enum { POLL_MS = 200 };

static gboolean result(int status, const char *path, const char *doing, vmh_error **error)
{
    if (status >= 0)
        return TRUE;
    vmhi_libvirt_error(error, path, doing);
    return FALSE;
}

static xmlNode *root(const vmhi_view *view)
{
    return xmlDocGetRootElement(view->doc);
}

/* --- texts and actions --- */

static gboolean change_title(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    (void)id;
    return result(virDomainSetMetadata(live->domain, VIR_DOMAIN_METADATA_TITLE, vmhi_spec_str(live->to->spec, path),
                                       NULL, NULL, LIVE_FLAG),
                  path, "changing the title", error);
}

static gboolean change_description(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    (void)id;
    return result(virDomainSetMetadata(live->domain, VIR_DOMAIN_METADATA_DESCRIPTION,
                                       vmhi_spec_str(live->to->spec, path), NULL, NULL, LIVE_FLAG),
                  path, "changing the description", error);
}

/* Our element as libvirt wants it: it puts the namespace in by itself. NULL when nothing is left in it. */
static char *plain_metadata(xmlDoc *doc)
{
    xmlNode *ours = vmhi_domain_ours(doc, FALSE);
    g_autoptr(xmlDoc) copy = xmlNewDoc(BAD_CAST "1.0");
    xmlNode *top = xmlNewDocNode(copy, NULL, BAD_CAST "vm", NULL);

    xmlDocSetRootElement(copy, top);
    for (xmlNode *node = ours ? xmlFirstElementChild(ours) : NULL; node; node = xmlNextElementSibling(node)) {
        xmlNode *entry = xmlNewChild(top, NULL, node->name, NULL);

        for (xmlAttr *attribute = node->properties; attribute; attribute = attribute->next) {
            xmlChar *value = xmlNodeListGetString(doc, attribute->children, 1);

            xmlSetProp(entry, attribute->name, value);
            xmlFree(value);
        }
    }
    return top->children ? vmhi_domain_node_text(top) : NULL;
}

static gboolean change_metadata(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    g_autofree char *text = plain_metadata(live->to->doc);

    (void)id;
    return result(virDomainSetMetadata(live->domain, VIR_DOMAIN_METADATA_ELEMENT, text, VMHI_DOMAIN_PREFIX,
                                       VMHI_DOMAIN_NAMESPACE, LIVE_FLAG),
                  path, "changing metadata", error);
}

static gboolean change_action(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    const char  *action = vmhi_spec_str(live->to->spec, path);
    unsigned int type = g_str_equal(path, "on.crash")      ? VIR_DOMAIN_LIFECYCLE_CRASH
                        : g_str_equal(path, "on.shutdown") ? VIR_DOMAIN_LIFECYCLE_POWEROFF
                                                           : VIR_DOMAIN_LIFECYCLE_REBOOT;
    unsigned int number = VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY;

    (void)id;
    if (g_strcmp0(action, "restart") == 0)
        number = VIR_DOMAIN_LIFECYCLE_ACTION_RESTART;
    else if (g_strcmp0(action, "keep") == 0)
        number = VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE;
    return result(virDomainSetLifecycleAction(live->domain, type, number, LIVE_FLAG), path,
                  "changing what an event leads to", error);
}

/* --- CPUs and memory --- */

static gboolean change_cpus(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    uint64_t count = 1;

    (void)id;
    vmhi_spec_u64(live->to->spec, path, &count);
    return result(virDomainSetVcpusFlags(live->domain, (unsigned int)count, LIVE_FLAG), path,
                  "changing the number of CPUs (a guest can refuse to give one back)", error);
}

static gboolean change_memory(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    uint64_t bytes = vmhi_domain_memory(root(live->to), "currentMemory");

    (void)id;
    return result(virDomainSetMemoryFlags(live->domain, bytes / 1024, LIVE_FLAG), path, "changing the memory", error);
}

typedef struct {
    virTypedParameterPtr list;
    int                  count, room;
} parameters;

static void parameters_clear(parameters *p)
{
    virTypedParamsFree(p->list, p->count);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(parameters, parameters_clear)

static void add_number(parameters *p, const char *name, uint64_t value)
{
    virTypedParamsAddULLong(&p->list, &p->count, &p->room, name, value);
}

static gboolean change_limit(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    g_auto(parameters) p = {0};
    uint64_t bytes = vmhi_domain_memory(root(live->to), "memtune/hard_limit");

    (void)id;
    add_number(&p, VIR_DOMAIN_MEMORY_HARD_LIMIT, bytes ? bytes / 1024 : VIR_DOMAIN_MEMORY_PARAM_UNLIMITED);
    return result(virDomainSetMemoryParameters(live->domain, p.list, p.count, LIVE_FLAG), path,
                  "changing the limit of memory", error);
}

static gboolean change_weight(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    g_auto(parameters) p = {0};
    uint64_t weight = 0;

    (void)id;
    if (!vmhi_spec_u64(live->to->spec, path, &weight))
        return TRUE;
    add_number(&p, VIR_DOMAIN_SCHEDULER_CPU_SHARES, weight);
    return result(virDomainSetSchedulerParametersFlags(live->domain, p.list, p.count, LIVE_FLAG), path,
                  "changing the weight", error);
}

/* libvirt's XML names no weight that nobody set, but the way back to it must be known. */
void vmhi_live_add_weight(vmh_spec *spec, virDomainPtr domain)
{
    virTypedParameterPtr list;
    unsigned long long   weight;
    int                  count = 0;
    char                *scheduler = virDomainGetSchedulerType(domain, &count);

    if (scheduler && count > 0) {
        list = g_new0(virTypedParameter, count);
        if (virDomainGetSchedulerParametersFlags(domain, list, &count, LIVE_FLAG) == 0 &&
            virTypedParamsGetULLong(list, count, VIR_DOMAIN_SCHEDULER_CPU_SHARES, &weight) == 1)
            vmhi_spec_put_u64(spec, "cpu.weight", weight);
        virTypedParamsClear(list, count);
        g_free(list);
    }
    free(scheduler);
}

static gboolean change_cpu_limit(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    g_auto(parameters) p = {0};
    guint64 quota, period;

    (void)id;
    if (vmhi_xml_number(root(live->to), "cputune/global_period", &period))
        add_number(&p, VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD, period);
    if (!vmhi_xml_number(root(live->to), "cputune/global_quota", &quota))
        quota = G_MAXUINT64; /* -1: none */
    virTypedParamsAddLLong(&p.list, &p.count, &p.room, VIR_DOMAIN_SCHEDULER_GLOBAL_QUOTA, (long long)quota);
    return result(virDomainSetSchedulerParametersFlags(live->domain, p.list, p.count, LIVE_FLAG), path,
                  "changing the limit of CPU time", error);
}

/* A set as libvirt's calls want it; an empty one is all that the host has. The caller's, for free(). */
static unsigned char *cpu_map(virConnectPtr connection, const char *set, int *length)
{
    unsigned char *map = NULL;
    int            cpus = virNodeGetCPUMap(connection, &map, NULL, 0);

    if (cpus <= 0)
        return NULL;
    *length = VIR_CPU_MAPLEN(cpus);
    if (set && *set)
        memset(map, 0, (size_t)*length);
    while (set && *set) {
        char         *end;
        unsigned long first = strtoul(set, &end, 10);
        unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : first;

        for (; first <= last && first < (unsigned long)*length * 8; first++)
            map[first / 8] |= (unsigned char)(1 << (first % 8));
        set = *end == ',' ? end + 1 : "";
    }
    return map;
}

static gboolean change_pin(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    const char    *set = vmhi_spec_str(live->to->spec, path);
    unsigned int   vcpu = (unsigned int)g_ascii_strtoull(id, NULL, 10);
    int            length = 0, status = -1;
    unsigned char *map = cpu_map(virDomainGetConnect(live->domain), set, &length);

    if (map)
        status = virDomainPinVcpuFlags(live->domain, vcpu, map, length, LIVE_FLAG);
    free(map);
    return result(status, path, "changing where a vCPU runs", error);
}

static gboolean change_nodes(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    g_auto(parameters) p = {0};
    const char      *nodes = vmhi_spec_str(live->to->spec, path);
    g_autofree char *all = NULL;
    virNodeInfo      host;

    (void)id;
    if (!nodes && virNodeGetInfo(virDomainGetConnect(live->domain), &host) == 0)
        all = g_strdup_printf("0-%u", MAX(host.nodes, 1) - 1);
    virTypedParamsAddString(&p.list, &p.count, &p.room, VIR_DOMAIN_NUMA_NODESET, nodes ? nodes : all ? all : "0");
    if (virDomainSetNumaParameters(live->domain, p.list, p.count, LIVE_FLAG) == 0)
        return TRUE;
    if (virGetLastErrorCode() == VIR_ERR_OPERATION_INVALID) /* newer ones, where QEMU itself binds it */
        vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, path, "%s: this host binds memory at the start alone",
                                path);
    else
        vmhi_libvirt_error(error, path, "changing the NUMA nodes");
    return FALSE;
}

/* --- disks and NICs that stay --- */

static gboolean change_iotune(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    static const char *const names[] = {
        VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC, VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC,
        VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC, VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC,
        VIR_DOMAIN_BLOCK_IOTUNE_READ_IOPS_SEC,   VIR_DOMAIN_BLOCK_IOTUNE_WRITE_IOPS_SEC};
    g_auto(parameters) p = {0};
    xmlNode         *disk = vmhi_domain_device(live->to->doc, "disk", id);
    g_autofree char *target = vmhi_xml_get(disk, "target@dev");

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *place = g_strconcat("iotune/", names[i], NULL);
        guint64          value = 0;

        vmhi_xml_number(disk, place, &value);
        add_number(&p, names[i], value);
    }
    return result(virDomainSetBlockIoTune(live->domain, target, p.list, p.count, LIVE_FLAG), path,
                  "changing a disk's limits", error);
}

static gboolean change_rates(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    static const char *const names[] = {VIR_DOMAIN_BANDWIDTH_IN_AVERAGE, VIR_DOMAIN_BANDWIDTH_IN_PEAK,
                                        VIR_DOMAIN_BANDWIDTH_IN_BURST,   VIR_DOMAIN_BANDWIDTH_OUT_AVERAGE,
                                        VIR_DOMAIN_BANDWIDTH_OUT_PEAK,   VIR_DOMAIN_BANDWIDTH_OUT_BURST};
    g_auto(parameters) p = {0};
    xmlNode         *nic = vmhi_domain_device(live->to->doc, "nic", id);
    g_autofree char *mac = vmhi_xml_get(nic, "mac@address");

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) { /* "inbound.average" stands at bandwidth/inbound@average */
        g_auto(GStrv) words = g_strsplit(names[i], ".", 2);
        g_autofree char *place = g_strconcat("bandwidth/", words[0], "@", words[1], NULL);
        guint64          value = 0;

        vmhi_xml_number(nic, place, &value);
        virTypedParamsAddUInt(&p.list, &p.count, &p.room, names[i], (unsigned int)MIN(value, G_MAXUINT32));
    }
    return result(virDomainSetInterfaceParameters(live->domain, mac, p.list, p.count, LIVE_FLAG), path,
                  "changing a NIC's limits", error);
}

static gboolean change_nic(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    xmlNode         *nic = vmhi_domain_device(live->to->doc, "nic", id);
    g_autofree char *xml = vmhi_domain_node_text(nic);

    return result(virDomainUpdateDeviceFlags(live->domain, xml, LIVE_FLAG), path, "changing a NIC", error);
}

/* --- devices that come and go --- */

/* A SCSI disk needs a controller, and libvirt's own choice is one that guests of today do not know. */
static gboolean attach_controllers(const vmhi_live *live, const char *path, vmh_error **error)
{
    xmlNode *now = vmhi_xml_find(root(live->from), "devices");
    xmlNode *node = vmhi_xml_child(vmhi_xml_find(root(live->to), "devices"), "controller");

    for (; node; node = vmhi_xml_next(node, "controller")) {
        g_autofree char *xml = NULL;
        xmlNode         *there = vmhi_xml_child(now, "controller");

        while (there && !vmhi_xml_has(there, "@type", "scsi"))
            there = vmhi_xml_next(there, "controller");
        if (there || !vmhi_xml_has(node, "@type", "scsi"))
            continue;
        xml = vmhi_domain_node_text(node);
        if (!result(virDomainAttachDeviceFlags(live->domain, xml, LIVE_FLAG), path, "attaching a controller", error))
            return FALSE;
    }
    return TRUE;
}

static gboolean attach(const vmhi_live *live, xmlNode *device, const char *path, vmh_error **error)
{
    g_autofree char *xml = vmhi_domain_node_text(device);

    if (vmhi_xml_has(device, "target@bus", "scsi") && !attach_controllers(live, path, error))
        return FALSE;
    return result(virDomainAttachDeviceFlags(live->domain, xml, LIVE_FLAG), path, "attaching a device", error);
}

/* 1: still there; 0: gone; negative: an error of libvirt. */
static int is_attached(const vmhi_live *live, const char *class_name, const char *id)
{
    g_autofree char *xml = virDomainGetXMLDesc(live->domain, 0);
    g_autoptr(xmlDoc) doc = xml ? vmhi_domain_parse(xml, NULL) : NULL;

    if (!doc)
        return -1;
    return vmhi_domain_device(doc, class_name, id) != NULL;
}

/* Waits a little; FALSE when the job is to end. */
static gboolean pause_poll(const vmhi_live *live)
{
    GPollFD  fd;
    gboolean watched = live->cancellable && g_cancellable_make_pollfd(live->cancellable, &fd);

    g_poll(watched ? &fd : NULL, watched, POLL_MS);
    if (watched)
        g_cancellable_release_fd(live->cancellable);
    return !live->cancellable || !g_cancellable_is_cancelled(live->cancellable);
}

/* libvirt's call returns when the guest was asked, or a few seconds later; a guest without a driver never answers. */
static gboolean wait_until_gone(const vmhi_live *live, const char *class_name, const char *id, const char *path,
                                vmh_error **error)
{
    int64_t until = g_get_monotonic_time() + live->patience_us;
    int     attached;

    vmhi_task_can_cancel(live->task, TRUE);
    while ((attached = is_attached(live, class_name, id)) == 1) {
        if (g_get_monotonic_time() > until) {
            vmhi_error_set_property(error, VMH_ERR_BUSY, path,
                                    "%s %s: the guest was asked and has not let go of it; it may do so later, and "
                                    "does not without a running system",
                                    class_name, id);
            return FALSE;
        }
        if (!pause_poll(live)) {
            vmhi_error_set_property(error, VMH_ERR_CANCELLED, path,
                                    "cancelled while the guest was asked to let go of %s %s; it may still do so",
                                    class_name, id);
            return FALSE;
        }
    }
    return result(attached, path, "waiting until a device is gone", error);
}

static gboolean detach(const vmhi_live *live, xmlNode *device, const char *id, const char *path, vmh_error **error)
{
    const vmhi_domain_class *class = vmhi_domain_class_of_node(device);
    g_autofree char *xml = vmhi_domain_node_text(device);

    if (!result(virDomainDetachDeviceFlags(live->domain, xml, LIVE_FLAG), path, "detaching a device", error))
        return FALSE;
    return wait_until_gone(live, class->name, id, path, error);
}

static gboolean plug(const vmhi_live *live, const char *class_name, const char *id, const char *path,
                     vmh_error **error)
{
    xmlNode *now = vmhi_domain_device(live->from->doc, class_name, id);
    xmlNode *then = vmhi_domain_device(live->to->doc, class_name, id);

    if (now && !then)
        return detach(live, now, id, path, error);
    if (then && !now)
        return attach(live, then, path, error);
    return TRUE;
}

static gboolean plug_disk(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    return plug(live, "disk", id, path, error);
}

static gboolean plug_nic(const vmhi_live *live, const char *id, const char *path, vmh_error **error)
{
    return plug(live, "nic", id, path, error);
}

vmhi_live_change vmhi_live_plug(const char *class_name)
{
    if (g_str_equal(class_name, "disk"))
        return plug_disk;
    return g_str_equal(class_name, "nic") ? plug_nic : NULL;
}

/* --- which property is changed how --- */

/* In the order in which changes are made: what is surely undone goes first. */
static const struct {
    const char      *pattern;
    vmhi_live_change change;
} changes[] = {
    {"title", change_title},
    {"description", change_description},
    {"metadata.<id>", change_metadata},
    {"on.crash", change_action},
    {"on.shutdown", change_action},
    {"on.reboot", change_action},
    {"cpu.weight", change_weight},
    {"cpu.limit", change_cpu_limit},
    {"cpu.pin.<n>", change_pin},
    {"numa.nodes", change_nodes},
    {"memory.limit", change_limit},
    {"disk.<id>.iops.total", change_iotune},
    {"disk.<id>.iops.read", change_iotune},
    {"disk.<id>.iops.write", change_iotune},
    {"disk.<id>.bandwidth.total", change_iotune},
    {"disk.<id>.bandwidth.read", change_iotune},
    {"disk.<id>.bandwidth.write", change_iotune},
    {"nic.<id>.filter", change_nic},
    {"nic.<id>.link", change_nic},
    {"nic.<id>.inbound.rate", change_rates},
    {"nic.<id>.inbound.burst", change_rates},
    {"nic.<id>.outbound.rate", change_rates},
    {"nic.<id>.outbound.burst", change_rates},
    {"cpu.count", change_cpus},
    {"memory.size", change_memory},
};

vmhi_live_change vmhi_live_find(const char *pattern, guint *order)
{
    for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
        if (!g_str_equal(changes[i].pattern, pattern))
            continue;
        *order = i;
        return changes[i].change;
    }
    return NULL;
}

/* --- what a host cannot --- */

/* Patterns, or their beginnings, that a driver of libvirt changes live; NULL ends. Others are not limited here. */
static const struct {
    const char *type;
    const char *can[10];
    const char *reason;
} drivers[] = {
    {"TEST",
     {"title", "description", "metadata.", "cpu.count", "memory.size", NULL},
     "libvirt's test driver cannot change this while a VM runs"},
    {"Xen",
     {"title", "description", "metadata.", "cpu.count", "cpu.pin.", "memory.size", "disk.", "nic.", NULL},
     "libvirt's Xen driver cannot change this while a VM runs"},
    {"ESX", {"cpu.count", "memory.size", NULL}, "libvirt's ESX driver cannot change this while a VM runs"},
};

const char *vmhi_live_obstacle(const vmhi_platform *platform, const char *pattern, xmlDoc *run)
{
    xmlNode         *domain = xmlDocGetRootElement(run);
    g_autofree char *mode = vmhi_xml_get(domain, "numatune/memory@mode");

    if (g_str_equal(pattern, "numa.nodes") && mode && !g_str_equal(mode, "strict"))
        return "memory moves to other nodes only with the numa.mode strict";
    if (g_str_equal(pattern, "memory.size") && vmhi_xml_has(domain, "devices/memballoon@model", "none"))
        return "the VM has no balloon, by which its memory could change";
    for (gsize i = 0; i < G_N_ELEMENTS(drivers); i++) {
        if (!vmhi_domain_is(platform, drivers[i].type))
            continue;
        for (gsize j = 0; drivers[i].can[j]; j++)
            if (g_str_has_prefix(pattern, drivers[i].can[j]))
                return NULL;
        return drivers[i].reason;
    }
    return NULL;
}
