/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What devices are called: by their user where one named them, else by what libvirt calls them. */
#include "libvirt/domain-map.h"

#include <string.h>

enum { ID_LIMIT = 32 };

#define ALIAS_PREFIX "ua-" /* libvirt keeps aliases that begin so */

const vmhi_domain_class *const vmhi_domain_classes[] = {&vmhi_domain_disk, &vmhi_domain_nic, &vmhi_domain_console,
                                                        &vmhi_domain_share, NULL};

const vmhi_domain_class *vmhi_domain_class_of(const char *name)
{
    for (gsize i = 0; vmhi_domain_classes[i]; i++)
        if (g_str_equal(vmhi_domain_classes[i]->name, name))
            return vmhi_domain_classes[i];
    return NULL;
}

const vmhi_domain_class *vmhi_domain_class_of_node(const xmlNode *device)
{
    for (gsize i = 0; vmhi_domain_classes[i]; i++)
        if (vmhi_domain_classes[i]->member(device))
            return vmhi_domain_classes[i];
    return NULL;
}

xmlNode *vmhi_domain_devices(xmlDoc *doc)
{
    xmlNode *devices = vmhi_xml_child(xmlDocGetRootElement(doc), "devices");

    return devices ? xmlFirstElementChild(devices) : NULL;
}

xmlNode *vmhi_domain_ours(xmlDoc *doc, gboolean make)
{
    xmlNode *domain = xmlDocGetRootElement(doc);
    xmlNode *metadata = vmhi_xml_child(domain, "metadata");
    xmlNode *node;

    for (node = metadata ? xmlFirstElementChild(metadata) : NULL; node; node = xmlNextElementSibling(node))
        if (node->ns && g_str_equal((const char *)node->ns->href, VMHI_DOMAIN_NAMESPACE))
            return node;
    if (!make)
        return NULL;
    node = xmlNewChild(vmhi_xml_make(domain, "metadata"), NULL, BAD_CAST "vm", NULL);
    xmlSetNs(node, xmlNewNs(node, BAD_CAST VMHI_DOMAIN_NAMESPACE, BAD_CAST VMHI_DOMAIN_PREFIX));
    return node;
}

