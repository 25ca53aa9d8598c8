/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A console is a libvirt stream on one side and a socket of the caller's on the other. A thread of its own stands
 * between, since sending to a stream may wait for the host and the event loop, which serves all, must not.
 */
#include "libvirt/domain.h"
#include "libvirt/xml.h"
#include "model/thread.h"

#include <errno.h>
#include <fcntl.h>
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

/* What the event loop and the thread share: something to wake the thread by. */
typedef struct {
    gatomicrefcount refs;
    int             fd;
} bell;

typedef struct {
    virStreamPtr  stream;
    bell         *bell;
    GCancellable *over; /* the connection was given up */
    int           over_fd;
    int           fd;
    GByteArray   *unread; /* from the guest to the caller */
    char          unsent[CHUNK];
    gsize         unsent_length; /* from the caller to the guest */
    gboolean      guest_done;    /* the stream has ended: nothing more in either direction */
    gboolean      failed;
    gboolean      caller_silent; /* the caller will write no more, but may read */
    gboolean      caller_gone;
} console;

static void bell_unref(void *data)
{
    bell *b = data;

    if (!g_atomic_ref_count_dec(&b->refs))
        return;
    close(b->fd);
    g_free(b);
}

/* On the event loop. Until the thread has seen to it, the stream shall not call again. */
static void on_stream(virStreamPtr stream, int events, void *data)
{
    bell *b = data;

    (void)events;
    virStreamEventUpdateCallback(stream, 0);
    eventfd_write(b->fd, 1);
}

static void stream_ended(console *c, gboolean failed)
{
    c->guest_done = TRUE;
    c->failed = failed;
    c->unsent_length = 0;
}

static void receive(console *c)
{
    char buffer[CHUNK];
    int  n;

    while ((n = virStreamRecv(c->stream, buffer, sizeof(buffer))) > 0) {
        gsize room = UNREAD_LIMIT - c->unread->len;
        g_byte_array_append(c->unread, (guint8 *)buffer, MIN((gsize)n, room));
    }
    if (n != -2) /* -2: nothing more for now */
        stream_ended(c, n < 0);
}

