/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the kvm driver share: where VMs are kept, how a VMM is spoken to, and who does which call. */
#pragma once

#include "driver.h"
#include "vmm/wire.h"
#include <sys/un.h>
#include <time.h>

#define VMHI_KVM "kvm"

/* How long a request may take, and one that only looks. */
enum { VMHI_KVM_PATIENCE_S = 30, VMHI_KVM_LOOK_S = 2 };

typedef struct vmhi_kvm_watch vmhi_kvm_watch; /* watch.c: a thread that hears of every change */

typedef struct vmhi_kvm_starting vmhi_kvm_starting; /* start.c: a VM whose process begins */
typedef struct vmhi_kvm_cell     vmhi_kvm_cell;     /* cell.c: where its VMMs see nothing */

struct vmhi_driver_host {
    char            *uri;
    char            *directory; /* constant, as all up to here */
    char            *vmm;       /* the program vmhost-vmm */
    vmhi_kvm_cell   *cell;
    vmh_spec        *options;
    const vmhi_sink *sink;
    void            *sink_data;
    vmhi_kvm_watch  *watch;
};

/*
 * --- store.c: a directory of files, which several programs use at once ---
 *
 *   names/=NAME            a link to the VM's UUID; what is not linked is not there
 *   vms/UUID/spec.json     what the next start uses
 *   vms/UUID/running.json  what runs, or ran last
 *   vms/UUID/transient     is there when the VM vanishes with its end
 *   vms/UUID/words         begun at each start; the VMM's last state and reason
 *   vms/UUID/control       the VMM's socket; nobody listens there when the VM does not run
 *   vms/UUID/vsock         the socket by which programs reach the guest's; only where it has vsock.cid
 *   vms/UUID/groups        the control groups made for it, which go with its end
 *   lock                   held while VMs come and go, or one of them changes
 */
#define VMHI_KVM_SPEC "spec.json"
#define VMHI_KVM_RUNNING "running.json"
#define VMHI_KVM_TRANSIENT "transient"
#define VMHI_KVM_WORDS "words"
#define VMHI_KVM_CONTROL "control"
#define VMHI_KVM_VSOCK "vsock"
#define VMHI_KVM_GROUPS "groups"

gboolean vmhi_kvm_store_open(const char *directory, vmh_error **error);
/* Waits for other programs; the lock goes with the descriptor. -1: error is set. */
int vmhi_kvm_lock(const vmhi_driver_host *host, vmh_error **error);
/* Keeps other changes of one VM out while that lock is let go of; taken before it. */
int vmhi_kvm_lock_vm(const vmhi_driver_host *host, const char *uuid, vmh_error **error);
/* The path of a VM's file; NULL for its directory. */
char *vmhi_kvm_path(const vmhi_driver_host *host, const char *uuid, const char *file);
/* The name that an entry of names/ stands for, or NULL. */
char *vmhi_kvm_name_of_entry(const char *entry);
/* The UUID of a name, or NULL. */
char *vmhi_kvm_find_name(const vmhi_driver_host *host, const char *name);
/* The name by UUID of every VM, for g_hash_table_unref(). */
GHashTable *vmhi_kvm_names(const vmhi_driver_host *host, vmh_error **error);
char       *vmhi_kvm_name_of(const vmhi_driver_host *host, const char *uuid);
gboolean    vmhi_kvm_exists(const vmhi_driver_host *host, const char *uuid, const char *file);
vmh_spec   *vmhi_kvm_read(const vmhi_driver_host *host, const char *uuid, const char *file, vmh_error **error);
/* What runs, of a VM that does. */
vmh_spec *vmhi_kvm_read_running(const vmhi_driver_host *host, const char *uuid, vmh_error **error);
gboolean  vmhi_kvm_write(const vmhi_driver_host *host, const char *uuid, const char *file, const vmh_spec *spec,
                         vmh_error **error);
/* Lets others see the VM. */
gboolean vmhi_kvm_publish(const vmhi_driver_host *host, const char *uuid, const char *name, vmh_error **error);
/* Removes the VM and all its files. */
void vmhi_kvm_remove(const vmhi_driver_host *host, const char *uuid, const char *name);
/* Removes what programs left that were killed while they made or removed a VM. */
void vmhi_kvm_sweep(const vmhi_driver_host *host);
/* The error of all calls on a VM that is not there. */
void vmhi_kvm_not_found(vmh_error **error, const char *uuid);

