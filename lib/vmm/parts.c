/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests by which a machine gets its parts, one function each. */
#include "parts.h"
#include "capability.h"
#include "cpuid.h"
#include "device/debug.h"
#include "device/pci.h"
#include "vcpu.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/device.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"
#include <stdlib.h>

static struct vm           *vm;
static struct serial       *serial;
static struct wire_message *message; /* the one under way */

static bool take_image(struct image *image, struct failure *failure)
{
    const char *cmdline = wire_text(message, WIRE_T_CMDLINE);

    if (cmdline && strlen(cmdline) > VM_CMDLINE)
        return fail(failure, WIRE_VALUE, "boot.cmdline", "longer than %d bytes", VM_CMDLINE);
    snprintf(image->cmdline, sizeof(image->cmdline), "%s", cmdline ? cmdline : "");
    image->descriptor = wire_take_descriptor(message);
    return image->descriptor >= 0 ? true : fail(failure, WIRE_VALUE, NULL, "the request came without its descriptor");
}

static bool do_machine(struct failure *failure)
{
    const uint64_t cpus = wire_u64(message, WIRE_T_CPUS, 1);
    uint32_t       length = 0;
    const void    *cpuid = wire_find(message, WIRE_T_CPUID, &length);

    if (cpuid && !cpuid_take(cpuid, length))
        return fail(failure, WIRE_VALUE, NULL, "what KVM offers came in another form");
    return capability_check(vm->kvm, capability_ask, failure) &&
           vm_set_machine(vm, wire_u64(message, WIRE_T_MEMORY, 0), cpus, failure) &&
           vm_set_topology(vm, wire_u64(message, WIRE_T_CORES, cpus), wire_u64(message, WIRE_T_THREADS, 1), failure);
}

static bool do_mmio(struct failure *failure)
{
    if (!vm_in_state(vm, WIRE_NEW, WIRE_NEW, failure))
        return false;
    return pci_remove() ? true : fail(failure, WIRE_WRONG_STATE, "machine", "there are devices on its bus already");
}

static bool do_kernel(struct failure *failure)
{
    const uint64_t mode = wire_u64(message, WIRE_T_MODE, WIRE_MODE_REAL);

    if (!vm_in_state(vm, WIRE_NEW, WIRE_NEW, failure))
        return false;
    if (vm->kernel.descriptor >= 0)
        return fail(failure, WIRE_WRONG_STATE, "boot.kernel", "there is a kernel already");
    if (mode > WIRE_MODE_USER)
        return fail(failure, WIRE_VALUE, NULL, "no CPU mode has number %llu", (unsigned long long)mode);
    vm->kernel_kind = (int)wire_u64(message, WIRE_T_KIND, WIRE_KERNEL_ANY);
    vm->flat_address = wire_u64(message, WIRE_T_ADDRESS, 0);
    vm->flat_mode = (int)mode;
    return take_image(&vm->kernel, failure);
}

static bool do_initrd(struct failure *failure)
{
    if (!vm_in_state(vm, WIRE_NEW, WIRE_NEW, failure))
        return false;
    if (vm->module_count == VM_MODULES)
        return fail(failure, WIRE_VALUE, "boot.initrd", "more than %d modules", VM_MODULES);
    if (!take_image(&vm->modules[vm->module_count], failure))
        return false;
    vm->module_count++;
    return true;
}

/* The descriptor stays open when it is the console's. */
static bool direct(struct console *console, struct failure *failure)
{
    const int descriptor = wire_take_descriptor(message);

    if (console_direct(console, wire_u64(message, WIRE_T_KIND, WIRE_SERIAL_FILE), descriptor, failure))
        return true;
    if (descriptor >= 0)
        close(descriptor);
    return false;
}

static bool do_serial(struct failure *failure)
{
    return direct(&serial->console, failure);
}

static bool do_virtio_console(struct failure *failure)
{
    const char     *name = wire_text(message, WIRE_T_NAME);
    struct console *console;

    if (!vm_in_state(vm, WIRE_NEW, WIRE_NEW, failure))
        return false;
    if (!name || virtio_console_find(name))
        return fail(failure, WIRE_VALUE, NULL, "a console needs a name that no other has");
    console = virtio_console_plug(vm, name, failure);
    return console && (!message->descriptor_count || direct(console, failure));
}

/* Those that the message does not have are 0. */
static void take_limits(uint64_t *limits)
{
    uint32_t     length = 0;
    const void  *data = wire_find(message, WIRE_T_LIMITS, &length);
    const size_t size = WIRE_LIMITS * sizeof(*limits);

    memset(limits, 0, size);
    if (data)
        memcpy(limits, data, length < size ? length : size);
}

static bool do_debug(struct failure *failure)
{
    const uint64_t port = wire_u64(message, WIRE_T_ADDRESS, 0);
    const int      file = wire_take_descriptor(message);

    if (vm_in_state(vm, WIRE_NEW, WIRE_NEW, failure) && (!port || debug_add_exit(vm, port, failure)) &&
        (file < 0 || debug_add_console(vm, file, failure)))
        return true;
    if (file >= 0)
        close(file);
    return false;
}

/* Before the guest starts, and while it is there. */
static bool may_plug(struct failure *failure)
{
    return vm->stats->state == WIRE_NEW || vm_in_state(vm, WIRE_RUNNING, WIRE_PAUSED, failure);
}

