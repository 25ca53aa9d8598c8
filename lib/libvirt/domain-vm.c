/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of the domain table that are of the VM as a whole, but for its CPUs: names, boot, memory, labels. */
#include "libvirt/domain-map.h"

#include <string.h>

/* --- metadata.<id>: entries of our own element; an attribute keeps blanks and line ends as they are --- */

static xmlNode *metadata_entry(xmlNode *ours, const char *key)
{
    for (xmlNode *node = ours ? xmlFirstElementChild(ours) : NULL; node; node = xmlNextElementSibling(node)) {
        g_autofree char *there = vmhi_xml_get(node, "@key");

        if (g_str_equal((const char *)node->name, "entry") && g_strcmp0(there, key) == 0)
            return node;
    }
    return NULL;
}

void vmhi_read_metadata(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    xmlNode *ours = vmhi_domain_ours(cell->base->doc, FALSE);

    for (xmlNode *node = ours ? xmlFirstElementChild(ours) : NULL; node; node = xmlNextElementSibling(node)) {
        g_autofree char *key = vmhi_xml_get(node, "@key");
        g_autofree char *value = vmhi_xml_get(node, "@value");
        g_autofree char *path = key ? g_strconcat("metadata.", key, NULL) : NULL;

        if (path && value && g_str_equal((const char *)node->name, "entry"))
            vmhi_spec_put(spec, path, value);
    }
}

gboolean vmhi_write_metadata(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    const char *value = vmhi_spec_str(spec, cell->path);
    xmlNode    *ours = vmhi_domain_ours(cell->base->doc, *value != '\0');
    xmlNode    *entry = metadata_entry(ours, cell->id);

    (void)error;
    if (!*value) {
        vmhi_xml_remove(entry);
        return TRUE;
    }
    if (!entry) {
        entry = xmlNewChild(ours, ours->ns, BAD_CAST "entry", NULL);
        xmlSetProp(entry, BAD_CAST "key", BAD_CAST cell->id);
    }
    xmlSetProp(entry, BAD_CAST "value", BAD_CAST value);
    return TRUE;
}

/* --- accelerator --- */

void vmhi_read_accelerator(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    if (vmhi_xml_has(cell->base, "@type", "kvm"))
        vmhi_spec_put(spec, cell->path, "kvm");
    else if (vmhi_xml_has(cell->base, "@type", "qemu"))
        vmhi_spec_put(spec, cell->path, "tcg");
}

/* KVM runs guests of the host's own kind only; a 64-bit x86 host runs 32-bit ones as well. */
static gboolean is_native(const vmhi_platform *platform, const vmh_spec *spec)
{
    const char *arch = vmhi_spec_str(spec, "arch");

    return !arch || !*arch || g_strcmp0(arch, platform->arch) == 0 ||
           (g_strcmp0(platform->arch, "x86_64") == 0 && g_str_equal(arch, "i686"));
}

gboolean vmhi_write_accelerator(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    const vmhi_platform *platform = cell->platform;
    const char          *wanted = vmhi_spec_str(spec, cell->path);
    const char          *type = platform->domain_type;

    if (g_str_equal(wanted, "kvm") && (!platform->kvm || !is_native(platform, spec))) {
        vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, cell->path,
                                "accelerator: KVM is not to be had for this guest; use auto or tcg. %s",
                                platform->kvm ? "It is of another architecture than the host." : platform->reason);
        return FALSE;
    }
    if (g_str_equal(wanted, "kvm"))
        type = "kvm";
    else if (g_str_equal(wanted, "tcg") || !is_native(platform, spec))
        type = "qemu";
    vmhi_xml_set(cell->base, "@type", type);
    return TRUE;
}

/* --- boot --- */

void vmhi_read_firmware(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    gboolean uefi =
        vmhi_xml_has(cell->base, "os@firmware", "efi") || vmhi_xml_has(cell->base, "os/loader@type", "pflash");

    if (uefi || vmhi_xml_has(cell->base, "os/type", "hvm"))
        vmhi_spec_put(spec, cell->path, uefi ? "uefi" : "bios");
}

