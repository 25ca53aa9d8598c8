/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pvpanic, and what other emulators know as debug exit and debug console. */
#include "debug.h"
#include "../vcpu.h"

enum {
    PANICKED = 1,            /* the one event of pvpanic's that is told here */
    CONSOLE_IS_THERE = 0xe9, /* what is read from its port where there is one */
    LAST_EXIT_PORT = 0x10000 - DEBUG_EXIT_PORTS
};

static void access_panic(void *device, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    (void)offset;
    (void)size;
    if (!write)
        *value = PANICKED;
    else if (*value & PANICKED)
        vcpu_crash(device, "the guest panicked");
}

static void access_exit(void *device, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    (void)offset;
    (void)size;
    if (write)
        vm_wants(device, VM_OFF, "the guest ended with %llu", (unsigned long long)*value);
    else
        *value = 0;
}

/* A file that takes no more loses it. */
static void put(int file, uint8_t byte)
{
    if (write(file, &byte, 1) < 0)
        return;
}

static void access_console(void *device, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    (void)offset;
    (void)size;
    if (write)
        put((int)(intptr_t)device, (uint8_t)*value);
    else
        *value = CONSOLE_IS_THERE;
}

bool debug_init(struct vm *vm)
{
    const struct bus_range range = {DEBUG_PANIC_PORT, 1, access_panic, vm, NULL};

    return bus_add(&vm->ports, &range);
}

bool debug_add_exit(struct vm *vm, uint64_t port, struct failure *failure)
{
    const struct bus_range range = {port, DEBUG_EXIT_PORTS, access_exit, vm, NULL};

    if (port <= LAST_EXIT_PORT && bus_add(&vm->ports, &range))
        return true;
    return fail(failure, WIRE_VALUE, "debug.exit", "another device has a port from %#llx to %#llx",
                (unsigned long long)port, (unsigned long long)port + DEBUG_EXIT_PORTS - 1);
}

bool debug_add_console(struct vm *vm, int file, struct failure *failure)
{
    const struct bus_range range = {DEBUG_CONSOLE_PORT, 1, access_console, (void *)(intptr_t)file, NULL};

    return bus_add(&vm->ports, &range)
               ? true
               : fail(failure, WIRE_WRONG_STATE, "debug.console", "the port %#x is taken", DEBUG_CONSOLE_PORT);
}
