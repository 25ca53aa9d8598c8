/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs at build time: writes properties.h or the reference page from properties.def and metrics.def. */
#include "model/frame.h"
#include "model/schema.h"

#include <stdio.h>
#include <string.h>

static const char *const kinds[][2] = {
    {"vm", "A virtual machine (kind `vm`)"},
    {"host", "A host's description (kind `host`)"},
    {"open", "Options of `vmh_host_open()` (kind `open`)"},
    {"migrate", "Options of `vmh_vm_migrate()` (kind `migrate`)"},
};

static const vmh_metric metrics[] = {
#define METRIC(NAME, pattern, unit, counter, since, doc) {pattern, unit, counter, since, doc},
#include "model/metrics.def"
};

/* VMH_P_DISK_PATH from "disk.<id>.path"; other kinds have their own name in the place of P. */
static char *constant_name(const vmh_property *p)
{
    g_auto(GStrv) words = g_strsplit_set(p->pattern, ".-", -1);
    GString *name = g_string_new("VMH");

    g_string_append_printf(name, "_%s", strcmp(p->kind, "vm") == 0 ? "P" : p->kind);
    for (char **word = words; *word; word++)
        if (**word != '<')
            g_string_append_printf(name, "_%s", *word);
    for (char *c = name->str; *c; c++)
        *c = g_ascii_toupper(*c);
    return g_string_free(name, FALSE);
}

/* A path with a name of the caller's in it becomes a macro of that name, still a string literal. */
static void print_constant(const vmh_property *p)
{
    g_autofree char *name = constant_name(p);
    const char      *open = strchr(p->pattern, '<');
    const char      *close = open ? strchr(open, '>') + 1 : NULL;

    if (!open)
        printf("#define %s \"%s\"\n", name, p->pattern);
    else if (*close)
        printf("#define %s(id) \"%.*s\" id \"%s\"\n", name, (int)(open - p->pattern), p->pattern, close);
    else
        printf("#define %s(id) \"%.*s\" id\n", name, (int)(open - p->pattern), p->pattern);
}

static void print_header(void)
{
    puts("/* SPDX-License-Identifier: LGPL-2.1-or-later */\n"
         "/* Every property's path as a constant; made from the schema, not to be edited. */\n"
         "/* Where a path has a name of the caller's in it, give a string literal: VMH_P_DISK_PATH(\"root\"). */\n"
         "#ifndef VMHOST_PROPERTIES_H\n"
         "#define VMHOST_PROPERTIES_H\n");
    for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
        size_t              count;
        const vmh_property *list = vmhi_schema_list(kinds[k][0], &count);

        if (k)
            putchar('\n');
        for (size_t i = 0; i < count; i++)
            print_constant(&list[i]);
    }
    puts("\n#endif");
}

static void print_range(const vmh_property *p)
{
    vmhi_value minimum = {.type = p->type, .u64 = (uint64_t)p->minimum};
    vmhi_value maximum = {.type = p->type, .u64 = (uint64_t)p->maximum};

    if (p->maximum == 0)
        return;
    if (vmhi_type_is_whole(p->type)) {
        g_autofree char *from = vmhi_schema_format(&minimum);
        g_autofree char *to = vmhi_schema_format(&maximum);
        printf(", %s to %s", from, to);
    } else if (p->type == VMH_TYPE_F64 || p->type == VMH_TYPE_SET) {
        printf(", %g to %g", p->minimum, p->maximum);
    } else {
        printf(", up to %g bytes", p->maximum);
    }
}

/* "count, 1 to 4096 (CPUs)", "auto, kvm, tcg", "path": what may be written there. */
static void print_value(const vmh_property *p)
{
    static const char *const names[] = {
        [VMH_TYPE_STRING] = "text",       [VMH_TYPE_BOOL] = "yes, no", [VMH_TYPE_U64] = "count",
        [VMH_TYPE_F64] = "decimal",       [VMH_TYPE_SIZE] = "size",    [VMH_TYPE_RATE] = "rate",
        [VMH_TYPE_DURATION] = "duration", [VMH_TYPE_SET] = "set",      [VMH_TYPE_UUID] = "UUID",
        [VMH_TYPE_MAC] = "MAC address",   [VMH_TYPE_PATH] = "path",    [VMH_TYPE_DESCRIPTOR] = "descriptor",
    };
    g_auto(GStrv) words = g_strsplit(p->values ? p->values : names[p->type], "|", -1);
    g_autofree char *list = g_strjoinv(", ", words);

    printf("%s", list);
    print_range(p);
    if (p->unit && (p->type == VMH_TYPE_U64 || p->type == VMH_TYPE_F64 || p->type == VMH_TYPE_SET))
        printf(" (%s)", p->unit);
    if (p->flags & VMHI_HEX)
        printf(", also as 0x1f");
    if (p->flags & VMHI_EMPTY)
        printf(", or empty");
}

static void print_kind(const char *kind, const char *title)
{
    size_t              count;
    const vmh_property *list = vmhi_schema_list(kind, &count);

    printf("\n## %s\n\n| property | value | default | changes live | since | |\n|---|---|---|---|---|---|\n", title);
    for (const vmh_property *p = list; p < list + count; p++) {
        printf("| `%s` | ", p->pattern);
        print_value(p);
        printf(" | %s | %s | %s | %s |\n", p->fallback ? p->fallback : "",
               p->flags & VMHI_READONLY ? "read-only"
               : p->flags & VMHI_LIVE   ? "yes"
                                        : "",
               p->since, p->doc);
    }
}

static void print_reference(void)
{
    puts("# Properties and metrics\n\n"
         "Made from the schema (`lib/model/properties.def`, `metrics.def`) by `schema-tool reference`; not to be "
         "edited.\n\n"
         "`<id>` is a name of the caller's, 1 to 32 of `A-Z a-z 0-9 _ -`; `<n>` is a number. Sizes, rates and "
         "durations\n"
         "are kept in bytes, bytes a second and milliseconds, and read as people write them: `2GiB`, `1.5GiB`, "
         "`2GB`,\n"
         "`10MiB/s`, `1Gbit/s`, `250ms`, `30s`, `5min`, `1h`. A set is numbers and ranges: `0-3,8`. Text whose limit "
         "is\n"
         "not given takes 255 bytes. Whether a host can do a property is for `vmh_host_supports()` to say.");
    for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++)
        print_kind(kinds[k][0], kinds[k][1]);
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
