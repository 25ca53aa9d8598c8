/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guests that are programs: flat binaries in each mode, multiboot kernels, and drivers whose work the host sees. */
#include "engine.h"

#include <glib/gstdio.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

static char *run_guest(vmh_host *host, vmh_spec *spec)
{
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);

    return engine_words(vm, NULL);
}

/* --- flat binaries --- */

/* Say what is left of 0 minus 1 or 2, since one byte means either in 64 and in 32 bits; then the ring. */
static const char wide[] = "\x66\xba\xf8\x03"         /* mov $0x3f8, %dx */
                           "\x31\xc0\x48\xff\xc8"     /* xor %eax, %eax; dec %rax; or twice dec %eax */
                           "\xee\x8c\xc8\x24\x03\xee" /* out %al, %dx; mov %cs, %eax; and $3, %al; out %al, %dx */
                           "\x66\xba\x00\x06"         /* mov $0x600, %dx */
                           "\xb0\x34\xee\xeb\xfe" /* mov $0x34, %al; out %al, %dx; jmp . */;
static const char narrow[] =
    "\xba\xf8\x03\x31\xc0\x48\xff\xc8\xee\x8c\xc8\x24\x03\xee\xba\x00\x06\xb0\x34\xee\xeb\xfe";

START_TEST(a_flat_binary_begins_in_its_mode)
{
    static const struct {
        const char *mode, *address, *code;
        gsize       size;
        const char *said;
    } modes[] = {
        {"real", "31KiB", narrow, sizeof narrow, "\xfe\x00"}, {"real", "512KiB", narrow, sizeof narrow, "\xfe\x00"},
        {"protected", "1MiB", wide, sizeof wide, "\xfe\x00"}, {"long", "1MiB", wide, sizeof wide, "\xff\x00"},
        {"long", "33550336", wide, sizeof wide, "\xff\x00"},  {"user", "16MiB", wide, sizeof wide, "\xff\x03"},
    };
    g_autoptr(vmh_host) host = open_host(engine_uri());

    for (guint i = 0; i < G_N_ELEMENTS(modes); i++) {
        g_autofree char *path = engine_file("flat");
        g_autoptr(vmh_spec) spec = engine_flat_spec("flat", path, NULL);
        g_autofree char *said = NULL;
        gsize            length = 0;

        ck_assert(g_file_set_contents(path, modes[i].code, (gssize)modes[i].size, NULL));
        ck_assert_int_eq(vmh_spec_set(spec, "boot.mode", modes[i].mode, NULL), 0);
        ck_assert_int_eq(vmh_spec_set(spec, "boot.address", modes[i].address, NULL), 0);
        g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);
        said = engine_words(vm, &length);
        ck_assert_msg(length == 2 && memcmp(said, modes[i].said, 2) == 0, "%s at %s: %zu bytes, %x %x", modes[i].mode,
                      modes[i].address, length, said[0], said[1]);
    }
}
END_TEST

START_TEST(a_guest_leaves_by_every_way)
{
    static const char *const ways[] = {"exit=port", "exit=memory", "exit=doorbell"};
    g_autoptr(vmh_host) host = open_host(engine_uri());

    for (guint i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autofree char *cmdline = g_strconcat(ways[i], " count=100", NULL);
        g_autoptr(vmh_spec) spec = engine_guest_spec("exits", cmdline);
        g_autofree char *words = run_guest(host, spec);

        ck_assert_uint_eq(engine_value(words, "count"), 100);
        ck_assert_uint_gt(engine_value(words, "cycles"), 0);
    }
}
END_TEST

/* --- multiboot --- */

static void expect_refusal(vmh_host *host, vmh_spec *spec, const char *property, const char *said)
{
    g_autoptr(vmh_error) error = NULL;

    vmh_job_finish(vmh_host_create_vm(host, spec, VMH_CREATE_START, &error), PATIENCE_MS, &error);
    ck_assert_str_eq(vmh_error_property(error), property);
    ck_assert_msg(strstr(vmh_error_message(error), said) != NULL, "%s", vmh_error_message(error));
}

