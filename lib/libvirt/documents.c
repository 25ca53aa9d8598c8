/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading a VM's documents, with its secrets where the connection may see them. */
#include "libvirt/documents.h"

/* A connection that only looks may not see secrets; it sees the rest. */
static xmlDoc *read_document(virDomainPtr domain, unsigned int flags, vmh_error **error)
{
    g_autofree char *xml = virDomainGetXMLDesc(domain, flags | VIR_DOMAIN_XML_SECURE);

    if (!xml && vmhi_libvirt_code(virGetLastError()) == VMH_ERR_PERMISSION)
        xml = virDomainGetXMLDesc(domain, flags);
    if (!xml) {
        vmhi_libvirt_error(error, NULL, "reading a VM's configuration");
        return NULL;
    }
    return vmhi_domain_parse(xml, error);
}

gboolean vmhi_documents_read(vmhi_documents *documents, virDomainPtr domain, vmh_error **error)
{
    int persistent = virDomainIsPersistent(domain);
    int active = persistent < 0 ? -1 : virDomainIsActive(domain);

    *documents = (vmhi_documents){0};
    if (active < 0) {
        vmhi_libvirt_error(error, NULL, "reading a VM's configuration");
        return FALSE;
    }
    if (persistent)
        documents->kept = read_document(domain, VIR_DOMAIN_XML_INACTIVE, error);
    if (active)
        documents->run = read_document(domain, 0, error);
    if ((persistent && !documents->kept) || (active && !documents->run)) {
        vmhi_documents_clear(documents);
        return FALSE;
    }
    documents->generation = vmhi_domain_generation(documents->kept, documents->run);
    return TRUE;
}

void vmhi_documents_clear(vmhi_documents *documents)
{
    xmlFreeDoc(documents->kept);
    xmlFreeDoc(documents->run);
    *documents = (vmhi_documents){0};
}
