/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Behaviours of changing a VM: now, for the next start, or both, and never behind somebody's back. */
#include "conformance.h"

#include <string.h>

/* One update and what came of it. */
typedef struct {
    vmh_job *job;
    int32_t  code;
} outcome;

static void outcome_clear(outcome *o)
{
    vmh_job_unref(o->job);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(outcome, outcome_clear)

static outcome update(stage *s, vmh_vm *vm, const vmh_spec *change, uint64_t flags, uint64_t generation)
{
    outcome o = {.job = vmh_vm_update(vm, change, flags, generation, stage_error(s))};

    o.code = vmh_job_wait(o.job, PATIENCE_MS, &s->error);
    return o;
}

static outcome update_one(stage *s, vmh_vm *vm, const char *path, const char *text, uint64_t flags)
{
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);

    if (vmh_spec_set(change, path, text, stage_error(s)) < 0)
        return (outcome){.code = vmh_error_code(s->error)};
    return update(s, vm, change, flags, 0);
}

static int32_t verdict(const outcome *o, const char *path)
{
    for (size_t i = 0; o->job && i < vmh_job_verdict_count(o->job); i++)
        if (g_strcmp0(vmh_job_verdict_property(o->job, i), path) == 0)
            return vmh_job_verdict(o->job, i);
    return 0;
}

static const char *reason(const outcome *o, const char *path)
{
    for (size_t i = 0; o->job && i < vmh_job_verdict_count(o->job); i++)
        if (g_strcmp0(vmh_job_verdict_property(o->job, i), path) == 0)
            return vmh_job_verdict_reason(o->job, i);
    return NULL;
}

/* The value that a VM has, as text; "" when it has none. */
static char *value(stage *s, vmh_vm *vm, const char *path, uint64_t flags)
{
    g_autoptr(vmh_spec) spec = vmh_vm_describe(vm, flags, stage_error(s));

    return spec ? test_text(spec, path) : g_strdup(vmh_error_message(s->error));
}

static gboolean has(stage *s, vmh_vm *vm, const char *path, const char *text, uint64_t flags)
{
    g_autofree char *got = value(s, vm, path, flags);

    if (strcmp(got, text) == 0)
        return TRUE;
    stage_fail(s, __FILE__, __LINE__, "%s is \"%.200s\" and was to be \"%s\"", path, got, text);
    return FALSE;
}

static void changes_a_stopped_one(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    o = update_one(s, vm, "memory.size", "48MiB", 0);
    EXPECT(s, o.code == 0 && verdict(&o, "memory.size") == VMH_VERDICT_APPLIED);
    EXPECT(s, vmh_job_verdict_count(o.job) == 1);
    if (has(s, vm, "memory.size", "48MiB", 0) && has(s, vm, "cpu.count", "1", 0))
        stage_remove(s, vm);
}

static void changes_several_at_once(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    vmh_spec_set(change, "memory.max", "128MiB", NULL);
    vmh_spec_set(change, "memory.size", "96MiB", NULL);
    vmh_spec_set(change, "title", "several", NULL);
    o = update(s, vm, change, VMH_UPDATE_PERSIST, 0);
    EXPECT(s, o.code == 0 && vmh_job_verdict_count(o.job) == 3);
    if (has(s, vm, "memory.max", "128MiB", 0) && has(s, vm, "memory.size", "96MiB", 0) &&
        has(s, vm, "title", "several", 0))
        stage_remove(s, vm);
}

static void tells_what_is_unchanged(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    o = update_one(s, vm, "memory.size", "64MiB", 0);
    EXPECT(s, o.code == 0 && verdict(&o, "memory.size") == VMH_VERDICT_UNCHANGED);
    stage_remove(s, vm);
}

static void tries_dry(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    o = update_one(s, vm, "memory.size", "48MiB", VMH_UPDATE_DRY_RUN);
    EXPECT(s, o.code == 0 && verdict(&o, "memory.size") == VMH_VERDICT_APPLIED);
    if (has(s, vm, "memory.size", "64MiB", 0))
        stage_remove(s, vm);
}

