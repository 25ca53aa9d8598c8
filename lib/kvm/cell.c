/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Empty namespaces for all VMMs of a host, made at its first start by a thread that does nothing else. */
#include "vmm/cell.h"
#include "kvm/common.h"
#include "model/thread.h"

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

static void *make(void *data)
{
    vmhi_kvm_cell *cell = data;

    cell_make(&cell->network, &cell->mounts);
    return NULL;
}

gboolean vmhi_kvm_cell_get(vmhi_kvm_cell *cell, int *network, int *mounts)
{
    g_mutex_lock(&cell->lock);
    if (!cell->is_tried) {
        GThread *thread = vmhi_thread_new("vmhost-cell", make, cell);

        if (thread)
            g_thread_join(thread);
        cell->is_tried = thread != NULL;
    }
    *network = cell->network;
    *mounts = cell->mounts;
    g_mutex_unlock(&cell->lock);
    return *network >= 0;
}
