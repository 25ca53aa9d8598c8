/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a VM needs to be there when it starts, looked for without starting it: as far as that can be known. */
#include "libvirt/domain.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void lacks(vmh_error **error, int native, const char *path, const char *what, const char *value)
{
    vmhi_error_set_native(error, VMH_ERR_NOT_FOUND, VMHI_LIBVIRT, native, path, "%s: there is no %s %s", path, what,
                          value);
}

/* Another user's rights, and so what this program may not see, are unknown. */
static gboolean has_file(const char *path, const char *file, vmh_error **error)
{
    if (access(file, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR))
        return TRUE;
    lacks(error, errno, path, "file", file);
    return FALSE;
}

static gboolean has_network(virConnectPtr connection, const char *path, const char *name, vmh_error **error)
{
    virNetworkPtr network = virNetworkLookupByName(connection, name);

    if (network)
        virNetworkFree(network);
    else if (virGetLastErrorCode() == VIR_ERR_NO_NETWORK)
        lacks(error, VIR_ERR_NO_NETWORK, path, "network", name);
    else
        return TRUE; /* This host cannot be asked. */
    return network != NULL;
}

static gboolean has_filter(virConnectPtr connection, const char *path, const char *name, vmh_error **error)
{
    virNWFilterPtr filter = virNWFilterLookupByName(connection, name);

    if (filter)
        virNWFilterFree(filter);
    else if (virGetLastErrorCode() == VIR_ERR_NO_NWFILTER)
        lacks(error, VIR_ERR_NO_NWFILTER, path, "network filter", name);
    else
        return TRUE;
    return filter != NULL;
}

static gboolean has(virConnectPtr connection, const vmhi_platform *platform, const vmh_spec *spec, const char *path,
                    vmh_error **error)
{
    const vmh_property *property = vmhi_schema_lookup("vm", path);
    const char         *value = vmhi_type_is_text(property->type) ? vmhi_spec_str(spec, path) : NULL;

    if (!value || !*value)
        return TRUE;
    if (property->type == VMH_TYPE_PATH)
        return !platform->local || has_file(path, value, error);
    if (g_str_equal(property->pattern, "nic.<id>.network"))
        return has_network(connection, path, value, error);
    if (g_str_equal(property->pattern, "nic.<id>.filter"))
        return has_filter(connection, path, value, error);
    return TRUE;
}

gboolean vmhi_domain_has_needs(virConnectPtr connection, const vmhi_platform *platform, const vmh_spec *spec,
                               vmh_error **error)
{
    g_auto(GStrv) paths = vmhi_spec_list(spec);

    for (guint i = 0; paths[i]; i++)
        if (!has(connection, platform, spec, paths[i], error))
            return FALSE;
    return TRUE;
}
