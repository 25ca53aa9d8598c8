/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each property of the schema as a behaviour: set when a VM is made, it is read back the same; and so when changed.
 */
#include "conformance.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TEXT "text with <angles>, \"quotes\", 'more', & and \xc3\xbcml\xc3\xa4uts"

/*
 * Where a value made from the type alone makes no sense: the values to try (with |), and what has to be set with
 * it. A property that is not here is set to values of its type.
 */
static const struct {
    const char *pattern;
    const char *values;
    const char *context; /* "path=value path=value" */
} samples[] = {
    {"title", TEXT "|other", NULL},
    {"description", TEXT "|other", NULL},
    {"metadata.<id>", TEXT "|other", NULL},
    {"accelerator", "tcg", NULL}, /* auto is described as what it became */
    {"boot.kernel", "/srv/vmlinuz|/srv/other", NULL},
    {"boot.initrd", "/srv/initrd|/srv/other", "boot.kernel=/srv/vmlinuz"},
    {"boot.cmdline", "console=ttyS0 quoted=\"a b\" <&>|quiet", "boot.kernel=/srv/vmlinuz"},
    {"boot.address", "1MiB|2MiB", "boot.kernel=/srv/flat boot.format=flat"},
    {"boot.mode", "real|protected|long|user", "boot.kernel=/srv/flat boot.format=flat"},
    {"boot.order", "root|lan,root", "disk.root.path=/srv/a.img nic.lan.user=yes"},
    {"cpu.count", "2|1", NULL},
    {"cpu.max", "4|2", "cpu.count=2"},
    {"cpu.model", "qemu64|max|host", NULL},
    {"cpu.sockets", "2", "cpu.count=2 cpu.max=2 cpu.cores=1 cpu.threads=1"},
    {"cpu.cores", "2", "cpu.count=2 cpu.max=2 cpu.sockets=1 cpu.threads=1"},
    {"cpu.threads", "2", "cpu.count=2 cpu.max=2 cpu.sockets=1 cpu.cores=1"},
    {"cpu.weight", "200|300", NULL},
    {"cpu.limit", "0.5|1.5", NULL},
    {"cpu.pin.<n>", "0|0-1", NULL},
    {"numa.nodes", "0", NULL},
    {"numa.mode", "strict|preferred|interleave", "numa.nodes=0"},
    {"memory.size", "48MiB|56MiB", NULL},
    {"memory.max", "256MiB|128MiB", NULL},
    {"memory.limit", "512MiB|1GiB", NULL},
    {"disk.<id>.path", "/srv/a.img|/srv/b <&>.img", NULL},
    {"disk.<id>.volume", "pool/volume|pool/other", NULL},
    {"disk.<id>.url", "nbd://127.0.0.1:10810/export|https://example.org/a.iso", NULL},
    {"disk.<id>.target", "vdc|vdd", "disk.x0.path=/srv/a.img"},
    {"disk.<id>.serial", "A-1_b.2+|other", "disk.x0.path=/srv/a.img"},
    {"disk.<id>.queues", "2|4", "disk.x0.path=/srv/a.img"},
    {"nic.<id>.network", "default|other", NULL},
    {"nic.<id>.bridge", "br0|br1", NULL},
    {"nic.<id>.tap", "tap7|tap8", NULL},
    {"nic.<id>.user", "yes", NULL},
    {"nic.<id>.mac", "52:54:00:11:22:33|52:54:00:11:22:34", "nic.x0.user=yes"},
    {"nic.<id>.model", "virtio|e1000|e1000e|rtl8139|vmxnet3|netfront", "nic.x0.user=yes"},
    {"nic.<id>.address", "192.168.122.77|192.168.122.78", "nic.x0.user=yes"},
    {"nic.<id>.filter", "clean-traffic|no-mac-spoofing", "nic.x0.network=default"},
    {"nic.<id>.link", "no|yes", "nic.x0.user=yes"},
    {"nic.<id>.vlan", "42|43", "nic.x0.network=default"},
    {"nic.<id>.queues", "2|4", "nic.x0.network=default"},
    {"nic.<id>.inbound.burst", "1MiB|2MiB", "nic.x0.network=default nic.x0.inbound.rate=1MB/s"},
    {"nic.<id>.outbound.burst", "1MiB|2MiB", "nic.x0.network=default nic.x0.outbound.rate=1MB/s"},
    {"nic.<id>.inbound.rate", "1MB/s|2MB/s", "nic.x0.network=default"},
    {"nic.<id>.outbound.rate", "1MB/s|2MB/s", "nic.x0.network=default"},
    {"console.<id>.to", "pty|file:/srv/log|unix:/srv/socket", NULL},
    {"debug.console", "/srv/debug|/srv/other", NULL},
    {"module.<id>.path", "/srv/module|/srv/other", NULL},
    {"module.<id>.cmdline", "quoted=\"a b\" <&>|quiet", "module.x0.path=/srv/module"},
    {"vsock.cid", "77|78", NULL},
    {"share.<id>.path", "/srv|/tmp", "memory.shared=yes"},
    {"share.<id>.readonly", "yes|no", "memory.shared=yes share.x0.path=/srv"},
    {"security.label", "+0:+0|+1:+1", NULL},
};

