/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which property of a spec is at fault when libvirt, or a hypervisor below it, fails: by what its message quotes. */
#include "libvirt/domain.h"

#include <string.h>

/* As a file name anywhere, as another word in quotes or at the end, which is where libvirt puts what it was given. */
static gboolean is_quoted(const char *value, gboolean is_file, const char *message)
{
    g_autofree char *quoted = g_strdup_printf("'%s'", value);
    g_autofree char *last = g_strconcat(" ", value, NULL);

    if (strlen(value) <= 1) /* "/" says nothing */
        return FALSE;
    if (is_file)
        return strstr(message, value) != NULL;
    return strstr(message, quoted) || g_str_has_suffix(message, last);
}

/* How much of a value the message quotes; of some values libvirt is given only a part. */
static gsize quoted_length(const vmh_property *property, const char *value, const char *message)
{
    const char *slash = strchr(value, '/');

    if (g_str_has_suffix(property->pattern, ".volume") && slash) {
        g_autofree char *pool = g_strndup(value, (gsize)(slash - value));

        return is_quoted(pool, FALSE, message) || is_quoted(slash + 1, FALSE, message) ? strlen(value) : 0;
    }
    if (g_str_has_prefix(property->pattern, "console.") && slash)
        return is_quoted(slash, TRUE, message) ? strlen(slash) : 0;
    return is_quoted(value, property->type == VMH_TYPE_PATH || g_str_has_suffix(property->pattern, ".url"), message)
               ? strlen(value)
               : 0;
}

/* Messages that quote nothing. */
static const struct {
    const char *words;
    const char *pattern;
} unquoted[] = {
    {"target managed='no' but specified dev doesn't exist", "nic.<id>.tap"},
};

static gboolean is_meant(const vmh_property *property, const char *message)
{
    for (gsize i = 0; i < G_N_ELEMENTS(unquoted); i++)
        if (g_str_equal(unquoted[i].pattern, property->pattern) && strstr(message, unquoted[i].words))
            return TRUE;
    return FALSE;
}

char *vmhi_domain_blame(const vmh_spec *spec, const char *message)
{
    g_auto(GStrv) paths = vmhi_spec_list(spec);
    const char *found = NULL;
    gsize       longest = 0;

    for (guint i = 0; message && paths[i]; i++) {
        const vmh_property *property = vmhi_schema_lookup("vm", paths[i]);
        const char         *value = vmhi_type_is_text(property->type) ? vmhi_spec_str(spec, paths[i]) : NULL;
        gsize               length = value ? quoted_length(property, value, message) : 0;

        if (value && !length && is_meant(property, message))
            length = 1;
        if (length <= longest)
            continue;
        found = paths[i];
        longest = length;
    }
    return g_strdup(found);
}

/* What is wrong with a value, where the code says no more than that the hypervisor failed. */
static const struct {
    const char *words;
    int32_t     code;
} causes[] = {
    {"No such file or directory", VMH_ERR_NOT_FOUND},
    {"No such device", VMH_ERR_NOT_FOUND},
    {"does not exist", VMH_ERR_NOT_FOUND},
    {"doesn't exist", VMH_ERR_NOT_FOUND},
    {"is missing", VMH_ERR_NOT_FOUND},
    {"Permission denied", VMH_ERR_PERMISSION},
    {"to be a regular file", VMH_ERR_VALUE},
};

void vmhi_domain_explain(vmh_error *failure, const vmh_spec *spec)
{
    char *property = failure->property ? NULL : vmhi_domain_blame(spec, failure->message);

    if (!property)
        return;
    vmhi_error_prefix(&failure, "%s", property);
    failure->property = property;
    for (gsize i = 0; failure->code == VMH_ERR_HYPERVISOR && i < G_N_ELEMENTS(causes); i++)
        if (strstr(failure->message, causes[i].words))
            failure->code = causes[i].code;
}
