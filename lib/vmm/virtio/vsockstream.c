/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One stream between the guest and a program. Each side says how much the other may send, so that a stream that
 * nobody reads stops alone; each may end either half, and what was sent before arrives.
 */
#include "vsockets.h"
#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum {
    HEADER = sizeof(struct virtio_vsock_hdr),
    BOTH = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND,
    ENDED = POLLHUP | POLLERR,
    MOST_AT_ONCE = 64 << 10
};

bool vsocket_is_over(const struct vsocket *socket)
{
    return socket->state == VSOCKET_OPEN && socket->host_ended == BOTH &&
           !(socket->owed & 1u << VIRTIO_VSOCK_OP_SHUTDOWN);
}

/* The guest has no such connection any more, and may have another of the same ports. */
static void linger(struct vsocket *socket)
{
    vsocket_forget(socket);
    socket->state = VSOCKET_LINGERING;
    socket->owed = 0;
    if (!socket->stored)
        vsocket_free(socket);
}

/* --- from the guest to the program --- */

static void hang(struct vsocket *socket);

/* As the guest has it: all that it may still send fits into the store. */
static uint32_t room(const struct vsocket *socket)
{
    return VSOCK_STORE - (socket->received - socket->forwarded);
}

static void forward(struct vsocket *socket, uint32_t count)
{
    socket->forwarded += count;
    if (socket->state == VSOCKET_OPEN && socket->forwarded - socket->told >= VSOCK_STORE / 2)
        vsocket_owe(socket, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
}

/* How many bytes the program's socket took; negative: there is nobody any more. */
static ssize_t send_parts(const struct vsocket *socket, struct iovec *parts, unsigned count)
{
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    const ssize_t       sent = sendmsg(socket->descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

    return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
}

static void flush(struct vsocket *socket)
{
    while (socket->stored) {
        const uint32_t to_end = VSOCK_STORE - socket->start;
        const uint32_t length = socket->stored < to_end ? socket->stored : to_end;
        struct iovec   part = {socket->store + socket->start, length};
        const ssize_t  sent = send_parts(socket, &part, 1);

        if (sent < 0)
            hang(socket);
        if (sent <= 0)
            return;
        socket->start = (socket->start + (uint32_t)sent) % VSOCK_STORE;
        socket->stored -= (uint32_t)sent;
        forward(socket, (uint32_t)sent);
    }
    if (socket->state == VSOCKET_LINGERING)
        vsocket_free(socket);
    else if (socket->guest_ended & VIRTIO_VSOCK_SHUTDOWN_SEND)
        shutdown(socket->descriptor, SHUT_WR);
}

/* What the guest does not want to hear is over, too. */
static void end_by_host(struct vsocket *socket, uint8_t halves)
{
    const uint8_t before = socket->host_ended;

    socket->host_ended |= halves;
    if (socket->host_ended & VIRTIO_VSOCK_SHUTDOWN_RCV && socket->guest_ended & VIRTIO_VSOCK_SHUTDOWN_RCV)
        socket->host_ended = BOTH;
    if (socket->host_ended != before)
        vsocket_owe(socket, VIRTIO_VSOCK_OP_SHUTDOWN);
}

/* The program is gone, though it may have left data to be read. */
static void hang(struct vsocket *socket)
{
    if (socket->state == VSOCKET_LINGERING) {
        vsocket_free(socket);
        return;
    }
    forward(socket, socket->stored);
    socket->stored = 0;
    socket->readable = true;
    end_by_host(socket, VIRTIO_VSOCK_SHUTDOWN_RCV);
}

/* The parts of a chain, without so many bytes at its begin, and so many at most. */
static unsigned cut(const struct iovec *parts, unsigned count, size_t skip, size_t length, struct iovec *piece)
{
    unsigned pieces = 0;

    for (unsigned i = 0; i < count && length; i++) {
        const size_t omitted = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        const size_t left = parts[i].iov_len - omitted;

        skip -= omitted;
        if (!left)
            continue;
        piece[pieces++] = (struct iovec){(uint8_t *)parts[i].iov_base + omitted, left < length ? left : length};
        length -= piece[pieces - 1].iov_len;
    }
    return pieces;
}

/* What the program did not take now; the store has room for it. */
static bool keep(struct vsocket *socket, const struct iovec *parts, unsigned count)
{
    if (!socket->store) {
        void *store =
            mmap(NULL, VSOCK_STORE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (store == MAP_FAILED)
            return false;
        socket->store = store;
    }
    for (unsigned i = 0; i < count; i++) {
        const uint32_t end = (socket->start + socket->stored) % VSOCK_STORE;
        const uint32_t length = (uint32_t)parts[i].iov_len;
        const uint32_t before = length < VSOCK_STORE - end ? length : VSOCK_STORE - end;

        memcpy(socket->store + end, parts[i].iov_base, before);
        memcpy(socket->store, (const uint8_t *)parts[i].iov_base + before, length - before);
        socket->stored += length;
    }
    return true;
}

/* false: the guest sent what it must not. */
static bool receive(struct vsocket *socket, uint32_t length, const struct virtqueue_chain *chain)
{
    static struct iovec pieces[VIRTQUEUE_SIZE], rest[VIRTQUEUE_SIZE];
    const unsigned      count = cut(chain->parts, chain->readable, HEADER, length, pieces);
    ssize_t             sent = 0;

    if (length > room(socket) || socket->guest_ended & VIRTIO_VSOCK_SHUTDOWN_SEND)
        return false;
    socket->received += length;
    if (!socket->stored && !(socket->host_ended & VIRTIO_VSOCK_SHUTDOWN_RCV)) {
        sent = length ? send_parts(socket, pieces, count) : 0;
        if (sent < 0)
            hang(socket);
    }
    if (socket->host_ended & VIRTIO_VSOCK_SHUTDOWN_RCV) { /* nobody misses it */
        forward(socket, length);
        return true;
    }
    forward(socket, (uint32_t)sent);
    return sent == length || keep(socket, rest, cut(pieces, count, (size_t)sent, length, rest));
}

/* --- from the program to the guest --- */

short vsocket_look(const struct vsocket *socket)
{
    struct pollfd look = {.fd = socket->descriptor, .events = POLLRDHUP};

    poll(&look, 1, 0);
    return look.revents;
}

static uint32_t guest_room(const struct vsocket *socket)
{
    const uint32_t under_way = socket->sent - socket->guest_forwarded;

    return under_way < socket->guest_room ? socket->guest_room - under_way : 0;
}

/* Into the chain behind the header; 0: there is nothing, or an end. */
static uint32_t read_into(struct vsocket *socket, const struct virtqueue_chain *chain)
{
    static struct iovec pieces[VIRTQUEUE_SIZE];
    const uint32_t      most = guest_room(socket) < MOST_AT_ONCE ? guest_room(socket) : MOST_AT_ONCE;
    struct msghdr       message = {.msg_iov = pieces};
    ssize_t             got;

    message.msg_iovlen = cut(chain->parts + chain->readable, chain->writable, HEADER, most, pieces);
    if (!message.msg_iovlen)
        return 0;
    got = recvmsg(socket->descriptor, &message, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        socket->readable = errno == EINTR;
    else if (got <= 0)
        end_by_host(socket, vsocket_look(socket) & ENDED ? BOTH : VIRTIO_VSOCK_SHUTDOWN_SEND);
    socket->sent += got > 0 ? (uint32_t)got : 0;
    return got > 0 ? (uint32_t)got : 0;
}

static bool has_data(const struct vsocket *socket)
{
    return socket->state == VSOCKET_OPEN && socket->readable && !(socket->host_ended & VIRTIO_VSOCK_SHUTDOWN_SEND) &&
           !(socket->guest_ended & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

/* What it has to say next; VIRTIO_VSOCK_OP_INVALID: nothing. The end comes after the data before it. */
static unsigned next_operation(struct vsocket *socket)
{
    const unsigned end = 1u << VIRTIO_VSOCK_OP_SHUTDOWN;

    if (has_data(socket) && !guest_room(socket) && !socket->has_asked) {
        socket->owed |= 1u << VIRTIO_VSOCK_OP_CREDIT_REQUEST;
        socket->has_asked = true;
    }
    if (socket->owed & ~end)
        return (unsigned)__builtin_ctz(socket->owed & ~end);
    if (has_data(socket))
        return guest_room(socket) ? VIRTIO_VSOCK_OP_RW : VIRTIO_VSOCK_OP_INVALID;
    return socket->owed ? VIRTIO_VSOCK_OP_SHUTDOWN : VIRTIO_VSOCK_OP_INVALID;
}

bool vsocket_next(struct vsocket *socket, struct virtio_vsock_hdr *header, const struct virtqueue_chain *chain)
{
    uint32_t length = 0;
    unsigned operation;

    do {
        operation = next_operation(socket);
        if (operation == VIRTIO_VSOCK_OP_INVALID)
            return false;
        if (operation == VIRTIO_VSOCK_OP_RW)
            length = read_into(socket, chain);
    } while (operation == VIRTIO_VSOCK_OP_RW && !length);
    *header = (struct virtio_vsock_hdr){.len = length,
                                        .op = (uint16_t)operation,
                                        .flags = operation == VIRTIO_VSOCK_OP_SHUTDOWN ? socket->host_ended : 0,
                                        .buf_alloc = VSOCK_STORE,
                                        .fwd_cnt = socket->forwarded};
    /* Each packet says how much there is room for. */
    socket->owed &= (uint8_t) ~(1u << operation | 1u << VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    socket->told = socket->forwarded;
    if (vsocket_is_over(socket))
        vsockhost_resume();
    return true;
}

/* --- what the guest says --- */

void vsocket_learn_room(struct vsocket *socket, const struct virtio_vsock_hdr *header)
{
    socket->guest_room = header->buf_alloc;
    socket->guest_forwarded = header->fwd_cnt;
    if (!guest_room(socket))
        return;
    socket->has_asked = false;
    vsocket_want(socket);
}

static void end_by_guest(struct vsocket *socket, uint32_t flags)
{
    socket->guest_ended |= (uint8_t)(flags & BOTH);
    if (socket->guest_ended == BOTH) {
        vsocket_owe_reset(socket);
        linger(socket);
        return;
    }
    end_by_host(socket, 0);
    if (socket->guest_ended & VIRTIO_VSOCK_SHUTDOWN_RCV)
        shutdown(socket->descriptor, SHUT_RD);
    else if (socket->guest_ended && !socket->stored)
        shutdown(socket->descriptor, SHUT_WR);
}

void vsocket_reset_by_guest(struct vsocket *socket)
{
    if (socket->state == VSOCKET_OPEN && socket->guest_ended & VIRTIO_VSOCK_SHUTDOWN_SEND)
        linger(socket);
    else
        vsocket_free(socket);
}

static void answered(struct vsocket *socket)
{
    socket->state = VSOCKET_OPEN;
    if (vsockhost_say(socket, "OK", socket->host_port, -1))
        vsocket_want(socket);
    else
        hang(socket);
}

bool vsocket_obey(struct vsocket *socket, const struct virtio_vsock_hdr *header, const struct virtqueue_chain *chain)
{
    const bool is_open = socket->state == VSOCKET_OPEN;

    vsocket_learn_room(socket, header);
    switch (header->op) {
    case VIRTIO_VSOCK_OP_RESPONSE:
        if (!is_open)
            answered(socket);
        return !is_open;
    case VIRTIO_VSOCK_OP_RW:
        return is_open && receive(socket, header->len, chain);
    case VIRTIO_VSOCK_OP_SHUTDOWN:
        if (is_open)
            end_by_guest(socket, header->flags);
        return is_open;
    case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
        return is_open;
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        vsocket_owe(socket, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
        return is_open;
    default:
        return false;
    }
}

/* --- what the program does --- */

void vsocket_ready(struct vsocket *socket, bool is_gone)
{
    if (socket->state == VSOCKET_OPEN) {
        socket->readable = true;
        vsocket_want(socket);
    }
    if (is_gone)
        hang(socket);
    else
        flush(socket);
}
