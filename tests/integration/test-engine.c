/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMs of the built-in engine live on their own: whoever started them, and whatever ends them. */
#include "engine.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* How long what must not hang may take on a machine that is busy. */
enum { SOON_MS = 20000 };

static vmh_queue *watch(vmh_host *host)
{
    vmh_queue *queue = vmh_queue_new(host, "vm", 0, NULL);
    g_autoptr(vmh_event) synced = test_wait_event(queue, VMH_EVENT_SYNCED, NULL, PATIENCE_MS);

    ck_assert_ptr_nonnull(synced);
    return queue;
}

/* The next state that is told must be this one. The event is the caller's. */
static vmh_event *expect_state(vmh_queue *queue, const char *name, int32_t state)
{
    vmh_event  *event = test_wait_event(queue, VMH_EVENT_VM_STATE, name, PATIENCE_MS);
    const char *told = event ? vmh_vm_state_name((int32_t)vmh_event_u64(event, "state")) : "nothing";

    ck_assert_msg(g_strcmp0(told, vmh_vm_state_name(state)) == 0, "%s was told instead of %s", told,
                  vmh_vm_state_name(state));
    return event;
}

static void expect_states(vmh_queue *queue, const char *name, const int32_t *states, size_t count)
{
    for (size_t i = 0; i < count; i++)
        vmh_event_free(expect_state(queue, name, states[i]));
}

#define EXPECT_STATES(queue, name, ...)                                                                              \
    expect_states(queue, name, (const int32_t[]){__VA_ARGS__}, G_N_ELEMENTS(((const int32_t[]){__VA_ARGS__})))

/* --- the second program --- */

static gboolean waits_for_console(vmh_vm *vm, const char *say, const char *hear)
{
    g_autoptr(GString) seen = g_string_new(NULL);
    const int console = vmh_vm_console(vm, NULL, VMH_CONSOLE_FORCE, NULL);
    gboolean  heard =
        console >= 0 && (!say || test_say(console, say)) && test_wait_console(console, seen, hear, PATIENCE_MS);

    if (console >= 0)
        close(console);
    return heard;
}

/* Fails with what went wrong on its standard error, for whoever runs it. */
static gboolean drive(vmh_host *host, const char *name)
{
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_vm) vm = vmh_host_find_vm(host, name, &error);
    gboolean heard;

    vmh_job_finish(vmh_vm_pause(vm, 0, &error), PATIENCE_MS, &error);
    vmh_job_finish(vmh_vm_resume(vm, 0, &error), PATIENCE_MS, &error);
    heard = !error && waits_for_console(vm, "hello\n", "echo: hello");
    vmh_job_finish(vmh_vm_stop(vm, 0, &error), PATIENCE_MS, &error);
    vmh_job_finish(vmh_vm_start(vm, 0, &error), PATIENCE_MS, &error);
    if (error || !heard)
        fprintf(stderr, "%s\n", error ? vmh_error_message(error) : "the guest does not answer");
    return !error && heard;
}

/* Says which of its names it got. */
static gboolean create_many(vmh_host *host, const char *prefix, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf("%s%u", prefix, i);
        g_autoptr(vmh_spec) spec = engine_spec(name, NULL);
        const int32_t code = vmh_job_finish(vmh_host_create_vm(host, spec, 0, NULL), PATIENCE_MS, NULL);

        if (code != 0 && code != VMH_ERR_EXISTS)
            return FALSE;
        if (code == 0)
            printf("%u\n", i);
    }
    return TRUE;
}

static gboolean create_one(vmh_host *host, const char *name, gboolean transient)
{
    g_autoptr(vmh_spec) spec = engine_spec(name, "tick=50");
    const uint64_t flags = VMH_CREATE_START | (transient ? VMH_CREATE_TRANSIENT : 0);

    return vmh_job_finish(vmh_host_create_vm(host, spec, flags, NULL), PATIENCE_MS, NULL) == 0;
}

