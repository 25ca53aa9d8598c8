/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ends a VM's process, whatever it does. */
#include "kvm/common.h"
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

enum { PATIENCE_MS = 5000, MOMENT_MS = 1000 };

/* Until the other side has closed. */
static gboolean wait_for_end(int connection)
{
    struct wire_message message = {.descriptor_count = 0};
    struct pollfd       waits = {.fd = connection, .events = POLLIN};
    const gint64        end = g_get_monotonic_time() + PATIENCE_MS * 1000;

    for (gint64 left = PATIENCE_MS; left > 0; left = (end - g_get_monotonic_time()) / 1000) {
        if (poll(&waits, 1, (int)left) > 0 && wire_receive(connection, &message, MSG_DONTWAIT) <= 0)
            return TRUE;
        wire_close_descriptors(&message);
    }
    return FALSE;
}

/* The process at the other end, whose number is its own as long as its socket is open. -1: it cannot be known. */
static int open_peer(int connection)
{
    struct ucred peer;
    socklen_t    size = sizeof(peer);

    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid <= 0)
        return -1;
    return (int)syscall(SYS_pidfd_open, peer.pid, 0);
}

static gboolean wait_for_exit(int process, int patience_ms)
{
    return poll(&(struct pollfd){.fd = process, .events = POLLIN}, 1, patience_ms) > 0;
}

/* The connection may also end because the process has no place for it. */
gboolean vmhi_kvm_end(int connection, int process)
{
    struct wire_message message;
    gboolean            ended;

    wire_begin(&message, WIRE_STOP, 1);
    ended = wire_send(connection, &message, MSG_DONTWAIT) && wait_for_end(connection);
    if (process < 0)
        return ended;
    if (!ended || !wait_for_exit(process, MOMENT_MS))
        syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
    return wait_for_exit(process, PATIENCE_MS);
}

/* When it is gone, all who have a connection to it can know. */
static gboolean end_peer(int connection)
{
    const int      process = open_peer(connection);
    const gboolean ended = vmhi_kvm_end(connection, process);

    vmhi_kvm_close(process);
    return ended;
}

void vmhi_kvm_clear_away(const vmhi_driver_host *host, const char *uuid)
{
    vmhi_kvm_group_remove(host, uuid);
    vmhi_kvm_remove_sockets(host, uuid);
}

gboolean vmhi_kvm_stop(const vmhi_driver_host *host, const char *uuid, vmh_error **error)
{
    const int connection = vmhi_kvm_connect(host, uuid, VMHI_KVM_PATIENCE_S);
    gboolean  ended;

    if (connection < 0) {
        vmhi_kvm_wrong_state(host, uuid, error);
        return FALSE;
    }
    ended = end_peer(connection);
    close(connection);
    if (ended)
        vmhi_kvm_clear_away(host, uuid);
    else
        vmhi_error_set(error, VMH_ERR_HYPERVISOR, "the VM's process cannot be ended");
    return ended;
}
