/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Makes KVM's machine, and stops, resets and ends it. */
#include "vm.h"
#include "boot/boot.h"
#include "cpu.h"
#include "cpuid.h"
#include "device/pci.h"
#include "vcpu.h"
#include "virtio/mmio.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>

enum { TSS_ADDRESS = 0xfffbd000, IDENTITY_MAP_ADDRESS = 0xfffbc000 };

static bool make_stats(struct vm *vm)
{
    vm->stats_descriptor = memfd_create("counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (vm->stats_descriptor < 0 || ftruncate(vm->stats_descriptor, sizeof(*vm->stats)) < 0)
        return false;
    vm->stats = mmap(NULL, sizeof(*vm->stats), PROT_READ | PROT_WRITE, MAP_SHARED, vm->stats_descriptor, 0);
    if (vm->stats == MAP_FAILED)
        return false;
    vm->stats->magic = WIRE_STATS_MAGIC;
    vm->stats->version = WIRE_VERSION;
    return fcntl(vm->stats_descriptor, F_ADD_SEALS,
                 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0;
}

bool vm_init(struct vm *vm, int kvm)
{
    memset(vm, 0, sizeof(*vm));
    vm->kvm = kvm;
    vm->descriptor = -1;
    vm->kernel.descriptor = -1;
    pthread_mutex_init(&vm->lock, NULL);
    pthread_cond_init(&vm->changed, NULL);
    bus_init(&vm->ports);
    bus_init(&vm->mmio);
    vm->wish_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    vm->eject_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    vm->lost_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return vm->wish_descriptor >= 0 && vm->eject_descriptor >= 0 && vm->lost_descriptor >= 0 && make_stats(vm) &&
           vcpu_init() && getrandom(vm->generation, sizeof(vm->generation), 0) == sizeof(vm->generation);
}

bool vm_set_machine(struct vm *vm, uint64_t memory, uint64_t cpus, struct failure *failure)
{
    char name[16];

    if (vm->memory.base)
        return fail(failure, WIRE_WRONG_STATE, NULL, "the machine was described before");
    if (cpus < 1 || cpus > VM_CPUS)
        return fail(failure, WIRE_VALUE, "cpu.count", "from 1 to %d CPUs, not %llu", VM_CPUS,
                    (unsigned long long)cpus);
    if (memory < 1 << 20 || memory > WIRE_MEMORY || memory % WIRE_PAGE)
        return fail(failure, WIRE_VALUE, "memory.size", "from 1 MiB to 512 GiB, in pages of 4 KiB");
    if (!memory_create(&vm->memory, memory))
        return fail(failure, WIRE_HOST, "memory.size", "no memory for the guest: %s", strerror(errno));
    vm->cpu_count = (unsigned)cpus;
    vm->topology = (struct topology){vm->cpu_count, 1};
    vm->stats->memory = memory;
    vm->stats->cpus = (uint32_t)cpus;
    for (unsigned i = 0; i < vm->cpu_count; i++) {
        snprintf(name, sizeof(name), "%u", i);
        vm->cpus[i] = (struct vcpu){.vm = vm, .index = i, .descriptor = -1};
        vm->cpus[i].line = vm_add_line(vm, WIRE_LINE_VCPU, name);
    }
    return true;
}

bool vm_set_topology(struct vm *vm, uint64_t cores, uint64_t threads, struct failure *failure)
{
    if (!cores || !threads || cores > vm->cpu_count || threads > vm->cpu_count || vm->cpu_count % (cores * threads))
        return fail(failure, WIRE_VALUE, "cpu.cores", "%u CPUs are not so many sockets of %llu cores of %llu threads",
                    vm->cpu_count, (unsigned long long)cores, (unsigned long long)threads);
    vm->topology = (struct topology){(unsigned)cores, (unsigned)threads};
    return true;
}

static bool make_cpu(struct vcpu *vcpu, struct failure *failure)
{
    struct vm *vm = vcpu->vm;

    vcpu->descriptor =
        ioctl(vm->descriptor, KVM_CREATE_VCPU, (unsigned long)cpuid_apic_id(&vm->topology, vcpu->index));
    if (vcpu->descriptor < 0)
        return fail(failure, WIRE_HOST, "cpu.count", "KVM makes no vCPU %u: %s", vcpu->index, strerror(errno));
    vcpu->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->descriptor, 0);
    if (vcpu->run == MAP_FAILED) {
        vcpu->run = NULL;
        return fail(failure, WIRE_HOST, NULL, "a vCPU cannot be mapped: %s", strerror(errno));
    }
    return cpuid_set(vcpu, failure);
}

/* The memory comes first: KVM then makes the interrupt controllers much faster. */
static bool make_machine(struct vm *vm, struct failure *failure)
{
    uint64_t map = IDENTITY_MAP_ADDRESS;
    int      size;

    vm->descriptor = ioctl(vm->kvm, KVM_CREATE_VM, 0UL);
    if (vm->descriptor < 0)
        return fail(failure, WIRE_HOST, NULL, "KVM makes no machine: %s", strerror(errno));
    size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0UL);
    if (size < (int)sizeof(struct kvm_run))
        return fail(failure, WIRE_HOST, NULL, "KVM's vCPUs cannot be mapped");
    vm->run_size = (size_t)size;
    if (!memory_attach(&vm->memory, vm->descriptor))
        return fail(failure, WIRE_HOST, "memory.size", "KVM refuses the guest's memory: %s", strerror(errno));
    /* Only Intel's CPUs need these two. */
    ioctl(vm->descriptor, KVM_SET_TSS_ADDR, (unsigned long)TSS_ADDRESS);
    ioctl(vm->descriptor, KVM_SET_IDENTITY_MAP_ADDR, &map);
    if (ioctl(vm->descriptor, KVM_CREATE_IRQCHIP, 0UL) < 0)
        return fail(failure, WIRE_HOST, NULL, "KVM makes no interrupt controllers: %s", strerror(errno));
    for (unsigned i = 0; i < vm->cpu_count; i++) {
        if (!make_cpu(&vm->cpus[i], failure))
            return false;
    }
    pci_power_on();
    virtio_mmio_power_on();
    return true;
}

