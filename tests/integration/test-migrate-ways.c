/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ways to migrate: there and back, led by either side, with each option; and what ends one half-way. */
#include "integration.h"

#include <glib/gstdio.h>
#include <unistd.h>

typedef struct {
    vmh_host *a;
    vmh_host *b;
    char     *name;
} stage;

static void stage_open(stage *s)
{
    s->a = open_host(lab_variable("URI_A"));
    s->b = open_host(lab_variable("URI_B"));
    s->name = test_name("way");
}

static void stage_close(stage *s)
{
    test_clean(s->a);
    test_clean(s->b);
    vmh_host_unref(s->a);
    vmh_host_unref(s->b);
    g_free(s->name);
}

/* Options as "mode=peer live=no". */
static vmh_spec *options_of(const char *text)
{
    vmh_spec *options = vmh_spec_new("migrate", NULL);
    g_auto(GStrv) pairs = g_strsplit(text, " ", -1);

    for (char **pair = pairs; *pair && **pair; pair++) {
        char *value = strchr(*pair, '=');
        *value++ = 0;
        ck_assert_msg(vmh_spec_set(options, *pair, value, NULL) == 0, "%s=%s", *pair, value);
    }
    return options;
}

/* Moves it; the VM there. */
static vmh_vm *move(vmh_vm *vm, vmh_host *to, const char *how)
{
    g_autoptr(vmh_spec) options = options_of(how);
    vmh_error *error = NULL;
    vmh_job   *job = vmh_vm_migrate(vm, to, options, 0, &error);
    vmh_vm    *moved;

    ck_assert_msg(vmh_job_wait(job, PATIENCE_MS, &error) == 0, "\"%s\": %s", how, vmh_error_message(error));
    moved = vmh_job_result_vm(job);
    ck_assert_ptr_nonnull(moved);
    ck_assert_msg(test_wait_state(moved, VMH_VM_RUNNING, PATIENCE_MS), "\"%s\": it is %s there", how,
                  vmh_vm_state_name(vmh_vm_state(moved)));
    vmh_job_unref(job);
    return moved;
}

static gboolean is_persistent(vmh_vm *vm)
{
    g_autoptr(vmh_spec) spec = vmh_vm_describe(vm, 0, NULL);
    int32_t persistent = -1;

    ck_assert(spec && vmh_spec_get_bool(spec, "persistent", &persistent, NULL) == 0);
    return persistent;
}

static void assert_unknown(vmh_host *host, const char *name)
{
    ck_assert_msg(test_wait_unknown(host, name, PATIENCE_MS), "%s is still known", name);
}

/* The console of where it is now; the ticks go on where they were. */
static void follow(vmh_vm *vm, int *console, GString *seen)
{
    g_autoptr(vmh_error) error = NULL;
    guint before = last_tick(seen);

    close(*console);
    *console = vmh_vm_console(vm, NULL, 0, &error);
    ck_assert_msg(*console >= 0, "%s", vmh_error_message(error));
    while (last_tick(seen) <= before) {
        g_autoptr(GString) line = g_string_new(NULL);
        ck_assert_msg(test_wait_console(*console, line, "\n", PATIENCE_MS), "it stands still: %s", last_words(seen));
        g_string_append(seen, line->str);
    }
    ck_assert_msg(last_tick(seen) < before + 60, "it began anew, or something was lost: %s", last_words(seen));
}

START_TEST(there_and_back)
{
    g_autoptr(GString) seen = g_string_new(NULL);
    g_autoptr(vmh_spec) spec = NULL;
    g_autoptr(vmh_vm) first = NULL;
    g_autoptr(vmh_vm) there = NULL;
    g_autoptr(vmh_vm) back = NULL;
    g_autoptr(vmh_vm) again = NULL;
    int   console;
    stage s;

    stage_open(&s);
    spec = test_spec(s.name, 96);
    first = boot_guest(s.a, spec, NULL, &console, seen);
    there = move(first, s.b, "mode=peer");
    assert_unknown(s.a, s.name);
    ck_assert(is_persistent(there));
    follow(there, &console, seen);

    back = move(there, s.a, "keep.source=yes");
    follow(back, &console, seen);
    ck_assert(test_wait_state(there, VMH_VM_STOPPED, PATIENCE_MS)); /* what was left behind */
    ck_assert(is_persistent(back) && is_persistent(there));

    again = move(back, s.b, ""); /* onto what was left behind */
    follow(again, &console, seen);
    assert_unknown(s.a, s.name);
    ck_assert_str_eq(vmh_vm_uuid(again), vmh_vm_uuid(first));
    close(console);
    stage_close(&s);
}
END_TEST

