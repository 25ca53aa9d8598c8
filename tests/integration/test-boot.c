/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A Linux guest from its first line to its last, and what it notices of each change: its console says so. */
#include "integration.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
    vmh_host  *host;
    vmh_queue *queue;
    vmh_vm    *vm;
    char      *name;
    int        console;
    GString   *seen;
} stage;

static void stage_open(stage *s, vmh_spec *spec)
{
    s->host = open_host(lab_variable("URI_A"));
    s->queue = vmh_queue_new(s->host, "vm", 0, NULL);
    s->seen = g_string_new(NULL);
    s->name = test_text(spec, "name");
    s->vm = boot_guest(s->host, spec, NULL, &s->console, s->seen);
}

static void stage_close(stage *s)
{
    close(s->console);
    test_clean(s->host);
    vmh_vm_unref(s->vm);
    vmh_queue_unref(s->queue);
    vmh_host_unref(s->host);
    g_string_free(s->seen, TRUE);
    g_free(s->name);
}

static vmh_spec *small_spec(void)
{
    g_autofree char *name = test_name("boot");

    return test_spec(name, 128);
}

/* From here on, the guest says it anew. */
static void assert_says(stage *s, const char *text)
{
    ck_assert_msg(test_wait_console(s->console, s->seen, text, PATIENCE_MS), "the guest does not say \"%s\" but: %s",
                  text, last_words(s->seen));
    g_string_truncate(s->seen, 0);
}

static void change(stage *s, const char *path, const char *text)
{
    g_autoptr(vmh_spec) spec = vmh_spec_new("vm", NULL);
    vmh_error *error = NULL;
    vmh_job   *job;

    ck_assert_int_eq(vmh_spec_set(spec, path, text, &error), 0);
    job = vmh_vm_update(s->vm, spec, 0, 0, &error);
    ck_assert_msg(vmh_job_wait(job, PATIENCE_MS, &error) == 0, "%s: %s", path, vmh_error_message(error));
    ck_assert_uint_eq(vmh_job_verdict_count(job), 1);
    ck_assert_msg(vmh_job_verdict(job, 0) == VMH_VERDICT_APPLIED, "%s: verdict %d, %s", path, vmh_job_verdict(job, 0),
                  vmh_job_verdict_reason(job, 0));
    vmh_job_unref(job);
}

START_TEST(it_boots_and_answers)
{
    g_autoptr(vmh_spec) spec = small_spec();
    stage s;

    stage_open(&s, spec);
    ck_assert_msg(strstr(s.seen->str, "ready cpus=1 mem="), "%s", last_words(s.seen));
    ck_assert(test_say(s.console, "are you there?\n"));
    assert_says(&s, "echo: are you there?");
    ck_assert_int_eq(vmh_vm_state(s.vm), VMH_VM_RUNNING);
    stage_close(&s);
}
END_TEST

/* The MiB that the guest has said last. */
static int memory_said(const GString *seen)
{
    const char *last = g_strrstr(seen->str, "mem=");

    return last ? atoi(last + strlen("mem=")) : 0;
}

/* The balloon moves bit by bit: waits until the guest has at most, or at least, so many MiB. */
static void assert_memory(stage *s, int least, int most)
{
    int64_t end = test_now_ms() + PATIENCE_MS;

    while (memory_said(s->seen) < least || memory_said(s->seen) > most) {
        g_autoptr(GString) line = g_string_new(NULL);
        ck_assert_msg(test_now_ms() < end && test_wait_console(s->console, line, "\n", PATIENCE_MS),
                      "the guest's memory is not between %d and %d MiB: %s", least, most, last_words(s->seen));
        g_string_append(s->seen, line->str);
    }
}

START_TEST(cpus_and_memory_change_while_it_runs)
{
    g_autoptr(vmh_spec) spec = small_spec();
    g_autoptr(vmh_frame) frame = NULL;
    const uint64_t *values;
    int             all;
    stage           s;

    vmh_spec_set(spec, "cpu.max", "2", NULL);
    stage_open(&s, spec);
    all = memory_said(s.seen);
    ck_assert_int_gt(all, 64);
    change(&s, "cpu.count", "2");
    assert_says(&s, "cpus=2");
    change(&s, "memory.size", "96MiB");
    g_string_assign(s.seen, "mem=9999MiB\n");
    assert_memory(&s, all - 40, all - 24);
    frame = vmh_host_sample(s.host, "memory.size,cpu.count", 0, NULL);
    ck_assert(frame && vmh_frame_column(frame, "memory.size", &values, NULL, NULL) == 0);
    for (size_t i = 0; i < vmh_frame_rows(frame); i++)
        if (strcmp(vmh_frame_row_name(frame, i), s.name) == 0)
            ck_assert_uint_le(values[i], 100 << 20);
    change(&s, "memory.size", "128MiB");
    assert_memory(&s, all - 2, all + 2);
    stage_close(&s);
}
END_TEST

