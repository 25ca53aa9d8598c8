/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Behaviours of jobs: they end once, are waited for in any way, and run in the order of their VM. */
#include "conformance.h"

#include <string.h>

static void passes_an_error_through(stage *s)
{
    vmh_job *job = vmh_vm_start(NULL, 0, stage_error(s));

    EXPECT(s, !job && vmh_error_code(s->error) == VMH_ERR_ARGUMENT);
    EXPECT(s, vmh_job_finish(job, -1, &s->error) == VMH_ERR_ARGUMENT);
    EXPECT(s, strstr(vmh_error_message(s->error), "vm is NULL"));
}

static void does_nothing_after_an_error(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autofree char *first = NULL;
    vmh_job         *job;

    EXPECT(s, vm);
    EXPECT(s, vmh_host_find_vm(s->host, "nobody-of-this-name", stage_error(s)) == NULL);
    first = g_strdup(vmh_error_message(s->error));
    job = vmh_vm_start(vm, 0, &s->error);
    EXPECT(s, job == NULL);
    EXPECT(s, vmh_job_finish(job, -1, &s->error) == VMH_ERR_NOT_FOUND);
    EXPECT(s, strcmp(vmh_error_message(s->error), first) == 0);
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_STOPPED);
    stage_remove(s, vm);
}

static void is_looked_at_without_waiting(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autoptr(vmh_job) job = vm ? vmh_vm_start(vm, 0, stage_error(s)) : NULL;
    int32_t code;

    EXPECT(s, job);
    code = vmh_job_wait(job, 0, NULL);
    EXPECT(s, code == 0 || code == VMH_ERR_TIMEOUT);
    EXPECT(s, vmh_job_wait(job, PATIENCE_MS, stage_error(s)) == 0); /* the time-out was no cancel */
    EXPECT(s, vmh_job_done(job) == 1 && vmh_vm_state(vm) == VMH_VM_RUNNING);
    stage_remove(s, vm);
}

static void ends_once(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autoptr(vmh_job) job = vm ? vmh_vm_pause(vm, 0, stage_error(s)) : NULL;
    g_autofree char *message = NULL;

    EXPECT(s, job);
    EXPECT(s, vmh_job_wait(job, PATIENCE_MS, stage_error(s)) == VMH_ERR_STATE);
    message = g_strdup(vmh_error_message(s->error));
    EXPECT(s, vmh_job_wait(job, 0, stage_error(s)) == VMH_ERR_STATE);
    EXPECT(s, strcmp(vmh_error_message(s->error), message) == 0);
    EXPECT(s, vmh_job_wait(job, -1, NULL) == VMH_ERR_STATE);
    stage_remove(s, vm);
}

static void is_cancelled_too_late(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autoptr(vmh_job) job = vm ? vmh_vm_start(vm, 0, stage_error(s)) : NULL;

    EXPECT(s, job && vmh_job_wait(job, PATIENCE_MS, stage_error(s)) == 0);
    EXPECT(s, vmh_job_cancel(job, stage_error(s)) == 0);
    EXPECT(s, vmh_job_cancel(job, stage_error(s)) == 0);
    EXPECT(s, vmh_job_wait(job, 0, stage_error(s)) == 0);
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_RUNNING);
    stage_remove(s, vm);
}

static void tells_what_it_is(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "job");
    g_autoptr(vmh_job) create = vmh_host_create_vm(s->host, spec, 0, stage_error(s));
    g_autoptr(vmh_job) start = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    g_autoptr(vmh_vm) its = NULL;
    g_autoptr(vmh_vm) none = NULL;

    EXPECT(s, create && strcmp(vmh_job_verb(create), "host.create") == 0);
    EXPECT(s, vmh_job_wait(create, PATIENCE_MS, stage_error(s)) == 0);
    vm = vmh_job_result_vm(create);
    EXPECT(s, vm);
    start = vmh_vm_start(vm, 0, stage_error(s));
    EXPECT(s, start && strcmp(vmh_job_verb(start), "vm.start") == 0);
    its = vmh_job_vm(start);
    none = vmh_job_result_vm(start);
    EXPECT(s, its && strcmp(vmh_vm_uuid(its), vmh_vm_uuid(vm)) == 0 && !none);
    EXPECT(s, vmh_job_id(create) != 0 && vmh_job_id(start) > vmh_job_id(create));
    EXPECT(s, vmh_job_wait(start, PATIENCE_MS, stage_error(s)) == 0);
    stage_remove(s, vm);
}

