/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The libvirt driver's table: which function does which call of the contract. */
#include "libvirt/common.h"

static const char *const schemes[] = {
    "qemu:///system",
    "qemu:///session",
    "qemu+tls://HOST/system",
    "qemu+ssh://USER@HOST/system",
    "xen:///system",
    "esx://HOST",
    "vpx://HOST",
    "test:///default",
    NULL,
};

const vmhi_driver vmhi_libvirt_driver = {
    .name = VMHI_LIBVIRT,
    .schemes = schemes,
    .claims = vmhi_libvirt_claims,
    .best_local = vmhi_libvirt_best_local,
    .in_process = vmhi_libvirt_in_process,
    .open = vmhi_libvirt_open,
    .quiet = vmhi_libvirt_quiet,
    .close = vmhi_libvirt_close,
    .reopen = vmhi_libvirt_reopen,
    .list = vmhi_libvirt_list,
    .look = vmhi_libvirt_look,
    .describe = vmhi_libvirt_describe,
    .supports = vmhi_libvirt_supports,
    .create = vmhi_libvirt_create,
    .describe_vm = vmhi_libvirt_describe_vm,
    .act = vmhi_libvirt_act,
    .console = vmhi_libvirt_console,
    .migrate = vmhi_libvirt_migrate,
    .sample = vmhi_libvirt_sample,
};
