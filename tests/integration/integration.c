/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running integration tests, the lab's programs, and guests whose console tells what they notice. */
#include "integration.h"

#include <stdio.h>
#include <stdlib.h>

gboolean lab_is_here(void)
{
    return g_getenv("VMHOST_TEST_LAB") != NULL;
}

int integration_run(const char *name, gboolean needs_lab, const TTest *const *tests, size_t count)
{
    Suite   *suite = suite_create(name);
    SRunner *runner = srunner_create(suite);
    int      failed;

    if (needs_lab && !lab_is_here()) {
        printf("1..0 # SKIP needs a lab: tests/lab/enter -- COMMAND\n");
        srunner_free(runner);
        return 0;
    }
    test_prefix(); /* the children that run the tests share it, so each finds what another left */
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

const char *lab_variable(const char *name)
{
    g_autofree char *full = g_strconcat("VMHOST_TEST_", name, NULL);
    const char      *value = g_getenv(full);

    ck_assert_msg(value != NULL, "the lab does not set %s", full);
    return value;
}

char *run(const char *const *command)
{
    g_autofree char *line = g_strjoinv(" ", (char **)command);
    g_autofree char *problems = NULL;
    char            *output = NULL;
    int              status = -1;
    g_autoptr(GError) failure = NULL;

    ck_assert_msg(g_spawn_sync(NULL, (char **)command, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output, &problems,
                               &status, &failure),
                  "%s: %s", line, failure ? failure->message : "");
    ck_assert_msg(status == 0, "%s failed: %s%s", line, output, problems);
    return output;
}

void lab(const char *program, ...)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    g_autofree char *path = g_build_filename(lab_variable("LAB"), program, NULL);
    g_autofree char *output = NULL;
    const char      *word;
    va_list          arguments;

    g_ptr_array_add(words, path);
    va_start(arguments, program);
    while ((word = va_arg(arguments, const char *)))
        g_ptr_array_add(words, (char *)word);
    va_end(arguments);
    g_ptr_array_add(words, NULL);
    output = run((const char *const *)words->pdata);
}

vmh_host *open_host(const char *uri)
{
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_spec) options = vmh_spec_new("open", &error);
    vmh_host *host;

    /* A host that was hurt may take its time to let go of what it was about. */
    vmh_spec_set_u64(options, VMH_OPEN_CONNECT_TIMEOUT, PATIENCE_MS, &error);
    host = vmh_host_open(uri, options, 0, &error);
    ck_assert_msg(host != NULL, "%s: %s", uri, vmh_error_message(error));
    return host;
}

vmh_vm *create(vmh_host *host, const vmh_spec *spec, uint64_t flags)
{
    g_autoptr(vmh_error) error = NULL;
    vmh_job *job = vmh_host_create_vm(host, spec, flags, &error);
    vmh_vm  *vm;

    ck_assert_msg(vmh_job_wait(job, PATIENCE_MS, &error) == 0, "%s", vmh_error_message(error));
    vm = vmh_job_result_vm(job);
    vmh_job_unref(job);
    ck_assert_ptr_nonnull(vm);
    return vm;
}

vmh_vm *boot_guest(vmh_host *host, vmh_spec *spec, const char *cmdline, int *console, GString *seen)
{
    g_autoptr(vmh_error) error = NULL;
    vmh_vm *vm;

    lab_variable("KERNEL");
    ck_assert(test_spec_boot(spec, cmdline));
    vm = create(host, spec, VMH_CREATE_START);
    *console = vmh_vm_console(vm, NULL, 0, &error);
    ck_assert_msg(*console >= 0, "%s", vmh_error_message(error));
    ck_assert_msg(test_wait_console(*console, seen, " nics=", PATIENCE_MS) &&
                      strstr(seen->str, "vmhost-guest: ready"),
                  "the guest says: %s", last_words(seen));
    return vm;
}

const char *last_words(const GString *seen)
{
    return seen->str + (seen->len > 800 ? seen->len - 800 : 0);
}

guint last_tick(const GString *seen)
{
    const char *last = g_strrstr(seen->str, "tick ");
    char       *end = NULL;
    gulong      number = last ? strtoul(last + 5, &end, 10) : 0;

    return last && (*end == '\r' || *end == '\n') ? (guint)number : 0;
}

gboolean ticks_are_contiguous(const GString *seen)
{
    gulong previous = 0;

    for (const char *at = strstr(seen->str, "tick "); at; at = strstr(at + 5, "tick ")) {
        gulong number = strtoul(at + 5, NULL, 10);
        if (!strchr(at, '\n'))
            break; /* it is still being said */
        if (previous && number != previous + 1)
            return FALSE;
        previous = number;
    }
    return previous > 0;
}
