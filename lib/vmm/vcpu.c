/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs one vCPU: into the guest, and out again when it reaches a device or something is wanted of it. */
#include "vcpu.h"
#include "sandbox.h"
#include <linux/kvm.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

static _Thread_local struct vcpu *self;

static void on_kick(int number)
{
    (void)number; /* it is enough that the system call ends */
}

bool vcpu_init(void)
{
    const struct sigaction action = {.sa_handler = on_kick};

    return sigaction(KICK_SIGNAL, &action, NULL) == 0;
}

/* Waits while vCPUs are held; false when the thread is to end. */
static bool may_run(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    bool       leaving;

    pthread_mutex_lock(&vm->lock);
    if (vm->holding) {
        vm->held++;
        pthread_cond_broadcast(&vm->changed);
        while (vm->holding && !vm->leaving)
            pthread_cond_wait(&vm->changed, &vm->lock);
        if (!vm->leaving)
            vm->held--;
    }
    /* A kick that came before the lock was taken is answered by now. */
    vcpu->run->immediate_exit = vm->holding;
    leaving = vm->leaving;
    pthread_mutex_unlock(&vm->lock);
    return !leaving;
}

static void do_port(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    uint8_t              *data = (uint8_t *)vcpu->run + run->io.data_offset;

    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
        uint64_t value = 0;

        memcpy(&value, data, run->io.size);
        bus_do(&vcpu->vm->ports, run->io.port, run->io.size, run->io.direction == KVM_EXIT_IO_OUT, &value);
        memcpy(data, &value, run->io.size);
    }
}

static void do_memory(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    uint64_t        value = 0;

    memcpy(&value, run->mmio.data, sizeof(value));
    bus_do(&vcpu->vm->mmio, run->mmio.phys_addr, run->mmio.len, run->mmio.is_write, &value);
    memcpy(run->mmio.data, &value, sizeof(value));
}

/* Ends the VM, with where the guest was. */
static void crash(const struct vcpu *vcpu, const char *what)
{
    struct kvm_regs  r;
    struct kvm_sregs s;

    if (ioctl(vcpu->descriptor, KVM_GET_REGS, &r) < 0 || ioctl(vcpu->descriptor, KVM_GET_SREGS, &s) < 0) {
        vm_wants(vcpu->vm, VM_CRASH, "vCPU %u: %s", vcpu->index, what);
        return;
    }
    vm_wants(vcpu->vm, VM_CRASH,
             "vCPU %u: %s at rip=%#llx cs=%#x rsp=%#llx rflags=%#llx cr0=%#llx cr2=%#llx cr3=%#llx cr4=%#llx "
             "efer=%#llx rax=%#llx rbx=%#llx rcx=%#llx rdx=%#llx rsi=%#llx rdi=%#llx",
             vcpu->index, what, r.rip, s.cs.selector, r.rsp, r.rflags, s.cr0, s.cr2, s.cr3, s.cr4, s.efer, r.rax,
             r.rbx, r.rcx, r.rdx, r.rsi, r.rdi);
}

void vcpu_crash(struct vm *vm, const char *what)
{
    if (self)
        crash(self, what);
    else
        vm_wants(vm, VM_CRASH, "%s", what);
}

static void handle_system_event(const struct vcpu *vcpu)
{
    switch (vcpu->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        vm_wants(vcpu->vm, VM_OFF, "the guest powered off");
        break;
    case KVM_SYSTEM_EVENT_RESET:
        vm_wants(vcpu->vm, VM_RESET, "the guest restarted");
        break;
    default:
        crash(vcpu, "the guest crashed");
        break;
    }
}

static void handle_exit(struct vcpu *vcpu)
{
    char what[96];

    switch (vcpu->run->exit_reason) {
    case KVM_EXIT_IO:
        do_port(vcpu);
        break;
    case KVM_EXIT_MMIO:
        do_memory(vcpu);
        break;
    case KVM_EXIT_INTR:
    case KVM_EXIT_HLT:
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        handle_system_event(vcpu);
        break;
    case KVM_EXIT_SHUTDOWN:
        crash(vcpu, "triple fault");
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        snprintf(what, sizeof(what), "KVM cannot go on (suberror %u)", vcpu->run->internal.suberror);
        crash(vcpu, what);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        snprintf(what, sizeof(what), "the CPU refuses the guest's state (reason %#llx)",
                 vcpu->run->fail_entry.hardware_entry_failure_reason);
        crash(vcpu, what);
        break;
    default:
        snprintf(what, sizeof(what), "exit %u, which is not known", vcpu->run->exit_reason);
        crash(vcpu, what);
        break;
    }
}

static void *run(void *data)
{
    struct vcpu *vcpu = data;

    self = vcpu;
    sandbox_enter_thread(SANDBOX_VCPU);
    while (may_run(vcpu)) {
        /* The test of immediate_exit within makes sure that no kick is lost. */
        if (ioctl(vcpu->descriptor, KVM_RUN, 0) == 0) {
            vcpu->line->values[WIRE_VCPU_EXITS]++;
            handle_exit(vcpu);
        } else if (errno != EINTR && errno != EAGAIN) {
            char what[96];

            snprintf(what, sizeof(what), "KVM_RUN fails: %s", strerror(errno));
            crash(vcpu, what);
        }
    }
    return NULL;
}

bool vcpu_start(struct vcpu *vcpu)
{
    errno = pthread_create(&vcpu->thread, NULL, run, vcpu);
    vcpu->has_thread = errno == 0;
    return vcpu->has_thread && (!vcpu->is_pinned || vcpu_pin(vcpu, &vcpu->affinity));
}

bool vcpu_pin(struct vcpu *vcpu, const cpu_set_t *affinity)
{
    if (vcpu->has_thread) {
        errno = pthread_setaffinity_np(vcpu->thread, sizeof(*affinity), affinity);
        if (errno)
            return false;
    }
    vcpu->affinity = *affinity;
    vcpu->is_pinned = true;
    return true;
}

void vcpu_kick(struct vcpu *vcpu)
{
    if (!vcpu->has_thread)
        return;
    vcpu->run->immediate_exit = 1;
    pthread_kill(vcpu->thread, KICK_SIGNAL);
}

void vcpu_join(struct vcpu *vcpu)
{
    if (vcpu->has_thread)
        pthread_join(vcpu->thread, NULL);
    vcpu->has_thread = false;
}
