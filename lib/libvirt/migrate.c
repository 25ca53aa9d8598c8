/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Migration between two libvirt hosts: what is checked before, how the options are put, where the VM is after. */
#include "libvirt/domain.h"
#include "libvirt/move.h"
#include "libvirt/pulse.h"
#include "libvirt/xml.h"
#include "libvirt/xpath.h"
#include <string.h>

#define MIB (1024 * 1024)

/* Both ends, for as long as the verb takes. */
typedef struct {
    vmhi_driver_host *source;
    vmhi_driver_host *destination;
    virConnectPtr     from;
    virConnectPtr     to;
    virDomainPtr      domain;
    const char       *uuid;
    vmh_spec         *options;
} journey;

static char *host_uuid(virConnectPtr connection)
{
    g_autofree char *xml = virConnectGetCapabilities(connection);
    g_autoptr(xmlDoc) doc = xml ? vmhi_xpath_read(xml) : NULL;

    return doc ? vmhi_xpath_text(doc, "/capabilities/host/uuid") : NULL;
}

static gboolean check_hosts(const journey *j, vmh_error **error)
{
    const vmhi_platform *from = &j->source->platform;
    const vmhi_platform *to = &j->destination->platform;
    g_autofree char     *here = NULL;
    g_autofree char     *there = NULL;

    if (strcmp(from->type, to->type) != 0) {
        vmhi_error_set(error, VMH_ERR_UNSUPPORTED, "the destination's hypervisor is %s, and this host's is %s",
                       to->type, from->type);
        return FALSE;
    }
    here = host_uuid(j->from);
    there = host_uuid(j->to);
    if (j->from == j->to || (here && there && strcmp(here, there) == 0)) {
        vmhi_error_set(error, VMH_ERR_ARGUMENT,
                       "the destination is the host it is on already (both say that their UUID is %s)",
                       here ? here : "unknown");
        return FALSE;
    }
    return TRUE;
}

static gboolean is_running(virDomainPtr domain)
{
    int state;

    return virDomainGetState(domain, &state, NULL, 0) == 0 && state != VIR_DOMAIN_SHUTOFF &&
           state != VIR_DOMAIN_CRASHED;
}

static gboolean check_state(const journey *j, vmh_error **error)
{
    if (is_running(j->domain))
        return TRUE;
    vmhi_error_set(error, VMH_ERR_STATE, "VM \"%s\" is stopped; only one that runs can be migrated",
                   virDomainGetName(j->domain));
    return FALSE;
}

/* A stopped VM of the same UUID is what an earlier migration left there, and is replaced. */
static gboolean check_free(const journey *j, vmh_error **error)
{
    const char  *given = vmhi_spec_str(j->options, "name");
    const char  *name = given ? given : virDomainGetName(j->domain);
    virDomainPtr same_uuid = virDomainLookupByUUIDString(j->to, j->uuid);
    virDomainPtr same_name = virDomainLookupByName(j->to, name);
    char         other[VIR_UUID_STRING_BUFLEN] = "";
    gboolean     taken = FALSE;

    if (same_name)
        vmhi_libvirt_uuid(same_name, other);
    if (same_uuid && is_running(same_uuid)) {
        vmhi_error_set(error, VMH_ERR_EXISTS, "a VM with UUID %s runs on the destination already", j->uuid);
        taken = TRUE;
    } else if (same_name && strcmp(other, j->uuid) != 0) {
        vmhi_error_set_property(error, VMH_ERR_EXISTS, "name",
                                "the destination has another VM \"%s\"; give it another name there (option name)",
                                name);
        taken = TRUE;
    }
    if (same_uuid)
        virDomainFree(same_uuid);
    if (same_name)
        virDomainFree(same_name);
    return !taken;
}

