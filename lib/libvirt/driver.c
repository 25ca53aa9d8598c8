/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The libvirt driver's table: which function does which call of the contract. */
#include "libvirt/common.h"

const vmhi_driver vmhi_libvirt_driver = {.name = VMHI_LIBVIRT};
