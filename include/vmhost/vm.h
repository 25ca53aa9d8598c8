/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's verbs. A vmh_vm names a VM: dropping it never stops the VM, and it may outlive the VM. */
#ifndef VMHOST_VM_H
#define VMHOST_VM_H

#include <vmhost/base.h>

VMH_BEGIN_DECLS

VMH_API vmh_vm *vmh_vm_ref(vmh_vm *vm);
VMH_API void    vmh_vm_unref(vmh_vm *vm);

/* The host it lives on. Borrowed from the VM, which keeps its host alive. Since 0.1. */
VMH_API vmh_host *vmh_vm_host(const vmh_vm *vm);

/* Lower case, with dashes. Borrowed. Since 0.1. */
VMH_API const char *vmh_vm_uuid(const vmh_vm *vm);

/* The present name; a VM can be renamed. The caller's, for vmh_free(). Since 0.1. */
VMH_API char *vmh_vm_name_dup(const vmh_vm *vm);

/* The states of a VM. Since 0.1. */
enum {
    VMH_VM_UNKNOWN = 0, /* the host does not say */
    VMH_VM_STOPPED = 1, /* defined, not running */
    VMH_VM_RUNNING = 2,
    VMH_VM_PAUSED = 3,    /* its vCPUs stand still */
    VMH_VM_STOPPING = 4,  /* the guest is shutting down */
    VMH_VM_CRASHED = 5,   /* the guest or its process failed */
    VMH_VM_SUSPENDED = 6, /* the guest put itself to sleep */
    VMH_VM_GONE = 7       /* deleted, or moved to another host */
};

/* The last state known. Never blocks. Since 0.1. */
VMH_API int32_t vmh_vm_state(const vmh_vm *vm);

/* "running" for VMH_VM_RUNNING and so on; NULL for a number that is no state. Since 0.1. */
VMH_API const char *vmh_vm_state_name(int32_t state);

#define VMH_DESCRIBE_PERSISTENT UINT64_C(1) /* what the next start will use, not what runs now */

/*
 * What the VM is: a spec of kind "vm", which vmh_host_create_vm() takes as well. It carries the property
 * generation. What the hypervisor has beyond our properties is not shown and never lost. Asks the host;
 * waits at most the option call.timeout. Since 0.1.
 */
VMH_API vmh_spec *vmh_vm_describe(vmh_vm *vm, uint64_t flags, vmh_error **error);

/*
 * Each verb returns a job. Jobs of one VM run in the order in which they were asked for; those of several
 * VMs at the same time. VMH_ERR_STATE: not in this state, the message names the state; VMH_ERR_NOT_FOUND: the VM
 * is gone, or, with the error's property, the file or network that it names; VMH_ERR_UNSUPPORTED; VMH_ERR_LOST.
 * flags: 0 where no constant is named. Since 0.1.
 */
#define VMH_START_PAUSED UINT64_C(1)
VMH_API vmh_job *vmh_vm_start(vmh_vm *vm, uint64_t flags, vmh_error **error);
/* Of a VM that is paused, or runs, already, these two succeed: there is nothing to do. */
VMH_API vmh_job *vmh_vm_pause(vmh_vm *vm, uint64_t flags, vmh_error **error);
VMH_API vmh_job *vmh_vm_resume(vmh_vm *vm, uint64_t flags, vmh_error **error);
/*
 * Asks the guest, and ends as soon as it was asked: the guest may take its time, or refuse. When it has shut down,
 * the state is VMH_VM_STOPPED, or VMH_VM_GONE for a transient VM; a queue says so with VM_STATE or VM_REMOVED.
 */
VMH_API vmh_job *vmh_vm_shutdown(vmh_vm *vm, uint64_t flags, vmh_error **error);
/* Asks the guest to restart. */
VMH_API vmh_job *vmh_vm_reboot(vmh_vm *vm, uint64_t flags, vmh_error **error);
/* Restarts at once, as by the button; the guest is not asked. */
VMH_API vmh_job *vmh_vm_reset(vmh_vm *vm, uint64_t flags, vmh_error **error);
/* Stops at once; the guest is not asked. Does not queue behind the VM's other jobs. */
VMH_API vmh_job *vmh_vm_stop(vmh_vm *vm, uint64_t flags, vmh_error **error);
/* Removes the VM from the host; its disks stay. A running one is refused but with VMH_DELETE_FORCE. */
#define VMH_DELETE_FORCE UINT64_C(1)
VMH_API vmh_job *vmh_vm_delete(vmh_vm *vm, uint64_t flags, vmh_error **error);

