/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Consoles: one is a serial port, which every VM has and which may go unused; all others are virtio devices. A
 * console without a type is one of a VM that was made when there was only the serial port.
 */
#include "kvm/common.h"
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *leaf(const vmh_spec *spec, const char *id, const char *name)
{
    g_autofree char *path = vmhi_path("console", id, name);

    return vmhi_spec_str(spec, path);
}

static gboolean is_of_type(const vmh_spec *spec, const char *id, const char *type)
{
    return g_strcmp0(leaf(spec, id, "type"), type) == 0;
}

/* The id of the first with this type other than that one, or NULL. The list's. */
static const char *find_type(const vmh_spec *spec, const GStrv ids, const char *type, const char *other)
{
    for (guint i = 0; ids[i]; i++) {
        if (is_of_type(spec, ids[i], type) && g_strcmp0(ids[i], other) != 0)
            return ids[i];
    }
    return NULL;
}

/* --- in a spec --- */

void vmhi_kvm_complete_consoles(vmh_spec *spec)
{
    g_auto(GStrv) ids = vmhi_spec_ids(spec, "console");

    for (guint i = 0; ids[i]; i++) {
        g_autofree char *path = vmhi_path("console", ids[i], "type");

        if (!vmhi_spec_str(spec, path))
            vmhi_spec_put(spec, path, find_type(spec, ids, "serial", NULL) ? "virtio" : "serial");
    }
}

gboolean vmhi_kvm_check_consoles(const vmh_spec *spec, vmh_error **error)
{
    g_auto(GStrv) ids = vmhi_spec_ids(spec, "console");
    const char *first = find_type(spec, ids, "serial", NULL);
    const char *second = find_type(spec, ids, "serial", first);

    if (!first || !second)
        return TRUE;
    g_autofree char *path = vmhi_path("console", second, "type");
    vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, path,
                            "%s: the built-in engine has one serial console, and that is console.%s; this one can be "
                            "virtio",
                            path, first);
    return FALSE;
}

/* --- at the start --- */

static int connect_at(const struct sockaddr_un *address)
{
    const int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int result = connection < 0 ? -1 : connect(connection, (const struct sockaddr *)address, sizeof(*address));

    vmhi_kvm_close(connection);
    return result;
}

/* Why no socket can be made there, or NULL: nothing is there, or one that nobody listens at any more. Constant. */
static const char *obstacle(const struct sockaddr_un *address)
{
    struct stat status;

    if (lstat(address->sun_path, &status) < 0)
        return NULL; /* making it tells what is wrong, if anything is */
    if (!S_ISSOCK(status.st_mode))
        return "it is there and is no socket; name a path where nothing is";
    if (connect_at(address) == 0 || errno == EAGAIN)
        return "somebody listens there";
    return errno == ECONNREFUSED ? NULL : g_strerror(errno);
}

static int refuse_socket(vmh_error **error, const char *property, const char *path, int32_t code, const char *why)
{
    vmhi_error_set_property(error, code, property, "%s: cannot make the socket %s: %s", property, path, why);
    return -1;
}

/* FALSE: it is too long. */
static gboolean address_of(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    return g_strlcpy(address->sun_path, path, sizeof(address->sun_path)) < sizeof(address->sun_path);
}

static int listen_at(vmhi_kvm_starting *starting, const char *path, const char *property, vmh_error **error)
{
    struct sockaddr_un address;
    const char        *why;
    int                listener;

    if (!address_of(path, &address))
        return refuse_socket(error, property, path, VMH_ERR_VALUE, "the path of a socket has at most 107 bytes");
    why = obstacle(&address);
    if (why)
        return refuse_socket(error, property, path, VMH_ERR_VALUE, why);
    g_unlink(path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        listen(listener, 1) == 0) {
        vmhi_kvm_made(starting, path);
        return listener;
    }
    refuse_socket(error, property, path, vmhi_kvm_file_error(errno), g_strerror(errno));
    vmhi_kvm_close(listener);
    return -1;
}

static int open_console(vmhi_kvm_starting *starting, const char *to, const char *property, uint64_t *kind,
                        vmh_error **error)
{
    int file;

    *kind = g_str_has_prefix(to, "unix:") ? WIRE_SERIAL_LISTENER : WIRE_SERIAL_FILE;
    if (*kind == WIRE_SERIAL_LISTENER)
        return listen_at(starting, to + strlen("unix:"), property, error);
    file = vmhi_kvm_open_output(starting, to + strlen("file:"));
    if (file < 0)
        vmhi_error_set_native(error, vmhi_kvm_file_error(errno), VMHI_KVM, errno, property, "%s: cannot open %s: %s",
                              property, to, g_strerror(errno));
    return file;
}

