/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Registers and the local APIC of a new vCPU. */
#include "cpu.h"
#include <string.h>
#include <sys/ioctl.h>

enum {
    /* Where a guest that is entered in protected or long mode finds the tables that it replaces soon. */
    GDT = 0x500,
    TASK = 0x1000, /* with a bit for each I/O port */
    TASK_SIZE = 0x68,
    TASK_PORTS = 0x66, /* where in it stands where the bits are */
    PORT_BYTES = 65536 / 8,
    PAGE_TABLES = 0x9000, /* up to BOOT_FREE: one PML4, one PDPT, four page directories: the first 4 GiB */

    CR0_PE = 1 << 0,
    CR0_ET = 1 << 4,
    CR4_PAE = 1 << 5,
    CR4_OSFXSR = 1 << 9,
    CR4_OSXMMEXCPT = 1 << 10,
    EFER_LME = 1 << 8,
    EFER_LMA = 1 << 10,
    RFLAGS_FIXED = 1 << 1,
    PAGE_PRESENT = 1,
    PAGE_WRITE = 2,
    PAGE_USER = 4,
    PAGE_LARGE = 1 << 7,

    MSR_MISC_ENABLE = 0x1a0,
    MISC_FAST_STRINGS = 1,
    MSR_MTRR_DEFAULT = 0x2ff,
    MTRR_ENABLED_WRITE_BACK = 0x806,

    APIC_LINT0 = 0x350,
    APIC_LINT1 = 0x360,
    APIC_MODE_NMI = 0x400,
    APIC_MODE_EXTINT = 0x700,
};
#define CR0_PG UINT64_C(0x80000000)

/* A flat segment as a descriptor in the table: base 0, limit 4 GiB. */
static struct kvm_segment flat_segment(unsigned index, unsigned type, unsigned ring, bool is_long)
{
    return (struct kvm_segment){
        .limit = 0xffffffff,
        .selector = (uint16_t)(index * 8 | ring),
        .type = (uint8_t)type,
        .present = 1,
        .dpl = (uint8_t)ring,
        .db = !is_long,
        .s = 1,
        .l = is_long,
        .g = 1,
    };
}

static uint64_t descriptor_of(const struct kvm_segment *segment)
{
    const uint64_t access = (uint64_t)segment->type | (uint64_t)segment->s << 4 | (uint64_t)segment->dpl << 5 |
                            (uint64_t)segment->present << 7;
    const uint64_t flags = (uint64_t)segment->l << 1 | (uint64_t)segment->db << 2 | (uint64_t)segment->g << 3;

    return 0xffff | access << 40 | UINT64_C(0xf) << 48 | flags << 52;
}

/* Identity-maps the first 4 GiB with 2 MiB pages, for all rings. */
static bool write_page_tables(const struct memory *memory)
{
    const uint64_t flags = PAGE_PRESENT | PAGE_WRITE | PAGE_USER;
    uint64_t      *tables = memory_at(memory, PAGE_TABLES, 6 * 4096);

    if (!tables)
        return false;
    memset(tables, 0, 6 * 4096);
    tables[0] = (PAGE_TABLES + 4096) | flags;
    for (uint64_t i = 0; i < 4; i++)
        tables[512 + i] = (PAGE_TABLES + (2 + i) * 4096) | flags;
    for (uint64_t i = 0; i < 4 * 512; i++)
        tables[1024 + i] = (i << 21) | flags | PAGE_LARGE;
    return true;
}

/* Lets ring 3 reach all ports: by the task's bits, which all are 0 but for the byte that ends them. */
static bool write_task(const struct memory *memory)
{
    static const uint16_t ports = TASK_SIZE;
    static const uint8_t  last = 0xff;
    void                 *task = memory_at(memory, TASK, TASK_SIZE + PORT_BYTES + 1);

    if (!task)
        return false;
    memset(task, 0, TASK_SIZE + PORT_BYTES);
    return memory_write(memory, TASK + TASK_PORTS, &ports, sizeof(ports)) &&
           memory_write(memory, TASK + TASK_SIZE + PORT_BYTES, &last, sizeof(last));
}

