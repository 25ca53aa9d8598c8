/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listing all VMs in as few calls as the host allows, and looking at one. */
#include "libvirt/common.h"
#include "libvirt/voice.h"
#include "libvirt/watch.h"

typedef struct {
    vmhi_driver_host *host;
    GHashTable       *transient; /* UUIDs of those that vanish when they stop */
    guint64           serial;
    vmhi_visit        visit;
    void             *data;
} list;

static void tell(list *l, virDomainPtr domain, int state, int detail)
{
    char         uuid[VIR_UUID_STRING_BUFLEN];
    vmhi_vm_info info = {.uuid = uuid, .name = virDomainGetName(domain)};

    if (!vmhi_libvirt_uuid(domain, uuid))
        return;
    info.state = vmhi_libvirt_state(state, detail, &info.reason);
    info.persistent = !g_hash_table_contains(l->transient, uuid);
    vmhi_libvirt_remember(l->host, uuid, domain);
    vmhi_voice_lock(l->host->voice);
    vmhi_watch_listed(l->host->watch, l->serial, &info);
    vmhi_voice_leave(l->host->voice);
    l->visit(l->data, &info);
}

static gboolean list_transient(list *l, virConnectPtr connection, vmh_error **error)
{
    virDomainPtr *domains = NULL;
    int           count = virConnectListAllDomains(connection, &domains, VIR_CONNECT_LIST_DOMAINS_TRANSIENT);
    char          uuid[VIR_UUID_STRING_BUFLEN];

    if (count < 0) {
        vmhi_libvirt_error(error, NULL, "listing VMs");
        return FALSE;
    }
    for (int i = 0; i < count; i++) {
        if (vmhi_libvirt_uuid(domains[i], uuid))
            g_hash_table_add(l->transient, g_strdup(uuid));
        virDomainFree(domains[i]);
    }
    free(domains);
    return TRUE;
}

/* All states in one call. FALSE without an error: this host has no such call. */
static gboolean list_by_stats(list *l, virConnectPtr connection, vmh_error **error)
{
    virDomainStatsRecordPtr *records = NULL;
    int                      count = virConnectGetAllDomainStats(connection, VIR_DOMAIN_STATS_STATE, &records, 0);

    if (count < 0 && vmhi_libvirt_code(virGetLastError()) != VMH_ERR_UNSUPPORTED)
        vmhi_libvirt_error(error, NULL, "listing VMs");
    for (int i = 0; i < count; i++) {
        int state = VIR_DOMAIN_NOSTATE, detail = 0;
        virTypedParamsGetInt(records[i]->params, records[i]->nparams, "state.state", &state);
        virTypedParamsGetInt(records[i]->params, records[i]->nparams, "state.reason", &detail);
        tell(l, records[i]->dom, state, detail);
    }
    if (records)
        virDomainStatsRecordListFree(records);
    return count >= 0;
}

static gboolean list_one_by_one(list *l, virConnectPtr connection, vmh_error **error)
{
    virDomainPtr *domains = NULL;
    int           count = virConnectListAllDomains(connection, &domains, 0);

    if (count < 0)
        vmhi_libvirt_error(error, NULL, "listing VMs");
    for (int i = 0; i < count; i++) {
        int state, detail;
        if (virDomainGetState(domains[i], &state, &detail, 0) == 0) /* else it has just gone */
            tell(l, domains[i], state, detail);
        virDomainFree(domains[i]);
    }
    free(domains);
    return count >= 0;
}

gboolean vmhi_libvirt_list(vmhi_driver_host *host, vmhi_visit visit, void *data, vmh_error **error)
{
    g_autoptr(virConnect) connection = vmhi_libvirt_connection(host, error);
    g_autoptr(GHashTable) transient = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(vmh_error) failure = NULL;
    list     l = {.host = host, .transient = transient, .visit = visit, .data = data};
    gboolean complete, understood;

    if (!connection)
        return FALSE;
    vmhi_voice_lock(host->voice);
    l.serial = host->watch->serial;
    vmhi_voice_leave(host->voice);
    complete = list_transient(&l, connection, &failure) &&
               (list_by_stats(&l, connection, &failure) || (!failure && list_one_by_one(&l, connection, &failure)));
    if (!complete) {
        vmhi_error_move(error, g_steal_pointer(&failure));
        return FALSE;
    }
    vmhi_voice_lock(host->voice);
    understood = vmhi_watch_list_end(host->watch, l.serial);
    if (!understood && vmhi_voice_is_open(host->voice))
        host->sink->missed(host->sink_data);
    vmhi_voice_leave(host->voice);
    return TRUE;
}

gboolean vmhi_libvirt_is_persistent(vmhi_driver_host *host, const char *uuid, virDomainPtr domain)
{
    const vmhi_known *vm;
    int               persistent = -1;

    vmhi_voice_lock(host->voice);
    vm = vmhi_watch_find(host->watch, uuid);
    if (vm)
        persistent = vm->persistent;
    vmhi_voice_leave(host->voice);
    if (persistent < 0)
        persistent = virDomainIsPersistent(domain);
    return persistent != 0;
}

gboolean vmhi_libvirt_look(vmhi_driver_host *host, const char *uuid, vmhi_visit visit, void *data, vmh_error **error)
{
    g_autoptr(virDomain) domain = vmhi_libvirt_domain(host, uuid, error);
    vmhi_vm_info info = {.uuid = uuid};
    int          state, detail;

    if (!domain)
        return FALSE;
    if (virDomainGetState(domain, &state, &detail, 0) < 0) {
        g_autofree char *doing = g_strdup_printf("looking at the VM %s", uuid);
        vmhi_libvirt_error(error, NULL, doing);
        return FALSE;
    }
    info.name = virDomainGetName(domain);
    info.state = vmhi_libvirt_state(state, detail, &info.reason);
    info.persistent = vmhi_libvirt_is_persistent(host, uuid, domain);
    visit(data, &info);
    return TRUE;
}
