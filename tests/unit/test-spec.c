/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Specs: what is set is read back, a failure changes nothing, drivers may write what callers may not. */
#include "unit.h"

#include "model/spec.h"
#include <math.h>
#include <vmhost/properties.h>

#define assert_text(spec, path, expected)                                                                            \
    do {                                                                                                             \
        g_autofree char *text_ = vmh_spec_get_text_dup(spec, path, NULL);                                            \
        ck_assert_pstr_eq(text_, expected);                                                                          \
    } while (0)

static vmh_spec *new_vm(void)
{
    return vmh_spec_new("vm", NULL);
}

START_TEST(every_type_is_set_and_read)
{
    g_autoptr(vmh_spec) spec = new_vm();
    g_autoptr(vmh_error) error = NULL;
    const char *text;
    uint64_t    number;
    double      decimal;
    int32_t     flag;

    vmh_spec_set_str(spec, VMH_P_NAME, "web1", &error);
    vmh_spec_set_str(spec, VMH_P_UUID, "8C1FE4D8-4D3A-4C06-9D2C-0A5D1F8B1C11", &error);
    vmh_spec_set_str(spec, VMH_P_ACCELERATOR, "tcg", &error);
    vmh_spec_set_str(spec, VMH_P_CPU_PIN("0"), "3,1-2", &error);
    vmh_spec_set_str(spec, VMH_P_NIC_MAC("lan"), "52:54:00:AB:CD:EF", &error);
    vmh_spec_set_str(spec, VMH_P_DISK_PATH("root"), "/a", &error);
    vmh_spec_set_u64(spec, VMH_P_CPU_COUNT, 2, &error);
    vmh_spec_set_u64(spec, VMH_P_MEMORY_SIZE, 1 << 30, &error);
    vmh_spec_set_u64(spec, VMH_P_DISK_BANDWIDTH_READ("root"), 1250000, &error);
    vmh_spec_set_f64(spec, VMH_P_CPU_LIMIT, 1.5, &error);
    vmh_spec_set_bool(spec, VMH_P_RNG, 7, &error);
    assert_no_error(error);

    ck_assert_int_eq(vmh_spec_get_str(spec, VMH_P_UUID, &text, NULL), 0);
    ck_assert_str_eq(text, "8c1fe4d8-4d3a-4c06-9d2c-0a5d1f8b1c11");
    ck_assert_int_eq(vmh_spec_get_str(spec, "cpu.pin.0", &text, NULL), 0);
    ck_assert_str_eq(text, "1-3");
    ck_assert_int_eq(vmh_spec_get_str(spec, "nic.lan.mac", &text, NULL), 0);
    ck_assert_str_eq(text, "52:54:00:ab:cd:ef");
    ck_assert_int_eq(vmh_spec_get_u64(spec, "memory.size", &number, NULL), 0);
    ck_assert_uint_eq(number, 1 << 30);
    ck_assert_int_eq(vmh_spec_get_f64(spec, "cpu.limit", &decimal, NULL), 0);
    ck_assert_double_eq(decimal, 1.5);
    ck_assert_int_eq(vmh_spec_get_bool(spec, "rng", &flag, NULL), 0);
    ck_assert_int_eq(flag, 1);

    assert_text(spec, "name", "web1");
    assert_text(spec, "memory.size", "1GiB");
    assert_text(spec, "disk.root.bandwidth.read", "10Mbit/s");
    assert_text(spec, "cpu.limit", "1.5");
    assert_text(spec, "rng", "yes");
    assert_text(spec, "accelerator", "tcg");
}
END_TEST

