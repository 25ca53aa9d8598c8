/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Makes and joins empty namespaces. */
#include "cell.h"
#include "wire.h"
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of <sys/mount.h>, which cannot be had together with <linux/mount.h>. */
enum { RECURSIVE = 0x4000, SLAVE = 1 << 19, DETACH = 2 };

/*
 * An empty file system becomes the root, and the one that was is let go of, lest the host could not unmount what it
 * holds. Where the old root cannot be replaced, as it is the kernel's first, it is covered.
 */
static bool empty_root(void)
{
    const int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    int       root;
    bool      done;

    syscall(SYS_mount, NULL, "/", NULL, RECURSIVE | SLAVE, NULL);
    syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, "ro", NULL, 0);
    syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    root = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    done = root >= 0 && syscall(SYS_move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) == 0 &&
           fchdir(root) == 0;
    if (done && syscall(SYS_pivot_root, ".", ".") == 0)
        done = syscall(SYS_umount2, ".", DETACH) == 0;
    else
        done = done && chroot(".") == 0;
    if (root >= 0)
        close(root);
    if (context >= 0)
        close(context);
    return done && chdir("/") == 0;
}

/* A thread's namespaces are opened by its directory, which is reached no more when the root is empty. */
bool cell_make(int *network, int *mounts)
{
    const int self = open("/proc/thread-self/ns", O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool      done = self >= 0 && geteuid() == 0 && unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 && empty_root();

    *network = done ? openat(self, "net", O_RDONLY | O_CLOEXEC) : -1;
    *mounts = done ? openat(self, "mnt", O_RDONLY | O_CLOEXEC) : -1;
    if (self >= 0)
        close(self);
    if (*network >= 0 && *mounts >= 0)
        return true;
    if (*network >= 0)
        close(*network);
    if (*mounts >= 0)
        close(*mounts);
    *network = *mounts = -1;
    return false;
}

bool cell_send(int connection)
{
    struct wire_message message;
    int                 network, mounts;

    if (!cell_make(&network, &mounts))
        return false;
    wire_begin(&message, WIRE_DONE, 0);
    wire_put_descriptor(&message, network);
    wire_put_descriptor(&message, mounts);
    return wire_send(connection, &message, 0);
}

bool cell_join(int network, int mounts)
{
    const bool done = setns(network, CLONE_NEWNET) == 0 && setns(mounts, CLONE_NEWNS) == 0 &&
                      unshare(CLONE_NEWIPC | CLONE_NEWUTS) == 0;

    close(network);
    close(mounts);
    return done;
}

/* Those without rights may make them in a user namespace, where the host allows that. */
bool cell_leave(bool *is_empty)
{
    const int all = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

    if ((geteuid() != 0 || unshare(all) < 0) && unshare(CLONE_NEWUSER | all) < 0)
        return false;
    *is_empty = empty_root();
    return true;
}
