/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The queues of one device, with a driver that sets them up well and then puts anything into them, while anything
 * happens outside. The input is four bytes of features and a list of steps of eight bytes. DEVICE says which one it
 * is.
 */
#include "loop.h"
#include "machine.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_net.h>
#include <linux/virtio_vsock.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/un.h>

enum {
    DISK = 64 << 10,
    QUEUES = 5,
    RINGS = 0x1000,
    RINGS_STEP = 0x3000,
    CONFIGURATION = 0x2000,
    PIECE = 16, /* what addresses are counted in */
    MOST = 2048,
    PROGRAMS = 4,
    CID = 3,
    PATIENCE = 30
};

struct step {
    uint8_t  what, how;
    uint16_t where;
    uint32_t value;
};

/* What is of one device. */
struct fuzzed {
    const char *name;
    unsigned    queues, answers; /* how many there are, and bits for those that are served at once */
    void (*plug)(void);
    const char *plugged; /* it is made anew for each input, by this name; or NULL */
    /* Something that could be a request's beginning; or NULL. */
    void (*put)(void *place, const struct step *step);
    void (*outside)(const struct step *step);
};

static struct ring rings[QUEUES];
static int         outside = -1; /* the file or the socket behind the device */
static int         programs[PROGRAMS] = {-1, -1, -1, -1};

static void require(bool it)
{
    if (!it)
        __builtin_trap();
}

