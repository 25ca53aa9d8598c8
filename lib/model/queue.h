/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Event queues: bounded, with a descriptor, beginning with a snapshot. */
#pragma once

#include "model/inventory.h"
#include <vmhost/event.h>

enum { VMHI_TOPIC_VM = 1, VMHI_TOPIC_JOB = 2, VMHI_TOPIC_HOST = 4 };

struct vmh_event {
    int32_t      type;
    uint64_t     time_ms;
    vmhi_record *record; /* or NULL */
    vmh_host    *host;   /* set by the floor above when it hands the event out */
    char        *name;
    int32_t      state;
    char        *reason;
    uint64_t     job;
    const char  *verb; /* constant */
    uint64_t     phase, done, total;
    int32_t      code;
};

vmh_event *vmhi_event_new(int32_t type, vmhi_record *record);
vmh_event *vmhi_event_copy(const vmh_event *event);
void       vmhi_event_free(vmh_event *event); /* leaves `host` alone */

/* NULL with VMH_ERR_RESOURCE when there is no descriptor left. limit: events at the most, the snapshot not counted.
 */
vmhi_queue *vmhi_queue_new(unsigned topics, guint limit, vmh_error **error);
void        vmhi_queue_free(vmhi_queue *queue);
int         vmhi_queue_fd(const vmhi_queue *queue);

typedef enum {
    VMHI_BEGIN_FIRST,
    VMHI_BEGIN_OVERFLOWN,  /* RESYNC, and what waited is dropped */
    VMHI_BEGIN_RECONNECTED /* RESYNC, after what waits of jobs and the host */
} vmhi_begin;

/* Begins anew with these records (taken). */
void vmhi_queue_begin(vmhi_queue *queue, GPtrArray *records, vmhi_begin why);

/* Takes a copy. FALSE when the queue is full: the caller begins it anew. */
gboolean vmhi_queue_push(vmhi_queue *queue, const vmh_event *event);

/* The next event, or NULL; waits up to timeout_ms (negative: for ever) for one. */
vmh_event *vmhi_queue_pop(vmhi_queue *queue, int64_t timeout_ms);
