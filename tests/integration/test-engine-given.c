/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NICs by a descriptor that the program gives: what it may be of, how long it lasts, and that nothing is left of it.
 */
#include "engine.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FD "nic.lan.fd"
#define TAP "given0"

enum { TAP_FLAGS = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, TRANSIENT = VMH_CREATE_START | VMH_CREATE_TRANSIENT };

/* --- descriptors --- */

static int open_device(const char *name, int flags, int mode)
{
    struct ifreq device = {.ifr_flags = (short)flags};
    const int    descriptor = open("/dev/net/tun", mode | O_CLOEXEC);

    g_strlcpy(device.ifr_name, name, sizeof device.ifr_name);
    ck_assert_msg(ioctl(descriptor, TUNSETIFF, &device) == 0, "%s: %s", name, g_strerror(errno));
    return descriptor;
}

/* It is there until nobody has it open. */
static gboolean wait_no_device(const char *name)
{
    const int64_t end = test_now_ms() + PATIENCE_MS;

    while (if_nametoindex(name) != 0 && test_now_ms() < end)
        g_usleep(5000);
    return if_nametoindex(name) == 0;
}

static int one_of(int descriptors[2])
{
    close(descriptors[1]);
    return descriptors[0];
}

static guint count_open(void)
{
    guint count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Those that the library closes in its own time are closed. */
static gboolean wait_open(guint count)
{
    const int64_t end = test_now_ms() + PATIENCE_MS;

    while (count_open() != count && test_now_ms() < end)
        g_usleep(5000);
    return count_open() == count;
}

/* Closes the caller's own as soon as it was given. */
static vmh_spec *give(vmh_spec *spec, int descriptor)
{
    g_autoptr(vmh_error) error = NULL;

    ck_assert_int_ge(descriptor, 0);
    vmh_spec_set_fd(spec, FD, descriptor, &error);
    assert_no_error();
    close(descriptor);
    return spec;
}

static vmh_spec *give_stream(vmh_spec *spec)
{
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    return give(spec, one_of(ends));
}

/* --- what it may be of --- */

static int of_file(void)
{
    g_autofree char *path = engine_file("file");

    return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static int of_directory(void)
{
    return open("/", O_RDONLY | O_CLOEXEC);
}

static int of_pipe(void)
{
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    return one_of(ends);
}

static int of_null(void)
{
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int of_event(void)
{
    return eventfd(0, EFD_CLOEXEC);
}

static int of_tcp(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int of_datagrams(void)
{
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    return one_of(ends);
}

static int of_packets(void)
{
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    return one_of(ends);
}

static int of_unconnected(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int of_listener(void)
{
    const int descriptor = of_unconnected();

    ck_assert_int_eq(
        bind(descriptor, (struct sockaddr *)&(struct sockaddr_un){.sun_family = AF_UNIX}, sizeof(sa_family_t)), 0);
    ck_assert_int_eq(listen(descriptor, 1), 0);
    return descriptor;
}

static int of_no_device(void)
{
    return open("/dev/net/tun", O_RDWR | O_CLOEXEC);
}

static int of_tun(void)
{
    return open_device(TAP, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, O_RDWR);
}

static int of_tap_with_pi(void)
{
    return open_device(TAP, IFF_TAP | IFF_VNET_HDR, O_RDWR);
}

static int of_tap_without_header(void)
{
    return open_device(TAP, IFF_TAP | IFF_NO_PI, O_RDWR);
}

static int of_tap_to_read(void)
{
    return open_device(TAP, TAP_FLAGS, O_RDONLY);
}

static int of_tap_detached(void)
{
    struct ifreq request = {.ifr_flags = IFF_DETACH_QUEUE};
    const int    descriptor = open_device(TAP, TAP_FLAGS | IFF_MULTI_QUEUE, O_RDWR);

    ck_assert_int_eq(ioctl(descriptor, TUNSETQUEUE, &request), 0);
    return descriptor;
}

static void refuses(vmh_host *host, int descriptor, const char *said)
{
    g_autoptr(vmh_spec) spec = give(engine_spec("refused", NULL), descriptor);
    static const uint64_t flags[] = {TRANSIENT | VMH_CREATE_VALIDATE_ONLY, TRANSIENT};

    for (guint i = 0; i < G_N_ELEMENTS(flags); i++) {
        g_autoptr(vmh_error) error = NULL;

        vmh_job_finish(vmh_host_create_vm(host, spec, flags[i], &error), PATIENCE_MS, &error);
        ck_assert_msg(vmh_error_code(error) == VMH_ERR_VALUE, "%s: %s", said, vmh_error_message(error));
        ck_assert_str_eq(vmh_error_property(error), FD);
        ck_assert_msg(strstr(vmh_error_message(error), said) &&
                          strstr(vmh_error_message(error), "a tap or macvtap device") &&
                          strstr(vmh_error_message(error), "a connected UNIX stream socket"),
                      "\"%s\" does not say \"%s\"", vmh_error_message(error), said);
    }
}

START_TEST(what_no_nic_can_use_is_refused)
{
    static const struct {
        int (*open)(void);
        const char *said;
        gboolean    of_root;
    } rows[] = {{of_file, "of a regular file", FALSE},
                {of_directory, "of a directory", FALSE},
                {of_pipe, "of a pipe", FALSE},
                {of_null, "of a device that is no tap", FALSE},
                {of_event, "of neither a device nor a socket", FALSE},
                {of_tcp, "of a socket of another domain than UNIX", FALSE},
                {of_datagrams, "of a UNIX socket that is no stream", FALSE},
                {of_packets, "of a UNIX socket that is no stream", FALSE},
                {of_unconnected, "of a UNIX socket that is not connected", FALSE},
                {of_listener, "of a UNIX socket that listens", FALSE},
                {of_no_device, "of /dev/net/tun before TUNSETIFF", TRUE},
                {of_tun, "of a tun device", TRUE},
                {of_tap_with_pi, "of a tap device made without IFF_NO_PI", TRUE},
                {of_tap_without_header, "of a tap device made without IFF_VNET_HDR", TRUE},
                {of_tap_to_read, "of a tap device that is not open to read and to write", TRUE},
                {of_tap_detached, "of a queue that is detached", TRUE}};
    const gboolean is_root = geteuid() == 0;
    g_autoptr(vmh_host) host = NULL;

    ck_assert(!is_root || unshare(CLONE_NEWNET) == 0);
    host = open_host(engine_uri());
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (is_root || !rows[i].of_root)
            refuses(host, rows[i].open(), rows[i].said);
        ck_assert(wait_no_device(TAP));
    }
    ck_assert_uint_eq(engine_processes(), 0);
}
END_TEST

/* To find out how a tap was made, it is given a filter for a moment, which must not be in another's place. */
START_TEST(the_programs_own_filter_stays)
{
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog  program = {.len = 1, .filter = &drop};
    g_autoptr(vmh_spec) spec = engine_spec("filter", NULL);
    g_autoptr(vmh_error) error = NULL;
    struct sockaddr_ll address = {.sll_family = AF_PACKET};
    const guint8       frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
    struct pollfd      wait = {.events = POLLIN};
    int                sender;

    if (geteuid() != 0)
        return;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    g_autoptr(vmh_host) host = open_host(engine_uri());
    wait.fd = open_device(TAP, TAP_FLAGS, O_RDWR);
    for (guint i = 0; i < 2; i++) {
        vmh_spec_set_fd(spec, FD, wait.fd, NULL);
        assert_ok(vmh_host_create_vm(host, spec, TRANSIENT | VMH_CREATE_VALIDATE_ONLY, &error));
        ck_assert_int_eq(ioctl(wait.fd, TUNATTACHFILTER, &program), 0);
    }
    g_free(RUN("ip", "link", "set", TAP, "up"));
    address.sll_ifindex = (int)if_nametoindex(TAP);
    sender = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    assert_ok(vmh_host_create_vm(host, spec, TRANSIENT | VMH_CREATE_VALIDATE_ONLY, &error));
    ck_assert_int_eq(sendto(sender, frame, sizeof frame, 0, (struct sockaddr *)&address, sizeof address),
                     sizeof frame);
    ck_assert_int_eq(poll(&wait, 1, 0), 0);
    ck_assert_int_eq(ioctl(wait.fd, TUNDETACHFILTER, &program), 0);
    ck_assert_int_eq(sendto(sender, frame, sizeof frame, 0, (struct sockaddr *)&address, sizeof address),
                     sizeof frame);
    ck_assert_int_eq(poll(&wait, 1, 0), 1);
    close(sender);
    close(wait.fd);
}
END_TEST

/* --- how long it lasts --- */

static vmh_job *update(vmh_vm *vm, const char *path, const char *text, uint64_t flags)
{
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);

    ck_assert_int_eq(vmh_spec_set(change, path, text, NULL), 0);
    return vmh_vm_update(vm, change, flags, 0, NULL);
}

static void expect_refusal(vmh_job *job, int32_t code, const char *property, const char *said)
{
    g_autoptr(vmh_error) error = NULL;

    ck_assert_int_eq(vmh_job_finish(job, PATIENCE_MS, &error), code);
    ck_assert_str_eq(vmh_error_property(error), property);
    ck_assert_msg(strstr(vmh_error_message(error), said) != NULL, "\"%s\" does not say \"%s\"",
                  vmh_error_message(error), said);
}

START_TEST(what_is_kept_takes_none)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = give_stream(engine_spec("kept", NULL));
    g_autoptr(vmh_spec) change = give_stream(vmh_spec_new("vm", NULL));
    g_autoptr(vmh_error) error = NULL;

    expect_refusal(vmh_host_create_vm(host, spec, 0, NULL), VMH_ERR_UNSUPPORTED, FD, "ends with the program");
    expect_refusal(vmh_host_create_vm(host, spec, VMH_CREATE_START, NULL), VMH_ERR_UNSUPPORTED, FD,
                   "VMH_CREATE_TRANSIENT");
    vmh_spec_unset(spec, FD, NULL);
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);
    expect_refusal(vmh_vm_update(vm, change, 0, 0, NULL), VMH_ERR_UNSUPPORTED, FD, "VMH_UPDATE_LIVE alone");
    expect_refusal(vmh_vm_update(vm, change, VMH_UPDATE_PERSIST, 0, NULL), VMH_ERR_UNSUPPORTED, FD, "nic.<id>.tap");
    expect_refusal(update(vm, FD, "given", VMH_UPDATE_LIVE), VMH_ERR_UNSUPPORTED, FD, "vmh_spec_set_fd()");
    assert_ok(vmh_vm_stop(vm, 0, &error));
    expect_refusal(vmh_vm_update(vm, change, 0, 0, NULL), VMH_ERR_UNSUPPORTED, FD, "ends with the program");
}
END_TEST

START_TEST(it_is_one_queue_and_nothing_beside_it)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = give_stream(engine_spec("one", NULL));

    vmh_spec_set(spec, "nic.lan.queues", "2", NULL);
    expect_refusal(vmh_host_create_vm(host, spec, TRANSIENT, NULL), VMH_ERR_UNSUPPORTED, "nic.lan.queues",
                   "is one queue");
    vmh_spec_unset(spec, "nic.lan.queues", NULL);
    vmh_spec_set(spec, "nic.lan.user", "yes", NULL);
    expect_refusal(vmh_host_create_vm(host, spec, TRANSIENT, NULL), VMH_ERR_VALUE, FD, "nic.lan.user is given too");
}
END_TEST

