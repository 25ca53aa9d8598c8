/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The socket device of a guest that means harm, and the limits of what it holds. */
#include "sockets.h"
#include "unit.h"
#include "virtio/vsock.h"
#include <sys/socket.h>

/* --- packets --- */

START_TEST(packets_without_sense_are_answered_or_dropped)
{
    struct virtio_vsock_hdr header;
    int                     program;

    begin();
    program = listen_at("7");
    (void)program;
    /* From somebody else: to nobody. */
    header = packet(VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
    header.src_cid = CID + 1;
    say(header);
    /* Half a header. */
    rings[TX].descriptors[0] = (struct vring_desc){TX_PACKETS, HEADER - 1, 0, 0};
    offer_chain(&rings[TX], 0);
    wait_for_used(&rings[TX], rings[TX].available->idx);
    /* An answer to an answer, and to nothing. */
    say_simply(VIRTIO_VSOCK_OP_RST, 1000, 7);
    /* To another guest, which is not there. */
    header = packet(VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
    header.dst_cid = UINT64_MAX;
    say(header);
    ck_assert_uint_eq(hear_op(VIRTIO_VSOCK_OP_RST, 1000, 7).src_cid, UINT64_MAX);
    /* Of a kind that is not offered. */
    header = packet(VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
    header.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
    say(header);
    ck_assert_uint_eq(hear_op(VIRTIO_VSOCK_OP_RST, 1000, 7).type, VIRTIO_VSOCK_TYPE_SEQPACKET);
    for (unsigned op = 0; op < 12; op++) {
        if (op == VIRTIO_VSOCK_OP_RST || op == VIRTIO_VSOCK_OP_REQUEST)
            continue;
        say_simply(op, 1000, 7);
        hear_op(VIRTIO_VSOCK_OP_RST, 1000, 7);
    }
    say_simply(VIRTIO_VSOCK_OP_REQUEST, UINT32_MAX, 7);
    hear_op(VIRTIO_VSOCK_OP_RST, UINT32_MAX, 7);
    say_simply(VIRTIO_VSOCK_OP_REQUEST, UINT32_MAX, UINT32_MAX);
    hear_op(VIRTIO_VSOCK_OP_RST, UINT32_MAX, UINT32_MAX);
}
END_TEST

/* Each of these ends the stream. */
static struct virtio_vsock_hdr offence(unsigned number)
{
    struct virtio_vsock_hdr header = packet(VIRTIO_VSOCK_OP_RW, 1000, 7);

    switch (number) {
    case 0: /* more data than there is */
        header.len = 1;
        break;
    case 1:
        header.len = UINT32_MAX;
        break;
    case 2: /* the port is in use */
        header.op = VIRTIO_VSOCK_OP_REQUEST;
        break;
    case 3:
        header.op = VIRTIO_VSOCK_OP_RESPONSE;
        break;
    case 4:
        header.op = VIRTIO_VSOCK_OP_INVALID;
        break;
    default:
        header.op = UINT16_MAX;
        break;
    }
    return header;
}

START_TEST(an_offence_within_a_stream_ends_it)
{
    begin();
    const int program = listen_at("7");

    for (unsigned number = 0; number < 6; number++) {
        say_simply(VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
        hear_op(VIRTIO_VSOCK_OP_RESPONSE, 1000, 7);
        const int stream = expect_descriptor(program, "FROM 1000\n");

        say(offence(number));
        hear_op(VIRTIO_VSOCK_OP_RST, 1000, 7);
        expect_end(stream);
        close(stream);
    }
    /* Data before the answer. */
    const int      called = dial("CONNECT 52\n");
    const uint32_t port = hear(NULL).src_port;

    say_data(52, port, "x", 1);
    hear_op(VIRTIO_VSOCK_OP_RST, 52, port);
    expect_end(called);
}
END_TEST

START_TEST(buffers_without_room_break_the_device)
{
    make_device();
    start_driver();
    rings[RX].descriptors[0] = (struct vring_desc){RX_BUFFERS, HEADER, VRING_DESC_F_WRITE, 0};
    offer_chain(&rings[RX], 0);
    dial("CONNECT 52\n");
    wait_for_break();
    start_driver();
    offer_buffers();
    dial("CONNECT 52\n");
    ck_assert_uint_eq(hear(NULL).op, VIRTIO_VSOCK_OP_REQUEST);
}
END_TEST

/* Answers wait for buffers, in no more than a certain number; the guest waits then, and nobody else. */
START_TEST(a_guest_without_buffers_is_not_listened_to)
{
    enum { PACKETS = 1000 };
    unsigned put_count = 0, heard = 0;
    uint16_t before;

    make_device();
    start_driver();
    do {
        before = used_index(TX);
        while (put_count < PACKETS && under_way() < UNDER_WAY)
            put(packet(VIRTIO_VSOCK_OP_RW, put_count++, 5), NULL, 0);
        const int program = dial("\n");
        expect_end(program); /* by then the device did what it would */
        close(program);
    } while (used_index(TX) != before);
    ck_assert_uint_lt(used_index(TX), PACKETS / 2);
    offer_buffers();
    while (heard < PACKETS) {
        hear_op(VIRTIO_VSOCK_OP_RST, heard++, 5);
        while (put_count < PACKETS && under_way() < UNDER_WAY)
            put(packet(VIRTIO_VSOCK_OP_RW, put_count++, 5), NULL, 0);
    }
}
END_TEST

START_TEST(there_is_an_end_to_connections)
{
    uint32_t count = 0;
    int      streams[VSOCK_SOCKETS];

    begin();
    const int program = listen_at("7");

    while (count < VSOCK_SOCKETS) {
        say_simply(VIRTIO_VSOCK_OP_REQUEST, 1000 + count, 7);
        if (hear(NULL).op == VIRTIO_VSOCK_OP_RST)
            break;
        g_autofree char *line = g_strdup_printf("FROM %u\n", 1000 + count);

        streams[count++] = expect_descriptor(program, line);
    }
    ck_assert_uint_eq(count, VSOCK_SOCKETS - 1);
    say_data(1000, 7, "first", 5);
    expect(streams[0], "first");
    say_data(1000 + count - 1, 7, "last", 4);
    expect(streams[count - 1], "last");
    /* Programs wait until there is a place, which is as soon as a program has closed, whatever the guest says of it.
     */
    const int waiting = dial("LISTEN 8\n");

    close(streams[5]);
    hear_op(VIRTIO_VSOCK_OP_SHUTDOWN, 1005, 7);
    hear_op(VIRTIO_VSOCK_OP_RST, 1005, 7);
    expect(waiting, "OK 8\n");
    nothing_is_said(1000, 7);
}
END_TEST

/* --- garbage --- */

static void write_garbage(GRand *random)
{
    static uint8_t          bytes[4096];
    struct virtio_vsock_hdr header =
        packet((unsigned)g_rand_int_range(random, 0, 9), (uint32_t)g_rand_int_range(random, 0, 4), 7);

    if (!g_rand_int_range(random, 0, 20))
        header.src_cid = g_rand_int(random);
    if (!g_rand_int_range(random, 0, 20))
        header.dst_cid = g_rand_int(random);
    if (!g_rand_int_range(random, 0, 20))
        header.type = (uint16_t)g_rand_int_range(random, 0, 4);
    header.dst_port = 7 + (uint32_t)g_rand_int_range(random, 0, 2);
    header.len = g_rand_int_range(random, 0, 10) ? (uint32_t)g_rand_int_range(random, 0, 4096) : g_rand_int(random);
    header.flags = (uint32_t)g_rand_int_range(random, 0, 5);
    header.buf_alloc = g_rand_boolean(random) ? GUEST_ROOM : g_rand_int(random);
    header.fwd_cnt = g_rand_boolean(random) ? 0 : g_rand_int(random);
    put(header, bytes, (uint32_t)g_rand_int_range(random, 0, sizeof(bytes)));
}

/* A program that takes what comes and lets go of it, sometimes with words. */
static void serve_some(int program, GRand *random)
{
    union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(sizeof(int))];
    } control;
    char          line[16];
    struct iovec  data = {line, sizeof(line)};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    int descriptor;

    if (recvmsg(program, &message, MSG_DONTWAIT) <= 0 || !CMSG_FIRSTHDR(&message))
        return;
    memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(descriptor));
    for (int i = g_rand_int_range(random, 0, 3); i > 0; i--)
        ck_assert_int_ge(send(descriptor, line, sizeof(line), MSG_DONTWAIT | MSG_NOSIGNAL), -1);
    close(descriptor);
}

START_TEST(garbage_does_no_harm)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(3);

    begin();
    const int program = listen_at("7");

    for (unsigned round = 0; round < 5000; round++) {
        const gint64 limit = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

        while (under_way() == UNDER_WAY || is_there()) {
            ck_assert_msg(g_get_monotonic_time() < limit, "the device takes no more");
            if (is_there())
                hear(NULL);
        }
        write_garbage(random);
        serve_some(program, random);
        if (!g_rand_int_range(random, 0, 500)) {
            start_driver();
            offer_buffers();
        }
    }
    start_driver();
    offer_buffers();
    while (recv(program, &(char){0}, 1, MSG_DONTWAIT) > 0)
        ;
    say_simply(VIRTIO_VSOCK_OP_REQUEST, 5000, 7);
    hear_op(VIRTIO_VSOCK_OP_RESPONSE, 5000, 7);
    say_data(5000, 7, "hello", 5);
    expect(expect_descriptor(program, "FROM 5000\n"), "hello");
}
END_TEST

START_TEST(one_device_with_an_address_of_a_guest)
{
    struct failure failure = {0};

    make_machine();
    ck_assert(!vsock_plug(&vm, HOST, -1, &failure));
    ck_assert_str_eq(failure.property, "vsock.cid");
    ck_assert(!vsock_plug(&vm, UINT32_MAX, -1, &failure));
    ck_assert(!vsock_plug(&vm, CID, -1, &failure));
    ck_assert_int_eq(failure.code, WIRE_HOST);
    ck_assert_msg(vsock_plug(&vm, CID, listen_somewhere(), &failure), "%s", failure.message);
    ck_assert(!vsock_plug(&vm, CID, listen_somewhere(), &failure));
    ck_assert_int_eq(failure.code, WIRE_WRONG_STATE);
}
END_TEST

UNIT_RUN("vsock-harm", packets_without_sense_are_answered_or_dropped, an_offence_within_a_stream_ends_it,
         buffers_without_room_break_the_device, a_guest_without_buffers_is_not_listened_to,
         there_is_an_end_to_connections, garbage_does_no_harm, one_device_with_an_address_of_a_guest)
