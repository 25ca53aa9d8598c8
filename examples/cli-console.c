/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest's console on this terminal: keys to the guest, bytes from the guest, Ctrl-] leaves; and streams like it. */
#include "cli.h"
#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

enum { ESCAPE = 0x1d, CHUNK = 4096, UNSENT_MAX = 1024 * 1024 };

static struct termios        cooked, uncooked;
static volatile sig_atomic_t raw;

/* Also called by signal handlers: nothing but what is safe there. */
static void restore_terminal(void)
{
    if (raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &cooked);
    raw = 0;
}

static void on_crash(int number)
{
    restore_terminal();
    raise(number); /* SA_RESETHAND: it dies as it would have */
}

/* Whoever had the terminal while we were stopped set it as he likes. */
static void on_continue(int number)
{
    (void)number;
    if (raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &uncooked);
}

static void raw_terminal(void)
{
    static const int numbers[] = {SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND};

    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &cooked) < 0)
        return;
    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
        sigaction(numbers[i], &action, NULL);
    atexit(restore_terminal);
    cli_on_signal(restore_terminal);
    signal(SIGCONT, on_continue);
    uncooked = cooked;
    cfmakeraw(&uncooked);
    raw = 1;
    tcsetattr(STDIN_FILENO, TCSANOW, &uncooked);
}

/* FALSE when the guest's bytes cannot be written any more, or a signal came. */
static gboolean write_all(const char *data, gssize length)
{
    while (length > 0) {
        gssize written = write(STDOUT_FILENO, data, (gsize)length);
        if (written < 0 && (errno != EINTR || cli_signal()))
            return FALSE;
        if (written > 0) {
            data += written;
            length -= written;
        }
    }
    return TRUE;
}

/* Keys wait in unsent while the guest reads none. FALSE when Ctrl-] was typed. *open: more may come. */
static gboolean read_keys(GByteArray *unsent, gboolean *open)
{
    guint8  data[CHUNK];
    gssize  length = read(STDIN_FILENO, data, sizeof data);
    guint8 *escape = length > 0 && raw ? memchr(data, ESCAPE, (gsize)length) : NULL;

    if (escape)
        return FALSE;
    if (length > 0)
        g_byte_array_append(unsent, data, (guint)length);
    else if (length == 0 || errno != EINTR)
        *open = FALSE;
    return TRUE;
}

/* FALSE at the console's end. */
static gboolean send_keys(int fd, GByteArray *unsent)
{
    gssize sent = send(fd, unsent->data, unsent->len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent > 0)
        g_byte_array_remove_range(unsent, 0, (guint)sent);
    return sent >= 0 || errno == EAGAIN || errno == EINTR;
}

/* What is sent until the input ends; halves: then that half of the descriptor ends as well. */
static cli_console_end relay(int fd, gboolean halves)
{
    g_autoptr(GByteArray) unsent = g_byte_array_new();
    gboolean keys = TRUE, guest = TRUE;
    char     data[CHUNK];
    gssize   length;

    while (!cli_signal()) {
        struct pollfd polls[] = {{fd, (short)(POLLIN | (guest && unsent->len ? POLLOUT : 0)), 0},
                                 {keys && unsent->len < UNSENT_MAX ? STDIN_FILENO : -1, POLLIN, 0},
                                 {cli_signal_fd(), POLLIN, 0},
                                 {STDOUT_FILENO, 0, 0}};
        if (poll(polls, G_N_ELEMENTS(polls), -1) < 0)
            continue;
        if (polls[3].revents) /* nobody reads what the guest says */
            return CLI_CONSOLE_OUTPUT;
        if (polls[1].revents && !read_keys(unsent, &keys))
            return CLI_CONSOLE_LEFT;
        if (polls[0].revents & POLLOUT)
            guest = send_keys(fd, unsent);
        if (halves && !keys && !unsent->len) {
            shutdown(fd, SHUT_WR);
            halves = FALSE;
        }
        if (polls[0].revents & ~POLLOUT) {
            length = read(fd, data, sizeof data);
            if (length == 0 || (length < 0 && errno != EINTR))
                return CLI_CONSOLE_ENDED;
            if (length > 0 && !write_all(data, length))
                return cli_signal() ? CLI_CONSOLE_SIGNAL : CLI_CONSOLE_OUTPUT;
        }
    }
    return CLI_CONSOLE_SIGNAL;
}

cli_console_end cli_console(int fd)
{
    cli_console_end end;

    cli_catch_signals();
    raw_terminal();
    end = relay(fd, FALSE);
    restore_terminal();
    cli_on_signal(NULL);
    close(fd);
    return end;
}

cli_console_end cli_stream(int fd)
{
    cli_console_end end;

    cli_catch_signals();
    end = relay(fd, TRUE);
    close(fd);
    return end;
}
