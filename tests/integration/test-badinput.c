/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hostile text wherever text is taken: it is refused with a clear error, or it comes back exactly as it was. */
#include "integration.h"

#include <glib/gstdio.h>
#include <unistd.h>

static const char *const hostile[] = {
    "",
    " ",
    " before and after ",
    "<b attr='x'>&amp;</b>",
    "]]>",
    "<![CDATA[x]]>",
    "<!-- --><!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>&e;",
    "'\"`$(touch /tmp/vmhost-was-here); | & > < * ?",
    "a,id=b,readonly=on",
    "../../../../etc/passwd",
    "/etc/passwd",
    "%s%n%d%p",
    "--help",
    "-",
    "\\",
    "two\nlines",
    "carriage\rreturn\r\n",
    "a\ttab",
    "\001\002\033[31m",
    "\177",
    "\xff\xfe",
    "\xc0\x80",
    "\xed\xa0\x80",
    "half of one: \xc3",
    "not a character: \xef\xbf\xbe",
    "beyond: \xf4\x90\x80\x80",
    "\xe2\x80\xae right to left",
    "\xf0\x9f\x90\xa7 \xc3\xbcml\xc3\xa4ut",
    "line separator: \xe2\x80\xa8",
};

/* An error is one line that a terminal can show, of bearable length. */
static void assert_clear(const vmh_error *error, const char *what)
{
    const char *message = vmh_error_message(error);

    ck_assert_msg(error != NULL, "%s: failed without an error", what);
    ck_assert_msg(vmh_error_code(error) != VMH_ERR_INTERNAL, "%s: %s", what, message);
    ck_assert_msg(g_utf8_validate(message, -1, NULL), "%s: the message is not UTF-8", what);
    ck_assert_msg(strlen(message) > 8 && strlen(message) < 4096, "%s: %.200s", what, message);
    for (const char *at = message; *at; at = g_utf8_next_char(at))
        ck_assert_msg(!g_unichar_iscntrl(g_utf8_get_char(at)), "%s: control characters in: %s", what, message);
}

static gboolean is_text(const vmh_property *property)
{
    int32_t type = vmh_property_type(property);

    return (type == VMH_TYPE_STRING || type == VMH_TYPE_PATH) && !vmh_property_readonly(property);
}

/* What a property needs beside it to make sense. */
static void set_context(vmh_spec *spec, const char *path)
{
    if (g_str_has_prefix(path, "disk.x0.") && !g_str_has_suffix(path, ".volume") && !g_str_has_suffix(path, ".url"))
        vmh_spec_set(spec, "disk.x0.path", "/srv/a.img", NULL);
    if (g_str_has_prefix(path, "nic.x0.") && !g_str_has_suffix(path, ".bridge") && !g_str_has_suffix(path, ".tap"))
        vmh_spec_set(spec, "nic.x0.network", "default", NULL);
    if (strcmp(path, "boot.initrd") == 0 || strcmp(path, "boot.cmdline") == 0)
        vmh_spec_set(spec, "boot.kernel", "/srv/vmlinuz", NULL);
    if (g_str_has_prefix(path, "share."))
        vmh_spec_set(spec, "memory.shared", "yes", NULL);
}

/* A VM was made: it says of the property what was given, and its name is found. */
static void assert_kept(vmh_job *job, const char *path, const char *text)
{
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_vm) vm = vmh_job_result_vm(job);
    g_autoptr(vmh_spec) got = vmh_vm_describe(vm, 0, &error);
    g_autofree char *back = got ? test_text(got, path) : NULL;

    ck_assert_msg(got != NULL, "%s: %s", path, vmh_error_message(error));
    if (*text) /* else the hypervisor may have chosen */
        ck_assert_msg(strcmp(back, text) == 0, "%s was set to \"%s\" and is \"%s\"", path, text, back);
    assert_ok(vmh_vm_delete(vm, 0, &error));
}

