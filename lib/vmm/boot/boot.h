/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest finds in its memory when it begins: its kernel, by one of several protocols. */
#pragma once

#include "../vm.h"

/* Where what a kernel is told lies, below the places that all of them leave free. */
enum {
    BOOT_START_INFO = 0x6000, /* PVH and multiboot */
    BOOT_PARAMETERS = 0x7000, /* Linux */
    BOOT_STACK = 0x8ff0,
    BOOT_FREE = 0xf000, /* the end of the tables that the first CPU is entered with */
    BOOT_CMDLINE = 0x20000,
    BOOT_TEXTS = BOOT_CMDLINE + 0x1000, /* of multiboot's modules */
    BOOT_TEXTS_END = BOOT_TEXTS + VM_MODULES * (VM_CMDLINE + 1),
    BOOT_EBDA = 0x9fc00,       /* the end of what is usable below 1 MiB */
    BOOT_GENERATION = 0xdf000, /* a page of its own, as its specification wants it */
    BOOT_TABLES = 0xe0000,
    BOOT_FIRMWARE = 0xffff0, /* where a CPU would find it after a reset */
    BOOT_MEGABYTE = 0x100000
};

/* A kernel's file, mapped; what it says of itself may be a lie. */
struct boot_file {
    const uint8_t *data;
    uint64_t       size;
};

/* Loads everything and fills vm->entry. */
bool boot_load(struct vm *vm, struct failure *failure);

/* One for each protocol. The first looks at its first bytes, the second copies it to its place. */
bool boot_is_elf(const struct boot_file *file);
bool boot_load_elf(struct vm *vm, const struct boot_file *file, struct failure *failure);
/* Only the segments, so far from where the file says; its own entry point, and where they end. */
bool boot_load_elf_segments(struct vm *vm, const struct boot_file *file, uint64_t shift, uint64_t *entry,
                            uint64_t *end, struct failure *failure);
/* What a kernel is told that PVH's way is told, its command line and initrd among it. */
bool boot_write_start_info(struct vm *vm, uint64_t kernel_end, struct failure *failure);
bool boot_is_bzimage(const struct boot_file *file);
bool boot_load_bzimage(struct vm *vm, const struct boot_file *file, struct failure *failure);
bool boot_is_multiboot(const struct boot_file *file);
bool boot_load_multiboot(struct vm *vm, const struct boot_file *file, struct failure *failure);

/* Whether a kernel may lie there: not where what it is told is written. The failure names the property. */
bool boot_may_take(const struct vm *vm, const char *property, uint64_t start, uint64_t size, struct failure *failure);

/* Copies a file to the guest, wholly or not at all. */
bool boot_copy(struct vm *vm, uint64_t address, const void *data, uint64_t size);

/* Reads an image's file into the guest at the highest place below limit; its size, and where. */
bool boot_place_module(struct vm *vm, const struct image *image, uint64_t limit, uint64_t *address, uint64_t *size,
                       struct failure *failure);

/* The guest's memory as firmware describes it. */
struct boot_range {
    uint64_t start;
    uint64_t length;
    uint32_t type; /* 1: usable, 2: reserved */
};
enum { BOOT_RANGES = 5 };
unsigned boot_memory_map(const struct vm *vm, struct boot_range ranges[BOOT_RANGES]);
