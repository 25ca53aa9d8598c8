/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Behaviours of creating, describing and deleting. */
#include "conformance.h"

#include <string.h>

/* What a VM that is made from a description cannot share with the one described. */
static const char *const identity[] = {"name", "uuid", "generation", "state", NULL};

static gboolean is_known(stage *s, const char *name)
{
    g_autoptr(vmh_vm) vm = vmh_host_find_vm(s->host, name, NULL);

    return vm != NULL;
}

static void creates(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "plain");
    g_autoptr(vmh_vm) vm = stage_create(s, spec, 0);
    g_autoptr(vmh_spec) got = vm ? vmh_vm_describe(vm, 0, stage_error(s)) : NULL;
    g_autofree char *name = test_text(spec, "name");
    int32_t          persistent = 0;

    EXPECT(s, vm && got);
    EXPECT(s, is_known(s, name) && is_known(s, vmh_vm_uuid(vm)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_STOPPED);
    EXPECT(s, vmh_vm_host(vm) != NULL);
    EXPECT(s, vmh_spec_get_bool(got, "persistent", &persistent, stage_error(s)) == 0 && persistent == 1);
    if (stage_same(s, spec, got, NULL))
        stage_remove(s, vm);
}

static void keeps_uuid(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "uuid");
    g_autofree char *uuid = g_uuid_string_random();
    g_autoptr(vmh_vm) vm = NULL;

    EXPECT(s, vmh_spec_set(spec, "uuid", uuid, stage_error(s)) == 0);
    vm = stage_create(s, spec, 0);
    EXPECT(s, vm && strcmp(vmh_vm_uuid(vm), uuid) == 0);
    stage_remove(s, vm);
}

static void starts_at_once(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);

    EXPECT(s, vm && vmh_vm_state(vm) == VMH_VM_RUNNING);
    stage_remove(s, vm);
}

static void starts_paused(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "paused");
    g_autoptr(vmh_job) job = vmh_host_create_vm(s->host, spec, VMH_CREATE_START | VMH_CREATE_PAUSED, stage_error(s));
    g_autofree char *name = test_text(spec, "name");
    g_autoptr(vmh_vm) vm = NULL;

    if (vmh_job_wait(job, PATIENCE_MS, &s->error) < 0 && stage_lacks(s)) {
        EXPECT(s, !is_known(s, name)); /* what cannot be had is not left behind in another form */
        return;
    }
    vm = vmh_job_result_vm(job);
    EXPECT(s, vm && vmh_vm_state(vm) == VMH_VM_PAUSED);
    EXPECT_OK(s, vmh_vm_resume(vm, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_RUNNING);
    stage_remove(s, vm);
}

static void vanishes_when_transient(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START | VMH_CREATE_TRANSIENT);
    g_autofree char *name = test_vm_name(vm);
    g_autoptr(vmh_spec) got = vm ? vmh_vm_describe(vm, 0, stage_error(s)) : NULL;
    int32_t persistent = 1;

    EXPECT(s, vm && got && vmh_vm_state(vm) == VMH_VM_RUNNING);
    EXPECT(s, vmh_spec_get_bool(got, "persistent", &persistent, stage_error(s)) == 0 && persistent == 0);
    EXPECT_OK(s, vmh_vm_stop(vm, 0, stage_error(s)));
    EXPECT(s, test_wait_state(vm, VMH_VM_GONE, PATIENCE_MS));
    EXPECT(s, !is_known(s, name));
}

static void validates_only(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "validate");
    g_autofree char *name = test_text(spec, "name");
    size_t           count = vmh_host_list_vms(s->host, NULL);

    EXPECT_OK(s, vmh_host_create_vm(s->host, spec, VMH_CREATE_VALIDATE_ONLY, stage_error(s)));
    EXPECT(s, !is_known(s, name) && vmh_host_list_vms(s->host, NULL) == count);
    EXPECT_OK(s, vmh_host_refresh(s->host, 0, stage_error(s)));
    EXPECT(s, !is_known(s, name));
    EXPECT(s, vmh_spec_unset(spec, "memory.size", stage_error(s)) == 0);
    EXPECT_FAILS(s, VMH_ERR_VALUE, vmh_host_create_vm(s->host, spec, VMH_CREATE_VALIDATE_ONLY, stage_error(s)));
}

