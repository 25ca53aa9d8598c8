/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames, descriptions and capabilities of a host that lives in this process, with many VMs in a file. */
#include "integration.h"

#include <glib/gstdio.h>

enum { VMS = 200 };

static char *host_file;

/* A file with VMs vm0, vm1, …, each with a disk and a NIC; returns its URI. */
static char *make_host(void)
{
    g_autoptr(GString) text = g_string_new("<node>");

    for (int i = 0; i < VMS; i++)
        g_string_append_printf(text,
                               "<domain type='test'><name>vm%d</name>"
                               "<uuid>00000000-0000-4000-8000-%012x</uuid><memory>204800</memory>"
                               "<currentMemory>102400</currentMemory><vcpu>2</vcpu><os><type>hvm</type></os>"
                               "<devices><disk type='file' device='disk'><source file='/x%d'/>"
                               "<target dev='vda' bus='virtio'/></disk>"
                               "<interface type='network'><source network='default'/></interface></devices>"
                               "</domain>",
                               i, i + 1, i);
    g_string_append(text, "</node>");
    host_file = g_strdup_printf("%s/vmhost-test-%d.xml", g_get_tmp_dir(), (int)getpid());
    ck_assert(g_file_set_contents(host_file, text->str, -1, NULL));
    return g_strdup_printf("test://%s", host_file);
}

static vmh_host *open_many(void)
{
    g_autofree char *uri = make_host();
    vmh_host        *host = open_host(uri);

    g_unlink(host_file);
    g_clear_pointer(&host_file, g_free);
    return host;
}

static vmh_frame *sample(vmh_host *host, const char *columns)
{
    vmh_error *error = NULL;
    vmh_frame *frame = vmh_host_sample(host, columns, 0, &error);

    assert_no_error();
    ck_assert_ptr_nonnull(frame);
    return frame;
}

/* The cell of a VM; the test fails when the frame has not the column or the VM. */
static uint64_t cell(const vmh_frame *frame, const char *name, const char *metric)
{
    const uint64_t *values, *ages;

    ck_assert_msg(vmh_frame_column(frame, metric, &values, &ages, NULL) == 0, "no column %s", metric);
    for (size_t i = 0; i < vmh_frame_rows(frame); i++)
        if (strcmp(vmh_frame_row_name(frame, i), name) == 0) {
            ck_assert_uint_eq(ages[i], 0);
            return values[i];
        }
    ck_assert_msg(FALSE, "no row %s", name);
    return 0;
}

static gboolean has_row(const vmh_frame *frame, const char *name)
{
    for (size_t i = 0; i < vmh_frame_rows(frame); i++)
        if (strcmp(vmh_frame_row_name(frame, i), name) == 0)
            return TRUE;
    return FALSE;
}

START_TEST(a_frame_has_a_row_for_every_vm)
{
    vmh_host *host = open_many();

    for (int i = 0; i < 3; i++) {
        vmh_frame *frame = sample(host, NULL);
        ck_assert_uint_eq(vmh_frame_rows(frame), VMS);
        for (int j = 0; j < VMS; j += 37) {
            g_autofree char *name = g_strdup_printf("vm%d", j);
            ck_assert_uint_eq(cell(frame, name, "memory.size"), 102400 * UINT64_C(1024));
            ck_assert_uint_eq(cell(frame, name, "memory.max"), 204800 * UINT64_C(1024));
            ck_assert_uint_eq(cell(frame, name, "cpu.count"), 2);
            ck_assert_uint_ne(cell(frame, name, "cpu.time"), VMH_METRIC_NONE);
            ck_assert_uint_ne(cell(frame, name, "block.read.bytes"), VMH_METRIC_NONE);
            ck_assert_uint_ne(cell(frame, name, "net.tx.packets"), VMH_METRIC_NONE);
        }
        vmh_frame_unref(frame);
    }
    vmh_host_unref(host);
}
END_TEST

