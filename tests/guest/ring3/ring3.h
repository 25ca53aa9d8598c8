/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What guests that are programs share: ports, the clock, a voice and arguments. They run in ring 3, where a processor
 * executes them itself even if KVM emulates what kernels do; thus they poll, and never halt.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each guest's own. It may return, which powers the machine off. */
void guest_main(const char *cmdline);

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

/* The processor's time stamp, when all before is done. */
static inline uint64_t cycles(void)
{
    uint32_t low, high;

    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

/* How many of them a millisecond has, by the interrupt controller's timer. */
uint64_t cycles_per_ms(void);

/* On the serial console. A line such as "read: requests=12 errors=0" is built of these. */
void say(const char *text);
void say_value(const char *name, uint64_t value);
/* A byte that was said to us; -1: none. */
int hear(void);

/* The value of name= in the command line; whether the name and the value stand there. */
uint64_t argument(const char *cmdline, const char *name, uint64_t fallback);
bool     has_argument(const char *cmdline, const char *text);

/* The memory behind the program. */
extern uint8_t end[];
/* The first address there that is a multiple of this power of two. */
uint8_t *heap(uint64_t alignment);
