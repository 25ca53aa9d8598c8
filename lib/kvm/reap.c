/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that is started here is nobody's child of the program, unless the program is whom orphans go to: the
 * first process of a container, or a subreaper. There it would stay as a zombie, so it is waited for, and no other
 * child is.
 */
#include "kvm/watch.h"
#include <glib-unix.h>
#include <sys/wait.h>

/* FALSE: it is no child of ours, or somebody has waited for it. */
static gboolean look(int process, int options)
{
    siginfo_t info;

    return waitid(P_PIDFD, (id_t)process, &info, WEXITED | WNOHANG | __WALL | options) == 0;
}

static gboolean on_end(int process, G_GNUC_UNUSED GIOCondition condition, G_GNUC_UNUSED void *data)
{
    look(process, 0);
    return G_SOURCE_REMOVE;
}

static void close_process(void *data)
{
    close(GPOINTER_TO_INT(data));
}

void vmhi_kvm_reap(const vmhi_driver_host *host, int process)
{
    GSource *source;

    if (process < 0 || !look(process, WNOWAIT)) {
        vmhi_kvm_close(process);
        return;
    }
    source = g_unix_fd_source_new(process, G_IO_IN);
    g_source_set_callback(source, G_SOURCE_FUNC(on_end), GINT_TO_POINTER(process), close_process);
    g_source_attach(source, host->watch->context);
    g_source_unref(source);
}
