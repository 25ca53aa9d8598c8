/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is wrong with devices, pins and memory is told by the property's name, with what is allowed. */
#include "engine.h"

#include <glib/gstdio.h>

/* A refusal names the property, and what is allowed. */
static void expect_named(vmh_host *host, const vmh_spec *spec, uint64_t flags, const char *property, const char *says)
{
    g_autoptr(vmh_error) error = NULL;

    ck_assert_int_eq(vmh_job_finish(vmh_host_create_vm(host, spec, flags, NULL), PATIENCE_MS, &error), VMH_ERR_VALUE);
    ck_assert_str_eq(vmh_error_property(error), property);
    ck_assert_msg(strstr(vmh_error_message(error), property) && strstr(vmh_error_message(error), says), "%s",
                  vmh_error_message(error));
    ck_assert_uint_eq(vmh_host_list_vms(host, NULL), 0);
    ck_assert_uint_le(engine_files(), 3); /* two directories and a lock */
}

START_TEST(what_is_wrong_with_a_device_is_named)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autofree char *image = test_disk("image", 1);
    g_autoptr(vmh_spec) spec = engine_spec("device", NULL);

    vmh_spec_set_str(spec, "disk.a.path", "/dev/null", NULL);
    expect_named(host, spec, VMH_CREATE_START, "disk.a.path", "neither a file nor a block device");
    vmh_spec_set_str(spec, "disk.a.path", image, NULL);
    vmh_spec_set_str(spec, "disk.a.serial", "123456789012345678901", NULL);
    expect_named(host, spec, VMH_CREATE_START, "disk.a.serial", "20 bytes");
    vmh_spec_unset(spec, "disk.a.serial", NULL);
    for (unsigned i = 10; i < 50; i++) {
        g_autofree char *path = g_strdup_printf("disk.d%u.path", i);
        g_autofree char *readonly = g_strdup_printf("disk.d%u.readonly", i);

        vmh_spec_set_str(spec, path, image, NULL);
        vmh_spec_set(spec, readonly, "yes", NULL);
    }
    vmh_spec_set(spec, "disk.a.readonly", "yes", NULL);
    vmh_spec_set(spec, "rng", "no", NULL);
    vmh_spec_set(spec, "balloon", "no", NULL);
    expect_named(host, spec, VMH_CREATE_START, "disk.d40.path", "31 devices");
    g_unlink(image);
}
END_TEST

START_TEST(vcpus_are_pinned_to_what_is_there)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = engine_spec("pinned", NULL);
    g_autofree char *online = NULL;

    ck_assert(g_file_get_contents("/sys/devices/system/cpu/online", &online, NULL, NULL));
    g_strchomp(online);
    vmh_spec_set(spec, "cpu.pin.0", "0,1000", NULL);
    expect_named(host, spec, 0, "cpu.pin.0", online);
    vmh_spec_set(spec, "cpu.pin.0", "4000", NULL);
    expect_named(host, spec, VMH_CREATE_START, "cpu.pin.0", online);
}
END_TEST

START_TEST(more_memory_than_there_can_be_is_named)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = engine_spec("memory", NULL);

    vmh_spec_set(spec, "memory.max", "600GiB", NULL);
    expect_named(host, spec, 0, "memory.max", "512 GiB");
    vmh_spec_set_u64(spec, "memory.max", (64 << 20) + 1, NULL);
    expect_named(host, spec, 0, "memory.max", "4 KiB");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_is_wrong_with_a_device_is_named, vcpus_are_pinned_to_what_is_there,
                                  more_memory_than_there_can_be_is_named};

    return engine_run("engine-named", tests, G_N_ELEMENTS(tests));
}
