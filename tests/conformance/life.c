/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Behaviours of the verbs that change a VM's state, in the right state and in the wrong one. */
#include "conformance.h"

#include <string.h>

typedef vmh_job *(*verb)(vmh_vm *vm, uint64_t flags, vmh_error **error);

static void starts_and_stops(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);

    EXPECT(s, vm);
    EXPECT_OK(s, vmh_vm_start(vm, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_RUNNING);
    EXPECT_OK(s, vmh_vm_stop(vm, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_STOPPED);
    EXPECT_OK(s, vmh_vm_start(vm, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_RUNNING);
    stage_remove(s, vm);
}

static void starts_paused(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);

    EXPECT(s, vm);
    if (vmh_job_finish(vmh_vm_start(vm, VMH_START_PAUSED, stage_error(s)), PATIENCE_MS, &s->error) < 0 &&
        stage_lacks(s))
        EXPECT(s, vmh_vm_state(vm) == VMH_VM_STOPPED);
    else
        EXPECT(s, vmh_vm_state(vm) == VMH_VM_PAUSED);
    stage_remove(s, vm);
}

static void pauses_and_resumes(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);

    EXPECT(s, vm);
    EXPECT_OK(s, vmh_vm_pause(vm, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_PAUSED);
    EXPECT_OK(s, vmh_vm_resume(vm, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_RUNNING);
    EXPECT_OK(s, vmh_vm_pause(vm, 0, stage_error(s)));
    EXPECT_OK(s, vmh_vm_stop(vm, 0, stage_error(s))); /* a paused VM stops as well */
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_STOPPED);
    stage_remove(s, vm);
}

static void resets(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);

    EXPECT(s, vm);
    EXPECT_OK(s, vmh_vm_reset(vm, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_RUNNING);
    stage_remove(s, vm);
}

static void asks_to_shut_down(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);

    EXPECT(s, vm);
    EXPECT_OK(s, vmh_vm_shutdown(vm, 0, stage_error(s))); /* ends when asked, whatever the guest does */
    stage_remove(s, vm);
}

static void asks_to_restart(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);

    EXPECT(s, vm);
    EXPECT_OK(s, vmh_vm_reboot(vm, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_RUNNING);
    stage_remove(s, vm);
}

/* --- wrong states --- */

static vmh_vm *in_state(stage *s, int32_t state)
{
    return state == VMH_VM_PAUSED ? stage_paused_vm(s) : stage_vm(s, state == VMH_VM_RUNNING ? VMH_CREATE_START : 0);
}

/* The verb is refused in this state with an error that names it, and nothing changes. */
static void refused_when(stage *s, verb act, int32_t state)
{
    g_autoptr(vmh_vm) vm = in_state(s, state);
    g_autoptr(vmh_spec) before = vm ? vmh_vm_describe(vm, 0, stage_error(s)) : NULL;
    g_autoptr(vmh_spec) after = NULL;

    EXPECT(s, vm && before && vmh_vm_state(vm) == state);
    EXPECT_FAILS(s, VMH_ERR_STATE, act(vm, 0, stage_error(s)));
    EXPECT(s, strstr(vmh_error_message(s->error), vmh_vm_state_name(state)));
    EXPECT(s, !vmh_error_retryable(s->error));
    EXPECT(s, vmh_vm_state(vm) == state);
    EXPECT_OK(s, vmh_host_refresh(s->host, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == state);
    after = vmh_vm_describe(vm, 0, stage_error(s));
    EXPECT(s, after);
    if (stage_same(s, before, after, NULL))
        stage_remove(s, vm);
}

static void no_start_when_running(stage *s)
{
    refused_when(s, vmh_vm_start, VMH_VM_RUNNING);
}

static void no_start_when_paused(stage *s)
{
    refused_when(s, vmh_vm_start, VMH_VM_PAUSED);
}

static void no_pause_when_stopped(stage *s)
{
    refused_when(s, vmh_vm_pause, VMH_VM_STOPPED);
}

static void pauses_what_is_paused(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_paused_vm(s);

    EXPECT(s, vm);
    EXPECT_OK(s, vmh_vm_pause(vm, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_PAUSED);
    stage_remove(s, vm);
}

static void no_resume_when_stopped(stage *s)
{
    refused_when(s, vmh_vm_resume, VMH_VM_STOPPED);
}

static void resumes_what_runs(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);

    EXPECT(s, vm);
    EXPECT_OK(s, vmh_vm_resume(vm, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_RUNNING);
    stage_remove(s, vm);
}

static void no_shutdown_when_stopped(stage *s)
{
    refused_when(s, vmh_vm_shutdown, VMH_VM_STOPPED);
}

static void no_reboot_when_stopped(stage *s)
{
    refused_when(s, vmh_vm_reboot, VMH_VM_STOPPED);
}

static void no_reset_when_stopped(stage *s)
{
    refused_when(s, vmh_vm_reset, VMH_VM_STOPPED);
}

static void no_stop_when_stopped(stage *s)
{
    refused_when(s, vmh_vm_stop, VMH_VM_STOPPED);
}

static void no_delete_when_paused(stage *s)
{
    refused_when(s, vmh_vm_delete, VMH_VM_PAUSED);
}

static void no_unknown_flags(stage *s)
{
    static const verb verbs[] = {vmh_vm_start,  vmh_vm_pause, vmh_vm_resume, vmh_vm_shutdown,
                                 vmh_vm_reboot, vmh_vm_reset, vmh_vm_stop,   vmh_vm_delete};
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);

    EXPECT(s, vm);
    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
        EXPECT_FAILS(s, VMH_ERR_ARGUMENT, verbs[i](vm, UINT64_C(1) << 40, stage_error(s)));
        EXPECT(s, strstr(vmh_error_message(s->error), "0x10000000000"));
    }
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_STOPPED);
    stage_remove(s, vm);
}

