/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A spec is a sorted map from paths to checked values; what is in it has passed the schema. */
#include "model/spec.h"

#include <errno.h>
#include <string.h>

static int compare_paths(const void *a, const void *b, void *data)
{
    (void)data;
    return strcmp(a, b);
}

static void free_value(void *value)
{
    vmhi_value_clear(value);
    g_free(value);
}

static vmh_spec *new_spec(const char *known_kind)
{
    vmh_spec *spec = g_new0(vmh_spec, 1);

    spec->references = 1;
    g_mutex_init(&spec->lock);
    spec->kind = known_kind;
    spec->values = g_tree_new_full(compare_paths, NULL, g_free, free_value);
    return spec;
}

vmh_spec *vmhi_spec_new(const char *kind, vmh_error **error)
{
    const char *known = vmhi_schema_require_kind(kind, error);

    return known ? new_spec(known) : NULL;
}

void vmhi_spec_free(vmh_spec *spec)
{
    g_tree_unref(spec->values);
    g_mutex_clear(&spec->lock);
    g_free(spec);
}

/* Takes what the value holds. */
static void store(vmh_spec *spec, const char *path, const vmhi_value *value)
{
    vmhi_value *stored = g_new(vmhi_value, 1);

    *stored = *value;
    g_tree_replace(spec->values, g_strdup(path), stored);
}

static gboolean copy_one(void *path, void *value, void *copy)
{
    vmhi_value copied;

    vmhi_value_copy(value, &copied);
    store(copy, path, &copied);
    return FALSE;
}

vmh_spec *vmhi_spec_copy(const vmh_spec *spec)
{
    vmh_spec *copy = new_spec(spec->kind);

    g_tree_foreach(spec->values, copy_one, copy);
    return copy;
}

/* --- with errors, for callers --- */

const vmh_property *vmhi_spec_property(const vmh_spec *spec, const char *path, vmh_error **error)
{
    const vmh_property *property = vmhi_schema_require(spec->kind, path, error);

    if (!property || !strchr(path, '<'))
        return property;
    vmhi_error_set_property(error, VMH_ERR_UNKNOWN_NAME, path,
                            "%s stands for many properties: put %s of yours in its place", path,
                            strstr(path, "<n>") ? "a number" : "a name");
    return NULL;
}

gboolean vmhi_spec_check_writable(const vmh_spec *spec, const char *path, vmh_error **error)
{
    const vmh_property *property = vmhi_spec_property(spec, path, error);

    if (property && (property->flags & VMHI_READONLY))
        vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s is only reported; it cannot be set", path);
    return property && !(property->flags & VMHI_READONLY);
}

gboolean vmhi_spec_set(vmh_spec *spec, const char *path, const char *text, vmh_error **error)
{
    const vmh_property *property = vmhi_spec_property(spec, path, error);
    vmhi_value          value;

    if (!property || !vmhi_schema_parse(property, path, text, &value, error))
        return FALSE;
    store(spec, path, &value);
    return TRUE;
}

/* Types that are kept alike are read and written by the same calls. */
static gboolean is_kept_alike(int32_t a, int32_t b)
{
    return a == b || (vmhi_type_is_text(a) && vmhi_type_is_text(b)) ||
           (vmhi_type_is_whole(a) && vmhi_type_is_whole(b));
}

static const char *call_of(int32_t type, const char *verb)
{
    if (type == VMH_TYPE_DESCRIPTOR)
        return strcmp(verb, "set") == 0 ? "fd" : "text_dup";
    if (vmhi_type_is_text(type))
        return "str";
    if (vmhi_type_is_whole(type))
        return "u64";
    return type == VMH_TYPE_F64 ? "f64" : "bool";
}

static gboolean require_type(const vmh_property *property, const char *path, int32_t type, const char *verb,
                             vmh_error **error)
{
    if (is_kept_alike(property->type, type))
        return TRUE;
    vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s is of another type: use vmh_spec_%s_%s()", path, verb,
                            call_of(property->type, verb));
    return FALSE;
}

gboolean vmhi_spec_set_value(vmh_spec *spec, const char *path, const vmhi_value *value, vmh_error **error)
{
    const vmh_property *property = vmhi_spec_property(spec, path, error);
    vmhi_value          typed = *value, copy;

    if (!property || !require_type(property, path, value->type, "set", error))
        return FALSE;
    if (vmhi_type_is_text(typed.type))
        return vmhi_spec_set(spec, path, typed.text, error);
    typed.type = property->type;
    if (!vmhi_schema_check(property, path, &typed, error))
        return FALSE;
    vmhi_value_copy(&typed, &copy);
    store(spec, path, &copy);
    return TRUE;
}

