/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Specs as JSON. json-glib builds and reads the trees; what it would let pass and JSON does not have is refused. */
#include "model/spec.h"
#include "model/text.h"

#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

enum { SIZE_LIMIT = 4 * 1024 * 1024, DEPTH_LIMIT = 16, DIGITS_LIMIT = 18 };

/* Above this, readers that keep numbers as doubles would change it. */
#define EXACT_LIMIT (UINT64_C(1) << 53)

/* --- the tree of a spec --- */

static JsonObject *child_of(JsonObject *object, const char *name)
{
    JsonObject *child;

    if (json_object_has_member(object, name))
        return json_object_get_object_member(object, name);
    child = json_object_new();
    json_object_set_object_member(object, name, child);
    return child;
}

static void add_value(JsonObject *object, const char *name, const vmhi_value *value)
{
    g_autofree char *digits = NULL;

    if (vmhi_type_is_text(value->type)) {
        json_object_set_string_member(object, name, value->text);
    } else if (value->type == VMH_TYPE_BOOL) {
        json_object_set_boolean_member(object, name, value->flag);
    } else if (value->type == VMH_TYPE_F64) {
        json_object_set_double_member(object, name, value->f64);
    } else if (value->type == VMH_TYPE_DESCRIPTOR) {
        g_autofree char *text = vmhi_schema_format(value);
        json_object_set_string_member(object, name, text);
    } else if (value->u64 <= EXACT_LIMIT) {
        json_object_set_int_member(object, name, (gint64)value->u64);
    } else {
        digits = g_strdup_printf("%" G_GUINT64_FORMAT, value->u64);
        json_object_set_string_member(object, name, digits);
    }
}

typedef struct {
    const char *kind;
    JsonObject *root;
} writing;

static gboolean add_path(void *key, void *value, void *data)
{
    writing    *to = data;
    JsonObject *object = to->root;
    g_auto(GStrv) names = g_strsplit(key, ".", -1);
    char **name = names;

    if (vmhi_schema_lookup(to->kind, key)->flags & VMHI_SECRET)
        return FALSE;
    for (; name[1]; name++)
        object = child_of(object, *name);
    add_value(object, *name, value);
    return FALSE;
}

/* --- the text, before it is parsed: only what is JSON, and not so deep that the parser's stack would overflow --- */

static void refuse_text(const char *text, const char *at, const char *why, vmh_error **error)
{
    unsigned line = 1;

    for (; text < at; text++)
        line += *text == '\n';
    vmhi_error_set(error, VMH_ERR_VALUE, "this is not JSON: line %u: %s", line, why);
}

/* Each of these reads one token and returns its end, or NULL and says why. The text ends in NUL. */
static const char *skip_escape(const char *text, const char **why)
{
    *why = "an escape that JSON does not have";
    if (*text == 'u') {
        for (int i = 1; i <= 4; i++)
            if (!g_ascii_isxdigit(text[i]))
                return NULL;
        *why = "a string with a NUL in it";
        return strncmp(text, "u0000", 5) != 0 ? text + 5 : NULL;
    }
    return *text && strchr("\"\\/bfnrt", *text) ? text + 1 : NULL;
}

static const char *skip_string(const char *text, const char **why)
{
    for (text++; text && *text != '"';) {
        if ((guchar)*text < 0x20) {
            *why = *text ? "a control character in a string" : "a string without an end";
            return NULL;
        }
        text = *text == '\\' ? skip_escape(text + 1, why) : text + 1;
    }
    return text ? text + 1 : NULL;
}

static const char *skip_digits(const char *text)
{
    return text + strspn(text, "0123456789");
}

/* No leading zero, which json-glib reads as octal; no more digits than its integers hold. */
static const char *skip_number(const char *text, const char **why)
{
    const char *digits = text + (*text == '-');
    const char *end = skip_digits(digits);

    *why = "a malformed number";
    if (end == digits || (*digits == '0' && end > digits + 1))
        return NULL;
    if (end - digits > DIGITS_LIMIT) {
        *why = "a number of more than 18 digits";
        return NULL;
    }
    if (*end == '.') {
        digits = end + 1;
        end = skip_digits(digits);
        if (end == digits)
            return NULL;
    }
    if (*end == 'e' || *end == 'E') {
        digits = end + 1 + (end[1] == '+' || end[1] == '-');
        end = skip_digits(digits);
        if (end == digits)
            return NULL;
    }
    return end;
}

static const char *skip_word(const char *text, const char **why)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        if (g_str_has_prefix(text, words[i]))
            return text + strlen(words[i]);
    *why = "something that is no value";
    return NULL;
}

