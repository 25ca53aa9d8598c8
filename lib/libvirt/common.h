/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the libvirt driver share: its connection, its errors, and who does which call. */
#pragma once

#include "driver.h"
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#define VMHI_LIBVIRT "libvirt"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, virDomainFree)

/* What open() learns of the host once, for supports() and for building domains. Strings are owned. */
typedef struct {
    char    *type;                      /* virConnectGetType(): "QEMU", "TEST", "Xen", "ESX" */
    char    *arch;                      /* "x86_64" */
    char    *domain_type;               /* what accelerator=auto becomes: "kvm", "qemu", "test", "xen", … */
    gboolean kvm;                       /* KVM is offered at all */
    char    *accelerator;               /* "hardware", "emulated", "none" */
    char    *reason;                    /* how that was found out */
    char    *machine;                   /* the machine type that new VMs get, or NULL: libvirt's choice */
    char    *emulator;                  /* or NULL */
    gboolean uefi;                      /* firmware='efi' is offered */
    gboolean tpm, virtiofs, vsock, rng; /* devices that domain capabilities offer */
    gboolean session;                   /* an unprivileged daemon: no bridges, no cgroups */
} vmhi_platform;

struct vmhi_driver_host {
    char            *uri;
    vmh_spec        *options;
    const vmhi_sink *sink;
    void            *sink_data;
    GMutex           lock; /* guards what follows; never held during a libvirt call */
    gboolean         is_quiet;
    virConnectPtr    connection; /* replaced by reopen(); NULL while lost */
    GHashTable      *domains;    /* UUID -> virDomainPtr, of this connection */
    GArray          *callbacks;  /* ids of the registered domain events */
    vmhi_platform    platform;
    void            *sampler; /* sample.c's own */
};

/* --- error.c --- */
/* Turns libvirt's last error of this thread into ours; `doing` is what was tried: "starting VM \"a\"". */
void vmhi_libvirt_error(vmh_error **error, const char *property, const char *doing);
void vmhi_libvirt_silence(void); /* libvirt writes errors to stderr unless told not to; once a process */

/* --- loop.c --- */
/* Makes sure that libvirt has an event loop: the program's when it registered one, else one of ours. */
gboolean vmhi_libvirt_loop_start(vmh_error **error);
/* TRUE when the loop, whoever's it is, has lately run a timer of ours; waits up to timeout_ms for it. */
gboolean vmhi_libvirt_loop_runs(int timeout_ms);

/* --- connection.c --- */
/* A reference to the connection (virConnectClose() it), or NULL with VMH_ERR_LOST. */
virConnectPtr vmhi_libvirt_connection(vmhi_driver_host *host, vmh_error **error);
/* A reference to the domain (virDomainFree() it), or NULL with VMH_ERR_NOT_FOUND or VMH_ERR_LOST. */
virDomainPtr vmhi_libvirt_domain(vmhi_driver_host *host, const char *uuid, vmh_error **error);
void         vmhi_libvirt_forget(vmhi_driver_host *host, const char *uuid); /* drops the cached domain */

/* --- platform.c --- */
gboolean vmhi_libvirt_platform_learn(vmhi_platform *platform, virConnectPtr connection, vmh_error **error);
void     vmhi_libvirt_platform_clear(vmhi_platform *platform);

/* --- events.c --- */
gboolean vmhi_libvirt_events_start(vmhi_driver_host *host, vmh_error **error);
void     vmhi_libvirt_events_stop(vmhi_driver_host *host);
/* libvirt's state and reason in our words; *reason is constant. */
int32_t vmhi_libvirt_state(int state, int detail, const char **reason);

/* --- the calls of the contract, by file --- */
gboolean  vmhi_libvirt_list(vmhi_driver_host *, vmhi_visit, void *, vmh_error **);                    /* events.c */
gboolean  vmhi_libvirt_look(vmhi_driver_host *, const char *uuid, vmhi_visit, void *, vmh_error **); /* events.c */
vmh_spec *vmhi_libvirt_describe(vmhi_driver_host *, vmh_error **);                                    /* platform.c */
gboolean  vmhi_libvirt_supports(vmhi_driver_host *, const char *name, char **reason);                 /* supports.c */
char *vmhi_libvirt_create(vmhi_driver_host *, const vmh_spec *, uint64_t, vmhi_task *, vmh_error **); /* create.c */
vmh_spec *vmhi_libvirt_describe_vm(vmhi_driver_host *, const char *, uint64_t, vmh_error **);         /* create.c */
gboolean  vmhi_libvirt_act(vmhi_driver_host *, const char *, vmhi_verb, uint64_t, vmhi_task *,
                           vmh_error **); /* act.c */
gboolean  vmhi_libvirt_update(vmhi_driver_host *, const char *, const vmh_spec *, uint64_t, uint64_t, vmhi_verdicts *,
                              vmhi_task *, vmh_error **);                                              /* update.c */
int      vmhi_libvirt_console(vmhi_driver_host *, const char *, const char *, uint64_t, vmh_error **); /* console.c */
char    *vmhi_libvirt_migrate(vmhi_driver_host *, const char *, vmhi_driver_host *, const vmh_spec *, uint64_t,
                              vmhi_task *, vmh_error **);                    /* migrate.c */
gboolean vmhi_libvirt_sample(vmhi_driver_host *, vmh_frame *, vmh_error **); /* sample.c */
/* What was learnt of a VM's devices is out of date: they changed, or the VM did. */
void vmhi_libvirt_sampler_forget(vmhi_driver_host *host, const char *uuid);
void vmhi_libvirt_sampler_free(void *sampler);
