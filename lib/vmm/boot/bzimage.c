/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Linux's own boot protocol for 64-bit kernels: the file's header, a page of parameters, and the entry point. */
#include "boot.h"
#include "relocate.h"
#include "unpack.h"
#include <asm/bootparam.h>
#include <elf.h>
#include <stdlib.h>
#include <sys/random.h>

/* Linux documents these offsets in a bzImage's first sectors. */
enum {
    HEADER = 0x1f1,
    MAGIC = 0x202,
    MAGIC_VALUE = 0x53726448, /* "HdrS" */
    VERSION_MINIMUM = 0x020c, /* the first that tells of a 64-bit entry point */
    ENTRY_64 = 0x200,
    LOADER_UNKNOWN = 0xff,
    PARAGRAPH = 16, /* the unit of the size that the header tells */
    LARGE_PAGE = 2 << 20,
    KERNEL_IMAGE_SIZE = 1 << 30 /* the virtual addresses that one with relocations may have */
};

static bool read_header(const struct boot_file *file, struct setup_header *header)
{
    if (file->size < HEADER + sizeof(*header))
        return false;
    memcpy(header, file->data + HEADER, sizeof(*header));
    return header->header == MAGIC_VALUE;
}

bool boot_is_bzimage(const struct boot_file *file)
{
    struct setup_header header;

    return read_header(file, &header);
}

static bool check(const struct setup_header *header, const struct boot_file *file, uint64_t *setup,
                  struct failure *failure)
{
    if (header->version < VERSION_MINIMUM || !(header->xloadflags & XLF_KERNEL_64))
        return fail(failure, WIRE_UNSUPPORTED, "boot.kernel", "a Linux kernel without a 64-bit entry point");
    *setup = (header->setup_sects ? header->setup_sects + 1u : 5u) * 512u;
    const uint64_t size = *setup + (uint64_t)header->syssize * PARAGRAPH;
    if (file->size < size || file->size <= *setup + ENTRY_64)
        return fail(failure, WIRE_VALUE, "boot.kernel",
                    "the Linux kernel is cut off: the file has %llu bytes, of which its header tells %llu",
                    (unsigned long long)file->size, (unsigned long long)size);
    return true;
}

static void fill_memory_map(const struct vm *vm, struct boot_params *parameters)
{
    struct boot_range ranges[BOOT_RANGES];

    parameters->e820_entries = (uint8_t)boot_memory_map(vm, ranges);
    for (unsigned i = 0; i < parameters->e820_entries; i++) {
        parameters->e820_table[i].addr = ranges[i].start;
        parameters->e820_table[i].size = ranges[i].length;
        parameters->e820_table[i].type = ranges[i].type;
    }
}

/* Whether the command line has this word, or one that begins so. */
static bool is_told(const struct vm *vm, const char *word, bool is_whole)
{
    const size_t length = strlen(word);
    const char  *at = vm->kernel.cmdline;

    while ((at = strstr(at, word))) {
        const bool begins = at == vm->kernel.cmdline || at[-1] == ' ';

        at += length;
        if (begins && (!is_whole || !*at || *at == ' '))
            return true;
    }
    return false;
}

/* --- where it lies --- */

/* The header says how much room it takes until it knows of its memory. */
static bool check_room(const struct vm *vm, const struct setup_header *header, uint64_t start, uint64_t limit,
                       struct failure *failure)
{
    if (!memory_at(&vm->memory, start, header->init_size))
        return fail(failure, WIRE_VALUE, "memory.size", "the kernel needs %u MiB at %#llx", header->init_size >> 20,
                    (unsigned long long)start);
    if (start + header->init_size > limit)
        return fail(failure, WIRE_VALUE, "memory.size", "too little for the kernel and its initrd");
    return true;
}

/* Any place for it from `start` on, as far from there as its alignment allows. */
static uint64_t random_distance(const struct setup_header *header, uint64_t start, uint64_t limit)
{
    const uint64_t step = header->kernel_alignment < LARGE_PAGE ? (uint64_t)LARGE_PAGE : header->kernel_alignment;
    const uint64_t end = start + header->init_size;
    uint64_t       random;

    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        abort(); /* a host that has no random numbers yet makes us wait instead */
    return end < limit ? random % ((limit - end) / step + 1) * step : 0;
}

/*
 * As its own code would have unpacked it: at another place and another virtual address each time, but where the
 * command line says that it must not be, or what memory there is.
 */
