/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stage: a host under test, VMs to try things on, and how a failure is told. */
#include "conformance.h"

#include <string.h>
#include <unistd.h>

stage *stage_open(const char *uri, vmh_error **error)
{
    stage *s = g_new0(stage, 1);

    s->uri = uri;
    s->console = -1;
    s->seen = g_string_new(NULL);
    s->files = g_ptr_array_new_with_free_func(g_free);
    s->host = vmh_host_open(uri, NULL, 0, error);
    s->other = vmh_host_open(uri, NULL, 0, error);
    if (s->host && s->other)
        return s;
    stage_close(s);
    return NULL;
}

void stage_close(stage *s)
{
    if (s->console >= 0)
        close(s->console);
    vmh_vm_unref(s->guest);
    if (s->host)
        test_clean(s->host);
    vmh_host_unref(s->host);
    vmh_host_unref(s->other);
    vmh_error_free(s->error);
    g_free(s->failure);
    g_free(s->skipped);
    g_free(s->lacking);
    g_string_free(s->seen, TRUE);
    for (guint i = 0; i < s->files->len; i++)
        unlink(s->files->pdata[i]);
    g_ptr_array_unref(s->files);
    g_free(s);
}

/* --- how it went --- */

vmh_error **stage_error(stage *s)
{
    g_clear_pointer(&s->error, vmh_error_free);
    return &s->error;
}

void stage_fail(stage *s, const char *file, int line, const char *format, ...)
{
    g_autofree char *what = NULL;
    const char      *name = strrchr(file, '/');
    va_list          arguments;

    if (s->failure || s->skipped)
        return; /* the first says why */
    va_start(arguments, format);
    what = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    s->failure = g_strdup_printf("%s:%d: %s%s%s", name ? name + 1 : file, line, what, s->error ? "; the error: " : "",
                                 s->error ? vmh_error_message(s->error) : "");
}

void stage_skip(stage *s, const char *reason)
{
    if (!s->failure && !s->skipped)
        s->skipped = g_strdup(reason);
}

gboolean stage_lacks(stage *s)
{
    if (vmh_error_code(s->error) != VMH_ERR_UNSUPPORTED)
        return FALSE;
    s->lacking = g_strdup(vmh_error_message(s->error));
    return TRUE;
}

gboolean stage_job(stage *s, const char *file, int line, const char *call, vmh_job *job, int32_t code)
{
    int32_t got = vmh_job_finish(job, PATIENCE_MS, &s->error);

    if (got == code)
        return TRUE;
    stage_fail(s, file, line, "%s gave %s instead of %s", call, got ? vmh_error_name(got) : "success",
               code ? vmh_error_name(code) : "success");
    return FALSE;
}

/* --- what is supported --- */

typedef struct {
    const char *verb;
    gboolean    running; /* of a VM that runs, as the verb would want it */
    vmh_job *(*call)(vmh_vm *vm, uint64_t flags, vmh_error **error);
} vm_verb;

static const vm_verb vm_verbs[] = {
    {"vm.start", FALSE, vmh_vm_start}, {"vm.pause", TRUE, vmh_vm_pause},       {"vm.resume", TRUE, vmh_vm_resume},
    {"vm.reset", TRUE, vmh_vm_reset},  {"vm.shutdown", TRUE, vmh_vm_shutdown}, {"vm.reboot", TRUE, vmh_vm_reboot},
    {"vm.stop", TRUE, vmh_vm_stop},    {"vm.delete", FALSE, vmh_vm_delete},
};

/* What the attempt of an unsupported verb gives; 0 where there is no safe way to try. */
static int32_t try_verb(stage *s, const char *verb)
{
    const vm_verb *found = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    int32_t code = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(vm_verbs); i++)
        found = strcmp(vm_verbs[i].verb, verb) == 0 ? &vm_verbs[i] : found;
    if (!found && strcmp(verb, "vm.console") != 0)
        return 0;
    vm = stage_vm(s, !found || found->running ? VMH_CREATE_START : 0);
    if (!vm)
        return 0;
    if (found)
        code = vmh_job_finish(found->call(vm, 0, stage_error(s)), PATIENCE_MS, &s->error);
    else
        code = vmh_vm_console(vm, NULL, 0, stage_error(s));
    stage_remove(s, vm);
    return code;
}

static int32_t try_property(stage *s, const char *pattern)
{
    const vmh_property *property = vmh_schema_find("vm", pattern, NULL);
    g_autoptr(vmh_spec) spec = stage_spec(s, "unsupported");

    if (!property || vmh_property_readonly(property) || !set_property(s, spec, property))
        return 0;
    return vmh_job_finish(vmh_host_create_vm(s->host, spec, VMH_CREATE_VALIDATE_ONLY, stage_error(s)), PATIENCE_MS,
                          &s->error);
}

