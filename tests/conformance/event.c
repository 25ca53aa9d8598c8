/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Behaviours of queues and their events, and that they tell the same as the list. */
#include "conformance.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>

static gboolean is_readable(const vmh_queue *queue)
{
    struct pollfd waits = {.fd = vmh_queue_fd(queue), .events = POLLIN};

    return poll(&waits, 1, 0) == 1;
}

/* What a program knows that does nothing but follow the events: UUID to state. */
static GHashTable *follow(vmh_queue *queue)
{
    GHashTable *known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    vmh_event  *event;

    while (vmh_queue_next(queue, &event, NULL) == 1) {
        const char *uuid = vmh_event_str(event, "uuid");
        switch (vmh_event_type(event)) {
        case VMH_EVENT_VM_ADDED:
        case VMH_EVENT_VM_STATE:
            g_hash_table_insert(known, g_strdup(uuid), GINT_TO_POINTER(vmh_event_u64(event, "state")));
            break;
        case VMH_EVENT_VM_REMOVED:
            g_hash_table_remove(known, uuid);
            break;
        case VMH_EVENT_RESYNC:
            g_hash_table_remove_all(known);
            break;
        default:
            break;
        }
        vmh_event_free(event);
    }
    return known;
}

static gboolean same_as_list(vmh_host *host, GHashTable *known)
{
    vmh_vm **vms = NULL;
    size_t   count = vmh_host_list_vms(host, &vms);
    gboolean same = count == g_hash_table_size(known);

    for (size_t i = 0; i < count; i++) {
        gpointer state = g_hash_table_lookup(known, vmh_vm_uuid(vms[i]));
        same = same && GPOINTER_TO_INT(state) == vmh_vm_state(vms[i]);
    }
    vmh_vm_list_free(vms);
    return same;
}

static void begins_with_a_snapshot(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autoptr(vmh_queue) queue = vmh_queue_new(s->host, NULL, 0, stage_error(s));
    size_t     count = vmh_host_list_vms(s->host, NULL), told = 0, mine = 0;
    vmh_event *event = NULL;

    EXPECT(s, vm && queue);
    while (vmh_queue_wait(queue, PATIENCE_MS, &event, stage_error(s)) == 1 &&
           vmh_event_type(event) == VMH_EVENT_VM_ADDED) {
        g_autoptr(vmh_vm) its = vmh_event_vm(event);
        told++;
        mine +=
            its && strcmp(vmh_vm_uuid(its), vmh_vm_uuid(vm)) == 0 && vmh_event_u64(event, "state") == VMH_VM_STOPPED;
        vmh_event_free(event);
        event = NULL;
    }
    EXPECT(s, vmh_event_type(event) == VMH_EVENT_SYNCED);
    vmh_event_free(event);
    EXPECT(s, told == count && mine == 1);
    EXPECT(s, vmh_queue_next(queue, &event, stage_error(s)) == 0 && event == NULL);
    stage_remove(s, vm);
}

/* A queue of one topic that has told its snapshot. */
static vmh_queue *synced_queue(stage *s, vmh_host *host, const char *topics)
{
    vmh_queue *queue = vmh_queue_new(host, topics, 0, stage_error(s));
    g_autoptr(vmh_event) synced = queue ? test_wait_event(queue, VMH_EVENT_SYNCED, NULL, PATIENCE_MS) : NULL;

    if (!synced)
        stage_fail(s, __FILE__, __LINE__, "no SYNCED came");
    return queue;
}

static void tells_of_coming_and_going(stage *s)
{
    g_autoptr(vmh_queue) queue = synced_queue(s, s->host, "vm");
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autofree char *name = test_vm_name(vm);
    g_autoptr(vmh_event) added = NULL;
    g_autoptr(vmh_event) removed = NULL;
    uint64_t now = (uint64_t)g_get_real_time() / 1000;

    EXPECT(s, queue && vm);
    added = test_wait_event(queue, VMH_EVENT_VM_ADDED, name, PATIENCE_MS);
    EXPECT(s, added && strcmp(vmh_event_str(added, "uuid"), vmh_vm_uuid(vm)) == 0);
    EXPECT(s, g_strcmp0(vmh_event_str(added, "state"), "stopped") == 0);
    EXPECT(s, vmh_event_time(added) + PATIENCE_MS > now && vmh_event_time(added) < now + PATIENCE_MS);
    stage_remove(s, vm);
    removed = test_wait_event(queue, VMH_EVENT_VM_REMOVED, name, PATIENCE_MS);
    EXPECT(s, removed && strcmp(vmh_event_str(removed, "uuid"), vmh_vm_uuid(vm)) == 0);
}

/* The states that a queue tells of a VM, as one text, until the last of them is told. */
static char *states_told(vmh_queue *queue, const char *name, int32_t last)
{
    GString *told = g_string_new(NULL);
    int32_t  state = -1;

    while (state != last) {
        g_autoptr(vmh_event) event = test_wait_event(queue, VMH_EVENT_VM_STATE, name, 20000);
        if (!event)
            break;
        state = (int32_t)vmh_event_u64(event, "state");
        if (state != VMH_VM_STOPPING) /* some hosts tell of it on the way to stopped */
            g_string_append_printf(told, "%s ", vmh_event_str(event, "state"));
    }
    return g_string_free(told, FALSE);
}

