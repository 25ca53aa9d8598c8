/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NULL for every pointer argument of every public function, and flags that no function knows. */
#include "integration.h"

#include <math.h>
#include <stdio.h>

/* What was called; compared with the list of all symbols at the end. */
static GHashTable *called;

#define CALLED(function) (g_hash_table_add(called, #function), function)

/* Each of these fails with VMH_ERR_ARGUMENT, with and without a place for the error. */
#define REFUSES_NULL(result_type, failed, function, ...)                                                             \
    do {                                                                                                             \
        vmh_error  *error = NULL;                                                                                    \
        result_type got = CALLED(function)(__VA_ARGS__, &error);                                                     \
        ck_assert_msg(got failed, "%s(%s) did not fail", #function, #__VA_ARGS__);                                   \
        ck_assert_msg(error != NULL, "%s(%s) gave no error", #function, #__VA_ARGS__);                               \
        ck_assert_int_eq(vmh_error_code(error), VMH_ERR_ARGUMENT);                                                   \
        ck_assert_msg(strstr(vmh_error_message(error), "NULL"), "%s: %s", #function, vmh_error_message(error));      \
        got = function(__VA_ARGS__, &error); /* with an error that is set */                                         \
        ck_assert(got failed);                                                                                       \
        vmh_error_free(error);                                                                                       \
        got = function(__VA_ARGS__, NULL);                                                                           \
        ck_assert(got failed);                                                                                       \
    } while (0)

#define GIVES_NULL(function, ...) REFUSES_NULL(const void *, == NULL, function, __VA_ARGS__)
#define GIVES_CODE(function, ...) REFUSES_NULL(int32_t, == VMH_ERR_ARGUMENT, function, __VA_ARGS__)

static void call_base_and_error(void)
{
    CALLED(vmh_free)(NULL);
    ck_assert_ptr_nonnull(CALLED(vmh_version)());
    ck_assert_int_eq(CALLED(vmh_error_code)(NULL), 0);
    ck_assert_str_eq(CALLED(vmh_error_message)(NULL), "no error");
    ck_assert_ptr_null(CALLED(vmh_error_property)(NULL));
    ck_assert_ptr_null(CALLED(vmh_error_driver)(NULL));
    ck_assert_int_eq(CALLED(vmh_error_native)(NULL), 0);
    ck_assert_int_eq(CALLED(vmh_error_retryable)(NULL), 0);
    ck_assert_ptr_null(CALLED(vmh_error_name)(0));
    ck_assert_ptr_null(vmh_error_name(1));
    ck_assert_ptr_null(vmh_error_name(INT32_MIN));
    CALLED(vmh_error_free)(NULL);
}

static void call_spec(vmh_spec *spec)
{
    const char *text;
    uint64_t    number;
    double      real;
    int32_t     flag;

    GIVES_NULL(vmh_spec_new, NULL);
    ck_assert_ptr_null(CALLED(vmh_spec_ref)(NULL));
    CALLED(vmh_spec_unref)(NULL);
    ck_assert_ptr_null(CALLED(vmh_spec_dup)(NULL));
    ck_assert_ptr_null(CALLED(vmh_spec_kind)(NULL));
    GIVES_CODE(vmh_spec_set, NULL, "name", "x");
    GIVES_CODE(vmh_spec_set, spec, NULL, "x");
    GIVES_CODE(vmh_spec_set, spec, "name", NULL);
    GIVES_CODE(vmh_spec_set_str, NULL, "name", "x");
    GIVES_CODE(vmh_spec_set_str, spec, NULL, "x");
    GIVES_CODE(vmh_spec_set_str, spec, "name", NULL);
    GIVES_CODE(vmh_spec_set_u64, NULL, "cpu.count", 1);
    GIVES_CODE(vmh_spec_set_u64, spec, NULL, 1);
    GIVES_CODE(vmh_spec_set_f64, NULL, "cpu.limit", 1.0);
    GIVES_CODE(vmh_spec_set_f64, spec, NULL, 1.0);
    GIVES_CODE(vmh_spec_set_bool, NULL, "rng", 1);
    GIVES_CODE(vmh_spec_set_bool, spec, NULL, 1);
    GIVES_CODE(vmh_spec_set_fd, NULL, "nic.a.fd", 0);
    GIVES_CODE(vmh_spec_set_fd, spec, NULL, 0);
    GIVES_CODE(vmh_spec_get_str, NULL, "name", &text);
    GIVES_CODE(vmh_spec_get_str, spec, NULL, &text);
    GIVES_CODE(vmh_spec_get_str, spec, "name", NULL);
    GIVES_CODE(vmh_spec_get_u64, NULL, "cpu.count", &number);
    GIVES_CODE(vmh_spec_get_u64, spec, NULL, &number);
    GIVES_CODE(vmh_spec_get_u64, spec, "cpu.count", NULL);
    GIVES_CODE(vmh_spec_get_f64, NULL, "cpu.limit", &real);
    GIVES_CODE(vmh_spec_get_f64, spec, NULL, &real);
    GIVES_CODE(vmh_spec_get_f64, spec, "cpu.limit", NULL);
    GIVES_CODE(vmh_spec_get_bool, NULL, "rng", &flag);
    GIVES_CODE(vmh_spec_get_bool, spec, NULL, &flag);
    GIVES_CODE(vmh_spec_get_bool, spec, "rng", NULL);
    GIVES_NULL(vmh_spec_get_text_dup, NULL, "name");
    GIVES_NULL(vmh_spec_get_text_dup, spec, NULL);
    GIVES_CODE(vmh_spec_unset, NULL, "name");
    GIVES_CODE(vmh_spec_unset, spec, NULL);
}

static void call_spec_as_a_whole(vmh_spec *spec)
{
    char **paths = (char **)&paths; /* as nothing has set it */

    ck_assert_int_eq(CALLED(vmh_spec_has)(NULL, "name"), 0);
    ck_assert_int_eq(vmh_spec_has(spec, NULL), 0);
    ck_assert_uint_eq(CALLED(vmh_spec_paths)(NULL, &paths), 0);
    ck_assert(!paths || !*paths);
    vmh_free(paths);
    ck_assert_uint_eq(vmh_spec_paths(spec, NULL), 3);
    ck_assert_uint_eq(vmh_spec_paths(NULL, NULL), 0);
    GIVES_NULL(vmh_spec_to_json, NULL, 0);
    GIVES_NULL(vmh_spec_from_json, NULL, "{}", 2);
    GIVES_NULL(vmh_spec_from_json, "vm", NULL, 0);
}

static void call_schema(void)
{
    ck_assert_uint_eq(CALLED(vmh_schema_count)(NULL), 0);
    ck_assert_ptr_null(CALLED(vmh_schema_at)(NULL, 0));
    ck_assert_ptr_null(vmh_schema_at("vm", SIZE_MAX));
    GIVES_NULL(vmh_schema_find, NULL, "name");
    GIVES_NULL(vmh_schema_find, "vm", NULL);
    ck_assert_ptr_null(CALLED(vmh_property_pattern)(NULL));
    ck_assert_int_eq(CALLED(vmh_property_type)(NULL), 0);
    ck_assert_ptr_null(CALLED(vmh_property_unit)(NULL));
    ck_assert_ptr_null(CALLED(vmh_property_values)(NULL));
    ck_assert(!isnan(CALLED(vmh_property_minimum)(NULL)));
    ck_assert(!isnan(CALLED(vmh_property_maximum)(NULL)));
    ck_assert_ptr_null(CALLED(vmh_property_default)(NULL));
    ck_assert_int_eq(CALLED(vmh_property_live)(NULL), 0);
    ck_assert_int_eq(CALLED(vmh_property_readonly)(NULL), 0);
    ck_assert_ptr_null(CALLED(vmh_property_since)(NULL));
    ck_assert_ptr_null(CALLED(vmh_property_doc)(NULL));
}

static void call_metrics(void)
{
    ck_assert_uint_gt(CALLED(vmh_metric_count)(), 0);
    ck_assert_ptr_null(CALLED(vmh_metric_at)(SIZE_MAX));
    GIVES_NULL(vmh_metric_find, NULL);
    ck_assert_ptr_null(CALLED(vmh_metric_pattern)(NULL));
    ck_assert_ptr_null(CALLED(vmh_metric_unit)(NULL));
    ck_assert_int_eq(CALLED(vmh_metric_counter)(NULL), 0);
    ck_assert_ptr_null(CALLED(vmh_metric_since)(NULL));
    ck_assert_ptr_null(CALLED(vmh_metric_doc)(NULL));
    GIVES_NULL(vmh_host_sample, NULL, NULL, 0);
    ck_assert_ptr_null(CALLED(vmh_frame_ref)(NULL));
    CALLED(vmh_frame_unref)(NULL);
    ck_assert_uint_eq(CALLED(vmh_frame_rows)(NULL), 0);
    ck_assert_ptr_null(CALLED(vmh_frame_row_uuid)(NULL, 0));
    ck_assert_ptr_null(CALLED(vmh_frame_row_name)(NULL, 0));
    ck_assert_uint_eq(CALLED(vmh_frame_columns)(NULL), 0);
    ck_assert_ptr_null(CALLED(vmh_frame_column_name)(NULL, 0));
    GIVES_CODE(vmh_frame_column, NULL, "cpu.time", NULL, NULL);
}

static void call_host(vmh_host *host)
{
    char    *reason = (char *)&reason;
    vmh_vm **vms = (vmh_vm **)&vms;

    ck_assert_ptr_null(CALLED(vmh_host_ref)(NULL));
    CALLED(vmh_host_unref)(NULL);
    ck_assert_ptr_null(CALLED(vmh_host_uri)(NULL));
    ck_assert_int_eq(CALLED(vmh_host_connected)(NULL), 0);
    GIVES_NULL(vmh_host_describe, NULL);
    GIVES_CODE(vmh_host_supports, NULL, "vm.start", &reason);
    ck_assert_ptr_null(reason);
    GIVES_CODE(vmh_host_supports, host, NULL, &reason);
    ck_assert_ptr_null(CALLED(vmh_verb_name)(CALLED(vmh_verb_count)()));
    ck_assert_ptr_null(CALLED(vmh_verb_doc)(SIZE_MAX));
    ck_assert_uint_eq(CALLED(vmh_host_list_vms)(NULL, &vms), 0);
    ck_assert_ptr_null(vms);
    ck_assert_uint_eq(vmh_host_list_vms(host, NULL), 1);
    CALLED(vmh_vm_list_free)(NULL);
    GIVES_NULL(vmh_host_find_vm, NULL, "test");
    GIVES_NULL(vmh_host_find_vm, host, NULL);
    GIVES_NULL(vmh_host_refresh, NULL, 0);
    GIVES_NULL(vmh_host_create_vm, host, NULL, 0);
    g_hash_table_add(called, "vmh_host_open"); /* NULL is the best local one there */
}

static void call_vm(vmh_host *host, vmh_vm *vm, vmh_spec *spec)
{
    ck_assert_ptr_null(CALLED(vmh_vm_ref)(NULL));
    CALLED(vmh_vm_unref)(NULL);
    ck_assert_ptr_null(CALLED(vmh_vm_host)(NULL));
    ck_assert_ptr_null(CALLED(vmh_vm_uuid)(NULL));
    ck_assert_ptr_null(CALLED(vmh_vm_name_dup)(NULL));
    ck_assert_int_eq(CALLED(vmh_vm_state)(NULL), VMH_VM_UNKNOWN);
    ck_assert_ptr_null(CALLED(vmh_vm_state_name)(-1));
    GIVES_NULL(vmh_vm_describe, NULL, 0);
    GIVES_NULL(vmh_vm_start, NULL, 0);
    GIVES_NULL(vmh_vm_pause, NULL, 0);
    GIVES_NULL(vmh_vm_resume, NULL, 0);
    GIVES_NULL(vmh_vm_shutdown, NULL, 0);
    GIVES_NULL(vmh_vm_reboot, NULL, 0);
    GIVES_NULL(vmh_vm_reset, NULL, 0);
    GIVES_NULL(vmh_vm_stop, NULL, 0);
    GIVES_NULL(vmh_vm_delete, NULL, 0);
    GIVES_NULL(vmh_vm_update, NULL, spec, 0, 0);
    GIVES_NULL(vmh_vm_update, vm, NULL, 0, 0);
    GIVES_NULL(vmh_vm_migrate, NULL, host, NULL, 0);
    GIVES_NULL(vmh_vm_migrate, vm, NULL, NULL, 0);
    GIVES_CODE(vmh_vm_console, NULL, NULL, 0);
    GIVES_CODE(vmh_vm_connect, NULL, 1, 0);
    GIVES_CODE(vmh_vm_listen, NULL, 1, 0);
    GIVES_CODE(vmh_vm_accept, NULL, 0, 0, NULL, 0);
    GIVES_NULL(vmh_host_create_vm, NULL, spec, 0);
}

static void call_job(vmh_job *job)
{
    uint64_t   value;
    vmh_error *error = NULL;

    ck_assert_ptr_null(CALLED(vmh_job_ref)(NULL));
    CALLED(vmh_job_unref)(NULL);
    ck_assert_uint_eq(CALLED(vmh_job_id)(NULL), 0);
    ck_assert_ptr_null(CALLED(vmh_job_verb)(NULL));
    ck_assert_ptr_null(CALLED(vmh_job_vm)(NULL));
    GIVES_CODE(vmh_job_wait, NULL, -1);
    ck_assert_int_lt(CALLED(vmh_job_finish)(NULL, -1, NULL), 0);
    ck_assert_int_lt(vmh_job_finish(NULL, -1, &error), 0);
    ck_assert_int_eq(vmh_error_code(error), VMH_ERR_ARGUMENT);
    vmh_error_free(error);
    ck_assert_int_eq(CALLED(vmh_job_done)(NULL), 0);
    GIVES_CODE(vmh_job_cancel, NULL);
    GIVES_CODE(vmh_job_progress, NULL, VMH_PROGRESS_PHASE, &value);
    GIVES_CODE(vmh_job_progress, job, VMH_PROGRESS_PHASE, NULL);
    ck_assert_ptr_null(CALLED(vmh_job_result_vm)(NULL));
    ck_assert_uint_eq(CALLED(vmh_job_verdict_count)(NULL), 0);
    ck_assert_ptr_null(CALLED(vmh_job_verdict_property)(NULL, 0));
    ck_assert_int_eq(CALLED(vmh_job_verdict)(NULL, 0), 0);
    ck_assert_ptr_null(CALLED(vmh_job_verdict_reason)(NULL, 0));
    ck_assert_ptr_null(vmh_job_verdict_reason(job, SIZE_MAX));
}

static void call_event(vmh_queue *queue)
{
    vmh_event *event = (vmh_event *)&event;

    GIVES_NULL(vmh_queue_new, NULL, NULL, 0);
    ck_assert_ptr_null(CALLED(vmh_queue_ref)(NULL));
    CALLED(vmh_queue_unref)(NULL);
    ck_assert_int_eq(CALLED(vmh_queue_fd)(NULL), -1);
    GIVES_CODE(vmh_queue_next, NULL, &event);
    ck_assert_ptr_null(event);
    GIVES_CODE(vmh_queue_next, queue, NULL);
    GIVES_CODE(vmh_queue_wait, NULL, 0, &event);
    GIVES_CODE(vmh_queue_wait, queue, 0, NULL);
    ck_assert_int_eq(CALLED(vmh_event_type)(NULL), 0);
    ck_assert_ptr_null(CALLED(vmh_event_type_name)(0));
    ck_assert_uint_eq(CALLED(vmh_event_time)(NULL), 0);
    ck_assert_ptr_null(CALLED(vmh_event_vm)(NULL));
    ck_assert_ptr_null(CALLED(vmh_event_str)(NULL, "name"));
    ck_assert_uint_eq(CALLED(vmh_event_u64)(NULL, "state"), 0);
    CALLED(vmh_event_free)(NULL);
    ck_assert_int_eq(vmh_queue_next(queue, &event, NULL), 1);
    ck_assert_ptr_null(vmh_event_str(event, NULL));
    ck_assert_uint_eq(vmh_event_u64(event, NULL), 0);
    vmh_event_free(event);
}

static void every_function_was_called(void)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    ck_assert(g_file_get_contents(SYMBOLS_FILE, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        (*line)[strcspn(*line, " ")] = 0;
        ck_assert_msg(!**line || g_hash_table_contains(called, *line), "%s is not tested with NULL", *line);
    }
}

START_TEST(null_is_refused)
{
    vmh_host  *host = open_host("test:///default");
    vmh_vm    *vm = vmh_host_find_vm(host, "test", NULL);
    vmh_spec  *spec = test_spec("x", 64);
    vmh_job   *job = vmh_host_refresh(host, 0, NULL);
    vmh_queue *queue = vmh_queue_new(host, NULL, 0, NULL);

    ck_assert(host && vm && spec && job && queue);
    called = g_hash_table_new(g_str_hash, g_str_equal);
    call_base_and_error();
    call_spec(spec);
    call_spec_as_a_whole(spec);
    call_schema();
    call_metrics();
    call_host(host);
    call_vm(host, vm, spec);
    call_job(job);
    call_event(queue);
    every_function_was_called();
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_RUNNING);
    g_hash_table_unref(called);
    vmh_queue_unref(queue);
    vmh_job_unref(job);
    vmh_spec_unref(spec);
    vmh_vm_unref(vm);
    vmh_host_unref(host);
}
END_TEST

/* --- flags that nobody knows --- */

#define UNKNOWN_FLAG (UINT64_C(1) << 55)

#define REFUSES_FLAG(failed, call)                                                                                   \
    do {                                                                                                             \
        ck_assert_msg((call)failed, "%s took an unknown flag", #call);                                               \
        ck_assert_msg(error != NULL, "%s gave no error", #call);                                                     \
        ck_assert_msg(strstr(vmh_error_message(error), "0x80000000000000"), "%s", vmh_error_message(error));         \
        assert_error(VMH_ERR_ARGUMENT);                                                                              \
    } while (0)

START_TEST(unknown_flags_are_refused)
{
    vmh_host  *host = open_host("test:///default");
    vmh_vm    *vm = vmh_host_find_vm(host, "test", NULL);
    vmh_spec  *spec = test_spec("x", 64);
    vmh_error *error = NULL;

    REFUSES_FLAG(== NULL, vmh_host_open("test:///default", NULL, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_host_refresh(host, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_host_create_vm(host, spec, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_host_sample(host, NULL, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_queue_new(host, NULL, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_vm_describe(vm, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_vm_start(vm, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_vm_pause(vm, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_vm_resume(vm, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_vm_shutdown(vm, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_vm_reboot(vm, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_vm_reset(vm, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_vm_stop(vm, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_vm_delete(vm, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_vm_update(vm, spec, UNKNOWN_FLAG, 0, &error));
    REFUSES_FLAG(== NULL, vmh_vm_migrate(vm, host, NULL, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(< 0, vmh_vm_console(vm, NULL, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(< 0, vmh_vm_connect(vm, 1, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(< 0, vmh_vm_listen(vm, 1, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(< 0, vmh_vm_accept(vm, 0, 0, NULL, UNKNOWN_FLAG, &error));
    REFUSES_FLAG(== NULL, vmh_spec_to_json(spec, UNKNOWN_FLAG, &error));
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_RUNNING);
    vmh_spec_unref(spec);
    vmh_vm_unref(vm);
    vmh_host_unref(host);
}
END_TEST

INTEGRATION_RUN("null", FALSE, null_is_refused, unknown_flags_are_refused)
