/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Control groups: a VMM whose CPU time or memory is limited is in vmhost/UUID of each hierarchy that limits it. One
 * without limits is in none, since the kernel may take ten milliseconds to move a process, longer than a start.
 */
#include "kvm/common.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

enum { PERIOD_US = 100000, SHARES_LEAST = 2, SHARES_OF_WEIGHT_100 = 1024, TRIES = 500, TRY_US = 1000 };

static const struct {
    const char *property;
    const char *controller;
    const char *files[2]; /* of version 1, and of version 2, as is the next */
    const char *none[2];  /* what is in them where there is no limit */
} limits[] = {
    {"cpu.weight", "cpu", {"cpu.shares", "cpu.weight"}, {"1024", "100"}},
    {"cpu.limit", "cpu", {"cpu.cfs_quota_us", "cpu.max"}, {"-1", "max"}},
    {"memory.limit", "memory", {"memory.limit_in_bytes", "memory.max"}, {"-1", "max"}},
};

/* --- where --- */

typedef struct {
    char    *path; /* below which there is vmhost/UUID; NULL: nothing has the controller */
    gboolean is_second;
} hierarchy;

static void hierarchy_clear(hierarchy *h)
{
    g_free(h->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(hierarchy, hierarchy_clear)

static gboolean has_word(const char *text, const char *separators, const char *word)
{
    g_auto(GStrv) words = text ? g_strsplit_set(text, separators, -1) : NULL;

    return words && g_strv_contains((const char *const *)words, word);
}

/* The program's own group in a hierarchy of version 1: what limits the program limits its VMs. */
static char *own_group(const char *mount, const char *controller)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents("/proc/self/cgroup", &text, NULL, NULL))
        return g_strdup(mount);
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i]; i++) {
        g_auto(GStrv) fields = g_strsplit(lines[i], ":", 3);
        g_autofree char *path = NULL;

        if (g_strv_length(fields) != 3 || !has_word(fields[1], ",", controller))
            continue;
        path = g_build_filename(mount, fields[2], NULL);
        if (g_file_test(path, G_FILE_TEST_IS_DIR))
            return g_steal_pointer(&path);
    }
    return g_strdup(mount);
}

static gboolean offers(const char *group, const char *controller)
{
    g_autofree char *path = g_build_filename(group, "cgroup.controllers", NULL);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) && has_word(text, " \n", controller);
}

/* In version 2 at the top, since a group with processes, as the program's own is, has no limited groups below it. */
static hierarchy find(const char *controller)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents("/proc/self/mounts", &text, NULL, NULL))
        return (hierarchy){0};
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i]; i++) {
        g_auto(GStrv) fields = g_strsplit(lines[i], " ", 5);

        if (g_strv_length(fields) < 4)
            continue;
        if (g_str_equal(fields[2], "cgroup") && has_word(fields[3], ",", controller))
            return (hierarchy){own_group(fields[1], controller), FALSE};
        if (g_str_equal(fields[2], "cgroup2") && offers(fields[1], controller))
            return (hierarchy){g_strdup(fields[1]), TRUE};
    }
    return (hierarchy){0};
}

static int index_of(const char *property)
{
    for (gsize i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (g_str_equal(limits[i].property, property))
            return (int)i;
    }
    return -1;
}

gboolean vmhi_kvm_group_limits(const char *property)
{
    return index_of(property) >= 0;
}

char *vmhi_kvm_group_why_not(const char *property)
{
    const int index = index_of(property);
    g_auto(hierarchy) h = {0};

    if (index < 0)
        return NULL;
    h = find(limits[index].controller);
    if (!h.path)
        return g_strdup_printf("this host has no control groups for the controller %s", limits[index].controller);
    if (access(h.path, W_OK) < 0)
        return g_strdup_printf("this user may not make control groups in %s", h.path);
    return NULL;
}

/* --- writing --- */

static gboolean put(const char *group, const char *file, const char *value)
{
    g_autofree char *path = g_build_filename(group, file, NULL);
    const int        descriptor = open(path, O_WRONLY | O_CLOEXEC);
    const gboolean   done = descriptor >= 0 && write(descriptor, value, strlen(value)) >= 0;
    const int        native = errno;

    if (descriptor >= 0)
        close(descriptor);
    errno = native;
    return done;
}

static char *value_of(const vmh_spec *spec, const char *property, gboolean is_second)
{
    uint64_t number = 0;
    double   cpus = 0;

    if (vmhi_spec_f64(spec, property, &cpus)) {
        const uint64_t quota = (uint64_t)(cpus * PERIOD_US + 0.5);

        return g_strdup_printf(is_second ? "%" G_GUINT64_FORMAT " 100000" : "%" G_GUINT64_FORMAT, quota);
    }
    if (!vmhi_spec_u64(spec, property, &number))
        return NULL;
    if (g_str_equal(property, "cpu.weight") && !is_second)
        number = MAX(number * SHARES_OF_WEIGHT_100 / 100, SHARES_LEAST);
    return g_strdup_printf("%" G_GUINT64_FORMAT, number);
}

