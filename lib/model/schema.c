/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of properties in memory: finding the one that a path means, and naming the nearest one. */
#include "model/schema.h"

#include <string.h>

enum {
    LIVE = VMHI_LIVE,
    READONLY = VMHI_READONLY,
    SECRET = VMHI_SECRET,
    EMPTY = VMHI_EMPTY,
    HEX = VMHI_HEX,

    ID_LIMIT = 32,
    NUMBER_LIMIT = 4095, /* of <n>: no VM has more CPUs */
    PATH_LIMIT = 128,    /* longer than any path with the longest id */
    NEAREST_LIMIT = 64   /* a longer name is not a misspelt one */
};

static const vmh_property properties[] = {
#define PROPERTY(kind, pattern, type, unit, minimum, maximum, values, fallback, flags, since, doc)                   \
    {#kind, pattern, VMH_TYPE_##type, unit, minimum, maximum, values, fallback, flags, since, doc},
#include "model/properties.def"
#undef PROPERTY
};

/* The properties of a kind stand together. */
typedef struct {
    const vmh_property *first;
    size_t              count;
    GHashTable         *by_pattern;
} property_list;

static GHashTable *list_kinds(void)
{
    GHashTable    *kinds = g_hash_table_new(g_str_hash, g_str_equal);
    property_list *list = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(properties); i++) {
        if (i == 0 || strcmp(properties[i].kind, properties[i - 1].kind) != 0) {
            list = g_new0(property_list, 1);
            list->first = &properties[i];
            list->by_pattern = g_hash_table_new(g_str_hash, g_str_equal);
            g_hash_table_insert(kinds, (void *)properties[i].kind, list);
        }
        list->count++;
        g_hash_table_insert(list->by_pattern, (void *)properties[i].pattern, (void *)&properties[i]);
    }
    return kinds;
}

/* Made once, and kept for as long as the process lives. */
static GHashTable *all_kinds(void)
{
    static GHashTable *kinds;

    if (g_once_init_enter(&kinds))
        g_once_init_leave(&kinds, list_kinds());
    return kinds;
}

static const property_list *list_of(const char *kind)
{
    return g_hash_table_lookup(all_kinds(), kind);
}

const char *vmhi_schema_kind(const char *kind)
{
    const property_list *list = list_of(kind);

    return list ? list->first->kind : NULL;
}

/* "vm, host, …", in the order of the schema. */
static char *kind_names(void)
{
    GString *names = g_string_new(properties[0].kind);

    for (size_t i = 1; i < G_N_ELEMENTS(properties); i++)
        if (strcmp(properties[i].kind, properties[i - 1].kind) != 0)
            g_string_append_printf(names, ", %s", properties[i].kind);
    return g_string_free(names, FALSE);
}

const char *vmhi_schema_require_kind(const char *kind, vmh_error **error)
{
    const char      *known = vmhi_schema_kind(kind);
    g_autofree char *excerpt = known ? NULL : vmhi_excerpt(kind);
    g_autofree char *names = known ? NULL : kind_names();

    if (!known)
        vmhi_error_set(error, VMH_ERR_UNKNOWN_NAME, "there is no kind \"%s\" of spec; the kinds are %s", excerpt,
                       names);
    return known;
}

const vmh_property *vmhi_schema_list(const char *kind, size_t *count)
{
    const property_list *list = list_of(kind);

    *count = list ? list->count : 0;
    return list ? list->first : NULL;
}

static gboolean is_id(const char *text, size_t length)
{
    if (length == 0 || length > ID_LIMIT)
        return FALSE;
    for (size_t i = 0; i < length; i++)
        if (!g_ascii_isalnum(text[i]) && text[i] != '_' && text[i] != '-')
            return FALSE;
    return TRUE;
}

/* One way to write each number, so that one property has one path. */
static gboolean is_index(const char *text, size_t length)
{
    unsigned number = 0;

    if (length == 0 || length > 4 || (text[0] == '0' && length > 1))
        return FALSE;
    for (size_t i = 0; i < length; i++) {
        if (!g_ascii_isdigit(text[i]))
            return FALSE;
        number = number * 10 + (unsigned)(text[i] - '0');
    }
    return number <= NUMBER_LIMIT;
}

/* A name of the caller's within a path: where it stands, and what the schema has in its place. */
typedef struct {
    const char *start;
    size_t      length;
    const char *placeholder;
} variable;

