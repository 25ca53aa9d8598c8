/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs by their names, as jobs and vmh_host_supports() know them. */
#pragma once

#include "model/error.h"

/* All names, NULL-terminated, and their number. */
extern const char *const vmhi_verb_names[];
extern const size_t      vmhi_verb_count;

/* The name as the library's own constant string, or NULL when it is no verb. */
const char *vmhi_verb_lookup(const char *name);

/* As above, with VMH_ERR_UNKNOWN_NAME and the nearest name. */
const char *vmhi_verb_require(const char *name, vmh_error **error);

/* One line on what it does; NULL for what is no verb. */
const char *vmhi_verb_doc(const char *name);
