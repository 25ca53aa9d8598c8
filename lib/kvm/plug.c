/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices that come and go while the VM runs, each with its way back. */
#include "kvm/update.h"
#include <string.h>

enum { BACK_US = 5 * G_USEC_PER_SEC };

static const char *const classes[] = {"disk", "nic"};

/* What a device is attached to makes it complete. */
static gboolean is_source(const char *path, const char *prefix)
{
    const char *leaf = path + strlen(prefix);

    return g_str_has_prefix(path, prefix) &&
           (g_str_equal(leaf, "path") || g_strv_contains(vmhi_kvm_nic_sources, leaf));
}

/* --- devices within a spec --- */

char *vmhi_kvm_device_of(const char *path)
{
    const vmh_property *property = vmhi_schema_lookup("vm", path);
    const char         *id = strchr(path, '.');

    if (!property || !strstr(property->pattern, ".<id>."))
        return NULL;
    return g_strndup(path, (gsize)(strchr(id + 1, '.') + 1 - path));
}

gboolean vmhi_kvm_has_device(const vmh_spec *spec, const char *prefix)
{
    g_auto(GStrv) paths = spec ? vmhi_spec_list(spec) : NULL;
    gboolean found = FALSE;

    for (guint i = 0; paths && paths[i]; i++)
        found = found || g_str_has_prefix(paths[i], prefix);
    return found;
}

void vmhi_kvm_remove_device(vmh_spec *spec, const char *prefix)
{
    g_auto(GStrv) paths = vmhi_spec_list(spec);

    for (guint i = 0; paths[i]; i++) {
        if (g_str_has_prefix(paths[i], prefix))
            vmhi_spec_unset(spec, paths[i], NULL);
    }
}

const char *vmhi_kvm_why_not_plugged(const vmh_spec *spec, const char *prefix)
{
    g_auto(GStrv) paths = vmhi_spec_list(spec);
    gboolean is_pluggable = FALSE, has_source = FALSE;

    for (gsize i = 0; i < G_N_ELEMENTS(classes); i++)
        is_pluggable = is_pluggable || (g_str_has_prefix(prefix, classes[i]) && prefix[strlen(classes[i])] == '.');
    if (!is_pluggable)
        return "such a device is not plugged in or out while the VM runs";
    for (guint i = 0; paths[i]; i++)
        has_source = has_source || is_source(paths[i], prefix);
    return has_source ? NULL : "the VM that runs has no such device, and what it is attached to is not given";
}

void vmhi_kvm_inherit_device(vmh_spec *spec, const vmh_spec *other, const char *prefix)
{
    g_auto(GStrv) paths = vmhi_spec_list(other);

    for (guint i = 0; paths[i]; i++) {
        if (g_str_has_prefix(paths[i], prefix) && !is_source(paths[i], prefix) &&
            !vmhi_spec_get(spec, paths[i], NULL))
            vmhi_spec_set_value(spec, paths[i], vmhi_spec_get(other, paths[i], NULL), NULL);
    }
}

void vmhi_kvm_drop_other_sources(vmh_spec *spec, const vmh_spec *update, const char *path)
{
    g_autofree char *prefix = vmhi_kvm_device_of(path);
    g_auto(GStrv) paths = vmhi_spec_list(spec);
    gboolean is_wanted = TRUE;

    vmhi_spec_bool(update, path, &is_wanted);
    for (guint i = 0; prefix && is_wanted && is_source(path, prefix) && paths[i]; i++) {
        if (is_source(paths[i], prefix) && !vmhi_spec_get(update, paths[i], NULL))
            vmhi_spec_unset(spec, paths[i], NULL);
    }
}

void vmhi_kvm_drop_absent(vmh_spec *spec, const char *devices)
{
    g_auto(GStrv) names = g_strsplit(devices, "\n", 0);

    for (gsize i = 0; i < G_N_ELEMENTS(classes); i++) {
        g_auto(GStrv) ids = vmhi_spec_ids(spec, classes[i]);

        for (guint j = 0; ids[j]; j++) {
            g_autofree char *name = g_strdup_printf("%s.%s", classes[i], ids[j]);
            g_autofree char *prefix = g_strconcat(name, ".", NULL);

            if (!g_strv_contains((const char *const *)names, name))
                vmhi_kvm_remove_device(spec, prefix);
        }
    }
}

