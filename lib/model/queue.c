/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A queue: first the snapshot, made into events one by one as they are pulled, then what was pushed. */
#include "model/queue.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct vmhi_queue {
    unsigned   topics;
    guint      limit;
    int        fd; /* an eventfd, readable while an event waits */
    GMutex     lock;
    GCond      more;
    GQueue     earlier; /* what is told before all else: of jobs and the host, from before a connection was re-made */
    gboolean   resync;  /* RESYNC is due before the snapshot */
    gboolean   synced;  /* SYNCED was given */
    GPtrArray *snapshot; /* records still to be told, from `next` on; NULL: none */
    guint      next;
    GQueue     events;
    gboolean   readable; /* the state of fd */
};

vmh_event *vmhi_event_new(int32_t type, vmhi_record *record)
{
    vmh_event *event = g_new0(vmh_event, 1);

    event->type = type;
    event->time_ms = (uint64_t)g_get_real_time() / 1000;
    event->record = vmhi_record_ref(record);
    return event;
}

vmh_event *vmhi_event_copy(const vmh_event *event)
{
    vmh_event *copy = g_memdup2(event, sizeof *event);

    vmhi_record_ref(copy->record);
    copy->name = g_strdup(event->name);
    copy->reason = g_strdup(event->reason);
    return copy;
}

void vmhi_event_free(vmh_event *event)
{
    if (!event)
        return;
    vmhi_record_unref(event->record);
    g_free(event->name);
    g_free(event->reason);
    g_free(event);
}

vmhi_queue *vmhi_queue_new(unsigned topics, guint limit, vmh_error **error)
{
    vmhi_queue *queue;
    int         fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0) {
        vmhi_error_set(error, VMH_ERR_RESOURCE, "no descriptor for a queue: %s", g_strerror(errno));
        return NULL;
    }
    queue = g_new0(vmhi_queue, 1);
    queue->topics = topics;
    queue->limit = limit;
    queue->fd = fd;
    g_queue_init(&queue->earlier);
    g_queue_init(&queue->events);
    g_mutex_init(&queue->lock);
    g_cond_init(&queue->more);
    return queue;
}

static void drop_events(vmhi_queue *queue)
{
    g_clear_pointer(&queue->snapshot, g_ptr_array_unref);
    g_queue_clear_full(&queue->events, (GDestroyNotify)vmhi_event_free);
}

void vmhi_queue_free(vmhi_queue *queue)
{
    drop_events(queue);
    g_queue_clear_full(&queue->earlier, (GDestroyNotify)vmhi_event_free);
    close(queue->fd);
    g_mutex_clear(&queue->lock);
    g_cond_clear(&queue->more);
    g_free(queue);
}

int vmhi_queue_fd(const vmhi_queue *queue)
{
    return queue->fd;
}

static gboolean has_event(vmhi_queue *queue)
{
    return !g_queue_is_empty(&queue->earlier) || queue->resync || queue->snapshot || !queue->synced ||
           !g_queue_is_empty(&queue->events);
}

/* Called with the lock held, after each change: the descriptor is readable exactly while an event waits. */
static void update_fd(vmhi_queue *queue)
{
    gboolean readable = has_event(queue);
    uint64_t count = 1;
    ssize_t  moved;

    if (readable == queue->readable)
        return;
    moved = readable ? write(queue->fd, &count, sizeof count) : read(queue->fd, &count, sizeof count);
    g_warn_if_fail(moved == sizeof count);
    queue->readable = readable;
    if (readable)
        g_cond_broadcast(&queue->more);
}

static unsigned topic_of(int32_t type)
{
    switch (type) {
    case VMH_EVENT_JOB_PROGRESS:
    case VMH_EVENT_JOB_DONE:
        return VMHI_TOPIC_JOB;
    case VMH_EVENT_HOST_LOST:
    case VMH_EVENT_HOST_BACK:
        return VMHI_TOPIC_HOST;
    default:
        return VMHI_TOPIC_VM;
    }
}

