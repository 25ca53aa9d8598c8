/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One VM that is watched. While it runs there is a connection on which its process tells of its state and shares its
 * counters, and whose end is the process's end.
 */
#include "kvm/watch.h"
#include <glib-unix.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { WATCH_VM = IN_MOVED_TO | IN_ONLYDIR };

/* --- telling --- */

static void tell(vmhi_kvm_watched *vm, int32_t state, const char *reason)
{
    vmhi_kvm_watch *watch = vm->watch;
    vmhi_vm_info    info = {vm->uuid, vm->name, state, reason, vm->persistent};

    g_mutex_lock(&watch->sink_lock);
    if (!watch->quiet)
        watch->host->sink->vm_seen(watch->host->sink_data, &info);
    g_mutex_unlock(&watch->sink_lock);
}

void vmhi_kvm_watched_changed(vmhi_kvm_watched *vm, const char *what)
{
    vmhi_kvm_watch *watch = vm->watch;

    g_mutex_lock(&watch->sink_lock);
    if (!watch->quiet)
        watch->host->sink->vm_changed(watch->host->sink_data, vm->uuid, what);
    g_mutex_unlock(&watch->sink_lock);
}

/* --- its end --- */

static void forget_end(vmhi_kvm_watched *vm)
{
    g_clear_pointer(&vm->end.reason, g_free);
    vm->end.state = VMH_VM_UNKNOWN;
}

static void disconnect(vmhi_kvm_watched *vm)
{
    if (vm->source) {
        g_source_destroy(vm->source);
        g_clear_pointer(&vm->source, g_source_unref);
    }
    g_mutex_lock(&vm->watch->lock);
    if (vm->stats)
        munmap((void *)(uintptr_t)vm->stats, sizeof(*vm->stats));
    vm->stats = NULL;
    g_mutex_unlock(&vm->watch->lock);
    if (vm->connection >= 0)
        close(vm->connection);
    vm->connection = -1;
}

void vmhi_kvm_watched_drop(vmhi_kvm_watched *vm)
{
    g_mutex_lock(&vm->watch->lock);
    g_hash_table_steal(vm->watch->vms, vm->uuid);
    g_mutex_unlock(&vm->watch->lock);
    disconnect(vm);
    if (vm->directory >= 0)
        inotify_rm_watch(vm->watch->inotify, vm->directory);
    g_free(vm->uuid);
    g_free(vm->name);
    forget_end(vm);
    g_free(vm);
}

/* Tells that it is no more, and drops it. */
static void forget(vmhi_kvm_watched *vm)
{
    vmhi_kvm_watch *watch = vm->watch;

    g_mutex_lock(&watch->sink_lock);
    if (!watch->quiet)
        watch->host->sink->vm_gone(watch->host->sink_data, vm->uuid);
    g_mutex_unlock(&watch->sink_lock);
    vmhi_kvm_watched_drop(vm);
}

/* FALSE: it is not there. */
static gboolean watch_directory(vmhi_kvm_watched *vm)
{
    g_autofree char *path = vmhi_kvm_path(vm->watch->host, vm->uuid, NULL);

    vm->directory = inotify_add_watch(vm->watch->inotify, path, WATCH_VM);
    if (vm->directory < 0 && (errno == ENOENT || errno == ENOTDIR))
        return FALSE;
    if (vm->directory < 0)
        vmhi_kvm_watch_again(vm->watch);
    return TRUE;
}

/* What its process said last, or else what is found. */
static void tell_end(vmhi_kvm_watched *vm)
{
    g_auto(vmhi_kvm_condition) left = {0};

    if (vm->end.state == VMH_VM_UNKNOWN) {
        left = vmhi_kvm_look_at(vm->watch->host, vm->uuid);
        if (left.state == VMH_VM_STOPPED && !left.reason) /* it ran: somebody has cleared its words away */
            left = vmhi_kvm_without_a_word();
        tell(vm, left.state, left.reason);
    } else {
        tell(vm, vm->end.state, vm->end.reason);
    }
    forget_end(vm);
}

