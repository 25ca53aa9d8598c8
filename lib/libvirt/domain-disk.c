/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of the domain table about disks, and the choice of bus and target for a new one. */
#include "libvirt/domain-map.h"

#include <string.h>

/* --- where the data is: one of path, volume, url --- */

/* What describes the old place must not be left beside the new one; within one type its extras stay. */
static xmlNode *source_of_type(xmlNode *disk, const char *type)
{
    if (!vmhi_xml_has(disk, "@type", type)) {
        vmhi_xml_remove(vmhi_xml_child(disk, "source"));
        vmhi_xml_set(disk, "@type", type);
    }
    vmhi_xml_remove(vmhi_xml_child(disk, "backingStore"));
    vmhi_xml_remove(vmhi_xml_child(disk, "mirror"));
    return vmhi_xml_make(disk, "source");
}

void vmhi_read_disk_path(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    g_autofree char *file = vmhi_xml_get(cell->base, "source@file");
    g_autofree char *block = vmhi_xml_get(cell->base, "source@dev");

    if (file && vmhi_xml_has(cell->base, "@type", "file"))
        vmhi_spec_put(spec, cell->path, file);
    else if (block && vmhi_xml_has(cell->base, "@type", "block"))
        vmhi_spec_put(spec, cell->path, block);
}

/* The host may be far away, so its files cannot be looked at: the name says what is a block device. */
gboolean vmhi_write_disk_path(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    const char *path = vmhi_spec_str(spec, cell->path);
    gboolean    block = g_str_has_prefix(path, "/dev/") && !g_str_has_prefix(path, "/dev/shm/");

    (void)error;
    vmhi_xml_set(source_of_type(cell->base, block ? "block" : "file"), block ? "@dev" : "@file", path);
    return TRUE;
}

void vmhi_read_disk_volume(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    g_autofree char *pool = vmhi_xml_get(cell->base, "source@pool");
    g_autofree char *volume = vmhi_xml_get(cell->base, "source@volume");
    g_autofree char *text = NULL;

    if (!pool || !volume || !vmhi_xml_has(cell->base, "@type", "volume"))
        return;
    text = g_strconcat(pool, "/", volume, NULL);
    vmhi_spec_put(spec, cell->path, text);
}

gboolean vmhi_write_disk_volume(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    g_auto(GStrv) names = g_strsplit(vmhi_spec_str(spec, cell->path), "/", 2);
    xmlNode *source = source_of_type(cell->base, "volume");

    (void)error;
    vmhi_xml_set(source, "@pool", names[0]);
    vmhi_xml_set(source, "@volume", names[1]);
    return TRUE;
}

/* --- url --- */

static const struct {
    const char *scheme;
    int         port; /* what libvirt needs to be told */
} protocols[] = {{"nbd", 10809}, {"http", 80}, {"https", 443}, {"iscsi", 3260}, {"rbd", -1}};

static int protocol_port(const char *scheme)
{
    for (gsize i = 0; i < G_N_ELEMENTS(protocols); i++)
        if (g_strcmp0(scheme, protocols[i].scheme) == 0)
            return protocols[i].port;
    return 0;
}

void vmhi_read_disk_url(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    xmlNode         *source = vmhi_xml_child(cell->base, "source");
    g_autofree char *protocol = source ? vmhi_xml_get(source, "@protocol") : NULL;
    g_autofree char *name = source ? vmhi_xml_get(source, "@name") : NULL;
    g_autofree char *query = source ? vmhi_xml_get(source, "@query") : NULL;
    g_autofree char *host = source ? vmhi_xml_get(source, "host@name") : NULL;
    g_autofree char *path = name ? g_strconcat("/", name, NULL) : NULL;
    g_autofree char *escaped = path ? g_uri_escape_string(path, "/:@!$&'()*+,;=", FALSE) : NULL;
    g_autofree char *url = NULL;
    int              standard = protocol_port(protocol);
    guint64          port = 0;

    if (!standard || !vmhi_xml_has(cell->base, "@type", "network") ||
        vmhi_xml_next(vmhi_xml_child(source, "host"), "host"))
        return;
    vmhi_xml_number(source, "host@port", &port);
    url = g_uri_join(G_URI_FLAGS_ENCODED, protocol, NULL, host ? host : "",
                     port && port <= G_MAXUINT16 && port != (guint64)standard ? (int)port : -1,
                     escaped ? escaped : "", query && *query ? query : NULL, NULL);
    vmhi_spec_put(spec, cell->path, url);
}

