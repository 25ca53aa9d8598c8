/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Control frames of any content, with and without descriptors: each gets one reply, and the VMM serves on. */
#include "control.h"
#include "device/pci.h"
#include "device/power.h"
#include "loop.h"
#include <poll.h>
#include <sys/mman.h>

static struct vm     vm;
static struct serial serial;
static int           ours;
static int           file;

static void *run_loop(void *data)
{
    (void)data;
    loop_run();
    return NULL;
}

static void make_vmm(void)
{
    const int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    pthread_t thread;
    int       pair[2];

    /* By no name, so that nobody else connects. */
    if (listener < 0 || bind(listener, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        __builtin_trap();
    ours = pair[0];
    file = memfd_create("file", MFD_CLOEXEC);
    if (!loop_init() || !vm_init(&vm, -1) || !serial_init(&serial, &vm) || !power_init(&vm) || !pci_init(&vm) ||
        !control_init(&vm, &serial, listener, pair[1], memfd_create("words", MFD_CLOEXEC)) ||
        pthread_create(&thread, NULL, run_loop, NULL) != 0)
        __builtin_trap();
}

/* What would end the VMM, or its memory's size make the machine's limit the test's, is left out. */
static bool is_harmless(const struct wire_message *message)
{
    const uint16_t type = wire_header(message).type;

    return type != WIRE_STOP && (type != WIRE_MACHINE || wire_u64(message, WIRE_T_MEMORY, 0) <= 64 << 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_message message = {.descriptor_count = 0};
    struct wire_header  sent;

    if (!ours)
        make_vmm();
    if (size < sizeof(struct wire_header) + 1 || size > WIRE_SIZE)
        return 0;
    message.size = (uint32_t)size - 1;
    memcpy(message.bytes, data + 1, size - 1);
    sent = wire_header(&message);
    if (!is_harmless(&message) || !sent.id)
        return 0;
    if (data[0] & 1)
        wire_put_descriptor(&message, file);
    if (!wire_send(ours, &message, 0))
        __builtin_trap();
    do {
        if (wire_receive(ours, &message, 0) != 1)
            __builtin_trap();
        wire_close_descriptors(&message);
    } while (wire_header(&message).id != sent.id);
    return 0;
}
