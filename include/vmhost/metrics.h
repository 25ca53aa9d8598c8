/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Metrics come in frames: a column for each metric, a row for each VM, and the age of every value. */
#ifndef VMHOST_METRICS_H
#define VMHOST_METRICS_H

#include <vmhost/base.h>

VMH_BEGIN_DECLS

/* The value of a cell that the VM does not have. Since 0.1. */
#define VMH_METRIC_NONE UINT64_MAX

/*
 * Takes a frame of all VMs. columns: metrics by name or pattern, with commas ("cpu.time,disk.*"), or NULL for all
 * that are of a whole VM (not by vCPU, disk or NIC). Waits at most the option sample.timeout: a VM that does not
 * answer keeps its last values, with their age. VMH_ERR_UNKNOWN_NAME names the nearest metric. flags: 0.
 * Since 0.1.
 */
VMH_API vmh_frame *vmh_host_sample(vmh_host *host, const char *columns, uint64_t flags, vmh_error **error);
VMH_API vmh_frame *vmh_frame_ref(vmh_frame *frame);
VMH_API void       vmh_frame_unref(vmh_frame *frame);

/* The rows, and of each the VM's UUID and name. Borrowed. NULL when the index is too high. Since 0.1. */
VMH_API size_t      vmh_frame_rows(const vmh_frame *frame);
VMH_API const char *vmh_frame_row_uuid(const vmh_frame *frame, size_t row);
VMH_API const char *vmh_frame_row_name(const vmh_frame *frame, size_t row);

/* The columns: "cpu.time", or with the device's name in it "disk.root.read.bytes". Borrowed. Since 0.1. */
VMH_API size_t      vmh_frame_columns(const vmh_frame *frame);
VMH_API const char *vmh_frame_column_name(const vmh_frame *frame, size_t column);

/*
 * One column: arrays of vmh_frame_rows() values (VMH_METRIC_NONE: this VM has none) and of their ages in
 * milliseconds, borrowed from the frame; either may be NULL. VMH_ERR_NOT_FOUND: not in this frame. Since 0.1.
 */
VMH_API int32_t vmh_frame_column(const vmh_frame *frame, const char *metric, const uint64_t **values,
                                 const uint64_t **ages_ms, vmh_error **error);

/* The schema of metrics. The objects are constant and live for ever. Since 0.1. */
VMH_API size_t            vmh_metric_count(void);
VMH_API const vmh_metric *vmh_metric_at(size_t index);
VMH_API const vmh_metric *vmh_metric_find(const char *name, vmh_error **error);
VMH_API const char       *vmh_metric_pattern(const vmh_metric *metric); /* "disk.<id>.read.bytes" */
VMH_API const char       *vmh_metric_unit(const vmh_metric *metric);    /* "bytes", "ns", "1" */
VMH_API int32_t           vmh_metric_counter(const vmh_metric *metric); /* 1: only grows; 0: a gauge */
VMH_API const char       *vmh_metric_since(const vmh_metric *metric);
VMH_API const char       *vmh_metric_doc(const vmh_metric *metric);

VMH_END_DECLS
#endif