/* Makes vmhost/UUID; in version 2 a controller is handed down by each parent. */
static char *make_group(const hierarchy *h, const char *controller, const char *uuid)
{
    g_autofree char *all = g_build_filename(h->path, "vmhost", NULL);
    g_autofree char *hand_down = g_strconcat("+", controller, NULL);
    char            *group = g_build_filename(all, uuid, NULL);

    if (h->is_second)
        put(h->path, "cgroup.subtree_control", hand_down);
    g_mkdir(all, 0755);
    if (h->is_second)
        put(all, "cgroup.subtree_control", hand_down);
    if (g_mkdir(group, 0755) == 0 || errno == EEXIST)
        return group;
    g_free(group);
    return NULL;
}

/* Adds the group to those that are removed with the VM's end. */
static gboolean remember(const vmhi_driver_host *host, const char *uuid, const char *group)
{
    g_autofree char *path = vmhi_kvm_path(host, uuid, VMHI_KVM_GROUPS);
    g_autofree char *text = NULL;
    g_autofree char *longer = NULL;

    g_file_get_contents(path, &text, NULL, NULL);
    if (has_word(text, "\n", group))
        return TRUE;
    longer = g_strconcat(text ? text : "", group, "\n", NULL);
    return g_file_set_contents_full(path, longer, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL);
}

static gboolean refuse(vmh_error **error, const char *property, const char *where)
{
    const int native = errno;

    vmhi_error_set_native(error, native == EACCES || native == EPERM ? VMH_ERR_PERMISSION : VMH_ERR_HYPERVISOR,
                          VMHI_KVM, native, property, "%s: the control group %s refuses: %s", property, where,
                          g_strerror(native));
    return FALSE;
}

/* Of a limit that the spec has not: what an earlier one has set is so no more. */
static gboolean lift(const hierarchy *h, const char *uuid, int index, vmh_error **error)
{
    g_autofree char *group = h->path ? g_build_filename(h->path, "vmhost", uuid, NULL) : NULL;

    return !group || put(group, limits[index].files[h->is_second], limits[index].none[h->is_second]) ||
           errno == ENOENT || refuse(error, limits[index].property, group);
}

static gboolean apply(const vmhi_driver_host *host, const char *uuid, const vmh_spec *spec, int index,
                      const char *process, vmh_error **error)
{
    const char *property = limits[index].property;
    g_auto(hierarchy) h = find(limits[index].controller);
    g_autofree char *value = value_of(spec, property, h.is_second);
    g_autofree char *group = NULL;

    if (!value)
        return lift(&h, uuid, index, error);
    group = h.path ? make_group(&h, limits[index].controller, uuid) : NULL;
    if (!group || !remember(host, uuid, group))
        return refuse(error, property, h.path ? h.path : limits[index].controller);
    if (!put(group, limits[index].files[h.is_second], value) || !put(group, "cgroup.procs", process))
        return refuse(error, property, group);
    return TRUE;
}

/* As text, or NULL. The number stays its own as long as its socket does. */
static char *find_process(const vmhi_driver_host *host, const char *uuid, vmh_error **error)
{
    const int    connection = vmhi_kvm_connect(host, uuid, VMHI_KVM_LOOK_S);
    struct ucred peer = {0};
    socklen_t    size = sizeof(peer);
    char        *process = NULL;

    if (connection >= 0 && getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0)
        process = g_strdup_printf("%d", (int)peer.pid);
    else
        vmhi_error_set(error, VMH_ERR_STATE, "the VM has just ended");
    if (connection >= 0)
        close(connection);
    return process;
}

gboolean vmhi_kvm_group_is_wanted(const vmh_spec *spec)
{
    for (gsize i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (vmhi_spec_get(spec, limits[i].property, NULL))
            return TRUE;
    }
    return FALSE;
}

gboolean vmhi_kvm_group_apply(const vmhi_driver_host *host, const char *uuid, const vmh_spec *spec, vmh_error **error)
{
    g_autofree char *process = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (!process && vmhi_spec_get(spec, limits[i].property, NULL)) {
            process = find_process(host, uuid, error);
            if (!process)
                return FALSE;
        }
        if (!apply(host, uuid, spec, (int)i, process, error))
            return FALSE;
    }
    return TRUE;
}

/* A process that has closed its descriptors is in its groups for a moment more. */
void vmhi_kvm_group_remove(const vmhi_driver_host *host, const char *uuid)
{
    g_autofree char *path = vmhi_kvm_path(host, uuid, VMHI_KVM_GROUPS);
    g_autofree char *text = NULL;
    g_auto(GStrv) groups = NULL;
    gboolean gone = TRUE;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return;
    groups = g_strsplit(text, "\n", -1);
    for (guint i = 0; groups[i]; i++) {
        g_autofree char *all = g_path_get_dirname(groups[i]);
        int              result = *groups[i] ? g_rmdir(groups[i]) : 0;

        for (int tries = 0; result < 0 && errno == EBUSY && tries < TRIES; tries++) {
            g_usleep(TRY_US);
            result = g_rmdir(groups[i]);
        }
        gone = gone && (result == 0 || errno == ENOENT);
        if (*groups[i])
            g_rmdir(all); /* when it was the last */
    }
    if (gone && g_unlink(path) == 0) {
        g_autofree char *directory = vmhi_kvm_path(host, uuid, NULL);

        g_rmdir(directory); /* of a VM that was removed meanwhile, it was the last file */
    }
}
