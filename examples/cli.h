/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tools share: options, errors, printing, waiting for a job, and the console on the terminal. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <vmhost/vmhost.h>

/* Exit codes; a tool that a signal ended returns 128 + its number. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* --- cli.c: options, errors, the way out --- */

/* First of all: the name for messages, and the locale. */
void cli_start(const char *program);

/* The exit code: status, or 1 when the output could not be written, or 128 + the signal that came. */
int cli_end(int status);

/*
 * From here on the first SIGINT, SIGTERM or SIGHUP is kept for cli_signal(), and a second one ends the program at
 * once. What waits with cli_wait() or cli_console() need not call it.
 */
void cli_catch_signals(void);
int  cli_signal(void);    /* the one that came, or 0 */
int  cli_signal_fd(void); /* readable from then on */

/* What the handler calls first, so that the terminal is mended at every way out. NULL: nothing. */
void cli_on_signal(void (*restore)(void));

/*
 * Reads options up to the end, or to the first argument when stop_early. Adds --help and --version. Returns -1 to
 * go on, or the exit code to leave with. The arguments that remain are in *argv, without the name.
 */
int cli_parse(const GOptionEntry *entries, const char *usage, const char *summary, const char *description,
              gboolean stop_early, char ***argv);

/* An entry's value as it was typed; the library says whether it is good UTF-8, whatever the locale is. */
#define CLI_TEXT G_OPTION_ARG_FILENAME
#define CLI_TEXTS G_OPTION_ARG_FILENAME_ARRAY

/* "PROGRAM: DOING: MESSAGE" on stderr. Frees the error, takes NULL for one that was told, returns CLI_FAILED. */
int  cli_fail(vmh_error *error, const char *doing, ...) G_GNUC_PRINTF(2, 3);
int  cli_usage_error(const char *format, ...) G_GNUC_PRINTF(1, 2); /* returns CLI_USAGE */
void cli_notice(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* These return CLI_OK, or another exit code after saying why. */

/*
 * Sets each PATH=VALUE of a NULL-terminated list, which may be NULL. A property that is a descriptor takes the number
 * of one that the program was started with: call these before anything else is opened.
 */
int cli_set_all(vmh_spec *spec, char **assignments);

/* Sets one property by an option, unless its text is NULL. */
int cli_set(vmh_spec *spec, const char *option, const char *path, const char *text);

/* Reads a VM's spec from a JSON file, or from stdin for "-". */
int cli_read_spec(const char *file, vmh_spec **spec);

/*
 * Opens a host; timeout ("30s") and options (PATH=VALUE each) may be NULL. Where the host asks who we are and no
 * option says it, a person at the terminal is asked.
 */
int cli_open(const char *uri, const char *timeout, char **options, vmh_host **host);

/* "30s" in milliseconds, as the library reads durations. */
int cli_duration(const char *option, const char *text, guint64 *ms);

/* --- cli-password.c: logging in --- */

/* Asks at the terminal for the option without which opening was refused. Whether there is something to try with. */
gboolean cli_log_in(const char *uri, const vmh_error *refused, vmh_spec *options);

/* The first line of a file, or of stdin for "-", of which nothing more is taken. */
int cli_read_password(const char *file, char **password);

/* --- cli-print.c: what reaches the terminal --- */

/* The text with everything that a terminal might obey written as \uXXXX. */
char *cli_printable(const char *text);

/* JSON to stdout, with a line feed; the same guard, which leaves JSON what it means. */
void cli_print_json(const char *json);
void cli_print_builder(JsonBuilder *builder, gboolean pretty);
void cli_json_str(JsonBuilder *builder, const char *key, const char *value); /* NULL: null */
void cli_json_u64(JsonBuilder *builder, const char *key, guint64 value);     /* VMH_METRIC_NONE: null */
void cli_json_f64(JsonBuilder *builder, const char *key, double value);
void cli_json_bool(JsonBuilder *builder, const char *key, int32_t value);

/* A spec as PROPERTY and VALUE, or as JSON. */
int cli_print_spec(const vmh_spec *spec, gboolean json);

/* A table of rows of cells, which are copied; the first row is the heading. For g_autoptr(GPtrArray). */
GPtrArray *cli_table_new(void);
void       cli_table_row(GPtrArray *table); /* begins a row */
void       cli_table_cell(GPtrArray *table, const char *text);
void       cli_table_add(GPtrArray *table, ...) G_GNUC_NULL_TERMINATED; /* a whole row */
void       cli_table_print(GPtrArray *table);

char *cli_size(guint64 bytes);                     /* "1.5 GiB" */
char *cli_seconds(guint64 seconds);                /* "45 s", "2 min 03 s" */
char *cli_time(guint64 ms);                        /* "1.5 s", "2 min 3 s" */
char *cli_metric(const char *name, guint64 value); /* by the metric's unit; "-" for none */
void  cli_table_metric(GPtrArray *table, const char *name, guint64 value);
char *cli_nearest(const char *word, const char **choices); /* the most similar, or NULL when none is */

/* --- cli-job.c: a job under way --- */

typedef enum {
    CLI_PROGRESS_QUIET,
    CLI_PROGRESS_TERMINAL, /* a bar on stderr when that is a terminal and the job takes over a second */
    CLI_PROGRESS_ALWAYS    /* the bar at once; where stderr is no terminal, a line a second */
} cli_progress;

/* Waits for the end, with progress; the first signal cancels the job. 0 or the code, as vmh_job_wait(). */
int32_t cli_wait(vmh_job *job, cli_progress progress, vmh_error **error);

/* The same, then drops the job; NULL passes the error on. */
int32_t cli_finish(vmh_job *job, vmh_error **error);

guint64 cli_progress_value(const vmh_job *job, int32_t field); /* 0 when there is none */

/* --- cli-console.c: a guest's console on this terminal --- */

typedef enum {
    CLI_CONSOLE_LEFT,   /* Ctrl-] was typed */
    CLI_CONSOLE_ENDED,  /* the guest stopped, or the connection broke */
    CLI_CONSOLE_SIGNAL, /* cli_signal() says which */
    CLI_CONSOLE_OUTPUT  /* stdout cannot be written any more */
} cli_console_end;

/* Copies between the descriptor, which it closes, and stdin and stdout, a terminal in raw mode or pipes. */
cli_console_end cli_console(int fd);

/* The same for a stream whose other side is to see the end of stdin; a terminal stays as it is, and Ctrl-C leaves. */
cli_console_end cli_stream(int fd);