/* --- words.c: what is known of a VM that does not run --- */
/* A VM's state, asked for or read; the texts are the caller's, or NULL. */
typedef struct {
    int32_t state; /* VMH_VM_… */
    char   *reason;
    char   *sandbox; /* of one that runs, as is the next */
    char   *devices; /* the names of those that it has, a line each */
} vmhi_kvm_condition;
void vmhi_kvm_condition_clear(vmhi_kvm_condition *condition);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(vmhi_kvm_condition, vmhi_kvm_condition_clear)
/* Both are of list.c. Whether it has a process, and that has not crashed. */
gboolean           vmhi_kvm_runs(const vmhi_kvm_condition *condition);
vmhi_kvm_condition vmhi_kvm_look_at(const vmhi_driver_host *host, const char *uuid);
void               vmhi_kvm_words_begin(int descriptor);
/* Whether there is one, however it does; FALSE is certain. */
gboolean vmhi_kvm_has_process(const vmhi_driver_host *host, const char *uuid);
/* Until one that ends has ended. FALSE: it is still there. */
gboolean vmhi_kvm_wait_for_process(const vmhi_driver_host *host, const char *uuid);
/* Of one whose process was there and left none. */
vmhi_kvm_condition vmhi_kvm_without_a_word(void);
/* VMH_VM_STOPPED or VMH_VM_CRASHED. */
vmhi_kvm_condition vmhi_kvm_words_read(const vmhi_driver_host *host, const char *uuid);
/* Of one whose process does not listen. */
vmhi_kvm_condition vmhi_kvm_words_of_process(const vmhi_driver_host *host, const char *uuid);

/* --- request.c: speaking to a VMM --- */
/*
 * The address of one of a VM's sockets by a descriptor of its directory, which the caller closes when it has used it:
 * a path may have only 107 bytes. -1 with errno.
 */
int vmhi_kvm_address(const vmhi_driver_host *host, const char *uuid, const char *file, struct sockaddr_un *address);
/* Keeps errno; a negative number is fine. */
void vmhi_kvm_close(int descriptor);
/* What is sent and received waits so long. */
void vmhi_kvm_be_patient(int connection, gint64 patience_us);
/* A connection, -1 with errno when nobody listens. What is sent and received on it waits so long. */
int vmhi_kvm_connect_to(const vmhi_driver_host *host, const char *uuid, const char *file, int type, int patience_s);
/* The one for requests, which wait so long for their replies. */
int vmhi_kvm_connect(const vmhi_driver_host *host, const char *uuid, int patience_s);
/* Sends the message, which becomes the reply. FALSE: the VMM refused, and why, or it is gone. */
gboolean vmhi_kvm_request(int connection, struct wire_message *message, vmh_error **error);
/* Gives a refusal that names no property this one's name. FALSE. */
gboolean vmhi_kvm_refused(vmh_error **error, vmh_error *refused, const char *property);
/* The two halves of it: several may be posted before their replies are collected, in the same order. */
gboolean vmhi_kvm_post(int connection, const struct wire_message *message, vmh_error **error);
gboolean vmhi_kvm_collect(int connection, struct wire_message *message, vmh_error **error);
/* One request of a VM by its own connection. VMH_ERR_STATE when it does not run. */
gboolean vmhi_kvm_ask(const vmhi_driver_host *host, const char *uuid, struct wire_message *message,
                      vmh_error **error);
/*
 * How long a verb may wait for a guest, or for a process that starts, in microseconds: less than its caller gives it,
 * so that its outcome is known.
 */
gint64 vmhi_kvm_patience(const vmhi_driver_host *host);
/* The error of a verb in the wrong state, which it names. */
void vmhi_kvm_wrong_state(const vmhi_driver_host *host, const char *uuid, vmh_error **error);
/* The state in our words. */
int32_t vmhi_kvm_state(uint64_t wire_state);

/* --- spawn.c --- */
/*
 * Starts the program with these descriptors from 3 on. It is nobody's child of this program, which is thus not told
 * of its end. A pidfd, for vmhi_kvm_reap(), or -1 with error.
 */
