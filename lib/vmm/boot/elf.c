/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ELF files: loads their segments, and enters them by their PVH note where they have one. */
#include "boot.h"
#include <elf.h>

enum { XEN_ELFNOTE_PHYS32_ENTRY = 18, PVH_MAGIC = 0x336ec578, PVH_VERSION = 1 };

/* The documented layouts of PVH's start information, all little-endian. */
struct pvh_start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp, memory_map;
    uint32_t memory_map_count, reserved;
};
struct pvh_module {
    uint64_t address, size, cmdline, reserved;
};
struct pvh_range {
    uint64_t start, length;
    uint32_t type, reserved;
};

bool boot_is_elf(const struct boot_file *file)
{
    return file->size >= sizeof(Elf64_Ehdr) && memcmp(file->data, ELFMAG, SELFMAG) == 0;
}

/* What a program header means, of either size. */
struct segment {
    uint32_t type;
    uint64_t offset, address, file_size, memory_size;
};

struct elf {
    const struct boot_file *file;
    bool                    is_64;
    uint16_t                machine;
    uint64_t                shift; /* how far from where it says it is loaded */
    uint64_t                entry;
    uint64_t                headers;
    unsigned                header_size;
    unsigned                count;
};

static bool read_header(const struct boot_file *file, struct elf *elf, struct failure *failure)
{
    Elf64_Ehdr wide;
    Elf32_Ehdr narrow;

    elf->file = file;
    elf->is_64 = file->data[EI_CLASS] == ELFCLASS64;
    memcpy(&wide, file->data, sizeof(wide));
    memcpy(&narrow, file->data, sizeof(narrow));
    elf->machine = elf->is_64 ? wide.e_machine : narrow.e_machine;
    elf->entry = elf->is_64 ? wide.e_entry : narrow.e_entry;
    elf->headers = elf->is_64 ? wide.e_phoff : narrow.e_phoff;
    elf->header_size = elf->is_64 ? wide.e_phentsize : narrow.e_phentsize;
    elf->count = elf->is_64 ? wide.e_phnum : narrow.e_phnum;
    if (file->data[EI_DATA] != ELFDATA2LSB || (elf->machine != EM_X86_64 && elf->machine != EM_386))
        return fail(failure, WIRE_VALUE, "boot.kernel", "an ELF file of another architecture (machine %u)",
                    elf->machine);
    if (elf->header_size < (elf->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)) || elf->headers > file->size ||
        (uint64_t)elf->count * elf->header_size > file->size - elf->headers)
        return fail(failure, WIRE_VALUE, "boot.kernel", "the ELF file is cut off, or its header is wrong");
    return true;
}

static struct segment read_segment(const struct elf *elf, unsigned index)
{
    const uint8_t *data = elf->file->data + elf->headers + (uint64_t)index * elf->header_size;
    Elf64_Phdr     wide;
    Elf32_Phdr     narrow;

    if (elf->is_64) {
        memcpy(&wide, data, sizeof(wide));
        return (struct segment){wide.p_type, wide.p_offset, wide.p_paddr + elf->shift, wide.p_filesz, wide.p_memsz};
    }
    memcpy(&narrow, data, sizeof(narrow));
    return (struct segment){narrow.p_type, narrow.p_offset, narrow.p_paddr + elf->shift, narrow.p_filesz,
                            narrow.p_memsz};
}

static bool lies_within(const struct segment *segment, const struct boot_file *file)
{
    return segment->offset <= file->size && segment->file_size <= file->size - segment->offset;
}

static bool load_segment(struct vm *vm, const struct elf *elf, const struct segment *segment, struct failure *failure)
{
    if (!lies_within(segment, elf->file) || segment->file_size > segment->memory_size)
        return fail(failure, WIRE_VALUE, "boot.kernel", "a segment of the ELF file lies outside of it");
    if (!memory_at(&vm->memory, segment->address, segment->memory_size))
        return fail(failure, WIRE_VALUE, "memory.size", "the kernel wants %llu bytes at %#llx, where no memory is",
                    (unsigned long long)segment->memory_size, (unsigned long long)segment->address);
    return boot_may_take(vm, "boot.kernel", segment->address, segment->memory_size, failure) &&
           boot_copy(vm, segment->address, elf->file->data + segment->offset, segment->file_size);
}

