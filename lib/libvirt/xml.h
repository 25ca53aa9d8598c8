/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Places in an XML tree: "cputune/shares" is an element below another one, "vcpu@current" an attribute.
 * Elements of foreign namespaces are never meant by a place.
 */
#pragma once

#include <glib.h>
#include <libxml/tree.h>

/* Before libvirt uses libxml2 in any thread. */
void vmhi_xml_start(void);

/* The first child element of this name, or the next sibling of the same name; NULL when there is none. */
xmlNode *vmhi_xml_child(const xmlNode *parent, const char *name);
xmlNode *vmhi_xml_next(const xmlNode *node, const char *name);

/* The element at a place, or NULL; and as above, made where it is missing. */
xmlNode *vmhi_xml_find(xmlNode *base, const char *place);
xmlNode *vmhi_xml_make(xmlNode *base, const char *place);

gboolean vmhi_xml_is(const xmlNode *node, const char *name);

/* The text at a place, or NULL. The caller's. */
char *vmhi_xml_get(xmlNode *base, const char *place);
/* TRUE when a place has exactly this text. */
gboolean vmhi_xml_has(xmlNode *base, const char *place, const char *text);
gboolean vmhi_xml_number(xmlNode *base, const char *place, guint64 *value);

/* Writes a text to a place; NULL removes it, and the elements above that then say nothing. */
void vmhi_xml_set(xmlNode *base, const char *place, const char *text);
void vmhi_xml_set_number(xmlNode *base, const char *place, guint64 value);

/* Takes an element out of its document and frees it; NULL is fine. */
void vmhi_xml_remove(xmlNode *node);

/* Adds an element behind the last of the same name, else at the end. */
xmlNode *vmhi_xml_append(xmlNode *parent, const char *name);
