/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inventory and its queues: lists and events in any order, snapshots without gaps, bounds. */
#include "model/inventory.h"
#include "model/queue.h"
#include "unit.h"

#include <poll.h>

#define ONE "11111111-1111-1111-1111-111111111111"
#define TWO "22222222-2222-2222-2222-222222222222"

static vmhi_inventory *inventory;
static vmhi_queue     *queue;

static vmhi_vm_info info(const char *uuid, const char *name, int32_t state)
{
    return (vmhi_vm_info){.uuid = uuid, .name = name, .state = state, .persistent = TRUE};
}

static void see(const char *uuid, const char *name, int32_t state)
{
    vmhi_vm_info what = info(uuid, name, state);

    vmhi_inventory_seen(inventory, &what);
}

static void list(const char *uuid, const char *name, int32_t state)
{
    vmhi_vm_info what = info(uuid, name, state);

    vmhi_inventory_listed(inventory, &what);
}

static int32_t state_of(const char *uuid)
{
    vmhi_record *record = vmhi_inventory_find(inventory, uuid);
    int32_t      state = record ? g_atomic_int_get(&record->state) : VMH_VM_GONE;

    vmhi_record_unref(record);
    return state;
}

static gboolean readable(void)
{
    struct pollfd fd = {.fd = vmhi_queue_fd(queue), .events = POLLIN};

    return poll(&fd, 1, 0) == 1;
}

/* Pulls one event and compares its type; 0 is none. */
static void expect(int32_t type)
{
    vmh_event *event = vmhi_queue_pop(queue, 0);

    ck_assert_int_eq(event ? event->type : 0, type);
    vmhi_event_free(event);
}

static void subscribe(unsigned topics, guint limit)
{
    queue = vmhi_queue_new(topics, limit, NULL);
    vmhi_inventory_subscribe(inventory, queue);
}

static void setup(void)
{
    inventory = vmhi_inventory_new();
    queue = NULL;
}

static void teardown(void)
{
    if (queue) {
        vmhi_inventory_unsubscribe(inventory, queue);
        vmhi_queue_free(queue);
    }
    vmhi_inventory_free(inventory);
}

START_TEST(a_queue_begins_with_what_there_is)
{
    setup();
    see(ONE, "one", VMH_VM_RUNNING);
    subscribe(VMHI_TOPIC_VM, 10);
    see(ONE, "one", VMH_VM_PAUSED);
    ck_assert(readable());
    expect(VMH_EVENT_VM_ADDED);
    expect(VMH_EVENT_SYNCED);
    expect(VMH_EVENT_VM_STATE);
    ck_assert(!readable());
    expect(0);
    teardown();
}
END_TEST

START_TEST(the_same_news_twice_is_one_event)
{
    setup();
    subscribe(VMHI_TOPIC_VM, 10);
    see(ONE, "one", VMH_VM_RUNNING);
    see(ONE, "one", VMH_VM_RUNNING);
    see(ONE, "uno", VMH_VM_RUNNING);
    vmhi_inventory_gone(inventory, ONE);
    vmhi_inventory_gone(inventory, ONE);
    expect(VMH_EVENT_SYNCED);
    expect(VMH_EVENT_VM_ADDED);
    expect(VMH_EVENT_VM_CHANGED);
    expect(VMH_EVENT_VM_REMOVED);
    expect(0);
    teardown();
}
END_TEST

START_TEST(an_event_during_a_list_is_the_newer_word)
{
    setup();
    see(ONE, "one", VMH_VM_RUNNING);
    see(TWO, "two", VMH_VM_RUNNING);
    vmhi_inventory_list_begin(inventory);
    see(ONE, "one", VMH_VM_STOPPED);
    vmhi_inventory_gone(inventory, TWO);
    list(ONE, "one", VMH_VM_RUNNING);
    list(TWO, "two", VMH_VM_RUNNING);
    vmhi_inventory_list_end(inventory, TRUE);
    ck_assert_int_eq(state_of(ONE), VMH_VM_STOPPED);
    ck_assert_int_eq(state_of(TWO), VMH_VM_GONE);
    teardown();
}
END_TEST

