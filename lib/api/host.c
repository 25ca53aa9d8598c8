/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host.h: opening hosts, asking what they are, finding and creating their VMs. */
#include "api/call.h"
#include "api/check.h"
#include "model/verbs.h"

#include <string.h>

static void unref_spec(void *spec)
{
    vmh_spec_unref(spec);
}

static void unref_vm(void *vm)
{
    vmh_vm_unref(vm);
}

/* --- opening --- */

static const vmhi_driver *find_driver(const char *uri, vmh_error **error)
{
    g_autoptr(GString) schemes = g_string_new(NULL);

    for (const vmhi_driver *const *driver = vmhi_drivers; *driver; driver++) {
        if ((*driver)->claims(uri))
            return *driver;
        for (const char *const *scheme = (*driver)->schemes; *scheme; scheme++)
            g_string_append_printf(schemes, "%s%s", schemes->len ? ", " : "", *scheme);
    }
    vmhi_error_set(error, VMH_ERR_ARGUMENT, "no driver for the URI \"%.200s\"; there are: %s", uri, schemes->str);
    return NULL;
}

static char *best_local(vmh_error **error)
{
    for (const vmhi_driver *const *driver = vmhi_drivers; *driver; driver++) {
        char *uri = (*driver)->best_local();
        if (uri)
            return uri;
    }
    vmhi_error_set(error, VMH_ERR_NOT_FOUND,
                   "no hypervisor is ready on this machine: install QEMU and libvirt, start libvirtd, or give a URI");
    return NULL;
}

vmh_host *vmh_host_open(const char *uri, const vmh_spec *options, uint64_t flags, vmh_error **error)
{
    g_autofree char   *chosen = NULL;
    const vmhi_driver *driver;
    vmhi_link         *link;
    vmh_host          *host;

    if (!vmhi_check_flags(flags, 0, error))
        return NULL;
    if (options && strcmp(vmh_spec_kind(options), "open") != 0) {
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "options is a spec of kind \"%s\"; \"open\" is needed",
                       vmh_spec_kind(options));
        return NULL;
    }
    if (uri && !g_utf8_validate(uri, -1, NULL)) {
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "the URI is not UTF-8");
        return NULL;
    }
    chosen = uri ? g_strdup(uri) : best_local(error);
    driver = chosen ? find_driver(chosen, error) : NULL;
    link = driver ? vmhi_link_open(driver, chosen, options, error) : NULL;
    if (!link)
        return NULL;
    host = g_new0(vmh_host, 1);
    g_atomic_ref_count_init(&host->refs);
    host->link = link;
    return host;
}

vmh_host *vmh_host_ref(vmh_host *host)
{
    if (host)
        g_atomic_ref_count_inc(&host->refs);
    return host;
}

void vmh_host_unref(vmh_host *host)
{
    if (!host || !g_atomic_ref_count_dec(&host->refs))
        return;
    vmhi_link_close(host->link);
    vmhi_link_unref(host->link);
    g_free(host);
}

const char *vmh_host_uri(const vmh_host *host)
{
    return host ? host->link->uri : NULL;
}

int32_t vmh_host_connected(const vmh_host *host)
{
    return host && vmhi_link_connected(host->link);
}

/* --- what it is --- */

static void *run_describe(vmhi_call *call, G_GNUC_UNUSED vmh_job *job, vmh_error **error)
{
    vmhi_link *link = call->host->link;
    vmh_spec  *spec = link->driver->describe(link->remote, error);

    if (spec) {
        vmhi_spec_put(spec, "uri", link->uri);
        vmhi_spec_put(spec, "driver", link->driver->name);
    }
    return spec;
}

vmh_spec *vmh_host_describe(vmh_host *host, vmh_error **error)
{
    if (!vmhi_check(host, "host", error))
        return NULL;
    return vmhi_call_ask(vmhi_call_new(host, NULL, 0, run_describe), "host.describe", unref_spec, error);
}

/* "migrate" may be meant as a verb. */
static const char *refuse_name(const char *name, vmh_error **error)
{
    static const char *const objects[] = {"vm.", "host."};

    for (gsize i = 0; i < G_N_ELEMENTS(objects); i++) {
        g_autofree char *verb = g_strconcat(objects[i], name, NULL);
        if (vmhi_verb_lookup(verb)) {
            vmhi_error_set(error, VMH_ERR_UNKNOWN_NAME, "there is no property \"%s\"; the verb is \"%s\"", name,
                           verb);
            return NULL;
        }
    }
    vmhi_schema_require("vm", name, error);
    return NULL;
}

/* A verb or a property's pattern as the library's own constant, or NULL with the nearest name. */
static const char *canonical_name(const char *name, vmh_error **error)
{
    const vmh_property *property = vmhi_schema_lookup("vm", name);

    if (property)
        return property->pattern;
    if (g_str_has_prefix(name, "vm.") || g_str_has_prefix(name, "host."))
        return vmhi_verb_require(name, error);
    return refuse_name(name, error);
}

