/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A frame: columns of values and ages. Arrays are made when their first value comes; a column that nobody
 * filled, and the ages of one that is all new, share an array with the others like it.
 */
#include "model/frame.h"
#include <string.h>

typedef struct {
    char     *name;
    uint64_t *values; /* NULL: no VM has any */
    uint64_t *ages;   /* NULL: all 0 */
} column;

struct vmh_frame {
    int            refs;
    vmhi_wanted   *wanted;
    int64_t        taken_us;
    size_t         rows;
    size_t         capacity;
    const char   **uuids;
    const char   **names;
    uint8_t       *complete;
    GStringChunk  *strings; /* of rows that were not lent; NULL: there are none */
    void          *held;    /* where the texts of the others are */
    GDestroyNotify release;
    GPtrArray     *columns;
    GHashTable    *by_name;                    /* name -> column */
    column        *whole[VMHI_METRIC_COUNT];   /* of whole-VM metrics, those asked for */
    GHashTable    *devices[VMHI_METRIC_COUNT]; /* of by-device metrics: device -> column */
    uint64_t      *none;                       /* a column without values, and one without age */
    uint64_t      *zero;
};

static void column_free(column *c)
{
    g_free(c->name);
    g_free(c->values);
    g_free(c->ages);
    g_free(c);
}

static column *add_column(vmh_frame *frame, char *name)
{
    column *c = g_new0(column, 1);

    c->name = name;
    g_ptr_array_add(frame->columns, c);
    g_hash_table_insert(frame->by_name, c->name, c);
    return c;
}

static uint64_t *new_values(size_t count)
{
    uint64_t *values = g_new(uint64_t, MAX(count, 1));

    memset(values, 0xff, count * sizeof *values);
    return values;
}

vmh_frame *vmhi_frame_new(const vmhi_wanted *wanted, size_t rows_expected)
{
    vmh_frame *frame = g_new0(vmh_frame, 1);

    frame->refs = 1;
    frame->wanted = vmhi_wanted_copy(wanted);
    frame->capacity = MAX(rows_expected, 1);
    frame->uuids = g_new(const char *, frame->capacity);
    frame->names = g_new(const char *, frame->capacity);
    frame->complete = g_new0(uint8_t, frame->capacity);
    frame->columns = g_ptr_array_new_with_free_func((GDestroyNotify)column_free);
    frame->by_name = g_hash_table_new(g_str_hash, g_str_equal);
    for (int i = 0; i < VMHI_METRIC_COUNT; i++) {
        const vmh_metric *metric = vmhi_metric_get(i);
        if (vmhi_wanted_has(wanted, i) && !strchr(metric->pattern, '<'))
            frame->whole[i] = add_column(frame, g_strdup(metric->pattern));
    }
    return frame;
}

vmh_frame *vmh_frame_ref(vmh_frame *frame)
{
    if (frame)
        g_atomic_int_inc(&frame->refs);
    return frame;
}

void vmh_frame_unref(vmh_frame *frame)
{
    if (!frame || !g_atomic_int_dec_and_test(&frame->refs))
        return;
    for (int i = 0; i < VMHI_METRIC_COUNT; i++)
        g_clear_pointer(&frame->devices[i], g_hash_table_unref);
    g_hash_table_unref(frame->by_name);
    g_ptr_array_unref(frame->columns);
    g_clear_pointer(&frame->strings, g_string_chunk_free);
    if (frame->held)
        frame->release(frame->held);
    vmhi_wanted_free(frame->wanted);
    g_free(frame->uuids);
    g_free(frame->names);
    g_free(frame->complete);
    g_free(frame->none);
    g_free(frame->zero);
    g_free(frame);
}

const vmhi_wanted *vmhi_frame_wanted(const vmh_frame *frame)
{
    return frame->wanted;
}

/* More rows came than were expected. */
static void grow(vmh_frame *frame)
{
    size_t capacity = frame->capacity * 2;
    size_t added = capacity - frame->capacity;

    frame->uuids = g_renew(const char *, frame->uuids, capacity);
    frame->names = g_renew(const char *, frame->names, capacity);
    frame->complete = g_renew(uint8_t, frame->complete, capacity);
    memset(frame->complete + frame->capacity, 0, added);
    for (guint i = 0; i < frame->columns->len; i++) {
        column *c = frame->columns->pdata[i];
        if (!c->values)
            continue;
        c->values = g_renew(uint64_t, c->values, capacity);
        memset(c->values + frame->capacity, 0xff, added * sizeof *c->values);
    }
    frame->capacity = capacity;
}

