/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's states in our words, and a VM's UUID. */
#include "libvirt/common.h"

static const int32_t states[] = {
    [VIR_DOMAIN_NOSTATE] = VMH_VM_UNKNOWN,   [VIR_DOMAIN_RUNNING] = VMH_VM_RUNNING,
    [VIR_DOMAIN_BLOCKED] = VMH_VM_RUNNING,   [VIR_DOMAIN_PAUSED] = VMH_VM_PAUSED,
    [VIR_DOMAIN_SHUTDOWN] = VMH_VM_STOPPING, [VIR_DOMAIN_SHUTOFF] = VMH_VM_STOPPED,
    [VIR_DOMAIN_CRASHED] = VMH_VM_CRASHED,   [VIR_DOMAIN_PMSUSPENDED] = VMH_VM_SUSPENDED,
};

static const struct {
    int         state;
    int         detail;
    const char *reason;
} reasons[] = {
    {VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED, "booted"},
    {VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_MIGRATED, "migrated"},
    {VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_RESTORED, "restored"},
    {VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_FROM_SNAPSHOT, "reverted to a snapshot"},
    {VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_UNPAUSED, "resumed"},
    {VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_MIGRATION_CANCELED, "migration cancelled"},
    {VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_SAVE_CANCELED, "save cancelled"},
    {VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_WAKEUP, "woke up"},
    {VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_CRASHED, "crashed and went on"},
    {VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_POSTCOPY, "post-copy migration"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER, "paused"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION, "migrating"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_SAVE, "being saved"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_DUMP, "being dumped"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR, "I/O error"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_WATCHDOG, "watchdog"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_FROM_SNAPSHOT, "reverted to a snapshot"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_SHUTTING_DOWN, "shutting down"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_SNAPSHOT, "snapshot being taken"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_CRASHED, "crashed"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP, "starting"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY, "post-copy migration"},
    {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY_FAILED, "post-copy migration failed"},
    {VIR_DOMAIN_SHUTDOWN, VIR_DOMAIN_SHUTDOWN_USER, "shut down"},
    {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, "shut down"},
    {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_DESTROYED, "stopped"},
    {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_CRASHED, "crashed"},
    {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_MIGRATED, "migrated"},
    {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_SAVED, "saved"},
    {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_FAILED, "failed"},
    {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT, "reverted to a snapshot"},
    {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_DAEMON, "lost by the host's daemon"},
    {VIR_DOMAIN_CRASHED, VIR_DOMAIN_CRASHED_PANICKED, "the guest panicked"},
};

int32_t vmhi_libvirt_state(int state, int detail, const char **reason)
{
    *reason = NULL;
    for (gsize i = 0; i < G_N_ELEMENTS(reasons); i++)
        if (reasons[i].state == state && reasons[i].detail == detail)
            *reason = reasons[i].reason;
    return state >= 0 && state < (int)G_N_ELEMENTS(states) ? states[state] : VMH_VM_UNKNOWN;
}

/* libvirt's own call prints each byte with a format, and does so twice; this is done for each event and each row. */
gboolean vmhi_libvirt_uuid(virDomainPtr domain, char *uuid)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char     raw[VIR_UUID_BUFLEN];
    const gboolean    known = virDomainGetUUID(domain, raw) == 0;

    for (int i = 0; known && i < VIR_UUID_BUFLEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *uuid++ = '-';
        *uuid++ = digits[raw[i] >> 4];
        *uuid++ = digits[raw[i] & 15];
    }
    *uuid = '\0';
    return known;
}
