/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The generation: a hash over what somebody chose, without what libvirt or the guest changes by itself. */
#include "libvirt/domain-map.h"

#include <string.h>

/* Below 2^53, so that every language and JSON hold it exactly. */
#define GENERATION_MASK ((G_GUINT64_CONSTANT(1) << 53) - 1)

typedef struct {
    const char *element;
    const char *attribute; /* NULL: the whole element */
} runtime_detail;

/* Never of interest, also in what is kept: the guest's clock drifts, its drives open, its agent connects. */
static const runtime_detail guests_own[] = {{"clock", "adjustment"}, {"target", "tray"}, {"target", "state"}};

/* Only in what runs: libvirt's own choices for this run. */
static const runtime_detail of_a_run[] = {
    {"domain", "id"},       {"currentMemory", NULL},   {"resource", NULL},      {"address", NULL},
    {"backingStore", NULL}, {"mirror", NULL},          {"cpu", NULL},           {"seclabel", NULL},
    {"source", "index"},    {"source", "portid"},      {"serial", "tty"},       {"console", "tty"},
    {"graphics", "port"},   {"graphics", "websocket"}, {"graphics", "tlsPort"}, {"cid", "address"},
    {"vcpus", NULL},        {"loader", NULL},          {"nvram", NULL},         {"firmware", NULL},
    {"privateData", NULL},  {"graphics", "listen"},    {"listen", "address"},
};

static gboolean is_listed(const runtime_detail *list, gsize count, const xmlNode *node, const char *attribute)
{
    for (gsize i = 0; i < count; i++)
        if (g_str_equal(list[i].element, (const char *)node->name) && g_strcmp0(list[i].attribute, attribute) == 0)
            return TRUE;
    return FALSE;
}

static gboolean has_prefix_of(const char *text, const char *const *prefixes)
{
    while (*prefixes && !g_str_has_prefix(text, *prefixes))
        prefixes++;
    return *prefixes != NULL;
}

/* Names that libvirt makes up for a run, where the configuration has none, and what it leaves out of one. */
static gboolean is_made_up(const xmlNode *node, const char *attribute, const char *value)
{
    static const char *const nics[] = {"vnet", "vif", "macvtap", "macvlan", NULL};
    const xmlNode           *parent = node->parent;

    if (vmhi_xml_is(node, "alias"))
        return !g_str_has_prefix(value, "ua-");
    if (vmhi_xml_is(node, "target") && vmhi_xml_is(parent, "interface"))
        return g_str_equal(attribute, "dev") && has_prefix_of(value, nics);
    if (vmhi_xml_is(node, "driver") && vmhi_xml_is(parent, "disk"))
        return g_str_equal(attribute, "type") && !vmhi_xml_child(parent, "source");
    if (vmhi_xml_is(node, "source"))
        return vmhi_xml_is(parent, "channel") ||
               (g_str_equal(attribute, "path") && g_str_has_prefix(value, "/dev/pts/")) ||
               (g_str_equal(attribute, "bridge") && xmlHasProp((xmlNode *)node, BAD_CAST "network"));
    return FALSE;
}

static gboolean is_skipped(const xmlNode *node, const char *attribute, const char *value, gboolean running)
{
    if (is_listed(guests_own, G_N_ELEMENTS(guests_own), node, attribute))
        return TRUE;
    if (!running)
        return FALSE;
    return is_listed(of_a_run, G_N_ELEMENTS(of_a_run), node, attribute) ||
           (attribute && is_made_up(node, attribute, value));
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_attributes(GString *text, xmlNode *node, gboolean running)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);

    for (xmlAttr *attribute = node->properties; attribute; attribute = attribute->next) {
        xmlChar *value = xmlNodeListGetString(node->doc, attribute->children, 1);

        if (!is_skipped(node, (const char *)attribute->name, value ? (const char *)value : "", running))
            g_ptr_array_add(list, g_strdup_printf(" %s='%s'", attribute->name, value ? (const char *)value : ""));
        xmlFree(value);
    }
    g_ptr_array_sort(list, by_text);
    for (guint i = 0; i < list->len; i++)
        g_string_append(text, list->pdata[i]);
}

static void add_element(GString *text, xmlNode *node, gboolean running);

static char *child_text(xmlNode *child, gboolean running)
{
    GString *text = g_string_new(NULL);

    if (child->type == XML_ELEMENT_NODE)
        add_element(text, child, running);
    else if (child->type == XML_TEXT_NODE || child->type == XML_CDATA_SECTION_NODE)
        g_string_append(text, (const char *)child->content);
    return g_strstrip(g_string_free(text, FALSE));
}

/* libvirt puts a device that comes beside its like, and so changes the order at times. */
static void add_children(GString *text, xmlNode *node, gboolean running)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);

    for (xmlNode *child = node->children; child; child = child->next)
        g_ptr_array_add(list, child_text(child, running));
    if (vmhi_xml_is(node, "devices"))
        g_ptr_array_sort(list, by_text);
    for (guint i = 0; i < list->len; i++)
        g_string_append(text, list->pdata[i]);
}

/* An element that has nothing left is as good as none: libvirt adds such ones to what runs. */
static void add_element(GString *text, xmlNode *node, gboolean running)
{
    g_autoptr(GString) inside = g_string_new(NULL);

    if (is_skipped(node, NULL, NULL, running))
        return;
    add_attributes(inside, node, running);
    g_string_append_c(inside, '>');
    add_children(inside, node, running);
    if (running && inside->len == 1)
        return;
    g_string_append_printf(text, "<%s%s%s</>", node->ns ? (const char *)node->ns->href : "", node->name, inside->str);
}

static char *normalised(xmlDoc *doc, gboolean running)
{
    GString *text = g_string_new(NULL);

    add_element(text, xmlDocGetRootElement(doc), running);
    return g_string_free(text, FALSE);
}

uint64_t vmhi_domain_generation(xmlDoc *inactive, xmlDoc *active)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autofree char *kept = inactive ? normalised(inactive, FALSE) : NULL;
    g_autofree char *kept_as_run = inactive && active ? normalised(inactive, TRUE) : NULL;
    g_autofree char *run = active ? normalised(active, TRUE) : NULL;
    guint8           digest[32];
    gsize            length = sizeof(digest);
    guint64          number;

    if (kept)
        g_checksum_update(sum, (const guchar *)kept, -1);
    if (run && g_strcmp0(run, kept_as_run) != 0) { /* what runs counts where it differs from what is kept */
        g_checksum_update(sum, (const guchar *)"", 1);
        g_checksum_update(sum, (const guchar *)run, -1);
    }
    g_checksum_get_digest(sum, digest, &length);
    memcpy(&number, digest, sizeof(number));
    number &= GENERATION_MASK;
    return number ? number : 1;
}
