/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of vmhost-ctl that watch a host: its metrics and its events. */
#include "ctl.h"
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static char *interval, *topics;
static gint  count;

/* Few enough for a line of a terminal. */
static const char *const usual = "cpu.count,cpu.time,memory.size,memory.rss,block.read.bytes,block.write.bytes,"
                                 "net.rx.bytes,net.tx.bytes";

/* The oldest value of a row, or none. */
static uint64_t oldest(const vmh_frame *frame, size_t row)
{
    const uint64_t *values, *ages;
    uint64_t        age = VMH_METRIC_NONE;

    for (size_t c = 0; c < vmh_frame_columns(frame); c++)
        if (vmh_frame_column(frame, vmh_frame_column_name(frame, c), &values, &ages, NULL) == 0 &&
            values[row] != VMH_METRIC_NONE && (age == VMH_METRIC_NONE || ages[row] > age))
            age = ages[row];
    return age;
}

static void print_frame_table(const vmh_frame *frame)
{
    g_autoptr(GPtrArray) table = cli_table_new();
    const uint64_t *values;

    cli_table_add(table, "NAME", NULL);
    for (size_t c = 0; c < vmh_frame_columns(frame); c++)
        cli_table_cell(table, vmh_frame_column_name(frame, c));
    cli_table_cell(table, "AGE");
    for (size_t row = 0; row < vmh_frame_rows(frame); row++) {
        uint64_t         age = oldest(frame, row);
        g_autofree char *ago = age == VMH_METRIC_NONE ? g_strdup("-") : cli_time(age);

        cli_table_add(table, vmh_frame_row_name(frame, row), NULL);
        for (size_t c = 0; c < vmh_frame_columns(frame); c++) {
            const char *column = vmh_frame_column_name(frame, c);
            if (vmh_frame_column(frame, column, &values, NULL, NULL) == 0)
                cli_table_metric(table, column, values[row]);
        }
        cli_table_cell(table, ago);
    }
    cli_table_print(table);
}

/* A frame is one line of JSON, so that a program can read one after the other. */
static void print_frame_json(const vmh_frame *frame)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();
    const uint64_t *values;

    json_builder_begin_object(builder);
    cli_json_u64(builder, "time", (guint64)g_get_real_time() / 1000);
    json_builder_set_member_name(builder, "vms");
    json_builder_begin_array(builder);
    for (size_t row = 0; row < vmh_frame_rows(frame); row++) {
        json_builder_begin_object(builder);
        cli_json_str(builder, "name", vmh_frame_row_name(frame, row));
        cli_json_str(builder, "uuid", vmh_frame_row_uuid(frame, row));
        cli_json_u64(builder, "age_ms", oldest(frame, row));
        for (size_t c = 0; c < vmh_frame_columns(frame); c++) {
            const char *column = vmh_frame_column_name(frame, c);
            if (vmh_frame_column(frame, column, &values, NULL, NULL) == 0)
                cli_json_u64(builder, column, values[row]);
        }
        json_builder_end_object(builder);
    }
    json_builder_end_array(builder);
    json_builder_end_object(builder);
    cli_print_builder(builder, FALSE);
}

/* Until the descriptor is readable, the time is up, or a signal came; fails when who reads our output has left. */
static int wait_for(int fd, int timeout_ms)
{
    struct pollfd polls[] = {{STDOUT_FILENO, 0, 0}, {fd, POLLIN, 0}, {cli_signal_fd(), POLLIN, 0}};

    if (fflush(stdout) != 0)
        return CLI_FAILED;
    poll(polls, G_N_ELEMENTS(polls), timeout_ms);
    return polls[0].revents ? CLI_FAILED : CLI_OK;
}

static int run_sample(char **arguments)
{
    const char *columns = arguments[0] ? arguments[0] : usual;
    guint64     pause = 1000;
    vmh_error  *error = NULL;
    vmh_host   *host = NULL;
    gint        left = count ? count : interval ? -1 : 1;
    int         status = count < 0 ? cli_usage_error("--count: a number from 1") : CLI_OK;

    if (status == CLI_OK && interval)
        status = cli_duration("--interval", interval, &pause);
    if (status == CLI_OK)
        status = ctl_host(&host);
    cli_catch_signals();
    while (status == CLI_OK && left != 0 && !cli_signal()) {
        vmh_frame *frame = vmh_host_sample(host, columns, 0, &error);

        if (!frame)
            status = cli_fail(error, "sampling %s", vmh_host_uri(host));
        else
            (ctl.json ? print_frame_json : print_frame_table)(frame);
        vmh_frame_unref(frame);
        left -= left > 0;
        if (status == CLI_OK && left != 0)
            status = wait_for(-1, (int)pause);
    }
    vmh_host_unref(host);
    return status;
}

