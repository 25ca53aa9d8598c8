/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A migration is three threads: one blocks in libvirt's call, one asks how far it is, and the caller's watches both
 * and the clock. So neither a source that hangs nor a destination that dies keeps the caller from leaving.
 */
#include "libvirt/move.h"
#include "model/thread.h"
#include <string.h>

enum { POLL_MS = 250, FIRST_POLL_MS = 25, WATCH_MS = 50, ABORT_WAIT_MS = 30000, POST_COPY_PASS = 2 };

/* What libvirt's statistics of the job say. */
typedef struct {
    gboolean known;
    gboolean switching; /* the guest stands still and changes sides */
    uint64_t processed;
    uint64_t remaining;
    uint64_t rate;
    uint64_t downtime_ms;
    uint64_t dirty_rate;
    uint64_t iteration;
} job_stats;

/* Shared by the threads; each has a reference. */
typedef struct {
    gatomicrefcount refs;
    vmhi_move       move; /* its own copy */
    GMutex          lock; /* guards what follows */
    GCond           changed;
    gboolean        done;
    gboolean        abort; /* asked for */
    vmh_error      *error;
    gboolean        post_copy; /* begun: from here on only the destination can run the guest */
    gboolean        lost;      /* the destination, in mode direct */
    job_stats       stats;
    int64_t         moved_us; /* when bytes were last seen to move */
} shared;

static shared *shared_new(vmhi_move *move)
{
    shared *s = g_new0(shared, 1);

    g_atomic_ref_count_init(&s->refs);
    g_mutex_init(&s->lock);
    g_cond_init(&s->changed);
    s->move = *move;
    move->params = NULL;
    s->moved_us = g_get_monotonic_time();
    s->move.peer_uri = g_strdup(move->peer_uri);
    virDomainRef(move->domain);
    virConnectRef(move->destination);
    return s;
}

static shared *shared_ref(shared *s)
{
    g_atomic_ref_count_inc(&s->refs);
    return s;
}

static void shared_unref(shared *s)
{
    if (!g_atomic_ref_count_dec(&s->refs))
        return;
    virTypedParamsFree(s->move.params, s->move.param_count);
    virDomainFree(s->move.domain);
    virConnectClose(s->move.destination);
    vmh_error_free(s->error);
    g_free((char *)s->move.peer_uri);
    g_cond_clear(&s->changed);
    g_mutex_clear(&s->lock);
    g_free(s);
}

/* Errors about an option name it, and say what there is to do. */
static void set_error(const vmhi_move *move, vmh_error **error)
{
    const virError *last = virGetLastError();

    if (move->post_copy && last && last->message && strstr(last->message, "ostcopy is not supported"))
        vmhi_error_set_native(error, VMH_ERR_UNSUPPORTED, VMHI_LIBVIRT, last->code, "post-copy",
                              "one of the hosts has no post-copy: %s", last->message);
    else if (last && last->code == VIR_ERR_MIGRATE_UNSAFE)
        vmhi_error_set_native(error, VMH_ERR_UNSUPPORTED, VMHI_LIBVIRT, last->code, "storage",
                              "%s; %s, or have them copied (storage=copy)", last->message,
                              strstr(last->message, "cache") ? "set disk.<id>.cache of all disks to none"
                                                             : "put the disks where both hosts see them");
    else
        vmhi_libvirt_error(error, last && last->domain == VIR_FROM_CPU ? "cpu.model" : NULL, "migrating");
}

/* libvirt's call, which returns when the migration has ended. */
static void run_move(void *data)
{
    shared          *s = data;
    const vmhi_move *m = &s->move;
    virDomainPtr     moved = NULL;
    vmh_error       *error = NULL;
    gboolean         done;

    if (m->peer_uri) {
        done = virDomainMigrateToURI3(m->domain, m->peer_uri, m->params, m->param_count, m->flags) == 0;
    } else {
        moved = virDomainMigrate3(m->domain, m->destination, m->params, m->param_count, m->flags);
        done = moved != NULL;
    }
    if (!done)
        set_error(m, &error);
    if (moved)
        virDomainFree(moved);
    g_mutex_lock(&s->lock);
    s->error = error;
    s->done = TRUE;
    g_cond_broadcast(&s->changed);
    g_mutex_unlock(&s->lock);
    shared_unref(s);
}

static uint64_t number(virTypedParameterPtr params, int count, const char *name)
{
    unsigned long long value = 0;

    return virTypedParamsGetULLong(params, count, name, &value) == 1 ? value : 0;
}

/* All is in bytes but the dirty rate, which is in pages of a size given beside it. */
static void read_stats(job_stats *stats, virTypedParameterPtr params, int count)
{
    uint64_t page = number(params, count, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE);

    stats->known = TRUE;
    stats->processed = number(params, count, VIR_DOMAIN_JOB_DATA_PROCESSED);
    stats->remaining = number(params, count, VIR_DOMAIN_JOB_DATA_REMAINING);
    stats->rate = number(params, count, VIR_DOMAIN_JOB_MEMORY_BPS) + number(params, count, VIR_DOMAIN_JOB_DISK_BPS);
    stats->downtime_ms = number(params, count, VIR_DOMAIN_JOB_DOWNTIME);
    stats->dirty_rate = number(params, count, VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE) * (page ? page : 4096);
    stats->iteration = number(params, count, VIR_DOMAIN_JOB_MEMORY_ITERATION);
}

