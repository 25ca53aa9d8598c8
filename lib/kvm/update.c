/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Updates: for the next start by the kept spec, and of what runs. First all verdicts, then the changes. */
#include "kvm/update.h"
#include <string.h>

/* What nobody but the reader of a description notices. */
static gboolean is_text(const char *path)
{
    return g_str_equal(path, "title") || g_str_equal(path, "description") || g_str_has_prefix(path, "metadata.");
}

static gboolean is_policy(const char *path)
{
    return g_str_has_prefix(path, "on.");
}

/* What a VM is known by, or cannot be otherwise here. */
static gboolean is_fixed(const char *path)
{
    return g_str_equal(path, "name") || g_str_equal(path, "uuid");
}

/* FALSE when the spec says of this device that it is not to be. */
static gboolean is_present(const vmh_spec *spec, const char *prefix)
{
    g_autofree char *path = g_strconcat(prefix, "present", NULL);
    gboolean         present = TRUE;

    vmhi_spec_bool(spec, path, &present);
    return present;
}

/* Whether the path gives a descriptor to a device that is to be. */
static gboolean is_given(const vmh_spec *spec, const char *path)
{
    g_autofree char *prefix = vmhi_kvm_is_given(path) ? vmhi_kvm_device_of(path) : NULL;

    return prefix && is_present(spec, prefix);
}

/* A device that is to go must be there. */
static gboolean check_present(const vmhi_kvm_change *u, vmh_error **error)
{
    for (guint i = 0; u->paths[i]; i++) {
        const char      *path = u->paths[i];
        g_autofree char *prefix = vmhi_kvm_device_of(path);

        if (!prefix || is_present(u->spec, prefix) || vmhi_kvm_has_device(u->kept, prefix) ||
            vmhi_kvm_has_device(u->running, prefix))
            continue;
        vmhi_error_set_property(error, VMH_ERR_NOT_FOUND, path, "%s: there is no such device", path);
        return FALSE;
    }
    return TRUE;
}

/* --- single properties --- */

/* TRUE when an update by the spec makes another of what there is now. */
static gboolean differs(const vmh_spec *now, const vmh_spec *spec, const char *path)
{
    static const char *const constant[] = {"accelerator", "arch", NULL};
    g_autofree char         *prefix = vmhi_kvm_device_of(path);

    if (!now || g_strv_contains(constant, path))
        return FALSE;
    if (prefix && !is_present(spec, prefix))
        return vmhi_kvm_has_device(now, prefix);
    if (prefix && g_str_has_suffix(path, ".present"))
        return FALSE;
    return !vmhi_spec_same(now, spec, path);
}

static void copy(vmh_spec *to, const vmh_spec *from, const char *path)
{
    g_autofree char *prefix = vmhi_kvm_device_of(path);

    if (prefix && !is_present(from, prefix)) {
        vmhi_kvm_remove_device(to, prefix);
        return;
    }
    vmhi_kvm_drop_other_sources(to, from, path);
    vmhi_spec_set_value(to, path, vmhi_spec_get(from, path, NULL), NULL);
}

/* Why what runs cannot be as the spec has it, or NULL. Constant. */
static const char *obstacle(const vmhi_kvm_change *u, const char *path)
{
    g_autofree char *prefix = vmhi_kvm_device_of(path);

    if (is_given(u->spec, path) && vmhi_spec_descriptor(u->spec, path) < 0)
        return VMHI_KVM_NOT_HERE;
    if (prefix && is_present(u->spec, prefix) != vmhi_kvm_has_device(u->running, prefix))
        return vmhi_kvm_is_without_bus(u->running)
                   ? "on a machine without a bus (mmio) devices neither come nor go while the VM runs"
                   : vmhi_kvm_why_not_plugged(is_present(u->spec, prefix) ? u->spec : u->running, prefix);
    if (is_text(path) || is_policy(path))
        return NULL;
    if (g_str_equal(path, "memory.limit"))
        return vmhi_spec_get(u->running, path, NULL) ? NULL
                                                     : "the memory in use was not counted, as there was no limit yet";
    if (vmhi_kvm_group_limits(path) || vmhi_kvm_is_pin(path) || vmhi_kvm_is_limit(path))
        return NULL;
    if (g_str_equal(path, "memory.size") && vmhi_spec_bool_or_default(u->running, "vm", "balloon"))
        return NULL;
    return "the built-in engine cannot change it while the VM runs yet";
}

