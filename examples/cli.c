/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Options, errors and the way out, the same for every tool. */
#include "cli.h"
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char           *program = "vmhost";
static char                **remaining; /* arguments; they live as long as the program, as its argv does */
static char                 *password_file, *password;
static volatile sig_atomic_t signal_seen;
static int                   signal_pipe[2] = {-1, -1};
static void (*signal_restore)(void);

static void on_signal(int number)
{
    int     saved = errno;
    ssize_t written;

    if (signal_restore)
        signal_restore();
    signal_seen = number;
    written = write(signal_pipe[1], "", 1); /* it wakes a poll(); full is as good */
    (void)written;
    errno = saved;
}

/*
 * A standard descriptor that is closed would become that of the next file or socket, and what is printed would go
 * there. So each is taken by one that fails as a closed one does.
 */
static void fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return;
}

void cli_start(const char *name)
{
    program = name;
    fill_standard_descriptors();
    setlocale(LC_CTYPE, "");
    g_set_prgname(name);
    signal(SIGPIPE, SIG_IGN); /* a reader that left is an error of the write, which cli_end() sees */
}

void cli_catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    struct sigaction present;

    if (signal_pipe[0] >= 0 || !g_unix_open_pipe(signal_pipe, FD_CLOEXEC, NULL))
        return;
    g_unix_set_fd_nonblocking(signal_pipe[1], TRUE, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
        if (sigaction(numbers[i], NULL, &present) == 0 && present.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
}

int cli_end(int status)
{
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (errno != EPIPE)
            cli_notice("writing the output: %s", errno ? g_strerror(errno) : "failed");
        status = CLI_FAILED;
    }
    return signal_seen ? 128 + signal_seen : status;
}

int cli_signal(void)
{
    return signal_seen;
}

int cli_signal_fd(void)
{
    return signal_pipe[0];
}

void cli_on_signal(void (*restore)(void))
{
    signal_restore = restore;
}

static void print_line(const char *text)
{
    g_autofree char *safe = cli_printable(text);
    fprintf(stderr, "%s: %s\n", program, safe);
}

void cli_notice(const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list          list;

    va_start(list, format);
    text = g_strdup_vprintf(format, list);
    va_end(list);
    print_line(text);
}

int cli_usage_error(const char *format, ...)
{
    g_autofree char *text = NULL, *line = NULL;
    va_list          list;

    va_start(list, format);
    text = g_strdup_vprintf(format, list);
    va_end(list);
    line = g_strdup_printf("%s (see %s --help)", text, program);
    print_line(line);
    return CLI_USAGE;
}

/* Where the message itself begins with what was done, as 'starting VM "a": ', that is not said twice. */
static const char *skip_doing(const char *message, const char *doing)
{
    const char      *quote = strchr(doing, '"');
    gsize            verb = quote ? (gsize)(quote - doing) : strlen(doing);
    g_autofree char *plain = g_strconcat(doing, ": ", NULL);
    g_autofree char *with_kind = g_strdup_printf("%.*sVM %s: ", (int)verb, doing, doing + verb);
    g_autofree char *object = quote ? g_strdup_printf("%.*s: ", (int)strlen(quote) - 2, quote + 1) : NULL;

    if (object && g_str_has_prefix(message, object))
        return message + strlen(object);
    if (g_str_has_prefix(message, plain))
        return message + strlen(plain);
    return message + (g_str_has_prefix(message, with_kind) ? strlen(with_kind) : 0);
}

int cli_fail(vmh_error *error, const char *doing, ...)
{
    g_autofree char *text = NULL, *line = NULL;
    const char      *property = vmh_error_property(error), *message;
    va_list          list;

    if (!error) /* who returned no error has said already what there was to say */
        return CLI_FAILED;
    va_start(list, doing);
    text = g_strdup_vprintf(doing, list);
    va_end(list);
    message = skip_doing(vmh_error_message(error), text);
    if (property && !strstr(message, property))
        line = g_strdup_printf("%s: %s: %s", text, property, message);
    else
        line = g_strdup_printf("%s: %s", text, message);
    print_line(line);
    vmh_error_free(error);
    return CLI_FAILED;
}

static int print_help(GOptionContext *context)
{
    g_autofree char *help = g_option_context_get_help(context, TRUE, NULL);
    fputs(help, stdout);
    return CLI_OK;
}

int cli_parse(const GOptionEntry *entries, const char *usage, const char *summary, const char *description,
              gboolean stop_early, char ***argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(usage);
    g_autoptr(GError) error = NULL;
    gboolean           help = FALSE, version = FALSE;
    const GOptionEntry own[] = {{"help", 'h', 0, G_OPTION_ARG_NONE, &help, "Show this help", NULL},
                                {"version", 'V', 0, G_OPTION_ARG_NONE, &version, "Show the version", NULL},
                                {"password-file", 0, 0, CLI_TEXT, &password_file,
                                 "Read the password to log in with from a file's first line; - is stdin", "FILE"},
                                {stop_early ? NULL : G_OPTION_REMAINING, 0, 0, CLI_TEXTS, &remaining, NULL, NULL},
                                G_OPTION_ENTRY_NULL};
    int                count = (int)g_strv_length(*argv);

    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_set_strict_posix(context, stop_early);
    g_option_context_set_summary(context, summary);
    g_option_context_set_description(context, description);
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_add_main_entries(context, own, NULL);
    if (!g_option_context_parse(context, &count, argv, &error))
        return cli_usage_error("%s", error->message);
    if (help)
        return print_help(context);
    if (version) {
        printf("%s %s\n", program, vmh_version());
        return CLI_OK;
    }
    if (password_file && !password && cli_read_password(password_file, &password) != CLI_OK)
        return CLI_FAILED;
    if (!stop_early)
        *argv = remaining = remaining ? remaining : g_new0(char *, 1);
    else
        *argv += 1 + ((*argv)[1] && strcmp((*argv)[1], "--") == 0);
    return -1;
}

