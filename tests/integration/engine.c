/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hosts of the built-in engine for tests, and what becomes of them. */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static char *top;

/* --- the place --- */

const char *engine_directory(void)
{
    static char *directory;

    if (!directory)
        directory = g_strdup_printf("%s/%d", top, (int)getpid());
    return directory;
}

const char *engine_uri(void)
{
    static char *uri;

    if (!uri)
        uri = g_strconcat("kvm://", engine_directory(), NULL);
    return uri;
}

char *engine_file(const char *name)
{
    g_mkdir_with_parents(engine_directory(), 0755);
    return g_build_filename(engine_directory(), name, NULL);
}

static guint count_files(const char *path)
{
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;
    guint       count = 0;

    while (directory && (name = g_dir_read_name(directory))) {
        g_autofree char *inner = g_build_filename(path, name, NULL);

        count += 1 + (g_file_test(inner, G_FILE_TEST_IS_SYMLINK) ? 0 : count_files(inner));
    }
    return count;
}

guint engine_files(void)
{
    return count_files(engine_directory());
}

/* A VMM holds a file of its VM open. However it sees the file system, the end of the path is the same. */
static gboolean is_ours(const char *process)
{
    const char      *mark = engine_directory() + strlen(g_get_tmp_dir());
    g_autofree char *path = g_strdup_printf("/proc/%s/fd", process);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *number;
    gboolean    ours = FALSE;

    while (directory && !ours && (number = g_dir_read_name(directory))) {
        g_autofree char *link = g_build_filename(path, number, NULL);
        g_autofree char *target = g_file_read_link(link, NULL);

        ours = target && strstr(target, mark);
    }
    return ours;
}

guint engine_processes(void)
{
    g_autoptr(GDir) directory = g_dir_open("/proc", 0, NULL);
    const char *name;
    guint       count = 0;

    while ((name = g_dir_read_name(directory))) {
        g_autofree char *path = g_build_filename("/proc", name, "comm", NULL);
        g_autofree char *comm = NULL;

        if (g_ascii_isdigit(*name) && g_file_get_contents(path, &comm, NULL, NULL) &&
            g_str_equal(comm, "vmhost-vmm\n"))
            count += is_ours(name);
    }
    return count;
}

static void remove_all(const char *path)
{
    g_autoptr(GDir) directory = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    const char *name;

    while (directory && (name = g_dir_read_name(directory))) {
        g_autofree char *inner = g_build_filename(path, name, NULL);

        remove_all(inner);
    }
    g_remove(path);
}

/* A test that failed has left its VMs. */
static void stop_all(const char *name)
{
    g_autofree char *uri = g_strdup_printf("kvm://%s/%s", top, name);
    g_autofree char *inner = g_strdup_printf("%s/%s/vms", top, name);
    g_autoptr(vmh_host) host = NULL;
    vmh_vm **vms = NULL;
    size_t   count;

    if (!g_file_test(inner, G_FILE_TEST_IS_DIR))
        return;
    host = vmh_host_open(uri, NULL, 0, NULL);
    count = host ? vmh_host_list_vms(host, &vms) : 0;
    for (size_t i = 0; i < count; i++)
        vmh_job_finish(vmh_vm_delete(vms[i], VMH_DELETE_FORCE, NULL), PATIENCE_MS, NULL);
    vmh_vm_list_free(vms);
}

static void clear_away(void)
{
    g_autoptr(GDir) directory = g_dir_open(top, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(directory)))
        stop_all(name);
    remove_all(top);
}

int engine_run(const char *name, const TTest *const *tests, size_t count)
{
    const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int       result;

    if (kvm < 0) {
        printf("1..0 # SKIP needs KVM: /dev/kvm: %s\n", g_strerror(errno));
        return 0;
    }
    close(kvm);
    top = g_dir_make_tmp("vmhost-engine-XXXXXX", NULL);
    g_assert(top);
    g_chmod(top, 0755); /* a test may go on as another user */
    result = integration_run(name, FALSE, tests, count);
    clear_away();
    g_free(top);
    return result;
}

/* --- VMs --- */

/* What cannot be set, creating the VM tells. */
vmh_spec *engine_spec(const char *name, const char *cmdline)
{
    vmh_spec *spec = test_spec(name, 32);

    vmh_spec_set_str(spec, "boot.kernel", SMALL_GUEST, NULL);
    vmh_spec_set_str(spec, "boot.cmdline", cmdline ? cmdline : "", NULL);
    return spec;
}

