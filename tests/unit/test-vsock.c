/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The socket device between a guest without KVM, which writes its rings itself, and programs at its listener. */
#include "loop.h"
#include "machine.h"
#include "unit.h"
#include "virtio/vsock.h"
#include "virtio/vsockets.h"
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
    CID = 42,
    HOST = 2,
    RX = 0,
    TX = 1,
    QUEUES = 3,
    RINGS = 0x1000,
    RINGS_STEP = 0x3000,
    DEVICE = 0x2000,
    BUFFER = 4096,
    RX_BUFFERS = 0x40000,
    TX_PACKETS = 0x80000,
    TX_PACKET = 0x8000,
    UNDER_WAY = RING_SIZE / 2, /* packets of header and data apart, as Linux has them */
    HEADER = sizeof(struct virtio_vsock_hdr),
    GUEST_ROOM = 256 << 10,
    OURS = 1024, /* descriptors of programs */
    SEND = VIRTIO_VSOCK_SHUTDOWN_SEND,
    RCV = VIRTIO_VSOCK_SHUTDOWN_RCV
};

static struct sockaddr_un place;
static socklen_t          place_size;
static struct ring        rings[QUEUES];
static uint16_t           taken;
static int                last_heard; /* the buffer of the last packet, or -1 */

/* --- a machine --- */

static void *run_loop(void *data)
{
    (void)data;
    loop_run();
    return NULL;
}

static int listen_somewhere(void)
{
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    place.sun_family = AF_UNIX;
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&place, sizeof(place.sun_family)), 0);
    place_size = sizeof(place);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&place, &place_size), 0);
    ck_assert_int_eq(listen(listener, 128), 0);
    return listener;
}

static void make_device(void)
{
    const struct rlimit descriptors = {2 * OURS, 2 * OURS};
    struct failure      failure = {0};
    pthread_t           thread;

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &descriptors), 0);
    make_machine();
    ck_assert_msg(vsock_plug(&vm, CID, listen_somewhere(), &failure), "%s", failure.message);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_loop, NULL), 0);
    pci_power_on();
    drive_pci(1);
}

/* --- the guest's driver --- */

static uint64_t guest_cid(void)
{
    return load(&vm.mmio, load(&vm.mmio, config(1, PCI_BASE_ADDRESS_0), 4) + DEVICE, 8);
}

static uint16_t used_index(unsigned queue)
{
    return __atomic_load_n(&rings[queue].used->idx, __ATOMIC_ACQUIRE);
}

/* Packets that the device has not taken yet. */
static unsigned under_way(void)
{
    return (uint16_t)(rings[TX].available->idx - used_index(TX));
}

static void offer_buffer(unsigned index)
{
    rings[RX].descriptors[index] = (struct vring_desc){RX_BUFFERS + index * BUFFER, BUFFER, VRING_DESC_F_WRITE, 0};
    offer_chain(&rings[RX], (uint16_t)index);
}

static void offer_buffers(void)
{
    for (unsigned i = 0; i < RING_SIZE; i++)
        offer_buffer(i);
}

static void start_driver(void)
{
    ck_assert(negotiate(0));
    for (unsigned i = 0; i < QUEUES; i++)
        rings[i] = set_up_ring((uint16_t)i, RINGS + i * RINGS_STEP);
    taken = 0;
    last_heard = -1;
    go();
}

static void begin(void)
{
    make_device();
    start_driver();
    offer_buffers();
}

static void wait_until_heard(void)
{
    const gint64 limit = g_get_monotonic_time() + MACHINE_PATIENCE_S * G_USEC_PER_SEC;

    while (used_index(RX) == taken) {
        ck_assert_msg(g_get_monotonic_time() < limit, "the device says nothing");
        g_usleep(20);
    }
}

static struct virtio_vsock_hdr packet(unsigned op, uint32_t guest_port, uint32_t host_port)
{
    return (struct virtio_vsock_hdr){.src_cid = CID,
                                     .dst_cid = HOST,
                                     .src_port = guest_port,
                                     .dst_port = host_port,
                                     .type = VIRTIO_VSOCK_TYPE_STREAM,
                                     .op = (uint16_t)op,
                                     .buf_alloc = GUEST_ROOM};
}

/* Returns without waiting for the device. */
static void put(struct virtio_vsock_hdr header, const void *data, uint32_t size)
{
    const uint16_t index = (uint16_t)(rings[TX].available->idx % UNDER_WAY * 2);
    const uint64_t address = TX_PACKETS + index * (uint64_t)TX_PACKET;

    ck_assert_uint_lt(under_way(), UNDER_WAY);
    memcpy(at(address), &header, HEADER);
    if (size)
        memcpy(at(address + HEADER), data, size);
    rings[TX].descriptors[index] =
        (struct vring_desc){address, HEADER, size ? VRING_DESC_F_NEXT : 0, (uint16_t)(index + 1)};
    rings[TX].descriptors[index + 1] = (struct vring_desc){address + HEADER, size, 0, 0};
    offer_chain(&rings[TX], index);
}

static void say(struct virtio_vsock_hdr header)
{
    put(header, NULL, 0);
    wait_for_used(&rings[TX], rings[TX].available->idx);
}

static void say_simply(unsigned op, uint32_t guest_port, uint32_t host_port)
{
    say(packet(op, guest_port, host_port));
}