int vmhi_kvm_spawn(const char *program, char *const *arguments, const int *descriptors, int count, vmh_error **error);

/* --- reap.c --- */
/* Of a process that was started here: if it became a child of this program all the same, it will be no zombie. */
void vmhi_kvm_reap(const vmhi_driver_host *host, int process);

/* --- cell.c --- */
vmhi_kvm_cell *vmhi_kvm_cell_new(void);
void           vmhi_kvm_cell_free(vmhi_kvm_cell *cell);
/* The descriptors stay the cell's. FALSE: this user cannot have them, and each VMM makes its own where it can. */
gboolean vmhi_kvm_cell_get(const vmhi_driver_host *host, int *network, int *mounts);

/* --- devices.c --- */
gboolean vmhi_kvm_add_devices(const vmhi_driver_host *host, int connection, const vmh_spec *spec, vmh_error **error);
/* One of them, by its name, such as disk.root. */
gboolean vmhi_kvm_add_device(const vmhi_driver_host *host, int connection, const vmh_spec *spec, const char *name,
                             vmh_error **error);
/* Its machine is mmio, the one in which devices stay as they were at the start. */
gboolean vmhi_kvm_is_without_bus(const vmh_spec *spec);
/* What a new VM has without being asked for. */
void vmhi_kvm_complete(vmh_spec *spec);
/* Our code for an errno about a file that the user named. */
int32_t vmhi_kvm_file_error(int native);

/* --- given.c --- */
#define VMHI_KVM_NOT_HERE "this only says that a descriptor was given to what runs; give one by vmh_spec_set_fd()"
#define VMHI_KVM_NOT_KEPT                                                                                            \
    "a descriptor ends with the program, so no VM that is kept for another start has one; create the VM with "       \
    "VMH_CREATE_START and VMH_CREATE_TRANSIENT, update what runs with VMH_UPDATE_LIVE alone, or name a device of "   \
    "the host by nic.<id>.tap"
/* Whether the property is a descriptor. */
gboolean vmhi_kvm_is_given(const char *path);
/* Of any path: if there is a descriptor, it is of something that a NIC can be attached to. */
gboolean vmhi_kvm_check_given(const vmh_spec *spec, const char *path, vmh_error **error);
/* A duplicate for the VMM, and what it is: WIRE_NIC_...; -1 with error. */
int vmhi_kvm_open_given(const vmh_spec *spec, const char *path, uint64_t *kind, vmh_error **error);
/* Of a VM that is made: all descriptors are here, and there are none unless it vanishes with its end. */
gboolean vmhi_kvm_check_lasting(const vmh_spec *spec, gboolean vanishes, vmh_error **error);

/* --- console.c --- */
/* Each gets a type: the first that is free to be it is the serial one, if no other is. */
void     vmhi_kvm_complete_consoles(vmh_spec *spec);
gboolean vmhi_kvm_check_consoles(const vmh_spec *spec, vmh_error **error);
gboolean vmhi_kvm_add_consoles(vmhi_kvm_starting *starting, const vmh_spec *spec, vmh_error **error);
gboolean vmhi_kvm_add_images(vmhi_kvm_starting *starting, const vmh_spec *spec, vmh_error **error);
/* Of a VM that has ended: the sockets that its consoles had and that nobody listens at. */
void vmhi_kvm_remove_sockets(const vmhi_driver_host *host, const char *uuid);

/* --- start.c --- */
/*
 * Under the lock, in steps, as a process takes a while to be there. What begins is ended: a VM that is wanted
 * outlives this program then, and of another there is nothing left. It is nobody's if the program is killed before.
 */
vmhi_kvm_starting *vmhi_kvm_start_begin(const vmhi_driver_host *host, const char *uuid, vmh_error **error);
gboolean vmhi_kvm_start_boot(vmhi_kvm_starting *starting, const vmh_spec *spec, gboolean paused, vmh_error **error);
void     vmhi_kvm_start_end(vmhi_kvm_starting *starting, gboolean is_wanted);
/* Tells the VMM within the second step, at whose end an error comes out. */
gboolean vmhi_kvm_tell(vmhi_kvm_starting *starting, const struct wire_message *message, vmh_error **error);
/* A file that gets what the guest says, or -1 with errno. It is gone again if this made it and the start fails. */
int vmhi_kvm_open_output(vmhi_kvm_starting *starting, const char *path);
/* The start has made it; it is gone again if that fails. */
void vmhi_kvm_made(vmhi_kvm_starting *starting, const char *path);
/* All of them: the VM runs, or nothing has changed. */
gboolean vmhi_kvm_start(const vmhi_driver_host *host, const char *uuid, const vmh_spec *spec, gboolean paused,
                        vmh_error **error);
