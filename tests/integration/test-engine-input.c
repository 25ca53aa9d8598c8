/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernels, initrds, sizes and hosts that are wrong: each is told what of it, and nothing is left behind. */
#include "engine.h"

#include <elf.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEADER = 0x1f1 }; /* where the header of a Linux kernel begins */

/* --- files --- */

static char *write_file(const char *name, const void *data, gsize length)
{
    char *path = g_build_filename(engine_directory(), name, NULL);

    g_mkdir_with_parents(engine_directory(), 0755);
    ck_assert(g_file_set_contents(path, data, (gssize)length, NULL));
    return path;
}

static void read_guest(char **data, gsize *length)
{
    ck_assert(g_file_get_contents(SMALL_GUEST, data, length, NULL));
}

/* A Linux kernel as far as its header: the protocol's version 2.15, of 64 bits. */
static GByteArray *linux_kernel(void)
{
    GByteArray   *image = g_byte_array_new();
    const guint32 size = 64 * 1024, init_size = 1 << 20, paragraphs = 63 * 1024 / 16;

    g_byte_array_set_size(image, size);
    memset(image->data, 0xf4, size); /* hlt */
    memset(image->data, 0, 1024);
    image->data[HEADER] = 1; /* one sector of setup beside the first */
    memcpy(image->data + 0x1f4, &paragraphs, 4);
    image->data[0x1fe] = 0x55;
    image->data[0x1ff] = 0xaa;
    memcpy(image->data + 0x202, "HdrS\x0f\x02", 6);
    image->data[0x211] = 1;    /* loaded high */
    image->data[0x236] = 0x03; /* it has a 64-bit entry, and may be above 4 GiB */
    memset(image->data + 0x22c, 0x7f, 4);
    memcpy(image->data + 0x260, &init_size, 4);
    return image;
}

/* --- trying --- */

static guint host_files(void)
{
    g_autofree char *names = g_build_filename(engine_directory(), "names", NULL);
    g_autofree char *vms = g_build_filename(engine_directory(), "vms", NULL);
    const char      *directories[] = {names, vms};
    guint            count = 0;

    for (guint i = 0; i < G_N_ELEMENTS(directories); i++) {
        g_autoptr(GDir) directory = g_dir_open(directories[i], 0, NULL);

        while (directory && g_dir_read_name(directory))
            count++;
    }
    return count;
}

static void expect_nothing_left(vmh_host *host)
{
    const int64_t end = test_now_ms() + 20000;

    ck_assert_uint_eq(vmh_host_list_vms(host, NULL), 0);
    ck_assert_uint_eq(host_files(), 0);
    while (engine_processes() && test_now_ms() < end)
        g_usleep(5000);
    ck_assert_uint_eq(engine_processes(), 0);
}

/* Starting it fails with this code about this property. */
static void expect_refusal(vmh_host *host, const vmh_spec *spec, int32_t code, const char *property, const char *what)
{
    g_autoptr(vmh_error) error = NULL;
    const int32_t got = vmh_job_finish(vmh_host_create_vm(host, spec, VMH_CREATE_START, &error), PATIENCE_MS, &error);

    ck_assert_msg(got == code, "%s: %s instead of %s: %s", what, got ? vmh_error_name(got) : "success",
                  vmh_error_name(code), vmh_error_message(error));
    ck_assert_msg(g_strcmp0(vmh_error_property(error), property) == 0, "%s: about %s, not %s: %s", what,
                  vmh_error_property(error), property, vmh_error_message(error));
    expect_nothing_left(host);
}

static void expect_bad_kernel(vmh_host *host, const void *data, gsize length, const char *what)
{
    g_autofree char *path = write_file("kernel", data, length);
    g_autoptr(vmh_spec) spec = engine_spec("bad", NULL);

    vmh_spec_set_str(spec, "boot.kernel", path, NULL);
    expect_refusal(host, spec, VMH_ERR_VALUE, "boot.kernel", what);
}

/* --- kernels --- */

