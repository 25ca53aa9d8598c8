/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Linux kernels that are unpacked before they are entered: where they lie then, and what is wrong with others. */
#include "boot/boot.h"
#include "unit.h"
#include <asm/bootparam.h>
#include <elf.h>
#include <lz4.h>
#include <sys/mman.h>
#include <zstd.h>

enum {
    MEMORY = 256 << 20,
    HEADER = 0x1f1,
    LINKED = 16 << 20,
    ALIGNMENT = 2 << 20,
    INIT_SIZE = 4 << 20,
    ENTRY = 0x100,
    WIDE = 0x1000,
    INVERSE = 0x1100,
    NARROW = 0x1200,
    SEGMENT = 0x2000,
    ELF_SIZE = 0x1000 + SEGMENT,
    STUB = 0xcc
};
#define KERNEL_MAP UINT64_C(0xffffffff80000000)

static struct vm      vm;
static struct failure failure;

/* --- a kernel's file --- */

static GByteArray *elf_file(void)
{
    GByteArray      *file = g_byte_array_new();
    const Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB},
                               .e_machine = EM_X86_64,
                               .e_entry = LINKED + ENTRY,
                               .e_phoff = sizeof(header),
                               .e_phentsize = sizeof(Elf64_Phdr),
                               .e_phnum = 1,
                               .e_shoff = ELF_SIZE};
    const Elf64_Phdr segment = {
        .p_type = PT_LOAD, .p_offset = 0x1000, .p_paddr = LINKED, .p_filesz = SEGMENT, .p_memsz = SEGMENT + 0x1000};
    const uint64_t wide = KERNEL_MAP + LINKED;
    const uint32_t inverse = 0x1000000, narrow = (uint32_t)wide;

    g_byte_array_set_size(file, ELF_SIZE);
    memset(file->data, 0xf4, ELF_SIZE);
    memcpy(file->data, &header, sizeof(header));
    memcpy(file->data + header.e_phoff, &segment, sizeof(segment));
    memcpy(file->data + segment.p_offset + WIDE, &wide, sizeof(wide));
    memcpy(file->data + segment.p_offset + INVERSE, &inverse, sizeof(inverse));
    memcpy(file->data + segment.p_offset + NARROW, &narrow, sizeof(narrow));
    return file;
}

static void add_relocation(GByteArray *file, uint64_t offset)
{
    const uint32_t word = offset ? (uint32_t)(KERNEL_MAP + LINKED + offset) : 0;

    g_byte_array_append(file, (const guint8 *)&word, sizeof(word));
}

static GByteArray *relocatable_file(void)
{
    GByteArray *file = elf_file();

    add_relocation(file, 0);
    add_relocation(file, WIDE);
    add_relocation(file, 0);
    add_relocation(file, INVERSE);
    add_relocation(file, 0);
    add_relocation(file, NARROW);
    return file;
}

/* As kernels since 6.15 have it. */
static GByteArray *newer_file(void)
{
    GByteArray *file = elf_file();

    add_relocation(file, 0);
    add_relocation(file, WIDE);
    add_relocation(file, 0);
    add_relocation(file, NARROW);
    return file;
}

static void append_word(GByteArray *file, uint32_t word)
{
    g_byte_array_append(file, (const guint8 *)&word, sizeof(word));
}

/* In two frames, the first of two blocks. */
static GByteArray *pack_lz4(const GByteArray *file)
{
    static const guint cuts[] = {0, 1000, 2000};
    GByteArray        *packed = g_byte_array_new();

    for (guint i = 0; i < G_N_ELEMENTS(cuts); i++) {
        const guint end = i + 1 < G_N_ELEMENTS(cuts) ? cuts[i + 1] : file->len;
        char        block[LZ4_COMPRESSBOUND(ELF_SIZE)];
        const int   length =
            LZ4_compress_default((const char *)file->data + cuts[i], block, (int)(end - cuts[i]), sizeof(block));

        ck_assert_int_gt(length, 0);
        if (i != 1)
            append_word(packed, 0x184c2102);
        append_word(packed, (uint32_t)length);
        g_byte_array_append(packed, (const guint8 *)block, (guint)length);
    }
    append_word(packed, file->len);
    return packed;
}

static GByteArray *pack_zstd(const GByteArray *file)
{
    GByteArray *packed = g_byte_array_new();

    g_byte_array_set_size(packed, (guint)ZSTD_compressBound(file->len));
    g_byte_array_set_size(
        packed, (guint)ZSTD_compress(packed->data, packed->len, file->data, file->len, ZSTD_CLEVEL_DEFAULT));
    append_word(packed, file->len);
    return packed;
}

/* --- booting it --- */

