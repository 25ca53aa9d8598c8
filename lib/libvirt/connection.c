/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection's life: opened, watched, lost once, made again, closed; and the domains that it has handed out. */
#include "libvirt/common.h"
#include "libvirt/pulse.h"
#include "libvirt/voice.h"
#include "libvirt/watch.h"
#include "libvirt/xml.h"
#include "model/thread.h"

#include <string.h>

/* All that belongs to one connection and goes with it. */
typedef struct {
    virConnectPtr connection;
    GHashTable   *domains;
    GArray       *callbacks;
    GCancellable *over;
} session;

/* --- logging in --- */

typedef struct {
    const vmh_spec *options;
    const char     *missing; /* the option that the host asked for and that was not given */
    gboolean        answered;
} login;

/* Never asks anybody: what the options do not say is refused. */
static int answer(virConnectCredentialPtr credentials, unsigned int count, void *data)
{
    login *l = data;

    for (unsigned int i = 0; i < count; i++) {
        gboolean secret = credentials[i].type == VIR_CRED_PASSPHRASE || credentials[i].type == VIR_CRED_NOECHOPROMPT;
        const char *option = secret ? "auth.password" : "auth.user";
        const char *value = l->options ? vmhi_spec_str(l->options, option) : NULL;

        if (!value)
            value = credentials[i].defresult;
        if (!value) {
            l->missing = option;
            return -1;
        }
        credentials[i].result = strdup(value);
        credentials[i].resultlen = strlen(value);
    }
    l->answered = TRUE;
    return 0;
}

/* What an open says of itself: a URI nobody serves is the caller's mistake, all else is a host out of reach. */
static int32_t open_code(const virError *error)
{
    switch (vmhi_libvirt_code(error)) {
    case VMH_ERR_VALUE:
    case VMH_ERR_UNSUPPORTED:
        return VMH_ERR_ARGUMENT;
    case VMH_ERR_PERMISSION:
        return VMH_ERR_PERMISSION;
    case VMH_ERR_RESOURCE:
        return VMH_ERR_RESOURCE;
    default:
        return VMH_ERR_UNREACHABLE;
    }
}

static void set_open_error(const char *uri, const login *l, vmh_error **error)
{
    g_autofree char *excerpt = vmhi_excerpt(uri);
    virErrorPtr      last = virGetLastError();

    if (l->missing)
        vmhi_error_set_native(error, VMH_ERR_PERMISSION, VMHI_LIBVIRT, last ? last->code : 0, l->missing,
                              "opening \"%s\": the host asks who we are; give the option %s", excerpt, l->missing);
    else if (l->answered && last &&
             last->code == VIR_ERR_AUTH_FAILED) /* it does not say which of the two was wrong */
        vmhi_error_set_native(error, VMH_ERR_PERMISSION, VMHI_LIBVIRT, last->code, NULL,
                              "opening \"%s\": the host refused the user name or the password: %s", excerpt,
                              last->message);
    else if (!last)
        vmhi_error_set_native(error, VMH_ERR_UNREACHABLE, VMHI_LIBVIRT, 0, NULL,
                              "opening \"%s\": libvirt failed and gave no reason", excerpt);
    else
        vmhi_error_set_native(error, open_code(last), VMHI_LIBVIRT, last->code, NULL, "opening \"%s\": %s", excerpt,
                              last->message);
}

static virConnectPtr dial(const char *uri, const vmh_spec *options, vmh_error **error)
{
    static int       types[] = {VIR_CRED_USERNAME, VIR_CRED_AUTHNAME, VIR_CRED_PASSPHRASE, VIR_CRED_NOECHOPROMPT};
    login            l = {.options = options};
    virConnectAuth   auth = {.credtype = types, .ncredtype = G_N_ELEMENTS(types), .cb = answer, .cbdata = &l};
    g_autofree char *checked = vmhi_libvirt_uri(uri, error);
    unsigned int     flags = vmhi_spec_bool_or_default(options, "open", "readonly") ? VIR_CONNECT_RO : 0;
    virConnectPtr    connection;

    if (!checked)
        return NULL;
    connection = virConnectOpenAuth(checked, &auth, flags);
    if (!connection)
        set_open_error(uri, &l, error);
    return connection;
}

