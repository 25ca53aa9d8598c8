/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vmhost-vmm: one virtual machine on KVM. The library starts it with its descriptors in place and speaks to it over
 * the wire; it is not for people.
 */
#include "cell.h"
#include "control.h"
#include "device/debug.h"
#include "device/pci.h"
#include "device/power.h"
#include "device/rtc.h"
#include "loop.h"
#include "sandbox.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>

/* The table of descriptors that whoever starts it lays out. */
enum {
    KVM = 3,
    LISTENER = 4,
    FIRST_CLIENT = 5,
    LAST_WORDS = 6,
    TABLE_END = 7,
    NETWORK = 7,
    MOUNTS = 8,
    CELL_END = 9
};
enum { CELL_RECEIVER = 3 };

static int die(const char *what)
{
    fprintf(stderr, "vmhost-vmm: %s: %s\n", what, strerror(errno));
    return 1;
}

/* --user=NUMBER: whom to become when root started it; --cell: the table ends with namespaces to join. */
static bool read_arguments(int count, char **arguments, unsigned *user, bool *has_cell)
{
    bool known = count >= 2 && strcmp(arguments[1], "--wire=1") == 0;

    *user = 0;
    *has_cell = false;
    for (int i = 2; i < count && known; i++) {
        if (strcmp(arguments[i], "--cell") == 0)
            *has_cell = true;
        else
            known = sscanf(arguments[i], "--user=%u", user) == 1;
    }
    return known;
}

/* --make-cell: no VM, but namespaces for many of them, which go to a socket. */
static bool is_for_cell(int count, char **arguments)
{
    return count == 3 && strcmp(arguments[1], "--wire=1") == 0 && strcmp(arguments[2], "--make-cell") == 0;
}

int main(int argc, char **argv)
{
    static struct vm     vm;
    static struct serial serial;
    unsigned             user;
    bool                 has_cell;

    if (is_for_cell(argc, argv))
        return !cell_send(CELL_RECEIVER);
    if (!read_arguments(argc, argv, &user, &has_cell)) {
        fprintf(stderr, "vmhost-vmm is started by libvmhost, not by hand\n");
        return 2;
    }
    sandbox_close_from(has_cell ? CELL_END : TABLE_END);
    if (has_cell)
        sandbox_join(NETWORK, MOUNTS);
    signal(SIGPIPE, SIG_IGN); /* a pipe that a console goes to may lose its reader */
    if (ioctl(KVM, KVM_GET_API_VERSION, 0UL) != KVM_API_VERSION)
        return die("descriptor 3 is not KVM");
    if (!loop_init() || !vm_init(&vm, KVM) || !serial_init(&serial, &vm) || !power_init(&vm) || !pci_init(&vm) ||
        !rtc_init(&vm) || !debug_init(&vm))
        return die("cannot begin");
    if (!control_init(&vm, &serial, LISTENER, FIRST_CLIENT, LAST_WORDS))
        return die("cannot serve");
    sandbox_enter(user);
    loop_run();
    return 0;
}