/* What these need has no value of their own in it. */
static const char *context_by_prefix(const char *pattern)
{
    if (g_str_has_prefix(pattern, "disk.<id>."))
        return "disk.x0.path=/srv/a.img";
    return g_str_has_prefix(pattern, "nic.<id>.") ? "nic.x0.network=default" : NULL;
}

static char *values_by_type(const vmh_property *property)
{
    switch (vmh_property_type(property)) {
    case VMH_TYPE_BOOL:
        return g_strdup(g_strcmp0(vmh_property_default(property), "yes") == 0 ? "no|yes" : "yes|no");
    case VMH_TYPE_ENUM:
        return g_strdup(vmh_property_values(property));
    case VMH_TYPE_U64:
        return g_strdup("1000|2000");
    case VMH_TYPE_SIZE:
        return g_strdup("64MiB|128MiB");
    case VMH_TYPE_RATE:
        return g_strdup("10MiB/s|20MiB/s");
    default:
        return NULL;
    }
}

/* Identity and what only the host knows are taken from it. */
static char *values_from_host(stage *s, const char *pattern)
{
    g_autoptr(vmh_vm) vm = NULL;
    g_autoptr(vmh_spec) spec = NULL;
    g_autofree char *text = NULL;

    if (strcmp(pattern, "name") == 0)
        return test_name("named <&>");
    if (strcmp(pattern, "uuid") == 0)
        return g_uuid_string_random();
    if (strcmp(pattern, "arch") != 0 && strcmp(pattern, "machine") != 0)
        return NULL;
    vm = stage_vm(s, 0);
    spec = vm ? vmh_vm_describe(vm, 0, stage_error(s)) : NULL;
    if (!spec)
        return NULL;
    stage_remove(s, vm);
    text = test_text(spec, pattern);
    return *text ? g_steal_pointer(&text) : g_strdup("pc");
}

typedef struct {
    char       *path;
    char      **values;
    const char *context;
} attempt;

static void attempt_clear(attempt *a)
{
    g_free(a->path);
    g_strfreev(a->values);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(attempt, attempt_clear)

static attempt plan(stage *s, const vmh_property *property)
{
    const char      *pattern = vmh_property_pattern(property);
    attempt          a = {.context = context_by_prefix(pattern)};
    g_autofree char *values = values_from_host(s, pattern);
    g_autoptr(GString) path = g_string_new(pattern);

    for (size_t i = 0; !values && i < G_N_ELEMENTS(samples); i++) {
        if (strcmp(samples[i].pattern, pattern) != 0)
            continue;
        values = g_strdup(samples[i].values);
        a.context = samples[i].context;
    }
    if (!values)
        values = values_by_type(property);
    g_string_replace(path, "<id>", "x0", 0);
    g_string_replace(path, "<n>", "0", 0);
    a.path = g_strdup(path->str);
    a.values = values ? g_strsplit(values, "|", -1) : NULL;
    return a;
}

/* What the host lacks is left out: then the property must do without. */
static void set_context(stage *s, vmh_spec *spec, const char *context)
{
    g_auto(GStrv) pairs = context ? g_strsplit(context, " ", -1) : NULL;

    for (char **pair = pairs; pair && *pair; pair++) {
        char *text = strchr(*pair, '=');
        *text++ = 0;
        stage_set(s, spec, *pair, text);
    }
}

/* One end of a stream, whose other end nobody has. */
static gboolean set_descriptor(stage *s, vmh_spec *spec, const char *path)
{
    int      ends[2];
    gboolean done;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return FALSE;
    done = vmh_spec_set_fd(spec, path, ends[0], stage_error(s)) == 0;
    close(ends[0]);
    close(ends[1]);
    return done;
}

gboolean set_property(stage *s, vmh_spec *spec, const vmh_property *property)
{
    g_auto(attempt) a = plan(s, property);

    if (vmh_property_type(property) == VMH_TYPE_DESCRIPTOR)
        return set_descriptor(s, spec, a.path);
    if (!a.values)
        return FALSE;
    set_context(s, spec, a.context);
    return vmh_spec_set(spec, a.path, a.values[0], stage_error(s)) == 0;
}

/* A host may lack a value, though not the first of numbers, and then the error says of which property. */
static gboolean may_lack(const vmh_property *property, const attempt *a, const char *text, const vmh_error *error)
{
    const gboolean is_word =
        vmh_property_type(property) == VMH_TYPE_ENUM || vmh_property_type(property) == VMH_TYPE_STRING;

    return vmh_error_code(error) == VMH_ERR_UNSUPPORTED && g_strcmp0(vmh_error_property(error), a->path) == 0 &&
           (is_word || text != a->values[0]);
}

/* A VM with this value; NULL where the host has it not, or with the failure noted. */
static vmh_vm *make(stage *s, const vmh_property *property, const attempt *a, const char *text)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "property");
    g_autoptr(vmh_spec) got = NULL;
    g_autoptr(vmh_job) job = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    int32_t code;

    set_context(s, spec, a->context);
    if (vmh_spec_set(spec, a->path, text, stage_error(s)) < 0) {
        stage_fail(s, __FILE__, __LINE__, "%s cannot be set to \"%s\"", a->path, text);
        return NULL;
    }
    job = vmh_host_create_vm(s->host, spec, 0, stage_error(s));
    code = vmh_job_wait(job, PATIENCE_MS, &s->error);
    if (code < 0 && may_lack(property, a, text, s->error))
        return NULL;
    vm = code == 0 ? vmh_job_result_vm(job) : NULL;
    got = vm ? vmh_vm_describe(vm, 0, stage_error(s)) : NULL;
    if (!got)
        stage_fail(s, __FILE__, __LINE__, "no VM with %s set to \"%s\"", a->path, text);
    else
        stage_same(s, spec, got, NULL);
    return g_steal_pointer(&vm);
}

