/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program that ran VMs of the engine's is as it was: no child, no signal, no descriptor more, and no VM counted. */
#include "engine.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 200 };

static volatile sig_atomic_t children_ended;

static void on_child(int number)
{
    (void)number;
    children_ended++;
}

static guint open_descriptors(void)
{
    g_autoptr(GDir) descriptors = g_dir_open("/proc/self/fd", 0, NULL);
    guint count = 0;

    while (g_dir_read_name(descriptors))
        count++;
    return count;
}

static void expect_counted(vmh_host *host, uint64_t running, uint64_t total)
{
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_spec) spec = vmh_host_describe(host, &error);
    uint64_t now_running = 0, now_total = 0;

    assert_no_error();
    vmh_spec_get_u64(spec, "vms.running", &now_running, &error);
    vmh_spec_get_u64(spec, "vms.total", &now_total, &error);
    assert_no_error();
    ck_assert_uint_eq(now_running, running);
    ck_assert_uint_eq(now_total, total);
}

/* What a verb has done is counted when it returns. */
static void live_once(vmh_host *host, const char *name)
{
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_vm) vm = engine_create(host, name, NULL, VMH_CREATE_START);

    assert_ok(vmh_vm_stop(vm, 0, &error));
    expect_counted(host, 0, 1);
    assert_ok(vmh_vm_start(vm, 0, &error));
    expect_counted(host, 1, 1);
    assert_ok(vmh_vm_delete(vm, VMH_DELETE_FORCE, &error));
    expect_counted(host, 0, 0);
}

START_TEST(nothing_leaks)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    const int64_t end = test_now_ms() + PATIENCE_MS;
    guint         before;

    live_once(host, "first"); /* what stays for the life of the process is there from now on */
    before = open_descriptors();
    for (guint i = 0; i < ROUNDS; i++)
        live_once(host, "again");
    while ((open_descriptors() > before || engine_processes()) && test_now_ms() < end)
        g_usleep(10000);
    ck_assert_uint_le(open_descriptors(), before);
    ck_assert_uint_eq(engine_processes(), 0);
    ck_assert_uint_le(engine_files(), 3); /* two directories and a lock */
}
END_TEST

