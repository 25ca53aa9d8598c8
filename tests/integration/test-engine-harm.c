/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What befalls programs and connections takes no VM with it: one that cannot be reached is not one that has ended. */
#include "engine.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { PLACES = 64, KILLS = 40, CHANGES = 400, LOOKS = 100 };

/* --- other programs --- */

/* This same program with these arguments, which goes on beside. */
static pid_t begin(const char *what, const char *name)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    char *const      words[] = {self, (char *)engine_uri(), (char *)what, (char *)name, NULL};
    pid_t            process;

    ck_assert_int_eq(posix_spawn(&process, self, NULL, NULL, words, environ), 0);
    return process;
}

static void end(pid_t process, int with)
{
    kill(process, with);
    ck_assert_int_eq(waitpid(process, NULL, 0), process);
}

/* Creates and deletes VMs, or starts and stops one, until it is killed. */
static void come_and_go(vmh_host *host, const char *name)
{
    for (unsigned i = 0;; i++) {
        g_autofree char *own = g_strdup_printf("%s-%u", name, i);
        g_autoptr(vmh_spec) spec = engine_spec(own, NULL);
        g_autoptr(vmh_job) job = vmh_host_create_vm(host, spec, VMH_CREATE_START | VMH_CREATE_TRANSIENT, NULL);
        g_autoptr(vmh_vm) vm = NULL;

        vmh_job_wait(job, -1, NULL);
        vm = vmh_job_result_vm(job);
        vmh_job_finish(vmh_vm_stop(vm, 0, NULL), -1, NULL);
    }
}

static void start_and_stop(vmh_host *host, const char *name)
{
    g_autoptr(vmh_vm) vm = vmh_host_find_vm(host, name, NULL);

    for (;;) {
        vmh_job_finish(vmh_vm_start(vm, 0, NULL), -1, NULL);
        vmh_job_finish(vmh_vm_stop(vm, 0, NULL), -1, NULL);
    }
}

/* Has too few descriptors left to ask anybody. */
static void look_without_descriptors(vmh_host *host, const char *name)
{
    g_autoptr(vmh_vm) vm = vmh_host_find_vm(host, name, NULL);
    const struct rlimit none = {.rlim_cur = 3, .rlim_max = 3};

    setrlimit(RLIMIT_NOFILE, &none);
    vmh_spec_unref(vmh_vm_describe(vm, 0, NULL));
    vmh_job_finish(vmh_host_refresh(host, 0, NULL), -1, NULL);
}

/* When it has heard of the VM, until it is told to go on. */
static void stand_still(vmh_host *host, const char *name)
{
    g_autoptr(vmh_vm) vm = NULL;

    while (!vm || vmh_vm_state(vm) != VMH_VM_RUNNING) {
        g_usleep(1000);
        vm = vm ? vm : vmh_host_find_vm(host, name, NULL);
    }
    raise(SIGSTOP);
    pause();
}

static int be_second(char **arguments)
{
    g_autoptr(vmh_host) host = vmh_host_open(arguments[0], NULL, 0, NULL);
    const char *what = arguments[1], *name = arguments[2];

    vmh_host_list_vms(host, NULL);
    if (g_str_equal(what, "come-and-go"))
        come_and_go(host, name);
    else if (g_str_equal(what, "start-and-stop"))
        start_and_stop(host, name);
    else if (g_str_equal(what, "look-without-descriptors"))
        look_without_descriptors(host, name);
    else if (g_str_equal(what, "watch"))
        stand_still(host, name);
    return 0;
}

/* --- what befalls --- */

static void hold_places(vmh_vm *vm, int places[PLACES])
{
    for (guint i = 0; i < PLACES; i++)
        places[i] = engine_connect(vm);
}

static void let_go(const int places[PLACES])
{
    for (guint i = 0; i < PLACES; i++)
        close(places[i]);
}

