/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening, listening to, losing, re-making and closing a driver's connection. */
#include "api/link.h"
#include "model/queue.h"
#include "model/thread.h"
#include "model/timer.h"

#define RETRY_FIRST_MS 250
#define RETRY_MOST_MS 30000
#define SETTLE_US 10000

static const vmhi_sink sink;

vmhi_link *vmhi_link_ref(vmhi_link *link)
{
    g_atomic_ref_count_inc(&link->refs);
    return link;
}

static void free_link(void *data)
{
    vmhi_link *link = data;

    if (link->remote) {
        link->driver->quiet(link->remote);
        link->driver->close(link->remote);
    }
    vmhi_sampling_clear(&link->sampling);
    vmhi_inventory_free(link->inventory);
    vmh_spec_unref(link->options);
    g_mutex_clear(&link->lock);
    g_free(link->uri);
    g_free(link);
}

void vmhi_link_unref(vmhi_link *link)
{
    if (!link || !g_atomic_ref_count_dec(&link->refs))
        return;
    if (link->remote && !link->in_process)
        vmhi_thread_run(free_link, link); /* a peer that is silent must not make the program wait */
    else
        free_link(link);
}

static void unref_link(void *link)
{
    vmhi_link_unref(link);
}

guint vmhi_link_option_ms(const vmhi_link *link, const char *option)
{
    return (guint)vmhi_spec_u64_or_default(link->options, "open", option);
}

gboolean vmhi_link_connected(vmhi_link *link)
{
    gboolean connected;

    g_mutex_lock(&link->lock);
    connected = link->connected;
    g_mutex_unlock(&link->lock);
    return connected;
}

/* --- listing and looking --- */

static void listed(void *inventory, const vmhi_vm_info *info)
{
    vmhi_inventory_listed(inventory, info);
}

gboolean vmhi_link_list(vmhi_link *link, vmh_error **error)
{
    gboolean complete;

    vmhi_inventory_list_begin(link->inventory);
    complete = link->driver->list(link->remote, listed, link->inventory, error);
    vmhi_inventory_list_end(link->inventory, complete);
    return complete;
}

typedef struct {
    vmhi_link  *link;
    const char *uuid;
    gint        serial;
    gboolean    newest;
} look;

static void looked(void *data, const vmhi_vm_info *info)
{
    look *at = data;

    at->newest = vmhi_inventory_looked(at->link->inventory, at->uuid, info, at->serial);
}

void vmhi_link_look(vmhi_link *link, const char *uuid)
{
    look at = {.link = link, .uuid = uuid};

    /* When something is heard meanwhile, the look may be the older word: look again, but not for ever. */
    for (int tries = 0; tries < 5 && !at.newest; tries++) {
        g_autoptr(vmh_error) error = NULL;

        at.serial = vmhi_inventory_serial(link->inventory, uuid);
        if (!link->driver->look(link->remote, uuid, looked, &at, &error)) {
            if (vmh_error_code(error) != VMH_ERR_NOT_FOUND)
                return;
            looked(&at, NULL);
        }
    }
}

void vmhi_link_act(vmhi_link *link, const char *uuid, vmhi_verb verb, uint64_t flags, vmhi_task *task,
                   vmh_error **error)
{
    look at = {.link = link, .uuid = uuid, .serial = vmhi_inventory_serial(link->inventory, uuid)};

    link->driver->act(link->remote, uuid, verb, flags, task, looked, &at, error);
    if (!at.newest)
        vmhi_link_look(link, uuid);
}

/* --- losing and re-making --- */

static void publish(vmhi_link *link, int32_t type, const char *reason)
{
    vmh_event *event = vmhi_event_new(type, NULL);

    event->reason = g_strdup(reason);
    vmhi_inventory_publish(link->inventory, event);
}

static gboolean retry_due(void *data);

/*
 * How long until the next attempt: each after twice the time of the one before it. An attempt that nobody answers
 * stays behind with its thread, for libvirt cannot be told to leave it: the more of them, the longer.
 */
static guint retry_delay(const vmhi_link *link)
{
    if (link->trying > 1)
        return RETRY_MOST_MS << MIN(link->trying - 1, 7);
    return MIN(RETRY_FIRST_MS << MIN(link->attempts, 7), RETRY_MOST_MS);
}