static void say_data(uint32_t guest_port, uint32_t host_port, const void *data, uint32_t size)
{
    struct virtio_vsock_hdr header = packet(VIRTIO_VSOCK_OP_RW, guest_port, host_port);

    header.len = size;
    put(header, data, size);
    wait_for_used(&rings[TX], rings[TX].available->idx);
}

/* The next packet from the device, and its data until the one after that. */
static struct virtio_vsock_hdr hear(const char **data)
{
    const struct vring_used_elem *element = &rings[RX].used->ring[taken % RING_SIZE];
    struct virtio_vsock_hdr       header;

    wait_until_heard();
    taken++;
    if (last_heard >= 0)
        offer_buffer((unsigned)last_heard);
    last_heard = (int)element->id;
    memcpy(&header, at(RX_BUFFERS + element->id * BUFFER), HEADER);
    ck_assert_uint_eq(element->len, HEADER + header.len);
    ck_assert_uint_eq(header.dst_cid, CID);
    if (data)
        *data = at(RX_BUFFERS + element->id * BUFFER + HEADER);
    return header;
}

static struct virtio_vsock_hdr hear_op(unsigned op, uint32_t guest_port, uint32_t host_port)
{
    const struct virtio_vsock_hdr header = hear(NULL);

    ck_assert_uint_eq(header.op, op);
    ck_assert_uint_eq(header.src_port, host_port);
    ck_assert_uint_eq(header.dst_port, guest_port);
    return header;
}

/* Whatever was to be said before is said when this is answered. */
static void nothing_is_said(uint32_t guest_port, uint32_t host_port)
{
    say_simply(VIRTIO_VSOCK_OP_CREDIT_REQUEST, guest_port, host_port);
    hear_op(VIRTIO_VSOCK_OP_CREDIT_UPDATE, guest_port, host_port);
}

/* --- programs of the host --- */

static int dial(const char *line)
{
    const int program = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(connect(program, (struct sockaddr *)&place, place_size), 0);
    ck_assert_int_eq(write(program, line, strlen(line)), (ssize_t)strlen(line));
    return program;
}

static void wait_readable(int program)
{
    struct pollfd wait = {.fd = program, .events = POLLIN};

    ck_assert_msg(poll(&wait, 1, 20000) == 1, "a program gets nothing");
}

static void expect(int program, const char *text)
{
    char   got[64];
    size_t done = 0;

    while (done < strlen(text)) {
        wait_readable(program);
        const ssize_t count = read(program, got + done, strlen(text) - done);

        ck_assert_msg(count > 0, "it ends before \"%s\"", text);
        done += (size_t)count;
    }
    got[done] = 0;
    ck_assert_str_eq(got, text);
}

/* By an end, or an error where it had still something to say. */
static void expect_end(int program)
{
    char byte;

    wait_readable(program);
    ck_assert_int_le(read(program, &byte, 1), 0);
}

/* A connection of the guest's, from a program that listens. */
static int expect_descriptor(int program, const char *text)
{
    union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(sizeof(int))];
    } control;
    char          line[64] = "";
    struct iovec  data = {line, sizeof(line) - 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    int descriptor = -1;

    wait_readable(program);
    ck_assert_int_gt(recvmsg(program, &message, 0), 0);
    ck_assert_str_eq(line, text);
    ck_assert(CMSG_FIRSTHDR(&message) && CMSG_FIRSTHDR(&message)->cmsg_type == SCM_RIGHTS);
    memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(descriptor));
    /* A VMM has small numbers for itself. */
    const int moved = fcntl(descriptor, F_DUPFD_CLOEXEC, OURS);
    ck_assert_int_ge(moved, OURS);
    close(descriptor);
    return moved;
}

static int listen_at(const char *port)
{
    g_autofree char *line = g_strdup_printf("LISTEN %s\n", port);
    g_autofree char *answer = g_strdup_printf("OK %s\n", port);
    const int        program = dial(line);

    expect(program, answer);
    return program;
}

/* A connection from guest port 1000 to a program at port 7. */
static int connect_to_program(void)
{
    const int program = listen_at("7");
    int       stream;

    say_simply(VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
    hear_op(VIRTIO_VSOCK_OP_RESPONSE, 1000, 7);
    stream = expect_descriptor(program, "FROM 1000\n");
    return stream;
}

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

/* --- a guest that means harm --- */

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

        while (under_way() == UNDER_WAY || used_index(RX) != taken) {
            ck_assert_msg(g_get_monotonic_time() < limit, "the device takes no more");
            if (used_index(RX) != taken)
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

UNIT_RUN("vsock", a_program_connects_to_the_guest, nobody_in_the_guest_listens, the_guest_connects_to_a_program,
         what_programs_must_not_say_ends_them, a_program_that_does_not_read_stops_its_stream_alone,
         more_than_there_is_room_for_ends_the_stream, the_guest_gets_no_more_than_it_has_room_for,
         large_data_arrives_as_it_was, each_half_ends_by_itself, the_programs_end_is_told_after_its_data,
         the_guest_does_not_want_to_hear_more, a_slow_program_gets_it_all, a_reset_ends_all_streams,
         packets_without_sense_are_answered_or_dropped, an_offence_within_a_stream_ends_it,
         buffers_without_room_break_the_device, a_guest_without_buffers_is_not_listened_to,
         there_is_an_end_to_connections, garbage_does_no_harm, one_device_with_an_address_of_a_guest)
