/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the wish for a VM to the first write of its guest to a port, process start included: by the engine of our own,
 * and by QEMU's microvm on the same KVM with the same guest; or "floor", by the bare system calls in this very
 * program, with a guest that does nothing else.
 */
#include "sides.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUEST 0x10000
enum { RUNS = 41, MEMORY = 32 << 20, PORT = 0x3f8 };

typedef struct {
    vmh_host   *host;
    bench_guest guest;
} start;

static double hear_first(bench_running running, double begin)
{
    double end;

    bench_hear(&running, "");
    end = bench_now_us();
    bench_end(&running);
    return (end - begin) / 1000;
}

static double ours(void *data)
{
    const start *s = data;
    const double begin = bench_now_us();

    return hear_first(bench_begin_ours(s->host, &s->guest), begin);
}

static double peer(void *data)
{
    const start *s = data;
    const double begin = bench_now_us();

    return hear_first(bench_start_peer(&s->guest), begin);
}

/* --- the least that there is to do: a machine with interrupt controllers, memory and one vCPU --- */

static const uint8_t writes[] = {0xba, PORT & 0xff, PORT >> 8, 0xee, 0xf4}; /* mov $PORT, %dx; out %al, %dx; hlt */

static int write_guest(char *path)
{
    const int descriptor = mkstemp(path);

    bench_require(descriptor >= 0 && write(descriptor, writes, sizeof(writes)) == sizeof(writes), NULL, path);
    return descriptor;
}

static double bare(void *data)
{
    double   begin = bench_now_us(), end;
    int      kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int      vm = ioctl(kvm, KVM_CREATE_VM, 0UL);
    int      size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0UL);
    uint8_t *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct kvm_userspace_memory_region region = {.memory_size = MEMORY, .userspace_addr = (uintptr_t)memory};
    struct kvm_sregs                         system;
    struct kvm_regs                          registers = {.rip = GUEST & 0xffff, .rflags = 2};

    (void)data;
    memcpy(memory + GUEST, writes, sizeof(writes));
    bench_require(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == 0 && ioctl(vm, KVM_CREATE_IRQCHIP, 0UL) == 0,
                  NULL, "KVM");
    int             cpu = ioctl(vm, KVM_CREATE_VCPU, 0UL);
    struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    bench_require(cpu >= 0 && ioctl(cpu, KVM_GET_SREGS, &system) == 0, NULL, "KVM");
    system.cs.base = GUEST;
    system.cs.selector = GUEST >> 4;
    bench_require(ioctl(cpu, KVM_SET_SREGS, &system) == 0 && ioctl(cpu, KVM_SET_REGS, &registers) == 0 &&
                      ioctl(cpu, KVM_RUN, 0UL) == 0 && run->exit_reason == KVM_EXIT_IO,
                  NULL, "KVM_RUN");
    end = bench_now_us();
    munmap(run, (size_t)size);
    munmap(memory, MEMORY);
    close(cpu);
    close(vm);
    close(kvm);
    return (end - begin) / 1000;
}

static void run_floor(const char *name, start *s)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", bare}};
    char             path[] = "/tmp/vmhost-guest-XXXXXX";
    const int        descriptor = write_guest(path);

    s->guest.kernel = path;
    s->guest.flat_at = G_STRINGIFY(GUEST);
    bench_run(name, sides, G_N_ELEMENTS(sides), RUNS, s);
    close(descriptor);
    unlink(path);
}

int main(int argc, char **argv)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}};
    start            s = {.guest = {.memory_mib = "32", .kernel = SMALL_GUEST}};

    bench_require(argc == 3, NULL, "usage: vm-start NAME peer|floor");
    s.host = bench_own_host();
    if (g_str_equal(argv[2], "floor"))
        run_floor(argv[1], &s);
    else
        bench_run(argv[1], sides, G_N_ELEMENTS(sides), RUNS, &s);
    bench_own_host_free(s.host);
    return 0;
}
