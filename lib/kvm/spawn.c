/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starts a VMM so that the program does not notice: no child of its own, no SIGCHLD, and no copy of its memory. A
 * helper shares our memory for a moment, clones the VMM and exits; its end is announced to nobody. (reap.c is for
 * programs that inherit orphans.)
 */
#include "kvm/common.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { STACK = 64 * 1024, STANDARD = 3, MOST = 32 };

/* In memory of its own, with the stacks of both. */
typedef struct {
    char         stacks[2][STACK];
    const char  *program;
    char *const *arguments;
    const int   *descriptors; /* by what their numbers will be */
    int          count;
    int          process; /* a pidfd, since the helper shares our descriptors */
    int          failed;  /* errno */
} order;

/* From here on only system calls: other threads of the program may hold any lock. */

static int become_vmm(void *data)
{
    static char *const environment[] = {NULL};
    order             *o = data;
    struct sigaction   action = {.sa_handler = SIG_DFL};
    sigset_t           none;
    int                copies[MOST];

    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    /* First out of the way, since one's number may be another's place. */
    for (int i = 0; i < o->count; i++) {
        copies[i] = o->descriptors[i];
        if (copies[i] < o->count)
            copies[i] = fcntl(copies[i], F_DUPFD_CLOEXEC, o->count);
        if (copies[i] < 0)
            goto failed;
    }
    for (int i = 0; i < o->count; i++) {
        if (dup2(copies[i], i) < 0)
            goto failed;
    }
    if (close_range((unsigned)o->count, ~0u, CLOSE_RANGE_CLOEXEC) < 0 || chdir("/") < 0)
        goto failed;
    execve(o->program, o->arguments, environment);
failed:
    o->failed = errno;
    return 127; /* from clone(), which exits with it */
}

static int clone_vmm(void *data)
{
    order *o = data;

    if (clone(become_vmm, o->stacks[1] + STACK, CLONE_VM | CLONE_VFORK | CLONE_PIDFD, o, &o->process) < 0)
        o->failed = errno;
    return 0;
}

/* Signals stay away from a process that shares our memory. */
static void run(order *o)
{
    sigset_t all, before;
    int      helper;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    /* No signal at its end. */
    helper = clone(clone_vmm, o->stacks[0] + STACK, CLONE_VM | CLONE_VFORK | CLONE_FILES, o);
    if (helper < 0)
        o->failed = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    while (helper > 0 && waitpid(helper, NULL, __WCLONE) < 0 && errno == EINTR)
        continue;
}

/* The process, or -1 with errno. */
static int start(const char *program, char *const *arguments, const int *descriptors, int count)
{
    /* Shared, for where a sanitizer has the helper copy our memory. */
    order *o = mmap(NULL, sizeof(*o), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int    process, failed;

    if (o == MAP_FAILED)
        return -1;
    o->program = program;
    o->arguments = arguments;
    o->descriptors = descriptors;
    o->count = count;
    o->process = -1;
    run(o);
    process = o->process;
    failed = o->failed;
    munmap(o, sizeof(*o));
    if (!failed)
        return process;
    vmhi_kvm_close(process);
    errno = failed;
    return -1;
}

int vmhi_kvm_spawn(const char *program, char *const *arguments, const int *descriptors, int count, vmh_error **error)
{
    /* The program's own first three would be kept open: a terminal, or a pipe whose reader waits for its end. */
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    int       table[MOST] = {nothing, nothing, nothing};
    int       process;

    memcpy(table + STANDARD, descriptors, sizeof(int) * (gsize)count);
    process = nothing < 0 ? -1 : start(program, arguments, table, STANDARD + count);
    if (process < 0)
        vmhi_error_set_native(error, VMH_ERR_HYPERVISOR, VMHI_KVM, errno, NULL, "cannot start %s: %s", program,
                              g_strerror(errno));
    vmhi_kvm_close(nothing);
    return process;
}
