/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs that take a VM from one state to another. */
#include "kvm/common.h"

static gboolean simple(vmhi_driver_host *host, const char *uuid, uint16_t request, vmh_error **error)
{
    struct wire_message message;

    wire_begin(&message, request, 1);
    return vmhi_kvm_ask(host, uuid, &message, error);
}

/* One that has ended may take a moment to be gone. */
static gboolean is_running(const vmhi_driver_host *host, const char *uuid)
{
    const int connection = vmhi_kvm_connect(host, uuid, VMHI_KVM_LOOK_S);

    if (connection >= 0)
        close(connection);
    return connection >= 0 || !vmhi_kvm_wait_for_process(host, uuid);
}

static gboolean start(vmhi_driver_host *host, const char *uuid, uint64_t flags, vmh_error **error)
{
    g_autoptr(vmh_spec) spec = vmhi_kvm_read(host, uuid, VMHI_KVM_SPEC, error);
    int      lock = spec ? vmhi_kvm_lock(host, error) : -1;
    gboolean done = FALSE;

    if (lock < 0)
        return FALSE;
    if (is_running(host, uuid))
        vmhi_kvm_wrong_state(host, uuid, error);
    else
        done = vmhi_kvm_start(host, uuid, spec, (flags & VMH_START_PAUSED) != 0, error);
    close(lock);
    return done;
}

static gboolean delete (vmhi_driver_host *host, const char *uuid, uint64_t flags, vmh_error **error)
{
    g_autofree char *name = vmhi_kvm_name_of(host, uuid);
    const int        lock = vmhi_kvm_lock(host, error);
    gboolean         done = FALSE;

    if (lock < 0)
        return FALSE;
    if (!name)
        vmhi_kvm_not_found(error, uuid);
    else if (is_running(host, uuid) && !(flags & VMH_DELETE_FORCE))
        vmhi_kvm_wrong_state(host, uuid, error);
    else if (!is_running(host, uuid) || vmhi_kvm_stop(host, uuid, error)) {
        vmhi_kvm_remove(host, uuid, name);
        done = TRUE;
    }
    close(lock);
    return done;
}

static gboolean do_verb(vmhi_driver_host *host, const char *uuid, vmhi_verb verb, uint64_t flags, vmh_error **error)
{
    switch (verb) {
    case VMHI_START:
        return start(host, uuid, flags, error);
    case VMHI_PAUSE:
        return simple(host, uuid, WIRE_PAUSE, error);
    case VMHI_RESUME:
        return simple(host, uuid, WIRE_RESUME, error);
    case VMHI_SHUTDOWN:
        return simple(host, uuid, WIRE_BUTTON, error);
    case VMHI_RESET:
        return simple(host, uuid, WIRE_RESET, error);
    case VMHI_STOP:
        return vmhi_kvm_stop(host, uuid, error);
    case VMHI_DELETE:
        return delete (host, uuid, flags, error);
    case VMHI_REBOOT:
        break;
    }
    vmhi_error_set(error, VMH_ERR_UNSUPPORTED, "the built-in engine cannot ask a guest to restart");
    return FALSE;
}

/* What has no more to say than where it happened. */
static void name_it(vmhi_driver_host *host, const char *uuid, vmhi_verb verb, vmh_error **error)
{
    static const char *const doing[] = {
        [VMHI_START] = "starting",         [VMHI_PAUSE] = "pausing",    [VMHI_RESUME] = "resuming",
        [VMHI_SHUTDOWN] = "shutting down", [VMHI_REBOOT] = "rebooting", [VMHI_RESET] = "resetting",
        [VMHI_STOP] = "stopping",          [VMHI_DELETE] = "deleting",
    };
    g_autofree char *name = vmhi_kvm_name_of(host, uuid);

    vmhi_error_prefix(error, "%s VM \"%s\"", doing[verb], name ? name : uuid);
}

gboolean vmhi_kvm_act(vmhi_driver_host *host, const char *uuid, vmhi_verb verb, uint64_t flags, vmhi_task *task,
                      vmhi_visit visit, void *data, vmh_error **error)
{
    (void)task;
    (void)visit; /* One more look is quick. */
    (void)data;
    if (!vmhi_kvm_may_change(host, error) || !do_verb(host, uuid, verb, flags, error)) {
        name_it(host, uuid, verb, error);
        return FALSE;
    }
    if (verb == VMHI_START || verb == VMHI_STOP || verb == VMHI_DELETE)
        vmhi_kvm_watch_settle(host->watch, uuid);
    return TRUE;
}
