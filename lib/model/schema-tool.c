/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs at build time: writes properties.h or the reference page from properties.def and metrics.def. */
#include <glib.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *kind, *path, *type, *unit;
    double      minimum, maximum;
    const char *values, *fallback;
    unsigned    flags;
    const char *since, *doc;
} property;

typedef struct {
    const char *pattern, *unit;
    gboolean    counter;
    const char *since, *doc;
} metric;

enum { LIVE = 1, READONLY = 2, SECRET = 4 };

static const property properties[] = {
#define PROPERTY(kind, path, type, unit, minimum, maximum, values, fallback, flags, since, doc)                      \
    {#kind, path, #type, unit, minimum, maximum, values, fallback, flags, since, doc},
#include "model/properties.def"
};

static const metric metrics[] = {
#define METRIC(NAME, pattern, unit, counter, since, doc) {pattern, unit, counter, since, doc},
#include "model/metrics.def"
};

/* VMH_P_DISK_PATH from "disk.<id>.path"; other kinds have their own name in the place of P. */
static char *constant_name(const property *p)
{
    GString    *name = g_string_new("VMH_");
    const char *c;

    g_string_append(name, strcmp(p->kind, "vm") == 0 ? "P" : p->kind);
    g_string_ascii_up(name);
    g_string_append_c(name, '_');
    for (c = p->path; *c; c++) {
        if (*c == '<') {
            c = strchr(c, '>');
            c += c[1] == '.';
        } else {
            g_string_append_c(name, g_ascii_isalnum(*c) ? g_ascii_toupper(*c) : '_');
        }
    }
    if (name->str[name->len - 1] == '_')
        g_string_truncate(name, name->len - 1);
    return g_string_free(name, FALSE);
}

/* A path with a name of the caller's in it becomes a macro of that name, still a string literal. */
static void print_constant(const property *p)
{
    g_autofree char *name = constant_name(p);
    const char      *open = strchr(p->path, '<');
    const char      *close = open ? strchr(open, '>') + 1 : NULL;

    if (!open)
        printf("#define %s \"%s\"\n", name, p->path);
    else if (*close)
        printf("#define %s(id) \"%.*s\" id \"%s\"\n", name, (int)(open - p->path), p->path, close);
    else
        printf("#define %s(id) \"%.*s\" id\n", name, (int)(open - p->path), p->path);
}

static void print_header(void)
{
    puts("/* SPDX-License-Identifier: LGPL-2.1-or-later */\n"
         "/* Every property's path as a constant; made from the schema, not to be edited. */\n"
         "/* Where a path has a name of the caller's in it, give a string literal: VMH_P_DISK_PATH(\"root\"). */\n"
         "#ifndef VMHOST_PROPERTIES_H\n"
         "#define VMHOST_PROPERTIES_H\n");
    for (size_t i = 0; i < G_N_ELEMENTS(properties); i++) {
        if (i && strcmp(properties[i].kind, properties[i - 1].kind) != 0)
            putchar('\n');
        print_constant(&properties[i]);
    }
    puts("\n#endif");
}

/* "1 to 4096 CPUs", "auto, kvm or tcg", "text": the column that says what may be written there. */
static void print_value(const property *p)
{
    gboolean number = strcmp(p->type, "U64") == 0 || strcmp(p->type, "F64") == 0;

    if (p->values) {
        g_auto(GStrv) words = g_strsplit(p->values, "|", -1);
        g_autofree char *list = g_strjoinv(", ", words);
        printf("%s", list);
    } else {
        g_autofree char *type = g_ascii_strdown(p->type, -1);
        printf("%s", strcmp(type, "u64") == 0 ? "count" : strcmp(type, "f64") == 0 ? "decimal" : type);
        if (number && p->maximum > 0)
            printf(", %g to %.10g", p->minimum, p->maximum);
    }
    if (p->unit)
        printf(" (%s)", p->unit);
}

static void print_kind(const char *kind, const char *title)
{
    printf("\n## %s\n\n| property | value | default | changes live | since | |\n|---|---|---|---|---|---|\n", title);
    for (size_t i = 0; i < G_N_ELEMENTS(properties); i++) {
        const property *p = &properties[i];
        if (strcmp(p->kind, kind) != 0)
            continue;
        printf("| `%s` | ", p->path);
        print_value(p);
        printf(" | %s | %s | %s | %s |\n", p->fallback ? p->fallback : "",
               p->flags & READONLY ? "read-only"
               : p->flags & LIVE   ? "yes"
                                   : "",
               p->since, p->doc);
    }
}

static void print_reference(void)
{
    puts("# Properties and metrics\n\n"
         "Made from the schema (`lib/model/properties.def`, `metrics.def`); not to be edited.\n\n"
         "Sizes, rates and durations are kept in bytes, bytes a second and milliseconds, and read as people write\n"
         "them: `2GiB`, `10MiB/s`, `1Gbit/s`, `30s`. A set is numbers and ranges: `0-3,8`. Whether a host can do a\n"
         "property is for `vmh_host_supports()` to say.");
    print_kind("vm", "A virtual machine (kind `vm`)");
    print_kind("host", "A host's description (kind `host`)");
    print_kind("open", "Options of `vmh_host_open()` (kind `open`)");
    print_kind("migrate", "Options of `vmh_vm_migrate()` (kind `migrate`)");
    puts("\n## Metrics\n\n| metric | unit | | since | |\n|---|---|---|---|---|");
    for (size_t i = 0; i < G_N_ELEMENTS(metrics); i++)
        printf("| `%s` | %s | %s | %s | %s |\n", metrics[i].pattern, metrics[i].unit,
               metrics[i].counter ? "counter" : "gauge", metrics[i].since, metrics[i].doc);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "header") == 0)
        print_header();
    else if (argc == 2 && strcmp(argv[1], "reference") == 0)
        print_reference();
    else {
        fputs("usage: schema-tool header|reference\n", stderr);
        return 2;
    }
    return 0;
}
