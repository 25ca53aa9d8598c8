/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The schema: what properties there are, from properties.def, and whether a text is a value of one. */
#pragma once

#include "model/error.h"
#include <vmhost/spec.h>

enum { VMHI_LIVE = 1, VMHI_READONLY = 2, VMHI_SECRET = 4, VMHI_EMPTY = 8, VMHI_HEX = 16 };

struct vmh_property {
    const char *kind;
    const char *pattern;
    int32_t     type;
    const char *unit;
    double      minimum;
    double      maximum;
    const char *values;
    const char *fallback; /* the default, as text */
    unsigned    flags;
    const char *since;
    const char *doc;
};

/*
 * One value, in the property's base unit. Text types hold `text`, the others `u64`, `f64`, `flag` or `descriptor`: an
 * atomic box that copies share and the last one closes, or NULL where all that is known is that there was one.
 */
typedef struct {
    int32_t type;
    union {
        char    *text;
        uint64_t u64;
        double   f64;
        gboolean flag;
        int     *descriptor;
    };
} vmhi_value;

void     vmhi_value_clear(vmhi_value *value);
void     vmhi_value_copy(const vmhi_value *value, vmhi_value *copy);
gboolean vmhi_value_equal(const vmhi_value *a, const vmhi_value *b);
/* A value that holds a duplicate. 0, or errno: there is no value then. */
int      vmhi_value_duplicate(int descriptor, vmhi_value *value);
gboolean vmhi_type_is_text(int32_t type);
gboolean vmhi_type_is_whole(int32_t type); /* kept in u64: counts, sizes, rates, durations */

/* "a size such as 2GiB": what a property takes, for a message that says so. */
char *vmhi_schema_expectation(const vmh_property *property);

/* The kind's own, constant string, or NULL when it is none. */
const char *vmhi_schema_kind(const char *kind);

/* As above, with VMH_ERR_UNKNOWN_NAME and the kinds that there are. */
const char *vmhi_schema_require_kind(const char *kind, vmh_error **error);

/* All properties of a kind, as an array; NULL and 0 when the kind is none. */
const vmh_property *vmhi_schema_list(const char *kind, size_t *count);

/* The property a path means (patterns match themselves too), or NULL; no error, no hint. */
const vmh_property *vmhi_schema_lookup(const char *kind, const char *path);

/* As above, with VMH_ERR_UNKNOWN_NAME and the nearest name. */
const vmh_property *vmhi_schema_require(const char *kind, const char *path, vmh_error **error);

/* Are there properties below this path? "disk" and "disk.root" are groups. */
gboolean vmhi_schema_is_group(const char *kind, const char *path);

/* Reads text as a person writes it; FALSE with VMH_ERR_VALUE about `path` that says what is allowed. */
gboolean vmhi_schema_parse(const vmh_property *property, const char *path, const char *text, vmhi_value *value,
                           vmh_error **error);

/* Is a typed value in range? FALSE with VMH_ERR_VALUE about `path`. */
gboolean vmhi_schema_check(const vmh_property *property, const char *path, const vmhi_value *value,
                           vmh_error **error);

/* As vmhi_schema_parse() reads it back, in the unit that gives the smallest whole number: "2GiB", "yes", "1500ms". */
char *vmhi_schema_format(const vmhi_value *value);

/* The name of a list nearest to a misspelt one, or NULL when none is near. Borrowed from the list. */
const char *vmhi_nearest(const char *name, const char *const *names);
