/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The small table that lets an event be understood without asking the host. */
#include "libvirt/watch.h"

vmhi_watch *vmhi_watch_new(void)
{
    vmhi_watch *watch = g_new0(vmhi_watch, 1);

    watch->vms = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return watch;
}

void vmhi_watch_free(vmhi_watch *watch)
{
    g_hash_table_unref(watch->vms);
    g_free(watch);
}

void vmhi_watch_reset(vmhi_watch *watch)
{
    g_hash_table_remove_all(watch->vms);
    watch->serial = 0;
    watch->trusted = FALSE;
}

static vmhi_known *entry(vmhi_watch *watch, const char *uuid)
{
    vmhi_known *vm = g_hash_table_lookup(watch->vms, uuid);

    if (!vm) {
        vm = g_new0(vmhi_known, 1);
        vm->state = VMH_VM_STOPPED;
        g_hash_table_insert(watch->vms, g_strdup(uuid), vm);
    }
    return vm;
}

vmhi_known *vmhi_watch_hear(vmhi_watch *watch, const char *uuid)
{
    vmhi_known *vm = entry(watch, uuid);

    vm->heard = ++watch->serial;
    return vm;
}

void vmhi_watch_overheard(vmhi_watch *watch)
{
    watch->serial++;
}

void vmhi_watch_drop(vmhi_watch *watch, const char *uuid)
{
    watch->serial++;
    g_hash_table_remove(watch->vms, uuid);
}

const vmhi_known *vmhi_watch_find(const vmhi_watch *watch, const char *uuid)
{
    return g_hash_table_lookup(watch->vms, uuid);
}

void vmhi_watch_listed(vmhi_watch *watch, guint64 serial, const vmhi_vm_info *info)
{
    vmhi_known *vm = entry(watch, info->uuid);

    vm->listed = watch->lists + 1;
    if (vm->heard > serial)
        return;
    vm->state = info->state;
    vm->persistent = info->persistent;
}

typedef struct {
    guint64 serial;
    guint64 list;
} age;

static gboolean is_stale(void *uuid, void *value, void *data)
{
    const vmhi_known *vm = value;
    const age        *now = data;

    (void)uuid;
    return vm->listed != now->list && vm->heard <= now->serial;
}

gboolean vmhi_watch_list_end(vmhi_watch *watch, guint64 serial)
{
    age      now = {.serial = serial, .list = ++watch->lists};
    gboolean understood = watch->trusted || watch->serial == 0;

    g_hash_table_foreach_remove(watch->vms, is_stale, &now);
    watch->trusted = TRUE;
    return understood;
}