static gboolean refuse_url(vmh_error **error, const char *path, const char *why)
{
    vmhi_error_set_property(error, VMH_ERR_VALUE, path,
                            "%s: %s; write nbd://host:port/export, http://, https://, iscsi:// or rbd://", path, why);
    return FALSE;
}

gboolean vmhi_write_disk_url(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    g_autoptr(GUri) uri = g_uri_parse(vmhi_spec_str(spec, cell->path), G_URI_FLAGS_ENCODED_QUERY, NULL);
    const char *scheme = uri ? g_uri_get_scheme(uri) : NULL;
    const char *host = uri ? g_uri_get_host(uri) : NULL;
    const char *query = uri ? g_uri_get_query(uri) : NULL;
    int         port = protocol_port(scheme);
    const char *name;
    xmlNode    *source;

    if (!uri || !port)
        return refuse_url(error, cell->path, "not a URL of a network disk");
    if (g_uri_get_userinfo(uri))
        return refuse_url(error, cell->path, "a URL with a user or a password would be shown to everybody");
    if ((!host || !*host) && port > 0)
        return refuse_url(error, cell->path, "it names no host");
    name = g_uri_get_path(uri);
    source = source_of_type(cell->base, "network");
    vmhi_xml_remove(vmhi_xml_child(source, "host"));
    vmhi_xml_set(source, "@protocol", scheme);
    vmhi_xml_set(source, "@name", *name == '/' ? name + 1 : name);
    vmhi_xml_set(source, "@query", query && *query ? query : NULL);
    if (g_uri_get_port(uri) > 0)
        port = g_uri_get_port(uri);
    if (host && *host)
        vmhi_xml_set(source, "host@name", host);
    if (host && *host && port > 0)
        vmhi_xml_set_number(source, "host@port", (guint64)port);
    return TRUE;
}

/* --- how it is attached --- */

gboolean vmhi_write_disk_format(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    if (vmhi_domain_is(cell->platform, "QEMU") && vmhi_xml_has(cell->base, "driver@name", NULL))
        vmhi_xml_set(cell->base, "driver@name", "qemu");
    return vmhi_write_words(cell, spec, error);
}

static const struct {
    const char *bus;
    const char *prefix;
} buses[] = {{"virtio", "vd"}, {"sata", "sd"}, {"scsi", "sd"}, {"usb", "sd"}, {"ide", "hd"}, {"xen", "xvd"}};

static const char *bus_prefix(const char *bus)
{
    for (gsize i = 0; i < G_N_ELEMENTS(buses); i++)
        if (g_strcmp0(bus, buses[i].bus) == 0)
            return buses[i].prefix;
    return "vd";
}

/* A target of another bus, and an address there, do not fit any more. */
gboolean vmhi_write_disk_bus(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    const char      *bus = vmhi_spec_str(spec, cell->path);
    g_autofree char *target = vmhi_xml_get(cell->base, "target@dev");

    (void)error;
    vmhi_xml_set(cell->base, "target@bus", bus);
    vmhi_xml_remove(vmhi_xml_child(cell->base, "address"));
    if (target && !g_str_has_prefix(target, bus_prefix(bus)))
        vmhi_xml_set(cell->base, "target@dev", NULL);
    return TRUE;
}

/* --- a new one --- */

static gboolean is_disk(const xmlNode *device)
{
    return vmhi_xml_is(device, "disk") && !vmhi_xml_has((xmlNode *)device, "@device", "floppy");
}

static char *disk_fallback(xmlNode *disk)
{
    return vmhi_xml_get(disk, "target@dev");
}