static int32_t judge(const vmhi_kvm_change *u, const char *path, const char **reason)
{
    const gboolean keeps = u->persist && differs(u->kept, u->spec, path);
    const gboolean runs = differs(u->running, u->spec, path);

    *reason = NULL;
    if (is_fixed(path) && (keeps || runs)) {
        *reason = "a VM keeps the name and the UUID that it was created with";
        return VMH_VERDICT_REFUSED;
    }
    if (keeps && is_given(u->spec, path)) {
        *reason = VMHI_KVM_NOT_KEPT;
        return VMH_VERDICT_REFUSED;
    }
    if (!keeps && !(runs && u->live))
        return VMH_VERDICT_UNCHANGED;
    if (runs && u->live)
        *reason = obstacle(u, path);
    if (!runs || (u->live && !*reason))
        return VMH_VERDICT_APPLIED;
    return u->persist && !u->must_live ? VMH_VERDICT_AFTER_RESTART : VMH_VERDICT_REFUSED;
}

static gboolean check_supported(const vmhi_kvm_change *u, vmh_error **error)
{
    g_autoptr(vmh_error) refused = NULL;

    if (vmhi_kvm_check_supported(u->host, u->spec, &refused))
        return TRUE;
    vmhi_verdict(u->verdicts, refused->property, VMH_VERDICT_REFUSED, refused->message);
    vmhi_error_move(error, g_steal_pointer(&refused));
    return FALSE;
}

/* All verdicts first: when one refuses, nothing is changed. */
static gboolean judge_all(const vmhi_kvm_change *u, vmh_error **error)
{
    gboolean fine = TRUE;

    for (guint i = 0; u->paths[i]; i++) {
        const char   *reason;
        const int32_t verdict = judge(u, u->paths[i], &reason);

        vmhi_verdict(u->verdicts, u->paths[i], verdict, reason);
        if (verdict == VMH_VERDICT_REFUSED && fine)
            vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, u->paths[i], "%s: %s", u->paths[i], reason);
        fine = fine && verdict != VMH_VERDICT_REFUSED;
    }
    return fine;
}

/* Nothing was changed, and no verdict may say otherwise: what had nothing against it is refused for the other. */
static void take_back_verdicts(const vmhi_kvm_change *u, const vmh_error *why)
{
    g_autofree char *reason =
        g_strdup_printf("not changed, because %s was refused", why->property ? why->property : "another change");

    for (guint i = 0; u->paths[i]; i++) {
        const char   *ignored;
        const int32_t verdict = judge(u, u->paths[i], &ignored);

        if (g_strcmp0(u->paths[i], why->property) == 0)
            vmhi_verdict(u->verdicts, u->paths[i], VMH_VERDICT_REFUSED, why->message);
        else if (verdict == VMH_VERDICT_APPLIED || verdict == VMH_VERDICT_AFTER_RESTART)
            vmhi_verdict(u->verdicts, u->paths[i], VMH_VERDICT_REFUSED, reason);
    }
}

/* --- what shall be --- */

/* More memory for the next start makes room for it, unless the update says how much room there is. */
static void raise_most(const vmhi_kvm_change *u)
{
    uint64_t size = 0, most = 0;

    if (vmhi_spec_u64(u->spec, "memory.size", &size) && !vmhi_spec_u64(u->spec, "memory.max", &most) &&
        vmhi_spec_u64(u->kept_then, "memory.max", &most) && size > most)
        vmhi_spec_put_u64(u->kept_then, "memory.max", size);
}

/* Both are one as long as no CPU comes while a VM runs. */
static void follow_count(const vmhi_kvm_change *u)
{
    uint64_t count, most;

    if (vmhi_spec_u64(u->spec, "cpu.count", &count) && !vmhi_spec_u64(u->spec, "cpu.max", &most) &&
        vmhi_spec_u64(u->kept_then, "cpu.max", &most))
        vmhi_spec_put_u64(u->kept_then, "cpu.max", count);
}

static void plan_running(vmhi_kvm_change *u)
{
    u->running_then = vmhi_spec_copy(u->running);
    for (guint i = 0; u->paths[i]; i++) {
        if (differs(u->running, u->spec, u->paths[i]) && !obstacle(u, u->paths[i]))
            copy(u->running_then, u->spec, u->paths[i]);
    }
}

