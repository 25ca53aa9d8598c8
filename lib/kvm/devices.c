/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's disks and NICs: opened here, where there are rights and names, and handed to the VMM as descriptors. */
#include "kvm/common.h"
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

typedef struct {
    const vmhi_driver_host *host;
    int                     connection;
    const vmh_spec         *spec;
    struct wire_message     message;
} handing;

static const char *leaf(const handing *h, const char *class_name, const char *id, const char *name)
{
    g_autofree char *path = vmhi_path(class_name, id, name);

    return vmhi_spec_str(h->spec, path);
}

static gboolean flag(const handing *h, const char *class_name, const char *id, const char *name)
{
    g_autofree char *path = vmhi_path(class_name, id, name);
    gboolean         value = FALSE;

    vmhi_spec_bool(h->spec, path, &value);
    return value;
}

int32_t vmhi_kvm_file_error(int native)
{
    switch (native) {
    case EACCES:
    case EPERM:
        return VMH_ERR_PERMISSION;
    case ENOENT:
    case ENOTDIR:
    case ENODEV:
    case ENXIO:
        return VMH_ERR_NOT_FOUND;
    default:
        return VMH_ERR_VALUE;
    }
}

static void refuse(vmh_error **error, const char *class_name, const char *id, const char *name, const char *what)
{
    g_autofree char *path = vmhi_path(class_name, id, name);
    const int        native = errno;

    vmhi_error_set_native(error, vmhi_kvm_file_error(native), VMHI_KVM, native, path, "%s: cannot open %s: %s", path,
                          what, g_strerror(native));
}

/* Sends the message, which gets these descriptors, and closes ours. The property is what a device is known by. */
static gboolean hand_over(handing *h, const char *property, const int *descriptors, guint count, vmh_error **error)
{
    vmh_error *refused = NULL;
    gboolean   done;

    for (guint i = 0; i < count; i++)
        wire_put_descriptor(&h->message, descriptors[i]);
    done = vmhi_kvm_request(h->connection, &h->message, &refused);
    for (guint i = 0; i < count; i++)
        close(descriptors[i]);
    if (refused)
        vmhi_kvm_refused(error, refused, property);
    return done;
}

/* --- disks --- */

static gboolean add_disk(handing *h, const char *id, vmh_error **error)
{
    const gboolean   is_readonly = flag(h, "disk", id, "readonly");
    const char      *path = leaf(h, "disk", id, "path");
    const char      *serial = leaf(h, "disk", id, "serial");
    g_autofree char *property = vmhi_path("disk", id, "path");
    int              descriptor;

    if (!path) {
        vmhi_error_set_property(error, VMH_ERR_VALUE, property, "%s: a disk needs a file or a block device",
                                property);
        return FALSE;
    }
    descriptor = open(path, (is_readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0) {
        refuse(error, "disk", id, "path", path);
        return FALSE;
    }
    wire_begin(&h->message, WIRE_DISK, 1);
    wire_put_text(&h->message, WIRE_T_NAME, id);
    wire_put_u64(&h->message, WIRE_T_READONLY, is_readonly ? 1 : 0);
    wire_put_u64(&h->message, WIRE_T_DISCARD, flag(h, "disk", id, "discard") ? 1 : 0);
    wire_put_u64(&h->message, WIRE_T_QUEUES, vmhi_kvm_queues(h->spec, "disk", id));
    vmhi_kvm_put_limits(&h->message, h->spec, "disk", id);
    if (serial)
        wire_put_text(&h->message, WIRE_T_SERIAL_NUMBER, serial);
    return hand_over(h, property, &descriptor, 1, error);
}

/* --- NICs --- */

/* The descriptors of its queues. */
typedef struct {
    int   descriptors[WIRE_DESCRIPTORS];
    guint count;
} line;

static void line_close(line *l)
{
    while (l->count)
        vmhi_kvm_close(l->descriptors[--l->count]);
}

static int open_tap_queue(const char *name, short flags)
{
    struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)};
    const int    descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    g_strlcpy(request.ifr_name, name, sizeof(request.ifr_name));
    if (descriptor < 0 || ioctl(descriptor, TUNSETIFF, &request) == 0)
        return descriptor;
    vmhi_kvm_close(descriptor);
    return -1;
}

