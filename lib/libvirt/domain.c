/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Applying a spec to domain XML, and reading one from it, by the one table in domain-table.c. */
#include "libvirt/domain-map.h"

#include <libxml/parser.h>
#include <string.h>

/* --- documents and text --- */

xmlDoc *vmhi_domain_parse(const char *xml, vmh_error **error)
{
    const int options = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING;
    xmlDoc   *doc = xml ? xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, options) : NULL;

    if (doc && vmhi_xml_is(xmlDocGetRootElement(doc), "domain"))
        return doc;
    xmlFreeDoc(doc);
    vmhi_error_set(error, VMH_ERR_INTERNAL, "libvirt described a VM by something that is no domain XML");
    return NULL;
}

char *vmhi_domain_node_text(xmlNode *node)
{
    xmlBuffer *buffer = xmlBufferCreate();
    char      *text;

    xmlNodeDump(buffer, node->doc, node, 0, 1);
    text = g_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}

char *vmhi_domain_text(xmlDoc *doc)
{
    return vmhi_domain_node_text(xmlDocGetRootElement(doc));
}

/* --- rows and paths --- */

/* The class whose devices a row is about, or NULL; *leaf is what follows the id. */
static const vmhi_domain_class *row_class(const vmhi_domain_row *row, const char **leaf)
{
    for (gsize i = 0; vmhi_domain_classes[i]; i++) {
        gsize length = strlen(vmhi_domain_classes[i]->name);

        if (strncmp(row->pattern, vmhi_domain_classes[i]->name, length) != 0 || row->pattern[length] != '.')
            continue;
        *leaf = row->pattern + length + strlen(".<id>.");
        return vmhi_domain_classes[i];
    }
    return NULL;
}

static const vmhi_domain_row *row_of(const char *pattern)
{
    for (gsize i = 0; i < vmhi_domain_row_count; i++)
        if (g_str_equal(vmhi_domain_rows[i].pattern, pattern))
            return &vmhi_domain_rows[i];
    return NULL;
}

/* The text of a path where its pattern has <id> or <n>, or NULL when it has neither. */
static char *path_id(const char *pattern, const char *path)
{
    const char *placeholder = strchr(pattern, '<');
    const char *start = placeholder ? path + (placeholder - pattern) : NULL;

    return start ? g_strndup(start, strcspn(start, ".")) : NULL;
}

void vmhi_domain_refuse(vmh_error **error, int32_t code, const vmhi_domain_class *class, const char *id,
                        const char *leaf, const char *format, ...)
{
    g_autofree char *path = vmhi_path(class->name, id, leaf);
    g_autofree char *text = NULL;
    va_list          arguments;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    vmhi_error_set_property(error, code, path, "%s: %s", path, text);
}

/* --- reading --- */

static void read_device(xmlNode *device, const vmhi_domain_class *class, vmh_spec *spec)
{
    g_autofree char *id = vmhi_domain_device_id(device);

    for (gsize i = 0; i < vmhi_domain_row_count; i++) {
        const vmhi_domain_row *row = &vmhi_domain_rows[i];
        const char            *leaf;
        g_autofree char       *path = NULL;

        if (row_class(row, &leaf) != class || !row->read)
            continue;
        path = vmhi_path(class->name, id, leaf);
        row->read(&(vmhi_domain_cell){.base = device, .row = row, .path = path, .id = id}, spec);
    }
}

vmh_spec *vmhi_domain_read(xmlDoc *doc)
{
    vmh_spec *spec = vmhi_spec_new("vm", NULL);
    xmlNode  *domain = xmlDocGetRootElement(doc);

    for (gsize i = 0; i < vmhi_domain_row_count; i++) {
        const vmhi_domain_row *row = &vmhi_domain_rows[i];
        const char            *leaf;

        if (row->read && !row_class(row, &leaf))
            row->read(&(vmhi_domain_cell){.base = domain, .row = row, .path = row->pattern}, spec);
    }
    for (xmlNode *node = vmhi_domain_devices(doc); node; node = xmlNextElementSibling(node)) {
        const vmhi_domain_class *class = vmhi_domain_class_of_node(node);

        if (class)
            read_device(node, class, spec);
    }
    return spec;
}

/* --- applying --- */

typedef struct {
    xmlDoc              *doc;
    const vmhi_platform *platform;
    const vmh_spec      *spec;
    vmh_spec            *before; /* what the document said */
    GStrv                paths;
    GHashTable          *devices; /* "disk.root" -> its element, whatever it is called on the way */
} application;

static gboolean is_removed(const vmh_spec *spec, const char *class_name, const char *id)
{
    g_autofree char *path = vmhi_path(class_name, id, "present");
    gboolean         present = TRUE;

    return vmhi_spec_bool(spec, path, &present) && !present;
}

/* Names in the order in which they get targets: those to boot from first, then by the alphabet. */
static GPtrArray *ids_in_order(const application *a, const vmhi_domain_class *class)
{
    GPtrArray  *ordered = g_ptr_array_new_with_free_func(g_free);
    const char *order = vmhi_spec_str(a->spec, "boot.order");
    g_auto(GStrv) first = g_strsplit(order ? order : "", ",", -1);
    g_auto(GStrv) ids = vmhi_spec_ids(a->spec, class->name);

    for (guint i = 0; first[i]; i++)
        if (g_strv_contains((const char *const *)ids, g_strstrip(first[i])))
            g_ptr_array_add(ordered, g_strdup(first[i]));
    for (guint i = 0; ids[i]; i++)
        if (!g_strv_contains((const char *const *)first, ids[i]))
            g_ptr_array_add(ordered, g_strdup(ids[i]));
    return ordered;
}