/* --- giving a connection up --- */

static void on_close(virConnectPtr connection, int reason, void *number);

/* May hang where the peer is silent. libvirt frees a connection only when no callback is registered any more. */
static void dispose(void *data)
{
    session *s = data;

    g_cancellable_cancel(s->over);
    for (guint i = 0; i < s->callbacks->len; i++)
        virConnectDomainEventDeregisterAny(s->connection, g_array_index(s->callbacks, int, i));
    virConnectUnregisterCloseCallback(s->connection, on_close);
    g_hash_table_unref(s->domains);
    virConnectClose(s->connection);
    g_array_unref(s->callbacks);
    g_object_unref(s->over);
    g_free(s);
}

static void domain_free(void *domain)
{
    virDomainFree(domain);
}

static session *session_new(virConnectPtr connection)
{
    session *s = g_new0(session, 1);

    s->connection = connection;
    s->domains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, domain_free);
    s->callbacks = g_array_new(FALSE, FALSE, sizeof(int));
    s->over = g_cancellable_new();
    return s;
}

/* Takes the connection out of the host. NULL: there was none. */
static session *detach(vmhi_driver_host *host)
{
    session *s = NULL;

    g_mutex_lock(&host->lock);
    if (host->connection) {
        s = g_new0(session, 1);
        s->connection = g_steal_pointer(&host->connection);
        s->domains = g_steal_pointer(&host->domains);
        s->callbacks = g_steal_pointer(&host->callbacks);
        s->over = g_steal_pointer(&host->over);
    }
    g_mutex_unlock(&host->lock);
    return s;
}

static gboolean is_connected(vmhi_driver_host *host)
{
    gboolean connected;

    g_mutex_lock(&host->lock);
    connected = host->connection != NULL;
    g_mutex_unlock(&host->lock);
    return connected;
}

/* Several may notice at the same time; the first one tells, for it cuts the number that the others carry. */
static void lose(gpointer number, const char *reason)
{
    vmhi_voice       *voice = vmhi_voice_enter(number);
    vmhi_driver_host *host;
    session          *s;

    if (!voice)
        return;
    host = vmhi_voice_host(voice);
    vmhi_voice_cut(voice);
    s = detach(host);
    if (s) {
        g_cancellable_cancel(s->over);
        host->sink->lost(host->sink_data, reason);
        vmhi_thread_run(dispose, s);
    }
    vmhi_voice_leave(voice);
}

/* --- noticing that it broke --- */

static void on_close(virConnectPtr connection, int reason, void *number)
{
    static const char *const reasons[] = {
        [VIR_CONNECT_CLOSE_REASON_ERROR] = "the connection failed",
        [VIR_CONNECT_CLOSE_REASON_EOF] = "the host closed the connection",
        [VIR_CONNECT_CLOSE_REASON_KEEPALIVE] = "the host has stopped answering",
        [VIR_CONNECT_CLOSE_REASON_CLIENT] = "the connection was closed",
    };

    (void)connection;
    lose(number, reason >= 0 && reason < (int)G_N_ELEMENTS(reasons) ? reasons[reason] : reasons[0]);
}

/* Is the connection with this number given up, or does libvirt know by now that it is dead? Asks nobody. */
static gboolean is_dead(gpointer number)
{
    vmhi_voice       *voice = vmhi_voice_enter(number);
    vmhi_driver_host *host;
    virConnectPtr     connection;
    gboolean          dead;

    if (!voice)
        return TRUE;
    host = vmhi_voice_host(voice);
    g_mutex_lock(&host->lock);
    connection = host->connection;
    if (connection)
        virConnectRef(connection);
    g_mutex_unlock(&host->lock);
    vmhi_voice_leave(voice);
    dead = connection && virConnectIsAlive(connection) == 0;
    if (connection)
        virConnectClose(connection);
    return dead;
}

/* Of the connection whose call failed last on this thread: libvirt's error does not say which one it was. */
static GPrivate failed;

/* The connection's error handler, which libvirt calls on the thread of the call that failed, before that returns. */
static void on_error(void *number, virErrorPtr error)
{
    (void)error;
    g_private_set(&failed, number);
}

