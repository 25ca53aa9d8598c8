/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest gets through of a limit of its disk, beside what was set: it reads one sector after the other, which
 * is the hardest case, as nothing waits behind what is late.
 */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RUNS = 11, LIMIT = 200, SECONDS = 1, DISK = 1 << 20 };

static uint64_t count_reads(vmh_host *host)
{
    const uint64_t *values;
    uint64_t        reads = 0;

    while (!reads) {
        vmh_error *error = NULL;
        vmh_frame *frame = vmh_host_sample(host, "disk.data.read.ops", 0, &error);

        bench_require(frame != NULL, error, "vmh_host_sample");
        if (vmh_frame_rows(frame) && vmh_frame_column(frame, "disk.data.read.ops", &values, NULL, NULL) == 0 &&
            values[0] != VMH_METRIC_NONE)
            reads = values[0];
        vmh_frame_unref(frame);
    }
    return reads;
}

/* Reads a second. */
static double ours(void *data)
{
    vmh_host      *host = data;
    const double   start = bench_now_us();
    const uint64_t reads = count_reads(host);

    g_usleep(SECONDS * G_USEC_PER_SEC);
    return (double)(count_reads(host) - reads) * G_USEC_PER_SEC / (bench_now_us() - start);
}

static double peer(void *data)
{
    (void)data;
    return LIMIT;
}

static void start(vmh_host *host, const char *directory)
{
    vmh_error *error = NULL;
    vmh_spec  *spec = vmh_spec_new("vm", &error);
    char       path[64];
    int        disk;

    snprintf(path, sizeof(path), "%s/disk", directory);
    disk = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bench_require(disk >= 0 && ftruncate(disk, DISK) == 0, NULL, path);
    close(disk);
    vmh_spec_set(spec, "name", "rate", &error);
    vmh_spec_set(spec, "memory.size", "32MiB", &error);
    vmh_spec_set(spec, "boot.kernel", SMALL_GUEST, &error);
    vmh_spec_set(spec, "boot.cmdline", "read", &error);
    vmh_spec_set(spec, "disk.data.path", path, &error);
    vmh_spec_set_u64(spec, "disk.data.iops.read", LIMIT, &error);
    bench_require(error == NULL, error, "the spec");
    bench_require(vmh_job_finish(vmh_host_create_vm(host, spec, VMH_CREATE_START, &error), -1, &error) == 0, error,
                  "vmh_host_create_vm");
    vmh_spec_unref(spec);
}

int main(void)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}};
    char             directory[] = "/tmp/vmhost-bench-XXXXXX";
    char             text[64];
    vmh_error       *error = NULL;
    vmh_host        *host;
    vmh_vm          *vm;

    bench_require(mkdtemp(directory) != NULL, NULL, "mkdtemp");
    snprintf(text, sizeof(text), "kvm://%s", directory);
    host = bench_open(text);
    start(host, directory);
    bench_run("rate-accuracy-iops", sides, G_N_ELEMENTS(sides), RUNS, host);
    vm = vmh_host_find_vm(host, "rate", &error);
    bench_require(vmh_job_finish(vmh_vm_delete(vm, VMH_DELETE_FORCE, &error), -1, &error) == 0, error,
                  "vmh_vm_delete");
    vmh_vm_unref(vm);
    vmh_host_unref(host);
    snprintf(text, sizeof(text), "rm -rf %s", directory);
    return system(text) == 0 ? 0 : 1;
}