static void tells_states_in_order(stage *s)
{
    g_autoptr(vmh_queue) queue = synced_queue(s, s->host, "vm");
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autofree char *name = test_vm_name(vm);
    g_autofree char *told = NULL;

    EXPECT(s, queue && vm);
    EXPECT_OK(s, vmh_vm_start(vm, 0, stage_error(s)));
    EXPECT_OK(s, vmh_vm_pause(vm, 0, stage_error(s)));
    EXPECT_OK(s, vmh_vm_resume(vm, 0, stage_error(s)));
    EXPECT_OK(s, vmh_vm_stop(vm, 0, stage_error(s)));
    told = states_told(queue, name, VMH_VM_STOPPED);
    if (strcmp(told, "running paused running stopped ") != 0)
        stage_fail(s, __FILE__, __LINE__, "the states told are: %s", told);
    stage_remove(s, vm);
}

static void tells_of_changes(stage *s)
{
    g_autoptr(vmh_queue) queue = synced_queue(s, s->host, "vm");
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    g_autofree char *name = test_vm_name(vm);
    g_autoptr(vmh_event) changed = NULL;

    EXPECT(s, queue && vm);
    vmh_spec_set(change, "memory.size", "48MiB", NULL);
    EXPECT_OK(s, vmh_vm_update(vm, change, 0, 0, stage_error(s)));
    changed = test_wait_event(queue, VMH_EVENT_VM_CHANGED, name, 20000);
    EXPECT(s, changed);
    stage_remove(s, vm);
}

static void tells_all_queues(stage *s)
{
    g_autoptr(vmh_queue) first = synced_queue(s, s->host, "vm");
    g_autoptr(vmh_queue) second = synced_queue(s, s->host, "vm");
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autofree char *name = test_vm_name(vm);
    g_autofree char *told = NULL;
    g_autofree char *too = NULL;

    EXPECT(s, first && second && vm);
    EXPECT_OK(s, vmh_vm_start(vm, 0, stage_error(s)));
    EXPECT_OK(s, vmh_vm_stop(vm, 0, stage_error(s)));
    told = states_told(first, name, VMH_VM_STOPPED);
    too = states_told(second, name, VMH_VM_STOPPED);
    EXPECT(s, *told && strcmp(told, too) == 0);
    stage_remove(s, vm);
}

static void tells_of_others(stage *s)
{
    g_autoptr(vmh_queue) queue = synced_queue(s, s->other, "vm");
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autofree char *name = test_vm_name(vm);
    g_autofree char *told = NULL;
    g_autoptr(vmh_event) removed = NULL;

    EXPECT(s, queue && vm);
    EXPECT_OK(s, vmh_vm_start(vm, 0, stage_error(s)));
    EXPECT_OK(s, vmh_vm_stop(vm, 0, stage_error(s)));
    told = states_told(queue, name, VMH_VM_STOPPED);
    if (strcmp(told, "running stopped ") != 0)
        stage_fail(s, __FILE__, __LINE__, "the states told are: %s", told);
    stage_remove(s, vm);
    removed = test_wait_event(queue, VMH_EVENT_VM_REMOVED, name, PATIENCE_MS);
    EXPECT(s, removed);
}

static void tells_of_jobs(stage *s)
{
    g_autoptr(vmh_queue) queue = synced_queue(s, s->host, "job");
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autoptr(vmh_job) job = vm ? vmh_vm_pause(vm, 0, stage_error(s)) : NULL;
    g_autoptr(vmh_event) event = NULL;

    EXPECT(s, queue && vm && job);
    do {
        g_clear_pointer(&event, vmh_event_free);
        event = test_wait_event(queue, VMH_EVENT_JOB_DONE, NULL, PATIENCE_MS);
    } while (event && vmh_event_u64(event, "job") != vmh_job_id(job));
    EXPECT(s, event);
    EXPECT(s, g_strcmp0(vmh_event_str(event, "verb"), "vm.pause") == 0);
    EXPECT(s, vmh_event_u64(event, "code") == -VMH_ERR_STATE && vmh_event_str(event, "reason"));
    stage_remove(s, vm);
}

static void tells_what_was_asked_for(stage *s)
{
    g_autoptr(vmh_queue) queue = synced_queue(s, s->host, "job");
    g_autoptr(vmh_queue) none = NULL;
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    vmh_event *event;

    EXPECT(s, queue && vm);
    stage_remove(s, vm);
    while (vmh_queue_next(queue, &event, stage_error(s)) == 1) {
        int32_t type = vmh_event_type(event);
        vmh_event_free(event);
        EXPECT(s, type == VMH_EVENT_JOB_DONE || type == VMH_EVENT_JOB_PROGRESS);
    }
    none = vmh_queue_new(s->host, "vm,weather", 0, stage_error(s));
    EXPECT(s, !none && vmh_error_code(s->error) == VMH_ERR_UNKNOWN_NAME);
    EXPECT(s, strstr(vmh_error_message(s->error), "weather"));
}

