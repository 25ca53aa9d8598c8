/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Limits and queues of devices. Those of a disk are counted by what a guest gets through that reads one sector after
 * the other. That it gets no more is exact; how much less it gets depends on how busy this machine is, so that is
 * asserted as something it gets at all.
 */
#include "engine.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SECTOR = 512 };

typedef struct {
    vmh_host *host;
    vmh_vm   *vm;
    char     *file, *name;
} bed;

static void bed_clear(bed *b)
{
    vmh_vm_unref(b->vm);
    vmh_host_unref(b->host);
    g_free(b->file);
    g_free(b->name);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(bed, bed_clear)

static bed begin(const char *what, const char *path, const char *value)
{
    bed b = {.host = open_host(engine_uri()), .file = test_disk(what, 1), .name = test_name(what)};
    g_autoptr(vmh_spec) spec = engine_spec(b.name, "read");

    ck_assert_int_eq(vmh_spec_set_str(spec, "disk.data.path", b.file, NULL), 0);
    if (path)
        ck_assert_int_eq(vmh_spec_set(spec, path, value, NULL), 0);
    b.vm = create(b.host, spec, VMH_CREATE_START);
    return b;
}

static uint64_t metric(const bed *b, const char *name)
{
    g_autofree char *column = g_strconcat("disk.data.", name, NULL);
    g_autoptr(vmh_frame) frame = vmh_host_sample(b->host, column, 0, NULL);
    const uint64_t *values;

    ck_assert_ptr_nonnull(frame);
    if (vmh_frame_rows(frame) != 1 || vmh_frame_column(frame, column, &values, NULL, NULL) != 0 ||
        values[0] == VMH_METRIC_NONE)
        return 0;
    return values[0];
}

/* Waits until so much more was done. How long that took, in ms. */
static int64_t wait_for(const bed *b, const char *name, uint64_t more)
{
    const int64_t  begin = test_now_ms();
    const uint64_t goal = metric(b, name) + more;

    while (metric(b, name) < goal) {
        ck_assert_msg(test_now_ms() - begin < PATIENCE_MS, "%s does not come to %" G_GUINT64_FORMAT, name, goal);
        g_usleep(1000);
    }
    return test_now_ms() - begin;
}

static void wait_for_first(const bed *b)
{
    if (!metric(b, "read.ops"))
        wait_for(b, "read.ops", 1);
}

/* An update for the next start alone says so. */
static void update(const bed *b, const char *path, const char *value, uint64_t flags)
{
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_job) job = NULL;

    ck_assert_int_eq(vmh_spec_set(change, path, value, NULL), 0);
    job = vmh_vm_update(b->vm, change, flags, 0, &error);
    ck_assert_msg(vmh_job_wait(job, PATIENCE_MS, &error) == 0, "%s", vmh_error_message(error));
    ck_assert_int_eq(vmh_job_verdict(job, 0),
                     flags == VMH_UPDATE_PERSIST ? VMH_VERDICT_AFTER_RESTART : VMH_VERDICT_APPLIED);
}

static void assert_value(const bed *b, const char *path, uint64_t flags, const char *value)
{
    g_autoptr(vmh_spec) spec = vmh_vm_describe(b->vm, flags, NULL);
    g_autofree char *text = spec ? test_text(spec, path) : NULL;

    ck_assert_str_eq(text, value);
}

/* A thread that was late makes up for it, by 200 ms at most; of those that were counted, one may have begun before.
 */
static void assert_at_most(const bed *b, const char *name, uint64_t more, uint64_t per_second)
{
    enum { LATE_MS = 250 };
    const int64_t took = wait_for(b, name, more);

    ck_assert_msg((uint64_t)took + LATE_MS >= more * 1000 / per_second,
                  "%" G_GUINT64_FORMAT " of %s in %" G_GINT64_FORMAT " ms", more, name, took);
}

