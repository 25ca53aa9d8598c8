/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Questions to XML documents that libvirt gave: capabilities and domains. */
#pragma once

#include <glib.h>
#include <libxml/tree.h>

/* NULL when the text is no XML. */
xmlDoc *vmhi_xpath_read(const char *text);

/* The first match: its text, its XML. NULL when nothing matches. */
char *vmhi_xpath_text(xmlDoc *doc, const char *query);
char *vmhi_xpath_xml(xmlDoc *doc, const char *query);

gboolean vmhi_xpath_has(xmlDoc *doc, const char *query);

/* All matches, in the order of the document; the nodes are the document's. Never NULL. */
GPtrArray *vmhi_xpath_nodes(xmlDoc *doc, const char *query);