static void remove_device(xmlNode *device, const vmhi_domain_class *class)
{
    vmhi_domain_forget_device(device, class);
    vmhi_xml_remove(device);
}

static xmlNode *make_device(const application *a, const vmhi_domain_class *class, const char *id)
{
    xmlNode *devices = vmhi_xml_make(xmlDocGetRootElement(a->doc), "devices");
    xmlNode *device = vmhi_xml_append(devices, class->element);

    vmhi_domain_alias(device, class, id);
    class->begin(device, id, a->platform, a->spec);
    return device;
}

static void make_class(const application *a, const vmhi_domain_class *class)
{
    g_autoptr(GPtrArray) ids = ids_in_order(a, class);

    for (guint i = 0; i < ids->len; i++) {
        const char *id = ids->pdata[i];
        xmlNode    *device = vmhi_domain_device(a->doc, class->name, id);

        if (!is_removed(a->spec, class->name, id))
            g_hash_table_insert(a->devices, vmhi_path(class->name, id, "*"),
                                device ? device : make_device(a, class, id));
        else if (device)
            remove_device(device, class);
    }
}

/* The element of a device that the spec names; NULL when the spec removes it. */
static xmlNode *device_of(const application *a, const vmhi_domain_class *class, const char *id)
{
    g_autofree char *key = vmhi_path(class->name, id, "*");

    return g_hash_table_lookup(a->devices, key);
}

static gboolean complete_class(const application *a, const vmhi_domain_class *class, vmh_error **error)
{
    g_autoptr(GPtrArray) ids = ids_in_order(a, class);

    for (guint i = 0; i < ids->len; i++) {
        const char *id = ids->pdata[i];
        xmlNode    *device = device_of(a, class, id);

        if (device && class->complete && !class->complete(device, id, a->platform, a->spec, error))
            return FALSE;
        if (device)
            vmhi_domain_name_device(device, class, id, a->platform);
    }
    return TRUE;
}

/* Nothing to write: the document says so already, or says nothing and the default is asked for. */
static gboolean is_as_it_was(const application *a, const char *path)
{
    if (vmhi_domain_has(a->before, path))
        return vmhi_spec_same(a->before, a->spec, path);
    return vmhi_domain_is_default(a->spec, path);
}

static gboolean write_path(const application *a, const vmhi_domain_row *row, const char *path, vmh_error **error)
{
    const char *leaf;
    const vmhi_domain_class *class = row_class(row, &leaf);
    g_autofree char *id = path_id(row->pattern, path);
    xmlNode         *base = class ? device_of(a, class, id) : xmlDocGetRootElement(a->doc);
    const char      *obstacle;

    if (!base || is_as_it_was(a, path))
        return TRUE;
    obstacle = row->obstacle ? row->obstacle(a->platform) : NULL;
    if (obstacle) {
        vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, path, "%s: %s", path, obstacle);
        return FALSE;
    }
    return row->write(&(vmhi_domain_cell){.base = base, .row = row, .path = path, .id = id, .platform = a->platform},
                      a->spec, error);
}

static gboolean write_rows(const application *a, vmh_error **error)
{
    for (gsize i = 0; i < vmhi_domain_row_count; i++) {
        const vmhi_domain_row *row = &vmhi_domain_rows[i];

        for (guint j = 0; a->paths[j]; j++) {
            const vmh_property *property = vmhi_schema_lookup("vm", a->paths[j]);

            if (property && g_str_equal(property->pattern, row->pattern) && !write_path(a, row, a->paths[j], error))
                return FALSE;
        }
    }
    return TRUE;
}

static gboolean apply(const application *a, vmh_error **error)
{
    for (gsize i = 0; vmhi_domain_classes[i]; i++)
        make_class(a, vmhi_domain_classes[i]);
    if (!write_rows(a, error))
        return FALSE;
    for (gsize i = 0; vmhi_domain_classes[i]; i++)
        if (!complete_class(a, vmhi_domain_classes[i], error))
            return FALSE;
    return vmhi_domain_complete(xmlDocGetRootElement(a->doc), a->spec, error);
}

gboolean vmhi_domain_apply(xmlDoc *doc, const vmhi_platform *platform, const vmh_spec *spec, vmh_error **error)
{
    g_autoptr(vmh_spec) before = vmhi_domain_read(doc);
    g_auto(GStrv) paths = vmhi_spec_list(spec);
    g_autoptr(GHashTable) devices = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    return apply(&(application){doc, platform, spec, before, paths, devices}, error);
}

/* --- what can be expressed --- */

gboolean vmhi_domain_is(const vmhi_platform *platform, const char *type)
{
    return g_strcmp0(platform->type, type) == 0;
}

gboolean vmhi_domain_supports(const vmhi_platform *platform, const char *pattern, char **reason)
{
    const vmhi_domain_row *row = row_of(pattern);
    const char            *obstacle = row && row->obstacle ? row->obstacle(platform) : NULL;

    if (obstacle && reason)
        *reason = g_strdup(obstacle);
    return !obstacle;
}
