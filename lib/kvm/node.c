/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this machine says of itself. */
#include "kvm/common.h"
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#define DEVICE "/dev/kvm"

static gboolean find_line(const char *path, const char *key, char **value)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    *value = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return FALSE;
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] && !*value; i++) {
        const char *colon = strchr(lines[i], ':');

        if (colon && g_str_has_prefix(lines[i], key) && strspn(lines[i] + strlen(key), " \t:") > 0)
            *value = g_strstrip(g_strdup(colon + 1));
    }
    return *value != NULL;
}

static void put_memory(vmh_spec *spec, const char *property, const char *key)
{
    g_autofree char *text = NULL;

    if (find_line("/proc/meminfo", key, &text))
        vmhi_spec_put_u64(spec, property, g_ascii_strtoull(text, NULL, 10) * 1024);
}

int vmhi_kvm_open_device(vmh_error **error)
{
    const int descriptor = open(DEVICE, O_RDWR | O_CLOEXEC);
    const int native = errno;

    if (descriptor >= 0 && ioctl(descriptor, KVM_GET_API_VERSION, 0UL) == KVM_API_VERSION)
        return descriptor;
    if (descriptor >= 0) {
        close(descriptor);
        vmhi_error_set(error, VMH_ERR_UNSUPPORTED, "this host has no KVM: " DEVICE " is something else");
    } else if (native == EACCES || native == EPERM) {
        vmhi_error_set_native(error, VMH_ERR_PERMISSION, VMHI_KVM, native, NULL,
                              DEVICE " may not be opened by this user: become a member of the group that owns it");
    } else {
        vmhi_error_set_native(error, VMH_ERR_UNSUPPORTED, VMHI_KVM, native, NULL,
                              "this host has no KVM: cannot open " DEVICE ": %s", g_strerror(native));
    }
    return -1;
}

void vmhi_kvm_put_cpuid(struct wire_message *message)
{
    enum { MOST = (WIRE_SIZE / 2) / sizeof(struct kvm_cpuid_entry2) };
    static gsize asked;

    if (g_once_init_enter(&asked)) {
        struct kvm_cpuid2 *cpuid = g_malloc0(sizeof(*cpuid) + MOST * sizeof(cpuid->entries[0]));
        const int          device = vmhi_kvm_open_device(NULL);

        cpuid->nent = MOST;
        if (ioctl(device, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
            cpuid->nent = 0;
        vmhi_kvm_close(device);
        g_once_init_leave(&asked, (gsize)cpuid);
    }
    const struct kvm_cpuid2 *cpuid = (const struct kvm_cpuid2 *)asked;
    if (cpuid->nent)
        wire_put(message, WIRE_T_CPUID, cpuid, sizeof(*cpuid) + cpuid->nent * sizeof(cpuid->entries[0]));
}

/* KVM is there also where it emulates the guest's every instruction: then the CPU has neither flag. */
static void put_accelerator(vmh_spec *spec)
{
    g_autofree char *flags = NULL;
    g_auto(GStrv) words = NULL;
    g_autoptr(vmh_error) why = NULL;
    const int kvm = vmhi_kvm_open_device(&why);

    if (kvm < 0) {
        vmhi_spec_put(spec, "accelerator.kind", "none");
        vmhi_spec_put(spec, "accelerator.reason", vmh_error_message(why));
        return;
    }
    close(kvm);
    find_line("/proc/cpuinfo", "flags", &flags);
    words = g_strsplit(flags ? flags : "", " ", -1);
    if (g_strv_contains((const char *const *)words, "vmx") || g_strv_contains((const char *const *)words, "svm")) {
        vmhi_spec_put(spec, "accelerator.kind", "hardware");
        vmhi_spec_put(spec, "accelerator.reason", "The host has KVM, and its CPU has vmx or svm.");
    } else {
        vmhi_spec_put(spec, "accelerator.kind", "emulated");
        vmhi_spec_put(spec, "accelerator.reason",
                      "The host has KVM, but its CPU has neither vmx nor svm, so KVM itself is emulated.");
    }
}

typedef struct {
    uint64_t running, total, cpus, memory;
} sums;

static void add_up(void *data, const vmhi_kvm_counters *counters)
{
    const struct wire_stats *stats = counters->stats;
    sums                    *s = data;

    s->total++;
    if (!stats)
        return;
    s->running++;
    s->cpus += stats->cpus;
    s->memory += stats->memory;
}

vmh_spec *vmhi_kvm_describe(vmhi_driver_host *host, vmh_error **error)
{
    vmh_spec        *spec = vmh_spec_new("host", error);
    g_autofree char *model = NULL;
    struct utsname   names;
    sums             s = {0};

    if (!spec)
        return NULL;
    vmhi_spec_put(spec, "hypervisor.name", "KVM");
    vmhi_spec_put(spec, "hypervisor.version", VMHOST_VERSION);
    if (uname(&names) == 0) {
        vmhi_spec_put(spec, "name", names.nodename);
        vmhi_spec_put(spec, "arch", names.machine);
    }
    vmhi_spec_put_u64(spec, "cpu.count", g_get_num_processors());
    if (find_line("/proc/cpuinfo", "model name", &model))
        vmhi_spec_put(spec, "cpu.model", model);
    put_memory(spec, "memory.total", "MemTotal");
    put_memory(spec, "memory.free", "MemFree");
    put_accelerator(spec);
    vmhi_kvm_watch_counters(host->watch, add_up, &s);
    vmhi_spec_put_u64(spec, "vms.running", s.running);
    vmhi_spec_put_u64(spec, "vms.total", s.total);
    vmhi_spec_put_u64(spec, "cpu.allocated", s.cpus);
    vmhi_spec_put_u64(spec, "memory.allocated", s.memory);
    return spec;
}
