/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Virtio consoles, as many as one likes; the guest's hvc0 is the first that was plugged in. */
#pragma once

#include "../console.h"
#include "../vm.h"

/* Of a name that no other has. Where what the guest says arrives; NULL when it fails. */
struct console *virtio_console_plug(struct vm *vm, const char *name, struct failure *failure);
/* NULL: there is none of this name. */
struct console *virtio_console_find(const char *name);
/* When the VM ends: whoever has one open gets what is left. */
void virtio_console_detach_all(void);
