/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads of ours: all signals blocked, so that the program's signals reach the program's threads. */
#pragma once

#include <glib.h>

/* A thread for as long as `run` takes; NULL when the system gives no more of them. */
GThread *vmhi_thread_new(const char *name, GThreadFunc run, void *data);

/*
 * Runs it on a thread kept for such work; a call that hangs holds its own thread and nobody else's.
 * There is no limit but the host's: what can hang must not be started again and again. Where the system gives no more
 * threads it waits for one that is there, and is run by the caller when there is none.
 */
void vmhi_thread_run(void (*run)(void *data), void *data);
