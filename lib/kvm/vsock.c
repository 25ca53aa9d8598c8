/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams between programs and the guest's sockets, by the socket that a VM with vsock.cid has for them. */
#include "kvm/common.h"
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

enum { LINE = 32 };

/* Why there is nobody to connect to. */
static void no_socket(const vmhi_driver_host *host, const char *uuid, vmh_error **error)
{
    const int native = errno;
    g_auto(vmhi_kvm_condition) now = vmhi_kvm_look_at(host, uuid);
    g_autoptr(vmh_spec) running = vmhi_kvm_runs(&now) ? vmhi_kvm_read_running(host, uuid, NULL) : NULL;

    if (!running)
        vmhi_kvm_wrong_state(host, uuid, error);
    else if (!vmhi_spec_get(running, "vsock.cid", NULL))
        vmhi_error_set_property(error, VMH_ERR_NOT_FOUND, "vsock.cid",
                                "the VM has no sockets to the host: set vsock.cid, and start it again");
    else
        vmhi_error_set_native(error, VMH_ERR_HYPERVISOR, VMHI_KVM, native, NULL, "cannot reach the VM's sockets: %s",
                              g_strerror(native));
}

static void set_patience(int connection, gint64 patience_us)
{
    const struct timeval patience = {patience_us / G_USEC_PER_SEC, patience_us % G_USEC_PER_SEC};

    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

/* One line, and not a byte of what follows it. FALSE with errno, 0 at the end. */
static gboolean hear_line(int connection, char line[LINE])
{
    for (gsize length = 0; length < LINE - 1; length++) {
        const ssize_t got = recv(connection, line + length, 1, 0);

        if (got <= 0) {
            errno = got < 0 ? errno : 0;
            return FALSE;
        }
        if (line[length] == '\n') {
            line[length] = '\0';
            return TRUE;
        }
    }
    errno = EBADMSG;
    return FALSE;
}

/* Why it was not answered, of which errno tells a part: a process that is about to end takes connections a little
 * longer. */
static void no_answer(const vmhi_driver_host *host, const char *uuid, const char *word, uint32_t port,
                      vmh_error **error)
{
    const gboolean is_silent = errno == EAGAIN || errno == EWOULDBLOCK;
    g_auto(vmhi_kvm_condition) now = vmhi_kvm_look_at(host, uuid);

    if (!vmhi_kvm_runs(&now))
        vmhi_kvm_wrong_state(host, uuid, error);
    else if (is_silent)
        vmhi_error_set(error, VMH_ERR_TIMEOUT, "the guest does not answer at port %u", port);
    else if (g_str_equal(word, "CONNECT"))
        vmhi_error_set(error, VMH_ERR_UNREACHABLE,
                       "nobody in the guest listens at port %u, or it has no driver for its sockets yet", port);
    else
        vmhi_error_set(error, VMH_ERR_HYPERVISOR, "the VM's process does not let anybody listen at port %u", port);
}

/* A socket by which this was asked, and its answer; -1: error says why there is none. */
static int ask(const vmhi_driver_host *host, const char *uuid, const char *word, uint32_t port, char answer[LINE],
               vmh_error **error)
{
    const int connection = vmhi_kvm_connect_to(host, uuid, VMHI_KVM_VSOCK, SOCK_STREAM, VMHI_KVM_LOOK_S);
    char      line[LINE];
    int       length = snprintf(line, sizeof(line), "%s %u\n", word, port);

    if (connection < 0) {
        no_socket(host, uuid, error);
        return -1;
    }
    *answer = '\0';
    set_patience(connection, vmhi_kvm_patience(host));
    if (send(connection, line, (gsize)length, MSG_NOSIGNAL) != length || !hear_line(connection, answer)) {
        no_answer(host, uuid, word, port, error);
        close(connection);
        return -1;
    }
    set_patience(connection, 0);
    return connection;
}

int vmhi_kvm_connect_guest(vmhi_driver_host *host, const char *uuid, uint32_t port, uint64_t flags, vmh_error **error)
{
    char answer[LINE];

    (void)flags;
    return ask(host, uuid, "CONNECT", port, answer, error);
}

int vmhi_kvm_listen(vmhi_driver_host *host, const char *uuid, uint32_t port, uint64_t flags, vmh_error **error)
{
    char answer[LINE];
    int  connection = ask(host, uuid, "LISTEN", port, answer, error);

    (void)flags;
    if (connection < 0 || g_str_has_prefix(answer, "OK "))
        return connection;
    vmhi_error_set(error, VMH_ERR_BUSY, "another program listens at port %u for this VM", port);
    close(connection);
    return -1;
}

/* What came with a message, or -1. */
static int take_descriptor(struct msghdr *message)
{
    const struct cmsghdr *first = CMSG_FIRSTHDR(message);
    int                   descriptor = -1;

    if (first && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS)
        memcpy(&descriptor, CMSG_DATA(first), sizeof(descriptor));
    return descriptor;
}

int vmhi_kvm_accept(vmhi_driver_host *host, int listener, uint32_t *from, vmh_error **error)
{
    union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(sizeof(int))];
    } control;
    char          line[LINE] = "";
    struct iovec  data = {line, sizeof(line) - 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    const ssize_t got = recvmsg(listener, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const int     descriptor = got > 0 ? take_descriptor(&message) : -1;

    (void)host;
    if (descriptor >= 0 && sscanf(line, "FROM %" G_GUINT32_FORMAT, from) == 1)
        return descriptor;
    vmhi_kvm_close(descriptor);
    if (got == 0 || (got < 0 && errno == ECONNRESET))
        vmhi_error_set(error, VMH_ERR_STATE, "the VM has stopped");
    else if (got > 0 || (errno != EAGAIN && errno != EINTR))
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "%d is no descriptor that vmh_vm_listen() gave", listener);
    return -1;
}
