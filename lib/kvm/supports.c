/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engine has, and why it has not the rest. */
#include "kvm/common.h"
#include "model/verbs.h"
#include <string.h>

/* Properties that it knows; where values are named, only these. */
static const struct {
    const char *pattern;
    const char *values; /* with bars, or NULL: any */
} known[] = {
    {"name", NULL},
    {"uuid", NULL},
    {"title", NULL},
    {"description", NULL},
    {"metadata.<id>", NULL},
    {"state", NULL},
    {"generation", NULL},
    {"persistent", NULL},
    {"accelerator", "auto|kvm"},
    {"arch", "x86_64"},
    {"machine", "pci|mmio"},
    {"boot.kernel", NULL},
    {"boot.initrd", NULL},
    {"boot.cmdline", NULL},
    {"boot.format", NULL},
    {"boot.address", NULL},
    {"boot.mode", NULL},
    {"module.<id>.path", NULL},
    {"module.<id>.cmdline", NULL},
    {"cpu.count", NULL},
    {"cpu.max", NULL},
    {"cpu.model", "host"},
    {"cpu.sockets", NULL},
    {"cpu.cores", NULL},
    {"cpu.threads", NULL},
    {"memory.size", NULL},
    {"memory.max", NULL},
    {"balloon", NULL},
    {"rng", NULL},
    {"vsock.cid", NULL},
    {"console.<id>.to", NULL},
    {"console.<id>.type", NULL},
    {"debug.console", NULL},
    {"debug.exit", NULL},
    {"disk.<id>.path", NULL},
    {"disk.<id>.format", "raw"},
    {"disk.<id>.media", "disk"},
    {"disk.<id>.readonly", NULL},
    {"disk.<id>.bus", "virtio"},
    {"disk.<id>.serial", NULL},
    {"disk.<id>.discard", NULL},
    {"disk.<id>.queues", NULL},
    {"disk.<id>.iops.total", NULL},
    {"disk.<id>.iops.read", NULL},
    {"disk.<id>.iops.write", NULL},
    {"disk.<id>.bandwidth.total", NULL},
    {"disk.<id>.bandwidth.read", NULL},
    {"disk.<id>.bandwidth.write", NULL},
    {"disk.<id>.present", NULL},
    {"on.crash", NULL},
    {"on.shutdown", NULL},
    {"on.reboot", NULL},
    {"nic.<id>.tap", NULL},
    {"nic.<id>.bridge", NULL},
    {"nic.<id>.user", NULL},
    {"nic.<id>.fd", NULL},
    {"nic.<id>.mac", NULL},
    {"nic.<id>.model", "virtio"},
    {"nic.<id>.queues", NULL},
    {"nic.<id>.inbound.rate", NULL},
    {"nic.<id>.inbound.burst", NULL},
    {"nic.<id>.outbound.rate", NULL},
    {"nic.<id>.outbound.burst", NULL},
    {"nic.<id>.present", NULL},
    {"security.sandbox", NULL},
    {"cpu.weight", NULL},
    {"cpu.limit", NULL},
    {"memory.limit", NULL},
    {"cpu.pin.<n>", NULL},
};

static const struct {
    const char *verb;
    const char *reason;
} missing[] = {
    {"vm.reboot", "the built-in engine cannot ask a guest to restart; shut it down and start it, or reset it"},
    {"vm.migrate", "the built-in engine cannot migrate yet"},
};

static int find(const char *pattern)
{
    for (gsize i = 0; i < G_N_ELEMENTS(known); i++) {
        if (strcmp(known[i].pattern, pattern) == 0)
            return (int)i;
    }
    return -1;
}

static char *why_not_verb(const char *verb)
{
    for (gsize i = 0; i < G_N_ELEMENTS(missing); i++) {
        if (strcmp(missing[i].verb, verb) == 0)
            return g_strdup(missing[i].reason);
    }
    return NULL;
}

#define READONLY "the host was opened with the option readonly"

static gboolean is_readonly(const vmhi_driver_host *host)
{
    return vmhi_spec_bool_or_default(host->options, "open", "readonly");
}

gboolean vmhi_kvm_may_change(const vmhi_driver_host *host, vmh_error **error)
{
    if (is_readonly(host))
        vmhi_error_set(error, VMH_ERR_UNSUPPORTED, READONLY);
    return !is_readonly(host);
}

/* One that only looks can do nothing that changes. */
static gboolean changes(const char *verb)
{
    static const char *const looking[] = {"vm.describe",  "host.describe", "host.sample",
                                          "host.refresh", "host.events",   NULL};

    return !g_strv_contains(looking, verb);
}

