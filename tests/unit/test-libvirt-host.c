/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The libvirt driver on libvirt's test hypervisor: what it tells, what its verbs say, and when it is silent. */
#include "libvirt/common.h"
#include "libvirt/voice.h"
#include "libvirt/watch.h"
#include "unit.h"

#include <dlfcn.h>

#define PATIENCE_US (20 * G_USEC_PER_SEC)
#define URI "test:///default"
#define GUEST(name, uuid)                                                                                            \
    "<domain type='test'><name>" name "</name><uuid>" uuid "</uuid><memory>65536</memory><os><type>hvm</type></os>"  \
    "</domain>"
#define UUID "11111111-2222-3333-4444-555555555555"

/* What the driver told, a line each. */
static struct {
    GMutex            lock;
    GCond             changed;
    GString          *text;
    int               calls;
    vmhi_driver_host *quiet; /* to be made quiet by the next call, from within it */
} told;

static void hear(const char *format, ...) G_GNUC_PRINTF(1, 2);

static void hear(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_mutex_lock(&told.lock);
    if (!told.text)
        told.text = g_string_new(NULL);
    g_string_append_vprintf(told.text, format, arguments);
    told.calls++;
    g_cond_broadcast(&told.changed);
    g_mutex_unlock(&told.lock);
    va_end(arguments);
    if (told.quiet)
        vmhi_libvirt_quiet(g_steal_pointer(&told.quiet));
}

/* What happens between the failure of a verb and the look at why: NULL, or libvirt's call that changes the state. */
static int (*meanwhile)(virDomainPtr domain);

/* Stands before libvirt's own. */
int virDomainGetState(virDomainPtr domain, int *state, int *reason, unsigned int flags)
{
    int (*own)(virDomainPtr, int *, int *, unsigned int) = dlsym(RTLD_NEXT, "virDomainGetState");
    int (*change)(virDomainPtr) = g_steal_pointer(&meanwhile);

    if (change)
        ck_assert_int_eq(change(domain), 0);
    return own(domain, state, reason, flags);
}

static void vm_seen(void *data, const vmhi_vm_info *info)
{
    ck_assert_str_eq(data, "data");
    hear("seen %s %s %s%s\n", info->name, vmh_vm_state_name(info->state), info->reason ? info->reason : "-",
         info->persistent ? "" : " transient");
}

static void vm_gone(void *data, const char *uuid)
{
    (void)data;
    hear("gone %s\n", uuid);
}

static void vm_changed(void *data, const char *uuid, const char *what)
{
    (void)data;
    hear("changed %s %s\n", uuid, what);
}

static void missed(void *data)
{
    (void)data;
    hear("missed\n");
}

static void lost(void *data, const char *reason)
{
    (void)data;
    hear("lost %s\n", reason);
}

static const vmhi_sink sink = {vm_seen, vm_gone, vm_changed, missed, lost};

static void assert_told(const char *expected)
{
    gint64   end = g_get_monotonic_time() + PATIENCE_US;
    gboolean waits = TRUE;

    g_mutex_lock(&told.lock);
    while (waits && (!told.text || told.text->len < strlen(expected)))
        waits = g_cond_wait_until(&told.changed, &told.lock, end);
    ck_assert_str_eq(told.text ? told.text->str : "", expected);
    g_string_truncate(told.text, 0);
    g_mutex_unlock(&told.lock);
}

static vmhi_driver_host *open_host(void)
{
    g_autoptr(vmh_error) error = NULL;
    vmhi_driver_host *host = vmhi_libvirt_open(URI, NULL, &sink, (void *)"data", &error);

    assert_no_error(error);
    return host;
}

static void collect(void *text, const vmhi_vm_info *info)
{
    g_string_append_printf(text, "%s %s%s\n", info->name, vmh_vm_state_name(info->state),
                           info->persistent ? "" : " transient");
}

static void assert_list(vmhi_driver_host *host, const char *expected)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(vmh_error) error = NULL;

    vmhi_libvirt_list(host, collect, text, &error);
    assert_no_error(error);
    ck_assert_str_eq(text->str, expected);
}

static char *uuid_of_test(vmhi_driver_host *host)
{
    virConnectPtr connection = vmhi_libvirt_connection(host, NULL);
    virDomainPtr  domain = virDomainLookupByName(connection, "test");
    char         *uuid = g_malloc(VIR_UUID_STRING_BUFLEN);

    virDomainGetUUIDString(domain, uuid);
    virDomainFree(domain);
    virConnectClose(connection);
    return uuid;
}

