/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tour: boots a guest, changes its CPUs and memory while it runs, and moves it live to a second host. */
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <vmhost/vmhost.h>

/* Prints what a console says for so many seconds. */
static void listen_to(int console, int seconds)
{
    struct pollfd waiting = {console, POLLIN, 0};
    char          text[4096];

    for (time_t end = time(NULL) + seconds; console >= 0 && time(NULL) < end;) {
        ssize_t length = poll(&waiting, 1, 100) > 0 ? read(console, text, sizeof text) : 0;
        fwrite(text, 1, length > 0 ? (size_t)length : 0, stdout);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    vmh_error *err = NULL;

    if (argc != 5)
        return fprintf(stderr, "usage: tour URI URI KERNEL INITRD\n"), 2;
    vmh_host *one = vmh_host_open(argv[1], NULL, 0, &err), *two = vmh_host_open(argv[2], NULL, 0, &err);
    vmh_spec *spec = vmh_spec_new("vm", &err), *change = vmh_spec_new("vm", &err);

    vmh_spec_set(spec, "name", "tour", &err);
    vmh_spec_set(spec, "cpu.max", "2", &err);
    vmh_spec_set(spec, "memory.size", "256MiB", &err);
    vmh_spec_set(spec, "boot.kernel", argv[3], &err);
    vmh_spec_set(spec, "boot.initrd", argv[4], &err);
    vmh_spec_set(spec, "boot.cmdline", "console=ttyS0", &err);
    vmh_spec_set(spec, "console.main.to", "pty", &err);
    vmh_job *create = vmh_host_create_vm(one, spec, VMH_CREATE_START | VMH_CREATE_TRANSIENT, &err);
    vmh_job_wait(create, -1, &err);
    vmh_vm *vm = vmh_job_result_vm(create);
    int     console = vmh_vm_console(vm, NULL, 0, &err);
    listen_to(console, 8);

    vmh_spec_set(change, "cpu.count", "2", &err);
    vmh_spec_set(change, "memory.size", "192MiB", &err);
    vmh_job_finish(vmh_vm_update(vm, change, VMH_UPDATE_LIVE, 0, &err), -1, &err);
    listen_to(console, 3);
    close(console);

    vmh_job *move = vmh_vm_migrate(vm, two, NULL, 0, &err);
    vmh_job_wait(move, -1, &err);
    vmh_vm *moved = vmh_job_result_vm(move); /* the same VM, on its new host */
    console = vmh_vm_console(moved, NULL, 0, &err);
    listen_to(console, 3);
    close(console);

    int failed = err != NULL;
    if (failed)
        fprintf(stderr, "%s\n", vmh_error_message(err));
    if (vm) /* wherever it is by now */
        vmh_job_finish(vmh_vm_stop(moved ? moved : vm, 0, NULL), -1, NULL);
    vmh_vm_unref(moved);
    vmh_job_unref(move);
    vmh_vm_unref(vm);
    vmh_job_unref(create);
    vmh_spec_unref(change);
    vmh_spec_unref(spec);
    vmh_host_unref(two);
    vmh_host_unref(one);
    vmh_error_free(err);
    return failed;
}
