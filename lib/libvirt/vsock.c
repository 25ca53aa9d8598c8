/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams to the sockets of QEMU's guests on this machine, whose kernel carries them (vhost-vsock). */
#include "libvirt/domain-map.h"
#include <errno.h>
#include <linux/vm_sockets.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define DEVICE "/dev/vhost-vsock"

const char *vmhi_libvirt_no_sockets(const vmhi_platform *platform)
{
    if (!vmhi_domain_is(platform, "QEMU"))
        return "libvirt has sockets to the guest for QEMU alone";
    if (!platform->local)
        return "a guest's sockets can be reached on its own host alone";
    if (access(DEVICE, F_OK) < 0)
        return "the host has no " DEVICE ", which the kernel's module vhost_vsock makes";
    return NULL;
}

static int connect_to(uint32_t cid, uint32_t port, const struct timeval *patience)
{
    const struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
    const int                connection = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int                      native;

    if (connection < 0)
        return -1;
    setsockopt(connection, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, patience, sizeof(*patience));
    if (connect(connection, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return connection;
    native = errno;
    close(connection);
    errno = native;
    return -1;
}

static void set_error(vmh_error **error, uint32_t port, int native)
{
    if (native == ETIMEDOUT)
        vmhi_error_set(error, VMH_ERR_TIMEOUT, "the guest does not answer at port %u", port);
    else if (native == ECONNRESET || native == ECONNREFUSED || native == ENODEV)
        vmhi_error_set(error, VMH_ERR_UNREACHABLE,
                       "nobody in the guest listens at port %u, or it has no driver for its sockets yet", port);
    else
        vmhi_error_set_native(error, VMH_ERR_HYPERVISOR, VMHI_LIBVIRT, native, NULL,
                              "cannot connect to port %u of the guest: %s", port, g_strerror(native));
}

int vmhi_libvirt_connect(vmhi_driver_host *host, const char *uuid, uint32_t port, uint64_t flags, vmh_error **error)
{
    g_autoptr(vmh_spec) spec = vmhi_libvirt_describe_vm(host, uuid, flags, error);
    const uint64_t       timeout_ms = vmhi_spec_u64_or_default(host->options, "open", "call.timeout") / 2;
    const struct timeval patience = {(time_t)(timeout_ms / 1000), (suseconds_t)(timeout_ms % 1000 * 1000)};
    uint64_t             cid;
    int                  connection;

    if (!spec)
        return -1;
    if (g_strcmp0(vmhi_spec_str(spec, "state"), "running") != 0) {
        vmhi_error_set(error, VMH_ERR_STATE, "the VM is %s", vmhi_spec_str(spec, "state"));
        return -1;
    }
    if (!vmhi_spec_u64(spec, "vsock.cid", &cid)) {
        vmhi_error_set_property(error, VMH_ERR_NOT_FOUND, "vsock.cid",
                                "the VM has no sockets to the host: set vsock.cid, and start it again");
        return -1;
    }
    connection = connect_to((uint32_t)cid, port, &patience);
    if (connection < 0)
        set_error(error, port, errno);
    return connection;
}