START_TEST(what_a_list_leaves_out_is_gone_unless_the_list_broke)
{
    setup();
    see(ONE, "one", VMH_VM_RUNNING);
    vmhi_inventory_list_begin(inventory);
    vmhi_inventory_list_end(inventory, FALSE);
    ck_assert_int_eq(state_of(ONE), VMH_VM_RUNNING);
    vmhi_inventory_list_begin(inventory);
    see(TWO, "two", VMH_VM_RUNNING); /* made while the list was under way */
    vmhi_inventory_list_end(inventory, TRUE);
    ck_assert_int_eq(state_of(ONE), VMH_VM_GONE);
    ck_assert_int_eq(state_of(TWO), VMH_VM_RUNNING);
    teardown();
}
END_TEST

START_TEST(a_look_that_took_too_long_does_not_count)
{
    vmhi_vm_info running = info(ONE, "one", VMH_VM_RUNNING);
    gint         serial;

    setup();
    see(ONE, "one", VMH_VM_STOPPED);
    serial = vmhi_inventory_serial(inventory, ONE);
    see(ONE, "one", VMH_VM_CRASHED);
    ck_assert(!vmhi_inventory_looked(inventory, ONE, &running, serial));
    ck_assert_int_eq(state_of(ONE), VMH_VM_CRASHED);
    serial = vmhi_inventory_serial(inventory, ONE);
    ck_assert(vmhi_inventory_looked(inventory, ONE, NULL, serial));
    ck_assert_int_eq(state_of(ONE), VMH_VM_GONE);
    teardown();
}
END_TEST

START_TEST(an_old_event_after_a_look_does_not_count)
{
    vmhi_vm_info running = info(ONE, "one", VMH_VM_RUNNING);
    vmhi_vm_info stopped = info(ONE, "one", VMH_VM_STOPPED);

    setup();
    see(ONE, "one", VMH_VM_RUNNING);
    subscribe(VMHI_TOPIC_VM, 100);
    expect(VMH_EVENT_VM_ADDED);
    expect(VMH_EVENT_SYNCED);
    ck_assert(vmhi_inventory_looked(inventory, ONE, &stopped, vmhi_inventory_serial(inventory, ONE)));
    ck_assert(vmhi_inventory_looked(inventory, ONE, &running, vmhi_inventory_serial(inventory, ONE)));
    expect(VMH_EVENT_VM_STATE);
    expect(VMH_EVENT_VM_STATE);
    ck_assert(!vmhi_inventory_seen(inventory, &stopped));
    ck_assert(!vmhi_inventory_gone(inventory, ONE));
    ck_assert(vmhi_inventory_seen(inventory, &running));
    ck_assert_int_eq(state_of(ONE), VMH_VM_RUNNING);
    expect(0);
    ck_assert(vmhi_inventory_looked(inventory, ONE, NULL, vmhi_inventory_serial(inventory, ONE)));
    expect(VMH_EVENT_VM_REMOVED);
    ck_assert(!vmhi_inventory_seen(inventory, &running));
    ck_assert(vmhi_inventory_gone(inventory, ONE));
    expect(0);
    ck_assert(vmhi_inventory_looked(inventory, ONE, &running, vmhi_inventory_serial(inventory, ONE)));
    expect(VMH_EVENT_VM_ADDED);
    teardown();
}
END_TEST

START_TEST(too_many_events_become_a_new_snapshot)
{
    setup();
    subscribe(VMHI_TOPIC_VM, 3);
    for (int i = 0; i < 5; i++)
        see(ONE, "one", i % 2 ? VMH_VM_RUNNING : VMH_VM_PAUSED);
    expect(VMH_EVENT_RESYNC);
    expect(VMH_EVENT_VM_ADDED);
    expect(VMH_EVENT_SYNCED);
    ck_assert_int_eq(state_of(ONE), VMH_VM_PAUSED);
    teardown();
}
END_TEST

static void publish(int32_t type)
{
    vmhi_inventory_publish(inventory, vmhi_event_new(type, NULL));
}