static void expect_alive(vmh_host *host, const char *name, pid_t process)
{
    g_autoptr(vmh_vm) vm = engine_find(host, name);
    g_autoptr(vmh_error) error = NULL;

    ck_assert(test_wait_state(vm, VMH_VM_RUNNING, PATIENCE_MS));
    ck_assert_int_eq(kill(process, 0), 0);
    assert_ok(vmh_vm_stop(vm, 0, &error));
    ck_assert(engine_wait_gone(process, PATIENCE_MS));
}

/* Whoever comes when all places are taken hears nothing of the VM, and believes nothing of it. */
START_TEST(one_too_many_program_does_no_harm)
{
    static const uint64_t flags[] = {VMH_CREATE_START, VMH_CREATE_START | VMH_CREATE_TRANSIENT};

    for (guint i = 0; i < G_N_ELEMENTS(flags); i++) {
        g_autofree char *name = test_name("crowded");
        g_autoptr(vmh_host) host = open_host(engine_uri());
        g_autoptr(vmh_host) late = NULL;
        g_autoptr(vmh_error) error = NULL;
        g_autoptr(vmh_vm) vm = engine_create(host, name, NULL, flags[i]);
        g_autoptr(vmh_vm) seen = NULL;
        const pid_t process = engine_process(vm);
        int         places[PLACES];

        hold_places(vm, places);
        late = open_host(engine_uri());
        seen = engine_find(late, name);
        ck_assert_int_eq(vmh_vm_state(seen), VMH_VM_UNKNOWN);
        assert_ok(vmh_host_refresh(late, 0, &error));
        ck_assert_int_eq(vmh_vm_state(seen), VMH_VM_UNKNOWN);
        let_go(places);
        expect_alive(late, name, process);
    }
}
END_TEST

START_TEST(it_can_be_stopped_all_the_same)
{
    g_autofree char *name = test_name("crowded");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_vm) vm = engine_create(host, name, NULL, VMH_CREATE_START);
    const pid_t process = engine_process(vm);
    int         places[PLACES];

    hold_places(vm, places);
    assert_ok(vmh_vm_stop(vm, 0, &error));
    ck_assert(engine_wait_gone(process, PATIENCE_MS));
    let_go(places);
    assert_ok(vmh_vm_start(vm, 0, &error));
    assert_ok(vmh_vm_stop(vm, 0, &error));
}
END_TEST

START_TEST(a_program_without_descriptors_does_no_harm)
{
    g_autofree char *name = test_name("spared");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, name, NULL, VMH_CREATE_START | VMH_CREATE_TRANSIENT);
    const pid_t process = engine_process(vm);

    ck_assert_int_gt(waitpid(begin("look-without-descriptors", name), NULL, 0), 0);
    expect_alive(host, name, process);
}
END_TEST

/* The VM's process drops who does not listen to it. */
START_TEST(a_program_that_stands_still_does_no_harm)
{
    g_autofree char *name = test_name("restless");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_vm) vm = engine_create(host, name, NULL, VMH_CREATE_START | VMH_CREATE_TRANSIENT);
    const pid_t process = engine_process(vm);
    const pid_t watcher = begin("watch", name);
    guint       before;
    int         status;

    ck_assert(waitpid(watcher, &status, WUNTRACED) == watcher && WIFSTOPPED(status));
    before = engine_connections(process);
    for (guint i = 0; i < CHANGES; i++) {
        assert_ok(vmh_vm_pause(vm, 0, &error));
        assert_ok(vmh_vm_resume(vm, 0, &error));
    }
    while (engine_connections(process) >= before)
        g_usleep(1000);
    kill(watcher, SIGCONT);
    while (engine_connections(process) < before)
        g_usleep(1000);
    end(watcher, SIGKILL);
    expect_alive(host, name, process);
}
END_TEST

