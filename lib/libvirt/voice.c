/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers instead of pointers for libvirt's callbacks, so that a late one finds nothing instead of freed memory. */
#include "libvirt/voice.h"

struct vmhi_voice {
    gatomicrefcount   refs;
    GRecMutex         lock; /* held while the sink is called; recursive: the sink may drop the host */
    gpointer          number;
    gboolean          shut;
    vmhi_driver_host *host;
};

static GMutex      table_lock; /* taken with a voice's lock held, never the other way */
static GHashTable *table;      /* number -> voice */
static gsize       last_number;

static void unref(vmhi_voice *voice)
{
    if (!g_atomic_ref_count_dec(&voice->refs))
        return;
    g_rec_mutex_clear(&voice->lock);
    g_free(voice);
}

vmhi_voice *vmhi_voice_new(vmhi_driver_host *host)
{
    vmhi_voice *voice = g_new0(vmhi_voice, 1);

    g_atomic_ref_count_init(&voice->refs);
    g_rec_mutex_init(&voice->lock);
    voice->host = host;
    return voice;
}

void vmhi_voice_free(vmhi_voice *voice)
{
    vmhi_voice_shut(voice);
    unref(voice);
}

static void publish(vmhi_voice *voice, gpointer number)
{
    if (!table)
        table = g_hash_table_new(NULL, NULL);
    if (voice->number)
        g_hash_table_remove(table, voice->number);
    voice->number = number;
    if (number)
        g_hash_table_insert(table, number, voice);
}

gpointer vmhi_voice_open(vmhi_voice *voice)
{
    gpointer number;

    vmhi_voice_lock(voice);
    g_mutex_lock(&table_lock);
    number = GSIZE_TO_POINTER(++last_number);
    if (!voice->shut)
        publish(voice, number);
    g_mutex_unlock(&table_lock);
    vmhi_voice_leave(voice);
    return number;
}

void vmhi_voice_cut(vmhi_voice *voice)
{
    vmhi_voice_lock(voice);
    g_mutex_lock(&table_lock);
    publish(voice, NULL);
    g_mutex_unlock(&table_lock);
    vmhi_voice_leave(voice);
}

void vmhi_voice_shut(vmhi_voice *voice)
{
    vmhi_voice_lock(voice);
    voice->shut = TRUE;
    vmhi_voice_cut(voice);
    vmhi_voice_leave(voice);
}

vmhi_voice *vmhi_voice_enter(gpointer number)
{
    vmhi_voice *voice;

    g_mutex_lock(&table_lock);
    voice = table ? g_hash_table_lookup(table, number) : NULL;
    if (voice)
        g_atomic_ref_count_inc(&voice->refs);
    g_mutex_unlock(&table_lock);
    if (!voice)
        return NULL;

    g_rec_mutex_lock(&voice->lock);
    if (voice->number == number)
        return voice;
    vmhi_voice_leave(voice); /* It was cut while we waited. */
    return NULL;
}

void vmhi_voice_lock(vmhi_voice *voice)
{
    g_atomic_ref_count_inc(&voice->refs);
    g_rec_mutex_lock(&voice->lock);
}

void vmhi_voice_leave(vmhi_voice *voice)
{
    g_rec_mutex_unlock(&voice->lock);
    unref(voice);
}

vmhi_driver_host *vmhi_voice_host(vmhi_voice *voice)
{
    return voice->host;
}

gboolean vmhi_voice_is_open(const vmhi_voice *voice)
{
    return voice->number != NULL;
}