#define VMH_UPDATE_LIVE UINT64_C(1)    /* what runs now */
#define VMH_UPDATE_PERSIST UINT64_C(2) /* what the next start will use */
#define VMH_UPDATE_DRY_RUN UINT64_C(4) /* only the verdicts */

/*
 * Changes the properties that the spec sets and leaves all others. Neither LIVE nor PERSIST means: whatever
 * the VM has of the two. A device named anew is attached; one whose property present is set to no is removed. What is
 * given by vmh_spec_set_fd() ends with the program, and is of what runs: it is refused but with LIVE alone, or where
 * the VM is transient.
 * generation is what describe gave; when the VM was changed by anybody since: VMH_ERR_CONFLICT; 0 asks for no check.
 * The job's verdicts tell of each property: applied, after the restart, unchanged, or refused and why. When one is
 * refused, the job fails with that error and nothing was changed. Since 0.1.
 */
VMH_API vmh_job *vmh_vm_update(vmh_vm *vm, const vmh_spec *spec, uint64_t flags, uint64_t generation,
                               vmh_error **error);

/*
 * Moves a running VM to another host, live; the job's result is the VM there. options is a spec of kind
 * "migrate", or NULL. At a failure, a cancel or the death of the destination the VM goes on running here.
 * Its progress tells phase, bytes, rate, and for how long nothing moved. VMH_ERR_ARGUMENT: the same host,
 * or one of another driver; VMH_ERR_UNSUPPORTED: the destination cannot run it, and why. flags: 0. Since 0.1.
 */
VMH_API vmh_job *vmh_vm_migrate(vmh_vm *vm, vmh_host *destination, const vmh_spec *options, uint64_t flags,
                                vmh_error **error);

#define VMH_CONSOLE_FORCE UINT64_C(1) /* take it from whoever holds it */

/*
 * A console as a descriptor to read from and write to (a socket, close-on-exec, blocking; the caller's
 * to close), or negative. name is the <id> of console.<id>, or NULL for the first, which is a serial one where there
 * is any. End of file: the guest stopped (its state may follow a moment later), moved (open that of the VM there),
 * the connection broke, or the last handle of the host was dropped. Of what the guest writes and the program does not
 * read, 1 MiB waits and the rest is lost; so may be what it writes while nobody has the console open. VMH_ERR_BUSY:
 * another program has it open;
 * VMH_ERR_NOT_FOUND; VMH_ERR_STATE: not running. Since 0.1.
 */
VMH_API int32_t vmh_vm_console(vmh_vm *vm, const char *name, uint64_t flags, vmh_error **error);

/*
 * The guest's sockets (vsock), where the VM has vsock.cid. Each of these gives a descriptor (a socket, close-on-exec,
 * blocking; the caller's to close), or is negative. Ports are from 0 to 4294967294.
 *
 * connect: a stream to whoever listens at this port in the guest. shutdown() ends either half of it. End of file: the
 * other side has ended its half, the guest starts anew, or the VM has stopped. VMH_ERR_UNREACHABLE: nobody listens
 * there, or the guest has no driver yet; VMH_ERR_TIMEOUT: it does not answer; VMH_ERR_NOT_FOUND: the VM has no
 * vsock.cid; VMH_ERR_STATE: not running; VMH_ERR_UNSUPPORTED. flags: 0. Since 0.1.
 */
VMH_API int32_t vmh_vm_connect(vmh_vm *vm, uint32_t port, uint64_t flags, vmh_error **error);

/*
 * Listens at this port of the host, whose address is 2, for this VM alone, until the descriptor is closed or the VM
 * stops. It is for vmh_vm_accept(), and for polling: readable when there is a connection, or the end. Errors as
 * above; VMH_ERR_BUSY: another program listens there. flags: 0. Since 0.1.
 */
VMH_API int32_t vmh_vm_listen(vmh_vm *vm, uint32_t port, uint64_t flags, vmh_error **error);

/*
 * The next connection at what vmh_vm_listen() gave: a stream as above, and in *from, which may be NULL, the guest's
 * port. timeout_ms: negative waits for ever, 0 only looks. From any thread; of several, one gets it. VMH_ERR_TIMEOUT:
 * there was none; VMH_ERR_STATE: the VM has stopped; VMH_ERR_ARGUMENT: the descriptor is another. flags: 0. Since
 * 0.1.
 */
VMH_API int32_t vmh_vm_accept(vmh_vm *vm, int32_t listener, int64_t timeout_ms, uint32_t *from, uint64_t flags,
                              vmh_error **error);

VMH_END_DECLS
#endif
