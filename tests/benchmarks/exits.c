/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What it costs a guest to leave: by a port and by memory, which devices of the VMM answer, and by a doorbell, of
 * which KVM tells. The peer runs the same guest in a bare loop around KVM_RUN, which answers nothing, and beside it a
 * thread that hears the doorbell and does nothing; at "unheard" nobody waits for it, whom KVM would have to wake.
 */
#include "guest.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    RUNS = 9,
    COUNT = 2000,
    MEMORY = 4 << 20,
    GDT = 0x500,
    TASK = 0x1000,
    TASK_SIZE = 0x68,
    PORT_BYTES = 8192,
    START_INFO = 0x6000,
    CMDLINE = 0x7000,
    TABLES = 0x9000,
    KERNEL = 0x100000,
    SERIAL = 0x3f8,
    POWER = 0x600
};
#define DOORBELL 0xd0000000
#define LAST (UINT64_C(1) << 32) /* more rings than a guest makes: the listener ends */

typedef struct {
    vmh_host   *host;
    const char *cmdline;
} exits;

static double per_exit(const char *words)
{
    return (double)guest_value(words, "cycles") / (double)guest_value(words, "count") * guest_cycle_ns();
}

static double ours(void *data)
{
    const exits     *e = data;
    vmh_spec        *spec = guest_spec("exits", e->cmdline, "4MiB");
    g_autofree char *words = guest_run(e->host, spec);

    vmh_spec_unref(spec);
    return per_exit(words);
}

/* --- the bare loop --- */

typedef struct {
    uint8_t        *memory;
    int             kvm, vm, cpu, bell;
    struct kvm_run *run;
    size_t          run_size;
} machine;

static void load(const machine *m, const char *cmdline)
{
    const uint64_t   information = CMDLINE; /* where PVH's start information has the command line's address */
    g_autofree char *kernel = NULL;
    gsize            size;

    bench_require(g_file_get_contents(RING3_GUEST "exits", &kernel, &size, NULL), NULL, "the guest");
    memcpy(m->memory + KERNEL, kernel, size);
    memcpy(m->memory + START_INFO + 24, &information, sizeof(information));
    g_strlcpy((char *)m->memory + CMDLINE, cmdline, 256);
}

/* The first 4 GiB as they are, for all rings; and a task that may use all ports. */
static void write_tables(const machine *m)
{
    uint64_t      *tables = (uint64_t *)(m->memory + TABLES);
    const uint16_t ports = TASK_SIZE;

    tables[0] = (TABLES + 0x1000) | 7;
    for (uint64_t i = 0; i < 4; i++)
        tables[512 + i] = (TABLES + 0x2000 + i * 0x1000) | 7;
    for (uint64_t i = 0; i < 2048; i++)
        tables[1024 + i] = i << 21 | 0x87;
    memcpy(m->memory + TASK + TASK_SIZE - 2, &ports, sizeof(ports));
    m->memory[TASK + TASK_SIZE + PORT_BYTES] = 0xff;
}

static void set_registers(const machine *m)
{
    const struct kvm_segment code = {
        .limit = ~0u, .selector = 0x13, .type = 11, .present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1};
    const struct kvm_segment data = {
        .limit = ~0u, .selector = 0x1b, .type = 3, .present = 1, .dpl = 3, .db = 1, .s = 1, .g = 1};
    const struct kvm_segment task = {
        .base = TASK, .limit = TASK_SIZE + PORT_BYTES, .selector = 0x20, .type = 11, .present = 1};
    const uint64_t        table[] = {0, 0, 0x00affb000000ffff, 0x00cff3000000ffff};
    const struct kvm_regs registers = {.rip = KERNEL, .rbx = START_INFO, .rflags = 2};
    struct kvm_sregs      system;

    bench_require(ioctl(m->cpu, KVM_GET_SREGS, &system) == 0, NULL, "KVM_GET_SREGS");
    memcpy(m->memory + GDT, table, sizeof(table));
    system.cs = code;
    system.ds = system.es = system.fs = system.gs = system.ss = data;
    system.tr = task;
    system.gdt.base = GDT;
    system.gdt.limit = sizeof(table) - 1;
    system.cr0 = 0x80000011;
    system.cr3 = TABLES;
    system.cr4 = 0x620;
    system.efer = 0x500;
    bench_require(ioctl(m->cpu, KVM_SET_SREGS, &system) == 0 && ioctl(m->cpu, KVM_SET_REGS, &registers) == 0, NULL,
                  "KVM's registers");
}

