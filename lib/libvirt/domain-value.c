/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What many rows of the domain table share: texts, words, numbers, sizes, and elements that just are there. */
#include "libvirt/domain-map.h"

#include <string.h>

char *vmhi_domain_value(const vmh_spec *spec, const char *path)
{
    const vmhi_value *value = vmhi_spec_get(spec, path, NULL);

    if (value && vmhi_type_is_whole(value->type))
        return g_strdup_printf("%" G_GUINT64_FORMAT, value->u64);
    return value ? vmhi_schema_format(value) : NULL;
}

gboolean vmhi_domain_has(const vmh_spec *spec, const char *path)
{
    return vmhi_spec_get(spec, path, NULL) != NULL;
}

gboolean vmhi_domain_is_default(const vmh_spec *spec, const char *path)
{
    const vmh_property *property = vmhi_schema_lookup("vm", path);
    g_autofree char    *value = vmhi_domain_value(spec, path);

    return !value || !*value || (property->fallback && g_str_equal(value, property->fallback));
}

void vmhi_read_text(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    g_autofree char *text = vmhi_xml_get(cell->base, cell->row->place);

    if (text && *text)
        vmhi_spec_put(spec, cell->path, text);
}

gboolean vmhi_write_text(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    g_autofree char *text = vmhi_domain_value(spec, cell->path);

    (void)error;
    vmhi_xml_set(cell->base, cell->row->place, text && *text ? text : NULL);
    return TRUE;
}

/* The other side of a pair "ours=theirs", found by one of its sides. */
static char *translate(const char *words, const char *text, gboolean by_ours)
{
    g_auto(GStrv) pairs = g_strsplit(words, ",", -1);

    for (char **pair = pairs; *pair; pair++) {
        char *theirs = strchr(*pair, '=');

        *theirs++ = '\0';
        if (g_str_equal(by_ours ? *pair : theirs, text))
            return g_strdup(by_ours ? theirs : *pair);
    }
    return NULL;
}

void vmhi_read_words(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    g_autofree char *theirs = vmhi_xml_get(cell->base, cell->row->place);
    g_autofree char *ours = translate(cell->row->words, theirs ? g_strstrip(theirs) : "", FALSE);

    if (ours)
        vmhi_spec_put(spec, cell->path, ours);
}

gboolean vmhi_write_words(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    g_autofree char *ours = vmhi_domain_value(spec, cell->path);
    g_autofree char *theirs = translate(cell->row->words, ours, TRUE);

    if (!theirs) {
        vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, cell->path, "%s: libvirt has no \"%s\"", cell->path,
                                ours);
        return FALSE;
    }
    vmhi_xml_set(cell->base, cell->row->place, *theirs ? theirs : NULL);
    return TRUE;
}

void vmhi_read_number(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    guint64 number;
    guint64 unit = MAX(cell->row->unit, 1);

    if (vmhi_xml_number(cell->base, cell->row->place, &number) && number <= G_MAXUINT64 / unit)
        vmhi_spec_put_u64(spec, cell->path, number * unit);
}

/* 0 is none in every row of this kind; what does not fit the unit is rounded up, never to nothing. */
gboolean vmhi_write_number(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    guint64 number = 0;
    guint64 unit = MAX(cell->row->unit, 1);

    (void)error;
    vmhi_spec_u64(spec, cell->path, &number);
    if (number)
        vmhi_xml_set_number(cell->base, cell->row->place, number / unit + (number % unit != 0));
    else
        vmhi_xml_set(cell->base, cell->row->place, NULL);
    return TRUE;
}

static guint64 unit_bytes(const char *unit)
{
    static const struct {
        const char *name;
        guint64     bytes;
    } units[] = {{"b", 1},
                 {"bytes", 1},
                 {"KB", 1000},
                 {"k", 1024},
                 {"KiB", 1024},
                 {"MB", 1000000},
                 {"M", 1024 * 1024},
                 {"MiB", 1024 * 1024},
                 {"GB", 1000000000},
                 {"G", 1024 * 1024 * 1024},
                 {"GiB", 1024 * 1024 * 1024},
                 {"TB", G_GUINT64_CONSTANT(1000000000000)},
                 {"T", G_GUINT64_CONSTANT(1) << 40},
                 {"TiB", G_GUINT64_CONSTANT(1) << 40}};

    for (gsize i = 0; i < G_N_ELEMENTS(units); i++)
        if (!g_ascii_strcasecmp(unit, units[i].name))
            return units[i].bytes;
    return 0;
}

guint64 vmhi_domain_memory(xmlNode *base, const char *place)
{
    xmlNode         *node = vmhi_xml_find(base, place);
    g_autofree char *unit = node ? vmhi_xml_get(node, "@unit") : NULL;
    guint64          bytes = unit_bytes(unit ? unit : "KiB");
    guint64          number;

    if (!bytes || !vmhi_xml_number(base, place, &number) || number > G_MAXUINT64 / bytes)
        return 0;
    return number * bytes;
}

void vmhi_read_memory(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    guint64 bytes = vmhi_domain_memory(cell->base, cell->row->place);

    if (bytes)
        vmhi_spec_put_u64(spec, cell->path, bytes);
}

gboolean vmhi_write_memory(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    guint64 bytes = 0;

    (void)error;
    vmhi_spec_u64(spec, cell->path, &bytes);
    vmhi_xml_set_number(cell->base, cell->row->place, bytes / 1024 + (bytes % 1024 != 0));
    xmlSetProp(vmhi_xml_find(cell->base, cell->row->place), BAD_CAST "unit", BAD_CAST "KiB");
    return TRUE;
}

void vmhi_read_presence(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    vmhi_spec_put_bool(spec, cell->path, vmhi_xml_find(cell->base, cell->row->place) != NULL);
}

gboolean vmhi_write_presence(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    gboolean wanted = FALSE;

    (void)error;
    vmhi_spec_bool(spec, cell->path, &wanted);
    if (wanted)
        vmhi_xml_make(cell->base, cell->row->place);
    else
        vmhi_xml_set(cell->base, cell->row->place, NULL);
    return TRUE;
}
