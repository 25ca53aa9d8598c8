/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt's events become the sink's. Their callbacks run on the event loop and call nothing that could wait: what
 * an event does not say, whether a stopped VM is still defined, is known from the lists and events before it.
 */
#include "libvirt/domain.h"
#include "libvirt/voice.h"
#include "libvirt/watch.h"
#include "model/thread.h"

#include <string.h>

#define POLL_MS 2000

static gboolean is_active(int32_t state)
{
    return state != VMH_VM_STOPPED;
}

/* --- the life of a VM --- */

/* The state that an event leads to, in the words that libvirt itself has when it is asked for the state. */
static const struct {
    int event;
    int detail; /* -1: any other */
    int state;
    int reason;
} transitions[] = {
    {VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED},
    /* Its memory is still on the way; a RESUMED or SUSPENDED follows when it is all there. */
    {VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_MIGRATED, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION},
    {VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_RESTORED, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_RESTORED},
    {VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT, VIR_DOMAIN_RUNNING,
     VIR_DOMAIN_RUNNING_FROM_SNAPSHOT},
    {VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_WAKEUP, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_WAKEUP},
    {VIR_DOMAIN_EVENT_STARTED, -1, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_UNKNOWN},
    {VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER},
    {VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION},
    {VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_IOERROR, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR},
    {VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_WATCHDOG},
    {VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_FROM_SNAPSHOT, VIR_DOMAIN_PAUSED,
     VIR_DOMAIN_PAUSED_FROM_SNAPSHOT},
    {VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY},
    {VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED, VIR_DOMAIN_PAUSED,
     VIR_DOMAIN_PAUSED_POSTCOPY_FAILED},
    {VIR_DOMAIN_EVENT_SUSPENDED, -1, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_UNKNOWN},
    {VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_UNPAUSED},
    {VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_MIGRATED, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_MIGRATED},
    {VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT, VIR_DOMAIN_RUNNING,
     VIR_DOMAIN_RUNNING_FROM_SNAPSHOT},
    {VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_POSTCOPY, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_POSTCOPY},
    {VIR_DOMAIN_EVENT_RESUMED, -1, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_UNKNOWN},
    {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN},
    {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_DESTROYED, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_DESTROYED},
    {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_CRASHED, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_CRASHED},
    {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_MIGRATED, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_MIGRATED},
    {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_SAVED, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_SAVED},
    {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_FAILED, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_FAILED},
    {VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT, VIR_DOMAIN_SHUTOFF,
     VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT},
    {VIR_DOMAIN_EVENT_STOPPED, -1, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_UNKNOWN},
    {VIR_DOMAIN_EVENT_SHUTDOWN, VIR_DOMAIN_EVENT_SHUTDOWN_HOST, VIR_DOMAIN_SHUTDOWN, VIR_DOMAIN_SHUTDOWN_UNKNOWN},
    {VIR_DOMAIN_EVENT_SHUTDOWN, -1, VIR_DOMAIN_SHUTDOWN, VIR_DOMAIN_SHUTDOWN_USER},
    {VIR_DOMAIN_EVENT_PMSUSPENDED, -1, VIR_DOMAIN_PMSUSPENDED, VIR_DOMAIN_PMSUSPENDED_UNKNOWN},
    {VIR_DOMAIN_EVENT_CRASHED, VIR_DOMAIN_EVENT_CRASHED_PANICKED, VIR_DOMAIN_CRASHED, VIR_DOMAIN_CRASHED_PANICKED},
};

static gboolean find_transition(int event, int detail, int32_t *state, const char **reason)
{
    for (gsize i = 0; i < G_N_ELEMENTS(transitions); i++)
        if (transitions[i].event == event && (transitions[i].detail == detail || transitions[i].detail == -1)) {
            *state = vmhi_libvirt_state(transitions[i].state, transitions[i].reason, reason);
            return TRUE;
        }
    return FALSE;
}

static void tell_seen(vmhi_driver_host *host, const char *uuid, virDomainPtr domain, const vmhi_known *vm,
                      const char *reason)
{
    vmhi_vm_info info = {.uuid = uuid,
                         .name = virDomainGetName(domain),
                         .state = vm->state,
                         .reason = reason,
                         .persistent = vm->persistent};

    host->sink->vm_seen(host->sink_data, &info);
}

