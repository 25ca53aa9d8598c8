/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The socket device between a guest without KVM, which writes its rings itself, and programs at its listener. */
#include "sockets.h"
#include "unit.h"
#include <errno.h>
#include <sys/socket.h>

/* --- streams --- */

START_TEST(a_program_connects_to_the_guest)
{
    const char             *data;
    struct virtio_vsock_hdr header;
    int                     program;
    g_autofree char        *answer = NULL;

    begin();
    ck_assert_uint_eq(guest_cid(), CID);
    program = dial("CONNECT 52\nearly");
    header = hear(NULL);
    ck_assert_uint_eq(header.op, VIRTIO_VSOCK_OP_REQUEST);
    ck_assert_uint_eq(header.src_cid, HOST);
    ck_assert_uint_eq(header.dst_port, 52);
    ck_assert_uint_eq(header.type, VIRTIO_VSOCK_TYPE_STREAM);
    ck_assert_uint_eq(header.buf_alloc, VSOCK_STORE);
    say_simply(VIRTIO_VSOCK_OP_RESPONSE, 52, header.src_port);
    answer = g_strdup_printf("OK %u\n", header.src_port);
    expect(program, answer);
    header = hear(&data);
    ck_assert_uint_eq(header.op, VIRTIO_VSOCK_OP_RW);
    ck_assert_mem_eq(data, "early", header.len);
    say_data(52, header.src_port, "hello", 5);
    expect(program, "hello");
    /* The guest's port is free for another of the host's. */
    dial("connect 52\r\n");
    ck_assert_uint_ne(hear(NULL).src_port, header.src_port);
}
END_TEST

START_TEST(nobody_in_the_guest_listens)
{
    struct virtio_vsock_hdr header;
    int                     program;

    begin();
    program = dial("CONNECT 52\n");
    header = hear(NULL);
    say_simply(VIRTIO_VSOCK_OP_RST, 52, header.src_port);
    expect_end(program);
    /* It is told no more of it, and what it says of it now makes no sense. */
    say_simply(VIRTIO_VSOCK_OP_RESPONSE, 52, header.src_port);
    hear_op(VIRTIO_VSOCK_OP_RST, 52, header.src_port);
    /* A program that does not wait. */
    program = dial("CONNECT 53\n");
    header = hear(NULL);
    close(program);
    hear_op(VIRTIO_VSOCK_OP_RST, 53, header.src_port);
}
END_TEST

