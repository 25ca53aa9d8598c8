/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that reads and writes anything at every port, every PCI and virtio register, on a bus or not, and where its
 * rings may be. The input is a list of steps of eight bytes: what to do, where, and with which value.
 */
#include "device/debug.h"
#include "device/pci.h"
#include "device/power.h"
#include "device/rtc.h"
#include "device/serial.h"
#include "loop.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/mmio.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { MEMORY = 1 << 20, DISK = 64 << 10, STEP = 8, SLOTS = 8, RING_STEP = 16, CID = 3, EXIT = 0xf4 };

static struct vm     vm;
static struct serial serial;

static void *run_loop(void *data)
{
    (void)data;
    loop_run();
    return NULL;
}

static void plug_sockets(void)
{
    struct failure failure;
    const int      listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    /* By no name, so that nobody else connects. */
    if (bind(listener, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)) < 0 ||
        listen(listener, 1) < 0 || !vsock_plug(&vm, CID, listener, &failure))
        __builtin_trap();
}

/* A disk, a NIC and a console of this name. */
static void plug_some(const char *name)
{
    struct failure     failure;
    int                pair[2];
    struct blk_options disk = {.name = name, .serial = "s", .can_discard = true, .queues = 2};
    struct net_options nic = {.name = name, .kind = WIRE_NIC_STREAM, .pairs = 1};

    disk.descriptor = memfd_create("disk", MFD_CLOEXEC);
    if (disk.descriptor < 0 || ftruncate(disk.descriptor, DISK) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        __builtin_trap();
    nic.descriptors[0] = pair[0];
    if (!blk_plug(&vm, &disk, &failure) || !net_plug(&vm, &nic, &failure) ||
        !virtio_console_plug(&vm, name, &failure))
        __builtin_trap();
}

/* No machine has devices on a bus and devices without, but each kind of them may be tried in one. */
static void plug_all(void)
{
    struct failure failure;

    if (!rng_plug(&vm, &failure) || !balloon_plug(&vm, &failure))
        __builtin_trap();
    plug_some("on-bus");
    plug_sockets();
    vm.has_pci = false;
    plug_some("without");
}

static void make_machine(void)
{
    struct failure failure;
    pthread_t      thread;

    if (!loop_init() || !vm_init(&vm, -1) || !vm_set_machine(&vm, MEMORY, 1, &failure) ||
        !serial_init(&serial, &vm) || !power_init(&vm) || !pci_init(&vm) || !rtc_init(&vm) || !debug_init(&vm) ||
        !debug_add_exit(&vm, EXIT, &failure) ||
        !debug_add_console(&vm, open("/dev/null", O_WRONLY | O_CLOEXEC), &failure))
        __builtin_trap();
    plug_all();
    if (pthread_create(&thread, NULL, run_loop, NULL) != 0)
        __builtin_trap();
}

static uint64_t window(unsigned slot)
{
    uint64_t address = 0;

    bus_do(&vm.mmio, PCI_ECAM + ((uint64_t)slot << 15) + PCI_BASE_ADDRESS_0, 4, false, &address);
    return address & ~UINT64_C(15);
}

static void access_bus(struct bus *bus, uint64_t address, uint8_t how, uint64_t value)
{
    bus_do(bus, address, 1u << (how & 3), how & 4, &value);
}

static void do_step(const uint8_t step[STEP])
{
    const uint8_t how = step[1];
    uint16_t      where;
    uint32_t      value;

    memcpy(&where, step + 2, sizeof(where));
    memcpy(&value, step + 4, sizeof(value));
    switch (step[0] % 6) {
    case 0:
        access_bus(&vm.ports, where, how, value);
        break;
    case 1:
        access_bus(&vm.mmio, PCI_ECAM + ((uint64_t)(how >> 3) % SLOTS << 15) + where % 4096, how, value);
        break;
    case 2:
        access_bus(&vm.mmio, window((how >> 3) % SLOTS) + where, how, value);
        break;
    case 3:
        memcpy(vm.memory.base + where * (uint64_t)RING_STEP % (MEMORY - 8), &value, sizeof(value));
        break;
    case 4:
        /* Rings that could be some: sixteen bits at a time in the first pages, where descriptors are looked for. */
        memcpy(vm.memory.base + where, &value, 2);
        break;
    default:
        access_bus(&vm.mmio, virtio_mmio_address((how >> 3) % 4) + where % VIRTIO_MMIO_PAGE, how, value);
        break;
    }
}

/* As the machine's reset does, so that each input begins alike. */
static void power_cycle(void)
{
    pci_power_off();
    virtio_mmio_power_off();
    memset(vm.memory.base, 0, MEMORY);
    pci_power_on();
    virtio_mmio_power_on();
    serial_reset(&serial);
    vm.wish = VM_NOTHING;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!vm.memory.base)
        make_machine();
    power_cycle();
    for (; size >= STEP; data += STEP, size -= STEP)
        do_step(data);
    return 0;
}
