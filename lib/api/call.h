/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a public verb to a job that calls the driver: what the handles are, and the one path all verbs take. */
#pragma once

#include "api/link.h"

struct vmh_host {
    gatomicrefcount refs;
    vmhi_link      *link;
};

struct vmh_vm {
    gatomicrefcount refs;
    vmh_host       *host;
    vmhi_record    *record;
};

vmh_vm *vmhi_vm_new(vmh_host *host, vmhi_record *record); /* takes the record, NULL gives NULL */

/* One verb with its arguments; references and copies of its own. */
typedef struct vmhi_call vmhi_call;
struct vmhi_call {
    vmh_host *host;
    vmh_vm   *vm; /* or NULL */
    vmh_host *destination;
    vmh_spec *spec;
    uint64_t  flags;
    uint64_t  generation;
    vmhi_verb verb;
    char     *text;
    uint32_t  port;
    void *(*run)(vmhi_call *call, vmh_job *job, vmh_error **error);
};

vmhi_call *vmhi_call_new(vmh_host *host, vmh_vm *vm, uint64_t flags,
                         void *(*run)(vmhi_call *call, vmh_job *job, vmh_error **error));

typedef enum {
    VMHI_IN_ORDER, /* after the VM's other jobs */
    VMHI_AT_ONCE,
    VMHI_QUIET,    /* at once, and no event tells of it: a question, not a verb */
    VMHI_UNLIMITED /* in order, without deadline: it watches its own progress, and can be cancelled */
} vmhi_how;

/* What vmh_host_supports() denies fails with the same reason, whichever driver it is. */
gboolean vmhi_call_supported(vmhi_link *link, const char *verb, vmh_error **error);

/* Takes the call. */
vmh_job *vmhi_call_start(vmhi_call *call, const char *verb, vmhi_how how, GDestroyNotify free_result);

/* Runs it and waits: its result, or NULL with the error. Takes the call. */
void *vmhi_call_ask(vmhi_call *call, const char *verb, GDestroyNotify free_result, vmh_error **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_host, vmh_host_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_vm, vmh_vm_unref)
