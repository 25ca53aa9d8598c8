/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Several consoles of one VM: which is the serial one, where each goes, and who has it open. */
#include "engine.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* "path=value ..." beside what every VM here has. */
static vmh_spec *consoles(const char *name, const char *list)
{
    g_auto(GStrv) settings = g_strsplit(list, " ", 0);
    vmh_spec *spec = engine_spec(name, "tick=20");

    for (guint i = 0; settings[i]; i++) {
        g_auto(GStrv) pair = g_strsplit(settings[i], "=", 2);

        ck_assert_msg(vmh_spec_set(spec, pair[0], pair[1], NULL) == 0, "%s", settings[i]);
    }
    return spec;
}

static void assert_has(vmh_vm *vm, const char *path, const char *value)
{
    g_autoptr(vmh_spec) spec = vmh_vm_describe(vm, 0, NULL);
    g_autofree char *text = test_text(spec, path);

    ck_assert_str_eq(text, value);
}

static gboolean speaks(int console)
{
    g_autoptr(GString) seen = g_string_new(NULL);

    return test_wait_console(console, seen, "tick", PATIENCE_MS);
}

static void refuses(vmh_host *host, const char *list, int32_t code, const char *property)
{
    g_autoptr(vmh_spec) spec = consoles("refused", list);
    g_autoptr(vmh_error) error = NULL;

    ck_assert_int_eq(vmh_job_finish(vmh_host_create_vm(host, spec, VMH_CREATE_START, NULL), PATIENCE_MS, &error),
                     code);
    ck_assert_str_eq(vmh_error_property(error), property);
}

START_TEST(one_console_is_the_serial_one)
{
    g_autoptr(vmh_host) host = vmh_host_open(engine_uri(), NULL, 0, NULL);
    g_autoptr(vmh_spec) untyped = consoles("untyped", "console.a.to=pty console.b.to=pty console.c.to=pty");
    g_autoptr(vmh_spec) typed = consoles("typed", "console.a.to=pty console.b.type=serial");
    g_autoptr(vmh_vm) vm = create(host, untyped, 0);
    g_autoptr(vmh_vm) other = create(host, typed, 0);

    assert_has(vm, "console.a.type", "serial");
    assert_has(vm, "console.b.type", "virtio");
    assert_has(vm, "console.c.type", "virtio");
    assert_has(other, "console.a.type", "virtio");
    assert_has(other, "console.b.type", "serial");
    refuses(host, "console.a.type=serial console.b.type=serial", VMH_ERR_UNSUPPORTED, "console.b.type");
}
END_TEST

START_TEST(a_second_console_comes_with_an_update)
{
    g_autoptr(vmh_host) host = vmh_host_open(engine_uri(), NULL, 0, NULL);
    g_autoptr(vmh_spec) spec = consoles("later", "console.main.to=pty");
    g_autoptr(vmh_spec) change = consoles("later", "console.also.to=pty");
    g_autoptr(vmh_vm) vm = create(host, spec, 0);
    g_autoptr(vmh_error) error = NULL;

    assert_ok(vmh_vm_update(vm, change, 0, 0, &error));
    assert_has(vm, "console.main.type", "serial"); /* though its name is not the first any more */
    assert_has(vm, "console.also.type", "virtio");
    ck_assert_int_eq(vmh_spec_set(change, "console.also.type", "serial", NULL), 0);
    ck_assert_int_eq(vmh_job_finish(vmh_vm_update(vm, change, 0, 0, NULL), PATIENCE_MS, &error), VMH_ERR_UNSUPPORTED);
    assert_has(vm, "console.also.type", "virtio");
}
END_TEST

START_TEST(each_is_opened_by_its_name)
{
    g_autoptr(vmh_host) host = vmh_host_open(engine_uri(), NULL, 0, NULL);
    g_autoptr(vmh_spec) spec = consoles("open", "console.a.to=pty console.b.to=pty console.b.type=serial");
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);
    g_autoptr(vmh_error) error = NULL;
    const int a = vmh_vm_console(vm, "a", 0, NULL);
    const int first = vmh_vm_console(vm, NULL, 0, NULL);
    char      byte;

    ck_assert(a >= 0 && first >= 0);
    ck_assert(speaks(first));
    ck_assert_int_eq(vmh_vm_console(vm, "b", 0, &error), VMH_ERR_BUSY);
    g_clear_pointer(&error, vmh_error_free);
    ck_assert_int_eq(vmh_vm_console(vm, "a", 0, &error), VMH_ERR_BUSY);
    g_clear_pointer(&error, vmh_error_free);
    ck_assert_int_eq(vmh_vm_console(vm, "c", 0, &error), VMH_ERR_NOT_FOUND);
    g_clear_pointer(&error, vmh_error_free);
    /* Both end with the VM. */
    assert_ok(vmh_vm_stop(vm, 0, &error));
    ck_assert_int_eq(read(a, &byte, 1), 0);
    close(a);
    close(first);
}
END_TEST

START_TEST(a_vm_may_have_virtio_consoles_alone)
{
    g_autoptr(vmh_host) host = vmh_host_open(engine_uri(), NULL, 0, NULL);
    g_autoptr(vmh_spec) spec = consoles("alone", "console.a.type=virtio");
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);
    g_autoptr(vmh_error) error = NULL;
    const int first = vmh_vm_console(vm, NULL, 0, NULL);

    ck_assert_int_ge(first, 0);
    ck_assert_int_eq(vmh_vm_console(vm, "a", 0, &error), VMH_ERR_BUSY);
    close(first);
}
END_TEST

static gboolean connects(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int          descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    gboolean           connected;

    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    connected = connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0;
    close(descriptor);
    return connected;
}

