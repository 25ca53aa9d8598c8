/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Specs for callers: arguments are checked and the spec is locked here; lib/model does the rest. */
#include "model/spec.h"
#include "api/check.h"

#include <string.h>

/* A spec that is only read is locked as well: another thread may be writing it. */
static void lock(const vmh_spec *spec)
{
    g_mutex_lock((GMutex *)&spec->lock);
}

static void unlock(const vmh_spec *spec)
{
    g_mutex_unlock((GMutex *)&spec->lock);
}

/* Gives the caller the failure, where there is one and a place for it; returns its code, or 0. */
static int32_t finish(vmh_error *failure, vmh_error **error)
{
    int32_t code = vmh_error_code(failure);

    vmhi_error_move(error, failure);
    return code;
}

/* --- the handle --- */

vmh_spec *vmh_spec_new(const char *kind, vmh_error **error)
{
    return vmhi_check(kind, "kind", error) ? vmhi_spec_new(kind, error) : NULL;
}

vmh_spec *vmh_spec_ref(vmh_spec *spec)
{
    if (spec)
        g_atomic_int_inc(&spec->references);
    return spec;
}

void vmh_spec_unref(vmh_spec *spec)
{
    if (spec && g_atomic_int_dec_and_test(&spec->references))
        vmhi_spec_free(spec);
}

vmh_spec *vmh_spec_dup(const vmh_spec *spec)
{
    vmh_spec *copy;

    if (!spec)
        return NULL;
    lock(spec);
    copy = vmhi_spec_copy(spec);
    unlock(spec);
    return copy;
}

const char *vmh_spec_kind(const vmh_spec *spec)
{
    return spec ? spec->kind : NULL;
}

/* --- setting --- */

/* Locks it for a change of this property, which is unlocked then; or FALSE. */
static gboolean lock_writable(vmh_spec *spec, const char *path, vmh_error **failure)
{
    gboolean writable;

    lock(spec);
    writable = vmhi_spec_check_writable(spec, path, failure);
    if (!writable)
        unlock(spec);
    return writable;
}

int32_t vmh_spec_set(vmh_spec *spec, const char *path, const char *text, vmh_error **error)
{
    vmh_error *failure = NULL;

    if (vmhi_failed(error))
        return vmh_error_code(*error);
    if (vmhi_check(spec, "spec", &failure) && vmhi_check(path, "path", &failure) &&
        vmhi_check(text, "text", &failure) && lock_writable(spec, path, &failure)) {
        vmhi_spec_set(spec, path, text, &failure);
        unlock(spec);
    }
    return finish(failure, error);
}

static int32_t set_value(vmh_spec *spec, const char *path, const vmhi_value *value, vmh_error **error)
{
    vmh_error *failure = NULL;

    if (vmhi_failed(error))
        return vmh_error_code(*error);
    if (vmhi_check(spec, "spec", &failure) && vmhi_check(path, "path", &failure) &&
        lock_writable(spec, path, &failure)) {
        vmhi_spec_set_value(spec, path, value, &failure);
        unlock(spec);
    }
    return finish(failure, error);
}

int32_t vmh_spec_set_str(vmh_spec *spec, const char *path, const char *value, vmh_error **error)
{
    vmhi_value held = {.type = VMH_TYPE_STRING, .text = (char *)value};

    if (!vmhi_check(value, "value", error))
        return vmhi_code(error, VMH_ERR_ARGUMENT);
    return set_value(spec, path, &held, error);
}

int32_t vmh_spec_set_u64(vmh_spec *spec, const char *path, uint64_t value, vmh_error **error)
{
    return set_value(spec, path, &(vmhi_value){.type = VMH_TYPE_U64, .u64 = value}, error);
}

int32_t vmh_spec_set_f64(vmh_spec *spec, const char *path, double value, vmh_error **error)
{
    return set_value(spec, path, &(vmhi_value){.type = VMH_TYPE_F64, .f64 = value}, error);
}

int32_t vmh_spec_set_bool(vmh_spec *spec, const char *path, int32_t value, vmh_error **error)
{
    return set_value(spec, path, &(vmhi_value){.type = VMH_TYPE_BOOL, .flag = value != 0}, error);
}

int32_t vmh_spec_set_fd(vmh_spec *spec, const char *path, int32_t fd, vmh_error **error)
{
    vmh_error *failure = NULL;

    if (vmhi_failed(error))
        return vmh_error_code(*error);
    if (vmhi_check(spec, "spec", &failure) && vmhi_check(path, "path", &failure) &&
        lock_writable(spec, path, &failure)) {
        vmhi_spec_set_descriptor(spec, path, fd, &failure);
        unlock(spec);
    }
    return finish(failure, error);
}

