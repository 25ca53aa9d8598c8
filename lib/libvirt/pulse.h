/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keeps calls on one connection from sleeping behind a long one. The thread whose call is the longest under way
 * does the input and output for all; when another thread hands it a call at the moment in which it goes to sleep,
 * libvirt before 9.10 does not wake it, and that call is sent only with the next traffic: a keepalive, or never.
 * So while several calls are under way, small ones are added, each of which wakes it.
 */
#pragma once

#include "libvirt/common.h"

vmhi_pulse *vmhi_pulse_new(void);
void        vmhi_pulse_unref(vmhi_pulse *pulse);

/* A call is under way on this host from here until vmhi_pulse_end(); NULL is fine. */
vmhi_pulse *vmhi_pulse_begin(vmhi_driver_host *host);
void        vmhi_pulse_end(vmhi_pulse *pulse);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmhi_pulse, vmhi_pulse_end)