/* This program again, as another: URI, what to do, a name. */
static int be_second(char **arguments)
{
    g_autoptr(vmh_host) host = vmh_host_open(arguments[0], NULL, 0, NULL);
    const char *what = arguments[1];
    gboolean    done = FALSE;

    if (!host)
        return 1;
    if (g_str_equal(what, "create") || g_str_equal(what, "create-transient"))
        done = create_one(host, arguments[2], g_str_equal(what, "create-transient"));
    else if (g_str_equal(what, "drive"))
        done = drive(host, arguments[2]);
    else if (g_str_equal(what, "create-many"))
        done = create_many(host, arguments[2], 20);
    return !done;
}

/* --- VMs and programs --- */

START_TEST(a_vm_outlives_its_creator)
{
    g_autofree char *name = test_name("orphan");
    g_autofree char *output = SECOND(engine_uri(), "create", name); /* returns when what it prints to is closed */
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_find(host, name);
    g_autoptr(vmh_error) error = NULL;
    vmh_queue *queue = watch(host);

    ck_assert_str_eq(output, "");
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_RUNNING);
    ck_assert(waits_for_console(vm, NULL, "tick"));
    assert_ok(vmh_vm_shutdown(vm, 0, &error));
    EXPECT_STATES(queue, name, VMH_VM_STOPPED);
    assert_ok(vmh_vm_start(vm, 0, &error));
    assert_ok(vmh_vm_delete(vm, VMH_DELETE_FORCE, &error));
    vmh_queue_unref(queue);
}
END_TEST

/* Watched through a handle that has done nothing itself: one that has takes a look rather than believe each event. */
START_TEST(another_program_drives_it)
{
    g_autofree char *name = test_name("shared");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_host) watching = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, name, "tick=50", VMH_CREATE_START);
    g_autoptr(vmh_vm) same = engine_find(watching, name);
    ck_assert(test_wait_state(same, VMH_VM_RUNNING, PATIENCE_MS));
    vmh_queue       *queue = watch(watching);
    g_autofree char *output = SECOND(engine_uri(), "drive", name);

    ck_assert_str_eq(output, "");
    EXPECT_STATES(queue, name, VMH_VM_PAUSED, VMH_VM_RUNNING, VMH_VM_STOPPED, VMH_VM_RUNNING);
    ck_assert(test_wait_state(vm, VMH_VM_RUNNING, PATIENCE_MS));
    vmh_queue_unref(queue);
}
END_TEST

START_TEST(another_programs_vm_is_seen_to_appear)
{
    g_autofree char *name = test_name("news");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    vmh_queue              *queue = watch(host);
    g_autofree char *output G_GNUC_UNUSED = SECOND(engine_uri(), "create", name);
    g_autoptr(vmh_event) added = test_wait_event(queue, VMH_EVENT_VM_ADDED, name, PATIENCE_MS);
    g_autoptr(vmh_vm) vm = added ? vmh_event_vm(added) : NULL;

    ck_assert_ptr_nonnull(vm);
    ck_assert(test_wait_state(vm, VMH_VM_RUNNING, PATIENCE_MS));
    vmh_queue_unref(queue);
}
END_TEST

START_TEST(one_of_two_creators_wins)
{
    g_autofree char *prefix = test_name("race");
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *both = g_strdup_printf(
        "'%1$s' '%2$s' create-many '%3$s' & '%1$s' '%2$s' create-many '%3$s'; wait", self, engine_uri(), prefix);
    g_autofree char *output = RUN("sh", "-c", both);
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_auto(GStrv) won = g_strsplit(g_strstrip(output), "\n", -1);
    gboolean got[20] = {FALSE};

    ck_assert_msg(g_strv_length(won) == 20, "got: %s", output);
    for (guint i = 0; won[i]; i++) {
        const guint64 number = g_ascii_strtoull(won[i], NULL, 10);

        ck_assert(number < 20 && !got[number]);
        got[number] = TRUE;
    }
    ck_assert_uint_eq(vmh_host_list_vms(host, NULL), 20);
    test_clean(host);
    ck_assert_uint_eq(vmh_host_list_vms(host, NULL), 0);
}
END_TEST

/* --- ends --- */

