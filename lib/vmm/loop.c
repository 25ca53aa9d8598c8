/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* epoll with a table of handlers by descriptor: a VMM has few, and small numbers. */
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTORS = 1024, AT_ONCE = 32 };

static struct {
    loop_handler handler;
    void        *data;
} table[DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int             poll_descriptor = -1;
static int             spare = -1; /* given up for a moment where there is no other */
static atomic_bool     ended;

bool loop_init(void)
{
    poll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    spare = fcntl(poll_descriptor, F_DUPFD_CLOEXEC, 0);
    return spare >= 0;
}

static bool control(int operation, int descriptor, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = descriptor};

    return epoll_ctl(poll_descriptor, operation, descriptor, &event) == 0;
}

bool loop_add(int descriptor, uint32_t events, loop_handler handler, void *data)
{
    if (descriptor < 0 || descriptor >= DESCRIPTORS) {
        errno = EMFILE;
        return false;
    }
    pthread_mutex_lock(&lock);
    table[descriptor].handler = handler;
    table[descriptor].data = data;
    pthread_mutex_unlock(&lock);
    return control(EPOLL_CTL_ADD, descriptor, events);
}

bool loop_change(int descriptor, uint32_t events)
{
    return control(EPOLL_CTL_MOD, descriptor, events);
}

void loop_remove(int descriptor)
{
    control(EPOLL_CTL_DEL, descriptor, 0);
    pthread_mutex_lock(&lock);
    table[descriptor].handler = NULL;
    pthread_mutex_unlock(&lock);
}

void loop_run(void)
{
    struct epoll_event events[AT_ONCE];

    while (!atomic_load(&ended)) {
        const int count = epoll_wait(poll_descriptor, events, AT_ONCE, -1);

        for (int i = 0; i < count && !atomic_load(&ended); i++) {
            const int    descriptor = events[i].data.fd;
            loop_handler handler;
            void        *data;

            pthread_mutex_lock(&lock);
            handler = table[descriptor].handler;
            data = table[descriptor].data;
            pthread_mutex_unlock(&lock);
            if (handler)
                handler(data, events[i].events);
        }
    }
}

int loop_accept(int listener)
{
    int descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (descriptor >= 0 || (errno != EMFILE && errno != ENFILE))
        return descriptor;
    close(spare);
    descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (descriptor >= 0)
        close(descriptor);
    spare = fcntl(poll_descriptor, F_DUPFD_CLOEXEC, 0);
    return -1;
}

void loop_end(void)
{
    atomic_store(&ended, true);
}
