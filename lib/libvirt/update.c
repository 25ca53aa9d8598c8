/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Updating a VM. First a verdict for every property, over copies of what is kept and what runs; then, when none is
 * refused, the changes: what is kept by one definition, what runs change by change, each with its way back.
 */
#include "libvirt/update.h"

#include <string.h>

enum { PATIENCE_US = 30 * G_USEC_PER_SEC };

static void view_clear(vmhi_view *view)
{
    xmlFreeDoc(view->doc);
    vmh_spec_unref(view->spec);
    *view = (vmhi_view){0};
}

static void view_set(vmhi_view *view, xmlDoc *doc)
{
    view_clear(view);
    view->doc = doc;
    view->spec = vmhi_domain_read(doc);
}

static void update_clear(vmhi_update *u)
{
    u->kept.doc = u->run.doc = NULL; /* the documents' */
    view_clear(&u->kept);
    view_clear(&u->kept_then);
    view_clear(&u->run);
    view_clear(&u->run_then);
    vmhi_documents_clear(&u->documents);
    vmh_spec_unref(u->live_spec);
    g_clear_pointer(&u->reasons, g_hash_table_unref);
    g_strfreev(u->paths);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(vmhi_update, update_clear)

/* --- paths --- */

const vmhi_domain_class *vmhi_update_device(const char *path, char **id)
{
    g_auto(GStrv) words = g_strsplit(path, ".", 3);
    const vmhi_domain_class *class = g_strv_length(words) == 3 ? vmhi_domain_class_of(words[0]) : NULL;

    if (class)
        *id = g_strdup(words[1]);
    return class;
}

gboolean vmhi_update_has(const vmhi_view *view, const vmhi_domain_class *class, const char *id)
{
    return vmhi_domain_device(view->doc, class->name, id) != NULL;
}

gboolean vmhi_update_differs(const vmhi_view *now, const vmhi_view *then, const char *path)
{
    g_autofree char *id = NULL;
    const vmhi_domain_class *class = vmhi_update_device(path, &id);

    if (class && (!vmhi_update_has(now, class, id) || !vmhi_update_has(then, class, id)))
        return vmhi_update_has(now, class, id) != vmhi_update_has(then, class, id);
    return !vmhi_spec_same(now->spec, then->spec, path);
}

/* --- the part that can change what runs --- */

static void keep_out(vmhi_update *u, const char *path, const vmh_error *why)
{
    g_hash_table_insert(u->reasons, g_strdup(path), vmhi_error_copy(why));
    vmhi_spec_unset(u->live_spec, path, NULL);
}

/* A device comes or goes as a whole: when one of its properties stands in the way, all of them wait. */
static void keep_device_out(vmhi_update *u, const char *class_name, const char *id, const vmh_error *why)
{
    g_autofree char *prefix = vmhi_path(class_name, id, "");

    for (guint i = 0; u->paths[i]; i++)
        if (g_str_has_prefix(u->paths[i], prefix))
            keep_out(u, u->paths[i], why);
}

/* Why a property cannot change what runs, as far as that is known before trying; NULL: it may. */
static const char *obstacle(const vmhi_update *u, const char *path)
{
    const vmh_property *property = vmhi_schema_lookup("vm", path);
    g_autofree char    *id = NULL;
    const vmhi_domain_class *class = vmhi_update_device(path, &id);
    gboolean         present = TRUE;
    g_autofree char *presence = class ? vmhi_path(class->name, id, "present") : NULL;
    guint            order;

    if (class)
        vmhi_spec_bool(u->spec, presence, &present);
    if (class && vmhi_update_has(&u->run, class, id) != present)
        return vmhi_live_plug(class->name) ? vmhi_live_obstacle(u->platform, property->pattern, u->run.doc)
                                           : "such a device is not plugged in or out while the VM runs";
    if (class && g_str_has_suffix(path, ".present"))
        return NULL; /* as it is */
    if (!(property->flags & VMHI_LIVE) || !vmhi_live_find(property->pattern, &order))
        return "it cannot change while the VM runs";
    return vmhi_live_obstacle(u->platform, property->pattern, u->run.doc);
}

/* Takes out of the live part what an error is about. FALSE: it is about nothing in it, and the update fails. */
static gboolean keep_out_by_error(vmhi_update *u, const vmh_error *failure)
{
    g_autofree char *id = NULL;
    const vmhi_domain_class *class = failure->property ? vmhi_update_device(failure->property, &id) : NULL;
    guint before = g_hash_table_size(u->reasons);

    if (class && !vmhi_update_has(&u->run, class, id))
        keep_device_out(u, class->name, id, failure);
    else if (failure->property && vmhi_domain_has(u->live_spec, failure->property))
        keep_out(u, failure->property, failure);
    return g_hash_table_size(u->reasons) > before;
}

static gboolean plan_live(vmhi_update *u, vmh_error **error)
{
    u->live_spec = vmhi_spec_copy(u->spec);
    for (guint i = 0; u->paths[i]; i++) {
        const char *reason = obstacle(u, u->paths[i]);
        g_autoptr(vmh_error) why = NULL;

        if (!reason)
            continue;
        vmhi_error_set_property(&why, VMH_ERR_UNSUPPORTED, u->paths[i], "%s: %s", u->paths[i], reason);
        keep_out(u, u->paths[i], why);
    }
    for (;;) {
        g_autoptr(vmh_error) failure = NULL;

        view_set(&u->run_then, xmlCopyDoc(u->run.doc, 1));
        if (vmhi_domain_apply(u->run_then.doc, u->platform, u->live_spec, &failure))
            break;
        if (!keep_out_by_error(u, failure)) {
            vmhi_error_move(error, g_steal_pointer(&failure));
            return FALSE;
        }
    }
    vmh_spec_unref(u->run_then.spec);
    u->run_then.spec = vmhi_domain_read(u->run_then.doc);
    return TRUE;
}

/* --- what is kept --- */

/* A target that another disk has in what is kept is chosen anew there. */
static gboolean is_free(const vmhi_update *u, const char *leaf, const char *value)
{
    xmlNode *devices = vmhi_xml_find(xmlDocGetRootElement(u->kept.doc), "devices");

    if (!g_str_equal(leaf, "target"))
        return TRUE;
    for (xmlNode *disk = vmhi_xml_child(devices, "disk"); disk; disk = vmhi_xml_next(disk, "disk"))
        if (vmhi_xml_has(disk, "target@dev", value))
            return FALSE;
    return TRUE;
}

/* A device that is new in both gets the same target and address in both. */
static void take_over(const vmhi_update *u, vmh_spec *spec, const vmhi_domain_class *class, const char *id)
{
    static const char *const leaves[] = {"bus", "target", "mac"};

    for (gsize i = 0; i < G_N_ELEMENTS(leaves); i++) {
        g_autofree char *path = vmhi_path(class->name, id, leaves[i]);
        const char      *value = vmhi_schema_lookup("vm", path) ? vmhi_spec_str(u->run_then.spec, path) : NULL;

        if (value && !vmhi_domain_has(spec, path) && is_free(u, leaves[i], value))
            vmhi_spec_put(spec, path, value);
    }
}

static gboolean plan_kept(vmhi_update *u, vmh_error **error)
{
    g_autoptr(vmh_spec) spec = vmhi_spec_copy(u->spec);

    for (guint i = 0; u->live && u->paths[i]; i++) {
        g_autofree char *id = NULL;
        const vmhi_domain_class *class = vmhi_update_device(u->paths[i], &id);

        if (class && !vmhi_update_has(&u->kept, class, id) && !vmhi_update_has(&u->run, class, id))
            take_over(u, spec, class, id);
    }
    view_set(&u->kept_then, xmlCopyDoc(u->kept.doc, 1));
    if (!vmhi_domain_apply(u->kept_then.doc, u->platform, spec, error))
        return FALSE;
    vmh_spec_unref(u->kept_then.spec);
    u->kept_then.spec = vmhi_domain_read(u->kept_then.doc);
    return TRUE;
}

/* --- verdicts --- */

static int32_t verdict_without_live(const vmhi_update *u, const char *path)
{
    gboolean waits = u->documents.run && vmhi_update_differs(&u->run, &u->kept_then, path);

    if (vmhi_update_differs(&u->kept, &u->kept_then, path))
        return waits ? VMH_VERDICT_AFTER_RESTART : VMH_VERDICT_APPLIED;
    return waits && u->live ? VMH_VERDICT_AFTER_RESTART : VMH_VERDICT_UNCHANGED;
}

/* What runs cannot be changed: fine when it has the value already or the change can wait. */
static int32_t verdict_kept_out(const vmhi_update *u, const char *path)
{
    gboolean has_it = u->persist ? !vmhi_update_differs(&u->run, &u->kept_then, path)
                                 : vmhi_spec_same(u->run.spec, u->spec, path) ||
                                       (!vmhi_domain_has(u->run.spec, path) && vmhi_domain_is_default(u->spec, path));

    if (!has_it && (!u->persist || (u->flags & VMH_UPDATE_LIVE)))
        return VMH_VERDICT_REFUSED;
    return u->persist ? verdict_without_live(u, path) : VMH_VERDICT_UNCHANGED;
}

static int32_t verdict_of(const vmhi_update *u, const char *path)
{
    if (u->live && g_hash_table_contains(u->reasons, path))
        return verdict_kept_out(u, path);
    if (u->live && (vmhi_update_differs(&u->run, &u->run_then, path) ||
                    (u->persist && vmhi_update_differs(&u->kept, &u->kept_then, path))))
        return VMH_VERDICT_APPLIED;
    return u->live ? VMH_VERDICT_UNCHANGED : verdict_without_live(u, path);
}

/* Of the VM and not of a document; it can be changed at any time, and only for one that is kept. */
static int32_t verdict_of_autostart(const vmhi_update *u)
{
    if (u->autostart_wanted == u->autostart)
        return VMH_VERDICT_UNCHANGED;
    return u->documents.kept ? VMH_VERDICT_APPLIED : VMH_VERDICT_REFUSED;
}

/* What a VM is known by stays; a definition under another name would be another VM. */
static int32_t verdict_of_identity(const vmhi_update *u, const char *path)
{
    const vmhi_view *now = u->documents.kept ? &u->kept : &u->run;

    return vmhi_spec_same(now->spec, u->spec, path) ? VMH_VERDICT_UNCHANGED : VMH_VERDICT_REFUSED;
}

static int32_t verdict_on(const vmhi_update *u, const char *path)
{
    if (g_str_equal(path, "autostart"))
        return verdict_of_autostart(u);
    if (g_str_equal(path, "name") || g_str_equal(path, "uuid"))
        return verdict_of_identity(u, path);
    return verdict_of(u, path);
}

static const char *reason_on(const vmhi_update *u, const char *path)
{
    const vmh_error *why = g_hash_table_lookup(u->reasons, path);

    if (g_str_equal(path, "autostart"))
        return "autostart: a VM that vanishes when it stops cannot start with the host";
    if (g_str_equal(path, "name") || g_str_equal(path, "uuid"))
        return "a VM keeps the name and the UUID that it was created with";
    return why ? why->message : NULL;
}

static void judge(vmhi_update *u, const char *path, vmh_error **error)
{
    const vmh_error *why = g_hash_table_lookup(u->reasons, path);
    int32_t          verdict = verdict_on(u, path);
    gboolean         done = verdict == VMH_VERDICT_APPLIED || verdict == VMH_VERDICT_UNCHANGED;

    vmhi_verdict(u->verdicts, path, verdict, done ? NULL : reason_on(u, path));
    if (verdict == VMH_VERDICT_REFUSED)
        vmhi_error_set_property(error, why ? why->code : VMH_ERR_UNSUPPORTED, path, "%s", reason_on(u, path));
}

static gboolean judge_all(vmhi_update *u, vmh_error **error)
{
    g_autoptr(vmh_error) refused = NULL;

    for (guint i = 0; u->paths[i]; i++)
        judge(u, u->paths[i], &refused);
    if (!refused)
        return TRUE;
    vmhi_error_move(error, g_steal_pointer(&refused));
    return FALSE;
}

/* Nothing was changed, and no verdict may say otherwise: what had nothing against it is refused for the other. */
static void take_back_verdicts(const vmhi_update *u, const vmh_error *why)
{
    g_autofree char *reason =
        g_strdup_printf("not changed, because %s was refused", why->property ? why->property : "another change");

    for (guint i = 0; u->paths[i]; i++) {
        int32_t verdict = verdict_on(u, u->paths[i]);

        if (g_strcmp0(u->paths[i], why->property) == 0)
            vmhi_verdict(u->verdicts, u->paths[i], VMH_VERDICT_REFUSED, why->message);
        else if (verdict == VMH_VERDICT_APPLIED || verdict == VMH_VERDICT_AFTER_RESTART)
            vmhi_verdict(u->verdicts, u->paths[i], VMH_VERDICT_REFUSED, reason);
    }
}

/* --- the verb --- */

static gboolean choose_targets(vmhi_update *u, vmh_error **error)
{
    gboolean    any = !(u->flags & (VMH_UPDATE_LIVE | VMH_UPDATE_PERSIST));
    const char *name = virDomainGetName(u->domain);

    u->live = u->documents.run && (any || (u->flags & VMH_UPDATE_LIVE));
    u->persist = u->documents.kept && (any || (u->flags & VMH_UPDATE_PERSIST));
    if ((u->flags & VMH_UPDATE_LIVE) && !u->live)
        vmhi_error_set(error, VMH_ERR_STATE, "updating VM \"%s\": it is stopped; leave VMH_UPDATE_LIVE out", name);
    else if ((u->flags & VMH_UPDATE_PERSIST) && !u->persist)
        vmhi_error_set(error, VMH_ERR_STATE,
                       "updating VM \"%s\": it vanishes when it stops; leave VMH_UPDATE_PERSIST out", name);
    else
        return TRUE;
    return FALSE;
}

static gboolean look(vmhi_update *u, uint64_t generation, vmh_error **error)
{
    int on = 0;

    if (!vmhi_documents_read(&u->documents, u->domain, error))
        return FALSE;
    if (generation && generation != u->documents.generation) {
        vmhi_error_set(error, VMH_ERR_CONFLICT,
                       "updating VM \"%s\": somebody changed it since it was described; describe it again",
                       virDomainGetName(u->domain));
        return FALSE;
    }
    if (u->documents.kept && virDomainGetAutostart(u->domain, &on) == 0)
        u->autostart = on != 0;
    u->autostart_wanted = u->autostart;
    vmhi_spec_bool(u->spec, "autostart", &u->autostart_wanted);
    if (u->documents.kept)
        view_set(&u->kept, u->documents.kept);
    if (u->documents.run)
        view_set(&u->run, u->documents.run);
    return choose_targets(u, error);
}

static gboolean plan(vmhi_update *u, vmh_error **error)
{
    g_autoptr(vmh_error) failure = NULL;

    if ((u->live && !plan_live(u, &failure)) || (u->persist && !plan_kept(u, &failure))) {
        if (failure->property && vmhi_domain_has(u->spec, failure->property))
            vmhi_verdict(u->verdicts, failure->property, VMH_VERDICT_REFUSED, failure->message);
        vmhi_error_move(error, g_steal_pointer(&failure));
        return FALSE;
    }
    return TRUE;
}

/* Less than what the caller gives a verb, so that its outcome is known. */
static int64_t patience(vmhi_driver_host *host)
{
    int64_t timeout_us = (int64_t)vmhi_spec_u64_or_default(host->options, "open", "call.timeout") * 1000;

    return MIN(PATIENCE_US, timeout_us / 2);
}

gboolean vmhi_libvirt_update(vmhi_driver_host *host, const char *uuid, const vmh_spec *spec, uint64_t flags,
                             uint64_t generation, vmhi_verdicts *verdicts, vmhi_task *task, vmh_error **error)
{
    g_auto(vmhi_update) u = {.platform = &host->platform, .spec = spec, .flags = flags, .verdicts = verdicts};
    g_autoptr(virDomain) domain = vmhi_libvirt_domain(host, uuid, error);
    g_autoptr(vmh_error) failure = NULL;
    vmhi_live live = {.domain = domain,
                      .task = task,
                      .cancellable = vmhi_task_cancellable(task),
                      .patience_us = patience(host),
                      .from = &u.run,
                      .to = &u.run_then};

    if (!domain)
        return FALSE;
    u.domain = domain;
    u.paths = vmhi_spec_list(spec);
    u.reasons = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)vmh_error_free);
    if (!look(&u, generation, error) || !plan(&u, error))
        return FALSE;
    if (flags & VMH_UPDATE_DRY_RUN)
        return judge_all(&u, error);
    if (judge_all(&u, &failure) && vmhi_update_make(&u, &live, &failure))
        return TRUE;
    take_back_verdicts(&u, failure);
    vmhi_error_move(error, g_steal_pointer(&failure));
    return FALSE;
}
