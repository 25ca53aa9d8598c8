/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A virtio network card as a guest without KVM sees it: on a stream, whose other end is the test's, and on a tap
 * device of several queues, in a network namespace of the test's own.
 */
#include "machine.h"
#include "rate.h"
#include "unit.h"
#include "virtio/net.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/pci_regs.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>

enum {
    HEADER = sizeof(struct virtio_net_hdr_v1),
    BUFFER = 2048,
    BUFFERS = 0x40000,
    STEP = RING_SIZE * BUFFER,
    RINGS = 0x4000,
    RINGS_STEP = 0x4000,
    DEVICE = 0x2000,
    COMMAND = 0xf0000,
    ANSWER = 0xf0100,
    NO_ANSWER = 0xaa,
    PORT = 7777,
    FRAME = 1000,
    MANY = 64,
    RX0 = 0,
    TX0 = 1,
    RX1 = 2,
    TX1 = 3,
    CONTROL = 4
};

#define BIT(number) (UINT64_C(1) << (number))
#define BASIC BIT(VIRTIO_NET_F_MRG_RXBUF)
#define MULTIPLE (BASIC | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ))

static int outside; /* the other end of the stream, or a packet socket on the tap */

/* --- a driver --- */

static struct ring rings[CONTROL + 1];
static uint16_t    taken[CONTROL]; /* of what was received, and how much of that was the test's */
static unsigned    ours[CONTROL];

static uint64_t buffer(unsigned queue, unsigned index)
{
    return BUFFERS + (uint64_t)(queue % CONTROL) * STEP + (uint64_t)index * BUFFER;
}

static uint16_t used(unsigned queue)
{
    return __atomic_load_n(&rings[queue].used->idx, __ATOMIC_ACQUIRE);
}

static void begin_driver(uint64_t features, unsigned queues)
{
    drive_pci(1);
    ck_assert(negotiate(features));
    memset(at(0), 0, MACHINE_MEMORY);
    memset(taken, 0, sizeof(taken));
    memset(ours, 0, sizeof(ours));
    for (uint16_t i = 0; i < queues; i++)
        rings[i] = set_up_ring(i, RINGS + RINGS_STEP * i);
    go();
}

static void start_driver(uint64_t features, unsigned queues)
{
    begin_driver(features, queues);
    for (unsigned queue = RX0; queue < queues && queue < CONTROL; queue += 2) {
        for (uint16_t i = 0; i < RING_SIZE; i++) {
            rings[queue].descriptors[i] = (struct vring_desc){buffer(queue, i), BUFFER, VRING_DESC_F_WRITE, 0};
            offer_chain(&rings[queue], i);
        }
    }
}

/* For a moment in which what is to go would have gone. */
static gboolean stays(unsigned queue, uint16_t count)
{
    wait_for_used(&rings[queue], count);
    g_usleep(50000);
    return used(queue) == count;
}

/* --- frames --- */

static void put_frame(uint8_t *frame, uint16_t source)
{
    static const uint8_t head[] = {0x52, 0x54, 0, 1, 2, 3, 0x52, 0x54, 0, 9, 9, 9, 0x08, 0, 0x45, 0};

    memset(frame, 0, FRAME);
    memcpy(frame, head, sizeof(head));
    *(uint16_t *)(frame + 16) = htons(FRAME - 14);
    frame[22] = 64;
    frame[23] = 17;
    frame[26] = frame[30] = 10;
    frame[29] = 1;
    frame[33] = 2;
    *(uint16_t *)(frame + 34) = htons(source);
    *(uint16_t *)(frame + 36) = htons(PORT);
    *(uint16_t *)(frame + 38) = htons(FRAME - 34);
}

static bool is_ours(const uint8_t *frame)
{
    return frame[12] == 0x08 && frame[23] == 17 && *(const uint16_t *)(frame + 36) == htons(PORT);
}

static void send_frame(unsigned queue, uint16_t index)
{
    put_frame(at(buffer(queue, index) + HEADER), index);
    rings[queue].descriptors[index] = (struct vring_desc){buffer(queue, index), HEADER + FRAME, 0, 0};
    offer_chain(&rings[queue], index);
}

/* --- on a stream --- */

static void plug_stream(void)
{
    struct net_options options = {.name = "lan", .kind = WIRE_NIC_STREAM, .pairs = 1};
    struct failure     failure = {0};
    int                pair[2];

    make_machine();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    outside = pair[0];
    options.descriptors[0] = pair[1];
    ck_assert_msg(net_plug(&vm, &options, &failure), "%s", failure.message);
    pci_power_on();
    start_driver(BASIC, 2);
}

