/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds out what a kernel is, and has it loaded. */
#include "boot.h"
#include "../device/pci.h"
#include "../device/power.h"
#include "acpi.h"
#include <sys/mman.h>
#include <sys/stat.h>

/* Of a kernel's file, with all that debuggers want of it. */
enum { KERNEL_MOST = 1 << 30 };

bool boot_copy(struct vm *vm, uint64_t address, const void *data, uint64_t size)
{
    return memory_write(&vm->memory, address, data, size);
}

static bool size_of(int descriptor, const char *property, uint64_t *size, struct failure *failure)
{
    struct stat status;

    if (fstat(descriptor, &status) < 0)
        return fail(failure, WIRE_HOST, property, "the file cannot be read: %s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return fail(failure, WIRE_VALUE, property, "it is not a regular file");
    *size = (uint64_t)status.st_size;
    return *size ? true : fail(failure, WIRE_VALUE, property, "the file is empty");
}

static bool read_all(int descriptor, const char *property, uint8_t *data, uint64_t size, struct failure *failure)
{
    ssize_t got;

    for (uint64_t at = 0; at < size; at += (uint64_t)got) {
        got = pread(descriptor, data + at, size - at, (off_t)at);
        if (got <= 0)
            return fail(failure, WIRE_HOST, property, "the file cannot be read: %s",
                        got < 0 ? strerror(errno) : "it became shorter");
    }
    return true;
}

bool boot_place_module(struct vm *vm, const struct image *image, uint64_t limit, uint64_t *address, uint64_t *size,
                       struct failure *failure)
{
    if (!size_of(image->descriptor, "boot.initrd", size, failure))
        return false;
    if (limit > memory_low(&vm->memory))
        limit = memory_low(&vm->memory);
    if (*size > limit || limit - *size < BOOT_MEGABYTE)
        return fail(failure, WIRE_VALUE, "boot.initrd", "its %llu bytes do not fit below %#llx in the guest's memory",
                    (unsigned long long)*size, (unsigned long long)limit);
    *address = (limit - *size) & ~UINT64_C(0xfff);
    return read_all(image->descriptor, "boot.initrd", memory_at(&vm->memory, *address, *size), *size, failure);
}

unsigned boot_memory_map(const struct vm *vm, struct boot_range ranges[BOOT_RANGES])
{
    const uint64_t low = memory_low(&vm->memory);
    const uint64_t high = memory_high(&vm->memory);
    unsigned       count = 0;

    ranges[count++] = (struct boot_range){0, BOOT_EBDA, 1};
    ranges[count++] = (struct boot_range){BOOT_EBDA, BOOT_MEGABYTE - BOOT_EBDA, 2};
    ranges[count++] = (struct boot_range){BOOT_MEGABYTE, low - BOOT_MEGABYTE, 1};
    /* Linux believes the table that tells of it only when it is reserved. */
    if (vm->has_pci)
        ranges[count++] = (struct boot_range){PCI_ECAM, PCI_ECAM_SIZE, 2};
    if (high)
        ranges[count++] = (struct boot_range){MEMORY_HIGH, high, 1};
    return count;
}

/* Whoever asks for one of these places would find something else there. */
bool boot_may_take(const struct vm *vm, const char *property, uint64_t start, uint64_t size, struct failure *failure)
{
    const bool is_flat = vm->kernel_kind == WIRE_KERNEL_FLAT;
    const bool is_real = is_flat && vm->flat_mode == WIRE_MODE_REAL;
    const struct {
        uint64_t    start, end;
        const char *what;
    } taken[] = {
        {0, is_real ? BOOT_PARAMETERS : BOOT_FREE, "what the first CPU is entered with"},
        {BOOT_CMDLINE, is_flat ? BOOT_CMDLINE + VM_CMDLINE + 1 : BOOT_TEXTS_END, "the command line"},
        {BOOT_EBDA, is_real ? UINT64_MAX : BOOT_MEGABYTE,
         is_real ? "what real mode does not reach" : "ACPI's tables"},
    };

    for (size_t i = 0; size && i < sizeof(taken) / sizeof(taken[0]); i++) {
        if (start < taken[i].end && start + size > taken[i].start)
            return fail(failure, WIRE_VALUE, property,
                        "%llu bytes of it are to lie at %#llx, but from %#llx to %#llx there is %s",
                        (unsigned long long)size, (unsigned long long)start, (unsigned long long)taken[i].start,
                        (unsigned long long)(taken[i].end - 1), taken[i].what);
    }
    return true;
}

/* It lies in memory that nothing else is written to, and where its mode reaches. */
static bool check_flat(const struct vm *vm, uint64_t size, struct failure *failure)
{
    const uint64_t start = vm->flat_address, low = memory_low(&vm->memory);

    if (size > low || start > low - size)
        return fail(failure, WIRE_VALUE, "boot.address", "%llu bytes at %#llx do not fit into the guest's memory",
                    (unsigned long long)size, (unsigned long long)start);
    return boot_may_take(vm, "boot.address", start, size, failure);
}

static bool load_flat(struct vm *vm, const struct boot_file *file, struct failure *failure)
{
    if (!check_flat(vm, file->size, failure) || !boot_write_start_info(vm, vm->flat_address + file->size, failure))
        return false;
    vm->entry = (struct entry){.mode = vm->flat_mode,
                               .rip = vm->flat_address,
                               .rsp = vm->flat_mode == WIRE_MODE_REAL ? BOOT_PARAMETERS : BOOT_STACK,
                               .rbx = BOOT_START_INFO};
    return boot_copy(vm, vm->flat_address, file->data, file->size);
}

static bool load(struct vm *vm, const struct boot_file *file, struct failure *failure)
{
    const bool is_flat = vm->kernel_kind == WIRE_KERNEL_FLAT;

    /* Before ELF: a kernel may be both, and those that are want this one. */
    if (!is_flat && !boot_is_bzimage(file) && boot_is_multiboot(file))
        return boot_load_multiboot(vm, file, failure);
    if (vm->module_count > 1)
        return fail(failure, WIRE_VALUE, "boot.kernel",
                    "it is no multiboot kernel, and of %u modules it could get one, which is boot.initrd",
                    vm->module_count);
    if (is_flat)
        return load_flat(vm, file, failure);
    if (boot_is_bzimage(file))
        return boot_load_bzimage(vm, file, failure);
    if (boot_is_elf(file))
        return boot_load_elf(vm, file, failure);
    return fail(failure, WIRE_VALUE, "boot.kernel",
                "it is neither a Linux bzImage nor an ELF file nor multiboot; name its address for a flat binary");
}

/*
 * Linux takes firmware for EFI's where ACPI has no fixed hardware, and finding none it jumps to where a PC begins.
 * There it finds: mov $port, %dx; mov $value, %al; out %al, %dx; hlt; jmp to the hlt.
 */
static void write_firmware(struct vm *vm)
{
    static const uint8_t restart[] = {0xba,
                                      (POWER_PORT + POWER_RESET) & 0xff,
                                      (POWER_PORT + POWER_RESET) >> 8,
                                      0xb0,
                                      POWER_RESET_VALUE,
                                      0xee,
                                      0xf4,
                                      0xeb,
                                      0xfd};

    if (vm->kernel_kind != WIRE_KERNEL_FLAT)
        boot_copy(vm, BOOT_FIRMWARE, restart, sizeof(restart));
}

/* Whatever the file said: a guest that began there would never run. */
static bool check_entry(const struct vm *vm, struct failure *failure)
{
    if (memory_at(&vm->memory, vm->entry.rip, 1))
        return true;
    return fail(failure, WIRE_VALUE, "boot.kernel", "its entry point, %#llx, lies where the guest has no memory",
                (unsigned long long)vm->entry.rip);
}

/* A copy, since a file that is mapped can be cut under us. */
bool boot_load(struct vm *vm, struct failure *failure)
{
    struct boot_file file;
    uint8_t         *data;
    bool             loaded;

    if (vm->kernel.descriptor < 0)
        return fail(failure, WIRE_VALUE, "boot.kernel", "there is nothing to boot");
    if (!size_of(vm->kernel.descriptor, "boot.kernel", &file.size, failure))
        return false;
    if (file.size > vm->memory.size || file.size > KERNEL_MOST)
        return fail(failure, WIRE_VALUE, "boot.kernel",
                    file.size > KERNEL_MOST ? "its %llu bytes are no kernel's: 1 GiB is the most"
                                            : "its %llu bytes do not fit into the guest's memory",
                    (unsigned long long)file.size);
    data = mmap(NULL, file.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return fail(failure, WIRE_HOST, "boot.kernel", "no memory to read it: %s", strerror(errno));
    file.data = data;
    loaded = read_all(vm->kernel.descriptor, "boot.kernel", data, file.size, failure) && load(vm, &file, failure) &&
             check_entry(vm, failure) && acpi_write(vm, failure);
    boot_copy(vm, BOOT_GENERATION, vm->generation, sizeof(vm->generation));
    write_firmware(vm);
    munmap(data, file.size);
    return loaded;
}
