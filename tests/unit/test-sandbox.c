/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tries from inside what a guest that took over its VMM would try; each attempt is a process of its own. */
#include "cell.h"
#include "sandbox.h"
#include "unit.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Exit codes of attempts. */
enum { REFUSED = 0, POSSIBLE = 1, NOT_THERE = 77, USER = 0x70000001 };

/* A build to find faults leaves most of the sandbox out. */
#ifdef VMM_INSTRUMENTED
enum { IS_INSTRUMENTED = 1 };
#else
enum { IS_INSTRUMENTED = 0 };
#endif

typedef int (*attempt)(void);

static pid_t outside;  /* the test itself */
static char  path[64]; /* of a file that everybody may read and write */

/* --- attempts: REFUSED, POSSIBLE, or the process is killed --- */

static int result(long value)
{
    return value < 0 ? REFUSED : POSSIBLE;
}

#define ATTEMPT(name, call)                                                                                          \
    static int name(void)                                                                                            \
    {                                                                                                                \
        return result((long)(call));                                                                                 \
    }

ATTEMPT(do_open, open(path, O_RDONLY))
ATTEMPT(do_open_write, open(path, O_RDWR))
ATTEMPT(do_open_null, open("/dev/null", O_RDONLY))
ATTEMPT(do_open_proc, open("/proc/self/maps", O_RDONLY))
ATTEMPT(do_open_root, open("/", O_RDONLY | O_DIRECTORY))
ATTEMPT(do_open_above, open("../../../../etc/passwd", O_RDONLY))
ATTEMPT(do_creat, creat("/file", 0600))
ATTEMPT(do_mkdir, mkdir("/directory", 0700))
ATTEMPT(do_mknod, mknod("/device", S_IFCHR | 0600, 0x103))
ATTEMPT(do_unlink, unlink(path))
ATTEMPT(do_stat, access(path, F_OK))
ATTEMPT(do_exec, execl("/bin/true", "true", NULL))
ATTEMPT(do_fork, fork())
ATTEMPT(do_vfork, syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0))
ATTEMPT(do_thread_of_old, syscall(SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_NEWUSER, 0, 0, 0, 0))
ATTEMPT(do_clone3, syscall(SYS_clone3, NULL, 0))
ATTEMPT(do_unshare, unshare(CLONE_NEWUSER))
ATTEMPT(do_mount, mount("tmpfs", "/", "tmpfs", 0, NULL))
ATTEMPT(do_umount, umount2("/", MNT_DETACH))
ATTEMPT(do_chroot, chroot("."))
ATTEMPT(do_socket, socket(AF_INET, SOCK_STREAM, 0))
ATTEMPT(do_socket_unix, socket(AF_UNIX, SOCK_STREAM, 0))
ATTEMPT(do_socket_vsock, socket(AF_VSOCK, SOCK_STREAM, 0))
ATTEMPT(do_socketpair_inet, socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){0}))
ATTEMPT(do_kill, kill(outside, 0))
ATTEMPT(do_tgkill, syscall(SYS_tgkill, outside, outside, SIGKILL))
ATTEMPT(do_ptrace, ptrace(PTRACE_ATTACH, outside, NULL, NULL))
ATTEMPT(do_peek, syscall(SYS_process_vm_readv, outside, NULL, 0UL, NULL, 0UL, 0UL))
ATTEMPT(do_pidfd, syscall(SYS_pidfd_open, outside, 0))
ATTEMPT(do_root, setresuid(0, 0, 0))
ATTEMPT(do_group, setresgid(0, 0, 0))
ATTEMPT(do_prctl, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
ATTEMPT(do_limit, setrlimit(RLIMIT_CORE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}))
ATTEMPT(do_bpf, syscall(SYS_bpf, 0, NULL, 0))
ATTEMPT(do_perf, syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0UL))
ATTEMPT(do_userfault, syscall(SYS_userfaultfd, 0))
ATTEMPT(do_keys, syscall(SYS_keyctl, 0, 0, 0, 0, 0))
ATTEMPT(do_module, syscall(SYS_init_module, NULL, 0UL, ""))
ATTEMPT(do_reboot, syscall(SYS_reboot, 0, 0, 0, NULL))
ATTEMPT(do_setns, setns(0, CLONE_NEWNET))
ATTEMPT(do_inject, ioctl(0, TIOCSTI, "x"))
ATTEMPT(do_kvm_device, ioctl(0, KVM_CREATE_DEVICE, NULL))
ATTEMPT(do_make_machine, ioctl(0, KVM_CREATE_VM, 0UL))
ATTEMPT(do_run, ioctl(0, KVM_RUN, 0UL))
ATTEMPT(do_interrupt, ioctl(0, KVM_IRQ_LINE, NULL))
ATTEMPT(do_memfd, memfd_create("x", 0))
ATTEMPT(do_accept, accept4(0, NULL, NULL, 0))
ATTEMPT(do_receive, recvmsg(0, NULL, 0))
ATTEMPT(do_ring, syscall(SYS_io_uring_setup, 1, NULL))
ATTEMPT(do_filter, syscall(SYS_seccomp, 1, 1UL, NULL))
ATTEMPT(do_other_abi, syscall(0x40000000 | SYS_getpid))

