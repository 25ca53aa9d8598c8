/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Updates: for the next start by the kept spec; of what runs, what is text for people. */
#include "kvm/common.h"
#include <string.h>

typedef struct {
    vmhi_driver_host *host;
    const char       *uuid;
    const vmh_spec   *spec;
    vmhi_verdicts    *verdicts;
    vmh_spec         *kept;    /* NULL: the VM is transient */
    vmh_spec         *running; /* NULL: it does not run */
    gboolean          persist, live, must_live;
} update;

/* What nobody but the reader of a description notices. */
static gboolean is_text(const char *path)
{
    return g_str_equal(path, "title") || g_str_equal(path, "description") || g_str_has_prefix(path, "metadata.");
}

static gboolean is_policy(const char *path)
{
    return g_str_has_prefix(path, "on.");
}

/* What can be another at once. */
static gboolean is_live(const update *u, const char *path)
{
    if (g_str_equal(path, "memory.size"))
        return vmhi_spec_bool_or_default(u->running, "vm", "balloon");
    /* Memory that is in use already would not be counted. */
    if (g_str_equal(path, "memory.limit"))
        return vmhi_spec_get(u->running, path, NULL) != NULL;
    return is_text(path) || is_policy(path) || vmhi_kvm_group_limits(path) || vmhi_kvm_is_pin(path);
}

/* What a VM is known by, or cannot be otherwise here. */
static gboolean is_fixed(const char *path)
{
    return g_str_equal(path, "name") || g_str_equal(path, "uuid");
}

/* --- devices as a whole --- */

/* "disk.root." of "disk.root.present" when an update says so; NULL: it is another property. */
static char *device_of(const char *path)
{
    return g_str_has_suffix(path, ".present") ? g_strndup(path, strlen(path) - strlen("present")) : NULL;
}

static gboolean has_device(const vmh_spec *spec, const char *prefix)
{
    g_auto(GStrv) paths = spec ? vmhi_spec_list(spec) : NULL;
    gboolean found = FALSE;

    for (guint i = 0; paths && paths[i]; i++)
        found = found || g_str_has_prefix(paths[i], prefix);
    return found;
}

static void remove_device(vmh_spec *spec, const char *prefix)
{
    g_auto(GStrv) paths = vmhi_spec_list(spec);

    for (guint i = 0; paths[i]; i++) {
        if (g_str_has_prefix(paths[i], prefix))
            vmhi_spec_unset(spec, paths[i], NULL);
    }
}

/* A device that is to go must be there. */
static gboolean check_present(const update *u, GStrv paths, vmh_error **error)
{
    for (guint i = 0; paths[i]; i++) {
        g_autofree char *prefix = device_of(paths[i]);
        gboolean         present = TRUE;

        if (!prefix || !vmhi_spec_bool(u->spec, paths[i], &present) || present || has_device(u->kept, prefix) ||
            has_device(u->running, prefix))
            continue;
        vmhi_error_set_property(error, VMH_ERR_NOT_FOUND, paths[i], "%s: there is no such device", paths[i]);
        return FALSE;
    }
    return TRUE;
}

/* --- single properties --- */

static gboolean differs(const vmh_spec *now, const vmh_spec *wanted, const char *path)
{
    static const char *const constant[] = {"accelerator", "arch", NULL};
    g_autofree char         *prefix = device_of(path);
    gboolean                 present = TRUE;

    if (!now || g_strv_contains(constant, path))
        return FALSE;
    if (!prefix)
        return !vmhi_spec_same(now, wanted, path);
    vmhi_spec_bool(wanted, path, &present);
    return !present && has_device(now, prefix);
}

static void copy(vmh_spec *to, const vmh_spec *from, const char *path)
{
    const vmhi_value *value = vmhi_spec_get(from, path, NULL);
    g_autofree char  *prefix = device_of(path);

    if (prefix)
        remove_device(to, prefix);
    else
        vmhi_spec_set_value(to, path, value, NULL);
}