static void tell_gone(vmhi_driver_host *host, const char *uuid)
{
    vmhi_watch_drop(host->watch, uuid);
    vmhi_libvirt_forget(host, uuid);
    host->sink->vm_gone(host->sink_data, uuid);
}

static void defined(vmhi_driver_host *host, const char *uuid, virDomainPtr domain, int detail)
{
    vmhi_known *vm = vmhi_watch_hear(host->watch, uuid);

    vm->persistent = TRUE;
    if (detail == VIR_DOMAIN_EVENT_DEFINED_RENAMED)
        vmhi_libvirt_forget(host, uuid); /* The cached one has the old name in it. */
    tell_seen(host, uuid, domain, vm, detail == VIR_DOMAIN_EVENT_DEFINED_ADDED ? "defined" : NULL);
    if (detail == VIR_DOMAIN_EVENT_DEFINED_UPDATED || detail == VIR_DOMAIN_EVENT_DEFINED_FROM_SNAPSHOT)
        host->sink->vm_changed(host->sink_data, uuid, "configuration");
}

/* One that runs stays until it stops. Of a renaming, DEFINED follows and says all. */
static void undefined(vmhi_driver_host *host, const char *uuid, virDomainPtr domain, int detail)
{
    vmhi_known *vm;

    if (detail == VIR_DOMAIN_EVENT_UNDEFINED_RENAMED)
        return;
    vm = vmhi_watch_hear(host->watch, uuid);
    vm->persistent = FALSE;
    if (is_active(vm->state))
        tell_seen(host, uuid, domain, vm, NULL);
    else
        tell_gone(host, uuid);
}

static void moved(vmhi_driver_host *host, const char *uuid, virDomainPtr domain, int event, int detail)
{
    vmhi_known *vm = vmhi_watch_hear(host->watch, uuid);
    const char *reason;

    /* QEMU's vCPUs are set going before it counts as started. */
    if (event == VIR_DOMAIN_EVENT_RESUMED && detail == VIR_DOMAIN_EVENT_RESUMED_UNPAUSED && !is_active(vm->state)) {
        event = VIR_DOMAIN_EVENT_STARTED;
        detail = VIR_DOMAIN_EVENT_STARTED_BOOTED;
    }
    if (!find_transition(event, detail, &vm->state, &reason))
        return;
    if (is_active(vm->state) || vm->persistent)
        tell_seen(host, uuid, domain, vm, reason);
    else
        tell_gone(host, uuid);
}

static int on_lifecycle(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr domain, int event, int detail,
                        void *number)
{
    char              uuid[VIR_UUID_STRING_BUFLEN];
    vmhi_voice       *voice = vmhi_voice_enter(number);
    vmhi_driver_host *host;

    if (!voice)
        return 0;
    host = vmhi_voice_host(voice);
    if (!host->watch->trusted) {
        vmhi_watch_overheard(host->watch);
    } else if (vmhi_libvirt_uuid(domain, uuid)) {
        if (event == VIR_DOMAIN_EVENT_DEFINED)
            defined(host, uuid, domain, detail);
        else if (event == VIR_DOMAIN_EVENT_UNDEFINED)
            undefined(host, uuid, domain, detail);
        else
            moved(host, uuid, domain, event, detail);
    }
    vmhi_voice_leave(voice);
    return 0;
}

/* --- changes of configuration and devices --- */

static void changed(gpointer number, virDomainPtr domain, const char *what)
{
    char              uuid[VIR_UUID_STRING_BUFLEN];
    vmhi_voice       *voice = vmhi_voice_enter(number);
    vmhi_driver_host *host;

    if (!voice)
        return;
    host = vmhi_voice_host(voice);
    if (vmhi_libvirt_uuid(domain, uuid)) {
        vmhi_libvirt_sampler_forget(host, uuid);
        host->sink->vm_changed(host->sink_data, uuid, what);
    }
    vmhi_voice_leave(voice);
}

static void device_changed(gpointer number, virDomainPtr domain, const char *alias, const char *what)
{
    g_autofree char *name = vmhi_domain_alias_path(alias);
    g_autofree char *text = g_strdup_printf("%s: %s", what, name);

    changed(number, domain, text);
}