START_TEST(a_guest_gets_the_operations_of_its_limit)
{
    g_auto(bed) b = begin("iops", "disk.data.iops.read", "50");

    wait_for_first(&b);
    assert_at_most(&b, "read.ops", 50, 50);
    ck_assert_uint_gt(metric(&b, "read.stalled"), 100000000);
    ck_assert_uint_eq(metric(&b, "write.stalled"), 0);
    update(&b, "disk.data.iops.read", "200", VMH_UPDATE_LIVE);
    assert_value(&b, "disk.data.iops.read", 0, "200");
    assert_value(&b, "disk.data.iops.read", VMH_DESCRIBE_PERSISTENT, "50");
    assert_at_most(&b, "read.ops", 200, 200);
    /* The other direction's is not its own, and the total is. */
    update(&b, "disk.data.iops.write", "1", VMH_UPDATE_LIVE);
    update(&b, "disk.data.iops.read", "0", VMH_UPDATE_LIVE);
    ck_assert_int_lt(wait_for(&b, "read.ops", 20), 15000);
    update(&b, "disk.data.iops.total", "20", VMH_UPDATE_LIVE);
    assert_at_most(&b, "read.ops", 20, 20);
}
END_TEST

START_TEST(a_guest_gets_the_bytes_of_its_limit)
{
    g_auto(bed) b = begin("bytes", "disk.data.bandwidth.total", "50KiB/s");

    wait_for_first(&b);
    assert_at_most(&b, "read.bytes", 100 * SECTOR, 50 * 1024);
    update(&b, "disk.data.bandwidth.total", "0", 0);
    assert_value(&b, "disk.data.bandwidth.total", VMH_DESCRIBE_PERSISTENT, "0");
}
END_TEST

/* At a byte a second, a sector takes minutes. */
START_TEST(what_waits_goes_when_the_limit_is_lifted)
{
    g_auto(bed) b = begin("lifted", NULL, NULL);
    uint64_t then;

    wait_for(&b, "read.ops", 10);
    update(&b, "disk.data.bandwidth.read", "1", VMH_UPDATE_LIVE);
    then = metric(&b, "read.ops");
    g_usleep(300000);
    /* One had begun, and the next goes at once and is paid for after. */
    ck_assert_uint_le(metric(&b, "read.ops"), then + 2);
    update(&b, "disk.data.bandwidth.read", "0", VMH_UPDATE_LIVE);
    wait_for(&b, "read.ops", 10);
}
END_TEST

START_TEST(a_disk_that_waits_hinders_nothing)
{
    g_auto(bed) b = begin("waits", "disk.data.bandwidth.read", "1");
    g_autoptr(vmh_error) error = NULL;
    const int64_t start = test_now_ms();

    /* The first goes at once, and is paid for after. */
    wait_for_first(&b);
    for (unsigned i = 0; i < 2; i++) {
        assert_ok(vmh_vm_pause(b.vm, 0, &error));
        assert_ok(vmh_vm_resume(b.vm, 0, &error));
        assert_ok(vmh_vm_reset(b.vm, 0, &error));
    }
    assert_ok(vmh_vm_stop(b.vm, 0, &error));
    ck_assert_int_lt(test_now_ms() - start, 60000);
}
END_TEST

START_TEST(the_next_start_has_the_limit_that_was_kept)
{
    g_auto(bed) b = begin("kept", NULL, NULL);
    g_autoptr(vmh_error) error = NULL;

    update(&b, "disk.data.iops.total", "50", VMH_UPDATE_PERSIST);
    assert_value(&b, "disk.data.iops.total", 0, "");
    assert_ok(vmh_vm_stop(b.vm, 0, &error));
    assert_ok(vmh_vm_start(b.vm, 0, &error));
    wait_for_first(&b);
    assert_at_most(&b, "read.ops", 50, 50);
}
END_TEST

/* --- NICs, of which the guest here has no driver --- */

static void make_tap(const char *name, short flags)
{
    struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)};
    const int    tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    g_strlcpy(request.ifr_name, name, sizeof request.ifr_name);
    ck_assert(tap >= 0 && ioctl(tap, TUNSETIFF, &request) == 0 && ioctl(tap, TUNSETPERSIST, 1) == 0);
    close(tap);
}

