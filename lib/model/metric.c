/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The metrics' schema as data, and the choice of metrics that a caller writes as "cpu.time,disk.*". */
#include "model/frame.h"
#include "model/schema.h"
#include <string.h>

enum { COLUMNS_LIMIT = 16384 };

static const vmh_metric metrics[] = {
#define METRIC(NAME, pattern, unit, counter, since, doc) {pattern, unit, counter, since, doc},
#include "model/metrics.def"
#undef METRIC
};

struct vmhi_wanted {
    char      *text;
    gboolean   has[VMHI_METRIC_COUNT];
    GPtrArray *only[VMHI_METRIC_COUNT]; /* the devices named, or NULL: all of them */
};

/* What follows the device in a pattern: "read.bytes" of "disk.<id>.read.bytes"; NULL where there is none. */
static const char *after_device(const char *pattern)
{
    const char *close = strchr(pattern, '>');

    return close ? close + 2 : NULL;
}

/* The three parts of "disk.root.read.bytes" or "disk.<id>.read.bytes", or NULL: no class with devices. */
static GStrv split_device(const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, ".", 3);
    g_autofree char *class = parts[0] ? g_strconcat(parts[0], ".<", NULL) : NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(metrics) && g_strv_length(parts) == 3; i++)
        if (g_str_has_prefix(metrics[i].pattern, class))
            return g_steal_pointer(&parts);
    return NULL;
}

/* Does a metric answer to this term? *device becomes the one device it is restricted to, or NULL. */
static gboolean term_matches(const char *term, const GStrv parts, const vmh_metric *metric, const char **device)
{
    const char *rest = after_device(metric->pattern);

    *device = NULL;
    if (g_pattern_match_simple(term, metric->pattern))
        return TRUE;
    if (!parts || !rest || !*parts[1] || strpbrk(parts[1], "*?<"))
        return FALSE;
    if (strncmp(metric->pattern, term, strlen(parts[0]) + 1) != 0 || !g_pattern_match_simple(parts[2], rest))
        return FALSE;
    *device = parts[1];
    return TRUE;
}

/* Asked for as a whole once, a metric is not restricted any more. */
static void want(vmhi_wanted *wanted, size_t metric, const char *device)
{
    if (!device)
        g_clear_pointer(&wanted->only[metric], g_ptr_array_unref);
    else if (!wanted->has[metric])
        wanted->only[metric] = g_ptr_array_new_with_free_func(g_free);
    wanted->has[metric] = TRUE;
    if (device && wanted->only[metric])
        g_ptr_array_add(wanted->only[metric], g_strdup(device));
}

/* A misspelt name is compared with a pattern as if it had the pattern's <id>. */
static void set_unknown(const char *term, vmh_error **error)
{
    const char *names[G_N_ELEMENTS(metrics) + 1] = {NULL};
    g_auto(GStrv) parts = split_device(term);
    g_autofree char *excerpt = vmhi_excerpt(term);
    g_autofree char *general = NULL;
    const char      *nearest;

    for (size_t i = 0; i < G_N_ELEMENTS(metrics); i++)
        names[i] = metrics[i].pattern;
    if (parts)
        general = g_strdup_printf("%s.%s.%s", parts[0], strcmp(parts[0], "vcpu") == 0 ? "<n>" : "<id>", parts[2]);
    nearest = vmhi_nearest(general ? general : term, names);
    if (nearest)
        vmhi_error_set(error, VMH_ERR_UNKNOWN_NAME, "there is no metric \"%s\"; the nearest is \"%s\"", excerpt,
                       nearest);
    else
        vmhi_error_set(error, VMH_ERR_UNKNOWN_NAME, "there is no metric \"%s\"; vmh_metric_at() gives all", excerpt);
}

static gboolean add_term(vmhi_wanted *wanted, const char *term, vmh_error **error)
{
    g_auto(GStrv) parts = split_device(term);
    gboolean found = FALSE;

    for (size_t i = 0; i < G_N_ELEMENTS(metrics); i++) {
        const char *device;
        if (term_matches(term, parts, &metrics[i], &device)) {
            want(wanted, i, device);
            found = TRUE;
        }
    }
    if (!found)
        set_unknown(term, error);
    return found;
}