static void limit(unsigned which, uint64_t rate, uint64_t burst)
{
    uint64_t limits[WIRE_LIMITS] = {0};

    limits[which] = rate;
    limits[which + 1] = burst;
    virtio_find("nic.lan")->kind->limit(virtio_find("nic.lan"), limits);
}

static void give(void)
{
    uint8_t bytes[4 + FRAME] = {0, 0, FRAME >> 8, FRAME & 0xff};

    put_frame(bytes + 4, 1);
    ck_assert_int_eq(send(outside, bytes, sizeof(bytes), 0), sizeof(bytes));
}

START_TEST(packets_go_both_ways)
{
    uint8_t bytes[4 + FRAME], expected[FRAME];

    plug_stream();
    send_frame(TX0, 3);
    ck_assert_int_eq(recv(outside, bytes, sizeof(bytes), MSG_WAITALL), sizeof(bytes));
    put_frame(expected, 3);
    ck_assert_mem_eq(bytes + 4, expected, FRAME);
    wait_for_used(&rings[TX0], 1);
    give();
    wait_for_used(&rings[RX0], 1);
    ck_assert(is_ours(at(buffer(RX0, 0) + HEADER)));
    pci_power_off();
}
END_TEST

/* At a byte a second the first goes, and the second would take a quarter of an hour. */
START_TEST(one_direction_waits_and_the_other_does_not)
{
    const struct wire_stats *stats;

    plug_stream();
    stats = vm.stats;
    limit(WIRE_LIMIT_OUTBOUND, 1, 0);
    send_frame(TX0, 0);
    send_frame(TX0, 1);
    ck_assert(stays(TX0, 1));
    give();
    give();
    wait_for_used(&rings[RX0], 2);
    limit(WIRE_LIMIT_INBOUND, 1, 0);
    wait_for_used(&rings[TX0], 2);
    ck_assert_uint_gt(stats->stalled_ns[0][WIRE_OUT], 40000000);
    ck_assert_uint_eq(stats->stalled_ns[0][WIRE_IN], 0);
    give();
    give();
    ck_assert(stays(RX0, 3));
    send_frame(TX0, 2);
    wait_for_used(&rings[TX0], 3);
    limit(WIRE_LIMIT_INBOUND, 0, 0);
    wait_for_used(&rings[RX0], 4);
    ck_assert_uint_gt(stats->stalled_ns[0][WIRE_IN], 40000000);
    pci_power_off();
}
END_TEST

START_TEST(a_burst_goes_at_once)
{
    plug_stream();
    limit(WIRE_LIMIT_OUTBOUND, 1, 5 * FRAME + 10);
    for (uint16_t i = 0; i < RING_SIZE; i++)
        send_frame(TX0, i);
    ck_assert(stays(TX0, 5));
    pci_power_off();
}
END_TEST

START_TEST(a_card_that_waits_is_reset)
{
    plug_stream();
    limit(WIRE_LIMIT_OUTBOUND, 1, 0);
    for (unsigned i = 0; i < 5; i++) {
        send_frame(TX0, 0);
        send_frame(TX0, 1);
        ck_assert(stays(TX0, i == 0 ? 1 : 0));
        start_driver(BASIC, 2);
    }
    limit(WIRE_LIMIT_OUTBOUND, 0, 0);
    send_frame(TX0, 0);
    wait_for_used(&rings[TX0], 1);
    limit(WIRE_LIMIT_INBOUND, 1, 0);
    give();
    give();
    ck_assert(stays(RX0, 1));
    pci_power_off();
}
END_TEST

/* --- on a tap of two queues --- */

static bool enter_namespace(void)
{
    return unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
}

static int open_queue(const char *name, short flags)
{
    struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)};
    const int    tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    g_strlcpy(request.ifr_name, name, sizeof(request.ifr_name));
    if (tap >= 0)
        ck_assert_int_eq(ioctl(tap, TUNSETIFF, &request), 0);
    return tap;
}