START_TEST(devices_have_columns_of_their_own)
{
    vmh_host  *host = open_many();
    vmh_frame *frame = sample(host, "disk.*,vcpu.*");

    ck_assert_uint_ne(cell(frame, "vm3", "disk.vda.read.bytes"), VMH_METRIC_NONE);
    ck_assert_uint_ne(cell(frame, "vm3", "disk.vda.capacity"), VMH_METRIC_NONE);
    ck_assert_uint_ne(cell(frame, "vm3", "vcpu.1.time"), VMH_METRIC_NONE);
    ck_assert_int_eq(vmh_frame_column(frame, "cpu.time", NULL, NULL, NULL), VMH_ERR_NOT_FOUND);
    ck_assert_int_eq(vmh_frame_column(frame, "vcpu.2.time", NULL, NULL, NULL), VMH_ERR_NOT_FOUND);
    vmh_frame_unref(frame);
    vmh_host_unref(host);
}
END_TEST

START_TEST(a_stopped_vm_uses_nothing)
{
    vmh_host  *host = open_many();
    vmh_error *error = NULL;
    vmh_vm    *vm = vmh_host_find_vm(host, "vm5", &error);
    vmh_frame *frame = sample(host, NULL);

    ck_assert_uint_ne(cell(frame, "vm5", "cpu.time"), VMH_METRIC_NONE);
    vmh_frame_unref(frame);
    assert_ok(vmh_vm_stop(vm, 0, &error));
    frame = sample(host, NULL);
    ck_assert_uint_eq(vmh_frame_rows(frame), VMS);
    ck_assert_uint_eq(cell(frame, "vm5", "cpu.time"), VMH_METRIC_NONE);
    ck_assert_uint_eq(cell(frame, "vm5", "memory.size"), VMH_METRIC_NONE);
    ck_assert_uint_eq(cell(frame, "vm5", "memory.max"), 204800 * UINT64_C(1024));
    ck_assert_uint_ne(cell(frame, "vm6", "cpu.time"), VMH_METRIC_NONE);
    vmh_frame_unref(frame);
    assert_ok(vmh_vm_start(vm, 0, &error));
    frame = sample(host, NULL);
    ck_assert_uint_ne(cell(frame, "vm5", "cpu.time"), VMH_METRIC_NONE);
    vmh_frame_unref(frame);
    vmh_vm_unref(vm);
    vmh_host_unref(host);
}
END_TEST

/* One goes and another one comes between two frames, so that their number stays the same. */
START_TEST(a_frame_knows_who_came_and_who_went)
{
    vmh_host  *host = open_many();
    vmh_error *error = NULL;
    vmh_vm    *vm = vmh_host_find_vm(host, "vm7", &error);
    vmh_spec  *spec = vmh_spec_new("vm", &error);
    vmh_frame *frame = sample(host, "cpu.time");

    vmh_frame_unref(frame);
    assert_ok(vmh_vm_delete(vm, VMH_DELETE_FORCE, &error));
    vmh_spec_set(spec, "name", "newcomer", &error);
    vmh_spec_set(spec, "memory.size", "64MiB", &error);
    assert_ok(vmh_host_create_vm(host, spec, VMH_CREATE_START, &error));
    frame = sample(host, "cpu.time");
    ck_assert_uint_eq(vmh_frame_rows(frame), VMS);
    ck_assert(!has_row(frame, "vm7"));
    ck_assert_uint_ne(cell(frame, "newcomer", "cpu.time"), VMH_METRIC_NONE);
    vmh_frame_unref(frame);
    vmh_spec_set(spec, "name", "another", &error);
    assert_ok(vmh_host_create_vm(host, spec, VMH_CREATE_START, &error));
    frame = sample(host, "cpu.time");
    ck_assert_uint_eq(vmh_frame_rows(frame), VMS + 1);
    ck_assert_uint_ne(cell(frame, "another", "cpu.time"), VMH_METRIC_NONE);
    vmh_frame_unref(frame);
    vmh_spec_unref(spec);
    vmh_vm_unref(vm);
    vmh_host_unref(host);
}
END_TEST

