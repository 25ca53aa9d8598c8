/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs of the host, which say in a line what they want: to connect to the guest, or to be connected to by it. */
#include "../loop.h"
#include "vsockets.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE = 32 };

static int  listener = -1;
static bool is_paused;

/* --- what a program gets --- */

bool vsockhost_say(const struct vsocket *socket, const char *word, uint32_t port, int descriptor)
{
    union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    char          line[LINE];
    const int     length = snprintf(line, sizeof(line), "%s %u\n", word, port);
    struct iovec  data = {line, (size_t)length};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};

    if (descriptor >= 0) {
        memcpy(CMSG_DATA(&control.header), &descriptor, sizeof(descriptor));
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
    }
    return sendmsg(socket->descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == length;
}

/* --- what a program wants --- */

/* "WORD PORT", in whichever case, as others take it. */
static bool is_request(const char *line, const char *word, uint32_t *port)
{
    const size_t       length = strlen(word);
    unsigned long long number = 0;

    if (strncasecmp(line, word, length) != 0 || line[length] != ' ' || !line[length + 1])
        return false;
    for (line += length + 1; *line >= '0' && *line <= '9' && number < VSOCK_ANY_PORT; line++)
        number = number * 10 + (unsigned)(*line - '0');
    *port = (uint32_t)number;
    return !*line && number < VSOCK_ANY_PORT;
}

static void begin_to_listen(struct vsocket *socket, uint32_t port)
{
    if (vsockets_find_listener(port)) {
        vsockhost_say(socket, "BUSY", port, -1);
        vsocket_free(socket);
        return;
    }
    socket->state = VSOCKET_LISTENING;
    socket->host_port = port;
    if (!vsockhost_say(socket, "OK", port, -1))
        vsocket_free(socket);
}

static void obey(struct vsocket *socket, const char *line)
{
    uint32_t port;

    if (is_request(line, "LISTEN", &port))
        begin_to_listen(socket, port);
    else if (is_request(line, "CONNECT", &port) && vsock_is_up())
        vsocket_call(socket, port);
    else
        vsocket_free(socket);
}

/* What follows the line is of the stream and stays in the socket. */
static void hear_line(struct vsocket *socket, bool is_ending)
{
    char          line[LINE];
    const ssize_t got = recv(socket->descriptor, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
    char         *end = got > 0 ? memchr(line, '\n', (size_t)got) : NULL;

    if (!end) {
        const bool may_go_on = got < 0 ? errno == EAGAIN || errno == EINTR : got > 0 && got < LINE;

        if (!may_go_on || is_ending)
            vsocket_free(socket);
        return;
    }
    recv(socket->descriptor, line, (size_t)(end - line) + 1, MSG_DONTWAIT);
    *end = 0;
    if (end > line && end[-1] == '\r')
        end[-1] = 0;
    obey(socket, line);
}

/* It has no more to say than that it is there. */
static void hear_listener(struct vsocket *socket)
{
    char    bytes[LINE];
    ssize_t got;

    do
        got = recv(socket->descriptor, bytes, sizeof(bytes), MSG_DONTWAIT);
    while (got > 0);
    if (got == 0 || (errno != EAGAIN && errno != EINTR))
        vsocket_free(socket);
}

void vsockhost_hear(struct vsocket *socket, bool is_ending)
{
    if (socket->state == VSOCKET_ASKING)
        hear_line(socket, is_ending);
    else
        hear_listener(socket);
}

struct vsocket *vsockhost_offer(uint32_t host_port, uint32_t guest_port)
{
    struct vsocket *program = vsockets_find_listener(host_port);
    struct vsocket *socket = NULL;
    int             pair[2];

    if (!program || !vsockets_have_room() || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return NULL;
    socket = vsocket_new(pair[0]);
    if (socket && vsockhost_say(program, "FROM", guest_port, pair[1])) {
        vsocket_open(socket, guest_port, host_port);
    } else if (socket) {
        vsocket_free(socket);
        socket = NULL;
    }
    close(pair[1]);
    return socket;
}

/* --- where they come --- */

/* Those that come meanwhile wait at the listener. */
static void pause_listening(void)
{
    loop_remove(listener);
    is_paused = true;
}

static void on_connection(void *data, uint32_t events)
{
    int descriptor;

    (void)data;
    (void)events;
    vsock_lock();
    descriptor = vsockets_have_room() ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
    if (descriptor >= 0)
        vsocket_new(descriptor);
    else if (!vsockets_have_room() || errno == EMFILE || errno == ENFILE)
        pause_listening();
    vsock_unlock();
}

bool vsockhost_init(int descriptor)
{
    listener = descriptor;
    return loop_add(listener, EPOLLIN, on_connection, NULL);
}

void vsockhost_resume(void)
{
    if (is_paused)
        is_paused = !loop_add(listener, EPOLLIN, on_connection, NULL);
}
