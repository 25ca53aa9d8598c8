/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vmhost-vmm: one virtual machine on KVM. The library starts it with its descriptors in place and speaks to it over
 * the wire; it is not for people.
 */
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
enum { KVM = 3, LISTENER = 4, FIRST_CLIENT = 5, LAST_WORDS = 6, TABLE_END = 7 };

static int die(const char *what)
{
    fprintf(stderr, "vmhost-vmm: %s: %s\n", what, strerror(errno));
    return 1;
}

/* --user=NUMBER: whom to become when root started it. */
static bool read_arguments(int count, char **arguments, unsigned *user)
{
    *user = 0;
    return count >= 2 && strcmp(arguments[1], "--wire=1") == 0 &&
           (count == 2 || (count == 3 && sscanf(arguments[2], "--user=%u", user) == 1));
}

int main(int argc, char **argv)
{
    static struct vm     vm;
    static struct serial serial;
    unsigned             user;

    if (!read_arguments(argc, argv, &user)) {
        fprintf(stderr, "vmhost-vmm is started by libvmhost, not by hand\n");
        return 2;
    }
    sandbox_close_from(TABLE_END);
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