/* A bzImage, whose own code is recognized by its bytes. */
static bool boot(const GByteArray *payload, const char *cmdline)
{
    struct setup_header header = {.setup_sects = 1,
                                  .syssize = 64,
                                  .header = 0x53726448,
                                  .version = 0x020f,
                                  .kernel_alignment = ALIGNMENT,
                                  .xloadflags = XLF_KERNEL_64,
                                  .pref_address = LINKED,
                                  .init_size = INIT_SIZE,
                                  .initrd_addr_max = 0x7fffffff,
                                  .payload_offset = 1024,
                                  .payload_length = payload->len};
    uint8_t             image[1024 + 1024];

    failure = (struct failure){0};
    memset(image, STUB, sizeof(image));
    memcpy(image + HEADER, &header, sizeof(header));
    ck_assert_int_eq(ftruncate(vm.kernel.descriptor, 0), 0);
    ck_assert_int_eq(pwrite(vm.kernel.descriptor, image, sizeof(image), 0), sizeof(image));
    ck_assert_int_eq(pwrite(vm.kernel.descriptor, payload->data, payload->len, sizeof(image)), payload->len);
    g_strlcpy(vm.kernel.cmdline, cmdline, sizeof(vm.kernel.cmdline));
    ck_assert(memory_clear(&vm.memory));
    return boot_load(&vm, &failure);
}

static void make_machine(void)
{
    ck_assert(vm_init(&vm, -1));
    ck_assert(vm_set_machine(&vm, MEMORY, 1, &failure));
    vm.kernel.descriptor = memfd_create("kernel", MFD_CLOEXEC);
    ck_assert_int_ge(vm.kernel.descriptor, 0);
}

static uint64_t load(uint64_t address, size_t size)
{
    uint64_t value = 0;

    ck_assert(memory_read(&vm.memory, address, &value, size));
    return value;
}

static bool is_random(void)
{
    struct boot_params parameters;

    ck_assert(memory_read(&vm.memory, BOOT_PARAMETERS, &parameters, sizeof(parameters)));
    return parameters.hdr.loadflags & KASLR_FLAG;
}

static void expect_linked_place(void)
{
    ck_assert_uint_eq(vm.entry.rip, LINKED + ENTRY);
    ck_assert_int_eq(vm.entry.mode, WIRE_MODE_LONG);
    ck_assert_uint_eq(vm.entry.rsi, BOOT_PARAMETERS);
    ck_assert_uint_eq(load(LINKED, 1), 0xf4);
    ck_assert_uint_eq(load(LINKED + WIDE, 8), KERNEL_MAP + LINKED);
    ck_assert(!is_random());
}

static void expect_stub(void)
{
    ck_assert_uint_eq(load(vm.entry.rip, 1), STUB);
    ck_assert(!is_random());
}

static void expect_refusal(const GByteArray *payload, const char *property, const char *part)
{
    ck_assert(!boot(payload, ""));
    ck_assert_str_eq(failure.property, property);
    ck_assert_msg(strstr(failure.message, part) != NULL, "\"%s\" does not say \"%s\"", failure.message, part);
}

/* --- tests --- */

START_TEST(it_is_entered_where_it_was_linked)
{
    static GByteArray *(*const pack[])(const GByteArray *) = {pack_lz4, pack_zstd};
    g_autoptr(GByteArray) plain = elf_file(), relocatable = relocatable_file();

    make_machine();
    for (guint i = 0; i < G_N_ELEMENTS(pack); i++) {
        g_autoptr(GByteArray) fixed = pack[i](plain), told = pack[i](relocatable);

        ck_assert_msg(boot(fixed, "quiet"), "%s", failure.message);
        expect_linked_place();
        ck_assert_msg(boot(told, "quiet nokaslr"), "%s", failure.message);
        expect_linked_place();
    }
}
END_TEST

/* Its place in memory and the one that it believes in differ, as its own code would have it. */
static void expect_random(bool has_inverse)
{
    const uint64_t place = vm.entry.rip - ENTRY;
    const uint64_t distance = load(place + WIDE, 8) - KERNEL_MAP - LINKED;

    ck_assert(is_random());
    ck_assert_uint_eq(place % ALIGNMENT, 0);
    ck_assert(place >= LINKED && place + INIT_SIZE <= MEMORY);
    ck_assert_uint_eq(distance % ALIGNMENT, 0);
    ck_assert_uint_le(LINKED + distance + INIT_SIZE, 1 << 30);
    ck_assert_uint_eq(load(place + NARROW, 4), (uint32_t)(KERNEL_MAP + LINKED + distance));
    ck_assert_uint_eq(load(place + INVERSE, 4), (uint32_t)(0x1000000 - (has_inverse ? distance : 0)));
    ck_assert_uint_eq(load(place, 1), 0xf4);
}

