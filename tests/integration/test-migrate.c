/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Migration between two hosts, and all that can end it early: whatever happens, the guest counts on, on one side. */
#include "integration.h"

#include <unistd.h>

/* What the lab calls the destination. */
#define DESTINATION "b"

typedef struct {
    vmh_host *here;
    vmh_host *there;
    vmh_vm   *vm;
    char     *name;
    int       console;
    GString  *seen;
} stage;

static void stage_open(stage *s)
{
    g_autoptr(vmh_spec) spec = NULL;

    s->here = open_host(lab_variable("URI_A"));
    s->there = open_host(lab_variable("URI_B"));
    s->name = test_name("move");
    s->seen = g_string_new(NULL);
    spec = test_spec(s->name, 96);
    s->vm = boot_guest(s->here, spec, NULL, &s->console, s->seen);
}

static void stage_close(stage *s)
{
    close(s->console);
    test_clean(s->here);
    test_clean(s->there);
    vmh_vm_unref(s->vm);
    vmh_host_unref(s->here);
    vmh_host_unref(s->there);
    g_string_free(s->seen, TRUE);
    g_free(s->name);
}

/* The guest says so many more numbers than it has said. */
static void assert_counts_on(int console, GString *seen, guint more)
{
    guint goal = last_tick(seen) + more;

    while (last_tick(seen) < goal) {
        g_autoptr(GString) line = g_string_new(NULL);
        ck_assert_msg(test_wait_console(console, line, "\n", PATIENCE_MS), "the guest stands still: %s", seen->str);
        g_string_append(seen, line->str);
    }
}

/* What stays on the source runs there, is unknown to the destination, and has lost nothing. */
static void assert_stayed(stage *s)
{
    vmh_error *error = NULL;
    vmh_vm    *other;

    ck_assert(test_wait_state(s->vm, VMH_VM_RUNNING, PATIENCE_MS));
    assert_ok(vmh_host_refresh(s->there, 0, &error));
    other = vmh_host_find_vm(s->there, s->name, NULL);
    ck_assert_ptr_null(other);
    assert_counts_on(s->console, s->seen, 2);
    ck_assert(ticks_are_contiguous(s->seen));
}

/* A limit, so that a small guest takes long enough to be watched. */
static vmh_spec *at_most(const char *bandwidth)
{
    vmh_spec *options = vmh_spec_new("migrate", NULL);

    vmh_spec_set(options, "bandwidth", bandwidth, NULL);
    return options;
}

static vmh_spec *slowly(void)
{
    return at_most("1MiB/s");
}

static vmh_job *migrate(stage *s, const vmh_spec *options)
{
    vmh_error *error = NULL;
    vmh_job   *job = vmh_vm_migrate(s->vm, s->there, options, 0, &error);

    assert_no_error();
    return job;
}

static uint64_t progress(vmh_job *job, int32_t field)
{
    uint64_t value = 0;

    return vmh_job_progress(job, field, &value, NULL) == 0 ? value : 0;
}

/* Until its first bytes have moved. */
static void wait_under_way(vmh_job *job)
{
    int64_t deadline = test_now_ms() + PATIENCE_MS;

    while (progress(job, VMH_PROGRESS_BYTES_DONE) == 0) {
        g_autoptr(vmh_error) error = NULL;
        ck_assert(test_now_ms() < deadline);
        vmh_job_wait(job, 50, &error);
        ck_assert_msg(!vmh_job_done(job), "it ended already: %s", vmh_error_message(error));
    }
    ck_assert_uint_eq(progress(job, VMH_PROGRESS_PHASE), VMH_PHASE_MEMORY);
    ck_assert_uint_gt(progress(job, VMH_PROGRESS_BYTES_TOTAL), progress(job, VMH_PROGRESS_BYTES_DONE));
}

START_TEST(a_guest_counts_on_while_it_moves)
{
    g_autoptr(vmh_spec) options = at_most("16MiB/s");
    stage      s;
    vmh_error *error = NULL;
    vmh_job   *job;
    vmh_vm    *moved, *left;
    int        console;

    stage_open(&s);
    assert_counts_on(s.console, s.seen, 2);
    job = migrate(&s, options);
    ck_assert_msg(vmh_job_wait(job, PATIENCE_MS, &error) == 0, "%s", vmh_error_message(error));
    ck_assert_uint_gt(progress(job, VMH_PROGRESS_BYTES_DONE), 0);
    ck_assert_uint_eq(progress(job, VMH_PROGRESS_BYTES_DONE), progress(job, VMH_PROGRESS_BYTES_TOTAL));
    ck_assert_uint_gt(progress(job, VMH_PROGRESS_DOWNTIME_MS), 0);
    moved = vmh_job_result_vm(job);
    ck_assert_str_eq(vmh_vm_uuid(moved), vmh_vm_uuid(s.vm));
    ck_assert_ptr_eq(vmh_vm_host(moved), s.there);
    ck_assert(test_wait_state(moved, VMH_VM_RUNNING, PATIENCE_MS));
    console = vmh_vm_console(moved, NULL, 0, &error);
    ck_assert_msg(console >= 0, "%s", vmh_error_message(error));
    assert_counts_on(console, s.seen, 3);
    ck_assert(test_wait_state(s.vm, VMH_VM_GONE, PATIENCE_MS));
    left = vmh_host_find_vm(s.here, s.name, NULL);
    ck_assert_ptr_null(left);
    close(console);
    vmh_vm_unref(moved);
    vmh_job_unref(job);
    stage_close(&s);
}
END_TEST

