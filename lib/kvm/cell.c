/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Empty namespaces for all VMMs of a host, made at its first start by a process that does nothing else. */
#include "kvm/common.h"

struct vmhi_kvm_cell {
    GMutex   lock;
    gboolean is_tried;
    int      network, mounts;
};

vmhi_kvm_cell *vmhi_kvm_cell_new(void)
{
    vmhi_kvm_cell *cell = g_new(vmhi_kvm_cell, 1);

    *cell = (vmhi_kvm_cell){.network = -1, .mounts = -1};
    g_mutex_init(&cell->lock);
    return cell;
}

void vmhi_kvm_cell_free(vmhi_kvm_cell *cell)
{
    if (!cell)
        return;
    vmhi_kvm_close(cell->network);
    vmhi_kvm_close(cell->mounts);
    g_mutex_clear(&cell->lock);
    g_free(cell);
}

static gboolean receive(vmhi_kvm_cell *cell, int connection)
{
    struct wire_message message;

    vmhi_kvm_be_patient(connection, VMHI_KVM_LOOK_S * G_USEC_PER_SEC);
    if (wire_receive(connection, &message, 0) != 1)
        return FALSE;
    cell->network = wire_take_descriptor(&message);
    cell->mounts = wire_take_descriptor(&message);
    wire_close_descriptors(&message);
    return TRUE;
}

static void make(vmhi_kvm_cell *cell, const vmhi_driver_host *host)
{
    char        name[] = "vmhost-vmm", wire[] = "--wire=1", what[] = "--make-cell";
    char *const arguments[] = {name, wire, what, NULL};
    int         pair[2], process;

    if (geteuid() != 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return;
    process = vmhi_kvm_spawn(host->vmm, arguments, &pair[1], 1, NULL);
    close(pair[1]);
    if (process >= 0 && !receive(cell, pair[0]))
        vmhi_kvm_end(-1, process);
    close(pair[0]);
    vmhi_kvm_reap(host, process);
}

gboolean vmhi_kvm_cell_get(const vmhi_driver_host *host, int *network, int *mounts)
{
    vmhi_kvm_cell *cell = host->cell;

    g_mutex_lock(&cell->lock);
    if (!cell->is_tried)
        make(cell, host);
    cell->is_tried = TRUE;
    *network = cell->network;
    *mounts = cell->mounts;
    g_mutex_unlock(&cell->lock);
    return *network >= 0 && *mounts >= 0;
}