/* The same by a change of a VM that is there: kept, or refused with the reason and nothing changed. */
static void change(stage *s, vmh_vm *vm, const char *path, const char *text)
{
    g_autoptr(vmh_spec) update = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_spec) before = vmh_vm_describe(vm, 0, stage_error(s));
    g_autoptr(vmh_spec) after = NULL;
    g_autoptr(vmh_job) job = NULL;
    int32_t code;

    EXPECT(s, vmh_spec_set(update, path, text, stage_error(s)) == 0);
    job = vmh_vm_update(vm, update, VMH_UPDATE_PERSIST, 0, stage_error(s));
    code = vmh_job_wait(job, PATIENCE_MS, &s->error);
    EXPECT(s, vmh_job_verdict_count(job) == 1);
    after = vmh_vm_describe(vm, VMH_DESCRIBE_PERSISTENT, stage_error(s));
    EXPECT(s, before && after);
    if (code == 0) {
        stage_same(s, update, after, NULL);
        return;
    }
    if (vmh_job_verdict(job, 0) != VMH_VERDICT_REFUSED || !vmh_job_verdict_reason(job, 0))
        stage_fail(s, __FILE__, __LINE__, "%s cannot be changed, and no verdict says why", path);
    stage_same(s, before, after, NULL);
}

/* What may be empty is taken away by that: the VM has none any more, or what the hypervisor chooses then. */
static void clear(stage *s, vmh_vm *vm, const char *path, const char *value)
{
    g_autoptr(vmh_spec) update = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_spec) after = NULL;
    g_autofree char *left = NULL;

    if (vmh_spec_set(update, path, "", NULL) < 0)
        return;
    EXPECT_OK(s, vmh_vm_update(vm, update, VMH_UPDATE_PERSIST, 0, stage_error(s)));
    after = vmh_vm_describe(vm, VMH_DESCRIBE_PERSISTENT, stage_error(s));
    EXPECT(s, after);
    left = test_text(after, path);
    if (strcmp(left, value) == 0)
        stage_fail(s, __FILE__, __LINE__, "%s is still \"%s\"", path, left);
}

static void refuses_to_set(stage *s, const char *pattern)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "readonly");

    EXPECT(s, vmh_spec_set(spec, pattern, "1", stage_error(s)) == VMH_ERR_VALUE);
    EXPECT(s, g_strcmp0(vmh_error_property(s->error), pattern) == 0);
}

/* It ends with the program, so no VM that is kept has it; of one that vanishes it is told that it was given. */
static void run_descriptor(stage *s, const vmh_property *property)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "property");
    g_autoptr(vmh_spec) got = NULL;
    g_autoptr(vmh_vm) vm = NULL;

    EXPECT(s, set_property(s, spec, property));
    EXPECT_FAILS(s, VMH_ERR_UNSUPPORTED, vmh_host_create_vm(s->host, spec, VMH_CREATE_START, stage_error(s)));
    vm = stage_create(s, spec, VMH_CREATE_START | VMH_CREATE_TRANSIENT);
    got = vm ? vmh_vm_describe(vm, 0, stage_error(s)) : NULL;
    EXPECT(s, got && stage_same(s, spec, got, NULL));
    stage_remove(s, vm);
}

void run_property(stage *s, const vmh_property *property)
{
    g_auto(attempt) a = {0};
    guint made = 0;

    if (vmh_property_readonly(property))
        return refuses_to_set(s, vmh_property_pattern(property));
    if (vmh_property_type(property) == VMH_TYPE_DESCRIPTOR)
        return run_descriptor(s, property);
    a = plan(s, property);
    if (!a.values)
        return stage_skip(s, "this host names no value to try");
    for (char **text = a.values; *text && !s->failure; text++) {
        g_autoptr(vmh_vm) vm = make(s, property, &a, *text);
        if (!vm)
            continue;
        made++;
        if (text[1] && !s->failure && vmh_property_type(property) != VMH_TYPE_ENUM)
            change(s, vm, a.path, text[1]);
        if (!text[1] && !s->failure)
            clear(s, vm, a.path, *text);
        stage_remove(s, vm);
    }
    if (!made && !s->failure && !stage_lacks(s))
        stage_fail(s, __FILE__, __LINE__, "none of its values could be tried");
}
