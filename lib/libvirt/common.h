/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the libvirt driver share: its connection, its errors, and who does which call. */
#pragma once

#include "driver.h"
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#define VMHI_LIBVIRT "libvirt"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, virDomainFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virConnect, virConnectClose)

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
    char    *security_model;            /* what confines by label, "apparmor" or "selinux", or NULL */
    gboolean uefi;                      /* firmware='efi' is offered */
    gboolean tpm, virtiofs, vsock, rng; /* devices that domain capabilities offer */
    gboolean session;                   /* an unprivileged daemon: no bridges, no cgroups */
    gboolean local;                     /* its files are those that this program sees */
} vmhi_platform;

typedef struct vmhi_voice vmhi_voice; /* voice.h: from libvirt's callbacks to the sink */
typedef struct vmhi_watch vmhi_watch; /* watch.h: what is known of each VM */
typedef struct vmhi_pulse vmhi_pulse; /* pulse.h: keeps calls from sleeping behind a long one */

struct vmhi_driver_host {
    char            *uri;
    vmh_spec        *options; /* NULL: all defaults */
    const vmhi_sink *sink;
    void            *sink_data;
    vmhi_voice      *voice;
    vmhi_watch      *watch;
    GMutex           lock;       /* guards the connection; never held during a libvirt call that could wait */
    virConnectPtr    connection; /* NULL while lost */
    GHashTable      *domains;    /* of the connection: UUID -> virDomainPtr */
    GArray          *callbacks;  /* of the connection: ids of its registered events */
    GCancellable    *over;       /* of the connection: cancelled when it was given up */
    vmhi_platform    platform;
    vmhi_pulse      *pulse;   /* NULL: the host is in this process */
    void            *sampler; /* sample.c's own */
};

/* --- error.c --- */
/*
 * Turns libvirt's last error of this thread into ours; `doing` is what was tried: "starting VM \"a\"". Any call of
 * libvirt in between loses that error, also virDomainGetName() and what frees.
 */
void vmhi_libvirt_error(vmh_error **error, const char *property, const char *doing);
/* Our code for an error of libvirt. */
int32_t vmhi_libvirt_code(const virError *error);

/* --- loop.c --- */
/*
 * Makes sure that libvirt has an event loop: the program's when it registered one, else one of ours. FALSE: there is
 * no thread for it.
 */
gboolean vmhi_libvirt_loop_start(vmh_error **error);
/* FALSE: the program's, and it may not run. */
gboolean vmhi_libvirt_loop_is_ours(void);
/* Does the loop, whoever's it is, call back? Waits up to timeout_ms for the program's to do so. */
gboolean vmhi_libvirt_loop_runs(int timeout_ms);

/* --- uri.c --- */
gboolean vmhi_libvirt_claims(const char *uri);
gboolean vmhi_libvirt_in_process(const char *uri);
char    *vmhi_libvirt_best_local(void);
/* Does the URI lead to a daemon on this machine? */
gboolean vmhi_libvirt_is_local(const char *uri);
/* The URI as libvirt shall see it, or NULL with VMH_ERR_ARGUMENT: malformed, or it could run a program here. */
char *vmhi_libvirt_uri(const char *uri, vmh_error **error);

/* --- connection.c --- */
vmhi_driver_host *vmhi_libvirt_open(const char *uri, const vmh_spec *options, const vmhi_sink *sink, void *data,
                                    vmh_error **error);
void              vmhi_libvirt_quiet(vmhi_driver_host *host);
void              vmhi_libvirt_close(vmhi_driver_host *host);
gboolean          vmhi_libvirt_reopen(vmhi_driver_host *host, vmh_error **error);
/* A reference to the connection (virConnectClose() it), or NULL with VMH_ERR_LOST. */
virConnectPtr vmhi_libvirt_connection(vmhi_driver_host *host, vmh_error **error);
/* A reference to the domain (virDomainFree() it), or NULL with VMH_ERR_NOT_FOUND or VMH_ERR_LOST. */
virDomainPtr vmhi_libvirt_domain(vmhi_driver_host *host, const char *uuid, vmh_error **error);
/* As above, and what is cancelled when this connection was given up; for the caller to unref. */
virConnectPtr vmhi_libvirt_connection_until(vmhi_driver_host *host, GCancellable **over, vmh_error **error);
/* As above, but a connection of its own to the same host, which nobody watches: for what could hold the other up. */
virConnectPtr vmhi_libvirt_connect_again(vmhi_driver_host *host, GCancellable **over, vmh_error **error);
/* A domain of any connection, not from the cache. */
virDomainPtr vmhi_libvirt_look_up(virConnectPtr connection, const char *uuid, vmh_error **error);
/* After an error of the transport on this thread: is it that the connection broke? Then its host is told, once. */
gboolean vmhi_libvirt_broke(const char *reason);
/* Keeps a domain that a list brought, so that it need not be looked up; takes no reference. */
void vmhi_libvirt_remember(vmhi_driver_host *host, const char *uuid, virDomainPtr domain);
void vmhi_libvirt_forget(vmhi_driver_host *host, const char *uuid); /* drops the cached domain */

