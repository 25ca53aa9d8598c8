/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs guests and reads the line that each says at its end. */
#include "guest.h"

#include <string.h>
#include <unistd.h>
#include <x86intrin.h>

vmh_spec *guest_spec(const char *guest, const char *cmdline, const char *memory)
{
    static unsigned  number;
    g_autofree char *name = g_strdup_printf("%s-%u", guest, number++);
    g_autofree char *kernel = g_strconcat(RING3_GUEST, guest, NULL);
    vmh_error       *error = NULL;
    vmh_spec        *spec = vmh_spec_new("vm", &error);

    vmh_spec_set(spec, "name", name, &error);
    vmh_spec_set(spec, "memory.size", memory, &error);
    vmh_spec_set(spec, "boot.kernel", kernel, &error);
    vmh_spec_set(spec, "boot.format", "flat", &error);
    vmh_spec_set(spec, "boot.mode", "user", &error);
    vmh_spec_set_str(spec, "boot.cmdline", cmdline, &error);
    bench_require(error == NULL, error, "a guest's spec");
    return spec;
}

char *guest_run(vmh_host *host, const vmh_spec *spec)
{
    const uint64_t flags = VMH_CREATE_START | VMH_CREATE_PAUSED | VMH_CREATE_TRANSIENT;
    vmh_error     *error = NULL;
    vmh_job       *job = vmh_host_create_vm(host, spec, flags, &error);
    GString       *words = g_string_new(NULL);
    char           text[4096];
    ssize_t        got;

    bench_require(vmh_job_wait(job, -1, &error) == 0, error, "vmh_host_create_vm");
    vmh_vm *vm = vmh_job_result_vm(job);
    int     console = vmh_vm_console(vm, NULL, 0, &error);
    bench_require(console >= 0, error, "vmh_vm_console");
    bench_require(vmh_job_finish(vmh_vm_resume(vm, 0, &error), -1, &error) == 0, error, "vmh_vm_resume");
    while ((got = read(console, text, sizeof(text))) > 0)
        g_string_append_len(words, text, got);
    close(console);
    vmh_vm_unref(vm);
    vmh_job_unref(job);
    return g_string_free(words, FALSE);
}

uint64_t guest_value(const char *words, const char *name)
{
    g_autofree char *start = g_strdup_printf(" %s=", name);
    const char      *place = strstr(words, start);

    bench_require(place != NULL, NULL, *words ? words : "the guest said nothing");
    return g_ascii_strtoull(place + strlen(start), NULL, 10);
}

double guest_cycle_ns(void)
{
    static double ns;

    if (ns == 0) {
        const double   start = bench_now_us();
        const uint64_t first = __rdtsc();

        g_usleep(200000);
        ns = (bench_now_us() - start) * 1000 / (double)(__rdtsc() - first);
    }
    return ns;
}
