/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which VMs there are, and in which state. */
#include "kvm/common.h"

void vmhi_kvm_condition_clear(vmhi_kvm_condition *condition)
{
    g_clear_pointer(&condition->reason, g_free);
    g_clear_pointer(&condition->sandbox, g_free);
    g_clear_pointer(&condition->devices, g_free);
}

gboolean vmhi_kvm_runs(const vmhi_kvm_condition *condition)
{
    return condition->state != VMH_VM_STOPPED && condition->state != VMH_VM_CRASHED;
}

/* One that has just ended is not told of before its process is gone: it could not be started again yet. */
static void wait_for_last(int connection, const struct wire_message *answer)
{
    const uint64_t      state = wire_u64(answer, WIRE_T_STATE, WIRE_RUNNING);
    struct wire_message message;

    if (state == WIRE_ENDED || state == WIRE_CRASHED)
        wire_receive(connection, &message, 0);
}

static gboolean ask(int connection, vmhi_kvm_condition *found, gboolean *is_dropped)
{
    struct wire_message message;
    g_autoptr(vmh_error) failure = NULL;

    wire_begin(&message, WIRE_LOOK, 1);
    if (!vmhi_kvm_request(connection, &message, &failure)) {
        *is_dropped = vmh_error_code(failure) != VMH_ERR_TIMEOUT;
        return FALSE;
    }
    wait_for_last(connection, &message);
    *found = (vmhi_kvm_condition){
        vmhi_kvm_state(wire_u64(&message, WIRE_T_STATE, WIRE_RUNNING)), g_strdup(wire_text(&message, WIRE_T_REASON)),
        g_strdup(wire_text(&message, WIRE_T_SANDBOX)), g_strdup(wire_text(&message, WIRE_T_DEVICES))};
    return TRUE;
}

/*
 * Asks the VM's process where there is one, else reads its last words. That it cannot be reached is no end of it. One
 * that ends drops whom it has not answered yet, and refuses them when they come again.
 */
vmhi_kvm_condition vmhi_kvm_look_at(const vmhi_driver_host *host, const char *uuid)
{
    vmhi_kvm_condition found;
    gboolean           is_refused = FALSE, is_dropped = TRUE;

    for (unsigned tries = 0; is_dropped && tries < 2; tries++) {
        const int connection = vmhi_kvm_connect(host, uuid, VMHI_KVM_LOOK_S);
        gboolean  answered;

        is_refused = connection < 0 && (errno == ECONNREFUSED || errno == ENOENT);
        is_dropped = FALSE;
        answered = connection >= 0 && ask(connection, &found, &is_dropped);
        vmhi_kvm_close(connection);
        if (answered)
            return found;
    }
    if (!vmhi_kvm_has_process(host, uuid))
        return vmhi_kvm_words_read(host, uuid);
    if (is_refused)
        return vmhi_kvm_words_of_process(host, uuid);
    return (vmhi_kvm_condition){VMH_VM_UNKNOWN, g_strdup("the VM's process does not answer"), NULL, NULL};
}

static void tell(vmhi_driver_host *host, const char *uuid, const char *name, vmhi_visit visit, void *data)
{
    g_auto(vmhi_kvm_condition) found = vmhi_kvm_look_at(host, uuid);
    vmhi_vm_info info = {.uuid = uuid, .name = name, .state = found.state, .reason = found.reason};

    info.persistent = !vmhi_kvm_exists(host, uuid, VMHI_KVM_TRANSIENT);
    /* One that vanishes with its end, and whose end nobody saw. */
    if (!info.persistent && !vmhi_kvm_has_process(host, uuid)) {
        vmhi_kvm_watch_settle(host->watch, uuid); /* which tells how it ended, if it has seen it */
        vmhi_kvm_remove(host, uuid, name);
        vmhi_kvm_watch_settle(host->watch, uuid); /* and that it is gone */
    } else {
        visit(data, &info);
    }
}

gboolean vmhi_kvm_list(vmhi_driver_host *host, vmhi_visit visit, void *data, vmh_error **error)
{
    g_autoptr(GHashTable) names = vmhi_kvm_names(host, error);
    GHashTableIter iter;
    void          *uuid, *name;

    if (!names)
        return FALSE;
    g_hash_table_iter_init(&iter, names);
    while (g_hash_table_iter_next(&iter, &uuid, &name))
        tell(host, uuid, name, visit, data);
    return TRUE;
}

gboolean vmhi_kvm_look(vmhi_driver_host *host, const char *uuid, vmhi_visit visit, void *data, vmh_error **error)
{
    g_autofree char *name = vmhi_kvm_name_of(host, uuid);

    if (!name) {
        vmhi_kvm_watch_settle(host->watch, uuid); /* how it ended is told before that it is gone */
        vmhi_kvm_not_found(error, uuid);
        return FALSE;
    }
    tell(host, uuid, name, visit, data);
    return TRUE;
}
