/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A queue is a descriptor to poll and events to pull; nothing of the program is ever called back. */
#ifndef VMHOST_EVENT_H
#define VMHOST_EVENT_H

#include <vmhost/base.h>

VMH_BEGIN_DECLS

/* The types of events. Since 0.1. */
enum {
    VMH_EVENT_VM_ADDED = 1,     /* vm, name, uuid, state */
    VMH_EVENT_VM_REMOVED = 2,   /* vm, name, uuid */
    VMH_EVENT_VM_STATE = 3,     /* vm, name, uuid, state, reason */
    VMH_EVENT_VM_CHANGED = 4,   /* vm, name, uuid, reason: its configuration or devices */
    VMH_EVENT_JOB_PROGRESS = 5, /* job, verb, phase, done, total */
    VMH_EVENT_JOB_DONE = 6,     /* job, verb, code, reason */
    VMH_EVENT_HOST_LOST = 7,    /* reason */
    VMH_EVENT_HOST_BACK = 8,
    VMH_EVENT_RESYNC = 9, /* something was missed: forget what is known, a snapshot follows */
    VMH_EVENT_SYNCED = 10 /* the end of a snapshot */
};

/*
 * A queue begins with a snapshot, a VM_ADDED for each VM there is, then SYNCED, and goes on with what happens
 * since: nothing falls between. topics: "vm", "job", "host", several with commas, or NULL for all.
 * flags: 0. VMH_ERR_UNKNOWN_NAME: a topic there is not. The queue keeps its host alive. Since 0.1.
 *
 * It holds 4096 events at the most; when more wait, they are replaced by RESYNC, a new snapshot and SYNCED. After the
 * connection was re-made so are those of VMs, behind HOST_LOST and HOST_BACK. Progress of one job is kept once, the
 * newest.
 */
VMH_API vmh_queue *vmh_queue_new(vmh_host *host, const char *topics, uint64_t flags, vmh_error **error);
VMH_API vmh_queue *vmh_queue_ref(vmh_queue *queue);
VMH_API void       vmh_queue_unref(vmh_queue *queue);

/* To poll for reading: readable while an event waits. Close-on-exec; not to be read or closed. Since 0.1. */
VMH_API int32_t vmh_queue_fd(const vmh_queue *queue);

/* The next event. 1 and *event, 0 and NULL when none waits, negative at an error. Never blocks. Since 0.1. */
VMH_API int32_t vmh_queue_next(vmh_queue *queue, vmh_event **event, vmh_error **error);

/* As vmh_queue_next(), but waits up to timeout_ms for one; negative: for ever. Since 0.1. */
VMH_API int32_t vmh_queue_wait(vmh_queue *queue, int64_t timeout_ms, vmh_event **event, vmh_error **error);

VMH_API int32_t vmh_event_type(const vmh_event *event);
/* "vm-added" and so on; NULL for a number that is no type. Since 0.1. */
VMH_API const char *vmh_event_type_name(int32_t type);

/* Wall-clock milliseconds since 1970 at which it was noticed. Since 0.1. */
VMH_API uint64_t vmh_event_time(const vmh_event *event);

/* The VM it is about, with a reference, or NULL. Since 0.1. */
VMH_API vmh_vm *vmh_event_vm(const vmh_event *event);

/*
 * A field by the name written beside the types above: text ("name", "uuid", "state", "reason", "verb"), or NULL
 * when the event has none; numbers ("state", "job", "phase", "done", "total", "code" as a positive number), or 0.
 * Borrowed from the event. Since 0.1.
 */
VMH_API const char *vmh_event_str(const vmh_event *event, const char *field);
VMH_API uint64_t    vmh_event_u64(const vmh_event *event, const char *field);

VMH_API void vmh_event_free(vmh_event *event);

VMH_END_DECLS
#endif
