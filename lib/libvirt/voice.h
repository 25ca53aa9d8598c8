/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way from libvirt's callbacks to a host's sink. A callback may still run, or start, after its connection was
 * given up or its host freed; so callbacks carry a number and no pointer, and a number that was cut leads nowhere.
 */
#pragma once

#include "libvirt/common.h"

/* Silent at first. It lives until vmhi_voice_free(), and for as long after as somebody is inside. */
vmhi_voice *vmhi_voice_new(vmhi_driver_host *host);
void        vmhi_voice_free(vmhi_voice *voice);

/* Opens it for one connection and returns the number that its callbacks carry; an older number is cut. */
gpointer vmhi_voice_open(vmhi_voice *voice);

/* Silences it. Waits for a call of the sink under way on another thread; fine from within the sink. */
void vmhi_voice_cut(vmhi_voice *voice);

/* Silences it for good: a number opened later leads nowhere. */
void vmhi_voice_shut(vmhi_voice *voice);

/*
 * Between enter and leave the host stands, and nobody else calls its sink or changes what it knows of its VMs.
 * No libvirt call in between that could wait. NULL: this connection's time is over.
 */
vmhi_voice       *vmhi_voice_enter(gpointer number);
void              vmhi_voice_leave(vmhi_voice *voice);
vmhi_driver_host *vmhi_voice_host(vmhi_voice *voice);

/* As enter, for those who have the host; never fails. */
void vmhi_voice_lock(vmhi_voice *voice);

/* With the lock held: may the sink be called? */
gboolean vmhi_voice_is_open(const vmhi_voice *voice);
