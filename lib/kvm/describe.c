/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a VM is, and changing it. */
#include "kvm/common.h"
#include <string.h>

uint64_t vmhi_kvm_generation(const vmhi_driver_host *host, const char *uuid)
{
    g_autofree char *path = vmhi_kvm_path(host, uuid, VMHI_KVM_SPEC);
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autofree char *text = NULL;
    gsize            length = 0;
    guint8           digest[32];
    gsize            size = sizeof(digest);
    uint64_t         generation;

    if (g_file_get_contents(path, &text, &length, NULL))
        g_checksum_update(sum, (const guchar *)text, (gssize)length);
    g_checksum_get_digest(sum, digest, &size);
    memcpy(&generation, digest, sizeof(generation));
    return generation ? generation : 1;
}

vmh_spec *vmhi_kvm_describe_vm(vmhi_driver_host *host, const char *uuid, uint64_t flags, vmh_error **error)
{
    g_auto(vmhi_kvm_condition) now = vmhi_kvm_look_at(host, uuid);
    const gboolean runs = vmhi_kvm_runs(&now);
    const gboolean persistent = !vmhi_kvm_exists(host, uuid, VMHI_KVM_TRANSIENT);
    const gboolean kept = !runs || (flags & VMH_DESCRIBE_PERSISTENT);
    vmh_spec      *spec = NULL;

    if (kept && !persistent && vmhi_kvm_exists(host, uuid, NULL))
        vmhi_error_set(error, VMH_ERR_STATE, "the VM vanishes when it stops: nothing is kept for a next start");
    else
        spec = kept ? vmhi_kvm_read(host, uuid, VMHI_KVM_SPEC, error) : vmhi_kvm_read_running(host, uuid, error);
    if (!spec)
        return NULL;
    if (!kept && now.devices)
        vmhi_kvm_drop_absent(spec, now.devices);
    vmhi_spec_put(spec, "state", vmh_vm_state_name(now.state));
    vmhi_spec_put(spec, "accelerator", "kvm");
    vmhi_spec_put(spec, "arch", "x86_64");
    vmhi_spec_put_u64(spec, "generation", vmhi_kvm_generation(host, uuid));
    vmhi_spec_put_bool(spec, "persistent", persistent);
    if (now.sandbox && !kept) {
        const gboolean   limited = vmhi_kvm_exists(host, uuid, VMHI_KVM_GROUPS);
        g_autofree char *sandbox = g_strconcat(now.sandbox, limited ? ",cgroup" : "", NULL);

        vmhi_spec_put(spec, "security.sandbox", sandbox);
    }
    return spec;
}
