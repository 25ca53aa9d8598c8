/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VMs that are watched: watch.c knows which there are, and watch-vm.c what each of them does. */
#pragma once

#include "kvm/common.h"

/* A VM. The thread's, but for the counters and the process, which are the lock's. */
typedef struct {
    vmhi_kvm_watch          *watch;
    char                    *uuid;
    char                    *name;
    gboolean                 persistent;
    int                      directory; /* what inotify calls it; -1: it has no room for more */
    int                      connection;
    gboolean                 is_lost; /* there is a process, which cannot be reached */
    GSource                 *source;
    vmhi_kvm_condition       end; /* as its process announced it; VMH_VM_UNKNOWN until then */
    const struct wire_stats *stats;
    int                      process;
    clockid_t                clock; /* of its processor time; CLOCK_REALTIME: not known */
} vmhi_kvm_watched;

struct vmhi_kvm_watch {
    vmhi_driver_host *host;
    GMainContext     *context;
    GThread          *thread;
    gint              ended;
    int               inotify;
    int               names;
    GMutex            sink_lock; /* held while the sink is called */
    gboolean          quiet;
    GMutex            lock;
    GHashTable       *vms;    /* by UUID */
    gboolean          listed; /* for the first time */
    GCond             was_listed;
    guint             again_ms;
    GSource          *again; /* while there are VMs that are to be looked at from time to time */
};

/* --- watch-vm.c; all of the thread's --- */
/* From now on it is among the watch's VMs and tells what becomes of it, if it is not gone again. */
void vmhi_kvm_watched_add(vmhi_kvm_watch *watch, const char *uuid, const char *name);
void vmhi_kvm_watched_drop(vmhi_kvm_watched *vm);
/* Tells what it said last, that it is no more, and drops it. */
void vmhi_kvm_watched_gone(vmhi_kvm_watched *vm);
/* Tells that something of it is not as it was: its configuration, or its devices. */
void vmhi_kvm_watched_changed(vmhi_kvm_watched *vm, const char *what);
/* Its process may be there now: the VM tells of it. */
void vmhi_kvm_watched_connect(vmhi_kvm_watched *vm);
/* What could not be reached or watched may be by now. FALSE: nothing more is to be tried. It may be gone thereafter.
 */
gboolean vmhi_kvm_watched_again(vmhi_kvm_watched *vm);
/* Of watch.c: looks at it again from time to time. */
void vmhi_kvm_watch_again(vmhi_kvm_watch *watch);
/*
 * Tells what its process has said up to now; it may be gone thereafter. So what the next process says comes after
 * the words of one that has ended.
 */
void vmhi_kvm_watched_catch_up(vmhi_kvm_watched *vm);
