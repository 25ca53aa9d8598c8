/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The built-in engine's limits, as the host's kernel sees them: of CPU time, and of the CPUs that vCPUs run on. */
#include "engine.h"

/* A VM that runs, with two CPUs and this property. */
static vmh_vm *begin(vmh_host *host, const char *property, const char *value)
{
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_spec) spec = engine_spec("limits", NULL);

    vmh_spec_set(spec, "cpu.count", "2", &error);
    vmh_spec_set(spec, property, value, &error);
    assert_no_error();
    return create(host, spec, VMH_CREATE_START | VMH_CREATE_TRANSIENT);
}

static vmh_job *update(vmh_vm *vm, const char *property, const char *value, vmh_error **error)
{
    g_autoptr(vmh_spec) spec = vmh_spec_new("vm", error);

    vmh_spec_set(spec, property, value, error);
    return vmh_vm_update(vm, spec, VMH_UPDATE_LIVE, 0, error);
}

/* Whether a thread of the process may run on these CPUs alone. */
static gboolean has_thread_on(int process, const char *cpus)
{
    g_autofree char *tasks = g_strdup_printf("/proc/%d/task", process);
    g_autofree char *line = g_strconcat("\nCpus_allowed_list:\t", cpus, "\n", NULL);
    g_autoptr(GDir) directory = g_dir_open(tasks, 0, NULL);
    gboolean    found = FALSE;
    const char *task;

    ck_assert_ptr_nonnull(directory);
    while ((task = g_dir_read_name(directory))) {
        g_autofree char *path = g_build_filename(tasks, task, "status", NULL);
        g_autofree char *status = NULL;

        found = found || (g_file_get_contents(path, &status, NULL, NULL) && strstr(status, line));
    }
    return found;
}

START_TEST(cpus_are_pinned)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = NULL;
    g_autoptr(vmh_error) error = NULL;
    pid_t process;

    if (g_get_num_processors() < 2)
        return;
    vm = begin(host, "cpu.pin.0", "1");
    process = engine_process(vm);
    ck_assert(has_thread_on(process, "1"));
    ck_assert(!has_thread_on(process, "0"));
    assert_ok(update(vm, "cpu.pin.1", "0", &error));
    ck_assert(has_thread_on(process, "0"));
    assert_ok(vmh_vm_reset(vm, 0, &error));
    ck_assert(has_thread_on(process, "0") && has_thread_on(process, "1"));
    ck_assert_int_lt(vmh_job_finish(update(vm, "cpu.pin.0", "1000", &error), PATIENCE_MS, &error), 0);
    ck_assert_str_eq(vmh_error_property(error), "cpu.pin.0");
    assert_error(VMH_ERR_VALUE);
    assert_ok(vmh_vm_stop(vm, 0, &error));
}
END_TEST

/* The group of a process in the hierarchy of the CPU controller, "" when it is not one of ours. */
static char *group_of(int process)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cgroup", process);
    g_autofree char *text = NULL;
    const char      *found;

    ck_assert(g_file_get_contents(path, &text, NULL, NULL));
    found = strstr(text, "/vmhost/");
    return found ? g_strndup(found, strcspn(found, "\n")) : g_strdup("");
}

START_TEST(cpu_time_is_limited)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = begin(host, "title", "without limits");
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_spec) spec = NULL;
    g_autofree char *before = group_of(engine_process(vm));
    g_autofree char *after = NULL, *sandbox = NULL;

    ck_assert_str_eq(before, "");
    if (vmh_host_supports(host, "cpu.limit", NULL, &error) == 1) {
        assert_ok(update(vm, "cpu.limit", "0.5", &error));
        after = group_of(engine_process(vm));
        ck_assert_str_ne(after, "");
        spec = vmh_vm_describe(vm, 0, &error);
        sandbox = test_text(spec, "security.sandbox");
        ck_assert(g_str_has_suffix(sandbox, ",cgroup"));
    }
    assert_ok(vmh_vm_stop(vm, 0, &error));
}
END_TEST

/* What a file of the VM's control group says; "" where there is none. */
static char *in_group(const char *uuid, const char *file)
{
    g_autofree char *path = g_strconcat("*/", uuid, "/", file, NULL);

    return RUN("find", "/sys/fs/cgroup", "-path", path, "-exec", "cat", "{}", ";");
}

static gboolean has_quota(const char *uuid)
{
    g_autofree char *first = in_group(uuid, "cpu.cfs_quota_us");
    g_autofree char *second = in_group(uuid, "cpu.max");

    return g_ascii_isdigit(*first) || g_ascii_isdigit(*second);
}

START_TEST(what_is_refused_limits_nothing)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = begin(host, "title", "free");
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_spec) spec = vmh_spec_new("vm", NULL);

    if (vmh_host_supports(host, "cpu.limit", NULL, &error) == 1) {
        vmh_spec_set(spec, "cpu.limit", "0.5", NULL);
        vmh_spec_set(spec, "cpu.weight", "50", NULL);
        vmh_spec_set(spec, "cpu.pin.9", "0", NULL); /* it has no such CPU */
        assert_fails(vmh_vm_update(vm, spec, VMH_UPDATE_LIVE, 0, &error), VMH_ERR_VALUE);
        ck_assert(!has_quota(vmh_vm_uuid(vm)));
        assert_ok(update(vm, "cpu.limit", "0.5", &error));
        ck_assert(has_quota(vmh_vm_uuid(vm)));
        assert_fails(vmh_vm_update(vm, spec, VMH_UPDATE_LIVE, 0, &error), VMH_ERR_VALUE);
        ck_assert(has_quota(vmh_vm_uuid(vm)));
    }
    assert_ok(vmh_vm_stop(vm, 0, &error));
}
END_TEST

/* Whether there is still a control group of the VM's, whose name has its UUID. */
static gboolean has_group(const char *uuid)
{
    g_autofree char *found = RUN("find", "/sys/fs/cgroup", "-name", uuid);

    return *found != '\0';
}

/* By itself, so that nobody has to clear away but those who watch. */
START_TEST(the_group_goes_with_its_vm)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_spec) spec = engine_spec("limits", "tick=5 exit=1");
    g_autoptr(vmh_error) error = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    const int64_t end = test_now_ms() + PATIENCE_MS;

    if (vmh_host_supports(host, "cpu.limit", NULL, &error) != 1)
        return;
    vmh_spec_set(spec, "debug.exit", "244", &error);
    vmh_spec_set(spec, "cpu.limit", "0.5", &error);
    vm = create(host, spec, VMH_CREATE_START | VMH_CREATE_PAUSED | VMH_CREATE_TRANSIENT);
    ck_assert(has_group(vmh_vm_uuid(vm)));
    assert_ok(vmh_vm_resume(vm, 0, &error));
    ck_assert(test_wait_state(vm, VMH_VM_GONE, PATIENCE_MS));
    while ((has_group(vmh_vm_uuid(vm)) || engine_files() > 3) && test_now_ms() < end)
        g_usleep(10000);
    ck_assert(!has_group(vmh_vm_uuid(vm)));
    ck_assert_uint_le(engine_files(), 3); /* two directories and a lock */
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {cpus_are_pinned, cpu_time_is_limited, what_is_refused_limits_nothing,
                                  the_group_goes_with_its_vm};

    return engine_run("kvm-limits", tests, G_N_ELEMENTS(tests));
}
