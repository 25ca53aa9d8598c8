/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A clock that is the host's: a guest may choose how it is told the time, but not what it is. It interrupts nobody.
 */
#include "rtc.h"
#include <time.h>

enum {
    SECONDS = 0,
    MINUTES = 2,
    HOURS = 4,
    WEEKDAY = 6,
    DAY = 7,
    MONTH = 8,
    YEAR = 9,
    STATUS_A = 10,
    STATUS_B = 11,
    STATUS_C = 12,
    STATUS_D = 13,
    REGISTERS = 128,

    A_USUAL = 0x26, /* a quartz of 32768 Hz */
    A_UPDATING = 1 << 7,
    B_24_HOURS = 1 << 1,
    B_BINARY = 1 << 2,
    B_KEPT = 0x87, /* and whether the time is being set; no interrupt is ever on */
    D_VALID = 1 << 7,
    AFTERNOON = 1 << 7,

    DAY_SECONDS = 24 * 60 * 60
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t         selected;
static uint8_t         registers[REGISTERS];
static int64_t         taken; /* the second of the date */
static struct rtc_date date;

static bool is_leap(unsigned year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned days_of_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap(year) ? 1u : 0u);
}

/* Not by the C library, which reads files for it. */
struct rtc_date rtc_date_of(int64_t seconds)
{
    struct rtc_date d = {.year = 1970, .month = 1};
    uint64_t        days = (uint64_t)seconds / DAY_SECONDS;
    const unsigned  rest = (unsigned)((uint64_t)seconds % DAY_SECONDS);

    d.weekday = (unsigned)((days + 4) % 7 + 1); /* it began on a Thursday */
    for (unsigned length; days >= (length = is_leap(d.year) ? 366 : 365); d.year++)
        days -= length;
    for (unsigned length; days >= (length = days_of_month(d.year, d.month)); d.month++)
        days -= length;
    d.day = (unsigned)days + 1;
    d.hour = rest / 3600;
    d.minute = rest / 60 % 60;
    d.second = rest % 60;
    return d;
}

/* What is read after the seconds belongs to them, whatever the time is by then; for a second. */
static void take_date(uint8_t number)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_REALTIME, &now);
    if (number != SECONDS && now.tv_sec >= taken && now.tv_sec <= taken + 1)
        return;
    taken = now.tv_sec;
    date = rtc_date_of(now.tv_sec > 0 ? now.tv_sec : 0);
}

static uint8_t encode(unsigned value)
{
    return (uint8_t)(registers[STATUS_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static uint8_t encode_hour(unsigned hour)
{
    if (registers[STATUS_B] & B_24_HOURS)
        return encode(hour);
    return (uint8_t)(encode(hour % 12 ? hour % 12 : 12) | (hour >= 12 ? AFTERNOON : 0));
}

static uint8_t read_register(uint8_t number)
{
    take_date(number);
    switch (number) {
    case SECONDS:
        return encode(date.second);
    case MINUTES:
        return encode(date.minute);
    case HOURS:
        return encode_hour(date.hour);
    case WEEKDAY:
        return encode(date.weekday);
    case DAY:
        return encode(date.day);
    case MONTH:
        return encode(date.month);
    case YEAR:
        return encode(date.year % 100);
    case RTC_CENTURY:
        return encode(date.year / 100);
    case STATUS_C:
        return 0; /* no interrupt is pending */
    case STATUS_D:
        return D_VALID;
    default:
        return registers[number];
    }
}

static void write_register(uint8_t number, uint8_t value)
{
    if (number == STATUS_A)
        value &= (uint8_t)~A_UPDATING;
    if (number == STATUS_B)
        value &= B_KEPT;
    registers[number] = value; /* of the time, nobody will read it */
}

static void access_port(void *device, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    (void)device;
    (void)size;
    if (offset == 0 && write)
        selected = *value % REGISTERS; /* the bit above is to keep NMIs away */
    else if (offset == 0)
        *value = selected;
    else if (write)
        write_register(selected, (uint8_t)*value);
    else
        *value = read_register(selected);
}

bool rtc_init(struct vm *vm)
{
    const struct bus_range range = {RTC_PORT, RTC_PORTS, access_port, NULL, &lock};

    registers[STATUS_A] = A_USUAL;
    registers[STATUS_B] = B_24_HOURS;
    return bus_add(&vm->ports, &range);
}
