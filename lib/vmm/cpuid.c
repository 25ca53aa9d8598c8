/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The leaves of CPUID that speak of one CPU and its neighbours rather than of the host's. */
#include "cpuid.h"
#include <sys/ioctl.h>

enum {
    FEATURES = 1,
    CACHES = 4,
    EXTENDED_TOPOLOGY = 0xb,
    NEWER_TOPOLOGY = 0x1f,
    LEVEL_SMT = 1,
    LEVEL_CORE = 2,

    CACHE_KIND = 0x1f,
    HAS_MONITOR = 1 << 3,
    HAS_DEADLINE_TIMER = 1 << 24,
    HAS_HYPERVISOR = 1u << 31,
    HAS_SIBLINGS = 1 << 28,
    HAS_SEVERAL_CORES = 1 << 1, /* AMD's: the siblings are cores, or may be */
    HAS_TOPOLOGY = 1 << 22,     /* AMD's, without which cores have no threads */

    VENDOR_AMD = 0x68747541,  /* Auth(enticAMD) */
    VENDOR_HYGON = 0x6f677948 /* Hygo(nGenuine) */
};
#define HIGHEST_EXTENDED 0x80000000
#define FEATURES_AMD 0x80000001
#define SIZES 0x80000008
#define CACHES_AMD 0x8000001d
#define TOPOLOGY_AMD 0x8000001e

/* Of an APIC id, the bits that number `count` things. */
static unsigned bits_for(unsigned count)
{
    unsigned bits = 0;

    while ((1u << bits) < count)
        bits++;
    return bits;
}

static unsigned thread_bits(const struct topology *topology)
{
    return bits_for(topology->threads);
}

static unsigned socket_bits(const struct topology *topology)
{
    return thread_bits(topology) + bits_for(topology->cores);
}

unsigned cpuid_apic_id(const struct topology *topology, unsigned index)
{
    const unsigned core = index / topology->threads;

    return (core / topology->cores) << socket_bits(topology) | (core % topology->cores) << thread_bits(topology) |
           index % topology->threads;
}

/* The two nearest caches are a core's, the others a socket's. What is told is the highest of the ids, from 0. */
static uint32_t shared_by(const struct topology *topology, uint32_t cache)
{
    const unsigned level = (cache >> 5) & 7;

    return ((1u << (level < 3 ? thread_bits(topology) : socket_bits(topology))) - 1) << 14;
}

static void adapt_leaf(struct kvm_cpuid_entry2 *leaf, const struct topology *topology, unsigned index, bool is_amd)
{
    const unsigned id = cpuid_apic_id(topology, index);
    const unsigned siblings = topology->cores * topology->threads;

    switch (leaf->function) {
    case FEATURES:
        leaf->ebx = (leaf->ebx & 0xffff) | siblings << 16 | id << 24;
        leaf->edx = siblings > 1 ? leaf->edx | HAS_SIBLINGS : leaf->edx & ~(uint32_t)HAS_SIBLINGS;
        leaf->ecx |= HAS_HYPERVISOR;
        leaf->ecx &= ~(uint32_t)HAS_MONITOR; /* it needs power management that is not there */
        break;
    case CACHES:
        if (!(leaf->eax & CACHE_KIND))
            break; /* the end of the list */
        leaf->eax =
            (leaf->eax & 0x3fff) | shared_by(topology, leaf->eax) | ((1u << bits_for(topology->cores)) - 1) << 26;
        break;
    case FEATURES_AMD:
        if (is_amd)
            leaf->ecx = siblings > 1 ? leaf->ecx | HAS_SEVERAL_CORES : leaf->ecx & ~(uint32_t)HAS_SEVERAL_CORES;
        if (is_amd && topology->threads > 1)
            leaf->ecx |= HAS_TOPOLOGY;
        break;
    case SIZES:
        leaf->ecx = is_amd ? socket_bits(topology) << 12 | (siblings - 1) : 0;
        break;
    case CACHES_AMD:
        leaf->eax = (leaf->eax & 0x3fff) | shared_by(topology, leaf->eax);
        break;
    case TOPOLOGY_AMD:
        leaf->eax = id;
        leaf->ebx = (id & ((1u << socket_bits(topology)) - 1)) >> thread_bits(topology);
        leaf->ebx |= (topology->threads - 1) << 8;
        leaf->ecx = id >> socket_bits(topology); /* one node a socket */
        break;
    default:
        break;
    }
}

