/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The contract that every hypervisor implements. Plain values cross it, and nothing else: specs, strings,
 * frames, descriptors. A driver knows lib/model and this file; the floor above knows only this file.
 *
 * Calls may block and may come from several threads at once, also several on one VM. Whoever calls keeps the
 * deadline: a call that does not return is left behind on its thread, and its result dropped when it comes.
 */
#pragma once

#include "model/error.h"
#include "model/frame.h"
#include "model/spec.h"
#include <gio/gio.h>
#include <vmhost/host.h>
#include <vmhost/job.h>
#include <vmhost/vm.h>

/* A driver's own connection to one host; each driver defines its own struct. */
typedef struct vmhi_driver_host vmhi_driver_host;

/* What is known of a VM from a list or an event. Strings are the driver's, for the call. */
typedef struct {
    const char *uuid;
    const char *name;
    int32_t     state;  /* VMH_VM_… */
    const char *reason; /* why this state, or NULL */
    gboolean    persistent;
} vmhi_vm_info;

/*
 * What a driver tells of its own accord, from any thread. The functions are quick and call no driver; after
 * close() was called the driver calls none of them any more.
 */
typedef struct {
    void (*vm_seen)(void *data, const vmhi_vm_info *info); /* new, or with another name or state */
    void (*vm_gone)(void *data, const char *uuid);
    void (*vm_changed)(void *data, const char *uuid, const char *what); /* configuration or devices */
    void (*missed)(void *data);                   /* something may have been missed: list again */
    void (*lost)(void *data, const char *reason); /* the connection broke; reopen() will be tried */
} vmhi_sink;

/* One verb under way, as its driver sees it. Valid until the call returns. */
typedef struct vmhi_task vmhi_task;
void                     vmhi_task_progress(vmhi_task *task, int32_t field, uint64_t value); /* VMH_PROGRESS_… */
void                     vmhi_task_can_cancel(vmhi_task *task, gboolean can); /* from here on; at first it cannot */
GCancellable            *vmhi_task_cancellable(vmhi_task *task); /* watch it where cancelling is possible */
/*
 * For a verb that has no deadline of its own: when it is not over, or has not said otherwise, in so many milliseconds
 * (0: ever), it ends with VMH_ERR_TIMEOUT, and `meaning` (constant) tells what is known then. FALSE: it has ended
 * already, and nothing more is to be done for it.
 */
gboolean vmhi_task_deadline(vmhi_task *task, guint deadline_ms, const char *meaning);

typedef enum {
    VMHI_START,
    VMHI_PAUSE,
    VMHI_RESUME,
    VMHI_SHUTDOWN,
    VMHI_REBOOT,
    VMHI_RESET,
    VMHI_STOP,
    VMHI_DELETE
} vmhi_verb;

/* Collects the verdicts of an update, in the order in which they come; a later one on a property replaces. */
typedef struct vmhi_verdicts vmhi_verdicts;
void vmhi_verdict(vmhi_verdicts *verdicts, const char *property, int32_t verdict, const char *reason);

/* For each VM of a list. */
typedef void (*vmhi_visit)(void *data, const vmhi_vm_info *info);

typedef struct {
    const char        *name;    /* "libvirt" */
    const char *const *schemes; /* for the error that says what there is: "qemu:///system", … */

    gboolean (*claims)(const char *uri); /* is this URI for this driver? */
    char *(*best_local)(void);           /* the URI that NULL means, or NULL: none; quick */

    /* TRUE when the host lives in this process and no call can wait for anybody: then no thread is used. */
    gboolean (*in_process)(const char *uri);

    vmhi_driver_host *(*open)(const char *uri, const vmh_spec *options, const vmhi_sink *sink, void *data,
                              vmh_error **error);
    /* Two steps: after quiet() the sink is silent (it waits only for a sink call under way, and may be called
     * again); close() may hang. */
    void (*quiet)(vmhi_driver_host *host);
    void (*close)(vmhi_driver_host *host);
    /* One attempt to re-make a lost connection. TRUE also when it was not lost. */
    gboolean (*reopen)(vmhi_driver_host *host, vmh_error **error);

    gboolean (*list)(vmhi_driver_host *host, vmhi_visit visit, void *data, vmh_error **error);
    /* One VM as it is now; VMH_ERR_NOT_FOUND when it is not there. */
    gboolean (*look)(vmhi_driver_host *host, const char *uuid, vmhi_visit visit, void *data, vmh_error **error);
    vmh_spec *(*describe)(vmhi_driver_host *host, vmh_error **error);
    /* name: a known verb or a known pattern. Never blocks; answers from what open() learnt. */
    gboolean (*supports)(vmhi_driver_host *host, const char *name, char **reason);

    /* Flags are VMH_CREATE_…; returns the UUID, or the empty string when only validating. */
    char *(*create)(vmhi_driver_host *host, const vmh_spec *spec, uint64_t flags, vmhi_task *task, vmh_error **error);
    vmh_spec *(*describe_vm)(vmhi_driver_host *host, const char *uuid, uint64_t flags, vmh_error **error);
    /* visit: given the VM as it is now, where success leaves no doubt of it; else the caller looks. */
    gboolean (*act)(vmhi_driver_host *host, const char *uuid, vmhi_verb verb, uint64_t flags, vmhi_task *task,
                    vmhi_visit visit, void *data, vmh_error **error);
    gboolean (*update)(vmhi_driver_host *host, const char *uuid, const vmh_spec *spec, uint64_t flags,
                       uint64_t generation, vmhi_verdicts *verdicts, vmhi_task *task, vmh_error **error);
    int (*console)(vmhi_driver_host *host, const char *uuid, const char *name, uint64_t flags, vmh_error **error);
    /*
     * Streams to a port of the guest's sockets, and from it to a port of the host: of the first and what listens, the
     * descriptor. accept() never waits: -1 without an error says that there is no connection now. A driver that has
     * them not says so by supports(), and has NULL.
     */
    int (*connect)(vmhi_driver_host *host, const char *uuid, uint32_t port, uint64_t flags, vmh_error **error);
    int (*listen)(vmhi_driver_host *host, const char *uuid, uint32_t port, uint64_t flags, vmh_error **error);
    int (*accept)(vmhi_driver_host *host, int listener, uint32_t *from, vmh_error **error);
    /* destination is a host of the same driver. Returns the UUID there. */
    char *(*migrate)(vmhi_driver_host *host, const char *uuid, vmhi_driver_host *destination, const vmh_spec *options,
                     uint64_t flags, vmhi_task *task, vmh_error **error);
    /* Adds a row and its cells for every VM, also for one it learns nothing of now. */
    gboolean (*sample)(vmhi_driver_host *host, vmh_frame *frame, vmh_error **error);
    gboolean samples_at_once; /* it only reads memory, and never waits for long: no thread is used for it either */

    /* What the sink is told is never older than what a verb has told before it returned. */
    gboolean tells_in_order;
} vmhi_driver;

/* All drivers of this build, NULL-terminated, in the order in which a NULL URI asks them. */
extern const vmhi_driver *const vmhi_drivers[];
