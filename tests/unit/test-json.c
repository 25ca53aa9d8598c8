/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON: a round trip is exact, and what is not JSON, too deep, too large or ambiguous is refused. */
#include "unit.h"

#include "model/spec.h"
#include <locale.h>

static vmh_spec *read_json(const char *kind, const char *text, vmh_error **error)
{
    return vmh_spec_from_json(kind, text, strlen(text), error);
}

static const char all_types[] = "{"
                                "\"accelerator\":\"kvm\","
                                "\"autostart\":false,"
                                "\"cpu\":{\"count\":2,\"limit\":1.5,\"pin\":{\"0\":\"0-3,8\",\"10\":\"1\"}},"
                                "\"description\":\"two\\nlines \\\"quoted\\\" \\\\ <&> \xf0\x9f\x98\x80\","
                                "\"disk\":{\"root\":{\"bandwidth\":{\"total\":10485760},\"path\":\"/a b\"}},"
                                "\"memory\":{\"size\":1073741824},"
                                "\"nic\":{\"lan-1\":{\"mac\":\"52:54:00:ab:cd:ef\",\"user\":true}},"
                                "\"uuid\":\"8c1fe4d8-4d3a-4c06-9d2c-0a5d1f8b1c11\""
                                "}";

START_TEST(a_round_trip_is_exact)
{
    vmh_error *error = NULL;
    g_autoptr(vmh_spec) spec = read_json("vm", all_types, &error);
    g_autoptr(vmh_spec) again = NULL;
    g_autofree char *written = NULL;
    g_autofree char *pretty = NULL;
    g_autofree char *rewritten = NULL;

    assert_no_error(error);
    written = vmh_spec_to_json(spec, 0, &error);
    ck_assert_str_eq(written, all_types);
    pretty = vmh_spec_to_json(spec, VMH_JSON_PRETTY, &error);
    ck_assert_ptr_nonnull(strstr(pretty, "\n  \"cpu\" : {"));
    again = read_json("vm", pretty, &error);
    assert_no_error(error);
    rewritten = vmh_spec_to_json(again, 0, &error);
    ck_assert_str_eq(rewritten, all_types);
}
END_TEST

START_TEST(decimals_are_as_short_as_they_are_read_back)
{
    static const char *const numbers[] = {"0.8", "0.1", "0.01", "2", "1.5", "0.30000000000000004", "1234.5678"};

    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        vmh_error *error = NULL;
        /* What looks like a number in a text is none. */
        g_autofree char *json =
            g_strdup_printf("{\"cpu\":{\"limit\":%s},\"title\":\"\\\"0.80000000000000004\"}", numbers[i]);
        g_autoptr(vmh_spec) spec = read_json("vm", json, &error);
        g_autofree char *written = NULL;

        assert_no_error(error);
        written = vmh_spec_to_json(spec, 0, &error);
        ck_assert_str_eq(written, json);
    }
}
END_TEST

START_TEST(an_empty_spec_is_an_empty_object)
{
    static const char *const rows[] = {"{}", " {\r\n\t} \n", "{\"disk\":{}}",
                                       "{\"disk\":{\"root\":{}},\"cpu\":{\"pin\":{}}}"};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        vmh_error *error = NULL;
        g_autoptr(vmh_spec) spec = read_json("vm", rows[i], &error);
        g_autofree char *text = NULL;

        assert_no_error(error);
        ck_assert_uint_eq(vmh_spec_paths(spec, NULL), 0);
        text = vmh_spec_to_json(spec, 0, &error);
        ck_assert_str_eq(text, "{}");
    }
}
END_TEST

