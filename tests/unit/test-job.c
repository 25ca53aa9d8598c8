/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Jobs: they end once, by their work, a cancel or a deadline, and keep the order of their lane. */
#include "model/job.h"
#include "unit.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

/* Work that begins when it is let go, and counts what became of it. */
typedef struct {
    GMutex   lock;
    GCond    changed;
    gboolean let_go;
    int      began, done_events, freed_results;
    int      order[64];
    int      orders;
} stage;

typedef struct {
    stage   *stage;
    int      number;
    gboolean fail;
    gboolean signals_open;
} role;

static void stage_init(stage *at)
{
    *at = (stage){.began = 0};
    g_mutex_init(&at->lock);
    g_cond_init(&at->changed);
}

static void let_go(stage *at)
{
    g_mutex_lock(&at->lock);
    at->let_go = TRUE;
    g_cond_broadcast(&at->changed);
    g_mutex_unlock(&at->lock);
}

static void await_begun(stage *at, int count)
{
    g_mutex_lock(&at->lock);
    while (at->began < count)
        g_cond_wait(&at->changed, &at->lock);
    g_mutex_unlock(&at->lock);
}

static void *play(void *data, G_GNUC_UNUSED vmh_job *job, vmh_error **error)
{
    role    *part = data;
    stage   *at = part->stage;
    sigset_t mask;

    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    part->signals_open = !sigismember(&mask, SIGTERM) || !sigismember(&mask, SIGCHLD);
    g_mutex_lock(&at->lock);
    at->began++;
    g_cond_broadcast(&at->changed);
    while (!at->let_go)
        g_cond_wait(&at->changed, &at->lock);
    at->order[at->orders++] = part->number;
    g_mutex_unlock(&at->lock);
    if (part->fail)
        vmhi_error_set(error, VMH_ERR_STATE, "it is not in the mood");
    return at;
}

static void watch(void *data, G_GNUC_UNUSED vmh_job *job, int32_t event)
{
    stage *at = ((role *)data)->stage;

    g_mutex_lock(&at->lock);
    at->done_events += event == VMH_EVENT_JOB_DONE;
    g_cond_broadcast(&at->changed);
    g_mutex_unlock(&at->lock);
}

static void count_freed(void *result)
{
    stage *at = result;

    g_mutex_lock(&at->lock);
    at->freed_results++;
    g_cond_broadcast(&at->changed);
    g_mutex_unlock(&at->lock);
}

static void await_freed(stage *at, int count)
{
    g_mutex_lock(&at->lock);
    while (at->freed_results < count)
        g_cond_wait(&at->changed, &at->lock);
    g_mutex_unlock(&at->lock);
}

static vmh_job *job_new(role *part)
{
    vmhi_job_spec spec = {
        .verb = "test.play", .work = play, .data = part, .free_result = count_freed, .watch = watch};

    return vmhi_job_new(&spec);
}

START_TEST(ends_once_with_its_result)
{
    stage    at;
    role     part = {.stage = &at};
    vmh_job *job;
    uint64_t phase = 99;

    stage_init(&at);
    job = job_new(&part);
    vmhi_job_run(job, NULL, 0);
    await_begun(&at, 1);
    ck_assert_int_eq(vmh_job_done(job), 0);
    ck_assert_int_eq(vmh_job_progress(job, VMH_PROGRESS_PHASE, &phase, NULL), 0);
    ck_assert_uint_eq(phase, VMH_PHASE_RUNNING);
    let_go(&at);
    ck_assert_int_eq(vmh_job_wait(job, -1, NULL), 0);
    ck_assert_int_eq(vmh_job_wait(job, 0, NULL), 0);
    ck_assert_int_eq(vmh_job_progress(job, VMH_PROGRESS_PHASE, &phase, NULL), 0);
    ck_assert_uint_eq(phase, VMH_PHASE_DONE);
    ck_assert(!vmhi_job_end(job, NULL, NULL));
    ck_assert_int_eq(at.done_events, 1);
    ck_assert(!part.signals_open);
    vmh_job_unref(job);
    await_freed(&at, 1);
}
END_TEST