START_TEST(a_multiboot_kernel_is_told_what_goes_with_it)
{
    static const char *const forms[] = {"elf", "flat"}, *const cmdlines[] = {"", "quiet root=/dev/vda a=\"b c\""};
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autofree char *module = engine_file("module");

    ck_assert(g_file_set_contents(module, "what it brings", -1, NULL));
    for (guint i = 0; i < 4; i++) {
        g_autofree char *kernel = g_strconcat(MULTIBOOT_GUEST, forms[i / 2], NULL);
        g_autoptr(vmh_spec) spec = engine_flat_spec("multiboot", kernel, cmdlines[i % 2]);
        g_autofree char *expected =
            g_strdup_printf("multiboot\nflags=%d\ncmdline: %s\nupper=%d\nusable=%d\nmodules=%d\n%s", 0x4d,
                            cmdlines[i % 2], 31 << 10, 31 << 10, i % 2, i % 2 ? "module: [] what it brings\n" : "");
        g_autofree char *words = NULL;

        ck_assert_int_eq(vmh_spec_set(spec, "boot.format", "auto", NULL), 0);
        if (i % 2)
            vmh_spec_set_str(spec, "boot.initrd", module, NULL);
        words = run_guest(host, spec);
        ck_assert_str_eq(words, expected);
    }
}
END_TEST

START_TEST(a_multiboot_kernel_has_modules)
{
    static const char *const names[] = {"b", "a", "a-b"};
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autofree char *kernel = g_strconcat(MULTIBOOT_GUEST, "elf", NULL);
    g_autoptr(vmh_spec) spec = engine_flat_spec("modules", kernel, "");
    g_autofree char *words = NULL;

    ck_assert_int_eq(vmh_spec_set(spec, "boot.format", "auto", NULL), 0);
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *file = engine_file(names[i]);
        g_autofree char *path = g_strdup_printf("module.%s.path", names[i]);
        g_autofree char *cmdline = g_strdup_printf("module.%s.cmdline", names[i]);
        g_autofree char *text = g_strdup_printf("is=%s quiet", names[i]);

        ck_assert(g_file_set_contents(file, names[i], -1, NULL));
        ck_assert_int_eq(vmh_spec_set_str(spec, path, file, NULL), 0);
        ck_assert_int_eq(vmh_spec_set_str(spec, cmdline, text, NULL), 0);
    }
    words = run_guest(host, spec);
    ck_assert_msg(strstr(words, "modules=3\nmodule: [is=a quiet] a\nmodule: [is=a-b quiet] a-b\n"
                                "module: [is=b quiet] b\n") != NULL,
                  "%s", words);
    /* No other kernel could be told of them. */
    vmh_spec_set_str(spec, "boot.kernel", SMALL_GUEST, NULL);
    expect_refusal(host, spec, "boot.kernel", "no multiboot kernel");
    vmh_spec_unset(spec, "module.a.path", NULL);
    expect_refusal(host, spec, "module.a.path", "a module is a file");
}
END_TEST

/* --- the disk --- */

enum { DISK_MIB = 4, BLOCKS = DISK_MIB * 256 };

static char *run_disk(vmh_host *host, const char *path, const char *cmdline, const char *readonly)
{
    g_autoptr(vmh_spec) spec = engine_guest_spec("blk", cmdline);

    vmh_spec_set_str(spec, "disk.data.path", path, NULL);
    ck_assert_int_eq(vmh_spec_set(spec, "disk.data.readonly", readonly, NULL), 0);
    return run_guest(host, spec);
}

static void expect_disk(const char *words, guint64 requests, guint64 errors, guint64 wrong)
{
    ck_assert_msg(engine_value(words, "requests") == requests && engine_value(words, "errors") == errors &&
                      engine_value(words, "wrong") == wrong,
                  "instead of %" G_GUINT64_FORMAT " requests, %" G_GUINT64_FORMAT " errors, %" G_GUINT64_FORMAT
                  " wrong words: %s",
                  requests, errors, wrong, words);
}

/* Each eight bytes hold where they are, inverted. */
static guint64 *pattern(void)
{
    guint64 *words = g_new(guint64, DISK_MIB << 17);

    for (guint64 i = 0; i < DISK_MIB << 17; i++)
        words[i] = ~(i * 8);
    return words;
}

