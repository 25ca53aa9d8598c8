/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The virtual machine: what it consists of, and its life from the first instruction to the end. */
#pragma once

#include "bus.h"
#include "failure.h"
#include "memory.h"
#include <linux/kvm.h>
#include <sched.h>
#include <stdatomic.h>

enum { VM_CPUS = WIRE_CPUS, VM_MODULES = 16, VM_CMDLINE = 2048 };

/* How the first CPU enters the guest. */
struct entry {
    int      mode; /* WIRE_MODE_… */
    uint64_t rip, rsp, rax, rbx, rsi;
};

/* A file that the guest finds in its memory. */
struct image {
    int  descriptor; /* -1: none */
    char cmdline[VM_CMDLINE + 1];
};

/* Cores of a socket and threads of a core; the number of CPUs is a multiple of both together. */
struct topology {
    unsigned cores, threads;
};

struct vm;

struct vcpu {
    struct vm        *vm;
    unsigned          index;
    int               descriptor;
    struct kvm_run   *run;
    pthread_t         thread;
    bool              has_thread;
    bool              is_pinned;
    cpu_set_t         affinity; /* where it may run when it is pinned */
    struct wire_line *line;
};

/* What a vCPU, or a device that it wrote to, asks of the control thread. */
enum vm_wish { VM_NOTHING, VM_OFF, VM_RESET, VM_CRASH };

struct vm {
    int             kvm;        /* /dev/kvm */
    int             descriptor; /* of the machine; made anew by each reset */
    size_t          run_size;
    struct memory   memory;
    struct bus      ports;
    struct bus      mmio;
    bool            has_pci; /* otherwise devices are in memory, and ACPI tells of them */
    unsigned        cpu_count;
    struct topology topology;
    struct vcpu     cpus[VM_CPUS];

    /* What is booted. */
    struct image kernel;
    int          kernel_kind; /* WIRE_KERNEL_… */
    uint64_t     flat_address;
    int          flat_mode;
    struct image modules[VM_MODULES]; /* the first is the initrd */
    unsigned     module_count;
    struct entry entry;
    uint8_t      generation[16]; /* another number when the guest is not what it was before */

    /* Under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    bool            holding; /* vCPUs wait, or are to end when leaving is set too */
    bool            leaving;
    unsigned        held;
    enum vm_wish    wish;
    char            wish_reason[WIRE_TEXT];
    int             wish_descriptor;  /* an eventfd of the loop */
    int             eject_descriptor; /* likewise: devices were taken out */
    int             lost_descriptor;  /* likewise: virtio_take_lost() has some */

    struct wire_stats *stats;
    int                stats_descriptor;
};

bool vm_init(struct vm *vm, int kvm);
bool vm_set_machine(struct vm *vm, uint64_t memory, uint64_t cpus, struct failure *failure);
/* Of a machine that was set; without it, all CPUs are cores of one socket. */
bool vm_set_topology(struct vm *vm, uint64_t cores, uint64_t threads, struct failure *failure);

/* Whether it is in one of these states; else the failure says in which. */
bool vm_in_state(const struct vm *vm, int state, int other, struct failure *failure);

/* Makes KVM's machine, loads the guest and lets its vCPUs run, or wait when paused. */
bool vm_boot(struct vm *vm, bool paused, struct failure *failure);
bool vm_reset(struct vm *vm, struct failure *failure);
/* Waits until no vCPU runs, or lets them go on, but for what is wanted of the control thread. */
void vm_hold(struct vm *vm);
void vm_release(struct vm *vm);
/* vCPUs end, KVM's machine is no more; the memory stays. */
void vm_tear_down(struct vm *vm);

/* From any thread: the control thread does it soon. */
void vm_wants(struct vm *vm, enum vm_wish wish, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A line of the I/O APIC, and a pulse on one that is edge-triggered. */
void vm_set_line(struct vm *vm, unsigned line, bool level);
void vm_interrupt(struct vm *vm, unsigned line);
bool vm_message_interrupt(struct vm *vm, uint64_t address, uint32_t data);

/* The counters: writers enclose what belongs together. Under the lock of whoever owns the lines. */
void              vm_set_state(struct vm *vm, int state, const char *reason);
struct wire_line *vm_add_line(struct vm *vm, uint32_t kind, const char *name);
void              vm_remove_line(struct vm *vm, struct wire_line *line);
/* WIRE_IN or WIRE_OUT. From any thread; a device without a line counts nothing. */
void vm_count_stalled(struct vm *vm, const struct wire_line *line, unsigned direction, uint64_t time_ns);