START_TEST(a_killed_process_is_a_crash)
{
    g_autofree char *name = test_name("killed");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_host) other = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, name, "tick=50", VMH_CREATE_START);
    g_autoptr(vmh_vm) same G_GNUC_UNUSED = engine_find(other, name); /* it would be new and crashed otherwise */
    g_autoptr(vmh_error) error = NULL;
    vmh_queue *queues[] = {watch(host), watch(other)};

    kill(engine_process(vm), SIGKILL);
    for (guint i = 0; i < G_N_ELEMENTS(queues); i++) {
        g_autoptr(vmh_event) event = expect_state(queues[i], name, VMH_VM_CRASHED);
        ck_assert_ptr_nonnull(strstr(vmh_event_str(event, "reason"), "killed"));
    }
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_CRASHED);
    /* The next that is told is the next that happens. */
    assert_ok(vmh_vm_start(vm, 0, &error));
    for (guint i = 0; i < G_N_ELEMENTS(queues); i++) {
        EXPECT_STATES(queues[i], name, VMH_VM_RUNNING);
        vmh_queue_unref(queues[i]);
    }
    ck_assert(waits_for_console(vm, NULL, "tick"));
}
END_TEST

START_TEST(a_killed_process_is_remembered)
{
    g_autofree char        *name = test_name("found-dead");
    g_autofree char *output G_GNUC_UNUSED = SECOND(engine_uri(), "create", name);
    pid_t                   process;

    {
        g_autoptr(vmh_host) host = open_host(engine_uri());
        g_autoptr(vmh_vm) vm = engine_find(host, name);
        process = engine_process(vm);
    }
    kill(process, SIGKILL);
    ck_assert(engine_wait_gone(process, SOON_MS));
    {
        g_autoptr(vmh_host) host = open_host(engine_uri());
        g_autoptr(vmh_vm) vm = engine_find(host, name);
        ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_CRASHED);
    }
}
END_TEST

/* Whoever asks at once is told as much as whoever waits. */
START_TEST(a_host_that_was_just_opened_has_frames)
{
    g_autofree char *name = test_name("seen");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm G_GNUC_UNUSED = engine_create(host, name, "tick=50", VMH_CREATE_START);
    g_autoptr(vmh_error) error = NULL;

    for (guint i = 0; i < 20; i++) {
        g_autoptr(vmh_host) other = open_host(engine_uri());
        g_autoptr(vmh_frame) frame = vmh_host_sample(other, "cpu.count", 0, &error);
        const uint64_t *counts = NULL;

        assert_no_error();
        ck_assert_int_eq(vmh_frame_column(frame, "cpu.count", &counts, NULL, &error), 0);
        ck_assert_uint_eq(vmh_frame_rows(frame), 1);
        ck_assert_uint_eq(counts[0], 1);
    }
}
END_TEST

/* SIGSTOP and all that a program may do meanwhile. */
START_TEST(a_frozen_process_holds_up_nobody)
{
    g_autofree char *name = test_name("frozen");
    g_autofree char *second = test_name("awake");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, name, "tick=50", VMH_CREATE_START);
    g_autoptr(vmh_error) error = NULL;
    const pid_t   process = engine_process(vm);
    const int64_t start = test_now_ms();

    kill(process, SIGSTOP);
    g_autoptr(vmh_host) other = open_host(engine_uri());
    g_autoptr(vmh_vm) same = engine_find(other, name);
    g_autoptr(vmh_spec) description G_GNUC_UNUSED = vmh_vm_describe(same, 0, &error);
    assert_no_error();
    g_autoptr(vmh_frame) frame G_GNUC_UNUSED = vmh_host_sample(other, NULL, 0, &error);
    assert_no_error();
    assert_ok(vmh_host_refresh(other, 0, &error));
    g_autoptr(vmh_vm) awake = engine_create(host, second, "tick=50", VMH_CREATE_START);
    ck_assert(waits_for_console(awake, NULL, "tick"));
    assert_ok(vmh_vm_stop(vm, 0, &error));
    ck_assert(engine_wait_gone(process, SOON_MS));
    ck_assert_int_lt(test_now_ms() - start, 2 * SOON_MS);
    assert_ok(vmh_vm_start(vm, 0, &error));
    ck_assert(waits_for_console(vm, NULL, "tick"));
}
END_TEST

