/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domain XML and specs: one table in domain.c says where each property stands in libvirt's XML, and both
 * directions use it. Applying a spec touches the elements of its properties and leaves all others.
 */
#pragma once

#include "libvirt/common.h"
#include <libxml/tree.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/* Reads domain XML; VMH_ERR_INTERNAL when libvirt gave none. */
xmlDoc *vmhi_domain_parse(const char *xml, vmh_error **error);
char   *vmhi_domain_text(xmlDoc *doc);

/* A skeleton for this host, without any property applied: what a new VM starts from. */
xmlDoc *vmhi_domain_skeleton(const vmhi_platform *platform, const vmh_spec *spec, vmh_error **error);

/*
 * Writes the spec's properties into the document. FALSE with the property when one cannot be (VMH_ERR_VALUE,
 * VMH_ERR_UNSUPPORTED, VMH_ERR_NOT_FOUND); the document is then of no use.
 */
gboolean vmhi_domain_apply(xmlDoc *doc, const vmhi_platform *platform, const vmh_spec *spec, vmh_error **error);

/* What a document says in our words; what we do not model is left out. */
vmh_spec *vmhi_domain_read(xmlDoc *doc);

/* The element of a device by class ("disk", "nic", "console", "share") and id, or NULL; of the document. */
xmlNode *vmhi_domain_device(xmlDoc *doc, const char *class_name, const char *id);

/* The id of a device's element: what the user called it, else its target ("vda"), else made from its MAC. The
 * caller's. */
char *vmhi_domain_device_id(xmlNode *device);

/* What an alias of ours means, "disk.root"; others as they are. For events that tell the alias alone. The caller's.
 */
char *vmhi_domain_alias_path(const char *alias);

/* One element as text, for libvirt's attach, detach and update calls. */
char *vmhi_domain_node_text(xmlNode *node);

/* The property of a spec whose value a message of libvirt's quotes, or NULL. The caller's. */
char *vmhi_domain_blame(const vmh_spec *spec, const char *message);

/* Makes an error of libvirt's one about the property of the spec that its message quotes, where there is one. */
void vmhi_domain_explain(vmh_error *failure, const vmh_spec *spec);

/*
 * Are the files, networks and filters there that a VM of this spec would be started with? Files are looked for on
 * this machine alone. FALSE with VMH_ERR_NOT_FOUND and the property.
 */
gboolean vmhi_domain_has_needs(virConnectPtr connection, const vmhi_platform *platform, const vmh_spec *spec,
                               vmh_error **error);

/* Can libvirt's XML express this property (by pattern) for such a host? FALSE with the reason. */
gboolean vmhi_domain_supports(const vmhi_platform *platform, const char *pattern, char **reason);

/*
 * A number that changes when somebody changes the configuration, never by the guest's or libvirt's own doing:
 * a hash over the documents without runtime details. Either may be NULL. Never 0.
 */
uint64_t vmhi_domain_generation(xmlDoc *inactive, xmlDoc *active);
