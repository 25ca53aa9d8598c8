/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A spec describes a VM, a host or a call's options as a sparse tree of typed, checked properties. */
#ifndef VMHOST_SPEC_H
#define VMHOST_SPEC_H

#include <vmhost/base.h>

VMH_BEGIN_DECLS

/*
 * Paths are dotted names: "cpu.count", "disk.root.path". Where the schema writes <id>, the caller gives
 * a name of its own: 1 to 32 of A-Z a-z 0-9 _ and -; where it writes <n>, a decimal number.
 * The paths of each kind are listed by the schema calls below and as constants in properties.h.
 */

/* An empty spec. Kinds: "vm", "host", "open", "migrate". NULL with VMH_ERR_UNKNOWN_NAME. Since 0.1. */
VMH_API vmh_spec *vmh_spec_new(const char *kind, vmh_error **error);
VMH_API vmh_spec *vmh_spec_ref(vmh_spec *spec);
VMH_API void      vmh_spec_unref(vmh_spec *spec);

/* An independent copy. Since 0.1. */
VMH_API vmh_spec *vmh_spec_dup(const vmh_spec *spec);

/* The kind it was made with. Borrowed. Since 0.1. */
VMH_API const char *vmh_spec_kind(const vmh_spec *spec);

/*
 * Set one property. 0, or VMH_ERR_UNKNOWN_NAME, VMH_ERR_VALUE (type, range, unit, read-only, not UTF-8);
 * after a failure the spec is as it was. vmh_spec_set() reads text as a person writes it: "2GiB", "yes",
 * "0-3", "30s"; the others take the value in the property's base unit (bytes, bytes a second,
 * milliseconds). Since 0.1.
 *
 * In an update, "" takes an optional text, path or set away, as if it had never been set ("nic.lan.filter"); what a
 * VM cannot be without refuses it. To unset a property is to leave it as the VM has it.
 */
VMH_API int32_t vmh_spec_set(vmh_spec *spec, const char *path, const char *text, vmh_error **error);
VMH_API int32_t vmh_spec_set_str(vmh_spec *spec, const char *path, const char *value, vmh_error **error);
VMH_API int32_t vmh_spec_set_u64(vmh_spec *spec, const char *path, uint64_t value, vmh_error **error);
VMH_API int32_t vmh_spec_set_f64(vmh_spec *spec, const char *path, double value, vmh_error **error);
VMH_API int32_t vmh_spec_set_bool(vmh_spec *spec, const char *path, int32_t value, vmh_error **error);

/*
 * Gives an open descriptor of this program, such as a tap device's: "nic.lan.fd". The spec has a duplicate of it
 * (close-on-exec); the caller's own stays the caller's, and may be closed at once. Copies of the spec, and the jobs
 * that it was given to, share the duplicate: it is closed when the last of them is dropped, or has the property set
 * anew or unset. Whether it is a descriptor of the right thing, creating and updating tell.
 *
 * No text and no JSON gives a descriptor away. What is read of the property is "given", which is taken as text too,
 * so that a description comes back whole, but stands for no descriptor. VMH_ERR_VALUE: it is not open;
 * VMH_ERR_RESOURCE: the program can have no more. Since 0.1.
 */
VMH_API int32_t vmh_spec_set_fd(vmh_spec *spec, const char *path, int32_t fd, vmh_error **error);

/*
 * Read one property into *value. 0, or VMH_ERR_NOT_SET, VMH_ERR_UNKNOWN_NAME, VMH_ERR_VALUE (the property
 * is of another type). vmh_spec_get_str() lends the string until the property is set or unset or the spec
 * dropped, and reads text properties only; vmh_spec_get_text_dup() writes any type as vmh_spec_set() reads it.
 * Since 0.1.
 */
VMH_API int32_t vmh_spec_get_str(const vmh_spec *spec, const char *path, const char **value, vmh_error **error);
VMH_API int32_t vmh_spec_get_u64(const vmh_spec *spec, const char *path, uint64_t *value, vmh_error **error);
VMH_API int32_t vmh_spec_get_f64(const vmh_spec *spec, const char *path, double *value, vmh_error **error);
VMH_API int32_t vmh_spec_get_bool(const vmh_spec *spec, const char *path, int32_t *value, vmh_error **error);
VMH_API char   *vmh_spec_get_text_dup(const vmh_spec *spec, const char *path, vmh_error **error);

/* Removes a property; removing one that is not set is no error. Since 0.1. */
VMH_API int32_t vmh_spec_unset(vmh_spec *spec, const char *path, vmh_error **error);