static void on_reboot(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr domain, void *number)
{
    changed(number, domain, "rebooted");
}

static void on_device_added(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr domain, const char *alias,
                            void *number)
{
    device_changed(number, domain, alias, "device added");
}

static void on_device_removed(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr domain, const char *alias,
                              void *number)
{
    device_changed(number, domain, alias, "device removed");
}

static void on_device_kept(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr domain, const char *alias,
                           void *number)
{
    device_changed(number, domain, alias, "device not released by the guest");
}

static void on_tunable(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr domain,
                       G_GNUC_UNUSED virTypedParameterPtr parameters, G_GNUC_UNUSED int count, void *number)
{
    changed(number, domain, "tuning");
}

static void on_metadata(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr domain, G_GNUC_UNUSED int type,
                        G_GNUC_UNUSED const char *uri, void *number)
{
    changed(number, domain, "metadata");
}

static void on_media(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr domain, G_GNUC_UNUSED const char *before,
                     G_GNUC_UNUSED const char *after, const char *alias, G_GNUC_UNUSED int reason, void *number)
{
    device_changed(number, domain, alias, "media changed");
}

static void on_agent(G_GNUC_UNUSED virConnectPtr connection, virDomainPtr domain, int state, G_GNUC_UNUSED int reason,
                     void *number)
{
    changed(number, domain,
            state == VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED ? "guest agent connected"
                                                                              : "guest agent disconnected");
}

static const struct {
    int                                  id;
    virConnectDomainEventGenericCallback callback;
} events[] = {
    {VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)},
    {VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_reboot)},
    {VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device_added)},
    {VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device_removed)},
    {VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, VIR_DOMAIN_EVENT_CALLBACK(on_device_kept)},
    {VIR_DOMAIN_EVENT_ID_TUNABLE, VIR_DOMAIN_EVENT_CALLBACK(on_tunable)},
    {VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata)},
    {VIR_DOMAIN_EVENT_ID_DISK_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_media)},
    {VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_agent)},
};

/* --- where events do not come --- */

typedef struct {
    gpointer number;
    gboolean has_events;
} poll;

/* Asks for a new list every now and then, for as long as the connection lasts and no event can come. */
static gpointer run_poll(gpointer data)
{
    g_autofree poll *p = data;
    vmhi_voice      *voice;

    do {
        g_usleep(POLL_MS * 1000);
        gboolean deaf = !p->has_events || !vmhi_libvirt_loop_runs(POLL_MS);
        voice = vmhi_voice_enter(p->number);
        if (voice && deaf)
            vmhi_voice_host(voice)->sink->missed(vmhi_voice_host(voice)->sink_data);
        if (voice)
            vmhi_voice_leave(voice);
    } while (voice);
    return NULL;
}

gboolean vmhi_libvirt_events_start(virConnectPtr connection, GArray *callbacks, gpointer number, vmh_error **error)
{
    gboolean has_events = TRUE;

    for (gsize i = 0; i < G_N_ELEMENTS(events) && has_events; i++) {
        int id = virConnectDomainEventRegisterAny(connection, NULL, events[i].id, events[i].callback, number, NULL);
        if (id >= 0) {
            g_array_append_val(callbacks, id);
            continue;
        }
        /* A host may know fewer events; without those of life there are none. */
        if (events[i].id != VIR_DOMAIN_EVENT_ID_LIFECYCLE)
            continue;
        if (vmhi_libvirt_code(virGetLastError()) != VMH_ERR_UNSUPPORTED) {
            vmhi_libvirt_error(error, NULL, "listening to events");
            return FALSE;
        }
        has_events = FALSE;
    }
    if (!has_events || !vmhi_libvirt_loop_is_ours()) {
        poll    *p = g_new(poll, 1);
        GThread *thread;

        *p = (poll){.number = number, .has_events = has_events};
        thread = vmhi_thread_new("vmhost-poll", run_poll, p);
        if (!thread) {
            g_free(p);
            vmhi_error_set(error, VMH_ERR_RESOURCE, "listening to events: the system gives no more threads");
            return FALSE;
        }
        g_thread_unref(thread);
    }
    return TRUE;
}