/* A new snapshot says all that was to be said of VMs, and nothing of jobs or the host. */
static void keep_others(vmhi_queue *queue)
{
    vmh_event *event;

    while ((event = g_queue_pop_head(&queue->events))) {
        if (topic_of(event->type) != VMHI_TOPIC_VM && g_queue_get_length(&queue->earlier) < queue->limit)
            g_queue_push_tail(&queue->earlier, event);
        else
            vmhi_event_free(event);
    }
}

void vmhi_queue_begin(vmhi_queue *queue, GPtrArray *records, vmhi_begin why)
{
    g_mutex_lock(&queue->lock);
    if (why == VMHI_BEGIN_RECONNECTED)
        keep_others(queue);
    drop_events(queue);
    queue->resync = why != VMHI_BEGIN_FIRST;
    queue->synced = FALSE;
    queue->next = 0;
    if ((queue->topics & VMHI_TOPIC_VM) && records->len)
        queue->snapshot = g_steal_pointer(&records);
    update_fd(queue);
    g_mutex_unlock(&queue->lock);
    g_clear_pointer(&records, g_ptr_array_unref);
}

/* Of the progress of a job only the newest is of use. */
static void drop_older_progress(vmhi_queue *queue, uint64_t job)
{
    for (GList *link = queue->events.head; link; link = link->next) {
        vmh_event *event = link->data;
        if (event->type == VMH_EVENT_JOB_PROGRESS && event->job == job) {
            vmhi_event_free(event);
            g_queue_delete_link(&queue->events, link);
            return;
        }
    }
}

gboolean vmhi_queue_push(vmhi_queue *queue, const vmh_event *event)
{
    gboolean fits;

    if (!(topic_of(event->type) & queue->topics))
        return TRUE;
    g_mutex_lock(&queue->lock);
    if (event->type == VMH_EVENT_JOB_PROGRESS)
        drop_older_progress(queue, event->job);
    fits = g_queue_get_length(&queue->events) < queue->limit;
    if (fits)
        g_queue_push_tail(&queue->events, vmhi_event_copy(event));
    update_fd(queue);
    g_mutex_unlock(&queue->lock);
    return fits;
}

/* The next record of the snapshot as an event; the name is filled in by the floor above. */
static vmh_event *pop_snapshot(vmhi_queue *queue)
{
    vmhi_record *record = queue->snapshot->pdata[queue->next++];
    vmh_event   *event = vmhi_event_new(VMH_EVENT_VM_ADDED, record);

    event->state = g_atomic_int_get(&record->state);
    if (queue->next == queue->snapshot->len)
        g_clear_pointer(&queue->snapshot, g_ptr_array_unref);
    return event;
}

static vmh_event *pop_locked(vmhi_queue *queue)
{
    if (!g_queue_is_empty(&queue->earlier))
        return g_queue_pop_head(&queue->earlier);
    if (queue->resync) {
        queue->resync = FALSE;
        return vmhi_event_new(VMH_EVENT_RESYNC, NULL);
    }
    if (queue->snapshot)
        return pop_snapshot(queue);
    if (!queue->synced) {
        queue->synced = TRUE;
        return vmhi_event_new(VMH_EVENT_SYNCED, NULL);
    }
    return g_queue_pop_head(&queue->events);
}

vmh_event *vmhi_queue_pop(vmhi_queue *queue, int64_t timeout_ms)
{
    gint64     until = g_get_monotonic_time() + MIN(timeout_ms, G_MAXINT64 / 4000) * 1000;
    vmh_event *event;

    g_mutex_lock(&queue->lock);
    while (!has_event(queue) && timeout_ms != 0) {
        if (timeout_ms < 0)
            g_cond_wait(&queue->more, &queue->lock);
        else if (!g_cond_wait_until(&queue->more, &queue->lock, until))
            break;
    }
    event = pop_locked(queue);
    update_fd(queue);
    g_mutex_unlock(&queue->lock);
    return event;
}