gboolean vmhi_spec_set_descriptor(vmh_spec *spec, const char *path, int descriptor, vmh_error **error)
{
    const vmh_property *property = vmhi_spec_property(spec, path, error);
    vmhi_value          value;
    int                 native;

    if (!property || !require_type(property, path, VMH_TYPE_DESCRIPTOR, "set", error))
        return FALSE;
    native = vmhi_value_duplicate(descriptor, &value);
    if (!native)
        store(spec, path, &value);
    else if (native == EBADF)
        vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s: %d is not an open descriptor of this program", path,
                                descriptor);
    else
        vmhi_error_set_property(error, VMH_ERR_RESOURCE, path, "%s: the descriptor %d cannot be duplicated: %s", path,
                                descriptor, g_strerror(native));
    return !native;
}

const vmhi_value *vmhi_spec_get(const vmh_spec *spec, const char *path, vmh_error **error)
{
    const vmhi_value *value;

    if (!vmhi_spec_property(spec, path, error))
        return NULL;
    value = g_tree_lookup(spec->values, path);
    if (!value)
        vmhi_error_set_property(error, VMH_ERR_NOT_SET, path, "%s is not set", path);
    return value;
}

const vmhi_value *vmhi_spec_get_typed(const vmh_spec *spec, const char *path, int32_t type, vmh_error **error)
{
    const vmh_property *property = vmhi_spec_property(spec, path, error);

    if (!property || !require_type(property, path, type, "get", error))
        return NULL;
    return vmhi_spec_get(spec, path, error);
}

gboolean vmhi_spec_unset(vmh_spec *spec, const char *path, vmh_error **error)
{
    if (!vmhi_spec_property(spec, path, error))
        return FALSE;
    g_tree_remove(spec->values, path);
    return TRUE;
}

/* --- without errors, for drivers --- */

static const vmhi_value *value_at(const vmh_spec *spec, const char *path)
{
    return spec ? g_tree_lookup(spec->values, path) : NULL;
}

const char *vmhi_spec_str(const vmh_spec *spec, const char *path)
{
    const vmhi_value *value = value_at(spec, path);

    return value && vmhi_type_is_text(value->type) ? value->text : NULL;
}

gboolean vmhi_spec_u64(const vmh_spec *spec, const char *path, uint64_t *value)
{
    const vmhi_value *found = value_at(spec, path);

    if (!found || !vmhi_type_is_whole(found->type))
        return FALSE;
    *value = found->u64;
    return TRUE;
}

gboolean vmhi_spec_f64(const vmh_spec *spec, const char *path, double *value)
{
    const vmhi_value *found = value_at(spec, path);

    if (!found || found->type != VMH_TYPE_F64)
        return FALSE;
    *value = found->f64;
    return TRUE;
}

gboolean vmhi_spec_bool(const vmh_spec *spec, const char *path, gboolean *value)
{
    const vmhi_value *found = value_at(spec, path);

    if (!found || found->type != VMH_TYPE_BOOL)
        return FALSE;
    *value = found->flag;
    return TRUE;
}

int vmhi_spec_descriptor(const vmh_spec *spec, const char *path)
{
    const vmhi_value *value = value_at(spec, path);

    return value && value->type == VMH_TYPE_DESCRIPTOR && value->descriptor ? *value->descriptor : -1;
}

/* The default as a value; of type 0 when there is none. To be cleared. */
static vmhi_value default_of(const char *kind, const char *path)
{
    const vmh_property *property = vmhi_schema_lookup(kind, path);
    vmhi_value          value = {0};

    if (property && property->fallback)
        vmhi_schema_parse(property, path, property->fallback, &value, NULL);
    return value;
}

uint64_t vmhi_spec_u64_or_default(const vmh_spec *spec, const char *kind, const char *path)
{
    vmhi_value fallback;
    uint64_t   value;

    if (vmhi_spec_u64(spec, path, &value))
        return value;
    fallback = default_of(kind, path);
    value = vmhi_type_is_whole(fallback.type) ? fallback.u64 : 0;
    vmhi_value_clear(&fallback);
    return value;
}