static int do_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? REFUSED
                                                                                                     : POSSIBLE;
}

static int do_code_later(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return page == MAP_FAILED ? NOT_THERE : result(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

/* System calls of 32 bits have other numbers: 5 is open(). */
static int do_old_abi(void)
{
    long value = 5;

#ifdef __x86_64__
    __asm__ volatile("int $0x80" : "+a"(value) : "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
#endif
    return result(value);
}

/* A ring takes orders that no list of system calls sees. */
static int do_open_by_ring(void)
{
    struct io_uring_params params = {0};
    const int              ring = (int)syscall(SYS_io_uring_setup, 1, &params);
    const size_t           size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    uint8_t               *base, *done;
    struct io_uring_sqe   *order;

    if (ring < 0)
        return REFUSED;
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
    order = mmap(NULL, sizeof(*order), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    *order = (struct io_uring_sqe){
        .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)path, .open_flags = O_RDONLY};
    *(unsigned *)(base + params.sq_off.array) = 0;
    *(unsigned *)(base + params.sq_off.tail) = 1;
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
        return NOT_THERE;
    return result(((struct io_uring_cqe *)(done + params.cq_off.cqes))->res);
}

/* --- running them --- */

typedef void (*setup)(void);

static void as_control(void)
{
    sandbox_enter(USER);
}

static void as_vcpu(void)
{
    sandbox_enter(USER);
    sandbox_enter_thread(SANDBOX_VCPU);
}

static void as_worker(void)
{
    sandbox_enter(USER);
    sandbox_enter_thread(SANDBOX_WORKER);
}

static void without_filters(void)
{
    sandbox_leave(USER);
}

/* As the VMMs of one host are, which share what was made once. */
static int network, mounts;

static void in_cell(void)
{
    sandbox_join(network, mounts);
    sandbox_leave(USER);
}

static void *make_cell(void *data)
{
    *(bool *)data = cell_make(&network, &mounts);
    return NULL;
}

/* How the process ended, as waitpid() says. */
static int run(setup prepare, attempt try)
{
    const pid_t child = fork();
    int         status;

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        signal(SIGSYS, SIG_DFL);
        prepare();
        _exit(try());
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

struct named {
    const char *name;
    attempt     try;
};

#define NAMED(name)                                                                                                  \
    {                                                                                                                \
#name, name                                                                                                  \
    }

static void assert_killed(setup prepare, const struct named *attempts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const int status = run(prepare, attempts[i].try);

        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: not killed, but status %#x",
                      attempts[i].name, status);
    }
}

static void assert_ends(setup prepare, const struct named *attempts, size_t count, int code)
{
    for (size_t i = 0; i < count; i++) {
        const int status = run(prepare, attempts[i].try);

        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == code, "%s: status %#x", attempts[i].name, status);
    }
}

/* Whether the sandbox says so of itself. */
static const char *sought;

static int does_tell(void)
{
    return strstr(sandbox_text(), sought) ? POSSIBLE : REFUSED;
}

static bool tells(setup prepare, const char *what)
{
    sought = what;
    return WEXITSTATUS(run(prepare, does_tell)) == POSSIBLE;
}

static void begin(void)
{
    int file;

    outside = getpid();
    snprintf(path, sizeof(path), "/tmp/sandbox-XXXXXX");
    file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(fchmod(file, 0666), 0);
    close(file);
}

static void end(void)
{
    unlink(path);
}

/* --- what is told --- */

static void nothing(void)
{
}

static int can_unshare(void)
{
    const int all = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

    return result(geteuid() == 0 ? unshare(all) : unshare(CLONE_NEWUSER | all));
}

/* What the kernel has is used; else the tests below would have nothing to find fault with. */
START_TEST(test_tells)
{
    const bool has_namespaces = WEXITSTATUS(run(nothing, can_unshare)) == POSSIBLE;
    const bool has_landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;

    ck_assert_int_eq(tells(as_control, "no-capabilities,no-new-privs"), true);
    if (IS_INSTRUMENTED)
        return;
    ck_assert_int_eq(tells(as_control, "seccomp"), prctl(PR_GET_SECCOMP) >= 0);
    ck_assert_int_eq(tells(as_control, "namespaces,empty-root"), has_namespaces);
    ck_assert_int_eq(tells(as_control, "landlock"), has_landlock);
    ck_assert_int_eq(tells(as_control, "uid "), geteuid() == 0);
}
END_TEST

/* --- the lists of system calls --- */

START_TEST(test_killed)
{
    static const struct named attempts[] = {
        NAMED(do_open),    NAMED(do_open_write),   NAMED(do_open_null),
        NAMED(do_creat),   NAMED(do_mkdir),        NAMED(do_mknod),
        NAMED(do_unlink),  NAMED(do_stat),         NAMED(do_exec),
        NAMED(do_fork),    NAMED(do_vfork),        NAMED(do_thread_of_old),
        NAMED(do_unshare), NAMED(do_mount),        NAMED(do_umount),
        NAMED(do_chroot),  NAMED(do_socket),       NAMED(do_socket_unix),
        NAMED(do_kill),    NAMED(do_tgkill),       NAMED(do_ptrace),
        NAMED(do_peek),    NAMED(do_pidfd),        NAMED(do_root),
        NAMED(do_group),   NAMED(do_prctl),        NAMED(do_limit),
        NAMED(do_bpf),     NAMED(do_perf),         NAMED(do_userfault),
        NAMED(do_keys),    NAMED(do_module),       NAMED(do_reboot),
        NAMED(do_setns),   NAMED(do_inject),       NAMED(do_kvm_device),
        NAMED(do_code),    NAMED(do_code_later),   NAMED(do_other_abi),
        NAMED(do_old_abi), NAMED(do_socket_vsock), NAMED(do_socketpair_inet),
    };

    begin();
    if (tells(as_control, "seccomp")) {
        assert_killed(as_control, attempts, G_N_ELEMENTS(attempts));
        assert_killed(as_vcpu, attempts, G_N_ELEMENTS(attempts));
        assert_killed(as_worker, attempts, G_N_ELEMENTS(attempts));
    }
    end();
}
END_TEST

START_TEST(test_steps)
{
    static const struct named of_control[] = {NAMED(do_make_machine), NAMED(do_memfd), NAMED(do_accept),
                                              NAMED(do_receive), NAMED(do_ring)};
    static const struct named of_vcpu[] = {NAMED(do_run), NAMED(do_filter)};
    static const struct named of_all[] = {NAMED(do_interrupt)};

    if (!tells(as_control, "seccomp"))
        return;
    assert_killed(as_vcpu, of_control, G_N_ELEMENTS(of_control));
    assert_killed(as_worker, of_control, G_N_ELEMENTS(of_control));
    assert_killed(as_worker, of_vcpu, G_N_ELEMENTS(of_vcpu));
    /* Standard input is no such device, which the kernel says. */
    assert_ends(as_control, of_vcpu, 1, REFUSED);
    assert_ends(as_vcpu, of_vcpu, 1, REFUSED);
    assert_ends(as_worker, of_all, G_N_ELEMENTS(of_all), REFUSED);
}
END_TEST

static void *say_so(void *data)
{
    sandbox_enter_thread(SANDBOX_WORKER);
    *(bool *)data = true;
    return NULL;
}

/* The C library tries a call whose flags nobody sees, and then the one that is allowed. */
static int make_thread(void)
{
    pthread_t thread;
    bool      ran = false;

    if (do_clone3() != REFUSED || errno != ENOSYS || pthread_create(&thread, NULL, say_so, &ran) != 0 ||
        pthread_join(thread, NULL) != 0)
        return REFUSED;
    return ran ? POSSIBLE : REFUSED;
}

START_TEST(test_threads)
{
    static const struct named attempts[] = {NAMED(make_thread)};

    if (tells(as_control, "seccomp"))
        assert_ends(as_vcpu, attempts, G_N_ELEMENTS(attempts), POSSIBLE);
}
END_TEST

/* --- the other walls, each by itself --- */

/* In namespaces of its own, and in those of all VMMs, which only root can have. */
static void assert_refused(const struct named *attempts, size_t count)
{
    bool      made = false;
    pthread_t thread;

    assert_ends(without_filters, attempts, count, REFUSED);
    ck_assert_int_eq(pthread_create(&thread, NULL, make_cell, &made), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(access("/proc/self", F_OK), 0);
    if (!made)
        return;
    ck_assert(tells(in_cell, "namespaces,empty-root"));
    assert_ends(in_cell, attempts, count, REFUSED);
    close(network);
    close(mounts);
}

START_TEST(test_no_files)
{
    static const struct named attempts[] = {NAMED(do_open),      NAMED(do_open_write),  NAMED(do_open_null),
                                            NAMED(do_open_proc), NAMED(do_mount),       NAMED(do_open_above),
                                            NAMED(do_creat),     NAMED(do_mkdir),       NAMED(do_mknod),
                                            NAMED(do_unlink),    NAMED(do_open_by_ring)};
    static const struct named by_ring[] = {NAMED(do_open_by_ring)};

    begin();
    if (tells(without_filters, "empty-root") || tells(without_filters, "landlock")) {
        assert_refused(attempts, G_N_ELEMENTS(attempts));
        assert_ends(as_control, by_ring, G_N_ELEMENTS(by_ring), REFUSED);
    }
    if (tells(without_filters, "landlock"))
        assert_ends(without_filters, &(struct named){"do_open_root", do_open_root}, 1, REFUSED);
    end();
}
END_TEST

static int has_network(void)
{
    struct ifaddrs *all = NULL;

    if (getifaddrs(&all) < 0)
        return REFUSED;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (i->ifa_flags & IFF_UP || strcmp(i->ifa_name, "lo") != 0)
            return POSSIBLE;
    }
    return REFUSED;
}

static struct sockaddr_un abstract;

static int do_connect_abstract(void)
{
    const int socket_of_ours = socket(AF_UNIX, SOCK_STREAM, 0);

    return result(connect(socket_of_ours, (struct sockaddr *)&abstract, sizeof(abstract)));
}

START_TEST(test_no_network)
{
    static const struct named attempts[] = {NAMED(has_network), NAMED(do_connect_abstract)};
    const int                 listener = socket(AF_UNIX, SOCK_STREAM, 0);

    abstract.sun_family = AF_UNIX;
    snprintf(abstract.sun_path + 1, sizeof(abstract.sun_path) - 1, "vmhost-sandbox-test-%d", (int)getpid());
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&abstract, sizeof(abstract)), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(do_connect_abstract(), POSSIBLE);
    if (tells(without_filters, "namespaces"))
        assert_refused(attempts, G_N_ELEMENTS(attempts));
    close(listener);
}
END_TEST

