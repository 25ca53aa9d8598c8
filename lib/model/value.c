/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values: from the text that a person writes, with its unit, to a number in the base unit, and back. */
#include "model/text.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define KIB_ UINT64_C(1024)

#define GIVEN "given"

/* A unit is multiplier / divisor of the base unit. A name alone ("G") could mean two things, and is none. */
typedef struct {
    const char *name;
    uint64_t    multiplier;
    unsigned    divisor;
} unit;

static const unit size_units[] = {
    {"B", 1, 1},
    {"kB", 1000, 1},
    {"KiB", KIB_, 1},
    {"MB", 1000000, 1},
    {"MiB", KIB_ *KIB_, 1},
    {"GB", 1000000000, 1},
    {"GiB", KIB_ *KIB_ *KIB_, 1},
    {"TB", UINT64_C(1000000000000), 1},
    {"TiB", KIB_ *KIB_ *KIB_ *KIB_, 1},
    {NULL, 0, 0},
};

static const unit rate_units[] = {
    {"B/s", 1, 1},
    {"kB/s", 1000, 1},
    {"KiB/s", KIB_, 1},
    {"MB/s", 1000000, 1},
    {"MiB/s", KIB_ *KIB_, 1},
    {"GB/s", 1000000000, 1},
    {"GiB/s", KIB_ *KIB_ *KIB_, 1},
    {"TB/s", UINT64_C(1000000000000), 1},
    {"TiB/s", KIB_ *KIB_ *KIB_ *KIB_, 1},
    {"bit/s", 1, 8},
    {"kbit/s", 125, 1},
    {"Mbit/s", 125000, 1},
    {"Gbit/s", 125000000, 1},
    {NULL, 0, 0},
};

static const unit duration_units[] = {
    {"ms", 1, 1}, {"s", 1000, 1}, {"min", 60 * 1000, 1}, {"h", 3600 * 1000, 1}, {NULL, 0, 0},
};

static const unit no_units[] = {{NULL, 0, 0}};

static const unit *units_of(int32_t type)
{
    switch (type) {
    case VMH_TYPE_SIZE:
        return size_units;
    case VMH_TYPE_RATE:
        return rate_units;
    case VMH_TYPE_DURATION:
        return duration_units;
    default:
        return no_units;
    }
}

gboolean vmhi_type_is_text(int32_t type)
{
    return type == VMH_TYPE_STRING || (type >= VMH_TYPE_ENUM && type <= VMH_TYPE_PATH);
}

gboolean vmhi_type_is_whole(int32_t type)
{
    return type == VMH_TYPE_U64 || type == VMH_TYPE_SIZE || type == VMH_TYPE_RATE || type == VMH_TYPE_DURATION;
}

static void close_descriptor(void *box)
{
    close(*(int *)box);
}