START_TEST(the_program_gets_no_child)
{
    const struct sigaction action = {.sa_handler = on_child};
    g_autoptr(vmh_host) host = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    g_autoptr(vmh_error) error = NULL;

    sigaction(SIGCHLD, &action, NULL);
    host = open_host(engine_uri());
    vm = engine_create(host, "stranger", NULL, VMH_CREATE_START);
    ck_assert(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
    kill(engine_process(vm), SIGKILL);
    ck_assert(test_wait_state(vm, VMH_VM_CRASHED, PATIENCE_MS));
    ck_assert(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
    assert_ok(vmh_vm_start(vm, 0, &error));
    assert_ok(vmh_vm_stop(vm, 0, &error));
    ck_assert_int_eq(children_ended, 0);
}
END_TEST

/* What a container's first process is as well: orphans become its children. */
START_TEST(a_program_that_inherits_orphans_has_no_zombies)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = NULL;
    pid_t process, child;
    int   status;

    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    vm = engine_create(host, "orphan", NULL, VMH_CREATE_START);
    process = engine_process(vm);
    child = fork();
    if (child == 0)
        _exit(7);
    kill(process, SIGKILL);
    ck_assert(test_wait_state(vm, VMH_VM_CRASHED, PATIENCE_MS));
    ck_assert(engine_wait_gone(process, PATIENCE_MS));
    /* The program's own is left to it. */
    ck_assert_int_eq(waitpid(-1, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}
END_TEST

/* Starting a VM takes few more than its process gets. */
START_TEST(few_descriptors_are_enough)
{
    const struct rlimit few = {.rlim_cur = 31, .rlim_max = 31};
    g_autoptr(vmh_host) host = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    g_autoptr(vmh_error) error = NULL;

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    host = open_host(engine_uri());
    vm = engine_create(host, "few", NULL, VMH_CREATE_START);
    assert_ok(vmh_vm_stop(vm, 0, &error));
}
END_TEST

/* The processes whose numbers are in this file, of which there are some. */
static void expect_all_gone(const char *numbers)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    ck_assert(g_file_get_contents(numbers, &text, NULL, NULL));
    ck_assert(g_ascii_isdigit(*text));
    lines = g_strsplit(g_strchomp(text), "\n", 0);
    for (guint i = 0; lines[i]; i++)
        ck_assert(engine_wait_gone((pid_t)g_ascii_strtoll(lines[i], NULL, 10), PATIENCE_MS));
}

/* It is as if the kernel, or a file that it is to read, kept the VM's process waiting. */
START_TEST(a_process_that_hangs_hinders_nobody_for_long)
{
    static const char script[] = "#!/bin/sh\necho $$ >>%s\nexec sleep 1000\n";
    g_autofree char  *program = engine_file("hangs");
    g_autofree char  *numbers = engine_file("numbers");
    g_autofree char  *text = g_strdup_printf(script, numbers);
    g_autoptr(vmh_spec) options = vmh_spec_new("open", NULL);
    g_autoptr(vmh_spec) spec = engine_spec("hangs", NULL);
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_host) host = NULL, other = open_host(engine_uri());
    g_autoptr(vmh_job) job = NULL;
    g_autoptr(vmh_vm) vm = NULL;

    ck_assert(g_file_set_contents(program, text, -1, NULL) && g_chmod(program, 0755) == 0);
    ck_assert(g_file_set_contents(numbers, "", 0, NULL));
    g_setenv("VMHOST_VMM", program, TRUE);
    vmh_spec_set(options, "call.timeout", "4s", NULL);
    host = vmh_host_open(engine_uri(), options, 0, &error);
    assert_no_error();
    job = vmh_host_create_vm(host, spec, VMH_CREATE_START, NULL);
    vm = engine_create(other, "waits", NULL, 0);
    assert_fails(g_steal_pointer(&job), VMH_ERR_TIMEOUT);
    expect_all_gone(numbers);
    assert_ok(vmh_vm_delete(vm, 0, &error));
    ck_assert_uint_le(engine_files(), 5); /* two directories, a lock, and the two from above */
}
END_TEST

/* People number their VMs. */
START_TEST(each_vm_has_a_user_of_its_own)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    uid_t users[3];

    for (unsigned i = 0; i < G_N_ELEMENTS(users); i++) {
        g_autofree char *uuid = g_strdup_printf("00000000-0000-0000-0000-%012u", i + 1);
        g_autofree char *path = NULL, *confined = NULL;
        g_autoptr(vmh_spec) seen = NULL;
        g_autoptr(vmh_spec) spec = engine_spec(uuid, NULL);
        g_autoptr(vmh_vm) vm = NULL;
        struct stat status;

        ck_assert_int_eq(vmh_spec_set(spec, "uuid", uuid, NULL), 0);
        vm = create(host, spec, VMH_CREATE_START);
        seen = vmh_vm_describe(vm, 0, NULL);
        confined = test_text(seen, "security.sandbox");
        if (!strstr(confined, "uid "))
            return; /* it was not started by root */
        path = g_strdup_printf("/proc/%d/task", (int)engine_process(vm));
        ck_assert_int_eq(g_stat(path, &status), 0);
        users[i] = status.st_uid;
        for (unsigned other = 0; other < i; other++)
            ck_assert_uint_ne(users[other], users[i]);
    }
}
END_TEST

static char *namespace_of(const char *process, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/ns/%s", process, name);
    char            *found = g_file_read_link(path, NULL);

    ck_assert_ptr_nonnull(found);
    return found;
}

/* What its VMs' processes see is not what the program sees, before and after. */
START_TEST(the_program_stays_where_it_is)
{
    static const char *const names[] = {"mnt", "net", "ipc", "uts"};
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, "elsewhere", NULL, VMH_CREATE_START);
    g_autoptr(vmh_error) error = NULL;
    g_autofree char *process = g_strdup_printf("%d", (int)engine_process(vm));
    g_autoptr(vmh_spec) spec = vmh_vm_describe(vm, 0, &error);
    g_autofree char *confined = test_text(spec, "security.sandbox");

    for (guint i = 0; strstr(confined, "namespaces") && i < G_N_ELEMENTS(names); i++) {
        g_autofree char *ours = namespace_of("thread-self", names[i]);
        g_autofree char *first = namespace_of("self", names[i]);
        g_autofree char *its = namespace_of(process, names[i]);

        ck_assert_str_eq(ours, first);
        ck_assert_str_ne(ours, its);
    }
    assert_ok(vmh_vm_stop(vm, 0, &error));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nothing_leaks,
        the_program_gets_no_child,
        a_program_that_inherits_orphans_has_no_zombies,
        few_descriptors_are_enough,
        a_process_that_hangs_hinders_nobody_for_long,
        each_vm_has_a_user_of_its_own,
        the_program_stays_where_it_is,
    };

    return engine_run("engine-process", tests, G_N_ELEMENTS(tests));
}
