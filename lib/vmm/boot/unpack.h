/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a Linux bzImage holds, unpacked here rather than by slow code within the guest. */
#pragma once

#include "boot.h"

/* Whether it is packed in one of the ways known here. */
bool unpack_knows(const struct boot_file *packed);
/* Of one that is known: into memory of its own, `limit` bytes at most, which unpack_free() gives back. */
bool unpack(const struct boot_file *packed, uint64_t limit, struct boot_file *file, struct failure *failure);
void unpack_free(struct boot_file *file);