START_TEST(unknown_columns_and_flags_are_refused)
{
    vmh_host  *host = open_host("test:///default");
    vmh_error *error = NULL;

    ck_assert_ptr_null(vmh_host_sample(host, "cpu.tiem", 0, &error));
    ck_assert_ptr_nonnull(strstr(vmh_error_message(error), "cpu.time"));
    assert_error(VMH_ERR_UNKNOWN_NAME);
    ck_assert_ptr_null(vmh_host_sample(host, NULL, 1, &error));
    assert_error(VMH_ERR_ARGUMENT);
    vmh_host_unref(host);
}
END_TEST

START_TEST(a_host_describes_itself)
{
    vmh_host   *host = open_many();
    vmh_error  *error = NULL;
    vmh_spec   *spec = vmh_host_describe(host, &error);
    const char *text = NULL;
    uint64_t    number = 0;

    assert_no_error();
    ck_assert_int_eq(vmh_spec_get_str(spec, "hypervisor.name", &text, &error), 0);
    ck_assert_str_eq(text, "TEST");
    ck_assert_int_eq(vmh_spec_get_str(spec, "accelerator.kind", &text, &error), 0);
    ck_assert_str_eq(text, "none");
    ck_assert_int_eq(vmh_spec_get_u64(spec, "vms.running", &number, &error), 0);
    ck_assert_uint_eq(number, VMS);
    ck_assert_int_eq(vmh_spec_get_u64(spec, "cpu.allocated", &number, &error), 0);
    ck_assert_uint_eq(number, 2 * VMS);
    ck_assert_int_eq(vmh_spec_get_u64(spec, "memory.allocated", &number, &error), 0);
    ck_assert_uint_eq(number, VMS * 102400 * UINT64_C(1024));
    assert_no_error();
    vmh_spec_unref(spec);
    vmh_host_unref(host);
}
END_TEST

START_TEST(what_a_host_lacks_has_a_reason)
{
    vmh_host  *host = open_host("test:///default");
    vmh_error *error = NULL;
    char      *reason = NULL;

    ck_assert_int_eq(vmh_host_supports(host, "vm.start", &reason, &error), 1);
    ck_assert_ptr_null(reason);
    ck_assert_int_eq(vmh_host_supports(host, "memory.size", NULL, &error), 1);
    ck_assert_int_eq(vmh_host_supports(host, "vm.migrate", &reason, &error), 0);
    ck_assert_ptr_nonnull(reason);
    ck_assert_ptr_nonnull(strstr(reason, "test"));
    vmh_free(reason);
    assert_no_error();
    ck_assert_int_lt(vmh_host_supports(host, "vm.migrte", NULL, &error), 0);
    ck_assert_ptr_nonnull(strstr(vmh_error_message(error), "vm.migrate"));
    assert_error(VMH_ERR_UNKNOWN_NAME);
    vmh_host_unref(host);
}
END_TEST

START_TEST(a_host_that_only_looks_changes_nothing)
{
    vmh_error *error = NULL;
    vmh_spec  *options = vmh_spec_new("open", &error);
    vmh_host  *host;
    char      *reason = NULL;

    vmh_spec_set(options, "readonly", "yes", &error);
    host = vmh_host_open("test:///default", options, 0, &error);
    assert_no_error();
    ck_assert_int_eq(vmh_host_supports(host, "vm.stop", &reason, &error), 0);
    ck_assert_ptr_nonnull(strstr(reason, "readonly"));
    vmh_free(reason);
    ck_assert_int_eq(vmh_host_supports(host, "host.sample", NULL, &error), 1);
    vmh_frame_unref(sample(host, NULL));
    vmh_host_unref(host);
    vmh_spec_unref(options);
}
END_TEST

INTEGRATION_RUN("metrics", FALSE, a_frame_has_a_row_for_every_vm, devices_have_columns_of_their_own,
                a_stopped_vm_uses_nothing, a_frame_knows_who_came_and_who_went, unknown_columns_and_flags_are_refused,
                a_host_describes_itself, what_a_host_lacks_has_a_reason, a_host_that_only_looks_changes_nothing)
