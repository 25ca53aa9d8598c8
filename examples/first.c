/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program of the README: boots a kernel and prints what the guest says until it has shut down. */
#include <stdio.h>
#include <unistd.h>
#include <vmhost/vmhost.h>

int main(int argc, char **argv)
{
    vmh_error *err = NULL;                                /* a call given an error does nothing and keeps it */
    vmh_host  *host = vmh_host_open(NULL, NULL, 0, &err); /* the best hypervisor of this machine */
    vmh_spec  *spec = vmh_spec_new("vm", &err);

    vmh_spec_set(spec, "name", "first", &err);
    vmh_spec_set(spec, "memory.size", "256MiB", &err);
    vmh_spec_set(spec, "boot.kernel", argc > 1 ? argv[1] : "/vmlinuz", &err);
    vmh_spec_set(spec, "boot.initrd", argc > 2 ? argv[2] : "/initrd.img", &err);
    vmh_spec_set(spec, "boot.cmdline", "console=ttyS0", &err);
    vmh_spec_set(spec, "console.main.to", "pty", &err);

    vmh_job *job = vmh_host_create_vm(host, spec, VMH_CREATE_START | VMH_CREATE_PAUSED | VMH_CREATE_TRANSIENT, &err);
    vmh_job_wait(job, -1, &err);
    vmh_vm *vm = vmh_job_result_vm(job);
    int32_t console = vmh_vm_console(vm, "main", 0, &err); /* a descriptor, before the first word */
    vmh_job_finish(vmh_vm_resume(vm, 0, &err), -1, &err);

    char    text[4096];
    ssize_t length;
    while (!err && (length = read(console, text, sizeof text)) > 0) {
        fwrite(text, 1, (size_t)length, stdout);
        fflush(stdout);
    }
    int failed = err != NULL;
    if (failed)
        fprintf(stderr, "%s\n", vmh_error_message(err));
    close(console);
    vmh_vm_unref(vm); /* stops nothing: had the guest not ended, it would run on */
    vmh_job_unref(job);
    vmh_spec_unref(spec);
    vmh_host_unref(host);
    vmh_error_free(err);
    return failed;
}
