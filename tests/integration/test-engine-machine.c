/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The machine that a guest of the built-in engine finds: CPUs, memory, clock, and how it tells of its own end. */
#include "engine.h"

#include <glib/gstdio.h>
#include <unistd.h>

typedef struct {
    vmh_host  *host;
    vmh_queue *queue;
    vmh_vm    *vm;
    int        console;
    GString   *seen;
} stage;

static vmh_error *error;

/* A guest with these arguments and properties, which runs from when somebody listens. */
static stage begin_as(uint64_t flags, const char *cmdline, const char *properties)
{
    stage s = {.host = open_host(engine_uri()), .seen = g_string_new(NULL)};
    g_autoptr(vmh_spec) spec = engine_spec("machine", cmdline);
    g_auto(GStrv) pairs = g_strsplit(properties, " ", 0);

    for (guint i = 0; pairs[i]; i++) {
        g_auto(GStrv) pair = g_strsplit(pairs[i], "=", 2);

        ck_assert_int_eq(vmh_spec_set(spec, pair[0], pair[1], &error), 0);
    }
    s.queue = vmh_queue_new(s.host, "vm", 0, &error);
    s.vm = create(s.host, spec, VMH_CREATE_START | VMH_CREATE_PAUSED | flags);
    s.console = vmh_vm_console(s.vm, NULL, 0, &error);
    assert_ok(vmh_vm_resume(s.vm, 0, &error));
    return s;
}

static stage begin(const char *cmdline, const char *properties)
{
    return begin_as(0, cmdline, properties);
}

static void end(stage *s)
{
    close(s->console);
    assert_ok(vmh_vm_delete(s->vm, VMH_DELETE_FORCE, &error));
    vmh_vm_unref(s->vm);
    vmh_queue_unref(s->queue);
    vmh_host_unref(s->host);
    g_string_free(s->seen, TRUE);
}

static void expect_words(stage *s, const char *words)
{
    ck_assert_msg(test_wait_console(s->console, s->seen, words, PATIENCE_MS), "not \"%s\" but: %s", words,
                  last_words(s->seen));
}

/* The VM gets into this state, and the reason that is told has these parts. */
static void expect_end(stage *s, int32_t state, const char *part, const char *other)
{
    g_autoptr(vmh_event) event = NULL;
    const char *reason;

    do {
        g_clear_pointer(&event, vmh_event_free);
        event = test_wait_event(s->queue, VMH_EVENT_VM_STATE, "machine", PATIENCE_MS);
        ck_assert_msg(event != NULL, "it does not become %s", vmh_vm_state_name(state));
    } while ((int32_t)vmh_event_u64(event, "state") != state);
    reason = vmh_event_str(event, "reason");
    ck_assert_msg(strstr(reason, part) && strstr(reason, other), "the reason is: %s", reason);
}

/* --- CPUs and memory --- */

START_TEST(all_cpus_start_and_answer)
{
    GString *ids = g_string_new("cpus with ids");
    stage    s = begin("cpus=64", "cpu.count=64");

    for (guint i = 0; i < 64; i++)
        g_string_append_printf(ids, " %u", i);
    g_string_append_c(ids, '\n');
    expect_words(&s, ids->str);
    /* And again after a reset. */
    g_string_truncate(s.seen, 0);
    assert_ok(vmh_vm_reset(s.vm, 0, &error));
    expect_words(&s, ids->str);
    g_string_free(ids, TRUE);
    end(&s);
}
END_TEST

START_TEST(ids_tell_the_topology)
{
    stage s = begin("cpus=12", "cpu.count=12 cpu.sockets=2 cpu.cores=3 cpu.threads=2");

    expect_words(&s, "cpus with ids 0 1 2 3 4 5 8 9 10 11 12 13\n");
    end(&s);
}
END_TEST

/* Of memory that nobody touches there is none. */
START_TEST(memory_reaches_beyond_the_hole)
{
    stage s = begin("touch=3072 touch=4097 touch=7168", "memory.size=6GiB");

    expect_words(&s, "touched 3072\ntouched 4097\ntouched 7168\n");
    end(&s);
    s = begin("touch=3072 touch=4097 touch=525312", "memory.size=512GiB");
    expect_words(&s, "touched 3072\ntouched 4097\ntouched 525312\n");
    end(&s);
}
END_TEST

/* --- the clock --- */

static gint64 said_seconds(const char *text)
{
    int parts[7];

    ck_assert_int_eq(sscanf(text, "clock %d %d %d %d %d %d %d", &parts[0], &parts[1], &parts[2], &parts[3], &parts[4],
                            &parts[5], &parts[6]),
                     7);
    g_autoptr(GDateTime) date =
        g_date_time_new_utc(parts[6] * 100 + parts[5], parts[4], parts[3], parts[2], parts[1], parts[0]);
    ck_assert_msg(date != NULL, "%s is no date", text);
    return g_date_time_to_unix(date);
}

START_TEST(the_clock_is_the_hosts)
{
    const gint64 before = g_get_real_time() / G_USEC_PER_SEC;
    stage        s = begin("clock", "memory.size=32MiB");
    gint64       said;

    expect_words(&s, "ready");
    said = said_seconds(strstr(s.seen->str, "clock "));
    ck_assert_msg(said >= before && said <= g_get_real_time() / G_USEC_PER_SEC, "%s", last_words(s.seen));
    end(&s);
}
END_TEST

/* --- ends --- */

START_TEST(a_panic_is_a_crash)
{
    stage s = begin("tick=50 panic", "cpu.count=2");

    expect_end(&s, VMH_VM_CRASHED, "the guest panicked", "rip=");
    end(&s);
}
END_TEST

