/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a libvirt host is: its type, architecture, accelerator, and the devices it offers. */
#include "libvirt/domain.h"
#include "libvirt/xpath.h"
#include <string.h>
#include <unistd.h>

static gboolean is_x86(const char *arch)
{
    return strcmp(arch, "x86_64") == 0 || strcmp(arch, "i686") == 0;
}

static gboolean is_qemu(const vmhi_platform *platform)
{
    return g_ascii_strcasecmp(platform->type, "QEMU") == 0;
}

/* The URI's path tells whether the daemon is a user's own. */
static gboolean is_session(virConnectPtr connection)
{
    g_autofree char *uri = virConnectGetURI(connection);
    size_t           path = uri ? strcspn(uri, "?#") : 0;

    return path >= strlen("/session") &&
           strncmp(uri + path - strlen("/session"), "/session", strlen("/session")) == 0;
}

/*
 * The capabilities name a CPU model and what the host has beyond it. EPYC and its like have svm within the
 * model, so the model is expanded; where libvirt cannot, what is listed must do.
 */
static gboolean cpu_virtualizes(virConnectPtr connection, xmlDoc *capabilities)
{
    static const char *const query = "//feature[@name='vmx' or @name='svm']";
    g_autofree char         *cpu = vmhi_xpath_xml(capabilities, "/capabilities/host/cpu");
    const char              *cpus[] = {cpu};
    g_autofree char         *expanded = NULL;
    g_autoptr(xmlDoc) doc = NULL;

    if (vmhi_xpath_has(capabilities, "/capabilities/host/cpu/feature[@name='vmx' or @name='svm']"))
        return TRUE;
    if (cpu)
        expanded = virConnectBaselineCPU(connection, cpus, 1, VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES);
    doc = expanded ? vmhi_xpath_read(expanded) : NULL;
    return doc && vmhi_xpath_has(doc, query);
}

static void learn_kvm(vmhi_platform *platform, virConnectPtr connection, xmlDoc *capabilities)
{
    if (!platform->kvm) {
        platform->accelerator = g_strdup("none");
        platform->reason = g_strdup("The host offers no KVM; guests run in software.");
    } else if (!is_x86(platform->arch)) {
        platform->accelerator = g_strdup("hardware");
        platform->reason = g_strdup_printf("The host offers KVM on %s.", platform->arch);
    } else if (cpu_virtualizes(connection, capabilities)) {
        platform->accelerator = g_strdup("hardware");
        platform->reason = g_strdup("The host offers KVM, and its CPU has vmx or svm.");
    } else {
        platform->accelerator = g_strdup("emulated");
        platform->reason = g_strdup("The host offers KVM, but its CPU has neither vmx nor svm, so KVM itself is "
                                    "emulated; guests run faster under TCG.");
    }
}

/* Only QEMU has the choice; the others are what they are. */
static void learn_accelerator(vmhi_platform *platform, virConnectPtr connection, xmlDoc *capabilities)
{
    static const char *const bare_metal[] = {"Xen", "ESX", "VMware", "BHYVE", "Hyper-V", "vz", NULL};

    if (is_qemu(platform)) {
        learn_kvm(platform, connection, capabilities);
    } else if (g_strv_contains(bare_metal, platform->type)) {
        platform->accelerator = g_strdup("hardware");
        platform->reason = g_strdup_printf("The hypervisor %s runs on the CPU's own virtualization.", platform->type);
    } else {
        platform->accelerator = g_strdup("none");
        platform->reason = g_strdup_printf("libvirt's driver %s has no accelerator.", platform->type);
    }
}

/* The domain type that accelerator=auto becomes. */
static void learn_domain_type(vmhi_platform *platform, xmlDoc *capabilities)
{
    g_autofree char *query = g_strdup_printf("/capabilities/guest/arch[@name='%s']/domain/@type", platform->arch);

    if (is_qemu(platform))
        platform->domain_type = g_strdup(strcmp(platform->accelerator, "hardware") == 0 ? "kvm" : "qemu");
    else if (capabilities)
        platform->domain_type = vmhi_xpath_text(capabilities, query);
    if (!platform->domain_type && capabilities)
        platform->domain_type = vmhi_xpath_text(capabilities, "/capabilities/guest/arch/domain/@type");
    if (!platform->domain_type)
        platform->domain_type = g_ascii_strdown(platform->type, -1);
}

