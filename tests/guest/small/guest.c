/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest of a few kilobytes for hosts on which Linux cannot run: it says on its serial console what the larger test
 * guest says, counts by its timer, echoes lines, and powers off at the button. Between interrupts it sleeps.
 * Arguments that it knows: tick=MILLISECONDS, read, by which it reads its disk all the time, and crash, panic or
 * reboot, which it does after the first tick.
 */
#include "disk.h"

enum {
    SERIAL = 0x3f8,
    SERIAL_LINE = 4,
    POWER = 0x600,
    POWER_OFF = 5 << 2 | 1 << 5,
    POWER_RESET = 2,
    POWER_EVENT = 4,
    POWER_LINE = 9,

    VECTOR_TIMER = 0x30,
    VECTOR_SERIAL = 0x31,
    VECTOR_POWER = 0x32,
    VECTOR_DISK = 0x33,
    VECTOR_SPURIOUS = 0xff,

    APIC_END = 0xb0,
    APIC_SPURIOUS = 0xf0,
    APIC_TIMER = 0x320,
    APIC_LINT0 = 0x350,
    APIC_COUNT = 0x380,
    APIC_DIVIDE = 0x3e0,
    APIC_ENABLED = 0x100,
    APIC_MASKED = 1 << 16,
    APIC_PERIODIC = 1 << 17,
    APIC_DIVIDE_BY_1 = 0xb,
    APIC_TICKS_PER_MS = 1000000, /* KVM's timer counts nanoseconds */

    CODE_SEGMENT = 0x10,
    GATE_INTERRUPT = 0x8e00
};

static volatile uint32_t *const local_apic = (volatile uint32_t *)0xfee00000;
static volatile uint32_t *const io_apic = (volatile uint32_t *)0xfec00000;

/* PVH's start information, as far as it is read here. */
struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline;
};

struct gate {
    uint16_t offset_low, segment, flags, offset_middle;
    uint32_t offset_high, reserved;
};

static struct gate       gates[256];
static volatile unsigned ticks, presses;

static void out(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* --- saying --- */

static void say(const char *text)
{
    for (; *text; text++)
        out(SERIAL, (uint8_t)*text);
}

static void say_number(unsigned number)
{
    char text[12];
    int  at = sizeof(text);

    text[--at] = 0;
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    say(text + at);
}

/* --- interrupts --- */

struct frame;

static void done(void)
{
    local_apic[APIC_END / 4] = 0;
}

__attribute__((interrupt)) static void on_timer(struct frame *frame)
{
    (void)frame;
    ticks++;
    done();
}

__attribute__((interrupt)) static void on_power(struct frame *frame)
{
    (void)frame;
    if (in(POWER + POWER_EVENT) & 1)
        presses++;
    done();
}

static char     line[128];
static unsigned length;

static void hear(char byte)
{
    if (byte != '\n' && byte != '\r') {
        if (length < sizeof(line) - 1)
            line[length++] = byte;
        return;
    }
    line[length] = 0;
    length = 0;
    say("echo: ");
    say(line);
    say("\n");
}

__attribute__((interrupt)) static void on_serial(struct frame *frame)
{
    (void)frame;
    while (in(SERIAL + 5) & 1)
        hear((char)in(SERIAL));
    done();
}

__attribute__((interrupt)) static void on_disk(struct frame *frame)
{
    (void)frame;
    disk_go_on();
    done();
}

__attribute__((interrupt)) static void on_nothing(struct frame *frame)
{
    (void)frame;
}

static void set_gate(unsigned vector, void (*handler)(struct frame *))
{
    const uint64_t address = (uint64_t)handler;

    gates[vector] = (struct gate){.offset_low = (uint16_t)address,
                                  .segment = CODE_SEGMENT,
                                  .flags = GATE_INTERRUPT,
                                  .offset_middle = (uint16_t)(address >> 16),
                                  .offset_high = (uint32_t)(address >> 32)};
}

/* An edge of this line becomes this vector on the first CPU. */
static void route(unsigned number, unsigned vector)
{
    io_apic[0] = 0x10 + number * 2;
    io_apic[4] = vector;
    io_apic[0] = 0x11 + number * 2;
    io_apic[4] = 0;
}

static void begin(unsigned tick_ms)
{
    const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) table = {sizeof(gates) - 1, (uint64_t)gates};

    set_gate(VECTOR_TIMER, on_timer);
    set_gate(VECTOR_SERIAL, on_serial);
    set_gate(VECTOR_POWER, on_power);
    set_gate(VECTOR_DISK, on_disk);
    set_gate(VECTOR_SPURIOUS, on_nothing);
    __asm__ volatile("lidt %0" : : "m"(table));
    out(0x21, 0xff);
    out(0xa1, 0xff);
    local_apic[APIC_LINT0 / 4] = APIC_MASKED;
    local_apic[APIC_SPURIOUS / 4] = APIC_ENABLED | VECTOR_SPURIOUS;
    local_apic[APIC_DIVIDE / 4] = APIC_DIVIDE_BY_1;
    local_apic[APIC_TIMER / 4] = APIC_PERIODIC | VECTOR_TIMER;
    local_apic[APIC_COUNT / 4] = tick_ms * APIC_TICKS_PER_MS;
    route(SERIAL_LINE, VECTOR_SERIAL);
    route(POWER_LINE, VECTOR_POWER);
    out(SERIAL + 1, 1);
}

/* --- arguments --- */

/* What follows the word in the command line, or nothing. */
static const char *argument(const char *cmdline, const char *word)
{
    for (; *cmdline; cmdline++) {
        unsigned i = 0;

        while (word[i] && cmdline[i] == word[i])
            i++;
        if (!word[i])
            return cmdline + i;
    }
    return 0;
}

static unsigned number(const char *text, unsigned fallback)
{
    unsigned value = 0;

    if (!text)
        return fallback;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (unsigned)(*text - '0');
    return value ? value : fallback;
}

/* --- what it does --- */

static void power_off(void)
{
    say("vmhost-guest: power button, powering off\n");
    out(POWER, POWER_OFF);
}

/* Without gates, the first exception cannot be handled, nor can the second and the third. */
static void crash(void)
{
    const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) nothing = {0, 0};

    __asm__ volatile("lidt %0; ud2" : : "m"(nothing));
}

static void obey(const char *cmdline)
{
    if (argument(cmdline, "crash"))
        crash();
    if (argument(cmdline, "reboot"))
        out(POWER + POWER_RESET, 1);
}

void guest_main(const struct start_info *info);
void guest_main(const struct start_info *info)
{
    const char *cmdline = (const char *)info->cmdline;
    unsigned    said = 0;

    begin(number(argument(cmdline, "tick="), 1000));
    say("vmhost-guest: ready cpus=1\n");
    if (argument(cmdline, "read"))
        disk_begin(VECTOR_DISK);
    for (;;) {
        __asm__ volatile("cli");
        if (ticks == said && !presses)
            __asm__ volatile("sti; hlt; cli");
        __asm__ volatile("sti");
        if (presses)
            power_off();
        if (ticks != said) {
            said = ticks;
            say("tick ");
            say_number(said);
            say("\n");
            obey(cmdline);
        }
    }
}