START_TEST(a_failure_is_kept_for_every_waiter)
{
    stage      at;
    role       part = {.stage = &at, .fail = TRUE};
    vmh_job   *job;
    vmh_error *first = NULL, *second = NULL;

    stage_init(&at);
    at.let_go = TRUE;
    job = job_new(&part);
    vmhi_job_run_here(job);
    ck_assert_int_eq(vmh_job_wait(job, -1, &first), VMH_ERR_STATE);
    ck_assert_int_eq(vmh_job_finish(job, -1, &second), VMH_ERR_STATE);
    ck_assert_str_eq(vmh_error_message(first), "it is not in the mood");
    ck_assert_str_eq(vmh_error_message(second), "it is not in the mood");
    vmh_error_free(first);
    vmh_error_free(second);
}
END_TEST

START_TEST(a_wait_that_times_out_is_no_cancel)
{
    stage      at;
    role       part = {.stage = &at};
    vmh_job   *job;
    vmh_error *error = NULL;

    stage_init(&at);
    job = job_new(&part);
    vmhi_job_run(job, NULL, 0);
    ck_assert_int_eq(vmh_job_wait(job, 10, &error), VMH_ERR_TIMEOUT);
    ck_assert_int_eq(vmh_error_retryable(error), 1);
    ck_assert_int_eq(vmh_job_done(job), 0);
    let_go(&at);
    ck_assert_int_eq(vmh_job_finish(job, -1, NULL), 0);
    await_freed(&at, 1);
    vmh_error_free(error);
}
END_TEST

START_TEST(a_finish_that_was_given_no_job_keeps_the_error)
{
    vmh_error *error = NULL;

    ck_assert_int_eq(vmh_job_finish(NULL, -1, NULL), VMH_ERR_ARGUMENT);
    vmhi_error_set(&error, VMH_ERR_EXISTS, "taken");
    ck_assert_int_eq(vmh_job_finish(NULL, -1, &error), VMH_ERR_EXISTS);
    ck_assert_str_eq(vmh_error_message(error), "taken");
    vmh_error_free(error);
}
END_TEST

/* The thread hangs; the job ends at its deadline, the lane goes on, and the late result is freed. */
START_TEST(a_call_that_never_returns_meets_its_deadline)
{
    stage            stuck, free_stage;
    role             hangs = {.stage = &stuck}, next = {.stage = &free_stage};
    static vmhi_lane lane; /* a worker leaves it after the job has ended */
    vmh_job         *first, *second;

    stage_init(&stuck);
    stage_init(&free_stage);
    vmhi_lane_init(&lane);
    free_stage.let_go = TRUE;
    first = job_new(&hangs);
    second = job_new(&next);
    vmhi_job_run(first, &lane, 60000);
    vmhi_job_run(second, &lane, 0);
    await_begun(&stuck, 1); /* before that a deadline has another meaning */
    ck_assert(vmhi_task_deadline(vmhi_job_task(first), 20, "whether it took effect is not known"));
    ck_assert_int_eq(vmh_job_wait(first, -1, NULL), VMH_ERR_TIMEOUT);
    ck_assert_int_eq(vmh_job_wait(second, -1, NULL), 0);
    ck_assert_int_eq(stuck.freed_results, 0);
    let_go(&stuck);
    await_freed(&stuck, 1);
    ck_assert_int_eq(vmh_job_wait(first, -1, NULL), VMH_ERR_TIMEOUT);
    ck_assert_int_eq(stuck.done_events, 1);
    vmh_job_unref(first);
    vmh_job_unref(second);
    await_freed(&free_stage, 1);
}
END_TEST

START_TEST(jobs_of_a_lane_keep_their_order)
{
    stage            at;
    role             parts[20];
    static vmhi_lane lane; /* a worker leaves it after the job has ended */
    vmh_job         *jobs[20];

    stage_init(&at);
    vmhi_lane_init(&lane);
    for (int i = 0; i < 20; i++) {
        parts[i] = (role){.stage = &at, .number = i};
        jobs[i] = job_new(&parts[i]);
        vmhi_job_run(jobs[i], &lane, 0);
    }
    let_go(&at);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(vmh_job_finish(jobs[i], -1, NULL), 0);
        ck_assert_int_eq(at.order[i], i);
    }
    await_freed(&at, 20);
}
END_TEST

