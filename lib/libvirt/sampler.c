/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What sampling keeps for a host: how its driver is best asked, which calls hang, and the names of devices. */
#include "libvirt/sampler.h"
#include "libvirt/domain.h"
#include "libvirt/xml.h"
#include "libvirt/xpath.h"
#include <string.h>

enum { SLOTS = 4, MAX_HANGING = 2, HANGING_MS = 300 };

/* We are told of VMs that come and go, by events and by our own verbs; where not, counting them finds it out. */
enum { TRUSTED_MS = 1000 };

struct vmhi_sampler {
    GMutex        lock;       /* never held during a libvirt call */
    virConnectPtr connection; /* only compared: of which one the following was learnt */
    unsigned      way;
    unsigned      proven;
    unsigned      lacks;
    int64_t       bulk_us[SLOTS]; /* when the bulk calls under way were begun; 0: free */
    GHashTable   *devices;        /* UUID -> known_devices */
    vmhi_roster  *roster;         /* for single calls; or NULL */
    int64_t       counted_us;     /* when the roster was last found to be of the right length */
    guint         changes;        /* how often a VM came or went, as far as we are told */
};

/* The devices of one run of a VM. */
typedef struct {
    unsigned   domain_id;
    GPtrArray *names;
} known_devices;

static void device_name_free(void *data)
{
    vmhi_device_name *name = data;

    g_free(name->target);
    g_free(name->id);
    g_free(name);
}

static void known_devices_free(void *data)
{
    known_devices *known = data;

    g_ptr_array_unref(known->names);
    g_free(known);
}

static vmhi_sampler *get_sampler(vmhi_driver_host *host)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&host->lock);
    vmhi_sampler                  *sampler = host->sampler;

    if (!sampler) {
        host->sampler = sampler = g_new0(vmhi_sampler, 1);
        g_mutex_init(&sampler->lock);
        sampler->devices = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_devices_free);
    }
    return sampler;
}

void vmhi_libvirt_sampler_free(void *data)
{
    vmhi_sampler *sampler = data;

    if (!sampler)
        return;
    g_hash_table_unref(sampler->devices);
    vmhi_roster_unref(sampler->roster);
    g_mutex_clear(&sampler->lock);
    g_free(sampler);
}

/* Under the lock. What is taken out may hold the last reference to a domain, and is freed without the lock. */
static vmhi_roster *take_roster(vmhi_sampler *sampler)
{
    return g_steal_pointer(&sampler->roster);
}

void vmhi_libvirt_sampler_forget(vmhi_driver_host *host, const char *uuid)
{
    vmhi_sampler *sampler;
    vmhi_roster  *roster;

    g_mutex_lock(&host->lock);
    sampler = host->sampler;
    g_mutex_unlock(&host->lock);
    if (!sampler)
        return;
    g_mutex_lock(&sampler->lock);
    g_hash_table_remove(sampler->devices, uuid);
    roster = take_roster(sampler);
    sampler->changes++;
    g_mutex_unlock(&sampler->lock);
    vmhi_roster_unref(roster);
}

gboolean vmhi_sampler_begin(vmhi_sampling_round *round, vmhi_driver_host *host, vmh_frame *frame, vmh_error **error)
{
    const vmhi_wanted *wanted = vmhi_frame_wanted(frame);
    vmhi_sampler      *sampler = get_sampler(host);
    vmhi_roster       *stale = NULL;

    *round = (vmhi_sampling_round){.host = host, .sampler = sampler, .frame = frame};
    round->connection = vmhi_libvirt_connection(host, error);
    if (!round->connection)
        return FALSE;
    round->by_disk = vmhi_wanted_any(wanted, VMHI_METRIC_DISK_READ_BYTES, VMHI_METRIC_DISK_ALLOCATION);
    round->by_nic = vmhi_wanted_any(wanted, VMHI_METRIC_NIC_RX_BYTES, VMHI_METRIC_NIC_TX_DROPS);
    g_mutex_lock(&sampler->lock);
    if (sampler->connection != round->connection) {
        sampler->connection = round->connection;
        sampler->way = VMHI_WAY_BULK_NOWAIT;
        sampler->proven = sampler->lacks = 0;
        g_hash_table_remove_all(sampler->devices);
        stale = take_roster(sampler);
    }
    round->way = sampler->way;
    round->proven = sampler->proven;
    round->lacks = sampler->lacks;
    g_mutex_unlock(&sampler->lock);
    vmhi_roster_unref(stale);
    return TRUE;
}

void vmhi_sampler_end(vmhi_sampling_round *round)
{
    vmhi_sampler *sampler = round->sampler;

    g_mutex_lock(&sampler->lock);
    if (sampler->connection == round->connection) {
        sampler->way = MAX(sampler->way, round->way);
        sampler->proven |= round->proven;
        sampler->lacks |= round->lacks;
    }
    /* VMs that are gone leave their names behind when no event told of it. */
    if (g_hash_table_size(sampler->devices) > 2 * vmh_frame_rows(round->frame) + 64)
        g_hash_table_remove_all(sampler->devices);
    g_mutex_unlock(&sampler->lock);
    virConnectClose(round->connection);
}

