/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The schema: which path is which property, what each type reads and refuses, and that the list itself is sound. */
#include "unit.h"

#include "model/schema.h"
#include <locale.h>
#include <math.h>
#include <vmhost/spec.h>

static const char *const kinds[] = {"vm", "host", "open", "migrate"};

#define LONG_ID "abcdefghijklmnopqrstuvwxyz-_0123" /* 32 */

/* --- paths --- */

START_TEST(paths_mean_properties)
{
    static const struct {
        const char *kind, *path, *pattern;
    } rows[] = {
        {"vm", "name", "name"},
        {"vm", "cpu.count", "cpu.count"},
        {"vm", "disk.root.path", "disk.<id>.path"},
        {"vm", "disk.path.path", "disk.<id>.path"},
        {"vm", "disk.0.iops.read", "disk.<id>.iops.read"},
        {"vm", "disk." LONG_ID ".bandwidth.total", "disk.<id>.bandwidth.total"},
        {"vm", "metadata.My_key-1", "metadata.<id>"},
        {"vm", "cpu.pin.0", "cpu.pin.<n>"},
        {"vm", "cpu.pin.4095", "cpu.pin.<n>"},
        {"vm", "disk.<id>.path", "disk.<id>.path"},
        {"vm", "cpu.pin.<n>", "cpu.pin.<n>"},
        {"host", "numa.12.memory", "numa.<n>.memory"},
        {"host", "cpu.mhz", "cpu.mhz"},
        {"open", "call.timeout", "call.timeout"},
        {"migrate", "stall.timeout", "stall.timeout"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const vmh_property *property = vmhi_schema_lookup(rows[i].kind, rows[i].path);

        ck_assert_msg(property != NULL, "%s", rows[i].path);
        ck_assert_str_eq(property->pattern, rows[i].pattern);
        ck_assert_str_eq(property->kind, rows[i].kind);
    }
}
END_TEST

START_TEST(other_paths_mean_none)
{
    static const char *const rows[] = {
        "",
        ".",
        "..",
        "nam",
        "name.",
        ".name",
        "Name",
        "name ",
        "disk",
        "disk.root",
        "disk.root.",
        "disk..path",
        "disk.root.path.x",
        "disk.my disk.path",
        "disk.a/b.path",
        "disk.<x>.path",
        "disk.<n>.path",
        "disk.\xc3\xbc.path",
        "disk." LONG_ID "4.path",
        "metadata",
        "metadata.",
        "metadata.a.b",
        "cpu.pin",
        "cpu.pin.",
        "cpu.pin.x",
        "cpu.pin.01",
        "cpu.pin.-1",
        "cpu.pin.4096",
        "cpu.pin.99999999999999999999",
        "cpu.pin.<id>",
        "cpu.mhz",
        "call.timeout",
        "cpu.%s%n",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        ck_assert_msg(!vmhi_schema_lookup("vm", rows[i]), "%s", rows[i]);
    ck_assert_ptr_null(vmhi_schema_lookup("nothing", "name"));
}
END_TEST

START_TEST(unknown_names_get_the_nearest)
{
    static const struct {
        const char *kind, *path, *hint;
    } rows[] = {
        {"vm", "nmae", "did you mean \"name\"?"},
        {"vm", "Name", "did you mean \"name\"?"},
        {"vm", "cpu.cont", "did you mean \"cpu.count\"?"},
        {"vm", "cpus.count", "did you mean \"cpu.count\"?"},
        {"vm", "memory", "\"memory\" is a group of properties; name one of them, such as \"memory.size\""},
        {"vm", "cpu", "such as \"cpu.count\""},
        {"vm", "disk.root", "such as \"disk.root.path\""},
        {"vm", "disk", "such as \"disk.<id>.path\""},
        {"vm", "disk.root.iops", "such as \"disk.root.iops.total\""},
        {"vm", "metadata", "did you mean \"metadata.<id>\"?"},
        {"vm", "cpu.pin", "did you mean \"cpu.pin.<n>\"?"},
        {"vm", "disk.root.paht", "did you mean \"disk.root.path\"?"},
        {"vm", "disks.root.path", "did you mean \"disk.root.path\"?"},
        {"vm", "disk.path", "did you mean \"disk.<id>.path\"?"},
        {"vm", "disk.root.iops.wirte", "did you mean \"disk.root.iops.write\"?"},
        {"vm", "nic.lan.netwrok", "did you mean \"nic.lan.network\"?"},
        {"vm", "cpu.pni.3", "did you mean \"cpu.pin.3\"?"},
        {"vm", "metdata.key", "did you mean \"metadata.key\"?"},
        {"vm", "completely.different", "there is no property \"completely.different\" of kind vm"},
        {"vm", "", "there is no property \"\" of kind vm"},
        {"vm", "disk.my disk.path", "\"my disk\" in a path is no name: give 1 to 32 of A-Z a-z 0-9 _ -"},
        {"vm", "disk..path", "\"\" in a path is no name"},
        {"vm", "cpu.pin.4096", "\"4096\" in a path is no number from 0 to 4095"},
        {"open", "conect.timeout", "did you mean \"connect.timeout\"?"},
        {"migrate", "bandwith", "did you mean \"bandwidth\"?"},
        {"nothing", "name", "there is no kind \"nothing\" of spec; the kinds are vm, host, open, migrate"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        vmh_error *error = NULL;

        ck_assert_ptr_null(vmhi_schema_require(rows[i].kind, rows[i].path, &error));
        if (strcmp(rows[i].kind, "nothing") != 0)
            ck_assert_str_eq(vmh_error_property(error), rows[i].path);
        assert_error(error, VMH_ERR_UNKNOWN_NAME, rows[i].hint);
    }
}
END_TEST

START_TEST(hostile_paths_are_refused_shortly)
{
    g_autofree char *huge = g_strnfill(1024 * 1024, 'a');
    g_autofree char *dots = g_strnfill(1024 * 1024, '.');
    const char      *rows[] = {huge, dots, "a\nb", "\xff\xfe", "<name attr='x'/>&lt;", "$(reboot)`x`;'\""};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        vmh_error *error = NULL;

        ck_assert_ptr_null(vmhi_schema_require("vm", rows[i], &error));
        ck_assert_uint_lt(strlen(vmh_error_message(error)), 300);
        ck_assert(g_utf8_validate(vmh_error_message(error), -1, NULL));
        assert_error(error, VMH_ERR_UNKNOWN_NAME, "there is no property");
    }
}
END_TEST

START_TEST(nearest_of_a_list)
{
    static const char *const names[] = {"cpu.time", "memory.size", "disk.<id>.read.bytes", NULL};

    ck_assert_str_eq(vmhi_nearest("cpu.tme", names), "cpu.time");
    ck_assert_str_eq(vmhi_nearest("memory.siez", names), "memory.size");
    ck_assert_ptr_null(vmhi_nearest("", names));
    ck_assert_ptr_null(vmhi_nearest("something else", names));
    ck_assert_ptr_null(vmhi_nearest("cpu.time", (const char *const[]){NULL}));
}
END_TEST

/* --- values --- */

static const char read_sizes[] = "memory.size";

static const struct {
    const char *path, *text, *written;
} good_values[] = {
    {"memory.size", "1048576", "1MiB"},
    {"memory.size", "2GiB", "2GiB"},
    {"memory.size", "1.5GiB", "1536MiB"},
    {"memory.size", "0.5TiB", "512GiB"},
    {"memory.size", "2GB", "2GB"},
    {"memory.size", "1500MB", "1500MB"},
    {"memory.size", "2097152B", "2MiB"},
    {"memory.size", "1048577", "1048577B"},
    {"memory.size", "2000000kB", "2GB"},
    {"memory.size", "64TiB", "64TiB"},
    {"boot.address", "0x100000", "1MiB"},
    {"boot.address", "1MiB", "1MiB"},
    {"debug.exit", "0xF4", "244"},
    {"debug.exit", "244", "244"},
    {"memory.size", "1MiB", "1MiB"},
    {"memory.size", "1.00000000000000000000GiB", "1GiB"},
    {"memory.size", "0000000000000000000000000000001GiB", "1GiB"},
    {"nic.a.inbound.burst", "0", "0"},
    {"nic.a.inbound.burst", "1kB", "1kB"},
    {"disk.a.bandwidth.total", "10MiB/s", "10MiB/s"},
    {"disk.a.bandwidth.total", "1Gbit/s", "1Gbit/s"},
    {"disk.a.bandwidth.total", "2.5Gbit/s", "2500Mbit/s"},
    {"disk.a.bandwidth.total", "100Mbit/s", "100Mbit/s"},
    {"disk.a.bandwidth.total", "8bit/s", "1B/s"},
    {"disk.a.bandwidth.total", "1kbit/s", "1kbit/s"},
    {"disk.a.bandwidth.total", "1MB/s", "1MB/s"},
    {"disk.a.bandwidth.total", "0", "0"},
    {"disk.a.bandwidth.total", "1000000000000000", "1000TB/s"},
    {"cpu.count", "1", "1"},
    {"cpu.count", "4096", "4096"},
    {"cpu.limit", "1.5", "1.5"},
    {"cpu.limit", "0.01", "0.01"},
    {"cpu.limit", "1e2", "100"},
    {"cpu.limit", "0.1", "0.1"},
    {"cpu.limit", "0.30000000000000004", "0.30000000000000004"},
    {"rng", "yes", "yes"},
    {"rng", "true", "yes"},
    {"rng", "on", "yes"},
    {"rng", "1", "yes"},
    {"rng", "no", "no"},
    {"rng", "false", "no"},
    {"rng", "off", "no"},
    {"rng", "0", "no"},
    {"accelerator", "kvm", "kvm"},
    {"cpu.pin.0", "0", "0"},
    {"cpu.pin.0", "0-3,8", "0-3,8"},
    {"cpu.pin.0", "8,0-3", "0-3,8"},
    {"cpu.pin.0", "3,2,1,0", "0-3"},
    {"cpu.pin.0", "0-4,2-3,3-9", "0-9"},
    {"cpu.pin.0", "5-5,5", "5"},
    {"cpu.pin.0", "1024,0", "0,1024"},
    {"cpu.pin.0", "007", "7"},
    {"uuid", "8C1FE4D8-4D3A-4C06-9D2C-0A5D1F8B1C11", "8c1fe4d8-4d3a-4c06-9d2c-0a5d1f8b1c11"},
    {"nic.a.mac", "52:54:00:AB:cd:EF", "52:54:00:ab:cd:ef"},
    {"boot.kernel", "/boot/vmlinuz", "/boot/vmlinuz"},
    {"boot.kernel", "/a b/\xc3\xbc&<>'\"$(x);..", "/a b/\xc3\xbc&<>'\"$(x);.."},
    {"title", "", ""},
    {"nic.a.filter", "", ""},
    {"boot.kernel", "", ""},
    {"cpu.pin.0", "", ""},
    {"title", "</title><x a='1'>&amp;]]>%s%n$(reboot)`id`;|\\\"'",
     "</title><x a='1'>&amp;]]>%s%n$(reboot)`id`;|\\\"'"},
    {"title", "\xf0\x9f\x98\x80 \xe2\x82\xac \xef\xbf\xbd", "\xf0\x9f\x98\x80 \xe2\x82\xac \xef\xbf\xbd"},
    {"description", "two\nlines\tand a tab", "two\nlines\tand a tab"},
    {"metadata.k", "{\"a\":\n1}", "{\"a\":\n1}"},
    {"name", "web 1", "web 1"},
    {"name", "...", "..."},
    {"disk.a.serial", "WD-0.1_x+Y", "WD-0.1_x+Y"},
    {"disk.a.volume", "pool/a/b", "pool/a/b"},
    {"disk.a.url", "nbd://host:10809/export", "nbd://host:10809/export"},
    {"disk.a.target", "vda", "vda"},
    {"nic.a.bridge", "virbr0", "virbr0"},
    {"nic.a.tap", "tap-0.1", "tap-0.1"},
    {"nic.a.address", "192.168.122.7", "192.168.122.7"},
    {"nic.a.address", "fd00::7", "fd00::7"},
    {"boot.order", "root,lan", "root,lan"},
    {"console.a.to", "pty", "pty"},
    {"console.a.to", "file:/var/log/a b.log", "file:/var/log/a b.log"},
    {"console.a.to", "unix:/run/x", "unix:/run/x"},
    {"vsock.cid", "4294967294", "4294967294"},
};

static void check_good_values(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(good_values); i++) {
        const char         *path = good_values[i].path;
        const vmh_property *property = vmhi_schema_lookup("vm", path);
        g_autoptr(vmh_error) error = NULL;
        g_autofree char *written = NULL;
        vmhi_value       value, again;

        vmhi_schema_parse(property, path, good_values[i].text, &value, &error);
        assert_no_error(error);
        written = vmhi_schema_format(&value);
        ck_assert_str_eq(written, good_values[i].written);
        ck_assert(vmhi_schema_check(property, path, &value, &error));
        ck_assert(vmhi_schema_parse(property, path, written, &again, &error));
        ck_assert_msg(vmhi_value_equal(&value, &again), "%s", written);
        vmhi_value_clear(&value);
        vmhi_value_clear(&again);
    }
}

START_TEST(values_are_read_and_written)
{
    check_good_values();
}
END_TEST

START_TEST(wrong_values_are_refused)
{
    static const struct {
        const char *path, *text, *message;
    } rows[] = {
        {"memory.size", "", "memory.size takes a size such as 2GiB"},
        {"memory.size", "2s", "memory.size takes a size such as 2GiB"},
        {"memory.size", "2s", "not \"2s\""},
        {"memory.size", "2G", "takes a size such as 2GiB"},
        {"memory.size", "2g", "takes a size"},
        {"memory.size", "2gib", "takes a size"},
        {"memory.size", "2 GiB", "takes a size"},
        {"memory.size", " 2GiB", "takes a size"},
        {"memory.size", "2GiB ", "takes a size"},
        {"memory.size", "2GiB/s", "takes a size"},
        {"memory.size", "-2GiB", "takes a size"},
        {"memory.size", "+2GiB", "takes a size"},
        {"memory.size", "2,5GiB", "takes a size"},
        {"memory.size", ".5GiB", "takes a size"},
        {"memory.size", "2.GiB", "takes a size"},
        {"memory.size", "1e9", "takes a size"},
        {"memory.size", "0x100000", "takes a size"},
        {"memory.size", "GiB", "takes a size"},
        {"boot.address", "0x", "boot.address takes a number up to 4GiB, also as 0x1f, not \"0x\""},
        {"boot.address", "0x1g", "takes a number up to 4GiB"},
        {"boot.address", "0x-1", "takes a number up to 4GiB"},
        {"boot.address", "0x 1", "takes a number up to 4GiB"},
        {"boot.address", "0x1MiB", "takes a number up to 4GiB"},
        {"boot.address", "0x100000001", "boot.address is from 0 to 4GiB"},
        {"boot.address", "0x10000000000000000", "is from 0 to 4GiB"},
        {"debug.exit", "0xfffd", "debug.exit is from 0 to 65532"},
        {"memory.size", "nan", "takes a size"},
        {"memory.size", "1048576.5", "no whole number of bytes"},
        {"memory.size", "1.0000000000000000000000001GiB", "no whole number of bytes"},
        {"memory.size", "1.3333333333GiB", "no whole number of bytes"},
        {"memory.size", "0", "memory.size is from 1MiB to 64TiB, not 0"},
        {"memory.size", "1023KiB", "is from 1MiB to 64TiB, not 1023KiB"},
        {"memory.size", "65TiB", "is from 1MiB to 64TiB, not 65TiB"},
        {"memory.size", "18446744073709551616", "is from 1MiB to 64TiB, not 18446744073709551616"},
        {"memory.size", "16777216TiB", "is from 1MiB to 64TiB"},
        {"memory.size", "16777217TiB", "is from 1MiB to 64TiB"},
        {"memory.size", "99999999999999999999999999999999GiB", "is from 1MiB to 64TiB"},
        {"disk.a.bandwidth.total", "10MiB", "takes a rate such as 10MiB/s or 1Gbit/s"},
        {"disk.a.bandwidth.total", "1Mbit", "takes a rate"},
        {"disk.a.bandwidth.total", "1mbit/s", "takes a rate"},
        {"disk.a.bandwidth.total", "1bit/s", "no whole number of bytes/s"},
        {"disk.a.bandwidth.total", "1000.001TB/s", "is from 0 to 1000TB/s"},
        {"cpu.count", "0", "cpu.count is from 1 to 4096, not 0"},
        {"cpu.count", "4097", "cpu.count is from 1 to 4096, not 4097"},
        {"cpu.count", "18446744073709551617", "is from 1 to 4096"},
        {"cpu.count", "-1", "takes a whole number from 1 to 4096, not \"-1\""},
        {"cpu.count", "1.5", "takes a whole number from 1 to 4096, not \"1.5\""},
        {"cpu.count", "2GiB", "takes a whole number"},
        {"cpu.count", "two", "takes a whole number"},
        {"cpu.limit", "0", "cpu.limit is from 0.01 to 4096, not 0"},
        {"cpu.limit", "1e999", "takes a decimal number from 0.01 to 4096"},
        {"cpu.limit", "nan", "takes a decimal number"},
        {"cpu.limit", "inf", "takes a decimal number"},
        {"cpu.limit", "1,5", "takes a decimal number"},
        {"cpu.limit", "0x10", "takes a decimal number"},
        {"cpu.limit", "-1", "takes a decimal number"},
        {"cpu.limit", "1.5 ", "takes a decimal number"},
        {"cpu.limit", "1.5.5", "takes a decimal number"},
        {"cpu.limit", "", "takes a decimal number"},
        {"rng", "maybe", "rng takes yes or no, not \"maybe\""},
        {"rng", "Yes", "takes yes or no"},
        {"rng", "", "takes yes or no"},
        {"accelerator", "KVM", "accelerator takes one of auto, kvm, tcg, not \"KVM\""},
        {"accelerator", "auto|kvm", "takes one of auto, kvm, tcg"},
        {"accelerator", "", "takes one of auto, kvm, tcg"},
        {"cpu.pin.0", "x", "cpu.pin.0 takes numbers and ranges such as 0-3,8, up to 1024, not \"x\""},
        {"cpu.pin.0", "1025", "takes numbers and ranges"},
        {"cpu.pin.0", "3-1", "takes numbers and ranges"},
        {"cpu.pin.0", "1,", "takes numbers and ranges"},
        {"cpu.pin.0", ",1", "takes numbers and ranges"},
        {"cpu.pin.0", "1--2", "takes numbers and ranges"},
        {"cpu.pin.0", "1-", "takes numbers and ranges"},
        {"cpu.pin.0", "-1", "takes numbers and ranges"},
        {"cpu.pin.0", "1 ,2", "takes numbers and ranges"},
        {"cpu.pin.0", "^1", "takes numbers and ranges"},
        {"cpu.pin.0", "99999999999999999999999999", "takes numbers and ranges"},
        {"uuid", "8c1fe4d84d3a4c069d2c0a5d1f8b1c11", "takes a UUID"},
        {"uuid", "8c1fe4d8-4d3a-4c06-9d2c-0a5d1f8b1c1g", "takes a UUID"},
        {"uuid", "{8c1fe4d8-4d3a-4c06-9d2c-0a5d1f8b1c11}", "takes a UUID"},
        {"nic.a.mac", "52-54-00-12-34-56", "takes a unicast address such as 52:54:00:12:34:56"},
        {"nic.a.mac", "53:54:00:12:34:56", "takes a unicast address"},
        {"nic.a.mac", "ff:ff:ff:ff:ff:ff", "takes a unicast address"},
        {"nic.a.mac", "00:00:00:00:00:00", "takes a unicast address"},
        {"nic.a.mac", "52:54:00:12:34", "takes a unicast address"},
        {"nic.a.mac", "52:54:00:12:34:5g", "takes a unicast address"},
        {"nic.a.mac", "52:54:00:12:34:567", "takes a unicast address"},
        {"disk.a.path", "", "takes an absolute path"},
        {"boot.kernel", "vmlinuz", "takes an absolute path, not \"vmlinuz\""},
        {"boot.kernel", "/a\nb", "boot.kernel must not hold the control character U+000A"},
        {"boot.kernel", "/a\xff", "boot.kernel is not valid UTF-8"},
        {"title", "a\nb", "must not hold the control character U+000A"},
        {"title", "a\x01", "must not hold the control character U+0001"},
        {"title", "\x1b[2J", "must not hold the control character U+001B"},
        {"title", "a\x7f", "must not hold the control character U+007F"},
        {"title", "a\xc2\x9b", "must not hold the control character U+009B"},
        {"title", "\xef\xbf\xbe", "must not hold the control character U+FFFE"},
        {"title", "\xef\xbf\xbf", "must not hold the control character U+FFFF"},
        {"title", "\xed\xa0\x80", "is not valid UTF-8"},
        {"title", "\xc0\xaf", "is not valid UTF-8"},
        {"title", "\xc3", "is not valid UTF-8"},
        {"description", "a\rb", "must not hold the control character U+000D"},
        {"description", "\x0b", "must not hold the control character U+000B"},
        {"metadata.k", "\x08", "must not hold the control character U+0008"},
        {"name", "", "name takes a name without a slash, not \"\""},
        {"name", ".", "takes a name without a slash"},
        {"name", "..", "takes a name without a slash"},
        {"name", "a/b", "takes a name without a slash, not \"a/b\""},
        {"name", "a\tb", "must not hold the control character U+0009"},
        {"arch", "x86 64", "takes a word"},
        {"machine", "q35,accel=tcg", "takes a word"},
        {"cpu.model", "host,migratable=off", "takes a word"},
        {"disk.a.serial", "a b", "takes a word of A-Z a-z 0-9 _ . + -"},
        {"disk.a.serial", "0123456789012345678901234567890123456", "takes at most 36 bytes, not 37"},
        {"disk.a.volume", "pool", "takes a volume as pool/name"},
        {"disk.a.volume", "/name", "takes a volume"},
        {"disk.a.volume", "pool/", "takes a volume"},
        {"disk.a.url", "host:10809", "takes a URL"},
        {"disk.a.url", "/path", "takes a URL"},
        {"disk.a.url", "nbd://a b", "takes a URL"},
        {"disk.a.target", "../x", "takes a device name"},
        {"nic.a.bridge", "", "takes the name of a network device"},
        {"nic.a.bridge", "br 0", "takes the name of a network device"},
        {"nic.a.bridge", "br/0", "takes the name of a network device"},
        {"nic.a.bridge", "br:0", "takes the name of a network device"},
        {"nic.a.tap", "..", "takes the name of a network device"},
        {"nic.a.tap", "0123456789abcdef", "takes at most 15 bytes, not 16"},
        {"nic.a.network", "a/b", "takes a name without a slash"},
        {"nic.a.address", "192.168.1", "takes an IP address"},
        {"nic.a.address", "host", "takes an IP address"},
        {"nic.a.address", "fe80::1%eth0", "takes an IP address"},
        {"boot.order", "root lan", "takes names of disks and NICs with commas"},
        {"console.a.to", "tty", "takes pty, file:PATH or unix:PATH"},
        {"console.a.to", "file:relative", "takes pty, file:PATH or unix:PATH"},
        {"vsock.cid", "2", "is from 3 to 4294967294, not 2"},
        {"vsock.cid", "4294967295", "is from 3 to 4294967294"},
        {"nic.a.vlan", "4095", "is from 1 to 4094"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        vmh_error          *error = NULL;
        const vmh_property *property = vmhi_schema_lookup("vm", rows[i].path);
        vmhi_value          value = {0};

        ck_assert_msg(!vmhi_schema_parse(property, rows[i].path, rows[i].text, &value, &error), "%s = \"%s\"",
                      rows[i].path, rows[i].text);
        ck_assert_int_eq(value.type, 0);
        ck_assert_str_eq(vmh_error_property(error), rows[i].path);
        ck_assert_msg(g_str_has_prefix(vmh_error_message(error), rows[i].path), "%s", vmh_error_message(error));
        assert_error(error, VMH_ERR_VALUE, rows[i].message);
    }
}
END_TEST

START_TEST(durations_are_read)
{
    static const struct {
        const char *text;
        uint64_t    milliseconds;
        const char *written;
    } rows[] = {
        {"1", 1, "1ms"},          {"250ms", 250, "250ms"}, {"1s", 1000, "1s"},
        {"1.5s", 1500, "1500ms"}, {"90s", 90000, "90s"},   {"5min", 300000, "5min"},
        {"0.5min", 30000, "30s"}, {"1h", 3600000, "1h"},   {"60min", 3600000, "1h"},
    };
    const vmh_property *property = vmhi_schema_lookup("open", "connect.timeout");
    vmh_error          *error = NULL;
    vmhi_value          value;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *written = NULL;

        ck_assert(vmhi_schema_parse(property, "connect.timeout", rows[i].text, &value, NULL));
        ck_assert_uint_eq(value.u64, rows[i].milliseconds);
        written = vmhi_schema_format(&value);
        ck_assert_str_eq(written, rows[i].written);
    }
    ck_assert(!vmhi_schema_parse(property, "connect.timeout", "2GiB", &value, &error));
    assert_error(error, VMH_ERR_VALUE, "takes a duration such as 30s (in ms, s, min, h), not \"2GiB\"");
    ck_assert(!vmhi_schema_parse(property, "connect.timeout", "0.1ms", &value, &error));
    assert_error(error, VMH_ERR_VALUE, "no whole number of ms");
    ck_assert(!vmhi_schema_parse(property, "connect.timeout", "61min", &value, &error));
    assert_error(error, VMH_ERR_VALUE, "is from 1ms to 1h, not 61min");
}
END_TEST

static void check_round_trip(const char *kind, const char *path, uint64_t number)
{
    const vmh_property *property = vmhi_schema_lookup(kind, path);
    vmhi_value          value = {.type = property->type, .u64 = number};
    vmhi_value          again;
    g_autofree char    *written = vmhi_schema_format(&value);

    ck_assert_msg(vmhi_schema_parse(property, path, written, &again, NULL), "%s", written);
    ck_assert_msg(again.u64 == number, "%s", written);
}

START_TEST(all_numbers_are_written_exactly)
{
    guint32 state = 1;

    for (uint64_t unit = 1; unit < UINT64_MAX / 1024; unit *= unit % 1000 ? 1024 : 1000) {
        for (int i = 0; i < 1000; i++) {
            state = state * 1664525 + 1013904223;
            check_round_trip("host", "memory.free", unit * (state % 1024));
            check_round_trip("host", "memory.free", unit * (state % 1024) + state);
            check_round_trip("host", "cpu.mhz", unit * (state % 1024) - state);
            check_round_trip("migrate", "bandwidth", state * UINT64_C(125));
        }
    }
    for (uint64_t i = 0; i < 10000; i++)
        check_round_trip("host", "memory.free", UINT64_MAX - i);
}
END_TEST

START_TEST(typed_values_are_checked)
{
    const vmh_property *limit = vmhi_schema_lookup("vm", "cpu.limit");
    const vmh_property *size = vmhi_schema_lookup("vm", read_sizes);
    const vmh_property *free_memory = vmhi_schema_lookup("host", "memory.free");
    const double        wrong[] = {NAN, INFINITY, -INFINITY, -1, 0, 0.009, 4096.1};
    vmh_error          *error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        vmhi_value value = {.type = VMH_TYPE_F64, .f64 = wrong[i]};

        ck_assert(!vmhi_schema_check(limit, "cpu.limit", &value, &error));
        assert_error(error, VMH_ERR_VALUE, "cpu.limit is from 0.01 to 4096, not ");
    }
    ck_assert(!vmhi_schema_check(size, read_sizes, &(vmhi_value){.type = VMH_TYPE_SIZE, .u64 = UINT64_MAX}, &error));
    assert_error(error, VMH_ERR_VALUE, "memory.size is from 1MiB to 64TiB, not 18446744073709551615B");
    ck_assert(
        vmhi_schema_check(free_memory, "memory.free", &(vmhi_value){.type = VMH_TYPE_SIZE, .u64 = UINT64_MAX}, NULL));
}
END_TEST

