/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Takes frames through a driver that may not answer: waits a bounded time, and falls back on the last frame. */
#include "api/sampling.h"
#include "model/thread.h"
#include <string.h>

enum { MAX_UNDER_WAY = 3, MAX_RECENT = 8 };

/* The newest frame of one choice of columns. */
typedef struct {
    vmh_frame *frame;
    int64_t    started_us;
} recent_frame;

/* One call of the driver, shared by who waits for it and the thread that makes it. */
typedef struct {
    int                refs;
    vmhi_sampling     *sampling;
    const vmhi_driver *driver;
    vmhi_driver_host  *host;
    void (*drop)(void *owner);
    void        *owner;
    vmhi_wanted *wanted;
    int64_t      started_us;
    gboolean     done;
    gboolean     overdue;
    vmh_frame   *frame;
    vmh_error   *error;
} call;

static void recent_free(void *data)
{
    recent_frame *recent = data;

    vmh_frame_unref(recent->frame);
    g_free(recent);
}

void vmhi_sampling_init(vmhi_sampling *sampling)
{
    memset(sampling, 0, sizeof *sampling);
    g_mutex_init(&sampling->lock);
    g_cond_init(&sampling->changed);
    g_queue_init(&sampling->recent);
}

void vmhi_sampling_clear(vmhi_sampling *sampling)
{
    g_queue_clear_full(&sampling->recent, recent_free);
    g_cond_clear(&sampling->changed);
    g_mutex_clear(&sampling->lock);
}

/* Under the lock: the entry of these columns, moved to the front, or NULL. */
static recent_frame *find_recent(vmhi_sampling *sampling, const vmhi_wanted *wanted)
{
    for (GList *link = sampling->recent.head; link; link = link->next) {
        recent_frame *recent = link->data;
        if (strcmp(vmhi_wanted_text(vmhi_frame_wanted(recent->frame)), vmhi_wanted_text(wanted)) == 0) {
            g_queue_unlink(&sampling->recent, link);
            g_queue_push_head_link(&sampling->recent, link);
            return recent;
        }
    }
    return NULL;
}

static vmh_frame *last_frame(vmhi_sampling *sampling, const vmhi_wanted *wanted)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&sampling->lock);
    recent_frame                  *recent = find_recent(sampling, wanted);

    return recent ? vmh_frame_ref(recent->frame) : NULL;
}

/* A call that was begun earlier does not replace what a later one brought. */
static void remember(vmhi_sampling *sampling, vmh_frame *frame, int64_t started_us)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&sampling->lock);
    recent_frame                  *recent = find_recent(sampling, vmhi_frame_wanted(frame));

    if (!recent) {
        recent = g_new0(recent_frame, 1);
        g_queue_push_head(&sampling->recent, recent);
        if (sampling->recent.length > MAX_RECENT)
            recent_free(g_queue_pop_tail(&sampling->recent));
    } else if (recent->started_us > started_us) {
        return;
    }
    vmh_frame_unref(recent->frame);
    recent->frame = vmh_frame_ref(frame);
    recent->started_us = started_us;
}

/* Calls the driver, however long that takes, and remembers what it brought. */
static vmh_frame *sample(vmhi_sampling *sampling, const vmhi_driver *driver, vmhi_driver_host *host,
                         const vmhi_wanted *wanted, int64_t started_us, vmh_error **error)
{
    g_autoptr(vmh_frame) previous = last_frame(sampling, wanted);
    g_autoptr(vmh_frame) frame = vmhi_frame_new(wanted, previous ? vmh_frame_rows(previous) + 16 : 256);

    if (!driver->sample(host, frame, error))
        return NULL;
    vmhi_frame_finish(frame, previous, g_get_monotonic_time());
    remember(sampling, frame, started_us);
    return g_steal_pointer(&frame);
}

static void call_unref(call *c)
{
    if (!g_atomic_int_dec_and_test(&c->refs))
        return;
    vmhi_wanted_free(c->wanted);
    vmh_frame_unref(c->frame);
    vmh_error_free(c->error);
    g_free(c);
}

