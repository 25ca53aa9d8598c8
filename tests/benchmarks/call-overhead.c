/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Start and stop of a VM through us against the bare calls. The strict peer has no event callback, so that libvirt
 * makes no event for anybody; peer-events has one, and the loop runs it, as in any program that watches its VMs
 * (and as we do).
 */
#include "bench.h"

enum { BATCH = 10, RUNS = 1501 };

typedef struct {
    vmh_host     *host;
    vmh_vm       *vm;
    virConnectPtr quiet, watched;
    virDomainPtr  quiet_domain, watched_domain;
    gint          events;
} calls;

static double ours(void *data)
{
    calls     *c = data;
    double     start = bench_now_us();
    vmh_error *error = NULL;

    for (int i = 0; i < BATCH; i++)
        bench_require(vmh_job_finish(vmh_vm_stop(c->vm, 0, &error), -1, &error) == 0 &&
                          vmh_job_finish(vmh_vm_start(c->vm, 0, &error), -1, &error) == 0,
                      error, "stop and start");
    return (bench_now_us() - start) / BATCH;
}

static double bare(virDomainPtr domain)
{
    double start = bench_now_us();

    for (int i = 0; i < BATCH; i++)
        bench_require(virDomainDestroy(domain) == 0 && virDomainCreate(domain) == 0, NULL, "destroy and create");
    return (bench_now_us() - start) / BATCH;
}

static double peer(void *data)
{
    return bare(((calls *)data)->quiet_domain);
}

static double peer_events(void *data)
{
    return bare(((calls *)data)->watched_domain);
}

static int count_event(G_GNUC_UNUSED virConnectPtr connection, G_GNUC_UNUSED virDomainPtr domain,
                       G_GNUC_UNUSED int event, G_GNUC_UNUSED int detail, void *data)
{
    g_atomic_int_inc(&((calls *)data)->events);
    return 0;
}

static virDomainPtr only_domain(virConnectPtr connection)
{
    virDomainPtr domain = virDomainLookupByName(connection, "vm-0000");

    bench_require(domain != NULL, NULL, "virDomainLookupByName");
    return domain;
}

/* The event loop is the one that the library registered when it opened the host. */
static void set_up(calls *c, const char *uri)
{
    vmh_error *error = NULL;

    c->host = bench_open(uri);
    c->vm = vmh_host_find_vm(c->host, "vm-0000", &error);
    bench_require(c->vm != NULL, error, "vmh_host_find_vm");
    c->quiet = bench_open_bare(uri);
    c->watched = bench_open_bare(uri);
    c->quiet_domain = only_domain(c->quiet);
    c->watched_domain = only_domain(c->watched);
    bench_require(virConnectDomainEventRegisterAny(c->watched, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                                   VIR_DOMAIN_EVENT_CALLBACK(count_event), c, NULL) >= 0,
                  NULL, "virConnectDomainEventRegisterAny");
}

int main(void)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}, {"events", peer_events}};
    char            *uri = bench_machine_new(1);
    calls            c = {0};

    set_up(&c, uri);
    bench_run("call-overhead-us", sides, G_N_ELEMENTS(sides), RUNS, &c);
    bench_require(g_atomic_int_get(&c.events) > 0, NULL, "waiting for events");
    virDomainFree(c.quiet_domain);
    virDomainFree(c.watched_domain);
    virConnectClose(c.quiet);
    virConnectClose(c.watched);
    vmh_vm_unref(c.vm);
    vmh_host_unref(c.host);
    bench_machine_free(uri);
    return 0;
}
