/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NICs by what they are attached to: a guest sends frames and sends back what comes, and the host sees them. */
#include "engine.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
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

static gboolean is_stream(int descriptor)
{
    int       type = 0;
    socklen_t size = sizeof type;

    ck_assert_int_eq(getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size), 0);
    return type == SOCK_STREAM;
}

/* Of a stream, after its length. */
static gssize receive_after_length(int descriptor, struct frame *frame)
{
    guint32 size = 0;

    ck_assert_int_eq(recv(descriptor, &size, sizeof size, MSG_WAITALL), sizeof size);
    size = ntohl(size);
    ck_assert_uint_le(size, sizeof *frame);
    ck_assert_int_eq(recv(descriptor, frame, size, MSG_WAITALL), size);
    return size;
}

/* The next frame that comes from the guest, and none of our own. */
static gssize receive_frame(int descriptor, struct frame *frame)
{
    struct sockaddr_ll from;
    gssize             got;

    if (is_stream(descriptor))
        return receive_after_length(descriptor, frame);
    do {
        socklen_t size = sizeof from;

        got = recvfrom(descriptor, frame, sizeof *frame, 0, (struct sockaddr *)&from, &size);
        ck_assert_msg(got > 0, "no frame: %s", g_strerror(errno));
    } while (from.sll_pkttype == PACKET_OUTGOING);
    return got;
}

static void send_frame(int descriptor, const struct frame *frame, gsize size)
{
    const guint32 length = htonl((guint32)size);

    if (is_stream(descriptor))
        ck_assert_int_eq(send(descriptor, &length, sizeof length, MSG_MORE), sizeof length);
    ck_assert_int_eq(send(descriptor, frame, size, 0), size);
}

/* --- the guest --- */

static vmh_spec *net_spec(void)
{
    g_autofree char *cmdline = g_strdup_printf("send=%d size=%d echo=%d", SENT, FRAME, ECHOED);

    vmh_spec *spec = engine_guest_spec("net", cmdline);

    ck_assert_int_eq(vmh_spec_set(spec, "nic.lan.mac", "02:00:00:00:00:01", NULL), 0);
    return spec;
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

/* Whoever watches looks why the guest, which goes on, has no network any more. */
static void expect_loss(vmh_vm *vm, vmh_queue *queue, const char *name)
{
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_event) event = test_wait_event(queue, VMH_EVENT_VM_CHANGED, name, PATIENCE_MS);

    ck_assert_ptr_nonnull(event);
    ck_assert_str_eq(vmh_event_str(event, "reason"), "devices");
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_RUNNING);
    assert_ok(vmh_vm_stop(vm, 0, &error));
}

/* --- a tap by its name --- */

static void make_tap(void)
{
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    g_free(RUN("ip", "tuntap", "add", "tap0", "mode", "tap"));
    g_free(RUN("ip", "link", "set", "tap0", "up"));
}

START_TEST(frames_go_both_ways)
{
    int descriptor;

    if (geteuid() != 0)
        return;
    make_tap();
    descriptor = listen_at("tap0");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = net_spec();
    vmh_spec_set_str(spec, "nic.lan.tap", "tap0", NULL);
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);
    expect_numbers(descriptor);
    expect_echoes(descriptor);
    close(descriptor);
    expect_words(vm);
}
END_TEST

START_TEST(a_tap_that_is_deleted_is_told)
{
    if (geteuid() != 0)
        return;
    make_tap();
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = net_spec();
    g_autofree char *name = test_text(spec, "name");
    vmh_spec_set_str(spec, "nic.lan.tap", "tap0", NULL);
    vmh_spec_set_str(spec, "boot.cmdline", "echo=1", NULL);
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);
    g_autoptr(vmh_queue) queue = vmh_queue_new(host, "vm", 0, NULL);
    g_free(RUN("ip", "link", "delete", "tap0"));
    expect_loss(vm, queue, name);
}
END_TEST