/* FALSE when the driver has no statistics of jobs: asking again is of no use. */
static gboolean ask_stats(const shared *s, job_stats *stats)
{
    virTypedParameterPtr params = NULL;
    int                  count = 0;
    int                  type = VIR_DOMAIN_JOB_NONE;
    int                  state, reason;

    memset(stats, 0, sizeof *stats);
    if (virDomainGetJobStats(s->move.domain, &type, &params, &count, 0) < 0)
        return virGetLastErrorCode() != VIR_ERR_NO_SUPPORT;
    if (type == VIR_DOMAIN_JOB_BOUNDED || type == VIR_DOMAIN_JOB_UNBOUNDED)
        read_stats(stats, params, count);
    virTypedParamsFree(params, count);
    if (stats->known && (s->move.flags & VIR_MIGRATE_LIVE) &&
        virDomainGetState(s->move.domain, &state, &reason, 0) == 0)
        stats->switching = state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION;
    return TRUE;
}

/* What can be asked of a migration only once it runs; each again until it was taken. */
static void steer(shared *s, const job_stats *stats, gboolean *downtime_set, gboolean *post_copy)
{
    const vmhi_move *m = &s->move;

    if (!stats->known)
        return;
    if (m->downtime_ms && !*downtime_set)
        *downtime_set = virDomainMigrateSetMaxDowntime(m->domain, m->downtime_ms, 0) == 0;
    if (m->post_copy && !*post_copy && stats->iteration >= POST_COPY_PASS)
        *post_copy = virDomainMigrateStartPostCopy(m->domain, 0) == 0;
}

/* In mode direct nobody but us can end it there: without us, the source would copy on to the last byte, and fail. */
static gboolean is_lost(const vmhi_move *move)
{
    return !move->peer_uri && virConnectIsAlive(move->destination) == 0;
}

/* Under the lock. */
static void publish(shared *s, const job_stats *stats, gboolean post_copy, gboolean lost)
{
    s->post_copy = post_copy;
    s->lost = lost;
    if (!stats->known)
        return;
    if (!s->stats.known || stats->processed != s->stats.processed || stats->remaining != s->stats.remaining)
        s->moved_us = g_get_monotonic_time();
    s->stats = *stats;
}

static gboolean has_begun(const job_stats *stats)
{
    return stats->processed || stats->remaining;
}

/* Asks how far it is, often until the first bytes, as all may be over soon after; and passes an abort on; either call
 * may hang, and only this thread with it. */
static void run_poll(void *data)
{
    shared  *s = data;
    gboolean asking = TRUE, downtime_set = FALSE, post_copy = FALSE, aborted = FALSE, lost;

    g_mutex_lock(&s->lock);
    while (!s->done) {
        job_stats stats = {0};
        gboolean  abort = s->abort && !aborted;
        int64_t   pause_ms = !has_begun(&s->stats) ? FIRST_POLL_MS : abort ? WATCH_MS : POLL_MS;
        int64_t   next_us = g_get_monotonic_time() + pause_ms * 1000;

        g_mutex_unlock(&s->lock);
        if (abort) /* fails before the first byte: then again in a moment */
            aborted = virDomainAbortJob(s->move.domain) == 0;
        if (asking) {
            asking = ask_stats(s, &stats);
            steer(s, &stats, &downtime_set, &post_copy);
        }
        lost = is_lost(&s->move);
        g_mutex_lock(&s->lock);
        publish(s, &stats, post_copy, lost);
        while (!s->done && (aborted || abort || !s->abort) && g_cond_wait_until(&s->changed, &s->lock, next_us))
            ;
    }
    g_mutex_unlock(&s->lock);
    shared_unref(s);
}

static uint64_t stalled_ms(const shared *s)
{
    return (uint64_t)(g_get_monotonic_time() - s->moved_us) / 1000;
}

static int32_t phase_of(const job_stats *stats)
{
    if (!has_begun(stats))
        return VMH_PHASE_PREPARE;
    return stats->switching ? VMH_PHASE_SWITCH : VMH_PHASE_MEMORY;
}

