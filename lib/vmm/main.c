/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vmhost-vmm: one virtual machine on KVM. The library starts it with its descriptors in place and speaks to it over
 * the wire; it is not for people.
 */
#include "control.h"
#include "device/pci.h"
#include "device/power.h"
#include "loop.h"
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

/* The table of descriptors that whoever starts it lays out. */
enum { KVM = 3, LISTENER = 4, FIRST_CLIENT = 5, LAST_WORDS = 6 };

static int die(const char *what)
{
    fprintf(stderr, "vmhost-vmm: %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    static struct vm     vm;
    static struct serial serial;

    if (argc != 2 || strcmp(argv[1], "--wire=1") != 0) {
        fprintf(stderr, "vmhost-vmm is started by libvmhost, not by hand\n");
        return 2;
    }
    if (ioctl(KVM, KVM_GET_API_VERSION, 0UL) != KVM_API_VERSION)
        return die("descriptor 3 is not KVM");
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (!loop_init() || !vm_init(&vm, KVM) || !serial_init(&serial, &vm) || !power_init(&vm) || !pci_init(&vm))
        return die("cannot begin");
    if (!control_run(&vm, &serial, LISTENER, FIRST_CLIENT, LAST_WORDS))
        return die("cannot serve");
    return 0;
}