START_TEST(no_kernel_is_too_short)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autofree char *guest = NULL;
    gsize            length;

    read_guest(&guest, &length);
    expect_bad_kernel(host, "", 0, "an empty file");
    expect_bad_kernel(host, "\x7f", 1, "one byte");
    for (gsize cut = 2; cut < length; cut = cut * 3 / 2 + 1) {
        g_autofree char *what =
            g_strdup_printf("%" G_GSIZE_FORMAT " of %" G_GSIZE_FORMAT " bytes of ELF", cut, length);
        const Elf64_Ehdr *header = (const Elf64_Ehdr *)guest;
        const Elf64_Phdr *segment = (const Elf64_Phdr *)(guest + header->e_phoff);

        /* What comes after what is loaded is not missed. */
        if (cut < segment->p_offset + segment->p_filesz)
            expect_bad_kernel(host, guest, cut, what);
    }
}
END_TEST

START_TEST(no_linux_kernel_is_too_short)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(GByteArray) image = linux_kernel();

    for (gsize cut = 1; cut < image->len; cut = cut * 3 / 2 + 1) {
        g_autofree char *what = g_strdup_printf("%" G_GSIZE_FORMAT " of %u bytes of bzImage", cut, image->len);
        expect_bad_kernel(host, image->data, cut, what);
    }
    expect_bad_kernel(host, image->data, image->len - 1, "all but one byte of bzImage");
}
END_TEST

START_TEST(elf_headers_may_lie)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autofree char *guest = NULL;
    gsize            length;

    read_guest(&guest, &length);
    Elf64_Ehdr      *header = (Elf64_Ehdr *)guest;
    Elf64_Phdr      *segment = (Elf64_Phdr *)(guest + header->e_phoff);
    Elf64_Phdr      *note = segment;
    const Elf64_Ehdr right = *header;
    const Elf64_Phdr right_segment = *segment;

    while (note->p_type != PT_NOTE)
        note++;

#define LIE(where, value)                                                                                            \
    do {                                                                                                             \
        (where) = (value);                                                                                           \
        expect_bad_kernel(host, guest, length, #where " = " #value);                                                 \
        *header = right;                                                                                             \
        *segment = right_segment;                                                                                    \
    } while (0)

    LIE(header->e_machine, EM_AARCH64);
    LIE(header->e_ident[EI_DATA], ELFDATA2MSB);
    LIE(header->e_phoff, UINT64_MAX);
    LIE(header->e_phoff, length - 1);
    LIE(header->e_phnum, UINT16_MAX);
    LIE(header->e_phnum, 0);
    LIE(header->e_phentsize, 1);
    LIE(header->e_phentsize, UINT16_MAX);
    LIE(segment->p_offset, UINT64_MAX);
    LIE(segment->p_filesz, UINT64_MAX);
    LIE(segment->p_filesz, segment->p_memsz + 1);
    LIE(segment->p_type, PT_NULL);
    /* By its note, whose value follows a header and a name, and then without that by the file's own entry point. */
    LIE(*(uint32_t *)(guest + note->p_offset + sizeof(Elf64_Nhdr) + 4), UINT32_MAX);
    note->p_type = PT_NULL;
    LIE(header->e_entry, UINT64_MAX);
    LIE(header->e_entry, UINT64_C(1) << 40);
#undef LIE
}
END_TEST

/* Where the guest has no memory, more of it would help. */
START_TEST(a_kernel_may_want_more_memory)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = engine_spec("large", NULL);
    g_autoptr(GByteArray) image = linux_kernel();
    g_autofree char *guest = NULL, *path = NULL;
    const guint32    init_size = G_MAXUINT32;
    gsize            length;

    read_guest(&guest, &length);
    Elf64_Phdr *segment = (Elf64_Phdr *)(guest + ((Elf64_Ehdr *)guest)->e_phoff);
    segment->p_memsz = UINT64_C(1) << 40;
    path = write_file("kernel", guest, length);
    vmh_spec_set_str(spec, "boot.kernel", path, NULL);
    expect_refusal(host, spec, VMH_ERR_VALUE, "memory.size", "a segment of 1 TiB");
    memcpy(image->data + 0x260, &init_size, 4);
    g_free(write_file("kernel", image->data, image->len));
    expect_refusal(host, spec, VMH_ERR_VALUE, "memory.size", "a kernel of 4 GiB");
}
END_TEST

