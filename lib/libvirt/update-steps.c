/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making the changes that update.c has planned: step by step, and back again when one fails. */
#include "libvirt/update.h"

#include <string.h>

typedef struct {
    vmhi_live_change change;
    const char      *path;
    char            *id;
    guint            order;
} step;

static void step_clear(void *data)
{
    g_free(((step *)data)->id);
}

static int by_order(const void *a, const void *b)
{
    const step *first = a, *second = b;

    return first->order < second->order ? -1 : first->order > second->order;
}

/* A device that goes makes room for one that comes; and both are after all that is easily taken back. */
enum { ORDER_DETACH = 1000, ORDER_ATTACH = 1001 };

static step step_of(const vmhi_update *u, const char *path)
{
    step one = {.path = path};
    const vmhi_domain_class *class = vmhi_update_device(path, &one.id);
    gboolean now = class && vmhi_update_has(&u->run, class, one.id);

    if (class && now != vmhi_update_has(&u->run_then, class, one.id)) {
        one.change = vmhi_live_plug(class->name);
        one.order = now ? ORDER_DETACH : ORDER_ATTACH;
    } else {
        one.change = vmhi_live_find(vmhi_schema_lookup("vm", path)->pattern, &one.order);
        if (g_str_has_prefix(path, "cpu.pin."))
            one.id = g_strdup(path + strlen("cpu.pin."));
        else if (g_str_has_prefix(path, "metadata."))
            one.id = g_strdup(""); /* all of it at once */
    }
    return one;
}

static gboolean is_planned(GArray *steps, const step *one)
{
    for (guint i = 0; i < steps->len; i++) {
        const step *other = &g_array_index(steps, step, i);

        if (other->change == one->change && g_strcmp0(other->id, one->id) == 0 && one->id)
            return TRUE;
    }
    return FALSE;
}

/* One step for all that one call of libvirt changes. */
static GArray *plan_steps(const vmhi_update *u)
{
    GArray *steps = g_array_new(FALSE, FALSE, sizeof(step));

    g_array_set_clear_func(steps, step_clear);
    for (guint i = 0; u->live && u->paths[i]; i++) {
        step one;

        if (g_hash_table_contains(u->reasons, u->paths[i]) ||
            !vmhi_update_differs(&u->run, &u->run_then, u->paths[i]))
            continue;
        one = step_of(u, u->paths[i]);
        if (is_planned(steps, &one))
            step_clear(&one);
        else
            g_array_append_val(steps, one);
    }
    g_array_sort(steps, by_order);
    return steps;
}

static gboolean define(const vmhi_update *u, xmlDoc *doc, vmh_error **error)
{
    g_autofree char *text = vmhi_domain_text(doc);
    g_autoptr(virDomain) defined = virDomainDefineXML(virDomainGetConnect(u->domain), text);

    if (!defined) {
        vmh_error *failure = NULL;

        vmhi_libvirt_error(&failure, NULL, "changing what is kept of the VM");
        vmhi_domain_explain(failure, u->spec);
        vmhi_error_move(error, failure);
    }
    return defined != NULL;
}

static gboolean set_autostart(const vmhi_update *u, gboolean on, vmh_error **error)
{
    if (virDomainSetAutostart(u->domain, on) == 0)
        return TRUE;
    vmhi_libvirt_error(error, "autostart", "changing autostart");
    return FALSE;
}

/* Backwards, and as far as it goes: what could not be taken back is said. */
static void undo_steps(const vmhi_live *live, GArray *steps, guint done, GString *left)
{
    const vmhi_live back = {.domain = live->domain,
                            .task = live->task,
                            .patience_us = live->patience_us,
                            .from = live->to,
                            .to = live->from};

    while (done-- > 0) {
        const step *one = &g_array_index(steps, step, done);

        if (!one->change(&back, one->id, one->path, NULL))
            g_string_append_printf(left, "%s%s", left->len ? ", " : "", one->path);
    }
}

/* A property that this host turns out not to change live waits for the next start, where that was allowed. */
static gboolean may_wait(const vmhi_update *u, const step *one, const vmh_error *failure)
{
    if (!u->persist || (u->flags & VMH_UPDATE_LIVE) || failure->code != VMH_ERR_UNSUPPORTED)
        return FALSE;
    for (guint i = 0; u->paths[i]; i++) {
        step     other = step_of(u, u->paths[i]);
        gboolean same = other.change == one->change && g_strcmp0(other.id, one->id) == 0;

        if (same && vmhi_update_differs(&u->run, &u->run_then, u->paths[i]))
            vmhi_verdict(u->verdicts, u->paths[i], VMH_VERDICT_AFTER_RESTART, failure->message);
        step_clear(&other);
    }
    return TRUE;
}

static gboolean take_steps(const vmhi_update *u, const vmhi_live *live, GArray *steps, GString *left,
                           vmh_error **error)
{
    for (guint i = 0; i < steps->len; i++) {
        const step *one = &g_array_index(steps, step, i);
        g_autoptr(vmh_error) failure = NULL;

        if (one->change(live, one->id, one->path, &failure))
            continue;
        if (may_wait(u, one, failure)) {
            g_array_remove_index(steps, i--);
            continue;
        }
        undo_steps(live, steps, i, left);
        vmhi_error_move(error, g_steal_pointer(&failure));
        return FALSE;
    }
    return TRUE;
}

/* TRUE when the document shall be another, be it in what we do not show. */
static gboolean changes_kept(const vmhi_update *u)
{
    g_autofree char *now = u->persist ? vmhi_domain_text(u->kept.doc) : NULL;
    g_autofree char *then = u->persist ? vmhi_domain_text(u->kept_then.doc) : NULL;

    return g_strcmp0(now, then) != 0;
}

gboolean vmhi_update_make(const vmhi_update *u, const vmhi_live *live, vmh_error **error)
{
    g_autoptr(GArray) steps = plan_steps(u);
    g_autoptr(GString) left = g_string_new(NULL);
    gboolean kept = changes_kept(u);
    gboolean autostart = u->autostart_wanted != u->autostart;

    if (kept && !define(u, u->kept_then.doc, error))
        return FALSE;
    if ((!autostart || set_autostart(u, u->autostart_wanted, error)) && take_steps(u, live, steps, left, error))
        return TRUE;
    if (autostart && !set_autostart(u, u->autostart, NULL))
        g_string_append_printf(left, "%sautostart", left->len ? ", " : "");
    if (kept && !define(u, u->kept.doc, NULL))
        g_string_append_printf(left, "%swhat is kept for the next start", left->len ? ", " : "");
    if (left->len)
        vmhi_error_prefix(error, "this could not be taken back: %s", left->str);
    return FALSE;
}
