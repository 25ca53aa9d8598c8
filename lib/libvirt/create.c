/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Creating a VM from a spec, all or nothing, and describing one. */
#include "libvirt/domain-map.h"

typedef struct {
    virConnectPtr   connection;
    const vmh_spec *spec;
    uint64_t        flags;
    const char     *name;
    char           *doing; /* for errors: "creating VM \"a\"" */
    char           *xml;
} creation;

/* --- before anything is made --- */

static gboolean check_spec(const vmh_spec *spec, vmh_error **error)
{
    static const char *const required[] = {"name", "memory.size"};

    for (gsize i = 0; i < G_N_ELEMENTS(required); i++) {
        if (vmhi_spec_get(spec, required[i], NULL))
            continue;
        vmhi_error_set_property(error, VMH_ERR_VALUE, required[i], "a new VM needs the property %s", required[i]);
        return FALSE;
    }
    return TRUE;
}

/* libvirt would take a definition with a known name and UUID as an order to change that VM. */
static gboolean is_free(const creation *making, vmh_error **error)
{
    const char *uuid = vmhi_spec_str(making->spec, "uuid");
    g_autoptr(virDomain) by_name = virDomainLookupByName(making->connection, making->name);
    g_autoptr(virDomain) by_uuid = uuid ? virDomainLookupByUUIDString(making->connection, uuid) : NULL;

    if (by_name)
        vmhi_error_set_property(error, VMH_ERR_EXISTS, "name", "%s: the host has a VM of this name", making->doing);
    else if (by_uuid)
        vmhi_error_set_property(error, VMH_ERR_EXISTS, "uuid", "%s: the host has a VM of this UUID", making->doing);
    return !by_name && !by_uuid;
}

static char *build(const vmhi_platform *platform, const vmh_spec *spec, vmh_error **error)
{
    g_autoptr(xmlDoc) doc = vmhi_domain_skeleton(platform, spec, error);

    if (!doc || !vmhi_domain_apply(doc, platform, spec, error))
        return NULL;
    return vmhi_domain_text(doc);
}

static void fail(const creation *making, vmh_error **error)
{
    vmh_error *failure = NULL;

    vmhi_libvirt_error(&failure, NULL, making->doing);
    vmhi_domain_explain(failure, making->spec);
    vmhi_error_move(error, failure);
}

/* --- making it --- */

static gboolean set_autostart(const creation *making, virDomainPtr domain, vmh_error **error)
{
    gboolean on = FALSE;

    if (!vmhi_spec_bool(making->spec, "autostart", &on) || !on || virDomainSetAutostart(domain, 1) == 0)
        return TRUE;
    vmhi_libvirt_error(error, "autostart", making->doing);
    return FALSE;
}

static gboolean has(const creation *making, uint64_t flag)
{
    return (making->flags & flag) != 0;
}

static unsigned int start_flags(const creation *making)
{
    return has(making, VMH_CREATE_PAUSED) ? VIR_DOMAIN_START_PAUSED : 0;
}

/* A driver that does not know the flag says nothing that a user would understand. */
static void fail_start(const creation *making, vmh_error **error)
{
    if (has(making, VMH_CREATE_PAUSED) && vmhi_libvirt_code(virGetLastError()) == VMH_ERR_UNSUPPORTED)
        vmhi_error_set(error, VMH_ERR_UNSUPPORTED, "%s: this host cannot start a VM paused", making->doing);
    else
        fail(making, error);
}

static gboolean start(const creation *making, virDomainPtr domain, vmh_error **error)
{
    if (!has(making, VMH_CREATE_START) || virDomainCreateWithFlags(domain, start_flags(making)) == 0)
        return TRUE;
    fail_start(making, error);
    return FALSE;
}

/*
 * What was defined here and cannot be completed goes again. Another program may have defined a VM of the same name
 * and the same given UUID since the look at is_free(): libvirt has no call that defines only what is making.
 */