/* On a thread of its own. The owner goes last, and the sampling perhaps with it. */
static void run_call(void *data)
{
    call          *c = data;
    vmhi_sampling *sampling = c->sampling;
    void (*drop)(void *) = c->drop;
    void      *owner = c->owner;
    vmh_error *error = NULL;
    vmh_frame *frame = sample(sampling, c->driver, c->host, c->wanted, c->started_us, &error);

    g_mutex_lock(&sampling->lock);
    c->frame = frame;
    c->error = error;
    c->done = TRUE;
    sampling->under_way--;
    if (c->overdue)
        sampling->overdue--;
    g_cond_broadcast(&sampling->changed);
    g_mutex_unlock(&sampling->lock);
    call_unref(c);
    drop(owner);
}

/* Under the lock: waits for a turn. FALSE: no turn in time, or all calls hang and none is to be hoped for. */
static gboolean wait_turn(vmhi_sampling *sampling, int64_t deadline_us)
{
    while (sampling->under_way >= MAX_UNDER_WAY) {
        if (sampling->overdue >= MAX_UNDER_WAY)
            return FALSE;
        if (!g_cond_wait_until(&sampling->changed, &sampling->lock, deadline_us))
            return FALSE;
    }
    sampling->under_way++;
    return TRUE;
}

/* Under the lock: what the call brought. FALSE when it goes on without us. */
static gboolean wait_call(vmhi_sampling *sampling, call *c, int64_t deadline_us)
{
    while (!c->done && g_cond_wait_until(&sampling->changed, &sampling->lock, deadline_us))
        ;
    if (c->done)
        return TRUE;
    c->overdue = TRUE;
    sampling->overdue++;
    g_cond_broadcast(&sampling->changed);
    return FALSE;
}

/* Runs the call on a thread and waits. TRUE: it has ended, and c->frame or c->error tells how. */
static gboolean run_until(call *c, void (*keep)(void *), int64_t deadline_us)
{
    vmhi_sampling *sampling = c->sampling;
    gboolean       turn, ended;

    g_mutex_lock(&sampling->lock);
    turn = wait_turn(sampling, deadline_us);
    g_mutex_unlock(&sampling->lock);
    if (!turn)
        return FALSE;
    keep(c->owner);
    c->started_us = g_get_monotonic_time();
    g_atomic_int_inc(&c->refs);
    vmhi_thread_run(run_call, c);
    g_mutex_lock(&sampling->lock);
    ended = wait_call(sampling, c, deadline_us);
    g_mutex_unlock(&sampling->lock);
    return ended;
}

static vmh_frame *fall_back(vmhi_sampling *sampling, const vmhi_wanted *wanted, int64_t timeout_ms, vmh_error **error)
{
    g_autoptr(vmh_frame) last = last_frame(sampling, wanted);

    if (last)
        return vmhi_frame_aged(last, g_get_monotonic_time());
    vmhi_error_set(error, VMH_ERR_TIMEOUT,
                   "the host gave no metrics within %" G_GINT64_FORMAT
                   " ms (option sample.timeout), and there is no earlier frame",
                   timeout_ms);
    return NULL;
}

vmh_frame *vmhi_sampling_take(vmhi_sampling *sampling, const vmhi_driver *driver, vmhi_driver_host *host,
                              gboolean in_process, const char *columns, int64_t timeout_ms, void (*keep)(void *owner),
                              void (*drop)(void *owner), void *owner, vmh_error **error)
{
    int64_t      now = g_get_monotonic_time();
    vmhi_wanted *wanted = vmhi_wanted_new(columns, error);
    vmh_frame   *frame;
    call        *c;

    if (!wanted)
        return NULL;
    if (in_process) {
        frame = sample(sampling, driver, host, wanted, now, error);
        vmhi_wanted_free(wanted);
        return frame;
    }
    c = g_new0(call, 1);
    *c = (call){.refs = 1,
                .sampling = sampling,
                .driver = driver,
                .host = host,
                .drop = drop,
                .owner = owner,
                .wanted = wanted};
    if (run_until(c, keep, now + timeout_ms * 1000)) {
        frame = g_steal_pointer(&c->frame);
        if (!frame)
            vmhi_error_move(error, g_steal_pointer(&c->error));
    } else {
        frame = fall_back(sampling, wanted, timeout_ms, error);
    }
    call_unref(c);
    return frame;
}
