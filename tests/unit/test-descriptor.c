/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors in specs: a spec owns a duplicate and nothing is left of it, and no text gives one away. */
#include "unit.h"

#include "model/spec.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vmhost/properties.h>

#define PATH VMH_P_NIC_FD("lan")

static guint count_open(void)
{
    guint count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Of a pipe, only the spec has the end to write to. */
static vmh_spec *spec_with_pipe(int *reader)
{
    vmh_spec *spec = vmh_spec_new("vm", NULL);
    int       ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(vmh_spec_set_fd(spec, PATH, ends[1], NULL), 0);
    close(ends[1]);
    *reader = ends[0];
    return spec;
}

static gboolean has_writer(int reader)
{
    struct pollfd wait = {.fd = reader, .events = POLLIN};

    return poll(&wait, 1, 0) == 0;
}

START_TEST(the_last_of_all_copies_closes_it)
{
    const guint before = count_open();
    int         reader;
    vmh_spec   *spec = spec_with_pipe(&reader);
    vmh_spec   *copy = vmh_spec_dup(spec);
    vmh_spec   *again = vmh_spec_ref(copy);

    ck_assert_uint_eq(count_open(), before + 2);
    vmh_spec_unref(spec);
    vmh_spec_unref(copy);
    ck_assert(has_writer(reader));
    vmh_spec_unref(again);
    ck_assert(!has_writer(reader));
    close(reader);
    ck_assert_uint_eq(count_open(), before);
}
END_TEST

START_TEST(a_copy_keeps_it_when_it_is_set_anew)
{
    int        first, second;
    vmh_spec  *spec = spec_with_pipe(&first);
    vmh_spec  *copy = vmh_spec_dup(spec), *other = spec_with_pipe(&second);
    vmhi_value value;

    ck_assert(vmhi_spec_same(spec, copy, PATH) && !vmhi_spec_same(spec, other, PATH));
    vmhi_value_copy(vmhi_spec_get(other, PATH, NULL), &value);
    ck_assert(vmhi_spec_set_value(spec, PATH, &value, NULL));
    vmhi_value_clear(&value);
    ck_assert(has_writer(first));
    vmh_spec_unset(copy, PATH, NULL);
    ck_assert(!has_writer(first));
    vmh_spec_unref(other);
    ck_assert(has_writer(second));
    vmh_spec_unset(spec, PATH, NULL);
    ck_assert(!has_writer(second));
    vmh_spec_unref(copy);
    vmh_spec_unref(spec);
    close(first);
    close(second);
}
END_TEST

START_TEST(programs_that_are_started_do_not_get_it)
{
    int reader;
    g_autoptr(vmh_spec) spec = spec_with_pipe(&reader);
    const int ours = vmhi_spec_descriptor(spec, PATH);

    ck_assert_int_gt(ours, STDERR_FILENO);
    ck_assert_int_eq(fcntl(ours, F_GETFD), FD_CLOEXEC);
    close(STDIN_FILENO);
    ck_assert_int_eq(vmh_spec_set_fd(spec, PATH, reader, NULL), 0);
    ck_assert_int_gt(vmhi_spec_descriptor(spec, PATH), STDERR_FILENO);
    close(reader);
}
END_TEST

START_TEST(what_is_not_open_is_refused)
{
    static const int wrong[] = {-1, INT32_MIN, INT32_MAX, 777};
    g_autoptr(vmh_spec) spec = vmh_spec_new("vm", NULL);
    vmh_error *error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autofree char *said = g_strdup_printf("nic.lan.fd: %d is not an open descriptor", wrong[i]);

        ck_assert_int_eq(vmh_spec_set_fd(spec, PATH, wrong[i], &error), VMH_ERR_VALUE);
        ck_assert_str_eq(vmh_error_property(error), PATH);
        assert_error(error, VMH_ERR_VALUE, said);
    }
    ck_assert_uint_eq(vmh_spec_paths(spec, NULL), 0);
}
END_TEST

START_TEST(a_failure_leaves_the_one_before)
{
    int           reader;
    struct rlimit limit, full;
    g_autoptr(vmh_spec) spec = spec_with_pipe(&reader);
    vmh_error *error = NULL;

    ck_assert_int_eq(vmh_spec_set_fd(spec, PATH, -1, NULL), VMH_ERR_VALUE);
    ck_assert_int_eq(vmh_spec_set(spec, PATH, "7", NULL), VMH_ERR_VALUE);
    ck_assert(has_writer(reader));
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    full = (struct rlimit){(rlim_t)vmhi_spec_descriptor(spec, PATH) + 1, limit.rlim_max};
    while (dup(reader) < vmhi_spec_descriptor(spec, PATH))
        continue;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &full), 0);
    ck_assert_int_eq(vmh_spec_set_fd(spec, PATH, reader, &error), VMH_ERR_RESOURCE);
    assert_error(error, VMH_ERR_RESOURCE, "cannot be duplicated: Too many open files");
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert(has_writer(reader));
}
END_TEST

