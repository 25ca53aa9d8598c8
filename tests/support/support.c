/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Handles, waiting, and VMs to try. */
#include "support.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long a look at something that changes by itself is put off. */
#define LOOK_AGAIN_US 5000

int64_t test_now_ms(void)
{
    return g_get_monotonic_time() / 1000;
}

/* --- VMs to try --- */

const char *test_prefix(void)
{
    static char  prefix[32];
    static gsize made;

    if (g_once_init_enter(&made)) {
        g_snprintf(prefix, sizeof prefix, "vmhtest-%d-", (int)getpid());
        g_once_init_leave(&made, 1);
    }
    return prefix;
}

char *test_name(const char *what)
{
    static gint number;

    return g_strdup_printf("%s%d-%d-%s", test_prefix(), (int)getpid() % 1000, g_atomic_int_add(&number, 1), what);
}

void test_clean(vmh_host *host)
{
    vmh_vm **vms = NULL;
    size_t   count = vmh_host_list_vms(host, &vms);

    for (size_t i = 0; i < count; i++) {
        g_autofree char *name = test_vm_name(vms[i]);
        if (name && g_str_has_prefix(name, test_prefix()))
            vmh_job_finish(vmh_vm_delete(vms[i], VMH_DELETE_FORCE, NULL), PATIENCE_MS, NULL);
    }
    vmh_vm_list_free(vms);
}

vmh_spec *test_spec(const char *name, unsigned memory_mib)
{
    vmh_spec *spec = vmh_spec_new("vm", NULL);

    vmh_spec_set_str(spec, "name", name, NULL);
    vmh_spec_set_u64(spec, "cpu.count", 1, NULL);
    vmh_spec_set_u64(spec, "memory.size", (uint64_t)memory_mib << 20, NULL);
    return spec;
}

gboolean test_spec_boot(vmh_spec *spec, const char *cmdline)
{
    const char      *kernel = g_getenv("VMHOST_TEST_KERNEL");
    const char      *initrd = g_getenv("VMHOST_TEST_INITRD");
    const char      *own = g_getenv("VMHOST_TEST_CMDLINE");
    g_autofree char *all = g_strdup_printf("%s %s", own ? own : "console=ttyS0", cmdline ? cmdline : "");

    return kernel && initrd && vmh_spec_set_str(spec, "boot.kernel", kernel, NULL) == 0 &&
           vmh_spec_set_str(spec, "boot.initrd", initrd, NULL) == 0 &&
           vmh_spec_set_str(spec, "boot.cmdline", g_strstrip(all), NULL) == 0 &&
           vmh_spec_set_str(spec, "console.main.to", "pty", NULL) == 0;
}

char *test_vm_name(const vmh_vm *vm)
{
    char *name = vmh_vm_name_dup(vm);
    char *copy = g_strdup(name);

    vmh_free(name);
    return copy;
}

char *test_text(const vmh_spec *spec, const char *path)
{
    char *text = vmh_spec_get_text_dup(spec, path, NULL);
    char *copy = g_strdup(text ? text : "");

    vmh_free(text);
    return copy;
}

char *test_disk(const char *what, unsigned mib)
{
    const char      *shared = g_getenv("VMHOST_TEST_DIR");
    g_autofree char *name = test_name(what);
    char            *path = g_strdup_printf("%s/%s.img", shared ? shared : g_get_tmp_dir(), name);
    int              fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0666);

    if (fd < 0 || fchmod(fd, 0666) < 0 || ftruncate(fd, (off_t)mib << 20) < 0)
        g_error("cannot make %s: %s", path, g_strerror(errno));
    close(fd);
    return path;
}

/* --- waiting --- */

gboolean test_wait_state(vmh_vm *vm, int32_t state, int64_t timeout_ms)
{
    int64_t end = test_now_ms() + timeout_ms;

    while (vmh_vm_state(vm) != state && test_now_ms() < end)
        g_usleep(LOOK_AGAIN_US);
    return vmh_vm_state(vm) == state;
}

static gboolean is_known(vmh_host *host, const char *name)
{
    g_autoptr(vmh_vm) vm = vmh_host_find_vm(host, name, NULL);

    return vm != NULL;
}

gboolean test_wait_unknown(vmh_host *host, const char *name, int64_t timeout_ms)
{
    int64_t end = test_now_ms() + timeout_ms;

    while (is_known(host, name) && test_now_ms() < end)
        g_usleep(LOOK_AGAIN_US);
    return !is_known(host, name);
}

vmh_event *test_wait_event(vmh_queue *queue, int32_t type, const char *name, int64_t timeout_ms)
{
    int64_t    end = test_now_ms() + timeout_ms;
    vmh_event *event = NULL;

    while (vmh_queue_wait(queue, MAX(end - test_now_ms(), 0), &event, NULL) == 1) {
        if (vmh_event_type(event) == type && (!name || g_strcmp0(vmh_event_str(event, "name"), name) == 0))
            return event;
        vmh_event_free(event);
    }
    return NULL;
}

gboolean test_wait_console(int fd, GString *seen, const char *text, int64_t timeout_ms)
{
    int64_t end = test_now_ms() + timeout_ms;

    while (!strstr(seen->str, text)) {
        struct pollfd waits = {.fd = fd, .events = POLLIN};
        char          buffer[512];
        ssize_t       length;

        if (poll(&waits, 1, (int)MAX(end - test_now_ms(), 0)) <= 0)
            return FALSE;
        length = read(fd, buffer, sizeof buffer);
        if (length <= 0)
            return FALSE;
        for (ssize_t i = 0; i < length; i++) /* a NUL would hide what follows */
            g_string_append_c(seen, buffer[i] ? buffer[i] : '?');
    }
    return TRUE;
}

gboolean test_say(int fd, const char *text)
{
    size_t length = strlen(text);

    return write(fd, text, length) == (ssize_t)length;
}
