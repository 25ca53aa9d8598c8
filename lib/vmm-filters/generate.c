/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Run by the build: makes seccomp programs of lib/vmm/calls.def and prints them as C, so that a VMM, which starts in
 * milliseconds, has nothing left to do but to hand them to the kernel.
 */
#include "vmm/sandbox.h"
#include "vmm/vcpu.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORKER SANDBOX_WORKER
#define VCPU SANDBOX_VCPU
#define CONTROL SANDBOX_CONTROL
#define ANY UINT64_MAX
/* What the C library makes a thread with. */
#define THREAD_FLAGS                                                                                                 \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |               \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
/* As much of a request as the kernel looks at. */
#define REQUEST_BITS UINT64_C(0xffffffff)

enum rule_kind { WHATEVER, MASKED, DENIED };

struct rule {
    enum sandbox_thread kind;
    const char         *name;
    enum rule_kind      how;
    unsigned            argument;
    uint64_t            mask;
    uint64_t            value; /* or the error */
};

#define CALL(kind, name) {kind, #name, WHATEVER, 0, 0, 0},
#define CALL_IF(kind, name, argument, mask, value) {kind, #name, MASKED, argument, mask, value},
#define IOCTL(kind, request) {kind, "ioctl", MASKED, 1, REQUEST_BITS, (request)&REQUEST_BITS},
#define DENY(name, error) {WORKER, #name, DENIED, 0, 0, error},
static const struct rule rules[] = {
#include "vmm/calls.def"
};

static const char *const names[SANDBOX_THREADS] = {
    [SANDBOX_WORKER] = "worker", [SANDBOX_VCPU] = "vcpu", [SANDBOX_CONTROL] = "control"};

static void check(int result, const char *what)
{
    if (result >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(-result));
    exit(1);
}

static void add(scmp_filter_ctx context, const struct rule *rule)
{
    const int                 number = seccomp_syscall_resolve_name(rule->name);
    const struct scmp_arg_cmp condition = {rule->argument, SCMP_CMP_MASKED_EQ, rule->mask, rule->value};

    if (number == __NR_SCMP_ERROR)
        check(-EINVAL, rule->name);
    if (rule->how == DENIED)
        check(seccomp_rule_add(context, SCMP_ACT_ERRNO((uint16_t)rule->value), number, 0), rule->name);
    else if (rule->how == WHATEVER)
        check(seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0), rule->name);
    else
        check(seccomp_rule_add_array(context, SCMP_ACT_ALLOW, number, 1, &condition), rule->name);
}

static void print_program(FILE *file, const char *name)
{
    struct sock_filter step;
    unsigned           count = 0;

    rewind(file);
    printf("static struct sock_filter %s[] = {\n", name);
    for (; fread(&step, sizeof(step), 1, file) == 1; count++)
        printf("    {%#x, %u, %u, %#x},\n", step.code, step.jt, step.jf, step.k);
    printf("};\n\n");
    if (!count)
        check(-EIO, name);
}

static void generate(enum sandbox_thread kind)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_KILL_PROCESS);
    FILE           *file = tmpfile();

    if (!context || !file)
        check(-ENOMEM, "seccomp");
    check(seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "another architecture");
    /* The kernel tries a program with each number when it gets it: a tree of comparisons takes half the time. */
    check(seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2), "a tree");
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (rules[i].kind <= kind)
            add(context, &rules[i]);
    }
    check(seccomp_export_bpf(context, fileno(file)), "export");
    print_program(file, names[kind]);
    fclose(file);
    seccomp_release(context);
}

int main(void)
{
    printf("/* Made of calls.def by the build. */\n#include \"sandbox.h\"\n#include <linux/filter.h>\n\n");
    for (int kind = 0; kind < SANDBOX_THREADS; kind++)
        generate((enum sandbox_thread)kind);
    printf("const struct sock_fprog sandbox_filters[SANDBOX_THREADS] = {\n");
    for (int kind = 0; kind < SANDBOX_THREADS; kind++)
        printf("    {sizeof(%s) / sizeof(%s[0]), %s},\n", names[kind], names[kind], names[kind]);
    printf("};\n");
    return 0;
}
