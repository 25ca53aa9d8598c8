/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Namespaces with nothing in them: no file, no network. A VMM makes them for itself, or joins those that its host has
 * made once for all its VMMs, since to make them takes as long as half of a VM's start. Nobody meets anybody there:
 * the one file system is empty and cannot be written to, and no VMM may make a socket.
 */
#pragma once

#include <stdbool.h>

/*
 * Moves the calling thread into such namespaces and opens them for others. Only root can: others own what they join
 * only within a user namespace of theirs. False: there are none, and nothing is open.
 */
bool cell_make(int *network, int *mounts);
/* What a process does that is to do nothing else: makes them and sends both over the socket. */
bool cell_send(int connection);

/* Of a process with one thread. Joining closes both descriptors. False: it is where it was. */
bool cell_join(int network, int mounts);
/* Makes its own; is_empty: whether no file of the host is to be seen. */
bool cell_leave(bool *is_empty);
