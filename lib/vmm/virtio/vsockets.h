/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of the socket device ask of each other: vsock.c has the queues, vsockets.c all sockets,
 * vsockstream.c one stream between the guest and a socket, vsockhost.c the programs of the host that have none yet.
 * All of it happens under the device's lock.
 */
#pragma once

#include "queue.h"
#include <linux/virtio_vsock.h>

/* How many sockets there are at most, and what is kept of one stream for a program that does not read. */
enum { VSOCK_SOCKETS = 512, VSOCK_STORE = 128 << 10 };
#define VSOCK_ANY_PORT UINT32_MAX

enum vsocket_state {
    VSOCKET_FREE,
    VSOCKET_ASKING,    /* a program that has not said yet what it wants */
    VSOCKET_LISTENING, /* a program that waits for the guest's connections to host_port */
    VSOCKET_CALLING,   /* the guest is asked to connect */
    VSOCKET_OPEN,
    VSOCKET_LINGERING /* the guest is done with it; the program gets what is left */
};

struct vsocket {
    enum vsocket_state state;
    int                descriptor;
    uint32_t           guest_port, host_port;
    uint8_t            owed;                    /* packets to be sent to the guest, a bit for each operation */
    uint8_t            guest_ended, host_ended; /* VIRTIO_VSOCK_SHUTDOWN_… that they said */
    bool               readable;                /* there may be data, or the end of it */

    /* From the guest: what the program did not take yet is in a ring. */
    uint8_t *store;
    uint32_t start, stored;
    uint32_t received, forwarded; /* bytes, all in all */
    uint32_t told;                /* of forwarded, to the guest */

    /* To the guest. */
    uint32_t sent;
    uint32_t guest_room, guest_forwarded; /* as it says */
    bool     has_asked;                   /* for more room */
};

/* --- vsock.c --- */
/* What there is to say to the guest is said before the lock is let go of. */
void vsock_lock(void);
void vsock_unlock(void);
/* Whether the guest has a driver. */
bool vsock_is_up(void);

/* --- vsockets.c --- */
void vsockets_init(uint64_t cid);
/* The guest, or its driver, starts anew. */
void vsockets_reset(void);
/* A packet of the guest's, whose data follows the header in the chain. Only while there is room for answers. */
void vsockets_take(const struct virtio_vsock_hdr *header, const struct virtqueue_chain *chain);
bool vsockets_may_take(void);
/* The next packet for the guest, its data in the chain behind the header already; false: there is none after all. */
bool vsockets_give(struct virtio_vsock_hdr *header, const struct virtqueue_chain *chain);
bool vsockets_have_packets(void);
/* Whether one more would find a place. */
bool            vsockets_have_room(void);
struct vsocket *vsockets_find_listener(uint32_t port);
/* Takes the descriptor; NULL when it cannot be watched, and closes it. */
struct vsocket *vsocket_new(int descriptor);
void            vsocket_free(struct vsocket *socket);
/* Asks the guest to connect. */
void vsocket_call(struct vsocket *socket, uint32_t guest_port);
/* The guest has asked, and there is a program. */
void vsocket_open(struct vsocket *socket, uint32_t guest_port, uint32_t host_port);

/* It may have something to say to the guest; and it has this operation to say. */
void vsocket_want(const struct vsocket *socket);
void vsocket_owe(struct vsocket *socket, unsigned operation);
/* "There is no such connection" is to be said, whatever becomes of the socket. */
void vsocket_owe_reset(const struct vsocket *socket);
/* The guest does not know it any more, and may use its ports again. */
void vsocket_forget(struct vsocket *socket);

/* --- vsockstream.c --- */
/* What the guest said within a connection; false: it makes no sense there. */
bool vsocket_obey(struct vsocket *socket, const struct virtio_vsock_hdr *header, const struct virtqueue_chain *chain);
void vsocket_learn_room(struct vsocket *socket, const struct virtio_vsock_hdr *header);
/* The guest knows of no such connection, though what it sent before is the program's. */
void vsocket_reset_by_guest(struct vsocket *socket);
/* The next packet, but for its addresses; false: there is none. */
bool vsocket_next(struct vsocket *socket, struct virtio_vsock_hdr *header, const struct virtqueue_chain *chain);
/* The program has read or written something, or is gone. */
void vsocket_ready(struct vsocket *socket, bool is_gone);
/* All is said to the guest, which has to say that it knows. It may never do so, and that shall not matter. */
bool vsocket_is_over(const struct vsocket *socket);
/* Which ends there are by now, as poll() names them. */
short vsocket_look(const struct vsocket *socket);

/* --- vsockhost.c --- */
bool vsockhost_init(int listener);
/* A program wrote something before it has a stream, and may be to write no more. */
void vsockhost_hear(struct vsocket *socket, bool is_ending);
/* A program listens at the port and got the other end: the socket, or NULL. */
struct vsocket *vsockhost_offer(uint32_t host_port, uint32_t guest_port);
/* A line to a program; false when it is gone or does not read. */
bool vsockhost_say(const struct vsocket *socket, const char *word, uint32_t port, int descriptor);
/* There is a place again. */
void vsockhost_resume(void);
