/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames: what is asked for is what comes, and a value that could not be learnt is the last one with its age. */
#include "model/frame.h"
#include "unit.h"

static vmhi_wanted *want(const char *columns)
{
    vmh_error   *error = NULL;
    vmhi_wanted *wanted = vmhi_wanted_new(columns, &error);

    assert_no_error(error);
    return wanted;
}

static vmh_frame *frame_of(const char *columns, size_t rows_expected)
{
    g_autoptr(vmhi_wanted) wanted = want(columns);

    return vmhi_frame_new(wanted, rows_expected);
}

static uint64_t value_at(const vmh_frame *frame, const char *metric, size_t row)
{
    const uint64_t *values = NULL;

    ck_assert_int_eq(vmh_frame_column(frame, metric, &values, NULL, NULL), 0);
    return values[row];
}

static uint64_t age_at(const vmh_frame *frame, const char *metric, size_t row)
{
    const uint64_t *ages = NULL;

    ck_assert_int_eq(vmh_frame_column(frame, metric, NULL, &ages, NULL), 0);
    return ages[row];
}

START_TEST(no_columns_mean_all_of_a_whole_vm)
{
    g_autoptr(vmhi_wanted) wanted = want(NULL);

    for (size_t i = 0; i < vmh_metric_count(); i++)
        ck_assert_int_eq(vmhi_wanted_has(wanted, i), strchr(vmh_metric_pattern(vmh_metric_at(i)), '<') == NULL);
}
END_TEST

START_TEST(patterns_choose_metrics)
{
    g_autoptr(vmhi_wanted) wanted = want("cpu.time, disk.*,*.tx.drops");
    g_autoptr(vmhi_wanted) all = want("*");

    ck_assert(vmhi_wanted_has(wanted, VMHI_METRIC_CPU_TIME));
    ck_assert(!vmhi_wanted_has(wanted, VMHI_METRIC_CPU_USER));
    ck_assert(vmhi_wanted_has(wanted, VMHI_METRIC_DISK_READ_BYTES));
    ck_assert(vmhi_wanted_has(wanted, VMHI_METRIC_DISK_ALLOCATION));
    ck_assert(vmhi_wanted_has(wanted, VMHI_METRIC_NET_TX_DROPS));
    ck_assert(vmhi_wanted_has(wanted, VMHI_METRIC_NIC_TX_DROPS));
    ck_assert(!vmhi_wanted_has(wanted, VMHI_METRIC_NIC_RX_DROPS));
    for (int i = 0; i < VMHI_METRIC_COUNT; i++)
        ck_assert(vmhi_wanted_has(all, i));
}
END_TEST

START_TEST(one_device_can_be_chosen)
{
    g_autoptr(vmh_frame) frame = frame_of("disk.root.*,disk.data.read.bytes", 1);
    size_t row = vmhi_frame_add_row(frame, "u", "n");

    vmhi_frame_set_device(frame, row, VMHI_METRIC_DISK_READ_BYTES, "root", 1);
    vmhi_frame_set_device(frame, row, VMHI_METRIC_DISK_WRITE_BYTES, "root", 2);
    vmhi_frame_set_device(frame, row, VMHI_METRIC_DISK_READ_BYTES, "data", 3);
    vmhi_frame_set_device(frame, row, VMHI_METRIC_DISK_WRITE_BYTES, "data", 4);
    vmhi_frame_set_device(frame, row, VMHI_METRIC_DISK_READ_BYTES, "other", 5);
    vmhi_frame_finish(frame, NULL, 0);
    ck_assert_uint_eq(vmh_frame_columns(frame), 3);
    ck_assert_uint_eq(value_at(frame, "disk.root.read.bytes", 0), 1);
    ck_assert_uint_eq(value_at(frame, "disk.root.write.bytes", 0), 2);
    ck_assert_uint_eq(value_at(frame, "disk.data.read.bytes", 0), 3);
}
END_TEST