gboolean vmhi_sampler_call_missing(void)
{
    static const int codes[] = {VIR_ERR_NO_SUPPORT, VIR_ERR_INVALID_ARG, VIR_ERR_ARGUMENT_UNSUPPORTED,
                                VIR_ERR_OPERATION_UNSUPPORTED, VIR_ERR_CONFIG_UNSUPPORTED};
    int              code = virGetLastErrorCode();

    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++)
        if (codes[i] == code)
            return TRUE;
    return FALSE;
}

vmhi_texts *vmhi_texts_ref(vmhi_texts *texts)
{
    g_atomic_ref_count_inc(&texts->refs);
    return texts;
}

void vmhi_texts_unref(void *data)
{
    vmhi_texts *texts = data;

    if (g_atomic_ref_count_dec(&texts->refs))
        g_free(texts);
}

void vmhi_roster_unref(vmhi_roster *roster)
{
    if (!roster || !g_atomic_ref_count_dec(&roster->refs))
        return;
    for (guint i = 0; i < roster->count; i++)
        virDomainFree(roster->members[i].domain);
    vmhi_texts_unref(roster->texts);
    g_free(roster);
}

static vmhi_roster *roster_ref(vmhi_roster *roster)
{
    g_atomic_ref_count_inc(&roster->refs);
    return roster;
}

/* The texts are one piece, so that a frame needs one reference, and no copies. */
static vmhi_texts *new_texts(const virDomainPtr *domains, int count)
{
    gsize       size = 0;
    vmhi_texts *texts;

    for (int i = 0; i < count; i++)
        size += VIR_UUID_STRING_BUFLEN + strlen(virDomainGetName(domains[i])) + 1;
    texts = g_malloc(sizeof *texts + size);
    g_atomic_ref_count_init(&texts->refs);
    return texts;
}

static char *add_member(vmhi_roster *roster, virDomainPtr domain, char *texts)
{
    char *name = texts + VIR_UUID_STRING_BUFLEN;

    vmhi_libvirt_uuid(domain, texts);
    strcpy(name, virDomainGetName(domain));
    roster->members[roster->count++] = (vmhi_member){domain, texts, name};
    return name + strlen(name) + 1;
}

static vmhi_roster *list_members(virConnectPtr connection, vmh_error **error)
{
    virDomainPtr *domains = NULL;
    int           count = virConnectListAllDomains(connection, &domains, 0);
    vmhi_roster  *roster;
    char         *texts;

    if (count < 0) {
        vmhi_libvirt_error(error, NULL, "listing the VMs");
        return NULL;
    }
    roster = g_malloc0(sizeof *roster + (gsize)count * sizeof roster->members[0]);
    g_atomic_ref_count_init(&roster->refs);
    roster->texts = new_texts(domains, count);
    texts = roster->texts->bytes;
    for (int i = 0; i < count; i++)
        texts = add_member(roster, domains[i], texts);
    free(domains);
    return roster;
}

/* What is kept, or NULL when there is none or it is not true any more. */
static vmhi_roster *kept_roster(vmhi_sampling_round *round)
{
    vmhi_sampler *sampler = round->sampler;
    int64_t       now = g_get_monotonic_time();
    vmhi_roster  *roster;
    gboolean      trusted;
    int           running, stopped;

    g_mutex_lock(&sampler->lock);
    roster = sampler->roster ? roster_ref(sampler->roster) : NULL;
    trusted = now - sampler->counted_us < TRUSTED_MS * 1000;
    g_mutex_unlock(&sampler->lock);
    if (!roster || trusted)
        return roster;
    running = virConnectNumOfDomains(round->connection);
    stopped = running < 0 ? -1 : virConnectNumOfDefinedDomains(round->connection);
    if (stopped >= 0 && roster->count == (guint)running + (guint)stopped) {
        g_mutex_lock(&sampler->lock);
        sampler->counted_us = now;
        g_mutex_unlock(&sampler->lock);
        return roster;
    }
    vmhi_roster_unref(roster);
    return NULL;
}

/* What was listed while something changed is of use now, but is counted before it is used again. */
static void keep_roster(vmhi_sampler *sampler, vmhi_roster *roster, guint changes)
{
    vmhi_roster *old;

    g_mutex_lock(&sampler->lock);
    old = take_roster(sampler);
    sampler->roster = roster_ref(roster);
    sampler->counted_us = changes == sampler->changes ? g_get_monotonic_time() : 0;
    g_mutex_unlock(&sampler->lock);
    vmhi_roster_unref(old);
}

