/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernel files of any content: each is refused or loaded, and nothing outside of the guest's memory is touched. */
#include "boot/acpi.h"
#include "boot/boot.h"
#include "device/pci.h"
#include <sys/mman.h>

enum { MEMORY = 16 << 20 };

static struct vm vm;

static void make_machine(void)
{
    struct failure failure;

    if (!vm_init(&vm, -1) || !vm_set_machine(&vm, MEMORY, 1, &failure))
        __builtin_trap();
    vm.kernel.descriptor = memfd_create("kernel", MFD_CLOEXEC);
    vm.modules[0].descriptor = memfd_create("initrd", MFD_CLOEXEC);
    if (vm.kernel.descriptor < 0 || vm.modules[0].descriptor < 0 || ftruncate(vm.modules[0].descriptor, 5000) < 0)
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct failure failure = {0};

    if (!vm.memory.base)
        make_machine();
    if (!size)
        return 0;
    /* The first byte says what goes with it; the rest is the file. */
    vm.module_count = data[0] & 1;
    vm.kernel_kind = data[0] & 2 ? WIRE_KERNEL_FLAT : WIRE_KERNEL_ANY;
    vm.flat_address = (uint64_t)data[0] << 18;
    vm.flat_mode = data[0] >> 3 & 3;
    snprintf(vm.kernel.cmdline, sizeof(vm.kernel.cmdline), "%s", data[0] & 4 ? "nokaslr" : "");
    if (ftruncate(vm.kernel.descriptor, 0) < 0 || pwrite(vm.kernel.descriptor, data + 1, size - 1, 0) < 0)
        __builtin_trap();
    if (!boot_load(&vm, &failure) && !failure.message[0])
        __builtin_trap(); /* every refusal has its reason */
    return 0;
}
