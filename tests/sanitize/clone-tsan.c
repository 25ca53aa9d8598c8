/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Only in builds under ThreadSanitizer, which takes every clone() for a fork: in what shares our memory it switches
 * itself off, and with that in the thread that called it, whose locks are none to it from then on. So whoever starts
 * a VMM gets a copy of the memory here.
 */
#include <sched.h>
#include <stdarg.h>

int __clone(int (*call)(void *), void *stack, int flags, void *data, ...);

int clone(int (*call)(void *), void *stack, int flags, void *data, ...)
{
    va_list more;
    int     result;

    va_start(more, data);
    result = __clone(call, stack, flags & ~CLONE_VM, data, va_arg(more, int *));
    va_end(more);
    return result;
}
