/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An update under way, as update.c plans it and plug.c does the part with devices. */
#pragma once

#include "kvm/common.h"

typedef struct {
    vmhi_driver_host *host;
    const char       *uuid;
    const vmh_spec   *spec;
    GStrv             paths; /* of the spec */
    vmhi_verdicts    *verdicts;
    vmhi_task        *task;
    vmh_spec         *kept, *running;           /* as they are; NULL: the VM is transient, or does not run */
    vmh_spec         *kept_then, *running_then; /* as they shall be; NULL: as they are */
    gboolean          persist, live, must_live;
    int               vm_lock, lock; /* this VM's alone, and that of all, which is let go of to wait for a guest */

    /* plug.c's */
    int        connection;
    GPtrArray *detached, *attached; /* names, such as disk.root */
} vmhi_kvm_change;

/* --- plug.c --- */
/* "disk.root." of "disk.root.path"; NULL: it is no device's. */
char    *vmhi_kvm_device_of(const char *path);
gboolean vmhi_kvm_has_device(const vmh_spec *spec, const char *prefix);
void     vmhi_kvm_remove_device(vmh_spec *spec, const char *prefix);
/* NULL: this device, which does not run, may be plugged in as the spec has it. Constant. */
const char *vmhi_kvm_why_not_plugged(const vmh_spec *spec, const char *prefix);
/* What the spec leaves open of a device that is plugged in is as the other one has it. */
void vmhi_kvm_inherit_device(vmh_spec *spec, const vmh_spec *other, const char *prefix);

/* What the update attaches a device to takes the place of what the spec had it attached to. */
void vmhi_kvm_drop_other_sources(vmh_spec *spec, const vmh_spec *update, const char *path);

/* From running to running_then. */
gboolean vmhi_kvm_plug(vmhi_kvm_change *change, vmh_error **error);
/* And back, as far as it goes: the names of those that stay as they are come into `left`. */
void vmhi_kvm_plug_back(vmhi_kvm_change *change, GPtrArray *left);
void vmhi_kvm_plug_clear(vmhi_kvm_change *change);

/* --- limits.c --- */
/* The limits of the devices that the update concerns become as this spec has them. */
gboolean vmhi_kvm_tell_limits(const vmhi_kvm_change *change, const vmh_spec *as, vmh_error **error);
