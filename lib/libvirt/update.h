/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What update.c plans, update-steps.c makes, and live.c can do with what runs. */
#pragma once

#include "libvirt/documents.h"
#include "libvirt/domain-map.h"

/* One state of what runs: as it is, or as it shall be. */
typedef struct {
    xmlDoc   *doc;
    vmh_spec *spec;
} vmhi_view;

typedef struct {
    const vmhi_platform *platform;
    virDomainPtr         domain;
    const vmh_spec      *spec;
    GStrv                paths;
    uint64_t             flags;
    gboolean             live, persist; /* which of the two is to change */
    vmhi_verdicts       *verdicts;
    vmhi_documents       documents;
    vmhi_view            kept, kept_then; /* what is kept, and what shall be */
    vmhi_view            run, run_then;
    vmh_spec            *live_spec; /* the part of the spec that can change what runs */
    GHashTable          *reasons;   /* path -> the error that says why it cannot */
    gboolean             autostart, autostart_wanted;
} vmhi_update;

/* Of "disk.root.path": the class and "root"; NULL for a path that is of no device. */
const vmhi_domain_class *vmhi_update_device(const char *path, char **id);
gboolean                 vmhi_update_has(const vmhi_view *view, const vmhi_domain_class *class, const char *id);
/* Does a property, or the device that it is of, differ between two views? */
gboolean vmhi_update_differs(const vmhi_view *now, const vmhi_view *then, const char *path);

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

/* Makes all changes, or none; what could not be taken back after a failure is said. */
gboolean vmhi_update_make(const vmhi_update *u, const vmhi_live *live, vmh_error **error);
