/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread that hears of every change: files that come and go tell of VMs, and each VM that runs has a connection
 * on which its process tells of its state, and whose end is the process's end.
 */
#include "kvm/common.h"
#include "model/thread.h"
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum {
    EVENTS_SIZE = 16384,
    WATCH_NAMES = IN_CREATE | IN_DELETE | IN_MOVE | IN_ONLYDIR,
    WATCH_VM = IN_MOVED_TO | IN_ONLYDIR,
    LISTED_MS = 500 /* how long the first frame waits for the first look at all VMs, one of which may hang */
};

/* A VM. The thread's, but for the counters and the process, which are the lock's. */
typedef struct {
    vmhi_kvm_watch          *watch;
    char                    *uuid;
    char                    *name;
    gboolean                 persistent;
    int                      directory; /* what inotify calls it */
    int                      connection;
    GSource                 *source;
    vmhi_kvm_condition       end; /* as its process announced it; VMH_VM_UNKNOWN until then */
    const struct wire_stats *stats;
    int                      process;
    clockid_t                clock; /* of its processor time; CLOCK_REALTIME: not known */
} machine;

struct vmhi_kvm_watch {
    vmhi_driver_host *host;
    GMainContext     *context;
    GThread          *thread;
    gint              ended;
    int               inotify;
    int               names;
    GMutex            sink_lock; /* held while the sink is called */
    gboolean          quiet;
    GMutex            lock;
    GHashTable       *machines; /* by UUID */
    gboolean          listed;   /* for the first time */
    GCond             was_listed;
};

/* --- telling --- */

static void tell(machine *m, int32_t state, const char *reason)
{
    vmhi_kvm_watch *watch = m->watch;
    vmhi_vm_info    info = {m->uuid, m->name, state, reason, m->persistent};

    g_mutex_lock(&watch->sink_lock);
    if (!watch->quiet)
        watch->host->sink->vm_seen(watch->host->sink_data, &info);
    g_mutex_unlock(&watch->sink_lock);
}

static void tell_gone(machine *m)
{
    vmhi_kvm_watch *watch = m->watch;

    g_mutex_lock(&watch->sink_lock);
    if (!watch->quiet)
        watch->host->sink->vm_gone(watch->host->sink_data, m->uuid);
    g_mutex_unlock(&watch->sink_lock);
}

static void tell_changed(machine *m, const char *what)
{
    vmhi_kvm_watch *watch = m->watch;

    g_mutex_lock(&watch->sink_lock);
    if (!watch->quiet)
        watch->host->sink->vm_changed(watch->host->sink_data, m->uuid, what);
    g_mutex_unlock(&watch->sink_lock);
}

static void tell_missed(vmhi_kvm_watch *watch)
{
    g_mutex_lock(&watch->sink_lock);
    if (!watch->quiet)
        watch->host->sink->missed(watch->host->sink_data);
    g_mutex_unlock(&watch->sink_lock);
}

/* --- a VM that runs --- */

static void watch_process(machine *m);

static void forget_end(machine *m)
{
    g_clear_pointer(&m->end.reason, g_free);
    m->end.state = VMH_VM_UNKNOWN;
}

static void disconnect(machine *m)
{
    if (m->source) {
        g_source_destroy(m->source);
        g_clear_pointer(&m->source, g_source_unref);
    }
    g_mutex_lock(&m->watch->lock);
    if (m->stats)
        munmap((void *)(uintptr_t)m->stats, sizeof(*m->stats));
    m->stats = NULL;
    g_mutex_unlock(&m->watch->lock);
    if (m->connection >= 0)
        close(m->connection);
    m->connection = -1;
}

static void drop(machine *m)
{
    g_mutex_lock(&m->watch->lock);
    g_hash_table_steal(m->watch->machines, m->uuid);
    g_mutex_unlock(&m->watch->lock);
    disconnect(m);
    if (m->directory >= 0)
        inotify_rm_watch(m->watch->inotify, m->directory);
    g_free(m->uuid);
    g_free(m->name);
    forget_end(m);
    g_free(m);
}

/* What its process said last, or else what is found. */
static void tell_end(machine *m)
{
    g_auto(vmhi_kvm_condition) left = {0};

    if (m->end.state == VMH_VM_UNKNOWN) {
        left = vmhi_kvm_look_at(m->watch->host, m->uuid);
        tell(m, left.state, left.reason);
    } else {
        tell(m, m->end.state, m->end.reason);
    }
    forget_end(m);
}

/* Its process is gone. Whoever sees it first clears away what vanishes with it; or it was started again already. */
static void ended(machine *m)
{
    disconnect(m);
    tell_end(m);
    if (!m->persistent) {
        vmhi_kvm_remove(m->watch->host, m->uuid, m->name);
        tell_gone(m);
        drop(m);
        return;
    }
    watch_process(m);
}

