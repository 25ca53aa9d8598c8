/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections that break: each is noticed once, nothing waits for ever, and all is as it should be when they are
 * back. */
#include "integration.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define NOTICED_MS 30000 /* by keepalive, on a machine that is busy */

typedef struct {
    vmh_host  *host;
    vmh_queue *queue;
    vmh_vm    *vm;
    char      *name;
    int        losses;
} victim;

static vmh_host *open_watched(const char *more)
{
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_spec) options = vmh_spec_new("open", NULL);
    vmh_host *host;

    vmh_spec_set(options, "keepalive.interval", "1s", &error);
    vmh_spec_set(options, "keepalive.count", "3", &error);
    if (more)
        vmh_spec_set(options, more, "no", &error);
    host = vmh_host_open(lab_variable("URI_A"), options, 0, &error);
    ck_assert_msg(host != NULL, "%s", vmh_error_message(error));
    return host;
}

/* A host, and on it a VM that runs whatever becomes of the connection. */
static void begin(victim *v, const char *more)
{
    g_autoptr(vmh_spec) spec = NULL;

    if (!more)
        lab("hurt", "mend", "a", NULL); /* a test that failed may have left it hurt, */
    *v = (victim){.host = open_watched(more), .name = test_name("lost")};
    if (!more)
        test_clean(v->host); /* or its VM running */
    v->queue = vmh_queue_new(v->host, "vm,host", 0, NULL);
    spec = test_spec(v->name, 64);
    v->vm = create(v->host, spec, VMH_CREATE_START);
}

static void end(victim *v)
{
    test_clean(v->host);
    vmh_vm_unref(v->vm);
    vmh_queue_unref(v->queue);
    vmh_host_unref(v->host);
    g_free(v->name);
}

/* Until an event of this type has come; counts the losses on the way. */
static void wait_for(victim *v, int32_t type, int64_t timeout_ms)
{
    int64_t    until = test_now_ms() + timeout_ms;
    vmh_event *event = NULL;
    int32_t    came = 0;

    while (came != type && vmh_queue_wait(v->queue, MAX(until - test_now_ms(), 0), &event, NULL) == 1) {
        came = vmh_event_type(event);
        v->losses += came == VMH_EVENT_HOST_LOST;
        vmh_event_free(event);
    }
    ck_assert_msg(came == type, "no %s within %d ms", vmh_event_type_name(type), (int)timeout_ms);
}

static void assert_is_back(victim *v)
{
    g_autoptr(vmh_error) error = NULL;

    wait_for(v, VMH_EVENT_HOST_BACK, PATIENCE_MS);
    wait_for(v, VMH_EVENT_RESYNC, PATIENCE_MS);
    wait_for(v, VMH_EVENT_SYNCED, PATIENCE_MS);
    ck_assert_int_eq(vmh_host_connected(v->host), 1);
    ck_assert_int_eq(vmh_vm_state(v->vm), VMH_VM_RUNNING);
    assert_ok(vmh_vm_pause(v->vm, 0, &error));
    ck_assert_msg(test_wait_state(v->vm, VMH_VM_PAUSED, PATIENCE_MS), "events do not come any more");
}

/* What is asked while it is lost fails at once, and what is known stays known. */
static void assert_is_lost(victim *v)
{
    g_autoptr(vmh_error) error = NULL;
    int64_t before = test_now_ms();

    assert_fails(vmh_vm_pause(v->vm, 0, &error), VMH_ERR_LOST);
    ck_assert_int_eq(vmh_host_connected(v->host), 0);
    ck_assert_int_eq(vmh_vm_state(v->vm), VMH_VM_RUNNING);
    ck_assert_int_lt(test_now_ms() - before, 5000);
}

/* Hurt in one of these ways, the host is missed once, and is back when it is mended. */
static void hurt_and_mend(const char *how)
{
    victim v;

    begin(&v, NULL);
    lab("hurt", how, "a", NULL);
    wait_for(&v, VMH_EVENT_HOST_LOST, NOTICED_MS);
    assert_is_lost(&v);
    lab("hurt", "mend", "a", NULL);
    assert_is_back(&v);
    ck_assert_int_eq(v.losses, 1);
    end(&v);
}

START_TEST(a_daemon_that_dies_is_missed_once)
{
    hurt_and_mend("kill");
}
END_TEST

START_TEST(a_daemon_that_is_silent_is_given_up)
{
    hurt_and_mend("pause");
}
END_TEST

START_TEST(a_network_that_is_silent_is_given_up)
{
    hurt_and_mend("cut");
}
END_TEST

START_TEST(a_call_under_way_ends_with_the_connection)
{
    g_autoptr(vmh_error) error = NULL;
    victim   v;
    vmh_job *job;

    begin(&v, NULL);
    lab("hurt", "pause", "a", NULL);
    job = vmh_vm_pause(v.vm, 0, &error);
    ck_assert_msg(vmh_job_wait(job, NOTICED_MS, &error) == VMH_ERR_LOST, "%s", vmh_error_message(error));
    ck_assert_int_eq(vmh_error_retryable(error), 1);
    vmh_job_unref(job);
    lab("hurt", "mend", "a", NULL);
    wait_for(&v, VMH_EVENT_RESYNC, PATIENCE_MS);
    end(&v);
}
END_TEST

