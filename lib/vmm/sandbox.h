/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Takes away from this process all that a VMM does not need, so that a guest that breaks out of it holds nothing. */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>

/* Each may do what those before it may; see calls.def. */
enum sandbox_thread { SANDBOX_WORKER, SANDBOX_VCPU, SANDBOX_CONTROL, SANDBOX_THREADS };

/* Made of calls.def by the build. */
extern const struct sock_fprog sandbox_filters[SANDBOX_THREADS];

/* First of all: closes what has a number from here on, and nobody meant for us. */
void sandbox_close_from(unsigned first);

/* Then, if there are any: these namespaces become its own, instead of new ones; see cell.h. */
void sandbox_join(int network, int mounts);

/*
 * Then, with all descriptors in place, no thread started, and nobody served. What the kernel does not allow is left
 * out; sandbox_text() tells. user: whom to become where root started us, 0: nobody else.
 */
void sandbox_enter(unsigned user);
/* All of it but the lists of system calls, behind which a test could not see the rest. */
void sandbox_leave(unsigned user);

/* By each other thread, at its beginning. */
void sandbox_enter_thread(enum sandbox_thread kind);

/* What is in force, with commas. */
const char *sandbox_text(void);