/* The destination's newest machine of this one's kind, which the name of the kind stands for; NULL: none. */
static char *machine_there(const journey *j, const char *arch, const char *machine)
{
    g_autofree char *xml = virConnectGetCapabilities(j->to);
    g_autoptr(xmlDoc) doc = xml ? vmhi_xpath_read(xml) : NULL;
    g_autoptr(GPtrArray) names = doc ? vmhi_xpath_nodes(doc, "/capabilities/guest/arch/machine[@canonical]") : NULL;
    const char *version = strrchr(machine, '-');

    for (guint i = 0; version && names && i < names->len; i++) {
        xmlNode         *name = names->pdata[i];
        g_autofree char *there = vmhi_xml_get(name, "@canonical");
        g_autofree char *arch_there = vmhi_xml_get(name->parent, "@name");
        if (g_strcmp0(arch_there, arch) == 0 && strncmp(there, machine, version - machine + 1) == 0)
            return g_steal_pointer(&there);
    }
    return NULL;
}

/* The destination's own words are the reason; what it could not answer for another cause is not about the machine. */
static void refuse_machine(const journey *j, const char *type, const char *arch, const char *machine,
                           const virError *last, vmh_error **error)
{
    int32_t          code = vmhi_libvirt_code(last);
    int              native = last->code;
    g_autofree char *reason = g_strdup(last->message);
    g_autofree char *instead = NULL;

    if (code != VMH_ERR_VALUE && code != VMH_ERR_UNSUPPORTED) {
        vmhi_libvirt_error(error, NULL, "asking the destination whether it has the VM's machine");
        return;
    }
    instead = machine_there(j, arch, machine);
    vmhi_error_set_native(error, VMH_ERR_UNSUPPORTED, VMHI_LIBVIRT, native, "machine",
                          "the destination cannot run a VM of type %s with machine %s on %s: %s%s%s", type, machine,
                          arch, reason, instead ? "; the newest of that kind there is " : "", instead ? instead : "");
}

/* Has the destination this machine type? Who cannot be asked is not asked. */
static gboolean check_machine(const journey *j, vmh_error **error)
{
    g_autofree char *xml = virDomainGetXMLDesc(j->domain, 0);
    g_autoptr(xmlDoc) doc = xml ? vmhi_xpath_read(xml) : NULL;
    g_autofree char *type = doc ? vmhi_xpath_text(doc, "/domain/@type") : NULL;
    g_autofree char *arch = doc ? vmhi_xpath_text(doc, "/domain/os/type/@arch") : NULL;
    g_autofree char *machine = doc ? vmhi_xpath_text(doc, "/domain/os/type/@machine") : NULL;
    g_autofree char *there = NULL;
    const virError  *last;

    if (!type || !arch || !machine)
        return TRUE;
    there = virConnectGetDomainCapabilities(j->to, NULL, arch, machine, type, 0);
    last = there ? NULL : virGetLastError();
    if (!last || last->code == VIR_ERR_NO_SUPPORT)
        return TRUE;
    refuse_machine(j, type, arch, machine, last, error);
    return FALSE;
}

static unsigned flags_of(const journey *j)
{
    static const struct {
        const char *option;
        unsigned    flag;
    } switches[] = {
        {"live", VIR_MIGRATE_LIVE},
        {"auto-converge", VIR_MIGRATE_AUTO_CONVERGE},
        {"post-copy", VIR_MIGRATE_POSTCOPY},
        {"tls", VIR_MIGRATE_TLS},
    };
    const vmh_spec *options = j->options;
    unsigned        flags = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(switches); i++)
        if (vmhi_spec_bool_or_default(options, "migrate", switches[i].option))
            flags |= switches[i].flag;
    if (strcmp(vmhi_spec_str_or_default(options, "migrate", "mode"), "peer") == 0)
        flags |= VIR_MIGRATE_PEER2PEER;
    if (strcmp(vmhi_spec_str_or_default(options, "migrate", "storage"), "copy") == 0)
        flags |= VIR_MIGRATE_NON_SHARED_DISK;
    if (vmhi_spec_u64_or_default(options, "migrate", "connections") > 1)
        flags |= VIR_MIGRATE_PARALLEL;
    if (virDomainIsPersistent(j->domain) != 0) { /* in doubt, too: nothing is lost by keeping it */
        flags |= VIR_MIGRATE_PERSIST_DEST;
        if (!vmhi_spec_bool_or_default(options, "migrate", "keep.source"))
            flags |= VIR_MIGRATE_UNDEFINE_SOURCE;
    }
    return flags;
}

