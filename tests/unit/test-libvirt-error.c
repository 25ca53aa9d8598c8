/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's errors in our words, and that nothing of them reaches stderr. */
#include "libvirt/common.h"
#include "unit.h"

#include <errno.h>
#include <unistd.h>

static int32_t code_of(int native, int domain, int number, char *message)
{
    virError error = {.code = native, .domain = domain, .int1 = number, .message = message};

    return vmhi_libvirt_code(&error);
}

START_TEST(a_code_says_what_a_program_can_do_about_it)
{
    static const struct {
        int     native, domain, number;
        char   *message;
        int32_t code;
    } cases[] = {
        {VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, 0, NULL, VMH_ERR_NOT_FOUND},
        {VIR_ERR_DOM_EXIST, VIR_FROM_QEMU, 0, NULL, VMH_ERR_EXISTS},
        {VIR_ERR_OPERATION_FAILED, VIR_FROM_DOMAIN, 0, "domain 'a' already exists with uuid b", VMH_ERR_EXISTS},
        {VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU, 0, "it broke", VMH_ERR_HYPERVISOR},
        {VIR_ERR_OPERATION_FAILED, VIR_FROM_CPU, 0, "guest CPU doesn't match specification: missing features: avx",
         VMH_ERR_UNSUPPORTED},
        {VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, 0, NULL, VMH_ERR_STATE},
        {VIR_ERR_OPERATION_TIMEOUT, VIR_FROM_QEMU, 0, NULL, VMH_ERR_BUSY},
        {VIR_ERR_OPERATION_ABORTED, VIR_FROM_QEMU, 0, NULL, VMH_ERR_CANCELLED},
        {VIR_ERR_OPERATION_DENIED, VIR_FROM_NONE, 0, NULL, VMH_ERR_PERMISSION},
        {VIR_ERR_NO_SUPPORT, VIR_FROM_TEST, 0, NULL, VMH_ERR_UNSUPPORTED},
        {VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_QEMU, 0, NULL, VMH_ERR_UNSUPPORTED},
        {VIR_ERR_INVALID_ARG, VIR_FROM_TEST, 0, "unsupported flags (0x4) in function f", VMH_ERR_UNSUPPORTED},
        {VIR_ERR_INVALID_ARG, VIR_FROM_QEMU, 0, "too many vcpus", VMH_ERR_VALUE},
        {VIR_ERR_AUTH_FAILED, VIR_FROM_RPC, 0, NULL, VMH_ERR_PERMISSION},
        {VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, ECONNREFUSED, NULL, VMH_ERR_UNREACHABLE},
        {VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, ENOENT, NULL, VMH_ERR_UNREACHABLE},
        {VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, EACCES, NULL, VMH_ERR_PERMISSION},
        {VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU, EACCES, NULL, VMH_ERR_PERMISSION},
        {VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU, ENOENT, NULL, VMH_ERR_NOT_FOUND},
        {VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU, ENOSPC, NULL, VMH_ERR_RESOURCE},
        {VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU, EIO, NULL, VMH_ERR_HYPERVISOR},
        {VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC, 0, "client socket is closed", VMH_ERR_UNREACHABLE},
        {VIR_ERR_INTERNAL_ERROR, VIR_FROM_TEST, 0, "domain 'a' not paused", VMH_ERR_STATE},
        {VIR_ERR_INTERNAL_ERROR, VIR_FROM_TEST, 0, "Domain 'a' is already running", VMH_ERR_STATE},
        {VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, 0, "the agent is not running", VMH_ERR_HYPERVISOR},
        {VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, 0, "qemu exited", VMH_ERR_HYPERVISOR},
        {VIR_ERR_NO_MEMORY, VIR_FROM_QEMU, 0, NULL, VMH_ERR_RESOURCE},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        int32_t code = code_of(cases[i].native, cases[i].domain, cases[i].number, cases[i].message);
        ck_assert_msg(code == cases[i].code, "case %zu: %s", i, vmh_error_name(code));
    }
}
END_TEST

/* What libvirt writes to stderr while `failing` runs. */
static char *written_to_stderr(void (*failing)(void))
{
    g_autofree char *path = NULL;
    char            *text = NULL;
    int              saved = dup(STDERR_FILENO);
    int              file = g_file_open_tmp(NULL, &path, NULL);

    dup2(file, STDERR_FILENO);
    failing();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(file);
    ck_assert(g_file_get_contents(path, &text, NULL, NULL));
    unlink(path);
    return text;
}

static void open_nothing(void)
{
    ck_assert_ptr_null(virConnectOpen("qemu+unix:///system?socket=/nonexistent/socket"));
}

static int heard;

static void hear(void *data, virErrorPtr error)
{
    (void)data;
    (void)error;
    heard++;
}

START_TEST(libvirt_is_silent_without_being_told)
{
    g_autofree char *text = written_to_stderr(open_nothing);

    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(the_programs_own_handler_stands)
{
    static const vmhi_sink sink;
    g_autoptr(vmh_error) error = NULL;

    virSetErrorFunc(NULL, hear);
    ck_assert_ptr_null(
        vmhi_libvirt_open("qemu+unix:///system?socket=/nonexistent/socket", NULL, &sink, NULL, &error));
    assert_error(error, VMH_ERR_UNREACHABLE, "/nonexistent/socket");
    ck_assert_int_eq(heard, 1);
    open_nothing();
    ck_assert_int_eq(heard, 2);
}
END_TEST

START_TEST(a_message_says_what_was_tried_and_what_libvirt_said)
{
    virConnectPtr connection = virConnectOpen("test:///default");
    g_autoptr(vmh_error) error = NULL;

    ck_assert_ptr_null(virDomainLookupByName(connection, "nobody"));
    vmhi_libvirt_error(&error, "name", "looking \"nobody\" up");
    ck_assert_str_eq(vmh_error_driver(error), "libvirt");
    ck_assert_str_eq(vmh_error_property(error), "name");
    ck_assert_int_eq(vmh_error_native(error), VIR_ERR_NO_DOMAIN);
    ck_assert_msg(g_str_has_prefix(error->message, "looking \"nobody\" up: "), "%s", error->message);
    assert_error(error, VMH_ERR_NOT_FOUND, "Domain not found");
    virConnectClose(connection);
}
END_TEST

START_TEST(a_failure_without_a_reason_is_still_an_error)
{
    g_autoptr(vmh_error) error = NULL;

    virInitialize();
    virResetLastError();
    vmhi_libvirt_error(&error, NULL, "pausing");
    assert_error(error, VMH_ERR_HYPERVISOR, "pausing: ");
}
END_TEST

UNIT_RUN("libvirt-error", a_code_says_what_a_program_can_do_about_it, libvirt_is_silent_without_being_told,
         the_programs_own_handler_stands, a_message_says_what_was_tried_and_what_libvirt_said,
         a_failure_without_a_reason_is_still_an_error)