START_TEST(it_lies_elsewhere_each_time)
{
    g_autoptr(GByteArray) file = relocatable_file(), newer = newer_file();
    g_autoptr(GByteArray) packed = pack_lz4(file), other = pack_zstd(newer);
    g_autoptr(GHashTable) places = g_hash_table_new(NULL, NULL), distances = g_hash_table_new(NULL, NULL);

    make_machine();
    for (guint i = 0; i < 20; i++) {
        ck_assert_msg(boot(i % 2 ? packed : other, "quiet not=nokaslr nokaslrx"), "%s", failure.message);
        expect_random(i % 2);
        g_hash_table_add(places, GSIZE_TO_POINTER(vm.entry.rip));
        g_hash_table_add(distances, GSIZE_TO_POINTER(load(vm.entry.rip - ENTRY + WIDE, 8)));
    }
    /* That all are the same happens once in 100^19 times. */
    ck_assert_uint_gt(g_hash_table_size(places), 1);
    ck_assert_uint_gt(g_hash_table_size(distances), 1);
}
END_TEST

START_TEST(memory_that_is_told_keeps_its_place)
{
    g_autoptr(GByteArray) file = relocatable_file();
    g_autoptr(GByteArray) packed = pack_lz4(file);

    make_machine();
    for (guint i = 0; i < 10; i++) {
        ck_assert(boot(packed, i % 2 ? "mem=64M" : "quiet memmap=1M$64M"));
        ck_assert_uint_eq(vm.entry.rip, LINKED + ENTRY);
        expect_random(true);
    }
}
END_TEST

START_TEST(its_own_code_unpacks_what_is_not_known)
{
    g_autoptr(GByteArray) gzip = g_byte_array_new(), odd = elf_file(), text = g_byte_array_new();

    make_machine();
    g_byte_array_append(gzip, (const guint8 *)"\x1f\x8b\x08 and so on", 14);
    ck_assert_msg(boot(gzip, ""), "%s", failure.message);
    expect_stub();
    /* A table of one list. */
    add_relocation(odd, 0);
    add_relocation(odd, WIDE);
    g_autoptr(GByteArray) packed = pack_lz4(odd);
    ck_assert_msg(boot(packed, ""), "%s", failure.message);
    expect_stub();
    g_byte_array_set_size(text, 3000);
    memset(text->data, 'x', 3000);
    g_autoptr(GByteArray) strange = pack_zstd(text);
    ck_assert_msg(boot(strange, ""), "%s", failure.message);
    expect_stub();
    /* Too short to hold anything. */
    for (guint length = 7; length > 3; length--) {
        g_byte_array_set_size(packed, length);
        ck_assert_msg(boot(packed, ""), "%s", failure.message);
        expect_stub();
    }
}
END_TEST

START_TEST(damage_is_told)
{
    static GByteArray *(*const pack[])(const GByteArray *) = {pack_lz4, pack_zstd};
    g_autoptr(GByteArray) file = relocatable_file();

    make_machine();
    for (guint i = 0; i < G_N_ELEMENTS(pack); i++) {
        g_autoptr(GByteArray) packed = pack[i](file);
        guint8 *const size = packed->data + packed->len - 4;

        for (uint32_t lie = 0; lie < 3; lie++) {
            const uint32_t sizes[] = {0, file->len - 1, file->len + 1};

            memcpy(size, &sizes[lie], 4);
            expect_refusal(packed, "boot.kernel", "damaged");
        }
        memset(size, 0xff, 4);
        expect_refusal(packed, "memory.size", "unpacks to 4294967295 bytes");
        /* The bytes before the end are no size now, but whatever they say, it is wrong. */
        for (guint length = packed->len - 1; length >= 8; length = length * 2 / 3) {
            g_byte_array_set_size(packed, length);
            ck_assert(!boot(packed, "") && failure.message[0]);
        }
    }
}
END_TEST

START_TEST(a_table_may_lie)
{
    static const uint64_t outside[] = {INIT_SIZE, INIT_SIZE - 4, UINT64_C(0x7f000000) - LINKED,
                                       UINT64_MAX - LINKED + 1 - 0x1000};

    make_machine();
    for (guint i = 0; i < G_N_ELEMENTS(outside); i++) {
        g_autoptr(GByteArray) file = elf_file();

        add_relocation(file, 0);
        add_relocation(file, outside[i]);
        add_relocation(file, 0);
        add_relocation(file, 0);
        g_autoptr(GByteArray) packed = pack_lz4(file);
        expect_refusal(packed, "boot.kernel", "relocations");
        ck_assert_msg(boot(packed, "nokaslr"), "%s", failure.message);
    }
}
END_TEST

UNIT_RUN("kernel", it_is_entered_where_it_was_linked, it_lies_elsewhere_each_time,
         memory_that_is_told_keeps_its_place, its_own_code_unpacks_what_is_not_known, damage_is_told, a_table_may_lie)
