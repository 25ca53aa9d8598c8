/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's memory: one memfd, mapped once. Whoever touches it does so through these checks, and copies. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory ends below the hole at 3 GiB, where devices are, and goes on at 4 GiB. */
#define MEMORY_HOLE UINT64_C(0xc0000000)
#define MEMORY_HIGH UINT64_C(0x100000000)

struct memory {
    uint8_t *base;
    uint64_t size;
    int      descriptor;
};

/* false with errno. */
bool memory_create(struct memory *memory, uint64_t size);
void memory_destroy(struct memory *memory);
/* All of it is zero again. */
bool memory_clear(struct memory *memory);
bool memory_attach(const struct memory *memory, int vm);

/* What lies below the hole, and what above 4 GiB. */
uint64_t memory_low(const struct memory *memory);
uint64_t memory_high(const struct memory *memory);

/* Gives a range back to the host: it reads as zero from now on. Pages that lie in it only in part stay. */
void memory_discard(const struct memory *memory, uint64_t address, uint64_t length);

/* The host's address of a range that lies wholly in the guest's memory, or NULL. The guest may change it under us. */
void *memory_at(const struct memory *memory, uint64_t address, uint64_t length);
/* The guest's address of a place that memory_at() gave. */
uint64_t memory_address(const struct memory *memory, const void *place);
bool     memory_read(const struct memory *memory, uint64_t address, void *data, uint64_t length);
bool     memory_write(const struct memory *memory, uint64_t address, const void *data, uint64_t length);