static virDomainPtr define(const creation *making, vmh_error **error)
{
    g_autoptr(virDomain) domain =
        virDomainDefineXMLFlags(making->connection, making->xml, VIR_DOMAIN_DEFINE_VALIDATE);

    if (!domain) {
        fail(making, error);
        return NULL;
    }
    if (set_autostart(making, domain, error) && start(making, domain, error))
        return g_steal_pointer(&domain);
    if (vmhi_libvirt_undefine(domain) < 0)
        vmhi_error_prefix(error, "VM \"%s\" stays defined, as libvirt would not remove it", making->name);
    return NULL;
}

static virDomainPtr run(const creation *making, vmh_error **error)
{
    gboolean     autostart = FALSE;
    virDomainPtr domain;

    if (vmhi_spec_bool(making->spec, "autostart", &autostart) && autostart) {
        vmhi_error_set_property(error, VMH_ERR_VALUE, "autostart",
                                "%s: a VM that vanishes when it stops cannot start with the host", making->doing);
        return NULL;
    }
    domain = virDomainCreateXML(making->connection, making->xml, VIR_DOMAIN_START_VALIDATE | start_flags(making));
    if (!domain)
        fail_start(making, error);
    return domain;
}

/* The document for libvirt to turn into a command line, for which it would make tap devices. */
static char *without_taps(const char *xml)
{
    g_autoptr(xmlDoc) doc = vmhi_domain_parse(xml, NULL);
    xmlNode *next;

    for (xmlNode *device = vmhi_domain_devices(doc); device; device = next) {
        next = xmlNextElementSibling(device);
        if (vmhi_xml_is(device, "interface") && vmhi_xml_has(device, "@type", "ethernet"))
            vmhi_xml_remove(device);
    }
    return vmhi_domain_text(doc);
}

/* Where libvirt can turn it into a command line, it has checked all that it checks before a start. */
static gboolean validate(const creation *making, const vmhi_platform *platform, vmh_error **error)
{
    g_autofree char *xml = without_taps(making->xml);
    g_autofree char *command = virConnectDomainXMLToNative(making->connection, "qemu-argv", xml, 0);

    if (!command && vmhi_libvirt_code(virGetLastError()) != VMH_ERR_UNSUPPORTED) {
        fail(making, error);
        return FALSE;
    }
    return !has(making, VMH_CREATE_START) || vmhi_domain_has_needs(making->connection, platform, making->spec, error);
}

static char *make(const creation *making, vmh_error **error)
{
    g_autoptr(virDomain) domain = has(making, VMH_CREATE_TRANSIENT) ? run(making, error) : define(making, error);
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (!domain || !vmhi_libvirt_uuid(domain, uuid))
        return NULL;
    return g_strdup(uuid);
}

static char *create(vmhi_driver_host *host, creation *making, vmh_error **error)
{
    if (!is_free(making, error))
        return NULL;
    making->xml = build(&host->platform, making->spec, error);
    if (!making->xml)
        return NULL;
    if (has(making, VMH_CREATE_VALIDATE_ONLY))
        return validate(making, &host->platform, error) ? g_strdup("") : NULL;
    return make(making, error);
}

char *vmhi_libvirt_create(vmhi_driver_host *host, const vmh_spec *spec, uint64_t flags, vmhi_task *task,
                          vmh_error **error)
{
    creation making = {.spec = spec, .flags = flags};
    char    *uuid;

    (void)task; /* What can be taken back is over at once, and a start cannot be. */
    if (!check_spec(spec, error))
        return NULL;
    making.connection = vmhi_libvirt_connection(host, error);
    if (!making.connection)
        return NULL;
    making.name = vmhi_spec_str(spec, "name");
    making.doing = g_strdup_printf("creating VM \"%s\"", making.name);
    uuid = create(host, &making, error);
    virConnectClose(making.connection);
    g_free(making.doing);
    g_free(making.xml);
    return uuid;
}