START_TEST(values_are_read_as_people_write_them)
{
    static const struct {
        const char *text, *path, *value;
    } rows[] = {
        {"{\"memory\":{\"size\":\"2GiB\"}}", "memory.size", "2GiB"},
        {"{\"memory\":{\"size\":2147483648}}", "memory.size", "2GiB"},
        {"{\"memory\":{\"size\":2147483648.0}}", "memory.size", "2GiB"},
        {"{\"memory\":{\"size\":2e9}}", "memory.size", "2GB"},
        {"{\"memory\":{\"size\":70368744177664}}", "memory.size", "64TiB"},
        {"{\"cpu\":{\"limit\":2}}", "cpu.limit", "2"},
        {"{\"cpu\":{\"limit\":0.1}}", "cpu.limit", "0.1"},
        {"{\"cpu\":{\"limit\":1.5E+1}}", "cpu.limit", "15"},
        {"{\"cpu\":{\"count\":\"3\"}}", "cpu.count", "3"},
        {"{\"rng\":true}", "rng", "yes"},
        {"{\"rng\":\"no\"}", "rng", "no"},
        {"{\"cpu\":{\"pin\":{\"1\":\"2,1\"}}}", "cpu.pin.1", "1-2"},
        {"{\"t\\u0069tle\":\"\\u00e4\\ud83d\\ude00\\/\"}", "title", "\xc3\xa4\xf0\x9f\x98\x80/"},
        {"{\"disk\":{\"a\":{\"iops\":{\"read\":0}}}}", "disk.a.iops.read", "0"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        vmh_error *error = NULL;
        g_autoptr(vmh_spec) spec = read_json("vm", rows[i].text, &error);
        g_autofree char *value = NULL;

        assert_no_error(error);
        value = vmh_spec_get_text_dup(spec, rows[i].path, &error);
        ck_assert_str_eq(value, rows[i].value);
    }
}
END_TEST

START_TEST(what_is_not_json_is_refused)
{
    static const char *const rows[] = {
        "",
        " ",
        "1",
        "null",
        "\"a\"",
        "[]",
        "[{\"name\":\"a\"}]",
        "{",
        "}",
        "{}}",
        "{}{}",
        "{} x",
        "{}//",
        "{]",
        "{\"name\":\"a\"",
        "{\"name\":\"a\"]",
        "{\"name\":[\"a\"}",
        "{\"name\"}",
        "{\"name\":}",
        "{\"name\" \"a\"}",
        "{\"name\"::\"a\"}",
        "{\"name\":\"a\",}",
        "{,\"name\":\"a\"}",
        "{\"name\":\"a\",,\"rng\":true}",
        "{\"name\":\"a\" \"rng\":true}",
        "{\"name\":\"a\" \"b\"}",
        "{name:\"a\"}",
        "{'name':'a'}",
        "{\"name\":a}",
        "{\"name\":\"a}",
        "{\"name\":\"a\\\"}",
        "{\"name\":\"\\",
        "{\"name\":\"\\q\"}",
        "{\"name\":\"\\x41\"}",
        "{\"name\":\"\\101\"}",
        "{\"name\":\"\\u12\"}",
        "{\"name\":\"\\u12g4\"}",
        "{\"name\":\"\\u0000\"}",
        "{\"name\":\"a\\u0000b\"}",
        "{\"name\":\"\\ud800\"}",
        "{\"description\":\"a\nb\"}",
        "/* c */{\"name\":\"a\"}",
        "{\"name\":\"a\"/* c */}",
        "{\"name\":\"a\"} // c",
        "# c\n{}",
        "var x = {};",
        "{\"rng\":True}",
        "{\"rng\":trues}",
        "{\"rng\":truefalse}",
        "{\"rng\":tru}",
        "{\"rng\":nullx}",
        "{\"cpu\":{\"count\":0x10}}",
        "{\"cpu\":{\"count\":010}}",
        "{\"cpu\":{\"count\":01}}",
        "{\"cpu\":{\"count\":+1}}",
        "{\"cpu\":{\"count\":- 1}}",
        "{\"cpu\":{\"count\":--1}}",
        "{\"cpu\":{\"count\":1-1}}",
        "{\"cpu\":{\"count\":1 2}}",
        "{\"cpu\":{\"count\":1true}}",
        "{\"cpu\":{\"count\":-}}",
        "{\"cpu\":{\"limit\":.5}}",
        "{\"cpu\":{\"limit\":5.}}",
        "{\"cpu\":{\"limit\":1e}}",
        "{\"cpu\":{\"limit\":1e+}}",
        "{\"cpu\":{\"limit\":1,5}}",
        "{\"cpu\":{\"limit\":NaN}}",
        "{\"cpu\":{\"limit\":Infinity}}",
        "{\"memory\":{\"size\":18446744073709551615}}",
        "{\"memory\":{\"size\":9223372036854775808}}",
        "{\"memory\":{\"size\":1073741824GiB}}",
        "\xef\xbb\xbf{}",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        vmh_error *error = NULL;

        ck_assert_msg(!read_json("vm", rows[i], &error), "%s", rows[i]);
        ck_assert_uint_lt(strlen(vmh_error_message(error)), 300);
        assert_error(error, VMH_ERR_VALUE, "this is not JSON: ");
    }
}
END_TEST

START_TEST(bytes_that_are_no_text_are_refused)
{
    static const char nul[] = "{\"name\":\"a\0b\"}";
    vmh_error        *error = NULL;

    ck_assert_ptr_null(vmh_spec_from_json("vm", nul, sizeof(nul) - 1, &error));
    assert_error(error, VMH_ERR_VALUE, "not valid UTF-8");
    ck_assert_ptr_null(read_json("vm", "{\"name\":\"\xff\"}", &error));
    assert_error(error, VMH_ERR_VALUE, "not valid UTF-8");
    ck_assert_ptr_null(read_json("vm", "{\"name\":\"\xc3\"}", &error));
    assert_error(error, VMH_ERR_VALUE, "not valid UTF-8");
    /* The length counts, not the NUL. */
    ck_assert_ptr_null(vmh_spec_from_json("vm", "{}", 1, &error));
    assert_error(error, VMH_ERR_VALUE, "it ends too early");
    vmh_spec_unref(vmh_spec_from_json("vm", "{}garbage", 2, &error));
    assert_no_error(error);
}
END_TEST

START_TEST(wrong_content_is_refused_with_its_path)
{
    static const struct {
        int32_t     code;
        const char *text, *path, *message;
    } rows[] = {
        {VMH_ERR_UNKNOWN_NAME, "{\"nmae\":\"a\"}", "nmae", "did you mean \"name\"?"},
        {VMH_ERR_UNKNOWN_NAME, "{\"disk\":{\"root\":{\"paht\":\"/a\"}}}", "disk.root.paht",
         "did you mean \"disk.root.path\"?"},
        {VMH_ERR_UNKNOWN_NAME, "{\"disk\":{\"my disk\":{\"path\":\"/a\"}}}", "disk.my disk.path",
         "\"my disk\" in a path is no name"},
        {VMH_ERR_UNKNOWN_NAME, "{\"disk\":{\"<id>\":{\"path\":\"/a\"}}}", "disk.<id>.path", "stands for many"},
        {VMH_ERR_UNKNOWN_NAME, "{\"nothing\":{}}", "nothing", "there is no property \"nothing\""},
        {VMH_ERR_UNKNOWN_NAME, "{\"cpu\":{\"pin\":{\"x\":{}}}}", "cpu.pin.x", "is no number"},
        {VMH_ERR_UNKNOWN_NAME, "{\"cpu.count\":1}", "cpu.count", "the key \"cpu.count\" has a dot"},
        {VMH_ERR_UNKNOWN_NAME, "{\"disk\":{\"a.path\":\"/a\"}}", "disk.a.path", "the key \"a.path\" has a dot"},
        {VMH_ERR_UNKNOWN_NAME, "{\"\":1}", "", "there is no property \"\""},
        {VMH_ERR_UNKNOWN_NAME, "{\"cpu\":1}", "cpu", "\"cpu\" is a group of properties"},
        {VMH_ERR_UNKNOWN_NAME, "{\"disk\":{\"a\":\"/a\"}}", "disk.a", "such as \"disk.a.path\""},
        {VMH_ERR_VALUE, "{\"name\":\"a\",\"name\":\"b\"}", "name", "name is given twice"},
        {VMH_ERR_VALUE, "{\"name\":\"a\",\"n\\u0061me\":\"a\"}", "name", "name is given twice"},
        {VMH_ERR_VALUE, "{\"cpu\":{\"count\":1,\"count\":2}}", "cpu.count", "cpu.count is given twice"},
        {VMH_ERR_VALUE, "{\"disk\":{\"a\":{\"path\":\"/a\"}},\"disk\":{\"b\":{\"path\":\"/b\"}}}", "disk",
         "disk is given twice"},
        {VMH_ERR_VALUE, "{\"cpu\":{\"count\":1,\"count\":1},\"cpu\":{\"count\":1}}", "cpu", "cpu is given twice"},
        {VMH_ERR_VALUE, "{\"x\":{\"y\":1,\"y\":2}}", "x.y", "x.y is given twice"},
        {VMH_ERR_VALUE, "{\"cpu\":{\"count\":0}}", "cpu.count", "cpu.count is from 1 to 4096, not 0"},
        {VMH_ERR_VALUE, "{\"cpu\":{\"count\":-1}}", "cpu.count", "a whole number from 1 to 4096, not \"-1\""},
        {VMH_ERR_VALUE, "{\"cpu\":{\"count\":1.5}}", "cpu.count", "a whole number from 1 to 4096, not \"1.5\""},
        {VMH_ERR_VALUE, "{\"cpu\":{\"count\":1e300}}", "cpu.count", "a whole number from 1 to 4096"},
        {VMH_ERR_VALUE, "{\"cpu\":{\"limit\":1e999}}", "cpu.limit", "cpu.limit is from 0.01 to 4096"},
        {VMH_ERR_VALUE, "{\"cpu\":{\"limit\":-1}}", "cpu.limit", "cpu.limit is from 0.01 to 4096, not -1"},
        {VMH_ERR_VALUE, "{\"cpu\":{\"count\":true}}", "cpu.count", "not a JSON boolean"},
        {VMH_ERR_VALUE, "{\"cpu\":{\"count\":null}}", "cpu.count", "not a JSON null"},
        {VMH_ERR_VALUE, "{\"cpu\":{\"count\":[1]}}", "cpu.count", "not a JSON array"},
        {VMH_ERR_VALUE, "{\"name\":{}}", "name", "not a JSON object"},
        {VMH_ERR_VALUE, "{\"name\":5}", "name", "name takes a name without a slash, not a JSON number"},
        {VMH_ERR_VALUE, "{\"name\":true}", "name", "not a JSON boolean"},
        {VMH_ERR_VALUE, "{\"rng\":1}", "rng", "rng takes yes or no, not a JSON number"},
        {VMH_ERR_VALUE, "{\"rng\":\"maybe\"}", "rng", "rng takes yes or no, not \"maybe\""},
        {VMH_ERR_VALUE, "{\"memory\":{\"size\":\"2s\"}}", "memory.size", "takes a size such as 2GiB"},
        {VMH_ERR_VALUE, "{\"memory\":{\"size\":999999999999999999}}", "memory.size", "is from 1MiB to 64TiB"},
        {VMH_ERR_VALUE, "{\"title\":\"\\u001b\"}", "title", "control character U+001B"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        vmh_error *error = NULL;

        ck_assert_msg(!read_json("vm", rows[i].text, &error), "%s", rows[i].text);
        ck_assert_pstr_eq(vmh_error_property(error), rows[i].path);
        assert_error(error, rows[i].code, rows[i].message);
    }
}
END_TEST

/* So that a description, written down, can be read again. */
START_TEST(what_is_only_reported_is_read_too)
{
    vmh_error *error = NULL;
    vmh_spec  *spec = read_json("vm", "{\"state\":\"running\",\"generation\":\"18446744073709551615\"}", &error);
    uint64_t   generation = 0;

    assert_no_error(error);
    ck_assert_int_eq(vmh_spec_get_u64(spec, "generation", &generation, NULL), 0);
    ck_assert_uint_eq(generation, UINT64_MAX);
    ck_assert_int_eq(vmh_spec_set(spec, "generation", "5", &error), VMH_ERR_VALUE);
    assert_error(error, VMH_ERR_VALUE, "generation is only reported");
    vmh_spec_unref(spec);
}
END_TEST

static char *repeat(const char *before, const char *part, size_t times, const char *after)
{
    GString *text = g_string_new(before);

    for (size_t i = 0; i < times; i++)
        g_string_append(text, part);
    g_string_append(text, after);
    return g_string_free(text, FALSE);
}

START_TEST(depth_is_limited)
{
    g_autofree char *brackets = repeat("{\"a\":", "[", 100000, "");
    g_autofree char *braces = repeat("{\"a\":", "{\"a\":", 100000, "");
    g_autofree char *closed = repeat("{\"a\":", "[", 16, "]]]]]]]]]]]]]]]]}");
    g_autofree char *allowed = repeat("{\"a\":", "[", 15, "]]]]]]]]]]]]]]]}");
    g_autofree char *in_string = repeat("{\"title\":\"", "[", 500, "\"}");
    const char      *deep[] = {brackets, braces, closed};
    vmh_error       *error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(deep); i++) {
        ck_assert_ptr_null(read_json("vm", deep[i], &error));
        assert_error(error, VMH_ERR_VALUE, "more than 16 levels");
    }
    ck_assert_ptr_null(read_json("vm", allowed, &error));
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "there is no property \"a\"");
    vmh_spec_unref(read_json("vm", in_string, &error));
    assert_no_error(error);
}
END_TEST

