/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The serial console, the command line and the clock of guests in ring 3. */
#include "ring3.h"

enum { SERIAL = 0x3f8, LINE_STATUS = 5, DATA_READY = 1, POWER = 0x600, POWER_OFF = 5 << 2 | 1 << 5 };

/* PVH's start information, as far as it is read here. */
struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline;
};

void ring3_main(const struct start_info *info);
void ring3_main(const struct start_info *info)
{
    guest_main((const char *)info->cmdline);
    out8(POWER, POWER_OFF);
    for (;;)
        pause();
}

void say(const char *text)
{
    for (; *text; text++)
        out8(SERIAL, (uint8_t)*text);
}

void say_value(const char *name, uint64_t value)
{
    char text[24];
    int  at = sizeof(text);

    text[--at] = 0;
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    say(" ");
    say(name);
    say("=");
    say(text + at);
}

int hear(void)
{
    return in8(SERIAL + LINE_STATUS) & DATA_READY ? in8(SERIAL) : -1;
}

/* What follows the text where it begins a word, or nothing. */
static const char *find(const char *cmdline, const char *text)
{
    for (bool begins = true; *cmdline; begins = *cmdline++ == ' ') {
        size_t i = 0;

        while (begins && text[i] && cmdline[i] == text[i])
            i++;
        if (begins && !text[i])
            return cmdline + i;
    }
    return NULL;
}

bool has_argument(const char *cmdline, const char *text)
{
    const char *rest = find(cmdline, text);

    return rest && (!*rest || *rest == ' ');
}

uint64_t argument(const char *cmdline, const char *name, uint64_t fallback)
{
    const char *rest = find(cmdline, name);
    uint64_t    value = 0;

    if (!rest || *rest++ != '=')
        return fallback;
    for (; *rest >= '0' && *rest <= '9'; rest++)
        value = value * 10 + (uint64_t)(*rest - '0');
    return value;
}

/* The timer of the interrupt controller counts nanoseconds down, under KVM whatever the host. */
uint64_t cycles_per_ms(void)
{
    enum { SPURIOUS = 0xf0, ENABLED = 0x100, TIMER = 0x320, MASKED = 1 << 16, COUNT = 0x380, NOW = 0x390 };
    enum { DIVIDE = 0x3e0, BY_1 = 0xb, MEASURED = 20 };
    static volatile uint8_t *const apic = (volatile uint8_t *)0xfee00000;
    const uint32_t                 ns = MEASURED * 1000000;
    uint64_t                       start;

    *(volatile uint32_t *)(apic + SPURIOUS) = ENABLED | 0xff;
    *(volatile uint32_t *)(apic + TIMER) = MASKED;
    *(volatile uint32_t *)(apic + DIVIDE) = BY_1;
    *(volatile uint32_t *)(apic + COUNT) = UINT32_MAX;
    start = cycles();
    while (*(volatile uint32_t *)(apic + NOW) > UINT32_MAX - ns)
        pause();
    return (cycles() - start) / MEASURED;
}

uint8_t *heap(uint64_t alignment)
{
    return (uint8_t *)(((uintptr_t)end + alignment - 1) & ~(alignment - 1));
}