static void try_value(vmh_host *host, const char *path, const char *text)
{
    g_autofree char *name = test_name("bad");
    g_autofree char *what = g_strdup_printf("%s set to \"%.40s\"", path, text);
    g_autoptr(vmh_spec) spec = test_spec(name, 16);
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_job) job = NULL;

    set_context(spec, path);
    if (vmh_spec_set_str(spec, path, text, &error) < 0) {
        assert_clear(error, what);
        ck_assert_msg(g_strcmp0(vmh_error_property(error), path) == 0, "%s: about %s", what,
                      vmh_error_property(error));
        return;
    }
    ck_assert_msg(g_utf8_validate(text, -1, NULL), "%s was taken", what);
    job = vmh_host_create_vm(host, spec, 0, &error);
    if (vmh_job_wait(job, PATIENCE_MS, &error) < 0)
        assert_clear(error, what);
    else
        assert_kept(job, path, text);
}

static void try_property(vmh_host *host, const vmh_property *property)
{
    g_autoptr(GString) path = g_string_new(vmh_property_pattern(property));
    g_autofree char *huge = g_strnfill(1 << 20, 'x');
    g_autofree char *huge_path = g_strconcat("/", huge, NULL);

    g_string_replace(path, "<id>", "x0", 0);
    for (size_t i = 0; i < G_N_ELEMENTS(hostile); i++) {
        g_autofree char *rooted = g_strconcat("/srv/", hostile[i], NULL);
        try_value(host, path->str, hostile[i]);
        if (vmh_property_type(property) == VMH_TYPE_PATH)
            try_value(host, path->str, rooted);
    }
    try_value(host, path->str, huge);
    try_value(host, path->str, huge_path);
}

/* What this test has made is gone; others may work on the host meanwhile. */
static guint count_ours(vmh_host *host)
{
    vmh_vm **vms = NULL;
    size_t   count = vmh_host_list_vms(host, &vms);
    guint    ours = 0;

    for (size_t i = 0; i < count; i++) {
        g_autofree char *name = test_vm_name(vms[i]);
        ours += g_str_has_prefix(name, test_prefix());
    }
    vmh_vm_list_free(vms);
    return ours;
}

static void try_host(const char *uri)
{
    g_autoptr(vmh_host) host = open_host(uri);

    for (size_t i = 0; i < vmh_schema_count("vm"); i++)
        if (is_text(vmh_schema_at("vm", i)))
            try_property(host, vmh_schema_at("vm", i));
    ck_assert_int_eq(vmh_job_finish(vmh_host_refresh(host, 0, NULL), PATIENCE_MS, NULL), 0);
    ck_assert_uint_eq(count_ours(host), 0);
    ck_assert(!g_file_test("/tmp/vmhost-was-here", G_FILE_TEST_EXISTS));
}

START_TEST(properties_on_the_test_host)
{
    try_host("test:///default");
}
END_TEST

START_TEST(properties_on_qemu)
{
    if (lab_is_here())
        try_host(lab_variable("URI_A"));
}
END_TEST

/* --- names and words that are no properties --- */

