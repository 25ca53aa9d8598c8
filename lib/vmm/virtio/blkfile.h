/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file behind a disk: what is asked of it, and whose it is. */
#pragma once

#include "blk.h"

enum { BLKFILE_SECTOR = 512 };

/* Checks the options, locks the file, and tells how large it and its blocks are. */
bool blkfile_take(const struct blk_options *options, uint64_t *sectors, uint32_t *block, struct failure *failure);
/* It is free for others. */
void blkfile_unlock(int descriptor);