START_TEST(a_transient_one_stays_transient)
{
    g_autoptr(vmh_spec) spec = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    g_autoptr(vmh_vm) moved = NULL;
    vmh_error *error = NULL;
    stage      s;

    stage_open(&s);
    spec = test_spec(s.name, 32);
    vm = create(s.a, spec, VMH_CREATE_START | VMH_CREATE_TRANSIENT);
    moved = move(vm, s.b, "");
    ck_assert(!is_persistent(moved));
    assert_unknown(s.a, s.name);
    assert_ok(vmh_vm_stop(moved, 0, &error));
    assert_unknown(s.b, s.name);
    stage_close(&s);
}
END_TEST

START_TEST(each_option)
{
    static const char *const ways[] = {"mode=direct",        "mode=peer",         "live=no",
                                       "downtime=50ms",      "auto-converge=yes", "connections=2",
                                       "bandwidth=100MiB/s", "stall.timeout=30s"};
    stage                    s;

    stage_open(&s);
    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autoptr(vmh_spec) spec = test_spec(s.name, 32);
        g_autoptr(vmh_vm) vm = create(s.a, spec, VMH_CREATE_START);
        g_autoptr(vmh_vm) moved = move(vm, s.b, ways[i]);
        vmh_error *error = NULL;
        assert_unknown(s.a, s.name);
        assert_ok(vmh_vm_delete(moved, VMH_DELETE_FORCE, &error));
    }
    stage_close(&s);
}
END_TEST

/* Not every kernel lets QEMU fetch pages afterwards: then this is said, and it stays. */
START_TEST(post_copy)
{
    g_autoptr(vmh_spec) options = options_of("post-copy=yes");
    g_autoptr(vmh_spec) spec = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    vmh_error *error = NULL;
    int32_t    code;
    stage      s;

    stage_open(&s);
    spec = test_spec(s.name, 32);
    vm = create(s.a, spec, VMH_CREATE_START);
    code = vmh_job_finish(vmh_vm_migrate(vm, s.b, options, 0, &error), PATIENCE_MS, &error);
    ck_assert_msg(code == 0 || code == VMH_ERR_UNSUPPORTED, "%s", vmh_error_message(error));
    assert_unknown(code == 0 ? s.a : s.b, s.name);
    vmh_error_free(error);
    stage_close(&s);
}
END_TEST

START_TEST(under_another_name)
{
    g_autofree char *other = test_name("other-name");
    g_autofree char *option = g_strdup_printf("name=%s", other);
    g_autofree char *told = NULL;
    g_autoptr(vmh_spec) spec = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    g_autoptr(vmh_vm) moved = NULL;
    stage s;

    stage_open(&s);
    spec = test_spec(s.name, 32);
    vm = create(s.a, spec, VMH_CREATE_START);
    moved = move(vm, s.b, option);
    told = test_vm_name(moved);
    ck_assert_str_eq(told, other);
    ck_assert_str_eq(vmh_vm_uuid(moved), vmh_vm_uuid(vm));
    stage_close(&s);
}
END_TEST

START_TEST(a_paused_one_arrives_paused)
{
    g_autoptr(vmh_spec) spec = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    g_autoptr(vmh_vm) moved = NULL;
    vmh_error *error = NULL;
    vmh_job   *job;
    stage      s;

    stage_open(&s);
    spec = test_spec(s.name, 32);
    vm = create(s.a, spec, VMH_CREATE_START | VMH_CREATE_PAUSED);
    job = vmh_vm_migrate(vm, s.b, NULL, 0, &error);
    ck_assert_msg(vmh_job_wait(job, PATIENCE_MS, &error) == 0, "%s", vmh_error_message(error));
    moved = vmh_job_result_vm(job);
    vmh_job_unref(job);
    ck_assert(test_wait_state(moved, VMH_VM_PAUSED, PATIENCE_MS));
    assert_ok(vmh_vm_resume(moved, 0, &error));
    stage_close(&s);
}
END_TEST

