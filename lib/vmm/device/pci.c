/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PCI: configuration by ECAM and by ports, BARs that move, and message interrupts. */
#include "pci.h"
#include "power.h"
#include <linux/pci_regs.h>
#include <stdlib.h>

enum {
    BRIDGE_VENDOR = 0x1b36,
    BRIDGE_DEVICE = 0x0008,
    CLASS_HOST_BRIDGE = 0x060000,
    PAGE = 4096,
    SLOT_SIZE = 1 << 20,
    VECTOR_SIZE = 16,
    RESET_PORT = 0xcf9 - PCI_PORT,
    DATA_PORT = 4
};

#define ENABLE UINT32_C(0x80000000) /* of the address port */

static struct vm           *vm;
static pthread_mutex_t      lock = PTHREAD_MUTEX_INITIALIZER; /* of configurations, and of where BARs are */
static struct pci_function  bridge;
static struct pci_function *functions[PCI_SLOTS];
static struct pci_function *ejected;
static bool                 is_on;
static uint32_t             address;

/* --- message interrupts --- */

static void deliver(struct pci_function *function, struct pci_vector *vector)
{
    if (!function->vectors_enabled)
        return;
    vector->pending = function->vectors_masked || vector->control & PCI_MSIX_ENTRY_CTRL_MASKBIT;
    if (!vector->pending)
        vm_message_interrupt(vm, vector->address, vector->data);
}

void pci_interrupt(struct pci_function *function, unsigned vector)
{
    pthread_mutex_lock(&function->vector_lock);
    if (vector < function->vector_count)
        deliver(function, &function->vectors[vector]);
    pthread_mutex_unlock(&function->vector_lock);
}

static void deliver_pending(struct pci_function *function)
{
    for (unsigned i = 0; i < function->vector_count; i++) {
        if (function->vectors[i].pending)
            deliver(function, &function->vectors[i]);
    }
}

static void write_vector(struct pci_function *function, struct pci_vector *vector, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case PCI_MSIX_ENTRY_LOWER_ADDR:
        vector->address = (vector->address & ~(uint64_t)UINT32_MAX) | (value & ~3u);
        break;
    case PCI_MSIX_ENTRY_UPPER_ADDR:
        vector->address = (uint64_t)value << 32 | (uint32_t)vector->address;
        break;
    case PCI_MSIX_ENTRY_DATA:
        vector->data = value;
        break;
    default:
        vector->control = value & PCI_MSIX_ENTRY_CTRL_MASKBIT;
        if (vector->pending)
            deliver(function, vector);
        break;
    }
}

static uint32_t read_vector(const struct pci_vector *vector, uint64_t offset)
{
    switch (offset) {
    case PCI_MSIX_ENTRY_LOWER_ADDR:
        return (uint32_t)vector->address;
    case PCI_MSIX_ENTRY_UPPER_ADDR:
        return (uint32_t)(vector->address >> 32);
    case PCI_MSIX_ENTRY_DATA:
        return vector->data;
    default:
        return vector->control;
    }
}

/* By four bytes, or by eight, as the standard has it. */
static void access_table(struct pci_function *function, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    struct pci_vector *vector = &function->vectors[offset / VECTOR_SIZE % PCI_VECTORS];

    if (offset / VECTOR_SIZE >= function->vector_count || size < 4 || offset % size)
        return;
    offset %= VECTOR_SIZE;
    if (write) {
        write_vector(function, vector, offset, (uint32_t)*value);
        if (size == 8)
            write_vector(function, vector, offset + 4, (uint32_t)(*value >> 32));
    } else {
        *value = read_vector(vector, offset);
        if (size == 8)
            *value |= (uint64_t)read_vector(vector, offset + 4) << 32;
    }
}

static void read_pending(const struct pci_function *function, uint64_t offset, unsigned size, uint64_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < size * 8; i++) {
        const uint64_t vector = offset * 8 + i;

        if (vector < function->vector_count && function->vectors[vector].pending)
            *value |= UINT64_C(1) << i;
    }
}

