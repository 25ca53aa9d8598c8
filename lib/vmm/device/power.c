/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ACPI's hardware-reduced registers, and the old ways by which guests restart a PC. */
#include "power.h"
#include "pci.h"

enum { SLEEP_ENABLE = 1 << 5, SLEEP_TYPE_SHIFT = 2, KEYBOARD_PORT = 0x64, KEYBOARD_RESET = 0xfe, RESET_NOW = 1 << 2 };

static struct vm      *vm;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t         events;
static uint32_t        slots_in, slots_out; /* of PCI, not told yet */

static void write_register(uint64_t offset, uint8_t value)
{
    if (offset == POWER_SLEEP && value & SLEEP_ENABLE && ((value >> SLEEP_TYPE_SHIFT) & 7) == POWER_SLEEP_OFF)
        vm_wants(vm, VM_OFF, "the guest powered off");
    else if (offset == POWER_RESET && value == POWER_RESET_VALUE)
        vm_wants(vm, VM_RESET, "the guest restarted");
}

static void access_power(void *device, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    (void)device;
    (void)size;
    if (write) {
        write_register(offset, (uint8_t)*value);
        return;
    }
    *value = offset == POWER_EVENT ? events : 0;
    if (offset != POWER_EVENT)
        return;
    events = 0;
    vm_set_line(vm, POWER_LINE, false);
}

/* Which slots, said once. */
static uint32_t take(uint32_t *slots)
{
    uint32_t taken;

    pthread_mutex_lock(&lock);
    taken = *slots;
    *slots = 0;
    pthread_mutex_unlock(&lock);
    return taken;
}

/* Without the lock: PCI has its own. */
static void access_slots(void *device, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    const bool is_out = offset == POWER_PCI_OUT - POWER_PCI_IN;
    const bool is_whole = size == sizeof(uint32_t) && offset % sizeof(uint32_t) == 0;

    (void)device;
    if (!write)
        *value = is_whole ? take(is_out ? &slots_out : &slots_in) : 0;
    else if (is_whole && is_out)
        pci_eject((uint32_t)*value);
}

static void access_keyboard(void *device, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    (void)device;
    (void)offset;
    (void)size;
    if (write && *value == KEYBOARD_RESET)
        vm_wants(vm, VM_RESET, "the guest restarted");
    if (!write)
        *value = 0; /* ready for a command, and nothing to say */
}

void power_access_reset(bool write, uint64_t *value)
{
    if (write && *value & RESET_NOW)
        vm_wants(vm, VM_RESET, "the guest restarted");
    if (!write)
        *value = 0;
}

bool power_init(struct vm *machine)
{
    const struct bus_range ranges[] = {
        {POWER_PORT, 8, access_power, NULL, &lock},
        {KEYBOARD_PORT, 1, access_keyboard, NULL, NULL},
        {POWER_PORT + POWER_PCI_IN, sizeof(slots_in) + sizeof(slots_out), access_slots, NULL, NULL},
    };

    vm = machine;
    return bus_add(&vm->ports, &ranges[0]) && bus_add(&vm->ports, &ranges[1]) && bus_add(&vm->ports, &ranges[2]);
}

void power_reset(void)
{
    pthread_mutex_lock(&lock);
    events = 0;
    slots_in = slots_out = 0;
    pthread_mutex_unlock(&lock);
}

static void tell(uint8_t event, uint32_t in, uint32_t out)
{
    pthread_mutex_lock(&lock);
    events |= event;
    /* Of a slot that was filled anew, what was said before is no longer true. */
    slots_in |= in;
    slots_out = (slots_out & ~in) | out;
    /* Until the event is read, so that a guest which boots finds it later; for edges there is one. */
    vm_set_line(vm, POWER_LINE, false);
    vm_set_line(vm, POWER_LINE, true);
    pthread_mutex_unlock(&lock);
}

void power_button(void)
{
    tell(POWER_EVENT_BUTTON, 0, 0);
}

void power_pci_in(unsigned slot)
{
    tell(POWER_EVENT_PCI, UINT32_C(1) << slot, 0);
}

void power_pci_out(unsigned slot)
{
    tell(POWER_EVENT_PCI, 0, UINT32_C(1) << slot);
}