gboolean vmhi_kvm_supports(vmhi_driver_host *host, const char *name, char **reason)
{
    const vmh_property *property = vmhi_verb_lookup(name) ? NULL : vmhi_schema_lookup("vm", name);
    char               *why = NULL;

    if (!property && is_readonly(host) && changes(name))
        why = g_strdup(READONLY);
    else if (!property)
        why = why_not_verb(name);
    else if (find(property->pattern) < 0)
        why = g_strdup("the built-in engine does not have it yet");
    else if (strcmp(property->pattern, "cpu.max") == 0)
        why = g_strdup(VMHI_KVM_NO_MORE_CPUS);
    else
        why = vmhi_kvm_group_why_not(property->pattern);
    if (reason)
        *reason = why;
    else
        g_free(why);
    return !why;
}

gboolean vmhi_kvm_is_flat(const vmh_spec *spec)
{
    return g_str_equal(vmhi_spec_str_or_default(spec, "vm", "boot.format"), "flat");
}

static gboolean check_flat(const vmh_spec *spec, vmh_error **error)
{
    uint64_t    address;
    const char *property = vmhi_spec_str(spec, "boot.mode")                ? "boot.mode"
                           : vmhi_spec_u64(spec, "boot.address", &address) ? "boot.address"
                                                                           : NULL;

    if (!property || vmhi_kvm_is_flat(spec))
        return TRUE;
    vmhi_error_set_property(error, VMH_ERR_VALUE, property,
                            "%s is of flat binaries alone; set boot.format to flat if boot.kernel is one", property);
    return FALSE;
}

gboolean vmhi_kvm_check_whole(const vmh_spec *spec, vmh_error **error)
{
    uint64_t      size = 0, most = 0;
    vmhi_kvm_cpus cpus;

    if (!check_flat(spec, error))
        return FALSE;
    vmhi_spec_u64(spec, "memory.size", &size);
    if (!vmhi_spec_u64(spec, "memory.max", &most) || size <= most)
        return vmhi_kvm_check_consoles(spec, error) && vmhi_kvm_topology(spec, &cpus, error) &&
               vmhi_kvm_check_nics(spec, error);
    vmhi_error_set_property(error, VMH_ERR_VALUE, "memory.size", "memory.size is more than memory.max");
    return FALSE;
}

static gboolean has_value(int index, const char *text)
{
    g_auto(GStrv) values = known[index].values ? g_strsplit(known[index].values, "|", 0) : NULL;

    return !values || g_strv_contains((const char *const *)values, text);
}

static gboolean check_memory(const vmh_spec *spec, const char *property, vmh_error **error)
{
    uint64_t memory = WIRE_PAGE;

    vmhi_spec_u64(spec, property, &memory);
    if (memory <= WIRE_MEMORY && memory % WIRE_PAGE == 0)
        return TRUE;
    vmhi_error_set_property(error, VMH_ERR_VALUE, property,
                            "%s: the built-in engine takes up to 512 GiB, in pages of 4 KiB", property);
    return FALSE;
}

/* What the schema, which is for all hypervisors, lets pass. */
static gboolean check_sizes(const vmh_spec *spec, vmh_error **error)
{
    uint64_t cpus = 1;

    vmhi_spec_u64(spec, "cpu.count", &cpus);
    if (cpus <= WIRE_CPUS)
        return check_memory(spec, "memory.size", error) && check_memory(spec, "memory.max", error);
    vmhi_error_set_property(error, VMH_ERR_VALUE, "cpu.count",
                            "cpu.count: the built-in engine has at most %d CPUs a VM", WIRE_CPUS);
    return FALSE;
}

gboolean vmhi_kvm_check_supported(const vmhi_driver_host *host, const vmh_spec *spec, vmh_error **error)
{
    g_auto(GStrv) paths = vmhi_spec_list(spec);

    (void)host;
    for (guint i = 0; paths[i]; i++) {
        const vmh_property *property = vmhi_schema_lookup("vm", paths[i]);
        const int           index = property ? find(property->pattern) : -1;
        g_autofree char    *why = index >= 0 ? vmhi_kvm_group_why_not(known[index].pattern) : NULL;
        const char         *text = index >= 0 && known[index].values ? vmhi_spec_str(spec, paths[i]) : NULL;

        if (property && g_str_has_suffix(paths[i], ".present"))
            continue; /* of a device that is not there: the update tells */
        if (index < 0) {
            vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, paths[i],
                                    "%s: the built-in engine does not have it yet", paths[i]);
            return FALSE;
        }
        if (why) {
            vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, paths[i], "%s: %s", paths[i], why);
            return FALSE;
        }
        if (text && *text && !has_value(index, text)) {
            vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, paths[i],
                                    "%s: the built-in engine has only %s, not %s", paths[i], known[index].values,
                                    text);
            return FALSE;
        }
        if (!vmhi_kvm_check_queues(spec, paths[i], error) || !vmhi_kvm_check_given(spec, paths[i], error) ||
            !vmhi_kvm_check_pin(spec, paths[i], error))
            return FALSE;
    }
    return check_sizes(spec, error);
}
