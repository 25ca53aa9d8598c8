/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk that is read all the time. */
#pragma once

#include <stdint.h>

/* The first disk, if there is one, is read from now on, and interrupts by this vector when it was. */
void disk_begin(uint8_t vector);
/* After the interrupt. */
void disk_go_on(void);
