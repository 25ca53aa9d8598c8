/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the wish for a VM to the first byte that its guest says: by the engine of our own, process start included,
 * and by QEMU's microvm on the same KVM with the same guest. floor is the bare system calls in this very program.
 */
#include "sides.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RUNS = 41, MEMORY = 32 << 20, PAGE = 4096, PORT = 0x3f8 };

static const bench_guest guest = {.memory_mib = "32", .kernel = SMALL_GUEST};

static double hear_first(bench_running running, double start)
{
    double end;

    bench_hear(&running, "");
    end = bench_now_us();
    bench_end(&running);
    return (end - start) / 1000;
}

static double ours(void *host)
{
    double start = bench_now_us();

    return hear_first(bench_start_ours(host, &guest), start);
}

static double peer(void *data)
{
    double start = bench_now_us();

    (void)data;
    return hear_first(bench_start_peer(&guest), start);
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
    vmh_host        *host = bench_own_host();

    bench_run("vm-start-ms", sides, G_N_ELEMENTS(sides), RUNS, host);
    bench_own_host_free(host);
    return 0;
}
