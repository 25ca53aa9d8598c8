/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other end of a serial line: whoever has it open, or a store of what nobody has read yet. */
#pragma once

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
    uint32_t        events; /* what the loop watches for */
    console_input   input;
    void           *data;
};

bool console_init(struct console *console, console_input input, void *data);
/* From any thread; never waits. What does not fit into a full store is lost. */
void console_write(struct console *console, const uint8_t *bytes, unsigned count);
/* There is room for input again. */
void console_ready(struct console *console);

/* On the loop's thread: the descriptor is the console's from now on; it gets what is stored. */
bool console_attach(struct console *console, int descriptor);
/* Instead of whoever attaches: a file, or a socket that listens. Theirs from then on. */
void console_set_log(struct console *console, int descriptor);
bool console_set_listener(struct console *console, int descriptor);
void console_detach(struct console *console);
bool console_is_open(struct console *console);
