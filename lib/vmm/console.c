/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Moves bytes between a console's line and a socket without ever making the guest wait. */
#include "console.h"
#include "loop.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

bool console_init(struct console *console, console_input input, void *data)
{
    *console = (struct console){.descriptor = -1, .log = -1, .listener = -1, .input = input, .data = data};
    pthread_mutex_init(&console->lock, NULL);
    console->store =
        mmap(NULL, CONSOLE_STORE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (console->store == MAP_FAILED)
        console->store = NULL;
    return console->store != NULL;
}

void console_destroy(struct console *console)
{
    if (console->store)
        munmap(console->store, CONSOLE_STORE);
}

static void watch(struct console *console, uint32_t events)
{
    if (events == console->events || console->descriptor < 0)
        return;
    console->events = events;
    loop_change(console->descriptor, events);
}

/* Sends what is stored, as far as it goes; false when the other side is gone. */
static bool flush(struct console *console)
{
    while (console->stored) {
        const uint32_t room = CONSOLE_STORE - console->start;
        const uint32_t count = console->stored < room ? console->stored : room;
        const ssize_t  sent =
            send(console->descriptor, console->store + console->start, count, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0)
            return errno == EAGAIN || errno == EINTR;
        console->start = (console->start + (uint32_t)sent) % CONSOLE_STORE;
        console->stored -= (uint32_t)sent;
    }
    console->start = 0;
    return true;
}

static void store(struct console *console, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count && console->stored < CONSOLE_STORE; i++)
        console->store[(console->start + console->stored++) % CONSOLE_STORE] = bytes[i];
}

void console_write(struct console *console, const uint8_t *bytes, unsigned count)
{
    pthread_mutex_lock(&console->lock);
    if (console->log >= 0) {
        /* What a full disk does not take is lost. */
        const ssize_t written = write(console->log, bytes, count);

        (void)written;
        pthread_mutex_unlock(&console->lock);
        return;
    }
    store(console, bytes, count);
    /* Whether the other side is gone is the loop's to notice. */
    if (console->descriptor >= 0 && flush(console) && console->stored)
        watch(console, console->events | EPOLLOUT);
    pthread_mutex_unlock(&console->lock);
}

void console_ready(struct console *console)
{
    pthread_mutex_lock(&console->lock);
    console->has_room = true;
    watch(console, console->events | EPOLLIN);
    pthread_mutex_unlock(&console->lock);
}

/* Looks before it takes: what the line has no room for stays in the socket. */
static bool take_input(struct console *console)
{
    uint8_t       bytes[256];
    const ssize_t got = recv(console->descriptor, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_PEEK);
    unsigned      taken;

    if (got <= 0)
        return got < 0 && (errno == EAGAIN || errno == EINTR);
    console->has_room = false;
    pthread_mutex_unlock(&console->lock);
    taken = console->input(console->data, bytes, (unsigned)got);
    pthread_mutex_lock(&console->lock);
    if (taken)
        recv(console->descriptor, bytes, taken, MSG_DONTWAIT);
    /* The guest may have made room in the meantime, and does not say so again. */
    if (taken < (unsigned)got && !console->has_room)
        watch(console, console->events & ~(uint32_t)EPOLLIN);
    return true;
}

static void detach(struct console *console)
{
    if (console->descriptor < 0)
        return;
    loop_remove(console->descriptor);
    close(console->descriptor);
    console->descriptor = -1;
}

static void on_event(void *data, uint32_t events)
{
    struct console *console = data;
    bool            open = true;

    pthread_mutex_lock(&console->lock);
    if (events & EPOLLOUT) {
        open = flush(console);
        if (open && !console->stored)
            watch(console, console->events & ~(uint32_t)EPOLLOUT);
    }
    if (open && events & EPOLLIN)
        open = take_input(console);
    else if (events & (EPOLLHUP | EPOLLERR))
        open = false;
    if (!open)
        detach(console);
    pthread_mutex_unlock(&console->lock);
}

static bool attach(struct console *console, int descriptor)
{
    bool attached;

    pthread_mutex_lock(&console->lock);
    detach(console);
    console->descriptor = descriptor;
    console->events = EPOLLIN;
    attached = loop_add(descriptor, console->events, on_event, console);
    if (!attached)
        console->descriptor = -1;
    else if (flush(console) && console->stored)
        watch(console, console->events | EPOLLOUT);
    pthread_mutex_unlock(&console->lock);
    return attached;
}

static bool is_open(struct console *console)
{
    bool open;

    pthread_mutex_lock(&console->lock);
    open = console->descriptor >= 0;
    pthread_mutex_unlock(&console->lock);
    return open;
}

void console_detach(struct console *console)
{
    pthread_mutex_lock(&console->lock);
    if (console->descriptor >= 0)
        flush(console);
    detach(console);
    pthread_mutex_unlock(&console->lock);
}

/* --- where it goes --- */

static void set_log(struct console *console, int descriptor)
{
    pthread_mutex_lock(&console->lock);
    console->log = descriptor;
    pthread_mutex_unlock(&console->lock);
}

static void on_connection(void *data, uint32_t events)
{
    struct console *console = data;
    const int       descriptor = loop_accept(console->listener);

    (void)events;
    if (descriptor >= 0 && (is_open(console) || !attach(console, descriptor)))
        close(descriptor);
}

static bool set_listener(struct console *console, int descriptor)
{
    console->listener = descriptor;
    if (loop_add(descriptor, EPOLLIN, on_connection, console))
        return true;
    console->listener = -1;
    return false;
}

static bool goes_elsewhere(const struct console *console)
{
    return console->log >= 0 || console->listener >= 0;
}

bool console_direct(struct console *console, uint64_t kind, int descriptor, struct failure *failure)
{
    if (goes_elsewhere(console))
        return fail(failure, WIRE_WRONG_STATE, NULL, "the console goes elsewhere already");
    if (descriptor < 0)
        return fail(failure, WIRE_VALUE, NULL, "the request came without its descriptor");
    if (kind == WIRE_SERIAL_FILE)
        set_log(console, descriptor);
    else if (!set_listener(console, descriptor))
        return fail(failure, WIRE_HOST, NULL, "the console's socket cannot be watched: %s", strerror(errno));
    return true;
}

int console_open(struct console *console, bool force, struct failure *failure)
{
    int pair[2];

    if (goes_elsewhere(console))
        fail(failure, WIRE_UNSUPPORTED, NULL, "this console goes elsewhere; give it the value pty");
    else if (is_open(console) && !force)
        fail(failure, WIRE_BUSY, NULL, "another program has the console open");
    else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        fail(failure, WIRE_HOST, NULL, "no socket for the console: %s", strerror(errno));
    else if (attach(console, pair[0]))
        return pair[1];
    else {
        fail(failure, WIRE_HOST, NULL, "the console cannot be watched: %s", strerror(errno));
        close(pair[0]);
        close(pair[1]);
    }
    return -1;
}
