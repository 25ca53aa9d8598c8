/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Wakes the other CPUs as an operating system does, by INIT and STARTUP, and interrupts them. */
#include "cpus.h"

enum {
    TRAMPOLINE = 0x10000, /* where they start: its page is what they are told */

    APIC_END = 0xb0,
    APIC_SPURIOUS = 0xf0,
    APIC_COMMAND = 0x300,
    APIC_ENABLED = 0x100,
    APIC_VECTOR_SPURIOUS = 0xff,
    TO_OTHERS = 0xc4000,
    INIT = 0x500,
    STARTUP = 0x600
};

static volatile uint32_t *const local_apic = (volatile uint32_t *)0xfee00000;

static volatile unsigned started, answered;
static unsigned          ids[CPUS_MOST];

static struct {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed)) gates;

__attribute__((interrupt)) void cpus_on_call(struct frame *frame)
{
    (void)frame;
    __atomic_add_fetch(&answered, 1, __ATOMIC_SEQ_CST);
    local_apic[APIC_END / 4] = 0;
}

static unsigned own_id(void)
{
    unsigned a = 1, b, c, d;

    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return b >> 24;
}

/* Of each but the first, with its number. */
void other_main(unsigned number);
void other_main(unsigned number)
{
    __asm__ volatile("lidt %0" : : "m"(gates));
    local_apic[APIC_SPURIOUS / 4] = APIC_ENABLED | APIC_VECTOR_SPURIOUS;
    ids[number % CPUS_MOST] = own_id();
    __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
    for (;;)
        __asm__ volatile("sti; hlt");
}

static void wait_for(const volatile unsigned *counter, unsigned count)
{
    while (*counter < count)
        __asm__ volatile("pause");
}

static void sort_ids(unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        for (unsigned j = i; j > 0 && ids[j - 1] > ids[j]; j--) {
            const unsigned id = ids[j];

            ids[j] = ids[j - 1];
            ids[j - 1] = id;
        }
    }
}

extern const uint8_t trampoline[], trampoline_end[];

void cpus_start(unsigned count, uint8_t vector)
{
    volatile uint8_t *to = (volatile uint8_t *)TRAMPOLINE;

    for (const uint8_t *from = trampoline; from < trampoline_end;)
        *to++ = *from++;
    __asm__ volatile("sidt %0" : "=m"(gates));
    ids[0] = own_id();
    local_apic[APIC_COMMAND / 4] = TO_OTHERS | INIT;
    local_apic[APIC_COMMAND / 4] = TO_OTHERS | STARTUP | TRAMPOLINE >> 12;
    wait_for(&started, count - 1);
    local_apic[APIC_COMMAND / 4] = TO_OTHERS | vector;
    wait_for(&answered, count - 1);
    sort_ids(count);
}

unsigned cpus_id(unsigned index)
{
    return ids[index % CPUS_MOST];
}