/* Called with the lock held. */
static void plan_retry_locked(vmhi_link *link)
{
    if (link->closed || link->connected || link->retry ||
        !vmhi_spec_bool_or_default(link->options, "open", "reconnect"))
        return;
    link->retry = vmhi_timer_new(retry_delay(link), retry_due, vmhi_link_ref(link), unref_link);
    link->attempts++;
}

static gboolean is_closed(vmhi_link *link)
{
    gboolean closed;

    g_mutex_lock(&link->lock);
    closed = link->closed;
    g_mutex_unlock(&link->lock);
    return closed;
}

static guint count_losses(vmhi_link *link)
{
    guint losses;

    g_mutex_lock(&link->lock);
    losses = link->losses;
    g_mutex_unlock(&link->lock);
    return losses;
}

/* The work of the job that tries; it may come back long after the job has ended, and then it counts as well. */
static void *try_again(void *data, G_GNUC_UNUSED vmh_job *job, vmh_error **error)
{
    vmhi_link *link = data;
    guint      losses = count_losses(link);
    gboolean   back = !is_closed(link) && link->driver->reopen(link->remote, error) && vmhi_link_list(link, error);

    g_mutex_lock(&link->lock);
    link->trying--;
    back = back && !link->connected && losses == link->losses; /* else it broke again meanwhile */
    if (back) {
        link->connected = TRUE;
        link->attempts = 0;
    }
    g_mutex_unlock(&link->lock);
    if (back) {
        publish(link, VMH_EVENT_HOST_BACK, NULL);
        vmhi_inventory_resync(link->inventory);
    }
    return NULL;
}

static void tried(void *data, vmh_job *job, G_GNUC_UNUSED int32_t event)
{
    vmhi_link *link = data;

    g_mutex_lock(&link->lock);
    if (job->error)
        plan_retry_locked(link);
    g_mutex_unlock(&link->lock);
}

static gboolean retry_due(void *data)
{
    vmhi_link    *link = data;
    vmhi_job_spec spec = {.verb = "host.reopen",
                          .work = try_again,
                          .data = vmhi_link_ref(link),
                          .free_data = unref_link,
                          .watch = tried};
    g_autoptr(vmh_job) job = vmhi_job_new(&spec);
    GSource *fired;

    g_mutex_lock(&link->lock);
    fired = g_steal_pointer(&link->retry);
    link->trying++;
    g_mutex_unlock(&link->lock);
    vmhi_job_run(job, NULL, vmhi_link_option_ms(link, "connect.timeout"));
    vmhi_timer_drop(fired);
    return G_SOURCE_REMOVE;
}

/* --- what a driver tells --- */

/* The next VM to look at, or NULL when there is none left and the thread ends. */
static char *next_doubt(vmhi_link *link)
{
    GHashTableIter iter;
    void          *uuid = NULL;

    g_mutex_lock(&link->lock);
    g_hash_table_iter_init(&iter, link->doubts);
    if (!link->closed && g_hash_table_iter_next(&iter, &uuid, NULL))
        g_hash_table_iter_steal(&iter);
    else
        g_clear_pointer(&link->doubts, g_hash_table_unref);
    g_mutex_unlock(&link->lock);
    return uuid;
}

/* After a moment, in which more events of the same VM may come that one look answers. */
static void settle_doubts(void *data)
{
    vmhi_link *link = data;
    char      *uuid;

    g_usleep(SETTLE_US);
    while ((uuid = next_doubt(link))) {
        vmhi_link_look(link, uuid);
        g_free(uuid);
    }
    vmhi_link_unref(link);
}

static void doubt(vmhi_link *link, const char *uuid)
{
    gboolean first;

    g_mutex_lock(&link->lock);
    first = !link->doubts;
    if (first)
        link->doubts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_hash_table_add(link->doubts, g_strdup(uuid));
    g_mutex_unlock(&link->lock);
    if (first)
        vmhi_thread_run(settle_doubts, vmhi_link_ref(link));
}

static void vm_seen(void *data, const vmhi_vm_info *info)
{
    vmhi_link *link = data;

    if (!vmhi_inventory_seen(link->inventory, info))
        doubt(link, info->uuid);
}

