/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of the VMs of a host, from lists and events that arrive in any order. */
#include "model/inventory.h"
#include "model/queue.h"

#include <string.h>

/* An event that is later than this after its cause would be odd. */
#define LATE_US (2 * G_USEC_PER_SEC)

struct vmhi_inventory {
    GMutex      lock;
    GHashTable *records; /* UUID -> record */
    GHashTable *hidden;  /* UUID -> how often it was hidden */
    GHashTable *missed;  /* UUID -> when a look did not find it, in microseconds; those of late only */
    GPtrArray  *queues;  /* borrowed */
    gboolean    trusts_events;
    gboolean    listing;
    GCond       listed;
    GHashTable *unlisted; /* while listing: UUIDs that no list or event has named yet */
    GHashTable *heard;    /* while listing: UUIDs that events have told of */
};

vmhi_record *vmhi_record_ref(vmhi_record *record)
{
    if (record)
        g_atomic_ref_count_inc(&record->refs);
    return record;
}

void vmhi_record_unref(vmhi_record *record)
{
    if (!record || !g_atomic_ref_count_dec(&record->refs))
        return;
    vmhi_lane_clear(&record->lane);
    g_free(record->name);
    g_free(record);
}

static vmhi_record *record_new(const vmhi_vm_info *info)
{
    vmhi_record *record = g_new0(vmhi_record, 1);

    g_atomic_ref_count_init(&record->refs);
    g_strlcpy(record->uuid, info->uuid, sizeof record->uuid);
    record->name = g_strdup(info->name);
    record->state = info->state;
    record->persistent = info->persistent;
    vmhi_lane_init(&record->lane);
    return record;
}

vmhi_inventory *vmhi_inventory_new(void)
{
    vmhi_inventory *inventory = g_new0(vmhi_inventory, 1);

    g_mutex_init(&inventory->lock);
    g_cond_init(&inventory->listed);
    inventory->records = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)vmhi_record_unref);
    inventory->hidden = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    inventory->missed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    inventory->queues = g_ptr_array_new();
    return inventory;
}

void vmhi_inventory_free(vmhi_inventory *inventory)
{
    g_hash_table_unref(inventory->records);
    g_hash_table_unref(inventory->hidden);
    g_hash_table_unref(inventory->missed);
    g_ptr_array_unref(inventory->queues);
    g_clear_pointer(&inventory->unlisted, g_hash_table_unref);
    g_clear_pointer(&inventory->heard, g_hash_table_unref);
    g_mutex_clear(&inventory->lock);
    g_cond_clear(&inventory->listed);
    g_free(inventory);
}

/* --- telling the queues; all with the lock held, so that no queue sees changes in another order --- */

static GPtrArray *all_locked(vmhi_inventory *inventory)
{
    GPtrArray *records =
        g_ptr_array_new_full(g_hash_table_size(inventory->records) + 1, (GDestroyNotify)vmhi_record_unref);
    GHashTableIter iter;
    void          *record;

    g_hash_table_iter_init(&iter, inventory->records);
    while (g_hash_table_iter_next(&iter, NULL, &record))
        g_ptr_array_add(records, vmhi_record_ref(record));
    return records;
}

static void tell_locked(vmhi_inventory *inventory, const vmh_event *event)
{
    for (guint i = 0; i < inventory->queues->len; i++) {
        vmhi_queue *queue = inventory->queues->pdata[i];
        if (!vmhi_queue_push(queue, event))
            vmhi_queue_begin(queue, all_locked(inventory), VMHI_BEGIN_OVERFLOWN);
    }
}

static void tell_vm_locked(vmhi_inventory *inventory, int32_t type, vmhi_record *record, const char *reason)
{
    vmh_event *event;

    if (inventory->queues->len == 0)
        return;
    event = vmhi_event_new(type, record);
    event->name = g_strdup(record->name);
    event->state = g_atomic_int_get(&record->state);
    event->reason = g_strdup(reason);
    tell_locked(inventory, event);
    vmhi_event_free(event);
}

/* --- what is heard --- */

static vmhi_record *set_locked(vmhi_inventory *inventory, const vmhi_vm_info *info)
{
    vmhi_record *record = g_hash_table_lookup(inventory->records, info->uuid);

    if (!record) {
        record = record_new(info);
        g_hash_table_insert(inventory->records, record->uuid, record);
        tell_vm_locked(inventory, VMH_EVENT_VM_ADDED, record, info->reason);
    } else {
        gboolean renamed = info->name && strcmp(info->name, record->name) != 0;
        gboolean moved = info->state != g_atomic_int_get(&record->state);

        if (renamed) {
            g_free(record->name);
            record->name = g_strdup(info->name);
        }
        record->persistent = info->persistent;
        g_atomic_int_set(&record->state, info->state);
        if (renamed)
            tell_vm_locked(inventory, VMH_EVENT_VM_CHANGED, record, "renamed");
        if (moved)
            tell_vm_locked(inventory, VMH_EVENT_VM_STATE, record, info->reason);
    }
    g_atomic_int_inc(&record->serial);
    return record;
}

