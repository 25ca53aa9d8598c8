/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of vmhost-ctl share: the context of a call, and the table of verbs. */
#pragma once

#include "cli.h"

/* The options that every verb has. */
typedef struct {
    char    *uri;
    char    *timeout;
    char   **open_options;
    gboolean json;
} ctl_options;

extern ctl_options ctl;

typedef struct {
    const char         *name;
    const char         *arguments; /* as the help shows them */
    int                 minimum;   /* arguments; maximum is negative when there is no limit */
    int                 maximum;
    const char         *summary;
    const GOptionEntry *options;  /* or NULL */
    int (*run)(char **arguments); /* returns the exit code */
} ctl_verb;

/* Each part's verbs, ended by one without a name. */
extern const ctl_verb ctl_host_verbs[];
extern const ctl_verb ctl_vm_verbs[];
extern const ctl_verb ctl_watch_verbs[];

/* Opens the host of the options, and finds a VM there; both return an exit code after saying why. */
int ctl_host(vmh_host **host);
int ctl_vm(const char *name, vmh_host **host, vmh_vm **vm);
