/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Creating and updating over libvirt's test driver, beside a connection of libvirt's own to the same host. */
#include "libvirt/common.h"
#include "unit.h"

#include <vmhost/vmhost.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_host, vmh_host_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_vm, vmh_vm_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_job, vmh_job_unref)

#define URI "test:///default"

/* The same host seen by libvirt alone; it lives as long as somebody is connected. */
static virConnectPtr peer;

static vmh_host *open_host(void)
{
    vmh_error *error = NULL;
    vmh_host  *host;

    peer = virConnectOpen(URI);
    host = vmh_host_open(URI, NULL, 0, &error);
    assert_no_error(error);
    return host;
}

/* "path=value;…" */
static vmh_spec *spec_of(const char *list)
{
    vmh_spec *spec = vmh_spec_new("vm", NULL);
    g_auto(GStrv) settings = g_strsplit(list, ";", -1);
    vmh_error *error = NULL;

    for (char **setting = settings; *setting; setting++) {
        g_auto(GStrv) pair = g_strsplit(*setting, "=", 2);

        vmh_spec_set(spec, pair[0], pair[1], &error);
        assert_no_error(error);
    }
    return spec;
}

static int32_t try_create(vmh_host *host, const char *list, uint64_t flags, vmh_error **error)
{
    g_autoptr(vmh_spec) spec = spec_of(list);

    return vmh_job_finish(vmh_host_create_vm(host, spec, flags, error), -1, error);
}

static vmh_vm *create(vmh_host *host, const char *list, uint64_t flags)
{
    g_autoptr(vmh_spec) spec = spec_of(list);
    g_autoptr(vmh_job) job = NULL;
    vmh_error *error = NULL;

    job = vmh_host_create_vm(host, spec, flags, &error);
    vmh_job_wait(job, -1, &error);
    assert_no_error(error);
    return vmh_job_result_vm(job);
}

static vmh_spec *describe(vmh_vm *vm, uint64_t flags)
{
    vmh_error *error = NULL;
    vmh_spec  *spec = vmh_vm_describe(vm, flags, &error);

    assert_no_error(error);
    return spec;
}

static char *value(vmh_vm *vm, uint64_t flags, const char *path)
{
    g_autoptr(vmh_spec) spec = describe(vm, flags);

    return vmh_spec_get_text_dup(spec, path, NULL);
}

#define assert_value(vm, flags, path, expected)                                                                      \
    do {                                                                                                             \
        g_autofree char *value_ = value(vm, flags, path);                                                            \
        ck_assert_msg(g_strcmp0(value_, expected) == 0, "%s is %s, expected %s", path, value_ ? value_ : "not set",  \
                      (const char *)(expected) ? (const char *)(expected) : "not set");                              \
    } while (0)

static uint64_t generation(vmh_vm *vm)
{
    g_autoptr(vmh_spec) spec = describe(vm, 0);
    uint64_t number = 0;

    vmh_spec_get_u64(spec, "generation", &number, NULL);
    ck_assert_uint_ne(number, 0);
    return number;
}

/* The job at its end. */
static vmh_job *update(vmh_vm *vm, const char *list, uint64_t flags, uint64_t since, vmh_error **error)
{
    g_autoptr(vmh_spec) spec = spec_of(list);
    vmh_job *job = vmh_vm_update(vm, spec, flags, since, error);

    vmh_job_wait(job, -1, error);
    return job;
}

static void assert_verdict(const vmh_job *job, const char *path, int32_t expected)
{
    for (size_t i = 0; i < vmh_job_verdict_count(job); i++) {
        if (!g_str_equal(vmh_job_verdict_property(job, i), path))
            continue;
        ck_assert_msg(vmh_job_verdict(job, i) == expected, "%s: %d (%s), expected %d", path, vmh_job_verdict(job, i),
                      vmh_job_verdict_reason(job, i), expected);
        return;
    }
    ck_abort_msg("no verdict on %s", path);
}

/* What libvirt has of a VM, stopped. */
static char *kept_xml(const char *name)
{
    g_autoptr(virDomain) domain = virDomainLookupByName(peer, name);

    return domain ? virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE) : NULL;
}

