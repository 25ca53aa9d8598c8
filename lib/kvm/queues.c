/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How many queues disks and NICs have, and what of a NIC contradicts itself. */
#include "kvm/common.h"

/* More than these serve no disk better. */
enum { DISK_QUEUES = 4 };

const char *const vmhi_kvm_nic_sources[] = {"tap", "bridge", "user", "fd", NULL};

uint64_t vmhi_kvm_queues(const vmh_spec *spec, const char *class_name, const char *id)
{
    g_autofree char *path = vmhi_path(class_name, id, "queues");
    uint64_t         count = 1;

    if (!vmhi_spec_u64(spec, path, &count) && *class_name == 'd')
        count = MIN(vmhi_spec_u64_or_default(spec, "vm", "cpu.count"), DISK_QUEUES);
    return count;
}

gboolean vmhi_kvm_check_queues(const vmh_spec *spec, const char *path, vmh_error **error)
{
    uint64_t count = 0;

    if (!g_str_has_suffix(path, ".queues") || !vmhi_spec_u64(spec, path, &count) || count <= WIRE_QUEUES)
        return TRUE;
    vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s: the built-in engine has at most %d queues", path,
                            WIRE_QUEUES);
    return FALSE;
}

/* A burst is of a rate, which may be lifted for a while. */
static gboolean check_burst(const vmh_spec *spec, const char *id, const char *direction, vmh_error **error)
{
    g_autofree char *rate = g_strdup_printf("nic.%s.%s.rate", id, direction);
    g_autofree char *burst = g_strdup_printf("nic.%s.%s.burst", id, direction);
    uint64_t         bytes = 0;

    if (!vmhi_spec_u64(spec, burst, &bytes) || !bytes || vmhi_spec_get(spec, rate, NULL))
        return TRUE;
    vmhi_error_set_property(error, VMH_ERR_VALUE, burst, "%s: a burst goes with a rate: set %s too", burst, rate);
    return FALSE;
}

char *vmhi_kvm_next_source(const vmh_spec *spec, const char *id, gsize *at)
{
    while (vmhi_kvm_nic_sources[*at]) {
        g_autofree char *path = vmhi_path("nic", id, vmhi_kvm_nic_sources[(*at)++]);
        gboolean         is_wanted = TRUE;

        vmhi_spec_bool(spec, path, &is_wanted);
        if (is_wanted && vmhi_spec_get(spec, path, NULL))
            return g_steal_pointer(&path);
    }
    return NULL;
}

static gboolean check_sources(const vmh_spec *spec, const char *id, vmh_error **error)
{
    gsize            at = 0;
    g_autofree char *first = vmhi_kvm_next_source(spec, id, &at);
    g_autofree char *second = vmhi_kvm_next_source(spec, id, &at);

    if (second)
        vmhi_error_set_property(error, VMH_ERR_VALUE, second,
                                "%s: a NIC is attached to one thing, and %s is given too", second, first);
    return !second;
}

static gboolean check_nic(const vmh_spec *spec, const char *id, vmh_error **error)
{
    g_autofree char *user = vmhi_path("nic", id, "user");
    g_autofree char *fd = vmhi_path("nic", id, "fd");
    g_autofree char *queues = vmhi_path("nic", id, "queues");
    const gboolean   is_given = vmhi_spec_get(spec, fd, NULL) != NULL;
    gboolean         is_user = FALSE;

    if (!check_sources(spec, id, error))
        return FALSE;
    vmhi_spec_bool(spec, user, &is_user);
    if ((!is_user && !is_given) || vmhi_kvm_queues(spec, "nic", id) == 1)
        return check_burst(spec, id, "inbound", error) && check_burst(spec, id, "outbound", error);
    if (is_given)
        vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, queues,
                                "%s: a descriptor, as %s has, is one queue; nic.<id>.tap can have several", queues,
                                fd);
    else
        vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, queues,
                                "%s: passt, which carries the packets of %s, has one queue", queues, user);
    return FALSE;
}

gboolean vmhi_kvm_check_nics(const vmh_spec *spec, vmh_error **error)
{
    g_auto(GStrv) ids = vmhi_spec_ids(spec, "nic");
    gboolean fine = TRUE;

    for (guint i = 0; fine && ids[i]; i++)
        fine = check_nic(spec, ids[i], error);
    return fine;
}