/* q35 where there is one: the older machine has no PCI Express. Elsewhere libvirt's choice is the best. */
static xmlDoc *domain_capabilities(vmhi_platform *platform, virConnectPtr connection)
{
    g_autofree char *xml = NULL;

    if (is_qemu(platform) && is_x86(platform->arch)) {
        xml = virConnectGetDomainCapabilities(connection, NULL, platform->arch, "q35", platform->domain_type, 0);
        if (xml)
            platform->machine = g_strdup("q35");
    }
    if (!xml)
        xml = virConnectGetDomainCapabilities(connection, NULL, platform->arch, NULL, platform->domain_type, 0);
    return xml ? vmhi_xpath_read(xml) : NULL;
}

static void learn_devices(vmhi_platform *platform, virConnectPtr connection)
{
    g_autoptr(xmlDoc) doc = domain_capabilities(platform, connection);

    /* Who cannot be asked (a driver without the call, a connection that only looks) may have all of it. */
    platform->uefi = platform->tpm = platform->virtiofs = platform->rng = platform->vsock = TRUE;
    if (!doc)
        return;
    platform->emulator = vmhi_xpath_text(doc, "/domainCapabilities/path");
    platform->uefi = vmhi_xpath_has(doc, "/domainCapabilities/os/enum[@name='firmware']/value[.='efi']");
    platform->tpm = vmhi_xpath_has(doc, "/domainCapabilities/devices/tpm[@supported='yes']"
                                        "/enum[@name='backendModel']/value[.='emulator']");
    platform->virtiofs = vmhi_xpath_has(doc, "/domainCapabilities/devices/filesystem[@supported='yes']"
                                             "/enum[@name='driverType']/value[.='virtiofs']");
    platform->rng = vmhi_xpath_has(doc, "/domainCapabilities/devices/rng[@supported='yes']");
    platform->vsock = is_qemu(platform); /* the capabilities do not list it */
}

/* A daemon of this machine may still live in a container of its own, or this program may; then no emulator is here.
 */
static gboolean shares_files(const vmhi_platform *platform, virConnectPtr connection)
{
    g_autofree char *uri = virConnectGetURI(connection);

    return uri && vmhi_libvirt_is_local(uri) && platform->emulator && access(platform->emulator, F_OK) == 0;
}

gboolean vmhi_libvirt_platform_learn(vmhi_platform *platform, virConnectPtr connection, vmh_error **error)
{
    const char      *type = virConnectGetType(connection);
    g_autofree char *xml = type ? virConnectGetCapabilities(connection) : NULL;
    g_autoptr(xmlDoc) capabilities = xml ? vmhi_xpath_read(xml) : NULL;
    g_autofree char *query = NULL;

    if (!type) {
        vmhi_libvirt_error(error, NULL, "asking for the hypervisor's type");
        return FALSE;
    }
    platform->type = g_strdup(type);
    platform->session = is_session(connection);
    if (capabilities)
        platform->arch = vmhi_xpath_text(capabilities, "/capabilities/host/cpu/arch");
    if (!platform->arch)
        platform->arch = g_strdup("x86_64");
    if (capabilities)
        platform->security_model =
            vmhi_xpath_text(capabilities, "/capabilities/host/secmodel/model[.!='dac' and .!='none']");
    query = g_strdup_printf("/capabilities/guest/arch[@name='%s']/domain[@type='kvm']", platform->arch);
    platform->kvm = capabilities && vmhi_xpath_has(capabilities, query);
    learn_accelerator(platform, connection, capabilities);
    learn_domain_type(platform, capabilities);
    learn_devices(platform, connection);
    platform->local = shares_files(platform, connection);
    return TRUE;
}

void vmhi_libvirt_platform_clear(vmhi_platform *platform)
{
    g_free(platform->type);
    g_free(platform->arch);
    g_free(platform->domain_type);
    g_free(platform->accelerator);
    g_free(platform->reason);
    g_free(platform->machine);
    g_free(platform->emulator);
    g_free(platform->security_model);
    memset(platform, 0, sizeof *platform);
}