static gboolean add_console(vmhi_kvm_starting *starting, const vmh_spec *spec, const char *id, vmh_error **error)
{
    const gboolean      is_virtio = is_of_type(spec, id, "virtio");
    const char         *to = leaf(spec, id, "to");
    const gboolean      is_opened = !to || g_str_equal(to, "pty");
    g_autofree char    *path = vmhi_path("console", id, "to");
    struct wire_message message;
    uint64_t            kind = WIRE_SERIAL_FILE;
    const int           descriptor = is_opened ? -1 : open_console(starting, to, path, &kind, error);
    gboolean            done;

    if (!is_opened && descriptor < 0)
        return FALSE;
    if (is_opened && !is_virtio)
        return TRUE;
    wire_begin(&message, is_virtio ? WIRE_VIRTIO_CONSOLE : WIRE_SERIAL, 1);
    wire_put_text(&message, WIRE_T_NAME, id);
    wire_put_u64(&message, WIRE_T_KIND, kind);
    if (descriptor >= 0)
        wire_put_descriptor(&message, descriptor);
    done = vmhi_kvm_tell(starting, &message, error);
    vmhi_kvm_close(descriptor);
    return done;
}

gboolean vmhi_kvm_add_consoles(vmhi_kvm_starting *starting, const vmh_spec *spec, vmh_error **error)
{
    g_auto(GStrv) ids = vmhi_spec_ids(spec, "console");
    gboolean done = TRUE;

    for (guint i = 0; done && ids[i]; i++)
        done = add_console(starting, spec, ids[i], error);
    return done;
}

/* --- at the end --- */

void vmhi_kvm_remove_sockets(const vmhi_driver_host *host, const char *uuid)
{
    g_autoptr(vmh_spec) spec = vmhi_kvm_read(host, uuid, VMHI_KVM_RUNNING, NULL);
    g_auto(GStrv) ids = spec ? vmhi_spec_ids(spec, "console") : NULL;
    struct sockaddr_un address;

    for (guint i = 0; ids && ids[i]; i++) {
        const char *to = leaf(spec, ids[i], "to");

        if (to && g_str_has_prefix(to, "unix:") && address_of(to + strlen("unix:"), &address) && !obstacle(&address))
            g_unlink(address.sun_path);
    }
}

/* --- to whoever opens one --- */

/* The VM's consoles as they are now. */
static vmh_spec *read_spec(const vmhi_driver_host *host, const char *uuid, vmh_error **error)
{
    g_auto(vmhi_kvm_condition) now = vmhi_kvm_look_at(host, uuid);

    return vmhi_kvm_runs(&now) ? vmhi_kvm_read_running(host, uuid, error)
                               : vmhi_kvm_read(host, uuid, VMHI_KVM_SPEC, error);
}

/* The serial one comes first, then by name. NULL: the serial port that every VM has. */
static const char *first_console(const vmh_spec *spec, const GStrv ids)
{
    const char *virtio = find_type(spec, ids, "virtio", NULL);

    for (guint i = 0; ids[i]; i++) {
        if (!is_of_type(spec, ids[i], "virtio"))
            return ids[i];
    }
    return virtio;
}

int vmhi_kvm_console(vmhi_driver_host *host, const char *uuid, const char *name, uint64_t flags, vmh_error **error)
{
    g_autoptr(vmh_spec) spec = read_spec(host, uuid, error);
    g_auto(GStrv) ids = spec ? vmhi_spec_ids(spec, "console") : NULL;
    struct wire_message message;
    int                 console;

    if (!spec || !vmhi_kvm_may_change(host, error))
        return -1;
    if (name && !g_strv_contains((const char *const *)ids, name)) {
        vmhi_error_set(error, VMH_ERR_NOT_FOUND, "the VM has no console \"%s\"", name);
        return -1;
    }
    if (!name)
        name = first_console(spec, ids);
    wire_begin(&message, WIRE_CONSOLE, 1);
    wire_put_u64(&message, WIRE_T_FORCE, flags & VMH_CONSOLE_FORCE ? 1 : 0);
    if (name && is_of_type(spec, name, "virtio"))
        wire_put_text(&message, WIRE_T_NAME, name);
    if (!vmhi_kvm_ask(host, uuid, &message, error))
        return -1;
    console = wire_take_descriptor(&message);
    if (console < 0)
        vmhi_error_set(error, VMH_ERR_HYPERVISOR, "the VMM sent no console");
    wire_close_descriptors(&message);
    return console;
}