size_t vmhi_frame_add_lent_row(vmh_frame *frame, const char *uuid, const char *name)
{
    if (frame->rows == frame->capacity)
        grow(frame);
    frame->uuids[frame->rows] = uuid;
    frame->names[frame->rows] = name;
    return frame->rows++;
}

size_t vmhi_frame_add_row(vmh_frame *frame, const char *uuid, const char *name)
{
    if (!frame->strings)
        frame->strings = g_string_chunk_new(64 * 1024);
    return vmhi_frame_add_lent_row(frame, g_string_chunk_insert(frame->strings, uuid),
                                   g_string_chunk_insert(frame->strings, name));
}

void vmhi_frame_hold(vmh_frame *frame, void *texts, GDestroyNotify release)
{
    g_assert(!frame->held);
    frame->held = texts;
    frame->release = release;
}

void vmhi_frame_complete(vmh_frame *frame, size_t row)
{
    frame->complete[row] = TRUE;
}

static inline uint64_t *cell(vmh_frame *frame, column *c, size_t row)
{
    if (G_UNLIKELY(!c->values))
        c->values = new_values(frame->capacity);
    return &c->values[row];
}

void vmhi_frame_set(vmh_frame *frame, size_t row, vmhi_metric metric, uint64_t value)
{
    if (frame->whole[metric])
        *cell(frame, frame->whole[metric], row) = value;
}

void vmhi_frame_add(vmh_frame *frame, size_t row, vmhi_metric metric, uint64_t value)
{
    uint64_t *present;

    if (!frame->whole[metric])
        return;
    present = cell(frame, frame->whole[metric], row);
    *present = *present == VMH_METRIC_NONE ? value : *present + value;
}

/* "disk.root.read.bytes" from "disk.<id>.read.bytes". */
static char *device_column_name(vmhi_metric metric, const char *device)
{
    const char *pattern = vmhi_metric_get(metric)->pattern;
    const char *open = strchr(pattern, '<');

    return g_strdup_printf("%.*s%s%s", (int)(open - pattern), pattern, device, strchr(open, '>') + 1);
}

void vmhi_frame_set_device(vmh_frame *frame, size_t row, vmhi_metric metric, const char *device, uint64_t value)
{
    GHashTable **columns = &frame->devices[metric];
    column      *c = *columns ? g_hash_table_lookup(*columns, device) : NULL;

    if (!c) {
        if (!vmhi_wanted_has_device(frame->wanted, metric, device))
            return;
        if (!*columns)
            *columns = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        c = add_column(frame, device_column_name(metric, device));
        g_hash_table_insert(*columns, g_strdup(device), c);
    }
    *cell(frame, c, row) = value;
}

/* Where each row stands in another frame, or G_MAXSIZE; mostly at the same place. */
static size_t *find_rows(const vmh_frame *frame, const vmh_frame *other)
{
    g_autoptr(GHashTable) index = NULL;
    size_t *places = g_new(size_t, MAX(frame->rows, 1));

    for (size_t i = 0; i < frame->rows; i++) {
        gpointer found = NULL;
        if (i < other->rows && strcmp(frame->uuids[i], other->uuids[i]) == 0) {
            places[i] = i;
            continue;
        }
        if (!index) {
            index = g_hash_table_new(g_str_hash, g_str_equal);
            for (size_t j = 0; j < other->rows; j++)
                g_hash_table_insert(index, (char *)other->uuids[j], GSIZE_TO_POINTER(j));
        }
        places[i] =
            g_hash_table_lookup_extended(index, frame->uuids[i], NULL, &found) ? GPOINTER_TO_SIZE(found) : G_MAXSIZE;
    }
    return places;
}

