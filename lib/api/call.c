/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one path of all verbs: a job that runs the call, in its VM's order and within the host's deadline. */
#include "api/call.h"
#include "model/queue.h"

vmhi_call *vmhi_call_new(vmh_host *host, vmh_vm *vm, uint64_t flags,
                         void *(*run)(vmhi_call *call, vmh_job *job, vmh_error **error))
{
    vmhi_call *call = g_new0(vmhi_call, 1);

    call->host = vmh_host_ref(host);
    call->vm = vmh_vm_ref(vm);
    call->flags = flags;
    call->run = run;
    return call;
}

static void free_call(void *data)
{
    vmhi_call *call = data;

    vmh_vm_unref(call->vm);
    vmh_host_unref(call->destination);
    vmh_host_unref(call->host);
    vmh_spec_unref(call->spec);
    g_free(call->text);
    g_free(call);
}

gboolean vmhi_call_supported(vmhi_link *link, const char *verb, vmh_error **error)
{
    g_autofree char *reason = NULL;

    if (link->driver->supports(link->remote, verb, &reason))
        return TRUE;
    vmhi_error_set(error, VMH_ERR_UNSUPPORTED, "%s: %s", verb, reason);
    return FALSE;
}

static void *work(void *data, vmh_job *job, vmh_error **error)
{
    vmhi_call *call = data;

    return vmhi_call_supported(call->host->link, job->spec.verb, error) ? call->run(call, job, error) : NULL;
}

static void tell(void *data, vmh_job *job, int32_t type)
{
    vmhi_call *call = data;
    vmh_event *event = vmhi_event_new(type, call->vm ? call->vm->record : NULL);

    event->job = job->id;
    event->verb = job->spec.verb;
    if (type == VMH_EVENT_JOB_DONE && job->error) {
        event->code = -vmh_error_code(job->error);
        event->reason = g_strdup(vmh_error_message(job->error));
    }
    vmhi_job_read(job, VMH_PROGRESS_PHASE, &event->phase);
    vmhi_job_read(job, VMH_PROGRESS_BYTES_DONE, &event->done);
    vmhi_job_read(job, VMH_PROGRESS_BYTES_TOTAL, &event->total);
    vmhi_inventory_publish(call->host->link->inventory, event);
}

vmh_job *vmhi_call_start(vmhi_call *call, const char *verb, vmhi_how how, GDestroyNotify free_result)
{
    vmhi_link    *link = call->host->link;
    vmhi_lane    *lane = call->vm && (how == VMHI_IN_ORDER || how == VMHI_UNLIMITED) ? &call->vm->record->lane : NULL;
    vmhi_job_spec spec = {
        .verb = verb,
        .work = work,
        .data = call,
        .free_data = free_call,
        .free_result = free_result,
        .watch = how == VMHI_QUIET ? NULL : tell,
        .can_cancel = how == VMHI_UNLIMITED,
    };
    vmh_job *job = vmhi_job_new(&spec);

    if (link->in_process)
        vmhi_job_run_here(job);
    else
        vmhi_job_run(job, lane, how == VMHI_UNLIMITED ? 0 : vmhi_link_option_ms(link, "call.timeout"));
    return job;
}

void *vmhi_call_ask(vmhi_call *call, const char *verb, GDestroyNotify free_result, vmh_error **error)
{
    g_autoptr(vmh_job) job = vmhi_call_start(call, verb, VMHI_QUIET, free_result);

    if (vmh_job_wait(job, -1, error) < 0)
        return NULL;
    return vmhi_job_steal_result(job);
}
