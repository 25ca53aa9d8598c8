/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The event loop that libvirt gets from us, and the one that a program has registered before us. */
#include "libvirt/common.h"
#include "unit.h"

#include <signal.h>
#include <unistd.h>

#define PATIENCE_US (20 * G_USEC_PER_SEC)

/* What callbacks have done, for the test to wait for. */
static struct {
    GMutex   lock;
    GCond    changed;
    int      calls;
    int      events;
    int      freed;
    GThread *thread;
    gboolean signals_blocked;
} seen;

static void note(int *counter)
{
    sigset_t mask;

    g_mutex_lock(&seen.lock);
    (*counter)++;
    seen.thread = g_thread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    seen.signals_blocked = sigismember(&mask, SIGINT) && sigismember(&mask, SIGCHLD);
    g_cond_broadcast(&seen.changed);
    g_mutex_unlock(&seen.lock);
}

static gboolean wait_for(int *counter, int at_least)
{
    gint64   end = g_get_monotonic_time() + PATIENCE_US;
    gboolean came = TRUE;

    g_mutex_lock(&seen.lock);
    while (came && *counter < at_least)
        came = g_cond_wait_until(&seen.changed, &seen.lock, end);
    g_mutex_unlock(&seen.lock);
    return came;
}

static int now(int *counter)
{
    int value;

    g_mutex_lock(&seen.lock);
    value = *counter;
    g_mutex_unlock(&seen.lock);
    return value;
}

static void on_timer(int timer, void *data)
{
    (void)timer;
    (void)data;
    note(&seen.calls);
}

static void on_timer_once(int timer, void *data)
{
    (void)data;
    virEventRemoveTimeout(timer);
    note(&seen.calls);
}

static void on_handle(int watch, int fd, int events, void *data)
{
    char byte;

    (void)watch;
    (void)data;
    if (events & VIR_EVENT_HANDLE_READABLE)
        ck_assert_int_eq(read(fd, &byte, 1), 1);
    g_mutex_lock(&seen.lock);
    seen.events |= events;
    g_mutex_unlock(&seen.lock);
    note(&seen.calls);
}

static void on_free(void *data)
{
    (void)data;
    note(&seen.freed);
}

/* Returns when the loop has been through everything that was ready before. */
static void let_it_turn(void)
{
    int before = now(&seen.freed);

    for (int i = 0; i < 3; i++) {
        virEventRemoveTimeout(virEventAddTimeout(-1, on_timer, NULL, on_free));
        ck_assert(wait_for(&seen.freed, before + i + 1));
    }
}

START_TEST(without_a_loop_of_the_program_ours_runs)
{
    int timer;

    ck_assert(vmhi_libvirt_loop_start(NULL));
    ck_assert(vmhi_libvirt_loop_start(NULL));
    ck_assert(vmhi_libvirt_loop_is_ours());
    ck_assert(vmhi_libvirt_loop_runs(0));
    timer = virEventAddTimeout(1, on_timer, NULL, on_free);
    ck_assert_int_ge(timer, 0);
    ck_assert(wait_for(&seen.calls, 3));
    ck_assert_ptr_ne(seen.thread, g_thread_self());
    ck_assert_msg(seen.signals_blocked, "the loop's thread takes the program's signals");
    ck_assert_int_eq(virEventRemoveTimeout(timer), 0);
    ck_assert_int_eq(virEventRemoveTimeout(timer), -1);
    ck_assert(wait_for(&seen.freed, 1));
    let_it_turn();
}
END_TEST

START_TEST(a_timer_rests_and_wakes)
{
    int timer, calls;

    ck_assert(vmhi_libvirt_loop_start(NULL));
    timer = virEventAddTimeout(-1, on_timer, NULL, NULL);
    let_it_turn();
    ck_assert_int_eq(now(&seen.calls), 0);
    virEventUpdateTimeout(timer, 0);
    ck_assert(wait_for(&seen.calls, 2));
    virEventUpdateTimeout(timer, -1);
    let_it_turn();
    calls = now(&seen.calls);
    let_it_turn();
    ck_assert_int_eq(now(&seen.calls), calls);
    virEventRemoveTimeout(timer);
}
END_TEST

START_TEST(a_timer_may_remove_itself)
{
    ck_assert(vmhi_libvirt_loop_start(NULL));
    virEventAddTimeout(0, on_timer_once, NULL, on_free);
    ck_assert(wait_for(&seen.freed, 1));
    let_it_turn();
    ck_assert_int_eq(now(&seen.calls), 1);
}
END_TEST

