/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A network card: on a tap device, or on a socket to a program that carries its packets. */
#pragma once

#include "../vm.h"

enum { NET_PAIRS = WIRE_QUEUES };

struct net_options {
    const char *name; /* by which the user knows it */
    uint8_t     mac[6];
    int         kind; /* WIRE_NIC_… */
    unsigned    pairs;
    int         descriptors[NET_PAIRS]; /* one for each pair of queues */
    uint64_t    limits[WIRE_LIMITS];
};

/* The descriptors are the card's, if it works. */
bool net_plug(struct vm *vm, const struct net_options *options, struct failure *failure);
