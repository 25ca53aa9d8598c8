/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control thread: answers whoever is connected, and carries out what vCPUs ask for. */
#pragma once

#include "device/serial.h"
#include "vm.h"

/*
 * listener: a bound socket where programs connect; first: the connection of whoever started us, without whom nothing
 * is booted; words: a file that gets the VM's last state and reason. loop_run() then serves them until the VM has
 * ended.
 */
bool control_init(struct vm *vm, struct serial *serial, int listener, int first, int words);