START_TEST(huge_texts_are_refused_shortly)
{
    static const char *const paths[] = {"name",      "title",       "description", "metadata.a", "boot.kernel",
                                        "uuid",      "nic.a.mac",   "cpu.count",   "cpu.limit",  "rng",
                                        "cpu.pin.0", "memory.size", "accelerator", "disk.a.url"};
    g_autofree char         *letters = g_strnfill(1024 * 1024, '/');
    g_autofree char         *digits = g_strnfill(1024 * 1024, '7');

    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        for (int j = 0; j < 2; j++) {
            vmh_error *error = NULL;
            vmhi_value value;

            ck_assert(!vmhi_schema_parse(vmhi_schema_lookup("vm", paths[i]), paths[i], j ? letters : digits, &value,
                                         &error));
            ck_assert_uint_lt(strlen(vmh_error_message(error)), 300);
            assert_error(error, VMH_ERR_VALUE, paths[i]);
        }
    }
}
END_TEST

START_TEST(texts_have_their_limit)
{
    static const struct {
        const char *kind, *path;
        size_t      limit;
    } rows[] = {{"vm", "name", 128},
                {"vm", "title", 1024},
                {"vm", "description", 65536},
                {"vm", "boot.kernel", 4096},
                {"vm", "boot.cmdline", 2048},
                {"host", "arch", 255},
                {"open", "auth.password", 1024}};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const vmh_property *property = vmhi_schema_lookup(rows[i].kind, rows[i].path);
        g_autofree char    *text = g_strnfill(rows[i].limit + 1, 'x');
        vmh_error          *error = NULL;
        vmhi_value          value;

        if (property->type == VMH_TYPE_PATH)
            text[0] = '/';
        ck_assert_double_eq(vmh_property_maximum(property), rows[i].limit);
        ck_assert(!vmhi_schema_parse(property, rows[i].path, text, &value, &error));
        assert_error(error, VMH_ERR_VALUE, "takes at most");
        text[rows[i].limit] = '\0';
        ck_assert(vmhi_schema_parse(property, rows[i].path, text, &value, &error));
        vmhi_value_clear(&value);
    }
}
END_TEST

