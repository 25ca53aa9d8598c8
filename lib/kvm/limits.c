/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rates that disks and NICs are limited to, all of a device in one message. */
#include "kvm/update.h"
#include <string.h>

static const struct {
    const char *class_name;
    const char *leaf;
    unsigned    index; /* WIRE_LIMIT_… */
} limits[] = {
    {"disk", "iops.total", WIRE_LIMIT_OPS},
    {"disk", "iops.read", WIRE_LIMIT_OPS_READ},
    {"disk", "iops.write", WIRE_LIMIT_OPS_WRITE},
    {"disk", "bandwidth.total", WIRE_LIMIT_BYTES},
    {"disk", "bandwidth.read", WIRE_LIMIT_BYTES_READ},
    {"disk", "bandwidth.write", WIRE_LIMIT_BYTES_WRITE},
    {"nic", "inbound.rate", WIRE_LIMIT_INBOUND},
    {"nic", "inbound.burst", WIRE_LIMIT_INBOUND_BURST},
    {"nic", "outbound.rate", WIRE_LIMIT_OUTBOUND},
    {"nic", "outbound.burst", WIRE_LIMIT_OUTBOUND_BURST},
};

static gboolean is_of(const char *path, const char *class_name, const char *id)
{
    for (gsize i = 0; i < G_N_ELEMENTS(limits); i++) {
        g_autofree char *limit = vmhi_path(class_name, id, limits[i].leaf);

        if (g_str_equal(limits[i].class_name, class_name) && g_str_equal(limit, path))
            return TRUE;
    }
    return FALSE;
}

gboolean vmhi_kvm_is_limit(const char *path)
{
    const vmh_property *property = vmhi_schema_lookup("vm", path);

    return property && (is_of(property->pattern, "disk", "<id>") || is_of(property->pattern, "nic", "<id>"));
}

void vmhi_kvm_put_limits(struct wire_message *message, const vmh_spec *spec, const char *class_name, const char *id)
{
    uint64_t values[WIRE_LIMITS] = {0};

    for (gsize i = 0; i < G_N_ELEMENTS(limits); i++) {
        g_autofree char *path = vmhi_path(class_name, id, limits[i].leaf);

        if (g_str_equal(limits[i].class_name, class_name))
            vmhi_spec_u64(spec, path, &values[limits[i].index]);
    }
    wire_put(message, WIRE_T_LIMITS, values, sizeof(values));
}

/* --- of what runs --- */

static gboolean concerns(const vmhi_kvm_change *c, const char *class_name, const char *id)
{
    for (guint i = 0; c->paths[i]; i++) {
        if (is_of(c->paths[i], class_name, id))
            return TRUE;
    }
    return FALSE;
}

/* One that comes brings its limits along, and one that goes has none any more. */
static gboolean stays(const vmhi_kvm_change *c, const char *class_name, const char *id)
{
    g_autofree char *prefix = g_strdup_printf("%s.%s.", class_name, id);

    return vmhi_kvm_has_device(c->running, prefix) && vmhi_kvm_has_device(c->running_then, prefix);
}

static gboolean limit(const vmhi_kvm_change *c, const vmh_spec *as, const char *class_name, const char *id,
                      vmh_error **error)
{
    struct wire_message message;
    g_autofree char    *name = g_strdup_printf("%s.%s", class_name, id);

    wire_begin(&message, WIRE_LIMIT, 1);
    wire_put_text(&message, WIRE_T_NAME, name);
    vmhi_kvm_put_limits(&message, as, class_name, id);
    return vmhi_kvm_ask(c->host, c->uuid, &message, error);
}

gboolean vmhi_kvm_tell_limits(const vmhi_kvm_change *c, const vmh_spec *as, vmh_error **error)
{
    static const char *const classes[] = {"disk", "nic"};

    for (gsize i = 0; i < G_N_ELEMENTS(classes); i++) {
        g_auto(GStrv) ids = vmhi_spec_ids(as, classes[i]);

        for (guint j = 0; ids[j]; j++) {
            if (concerns(c, classes[i], ids[j]) && stays(c, classes[i], ids[j]) &&
                !limit(c, as, classes[i], ids[j], error))
                return FALSE;
        }
    }
    return TRUE;
}
