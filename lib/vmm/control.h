/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control thread: answers whoever is connected, and carries out what vCPUs ask for. */
#pragma once

#include "device/serial.h"
#include "vm.h"

/* listener: where programs connect, or -1; first: the connection of who started us. Runs until the VM has ended. */
bool control_run(struct vm *vm, struct serial *serial, int listener, int first);