/* 1 when the property is set; 0 when not, or when there is no such property. Since 0.1. */
VMH_API int32_t vmh_spec_has(const vmh_spec *spec, const char *path);

/*
 * The paths that are set, sorted, as a NULL-terminated array of their number returned. The array and its
 * strings are one block, the caller's, for vmh_free(). paths may be NULL to count only. Since 0.1.
 */
VMH_API size_t vmh_spec_paths(const vmh_spec *spec, char ***paths);

/* Indents and breaks lines for people. Since 0.1. */
#define VMH_JSON_PRETTY UINT64_C(1)

/*
 * JSON: objects nested by the dots of the paths, numbers in base units (above 2^53 as text, so that no reader
 * rounds them). Reading takes every value also as the text that vmh_spec_set() reads ("2GiB"), and refuses, with
 * VMH_ERR_VALUE or VMH_ERR_UNKNOWN_NAME and the path: what is not JSON, a key given twice, an unknown
 * property, over 16 levels or 4 MiB. length counts bytes. What is only reported is read too, so that a description
 * comes back whole; creating and updating pass over it. Secrets are not written. Since 0.1.
 */
VMH_API char     *vmh_spec_to_json(const vmh_spec *spec, uint64_t flags, vmh_error **error);
VMH_API vmh_spec *vmh_spec_from_json(const char *kind, const char *text, size_t length, vmh_error **error);

/*
 * The types of properties. A unit follows its number without a blank and is spelt exactly: B, kB, MB, GB, TB are
 * powers of 1000, KiB, MiB, GiB, TiB of 1024; rates are these with /s, and bit/s, kbit/s, Mbit/s, Gbit/s. "2G" could
 * mean two things and is refused. A number without a unit is in base units; decimals must give a whole number of
 * them. Since 0.1.
 */
enum {
    VMH_TYPE_STRING = 1,
    VMH_TYPE_BOOL = 2,     /* "yes" or "no"; also true, false, on, off, 1, 0 */
    VMH_TYPE_U64 = 3,      /* a count */
    VMH_TYPE_F64 = 4,      /* a decimal number */
    VMH_TYPE_SIZE = 5,     /* bytes: "1048576", "2GiB", "1.5GiB", "2GB"; kept as a number of bytes */
    VMH_TYPE_RATE = 6,     /* bytes a second: "10MiB/s", "1Gbit/s" */
    VMH_TYPE_DURATION = 7, /* milliseconds: "250ms", "30s", "5min", "1h" */
    VMH_TYPE_ENUM = 8,     /* one of the listed words */
    VMH_TYPE_SET = 9,      /* numbers and ranges: "0-3,8" */
    VMH_TYPE_UUID = 10,
    VMH_TYPE_MAC = 11,
    VMH_TYPE_PATH = 12,      /* an absolute path */
    VMH_TYPE_DESCRIPTOR = 13 /* an open descriptor, by vmh_spec_set_fd() alone; read as "given" */
};

/*
 * The schema itself: all that the library knows of each property, from the one place where it is
 * written down. The objects are constant and live for ever.
 */
VMH_API size_t              vmh_schema_count(const char *kind);
VMH_API const vmh_property *vmh_schema_at(const char *kind, size_t index);
/* The property a concrete path or a pattern means; NULL with VMH_ERR_UNKNOWN_NAME and the nearest name. */
VMH_API const vmh_property *vmh_schema_find(const char *kind, const char *path, vmh_error **error);

VMH_API const char *vmh_property_pattern(const vmh_property *property); /* "disk.<id>.path" */
VMH_API int32_t     vmh_property_type(const vmh_property *property);    /* VMH_TYPE_… */
VMH_API const char *vmh_property_unit(const vmh_property *property);    /* "bytes", or NULL */
VMH_API const char *vmh_property_values(const vmh_property *property);  /* "auto|kvm|tcg", or NULL */
VMH_API double      vmh_property_minimum(const vmh_property *property); /* of numbers, inclusive */
VMH_API double      vmh_property_maximum(const vmh_property *property); /* or 0: none; of text, its bytes */
VMH_API const char *vmh_property_default(const vmh_property *property); /* as text, or NULL: none */
VMH_API int32_t     vmh_property_live(const vmh_property *property);    /* 1: may change while the VM runs */
VMH_API int32_t     vmh_property_readonly(const vmh_property *property);
VMH_API const char *vmh_property_since(const vmh_property *property); /* "0.1" */
VMH_API const char *vmh_property_doc(const vmh_property *property);   /* one line */

VMH_END_DECLS
#endif
