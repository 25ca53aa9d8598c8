/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of the domain table about consoles, shares, and the devices of which a VM has one. */
#include "libvirt/domain-map.h"

#include <string.h>

/* --- console.<id> --- */

void vmhi_read_console(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    g_autofree char *type = vmhi_xml_get(cell->base, "@type");
    g_autofree char *path = vmhi_xml_get(cell->base, "source@path");
    g_autofree char *to = NULL;

    if (g_strcmp0(type, "pty") == 0)
        to = g_strdup("pty");
    else if (path && (g_strcmp0(type, "file") == 0 || g_strcmp0(type, "unix") == 0))
        to = g_strconcat(type, ":", path, NULL);
    if (to)
        vmhi_spec_put(spec, cell->path, to);
}

gboolean vmhi_write_console(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    const char *to = vmhi_spec_str(spec, cell->path);
    gboolean    file = g_str_has_prefix(to, "file:/");
    gboolean    socket = g_str_has_prefix(to, "unix:/");

    (void)error;
    vmhi_xml_remove(vmhi_xml_child(cell->base, "source"));
    vmhi_xml_set(cell->base, "@type", file ? "file" : socket ? "unix" : "pty");
    if (socket)
        vmhi_xml_set(cell->base, "source@mode", "bind");
    if (file || socket)
        vmhi_xml_set(cell->base, "source@path", strchr(to, ':') + 1);
    return TRUE;
}

/* libvirt shows the first serial port as a console too; that one is no second console. */
static gboolean is_console(const xmlNode *device)
{
    if (vmhi_xml_is(device, "serial"))
        return TRUE;
    if (!vmhi_xml_is(device, "console"))
        return FALSE;
    return !vmhi_xml_child(device->parent, "serial") || !vmhi_xml_has((xmlNode *)device, "target@type", "serial");
}

static char *console_fallback(xmlNode *console)
{
    g_autofree char *port = vmhi_xml_get(console, "target@port");

    return g_strconcat(vmhi_xml_is(console, "serial") ? "serial" : "console", port ? port : "0", NULL);
}

/* Behind those of all serial ports. */
static guint64 free_port(xmlNode *console)
{
    guint64 port = 0;

    for (xmlNode *other = vmhi_xml_child(console->parent, "serial"); other; other = vmhi_xml_next(other, "serial")) {
        guint64 taken;

        if (other != console && vmhi_xml_number(other, "target@port", &taken) && taken >= port && taken < 64)
            port = taken + 1;
    }
    return port;
}

/* Other hypervisors' consoles are neither; and libvirt's test driver stands for any. */
static const char *console_type(xmlNode *console)
{
    static const char *const types[] = {"kvm", "qemu", "test", NULL};
    g_autofree char         *type = vmhi_xml_get(xmlDocGetRootElement(console->doc), "@type");

    if (!type || !g_strv_contains(types, type))
        return NULL;
    if (vmhi_xml_is(console, "serial") || vmhi_xml_has(console, "target@type", "serial"))
        return "serial";
    return vmhi_xml_has(console, "target@type", "virtio") ? "virtio" : NULL;
}

void vmhi_read_console_type(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    const char      *type = console_type(cell->base);
    g_autofree char *to = vmhi_path("console", cell->id, "to");

    /* One that goes where we cannot say is none of ours. */
    if (type && vmhi_spec_get(spec, to, NULL))
        vmhi_spec_put(spec, cell->path, type);
}

/* One of another type is another device, which has only its name and where it goes in common. */
gboolean vmhi_write_console_type(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    const char    *type = vmhi_spec_str(spec, cell->path);
    const gboolean is_virtio = g_strcmp0(type, "virtio") == 0;

    (void)error;
    if (g_strcmp0(type, console_type(cell->base)) == 0)
        return TRUE;
    vmhi_xml_remove(vmhi_xml_child(cell->base, "address"));
    vmhi_xml_remove(vmhi_xml_child(cell->base, "target"));
    xmlNodeSetName(cell->base, BAD_CAST(is_virtio ? "console" : "serial"));
    if (is_virtio)
        vmhi_xml_set(cell->base, "target@type", "virtio");
    else
        vmhi_xml_set_number(cell->base, "target@port", free_port(cell->base));
    return TRUE;
}

static void begin_console(xmlNode *console, const char *id, const vmhi_platform *platform, const vmh_spec *spec)
{
    (void)id;
    (void)spec;
    vmhi_xml_set(console, "@type", "pty");
    if (vmhi_domain_is(platform, "Xen")) { /* whose guests may have no serial port at all */
        xmlNodeSetName(console, BAD_CAST "console");
        vmhi_xml_set(console, "target@type", "xen");
    }
    vmhi_xml_set_number(console, "target@port", free_port(console));
}

const vmhi_domain_class vmhi_domain_console = {.name = "console",
                                               .element = "serial",
                                               .member = is_console,
                                               .fallback = console_fallback,
                                               .begin = begin_console};

/* --- share.<id> --- */

static gboolean is_share(const xmlNode *device)
{
    xmlNode *node = (xmlNode *)device;

    return vmhi_xml_is(device, "filesystem") &&
           (vmhi_xml_has(node, "@type", "mount") || vmhi_xml_has(node, "@type", NULL));
}

