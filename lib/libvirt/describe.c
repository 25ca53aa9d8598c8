/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Describing a VM: what its XML says, and what only libvirt's calls tell. */
#include "libvirt/documents.h"
#include "libvirt/xml.h"

static void add_state(vmh_spec *spec, virDomainPtr domain)
{
    int         state, detail;
    const char *reason;

    if (virDomainGetState(domain, &state, &detail, 0) == 0)
        vmhi_spec_put(spec, "state", vmh_vm_state_name(vmhi_libvirt_state(state, detail, &reason)));
}

/* What confines the process that runs it: the security drivers' labels, "apparmor libvirt-… (enforcing)". */
static void add_sandbox(vmh_spec *spec, xmlDoc *run)
{
    g_autoptr(GString) text = g_string_new(NULL);
    xmlNode *node = xmlFirstElementChild(xmlDocGetRootElement(run));

    for (; node; node = xmlNextElementSibling(node)) {
        g_autofree char *model = NULL;
        g_autofree char *label = NULL;

        if (!vmhi_xml_is(node, "seclabel"))
            continue;
        model = vmhi_xml_get(node, "@model");
        label = vmhi_xml_get(node, "label");
        if (model && label)
            g_string_append_printf(text, "%s%s %s", text->len ? "," : "", model, label);
    }
    if (text->len)
        vmhi_spec_put(spec, "security.sandbox", text->str);
}

static void add_autostart(vmh_spec *spec, virDomainPtr domain)
{
    int on;

    if (virDomainGetAutostart(domain, &on) == 0)
        vmhi_spec_put_bool(spec, "autostart", on);
}

static vmh_spec *describe(virDomainPtr domain, uint64_t flags, vmh_error **error)
{
    g_auto(vmhi_documents) documents = {0};
    vmh_spec *spec;
    gboolean  kept;

    if (!vmhi_documents_read(&documents, domain, error))
        return NULL;
    kept = !documents.run || (flags & VMH_DESCRIBE_PERSISTENT);
    if (kept && !documents.kept) {
        vmhi_error_set(error, VMH_ERR_STATE, "VM \"%s\" vanishes when it stops: nothing is kept for a next start",
                       virDomainGetName(domain));
        return NULL;
    }
    spec = vmhi_domain_read(kept ? documents.kept : documents.run);
    vmhi_spec_put_u64(spec, "generation", documents.generation);
    vmhi_spec_put_bool(spec, "persistent", documents.kept != NULL);
    add_state(spec, domain);
    if (documents.kept)
        add_autostart(spec, domain);
    if (documents.run)
        add_sandbox(spec, documents.run);
    return spec;
}

vmh_spec *vmhi_libvirt_describe_vm(vmhi_driver_host *host, const char *uuid, uint64_t flags, vmh_error **error)
{
    g_autoptr(virDomain) domain = vmhi_libvirt_domain(host, uuid, error);

    return domain ? describe(domain, flags, error) : NULL;
}