/* --- what is told of it --- */

static char *told(vmh_vm *vm, uint64_t flags)
{
    g_autoptr(vmh_spec) spec = vmh_vm_describe(vm, flags, NULL);

    return spec ? test_text(spec, FD) : NULL;
}

/* This program again, as another, prints what it is told. */
static int be_second(char **arguments)
{
    g_autoptr(vmh_host) host = vmh_host_open(arguments[0], NULL, 0, NULL);
    g_autoptr(vmh_vm) vm = host ? vmh_host_find_vm(host, arguments[1], NULL) : NULL;
    g_autofree char *text = vm ? told(vm, 0) : NULL;

    return text ? printf("%s", text) < 0 : 1;
}

START_TEST(a_description_tells_that_it_is_given_and_gives_none)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autofree char *name = test_name("told");
    g_autoptr(vmh_spec) spec = give_stream(engine_spec(name, NULL));
    g_autoptr(vmh_vm) vm = create(host, spec, TRANSIENT);
    g_autofree char *seen = SECOND(engine_uri(), name);
    g_autoptr(vmh_spec) described = vmh_vm_describe(vm, 0, NULL);
    g_autofree char *json = vmh_spec_to_json(described, 0, NULL);
    g_autoptr(vmh_spec) read = vmh_spec_from_json("vm", json, strlen(json), NULL);
    g_autoptr(vmh_error) error = NULL;

    ck_assert_str_eq(seen, "given");
    ck_assert_ptr_nonnull(strstr(json, "\"fd\":\"given\""));
    /* What comes back is as the VM is, but is no other VM's. */
    vmh_spec_set(read, "title", "another title", NULL);
    assert_ok(vmh_vm_update(vm, read, 0, 0, &error));
    vmh_spec_unset(read, "uuid", NULL);
    vmh_spec_set_str(read, "name", "another", NULL);
    expect_refusal(vmh_host_create_vm(host, read, TRANSIENT, NULL), VMH_ERR_VALUE, FD, "vmh_spec_set_fd()");
}
END_TEST

