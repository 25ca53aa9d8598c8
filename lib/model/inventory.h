/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inventory: what is known of a host's VMs, and the queues that hear of every change. */
#pragma once

#include "driver.h"
#include "model/job.h"

#define VMHI_UUID_SIZE 37

/* One VM as last heard of. The name and persistent are the inventory's lock's; the rest is atomic or constant. */
typedef struct {
    gatomicrefcount refs;
    char            uuid[VMHI_UUID_SIZE];
    char           *name;
    gboolean        persistent;
    gint            state;  /* VMH_VM_… */
    gint            serial; /* grows with everything that is heard of it */
    gint64          asked;  /* when its state was last asked for, in microseconds; the lock's */
    vmhi_lane       lane;
} vmhi_record;

vmhi_record *vmhi_record_ref(vmhi_record *record);
void         vmhi_record_unref(vmhi_record *record);

typedef struct vmhi_inventory vmhi_inventory;
typedef struct vmhi_queue     vmhi_queue;

vmhi_inventory *vmhi_inventory_new(void);
void            vmhi_inventory_free(vmhi_inventory *inventory);

/* At first: of a VM that is there, no event comes later than what a verb has told already, so none is doubted. */
void vmhi_inventory_trust_events(vmhi_inventory *inventory);

/*
 * What events tell. FALSE: it contradicts what a look told a moment ago, so it may be an old event on its way; it
 * does not count, and another look is due.
 */
gboolean vmhi_inventory_seen(vmhi_inventory *inventory, const vmhi_vm_info *info);
gboolean vmhi_inventory_gone(vmhi_inventory *inventory, const char *uuid);
void     vmhi_inventory_changed(vmhi_inventory *inventory, const char *uuid, const char *what);

/*
 * A look at one VM that took its time: it counts only when nothing was heard of the VM since `serial` was read.
 * FALSE when something was. info NULL: it is not there.
 */
gint     vmhi_inventory_serial(vmhi_inventory *inventory, const char *uuid); /* 0 when unknown */
gboolean vmhi_inventory_looked(vmhi_inventory *inventory, const char *uuid, const vmhi_vm_info *info, gint serial);

/*
 * A list of all, which takes its time as well: what events tell between begin and end stands, the list's word of
 * the same VM does not. VMs not listed are gone. One list at a time: begin waits for the one before it.
 */
void vmhi_inventory_list_begin(vmhi_inventory *inventory);
void vmhi_inventory_listed(vmhi_inventory *inventory, const vmhi_vm_info *info);
void vmhi_inventory_list_end(vmhi_inventory *inventory, gboolean complete);

/*
 * While a VM is being made, nothing that is heard of it counts: it may yet be undone. Showing it again tells nothing;
 * a look is due. One that is known already is not hidden. As often as hidden, it is to be shown.
 */
void vmhi_inventory_hide(vmhi_inventory *inventory, const char *uuid);
void vmhi_inventory_show(vmhi_inventory *inventory, const char *uuid);

/* With references. */
vmhi_record *vmhi_inventory_find(vmhi_inventory *inventory, const char *name_or_uuid);
GPtrArray   *vmhi_inventory_all(vmhi_inventory *inventory);

char *vmhi_inventory_name_dup(vmhi_inventory *inventory, const vmhi_record *record);

/* A queue gets the snapshot and from then on all that happens; the caller removes it before it is freed. */
void vmhi_inventory_subscribe(vmhi_inventory *inventory, vmhi_queue *queue);
void vmhi_inventory_unsubscribe(vmhi_inventory *inventory, vmhi_queue *queue);

/* To all queues: an event of another topic than VMs, which it takes; or the notice to begin anew. */
void vmhi_inventory_publish(vmhi_inventory *inventory, vmh_event *event);
void vmhi_inventory_resync(vmhi_inventory *inventory);