START_TEST(the_locale_does_not_matter)
{
    static const char *const locales[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE", "C.UTF-8"};
    vmh_error               *error = NULL;
    vmhi_value               value;

    for (size_t i = 0; i < G_N_ELEMENTS(locales) && !setlocale(LC_ALL, locales[i]); i++)
        ;
    check_good_values();
    ck_assert(!vmhi_schema_parse(vmhi_schema_lookup("vm", "cpu.limit"), "cpu.limit", "1,5", &value, &error));
    assert_error(error, VMH_ERR_VALUE, "takes a decimal number from 0.01 to 4096, not \"1,5\"");
}
END_TEST

/* --- the list itself --- */

static void check_property(const vmh_property *p)
{
    size_t length = strlen(p->doc);

    ck_assert_msg(length > 1 && p->doc[length - 1] == '.', "%s: \"%s\"", p->pattern, p->doc);
    ck_assert_msg(!strchr(p->doc, '|') && !strchr(p->doc, '\n'), "%s: breaks the reference's table", p->pattern);
    ck_assert_msg(p->since && *p->since, "%s: since when?", p->pattern);
    ck_assert_msg(p->minimum <= p->maximum || p->maximum == 0, "%s: minimum above maximum", p->pattern);
    ck_assert_msg(p->minimum >= 0, "%s: negative minimum", p->pattern);
    ck_assert_msg(p->type >= VMH_TYPE_STRING && p->type <= VMH_TYPE_DESCRIPTOR, "%s: type", p->pattern);
    ck_assert_msg((p->type == VMH_TYPE_ENUM) == (p->values != NULL), "%s: values", p->pattern);
    ck_assert_msg(!(p->flags & VMHI_READONLY) || !p->fallback, "%s: read-only with a default", p->pattern);
}

START_TEST(every_property_is_sound)
{
    for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
        size_t              count;
        const vmh_property *list = vmhi_schema_list(kinds[k], &count);

        ck_assert_uint_gt(count, 0);
        for (size_t i = 0; i < count; i++) {
            ck_assert_str_eq(list[i].kind, kinds[k]);
            check_property(&list[i]);
            ck_assert_ptr_eq(vmhi_schema_lookup(kinds[k], list[i].pattern), &list[i]);
        }
    }
}
END_TEST

