/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernels that say themselves where they lie: where they may, and what a multiboot kernel finds beside it. */
#include "boot/boot.h"
#include "unit.h"
#include <elf.h>
#include <sys/mman.h>

enum { MEMORY = 64 << 20, SIZE = 0x1000, PLACE = 0x200, MAGIC = 0x1badb002, ADDRESSES = 1 << 16 };

static struct vm      vm;
static struct failure failure;
static uint8_t        file[PLACE + SIZE];

/* --- a kernel's file, of which PLACE and what follows lies at an address --- */

static void make_elf64(uint64_t address)
{
    const Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB},
                               .e_machine = EM_X86_64,
                               .e_entry = address,
                               .e_phoff = sizeof(header),
                               .e_phentsize = sizeof(Elf64_Phdr),
                               .e_phnum = 1};
    const Elf64_Phdr segment = {
        .p_type = PT_LOAD, .p_offset = PLACE, .p_paddr = address, .p_filesz = 16, .p_memsz = SIZE};

    memcpy(file, &header, sizeof(header));
    memcpy(file + sizeof(header), &segment, sizeof(segment));
}

static void make_elf32(uint64_t address)
{
    const Elf32_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB},
                               .e_machine = EM_386,
                               .e_entry = (uint32_t)address,
                               .e_phoff = sizeof(header),
                               .e_phentsize = sizeof(Elf32_Phdr),
                               .e_phnum = 1};
    const Elf32_Phdr segment = {
        .p_type = PT_LOAD, .p_offset = PLACE, .p_paddr = (uint32_t)address, .p_filesz = SIZE, .p_memsz = SIZE};

    memcpy(file, &header, sizeof(header));
    memcpy(file + sizeof(header), &segment, sizeof(segment));
}

static void make_multiboot_elf(uint64_t address)
{
    const uint32_t header[] = {MAGIC, 0, 0U - MAGIC};

    make_elf32(address);
    memcpy(file + 0x100, header, sizeof(header));
}

static void make_multiboot(uint64_t address)
{
    const uint32_t at = (uint32_t)address;
    const uint32_t header[] = {MAGIC, ADDRESSES, 0U - MAGIC - ADDRESSES, at, at, 0, 0, at};

    memcpy(file + PLACE, header, sizeof(header));
}

static void (*const forms[])(uint64_t) = {make_elf64, make_elf32, make_multiboot_elf, make_multiboot};

static bool boot(void (*make)(uint64_t), uint64_t address)
{
    failure = (struct failure){0};
    memset(file, 0, sizeof(file));
    memset(file + PLACE, 0xf4, SIZE);
    make(address);
    ck_assert_int_eq(pwrite(vm.kernel.descriptor, file, sizeof(file), 0), sizeof(file));
    ck_assert(memory_clear(&vm.memory));
    return boot_load(&vm, &failure);
}

static int memory_file(const char *content)
{
    const int descriptor = memfd_create("file", MFD_CLOEXEC);

    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(write(descriptor, content, strlen(content)), strlen(content));
    return descriptor;
}

static void make_machine(void)
{
    ck_assert(vm_init(&vm, -1));
    ck_assert(vm_set_machine(&vm, MEMORY, 1, &failure));
    vm.kernel.descriptor = memory_file("");
}

/* --- tests --- */

START_TEST(a_kernel_lies_where_nothing_else_does)
{
    static const uint64_t free_places[] = {0xf000, 0x1f000, 0x40000, BOOT_EBDA - SIZE, 0x100000, MEMORY - SIZE};
    uint8_t               byte = 0;

    make_machine();
    for (guint form = 0; form < G_N_ELEMENTS(forms); form++) {
        for (guint i = 0; i < G_N_ELEMENTS(free_places); i++) {
            ck_assert_msg(boot(forms[form], free_places[i]), "%u: %s", form, failure.message);
            ck_assert_uint_eq(vm.entry.rip, free_places[i]);
            ck_assert(memory_read(&vm.memory, free_places[i] + (form == 0 ? 15 : SIZE - 1), &byte, 1));
            ck_assert_uint_eq(byte, 0xf4);
        }
    }
}
END_TEST

