/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of verbs: one place for their names and what each does. */
#include "model/verbs.h"
#include "model/schema.h"
#include <string.h>

#define VERBS(VERB)                                                                                                  \
    VERB("vm.start", "Starts a stopped VM.")                                                                         \
    VERB("vm.pause", "Makes its vCPUs stand still.")                                                                 \
    VERB("vm.resume", "Lets paused vCPUs go on.")                                                                    \
    VERB("vm.shutdown", "Asks the guest to shut down.")                                                              \
    VERB("vm.reboot", "Asks the guest to restart.")                                                                  \
    VERB("vm.reset", "Restarts at once, without asking the guest.")                                                  \
    VERB("vm.stop", "Stops at once, without asking the guest.")                                                      \
    VERB("vm.delete", "Removes the VM from its host; its disks stay.")                                               \
    VERB("vm.update", "Changes properties, now, for the next start, or both.")                                       \
    VERB("vm.migrate", "Moves a running VM to another host.")                                                        \
    VERB("vm.console", "Gives a console as a descriptor.")                                                           \
    VERB("vm.connect", "Connects to a port of the guest's sockets.")                                                 \
    VERB("vm.listen", "Waits for connections of the guest's sockets to a port of the host.")                         \
    VERB("vm.describe", "Tells what a VM is.")                                                                       \
    VERB("host.create", "Creates a VM.")                                                                             \
    VERB("host.describe", "Tells what the host is.")                                                                 \
    VERB("host.sample", "Takes a frame of metrics of all VMs.")                                                      \
    VERB("host.refresh", "Lists the VMs anew.")                                                                      \
    VERB("host.events", "Tells of changes as they happen.")

static const char *const docs[] = {
#define VERB(name, doc) doc,
    VERBS(VERB)
#undef VERB
};

const char *const vmhi_verb_names[] = {
#define VERB(name, doc) name,
    VERBS(VERB)
#undef VERB
        NULL};

const size_t vmhi_verb_count = G_N_ELEMENTS(docs);

static int find(const char *name)
{
    for (int i = 0; vmhi_verb_names[i]; i++)
        if (strcmp(vmhi_verb_names[i], name) == 0)
            return i;
    return -1;
}

const char *vmhi_verb_lookup(const char *name)
{
    int index = find(name);

    return index < 0 ? NULL : vmhi_verb_names[index];
}

const char *vmhi_verb_require(const char *name, vmh_error **error)
{
    const char      *verb = vmhi_verb_lookup(name);
    const char      *nearest = verb ? NULL : vmhi_nearest(name, vmhi_verb_names);
    g_autofree char *excerpt = verb ? NULL : vmhi_excerpt(name);

    if (!verb && nearest)
        vmhi_error_set(error, VMH_ERR_UNKNOWN_NAME, "there is no verb \"%s\"; the nearest is \"%s\"", excerpt,
                       nearest);
    else if (!verb)
        vmhi_error_set(error, VMH_ERR_UNKNOWN_NAME, "there is no verb \"%s\"; verbs are named as \"vm.start\" is",
                       excerpt);
    return verb;
}

const char *vmhi_verb_doc(const char *name)
{
    int index = find(name);

    return index < 0 ? NULL : docs[index];
}
