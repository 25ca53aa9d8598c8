/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What update.c plans and live.c does: changes of a VM that runs. */
#pragma once

#include "libvirt/documents.h"

/* One state of what runs: as it is, or as it shall be. */
typedef struct {
    xmlDoc   *doc;
    vmh_spec *spec;
} vmhi_view;

typedef struct {
    virDomainPtr     domain;
    GCancellable    *cancellable;
    vmhi_task       *task;
    int64_t          patience_us; /* how long a guest may take to let a device go */
    const vmhi_view *from;
    const vmhi_view *to;
} vmhi_live;

/*
 * How one property, or several that one call of libvirt changes together, goes from one view to the other. The id is
 * that of the path, NULL when it has none; the path is what an error is about.
 */
typedef gboolean (*vmhi_live_change)(const vmhi_live *live, const char *id, const char *path, vmh_error **error);

/* The change for a property's pattern; NULL: there is none. *order: which goes first. */
vmhi_live_change vmhi_live_find(const char *pattern, guint *order);

/* Attaches or detaches a device, whichever leads from one view to the other. */
vmhi_live_change vmhi_live_plug(const char *class_name);

/* Why this host, or this VM as it runs, cannot change it live; NULL: it can. Constant. */
const char *vmhi_live_obstacle(const vmhi_platform *platform, const char *pattern, xmlDoc *run);

/* Adds the weight in effect to what the XML of a running VM leaves out. */
void vmhi_live_add_weight(vmh_spec *spec, virDomainPtr domain);
