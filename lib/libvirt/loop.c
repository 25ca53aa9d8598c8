/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt wants one event loop for the whole process. When the program has registered one, that is used; else this
 * one: a GMainContext of its own on a thread of its own, so that no source of the program ever runs on it.
 */
#include "libvirt/common.h"
#include "model/thread.h"

#include <glib-unix.h>
#include <sys/timerfd.h>
#include <unistd.h>

/*
 * A timer of 0 is how libvirt says that an event waits, and it says so within the call that caused it. To wake the
 * loop each time would cost that caller as much as a small call itself, so the loop is woken once for all of them.
 */
#define SOON_NS 1000000

typedef struct {
    GSource                 source;
    int                     id;
    int                     fd;  /* of a handle */
    gpointer                tag; /* the fd within the source; NULL: not watched now */
    int                     interval;
    gboolean                soon; /* due when the alarm comes */
    virEventHandleCallback  on_handle;
    virEventTimeoutCallback on_timer;
    void                   *data;
    virFreeCallback         free_data;
} watch;

static GMainContext *context; /* NULL: the loop is the program's */
static GMutex        lock;
static GHashTable   *watches; /* id -> watch, with a reference */
static int           last_id;
static int           alarm_fd; /* a timerfd in the context; -1: there is none, and timers of 0 fire at once */
static gboolean      alarm_set;

static GIOCondition condition_of(int events)
{
    return ((events & VIR_EVENT_HANDLE_READABLE) ? G_IO_IN : 0) |
           ((events & VIR_EVENT_HANDLE_WRITABLE) ? G_IO_OUT : 0) |
           ((events & VIR_EVENT_HANDLE_ERROR) ? G_IO_ERR : 0) | ((events & VIR_EVENT_HANDLE_HANGUP) ? G_IO_HUP : 0);
}

static int events_of(GIOCondition condition)
{
    return ((condition & G_IO_IN) ? VIR_EVENT_HANDLE_READABLE : 0) |
           ((condition & G_IO_OUT) ? VIR_EVENT_HANDLE_WRITABLE : 0) |
           ((condition & (G_IO_ERR | G_IO_NVAL)) ? VIR_EVENT_HANDLE_ERROR : 0) |
           ((condition & G_IO_HUP) ? VIR_EVENT_HANDLE_HANGUP : 0);
}

static void schedule(watch *w)
{
    g_source_set_ready_time(&w->source, w->interval < 0 ? -1 : g_get_monotonic_time() + w->interval * INT64_C(1000));
}

/* --- the alarm --- */

static void set_alarm(void)
{
    static const struct itimerspec once = {.it_value.tv_nsec = SOON_NS};

    if (!alarm_set)
        timerfd_settime(alarm_fd, 0, &once, NULL);
    alarm_set = TRUE;
}

static gboolean on_alarm(int fd, G_GNUC_UNUSED GIOCondition condition, G_GNUC_UNUSED gpointer data)
{
    GHashTableIter iter;
    gpointer       value;
    uint64_t       expirations;

    if (read(fd, &expirations, sizeof expirations) < 0)
        return G_SOURCE_CONTINUE;
    g_mutex_lock(&lock);
    alarm_set = FALSE;
    g_hash_table_iter_init(&iter, watches);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        watch *w = value;
        if (w->soon)
            schedule(w);
        w->soon = FALSE;
    }
    g_mutex_unlock(&lock);
    return G_SOURCE_CONTINUE;
}

static void add_alarm(void)
{
    GSource *source;

    alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (alarm_fd < 0)
        return;
    source = g_unix_fd_source_new(alarm_fd, G_IO_IN);
    g_source_set_callback(source, G_SOURCE_FUNC(on_alarm), NULL, NULL);
    g_source_attach(source, context);
    g_source_unref(source);
}

/* --- what is watched --- */