static void add_params(vmhi_move *move, const vmh_spec *options)
{
    const char *uri = vmhi_spec_str(options, "uri");
    const char *name = vmhi_spec_str(options, "name");
    uint64_t    bandwidth = vmhi_spec_u64_or_default(options, "migrate", "bandwidth");
    uint64_t    connections = vmhi_spec_u64_or_default(options, "migrate", "connections");
    int         room = 0;

    if (uri)
        virTypedParamsAddString(&move->params, &move->param_count, &room, VIR_MIGRATE_PARAM_URI, uri);
    if (name)
        virTypedParamsAddString(&move->params, &move->param_count, &room, VIR_MIGRATE_PARAM_DEST_NAME, name);
    if (bandwidth) /* in MiB/s, and 0 would be no limit */
        virTypedParamsAddULLong(&move->params, &move->param_count, &room, VIR_MIGRATE_PARAM_BANDWIDTH,
                                MAX(bandwidth / MIB, 1));
    if (bandwidth && (move->flags & VIR_MIGRATE_POSTCOPY))
        virTypedParamsAddULLong(&move->params, &move->param_count, &room, VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY,
                                MAX(bandwidth / MIB, 1));
    if (connections > 1)
        virTypedParamsAddInt(&move->params, &move->param_count, &room, VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS,
                             (int)connections);
}

/* Of libvirt's drivers, only QEMU's can abort. */
static void plan(vmhi_move *move, const journey *j)
{
    const char *peer_uri = vmhi_spec_str(j->options, "destination.uri");

    memset(move, 0, sizeof *move);
    move->domain = j->domain;
    move->destination = j->to;
    move->flags = flags_of(j);
    if (move->flags & VIR_MIGRATE_PEER2PEER)
        move->peer_uri = peer_uri ? peer_uri : j->destination->uri;
    move->can_abort = strcmp(j->source->platform.type, "QEMU") == 0;
    move->begin_timeout_ms = vmhi_spec_u64_or_default(j->source->options, "open", "call.timeout");
    move->stall_timeout_ms = vmhi_spec_u64_or_default(j->options, "migrate", "stall.timeout");
    move->post_copy = (move->flags & VIR_MIGRATE_POSTCOPY) != 0;
    vmhi_spec_u64(j->options, "downtime", &move->downtime_ms);
    add_params(move, j->options);
}

/* How long the guest really stood still; the destination has measured it. */
static void report_downtime(const journey *j, vmhi_task *task)
{
    virDomainPtr         moved = virDomainLookupByUUIDString(j->to, j->uuid);
    virTypedParameterPtr params = NULL;
    int                  count = 0, type;
    unsigned long long   value;

    if (moved && virDomainGetJobStats(moved, &type, &params, &count, VIR_DOMAIN_JOB_STATS_COMPLETED) == 0) {
        if (virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_DOWNTIME, &value) == 1)
            vmhi_task_progress(task, VMH_PROGRESS_DOWNTIME_MS, value);
        virTypedParamsFree(params, count);
    }
    if (moved)
        virDomainFree(moved);
}

/* Only when the destination says so is it sure that it does not run the VM. */
static gboolean destination_lacks(const journey *j)
{
    virDomainPtr there = virDomainLookupByUUIDString(j->to, j->uuid);
    gboolean     lacks = there ? !is_running(there) : virGetLastErrorCode() == VIR_ERR_NO_DOMAIN;

    if (there)
        virDomainFree(there);
    return lacks;
}

/*
 * After a failure the VM should run here. libvirt sees to that, but for a case: a migration that broke at the
 * switch can leave it paused. Then it may go on only where the destination cannot have it running as well.
 * Returns what became of it, in words.
 */
