/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A console is a libvirt stream on one side and a socket of the caller's on the other, with a thread between for each
 * direction. It has a connection of its own: when a guest does not take its input, libvirtd reads no more from that
 * connection, and a call that could help would wait behind it.
 */
#include "libvirt/domain.h"
#include "libvirt/xml.h"
#include "model/thread.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * What the guest has written and the caller not read. libvirt has no way to make the guest wait and would collect
 * without end, so we read on, and what is more than this is dropped, as on a serial line without flow control.
 */
#define UNREAD_LIMIT (1024 * 1024)
#define CHUNK 4096

/* How often a stream that says nothing is looked at all the same: an event of libvirt's may get lost between threads.
 */
#define LOOK_MS 1000

/*
 * The descriptors that wake the threads that write to callers, by number. A stream's callback carries the number:
 * libvirt does not always free what a callback was given, nor wait for one under way when it is removed, and a
 * number that was taken down leads nowhere.
 */
static GMutex      bells_lock;
static GHashTable *bells;

typedef struct {
    gatomicrefcount refs; /* the two threads' */
    virConnectPtr   connection;
    virStreamPtr    stream;
    gpointer        bell; /* its number */
    int             bell_fd;
    GCancellable   *over; /* the host was lost or closed */
    int             over_fd;
    int             fd;          /* the caller has the other end */
    gint            input_ended; /* the caller will write no more, and all that it wrote was sent on */

    /* Of the thread that writes to the caller. */
    GByteArray *unread;
    gboolean    caller_gone;
    gboolean    stream_ended;
    gint        failed;
} console;

static gpointer bell_hang(int fd)
{
    static gsize last;
    gpointer     number;

    g_mutex_lock(&bells_lock);
    if (!bells)
        bells = g_hash_table_new(NULL, NULL);
    number = GSIZE_TO_POINTER(++last);
    g_hash_table_insert(bells, number, GINT_TO_POINTER(fd));
    g_mutex_unlock(&bells_lock);
    return number;
}

static void bell_ring(gpointer number)
{
    gpointer fd;

    g_mutex_lock(&bells_lock);
    if (g_hash_table_lookup_extended(bells, number, NULL, &fd))
        eventfd_write(GPOINTER_TO_INT(fd), 1);
    g_mutex_unlock(&bells_lock);
}

static void bell_take_down(gpointer number)
{
    gpointer fd;

    g_mutex_lock(&bells_lock);
    if (g_hash_table_steal_extended(bells, number, NULL, &fd) && GPOINTER_TO_INT(fd) >= 0)
        close(GPOINTER_TO_INT(fd));
    g_mutex_unlock(&bells_lock);
}

/* The last calls to the host may take their time; the caller has seen the end by then. */
static void console_unref(console *c)
{
    if (!g_atomic_ref_count_dec(&c->refs))
        return;
    close(c->fd);
    virStreamEventRemoveCallback(c->stream);
    if (c->stream_ended && !c->failed)
        virStreamFinish(c->stream);
    else
        virStreamAbort(c->stream);
    virStreamFree(c->stream);
    virConnectClose(c->connection);
    if (c->over_fd >= 0)
        g_cancellable_release_fd(c->over);
    g_object_unref(c->over);
    bell_take_down(c->bell);
    g_byte_array_unref(c->unread);
    g_free(c);
}

/* --- from the caller to the guest; sending may wait for the guest --- */

static gboolean send_on(console *c, const char *data, gsize length)
{
    while (length > 0) {
        int n = virStreamSend(c->stream, data, length);
        if (n == -2) { /* Only a driver within this process says so; others wait themselves. */
            g_usleep(10000);
            continue;
        }
        if (n < 0)
            return FALSE;
        data += n;
        length -= n;
    }
    return TRUE;
}

static void run_input(void *data)
{
    console *c = data;
    char     buffer[CHUNK];
    ssize_t  n;

    do
        n = recv(c->fd, buffer, sizeof(buffer), 0);
    while ((n < 0 && errno == EINTR) || (n > 0 && send_on(c, buffer, n)));
    g_atomic_int_set(&c->input_ended, TRUE);
    bell_ring(c->bell);
    console_unref(c);
}