/* libvirt chooses the loader anew, so what it or somebody chose before has to go. */
gboolean vmhi_write_firmware(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    static const char *const chosen[] = {"firmware", "loader", "nvram"};
    gboolean                 uefi = g_strcmp0(vmhi_spec_str(spec, cell->path), "uefi") == 0;
    xmlNode                 *os = vmhi_xml_make(cell->base, "os");

    (void)error;
    for (gsize i = 0; i < G_N_ELEMENTS(chosen); i++)
        vmhi_xml_remove(vmhi_xml_child(os, chosen[i]));
    vmhi_xml_set(os, "@firmware", uefi ? "efi" : NULL);
    return TRUE;
}

typedef struct {
    guint64 order;
    char   *id;
} boot_entry;

static void boot_entry_clear(void *data)
{
    g_free(((boot_entry *)data)->id);
}

static int by_order(const void *a, const void *b)
{
    guint64 first = ((const boot_entry *)a)->order;
    guint64 second = ((const boot_entry *)b)->order;

    return first < second ? -1 : first > second;
}

void vmhi_read_boot_order(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(boot_entry));
    g_autoptr(GString) text = g_string_new(NULL);

    g_array_set_clear_func(entries, boot_entry_clear);
    for (xmlNode *node = vmhi_domain_devices(cell->base->doc); node; node = xmlNextElementSibling(node)) {
        const vmhi_domain_class *class = vmhi_domain_class_of_node(node);
        boot_entry entry;

        if (!class || !vmhi_xml_number(node, "boot@order", &entry.order))
            continue;
        entry.id = vmhi_domain_device_id(node);
        g_array_append_val(entries, entry);
    }
    g_array_sort(entries, by_order);
    for (guint i = 0; i < entries->len; i++)
        g_string_append_printf(text, "%s%s", i ? "," : "", g_array_index(entries, boot_entry, i).id);
    if (text->len)
        vmhi_spec_put(spec, cell->path, text->str);
}

static xmlNode *bootable(xmlDoc *doc, const char *id)
{
    xmlNode *disk = vmhi_domain_device(doc, "disk", id);

    return disk ? disk : vmhi_domain_device(doc, "nic", id);
}

gboolean vmhi_write_boot_order(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    g_auto(GStrv) ids = g_strsplit(vmhi_spec_str(spec, cell->path), ",", -1);
    xmlDoc  *doc = cell->base->doc;
    xmlNode *os = vmhi_xml_find(cell->base, "os");
    guint64  order;

    for (xmlNode *node = vmhi_domain_devices(doc); node; node = xmlNextElementSibling(node))
        vmhi_xml_set(node, "boot@order", NULL);
    while (vmhi_xml_child(os, "boot")) /* the other way to say it; libvirt takes only one of them */
        vmhi_xml_remove(vmhi_xml_child(os, "boot"));
    for (guint i = 0; ids[i]; i++) {
        xmlNode *device = bootable(doc, g_strstrip(ids[i]));

        if (!*ids[i])
            continue;
        if (!device || vmhi_xml_number(device, "boot@order", &order)) {
            vmhi_error_set_property(error, device ? VMH_ERR_VALUE : VMH_ERR_NOT_FOUND, cell->path,
                                    device ? "boot.order names \"%s\" twice"
                                           : "boot.order names \"%s\", and no disk or NIC is called so",
                                    ids[i]);
            return FALSE;
        }
        vmhi_xml_set_number(device, "boot@order", i + 1);
    }
    return TRUE;
}

/* --- memory and NUMA --- */

gboolean vmhi_write_memory_shared(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    gboolean shared = FALSE;

    (void)error;
    vmhi_spec_bool(spec, cell->path, &shared);
    vmhi_xml_set(cell->base, "memoryBacking/access@mode", shared ? "shared" : NULL);
    if (shared && !vmhi_xml_find(cell->base, "memoryBacking/source"))
        vmhi_xml_set(cell->base, "memoryBacking/source@type", "memfd");
    else if (!shared && vmhi_xml_has(cell->base, "memoryBacking/source@type", "memfd"))
        vmhi_xml_set(cell->base, "memoryBacking/source", NULL);
    return TRUE;
}

