/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NICs by what they are attached to: a guest sends frames and sends back what comes, and the host sees them. */
#include "engine.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TYPE = 0x88b5, SENT = 50, ECHOED = 100, FRAME = 600 };

static const guint8 guest[ETH_ALEN] = {2, 0, 0, 0, 0, 1}, ours[ETH_ALEN] = {2, 0, 0, 0, 0, 2};

struct frame {
    struct ether_header header;
    guint64             number;
    guint8              rest[1500 - 8];
} __attribute__((packed));

/* --- the other end --- */

static void be_patient(int descriptor)
{
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};

    ck_assert(setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
}

/* A socket that sees what goes over a device. */
static int listen_at(const char *device)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(TYPE)};
    const int          descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TYPE));

    address.sll_ifindex = (int)if_nametoindex(device);
    ck_assert(bind(descriptor, (struct sockaddr *)&address, sizeof address) == 0);
    be_patient(descriptor);
    return descriptor;
}

/* The next frame that comes from the guest, and none of our own. */
static gssize receive_frame(int descriptor, struct frame *frame)
{
    struct sockaddr_ll from;
    gssize             got;

    do {
        socklen_t size = sizeof from;

        got = recvfrom(descriptor, frame, sizeof *frame, 0, (struct sockaddr *)&from, &size);
        ck_assert_msg(got > 0, "no frame: %s", g_strerror(errno));
    } while (from.sll_pkttype == PACKET_OUTGOING);
    return got;
}

static void send_frame(int descriptor, const struct frame *frame, gsize size)
{
    ck_assert_int_eq(send(descriptor, frame, size, 0), size);
}

/* --- the guest --- */

static vmh_spec *net_spec(void)
{
    g_autofree char *cmdline = g_strdup_printf("send=%d size=%d echo=%d", SENT, FRAME, ECHOED);

    return engine_guest_spec("net", cmdline);
}

static void expect_numbers(int descriptor)
{
    struct frame frame;

    for (guint64 i = 0; i < SENT; i++) {
        ck_assert_int_eq(receive_frame(descriptor, &frame), FRAME);
        ck_assert_uint_eq(frame.number, i);
        ck_assert(memcmp(frame.header.ether_shost, guest, ETH_ALEN) == 0);
    }
}

static void expect_echoes(int descriptor)
{
    struct frame frame, sent = {.header.ether_type = htons(TYPE)};

    memcpy(sent.header.ether_dhost, guest, ETH_ALEN);
    memcpy(sent.header.ether_shost, ours, ETH_ALEN);
    for (guint64 i = 0; i < ECHOED; i++) {
        const gsize size = 60 + i * 14;

        sent.number = ~i;
        memset(sent.rest, (int)i, sizeof sent.rest);
        send_frame(descriptor, &sent, size);
        ck_assert_int_eq(receive_frame(descriptor, &frame), size);
        ck_assert(memcmp(frame.header.ether_dhost, ours, ETH_ALEN) == 0);
        ck_assert(memcmp(&frame.number, &sent.number, size - sizeof frame.header) == 0);
    }
}

static void expect_words(vmh_vm *vm)
{
    g_autofree char *words = engine_words(vm, NULL);

    ck_assert_uint_eq(engine_value(words, "sent"), SENT + ECHOED);
    ck_assert_uint_eq(engine_value(words, "received"), ECHOED);
}

/* --- a tap by its name --- */

START_TEST(frames_go_both_ways)
{
    int descriptor;

    if (geteuid() != 0)
        return;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    g_free(RUN("ip", "tuntap", "add", "tap0", "mode", "tap"));
    g_free(RUN("ip", "link", "set", "tap0", "up"));
    descriptor = listen_at("tap0");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = net_spec();
    vmh_spec_set_str(spec, "nic.lan.tap", "tap0", NULL);
    vmh_spec_set(spec, "nic.lan.mac", "02:00:00:00:00:01", NULL);
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);
    expect_numbers(descriptor);
    expect_echoes(descriptor);
    close(descriptor);
    expect_words(vm);
}
END_TEST

/* --- one thing to be attached to --- */

START_TEST(a_nic_is_attached_to_one_thing)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = engine_spec("one", NULL);
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_spec) now = NULL;
    g_autoptr(vmh_error) error = NULL;
    g_autofree char *tap = NULL, *bridge = NULL;

    vmh_spec_set(spec, "nic.lan.tap", "tap0", NULL);
    vmh_spec_set(spec, "nic.lan.user", "yes", NULL);
    vmh_job_finish(vmh_host_create_vm(host, spec, 0, &error), PATIENCE_MS, &error);
    ck_assert_str_eq(vmh_error_property(error), "nic.lan.user");
    ck_assert_ptr_nonnull(strstr(vmh_error_message(error), "nic.lan.tap is given too"));
    assert_error(VMH_ERR_VALUE);
    /* What an update gives takes the place of what was there. */
    vmh_spec_set(spec, "nic.lan.user", "no", NULL);
    g_autoptr(vmh_vm) vm = create(host, spec, 0);
    vmh_spec_set(change, "nic.lan.bridge", "br0", NULL);
    assert_ok(vmh_vm_update(vm, change, 0, 0, &error));
    now = vmh_vm_describe(vm, 0, NULL);
    tap = test_text(now, "nic.lan.tap");
    bridge = test_text(now, "nic.lan.bridge");
    ck_assert_str_eq(tap, "");
    ck_assert_str_eq(bridge, "br0");
    vmh_spec_set(change, "nic.lan.tap", "tap0", NULL);
    assert_fails(vmh_vm_update(vm, change, 0, 0, &error), VMH_ERR_VALUE);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {frames_go_both_ways, a_nic_is_attached_to_one_thing};

    return engine_run("engine-nic", tests, G_N_ELEMENTS(tests));
}