START_TEST(a_failed_set_changes_nothing)
{
    g_autoptr(vmh_spec) spec = new_vm();
    vmh_error *error = NULL;

    ck_assert_int_eq(vmh_spec_set(spec, "cpu.count", "2", NULL), 0);
    ck_assert_int_eq(vmh_spec_set(spec, "cpu.count", "two", &error), VMH_ERR_VALUE);
    ck_assert_str_eq(vmh_error_property(error), "cpu.count");
    assert_error(error, VMH_ERR_VALUE, "takes a whole number from 1 to 4096, not \"two\"");
    ck_assert_int_eq(vmh_spec_set_u64(spec, "cpu.count", 0, NULL), VMH_ERR_VALUE);
    ck_assert_int_eq(vmh_spec_set_u64(spec, "cpu.count", UINT64_MAX, NULL), VMH_ERR_VALUE);
    ck_assert_int_eq(vmh_spec_set_f64(spec, "cpu.limit", NAN, NULL), VMH_ERR_VALUE);
    ck_assert_int_eq(vmh_spec_set(spec, "cpu.cuont", "2", &error), VMH_ERR_UNKNOWN_NAME);
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "did you mean \"cpu.count\"?");
    assert_text(spec, "cpu.count", "2");
    ck_assert_uint_eq(vmh_spec_paths(spec, NULL), 1);
}
END_TEST

START_TEST(an_error_that_is_set_stops_all)
{
    g_autoptr(vmh_spec) spec = new_vm();
    vmh_error *error = NULL;
    uint64_t   number = 7;

    vmh_spec_set(spec, "rng", "no", NULL);
    vmh_spec_set(spec, "cpu.count", "many", &error);
    ck_assert_int_eq(vmh_spec_set(spec, "name", "web1", &error), VMH_ERR_VALUE);
    ck_assert_int_eq(vmh_spec_set_str(spec, "name", "web1", &error), VMH_ERR_VALUE);
    ck_assert_int_eq(vmh_spec_set_u64(spec, "cpu.count", 1, &error), VMH_ERR_VALUE);
    ck_assert_int_eq(vmh_spec_set_f64(spec, "cpu.limit", 1, &error), VMH_ERR_VALUE);
    ck_assert_int_eq(vmh_spec_set_bool(spec, "rng", 1, &error), VMH_ERR_VALUE);
    ck_assert_int_eq(vmh_spec_get_u64(spec, "cpu.count", &number, &error), VMH_ERR_VALUE);
    ck_assert_int_eq(vmh_spec_unset(spec, "rng", &error), VMH_ERR_VALUE);
    ck_assert_ptr_null(vmh_spec_get_text_dup(spec, "rng", &error));
    ck_assert_ptr_null(vmh_spec_to_json(spec, 0, &error));
    ck_assert_ptr_null(vmh_spec_from_json("vm", "{}", 2, &error));
    ck_assert_ptr_null(vmh_spec_new("vm", &error));
    ck_assert_ptr_null(vmh_schema_find("vm", "name", &error));
    ck_assert_uint_eq(number, 7);
    assert_error(error, VMH_ERR_VALUE, "cpu.count");
    ck_assert_uint_eq(vmh_spec_paths(spec, NULL), 1);
    assert_text(spec, "rng", "no");
}
END_TEST

START_TEST(types_do_not_mix)
{
    static const char *const texts[] = {"name", "uuid", "accelerator", "cpu.pin.0", "boot.kernel", "nic.a.mac"};
    static const char *const numbers[] = {"cpu.count", "memory.size", "disk.a.bandwidth.total"};
    g_autoptr(vmh_spec) spec = new_vm();
    vmh_error  *error = NULL;
    const char *text = "kept";
    uint64_t    number = 7;
    double      decimal;
    int32_t     flag;

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        ck_assert_int_eq(vmh_spec_set_u64(spec, texts[i], 1, &error), VMH_ERR_VALUE);
        assert_error(error, VMH_ERR_VALUE, "use vmh_spec_set_str()");
        ck_assert_int_eq(vmh_spec_get_u64(spec, texts[i], &number, &error), VMH_ERR_VALUE);
        assert_error(error, VMH_ERR_VALUE, "use vmh_spec_get_str()");
    }
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        ck_assert_int_eq(vmh_spec_set_str(spec, numbers[i], "1", &error), VMH_ERR_VALUE);
        assert_error(error, VMH_ERR_VALUE, "use vmh_spec_set_u64()");
        ck_assert_int_eq(vmh_spec_get_str(spec, numbers[i], &text, &error), VMH_ERR_VALUE);
        assert_error(error, VMH_ERR_VALUE, "use vmh_spec_get_u64()");
    }
    ck_assert_int_eq(vmh_spec_set_u64(spec, "cpu.limit", 1, &error), VMH_ERR_VALUE);
    assert_error(error, VMH_ERR_VALUE, "use vmh_spec_set_f64()");
    ck_assert_int_eq(vmh_spec_get_f64(spec, "rng", &decimal, &error), VMH_ERR_VALUE);
    assert_error(error, VMH_ERR_VALUE, "use vmh_spec_get_bool()");
    ck_assert_int_eq(vmh_spec_get_bool(spec, "name", &flag, NULL), VMH_ERR_VALUE);
    ck_assert_str_eq(text, "kept");
    ck_assert_uint_eq(number, 7);
    ck_assert_uint_eq(vmh_spec_paths(spec, NULL), 0);
}
END_TEST