vmhi_roster *vmhi_sampler_roster(vmhi_sampling_round *round, gboolean again, gboolean *listed, vmh_error **error)
{
    vmhi_sampler *sampler = round->sampler;
    vmhi_roster  *roster = again ? NULL : kept_roster(round);
    guint         changes;

    *listed = !roster;
    if (roster)
        return roster;
    g_mutex_lock(&sampler->lock);
    changes = sampler->changes;
    g_mutex_unlock(&sampler->lock);
    roster = list_members(round->connection, error);
    if (roster)
        keep_roster(sampler, roster, changes);
    return roster;
}

int vmhi_sampler_enter(vmhi_sampling_round *round)
{
    vmhi_sampler                  *sampler = round->sampler;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&sampler->lock);
    int64_t                        now = g_get_monotonic_time();
    int                            hanging = 0;
    int                            free_slot = -1;

    for (int i = 0; i < SLOTS; i++) {
        if (!sampler->bulk_us[i])
            free_slot = i;
        else if (now - sampler->bulk_us[i] > HANGING_MS * 1000)
            hanging++;
    }
    if (hanging >= MAX_HANGING || free_slot < 0)
        return -1;
    sampler->bulk_us[free_slot] = now;
    return free_slot;
}

void vmhi_sampler_leave(vmhi_sampling_round *round, int slot)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&round->sampler->lock);

    round->sampler->bulk_us[slot] = 0;
}

static void add_names(GPtrArray *names, xmlDoc *doc, gboolean is_nic)
{
    g_autoptr(GPtrArray) nodes = vmhi_xpath_nodes(doc, is_nic ? "/domain/devices/interface" : "/domain/devices/disk");

    for (guint i = 0; i < nodes->len; i++) {
        char             *target = vmhi_xml_get(nodes->pdata[i], "target@dev");
        vmhi_device_name *name;
        if (!target)
            continue;
        name = g_new0(vmhi_device_name, 1);
        name->is_nic = is_nic;
        name->target = target;
        name->id = vmhi_domain_device_id(nodes->pdata[i]);
        g_ptr_array_add(names, name);
    }
}

static GPtrArray *load_names(virDomainPtr domain)
{
    GPtrArray       *names = g_ptr_array_new_with_free_func(device_name_free);
    g_autofree char *xml = virDomainGetXMLDesc(domain, 0);
    g_autoptr(xmlDoc) doc = xml ? vmhi_xpath_read(xml) : NULL;

    if (doc) {
        add_names(names, doc, FALSE);
        add_names(names, doc, TRUE);
    }
    return names;
}

static GPtrArray *known_names(vmhi_sampler *sampler, const char *uuid, unsigned domain_id)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&sampler->lock);
    known_devices                 *known = g_hash_table_lookup(sampler->devices, uuid);

    return known && known->domain_id == domain_id ? g_ptr_array_ref(known->names) : NULL;
}

static void keep_names(vmhi_sampler *sampler, const char *uuid, unsigned domain_id, GPtrArray *names)
{
    known_devices *known = g_new(known_devices, 1);

    *known = (known_devices){.domain_id = domain_id, .names = g_ptr_array_ref(names)};
    g_mutex_lock(&sampler->lock);
    g_hash_table_replace(sampler->devices, g_strdup(uuid), known);
    g_mutex_unlock(&sampler->lock);
}

GPtrArray *vmhi_sampler_devices(vmhi_sampling_round *round, virDomainPtr domain, const char *uuid, unsigned domain_id)
{
    GPtrArray *names = known_names(round->sampler, uuid, domain_id);

    if (!names) {
        names = load_names(domain);
        keep_names(round->sampler, uuid, domain_id, names);
    }
    return names;
}

void vmhi_sampler_forget_devices(vmhi_sampling_round *round, const char *uuid)
{
    g_mutex_lock(&round->sampler->lock);
    g_hash_table_remove(round->sampler->devices, uuid);
    g_mutex_unlock(&round->sampler->lock);
}

static const char *find_id(const GPtrArray *names, const char *target)
{
    for (guint i = 0; i < names->len; i++) {
        const vmhi_device_name *name = names->pdata[i];
        if (strcmp(name->target, target) == 0)
            return name->id;
    }
    return NULL;
}

/* Arrays that are kept are shared and never changed: what a target lacks is added to a new one. */
static GPtrArray *load_with(virDomainPtr domain, const char *target)
{
    GPtrArray *names = load_names(domain);

    if (!find_id(names, target)) {
        vmhi_device_name *name = g_new0(vmhi_device_name, 1);
        name->target = g_strdup(target);
        name->id = g_strdup(target);
        g_ptr_array_add(names, name);
    }
    return names;
}

char *vmhi_sampler_device_id(vmhi_sampling_round *round, virDomainPtr domain, const char *uuid, unsigned domain_id,
                             const char *target)
{
    g_autoptr(GPtrArray) names = vmhi_sampler_devices(round, domain, uuid, domain_id);
    g_autoptr(GPtrArray) newer = NULL;
    const char *id = find_id(names, target);

    if (!id) {
        newer = load_with(domain, target);
        keep_names(round->sampler, uuid, domain_id, newer);
        id = find_id(newer, target);
    }
    return g_strdup(id);
}
