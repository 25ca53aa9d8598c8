/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A host is one hypervisor on one machine: open it, ask what it is and can do, find and create VMs. */
#ifndef VMHOST_HOST_H
#define VMHOST_HOST_H

#include <vmhost/base.h>

VMH_BEGIN_DECLS

/*
 * Opens a host by URI, such as "qemu:///system", "qemu:///session", "qemu+tls://node7/system" or
 * "test:///default"; "kvm:///" is the engine of our own, which needs no daemon. NULL means the best local one of
 * libvirt's: qemu:///system where its daemon answers, else qemu:///session, whose daemon is started on demand.
 * options is a spec of kind "open", or NULL.
 * Takes at most the option connect.timeout, and returns with the list of VMs known.
 * VMH_ERR_ARGUMENT: no driver for this URI (the message names the schemes); VMH_ERR_UNREACHABLE: nobody
 * there, refused, or silent until the timeout; VMH_ERR_PERMISSION: it does not let us in, and where the error is
 * about the property auth.user or auth.password, it asks for that and the option was not given. flags: 0. Since 0.1.
 *
 * A broken connection is re-made by itself (option reconnect); until then verbs fail with VMH_ERR_LOST,
 * lists and states are the last known, and queues say VMH_EVENT_HOST_LOST, then RESYNC.
 */
VMH_API vmh_host *vmh_host_open(const char *uri, const vmh_spec *options, uint64_t flags, vmh_error **error);
VMH_API vmh_host *vmh_host_ref(vmh_host *host);
/* The last one closes the connection, in the background where that could wait for a silent peer. */
VMH_API void vmh_host_unref(vmh_host *host);

/* The URI it was opened with, or that NULL led to. Borrowed. Since 0.1. */
VMH_API const char *vmh_host_uri(const vmh_host *host);

/* 1 while the connection stands, 0 after it broke and until it is re-made. Never blocks. Since 0.1. */
VMH_API int32_t vmh_host_connected(const vmh_host *host);

/*
 * What the host is: a spec of kind "host" with CPUs, NUMA, memory, what is allocated and free, and which
 * accelerator runs guests ("hardware", "emulated" or "none"). Asks the host; waits at most the option
 * call.timeout. Since 0.1.
 */
VMH_API vmh_spec *vmh_host_describe(vmh_host *host, vmh_error **error);

/*
 * Can this host do it? name is a verb ("vm.migrate", "host.sample") or a property's path or pattern
 * ("cpu.weight"). 1: yes. 0: no, and *reason says why (the caller's, for vmh_free(); reason may be NULL).
 * VMH_ERR_UNKNOWN_NAME when there is no such name. Never blocks. Since 0.1.
 */
VMH_API int32_t vmh_host_supports(vmh_host *host, const char *name, char **reason, vmh_error **error);

/*
 * All verbs by their names, as vmh_host_supports() and vmh_job_verb() write them, and of each a line on what it does.
 * Borrowed, for ever valid; NULL when the index is too high. Since 0.1.
 */
VMH_API size_t      vmh_verb_count(void);
VMH_API const char *vmh_verb_name(size_t index);
VMH_API const char *vmh_verb_doc(size_t index);

/*
 * All VMs that are known now, in no order, as a NULL-terminated array of their number returned. Each VM
 * carries a reference; vmh_vm_list_free() drops them all. Never blocks. Since 0.1.
 */
VMH_API size_t vmh_host_list_vms(vmh_host *host, vmh_vm ***vms);
VMH_API void   vmh_vm_list_free(vmh_vm **vms);

/* By UUID, else by name; VMH_ERR_NOT_FOUND. Never blocks. Since 0.1. */
VMH_API vmh_vm *vmh_host_find_vm(vmh_host *host, const char *name_or_uuid, vmh_error **error);

/* Lists the VMs anew, for a host without events or one that is not believed. flags: 0. Since 0.1. */
VMH_API vmh_job *vmh_host_refresh(vmh_host *host, uint64_t flags, vmh_error **error);

#define VMH_CREATE_START UINT64_C(1)         /* run it at once */
#define VMH_CREATE_PAUSED UINT64_C(2)        /* with START: its vCPUs wait for vmh_vm_resume() */
#define VMH_CREATE_TRANSIENT UINT64_C(4)     /* with START: it vanishes when it stops */
#define VMH_CREATE_VALIDATE_ONLY UINT64_C(8) /* check all, create nothing */

/*
 * Creates a VM from a spec of kind "vm"; the job's result, by vmh_job_result_vm(), is the VM. VMH_ERR_EXISTS: name or
 * UUID taken; VMH_ERR_VALUE, VMH_ERR_UNSUPPORTED: with the property. When the start fails, the VM is not left behind.
 * A descriptor that the spec gives, by vmh_spec_set_fd(), ends with the program, and so it goes with TRANSIENT alone.
 * This host's lists and queues have the VM from when it is made on, as it is then, and never one that could not be
 * made; who looks through another host handle, or by other programs, may see that for a moment.
 *
 * VALIDATE_ONLY tells what the same call without it would, as far as that can be known beforehand. With START this
 * includes that what it starts with is there: networks and filters, and, on a host of this machine that sees the same
 * files as this program, kernel, disks and shares; elsewhere only the start itself finds a missing file. It does so
 * everywhere with VMH_ERR_NOT_FOUND and the property. Since 0.1.
 */
VMH_API vmh_job *vmh_host_create_vm(vmh_host *host, const vmh_spec *spec, uint64_t flags, vmh_error **error);

VMH_END_DECLS
#endif