static const char *skip_token(const char *text, unsigned *depth, const char **why)
{
    *why = "more than 16 levels";
    if (strchr("{[", *text))
        return ++*depth <= DEPTH_LIMIT ? text + 1 : NULL;
    if (strchr("}]", *text)) {
        --*depth;
        return text + 1;
    }
    if (strchr(" \t\r\n,:", *text))
        return text + 1;
    if (*text == '"')
        return skip_string(text, why);
    return g_ascii_isdigit(*text) || *text == '-' ? skip_number(text, why) : skip_word(text, why);
}

/* One object and nothing after it. Whether its commas and colons are in place is for the parser to say. */
static gboolean check_tokens(const char *text, vmh_error **error)
{
    static const char blank[] = " \t\r\n";
    const char       *at = text + strspn(text, blank);
    const char       *why = "an object in braces is needed";
    unsigned          depth = 0;

    if (*at != '{') {
        refuse_text(text, at, why, error);
        return FALSE;
    }
    do {
        const char *next = skip_token(at, &depth, &why);

        if (!next) {
            refuse_text(text, at, why, error);
            return FALSE;
        }
        at = next;
    } while (depth > 0 && *at);
    why = depth > 0 ? "it ends too early" : "there is more after its end";
    at += strspn(at, blank);
    if (depth > 0 || *at)
        refuse_text(text, at, why, error);
    return depth == 0 && !*at;
}

/* The text ending in NUL, or NULL with the error. */
static char *check_text(const char *text, size_t length, vmh_error **error)
{
    g_autofree char *copy = NULL;

    if (length > SIZE_LIMIT) {
        vmhi_error_set(error, VMH_ERR_VALUE, "JSON of %" G_GSIZE_FORMAT " bytes is too large; the limit is 4 MiB",
                       length);
        return NULL;
    }
    if (!g_utf8_validate_len(text, length, NULL)) {
        vmhi_error_set(error, VMH_ERR_VALUE, "the JSON is not valid UTF-8, or has a NUL in it");
        return NULL;
    }
    copy = g_strndup(text, length);
    return check_tokens(copy, error) ? g_steal_pointer(&copy) : NULL;
}

/* --- writing --- */

/* json-glib writes a decimal number with 17 digits, where mostly fewer are read back the same. */
static char *shorten_decimals(const char *json)
{
    GString    *text = g_string_new(NULL);
    const char *why;

    while (*json) {
        gboolean    is_number = *json == '-' || g_ascii_isdigit(*json);
        const char *end = is_number ? skip_number(json, &why) : *json == '"' ? skip_string(json, &why) : json + 1;
        vmhi_value  value = {.type = VMH_TYPE_F64};

        if (is_number && end > json + strcspn(json, ".eE")) {
            g_autofree char *shortest = NULL;

            value.f64 = g_ascii_strtod(json, NULL);
            shortest = vmhi_schema_format(&value);
            g_string_append(text, shortest);
        } else {
            g_string_append_len(text, json, end - json);
        }
        json = end;
    }
    return g_string_free(text, FALSE);
}

char *vmhi_spec_to_json(const vmh_spec *spec, gboolean pretty)
{
    writing to = {spec->kind, json_object_new()};
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *text = NULL;

    json_node_take_object(node, to.root);
    g_tree_foreach(spec->values, add_path, &to);
    text = json_to_string(node, pretty);
    return shorten_decimals(text);
}

/* --- reading the tree --- */

typedef struct {
    vmh_spec   *spec;
    GHashTable *members;  /* object -> the names it has */
    JsonObject *twice_in; /* an object of the tree that was given a name twice, and the name */
    char       *twice;
} reading;

/*
 * The tree keeps only the last of two members of one name; here both pass. Of several such names the last one
 * found is kept: its object has not been replaced, so that its path will be found.
 */
static void note_member(JsonParser *parser, JsonObject *object, const char *name, void *data)
{
    reading    *from = data;
    GHashTable *names = g_hash_table_lookup(from->members, object);

    (void)parser;
    if (!names) {
        names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_hash_table_insert(from->members, json_object_ref(object), names);
    }
    if (!g_hash_table_add(names, g_strdup(name))) {
        from->twice_in = object;
        g_free(from->twice);
        from->twice = g_strdup(name);
    }
}

static void refuse_node(const vmh_property *property, const char *path, const char *what, vmh_error **error)
{
    g_autofree char *expected = vmhi_schema_expectation(property);

    vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s takes %s, not a JSON %s", path, expected, what);
}

