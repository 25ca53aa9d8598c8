/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vm.h: the verbs of a VM, each a job, and the questions that are answered at once. */
#include "api/call.h"
#include "api/check.h"

#include <string.h>
#include <unistd.h>

vmh_vm *vmhi_vm_new(vmh_host *host, vmhi_record *record)
{
    vmh_vm *vm;

    if (!record)
        return NULL;
    vm = g_new0(vmh_vm, 1);
    g_atomic_ref_count_init(&vm->refs);
    vm->host = vmh_host_ref(host);
    vm->record = record;
    return vm;
}

vmh_vm *vmh_vm_ref(vmh_vm *vm)
{
    if (vm)
        g_atomic_ref_count_inc(&vm->refs);
    return vm;
}

void vmh_vm_unref(vmh_vm *vm)
{
    if (!vm || !g_atomic_ref_count_dec(&vm->refs))
        return;
    vmhi_record_unref(vm->record);
    vmh_host_unref(vm->host);
    g_free(vm);
}

vmh_host *vmh_vm_host(const vmh_vm *vm)
{
    return vm ? vm->host : NULL;
}

const char *vmh_vm_uuid(const vmh_vm *vm)
{
    return vm ? vm->record->uuid : NULL;
}

char *vmh_vm_name_dup(const vmh_vm *vm)
{
    return vm ? vmhi_inventory_name_dup(vm->host->link->inventory, vm->record) : NULL;
}

int32_t vmh_vm_state(const vmh_vm *vm)
{
    return vm ? g_atomic_int_get(&vm->record->state) : VMH_VM_UNKNOWN;
}

const char *vmh_vm_state_name(int32_t state)
{
    static const char *const names[] = {"unknown",  "stopped", "running",   "paused",
                                        "stopping", "crashed", "suspended", "gone"};

    return state >= 0 && state < (int32_t)G_N_ELEMENTS(names) ? names[state] : NULL;
}

/* --- describing --- */

static void unref_spec(void *spec)
{
    vmh_spec_unref(spec);
}

static void *run_describe(vmhi_call *call, G_GNUC_UNUSED vmh_job *job, vmh_error **error)
{
    vmhi_link *link = call->host->link;

    return link->driver->describe_vm(link->remote, call->vm->record->uuid, call->flags, error);
}

vmh_spec *vmh_vm_describe(vmh_vm *vm, uint64_t flags, vmh_error **error)
{
    if (!vmhi_check(vm, "vm", error) || !vmhi_check_flags(flags, VMH_DESCRIBE_PERSISTENT, error))
        return NULL;
    return vmhi_call_ask(vmhi_call_new(vm->host, vm, flags, run_describe), "vm.describe", unref_spec, error);
}

/* --- the verbs without arguments --- */

static void *run_act(vmhi_call *call, vmh_job *job, vmh_error **error)
{
    vmhi_link_act(call->host->link, call->vm->record->uuid, call->verb, call->flags, vmhi_job_task(job), error);
    return NULL;
}

static vmh_job *act(vmh_vm *vm, vmhi_verb verb, const char *name, uint64_t flags, uint64_t allowed, vmh_error **error)
{
    vmhi_call *call;

    if (!vmhi_check(vm, "vm", error) || !vmhi_check_flags(flags, allowed, error))
        return NULL;
    call = vmhi_call_new(vm->host, vm, flags, run_act);
    call->verb = verb;
    return vmhi_call_start(call, name, verb == VMHI_STOP ? VMHI_AT_ONCE : VMHI_IN_ORDER, NULL);
}

vmh_job *vmh_vm_start(vmh_vm *vm, uint64_t flags, vmh_error **error)
{
    return act(vm, VMHI_START, "vm.start", flags, VMH_START_PAUSED, error);
}

vmh_job *vmh_vm_pause(vmh_vm *vm, uint64_t flags, vmh_error **error)
{
    return act(vm, VMHI_PAUSE, "vm.pause", flags, 0, error);
}

vmh_job *vmh_vm_resume(vmh_vm *vm, uint64_t flags, vmh_error **error)
{
    return act(vm, VMHI_RESUME, "vm.resume", flags, 0, error);
}

vmh_job *vmh_vm_shutdown(vmh_vm *vm, uint64_t flags, vmh_error **error)
{
    return act(vm, VMHI_SHUTDOWN, "vm.shutdown", flags, 0, error);
}

vmh_job *vmh_vm_reboot(vmh_vm *vm, uint64_t flags, vmh_error **error)
{
    return act(vm, VMHI_REBOOT, "vm.reboot", flags, 0, error);
}

vmh_job *vmh_vm_reset(vmh_vm *vm, uint64_t flags, vmh_error **error)
{
    return act(vm, VMHI_RESET, "vm.reset", flags, 0, error);
}

