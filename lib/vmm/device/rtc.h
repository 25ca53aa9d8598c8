/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The clock of a PC, an MC146818, which has the host's time, in UTC; and the memory in it. */
#pragma once

#include "../vm.h"

enum { RTC_PORT = 0x70, RTC_PORTS = 2, RTC_CENTURY = 0x32 };

struct rtc_date {
    unsigned year, month, day, weekday, hour, minute, second; /* Sunday is 1 */
};

/* Of seconds since 1970. */
struct rtc_date rtc_date_of(int64_t seconds);

bool rtc_init(struct vm *vm);
