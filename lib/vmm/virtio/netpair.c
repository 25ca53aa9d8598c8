/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tap takes and gives packets with virtio's header; a stream has each packet after its length, and no header. What
 * there is no room for is dropped, as a wire would. What the limits hold back stays where it is.
 */
#include "netpair.h"
#include "sandbox.h"
#include <arpa/inet.h>
#include <poll.h>
#include <stddef.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

enum {
    HEADER = NETPAIR_HEADER,
    LENGTH = sizeof(uint32_t), /* before each packet of a stream */
    CHAINS = 64,               /* that one packet may be spread over */
    AT_ONCE = 256
};

static void count(struct netpair *pair, unsigned what, uint64_t amount)
{
    if (*pair->line)
        __atomic_fetch_add(&(*pair->line)->values[what], amount, __ATOMIC_RELAXED);
}

static unsigned number(const struct netpair *pair, unsigned which)
{
    return pair->index * NETPAIR_QUEUES + which;
}

static struct virtqueue *queue_of(struct netpair *pair, unsigned which)
{
    return &pair->device->queues[number(pair, which)];
}

static void tell(struct netpair *pair, unsigned which)
{
    if (virtqueue_must_tell(queue_of(pair, which)))
        pair->device->interrupt(pair->device, (int)number(pair, which));
}

/* The limits count what the guest sees of a packet. */
static bool may_go(struct netpair *pair, unsigned which, uint64_t size)
{
    const unsigned direction = which == NETPAIR_RX ? WIRE_IN : WIRE_OUT;
    struct gate   *gate = &pair->gates[which];
    uint64_t       amounts[LIMITER_RATES] = {0};

    if (!gate_is_guarded(gate))
        return true;
    amounts[direction] = size > HEADER ? size - HEADER : 0;
    if (!gate_pass(gate, amounts, rate_clock()))
        return false;
    vm_count_stalled(pair->device->vm, *pair->line, direction, gate->waited);
    return true;
}

/* --- from the guest --- */

/* To a tap as it is, its header first. */
static bool send_to_tap(struct netpair *pair)
{
    const struct virtqueue_chain *chain = &pair->chains[NETPAIR_TX];

    return writev(pair->descriptor, chain->parts, (int)chain->readable) >= 0;
}

/* To a stream after its length, and without the header. */
static bool send_to_stream(struct netpair *pair)
{
    const struct virtqueue_chain *chain = &pair->chains[NETPAIR_TX];
    uint8_t                       bytes[HEADER];
    const uint32_t                length = htonl((uint32_t)(chain->readable_bytes - HEADER));
    size_t                        at = LENGTH;
    size_t                        skip = virtqueue_chain_read(chain, bytes, HEADER);

    memcpy(pair->out.bytes, &length, LENGTH);
    for (unsigned i = 0; i < chain->readable; i++) {
        const struct iovec *part = &chain->parts[i];
        const size_t        omitted = skip < part->iov_len ? skip : part->iov_len;

        memcpy(pair->out.bytes + at, (uint8_t *)part->iov_base + omitted, part->iov_len - omitted);
        at += part->iov_len - omitted;
        skip -= omitted;
    }
    pair->out.size = at;
    pair->out.done = 0;
    return true;
}

