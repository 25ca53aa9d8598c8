/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which URIs are libvirt's, and which of them a library does not open. */
#include "libvirt/common.h"
#include "unit.h"

START_TEST(libvirts_schemes_are_claimed_and_no_others)
{
    static const char *const ours[] = {"qemu:///system", "QEMU:///system", "qemu+tls://h/system", "xen:///",
                                       "esx://h",        "vpx://h/dc/c",   "test:///default",     "hyperv://h"};
    static const char *const others[] = {"", ":", "qemu", "kvm:///", "http://h/", "/etc/passwd", "qemu2:///system"};

    for (gsize i = 0; i < G_N_ELEMENTS(ours); i++)
        ck_assert_msg(vmhi_libvirt_claims(ours[i]), "%s", ours[i]);
    for (gsize i = 0; i < G_N_ELEMENTS(others); i++)
        ck_assert_msg(!vmhi_libvirt_claims(others[i]), "%s", others[i]);
}
END_TEST

START_TEST(only_a_test_driver_without_a_host_is_in_this_process)
{
    ck_assert(vmhi_libvirt_in_process("test:///default"));
    ck_assert(!vmhi_libvirt_in_process("test://host/default"));
    ck_assert(!vmhi_libvirt_in_process("test+tcp:///default"));
    ck_assert(!vmhi_libvirt_in_process("qemu:///system"));
}
END_TEST

START_TEST(a_uri_cannot_run_a_program_here)
{
    static const struct {
        const char *uri, *why;
    } cases[] = {
        {"qemu+ext:///system?command=/bin/sh", "transport"},
        {"qemu+ssh://h/system?command=/tmp/x", "command"},
        {"qemu+ssh://h/system?no_tty=1&COMMAND=/tmp/x", "command"},
        {"qemu+ssh://h/system?%63ommand=/tmp/x", "command"},
        {"qemu+ssh://-oProxyCommand=x/system", "dash"},
        {"qemu+ssh://%2DoProxyCommand=x/system", "dash"},
        {"qemu+ssh://-lroot@h/system", "dash"},
        {"qemu+ssh://h/system\nx", "control"},
        {"qemu+ssh://h%0ax/system", "control"},
        {"qemu+ssh://h/%1b", "control"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        vmh_error *error = NULL;
        ck_assert_msg(!vmhi_libvirt_uri(cases[i].uri, &error), "%s", cases[i].uri);
        assert_error(error, VMH_ERR_ARGUMENT, cases[i].why);
    }
}
END_TEST

START_TEST(what_is_no_uri_of_libvirts_is_refused_with_a_reason)
{
    static const char *const uris[] = {"qemu+carrier-pigeon:///system", "qemu+:///system", "qemu://[::1/system",
                                       "qemu://h:99999/system"};

    for (gsize i = 0; i < G_N_ELEMENTS(uris); i++) {
        vmh_error *error = NULL;
        ck_assert_msg(!vmhi_libvirt_uri(uris[i], &error), "%s", uris[i]);
        assert_error(error, VMH_ERR_ARGUMENT, uris[i]);
    }
}
END_TEST

START_TEST(a_file_that_is_not_there_is_told_before_libvirt_looks)
{
    vmh_error *error = NULL;

    ck_assert_ptr_null(vmhi_libvirt_uri("test:///nonexistent/file.xml", &error));
    assert_error(error, VMH_ERR_NOT_FOUND, "/nonexistent/file.xml");
}
END_TEST

static void assert_becomes(const char *uri, const char *expected)
{
    vmh_error       *error = NULL;
    g_autofree char *given = vmhi_libvirt_uri(uri, &error);

    assert_no_error(error);
    ck_assert_str_eq(given, expected);
}

START_TEST(ssh_never_asks_on_the_terminal)
{
    assert_becomes("qemu+ssh://root@h/system", "qemu+ssh://root@h/system?no_tty=1");
    assert_becomes("qemu+ssh://h/system?netcat=nc", "qemu+ssh://h/system?netcat=nc&no_tty=1");
    assert_becomes("qemu+ssh://h/system?no_tty=0", "qemu+ssh://h/system?no_tty=0");
    assert_becomes("qemu+tls://h/system?pkipath=/k", "qemu+tls://h/system?pkipath=/k");
    assert_becomes("esx://root@h/?no_verify=1", "esx://root@h/?no_verify=1");
    assert_becomes("test:///default", "test:///default");
    assert_becomes("test+tcp://h/nonexistent/there", "test+tcp://h/nonexistent/there");
}
END_TEST

START_TEST(a_daemon_of_this_machine_is_local)
{
    static const char *const here[] = {"qemu:///system", "qemu:///session", "qemu+unix:///system?socket=/run/x",
                                       "test:///default"};
    static const char *const elsewhere[] = {"qemu+tcp://localhost/system",
                                            "qemu+ssh://h/system",
                                            "qemu+tls:///system",
                                            "qemu://h/system",
                                            "esx://h/",
                                            "nonsense"};

    for (gsize i = 0; i < G_N_ELEMENTS(here); i++)
        ck_assert_msg(vmhi_libvirt_is_local(here[i]), "%s", here[i]);
    for (gsize i = 0; i < G_N_ELEMENTS(elsewhere); i++)
        ck_assert_msg(!vmhi_libvirt_is_local(elsewhere[i]), "%s", elsewhere[i]);
}
END_TEST

UNIT_RUN("libvirt-uri", a_daemon_of_this_machine_is_local, libvirts_schemes_are_claimed_and_no_others,
         only_a_test_driver_without_a_host_is_in_this_process, a_uri_cannot_run_a_program_here,
         what_is_no_uri_of_libvirts_is_refused_with_a_reason, a_file_that_is_not_there_is_told_before_libvirt_looks,
         ssh_never_asks_on_the_terminal)