static void access_bar(void *data, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    struct pci_function *function = data;
    const uint64_t       table = function->bar_size - 2 * PAGE;

    if (!function->vector_count || offset < table) {
        function->kind->access(function, offset, size, write, value);
        return;
    }
    pthread_mutex_lock(&function->vector_lock);
    if (offset < table + PAGE)
        access_table(function, offset - table, size, write, value);
    else if (!write)
        read_pending(function, offset - table - PAGE, size, value);
    pthread_mutex_unlock(&function->vector_lock);
}

/* --- configuration --- */

static uint32_t get(const struct pci_function *function, unsigned offset, unsigned size)
{
    uint32_t value = 0;

    memcpy(&value, function->config + offset, size);
    return value;
}

static void set(struct pci_function *function, unsigned offset, unsigned size, uint32_t value)
{
    memcpy(function->config + offset, &value, size);
}

/* What lies outside of the window answers nowhere, so that no BAR can hide another device. */
static uint64_t wanted_place(const struct pci_function *function)
{
    const uint64_t bar = get(function, PCI_BASE_ADDRESS_0, 4) & ~(uint64_t)0xf;

    if (!function->bar_size || !(get(function, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY) || bar < PCI_WINDOW ||
        bar - PCI_WINDOW > PCI_WINDOW_SIZE - function->bar_size)
        return 0;
    return bar;
}

static void place(struct pci_function *function, uint64_t where)
{
    const struct bus_range range = {where, function->bar_size, access_bar, function, NULL};

    if (where == function->bar)
        return;
    if (function->bar) {
        function->kind->place(function, function->bar, false);
        bus_remove(&vm->mmio, function->bar);
    }
    /* A place that is taken stays with whoever has it. */
    function->bar = where && bus_add(&vm->mmio, &range) ? where : 0;
    if (function->bar)
        function->kind->place(function, function->bar, true);
}

static void update_vectors(struct pci_function *function)
{
    const uint32_t flags =
        function->vector_count ? get(function, function->vector_capability + PCI_MSIX_FLAGS, 2) : 0;

    pthread_mutex_lock(&function->vector_lock);
    function->vectors_enabled = flags & PCI_MSIX_FLAGS_ENABLE;
    function->vectors_masked = flags & PCI_MSIX_FLAGS_MASKALL;
    deliver_pending(function);
    pthread_mutex_unlock(&function->vector_lock);
}

static void write_config(struct pci_function *function, unsigned offset, unsigned size, uint64_t value)
{
    for (unsigned i = offset; i < offset + size; i++, value >>= 8)
        function->config[i] =
            (uint8_t)((function->config[i] & ~function->writable[i]) | ((uint8_t)value & function->writable[i]));
    place(function, wanted_place(function));
    update_vectors(function);
}

static void access_config(unsigned number, unsigned offset, unsigned size, bool write, uint64_t *value)
{
    struct pci_function *function = number % 8 ? NULL : functions[number / 8 % PCI_SLOTS];

    if (!function || size > 4 || offset + size > PCI_CONFIG)
        return;
    function->is_seen = true;
    if (function->kind && function->kind->configure &&
        function->kind->configure(function, offset, size, write, value))
        return;
    if (write)
        write_config(function, offset, size, *value);
    else
        *value = get(function, offset, size);
}

static void access_ecam(void *device, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    (void)device;
    access_config((unsigned)(offset / PAGE), offset % PAGE, size, write, value);
}

/* The address at 0xcf8 is written as a whole; the port 0xcf9 within it is the old way to restart a PC. */
static void access_ports(void *device, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    (void)device;
    if (offset == RESET_PORT && size == 1) {
        power_access_reset(write, value);
    } else if (offset >= DATA_PORT) {
        const unsigned at = (address & 0xfc) + (unsigned)offset - DATA_PORT;

        /* Of the other buses, none is there. */
        if (address & ENABLE && !(address & 0x00ff0000))
            access_config(address >> 8 & 0xff, at, size, write, value);
    } else if (offset == 0 && size == 4) {
        if (write)
            address = (uint32_t)*value & ~3u;
        else
            *value = address;
    }
}

/* --- building --- */

void pci_describe(struct pci_function *function, const struct pci_kind *kind, uint16_t vendor, uint16_t device,
                  uint32_t class_code)
{
    function->kind = kind;
    function->name = "";
    pthread_mutex_init(&function->vector_lock, NULL);
    set(function, PCI_VENDOR_ID, 2, vendor);
    set(function, PCI_DEVICE_ID, 2, device);
    set(function, PCI_CLASS_REVISION, 4, class_code << 8 | 1);
    set(function, PCI_SUBSYSTEM_VENDOR_ID, 2, vendor);
    set(function, PCI_SUBSYSTEM_ID, 2, device);
    function->writable[PCI_COMMAND] = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    function->writable[PCI_COMMAND + 1] = PCI_COMMAND_INTX_DISABLE >> 8;
    function->writable[PCI_INTERRUPT_LINE] = 0xff;
    function->last_capability = PCI_CAPABILITY_LIST;
    function->free_config = PCI_STD_HEADER_SIZEOF;
}

unsigned pci_add_capability(struct pci_function *function, uint8_t id, const void *data, unsigned size)
{
    const unsigned at = function->free_config;

    function->config[at] = id;
    memcpy(function->config + at + 2, data, size);
    /* The header points to the first, each to the next. */
    function->config[function->last_capability] = (uint8_t)at;
    function->last_capability = at + PCI_CAP_LIST_NEXT;
    function->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    function->free_config = (at + 2 + size + 3) & ~3u;
    return at;
}

void pci_add_vectors(struct pci_function *function, unsigned count)
{
    const uint32_t table = function->bar_size - 2 * PAGE;
    const uint32_t pending = function->bar_size - PAGE;
    uint8_t        data[PCI_CAP_MSIX_SIZEOF - 2] = {(uint8_t)(count - 1)};

    memcpy(data + PCI_MSIX_TABLE - 2, &table, sizeof(table));
    memcpy(data + PCI_MSIX_PBA - 2, &pending, sizeof(pending));
    function->vector_count = count;
    function->vector_capability = pci_add_capability(function, PCI_CAP_ID_MSIX, data, sizeof(data));
    function->writable[function->vector_capability + PCI_MSIX_FLAGS + 1] =
        (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
}

/* Each slot has its own part of the window. */
static void assign_bar(struct pci_function *function)
{
    const uint32_t writable = ~(function->bar_size - 1);

    set(function, PCI_BASE_ADDRESS_0, 4, (uint32_t)PCI_WINDOW + function->slot * SLOT_SIZE);
    memcpy(function->writable + PCI_BASE_ADDRESS_0, &writable, sizeof(writable));
    /* As firmware leaves it: a guest without a driver for PCI finds the device where it is. */
    function->config[PCI_COMMAND] = PCI_COMMAND_MEMORY;
}

static void power_on(struct pci_function *function)
{
    pthread_mutex_lock(&function->vector_lock);
    function->is_seen = false;
    function->vectors_enabled = function->vectors_masked = false;
    for (unsigned i = 0; i < function->vector_count; i++)
        function->vectors[i] = (struct pci_vector){.control = PCI_MSIX_ENTRY_CTRL_MASKBIT};
    pthread_mutex_unlock(&function->vector_lock);
    place(function, wanted_place(function));
}

bool pci_plug(struct pci_function *function, struct failure *failure)
{
    unsigned slot = 0;
    bool     must_tell = false;

    pthread_mutex_lock(&lock);
    while (slot < PCI_SLOTS && functions[slot])
        slot++;
    if (slot < PCI_SLOTS) {
        function->slot = slot;
        if (function->bar_size)
            assign_bar(function);
        memcpy(function->initial, function->config, sizeof(function->initial));
        functions[slot] = function;
        must_tell = is_on;
        if (is_on)
            power_on(function);
    }
    pthread_mutex_unlock(&lock);
    if (must_tell)
        power_pci_in(slot);
    return slot < PCI_SLOTS ? true : fail(failure, WIRE_VALUE, NULL, "more than %d devices", PCI_SLOTS - 1);
}

/* --- taking out --- */

static void switch_off(struct pci_function *function)
{
    place(function, 0);
    if (function->kind)
        function->kind->power_off(function);
    memcpy(function->config, function->initial, sizeof(function->config));
}

/* A vCPU may still be on its way into it, so it is only put aside. */
static void take_out(unsigned slot)
{
    struct pci_function *function = functions[slot];
    const uint64_t       one = 1;

    switch_off(function);
    functions[slot] = NULL;
    function->next = ejected;
    ejected = function;
    if (write(vm->eject_descriptor, &one, sizeof(one)) < 0)
        abort(); /* nobody lets it count that far */
}

/* PCI_SLOTS: none. */
static unsigned find(const char *name)
{
    unsigned slot = 0;

    while (slot < PCI_SLOTS && !(functions[slot] && *name && strcmp(functions[slot]->name, name) == 0))
        slot++;
    return slot;
}

bool pci_unplug(const char *name, bool at_once, struct failure *failure)
{
    unsigned slot;
    bool     must_tell = false;

    pthread_mutex_lock(&lock);
    slot = find(name);
    if (slot < PCI_SLOTS) {
        functions[slot]->is_asked = true;
        must_tell = is_on && !(at_once && !functions[slot]->is_seen);
        if (!must_tell)
            take_out(slot);
    }
    pthread_mutex_unlock(&lock);
    if (must_tell)
        power_pci_out(slot);
    return slot < PCI_SLOTS ? true : fail(failure, WIRE_ABSENT, NULL, "there is no %s", name);
}

void pci_eject(uint32_t slots)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < PCI_SLOTS; i++) {
        if (slots >> i & 1 && functions[i] && functions[i]->is_asked)
            take_out(i);
    }
    pthread_mutex_unlock(&lock);
}