static void take_event(machine *m, const struct wire_message *message)
{
    const uint64_t state = wire_u64(message, WIRE_T_STATE, WIRE_RUNNING);
    const char    *reason = wire_text(message, WIRE_T_REASON);

    if (wire_header(message).type == WIRE_UNPLUGGED)
        tell_changed(m, "devices");
    if (wire_header(message).type != WIRE_STATE)
        return;
    /* The end is told when the process is gone: before, it could not be started again. */
    if (state == WIRE_ENDED || state == WIRE_CRASHED) {
        forget_end(m);
        m->end = (vmhi_kvm_condition){.state = vmhi_kvm_state(state), .reason = g_strdup(reason)};
    } else {
        tell(m, vmhi_kvm_state(state), reason);
    }
}

/* FALSE: the VM's process was gone, and the machine may be as well. */
static gboolean take(machine *m)
{
    struct wire_message message;
    const int           got = wire_receive(m->connection, &message, MSG_DONTWAIT);

    if (got == 1) {
        wire_close_descriptors(&message);
        take_event(m, &message);
    } else if (got == 0 || (errno != EAGAIN && errno != EBADMSG)) {
        ended(m);
        return FALSE;
    }
    return TRUE;
}

static gboolean on_message(G_GNUC_UNUSED int descriptor, G_GNUC_UNUSED GIOCondition condition, void *data)
{
    return take(data) ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

/* Takes what a process that has ended said, so that the next one's words come after it. */
static void take_rest(machine *m)
{
    struct pollfd waits = {.fd = m->connection, .events = POLLIN};

    while (m->connection >= 0 && poll(&waits, 1, 0) > 0 && take(m))
        continue;
}

/* What an older VMM does not count reads as 0: beyond its pages, there are some of ours. */
static void *map_stats(int descriptor)
{
    const size_t most = sizeof(struct wire_stats);
    struct stat  status;
    void        *stats;

    if (fstat(descriptor, &status) < 0)
        return NULL;
    stats = mmap(NULL, most, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stats != MAP_FAILED && mmap(stats, MIN(most, (size_t)status.st_size), PROT_READ, MAP_SHARED | MAP_FIXED,
                                    descriptor, 0) != MAP_FAILED)
        return stats;
    if (stats != MAP_FAILED)
        munmap(stats, most);
    return NULL;
}

static void map_counters(machine *m, int descriptor)
{
    struct ucred peer;
    socklen_t    size = sizeof(peer);
    void        *stats = map_stats(descriptor);

    g_mutex_lock(&m->watch->lock);
    if (stats)
        m->stats = stats;
    m->clock = CLOCK_REALTIME;
    if (getsockopt(m->connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
        m->process = peer.pid;
        clock_getcpuclockid(peer.pid, &m->clock);
    }
    g_mutex_unlock(&m->watch->lock);
}

static void watch_process(machine *m)
{
    struct wire_message message;
    int                 descriptor;

    if (m->connection >= 0)
        return;
    m->connection = vmhi_kvm_connect(m->watch->host, m->uuid, VMHI_KVM_LOOK_S);
    if (m->connection < 0)
        return;
    wire_begin(&message, WIRE_WATCH, 1);
    if (!vmhi_kvm_request(m->connection, &message, NULL)) {
        disconnect(m);
        return;
    }
    descriptor = wire_take_descriptor(&message);
    if (descriptor >= 0) {
        map_counters(m, descriptor);
        close(descriptor);
    }
    wire_close_descriptors(&message);
    m->source = g_unix_fd_source_new(m->connection, G_IO_IN);
    g_source_set_callback(m->source, G_SOURCE_FUNC(on_message), m, NULL);
    g_source_attach(m->source, m->watch->context);
    tell(m, vmhi_kvm_state(wire_u64(&message, WIRE_T_STATE, WIRE_RUNNING)), wire_text(&message, WIRE_T_REASON));
}

/* --- VMs that come and go --- */

static void appeared(vmhi_kvm_watch *watch, const char *uuid, const char *name)
{
    g_autofree char *path = NULL;
    machine         *m;

    if (g_hash_table_contains(watch->machines, uuid))
        return;
    path = vmhi_kvm_path(watch->host, uuid, NULL);
    m = g_new(machine, 1);
    *m = (machine){.watch = watch, .uuid = g_strdup(uuid), .name = g_strdup(name), .connection = -1};
    m->persistent = !vmhi_kvm_exists(watch->host, uuid, VMHI_KVM_TRANSIENT);
    m->directory = inotify_add_watch(watch->inotify, path, WATCH_VM);
    g_mutex_lock(&watch->lock);
    g_hash_table_insert(watch->machines, m->uuid, m);
    g_mutex_unlock(&watch->lock);
    if (m->directory < 0) {
        drop(m); /* it has gone again */
        return;
    }
    watch_process(m);
    if (m->connection < 0) {
        g_auto(vmhi_kvm_condition) left = vmhi_kvm_look_at(watch->host, uuid);

        tell(m, left.state, left.reason);
    }
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
    g_hash_table_iter_init(&iter, watch->machines);
    while (g_hash_table_iter_next(&iter, &uuid, &value)) {
        if (!g_hash_table_contains(names, uuid))
            g_ptr_array_add(gone, value);
    }
    for (guint i = 0; i < gone->len; i++) {
        tell_gone(gone->pdata[i]);
        drop(gone->pdata[i]);
    }
    g_hash_table_iter_init(&iter, names);
    while (g_hash_table_iter_next(&iter, &uuid, &value))
        appeared(watch, uuid, value);
}

static machine *find_name(vmhi_kvm_watch *watch, const char *name)
{
    GHashTableIter iter;
    void          *value;

    g_hash_table_iter_init(&iter, watch->machines);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        machine *m = value;

        if (g_str_equal(m->name, name))
            return m;
    }
    return NULL;
}

static void name_changed(vmhi_kvm_watch *watch, const struct inotify_event *event)
{
    g_autofree char *name = vmhi_kvm_name_of_entry(event->len ? event->name : "");
    g_autofree char *uuid = name ? vmhi_kvm_find_name(watch->host, name) : NULL;
    machine         *known = name ? find_name(watch, name) : NULL;

    if (known && g_strcmp0(known->uuid, uuid) != 0) {
        tell_gone(known);
        drop(known);
    }
    if (uuid)
        appeared(watch, uuid, name);
}

static machine *find_directory(vmhi_kvm_watch *watch, int directory)
{
    GHashTableIter iter;
    void          *value;

    g_hash_table_iter_init(&iter, watch->machines);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        machine *m = value;

        if (m->directory == directory)
            return m;
    }
    return NULL;
}

