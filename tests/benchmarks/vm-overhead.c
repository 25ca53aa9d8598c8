/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory that a running VM's process has for itself, beside the guest's: our VMM and QEMU's microvm. */
#include "bench.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUNS = 5 };

/* The guest's memory: a memfd of ours, or where QEMU has it, the anonymous mapping of that size. */
static int is_guest(const char *line, unsigned long size_kib)
{
    return strstr(line, "guest memory") != NULL || size_kib == 32 << 10;
}

static double private_kib(pid_t process)
{
    char          path[64], line[512], value[512];
    unsigned long start, end, kib, sum = 0;
    int           guest = 0;
    FILE         *file;

    snprintf(path, sizeof(path), "/proc/%d/smaps", (int)process);
    file = fopen(path, "r");
    bench_require(file != NULL, NULL, path);
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "%lx-%lx %s", &start, &end, value) == 3)
            guest = is_guest(line, (end - start) >> 10);
        else if (!guest && sscanf(line, "Private_%[^:]: %lu", value, &kib) == 2)
            sum += kib;
    }
    fclose(file);
    return (double)sum;
}

static void read_tick(int descriptor)
{
    char   text[256];
    size_t length = 0;

    while (length < sizeof(text) - 1 && read(descriptor, text + length, 1) == 1) {
        text[++length] = 0;
        if (strstr(text, "tick 1"))
            return;
    }
    bench_require(0, NULL, "waiting for the guest");
}

static pid_t find_vmm(void)
{
    FILE *list = popen("pgrep -n -x vmhost-vmm", "r");
    int   process = 0;

    bench_require(list && fscanf(list, "%d", &process) == 1, NULL, "finding the VMM");
    pclose(list);
    return process;
}

static double ours(void *data)
{
    vmh_error *error = NULL;
    vmh_spec  *spec = vmh_spec_new("vm", &error);
    double     kib;

    vmh_spec_set(spec, "name", "overhead", &error);
    vmh_spec_set(spec, "memory.size", "32MiB", &error);
    vmh_spec_set(spec, "boot.kernel", SMALL_GUEST, &error);
    vmh_spec_set(spec, "boot.cmdline", "tick=50", &error);
    vmh_job *job = vmh_host_create_vm(data, spec, VMH_CREATE_START | VMH_CREATE_TRANSIENT, &error);
    bench_require(vmh_job_wait(job, -1, &error) == 0, error, "vmh_host_create_vm");
    vmh_vm *vm = vmh_job_result_vm(job);
    int     console = vmh_vm_console(vm, NULL, 0, &error);
    bench_require(console >= 0, error, "vmh_vm_console");
    read_tick(console);
    kib = private_kib(find_vmm());
    close(console);
    vmh_job_finish(vmh_vm_stop(vm, 0, &error), -1, &error);
    vmh_vm_unref(vm);
    vmh_job_unref(job);
    vmh_spec_unref(spec);
    return kib;
}

static double peer(void *data)
{
    static char *const arguments[] = {
        "qemu-system-x86_64", "-M",         "microvm", "-accel", "kvm", "-nodefaults", "-no-user-config",
        "-nographic",         "-no-reboot", "-serial", "stdio",  "-m",  "32",          "-kernel",
        SMALL_GUEST,          "-append",    "tick=50", NULL};
    static char *const         environment[] = {"PATH=/usr/bin:/bin", NULL};
    posix_spawn_file_actions_t actions;
    int                        pipes[2];
    pid_t                      process;
    double                     kib;

    (void)data;
    bench_require(pipe2(pipes, O_CLOEXEC) == 0, NULL, "pipe2");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    bench_require(posix_spawnp(&process, arguments[0], &actions, NULL, arguments, environment) == 0, NULL, "QEMU");
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    read_tick(pipes[0]);
    kib = private_kib(process);
    kill(process, SIGKILL);
    waitpid(process, NULL, 0);
    close(pipes[0]);
    return kib;
}

int main(void)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}};
    char             directory[] = "/tmp/vmhost-bench-XXXXXX";
    char             uri[64];
    vmh_host        *host;

    bench_require(mkdtemp(directory) != NULL, NULL, "mkdtemp");
    snprintf(uri, sizeof(uri), "kvm://%s", directory);
    host = bench_open(uri);
    bench_run("vm-overhead-kib", sides, G_N_ELEMENTS(sides), RUNS, host);
    vmh_host_unref(host);
    snprintf(uri, sizeof(uri), "rm -rf %s", directory);
    return system(uri) == 0 ? 0 : 1;
}