static bool load_unpacked(struct vm *vm, struct setup_header *header, const struct boot_file *kernel,
                          const struct relocations *table, uint64_t limit, struct failure *failure)
{
    const uint64_t linked = header->pref_address;
    uint64_t       shift = 0, distance = 0, end;

    if (!check_room(vm, header, linked, limit, failure))
        return false;
    if (table->count && !is_told(vm, "nokaslr", true)) {
        header->loadflags |= KASLR_FLAG;
        distance = random_distance(header, linked, KERNEL_IMAGE_SIZE);
        if (!is_told(vm, "mem=", false) && !is_told(vm, "memmap=", false))
            shift = random_distance(header, linked, limit);
    }
    if (!boot_load_elf_segments(vm, kernel, shift, &vm->entry.rip, &end, failure))
        return false;
    if (end > linked + shift + header->init_size)
        return fail(failure, WIRE_VALUE, "boot.kernel", "it takes more memory than its header says");
    if (distance && !relocations_apply(table, memory_at(&vm->memory, linked + shift, header->init_size),
                                       header->init_size, linked, distance))
        return fail(failure, WIRE_VALUE, "boot.kernel", "its relocations point outside of it");
    return true;
}

/* It unpacks itself in place. */
static bool load_packed(struct vm *vm, struct setup_header *header, const struct boot_file *image, uint64_t limit,
                        struct failure *failure)
{
    uint64_t start = BOOT_MEGABYTE;

    if (header->kernel_alignment && start % header->kernel_alignment)
        start = header->pref_address;
    if (!check_room(vm, header, start, limit, failure))
        return false;
    if (!boot_copy(vm, start, image->data, image->size))
        return fail(failure, WIRE_VALUE, "memory.size", "too little for the kernel's %llu bytes at %#llx",
                    (unsigned long long)image->size, (unsigned long long)start);
    header->code32_start = (uint32_t)start;
    vm->entry.rip = start + ENTRY_64;
    return true;
}

static bool load_kernel(struct vm *vm, struct setup_header *header, const struct boot_file *image, uint64_t limit,
                        struct failure *failure)
{
    struct boot_file   payload, kernel;
    struct relocations table;
    bool               is_known, loaded;

    if (header->payload_offset > image->size || header->payload_length > image->size - header->payload_offset)
        return fail(failure, WIRE_VALUE, "boot.kernel", "what it has packed lies outside of the file");
    payload = (struct boot_file){image->data + header->payload_offset, header->payload_length};
    if (!unpack_knows(&payload))
        return load_packed(vm, header, image, limit, failure);
    if (!unpack(&payload, vm->memory.size, &kernel, failure))
        return false;
    is_known = boot_is_elf(&kernel) && kernel.data[EI_CLASS] == ELFCLASS64 && relocations_find(&kernel, &table);
    loaded = is_known ? load_unpacked(vm, header, &kernel, &table, limit, failure)
                      : load_packed(vm, header, image, limit, failure);
    unpack_free(&kernel);
    return loaded;
}

/* At the highest place that it may have; where it begins, or memory ends. */
static bool place_initrd(struct vm *vm, struct setup_header *header, uint64_t *limit, struct failure *failure)
{
    uint64_t size;

    *limit = memory_low(&vm->memory);
    if (!vm->module_count)
        return true;
    if (!boot_place_module(vm, &vm->modules[0], (uint64_t)header->initrd_addr_max + 1, limit, &size, failure))
        return false;
    header->ramdisk_image = (uint32_t)*limit;
    header->ramdisk_size = (uint32_t)size;
    return true;
}

bool boot_load_bzimage(struct vm *vm, const struct boot_file *file, struct failure *failure)
{
    struct boot_params parameters = {.acpi_rsdp_addr = BOOT_TABLES};
    struct boot_file   image;
    uint64_t           setup = 0;
    uint64_t           limit;

    read_header(file, &parameters.hdr);
    if (!check(&parameters.hdr, file, &setup, failure))
        return false;
    image = (struct boot_file){file->data + setup, file->size - setup};
    parameters.hdr.type_of_loader = LOADER_UNKNOWN;
    parameters.hdr.cmd_line_ptr = BOOT_CMDLINE;
    vm->entry = (struct entry){.mode = WIRE_MODE_LONG, .rsp = BOOT_STACK, .rsi = BOOT_PARAMETERS};
    if (!place_initrd(vm, &parameters.hdr, &limit, failure) ||
        !load_kernel(vm, &parameters.hdr, &image, limit, failure))
        return false;
    fill_memory_map(vm, &parameters);
    boot_copy(vm, BOOT_PARAMETERS, &parameters, sizeof(parameters));
    boot_copy(vm, BOOT_CMDLINE, vm->kernel.cmdline, strlen(vm->kernel.cmdline) + 1);
    return true;
}