START_TEST(a_queued_job_is_cancelled_and_never_begins)
{
    stage            at;
    role             first_part = {.stage = &at}, second_part = {.stage = &at};
    static vmhi_lane lane; /* a worker leaves it after the job has ended */
    vmh_job         *first, *second;
    vmh_error       *error = NULL;

    stage_init(&at);
    vmhi_lane_init(&lane);
    first = job_new(&first_part);
    second = job_new(&second_part);
    vmhi_job_run(first, &lane, 0);
    vmhi_job_run(second, &lane, 0);
    await_begun(&at, 1);
    ck_assert_int_eq(vmh_job_cancel(second, NULL), 0);
    ck_assert_int_eq(vmh_job_cancel(second, NULL), 0);
    ck_assert_int_eq(vmh_job_wait(second, -1, NULL), VMH_ERR_CANCELLED);
    ck_assert_int_eq(vmh_job_cancel(first, &error), VMH_ERR_UNSUPPORTED);
    let_go(&at);
    ck_assert_int_eq(vmh_job_finish(first, -1, NULL), 0);
    vmh_job_unref(second);
    await_freed(&at, 1);
    ck_assert_int_eq(at.began, 1);
    vmh_error_free(error);
}
END_TEST

/* Cancelled or out of time just as it begins: what is said to have done nothing must not have begun. */
START_TEST(what_ends_before_it_began_never_begins)
{
    stage            at;
    role             part = {.stage = &at};
    static vmhi_lane lane; /* a worker leaves it after the job has ended */
    int              ran = 0;

    stage_init(&at);
    let_go(&at);
    vmhi_lane_init(&lane);
    for (int i = 0; i < 20000; i++) {
        g_autoptr(vmh_job) job = job_new(&part);
        g_autoptr(vmh_job) after = job_new(&part);
        int32_t code;

        at.began = at.orders = 0;
        vmhi_job_run(job, &lane, 0);
        for (volatile int wait = i % 512; wait > 0; wait--)
            ;
        vmh_job_cancel(job, NULL);
        code = vmh_job_wait(job, -1, NULL);
        vmhi_job_run(after, &lane, 0);
        ck_assert_int_eq(vmh_job_wait(after, -1, NULL), 0);
        ck_assert_int_eq(at.began, code == 0 ? 2 : 1);
        ran += at.began;
    }
    await_freed(&at, ran);
}
END_TEST

START_TEST(a_queued_job_past_its_deadline_did_nothing_and_says_so)
{
    stage            at;
    role             first_part = {.stage = &at}, second_part = {.stage = &at};
    static vmhi_lane lane; /* a worker leaves it after the job has ended */
    vmh_job         *first, *second;
    vmh_error       *error = NULL;

    stage_init(&at);
    vmhi_lane_init(&lane);
    first = job_new(&first_part);
    second = job_new(&second_part);
    vmhi_job_run(first, &lane, 0);
    vmhi_job_run(second, &lane, 20);
    ck_assert_int_eq(vmh_job_finish(second, -1, &error), VMH_ERR_BUSY);
    ck_assert_ptr_nonnull(g_strstr_len(vmh_error_message(error), -1, "nothing was done"));
    let_go(&at);
    ck_assert_int_eq(vmh_job_finish(first, -1, NULL), 0);
    await_freed(&at, 1);
    ck_assert_int_eq(at.began, 1);
    vmh_error_free(error);
}
END_TEST

/* First a part that may not last, then one that may. */
static void *play_in_parts(void *data, vmh_job *job, vmh_error **error)
{
    gboolean slow = ((role *)data)->fail;

    vmhi_task_deadline(vmhi_job_task(job), slow ? 20 : 500, "it is still being got ready");
    if (slow)
        play(data, job, error);
    if (!vmhi_task_deadline(vmhi_job_task(job), 0, NULL))
        return NULL;
    g_usleep(600000);
    return play(data, job, error);
}

static vmh_job *parts_new(role *part)
{
    vmhi_job_spec spec = {.verb = "test.play", .work = play_in_parts, .data = part, .free_result = count_freed};

    return vmhi_job_new(&spec);
}