static void needs_name_and_memory(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "incomplete");
    g_autoptr(vmh_spec) nameless = vmh_spec_dup(spec);

    EXPECT(s, vmh_spec_unset(spec, "memory.size", stage_error(s)) == 0);
    EXPECT_FAILS(s, VMH_ERR_VALUE, vmh_host_create_vm(s->host, spec, 0, stage_error(s)));
    EXPECT(s, g_strcmp0(vmh_error_property(s->error), "memory.size") == 0);
    EXPECT(s, vmh_spec_unset(nameless, "name", stage_error(s)) == 0);
    EXPECT_FAILS(s, VMH_ERR_VALUE, vmh_host_create_vm(s->host, nameless, 0, stage_error(s)));
    EXPECT(s, g_strcmp0(vmh_error_property(s->error), "name") == 0);
}

static void refuses_contradictions(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "contradiction");
    g_autofree char *name = test_text(spec, "name");

    EXPECT(s, vmh_spec_set(spec, "cpu.count", "4", stage_error(s)) == 0);
    EXPECT(s, vmh_spec_set(spec, "cpu.max", "2", stage_error(s)) == 0);
    EXPECT_FAILS(s, VMH_ERR_VALUE, vmh_host_create_vm(s->host, spec, 0, stage_error(s)));
    EXPECT(s, vmh_error_property(s->error) && g_str_has_prefix(vmh_error_property(s->error), "cpu."));
    EXPECT(s, !is_known(s, name));
}

static void refuses_contradicting_flags(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "flags");

    EXPECT_FAILS(s, VMH_ERR_ARGUMENT, vmh_host_create_vm(s->host, spec, VMH_CREATE_PAUSED, stage_error(s)));
    EXPECT_FAILS(s, VMH_ERR_ARGUMENT, vmh_host_create_vm(s->host, spec, VMH_CREATE_TRANSIENT, stage_error(s)));
    EXPECT_FAILS(s, VMH_ERR_ARGUMENT, vmh_host_create_vm(s->host, spec, UINT64_C(1) << 63, stage_error(s)));
}

static void refuses_taken_name(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "taken");
    g_autoptr(vmh_spec) again = vmh_spec_dup(spec);
    g_autoptr(vmh_vm) vm = stage_create(s, spec, 0);
    g_autofree char *name = test_text(spec, "name");

    EXPECT(s, vm);
    EXPECT(s, vmh_spec_set(again, "memory.size", "96MiB", stage_error(s)) == 0);
    EXPECT_FAILS(s, VMH_ERR_EXISTS, vmh_host_create_vm(s->host, again, 0, stage_error(s)));
    EXPECT(s, strstr(vmh_error_message(s->error), name) && !strcmp(vmh_error_property(s->error), "name"));
    EXPECT_FAILS(s, VMH_ERR_EXISTS, vmh_host_create_vm(s->host, again, VMH_CREATE_START, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_STOPPED);
    g_clear_pointer(&again, vmh_spec_unref);
    again = vmh_vm_describe(vm, 0, stage_error(s));
    EXPECT(s, again);
    if (stage_same(s, spec, again, NULL)) /* the first is as it was */
        stage_remove(s, vm);
}

static void refuses_taken_uuid(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "first");
    g_autoptr(vmh_spec) again = stage_spec(s, "second");
    g_autoptr(vmh_vm) vm = stage_create(s, spec, 0);
    g_autofree char *name = test_text(spec, "name");

    EXPECT(s, vm);
    EXPECT(s, vmh_spec_set(again, "uuid", vmh_vm_uuid(vm), stage_error(s)) == 0);
    EXPECT_FAILS(s, VMH_ERR_EXISTS, vmh_host_create_vm(s->host, again, 0, stage_error(s)));
    EXPECT(s, g_strcmp0(vmh_error_property(s->error), "uuid") == 0);
    EXPECT(s, is_known(s, name));
    stage_remove(s, vm);
}