static void vm_gone(void *data, const char *uuid)
{
    vmhi_link *link = data;

    if (!vmhi_inventory_gone(link->inventory, uuid))
        doubt(link, uuid);
}

static void vm_changed(void *data, const char *uuid, const char *what)
{
    vmhi_inventory_changed(((vmhi_link *)data)->inventory, uuid, what);
}

static void list_again(void *data)
{
    vmhi_link *link = data;

    g_mutex_lock(&link->lock);
    link->listing = FALSE;
    g_mutex_unlock(&link->lock);
    if (!is_closed(link))
        vmhi_link_list(link, NULL);
    vmhi_link_unref(link);
}

static void missed(void *data)
{
    vmhi_link *link = data;
    gboolean   due;

    g_mutex_lock(&link->lock);
    due = !link->listing && !link->closed;
    link->listing |= due;
    g_mutex_unlock(&link->lock);
    if (due)
        vmhi_thread_run(list_again, vmhi_link_ref(link));
}

static void lost(void *data, const char *reason)
{
    vmhi_link *link = data;
    gboolean   news;

    g_mutex_lock(&link->lock);
    news = link->connected;
    link->connected = FALSE;
    link->losses++;
    plan_retry_locked(link);
    g_mutex_unlock(&link->lock);
    if (news)
        publish(link, VMH_EVENT_HOST_LOST, reason);
}

static const vmhi_sink sink = {
    .vm_seen = vm_seen,
    .vm_gone = vm_gone,
    .vm_changed = vm_changed,
    .missed = missed,
    .lost = lost,
};

/* --- opening and closing --- */

static vmhi_link *link_new(const vmhi_driver *driver, const char *uri, const vmh_spec *options)
{
    vmhi_link *link = g_new0(vmhi_link, 1);

    g_atomic_ref_count_init(&link->refs);
    link->driver = driver;
    link->uri = g_strdup(uri);
    link->in_process = driver->in_process(uri);
    link->options = options ? vmh_spec_dup(options) : NULL;
    link->inventory = vmhi_inventory_new();
    if (driver->tells_in_order)
        vmhi_inventory_trust_events(link->inventory);
    link->connected = TRUE;
    vmhi_sampling_init(&link->sampling);
    g_mutex_init(&link->lock);
    return link;
}

/* The work of the job that opens; its data is the link. */
static void *open_remote(void *data, G_GNUC_UNUSED vmh_job *job, vmh_error **error)
{
    vmhi_link *link = data;

    link->remote = link->driver->open(link->uri, link->options, &sink, link, error);
    if (link->remote && (is_closed(link) || !vmhi_link_list(link, error)))
        link->driver->quiet(link->remote);
    return NULL;
}

static vmh_job *open_job(vmhi_link *link)
{
    vmhi_job_spec spec = {
        .verb = "host.open", .work = open_remote, .data = vmhi_link_ref(link), .free_data = unref_link};

    return vmhi_job_new(&spec);
}

static void stop(vmhi_link *link)
{
    GSource *timer;

    g_mutex_lock(&link->lock);
    link->closed = TRUE;
    timer = g_steal_pointer(&link->retry);
    g_mutex_unlock(&link->lock);
    vmhi_timer_drop(timer);
}

vmhi_link *vmhi_link_open(const vmhi_driver *driver, const char *uri, const vmh_spec *options, vmh_error **error)
{
    vmhi_link *link = link_new(driver, uri, options);
    g_autoptr(vmh_job) job = open_job(link);
    g_autoptr(vmh_error) failure = NULL;
    guint timeout_ms = vmhi_link_option_ms(link, "connect.timeout");

    if (link->in_process)
        vmhi_job_run_here(job);
    else
        vmhi_job_run(job, NULL, timeout_ms);
    if (vmh_job_wait(job, -1, &failure) == 0)
        return link;
    if (vmh_error_code(failure) == VMH_ERR_TIMEOUT)
        vmhi_error_set(error, VMH_ERR_UNREACHABLE, "%s: no answer within %u ms (option connect.timeout)", uri,
                       timeout_ms);
    else
        vmhi_error_move(error, g_steal_pointer(&failure));
    stop(link);
    vmhi_link_unref(link);
    return NULL;
}

void vmhi_link_close(vmhi_link *link)
{
    stop(link);
    link->driver->quiet(link->remote);
}
