/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control and I/O thread waits here for its descriptors. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* events are those of epoll. */
typedef void (*loop_handler)(void *data, uint32_t events);

bool loop_init(void);
/* Watches a descriptor; false with errno. From any thread. */
bool loop_add(int descriptor, uint32_t events, loop_handler handler, void *data);
bool loop_change(int descriptor, uint32_t events);
/* Before it is closed. A handler that is due is not called any more. On the loop's thread alone. */
void loop_remove(int descriptor);

/* Runs until loop_end(). */
void loop_run(void);
void loop_end(void);
