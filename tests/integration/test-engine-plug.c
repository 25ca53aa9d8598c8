/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks that come and go while a VM runs, where the guest does its part, and where it does not. */
#include "engine.h"

enum { WAIT_MS = 2000 }; /* for a guest that never answers: half of what a call may take */

static vmh_host *open_impatient(void)
{
    g_autoptr(vmh_spec) options = vmh_spec_new("open", NULL);
    g_autofree char *timeout = g_strdup_printf("%dms", 2 * WAIT_MS);
    vmh_host        *host;

    ck_assert_int_eq(vmh_spec_set(options, "call.timeout", timeout, NULL), 0);
    host = vmh_host_open(engine_uri(), options, 0, NULL);
    ck_assert_ptr_nonnull(host);
    return host;
}

static vmh_job *update(vmh_vm *vm, const char *path, const char *value, const char *other, const char *other_value)
{
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);

    ck_assert_int_eq(vmh_spec_set(change, path, value, NULL), 0);
    if (other)
        ck_assert_int_eq(vmh_spec_set(change, other, other_value, NULL), 0);
    return vmh_vm_update(vm, change, 0, 0, NULL);
}

static void plug_in(vmh_vm *vm, const char *path, const char *file)
{
    g_autoptr(vmh_error) error = NULL;

    assert_ok(update(vm, path, file, NULL, NULL));
}

static gboolean has(vmh_vm *vm, const char *path, uint64_t flags)
{
    g_autoptr(vmh_spec) spec = vmh_vm_describe(vm, flags, NULL);
    g_autofree char *value = spec ? test_text(spec, path) : NULL;

    ck_assert_ptr_nonnull(value);
    return *value != '\0';
}

START_TEST(a_guest_without_a_driver_keeps_its_disk)
{
    g_autofree char *file = test_disk("plug", 1);
    g_autoptr(vmh_host) host = open_impatient();
    g_autoptr(vmh_vm) vm = engine_create(host, "keeps", NULL, VMH_CREATE_START);
    g_autoptr(vmh_vm) other = engine_create(host, "other", NULL, VMH_CREATE_START);
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_job) job = NULL;

    plug_in(vm, "disk.data.path", file);
    job = update(vm, "disk.data.present", "no", "title", "without a disk");
    /* The guest takes its time, and no other VM's. */
    assert_ok(vmh_vm_stop(other, 0, &error));
    assert_ok(vmh_vm_start(other, 0, &error));
    ck_assert_int_eq(vmh_job_wait(job, 0, NULL), VMH_ERR_TIMEOUT);
    ck_assert_int_eq(vmh_job_wait(job, PATIENCE_MS, &error), VMH_ERR_BUSY);
    ck_assert_str_eq(vmh_error_property(error), "disk.data.present");
    for (size_t i = 0; i < vmh_job_verdict_count(job); i++)
        ck_assert_int_eq(vmh_job_verdict(job, i), VMH_VERDICT_REFUSED);
    ck_assert(has(vm, "disk.data.path", 0) && has(vm, "disk.data.path", VMH_DESCRIBE_PERSISTENT));
    ck_assert(!has(vm, "title", 0) && !has(vm, "title", VMH_DESCRIBE_PERSISTENT));
}
END_TEST

START_TEST(a_disk_may_go_later)
{
    g_autofree char *file = test_disk("plug", 1);
    g_autoptr(vmh_host) host = open_impatient();
    g_autoptr(vmh_vm) vm = engine_create(host, "later", NULL, VMH_CREATE_START);
    g_autoptr(vmh_vm) other = engine_create(host, "other", NULL, VMH_CREATE_START);
    g_autoptr(vmh_queue) queue = vmh_queue_new(host, "vm", 0, NULL);
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_job) job = NULL;
    g_autoptr(vmh_event) event = NULL;
    g_autofree char *name = test_vm_name(vm);

    plug_in(vm, "disk.data.path", file);
    job = update(vm, "disk.data.present", "no", NULL, NULL);
    ck_assert_int_eq(vmh_job_wait(job, PATIENCE_MS, NULL), VMH_ERR_BUSY);
    /* A restart is the latest at which a guest lets go of what it was asked for. */
    assert_ok(vmh_vm_reset(vm, 0, &error));
    do {
        vmh_event_free(event);
        event = test_wait_event(queue, VMH_EVENT_VM_CHANGED, name, PATIENCE_MS);
        ck_assert_ptr_nonnull(event);
    } while (g_strcmp0(vmh_event_str(event, "reason"), "devices") != 0);
    ck_assert(!has(vm, "disk.data.path", 0));
    ck_assert(has(vm, "disk.data.path", VMH_DESCRIBE_PERSISTENT));
    plug_in(other, "disk.mine.path", file); /* nobody has it now */
}
END_TEST

START_TEST(waiting_for_a_guest_is_cancelled)
{
    g_autofree char *file = test_disk("plug", 1);
    g_autoptr(vmh_host) host = vmh_host_open(engine_uri(), NULL, 0, NULL);
    g_autoptr(vmh_vm) vm = engine_create(host, "cancel", NULL, VMH_CREATE_START);
    g_autoptr(vmh_job) job = NULL;

    plug_in(vm, "disk.data.path", file);
    job = update(vm, "disk.data.present", "no", NULL, NULL);
    while (vmh_job_cancel(job, NULL) != 0)
        ck_assert_int_eq(vmh_job_wait(job, 10, NULL), VMH_ERR_TIMEOUT);
    ck_assert_int_eq(vmh_job_wait(job, PATIENCE_MS, NULL), VMH_ERR_CANCELLED);
    ck_assert(has(vm, "disk.data.path", 0));
}
END_TEST

START_TEST(what_cannot_be_plugged_in_takes_the_rest_back)
{
    g_autofree char *first = test_disk("first", 1);
    g_autofree char *second = test_disk("second", 1);
    g_autoptr(vmh_host) host = open_impatient();
    g_autoptr(vmh_vm) vm = engine_create(host, "back", NULL, VMH_CREATE_START);
    g_autoptr(vmh_vm) other = engine_create(host, "other", NULL, VMH_CREATE_START);
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_job) job = NULL;

    plug_in(other, "disk.mine.path", second);
    job = update(vm, "disk.a.path", first, "disk.b.path", second);
    ck_assert_int_eq(vmh_job_wait(job, PATIENCE_MS, &error), VMH_ERR_BUSY);
    ck_assert_str_eq(vmh_error_property(error), "disk.b.path");
    ck_assert(!has(vm, "disk.a.path", 0) && !has(vm, "disk.a.path", VMH_DESCRIBE_PERSISTENT));
    plug_in(other, "disk.too.path", first);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_guest_without_a_driver_keeps_its_disk,
        a_disk_may_go_later,
        waiting_for_a_guest_is_cancelled,
        what_cannot_be_plugged_in_takes_the_rest_back,
    };

    return engine_run("engine-plug", tests, G_N_ELEMENTS(tests));
}