/* --- coming and going --- */

static vmh_host *open_impatient(void)
{
    g_autoptr(vmh_spec) options = vmh_spec_new("open", NULL);

    vmh_spec_set(options, "call.timeout", "4s", NULL);
    return vmh_host_open(engine_uri(), options, 0, NULL);
}

START_TEST(a_nic_that_goes_is_closed)
{
    g_autoptr(vmh_error) error = NULL;
    g_autofree char *before = NULL, *after = NULL;

    if (geteuid() != 0)
        return;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    g_autoptr(vmh_host) host = open_impatient();
    g_autoptr(vmh_vm) vm = engine_create(host, "goes", NULL, VMH_CREATE_START);
    vmh_spec *change = give(vmh_spec_new("vm", NULL), open_device(TAP, TAP_FLAGS, O_RDWR));
    assert_ok(vmh_vm_update(vm, change, VMH_UPDATE_LIVE | VMH_UPDATE_DRY_RUN, 0, &error));
    assert_ok(vmh_vm_update(vm, change, VMH_UPDATE_LIVE, 0, &error));
    assert_fails(vmh_vm_update(vm, change, VMH_UPDATE_LIVE, 0, &error), VMH_ERR_UNSUPPORTED);
    vmh_spec_unref(change);
    before = told(vm, 0);
    after = told(vm, VMH_DESCRIBE_PERSISTENT);
    ck_assert_str_eq(before, "given");
    ck_assert_str_eq(after, "");
    /* This guest has no driver, and lets go of its devices when it restarts. */
    assert_fails(update(vm, "nic.lan.present", "no", VMH_UPDATE_LIVE), VMH_ERR_BUSY);
    ck_assert_uint_ne(if_nametoindex(TAP), 0);
    assert_ok(vmh_vm_reset(vm, 0, &error));
    ck_assert(wait_no_device(TAP));
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_RUNNING);
}
END_TEST