/* --- from the guest to the caller --- */

/* On the event loop. Until the thread has seen to it, the stream shall not call again. */
static void on_stream(virStreamPtr stream, int events, void *number)
{
    (void)events;
    virStreamEventUpdateCallback(stream, 0);
    bell_ring(number);
}

static void receive(console *c)
{
    char buffer[CHUNK];
    int  n;

    while ((n = virStreamRecv(c->stream, buffer, sizeof(buffer))) > 0) {
        gsize room = UNREAD_LIMIT - c->unread->len;
        if (!c->caller_gone)
            g_byte_array_append(c->unread, (guint8 *)buffer, MIN((gsize)n, room));
    }
    if (n == -2) /* nothing more for now */
        return;
    c->stream_ended = TRUE;
    c->failed = n < 0;
}

static void deliver(console *c)
{
    ssize_t n;

    if (c->unread->len == 0 || c->caller_gone)
        return;
    n = send(c->fd, c->unread->data, c->unread->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        g_byte_array_remove_range(c->unread, 0, n);
    else if (errno == ENOBUFS || errno == ENOMEM)
        g_usleep(10000); /* the system is short of memory, and nobody is gone */
    else if (errno != EAGAIN && errno != EINTR)
        c->caller_gone = TRUE;
}

static void wait_and_deliver(console *c)
{
    struct pollfd fds[] = {
        {.fd = c->caller_gone ? -1 : c->fd, .events = c->unread->len ? POLLOUT : 0},
        {.fd = c->stream_ended ? -1 : c->bell_fd, .events = POLLIN},
        {.fd = c->stream_ended ? -1 : c->over_fd, .events = POLLIN},
    };
    eventfd_t count;

    if (!c->stream_ended)
        virStreamEventUpdateCallback(c->stream, VIR_STREAM_EVENT_READABLE);
    while (poll(fds, G_N_ELEMENTS(fds), c->stream_ended ? -1 : LOOK_MS) < 0 && errno == EINTR)
        ;
    if (fds[0].revents & (POLLHUP | POLLERR))
        c->caller_gone = TRUE;
    if (fds[1].revents)
        eventfd_read(c->bell_fd, &count);
    if (!c->stream_ended)
        receive(c);
    if (fds[2].revents && !c->stream_ended)
        c->stream_ended = c->failed = TRUE;
    deliver(c);
}

/* A caller that has written and gone still has its words sent on. */
static gboolean output_is_over(console *c)
{
    if (c->caller_gone)
        return c->stream_ended || g_atomic_int_get(&c->input_ended);
    return c->stream_ended && c->unread->len == 0;
}

static void run_output(void *data)
{
    console *c = data;

    while (!output_is_over(c))
        wait_and_deliver(c);
    shutdown(c->fd, SHUT_RDWR); /* the caller sees the end, and so does the other thread */
    console_unref(c);
}

/* --- opening --- */

static gboolean check_loop(vmh_error **error)
{
    if (vmhi_libvirt_loop_runs(1000))
        return TRUE;
    vmhi_error_set(error, VMH_ERR_UNSUPPORTED,
                   "the program has registered an event loop with libvirt and does not run it: "
                   "a console needs that loop, in another thread than the one that asks");
    return FALSE;
}

static void set_state_error(virDomainPtr domain, const char *vm, const char *path, vmh_error **error)
{
    const char *reason;
    int         native = VIR_DOMAIN_SHUTOFF, detail = 0;
    int32_t     state;

    virDomainGetState(domain, &native, &detail, 0);
    state = vmhi_libvirt_state(native, detail, &reason);
    vmhi_error_set_native(error, VMH_ERR_STATE, VMHI_LIBVIRT, VIR_ERR_OPERATION_INVALID, path,
                          "\"%s\" is %s; a console needs a running VM", vm, vmh_vm_state_name(state));
}

static void set_open_error(virDomainPtr domain, const char *vm, const char *name, vmh_error **error)
{
    g_autofree char *path = name ? g_strdup_printf("console.%s", name) : NULL;
    g_autofree char *doing = g_strdup_printf("opening a console of VM \"%s\"", vm);
    virErrorPtr      last = virGetLastError();

    if (last && last->code == VIR_ERR_OPERATION_FAILED)
        vmhi_error_set_native(error, VMH_ERR_BUSY, VMHI_LIBVIRT, last->code, path,
                              "%s: somebody else has it open; VMH_CONSOLE_FORCE takes it from them", doing);
    else if (last && last->code == VIR_ERR_OPERATION_INVALID)
        set_state_error(domain, vm, path, error);
    else if (last && last->code == VIR_ERR_INTERNAL_ERROR && last->domain != VIR_FROM_RPC)
        vmhi_error_set_native(error, VMH_ERR_NOT_FOUND, VMHI_LIBVIRT, last->code, path,
                              "%s: it has no such console that goes to a pty: %s", doing, last->message);
    else
        vmhi_libvirt_error(error, path, doing);
}

/* What libvirt calls the console that we know by this name; NULL when there is none. The caller's. */
static char *alias_of(virDomainPtr domain, const char *name)
{
    g_autofree char *xml = virDomainGetXMLDesc(domain, 0);
    g_autoptr(xmlDoc) doc = xml ? vmhi_domain_parse(xml, NULL) : NULL;
    xmlNode *console = doc ? vmhi_domain_device(doc, "console", name) : NULL;
    char    *alias = console ? vmhi_xml_get(console, "alias@name") : NULL;

    return console && !alias ? g_strdup(name) : alias; /* a stopped one may have none, and is refused as such */
}

static virStreamPtr open_stream(virConnectPtr connection, virDomainPtr domain, const char *name, uint64_t flags,
                                vmh_error **error)
{
    const char      *vm = virDomainGetName(domain); /* Asked for later, it would reset the error. */
    g_autofree char *alias = name ? alias_of(domain, name) : NULL;
    unsigned int     force = (flags & VMH_CONSOLE_FORCE) ? VIR_DOMAIN_CONSOLE_FORCE : 0;
    virStreamPtr     stream = virStreamNew(connection, VIR_STREAM_NONBLOCK);

    if (stream && virDomainOpenConsole(domain, alias ? alias : name, stream, force) == 0)
        return stream;
    set_open_error(domain, vm, name, error);
    if (stream)
        virStreamFree(stream);
    return NULL;
}

/* Takes the connection and the stream, also when it fails. */
static int start(virConnectPtr connection, virStreamPtr stream, GCancellable *over, vmh_error **error)
{
    console *c = g_new0(console, 1);
    int      fds[2] = {-1, -1};

    g_atomic_ref_count_init(&c->refs);
    c->connection = connection;
    c->stream = stream;
    c->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->bell = bell_hang(c->bell_fd);
    c->over = g_object_ref(over);
    c->over_fd = g_cancellable_get_fd(over);
    c->unread = g_byte_array_new();
    if (c->bell_fd < 0 || c->over_fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        vmhi_error_set(error, VMH_ERR_RESOURCE, "opening a console: %s", g_strerror(errno));
        c->fd = -1;
        console_unref(c);
        return -1;
    }
    c->fd = fds[1];
    if (virStreamEventAddCallback(stream, 0, on_stream, c->bell, NULL) < 0) {
        vmhi_libvirt_error(error, NULL, "opening a console");
        close(fds[0]);
        console_unref(c);
        return -1;
    }
    g_atomic_ref_count_inc(&c->refs);
    vmhi_thread_run(run_input, c);
    vmhi_thread_run(run_output, c);
    return fds[0];
}

int vmhi_libvirt_console(vmhi_driver_host *host, const char *uuid, const char *name, uint64_t flags,
                         vmh_error **error)
{
    g_autoptr(GCancellable) over = NULL;
    g_autoptr(virConnect) connection = NULL;
    g_autoptr(virDomain) domain = NULL;
    virStreamPtr stream;

    if (!check_loop(error))
        return -1;
    connection = vmhi_libvirt_connect_again(host, &over, error);
    domain = connection ? vmhi_libvirt_look_up(connection, uuid, error) : NULL;
    stream = domain ? open_stream(connection, domain, name, flags, error) : NULL;
    return stream ? start(g_steal_pointer(&connection), stream, over, error) : -1;
}