static bool start_cpus(struct vm *vm, struct failure *failure)
{
    for (unsigned i = 0; i < vm->cpu_count; i++) {
        if (!cpu_set_entry(&vm->cpus[i], &vm->entry, failure))
            return false;
    }
    for (unsigned i = 0; i < vm->cpu_count; i++) {
        if (!vcpu_start(&vm->cpus[i]))
            return fail(failure, WIRE_HOST, NULL, "vCPU %u gets no thread, or not where it is pinned to: %s", i,
                        strerror(errno));
    }
    return true;
}

bool vm_boot(struct vm *vm, bool paused, struct failure *failure)
{
    if (!vm->memory.base || vm->descriptor >= 0)
        return fail(failure, WIRE_WRONG_STATE, NULL,
                    vm->memory.base ? "it was booted before" : "the machine was not described yet");
    vm->holding = paused;
    vm->leaving = false;
    vm->held = 0;
    vm->wish = VM_NOTHING;
    if (make_machine(vm, failure) && boot_load(vm, failure) && start_cpus(vm, failure)) {
        vm_set_state(vm, paused ? WIRE_PAUSED : WIRE_RUNNING, "");
        return true;
    }
    vm_tear_down(vm);
    return false;
}

bool vm_reset(struct vm *vm, struct failure *failure)
{
    const bool paused = vm->stats->state == WIRE_PAUSED;

    vm_tear_down(vm);
    if (!memory_clear(&vm->memory))
        return fail(failure, WIRE_HOST, NULL, "the guest's memory cannot be cleared: %s", strerror(errno));
    return vm_boot(vm, paused, failure);
}

static void kick_all(struct vm *vm)
{
    for (unsigned i = 0; i < vm->cpu_count; i++)
        vcpu_kick(&vm->cpus[i]);
}

static unsigned threads(const struct vm *vm)
{
    unsigned count = 0;

    for (unsigned i = 0; i < vm->cpu_count; i++)
        count += vm->cpus[i].has_thread;
    return count;
}

void vm_hold(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->holding = true;
    kick_all(vm);
    while (vm->held < threads(vm))
        pthread_cond_wait(&vm->changed, &vm->lock);
    pthread_mutex_unlock(&vm->lock);
}

void vm_release(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->holding = vm->wish != VM_NOTHING;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
}

void vm_tear_down(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->holding = vm->leaving = true;
    kick_all(vm);
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
    for (unsigned i = 0; i < vm->cpu_count; i++) {
        struct vcpu *vcpu = &vm->cpus[i];

        vcpu_join(vcpu);
        if (vcpu->run)
            munmap(vcpu->run, vm->run_size);
        if (vcpu->descriptor >= 0)
            close(vcpu->descriptor);
        vcpu->run = NULL;
        vcpu->descriptor = -1;
    }
    /* Devices still use KVM's machine, and the memory, which may be cleared next. */
    pci_power_off();
    virtio_mmio_power_off();
    if (vm->descriptor >= 0)
        close(vm->descriptor);
    vm->descriptor = -1;
}