static int is_other_user(void)
{
    return getuid() == USER && geteuid() == USER && getgid() == USER && getgroups(0, NULL) == 0 ? REFUSED : POSSIBLE;
}

static int has_rights(void)
{
    struct rlimit core;

    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE) != 0 ||
                   getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_max != 0
               ? POSSIBLE
               : REFUSED;
}

START_TEST(test_no_rights)
{
    static const struct named attempts[] = {NAMED(do_mount),  NAMED(do_chroot), NAMED(do_setns),
                                            NAMED(do_reboot), NAMED(do_limit),  NAMED(has_rights)};
    static const struct named of_root[] = {NAMED(is_other_user), NAMED(do_root), NAMED(do_group), NAMED(do_kill),
                                           NAMED(do_ptrace)};

    outside = getpid();
    if (IS_INSTRUMENTED)
        return;
    assert_refused(attempts, G_N_ELEMENTS(attempts));
    if (geteuid() == 0)
        assert_ends(without_filters, of_root, G_N_ELEMENTS(of_root), REFUSED);
}
END_TEST

START_TEST(test_closes)
{
    const int kept = open("/dev/null", O_RDONLY);
    const int other = fcntl(kept, F_DUPFD, kept + 1);

    sandbox_close_from((unsigned)other);
    ck_assert_int_ge(fcntl(kept, F_GETFD), 0);
    ck_assert_int_lt(fcntl(other, F_GETFD), 0);
    ck_assert_int_eq(errno, EBADF);
}
END_TEST

UNIT_RUN("sandbox", test_tells, test_killed, test_steps, test_threads, test_no_files, test_no_network, test_no_rights,
         test_closes)