/* Throws away what came. */
static void drain(int descriptor)
{
    char bytes[MOST];

    while (recv(descriptor, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        continue;
}

static void send_some(int descriptor, size_t size, uint32_t value)
{
    uint32_t words[MOST / sizeof(uint32_t)];

    for (size_t i = 0; i < MOST / sizeof(uint32_t); i++)
        words[i] = value;
    send(descriptor, words, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A limit at which most has to wait, or none. */
static void limit(const char *name, const struct step *step)
{
    uint64_t limits[WIRE_LIMITS] = {0};

    limits[step->how % WIRE_LIMITS] = step->value;
    virtio_find(name)->kind->limit(virtio_find(name), limits);
}

/* --- blk --- */

static void plug_blk(void)
{
    struct failure     failure;
    struct blk_options options = {.name = "fuzz", .serial = "s", .can_discard = true, .queues = 2};

    options.descriptor = outside = memfd_create("disk", MFD_CLOEXEC);
    require(outside >= 0 && ftruncate(outside, DISK) == 0 && blk_plug(&vm, &options, &failure));
}

static void put_blk(void *place, const struct step *step)
{
    const struct virtio_blk_outhdr               header = {.type = step->how & 15, .sector = step->value};
    const struct virtio_blk_discard_write_zeroes part = {
        .sector = step->value & 0xff, .num_sectors = step->value >> 8 & 0xffff, .flags = step->value >> 24};

    if (step->how & 16)
        memcpy(place, &part, sizeof(part));
    else
        memcpy(place, &header, sizeof(header));
}

static void outside_blk(const struct step *step)
{
    if (step->where & 1)
        limit("disk.fuzz", step);
    else
        require(ftruncate(outside, step->value % (DISK + 1)) == 0);
}

/* --- net --- */

static void plug_net(void)
{
    struct failure     failure;
    struct net_options options = {.name = "fuzz", .kind = WIRE_NIC_STREAM, .pairs = 1};
    int                pair[2];

    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    if (outside >= 0)
        close(outside);
    outside = pair[0];
    options.descriptors[0] = pair[1];
    require(net_plug(&vm, &options, &failure));
}

static void put_net(void *place, const struct step *step)
{
    const struct virtio_net_hdr_v1 header = {.flags = step->how & 3,
                                             .gso_type = step->how >> 2,
                                             .hdr_len = step->value & 0xff,
                                             .csum_start = step->value >> 8 & 0xff,
                                             .num_buffers = step->value >> 16};

    memcpy(place, &header, sizeof(header));
}

static void outside_net(const struct step *step)
{
    const size_t   size = step->where % MOST;
    const uint32_t length = htonl((uint32_t)(step->how & 8 ? step->value : size));

    drain(outside);
    switch (step->how & 7) {
    case 0:
        limit("nic.fuzz", &(struct step){.how = step->how >> 3, .value = step->value});
        break;
    case 1:
        shutdown(outside, SHUT_WR);
        break;
    case 2:
        send_some(outside, size, step->value); /* no length, or the rest of a packet */
        break;
    default:
        send(outside, &length, sizeof(length), MSG_DONTWAIT | MSG_NOSIGNAL);
        send_some(outside, size, step->value);
        break;
    }
}

/* --- tap: a NIC of two pairs, for the queue by which they are chosen --- */

static int open_tap(void)
{
    struct ifreq request = {.ifr_name = "fuzz", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE};
    const int    tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    require(tap >= 0 && ioctl(tap, TUNSETIFF, &request) == 0);
    return tap;
}

static void plug_tap(void)
{
    const struct ifreq up = {.ifr_name = "fuzz", .ifr_flags = IFF_UP};
    struct failure     failure;
    struct net_options options = {.name = "fuzz", .kind = WIRE_NIC_TAP, .pairs = 2};

    require(unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0);
    options.descriptors[0] = open_tap();
    options.descriptors[1] = open_tap();
    outside = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    require(ioctl(outside, SIOCSIFFLAGS, &up) == 0 && net_plug(&vm, &options, &failure));
}

static void put_tap(void *place, const struct step *step)
{
    const struct virtio_net_ctrl_hdr header = {.class = VIRTIO_NET_CTRL_MQ, .cmd = step->how >> 5};
    const uint16_t                   pairs = step->value & 3;

    if (step->how & 16) {
        put_net(place, step);
        return;
    }
    memcpy(place, &header, sizeof(header));
    memcpy((char *)place + sizeof(header), &pairs, sizeof(pairs));
}

/* --- console --- */

static void plug_console(void)
{
    struct failure  failure;
    struct console *console = virtio_console_plug(&vm, "fuzz", &failure);

    require(console && (outside = console_open(console, false, &failure)) >= 0);
}

static void outside_console(const struct step *step)
{
    if (step->how & 1)
        drain(outside);
    else
        send_some(outside, step->where % MOST, step->value);
}

/* --- vsock --- */

static struct sockaddr_un place = {.sun_family = AF_UNIX};
static socklen_t          place_size = sizeof(place);

static void plug_vsock(void)
{
    const int      listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct failure failure;

    require(bind(listener, (struct sockaddr *)&place, sizeof(place.sun_family)) == 0 && listen(listener, 8) == 0 &&
            getsockname(listener, (struct sockaddr *)&place, &place_size) == 0 &&
            vsock_plug(&vm, CID, listener, &failure));
}

/* A packet that could be one of a stream's. */
static void put_vsock(void *where, const struct step *step)
{
    const uint32_t                value = step->value;
    const struct virtio_vsock_hdr header = {.src_cid = CID,
                                            .dst_cid = VMADDR_CID_HOST,
                                            .src_port = value & 3,
                                            .dst_port = 7 + (value >> 2 & 1),
                                            .len = value >> 16 & 0xff,
                                            .type = VIRTIO_VSOCK_TYPE_STREAM,
                                            .op = step->how,
                                            .flags = value >> 3 & 3,
                                            .buf_alloc = value,
                                            .fwd_cnt = value >> 24};

    memcpy(where, &header, sizeof(header));
}

static void hang_up(int *program)
{
    if (*program >= 0)
        close(*program);
    *program = -1;
}

static void dial(int *program, const char *verb, unsigned port)
{
    char line[32];
    int  length = snprintf(line, sizeof(line), "%s %u\n", verb, port);

    hang_up(program);
    *program = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(*program >= 0);
    if (connect(*program, (struct sockaddr *)&place, place_size) == 0)
        send(*program, line, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void outside_vsock(const struct step *step)
{
    int *program = &programs[step->how >> 3 & 3];

    switch (step->how & 7) {
    case 0:
        dial(program, "CONNECT", step->value & 3);
        break;
    case 1:
        dial(program, "LISTEN", 7 + (step->value & 1));
        break;
    case 2:
        hang_up(program);
        break;
    case 3:
        drain(*program);
        break;
    case 4:
        shutdown(*program, step->value % 3);
        break;
    default:
        send_some(*program, step->where % MOST, step->value);
        break;
    }
}

/* --- balloon and rng --- */

static void plug_balloon(void)
{
    struct failure failure;

    require(balloon_plug(&vm, &failure));
}

static void put_balloon(void *where, const struct step *step)
{
    const struct virtio_balloon_stat value = {.tag = step->how & 15, .val = step->value};
    const uint32_t                   pages[] = {step->value, step->value + 1, step->value + 2, step->value >> 8};

    if (step->how & 16)
        memcpy(where, &value, sizeof(value));
    else
        memcpy(where, pages, sizeof(pages));
}

static void outside_balloon(const struct step *step)
{
    balloon_aim((uint64_t)step->where * PIECE);
}

static void plug_rng(void)
{
    struct failure failure;

    require(rng_plug(&vm, &failure));
}

/* --- the driver --- */

static const struct fuzzed all[] = {
    {"balloon", 4, 1 << 0 | 1 << 1 | 1 << 3, plug_balloon, NULL, put_balloon, outside_balloon},
    {"blk", 2, 1 << 0 | 1 << 1, plug_blk, "disk.fuzz", put_blk, outside_blk},
    {"console", 2, 1 << 1, plug_console, NULL, NULL, outside_console},
    {"net", 2, 1 << 1, plug_net, "nic.fuzz", put_net, outside_net},
    {"rng", 1, 1 << 0, plug_rng, NULL, NULL, NULL},
    {"tap", 5, 1 << 1 | 1 << 3 | 1 << 4, plug_tap, NULL, put_tap, NULL},
    {"vsock", 3, 1 << 1, plug_vsock, NULL, put_vsock, outside_vsock},
};
static const struct fuzzed *fuzzed;

static void start(uint32_t features)
{
    negotiate(get_offered() & (features | UINT64_C(0xffffffff00000000)));
    for (uint16_t i = 0; i < fuzzed->queues; i++)
        rings[i] = set_up_ring(i, RINGS + RINGS_STEP * i);
    set_status(get_status() | VIRTIO_CONFIG_S_DRIVER_OK);
}

static void describe_any(struct ring *ring, const struct step *step)
{
    ring->descriptors[step->how >> 4 & (RING_SIZE - 1)] = (struct vring_desc){
        .addr = step->where == UINT16_MAX ? UINT64_MAX - (step->value & 0xff) : (uint64_t)step->where * PIECE,
        .len = step->value >> 31 ? step->value : step->value & 0xffff,
        .flags = step->value >> 16 & 7,
        .next = step->value >> 20 & 15,
    };
}

/* With a moment for what is served at once, but now and then without. */
static void offer(unsigned queue, const struct step *step)
{
    struct ring *ring = &rings[queue];

    offer_chain(ring, step->where & 15);
    if (step->value & 1 || !(fuzzed->answers >> queue & 1))
        return;
    for (unsigned i = 0; i < PATIENCE && get_status() & VIRTIO_CONFIG_S_DRIVER_OK &&
                         __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) != ring->available->idx;
         i++)
        usleep(10);
}

static void do_step(const struct step *step)
{
    const unsigned queue = (step->how & 15) % fuzzed->queues;
    void          *where = at((uint64_t)step->where * PIECE % (MACHINE_MEMORY - 64));

    switch (step->what & 7) {
    case 0:
        describe_any(&rings[queue], step);
        break;
    case 1:
        offer(queue, step);
        break;
    case 2:
        memcpy((char *)where + (step->how & (PIECE - 1)), &step->value, sizeof(step->value));
        break;
    case 3:
        if (fuzzed->put)
            fuzzed->put(where, step);
        break;
    case 4:
        if (fuzzed->outside)
            fuzzed->outside(step);
        break;
    case 5:
        store(&vm.mmio, driven(CONFIGURATION + (step->where & 63)), 1u << (step->how & 3), step->value);
        break;
    case 6:
        load(&vm.mmio, driven(CONFIGURATION + (step->where & 63)), 1u << (step->how & 3));
        break;
    default:
        start(step->value);
        break;
    }
}

/* --- inputs --- */

static void *run_loop(void *data)
{
    (void)data;
    loop_run();
    return NULL;
}

static void make(void)
{
    pthread_t thread;

    make_machine();
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(all[i].name, DEVICE) == 0)
            fuzzed = &all[i];
    }
    require(fuzzed);
    if (!fuzzed->plugged)
        fuzzed->plug();
    require(pthread_create(&thread, NULL, run_loop, NULL) == 0);
}

/* Each input begins alike, as far as devices can be had anew. */
static void begin(uint32_t features)
{
    memset(vm.memory.base, 0, MACHINE_MEMORY);
    if (fuzzed->plugged)
        fuzzed->plug();
    pci_power_on();
    drive_pci(1);
    start(features);
}

static void end(void)
{
    struct failure       failure;
    struct pci_function *function;

    pci_power_off();
    for (unsigned i = 0; i < PROGRAMS; i++)
        hang_up(&programs[i]);
    if (!fuzzed->plugged) {
        drain(outside);
        return;
    }
    require(pci_unplug(fuzzed->plugged, true, &failure));
    while ((function = pci_take_ejected()))
        function->kind->destroy(function);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct step step;
    uint32_t    features = UINT32_MAX;

    if (!fuzzed)
        make();
    if (size >= sizeof(features)) {
        memcpy(&features, data, sizeof(features));
        data += sizeof(features);
        size -= sizeof(features);
    }
    begin(features);
    for (; size >= sizeof(step); data += sizeof(step), size -= sizeof(step)) {
        memcpy(&step, data, sizeof(step));
        do_step(&step);
    }
    end();
    return 0;
}
