/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk: a file, or a block device of the host's. */
#pragma once

#include "../vm.h"

struct blk_options {
    const char *name;   /* by which the user knows it */
    const char *serial; /* up to 20 bytes; "" for none */
    int         descriptor;
    bool        is_readonly, can_discard;
    uint64_t    queues;
    uint64_t    limits[WIRE_LIMITS];
};

enum { BLK_SERIAL = 20, BLK_QUEUES = WIRE_QUEUES };

/* The descriptor is the disk's, if it works. */
bool blk_plug(struct vm *vm, const struct blk_options *options, struct failure *failure);