START_TEST(a_new_connection_drops_nothing_of_the_host)
{
    setup();
    see(ONE, "one", VMH_VM_RUNNING);
    subscribe(VMHI_TOPIC_VM | VMHI_TOPIC_HOST, 10);
    expect(VMH_EVENT_VM_ADDED);
    expect(VMH_EVENT_SYNCED);
    publish(VMH_EVENT_HOST_LOST);
    see(ONE, "one", VMH_VM_PAUSED); /* the snapshot says it */
    publish(VMH_EVENT_HOST_BACK);
    vmhi_inventory_resync(inventory);
    see(ONE, "one", VMH_VM_RUNNING);
    expect(VMH_EVENT_HOST_LOST);
    expect(VMH_EVENT_HOST_BACK);
    expect(VMH_EVENT_RESYNC);
    expect(VMH_EVENT_VM_ADDED);
    expect(VMH_EVENT_SYNCED);
    expect(VMH_EVENT_VM_STATE);
    expect(0);
    teardown();
}
END_TEST

static void publish_job(int32_t type, uint64_t job, uint64_t done)
{
    vmh_event *event = vmhi_event_new(type, NULL);

    event->job = job;
    event->done = done;
    vmhi_inventory_publish(inventory, event);
}

START_TEST(progress_of_a_job_is_kept_once)
{
    vmh_event *event;

    setup();
    subscribe(VMHI_TOPIC_JOB, 3);
    for (int i = 0; i < 100; i++)
        publish_job(VMH_EVENT_JOB_PROGRESS, 1, i);
    publish_job(VMH_EVENT_JOB_PROGRESS, 2, 5);
    see(ONE, "one", VMH_VM_RUNNING); /* another topic */
    expect(VMH_EVENT_SYNCED);
    event = vmhi_queue_pop(queue, 0);
    ck_assert_uint_eq(event->done, 99);
    vmhi_event_free(event);
    expect(VMH_EVENT_JOB_PROGRESS);
    expect(0);
    teardown();
}
END_TEST

START_TEST(names_and_uuids_are_found)
{
    vmhi_record *record;

    setup();
    see("aaaaaaaa-1111-1111-1111-111111111111", "one", VMH_VM_RUNNING);
    record = vmhi_inventory_find(inventory, "AAAAAAAA-1111-1111-1111-111111111111");
    ck_assert_ptr_nonnull(record);
    vmhi_record_unref(record);
    record = vmhi_inventory_find(inventory, "one");
    ck_assert_ptr_nonnull(record);
    vmhi_record_unref(record);
    ck_assert_ptr_null(vmhi_inventory_find(inventory, "ONE"));
    teardown();
}
END_TEST

#define TELLERS 8
#define ROUNDS 2000

static void *tell_much(void *data)
{
    g_autofree char *uuid = g_strdup_printf("%08d-0000-0000-0000-000000000000", GPOINTER_TO_INT(data));

    for (int i = 0; i < ROUNDS; i++) {
        see(uuid, "vm", i % 2 ? VMH_VM_RUNNING : VMH_VM_PAUSED);
        if (i % 10 == 9)
            vmhi_inventory_gone(inventory, uuid);
    }
    see(uuid, "vm", VMH_VM_CRASHED);
    return NULL;
}

/* A reader that follows the events ends with the same picture as the inventory. */
START_TEST(following_the_events_of_many_threads_gives_the_inventory)
{
    setup();
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    GThread       *threads[TELLERS];
    guint          crashed = 0;
    GHashTableIter iter;
    void          *state;

    subscribe(VMHI_TOPIC_VM, 50);
    for (int i = 0; i < TELLERS; i++)
        threads[i] = g_thread_new("teller", tell_much, GINT_TO_POINTER(i));
    while (crashed < TELLERS) {
        vmh_event *event = vmhi_queue_pop(queue, -1);
        if (event->type == VMH_EVENT_RESYNC)
            g_hash_table_remove_all(seen);
        else if (event->type == VMH_EVENT_VM_REMOVED)
            ck_assert(g_hash_table_remove(seen, event->record->uuid));
        else if (event->record)
            g_hash_table_replace(seen, g_strdup(event->record->uuid), GINT_TO_POINTER(event->state));
        vmhi_event_free(event);
        crashed = 0;
        g_hash_table_iter_init(&iter, seen);
        while (g_hash_table_iter_next(&iter, NULL, &state))
            crashed += GPOINTER_TO_INT(state) == VMH_VM_CRASHED;
    }
    for (int i = 0; i < TELLERS; i++)
        g_thread_join(threads[i]);
    ck_assert_uint_eq(g_hash_table_size(seen), TELLERS);
    teardown();
}
END_TEST