/* Each event on a line: its time, its type, then the fields it has. */
static void print_event_text(const vmh_event *event)
{
    static const char *const texts[] = {"name", "uuid", "verb", "reason"};
    static const char *const numbers[] = {"job", "phase", "done", "total", "code"};
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_local((gint64)(vmh_event_time(event) / 1000));
    g_autofree char *clock = g_date_time_format(time, "%T");
    int32_t          type = vmh_event_type(event);

    printf("%s.%03d %s", clock, (int)(vmh_event_time(event) % 1000), vmh_event_type_name(type));
    if (type == VMH_EVENT_VM_ADDED || type == VMH_EVENT_VM_STATE)
        printf(" state=%s", vmh_vm_state_name((int32_t)vmh_event_u64(event, "state")));
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        const char      *text = vmh_event_str(event, texts[i]);
        g_autofree char *safe = text ? cli_printable(text) : NULL;
        if (safe)
            printf(" %s=\"%s\"", texts[i], safe);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
        if ((type == VMH_EVENT_JOB_PROGRESS && i < 4) || (type == VMH_EVENT_JOB_DONE && (i == 0 || i == 4)))
            printf(" %s=%" G_GUINT64_FORMAT, numbers[i], vmh_event_u64(event, numbers[i]));
    putchar('\n');
}

static void print_event_json(const vmh_event *event)
{
    static const char *const texts[] = {"name", "uuid", "verb", "reason"};
    static const char *const numbers[] = {"job", "phase", "done", "total", "code"};
    g_autoptr(JsonBuilder) builder = json_builder_new();
    int32_t type = vmh_event_type(event);

    json_builder_begin_object(builder);
    cli_json_u64(builder, "time", vmh_event_time(event));
    cli_json_str(builder, "type", vmh_event_type_name(type));
    if (type == VMH_EVENT_VM_ADDED || type == VMH_EVENT_VM_STATE)
        cli_json_str(builder, "state", vmh_vm_state_name((int32_t)vmh_event_u64(event, "state")));
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        if (vmh_event_str(event, texts[i]))
            cli_json_str(builder, texts[i], vmh_event_str(event, texts[i]));
    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
        if ((type == VMH_EVENT_JOB_PROGRESS && i < 4) || (type == VMH_EVENT_JOB_DONE && (i == 0 || i == 4)))
            cli_json_u64(builder, numbers[i], vmh_event_u64(event, numbers[i]));
    json_builder_end_object(builder);
    cli_print_builder(builder, FALSE);
}

static int run_events(char **arguments)
{
    vmh_error *error = NULL;
    vmh_host  *host = NULL;
    vmh_queue *queue = NULL;
    vmh_event *event = NULL;
    gint       left = count ? count : -1;
    int        status = count < 0 ? cli_usage_error("--count: a number from 1") : ctl_host(&host);

    (void)arguments;
    cli_catch_signals();
    if (status == CLI_OK && !(queue = vmh_queue_new(host, topics, 0, &error)))
        status = cli_fail(error, "listening to %s", vmh_host_uri(host));
    while (status == CLI_OK && left != 0 && !cli_signal()) {
        int32_t next = vmh_queue_next(queue, &event, &error);

        if (next < 0)
            status = cli_fail(error, "listening to %s", vmh_host_uri(host));
        if (next == 0) {
            status = wait_for(vmh_queue_fd(queue), -1);
            continue;
        }
        (ctl.json ? print_event_json : print_event_text)(event);
        vmh_event_free(event);
        left -= left > 0;
    }
    vmh_queue_unref(queue);
    vmh_host_unref(host);
    return status;
}

static const GOptionEntry sample_options[] = {
    {"interval", 'i', 0, CLI_TEXT, &interval, "Go on, with this pause between the frames", "DURATION"},
    {"count", 'n', 0, G_OPTION_ARG_INT, &count, "End after so many frames; 1 without --interval", "N"},
    G_OPTION_ENTRY_NULL};
static const GOptionEntry events_options[] = {
    {"topics", 't', 0, CLI_TEXT, &topics, "vm, job, host, with commas; all when not given", "TOPICS"},
    {"count", 'n', 0, G_OPTION_ARG_INT, &count, "End after so many events", "N"},
    G_OPTION_ENTRY_NULL};

const ctl_verb ctl_watch_verbs[] = {
    {"sample", "[COLUMNS]", 0, 1, "What the VMs use; COLUMNS such as cpu.time,net.*", sample_options, run_sample},
    {"events", NULL, 0, 0, "What there is, then what happens", events_options, run_events},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