/* The names of the devices that the first has and the second has not. */
static GPtrArray *only_in(const vmh_spec *first, const vmh_spec *second)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

    for (gsize i = 0; i < G_N_ELEMENTS(classes); i++) {
        g_auto(GStrv) ids = vmhi_spec_ids(first, classes[i]);

        for (guint j = 0; ids[j]; j++) {
            g_autofree char *prefix = g_strdup_printf("%s.%s.", classes[i], ids[j]);

            if (!vmhi_kvm_has_device(second, prefix))
                g_ptr_array_add(names, g_strndup(prefix, strlen(prefix) - 1));
        }
    }
    return names;
}

/* --- asking the VMM --- */

/* From here on it sends events, which wake whoever waits. */
static gboolean watch(vmhi_kvm_change *c, vmh_error **error)
{
    struct wire_message message;

    c->connection = vmhi_kvm_connect(c->host, c->uuid, VMHI_KVM_PATIENCE_S);
    if (c->connection < 0) {
        vmhi_kvm_wrong_state(c->host, c->uuid, error);
        return FALSE;
    }
    wire_begin(&message, WIRE_WATCH, 1);
    if (!vmhi_kvm_request(c->connection, &message, error))
        return FALSE;
    wire_close_descriptors(&message);
    return TRUE;
}

/* One that is not there any more is no error. */
static gboolean ask_for(const vmhi_kvm_change *c, const char *name, gboolean at_once, vmh_error **error)
{
    struct wire_message message;
    g_autoptr(vmh_error) failure = NULL;

    wire_begin(&message, WIRE_UNPLUG, 1);
    wire_put_text(&message, WIRE_T_NAME, name);
    wire_put_u64(&message, WIRE_T_FORCE, at_once ? 1 : 0);
    if (vmhi_kvm_request(c->connection, &message, &failure) || vmh_error_code(failure) == VMH_ERR_NOT_FOUND)
        return TRUE;
    vmhi_error_move(error, g_steal_pointer(&failure));
    return FALSE;
}

/* Moves those that are gone to `gone`. */
static gboolean find_gone(const vmhi_kvm_change *c, GPtrArray *names, GPtrArray *gone, vmh_error **error)
{
    struct wire_message message;
    g_auto(GStrv) there = NULL;
    const char *devices;

    wire_begin(&message, WIRE_LOOK, 1);
    if (!vmhi_kvm_request(c->connection, &message, error))
        return FALSE;
    devices = wire_text(&message, WIRE_T_DEVICES);
    there = g_strsplit(devices ? devices : "", "\n", 0);
    for (guint i = names->len; i-- > 0;) {
        if (!g_strv_contains((const char *const *)there, names->pdata[i]))
            g_ptr_array_add(gone, g_ptr_array_steal_index(names, i));
    }
    return TRUE;
}

/* Until the VMM has something to say, or the job is to end. */
static void wait_a_while(const vmhi_kvm_change *c, gint64 until, GCancellable *cancellable)
{
    GPollFD        fds[2] = {{.fd = c->connection, .events = G_IO_IN}};
    const gboolean watched = cancellable && g_cancellable_make_pollfd(cancellable, &fds[1]);
    const gint64   left_ms = (until - g_get_monotonic_time()) / 1000 + 1;

    g_poll(fds, watched ? 2 : 1, (gint)MAX(left_ms, 0));
    if (watched)
        g_cancellable_release_fd(cancellable);
}