void vm_wants(struct vm *vm, enum vm_wish wish, const char *format, ...)
{
    const uint64_t one = 1;
    va_list        arguments;

    pthread_mutex_lock(&vm->lock);
    if (vm->wish == VM_NOTHING) {
        vm->wish = wish;
        va_start(arguments, format);
        vsnprintf(vm->wish_reason, sizeof(vm->wish_reason), format, arguments);
        va_end(arguments);
        /* No instruction more, as after a machine's last. */
        vm->holding = true;
        kick_all(vm);
        if (write(vm->wish_descriptor, &one, sizeof(one)) < 0)
            abort(); /* an event counter that was just made does not fail */
    }
    pthread_mutex_unlock(&vm->lock);
}

/* A guest may name a CPU or an address to which no interrupt goes. All else is KVM's: a guest would wait for ever. */
static bool interrupt(struct vm *vm, unsigned long request, const void *what)
{
    if (vm->descriptor < 0)
        return false;
    if (ioctl(vm->descriptor, request, what) >= 0)
        return true;
    if (errno != EPERM && errno != EINVAL)
        vm_wants(vm, VM_CRASH, "KVM refuses to interrupt the guest: %s", strerror(errno));
    return false;
}

void vm_set_line(struct vm *vm, unsigned line, bool level)
{
    const struct kvm_irq_level what = {.irq = line, .level = level};

    interrupt(vm, KVM_IRQ_LINE, &what);
}

void vm_interrupt(struct vm *vm, unsigned line)
{
    vm_set_line(vm, line, true);
    vm_set_line(vm, line, false);
}

bool vm_message_interrupt(struct vm *vm, uint64_t address, uint32_t data)
{
    const struct kvm_msi message = {
        .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data};

    return interrupt(vm, KVM_SIGNAL_MSI, &message);
}

void vm_set_state(struct vm *vm, int state, const char *reason)
{
    struct wire_stats *stats = vm->stats;

    __atomic_add_fetch(&stats->sequence, 1, __ATOMIC_ACQ_REL);
    stats->state = state;
    snprintf(stats->reason, sizeof(stats->reason), "%s", reason);
    __atomic_add_fetch(&stats->sequence, 1, __ATOMIC_RELEASE);
}

static void clear_line(struct vm *vm, struct wire_line *line)
{
    memset(line, 0, sizeof(*line));
    memset(vm->stats->stalled_ns[line - vm->stats->lines], 0, sizeof(vm->stats->stalled_ns[0]));
}

bool vm_in_state(const struct vm *vm, int state, int other, struct failure *failure)
{
    static const char *const names[] = {"new", "running", "paused", "stopping", "ended", "crashed", "crashed"};

    if (vm->stats->state == state || vm->stats->state == other)
        return true;
    return fail(failure, WIRE_WRONG_STATE, NULL, "the VM is %s", names[vm->stats->state]);
}

struct wire_line *vm_add_line(struct vm *vm, uint32_t kind, const char *name)
{
    struct wire_stats *stats = vm->stats;
    struct wire_line  *line = NULL;

    for (unsigned i = 0; i < WIRE_STATS_LINES && !line; i++) {
        if (!stats->lines[i].kind)
            line = &stats->lines[i];
    }
    if (!line)
        return NULL;
    __atomic_add_fetch(&stats->sequence, 1, __ATOMIC_ACQ_REL);
    clear_line(vm, line);
    snprintf(line->name, sizeof(line->name), "%s", name);
    line->kind = kind;
    if (line >= stats->lines + stats->line_count)
        stats->line_count = (uint32_t)(line - stats->lines) + 1;
    __atomic_add_fetch(&stats->sequence, 1, __ATOMIC_RELEASE);
    return line;
}

void vm_remove_line(struct vm *vm, struct wire_line *line)
{
    __atomic_add_fetch(&vm->stats->sequence, 1, __ATOMIC_ACQ_REL);
    clear_line(vm, line);
    __atomic_add_fetch(&vm->stats->sequence, 1, __ATOMIC_RELEASE);
}

void vm_count_stalled(struct vm *vm, const struct wire_line *line, unsigned direction, uint64_t time_ns)
{
    if (line && time_ns)
        __atomic_fetch_add(&vm->stats->stalled_ns[line - vm->stats->lines][direction], time_ns, __ATOMIC_RELAXED);
}