/* A device that is new in what runs is, as far as the update does not say, as the one that is kept, and then both. */
static void agree_on_devices(const vmhi_kvm_change *u)
{
    for (guint i = 0; u->paths[i]; i++) {
        g_autofree char *prefix = vmhi_kvm_device_of(u->paths[i]);

        if (!prefix || !vmhi_kvm_has_device(u->running_then, prefix) || vmhi_kvm_has_device(u->running, prefix))
            continue;
        if (u->kept)
            vmhi_kvm_inherit_device(u->running_then, u->kept, prefix);
        vmhi_kvm_complete(u->running_then);
        if (u->kept_then)
            vmhi_kvm_inherit_device(u->kept_then, u->running_then, prefix);
    }
}

static gboolean plan(vmhi_kvm_change *u, vmh_error **error)
{
    if (u->persist) {
        u->kept_then = vmhi_spec_copy(u->kept);
        for (guint i = 0; u->paths[i]; i++) {
            if (differs(u->kept, u->spec, u->paths[i]))
                copy(u->kept_then, u->spec, u->paths[i]);
        }
        raise_most(u);
        follow_count(u);
    }
    if (u->live) {
        plan_running(u);
        agree_on_devices(u);
    }
    if (u->persist)
        vmhi_kvm_complete(u->kept_then);
    return (!u->persist || vmhi_kvm_check_whole(u->kept_then, error)) &&
           (!u->live || vmhi_kvm_check_whole(u->running_then, error));
}

static gboolean plan_or_refuse(vmhi_kvm_change *u, vmh_error **error)
{
    g_autoptr(vmh_error) failure = NULL;

    if (plan(u, &failure))
        return TRUE;
    take_back_verdicts(u, failure);
    vmhi_error_move(error, g_steal_pointer(&failure));
    return FALSE;
}

/* --- making it so, and taking it back --- */

/* What an update has of a kind goes to whoever it concerns, with the values of this spec. */
static gboolean tell_policy(const vmhi_kvm_change *u, const vmh_spec *as, vmh_error **error)
{
    struct wire_message message;
    g_autoptr(vmh_spec) policies = vmhi_spec_copy(as);
    gboolean any = FALSE;

    for (guint i = 0; u->paths[i]; i++) {
        if (!is_policy(u->paths[i]))
            continue;
        vmhi_spec_put(policies, u->paths[i], vmhi_spec_str_or_default(as, "vm", u->paths[i]));
        any = TRUE;
    }
    vmhi_kvm_put_policy(&message, policies);
    return !any || vmhi_kvm_ask(u->host, u->uuid, &message, error);
}

static gboolean tell_balloon(const vmhi_kvm_change *u, const vmh_spec *as, vmh_error **error)
{
    struct wire_message message;
    uint64_t            memory;

    if (!vmhi_spec_get(u->spec, "memory.size", NULL) || obstacle(u, "memory.size") ||
        !vmhi_spec_u64(as, "memory.size", &memory))
        return TRUE;
    vmhi_kvm_put_balloon(&message, memory);
    return vmhi_kvm_ask(u->host, u->uuid, &message, error);
}

static gboolean apply_limits(const vmhi_kvm_change *u, const vmh_spec *as, vmh_error **error)
{
    gboolean any = FALSE;

    for (guint i = 0; u->paths[i]; i++)
        any = any || (vmhi_kvm_group_limits(u->paths[i]) && !obstacle(u, u->paths[i]));
    return !any || vmhi_kvm_group_apply(u->host, u->uuid, as, error);
}

static gboolean apply_pins(const vmhi_kvm_change *u, const vmh_spec *as, vmh_error **error)
{
    struct wire_message message;

    for (guint i = 0; u->paths[i]; i++) {
        vmh_error *refused = NULL;

        if (!vmhi_kvm_is_pin(u->paths[i]))
            continue;
        vmhi_kvm_put_pin(&message, as, u->paths[i]);
        if (!vmhi_kvm_ask(u->host, u->uuid, &message, &refused))
            return vmhi_kvm_refused(error, refused, u->paths[i]);
    }
    return TRUE;
}

static gboolean tell(const vmhi_kvm_change *u, const vmh_spec *as, vmh_error **error)
{
    return tell_policy(u, as, error) && tell_balloon(u, as, error) && apply_limits(u, as, error) &&
           apply_pins(u, as, error) && vmhi_kvm_tell_limits(u, as, error);
}

