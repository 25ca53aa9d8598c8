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

/* A connection, or -1. One for which there is no descriptor is closed, lest the loop be told of it for ever. */
int loop_accept(int listener);

/* Runs until loop_end(), and calls no handler after that. */
void loop_run(void);
void loop_end(void);
