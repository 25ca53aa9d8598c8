/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One PCI bus: a host bridge and up to 31 functions, each with one BAR and message interrupts (MSI-X). */
#pragma once

#include "../vm.h"

#define PCI_ECAM UINT64_C(0xe0000000)
#define PCI_ECAM_SIZE UINT64_C(0x100000) /* of one bus */
/* Where BARs lie. */
#define PCI_WINDOW UINT64_C(0xc0000000)
#define PCI_WINDOW_SIZE UINT64_C(0x20000000)

enum { PCI_SLOTS = 32, PCI_CONFIG = 256, PCI_PORT = 0xcf8, PCI_PORTS = 8, PCI_VECTORS = 32, PCI_NO_VECTOR = 0xffff };

struct pci_function;

struct pci_kind {
    /* An access to the BAR, but for the pages of MSI-X. */
    void (*access)(struct pci_function *function, uint64_t offset, unsigned size, bool write, uint64_t *value);
    /* An access to the configuration that is not just memory: true when it was served. NULL: there is none. */
    bool (*configure)(struct pci_function *function, unsigned offset, unsigned size, bool write, uint64_t *value);
    /* The BAR answers at this address from now on, or does no longer. */
    void (*place)(struct pci_function *function, uint64_t address, bool is_there);
    /* As when the power is off: no thread of it touches the guest afterwards. */
    void (*power_off)(struct pci_function *function);
    /* Frees it, when it was taken out, its power is off and no vCPU is in it. */
    void (*destroy)(struct pci_function *function);
};

struct pci_vector {
    uint64_t address;
    uint32_t data;
    uint32_t control;
    bool     pending;
};

struct pci_function {
    const struct pci_kind *kind; /* NULL: it has nothing but its configuration */
    const char            *name; /* such as disk.root; "": it stays for good */
    unsigned               slot;
    uint8_t                config[PCI_CONFIG];
    uint8_t                writable[PCI_CONFIG]; /* the bits that the guest may change */
    uint8_t                initial[PCI_CONFIG];
    unsigned               last_capability, free_config;
    uint32_t               bar_size; /* a power of two, at least three pages; 0: none */
    uint64_t               bar;      /* where it answers; 0: nowhere */
    bool                   is_seen;  /* the guest has looked at it */
    bool                   is_asked; /* the guest was asked to let go of it */
    struct pci_function   *next;     /* of those that were taken out */

    /* MSI-X. Its lock is the last that is taken, from any thread. */
    pthread_mutex_t   vector_lock;
    unsigned          vector_count, vector_capability;
    bool              vectors_enabled, vectors_masked;
    struct pci_vector vectors[PCI_VECTORS];
};

bool pci_init(struct vm *vm);
/* The machine has none. false: it has devices already, which are there. */
bool pci_remove(void);

/* A function of the caller's, which then adds its capabilities, and last of all plugs it in. */
void pci_describe(struct pci_function *function, const struct pci_kind *kind, uint16_t vendor, uint16_t device,
                  uint32_t class_code);
/* Where it begins in the configuration. The data follows the two bytes that every capability has. */
unsigned pci_add_capability(struct pci_function *function, uint8_t id, const void *data, unsigned size);
/* The last two pages of the BAR hold the table and what is pending. */
void pci_add_vectors(struct pci_function *function, unsigned count);
/* Into a machine that runs, too: the guest is told. */
bool pci_plug(struct pci_function *function, struct failure *failure);
/*
 * Asks the guest to let go of it. It is taken out when the guest says so, however late, or when the power goes off;
 * at once, if the guest has not looked at it yet and that is wanted.
 */
bool pci_unplug(const char *name, bool at_once, struct failure *failure);
/* The guest lets go of these slots; others than it was asked for are still its own. */
void pci_eject(uint32_t slots);
/* One that was taken out, which is now the caller's to destroy, or NULL. The VM's eject_descriptor tells when. */
struct pci_function *pci_take_ejected(void);

/* With a new machine of KVM's, and before it goes. */
void pci_power_on(void);
void pci_power_off(void);

/* From any thread. A number beyond the table is none. */
void pci_interrupt(struct pci_function *function, unsigned vector);
