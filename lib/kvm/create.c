/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Creating a VM, all or nothing: others see it when it is complete. */
#include "kvm/common.h"
#include <glib/gstdio.h>

static gboolean check_required(const vmh_spec *spec, vmh_error **error)
{
    static const struct {
        const char *property;
        const char *why;
    } required[] = {
        {"name", "a new VM needs a name"},
        {"memory.size", "a new VM needs the property memory.size"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(required); i++) {
        if (vmhi_spec_get(spec, required[i].property, NULL))
            continue;
        vmhi_error_set_property(error, VMH_ERR_VALUE, required[i].property, "%s", required[i].why);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_free(const vmhi_driver_host *host, const vmh_spec *spec, vmh_error **error)
{
    const char      *name = vmhi_spec_str(spec, "name");
    const char      *uuid = vmhi_spec_str(spec, "uuid");
    g_autofree char *other = vmhi_kvm_find_name(host, name);

    if (other)
        vmhi_error_set_property(error, VMH_ERR_EXISTS, "name", "creating VM \"%s\": the host has a VM of this name",
                                name);
    else if (uuid && vmhi_kvm_exists(host, uuid, NULL))
        vmhi_error_set_property(error, VMH_ERR_EXISTS, "uuid", "creating VM \"%s\": the host has a VM of this UUID",
                                name);
    else
        return TRUE;
    return FALSE;
}

static gboolean mark_transient(const vmhi_driver_host *host, const char *uuid, vmh_error **error)
{
    g_autofree char *path = vmhi_kvm_path(host, uuid, VMHI_KVM_TRANSIENT);
    g_autoptr(GError) failure = NULL;

    if (g_file_set_contents_full(path, "", 0, G_FILE_SET_CONTENTS_NONE, 0600, &failure))
        return TRUE;
    vmhi_error_set(error, VMH_ERR_HYPERVISOR, "%s", failure->message);
    return FALSE;
}

static gboolean write_files(const vmhi_driver_host *host, const vmh_spec *spec, const char *uuid, uint64_t flags,
                            vmh_error **error)
{
    return (!(flags & VMH_CREATE_TRANSIENT) || mark_transient(host, uuid, error)) &&
           vmhi_kvm_write(host, uuid, VMHI_KVM_SPEC, spec, error);
}

/* Its files are written while its process begins, and it is found when it runs. */
static gboolean write_and_start(const vmhi_driver_host *host, const vmh_spec *spec, const char *uuid, uint64_t flags,
                                vmh_error **error)
{
    vmhi_kvm_starting *starting = vmhi_kvm_start_begin(host, uuid, error);
    const gboolean     done = starting && write_files(host, spec, uuid, flags, error) &&
                          vmhi_kvm_start_boot(starting, spec, (flags & VMH_CREATE_PAUSED) != 0, error) &&
                          vmhi_kvm_publish(host, uuid, vmhi_spec_str(spec, "name"), error);

    if (starting)
        vmhi_kvm_start_end(starting, done);
    return done;
}

static gboolean write_only(const vmhi_driver_host *host, const vmh_spec *spec, const char *uuid, uint64_t flags,
                           vmh_error **error)
{
    return write_files(host, spec, uuid, flags, error) &&
           vmhi_kvm_publish(host, uuid, vmhi_spec_str(spec, "name"), error);
}

static gboolean make(const vmhi_driver_host *host, const vmh_spec *spec, const char *uuid, uint64_t flags,
                     vmh_error **error)
{
    g_autofree char *directory = vmhi_kvm_path(host, uuid, NULL);

    if (g_mkdir(directory, 0700) < 0) {
        vmhi_error_set_native(error, VMH_ERR_HYPERVISOR, VMHI_KVM, errno, NULL, "cannot make %s: %s", directory,
                              g_strerror(errno));
        return FALSE;
    }
    if (((flags & VMH_CREATE_START) ? write_and_start : write_only)(host, spec, uuid, flags, error))
        return TRUE;
    vmhi_kvm_remove(host, uuid, NULL);
    return FALSE;
}

char *vmhi_kvm_create(vmhi_driver_host *host, const vmh_spec *spec, uint64_t flags, vmhi_task *task,
                      vmh_error **error)
{
    g_autoptr(vmh_spec) complete = vmhi_spec_copy(spec);
    char    *uuid = g_strdup(vmhi_spec_str(spec, "uuid"));
    gboolean done = FALSE;
    int      lock;

    (void)task; /* It is over in milliseconds. */
    if (!uuid)
        uuid = g_uuid_string_random();
    vmhi_spec_strip_readonly(complete);
    vmhi_spec_put(complete, "uuid", uuid);
    vmhi_kvm_complete(complete);
    lock = vmhi_kvm_may_change(host, error) ? vmhi_kvm_lock(host, error) : -1;
    if (lock >= 0) {
        done = check_required(spec, error) && vmhi_kvm_check_supported(host, complete, error) &&
               vmhi_kvm_check_whole(complete, error) &&
               vmhi_kvm_check_lasting(complete, (flags & VMH_CREATE_TRANSIENT) != 0, error) &&
               check_free(host, spec, error) &&
               ((flags & VMH_CREATE_VALIDATE_ONLY) ? vmhi_kvm_check_files(complete, error)
                                                   : make(host, complete, uuid, flags, error));
        close(lock);
    }
    if (done && !(flags & VMH_CREATE_VALIDATE_ONLY))
        vmhi_kvm_watch_settle(host->watch, uuid);
    if (done && (flags & VMH_CREATE_VALIDATE_ONLY))
        uuid[0] = '\0';
    if (!done)
        g_clear_pointer(&uuid, g_free);
    return uuid;
}
