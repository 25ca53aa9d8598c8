/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Refuses what cannot be a disk, each with the property that named it. */
#include "blkfile.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static const char *property(const struct blk_options *options, const char *what)
{
    static char name[WIRE_TEXT];

    snprintf(name, sizeof(name), "disk.%s.%s", options->name, what);
    return name;
}

/* The lock is of the open file, so it lasts as long as this process, whoever opened it. */
static bool lock_file(const struct blk_options *options, struct failure *failure)
{
    struct flock whole = {.l_type = options->is_readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(options->descriptor, F_OFD_SETLK, &whole) == 0)
        return true;
    if (errno == EAGAIN || errno == EACCES)
        return fail(failure, WIRE_BUSY, property(options, "path"), "another VM or program has it in use");
    return fail(failure, WIRE_HOST, property(options, "path"), "it cannot be locked: %s", strerror(errno));
}

static bool measure(const struct blk_options *options, uint64_t *sectors, uint32_t *block, struct failure *failure)
{
    struct stat status;
    uint64_t    size = 0;
    int         block_size = BLKFILE_SECTOR;

    if (fstat(options->descriptor, &status) < 0)
        return fail(failure, WIRE_HOST, property(options, "path"), "it cannot be read: %s", strerror(errno));
    if (S_ISREG(status.st_mode))
        size = (uint64_t)status.st_size;
    else if (!S_ISBLK(status.st_mode))
        return fail(failure, WIRE_VALUE, property(options, "path"), "it is neither a file nor a block device");
    else if (ioctl(options->descriptor, BLKGETSIZE64, &size) < 0 ||
             ioctl(options->descriptor, BLKSSZGET, &block_size) < 0)
        return fail(failure, WIRE_HOST, property(options, "path"), "its size cannot be read: %s", strerror(errno));
    *sectors = size / BLKFILE_SECTOR;
    *block = (uint32_t)block_size;
    if (!*sectors)
        return fail(failure, WIRE_VALUE, property(options, "path"), "it is shorter than a sector of %d bytes",
                    BLKFILE_SECTOR);
    return true;
}

static bool check(const struct blk_options *options, struct failure *failure)
{
    const int flags = fcntl(options->descriptor, F_GETFL);

    if (strlen(options->serial) > BLK_SERIAL)
        return fail(failure, WIRE_VALUE, property(options, "serial"), "longer than %d bytes", BLK_SERIAL);
    if (options->queues < 1 || options->queues > BLK_QUEUES)
        return fail(failure, WIRE_VALUE, property(options, "queues"), "from 1 to %d queues", BLK_QUEUES);
    if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY || ((flags & O_ACCMODE) == O_RDONLY && !options->is_readonly))
        return fail(failure, WIRE_VALUE, property(options, "path"), "it was not opened for reading and writing");
    return true;
}

bool blkfile_take(const struct blk_options *options, uint64_t *sectors, uint32_t *block, struct failure *failure)
{
    return check(options, failure) && measure(options, sectors, block, failure) && lock_file(options, failure);
}

/* The kernel lets go of a ring, and of its file, some time after it was closed or the process has ended. */
void blkfile_unlock(int descriptor)
{
    struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

    fcntl(descriptor, F_OFD_SETLK, &whole);
}
