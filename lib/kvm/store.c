/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMs as files: whoever opens the same directory sees the same VMs. */
#include "kvm/common.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/file.h>

#define NEW ".new" /* what takes the place of a file, until it does */

static void fail(vmh_error **error, const char *path, const char *doing)
{
    const int native = errno;

    vmhi_error_set_native(error, native == EACCES || native == EPERM ? VMH_ERR_PERMISSION : VMH_ERR_HYPERVISOR,
                          VMHI_KVM, native, NULL, "%s %s: %s", doing, path, g_strerror(native));
}

gboolean vmhi_kvm_store_open(const char *directory, vmh_error **error)
{
    static const char *const parts[] = {"names", "vms"};

    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++) {
        g_autofree char *path = g_build_filename(directory, parts[i], NULL);

        if (g_mkdir_with_parents(path, 0700) < 0) {
            fail(error, path, "cannot make the directory");
            return FALSE;
        }
    }
    return TRUE;
}

/* The descriptor, whose lock it is, or -1. */
static int wait_for_lock(int descriptor, const char *path, vmh_error **error)
{
    while (descriptor >= 0 && flock(descriptor, LOCK_EX) < 0) {
        if (errno == EINTR)
            continue;
        close(descriptor);
        descriptor = -1;
    }
    if (descriptor < 0)
        fail(error, path, "cannot lock");
    return descriptor;
}

static char *lock_path_of(const vmhi_driver_host *host)
{
    return g_build_filename(host->directory, "lock", NULL);
}

