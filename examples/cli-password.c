/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who we are, for a host that asks: from a file, or from the person at the terminal, who sees no password. */
#include "cli.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { LONGEST = 4096 };

static const int      deadly[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
static struct termios shown; /* the terminal as it was before the question */

/* A signal ends the program as if nobody had asked, with the terminal as it was. */
static void on_deadly(int number)
{
    tcsetattr(STDIN_FILENO, TCSANOW, &shown);
    raise(number); /* by now it does what it did; it arrives when this returns */
}

static void catch_deadly(struct sigaction *before)
{
    struct sigaction action = {.sa_handler = on_deadly, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};

    for (gsize i = 0; i < G_N_ELEMENTS(deadly); i++)
        if (sigaction(deadly[i], NULL, &before[i]) == 0 && before[i].sa_handler == SIG_DFL)
            sigaction(deadly[i], &action, NULL);
}

static void release_deadly(const struct sigaction *before)
{
    for (gsize i = 0; i < G_N_ELEMENTS(deadly); i++)
        sigaction(deadly[i], &before[i], NULL);
}

/* Up to a line feed, and not a byte more: what follows is for somebody else. NULL: nothing came, or too much. */
static char *read_line(int fd)
{
    g_autoptr(GString) line = g_string_new(NULL);
    ssize_t got;
    char    c;

    while ((got = read(fd, &c, 1)) == 1 && c != '\n' && line->len <= LONGEST)
        g_string_append_c(line, c);
    if (got == 0)
        errno = 0; /* the end is no error */
    if (line->len > LONGEST)
        errno = EFBIG;
    return got < 0 || line->len > LONGEST || line->len == 0 ? NULL : g_strdup(line->str);
}

/* A stop by Ctrl-Z would show what is typed after it, so there is none. */
static void set_terminal(gboolean hidden)
{
    struct termios mode = shown;

    mode.c_lflag |= ICANON | ISIG | ECHO;
    if (hidden)
        mode.c_lflag &= ~(tcflag_t)ECHO;
    mode.c_cc[VSUSP] = _POSIX_VDISABLE;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &mode);
}

static char *ask(const char *question, gboolean hidden)
{
    struct sigaction before[G_N_ELEMENTS(deadly)] = {0};
    g_autofree char *safe = cli_printable(question);
    char            *line;

    if (tcgetattr(STDIN_FILENO, &shown) < 0)
        return NULL;
    catch_deadly(before);
    set_terminal(hidden);
    fprintf(stderr, "%s: ", safe);
    fflush(stderr);
    line = read_line(STDIN_FILENO);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    release_deadly(before);
    if (hidden || !line)
        fputc('\n', stderr);
    return line;
}

gboolean cli_log_in(const char *uri, const vmh_error *refused, vmh_spec *options)
{
    static GMutex    one_at_a_time; /* hosts are opened at the same time */
    const char      *wanted = vmh_error_property(refused);
    gboolean         hidden = wanted && strcmp(wanted, VMH_OPEN_AUTH_PASSWORD) == 0;
    g_autofree char *question = NULL, *answer = NULL;

    if (vmh_error_code(refused) != VMH_ERR_PERMISSION || !isatty(STDIN_FILENO))
        return FALSE;
    if ((!hidden && g_strcmp0(wanted, VMH_OPEN_AUTH_USER) != 0) || vmh_spec_has(options, wanted))
        return FALSE;
    question = g_strdup_printf("%s for %s", hidden ? "Password" : "User name", uri ? uri : "the local host");
    g_mutex_lock(&one_at_a_time);
    answer = ask(question, hidden);
    g_mutex_unlock(&one_at_a_time);
    return answer && vmh_spec_set_str(options, wanted, answer, NULL) == 0;
}

int cli_read_password(const char *file, char **password)
{
    gboolean    from_stdin = strcmp(file, "-") == 0;
    int         fd = from_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    const char *name = from_stdin ? "standard input" : file;

    errno = fd < 0 ? errno : 0;
    *password = fd < 0 ? NULL : read_line(fd);
    if (!*password)
        cli_notice("--password-file: %s: %s", name, errno ? g_strerror(errno) : "its first line is empty");
    if (fd > STDIN_FILENO)
        close(fd);
    return *password ? CLI_OK : CLI_FAILED;
}
