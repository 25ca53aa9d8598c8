/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text values: what each text type and each text property may hold, brought to the one form in which it is kept. */
#pragma once

#include "model/schema.h"

/* The value as it is kept, or NULL with VMH_ERR_VALUE about `path`. The property is of a text type. */
char *vmhi_text_parse(const vmh_property *property, const char *path, const char *text, vmh_error **error);

/* The most bytes that a STRING or PATH may have. */
size_t vmhi_text_limit(const vmh_property *property);

/* What the property asks of its text beyond its type, in words, or NULL. */
const char *vmhi_text_expectation(const vmh_property *property);

/* The error of all values that are not what the property takes: "memory.size takes a size such as 2GiB, not …". */
void vmhi_refuse_value(const vmh_property *property, const char *path, const char *text, vmh_error **error);
