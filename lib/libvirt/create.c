/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Creating a VM from a spec, all or nothing, and describing one. */
#include "libvirt/domain.h"

#include <string.h>

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
static gboolean is_free(const creation *new, vmh_error **error)
{
    const char *uuid = vmhi_spec_str(new->spec, "uuid");
    g_autoptr(virDomain) by_name = virDomainLookupByName(new->connection, new->name);
    g_autoptr(virDomain) by_uuid = uuid ? virDomainLookupByUUIDString(new->connection, uuid) : NULL;

    if (by_name)
        vmhi_error_set_property(error, VMH_ERR_EXISTS, "name", "%s: the host has a VM of this name", new->doing);
    else if (by_uuid)
        vmhi_error_set_property(error, VMH_ERR_EXISTS, "uuid", "%s: the host has a VM of this UUID", new->doing);
    return !by_name && !by_uuid;
}

static char *build(const vmhi_platform *platform, const vmh_spec *spec, vmh_error **error)
{
    g_autoptr(xmlDoc) doc = vmhi_domain_skeleton(platform, spec, error);

    if (!doc || !vmhi_domain_apply(doc, platform, spec, error))
        return NULL;
    return vmhi_domain_text(doc);
}

/* The longest of the spec's file names that libvirt's message quotes tells which property it is about. */
static const char *blamed(const vmh_spec *spec, const GStrv paths)
{
    const char *message = virGetLastErrorMessage();
    const char *found = NULL;
    gsize       longest = 1;

    for (guint i = 0; paths[i]; i++) {
        const vmh_property *property = vmhi_schema_lookup("vm", paths[i]);
        const char         *value = vmhi_spec_str(spec, paths[i]);
        gboolean file = property && (property->type == VMH_TYPE_PATH || g_str_has_suffix(property->pattern, ">.url"));

        if (file && value && strlen(value) > longest && message && strstr(message, value)) {
            found = paths[i];
            longest = strlen(value);
        }
    }
    return found;
}

static void fail(const creation *new, vmh_error **error)
{
    g_auto(GStrv) paths = vmhi_spec_list(new->spec);

    vmhi_libvirt_error(error, blamed(new->spec, paths), new->doing);
}

/* --- making it --- */

static gboolean set_autostart(const creation *new, virDomainPtr domain, vmh_error **error)
{
    gboolean on = FALSE;

    if (!vmhi_spec_bool(new->spec, "autostart", &on) || !on || virDomainSetAutostart(domain, 1) == 0)
        return TRUE;
    vmhi_libvirt_error(error, "autostart", new->doing);
    return FALSE;
}

static gboolean has(const creation *new, uint64_t flag)
{
    return (new->flags &flag) != 0;
}

static unsigned int start_flags(const creation *new)
{
    return has(new, VMH_CREATE_PAUSED) ? VIR_DOMAIN_START_PAUSED : 0;
}

/* A driver that does not know the flag says nothing that a user would understand. */
static void fail_start(const creation *new, vmh_error **error)
{
    if (has(new, VMH_CREATE_PAUSED) && vmhi_libvirt_code(virGetLastError()) == VMH_ERR_UNSUPPORTED)
        vmhi_error_set(error, VMH_ERR_UNSUPPORTED, "%s: this host cannot start a VM paused", new->doing);
    else
        fail(new, error);
}

static gboolean start(const creation *new, virDomainPtr domain, vmh_error **error)
{
    if (!has(new, VMH_CREATE_START) || virDomainCreateWithFlags(domain, start_flags(new)) == 0)
        return TRUE;
    fail_start(new, error);
    return FALSE;
}

/*
 * What was defined here and cannot be completed goes again. Another program may have defined a VM of the same name
 * and the same given UUID since the look at is_free(): libvirt has no call that defines only what is new.
 */
static virDomainPtr define(const creation *new, vmh_error **error)
{
    g_autoptr(virDomain) domain = virDomainDefineXMLFlags(new->connection, new->xml, VIR_DOMAIN_DEFINE_VALIDATE);

    if (!domain) {
        fail(new, error);
        return NULL;
    }
    if (set_autostart(new, domain, error) && start(new, domain, error))
        return g_steal_pointer(&domain);
    if (vmhi_libvirt_undefine(domain) < 0)
        vmhi_error_prefix(error, "VM \"%s\" stays defined, as libvirt would not remove it", new->name);
    return NULL;
}

static virDomainPtr run(const creation *new, vmh_error **error)
{
    gboolean     autostart = FALSE;
    virDomainPtr domain;

    if (vmhi_spec_bool(new->spec, "autostart", &autostart) && autostart) {
        vmhi_error_set_property(error, VMH_ERR_VALUE, "autostart",
                                "%s: a VM that vanishes when it stops cannot start with the host", new->doing);
        return NULL;
    }
    domain = virDomainCreateXML(new->connection, new->xml, VIR_DOMAIN_START_VALIDATE | start_flags(new));
    if (!domain)
        fail_start(new, error);
    return domain;
}

/* Where libvirt can turn it into a command line, it has checked all that it checks before a start. */
static gboolean validate(const creation *new, vmh_error **error)
{
    g_autofree char *command = virConnectDomainXMLToNative(new->connection, "qemu-argv", new->xml, 0);

    if (command || vmhi_libvirt_code(virGetLastError()) == VMH_ERR_UNSUPPORTED)
        return TRUE;
    fail(new, error);
    return FALSE;
}

static char *make(const creation *new, vmh_error **error)
{
    g_autoptr(virDomain) domain = has(new, VMH_CREATE_TRANSIENT) ? run(new, error) : define(new, error);
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (!domain || virDomainGetUUIDString(domain, uuid) < 0)
        return NULL;
    return g_strdup(uuid);
}

static char *create(vmhi_driver_host *host, creation *new, vmh_error **error)
{
    if (!is_free(new, error))
        return NULL;
    new->xml = build(&host->platform, new->spec, error);
    if (!new->xml)
        return NULL;
    if (has(new, VMH_CREATE_VALIDATE_ONLY))
        return validate(new, error) ? g_strdup("") : NULL;
    return make(new, error);
}

char *vmhi_libvirt_create(vmhi_driver_host *host, const vmh_spec *spec, uint64_t flags, vmhi_task *task,
                          vmh_error **error)
{
    creation new = {.spec = spec, .flags = flags};
    char *uuid;

    (void)task; /* What can be taken back is over at once, and a start cannot be. */
    if (!check_spec(spec, error))
        return NULL;
    new.connection = vmhi_libvirt_connection(host, error);
    if (!new.connection)
        return NULL;
    new.name = vmhi_spec_str(spec, "name");
    new.doing = g_strdup_printf("creating VM \"%s\"", new.name);
    uuid = create(host, &new, error);
    virConnectClose(new.connection);
    g_free(new.doing);
    g_free(new.xml);
    return uuid;
}