/* A tap that was made for several queues may be used with one, but says so. */
static gboolean open_tap(line *l, const char *name, guint queues)
{
    while (l->count < queues) {
        int descriptor = open_tap_queue(name, queues > 1 ? IFF_MULTI_QUEUE : 0);

        if (descriptor < 0 && queues == 1 && errno == EINVAL)
            descriptor = open_tap_queue(name, IFF_MULTI_QUEUE);
        if (descriptor < 0) {
            line_close(l);
            return FALSE;
        }
        l->descriptors[l->count++] = descriptor;
    }
    return TRUE;
}

static gboolean open_that_exists(line *l, const char *name, guint queues)
{
    if (if_nametoindex(name) != 0)
        return open_tap(l, name, queues);
    errno = ENODEV;
    return FALSE;
}

static gboolean join(const char *tap, const char *bridge)
{
    const int    control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq link = {0};
    struct ifreq member = {.ifr_ifindex = (int)if_nametoindex(tap)};
    gboolean     joined = FALSE;

    g_strlcpy(link.ifr_name, tap, sizeof(link.ifr_name));
    g_strlcpy(member.ifr_name, bridge, sizeof(member.ifr_name));
    if (control >= 0 && ioctl(control, SIOCBRADDIF, &member) == 0 && ioctl(control, SIOCGIFFLAGS, &link) == 0) {
        link.ifr_flags |= IFF_UP;
        joined = ioctl(control, SIOCSIFFLAGS, &link) == 0;
    }
    vmhi_kvm_close(control);
    return joined;
}

/* A tap of its own, which is gone when the VMM is. */
static gboolean open_on_bridge(line *l, const char *bridge, guint queues)
{
    struct ifreq made = {0};

    if (if_nametoindex(bridge) == 0) {
        errno = ENODEV;
        return FALSE;
    }
    l->descriptors[0] = open_tap_queue("vmhost%d", queues > 1 ? IFF_MULTI_QUEUE : 0);
    if (l->descriptors[0] < 0)
        return FALSE;
    l->count = 1;
    /* The others are of the name that the first one got. */
    if (ioctl(l->descriptors[0], TUNGETIFF, &made) == 0 && open_tap(l, made.ifr_name, queues) &&
        join(made.ifr_name, bridge))
        return TRUE;
    line_close(l);
    return FALSE;
}

/* passt carries the packets to the host's sockets; it ends with the VMM's end of the socket. */
static int open_user(const vmhi_driver_host *host, const char *property, vmh_error **error)
{
    g_autofree char *program = g_find_program_in_path("passt");
    char            *arguments[] = {
                   (char *)"passt", (char *)"--foreground", (char *)"--quiet", (char *)"--fd", (char *)"3", NULL};
    int pair[2], process;

    if (!program) {
        vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, property, "%s: the program passt is not installed",
                                property);
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        vmhi_error_set_property(error, VMH_ERR_HYPERVISOR, property, "%s: no socket: %s", property,
                                g_strerror(errno));
        return -1;
    }
    process = vmhi_kvm_spawn(program, arguments, &pair[1], 1, error);
    if (process < 0) {
        close(pair[0]);
        pair[0] = -1;
    }
    vmhi_kvm_reap(host, process);
    close(pair[1]);
    return pair[0];
}

static void refuse_tap(vmh_error **error, const char *id, const char *name, const char *value, guint queues)
{
    g_autofree char *path = vmhi_path("nic", id, "queues");

    if (errno == EINVAL && queues > 1)
        vmhi_error_set_property(
            error, VMH_ERR_VALUE, path,
            "%s: %s has one queue; make it with several, as \"ip tuntap add ... multi_queue\" does", path, value);
    else
        refuse(error, "nic", id, name, value);
}

static gboolean put_mac(handing *h, const char *id)
{
    const char *text = leaf(h, "nic", id, "mac");
    uint8_t     mac[6];

    return text &&
           sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) == 6 &&
           wire_put(&h->message, WIRE_T_MAC, mac, sizeof(mac));
}

/* What has one queue. */
static gboolean open_single(const handing *h, const char *id, line *l, uint64_t *kind, vmh_error **error)
{
    g_autofree char *user = vmhi_path("nic", id, "user");
    g_autofree char *given = vmhi_path("nic", id, "fd");
    int              descriptor = -1;

    if (flag(h, "nic", id, "user")) {
        *kind = WIRE_NIC_STREAM;
        descriptor = open_user(h->host, user, error);
    } else if (vmhi_spec_get(h->spec, given, NULL)) {
        descriptor = vmhi_kvm_open_given(h->spec, given, kind, error);
    } else {
        vmhi_error_set_property(error, VMH_ERR_VALUE, user, "%s: a NIC needs one of tap, bridge, user, fd", user);
    }
    l->descriptors[0] = descriptor;
    l->count = descriptor >= 0;
    return descriptor >= 0;
}

