/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The process belongs to the program: its signals, directories, environment and standard streams stay as they are. */
#include "integration.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a library might touch. */
typedef struct {
    struct sigaction actions[65];
    sigset_t         blocked;
    mode_t           mask;
    char            *directory;
    char           **environment;
} process;

static process look(void)
{
    process p = {.directory = g_get_current_dir(), .environment = g_get_environ()};

    for (int i = 1; i < 65; i++)
        sigaction(i, NULL, &p.actions[i]);
    pthread_sigmask(SIG_SETMASK, NULL, &p.blocked);
    p.mask = umask(0);
    umask(p.mask);
    return p;
}

static void forget(process *p)
{
    g_free(p->directory);
    g_strfreev(p->environment);
}

static void assert_same(const process *a, const process *b)
{
    for (int i = 1; i < 65; i++)
        ck_assert_msg(a->actions[i].sa_handler == b->actions[i].sa_handler &&
                          a->actions[i].sa_flags == b->actions[i].sa_flags,
                      "the handler of signal %d was changed", i);
    ck_assert_int_eq(memcmp(&a->blocked, &b->blocked, sizeof a->blocked), 0);
    ck_assert_uint_eq(a->mask, b->mask);
    ck_assert_str_eq(a->directory, b->directory);
    ck_assert(g_strv_equal((const char *const *)a->environment, (const char *const *)b->environment));
}

/* Some of everything, much of which fails. */
static void use_library(const char *uri)
{
    vmh_host        *host = open_host(uri);
    vmh_queue       *queue = vmh_queue_new(host, NULL, 0, NULL);
    g_autofree char *name = test_name("<process>");
    g_autoptr(vmh_spec) spec = test_spec(name, 64);
    vmh_vm *vm = create(host, spec, VMH_CREATE_START);

    ck_assert_ptr_null(vmh_host_open("qemu+tcp://127.0.0.1:1/system", NULL, 0, NULL));
    ck_assert_ptr_null(vmh_host_open("qemu+unix:///system?socket=/nonexistent", NULL, 0, NULL));
    ck_assert_ptr_null(vmh_host_open("test:///nonexistent", NULL, 0, NULL));
    ck_assert_int_lt(vmh_job_finish(vmh_host_create_vm(host, spec, 0, NULL), -1, NULL), 0);
    ck_assert_int_lt(vmh_job_finish(vmh_vm_start(vm, 0, NULL), -1, NULL), 0);
    ck_assert_int_lt(vmh_vm_console(vm, "none", 0, NULL), 0);
    ck_assert_int_lt(vmh_spec_set(spec, "cpu.cuont", "1", NULL), 0);
    vmh_spec_unref(vmh_host_describe(host, NULL));
    vmh_frame_unref(vmh_host_sample(host, NULL, 0, NULL));
    ck_assert_int_eq(vmh_job_finish(vmh_vm_delete(vm, VMH_DELETE_FORCE, NULL), -1, NULL), 0);
    vmh_vm_unref(vm);
    vmh_queue_unref(queue);
    vmh_host_unref(host);
}

static void use_each(void)
{
    use_library("test:///default");
    if (lab_is_here())
        use_library(lab_variable("URI_A"));
}

START_TEST(nothing_is_touched)
{
    process before = look(), after;

    use_each();
    after = look();
    assert_same(&before, &after);
    forget(&before);
    forget(&after);
}
END_TEST

START_TEST(nothing_is_written)
{
    g_autofree char *path = test_disk("streams", 0);
    g_autofree char *written = NULL;
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), file = open(path, O_RDWR | O_CLOEXEC | O_APPEND);

    fflush(NULL);
    ck_assert(dup2(file, STDOUT_FILENO) >= 0 && dup2(file, STDERR_FILENO) >= 0);
    use_each();
    fflush(NULL);
    ck_assert(dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0);
    ck_assert(g_file_get_contents(path, &written, NULL, NULL));
    ck_assert_str_eq(written, "");
    g_unlink(path);
}
END_TEST

/* A signal for the program reaches the program's threads only. */
START_TEST(our_threads_block_signals)
{
    vmh_host   *host = open_host("test:///default");
    vmh_host   *real = lab_is_here() ? open_host(lab_variable("URI_A")) : NULL;
    GDir       *tasks = g_dir_open("/proc/self/task", 0, NULL);
    const char *task;
    guint       seen = 0;

    while ((task = g_dir_read_name(tasks))) {
        g_autofree char *path = g_build_filename("/proc/self/task", task, "status", NULL);
        g_autofree char *status = NULL;
        const char      *blocked;
        if (atoi(task) == getpid() || !g_file_get_contents(path, &status, NULL, NULL))
            continue;
        blocked = strstr(status, "SigBlk:\t");
        ck_assert_ptr_nonnull(blocked);
        /* All but those of the threads' library, SIGKILL and SIGSTOP, which cannot be. */
        ck_assert_msg((g_ascii_strtoull(blocked + 8, NULL, 16) | 0x180040100) == UINT64_MAX, "%.30s", blocked);
        seen++;
    }
    ck_assert_uint_gt(seen, 0);
    g_dir_close(tasks);
    vmh_host_unref(real);
    vmh_host_unref(host);
}
END_TEST

static guint open_descriptors(void)
{
    GDir *descriptors = g_dir_open("/proc/self/fd", 0, NULL);
    guint count = 0;

    while (g_dir_read_name(descriptors))
        count++;
    g_dir_close(descriptors);
    return count;
}

START_TEST(descriptors_are_given_back)
{
    int64_t end;
    guint   before;

    use_each(); /* what stays for the life of the process is there from now on */
    before = open_descriptors();
    for (guint i = 0; i < 5; i++)
        use_each();
    end = test_now_ms() + 20000; /* a connection is closed in the background */
    while (open_descriptors() > before && test_now_ms() < end)
        g_usleep(10000);
    ck_assert_uint_le(open_descriptors(), before);
}
END_TEST

START_TEST(no_descriptor_is_left_to_children)
{
    gboolean   known[256];
    vmh_host  *host;
    vmh_queue *queue;

    for (int fd = 0; fd < 256; fd++)
        known[fd] = fcntl(fd, F_GETFD) >= 0;
    host = open_host(lab_is_here() ? lab_variable("URI_A") : "test:///default");
    queue = vmh_queue_new(host, NULL, 0, NULL);
    for (int fd = 0; fd < 256; fd++) {
        int              flags = fcntl(fd, F_GETFD);
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
        g_autofree char *target = flags >= 0 ? g_file_read_link(path, NULL) : NULL;
        ck_assert_msg(known[fd] || flags < 0 || (flags & FD_CLOEXEC), "descriptor %d (%s) goes to children", fd,
                      target);
    }
    vmh_queue_unref(queue);
    vmh_host_unref(host);
}
END_TEST

INTEGRATION_RUN("process", FALSE, nothing_is_touched, nothing_is_written, our_threads_block_signals,
                descriptors_are_given_back, no_descriptor_is_left_to_children)