START_TEST(what_is_not_set_says_so)
{
    g_autoptr(vmh_spec) spec = new_vm();
    vmh_error *error = NULL;
    uint64_t   number;

    ck_assert_int_eq(vmh_spec_get_u64(spec, "cpu.count", &number, &error), VMH_ERR_NOT_SET);
    ck_assert_str_eq(vmh_error_property(error), "cpu.count");
    assert_error(error, VMH_ERR_NOT_SET, "cpu.count is not set");
    ck_assert_int_eq(vmh_spec_get_u64(spec, "cpu.cont", &number, &error), VMH_ERR_UNKNOWN_NAME);
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "cpu.count");
    ck_assert_ptr_null(vmh_spec_get_text_dup(spec, "name", &error));
    assert_error(error, VMH_ERR_NOT_SET, "name is not set");
    ck_assert_int_eq(vmh_spec_has(spec, "name"), 0);
    ck_assert_int_eq(vmh_spec_has(spec, "nonsense"), 0);
    vmh_spec_set(spec, "name", "a", NULL);
    ck_assert_int_eq(vmh_spec_has(spec, "name"), 1);
    ck_assert_int_eq(vmh_spec_unset(spec, "name", &error), 0);
    ck_assert_int_eq(vmh_spec_unset(spec, "name", &error), 0);
    ck_assert_int_eq(vmh_spec_has(spec, "name"), 0);
    ck_assert_int_eq(vmh_spec_unset(spec, "nmae", &error), VMH_ERR_UNKNOWN_NAME);
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "name");
}
END_TEST

START_TEST(a_pattern_is_no_path)
{
    g_autoptr(vmh_spec) spec = new_vm();
    vmh_error *error = NULL;

    ck_assert_int_eq(vmh_spec_set(spec, "disk.<id>.path", "/a", &error), VMH_ERR_UNKNOWN_NAME);
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "put a name of yours in its place");
    ck_assert_int_eq(vmh_spec_set(spec, "cpu.pin.<n>", "0", &error), VMH_ERR_UNKNOWN_NAME);
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "put a number of yours in its place");
    vmhi_spec_put(spec, "disk.<id>.path", "/a");
    ck_assert_uint_eq(vmh_spec_paths(spec, NULL), 0);
}
END_TEST

