/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tables of a hardware-reduced machine: RSDP, XSDT, FADT, MADT, DSDT and, where there is PCI, MCFG. */
#include "acpi.h"
#include "../cpuid.h"
#include "../device/debug.h"
#include "../device/pci.h"
#include "../device/power.h"
#include "../device/rtc.h"
#include "../device/serial.h"
#include "../virtio/mmio.h"
#include "aml.h"
#include "boot.h"
#include <stdlib.h>

enum {
    SPACE = BOOT_FIRMWARE - BOOT_TABLES,
    TABLES = 8,
    ALIGNMENT = 16,
    LOCAL_APIC = 0xfee00000,
    IO_APIC = 0xfec00000,
    SPACE_PORTS = 1, /* an address is one of I/O ports */
    ACCESS_BYTE = 1,
    ACCESS_DWORD = 3,
    BUTTON_PRESSED = 0x80, /* what a Notify says */
    GENERATION_CHANGED = 0x80,
    DEVICE_CHECK = 1,
    EJECT_REQUEST = 3,
    CONTROL_METHOD_BUTTON = 1 << 4,
    SLEEP_BUTTON_ABSENT = 1 << 5,
    CLOCK_WAKES_NOBODY = 1 << 6,
    HAS_RESET_REGISTER = 1 << 10,
    HARDWARE_REDUCED = 1 << 20,
    NO_VGA = 1 << 2,
};

struct header {
    char     signature[4];
    uint32_t length;
    uint8_t  revision, checksum;
    char     oem[6], oem_table[8];
    uint32_t oem_revision;
    char     creator[4];
    uint32_t creator_revision;
} __attribute__((packed));

struct address {
    uint8_t  space, width, offset, access;
    uint64_t address;
} __attribute__((packed));

struct root_pointer {
    char     signature[8];
    uint8_t  checksum;
    char     oem[6];
    uint8_t  revision;
    uint32_t rsdt, length;
    uint64_t xsdt;
    uint8_t  extended_checksum, reserved[3];
} __attribute__((packed));

/* The fields of a FADT that are not zero, at the offsets that ACPI gives them. */
struct fixed {
    struct header  header;
    uint8_t        before_century[108 - sizeof(struct header)];
    uint8_t        century; /* its place in the clock's memory */
    uint16_t       boot_architecture;
    uint8_t        reserved;
    uint32_t       flags;
    struct address reset;
    uint8_t        reset_value;
    uint16_t       arm_boot;
    uint8_t        minor;
    uint64_t       x_facs, x_dsdt;
    uint8_t        before_sleep[244 - 148];
    struct address sleep_control, sleep_status;
    uint64_t       hypervisor;
} __attribute__((packed));

_Static_assert(sizeof(struct fixed) == 276, "the length of a FADT of revision 6");

struct local_apic {
    uint8_t  type, length, processor, id;
    uint32_t flags;
} __attribute__((packed));

struct io_apic {
    uint8_t  type, length, id, reserved;
    uint32_t address, first_line;
} __attribute__((packed));

struct apic_nmi {
    uint8_t  type, length, processor;
    uint16_t flags;
    uint8_t  pin;
} __attribute__((packed));

struct ecam {
    uint64_t reserved, address;
    uint16_t segment;
    uint8_t  first_bus, last_bus;
    uint32_t also_reserved;
} __attribute__((packed));

struct tables {
    struct vm *vm;
    uint8_t   *data; /* what the guest will find at BOOT_TABLES */
    size_t     used;
    uint64_t   addresses[TABLES]; /* of those in the XSDT */
    unsigned   count;
};

static uint8_t checksum(const void *data, size_t length)
{
    const uint8_t *bytes = data;
    uint8_t        sum = 0;

    while (length--)
        sum = (uint8_t)(sum - *bytes++);
    return sum;
}

static struct header header(const char *signature, uint8_t revision)
{
    struct header header = {.revision = revision, .oem_revision = 1, .creator_revision = 1};

    memcpy(header.signature, signature, 4);
    memcpy(header.oem, "VMHOST", 6);
    memcpy(header.oem_table, "VMHOST  ", 8);
    memcpy(header.creator, "VMHO", 4);
    return header;
}