static void remove_locked(vmhi_inventory *inventory, const char *uuid)
{
    vmhi_record *record = vmhi_record_ref(g_hash_table_lookup(inventory->records, uuid));

    if (!record)
        return;
    g_hash_table_remove(inventory->records, uuid);
    g_atomic_int_set(&record->state, VMH_VM_GONE);
    tell_vm_locked(inventory, VMH_EVENT_VM_REMOVED, record, NULL);
    vmhi_record_unref(record);
}

/* While a list is under way, what an event says of a VM is newer than what the list will say. */
static void heard_locked(vmhi_inventory *inventory, const char *uuid)
{
    if (!inventory->listing)
        return;
    g_hash_table_add(inventory->heard, g_strdup(uuid));
    g_hash_table_remove(inventory->unlisted, uuid);
}

static gboolean is_of_late(gint64 time)
{
    return time && g_get_monotonic_time() - time < LATE_US;
}

/* A verb is done, its VM was looked at, and now comes the event of what was before it: that must not count. */
static gboolean is_doubtful_locked(vmhi_inventory *inventory, const char *uuid, int32_t state)
{
    const vmhi_record *record = g_hash_table_lookup(inventory->records, uuid);
    const gint64      *missed = g_hash_table_lookup(inventory->missed, uuid);

    if (record)
        return !inventory->trusts_events && g_atomic_int_get(&record->state) != state && is_of_late(record->asked);
    return state != VMH_VM_GONE && missed && is_of_late(*missed);
}

static gboolean is_long_ago(G_GNUC_UNUSED void *uuid, void *time, G_GNUC_UNUSED void *data)
{
    return !is_of_late(*(gint64 *)time);
}

static void missed_locked(vmhi_inventory *inventory, const char *uuid)
{
    gint64 now = g_get_monotonic_time();

    g_hash_table_foreach_remove(inventory->missed, is_long_ago, NULL);
    g_hash_table_insert(inventory->missed, g_strdup(uuid), g_memdup2(&now, sizeof now));
    remove_locked(inventory, uuid);
}

void vmhi_inventory_trust_events(vmhi_inventory *inventory)
{
    inventory->trusts_events = TRUE;
}

void vmhi_inventory_hide(vmhi_inventory *inventory, const char *uuid)
{
    guint times;

    g_mutex_lock(&inventory->lock);
    times = GPOINTER_TO_UINT(g_hash_table_lookup(inventory->hidden, uuid));
    g_hash_table_insert(inventory->hidden, g_strdup(uuid), GUINT_TO_POINTER(times + 1));
    g_mutex_unlock(&inventory->lock);
}

void vmhi_inventory_show(vmhi_inventory *inventory, const char *uuid)
{
    guint times;

    g_mutex_lock(&inventory->lock);
    times = GPOINTER_TO_UINT(g_hash_table_lookup(inventory->hidden, uuid));
    if (times > 1)
        g_hash_table_insert(inventory->hidden, g_strdup(uuid), GUINT_TO_POINTER(times - 1));
    else
        g_hash_table_remove(inventory->hidden, uuid);
    g_mutex_unlock(&inventory->lock);
}

static gboolean is_hidden_locked(vmhi_inventory *inventory, const char *uuid)
{
    return g_hash_table_contains(inventory->hidden, uuid) && !g_hash_table_contains(inventory->records, uuid);
}

gboolean vmhi_inventory_seen(vmhi_inventory *inventory, const vmhi_vm_info *info)
{
    gboolean counts;

    g_mutex_lock(&inventory->lock);
    counts = !is_doubtful_locked(inventory, info->uuid, info->state);
    if (counts && !is_hidden_locked(inventory, info->uuid)) {
        heard_locked(inventory, info->uuid);
        set_locked(inventory, info);
    }
    g_mutex_unlock(&inventory->lock);
    return counts;
}

gboolean vmhi_inventory_gone(vmhi_inventory *inventory, const char *uuid)
{
    gboolean counts;

    g_mutex_lock(&inventory->lock);
    counts = !is_doubtful_locked(inventory, uuid, VMH_VM_GONE);
    if (counts) {
        heard_locked(inventory, uuid);
        remove_locked(inventory, uuid);
    }
    g_mutex_unlock(&inventory->lock);
    return counts;
}

void vmhi_inventory_changed(vmhi_inventory *inventory, const char *uuid, const char *what)
{
    vmhi_record *record;

    g_mutex_lock(&inventory->lock);
    record = g_hash_table_lookup(inventory->records, uuid);
    if (record)
        tell_vm_locked(inventory, VMH_EVENT_VM_CHANGED, record, what);
    g_mutex_unlock(&inventory->lock);
}

gint vmhi_inventory_serial(vmhi_inventory *inventory, const char *uuid)
{
    vmhi_record *record;
    gint         serial;

    g_mutex_lock(&inventory->lock);
    record = g_hash_table_lookup(inventory->records, uuid);
    serial = record ? g_atomic_int_get(&record->serial) : 0;
    g_mutex_unlock(&inventory->lock);
    return serial;
}

