/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How many CPUs a VM has, and how they are sockets, cores and threads. */
#include "kvm/common.h"

/* The first of them that is said: what an error is about. */
static const char *said(const vmh_spec *spec)
{
    static const char *const paths[] = {"cpu.sockets", "cpu.cores", "cpu.threads"};

    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        if (vmhi_spec_get(spec, paths[i], NULL))
            return paths[i];
    }
    return "cpu.count";
}

gboolean vmhi_kvm_topology(const vmh_spec *spec, vmhi_kvm_cpus *cpus, vmh_error **error)
{
    uint64_t sockets = 1, most;
    gboolean has_sockets, has_cores;

    *cpus = (vmhi_kvm_cpus){.count = vmhi_spec_u64_or_default(spec, "vm", "cpu.count"), .cores = 1, .threads = 1};
    if (vmhi_spec_u64(spec, "cpu.max", &most) && most != cpus->count) {
        const gboolean is_less = most < cpus->count;

        vmhi_error_set_property(error, is_less ? VMH_ERR_VALUE : VMH_ERR_UNSUPPORTED, "cpu.max", "cpu.max: %s",
                                is_less ? "it is less than cpu.count" : VMHI_KVM_NO_MORE_CPUS);
        return FALSE;
    }
    has_sockets = vmhi_spec_u64(spec, "cpu.sockets", &sockets);
    has_cores = vmhi_spec_u64(spec, "cpu.cores", &cpus->cores);
    vmhi_spec_u64(spec, "cpu.threads", &cpus->threads);
    if (!has_cores)
        cpus->cores = MAX(cpus->count / (sockets * cpus->threads), 1);
    else if (!has_sockets)
        sockets = cpus->count / (cpus->cores * cpus->threads);
    if (sockets * cpus->cores * cpus->threads == cpus->count)
        return TRUE;
    vmhi_error_set_property(error, VMH_ERR_VALUE, said(spec),
                            "%s: sockets x cores x threads must be cpu.count, which is %" G_GUINT64_FORMAT,
                            said(spec), cpus->count);
    return FALSE;
}