int32_t vmh_spec_unset(vmh_spec *spec, const char *path, vmh_error **error)
{
    vmh_error *failure = NULL;

    if (vmhi_failed(error))
        return vmh_error_code(*error);
    if (vmhi_check(spec, "spec", &failure) && vmhi_check(path, "path", &failure)) {
        lock(spec);
        vmhi_spec_unset(spec, path, &failure);
        unlock(spec);
    }
    return finish(failure, error);
}

/* --- reading --- */

/* The value as it is held; its text, if any, is lent by the spec. `out` is where the caller wants it. */
static int32_t get_value(const vmh_spec *spec, const char *path, int32_t type, const void *out, vmhi_value *value,
                         vmh_error **error)
{
    const vmhi_value *found;
    vmh_error        *failure = NULL;

    if (vmhi_failed(error))
        return vmh_error_code(*error);
    if (vmhi_check(spec, "spec", &failure) && vmhi_check(path, "path", &failure) &&
        vmhi_check(out, "value", &failure)) {
        lock(spec);
        found = vmhi_spec_get_typed(spec, path, type, &failure);
        if (found)
            *value = *found;
        unlock(spec);
    }
    return finish(failure, error);
}

int32_t vmh_spec_get_str(const vmh_spec *spec, const char *path, const char **value, vmh_error **error)
{
    vmhi_value found = {0};
    int32_t    code = get_value(spec, path, VMH_TYPE_STRING, value, &found, error);

    if (code == 0)
        *value = found.text;
    return code;
}

int32_t vmh_spec_get_u64(const vmh_spec *spec, const char *path, uint64_t *value, vmh_error **error)
{
    vmhi_value found = {0};
    int32_t    code = get_value(spec, path, VMH_TYPE_U64, value, &found, error);

    if (code == 0)
        *value = found.u64;
    return code;
}

int32_t vmh_spec_get_f64(const vmh_spec *spec, const char *path, double *value, vmh_error **error)
{
    vmhi_value found = {0};
    int32_t    code = get_value(spec, path, VMH_TYPE_F64, value, &found, error);

    if (code == 0)
        *value = found.f64;
    return code;
}

int32_t vmh_spec_get_bool(const vmh_spec *spec, const char *path, int32_t *value, vmh_error **error)
{
    vmhi_value found = {0};
    int32_t    code = get_value(spec, path, VMH_TYPE_BOOL, value, &found, error);

    if (code == 0)
        *value = found.flag;
    return code;
}

char *vmh_spec_get_text_dup(const vmh_spec *spec, const char *path, vmh_error **error)
{
    const vmhi_value *value;
    char             *text = NULL;

    if (!vmhi_check(spec, "spec", error) || !vmhi_check(path, "path", error))
        return NULL;
    lock(spec);
    value = vmhi_spec_get(spec, path, error);
    if (value)
        text = vmhi_schema_format(value);
    unlock(spec);
    return text;
}

int32_t vmh_spec_has(const vmh_spec *spec, const char *path)
{
    int32_t has;

    if (!spec || !path)
        return 0;
    lock(spec);
    has = g_tree_lookup(spec->values, path) != NULL;
    unlock(spec);
    return has;
}

/* One block: the array, then the strings it points to. */
static char **pack(char *const *strings, size_t count)
{
    size_t size = (count + 1) * sizeof(char *);
    char **packed;
    char  *next;

    for (size_t i = 0; i < count; i++)
        size += strlen(strings[i]) + 1;
    packed = g_malloc(size);
    next = (char *)(packed + count + 1);
    for (size_t i = 0; i < count; i++) {
        packed[i] = next;
        next = g_stpcpy(next, strings[i]) + 1;
    }
    packed[count] = NULL;
    return packed;
}

size_t vmh_spec_paths(const vmh_spec *spec, char ***paths)
{
    g_auto(GStrv) list = NULL;
    size_t count;

    if (spec)
        lock(spec);
    list = vmhi_spec_list(spec);
    if (spec)
        unlock(spec);
    count = g_strv_length(list);
    if (paths)
        *paths = pack(list, count);
    return count;
}

/* --- JSON --- */

char *vmh_spec_to_json(const vmh_spec *spec, uint64_t flags, vmh_error **error)
{
    char *text;

    if (!vmhi_check(spec, "spec", error) || !vmhi_check_flags(flags, VMH_JSON_PRETTY, error))
        return NULL;
    lock(spec);
    text = vmhi_spec_to_json(spec, (flags & VMH_JSON_PRETTY) != 0);
    unlock(spec);
    return text;
}

vmh_spec *vmh_spec_from_json(const char *kind, const char *text, size_t length, vmh_error **error)
{
    if (!vmhi_check(kind, "kind", error) || !vmhi_check(text, "text", error))
        return NULL;
    return vmhi_spec_from_json(kind, text, length, error);
}
