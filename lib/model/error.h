/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making errors: the library's one way to say that something failed. */
#pragma once

#include <glib.h>
#include <vmhost/error.h>

struct vmh_error {
    int32_t  code;
    int32_t  native;
    gboolean retryable;
    char    *message;
    char    *property; /* NULL: about none */
    char    *driver;   /* NULL: no driver involved */
};

/*
 * Sets *error, when error is not NULL and not set yet. The text becomes one line of valid UTF-8 without
 * control characters, whoever wrote it. TIMEOUT, LOST, UNREACHABLE and BUSY are marked retryable.
 */
void vmhi_error_set(vmh_error **error, int32_t code, const char *format, ...) G_GNUC_PRINTF(3, 4);
void vmhi_error_set_property(vmh_error **error, int32_t code, const char *property, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

/* As above, for what a driver's own call said: native is its code. property may be NULL. */
void vmhi_error_set_native(vmh_error **error, int32_t code, const char *driver, int32_t native, const char *property,
                           const char *format, ...) G_GNUC_PRINTF(6, 7);

/* Puts what was being done before the message; the colon and the blank between them are added. */
void vmhi_error_prefix(vmh_error **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

vmh_error *vmhi_error_copy(const vmh_error *error);

/* Gives `source` to *error, or frees it where there is no place for it. */
void vmhi_error_move(vmh_error **error, vmh_error *source);

/* What a message quotes of a text that somebody gave: its first 64 bytes at most, and … when there is more. */
char *vmhi_excerpt(const char *text);

/* The rule of every public call: given an error already set, do nothing and fail. */
static inline gboolean vmhi_failed(vmh_error **error)
{
    return error && *error;
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_error, vmh_error_free)