START_TEST(a_kernel_is_a_file)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autofree char *pipe = g_build_filename(engine_directory(), "pipe", NULL);
    const struct {
        const char *path;
        int32_t     code;
    } wrong[] = {
        {pipe, VMH_ERR_VALUE},
        {engine_directory(), VMH_ERR_VALUE},
        {"/dev/zero", VMH_ERR_VALUE},
        {"/nonexistent/vmlinuz", VMH_ERR_NOT_FOUND},
    };
    const char *const properties[] = {"boot.kernel", "boot.initrd"};

    ck_assert_int_eq(mkfifo(pipe, 0600), 0);
    for (guint i = 0; i < G_N_ELEMENTS(wrong) * 2; i++) {
        g_autoptr(vmh_spec) spec = engine_spec("file", NULL);
        g_autoptr(vmh_error) error = NULL;
        const char *property = properties[i % 2];

        vmh_spec_set_str(spec, property, wrong[i / 2].path, NULL);
        expect_refusal(host, spec, wrong[i / 2].code, property, wrong[i / 2].path);
        /* This is known beforehand. */
        assert_fails(vmh_host_create_vm(host, spec, VMH_CREATE_START | VMH_CREATE_VALIDATE_ONLY, &error),
                     wrong[i / 2].code);
    }
}
END_TEST

START_TEST(an_initrd_fits)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = engine_spec("initrd", NULL);
    g_autofree char *path = write_file("initrd", "", 0);

    vmh_spec_set_str(spec, "boot.initrd", path, NULL);
    expect_refusal(host, spec, VMH_ERR_VALUE, "boot.initrd", "an empty initrd");
    ck_assert_int_eq(truncate(path, 33 << 20), 0);
    expect_refusal(host, spec, VMH_ERR_VALUE, "boot.initrd", "33 MiB of initrd in 32 MiB");
    ck_assert_int_eq(truncate(path, INT64_C(1) << 42), 0);
    expect_refusal(host, spec, VMH_ERR_VALUE, "boot.initrd", "4 TiB of initrd");
}
END_TEST

START_TEST(a_flat_binary_lies_where_it_may)
{
    static const struct {
        const char *format, *mode, *address, *property;
    } wrong[] = {
        {"auto", "long", NULL, "boot.mode"},         {"auto", NULL, "1MiB", "boot.address"},
        {"flat", "long", "0", "boot.address"},       {"flat", "long", "59KiB", "boot.address"},
        {"flat", "user", "32KiB", "boot.address"},   {"flat", "long", "129KiB", "boot.address"},
        {"flat", "long", "1000KiB", "boot.address"}, {"flat", "long", "32764KiB", "boot.address"},
        {"flat", "long", "3GiB", "boot.address"},    {"flat", "long", "4GiB", "boot.address"},
        {"flat", "real", "24KiB", "boot.address"},   {"flat", "real", "638KiB", "boot.address"},
        {"flat", "real", NULL, "boot.address"},      {"flat", "real", "16MiB", "boot.address"},
    };
    static const char guest[8192] = {(char)0xf4};
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autofree char *path = write_file("flat", guest, sizeof guest);

    for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(vmh_spec) spec = engine_spec("flat", NULL);
        g_autofree char *what = g_strdup_printf("%s, %s at %s", wrong[i].format, wrong[i].mode, wrong[i].address);

        vmh_spec_set_str(spec, "boot.kernel", path, NULL);
        ck_assert_int_eq(vmh_spec_set(spec, "boot.format", wrong[i].format, NULL), 0);
        if (wrong[i].mode)
            ck_assert_int_eq(vmh_spec_set(spec, "boot.mode", wrong[i].mode, NULL), 0);
        if (wrong[i].address)
            ck_assert_int_eq(vmh_spec_set(spec, "boot.address", wrong[i].address, NULL), 0);
        expect_refusal(host, spec, VMH_ERR_VALUE, wrong[i].property, what);
    }
}
END_TEST

/* --- sizes --- */