/* --- platform.c --- */
gboolean vmhi_libvirt_platform_learn(vmhi_platform *platform, virConnectPtr connection, vmh_error **error);
void     vmhi_libvirt_platform_clear(vmhi_platform *platform);

/* --- events.c --- */
/* Registers for the events of a new connection; their callbacks carry `number` (voice.h). */
gboolean vmhi_libvirt_events_start(virConnectPtr connection, GArray *callbacks, gpointer number, vmh_error **error);

/* --- list.c --- */
/* Whether it stays when it stops: known from events and lists, or asked for. */
gboolean vmhi_libvirt_is_persistent(vmhi_driver_host *host, const char *uuid, virDomainPtr domain);

/* --- state.c --- */
/* Writes the UUID to a buffer of VIR_UUID_STRING_BUFLEN, "" when there is none: FALSE. */
gboolean vmhi_libvirt_uuid(virDomainPtr domain, char *uuid);
/* libvirt's state and reason in our words; *reason is constant, and may be NULL. */
int32_t vmhi_libvirt_state(int state, int detail, const char **reason);

/* --- act.c --- */
/* Undefines a VM with all that the host keeps of it; as libvirt's calls, 0 or negative. */
int vmhi_libvirt_undefine(virDomainPtr domain);

/* --- vsock.c --- */
/* Why a guest's sockets cannot be connected to here, or NULL. Constant. */
const char *vmhi_libvirt_no_sockets(const vmhi_platform *platform);

/* --- the calls of the contract, by file --- */
gboolean  vmhi_libvirt_list(vmhi_driver_host *, vmhi_visit, void *, vmh_error **);                    /* list.c */
gboolean  vmhi_libvirt_look(vmhi_driver_host *, const char *uuid, vmhi_visit, void *, vmh_error **);  /* list.c */
vmh_spec *vmhi_libvirt_describe(vmhi_driver_host *, vmh_error **);                                    /* node.c */
gboolean  vmhi_libvirt_supports(vmhi_driver_host *, const char *name, char **reason);                 /* supports.c */
char *vmhi_libvirt_create(vmhi_driver_host *, const vmh_spec *, uint64_t, vmhi_task *, vmh_error **); /* create.c */
vmh_spec *vmhi_libvirt_describe_vm(vmhi_driver_host *, const char *, uint64_t, vmh_error **);         /* create.c */
gboolean  vmhi_libvirt_act(vmhi_driver_host *, const char *, vmhi_verb, uint64_t, vmhi_task *, vmhi_visit, void *,
                           vmh_error **); /* act.c */
gboolean  vmhi_libvirt_update(vmhi_driver_host *, const char *, const vmh_spec *, uint64_t, uint64_t, vmhi_verdicts *,
                              vmhi_task *, vmh_error **);                                              /* update.c */
int      vmhi_libvirt_console(vmhi_driver_host *, const char *, const char *, uint64_t, vmh_error **); /* console.c */
int      vmhi_libvirt_connect(vmhi_driver_host *, const char *, uint32_t, uint64_t, vmh_error **);     /* vsock.c */
char    *vmhi_libvirt_migrate(vmhi_driver_host *, const char *, vmhi_driver_host *, const vmh_spec *, uint64_t,
                              vmhi_task *, vmh_error **);                    /* migrate.c */
gboolean vmhi_libvirt_sample(vmhi_driver_host *, vmh_frame *, vmh_error **); /* sample.c */
/* What was learnt of a VM's devices is out of date: they changed, or the VM did. */
void vmhi_libvirt_sampler_forget(vmhi_driver_host *host, const char *uuid);
void vmhi_libvirt_sampler_free(void *sampler);
