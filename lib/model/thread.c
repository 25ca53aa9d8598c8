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
    guint  idle;    /* threads that wait for a piece */
    guint  workers; /* all threads, which look for a piece before they end */
} pool;

GThread *vmhi_thread_new(const char *name, GThreadFunc run, void *data)
{
    sigset_t all, before;
    GThread *thread;

    /* A new thread inherits the mask, so there is no moment in which it could take a signal. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread = g_thread_try_new(name, run, data, NULL); /* the plain call would end the process */
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
    pool.workers -= work == NULL;
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

/* TRUE: it was given to a thread there is, which takes it when it has no other. */
static gboolean hand_over(piece *work, gboolean now)
{
    gboolean handed;

    g_mutex_lock(&pool.lock);
    handed = now ? pool.idle > g_queue_get_length(&pool.pieces) : pool.workers > 0;
    if (handed) {
        g_queue_push_tail(&pool.pieces, work);
        g_cond_signal(&pool.more);
    } else {
        pool.workers += now;
    }
    g_mutex_unlock(&pool.lock);
    return handed;
}

static gboolean start_worker(piece *work)
{
    GThread *thread = vmhi_thread_new("vmhost-worker", worker, work);

    if (thread) {
        g_thread_unref(thread);
        return TRUE;
    }
    g_mutex_lock(&pool.lock);
    pool.workers--;
    g_mutex_unlock(&pool.lock);
    return FALSE;
}

void vmhi_thread_run(void (*run)(void *data), void *data)
{
    piece *work = g_new(piece, 1);

    *work = (piece){.run = run, .data = data};
    if (hand_over(work, TRUE) || start_worker(work) || hand_over(work, FALSE))
        return;
    run(data); /* better late for the caller than never */
    g_free(work);
}