START_TEST(the_guest_connects_to_a_program)
{
    const char *data;
    int         program, other, stream;

    begin();
    say_simply(VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
    hear_op(VIRTIO_VSOCK_OP_RST, 1000, 7);
    program = listen_at("7");
    other = dial("LISTEN 7\n");
    expect(other, "BUSY 7\n");
    expect_end(other);
    say_simply(VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
    hear_op(VIRTIO_VSOCK_OP_RESPONSE, 1000, 7);
    stream = expect_descriptor(program, "FROM 1000\n");
    say_data(1000, 7, "hello", 5);
    expect(stream, "hello");
    ck_assert_int_eq(write(stream, "world", 5), 5);
    ck_assert_uint_eq(hear(&data).len, 5);
    ck_assert_mem_eq(data, "world", 5);
    /* One that is not taken by the program ends with it; the other goes on. */
    say_simply(VIRTIO_VSOCK_OP_REQUEST, 1001, 7);
    hear_op(VIRTIO_VSOCK_OP_RESPONSE, 1001, 7);
    close(program);
    ck_assert_uint_eq(hear_op(VIRTIO_VSOCK_OP_SHUTDOWN, 1001, 7).flags, SEND | RCV);
    say_data(1000, 7, "again", 5);
    expect(stream, "again");
    /* The port is free again. */
    listen_at("7");
}
END_TEST

START_TEST(what_programs_must_not_say_ends_them)
{
    static const char *const lines[] = {"\n",
                                        "HELLO 5\n",
                                        "CONNECT\n",
                                        "CONNECT \n",
                                        "CONNECT 4294967295\n",
                                        "CONNECT 99999999999999999999\n",
                                        "CONNECT 5x\n",
                                        "LISTEN -1\n",
                                        "LISTEN  7\n",
                                        "CONNECT 00000000000000000000000000005\n"};

    begin();
    for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
        const int program = dial(lines[i]);

        expect_end(program);
        close(program);
    }
    /* In pieces it is well. */
    const int program = dial("LIST");
    ck_assert_int_eq(write(program, "EN 9\n", 5), 5);
    expect(program, "OK 9\n");
    /* Half a line and no more. */
    const int half = dial("LISTEN 1");
    ck_assert_int_eq(shutdown(half, SHUT_WR), 0);
    expect_end(half);
}
END_TEST

/* --- how much each may send --- */

/* As much as the device takes while nobody reads; each byte tells its place. */
static uint32_t fill(uint32_t guest_port, uint32_t host_port, uint32_t *forwarded)
{
    static uint8_t bytes[16384];
    uint32_t       sent = 0;

    for (;;) {
        say_simply(VIRTIO_VSOCK_OP_CREDIT_REQUEST, guest_port, host_port);
        const struct virtio_vsock_hdr header = hear(NULL);

        ck_assert_uint_eq(header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
        *forwarded = header.fwd_cnt;
        if (sent - header.fwd_cnt + sizeof(bytes) > header.buf_alloc)
            return sent;
        for (unsigned i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)((sent + i) * 7 >> 3);
        say_data(guest_port, host_port, bytes, sizeof(bytes));
        sent += (uint32_t)sizeof(bytes);
    }
}

static void drain(int stream, uint32_t size)
{
    uint8_t bytes[8192];

    for (uint32_t done = 0; done < size;) {
        const ssize_t got = read(stream, bytes, sizeof(bytes));

        ck_assert_msg(got > 0, "%u bytes of %u came", done, size);
        for (ssize_t i = 0; i < got; i++)
            ck_assert_uint_eq(bytes[i], (uint8_t)((done + (uint32_t)i) * 7 >> 3));
        done += (uint32_t)got;
    }
}

START_TEST(a_program_that_does_not_read_stops_its_stream_alone)
{
    uint32_t forwarded, sent;
    int      stream, program;

    begin();
    stream = connect_to_program();
    sent = fill(1000, 7, &forwarded);
    ck_assert_uint_gt(sent, VSOCK_STORE);
    ck_assert_uint_gt(sent - forwarded, VSOCK_STORE / 2);
    /* Another is served. */
    program = listen_at("8");
    say_simply(VIRTIO_VSOCK_OP_REQUEST, 1000, 8);
    hear_op(VIRTIO_VSOCK_OP_RESPONSE, 1000, 8);
    say_data(1000, 8, "hello", 5);
    expect(expect_descriptor(program, "FROM 1000\n"), "hello");
    /* The guest hears that there is room, unasked. */
    drain(stream, sent);
    while (forwarded < sent) {
        forwarded = hear_op(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 1000, 7).fwd_cnt;
        if (sent - forwarded < VSOCK_STORE / 2)
            break;
    }
    say_data(1000, 7, "more", 4);
    expect(stream, "more");
}
END_TEST

START_TEST(more_than_there_is_room_for_ends_the_stream)
{
    static const uint8_t bytes[20000];
    uint32_t             forwarded, sent;
    int                  stream;

    begin();
    stream = connect_to_program();
    sent = fill(1000, 7, &forwarded);
    ck_assert_uint_gt(sent - forwarded + sizeof(bytes), VSOCK_STORE);
    say_data(1000, 7, bytes, sizeof(bytes));
    hear_op(VIRTIO_VSOCK_OP_RST, 1000, 7);
    drain(stream, forwarded);
    expect_end(stream);
}
END_TEST

/* A guest whose room is so small, and that has read so much. */
static struct virtio_vsock_hdr with_room(unsigned op, uint32_t room, uint32_t read)
{
    struct virtio_vsock_hdr header = packet(op, 1000, 7);

    header.buf_alloc = room;
    header.fwd_cnt = read;
    return header;
}

START_TEST(the_guest_gets_no_more_than_it_has_room_for)
{
    const char             *data;
    struct virtio_vsock_hdr header;
    int                     program, stream;

    begin();
    program = listen_at("7");
    say(with_room(VIRTIO_VSOCK_OP_REQUEST, 4, 0));
    hear_op(VIRTIO_VSOCK_OP_RESPONSE, 1000, 7);
    stream = expect_descriptor(program, "FROM 1000\n");
    ck_assert_int_eq(write(stream, "0123456789", 10), 10);
    header = hear(&data);
    ck_assert_uint_eq(header.len, 4);
    ck_assert_mem_eq(data, "0123", 4);
    hear_op(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 1000, 7);
    /* It is asked once. */
    say(with_room(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 4, 0));
    say(with_room(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 4, 0));
    hear_op(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 1000, 7);
    say(with_room(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 4, 3));
    header = hear(&data);
    ck_assert_uint_eq(header.len, 3);
    ck_assert_mem_eq(data, "456", 3);
    hear_op(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 1000, 7);
    /* It has read more than there was, and has less room than is under way: nothing is sent. */
    say(with_room(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 100, 8));
    say(with_room(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 2, 3));
    say(with_room(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0, UINT32_MAX));
    hear_op(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 1000, 7);
    say(with_room(VIRTIO_VSOCK_OP_CREDIT_UPDATE, UINT32_MAX, 7));
    header = hear(&data);
    ck_assert_uint_eq(header.len, 3);
    ck_assert_mem_eq(data, "789", 3);
}
END_TEST

START_TEST(large_data_arrives_as_it_was)
{
    enum { SIZE = 1 << 20 };
    g_autofree uint8_t *bytes = g_malloc(SIZE);
    const char         *data;
    uint32_t            done = 0, written = 0;
    int                 stream;

    begin();
    stream = connect_to_program();
    for (unsigned i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 11 >> 4);
    while (done < SIZE) {
        const ssize_t count = send(stream, bytes + written, SIZE - written, MSG_DONTWAIT);

        written += count > 0 ? (uint32_t)count : 0;
        if (done == written)
            continue;
        const struct virtio_vsock_hdr header = hear(&data);

        if (header.op != VIRTIO_VSOCK_OP_RW)
            continue; /* it asks how much more there may be */
        ck_assert_mem_eq(data, bytes + done, header.len);
        done += header.len;
        say(with_room(VIRTIO_VSOCK_OP_CREDIT_UPDATE, GUEST_ROOM, done));
    }
}
END_TEST

/* --- ends --- */

static void shut(uint32_t flags)
{
    struct virtio_vsock_hdr header = packet(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 7);

    header.flags = flags;
    say(header);
}

START_TEST(each_half_ends_by_itself)
{
    const char *data;
    int         stream;

    begin();
    stream = connect_to_program();
    say_data(1000, 7, "last", 4);
    shut(SEND);
    expect(stream, "last");
    expect_end(stream);
    ck_assert_int_eq(write(stream, "still", 5), 5);
    ck_assert_uint_eq(hear(&data).len, 5);
    ck_assert_int_eq(shutdown(stream, SHUT_WR), 0);
    ck_assert_uint_eq(hear_op(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 7).flags & SEND, SEND);
    /* What it said it would not send any more. */
    say_data(1000, 7, "lie", 3);
    hear_op(VIRTIO_VSOCK_OP_RST, 1000, 7);
}
END_TEST

START_TEST(the_programs_end_is_told_after_its_data)
{
    const char *data;
    int         stream;

    begin();
    stream = connect_to_program();
    ck_assert_int_eq(write(stream, "bye", 3), 3);
    close(stream);
    ck_assert_uint_eq(hear(&data).len, 3);
    ck_assert_mem_eq(data, "bye", 3);
    ck_assert_uint_eq(hear_op(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 7).flags, SEND | RCV);
    /* What comes meanwhile is nobody's, and no harm. */
    say_data(1000, 7, "late", 4);
    nothing_is_said(1000, 7);
    shut(SEND | RCV);
    hear_op(VIRTIO_VSOCK_OP_RST, 1000, 7);
    say_data(1000, 7, "late", 4);
    hear_op(VIRTIO_VSOCK_OP_RST, 1000, 7);
}
END_TEST

START_TEST(the_guest_does_not_want_to_hear_more)
{
    int stream;

    begin();
    stream = connect_to_program();
    shut(RCV);
    ck_assert_int_lt(send(stream, "x", 1, MSG_NOSIGNAL), 0);
    ck_assert_int_eq(errno, EPIPE);
    say_data(1000, 7, "hello", 5);
    expect(stream, "hello");
    close(stream);
    ck_assert_uint_eq(hear_op(VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 7).flags, SEND | RCV);
}
END_TEST

/* The guest has closed, even used its port again, and a slow program still gets all of it. */
START_TEST(a_slow_program_gets_it_all)
{
    uint32_t forwarded, sent;
    int      stream, program;

    begin();
    program = listen_at("7");
    say_simply(VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
    hear_op(VIRTIO_VSOCK_OP_RESPONSE, 1000, 7);
    stream = expect_descriptor(program, "FROM 1000\n");
    sent = fill(1000, 7, &forwarded);
    ck_assert_uint_lt(forwarded, sent);
    shut(SEND | RCV);
    hear_op(VIRTIO_VSOCK_OP_RST, 1000, 7);
    say_simply(VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
    hear_op(VIRTIO_VSOCK_OP_RESPONSE, 1000, 7);
    drain(stream, sent);
    expect_end(stream);
    say_data(1000, 7, "new", 3);
    expect(expect_descriptor(program, "FROM 1000\n"), "new");
}
END_TEST

START_TEST(a_reset_ends_all_streams)
{
    int program, stream, called;

    begin();
    ck_assert_uint_eq(guest_cid(), CID);
    program = listen_at("7");
    say_simply(VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
    hear_op(VIRTIO_VSOCK_OP_RESPONSE, 1000, 7);
    stream = expect_descriptor(program, "FROM 1000\n");
    called = dial("CONNECT 52\n");
    hear(NULL);
    set_status(0);
    expect_end(stream);
    expect_end(called);
    expect_end(dial("CONNECT 52\n")); /* without a driver */
    /* Who listens does so for the next guest as well. */
    start_driver();
    offer_buffers();
    say_simply(VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
    hear_op(VIRTIO_VSOCK_OP_RESPONSE, 1000, 7);
    stream = expect_descriptor(program, "FROM 1000\n");
    pci_power_off();
    expect_end(stream);
}
END_TEST

UNIT_RUN("vsock", a_program_connects_to_the_guest, nobody_in_the_guest_listens, the_guest_connects_to_a_program,
         what_programs_must_not_say_ends_them, a_program_that_does_not_read_stops_its_stream_alone,
         more_than_there_is_room_for_ends_the_stream, the_guest_gets_no_more_than_it_has_room_for,
         large_data_arrives_as_it_was, each_half_ends_by_itself, the_programs_end_is_told_after_its_data,
         the_guest_does_not_want_to_hear_more, a_slow_program_gets_it_all, a_reset_ends_all_streams)