static void begin_disk(xmlNode *disk, const char *id, const vmhi_platform *platform, const vmh_spec *spec)
{
    (void)id;
    (void)spec;
    vmhi_xml_set(disk, "@type", "file");
    vmhi_xml_set(disk, "@device", "disk");
    if (vmhi_domain_is(platform, "QEMU"))
        vmhi_xml_set(disk, "driver@name", "qemu");
    if (!vmhi_domain_is(platform, "ESX"))
        vmhi_xml_set(disk, "driver@type", "raw");
}

static gboolean is_target_taken(xmlNode *disk, const char *target)
{
    for (xmlNode *other = vmhi_xml_child(disk->parent, "disk"); other; other = vmhi_xml_next(other, "disk"))
        if (other != disk && vmhi_xml_has(other, "target@dev", target))
            return TRUE;
    return FALSE;
}

/* "vda", … "vdz", "vdaa", … */
static char *target_name(const char *prefix, unsigned number)
{
    char  letters[8] = "";
    gsize at = sizeof(letters) - 1;

    for (number++; number; number = (number - 1) / 26)
        letters[--at] = (char)('a' + (number - 1) % 26);
    return g_strconcat(prefix, letters + at, NULL);
}

static char *free_target(xmlNode *disk, const char *bus)
{
    for (unsigned i = 0;; i++) {
        g_autofree char *target = target_name(bus_prefix(bus), i);

        if (!is_target_taken(disk, target))
            return g_steal_pointer(&target);
    }
}

static const char *default_bus(xmlNode *disk, const vmhi_platform *platform)
{
    gboolean         cdrom = vmhi_xml_has(disk, "@device", "cdrom");
    xmlNode         *domain = xmlDocGetRootElement(disk->doc);
    g_autofree char *machine = vmhi_xml_get(domain, "os/type@machine");

    if (vmhi_domain_is(platform, "Xen"))
        return "xen";
    if (vmhi_domain_is(platform, "ESX"))
        return cdrom ? "ide" : "scsi";
    if (!cdrom)
        return "virtio";
    return machine && (g_str_equal(machine, "pc") || g_str_has_prefix(machine, "pc-i440fx")) ? "ide" : "sata";
}

static const char *bus_of_target(const char *target)
{
    static const char *const meant[] = {"virtio", "ide", "xen", "sata"};

    for (gsize i = 0; i < G_N_ELEMENTS(meant); i++)
        if (g_str_has_prefix(target, bus_prefix(meant[i])))
            return meant[i];
    return NULL;
}

static gboolean place(xmlNode *disk, const char *id, const vmhi_platform *platform, vmh_error **error)
{
    g_autofree char *bus = vmhi_xml_get(disk, "target@bus");
    g_autofree char *target = vmhi_xml_get(disk, "target@dev");

    if (!bus) {
        const char *meant = target ? bus_of_target(target) : NULL;

        bus = g_strdup(meant ? meant : default_bus(disk, platform));
        vmhi_xml_set(disk, "target@bus", bus);
    }
    if (!target) {
        target = free_target(disk, bus);
        vmhi_xml_set(disk, "target@dev", target);
    } else if (is_target_taken(disk, target)) {
        vmhi_domain_refuse(error, VMH_ERR_EXISTS, &vmhi_domain_disk, id, "target", "another disk is called %s",
                           target);
        return FALSE;
    }
    return TRUE;
}

/* Buses without a controller by themselves: SCSI as guests like it, and USB, which new VMs are made without. */
static void add_controller(xmlNode *disk, const vmhi_platform *platform)
{
    xmlNode *devices = disk->parent;
    gboolean scsi = vmhi_xml_has(disk, "target@bus", "scsi");
    xmlNode *node = vmhi_xml_child(devices, "controller");

    if (!vmhi_domain_is(platform, "QEMU") || (!scsi && !vmhi_xml_has(disk, "target@bus", "usb")))
        return;
    while (node && !vmhi_xml_has(node, "@type", scsi ? "scsi" : "usb"))
        node = vmhi_xml_next(node, "controller");
    if (node && (scsi || !vmhi_xml_has(node, "@model", "none")))
        return;
    if (!node)
        node = vmhi_xml_append(devices, "controller");
    vmhi_xml_set(node, "@type", scsi ? "scsi" : "usb");
    vmhi_xml_set(node, "@index", "0");
    vmhi_xml_set(node, "@model", scsi ? "virtio-scsi" : "qemu-xhci");
}