START_TEST(unknown_metrics_name_the_nearest)
{
    static const struct {
        const char *columns, *part;
    } cases[] = {
        {"cpu.tme", "\"cpu.time\""},
        {"cpu.time,memory.sise", "\"memory.size\""},
        {"disk.root.read.byts", "\"disk.<id>.read.bytes\""},
        {"vcpu.0.wiat", "\"vcpu.<n>.wait\""},
        {"", "no metric \"\""},
        {"cpu.time,", "no metric \"\""},
        {"nothing.like.it.*", "vmh_metric_at()"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        vmh_error *error = NULL;
        ck_assert_ptr_null(vmhi_wanted_new(cases[i].columns, &error));
        assert_error(error, VMH_ERR_UNKNOWN_NAME, cases[i].part);
    }
}
END_TEST

START_TEST(hostile_columns_are_refused)
{
    g_autofree char *huge = g_strnfill(1024 * 1024, 'x');
    g_autofree char *commas = g_strnfill(1024 * 1024, ',');
    vmh_error       *error = NULL;

    ck_assert_ptr_null(vmhi_wanted_new("cpu.\xff", &error));
    assert_error(error, VMH_ERR_VALUE, "UTF-8");
    ck_assert_ptr_null(vmhi_wanted_new(huge, &error));
    assert_error(error, VMH_ERR_VALUE, "longer than 16384 bytes");
    ck_assert_ptr_null(vmhi_wanted_new(commas, &error));
    assert_error(error, VMH_ERR_VALUE, "longer than 16384 bytes");
    commas[1000] = huge[1000] = 0;
    ck_assert_ptr_null(vmhi_wanted_new(huge, &error));
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "no metric");
    ck_assert_ptr_null(vmhi_wanted_new(commas, &error));
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "no metric");
}
END_TEST

START_TEST(metrics_are_found_by_name)
{
    vmh_error *error = NULL;

    ck_assert_str_eq(vmh_metric_pattern(vmh_metric_find("cpu.time", &error)), "cpu.time");
    ck_assert_str_eq(vmh_metric_pattern(vmh_metric_find("nic.lan.rx.bytes", &error)), "nic.<id>.rx.bytes");
    ck_assert_str_eq(vmh_metric_pattern(vmh_metric_find("nic.<id>.rx.bytes", &error)), "nic.<id>.rx.bytes");
    ck_assert_str_eq(vmh_metric_unit(vmh_metric_find("vcpu.7.time", &error)), "ns");
    ck_assert_int_eq(vmh_metric_counter(vmh_metric_find("memory.size", &error)), 0);
    ck_assert_int_eq(vmh_metric_counter(vmh_metric_find("net.rx.bytes", &error)), 1);
    assert_no_error(error);
    ck_assert_ptr_null(vmh_metric_find("cpu.*", &error));
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "cpu.*");
    ck_assert_ptr_null(vmh_metric_find(NULL, &error));
    assert_error(error, VMH_ERR_ARGUMENT, "name");
    ck_assert_ptr_null(vmh_metric_at(vmh_metric_count()));
}
END_TEST

START_TEST(values_come_back_as_set)
{
    g_autoptr(vmh_frame) frame = frame_of("cpu.time,net.rx.bytes,memory.size", 1);

    for (int i = 0; i < 100; i++) { /* many more than expected */
        g_autofree char *uuid = g_strdup_printf("uuid-%d", i);
        g_autofree char *name = g_strdup_printf("vm%d", i);
        size_t           row = vmhi_frame_add_row(frame, uuid, name);
        vmhi_frame_set(frame, row, VMHI_METRIC_CPU_TIME, i);
        vmhi_frame_set(frame, row, VMHI_METRIC_CPU_USER, i); /* not asked for */
        if (i % 2) {
            vmhi_frame_add(frame, row, VMHI_METRIC_NET_RX_BYTES, 10);
            vmhi_frame_add(frame, row, VMHI_METRIC_NET_RX_BYTES, i);
        }
    }
    vmhi_frame_finish(frame, NULL, 0);
    ck_assert_uint_eq(vmh_frame_rows(frame), 100);
    ck_assert_uint_eq(vmh_frame_columns(frame), 3);
    for (size_t i = 0; i < 100; i++) {
        ck_assert_uint_eq(value_at(frame, "cpu.time", i), i);
        ck_assert_uint_eq(value_at(frame, "net.rx.bytes", i), i % 2 ? 10 + i : VMH_METRIC_NONE);
        ck_assert_uint_eq(value_at(frame, "memory.size", i), VMH_METRIC_NONE);
        ck_assert_uint_eq(age_at(frame, "cpu.time", i), 0);
    }
    ck_assert_str_eq(vmh_frame_row_uuid(frame, 99), "uuid-99");
    ck_assert_str_eq(vmh_frame_row_name(frame, 99), "vm99");
    ck_assert_ptr_null(vmh_frame_row_name(frame, 100));
}
END_TEST

