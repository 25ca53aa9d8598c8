/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which verbs and properties a libvirt host has, and why not the others: by its driver, never by a version. */
#include "libvirt/domain.h"
#include "model/verbs.h"
#include <string.h>

/* What one of libvirt's drivers lacks. Those that stand nowhere here lack nothing that is known. */
typedef struct {
    const char *type; /* as virConnectGetType() says */
    const char *verb;
    const char *reason;
} missing;

static const missing table[] = {
    {"TEST", "vm.console", "libvirt's test driver has no guests, and so no consoles"},
    {"TEST", "vm.migrate", "libvirt's test driver has no guests that could move"},
    {"Xen", "vm.reset", "libvirt's Xen driver cannot reset a VM; stop and start it"},
    {"ESX", "host.events", "libvirt's ESX driver has no events; VMs are listed again from time to time"},
    {"ESX", "host.sample", "libvirt's ESX driver has no counters; a frame shows only memory and vCPUs"},
    {"ESX", "vm.console", "libvirt's ESX driver has no consoles"},
    {"ESX", "vm.reset", "libvirt's ESX driver cannot reset a VM; stop and start it"},
    {"Hyper-V", "host.events", "libvirt's Hyper-V driver has no events; VMs are listed again from time to time"},
    {"Hyper-V", "host.sample", "libvirt's Hyper-V driver has no counters; a frame shows only memory and vCPUs"},
    {"Hyper-V", "vm.console", "libvirt's Hyper-V driver has no consoles"},
    {"Hyper-V", "vm.migrate", "libvirt's Hyper-V driver cannot migrate"},
    {"LXC", "vm.migrate", "containers do not migrate"},
    {"LXC", "vm.reset", "containers cannot be reset; stop and start it"},
};

/* One whose connection only looks can do nothing that changes. */
static gboolean changes(const char *verb)
{
    static const char *const looking[] = {"vm.describe",  "host.describe", "host.sample",
                                          "host.refresh", "host.events",   NULL};

    return !g_strv_contains(looking, verb);
}

/* Those whose reasons are not of one of libvirt's drivers alone. */
static const char *why_not(const vmhi_platform *platform, const char *verb)
{
    const char *no_sockets = vmhi_libvirt_no_sockets(platform);

    if (strcmp(verb, "vm.connect") == 0)
        return no_sockets;
    if (strcmp(verb, "vm.listen") != 0)
        return NULL;
    return no_sockets ? no_sockets : "a port of the host is the same for all its guests: listen there with AF_VSOCK";
}

static gboolean verb_supported(vmhi_driver_host *host, const char *verb, char **reason)
{
    const char *why = why_not(&host->platform, verb);

    if (changes(verb) && vmhi_spec_bool_or_default(host->options, "open", "readonly")) {
        *reason = g_strdup("the host was opened with the option readonly");
        return FALSE;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        if (strcmp(table[i].verb, verb) == 0 && strcmp(table[i].type, host->platform.type) == 0) {
            *reason = g_strdup(table[i].reason);
            return FALSE;
        }
    }
    if (why)
        *reason = g_strdup(why);
    return !why;
}

gboolean vmhi_libvirt_supports(vmhi_driver_host *host, const char *name, char **reason)
{
    g_autofree char *why = NULL;
    gboolean         yes;

    if (vmhi_verb_lookup(name))
        yes = verb_supported(host, name, &why);
    else
        yes = vmhi_domain_supports(&host->platform, name, &why);
    if (reason)
        *reason = g_steal_pointer(&why);
    return yes;
}