static const struct {
    const char *property;
    uint64_t    value;
} wrong_sizes[] = {
    {"cpu.count", 65},
    {"cpu.count", 4096},
    {"memory.size", (64 << 20) + 1},
    {"memory.size", (64 << 20) + 2048},
    {"memory.size", UINT64_C(513) << 30},
    {"memory.size", UINT64_C(64) << 40},
};

START_TEST(sizes_have_limits)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_error) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(wrong_sizes); i++) {
        g_autoptr(vmh_spec) spec = engine_spec("size", NULL);

        ck_assert_int_eq(vmh_spec_set_u64(spec, wrong_sizes[i].property, wrong_sizes[i].value, &error), 0);
        expect_refusal(host, spec, VMH_ERR_VALUE, wrong_sizes[i].property, wrong_sizes[i].property);
        assert_fails(vmh_host_create_vm(host, spec, VMH_CREATE_VALIDATE_ONLY, &error), VMH_ERR_VALUE);
        assert_fails(vmh_host_create_vm(host, spec, 0, &error), VMH_ERR_VALUE);
    }
}
END_TEST

START_TEST(sizes_reach_their_limits)
{
    static const struct {
        const char *property;
        const char *value;
    } right[] = {{"memory.size", "2MiB"},
                 {"memory.size", "3GiB"},
                 {"memory.size", "5GiB"},
                 {"memory.size", "512GiB"},
                 {"cpu.count", "64"}};
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_error) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(right); i++) {
        g_autoptr(vmh_spec) spec = engine_spec("right", NULL);

        vmh_spec_set(spec, right[i].property, right[i].value, &error);
        assert_no_error();
        vmh_vm   *vm = create(host, spec, VMH_CREATE_START);
        const int console = vmh_vm_console(vm, NULL, 0, &error);
        g_autoptr(GString) seen = g_string_new(NULL);
        ck_assert_msg(test_wait_console(console, seen, "ready", PATIENCE_MS), "%s", right[i].value);
        close(console);
        assert_ok(vmh_vm_delete(vm, VMH_DELETE_FORCE, &error));
        vmh_vm_unref(vm);
    }
}
END_TEST

static const struct {
    const char *properties;
    int32_t     code;
    const char *property; /* that is told, or NULL: it starts */
} topologies[] = {
    {"cpu.count=4 cpu.sockets=2", 0, NULL},
    {"cpu.count=6 cpu.sockets=2 cpu.cores=3 cpu.threads=1", 0, NULL},
    {"cpu.count=6 cpu.max=6 cpu.threads=2 cpu.model=host", 0, NULL},
    {"cpu.count=4 cpu.sockets=3", VMH_ERR_VALUE, "cpu.sockets"},
    {"cpu.count=4 cpu.cores=8", VMH_ERR_VALUE, "cpu.cores"},
    {"cpu.threads=2", VMH_ERR_VALUE, "cpu.threads"},
    {"cpu.count=4 cpu.sockets=4096 cpu.cores=4096 cpu.threads=64", VMH_ERR_VALUE, "cpu.sockets"},
    {"cpu.count=4 cpu.sockets=2 cpu.cores=2 cpu.threads=2", VMH_ERR_VALUE, "cpu.sockets"},
    {"cpu.count=2 cpu.max=4", VMH_ERR_UNSUPPORTED, "cpu.max"},
    {"cpu.count=4 cpu.max=2", VMH_ERR_VALUE, "cpu.max"},
    {"cpu.model=EPYC", VMH_ERR_UNSUPPORTED, "cpu.model"},
    {"cpu.model=max", VMH_ERR_UNSUPPORTED, "cpu.model"},
};

START_TEST(topologies_multiply)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_error) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(topologies); i++) {
        g_autoptr(vmh_spec) spec = engine_spec("topology", NULL);
        g_auto(GStrv) pairs = g_strsplit(topologies[i].properties, " ", 0);

        for (guint j = 0; pairs[j]; j++) {
            g_auto(GStrv) pair = g_strsplit(pairs[j], "=", 2);

            ck_assert_int_eq(vmh_spec_set(spec, pair[0], pair[1], &error), 0);
        }
        if (topologies[i].property) {
            expect_refusal(host, spec, topologies[i].code, topologies[i].property, topologies[i].properties);
            continue;
        }
        vmh_vm *vm = create(host, spec, VMH_CREATE_START);
        assert_ok(vmh_vm_delete(vm, VMH_DELETE_FORCE, &error));
        vmh_vm_unref(vm);
    }
}
END_TEST