/* --- passt --- */

/* It is begun by what writes down which process it is. */
static gboolean wrap_passt(const char *number)
{
    g_autofree char *passt = g_find_program_in_path("passt");
    g_autofree char *directory = engine_file("programs");
    g_autofree char *program = g_build_filename(directory, "passt", NULL);
    g_autofree char *path = g_strconcat(directory, ":", g_getenv("PATH"), NULL);
    g_autofree char *script =
        g_strdup_printf("#!/bin/sh\necho $$ >%s.new\nmv %s.new %s\nexec %s \"$@\"\n", number, number, number, passt);

    if (!passt)
        return FALSE;
    ck_assert_int_eq(g_mkdir(directory, 0755), 0);
    ck_assert(g_file_set_contents(program, script, -1, NULL));
    ck_assert_int_eq(g_chmod(program, 0755), 0);
    g_setenv("PATH", path, TRUE);
    return TRUE;
}

static pid_t wait_passt(const char *number)
{
    const int64_t    end = test_now_ms() + PATIENCE_MS;
    g_autofree char *text = NULL;

    while (!g_file_get_contents(number, &text, NULL, NULL) && test_now_ms() < end)
        g_usleep(5000);
    ck_assert_ptr_nonnull(text);
    return (pid_t)g_ascii_strtoll(text, NULL, 10);
}

START_TEST(a_passt_that_dies_is_told)
{
    g_autofree char *number = engine_file("number");

    if (!wrap_passt(number))
        return;
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = net_spec();
    g_autofree char *name = test_text(spec, "name");
    vmh_spec_set(spec, "nic.lan.user", "yes", NULL);
    vmh_spec_set_str(spec, "boot.cmdline", "echo=1", NULL);
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);
    g_autoptr(vmh_queue) queue = vmh_queue_new(host, "vm", 0, NULL);
    ck_assert_int_eq(kill(wait_passt(number), SIGKILL), 0);
    expect_loss(vm, queue, name);
}
END_TEST

/* --- a descriptor --- */

/* A tap of this test's own, which is there until nobody has it open. */
static int open_tap(void)
{
    struct ifreq device = {.ifr_name = "tap0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    const int    descriptor = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    ck_assert_msg(ioctl(descriptor, TUNSETIFF, &device) == 0, "%s", g_strerror(errno));
    g_free(RUN("ip", "link", "set", "tap0", "up"));
    return descriptor;
}

static void give(vmh_spec *spec, int descriptor)
{
    ck_assert_int_eq(vmh_spec_set_fd(spec, "nic.lan.fd", descriptor, NULL), 0);
    close(descriptor);
}

/* Nothing of the program's has the descriptor when it returns. */
static vmh_vm *create_given(vmh_host *host, int descriptor)
{
    g_autoptr(vmh_spec) spec = net_spec();

    give(spec, descriptor);
    return create(host, spec, VMH_CREATE_START | VMH_CREATE_TRANSIENT);
}

START_TEST(a_given_tap_outlives_the_programs_own_and_a_reset)
{
    g_autoptr(vmh_error) error = NULL;
    int           tap, descriptor;
    const int64_t end = test_now_ms() + PATIENCE_MS;

    if (geteuid() != 0)
        return;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    tap = open_tap();
    descriptor = listen_at("tap0");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = create_given(host, tap);
    expect_numbers(descriptor);
    assert_ok(vmh_vm_reset(vm, 0, &error));
    expect_numbers(descriptor);
    expect_echoes(descriptor);
    close(descriptor);
    expect_words(vm);
    while (if_nametoindex("tap0") != 0 && test_now_ms() < end)
        g_usleep(5000);
    ck_assert_uint_eq(if_nametoindex("tap0"), 0);
}
END_TEST

static void lose_rights(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct   none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    ck_assert_int_eq(syscall(SYS_capset, &header, none), 0);
    ck_assert_int_lt(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), 0);
}

