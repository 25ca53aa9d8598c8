/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What reaches the terminal: safe text, tables, JSON, and numbers with units. */
#include "cli.h"
#include <stdio.h>
#include <string.h>

/* In JSON a character beyond 16 bits is written as two. */
static void append_escape(GString *out, gunichar c)
{
    if (c > 0xffff)
        g_string_append_printf(out, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
    else
        g_string_append_printf(out, "\\u%04x", c);
}

/* Names come from guests and other users: none may move the cursor, or turn the text around. */
static char *escape(const char *text, gboolean keep_newlines)
{
    GString *out = g_string_new(NULL);

    while (*text) {
        gunichar c = g_utf8_get_char_validated(text, -1);

        if (c == (gunichar)-1 || c == (gunichar)-2) { /* no UTF-8 */
            g_string_append_printf(out, "\\x%02x", (guchar)*text++);
            continue;
        }
        if (g_unichar_isprint(c) || (c == '\n' && keep_newlines))
            g_string_append_unichar(out, c);
        else
            append_escape(out, c);
        text = g_utf8_next_char(text);
    }
    return g_string_free(out, FALSE);
}

char *cli_printable(const char *text)
{
    return escape(text, FALSE);
}

void cli_print_json(const char *json)
{
    g_autofree char *safe = escape(json, TRUE);
    puts(safe);
}

void cli_print_builder(JsonBuilder *builder, gboolean pretty)
{
    g_autoptr(JsonNode) root = json_builder_get_root(builder);
    g_autoptr(JsonGenerator) generator = json_generator_new();
    g_autofree char *text = NULL;

    json_generator_set_root(generator, root);
    json_generator_set_pretty(generator, pretty);
    text = json_generator_to_data(generator, NULL);
    cli_print_json(text);
}

void cli_json_str(JsonBuilder *builder, const char *key, const char *value)
{
    json_builder_set_member_name(builder, key);
    if (value)
        json_builder_add_string_value(builder, value);
    else
        json_builder_add_null_value(builder);
}

void cli_json_u64(JsonBuilder *builder, const char *key, guint64 value)
{
    json_builder_set_member_name(builder, key);
    if (value == VMH_METRIC_NONE)
        json_builder_add_null_value(builder);
    else if (value > G_MAXINT64)
        json_builder_add_double_value(builder, (double)value);
    else
        json_builder_add_int_value(builder, (gint64)value);
}

void cli_json_f64(JsonBuilder *builder, const char *key, double value)
{
    const double exact = 9007199254740992.0; /* up to here a whole number is written as one */

    json_builder_set_member_name(builder, key);
    if (value > -exact && value < exact && value == (double)(gint64)value)
        json_builder_add_int_value(builder, (gint64)value);
    else
        json_builder_add_double_value(builder, value);
}

void cli_json_bool(JsonBuilder *builder, const char *key, int32_t value)
{
    json_builder_set_member_name(builder, key);
    json_builder_add_boolean_value(builder, value != 0);
}

int cli_print_spec(const vmh_spec *spec, gboolean json)
{
    g_autoptr(GPtrArray) table = cli_table_new();
    vmh_error *error = NULL;
    char     **paths = NULL;
    char      *text;

    if (json) {
        text = vmh_spec_to_json(spec, VMH_JSON_PRETTY, &error);
        if (!text)
            return cli_fail(error, "writing JSON");
        cli_print_json(text);
        vmh_free(text);
        return CLI_OK;
    }
    cli_table_add(table, "PROPERTY", "VALUE", NULL);
    vmh_spec_paths(spec, &paths);
    for (size_t i = 0; paths && paths[i]; i++) {
        text = vmh_spec_get_text_dup(spec, paths[i], NULL);
        cli_table_add(table, paths[i], text ? text : "-", NULL);
        vmh_free(text);
    }
    vmh_free(paths);
    cli_table_print(table);
    return CLI_OK;
}

GPtrArray *cli_table_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
}

void cli_table_row(GPtrArray *table)
{
    g_ptr_array_add(table, g_ptr_array_new_with_free_func(g_free));
}

void cli_table_cell(GPtrArray *table, const char *text)
{
    g_ptr_array_add(table->pdata[table->len - 1], cli_printable(text));
}