gboolean vmhi_inventory_looked(vmhi_inventory *inventory, const char *uuid, const vmhi_vm_info *info, gint serial)
{
    vmhi_record *record;
    gboolean     newest;

    g_mutex_lock(&inventory->lock);
    record = g_hash_table_lookup(inventory->records, uuid);
    newest = (record ? g_atomic_int_get(&record->serial) : 0) == serial;
    if (newest) {
        heard_locked(inventory, uuid);
        if (info && !is_hidden_locked(inventory, uuid))
            set_locked(inventory, info)->asked = g_get_monotonic_time();
        else if (!info)
            missed_locked(inventory, uuid);
    }
    g_mutex_unlock(&inventory->lock);
    return newest;
}

void vmhi_inventory_list_begin(vmhi_inventory *inventory)
{
    GHashTableIter iter;
    void          *uuid;

    g_mutex_lock(&inventory->lock);
    while (inventory->listing)
        g_cond_wait(&inventory->listed, &inventory->lock);
    inventory->listing = TRUE;
    inventory->heard = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    inventory->unlisted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_hash_table_iter_init(&iter, inventory->records);
    while (g_hash_table_iter_next(&iter, &uuid, NULL))
        g_hash_table_add(inventory->unlisted, g_strdup(uuid));
    g_mutex_unlock(&inventory->lock);
}

void vmhi_inventory_listed(vmhi_inventory *inventory, const vmhi_vm_info *info)
{
    g_mutex_lock(&inventory->lock);
    g_hash_table_remove(inventory->unlisted, info->uuid);
    if (!g_hash_table_contains(inventory->heard, info->uuid) && !is_hidden_locked(inventory, info->uuid))
        set_locked(inventory, info);
    g_mutex_unlock(&inventory->lock);
}

void vmhi_inventory_list_end(vmhi_inventory *inventory, gboolean complete)
{
    GHashTableIter iter;
    void          *uuid;

    g_mutex_lock(&inventory->lock);
    g_hash_table_iter_init(&iter, inventory->unlisted);
    while (complete && g_hash_table_iter_next(&iter, &uuid, NULL))
        remove_locked(inventory, uuid);
    g_clear_pointer(&inventory->unlisted, g_hash_table_unref);
    g_clear_pointer(&inventory->heard, g_hash_table_unref);
    inventory->listing = FALSE;
    g_cond_broadcast(&inventory->listed);
    g_mutex_unlock(&inventory->lock);
}

/* --- asking --- */

static vmhi_record *find_by_name_locked(vmhi_inventory *inventory, const char *name)
{
    GHashTableIter iter;
    void          *value;

    g_hash_table_iter_init(&iter, inventory->records);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        vmhi_record *record = value;
        if (strcmp(record->name, name) == 0)
            return record;
    }
    return NULL;
}

vmhi_record *vmhi_inventory_find(vmhi_inventory *inventory, const char *name_or_uuid)
{
    g_autofree char *lower = g_ascii_strdown(name_or_uuid, -1);
    vmhi_record     *record;

    g_mutex_lock(&inventory->lock);
    record = g_hash_table_lookup(inventory->records, lower);
    if (!record)
        record = find_by_name_locked(inventory, name_or_uuid);
    vmhi_record_ref(record);
    g_mutex_unlock(&inventory->lock);
    return record;
}

GPtrArray *vmhi_inventory_all(vmhi_inventory *inventory)
{
    GPtrArray *records;

    g_mutex_lock(&inventory->lock);
    records = all_locked(inventory);
    g_mutex_unlock(&inventory->lock);
    return records;
}

char *vmhi_inventory_name_dup(vmhi_inventory *inventory, const vmhi_record *record)
{
    char *name;

    g_mutex_lock(&inventory->lock);
    name = g_strdup(record->name);
    g_mutex_unlock(&inventory->lock);
    return name;
}

/* --- queues --- */

void vmhi_inventory_subscribe(vmhi_inventory *inventory, vmhi_queue *queue)
{
    g_mutex_lock(&inventory->lock);
    g_ptr_array_add(inventory->queues, queue);
    vmhi_queue_begin(queue, all_locked(inventory), VMHI_BEGIN_FIRST);
    g_mutex_unlock(&inventory->lock);
}

void vmhi_inventory_unsubscribe(vmhi_inventory *inventory, vmhi_queue *queue)
{
    g_mutex_lock(&inventory->lock);
    g_ptr_array_remove_fast(inventory->queues, queue);
    g_mutex_unlock(&inventory->lock);
}

void vmhi_inventory_publish(vmhi_inventory *inventory, vmh_event *event)
{
    g_mutex_lock(&inventory->lock);
    tell_locked(inventory, event);
    g_mutex_unlock(&inventory->lock);
    vmhi_event_free(event);
}

void vmhi_inventory_resync(vmhi_inventory *inventory)
{
    g_mutex_lock(&inventory->lock);
    for (guint i = 0; i < inventory->queues->len; i++)
        vmhi_queue_begin(inventory->queues->pdata[i], all_locked(inventory), VMHI_BEGIN_RECONNECTED);
    g_mutex_unlock(&inventory->lock);
}