/* libvirtd, which is not there, has written down which process it is. */
static void kill_vm(const victim *v)
{
    g_autofree char *path = g_strdup_printf("/run/vmhost-lab/hosts/a/run/qemu/%s.pid", v->name);
    g_autofree char *number = NULL;

    ck_assert_msg(g_file_get_contents(path, &number, NULL, NULL), "%s", path);
    ck_assert_int_eq(kill(atoi(number), SIGKILL), 0);
}

START_TEST(what_happened_meanwhile_is_found)
{
    victim v;

    begin(&v, NULL);
    lab("hurt", "kill", "a", NULL);
    wait_for(&v, VMH_EVENT_HOST_LOST, NOTICED_MS);
    kill_vm(&v);
    lab("hurt", "mend", "a", NULL);
    wait_for(&v, VMH_EVENT_RESYNC, PATIENCE_MS);
    ck_assert(test_wait_state(v.vm, VMH_VM_STOPPED, PATIENCE_MS)); /* the new daemon has to find out as well */
    end(&v);
}
END_TEST

START_TEST(a_console_ends_with_its_connection)
{
    g_autoptr(GString) seen = g_string_new(NULL);
    g_autoptr(vmh_spec) spec = NULL;
    victim  v = {.host = open_watched(NULL), .name = test_name("lost")};
    char    rest[4096];
    ssize_t length;
    int     console;

    v.queue = vmh_queue_new(v.host, "host", 0, NULL);
    spec = test_spec(v.name, 96);
    v.vm = boot_guest(v.host, spec, NULL, &console, seen);
    lab("hurt", "pause", "a", NULL);
    while ((length = read(console, rest, sizeof rest)) > 0)
        ;
    ck_assert_int_eq(length, 0);
    close(console);
    lab("hurt", "mend", "a", NULL);
    wait_for(&v, VMH_EVENT_RESYNC, PATIENCE_MS);
    end(&v);
}
END_TEST

/* Has this machine a connection to a libvirtd that stands? One that is new and lasts is an attempt. */
static gboolean is_joined(void)
{
    g_autofree char *table = NULL;

    ck_assert(g_file_get_contents("/proc/net/tcp", &table, NULL, NULL));
    return strstr(table, ":407D 01") != NULL; /* port 16509, established */
}

/* A daemon hangs, and its machine loses its power while it is tried again: nobody will ever answer that attempt. */
START_TEST(an_attempt_that_nobody_answers_is_not_the_last)
{
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_spec) options = vmh_spec_new("open", NULL);
    int64_t until = test_now_ms() + PATIENCE_MS;
    victim  v = {0};

    lab("hurt", "mend", "a", NULL);
    vmh_spec_set(options, "keepalive.interval", "1s", &error);
    vmh_spec_set(options, "connect.timeout", "3s", &error);
    v.host = vmh_host_open(lab_variable("URI_A"), options, 0, &error);
    ck_assert_msg(v.host != NULL, "%s", vmh_error_message(error));
    v.queue = vmh_queue_new(v.host, "host", 0, NULL);
    lab("hurt", "pause", "a", NULL);
    wait_for(&v, VMH_EVENT_HOST_LOST, NOTICED_MS);
    for (int64_t since = test_now_ms(); test_now_ms() - since < 1000 && test_now_ms() < until; g_usleep(10000))
        since = is_joined() ? since : test_now_ms();
    lab("hurt", "cut", "a", NULL);
    lab("host", "stop", "a", NULL);
    lab("host", "start", "a", NULL);
    wait_for(&v, VMH_EVENT_HOST_BACK, PATIENCE_MS);
    vmh_queue_unref(v.queue);
    vmh_host_unref(v.host);
}
END_TEST

START_TEST(without_reconnect_it_stays_lost)
{
    victim v, other;

    begin(&other, NULL);
    begin(&v, "reconnect");
    lab("hurt", "kill", "a", NULL);
    wait_for(&v, VMH_EVENT_HOST_LOST, NOTICED_MS);
    lab("hurt", "mend", "a", NULL);
    assert_is_back(&other);
    assert_is_lost(&v);
    vmh_vm_unref(v.vm);
    vmh_queue_unref(v.queue);
    vmh_host_unref(v.host);
    g_free(v.name);
    end(&other);
}
END_TEST

START_TEST(closing_waits_for_nobody)
{
    victim  v;
    int64_t before;

    begin(&v, NULL);
    lab("hurt", "pause", "a", NULL);
    before = test_now_ms();
    vmh_vm_unref(v.vm);
    vmh_queue_unref(v.queue);
    vmh_host_unref(v.host);
    ck_assert_int_lt(test_now_ms() - before, 1000);
    lab("hurt", "mend", "a", NULL);
    v.host = open_host(lab_variable("URI_A"));
    test_clean(v.host);
    vmh_host_unref(v.host);
    g_free(v.name);
}
END_TEST

INTEGRATION_RUN("lost", TRUE, a_daemon_that_dies_is_missed_once, a_daemon_that_is_silent_is_given_up,
                a_network_that_is_silent_is_given_up, a_call_under_way_ends_with_the_connection,
                an_attempt_that_nobody_answers_is_not_the_last, what_happened_meanwhile_is_found,
                a_console_ends_with_its_connection, without_reconnect_it_stays_lost, closing_waits_for_nobody)