/* Never one of the first three, which others take for a program's input and output. */
int vmhi_value_duplicate(int descriptor, vmhi_value *value)
{
    const int copy = fcntl(descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    if (copy < 0)
        return errno;
    *value = (vmhi_value){.type = VMH_TYPE_DESCRIPTOR, .descriptor = g_atomic_rc_box_new(int)};
    *value->descriptor = copy;
    return 0;
}

void vmhi_value_clear(vmhi_value *value)
{
    if (vmhi_type_is_text(value->type))
        g_free(value->text);
    else if (value->type == VMH_TYPE_DESCRIPTOR && value->descriptor)
        g_atomic_rc_box_release_full(value->descriptor, close_descriptor);
    memset(value, 0, sizeof(*value));
}

void vmhi_value_copy(const vmhi_value *value, vmhi_value *copy)
{
    *copy = *value;
    if (vmhi_type_is_text(value->type))
        copy->text = g_strdup(value->text);
    else if (value->type == VMH_TYPE_DESCRIPTOR && value->descriptor)
        g_atomic_rc_box_acquire(value->descriptor);
}

gboolean vmhi_value_equal(const vmhi_value *a, const vmhi_value *b)
{
    if (a->type != b->type)
        return FALSE;
    if (vmhi_type_is_text(a->type))
        return strcmp(a->text, b->text) == 0;
    if (a->type == VMH_TYPE_BOOL)
        return !a->flag == !b->flag;
    if (a->type == VMH_TYPE_DESCRIPTOR)
        return a->descriptor == b->descriptor;
    return a->type == VMH_TYPE_F64 ? a->f64 == b->f64 : a->u64 == b->u64;
}

/* --- messages --- */

/* A bound of a range, in words: "64TiB", "4096". */
static char *bound(const vmh_property *property, double number)
{
    vmhi_value value = {.type = property->type};

    if (property->type == VMH_TYPE_F64)
        value.f64 = number;
    else
        value.u64 = (uint64_t)number;
    return vmhi_schema_format(&value);
}

static char *list_words(const char *values)
{
    g_auto(GStrv) words = g_strsplit(values, "|", -1);
    g_autofree char *list = g_strjoinv(", ", words);

    return g_strdup_printf("one of %s", list);
}

static char *expect_number(const vmh_property *property)
{
    const char      *what = property->type == VMH_TYPE_U64 ? "a whole number" : "a decimal number";
    g_autofree char *minimum = bound(property, property->minimum);
    g_autofree char *maximum = bound(property, property->maximum);

    return property->maximum > 0 ? g_strdup_printf("%s from %s to %s", what, minimum, maximum) : g_strdup(what);
}

static char *expect_address(const vmh_property *property)
{
    g_autofree char *maximum = bound(property, property->maximum);

    return g_strdup_printf("a number up to %s, also as 0x1f", maximum);
}

char *vmhi_schema_expectation(const vmh_property *property)
{
    static const char *const by_type[] = {
        [VMH_TYPE_STRING] = "text",
        [VMH_TYPE_BOOL] = "yes or no",
        [VMH_TYPE_SIZE] = "a size such as 2GiB (in B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)",
        [VMH_TYPE_RATE] = "a rate such as 10MiB/s or 1Gbit/s",
        [VMH_TYPE_DURATION] = "a duration such as 30s (in ms, s, min, h)",
        [VMH_TYPE_SET] = "numbers and ranges such as 0-3,8",
        [VMH_TYPE_UUID] = "a UUID such as 8c1fe4d8-4d3a-4c06-9d2c-0a5d1f8b1c11",
        [VMH_TYPE_MAC] = "a unicast address such as 52:54:00:12:34:56",
        [VMH_TYPE_PATH] = "an absolute path",
        [VMH_TYPE_DESCRIPTOR] = "an open descriptor, which vmh_spec_set_fd() alone gives",
    };

    if (vmhi_text_expectation(property))
        return g_strdup(vmhi_text_expectation(property));
    if (property->type == VMH_TYPE_ENUM)
        return list_words(property->values);
    if (property->flags & VMHI_HEX)
        return expect_address(property);
    if (property->type == VMH_TYPE_U64 || property->type == VMH_TYPE_F64)
        return expect_number(property);
    if (property->type == VMH_TYPE_SET && property->maximum > 0)
        return g_strdup_printf("%s, up to %u", by_type[VMH_TYPE_SET], (unsigned)property->maximum);
    return g_strdup(by_type[property->type]);
}

void vmhi_refuse_value(const vmh_property *property, const char *path, const char *text, vmh_error **error)
{
    g_autofree char *expected = vmhi_schema_expectation(property);
    g_autofree char *excerpt = vmhi_excerpt(property->flags & VMHI_SECRET ? "(secret)" : text);

    vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s takes %s, not \"%s\"", path, expected, excerpt);
}

static void refuse_range(const vmh_property *property, const char *path, const char *text, vmh_error **error)
{
    g_autofree char *minimum = bound(property, property->minimum);
    g_autofree char *maximum = bound(property, property->maximum);
    g_autofree char *excerpt = vmhi_excerpt(text);

    if (property->maximum > 0)
        vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s is from %s to %s, not %s", path, minimum, maximum,
                                excerpt);
    else
        vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s is too large at %s", path, excerpt);
}

/* --- whole numbers with units --- */

/* "12.25" as 12 and 25 / 100, and where it ends. The digits of a fraction are few enough for 64 bits. */
typedef struct {
    uint64_t    whole;
    uint64_t    numerator, denominator;
    const char *end;
} decimal;

