/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors are made here, so that every message is one bounded line of valid UTF-8, whoever wrote its text. */
#include "model/error.h"

#include <string.h>

enum { MESSAGE_LIMIT = 2048, PROPERTY_LIMIT = 256, EXCERPT_LIMIT = 64 };

#define ELLIPSIS "\xe2\x80\xa6"
#define REPLACEMENT "\xef\xbf\xbd"

static gboolean breaks_a_line(gunichar c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x2028 || c == 0x2029;
}

/* The bytes of the longest prefix within `limit` that cuts no UTF-8 character in two. */
static gsize prefix_length(const char *text, gsize limit)
{
    gsize length = strnlen(text, limit + 1);

    if (length <= limit)
        return length;
    for (length = limit; length > 0 && ((guchar)text[length] & 0xc0) == 0x80; length--)
        if (limit - length > 3)
            return limit; /* Not UTF-8: there is no character to keep whole. */
    return length;
}

/* One line: control characters become blanks, bytes that are no UTF-8 become U+FFFD, the end is cut off. */
static char *one_line(const char *text, gsize limit)
{
    GString *line = g_string_sized_new(64);

    while (*text && line->len <= limit) {
        gunichar c = g_utf8_get_char_validated(text, -1);
        if (c == (gunichar)-1 || c == (gunichar)-2) {
            g_string_append(line, REPLACEMENT);
            text++;
            continue;
        }
        if (breaks_a_line(c))
            g_string_append_c(line, ' ');
        else
            g_string_append_unichar(line, c);
        text = g_utf8_next_char(text);
    }
    if (line->len > limit) {
        g_string_truncate(line, prefix_length(line->str, limit - strlen(ELLIPSIS)));
        g_string_append(line, ELLIPSIS);
    }
    return g_string_free(line, FALSE);
}

/* A message as it is kept; the text is freed. What was written to end a line in a log ends nothing here. */
static char *message_of(char *text)
{
    char *message;

    message = g_strchomp(one_line(text ? text : "", MESSAGE_LIMIT));
    g_free(text);
    return message;
}

static gboolean is_retryable(int32_t code)
{
    return code == VMH_ERR_TIMEOUT || code == VMH_ERR_LOST || code == VMH_ERR_UNREACHABLE || code == VMH_ERR_BUSY;
}

static void set(vmh_error **error, int32_t code, const char *driver, int32_t native, const char *property,
                const char *format, va_list arguments)
{
    vmh_error *made;

    if (!error || *error)
        return;
    made = g_new0(vmh_error, 1);
    made->code = code;
    made->native = native;
    made->retryable = is_retryable(code);
    made->message = message_of(g_strdup_vprintf(format, arguments));
    made->property = property ? one_line(property, PROPERTY_LIMIT) : NULL;
    made->driver = g_strdup(driver);
    *error = made;
}

void vmhi_error_set(vmh_error **error, int32_t code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set(error, code, NULL, 0, NULL, format, arguments);
    va_end(arguments);
}

void vmhi_error_set_property(vmh_error **error, int32_t code, const char *property, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set(error, code, NULL, 0, property, format, arguments);
    va_end(arguments);
}

void vmhi_error_set_native(vmh_error **error, int32_t code, const char *driver, int32_t native, const char *property,
                           const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set(error, code, driver, native, property, format, arguments);
    va_end(arguments);
}

void vmhi_error_prefix(vmh_error **error, const char *format, ...)
{
    g_autofree char *prefix = NULL;
    char            *message;
    va_list          arguments;

    if (!vmhi_failed(error))
        return;
    va_start(arguments, format);
    prefix = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    message = message_of(g_strconcat(prefix, ": ", (*error)->message, NULL));
    g_free((*error)->message);
    (*error)->message = message;
}

vmh_error *vmhi_error_copy(const vmh_error *error)
{
    vmh_error *copy;

    if (!error)
        return NULL;
    copy = g_new(vmh_error, 1);
    *copy = *error;
    copy->message = g_strdup(error->message);
    copy->property = g_strdup(error->property);
    copy->driver = g_strdup(error->driver);
    return copy;
}

void vmhi_error_move(vmh_error **error, vmh_error *source)
{
    if (error && !*error)
        *error = source;
    else
        vmh_error_free(source);
}

char *vmhi_excerpt(const char *text)
{
    gsize length = prefix_length(text, EXCERPT_LIMIT);

    return g_strdup_printf("%.*s%s", (int)length, text, text[length] ? ELLIPSIS : "");
}