static void build(machine *m)
{
    m->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct kvm_userspace_memory_region region = {.memory_size = MEMORY, .userspace_addr = (uintptr_t)m->memory};
    m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    m->vm = ioctl(m->kvm, KVM_CREATE_VM, 0UL);
    m->bell = eventfd(0, EFD_CLOEXEC);
    m->run_size = (size_t)ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0UL);
    const struct kvm_ioeventfd bell = {.addr = DOORBELL, .fd = m->bell};
    bench_require(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region) == 0 &&
                      ioctl(m->vm, KVM_CREATE_IRQCHIP, 0UL) == 0 && ioctl(m->vm, KVM_IOEVENTFD, &bell) == 0,
                  NULL, "KVM's machine");
    m->cpu = ioctl(m->vm, KVM_CREATE_VCPU, 0UL);
    m->run = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->cpu, 0);
    bench_require(m->run != MAP_FAILED, NULL, "KVM's vCPU");
}

static void destroy(const machine *m)
{
    munmap(m->run, m->run_size);
    munmap(m->memory, MEMORY);
    close(m->cpu);
    close(m->bell);
    close(m->vm);
    close(m->kvm);
}

static void *hear(void *data)
{
    const int bell = *(const int *)data;
    uint64_t  count;

    while (read(bell, &count, sizeof(count)) == sizeof(count) && count < LAST)
        continue;
    return NULL;
}

/* What the guest says, until it powers off. */
static char *loop(const machine *m)
{
    GString              *words = g_string_new(NULL);
    const struct kvm_run *run = m->run;

    while (ioctl(m->cpu, KVM_RUN, 0UL) == 0) {
        if (run->exit_reason == KVM_EXIT_MMIO)
            continue;
        if (run->exit_reason != KVM_EXIT_IO || run->io.port == POWER)
            break;
        if (run->io.port == SERIAL)
            g_string_append_c(words, *((const char *)run + run->io.data_offset));
    }
    return g_string_free(words, FALSE);
}

static double run_bare(const exits *e, gboolean is_heard)
{
    g_autofree char *cmdline = g_strdup_printf("%s at=%u", e->cmdline, DOORBELL);
    g_autofree char *words = NULL;
    const uint64_t   last = LAST;
    machine          m;
    pthread_t        thread;

    build(&m);
    load(&m, cmdline);
    write_tables(&m);
    set_registers(&m);
    bench_require(!is_heard || pthread_create(&thread, NULL, hear, &m.bell) == 0, NULL, "a thread");
    words = loop(&m);
    bench_require(!is_heard || write(m.bell, &last, sizeof(last)) == sizeof(last), NULL, "the doorbell");
    if (is_heard)
        pthread_join(thread, NULL);
    destroy(&m);
    return per_exit(words);
}

static double peer(void *data)
{
    return run_bare(data, TRUE);
}

static double unheard(void *data)
{
    return run_bare(data, FALSE);
}

int main(int argc, char **argv)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}, {"unheard", unheard}};
    exits            e = {0};
    size_t           count;

    bench_require(argc == 3, NULL, "usage: exits NAME WAY");
    e.cmdline = g_strdup_printf("exit=%s count=%d", argv[2], COUNT);
    e.host = bench_own_host();
    count = g_str_equal(argv[2], "doorbell") ? G_N_ELEMENTS(sides) : 2;
    bench_run(argv[1], sides, count, RUNS, &e);
    bench_own_host_free(e.host);
    g_free((char *)e.cmdline);
    return 0;
}