static int32_t judge(const update *u, const char *path, const char **reason)
{
    const gboolean keeps = u->persist && differs(u->kept, u->spec, path);
    const gboolean runs = differs(u->running, u->spec, path);

    *reason = NULL;
    if (is_fixed(path) && (keeps || runs)) {
        *reason = "a VM keeps the name and the UUID that it was created with";
        return VMH_VERDICT_REFUSED;
    }
    if (!keeps && !(runs && u->live))
        return VMH_VERDICT_UNCHANGED;
    if (!runs || (u->live && is_live(u, path)))
        return VMH_VERDICT_APPLIED;
    if (u->live)
        *reason = g_str_equal(path, "memory.limit") ? "the memory in use was not counted, as there was no limit yet"
                                                    : "the built-in engine cannot change it while the VM runs yet";
    return u->persist && !u->must_live ? VMH_VERDICT_AFTER_RESTART : VMH_VERDICT_REFUSED;
}

static gboolean check_supported(const update *u, vmh_error **error)
{
    g_autoptr(vmh_error) refused = NULL;

    if (vmhi_kvm_check_supported(u->host, u->spec, &refused))
        return TRUE;
    vmhi_verdict(u->verdicts, refused->property, VMH_VERDICT_REFUSED, refused->message);
    vmhi_error_move(error, g_steal_pointer(&refused));
    return FALSE;
}

/* All verdicts first: when one refuses, nothing is changed. */
static gboolean judge_all(const update *u, GStrv paths, vmh_error **error)
{
    gboolean fine = TRUE;

    for (guint i = 0; paths[i]; i++) {
        const char   *reason;
        const int32_t verdict = judge(u, paths[i], &reason);

        vmhi_verdict(u->verdicts, paths[i], verdict, reason);
        if (verdict == VMH_VERDICT_REFUSED && fine)
            vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, paths[i], "%s: %s", paths[i], reason);
        fine = fine && verdict != VMH_VERDICT_REFUSED;
    }
    return fine;
}

/* More memory for the next start makes room for it, unless the update says how much room there is. */
static void raise_most(const update *u)
{
    uint64_t size = 0, most = 0;

    if (vmhi_spec_u64(u->spec, "memory.size", &size) && !vmhi_spec_u64(u->spec, "memory.max", &most) &&
        vmhi_spec_u64(u->kept, "memory.max", &most) && size > most)
        vmhi_spec_put_u64(u->kept, "memory.max", size);
}

static gboolean tell_policy(const update *u, GStrv paths, vmh_error **error)
{
    struct wire_message message;
    gboolean            any = FALSE;

    for (guint i = 0; paths[i]; i++)
        any = any || is_policy(paths[i]);
    vmhi_kvm_put_policy(&message, u->spec);
    return !any || vmhi_kvm_ask(u->host, u->uuid, &message, error);
}

static gboolean tell_balloon(const update *u, vmh_error **error)
{
    struct wire_message message;
    uint64_t            memory;

    if (!vmhi_spec_u64(u->spec, "memory.size", &memory) || !is_live(u, "memory.size"))
        return TRUE;
    vmhi_kvm_put_balloon(&message, memory);
    return vmhi_kvm_ask(u->host, u->uuid, &message, error);
}

static gboolean apply_limits(const update *u, GStrv paths, vmh_error **error)
{
    gboolean any = FALSE;

    for (guint i = 0; paths[i]; i++)
        any = any || (vmhi_kvm_group_limits(paths[i]) && is_live(u, paths[i]));
    return !any || vmhi_kvm_group_apply(u->host, u->uuid, u->running, error);
}

static gboolean apply_pins(const update *u, GStrv paths, vmh_error **error)
{
    struct wire_message message;

    for (guint i = 0; paths[i]; i++) {
        vmh_error *refused = NULL;

        if (!vmhi_kvm_is_pin(paths[i]))
            continue;
        vmhi_kvm_put_pin(&message, u->spec, paths[i]);
        if (!vmhi_kvm_ask(u->host, u->uuid, &message, &refused))
            return vmhi_kvm_pin_refused(error, refused, paths[i]);
    }
    return TRUE;
}

