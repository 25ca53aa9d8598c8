/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One migration under way: libvirt's blocking call on a thread of its own, and what is known of it meanwhile. */
#pragma once

#include "libvirt/common.h"

typedef struct {
    virDomainPtr       domain;      /* on the source */
    virConnectPtr      destination; /* to which libvirt's call goes in mode direct */
    const char        *peer_uri;    /* mode peer: where the source connects to; else NULL */
    virTypedParameter *params;
    int                param_count;
    unsigned           flags; /* VIR_MIGRATE_… */
    gboolean           can_abort;
    uint64_t           downtime_ms;      /* 0: the hypervisor's */
    uint64_t           begin_timeout_ms; /* until the first byte */
    uint64_t           stall_timeout_ms; /* from then on; 0: none */
    gboolean           post_copy;
} vmhi_move;

/*
 * Runs it to its end, tells the task of its progress, and aborts it when the task is cancelled or nothing moves
 * for too long. FALSE with VMH_ERR_CANCELLED, VMH_ERR_TIMEOUT or what libvirt said. A move that does not even
 * react to the abort is left behind, with all it needs. Takes the params.
 */
gboolean vmhi_move_run(vmhi_move *move, vmhi_task *task, vmh_error **error);