gboolean vmhi_spec_bool_or_default(const vmh_spec *spec, const char *kind, const char *path)
{
    vmhi_value fallback;
    gboolean   value;

    if (vmhi_spec_bool(spec, path, &value))
        return value;
    fallback = default_of(kind, path);
    value = fallback.type == VMH_TYPE_BOOL && fallback.flag;
    vmhi_value_clear(&fallback);
    return value;
}

const char *vmhi_spec_str_or_default(const vmh_spec *spec, const char *kind, const char *path)
{
    const char         *value = vmhi_spec_str(spec, path);
    const vmh_property *property = value ? NULL : vmhi_schema_lookup(kind, path);

    if (value)
        return value;
    return property && vmhi_type_is_text(property->type) ? property->fallback : NULL;
}

static gboolean add_path(void *path, void *value, void *paths)
{
    (void)value;
    g_ptr_array_add(paths, g_strdup(path));
    return FALSE;
}

GStrv vmhi_spec_list(const vmh_spec *spec)
{
    GPtrArray *paths = g_ptr_array_new();

    if (spec)
        g_tree_foreach(spec->values, add_path, paths);
    g_ptr_array_add(paths, NULL);
    return (GStrv)g_ptr_array_free(paths, FALSE);
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GStrv vmhi_spec_ids(const vmh_spec *spec, const char *class_name)
{
    g_auto(GStrv) paths = vmhi_spec_list(spec);
    GPtrArray  *ids = g_ptr_array_new();
    const char *last = NULL;
    size_t      length = strlen(class_name);

    for (char **path = paths; *path; path++) {
        g_autofree char *id = NULL;

        if (strncmp(*path, class_name, length) != 0 || (*path)[length] != '.')
            continue;
        id = g_strndup(*path + length + 1, strcspn(*path + length + 1, "."));
        if (last && strcmp(last, id) == 0)
            continue;
        last = id;
        g_ptr_array_add(ids, g_steal_pointer(&id));
    }
    /* Paths of one id stand together, but "a-b" comes before "a": '-' sorts before the dot. */
    g_ptr_array_sort(ids, compare_ids);
    g_ptr_array_add(ids, NULL);
    return (GStrv)g_ptr_array_free(ids, FALSE);
}

void vmhi_spec_put(vmh_spec *spec, const char *path, const char *text)
{
    const vmh_property *property = vmhi_spec_property(spec, path, NULL);
    vmhi_value          value;

    if (text && property && vmhi_schema_parse(property, path, text, &value, NULL))
        store(spec, path, &value);
}

/* A value of a type that is kept alike; the property's own type is filled in. */
static void put(vmh_spec *spec, const char *path, vmhi_value value)
{
    const vmh_property *property = vmhi_spec_property(spec, path, NULL);

    if (!property || !is_kept_alike(property->type, value.type))
        return;
    value.type = property->type;
    if (vmhi_schema_check(property, path, &value, NULL))
        store(spec, path, &value);
}

void vmhi_spec_put_u64(vmh_spec *spec, const char *path, uint64_t value)
{
    put(spec, path, (vmhi_value){.type = VMH_TYPE_U64, .u64 = value});
}

void vmhi_spec_put_f64(vmh_spec *spec, const char *path, double value)
{
    put(spec, path, (vmhi_value){.type = VMH_TYPE_F64, .f64 = value});
}

void vmhi_spec_put_bool(vmh_spec *spec, const char *path, gboolean value)
{
    put(spec, path, (vmhi_value){.type = VMH_TYPE_BOOL, .flag = value});
}

char *vmhi_path(const char *class_name, const char *id, const char *leaf)
{
    return g_strjoin(".", class_name, id, leaf, NULL);
}

gboolean vmhi_spec_same(const vmh_spec *a, const vmh_spec *b, const char *path)
{
    const vmhi_value *left = value_at(a, path);
    const vmhi_value *right = value_at(b, path);

    return left && right ? vmhi_value_equal(left, right) : left == right;
}

void vmhi_spec_strip_readonly(vmh_spec *spec)
{
    g_auto(GStrv) paths = vmhi_spec_list(spec);

    for (char **path = paths; *path; path++)
        if (vmhi_schema_lookup(spec->kind, *path)->flags & VMHI_READONLY)
            g_tree_remove(spec->values, *path);
}
