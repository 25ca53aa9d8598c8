/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One thread that wakes at deadlines, for all of the library. */
#pragma once

#include <glib.h>

/* Calls `fire` once, in the timers' thread, after delay_ms; fire is quick. data is freed when all is over. */
GSource *vmhi_timer_new(guint delay_ms, GSourceFunc fire, void *data, GDestroyNotify free_data);

/* Stops it, fired or not, and drops it; `fire` may just be running. NULL is fine. */
void vmhi_timer_drop(GSource *timer);