START_TEST(what_the_guest_writes_is_in_the_file)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autofree char    *path = test_disk("written", DISK_MIB);
    g_autofree char    *words = run_disk(host, path, "op=write count=1024 depth=16", "no");
    g_autofree guint64 *expected = pattern();
    g_autofree char    *content = NULL;
    gsize               length;

    expect_disk(words, BLOCKS, 0, 0);
    ck_assert(g_file_get_contents(path, &content, &length, NULL));
    ck_assert_uint_eq(length, DISK_MIB << 20);
    ck_assert(memcmp(content, expected, length) == 0);
    g_unlink(path);
}
END_TEST

START_TEST(the_guest_reads_what_is_in_the_file)
{
    static const char *const ways[] = {"op=check count=1024 depth=1", "op=check count=1024 depth=64",
                                       "op=check count=4 block=1048576 depth=3",
                                       "op=check count=8192 block=512 depth=32"};
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autofree char    *path = test_disk("read", DISK_MIB);
    g_autofree guint64 *content = pattern();
    const guint64       counts[] = {BLOCKS, BLOCKS, DISK_MIB, BLOCKS * 8};

    content[12345] = 1;
    content[(DISK_MIB << 17) - 1] = 2;
    ck_assert(g_file_set_contents(path, (const char *)content, DISK_MIB << 20, NULL));
    for (guint i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autofree char *words = run_disk(host, path, ways[i], "yes");

        expect_disk(words, counts[i], 0, 2);
    }
    g_autofree char *anywhere = run_disk(host, path, "op=read order=random count=2000 depth=32", "yes");
    expect_disk(anywhere, 2000, 0, 0);
    g_unlink(path);
}
END_TEST

START_TEST(a_readonly_disk_stays_as_it_is)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autofree char *path = test_disk("kept", DISK_MIB);
    g_autofree char *words = run_disk(host, path, "op=write count=100 depth=8", "yes");
    g_autofree char *content = NULL;
    g_autofree char *zeros = g_malloc0(DISK_MIB << 20);
    gsize            length;

    expect_disk(words, 100, 100, 0);
    ck_assert(g_file_get_contents(path, &content, &length, NULL));
    ck_assert(length == DISK_MIB << 20 && memcmp(content, zeros, length) == 0);
    g_unlink(path);
}
END_TEST

/* --- a file system without room --- */

static gboolean has_said(const char *part)
{
    g_autofree char *console = engine_file("console");
    g_autofree char *words = NULL;

    return g_file_get_contents(console, &words, NULL, NULL) && strstr(words, part);
}

static void wait_said(const char *part)
{
    const int64_t end = test_now_ms() + PATIENCE_MS;

    while (!has_said(part) && test_now_ms() < end)
        g_usleep(5000);
    ck_assert_msg(has_said(part), "the guest does not say \"%s\"", part);
}

/* One that holds a disk that grows, or what else is in it, but not both. */
static char *small_file_system(void)
{
    char *directory = engine_file("small");

    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(g_mkdir(directory, 0755), 0);
    ck_assert_int_eq(mount("tmpfs", directory, "tmpfs", 0, "size=5m"), 0);
    return directory;
}

START_TEST(a_guest_survives_that_the_host_has_no_room)
{
    g_autofree char    *directory = NULL, *path = NULL, *filler = NULL, *words = NULL, *content = NULL;
    g_autofree guint64 *expected = pattern();
    g_autofree char    *full = g_malloc0(3 << 20);
    gsize               length;

    if (geteuid() != 0)
        return;
    directory = small_file_system();
    path = g_build_filename(directory, "disk", NULL);
    filler = g_build_filename(directory, "filler", NULL);
    ck_assert(g_file_set_contents(filler, full, 3 << 20, NULL) && g_file_set_contents(path, "", 0, NULL));
    ck_assert_int_eq(truncate(path, DISK_MIB << 20), 0);
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = engine_guest_spec("blk", "op=write depth=8 recover");
    vmh_spec_set_str(spec, "disk.data.path", path, NULL);
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);
    wait_said("an error");
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_RUNNING);
    g_unlink(filler);
    words = engine_words(vm, NULL);
    ck_assert_msg(engine_value(words, "errors") > 0 && engine_value(words, "wrong") == 0, "%s", words);
    ck_assert(g_file_get_contents(path, &content, &length, NULL));
    ck_assert(length == DISK_MIB << 20 && memcmp(content, expected, length) == 0);
}
END_TEST