/* Fills what `frame` lacks in one column from the column of the same name in an earlier frame. */
static void inherit_column(vmh_frame *frame, const column *from, const size_t *places, uint64_t elapsed_ms)
{
    column *c = g_hash_table_lookup(frame->by_name, from->name);

    for (size_t i = 0; i < frame->rows; i++) {
        size_t   place = places[i];
        uint64_t old;
        if (frame->complete[i] || place == G_MAXSIZE || (c && c->values && c->values[i] != VMH_METRIC_NONE))
            continue;
        old = from->values[place];
        if (old == VMH_METRIC_NONE)
            continue;
        if (!c)
            c = add_column(frame, g_strdup(from->name));
        if (!c->ages)
            c->ages = g_new0(uint64_t, frame->capacity);
        *cell(frame, c, i) = old;
        c->ages[i] = (from->ages ? from->ages[place] : 0) + elapsed_ms;
    }
}

static gboolean any_open_row(const vmh_frame *frame)
{
    return frame->rows && memchr(frame->complete, 0, frame->rows);
}

static uint64_t elapsed_ms(const vmh_frame *since, int64_t now_us)
{
    return now_us > since->taken_us ? (uint64_t)(now_us - since->taken_us) / 1000 : 0;
}

/* What columns without arrays of their own lend out. */
static void make_shared_arrays(vmh_frame *frame)
{
    for (guint i = 0; i < frame->columns->len; i++) {
        const column *c = frame->columns->pdata[i];
        if (!c->values && !frame->none)
            frame->none = new_values(frame->rows);
        if (!c->ages && !frame->zero)
            frame->zero = g_new0(uint64_t, MAX(frame->rows, 1));
    }
}

void vmhi_frame_finish(vmh_frame *frame, const vmh_frame *previous, int64_t now_us)
{
    frame->taken_us = now_us;
    if (previous && any_open_row(frame)) {
        g_autofree size_t *places = find_rows(frame, previous);
        for (guint i = 0; i < previous->columns->len; i++) {
            const column *from = previous->columns->pdata[i];
            if (from->values)
                inherit_column(frame, from, places, elapsed_ms(previous, now_us));
        }
    }
    make_shared_arrays(frame);
}

vmh_frame *vmhi_frame_aged(const vmh_frame *frame, int64_t now_us)
{
    vmh_frame *aged = vmhi_frame_new(frame->wanted, frame->rows);

    for (size_t i = 0; i < frame->rows; i++)
        vmhi_frame_add_row(aged, frame->uuids[i], frame->names[i]);
    vmhi_frame_finish(aged, frame, now_us);
    return aged;
}

size_t vmh_frame_rows(const vmh_frame *frame)
{
    return frame ? frame->rows : 0;
}

const char *vmh_frame_row_uuid(const vmh_frame *frame, size_t row)
{
    return frame && row < frame->rows ? frame->uuids[row] : NULL;
}

const char *vmh_frame_row_name(const vmh_frame *frame, size_t row)
{
    return frame && row < frame->rows ? frame->names[row] : NULL;
}

size_t vmh_frame_columns(const vmh_frame *frame)
{
    return frame ? frame->columns->len : 0;
}

const char *vmh_frame_column_name(const vmh_frame *frame, size_t index)
{
    return frame && index < frame->columns->len ? ((column *)frame->columns->pdata[index])->name : NULL;
}

int32_t vmh_frame_column(const vmh_frame *frame, const char *metric, const uint64_t **values,
                         const uint64_t **ages_ms, vmh_error **error)
{
    const column *c;

    if (vmhi_failed(error))
        return (*error)->code;
    if (!frame || !metric) {
        vmhi_error_set(error, VMH_ERR_ARGUMENT, "%s is NULL", frame ? "metric" : "frame");
        return VMH_ERR_ARGUMENT;
    }
    c = g_hash_table_lookup(frame->by_name, metric);
    if (!c) {
        vmhi_error_set(error, VMH_ERR_NOT_FOUND,
                       "there is no column \"%s\" in this frame: it was not asked for, or no VM has it", metric);
        return VMH_ERR_NOT_FOUND;
    }
    if (values)
        *values = c->values ? c->values : frame->none;
    if (ages_ms)
        *ages_ms = c->ages ? c->ages : frame->zero;
    return 0;
}
