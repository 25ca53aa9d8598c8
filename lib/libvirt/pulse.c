/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counts the calls that are under way on a host, and while there are several makes small ones in between. */
#include "libvirt/pulse.h"
#include "model/thread.h"

enum { BEAT_MS = 50 };

struct vmhi_pulse {
    gatomicrefcount refs;
    GMutex          lock; /* guards what follows */
    GCond           changed;
    unsigned        under_way;
    gboolean        beating;
};

/* For one run of the beats: the connection may be replaced meanwhile, and the host be gone. */
typedef struct {
    vmhi_pulse   *pulse;
    virConnectPtr connection;
} beats;

vmhi_pulse *vmhi_pulse_new(void)
{
    vmhi_pulse *pulse = g_new0(vmhi_pulse, 1);

    g_atomic_ref_count_init(&pulse->refs);
    g_mutex_init(&pulse->lock);
    g_cond_init(&pulse->changed);
    return pulse;
}

void vmhi_pulse_unref(vmhi_pulse *pulse)
{
    if (!pulse || !g_atomic_ref_count_dec(&pulse->refs))
        return;
    g_cond_clear(&pulse->changed);
    g_mutex_clear(&pulse->lock);
    g_free(pulse);
}

/* Under the lock: waits for a beat's time. FALSE: no call waits behind another any more. */
static gboolean wait_beat(vmhi_pulse *pulse)
{
    gint64 end = g_get_monotonic_time() + BEAT_MS * 1000;

    while (pulse->under_way > 1)
        if (!g_cond_wait_until(&pulse->changed, &pulse->lock, end))
            return TRUE;
    return FALSE;
}

/* The reply is of no interest; when the connection has broken, there is nothing left to wake. */
static void beat(void *data)
{
    beats        *b = data;
    vmhi_pulse   *pulse = b->pulse;
    unsigned long version;
    gboolean      alive = TRUE;

    g_mutex_lock(&pulse->lock);
    while (alive && wait_beat(pulse)) {
        g_mutex_unlock(&pulse->lock);
        alive = virConnectGetLibVersion(b->connection, &version) == 0;
        g_mutex_lock(&pulse->lock);
    }
    pulse->beating = FALSE;
    g_mutex_unlock(&pulse->lock);
    virConnectClose(b->connection);
    vmhi_pulse_unref(pulse);
    g_free(b);
}

static void start_beating(vmhi_pulse *pulse, virConnectPtr connection)
{
    beats *b = g_new0(beats, 1);

    g_atomic_ref_count_inc(&pulse->refs);
    *b = (beats){.pulse = pulse, .connection = connection};
    vmhi_thread_run(beat, b);
}

vmhi_pulse *vmhi_pulse_begin(vmhi_driver_host *host)
{
    vmhi_pulse   *pulse = host->pulse;
    virConnectPtr connection = NULL;
    gboolean      start;

    if (!pulse)
        return NULL;
    g_mutex_lock(&pulse->lock);
    start = ++pulse->under_way > 1 && !pulse->beating;
    pulse->beating |= start;
    g_mutex_unlock(&pulse->lock);
    if (start)
        connection = vmhi_libvirt_connection(host, NULL);
    if (connection) {
        start_beating(pulse, connection);
    } else if (start) {
        g_mutex_lock(&pulse->lock);
        pulse->beating = FALSE;
        g_mutex_unlock(&pulse->lock);
    }
    return pulse;
}

void vmhi_pulse_end(vmhi_pulse *pulse)
{
    if (!pulse)
        return;
    g_mutex_lock(&pulse->lock);
    pulse->under_way--;
    g_cond_signal(&pulse->changed);
    g_mutex_unlock(&pulse->lock);
}