static const char *segment_end(const char *segment)
{
    return segment + strcspn(segment, ".");
}

/* The property whose pattern is the path with one of its segments as a placeholder. */
static const vmh_property *match_pattern(const property_list *list, const char *path, variable *found)
{
    static const char *const placeholders[] = {"<id>", "<n>"};
    char                     pattern[PATH_LIMIT + sizeof("<id>")];

    for (const char *segment = segment_end(path); *segment; segment = segment_end(segment)) {
        segment++;
        for (size_t i = 0; i < G_N_ELEMENTS(placeholders); i++) {
            const vmh_property *property;

            g_snprintf(pattern, sizeof(pattern), "%.*s%s%s", (int)(segment - path), path, placeholders[i],
                       segment_end(segment));
            property = g_hash_table_lookup(list->by_pattern, pattern);
            if (property) {
                *found = (variable){segment, (size_t)(segment_end(segment) - segment), placeholders[i]};
                return property;
            }
        }
    }
    return NULL;
}

static gboolean is_valid(const variable *name)
{
    return strcmp(name->placeholder, "<n>") == 0 ? is_index(name->start, name->length)
                                                 : is_id(name->start, name->length);
}

const vmh_property *vmhi_schema_lookup(const char *kind, const char *path)
{
    const property_list *list = list_of(kind);
    const vmh_property  *property;
    variable             name;

    if (!list || strnlen(path, PATH_LIMIT + 1) > PATH_LIMIT)
        return NULL;
    property = g_hash_table_lookup(list->by_pattern, path);
    if (property)
        return property;
    property = match_pattern(list, path, &name);
    return property && is_valid(&name) ? property : NULL;
}

static const char *placeholder_at(const char *pattern)
{
    if (*pattern != '<')
        return NULL;
    return pattern[1] == 'n' ? "<n>" : "<id>";
}

/* What the pattern has after the path, where the path is its beginning and not all of it; else NULL. */
static const char *rest_after(const char *path, const char *pattern)
{
    for (;;) {
        variable name = {path, (size_t)(segment_end(path) - path), placeholder_at(pattern)};
        size_t   expected = (size_t)(segment_end(pattern) - pattern);

        if (name.placeholder) {
            if (!is_valid(&name))
                return NULL;
        } else if (name.length != expected || strncmp(path, pattern, expected) != 0) {
            return NULL;
        }
        if (!pattern[expected])
            return NULL;
        pattern += expected + 1;
        if (!path[name.length])
            return pattern;
        path += name.length + 1;
    }
}

/* What the first property of a group has after the group's path; NULL when the path is no group. */
static const char *first_in_group(const property_list *list, const char *path)
{
    const char *rest = NULL;

    for (size_t i = 0; i < list->count && !rest; i++)
        rest = rest_after(path, list->first[i].pattern);
    return rest;
}

gboolean vmhi_schema_is_group(const char *kind, const char *path)
{
    const property_list *list = list_of(kind);

    return list && first_in_group(list, path) != NULL;
}

/* Levenshtein's distance. The longer name has at most NEAREST_LIMIT bytes. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NEAREST_LIMIT + 1];
    size_t length = strlen(b);

    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < length; j++) {
            size_t replaced = diagonal + (a[i] != b[j]);

            diagonal = row[j + 1];
            row[j + 1] = MIN(MIN(row[j], row[j + 1]) + 1, replaced);
        }
    }
    return row[length];
}

/* Is `candidate` nearer than all before it? A third of the name may be wrong, or two letters that changed places. */
static gboolean is_nearer(const char *name, const char *candidate, size_t *least)
{
    size_t length = strlen(name);
    size_t now;

    if (strlen(candidate) > NEAREST_LIMIT)
        return FALSE;
    now = distance(name, candidate);
    if (now > MAX(length / 3, 2) || now >= MIN(length, *least))
        return FALSE;
    *least = now;
    return TRUE;
}

const char *vmhi_nearest(const char *name, const char *const *names)
{
    const char *nearest = NULL;
    size_t      least = SIZE_MAX;

    if (strnlen(name, NEAREST_LIMIT + 1) > NEAREST_LIMIT)
        return NULL;
    for (; *names; names++)
        if (is_nearer(name, *names, &least))
            nearest = *names;
    return nearest;
}