/* What it could not open itself. */
START_TEST(a_program_without_rights_is_given_a_tap)
{
    int tap, descriptor;

    if (geteuid() != 0)
        return;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    tap = open_tap();
    descriptor = listen_at("tap0");
    lose_rights();
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = create_given(host, tap);
    expect_numbers(descriptor);
    expect_echoes(descriptor);
    close(descriptor);
    expect_words(vm);
}
END_TEST

/* As a supervisor gives it: the device file of an interface on top of another one. */
static int open_macvtap(const char *name)
{
    g_autofree char *command =
        g_strdup_printf("cat /sys/class/net/%s/macvtap/*/dev", name); /* as this network's sysfs has it */
    g_autofree char *numbers = RUN("sh", "-c", command);
    g_autofree char *path = engine_file("macvtap");
    unsigned         major, minor;
    int              descriptor;

    ck_assert_int_eq(sscanf(numbers, "%u:%u", &major, &minor), 2);
    ck_assert_int_eq(mknod(path, S_IFCHR | 0600, makedev(major, minor)), 0);
    descriptor = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_msg(descriptor >= 0, "%s: %s", path, g_strerror(errno));
    g_unlink(path);
    return descriptor;
}

START_TEST(a_macvtap_is_given)
{
    int descriptor;

    if (geteuid() != 0)
        return;
    ck_assert_int_eq(unshare(CLONE_NEWNET | CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("sysfs", "/sys", "sysfs", 0, NULL), 0);
    g_free(RUN("ip", "link", "add", "lower0", "type", "veth", "peer", "name", "far0"));
    if (system("ip link add link lower0 name over0 address 02:00:00:00:00:01 type macvtap mode bridge") != 0)
        return; /* a kernel without it */
    g_free(RUN("sh", "-c", "for i in lower0 far0 over0; do ip link set $i up; done"));
    descriptor = listen_at("far0");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = create_given(host, open_macvtap("over0"));
    expect_numbers(descriptor);
    expect_echoes(descriptor);
    close(descriptor);
    expect_words(vm);
}
END_TEST

START_TEST(a_stream_is_given)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    be_patient(ends[0]);
    g_autoptr(vmh_vm) vm = create_given(host, ends[1]);
    expect_numbers(ends[0]);
    expect_echoes(ends[0]);
    expect_words(vm);
    ck_assert_int_eq(recv(ends[0], ends, 1, 0), 0); /* nobody has the other end any more */
    close(ends[0]);
}
END_TEST

/* The guest finds a card that was not there when it was made. */
START_TEST(a_given_tap_is_plugged_in)
{
    g_autoptr(vmh_error) error = NULL;
    int tap, descriptor;

    if (geteuid() != 0)
        return;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    tap = open_tap();
    descriptor = listen_at("tap0");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = net_spec();
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    vmh_spec_unset(spec, "nic.lan.mac", NULL);
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START | VMH_CREATE_PAUSED);
    give(change, tap);
    vmh_spec_set(change, "nic.lan.mac", "02:00:00:00:00:01", NULL);
    assert_ok(vmh_vm_update(vm, change, VMH_UPDATE_LIVE, 0, &error));
    vmh_spec_unset(change, "nic.lan.fd", NULL);
    assert_ok(vmh_vm_resume(vm, 0, &error));
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
    const TTest *const tests[] = {
        frames_go_both_ways,
        a_tap_that_is_deleted_is_told,
        a_passt_that_dies_is_told,
        a_given_tap_outlives_the_programs_own_and_a_reset,
        a_program_without_rights_is_given_a_tap,
        a_macvtap_is_given,
        a_stream_is_given,
        a_given_tap_is_plugged_in,
        a_nic_is_attached_to_one_thing,
    };

    return engine_run("engine-nic", tests, G_N_ELEMENTS(tests));
}