START_TEST(only_drivers_write_what_is_reported)
{
    g_autoptr(vmh_spec) spec = new_vm();
    vmh_error *error = NULL;
    uint64_t   number;

    ck_assert_int_eq(vmh_spec_set(spec, "state", "running", &error), VMH_ERR_VALUE);
    assert_error(error, VMH_ERR_VALUE, "state is only reported");
    ck_assert_int_eq(vmh_spec_set_u64(spec, "generation", 1, &error), VMH_ERR_VALUE);
    assert_error(error, VMH_ERR_VALUE, "generation is only reported");
    ck_assert_int_eq(vmh_spec_set_bool(spec, "persistent", 1, NULL), VMH_ERR_VALUE);
    vmhi_spec_put(spec, "state", "running");
    vmhi_spec_put(spec, "name", "a");
    vmhi_spec_put_u64(spec, "generation", UINT64_MAX);
    vmhi_spec_put_bool(spec, "persistent", TRUE);
    ck_assert_int_eq(vmh_spec_get_u64(spec, "generation", &number, NULL), 0);
    ck_assert_uint_eq(number, UINT64_MAX);
    assert_text(spec, "persistent", "yes");
    vmhi_spec_strip_readonly(spec);
    ck_assert_uint_eq(vmh_spec_paths(spec, NULL), 1);
    assert_text(spec, "name", "a");
}
END_TEST

START_TEST(drivers_leave_out_what_does_not_fit)
{
    g_autoptr(vmh_spec) spec = new_vm();

    vmhi_spec_put(spec, "name", NULL);
    vmhi_spec_put(spec, "nonsense", "x");
    vmhi_spec_put(spec, "disk.a.format", "zfs");
    vmhi_spec_put(spec, "title", "a\x01");
    vmhi_spec_put_u64(spec, "cpu.count", 0);
    vmhi_spec_put_u64(spec, "name", 1);
    vmhi_spec_put_u64(spec, "nonsense", 1);
    vmhi_spec_put_f64(spec, "cpu.limit", NAN);
    vmhi_spec_put_f64(spec, "cpu.count", 1);
    vmhi_spec_put_bool(spec, "name", TRUE);
    ck_assert_uint_eq(vmh_spec_paths(spec, NULL), 0);
    vmhi_spec_put_u64(spec, "memory.size", 1 << 30);
    vmhi_spec_put_f64(spec, "cpu.limit", 0.5);
    assert_text(spec, "memory.size", "1GiB");
    assert_text(spec, "cpu.limit", "0.5");
}
END_TEST

START_TEST(drivers_read_without_errors)
{
    g_autoptr(vmh_spec) spec = new_vm();
    uint64_t number = 7;
    double   decimal = 7;
    gboolean flag = 7;

    ck_assert_ptr_null(vmhi_spec_str(spec, "name"));
    ck_assert_ptr_null(vmhi_spec_str(NULL, "name"));
    ck_assert(!vmhi_spec_u64(spec, "cpu.count", &number) && number == 7);
    ck_assert(!vmhi_spec_f64(spec, "cpu.limit", &decimal) && decimal == 7);
    ck_assert(!vmhi_spec_bool(spec, "rng", &flag) && flag == 7);
    ck_assert_uint_eq(vmhi_spec_u64_or_default(spec, "vm", "cpu.count"), 1);
    ck_assert_uint_eq(vmhi_spec_u64_or_default(NULL, "open", "connect.timeout"), 15000);
    ck_assert_int_eq(vmhi_spec_bool_or_default(NULL, "open", "reconnect"), 1);
    ck_assert_int_eq(vmhi_spec_bool_or_default(NULL, "open", "readonly"), 0);
    ck_assert_str_eq(vmhi_spec_str_or_default(spec, "vm", "disk.a.format"), "raw");
    ck_assert_ptr_null(vmhi_spec_str_or_default(spec, "vm", "name"));
    ck_assert_uint_eq(vmhi_spec_u64_or_default(spec, "vm", "cpu.max"), 0);

    vmhi_spec_put(spec, "disk.a.format", "qcow2");
    vmhi_spec_put(spec, "cpu.count", "4");
    vmhi_spec_put(spec, "rng", "no");
    vmhi_spec_put(spec, "cpu.limit", "2.5");
    ck_assert_str_eq(vmhi_spec_str_or_default(spec, "vm", "disk.a.format"), "qcow2");
    ck_assert_uint_eq(vmhi_spec_u64_or_default(spec, "vm", "cpu.count"), 4);
    ck_assert_int_eq(vmhi_spec_bool_or_default(spec, "vm", "rng"), 0);
    ck_assert(vmhi_spec_f64(spec, "cpu.limit", &decimal) && decimal == 2.5);
    ck_assert(!vmhi_spec_u64(spec, "rng", &number) && !vmhi_spec_str(spec, "cpu.count"));
}
END_TEST

