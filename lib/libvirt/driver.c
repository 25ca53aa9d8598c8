/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The libvirt driver's table: which function does which call of the contract, counted by the host's pulse. */
#include "libvirt/pulse.h"

static const char *const schemes[] = {
    "qemu:///system",
    "qemu:///session",
    "qemu+tls://HOST/system",
    "qemu+ssh://USER@HOST/system",
    "xen:///system",
    "esx://HOST",
    "vpx://HOST",
    "test:///default",
    NULL,
};

/* The call of the contract that vmhi_libvirt_NAME() does, counted while it is under way. */
#define COUNTED(type, name, parameters, arguments)                                                                   \
    static type name parameters                                                                                      \
    {                                                                                                                \
        g_autoptr(vmhi_pulse) pulse G_GNUC_UNUSED = vmhi_pulse_begin(host);                                          \
        return vmhi_libvirt_##name  arguments;                                                                       \
    }

COUNTED(gboolean, list, (vmhi_driver_host * host, vmhi_visit visit, void *data, vmh_error **error),
        (host, visit, data, error))
COUNTED(gboolean, look, (vmhi_driver_host * host, const char *uuid, vmhi_visit visit, void *data, vmh_error **error),
        (host, uuid, visit, data, error))
COUNTED(vmh_spec *, describe, (vmhi_driver_host * host, vmh_error **error), (host, error))
COUNTED(char *, create,
        (vmhi_driver_host * host, const vmh_spec *spec, uint64_t flags, vmhi_task *task, vmh_error **error),
        (host, spec, flags, task, error))
COUNTED(vmh_spec *, describe_vm, (vmhi_driver_host * host, const char *uuid, uint64_t flags, vmh_error **error),
        (host, uuid, flags, error))
COUNTED(gboolean, act,
        (vmhi_driver_host * host, const char *uuid, vmhi_verb verb, uint64_t flags, vmhi_task *task, vmhi_visit visit,
         void *data, vmh_error **error),
        (host, uuid, verb, flags, task, visit, data, error))
COUNTED(gboolean, update,
        (vmhi_driver_host * host, const char *uuid, const vmh_spec *spec, uint64_t flags, uint64_t generation,
         vmhi_verdicts *verdicts, vmhi_task *task, vmh_error **error),
        (host, uuid, spec, flags, generation, verdicts, task, error))
COUNTED(int, console,
        (vmhi_driver_host * host, const char *uuid, const char *name, uint64_t flags, vmh_error **error),
        (host, uuid, name, flags, error))
COUNTED(int, connect, (vmhi_driver_host * host, const char *uuid, uint32_t port, uint64_t flags, vmh_error **error),
        (host, uuid, port, flags, error))
COUNTED(char *, migrate,
        (vmhi_driver_host * host, const char *uuid, vmhi_driver_host *destination, const vmh_spec *options,
         uint64_t flags, vmhi_task *task, vmh_error **error),
        (host, uuid, destination, options, flags, task, error))
COUNTED(gboolean, sample, (vmhi_driver_host * host, vmh_frame *frame, vmh_error **error), (host, frame, error))

const vmhi_driver vmhi_libvirt_driver = {
    .name = VMHI_LIBVIRT,
    .schemes = schemes,
    .claims = vmhi_libvirt_claims,
    .best_local = vmhi_libvirt_best_local,
    .in_process = vmhi_libvirt_in_process,
    .open = vmhi_libvirt_open,
    .quiet = vmhi_libvirt_quiet,
    .close = vmhi_libvirt_close,
    .reopen = vmhi_libvirt_reopen,
    .list = list,
    .look = look,
    .describe = describe,
    .supports = vmhi_libvirt_supports,
    .create = create,
    .describe_vm = describe_vm,
    .act = act,
    .update = update,
    .console = console,
    .connect = connect,
    .migrate = migrate,
    .sample = sample,
};