/* On a command line a number means a descriptor that the program was started with; none of its own is open yet. */
static int set_descriptor(vmh_spec *spec, const char *option, const char *path, const char *text)
{
    vmh_error *error = NULL;
    gint64     number;

    if (!g_ascii_string_to_signed(text, 10, 0, G_MAXINT32, &number, NULL))
        return cli_usage_error("%s: \"%s\" is not the number of a descriptor that was inherited", option, text);
    if (vmh_spec_set_fd(spec, path, (int32_t)number, &error) == 0)
        return CLI_OK;
    cli_fail(error, "%s", option);
    return CLI_USAGE;
}

int cli_set(vmh_spec *spec, const char *option, const char *path, const char *text)
{
    vmh_error *error = NULL;

    if (text && vmh_property_type(vmh_schema_find(vmh_spec_kind(spec), path, NULL)) == VMH_TYPE_DESCRIPTOR)
        return set_descriptor(spec, option, path, text);
    if (!text || vmh_spec_set(spec, path, text, &error) == 0)
        return CLI_OK;
    cli_fail(error, "%s", option);
    return CLI_USAGE;
}

int cli_set_all(vmh_spec *spec, char **assignments)
{
    for (; assignments && *assignments; assignments++) {
        const char      *equals = strchr(*assignments, '=');
        g_autofree char *path = equals ? g_strndup(*assignments, (gsize)(equals - *assignments)) : NULL;

        if (!equals)
            return cli_usage_error("\"%s\" is not PATH=VALUE", *assignments);
        if (cli_set(spec, *assignments, path, equals + 1) != CLI_OK)
            return CLI_USAGE;
    }
    return CLI_OK;
}

/* As much as the library will read and a byte more, so that it refuses the rest itself. */
static char *read_stdin(gsize *length)
{
    const gsize limit = 4 * 1024 * 1024 + 1;
    char       *text = g_malloc(limit);

    *length = fread(text, 1, limit, stdin);
    if (ferror(stdin)) {
        cli_notice("reading standard input: %s", g_strerror(errno));
        g_clear_pointer(&text, g_free);
    }
    return text;
}

int cli_read_spec(const char *file, vmh_spec **spec)
{
    g_autoptr(GError) problem = NULL;
    g_autofree char *text = NULL;
    vmh_error       *error = NULL;
    gsize            length = 0;

    if (strcmp(file, "-") == 0)
        text = read_stdin(&length);
    else if (!g_file_get_contents(file, &text, &length, &problem))
        cli_notice("%s", problem->message);
    if (!text)
        return CLI_FAILED;
    *spec = vmh_spec_from_json("vm", text, length, &error);
    if (*spec)
        return CLI_OK;
    return strcmp(file, "-") == 0 ? cli_fail(error, "reading standard input")
                                  : cli_fail(error, "reading \"%s\"", file);
}

/* A host that asks who we are is opened anew with each answer. */
static vmh_host *open_and_log_in(const char *uri, vmh_spec *options, vmh_error **error)
{
    vmh_error *refused = NULL;
    vmh_host  *host;

    while (!(host = vmh_host_open(uri, options, 0, &refused)) && cli_log_in(uri, refused, options)) {
        vmh_error_free(refused);
        refused = NULL;
    }
    *error = refused;
    return host;
}

int cli_open(const char *uri, const char *timeout, char **options, vmh_host **host)
{
    vmh_error *error = NULL;
    vmh_spec  *spec = vmh_spec_new("open", &error);
    gboolean   secret;
    int        status = CLI_USAGE;

    if (cli_set(spec, "--timeout", VMH_OPEN_CONNECT_TIMEOUT, timeout) == CLI_OK &&
        cli_set(spec, "--timeout", VMH_OPEN_CALL_TIMEOUT, timeout) == CLI_OK &&
        cli_set(spec, "--password-file", VMH_OPEN_AUTH_PASSWORD, password) == CLI_OK &&
        cli_set_all(spec, options) == CLI_OK) {
        *host = open_and_log_in(uri, spec, &error);
        secret = g_strcmp0(vmh_error_property(error), VMH_OPEN_AUTH_PASSWORD) == 0;
        status = *host ? CLI_OK : cli_fail(error, "opening \"%s\"", uri ? uri : "the local host");
        if (secret)
            cli_notice("--password-file gives the password; without it one is asked for where stdin is a terminal");
    }
    vmh_spec_unref(spec);
    return status;
}

int cli_duration(const char *option, const char *text, guint64 *ms)
{
    vmh_error *error = NULL;
    vmh_spec  *spec = vmh_spec_new("migrate", &error);
    int        status = CLI_OK;

    /* Any property that is a duration reads one. */
    if (vmh_spec_set(spec, VMH_MIGRATE_STALL_TIMEOUT, text, &error) < 0 ||
        vmh_spec_get_u64(spec, VMH_MIGRATE_STALL_TIMEOUT, ms, &error) < 0)
        status = cli_usage_error("%s: \"%s\" is no duration up to a day, such as 500ms, 30s or 5min", option, text);
    vmh_error_free(error);
    vmh_spec_unref(spec);
    return status;
}
