/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What stands behind a host handle: a driver's connection and the inventory it feeds. It is re-made when it
 * breaks, and outlives the handle for as long as a call is still out there.
 */
#pragma once

#include "api/sampling.h"
#include "driver.h"
#include "model/inventory.h"

typedef struct {
    gatomicrefcount    refs;
    const vmhi_driver *driver;
    vmhi_driver_host  *remote;
    char              *uri;
    gboolean           in_process; /* no call can wait for anybody: no threads are used */
    vmh_spec          *options;    /* or NULL: all defaults */
    vmhi_inventory    *inventory;
    vmhi_sampling      sampling;
    GMutex             lock; /* guards what follows */
    gboolean           connected;
    gboolean           closed;
    guint              losses;   /* how many times it broke */
    guint              attempts; /* to re-make it, since it broke last */
    guint              trying;   /* of these, under way, answered or not */
    gboolean           listing;  /* a list that a driver asked for is due */
    GHashTable        *doubts;   /* UUIDs of VMs to look at; NULL: none, and no thread that looks */
    GSource           *retry;
} vmhi_link;

/* Opens within the option connect.timeout, the first list included. options: a copy is made. */
vmhi_link *vmhi_link_open(const vmhi_driver *driver, const char *uri, const vmh_spec *options, vmh_error **error);
vmhi_link *vmhi_link_ref(vmhi_link *link);
void       vmhi_link_unref(vmhi_link *link);

/* No handle is left: nothing more is told or re-made; the connection closes when the last call is back. */
void vmhi_link_close(vmhi_link *link);

gboolean vmhi_link_connected(vmhi_link *link);
guint    vmhi_link_option_ms(const vmhi_link *link, const char *option);

/* Lists all VMs into the inventory. */
gboolean vmhi_link_list(vmhi_link *link, vmh_error **error);

/* Does a verb of one VM, and sees to it that the inventory knows what it led to. */
void vmhi_link_act(vmhi_link *link, const char *uuid, vmhi_verb verb, uint64_t flags, vmhi_task *task,
                   vmh_error **error);

/* After a verb: what is the VM now? Events may have said so already; errors are of no interest. */
void vmhi_link_look(vmhi_link *link, const char *uuid);