vmh_job *vmh_vm_stop(vmh_vm *vm, uint64_t flags, vmh_error **error)
{
    return act(vm, VMHI_STOP, "vm.stop", flags, 0, error);
}

vmh_job *vmh_vm_delete(vmh_vm *vm, uint64_t flags, vmh_error **error)
{
    return act(vm, VMHI_DELETE, "vm.delete", flags, VMH_DELETE_FORCE, error);
}

/* --- updating --- */

static void *run_update(vmhi_call *call, vmh_job *job, vmh_error **error)
{
    vmhi_link *link = call->host->link;

    link->driver->update(link->remote, call->vm->record->uuid, call->spec, call->flags, call->generation,
                         vmhi_job_verdicts(job), vmhi_job_task(job), error);
    return NULL;
}

vmh_job *vmh_vm_update(vmh_vm *vm, const vmh_spec *spec, uint64_t flags, uint64_t generation, vmh_error **error)
{
    const uint64_t allowed = VMH_UPDATE_LIVE | VMH_UPDATE_PERSIST | VMH_UPDATE_DRY_RUN;
    vmhi_call     *call;

    if (!vmhi_check(vm, "vm", error) || !vmhi_check(spec, "spec", error) || !vmhi_check_flags(flags, allowed, error))
        return NULL;
    if (strcmp(vmh_spec_kind(spec), "vm") != 0) {
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "spec is of kind \"%s\"; \"vm\" is needed", vmh_spec_kind(spec));
        return NULL;
    }
    call = vmhi_call_new(vm->host, vm, flags, run_update);
    call->spec = vmh_spec_dup(spec);
    vmhi_spec_strip_readonly(call->spec); /* so that a description can be edited and given back */
    call->generation = generation;
    return vmhi_call_start(call, "vm.update", VMHI_IN_ORDER, NULL);
}

/* --- migrating --- */

static void unref_vm(void *vm)
{
    vmh_vm_unref(vm);
}

static void *run_migrate(vmhi_call *call, vmh_job *job, vmh_error **error)
{
    vmhi_link       *from = call->host->link;
    vmhi_link       *to = call->destination->link;
    g_autofree char *uuid = from->driver->migrate(from->remote, call->vm->record->uuid, to->remote, call->spec,
                                                  call->flags, vmhi_job_task(job), error);

    vmhi_link_look(from, call->vm->record->uuid);
    if (!uuid)
        return NULL;
    vmhi_link_look(to, uuid);
    return vmhi_vm_new(call->destination, vmhi_inventory_find(to->inventory, uuid));
}

static gboolean check_migrate(const vmh_vm *vm, const vmh_host *destination, const vmh_spec *options,
                              vmh_error **error)
{
    if (options && strcmp(vmh_spec_kind(options), "migrate") != 0)
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "options is a spec of kind \"%s\"; \"migrate\" is needed",
                       vmh_spec_kind(options));
    else if (destination->link == vm->host->link)
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "the destination %s is the host where the VM is already",
                       destination->link->uri);
    else if (destination->link->driver != vm->host->link->driver)
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "a VM of the %s driver cannot move to a host of the %s driver",
                       vm->host->link->driver->name, destination->link->driver->name);
    else
        return TRUE;
    return FALSE;
}

vmh_job *vmh_vm_migrate(vmh_vm *vm, vmh_host *destination, const vmh_spec *options, uint64_t flags, vmh_error **error)
{
    vmhi_call *call;

    if (!vmhi_check(vm, "vm", error) || !vmhi_check(destination, "destination", error) ||
        !vmhi_check_flags(flags, 0, error) || !check_migrate(vm, destination, options, error))
        return NULL;
    call = vmhi_call_new(vm->host, vm, flags, run_migrate);
    call->destination = vmh_host_ref(destination);
    call->spec = options ? vmh_spec_dup(options) : NULL;
    return vmhi_call_start(call, "vm.migrate", VMHI_UNLIMITED, unref_vm);
}

/* --- descriptors --- */

/* A descriptor on its way to the caller: nobody may be left to take it. */
static void close_fd(void *result)
{
    close(GPOINTER_TO_INT(result) - 1);
}

static void *run_console(vmhi_call *call, G_GNUC_UNUSED vmh_job *job, vmh_error **error)
{
    vmhi_link *link = call->host->link;
    int        fd = link->driver->console(link->remote, call->vm->record->uuid, call->text, call->flags, error);

    return fd < 0 ? NULL : GINT_TO_POINTER(fd + 1);
}

