/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the wish for a VM to the first byte that its guest says: by the engine of our own, process start included,
 * and by QEMU's microvm on the same KVM with the same guest. floor is the bare system calls in this very program.
 */
#include "bench.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUNS = 41, MEMORY = 32 << 20, PAGE = 4096, PORT = 0x3f8 };

typedef struct {
    vmh_host *host;
    unsigned  number;
} starts;

static void read_first(int descriptor)
{
    char byte;

    bench_require(read(descriptor, &byte, 1) == 1, NULL, "the guest's first byte");
}

static vmh_spec *make_spec(starts *s)
{
    vmh_error *error = NULL;
    vmh_spec  *spec = vmh_spec_new("vm", &error);
    char       name[32];

    snprintf(name, sizeof(name), "start-%u", s->number++);
    vmh_spec_set(spec, "name", name, &error);
    vmh_spec_set(spec, "memory.size", "32MiB", &error);
    vmh_spec_set(spec, "boot.kernel", SMALL_GUEST, &error);
    bench_require(error == NULL, error, "the spec");
    return spec;
}

static double ours(void *data)
{
    starts    *s = data;
    vmh_error *error = NULL;
    vmh_spec  *spec = make_spec(s);
    double     start = bench_now_us(), end;
    vmh_job   *job = vmh_host_create_vm(s->host, spec, VMH_CREATE_START | VMH_CREATE_TRANSIENT, &error);

    bench_require(vmh_job_wait(job, -1, &error) == 0, error, "vmh_host_create_vm");
    vmh_vm *vm = vmh_job_result_vm(job);
    int     console = vmh_vm_console(vm, NULL, 0, &error);
    bench_require(console >= 0, error, "vmh_vm_console");
    read_first(console);
    end = bench_now_us();
    close(console);
    bench_require(vmh_job_finish(vmh_vm_stop(vm, 0, &error), -1, &error) == 0, error, "vmh_vm_stop");
    vmh_vm_unref(vm);
    vmh_job_unref(job);
    vmh_spec_unref(spec);
    return (end - start) / 1000;
}

static double peer(void *data)
{
    static char *const arguments[] = {
        "qemu-system-x86_64", "-M",      "microvm", "-accel", "kvm", "-nodefaults", "-no-user-config", "-nographic",
        "-no-reboot",         "-serial", "stdio",   "-m",     "32",  "-kernel",     SMALL_GUEST,       NULL};
    static char *const         environment[] = {"PATH=/usr/bin:/bin", NULL};
    posix_spawn_file_actions_t actions;
    int                        pipes[2];
    pid_t                      process;
    double                     start = bench_now_us(), end;

    (void)data;
    bench_require(pipe2(pipes, O_CLOEXEC) == 0, NULL, "pipe2");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    bench_require(posix_spawnp(&process, arguments[0], &actions, NULL, arguments, environment) == 0, NULL, "QEMU");
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    read_first(pipes[0]);
    end = bench_now_us();
    kill(process, SIGKILL);
    waitpid(process, NULL, 0);
    close(pipes[0]);
    return (end - start) / 1000;
}

/* The least that there is to do: a machine with interrupt controllers and one vCPU, whose guest writes to a port. */
static double bare(void *data)
{
    static const uint8_t guest[] = {0xba, PORT & 0xff, PORT >> 8, 0xee, 0xf4}; /* mov $PORT, %dx; out %al, %dx; hlt */
    double               start = bench_now_us(), end;
    int                  kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int                  vm = ioctl(kvm, KVM_CREATE_VM, 0UL);
    int                  size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0UL);
    uint8_t             *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct kvm_userspace_memory_region region = {.memory_size = MEMORY, .userspace_addr = (uintptr_t)memory};
    struct kvm_sregs                         system;
    struct kvm_regs                          registers = {.rip = PAGE, .rflags = 2};

    (void)data;
    memcpy(memory + PAGE, guest, sizeof(guest));
    bench_require(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == 0 && ioctl(vm, KVM_CREATE_IRQCHIP, 0UL) == 0,
                  NULL, "KVM");
    int             cpu = ioctl(vm, KVM_CREATE_VCPU, 0UL);
    struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    bench_require(cpu >= 0 && ioctl(cpu, KVM_GET_SREGS, &system) == 0, NULL, "KVM");
    system.cs.base = system.cs.selector = 0;
    bench_require(ioctl(cpu, KVM_SET_SREGS, &system) == 0 && ioctl(cpu, KVM_SET_REGS, &registers) == 0 &&
                      ioctl(cpu, KVM_RUN, 0UL) == 0 && run->exit_reason == KVM_EXIT_IO,
                  NULL, "KVM_RUN");
    end = bench_now_us();
    munmap(run, (size_t)size);
    munmap(memory, MEMORY);
    close(cpu);
    close(vm);
    close(kvm);
    return (end - start) / 1000;
}

int main(void)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}, {"floor", bare}};
    char             directory[] = "/tmp/vmhost-bench-XXXXXX";
    char             uri[64];
    starts           s = {0};

    bench_require(mkdtemp(directory) != NULL, NULL, "mkdtemp");
    snprintf(uri, sizeof(uri), "kvm://%s", directory);
    s.host = bench_open(uri);
    bench_run("vm-start-ms", sides, G_N_ELEMENTS(sides), RUNS, &s);
    vmh_host_unref(s.host);
    snprintf(uri, sizeof(uri), "rm -rf %s", directory);
    return system(uri) == 0 ? 0 : 1;
}