/* A total and its parts exclude each other; in the words of the property that the spec sets. */
static gboolean check_limits(xmlNode *disk, const char *id, vmh_error **error)
{
    static const char *const kinds[][2] = {{"iops", "iops"}, {"bandwidth", "bytes"}};

    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *total = g_strdup_printf("iotune/total_%s_sec", kinds[i][1]);
        g_autofree char *reads = g_strdup_printf("iotune/read_%s_sec", kinds[i][1]);
        g_autofree char *writes = g_strdup_printf("iotune/write_%s_sec", kinds[i][1]);
        g_autofree char *leaf = g_strconcat(kinds[i][0], ".total", NULL);
        guint64          value;

        if (vmhi_xml_number(disk, total, &value) && value &&
            ((vmhi_xml_number(disk, reads, &value) && value) || (vmhi_xml_number(disk, writes, &value) && value))) {
            vmhi_domain_refuse(error, VMH_ERR_VALUE, &vmhi_domain_disk, id, leaf,
                               "limit either the total, or reads and writes; 0 takes a limit away");
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean check_source(xmlNode *disk, const char *id, const vmh_spec *spec, vmh_error **error)
{
    static const char *const leaves[] = {"path", "volume", "url"};
    int                      given = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(leaves); i++) {
        g_autofree char *path = vmhi_path("disk", id, leaves[i]);

        given += vmhi_domain_has(spec, path);
    }
    if (given > 1) {
        vmhi_domain_refuse(error, VMH_ERR_VALUE, &vmhi_domain_disk, id, "path", "give one of path, volume, url");
        return FALSE;
    }
    if (!vmhi_xml_child(disk, "source") && !vmhi_xml_has(disk, "@device", "cdrom")) {
        vmhi_domain_refuse(error, VMH_ERR_VALUE, &vmhi_domain_disk, id, "path",
                           "a disk needs one of path, volume, url; only a CD-ROM may be empty");
        return FALSE;
    }
    return TRUE;
}

static gboolean check_bus(xmlNode *disk, const char *id, const vmhi_platform *platform, vmh_error **error)
{
    xmlNode         *domain = xmlDocGetRootElement(disk->doc);
    g_autofree char *machine = vmhi_xml_get(domain, "os/type@machine");

    if (!vmhi_domain_is(platform, "QEMU") || !vmhi_xml_has(disk, "target@bus", "ide") ||
        !vmhi_domain_has_pcie(domain))
        return TRUE;
    vmhi_domain_refuse(error, VMH_ERR_UNSUPPORTED, &vmhi_domain_disk, id, "bus",
                       "the machine %s has no IDE; use virtio, sata or scsi, or the machine pc",
                       machine ? machine : "virt");
    return FALSE;
}

static gboolean check_queues(xmlNode *disk, const char *id, const vmhi_platform *platform, vmh_error **error)
{
    if (!vmhi_domain_is(platform, "QEMU") || vmhi_xml_has(disk, "driver@queues", NULL) ||
        vmhi_xml_has(disk, "target@bus", "virtio"))
        return TRUE;
    vmhi_domain_refuse(error, VMH_ERR_UNSUPPORTED, &vmhi_domain_disk, id, "queues",
                       "a disk has queues on the bus virtio alone");
    return FALSE;
}

static gboolean complete_disk(xmlNode *disk, const char *id, const vmhi_platform *platform, const vmh_spec *spec,
                              vmh_error **error)
{
    if (!check_source(disk, id, spec, error) || !check_limits(disk, id, error) || !place(disk, id, platform, error) ||
        !check_bus(disk, id, platform, error) || !check_queues(disk, id, platform, error))
        return FALSE;
    add_controller(disk, platform);
    if (vmhi_xml_has(disk, "@device", "cdrom"))
        vmhi_xml_make(disk, "readonly");
    return TRUE;
}

const vmhi_domain_class vmhi_domain_disk = {.name = "disk",
                                            .element = "disk",
                                            .member = is_disk,
                                            .fallback = disk_fallback,
                                            .begin = begin_disk,
                                            .complete = complete_disk};