static void keep_state(void *state, const vmhi_vm_info *info)
{
    *(int32_t *)state = info->state;
}

static gboolean try_act(vmhi_driver_host *host, const char *uuid, vmhi_verb verb, uint64_t flags, vmh_error **error)
{
    int32_t told = -1, found = -1;

    if (!vmhi_libvirt_act(host, uuid, verb, flags, NULL, keep_state, &told, error))
        return FALSE;
    /* Where a verb tells what it led to, a look finds the same. */
    if (told != -1 && vmhi_libvirt_look(host, uuid, keep_state, &found, NULL))
        ck_assert_int_eq(told, found);
    return TRUE;
}

static void act(vmhi_driver_host *host, const char *uuid, vmhi_verb verb)
{
    g_autoptr(vmh_error) error = NULL;

    try_act(host, uuid, verb, 0, &error);
    assert_no_error(error);
}

START_TEST(each_verb_is_told_with_its_reason)
{
    vmhi_driver_host *host = open_host();
    g_autofree char  *uuid = uuid_of_test(host);
    g_autofree char  *gone = g_strdup_printf("gone %s\n", uuid);

    assert_list(host, "test running\n");
    act(host, uuid, VMHI_PAUSE);
    assert_told("seen test paused paused\n");
    act(host, uuid, VMHI_RESUME);
    assert_told("seen test running resumed\n");
    act(host, uuid, VMHI_STOP);
    assert_told("seen test stopped stopped\n");
    assert_list(host, "test stopped\n");
    act(host, uuid, VMHI_START);
    assert_told("seen test running booted\n");
    act(host, uuid, VMHI_SHUTDOWN);
    assert_told("seen test stopped shut down\n");
    act(host, uuid, VMHI_DELETE);
    assert_told(gone);
    assert_list(host, "");
    vmhi_libvirt_close(host);
}
END_TEST

START_TEST(a_transient_vm_vanishes_when_it_stops)
{
    vmhi_driver_host *host = open_host();
    virConnectPtr     connection = vmhi_libvirt_connection(host, NULL);
    virDomainPtr      domain;

    assert_list(host, "test running\n");
    domain = virDomainCreateXML(connection, GUEST("brief", UUID), 0);
    assert_told("seen brief running booted transient\n");
    act(host, UUID, VMHI_STOP);
    assert_told("gone " UUID "\n");
    virDomainFree(domain);

    /* One that is defined while it runs stays; one that is undefined while it runs goes with its stop. */
    virDomainFree(virDomainCreateXML(connection, GUEST("brief", UUID), 0));
    assert_told("seen brief running booted transient\n");
    domain = virDomainDefineXML(connection, GUEST("brief", UUID));
    assert_told("seen brief running defined\n");
    virDomainUndefine(domain);
    assert_told("seen brief running - transient\n");
    act(host, UUID, VMHI_STOP);
    assert_told("gone " UUID "\n");
    virDomainFree(domain);
    virConnectClose(connection);
    vmhi_libvirt_close(host);
}
END_TEST

START_TEST(a_renamed_vm_is_told_by_its_new_name)
{
    vmhi_driver_host *host = open_host();
    virConnectPtr     connection = vmhi_libvirt_connection(host, NULL);
    virDomainPtr      domain;

    assert_list(host, "test running\n");
    domain = virDomainDefineXML(connection, GUEST("first", UUID));
    assert_told("seen first stopped defined\n");
    ck_assert_int_eq(virDomainRename(domain, "second", 0), 0);
    assert_told("seen second stopped -\n");
    act(host, UUID, VMHI_DELETE);
    assert_told("gone " UUID "\n");
    virDomainFree(domain);
    virConnectClose(connection);
    vmhi_libvirt_close(host);
}
END_TEST

