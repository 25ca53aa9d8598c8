/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory that a running VM's process has for itself, beside the guest's: our VMM and QEMU's microvm, with nothing
 * but a console or with a disk and a NIC as well. Our disk is read all the time; QEMU's, which is not on a bus, the
 * guest does not find, and so it costs QEMU no more than being there.
 */
#include "sides.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RUNS = 5, DISK_SIZE = 16 << 20 };

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

static bench_guest guest = {.memory_mib = "32", .kernel = SMALL_GUEST, .cmdline = "tick=50"};

static void add_devices(char *disk)
{
    const int descriptor = mkstemp(disk);
    int       ends[2];

    bench_require(descriptor >= 0 && ftruncate(descriptor, DISK_SIZE) == 0, NULL, disk);
    bench_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, NULL, "socketpair");
    close(descriptor);
    guest.cmdline = "tick=50 read";
    guest.disk = disk;
    guest.nic = ends[0];
}

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

int main(int argc, char **argv)
{
    char             disk[] = "/tmp/vmhost-bench-disk-XXXXXX";
    const gboolean   has_devices = argc == 2 && strcmp(argv[1], "devices") == 0;
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}};
    vmh_host        *host = bench_own_host();

    if (has_devices)
        add_devices(disk);
    bench_run(has_devices ? "vm-overhead-devices-kib" : "vm-overhead-kib", sides, G_N_ELEMENTS(sides), RUNS, host);
    bench_own_host_free(host);
    if (has_devices)
        unlink(disk);
    return 0;
}
