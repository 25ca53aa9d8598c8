/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every verb of the library from the command line: the table of verbs, its help, and the way to one of them. */
#include "ctl.h"
#include <stdio.h>
#include <string.h>

ctl_options ctl;

static const GOptionEntry common[] = {
    {"connect", 'c', 0, CLI_TEXT, &ctl.uri, "The host; the best local one when not given", "URI"},
    {"json", 'j', 0, G_OPTION_ARG_NONE, &ctl.json, "Write JSON, numbers in base units", NULL},
    {"timeout", 0, 0, CLI_TEXT, &ctl.timeout, "The longest to wait for the host to answer", "DURATION"},
    {"open", 0, 0, CLI_TEXTS, &ctl.open_options, "An option of opening the host, such as auth.user", "OPTION=VALUE"},
    G_OPTION_ENTRY_NULL};

static const ctl_verb *const parts[] = {ctl_host_verbs, ctl_vm_verbs, ctl_watch_verbs};

int ctl_host(vmh_host **host)
{
    return cli_open(ctl.uri, ctl.timeout, ctl.open_options, host);
}

int ctl_vm(const char *name, vmh_host **host, vmh_vm **vm)
{
    vmh_error *error = NULL;
    int        status = ctl_host(host);

    if (status != CLI_OK)
        return status;
    *vm = vmh_host_find_vm(*host, name, &error);
    if (*vm)
        return CLI_OK;
    vmh_host_unref(*host);
    *host = NULL;
    return cli_fail(error, "finding \"%s\"", name);
}

/* All verbs as the help shows them. */
static char *verbs_help(void)
{
    GString *text = g_string_new("Verbs:\n");

    for (gsize p = 0; p < G_N_ELEMENTS(parts); p++)
        for (const ctl_verb *verb = parts[p]; verb->name; verb++) {
            g_autofree char *synopsis = g_strjoin(" ", verb->name, verb->arguments, NULL);
            g_string_append_printf(text, "  %-28s %s\n", synopsis, verb->summary);
        }
    g_string_append(text,
                    "\nvmhost-ctl VERB --help tells a verb's own options. A property that is a descriptor, such as\n"
                    "nic.lan.fd, takes the number of one that this program was started with.\n\n"
                    "Ctrl-C cancels what is under way; a second one leaves at once.\n"
                    "Exit codes: 0 done; 1 it failed; 2 usage; 130 after Ctrl-C.\n");
    return g_string_free(text, FALSE);
}

static const ctl_verb *find_verb(const char *name)
{
    for (gsize p = 0; p < G_N_ELEMENTS(parts); p++)
        for (const ctl_verb *verb = parts[p]; verb->name; verb++)
            if (strcmp(verb->name, name) == 0)
                return verb;
    return NULL;
}

static int unknown_verb(const char *name)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autofree char *nearest = NULL;

    for (gsize p = 0; p < G_N_ELEMENTS(parts); p++)
        for (const ctl_verb *verb = parts[p]; verb->name; verb++)
            g_ptr_array_add(names, (void *)verb->name);
    g_ptr_array_add(names, NULL);
    nearest = cli_nearest(name, (const char **)names->pdata);
    return cli_usage_error(nearest ? "there is no verb \"%s\"; did you mean \"%s\"?" : "there is no verb \"%s\"",
                           name, nearest);
}

/* Appends the strings of a list and frees the list. */
static void append(GPtrArray *all, char **list)
{
    for (guint i = 0; list && list[i]; i++)
        g_ptr_array_add(all, list[i]);
    g_free(list);
}

/* A list may be given in two places, before and behind the verb. */
static char **join(char **first, char **second)
{
    GPtrArray *all = g_ptr_array_new();

    append(all, first);
    append(all, second);
    g_ptr_array_add(all, NULL);
    return (char **)g_ptr_array_free(all, FALSE);
}

/* The verb's own options and the common ones, which may stand behind the verb as well. */
static int run_verb(const ctl_verb *verb, char **argv)
{
    g_autoptr(GArray) entries = g_array_new(TRUE, TRUE, sizeof(GOptionEntry));
    g_autofree char *usage = g_strjoin(" ", verb->name, verb->arguments, NULL);
    char           **before = g_steal_pointer(&ctl.open_options);
    int              count, status;

    for (const GOptionEntry *entry = verb->options; entry && entry->long_name; entry++)
        g_array_append_vals(entries, entry, 1);
    g_array_append_vals(entries, common, G_N_ELEMENTS(common));
    status = cli_parse((const GOptionEntry *)(void *)entries->data, usage, verb->summary, NULL, FALSE, &argv);
    if (status >= 0)
        return status;
    ctl.open_options = join(before, ctl.open_options);
    count = (int)g_strv_length(argv);
    if (count < verb->minimum)
        return cli_usage_error("%s takes %s", verb->name, verb->arguments);
    if (verb->maximum >= 0 && count > verb->maximum)
        return cli_usage_error("%s: \"%s\" is one argument too many", verb->name, argv[verb->maximum]);
    return verb->run(argv);
}

int main(int argc, char **argv)
{
    g_autofree char *help = verbs_help();
    const ctl_verb  *verb;
    int              status;

    (void)argc;
    cli_start("vmhost-ctl");
    status = cli_parse(common, "VERB …", "Each verb of libvmhost from the command line.", help, TRUE, &argv);
    if (status >= 0)
        return cli_end(status);
    if (!argv[0])
        status = cli_usage_error("it takes a verb");
    else if ((verb = find_verb(argv[0])))
        status = run_verb(verb, argv);
    else
        status = unknown_verb(argv[0]);
    return cli_end(status);
}
