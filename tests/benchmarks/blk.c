/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How fast a guest reads its disk through virtio, by a driver that polls, against fio with io_uring on the same file.
 * The file is in the host's page cache, so that no disk hides what the engine costs. More is better here.
 */
#include "guest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RUNS = 9, FILE_MIB = 128 };

typedef struct {
    const char *order, *fio; /* what each side calls it */
    unsigned    block, depth, count;
    double      unit; /* bytes; 0: requests */
} way;

static const way ways[] = {
    {"random", "randread", 4096, 32, 30000, 0},
    {"sequential", "read", 1 << 20, 8, 2000, 1 << 30},
};

typedef struct {
    vmh_host  *host;
    const way *way;
    char       path[64];
} reading;

static double ours(void *data)
{
    const reading   *r = data;
    const way       *w = r->way;
    g_autofree char *cmdline =
        g_strdup_printf("op=read order=%s block=%u depth=%u count=%u", w->order, w->block, w->depth, w->count);
    vmh_spec        *spec = guest_spec("blk", cmdline, "64MiB");
    vmh_error       *error = NULL;
    g_autofree char *words = NULL;
    double           seconds;

    vmh_spec_set_str(spec, "disk.data.path", r->path, &error);
    vmh_spec_set(spec, "disk.data.readonly", "yes", &error);
    bench_require(error == NULL, error, "the disk");
    words = guest_run(r->host, spec);
    vmh_spec_unref(spec);
    bench_require(guest_value(words, "requests") == w->count && guest_value(words, "errors") == 0, NULL, words);
    seconds = (double)guest_value(words, "cycles") * guest_cycle_ns() / 1e9;
    return w->count * (w->unit > 0 ? w->block / w->unit : 1) / seconds;
}

/* Its terse output has, from 0, in field 4 the error, in 6 the KiB a second and in 7 the operations a second. */
static double peer(void *data)
{
    const reading   *r = data;
    const way       *w = r->way;
    g_autofree char *command = g_strdup_printf(
        "fio --name=peer --filename=%s --readonly --rw=%s --bs=%u --iodepth=%u --size=%dm "
        "--io_size=%" G_GUINT64_FORMAT
        " --ioengine=io_uring --direct=0 --invalidate=0 --norandommap --gtod_reduce=1 --output-format=terse",
        r->path, w->fio, w->block, w->depth, FILE_MIB, (guint64)w->count * w->block);
    FILE    *fio = popen(command, "r");
    char     line[4096] = "";
    gboolean done = fio && fgets(line, sizeof(line), fio) && pclose(fio) == 0;
    g_auto(GStrv) fields = g_strsplit(line, ";", 0);

    bench_require(done && g_strv_length(fields) > 7 && strcmp(fields[4], "0") == 0, NULL, "running fio");
    return w->unit > 0 ? g_ascii_strtod(fields[6], NULL) * 1024 / w->unit : g_ascii_strtod(fields[7], NULL);
}

/* Written, and thus in the page cache. */
static void make_file(reading *r)
{
    g_autofree char *data = g_malloc(1 << 20);
    int              descriptor;

    memset(data, 0x5a, 1 << 20);
    strcpy(r->path, "/tmp/vmhost-bench-XXXXXX");
    descriptor = mkstemp(r->path);
    for (int i = 0; i < FILE_MIB; i++)
        bench_require(write(descriptor, data, 1 << 20) == 1 << 20, NULL, "writing a disk");
    close(descriptor);
}

int main(int argc, char **argv)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}};
    reading          r = {0};

    for (size_t i = 0; argc == 3 && i < G_N_ELEMENTS(ways); i++) {
        if (strcmp(argv[2], ways[i].order) == 0)
            r.way = &ways[i];
    }
    bench_require(r.way != NULL, NULL, "usage: blk NAME random|sequential");
    make_file(&r);
    r.host = bench_own_host();
    bench_run(argv[1], sides, G_N_ELEMENTS(sides), RUNS, &r);
    bench_own_host_free(r.host);
    unlink(r.path);
    return 0;
}