#define REFUSES(failed, call)                                                                                        \
    do {                                                                                                             \
        ck_assert_msg((call)failed, "%s took \"%.40s\"", #call, text);                                               \
        assert_clear(error, #call);                                                                                  \
        g_clear_pointer(&error, vmh_error_free);                                                                     \
    } while (0)

static void try_words(vmh_host *host, vmh_vm *vm, const char *text)
{
    vmh_error *error = NULL;
    vmh_spec  *spec = test_spec("x", 16);
    uint64_t   number;

    REFUSES(== NULL, vmh_host_find_vm(host, text, &error));
    REFUSES(< 0, vmh_host_supports(host, text, NULL, &error));
    REFUSES(== NULL, vmh_host_sample(host, text, 0, &error));
    REFUSES(== NULL, vmh_queue_new(host, text, 0, &error));
    REFUSES(== NULL, vmh_spec_new(text, &error));
    REFUSES(== NULL, vmh_schema_find("vm", text, &error));
    REFUSES(== NULL, vmh_metric_find(text, &error));
    REFUSES(== NULL, vmh_spec_from_json("vm", text, strlen(text), &error));
    REFUSES(< 0, vmh_spec_set(spec, text, "x", &error));
    REFUSES(< 0, vmh_spec_set(spec, "cpu.count", text, &error));
    REFUSES(< 0, vmh_spec_get_u64(spec, text, &number, &error));
    REFUSES(< 0, vmh_spec_unset(spec, text, &error));
    REFUSES(< 0, vmh_vm_console(vm, text, 0, &error));
    ck_assert_int_eq(vmh_spec_has(spec, text), 0);
    ck_assert_uint_eq(vmh_schema_count(text), 0);
    vmh_spec_unref(spec);
}

START_TEST(words_on_the_test_host)
{
    vmh_host        *host = open_host("test:///default");
    vmh_vm          *vm = vmh_host_find_vm(host, "test", NULL);
    g_autofree char *huge = g_strnfill(1 << 20, 'x');

    for (size_t i = 0; i < G_N_ELEMENTS(hostile); i++)
        try_words(host, vm, hostile[i]);
    try_words(host, vm, huge);
    vmh_vm_unref(vm);
    vmh_host_unref(host);
}
END_TEST

START_TEST(console_names_on_qemu)
{
    vmh_error       *error = NULL;
    vmh_host        *host = lab_is_here() ? open_host(lab_variable("URI_A")) : NULL;
    g_autofree char *name = test_name("console");
    g_autoptr(vmh_spec) spec = test_spec(name, 16);
    vmh_vm *vm = host ? create(host, spec, VMH_CREATE_START) : NULL;

    for (size_t i = 0; host && i < G_N_ELEMENTS(hostile); i++) {
        const char *text = hostile[i];
        REFUSES(< 0, vmh_vm_console(vm, text, 0, &error));
    }
    if (host)
        test_clean(host);
    vmh_vm_unref(vm);
    vmh_host_unref(host);
}
END_TEST

/* --- options of opening --- */

START_TEST(options_of_opening)
{
    for (size_t i = 0; i < G_N_ELEMENTS(hostile); i++) {
        static const char *const names[] = {"auth.user", "auth.password"};
        for (size_t j = 0; j < G_N_ELEMENTS(names); j++) {
            g_autoptr(vmh_spec) options = vmh_spec_new("open", NULL);
            g_autoptr(vmh_error) error = NULL;
            if (vmh_spec_set_str(options, names[j], hostile[i], &error) < 0) {
                assert_clear(error, names[j]);
                continue;
            }
            vmh_host_unref(vmh_host_open("test:///default", options, 0, &error));
            if (error)
                assert_clear(error, names[j]);
        }
    }
}
END_TEST

/* --- files that are not what they should be --- */

static vmh_spec *spec_with(const char *name, const char *property, const char *value)
{
    vmh_spec *spec = test_spec(name, 16);

    if (strcmp(property, "boot.initrd") == 0)
        vmh_spec_set_str(spec, "boot.kernel", lab_variable("KERNEL"), NULL);
    if (strcmp(property, "nic.x0.filter") == 0)
        vmh_spec_set_str(spec, "nic.x0.network", "default", NULL);
    ck_assert_int_eq(vmh_spec_set_str(spec, property, value, NULL), 0);
    return spec;
}

/* The error names the property and what is not there. */
static void assert_about(vmh_error *error, int32_t code, const char *property, const char *value)
{
    ck_assert_msg(error != NULL, "%s = %s was taken", property, value);
    assert_clear(error, property);
    ck_assert_msg(g_strcmp0(vmh_error_property(error), property) == 0 && vmh_error_code(error) == code,
                  "%s = %s: %s about %s: %s", property, value, vmh_error_name(vmh_error_code(error)),
                  vmh_error_property(error), vmh_error_message(error));
    ck_assert_msg(strstr(vmh_error_message(error), property), "%s", vmh_error_message(error));
    if (*value == '/')
        ck_assert_msg(strstr(vmh_error_message(error), value), "%s", vmh_error_message(error));
    vmh_error_free(error);
}

static void refuses(vmh_host *host, int32_t code, const char *property, const char *value, uint64_t flags)
{
    g_autofree char *name = test_name("file");
    g_autoptr(vmh_spec) spec = spec_with(name, property, value);
    vmh_error *error = NULL;

    vmh_job_finish(vmh_host_create_vm(host, spec, flags, &error), PATIENCE_MS, &error);
    assert_about(error, code, property, value);
    ck_assert_msg(!vmh_host_find_vm(host, name, NULL), "what could not start was left behind");
}

/* A VM may be made before its disk is; then it is the start that finds it missing. */
static void refuses_to_start(vmh_host *host, int32_t code, const char *property, const char *value)
{
    g_autofree char *name = test_name("later");
    g_autoptr(vmh_spec) spec = spec_with(name, property, value);
    g_autoptr(vmh_vm) vm = create(host, spec, 0);
    vmh_error *error = NULL;

    vmh_job_finish(vmh_vm_start(vm, 0, &error), PATIENCE_MS, &error);
    assert_about(error, code, property, value);
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_STOPPED);
}

/* What the queue told until now is of no VM that could not start, but of one that can be made after them. */
static void assert_told_of_one(vmh_host *host, vmh_queue *queue)
{
    g_autofree char *name = test_name("marker");
    g_autoptr(vmh_spec) spec = test_spec(name, 16);
    vmh_event *event = NULL;

    vmh_vm_unref(create(host, spec, 0));
    ck_assert_int_eq(vmh_job_finish(vmh_host_refresh(host, 0, NULL), PATIENCE_MS, NULL), 0);
    ck_assert_int_eq(vmh_queue_wait(queue, PATIENCE_MS, &event, NULL), 1);
    ck_assert_msg(g_strcmp0(vmh_event_str(event, "name"), name) == 0, "event %d of %s", vmh_event_type(event),
                  vmh_event_str(event, "name"));
    vmh_event_free(event);
}

START_TEST(files_on_qemu)
{
    vmh_host *host = lab_is_here() ? open_host(lab_variable("URI_A")) : NULL;

    vmh_queue *queue = host ? vmh_queue_new(host, "vm", 0, NULL) : NULL;

    if (!host)
        return;
    vmh_event_free(test_wait_event(queue, VMH_EVENT_SYNCED, NULL, PATIENCE_MS));
    refuses(host, VMH_ERR_NOT_FOUND, "disk.x0.path", "/nonexistent/disk.img", VMH_CREATE_START);
    refuses(host, VMH_ERR_VALUE, "disk.x0.path", "/srv", VMH_CREATE_START);
    refuses(host, VMH_ERR_NOT_FOUND, "disk.x0.volume", "nowhere/disk", VMH_CREATE_START);
    refuses(host, VMH_ERR_NOT_FOUND, "boot.kernel", "/nonexistent/vmlinuz", VMH_CREATE_START);
    refuses(host, VMH_ERR_NOT_FOUND, "boot.initrd", "/nonexistent/initrd", VMH_CREATE_START);
    refuses(host, VMH_ERR_NOT_FOUND, "console.x0.to", "file:/nonexistent/log", VMH_CREATE_START);
    refuses(host, VMH_ERR_NOT_FOUND, "nic.x0.network", "nowhere", VMH_CREATE_START);
    refuses(host, VMH_ERR_NOT_FOUND, "nic.x0.bridge", "nobridge", VMH_CREATE_START);
    refuses(host, VMH_ERR_NOT_FOUND, "disk.x0.path", "/nonexistent/disk.img",
            VMH_CREATE_START | VMH_CREATE_TRANSIENT);
    assert_told_of_one(host, queue);
    refuses_to_start(host, VMH_ERR_NOT_FOUND, "disk.x0.path", "/nonexistent/disk.img");
    refuses_to_start(host, VMH_ERR_NOT_FOUND, "boot.kernel", "/nonexistent/vmlinuz");
    refuses_to_start(host, VMH_ERR_NOT_FOUND, "nic.x0.network", "nowhere");
    test_clean(host);
    vmh_queue_unref(queue);
    vmh_host_unref(host);
}
END_TEST

/* Nothing is made, and yet it is known that the start would fail. */
static void validates(const char *variable, gboolean sees_files)
{
    const uint64_t flags = VMH_CREATE_VALIDATE_ONLY | VMH_CREATE_START;
    g_autoptr(vmh_host) host = open_host(lab_variable(variable));
    g_autofree char *name = test_name("validate");
    g_autofree char *disk = test_disk("validate", 1);
    g_autoptr(vmh_spec) good = spec_with(name, "disk.x0.path", disk);
    g_autoptr(vmh_spec) later = spec_with(name, "disk.x0.path", "/nonexistent/disk.img");
    vmh_error *error = NULL;

    vmh_spec_set_str(good, "boot.kernel", lab_variable("KERNEL"), NULL);
    assert_ok(vmh_host_create_vm(host, good, flags, &error));
    assert_ok(vmh_host_create_vm(host, later, VMH_CREATE_VALIDATE_ONLY, &error)); /* as it can be created */
    if (sees_files) {
        refuses(host, VMH_ERR_NOT_FOUND, "disk.x0.path", "/nonexistent/disk.img", flags);
        refuses(host, VMH_ERR_NOT_FOUND, "boot.kernel", "/nonexistent/vmlinuz", flags);
        refuses(host, VMH_ERR_NOT_FOUND, "boot.initrd", "/nonexistent/initrd", flags);
    }
    refuses(host, VMH_ERR_NOT_FOUND, "disk.x0.volume", "nowhere/disk", flags);
    g_unlink(disk);
}

START_TEST(missing_files_are_found_by_validating)
{
    vmh_host *host = NULL;

    if (!lab_is_here())
        return;
    validates("URI_UNIX", TRUE);
    validates("URI_SESSION", TRUE);
    validates("URI_A", FALSE);
    host = open_host(lab_variable("URI_A"));
    refuses(host, VMH_ERR_NOT_FOUND, "nic.x0.network", "nowhere", VMH_CREATE_VALIDATE_ONLY | VMH_CREATE_START);
    refuses(host, VMH_ERR_NOT_FOUND, "nic.x0.filter", "nowhere", VMH_CREATE_VALIDATE_ONLY | VMH_CREATE_START);
    vmh_host_unref(host);
}
END_TEST

/* --- JSON --- */

START_TEST(json_that_is_broken)
{
    g_autoptr(GString) deep = g_string_new(NULL);
    g_autoptr(GString) huge = g_string_new("{\"title\":\"");
    static const char *const texts[] = {"",
                                        "{",
                                        "}",
                                        "[]",
                                        "null",
                                        "1",
                                        "\"x\"",
                                        "{\"name\"}",
                                        "{\"name\":}",
                                        "{\"name\":1}",
                                        "{\"name\":null}",
                                        "{\"name\":\"a\",\"name\":\"b\"}",
                                        "{\"name\":\"a\"} x",
                                        "{\"cpu\":1}",
                                        "{\"cpu\":{\"count\":\"x\"}}",
                                        "{\"cpu\":{\"count\":1},\"cpu\":{\"max\":2}}",
                                        "{\"cpu.count\":-1}",
                                        "{\"cpu\":{\"count\":1e99}}",
                                        "{\"cpu\":{\"count\":1.5}}",
                                        "{\"nope\":1}",
                                        "{\"title\":\"\\u0000\"}",
                                        "{\"title\":\"\\ud800\"}",
                                        "{\"title\":\"\xff\"}",
                                        "{\"disk\":[]}",
                                        "{\"disk\":{\"a/b\":{\"path\":\"/x\"}}}",
                                        "{\"memory\":{\"size\":\"1 furlong\"}}",
                                        "{'name':'x'}",
                                        "{\"name\":\"x\",}",
                                        "NaN"};

    for (guint i = 0; i < 100000; i++)
        g_string_append(deep, "{\"a\":");
    for (guint i = 0; i < 6 << 20; i++)
        g_string_append_c(huge, 'x');
    g_string_append(huge, "\"}");
    for (size_t i = 0; i < G_N_ELEMENTS(texts) + 2; i++) {
        const char *text = i < G_N_ELEMENTS(texts) ? texts[i] : i == G_N_ELEMENTS(texts) ? deep->str : huge->str;
        vmh_error  *error = NULL;
        vmh_spec   *spec = vmh_spec_from_json("vm", text, strlen(text), &error);
        ck_assert_msg(spec == NULL, "\"%.60s\" was taken", text);
        assert_clear(error, text);
        vmh_error_free(error);
    }
}
END_TEST

INTEGRATION_RUN("badinput", FALSE, properties_on_the_test_host, properties_on_qemu, words_on_the_test_host,
                console_names_on_qemu, options_of_opening, files_on_qemu, missing_files_are_found_by_validating,
                json_that_is_broken)
