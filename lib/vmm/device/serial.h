/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A 16550 serial port. */
#pragma once

#include "../console.h"
#include "../vm.h"

enum { SERIAL_PORT = 0x3f8, SERIAL_LINE = 4, SERIAL_FIFO = 64 };

struct serial {
    pthread_mutex_t lock;
    struct vm      *vm;
    struct console  console;
    uint8_t         enabled, line_control, modem_control, scratch, divisor[2];
    bool            sent; /* the transmitter became empty, and nobody was told yet */
    uint8_t         fifo[SERIAL_FIFO];
    unsigned        first, count;
};

bool serial_init(struct serial *serial, struct vm *vm);
/* As after the machine's reset; its console stays. */
void serial_reset(struct serial *serial);
