/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starts a VMM so that the program does not notice: no child of its own, no SIGCHLD, and no copy of its memory. A
 * helper shares our memory for a moment, clones the VMM and exits; its end is announced to nobody.
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

typedef struct {
    const char  *program;
    char *const *arguments;
    const int   *descriptors; /* by what their numbers will be */
    int          count;
    char        *stack;  /* of the VMM until it executes */
    int          failed; /* errno */
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
        copies[i] = fcntl(o->descriptors[i], F_DUPFD_CLOEXEC, MOST);
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

    if (clone(become_vmm, o->stack + STACK, CLONE_VM | CLONE_VFORK, o) < 0)
        o->failed = errno;
    return 0;
}

/* Signals stay away from a process that shares our memory. */
static int run(order *o, char *stacks)
{
    sigset_t all, before;
    int      helper;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    helper = clone(clone_vmm, stacks + STACK, CLONE_VM | CLONE_VFORK, o); /* no signal at its end */
    if (helper < 0)
        o->failed = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    while (helper > 0 && waitpid(helper, NULL, __WCLONE) < 0 && errno == EINTR)
        continue;
    return o->failed;
}

gboolean vmhi_kvm_spawn(const char *program, char *const *arguments, const int *descriptors, int count,
                        vmh_error **error)
{
    char *stacks = mmap(NULL, 2 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    /* The program's own first three would be kept open: a terminal, or a pipe whose reader waits for its end. */
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    int       table[MOST] = {nothing, nothing, nothing};
    order     o = {program, arguments, table, STANDARD + count, stacks + STACK, 0};

    memcpy(table + STANDARD, descriptors, sizeof(int) * (gsize)count);
    if (stacks == MAP_FAILED || nothing < 0)
        o.failed = errno;
    else
        run(&o, stacks);
    if (stacks != MAP_FAILED)
        munmap(stacks, 2 * STACK);
    if (nothing >= 0)
        close(nothing);
    if (!o.failed)
        return TRUE;
    vmhi_error_set_native(error, VMH_ERR_HYPERVISOR, VMHI_KVM, o.failed, NULL, "cannot start %s: %s", program,
                          g_strerror(o.failed));
    return FALSE;
}
