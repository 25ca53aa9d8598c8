/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is known of each VM between events: enough to say what a stop or an undefine means without asking the host.
 * All calls are made with the voice's lock held.
 */
#pragma once

#include "libvirt/common.h"

typedef struct {
    int32_t  state;
    gboolean persistent;
    guint64  heard;  /* the watch's serial when an event told of it; 0: none did */
    guint64  listed; /* the number of the list that had it last */
} vmhi_known;

struct vmhi_watch {
    GHashTable *vms;     /* UUID -> vmhi_known */
    guint64     serial;  /* grows with each event */
    guint64     lists;   /* grows with each list */
    gboolean    trusted; /* a list was made since the connection was, so that no VM is unknown */
};

vmhi_watch *vmhi_watch_new(void);
void        vmhi_watch_free(vmhi_watch *watch);

/* For a new connection: nothing is known. */
void vmhi_watch_reset(vmhi_watch *watch);

/* For an event: the VM's entry, a stopped and transient one when it is new. */
vmhi_known *vmhi_watch_hear(vmhi_watch *watch, const char *uuid);
void        vmhi_watch_drop(vmhi_watch *watch, const char *uuid);

/*
 * An event before the first list is done: what it means for a VM of which nothing is known, not even whether it stays
 * when it stops, cannot be said. The list that follows will not be understood, and another one tells.
 */
void vmhi_watch_overheard(vmhi_watch *watch);

/* NULL: not known. */
const vmhi_known *vmhi_watch_find(const vmhi_watch *watch, const char *uuid);

/* A list takes its time: what events told since `serial` was read stands. */
void vmhi_watch_listed(vmhi_watch *watch, guint64 serial, const vmhi_vm_info *info);

/* After all VMs of a list. FALSE when events came that could not be understood without it: list again. */
gboolean vmhi_watch_list_end(vmhi_watch *watch, guint64 serial);