gboolean stage_supports(stage *s, const char *name, char **reason)
{
    gboolean is_verb = g_str_has_prefix(name, "vm.") || g_str_has_prefix(name, "host.");
    char    *why = NULL;
    int32_t  code = vmh_host_supports(s->host, name, &why, stage_error(s));

    if (code == 1)
        return TRUE;
    *reason = g_strdup(why ? why : "");
    vmh_free(why);
    if (code < 0 || !**reason) {
        stage_fail(s, __FILE__, __LINE__, "vmh_host_supports(\"%s\") gave %d and the reason \"%s\"", name, code,
                   *reason);
        return FALSE;
    }
    code = is_verb ? try_verb(s, name) : try_property(s, name);
    if (code != 0 && code != VMH_ERR_UNSUPPORTED)
        stage_fail(s, __FILE__, __LINE__, "%s is called unsupported, but trying it gave %s", name,
                   vmh_error_name(code));
    else if (code != 0 && !strstr(vmh_error_message(s->error), *reason))
        stage_fail(s, __FILE__, __LINE__, "the error of %s does not give the reason \"%s\"", name, *reason);
    return FALSE;
}

/* --- VMs to try --- */

/* It has no firmware that would run without a kernel, and where KVM is emulated, Linux is too much for it. */
static gboolean is_engine(const stage *s)
{
    return g_str_has_prefix(s->uri, "kvm:");
}

vmh_spec *stage_spec(stage *s, const char *what)
{
    g_autofree char *name = test_name(what);
    vmh_spec        *spec = test_spec(name, 64);

    if (is_engine(s))
        vmh_spec_set_str(spec, "boot.kernel", SMALL_GUEST, NULL);
    return spec;
}

vmh_vm *stage_create(stage *s, const vmh_spec *spec, uint64_t flags)
{
    vmh_job *job = vmh_host_create_vm(s->host, spec, flags, stage_error(s));
    vmh_vm  *vm = NULL;

    if (vmh_job_wait(job, PATIENCE_MS, &s->error) == 0)
        vm = vmh_job_result_vm(job);
    if (!vm)
        stage_fail(s, __FILE__, __LINE__, "a VM could not be created");
    vmh_job_unref(job);
    return vm;
}

vmh_vm *stage_vm(stage *s, uint64_t flags)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "vm");

    return stage_create(s, spec, flags);
}

vmh_vm *stage_paused_vm(stage *s)
{
    vmh_vm *vm = stage_vm(s, VMH_CREATE_START);

    if (vm && vmh_job_finish(vmh_vm_pause(vm, 0, stage_error(s)), PATIENCE_MS, &s->error) < 0)
        stage_fail(s, __FILE__, __LINE__, "a VM could not be paused");
    return vm;
}

void stage_remove(stage *s, vmh_vm *vm)
{
    (void)s;
    vmh_job_finish(vmh_vm_delete(vm, VMH_DELETE_FORCE, NULL), PATIENCE_MS, NULL);
}

char *stage_disk(stage *s, const char *what)
{
    char *path = test_disk(what, 1);

    g_ptr_array_add(s->files, g_strdup(path));
    return path;
}

gboolean stage_set(stage *s, vmh_spec *spec, const char *path, const char *text)
{
    return vmh_host_supports(s->host, path, NULL, NULL) == 1 && vmh_spec_set(spec, path, text, stage_error(s)) == 0;
}

gboolean stage_same(stage *s, const vmh_spec *wanted, const vmh_spec *got, const char *const *except)
{
    char   **paths = NULL;
    gboolean same = TRUE;

    vmh_spec_paths(wanted, &paths);
    for (char **path = paths; same && path && *path; path++) {
        g_autofree char *want = test_text(wanted, *path);
        g_autofree char *have = test_text(got, *path);
        if ((except && g_strv_contains(except, *path)) || strcmp(want, have) == 0)
            continue;
        same = FALSE;
        stage_fail(s, __FILE__, __LINE__, "%s is \"%.200s\" and was to be \"%.200s\"", *path, have, want);
    }
    vmh_free(paths);
    return same;
}

/* --- the shared guest --- */

static gboolean boot(stage *s)
{
    g_autoptr(vmh_spec) spec = test_spec("", 128);
    g_autofree char *name = test_name("guest");

    vmh_spec_set_str(spec, "name", name, NULL);
    if (is_engine(s)) {
        vmh_spec_set_str(spec, "boot.kernel", SMALL_GUEST, NULL);
    } else if (!test_spec_boot(spec, NULL)) {
        stage_skip(s, "no guest: VMHOST_TEST_KERNEL and VMHOST_TEST_INITRD are not set");
        return FALSE;
    }
    s->guest = stage_create(s, spec, VMH_CREATE_START);
    if (!s->guest)
        return FALSE;
    s->console = vmh_vm_console(s->guest, NULL, 0, stage_error(s));
    return s->console >= 0 && test_wait_console(s->console, s->seen, "tick 1", PATIENCE_MS);
}

gboolean stage_guest(stage *s)
{
    char *why = NULL;

    if (s->guest && s->console >= 0)
        return TRUE;
    if (!stage_supports(s, "boot.kernel", &why) || !stage_supports(s, "vm.console", &why))
        stage_skip(s, why);
    else if (!boot(s))
        stage_fail(s, __FILE__, __LINE__, "the guest does not boot; its console says: %s", s->seen->str);
    g_free(why);
    return !s->failure && !s->skipped;
}