START_TEST(defaults_and_words_are_values)
{
    for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
        size_t              count;
        const vmh_property *list = vmhi_schema_list(kinds[k], &count);

        for (size_t i = 0; i < count; i++) {
            g_auto(GStrv) words = g_strsplit(list[i].values ? list[i].values : "", "|", -1);
            g_autoptr(vmh_error) error = NULL;
            vmhi_value value;

            for (char **word = words; *word; word++) {
                ck_assert_msg(**word && !strpbrk(*word, " ,"), "%s: \"%s\"", list[i].pattern, *word);
                ck_assert(vmhi_schema_parse(&list[i], list[i].pattern, *word, &value, NULL));
                vmhi_value_clear(&value);
            }
            if (!list[i].fallback)
                continue;
            vmhi_schema_parse(&list[i], list[i].pattern, list[i].fallback, &value, &error);
            assert_no_error(error);
            vmhi_value_clear(&value);
        }
    }
}
END_TEST

/* "disk.<id>.path" and "disk.<id>.path.x" could not both be JSON, nor could "<id>" stand beside a fixed name. */
START_TEST(no_leaf_is_an_inner_node)
{
    for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
        size_t              count;
        const vmh_property *list = vmhi_schema_list(kinds[k], &count);

        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < count; j++) {
                const char *a = list[i].pattern;
                const char *b = list[j].pattern;
                const char *open = strchr(a, '<');
                size_t      length = strlen(a);

                if (i == j)
                    continue;
                ck_assert_msg(strcmp(a, b) != 0, "%s twice", a);
                ck_assert_msg(strncmp(a, b, length) != 0 || b[length] != '.', "%s and %s", a, b);
                if (open && strncmp(a, b, (size_t)(open - a)) == 0)
                    ck_assert_msg(b[open - a] == '<', "%s and %s", a, b);
            }
        }
    }
}
END_TEST

