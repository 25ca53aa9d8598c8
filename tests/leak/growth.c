/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nothing is kept that is not known: growth N does N operations of all sorts on the test driver, and fails when the
 * heap has grown since the warm-up.
 */
#include <glib.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmhost/vmhost.h>

/* The smallest block, lost by one sort of quick operation only, makes four times as much in 100,000 operations. */
enum { ALLOWED_BYTES = 32 * 1024, SETTLE_SECONDS = 10, SLOW_EVERY = 50 };

typedef struct {
    vmh_host  *host;
    vmh_queue *queue;
    vmh_vm    *vm;
} machine;

static void require(gboolean ok, const char *what, const vmh_error *error)
{
    if (ok)
        return;
    fprintf(stderr, "growth: %s: %s\n", what, vmh_error_message(error));
    exit(1);
}

/* --- operations --- */

static void stop_and_start(machine *m)
{
    vmh_error *error = NULL;

    require(vmh_job_finish(vmh_vm_stop(m->vm, 0, &error), -1, &error) == 0 &&
                vmh_job_finish(vmh_vm_start(m->vm, 0, &error), -1, &error) == 0,
            "stop and start", error);
}

static void pause_and_resume(machine *m)
{
    vmh_error *error = NULL;

    require(vmh_job_finish(vmh_vm_pause(m->vm, 0, &error), -1, &error) == 0 &&
                vmh_job_finish(vmh_vm_resume(m->vm, 0, &error), -1, &error) == 0,
            "pause and resume", error);
}

static void start_twice(machine *m)
{
    vmh_error *error = NULL;

    require(vmh_job_finish(vmh_vm_start(m->vm, 0, &error), -1, &error) == VMH_ERR_STATE, "a second start", error);
    require(vmh_error_message(error)[0] != '\0', "the message of a second start", error);
    vmh_error_free(error);
}

static void describe_vm(machine *m)
{
    vmh_error *error = NULL;
    vmh_spec  *spec = vmh_vm_describe(m->vm, 0, &error);
    vmh_spec  *again;
    char      *json;

    require(spec != NULL, "describing a VM", error);
    json = vmh_spec_to_json(spec, VMH_JSON_PRETTY, &error);
    require(json != NULL, "writing JSON", error);
    again =
        vmh_spec_from_json("vm", "{\"cpu\": {\"count\": 2}, \"disk\": {\"root\": {\"path\": \"/x\"}}}", 60, &error);
    vmh_spec_unref(again);
    vmh_error_free(error);
    vmh_free(json);
    vmh_spec_unref(spec);
}

static void describe_host(machine *m)
{
    vmh_error *error = NULL;
    vmh_spec  *spec = vmh_host_describe(m->host, &error);

    require(spec != NULL, "describing the host", error);
    vmh_spec_unref(spec);
}

static void create_and_delete(machine *m)
{
    vmh_error *error = NULL;
    vmh_spec  *spec = vmh_spec_new("vm", &error);
    vmh_job   *job;
    vmh_vm    *vm;

    vmh_spec_set(spec, VMH_P_NAME, "passing", &error);
    vmh_spec_set(spec, VMH_P_CPU_COUNT, "1", &error);
    vmh_spec_set(spec, VMH_P_MEMORY_SIZE, "64MiB", &error);
    job = vmh_host_create_vm(m->host, spec, 0, &error);
    require(vmh_job_wait(job, -1, &error) == 0, "creating a VM", error);
    vm = vmh_job_result_vm(job);
    require(vmh_job_finish(vmh_vm_delete(vm, 0, &error), -1, &error) == 0, "deleting a VM", error);
    vmh_vm_unref(vm);
    vmh_job_unref(job);
    vmh_spec_unref(spec);
}

static void update(machine *m)
{
    static unsigned next;
    vmh_error      *error = NULL;
    vmh_spec       *spec = vmh_spec_new("vm", &error);
    vmh_job        *job;

    vmh_spec_set(spec, VMH_P_TITLE, next++ % 2 ? "odd" : "even", &error);
    job = vmh_vm_update(m->vm, spec, VMH_UPDATE_PERSIST, 0, &error);
    require(vmh_job_wait(job, -1, &error) == 0 && vmh_job_verdict_count(job) == 1, "updating a VM", error);
    vmh_job_unref(job);
    vmh_spec_unref(spec);
}

static void list(machine *m)
{
    vmh_vm **vms;
    size_t   count = vmh_host_list_vms(m->host, &vms);
    char    *name;

    require(count == 1, "listing", NULL);
    name = vmh_vm_name_dup(vms[0]);
    vmh_free(name);
    vmh_vm_list_free(vms);
}