typedef enum { READ, MALFORMED, NOT_WHOLE, TOO_LARGE } outcome;

static outcome read_decimal(const char *text, decimal *read)
{
    outcome result = READ;

    *read = (decimal){0, 0, 1, text};
    if (!g_ascii_isdigit(*text))
        return MALFORMED;
    for (; g_ascii_isdigit(*text); text++)
        if (!g_uint64_checked_mul(&read->whole, read->whole, 10) ||
            !g_uint64_checked_add(&read->whole, read->whole, (uint64_t)g_ascii_digit_value(*text)))
            result = TOO_LARGE;
    if (*text == '.') {
        if (!g_ascii_isdigit(*++text))
            return MALFORMED;
        for (; g_ascii_isdigit(*text); text++) {
            if (read->denominator >= UINT64_C(1000000000000000000)) {
                result = MAX(result, *text == '0' ? READ : NOT_WHOLE);
                continue;
            }
            read->numerator = read->numerator * 10 + (uint64_t)g_ascii_digit_value(*text);
            read->denominator *= 10;
        }
    }
    read->end = text;
    return result;
}

/* numerator / denominator of a multiplier, when it is whole. Less than the multiplier, so it cannot overflow. */
static gboolean fraction_of(uint64_t multiplier, uint64_t numerator, uint64_t denominator, uint64_t *part)
{
    uint64_t a = numerator;
    uint64_t b = denominator;

    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    denominator /= a;
    numerator /= a;
    *part = multiplier / denominator * numerator;
    return multiplier % denominator == 0;
}

static outcome scale(const decimal *read, const unit *in, uint64_t *value)
{
    uint64_t part;

    if (!fraction_of(in->multiplier, read->numerator, read->denominator, &part))
        return NOT_WHOLE;
    if (!g_uint64_checked_mul(value, read->whole, in->multiplier) || !g_uint64_checked_add(value, *value, part))
        return TOO_LARGE;
    if (*value % in->divisor)
        return NOT_WHOLE;
    *value /= in->divisor;
    return READ;
}

/* A plain number is in the base unit. */
static outcome read_quantity(const char *text, const unit *units, uint64_t *value)
{
    static const unit base = {"", 1, 1};
    decimal           read;
    outcome           result = read_decimal(text, &read);
    const unit       *in = &base;

    if (result == MALFORMED)
        return MALFORMED;
    if (*read.end) {
        for (in = units; in->name && strcmp(in->name, read.end) != 0; in++)
            ;
        if (!in->name)
            return MALFORMED;
    }
    return result == READ ? scale(&read, in, value) : result;
}

/* 0x and digits, to which no unit belongs. */
static outcome read_address(const char *text, uint64_t *value)
{
    const char *digits = text + strlen("0x");
    char       *end;

    if (!g_ascii_isxdigit(*digits))
        return MALFORMED;
    errno = 0;
    *value = g_ascii_strtoull(digits, &end, 16);
    if (*end)
        return MALFORMED;
    return errno == ERANGE ? TOO_LARGE : READ;
}

static outcome read_whole(const vmh_property *property, const char *text, uint64_t *value)
{
    if (property->flags & VMHI_HEX && g_str_has_prefix(text, "0x"))
        return read_address(text, value);
    return read_quantity(text, units_of(property->type), value);
}

static gboolean parse_whole(const vmh_property *property, const char *path, const char *text, uint64_t *value,
                            vmh_error **error)
{
    g_autofree char *excerpt = NULL;

    switch (read_whole(property, text, value)) {
    case READ:
        return TRUE;
    case TOO_LARGE:
        refuse_range(property, path, text, error);
        return FALSE;
    case NOT_WHOLE:
        if (!property->unit || property->type == VMH_TYPE_U64)
            break;
        excerpt = vmhi_excerpt(text);
        vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s is no whole number of %s at \"%s\"", path,
                                property->unit, excerpt);
        return FALSE;
    default:
        break;
    }
    vmhi_refuse_value(property, path, text, error);
    return FALSE;
}

/* --- the other types --- */

