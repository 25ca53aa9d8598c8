/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deadlines: a private GMainContext and the thread that runs it, started with the first timer. */
#include "model/timer.h"
#include "model/thread.h"

static void *run_context(void *context)
{
    for (;;)
        g_main_context_iteration(context, TRUE);
    return NULL;
}

/* Where no thread was to be had, the next timer tries again, and the earlier ones fire late. */
static GMainContext *timer_context(void)
{
    static GMutex        lock;
    static GMainContext *context;
    static GThread      *thread;
    GMainContext        *running;

    g_mutex_lock(&lock);
    if (!context)
        context = g_main_context_new();
    if (!thread)
        thread = vmhi_thread_new("vmhost-timer", run_context, context);
    running = context;
    g_mutex_unlock(&lock);
    return running;
}

GSource *vmhi_timer_new(guint delay_ms, GSourceFunc fire, void *data, GDestroyNotify free_data)
{
    GSource *timer = g_timeout_source_new(delay_ms);

    g_source_set_callback(timer, fire, data, free_data);
    g_source_attach(timer, timer_context());
    return timer;
}

void vmhi_timer_drop(GSource *timer)
{
    if (!timer)
        return;
    g_source_destroy(timer);
    g_source_unref(timer);
}
