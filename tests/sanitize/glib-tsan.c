/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Only in builds under ThreadSanitizer: shows it GLib's locks. The distribution's GLib is not instrumented, and
 * its locks are bare futexes, so that without this each lock of ours would look like none at all.
 */
#include <dlfcn.h>
#include <glib.h>
#include <sanitizer/tsan_interface.h>

#undef g_once_init_enter
#undef g_once_init_leave

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

void g_mutex_lock(GMutex *mutex)
{
    REAL(g_mutex_lock)(mutex);
    __tsan_acquire(mutex);
}

gboolean g_mutex_trylock(GMutex *mutex)
{
    gboolean got = REAL(g_mutex_trylock)(mutex);

    if (got)
        __tsan_acquire(mutex);
    return got;
}

void g_mutex_unlock(GMutex *mutex)
{
    __tsan_release(mutex);
    REAL(g_mutex_unlock)(mutex);
}

void g_rec_mutex_lock(GRecMutex *mutex)
{
    REAL(g_rec_mutex_lock)(mutex);
    __tsan_acquire(mutex);
}

void g_rec_mutex_unlock(GRecMutex *mutex)
{
    __tsan_release(mutex);
    REAL(g_rec_mutex_unlock)(mutex);
}

void g_cond_wait(GCond *cond, GMutex *mutex)
{
    __tsan_release(mutex);
    REAL(g_cond_wait)(cond, mutex);
    __tsan_acquire(mutex);
}

gboolean g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 until)
{
    gboolean woken;

    __tsan_release(mutex);
    woken = REAL(g_cond_wait_until)(cond, mutex, until);
    __tsan_acquire(mutex);
    return woken;
}

gboolean g_once_init_enter(volatile void *location)
{
    gboolean first = REAL(g_once_init_enter)(location);

    if (!first)
        __tsan_acquire((void *)location);
    return first;
}

void g_once_init_leave(volatile void *location, gsize result)
{
    __tsan_release((void *)location);
    REAL(g_once_init_leave)(location, result);
}

gboolean(g_atomic_ref_count_dec)(gatomicrefcount *count)
{
    gboolean last;

    __tsan_release(count);
    last = REAL(g_atomic_ref_count_dec)(count);
    if (last)
        __tsan_acquire(count);
    return last;
}

/* --- what goes to the thread of a GMainContext with a source --- */

typedef struct {
    GSourceFunc    call;
    void          *data;
    GDestroyNotify free_data;
} passage;

static gboolean pass(void *data)
{
    passage *through = data;

    __tsan_acquire(through);
    return through->call(through->data);
}

static void end_passage(void *data)
{
    passage *through = data;

    __tsan_acquire(through);
    if (through->free_data)
        through->free_data(through->data);
    g_free(through);
}

/* Only for sources whose callback takes nothing but its data: timeouts and idles. */
void g_source_set_callback(GSource *source, GSourceFunc call, void *data, GDestroyNotify free_data)
{
    passage *through;

    if (source->source_funcs != &g_timeout_funcs && source->source_funcs != &g_idle_funcs) {
        REAL(g_source_set_callback)(source, call, data, free_data);
        return;
    }
    through = g_new(passage, 1);
    *through = (passage){.call = call, .data = data, .free_data = free_data};
    __tsan_release(through);
    REAL(g_source_set_callback)(source, pass, through, end_passage);
}