START_TEST(not_to_another_kind_of_host)
{
    g_autoptr(vmh_host) other = open_host("test:///default");
    g_autoptr(vmh_spec) spec = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    vmh_error *error = NULL;
    int32_t    code;
    stage      s;

    stage_open(&s);
    spec = test_spec(s.name, 32);
    vm = create(s.a, spec, VMH_CREATE_START);
    code = vmh_job_finish(vmh_vm_migrate(vm, other, NULL, 0, &error), PATIENCE_MS, &error);
    ck_assert_msg(code == VMH_ERR_ARGUMENT || code == VMH_ERR_UNSUPPORTED, "%s", vmh_error_message(error));
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_RUNNING);
    vmh_error_free(error);
    stage_close(&s);
}
END_TEST

/* --- what ends one half-way --- */

/* One that takes a minute. */
static vmh_job *move_slowly(stage *s, vmh_vm **vm, int *console, GString *seen)
{
    g_autoptr(vmh_spec) spec = test_spec(s->name, 96);
    g_autoptr(vmh_spec) options = options_of("bandwidth=1MiB/s");
    g_autoptr(vmh_error) error = NULL;
    int64_t  end = test_now_ms() + PATIENCE_MS;
    uint64_t done = 0;
    vmh_job *job;

    *vm = boot_guest(s->a, spec, NULL, console, seen);
    job = vmh_vm_migrate(*vm, s->b, options, 0, &error);
    while ((vmh_job_progress(job, VMH_PROGRESS_BYTES_DONE, &done, NULL) < 0 || !done) && test_now_ms() < end)
        vmh_job_wait(job, 20, NULL);
    ck_assert_msg(done > 0 && !vmh_job_done(job), "it is not under way");
    return job;
}

START_TEST(stopped_half_way)
{
    g_autoptr(GString) seen = g_string_new(NULL);
    vmh_error *error = NULL;
    vmh_vm    *vm;
    vmh_job   *job;
    int        console;
    stage      s;

    stage_open(&s);
    job = move_slowly(&s, &vm, &console, seen);
    assert_ok(vmh_vm_stop(vm, 0, &error)); /* it does not queue behind the migration */
    ck_assert_int_lt(vmh_job_finish(job, PATIENCE_MS, &error), 0);
    ck_assert_msg(error && strlen(vmh_error_message(error)) > 8, "no reason is given");
    vmh_error_free(error);
    ck_assert(test_wait_state(vm, VMH_VM_STOPPED, PATIENCE_MS));
    assert_unknown(s.b, s.name);
    close(console);
    vmh_vm_unref(vm);
    stage_close(&s);
}
END_TEST

START_TEST(its_process_there_dies_half_way)
{
    g_autoptr(GString) seen = g_string_new(NULL);
    g_autofree char *kill = NULL;
    vmh_error       *error = NULL;
    vmh_vm          *vm;
    vmh_job         *job;
    int              console;
    stage            s;

    stage_open(&s);
    job = move_slowly(&s, &vm, &console, seen);
    kill = g_strdup_printf("kill -KILL $(cat /run/libvirt/qemu/%s.pid)", s.name);
    lab("host", "run", "b", "--", "sh", "-c", kill, NULL);
    ck_assert_int_lt(vmh_job_finish(job, PATIENCE_MS, &error), 0);
    ck_assert_msg(vmh_error_code(error) != VMH_ERR_INTERNAL, "%s", vmh_error_message(error));
    vmh_error_free(error);
    ck_assert(test_wait_state(vm, VMH_VM_RUNNING, PATIENCE_MS));
    assert_unknown(s.b, s.name);
    g_string_truncate(seen, 0);
    ck_assert(test_wait_console(console, seen, "tick", PATIENCE_MS));
    close(console);
    vmh_vm_unref(vm);
    stage_close(&s);
}
END_TEST

INTEGRATION_RUN("migrate-ways", TRUE, there_and_back, a_transient_one_stays_transient, each_option, post_copy,
                under_another_name, a_paused_one_arrives_paused, not_to_another_kind_of_host, stopped_half_way,
                its_process_there_dies_half_way)
