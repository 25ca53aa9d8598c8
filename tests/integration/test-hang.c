/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMs that hang: they hold neither the frames of metrics nor the calls on other VMs. */
#include "integration.h"

/* A keepalive, which would wake a call that sleeps, comes after 5 s. */
enum { VMS = 4, FRAMES = 20, QUICK_MS = 4000, CALLS = 300 };

typedef struct {
    vmh_host *host;
    vmh_vm   *vms[VMS];
    char     *names[VMS];
} stage;

static void stage_open(stage *s, const char *purpose)
{
    s->host = open_host(lab_variable("URI_A"));
    for (int i = 0; i < VMS; i++) {
        g_autofree char *what = g_strdup_printf("%s%d", purpose, i);
        g_autoptr(vmh_spec) spec = NULL;
        s->names[i] = test_name(what);
        spec = test_spec(s->names[i], 32);
        s->vms[i] = create(s->host, spec, VMH_CREATE_START);
    }
}

/* Sends a signal to the VM's process: STOP makes it hang, with its monitor; CONT lets it go on. */
static void send_signal(const stage *s, int index, const char *signal)
{
    g_autofree char *command = g_strdup_printf("kill -%s $(cat '/run/libvirt/qemu/%s.pid')", signal, s->names[index]);

    lab("host", "run", "a", "--", "sh", "-c", command, NULL);
}

static void stage_close(stage *s)
{
    test_clean(s->host);
    for (int i = 0; i < VMS; i++) {
        vmh_vm_unref(s->vms[i]);
        g_free(s->names[i]);
    }
    vmh_host_unref(s->host);
}

/* The age of one VM's cell, or VMH_METRIC_NONE when it has no value. */
static uint64_t age_of(const vmh_frame *frame, const char *name, const char *metric)
{
    const uint64_t *values, *ages;

    ck_assert_int_eq(vmh_frame_column(frame, metric, &values, &ages, NULL), 0);
    for (size_t i = 0; i < vmh_frame_rows(frame); i++)
        if (strcmp(vmh_frame_row_name(frame, i), name) == 0)
            return values[i] == VMH_METRIC_NONE ? VMH_METRIC_NONE : ages[i];
    ck_assert_msg(FALSE, "no row %s", name);
    return 0;
}

static vmh_frame *sample(const stage *s)
{
    vmh_error *error = NULL;
    vmh_frame *frame = vmh_host_sample(s->host, "cpu.time,memory.rss", 0, &error);

    assert_no_error();
    ck_assert_uint_ge(vmh_frame_rows(frame), VMS);
    return frame;
}

/* Samples until the value of this VM is new or old, as asked for; and then one of another is new. */
static void wait_age(const stage *s, int index, gboolean fresh, const char *metric)
{
    int64_t  deadline = test_now_ms() + PATIENCE_MS;
    gboolean reached = FALSE;

    while (!reached) {
        g_autoptr(vmh_frame) frame = sample(s);
        uint64_t age = age_of(frame, s->names[index], metric);
        reached = (age == 0) == fresh && age != VMH_METRIC_NONE && age_of(frame, s->names[VMS - 1], metric) == 0;
        ck_assert_msg(test_now_ms() < deadline, "%s of VM %d stays %s", metric, index, fresh ? "old" : "new");
    }
}

/* Frames come in time, and with new values; a busy machine may miss a few. */
static void assert_quick_frames(const stage *s, const char *metric)
{
    int fresh = 0;

    for (int i = 0; i < FRAMES; i++) {
        int64_t began = test_now_ms();
        g_autoptr(vmh_frame) frame = sample(s);
        ck_assert_int_lt(test_now_ms() - began, QUICK_MS);
        fresh += age_of(frame, s->names[VMS - 1], metric) == 0;
    }
    ck_assert_int_ge(fresh, FRAMES / 2);
}

START_TEST(hanging_vms_hold_no_frame)
{
    stage s;

    stage_open(&s, "frame");
    wait_age(&s, 0, TRUE, "memory.rss");
    send_signal(&s, 0, "STOP");
    wait_age(&s, 0, FALSE, "memory.rss"); /* its monitor does not answer; the others' values are new */
    assert_quick_frames(&s, "memory.rss");
    for (int i = 1; i < VMS - 1; i++)
        send_signal(&s, i, "STOP");
    wait_age(&s, 1, TRUE, "cpu.time"); /* which needs no monitor */
    assert_quick_frames(&s, "cpu.time");
    for (int i = 0; i < VMS - 1; i++)
        send_signal(&s, i, "CONT");
    for (int i = 0; i < VMS; i++)
        wait_age(&s, i, TRUE, "memory.rss");
    stage_close(&s);
}
END_TEST

/* One call hangs, and on the same connection many others follow each other as fast as they can. */
START_TEST(calls_do_not_sleep_behind_a_long_one)
{
    stage s;

    stage_open(&s, "call");
    wait_age(&s, 0, TRUE, "memory.rss");
    send_signal(&s, 0, "STOP");
    wait_age(&s, 0, FALSE, "memory.rss");
    for (int i = 0; i < CALLS; i++) {
        vmh_error *error = NULL;
        int64_t    began = test_now_ms();
        vmh_spec  *spec = vmh_vm_describe(s.vms[1], 0, &error);
        ck_assert_msg(spec != NULL, "%s", vmh_error_message(error));
        ck_assert_msg(test_now_ms() - began < QUICK_MS, "call %d took %d ms", i, (int)(test_now_ms() - began));
        vmh_spec_unref(spec);
    }
    send_signal(&s, 0, "CONT");
    stage_close(&s);
}
END_TEST

INTEGRATION_RUN("hang", TRUE, hanging_vms_hold_no_frame, calls_do_not_sleep_behind_a_long_one)