static void no_migration_to_itself(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);

    EXPECT(s, vm);
    EXPECT_FAILS(s, VMH_ERR_ARGUMENT, vmh_vm_migrate(vm, s->host, NULL, 0, stage_error(s)));
    EXPECT_FAILS(s, VMH_ERR_ARGUMENT, vmh_vm_migrate(vm, s->other, NULL, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_RUNNING);
    stage_remove(s, vm);
}

const behaviour life_behaviours[] = {
    {"start", "vm.start,vm.stop", starts_and_stops, "a stopped VM starts, stops, and starts again"},
    {"start.paused", "vm.start,vm.pause", starts_paused, "with PAUSED its vCPUs wait"},
    {"pause", "vm.pause,vm.resume,vm.stop", pauses_and_resumes,
     "a running VM pauses, goes on, and stops when paused"},
    {"pause.again", "vm.pause", pauses_what_is_paused, "pause of a paused VM succeeds: there is nothing to do"},
    {"resume.again", "vm.resume", resumes_what_runs, "resume of a running VM succeeds: there is nothing to do"},
    {"reset", "vm.reset,vm.start", resets, "a reset VM runs"},
    {"shutdown", "vm.shutdown,vm.start", asks_to_shut_down, "shutdown ends when the guest was asked"},
    {"reboot", "vm.reboot,vm.start", asks_to_restart, "reboot ends when the guest was asked, and the VM runs"},
    {"state.start.running", "vm.start", no_start_when_running, "start of a running VM: wrong state, nothing changes"},
    {"state.start.paused", "vm.start,vm.pause", no_start_when_paused, "start of a paused VM: the same"},
    {"state.pause.stopped", "vm.pause", no_pause_when_stopped, "pause of a stopped VM: the same"},
    {"state.resume.stopped", "vm.resume", no_resume_when_stopped, "resume of a stopped VM: the same"},
    {"state.shutdown.stopped", "vm.shutdown", no_shutdown_when_stopped, "shutdown of a stopped VM: the same"},
    {"state.reboot.stopped", "vm.reboot", no_reboot_when_stopped, "reboot of a stopped VM: the same"},
    {"state.reset.stopped", "vm.reset", no_reset_when_stopped, "reset of a stopped VM: the same"},
    {"state.stop.stopped", "vm.stop", no_stop_when_stopped, "stop of a stopped VM: the same"},
    {"state.delete.paused", "vm.delete,vm.pause", no_delete_when_paused, "delete of a paused VM: the same"},
    {"verbs.flags", NULL, no_unknown_flags, "an unknown flag is refused by each verb, which shows it"},
    {"migrate.itself", "vm.migrate,vm.start", no_migration_to_itself, "migration to the same host is refused"},
    {NULL, NULL, NULL, NULL},
};
