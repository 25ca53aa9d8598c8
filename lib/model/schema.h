/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The schema: what properties there are, from properties.def, and whether a text is a value of one. */
#pragma once

#include "model/error.h"
#include <vmhost/spec.h>

enum { VMHI_LIVE = 1, VMHI_READONLY = 2, VMHI_SECRET = 4 };

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

/* One value, in the property's base unit. Text types hold `text`, the others `u64`, `f64` or `flag`. */
typedef struct {
    int32_t type;
    union {
        char    *text;
        uint64_t u64;
        double   f64;
        gboolean flag;
    };
} vmhi_value;

void     vmhi_value_clear(vmhi_value *value);
gboolean vmhi_type_is_text(int32_t type);

/* NULL when the kind is none. */
const char *vmhi_schema_kind(const char *kind);

/* The property a path means (patterns match themselves too), or NULL; no error, no hint. */
const vmh_property *vmhi_schema_lookup(const char *kind, const char *path);

/* As above, with VMH_ERR_UNKNOWN_NAME and the nearest name. */
const vmh_property *vmhi_schema_require(const char *kind, const char *path, vmh_error **error);

/* Reads text as a person writes it; FALSE with VMH_ERR_VALUE about `path` that says what is allowed. */
gboolean vmhi_schema_parse(const vmh_property *property, const char *path, const char *text, vmhi_value *value,
                           vmh_error **error);

/* Is a typed value in range? FALSE with VMH_ERR_VALUE about `path`. */
gboolean vmhi_schema_check(const vmh_property *property, const char *path, const vmhi_value *value,
                           vmh_error **error);

/* As vmhi_schema_parse() reads it back, the shortest exact way: "2GiB", "yes", "1500ms". */
char *vmhi_schema_format(const vmhi_value *value);

/* The name of a list nearest to a misspelt one, or NULL when none is near. Borrowed from the list. */
const char *vmhi_nearest(const char *name, const char *const *names);