START_TEST(a_verb_in_the_wrong_state_names_the_state)
{
    static const struct {
        vmhi_verb   verb;
        uint64_t    flags;
        gboolean    running;
        const char *message; /* NULL: there is nothing to do, which is no error */
    } cases[] = {
        {VMHI_START, 0, TRUE, "\"test\" is running; starting needs a stopped VM"},
        {VMHI_RESUME, 0, TRUE, NULL},
        {VMHI_DELETE, 0, TRUE, "\"test\" is running; deleting needs a stopped VM, or the flag VMH_DELETE_FORCE"},
        {VMHI_PAUSE, 0, FALSE, "\"test\" is stopped; pausing needs a running VM"},
        {VMHI_RESUME, 0, FALSE, "\"test\" is stopped; resuming needs a paused VM"},
        {VMHI_SHUTDOWN, 0, FALSE, "\"test\" is stopped; shutting down needs a running VM"},
        {VMHI_REBOOT, 0, FALSE, "\"test\" is stopped; rebooting needs a running VM"},
        {VMHI_RESET, 0, FALSE, "\"test\" is stopped; resetting needs a running VM"},
        {VMHI_STOP, 0, FALSE, "\"test\" is stopped; stopping needs a running VM"},
    };
    vmhi_driver_host *host = open_host();
    g_autofree char  *uuid = uuid_of_test(host);
    gboolean          running = TRUE;

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        vmh_error *error = NULL;
        if (running && !cases[i].running)
            act(host, uuid, VMHI_STOP);
        running = cases[i].running;
        ck_assert_int_eq(try_act(host, uuid, cases[i].verb, cases[i].flags, &error), !cases[i].message);
        if (cases[i].message) {
            ck_assert_str_eq(vmh_error_message(error), cases[i].message);
            assert_error(error, VMH_ERR_STATE, cases[i].message);
        }
    }
    vmhi_libvirt_close(host);
}
END_TEST

START_TEST(a_refusal_stays_one_when_the_state_changes_again)
{
    static const struct {
        vmhi_verb   verb;
        gboolean    running; /* when it is asked */
        const char *message;
    } cases[] = {
        {VMHI_START, TRUE, "starting VM \"test\": "},
        {VMHI_DELETE, TRUE, "deleting VM \"test\" needs a stopped VM, or the flag VMH_DELETE_FORCE"},
        {VMHI_PAUSE, FALSE, "pausing VM \"test\": "},
        {VMHI_SHUTDOWN, FALSE, "shutting down VM \"test\": "},
        {VMHI_REBOOT, FALSE, "rebooting VM \"test\": "},
        {VMHI_RESET, FALSE, "resetting VM \"test\": "},
        {VMHI_STOP, FALSE, "stopping VM \"test\": "},
    };
    vmhi_driver_host *host = open_host();
    g_autofree char  *uuid = uuid_of_test(host);
    gboolean          running = TRUE;

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        vmh_error *error = NULL;
        if (running != cases[i].running)
            act(host, uuid, running ? VMHI_STOP : VMHI_START);
        meanwhile = cases[i].running ? virDomainDestroy : virDomainCreate;
        ck_assert(!try_act(host, uuid, cases[i].verb, 0, &error));
        assert_error(error, VMH_ERR_STATE, cases[i].message);
        running = !cases[i].running;
    }
    vmhi_libvirt_close(host);
}
END_TEST

START_TEST(what_this_host_cannot_do_is_unsupported)
{
    vmhi_driver_host *host = open_host();
    g_autofree char  *uuid = uuid_of_test(host);
    vmh_error        *error = NULL;

    ck_assert_int_eq(vmhi_libvirt_console(host, uuid, NULL, 0, &error), -1);
    assert_error(error, VMH_ERR_UNSUPPORTED, "opening a console of VM \"test\"");
    act(host, uuid, VMHI_STOP);
    ck_assert(!try_act(host, uuid, VMHI_START, VMH_START_PAUSED, &error));
    assert_error(error, VMH_ERR_UNSUPPORTED, "paused");
    vmhi_libvirt_close(host);
}
END_TEST

START_TEST(delete_with_force_stops_first)
{
    vmhi_driver_host *host = open_host();
    g_autofree char  *uuid = uuid_of_test(host);
    vmh_error        *error = NULL;

    ck_assert(try_act(host, uuid, VMHI_DELETE, VMH_DELETE_FORCE, &error));
    assert_list(host, "");
    ck_assert(!try_act(host, uuid, VMHI_STOP, 0, &error));
    assert_error(error, VMH_ERR_NOT_FOUND, uuid);
    ck_assert(!vmhi_libvirt_look(host, uuid, collect, NULL, &error));
    assert_error(error, VMH_ERR_NOT_FOUND, uuid);
    vmhi_libvirt_close(host);
}
END_TEST

START_TEST(after_quiet_nothing_is_told)
{
    vmhi_driver_host *listener = open_host(), *host = open_host();
    g_autofree char  *uuid = uuid_of_test(host);

    assert_list(listener, "test running\n");
    assert_list(host, "test running\n");
    vmhi_libvirt_quiet(host);
    vmhi_libvirt_quiet(host);
    act(host, uuid, VMHI_PAUSE);
    assert_told("seen test paused paused\n"); /* once, by the listener */
    act(host, uuid, VMHI_STOP);
    assert_told("seen test stopped stopped\n");
    vmhi_libvirt_close(host);
    vmhi_libvirt_close(listener);
}
END_TEST