/* Finishes the table that begins here and has grown to `length`; its address. */
static uint64_t finish(struct tables *tables, size_t length)
{
    struct header *table = (struct header *)(tables->data + tables->used);
    const uint64_t address = BOOT_TABLES + tables->used;

    table->length = (uint32_t)length;
    table->checksum = 0;
    table->checksum = checksum(table, length);
    tables->used = (tables->used + length + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    return address;
}

static struct aml begin(struct tables *tables, const char *signature, uint8_t revision)
{
    const struct header head = header(signature, revision);
    struct aml          aml = {.data = tables->data + tables->used, .size = SPACE - tables->used};

    aml_bytes(&aml, &head, sizeof(head));
    return aml;
}

static void add_serial(struct aml *aml)
{
    const size_t device = aml_open_device(aml, "COM1");

    aml_name_id(aml, "_HID", "PNP0501");
    aml_name_integer(aml, "_UID", 1);
    const struct aml_resources resources = aml_open_resources(aml);
    aml_ports(aml, SERIAL_PORT, 8);
    aml_interrupt(aml, SERIAL_LINE, false);
    aml_close_resources(aml, resources);
    aml_close(aml, device);
}

/* What a device has that has ports, and no interrupt. */
static void add_ports(struct aml *aml, uint16_t port, uint8_t ports)
{
    const struct aml_resources resources = aml_open_resources(aml);

    aml_ports(aml, port, ports);
    aml_close_resources(aml, resources);
}

static void add_clock(struct aml *aml)
{
    const size_t device = aml_open_device(aml, "RTC_");

    aml_name_id(aml, "_HID", "PNP0B00");
    add_ports(aml, RTC_PORT, RTC_PORTS);
    aml_close(aml, device);
}

static void add_panic(struct aml *aml)
{
    const size_t device = aml_open_device(aml, "PEVT");

    aml_name_text(aml, "_HID", "QEMU0001"); /* by which drivers know it, whoever made the machine */
    add_ports(aml, DEBUG_PANIC_PORT, 1);
    aml_close(aml, device);
}

/* The drivers know it by either identifier, and ask where in memory its number is. */
static void add_generation(struct aml *aml)
{
    const size_t device = aml_open_device(aml, "VGEN");

    aml_name_text(aml, "_HID", "VMGENCTR");
    aml_name_text(aml, "_CID", "VM_Gen_Counter");
    aml_name_text(aml, "_DDN", "VM_Gen_Counter");
    const size_t address = aml_open_package(aml, "ADDR", 2);
    aml_integer(aml, BOOT_GENERATION);
    aml_integer(aml, 0);
    aml_close(aml, address);
    aml_close(aml, device);
}

/* A region of ports with one field. */
static void add_register(struct aml *aml, const char *region, const char *field, uint16_t port, uint8_t bytes,
                         uint8_t access)
{
    const uint8_t open[] = {0x5b, 0x80};
    const uint8_t place[] = {SPACE_PORTS, 0x0b, port & 0xff, port >> 8, 0x0a, bytes};
    const uint8_t list[] = {0x5b, 0x81, 0x0b};

    aml_bytes(aml, open, sizeof(open));
    aml_bytes(aml, region, 4);
    aml_bytes(aml, place, sizeof(place));
    aml_bytes(aml, list, sizeof(list));
    aml_bytes(aml, region, 4);
    aml_byte(aml, access);
    aml_bytes(aml, field, 4);
    aml_byte(aml, (uint8_t)(bytes * 8));
}

/* Store (name, Local) */
static void load_local(struct aml *aml, const char *name, unsigned local)
{
    aml_byte(aml, 0x70);
    aml_bytes(aml, name, 4);
    aml_byte(aml, (uint8_t)(0x60 + local));
}

/* Of the slots whose bit is set in the local variable. */
static void notify_slots(struct aml *aml, unsigned local, uint8_t value)
{
    char slot[32];

    for (unsigned i = 1; i < PCI_SLOTS; i++) {
        /* From the root, of three names. */
        snprintf(slot, sizeof(slot), "\\\x2f\x03_SB_PCI0S%02X_", i);
        aml_notify_if(aml, local, UINT32_C(1) << i, slot, value);
    }
}

static void add_slot_registers(struct aml *aml)
{
    add_register(aml, "INRG", "PCII", POWER_PORT + POWER_PCI_IN, 4, ACCESS_DWORD);
    add_register(aml, "OUTR", "PCIO", POWER_PORT + POWER_PCI_OUT, 4, ACCESS_DWORD);
}

static void notify_all_slots(struct aml *aml)
{
    load_local(aml, "PCII", 1);
    notify_slots(aml, 1, DEVICE_CHECK);
    load_local(aml, "PCIO", 2);
    notify_slots(aml, 2, EJECT_REQUEST);
}

/* The event device reads which events there are, and tells the guest of the button and of PCI devices. */
static void add_events(struct aml *aml, bool has_pci)
{
    size_t device = aml_open_device(aml, "PWRB");

    aml_name_id(aml, "_HID", "PNP0C0C");
    aml_close(aml, device);
    device = aml_open_device(aml, "GED_");
    aml_name_text(aml, "_HID", "ACPI0013");
    const struct aml_resources resources = aml_open_resources(aml);
    aml_interrupt(aml, POWER_LINE, true);
    aml_close_resources(aml, resources);
    add_register(aml, "EVTR", "EVTS", POWER_PORT + POWER_EVENT, 1, ACCESS_BYTE);
    if (has_pci)
        add_slot_registers(aml);
    const size_t open = aml_open_method(aml, "_EVT", 1);
    load_local(aml, "EVTS", 0);
    aml_notify_if(aml, 0, POWER_EVENT_BUTTON, "PWRB", BUTTON_PRESSED);
    aml_notify_if(aml, 0, POWER_EVENT_GENERATION, "VGEN", GENERATION_CHANGED);
    if (has_pci)
        notify_all_slots(aml);
    aml_close(aml, open);
    aml_close(aml, device);
}

/* Something may be put into it while the guest runs, and taken out again when the guest writes that it lets go. */
static void add_slot(struct aml *aml, unsigned slot)
{
    char name[8];

    snprintf(name, sizeof(name), "S%02X_", slot % PCI_SLOTS);
    const size_t device = aml_open_device(aml, name);
    aml_name_integer(aml, "_ADR", slot << 16);
    aml_name_integer(aml, "_SUN", slot);
    const size_t eject = aml_open_method(aml, "_EJ0", 1);
    aml_store(aml, UINT32_C(1) << slot % PCI_SLOTS, "\\\x2f\x03_SB_GED_PCIO");
    aml_close(aml, eject);
    aml_close(aml, device);
}

/* Its BARs have their places already, which lie in this window. */
static void add_bridge(struct aml *aml)
{
    const size_t device = aml_open_device(aml, "PCI0");

    aml_name_id(aml, "_HID", "PNP0A08");
    aml_name_id(aml, "_CID", "PNP0A03");
    aml_name_integer(aml, "_SEG", 0);
    aml_name_integer(aml, "_BBN", 0);
    aml_name_integer(aml, "_UID", 0);
    const struct aml_resources resources = aml_open_resources(aml);
    aml_bus_numbers(aml, 0, 0);
    aml_ports(aml, PCI_PORT, PCI_PORTS);
    aml_memory_window(aml, PCI_WINDOW, PCI_WINDOW_SIZE);
    aml_close_resources(aml, resources);
    for (unsigned i = 1; i < PCI_SLOTS; i++)
        add_slot(aml, i);
    aml_close(aml, device);
}

static void add_virtio(struct aml *aml, unsigned number)
{
    char name[8];

    snprintf(name, sizeof(name), "VR%02X", number & 0xff);
    const size_t device = aml_open_device(aml, name);
    aml_name_text(aml, "_HID", "LNRO0005");
    aml_name_integer(aml, "_UID", number);
    const struct aml_resources resources = aml_open_resources(aml);
    aml_memory(aml, (uint32_t)virtio_mmio_address(number), VIRTIO_MMIO_PAGE);
    aml_interrupt(aml, virtio_mmio_line(number), false);
    aml_close_resources(aml, resources);
    aml_close(aml, device);
}

static uint64_t write_dsdt(struct tables *tables, bool *fits)
{
    const bool   has_pci = tables->vm->has_pci;
    struct aml   aml = begin(tables, "DSDT", 2);
    const size_t scope = aml_open_scope(&aml, "\\_SB_");

    add_serial(&aml);
    add_clock(&aml);
    add_panic(&aml);
    add_generation(&aml);
    if (has_pci)
        add_bridge(&aml);
    for (unsigned i = 0; i < virtio_mmio_count(); i++)
        add_virtio(&aml, i);
    add_events(&aml, has_pci);
    aml_close(&aml, scope);
    const size_t off = aml_open_package(&aml, "_S5_", 2);
    aml_integer(&aml, POWER_SLEEP_OFF);
    aml_integer(&aml, 0);
    aml_close(&aml, off);
    *fits = !aml.overflow;
    return finish(tables, aml.used);
}

static struct address port(uint16_t number)
{
    return (struct address){SPACE_PORTS, 8, 0, 1, number};
}

static void write_fadt(struct tables *tables, uint64_t dsdt)
{
    const struct fixed fixed = {
        .header = header("FACP", 6),
        .century = RTC_CENTURY,
        .boot_architecture = NO_VGA,
        .flags =
            CONTROL_METHOD_BUTTON | SLEEP_BUTTON_ABSENT | CLOCK_WAKES_NOBODY | HAS_RESET_REGISTER | HARDWARE_REDUCED,
        .reset = port(POWER_PORT + POWER_RESET),
        .reset_value = POWER_RESET_VALUE,
        .minor = 3,
        .x_dsdt = dsdt,
        .sleep_control = port(POWER_PORT + POWER_SLEEP),
        .sleep_status = port(POWER_PORT + POWER_STATUS),
    };

    memcpy(tables->data + tables->used, &fixed, sizeof(fixed));
    tables->addresses[tables->count++] = finish(tables, sizeof(fixed));
}

static void write_madt(struct tables *tables)
{
    struct aml            aml = begin(tables, "APIC", 5);
    const uint32_t        local[] = {LOCAL_APIC, 0};
    const struct io_apic  io = {1, sizeof(io), 0, 0, IO_APIC, 0};
    const struct apic_nmi nmi = {4, sizeof(nmi), 0xff, 0, 1};

    aml_bytes(&aml, local, sizeof(local));
    for (unsigned i = 0; i < tables->vm->cpu_count; i++) {
        const uint8_t           id = (uint8_t)cpuid_apic_id(&tables->vm->topology, i);
        const struct local_apic apic = {0, sizeof(apic), (uint8_t)i, id, 1};

        aml_bytes(&aml, &apic, sizeof(apic));
    }
    aml_bytes(&aml, &io, sizeof(io));
    aml_bytes(&aml, &nmi, sizeof(nmi));
    tables->addresses[tables->count++] = finish(tables, aml.used);
}

static void write_mcfg(struct tables *tables)
{
    struct aml        aml = begin(tables, "MCFG", 1);
    const struct ecam ecam = {.address = PCI_ECAM};

    aml_bytes(&aml, &ecam, sizeof(ecam));
    tables->addresses[tables->count++] = finish(tables, aml.used);
}

static void write_root(struct tables *tables)
{
    struct aml          aml = begin(tables, "XSDT", 1);
    struct root_pointer root = {.revision = 2, .length = sizeof(root)};

    aml_bytes(&aml, tables->addresses, tables->count * sizeof(tables->addresses[0]));
    root.xsdt = finish(tables, aml.used);
    memcpy(root.signature, "RSD PTR ", 8);
    memcpy(root.oem, "VMHOST", 6);
    root.checksum = checksum(&root, 20);
    root.extended_checksum = checksum(&root, sizeof(root));
    memcpy(tables->data, &root, sizeof(root));
}

bool acpi_write(struct vm *vm, struct failure *failure)
{
    struct tables tables = {.vm = vm, .data = calloc(1, SPACE), .used = 64};
    bool          fits = false;

    if (!tables.data)
        return fail(failure, WIRE_HOST, NULL, "no memory for the ACPI tables");
    const uint64_t dsdt = write_dsdt(&tables, &fits);
    write_fadt(&tables, dsdt);
    write_madt(&tables);
    if (vm->has_pci)
        write_mcfg(&tables);
    write_root(&tables);
    /* A guest without that much memory has no use for them. */
    if (vm->memory.size >= BOOT_MEGABYTE)
        boot_copy(vm, BOOT_TABLES, tables.data, tables.used);
    free(tables.data);
    return fits ? true : fail(failure, WIRE_HOST, NULL, "the ACPI tables do not fit");
}
