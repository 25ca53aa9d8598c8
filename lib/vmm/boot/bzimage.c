/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Linux's own boot protocol for 64-bit kernels: the file's header, a page of parameters, and the entry point. */
#include "boot.h"
#include <asm/bootparam.h>

/* Linux documents these offsets in a bzImage's first sectors. */
enum {
    HEADER = 0x1f1,
    MAGIC = 0x202,
    MAGIC_VALUE = 0x53726448, /* "HdrS" */
    VERSION_MINIMUM = 0x020c, /* the first that tells of a 64-bit entry point */
    ENTRY_64 = 0x200,
    LOADER_UNKNOWN = 0xff,
    PARAGRAPH = 16 /* the unit of the size that the header tells */
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

bool boot_load_bzimage(struct vm *vm, const struct boot_file *file, struct failure *failure)
{
    struct boot_params parameters = {.acpi_rsdp_addr = BOOT_TABLES};
    uint64_t           setup = 0;
    uint64_t           address = 0;
    uint64_t           size = 0;
    uint64_t           start = BOOT_MEGABYTE;

    read_header(file, &parameters.hdr);
    if (!check(&parameters.hdr, file, &setup, failure))
        return false;
    if (parameters.hdr.kernel_alignment && start % parameters.hdr.kernel_alignment)
        start = parameters.hdr.pref_address;
    /* It unpacks itself in place, and says how much room that takes. */
    if (!memory_at(&vm->memory, start, parameters.hdr.init_size) ||
        !boot_copy(vm, start, file->data + setup, file->size - setup))
        return fail(failure, WIRE_VALUE, "memory.size", "the kernel needs %u MiB at %#llx",
                    parameters.hdr.init_size >> 20, (unsigned long long)start);
    parameters.hdr.type_of_loader = LOADER_UNKNOWN;
    parameters.hdr.cmd_line_ptr = BOOT_CMDLINE;
    parameters.hdr.code32_start = (uint32_t)start;
    if (vm->module_count) {
        if (!boot_place_module(vm, &vm->modules[0], (uint64_t)parameters.hdr.initrd_addr_max + 1, &address, &size,
                               failure))
            return false;
        if (address < start + parameters.hdr.init_size)
            return fail(failure, WIRE_VALUE, "memory.size", "too little for the kernel and its initrd");
        parameters.hdr.ramdisk_image = (uint32_t)address;
        parameters.hdr.ramdisk_size = (uint32_t)size;
    }
    fill_memory_map(vm, &parameters);
    boot_copy(vm, BOOT_PARAMETERS, &parameters, sizeof(parameters));
    boot_copy(vm, BOOT_CMDLINE, vm->kernel.cmdline, strlen(vm->kernel.cmdline) + 1);
    vm->entry =
        (struct entry){.mode = WIRE_MODE_LONG, .rip = start + ENTRY_64, .rsp = BOOT_STACK, .rsi = BOOT_PARAMETERS};
    return true;
}