START_TEST(disks_and_nics_come_and_go_while_it_runs)
{
    g_autoptr(vmh_spec) spec = small_spec();
    g_autofree char *path = test_disk("data", 2);
    stage            s;

    stage_open(&s, spec);
    g_string_truncate(s.seen, 0);
    change(&s, "disk.data.path", path);
    assert_says(&s, "disk vd");
    change(&s, "nic.lan.user", "yes");
    assert_says(&s, "nic eth");
    change(&s, "disk.data.present", "no");
    assert_says(&s, "no disk vd");
    change(&s, "nic.lan.present", "no");
    assert_says(&s, "no nic eth");
    stage_close(&s);
    g_unlink(path);
}
END_TEST

/* --- the events of its life --- */

static void expect_event(stage *s, int32_t type, const char *state)
{
    vmh_event *event = test_wait_event(s->queue, type, s->name, PATIENCE_MS);

    ck_assert_msg(event != NULL, "no event %s came", vmh_event_type_name(type));
    ck_assert_msg(!state || g_strcmp0(vmh_event_str(event, "state"), state) == 0, "%s: %s instead of %s",
                  vmh_event_type_name(type), vmh_event_str(event, "state"), state);
    vmh_event_free(event);
}

START_TEST(its_life_is_told)
{
    g_autoptr(vmh_spec) spec = small_spec();
    vmh_error *error = NULL;
    int32_t    state = VMH_VM_RUNNING;
    stage      s;

    stage_open(&s, spec);
    expect_event(&s, VMH_EVENT_VM_ADDED, "running"); /* as it was made, and not what it was on the way */
    assert_ok(vmh_vm_pause(s.vm, 0, &error));
    assert_ok(vmh_vm_resume(s.vm, 0, &error));
    assert_ok(vmh_vm_shutdown(s.vm, 0, &error));
    assert_says(&s, "power button");
    while (state != VMH_VM_STOPPED) { /* what comes in between must come in this order */
        static const int32_t next[] = {[VMH_VM_RUNNING] = VMH_VM_PAUSED, [VMH_VM_PAUSED] = VMH_VM_RUNNING};
        vmh_event           *event = test_wait_event(s.queue, VMH_EVENT_VM_STATE, s.name, PATIENCE_MS);
        int32_t              told = event ? (int32_t)vmh_event_u64(event, "state") : 0;
        ck_assert_msg(event != NULL, "the end was not told");
        if (told != VMH_VM_STOPPING && told != VMH_VM_STOPPED)
            ck_assert_int_eq(told, state < (int32_t)G_N_ELEMENTS(next) && next[state] ? next[state] : told);
        state = told;
        vmh_event_free(event);
    }
    ck_assert(test_wait_state(s.vm, VMH_VM_STOPPED, PATIENCE_MS));
    assert_ok(vmh_vm_delete(s.vm, 0, &error));
    expect_event(&s, VMH_EVENT_VM_REMOVED, NULL);
    stage_close(&s);
}
END_TEST

START_TEST(a_reset_guest_begins_anew)
{
    g_autoptr(vmh_spec) spec = small_spec();
    vmh_error *error = NULL;
    stage      s;

    stage_open(&s, spec);
    assert_says(&s, "tick 2");
    assert_ok(vmh_vm_reset(s.vm, 0, &error));
    assert_says(&s, "vmhost-guest: ready");
    assert_says(&s, "tick 1");
    ck_assert_int_eq(vmh_vm_state(s.vm), VMH_VM_RUNNING);
    stage_close(&s);
}
END_TEST

INTEGRATION_RUN("boot", TRUE, it_boots_and_answers, cpus_and_memory_change_while_it_runs,
                disks_and_nics_come_and_go_while_it_runs, its_life_is_told, a_reset_guest_begins_anew)