START_TEST(a_triple_fault_tells_the_registers)
{
    g_autofree char *name = test_name("faulty");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    vmh_queue *queue = watch(host);
    /* Paused at first: one that crashes at once may be told of as a new VM that has crashed. */
    g_autoptr(vmh_vm) vm = engine_create(host, name, "tick=50 crash", VMH_CREATE_START | VMH_CREATE_PAUSED);
    g_autoptr(vmh_event) event = NULL;
    g_autoptr(vmh_error) error = NULL;

    assert_ok(vmh_vm_resume(vm, 0, &error));
    event = test_wait_event(queue, VMH_EVENT_VM_STATE, name, PATIENCE_MS);
    while (event && vmh_event_u64(event, "state") != VMH_VM_CRASHED) {
        vmh_event_free(event);
        event = test_wait_event(queue, VMH_EVENT_VM_STATE, name, PATIENCE_MS);
    }
    ck_assert_ptr_nonnull(event);
    ck_assert_msg(strstr(vmh_event_str(event, "reason"), "rip="), "%s", vmh_event_str(event, "reason"));
    ck_assert_msg(strstr(vmh_event_str(event, "reason"), "cr3="), "%s", vmh_event_str(event, "reason"));
    vmh_queue_unref(queue);
}
END_TEST

static void expect_crash(vmh_queue *queue, const char *name, const char *reason)
{
    vmh_event *event = NULL;

    do {
        vmh_event_free(event);
        event = test_wait_event(queue, VMH_EVENT_VM_STATE, name, PATIENCE_MS);
    } while (event && vmh_event_u64(event, "state") != VMH_VM_CRASHED &&
             vmh_event_u64(event, "state") != VMH_VM_GONE);
    ck_assert_ptr_nonnull(event);
    ck_assert_int_eq(vmh_event_u64(event, "state"), VMH_VM_CRASHED);
    ck_assert_msg(strstr(vmh_event_str(event, "reason"), reason), "%s", vmh_event_str(event, "reason"));
    vmh_event_free(event);
}

/* Who started it a moment ago hears how it ended, and so do others, whoever of them clears away what vanishes. */
START_TEST(a_transient_vm_tells_how_it_ended)
{
    const uint64_t flags = VMH_CREATE_START | VMH_CREATE_PAUSED | VMH_CREATE_TRANSIENT;
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_host) other = open_host(engine_uri());
    g_autoptr(vmh_error) error = NULL;
    vmh_queue *queues[] = {watch(host), watch(other)};

    for (guint i = 0; i < 20; i++) {
        g_autofree char *name = test_name("fleeting");
        g_autoptr(vmh_vm) vm = engine_create(host, name, "tick=5 crash", flags);
        g_autoptr(vmh_vm) same = engine_find(other, name);
        const gboolean is_killed = i % 2;

        if (is_killed)
            kill(engine_process(vm), SIGKILL);
        else
            assert_ok(vmh_vm_resume(vm, 0, &error));
        expect_crash(queues[0], name, is_killed ? "killed" : "rip=");
        expect_crash(queues[1], name, is_killed ? "killed" : "rip=");
        ck_assert(test_wait_state(vm, VMH_VM_GONE, PATIENCE_MS));
        ck_assert(test_wait_state(same, VMH_VM_GONE, PATIENCE_MS));
    }
    vmh_queue_unref(queues[0]);
    vmh_queue_unref(queues[1]);
}
END_TEST

START_TEST(a_guest_restarts_itself)
{
    g_autofree char *name = test_name("again");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, name, "tick=50 reboot", VMH_CREATE_START | VMH_CREATE_PAUSED);
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(GString) seen = g_string_new(NULL);
    const int console = vmh_vm_console(vm, NULL, 0, &error);

    ck_assert_int_ge(console, 0);
    assert_ok(vmh_vm_resume(vm, 0, &error));
    for (guint i = 0; i < 3; i++) {
        g_string_truncate(seen, 0);
        ck_assert_msg(test_wait_console(console, seen, "ready cpus=1\ntick 1\n", PATIENCE_MS), "%s", seen->str);
    }
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_RUNNING);
    close(console);
}
END_TEST

/* --- what is left --- */

