/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices at fixed ports, as a guest without KVM sees them: the clock, the ports of its end, and its generation. */
#include "boot/acpi.h"
#include "boot/boot.h"
#include "device/debug.h"
#include "device/rtc.h"
#include "unit.h"
#include <sys/mman.h>
#include <time.h>

enum { EXIT_PORT = 0xf4, MEMORY = 4 << 20 };

static struct vm      vm;
static struct failure failure;

static void make_machine(void)
{
    ck_assert(vm_init(&vm, -1));
    ck_assert(vm_set_machine(&vm, MEMORY, 1, &failure));
    ck_assert(rtc_init(&vm) && debug_init(&vm));
}

static uint64_t in(uint64_t port, unsigned size)
{
    uint64_t value = 0;

    bus_do(&vm.ports, port, size, false, &value);
    return value;
}

static void out(uint64_t port, unsigned size, uint64_t value)
{
    bus_do(&vm.ports, port, size, true, &value);
}

static unsigned clock_register(uint8_t number)
{
    out(RTC_PORT, 1, number);
    return (unsigned)in(RTC_PORT + 1, 1);
}

static void set_clock_register(uint8_t number, uint8_t value)
{
    out(RTC_PORT, 1, number);
    out(RTC_PORT + 1, 1, value);
}

/* --- the clock --- */

START_TEST(seconds_are_dates)
{
    /* Leap days of all three kinds of centuries, ends of months and years, and beyond 32 bits. */
    static const int64_t times[] = {0,         951782399,  951782400,  951868799,  951868800,   1709164800,
                                    978307199, 1735689599, 1735689600, 4107542399, 4107542400,  4294967296,
                                    86399,     86400,      2147483647, 2147483648, 13569465600, 32503680000};

    for (guint i = 0; i < G_N_ELEMENTS(times); i++) {
        const struct rtc_date date = rtc_date_of(times[i]);
        const time_t          seconds = times[i];
        struct tm             right;

        gmtime_r(&seconds, &right);
        ck_assert_msg((int)date.year == right.tm_year + 1900 && (int)date.month == right.tm_mon + 1 &&
                          (int)date.day == right.tm_mday && (int)date.weekday == right.tm_wday + 1 &&
                          (int)date.hour == right.tm_hour && (int)date.minute == right.tm_min &&
                          (int)date.second == right.tm_sec,
                      "%" G_GINT64_FORMAT " is %u-%u-%u", times[i], date.year, date.month, date.day);
    }
}
END_TEST

static unsigned from_bcd(unsigned value)
{
    return (value >> 4) * 10 + (value & 15);
}

START_TEST(the_time_has_four_forms)
{
    make_machine();
    ck_assert_uint_eq(clock_register(11), 2);
    for (unsigned form = 0; form < 8; form += 2) { /* 24 hours: 2, binary: 4 */
        unsigned hour, right;

        set_clock_register(11, (uint8_t)form);
        do { /* the hour may end between the two */
            right = rtc_date_of(time(NULL)).hour;
            clock_register(0);
            hour = clock_register(4);
        } while (right != rtc_date_of(time(NULL)).hour);
        if (!(form & 2)) {
            ck_assert_uint_eq(hour >> 7, right >= 12);
            hour &= 0x7f;
            right = right % 12 ? right % 12 : 12;
        }
        ck_assert_uint_eq(form & 4 ? hour : from_bcd(hour), right);
    }
}
END_TEST

START_TEST(the_date_is_the_hosts_and_stays_so)
{
    struct rtc_date right;

    make_machine();
    set_clock_register(11, 0x86); /* being set, binary */
    for (uint8_t i = 0; i < 10; i++)
        set_clock_register(i, 1);
    set_clock_register(RTC_CENTURY, 1);
    set_clock_register(11, 6);
    do {
        right = rtc_date_of(time(NULL));
        clock_register(0);
        ck_assert_uint_eq(clock_register(10) & 0x80, 0); /* it is never in the middle of a change */
    } while (right.day != rtc_date_of(time(NULL)).day);
    ck_assert_uint_eq(clock_register(RTC_CENTURY) * 100 + clock_register(9), right.year);
    ck_assert_uint_eq(clock_register(8), right.month);
    ck_assert_uint_eq(clock_register(7), right.day);
    ck_assert_uint_eq(clock_register(6), right.weekday);
    ck_assert_uint_eq(clock_register(13), 0x80);
    ck_assert_uint_eq(clock_register(12), 0);
}
END_TEST

START_TEST(its_memory_is_kept)
{
    make_machine();
    for (uint8_t i = 14; i < 128; i++)
        set_clock_register(i, (uint8_t)(i ^ 0x55));
    for (uint8_t i = 14; i < 128; i++)
        ck_assert(i == RTC_CENTURY || clock_register(i) == (i ^ 0x55u));
    ck_assert_uint_eq(clock_register(0x80 | 15), 15 ^ 0x55); /* the highest bit is none of the number */
    ck_assert_uint_eq(in(RTC_PORT, 1), 15);
}
END_TEST

/* --- ends --- */