static gboolean is_id(const char *text)
{
    gsize length = strlen(text);

    return length > 0 && length <= ID_LIMIT && strspn(text, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_-") == length;
}

/* Makes an id of what the host calls a device. */
static char *as_id(char *text)
{
    if (strlen(text) > ID_LIMIT)
        text[ID_LIMIT] = '\0';
    return g_strcanon(text, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_-", '-');
}

/* --- where an alias would be lost, an element of ours maps what libvirt calls the device to the id --- */

static gboolean keeps_aliases(const vmhi_platform *platform)
{
    return vmhi_domain_is(platform, "QEMU") || vmhi_domain_is(platform, "TEST");
}

static xmlNode *mapped(xmlNode *device, const vmhi_domain_class *class)
{
    xmlNode         *ours = vmhi_domain_ours(device->doc, FALSE);
    g_autofree char *target = ours ? class->fallback(device) : NULL;

    for (xmlNode *node = target ? xmlFirstElementChild(ours) : NULL; node; node = xmlNextElementSibling(node)) {
        g_autofree char *there = vmhi_xml_get(node, "@target");
        g_autofree char *of = vmhi_xml_get(node, "@class");

        if (g_strcmp0(there, target) == 0 && g_strcmp0(of, class->name) == 0)
            return node;
    }
    return NULL;
}

void vmhi_domain_forget_device(xmlNode *device, const vmhi_domain_class *class)
{
    vmhi_xml_remove(mapped(device, class));
}

static void map_device(xmlNode *device, const vmhi_domain_class *class, const char *target, const char *id)
{
    xmlNode *ours = vmhi_domain_ours(device->doc, TRUE);
    xmlNode *map;

    vmhi_domain_forget_device(device, class);
    map = xmlNewChild(ours, ours->ns, BAD_CAST "device", NULL);
    vmhi_xml_set(map, "@class", class->name);
    vmhi_xml_set(map, "@target", target);
    vmhi_xml_set(map, "@id", id);
}

void vmhi_domain_alias(xmlNode *device, const vmhi_domain_class *class, const char *id)
{
    g_autofree char *alias = g_strconcat(ALIAS_PREFIX, class->name, "-", id, NULL);

    vmhi_xml_set(device, "alias@name", alias);
}

void vmhi_domain_name_device(xmlNode *device, const vmhi_domain_class *class, const char *id,
                             const vmhi_platform *platform)
{
    g_autofree char *target = class->fallback(device);
    g_autofree char *now = vmhi_domain_device_id(device);

    if (keeps_aliases(platform) && g_strcmp0(now, id) != 0)
        vmhi_domain_alias(device, class, id);
    else if (!keeps_aliases(platform) && target && !g_str_equal(target, id))
        map_device(device, class, target, id);
}

/* --- the id of a device --- */

/* What its user called it, or NULL. Aliases are unique among all devices, so ours name the class, too. */
static char *given_id(xmlNode *device, const vmhi_domain_class *class)
{
    g_autofree char *alias = vmhi_xml_get(device, "alias@name");
    g_autofree char *prefix = g_strconcat(ALIAS_PREFIX, class->name, "-", NULL);
    const char      *id = NULL;
    xmlNode         *map;

    if (alias && g_str_has_prefix(alias, prefix))
        id = alias + strlen(prefix);
    else if (alias && g_str_has_prefix(alias, ALIAS_PREFIX))
        id = alias + strlen(ALIAS_PREFIX);
    if (id && is_id(id))
        return g_strdup(id);
    map = mapped(device, class);
    return map ? vmhi_xml_get(map, "@id") : NULL;
}

/* What it is called when nobody named it; a number is added when another one has this name. */
static char *made_id(xmlNode *device, const vmhi_domain_class *class, GHashTable *taken)
{
    g_autofree char *name = class->fallback(device);

    if (!name || !*name) {
        g_free(name);
        name = g_strdup(class->name);
    }
    as_id(name);
    for (unsigned i = 2; g_hash_table_contains(taken, name); i++) {
        char *next = g_strdup_printf("%.24s-%u", name, i);

        g_free(name);
        name = next;
    }
    return g_steal_pointer(&name);
}

/* All of a class, element to id: names that were given go first, then the others get theirs. */
static GHashTable *ids_of_class(xmlDoc *doc, const vmhi_domain_class *class)
{
    GHashTable *ids = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    g_autoptr(GHashTable) taken = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) unnamed = g_ptr_array_new();

    for (xmlNode *node = vmhi_domain_devices(doc); node; node = xmlNextElementSibling(node)) {
        g_autofree char *id = class->member(node) ? given_id(node, class) : NULL;

        if (!class->member(node))
            continue;
        if (!id || !is_id(id) || g_hash_table_contains(taken, id)) {
            g_ptr_array_add(unnamed, node);
            continue;
        }
        g_hash_table_add(taken, id);
        g_hash_table_insert(ids, node, g_steal_pointer(&id));
    }
    for (guint i = 0; i < unnamed->len; i++) {
        char *id = made_id(unnamed->pdata[i], class, taken);

        g_hash_table_add(taken, id);
        g_hash_table_insert(ids, unnamed->pdata[i], id);
    }
    return ids;
}

char *vmhi_domain_alias_path(const char *alias)
{
    for (gsize i = 0; vmhi_domain_classes[i]; i++) {
        const char *class = vmhi_domain_classes[i]->name;
        g_autofree char *prefix = g_strconcat(ALIAS_PREFIX, class, "-", NULL);

        if (g_str_has_prefix(alias, prefix))
            return g_strconcat(class, ".", alias + strlen(prefix), NULL);
    }
    return g_strdup(alias);
}

char *vmhi_domain_device_id(xmlNode *device)
{
    const vmhi_domain_class *class = vmhi_domain_class_of_node(device);
    g_autoptr(GHashTable) ids = class ? ids_of_class(device->doc, class) : NULL;

    return ids ? g_strdup(g_hash_table_lookup(ids, device)) : NULL;
}

xmlNode *vmhi_domain_device(xmlDoc *doc, const char *class_name, const char *id)
{
    const vmhi_domain_class *class = vmhi_domain_class_of(class_name);
    g_autoptr(GHashTable) ids = class ? ids_of_class(doc, class) : NULL;
    GHashTableIter iter;
    void          *node, *name;

    if (!ids)
        return NULL;
    g_hash_table_iter_init(&iter, ids);
    while (g_hash_table_iter_next(&iter, &node, &name))
        if (g_str_equal(name, id))
            return node;
    return NULL;
}