START_TEST(devices_are_listed_once)
{
    g_autoptr(vmh_spec) spec = new_vm();
    g_auto(GStrv) ids = NULL;
    g_auto(GStrv) none = vmhi_spec_ids(spec, "disk");
    g_auto(GStrv) nothing = vmhi_spec_ids(NULL, "disk");
    g_autofree char *list = NULL;
    g_autofree char *path = vmhi_path("disk", "root", "path");

    ck_assert_str_eq(path, "disk.root.path");
    ck_assert_ptr_null(none[0]);
    ck_assert_ptr_null(nothing[0]);
    vmhi_spec_put(spec, "disk.b.path", "/b");
    vmhi_spec_put(spec, "disk.b.format", "raw");
    vmhi_spec_put(spec, "disk.a.path", "/a");
    vmhi_spec_put(spec, "disk.a-b.path", "/ab");
    vmhi_spec_put(spec, "disk.a.format", "raw");
    vmhi_spec_put(spec, "disk.B.iops.read", "1");
    vmhi_spec_put(spec, "nic.x.user", "yes");
    vmhi_spec_put(spec, "metadata.disk", "x");
    ids = vmhi_spec_ids(spec, "disk");
    list = g_strjoinv(" ", ids);
    ck_assert_str_eq(list, "B a a-b b");
}
END_TEST

START_TEST(specs_are_compared_by_property)
{
    g_autoptr(vmh_spec) a = new_vm();
    g_autoptr(vmh_spec) b = new_vm();

    ck_assert(vmhi_spec_same(a, b, "memory.size"));
    vmhi_spec_put(a, "memory.size", "1GiB");
    ck_assert(!vmhi_spec_same(a, b, "memory.size"));
    ck_assert(!vmhi_spec_same(b, a, "memory.size"));
    vmhi_spec_put(b, "memory.size", "1024MiB");
    ck_assert(vmhi_spec_same(a, b, "memory.size"));
    vmhi_spec_put(b, "memory.size", "2GiB");
    ck_assert(!vmhi_spec_same(a, b, "memory.size"));
    vmhi_spec_put(a, "cpu.pin.0", "0,1");
    vmhi_spec_put(b, "cpu.pin.0", "0-1");
    ck_assert(vmhi_spec_same(a, b, "cpu.pin.0"));
}
END_TEST

START_TEST(a_copy_is_independent)
{
    g_autoptr(vmh_spec) spec = new_vm();
    g_autoptr(vmh_spec) copy = NULL;
    vmh_spec *again;

    vmh_spec_set(spec, "name", "a", NULL);
    vmh_spec_set(spec, "cpu.count", "2", NULL);
    copy = vmh_spec_dup(spec);
    vmh_spec_set(spec, "name", "b", NULL);
    vmh_spec_unset(spec, "cpu.count", NULL);
    assert_text(copy, "name", "a");
    assert_text(copy, "cpu.count", "2");
    ck_assert_str_eq(vmh_spec_kind(copy), "vm");

    again = vmh_spec_ref(copy);
    ck_assert_ptr_eq(again, copy);
    vmh_spec_set(again, "name", "c", NULL);
    assert_text(copy, "name", "c");
    vmh_spec_unref(again);
    assert_text(copy, "name", "c");
}
END_TEST

START_TEST(paths_are_one_block)
{
    g_autoptr(vmh_spec) spec = new_vm();
    char **paths;

    ck_assert_uint_eq(vmh_spec_paths(spec, &paths), 0);
    ck_assert_ptr_null(paths[0]);
    vmh_free(paths);
    vmh_spec_set(spec, "name", "a", NULL);
    vmh_spec_set(spec, "disk.root.path", "/a", NULL);
    vmh_spec_set(spec, "cpu.count", "1", NULL);
    ck_assert_uint_eq(vmh_spec_paths(spec, &paths), 3);
    ck_assert_str_eq(paths[0], "cpu.count");
    ck_assert_str_eq(paths[1], "disk.root.path");
    ck_assert_str_eq(paths[2], "name");
    ck_assert_ptr_null(paths[3]);
    vmh_free(paths);
}
END_TEST

