/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting for a job: a progress bar meanwhile, and Ctrl-C cancels. */
#include "cli.h"
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SLICE_MS = 100, BAR = 24 };

guint64 cli_progress_value(const vmh_job *job, int32_t field)
{
    uint64_t value = 0;
    return vmh_job_progress(job, field, &value, NULL) == 0 ? value : 0;
}

static const char *phase_name(guint64 phase)
{
    static const char *const names[] = {"queued", "running", "preparing", "copying", "switching", "done"};
    return phase < G_N_ELEMENTS(names) ? names[phase] : "running";
}

static void append_bar(GString *line, guint64 done, guint64 total)
{
    guint filled = (guint)((double)MIN(done, total) / (double)total * BAR);

    g_string_append_printf(line, " %3u%% [", (guint)((double)MIN(done, total) / (double)total * 100));
    for (guint i = 0; i < BAR; i++)
        g_string_append_c(line, i < filled ? '#' : '-');
    g_string_append_c(line, ']');
}

static char *progress_line(const vmh_job *job)
{
    guint64          done = cli_progress_value(job, VMH_PROGRESS_BYTES_DONE);
    guint64          total = cli_progress_value(job, VMH_PROGRESS_BYTES_TOTAL);
    guint64          rate = cli_progress_value(job, VMH_PROGRESS_RATE);
    guint64          stalled = cli_progress_value(job, VMH_PROGRESS_STALLED_MS);
    guint64          dirty = cli_progress_value(job, VMH_PROGRESS_DIRTY_RATE);
    guint64          pass = cli_progress_value(job, VMH_PROGRESS_ITERATION);
    GString         *line = g_string_new(phase_name(cli_progress_value(job, VMH_PROGRESS_PHASE)));
    g_autofree char *elapsed = cli_seconds(cli_progress_value(job, VMH_PROGRESS_ELAPSED_MS) / 1000);
    g_autofree char *moved = cli_size(done), *all = cli_size(total), *speed = cli_size(rate),
                    *writes = cli_size(dirty);
    g_autofree char *left = cli_seconds(rate && total > done ? (total - done) / rate + 1 : 0);
    g_autofree char *still = cli_seconds(stalled / 1000);

    if (total) {
        append_bar(line, done, total);
        g_string_append_printf(line, " %s of %s, %s/s", moved, all, speed);
    }
    if (stalled >= 2000)
        g_string_append_printf(line, ", STALLED for %s", still);
    else if (rate && total > done)
        g_string_append_printf(line, ", %s left", left);
    if (dirty)
        g_string_append_printf(line, ", guest writes %s/s", writes);
    if (pass > 1)
        g_string_append_printf(line, ", pass %" G_GUINT64_FORMAT, pass);
    g_string_append_printf(line, ", %s", elapsed);
    return g_string_free(line, FALSE);
}

/* On a terminal over the last line, never longer than it is wide. */
static void show(const vmh_job *job, gboolean terminal)
{
    g_autofree char *line = progress_line(job);
    struct winsize   size = {0};

    if (!terminal) {
        cli_notice("%s", line);
        return;
    }
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 20)
        size.ws_col = 80;
    fprintf(stderr, "\r%.*s\033[K", size.ws_col - 1, line);
    fflush(stderr);
}

/* Draws when it is time to; remembers in *last when it did. */
static void progress(const vmh_job *job, cli_progress mode, gint64 *last)
{
    gboolean terminal = isatty(STDERR_FILENO);
    gint64   now = g_get_monotonic_time() / 1000;
    gint64   quiet_ms = mode == CLI_PROGRESS_ALWAYS && terminal ? 0 : 1000;
    gint64   pause_ms = terminal ? 200 : 1000;

    if (mode == CLI_PROGRESS_QUIET || (mode == CLI_PROGRESS_TERMINAL && !terminal))
        return;
    if (*last ? now - *last < pause_ms : cli_progress_value(job, VMH_PROGRESS_ELAPSED_MS) < (guint64)quiet_ms)
        return;
    *last = now;
    show(job, terminal);
}

int32_t cli_wait(vmh_job *job, cli_progress mode, vmh_error **error)
{
    vmh_error *refused = NULL;
    gboolean   cancelled = FALSE;
    gint64     last = 0;
    int32_t    code;

    cli_catch_signals();
    /* A wait that runs out of time says so in an error, which is of no use here. */
    while (vmh_job_wait(job, SLICE_MS, NULL) < 0 && job && !vmh_job_done(job)) {
        progress(job, mode, &last);
        if (!cli_signal() || cancelled)
            continue;
        cancelled = TRUE;
        if (vmh_job_cancel(job, &refused) < 0)
            break;
    }
    if (last && isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    if (refused) {
        cli_notice("%s; it goes on", vmh_error_message(refused));
        code = vmh_error_code(refused);
        vmh_error_free(refused);
        return code;
    }
    return vmh_job_wait(job, 0, error);
}

int32_t cli_finish(vmh_job *job, vmh_error **error)
{
    int32_t code = cli_wait(job, CLI_PROGRESS_TERMINAL, error);

    vmh_job_unref(job);
    return code;
}
