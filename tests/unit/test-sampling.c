/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sampling: a driver that does not answer holds nobody, and what it brings too late is not lost. */
#include "api/sampling.h"
#include "unit.h"

enum { LONG_MS = 30000, SHORT_MS = 50 };

/* A driver whose calls wait while the gate is shut; each frame's one value is the number of the call. */
static struct {
    GMutex   lock;
    GCond    changed;
    gboolean shut;
    gboolean fails;
    int      begun;
    int      ended;
    int      owners;
} gate;

static gboolean sample(G_GNUC_UNUSED vmhi_driver_host *host, vmh_frame *frame, vmh_error **error)
{
    gboolean fails;
    int      number;

    g_mutex_lock(&gate.lock);
    number = ++gate.begun;
    fails = gate.fails;
    g_cond_broadcast(&gate.changed);
    while (gate.shut)
        g_cond_wait(&gate.changed, &gate.lock);
    gate.ended++;
    g_mutex_unlock(&gate.lock);
    if (fails) {
        vmhi_error_set(error, VMH_ERR_LOST, "the connection broke");
        return FALSE;
    }
    vmhi_frame_set(frame, vmhi_frame_add_row(frame, "a", "n"), VMHI_METRIC_CPU_TIME, number);
    vmhi_frame_complete(frame, 0);
    return TRUE;
}

static const vmhi_driver driver = {.name = "gate", .sample = sample};

static void keep(G_GNUC_UNUSED void *owner)
{
    g_mutex_lock(&gate.lock);
    gate.owners++;
    g_mutex_unlock(&gate.lock);
}

static void drop(G_GNUC_UNUSED void *owner)
{
    g_mutex_lock(&gate.lock);
    gate.owners--;
    g_cond_broadcast(&gate.changed);
    g_mutex_unlock(&gate.lock);
}

static void set_gate(gboolean shut)
{
    g_mutex_lock(&gate.lock);
    gate.shut = shut;
    g_cond_broadcast(&gate.changed);
    g_mutex_unlock(&gate.lock);
}

static void wait_until_idle(void)
{
    int64_t deadline = g_get_monotonic_time() + LONG_MS * 1000LL;

    g_mutex_lock(&gate.lock);
    while (gate.owners)
        ck_assert(g_cond_wait_until(&gate.changed, &gate.lock, deadline));
    g_mutex_unlock(&gate.lock);
}

static vmh_frame *take(vmhi_sampling *sampling, const char *columns, int64_t timeout_ms, vmh_error **error)
{
    return vmhi_sampling_take(sampling, &driver, NULL, FALSE, columns, timeout_ms, keep, drop, NULL, error);
}

static uint64_t value_of(const vmh_frame *frame, const char *metric, uint64_t *age)
{
    const uint64_t *values, *ages;

    ck_assert_int_eq(vmh_frame_column(frame, metric, &values, &ages, NULL), 0);
    if (age)
        *age = ages[0];
    return values[0];
}

START_TEST(frames_come_from_the_driver)
{
    vmhi_sampling sampling;
    vmh_error    *error = NULL;

    vmhi_sampling_init(&sampling);
    for (uint64_t i = 1; i <= 3; i++) {
        g_autoptr(vmh_frame) frame = take(&sampling, i == 2 ? NULL : "cpu.time", LONG_MS, &error);
        assert_no_error(error);
        ck_assert_uint_eq(value_of(frame, "cpu.time", NULL), i);
    }
    wait_until_idle();
    vmhi_sampling_clear(&sampling);
}
END_TEST