/* The segment of the path that stands where the pattern has its placeholder, or NULL when none is or fits. */
static char *name_in_place(const char *path, const char *pattern, const char *placeholder)
{
    variable name = {path, 0, placeholder_at(placeholder)};

    for (const char *c = pattern; c < placeholder; c++) {
        if (*c != '.')
            continue;
        name.start = segment_end(name.start);
        if (!*name.start)
            return NULL;
        name.start++;
    }
    name.length = (size_t)(segment_end(name.start) - name.start);
    return is_valid(&name) ? g_strndup(name.start, name.length) : NULL;
}

/* Compares a pattern to a path twice: with the caller's name in its place, and with none ("disk.path"). */
static void compare_pattern(const char *path, const char *pattern, size_t *least, char **nearest)
{
    const char      *placeholder = strchr(pattern, '<');
    const char      *rest = placeholder ? strchr(placeholder, '>') + 1 : NULL;
    int              before = placeholder ? (int)(placeholder - pattern) : 0;
    g_autofree char *name = placeholder ? name_in_place(path, pattern, placeholder) : NULL;
    g_autofree char *with = name ? g_strdup_printf("%.*s%s%s", before, pattern, name, rest) : g_strdup(pattern);
    g_autofree char *without = placeholder ? g_strdup_printf("%.*s%s", before - 1, pattern, rest) : NULL;

    if (is_nearer(path, with, least)) {
        g_free(*nearest);
        *nearest = g_strdup(with);
    }
    if (without && is_nearer(path, without, least)) {
        g_free(*nearest);
        *nearest = g_strdup(pattern);
    }
}

/* The nearest path that there could be, with the names that the caller gave; NULL when none is near. */
static char *nearest_path(const property_list *list, const char *path, size_t *least)
{
    char *nearest = NULL;

    *least = SIZE_MAX;
    if (strnlen(path, NEAREST_LIMIT + 1) > NEAREST_LIMIT)
        return NULL;
    for (size_t i = 0; i < list->count; i++)
        compare_pattern(path, list->first[i].pattern, least, &nearest);
    return nearest;
}

static void refuse_name(const char *path, const variable *name, vmh_error **error)
{
    g_autofree char *text = g_strndup(name->start, name->length);
    g_autofree char *excerpt = vmhi_excerpt(text);

    if (strcmp(name->placeholder, "<n>") == 0)
        vmhi_error_set_property(error, VMH_ERR_UNKNOWN_NAME, path, "\"%s\" in a path is no number from 0 to %d",
                                excerpt, NUMBER_LIMIT);
    else
        vmhi_error_set_property(error, VMH_ERR_UNKNOWN_NAME, path,
                                "\"%s\" in a path is no name: give 1 to %d of A-Z a-z 0-9 _ -", excerpt, ID_LIMIT);
}

/* "memory" alone is more likely meant as memory.size than as another name that looks like it. */
static void refuse_unknown(const property_list *list, const char *path, vmh_error **error)
{
    size_t           least;
    g_autofree char *excerpt = vmhi_excerpt(path);
    g_autofree char *nearest = nearest_path(list, path, &least);
    const char      *rest = first_in_group(list, path);

    if (rest && least > 0)
        vmhi_error_set_property(error, VMH_ERR_UNKNOWN_NAME, path,
                                "\"%s\" is a group of properties; name one of them, such as \"%s.%s\"", excerpt, path,
                                rest);
    else if (nearest)
        vmhi_error_set_property(error, VMH_ERR_UNKNOWN_NAME, path,
                                "there is no property \"%s\"; did you mean \"%s\"?", excerpt, nearest);
    else
        vmhi_error_set_property(error, VMH_ERR_UNKNOWN_NAME, path, "there is no property \"%s\" of kind %s", excerpt,
                                list->first->kind);
}

/* Says why a path means no property: a name in it is malformed, or nothing is called so. */
static void refuse_path(const property_list *list, const char *path, vmh_error **error)
{
    variable name;

    if (strnlen(path, PATH_LIMIT + 1) <= PATH_LIMIT && match_pattern(list, path, &name))
        refuse_name(path, &name, error);
    else
        refuse_unknown(list, path, error);
}

const vmh_property *vmhi_schema_require(const char *kind, const char *path, vmh_error **error)
{
    const vmh_property *property;

    if (!vmhi_schema_require_kind(kind, error))
        return NULL;
    property = vmhi_schema_lookup(kind, path);
    if (!property)
        refuse_path(list_of(kind), path, error);
    return property;
}