static int open_lock(const char *path)
{
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int vmhi_kvm_lock(const vmhi_driver_host *host, vmh_error **error)
{
    g_autofree char *path = lock_path_of(host);

    return wait_for_lock(open_lock(path), path, error);
}

int vmhi_kvm_lock_vm(const vmhi_driver_host *host, const char *uuid, vmh_error **error)
{
    g_autofree char *path = vmhi_kvm_path(host, uuid, NULL);
    const int        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (descriptor < 0 && errno == ENOENT) {
        vmhi_kvm_not_found(error, uuid);
        return -1;
    }
    return wait_for_lock(descriptor, path, error);
}

char *vmhi_kvm_path(const vmhi_driver_host *host, const char *uuid, const char *file)
{
    return g_build_filename(host->directory, "vms", uuid, file, NULL);
}

/* --- names --- */

/* A name has no slash and is short enough for a file's; the sign before it keeps it apart from "." and hidden files.
 */
static char *name_path(const vmhi_driver_host *host, const char *name)
{
    g_autofree char *entry = g_strconcat("=", name, NULL);

    return g_build_filename(host->directory, "names", entry, NULL);
}

char *vmhi_kvm_name_of_entry(const char *entry)
{
    return entry[0] == '=' && g_utf8_validate(entry, -1, NULL) ? g_strdup(entry + 1) : NULL;
}

char *vmhi_kvm_find_name(const vmhi_driver_host *host, const char *name)
{
    g_autofree char *path = name_path(host, name);
    char            *uuid = g_file_read_link(path, NULL);

    if (uuid && !g_uuid_string_is_valid(uuid))
        g_clear_pointer(&uuid, g_free);
    return uuid;
}

GHashTable *vmhi_kvm_names(const vmhi_driver_host *host, vmh_error **error)
{
    g_autofree char *path = g_build_filename(host->directory, "names", NULL);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    GHashTable *names;
    const char *entry;

    if (!directory) {
        fail(error, path, "cannot read");
        return NULL;
    }
    names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    while ((entry = g_dir_read_name(directory))) {
        g_autofree char *name = vmhi_kvm_name_of_entry(entry);
        char            *uuid = name ? vmhi_kvm_find_name(host, name) : NULL;

        if (uuid)
            g_hash_table_insert(names, uuid, g_steal_pointer(&name));
    }
    return names;
}

/* Its own file says so quickest; one whose file cannot be read has its name all the same. */
char *vmhi_kvm_name_of(const vmhi_driver_host *host, const char *uuid)
{
    g_autoptr(vmh_spec) spec = vmhi_kvm_read(host, uuid, VMHI_KVM_SPEC, NULL);
    const char      *name = spec ? vmhi_spec_str(spec, "name") : NULL;
    g_autofree char *found = name ? vmhi_kvm_find_name(host, name) : NULL;
    g_autoptr(GHashTable) names = NULL;

    if (name)
        return g_strcmp0(found, uuid) == 0 ? g_strdup(name) : NULL;
    names = vmhi_kvm_names(host, NULL);
    return names ? g_strdup(g_hash_table_lookup(names, uuid)) : NULL;
}

gboolean vmhi_kvm_publish(const vmhi_driver_host *host, const char *uuid, const char *name, vmh_error **error)
{
    g_autofree char *path = name_path(host, name);

    if (symlink(uuid, path) == 0)
        return TRUE;
    fail(error, path, "cannot make");
    return FALSE;
}

/* --- a VM's files --- */

gboolean vmhi_kvm_exists(const vmhi_driver_host *host, const char *uuid, const char *file)
{
    g_autofree char *path = vmhi_kvm_path(host, uuid, file);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

vmh_spec *vmhi_kvm_read(const vmhi_driver_host *host, const char *uuid, const char *file, vmh_error **error)
{
    g_autofree char *path = vmhi_kvm_path(host, uuid, file);
    g_autofree char *text = NULL;
    g_autoptr(GError) failure = NULL;
    gsize length = 0;

    if (g_file_get_contents(path, &text, &length, &failure))
        return vmhi_spec_from_json("vm", text, length, error);
    if (g_error_matches(failure, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        vmhi_kvm_not_found(error, uuid);
    else
        vmhi_error_set(error, VMH_ERR_HYPERVISOR, "%s", failure->message);
    return NULL;
}

/* The file is written when the VM runs, and until then it is what its next start uses that does. */
vmh_spec *vmhi_kvm_read_running(const vmhi_driver_host *host, const char *uuid, vmh_error **error)
{
    const char *file = vmhi_kvm_exists(host, uuid, VMHI_KVM_RUNNING) ? VMHI_KVM_RUNNING : VMHI_KVM_SPEC;

    return vmhi_kvm_read(host, uuid, file, error);
}

/* Readers see the old text or the new one. */
static gboolean replace(const char *path, const char *text, GError **failure)
{
    g_autofree char *beside = g_strconcat(path, NEW, NULL);

    if (g_file_set_contents_full(beside, text, -1, G_FILE_SET_CONTENTS_NONE, 0600, failure) &&
        g_rename(beside, path) == 0)
        return TRUE;
    if (!*failure)
        g_set_error(failure, G_FILE_ERROR, g_file_error_from_errno(errno), "cannot replace %s: %s", path,
                    g_strerror(errno));
    g_unlink(beside);
    return FALSE;
}

/* What runs, or vanishes with its end, is over when the host crashes, and need not survive that. */
static gboolean must_last(const vmhi_driver_host *host, const char *uuid, const char *file)
{
    return g_str_equal(file, VMHI_KVM_SPEC) && !vmhi_kvm_exists(host, uuid, VMHI_KVM_TRANSIENT);
}

gboolean vmhi_kvm_write(const vmhi_driver_host *host, const char *uuid, const char *file, const vmh_spec *spec,
                        vmh_error **error)
{
    g_autofree char *path = vmhi_kvm_path(host, uuid, file);
    g_autofree char *text = vmhi_spec_to_json(spec, TRUE);
    g_autoptr(GError) failure = NULL;

    if (must_last(host, uuid, file)
            ? g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &failure)
            : replace(path, text, &failure))
        return TRUE;
    vmhi_error_set(error, VMH_ERR_HYPERVISOR, "%s", failure->message);
    return FALSE;
}

void vmhi_kvm_remove(const vmhi_driver_host *host, const char *uuid, const char *name)
{
    static const char *const files[] = {VMHI_KVM_SPEC,      VMHI_KVM_SPEC NEW, VMHI_KVM_RUNNING, VMHI_KVM_RUNNING NEW,
                                        VMHI_KVM_TRANSIENT, VMHI_KVM_WORDS,    VMHI_KVM_CONTROL, VMHI_KVM_VSOCK};
    g_autofree char         *directory = vmhi_kvm_path(host, uuid, NULL);
    g_autofree char         *link = name ? name_path(host, name) : NULL;
    g_autofree char         *target = name ? vmhi_kvm_find_name(host, name) : NULL;

    /* The name's end tells others that it is gone: what takes long comes before. */
    vmhi_kvm_clear_away(host, uuid);
    if (g_strcmp0(target, uuid) == 0)
        g_unlink(link);
    for (gsize i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = vmhi_kvm_path(host, uuid, files[i]);

        g_unlink(path);
    }
    g_rmdir(directory);
}

static gboolean has_remains(const vmhi_driver_host *host, GHashTable *names, const char *uuid)
{
    return g_uuid_string_is_valid(uuid) && !g_hash_table_contains(names, uuid) && !vmhi_kvm_has_process(host, uuid);
}

void vmhi_kvm_sweep(const vmhi_driver_host *host)
{
    g_autofree char *path = g_build_filename(host->directory, "vms", NULL);
    g_autofree char *lock_path = lock_path_of(host);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    g_autoptr(GHashTable) names = NULL;
    const int   lock = open_lock(lock_path);
    const char *uuid;

    if (directory && lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0)
        names = vmhi_kvm_names(host, NULL);
    while (names && (uuid = g_dir_read_name(directory))) {
        if (has_remains(host, names, uuid))
            vmhi_kvm_remove(host, uuid, NULL);
    }
    if (lock >= 0)
        close(lock);
}

void vmhi_kvm_not_found(vmh_error **error, const char *uuid)
{
    vmhi_error_set(error, VMH_ERR_NOT_FOUND, "there is no VM %s", uuid);
}