static char *share_fallback(xmlNode *share)
{
    return vmhi_xml_get(share, "target@dir");
}

static void begin_share(xmlNode *share, const char *id, const vmhi_platform *platform, const vmh_spec *spec)
{
    (void)platform;
    (void)spec;
    vmhi_xml_set(share, "@type", "mount");
    vmhi_xml_set(share, "@accessmode", "passthrough");
    vmhi_xml_set(share, "driver@type", "virtiofs");
    vmhi_xml_set(share, "target@dir", id);
}

static gboolean complete_share(xmlNode *share, const char *id, const vmhi_platform *platform, const vmh_spec *spec,
                               vmh_error **error)
{
    xmlNode *domain = xmlDocGetRootElement(share->doc);

    (void)platform;
    (void)spec;
    if (!vmhi_xml_child(share, "source")) {
        vmhi_domain_refuse(error, VMH_ERR_VALUE, &vmhi_domain_share, id, "path", "a share needs the path");
        return FALSE;
    }
    if (vmhi_xml_has(share, "driver@type", "virtiofs") &&
        !vmhi_xml_has(domain, "memoryBacking/access@mode", "shared") && !vmhi_xml_find(domain, "cpu/numa")) {
        vmhi_domain_refuse(error, VMH_ERR_VALUE, &vmhi_domain_share, id, "path",
                           "the host's process that serves it reads the guest's memory: set memory.shared too");
        return FALSE;
    }
    return TRUE;
}

const vmhi_domain_class vmhi_domain_share = {.name = "share",
                                             .element = "filesystem",
                                             .member = is_share,
                                             .fallback = share_fallback,
                                             .begin = begin_share,
                                             .complete = complete_share};

/* --- devices of which a VM has one --- */

static void remove_all(xmlNode *domain, const char *element)
{
    xmlNode *devices = vmhi_xml_child(domain, "devices");

    while (vmhi_xml_child(devices, element))
        vmhi_xml_remove(vmhi_xml_child(devices, element));
}

static gboolean wants(const vmhi_domain_cell *cell, const vmh_spec *spec)
{
    gboolean wanted = FALSE;

    return vmhi_spec_bool(spec, cell->path, &wanted) && wanted;
}

gboolean vmhi_write_rng(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    xmlNode *rng;

    (void)error;
    if (!wants(cell, spec)) {
        remove_all(cell->base, "rng");
        return TRUE;
    }
    rng = vmhi_xml_make(cell->base, "devices/rng");
    vmhi_xml_set(rng, "@model", "virtio");
    vmhi_xml_set(rng, "backend", "/dev/urandom");
    vmhi_xml_set(rng, "backend@model", "random");
    return TRUE;
}

/* With a period, libvirt asks the guest by itself, and memory metrics are there without a question. */
gboolean vmhi_write_balloon(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    xmlNode *balloon = vmhi_xml_make(cell->base, "devices/memballoon");

    (void)error;
    vmhi_xml_remove(vmhi_xml_child(balloon, "stats"));
    vmhi_xml_remove(vmhi_xml_child(balloon, "address"));
    if (!wants(cell, spec)) {
        vmhi_xml_set(balloon, "@model", "none");
        return TRUE;
    }
    vmhi_xml_set(balloon, "@model", vmhi_domain_is(cell->platform, "Xen") ? "xen" : "virtio");
    if (vmhi_domain_is(cell->platform, "QEMU"))
        vmhi_xml_set_number(balloon, "stats@period", 5);
    return TRUE;
}

gboolean vmhi_write_watchdog(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    const char *action = vmhi_spec_str(spec, cell->path);

    (void)error;
    if (g_str_equal(action, "none")) {
        remove_all(cell->base, "watchdog");
        return TRUE;
    }
    if (!vmhi_xml_find(cell->base, "devices/watchdog"))
        vmhi_xml_set(cell->base, "devices/watchdog@model", "i6300esb");
    vmhi_xml_set(cell->base, "devices/watchdog@action", action);
    return TRUE;
}

gboolean vmhi_write_vsock(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    guint64 cid = 0;

    (void)error;
    vmhi_spec_u64(spec, cell->path, &cid);
    if (!vmhi_xml_find(cell->base, "devices/vsock"))
        vmhi_xml_set(cell->base, "devices/vsock@model", "virtio");
    vmhi_xml_set(cell->base, "devices/vsock/cid@auto", "no");
    vmhi_xml_set_number(cell->base, "devices/vsock/cid@address", cid);
    return TRUE;
}

void vmhi_read_tpm(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    xmlNode *tpm = vmhi_xml_find(cell->base, "devices/tpm");

    vmhi_spec_put_bool(spec, cell->path, tpm && vmhi_xml_has(tpm, "backend@type", "emulator"));
}

gboolean vmhi_write_tpm(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    xmlNode *tpm;

    (void)error;
    remove_all(cell->base, "tpm");
    if (!wants(cell, spec))
        return TRUE;
    tpm = vmhi_xml_make(cell->base, "devices/tpm");
    vmhi_xml_set(tpm, "@model", "tpm-crb");
    vmhi_xml_set(tpm, "backend@type", "emulator");
    vmhi_xml_set(tpm, "backend@version", "2.0");
    return TRUE;
}