int32_t vmh_host_supports(vmh_host *host, const char *name, char **reason, vmh_error **error)
{
    g_autofree char *why = NULL;
    const char      *canonical;

    if (reason)
        *reason = NULL;
    if (!vmhi_check(host, "host", error) || !vmhi_check(name, "name", error))
        return vmhi_code(error, VMH_ERR_ARGUMENT);
    canonical = canonical_name(name, error);
    if (!canonical)
        return vmhi_code(error, VMH_ERR_UNKNOWN_NAME);
    if (host->link->driver->supports(host->link->remote, canonical, &why))
        return 1;
    if (reason)
        *reason = g_steal_pointer(&why);
    return 0;
}

/* --- its VMs --- */

size_t vmh_host_list_vms(vmh_host *host, vmh_vm ***vms)
{
    g_autoptr(GPtrArray) records = NULL;

    if (vms)
        *vms = NULL;
    if (!host)
        return 0;
    records = vmhi_inventory_all(host->link->inventory);
    if (vms) {
        *vms = g_new0(vmh_vm *, records->len + 1);
        for (guint i = 0; i < records->len; i++)
            (*vms)[i] = vmhi_vm_new(host, vmhi_record_ref(records->pdata[i]));
    }
    return records->len;
}

void vmh_vm_list_free(vmh_vm **vms)
{
    for (vmh_vm **vm = vms; vm && *vm; vm++)
        vmh_vm_unref(*vm);
    g_free(vms);
}

vmh_vm *vmh_host_find_vm(vmh_host *host, const char *name_or_uuid, vmh_error **error)
{
    vmhi_record *record;

    if (!vmhi_check(host, "host", error) || !vmhi_check(name_or_uuid, "name_or_uuid", error))
        return NULL;
    record = vmhi_inventory_find(host->link->inventory, name_or_uuid);
    if (!record)
        vmhi_error_set(error, VMH_ERR_NOT_FOUND, "no VM \"%.128s\" on %s", name_or_uuid, host->link->uri);
    return vmhi_vm_new(host, record);
}

static void *run_refresh(vmhi_call *call, G_GNUC_UNUSED vmh_job *job, vmh_error **error)
{
    vmhi_link_list(call->host->link, error);
    return NULL;
}

vmh_job *vmh_host_refresh(vmh_host *host, uint64_t flags, vmh_error **error)
{
    if (!vmhi_check(host, "host", error) || !vmhi_check_flags(flags, 0, error))
        return NULL;
    return vmhi_call_start(vmhi_call_new(host, NULL, flags, run_refresh), "host.refresh", VMHI_AT_ONCE, NULL);
}

static void *run_validate(vmhi_call *call, vmh_job *job, vmh_error **error)
{
    vmhi_link *link = call->host->link;

    g_free(link->driver->create(link->remote, call->spec, call->flags, vmhi_job_task(job), error));
    return NULL;
}

/* The VM is known when it is there to stay: whoever follows the host's events is not told of what is undone. */
static void *run_create(vmhi_call *call, vmh_job *job, vmh_error **error)
{
    vmhi_link       *link = call->host->link;
    g_autofree char *uuid = g_strdup(vmhi_spec_str(call->spec, "uuid"));
    g_autofree char *made = NULL;

    vmhi_inventory_hide(link->inventory, uuid);
    made = link->driver->create(link->remote, call->spec, call->flags, vmhi_job_task(job), error);
    vmhi_inventory_show(link->inventory, uuid);
    vmhi_link_look(link, uuid);
    return made ? vmhi_vm_new(call->host, vmhi_inventory_find(link->inventory, uuid)) : NULL;
}

static gboolean check_create(const vmh_spec *spec, uint64_t flags, vmh_error **error)
{
    if (!vmhi_check_flags(
            flags, VMH_CREATE_START | VMH_CREATE_PAUSED | VMH_CREATE_TRANSIENT | VMH_CREATE_VALIDATE_ONLY, error))
        return FALSE;
    if ((flags & (VMH_CREATE_PAUSED | VMH_CREATE_TRANSIENT)) && !(flags & VMH_CREATE_START))
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "VMH_CREATE_PAUSED and VMH_CREATE_TRANSIENT need VMH_CREATE_START");
    else if (strcmp(vmh_spec_kind(spec), "vm") != 0)
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "spec is of kind \"%s\"; \"vm\" is needed", vmh_spec_kind(spec));
    else
        return TRUE;
    return FALSE;
}

vmh_job *vmh_host_create_vm(vmh_host *host, const vmh_spec *spec, uint64_t flags, vmh_error **error)
{
    vmhi_call *call;

    if (!vmhi_check(host, "host", error) || !vmhi_check(spec, "spec", error) || !check_create(spec, flags, error))
        return NULL;
    call = vmhi_call_new(host, NULL, flags, flags & VMH_CREATE_VALIDATE_ONLY ? run_validate : run_create);
    call->spec = vmh_spec_dup(spec);
    vmhi_spec_strip_readonly(call->spec); /* so that a description can be created from */
    if (!vmhi_spec_str(call->spec, "uuid")) {
        g_autofree char *uuid = g_uuid_string_random();
        vmhi_spec_put(call->spec, "uuid", uuid);
    }
    return vmhi_call_start(call, "host.create", VMHI_AT_ONCE, unref_vm);
}
