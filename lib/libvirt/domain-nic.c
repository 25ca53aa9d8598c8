/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of the domain table about NICs. */
#include "libvirt/domain-map.h"

#include <string.h>

/* --- what it is plugged into: one of network, bridge, tap, user --- */

static void become(xmlNode *nic, const char *type)
{
    if (vmhi_xml_has(nic, "@type", type))
        return;
    vmhi_xml_remove(vmhi_xml_child(nic, "source"));
    vmhi_xml_remove(vmhi_xml_child(nic, "target"));
    vmhi_xml_set(nic, "@type", type);
}

/* The rows of network and bridge: the type of the interface is the name of its source's attribute. */
void vmhi_read_nic_source(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    if (vmhi_xml_has(cell->base, "@type", strchr(cell->row->place, '@') + 1))
        vmhi_read_text(cell, spec);
}

gboolean vmhi_write_nic_source(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    become(cell->base, strchr(cell->row->place, '@') + 1);
    return vmhi_write_text(cell, spec, error);
}

void vmhi_read_nic_tap(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    if (vmhi_xml_has(cell->base, "@type", "ethernet"))
        vmhi_read_text(cell, spec);
}

gboolean vmhi_write_nic_tap(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    become(cell->base, "ethernet");
    vmhi_xml_set(cell->base, "target@managed", "no");
    return vmhi_write_text(cell, spec, error);
}

void vmhi_read_nic_user(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    if (vmhi_xml_has(cell->base, "@type", "user"))
        vmhi_spec_put_bool(spec, cell->path, TRUE);
}

gboolean vmhi_write_nic_user(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    gboolean user = FALSE;

    (void)error;
    vmhi_spec_bool(spec, cell->path, &user);
    if (user)
        become(cell->base, "user");
    else if (vmhi_xml_has(cell->base, "@type", "user"))
        vmhi_xml_set(cell->base, "@type", NULL); /* another property says what instead, or completing refuses */
    return TRUE;
}

/* The parameters of a filter go with it. */
gboolean vmhi_write_nic_filter(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    if (!*vmhi_spec_str(spec, cell->path))
        vmhi_xml_remove(vmhi_xml_child(cell->base, "filterref"));
    return vmhi_write_text(cell, spec, error);
}

/* libvirt calls even one of them several. */
gboolean vmhi_write_nic_queues(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    if (!vmhi_domain_is_default(spec, cell->path))
        return vmhi_write_number(cell, spec, error);
    vmhi_xml_set(cell->base, cell->row->place, NULL);
    return TRUE;
}

static gboolean check_queues(xmlNode *nic, const char *id, const vmhi_platform *platform, vmh_error **error)
{
    g_autofree char *model = vmhi_xml_get(nic, "model@type");
    const char      *why = NULL;

    if (!vmhi_domain_is(platform, "QEMU") || vmhi_xml_has(nic, "driver@queues", NULL))
        return TRUE;
    if (vmhi_xml_has(nic, "@type", "user"))
        why = "a NIC in user space has one queue";
    else if (!model || !g_str_has_prefix(model, "virtio"))
        why = "a card has several queues with the model virtio alone";
    if (why)
        vmhi_domain_refuse(error, VMH_ERR_UNSUPPORTED, &vmhi_domain_nic, id, "queues", "%s", why);
    return !why;
}

/* --- rates: an average and a burst, of which only the average can stand alone --- */

static gboolean check_direction(xmlNode *nic, const char *id, const char *direction, vmh_error **error)
{
    g_autofree char *place = g_strconcat("bandwidth/", direction, NULL);
    g_autofree char *burst = g_strconcat(direction, ".burst", NULL);
    g_autofree char *rate = g_strconcat(direction, ".rate", NULL);
    xmlNode         *node = vmhi_xml_find(nic, place);

    if (!node)
        return TRUE;
    if (vmhi_xml_has(nic, "@type", "user")) {
        vmhi_domain_refuse(error, VMH_ERR_UNSUPPORTED, &vmhi_domain_nic, id, rate,
                           "a NIC in user space has no limit");
        return FALSE;
    }
    if (vmhi_xml_has(node, "@average", NULL) && vmhi_xml_has(node, "@floor", NULL)) {
        vmhi_domain_refuse(error, VMH_ERR_VALUE, &vmhi_domain_nic, id, burst, "a burst goes with a rate: set %s too",
                           rate);
        return FALSE;
    }
    return TRUE;
}

/* --- a new one --- */

static gboolean is_nic(const xmlNode *device)
{
    return vmhi_xml_is(device, "interface");
}

static char *nic_fallback(xmlNode *nic)
{
    g_autofree char *mac = vmhi_xml_get(nic, "mac@address");
    GString         *name = g_string_new("mac-");

    if (!mac || !*mac) {
        g_string_free(name, TRUE);
        return vmhi_xml_get(nic, "target@dev");
    }
    for (const char *c = mac; *c; c++)
        if (g_ascii_isxdigit(*c))
            g_string_append_c(name, g_ascii_tolower(*c));
    return g_string_free(name, FALSE);
}

/* Made up here and not by libvirt: it must be the same in what runs and in what is kept. */
static void make_up_mac(xmlNode *nic, const vmhi_platform *platform)
{
    const char      *prefix = vmhi_domain_is(platform, "Xen") ? "00:16:3e" : "52:54:00";
    guint32          random = g_random_int();
    g_autofree char *mac =
        g_strdup_printf("%s:%02x:%02x:%02x", prefix, random & 0xff, (random >> 8) & 0xff, (random >> 16) & 0xff);

    if (!vmhi_domain_is(platform, "ESX"))
        vmhi_xml_set(nic, "mac@address", mac);
}

static void begin_nic(xmlNode *nic, const char *id, const vmhi_platform *platform, const vmh_spec *spec)
{
    (void)id;
    (void)spec;
    make_up_mac(nic, platform);
    if (vmhi_domain_is(platform, "QEMU") || vmhi_domain_is(platform, "TEST"))
        vmhi_xml_set(nic, "model@type", "virtio");
}

static gboolean complete_nic(xmlNode *nic, const char *id, const vmhi_platform *platform, const vmh_spec *spec,
                             vmh_error **error)
{
    static const char *const leaves[] = {"network", "bridge", "tap", "user"};
    int                      given = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(leaves); i++) {
        g_autofree char *path = vmhi_path("nic", id, leaves[i]);
        gboolean         user = TRUE;

        if (vmhi_domain_has(spec, path) &&
            (!g_str_equal(leaves[i], "user") || (vmhi_spec_bool(spec, path, &user) && user)))
            given++;
    }
    if (given > 1 || vmhi_xml_has(nic, "@type", NULL)) {
        vmhi_domain_refuse(error, VMH_ERR_VALUE, &vmhi_domain_nic, id, "network",
                           "give one of network, bridge, tap, user");
        return FALSE;
    }
    return check_queues(nic, id, platform, error) && check_direction(nic, id, "inbound", error) &&
           check_direction(nic, id, "outbound", error);
}

const vmhi_domain_class vmhi_domain_nic = {.name = "nic",
                                           .element = "interface",
                                           .member = is_nic,
                                           .fallback = nic_fallback,
                                           .begin = begin_nic,
                                           .complete = complete_nic};