/* The request that tells the VMM what the spec says of crashes, shutdowns and restarts. */
void vmhi_kvm_put_balloon(struct wire_message *message, uint64_t memory);
void vmhi_kvm_put_policy(struct wire_message *message, const vmh_spec *spec);
/* Files that the spec names, and other things that a start would stumble over. */
gboolean vmhi_kvm_check_files(const vmh_spec *spec, vmh_error **error);

/* --- stop.c --- */
/* Ends it whatever it does; returns when it has ended. */
gboolean vmhi_kvm_stop(const vmhi_driver_host *host, const char *uuid, vmh_error **error);
/* After a VM's end: what its start made outside of its directory goes. */
void vmhi_kvm_clear_away(const vmhi_driver_host *host, const char *uuid);
/* The process of this pidfd, which is asked by the connection first if there is one. FALSE: nothing ends it. */
gboolean vmhi_kvm_end(int connection, int process);

/* --- group.c --- */
/* Whether a control group is what limits this. */
gboolean vmhi_kvm_group_limits(const char *property);
/* Why the host cannot, or NULL: it can. */
char *vmhi_kvm_group_why_not(const char *property);
/* Whether the spec has a limit. */
gboolean vmhi_kvm_group_is_wanted(const vmh_spec *spec);
/*
 * The spec's limits hold for the VM's process, which listens, and no others that held before; nothing is made where
 * there are none.
 */
gboolean vmhi_kvm_group_apply(const vmhi_driver_host *host, const char *uuid, const vmh_spec *spec,
                              vmh_error **error);
/* After the process's end. */
void vmhi_kvm_group_remove(const vmhi_driver_host *host, const char *uuid);

/* --- queues.c --- */
/* What a NIC is attached to: the names of the properties, one of which it has. Ends with NULL. */
extern const char *const vmhi_kvm_nic_sources[];

/* The path of the first that the spec gives this NIC, of them from this one on; NULL: none. */
char *vmhi_kvm_next_source(const vmh_spec *spec, const char *id, gsize *at);

uint64_t vmhi_kvm_queues(const vmh_spec *spec, const char *class_name, const char *id);
/* Of a path, which need not be one of queues: not too many. */
gboolean vmhi_kvm_check_queues(const vmh_spec *spec, const char *path, vmh_error **error);
/* Of a whole spec: what belongs together. */
gboolean vmhi_kvm_check_nics(const vmh_spec *spec, vmh_error **error);

/* --- limits.c --- */
/* Whether it limits the rate of a device. */
gboolean vmhi_kvm_is_limit(const char *path);
void vmhi_kvm_put_limits(struct wire_message *message, const vmh_spec *spec, const char *class_name, const char *id);

/* --- topology.c --- */
/* As much is asked for as there is when both are the same. */
#define VMHI_KVM_NO_MORE_CPUS                                                                                        \
    "the built-in engine cannot add CPUs while a VM runs yet, so it can be nothing else than cpu.count"
typedef struct {
    uint64_t count, cores, threads; /* all, of a socket, of a core */
} vmhi_kvm_cpus;
/* What the spec leaves open follows from the rest. FALSE: it contradicts itself, or asks for CPUs to be added. */
gboolean vmhi_kvm_topology(const vmh_spec *spec, vmhi_kvm_cpus *cpus, vmh_error **error);

/* --- pin.c --- */
/* The host's CPUs for the vCPU of this path, cpu.pin.<n>. */
void     vmhi_kvm_put_pin(struct wire_message *message, const vmh_spec *spec, const char *path);
gboolean vmhi_kvm_is_pin(const char *path);
/* Of a path, which need not be one of these: the host has all of its CPUs. */
gboolean vmhi_kvm_check_pin(const vmh_spec *spec, const char *path, vmh_error **error);