static void file_changed(vmhi_kvm_watch *watch, const struct inotify_event *event)
{
    machine *m = find_directory(watch, event->wd);

    if (!m || !event->len)
        return;
    if (g_str_equal(event->name, VMHI_KVM_RUNNING))
        watch_process(m);
    else if (g_str_equal(event->name, VMHI_KVM_SPEC))
        tell_changed(m, "configuration");
}

static gboolean on_files(int descriptor, G_GNUC_UNUSED GIOCondition condition, void *data)
{
    vmhi_kvm_watch                     *watch = data;
    _Alignas(struct inotify_event) char bytes[EVENTS_SIZE];
    const ssize_t                       got = read(descriptor, bytes, sizeof(bytes));
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
    return G_SOURCE_CONTINUE;
}

/* --- what this program does itself is known when its verb returns --- */

typedef struct {
    vmhi_kvm_watch *watch;
    const char     *uuid;
    const char     *name;
    GMutex          lock;
    GCond           changed;
    gboolean        done;
} settling;

static gboolean settle(void *data)
{
    settling *s = data;
    machine  *m;

    g_mutex_lock(&s->lock);
    appeared(s->watch, s->uuid, s->name);
    m = g_hash_table_lookup(s->watch->machines, s->uuid);
    if (m)
        take_rest(m);
    m = g_hash_table_lookup(s->watch->machines, s->uuid);
    if (m)
        watch_process(m);
    s->done = TRUE;
    g_cond_signal(&s->changed);
    g_mutex_unlock(&s->lock);
    return G_SOURCE_REMOVE;
}

void vmhi_kvm_watch_settle(vmhi_kvm_watch *watch, const char *uuid, const char *name)
{
    settling s = {.watch = watch, .uuid = uuid, .name = name};

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
    g_mutex_init(&watch->lock);
    g_mutex_init(&watch->sink_lock);
    g_cond_init(&watch->was_listed);
    watch->machines = g_hash_table_new(g_str_hash, g_str_equal);
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
    all = g_hash_table_get_values(watch->machines);
    for (GList *entry = all; entry; entry = entry->next)
        drop(entry->data);
    g_hash_table_unref(watch->machines);
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
    g_hash_table_iter_init(&iter, watch->machines);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const machine *m = value;

        visit(data, &(vmhi_kvm_counters){m->uuid, m->name, m->stats, m->process, m->clock});
    }
    g_mutex_unlock(&watch->lock);
}
