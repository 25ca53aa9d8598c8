/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loop of a VMM: nothing is served after its end, and no connection for which there is no descriptor keeps it
 * busy. */
#include "loop.h"
#include "unit.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_S = 20, CLIENTS = 4 };

static unsigned served;
static int      listener;

/* --- its end --- */

static void end_it(G_GNUC_UNUSED void *data, G_GNUC_UNUSED uint32_t events)
{
    served++;
    loop_end();
}

START_TEST(nothing_is_served_after_its_end)
{
    ck_assert(loop_init());
    for (guint i = 0; i < CLIENTS; i++)
        ck_assert(loop_add(eventfd(1, EFD_CLOEXEC), EPOLLIN, end_it, NULL));
    loop_run();
    ck_assert_uint_eq(served, 1);
}
END_TEST

/* --- its listeners --- */

static void on_connection(G_GNUC_UNUSED void *data, G_GNUC_UNUSED uint32_t events)
{
    int descriptor;

    __atomic_add_fetch(&served, 1, __ATOMIC_SEQ_CST);
    descriptor = loop_accept(listener);
    if (descriptor >= 0)
        ck_assert_int_eq(write(descriptor, "here", 4), 4);
}

static void *run(void *data)
{
    loop_run();
    return data;
}

static int make_socket(void)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    const int            descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    return descriptor;
}

static void listen_somewhere(struct sockaddr_un *place, socklen_t *size)
{
    pthread_t thread;

    *place = (struct sockaddr_un){.sun_family = AF_UNIX};
    *size = sizeof(*place);
    listener = make_socket();
    ck_assert_int_eq(bind(listener, (struct sockaddr *)place, sizeof(place->sun_family)), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)place, size), 0);
    ck_assert_int_eq(listen(listener, CLIENTS), 0);
    ck_assert(loop_init() && loop_add(listener, EPOLLIN, on_connection, NULL));
    ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
}

static void allow_descriptors(rlim_t most)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = most;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Those that come while there is none are sent away, once each, and those that come later are served. */
START_TEST(a_connection_without_a_descriptor_is_sent_away)
{
    struct sockaddr_un place;
    socklen_t          size;
    int                clients[CLIENTS];
    char               answer[4];

    listen_somewhere(&place, &size);
    for (guint i = 0; i < CLIENTS; i++)
        clients[i] = make_socket();
    allow_descriptors((rlim_t)clients[CLIENTS - 1] + 1);
    for (guint i = 0; i < CLIENTS - 1; i++) {
        ck_assert_int_eq(connect(clients[i], (struct sockaddr *)&place, size), 0);
        ck_assert_int_eq(recv(clients[i], answer, sizeof(answer), 0), 0);
    }
    ck_assert_uint_eq(__atomic_load_n(&served, __ATOMIC_SEQ_CST), CLIENTS - 1);
    allow_descriptors(64);
    ck_assert_int_eq(connect(clients[CLIENTS - 1], (struct sockaddr *)&place, size), 0);
    ck_assert_int_eq(recv(clients[CLIENTS - 1], answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
}
END_TEST

UNIT_RUN("vmm-loop", nothing_is_served_after_its_end, a_connection_without_a_descriptor_is_sent_away)