START_TEST(no_text_gives_one_away)
{
    static const char *const texts[] = {"0", "1", "3", "-1", "", "yes", " given", "/dev/net/tun"};
    static const char *const documents[] = {
        "{\"nic\":{\"lan\":{\"fd\":0}}}",      "{\"nic\":{\"lan\":{\"fd\":3}}}",
        "{\"nic\":{\"lan\":{\"fd\":\"3\"}}}",  "{\"nic\":{\"lan\":{\"fd\":3.0}}}",
        "{\"nic\":{\"lan\":{\"fd\":true}}}",   "{\"nic\":{\"lan\":{\"fd\":null}}}",
        "{\"nic\":{\"lan\":{\"fd\":\"fd3\"}}}"};
    g_autoptr(vmh_spec) spec = vmh_spec_new("vm", NULL);
    const guint before = count_open();
    vmh_error  *error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        ck_assert_int_eq(vmh_spec_set(spec, PATH, texts[i], &error), VMH_ERR_VALUE);
        assert_error(error, VMH_ERR_VALUE, "takes an open descriptor, which vmh_spec_set_fd() alone gives, not \"");
    }
    for (size_t i = 0; i < G_N_ELEMENTS(documents); i++) {
        ck_assert_ptr_null(vmh_spec_from_json("vm", documents[i], strlen(documents[i]), &error));
        ck_assert_str_eq(vmh_error_property(error), PATH);
        assert_error(error, VMH_ERR_VALUE, "which vmh_spec_set_fd() alone gives, not ");
    }
    ck_assert_int_eq(vmh_spec_set_str(spec, PATH, "3", &error), VMH_ERR_VALUE);
    assert_error(error, VMH_ERR_VALUE, "use vmh_spec_set_fd()");
    ck_assert_int_eq(vmh_spec_set_u64(spec, PATH, 3, NULL), VMH_ERR_VALUE);
    ck_assert_int_eq(vmh_spec_set_f64(spec, PATH, 3, NULL), VMH_ERR_VALUE);
    ck_assert_int_eq(vmh_spec_set_bool(spec, PATH, 1, NULL), VMH_ERR_VALUE);
    ck_assert_uint_eq(vmh_spec_paths(spec, NULL), 0);
    ck_assert_uint_eq(count_open(), before);
}
END_TEST

START_TEST(only_descriptors_are_set_by_it)
{
    static const struct {
        const char *path, *said;
        int32_t     code;
    } rows[] = {{"name", "use vmh_spec_set_str()", VMH_ERR_VALUE},
                {"cpu.count", "use vmh_spec_set_u64()", VMH_ERR_VALUE},
                {"nic.lan.user", "use vmh_spec_set_bool()", VMH_ERR_VALUE},
                {"state", "is only reported", VMH_ERR_VALUE},
                {"nic.fd", "did you mean", VMH_ERR_UNKNOWN_NAME}};
    g_autoptr(vmh_spec) spec = vmh_spec_new("vm", NULL);
    const guint before = count_open();
    vmh_error  *error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        ck_assert_int_eq(vmh_spec_set_fd(spec, rows[i].path, STDERR_FILENO, &error), rows[i].code);
        assert_error(error, rows[i].code, rows[i].said);
    }
    vmh_spec_set(spec, "cpu.count", "many", &error);
    ck_assert_int_eq(vmh_spec_set_fd(spec, PATH, STDERR_FILENO, &error), VMH_ERR_VALUE);
    assert_error(error, VMH_ERR_VALUE, "cpu.count");
    ck_assert_uint_eq(count_open(), before);
    ck_assert_uint_eq(vmh_spec_paths(spec, NULL), 0);
}
END_TEST

/* Who reads is told that there is one, and no number. */
START_TEST(reading_says_that_it_is_given)
{
    int reader;
    g_autoptr(vmh_spec) spec = spec_with_pipe(&reader);
    g_autofree char *text = vmh_spec_get_text_dup(spec, PATH, NULL);
    g_autofree char *json = vmh_spec_to_json(spec, 0, NULL);
    g_autoptr(vmh_spec) back = vmh_spec_from_json("vm", json, strlen(json), NULL);
    g_autofree char *again = vmh_spec_get_text_dup(back, PATH, NULL);
    const char      *lent;
    vmh_error       *error = NULL;
    uint64_t         number;

    ck_assert_str_eq(text, "given");
    ck_assert_str_eq(json, "{\"nic\":{\"lan\":{\"fd\":\"given\"}}}");
    ck_assert_str_eq(again, "given");
    ck_assert_int_eq(vmh_spec_has(back, PATH), 1);
    ck_assert_int_eq(vmhi_spec_descriptor(back, PATH), -1);
    ck_assert(!vmhi_spec_same(spec, back, PATH) && vmhi_spec_same(back, back, PATH));
    ck_assert_int_eq(vmh_spec_get_u64(spec, PATH, &number, &error), VMH_ERR_VALUE);
    assert_error(error, VMH_ERR_VALUE, "use vmh_spec_get_text_dup()");
    ck_assert_int_eq(vmh_spec_get_str(spec, PATH, &lent, NULL), VMH_ERR_VALUE);
    close(reader);
}
END_TEST

UNIT_RUN("descriptor", the_last_of_all_copies_closes_it, a_copy_keeps_it_when_it_is_set_anew,
         programs_that_are_started_do_not_get_it, what_is_not_open_is_refused, a_failure_leaves_the_one_before,
         no_text_gives_one_away, only_descriptors_are_set_by_it, reading_says_that_it_is_given)
