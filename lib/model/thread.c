/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads with all signals blocked, and a pool of them that grows where calls hang. */
#include "model/thread.h"

#include <pthread.h>
#include <signal.h>

#define IDLE_SECONDS 5 /* a thread without work for so long ends */

typedef struct {
    void (*run)(void *data);
    void *data;
} piece;

static struct {
    GMutex lock;
    GCond  more;
    GQueue pieces;
    guint  idle; /* threads that wait for a piece */
} pool;

GThread *vmhi_thread_new(const char *name, GThreadFunc run, void *data)
{
    sigset_t all, before;
    GThread *thread;

    /* A new thread inherits the mask, so there is no moment in which it could take a signal. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread = g_thread_new(name, run, data);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return thread;
}

static piece *next_piece(void)
{
    gint64 until = g_get_monotonic_time() + IDLE_SECONDS * G_USEC_PER_SEC;
    piece *work;

    g_mutex_lock(&pool.lock);
    pool.idle++;
    while (g_queue_is_empty(&pool.pieces) && g_cond_wait_until(&pool.more, &pool.lock, until))
        ;
    pool.idle--;
    work = g_queue_pop_head(&pool.pieces);
    g_mutex_unlock(&pool.lock);
    return work;
}

static void *worker(void *first)
{
    piece *work = first;

    while (work) {
        work->run(work->data);
        g_free(work);
        work = next_piece();
    }
    return NULL;
}

void vmhi_thread_run(void (*run)(void *data), void *data)
{
    piece *work = g_new(piece, 1);

    *work = (piece){.run = run, .data = data};
    g_mutex_lock(&pool.lock);
    if (pool.idle > g_queue_get_length(&pool.pieces)) {
        g_queue_push_tail(&pool.pieces, work);
        g_cond_signal(&pool.more);
        work = NULL;
    }
    g_mutex_unlock(&pool.lock);
    if (work)
        g_thread_unref(vmhi_thread_new("vmhost-worker", worker, work));
}
