/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of a job: queued, running, ended once; and the lanes that keep a VM's jobs in order. */
#include "model/job.h"
#include "model/thread.h"
#include "model/timer.h"

static void tell(vmh_job *job, int32_t event)
{
    if (job->spec.watch)
        job->spec.watch(job->spec.data, job, event);
}

static void free_verdict(void *memory)
{
    vmhi_verdict_entry *entry = memory;

    g_free(entry->property);
    g_free(entry->reason);
    g_free(entry);
}

vmh_job *vmhi_job_new(const vmhi_job_spec *spec)
{
    static gint last_id;
    vmh_job    *job = g_new0(vmh_job, 1);

    g_atomic_ref_count_init(&job->refs);
    job->id = (guint)g_atomic_int_add(&last_id, 1) + 1;
    job->spec = *spec;
    job->can_cancel = spec->can_cancel;
    job->born_us = g_get_monotonic_time();
    g_mutex_init(&job->lock);
    g_cond_init(&job->changed);
    return job;
}

vmh_job *vmh_job_ref(vmh_job *job)
{
    if (job)
        g_atomic_ref_count_inc(&job->refs);
    return job;
}

void vmh_job_unref(vmh_job *job)
{
    if (!job || !g_atomic_ref_count_dec(&job->refs))
        return;
    vmhi_timer_drop(job->deadline);
    if (job->result && job->spec.free_result)
        job->spec.free_result(job->result);
    if (job->spec.free_data)
        job->spec.free_data(job->spec.data);
    vmh_error_free(job->error);
    g_clear_object(&job->cancellable);
    g_clear_pointer(&job->verdicts, g_ptr_array_unref);
    g_mutex_clear(&job->lock);
    g_cond_clear(&job->changed);
    g_free(job);
}

typedef enum {
    ANYHOW,
    IF_UNSTARTED,
    IF_DUE /* for a deadline that fires: it may just have been taken back, or be another by now */
} claim;

static gboolean may_claim_locked(const vmh_job *job, claim how)
{
    if (job->ending || (how == IF_UNSTARTED && job->started))
        return FALSE;
    return how != IF_DUE || job->deadline == g_main_current_source();
}

/* Claims the end for the caller; FALSE when somebody else has it, or it is not for this one. */
static gboolean begin_end(vmh_job *job, claim how, void **result, vmh_error **error)
{
    GSource *deadline = NULL;
    gboolean first;

    g_mutex_lock(&job->lock);
    first = may_claim_locked(job, how);
    if (first) {
        job->ending = TRUE;
        job->ended_us = g_get_monotonic_time();
        job->error = g_steal_pointer(error);
        job->result = g_steal_pointer(result);
        deadline = g_steal_pointer(&job->deadline);
    }
    g_mutex_unlock(&job->lock);
    vmhi_timer_drop(deadline);
    return first;
}

static gboolean end(vmh_job *job, claim how, void *result, vmh_error *error)
{
    gboolean first = begin_end(job, how, &result, &error);

    vmh_error_free(error);
    if (result && job->spec.free_result)
        job->spec.free_result(result);
    if (!first)
        return FALSE;
    tell(job, VMH_EVENT_JOB_DONE); /* before anybody who waits: what it says is in the queues by then */
    g_mutex_lock(&job->lock);
    job->ended = TRUE;
    if (job->waiters) /* GLib asks the kernel even when there are none */
        g_cond_broadcast(&job->changed);
    g_mutex_unlock(&job->lock);
    return TRUE;
}

gboolean vmhi_job_end(vmh_job *job, void *result, vmh_error *error)
{
    return end(job, ANYHOW, result, error);
}

gboolean vmhi_job_end_unstarted(vmh_job *job, vmh_error *error)
{
    return end(job, IF_UNSTARTED, NULL, error);
}

/* FALSE when it has ended before it could start: cancelled or out of time while it waited. */
static gboolean start(vmh_job *job)
{
    gboolean runs;

    g_mutex_lock(&job->lock);
    runs = !job->ending;
    job->started = TRUE;
    g_mutex_unlock(&job->lock);
    return runs;
}

static void work(vmh_job *job)
{
    vmh_error *error = NULL;
    void      *result = job->spec.work(job->spec.data, job, &error);

    vmhi_job_end(job, result, error);
}

void vmhi_job_run_here(vmh_job *job)
{
    start(job);
    work(job);
}

static void run_piece(void *data);

/* The lane's next job, if any, gets a thread. */
static void lane_next(vmhi_lane *lane)
{
    vmh_job *next;

    g_mutex_lock(&lane->lock);
    next = g_queue_pop_head(&lane->waiting);
    lane->busy = next != NULL;
    g_mutex_unlock(&lane->lock);
    if (next)
        vmhi_thread_run(run_piece, next);
}

/* Makes room for the next of its lane; only the first call does. */
static void leave_lane(vmh_job *job)
{
    vmhi_lane *lane;

    g_mutex_lock(&job->lock);
    lane = job->started ? g_steal_pointer(&job->lane) : NULL;
    g_mutex_unlock(&job->lock);
    if (lane)
        lane_next(lane);
}

static void run_piece(void *data)
{
    vmh_job *job = data;

    if (start(job))
        work(job);
    leave_lane(job);
    vmh_job_unref(job);
}

static gboolean deadline_passed(void *data)
{
    vmh_job    *job = data;
    vmh_error  *busy = NULL;
    vmh_error  *silent = NULL;
    const char *meaning;

    vmhi_error_set(&busy, VMH_ERR_BUSY, "%s: another job of this VM took too long; nothing was done", job->spec.verb);
    if (vmhi_job_end_unstarted(job, busy))
        return G_SOURCE_REMOVE;
    g_mutex_lock(&job->lock);
    meaning = job->meaning;
    g_mutex_unlock(&job->lock);
    vmhi_error_set(&silent, VMH_ERR_TIMEOUT, "%s: no reply in time; %s", job->spec.verb, meaning);
    if (end(job, IF_DUE, NULL, silent))
        leave_lane(job);
    return G_SOURCE_REMOVE;
}