START_TEST(a_deadline_can_be_for_a_part_of_it)
{
    g_autoptr(vmh_error) error = NULL;
    stage    at, slow_at;
    role     part = {.stage = &at}, slow = {.stage = &slow_at, .fail = TRUE};
    vmh_job *job;

    stage_init(&at);
    stage_init(&slow_at);
    let_go(&at);
    job = parts_new(&part);
    vmhi_job_run(job, NULL, 0);
    ck_assert_int_eq(vmh_job_finish(job, -1, NULL), 0);
    ck_assert_int_eq(at.began, 1);

    job = parts_new(&slow);
    vmhi_job_run(job, NULL, 0);
    ck_assert_int_eq(vmh_job_finish(job, -1, &error), VMH_ERR_TIMEOUT);
    ck_assert_str_eq(vmh_error_message(error), "test.play: no reply in time; it is still being got ready");
    let_go(&slow_at);
    await_freed(&at, 1);
    g_usleep(100000); /* it would begin its second part within this time */
    ck_assert_int_eq(slow_at.began, 1);
}
END_TEST

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED TRUE
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED FALSE
#endif

/* An address space with no room for another thread's stack; sanitizers need more of it than there is. */
static gboolean forbid_threads(void)
{
    g_autofree char *pages = NULL;
    struct rlimit    limit;

    if (SANITIZED || !g_file_get_contents("/proc/self/statm", &pages, NULL, NULL))
        return FALSE;
    limit.rlim_cur = g_ascii_strtoull(pages, NULL, 10) * (guint64)sysconf(_SC_PAGESIZE) + 2 * 1024 * 1024;
    limit.rlim_max = limit.rlim_cur;
    return setrlimit(RLIMIT_AS, &limit) == 0;
}

/* The process must not end because the system gives it no more threads. */
START_TEST(without_a_thread_it_is_done_all_the_same)
{
    stage    at;
    role     part = {.stage = &at};
    vmh_job *job;

    if (!forbid_threads())
        return;
    stage_init(&at);
    let_go(&at);
    job = job_new(&part);
    vmhi_job_run(job, NULL, 60000);
    ck_assert_int_eq(vmh_job_finish(job, -1, NULL), 0);
    ck_assert_int_eq(at.began, 1);
}
END_TEST

START_TEST(progress_and_verdicts_can_be_read)
{
    stage      at;
    role       part = {.stage = &at};
    vmh_job   *job;
    uint64_t   value = 7;
    vmh_error *error = NULL;

    stage_init(&at);
    at.let_go = TRUE;
    job = job_new(&part);
    ck_assert_int_eq(vmh_job_progress(job, VMH_PROGRESS_RATE, &value, &error), VMH_ERR_NOT_SET);
    g_clear_pointer(&error, vmh_error_free);
    ck_assert_int_eq(vmh_job_progress(job, 99, &value, &error), VMH_ERR_ARGUMENT);
    ck_assert_uint_eq(value, 7);
    vmhi_task_progress(vmhi_job_task(job), VMH_PROGRESS_RATE, 1000);
    ck_assert_int_eq(vmh_job_progress(job, VMH_PROGRESS_RATE, &value, NULL), 0);
    ck_assert_uint_eq(value, 1000);
    vmhi_verdict(vmhi_job_verdicts(job), "cpu.count", VMH_VERDICT_APPLIED, NULL);
    vmhi_verdict(vmhi_job_verdicts(job), "cpu.count", VMH_VERDICT_REFUSED, "too many");
    ck_assert_uint_eq(vmh_job_verdict_count(job), 0);
    vmhi_job_run_here(job);
    ck_assert_uint_eq(vmh_job_verdict_count(job), 1);
    ck_assert_int_eq(vmh_job_verdict(job, 0), VMH_VERDICT_REFUSED);
    ck_assert_str_eq(vmh_job_verdict_reason(job, 0), "too many");
    ck_assert_ptr_null(vmh_job_verdict_property(job, 1));
    vmh_error_free(error);
    vmh_job_unref(job);
}
END_TEST

UNIT_RUN("job", ends_once_with_its_result, a_failure_is_kept_for_every_waiter, a_wait_that_times_out_is_no_cancel,
         a_finish_that_was_given_no_job_keeps_the_error, a_call_that_never_returns_meets_its_deadline,
         jobs_of_a_lane_keep_their_order, a_queued_job_is_cancelled_and_never_begins,
         what_ends_before_it_began_never_begins, a_queued_job_past_its_deadline_did_nothing_and_says_so,
         a_deadline_can_be_for_a_part_of_it, without_a_thread_it_is_done_all_the_same,
         progress_and_verdicts_can_be_read)