START_TEST(kinds_are_known)
{
    static const char *const kinds[] = {"vm", "host", "open", "migrate"};
    vmh_error               *error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autoptr(vmh_spec) spec = vmh_spec_new(kinds[i], &error);
        ck_assert_str_eq(vmh_spec_kind(spec), kinds[i]);
    }
    ck_assert_ptr_null(vmh_spec_new("VM", &error));
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "the kinds are vm, host, open, migrate");
    ck_assert_ptr_null(vmh_spec_new("", NULL));
}
END_TEST

START_TEST(null_is_an_argument_error)
{
    g_autoptr(vmh_spec) spec = new_vm();
    vmh_error  *error = NULL;
    const char *text;
    uint64_t    number;
    double      decimal;
    int32_t     flag;
    char      **paths = NULL;

#define REFUSES(call)                                                                                                \
    do {                                                                                                             \
        ck_assert_int_eq(call, VMH_ERR_ARGUMENT);                                                                    \
        assert_error(error, VMH_ERR_ARGUMENT, "NULL");                                                               \
    } while (0)
#define GIVES_NULL(call)                                                                                             \
    do {                                                                                                             \
        ck_assert_ptr_null(call);                                                                                    \
        assert_error(error, VMH_ERR_ARGUMENT, "NULL");                                                               \
    } while (0)
    REFUSES(vmh_spec_set(NULL, "name", "a", &error));
    REFUSES(vmh_spec_set(spec, NULL, "a", &error));
    REFUSES(vmh_spec_set(spec, "name", NULL, &error));
    REFUSES(vmh_spec_set_str(NULL, "name", "a", &error));
    REFUSES(vmh_spec_set_str(spec, NULL, "a", &error));
    REFUSES(vmh_spec_set_str(spec, "name", NULL, &error));
    REFUSES(vmh_spec_set_u64(NULL, "cpu.count", 1, &error));
    REFUSES(vmh_spec_set_u64(spec, NULL, 1, &error));
    REFUSES(vmh_spec_set_f64(NULL, "cpu.limit", 1, &error));
    REFUSES(vmh_spec_set_f64(spec, NULL, 1, &error));
    REFUSES(vmh_spec_set_bool(NULL, "rng", 1, &error));
    REFUSES(vmh_spec_set_bool(spec, NULL, 1, &error));
    REFUSES(vmh_spec_get_str(NULL, "name", &text, &error));
    REFUSES(vmh_spec_get_str(spec, NULL, &text, &error));
    REFUSES(vmh_spec_get_str(spec, "name", NULL, &error));
    REFUSES(vmh_spec_get_u64(NULL, "cpu.count", &number, &error));
    REFUSES(vmh_spec_get_u64(spec, NULL, &number, &error));
    REFUSES(vmh_spec_get_u64(spec, "cpu.count", NULL, &error));
    REFUSES(vmh_spec_get_f64(NULL, "cpu.limit", &decimal, &error));
    REFUSES(vmh_spec_get_f64(spec, NULL, &decimal, &error));
    REFUSES(vmh_spec_get_f64(spec, "cpu.limit", NULL, &error));
    REFUSES(vmh_spec_get_bool(NULL, "rng", &flag, &error));
    REFUSES(vmh_spec_get_bool(spec, NULL, &flag, &error));
    REFUSES(vmh_spec_get_bool(spec, "rng", NULL, &error));
    REFUSES(vmh_spec_unset(NULL, "name", &error));
    REFUSES(vmh_spec_unset(spec, NULL, &error));
    GIVES_NULL(vmh_spec_new(NULL, &error));
    GIVES_NULL(vmh_spec_get_text_dup(NULL, "name", &error));
    GIVES_NULL(vmh_spec_get_text_dup(spec, NULL, &error));
    GIVES_NULL(vmh_spec_to_json(NULL, 0, &error));
    GIVES_NULL(vmh_spec_from_json(NULL, "{}", 2, &error));
    GIVES_NULL(vmh_spec_from_json("vm", NULL, 2, &error));

    ck_assert_int_eq(vmh_spec_set(NULL, NULL, NULL, NULL), VMH_ERR_ARGUMENT);
    ck_assert_int_eq(vmh_spec_set_str(NULL, NULL, NULL, NULL), VMH_ERR_ARGUMENT);
    ck_assert_int_eq(vmh_spec_get_str(NULL, NULL, NULL, NULL), VMH_ERR_ARGUMENT);
    ck_assert_ptr_null(vmh_spec_ref(NULL));
    vmh_spec_unref(NULL);
    ck_assert_ptr_null(vmh_spec_dup(NULL));
    ck_assert_ptr_null(vmh_spec_kind(NULL));
    ck_assert_int_eq(vmh_spec_has(NULL, "name"), 0);
    ck_assert_int_eq(vmh_spec_has(spec, NULL), 0);
    ck_assert_uint_eq(vmh_spec_paths(NULL, NULL), 0);
    ck_assert_uint_eq(vmh_spec_paths(NULL, &paths), 0);
    ck_assert_ptr_null(paths[0]);
    vmh_free(paths);
}
END_TEST

