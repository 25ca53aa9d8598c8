/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table that Linux's build puts behind the kernel's ELF file: lists of the places where 64-bit addresses,
 * (formerly) distances to be subtracted and 32-bit addresses stand, in that order, each list after a zero.
 */
#include "relocate.h"
#include <elf.h>

enum { WORD = sizeof(uint32_t), LISTS = 2, LISTS_WITH_INVERSE = 3 };
#define KERNEL_MAP UINT64_C(0xffffffff80000000) /* where physical address 0 of the kernel's is mapped */

enum kind { WIDE, INVERSE, NARROW };

static int32_t word_at(const struct relocations *table, uint64_t index)
{
    int32_t word;

    memcpy(&word, table->words + index * WORD, sizeof(word));
    return word;
}

bool relocations_find(const struct boot_file *kernel, struct relocations *table)
{
    Elf64_Ehdr header;
    uint64_t   end;
    unsigned   zeros = 0;

    *table = (struct relocations){0};
    memcpy(&header, kernel->data, sizeof(header));
    if (header.e_shoff > kernel->size)
        return false;
    end = header.e_shoff + (uint64_t)header.e_shnum * header.e_shentsize;
    if (end > kernel->size || (kernel->size - end) % WORD)
        return false;
    table->words = kernel->data + end;
    table->count = (kernel->size - end) / WORD;
    for (uint64_t i = 0; i < table->count; i++)
        zeros += word_at(table, i) == 0;
    table->has_inverse = zeros == LISTS_WITH_INVERSE;
    return !table->count || (word_at(table, 0) == 0 && (zeros == LISTS || zeros == LISTS_WITH_INVERSE));
}

static enum kind next_kind(const struct relocations *table, enum kind kind)
{
    return kind == WIDE && table->has_inverse ? INVERSE : NARROW;
}

/* The offset in the kernel, which for those that lie before it is beyond any length. */
static uint64_t offset_at(const struct relocations *table, uint64_t index, uint64_t linked)
{
    return (uint64_t)(int64_t)word_at(table, index) - KERNEL_MAP - linked;
}

static bool lie_within(const struct relocations *table, uint64_t length, uint64_t linked)
{
    for (uint64_t i = 0; i < table->count; i++) {
        const uint64_t offset = offset_at(table, i, linked);

        if (word_at(table, i) && (offset > length || length - offset < sizeof(uint64_t)))
            return false;
    }
    return true;
}

static void move(uint8_t *place, enum kind kind, uint64_t distance)
{
    uint64_t wide;
    uint32_t narrow;

    if (kind == WIDE) {
        memcpy(&wide, place, sizeof(wide));
        wide += distance;
        memcpy(place, &wide, sizeof(wide));
        return;
    }
    memcpy(&narrow, place, sizeof(narrow));
    narrow = (uint32_t)(kind == NARROW ? narrow + distance : narrow - distance);
    memcpy(place, &narrow, sizeof(narrow));
}

bool relocations_apply(const struct relocations *table, uint8_t *place, uint64_t length, uint64_t linked,
                       uint64_t distance)
{
    enum kind kind = WIDE;

    if (!lie_within(table, length, linked))
        return false;
    for (uint64_t i = 1; i < table->count; i++) {
        if (word_at(table, i) == 0)
            kind = next_kind(table, kind);
        else
            move(place + offset_at(table, i, linked), kind, distance);
    }
    return true;
}
