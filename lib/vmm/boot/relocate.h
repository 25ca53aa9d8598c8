/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relocations of a Linux kernel, by which it may lie elsewhere than it was linked for. */
#pragma once

#include "boot.h"

/* A table within the kernel's file; count 0: there is none. */
struct relocations {
    const uint8_t *words;
    uint64_t       count;
    bool           has_inverse; /* as kernels up to 6.14 have */
};

/* false: it has a table of a form that is not known here. */
bool relocations_find(const struct boot_file *kernel, struct relocations *table);

/*
 * Of a kernel that lies `length` bytes long at `place` in the guest's memory, and was linked to lie at `linked`:
 * moves its virtual addresses up. false: an entry points outside of it, and nothing has changed.
 */
bool relocations_apply(const struct relocations *table, uint8_t *place, uint64_t length, uint64_t linked,
                       uint64_t distance);
