/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table behind domain.h: a row for each property of kind "vm", and the functions its rows use. */
#pragma once

#include "libvirt/domain.h"
#include "libvirt/xml.h"

/* Where the element of ours stands in <metadata>, and its version. */
#define VMHI_DOMAIN_NAMESPACE "urn:libvmhost:domain:1"
#define VMHI_DOMAIN_PREFIX "vmhost"

typedef struct vmhi_domain_row vmhi_domain_row;

/* One property of one document: what a row's functions work on. */
typedef struct {
    xmlNode               *base; /* the domain, or the device that the place is relative to */
    const vmhi_domain_row *row;
    const char            *path;     /* "disk.root.cache"; when reading <id> and <n> outside devices: the pattern */
    const char            *id;       /* "root", the text that stands for <id> or <n>; may be NULL */
    const vmhi_platform   *platform; /* NULL when reading */
} vmhi_domain_cell;

struct vmhi_domain_row {
    const char *pattern;
    const char *place; /* NULL, as are the functions: nowhere, and its obstacle says why */
    void (*read)(const vmhi_domain_cell *cell, vmh_spec *spec);
    gboolean (*write)(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error);
    /* Why such a host cannot have it, or NULL: it can. A NULL function: every host can. */
    const char *(*obstacle)(const vmhi_platform *platform);
    const char *words; /* "ours=libvirt's,…"; nothing after = is: no such attribute or element */
    guint64     unit;  /* what 1 stands for in the XML */
};

extern const vmhi_domain_row vmhi_domain_rows[];
extern const gsize           vmhi_domain_row_count;

/* A class of devices that have names: where they stand, and how one begins and is completed. */
typedef struct {
    const char *name;    /* "disk" */
    const char *element; /* "disk" */
    /* Is this element one of the class? A floppy is no disk of ours. */
    gboolean (*member)(const xmlNode *device);
    /* The name of a device that nobody gave one; the caller's, or NULL. */
    char *(*fallback)(xmlNode *device);
    void (*begin)(xmlNode *device, const char *id, const vmhi_platform *platform, const vmh_spec *spec);
    /* After the rows of the class: fills in what was not said, and checks what belongs together. */
    gboolean (*complete)(xmlNode *device, const char *id, const vmhi_platform *platform, const vmh_spec *spec,
                         vmh_error **error);
} vmhi_domain_class;

extern const vmhi_domain_class vmhi_domain_disk;
extern const vmhi_domain_class vmhi_domain_nic;
extern const vmhi_domain_class vmhi_domain_console;
extern const vmhi_domain_class vmhi_domain_share;

/* NULL-terminated, in the order in which a spec is applied. */
extern const vmhi_domain_class *const vmhi_domain_classes[];

const vmhi_domain_class *vmhi_domain_class_of(const char *name);
/* The class of a device's element, or NULL. */
const vmhi_domain_class *vmhi_domain_class_of_node(const xmlNode *device);
/* The first element of <devices>; the others are its siblings. */
xmlNode *vmhi_domain_devices(xmlDoc *doc);

/*
 * Remembers what the user calls a device: first by an alias, and when all of it is known and the host would lose
 * the alias, by an element of ours. And forgets a device that goes.
 */
void vmhi_domain_alias(xmlNode *device, const vmhi_domain_class *class, const char *id);
void vmhi_domain_name_device(xmlNode *device, const vmhi_domain_class *class, const char *id,
                             const vmhi_platform *platform);
void vmhi_domain_forget_device(xmlNode *device, const vmhi_domain_class *class);

/* The element of ours in <metadata>; made where it is missing when `make` is set. */
xmlNode *vmhi_domain_ours(xmlDoc *doc, gboolean make);

/* The property's value as text, in base units; NULL when it is not set. */
char *vmhi_domain_value(const vmh_spec *spec, const char *path);

gboolean vmhi_domain_has(const vmh_spec *spec, const char *path);

/* Not set, "" and the schema's default all mean the same where a document says nothing. */
gboolean vmhi_domain_is_default(const vmh_spec *spec, const char *path);

/* The bytes that an element with a unit means; 0 when it is not there or no number. */
guint64 vmhi_domain_memory(xmlNode *base, const char *place);

gboolean vmhi_domain_is(const vmhi_platform *platform, const char *type);

/* Is it one of QEMU's newer machines, which have PCI Express and no IDE? */
gboolean vmhi_domain_has_pcie(xmlNode *domain);

/* The name of a level below a device's: "disk.root.bus" from "disk", "root", "bus"; sets an error about it. */
void vmhi_domain_refuse(vmh_error **error, int32_t code, const vmhi_domain_class *class, const char *id,
                        const char *leaf, const char *format, ...) G_GNUC_PRINTF(6, 7);

#define VMHI_READ(name) void vmhi_read_##name(const vmhi_domain_cell *cell, vmh_spec *spec);
#define VMHI_WRITE(name)                                                                                             \
    gboolean vmhi_write_##name(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error);
#define VMHI_BOTH(name) VMHI_READ(name) VMHI_WRITE(name)

/* domain-value.c: what many rows share */
VMHI_BOTH(text)
VMHI_BOTH(words)
VMHI_BOTH(number)
VMHI_BOTH(memory)
VMHI_BOTH(presence)

/* domain-vm.c */
VMHI_BOTH(metadata)
VMHI_BOTH(accelerator)
VMHI_BOTH(firmware)
VMHI_BOTH(boot_order)
VMHI_WRITE(numa)
VMHI_WRITE(memory_shared)
VMHI_BOTH(security_label)

/* domain-cpu.c */
VMHI_BOTH(cpu_count)
VMHI_BOTH(cpu_max)
VMHI_WRITE(topology)
VMHI_BOTH(cpu_model)
VMHI_BOTH(cpu_limit)
VMHI_BOTH(cpu_pin)

/* domain-disk.c */
VMHI_BOTH(disk_path)
VMHI_BOTH(disk_volume)
VMHI_BOTH(disk_url)
VMHI_WRITE(disk_format)
VMHI_WRITE(disk_bus)

/* domain-nic.c */
VMHI_BOTH(nic_source)
VMHI_BOTH(nic_tap)
VMHI_BOTH(nic_user)
VMHI_WRITE(nic_filter)
VMHI_WRITE(nic_queues)

/* domain-device.c */
VMHI_BOTH(console)
VMHI_BOTH(console_type)
VMHI_WRITE(share)
VMHI_WRITE(rng)
VMHI_WRITE(balloon)
VMHI_WRITE(watchdog)
VMHI_WRITE(vsock)
VMHI_BOTH(tpm)

#undef VMHI_BOTH
#undef VMHI_WRITE
#undef VMHI_READ

/* domain-vm.c: after all rows, what belongs together. */
gboolean vmhi_domain_complete(xmlNode *domain, const vmh_spec *spec, vmh_error **error);

/* domain-cpu.c: makes sockets x cores x threads the maximum again; `path` is what the error is about. */
gboolean vmhi_domain_fit_topology(xmlNode *domain, const vmh_spec *spec, const char *path, vmh_error **error);
