/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Building frames: a driver adds rows and sets cells; what it could not learn is taken from the last frame. */
#pragma once

#include "model/error.h"
#include <vmhost/metrics.h>

/* The metrics, by their name in metrics.def: VMHI_METRIC_CPU_TIME … */
typedef enum {
#define METRIC(NAME, pattern, unit, counter, since, doc) VMHI_METRIC_##NAME,
#include "model/metrics.def"
#undef METRIC
    VMHI_METRIC_COUNT
} vmhi_metric;

struct vmh_metric {
    const char *pattern;
    const char *unit;
    gboolean    counter;
    const char *since;
    const char *doc;
};

const vmh_metric *vmhi_metric_get(vmhi_metric metric);

/* Which metrics a caller asked for: parsed once from "cpu.time,disk.*". NULL is all of a whole VM. */
typedef struct vmhi_wanted vmhi_wanted;
vmhi_wanted               *vmhi_wanted_new(const char *columns, vmh_error **error);
void                       vmhi_wanted_free(vmhi_wanted *wanted);
vmhi_wanted               *vmhi_wanted_copy(const vmhi_wanted *wanted);
gboolean                   vmhi_wanted_has(const vmhi_wanted *wanted, vmhi_metric metric);
/* "disk.root.*" asks for one device's metrics only. */
gboolean vmhi_wanted_has_device(const vmhi_wanted *wanted, vmhi_metric metric, const char *device);
/* Is one of a run of metrics asked for, as they stand in metrics.def? */
gboolean    vmhi_wanted_any(const vmhi_wanted *wanted, vmhi_metric first, vmhi_metric last);
const char *vmhi_wanted_text(const vmhi_wanted *wanted); /* what it was made from, "" for NULL */

/* A frame under construction belongs to one thread. */
vmh_frame         *vmhi_frame_new(const vmhi_wanted *wanted, size_t rows_expected);
const vmhi_wanted *vmhi_frame_wanted(const vmh_frame *frame);
size_t             vmhi_frame_add_row(vmh_frame *frame, const char *uuid, const char *name);

/* As above without copies: of texts within what the frame holds until it goes. It holds one thing. */
size_t vmhi_frame_add_lent_row(vmh_frame *frame, const char *uuid, const char *name);
void   vmhi_frame_hold(vmh_frame *frame, void *texts, GDestroyNotify release);

/* Sets a cell of a whole-VM metric, or adds to it; nothing when the metric was not asked for. */
void vmhi_frame_set(vmh_frame *frame, size_t row, vmhi_metric metric, uint64_t value);
void vmhi_frame_add(vmh_frame *frame, size_t row, vmhi_metric metric, uint64_t value);

/* Sets a cell of a metric by device; device is the <id> or <n>. */
void vmhi_frame_set_device(vmh_frame *frame, size_t row, vmhi_metric metric, const char *device, uint64_t value);

/* This VM has told all: what its row lacks it does not have, and nothing is taken from the last frame. */
void vmhi_frame_complete(vmh_frame *frame, size_t row);

/*
 * Ends the construction at monotonic time `now_us`: cells without a value take that of `previous` (may be NULL,
 * the same wanted) with its age, but for rows that are complete. The frame is read-only from here on.
 */
void vmhi_frame_finish(vmh_frame *frame, const vmh_frame *previous, int64_t now_us);

/* A finished frame once more, its ages as of now_us: for a host that did not answer in time. */
vmh_frame *vmhi_frame_aged(const vmh_frame *frame, int64_t now_us);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_frame, vmh_frame_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmhi_wanted, vmhi_wanted_free)