/* What was ready may have been put to rest since, by another thread. */
static gboolean dispatch(GSource *source, G_GNUC_UNUSED GSourceFunc callback, G_GNUC_UNUSED gpointer data)
{
    watch       *w = (watch *)source;
    GIOCondition condition = 0;
    gboolean     due = FALSE;

    g_mutex_lock(&lock);
    if (w->tag) {
        condition = g_source_query_unix_fd(source, w->tag);
    } else if (w->on_timer && w->interval >= 0) {
        due = TRUE;
        schedule(w);
    }
    g_mutex_unlock(&lock);
    if (condition)
        w->on_handle(w->id, w->fd, events_of(condition), w->data);
    if (due)
        w->on_timer(w->id, w->data);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs functions = {.dispatch = dispatch};

static watch *watch_new(int fd, void *data, virFreeCallback free_data)
{
    watch *w = (watch *)g_source_new(&functions, sizeof(watch));

    g_source_set_static_name(&w->source, "libvirt");
    w->fd = fd;
    w->interval = -1;
    w->data = data;
    w->free_data = free_data;
    return w;
}

/* From here on it can fire. The table has the reference. */
static int watch_add(watch *w)
{
    int id;

    g_mutex_lock(&lock);
    id = w->id = ++last_id;
    g_hash_table_insert(watches, GINT_TO_POINTER(id), w);
    g_source_attach(&w->source, context);
    g_mutex_unlock(&lock);
    return id;
}

static gboolean release(gpointer data)
{
    watch *w = data;

    if (w->free_data)
        w->free_data(w->data);
    g_source_unref(&w->source);
    return G_SOURCE_REMOVE;
}

/* libvirt may hold locks here that its free function takes: that is called later, from the loop. */
static int watch_remove(int id)
{
    GSource *later;
    gpointer w = NULL;

    g_mutex_lock(&lock);
    g_hash_table_steal_extended(watches, GINT_TO_POINTER(id), NULL, &w);
    g_mutex_unlock(&lock);
    if (!w)
        return -1;
    g_source_destroy(w);
    later = g_idle_source_new();
    g_source_set_priority(later, G_PRIORITY_HIGH);
    g_source_set_callback(later, release, w, NULL);
    g_source_attach(later, context);
    g_source_unref(later);
    return 0;
}

/* Without events the fd leaves the source: poll() would still report a hangup, again and again. */
static void watch_fd(watch *w, int events)
{
    if (w->tag && events)
        g_source_modify_unix_fd(&w->source, w->tag, condition_of(events));
    else if (events)
        w->tag = g_source_add_unix_fd(&w->source, w->fd, condition_of(events));
    else if (w->tag) {
        g_source_remove_unix_fd(&w->source, w->tag);
        w->tag = NULL;
    }
}

static int add_handle(int fd, int events, virEventHandleCallback callback, void *data, virFreeCallback free_data)
{
    watch *w = watch_new(fd, data, free_data);

    w->on_handle = callback;
    watch_fd(w, events);
    return watch_add(w);
}

static void update_handle(int id, int events)
{
    watch *w;

    g_mutex_lock(&lock);
    w = g_hash_table_lookup(watches, GINT_TO_POINTER(id));
    if (w)
        watch_fd(w, events);
    g_mutex_unlock(&lock);
}

static int add_timer(int interval, virEventTimeoutCallback callback, void *data, virFreeCallback free_data)
{
    watch *w = watch_new(-1, data, free_data);

    w->on_timer = callback;
    w->interval = interval;
    schedule(w);
    return watch_add(w);
}

static void update_timer(int id, int interval)
{
    watch *w;

    g_mutex_lock(&lock);
    w = g_hash_table_lookup(watches, GINT_TO_POINTER(id));
    if (w) {
        w->interval = interval;
        w->soon = interval == 0 && alarm_fd >= 0 && !g_main_context_is_owner(context);
        if (w->soon)
            set_alarm();
        else
            schedule(w);
    }
    g_mutex_unlock(&lock);
}

static gpointer run(gpointer unused)
{
    (void)unused;
    g_main_context_push_thread_default(context);
    for (;;)
        g_main_context_iteration(context, TRUE);
    return NULL;
}

/* A timer, at rest most of the time, that shows whether the program runs the loop it registered. */
static struct {
    GMutex lock;
    GCond  beaten;
    int    timer;
    guint  beats;
} heart;

static void beat(int timer, void *unused)
{
    (void)unused;
    virEventUpdateTimeout(timer, -1);
    g_mutex_lock(&heart.lock);
    heart.beats++;
    g_cond_broadcast(&heart.beaten);
    g_mutex_unlock(&heart.lock);
}

/* libvirt does not tell whether a loop is registered, but adding a timer fails when there is none. */
static gboolean registered_by_program(void)
{
    heart.timer = virEventAddTimeout(-1, beat, NULL, NULL);
    return heart.timer >= 0;
}

/* The loop lives as long as the process, for libvirt cannot be given another one. */
gboolean vmhi_libvirt_loop_start(vmh_error **error)
{
    static GMutex   start_lock;
    static GThread *thread;
    static gboolean registered;
    gboolean        runs;

    g_mutex_lock(&start_lock);
    if (!registered && !registered_by_program()) {
        context = g_main_context_new();
        watches = g_hash_table_new(NULL, NULL);
        add_alarm();
        virEventRegisterImpl(add_handle, update_handle, watch_remove, add_timer, update_timer, watch_remove);
    }
    registered = TRUE;
    if (context && !thread)
        thread = vmhi_thread_new("vmhost-libvirt", run, NULL);
    runs = !context || thread;
    g_mutex_unlock(&start_lock);
    if (!runs)
        vmhi_error_set(error, VMH_ERR_RESOURCE, "the system gives this program no more threads");
    return runs;
}

gboolean vmhi_libvirt_loop_runs(int timeout_ms)
{
    gint64   end = g_get_monotonic_time() + timeout_ms * INT64_C(1000);
    gboolean runs = TRUE;
    guint    before;

    if (context)
        return TRUE;
    g_mutex_lock(&heart.lock);
    before = heart.beats;
    g_mutex_unlock(&heart.lock);
    virEventUpdateTimeout(heart.timer, 0);
    g_mutex_lock(&heart.lock);
    while (runs && heart.beats == before)
        runs = g_cond_wait_until(&heart.beaten, &heart.lock, end);
    g_mutex_unlock(&heart.lock);
    return runs;
}

gboolean vmhi_libvirt_loop_is_ours(void)
{
    return context != NULL;
}
