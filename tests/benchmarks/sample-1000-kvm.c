/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A frame of 1,000 VMs that run on the engine, against the least that brings the same values: of each its page of
 * counters, which was mapped before, and the clock that the kernel keeps for its process.
 */
#include "sides.h"
#include "vmm/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { VMS = 1000, RUNS = 301, AT_ONCE = 50 };

typedef struct {
    vmh_host                *host;
    vmh_vm                  *vms[VMS];
    const struct wire_stats *pages[VMS];
    clockid_t                clocks[VMS];
    uint64_t                 sum; /* of all that was read, so that both sides read it */
} sampling;

static double ours(void *data)
{
    sampling *s = data;
    double    start = bench_now_us();

    s->sum += bench_sample(s->host, VMS);
    return bench_now_us() - start;
}

static double peer(void *data)
{
    sampling       *s = data;
    double          start = bench_now_us();
    struct timespec time;

    for (int i = 0; i < VMS; i++) {
        const struct wire_stats *page = s->pages[i];

        bench_require(clock_gettime(s->clocks[i], &time) == 0, NULL, "a process's clock");
        s->sum += (uint64_t)time.tv_nsec + page->cpus + page->memory - page->balloon;
    }
    return bench_now_us() - start;
}

/* By the VM's socket, as the library does it. */
static void look_up(sampling *s, int number)
{
    static struct wire_message message;
    pid_t                      process;
    const int                  connection = bench_connect(s->vms[number], &process);
    int                        descriptor;

    wire_begin(&message, WIRE_WATCH, 1);
    bench_require(wire_send(connection, &message, 0) && wire_receive(connection, &message, 0) == 1 &&
                      clock_getcpuclockid(process, &s->clocks[number]) == 0,
                  NULL, "looking a process up");
    descriptor = wire_take_descriptor(&message);
    s->pages[number] = mmap(NULL, sizeof(struct wire_stats), PROT_READ, MAP_SHARED, descriptor, 0);
    bench_require(s->pages[number] != MAP_FAILED, NULL, "a page of counters");
    close(descriptor);
    close(connection);
}

/* --- the VMs: each a processor that has halted --- */

static vmh_job *create(const sampling *s, const char *kernel, int number)
{
    g_autofree char *name = g_strdup_printf("vm-%04d", number);
    vmh_error       *error = NULL;
    vmh_spec        *spec = vmh_spec_new("vm", &error);

    vmh_spec_set(spec, "name", name, &error);
    vmh_spec_set(spec, "memory.size", "1MiB", &error);
    vmh_spec_set(spec, "balloon", "no", &error);
    vmh_spec_set(spec, "rng", "no", &error);
    vmh_spec_set(spec, "boot.kernel", kernel, &error);
    vmh_spec_set(spec, "boot.format", "flat", &error);
    vmh_spec_set(spec, "boot.mode", "real", &error);
    vmh_spec_set(spec, "boot.address", "64KiB", &error);
    vmh_job *job = vmh_host_create_vm(s->host, spec, VMH_CREATE_START | VMH_CREATE_TRANSIENT, &error);
    bench_require(job != NULL, error, "vmh_host_create_vm");
    vmh_spec_unref(spec);
    return job;
}

/* Some at a time, each of which is a job. */
static void start_all(sampling *s)
{
    static const char halt[] = {(char)0xfa, (char)0xf4, (char)0xeb, (char)0xfc}; /* cli; hlt; jmp to the cli */
    char              kernel[] = "/tmp/vmhost-bench-halt-XXXXXX";
    const int         descriptor = mkstemp(kernel);
    vmh_error        *error = NULL;
    vmh_job          *jobs[AT_ONCE];

    bench_require(write(descriptor, halt, sizeof(halt)) == sizeof(halt), NULL, kernel);
    close(descriptor);
    for (int done = 0; done < VMS; done += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++)
            jobs[i] = create(s, kernel, done + i);
        for (int i = 0; i < AT_ONCE; i++) {
            bench_require(vmh_job_wait(jobs[i], -1, &error) == 0, error, "vmh_host_create_vm");
            s->vms[done + i] = vmh_job_result_vm(jobs[i]);
            vmh_job_unref(jobs[i]);
        }
    }
    unlink(kernel);
}

static void stop_all(sampling *s)
{
    vmh_error *error = NULL;
    vmh_job   *jobs[AT_ONCE];

    for (int done = 0; done < VMS; done += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++)
            jobs[i] = vmh_vm_stop(s->vms[done + i], 0, &error);
        for (int i = 0; i < AT_ONCE; i++) {
            bench_require(vmh_job_finish(jobs[i], -1, &error) == 0, error, "vmh_vm_stop");
            vmh_vm_unref(s->vms[done + i]);
        }
    }
}

int main(void)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}};
    static sampling  s;
    double           start;

    s.host = bench_own_host();
    start = bench_now_us();
    start_all(&s);
    printf("%d VMs were started in %.1f s\n", VMS, (bench_now_us() - start) / 1e6);
    for (int i = 0; i < VMS; i++)
        look_up(&s, i);
    bench_run("sample-1000-kvm-us", sides, G_N_ELEMENTS(sides), RUNS, &s);
    fflush(stdout);
    stop_all(&s);
    bench_own_host_free(s.host);
    return s.sum == 0;
}