START_TEST(each_goes_where_it_is_told)
{
    g_autoptr(vmh_host) host = vmh_host_open(engine_uri(), NULL, 0, NULL);
    g_autofree char *path = g_build_filename(engine_directory(), "socket", NULL);
    g_autofree char *log = g_build_filename(engine_directory(), "log", NULL);
    g_autofree char *list = g_strdup_printf("console.a.to=pty console.b.to=unix:%s console.c.to=file:%s", path, log);
    g_autoptr(vmh_spec) spec = consoles("where", list);
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);
    g_autoptr(vmh_error) error = NULL;
    struct stat status;

    ck_assert(connects(path));
    ck_assert_int_eq(g_stat(log, &status), 0);
    ck_assert_int_eq(vmh_vm_console(vm, "b", 0, &error), VMH_ERR_UNSUPPORTED);
    refuses(host, "console.x.to=file:/nonexistent/log console.y.to=pty", VMH_ERR_NOT_FOUND, "console.x.to");
    g_free(list);
    list = g_strdup_printf("console.x.to=pty console.y.to=unix:%s", path);
    refuses(host, list, VMH_ERR_VALUE, "console.y.to"); /* somebody listens there */
}
END_TEST

static gboolean is_there(const char *path)
{
    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* Its name is there when it has ended. */
static void leave_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int          descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    ck_assert_int_eq(bind(descriptor, (struct sockaddr *)&address, sizeof address), 0);
    close(descriptor);
}

/* Whatever is there and is no socket of the past stays. */
START_TEST(a_socket_replaces_nothing_but_a_socket)
{
    g_autoptr(vmh_host) host = vmh_host_open(engine_uri(), NULL, 0, NULL);
    g_autofree char *file = engine_file("precious");
    g_autofree char *left = engine_file("left");
    g_autofree char *words = NULL;
    g_autofree char *list = g_strdup_printf("console.a.to=unix:%s", file);

    ck_assert(g_file_set_contents(file, "mine", -1, NULL));
    refuses(host, list, VMH_ERR_VALUE, "console.a.to");
    ck_assert(g_file_get_contents(file, &words, NULL, NULL));
    ck_assert_str_eq(words, "mine");
    g_free(list);
    list = g_strdup_printf("console.a.to=unix:%s/%0100d", engine_directory(), 0); /* too long */
    refuses(host, list, VMH_ERR_VALUE, "console.a.to");
    g_free(list);
    list = g_strdup_printf("console.a.to=unix:%s", left);
    leave_socket(left);
    g_autoptr(vmh_spec) spec = consoles("replaces", list);
    g_autoptr(vmh_vm) vm G_GNUC_UNUSED = create(host, spec, VMH_CREATE_START);
    ck_assert(connects(left));
}
END_TEST

/* What a start made goes with it, and nothing that was there. */
START_TEST(what_a_start_made_goes)
{
    g_autoptr(vmh_host) host = vmh_host_open(engine_uri(), NULL, 0, NULL);
    g_autofree char *place = engine_file("socket");
    g_autofree char *log = engine_file("log"), *old = engine_file("old"), *debug = engine_file("debug");
    g_autofree char *list = g_strdup_printf("console.a.to=unix:%s console.b.to=file:%s console.c.to=file:%s "
                                            "debug.console=%s",
                                            place, log, old, debug);
    g_autofree char *failing = g_strconcat(list, " disk.none.path=/nonexistent", NULL);
    g_autoptr(vmh_spec) spec = consoles("goes", list);
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_vm) vm = NULL;

    ck_assert(g_file_set_contents(old, "", 0, NULL));
    refuses(host, failing, VMH_ERR_NOT_FOUND, "disk.none.path");
    ck_assert(!is_there(place) && !is_there(log) && !is_there(debug) && is_there(old));
    vm = create(host, spec, VMH_CREATE_START);
    ck_assert(is_there(place) && is_there(log) && is_there(debug));
    assert_ok(vmh_vm_stop(vm, 0, &error));
    ck_assert(!is_there(place) && is_there(log)); /* and what the guest said stays */
    /* Nobody could clear away, until it is deleted. */
    assert_ok(vmh_vm_start(vm, 0, &error));
    kill(engine_process(vm), SIGKILL);
    ck_assert(test_wait_state(vm, VMH_VM_CRASHED, PATIENCE_MS));
    assert_ok(vmh_vm_delete(vm, 0, &error));
    ck_assert(!is_there(place));
}
END_TEST

START_TEST(nobody_waits_for_a_pipe)
{
    g_autoptr(vmh_host) host = vmh_host_open(engine_uri(), NULL, 0, NULL);
    g_autofree char *path = g_build_filename(engine_directory(), "pipe", NULL);
    g_autofree char *list = g_strdup_printf("console.a.to=file:%s", path);
    g_autoptr(vmh_spec) spec = consoles("pipe", list);
    g_autoptr(vmh_vm) vm = NULL;
    int reader;

    ck_assert_int_eq(mkfifo(path, 0600), 0);
    refuses(host, list, VMH_ERR_NOT_FOUND, "console.a.to");
    reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    vm = create(host, spec, VMH_CREATE_START);
    ck_assert(speaks(reader));
    /* What is said when nobody reads any more is lost, and nothing else is. */
    close(reader);
    reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert(speaks(reader));
    close(reader);
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_RUNNING);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        one_console_is_the_serial_one, a_second_console_comes_with_an_update,
        each_is_opened_by_its_name,    a_vm_may_have_virtio_consoles_alone,
        each_goes_where_it_is_told,    a_socket_replaces_nothing_but_a_socket,
        what_a_start_made_goes,        nobody_waits_for_a_pipe,
    };

    return engine_run("engine-console", tests, G_N_ELEMENTS(tests));
}
