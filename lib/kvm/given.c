/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors that the program gives for NICs: what they may be of, and that they end with what runs. */
#include "kvm/common.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define ALLOWED                                                                                                      \
    "give one of a tap or macvtap device (made with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR), or of a connected UNIX "   \
    "stream socket"

/* --- what they may be of: each of these says why not, or NULL --- */

/*
 * What TUNGETIFF tells by the bit of IFF_NO_PI is IFF_NOFILTER as well, where no filter is attached. So one that
 * passes everything is attached for that moment, unless the program has had its own. macvtap has no filters, and
 * tells truly.
 */
static gboolean has_no_packet_information(int descriptor, const struct ifreq *told)
{
    struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
    struct sock_fprog  before = {.len = 0}, program = {.len = 1, .filter = &pass};
    struct ifreq       device = *told;

    if (ioctl(descriptor, TUNGETFILTER, &before) < 0 || before.len ||
        ioctl(descriptor, TUNATTACHFILTER, &program) < 0)
        return (told->ifr_flags & IFF_NO_PI) != 0;
    ioctl(descriptor, TUNGETIFF, &device);
    ioctl(descriptor, TUNDETACHFILTER, &program);
    ioctl(descriptor, TUNATTACHFILTER, &before); /* of no length: it fails, and TUNGETFILTER tells of none again */
    return (device.ifr_flags & IFF_NO_PI) != 0;
}

static const char *why_no_tap(int descriptor)
{
    struct ifreq device = {0};

    if (ioctl(descriptor, TUNGETIFF, &device) < 0)
        return errno == EBADFD ? "/dev/net/tun before TUNSETIFF has made a device of it" : "a device that is no tap";
    if (!(device.ifr_flags & IFF_TAP))
        return "a tun device, which has no Ethernet frames";
    if (!has_no_packet_information(descriptor, &device))
        return "a tap device made without IFF_NO_PI";
    if (!(device.ifr_flags & IFF_VNET_HDR))
        return "a tap device made without IFF_VNET_HDR";
    if (device.ifr_flags & IFF_DETACH_QUEUE)
        return "a queue that is detached from its tap device";
    return (fcntl(descriptor, F_GETFL) & O_ACCMODE) == O_RDWR ? NULL
                                                              : "a tap device that is not open to read and to write";
}

static int option_of(int descriptor, int name)
{
    int       value = -1;
    socklen_t size = sizeof(value);

    getsockopt(descriptor, SOL_SOCKET, name, &value, &size);
    return value;
}

static const char *why_no_stream(int descriptor)
{
    struct sockaddr_storage peer;
    socklen_t               size = sizeof(peer);

    if (option_of(descriptor, SO_DOMAIN) != AF_UNIX)
        return "a socket of another domain than UNIX";
    if (option_of(descriptor, SO_TYPE) != SOCK_STREAM)
        return "a UNIX socket that is no stream";
    if (option_of(descriptor, SO_ACCEPTCONN) == 1)
        return "a UNIX socket that listens";
    return getpeername(descriptor, (struct sockaddr *)&peer, &size) == 0 ? NULL
                                                                         : "a UNIX socket that is not connected";
}

static const char *why_not(int descriptor, uint64_t *kind)
{
    struct stat status = {0};

    fstat(descriptor, &status);
    switch (status.st_mode & S_IFMT) {
    case S_IFCHR:
        *kind = WIRE_NIC_TAP;
        return why_no_tap(descriptor);
    case S_IFSOCK:
        *kind = WIRE_NIC_STREAM;
        return why_no_stream(descriptor);
    case S_IFREG:
        return "a regular file";
    case S_IFDIR:
        return "a directory";
    case S_IFIFO:
        return "a pipe";
    case S_IFBLK:
        return "a block device";
    default:
        return "neither a device nor a socket";
    }
}

static gboolean check(int descriptor, const char *path, uint64_t *kind, vmh_error **error)
{
    const char *why = why_not(descriptor, kind);

    if (why)
        vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s: the descriptor is of %s; " ALLOWED, path, why);
    return !why;
}

gboolean vmhi_kvm_is_given(const char *path)
{
    const vmh_property *property = vmhi_schema_lookup("vm", path);

    return property && property->type == VMH_TYPE_DESCRIPTOR;
}

gboolean vmhi_kvm_check_given(const vmh_spec *spec, const char *path, vmh_error **error)
{
    const int given = vmhi_spec_descriptor(spec, path);
    uint64_t  kind;

    return given < 0 || check(given, path, &kind, error);
}

int vmhi_kvm_open_given(const vmh_spec *spec, const char *path, uint64_t *kind, vmh_error **error)
{
    const int given = vmhi_spec_descriptor(spec, path);
    int       copy;

    if (given < 0)
        vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s: " VMHI_KVM_NOT_HERE, path);
    if (given < 0 || !check(given, path, kind, error))
        return -1;
    copy = fcntl(given, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    /* The VMM waits for several things, and for none of them in a read. */
    if (copy >= 0 && (*kind != WIRE_NIC_TAP || fcntl(copy, F_SETFL, fcntl(copy, F_GETFL) | O_NONBLOCK) == 0))
        return copy;
    vmhi_error_set_property(error, VMH_ERR_RESOURCE, path, "%s: %s", path, g_strerror(errno));
    vmhi_kvm_close(copy);
    return -1;
}

/* --- how long they last --- */

gboolean vmhi_kvm_check_lasting(const vmh_spec *spec, gboolean vanishes, vmh_error **error)
{
    g_auto(GStrv) paths = vmhi_spec_list(spec);

    for (guint i = 0; paths[i]; i++) {
        if (!vmhi_kvm_is_given(paths[i]))
            continue;
        if (vmhi_spec_descriptor(spec, paths[i]) < 0)
            vmhi_error_set_property(error, VMH_ERR_VALUE, paths[i], "%s: " VMHI_KVM_NOT_HERE, paths[i]);
        else if (!vanishes)
            vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, paths[i], "%s: " VMHI_KVM_NOT_KEPT, paths[i]);
        else
            continue;
        return FALSE;
    }
    return TRUE;
}
