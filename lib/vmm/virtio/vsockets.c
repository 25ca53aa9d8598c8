/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All sockets of the device, and whose turn it is. They are watched for edges: what one can do is remembered and
 * tried, and nobody waits.
 */
#include "vsockets.h"
#include "../loop.h"
#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HEADER = sizeof(struct virtio_vsock_hdr),
    ENDED = POLLHUP | POLLERR,
    WORD = 64,
    /* Beyond the first limit no more of the guest is taken; each socket may have one to say all the same. */
    RESETS_LIMIT = 256,
    RESETS = RESETS_LIMIT + VSOCK_SOCKETS,
    FIRST_HOST_PORT = 1 << 30 /* of those that connections from the host get; programs listen below */
};

/* "There is no such connection", to be said of this one. */
struct reset {
    uint64_t cid; /* that the guest meant */
    uint32_t guest_port, host_port;
    uint16_t type;
};

static uint64_t       guest_cid;
static struct vsocket sockets[VSOCK_SOCKETS];
/* Both ports of those that the guest knows, or NO_KEY: no connection has the port that means any. */
static uint64_t keys[VSOCK_SOCKETS];
#define NO_KEY UINT64_MAX
/* A bit for each socket that may have a packet for the guest, and whose turn it was last. */
static uint64_t     wanting[VSOCK_SOCKETS / WORD];
static unsigned     turn;
static struct reset resets[RESETS];
static unsigned     first_reset, reset_count;
static uint32_t     last_host_port = FIRST_HOST_PORT - 1;

static unsigned index_of(const struct vsocket *socket)
{
    return (unsigned)(socket - sockets);
}

static uint64_t key_of(uint32_t guest_port, uint32_t host_port)
{
    return (uint64_t)host_port << 32 | guest_port;
}

static struct vsocket *find(uint32_t guest_port, uint32_t host_port)
{
    const uint64_t key = key_of(guest_port, host_port);

    for (unsigned i = 0; i < VSOCK_SOCKETS; i++) {
        if (keys[i] == key && key != NO_KEY)
            return &sockets[i];
    }
    return NULL;
}

struct vsocket *vsockets_find_listener(uint32_t port)
{
    for (unsigned i = 0; i < VSOCK_SOCKETS; i++) {
        if (sockets[i].state == VSOCKET_LISTENING && sockets[i].host_port == port)
            return &sockets[i];
    }
    return NULL;
}

/* It may have something to say. */
void vsocket_want(const struct vsocket *socket)
{
    wanting[index_of(socket) / WORD] |= UINT64_C(1) << index_of(socket) % WORD;
}

void vsocket_owe(struct vsocket *socket, unsigned operation)
{
    socket->owed |= (uint8_t)(1u << operation);
    vsocket_want(socket);
}

static void add_reset(uint64_t cid, uint32_t guest_port, uint32_t host_port, uint16_t type)
{
    if (reset_count < RESETS)
        resets[(first_reset + reset_count++) % RESETS] = (struct reset){cid, guest_port, host_port, type};
}

/* --- coming and going --- */

void vsocket_free(struct vsocket *socket)
{
    loop_remove(socket->descriptor);
    close(socket->descriptor);
    if (socket->store)
        munmap(socket->store, VSOCK_STORE);
    *socket = (struct vsocket){.state = VSOCKET_FREE};
    keys[index_of(socket)] = NO_KEY;
    vsockhost_resume();
}

void vsocket_forget(struct vsocket *socket)
{
    keys[index_of(socket)] = NO_KEY;
}

void vsocket_owe_reset(const struct vsocket *socket)
{
    add_reset(VMADDR_CID_HOST, socket->guest_port, socket->host_port, VIRTIO_VSOCK_TYPE_STREAM);
}

/* The guest forgets the connection, too. */
static void drop(struct vsocket *socket)
{
    vsocket_owe_reset(socket);
    vsocket_free(socket);
}

static struct vsocket *find_place(void)
{
    for (unsigned i = 0; i < VSOCK_SOCKETS; i++) {
        if (sockets[i].state == VSOCKET_FREE)
            return &sockets[i];
    }
    for (unsigned i = 0; i < VSOCK_SOCKETS; i++) {
        if (vsocket_is_over(&sockets[i]))
            return &sockets[i];
    }
    return NULL;
}

bool vsockets_have_room(void)
{
    return find_place() != NULL;
}

void vsockets_init(uint64_t cid)
{
    guest_cid = cid;
    memset(keys, 0xff, sizeof(keys));
}

void vsockets_reset(void)
{
    for (unsigned i = 0; i < VSOCK_SOCKETS; i++) {
        if (sockets[i].state == VSOCKET_CALLING || sockets[i].state == VSOCKET_OPEN)
            vsocket_free(&sockets[i]);
    }
    reset_count = 0;
}

static struct vsocket *next_in_turn(void)
{
    for (unsigned i = 1; i <= VSOCK_SOCKETS; i++) {
        const unsigned index = (turn + i) % VSOCK_SOCKETS;

        if (!wanting[index / WORD]) {
            i += WORD - 1 - index % WORD;
        } else if (wanting[index / WORD] >> index % WORD & 1) {
            turn = index;
            return &sockets[index];
        }
    }
    return NULL;
}

bool vsockets_have_packets(void)
{
    uint64_t any = reset_count;

    for (unsigned i = 0; i < VSOCK_SOCKETS / WORD; i++)
        any |= wanting[i];
    return any != 0;
}