/* The VM, or NULL with its error. */
static vmh_vm *with_nic(vmh_host *host, const char *tap, const char *queues, vmh_error **error)
{
    static unsigned  count;
    g_autofree char *what = g_strdup_printf("nic-%u", count++);
    g_autofree char *name = test_name(what);
    g_autoptr(vmh_spec) spec = engine_spec(name, NULL);
    g_autoptr(vmh_job) job = NULL;

    vmh_spec_set_str(spec, "nic.lan.tap", tap, error);
    vmh_spec_set(spec, "nic.lan.queues", queues, error);
    vmh_spec_set(spec, "nic.lan.inbound.rate", "1MB/s", error);
    job = vmh_host_create_vm(host, spec, VMH_CREATE_START, error);
    return vmh_job_wait(job, PATIENCE_MS, error) == 0 ? vmh_job_result_vm(job) : NULL;
}

START_TEST(a_tap_device_has_the_queues_of_its_nic)
{
    g_autoptr(vmh_error) error = NULL;

    if (unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", W_OK) < 0)
        return; /* nobody here may make one */
    make_tap("several", IFF_MULTI_QUEUE);
    make_tap("single", 0);
    g_autoptr(vmh_host) host = open_host(engine_uri());
    ck_assert_ptr_null(with_nic(host, "single", "2", &error));
    ck_assert_str_eq(vmh_error_property(error), "nic.lan.queues");
    assert_error(VMH_ERR_VALUE);
    ck_assert_ptr_null(with_nic(host, "several", "9", &error));
    ck_assert_str_eq(vmh_error_property(error), "nic.lan.queues");
    assert_error(VMH_ERR_VALUE);
    g_autoptr(vmh_vm) one G_GNUC_UNUSED = with_nic(host, "single", "1", &error);
    assert_no_error();
    g_autoptr(vmh_vm) four = with_nic(host, "several", "4", &error);
    assert_no_error();
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    vmh_spec_set(change, "nic.lan.outbound.rate", "2MB/s", NULL);
    vmh_spec_set(change, "nic.lan.outbound.burst", "1MiB", NULL);
    vmh_spec_set(change, "nic.lan.inbound.rate", "0", NULL);
    assert_ok(vmh_vm_update(four, change, VMH_UPDATE_LIVE, 0, &error));
    /* One that was made for several is used with one. */
    assert_ok(vmh_vm_stop(four, 0, &error));
    g_autoptr(vmh_vm) first G_GNUC_UNUSED = with_nic(host, "several", "1", &error);
    assert_no_error();
}
END_TEST

START_TEST(what_contradicts_itself_is_refused)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = engine_spec("contradicts", NULL);
    g_autoptr(vmh_error) error = NULL;

    vmh_spec_set(spec, "nic.lan.user", "yes", NULL);
    vmh_spec_set(spec, "nic.lan.queues", "2", NULL);
    assert_fails(vmh_host_create_vm(host, spec, 0, &error), VMH_ERR_UNSUPPORTED);
    vmh_spec_unset(spec, "nic.lan.queues", NULL);
    vmh_spec_set(spec, "nic.lan.inbound.burst", "1MiB", NULL);
    assert_fails(vmh_host_create_vm(host, spec, 0, &error), VMH_ERR_VALUE);
    vmh_spec_set(spec, "nic.lan.inbound.rate", "0", NULL);
    assert_ok(vmh_host_create_vm(host, spec, 0, &error));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_guest_gets_the_operations_of_its_limit,   a_guest_gets_the_bytes_of_its_limit,
        what_waits_goes_when_the_limit_is_lifted,   a_disk_that_waits_hinders_nothing,
        the_next_start_has_the_limit_that_was_kept, a_tap_device_has_the_queues_of_its_nic,
        what_contradicts_itself_is_refused,
    };

    return engine_run("engine-limits", tests, G_N_ELEMENTS(tests));
}
