/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory that a running VM's process has for itself, beside the guest's: our VMM and QEMU's microvm. */
#include "sides.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RUNS = 5 };

/* The guest's memory: a memfd of ours, or where QEMU has it, the anonymous mapping of that size. */
static int is_guest(const char *line, unsigned long size_kib)
{
    return strstr(line, "guest memory") != NULL || size_kib == 32 << 10;
}

static double private_kib(pid_t process)
{
    char          path[64], line[512], value[512];
    unsigned long start, end, kib, sum = 0;
    int           guest = 0;
    FILE         *file;

    snprintf(path, sizeof(path), "/proc/%d/smaps", (int)process);
    file = fopen(path, "r");
    bench_require(file != NULL, NULL, path);
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "%lx-%lx %s", &start, &end, value) == 3)
            guest = is_guest(line, (end - start) >> 10);
        else if (!guest && sscanf(line, "Private_%[^:]: %lu", value, &kib) == 2)
            sum += kib;
    }
    fclose(file);
    return (double)sum;
}

static const bench_guest guest = {.memory_mib = "32", .kernel = SMALL_GUEST, .cmdline = "tick=50"};

static double ours(void *host)
{
    bench_running running = bench_start_ours(host, &guest);
    double        kib;

    bench_hear(&running, "tick 1");
    close(bench_connect(running.vm, &running.process));
    kib = private_kib(running.process);
    bench_end(&running);
    return kib;
}

static double peer(void *data)
{
    bench_running running = bench_start_peer(&guest);
    double        kib;

    (void)data;
    bench_hear(&running, "tick 1");
    kib = private_kib(running.process);
    bench_end(&running);
    return kib;
}

int main(void)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}};
    vmh_host        *host = bench_own_host();

    bench_run("vm-overhead-kib", sides, G_N_ELEMENTS(sides), RUNS, host);
    bench_own_host_free(host);
    return 0;
}