static void add_level(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t level, uint32_t kind, uint32_t bits,
                      uint32_t count, uint32_t id)
{
    if (cpuid->nent == CPUID_ENTRIES)
        return;
    cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){.function = function,
                                                              .index = level,
                                                              .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                                                              .eax = bits,
                                                              .ebx = count,
                                                              .ecx = level | kind << 8,
                                                              .edx = id};
}

/* Hosts tell of these leaves in several ways, or not at all: they are made anew. */
static void replace_levels(struct kvm_cpuid2 *cpuid, uint32_t function, const struct topology *topology,
                           unsigned index)
{
    const unsigned id = cpuid_apic_id(topology, index);
    uint32_t       kept = 0;

    for (uint32_t i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function != function)
            cpuid->entries[kept++] = cpuid->entries[i];
    }
    cpuid->nent = kept;
    add_level(cpuid, function, 0, LEVEL_SMT, thread_bits(topology), topology->threads, id);
    add_level(cpuid, function, 1, LEVEL_CORE, socket_bits(topology), topology->cores * topology->threads, id);
    add_level(cpuid, function, 2, 0, 0, 0, id);
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *cpuid, uint32_t function)
{
    for (uint32_t i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function == function)
            return &cpuid->entries[i];
    }
    return NULL;
}

/* A host without this leaf cannot tell of threads; that a guest has it takes nothing of the host. */
static void add_topology_amd(struct kvm_cpuid2 *cpuid)
{
    struct kvm_cpuid_entry2 *highest = find(cpuid, HIGHEST_EXTENDED);

    if (!highest || find(cpuid, TOPOLOGY_AMD) || cpuid->nent == CPUID_ENTRIES)
        return;
    cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){.function = TOPOLOGY_AMD};
    if (highest->eax < TOPOLOGY_AMD)
        highest->eax = TOPOLOGY_AMD;
}

void cpuid_adapt(struct kvm_cpuid2 *cpuid, const struct topology *topology, unsigned index, bool has_deadline_timer)
{
    const struct kvm_cpuid_entry2 *first = find(cpuid, 0);
    const uint32_t                 highest = first ? first->eax : 0;
    const bool                     is_amd = first && (first->ebx == VENDOR_AMD || first->ebx == VENDOR_HYGON);

    if (is_amd && topology->threads > 1)
        add_topology_amd(cpuid);
    for (uint32_t i = 0; i < cpuid->nent; i++) {
        adapt_leaf(&cpuid->entries[i], topology, index, is_amd);
        if (cpuid->entries[i].function == FEATURES && has_deadline_timer)
            cpuid->entries[i].ecx |= HAS_DEADLINE_TIMER;
    }
    if (highest >= EXTENDED_TOPOLOGY)
        replace_levels(cpuid, EXTENDED_TOPOLOGY, topology, index);
    if (highest >= NEWER_TOPOLOGY)
        replace_levels(cpuid, NEWER_TOPOLOGY, topology, index);
}

/* A table with room for CPUID_ENTRIES. */
union table {
    struct kvm_cpuid2 cpuid;
    uint8_t           bytes[sizeof(struct kvm_cpuid2) + CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2)];
};

/* What KVM offers of the host's CPUs; no entries: nobody has asked yet. */
static union table offered;

bool cpuid_take(const void *data, size_t length)
{
    struct kvm_cpuid2 head;

    if (length < sizeof(head))
        return false;
    memcpy(&head, data, sizeof(head));
    if (head.nent > CPUID_ENTRIES || length != sizeof(head) + head.nent * sizeof(head.entries[0]))
        return false;
    memcpy(offered.bytes, data, length);
    return true;
}

static bool ask(int kvm)
{
    if (offered.cpuid.nent)
        return true;
    offered.cpuid.nent = CPUID_ENTRIES;
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &offered) == 0)
        return true;
    offered.cpuid.nent = 0;
    return false;
}

bool cpuid_set(struct vcpu *vcpu, struct failure *failure)
{
    static union table table;

    if (!ask(vcpu->vm->kvm))
        return fail(failure, WIRE_HOST, NULL, "KVM does not tell what CPUs it offers: %s", strerror(errno));
    table = offered;
    cpuid_adapt(&table.cpuid, &vcpu->vm->topology, vcpu->index,
                ioctl(vcpu->vm->kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0);
    if (ioctl(vcpu->descriptor, KVM_SET_CPUID2, &table) < 0)
        return fail(failure, WIRE_HOST, NULL, "KVM refuses the CPU that it offered: %s", strerror(errno));
    return true;
}
