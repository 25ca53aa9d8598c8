/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors are values: what failed, about which property, in whose words, and whether to try again. */
#ifndef VMHOST_ERROR_H
#define VMHOST_ERROR_H

#include <vmhost/base.h>

VMH_BEGIN_DECLS

/* Stable codes, always negative. New ones are appended, none is ever reused. Since 0.1. */
enum {
    VMH_ERR_INTERNAL = -1,     /* a fault of the library; please report it */
    VMH_ERR_ARGUMENT = -2,     /* a NULL, an unknown flag, a handle of the wrong host */
    VMH_ERR_UNKNOWN_NAME = -3, /* no such property, metric, kind or verb; the message names the nearest */
    VMH_ERR_VALUE = -4,        /* a property's value is malformed, out of range or in a wrong unit */
    VMH_ERR_NOT_SET = -5,      /* the property is not set in this spec */
    VMH_ERR_NOT_FOUND = -6,    /* no such VM, file, network, device */
    VMH_ERR_EXISTS = -7,       /* the name, UUID or device is taken */
    VMH_ERR_STATE = -8,        /* not possible in the VM's present state */
    VMH_ERR_CONFLICT = -9,     /* somebody changed it since: describe again */
    VMH_ERR_UNSUPPORTED = -10, /* this host cannot do it; the message says why */
    VMH_ERR_PERMISSION = -11,  /* refused by the system or the hypervisor */
    VMH_ERR_UNREACHABLE = -12, /* the host does not answer or refuses the connection */
    VMH_ERR_LOST = -13,        /* the connection broke; it is being re-made */
    VMH_ERR_TIMEOUT = -14,     /* no reply within the deadline; the outcome is not known */
    VMH_ERR_CANCELLED = -15,   /* vmh_job_cancel() took effect */
    VMH_ERR_BUSY = -16,        /* another operation holds the VM or the device */
    VMH_ERR_RESOURCE = -17,    /* not enough memory, disk, CPUs, addresses */
    VMH_ERR_HYPERVISOR = -18   /* the hypervisor failed; the message is its own */
};

/* The stable code, or 0 when given NULL. Since 0.1. */
VMH_API int32_t vmh_error_code(const vmh_error *error);

/* One line: what happened and what to do. Never NULL ("no error" when given NULL). Since 0.1. */
VMH_API const char *vmh_error_message(const vmh_error *error);

/* The path of the property it is about, such as "disk.root.path", or NULL. Since 0.1. */
VMH_API const char *vmh_error_property(const vmh_error *error);

/* The driver that failed, such as "libvirt", or NULL when no driver was involved. Since 0.1. */
VMH_API const char *vmh_error_driver(const vmh_error *error);

/* The driver's own code (errno, or libvirt's virErrorNumber), or 0. Since 0.1. */
VMH_API int32_t vmh_error_native(const vmh_error *error);

/* 1 when the same call may succeed later without any change by the caller, else 0. Since 0.1. */
VMH_API int32_t vmh_error_retryable(const vmh_error *error);

/* The name of a code, such as "VMH_ERR_STATE", or NULL for a number that is no code. Since 0.1. */
VMH_API const char *vmh_error_name(int32_t code);

/* Frees an error and nothing else; the caller's variable is not reset. Since 0.1. */
VMH_API void vmh_error_free(vmh_error *error);

VMH_END_DECLS
#endif
