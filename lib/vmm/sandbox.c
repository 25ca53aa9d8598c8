/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Several walls, each of which should do: system calls by a list, no files and no network in sight, a user that owns
 * nothing. Each is a few system calls, since a VM starts in milliseconds.
 */
#include "sandbox.h"
#include "cell.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef VMM_INSTRUMENTED
/* What compilers add to find faults opens files and makes processes. */
enum { IS_INSTRUMENTED = 1 };
#else
enum { IS_INSTRUMENTED = 0 };
#endif

enum { MOST_DESCRIPTORS = 1024, MOST_THREADS = 1024 };

static char text[160];
static bool has_filters, has_joined;

static void tell(const char *what)
{
    const size_t length = strlen(text);

    snprintf(text + length, sizeof(text) - length, "%s%s", length ? "," : "", what);
}

const char *sandbox_text(void)
{
    return text;
}

void sandbox_close_from(unsigned first)
{
    syscall(SYS_close_range, first, ~0u, 0);
}

/* --- namespaces, with nothing in them --- */

static void leave_namespaces(void)
{
    bool is_empty = has_joined;

    if (!has_joined && !cell_leave(&is_empty))
        return;
    tell("namespaces");
    if (is_empty)
        tell("empty-root");
}

void sandbox_join(int network, int mounts)
{
    if (!IS_INSTRUMENTED) {
        has_joined = cell_join(network, mounts);
        return;
    }
    close(network);
    close(mounts);
}

/* --- rights --- */

static void lower(int resource, rlim_t most)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) < 0)
        return;
    if (limit.rlim_max > most)
        limit.rlim_max = most;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(resource, &limit);
}

/* The size of files stays as it is: disks and the guest's memory are files of any size. */
static void lower_limits(void)
{
    lower(RLIMIT_NOFILE, MOST_DESCRIPTORS);
    lower(RLIMIT_CORE, 0);
}

static void drop_user(unsigned user)
{
    char name[32];

    if (geteuid() != 0 || !user)
        return;
    if (setgroups(0, NULL) < 0 || setresgid(user, user, user) < 0 || setresuid(user, user, user) < 0)
        return;
    /* Counted by user, thus only where the user is ours alone. */
    lower(RLIMIT_NPROC, MOST_THREADS);
    snprintf(name, sizeof(name), "uid %u", user);
    tell(name);
}

/* A user namespace gave all of them, though only within. */
static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct   none[_LINUX_CAPABILITY_U32S_3] = {0};

    if (syscall(SYS_capset, &header, none) == 0)
        tell("no-capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        tell("no-new-privs");
}

/* --- Landlock: no file may be opened, no matter where --- */

static void lock_files(void)
{
    static const uint64_t files[] = {
        0, (1u << 13) - 1, (1u << 14) - 1, (1u << 15) - 1, (1u << 15) - 1, (1u << 16) - 1, (1u << 16) - 1};
    enum { NEWEST = sizeof(files) / sizeof(files[0]) - 1, NETWORK_SINCE = 4, SCOPES_SINCE = 6 };
    /* As the kernel knows them today; the header may be older. */
    struct {
        uint64_t files, network, scopes;
    } rules = {0};
    const long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    int        rule_set;

    if (version < 1)
        return;
    rules.files = files[version < NEWEST ? version : NEWEST];
    rules.network = version >= NETWORK_SINCE ? 3 : 0; /* bind and connect by TCP */
    rules.scopes = version >= SCOPES_SINCE ? 3 : 0;   /* abstract sockets and signals to others */
    rule_set = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
    /* An older kernel takes a longer form as long as what it does not know is 0. */
    if (rule_set >= 0 && syscall(SYS_landlock_restrict_self, rule_set, 0) == 0)
        tell("landlock");
    if (rule_set >= 0)
        close(rule_set);
}

/* --- system calls --- */

static bool set_filter(enum sandbox_thread kind)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &sandbox_filters[kind]) == 0;
}

void sandbox_leave(unsigned user)
{
    lower_limits();
    if (!IS_INSTRUMENTED) {
        leave_namespaces();
        drop_user(user);
    }
    drop_capabilities();
    if (!IS_INSTRUMENTED) {
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        lock_files();
    }
}

void sandbox_enter(unsigned user)
{
    /* One heap for all threads: little is allocated, and more heaps would look for the number of CPUs in files. */
    mallopt(M_ARENA_MAX, 1);
    sandbox_leave(user);
    has_filters = !IS_INSTRUMENTED && set_filter(SANDBOX_CONTROL);
    if (has_filters)
        tell("seccomp");
}

/* The kernel took the control thread's, so this one fails only for want of memory. */
void sandbox_enter_thread(enum sandbox_thread kind)
{
    if (has_filters && !set_filter(kind))
        _exit(1);
}
