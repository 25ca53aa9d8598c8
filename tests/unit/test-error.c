/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors: whatever text goes in, one bounded line of valid UTF-8 comes out; and the first error stays. */
#include "unit.h"

#define assert_message(text, expected)                                                                               \
    do {                                                                                                             \
        g_autoptr(vmh_error) error_ = NULL;                                                                          \
        vmhi_error_set(&error_, VMH_ERR_VALUE, "%s", text);                                                          \
        ck_assert_str_eq(vmh_error_message(error_), expected);                                                       \
    } while (0)

START_TEST(messages_are_one_clean_line)
{
    assert_message("plain", "plain");
    assert_message("", "");
    assert_message("two\nlines\r\n", "two lines");
    assert_message("tab\there", "tab here");
    assert_message("red\x1b[31m", "red [31m");
    assert_message("del\x7f"
                   "c1\xc2\x85.",
                   "del c1 .");
    assert_message("line\xe2\x80\xa8separator", "line separator");
    assert_message("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
    assert_message("bad\xff\xc3", "bad\xef\xbf\xbd\xef\xbf\xbd");
    assert_message("surrogate\xed\xa0\x80", "surrogate\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    assert_message("<a & b='%s'>", "<a & b='%s'>");
}
END_TEST

START_TEST(messages_are_bounded)
{
    /* One byte to begin with, so that the limit falls inside a character of each width. */
    static const char *const fills[] = {"x", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xff"};

    for (size_t i = 0; i < G_N_ELEMENTS(fills); i++) {
        for (int shift = 0; shift < 4; shift++) {
            g_autoptr(vmh_error) error = NULL;
            g_autoptr(GString) text = g_string_new("");

            g_string_append_printf(text, "%.*s", shift, "abcd");
            while (text->len < 1024 * 1024)
                g_string_append(text, fills[i]);
            vmhi_error_set_property(&error, VMH_ERR_VALUE, text->str, "%s", text->str);
            ck_assert_uint_le(strlen(vmh_error_message(error)), 2048);
            ck_assert_uint_gt(strlen(vmh_error_message(error)), 2000);
            ck_assert(g_utf8_validate(vmh_error_message(error), -1, NULL));
            ck_assert(g_str_has_suffix(vmh_error_message(error), "\xe2\x80\xa6"));
            ck_assert_uint_le(strlen(vmh_error_property(error)), 256);
            ck_assert(g_utf8_validate(vmh_error_property(error), -1, NULL));
        }
    }
}
END_TEST

START_TEST(a_message_at_the_limit_is_whole)
{
    g_autofree char *text = g_strnfill(2048, 'x');
    g_autoptr(vmh_error) error = NULL;

    vmhi_error_set(&error, VMH_ERR_VALUE, "%s", text);
    ck_assert_str_eq(vmh_error_message(error), text);
}
END_TEST

START_TEST(the_first_error_stays)
{
    g_autoptr(vmh_error) error = NULL;

    vmhi_error_set(NULL, VMH_ERR_STATE, "nobody asked");
    vmhi_error_set(&error, VMH_ERR_STATE, "first");
    vmhi_error_set(&error, VMH_ERR_VALUE, "second");
    ck_assert_int_eq(vmh_error_code(error), VMH_ERR_STATE);
    ck_assert_str_eq(vmh_error_message(error), "first");
}
END_TEST

START_TEST(all_parts_can_be_read)
{
    g_autoptr(vmh_error) error = NULL;

    vmhi_error_set_native(&error, VMH_ERR_TIMEOUT, "libvirt", 38, "disk.root.path", "no reply after %d s", 3);
    ck_assert_int_eq(vmh_error_code(error), VMH_ERR_TIMEOUT);
    ck_assert_str_eq(vmh_error_message(error), "no reply after 3 s");
    ck_assert_str_eq(vmh_error_property(error), "disk.root.path");
    ck_assert_str_eq(vmh_error_driver(error), "libvirt");
    ck_assert_int_eq(vmh_error_native(error), 38);
    ck_assert_int_eq(vmh_error_retryable(error), 1);
}
END_TEST

START_TEST(some_codes_are_retryable)
{
    for (int32_t code = VMH_ERR_INTERNAL; code >= VMH_ERR_HYPERVISOR; code--) {
        g_autoptr(vmh_error) error = NULL;
        int32_t expected =
            code == VMH_ERR_TIMEOUT || code == VMH_ERR_LOST || code == VMH_ERR_BUSY || code == VMH_ERR_UNREACHABLE;

        vmhi_error_set(&error, code, "x");
        ck_assert_int_eq(vmh_error_retryable(error), expected);
    }
}
END_TEST

START_TEST(every_code_has_its_name)
{
    ck_assert_str_eq(vmh_error_name(VMH_ERR_INTERNAL), "VMH_ERR_INTERNAL");
    ck_assert_str_eq(vmh_error_name(VMH_ERR_STATE), "VMH_ERR_STATE");
    ck_assert_str_eq(vmh_error_name(VMH_ERR_HYPERVISOR), "VMH_ERR_HYPERVISOR");
    for (int32_t code = VMH_ERR_INTERNAL; code >= VMH_ERR_HYPERVISOR; code--)
        ck_assert_ptr_nonnull(vmh_error_name(code));
    ck_assert_ptr_null(vmh_error_name(0));
    ck_assert_ptr_null(vmh_error_name(1));
    ck_assert_ptr_null(vmh_error_name(VMH_ERR_HYPERVISOR - 1));
    ck_assert_ptr_null(vmh_error_name(INT32_MIN));
    ck_assert_ptr_null(vmh_error_name(INT32_MAX));
}
END_TEST

START_TEST(a_prefix_says_what_was_being_done)
{
    g_autoptr(vmh_error) error = NULL;
    g_autofree char *long_text = g_strnfill(4000, 'x');

    vmhi_error_prefix(NULL, "nothing");
    vmhi_error_prefix(&error, "nothing");
    ck_assert_ptr_null(error);
    vmhi_error_set_property(&error, VMH_ERR_EXISTS, "name", "the name is taken");
    vmhi_error_prefix(&error, "creating VM \"%s\"", "a\nb");
    ck_assert_str_eq(vmh_error_message(error), "creating VM \"a b\": the name is taken");
    ck_assert_str_eq(vmh_error_property(error), "name");
    vmhi_error_prefix(&error, "%s", long_text);
    ck_assert_uint_le(strlen(vmh_error_message(error)), 2048);
}
END_TEST

START_TEST(errors_move_and_copy)
{
    g_autoptr(vmh_error) first = NULL;
    g_autoptr(vmh_error) copy = NULL;
    vmh_error *source = NULL;

    vmhi_error_set_native(&source, VMH_ERR_LOST, "libvirt", 7, "name", "gone");
    vmhi_error_move(&first, source);
    ck_assert_ptr_eq(first, source);
    copy = vmhi_error_copy(first);
    ck_assert_str_eq(vmh_error_message(copy), "gone");
    ck_assert_str_eq(vmh_error_property(copy), "name");
    ck_assert_str_eq(vmh_error_driver(copy), "libvirt");
    ck_assert_int_eq(vmh_error_native(copy), 7);
    ck_assert_int_eq(vmh_error_retryable(copy), 1);

    vmhi_error_move(&first, vmhi_error_copy(copy)); /* There is one already: freed. */
    ck_assert_ptr_eq(first, source);
    vmhi_error_move(NULL, vmhi_error_copy(copy));
    vmhi_error_move(&first, NULL);
    ck_assert_ptr_eq(first, source);
    ck_assert_ptr_null(vmhi_error_copy(NULL));
}
END_TEST

START_TEST(no_error_reads_as_none)
{
    ck_assert_int_eq(vmh_error_code(NULL), 0);
    ck_assert_str_eq(vmh_error_message(NULL), "no error");
    ck_assert_ptr_null(vmh_error_property(NULL));
    ck_assert_ptr_null(vmh_error_driver(NULL));
    ck_assert_int_eq(vmh_error_native(NULL), 0);
    ck_assert_int_eq(vmh_error_retryable(NULL), 0);
    vmh_error_free(NULL);
    vmh_free(NULL);
}
END_TEST

START_TEST(excerpts_are_short)
{
    static const struct {
        const char *fill;
        size_t      length;
    } rows[] = {{"x", 64}, {"\xc3\xbc", 64}, {"\xe2\x82\xac", 63}, {"\xf0\x9f\x98\x80", 64}, {"\x80", 64}};
    g_autofree char *whole = vmhi_excerpt("short");

    ck_assert_str_eq(whole, "short");
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GString) text = g_string_new("");
        g_autofree char *excerpt = NULL;

        while (text->len < 1024 * 1024)
            g_string_append(text, rows[i].fill);
        excerpt = vmhi_excerpt(text->str);
        ck_assert_uint_eq(strlen(excerpt), rows[i].length + strlen("\xe2\x80\xa6"));
        ck_assert(g_str_has_suffix(excerpt, "\xe2\x80\xa6"));
    }
}
END_TEST

UNIT_RUN("error", messages_are_one_clean_line, messages_are_bounded, a_message_at_the_limit_is_whole,
         the_first_error_stays, all_parts_can_be_read, some_codes_are_retryable, every_code_has_its_name,
         a_prefix_says_what_was_being_done, errors_move_and_copy, no_error_reads_as_none, excerpts_are_short)