static void give_reset(struct virtio_vsock_hdr *header)
{
    const struct reset *reset = &resets[first_reset];

    *header = (struct virtio_vsock_hdr){.src_cid = reset->cid,
                                        .dst_cid = guest_cid,
                                        .src_port = reset->host_port,
                                        .dst_port = reset->guest_port,
                                        .type = reset->type,
                                        .op = VIRTIO_VSOCK_OP_RST};
    first_reset = (first_reset + 1) % RESETS;
    reset_count--;
}

bool vsockets_give(struct virtio_vsock_hdr *header, const struct virtqueue_chain *chain)
{
    struct vsocket *socket;

    if (reset_count) {
        give_reset(header);
        return true;
    }
    while ((socket = next_in_turn())) {
        if (!vsocket_next(socket, header, chain)) {
            wanting[turn / WORD] &= ~(UINT64_C(1) << turn % WORD);
            continue;
        }
        header->src_cid = VMADDR_CID_HOST;
        header->dst_cid = guest_cid;
        header->src_port = socket->host_port;
        header->dst_port = socket->guest_port;
        header->type = VIRTIO_VSOCK_TYPE_STREAM;
        return true;
    }
    return false;
}

/* --- what the guest says --- */

static void refuse(const struct virtio_vsock_hdr *header)
{
    add_reset(header->dst_cid, header->src_port, header->dst_port, header->type);
}

/* It wants a connection, and there may be a program that waits for it. */
static void connect_from(const struct virtio_vsock_hdr *header)
{
    struct vsocket *socket = NULL;

    if (header->op == VIRTIO_VSOCK_OP_REQUEST && header->src_port != VSOCK_ANY_PORT)
        socket = vsockhost_offer(header->dst_port, header->src_port);
    if (socket)
        vsocket_learn_room(socket, header);
    else
        refuse(header);
}

void vsockets_take(const struct virtio_vsock_hdr *header, const struct virtqueue_chain *chain)
{
    const bool      is_ours = header->dst_cid == VMADDR_CID_HOST && header->type == VIRTIO_VSOCK_TYPE_STREAM;
    struct vsocket *socket = is_ours ? find(header->src_port, header->dst_port) : NULL;

    if (header->src_cid != guest_cid)
        return; /* from nobody who could be answered */
    if (header->op == VIRTIO_VSOCK_OP_RST) {
        if (socket)
            vsocket_reset_by_guest(socket);
    } else if (!is_ours) {
        refuse(header);
    } else if (!socket) {
        connect_from(header);
    } else if (header->len > chain->readable_bytes - HEADER || !vsocket_obey(socket, header, chain)) {
        drop(socket);
    }
}

bool vsockets_may_take(void)
{
    return reset_count < RESETS_LIMIT;
}

/* --- what the program does --- */

/* The guest hears of it only if it was asked already. */
static void on_call(struct vsocket *socket, bool is_gone)
{
    socket->readable = true;
    if (is_gone && socket->owed & 1u << VIRTIO_VSOCK_OP_REQUEST)
        vsocket_free(socket);
    else if (is_gone)
        drop(socket);
}

static void on_socket(void *data, uint32_t events)
{
    struct vsocket *socket = data;
    short           ends = 0;
    bool            is_gone;

    vsock_lock();
    /* What the loop saw may be of an earlier socket that had this number. */
    if (socket->state != VSOCKET_FREE && events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        ends = vsocket_look(socket);
    is_gone = ends & ENDED;
    switch (socket->state) {
    case VSOCKET_FREE:
        break;
    case VSOCKET_ASKING:
    case VSOCKET_LISTENING:
        if (is_gone)
            vsocket_free(socket);
        else
            vsockhost_hear(socket, ends != 0);
        break;
    case VSOCKET_CALLING:
        on_call(socket, is_gone);
        break;
    case VSOCKET_OPEN:
    case VSOCKET_LINGERING:
        vsocket_ready(socket, is_gone);
        break;
    }
    vsock_unlock();
}

struct vsocket *vsocket_new(int descriptor)
{
    struct vsocket *socket = find_place();

    if (socket && socket->state != VSOCKET_FREE)
        drop(socket);
    if (socket) {
        *socket = (struct vsocket){.state = VSOCKET_ASKING, .descriptor = descriptor};
        if (loop_add(descriptor, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, on_socket, socket))
            return socket;
        *socket = (struct vsocket){.state = VSOCKET_FREE};
    }
    close(descriptor);
    return NULL;
}

static bool has_host_port(uint32_t port)
{
    for (unsigned i = 0; i < VSOCK_SOCKETS; i++) {
        if (sockets[i].state != VSOCKET_FREE && sockets[i].host_port == port)
            return true;
    }
    return false;
}

static void connected(struct vsocket *socket, enum vsocket_state state, uint32_t guest_port, uint32_t host_port)
{
    socket->state = state;
    socket->guest_port = guest_port;
    socket->host_port = host_port;
    keys[index_of(socket)] = key_of(guest_port, host_port);
}

void vsocket_call(struct vsocket *socket, uint32_t guest_port)
{
    do {
        last_host_port = last_host_port + 1 < FIRST_HOST_PORT * 2u ? last_host_port + 1 : FIRST_HOST_PORT;
    } while (has_host_port(last_host_port));
    connected(socket, VSOCKET_CALLING, guest_port, last_host_port);
    vsocket_owe(socket, VIRTIO_VSOCK_OP_REQUEST);
}

void vsocket_open(struct vsocket *socket, uint32_t guest_port, uint32_t host_port)
{
    connected(socket, VSOCKET_OPEN, guest_port, host_port);
    vsocket_owe(socket, VIRTIO_VSOCK_OP_RESPONSE);
}
