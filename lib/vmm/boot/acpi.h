/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ACPI's tables: how a kernel learns of the machine's CPUs, interrupt controllers and devices. */
#pragma once

#include "../vm.h"

/* At BOOT_TABLES, where the root pointer comes first. */
bool acpi_write(struct vm *vm, struct failure *failure);