/* What a stream has not taken yet; false when it is full. */
static bool flush(struct netpair *pair)
{
    while (pair->out.done < pair->out.size) {
        const ssize_t sent = send(pair->descriptor, pair->out.bytes + pair->out.done, pair->out.size - pair->out.done,
                                  MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        /* To a peer that is gone, packets go nowhere. */
        pair->out.done = sent < 0 ? pair->out.size : pair->out.done + (size_t)sent;
    }
    return true;
}

static void send_one(struct netpair *pair)
{
    const uint64_t size = pair->chains[NETPAIR_TX].readable_bytes;
    bool           sent = false;

    if (size > HEADER && size <= NETPAIR_PACKET - LENGTH)
        sent = pair->kind == WIRE_NIC_TAP ? send_to_tap(pair) : send_to_stream(pair);
    count(pair, sent ? WIRE_NIC_TX_PACKETS : WIRE_NIC_TX_DROPS, 1);
    if (sent)
        count(pair, WIRE_NIC_TX_BYTES, size - HEADER);
}

/* The next that the guest wants to send, or the one that waits; false: there is none. */
static bool take_out(struct netpair *pair)
{
    struct virtqueue *queue = queue_of(pair, NETPAIR_TX);

    if (pair->is_held || virtqueue_pop(queue, &pair->chains[NETPAIR_TX]))
        return true;
    gate_rest(&pair->gates[NETPAIR_TX]);
    return virtqueue_ask(queue, true) && virtqueue_pop(queue, &pair->chains[NETPAIR_TX]);
}

static void transmit(struct netpair *pair)
{
    struct virtqueue *queue = queue_of(pair, NETPAIR_TX);
    unsigned          left = AT_ONCE;

    while (left && flush(pair) && take_out(pair)) {
        pair->is_held = !may_go(pair, NETPAIR_TX, pair->chains[NETPAIR_TX].readable_bytes);
        if (pair->is_held) {
            virtqueue_ask(queue, false); /* what comes behind it cannot go either */
            break;
        }
        send_one(pair);
        virtqueue_push(queue, pair->chains[NETPAIR_TX].head, 0);
        left--;
    }
    if (!left)
        virtio_kick(pair->device, number(pair, NETPAIR_TX)); /* the other direction has its turn first */
    tell(pair, NETPAIR_TX);
}

/* As if the guest had not offered it yet. */
static void put_back_held(struct netpair *pair)
{
    gate_cancel(&pair->gates[NETPAIR_RX]);
    gate_cancel(&pair->gates[NETPAIR_TX]);
    if (pair->is_held)
        virtqueue_unpop(queue_of(pair, NETPAIR_TX));
    pair->is_held = false;
}

/* --- to the guest --- */

static bool receive_from_tap(struct netpair *pair)
{
    const ssize_t got = read(pair->descriptor, pair->in.bytes, sizeof(pair->in.bytes));

    if (got < 0 && errno == EBADFD)
        pair->check_lost(pair->device);
    pair->in.size = got > (ssize_t)HEADER ? (size_t)got : 0;
    return pair->in.size > 0;
}

/* Reads as much as is missing of the length, then of the packet. true when it is complete. */
static bool receive_from_stream(struct netpair *pair)
{
    for (;;) {
        const bool    has_length = pair->in.done >= LENGTH;
        const size_t  goal = has_length ? LENGTH + pair->expected : LENGTH;
        uint8_t      *place = pair->in.bytes + HEADER - LENGTH + pair->in.done;
        const ssize_t got = recv(pair->descriptor, place, goal - pair->in.done, MSG_DONTWAIT);

        if (got <= 0) {
            if (got == 0 || (errno != EAGAIN && errno != EINTR))
                pair->check_lost(pair->device);
            return false;
        }
        pair->in.done += (size_t)got;
        if (pair->in.done < goal)
            continue;
        if (has_length) {
            pair->in.size = HEADER + pair->expected;
            pair->in.done = 0;
            memset(pair->in.bytes, 0, HEADER);
            return true;
        }
        memcpy(&pair->expected, pair->in.bytes + HEADER - LENGTH, LENGTH);
        pair->expected = ntohl(pair->expected);
        if (!pair->expected || pair->expected > NETPAIR_PACKET - HEADER) {
            pair->check_lost(pair->device); /* nothing that follows makes sense */
            return false;
        }
    }
}

static bool receive(struct netpair *pair)
{
    bool is_there = pair->in.size > 0; /* one that the limits held back, or that the guest had no room for */

    if (is_there)
        return true;
    if (!*pair->is_lost)
        is_there = pair->kind == WIRE_NIC_TAP ? receive_from_tap(pair) : receive_from_stream(pair);
    pair->in.is_paid = false;
    if (!is_there)
        gate_rest(&pair->gates[NETPAIR_RX]);
    return is_there;
}

static bool is_let_in(struct netpair *pair)
{
    pair->in.is_paid = pair->in.is_paid || may_go(pair, NETPAIR_RX, pair->in.size);
    return pair->in.is_paid;
}

/* Writes the packet into one chain or, where the driver merges them, into several. false: there are too few. */
static bool deliver(struct netpair *pair)
{
    struct virtqueue       *queue = queue_of(pair, NETPAIR_RX);
    struct virtqueue_chain *chain = &pair->chains[NETPAIR_RX];
    const bool              merges = pair->device->accepted >> VIRTIO_NET_F_MRG_RXBUF & 1;
    const uint16_t          available = queue->next_available;
    uint16_t                heads[CHAINS];
    uint32_t                sizes[CHAINS];
    uint16_t                used = 0;
    size_t                  done = 0;
    uint8_t                *where = NULL; /* of the number of chains, which is known at the end */

    while (done < pair->in.size && used < (merges ? CHAINS : 1) && virtqueue_pop(queue, chain)) {
        if (!used && chain->writable && chain->parts[chain->readable].iov_len >= HEADER)
            where = chain->parts[chain->readable].iov_base;
        heads[used] = chain->head;
        sizes[used] = (uint32_t)virtqueue_chain_write(chain, pair->in.bytes + done, pair->in.size - done);
        done += sizes[used++];
    }
    if (done < pair->in.size && !queue->broken && used < (merges ? CHAINS : 1)) {
        queue->next_available = available; /* all of them are offered again with more */
        return false;
    }
    if (where)
        memcpy(where + offsetof(struct virtio_net_hdr_v1, num_buffers), &used, sizeof(used));
    for (uint16_t i = 0; i < used; i++)
        virtqueue_push(queue, heads[i], sizes[i]);
    count(pair, done == pair->in.size ? WIRE_NIC_RX_PACKETS : WIRE_NIC_RX_DROPS, 1);
    if (done == pair->in.size)
        count(pair, WIRE_NIC_RX_BYTES, pair->in.size - HEADER);
    pair->in.size = 0;
    return true;
}

/* true: packets wait outside, and the guest has room. */
static bool fill(struct netpair *pair)
{
    struct virtqueue *queue = queue_of(pair, NETPAIR_RX);
    unsigned          left = AT_ONCE;
    bool              has_room = true;

    while (left && has_room && !queue->broken && receive(pair) && is_let_in(pair)) {
        has_room = deliver(pair) || (virtqueue_ask(queue, true) && deliver(pair));
        left--;
    }
    tell(pair, NETPAIR_RX);
    return has_room;
}

/* --- the thread --- */

enum { OUTSIDE, KICK_RX, KICK_TX, KICK_CONTROL, TIMER, WAITS };

static void drain(int eventfd)
{
    uint64_t value;

    if (read(eventfd, &value, sizeof(value)) < 0)
        return;
}

/* When the first of those that wait at a gate may go; 0: none waits. */
static uint64_t next_opening(const struct netpair *pair)
{
    uint64_t next = 0;

    for (unsigned i = 0; i < NETPAIR_QUEUES; i++) {
        const struct gate *gate = &pair->gates[i];

        if (gate->is_waiting && (!next || gate->opens < next))
            next = gate->opens;
    }
    return next;
}

/* What is waited for outside. A descriptor that is asked nothing, or is lost, would tell errors for ever. */
static void choose_waits(struct netpair *pair, struct pollfd *waits, bool has_room)
{
    const bool     takes = has_room && !pair->gates[NETPAIR_RX].is_waiting;
    const uint64_t opening = next_opening(pair);
    short          events = 0;

    if (pair->is_active)
        events = (short)((takes ? POLLIN : 0) | (pair->out.done < pair->out.size ? POLLOUT : 0));
    waits[OUTSIDE].events = events;
    waits[OUTSIDE].fd = events && !*pair->is_lost ? pair->descriptor : -1;
    waits[TIMER].fd = opening ? pair->timer : -1;
    if (opening)
        rate_alarm(pair->timer, opening);
}

/* false: a queue makes no sense. */
static bool serve_once(struct netpair *pair, bool *has_room)
{
    if (pair->control >= 0)
        pair->serve_control(pair->device);
    if (pair->is_active) {
        *has_room = fill(pair);
        transmit(pair);
    }
    return !queue_of(pair, NETPAIR_RX)->broken && !queue_of(pair, NETPAIR_TX)->broken &&
           (pair->control < 0 || !pair->device->queues[pair->control].broken);
}

static void *serve(void *data)
{
    struct netpair *pair = data;
    const int      *kicks = pair->device->kicks;
    struct pollfd   waits[WAITS] = {
          [KICK_RX] = {.fd = kicks[number(pair, NETPAIR_RX)], .events = POLLIN},
          [KICK_TX] = {.fd = kicks[number(pair, NETPAIR_TX)], .events = POLLIN},
          [KICK_CONTROL] = {.fd = pair->control < 0 ? -1 : kicks[pair->control], .events = POLLIN},
          [TIMER] = {.events = POLLIN},
    };
    bool has_room = true;

    sandbox_enter_thread(SANDBOX_WORKER);
    while (!pair->stopping) {
        choose_waits(pair, waits, has_room);
        if (poll(waits, WAITS, -1) < 0)
            continue;
        for (unsigned i = KICK_RX; i <= KICK_CONTROL; i++) {
            if (waits[i].revents)
                drain(waits[i].fd);
        }
        if (!serve_once(pair, &has_room)) {
            virtio_break(pair->device);
            break;
        }
    }
    put_back_held(pair);
    return NULL;
}

void netpair_wake(struct netpair *pair)
{
    virtio_kick(pair->device, number(pair, NETPAIR_TX));
}

bool netpair_start(struct netpair *pair)
{
    pair->stopping = false;
    pair->has_thread = pthread_create(&pair->thread, NULL, serve, pair) == 0;
    return pair->has_thread;
}

void netpair_stop(struct netpair *pair)
{
    if (!pair->has_thread)
        return;
    pair->stopping = true;
    netpair_wake(pair);
    pthread_join(pair->thread, NULL);
    pair->has_thread = false;
}

bool netpair_init(struct netpair *pair, struct limiter *limiter)
{
    for (unsigned i = 0; i < NETPAIR_QUEUES; i++)
        pair->gates[i].limiter = limiter;
    pair->control = -1;
    pair->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    return pair->timer >= 0;
}

void netpair_destroy(struct netpair *pair)
{
    if (pair->timer > 0)
        close(pair->timer);
}