/* A VM with some of everything that the host supports. */
static vmh_spec *rich_spec(stage *s)
{
    static const char *const properties[][2] = {
        {"title", "A <title> & \"more\""},
        {"description", "two\nlines"},
        {"metadata.owner", "us & <them>"},
        {"cpu.count", "2"},
        {"cpu.max", "4"},
        {"memory.max", "128MiB"},
        {"nic.lan.user", "yes"},
        {"nic.lan.mac", "52:54:00:aa:bb:cc"},
        {"console.main.to", "pty"},
        {"cpu.weight", "200"},
        {"watchdog", "reset"},
        {"on.crash", "restart"},
        {"rng", "no"},
    };
    vmh_spec        *spec = stage_spec(s, "rich");
    g_autofree char *disk = stage_disk(s, "rich");

    for (size_t i = 0; i < G_N_ELEMENTS(properties); i++)
        stage_set(s, spec, properties[i][0], properties[i][1]);
    if (stage_set(s, spec, "disk.root.path", disk))
        stage_set(s, spec, "disk.root.readonly", "yes");
    return spec;
}

static void describes_what_creates_an_equal(stage *s)
{
    g_autoptr(vmh_spec) spec = rich_spec(s);
    g_autoptr(vmh_vm) vm = stage_create(s, spec, 0);
    g_autoptr(vmh_spec) first = vm ? vmh_vm_describe(vm, 0, stage_error(s)) : NULL;
    g_autoptr(vmh_vm) again = NULL;
    g_autoptr(vmh_spec) second = NULL;

    EXPECT(s, vm && first);
    if (!stage_same(s, spec, first, NULL))
        return;
    stage_remove(s, vm);
    again = stage_create(s, first, 0);
    EXPECT(s, again);
    EXPECT(s, strcmp(vmh_vm_uuid(again), vmh_vm_uuid(vm)) == 0);
    second = vmh_vm_describe(again, 0, stage_error(s));
    EXPECT(s, second);
    if (stage_same(s, first, second, identity) && stage_same(s, second, first, identity))
        stage_remove(s, again);
}

static void describes_to_json_and_back(stage *s)
{
    g_autoptr(vmh_spec) spec = rich_spec(s);
    g_autoptr(vmh_vm) vm = stage_create(s, spec, 0);
    g_autoptr(vmh_spec) got = vm ? vmh_vm_describe(vm, 0, stage_error(s)) : NULL;
    g_autoptr(vmh_spec) back = NULL;
    char *json;

    EXPECT(s, got);
    json = vmh_spec_to_json(got, VMH_JSON_PRETTY, stage_error(s));
    EXPECT(s, json);
    back = vmh_spec_from_json("vm", json, strlen(json), stage_error(s));
    vmh_free(json);
    EXPECT(s, back);
    if (stage_same(s, got, back, NULL) && stage_same(s, back, got, NULL))
        stage_remove(s, vm);
}

static void describes_states(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);
    g_autoptr(vmh_spec) running = vm ? vmh_vm_describe(vm, 0, stage_error(s)) : NULL;
    g_autoptr(vmh_spec) next = vm ? vmh_vm_describe(vm, VMH_DESCRIBE_PERSISTENT, stage_error(s)) : NULL;
    g_autofree char *state = running ? test_text(running, "state") : NULL;
    g_autofree char *memory = next ? test_text(next, "memory.size") : NULL;
    g_autofree char *now = running ? test_text(running, "memory.size") : NULL;

    EXPECT(s, vm && running && next);
    EXPECT(s, strcmp(state, "running") == 0);
    EXPECT(s, strcmp(memory, now) == 0);
    stage_remove(s, vm);
}

static void deletes(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autofree char *name = test_vm_name(vm);

    EXPECT(s, vm);
    EXPECT_OK(s, vmh_vm_delete(vm, 0, stage_error(s)));
    EXPECT(s, !is_known(s, name) && !is_known(s, vmh_vm_uuid(vm)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_GONE);
    EXPECT_OK(s, vmh_host_refresh(s->host, 0, stage_error(s)));
    EXPECT(s, !is_known(s, name));
}

static void deletes_running_by_force(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);
    g_autofree char *name = test_vm_name(vm);

    EXPECT(s, vm);
    EXPECT_FAILS(s, VMH_ERR_STATE, vmh_vm_delete(vm, 0, stage_error(s)));
    EXPECT(s, strstr(vmh_error_message(s->error), "running"));
    EXPECT(s, is_known(s, name) && vmh_vm_state(vm) == VMH_VM_RUNNING);
    EXPECT_OK(s, vmh_vm_delete(vm, VMH_DELETE_FORCE, stage_error(s)));
    EXPECT(s, !is_known(s, name) && vmh_vm_state(vm) == VMH_VM_GONE);
}