vmh_vm *engine_create(vmh_host *host, const char *name, const char *cmdline, uint64_t flags)
{
    g_autoptr(vmh_spec) spec = engine_spec(name, cmdline);

    return create(host, spec, flags);
}

vmh_vm *engine_find(vmh_host *host, const char *name)
{
    const int64_t end = test_now_ms() + PATIENCE_MS;
    vmh_vm       *vm;

    while (!(vm = vmh_host_find_vm(host, name, NULL)) && test_now_ms() < end)
        g_usleep(5000);
    ck_assert_msg(vm != NULL, "there is no VM %s", name);
    return vm;
}

/* --- guests that are programs --- */

vmh_spec *engine_flat_spec(const char *name, const char *kernel, const char *cmdline)
{
    vmh_spec        *spec = engine_spec(name, cmdline);
    g_autofree char *console = engine_file("console");
    g_autofree char *to = g_strconcat("file:", console, NULL);

    g_unlink(console);
    vmh_spec_set_str(spec, "boot.kernel", kernel, NULL);
    ck_assert_int_eq(vmh_spec_set(spec, "boot.format", "flat", NULL), 0);
    ck_assert_int_eq(vmh_spec_set_str(spec, "console.main.to", to, NULL), 0);
    return spec;
}

vmh_spec *engine_guest_spec(const char *guest, const char *cmdline)
{
    g_autofree char *kernel = g_strconcat(RING3_GUEST, guest, NULL);
    vmh_spec        *spec = engine_flat_spec(guest, kernel, cmdline);

    ck_assert_int_eq(vmh_spec_set(spec, "boot.mode", "user", NULL), 0);
    return spec;
}

/* One that is transient is gone. */
char *engine_words(vmh_vm *vm, gsize *length)
{
    g_autofree char *console = engine_file("console");
    const int64_t    end = test_now_ms() + PATIENCE_MS;
    char            *words;

    while (vmh_vm_state(vm) != VMH_VM_STOPPED && vmh_vm_state(vm) != VMH_VM_GONE && test_now_ms() < end)
        g_usleep(5000);
    ck_assert(vmh_vm_state(vm) == VMH_VM_STOPPED || vmh_vm_state(vm) == VMH_VM_GONE);
    ck_assert(g_file_get_contents(console, &words, length, NULL));
    vmh_job_finish(vmh_vm_delete(vm, 0, NULL), PATIENCE_MS, NULL);
    return words;
}

guint64 engine_value(const char *words, const char *name)
{
    g_autofree char *start = g_strdup_printf(" %s=", name);
    const char      *place = strstr(words, start);

    ck_assert_msg(place != NULL, "no %s in \"%s\"", name, words);
    return g_ascii_strtoull(place + strlen(start), NULL, 10);
}

/* --- processes --- */

int engine_address(vmh_vm *vm, struct sockaddr_un *address)
{
    g_autofree char *directory = g_build_filename(engine_directory(), "vms", vmh_vm_uuid(vm), NULL);
    const int        place = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

    ck_assert_msg(place >= 0, "%s: %s", directory, g_strerror(errno));
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    g_snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/control", place);
    return place;
}

int engine_connect(vmh_vm *vm)
{
    struct sockaddr_un address;
    const int          place = engine_address(vm, &address);
    const int          connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    ck_assert_msg(connect(connection, (struct sockaddr *)&address, sizeof address) == 0, "%s", g_strerror(errno));
    close(place);
    return connection;
}

guint engine_connections(pid_t process)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)process);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *entry;
    guint       count = 0;

    while (directory && (entry = g_dir_read_name(directory))) {
        g_autofree char *link = g_build_filename(path, entry, NULL);
        g_autofree char *target = g_file_read_link(link, NULL);

        count += target && g_str_has_prefix(target, "socket:");
    }
    return count;
}

pid_t engine_process(vmh_vm *vm)
{
    struct ucred peer = {0};
    socklen_t    size = sizeof peer;
    const int    connection = engine_connect(vm);

    ck_assert(getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0);
    close(connection);
    return peer.pid;
}

gboolean engine_wait_gone(pid_t process, int64_t timeout_ms)
{
    const int64_t end = test_now_ms() + timeout_ms;

    while (kill(process, 0) == 0 && test_now_ms() < end)
        g_usleep(5000);
    return kill(process, 0) < 0;
}

char *engine_second(const char *const *arguments)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);

    g_ptr_array_add(words, g_file_read_link("/proc/self/exe", NULL));
    while (*arguments)
        g_ptr_array_add(words, g_strdup(*arguments++));
    g_ptr_array_add(words, NULL);
    return run((const char *const *)words->pdata);
}