START_TEST(a_handle_tells_what_it_was_asked_for)
{
    int fds[2], watch;

    ck_assert(vmhi_libvirt_loop_start(NULL));
    ck_assert_int_eq(pipe(fds), 0);
    watch = virEventAddHandle(fds[0], 0, on_handle, NULL, on_free);
    ck_assert_int_eq(write(fds[1], "ab", 2), 2);
    let_it_turn();
    ck_assert_int_eq(now(&seen.calls), 0);
    virEventUpdateHandle(watch, VIR_EVENT_HANDLE_READABLE);
    ck_assert(wait_for(&seen.calls, 2));
    ck_assert_int_eq(now(&seen.events), VIR_EVENT_HANDLE_READABLE);
    ck_assert_int_eq(virEventRemoveHandle(watch), 0);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(a_hangup_nobody_watches_for_does_not_spin)
{
    int fds[2], watch, calls;

    ck_assert(vmhi_libvirt_loop_start(NULL));
    ck_assert_int_eq(pipe(fds), 0);
    watch = virEventAddHandle(fds[0], VIR_EVENT_HANDLE_READABLE, on_handle, NULL, NULL);
    close(fds[1]);
    ck_assert(wait_for(&seen.calls, 1));
    ck_assert(now(&seen.events) & VIR_EVENT_HANDLE_HANGUP);
    virEventUpdateHandle(watch, 0);
    let_it_turn();
    calls = now(&seen.calls);
    let_it_turn();
    ck_assert_int_eq(now(&seen.calls), calls);
    virEventRemoveHandle(watch);
    close(fds[0]);
}
END_TEST

/* libvirt holds a lock while it removes, and its free function takes the same lock. */
static GMutex libvirts;

static void free_with_lock(void *data)
{
    g_mutex_lock(&libvirts);
    g_mutex_unlock(&libvirts);
    on_free(data);
}

START_TEST(what_is_removed_is_freed_later_and_on_the_loop)
{
    int timer;

    ck_assert(vmhi_libvirt_loop_start(NULL));
    timer = virEventAddTimeout(-1, on_timer, NULL, free_with_lock);
    g_mutex_lock(&libvirts);
    virEventRemoveTimeout(timer);
    g_mutex_unlock(&libvirts);
    ck_assert(wait_for(&seen.freed, 1));
    ck_assert_ptr_ne(seen.thread, g_thread_self());
}
END_TEST

static gboolean on_idle(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

START_TEST(nothing_of_the_program_runs_on_our_loop)
{
    gboolean ran = FALSE;
    guint    id = g_idle_add(on_idle, &ran);

    ck_assert(vmhi_libvirt_loop_start(NULL));
    let_it_turn();
    ck_assert_msg(!ran, "a source of the default context ran");
    g_source_remove(id);
}
END_TEST

static gpointer churn(gpointer unused)
{
    int fds[2];

    (void)unused;
    ck_assert_int_eq(pipe(fds), 0);
    for (int i = 0; i < 500; i++) {
        int timer = virEventAddTimeout(0, on_timer, NULL, on_free);
        int watch = virEventAddHandle(fds[0], VIR_EVENT_HANDLE_READABLE, on_handle, NULL, on_free);
        virEventUpdateTimeout(timer, i % 2 ? -1 : 1);
        virEventUpdateHandle(watch, i % 2 ? 0 : VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_WRITABLE);
        virEventRemoveHandle(watch);
        virEventRemoveTimeout(timer);
    }
    let_it_turn();
    close(fds[0]);
    close(fds[1]);
    return NULL;
}

START_TEST(all_threads_may_use_it_at_once)
{
    GThread *threads[8];

    ck_assert(vmhi_libvirt_loop_start(NULL));
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("churn", churn, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    ck_assert(wait_for(&seen.freed, G_N_ELEMENTS(threads) * 500 * 2));
}
END_TEST

static gpointer run_default(gpointer stop)
{
    while (!g_atomic_int_get((gint *)stop))
        virEventRunDefaultImpl();
    return NULL;
}

START_TEST(the_programs_loop_is_used_and_known_to_stand_still)
{
    gint     stop = FALSE;
    GThread *thread;

    ck_assert_int_eq(virEventRegisterDefaultImpl(), 0);
    ck_assert(vmhi_libvirt_loop_start(NULL));
    ck_assert(!vmhi_libvirt_loop_is_ours());
    ck_assert_msg(!vmhi_libvirt_loop_runs(50), "nobody runs it");

    virEventAddTimeout(10, on_timer, NULL, NULL); /* so that the loop sees that it shall stop */
    thread = g_thread_new("program", run_default, &stop);
    ck_assert(vmhi_libvirt_loop_runs(PATIENCE_US / 1000));
    ck_assert(vmhi_libvirt_loop_runs(PATIENCE_US / 1000));
    g_atomic_int_set(&stop, TRUE);
    g_thread_join(thread);
    ck_assert_msg(!vmhi_libvirt_loop_runs(50), "it was stopped");
}
END_TEST

UNIT_RUN("libvirt-loop", without_a_loop_of_the_program_ours_runs, a_timer_rests_and_wakes, a_timer_may_remove_itself,
         a_handle_tells_what_it_was_asked_for, a_hangup_nobody_watches_for_does_not_spin,
         what_is_removed_is_freed_later_and_on_the_loop, nothing_of_the_program_runs_on_our_loop,
         all_threads_may_use_it_at_once, the_programs_loop_is_used_and_known_to_stand_still)
