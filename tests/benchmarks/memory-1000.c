/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The heap that a host of 1,000 VMs takes: opened, listed, watched by a queue and sampled once, against a bare
 * connection that was opened. What we add to it is the difference; libvirt's test driver keeps its VMs in the same
 * heap, as no remote one does.
 */
#include "bench.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { VMS = 1000, RUNS = 11 };

static double heap_kib(void)
{
    struct mallinfo2 heap = mallinfo2();

    return (heap.uordblks + heap.hblkhd) / 1024.0;
}

static vmh_queue *watch(vmh_host *host)
{
    vmh_error *error = NULL;
    vmh_queue *queue = vmh_queue_new(host, NULL, 0, &error);
    int32_t    type = 0;

    while (type != VMH_EVENT_SYNCED) {
        vmh_event *event;
        bench_require(vmh_queue_wait(queue, -1, &event, &error) == 1, error, "vmh_queue_wait");
        type = vmh_event_type(event);
        vmh_event_free(event);
    }
    return queue;
}

static double ours(void *uri)
{
    double     before = heap_kib(), grown;
    vmh_error *error = NULL;
    vmh_host  *host = bench_open(uri);
    vmh_queue *queue = watch(host);
    vmh_frame *frame = vmh_host_sample(host, NULL, 0, &error);
    vmh_vm   **vms;

    bench_require(frame && vmh_frame_rows(frame) == VMS, error, "vmh_host_sample");
    vmh_frame_unref(frame);
    bench_require(vmh_host_list_vms(host, &vms) == VMS, NULL, "vmh_host_list_vms");
    vmh_vm_list_free(vms);
    grown = heap_kib() - before;
    vmh_queue_unref(queue);
    vmh_host_unref(host);
    return grown;
}

static double peer(void *uri)
{
    double        before = heap_kib(), grown;
    virConnectPtr connection = bench_open_bare(uri);

    grown = heap_kib() - before;
    virConnectClose(connection);
    return grown;
}

int main(int argc, char **argv)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}};
    char            *uri;

    /* GLib keeps freed slices for itself, which would hide what the next run takes. */
    if (argc == 1 && g_setenv("G_SLICE", "always-malloc", TRUE))
        execl("/proc/self/exe", argv[0], "slices-off", NULL);
    uri = bench_machine_new(VMS);
    bench_run("memory-1000-kib", sides, G_N_ELEMENTS(sides), RUNS, uri);
    bench_machine_free(uri);
    return 0;
}
