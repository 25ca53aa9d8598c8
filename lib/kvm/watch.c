/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A thread that hears of every change of a host: files that come and go tell of VMs, and each of these for itself. */
#include "kvm/watch.h"
#include "model/thread.h"
#include <glib-unix.h>
#include <sys/inotify.h>

enum {
    EVENTS_SIZE = 16384,
    AGAIN_MS = 250,
    AGAIN_MOST_MS = 16000, /* the thread stands still while a process that hangs is asked */
    WATCH_NAMES = IN_CREATE | IN_DELETE | IN_MOVE | IN_ONLYDIR,
    LISTED_MS = 500 /* how long the first frame waits for the first look at all VMs, one of which may hang */
};

/* --- VMs that come and go --- */

static void tell_missed(vmhi_kvm_watch *watch)
{
    g_mutex_lock(&watch->sink_lock);
    if (!watch->quiet)
        watch->host->sink->missed(watch->host->sink_data);
    g_mutex_unlock(&watch->sink_lock);
}

/* Compares the names that there are with those that were known. */
static void list_again(vmhi_kvm_watch *watch)
{
    g_autoptr(GHashTable) names = vmhi_kvm_names(watch->host, NULL);
    g_autoptr(GPtrArray) gone = g_ptr_array_new();
    GHashTableIter iter;
    void          *uuid, *value;

    if (!names)
        return;
    g_hash_table_iter_init(&iter, watch->vms);
    while (g_hash_table_iter_next(&iter, &uuid, &value)) {
        if (!g_hash_table_contains(names, uuid))
            g_ptr_array_add(gone, value);
    }
    for (guint i = 0; i < gone->len; i++)
        vmhi_kvm_watched_gone(gone->pdata[i]);
    g_hash_table_iter_init(&iter, names);
    while (g_hash_table_iter_next(&iter, &uuid, &value))
        vmhi_kvm_watched_add(watch, uuid, value);
}

static vmhi_kvm_watched *find_name(vmhi_kvm_watch *watch, const char *name)
{
    GHashTableIter iter;
    void          *value;

    g_hash_table_iter_init(&iter, watch->vms);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        vmhi_kvm_watched *vm = value;

        if (g_str_equal(vm->name, name))
            return vm;
    }
    return NULL;
}

static void name_changed(vmhi_kvm_watch *watch, const struct inotify_event *event)
{
    g_autofree char  *name = vmhi_kvm_name_of_entry(event->len ? event->name : "");
    g_autofree char  *uuid = name ? vmhi_kvm_find_name(watch->host, name) : NULL;
    vmhi_kvm_watched *known = name ? find_name(watch, name) : NULL;

    if (known && g_strcmp0(known->uuid, uuid) != 0)
        vmhi_kvm_watched_gone(known);
    if (uuid)
        vmhi_kvm_watched_add(watch, uuid, name);
}

static vmhi_kvm_watched *find_directory(vmhi_kvm_watch *watch, int directory)
{
    GHashTableIter iter;
    void          *value;

    g_hash_table_iter_init(&iter, watch->vms);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        vmhi_kvm_watched *vm = value;

        if (vm->directory == directory)
            return vm;
    }
    return NULL;
}

static void file_changed(vmhi_kvm_watch *watch, const struct inotify_event *event)
{
    vmhi_kvm_watched *vm = find_directory(watch, event->wd);

    if (!vm || !event->len)
        return;
    if (g_str_equal(event->name, VMHI_KVM_RUNNING))
        vmhi_kvm_watched_connect(vm);
    else if (g_str_equal(event->name, VMHI_KVM_SPEC))
        vmhi_kvm_watched_changed(vm, "configuration");
}

/* FALSE: nothing has happened to them. */
static gboolean take_files(vmhi_kvm_watch *watch)
{
    _Alignas(struct inotify_event) char bytes[EVENTS_SIZE];
    const ssize_t                       got = read(watch->inotify, bytes, sizeof(bytes));
    gboolean                            overflow = FALSE;

    for (ssize_t at = 0; at < got;) {
        const struct inotify_event *event = (const struct inotify_event *)(bytes + at);

        overflow = overflow || event->mask & IN_Q_OVERFLOW;
        if (event->wd == watch->names)
            name_changed(watch, event);
        else
            file_changed(watch, event);
        at += (ssize_t)(sizeof(*event) + event->len);
    }
    if (overflow) {
        list_again(watch);
        tell_missed(watch);
    }
    return got > 0;
}

static gboolean on_files(G_GNUC_UNUSED int descriptor, G_GNUC_UNUSED GIOCondition condition, void *data)
{
    take_files(data);
    return G_SOURCE_CONTINUE;
}

/* --- what this program does itself is known when its verb returns --- */

typedef struct {
    vmhi_kvm_watch *watch;
    const char     *uuid;
    GMutex          lock;
    GCond           changed;
    gboolean        done;
} settling;

static gboolean settle(void *data)
{
    settling         *s = data;
    vmhi_kvm_watched *vm;

    g_mutex_lock(&s->lock);
    vm = g_hash_table_lookup(s->watch->vms, s->uuid);
    if (vm)
        vmhi_kvm_watched_catch_up(vm);
    while (take_files(s->watch))
        continue;
    vm = g_hash_table_lookup(s->watch->vms, s->uuid);
    if (vm)
        vmhi_kvm_watched_connect(vm);
    s->done = TRUE;
    g_cond_signal(&s->changed);
    g_mutex_unlock(&s->lock);
    return G_SOURCE_REMOVE;
}

