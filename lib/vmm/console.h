/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other end of a console's line: whoever has it open, or a store of what nobody has read yet. */
#pragma once

#include "failure.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { CONSOLE_STORE = 1 << 20 };

/* Bytes from outside. Returns how many there is room for; the rest is offered again after console_ready(). */
typedef unsigned (*console_input)(void *data, const uint8_t *bytes, unsigned count);

struct console {
    pthread_mutex_t lock;
    int             descriptor; /* of whoever has it open, or -1 */
    int             log;        /* a file that gets it all, or -1 */
    int             listener;   /* where one at a time may connect, or -1 */
    uint8_t        *store;      /* a ring, touched only as far as it fills */
    uint32_t        start, stored;
    uint32_t        events;   /* what the loop watches for */
    bool            has_room; /* console_ready() came since input was offered */
    console_input   input;
    void           *data;
};

bool console_init(struct console *console, console_input input, void *data);
/* One that nobody has open. */
void console_destroy(struct console *console);
/* From any thread; never waits. What does not fit into a full store is lost. */
void console_write(struct console *console, const uint8_t *bytes, unsigned count);
/* There is room for input again. */
void console_ready(struct console *console);

/* --- on the loop's thread --- */
/* Instead of whoever opens it, a file or a socket that listens, by WIRE_SERIAL_…; the descriptor is its own then. */
bool console_direct(struct console *console, uint64_t kind, int descriptor, struct failure *failure);
/* The other end, which gets what is stored, for whoever opens it; force takes it from who has it. -1: failure. */
int  console_open(struct console *console, bool force, struct failure *failure);
void console_detach(struct console *console);