START_TEST(a_transient_vm_vanishes_without_its_creator)
{
    g_autofree char        *name = test_name("passing");
    g_autofree char *output G_GNUC_UNUSED = SECOND(engine_uri(), "create-transient", name);
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_find(host, name);
    g_autoptr(vmh_error) error = NULL;
    vmh_queue  *queue = watch(host);
    const guint files = engine_files();

    ck_assert_uint_gt(files, 3);
    assert_ok(vmh_vm_shutdown(vm, 0, &error));
    g_autoptr(vmh_event) removed = test_wait_event(queue, VMH_EVENT_VM_REMOVED, name, PATIENCE_MS);
    ck_assert_ptr_nonnull(removed);
    ck_assert_uint_le(engine_files(), 3); /* the two directories and the lock */
    vmh_queue_unref(queue);
}
END_TEST

START_TEST(a_transient_vm_vanishes_unseen)
{
    g_autofree char        *name = test_name("unseen");
    g_autofree char *output G_GNUC_UNUSED = SECOND(engine_uri(), "create-transient", name);
    pid_t                   process;

    {
        g_autoptr(vmh_host) host = open_host(engine_uri());
        g_autoptr(vmh_vm) vm = engine_find(host, name);
        process = engine_process(vm);
    }
    kill(process, SIGKILL);
    ck_assert(engine_wait_gone(process, SOON_MS));
    for (guint i = 0; i < 3; i++) {
        g_autoptr(vmh_host) host = open_host(engine_uri());
        vmh_queue *queue = watch(host);

        ck_assert(test_wait_unknown(host, name, 0));
        ck_assert_uint_le(engine_files(), 3);
        vmh_queue_unref(queue);
    }
}
END_TEST

START_TEST(a_deleted_vm_leaves_nothing)
{
    g_autofree char *name = test_name("deleted");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, name, "tick=50", VMH_CREATE_START);
    g_autoptr(vmh_error) error = NULL;
    const pid_t process = engine_process(vm);

    assert_fails(vmh_vm_delete(vm, 0, &error), VMH_ERR_STATE);
    assert_ok(vmh_vm_delete(vm, VMH_DELETE_FORCE, &error));
    ck_assert_uint_le(engine_files(), 3);
    ck_assert(engine_wait_gone(process, SOON_MS));
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_GONE);
}
END_TEST

/* 128 bytes, as many as there may be. */
#define PERCENTS "%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%"
#define LONGEST_NAME (PERCENTS PERCENTS)

static const char *const odd_names[] = {

    "...",       "=",        "=x",        "%2F",   "a%2fb",      "a\\b",  "-rf",
    " blank ",   "lock",     "*",         "names", "🐟",          "größe", "∕etc∕passwd", /* division slashes */
    "a\xcc\x88", "\xc3\xa4", "$(reboot)", "'\"`",  LONGEST_NAME,
};

START_TEST(names_may_be_odd)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_error) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(odd_names); i++)
        vmh_vm_unref(engine_create(host, odd_names[i], NULL, 0));
    g_autoptr(vmh_host) other = open_host(engine_uri());
    ck_assert_uint_eq(vmh_host_list_vms(other, NULL), G_N_ELEMENTS(odd_names));
    for (guint i = 0; i < G_N_ELEMENTS(odd_names); i++) {
        g_autoptr(vmh_vm) vm = engine_find(other, odd_names[i]);
        g_autofree char *name = test_vm_name(vm);

        ck_assert_str_eq(name, odd_names[i]);
        assert_ok(vmh_vm_start(vm, 0, &error));
        assert_ok(vmh_vm_delete(vm, VMH_DELETE_FORCE, &error));
    }
    ck_assert_uint_le(engine_files(), 3);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        a_vm_outlives_its_creator,
        another_program_drives_it,
        another_programs_vm_is_seen_to_appear,
        one_of_two_creators_wins,
        a_killed_process_is_a_crash,
        a_killed_process_is_remembered,
        a_host_that_was_just_opened_has_frames,
        a_frozen_process_holds_up_nobody,
        a_triple_fault_tells_the_registers,
        a_transient_vm_tells_how_it_ended,
        a_guest_restarts_itself,
        a_transient_vm_vanishes_without_its_creator,
        a_transient_vm_vanishes_unseen,
        a_deleted_vm_leaves_nothing,
        names_may_be_odd,
    };

    return argc == 4 ? be_second(argv + 1) : engine_run("engine", tests, G_N_ELEMENTS(tests));
}