START_TEST(the_schema_can_be_read)
{
    const vmh_property *property;
    vmh_error          *error = NULL;

    for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
        size_t count = vmh_schema_count(kinds[k]);

        ck_assert_uint_gt(count, 0);
        ck_assert_ptr_nonnull(vmh_schema_at(kinds[k], count - 1));
        ck_assert_ptr_null(vmh_schema_at(kinds[k], count));
        ck_assert_ptr_null(vmh_schema_at(kinds[k], SIZE_MAX));
    }
    ck_assert_uint_eq(vmh_schema_count("nothing"), 0);
    ck_assert_ptr_null(vmh_schema_at("nothing", 0));

    property = vmh_schema_find("vm", "disk.root.iops.read", &error);
    ck_assert_str_eq(vmh_property_pattern(property), "disk.<id>.iops.read");
    ck_assert_int_eq(vmh_property_type(property), VMH_TYPE_U64);
    ck_assert_str_eq(vmh_property_unit(property), "operations/s");
    ck_assert_ptr_null(vmh_property_values(property));
    ck_assert_double_eq(vmh_property_minimum(property), 0);
    ck_assert_double_eq(vmh_property_maximum(property), 1e9);
    ck_assert_str_eq(vmh_property_default(property), "0");
    ck_assert_int_eq(vmh_property_live(property), 1);
    ck_assert_int_eq(vmh_property_readonly(property), 0);
    ck_assert_str_eq(vmh_property_since(property), "0.1");
    ck_assert_ptr_nonnull(vmh_property_doc(property));
    ck_assert_str_eq(vmh_property_values(vmh_schema_find("vm", "accelerator", NULL)), "auto|kvm|tcg");
    ck_assert_int_eq(vmh_property_readonly(vmh_schema_find("vm", "state", NULL)), 1);

    ck_assert_ptr_null(vmh_schema_find("vm", "disk.root.paht", &error));
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "did you mean \"disk.root.path\"?");
    ck_assert_ptr_null(vmh_schema_find(NULL, "name", &error));
    assert_error(error, VMH_ERR_ARGUMENT, "NULL");
    ck_assert_ptr_null(vmh_schema_find("vm", NULL, &error));
    assert_error(error, VMH_ERR_ARGUMENT, "NULL");
}
END_TEST

