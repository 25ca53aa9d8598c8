/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text values are checked here once, so that no driver has to fear what it puts into XML, a path or a command. */
#include "model/text.h"

#include <gio/gio.h>
#include <string.h>

enum { STRING_LIMIT = 255, SET_LIMIT = 65535 };

/* --- what single properties ask of their text, beyond its type --- */

static gboolean is_made_of(const char *text, const char *others)
{
    for (; *text; text++)
        if (!g_ascii_isalnum(*text) && !strchr(others, *text))
            return FALSE;
    return TRUE;
}

static gboolean is_name(const char *text)
{
    return *text && !strchr(text, '/') && strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

/* As Linux names its network devices. */
static gboolean is_device(const char *text)
{
    return is_name(text) && !strpbrk(text, ": ");
}

static gboolean is_word(const char *text)
{
    return *text && is_made_of(text, "_.+-");
}

static gboolean is_serial(const char *text)
{
    return is_made_of(text, "_.+-");
}

static gboolean is_target(const char *text)
{
    return *text && is_made_of(text, "");
}

static gboolean is_order(const char *text)
{
    return is_made_of(text, ",_-");
}

static gboolean is_volume(const char *text)
{
    const char *slash = strchr(text, '/');

    return slash && slash > text && slash[1];
}

static gboolean is_url(const char *text)
{
    g_autofree char *scheme = g_uri_parse_scheme(text);

    return scheme && g_str_has_prefix(text + strlen(scheme), "://") && !strchr(text, ' ');
}

static gboolean is_address(const char *text)
{
    return g_hostname_is_ip_address(text) && !strchr(text, '%');
}

static gboolean is_console(const char *text)
{
    return strcmp(text, "pty") == 0 || g_str_has_prefix(text, "file:/") || g_str_has_prefix(text, "unix:/");
}

static const struct rule {
    const char *kind;
    const char *pattern;
    gboolean (*allows)(const char *text);
    const char *expected;
} rules[] = {
    {"vm", "name", is_name, "a name without a slash"},
    {"vm", "arch", is_word, "a word of A-Z a-z 0-9 _ . + -"},
    {"vm", "machine", is_word, "a word of A-Z a-z 0-9 _ . + -"},
    {"vm", "boot.order", is_order, "names of disks and NICs with commas"},
    {"vm", "cpu.model", is_word, "a word of A-Z a-z 0-9 _ . + -"},
    {"vm", "disk.<id>.volume", is_volume, "a volume as pool/name"},
    {"vm", "disk.<id>.url", is_url, "a URL such as nbd://host:port/export"},
    {"vm", "disk.<id>.target", is_target, "a device name such as vda"},
    {"vm", "disk.<id>.serial", is_serial, "a word of A-Z a-z 0-9 _ . + -"},
    {"vm", "nic.<id>.network", is_name, "a name without a slash"},
    {"vm", "nic.<id>.bridge", is_device, "the name of a network device"},
    {"vm", "nic.<id>.tap", is_device, "the name of a network device"},
    {"vm", "nic.<id>.address", is_address, "an IP address"},
    {"vm", "nic.<id>.filter", is_name, "a name without a slash"},
    {"vm", "console.<id>.to", is_console, "pty, file:PATH or unix:PATH"},
    {"migrate", "name", is_name, "a name without a slash"},
};

static const struct rule *rule_of(const vmh_property *property)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++)
        if (strcmp(rules[i].pattern, property->pattern) == 0 && strcmp(rules[i].kind, property->kind) == 0)
            return &rules[i];
    return NULL;
}

const char *vmhi_text_expectation(const vmh_property *property)
{
    const struct rule *rule = rule_of(property);

    return rule ? rule->expected : NULL;
}

/* --- what all text must be --- */

size_t vmhi_text_limit(const vmh_property *property)
{
    return property->maximum > 0 ? (size_t)property->maximum : STRING_LIMIT;
}

/* Texts for people may have lines. No other control character can stand in XML, nor be meant. */
static gboolean may_have_lines(const vmh_property *property)
{
    return strcmp(property->pattern, "description") == 0 || g_str_has_prefix(property->pattern, "metadata.");
}

static gboolean is_forbidden(gunichar c, gboolean lines)
{
    if (lines && (c == '\n' || c == '\t'))
        return FALSE;
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xfffe || c == 0xffff;
}

static gboolean check_characters(const vmh_property *property, const char *path, const char *text, vmh_error **error)
{
    gboolean lines = may_have_lines(property);

    if (!g_utf8_validate(text, -1, NULL)) {
        vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s is not valid UTF-8", path);
        return FALSE;
    }
    for (const char *c = text; *c; c = g_utf8_next_char(c)) {
        if (!is_forbidden(g_utf8_get_char(c), lines))
            continue;
        vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s must not hold the control character U+%04X", path,
                                g_utf8_get_char(c));
        return FALSE;
    }
    return TRUE;
}

