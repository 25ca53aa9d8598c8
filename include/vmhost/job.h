/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A job is one verb under way: wait for it, watch it, cancel it. It ends exactly once. */
#ifndef VMHOST_JOB_H
#define VMHOST_JOB_H

#include <vmhost/base.h>

VMH_BEGIN_DECLS

VMH_API vmh_job *vmh_job_ref(vmh_job *job);
/* Dropping a job does not cancel it. */
VMH_API void vmh_job_unref(vmh_job *job);

/* A number that no other job of this process has; events name jobs by it. Since 0.1. */
VMH_API uint64_t vmh_job_id(const vmh_job *job);

/* "vm.start", "vm.migrate" and so on. Borrowed. Since 0.1. */
VMH_API const char *vmh_job_verb(const vmh_job *job);

/* The VM it works on, or NULL; of a create, none before it has ended. With a reference. Since 0.1. */
VMH_API vmh_vm *vmh_job_vm(const vmh_job *job);

/*
 * Waits until the job has ended. timeout_ms: negative waits for ever, 0 only looks. 0 when the job
 * succeeded, the code of its error when it failed, VMH_ERR_TIMEOUT with vmh_job_done() still 0 when the
 * time is up first: the job goes on. (A job that got no reply within the host's call.timeout has itself
 * ended with VMH_ERR_TIMEOUT.) Since 0.1.
 */
VMH_API int32_t vmh_job_wait(vmh_job *job, int64_t timeout_ms, vmh_error **error);

/*
 * Waits as above, then drops the job, ended or not. Given NULL, as a verb that failed returns it, it
 * fails with the code of *error, which it keeps. Since 0.1.
 */
VMH_API int32_t vmh_job_finish(vmh_job *job, int64_t timeout_ms, vmh_error **error);

/* 1 when it has ended. Since 0.1. */
VMH_API int32_t vmh_job_done(const vmh_job *job);

/*
 * Asks it to end early. The job still ends, once: with VMH_ERR_CANCELLED, or as it would have when it was
 * too late. Idempotent. VMH_ERR_UNSUPPORTED when it is under way and cannot be stopped there. Since 0.1.
 */
VMH_API int32_t vmh_job_cancel(vmh_job *job, vmh_error **error);

/* What can be read of a job while it runs. Since 0.1. */
enum {
    VMH_PROGRESS_PHASE = 1, /* VMH_PHASE_… */
    VMH_PROGRESS_BYTES_DONE = 2,
    VMH_PROGRESS_BYTES_TOTAL = 3, /* may grow: a guest writes while it moves */
    VMH_PROGRESS_RATE = 4,        /* bytes a second */
    VMH_PROGRESS_STALLED_MS = 5,  /* for so long nothing has moved */
    VMH_PROGRESS_DOWNTIME_MS = 6, /* expected; after the end: measured */
    VMH_PROGRESS_DIRTY_RATE = 7,  /* bytes a second that the guest writes */
    VMH_PROGRESS_ITERATION = 8,   /* passes over the memory */
    VMH_PROGRESS_ELAPSED_MS = 9   /* since the job was asked for */
};

enum {
    VMH_PHASE_QUEUED = 0, /* behind another job of its VM */
    VMH_PHASE_RUNNING = 1,
    VMH_PHASE_PREPARE = 2, /* a migration before its first byte */
    VMH_PHASE_MEMORY = 3,  /* memory is copied, the guest runs */
    VMH_PHASE_SWITCH = 4,  /* the guest stands still and changes sides */
    VMH_PHASE_DONE = 5
};

/*
 * 0 and the value, or VMH_ERR_NOT_SET when the job has none (yet), VMH_ERR_ARGUMENT for an unknown field.
 * Never blocks. Since 0.1.
 */
VMH_API int32_t vmh_job_progress(const vmh_job *job, int32_t field, uint64_t *value, vmh_error **error);

/* The VM that a create made or a migration moved, with a reference; NULL before the end. Since 0.1. */
VMH_API vmh_vm *vmh_job_result_vm(const vmh_job *job);

/* What became of each property of an update. Since 0.1. */
enum {
    VMH_VERDICT_APPLIED = 1,
    VMH_VERDICT_AFTER_RESTART = 2, /* kept for the next start; what runs now is as it was */
    VMH_VERDICT_UNCHANGED = 3,     /* it had this value */
    VMH_VERDICT_REFUSED = 4        /* the reason says why */
};

/*
 * The verdicts of an update, after its end, one a property: their number, and of each the path, the
 * VMH_VERDICT_… and the reason or NULL. Borrowed from the job. An index too high gives NULL or 0. Since 0.1.
 */
VMH_API size_t      vmh_job_verdict_count(const vmh_job *job);
VMH_API const char *vmh_job_verdict_property(const vmh_job *job, size_t index);
VMH_API int32_t     vmh_job_verdict(const vmh_job *job, size_t index);
VMH_API const char *vmh_job_verdict_reason(const vmh_job *job, size_t index);

VMH_END_DECLS
#endif