/* Three VMs at 1 s; at 3 s the first answers, the second does not, the third has stopped, and their order differs. */
START_TEST(missing_values_are_inherited_with_their_age)
{
    g_autoptr(vmh_frame) old = frame_of("cpu.time,disk.*", 4);
    g_autoptr(vmh_frame) new = frame_of("cpu.time,disk.*", 4);
    g_autoptr(vmh_frame) newest = frame_of("cpu.time,disk.*", 4);

    for (size_t i = 0; i < 3; i++) {
        vmhi_frame_add_row(old, i == 0 ? "a" : i == 1 ? "b" : "c", "n");
        vmhi_frame_set(old, i, VMHI_METRIC_CPU_TIME, 100 + i);
        vmhi_frame_set_device(old, i, VMHI_METRIC_DISK_READ_BYTES, "root", 200 + i);
    }
    vmhi_frame_finish(old, NULL, 1000000);

    vmhi_frame_add_row(new, "c", "n");
    vmhi_frame_complete(new, 0);
    vmhi_frame_add_row(new, "b", "n");
    vmhi_frame_add_row(new, "a", "n");
    vmhi_frame_set(new, 2, VMHI_METRIC_CPU_TIME, 110);
    vmhi_frame_add_row(new, "d", "n");
    vmhi_frame_finish(new, old, 3000000);

    ck_assert_uint_eq(value_at(new, "cpu.time", 0), VMH_METRIC_NONE);
    ck_assert_uint_eq(value_at(new, "cpu.time", 1), 101);
    ck_assert_uint_eq(age_at(new, "cpu.time", 1), 2000);
    ck_assert_uint_eq(value_at(new, "cpu.time", 2), 110);
    ck_assert_uint_eq(age_at(new, "cpu.time", 2), 0);
    ck_assert_uint_eq(value_at(new, "cpu.time", 3), VMH_METRIC_NONE);
    ck_assert_uint_eq(value_at(new, "disk.root.read.bytes", 0), VMH_METRIC_NONE);
    ck_assert_uint_eq(value_at(new, "disk.root.read.bytes", 1), 201);
    ck_assert_uint_eq(value_at(new, "disk.root.read.bytes", 2), 200);
    ck_assert_uint_eq(age_at(new, "disk.root.read.bytes", 2), 2000);

    vmhi_frame_add_row(newest, "b", "n");
    vmhi_frame_finish(newest, new, 3500000);
    ck_assert_uint_eq(value_at(newest, "cpu.time", 0), 101);
    ck_assert_uint_eq(age_at(newest, "cpu.time", 0), 2500);
}
END_TEST

START_TEST(an_aged_frame_is_the_same_but_older)
{
    g_autoptr(vmh_frame) frame = frame_of("cpu.time,nic.*", 2);
    g_autoptr(vmh_frame) aged = NULL;

    vmhi_frame_add_row(frame, "a", "one");
    vmhi_frame_complete(frame, 0);
    vmhi_frame_set(frame, 0, VMHI_METRIC_CPU_TIME, 7);
    vmhi_frame_set_device(frame, 0, VMHI_METRIC_NIC_RX_BYTES, "lan", 8);
    vmhi_frame_finish(frame, NULL, 5000000);
    aged = vmhi_frame_aged(frame, 5250000);
    ck_assert_uint_eq(vmh_frame_rows(aged), 1);
    ck_assert_str_eq(vmh_frame_row_name(aged, 0), "one");
    ck_assert_uint_eq(value_at(aged, "cpu.time", 0), 7);
    ck_assert_uint_eq(age_at(aged, "cpu.time", 0), 250);
    ck_assert_uint_eq(value_at(aged, "nic.lan.rx.bytes", 0), 8);
    ck_assert_uint_eq(age_at(frame, "cpu.time", 0), 0);
}
END_TEST

