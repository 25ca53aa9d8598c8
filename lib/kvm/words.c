/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a VM ended: a file that its start begins with the host's boot, and its VMM ends with its last words. It is
 * locked from then on as long as the VMM has it open, so whether there is one is known without asking it.
 */
#include "kvm/common.h"
#include <fcntl.h>
#include <string.h>

enum { ENDING_MS = 2000 };

static char *boot_id(void)
{
    char *text = NULL;

    if (g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
        g_strstrip(text);
    return text ? text : g_strdup("");
}

/* What it held before is true until somebody can see that there is a process. */
void vmhi_kvm_words_begin(int descriptor)
{
    g_autofree char *boot = boot_id();
    g_autofree char *line = g_strconcat("boot ", boot, "\n", NULL);

    fcntl(descriptor, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK});
    if (ftruncate(descriptor, 0) < 0 || write(descriptor, line, strlen(line)) < 0)
        return; /* a full disk: then the end's reason will not be known */
}

gboolean vmhi_kvm_has_process(const vmhi_driver_host *host, const char *uuid)
{
    g_autofree char *path = vmhi_kvm_path(host, uuid, VMHI_KVM_WORDS);
    const int        descriptor = open(path, O_RDONLY | O_CLOEXEC);
    struct flock     lock = {.l_type = F_RDLCK};
    gboolean         is_locked;

    if (descriptor < 0)
        return errno != ENOENT && errno != ENOTDIR; /* it cannot be known, so nobody may take it for gone */
    is_locked = fcntl(descriptor, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
    close(descriptor);
    return is_locked;
}

gboolean vmhi_kvm_wait_for_process(const vmhi_driver_host *host, const char *uuid)
{
    const gint64 end = g_get_monotonic_time() + ENDING_MS * 1000;

    while (vmhi_kvm_has_process(host, uuid)) {
        if (g_get_monotonic_time() > end)
            return FALSE;
        g_usleep(1000);
    }
    return TRUE;
}

static vmhi_kvm_condition condition(int32_t state, const char *reason)
{
    return (vmhi_kvm_condition){state, g_strdup(reason), NULL, NULL};
}

vmhi_kvm_condition vmhi_kvm_without_a_word(void)
{
    return condition(VMH_VM_CRASHED, "its process ended without a word: it was killed, or failed itself");
}

vmhi_kvm_condition vmhi_kvm_words_read(const vmhi_driver_host *host, const char *uuid)
{
    g_autofree char *path = vmhi_kvm_path(host, uuid, VMHI_KVM_WORDS);
    g_autofree char *text = NULL;
    g_autofree char *boot = boot_id();
    g_auto(GStrv) lines = NULL;
    const char *last;

    if (!g_file_get_contents(path, &text, NULL, NULL) || !*text)
        return condition(VMH_VM_STOPPED, NULL); /* it never ran */
    lines = g_strsplit(text, "\n", 3);
    last = g_strv_length(lines) > 1 ? lines[1] : "";
    if (g_str_has_prefix(last, "ended "))
        return condition(VMH_VM_STOPPED, last + strlen("ended "));
    if (g_str_has_prefix(last, "crashed "))
        return condition(VMH_VM_CRASHED, last + strlen("crashed "));
    if (g_str_has_prefix(text, "boot ") && strcmp(lines[0] + strlen("boot "), boot) != 0)
        return condition(VMH_VM_STOPPED, "the host was restarted");
    return vmhi_kvm_without_a_word();
}

/* Nobody listens, though there is a process: it begins, or it has said its last words. */
vmhi_kvm_condition vmhi_kvm_words_of_process(const vmhi_driver_host *host, const char *uuid)
{
    g_autofree char *path = vmhi_kvm_path(host, uuid, VMHI_KVM_WORDS);
    g_autofree char *text = NULL;

    if (g_file_get_contents(path, &text, NULL, NULL) && strstr(text, "\nended ") == NULL &&
        strstr(text, "\ncrashed ") == NULL)
        return condition(VMH_VM_STOPPED, "it is being started");
    vmhi_kvm_wait_for_process(host, uuid);
    return vmhi_kvm_words_read(host, uuid);
}