/* Whoever sees it first clears away what vanishes with the process; or it was started again already. */
static void process_gone(vmhi_kvm_watched *vm)
{
    vm->is_lost = FALSE;
    tell_end(vm);
    if (!vm->persistent) {
        vmhi_kvm_remove(vm->watch->host, vm->uuid, vm->name);
        forget(vm);
        return;
    }
    vmhi_kvm_watched_connect(vm);
}

static void lose(vmhi_kvm_watched *vm)
{
    if (!vm->is_lost)
        tell(vm, VMH_VM_UNKNOWN, "the VM's process does not answer");
    vm->is_lost = TRUE;
    vmhi_kvm_watch_again(vm->watch);
}

/* A process also drops who does not listen to it for long, or has no place for one more. */
static void connection_ended(vmhi_kvm_watched *vm)
{
    disconnect(vm);
    if (vm->end.state == VMH_VM_UNKNOWN)
        vmhi_kvm_watched_connect(vm);
    if (vm->connection >= 0)
        return;
    if (vm->end.state != VMH_VM_UNKNOWN || vmhi_kvm_wait_for_process(vm->watch->host, vm->uuid))
        process_gone(vm);
    else
        lose(vm);
}

/* Where inotify had no room, whether the VM has been started is looked for as well. */
gboolean vmhi_kvm_watched_again(vmhi_kvm_watched *vm)
{
    if (vm->directory < 0)
        watch_directory(vm);
    if (vm->connection >= 0)
        vm->is_lost = FALSE;
    else if (!vmhi_kvm_has_process(vm->watch->host, vm->uuid)) {
        if (vm->is_lost) {
            process_gone(vm);
            return FALSE;
        }
    } else
        vmhi_kvm_watched_connect(vm);
    return vm->is_lost || vm->directory < 0;
}

/* --- what its process tells --- */

static void take_event(vmhi_kvm_watched *vm, const struct wire_message *message)
{
    const uint64_t state = wire_u64(message, WIRE_T_STATE, WIRE_RUNNING);
    const char    *reason = wire_text(message, WIRE_T_REASON);

    if (wire_header(message).type == WIRE_UNPLUGGED || wire_header(message).type == WIRE_LOST)
        vmhi_kvm_watched_changed(vm, "devices");
    if (wire_header(message).type != WIRE_STATE)
        return;
    /* The end is told when the process is gone: before, it could not be started again. */
    if (state == WIRE_ENDED || state == WIRE_CRASHED) {
        forget_end(vm);
        vm->end = (vmhi_kvm_condition){.state = vmhi_kvm_state(state), .reason = g_strdup(reason)};
    } else {
        tell(vm, vmhi_kvm_state(state), reason);
    }
}

/* FALSE: its process was gone, and the VM may be as well. */
static gboolean take(vmhi_kvm_watched *vm)
{
    struct wire_message message;
    const int           got = wire_receive(vm->connection, &message, MSG_DONTWAIT);

    if (got == 1) {
        wire_close_descriptors(&message);
        take_event(vm, &message);
    } else if (got == 0 || (errno != EAGAIN && errno != EBADMSG)) {
        connection_ended(vm);
        return FALSE;
    }
    return TRUE;
}