static gboolean make(const update *u, GStrv paths, vmh_error **error)
{
    for (guint i = 0; paths[i]; i++) {
        if (u->persist && differs(u->kept, u->spec, paths[i]))
            copy(u->kept, u->spec, paths[i]);
        if (u->live && is_live(u, paths[i]))
            copy(u->running, u->spec, paths[i]);
    }
    if (u->persist)
        raise_most(u);
    if (u->persist && !vmhi_kvm_check_whole(u->kept, error))
        return FALSE;
    if (u->live && (!tell_policy(u, paths, error) || !tell_balloon(u, error) || !apply_limits(u, paths, error) ||
                    !apply_pins(u, paths, error)))
        return FALSE;
    return (!u->live || vmhi_kvm_write(u->host, u->uuid, VMHI_KVM_RUNNING, u->running, error)) &&
           (!u->persist || vmhi_kvm_write(u->host, u->uuid, VMHI_KVM_SPEC, u->kept, error));
}

static gboolean read_specs(update *u, vmh_error **error)
{
    g_auto(vmhi_kvm_condition) now = vmhi_kvm_look_at(u->host, u->uuid);
    const gboolean runs = now.state != VMH_VM_STOPPED && now.state != VMH_VM_CRASHED;

    if (!vmhi_kvm_exists(u->host, u->uuid, VMHI_KVM_TRANSIENT))
        u->kept = vmhi_kvm_read(u->host, u->uuid, VMHI_KVM_SPEC, error);
    if (runs)
        u->running = vmhi_kvm_read(u->host, u->uuid, VMHI_KVM_RUNNING, error);
    return u->kept || u->running;
}

static gboolean choose_targets(update *u, uint64_t flags, vmh_error **error)
{
    const gboolean any = !(flags & (VMH_UPDATE_LIVE | VMH_UPDATE_PERSIST));

    u->must_live = (flags & VMH_UPDATE_LIVE) != 0;
    u->persist = u->kept && (any || (flags & VMH_UPDATE_PERSIST));
    u->live = u->running && (any || u->must_live);
    if (u->must_live && !u->running)
        vmhi_error_set(error, VMH_ERR_STATE, "the VM is stopped; leave VMH_UPDATE_LIVE out");
    else if ((flags & VMH_UPDATE_PERSIST) && !u->kept)
        vmhi_error_set(error, VMH_ERR_STATE, "the VM vanishes when it stops; leave VMH_UPDATE_PERSIST out");
    else
        return TRUE;
    return FALSE;
}

static gboolean check_generation(const update *u, uint64_t generation, vmh_error **error)
{
    if (!generation || generation == vmhi_kvm_generation(u->host, u->uuid))
        return TRUE;
    vmhi_error_set(error, VMH_ERR_CONFLICT, "somebody changed the VM since it was described; describe it again");
    return FALSE;
}

gboolean vmhi_kvm_update(vmhi_driver_host *host, const char *uuid, const vmh_spec *spec, uint64_t flags,
                         uint64_t generation, vmhi_verdicts *verdicts, vmhi_task *task, vmh_error **error)
{
    update u = {.host = host, .uuid = uuid, .spec = spec, .verdicts = verdicts};
    g_auto(GStrv) paths = vmhi_spec_list(spec);
    const int lock = vmhi_kvm_may_change(host, error) ? vmhi_kvm_lock(host, error) : -1;
    gboolean  done = FALSE;

    (void)task;
    if (lock < 0)
        return FALSE;
    if (check_supported(&u, error) && read_specs(&u, error) && check_present(&u, paths, error) &&
        choose_targets(&u, flags, error) && check_generation(&u, generation, error) && judge_all(&u, paths, error))
        done = (flags & VMH_UPDATE_DRY_RUN) || make(&u, paths, error);
    if (!done)
        vmhi_error_prefix(error, "updating the VM");
    vmh_spec_unref(u.kept);
    vmh_spec_unref(u.running);
    close(lock);
    return done;
}