static char *settle(const journey *j, gboolean was_paused)
{
    const char *name = virDomainGetName(j->domain);
    int         state, reason;

    if (virDomainGetState(j->domain, &state, &reason, 0) < 0)
        return g_strdup_printf("what became of VM \"%s\" is not known", name);
    if (state == VIR_DOMAIN_PAUSED && !was_paused && reason == VIR_DOMAIN_PAUSED_MIGRATION && destination_lacks(j) &&
        virDomainResume(j->domain) == 0)
        state = VIR_DOMAIN_RUNNING;
    if (state == VIR_DOMAIN_PAUSED &&
        (reason == VIR_DOMAIN_PAUSED_POSTCOPY || reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED))
        return g_strdup_printf("VM \"%s\" stands paused, and its memory is divided between the hosts since post-copy "
                               "began: when it cannot be completed, stop it on both and start it anew",
                               name);
    if (state == VIR_DOMAIN_PAUSED && !was_paused)
        return g_strdup_printf("VM \"%s\" stands paused on this host, since the destination may run it; resume it "
                               "when it does not",
                               name);
    if (state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_PAUSED)
        return g_strdup_printf("VM \"%s\" stays on this host, %s", name,
                               state == VIR_DOMAIN_RUNNING ? "running" : "paused as it was");
    return g_strdup_printf("VM \"%s\" does not run on this host any more", name);
}

static void set_failure(const journey *j, const vmh_error *failure, gboolean was_paused, vmh_error **error)
{
    g_autofree char *outcome = settle(j, was_paused);

    vmhi_error_set_native(error, failure->code, failure->driver, failure->native, failure->property, "%s; %s",
                          failure->message, outcome);
}

static gboolean is_paused(virDomainPtr domain)
{
    int state;

    return virDomainGetState(domain, &state, NULL, 0) == 0 && state == VIR_DOMAIN_PAUSED;
}

/* Once it moves, what moves it keeps the time; before and after, a host may be silent. FALSE: its time is over. */
static gboolean limit(const journey *j, vmhi_task *task, const char *meaning)
{
    guint64 timeout_ms = meaning ? vmhi_spec_u64_or_default(j->source->options, "open", "call.timeout") : 0;

    return vmhi_task_deadline(task, (guint)timeout_ms, meaning);
}

static gboolean travel(const journey *j, vmhi_task *task, vmh_error **error)
{
    g_autoptr(vmh_error) failure = NULL;
    vmhi_move move;
    gboolean  was_paused, moved;

    vmhi_task_progress(task, VMH_PROGRESS_PHASE, VMH_PHASE_PREPARE);
    if (!check_hosts(j, error) || !check_state(j, error) || !check_free(j, error) || !check_machine(j, error))
        return FALSE;
    was_paused = is_paused(j->domain);
    plan(&move, j);
    if (!limit(j, task, NULL)) {
        virTypedParamsFree(move.params, move.param_count);
        return FALSE;
    }
    moved = vmhi_move_run(&move, task, &failure);
    limit(j, task,
          moved ? "it has moved, and a host does not say how it is there"
                : "it failed, and a host does not say what became of the VM");
    if (!moved) {
        set_failure(j, failure, was_paused, error);
        return FALSE;
    }
    report_downtime(j, task);
    vmhi_libvirt_forget(j->source, j->uuid);
    return TRUE;
}

char *vmhi_libvirt_migrate(vmhi_driver_host *host, const char *uuid, vmhi_driver_host *destination,
                           const vmh_spec *options, G_GNUC_UNUSED uint64_t flags, vmhi_task *task, vmh_error **error)
{
    /* Two of our threads call the source, and libvirt's one call goes to both. */
    g_autoptr(vmhi_pulse) poll    G_GNUC_UNUSED = vmhi_pulse_begin(host);
    g_autoptr(vmhi_pulse) arrival G_GNUC_UNUSED = vmhi_pulse_begin(destination);
    journey                       j = {.source = host, .destination = destination, .uuid = uuid};
    gboolean                      done = FALSE;

    limit(&j, task, "it had not begun, and the VM is where it was");
    j.from = vmhi_libvirt_connection(host, error);
    j.to = j.from ? vmhi_libvirt_connection(destination, error) : NULL;
    j.domain = j.to ? vmhi_libvirt_domain(host, uuid, error) : NULL;
    j.options = options ? vmh_spec_dup(options) : vmh_spec_new("migrate", NULL);
    if (j.domain)
        done = travel(&j, task, error);
    vmh_spec_unref(j.options);
    if (j.domain)
        virDomainFree(j.domain);
    if (j.to)
        virConnectClose(j.to);
    if (j.from)
        virConnectClose(j.from);
    return done ? g_strdup(uuid) : NULL;
}