/* It would be overwritten by what it is told. */
START_TEST(a_place_that_is_taken_is_refused)
{
    static const struct {
        uint64_t    address;
        const char *said;
    } taken[] = {{0, "the first CPU"},          {0x6000, "the first CPU"},        {0xe000, "the first CPU"},
                 {0xefff, "the first CPU"},     {0x1f001, "the command line"},    {0x20000, "the command line"},
                 {0x21000, "the command line"}, {BOOT_EBDA - 1, "ACPI's tables"}, {0xdf000, "ACPI's tables"},
                 {0xe0000, "ACPI's tables"},    {0xff001, "ACPI's tables"}};

    make_machine();
    for (guint form = 0; form < G_N_ELEMENTS(forms); form++) {
        for (guint i = 0; i < G_N_ELEMENTS(taken); i++) {
            g_autofree char *address = g_strdup_printf("at %#" G_GINT64_MODIFIER "x,", taken[i].address);

            if (taken[i].address == 0)
                g_strlcpy(address, "at 0,", strlen(address) + 1);
            ck_assert(!boot(forms[form], taken[i].address));
            ck_assert_int_eq(failure.code, WIRE_VALUE);
            ck_assert_str_eq(failure.property, "boot.kernel");
            ck_assert_msg(strstr(failure.message, address) && strstr(failure.message, taken[i].said), "%s",
                          failure.message);
        }
    }
}
END_TEST

static void expect_text(uint32_t address, const char *text)
{
    char found[64] = "";

    ck_assert(memory_read(&vm.memory, address, found, strlen(text) + 1));
    ck_assert_str_eq(found, text);
}

START_TEST(a_multiboot_kernel_finds_its_modules)
{
    static const char *const contents[] = {"the first", "another one", "3"};
    struct {
        uint32_t flags, lower, upper, boot_device, cmdline, module_count, modules;
    } found;
    struct {
        uint32_t start, end, cmdline, reserved;
    } modules[G_N_ELEMENTS(contents)];

    make_machine();
    g_strlcpy(vm.kernel.cmdline, "kernel a=1", sizeof(vm.kernel.cmdline));
    vm.module_count = G_N_ELEMENTS(contents);
    for (guint i = 0; i < vm.module_count; i++) {
        vm.modules[i].descriptor = memory_file(contents[i]);
        g_snprintf(vm.modules[i].cmdline, sizeof(vm.modules[i].cmdline), "module %u", i);
    }
    for (guint form = 2; form < G_N_ELEMENTS(forms); form++) {
        ck_assert_msg(boot(forms[form], 0x100000), "%s", failure.message);
        ck_assert_uint_eq(vm.entry.rax, 0x2badb002);
        ck_assert_int_eq(vm.entry.mode, WIRE_MODE_PROTECTED);
        ck_assert(memory_read(&vm.memory, vm.entry.rbx, &found, sizeof(found)));
        ck_assert_uint_eq(found.flags & 0xf, 1 << 0 | 1 << 2 | 1 << 3);
        ck_assert_uint_eq(found.upper, (MEMORY >> 10) - 1024);
        expect_text(found.cmdline, "kernel a=1");
        ck_assert_uint_eq(found.module_count, G_N_ELEMENTS(contents));
        ck_assert(memory_read(&vm.memory, found.modules, modules, sizeof(modules)));
        for (guint i = 0; i < G_N_ELEMENTS(contents); i++) {
            g_autofree char *cmdline = g_strdup_printf("module %u", i);

            ck_assert_uint_eq(modules[i].end - modules[i].start, strlen(contents[i]));
            ck_assert_uint_eq(modules[i].start % 4096, 0);
            expect_text(modules[i].start, contents[i]);
            expect_text(modules[i].cmdline, cmdline);
        }
    }
}
END_TEST

/* A file with a hole of a hundred gigabytes is no kernel, however much memory the guest has. */
START_TEST(a_file_that_is_too_large_for_a_kernel_is_not_read)
{
    make_machine();
    vm.memory.size = UINT64_C(128) << 30;
    ck_assert_int_eq(ftruncate(vm.kernel.descriptor, INT64_C(100) << 30), 0);
    ck_assert(!boot_load(&vm, &failure));
    ck_assert_str_eq(failure.property, "boot.kernel");
    ck_assert_ptr_nonnull(strstr(failure.message, "1 GiB is the most"));
}
END_TEST

UNIT_RUN("places", a_kernel_lies_where_nothing_else_does, a_place_that_is_taken_is_refused,
         a_multiboot_kernel_finds_its_modules, a_file_that_is_too_large_for_a_kernel_is_not_read)