/* --- one spec, sixteen threads --- */

enum { THREADS = 16, ROUNDS = 200 };

static void *use_spec(void *data)
{
    vmh_spec *spec = vmh_spec_ref(data);

    for (int i = 0; i < ROUNDS; i++) {
        g_autofree char *text = NULL;
        char           **paths;
        uint64_t         number = 1;
        vmh_spec        *copy;

        vmh_spec_set_u64(spec, "cpu.count", 1 + (uint64_t)i, NULL);
        vmh_spec_set(spec, "title", i % 2 ? "odd" : "even", NULL);
        vmh_spec_set(spec, i % 2 ? "disk.a.path" : "disk.b.path", "/x", NULL);
        if (vmh_spec_get_u64(spec, "cpu.count", &number, NULL) == 0)
            g_assert_cmpuint(number, <=, ROUNDS);
        text = vmh_spec_get_text_dup(spec, "title", NULL);
        vmh_spec_unset(spec, i % 3 ? "title" : "disk.a.path", NULL);
        vmh_spec_paths(spec, &paths);
        vmh_free(paths);
        copy = vmh_spec_dup(spec);
        vmh_free(vmh_spec_to_json(copy, 0, NULL));
        vmh_free(vmh_spec_to_json(spec, 0, NULL));
        vmh_spec_unref(copy);
    }
    vmh_spec_unref(spec);
    return NULL;
}

START_TEST(sixteen_threads_share_a_spec)
{
    vmh_spec *spec = new_vm();
    GThread  *threads[THREADS];
    uint64_t  number;

    for (int i = 0; i < THREADS; i++)
        threads[i] = g_thread_new("user", use_spec, spec);
    for (int i = 0; i < THREADS; i++)
        g_thread_join(threads[i]);
    ck_assert_int_eq(vmh_spec_get_u64(spec, "cpu.count", &number, NULL), 0);
    ck_assert_uint_eq(number, ROUNDS);
    vmh_spec_unref(spec);
}
END_TEST

UNIT_RUN("spec", every_type_is_set_and_read, a_failed_set_changes_nothing, an_error_that_is_set_stops_all,
         types_do_not_mix, what_is_not_set_says_so, a_pattern_is_no_path, only_drivers_write_what_is_reported,
         drivers_leave_out_what_does_not_fit, drivers_read_without_errors, devices_are_listed_once,
         specs_are_compared_by_property, a_copy_is_independent, paths_are_one_block, kinds_are_known,
         null_is_an_argument_error, sixteen_threads_share_a_spec)
