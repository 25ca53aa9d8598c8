/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Only in builds under ThreadSanitizer, which takes every clone() for a fork: in what shares our memory it switches
 * itself off, and with that in the thread that called it, whose locks are none to it from then on. So whoever starts
 * a VMM gets a copy of the memory here. What is done in the copy cannot race with our threads, though it has
 * descriptors and addresses that they have as well.
 */
#include <sched.h>
#include <stdarg.h>

typedef struct {
    int (*call)(void *);
    void *data;
} order;

int  __clone(int (*call)(void *), void *stack, int flags, void *data, ...);
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);

static int call_unseen(void *data)
{
    const order *o = data;

    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    return o->call(o->data);
}

int clone(int (*call)(void *), void *stack, int flags, void *data, ...)
{
    order   o = {call, data};
    va_list more;
    int     result;

    va_start(more, data);
    result = __clone(call_unseen, stack, flags & ~CLONE_VM, &o, va_arg(more, int *));
    va_end(more);
    return result;
}
