/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the socket device share; see sockets.h. */
#include "sockets.h"
#include "loop.h"
#include "unit.h"
#include "virtio/vsock.h"
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
    RINGS = 0x1000,
    RINGS_STEP = 0x3000,
    DEVICE = 0x2000,
    BUFFER = 4096,
    TX_PACKET = 0x8000,
    OURS = 1024 /* descriptors of programs */
};

struct ring               rings[QUEUES];
static struct sockaddr_un place;
static socklen_t          place_size;
static uint16_t           taken;
static int                last_heard; /* the buffer of the last packet, or -1 */

/* --- a machine --- */

static void *run_loop(void *data)
{
    (void)data;
    loop_run();
    return NULL;
}

int listen_somewhere(void)
{
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    place.sun_family = AF_UNIX;
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&place, sizeof(place.sun_family)), 0);
    place_size = sizeof(place);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&place, &place_size), 0);
    ck_assert_int_eq(listen(listener, 128), 0);
    return listener;
}

void make_device(void)
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

uint64_t guest_cid(void)
{
    return load(&vm.mmio, load(&vm.mmio, config(1, PCI_BASE_ADDRESS_0), 4) + DEVICE, 8);
}

uint16_t used_index(unsigned queue)
{
    return __atomic_load_n(&rings[queue].used->idx, __ATOMIC_ACQUIRE);
}

unsigned under_way(void)
{
    return (uint16_t)(rings[TX].available->idx - used_index(TX));
}

static void offer_buffer(unsigned index)
{
    rings[RX].descriptors[index] = (struct vring_desc){RX_BUFFERS + index * BUFFER, BUFFER, VRING_DESC_F_WRITE, 0};
    offer_chain(&rings[RX], (uint16_t)index);
}

void offer_buffers(void)
{
    for (unsigned i = 0; i < RING_SIZE; i++)
        offer_buffer(i);
}

void start_driver(void)
{
    ck_assert(negotiate(0));
    for (unsigned i = 0; i < QUEUES; i++)
        rings[i] = set_up_ring((uint16_t)i, RINGS + i * RINGS_STEP);
    taken = 0;
    last_heard = -1;
    go();
}

bool is_there(void)
{
    return used_index(RX) != taken;
}

void begin(void)
{
    make_device();
    start_driver();
    offer_buffers();
}

static void wait_until_heard(void)
{
    const gint64 limit = g_get_monotonic_time() + MACHINE_PATIENCE_S * G_USEC_PER_SEC;

    while (!is_there()) {
        ck_assert_msg(g_get_monotonic_time() < limit, "the device says nothing");
        g_usleep(20);
    }
}

struct virtio_vsock_hdr packet(unsigned op, uint32_t guest_port, uint32_t host_port)
{
    return (struct virtio_vsock_hdr){.src_cid = CID,
                                     .dst_cid = HOST,
                                     .src_port = guest_port,
                                     .dst_port = host_port,
                                     .type = VIRTIO_VSOCK_TYPE_STREAM,
                                     .op = (uint16_t)op,
                                     .buf_alloc = GUEST_ROOM};
}

void put(struct virtio_vsock_hdr header, const void *data, uint32_t size)
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

void say(struct virtio_vsock_hdr header)
{
    put(header, NULL, 0);
    wait_for_used(&rings[TX], rings[TX].available->idx);
}

void say_simply(unsigned op, uint32_t guest_port, uint32_t host_port)
{
    say(packet(op, guest_port, host_port));
}

void say_data(uint32_t guest_port, uint32_t host_port, const void *data, uint32_t size)
{
    struct virtio_vsock_hdr header = packet(VIRTIO_VSOCK_OP_RW, guest_port, host_port);

    header.len = size;
    put(header, data, size);
    wait_for_used(&rings[TX], rings[TX].available->idx);
}

struct virtio_vsock_hdr hear(const char **data)
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

struct virtio_vsock_hdr hear_op(unsigned op, uint32_t guest_port, uint32_t host_port)
{
    const struct virtio_vsock_hdr header = hear(NULL);

    ck_assert_uint_eq(header.op, op);
    ck_assert_uint_eq(header.src_port, host_port);
    ck_assert_uint_eq(header.dst_port, guest_port);
    return header;
}

void nothing_is_said(uint32_t guest_port, uint32_t host_port)
{
    say_simply(VIRTIO_VSOCK_OP_CREDIT_REQUEST, guest_port, host_port);
    hear_op(VIRTIO_VSOCK_OP_CREDIT_UPDATE, guest_port, host_port);
}

/* --- programs of the host --- */

int dial(const char *line)
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

void expect(int program, const char *text)
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

void expect_end(int program)
{
    char byte;

    wait_readable(program);
    ck_assert_int_le(read(program, &byte, 1), 0);
}

int expect_descriptor(int program, const char *text)
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

int listen_at(const char *port)
{
    g_autofree char *line = g_strdup_printf("LISTEN %s\n", port);
    g_autofree char *answer = g_strdup_printf("OK %s\n", port);
    const int        program = dial(line);

    expect(program, answer);
    return program;
}

int connect_to_program(void)
{
    const int program = listen_at("7");
    int       stream;

    say_simply(VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
    hear_op(VIRTIO_VSOCK_OP_RESPONSE, 1000, 7);
    stream = expect_descriptor(program, "FROM 1000\n");
    return stream;
}