static bool do_disk(struct failure *failure)
{
    const char        *name = wire_text(message, WIRE_T_NAME);
    const char        *serial_number = wire_text(message, WIRE_T_SERIAL_NUMBER);
    struct blk_options options = {
        .name = name ? name : "",
        .serial = serial_number ? serial_number : "",
        .descriptor = wire_take_descriptor(message),
        .is_readonly = wire_u64(message, WIRE_T_READONLY, 0) != 0,
        .can_discard = wire_u64(message, WIRE_T_DISCARD, 0) != 0,
        .queues = wire_u64(message, WIRE_T_QUEUES, 1),
    };

    if (options.descriptor < 0)
        return fail(failure, WIRE_VALUE, NULL, "the request came without its descriptor");
    take_limits(options.limits);
    if (may_plug(failure) && blk_plug(vm, &options, failure))
        return true;
    close(options.descriptor);
    return false;
}

static bool do_nic(struct failure *failure)
{
    const char        *name = wire_text(message, WIRE_T_NAME);
    uint32_t           length = 0;
    const void        *mac = wire_find(message, WIRE_T_MAC, &length);
    struct net_options options = {.name = name ? name : "",
                                  .kind = (int)wire_u64(message, WIRE_T_KIND, WIRE_NIC_TAP)};

    if (!message->descriptor_count || !mac || length != sizeof(options.mac))
        return fail(failure, WIRE_VALUE, NULL, "the request came without its descriptor or its hardware address");
    memcpy(options.mac, mac, sizeof(options.mac));
    take_limits(options.limits);
    options.pairs = message->descriptor_count;
    memcpy(options.descriptors, message->descriptors, sizeof(options.descriptors));
    if (!may_plug(failure) || !net_plug(vm, &options, failure))
        return false;
    message->descriptor_count = 0; /* they are the card's now */
    return true;
}

/* What was asked is told; whether the guest does it an event tells, which follows the reply. */
static bool do_unplug(struct failure *failure)
{
    const char *name = wire_text(message, WIRE_T_NAME);

    if (!vm->has_pci)
        return fail(failure, WIRE_UNSUPPORTED, "machine", "a machine without a bus keeps its devices");
    return may_plug(failure) && pci_unplug(name ? name : "", wire_u64(message, WIRE_T_FORCE, 0) != 0, failure);
}

static bool do_limit(struct failure *failure)
{
    const char           *name = wire_text(message, WIRE_T_NAME);
    struct virtio_device *device = virtio_find(name ? name : "");
    uint64_t              limits[WIRE_LIMITS];

    if (!device || !device->kind->limit)
        return fail(failure, WIRE_ABSENT, NULL, "there is no %s that can be limited", name ? name : "device");
    take_limits(limits);
    device->kind->limit(device, limits);
    return true;
}

static bool do_rng(struct failure *failure)
{
    return vm_in_state(vm, WIRE_NEW, WIRE_NEW, failure) && rng_plug(vm, failure);
}

static bool do_vsock(struct failure *failure)
{
    const int listener = wire_take_descriptor(message);

    if (listener < 0)
        return fail(failure, WIRE_VALUE, NULL, "the request came without its descriptor");
    if (vm_in_state(vm, WIRE_NEW, WIRE_NEW, failure) &&
        vsock_plug(vm, wire_u64(message, WIRE_T_CID, 0), listener, failure))
        return true;
    close(listener);
    return false;
}

static bool do_balloon(struct failure *failure)
{
    static bool    plugged;
    const uint64_t size = wire_u64(message, WIRE_T_MEMORY, vm->memory.size);

    if (size > vm->memory.size)
        return fail(failure, WIRE_VALUE, "memory.size", "more than the %llu bytes that the machine has",
                    (unsigned long long)vm->memory.size);
    if (!plugged && (!vm_in_state(vm, WIRE_NEW, WIRE_NEW, failure) || !balloon_plug(vm, failure)))
        return false;
    plugged = true;
    balloon_aim(size);
    return true;
}

static bool do_pin(struct failure *failure)
{
    const uint64_t index = wire_u64(message, WIRE_T_CPU, VM_CPUS);
    uint32_t       length = 0;
    const void    *bits = wire_find(message, WIRE_T_CPU_SET, &length);
    cpu_set_t      affinity;

    if (index >= vm->cpu_count || !bits || length != sizeof(affinity))
        return fail(failure, WIRE_VALUE, NULL, "there is no vCPU %llu to pin", (unsigned long long)index);
    memcpy(&affinity, bits, sizeof(affinity));
    if (!vcpu_pin(&vm->cpus[index], &affinity))
        return fail(failure, WIRE_VALUE, NULL, "vCPU %llu may not run on these CPUs: %s", (unsigned long long)index,
                    strerror(errno));
    return true;
}

static const struct {
    uint16_t type;
    bool (*serve)(struct failure *failure);
} requests[] = {
    {WIRE_MACHINE, do_machine}, {WIRE_KERNEL, do_kernel}, {WIRE_INITRD, do_initrd},
    {WIRE_SERIAL, do_serial},   {WIRE_PIN, do_pin},       {WIRE_DISK, do_disk},
    {WIRE_NIC, do_nic},         {WIRE_RNG, do_rng},       {WIRE_BALLOON, do_balloon},
    {WIRE_UNPLUG, do_unplug},   {WIRE_LIMIT, do_limit},   {WIRE_VIRTIO_CONSOLE, do_virtio_console},
    {WIRE_VSOCK, do_vsock},     {WIRE_DEBUG, do_debug},   {WIRE_MMIO, do_mmio},
};

void parts_init(struct vm *machine, struct serial *port)
{
    vm = machine;
    serial = port;
}

bool parts_serve(struct wire_message *request, uint16_t type, struct failure *failure)
{
    message = request;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        if (requests[i].type == type)
            return requests[i].serve(failure);
    }
    return fail(failure, WIRE_UNSUPPORTED, NULL, "this VMM does not know request %u", type);
}
