/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every other header needs: the handles' names, linkage, memory and the version. */
#ifndef VMHOST_BASE_H
#define VMHOST_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define VMH_BEGIN_DECLS extern "C" {
#define VMH_END_DECLS }
#else
#define VMH_BEGIN_DECLS
#define VMH_END_DECLS
#endif

#if defined(__GNUC__)
#define VMH_API __attribute__((visibility("default")))
#else
#define VMH_API
#endif

VMH_BEGIN_DECLS

/*
 * Handles are opaque and atomically counted. What returns a handle gives the caller a reference of
 * its own, to be dropped with the type's _unref (or _free where there is no _ref); both take NULL.
 * Every handle may be used from every thread at the same time.
 *
 * Strings are UTF-8. Inputs are copied. A returned `const char *` is borrowed and lives as long as the
 * object it came from. A returned `char *` is the caller's, to be given to vmh_free().
 *
 * A call that takes a `vmh_error **` as its last argument takes NULL there too. When it is given one
 * that is already set, it does nothing, fails, and keeps the first error: a run of calls needs one check. A call
 * that takes none is as patient with a NULL for its handle: it returns NULL or 0.
 */
typedef struct vmh_error    vmh_error;
typedef struct vmh_property vmh_property;
typedef struct vmh_metric   vmh_metric;
typedef struct vmh_spec     vmh_spec;
typedef struct vmh_host     vmh_host;
typedef struct vmh_vm       vmh_vm;
typedef struct vmh_job      vmh_job;
typedef struct vmh_queue    vmh_queue;
typedef struct vmh_event    vmh_event;
typedef struct vmh_frame    vmh_frame;

/* Frees what was returned as `char *` or as an array. NULL is fine. Since 0.1. */
VMH_API void vmh_free(void *memory);

/* The version of the library that runs, such as "0.1.0". Borrowed, for ever valid. Since 0.1. */
VMH_API const char *vmh_version(void);

VMH_END_DECLS
#endif
