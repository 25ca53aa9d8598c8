/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Taking frames within a time: what a host that does not answer leaves behind, and the last frames it gave. */
#pragma once

#include "driver.h"

/* Part of a host. The fields are sampling.c's own. */
typedef struct {
    GMutex   lock;
    GCond    changed;
    GQueue   recent;    /* the newest frame of each choice of columns, the last used first */
    unsigned under_way; /* calls of the driver on threads */
    unsigned overdue;   /* of these, the ones that nobody waits for any more */
} vmhi_sampling;

void vmhi_sampling_init(vmhi_sampling *sampling);
/* No call may be under way: each keeps the owner, and with it this. */
void vmhi_sampling_clear(vmhi_sampling *sampling);

/*
 * A new frame, or, when the driver does not answer within timeout_ms, the last one with its ages as of now;
 * VMH_ERR_TIMEOUT when there is none. in_process: the driver is called on this thread. Else it is on a thread
 * of its own, for which keep(owner) is called before and drop(owner) after; three such calls may be under way,
 * and what comes late is the last frame for the next caller.
 */
vmh_frame *vmhi_sampling_take(vmhi_sampling *sampling, const vmhi_driver *driver, vmhi_driver_host *host,
                              gboolean in_process, const char *columns, int64_t timeout_ms, void (*keep)(void *owner),
                              void (*drop)(void *owner), void *owner, vmh_error **error);