/* What is kept stays as it was, and the verdict says why. */
START_TEST(a_change_may_contradict_what_is_kept)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = engine_spec("kept", NULL);
    g_autoptr(vmh_spec) update = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_job) job = NULL;

    vmh_spec_set(spec, "cpu.count", "4", &error);
    vmh_spec_set(spec, "cpu.max", "4", &error);
    vmh_spec_set(spec, "cpu.sockets", "2", &error);
    vmh_vm *vm = create(host, spec, 0);
    vmh_spec_set(update, "cpu.count", "6", &error);
    assert_ok(vmh_vm_update(vm, update, 0, 0, &error)); /* and cpu.max with it */
    vmh_spec_set(update, "cpu.count", "5", &error);
    job = vmh_vm_update(vm, update, VMH_UPDATE_DRY_RUN, 0, &error);
    ck_assert_int_eq(vmh_job_wait(job, PATIENCE_MS, &error), VMH_ERR_VALUE);
    ck_assert_str_eq(vmh_error_property(error), "cpu.sockets");
    ck_assert_int_eq(vmh_job_verdict(job, 0), VMH_VERDICT_REFUSED);
    g_clear_pointer(&error, vmh_error_free);
    g_autoptr(vmh_spec) now = vmh_vm_describe(vm, 0, &error);
    g_autofree char *count = test_text(now, "cpu.count"), *most = test_text(now, "cpu.max");
    ck_assert_str_eq(count, "6");
    ck_assert_str_eq(most, "6");
    assert_ok(vmh_vm_delete(vm, 0, &error));
    vmh_vm_unref(vm);
}
END_TEST

/* --- hosts --- */

/* Runs in mounts of this process's own. */
static void put_over_kvm(const char *path)
{
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount(path, "/dev/kvm", NULL, MS_BIND, NULL), 0);
}

static void expect_no_kvm(int32_t code, const char *kind)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = engine_spec("nowhere", NULL);
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_spec) description = NULL;

    ck_assert_int_eq(vmh_job_finish(vmh_host_create_vm(host, spec, VMH_CREATE_START, &error), PATIENCE_MS, &error),
                     code);
    ck_assert_msg(strstr(vmh_error_message(error), "/dev/kvm"), "%s", vmh_error_message(error));
    g_clear_pointer(&error, vmh_error_free);
    expect_nothing_left(host);
    description = vmh_host_describe(host, &error);
    assert_no_error();
    g_autofree char *told = test_text(description, "accelerator.kind");
    ck_assert_str_eq(told, kind);
}

START_TEST(a_host_may_lack_kvm)
{
    if (geteuid() != 0)
        return;
    put_over_kvm("/dev/null");
    expect_no_kvm(VMH_ERR_UNSUPPORTED, "none");
}
END_TEST

/* As those of another user, who might not be let into the directory that this tree is in. */
static void lose_rights(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct   none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    ck_assert_int_eq(syscall(SYS_capset, &header, none), 0);
}

START_TEST(a_user_may_lack_the_right)
{
    g_autofree char *path = NULL;

    if (geteuid() != 0)
        return;
    path = write_file("closed", "", 0);
    ck_assert_int_eq(g_chmod(path, 0), 0);
    put_over_kvm(path);
    lose_rights();
    expect_no_kvm(VMH_ERR_PERMISSION, "none");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        no_kernel_is_too_short,
        no_linux_kernel_is_too_short,
        elf_headers_may_lie,
        a_kernel_may_want_more_memory,
        a_kernel_is_a_file,
        an_initrd_fits,
        sizes_have_limits,
        sizes_reach_their_limits,
        topologies_multiply,
        a_change_may_contradict_what_is_kept,
        a_host_may_lack_kvm,
        a_user_may_lack_the_right,
        a_flat_binary_lies_where_it_may,
    };

    return engine_run("engine-input", tests, G_N_ELEMENTS(tests));
}
