/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A virtio socket device. The guest's streams end in UNIX sockets of the host. */
#pragma once

#include "device.h"

/*
 * At the listener, which is the device's from then on when it works, programs of the host begin with a line:
 *
 *   CONNECT PORT   to the guest's port; "OK PORT" tells the host's port, and the stream follows. It is closed where
 *                  nobody in the guest listens.
 *   LISTEN PORT    for the guest; "OK PORT", or "BUSY PORT" and it is closed. Each connection of the guest's to that
 *                  port of CID 2 comes as a descriptor (SCM_RIGHTS) with "FROM PORT", the guest's port.
 */
bool vsock_plug(struct vm *vm, uint64_t cid, int listener, struct failure *failure);