START_TEST(a_panic_is_a_crash)
{
    make_machine();
    ck_assert_uint_eq(in(DEBUG_PANIC_PORT, 1), 1);
    out(DEBUG_PANIC_PORT, 1, 0xfe); /* events that are not offered */
    ck_assert_int_eq(vm.wish, VM_NOTHING);
    out(DEBUG_PANIC_PORT, 1, 1);
    ck_assert_int_eq(vm.wish, VM_CRASH);
    ck_assert_str_eq(vm.wish_reason, "the guest panicked");
}
END_TEST

START_TEST(the_exit_is_there_when_asked_for)
{
    make_machine();
    out(EXIT_PORT, 1, 3);
    ck_assert_int_eq(vm.wish, VM_NOTHING);
    ck_assert_uint_eq(in(EXIT_PORT, 1), 0xff);
    ck_assert(debug_add_exit(&vm, EXIT_PORT, &failure));
    ck_assert(!debug_add_exit(&vm, EXIT_PORT + 2, &failure));
    ck_assert_str_eq(failure.property, "debug.exit");
    ck_assert(!debug_add_exit(&vm, 0xfffd, &failure));
    ck_assert(!debug_add_exit(&vm, UINT64_MAX, &failure));
    ck_assert_uint_eq(in(EXIT_PORT, 4), 0);
    out(EXIT_PORT, 4, 0xfffffffe);
    ck_assert_int_eq(vm.wish, VM_OFF);
    ck_assert_str_eq(vm.wish_reason, "the guest ended with 4294967294");
}
END_TEST

START_TEST(the_debug_console_is_there_when_asked_for)
{
    const int file = memfd_create("text", MFD_CLOEXEC);
    char      text[8] = "";

    make_machine();
    ck_assert_uint_eq(in(DEBUG_CONSOLE_PORT, 1), 0xff);
    ck_assert(debug_add_console(&vm, file, &failure));
    ck_assert(!debug_add_console(&vm, file, &failure));
    ck_assert_uint_eq(in(DEBUG_CONSOLE_PORT, 1), 0xe9);
    out(DEBUG_CONSOLE_PORT, 1, 'h');
    out(DEBUG_CONSOLE_PORT, 1, 'i');
    out(DEBUG_CONSOLE_PORT, 4, 'x'); /* it leaves the port */
    ck_assert_int_eq(pread(file, text, sizeof(text), 0), 2);
    ck_assert_str_eq(text, "hi");
}
END_TEST

/* --- the generation --- */

static void load_guest(struct vm *machine)
{
    if (machine->kernel.descriptor < 0) {
        machine->kernel.descriptor = memfd_create("kernel", MFD_CLOEXEC);
        ck_assert_int_eq(pwrite(machine->kernel.descriptor, "\xf4", 1, 0), 1);
        machine->kernel_kind = WIRE_KERNEL_FLAT;
        machine->flat_address = 2 << 20;
        machine->flat_mode = WIRE_MODE_LONG;
    }
    ck_assert(memory_clear(&machine->memory));
    ck_assert_msg(boot_load(machine, &failure), "%s", failure.message);
}

START_TEST(a_generation_is_of_one_start)
{
    static struct vm other;
    uint8_t          first[16], second[16];

    make_machine();
    ck_assert(vm_init(&other, -1) && vm_set_machine(&other, MEMORY, 1, &failure));
    load_guest(&vm);
    load_guest(&other);
    ck_assert(memory_read(&vm.memory, BOOT_GENERATION, first, sizeof(first)));
    ck_assert(memory_read(&other.memory, BOOT_GENERATION, second, sizeof(second)));
    ck_assert(memcmp(first, second, sizeof(first)) != 0);
    /* A machine that is reset is still the same. */
    load_guest(&vm);
    ck_assert(memory_read(&vm.memory, BOOT_GENERATION, second, sizeof(second)));
    ck_assert(memcmp(first, second, sizeof(first)) == 0);
}
END_TEST

/* --- garbage --- */

START_TEST(garbage_in_every_port_does_no_harm)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    static const uint64_t ports[] = {RTC_PORT,  RTC_PORT + 1,  DEBUG_PANIC_PORT,
                                     EXIT_PORT, EXIT_PORT + 3, DEBUG_CONSOLE_PORT};

    make_machine();
    ck_assert(debug_add_exit(&vm, EXIT_PORT, &failure));
    ck_assert(debug_add_console(&vm, memfd_create("text", MFD_CLOEXEC), &failure));
    for (guint i = 0; i < 100000; i++) {
        const uint64_t port = ports[g_rand_int_range(random, 0, G_N_ELEMENTS(ports))];
        const unsigned size = 1u << g_rand_int_range(random, 0, 3);

        if (g_rand_boolean(random))
            out(port, size, g_rand_int(random));
        else
            ck_assert_uint_le(in(port, size), size == 4 ? UINT32_MAX : (1u << size * 8) - 1);
    }
}
END_TEST

UNIT_RUN("legacy", seconds_are_dates, the_time_has_four_forms, the_date_is_the_hosts_and_stays_so, its_memory_is_kept,
         a_panic_is_a_crash, the_exit_is_there_when_asked_for, the_debug_console_is_there_when_asked_for,
         a_generation_is_of_one_start, garbage_in_every_port_does_no_harm)