static void tells_its_progress(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autoptr(vmh_job) job = vm ? vmh_vm_start(vm, 0, stage_error(s)) : NULL;
    uint64_t phase = 99, elapsed = UINT64_MAX, value = 7;

    EXPECT(s, job && vmh_job_wait(job, PATIENCE_MS, stage_error(s)) == 0);
    EXPECT(s, vmh_job_progress(job, VMH_PROGRESS_PHASE, &phase, stage_error(s)) == 0 && phase == VMH_PHASE_DONE);
    EXPECT(s, vmh_job_progress(job, VMH_PROGRESS_ELAPSED_MS, &elapsed, stage_error(s)) == 0);
    EXPECT(s, elapsed < PATIENCE_MS);
    EXPECT(s, vmh_job_progress(job, VMH_PROGRESS_DIRTY_RATE, &value, stage_error(s)) == VMH_ERR_NOT_SET);
    EXPECT(s, vmh_job_progress(job, 99, &value, stage_error(s)) == VMH_ERR_ARGUMENT && value == 7);
    EXPECT(s, vmh_job_progress(job, 0, &value, stage_error(s)) == VMH_ERR_ARGUMENT && value == 7);
    stage_remove(s, vm);
}

static void runs_in_order(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    vmh_job *jobs[4];
    int32_t  codes[4];

    EXPECT(s, vm);
    jobs[0] = vmh_vm_start(vm, 0, NULL);
    jobs[1] = vmh_vm_pause(vm, 0, NULL);
    jobs[2] = vmh_vm_resume(vm, 0, NULL);
    jobs[3] = vmh_vm_pause(vm, 0, NULL);
    for (guint i = 0; i < 4; i++)
        codes[i] = vmh_job_finish(jobs[3 - i], PATIENCE_MS, stage_error(s)); /* the last first */
    EXPECT(s, codes[0] == 0 && codes[1] == 0 && codes[2] == 0 && codes[3] == 0);
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_PAUSED);
    stage_remove(s, vm);
}

static void goes_on_unwatched(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);

    EXPECT(s, vm);
    vmh_job_unref(vmh_vm_start(vm, 0, stage_error(s)));
    EXPECT(s, test_wait_state(vm, VMH_VM_RUNNING, PATIENCE_MS));
    stage_remove(s, vm);
}

const behaviour job_behaviours[] = {
    {"job.null", NULL, passes_an_error_through, "finish takes the NULL of a failed verb and keeps the error"},
    {"job.error", "host.create", does_nothing_after_an_error, "a call given an error does nothing and keeps it"},
    {"job.look", "vm.start", is_looked_at_without_waiting, "a time-out is not a cancel"},
    {"job.once", "vm.pause", ends_once, "a job waited for again says the same"},
    {"job.cancel.late", "vm.start", is_cancelled_too_late, "a job that has ended is not cancelled"},
    {"job.what", "host.create,vm.start", tells_what_it_is, "verb, number, VM and result are told"},
    {"job.progress", "vm.start", tells_its_progress, "phase and time are told, unknown fields refused"},
    {"job.order", "vm.start,vm.pause,vm.resume", runs_in_order, "jobs of one VM run as they were asked for"},
    {"job.unref", "vm.start", goes_on_unwatched, "a dropped job goes on"},
    {NULL, NULL, NULL, NULL},
};