/* Takes the call, which brings a descriptor. */
static int32_t ask_for_fd(vmhi_call *call, const char *verb, vmh_error **error)
{
    vmh_error *failure = NULL;
    void      *fd = vmhi_call_ask(call, verb, close_fd, &failure);
    int32_t    code;

    if (fd)
        return GPOINTER_TO_INT(fd) - 1;
    code = vmh_error_code(failure);
    vmhi_error_move(error, failure);
    return code;
}

int32_t vmh_vm_console(vmh_vm *vm, const char *name, uint64_t flags, vmh_error **error)
{
    vmhi_call *call;

    if (!vmhi_check(vm, "vm", error) || !vmhi_check_flags(flags, VMH_CONSOLE_FORCE, error))
        return vmhi_code(error, VMH_ERR_ARGUMENT);
    call = vmhi_call_new(vm->host, vm, flags, run_console);
    call->text = g_strdup(name);
    return ask_for_fd(call, "vm.console", error);
}

/* --- the guest's sockets --- */

static void *run_connect(vmhi_call *call, G_GNUC_UNUSED vmh_job *job, vmh_error **error)
{
    vmhi_link *link = call->host->link;
    int        fd = link->driver->connect(link->remote, call->vm->record->uuid, call->port, call->flags, error);

    return fd < 0 ? NULL : GINT_TO_POINTER(fd + 1);
}

static void *run_listen(vmhi_call *call, G_GNUC_UNUSED vmh_job *job, vmh_error **error)
{
    vmhi_link *link = call->host->link;
    int        fd = link->driver->listen(link->remote, call->vm->record->uuid, call->port, call->flags, error);

    return fd < 0 ? NULL : GINT_TO_POINTER(fd + 1);
}

static gboolean check_port(uint32_t port, vmh_error **error)
{
    if (port == UINT32_MAX)
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "port is from 0 to %" G_GUINT32_FORMAT, UINT32_MAX - 1);
    return port != UINT32_MAX;
}

int32_t vmh_vm_connect(vmh_vm *vm, uint32_t port, uint64_t flags, vmh_error **error)
{
    vmhi_call *call;

    if (!vmhi_check(vm, "vm", error) || !vmhi_check_flags(flags, 0, error) || !check_port(port, error))
        return vmhi_code(error, VMH_ERR_ARGUMENT);
    call = vmhi_call_new(vm->host, vm, flags, run_connect);
    call->port = port;
    return ask_for_fd(call, "vm.connect", error);
}

int32_t vmh_vm_listen(vmh_vm *vm, uint32_t port, uint64_t flags, vmh_error **error)
{
    vmhi_call *call;

    if (!vmhi_check(vm, "vm", error) || !vmhi_check_flags(flags, 0, error) || !check_port(port, error))
        return vmhi_code(error, VMH_ERR_ARGUMENT);
    call = vmhi_call_new(vm->host, vm, flags, run_listen);
    call->port = port;
    return ask_for_fd(call, "vm.listen", error);
}

/* Several threads may wait at one listener, and one of them gets what comes. */
static int accept_one(vmhi_link *link, int32_t listener, int64_t timeout_ms, uint32_t *from, vmh_error **error)
{
    const gint64 end = g_get_monotonic_time() + MIN(timeout_ms, G_MAXINT64 / 4000) * 1000;
    vmh_error   *failure = NULL;
    GPollFD      wait = {.fd = listener, .events = G_IO_IN};
    gint64       left_ms = timeout_ms;
    int          fd;

    while ((fd = link->driver->accept(link->remote, listener, from, &failure)) < 0 && !failure && left_ms != 0) {
        g_poll(&wait, 1, left_ms < 0 ? -1 : (gint)MIN(left_ms, G_MAXINT));
        if (timeout_ms > 0)
            left_ms = MAX((end - g_get_monotonic_time()) / 1000, 0);
    }
    if (fd < 0 && !failure)
        vmhi_error_set(&failure, VMH_ERR_TIMEOUT, "the guest has not connected");
    vmhi_error_move(error, failure);
    return fd;
}

int32_t vmh_vm_accept(vmh_vm *vm, int32_t listener, int64_t timeout_ms, uint32_t *from, uint64_t flags,
                      vmh_error **error)
{
    vmh_error *failure = NULL;
    uint32_t   port = 0;
    int        fd;

    if (!vmhi_check(vm, "vm", error) || !vmhi_check_flags(flags, 0, error))
        return vmhi_code(error, VMH_ERR_ARGUMENT);
    if (!vmhi_call_supported(vm->host->link, "vm.listen", error))
        return vmhi_code(error, VMH_ERR_UNSUPPORTED);
    fd = accept_one(vm->host->link, listener, timeout_ms, &port, &failure);
    if (fd >= 0 && from)
        *from = port;
    fd = fd < 0 ? vmh_error_code(failure) : fd;
    vmhi_error_move(error, failure);
    return fd;
}
