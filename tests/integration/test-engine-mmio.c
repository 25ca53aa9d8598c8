/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The machine without a bus: what it has, what it refuses, and that a VM changes from one to the other. */
#include "engine.h"

static vmh_spec *machine(const char *name, const char *value)
{
    vmh_spec *spec = engine_spec(name, "tick=20");

    ck_assert_int_eq(vmh_spec_set_str(spec, "machine", value, NULL), 0);
    return spec;
}

static gboolean speaks(vmh_vm *vm)
{
    g_autoptr(GString) seen = g_string_new(NULL);
    const int console = vmh_vm_console(vm, NULL, VMH_CONSOLE_FORCE, NULL);
    gboolean  heard = test_wait_console(console, seen, "tick 3", PATIENCE_MS);

    close(console);
    return heard;
}

static void assert_has(vmh_vm *vm, const char *path, const char *value)
{
    g_autoptr(vmh_spec) spec = vmh_vm_describe(vm, 0, NULL);
    g_autofree char *text = test_text(spec, path);

    ck_assert_str_eq(text, value);
}

START_TEST(a_guest_runs_on_either_machine)
{
    g_autoptr(vmh_host) host = vmh_host_open(engine_uri(), NULL, 0, NULL);
    g_autoptr(vmh_spec) spec = machine("tiny", "mmio");
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_error) error = NULL;

    assert_has(vm, "machine", "mmio");
    ck_assert(speaks(vm));
    assert_ok(vmh_vm_reset(vm, 0, &error));
    ck_assert(speaks(vm));
    vmh_spec_set_str(change, "machine", "pci", NULL);
    ck_assert_int_eq(vmh_job_finish(vmh_vm_update(vm, change, VMH_UPDATE_LIVE, 0, NULL), PATIENCE_MS, &error),
                     VMH_ERR_UNSUPPORTED);
    g_clear_pointer(&error, vmh_error_free);
    assert_ok(vmh_vm_update(vm, change, 0, 0, &error));
    assert_has(vm, "machine", "mmio");
    assert_ok(vmh_vm_stop(vm, 0, &error));
    assert_ok(vmh_vm_start(vm, 0, &error));
    assert_has(vm, "machine", "pci");
    ck_assert(speaks(vm));
}
END_TEST

START_TEST(devices_neither_come_nor_go)
{
    g_autofree char *first = test_disk("first", 1);
    g_autofree char *second = test_disk("second", 1);
    g_autoptr(vmh_host) host = vmh_host_open(engine_uri(), NULL, 0, NULL);
    g_autoptr(vmh_spec) spec = machine("fixed", "mmio");
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_vm) vm = NULL;
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_job) job = NULL;

    vmh_spec_set_str(spec, "disk.a.path", first, NULL);
    vm = create(host, spec, VMH_CREATE_START);
    vmh_spec_set_str(change, "disk.b.path", second, NULL);
    ck_assert_int_eq(vmh_job_finish(vmh_vm_update(vm, change, VMH_UPDATE_LIVE, 0, NULL), PATIENCE_MS, &error),
                     VMH_ERR_UNSUPPORTED);
    ck_assert_str_eq(vmh_error_property(error), "disk.b.path");
    ck_assert_msg(strstr(vmh_error_message(error), "without a bus") != NULL, "%s", vmh_error_message(error));
    g_clear_pointer(&error, vmh_error_free);
    ck_assert_int_eq(vmh_spec_set(change, "disk.a.present", "no", NULL), 0);
    job = vmh_vm_update(vm, change, 0, 0, NULL);
    ck_assert_int_eq(vmh_job_wait(job, PATIENCE_MS, NULL), 0);
    ck_assert_uint_eq(vmh_job_verdict_count(job), 2);
    for (size_t i = 0; i < vmh_job_verdict_count(job); i++)
        ck_assert_int_eq(vmh_job_verdict(job, i), VMH_VERDICT_AFTER_RESTART);
    assert_has(vm, "disk.a.path", first);
    assert_has(vm, "disk.b.path", "");
    assert_ok(vmh_vm_stop(vm, 0, &error));
    assert_ok(vmh_vm_start(vm, 0, &error));
    assert_has(vm, "disk.a.path", "");
    assert_has(vm, "disk.b.path", second);
}
END_TEST

START_TEST(other_machines_are_refused)
{
    g_autoptr(vmh_host) host = vmh_host_open(engine_uri(), NULL, 0, NULL);
    g_autoptr(vmh_spec) other = machine("other", "q35");
    g_autoptr(vmh_spec) crowded = machine("crowded", "mmio");
    g_autoptr(vmh_error) error = NULL;

    ck_assert_int_eq(vmh_job_finish(vmh_host_create_vm(host, other, 0, NULL), PATIENCE_MS, &error),
                     VMH_ERR_UNSUPPORTED);
    ck_assert_str_eq(vmh_error_property(error), "machine");
    g_clear_pointer(&error, vmh_error_free);
    for (unsigned i = 0; i < 20; i++) {
        g_autofree char *path = g_strdup_printf("console.c%u.to", i);

        vmh_spec_set_str(crowded, path, "pty", NULL);
    }
    ck_assert_int_eq(vmh_job_finish(vmh_host_create_vm(host, crowded, VMH_CREATE_START, NULL), PATIENCE_MS, &error),
                     VMH_ERR_VALUE);
    ck_assert_str_eq(vmh_error_property(error), "machine");
    ck_assert_uint_eq(vmh_host_list_vms(host, NULL), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_guest_runs_on_either_machine,
        devices_neither_come_nor_go,
        other_machines_are_refused,
    };

    return engine_run("engine-mmio", tests, G_N_ELEMENTS(tests));
}
