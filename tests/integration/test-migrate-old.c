/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Migration to a host whose QEMU is older: refused before anything happens, or done where both have the machine. */
#include "integration.h"

#include <stdio.h>
#include <unistd.h>

/* What the lab calls the host at URI_OLD. */
#define OLD_HOST "o"

typedef struct {
    vmh_host *here;
    vmh_host *old;
    vmh_vm   *vm;
    char     *name;
    int       console;
    GString  *seen;
} stage;

/* A VM that runs on the newer host; NULL: the machine, the CPU that VMs get by default. */
static void stage_open(stage *s, const char *machine, const char *cpu)
{
    g_autoptr(vmh_spec) spec = NULL;

    s->here = open_host(lab_variable("URI_A"));
    s->old = open_host(lab_variable("URI_OLD"));
    test_clean(s->here); /* a test that failed leaves its VM */
    test_clean(s->old);
    s->name = test_name("old");
    s->seen = g_string_new(NULL);
    spec = test_spec(s->name, 96);
    ck_assert(!machine || vmh_spec_set_str(spec, "machine", machine, NULL) == 0);
    ck_assert(!cpu || vmh_spec_set_str(spec, "cpu.model", cpu, NULL) == 0);
    ck_assert_int_eq(vmh_spec_set_str(spec, "accelerator", "tcg", NULL), 0); /* the CPUs that each QEMU emulates */
    s->vm = boot_guest(s->here, spec, NULL, &s->console, s->seen);
}

static void stage_close(stage *s)
{
    close(s->console);
    test_clean(s->here);
    test_clean(s->old);
    vmh_vm_unref(s->vm);
    vmh_host_unref(s->here);
    vmh_host_unref(s->old);
    g_string_free(s->seen, TRUE);
    g_free(s->name);
}

static char *machine_of(vmh_vm *vm)
{
    g_autoptr(vmh_spec) spec = vmh_vm_describe(vm, 0, NULL);

    return test_text(spec, "machine");
}

/* Reads the console until the guest has counted so far. */
static void wait_tick(int console, GString *seen, guint number)
{
    while (last_tick(seen) < number) {
        g_autoptr(GString) line = g_string_new(NULL);
        ck_assert_msg(test_wait_console(console, line, "\n", PATIENCE_MS), "the guest does not count on: %s",
                      seen->str);
        g_string_append(seen, line->str);
    }
}

static gboolean has_vm(vmh_host *host, const char *name)
{
    vmh_error *error = NULL;
    vmh_vm    *vm;

    assert_ok(vmh_host_refresh(host, 0, &error));
    vm = vmh_host_find_vm(host, name, NULL);
    vmh_vm_unref(vm);
    return vm != NULL;
}

/* libvirt makes the log as soon as it tries to start a VM's QEMU, and leaves it. */
static void assert_qemu_log(const char *name, gboolean exists)
{
    g_autofree char *path = g_strdup_printf("/var/log/libvirt/qemu/%s.log", name);

    lab("host", "run", OLD_HOST, "--", "test", exists ? "-e" : "!", exists ? path : "-e", exists ? NULL : path, NULL);
}

static void assert_refused(stage *s, const char *mode, const char *machine)
{
    g_autoptr(vmh_spec) options = vmh_spec_new("migrate", NULL);
    vmh_error *error = NULL;
    vmh_job   *job;
    uint64_t   bytes;

    ck_assert_int_eq(vmh_spec_set(options, "mode", mode, NULL), 0);
    job = vmh_vm_migrate(s->vm, s->old, options, 0, &error);
    ck_assert_int_eq(vmh_job_wait(job, PATIENCE_MS, &error), VMH_ERR_UNSUPPORTED);
    ck_assert_msg(strstr(vmh_error_message(error), machine), "%s", vmh_error_message(error));
    ck_assert_msg(strstr(vmh_error_message(error), lab_variable("MACHINE_OLD")), "%s", vmh_error_message(error));
    ck_assert_str_eq(vmh_error_property(error), "machine");
    ck_assert_int_eq(vmh_error_retryable(error), 0);
    ck_assert_ptr_null(vmh_job_result_vm(job));
    ck_assert_int_eq(vmh_job_progress(job, VMH_PROGRESS_BYTES_DONE, &bytes, NULL), VMH_ERR_NOT_SET);
    vmh_error_free(error);
    vmh_job_unref(job);
}

/* A queue from which the events of the snapshot are gone. */
static vmh_queue *watch(vmh_host *host)
{
    vmh_queue *queue = vmh_queue_new(host, "vm", 0, NULL);
    vmh_event *synced = test_wait_event(queue, VMH_EVENT_SYNCED, NULL, PATIENCE_MS);

    ck_assert_ptr_nonnull(synced);
    vmh_event_free(synced);
    return queue;
}

