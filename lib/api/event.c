/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* event.h: queues in the hands of a program, and the fields of events. */
#include "api/call.h"
#include "api/check.h"
#include "model/queue.h"

#include <string.h>

#define QUEUE_LIMIT 4096

struct vmh_queue {
    gatomicrefcount refs;
    vmh_host       *host;
    vmhi_queue     *queue;
};

static const struct {
    const char *name;
    unsigned    bit;
} topics_known[] = {{"vm", VMHI_TOPIC_VM}, {"job", VMHI_TOPIC_JOB}, {"host", VMHI_TOPIC_HOST}};

static unsigned topic_bit(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(topics_known); i++) {
        if (strcmp(name, topics_known[i].name) == 0)
            return topics_known[i].bit;
    }
    return 0;
}

/* 0 with the error when a name is no topic. */
static unsigned parse_topics(const char *text, vmh_error **error)
{
    g_auto(GStrv) names = text ? g_strsplit(text, ",", -1) : NULL;
    unsigned bits = text ? 0 : VMHI_TOPIC_VM | VMHI_TOPIC_JOB | VMHI_TOPIC_HOST;

    for (char **name = names; name && *name; name++) {
        unsigned bit = topic_bit(g_strstrip(*name));
        if (!bit) {
            vmhi_error_set(error, VMH_ERR_UNKNOWN_NAME, "no topic \"%.32s\"; there are: vm, job, host", *name);
            return 0;
        }
        bits |= bit;
    }
    if (!bits)
        vmhi_error_set(error, VMH_ERR_UNKNOWN_NAME, "topics is empty; give vm, job, host, or NULL for all");
    return bits;
}

vmh_queue *vmh_queue_new(vmh_host *host, const char *topics, uint64_t flags, vmh_error **error)
{
    vmhi_queue *inner;
    vmh_queue  *queue;
    unsigned    bits;

    if (!vmhi_check(host, "host", error) || !vmhi_check_flags(flags, 0, error))
        return NULL;
    bits = parse_topics(topics, error);
    inner = bits ? vmhi_queue_new(bits, QUEUE_LIMIT, error) : NULL;
    if (!inner)
        return NULL;
    queue = g_new0(vmh_queue, 1);
    g_atomic_ref_count_init(&queue->refs);
    queue->host = vmh_host_ref(host);
    queue->queue = inner;
    vmhi_inventory_subscribe(host->link->inventory, inner);
    return queue;
}

vmh_queue *vmh_queue_ref(vmh_queue *queue)
{
    if (queue)
        g_atomic_ref_count_inc(&queue->refs);
    return queue;
}

void vmh_queue_unref(vmh_queue *queue)
{
    if (!queue || !g_atomic_ref_count_dec(&queue->refs))
        return;
    vmhi_inventory_unsubscribe(queue->host->link->inventory, queue->queue);
    vmhi_queue_free(queue->queue);
    vmh_host_unref(queue->host);
    g_free(queue);
}

int32_t vmh_queue_fd(const vmh_queue *queue)
{
    return queue ? vmhi_queue_fd(queue->queue) : -1;
}

int32_t vmh_queue_wait(vmh_queue *queue, int64_t timeout_ms, vmh_event **event, vmh_error **error)
{
    if (event)
        *event = NULL;
    if (!vmhi_check(queue, "queue", error) || !vmhi_check(event, "event", error))
        return vmhi_code(error, VMH_ERR_ARGUMENT);
    *event = vmhi_queue_pop(queue->queue, timeout_ms);
    if (!*event)
        return 0;
    (*event)->host = vmh_host_ref(queue->host);
    if ((*event)->record && !(*event)->name)
        (*event)->name = vmhi_inventory_name_dup(queue->host->link->inventory, (*event)->record);
    return 1;
}

int32_t vmh_queue_next(vmh_queue *queue, vmh_event **event, vmh_error **error)
{
    return vmh_queue_wait(queue, 0, event, error);
}

/* --- events --- */

int32_t vmh_event_type(const vmh_event *event)
{
    return event ? event->type : 0;
}

const char *vmh_event_type_name(int32_t type)
{
    static const char *const names[] = {
        [VMH_EVENT_VM_ADDED] = "vm-added",
        [VMH_EVENT_VM_REMOVED] = "vm-removed",
        [VMH_EVENT_VM_STATE] = "vm-state",
        [VMH_EVENT_VM_CHANGED] = "vm-changed",
        [VMH_EVENT_JOB_PROGRESS] = "job-progress",
        [VMH_EVENT_JOB_DONE] = "job-done",
        [VMH_EVENT_HOST_LOST] = "host-lost",
        [VMH_EVENT_HOST_BACK] = "host-back",
        [VMH_EVENT_RESYNC] = "resync",
        [VMH_EVENT_SYNCED] = "synced",
    };

    return type > 0 && type < (int32_t)G_N_ELEMENTS(names) ? names[type] : NULL;
}

uint64_t vmh_event_time(const vmh_event *event)
{
    return event ? event->time_ms : 0;
}

vmh_vm *vmh_event_vm(const vmh_event *event)
{
    return event ? vmhi_vm_new(event->host, vmhi_record_ref(event->record)) : NULL;
}

const char *vmh_event_str(const vmh_event *event, const char *field)
{
    if (!event || !field)
        return NULL;
    if (strcmp(field, "name") == 0)
        return event->name;
    if (strcmp(field, "uuid") == 0)
        return event->record ? event->record->uuid : NULL;
    if (strcmp(field, "state") == 0)
        return event->record ? vmh_vm_state_name(event->state) : NULL;
    if (strcmp(field, "reason") == 0)
        return event->reason;
    return strcmp(field, "verb") == 0 ? event->verb : NULL;
}

uint64_t vmh_event_u64(const vmh_event *event, const char *field)
{
    if (!event || !field)
        return 0;
    if (strcmp(field, "state") == 0)
        return (uint64_t)event->state;
    if (strcmp(field, "job") == 0)
        return event->job;
    if (strcmp(field, "phase") == 0)
        return event->phase;
    if (strcmp(field, "done") == 0)
        return event->done;
    if (strcmp(field, "total") == 0)
        return event->total;
    return strcmp(field, "code") == 0 ? (uint64_t)event->code : 0;
}

void vmh_event_free(vmh_event *event)
{
    if (!event)
        return;
    vmh_host_unref(event->host);
    vmhi_event_free(event);
}
