/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A frame of 1,000 VMs against the calls of libvirt that bring the same values. The test driver's bulk call tells
 * states only, so the peer is virDomainGetInfo() of each: strictly nothing else, on domains that it holds from
 * before. "listing" also lists them anew each time, with their names and UUIDs, as a program without events must.
 */
#include "bench.h"

#include <stdlib.h>

enum { VMS = 1000, RUNS = 301 };

typedef struct {
    vmh_host     *host;
    virConnectPtr connection;
    virDomainPtr *domains;
    uint64_t      sum; /* of all that was read, so that both sides read it */
} sampling;

static double ours(void *data)
{
    sampling *s = data;
    double    start = bench_now_us();

    s->sum += bench_sample(s->host, VMS);
    return bench_now_us() - start;
}

static void read_info(sampling *s, virDomainPtr domain)
{
    virDomainInfo info;

    bench_require(virDomainGetInfo(domain, &info) == 0, NULL, "virDomainGetInfo");
    s->sum += info.cpuTime + info.nrVirtCpu + info.memory + info.maxMem;
}

static double peer(void *data)
{
    sampling *s = data;
    double    start = bench_now_us();

    for (int i = 0; i < VMS; i++)
        read_info(s, s->domains[i]);
    return bench_now_us() - start;
}

static double listing(void *data)
{
    sampling     *s = data;
    double        start = bench_now_us();
    virDomainPtr *domains;
    int           count = virConnectListAllDomains(s->connection, &domains, 0);

    bench_require(count == VMS, NULL, "virConnectListAllDomains");
    for (int i = 0; i < count; i++) {
        char uuid[VIR_UUID_STRING_BUFLEN];
        bench_require(virDomainGetName(domains[i]) && virDomainGetUUIDString(domains[i], uuid) == 0, NULL, "names");
        read_info(s, domains[i]);
        virDomainFree(domains[i]);
    }
    free(domains);
    return bench_now_us() - start;
}

int main(void)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}, {"listing", listing}};
    char            *uri = bench_machine_new(VMS);
    sampling         s = {.host = bench_open(uri), .connection = bench_open_bare(uri)};

    bench_require(virConnectListAllDomains(s.connection, &s.domains, 0) == VMS, NULL, "virConnectListAllDomains");
    bench_run("sample-1000-us", sides, G_N_ELEMENTS(sides), RUNS, &s);
    for (int i = 0; i < VMS; i++)
        virDomainFree(s.domains[i]);
    free(s.domains);
    virConnectClose(s.connection);
    vmh_host_unref(s.host);
    bench_machine_free(uri);
    return s.sum == 0;
}