gboolean vmhi_libvirt_broke(const char *reason)
{
    gpointer number = g_private_get(&failed);

    if (!number || !is_dead(number))
        return FALSE;
    lose(number, reason);
    return TRUE;
}

/* --- opening --- */

static void keep_alive(vmhi_driver_host *host, virConnectPtr connection)
{
    guint64 interval = vmhi_spec_u64_or_default(host->options, "open", "keepalive.interval") / 1000;
    guint64 count = vmhi_spec_u64_or_default(host->options, "open", "keepalive.count");

    virConnectSetKeepAlive(connection, MAX(interval, 1), count); /* A driver within this process has none. */
}

/* From the first event on, whatever happens is told; the connection may break before it is even the host's. */
static gboolean install(vmhi_driver_host *host, gpointer number, session *s)
{
    vmhi_voice *voice = vmhi_voice_enter(number);

    if (!voice)
        return FALSE;
    g_mutex_lock(&host->lock);
    host->connection = s->connection;
    host->domains = s->domains;
    host->callbacks = s->callbacks;
    host->over = s->over;
    g_mutex_unlock(&host->lock);
    vmhi_voice_leave(voice);
    g_free(s);
    return TRUE;
}

/* Silences this connection, if it is still its time. */
static void cut(gpointer number)
{
    vmhi_voice *voice = vmhi_voice_enter(number);

    if (!voice)
        return;
    vmhi_voice_cut(voice);
    vmhi_voice_leave(voice);
}

/* The number for a new connection's callbacks; NULL: another attempt has brought one, and this one is too late. */
static gpointer begin_session(vmhi_driver_host *host)
{
    gpointer number = NULL;

    vmhi_voice_lock(host->voice);
    if (!is_connected(host)) {
        vmhi_watch_reset(host->watch);
        number = vmhi_voice_open(host->voice);
    }
    vmhi_voice_leave(host->voice);
    return number;
}

static gboolean connect_host(vmhi_driver_host *host, vmh_error **error)
{
    virConnectPtr connection = dial(host->uri, host->options, error);
    gpointer      number;
    session      *s;

    if (!connection)
        return FALSE;
    s = session_new(connection);
    number = begin_session(host);
    if (!number) {
        vmhi_thread_run(dispose, s);
        return TRUE;
    }
    virConnSetErrorFunc(connection, number, on_error);
    virConnectRegisterCloseCallback(connection, on_close, number, NULL);
    keep_alive(host, connection);
    if (vmhi_libvirt_events_start(connection, s->callbacks, number, error)) {
        if (install(host, number, s))
            return TRUE;
        vmhi_error_set(error, VMH_ERR_LOST, "opening \"%s\": the connection broke at once", host->uri);
    }
    cut(number);
    vmhi_thread_run(dispose, s);
    return FALSE;
}

static void host_free(vmhi_driver_host *host)
{
    vmhi_voice_free(host->voice);
    vmhi_watch_free(host->watch);
    vmhi_pulse_unref(host->pulse);
    vmhi_libvirt_platform_clear(&host->platform);
    vmh_spec_unref(host->options);
    g_mutex_clear(&host->lock);
    g_free(host->uri);
    g_free(host);
}

static gboolean learn(vmhi_driver_host *host, vmh_error **error)
{
    g_autoptr(virConnect) connection = vmhi_libvirt_connection(host, error);

    return connection && vmhi_libvirt_platform_learn(&host->platform, connection, error);
}

vmhi_driver_host *vmhi_libvirt_open(const char *uri, const vmh_spec *options, const vmhi_sink *sink, void *data,
                                    vmh_error **error)
{
    vmhi_driver_host *host;

    vmhi_xml_start();
    if (!vmhi_libvirt_loop_start(error))
        return NULL;
    host = g_new0(vmhi_driver_host, 1);
    host->uri = g_strdup(uri);
    host->options = options ? vmh_spec_dup(options) : NULL;
    host->sink = sink;
    host->sink_data = data;
    host->voice = vmhi_voice_new(host);
    host->watch = vmhi_watch_new();
    host->pulse = vmhi_libvirt_in_process(uri) ? NULL : vmhi_pulse_new();
    g_mutex_init(&host->lock);
    if (connect_host(host, error) && learn(host, error))
        return host;
    vmhi_libvirt_close(host);
    return NULL;
}