static void changes_all_or_nothing(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    g_autofree char *uuid = g_uuid_string_random();
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    vmh_spec_set(change, "memory.size", "48MiB", NULL);
    vmh_spec_set(change, "uuid", uuid, NULL); /* the identity of a VM never changes */
    o = update(s, vm, change, 0, 0);
    EXPECT(s, o.code < 0 && verdict(&o, "uuid") == VMH_VERDICT_REFUSED && reason(&o, "uuid"));
    EXPECT(s, g_strcmp0(vmh_error_property(s->error), "uuid") == 0);
    if (has(s, vm, "memory.size", "64MiB", 0))
        stage_remove(s, vm);
}

/* A VM that runs and has room to grow. */
static vmh_vm *running(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "live");

    stage_set(s, spec, "cpu.max", "2");
    return stage_create(s, spec, VMH_CREATE_START);
}

static void changes_a_running_one_now(stage *s)
{
    g_autoptr(vmh_vm) vm = running(s);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    o = update_one(s, vm, "title", "now", VMH_UPDATE_LIVE);
    EXPECT(s, o.code == 0 && verdict(&o, "title") == VMH_VERDICT_APPLIED);
    if (has(s, vm, "title", "now", 0) && has(s, vm, "title", "", VMH_DESCRIBE_PERSISTENT))
        stage_remove(s, vm);
}

static void changes_a_running_one_later(stage *s)
{
    g_autoptr(vmh_vm) vm = running(s);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    o = update_one(s, vm, "title", "later", VMH_UPDATE_PERSIST);
    EXPECT(s, o.code == 0 && verdict(&o, "title") == VMH_VERDICT_AFTER_RESTART);
    if (!has(s, vm, "title", "", 0) || !has(s, vm, "title", "later", VMH_DESCRIBE_PERSISTENT))
        return;
    EXPECT_OK(s, vmh_vm_stop(vm, 0, stage_error(s)));
    EXPECT_OK(s, vmh_vm_start(vm, 0, stage_error(s)));
    if (has(s, vm, "title", "later", 0))
        stage_remove(s, vm);
}

static void changes_a_running_one_for_good(stage *s)
{
    g_autoptr(vmh_vm) vm = running(s);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    o = update_one(s, vm, "title", "both", 0);
    EXPECT(s, o.code == 0 && verdict(&o, "title") == VMH_VERDICT_APPLIED);
    if (has(s, vm, "title", "both", 0) && has(s, vm, "title", "both", VMH_DESCRIBE_PERSISTENT))
        stage_remove(s, vm);
}

static void changes_what_waits_for_a_restart(stage *s)
{
    g_autoptr(vmh_vm) vm = running(s);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    o = update_one(s, vm, "memory.max", "256MiB", 0);
    EXPECT(s, o.code == 0 && verdict(&o, "memory.max") == VMH_VERDICT_AFTER_RESTART);
    if (has(s, vm, "memory.max", "64MiB", 0) && has(s, vm, "memory.max", "256MiB", VMH_DESCRIBE_PERSISTENT))
        stage_remove(s, vm);
}

static void refuses_now_what_cannot_be_now(stage *s)
{
    g_autoptr(vmh_vm) vm = running(s);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    o = update_one(s, vm, "memory.max", "256MiB", VMH_UPDATE_LIVE);
    EXPECT(s, o.code < 0 && verdict(&o, "memory.max") == VMH_VERDICT_REFUSED && reason(&o, "memory.max"));
    if (has(s, vm, "memory.max", "64MiB", 0) && has(s, vm, "memory.max", "64MiB", VMH_DESCRIBE_PERSISTENT))
        stage_remove(s, vm);
}

static void adds_a_cpu(stage *s)
{
    g_autoptr(vmh_vm) vm = running(s);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    o = update_one(s, vm, "cpu.count", "2", 0);
    EXPECT(s, o.code == 0 && verdict(&o, "cpu.count") == VMH_VERDICT_APPLIED);
    if (!has(s, vm, "cpu.count", "2", 0) || !has(s, vm, "cpu.count", "2", VMH_DESCRIBE_PERSISTENT))
        return;
    outcome_clear(&o);
    o = update_one(s, vm, "cpu.count", "3", 0);
    EXPECT(s, o.code < 0 && g_strcmp0(vmh_error_property(s->error), "cpu.count") == 0);
    if (has(s, vm, "cpu.count", "2", 0))
        stage_remove(s, vm);
}