/* Nothing was told of that VM; of others there may be, as tests run side by side. */
static void assert_silent(vmh_queue *queue, const char *name)
{
    vmh_event *event = NULL;

    while (vmh_queue_next(queue, &event, NULL) == 1) {
        ck_assert_msg(g_strcmp0(vmh_event_str(event, "name"), name) != 0, "\"%s\" (%s) was told of",
                      vmh_event_type_name(vmh_event_type(event)), vmh_event_str(event, "reason"));
        vmh_event_free(event);
    }
    vmh_queue_unref(queue);
}

START_TEST(a_machine_that_is_too_new_is_refused)
{
    stage            s;
    g_autofree char *machine = NULL;
    vmh_queue       *here, *old;

    stage_open(&s, NULL, NULL);
    machine = machine_of(s.vm);
    ck_assert_str_ne(machine, lab_variable("MACHINE_OLD"));
    here = watch(s.here);
    old = watch(s.old);
    assert_refused(&s, "direct", machine);
    assert_refused(&s, "peer", machine);
    wait_tick(s.console, s.seen, last_tick(s.seen) + 2);
    ck_assert_msg(ticks_are_contiguous(s.seen), "%s", s.seen->str);
    ck_assert_int_eq(vmh_vm_state(s.vm), VMH_VM_RUNNING);
    assert_silent(here, s.name);
    assert_silent(old, s.name);
    ck_assert(has_vm(s.here, s.name));
    ck_assert(!has_vm(s.old, s.name));
    assert_qemu_log(s.name, FALSE);
    stage_close(&s);
}
END_TEST

/* The guest counts on from where it was, and hears us. */
static void move(stage *s, vmh_host *to)
{
    vmh_host  *from = vmh_vm_host(s->vm);
    vmh_error *error = NULL;
    vmh_job   *job;
    vmh_vm    *moved;
    guint      before;

    wait_tick(s->console, s->seen, last_tick(s->seen) + 1);
    before = last_tick(s->seen);
    job = vmh_vm_migrate(s->vm, to, NULL, 0, &error);
    ck_assert_msg(vmh_job_wait(job, PATIENCE_MS, &error) == 0, "%s", vmh_error_message(error));
    moved = vmh_job_result_vm(job);
    vmh_job_unref(job);
    ck_assert_ptr_eq(vmh_vm_host(moved), to);
    ck_assert(!has_vm(from, s->name));
    vmh_vm_unref(s->vm);
    s->vm = moved;
    close(s->console);
    s->console = vmh_vm_console(s->vm, NULL, 0, &error);
    ck_assert_msg(s->console >= 0, "%s", vmh_error_message(error));
    g_string_truncate(s->seen, 0);
    wait_tick(s->console, s->seen, before + 2);
    ck_assert(test_say(s->console, "are you there?\n"));
    ck_assert(test_wait_console(s->console, s->seen, "echo: are you there?", PATIENCE_MS));
    ck_assert_msg(!strstr(s->seen->str, "ready") && ticks_are_contiguous(s->seen), "%s", s->seen->str);
}

START_TEST(a_machine_that_both_have_goes_there_and_back)
{
    stage            s;
    g_autofree char *machine = NULL;

    stage_open(&s, lab_variable("MACHINE_OLD"), NULL);
    move(&s, s.old);
    machine = machine_of(s.vm);
    ck_assert_str_eq(machine, lab_variable("MACHINE_OLD"));
    assert_qemu_log(s.name, TRUE);
    move(&s, s.here);
    stage_close(&s);
}
END_TEST

/* Between QEMU 5.2 and 7.2 its emulation learnt AVX. Only the destination notices, with the new QEMU started. */
START_TEST(a_cpu_that_is_too_new_is_refused)
{
    stage      s;
    vmh_error *error = NULL;

    if (!g_str_equal(lab_variable("MACHINE_OLD"), "pc-q35-5.2"))
        return;
    stage_open(&s, lab_variable("MACHINE_OLD"), "Haswell-noTSX");
    ck_assert_int_eq(vmh_job_finish(vmh_vm_migrate(s.vm, s.old, NULL, 0, &error), PATIENCE_MS, &error),
                     VMH_ERR_UNSUPPORTED);
    ck_assert_msg(strstr(vmh_error_message(error), "avx") && strstr(vmh_error_message(error), "stays on this host"),
                  "%s", vmh_error_message(error));
    ck_assert_str_eq(vmh_error_property(error), "cpu.model");
    vmh_error_free(error);
    wait_tick(s.console, s.seen, last_tick(s.seen) + 2);
    ck_assert_msg(ticks_are_contiguous(s.seen), "%s", s.seen->str);
    ck_assert_int_eq(vmh_vm_state(s.vm), VMH_VM_RUNNING);
    ck_assert(!has_vm(s.old, s.name));
    stage_close(&s);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_machine_that_is_too_new_is_refused, a_machine_that_both_have_goes_there_and_back,
                                  a_cpu_that_is_too_new_is_refused};

    if (lab_is_here() && !g_getenv("VMHOST_TEST_URI_OLD")) {
        printf("1..0 # SKIP needs an older QEMU: tests/lab/enter --old -- COMMAND\n");
        return 0;
    }
    return integration_run("migrate-old", TRUE, tests, G_N_ELEMENTS(tests));
}