START_TEST(errors_come_from_the_driver)
{
    vmhi_sampling sampling;
    vmh_error    *error = NULL;

    gate.fails = TRUE;
    vmhi_sampling_init(&sampling);
    ck_assert_ptr_null(take(&sampling, NULL, LONG_MS, &error));
    assert_error(error, VMH_ERR_LOST, "broke");
    ck_assert_ptr_null(vmhi_sampling_take(&sampling, &driver, NULL, TRUE, NULL, LONG_MS, NULL, NULL, NULL, &error));
    assert_error(error, VMH_ERR_LOST, "broke");
    ck_assert_ptr_null(take(&sampling, "cpu.tme", LONG_MS, &error));
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "cpu.time");
    ck_assert_int_eq(gate.begun, 2);
    wait_until_idle();
    vmhi_sampling_clear(&sampling);
}
END_TEST

START_TEST(without_an_answer_the_last_frame_comes_aged)
{
    vmhi_sampling sampling;
    vmh_error    *error = NULL;
    g_autoptr(vmh_frame) first = NULL;
    g_autoptr(vmh_frame) second = NULL;
    uint64_t age;

    vmhi_sampling_init(&sampling);
    first = take(&sampling, "cpu.time", LONG_MS, &error);
    set_gate(TRUE);
    second = take(&sampling, "cpu.time", SHORT_MS, &error);
    assert_no_error(error);
    ck_assert_uint_eq(value_of(second, "cpu.time", &age), 1);
    ck_assert_uint_ge(age, SHORT_MS - 1);
    ck_assert_ptr_null(take(&sampling, "cpu.user", SHORT_MS, &error)); /* of these there is no last one */
    assert_error(error, VMH_ERR_TIMEOUT, "sample.timeout");
    set_gate(FALSE);
    wait_until_idle();
    vmhi_sampling_clear(&sampling);
}
END_TEST

START_TEST(only_so_many_calls_hang)
{
    vmhi_sampling sampling;
    int           begun;

    vmhi_sampling_init(&sampling);
    set_gate(TRUE);
    for (int i = 0; i < 10; i++)
        ck_assert_ptr_null(take(&sampling, NULL, SHORT_MS, NULL));
    g_mutex_lock(&gate.lock);
    begun = gate.begun;
    g_mutex_unlock(&gate.lock);
    ck_assert_int_eq(begun, 3);
    set_gate(FALSE);
    wait_until_idle();
    ck_assert_int_eq(gate.ended, 3);
    vmhi_sampling_clear(&sampling);
}
END_TEST

START_TEST(a_late_frame_is_the_last_one)
{
    vmhi_sampling sampling;
    vmh_error    *error = NULL;
    g_autoptr(vmh_frame) late = NULL;

    vmhi_sampling_init(&sampling);
    set_gate(TRUE);
    ck_assert_ptr_null(take(&sampling, NULL, SHORT_MS, NULL)); /* call 1 */
    set_gate(FALSE);
    wait_until_idle();
    set_gate(TRUE);
    late = take(&sampling, NULL, SHORT_MS, &error); /* call 2 does not come in time: the frame of call 1 does */
    assert_no_error(error);
    ck_assert_uint_eq(value_of(late, "cpu.time", NULL), 1);
    set_gate(FALSE);
    wait_until_idle();
    vmhi_sampling_clear(&sampling);
}
END_TEST

static void *take_many(void *data)
{
    for (int i = 0; i < 50; i++) {
        vmh_error *error = NULL;
        g_autoptr(vmh_frame) frame = take(data, i % 2 ? "cpu.time" : NULL, LONG_MS, &error);
        assert_no_error(error);
        ck_assert_uint_eq(vmh_frame_rows(frame), 1);
    }
    return NULL;
}

START_TEST(many_threads_take_frames)
{
    vmhi_sampling sampling;
    GThread      *threads[16];

    vmhi_sampling_init(&sampling);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("taker", take_many, &sampling);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    wait_until_idle();
    ck_assert_int_eq(gate.ended, 16 * 50);
    vmhi_sampling_clear(&sampling);
}
END_TEST

UNIT_RUN("sampling", frames_come_from_the_driver, errors_come_from_the_driver,
         without_an_answer_the_last_frame_comes_aged, only_so_many_calls_hang, a_late_frame_is_the_last_one,
         many_threads_take_frames)