static void refuses_now_when_stopped(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    o = update_one(s, vm, "title", "now", VMH_UPDATE_LIVE);
    EXPECT(s, o.code == VMH_ERR_STATE && strstr(vmh_error_message(s->error), "stopped"));
    if (has(s, vm, "title", "", 0))
        stage_remove(s, vm);
}

static void refuses_later_when_transient(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START | VMH_CREATE_TRANSIENT);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    o = update_one(s, vm, "title", "later", VMH_UPDATE_PERSIST);
    EXPECT(s, o.code == VMH_ERR_STATE);
    if (has(s, vm, "title", "", 0))
        stage_remove(s, vm);
}

/* --- the generation --- */

static uint64_t generation(stage *s, vmh_vm *vm)
{
    g_autoptr(vmh_spec) spec = vmh_vm_describe(vm, 0, stage_error(s));
    uint64_t number = 0;

    if (spec)
        vmh_spec_get_u64(spec, "generation", &number, stage_error(s));
    return number;
}

static void keeps_its_generation(stage *s)
{
    g_autoptr(vmh_vm) vm = running(s);
    uint64_t first;

    EXPECT(s, vm);
    first = generation(s, vm);
    EXPECT(s, first != 0 && generation(s, vm) == first);
    EXPECT_OK(s, vmh_vm_pause(vm, 0, stage_error(s)));
    EXPECT(s, generation(s, vm) == first); /* a state is no configuration */
    stage_remove(s, vm);
}

static void tells_a_conflict(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autoptr(vmh_vm) theirs = NULL;
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_spec) title = vmh_spec_new("vm", NULL);
    g_auto(outcome) o = {0};
    uint64_t first;

    EXPECT(s, vm);
    first = generation(s, vm);
    vmh_spec_set(change, "memory.size", "48MiB", NULL);
    vmh_spec_set(title, "title", "mine", NULL);
    EXPECT_OK(s, vmh_host_refresh(s->other, 0, stage_error(s)));
    theirs = vmh_host_find_vm(s->other, vmh_vm_uuid(vm), stage_error(s));
    EXPECT(s, theirs);
    EXPECT_OK(s, vmh_vm_update(theirs, change, 0, first, stage_error(s)));
    o = update(s, vm, title, 0, first);
    EXPECT(s, o.code == VMH_ERR_CONFLICT);
    EXPECT(s, generation(s, vm) != first);
    if (!has(s, vm, "memory.size", "48MiB", 0) || !has(s, vm, "title", "", 0))
        return;
    EXPECT_OK(s, vmh_vm_update(vm, title, 0, generation(s, vm), &s->error));
    if (has(s, vm, "title", "mine", 0))
        stage_remove(s, vm);
}

static void gives_back_its_description(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autoptr(vmh_spec) spec = vm ? vmh_vm_describe(vm, 0, stage_error(s)) : NULL;
    g_autoptr(vmh_spec) after = NULL;
    g_auto(outcome) o = {0};

    EXPECT(s, spec);
    o = update(s, vm, spec, 0, generation(s, vm));
    EXPECT(s, o.code == 0);
    for (size_t i = 0; i < vmh_job_verdict_count(o.job); i++)
        EXPECT(s, vmh_job_verdict(o.job, i) == VMH_VERDICT_UNCHANGED);
    after = vmh_vm_describe(vm, 0, stage_error(s));
    EXPECT(s, after);
    if (stage_same(s, spec, after, NULL) && stage_same(s, after, spec, NULL))
        stage_remove(s, vm);
}

/* --- devices --- */