/* --- plug.c --- */
/* A guest may have let go of devices when nobody waited for it any more; these are what the VM has. */
void vmhi_kvm_drop_absent(vmh_spec *spec, const char *devices);

/* --- supports.c --- */
/* Whether boot.kernel is a flat binary. */
gboolean vmhi_kvm_is_flat(const vmh_spec *spec);
/* Properties that contradict each other. */
gboolean vmhi_kvm_check_whole(const vmh_spec *spec, vmh_error **error);
gboolean vmhi_kvm_may_change(const vmhi_driver_host *host, vmh_error **error);
gboolean vmhi_kvm_check_supported(const vmhi_driver_host *host, const vmh_spec *spec, vmh_error **error);

/* --- watch.c, and watch-vm.c for each VM --- */
vmhi_kvm_watch *vmhi_kvm_watch_new(vmhi_driver_host *host, vmh_error **error);
void            vmhi_kvm_watch_quiet(vmhi_kvm_watch *watch);
void            vmhi_kvm_watch_free(vmhi_kvm_watch *watch);
/* Returns when it is known what has become of this VM, by files and by its process, up to now. */
void vmhi_kvm_watch_settle(vmhi_kvm_watch *watch, const char *uuid);
/* A VM's counters; where it does not run, there are none and no process either. */
typedef struct {
    const char              *uuid, *name;
    const struct wire_stats *stats;
    int                      process;
    clockid_t                clock; /* the processor time of its process; CLOCK_REALTIME: not known */
} vmhi_kvm_counters;
/* Calls visit for each VM; what it gets is there for the call. */
typedef void (*vmhi_kvm_visit_counters)(void *data, const vmhi_kvm_counters *counters);
void vmhi_kvm_watch_counters(vmhi_kvm_watch *watch, vmhi_kvm_visit_counters visit, void *data);

/* --- describe.c --- */
uint64_t vmhi_kvm_generation(const vmhi_driver_host *host, const char *uuid);

/* --- node.c --- */
/* KVM itself; -1: error says whether the host has none, or this user may not use it. */
int vmhi_kvm_open_device(vmh_error **error);
/* What it offers of the host's CPUs, which this process asks once; nothing where that does not fit: the VMM asks. */
void vmhi_kvm_put_cpuid(struct wire_message *message);

/* --- the calls of the contract, by file --- */
gboolean  vmhi_kvm_list(vmhi_driver_host *host, vmhi_visit visit, void *data, vmh_error **error); /* list.c */
gboolean  vmhi_kvm_look(vmhi_driver_host *host, const char *uuid, vmhi_visit visit, void *data, vmh_error **error);
vmh_spec *vmhi_kvm_describe(vmhi_driver_host *host, vmh_error **error); /* node.c */
gboolean  vmhi_kvm_supports(vmhi_driver_host *host, const char *name, char **reason);
char     *vmhi_kvm_create(vmhi_driver_host *host, const vmh_spec *spec, uint64_t flags, vmhi_task *task,
                          vmh_error **error);
vmh_spec *vmhi_kvm_describe_vm(vmhi_driver_host *host, const char *uuid, uint64_t flags, vmh_error **error);
gboolean  vmhi_kvm_act(vmhi_driver_host *host, const char *uuid, vmhi_verb verb, uint64_t flags, vmhi_task *task,
                       vmhi_visit visit, void *data, vmh_error **error);
gboolean  vmhi_kvm_update(vmhi_driver_host *host, const char *uuid, const vmh_spec *spec, uint64_t flags,
                          uint64_t generation, vmhi_verdicts *verdicts, vmhi_task *task, vmh_error **error);
int vmhi_kvm_console(vmhi_driver_host *host, const char *uuid, const char *name, uint64_t flags, vmh_error **error);
int vmhi_kvm_connect_guest(vmhi_driver_host *host, const char *uuid, uint32_t port, uint64_t flags,
                           vmh_error **error);
int vmhi_kvm_listen(vmhi_driver_host *host, const char *uuid, uint32_t port, uint64_t flags, vmh_error **error);
int vmhi_kvm_accept(vmhi_driver_host *host, int listener, uint32_t *from, vmh_error **error);
gboolean vmhi_kvm_sample(vmhi_driver_host *host, vmh_frame *frame, vmh_error **error);
