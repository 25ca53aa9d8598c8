/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Specs inside the library: read without errors, and written by drivers without the caller's limits. */
#pragma once

#include "model/schema.h"

/* The lock is for the public calls: a spec that is a driver's, or not yet the caller's, needs none. */
struct vmh_spec {
    gint        references;
    GMutex      lock;
    const char *kind;
    GTree      *values; /* path -> vmhi_value, sorted */
};

/* What the public calls do under the lock; these have checked their arguments for NULL. */
vmh_spec           *vmhi_spec_new(const char *kind, vmh_error **error);
vmh_spec           *vmhi_spec_copy(const vmh_spec *spec);
void                vmhi_spec_free(vmh_spec *spec);
gboolean            vmhi_spec_check_writable(const vmh_spec *spec, const char *path, vmh_error **error);
gboolean            vmhi_spec_set(vmh_spec *spec, const char *path, const char *text, vmh_error **error);
gboolean            vmhi_spec_unset(vmh_spec *spec, const char *path, vmh_error **error);
const vmh_property *vmhi_spec_property(const vmh_spec *spec, const char *path, vmh_error **error);
const vmhi_value   *vmhi_spec_get(const vmh_spec *spec, const char *path, vmh_error **error);
char               *vmhi_spec_to_json(const vmh_spec *spec, gboolean pretty);
vmh_spec           *vmhi_spec_from_json(const char *kind, const char *text, size_t length, vmh_error **error);

/* Keeps a duplicate. */
gboolean vmhi_spec_set_descriptor(vmh_spec *spec, const char *path, int descriptor, vmh_error **error);

/* The type here says how the caller holds the value: as STRING, U64, F64, BOOL or DESCRIPTOR; it is copied. */
gboolean          vmhi_spec_set_value(vmh_spec *spec, const char *path, const vmhi_value *value, vmh_error **error);
const vmhi_value *vmhi_spec_get_typed(const vmh_spec *spec, const char *path, int32_t type, vmh_error **error);

/* What a driver reads from the copy it was given. FALSE or NULL: not set; the value is then as it was. */
const char *vmhi_spec_str(const vmh_spec *spec, const char *path); /* text types; borrowed */
gboolean    vmhi_spec_u64(const vmh_spec *spec, const char *path, uint64_t *value);
gboolean    vmhi_spec_f64(const vmh_spec *spec, const char *path, double *value);
gboolean    vmhi_spec_bool(const vmh_spec *spec, const char *path, gboolean *value);
int         vmhi_spec_descriptor(const vmh_spec *spec, const char *path); /* borrowed; -1: none, or only known of */

/* As above, or the schema's default; the property must have one. spec may be NULL: all defaults. */
uint64_t    vmhi_spec_u64_or_default(const vmh_spec *spec, const char *kind, const char *path);
gboolean    vmhi_spec_bool_or_default(const vmh_spec *spec, const char *kind, const char *path);
const char *vmhi_spec_str_or_default(const vmh_spec *spec, const char *kind, const char *path);

/* The names that the caller gave to the devices of a class ("disk"), sorted, each once. */
GStrv vmhi_spec_ids(const vmh_spec *spec, const char *class_name);

/* All paths set, sorted. */
GStrv vmhi_spec_list(const vmh_spec *spec);

/*
 * What a driver reports, read-only properties too. Text is read by the property's type. What the schema
 * does not know or cannot hold is left out: a host may say more than we model.
 */
void vmhi_spec_put(vmh_spec *spec, const char *path, const char *text);
void vmhi_spec_put_u64(vmh_spec *spec, const char *path, uint64_t value);
void vmhi_spec_put_f64(vmh_spec *spec, const char *path, double value);
void vmhi_spec_put_bool(vmh_spec *spec, const char *path, gboolean value);

/* "disk.root.path" from "disk", "root", "path". */
char *vmhi_path(const char *class_name, const char *id, const char *leaf);

/* TRUE when both have the property with the same value, or neither has it. */
gboolean vmhi_spec_same(const vmh_spec *a, const vmh_spec *b, const char *path);

/* Removes what may not be written (read-only properties), so that a description can create or update. */
void vmhi_spec_strip_readonly(vmh_spec *spec);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_spec, vmh_spec_unref)
