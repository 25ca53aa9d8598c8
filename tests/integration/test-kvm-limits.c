/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The built-in engine's limits, as the host's kernel sees them: of CPU time, and of the CPUs that vCPUs run on. */
#include "integration.h"
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct {
    char     *directory;
    vmh_host *host;
    vmh_vm   *vm;
} fixture;

static vmh_error *error;

static void *succeeds(void *result)
{
    ck_assert_msg(!error, "%s", error ? vmh_error_message(error) : "");
    return result;
}

/* A VM that runs, with these properties; FALSE: this host has no KVM. */
static gboolean begin(fixture *f, const char *property, const char *value)
{
    g_autofree char *uri = NULL;
    g_autoptr(vmh_spec) spec = NULL;
    g_autoptr(vmh_job) job = NULL;

    if (access("/dev/kvm", R_OK | W_OK) < 0)
        return FALSE;
    f->directory = g_dir_make_tmp("vmhost-limits-XXXXXX", NULL);
    uri = g_strconcat("kvm://", f->directory, NULL);
    f->host = succeeds(vmh_host_open(uri, NULL, 0, &error));
    spec = test_spec("limits", 32);
    vmh_spec_set(spec, "cpu.count", "2", &error);
    vmh_spec_set(spec, "boot.kernel", SMALL_GUEST, &error);
    vmh_spec_set(spec, property, value, &error);
    job = vmh_host_create_vm(f->host, spec, VMH_CREATE_START | VMH_CREATE_TRANSIENT, &error);
    vmh_job_wait(job, PATIENCE_MS, &error);
    f->vm = succeeds(vmh_job_result_vm(job));
    return TRUE;
}

static void end(fixture *f)
{
    vmh_job_finish(vmh_vm_stop(f->vm, 0, &error), PATIENCE_MS, &error);
    succeeds(NULL);
    vmh_vm_unref(f->vm);
    vmh_host_unref(f->host);
    g_free(RUN("rm", "-rf", f->directory));
    g_free(f->directory);
}

static void update(fixture *f, const char *property, const char *value)
{
    g_autoptr(vmh_spec) spec = vmh_spec_new("vm", &error);

    vmh_spec_set(spec, property, value, &error);
    vmh_job_finish(vmh_vm_update(f->vm, spec, VMH_UPDATE_LIVE, 0, &error), PATIENCE_MS, &error);
}

/* The process that runs the VM, by its socket. */
static int process_of(const fixture *f)
{
    g_autoptr(vmh_spec) spec = vmh_vm_describe(f->vm, 0, &error);
    g_autofree char   *uuid = test_text(spec, "uuid");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred       peer = {0};
    socklen_t          size = sizeof(peer);
    const int          connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/vms/%s/control", f->directory, uuid);
    ck_assert_int_eq(connect(connection, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
    close(connection);
    return peer.pid;
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

START_TEST(test_pin)
{
    fixture f;

    if (g_get_num_processors() < 2 || !begin(&f, "cpu.pin.0", "1"))
        return;
    ck_assert(has_thread_on(process_of(&f), "1"));
    ck_assert(!has_thread_on(process_of(&f), "0"));
    update(&f, "cpu.pin.1", "0");
    succeeds(NULL);
    ck_assert(has_thread_on(process_of(&f), "0"));
    vmh_job_finish(vmh_vm_reset(f.vm, 0, &error), PATIENCE_MS, &error);
    ck_assert(has_thread_on(process_of(&f), "0") && has_thread_on(process_of(&f), "1"));
    update(&f, "cpu.pin.0", "1000");
    ck_assert_int_eq(vmh_error_code(error), VMH_ERR_VALUE);
    ck_assert_str_eq(vmh_error_property(error), "cpu.pin.0");
    g_clear_pointer(&error, vmh_error_free);
    end(&f);
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

START_TEST(test_cpu_limit)
{
    fixture          f;
    g_autofree char *before = NULL, *after = NULL, *sandbox = NULL;
    g_autoptr(vmh_spec) spec = NULL;

    if (!begin(&f, "title", "without limits"))
        return;
    before = group_of(process_of(&f));
    ck_assert_str_eq(before, "");
    if (vmh_host_supports(f.host, "cpu.limit", NULL, &error) == 1) {
        update(&f, "cpu.limit", "0.5");
        succeeds(NULL);
        after = group_of(process_of(&f));
        ck_assert_str_ne(after, "");
        spec = vmh_vm_describe(f.vm, 0, &error);
        sandbox = test_text(spec, "security.sandbox");
        ck_assert(g_str_has_suffix(sandbox, ",cgroup"));
    }
    end(&f);
}
END_TEST

INTEGRATION_RUN("kvm-limits", FALSE, test_pin, test_cpu_limit)