static void outlives_its_vm(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autoptr(vmh_spec) spec = NULL;
    g_autofree char *name = test_vm_name(vm);
    g_autofree char *uuid = g_strdup(vmh_vm_uuid(vm));
    g_autofree char *still = NULL;

    EXPECT(s, vm);
    EXPECT_OK(s, vmh_vm_delete(vm, 0, stage_error(s)));
    still = test_vm_name(vm);
    EXPECT(s, g_strcmp0(still, name) == 0 && strcmp(vmh_vm_uuid(vm), uuid) == 0);
    EXPECT_FAILS(s, VMH_ERR_NOT_FOUND, vmh_vm_start(vm, 0, stage_error(s)));
    EXPECT_FAILS(s, VMH_ERR_NOT_FOUND, vmh_vm_delete(vm, VMH_DELETE_FORCE, stage_error(s)));
    spec = vmh_vm_describe(vm, 0, stage_error(s));
    EXPECT(s, !spec && vmh_error_code(s->error) == VMH_ERR_NOT_FOUND);
}

static void is_made_anew_under_the_same_name(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "again");
    g_autoptr(vmh_vm) first = stage_create(s, spec, 0);
    g_autoptr(vmh_vm) second = NULL;

    EXPECT(s, first);
    EXPECT_OK(s, vmh_vm_delete(first, 0, stage_error(s)));
    second = stage_create(s, spec, 0);
    EXPECT(s, second && strcmp(vmh_vm_uuid(first), vmh_vm_uuid(second)) != 0);
    EXPECT(s, vmh_vm_state(first) == VMH_VM_GONE && vmh_vm_state(second) == VMH_VM_STOPPED);
    stage_remove(s, second);
}

const behaviour create_behaviours[] = {
    {"create", "host.create", creates, "a VM is made, stopped, persistent, and found by name and UUID"},
    {"create.uuid", "host.create", keeps_uuid, "the UUID given is the VM's"},
    {"create.start", "host.create,vm.start", starts_at_once, "with START it runs"},
    {"create.paused", "host.create,vm.start,vm.pause", starts_paused, "with PAUSED it waits for resume"},
    {"create.transient", "host.create,vm.start,vm.stop", vanishes_when_transient,
     "with TRANSIENT it is gone when it stops"},
    {"create.validate", "host.create", validates_only, "with VALIDATE_ONLY nothing is made, and errors are found"},
    {"create.incomplete", "host.create", needs_name_and_memory, "what must be given is named"},
    {"create.contradiction", "host.create,cpu.max", refuses_contradictions, "more CPUs than the most is refused"},
    {"create.flags", "host.create", refuses_contradicting_flags, "flags that make no sense are refused"},
    {"create.taken.name", "host.create", refuses_taken_name, "a taken name is refused, and the first VM as it was"},
    {"create.taken.uuid", "host.create", refuses_taken_uuid, "a taken UUID is refused"},
    {"describe.create", "vm.describe,vm.delete", describes_what_creates_an_equal,
     "a description creates an equal VM"},
    {"describe.json", "vm.describe", describes_to_json_and_back, "a description is the same through JSON"},
    {"describe.state", "vm.describe,vm.start", describes_states, "the state is told, and both configurations"},
    {"delete", "vm.delete", deletes, "a deleted VM is gone from everywhere"},
    {"delete.running", "vm.delete,vm.start", deletes_running_by_force, "a running VM is deleted by force only"},
    {"delete.handle", "vm.delete", outlives_its_vm, "a handle outlives its VM, and its verbs say not found"},
    {"delete.again", "vm.delete", is_made_anew_under_the_same_name, "the name of a deleted VM is free"},
    {NULL, NULL, NULL, NULL},
};