/* A decimal number in the C locale's form; strtod() alone would take "inf", "0x1" and blanks too. */
static gboolean parse_f64(const char *text, double *value)
{
    char *end;

    if (!g_ascii_isdigit(*text) || text[strspn(text, "0123456789.eE+-")])
        return FALSE;
    *value = g_ascii_strtod(text, &end);
    return !*end && isfinite(*value);
}

static gboolean parse_bool(const char *text, gboolean *value)
{
    static const char *const yes[] = {"yes", "true", "on", "1", NULL};
    static const char *const no[] = {"no", "false", "off", "0", NULL};

    *value = g_strv_contains(yes, text);
    return *value || g_strv_contains(no, text);
}

static gboolean parse_other(const vmh_property *property, const char *path, const char *text, vmhi_value *value,
                            vmh_error **error)
{
    gboolean understood;

    if (vmhi_type_is_whole(property->type))
        return parse_whole(property, path, text, &value->u64, error);
    if (property->type == VMH_TYPE_DESCRIPTOR)
        understood = strcmp(text, GIVEN) == 0;
    else
        understood = property->type == VMH_TYPE_BOOL ? parse_bool(text, &value->flag) : parse_f64(text, &value->f64);
    if (!understood)
        vmhi_refuse_value(property, path, text, error);
    return understood;
}

gboolean vmhi_schema_parse(const vmh_property *property, const char *path, const char *text, vmhi_value *value,
                           vmh_error **error)
{
    vmhi_value read = {.type = property->type};

    if (vmhi_type_is_text(read.type)) {
        read.text = vmhi_text_parse(property, path, text, error);
        if (!read.text)
            return FALSE;
    } else if (!parse_other(property, path, text, &read, error) || !vmhi_schema_check(property, path, &read, error)) {
        return FALSE;
    }
    *value = read;
    return TRUE;
}

static gboolean check_text(const vmh_property *property, const char *path, const char *text, vmh_error **error)
{
    g_autofree char *kept = vmhi_text_parse(property, path, text, error);

    return kept != NULL;
}

gboolean vmhi_schema_check(const vmh_property *property, const char *path, const vmhi_value *value, vmh_error **error)
{
    g_autofree char *text = NULL;
    double           number;

    if (vmhi_type_is_text(value->type))
        return check_text(property, path, value->text, error);
    if (value->type == VMH_TYPE_BOOL || value->type == VMH_TYPE_DESCRIPTOR)
        return TRUE;
    number = value->type == VMH_TYPE_F64 ? value->f64 : (double)value->u64;
    if (isfinite(number) && number >= property->minimum && (property->maximum <= 0 || number <= property->maximum))
        return TRUE;
    text = vmhi_schema_format(value);
    refuse_range(property, path, text, error);
    return FALSE;
}

/* --- writing --- */

static char *format_quantity(uint64_t value, const unit *units)
{
    const unit *best = units;
    uint64_t    least = value;

    if (value == 0)
        return g_strdup("0");
    for (const unit *in = units; in->name; in++) {
        if (in->divisor > 1 || value % in->multiplier || value / in->multiplier > least)
            continue;
        best = in;
        least = value / in->multiplier;
    }
    return g_strdup_printf("%" G_GUINT64_FORMAT "%s", least, best->name ? best->name : "");
}

/* With as few digits as it takes to be read back the same. */
static char *format_f64(double value)
{
    static const char *const formats[] = {"%.15g", "%.16g", "%.17g"};
    char                     text[G_ASCII_DTOSTR_BUF_SIZE];

    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        g_ascii_formatd(text, sizeof(text), formats[i], value);
        if (g_ascii_strtod(text, NULL) == value)
            break;
    }
    return g_strdup(text);
}

char *vmhi_schema_format(const vmhi_value *value)
{
    if (vmhi_type_is_text(value->type))
        return g_strdup(value->text);
    if (value->type == VMH_TYPE_BOOL)
        return g_strdup(value->flag ? "yes" : "no");
    if (value->type == VMH_TYPE_DESCRIPTOR)
        return g_strdup(GIVEN);
    if (value->type == VMH_TYPE_F64)
        return format_f64(value->f64);
    return format_quantity(value->u64, units_of(value->type));
}