void vmhi_kvm_watch_settle(vmhi_kvm_watch *watch, const char *uuid)
{
    settling s = {.watch = watch, .uuid = uuid};

    g_mutex_init(&s.lock);
    g_cond_init(&s.changed);
    g_mutex_lock(&s.lock);
    g_main_context_invoke_full(watch->context, G_PRIORITY_HIGH, settle, &s, NULL);
    while (!s.done)
        g_cond_wait(&s.changed, &s.lock);
    g_mutex_unlock(&s.lock);
    g_mutex_clear(&s.lock);
    g_cond_clear(&s.changed);
}

/* --- what cannot be waited for --- */

static gboolean on_again(void *data)
{
    vmhi_kvm_watch *watch = data;
    g_autoptr(GPtrArray) uuids = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    void          *uuid;
    gboolean       goes_on = FALSE;

    g_hash_table_iter_init(&iter, watch->vms);
    while (g_hash_table_iter_next(&iter, &uuid, NULL))
        g_ptr_array_add(uuids, g_strdup(uuid));
    for (guint i = 0; i < uuids->len; i++) {
        vmhi_kvm_watched *vm = g_hash_table_lookup(watch->vms, uuids->pdata[i]);

        if (vm && (vm->is_lost || vm->directory < 0))
            goes_on = vmhi_kvm_watched_again(vm) || goes_on;
    }
    g_clear_pointer(&watch->again, g_source_unref);
    watch->again_ms = goes_on ? MIN(watch->again_ms * 2, AGAIN_MOST_MS) : AGAIN_MS;
    if (goes_on)
        vmhi_kvm_watch_again(watch);
    return G_SOURCE_REMOVE;
}

void vmhi_kvm_watch_again(vmhi_kvm_watch *watch)
{
    if (watch->again)
        return;
    watch->again = g_timeout_source_new(watch->again_ms);
    g_source_set_callback(watch->again, on_again, watch, NULL);
    g_source_attach(watch->again, watch->context);
}

/* --- the thread --- */

static void *run(void *data)
{
    vmhi_kvm_watch *watch = data;

    g_main_context_push_thread_default(watch->context);
    list_again(watch);
    g_mutex_lock(&watch->lock);
    watch->listed = TRUE;
    g_cond_broadcast(&watch->was_listed);
    g_mutex_unlock(&watch->lock);
    while (!g_atomic_int_get(&watch->ended))
        g_main_context_iteration(watch->context, TRUE);
    g_main_context_pop_thread_default(watch->context);
    return NULL;
}

vmhi_kvm_watch *vmhi_kvm_watch_new(vmhi_driver_host *host, vmh_error **error)
{
    vmhi_kvm_watch  *watch = g_new0(vmhi_kvm_watch, 1);
    g_autofree char *names = g_build_filename(host->directory, "names", NULL);
    GSource         *source;

    watch->host = host;
    watch->again_ms = AGAIN_MS;
    g_mutex_init(&watch->lock);
    g_mutex_init(&watch->sink_lock);
    g_cond_init(&watch->was_listed);
    watch->vms = g_hash_table_new(g_str_hash, g_str_equal);
    watch->context = g_main_context_new();
    watch->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    watch->names = watch->inotify < 0 ? -1 : inotify_add_watch(watch->inotify, names, WATCH_NAMES);
    if (watch->names < 0) {
        vmhi_error_set_native(error, VMH_ERR_HYPERVISOR, VMHI_KVM, errno, NULL, "cannot watch %s: %s", names,
                              g_strerror(errno));
        vmhi_kvm_watch_free(watch);
        return NULL;
    }
    source = g_unix_fd_source_new(watch->inotify, G_IO_IN);
    g_source_set_callback(source, G_SOURCE_FUNC(on_files), watch, NULL);
    g_source_attach(source, watch->context);
    g_source_unref(source);
    watch->thread = vmhi_thread_new("vmhost-kvm", run, watch);
    return watch;
}

void vmhi_kvm_watch_quiet(vmhi_kvm_watch *watch)
{
    g_mutex_lock(&watch->sink_lock);
    watch->quiet = TRUE;
    g_mutex_unlock(&watch->sink_lock);
}

void vmhi_kvm_watch_free(vmhi_kvm_watch *watch)
{
    g_autoptr(GList) all = NULL;

    if (!watch)
        return;
    if (watch->thread) {
        g_atomic_int_set(&watch->ended, 1);
        g_main_context_wakeup(watch->context);
        g_thread_join(watch->thread);
    }
    all = g_hash_table_get_values(watch->vms);
    for (GList *entry = all; entry; entry = entry->next)
        vmhi_kvm_watched_drop(entry->data);
    g_hash_table_unref(watch->vms);
    g_clear_pointer(&watch->again, g_source_unref);
    g_main_context_unref(watch->context);
    if (watch->inotify >= 0)
        close(watch->inotify);
    g_cond_clear(&watch->was_listed);
    g_mutex_clear(&watch->lock);
    g_mutex_clear(&watch->sink_lock);
    g_free(watch);
}

void vmhi_kvm_watch_counters(vmhi_kvm_watch *watch, vmhi_kvm_visit_counters visit, void *data)
{
    const gint64   end = g_get_monotonic_time() + LISTED_MS * 1000;
    GHashTableIter iter;
    void          *value;

    g_mutex_lock(&watch->lock);
    while (!watch->listed && g_cond_wait_until(&watch->was_listed, &watch->lock, end))
        continue;
    g_hash_table_iter_init(&iter, watch->vms);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const vmhi_kvm_watched *vm = value;

        visit(data, &(vmhi_kvm_counters){vm->uuid, vm->name, vm->stats, vm->process, vm->clock});
    }
    g_mutex_unlock(&watch->lock);
}
