/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening a host with 1,000 VMs, reading the name and the state of each, and closing it again. */
#include "bench.h"

enum { VMS = 1000, RUNS = 21 };

static double ours(void *uri)
{
    double    start = bench_now_us();
    vmh_host *host = bench_open(uri);
    vmh_vm  **vms;
    size_t    running = 0;

    vmh_host_list_vms(host, &vms);
    for (vmh_vm **vm = vms; *vm; vm++) {
        char *name = vmh_vm_name_dup(*vm);
        running += name[0] == 'v' && vmh_vm_state(*vm) == VMH_VM_RUNNING;
        vmh_free(name);
    }
    bench_require(running == VMS, NULL, "vmh_host_list_vms");
    vmh_vm_list_free(vms);
    vmh_host_unref(host);
    return (bench_now_us() - start) / 1000;
}

static double peer(void *uri)
{
    double        start = bench_now_us();
    virConnectPtr connection = bench_open_bare(uri);
    virDomainPtr *domains;
    int           count = virConnectListAllDomains(connection, &domains, 0);
    int           running = 0;

    for (int i = 0; i < count; i++) {
        int state;
        running += virDomainGetName(domains[i])[0] == 'v' && virDomainGetState(domains[i], &state, NULL, 0) == 0 &&
                   state == VIR_DOMAIN_RUNNING;
        virDomainFree(domains[i]);
    }
    bench_require(running == VMS, NULL, "virConnectListAllDomains");
    free(domains);
    virConnectClose(connection);
    return (bench_now_us() - start) / 1000;
}

int main(void)
{
    const bench_side sides[] = {{"ours", ours}, {"peer", peer}};
    char            *uri = bench_machine_new(VMS);

    bench_run("open-list-ms", sides, G_N_ELEMENTS(sides), RUNS, uri);
    bench_machine_free(uri);
    return 0;
}