START_TEST(size_is_limited)
{
    const size_t     limit = 4 * 1024 * 1024;
    g_autofree char *blanks = repeat("{}", "        ", limit / 8, "");
    g_autofree char *many = repeat("{\"x\":1", ",\"x\":1", 100000, "}");
    g_autofree char *long_text = repeat("{\"title\":\"", "aaaaaaaa", 131072, "\"}");
    g_autofree char *long_key = repeat("{\"", "aaaaaaaa", 131072, "\":1}");
    vmh_error       *error = NULL;

    ck_assert_ptr_null(read_json("vm", blanks, &error));
    assert_error(error, VMH_ERR_VALUE, "is too large; the limit is 4 MiB");
    vmh_spec_unref(vmh_spec_from_json("vm", blanks, limit, &error));
    assert_no_error(error);
    ck_assert_ptr_null(vmh_spec_from_json("vm", "{}", SIZE_MAX, &error));
    assert_error(error, VMH_ERR_VALUE, "is too large");
    ck_assert_ptr_null(read_json("vm", many, &error));
    assert_error(error, VMH_ERR_VALUE, "x is given twice");
    ck_assert_ptr_null(read_json("vm", long_text, &error));
    assert_error(error, VMH_ERR_VALUE, "title takes at most 1024 bytes, not 1048576");
    ck_assert_ptr_null(read_json("vm", long_key, &error));
    ck_assert_uint_lt(strlen(vmh_error_message(error)), 300);
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "there is no property \"aaaa");
}
END_TEST