static gboolean wait_unlocked(const vmhi_kvm_change *c, GPtrArray *names, GPtrArray *gone, gint64 until,
                              GCancellable *cancellable, vmh_error **error)
{
    while (find_gone(c, names, gone, error)) {
        const char      *name = names->len ? names->pdata[0] : NULL;
        g_autofree char *path = g_strconcat(name ? name : "", ".present", NULL);

        if (!name)
            return TRUE;
        if (cancellable && g_cancellable_is_cancelled(cancellable)) {
            vmhi_error_set_property(error, VMH_ERR_CANCELLED, path,
                                    "cancelled while the guest was asked to let go of %s; it may still do so", name);
            return FALSE;
        }
        if (g_get_monotonic_time() > until) {
            vmhi_error_set_property(error, VMH_ERR_BUSY, path,
                                    "%s: the guest was asked and has not let go of it; it may do so later, and does "
                                    "not without a running system",
                                    name);
            return FALSE;
        }
        wait_a_while(c, until, cancellable);
    }
    return FALSE;
}

/* Others may start, stop and change their VMs while a guest takes its time. */
static gboolean wait_until_gone(vmhi_kvm_change *c, GPtrArray *names, GPtrArray *gone, gint64 patience_us,
                                GCancellable *cancellable, vmh_error **error)
{
    gboolean done;

    close(c->lock);
    done = wait_unlocked(c, names, gone, g_get_monotonic_time() + patience_us, cancellable, error);
    c->lock = vmhi_kvm_lock(c->host, done ? error : NULL);
    return done && c->lock >= 0;
}

/* --- coming and going --- */

static gboolean detach(vmhi_kvm_change *c, GPtrArray *names, vmh_error **error)
{
    for (guint i = 0; i < names->len; i++) {
        if (!ask_for(c, names->pdata[i], FALSE, error))
            return FALSE;
    }
    if (!names->len)
        return TRUE;
    vmhi_task_can_cancel(c->task, TRUE);
    return wait_until_gone(c, names, c->detached, vmhi_kvm_patience(c->host), vmhi_task_cancellable(c->task), error);
}

static gboolean attach(vmhi_kvm_change *c, GPtrArray *names, vmh_error **error)
{
    for (guint i = 0; i < names->len; i++) {
        if (!vmhi_kvm_add_device(c->host, c->connection, c->running_then, names->pdata[i], error))
            return FALSE;
        g_ptr_array_add(c->attached, g_strdup(names->pdata[i]));
    }
    return TRUE;
}

gboolean vmhi_kvm_plug(vmhi_kvm_change *c, vmh_error **error)
{
    g_autoptr(GPtrArray) gone = only_in(c->running, c->running_then);
    g_autoptr(GPtrArray) added = only_in(c->running_then, c->running);

    c->detached = g_ptr_array_new_with_free_func(g_free);
    c->attached = g_ptr_array_new_with_free_func(g_free);
    if (!gone->len && !added->len)
        return TRUE;
    /* One that goes makes room for one that comes. */
    return watch(c, error) && detach(c, gone, error) && attach(c, added, error);
}

/* A guest that has not looked at them yet does not miss them. */
static void detach_again(vmhi_kvm_change *c, GPtrArray *left)
{
    g_autoptr(GPtrArray) gone = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < c->attached->len; i++)
        ask_for(c, c->attached->pdata[i], TRUE, NULL);
    if (c->attached->len)
        wait_until_gone(c, c->attached, gone, BACK_US, NULL, NULL);
    for (guint i = 0; i < c->attached->len; i++)
        g_ptr_array_add(left, g_strdup(c->attached->pdata[i]));
}

void vmhi_kvm_plug_back(vmhi_kvm_change *c, GPtrArray *left)
{
    if (c->connection < 0)
        return;
    detach_again(c, left);
    for (guint i = 0; i < c->detached->len; i++) {
        if (!vmhi_kvm_add_device(c->host, c->connection, c->running, c->detached->pdata[i], NULL))
            g_ptr_array_add(left, g_strdup(c->detached->pdata[i]));
    }
}

void vmhi_kvm_plug_clear(vmhi_kvm_change *c)
{
    if (c->connection >= 0)
        close(c->connection);
    g_clear_pointer(&c->detached, g_ptr_array_unref);
    g_clear_pointer(&c->attached, g_ptr_array_unref);
}
