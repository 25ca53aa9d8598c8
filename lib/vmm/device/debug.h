/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ports by which a guest tells of itself without much of a driver: that it panicked, that it is done, and any text.
 */
#pragma once

#include "../vm.h"

enum {
    DEBUG_PANIC_PORT = 0x505, /* where drivers of pvpanic expect it */
    DEBUG_CONSOLE_PORT = 0xe9,
    DEBUG_EXIT_PORTS = 4
};

bool debug_init(struct vm *vm);
/* Only these two when they are asked for. A write to the port ends the VM; and a file, which is ours then, gets the
 * text. */
bool debug_add_exit(struct vm *vm, uint64_t port, struct failure *failure);
bool debug_add_console(struct vm *vm, int file, struct failure *failure);
