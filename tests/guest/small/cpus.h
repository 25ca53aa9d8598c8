/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The CPUs beside the first. */
#pragma once

#include <stdint.h>

struct frame;

enum { CPUS_MOST = 64 };

/* Starts all others, so many with the first, and returns when each of them was interrupted by this vector. */
void cpus_start(unsigned count, uint8_t vector);
/* What belongs to the vector. */
__attribute__((interrupt)) void cpus_on_call(struct frame *frame);
/* The ids that they found, from the lowest. */
unsigned cpus_id(unsigned index);
