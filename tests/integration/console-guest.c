/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tools' console with a guest of the test's own at the other end of the descriptor. */
#include "../../examples/cli.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static gboolean deaf;

/* Says hello, then every line back in upper case, until it hears "quit"; a deaf one reads nothing. */
static void *guest(void *data)
{
    int     fd = GPOINTER_TO_INT(data);
    char    text[256];
    ssize_t length;

    send(fd, "hello\n", 6, 0);
    while (deaf)
        g_usleep(G_USEC_PER_SEC);
    while ((length = read(fd, text, sizeof text)) > 0 && !memmem(text, (size_t)length, "quit", 4)) {
        for (ssize_t i = 0; i < length; i++)
            text[i] = g_ascii_toupper(text[i]);
        send(fd, text, (size_t)length, MSG_NOSIGNAL);
    }
    close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    static const char *const ends[] = {"left", "ended", "signal", "output"};
    int                      pair[2];
    cli_console_end          end;

    deaf = argc > 1 && strcmp(argv[1], "deaf") == 0;
    cli_start("console-guest");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return CLI_FAILED;
    g_thread_unref(g_thread_new("guest", guest, GINT_TO_POINTER(pair[1])));
    end = cli_console(pair[0]);
    fprintf(stderr, "end: %s\n", ends[end]);
    return cli_end(CLI_OK);
}
