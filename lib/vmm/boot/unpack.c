/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unpacks what a bzImage holds, as Linux's build packs it: LZ4's legacy frame or Zstandard, and then its size. */
#include "unpack.h"
#include <limits.h>
#include <lz4.h>
#include <sys/mman.h>
#include <zstd.h>

enum { MAGIC_LZ4 = 0x184c2102, MAGIC_ZSTD = 0xfd2fb528, WORD = sizeof(uint32_t) };

static uint32_t word_at(const uint8_t *data)
{
    uint32_t word;

    memcpy(&word, data, sizeof(word));
    return word;
}

/* Blocks, each after its length. Several frames may follow each other. */
static bool unpack_lz4(const struct boot_file *packed, uint8_t *data, uint64_t size)
{
    uint64_t done = 0;

    for (uint64_t at = WORD; packed->size - at >= WORD;) {
        const uint32_t length = word_at(packed->data + at);
        int            got;

        at += WORD;
        if (length == MAGIC_LZ4)
            continue;
        if (length > packed->size - at || length > INT_MAX)
            return false;
        got = LZ4_decompress_safe((const char *)packed->data + at, (char *)data + done, (int)length,
                                  size - done < INT_MAX ? (int)(size - done) : INT_MAX);
        if (got < 0)
            return false;
        at += length;
        done += (unsigned)got;
    }
    return done == size;
}

static bool unpack_zstd(const struct boot_file *packed, uint8_t *data, uint64_t size)
{
    return ZSTD_decompress(data, size, packed->data, packed->size) == size;
}

bool unpack_knows(const struct boot_file *packed)
{
    /* Its magic number and its size, at least. */
    const uint32_t magic = packed->size >= 2 * WORD ? word_at(packed->data) : 0;

    return magic == MAGIC_LZ4 || magic == MAGIC_ZSTD;
}

bool unpack(const struct boot_file *packed, uint64_t limit, struct boot_file *file, struct failure *failure)
{
    const bool             is_lz4 = word_at(packed->data) == MAGIC_LZ4;
    const struct boot_file stream = {packed->data, packed->size - WORD};
    const uint32_t         size = word_at(stream.data + stream.size);
    uint8_t               *data;

    if (size > limit)
        return fail(failure, WIRE_VALUE, "memory.size",
                    "the kernel unpacks to %u bytes, which the guest's %llu cannot hold", size,
                    (unsigned long long)limit);
    data = size ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
    if (size && data == MAP_FAILED)
        return fail(failure, WIRE_HOST, "boot.kernel", "no memory to unpack it: %s", strerror(errno));
    madvise(data, size, MADV_HUGEPAGE); /* all of it is written, and faults would take longer than unpacking */
    *file = (struct boot_file){data, size};
    if (size && (is_lz4 ? unpack_lz4 : unpack_zstd)(&stream, data, size))
        return true;
    if (size)
        munmap(data, size);
    return fail(failure, WIRE_VALUE, "boot.kernel",
                "it is damaged: what it holds as %s does not unpack to the %u bytes that it tells",
                is_lz4 ? "LZ4" : "Zstandard", size);
}

void unpack_free(struct boot_file *file)
{
    munmap((void *)(uintptr_t)file->data, file->size);
}