gboolean vmhi_write_numa(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    if (!*vmhi_spec_str(spec, cell->path)) {
        vmhi_xml_set(cell->base, "numatune/memory", NULL);
        return TRUE;
    }
    if (!vmhi_xml_find(cell->base, "numatune/memory"))
        vmhi_xml_set(cell->base, "numatune/memory@mode", "strict");
    vmhi_xml_set(cell->base, "numatune/memory@placement", NULL);
    return vmhi_write_text(cell, spec, error);
}

/* --- what belongs together --- */

static gboolean complete_memory(xmlNode *domain, const vmh_spec *spec, vmh_error **error)
{
    const char *path = vmhi_domain_has(spec, "memory.size") ? "memory.size" : "memory.max";
    guint64     size = vmhi_domain_memory(domain, "currentMemory");
    guint64     max = vmhi_domain_memory(domain, "memory");

    if (!max) {
        vmhi_xml_set_number(domain, "memory", size / 1024);
        vmhi_xml_set(domain, "memory@unit", "KiB");
    } else if (size > max) {
        g_autofree char *size_text = vmhi_schema_format(&(vmhi_value){.type = VMH_TYPE_SIZE, .u64 = size});
        g_autofree char *max_text = vmhi_schema_format(&(vmhi_value){.type = VMH_TYPE_SIZE, .u64 = max});

        vmhi_error_set_property(error, VMH_ERR_VALUE, path,
                                "%s: a memory.size of %s is more than the memory.max of %s; both can be set, "
                                "memory.max for the next start",
                                path, size_text, max_text);
        return FALSE;
    } else if (size && size < max && vmhi_xml_has(domain, "devices/memballoon@model", "none")) {
        vmhi_error_set_property(error, VMH_ERR_VALUE, path,
                                "%s: without the balloon, memory.size and memory.max must be the same", path);
        return FALSE;
    }
    return TRUE;
}

gboolean vmhi_domain_complete(xmlNode *domain, const vmh_spec *spec, vmh_error **error)
{
    if ((vmhi_domain_has(spec, "memory.size") || vmhi_domain_has(spec, "memory.max") ||
         vmhi_domain_has(spec, "balloon")) &&
        !complete_memory(domain, spec, error))
        return FALSE;
    if (vmhi_domain_has(spec, "numa.mode") && vmhi_xml_find(domain, "numatune/memory") &&
        vmhi_xml_has(domain, "numatune/memory@nodeset", NULL)) {
        vmhi_error_set_property(error, VMH_ERR_VALUE, "numa.mode",
                                "numa.mode says how numa.nodes is meant: set both");
        return FALSE;
    }
    if (vmhi_xml_find(domain, "cpu/topology") &&
        (vmhi_domain_has(spec, "cpu.max") || vmhi_domain_has(spec, "cpu.count")))
        return vmhi_domain_fit_topology(domain, spec, "cpu.max", error);
    return TRUE;
}

/* --- security.label --- */

/* The label that somebody chose; what libvirt makes up for each start is no configuration. */
static xmlNode *static_label(const xmlNode *domain)
{
    xmlNode *node = vmhi_xml_child(domain, "seclabel");

    while (node && (!vmhi_xml_has(node, "@type", "static") || vmhi_xml_has(node, "@model", "dac")))
        node = vmhi_xml_next(node, "seclabel");
    return node;
}

void vmhi_read_security_label(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    xmlNode         *node = static_label(cell->base);
    g_autofree char *label = node ? vmhi_xml_get(node, "label") : NULL;

    if (label)
        vmhi_spec_put(spec, cell->path, label);
}

gboolean vmhi_write_security_label(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    const char *label = vmhi_spec_str(spec, cell->path);
    xmlNode    *node = static_label(cell->base);

    (void)error;
    if (!*label) {
        vmhi_xml_remove(node);
        return TRUE;
    }
    if (!node) {
        node = vmhi_xml_append(cell->base, "seclabel");
        vmhi_xml_set(node, "@type", "static");
        vmhi_xml_set(node, "@model", cell->platform->security_model);
        vmhi_xml_set(node, "@relabel", "yes");
    }
    vmhi_xml_set(node, "label", label);
    return TRUE;
}