/* --- create --- */

START_TEST(a_name_or_uuid_that_is_taken_changes_nothing)
{
    g_autoptr(vmh_host) host = open_host();
    g_autofree char *before = kept_xml("test");
    g_autofree char *after = NULL;
    vmh_error       *error = NULL;

    try_create(host, "name=test;memory.size=64MiB", 0, &error);
    ck_assert_str_eq(vmh_error_property(error), "name");
    assert_error(error, VMH_ERR_EXISTS, "test");
    try_create(host, "name=other;memory.size=64MiB;uuid=6695eb01-f6a4-8304-79aa-97f2502e193f", 0, &error);
    ck_assert_str_eq(vmh_error_property(error), "uuid");
    assert_error(error, VMH_ERR_EXISTS, "UUID");
    try_create(host, "name=test;memory.size=64MiB;uuid=6695eb01-f6a4-8304-79aa-97f2502e193f", 0, &error);
    assert_error(error, VMH_ERR_EXISTS, "name");
    after = kept_xml("test");
    ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(what_a_new_vm_needs_is_said)
{
    g_autoptr(vmh_host) host = open_host();
    vmh_error *error = NULL;

    try_create(host, "memory.size=64MiB", 0, &error);
    assert_error(error, VMH_ERR_VALUE, "name");
    try_create(host, "name=a", 0, &error);
    assert_error(error, VMH_ERR_VALUE, "memory.size");
}
END_TEST

START_TEST(a_vm_that_cannot_start_is_not_left_behind)
{
    g_autoptr(vmh_host) host = open_host();
    g_autofree char *left = NULL;
    vmh_error       *error = NULL;

    try_create(host, "name=a;memory.size=64MiB", VMH_CREATE_START | VMH_CREATE_PAUSED, &error);
    assert_error(error, VMH_ERR_UNSUPPORTED, "paused");
    left = kept_xml("a");
    ck_assert_ptr_null(left);
}
END_TEST

START_TEST(validating_creates_nothing)
{
    g_autoptr(vmh_host) host = open_host();
    g_autofree char *left = NULL;
    vmh_error       *error = NULL;

    ck_assert_int_eq(try_create(host, "name=a;memory.size=64MiB", VMH_CREATE_VALIDATE_ONLY, &error), 0);
    left = kept_xml("a");
    ck_assert_ptr_null(left);
    try_create(host, "name=a;memory.size=64MiB;disk.x.cache=none", VMH_CREATE_VALIDATE_ONLY, &error);
    assert_error(error, VMH_ERR_VALUE, "disk.x.path");
}
END_TEST

START_TEST(a_transient_vm_has_nothing_kept)
{
    g_autoptr(vmh_host) host = open_host();
    g_autoptr(vmh_vm) vm = create(host, "name=a;memory.size=64MiB", VMH_CREATE_START | VMH_CREATE_TRANSIENT);
    vmh_error *error = NULL;
    g_autoptr(vmh_job) job = NULL;

    assert_value(vm, 0, "persistent", "no");
    assert_value(vm, 0, "autostart", NULL);
    ck_assert_ptr_null(vmh_vm_describe(vm, VMH_DESCRIBE_PERSISTENT, &error));
    assert_error(error, VMH_ERR_STATE, "vanishes");
    job = update(vm, "title=t", VMH_UPDATE_PERSIST, 0, &error);
    assert_error(error, VMH_ERR_STATE, "vanishes");
    vmh_job_unref(job);
    job = update(vm, "title=t", 0, 0, &error);
    assert_no_error(error);
    assert_value(vm, 0, "title", "t");
}
END_TEST

/* --- update --- */

static const char *const small = "name=a;memory.size=64MiB;memory.max=128MiB;cpu.max=4;disk.root.path=/r";

START_TEST(each_property_gets_its_verdict)
{
    g_autoptr(vmh_host) host = open_host();
    g_autoptr(vmh_vm) vm = create(host, small, VMH_CREATE_START);
    vmh_error *error = NULL;
    g_autoptr(vmh_job) job =
        update(vm,
               "cpu.count=2;cpu.max=4;memory.size=32MiB;title=t;metadata.k=v;on.crash=keep;autostart=yes;"
               "disk.new.path=/n;disk.root.path=/r",
               0, 0, &error);

    assert_no_error(error);
    assert_verdict(job, "cpu.count", VMH_VERDICT_APPLIED);
    assert_verdict(job, "cpu.max", VMH_VERDICT_UNCHANGED);
    assert_verdict(job, "memory.size", VMH_VERDICT_APPLIED);
    assert_verdict(job, "title", VMH_VERDICT_APPLIED);
    assert_verdict(job, "metadata.k", VMH_VERDICT_APPLIED);
    assert_verdict(job, "autostart", VMH_VERDICT_APPLIED);
    assert_verdict(job, "on.crash", VMH_VERDICT_AFTER_RESTART);
    assert_verdict(job, "disk.new.path", VMH_VERDICT_AFTER_RESTART);
    assert_verdict(job, "disk.root.path", VMH_VERDICT_UNCHANGED);
    assert_value(vm, 0, "cpu.count", "2");
    assert_value(vm, 0, "memory.size", "32MiB");
    assert_value(vm, 0, "metadata.k", "v");
    assert_value(vm, 0, "on.crash", "stop");
    assert_value(vm, 0, "autostart", "yes");
    assert_value(vm, VMH_DESCRIBE_PERSISTENT, "cpu.count", "2");
    assert_value(vm, VMH_DESCRIBE_PERSISTENT, "on.crash", "keep");
    assert_value(vm, VMH_DESCRIBE_PERSISTENT, "disk.new.path", "/n");
}
END_TEST

START_TEST(one_refusal_and_nothing_changes)
{
    g_autoptr(vmh_host) host = open_host();
    g_autoptr(vmh_vm) vm = create(host, small, VMH_CREATE_START);
    uint64_t   before = generation(vm);
    vmh_error *error = NULL;
    g_autoptr(vmh_job) job = update(vm, "title=t;cpu.count=9;autostart=yes", VMH_UPDATE_LIVE, 0, &error);

    ck_assert_str_eq(vmh_error_property(error), "cpu.count");
    assert_error(error, VMH_ERR_VALUE, "cpu.max of 4");
    assert_verdict(job, "cpu.count", VMH_VERDICT_REFUSED);
    assert_verdict(job, "title", VMH_VERDICT_REFUSED);
    ck_assert_uint_eq(generation(vm), before);
    assert_value(vm, 0, "title", NULL);
    assert_value(vm, 0, "autostart", "no");
    vmh_job_unref(job);

    job = update(vm, "title=t;disk.root.path=/other", VMH_UPDATE_LIVE, 0, &error);
    assert_error(error, VMH_ERR_UNSUPPORTED, "while the VM runs");
    ck_assert_uint_eq(generation(vm), before);
    vmh_job_unref(job);

    job = update(vm, "name=b", 0, 0, &error);
    assert_error(error, VMH_ERR_UNSUPPORTED, "keeps the name");
    vmh_job_unref(job);

    job = update(vm, "title=t;disk.x.bus=sata", 0, 0, &error);
    assert_error(error, VMH_ERR_VALUE, "disk.x.path");
    ck_assert_uint_eq(generation(vm), before);
}
END_TEST

START_TEST(a_dry_run_tells_and_changes_nothing)
{
    g_autoptr(vmh_host) host = open_host();
    g_autoptr(vmh_vm) vm = create(host, small, VMH_CREATE_START);
    uint64_t   before = generation(vm);
    vmh_error *error = NULL;
    g_autoptr(vmh_job) job = update(vm, "title=t;cpu.max=8;autostart=yes", VMH_UPDATE_DRY_RUN, 0, &error);

    assert_no_error(error);
    assert_verdict(job, "title", VMH_VERDICT_APPLIED);
    assert_verdict(job, "cpu.max", VMH_VERDICT_AFTER_RESTART);
    assert_verdict(job, "autostart", VMH_VERDICT_APPLIED);
    ck_assert_uint_eq(generation(vm), before);
    assert_value(vm, 0, "autostart", "no");
    vmh_job_unref(job);
    job = update(vm, "title=t;cpu.count=9", VMH_UPDATE_LIVE | VMH_UPDATE_DRY_RUN, 0, &error);
    assert_error(error, VMH_ERR_VALUE, "cpu.max");
    assert_verdict(job, "title", VMH_VERDICT_APPLIED); /* it would be, without the other */
}
END_TEST

/* Whoever changes it: the generation is another one, and an update from before it is refused. */
START_TEST(somebody_elses_change_is_a_conflict)
{
    g_autoptr(vmh_host) host = open_host();
    g_autoptr(vmh_vm) vm = create(host, small, VMH_CREATE_START);
    g_autoptr(virDomain) domain = virDomainLookupByName(peer, "a");
    uint64_t   before = generation(vm);
    vmh_error *error = NULL;
    g_autoptr(vmh_job) job = NULL;

    ck_assert_uint_eq(generation(vm), before);
    ck_assert_int_eq(virDomainSetVcpusFlags(domain, 3, VIR_DOMAIN_AFFECT_LIVE), 0);
    ck_assert_uint_ne(generation(vm), before);
    job = update(vm, "title=t", 0, before, &error);
    assert_error(error, VMH_ERR_CONFLICT, "describe it again");
    vmh_job_unref(job);
    before = generation(vm);
    ck_assert_int_eq(virDomainSetVcpusFlags(domain, 2, VIR_DOMAIN_AFFECT_CONFIG), 0);
    ck_assert_uint_ne(generation(vm), before);
    job = update(vm, "title=t", 0, generation(vm), &error);
    assert_no_error(error);
}
END_TEST

START_TEST(a_stopped_vm_changes_all_at_once)
{
    g_autoptr(vmh_host) host = open_host();
    g_autoptr(vmh_vm) vm = create(host, small, 0);
    vmh_error *error = NULL;
    g_autoptr(vmh_job) job = update(vm, "cpu.count=6;cpu.max=8;disk.root.present=no;disk.b.path=/b", 0, 0, &error);

    assert_no_error(error);
    assert_verdict(job, "cpu.max", VMH_VERDICT_APPLIED);
    assert_verdict(job, "disk.root.present", VMH_VERDICT_APPLIED);
    assert_value(vm, 0, "cpu.count", "6");
    assert_value(vm, 0, "disk.root.path", NULL);
    assert_value(vm, 0, "disk.b.path", "/b");
    vmh_job_unref(job);
    job = update(vm, "cpu.count=1", VMH_UPDATE_LIVE, 0, &error);
    assert_error(error, VMH_ERR_STATE, "VMH_UPDATE_LIVE");
}
END_TEST

/* A description, given back as it is, changes nothing. */
START_TEST(a_description_updates_nothing)
{
    g_autoptr(vmh_host) host = open_host();
    vmh_error *error = NULL;
    g_autoptr(vmh_vm) vm = vmh_host_find_vm(host, "test", &error);
    g_autoptr(vmh_spec) spec = describe(vm, 0);
    g_autoptr(vmh_job) job = NULL;
    uint64_t before = generation(vm);

    vmhi_spec_strip_readonly(spec);
    job = vmh_vm_update(vm, spec, 0, before, &error);
    vmh_job_wait(job, -1, &error);
    assert_no_error(error);
    for (size_t i = 0; i < vmh_job_verdict_count(job); i++)
        assert_verdict(job, vmh_job_verdict_property(job, i), VMH_VERDICT_UNCHANGED);
    ck_assert_uint_eq(generation(vm), before);
}
END_TEST

UNIT_RUN("configure", a_name_or_uuid_that_is_taken_changes_nothing, what_a_new_vm_needs_is_said,
         a_vm_that_cannot_start_is_not_left_behind, validating_creates_nothing, a_transient_vm_has_nothing_kept,
         each_property_gets_its_verdict, one_refusal_and_nothing_changes, a_dry_run_tells_and_changes_nothing,
         somebody_elses_change_is_a_conflict, a_stopped_vm_changes_all_at_once, a_description_updates_nothing)