/* Called without the lock: the task has locks of its own. */
static void report(vmhi_task *task, const job_stats *stats, uint64_t stalled)
{
    vmhi_task_progress(task, VMH_PROGRESS_PHASE, phase_of(stats));
    if (!has_begun(stats))
        return;
    vmhi_task_progress(task, VMH_PROGRESS_STALLED_MS, stalled);
    vmhi_task_progress(task, VMH_PROGRESS_BYTES_DONE, stats->processed);
    vmhi_task_progress(task, VMH_PROGRESS_BYTES_TOTAL, stats->processed + stats->remaining);
    vmhi_task_progress(task, VMH_PROGRESS_RATE, stats->rate);
    vmhi_task_progress(task, VMH_PROGRESS_DIRTY_RATE, stats->dirty_rate);
    vmhi_task_progress(task, VMH_PROGRESS_ITERATION, stats->iteration);
    if (stats->downtime_ms)
        vmhi_task_progress(task, VMH_PROGRESS_DOWNTIME_MS, stats->downtime_ms);
}

/* All that was left when it was last asked has moved since. */
static void report_all_moved(vmhi_task *task, const job_stats *stats)
{
    uint64_t total = stats->processed + stats->remaining;

    if (!total)
        return;
    vmhi_task_progress(task, VMH_PROGRESS_BYTES_DONE, total);
    vmhi_task_progress(task, VMH_PROGRESS_BYTES_TOTAL, total);
}

/* Under the lock: why it must end early, or 0. */
static int32_t reason_to_abort(const shared *s, vmhi_task *task)
{
    uint64_t limit = has_begun(&s->stats) ? s->move.stall_timeout_ms : s->move.begin_timeout_ms;

    if (!s->move.can_abort || s->post_copy)
        return 0;
    if (g_cancellable_is_cancelled(vmhi_task_cancellable(task)))
        return VMH_ERR_CANCELLED;
    if (s->lost)
        return VMH_ERR_LOST;
    if (limit && !s->stats.switching && stalled_ms(s) > limit)
        return VMH_ERR_TIMEOUT; /* not at the switch, where all has moved and the destination has its turn */
    return 0;
}

/* Watches until it is done, or did not react to an abort for too long. Returns why it was aborted, or 0. */
static int32_t watch(shared *s, vmhi_task *task, uint64_t *stalled, gboolean *begun)
{
    int32_t  why = 0;
    int64_t  abort_us = 0;
    gboolean post_copy = FALSE;

    g_mutex_lock(&s->lock);
    while (!s->done && !(why && g_get_monotonic_time() - abort_us > ABORT_WAIT_MS * 1000LL)) {
        job_stats stats = s->stats;
        uint64_t  still = stalled_ms(s);

        if (!why && (why = reason_to_abort(s, task)) != 0) {
            abort_us = g_get_monotonic_time();
            *stalled = still;
            *begun = has_begun(&stats);
            s->abort = TRUE;
            g_cond_broadcast(&s->changed);
        }
        if (s->post_copy && !post_copy)
            vmhi_task_can_cancel(task, FALSE);
        post_copy = s->post_copy;
        g_mutex_unlock(&s->lock);
        report(task, &stats, still);
        g_mutex_lock(&s->lock);
        if (!s->done)
            g_cond_wait_until(&s->changed, &s->lock, g_get_monotonic_time() + WATCH_MS * 1000);
    }
    g_mutex_unlock(&s->lock);
    return why;
}

/* What libvirt says of an aborted migration is only that it was aborted; we know why. */
static gboolean conclude(shared *s, int32_t why, uint64_t stalled, gboolean begun, job_stats *last, vmh_error **error)
{
    gboolean moved;

    g_mutex_lock(&s->lock);
    *last = s->stats;
    moved = s->done && !s->error;
    if (!s->done)
        vmhi_error_set(error, VMH_ERR_TIMEOUT, "the source does not end the migration that it was told to end");
    else if (!moved && why == VMH_ERR_CANCELLED)
        vmhi_error_set(error, why, "the migration was cancelled");
    else if (!moved && why == VMH_ERR_LOST)
        vmhi_error_set(error, why, "the connection to the destination broke, and the migration was ended");
    else if (!moved && why == VMH_ERR_TIMEOUT && !begun)
        vmhi_error_set_property(error, why, "call.timeout",
                                "the migration was ended: it had not begun after %" G_GUINT64_FORMAT " ms", stalled);
    else if (!moved && why == VMH_ERR_TIMEOUT)
        vmhi_error_set_property(error, why, "stall.timeout",
                                "the migration was ended: nothing had moved for %" G_GUINT64_FORMAT " ms", stalled);
    else if (!moved)
        vmhi_error_move(error, g_steal_pointer(&s->error));
    g_mutex_unlock(&s->lock);
    return moved;
}

gboolean vmhi_move_run(vmhi_move *move, vmhi_task *task, vmh_error **error)
{
    shared   *s = shared_new(move);
    job_stats last;
    uint64_t  stalled = 0;
    int32_t   why;
    gboolean  begun = FALSE, done;

    vmhi_task_can_cancel(task, move->can_abort);
    vmhi_thread_run(run_move, shared_ref(s));
    vmhi_thread_run(run_poll, shared_ref(s));
    why = watch(s, task, &stalled, &begun);
    done = conclude(s, why, stalled, begun, &last, error);
    if (done)
        report_all_moved(task, &last);
    shared_unref(s);
    return done;
}
