/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a VM ended: a file that its start begins with the host's boot, and its VMM ends with its last words. */
#include "kvm/common.h"
#include <string.h>

static char *boot_id(void)
{
    char *text = NULL;

    if (g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
        g_strstrip(text);
    return text ? text : g_strdup("");
}

void vmhi_kvm_words_begin(int descriptor)
{
    g_autofree char *boot = boot_id();
    g_autofree char *line = g_strconcat("boot ", boot, "\n", NULL);

    if (write(descriptor, line, strlen(line)) < 0)
        return; /* a full disk: then the end's reason will not be known */
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

    if (!g_file_get_contents(path, &text, NULL, NULL))
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
