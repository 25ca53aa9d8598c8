/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What sampling keeps from one frame to the next, and one round of it: for sample.c and single.c. */
#pragma once

#include "libvirt/common.h"

/* The ways to the metrics of a host, the best first. */
typedef enum {
    VMHI_WAY_BULK_NOWAIT, /* one call for all VMs, which waits for none of them */
    VMHI_WAY_BULK,
    VMHI_WAY_SINGLE
} vmhi_way;

/* Single calls that a driver may lack. */
typedef enum {
    VMHI_LACKS_MEMORY = 1,
    VMHI_LACKS_VCPUS = 2,
    VMHI_LACKS_BLOCK = 4,
    VMHI_LACKS_BLOCK_INFO = 8,
    VMHI_LACKS_NET = 16
} vmhi_lacks;

typedef struct vmhi_sampler vmhi_sampler;

/* One frame under construction, and what is known of the connection so far. */
typedef struct {
    vmhi_driver_host *host;
    vmhi_sampler     *sampler;
    virConnectPtr     connection;
    vmh_frame        *frame;
    unsigned          way;    /* vmhi_way */
    unsigned          proven; /* groups of the bulk call that the driver is known to have */
    unsigned          lacks;  /* vmhi_lacks */
    gboolean          by_disk;
    gboolean          by_nic;
    gboolean          sparing; /* bulk calls hang already: single ones, and only what asks no monitor */
} vmhi_sampling_round;

gboolean vmhi_sampler_begin(vmhi_sampling_round *round, vmhi_driver_host *host, vmh_frame *frame, vmh_error **error);
void     vmhi_sampler_end(vmhi_sampling_round *round);

/* TRUE when libvirt's last call failed because the driver or its daemon does not have it so. */
gboolean vmhi_sampler_call_missing(void);

/* May another bulk call begin? A slot to leave again, or -1: two of them hang already. */
int  vmhi_sampler_enter(vmhi_sampling_round *round);
void vmhi_sampler_leave(vmhi_sampling_round *round, int slot);

/* A disk or NIC of a VM: libvirt's name of it and ours. */
typedef struct {
    gboolean is_nic;
    char    *target;
    char    *id;
} vmhi_device_name;

/*
 * The devices of a VM (of vmhi_device_name), from what is known or from its XML. Unref it. Never NULL.
 * What is known of another run of the VM, by domain_id, is not believed; nor when it was forgotten.
 */
GPtrArray *vmhi_sampler_devices(vmhi_sampling_round *round, virDomainPtr domain, const char *uuid,
                                unsigned domain_id);
void       vmhi_sampler_forget_devices(vmhi_sampling_round *round, const char *uuid);

/* Our name of the device with this target, in this run of the VM. The caller's. */
char *vmhi_sampler_device_id(vmhi_sampling_round *round, virDomainPtr domain, const char *uuid, unsigned domain_id,
                             const char *target);

/* A VM as single calls need it; libvirt's own calls for these print a UUID each time, which is slow. */
typedef struct {
    virDomainPtr domain;
    const char  *uuid, *name; /* within the roster's texts */
} vmhi_member;

/* Held by frames as well, which may outlive the connection. */
typedef struct {
    gatomicrefcount refs;
    char            bytes[];
} vmhi_texts;

vmhi_texts *vmhi_texts_ref(vmhi_texts *texts);
void        vmhi_texts_unref(void *texts);

/* All VMs at one moment, never changed. */
typedef struct {
    gatomicrefcount refs;
    vmhi_texts     *texts;
    guint           count;
    vmhi_member     members[];
} vmhi_roster;

void vmhi_roster_unref(vmhi_roster *roster); /* NULL is fine; not under a lock, as it may free domains */

/*
 * Those of the last frame when `again` is FALSE and their number is still the same, else listed; *listed tells which.
 * NULL at an error.
 */
vmhi_roster *vmhi_sampler_roster(vmhi_sampling_round *round, gboolean again, gboolean *listed, vmh_error **error);

/* Samples by single calls for each VM (single.c). */
gboolean vmhi_sampler_single(vmhi_sampling_round *round, vmh_error **error);