static void attach_and_detach(stage *s, uint64_t create_flags, const char *path, const char *text,
                              const char *present)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, create_flags);
    g_auto(outcome) on = {0};
    g_auto(outcome) off = {0};

    EXPECT(s, vm);
    on = update_one(s, vm, path, text, 0);
    EXPECT(s, on.code == 0);
    if (!has(s, vm, path, text, VMH_DESCRIBE_PERSISTENT))
        return;
    if (create_flags && verdict(&on, path) == VMH_VERDICT_AFTER_RESTART) { /* of a host that plugs nothing live */
        EXPECT(s, reason(&on, path));
        return stage_remove(s, vm);
    }
    EXPECT(s, verdict(&on, path) == VMH_VERDICT_APPLIED);
    if (!has(s, vm, path, text, 0))
        return;
    if (create_flags && g_str_has_prefix(path, "disk"))
        return stage_remove(s, vm); /* to let go of a disk needs a guest; see guest.c */
    off = update_one(s, vm, present, "no", 0);
    EXPECT(s, off.code == 0 && verdict(&off, present) == VMH_VERDICT_APPLIED);
    if (has(s, vm, path, "", 0))
        stage_remove(s, vm);
}

static void changes_disks(stage *s)
{
    g_autofree char *path = stage_disk(s, "plug");

    attach_and_detach(s, 0, "disk.data.path", path, "disk.data.present");
    attach_and_detach(s, VMH_CREATE_START, "disk.data.path", path, "disk.data.present");
}

static void changes_nics(stage *s)
{
    attach_and_detach(s, 0, "nic.lan.user", "yes", "nic.lan.present");
}

static void refuses_to_detach_what_is_not_there(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_auto(outcome) o = {0};

    EXPECT(s, vm);
    o = update_one(s, vm, "disk.nothing.present", "no", 0);
    EXPECT(s, o.code == VMH_ERR_NOT_FOUND || verdict(&o, "disk.nothing.present") == VMH_VERDICT_UNCHANGED);
    stage_remove(s, vm);
}

const behaviour update_behaviours[] = {
    {"update.stopped", "vm.update", changes_a_stopped_one, "a stopped VM is changed, and told so"},
    {"update.several", "vm.update,memory.max,title", changes_several_at_once, "several properties at once"},
    {"update.unchanged", "vm.update", tells_what_is_unchanged, "what has the value already is told so"},
    {"update.dry-run", "vm.update", tries_dry, "a dry run gives verdicts and changes nothing"},
    {"update.atomic", "vm.update", changes_all_or_nothing, "one refused property: nothing is changed"},
    {"update.live", "vm.update,title", changes_a_running_one_now, "LIVE changes what runs and not the next start"},
    {"update.persist", "vm.update,title", changes_a_running_one_later, "PERSIST changes the next start only"},
    {"update.both", "vm.update,title", changes_a_running_one_for_good, "neither flag: both"},
    {"update.restart", "vm.update,memory.max", changes_what_waits_for_a_restart,
     "what cannot change live waits for the restart, and is told so"},
    {"update.live.refused", "vm.update,memory.max", refuses_now_what_cannot_be_now,
     "with LIVE it is refused, and why"},
    {"update.cpu", "vm.update,cpu.max,cpu.count", adds_a_cpu, "a CPU is added to a running VM, up to the most"},
    {"update.live.stopped", "vm.update,title", refuses_now_when_stopped, "LIVE of a stopped VM: wrong state"},
    {"update.persist.transient", "vm.update,title,vm.start", refuses_later_when_transient,
     "PERSIST of a transient VM: wrong state"},
    {"generation", "vm.describe,vm.pause", keeps_its_generation, "only a change gives another generation"},
    {"generation.conflict", "vm.update,title", tells_a_conflict, "a change behind one's back is a conflict"},
    {"update.description", "vm.update,vm.describe", gives_back_its_description,
     "a description given back changes nothing"},
    {"update.disk", "vm.update,disk.data.path", changes_disks, "a disk comes and goes"},
    {"update.nic", "vm.update,nic.lan.user", changes_nics, "a NIC comes and goes"},
    {"update.absent", "vm.update", refuses_to_detach_what_is_not_there, "what is not there cannot be removed"},
    {NULL, NULL, NULL, NULL},
};