/* --- the balloon --- */

static uint64_t resident(vmh_host *host)
{
    g_autoptr(vmh_frame) frame = vmh_host_sample(host, "memory.rss", 0, NULL);
    const uint64_t *values;

    ck_assert(frame && vmh_frame_rows(frame) == 1);
    ck_assert_int_eq(vmh_frame_column(frame, "memory.rss", &values, NULL, NULL), 0);
    return values[0];
}

/* Of 24 MiB that it has used, 12 that it puts into its balloon, and 8 that it reports to be free. */
START_TEST(memory_that_is_given_back_is_the_hosts)
{
    enum { BALLOON = 12 << 20, FREE = 8 << 20, USED = 24 << 20, REST = 256 << 10 };
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = engine_guest_spec("balloon", "touch=24 report=8");
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START);
    uint64_t before, after;

    wait_said("touched");
    before = resident(host);
    ck_assert_uint_gt(before, USED);
    vmh_spec_set(change, "memory.size", "20MiB", NULL);
    assert_ok(vmh_vm_update(vm, change, VMH_UPDATE_LIVE, 0, &error));
    wait_said("reported");
    after = resident(host);
    ck_assert_msg(after < before - BALLOON - FREE + REST,
                  "of %" G_GUINT64_FORMAT " KiB %" G_GUINT64_FORMAT " are left", before >> 10, after >> 10);
    assert_ok(vmh_vm_stop(vm, 0, &error));
}
END_TEST

/* --- the dirtier --- */

/* How many pages it has dirtied by now, and none of them is wrong. */
static guint64 ask_dirtier(int console)
{
    g_autoptr(GString) seen = g_string_new(NULL);

    ck_assert(test_say(console, "?") && test_wait_console(console, seen, "wrong=", PATIENCE_MS));
    ck_assert(test_wait_console(console, seen, "\n", PATIENCE_MS));
    ck_assert_msg(engine_value(seen->str, "wrong") == 0, "%s", seen->str);
    return engine_value(seen->str, "total");
}

START_TEST(dirtied_memory_is_counted)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = engine_guest_spec("dirtier", "pages=1000 rate=20000");
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(GString) seen = g_string_new(NULL);
    guint64 last = 0;
    int     console;

    vmh_spec_set(spec, "console.main.to", "pty", NULL);
    g_autoptr(vmh_vm) vm = create(host, spec, VMH_CREATE_START | VMH_CREATE_PAUSED);
    console = vmh_vm_console(vm, NULL, 0, &error);
    assert_no_error();
    assert_ok(vmh_vm_resume(vm, 0, &error));
    ck_assert(test_wait_console(console, seen, "ready", PATIENCE_MS));
    for (guint i = 0; i < 3; i++) {
        guint64 total;

        do {
            total = ask_dirtier(console);
        } while (total < last + 1500); /* round once, and some more */
        last = total;
        assert_ok(vmh_vm_pause(vm, 0, &error));
        assert_ok(vmh_vm_resume(vm, 0, &error));
    }
    close(console);
    assert_ok(vmh_vm_delete(vm, VMH_DELETE_FORCE, &error));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_flat_binary_begins_in_its_mode,
        a_guest_leaves_by_every_way,
        what_the_guest_writes_is_in_the_file,
        the_guest_reads_what_is_in_the_file,
        a_readonly_disk_stays_as_it_is,
        dirtied_memory_is_counted,
        a_multiboot_kernel_is_told_what_goes_with_it,
        a_multiboot_kernel_has_modules,
        a_guest_survives_that_the_host_has_no_room,
        memory_that_is_given_back_is_the_hosts,
    };

    return engine_run("engine-guests", tests, G_N_ELEMENTS(tests));
}