START_TEST(null_reads_as_nothing)
{
    ck_assert_uint_eq(vmh_schema_count(NULL), 0);
    ck_assert_ptr_null(vmh_schema_at(NULL, 0));
    ck_assert_ptr_null(vmh_schema_find(NULL, NULL, NULL));
    ck_assert_ptr_null(vmh_property_pattern(NULL));
    ck_assert_int_eq(vmh_property_type(NULL), 0);
    ck_assert_ptr_null(vmh_property_unit(NULL));
    ck_assert_ptr_null(vmh_property_values(NULL));
    ck_assert_double_eq(vmh_property_minimum(NULL), 0);
    ck_assert_double_eq(vmh_property_maximum(NULL), 0);
    ck_assert_ptr_null(vmh_property_default(NULL));
    ck_assert_int_eq(vmh_property_live(NULL), 0);
    ck_assert_int_eq(vmh_property_readonly(NULL), 0);
    ck_assert_ptr_null(vmh_property_since(NULL));
    ck_assert_ptr_null(vmh_property_doc(NULL));
}
END_TEST

UNIT_RUN("schema", paths_mean_properties, other_paths_mean_none, unknown_names_get_the_nearest,
         hostile_paths_are_refused_shortly, nearest_of_a_list, values_are_read_and_written, wrong_values_are_refused,
         durations_are_read, all_numbers_are_written_exactly, typed_values_are_checked,
         huge_texts_are_refused_shortly, texts_have_their_limit, the_locale_does_not_matter, every_property_is_sound,
         defaults_and_words_are_values, no_leaf_is_an_inner_node, the_schema_can_be_read, null_reads_as_nothing)