static void unref_job(void *job)
{
    vmh_job_unref(job);
}

void vmhi_job_run(vmh_job *job, vmhi_lane *lane, guint deadline_ms)
{
    gboolean waits = FALSE;

    vmh_job_ref(job); /* of the thread or the lane */
    job->lane = lane;
    if (deadline_ms) {
        g_mutex_lock(&job->lock);
        job->deadline = vmhi_timer_new(deadline_ms, deadline_passed, vmh_job_ref(job), unref_job);
        job->meaning = "whether it took effect is not known";
        g_mutex_unlock(&job->lock);
    }
    if (lane) {
        g_mutex_lock(&lane->lock);
        waits = lane->busy;
        if (waits)
            g_queue_push_tail(&lane->waiting, job);
        lane->busy = TRUE;
        g_mutex_unlock(&lane->lock);
    }
    if (!waits)
        vmhi_thread_run(run_piece, job);
}

gboolean vmhi_task_deadline(vmhi_task *task, guint deadline_ms, const char *meaning)
{
    vmh_job *job = (vmh_job *)task;
    GSource *before;
    gboolean goes_on;

    g_mutex_lock(&job->lock);
    goes_on = !job->ending;
    before = g_steal_pointer(&job->deadline);
    if (goes_on && deadline_ms)
        job->deadline = vmhi_timer_new(deadline_ms, deadline_passed, vmh_job_ref(job), unref_job);
    job->meaning = meaning;
    g_mutex_unlock(&job->lock);
    vmhi_timer_drop(before);
    return goes_on;
}

void *vmhi_job_steal_result(vmh_job *job)
{
    void *result;

    g_mutex_lock(&job->lock);
    result = g_steal_pointer(&job->result);
    g_mutex_unlock(&job->lock);
    return result;
}

static uint64_t elapsed_ms(const vmh_job *job)
{
    return (uint64_t)((job->ending ? job->ended_us : g_get_monotonic_time()) - job->born_us) / 1000;
}

gboolean vmhi_job_read(vmh_job *job, int32_t field, uint64_t *value)
{
    gboolean known = TRUE;

    g_mutex_lock(&job->lock);
    if (field == VMH_PROGRESS_ELAPSED_MS)
        *value = elapsed_ms(job);
    else if (field == VMH_PROGRESS_PHASE && job->ending)
        *value = VMH_PHASE_DONE;
    else if (job->progress_known & (1u << field))
        *value = job->progress[field];
    else if (field == VMH_PROGRESS_PHASE)
        *value = job->started ? VMH_PHASE_RUNNING : VMH_PHASE_QUEUED;
    else
        known = FALSE;
    g_mutex_unlock(&job->lock);
    return known;
}

void vmhi_task_progress(vmhi_task *task, int32_t field, uint64_t value)
{
    vmh_job *job = (vmh_job *)task;
    gboolean news;

    g_return_if_fail(field >= VMH_PROGRESS_PHASE && field < VMH_PROGRESS_ELAPSED_MS);
    g_mutex_lock(&job->lock);
    news = !job->ending && (field == VMH_PROGRESS_PHASE || field == VMH_PROGRESS_BYTES_DONE) &&
           (!(job->progress_known & (1u << field)) || job->progress[field] != value);
    job->progress[field] = value;
    job->progress_known |= 1u << field;
    g_mutex_unlock(&job->lock);
    if (news)
        tell(job, VMH_EVENT_JOB_PROGRESS);
}

void vmhi_task_can_cancel(vmhi_task *task, gboolean can)
{
    vmh_job *job = (vmh_job *)task;

    g_mutex_lock(&job->lock);
    job->can_cancel = can;
    g_mutex_unlock(&job->lock);
}

GCancellable *vmhi_task_cancellable(vmhi_task *task)
{
    vmh_job *job = (vmh_job *)task;

    g_mutex_lock(&job->lock);
    if (!job->cancellable)
        job->cancellable = g_cancellable_new();
    g_mutex_unlock(&job->lock);
    return job->cancellable;
}

void vmhi_verdict(vmhi_verdicts *verdicts, const char *property, int32_t verdict, const char *reason)
{
    vmh_job            *job = (vmh_job *)verdicts;
    vmhi_verdict_entry *entry = NULL;

    g_mutex_lock(&job->lock);
    if (!job->verdicts)
        job->verdicts = g_ptr_array_new_with_free_func(free_verdict);
    for (guint i = 0; i < job->verdicts->len && !entry; i++) {
        vmhi_verdict_entry *old = job->verdicts->pdata[i];
        entry = g_str_equal(old->property, property) ? old : NULL;
    }
    if (!entry && !job->ending) {
        entry = g_new0(vmhi_verdict_entry, 1);
        entry->property = g_strdup(property);
        g_ptr_array_add(job->verdicts, entry);
    }
    if (entry && !job->ending) {
        entry->verdict = verdict;
        g_free(entry->reason);
        entry->reason = g_strdup(reason);
    }
    g_mutex_unlock(&job->lock);
}

void vmhi_lane_init(vmhi_lane *lane)
{
    *lane = (vmhi_lane){.busy = FALSE};
    g_mutex_init(&lane->lock);
    g_queue_init(&lane->waiting);
}

void vmhi_lane_clear(vmhi_lane *lane)
{
    g_mutex_clear(&lane->lock);
}