START_TEST(a_guest_that_panicked_may_begin_anew)
{
    stage s = begin("tick=50 panic", "on.crash=restart");

    for (guint i = 0; i < 3; i++) {
        expect_words(&s, "vmhost-guest: ready");
        expect_words(&s, "tick 1");
        g_string_truncate(s.seen, 0);
    }
    end(&s);
}
END_TEST

START_TEST(a_guest_that_panicked_may_be_kept)
{
    stage s = begin("tick=50 panic", "on.crash=keep");

    expect_end(&s, VMH_VM_CRASHED, "the guest panicked", "rip=");
    ck_assert_uint_eq(engine_processes(), 1);
    end(&s);
}
END_TEST

/* As it has not ended, it does not vanish either; another program finds it, and stops it. */
START_TEST(a_transient_guest_that_panicked_may_be_kept)
{
    stage s = begin_as(VMH_CREATE_TRANSIENT, "tick=50 panic", "on.crash=keep");
    g_autoptr(vmh_host) host = NULL;
    g_autoptr(vmh_vm) found = NULL;

    expect_end(&s, VMH_VM_CRASHED, "the guest panicked", "rip=");
    host = open_host(engine_uri());
    found = engine_find(host, "machine");
    ck_assert_int_eq(vmh_vm_state(found), VMH_VM_CRASHED);
    ck_assert_uint_eq(engine_processes(), 1);
    assert_ok(vmh_vm_stop(found, 0, &error));
    ck_assert_uint_eq(engine_processes(), 0);
    close(s.console);
    vmh_vm_unref(s.vm);
    vmh_queue_unref(s.queue);
    vmh_host_unref(s.host);
    g_string_free(s.seen, TRUE);
}
END_TEST

START_TEST(the_debug_exit_tells_a_value)
{
    stage s = begin("tick=50 exit=42", "debug.exit=244");

    expect_end(&s, VMH_VM_STOPPED, "ended with 42", "");
    end(&s);
    /* Where it was not asked for, the port is nobody's. */
    s = begin("tick=50 exit=42", "cpu.count=1");
    expect_words(&s, "tick 3");
    ck_assert_int_eq(vmh_vm_state(s.vm), VMH_VM_RUNNING);
    end(&s);
}
END_TEST

START_TEST(the_debug_console_is_a_file)
{
    g_autofree char *path = g_strdup_printf("%s.debug", engine_directory());
    g_autofree char *property = g_strconcat("debug.console=", path, NULL);
    g_autofree char *text = NULL;
    stage            s = begin("say=hello", property);

    expect_words(&s, "ready");
    ck_assert(g_file_get_contents(path, &text, NULL, NULL));
    ck_assert_str_eq(text, "hello");
    ck_assert(!strstr(s.seen->str, "no debug console"));
    end(&s);
    s = begin("say=hello", "cpu.count=1");
    expect_words(&s, "no debug console");
    end(&s);
    g_unlink(path);
}
END_TEST

/* An empty text takes it away, and the next start does without. */
START_TEST(a_file_is_taken_away)
{
    static const char *const paths[] = {"debug.console", "boot.initrd"};
    g_autoptr(vmh_host) host = open_host(engine_uri());

    for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autoptr(vmh_spec) spec = engine_spec("empty", NULL), update = vmh_spec_new("vm", NULL);
        vmh_vm *vm;

        ck_assert_int_eq(vmh_spec_set(spec, paths[i], "/nonexistent/file", &error), 0);
        ck_assert_int_eq(vmh_spec_set(update, paths[i], "", &error), 0);
        vm = create(host, spec, 0);
        assert_fails(vmh_vm_start(vm, 0, &error), VMH_ERR_NOT_FOUND);
        assert_ok(vmh_vm_update(vm, update, 0, 0, &error));
        assert_ok(vmh_vm_start(vm, 0, &error));
        assert_ok(vmh_vm_delete(vm, VMH_DELETE_FORCE, &error));
        vmh_vm_unref(vm);
    }
}
END_TEST

static const struct {
    const char *property;
    const char *value;
    int32_t     code;
} wrong[] = {
    {"debug.exit", "1016", VMH_ERR_VALUE}, /* the serial port */
    {"debug.exit", "1282", VMH_ERR_VALUE}, /* its last is pvpanic's */
    {"debug.console", "/nonexistent/file", VMH_ERR_NOT_FOUND},
    {"debug.console", "/", VMH_ERR_VALUE},
};

START_TEST(debug_ports_may_be_wrong)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());

    for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(vmh_spec) spec = engine_spec("wrong", NULL);
        int32_t code;

        vmh_spec_set(spec, wrong[i].property, wrong[i].value, &error);
        code = vmh_job_finish(vmh_host_create_vm(host, spec, VMH_CREATE_START, &error), PATIENCE_MS, &error);
        ck_assert_msg(code == wrong[i].code, "%s: %s", wrong[i].value, vmh_error_message(error));
        ck_assert_str_eq(vmh_error_property(error), wrong[i].property);
        g_clear_pointer(&error, vmh_error_free);
        ck_assert_uint_eq(vmh_host_list_vms(host, NULL), 0);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        all_cpus_start_and_answer,
        ids_tell_the_topology,
        memory_reaches_beyond_the_hole,
        the_clock_is_the_hosts,
        a_panic_is_a_crash,
        a_guest_that_panicked_may_begin_anew,
        a_guest_that_panicked_may_be_kept,
        a_transient_guest_that_panicked_may_be_kept,
        the_debug_exit_tells_a_value,
        the_debug_console_is_a_file,
        a_file_is_taken_away,
        debug_ports_may_be_wrong,
    };

    return engine_run("engine-machine", tests, G_N_ELEMENTS(tests));
}
