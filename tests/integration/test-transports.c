/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The same host over every transport that the lab has: UNIX socket, TCP, TLS, SSH; and a session of a user's own. */
#include "integration.h"

static vmh_error *error;

/* What each way to the host must do: make a VM there, see it, hear of its end. */
static void visit(const char *variable)
{
    g_autofree char *name = test_name(variable);
    g_autoptr(vmh_host) host = open_host(lab_variable(variable));
    g_autoptr(vmh_queue) queue = vmh_queue_new(host, "vm", 0, &error);
    g_autoptr(vmh_spec) spec = test_spec(name, 96);
    g_autoptr(vmh_vm) vm = create(host, spec, 0);
    g_autoptr(vmh_vm) found = vmh_host_find_vm(host, name, &error);
    g_autoptr(vmh_event) removed = NULL;

    assert_no_error();
    ck_assert_str_eq(vmh_vm_uuid(found), vmh_vm_uuid(vm));
    assert_ok(vmh_vm_delete(vm, 0, &error));
    removed = test_wait_event(queue, VMH_EVENT_VM_REMOVED, name, PATIENCE_MS);
    ck_assert_ptr_nonnull(removed);
}

START_TEST(unix_socket)
{
    visit("URI_UNIX");
}
END_TEST

START_TEST(tcp)
{
    visit("URI_A");
}
END_TEST

START_TEST(tls)
{
    visit("URI_TLS");
}
END_TEST

START_TEST(ssh)
{
    visit("URI_SSH");
}
END_TEST

START_TEST(session)
{
    visit("URI_SESSION");
}
END_TEST

/* One host, whichever way one came: what one connection makes, the others see. */
START_TEST(all_see_the_same)
{
    static const char *const variables[] = {"URI_UNIX", "URI_TLS", "URI_SSH"};
    g_autofree char         *name = test_name("same");
    g_autoptr(vmh_host) host = open_host(lab_variable("URI_A"));
    g_autoptr(vmh_spec) spec = test_spec(name, 96);
    g_autoptr(vmh_vm) vm = create(host, spec, 0);

    for (size_t i = 0; i < G_N_ELEMENTS(variables); i++) {
        g_autoptr(vmh_host) other = open_host(lab_variable(variables[i]));
        g_autoptr(vmh_vm) seen = vmh_host_find_vm(other, vmh_vm_uuid(vm), &error);
        assert_no_error();
        ck_assert_int_eq(vmh_vm_state(seen), VMH_VM_STOPPED);
    }
    test_clean(host);
}
END_TEST

INTEGRATION_RUN("transports", TRUE, unix_socket, tcp, tls, ssh, session, all_see_the_same)
