/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guests of tests/guest/ring3, which say at their end what they have measured. */
#pragma once

#include "sides.h"

/* A VM with this guest and command line, and no devices but the console. */
vmh_spec *guest_spec(const char *guest, const char *cmdline, const char *memory);
/* Runs it until it powers off, and gives what it said. */
char *guest_run(vmh_host *host, const vmh_spec *spec);

/* The number that it gave to a name. */
uint64_t guest_value(const char *words, const char *name);
/* How long one of the processor's cycles, by which guests measure, takes. */
double guest_cycle_ns(void);
