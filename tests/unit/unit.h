/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every unit test needs: running its list of tests, and asserting on errors. */
#pragma once

#include "model/error.h"
#include <check.h>
#include <string.h>

/* The main() of a test: each test of the list runs in a process of its own. */
static inline int unit_run(const char *name, const TTest *const *tests, size_t count)
{
    Suite   *suite = suite_create(name);
    SRunner *runner = srunner_create(suite);
    int      failed;

    for (size_t i = 0; i < count; i++) {
        TCase *tcase = tcase_create(tests[i]->name);
        tcase_add_test(tcase, tests[i]);
        suite_add_tcase(suite, tcase);
    }
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#define UNIT_RUN(name, ...)                                                                                          \
    int main(void)                                                                                                   \
    {                                                                                                                \
        const TTest *const tests[] = {__VA_ARGS__};                                                                  \
        return unit_run(name, tests, G_N_ELEMENTS(tests));                                                           \
    }

/* The error is set, has this code, its message holds `part`; it is freed and reset. */
#define assert_error(error, expected, part)                                                                          \
    do {                                                                                                             \
        ck_assert_msg((error) != NULL, "no error, expected %s", #expected);                                          \
        ck_assert_msg((error)->code == (expected), "%s: %s, expected %s", vmh_error_name((error)->code),             \
                      (error)->message, #expected);                                                                  \
        ck_assert_msg(strstr((error)->message, (part)) != NULL, "\"%s\" does not say \"%s\"", (error)->message,      \
                      (part));                                                                                       \
        vmh_error_free(error);                                                                                       \
        (error) = NULL;                                                                                              \
    } while (0)

#define assert_no_error(error) ck_assert_msg((error) == NULL, "%s", vmh_error_message(error))