static gboolean check_length(const vmh_property *property, const char *path, const char *text, vmh_error **error)
{
    size_t limit = vmhi_text_limit(property);

    if (strnlen(text, limit + 1) <= limit)
        return TRUE;
    vmhi_error_set_property(error, VMH_ERR_VALUE, path,
                            "%s takes at most %" G_GSIZE_FORMAT " bytes, not %" G_GSIZE_FORMAT, path, limit,
                            strlen(text));
    return FALSE;
}

static gboolean check_string(const vmh_property *property, const char *path, const char *text, vmh_error **error)
{
    return check_length(property, path, text, error) && check_characters(property, path, text, error);
}

/* --- the types; each gives the form in which the value is kept, or NULL --- */

static char *parse_string(const vmh_property *property, const char *text)
{
    const struct rule *rule = rule_of(property);

    return !rule || rule->allows(text) ? g_strdup(text) : NULL;
}

static char *parse_enum(const vmh_property *property, const char *text)
{
    g_auto(GStrv) words = g_strsplit(property->values, "|", -1);

    return g_strv_contains((const char *const *)words, text) ? g_strdup(text) : NULL;
}

static char *parse_uuid(const char *text)
{
    return g_uuid_string_is_valid(text) ? g_ascii_strdown(text, -1) : NULL;
}

static char *parse_mac(const char *text)
{
    if (strlen(text) != strlen("52:54:00:12:34:56"))
        return NULL;
    for (size_t i = 0; text[i]; i++)
        if (i % 3 == 2 ? text[i] != ':' : !g_ascii_isxdigit(text[i]))
            return NULL;
    if (g_ascii_xdigit_value(text[1]) & 1)
        return NULL; /* Of a group, not of a card. */
    if (strspn(text, "0:") == strlen(text))
        return NULL; /* Of none. */
    return g_ascii_strdown(text, -1);
}

typedef struct {
    unsigned first, last;
} range;

/* Reads a number up to `maximum`, and where it ends. */
static gboolean read_member(const char **text, unsigned maximum, unsigned *member)
{
    guint64 number = 0;

    if (!g_ascii_isdigit(**text))
        return FALSE;
    for (; g_ascii_isdigit(**text); (*text)++) {
        number = number * 10 + (guint64)g_ascii_digit_value(**text);
        if (number > maximum)
            return FALSE;
    }
    *member = (unsigned)number;
    return TRUE;
}

static GArray *read_ranges(const char *text, unsigned maximum)
{
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(range));

    for (;; text++) {
        range read;

        if (!read_member(&text, maximum, &read.first))
            return NULL;
        read.last = read.first;
        if (*text == '-') {
            text++;
            if (!read_member(&text, maximum, &read.last) || read.last < read.first)
                return NULL;
        }
        g_array_append_val(ranges, read);
        if (!*text)
            return g_steal_pointer(&ranges);
        if (*text != ',')
            return NULL;
    }
}

static int compare_ranges(const void *a, const void *b)
{
    const range *left = a;
    const range *right = b;

    return (left->first > right->first) - (left->first < right->first);
}

/* Sorted, and those that touch made one: the same set is always the same text. */
static char *parse_set(const vmh_property *property, const char *text)
{
    unsigned maximum = property->maximum > 0 ? (unsigned)property->maximum : SET_LIMIT;
    g_autoptr(GArray) ranges = read_ranges(text, maximum);
    GString *set;

    if (!ranges)
        return NULL;
    g_array_sort(ranges, compare_ranges);
    set = g_string_new("");
    for (guint i = 0; i < ranges->len; i++) {
        range merged = g_array_index(ranges, range, i);

        for (; i + 1 < ranges->len && g_array_index(ranges, range, i + 1).first <= merged.last + 1; i++)
            merged.last = MAX(merged.last, g_array_index(ranges, range, i + 1).last);
        g_string_append_printf(set, merged.first == merged.last ? "%s%u" : "%s%u-%u", set->len ? "," : "",
                               merged.first, merged.last);
    }
    return g_string_free(set, FALSE);
}

static char *parse_type(const vmh_property *property, const char *text)
{
    switch (property->type) {
    case VMH_TYPE_ENUM:
        return parse_enum(property, text);
    case VMH_TYPE_SET:
        return parse_set(property, text);
    case VMH_TYPE_UUID:
        return parse_uuid(text);
    case VMH_TYPE_MAC:
        return parse_mac(text);
    case VMH_TYPE_PATH:
        return *text == '/' ? g_strdup(text) : NULL;
    default:
        return parse_string(property, text);
    }
}

char *vmhi_text_parse(const vmh_property *property, const char *path, const char *text, vmh_error **error)
{
    gboolean free_text = property->type == VMH_TYPE_STRING || property->type == VMH_TYPE_PATH;
    char    *kept;

    if (free_text && !check_string(property, path, text, error))
        return NULL;
    kept = !*text && (property->flags & VMHI_EMPTY) ? g_strdup("") : parse_type(property, text);
    if (!kept)
        vmhi_refuse_value(property, path, text, error);
    return kept;
}
