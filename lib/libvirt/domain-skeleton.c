/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a new VM starts from: the least that a guest of today needs, and nothing that a server does not use. */
#include "libvirt/domain-map.h"

#include <string.h>

enum { SPARE_PORTS = 12 }; /* places for devices that are plugged in later; libvirt adds none by itself */

static gboolean is_x86(const char *arch)
{
    return g_strcmp0(arch, "x86_64") == 0 || g_strcmp0(arch, "i686") == 0;
}

gboolean vmhi_domain_has_pcie(xmlNode *domain)
{
    g_autofree char *arch = vmhi_xml_get(domain, "os/type@arch");
    g_autofree char *machine = vmhi_xml_get(domain, "os/type@machine");

    return (is_x86(arch) && machine && strstr(machine, "q35")) ||
           (g_strcmp0(arch, "aarch64") == 0 && (!machine || g_str_has_prefix(machine, "virt")));
}

static void add_controller(xmlNode *devices, const char *type, const char *model)
{
    xmlNode *controller = vmhi_xml_append(devices, "controller");

    vmhi_xml_set(controller, "@type", type);
    vmhi_xml_set(controller, "@model", model);
}

static void fill_qemu(xmlNode *domain, const vmhi_platform *platform, const vmh_spec *spec, const char *arch)
{
    const char *machine = vmhi_spec_str(spec, "machine");
    xmlNode    *devices = vmhi_xml_make(domain, "devices");

    if (!machine && g_strcmp0(arch, platform->arch) == 0)
        machine = platform->machine;
    vmhi_xml_set(domain, "os/type@machine", machine);
    if (is_x86(arch)) {
        vmhi_xml_make(domain, "features/acpi");
        vmhi_xml_make(domain, "features/apic");
    }
    add_controller(devices, "usb", "none");
    if (vmhi_domain_has_pcie(domain)) {
        add_controller(devices, "pci", "pcie-root");
        for (int i = 0; i < SPARE_PORTS; i++)
            add_controller(devices, "pci", "pcie-root-port");
    }
}

/* Devices that a VM has unless the spec says no; those that the host lacks, it does without. */
static void add_defaults(xmlNode *domain, const vmhi_platform *platform)
{
    g_autoptr(vmh_spec) defaults = vmhi_spec_new("vm", NULL);

    vmhi_spec_put_bool(defaults, "rng", vmhi_spec_bool_or_default(NULL, "vm", "rng"));
    vmhi_spec_put_bool(defaults, "balloon", vmhi_spec_bool_or_default(NULL, "vm", "balloon"));
    if (vmhi_domain_supports(platform, "rng", NULL))
        vmhi_write_rng(&(vmhi_domain_cell){.base = domain, .path = "rng", .platform = platform}, defaults, NULL);
    if (vmhi_domain_supports(platform, "balloon", NULL))
        vmhi_write_balloon(&(vmhi_domain_cell){.base = domain, .path = "balloon", .platform = platform}, defaults,
                           NULL);
}

static gboolean fill_cpus(xmlNode *domain, const vmh_spec *spec, vmh_error **error)
{
    return vmhi_write_cpu_count(&(vmhi_domain_cell){.base = domain, .path = "cpu.count"}, spec, error);
}

xmlDoc *vmhi_domain_skeleton(const vmhi_platform *platform, const vmh_spec *spec, vmh_error **error)
{
    g_autoptr(xmlDoc) doc = xmlNewDoc(BAD_CAST "1.0");
    xmlNode    *domain = xmlNewDocNode(doc, NULL, BAD_CAST "domain", NULL);
    const char *arch = vmhi_spec_str(spec, "arch");
    gboolean    xen = vmhi_domain_is(platform, "Xen");
    const char *kernel = vmhi_spec_str(spec, "boot.kernel");

    xmlDocSetRootElement(doc, domain);
    if (!arch || !*arch)
        arch = platform->arch;
    vmhi_xml_set(domain, "@type", platform->domain_type);
    vmhi_xml_set(domain, "os/type", xen && kernel && *kernel ? "xenpvh" : "hvm");
    vmhi_xml_set(domain, "os/type@arch", arch);
    if (!fill_cpus(domain, spec, error))
        return NULL;
    vmhi_xml_set(domain, "clock@offset", "utc");
    vmhi_xml_set(domain, "on_poweroff", "destroy");
    vmhi_xml_set(domain, "on_reboot", "restart");
    vmhi_xml_set(domain, "on_crash", "destroy");
    vmhi_xml_make(domain, "devices");
    if (vmhi_domain_is(platform, "QEMU"))
        fill_qemu(domain, platform, spec, arch);
    add_defaults(domain, platform);
    return g_steal_pointer(&doc);
}