static void bring_up(const char *name)
{
    const struct timeval patience = {.tv_sec = MACHINE_PATIENCE_S};
    struct ifreq         request = {.ifr_flags = IFF_UP};
    struct sockaddr_ll   address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

    g_strlcpy(request.ifr_name, name, sizeof(request.ifr_name));
    outside = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    ck_assert_int_ge(outside, 0);
    ck_assert_int_eq(ioctl(outside, SIOCSIFFLAGS, &request), 0);
    address.sll_ifindex = (int)if_nametoindex(name);
    ck_assert_int_eq(bind(outside, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(setsockopt(outside, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
}

/* false: this machine lets nobody make tap devices, as in a container. */
static bool plug_tap(void)
{
    struct net_options options = {.name = "lan", .kind = WIRE_NIC_TAP, .pairs = 2};
    struct failure     failure = {0};

    if (!enter_namespace())
        return false;
    options.descriptors[0] = open_queue("several", IFF_MULTI_QUEUE);
    if (options.descriptors[0] < 0)
        return false;
    options.descriptors[1] = open_queue("several", IFF_MULTI_QUEUE);
    bring_up("several");
    make_machine();
    ck_assert_msg(net_plug(&vm, &options, &failure), "%s", failure.message);
    pci_power_on();
    return true;
}

/* What is sent as a command, and the answer, or NO_ANSWER. */
static uint8_t command(unsigned queue, const void *bytes, uint32_t size, uint32_t room)
{
    memcpy(at(COMMAND), bytes, size);
    *(uint8_t *)at(ANSWER) = NO_ANSWER;
    rings[queue].descriptors[0] = (struct vring_desc){COMMAND, size, (uint16_t)(room ? VRING_DESC_F_NEXT : 0), 1};
    rings[queue].descriptors[1] = (struct vring_desc){ANSWER, room, VRING_DESC_F_WRITE, 0};
    wait_for_end(&rings[queue], offer_chain(&rings[queue], 0));
    return *(uint8_t *)at(ANSWER);
}

static uint8_t set_pairs(unsigned queue, uint16_t pairs)
{
    const uint8_t bytes[] = {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, (uint8_t)pairs,
                             (uint8_t)(pairs >> 8)};

    return command(queue, bytes, sizeof(bytes), 1);
}

START_TEST(commands_without_sense_are_refused)
{
    static const uint8_t other[] = {VIRTIO_NET_CTRL_RX, 0, 1, 0, 0, 0, 0};
    static const uint8_t right[] = {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 1, 0, 0, 0};
    uint64_t             bar;

    if (!plug_tap())
        return;
    bar = load(&vm.mmio, config(1, PCI_BASE_ADDRESS_0), 4);
    ck_assert_uint_eq(load(&vm.mmio, bar + VIRTIO_PCI_COMMON_NUMQ, 2), 5);
    ck_assert_uint_eq(load(&vm.mmio, bar + DEVICE + offsetof(struct virtio_net_config, max_virtqueue_pairs), 2), 2);
    start_driver(MULTIPLE, 5);
    ck_assert_uint_eq(set_pairs(CONTROL, 2), VIRTIO_NET_OK);
    ck_assert_uint_eq(set_pairs(CONTROL, 2), VIRTIO_NET_OK);
    ck_assert_uint_eq(set_pairs(CONTROL, 0), VIRTIO_NET_ERR);
    ck_assert_uint_eq(set_pairs(CONTROL, 3), VIRTIO_NET_ERR);
    ck_assert_uint_eq(set_pairs(CONTROL, UINT16_MAX), VIRTIO_NET_ERR);
    ck_assert_uint_eq(set_pairs(CONTROL, 1), VIRTIO_NET_OK);
    for (uint32_t size = 1; size <= sizeof(other); size++)
        ck_assert_uint_eq(command(CONTROL, other, size, 1), VIRTIO_NET_ERR);
    for (uint32_t size = 1; size <= sizeof(right); size++)
        ck_assert_uint_eq(command(CONTROL, right, size, 1), size == 4 ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
    ck_assert_uint_eq(command(CONTROL, right, 4, BUFFER), VIRTIO_NET_OK);
    ck_assert_uint_eq(command(CONTROL, right, 4, 0), NO_ANSWER);
    ck_assert_uint_ne(get_status() & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    start_driver(MULTIPLE, 5);
    ck_assert_uint_eq(set_pairs(CONTROL, 2), VIRTIO_NET_OK);
    pci_power_off();
}
END_TEST

/* Who does not know of several pairs has the control queue elsewhere, and may choose nothing. */
START_TEST(the_control_queue_is_where_the_driver_looks)
{
    if (!plug_tap())
        return;
    begin_driver(BASIC | BIT(VIRTIO_NET_F_CTRL_VQ), 3);
    ck_assert_uint_eq(set_pairs(RX1, 1), VIRTIO_NET_ERR);
    send_frame(TX0, 2);
    wait_for_used(&rings[TX0], 1);
    /* And without one there is none. */
    start_driver(BASIC, 5);
    send_frame(TX0, 2);
    wait_for_used(&rings[TX0], 1);
    pci_power_off();
}
END_TEST

/* Frames that differ as those of different connections do, which is by what the tap chooses a queue. */
static void give_many(void)
{
    uint8_t frame[FRAME];

    for (unsigned i = 0; i < MANY; i++) {
        put_frame(frame, (uint16_t)(1000 + i * 7));
        ck_assert_int_eq(send(outside, frame, sizeof(frame), 0), sizeof(frame));
    }
}

/* Takes what came and offers its place again. Others, such as what IPv6 says to a network that is new, do not count.
 */
static void collect(unsigned queue)
{
    for (; taken[queue] != used(queue); taken[queue]++) {
        const uint16_t index = (uint16_t)rings[queue].used->ring[taken[queue] % RING_SIZE].id;

        ours[queue] += is_ours(at(buffer(queue, index) + HEADER));
        offer_chain(&rings[queue], index);
    }
}

static void wait_for_ours(unsigned expected)
{
    const gint64 limit = g_get_monotonic_time() + MACHINE_PATIENCE_S * G_USEC_PER_SEC;

    while (ours[RX0] + ours[RX1] < expected) {
        ck_assert_msg(g_get_monotonic_time() < limit, "%u and %u of %u packets came", ours[RX0], ours[RX1], expected);
        g_usleep(100);
        collect(RX0);
        collect(RX1);
    }
}

START_TEST(packets_come_by_the_pairs_in_use)
{
    if (!plug_tap())
        return;
    start_driver(MULTIPLE, 5);
    give_many();
    wait_for_ours(MANY);
    ck_assert_uint_eq(ours[RX1], 0);
    start_driver(MULTIPLE, 5);
    ck_assert_uint_eq(set_pairs(CONTROL, 2), VIRTIO_NET_OK);
    give_many();
    wait_for_ours(MANY);
    ck_assert_uint_gt(ours[RX0], 0);
    ck_assert_uint_gt(ours[RX1], 0);
    /* After a reset there is one again, until the driver says otherwise. */
    start_driver(MULTIPLE, 5);
    give_many();
    wait_for_ours(MANY);
    ck_assert_uint_eq(ours[RX1], 0);
    pci_power_off();
}
END_TEST

START_TEST(packets_go_by_every_pair_in_use)
{
    uint8_t frame[2 * FRAME];

    if (!plug_tap())
        return;
    start_driver(MULTIPLE, 5);
    send_frame(TX1, 4);
    ck_assert(stays(TX1, 0));
    ck_assert_uint_eq(set_pairs(CONTROL, 2), VIRTIO_NET_OK);
    wait_for_used(&rings[TX1], 1);
    do {
        ck_assert_int_gt(recv(outside, frame, sizeof(frame), 0), 0);
    } while (!is_ours(frame));
    ck_assert_uint_eq(ntohs(*(uint16_t *)(frame + 34)), 4);
    pci_power_off();
}
END_TEST

START_TEST(a_tap_of_one_queue_is_refused)
{
    struct net_options options = {.name = "lan", .kind = WIRE_NIC_TAP, .pairs = 2};
    struct failure     failure = {0};

    if (!enter_namespace())
        return;
    options.descriptors[0] = open_queue("single", 0);
    options.descriptors[1] = open_queue("other", 0);
    if (options.descriptors[0] < 0)
        return;
    make_machine();
    ck_assert(!net_plug(&vm, &options, &failure));
    ck_assert_int_eq(failure.code, WIRE_UNSUPPORTED);
    options.kind = WIRE_NIC_STREAM;
    ck_assert(!net_plug(&vm, &options, &failure));
    ck_assert_ptr_nonnull(strstr(failure.message, "one queue"));
}
END_TEST

/* --- what it is attached to goes --- */

static uint64_t link_is_up(void)
{
    return load(&vm.mmio, driven(DEVICE + offsetof(struct virtio_net_config, status)), 2) & VIRTIO_NET_S_LINK_UP;
}

static int64_t used_us(void)
{
    struct timespec used;

    ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    return used.tv_sec * G_USEC_PER_SEC + used.tv_nsec / 1000;
}

/* The guest and the control thread are told once, and nobody goes on asking. */
static void expect_loss(void)
{
    struct pollfd wait = {.fd = vm.lost_descriptor, .events = POLLIN};
    int64_t       before;

    ck_assert_int_eq(poll(&wait, 1, MACHINE_PATIENCE_S * 1000), 1);
    ck_assert(link_is_up());
    ck_assert_ptr_eq(virtio_take_lost(), virtio_find("nic.lan"));
    ck_assert(!link_is_up());
    ck_assert_ptr_null(virtio_take_lost());
    before = used_us();
    g_usleep(200000);
    ck_assert_int_lt(used_us() - before, 50000);
}

START_TEST(a_stream_that_ends_is_told_once)
{
    plug_stream();
    give();
    close(outside);
    expect_loss();
    wait_for_used(&rings[RX0], 1);
    /* A driver that begins anew finds it so. */
    start_driver(BASIC, 2);
    ck_assert(!link_is_up());
    send_frame(TX0, 0);
    wait_for_used(&rings[TX0], 1);
    ck_assert_ptr_null(virtio_take_lost());
    pci_power_off();
}
END_TEST

START_TEST(a_tap_that_is_deleted_is_told_once)
{
    if (!plug_tap())
        return;
    start_driver(MULTIPLE, 5);
    ck_assert_uint_eq(set_pairs(CONTROL, 2), VIRTIO_NET_OK);
    /* That one queue of it comes and goes is no loss. */
    for (uint16_t i = 0; i < 50; i++)
        ck_assert_uint_eq(set_pairs(CONTROL, (uint16_t)(1 + i % 2)), VIRTIO_NET_OK);
    ck_assert_ptr_null(virtio_take_lost());
    ck_assert_int_eq(system("ip link delete several"), 0);
    expect_loss();
    send_frame(TX0, 0);
    wait_for_used(&rings[TX0], 1);
    pci_power_off();
}
END_TEST

/* While the device reads it: that race is the point. */
__attribute__((no_sanitize("thread"))) static void write_garbage(GRand *random, unsigned queue)
{
    for (unsigned i = 0; i < 8; i++) {
        struct vring_desc *one = &rings[queue].descriptors[i];

        one->addr = g_rand_int_range(random, 0, 50) ? (uint64_t)g_rand_int_range(random, 0, MACHINE_MEMORY)
                                                    : g_rand_int(random);
        one->len = (uint32_t)g_rand_int_range(random, 0, 8);
        one->flags = (uint16_t)g_rand_int_range(random, 0, 4);
        one->next = (uint16_t)g_rand_int_range(random, 0, 8);
    }
    for (unsigned i = 0; i < 64; i++)
        ((uint8_t *)at(COMMAND))[i] = (uint8_t)g_rand_int_range(random, 0, 5);
    rings[queue].descriptors[0].addr = COMMAND;
    rings[queue].descriptors[0].len = 4;
    offer_chain(&rings[queue], (uint16_t)g_rand_int_range(random, 0, 8));
}

START_TEST(garbage_in_the_control_queue_does_no_harm)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(3);

    if (!plug_tap())
        return;
    for (unsigned round = 0; round < 100; round++) {
        start_driver(MULTIPLE, 5);
        for (unsigned i = 0; i < 20 && !(get_status() & VIRTIO_CONFIG_S_NEEDS_RESET); i++) {
            write_garbage(random, round % 4 ? CONTROL : TX1);
            g_usleep(i % 8 ? 0 : 100);
        }
    }
    start_driver(MULTIPLE, 5);
    ck_assert_uint_eq(set_pairs(CONTROL, 2), VIRTIO_NET_OK);
    send_frame(TX1, 0);
    wait_for_used(&rings[TX1], 1);
    pci_power_off();
}
END_TEST

UNIT_RUN("net", packets_go_both_ways, one_direction_waits_and_the_other_does_not, a_burst_goes_at_once,
         a_card_that_waits_is_reset, commands_without_sense_are_refused, the_control_queue_is_where_the_driver_looks,
         packets_come_by_the_pairs_in_use, packets_go_by_every_pair_in_use, a_tap_of_one_queue_is_refused,
         a_stream_that_ends_is_told_once, a_tap_that_is_deleted_is_told_once,
         garbage_in_the_control_queue_does_no_harm)
