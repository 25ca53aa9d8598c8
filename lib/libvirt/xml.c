/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading and writing places in an XML tree, without XPath: places are fixed words of ours. */
#include "libvirt/xml.h"

#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/xmlschemastypes.h>
#include <string.h>

/* libxml2 prepares its schemas at their first use, without a lock: two threads of libvirt's would do it at once. */
void vmhi_xml_start(void)
{
    static gsize started;

    if (g_once_init_enter(&started)) {
        xmlInitParser();
        xmlRelaxNGInitTypes();
        xmlSchemaInitTypes();
        g_once_init_leave(&started, 1);
    }
}

gboolean vmhi_xml_is(const xmlNode *node, const char *name)
{
    return node && node->type == XML_ELEMENT_NODE && !node->ns && g_str_equal((const char *)node->name, name);
}

static xmlNode *first_named(xmlNode *node, const char *name)
{
    while (node && !vmhi_xml_is(node, name))
        node = node->next;
    return node;
}

xmlNode *vmhi_xml_child(const xmlNode *parent, const char *name)
{
    return parent ? first_named(parent->children, name) : NULL;
}

xmlNode *vmhi_xml_next(const xmlNode *node, const char *name)
{
    return node ? first_named(node->next, name) : NULL;
}

static xmlNode *walk(xmlNode *base, const char *place, gsize length, gboolean make)
{
    g_autofree char *path = g_strndup(place, length);
    g_auto(GStrv) names = g_strsplit(path, "/", -1);

    for (char **name = names; base && *name; name++) {
        xmlNode *child = vmhi_xml_child(base, *name);

        if (!child && make)
            child = vmhi_xml_append(base, *name);
        base = child;
    }
    return base;
}

xmlNode *vmhi_xml_find(xmlNode *base, const char *place)
{
    return walk(base, place, strcspn(place, "@"), FALSE);
}

xmlNode *vmhi_xml_make(xmlNode *base, const char *place)
{
    return walk(base, place, strcspn(place, "@"), TRUE);
}

static const char *attribute_of(const char *place)
{
    const char *at = strchr(place, '@');

    return at ? at + 1 : NULL;
}

char *vmhi_xml_get(xmlNode *base, const char *place)
{
    xmlNode    *node = vmhi_xml_find(base, place);
    const char *attribute = attribute_of(place);
    xmlChar    *text = NULL;
    char       *copy;

    if (!node)
        return NULL;
    text = attribute ? xmlGetNoNsProp(node, BAD_CAST attribute) : xmlNodeGetContent(node);
    copy = g_strdup((const char *)text);
    xmlFree(text);
    return copy;
}

gboolean vmhi_xml_has(xmlNode *base, const char *place, const char *text)
{
    g_autofree char *there = vmhi_xml_get(base, place);

    return g_strcmp0(there, text) == 0;
}

gboolean vmhi_xml_number(xmlNode *base, const char *place, guint64 *value)
{
    g_autofree char *text = vmhi_xml_get(base, place);

    return text && g_ascii_string_to_unsigned(g_strstrip(text), 10, 0, G_MAXUINT64, value, NULL);
}

/* Removes what became empty, up to but not including base. */
static void prune(xmlNode *base, xmlNode *node)
{
    while (node && node != base && !node->properties && !xmlFirstElementChild(node)) {
        xmlNode *parent = node->parent;
        xmlChar *text = xmlNodeGetContent(node);
        gboolean blank = !text || !*g_strstrip((char *)text);

        xmlFree(text);
        if (!blank)
            return;
        vmhi_xml_remove(node);
        node = parent;
    }
}

static void unset(xmlNode *base, const char *place)
{
    xmlNode    *node = vmhi_xml_find(base, place);
    const char *attribute = attribute_of(place);

    if (!node)
        return;
    if (attribute) {
        xmlUnsetProp(node, BAD_CAST attribute);
        prune(base, node);
    } else if (node != base) {
        xmlNode *parent = node->parent;

        vmhi_xml_remove(node);
        prune(base, parent);
    }
}

void vmhi_xml_set(xmlNode *base, const char *place, const char *text)
{
    const char *attribute = attribute_of(place);
    xmlNode    *node;

    if (!text) {
        unset(base, place);
        return;
    }
    node = vmhi_xml_make(base, place);
    if (attribute) {
        xmlSetProp(node, BAD_CAST attribute, BAD_CAST text);
    } else {
        xmlNodeSetContent(node, NULL);
        xmlNodeAddContent(node, BAD_CAST text);
    }
}

void vmhi_xml_set_number(xmlNode *base, const char *place, guint64 value)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);

    vmhi_xml_set(base, place, text);
}

void vmhi_xml_remove(xmlNode *node)
{
    if (!node)
        return;
    if (node->prev && xmlIsBlankNode(node->prev)) {
        xmlNode *blank = node->prev;

        xmlUnlinkNode(blank);
        xmlFreeNode(blank);
    }
    xmlUnlinkNode(node);
    xmlFreeNode(node);
}

xmlNode *vmhi_xml_append(xmlNode *parent, const char *name)
{
    xmlNode *node = xmlNewDocNode(parent->doc, NULL, BAD_CAST name, NULL);
    xmlNode *last = NULL;

    for (xmlNode *one = vmhi_xml_child(parent, name); one; one = vmhi_xml_next(one, name))
        last = one;
    if (last)
        xmlAddNextSibling(last, node);
    else
        xmlAddChild(parent, node);
    return node;
}