void cli_table_metric(GPtrArray *table, const char *name, guint64 value)
{
    g_autofree char *text = cli_metric(name, value);
    cli_table_cell(table, text);
}

void cli_table_add(GPtrArray *table, ...)
{
    const char *text;
    va_list     list;

    cli_table_row(table);
    va_start(list, table);
    while ((text = va_arg(list, const char *)))
        cli_table_cell(table, text);
    va_end(list);
}

static guint width(const char *text)
{
    guint columns = 0;

    for (; *text; text = g_utf8_next_char(text)) {
        gunichar c = g_utf8_get_char(text);
        columns += g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
    }
    return columns;
}

void cli_table_print(GPtrArray *table)
{
    g_autoptr(GArray) widths = g_array_new(FALSE, TRUE, sizeof(guint));

    for (guint r = 0; r < table->len; r++) {
        const GPtrArray *row = table->pdata[r];

        if (row->len > widths->len)
            g_array_set_size(widths, row->len);
        for (guint c = 0; c < row->len; c++)
            g_array_index(widths, guint, c) = MAX(g_array_index(widths, guint, c), width(row->pdata[c]));
    }
    for (guint r = 0; r < table->len; r++) {
        const GPtrArray *row = table->pdata[r];
        guint            fill = 0; /* no blanks at the end of a line */

        for (guint c = 0; c < row->len; c++) {
            const char *text = row->pdata[c];

            if (*text) {
                printf("%*s%s", (int)fill, "", text);
                fill = 0;
            }
            fill += g_array_index(widths, guint, c) - width(text) + 2;
        }
        putchar('\n');
    }
}

char *cli_size(guint64 bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double                   value = (double)bytes;
    guint                    unit = 0;

    for (; value >= 1024 && unit + 1 < G_N_ELEMENTS(units); unit++)
        value /= 1024;
    return g_strdup_printf(value == (guint64)value ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

char *cli_seconds(guint64 seconds)
{
    if (seconds < 60)
        return g_strdup_printf("%d s", (int)seconds);
    if (seconds < 3600)
        return g_strdup_printf("%d min %02d s", (int)(seconds / 60), (int)(seconds % 60));
    return g_strdup_printf("%" G_GUINT64_FORMAT " h %02d min", seconds / 3600, (int)(seconds / 60 % 60));
}

char *cli_time(guint64 ms)
{
    if (ms < 1000)
        return g_strdup_printf("%d ms", (int)ms);
    return ms < 60000 ? g_strdup_printf("%.1f s", (double)ms / 1000) : cli_seconds(ms / 1000);
}

char *cli_metric(const char *name, guint64 value)
{
    const vmh_metric *metric = vmh_metric_find(name, NULL);
    const char       *unit = metric ? vmh_metric_unit(metric) : "1";

    if (value == VMH_METRIC_NONE)
        return g_strdup("-");
    if (strcmp(unit, "bytes") == 0)
        return cli_size(value);
    if (strcmp(unit, "ns") == 0)
        return cli_time(value / 1000000);
    return g_strdup_printf("%" G_GUINT64_FORMAT, value);
}

/* How many letters must be changed, added or dropped to make one word of the other. */
static guint distance(const char *a, const char *b)
{
    gsize             length = strlen(b);
    g_autofree guint *row = g_new(guint, length + 1);

    for (gsize j = 0; j <= length; j++)
        row[j] = (guint)j;
    for (gsize i = 0; a[i]; i++) {
        guint diagonal = row[0];
        row[0] = (guint)i + 1;
        for (gsize j = 0; j < length; j++) {
            guint changed = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = MIN(changed, 1 + MIN(row[j], diagonal));
        }
    }
    return row[length];
}

char *cli_nearest(const char *word, const char **choices)
{
    const char *best = NULL;
    guint       least = (guint)MIN(strlen(word), 64) / 2 + 1; /* with more changes it is another word */

    if (strlen(word) > 64)
        return NULL;
    for (; *choices; choices++) {
        guint changes = distance(word, *choices);
        if (changes < least) {
            least = changes;
            best = *choices;
        }
    }
    return g_strdup(best);
}