static void is_readable_while_it_holds_events(stage *s)
{
    g_autoptr(vmh_queue) queue = vmh_queue_new(s->host, "vm", 0, stage_error(s));
    vmh_event *event = NULL;

    EXPECT(s, queue && is_readable(queue));
    EXPECT(s, fcntl(vmh_queue_fd(queue), F_GETFD) & FD_CLOEXEC);
    while (vmh_queue_next(queue, &event, stage_error(s)) == 1) {
        vmh_event_free(event);
        if (!is_readable(queue))
            break;
    }
    EXPECT(s, vmh_queue_next(queue, &event, stage_error(s)) == 0);
    EXPECT(s, !is_readable(queue));
}

static void agrees_with_the_list(stage *s)
{
    g_autoptr(vmh_queue) queue = vmh_queue_new(s->host, "vm", 0, stage_error(s));
    g_autoptr(GHashTable) known = NULL;
    vmh_vm  *vms[4] = {NULL};
    gboolean same;

    EXPECT(s, queue);
    for (guint i = 0; i < G_N_ELEMENTS(vms); i++)
        vms[i] = stage_vm(s, i % 2 ? VMH_CREATE_START : 0);
    if (vms[3]) {
        stage_remove(s, vms[0]);
        vmh_job_finish(vmh_vm_pause(vms[1], 0, NULL), PATIENCE_MS, NULL);
        vmh_job_finish(vmh_vm_start(vms[2], 0, NULL), PATIENCE_MS, NULL);
    }
    known = follow(queue);
    same = same_as_list(s->host, known);
    for (guint i = 0; i < G_N_ELEMENTS(vms); i++) {
        if (vms[i])
            stage_remove(s, vms[i]);
        vmh_vm_unref(vms[i]);
    }
    EXPECT(s, same);
}

/* More events than a queue holds, of whatever costs the host least. */
static void begins_anew_when_it_overflows(stage *s)
{
    g_autoptr(vmh_queue) queue = synced_queue(s, s->host, NULL);
    g_autoptr(vmh_event) resync = NULL;
    g_autoptr(vmh_event) synced = NULL;
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);

    EXPECT(s, queue && vm);
    for (guint i = 0; i < 4200; i++)
        vmh_job_finish(vmh_vm_pause(vm, 0, NULL), PATIENCE_MS, NULL);
    resync = test_wait_event(queue, VMH_EVENT_RESYNC, NULL, 0);
    EXPECT(s, resync);
    synced = test_wait_event(queue, VMH_EVENT_SYNCED, NULL, 0);
    EXPECT(s, synced);
    stage_remove(s, vm);
}

static void keeps_its_host(stage *s)
{
    vmh_host *host = vmh_host_open(s->uri, NULL, 0, stage_error(s));
    g_autoptr(vmh_queue) queue = host ? vmh_queue_new(host, "vm", 0, stage_error(s)) : NULL;
    g_autoptr(vmh_event) event = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    g_autofree char *name = NULL;

    vmh_host_unref(host);
    EXPECT(s, queue);
    vm = stage_vm(s, 0);
    EXPECT(s, vm);
    name = test_vm_name(vm);
    event = test_wait_event(queue, VMH_EVENT_VM_ADDED, name, PATIENCE_MS);
    EXPECT(s, event);
    stage_remove(s, vm);
}

const behaviour event_behaviours[] = {
    {"events.snapshot", "host.create", begins_with_a_snapshot, "a queue begins with what there is, then SYNCED"},
    {"events.added", "host.create,vm.delete", tells_of_coming_and_going, "VMs that come and go are told"},
    {"events.state", "vm.start,vm.pause,vm.resume,vm.stop", tells_states_in_order,
     "each state is told once, in order"},
    {"events.changed", "vm.update,host.events", tells_of_changes, "a changed configuration is told"},
    {"events.queues", "vm.start,vm.stop", tells_all_queues, "two queues are told the same"},
    {"events.others", "vm.start,vm.stop,host.events", tells_of_others, "what other programs do is told"},
    {"events.job", "vm.pause", tells_of_jobs, "the end of a job is told, with its error"},
    {"events.topics", "host.create", tells_what_was_asked_for,
     "only topics that were asked for; unknown ones refused"},
    {"events.fd", NULL, is_readable_while_it_holds_events, "the descriptor is readable exactly while an event waits"},
    {"events.inventory", "vm.start,vm.pause", agrees_with_the_list,
     "who follows the events knows what the list says"},
    {"events.overflow", "vm.pause", begins_anew_when_it_overflows, "a queue nobody empties begins anew with RESYNC"},
    {"events.unref", "host.create,host.events", keeps_its_host, "a queue keeps its host alive"},
    {NULL, NULL, NULL, NULL},
};
