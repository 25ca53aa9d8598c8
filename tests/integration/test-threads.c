/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One host handle in the hands of many threads at once; to be run with ThreadSanitizer as well. */
#include "integration.h"

#define THREADS 16
#define ROUNDS 25

/* What the threads share. */
typedef struct {
    vmh_host  *host;
    vmh_queue *queue;
    vmh_vm    *vm;
    gint       failed_line; /* of the last check that failed, or 0 */
} shared;

static void note_at(shared *all, gboolean good, int line)
{
    if (!good)
        g_atomic_int_set(&all->failed_line, line);
}

#define note(all, good) note_at(all, good, __LINE__)

/* A VM of its own from beginning to end. */
static void live(shared *all)
{
    g_autofree char *name = test_name("thread");
    g_autoptr(vmh_spec) spec = test_spec(name, 16);
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_job) job = vmh_host_create_vm(all->host, spec, VMH_CREATE_START, NULL);
    g_autoptr(vmh_vm) vm = vmh_job_wait(job, PATIENCE_MS, NULL) == 0 ? vmh_job_result_vm(job) : NULL;
    g_autoptr(vmh_vm) found = vmh_host_find_vm(all->host, name, NULL);

    note(all, vm && found && vmh_vm_state(found) == VMH_VM_RUNNING);
    vmh_spec_set(change, "title", name, NULL);
    note(all, vmh_job_finish(vmh_vm_pause(vm, 0, NULL), PATIENCE_MS, NULL) == 0);
    note(all, vmh_job_finish(vmh_vm_update(vm, change, 0, 0, NULL), PATIENCE_MS, NULL) == 0);
    note(all, vmh_job_finish(vmh_vm_delete(vm, VMH_DELETE_FORCE, NULL), PATIENCE_MS, NULL) == 0);
    note(all, vmh_vm_state(vm) == VMH_VM_GONE && vmh_vm_state(found) == VMH_VM_GONE);
}

static void look(shared *all)
{
    vmh_vm **vms = NULL;
    size_t   count = vmh_host_list_vms(all->host, &vms);
    g_autoptr(vmh_frame) frame = vmh_host_sample(all->host, "cpu.time,memory.size", 0, NULL);
    g_autoptr(vmh_spec) spec = vmh_vm_describe(all->vm, 0, NULL);
    g_autoptr(vmh_spec) described = vmh_host_describe(all->host, NULL);

    for (size_t i = 0; i < count; i++) {
        char *name = vmh_vm_name_dup(vms[i]);
        note(all, name && vmh_vm_state(vms[i]) >= 0);
        vmh_free(name);
    }
    vmh_vm_list_free(vms);
    note(all, frame && spec && described && vmh_host_supports(all->host, "cpu.weight", NULL, NULL) >= 0);
}

static gboolean is_good_or_refused(int32_t code)
{
    return code == 0 || code == VMH_ERR_STATE;
}

/* The same VM and the same queue as everybody: what wins is not known, but each call ends, and well or refused. */
static void quarrel(shared *all)
{
    vmh_event *event;
    int32_t    code = vmh_job_finish(vmh_vm_pause(all->vm, 0, NULL), PATIENCE_MS, NULL);

    note(all, is_good_or_refused(code));
    code = vmh_job_finish(vmh_vm_resume(all->vm, 0, NULL), PATIENCE_MS, NULL);
    note(all, is_good_or_refused(code));
    while (vmh_queue_next(all->queue, &event, NULL) == 1)
        vmh_event_free(event);
    vmh_queue_unref(vmh_queue_new(all->host, NULL, 0, NULL));
    note(all, vmh_job_finish(vmh_host_refresh(all->host, 0, NULL), PATIENCE_MS, NULL) == 0);
}

static void *work(void *data)
{
    for (guint i = 0; i < ROUNDS; i++) {
        live(data);
        look(data);
        quarrel(data);
    }
    return NULL;
}

START_TEST(sixteen_at_once)
{
    shared   all = {.host = open_host("test:///default")};
    GThread *threads[THREADS];

    all.vm = vmh_host_find_vm(all.host, "test", NULL);
    all.queue = vmh_queue_new(all.host, NULL, 0, NULL);
    ck_assert(all.vm && all.queue);
    for (guint i = 0; i < THREADS; i++)
        threads[i] = g_thread_new("work", work, &all);
    for (guint i = 0; i < THREADS; i++)
        g_thread_join(threads[i]);
    ck_assert_msg(all.failed_line == 0, "line %d", all.failed_line);
    ck_assert_uint_eq(vmh_host_list_vms(all.host, NULL), 1); /* the one of the test host */
    vmh_queue_unref(all.queue);
    vmh_vm_unref(all.vm);
    vmh_host_unref(all.host);
}
END_TEST

/* --- and hosts that come and go meanwhile --- */

static void *open_and_close(G_GNUC_UNUSED void *data)
{
    for (guint i = 0; i < ROUNDS; i++) {
        vmh_host *host = vmh_host_open("test:///default", NULL, 0, NULL);
        vmh_vm   *vm = vmh_host_find_vm(host, "test", NULL);
        vmh_host_unref(host);
        vmh_spec_unref(vmh_vm_describe(vm, 0, NULL));
        vmh_vm_unref(vm);
    }
    return NULL;
}

START_TEST(hosts_come_and_go)
{
    GThread *threads[THREADS];

    for (guint i = 0; i < THREADS; i++)
        threads[i] = g_thread_new("open", open_and_close, NULL);
    for (guint i = 0; i < THREADS; i++)
        g_thread_join(threads[i]);
}
END_TEST

static void *write_and_read(void *spec)
{
    for (guint i = 0; i < ROUNDS * 40; i++) {
        char *text;
        vmh_spec_set_u64(spec, "cpu.count", i % 8 + 1, NULL);
        text = vmh_spec_to_json(spec, 0, NULL);
        if (!text)
            return NULL;
        vmh_free(text);
        vmh_spec_unref(vmh_spec_dup(spec));
    }
    return spec;
}

START_TEST(one_spec)
{
    g_autoptr(vmh_spec) spec = test_spec("x", 16);
    GThread *threads[THREADS];

    for (guint i = 0; i < THREADS; i++)
        threads[i] = g_thread_new("spec", write_and_read, spec);
    for (guint i = 0; i < THREADS; i++)
        ck_assert_ptr_eq(g_thread_join(threads[i]), spec);
}
END_TEST

INTEGRATION_RUN("threads", FALSE, sixteen_at_once, hosts_come_and_go, one_spec)