static gboolean open_nic(const handing *h, const char *id, line *l, uint64_t *kind, vmh_error **error)
{
    const char *const names[] = {"tap", "bridge"};
    const guint       queues = (guint)vmhi_kvm_queues(h->spec, "nic", id);

    *kind = WIRE_NIC_TAP;
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *value = leaf(h, "nic", id, names[i]);

        if (!value)
            continue;
        if (i == 0 ? open_that_exists(l, value, queues) : open_on_bridge(l, value, queues))
            return TRUE;
        refuse_tap(error, id, names[i], value, queues);
        return FALSE;
    }
    return open_single(h, id, l, kind, error);
}

/* The property that says what it is attached to. */
static char *source_of(const handing *h, const char *id)
{
    gsize at = 0;

    return vmhi_kvm_next_source(h->spec, id, &at);
}

static gboolean add_nic(handing *h, const char *id, vmh_error **error)
{
    g_autofree char *property = source_of(h, id);
    uint64_t         kind;
    line             l = {.count = 0};

    if (!open_nic(h, id, &l, &kind, error))
        return FALSE;
    wire_begin(&h->message, WIRE_NIC, 1);
    wire_put_text(&h->message, WIRE_T_NAME, id);
    wire_put_u64(&h->message, WIRE_T_KIND, kind);
    put_mac(h, id);
    vmhi_kvm_put_limits(&h->message, h->spec, "nic", id);
    return hand_over(h, property, l.descriptors, l.count, error);
}

static gboolean add_all(handing *h, const char *class_name, vmh_error **error)
{
    g_auto(GStrv) ids = vmhi_spec_ids(h->spec, class_name);
    gboolean done = TRUE;

    for (guint i = 0; done && ids[i]; i++)
        done = *class_name == 'd' ? add_disk(h, ids[i], error) : add_nic(h, ids[i], error);
    return done;
}

gboolean vmhi_kvm_add_devices(const vmhi_driver_host *host, int connection, const vmh_spec *spec, vmh_error **error)
{
    g_autofree handing *h = g_new0(handing, 1);

    *h = (handing){.host = host, .connection = connection, .spec = spec};
    return add_all(h, "disk", error) && add_all(h, "nic", error);
}

gboolean vmhi_kvm_add_device(const vmhi_driver_host *host, int connection, const vmh_spec *spec, const char *name,
                             vmh_error **error)
{
    g_autofree handing *h = g_new0(handing, 1);

    *h = (handing){.host = host, .connection = connection, .spec = spec};
    if (g_str_has_prefix(name, "disk."))
        return add_disk(h, name + strlen("disk."), error);
    return add_nic(h, name + strlen("nic."), error);
}

gboolean vmhi_kvm_is_without_bus(const vmh_spec *spec)
{
    return g_strcmp0(vmhi_spec_str(spec, "machine"), "mmio") == 0;
}

/* An empty text takes a property away; what is kept does without. */
static void drop_empty(vmh_spec *spec)
{
    g_auto(GStrv) paths = vmhi_spec_list(spec);

    for (guint i = 0; paths[i]; i++) {
        const char *text = vmhi_spec_str(spec, paths[i]);

        if (text && !*text && (vmhi_schema_lookup("vm", paths[i])->flags & VMHI_EMPTY))
            vmhi_spec_unset(spec, paths[i], NULL);
    }
}

/* A NIC keeps the address that it gets at first, a console its type, and a VM the most memory that it can have. */
void vmhi_kvm_complete(vmh_spec *spec)
{
    g_auto(GStrv) nics = vmhi_spec_ids(spec, "nic");
    uint64_t memory;

    drop_empty(spec);
    if (!vmhi_spec_get(spec, "memory.max", NULL) && vmhi_spec_u64(spec, "memory.size", &memory))
        vmhi_spec_put_u64(spec, "memory.max", memory);
    if (!vmhi_spec_str(spec, "machine"))
        vmhi_spec_put(spec, "machine", "pci");
    vmhi_kvm_complete_consoles(spec);
    for (guint i = 0; nics[i]; i++) {
        g_autofree char *path = vmhi_path("nic", nics[i], "mac");
        g_autofree char *mac = NULL;
        const guint32    number = g_random_int();

        if (vmhi_spec_str(spec, path))
            continue;
        mac = g_strdup_printf("52:54:00:%02x:%02x:%02x", number & 0xff, number >> 8 & 0xff, number >> 16 & 0xff);
        vmhi_spec_put(spec, path, mac);
    }
}
