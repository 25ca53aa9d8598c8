/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A multiboot kernel that says on its serial console what it was told, a line for each, and powers off. */
#include <stdint.h>

enum { SERIAL = 0x3f8, POWER = 0x600, POWER_OFF = 5 << 2 | 1 << 5, MAGIC = 0x2badb002, USABLE = 1 };

/* As the multiboot specification lays them out. */
struct information {
    uint32_t flags, memory_lower, memory_upper, boot_device, cmdline, module_count, modules, symbols[4], map_length,
        map;
};
struct module {
    uint32_t start, end, cmdline, reserved;
};
struct range {
    uint32_t size;
    uint64_t start, length;
    uint32_t type;
} __attribute__((packed));

static uint32_t zero[1000]; /* nobody has written to it */

static void out(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void say_bytes(const char *bytes, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        out(SERIAL, (uint8_t)bytes[i]);
}

static void say(const char *text)
{
    for (; *text; text++)
        out(SERIAL, (uint8_t)*text);
}

static void say_number(const char *name, uint32_t number)
{
    char     text[12];
    unsigned at = sizeof(text);

    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    say(name);
    say("=");
    say_bytes(text + at, sizeof(text) - at);
    say("\n");
}

static void say_modules(const struct information *info)
{
    const struct module *modules = (const struct module *)info->modules;

    say_number("modules", info->module_count);
    for (uint32_t i = 0; i < info->module_count; i++) {
        say("module: [");
        say((const char *)modules[i].cmdline);
        say("] ");
        say_bytes((const char *)modules[i].start, modules[i].end - modules[i].start);
        say("\n");
    }
}

/* What is usable from 1 MiB on, as the map has it. */
static void say_map(const struct information *info)
{
    uint32_t at = info->map;

    while (at < info->map + info->map_length) {
        const struct range *range = (const struct range *)at;

        if (range->type == USABLE && range->start == 0x100000)
            say_number("usable", (uint32_t)(range->length >> 10));
        at += range->size + (uint32_t)sizeof(range->size);
    }
}

void guest_main(uint32_t magic, const struct information *info);
void guest_main(uint32_t magic, const struct information *info)
{
    uint32_t other = 0;

    for (unsigned i = 0; i < sizeof(zero) / sizeof(zero[0]); i++)
        other |= zero[i];
    say(magic == MAGIC && !other ? "multiboot\n" : "not as it should be\n");
    say_number("flags", info->flags);
    say("cmdline: ");
    say((const char *)info->cmdline);
    say("\n");
    say_number("upper", info->memory_upper);
    say_map(info);
    say_modules(info);
    out(POWER, POWER_OFF);
}