static void deliver(console *c)
{
    ssize_t n;

    if (c->unread->len == 0)
        return;
    n = send(c->fd, c->unread->data, c->unread->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        g_byte_array_remove_range(c->unread, 0, n);
    else if (errno != EAGAIN && errno != EINTR)
        c->caller_gone = TRUE;
}

static void take(console *c)
{
    ssize_t n = recv(c->fd, c->unsent, sizeof(c->unsent), MSG_DONTWAIT);

    if (n > 0)
        c->unsent_length = n;
    else if (n == 0)
        c->caller_silent = TRUE;
    else if (errno != EAGAIN && errno != EINTR)
        c->caller_gone = TRUE;
}

static void send_on(console *c)
{
    while (c->unsent_length > 0 && !c->guest_done) {
        int n = virStreamSend(c->stream, c->unsent, c->unsent_length);
        if (n == -2)
            return;
        if (n < 0) {
            receive(c); /* what came before the end is still to be had */
            stream_ended(c, TRUE);
            return;
        }
        c->unsent_length -= n;
        memmove(c->unsent, c->unsent + n, c->unsent_length);
    }
}

/* Until something can be done; the stream rings once. */
static void wait_for_work(console *c, struct pollfd fds[3])
{
    gboolean  takes = !c->caller_silent && !c->guest_done && c->unsent_length == 0;
    gboolean  asks = takes || c->caller_silent || c->unread->len > 0; /* else a hangup would wake us for nothing */
    eventfd_t count;

    fds[0] =
        (struct pollfd){.fd = asks ? c->fd : -1, .events = (takes ? POLLIN : 0) | (c->unread->len ? POLLOUT : 0)};
    fds[1] = (struct pollfd){.fd = c->guest_done ? -1 : c->bell->fd, .events = POLLIN};
    fds[2] = (struct pollfd){.fd = c->guest_done ? -1 : c->over_fd, .events = POLLIN};
    if (!c->guest_done)
        virStreamEventUpdateCallback(c->stream,
                                     VIR_STREAM_EVENT_READABLE | (c->unsent_length ? VIR_STREAM_EVENT_WRITABLE : 0));
    while (poll(fds, 3, -1) < 0 && errno == EINTR)
        ;
    if (fds[1].revents)
        eventfd_read(c->bell->fd, &count);
}

static void pump(console *c)
{
    struct pollfd fds[3];

    wait_for_work(c, fds);
    if (fds[0].revents & POLLIN)
        take(c);
    else if (fds[0].revents & (POLLHUP | POLLERR))
        c->caller_gone = TRUE;
    if (c->caller_silent && (fds[0].revents & POLLHUP))
        c->caller_gone = TRUE;
    if (!c->guest_done)
        receive(c);
    if (fds[2].revents && !c->guest_done)
        stream_ended(c, TRUE);
    send_on(c);
    deliver(c);
}

/* The last calls to the host may take their time; the caller has seen the end by then. */
static void console_free(console *c)
{
    close(c->fd);
    virStreamEventRemoveCallback(c->stream);
    if (!c->guest_done || c->failed)
        virStreamAbort(c->stream);
    else
        virStreamFinish(c->stream);
    virStreamFree(c->stream);
    if (c->over_fd >= 0)
        g_cancellable_release_fd(c->over);
    g_object_unref(c->over);
    bell_unref(c->bell);
    g_byte_array_unref(c->unread);
    g_free(c);
}

static void run(void *data)
{
    console *c = data;

    while (!c->caller_gone && !(c->guest_done && c->unread->len == 0))
        pump(c);
    console_free(c);
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
    int         native = VIR_DOMAIN_SHUTOFF, detail = 0;
    const char *reason;
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

static gboolean open_stream(virDomainPtr domain, virStreamPtr stream, const char *name, unsigned int flags,
                            vmh_error **error)
{
    const char      *vm = virDomainGetName(domain); /* Asked for later, it would reset the error. */
    g_autofree char *alias = name ? alias_of(domain, name) : NULL;

    if (virDomainOpenConsole(domain, alias ? alias : name, stream, flags) == 0)
        return TRUE;
    set_open_error(domain, vm, name, error);
    return FALSE;
}

/* Both ends are set up before the thread starts; from then on all is the thread's. */
static console *console_new(virStreamPtr stream, GCancellable *over, int fds[2], vmh_error **error)
{
    console *c;
    int      bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (bell_fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        vmhi_error_set_native(error, VMH_ERR_RESOURCE, VMHI_LIBVIRT, errno, NULL, "opening a console: %s",
                              g_strerror(errno));
        if (bell_fd >= 0)
            close(bell_fd);
        return NULL;
    }
    c = g_new0(console, 1);
    c->stream = stream;
    c->bell = g_new0(bell, 1);
    g_atomic_ref_count_init(&c->bell->refs);
    c->bell->fd = bell_fd;
    c->over = g_object_ref(over);
    c->over_fd = g_cancellable_get_fd(over);
    c->fd = fds[1];
    c->unread = g_byte_array_new();
    return c;
}

static int start(virStreamPtr stream, GCancellable *over, vmh_error **error)
{
    int      fds[2];
    console *c = console_new(stream, over, fds, error);

    if (!c)
        return -1;
    g_atomic_ref_count_inc(&c->bell->refs);
    if (virStreamEventAddCallback(stream, 0, on_stream, c->bell, bell_unref) < 0) {
        vmhi_libvirt_error(error, NULL, "opening a console");
        bell_unref(c->bell);
        close(fds[0]);
        stream_ended(c, TRUE);
        console_free(c);
        return -1;
    }
    vmhi_thread_run(run, c);
    return fds[0];
}

int vmhi_libvirt_console(vmhi_driver_host *host, const char *uuid, const char *name, uint64_t flags,
                         vmh_error **error)
{
    g_autoptr(virDomain) domain = NULL;
    g_autoptr(GCancellable) over = NULL;
    g_autoptr(virConnect) connection = vmhi_libvirt_connection_until(host, &over, error);
    unsigned int force = (flags & VMH_CONSOLE_FORCE) ? VIR_DOMAIN_CONSOLE_FORCE : 0;
    virStreamPtr stream;

    if (!connection || !check_loop(error))
        return -1;
    domain = vmhi_libvirt_domain(host, uuid, error);
    if (!domain)
        return -1;
    stream = virStreamNew(connection, VIR_STREAM_NONBLOCK);
    if (!stream) {
        vmhi_libvirt_error(error, NULL, "opening a console");
        return -1;
    }
    if (!open_stream(domain, stream, name, force, error)) {
        virStreamFree(stream);
        return -1;
    }
    return start(stream, over, error);
}
