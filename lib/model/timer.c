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

static GMainContext *timer_context(void)
{
    static gsize started;

    if (g_once_init_enter(&started)) {
        GMainContext *context = g_main_context_new();
        g_thread_unref(vmhi_thread_new("vmhost-timer", run_context, context));
        g_once_init_leave(&started, (gsize)context);
    }
    return (GMainContext *)started;
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