START_TEST(cancelled_it_stays)
{
    g_autoptr(vmh_spec) options = slowly();
    stage      s;
    vmh_error *error = NULL;
    vmh_job   *job;

    stage_open(&s);
    job = migrate(&s, options);
    wait_under_way(job);
    ck_assert_int_eq(vmh_job_cancel(job, &error), 0);
    ck_assert_int_eq(vmh_job_cancel(job, &error), 0);
    assert_fails(job, VMH_ERR_CANCELLED);
    assert_stayed(&s);
    stage_close(&s);
}
END_TEST

START_TEST(it_stays_when_the_destination_dies)
{
    g_autoptr(vmh_spec) options = slowly();
    stage      s;
    vmh_error *error = NULL;
    vmh_job   *job;

    stage_open(&s);
    job = migrate(&s, options);
    wait_under_way(job);
    lab("hurt", "kill", DESTINATION, NULL);
    assert_fails(job, VMH_ERR_LOST);
    assert_counts_on(s.console, s.seen, 2);
    lab("hurt", "mend", DESTINATION, NULL);
    vmh_host_unref(s.there);
    s.there = open_host(lab_variable("URI_B"));
    assert_stayed(&s);
    stage_close(&s);
}
END_TEST

START_TEST(a_stalled_one_is_ended)
{
    g_autoptr(vmh_spec) options = slowly();
    stage      s;
    vmh_error *error = NULL;
    vmh_job   *job;

    stage_open(&s);
    vmh_spec_set(options, "stall.timeout", "8s", NULL);
    job = migrate(&s, options);
    wait_under_way(job);
    lab("hurt", "cut", DESTINATION, NULL);
    ck_assert_int_eq(vmh_job_wait(job, PATIENCE_MS, &error), VMH_ERR_TIMEOUT);
    ck_assert_int_eq(vmh_job_done(job), 1);
    ck_assert_str_eq(vmh_error_property(error), "stall.timeout");
    g_clear_pointer(&error, vmh_error_free);
    vmh_job_unref(job);
    assert_counts_on(s.console, s.seen, 2);
    lab("hurt", "mend", DESTINATION, NULL);
    vmh_host_unref(s.there);
    s.there = open_host(lab_variable("URI_B"));
    assert_counts_on(s.console, s.seen, 2);
    ck_assert(ticks_are_contiguous(s.seen));
    stage_close(&s);
}
END_TEST

static vmh_host *open_patient(const char *uri)
{
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_spec) options = vmh_spec_new("open", NULL);
    vmh_host *host;

    vmh_spec_set(options, "keepalive.interval", "1h", &error);
    vmh_spec_set(options, "call.timeout", "3s", &error);
    host = vmh_host_open(uri, options, 0, &error);
    ck_assert_msg(host != NULL, "%s", vmh_error_message(error));
    return host;
}

/* Its connection stands, and it answers nothing. What is asked of it before the first byte has its time as well. */
START_TEST(a_destination_that_is_silent_from_the_first_holds_nobody)
{
    vmh_error *error = NULL;
    vmh_host  *here, *there;
    vmh_vm    *vm;
    stage      s;

    stage_open(&s);
    here = open_patient(lab_variable("URI_A"));
    there = open_patient(lab_variable("URI_B"));
    vm = vmh_host_find_vm(here, s.name, &error);
    lab("hurt", "pause", DESTINATION, NULL);
    assert_fails(vmh_vm_migrate(vm, there, NULL, 0, &error), VMH_ERR_TIMEOUT);
    assert_ok(vmh_vm_pause(vm, 0, &error)); /* it holds up no other job of the VM */
    assert_ok(vmh_vm_resume(vm, 0, &error));
    lab("hurt", "mend", DESTINATION, NULL);
    assert_stayed(&s);
    vmh_vm_unref(vm);
    vmh_host_unref(here);
    vmh_host_unref(there);
    stage_close(&s);
}
END_TEST

START_TEST(what_cannot_be_is_refused_before)
{
    stage      s;
    vmh_error *error = NULL;
    vmh_host  *same;
    vmh_vm    *other;
    vmh_spec  *spec;

    stage_open(&s);
    same = open_host(lab_variable("URI_A"));
    assert_fails(vmh_vm_migrate(s.vm, s.here, NULL, 0, &error), VMH_ERR_ARGUMENT);
    assert_fails(vmh_vm_migrate(s.vm, same, NULL, 0, &error), VMH_ERR_ARGUMENT);
    spec = test_spec(s.name, 64);
    other = create(s.there, spec, 0); /* of the same name */
    assert_fails(vmh_vm_migrate(s.vm, s.there, NULL, 0, &error), VMH_ERR_EXISTS);
    assert_fails(vmh_vm_migrate(other, s.here, NULL, 0, &error), VMH_ERR_STATE); /* it does not run */
    assert_ok(vmh_vm_delete(other, 0, &error));
    vmh_vm_unref(other);
    vmh_spec_unref(spec);
    assert_stayed(&s);
    vmh_host_unref(same);
    stage_close(&s);
}
END_TEST

INTEGRATION_RUN("migrate", TRUE, a_guest_counts_on_while_it_moves, cancelled_it_stays,
                it_stays_when_the_destination_dies, a_stalled_one_is_ended,
                a_destination_that_is_silent_from_the_first_holds_nobody, what_cannot_be_is_refused_before)
