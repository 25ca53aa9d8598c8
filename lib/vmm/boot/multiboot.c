/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Multiboot 1: its header in the file's first 8 KiB, modules and command lines, entry in protected mode. */
#include "boot.h"

enum {
    SEARCH = 8192,
    MAGIC = 0x1badb002,
    LOADER_MAGIC = 0x2badb002,
    HAS_ADDRESSES = 1 << 16,
    NOT_SUPPORTED = 0xfffc & ~0x7, /* flags below 16 that a loader must know; pages, memory and video are fine */

    INFO_MEMORY = 1 << 0,
    INFO_CMDLINE = 1 << 2,
    INFO_MODULES = 1 << 3,
    INFO_MAP = 1 << 6
};

/* As the multiboot specification lays them out. */
struct header {
    uint32_t magic, flags, checksum, header_address, load_address, load_end, bss_end, entry;
};
struct information {
    uint32_t flags, memory_lower, memory_upper, boot_device, cmdline, module_count, modules, symbols[4], map_length,
        map;
    uint32_t rest[17];
};
struct module {
    uint32_t start, end, cmdline, reserved;
};
struct range {
    uint32_t size;
    uint64_t start, length;
    uint32_t type;
} __attribute__((packed));

/* Where the modules' list and the map go. */
enum { MODULES = BOOT_START_INFO + 0x100, MAP = BOOT_START_INFO + 0x400 };

static bool find_header(const struct boot_file *file, struct header *header, uint64_t *at)
{
    for (*at = 0; *at < SEARCH && *at + 12 <= file->size; *at += 4) {
        memset(header, 0, sizeof(*header));
        memcpy(header, file->data + *at, file->size - *at < sizeof(*header) ? file->size - *at : sizeof(*header));
        if (header->magic == MAGIC && header->magic + header->flags + header->checksum == 0)
            return true;
    }
    return false;
}

bool boot_is_multiboot(const struct boot_file *file)
{
    struct header header;
    uint64_t      at;

    return find_header(file, &header, &at);
}

/* A kernel that is no ELF file says itself where it goes. */
static bool load_by_addresses(struct vm *vm, const struct boot_file *file, const struct header *header, uint64_t at,
                              uint64_t *end, struct failure *failure)
{
    const uint64_t before = (uint64_t)header->header_address - header->load_address;
    uint64_t       size;

    if (header->header_address < header->load_address || before > at)
        return fail(failure, WIRE_VALUE, "boot.kernel",
                    "the addresses in its multiboot header contradict each other");
    size = file->size - (at - before);
    if (header->load_end) {
        if (header->load_end < header->load_address || header->load_end - header->load_address > size)
            return fail(failure, WIRE_VALUE, "boot.kernel", "the multiboot kernel is cut off");
        size = header->load_end - header->load_address;
    }
    *end = header->load_address + size;
    if (header->bss_end > *end)
        *end = header->bss_end;
    if (!memory_at(&vm->memory, header->load_address, *end - header->load_address))
        return fail(failure, WIRE_VALUE, "memory.size", "the kernel wants the memory from %#x to %#llx",
                    header->load_address, (unsigned long long)*end);
    return boot_may_take(vm, "boot.kernel", header->load_address, *end - header->load_address, failure) &&
           boot_copy(vm, header->load_address, file->data + (at - before), size);
}

static bool load_modules(struct vm *vm, uint64_t end, struct information *information, struct failure *failure)
{
    uint64_t limit = memory_low(&vm->memory);
    uint64_t text = BOOT_TEXTS;

    for (unsigned i = 0; i < vm->module_count; i++) {
        const char   *cmdline = vm->modules[i].cmdline;
        struct module module = {.cmdline = (uint32_t)text};
        uint64_t      address = 0;
        uint64_t      size = 0;

        if (!boot_place_module(vm, &vm->modules[i], limit, &address, &size, failure))
            return false;
        if (address < end)
            return fail(failure, WIRE_VALUE, "memory.size", "too little for the kernel and its modules");
        module.start = (uint32_t)address;
        module.end = (uint32_t)(address + size);
        limit = address;
        boot_copy(vm, MODULES + i * sizeof(module), &module, sizeof(module));
        boot_copy(vm, text, cmdline, strlen(cmdline) + 1);
        text += strlen(cmdline) + 1;
    }
    information->modules = MODULES;
    information->module_count = vm->module_count;
    return true;
}

static void write_map(struct vm *vm, struct information *information)
{
    struct boot_range ranges[BOOT_RANGES];
    const unsigned    count = boot_memory_map(vm, ranges);

    for (unsigned i = 0; i < count; i++) {
        const struct range range = {sizeof(range) - 4, ranges[i].start, ranges[i].length, ranges[i].type};

        boot_copy(vm, MAP + i * sizeof(range), &range, sizeof(range));
    }
    information->map = MAP;
    information->map_length = count * (uint32_t)sizeof(struct range);
    information->memory_lower = BOOT_EBDA >> 10;
    information->memory_upper = (uint32_t)((memory_low(&vm->memory) - BOOT_MEGABYTE) >> 10);
}

bool boot_load_multiboot(struct vm *vm, const struct boot_file *file, struct failure *failure)
{
    struct information information = {.flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MAP,
                                      .cmdline = BOOT_CMDLINE};
    struct header      header;
    uint64_t           at;
    uint64_t           end = BOOT_MEGABYTE;

    find_header(file, &header, &at);
    if (header.flags & NOT_SUPPORTED)
        return fail(failure, WIRE_UNSUPPORTED, "boot.kernel",
                    "the multiboot kernel asks for more than is known (%#x)", header.flags);
    if (header.flags & HAS_ADDRESSES) {
        if (!load_by_addresses(vm, file, &header, at, &end, failure))
            return false;
        vm->entry.rip = header.entry;
    } else if (!boot_is_elf(file) || !boot_load_elf_segments(vm, file, 0, &vm->entry.rip, &end, failure)) {
        return failure->code
                   ? false
                   : fail(failure, WIRE_VALUE, "boot.kernel", "a multiboot kernel without addresses or ELF");
    }
    if (!load_modules(vm, end, &information, failure))
        return false;
    write_map(vm, &information);
    boot_copy(vm, BOOT_START_INFO, &information, sizeof(information));
    boot_copy(vm, BOOT_CMDLINE, vm->kernel.cmdline, strlen(vm->kernel.cmdline) + 1);
    vm->entry = (struct entry){.mode = WIRE_MODE_PROTECTED,
                               .rip = vm->entry.rip,
                               .rsp = BOOT_STACK,
                               .rax = LOADER_MAGIC,
                               .rbx = BOOT_START_INFO};
    return true;
}
