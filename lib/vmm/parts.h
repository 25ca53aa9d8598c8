/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a machine consists of, as it is asked for before it boots and while it runs. */
#pragma once

#include "device/serial.h"

void parts_init(struct vm *machine, struct serial *port);

/* Descriptors that it takes leave the message. */
bool parts_serve(struct wire_message *request, uint16_t type, struct failure *failure);