START_TEST(nothing_is_left_open)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    guint before = 0;

    for (guint i = 0; i < 3; i++) {
        g_autoptr(vmh_error) error = NULL;
        vmh_spec *spec = give_stream(engine_spec("left", NULL)), *bad = give(engine_spec("bad", NULL), of_pipe());
        vmh_vm   *vm = create(host, spec, TRANSIENT);

        assert_fails(vmh_host_create_vm(host, spec, 0, &error), VMH_ERR_UNSUPPORTED);
        assert_fails(vmh_host_create_vm(host, bad, TRANSIENT, &error), VMH_ERR_VALUE);
        assert_ok(vmh_vm_stop(vm, 0, &error));
        vmh_vm_unref(vm);
        vmh_spec_unref(spec);
        vmh_spec_unref(bad);
        ck_assert(i == 0 || wait_open(before));
        before = count_open();
    }
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        what_no_nic_can_use_is_refused,
        the_programs_own_filter_stays,
        what_is_kept_takes_none,
        it_is_one_queue_and_nothing_beside_it,
        a_description_tells_that_it_is_given_and_gives_none,
        a_nic_that_goes_is_closed,
        nothing_is_left_open,
    };

    return argc == 3 ? be_second(argv + 1) : engine_run("engine-given", tests, G_N_ELEMENTS(tests));
}
