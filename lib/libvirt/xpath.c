/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XPath over libvirt's documents. Queries are the library's own, never made from what a user wrote. */
#include "libvirt/xpath.h"
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <string.h>

xmlDoc *vmhi_xpath_read(const char *text)
{
    size_t length = strlen(text);

    if (length > G_MAXINT)
        return NULL;
    return xmlReadMemory(text, (int)length, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
}

GPtrArray *vmhi_xpath_nodes(xmlDoc *doc, const char *query)
{
    GPtrArray       *nodes = g_ptr_array_new();
    xmlXPathContext *context = xmlXPathNewContext(doc);
    xmlXPathObject  *result = xmlXPathEval(BAD_CAST query, context);

    for (int i = 0; result && result->nodesetval && i < result->nodesetval->nodeNr; i++)
        g_ptr_array_add(nodes, result->nodesetval->nodeTab[i]);
    xmlXPathFreeObject(result);
    xmlXPathFreeContext(context);
    return nodes;
}

gboolean vmhi_xpath_has(xmlDoc *doc, const char *query)
{
    g_autoptr(GPtrArray) nodes = vmhi_xpath_nodes(doc, query);

    return nodes->len > 0;
}

static char *take(xmlChar *text)
{
    char *copy = g_strdup((const char *)text);

    xmlFree(text);
    return copy;
}

char *vmhi_xpath_text(xmlDoc *doc, const char *query)
{
    g_autoptr(GPtrArray) nodes = vmhi_xpath_nodes(doc, query);

    return nodes->len ? take(xmlNodeGetContent(nodes->pdata[0])) : NULL;
}

char *vmhi_xpath_xml(xmlDoc *doc, const char *query)
{
    g_autoptr(GPtrArray) nodes = vmhi_xpath_nodes(doc, query);
    xmlBuffer *buffer;
    char      *text;

    if (!nodes->len)
        return NULL;
    buffer = xmlBufferCreate();
    xmlNodeDump(buffer, doc, nodes->pdata[0], 0, 0);
    text = g_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}
