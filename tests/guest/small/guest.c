/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest of a few kilobytes for hosts on which Linux cannot run: it says on its serial console what the larger test
 * guest says, counts by its timer, echoes lines, and powers off at the button. Between interrupts it sleeps.
 * Arguments that it knows: tick=MILLISECONDS; read, by which it reads its disk all the time; cpus=NUMBER, so many of
 * which it starts; touch=MIB, as often as wanted, where it writes to memory and reads it; clock, to say the date;
 * say=WORD, on the debug console; and crash, panic, exit=NUMBER or reboot, which it does after the first tick.
 */
#include "cpus.h"
#include "disk.h"

enum {
    SERIAL = 0x3f8,
    SERIAL_LINE = 4,
    POWER = 0x600,
    POWER_OFF = 5 << 2 | 1 << 5,
    POWER_RESET = 2,
    POWER_EVENT = 4,
    POWER_LINE = 9,
    CLOCK = 0x70,
    PANIC = 0x505,
    DEBUG_CONSOLE = 0xe9,
    DEBUG_EXIT = 0xf4,

    VECTOR_TIMER = 0x30,
    VECTOR_SERIAL = 0x31,
    VECTOR_POWER = 0x32,
    VECTOR_DISK = 0x33,
    VECTOR_CALL = 0x34,
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
    set_gate(VECTOR_CALL, cpus_on_call);
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

/* --- what it finds --- */

static void start_cpus(unsigned count)
{
    cpus_start(count, VECTOR_CALL);
    say("cpus with ids");
    for (unsigned i = 0; i < count; i++) {
        say(" ");
        say_number(cpus_id(i));
    }
    say("\n");
}

extern uint64_t level3[];

/* A word as it is in memory, however high; of those above 4 GiB one at a time. */
static volatile uint64_t *word_at(uint64_t address)
{
    static _Alignas(4096) uint64_t level2[512];

    if (address >> 32) {
        level2[address >> 21 & 511] = (address & ~UINT64_C(0x1fffff)) | 0x83;
        level3[address >> 30] = (uint64_t)level2 | 3;
        __asm__ volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" : : : "rax", "memory");
    }
    return (volatile uint64_t *)address;
}

/* The last word below so many MiB: what is written there stays there, and comes nowhere else. */
static void touch(unsigned mib)
{
    static volatile uint64_t other;
    volatile uint64_t *const place = word_at(((uint64_t)mib << 20) - 8);

    other = 0;
    *place = UINT64_C(0x1122334455667788);
    if (*place != UINT64_C(0x1122334455667788) || other)
        return;
    say("touched ");
    say_number(mib);
    say("\n");
}

static void say_clock(void)
{
    static const uint8_t registers[] = {0, 2, 4, 7, 8, 9, 0x32}; /* from the seconds to the century */

    say("clock");
    for (unsigned i = 0; i < sizeof(registers); i++) {
        out(CLOCK, registers[i]);
        const uint8_t value = in(CLOCK + 1);
        say(" ");
        say_number((value >> 4) * 10u + (value & 15u));
    }
    say("\n");
}

static void say_word(const char *word)
{
    if (in(DEBUG_CONSOLE) != DEBUG_CONSOLE)
        say("no debug console\n");
    for (; *word && *word != ' '; word++)
        out(DEBUG_CONSOLE, (uint8_t)*word);
}

static void look_around(const char *cmdline)
{
    if (argument(cmdline, "cpus="))
        start_cpus(number(argument(cmdline, "cpus="), 1));
    for (const char *at = cmdline; (at = argument(at, "touch="));)
        touch(number(at, 1));
    if (argument(cmdline, "clock"))
        say_clock();
    if (argument(cmdline, "say="))
        say_word(argument(cmdline, "say="));
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
    if (argument(cmdline, "panic"))
        out(PANIC, in(PANIC));
    if (argument(cmdline, "exit="))
        out(DEBUG_EXIT, (uint8_t)number(argument(cmdline, "exit="), 0));
}

void guest_main(const struct start_info *info);
void guest_main(const struct start_info *info)
{
    const char *cmdline = (const char *)info->cmdline;
    unsigned    said = 0;

    begin(number(argument(cmdline, "tick="), 1000));
    look_around(cmdline);
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