/* The entry point in a PVH note of this segment, or 0. */
static uint64_t find_pvh_entry(const struct elf *elf, const struct segment *segment)
{
    const uint8_t *data;
    Elf64_Nhdr     note; /* the same in both sizes */

    if (!lies_within(segment, elf->file))
        return 0;
    data = elf->file->data + segment->offset;
    for (uint64_t at = 0; segment->file_size - at >= sizeof(note);) {
        uint64_t description;

        memcpy(&note, data + at, sizeof(note));
        description = at + sizeof(note) + (((uint64_t)note.n_namesz + 3) & ~UINT64_C(3));
        if (description > segment->file_size || note.n_descsz > segment->file_size - description)
            return 0;
        if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == 4 && note.n_descsz >= 4 &&
            memcmp(data + at + sizeof(note), "Xen", 4) == 0) {
            uint32_t entry;

            memcpy(&entry, data + description, sizeof(entry));
            return entry;
        }
        at = description + (((uint64_t)note.n_descsz + 3) & ~UINT64_C(3));
        if (at > segment->file_size)
            return 0;
    }
    return 0;
}

bool boot_write_start_info(struct vm *vm, uint64_t kernel_end, struct failure *failure)
{
    struct boot_range     ranges[BOOT_RANGES];
    struct pvh_range      map[BOOT_RANGES] = {{0}};
    struct pvh_module     module = {0};
    struct pvh_start_info info = {.magic = PVH_MAGIC, .version = PVH_VERSION, .cmdline = BOOT_CMDLINE};

    info.rsdp = BOOT_TABLES;
    info.memory_map_count = boot_memory_map(vm, ranges);
    for (unsigned i = 0; i < info.memory_map_count; i++)
        map[i] = (struct pvh_range){ranges[i].start, ranges[i].length, ranges[i].type, 0};
    if (vm->module_count) {
        if (!boot_place_module(vm, &vm->modules[0], MEMORY_HIGH, &module.address, &module.size, failure))
            return false;
        if (module.address < kernel_end)
            return fail(failure, WIRE_VALUE, "memory.size", "too little for the kernel and its initrd");
        info.module_count = 1;
        info.modules = BOOT_START_INFO + sizeof(info);
    }
    info.memory_map = BOOT_START_INFO + sizeof(info) + sizeof(module);
    return boot_copy(vm, BOOT_START_INFO, &info, sizeof(info)) &&
           boot_copy(vm, info.modules ? info.modules : BOOT_START_INFO + sizeof(info), &module, sizeof(module)) &&
           boot_copy(vm, info.memory_map, map, sizeof(map)) &&
           boot_copy(vm, BOOT_CMDLINE, vm->kernel.cmdline, strlen(vm->kernel.cmdline) + 1);
}

static bool load_segments(struct vm *vm, const struct elf *elf, uint64_t *pvh, uint64_t *end, struct failure *failure)
{
    *pvh = *end = 0;
    for (unsigned i = 0; i < elf->count; i++) {
        const struct segment segment = read_segment(elf, i);

        if (segment.type == PT_NOTE && !*pvh)
            *pvh = find_pvh_entry(elf, &segment);
        if (segment.type != PT_LOAD)
            continue;
        if (!load_segment(vm, elf, &segment, failure))
            return false;
        if (segment.address + segment.memory_size > *end)
            *end = segment.address + segment.memory_size;
    }
    return *end ? true : fail(failure, WIRE_VALUE, "boot.kernel", "the ELF file has nothing to load");
}

bool boot_load_elf_segments(struct vm *vm, const struct boot_file *file, uint64_t shift, uint64_t *entry,
                            uint64_t *end, struct failure *failure)
{
    struct elf elf = {.shift = shift};
    uint64_t   pvh;

    if (!read_header(file, &elf, failure) || !load_segments(vm, &elf, &pvh, end, failure))
        return false;
    *entry = elf.entry + shift;
    return true;
}

bool boot_load_elf(struct vm *vm, const struct boot_file *file, struct failure *failure)
{
    struct elf elf = {.shift = 0};
    uint64_t   pvh;
    uint64_t   end;

    if (!read_header(file, &elf, failure) || !load_segments(vm, &elf, &pvh, &end, failure) ||
        !boot_write_start_info(vm, end, failure))
        return false;
    vm->entry = (struct entry){.mode = elf.is_64 && !pvh ? WIRE_MODE_LONG : WIRE_MODE_PROTECTED,
                               .rip = pvh ? pvh : elf.entry,
                               .rsp = BOOT_STACK,
                               .rbx = BOOT_START_INFO};
    return true;
}
