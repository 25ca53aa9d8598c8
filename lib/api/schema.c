/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The schema for callers: what properties and verbs there are, and all that is known of each. */
#include "api/check.h"
#include "model/text.h"
#include "model/verbs.h"

#include <vmhost/host.h>

size_t vmh_schema_count(const char *kind)
{
    size_t count = 0;

    if (kind)
        vmhi_schema_list(kind, &count);
    return count;
}

const vmh_property *vmh_schema_at(const char *kind, size_t index)
{
    size_t              count = 0;
    const vmh_property *first = kind ? vmhi_schema_list(kind, &count) : NULL;

    return index < count ? &first[index] : NULL;
}

const vmh_property *vmh_schema_find(const char *kind, const char *path, vmh_error **error)
{
    if (!vmhi_check(kind, "kind", error) || !vmhi_check(path, "path", error))
        return NULL;
    return vmhi_schema_require(kind, path, error);
}

const char *vmh_property_pattern(const vmh_property *property)
{
    return property ? property->pattern : NULL;
}

int32_t vmh_property_type(const vmh_property *property)
{
    return property ? property->type : 0;
}

const char *vmh_property_unit(const vmh_property *property)
{
    return property ? property->unit : NULL;
}

const char *vmh_property_values(const vmh_property *property)
{
    return property ? property->values : NULL;
}

double vmh_property_minimum(const vmh_property *property)
{
    return property ? property->minimum : 0;
}

double vmh_property_maximum(const vmh_property *property)
{
    if (!property)
        return 0;
    if (property->type == VMH_TYPE_STRING || property->type == VMH_TYPE_PATH)
        return (double)vmhi_text_limit(property);
    return property->maximum;
}

const char *vmh_property_default(const vmh_property *property)
{
    return property ? property->fallback : NULL;
}

int32_t vmh_property_live(const vmh_property *property)
{
    return property && (property->flags & VMHI_LIVE);
}

int32_t vmh_property_readonly(const vmh_property *property)
{
    return property && (property->flags & VMHI_READONLY);
}

const char *vmh_property_since(const vmh_property *property)
{
    return property ? property->since : NULL;
}

const char *vmh_property_doc(const vmh_property *property)
{
    return property ? property->doc : NULL;
}

size_t vmh_verb_count(void)
{
    return vmhi_verb_count;
}

const char *vmh_verb_name(size_t index)
{
    return index < vmhi_verb_count ? vmhi_verb_names[index] : NULL;
}

const char *vmh_verb_doc(size_t index)
{
    const char *name = vmh_verb_name(index);

    return name ? vmhi_verb_doc(name) : NULL;
}