vmhi_wanted *vmhi_wanted_new(const char *columns, vmh_error **error)
{
    g_autoptr(vmhi_wanted) wanted = g_new0(vmhi_wanted, 1);
    g_auto(GStrv) terms = NULL;

    wanted->text = g_strdup(columns ? columns : "");
    if (!columns) {
        for (size_t i = 0; i < G_N_ELEMENTS(metrics); i++)
            wanted->has[i] = strchr(metrics[i].pattern, '<') == NULL;
        return g_steal_pointer(&wanted);
    }
    if (strlen(columns) > COLUMNS_LIMIT) {
        vmhi_error_set(error, VMH_ERR_VALUE, "the list of metrics is longer than %d bytes", COLUMNS_LIMIT);
        return NULL;
    }
    if (!g_utf8_validate(columns, -1, NULL)) {
        vmhi_error_set(error, VMH_ERR_VALUE, "the list of metrics is not UTF-8");
        return NULL;
    }
    terms = g_strsplit(columns, ",", -1);
    if (!*terms)
        set_unknown("", error);
    for (char **term = terms; *term; term++)
        if (!add_term(wanted, g_strstrip(*term), error))
            return NULL;
    return *terms ? g_steal_pointer(&wanted) : NULL;
}

vmhi_wanted *vmhi_wanted_copy(const vmhi_wanted *wanted)
{
    vmhi_wanted *copy = g_new(vmhi_wanted, 1);

    *copy = *wanted;
    copy->text = g_strdup(wanted->text);
    for (size_t i = 0; i < G_N_ELEMENTS(metrics); i++)
        if (copy->only[i])
            copy->only[i] = g_ptr_array_ref(copy->only[i]);
    return copy;
}

void vmhi_wanted_free(vmhi_wanted *wanted)
{
    if (!wanted)
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(metrics); i++)
        g_clear_pointer(&wanted->only[i], g_ptr_array_unref);
    g_free(wanted->text);
    g_free(wanted);
}

gboolean vmhi_wanted_has(const vmhi_wanted *wanted, vmhi_metric metric)
{
    return wanted->has[metric];
}

gboolean vmhi_wanted_has_device(const vmhi_wanted *wanted, vmhi_metric metric, const char *device)
{
    const GPtrArray *only = wanted->only[metric];

    for (guint i = 0; only && i < only->len; i++)
        if (strcmp(only->pdata[i], device) == 0)
            return TRUE;
    return wanted->has[metric] && !only;
}

gboolean vmhi_wanted_any(const vmhi_wanted *wanted, vmhi_metric first, vmhi_metric last)
{
    for (size_t i = first; i <= (size_t)last; i++)
        if (wanted->has[i])
            return TRUE;
    return FALSE;
}

const char *vmhi_wanted_text(const vmhi_wanted *wanted)
{
    return wanted->text;
}

const vmh_metric *vmhi_metric_get(vmhi_metric metric)
{
    return &metrics[metric];
}

size_t vmh_metric_count(void)
{
    return G_N_ELEMENTS(metrics);
}

const vmh_metric *vmh_metric_at(size_t index)
{
    return index < G_N_ELEMENTS(metrics) ? &metrics[index] : NULL;
}

const vmh_metric *vmh_metric_find(const char *name, vmh_error **error)
{
    g_auto(GStrv) parts = name ? split_device(name) : NULL;
    const char *device;

    if (vmhi_failed(error))
        return NULL;
    if (!name) {
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "name is NULL");
        return NULL;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(metrics) && !strpbrk(name, "*?"); i++)
        if (term_matches(name, parts, &metrics[i], &device))
            return &metrics[i];
    set_unknown(name, error);
    return NULL;
}

const char *vmh_metric_pattern(const vmh_metric *metric)
{
    return metric ? metric->pattern : NULL;
}

const char *vmh_metric_unit(const vmh_metric *metric)
{
    return metric ? metric->unit : NULL;
}

int32_t vmh_metric_counter(const vmh_metric *metric)
{
    return metric && metric->counter;
}

const char *vmh_metric_since(const vmh_metric *metric)
{
    return metric ? metric->since : NULL;
}

const char *vmh_metric_doc(const vmh_metric *metric)
{
    return metric ? metric->doc : NULL;
}