static gboolean on_message(G_GNUC_UNUSED int descriptor, G_GNUC_UNUSED GIOCondition condition, void *data)
{
    return take(data) ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

void vmhi_kvm_watched_catch_up(vmhi_kvm_watched *vm)
{
    struct pollfd waits = {.fd = vm->connection, .events = POLLIN};

    while (vm->connection >= 0 && poll(&waits, 1, 0) > 0 && take(vm))
        continue;
}

/* Others may have seen its end first, and cleared it away: we are told of it all the same. */
void vmhi_kvm_watched_gone(vmhi_kvm_watched *vm)
{
    vmhi_kvm_watch  *watch = vm->watch;
    g_autofree char *uuid = g_strdup(vm->uuid);

    vmhi_kvm_watched_catch_up(vm);
    if (!g_hash_table_contains(watch->vms, uuid))
        return;
    if (vm->end.state != VMH_VM_UNKNOWN)
        tell_end(vm);
    forget(vm);
}

/* --- its counters --- */

/*
 * What an older VMM does not count reads as 0: beyond its pages, there are some of ours. Where it could take pages away
 * again, whoever has broken out of a guest could kill every program that reads.
 */
static void *map_stats(int descriptor)
{
    const size_t most = sizeof(struct wire_stats);
    const int    seals = fcntl(descriptor, F_GET_SEALS);
    struct stat  status;
    void        *stats;

    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(descriptor, &status) < 0)
        return NULL;
    stats = mmap(NULL, most, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stats != MAP_FAILED && mmap(stats, MIN(most, (size_t)status.st_size), PROT_READ, MAP_SHARED | MAP_FIXED,
                                    descriptor, 0) != MAP_FAILED)
        return stats;
    if (stats != MAP_FAILED)
        munmap(stats, most);
    return NULL;
}

static void map_counters(vmhi_kvm_watched *vm, int descriptor)
{
    struct ucred peer;
    socklen_t    size = sizeof(peer);
    void        *stats = map_stats(descriptor);

    g_mutex_lock(&vm->watch->lock);
    if (stats)
        vm->stats = stats;
    vm->clock = CLOCK_REALTIME;
    if (getsockopt(vm->connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
        vm->process = peer.pid;
        clock_getcpuclockid(peer.pid, &vm->clock);
    }
    g_mutex_unlock(&vm->watch->lock);
}

/* --- its beginning --- */

void vmhi_kvm_watched_connect(vmhi_kvm_watched *vm)
{
    struct wire_message message;
    int                 descriptor;

    if (vm->connection >= 0)
        return;
    vm->connection = vmhi_kvm_connect(vm->watch->host, vm->uuid, VMHI_KVM_LOOK_S);
    if (vm->connection < 0)
        return;
    wire_begin(&message, WIRE_WATCH, 1);
    if (!vmhi_kvm_request(vm->connection, &message, NULL)) {
        disconnect(vm);
        return;
    }
    descriptor = wire_take_descriptor(&message);
    if (descriptor >= 0) {
        map_counters(vm, descriptor);
        close(descriptor);
    }
    wire_close_descriptors(&message);
    vm->is_lost = FALSE;
    vm->source = g_unix_fd_source_new(vm->connection, G_IO_IN);
    g_source_set_callback(vm->source, G_SOURCE_FUNC(on_message), vm, NULL);
    g_source_attach(vm->source, vm->watch->context);
    tell(vm, vmhi_kvm_state(wire_u64(&message, WIRE_T_STATE, WIRE_RUNNING)), wire_text(&message, WIRE_T_REASON));
}

void vmhi_kvm_watched_add(vmhi_kvm_watch *watch, const char *uuid, const char *name)
{
    vmhi_kvm_watched *vm;
    gboolean          is_there;

    if (g_hash_table_contains(watch->vms, uuid))
        return;
    vm = g_new(vmhi_kvm_watched, 1);
    *vm = (vmhi_kvm_watched){.watch = watch, .uuid = g_strdup(uuid), .name = g_strdup(name), .connection = -1};
    vm->persistent = !vmhi_kvm_exists(watch->host, uuid, VMHI_KVM_TRANSIENT);
    is_there = watch_directory(vm);
    g_mutex_lock(&watch->lock);
    g_hash_table_insert(watch->vms, vm->uuid, vm);
    g_mutex_unlock(&watch->lock);
    if (!is_there) {
        vmhi_kvm_watched_drop(vm); /* it has gone again */
        return;
    }
    vmhi_kvm_watched_connect(vm);
    if (vm->connection < 0) {
        g_auto(vmhi_kvm_condition) left = vmhi_kvm_look_at(watch->host, uuid);

        if (left.state == VMH_VM_UNKNOWN)
            lose(vm);
        else
            tell(vm, left.state, left.reason);
    }
}