/* A whole number may be written 2.0 or 1e9. */
static gboolean read_number(const vmh_property *property, const char *path, JsonNode *node, vmhi_value *value,
                            vmh_error **error)
{
    double number = json_node_get_double(node);

    value->type = property->type;
    if (property->type == VMH_TYPE_F64) {
        value->f64 = number;
        return TRUE;
    }
    if (!vmhi_type_is_whole(property->type)) {
        refuse_node(property, path, "number", error);
        return FALSE;
    }
    if (number < 0 || (json_node_get_value_type(node) == G_TYPE_DOUBLE &&
                       (number != floor(number) || number > (double)EXACT_LIMIT))) {
        g_autofree char *text = vmhi_schema_format(&(vmhi_value){.type = VMH_TYPE_F64, .f64 = number});
        vmhi_refuse_value(property, path, text, error);
        return FALSE;
    }
    value->u64 =
        json_node_get_value_type(node) == G_TYPE_DOUBLE ? (uint64_t)number : (uint64_t)json_node_get_int(node);
    return TRUE;
}

static void read_value(vmh_spec *spec, const char *path, JsonNode *node, vmh_error **error)
{
    const vmh_property *property = vmhi_spec_property(spec, path, error);
    vmhi_value          value = {.type = VMH_TYPE_BOOL};

    if (!property)
        return;
    if (!JSON_NODE_HOLDS_VALUE(node)) {
        refuse_node(property, path, JSON_NODE_HOLDS_NULL(node) ? "null" : "array", error);
    } else if (json_node_get_value_type(node) == G_TYPE_STRING) {
        vmhi_spec_set(spec, path, json_node_get_string(node), error);
    } else if (json_node_get_value_type(node) != G_TYPE_BOOLEAN) {
        if (read_number(property, path, node, &value, error))
            vmhi_spec_set_value(spec, path, &value, error);
    } else if (property->type != VMH_TYPE_BOOL) {
        refuse_node(property, path, "boolean", error);
    } else {
        value.flag = json_node_get_boolean(node);
        vmhi_spec_set_value(spec, path, &value, error);
    }
}

/* An object that holds nothing is fine where an object may be. */
static void read_empty(vmh_spec *spec, const char *path, vmh_error **error)
{
    const vmh_property *property;

    if (!*path || vmhi_schema_is_group(spec->kind, path))
        return;
    property = vmhi_spec_property(spec, path, error);
    if (property)
        refuse_node(property, path, "object", error);
}

static void read_object(reading *from, JsonObject *object, const char *path, vmh_error **error)
{
    JsonObjectIter iterator;
    const char    *name;
    JsonNode      *node;

    if (json_object_get_size(object) == 0)
        read_empty(from->spec, path, error);
    json_object_iter_init_ordered(&iterator, object);
    while (!*error && json_object_iter_next_ordered(&iterator, &name, &node)) {
        g_autofree char *inner = *path ? g_strconcat(path, ".", name, NULL) : g_strdup(name);
        g_autofree char *excerpt = NULL;

        if (object == from->twice_in && strcmp(name, from->twice) == 0) {
            excerpt = vmhi_excerpt(inner);
            vmhi_error_set_property(error, VMH_ERR_VALUE, inner, "%s is given twice", excerpt);
        } else if (strchr(name, '.')) {
            excerpt = vmhi_excerpt(name);
            vmhi_error_set_property(error, VMH_ERR_UNKNOWN_NAME, inner,
                                    "the key \"%s\" has a dot; write an object in an object", excerpt);
        } else if (JSON_NODE_HOLDS_OBJECT(node)) {
            read_object(from, json_node_get_object(node), inner, error);
        } else {
            read_value(from->spec, inner, node, error);
        }
    }
}

static void read_tree(vmh_spec *spec, const char *text, vmh_error **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) failure = NULL;
    reading from = {.spec = spec};

    from.members =
        g_hash_table_new_full(NULL, NULL, (GDestroyNotify)json_object_unref, (GDestroyNotify)g_hash_table_unref);
    g_signal_connect(parser, "object-member", G_CALLBACK(note_member), &from);
    if (json_parser_load_from_data(parser, text, -1, &failure))
        read_object(&from, json_node_get_object(json_parser_get_root(parser)), "", error);
    else
        vmhi_error_set(error, VMH_ERR_VALUE, "this is not JSON: %s",
                       failure->message + (g_str_has_prefix(failure->message, "<data>:") ? strlen("<data>:") : 0));
    g_hash_table_unref(from.members);
    g_free(from.twice);
}

vmh_spec *vmhi_spec_from_json(const char *kind, const char *text, size_t length, vmh_error **error)
{
    g_autoptr(vmh_spec) spec = vmhi_spec_new(kind, error);
    g_autoptr(vmh_error) failure = NULL;
    g_autofree char *checked = NULL;

    if (!spec)
        return NULL;
    checked = check_text(text, length, &failure);
    if (checked)
        read_tree(spec, checked, &failure);
    if (!failure)
        return g_steal_pointer(&spec);
    vmhi_error_move(error, g_steal_pointer(&failure));
    return NULL;
}
