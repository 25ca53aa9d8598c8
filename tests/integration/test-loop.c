/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs with every kind of event loop, and with none: events come, and the program's loop stays the program's. */
#include "integration.h"

#include <glib-unix.h>
#include <libvirt/libvirt.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SOON_MS 30000

/* The hosts to try: libvirt's test host everywhere, and a real one in a lab. */
static const char *uri_at(size_t index)
{
    return index == 0 ? "test:///default" : index == 1 && lab_is_here() ? lab_variable("URI_A") : NULL;
}

/* Two connections to one host; what the second does the first can only learn from its loop, or by asking. */
typedef struct {
    vmh_host  *watcher;
    vmh_host  *actor;
    vmh_queue *queue;
    vmh_vm    *vm; /* made by the actor */
    char      *name;
} pair;

static void pair_open(pair *p, const char *uri)
{
    g_autoptr(vmh_spec) spec = NULL;

    p->watcher = open_host(uri);
    p->actor = open_host(uri);
    p->queue = vmh_queue_new(p->watcher, "vm", 0, NULL);
    p->name = test_name("loop");
    spec = test_spec(p->name, 64);
    p->vm = create(p->actor, spec, 0);
}

static void pair_close(pair *p)
{
    test_clean(p->actor);
    vmh_vm_unref(p->vm);
    vmh_queue_unref(p->queue);
    vmh_host_unref(p->actor);
    vmh_host_unref(p->watcher);
    g_free(p->name);
}

static void act(const pair *p)
{
    g_autoptr(vmh_error) error = NULL;

    assert_ok(vmh_vm_start(p->vm, 0, &error));
    assert_ok(vmh_vm_pause(p->vm, 0, &error));
}

/* TRUE when this is the event of the end: the watcher knows that the VM is paused. */
static gboolean is_last(const pair *p, const vmh_event *event)
{
    return g_strcmp0(vmh_event_str(event, "name"), p->name) == 0 && vmh_event_u64(event, "state") == VMH_VM_PAUSED;
}

static gboolean drain(const pair *p)
{
    vmh_event *event;
    gboolean   last = FALSE;

    while (vmh_queue_next(p->queue, &event, NULL) == 1) {
        last = last || is_last(p, event);
        vmh_event_free(event);
    }
    return last;
}

static void wait_by_queue(const pair *p)
{
    int64_t  end = test_now_ms() + SOON_MS;
    gboolean last = FALSE;

    while (!last && test_now_ms() < end) {
        vmh_event *event = NULL;
        vmh_queue_wait(p->queue, end - test_now_ms(), &event, NULL);
        last = event && is_last(p, event);
        vmh_event_free(event);
    }
    ck_assert_msg(last, "the end was not told within %d ms", SOON_MS);
}

START_TEST(no_loop)
{
    for (size_t i = 0; uri_at(i); i++) {
        pair p = {0};
        pair_open(&p, uri_at(i));
        act(&p);
        wait_by_queue(&p);
        pair_close(&p);
    }
}
END_TEST

/* --- GLib's --- */

static gboolean note_thread(void *ran)
{
    *(GThread **)ran = g_thread_self();
    return G_SOURCE_REMOVE;
}

typedef struct {
    pair       p;
    GMainLoop *loop;
    gboolean   last;
} glib_program;

static gboolean on_queue(G_GNUC_UNUSED int fd, G_GNUC_UNUSED GIOCondition condition, void *data)
{
    glib_program *program = data;

    program->last = program->last || drain(&program->p);
    if (program->last)
        g_main_loop_quit(program->loop);
    return G_SOURCE_CONTINUE;
}

static gboolean give_up(void *loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

START_TEST(loop_of_glib)
{
    for (size_t i = 0; uri_at(i); i++) {
        glib_program program = {.loop = g_main_loop_new(NULL, FALSE)};
        GThread     *ran = NULL;
        guint        watch, limit;
        g_idle_add_full(G_PRIORITY_HIGH, note_thread, &ran, NULL);
        pair_open(&program.p, uri_at(i));
        act(&program.p);
        ck_assert_msg(ran == NULL, "the program's source ran on a thread that is not the program's");
        watch = g_unix_fd_add(vmh_queue_fd(program.p.queue), G_IO_IN, on_queue, &program);
        limit = g_timeout_add(SOON_MS, give_up, program.loop);
        g_main_loop_run(program.loop);
        ck_assert(program.last);
        ck_assert_ptr_eq(ran, g_thread_self());
        g_source_remove(watch);
        g_source_remove(limit);
        g_main_loop_unref(program.loop);
        pair_close(&program.p);
    }
}
END_TEST

/* --- epoll --- */

START_TEST(loop_of_epoll)
{
    for (size_t i = 0; uri_at(i); i++) {
        pair               p = {0};
        int                epoll = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event wanted = {.events = EPOLLIN}, got;
        gboolean           last = FALSE;

        pair_open(&p, uri_at(i));
        ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, vmh_queue_fd(p.queue), &wanted), 0);
        act(&p);
        while (!last && epoll_wait(epoll, &got, 1, SOON_MS) == 1)
            last = drain(&p);
        ck_assert(last);
        ck_assert_int_eq(epoll_wait(epoll, &got, 1, 0), 0); /* an empty queue is not readable */
        close(epoll);
        pair_close(&p);
    }
}
END_TEST

/* --- libvirt's own, registered by the program before us --- */

static gint stop_loop;

static void *run_loop(G_GNUC_UNUSED void *data)
{
    while (!g_atomic_int_get(&stop_loop))
        virEventRunDefaultImpl();
    return NULL;
}

static void wake(G_GNUC_UNUSED int timer, G_GNUC_UNUSED void *data)
{
}

START_TEST(loop_of_libvirt)
{
    GThread *thread;

    ck_assert_int_eq(virEventRegisterDefaultImpl(), 0);
    ck_assert_int_ge(virEventAddTimeout(100, wake, NULL, NULL), 0); /* so that it sees when to stop */
    thread = g_thread_new("loop", run_loop, NULL);
    for (size_t i = 0; uri_at(i); i++) {
        pair p = {0};
        pair_open(&p, uri_at(i));
        act(&p);
        wait_by_queue(&p);
        pair_close(&p);
    }
    g_atomic_int_set(&stop_loop, 1);
    g_thread_join(thread);
}
END_TEST

START_TEST(loop_that_nobody_runs)
{
    ck_assert_int_eq(virEventRegisterDefaultImpl(), 0);
    for (size_t i = 0; uri_at(i); i++) {
        pair p = {0};
        pair_open(&p, uri_at(i));
        act(&p);
        wait_by_queue(&p); /* no event of libvirt's can come: the list was looked at */
        pair_close(&p);
    }
}
END_TEST

/* A program whose loop stands still for a while, as one does that reads a file. */
START_TEST(loop_that_is_run_late)
{
    pair     p = {0};
    GThread *thread;

    ck_assert_int_eq(virEventRegisterDefaultImpl(), 0);
    ck_assert_int_ge(virEventAddTimeout(100, wake, NULL, NULL), 0);
    pair_open(&p, "test:///default");
    thread = g_thread_new("loop", run_loop, NULL);
    act(&p);
    wait_by_queue(&p);
    pair_close(&p);
    g_atomic_int_set(&stop_loop, 1);
    g_thread_join(thread);
}
END_TEST

INTEGRATION_RUN("loop", FALSE, no_loop, loop_of_glib, loop_of_epoll, loop_of_libvirt, loop_that_nobody_runs,
                loop_that_is_run_late)