static bool set_segments(const struct vm *vm, struct kvm_sregs *registers, const struct entry *entry)
{
    const bool               is_long = entry->mode >= WIRE_MODE_LONG;
    const unsigned           ring = entry->mode == WIRE_MODE_USER ? 3 : 0;
    const struct kvm_segment code = flat_segment(2, 0xb, ring, is_long);
    struct kvm_segment       data = flat_segment(3, 0x3, ring, false);
    const struct kvm_segment task = {.base = ring ? TASK : 0,
                                     .limit = ring ? TASK_SIZE + PORT_BYTES : TASK_SIZE - 1,
                                     .selector = 4 * 8,
                                     .type = 0xb,
                                     .present = 1};
    const uint64_t           table[] = {0, 0, descriptor_of(&code), descriptor_of(&data)};

    data.limit = 0xffffffff;
    registers->cs = code;
    registers->ds = registers->es = registers->fs = registers->gs = registers->ss = data;
    registers->tr = task;
    registers->gdt.base = GDT;
    registers->gdt.limit = sizeof(table) - 1;
    registers->idt.limit = 0;
    registers->cr0 = CR0_PE | CR0_ET;
    if (is_long) {
        registers->cr0 |= CR0_PG;
        registers->cr3 = PAGE_TABLES;
        registers->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
        registers->efer = EFER_LME | EFER_LMA;
    }
    return memory_write(&vm->memory, GDT, table, sizeof(table)) && (!is_long || write_page_tables(&vm->memory)) &&
           (!ring || write_task(&vm->memory));
}

static bool set_registers(struct vcpu *vcpu, const struct entry *entry)
{
    struct kvm_sregs system;
    struct kvm_regs  registers = {
         .rip = entry->rip,
         .rsp = entry->rsp,
         .rax = entry->rax,
         .rbx = entry->rbx,
         .rsi = entry->rsi,
         .rflags = RFLAGS_FIXED,
    };

    if (ioctl(vcpu->descriptor, KVM_GET_SREGS, &system) < 0)
        return false;
    if (entry->mode == WIRE_MODE_REAL) {
        /* The code segment begins where the guest does; sixteen bits of its address are the offset. */
        system.cs.base = entry->rip & ~UINT64_C(0xffff);
        system.cs.selector = (uint16_t)(system.cs.base >> 4);
        registers.rip = entry->rip & 0xffff;
    } else if (!set_segments(vcpu->vm, &system, entry)) {
        errno = EFAULT;
        return false;
    }
    return ioctl(vcpu->descriptor, KVM_SET_SREGS, &system) == 0 &&
           ioctl(vcpu->descriptor, KVM_SET_REGS, &registers) == 0;
}

/* A host may refuse single ones; guests do without. */
static void set_msr(const struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    _Alignas(8) uint8_t        space[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)] = {0};
    struct kvm_msrs           *msrs = (struct kvm_msrs *)space;
    const struct kvm_msr_entry entry = {.index = index, .data = value};

    msrs->nmsrs = 1;
    memcpy(msrs->entries, &entry, sizeof(entry));
    ioctl(vcpu->descriptor, KVM_SET_MSRS, msrs);
}

/* As a firmware leaves them: the old interrupt controller on one pin, NMI on the other. */
static bool set_apic(const struct vcpu *vcpu)
{
    struct kvm_lapic_state apic;
    const uint32_t         external = APIC_MODE_EXTINT;
    const uint32_t         nmi = APIC_MODE_NMI;

    if (ioctl(vcpu->descriptor, KVM_GET_LAPIC, &apic) < 0)
        return false;
    memcpy(apic.regs + APIC_LINT0, &external, sizeof(external));
    memcpy(apic.regs + APIC_LINT1, &nmi, sizeof(nmi));
    return ioctl(vcpu->descriptor, KVM_SET_LAPIC, &apic) == 0;
}

bool cpu_set_entry(struct vcpu *vcpu, const struct entry *entry, struct failure *failure)
{
    set_msr(vcpu, MSR_MISC_ENABLE, MISC_FAST_STRINGS);
    set_msr(vcpu, MSR_MTRR_DEFAULT, MTRR_ENABLED_WRITE_BACK);
    if (!set_apic(vcpu))
        return fail(failure, WIRE_HOST, NULL, "KVM refuses a vCPU's interrupt controller: %s", strerror(errno));
    /* The others wait for the first to wake them. */
    if (vcpu->index == 0 && !set_registers(vcpu, entry))
        return fail(failure, WIRE_HOST, NULL, "KVM refuses the first vCPU's registers: %s", strerror(errno));
    return true;
}
