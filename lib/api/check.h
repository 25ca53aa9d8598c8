/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The checks that every public call begins with. */
#pragma once

#include "model/error.h"

/* FALSE when the call must do nothing: an error is set already, or a needed pointer (named `what`) is NULL. */
static inline gboolean vmhi_check(const void *pointer, const char *what, vmh_error **error)
{
    if (vmhi_failed(error))
        return FALSE;
    if (!pointer)
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "%s is NULL", what);
    return pointer != NULL;
}

/* FALSE, with an error that shows the bits, when `flags` has one that `allowed` has not. */
static inline gboolean vmhi_check_flags(uint64_t flags, uint64_t allowed, vmh_error **error)
{
    if (vmhi_failed(error))
        return FALSE;
    if (flags & ~allowed)
        vmhi_error_set(error, VMH_ERR_ARGUMENT,
                       "unknown flags 0x%" G_GINT64_MODIFIER "x; allowed here: 0x%" G_GINT64_MODIFIER "x",
                       flags & ~allowed, allowed);
    return !(flags & ~allowed);
}

/* What a call that failed returns: the code of *error, or `code` where the caller gave no place for it. */
static inline int32_t vmhi_code(vmh_error **error, int32_t code)
{
    return error && *error ? vmh_error_code(*error) : code;
}
