/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the wish for a VM to the first word of a Linux kernel's first process, by the engine and by QEMU's microvm. */
#include "sides.h"

enum { RUNS = 5 };

typedef struct {
    vmh_host   *host;
    bench_guest guest;
} boots;

static double hear_init(bench_running running, double start)
{
    double end;

    bench_hear(&running, "init-begins");
    end = bench_now_us();
    bench_end(&running);
    return (end - start) / 1000;
}

static double ours(void *data)
{
    boots *b = data;
    double start = bench_now_us();

    return hear_init(bench_start_ours(b->host, &b->guest), start);
}

static double peer(void *data)
{
    boots *b = data;
    double start = bench_now_us();

    return hear_init(bench_start_peer(&b->guest), start);
}

int main(int argc, char **argv)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}};
    boots            b = {.guest = {.memory_mib = "256", .qemu_cpu = "host"}};

    bench_require(argc == 4, NULL, "usage: linux-boot KERNEL INITRD CMDLINE");
    b.guest.kernel = argv[1];
    b.guest.initrd = argv[2];
    b.guest.cmdline = argv[3];
    b.host = bench_own_host();
    bench_run("linux-boot-ms", sides, G_N_ELEMENTS(sides), RUNS, &b);
    bench_own_host_free(b.host);
    return 0;
}