static void find(machine *m)
{
    vmh_error *error = NULL;

    vmh_vm_unref(vmh_host_find_vm(m->host, "test", NULL));
    require(!vmh_host_find_vm(m->host, "nobody", &error), "finding nobody", error);
    vmh_error_free(error);
}

static void sample(machine *m)
{
    static const char *const columns[] = {NULL, "cpu.time,memory.size", "vcpu.*", "disk.*,nic.*"};
    static unsigned          next;
    vmh_error               *error = NULL;
    vmh_frame               *frame = vmh_host_sample(m->host, columns[next++ % G_N_ELEMENTS(columns)], 0, &error);

    require(frame && vmh_frame_rows(frame) == 1, "sampling", error);
    vmh_frame_unref(frame);
}

static void ask_for_support(machine *m)
{
    vmh_error *error = NULL;
    char      *reason = NULL;

    vmh_host_supports(m->host, "vm.migrate", &reason, NULL);
    vmh_free(reason);
    vmh_host_supports(m->host, "cpu.weigth", NULL, &error);
    require(vmh_error_code(error) == VMH_ERR_UNKNOWN_NAME, "asking for an unknown property", error);
    vmh_error_free(error);
}

static void drain(vmh_queue *queue, int64_t timeout_ms, int32_t until)
{
    vmh_error *error = NULL;
    vmh_event *event;
    int32_t    type = 0;

    while (type != until && vmh_queue_wait(queue, timeout_ms, &event, &error) == 1) {
        type = vmh_event_type(event);
        vmh_vm_unref(vmh_event_vm(event));
        vmh_event_free(event);
    }
    require(!error, "waiting for events", error);
}

static void read_events(machine *m)
{
    drain(m->queue, 0, -1);
}

static void watch_anew(machine *m)
{
    vmh_error *error = NULL;
    vmh_queue *queue = vmh_queue_new(m->host, "vm,host", 0, &error);

    require(queue != NULL, "making a queue", error);
    drain(queue, -1, VMH_EVENT_SYNCED);
    vmh_queue_unref(queue);
}

static void open_another(G_GNUC_UNUSED machine *m)
{
    vmh_error *error = NULL;
    vmh_host  *host = vmh_host_open("test:///default", NULL, 0, &error);

    require(host != NULL, "opening another host", error);
    vmh_host_unref(host);
    require(!vmh_host_open("nobody:///", NULL, 0, &error), "opening a URI of nobody", error);
    vmh_error_free(error);
}

static void (*const quick[])(machine *) = {
    stop_and_start, pause_and_resume, start_twice, describe_vm,     describe_host, list,
    find,           sample,           read_events, ask_for_support, watch_anew,
};

/* These take milliseconds, most of them in libvirt. */
static void (*const slow[])(machine *) = {create_and_delete, update, open_another};

static void operate(machine *m, long count)
{
    for (long i = 1; i <= count; i++) {
        if (i % SLOW_EVERY == 0)
            slow[i / SLOW_EVERY % (long)G_N_ELEMENTS(slow)](m);
        else
            quick[i % (long)G_N_ELEMENTS(quick)](m);
    }
    read_events(m);
}

/* --- the heap --- */

static gint64 heap_bytes(void)
{
    struct mallinfo2 heap = mallinfo2();

    return (gint64)(heap.uordblks + heap.hblkhd);
}

/* What other threads have still in hand is let go soon; what leaked is not. */
static gint64 settled_growth(machine *m, gint64 before)
{
    gint64 growth = heap_bytes() - before;

    for (int i = 0; i < SETTLE_SECONDS * 10 && growth > ALLOWED_BYTES; i++) {
        g_usleep(100 * 1000);
        read_events(m);
        growth = heap_bytes() - before;
    }
    return growth;
}

static machine set_up(void)
{
    vmh_error *error = NULL;
    machine    m = {0};

    m.host = vmh_host_open("test:///default", NULL, 0, &error);
    require(m.host != NULL, "opening test:///default", error);
    m.queue = vmh_queue_new(m.host, NULL, 0, &error);
    m.vm = vmh_host_find_vm(m.host, "test", &error);
    require(m.queue && m.vm, "finding its VM", error);
    return m;
}

int main(int argc, char **argv)
{
    long    count = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    machine m;
    gint64  before, growth;

    if (count <= 0) {
        fputs("usage: growth OPERATIONS\n", stderr);
        return 2;
    }
    m = set_up();
    operate(&m, MAX(count / 5, SLOW_EVERY * (long)G_N_ELEMENTS(slow)));
    before = heap_bytes();
    operate(&m, count);
    growth = settled_growth(&m, before);
    printf("%" G_GINT64_FORMAT " bytes more after %ld operations\n", growth, count);
    vmh_vm_unref(m.vm);
    vmh_queue_unref(m.queue);
    vmh_host_unref(m.host);
    return growth > ALLOWED_BYTES;
}