static void *tell_later(G_GNUC_UNUSED void *data)
{
    g_usleep(20000);
    see("00000000-0000-0000-0000-000000000001", "late", VMH_VM_RUNNING);
    return NULL;
}

START_TEST(the_longest_wait_is_no_short_one)
{
    GThread   *thread;
    vmh_event *event;

    setup();
    subscribe(VMHI_TOPIC_VM, 50);
    expect(VMH_EVENT_SYNCED);
    thread = g_thread_new("teller", tell_later, NULL);
    event = vmhi_queue_pop(queue, INT64_MAX);
    ck_assert_msg(event && event->type == VMH_EVENT_VM_ADDED, "it was over before anything had happened");
    vmhi_event_free(event);
    g_thread_join(thread);
    teardown();
}
END_TEST

START_TEST(what_is_being_made_is_told_when_it_is_made)
{
    vmhi_vm_info what = info(ONE, "one", VMH_VM_RUNNING);

    setup();
    subscribe(VMHI_TOPIC_VM, 10);
    expect(VMH_EVENT_SYNCED);
    vmhi_inventory_hide(inventory, ONE);
    vmhi_inventory_hide(inventory, ONE); /* two at a time try it */
    see(ONE, "one", VMH_VM_STOPPED);
    vmhi_inventory_list_begin(inventory);
    list(ONE, "one", VMH_VM_STOPPED);
    vmhi_inventory_list_end(inventory, TRUE);
    vmhi_inventory_show(inventory, ONE);
    see(ONE, "one", VMH_VM_STOPPED);
    ck_assert(vmhi_inventory_looked(inventory, ONE, &what, 0));
    expect(0);
    ck_assert_int_eq(state_of(ONE), VMH_VM_GONE);
    vmhi_inventory_show(inventory, ONE);
    ck_assert(vmhi_inventory_looked(inventory, ONE, &what, 0));
    expect(VMH_EVENT_VM_ADDED);
    vmhi_inventory_hide(inventory, ONE); /* somebody tries a UUID that is taken */
    see(ONE, "uno", VMH_VM_RUNNING);
    expect(VMH_EVENT_VM_CHANGED);
    teardown();
}
END_TEST

START_TEST(what_could_not_be_made_is_never_told)
{
    vmhi_vm_info what = info(ONE, "one", VMH_VM_STOPPED);

    setup();
    subscribe(VMHI_TOPIC_VM, 10);
    expect(VMH_EVENT_SYNCED);
    vmhi_inventory_hide(inventory, ONE);
    vmhi_inventory_list_begin(inventory);
    see(ONE, "one", VMH_VM_STOPPED);
    vmhi_inventory_show(inventory, ONE);
    ck_assert(vmhi_inventory_looked(inventory, ONE, NULL, 0));
    list(ONE, "one", VMH_VM_STOPPED); /* the list was made before */
    vmhi_inventory_list_end(inventory, TRUE);
    ck_assert(!vmhi_inventory_seen(inventory, &what)); /* and so was this event */
    ck_assert(vmhi_inventory_gone(inventory, ONE));
    expect(0);
    teardown();
}
END_TEST

UNIT_RUN("inventory", what_is_being_made_is_told_when_it_is_made, what_could_not_be_made_is_never_told,
         a_new_connection_drops_nothing_of_the_host, a_queue_begins_with_what_there_is,
         the_same_news_twice_is_one_event, an_event_during_a_list_is_the_newer_word,
         what_a_list_leaves_out_is_gone_unless_the_list_broke, a_look_that_took_too_long_does_not_count,
         an_old_event_after_a_look_does_not_count, too_many_events_become_a_new_snapshot,
         progress_of_a_job_is_kept_once, names_and_uuids_are_found,
         following_the_events_of_many_threads_gives_the_inventory, the_longest_wait_is_no_short_one)