START_TEST(hostile_texts_survive_as_text)
{
    static const char text[] = "</title>&lt;]]><!--\\\"'$(reboot)`id`;|%s%n{}[],: \xe2\x80\xae\xef\xbf\xbd";
    g_autoptr(vmh_spec) spec = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_spec) again = NULL;
    g_autofree char *json = NULL;
    vmh_error       *error = NULL;
    const char      *value = NULL;

    vmh_spec_set_str(spec, "title", text, &error);
    vmh_spec_set_str(spec, "metadata.key", text, &error);
    json = vmh_spec_to_json(spec, 0, &error);
    again = read_json("vm", json, &error);
    assert_no_error(error);
    vmh_spec_get_str(again, "title", &value, NULL);
    ck_assert_str_eq(value, text);
    vmh_spec_get_str(again, "metadata.key", &value, NULL);
    ck_assert_str_eq(value, text);
}
END_TEST

START_TEST(secrets_are_not_written)
{
    vmh_error *error = NULL;
    g_autoptr(vmh_spec) spec = read_json(
        "open", "{\"auth\":{\"user\":\"u\",\"password\":\"secret\"},\"call\":{\"timeout\":\"5s\"}}", &error);
    g_autofree char *json = vmh_spec_to_json(spec, 0, &error);
    const char      *password = NULL;

    assert_no_error(error);
    ck_assert_str_eq(json, "{\"auth\":{\"user\":\"u\"},\"call\":{\"timeout\":5000}}");
    vmh_spec_get_str(spec, "auth.password", &password, NULL);
    ck_assert_str_eq(password, "secret");
}
END_TEST

