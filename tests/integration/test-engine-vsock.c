/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's sockets as far as the host alone goes: the small guest has no driver for them. */
#include "engine.h"

#include <poll.h>
#include <unistd.h>

static vmh_vm *create_with_sockets(vmh_host *host, const char *name)
{
    g_autoptr(vmh_spec) spec = engine_spec(name, NULL);

    ck_assert_int_eq(vmh_spec_set(spec, "vsock.cid", "3", NULL), 0);
    return create(host, spec, VMH_CREATE_START);
}

START_TEST(a_vm_without_an_address_has_no_sockets)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, "none", NULL, VMH_CREATE_START);
    vmh_error *error = NULL;

    ck_assert_int_eq(vmh_vm_connect(vm, 5, 0, &error), VMH_ERR_NOT_FOUND);
    ck_assert_str_eq(vmh_error_property(error), "vsock.cid");
    assert_error(VMH_ERR_NOT_FOUND);
    ck_assert_int_eq(vmh_vm_listen(vm, 5, 0, &error), VMH_ERR_NOT_FOUND);
    assert_error(VMH_ERR_NOT_FOUND);
}
END_TEST

START_TEST(nobody_in_the_guest_is_reached)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = create_with_sockets(host, "guest");
    vmh_error *error = NULL;

    ck_assert_int_eq(vmh_vm_connect(vm, 5, 0, &error), VMH_ERR_UNREACHABLE);
    ck_assert_int_eq(vmh_error_retryable(error), 1);
    assert_error(VMH_ERR_UNREACHABLE);
    ck_assert_int_eq(vmh_vm_connect(vm, UINT32_MAX, 0, &error), VMH_ERR_ARGUMENT);
    assert_error(VMH_ERR_ARGUMENT);
    ck_assert_int_eq(vmh_vm_listen(vm, UINT32_MAX, 0, NULL), VMH_ERR_ARGUMENT);
    assert_ok(vmh_vm_stop(vm, 0, &error));
    ck_assert_int_eq(vmh_vm_connect(vm, 5, 0, &error), VMH_ERR_STATE);
    assert_error(VMH_ERR_STATE);
}
END_TEST

START_TEST(one_program_listens_at_a_port)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = create_with_sockets(host, "guest");
    g_autoptr(vmh_vm) other = create_with_sockets(host, "other"); /* has the same address */
    const int32_t  listener = vmh_vm_listen(vm, 5, 0, NULL);
    const int32_t  same = vmh_vm_listen(other, 5, 0, NULL);
    struct pollfd  wait = {.fd = listener, .events = POLLIN};
    const uint32_t untouched = 7;
    uint32_t       from = untouched;
    vmh_error     *error = NULL;
    int32_t        again;

    ck_assert_int_ge(listener, 0);
    ck_assert_int_ge(same, 0);
    ck_assert_int_eq(vmh_vm_listen(vm, 5, 0, &error), VMH_ERR_BUSY);
    assert_error(VMH_ERR_BUSY);
    ck_assert_int_eq(vmh_vm_accept(vm, listener, 0, &from, 0, &error), VMH_ERR_TIMEOUT);
    assert_error(VMH_ERR_TIMEOUT);
    ck_assert_int_eq(vmh_vm_accept(vm, listener, 20, &from, 0, NULL), VMH_ERR_TIMEOUT);
    ck_assert_int_eq(vmh_vm_accept(vm, -1, -1, NULL, 0, &error), VMH_ERR_ARGUMENT);
    assert_error(VMH_ERR_ARGUMENT);
    ck_assert_int_eq(vmh_vm_accept(vm, STDERR_FILENO, -1, NULL, 0, NULL), VMH_ERR_ARGUMENT);
    ck_assert_uint_eq(from, untouched);
    close(same);
    while ((again = vmh_vm_listen(other, 5, 0, NULL)) == VMH_ERR_BUSY)
        g_usleep(1000); /* its process has not seen it yet */
    ck_assert_int_ge(again, 0);
    close(again);
    assert_ok(vmh_vm_stop(vm, 0, &error));
    ck_assert_int_eq(poll(&wait, 1, PATIENCE_MS), 1);
    ck_assert_int_eq(vmh_vm_accept(vm, listener, -1, &from, 0, &error), VMH_ERR_STATE);
    assert_error(VMH_ERR_STATE);
    close(listener);
}
END_TEST

START_TEST(an_address_changes_with_the_next_start)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, "later", NULL, VMH_CREATE_START);
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_job) job = NULL;
    vmh_error *error = NULL;
    int32_t    listener;

    ck_assert_int_eq(vmh_spec_set(change, "vsock.cid", "4294967294", NULL), 0);
    job = vmh_vm_update(vm, change, 0, 0, NULL);
    ck_assert_int_eq(vmh_job_wait(job, PATIENCE_MS, NULL), 0);
    ck_assert_int_eq(vmh_job_verdict(job, 0), VMH_VERDICT_AFTER_RESTART);
    ck_assert_int_eq(vmh_vm_listen(vm, 5, 0, NULL), VMH_ERR_NOT_FOUND);
    assert_ok(vmh_vm_stop(vm, 0, &error));
    assert_ok(vmh_vm_start(vm, 0, &error));
    listener = vmh_vm_listen(vm, 5, 0, NULL);
    ck_assert_int_ge(listener, 0);
    close(listener);
    assert_ok(vmh_vm_delete(vm, VMH_DELETE_FORCE, &error));
    ck_assert_uint_eq(engine_files(), 3); /* names, vms, lock */
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_vm_without_an_address_has_no_sockets,
        nobody_in_the_guest_is_reached,
        one_program_listens_at_a_port,
        an_address_changes_with_the_next_start,
    };

    return engine_run("engine-vsock", tests, G_N_ELEMENTS(tests));
}