START_TEST(an_empty_frame_is_a_frame)
{
    g_autoptr(vmh_frame) frame = frame_of(NULL, 0);
    const uint64_t *values = NULL, *ages = NULL;

    vmhi_frame_finish(frame, NULL, 0);
    ck_assert_uint_eq(vmh_frame_rows(frame), 0);
    ck_assert_int_eq(vmh_frame_column(frame, "cpu.time", &values, &ages, NULL), 0);
    ck_assert_ptr_nonnull(values);
    ck_assert_ptr_nonnull(ages);
}
END_TEST

static void note_release(void *data)
{
    *(gboolean *)data = TRUE;
}

START_TEST(lent_texts_are_held_as_long_as_the_frame)
{
    static const char uuid[] = "lent", name[] = "text";
    gboolean          released = FALSE;
    vmh_frame        *frame = frame_of("cpu.time", 1);

    vmhi_frame_hold(frame, &released, note_release);
    vmhi_frame_add_lent_row(frame, uuid, name);
    vmhi_frame_add_row(frame, "copied", "text");
    vmhi_frame_finish(frame, NULL, 0);
    ck_assert_ptr_eq(vmh_frame_row_uuid(frame, 0), uuid);
    ck_assert_ptr_eq(vmh_frame_row_name(frame, 0), name);
    ck_assert_str_eq(vmh_frame_row_uuid(frame, 1), "copied");
    vmh_frame_unref(vmh_frame_ref(frame));
    ck_assert(!released);
    vmh_frame_unref(frame);
    ck_assert(released);
}
END_TEST

START_TEST(wrong_calls_fail_and_do_no_more)
{
    g_autoptr(vmh_frame) frame = frame_of("cpu.time", 1);
    vmh_error *error = NULL;

    vmhi_frame_finish(frame, NULL, 0);
    ck_assert_int_eq(vmh_frame_column(frame, "cpu.user", NULL, NULL, &error), VMH_ERR_NOT_FOUND);
    assert_error(error, VMH_ERR_NOT_FOUND, "cpu.user");
    ck_assert_int_eq(vmh_frame_column(NULL, "cpu.user", NULL, NULL, &error), VMH_ERR_ARGUMENT);
    ck_assert_int_eq(vmh_frame_column(frame, "cpu.time", NULL, NULL, &error), VMH_ERR_ARGUMENT); /* kept */
    assert_error(error, VMH_ERR_ARGUMENT, "frame");
    ck_assert_int_eq(vmh_frame_column(frame, NULL, NULL, NULL, NULL), VMH_ERR_ARGUMENT);
    ck_assert_uint_eq(vmh_frame_rows(NULL), 0);
    ck_assert_uint_eq(vmh_frame_columns(NULL), 0);
    ck_assert_ptr_null(vmh_frame_row_uuid(NULL, 0));
    ck_assert_ptr_null(vmh_frame_column_name(frame, 1));
    ck_assert_ptr_null(vmh_frame_ref(NULL));
    vmh_frame_unref(NULL);
}
END_TEST

UNIT_RUN("frame", no_columns_mean_all_of_a_whole_vm, patterns_choose_metrics, one_device_can_be_chosen,
         unknown_metrics_name_the_nearest, hostile_columns_are_refused, metrics_are_found_by_name,
         values_come_back_as_set, missing_values_are_inherited_with_their_age, an_aged_frame_is_the_same_but_older,
         an_empty_frame_is_a_frame, lent_texts_are_held_as_long_as_the_frame, wrong_calls_fail_and_do_no_more)
