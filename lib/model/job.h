/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Jobs: work that runs on a thread, in the order of its VM, until its end or its deadline. */
#pragma once

#include "driver.h"
#include <vmhost/event.h>

/* Jobs of one VM wait for one another here. */
typedef struct {
    GMutex   lock;
    GQueue   waiting; /* vmh_job, each with a reference */
    gboolean busy;
} vmhi_lane;

void vmhi_lane_init(vmhi_lane *lane);
void vmhi_lane_clear(vmhi_lane *lane);

/* What a job does: its result, for which free_result is, or NULL; it failed when *error is set. */
typedef void *(*vmhi_work)(void *data, vmh_job *job, vmh_error **error);

/* Told of each progress and of the end: VMH_EVENT_JOB_PROGRESS or VMH_EVENT_JOB_DONE. */
typedef void (*vmhi_job_watch)(void *data, vmh_job *job, int32_t event);

typedef struct {
    const char    *verb; /* constant */
    vmhi_work      work;
    void          *data;
    GDestroyNotify free_data;
    GDestroyNotify free_result;
    vmhi_job_watch watch; /* or NULL; gets data */
    gboolean       can_cancel;
} vmhi_job_spec;

typedef struct {
    char   *property;
    int32_t verdict;
    char   *reason;
} vmhi_verdict_entry;

struct vmh_job {
    gatomicrefcount refs;
    uint64_t        id;
    vmhi_job_spec   spec;
    GMutex          lock; /* guards what follows */
    GCond           changed;
    guint           waiters;
    gboolean        started;
    gboolean        ending; /* nothing of it changes any more */
    gboolean        ended;  /* and everybody was told */
    gboolean        can_cancel;
    GCancellable   *cancellable; /* made when first needed */
    vmh_error      *error;       /* of an ending job; constant from then on */
    void           *result;
    uint64_t        progress[VMH_PROGRESS_ELAPSED_MS];
    unsigned        progress_known; /* bits by field */
    gint64          born_us;
    gint64          ended_us;
    vmhi_lane      *lane; /* while it must still make room there */
    GSource        *deadline;
    const char     *meaning; /* of the deadline: what is known when it has passed; constant */
    GPtrArray      *verdicts; /* of vmhi_verdict_entry, or NULL */
};

vmh_job *vmhi_job_new(const vmhi_job_spec *spec);

/* Runs it in this thread: for hosts that cannot make anybody wait. */
void vmhi_job_run_here(vmh_job *job);

/*
 * Runs it on a thread of the pool. lane: after the others of this lane, or NULL. deadline_ms: when it has not ended
 * by then it ends with VMH_ERR_TIMEOUT, its lane goes on, and what its thread brings later is dropped; 0: none.
 */
void vmhi_job_run(vmh_job *job, vmhi_lane *lane, guint deadline_ms);

/*
 * Ends it now unless it has ended: FALSE then. Takes error (NULL: success) and result, and frees what it does not
 * keep.
 */
gboolean vmhi_job_end(vmh_job *job, void *result, vmh_error *error);

/* Ends it with this error (taken) unless it has begun or ended: FALSE then. From TRUE on, it never begins. */
gboolean vmhi_job_end_unstarted(vmh_job *job, vmh_error *error);

/* The result, no longer the job's; NULL when there is none or somebody has it. */
void *vmhi_job_steal_result(vmh_job *job);

/* The value of one field; FALSE when it has none yet. */
gboolean vmhi_job_read(vmh_job *job, int32_t field, uint64_t *value);

static inline vmhi_task *vmhi_job_task(vmh_job *job)
{
    return (vmhi_task *)job; /* what a driver sees of it */
}

static inline vmhi_verdicts *vmhi_job_verdicts(vmh_job *job)
{
    return (vmhi_verdicts *)job;
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_job, vmh_job_unref)
