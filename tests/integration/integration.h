/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every integration test needs: running its list of tests, the lab's hosts, and asserting on jobs. */
#pragma once

#include "support.h"
#include <check.h>
#include <string.h>

/* The main() of a test: each test of the list runs in a process of its own. */
int integration_run(const char *name, gboolean needs_lab, const TTest *const *tests, size_t count);

#define INTEGRATION_RUN(name, needs_lab, ...)                                                                        \
    int main(void)                                                                                                   \
    {                                                                                                                \
        const TTest *const tests[] = {__VA_ARGS__};                                                                  \
        return integration_run(name, needs_lab, tests, G_N_ELEMENTS(tests));                                         \
    }

/* A variable of the lab such as "URI_A"; the test fails when the lab has none. */
const char *lab_variable(const char *name);
gboolean    lab_is_here(void);

/* Runs one of the lab's programs: lab("hurt", "cut", "b", NULL). The test fails when it fails. */
void lab(const char *program, ...) G_GNUC_NULL_TERMINATED;

/* Runs any command and gives what it printed, for g_free(). The test fails when it fails. */
char *run(const char *const *command);
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

/* Opens a host without whose connection the test makes no sense. */
vmh_host *open_host(const char *uri);

/* A VM that boots the lab's guest, and its console once it has said that it is ready. */
vmh_vm *boot_guest(vmh_host *host, vmh_spec *spec, const char *cmdline, int *console, GString *seen);
vmh_vm *create(vmh_host *host, const vmh_spec *spec, uint64_t flags);

/* The end of what a console has said, for messages. */
const char *last_words(const GString *seen);

/* The number of the last whole "tick N" that the console has said, or 0; and whether none was left out. */
guint    last_tick(const GString *seen);
gboolean ticks_are_contiguous(const GString *seen);

/* `job` is a call that takes &error of the caller. */
#define assert_ok(job)                                                                                               \
    do {                                                                                                             \
        int32_t code_ = vmh_job_finish(job, PATIENCE_MS, &error);                                                    \
        ck_assert_msg(code_ == 0, "%s: %s", #job, vmh_error_message(error));                                         \
    } while (0)

/* The call ended with this code; the error is freed and reset. */
#define assert_fails(job, expected)                                                                                  \
    do {                                                                                                             \
        int32_t code_ = vmh_job_finish(job, PATIENCE_MS, &error);                                                    \
        ck_assert_msg(code_ == (expected), "%s gave %s instead of %s: %s", #job,                                     \
                      code_ ? vmh_error_name(code_) : "success", #expected, vmh_error_message(error));               \
        g_clear_pointer(&error, vmh_error_free);                                                                     \
    } while (0)

/* The error is set and has this code; it is freed and reset. */
#define assert_error(expected)                                                                                       \
    do {                                                                                                             \
        ck_assert_msg(vmh_error_code(error) == (expected), "%s instead of %s: %s",                                   \
                      error ? vmh_error_name(vmh_error_code(error)) : "no error", #expected,                         \
                      vmh_error_message(error));                                                                     \
        g_clear_pointer(&error, vmh_error_free);                                                                     \
    } while (0)

#define assert_no_error() ck_assert_msg(error == NULL, "%s", vmh_error_message(error))