static gboolean write_specs(const vmhi_kvm_change *u, const vmh_spec *running, const vmh_spec *kept,
                            vmh_error **error)
{
    return (!running || vmhi_kvm_write(u->host, u->uuid, VMHI_KVM_RUNNING, running, error)) &&
           (!kept || vmhi_kvm_write(u->host, u->uuid, VMHI_KVM_SPEC, kept, error));
}

static void take_back(vmhi_kvm_change *u, vmh_error **failure)
{
    g_autoptr(GPtrArray) left = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *names = NULL;

    if (u->live) {
        tell(u, u->running, NULL);
        vmhi_kvm_plug_back(u, left);
    }
    write_specs(u, u->live ? u->running : NULL, u->persist ? u->kept : NULL, NULL);
    if (!left->len)
        return;
    g_ptr_array_add(left, NULL);
    names = g_strjoinv(", ", (char **)left->pdata);
    vmhi_error_prefix(failure, "this could not be taken back: %s", names);
}

static gboolean make(vmhi_kvm_change *u, vmh_error **error)
{
    g_autoptr(vmh_error) failure = NULL;

    if ((!u->live || (vmhi_kvm_plug(u, &failure) && tell(u, u->running_then, &failure))) &&
        write_specs(u, u->running_then, u->kept_then, &failure))
        return TRUE;
    take_back(u, &failure);
    take_back_verdicts(u, failure);
    vmhi_error_move(error, g_steal_pointer(&failure));
    return FALSE;
}

/* --- the verb --- */

static gboolean read_specs(vmhi_kvm_change *u, vmh_error **error)
{
    g_auto(vmhi_kvm_condition) now = vmhi_kvm_look_at(u->host, u->uuid);
    const gboolean runs = vmhi_kvm_runs(&now);

    if (!vmhi_kvm_exists(u->host, u->uuid, VMHI_KVM_TRANSIENT))
        u->kept = vmhi_kvm_read(u->host, u->uuid, VMHI_KVM_SPEC, error);
    if (runs)
        u->running = vmhi_kvm_read_running(u->host, u->uuid, error);
    if (u->running && now.devices)
        vmhi_kvm_drop_absent(u->running, now.devices);
    return u->kept || u->running;
}

static gboolean choose_targets(vmhi_kvm_change *u, uint64_t flags, vmh_error **error)
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

static gboolean check_generation(const vmhi_kvm_change *u, uint64_t generation, vmh_error **error)
{
    if (!generation || generation == vmhi_kvm_generation(u->host, u->uuid))
        return TRUE;
    vmhi_error_set(error, VMH_ERR_CONFLICT, "somebody changed the VM since it was described; describe it again");
    return FALSE;
}

static void clear(vmhi_kvm_change *u)
{
    vmhi_kvm_plug_clear(u);
    vmh_spec_unref(u->kept);
    vmh_spec_unref(u->running);
    vmh_spec_unref(u->kept_then);
    vmh_spec_unref(u->running_then);
    g_strfreev(u->paths);
    if (u->lock >= 0)
        close(u->lock);
    if (u->vm_lock >= 0)
        close(u->vm_lock);
}

static gboolean lock(vmhi_kvm_change *u, vmh_error **error)
{
    if (!vmhi_kvm_may_change(u->host, error))
        return FALSE;
    u->vm_lock = vmhi_kvm_lock_vm(u->host, u->uuid, error);
    if (u->vm_lock >= 0)
        u->lock = vmhi_kvm_lock(u->host, error);
    return u->lock >= 0;
}

gboolean vmhi_kvm_update(vmhi_driver_host *host, const char *uuid, const vmh_spec *spec, uint64_t flags,
                         uint64_t generation, vmhi_verdicts *verdicts, vmhi_task *task, vmh_error **error)
{
    vmhi_kvm_change u = {.host = host, .uuid = uuid, .spec = spec, .verdicts = verdicts, .task = task};
    gboolean        done = FALSE;

    u.paths = vmhi_spec_list(spec);
    u.lock = u.vm_lock = u.connection = -1;
    if (lock(&u, error) && check_supported(&u, error) && read_specs(&u, error) && check_present(&u, error) &&
        choose_targets(&u, flags, error) && check_generation(&u, generation, error) && judge_all(&u, error) &&
        plan_or_refuse(&u, error))
        done = (flags & VMH_UPDATE_DRY_RUN) || make(&u, error);
    if (!done)
        vmhi_error_prefix(error, "updating the VM");
    clear(&u);
    return done;
}
