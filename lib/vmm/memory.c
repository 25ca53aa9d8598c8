/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's memory: made, given to KVM, and reached with checks. */
#include "memory.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

bool memory_create(struct memory *memory, uint64_t size)
{
    const int descriptor = memfd_create("guest memory", MFD_CLOEXEC);
    void     *base = MAP_FAILED;

    if (descriptor >= 0 && ftruncate(descriptor, (off_t)size) == 0)
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, descriptor, 0);
    if (base == MAP_FAILED) {
        if (descriptor >= 0)
            close(descriptor);
        return false;
    }
    /* A dump of a crash is of the VMM; what the guest holds is not for others to see. */
    madvise(base, size, MADV_DONTDUMP);
    *memory = (struct memory){base, size, descriptor};
    return true;
}

void memory_destroy(struct memory *memory)
{
    if (!memory->base)
        return;
    munmap(memory->base, memory->size);
    close(memory->descriptor);
    memory->base = NULL;
}

bool memory_clear(struct memory *memory)
{
    return fallocate(memory->descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)memory->size) == 0;
}

uint64_t memory_low(const struct memory *memory)
{
    return memory->size < MEMORY_HOLE ? memory->size : MEMORY_HOLE;
}

uint64_t memory_high(const struct memory *memory)
{
    return memory->size - memory_low(memory);
}

bool memory_attach(const struct memory *memory, int vm)
{
    const struct kvm_userspace_memory_region slots[] = {
        {.slot = 0, .memory_size = memory_low(memory), .userspace_addr = (uintptr_t)memory->base},
        {.slot = 1,
         .guest_phys_addr = MEMORY_HIGH,
         .memory_size = memory_high(memory),
         .userspace_addr = (uintptr_t)memory->base + memory_low(memory)},
    };

    for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
        if (slots[i].memory_size && ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slots[i]) < 0)
            return false;
    }
    return true;
}

void *memory_at(const struct memory *memory, uint64_t address, uint64_t length)
{
    const uint64_t low = memory_low(memory);

    if (address < low)
        return length <= low - address ? memory->base + address : NULL;
    if (address < MEMORY_HIGH)
        return NULL;
    address -= MEMORY_HIGH;
    if (address >= memory_high(memory) || length > memory_high(memory) - address)
        return NULL;
    return memory->base + low + address;
}

uint64_t memory_address(const struct memory *memory, const void *place)
{
    const uint64_t offset = (uint64_t)((const uint8_t *)place - memory->base);

    return offset < memory_low(memory) ? offset : offset - memory_low(memory) + MEMORY_HIGH;
}

void memory_discard(const struct memory *memory, uint64_t address, uint64_t length)
{
    const uint8_t *place = memory_at(memory, address, length);
    uint64_t       start, end;

    if (!place)
        return;
    start = ((uint64_t)(place - memory->base) + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    end = ((uint64_t)(place - memory->base) + length) & ~(uint64_t)(PAGE - 1);
    if (start < end)
        fallocate(memory->descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)(end - start));
}

bool memory_read(const struct memory *memory, uint64_t address, void *data, uint64_t length)
{
    const void *source = memory_at(memory, address, length);

    if (source)
        memcpy(data, source, length);
    return source != NULL;
}

bool memory_write(const struct memory *memory, uint64_t address, const void *data, uint64_t length)
{
    void *target = memory_at(memory, address, length);

    if (target)
        memcpy(target, data, length);
    return target != NULL;
}