/* Wherever in the making of a VM: it is there and can be found, or nothing of it is. */
START_TEST(a_program_that_is_killed_leaves_nothing_half)
{
    g_autofree char *name = test_name("torn");

    for (guint i = 0; i < KILLS; i++) {
        const pid_t process = begin("come-and-go", name);

        g_usleep(20000 + (gulong)g_random_int_range(0, 20000));
        end(process, SIGKILL);
    }
    g_autoptr(vmh_host) host = open_host(engine_uri());
    const int64_t until = test_now_ms() + PATIENCE_MS;
    vmh_vm      **all = NULL;

    vmh_host_list_vms(host, &all);
    for (vmh_vm **vm = all; *vm; vm++)
        vmh_job_finish(vmh_vm_delete(*vm, VMH_DELETE_FORCE, NULL), PATIENCE_MS, NULL);
    vmh_vm_list_free(all);
    while (engine_processes() && test_now_ms() < until)
        g_usleep(5000);
    ck_assert_uint_eq(engine_processes(), 0);
    vmh_host_unref(g_steal_pointer(&host));
    host = open_host(engine_uri());
    while (engine_files() > 3 && test_now_ms() < until)
        g_usleep(5000);
    ck_assert_uint_le(engine_files(), 3); /* two directories and a lock */
}
END_TEST

START_TEST(a_vm_that_is_being_started_has_not_crashed)
{
    g_autofree char *name = test_name("flickering");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, name, NULL, 0);
    const pid_t process = begin("start-and-stop", name);

    for (guint i = 0; i < LOOKS; i++) {
        g_autoptr(vmh_error) error = NULL;
        g_autoptr(vmh_spec) spec = vmh_vm_describe(vm, 0, &error);
        g_autofree char *state = NULL;

        ck_assert_msg(spec != NULL, "%s", vmh_error_message(error));
        state = test_text(spec, "state");
        ck_assert_str_ne(state, "crashed");
    }
    end(process, SIGKILL);
    vmh_job_finish(vmh_vm_stop(vm, 0, NULL), PATIENCE_MS, NULL);
}
END_TEST

/* Between its first instruction and the file that says what runs. */
START_TEST(a_vm_that_has_just_been_started_is_described)
{
    g_autofree char *name = test_name("early");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, name, NULL, VMH_CREATE_START);
    g_autofree char *path = g_build_filename(engine_directory(), "vms", vmh_vm_uuid(vm), "running.json", NULL);
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_spec) spec = NULL;
    g_autofree char *state = NULL;

    ck_assert_int_eq(unlink(path), 0);
    spec = vmh_vm_describe(vm, 0, &error);
    ck_assert_msg(spec != NULL, "%s", vmh_error_message(error));
    state = test_text(spec, "state");
    ck_assert_str_eq(state, "running");
    assert_ok(vmh_vm_delete(vm, VMH_DELETE_FORCE, &error));
}
END_TEST

/* As after an update to another version and back. */
START_TEST(what_cannot_be_read_can_be_deleted)
{
    g_autofree char *name = test_name("unreadable");
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, name, NULL, 0);
    g_autofree char *path = g_build_filename(engine_directory(), "vms", vmh_vm_uuid(vm), "spec.json", NULL);
    g_autoptr(vmh_error) error = NULL;

    ck_assert(g_file_set_contents(path, "{\"no.such\": 1}", -1, NULL));
    ck_assert_ptr_null(vmh_vm_describe(vm, 0, &error));
    ck_assert_msg(strstr(vmh_error_message(error), "no.such"), "%s", vmh_error_message(error));
    g_clear_pointer(&error, vmh_error_free);
    assert_ok(vmh_vm_delete(vm, 0, &error));
    ck_assert_uint_le(engine_files(), 3);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        one_too_many_program_does_no_harm,
        it_can_be_stopped_all_the_same,
        a_program_without_descriptors_does_no_harm,
        a_program_that_stands_still_does_no_harm,
        a_program_that_is_killed_leaves_nothing_half,
        a_vm_that_is_being_started_has_not_crashed,
        a_vm_that_has_just_been_started_is_described,
        what_cannot_be_read_can_be_deleted,
    };

    return argc == 4 ? be_second(argv + 1) : engine_run("engine-harm", tests, G_N_ELEMENTS(tests));
}