START_TEST(the_sink_may_make_its_own_host_quiet)
{
    vmhi_driver_host *host = open_host();
    g_autofree char  *uuid = uuid_of_test(host);

    assert_list(host, "test running\n");
    told.quiet = host;
    act(host, uuid, VMHI_PAUSE);
    assert_told("seen test paused paused\n");
    act(host, uuid, VMHI_RESUME);
    vmhi_libvirt_close(host);
    ck_assert_int_eq(told.calls, 1);
}
END_TEST

/* Events under way on the loop meet hosts that are being closed. */
START_TEST(hosts_come_and_go_among_events)
{
    vmhi_driver_host *driver = open_host();
    g_autofree char  *uuid = uuid_of_test(driver);

    for (int i = 0; i < 200; i++) {
        vmhi_driver_host *host = open_host();
        act(driver, uuid, i % 2 ? VMHI_RESUME : VMHI_PAUSE);
        vmhi_libvirt_close(host);
    }
    vmhi_libvirt_close(driver);
}
END_TEST

START_TEST(a_number_that_was_cut_leads_nowhere)
{
    vmhi_driver_host *host = open_host();
    gpointer          first = vmhi_voice_open(host->voice), second;
    vmhi_voice       *voice = vmhi_voice_enter(first);

    ck_assert_ptr_eq(vmhi_voice_host(voice), host);
    vmhi_voice_leave(voice);
    second = vmhi_voice_open(host->voice);
    ck_assert_ptr_null(vmhi_voice_enter(first));
    vmhi_libvirt_quiet(host);
    ck_assert_ptr_null(vmhi_voice_enter(second));
    ck_assert_ptr_null(vmhi_voice_enter(vmhi_voice_open(host->voice)));
    vmhi_libvirt_close(host);
    ck_assert_ptr_null(vmhi_voice_enter(second));
}
END_TEST

START_TEST(a_list_does_not_overrule_newer_events)
{
    vmhi_watch  *watch = vmhi_watch_new();
    vmhi_vm_info stopped = {.uuid = "a", .name = "a", .state = VMH_VM_STOPPED, .persistent = TRUE};
    vmhi_vm_info other = {.uuid = "b", .name = "b", .state = VMH_VM_RUNNING, .persistent = TRUE};
    guint64      serial;

    vmhi_watch_listed(watch, watch->serial, &stopped);
    vmhi_watch_listed(watch, watch->serial, &other);
    ck_assert(vmhi_watch_list_end(watch, watch->serial));

    serial = watch->serial;
    vmhi_watch_hear(watch, "a")->state = VMH_VM_RUNNING;
    vmhi_watch_hear(watch, "c")->persistent = TRUE;
    vmhi_watch_listed(watch, serial, &stopped);
    ck_assert(vmhi_watch_list_end(watch, serial));
    ck_assert_int_eq(vmhi_watch_find(watch, "a")->state, VMH_VM_RUNNING);
    ck_assert_msg(vmhi_watch_find(watch, "c"), "it came while the list was made");
    ck_assert_msg(!vmhi_watch_find(watch, "b"), "it was not on the list");
    vmhi_watch_free(watch);
}
END_TEST

START_TEST(an_event_before_the_first_list_asks_for_another)
{
    vmhi_watch *watch = vmhi_watch_new();

    vmhi_watch_hear(watch, "a")->state = VMH_VM_STOPPED;
    ck_assert(!vmhi_watch_list_end(watch, 0));
    ck_assert(vmhi_watch_list_end(watch, watch->serial));
    vmhi_watch_reset(watch);
    ck_assert(vmhi_watch_list_end(watch, watch->serial));
    vmhi_watch_free(watch);
}
END_TEST

UNIT_RUN("libvirt-host", each_verb_is_told_with_its_reason, a_transient_vm_vanishes_when_it_stops,
         a_renamed_vm_is_told_by_its_new_name, a_verb_in_the_wrong_state_names_the_state,
         a_refusal_stays_one_when_the_state_changes_again, what_this_host_cannot_do_is_unsupported,
         delete_with_force_stops_first, after_quiet_nothing_is_told, the_sink_may_make_its_own_host_quiet,
         hosts_come_and_go_among_events, a_number_that_was_cut_leads_nowhere, a_list_does_not_overrule_newer_events,
         an_event_before_the_first_list_asks_for_another)
