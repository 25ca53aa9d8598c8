/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* job.h: waiting for jobs, reading and cancelling them. */
#include "api/call.h"
#include "api/check.h"

uint64_t vmh_job_id(const vmh_job *job)
{
    return job ? job->id : 0;
}

const char *vmh_job_verb(const vmh_job *job)
{
    return job ? job->spec.verb : NULL;
}

vmh_vm *vmh_job_vm(const vmh_job *job)
{
    return job ? vmh_vm_ref(((const vmhi_call *)job->spec.data)->vm) : NULL;
}

static gboolean wait_ended(vmh_job *job, int64_t timeout_ms)
{
    gint64   until = g_get_monotonic_time() + MIN(timeout_ms, G_MAXINT64 / 4000) * 1000;
    gboolean ended;

    g_mutex_lock(&job->lock);
    job->waiters++;
    while (!job->ended && timeout_ms != 0) {
        if (timeout_ms < 0)
            g_cond_wait(&job->changed, &job->lock);
        else if (!g_cond_wait_until(&job->changed, &job->lock, until))
            break;
    }
    job->waiters--;
    ended = job->ended;
    g_mutex_unlock(&job->lock);
    return ended;
}

int32_t vmh_job_wait(vmh_job *job, int64_t timeout_ms, vmh_error **error)
{
    if (!vmhi_check(job, "job", error))
        return vmhi_code(error, VMH_ERR_ARGUMENT);
    if (!wait_ended(job, timeout_ms)) {
        vmhi_error_set(error, VMH_ERR_TIMEOUT, "%s still runs after %" G_GINT64_FORMAT " ms", job->spec.verb,
                       timeout_ms);
        return VMH_ERR_TIMEOUT;
    }
    if (!job->error)
        return 0;
    vmhi_error_move(error, vmhi_error_copy(job->error));
    return job->error->code;
}

int32_t vmh_job_finish(vmh_job *job, int64_t timeout_ms, vmh_error **error)
{
    int32_t code = vmh_job_wait(job, timeout_ms, error);

    vmh_job_unref(job);
    return code;
}

int32_t vmh_job_done(const vmh_job *job)
{
    return job && wait_ended((vmh_job *)job, 0);
}

int32_t vmh_job_cancel(vmh_job *job, vmh_error **error)
{
    gboolean   ended, can;
    vmh_error *cancelled = NULL;

    if (!vmhi_check(job, "job", error))
        return vmhi_code(error, VMH_ERR_ARGUMENT);
    vmhi_error_set(&cancelled, VMH_ERR_CANCELLED, "%s was cancelled before it began", job->spec.verb);
    if (vmhi_job_end_unstarted(job, cancelled))
        return 0;
    g_mutex_lock(&job->lock);
    ended = job->ending;
    can = job->can_cancel;
    g_mutex_unlock(&job->lock);
    if (ended)
        return 0;
    if (can) {
        g_cancellable_cancel(vmhi_task_cancellable(vmhi_job_task(job)));
        return 0;
    }
    vmhi_error_set(error, VMH_ERR_UNSUPPORTED, "%s is under way and cannot be stopped there", job->spec.verb);
    return VMH_ERR_UNSUPPORTED;
}

int32_t vmh_job_progress(const vmh_job *job, int32_t field, uint64_t *value, vmh_error **error)
{
    if (!vmhi_check(job, "job", error) || !vmhi_check(value, "value", error))
        return vmhi_code(error, VMH_ERR_ARGUMENT);
    if (field < VMH_PROGRESS_PHASE || field > VMH_PROGRESS_ELAPSED_MS) {
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "%d is no progress field; they are %d to %d", field,
                       VMH_PROGRESS_PHASE, VMH_PROGRESS_ELAPSED_MS);
        return VMH_ERR_ARGUMENT;
    }
    if (vmhi_job_read((vmh_job *)job, field, value))
        return 0;
    vmhi_error_set(error, VMH_ERR_NOT_SET, "%s does not tell progress field %d, or not yet", job->spec.verb, field);
    return VMH_ERR_NOT_SET;
}

vmh_vm *vmh_job_result_vm(const vmh_job *job)
{
    vmh_vm *vm = NULL;

    if (!job)
        return NULL;
    /* Jobs in the hands of a program have a VM as their result, or none. */
    g_mutex_lock((GMutex *)&job->lock);
    vm = vmh_vm_ref(job->result);
    g_mutex_unlock((GMutex *)&job->lock);
    return vm;
}

/* --- verdicts --- */

static const vmhi_verdict_entry *entry_at(const vmh_job *job, size_t index)
{
    return index < vmh_job_verdict_count(job) ? job->verdicts->pdata[index] : NULL;
}

/* Before the end they may still change, and borrowed strings would not last. */
size_t vmh_job_verdict_count(const vmh_job *job)
{
    return vmh_job_done(job) && job->verdicts ? job->verdicts->len : 0;
}

const char *vmh_job_verdict_property(const vmh_job *job, size_t index)
{
    const vmhi_verdict_entry *entry = entry_at(job, index);

    return entry ? entry->property : NULL;
}

int32_t vmh_job_verdict(const vmh_job *job, size_t index)
{
    const vmhi_verdict_entry *entry = entry_at(job, index);

    return entry ? entry->verdict : 0;
}

const char *vmh_job_verdict_reason(const vmh_job *job, size_t index)
{
    const vmhi_verdict_entry *entry = entry_at(job, index);

    return entry ? entry->reason : NULL;
}