START_TEST(numbers_no_reader_would_round)
{
    g_autoptr(vmh_spec) spec = vmh_spec_new("host", NULL);
    g_autofree char *json = NULL;

    vmhi_spec_put_u64(spec, "memory.free", UINT64_C(1) << 53);
    vmhi_spec_put_u64(spec, "memory.total", (UINT64_C(1) << 53) + 1);
    vmhi_spec_put_u64(spec, "memory.allocated", UINT64_MAX);
    json = vmh_spec_to_json(spec, 0, NULL);
    ck_assert_str_eq(json, "{\"memory\":{\"allocated\":\"18446744073709551615\",\"free\":9007199254740992,"
                           "\"total\":\"9007199254740993\"}}");
}
END_TEST

START_TEST(flags_and_kinds_are_checked)
{
    g_autoptr(vmh_spec) spec = vmh_spec_new("vm", NULL);
    vmh_error *error = NULL;

    ck_assert_ptr_null(vmh_spec_to_json(spec, 2, &error));
    assert_error(error, VMH_ERR_ARGUMENT, "0x2");
    ck_assert_ptr_null(read_json("car", "{}", &error));
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "there is no kind \"car\"");
    ck_assert_ptr_null(read_json("vm", "x", NULL));
}
END_TEST

START_TEST(the_locale_does_not_matter)
{
    static const char *const locales[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE", "C.UTF-8"};
    vmh_error               *error = NULL;
    g_autoptr(vmh_spec) spec = NULL;
    g_autofree char *json = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(locales) && !setlocale(LC_ALL, locales[i]); i++)
        ;
    spec = read_json("vm", all_types, &error);
    assert_no_error(error);
    json = vmh_spec_to_json(spec, 0, &error);
    ck_assert_str_eq(json, all_types);
}
END_TEST

UNIT_RUN("json", what_is_only_reported_is_read_too, a_round_trip_is_exact,
         decimals_are_as_short_as_they_are_read_back, an_empty_spec_is_an_empty_object,
         values_are_read_as_people_write_them, what_is_not_json_is_refused, bytes_that_are_no_text_are_refused,
         wrong_content_is_refused_with_its_path, depth_is_limited, size_is_limited, hostile_texts_survive_as_text,
         secrets_are_not_written, numbers_no_reader_would_round, flags_and_kinds_are_checked,
         the_locale_does_not_matter)