struct pci_function *pci_take_ejected(void)
{
    struct pci_function *function;

    pthread_mutex_lock(&lock);
    function = ejected;
    if (function)
        ejected = function->next;
    pthread_mutex_unlock(&lock);
    return function;
}

/* --- power --- */

void pci_power_on(void)
{
    pthread_mutex_lock(&lock);
    address = 0;
    for (unsigned i = 0; i < PCI_SLOTS; i++) {
        if (functions[i])
            power_on(functions[i]);
    }
    is_on = true;
    pthread_mutex_unlock(&lock);
}

void pci_power_off(void)
{
    pthread_mutex_lock(&lock);
    is_on = false;
    for (unsigned i = 0; i < PCI_SLOTS; i++) {
        if (!functions[i])
            continue;
        if (functions[i]->is_asked)
            take_out(i);
        else
            switch_off(functions[i]);
    }
    pthread_mutex_unlock(&lock);
}

bool pci_remove(void)
{
    for (unsigned i = 1; i < PCI_SLOTS; i++) {
        if (functions[i])
            return false;
    }
    functions[0] = NULL;
    bus_remove(&vm->ports, PCI_PORT);
    bus_remove(&vm->mmio, PCI_ECAM);
    vm->has_pci = false;
    return true;
}

bool pci_init(struct vm *machine)
{
    const struct bus_range ports = {PCI_PORT, PCI_PORTS, access_ports, NULL, &lock};
    const struct bus_range ecam = {PCI_ECAM, PCI_ECAM_SIZE, access_ecam, NULL, &lock};
    struct failure         failure;

    vm = machine;
    vm->has_pci = true;
    pci_describe(&bridge, NULL, BRIDGE_VENDOR, BRIDGE_DEVICE, CLASS_HOST_BRIDGE);
    return pci_plug(&bridge, &failure) && bus_add(&vm->ports, &ports) && bus_add(&vm->mmio, &ecam);
}