gboolean vmhi_libvirt_reopen(vmhi_driver_host *host, vmh_error **error)
{
    return is_connected(host) || connect_host(host, error);
}

void vmhi_libvirt_quiet(vmhi_driver_host *host)
{
    vmhi_voice_shut(host->voice);
}

void vmhi_libvirt_close(vmhi_driver_host *host)
{
    session *s;

    vmhi_libvirt_quiet(host);
    vmhi_libvirt_sampler_free(g_steal_pointer(&host->sampler)); /* it holds domains of the connection */
    s = detach(host);
    if (s)
        dispose(s);
    host_free(host);
}

/* --- what the other files take from it --- */

virConnectPtr vmhi_libvirt_connection_until(vmhi_driver_host *host, GCancellable **over, vmh_error **error)
{
    virConnectPtr connection;

    g_mutex_lock(&host->lock);
    connection = host->connection;
    if (connection) {
        virConnectRef(connection);
        if (over)
            *over = g_object_ref(host->over);
    }
    g_mutex_unlock(&host->lock);
    if (!connection)
        vmhi_error_set_native(error, VMH_ERR_LOST, VMHI_LIBVIRT, 0, NULL, "the connection to \"%s\" is broken",
                              host->uri);
    return connection;
}

virConnectPtr vmhi_libvirt_connection(vmhi_driver_host *host, vmh_error **error)
{
    return vmhi_libvirt_connection_until(host, NULL, error);
}

virConnectPtr vmhi_libvirt_connect_again(vmhi_driver_host *host, GCancellable **over, vmh_error **error)
{
    g_autoptr(virConnect) connection = vmhi_libvirt_connection_until(host, over, error);
    virConnectPtr another;

    if (!connection)
        return NULL;
    if (vmhi_libvirt_in_process(host->uri)) /* where another one may be another world */
        return g_steal_pointer(&connection);
    another = dial(host->uri, host->options, error);
    if (another)
        virConnSetErrorFunc(another, NULL, on_error);
    return another;
}

static virDomainPtr cached(vmhi_driver_host *host, const char *uuid)
{
    virDomainPtr domain;

    g_mutex_lock(&host->lock);
    domain = host->domains ? g_hash_table_lookup(host->domains, uuid) : NULL;
    if (domain)
        virDomainRef(domain);
    g_mutex_unlock(&host->lock);
    return domain;
}

virDomainPtr vmhi_libvirt_look_up(virConnectPtr connection, const char *uuid, vmh_error **error)
{
    virDomainPtr domain = virDomainLookupByUUIDString(connection, uuid);

    if (!domain) {
        g_autofree char *doing = g_strdup_printf("looking the VM %s up", uuid);
        vmhi_libvirt_error(error, NULL, doing);
    }
    return domain;
}

virDomainPtr vmhi_libvirt_domain(vmhi_driver_host *host, const char *uuid, vmh_error **error)
{
    virDomainPtr domain = cached(host, uuid);
    g_autoptr(virConnect) connection = NULL;

    if (domain)
        return domain;
    connection = vmhi_libvirt_connection(host, error);
    domain = connection ? vmhi_libvirt_look_up(connection, uuid, error) : NULL;
    if (domain)
        vmhi_libvirt_remember(host, uuid, domain);
    return domain;
}

void vmhi_libvirt_remember(vmhi_driver_host *host, const char *uuid, virDomainPtr domain)
{
    gboolean news = FALSE;

    g_mutex_lock(&host->lock);
    if (host->connection && virDomainGetConnect(domain) == host->connection) {
        virDomainRef(domain);
        news = g_hash_table_insert(host->domains, g_strdup(uuid), domain);
    }
    g_mutex_unlock(&host->lock);
    if (news)
        vmhi_libvirt_sampler_forget(host, uuid);
}

void vmhi_libvirt_forget(vmhi_driver_host *host, const char *uuid)
{
    g_mutex_lock(&host->lock);
    if (host->domains)
        g_hash_table_remove(host->domains, uuid);
    g_mutex_unlock(&host->lock);
    vmhi_libvirt_sampler_forget(host, uuid);
}
