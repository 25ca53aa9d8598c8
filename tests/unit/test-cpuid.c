/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What vCPUs say of their places among the others, on hosts of both makers. */
#include "cpuid.h"
#include "unit.h"

enum { INTEL = 0x756e6547, AMD = 0x68747541, HIGHEST = 0x1f, HIGHEST_AMD = 0x10 };

static struct kvm_cpuid2 *cpuid;

static void add(uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx)
{
    cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){
        .function = function, .index = index, .eax = eax, .ebx = ebx, .ecx = 8, .edx = 0xff};
}

/* A host of many CPUs, whose own numbers must not be seen. */
static void make_host(bool is_amd)
{
    g_free(cpuid);
    cpuid = g_malloc0(sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));
    add(0, 0, is_amd ? HIGHEST_AMD : HIGHEST, is_amd ? AMD : INTEL);
    add(1, 0, 0x806f8, 0x55aa0800);
    for (uint32_t i = 0; i < 4 && !is_amd; i++)
        add(4, i, 0xffffc000 | (i < 2 ? 1 : i) << 5 | 1, 0);
    add(4, 4, 0, 0);
    for (uint32_t i = 0; i < 3; i++)
        add(0xb, i, 7, 0xffff);
    add(0x80000000, 0, is_amd ? 0x8000001e : 0x80000008, 0);
    add(0x80000001, 0, 0, 0);
    add(0x80000008, 0, 0x3030, 0);
    if (is_amd) {
        for (uint32_t i = 0; i < 4; i++)
            add(0x8000001d, i, 0x03ffc000 | (i < 2 ? 1 : i) << 5 | 1, 0);
        add(0x8000001e, 0, 99, 0x99ff);
    }
}

static const struct kvm_cpuid_entry2 *leaf(uint32_t function, uint32_t index)
{
    const struct kvm_cpuid_entry2 *found = NULL;

    for (uint32_t i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function != function || cpuid->entries[i].index != index)
            continue;
        ck_assert_msg(!found, "leaf %#x is there twice", function);
        found = &cpuid->entries[i];
    }
    ck_assert_msg(found != NULL, "no leaf %#x, %u", function, index);
    return found;
}

static void expect_level(uint32_t function, uint32_t level, uint32_t kind, uint32_t bits, uint32_t count, uint32_t id)
{
    const struct kvm_cpuid_entry2 *entry = leaf(function, level);

    ck_assert_uint_eq(entry->eax, bits);
    ck_assert_uint_eq(entry->ebx, count);
    ck_assert_uint_eq(entry->ecx, level | kind << 8);
    ck_assert_uint_eq(entry->edx, id);
    ck_assert_uint_eq(entry->flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
}

/* --- tests --- */

START_TEST(ids_have_fields)
{
    const struct topology flat = {4, 1}, threads = {2, 2}, odd = {3, 2}, single = {1, 1};

    for (unsigned i = 0; i < 64; i++) {
        ck_assert_uint_eq(cpuid_apic_id(&flat, i), i);
        ck_assert_uint_eq(cpuid_apic_id(&threads, i), i);
        ck_assert_uint_eq(cpuid_apic_id(&single, i), i);
        ck_assert_uint_eq(cpuid_apic_id(&odd, i), i / 6 * 8 + i % 6);
    }
}
END_TEST

/* The old APIC has eight bits, of which 255 means all. */
START_TEST(no_topology_has_too_high_ids)
{
    for (unsigned cores = 1; cores <= VM_CPUS; cores++) {
        for (unsigned threads = 1; cores * threads <= VM_CPUS; threads++) {
            const struct topology topology = {cores, threads};
            const unsigned        count = VM_CPUS / (cores * threads) * cores * threads;

            ck_assert_uint_lt(cpuid_apic_id(&topology, count - 1), 255);
        }
    }
}
END_TEST

START_TEST(intel_tells_of_sockets_cores_and_threads)
{
    const struct topology topology = {3, 2};

    make_host(false);
    cpuid_adapt(cpuid, &topology, 7, true); /* the second thread of the first core of the second socket */
    ck_assert_uint_eq(leaf(1, 0)->ebx, 9u << 24 | 6 << 16 | 0x800);
    ck_assert(leaf(1, 0)->edx & 1 << 28);
    ck_assert(leaf(1, 0)->ecx & 1u << 31 && leaf(1, 0)->ecx & 1 << 24 && !(leaf(1, 0)->ecx & 1 << 3));
    for (uint32_t function = 0xb; function <= 0x1f; function += 0x14) {
        expect_level(function, 0, 1, 1, 2, 9);
        expect_level(function, 1, 2, 3, 6, 9);
        expect_level(function, 2, 0, 0, 0, 9);
    }
    ck_assert_uint_eq(leaf(4, 0)->eax, 3u << 26 | 1 << 14 | 1 << 5 | 1);
    ck_assert_uint_eq(leaf(4, 2)->eax, 3u << 26 | 1 << 14 | 2 << 5 | 1);
    ck_assert_uint_eq(leaf(4, 3)->eax, 3u << 26 | 7 << 14 | 3 << 5 | 1);
    ck_assert_uint_eq(leaf(4, 4)->eax, 0);
    ck_assert_uint_eq(leaf(0x80000008, 0)->ecx, 0);
    ck_assert_uint_eq(leaf(0x80000001, 0)->ecx, 8);
}
END_TEST

START_TEST(amd_tells_of_sockets_cores_and_threads)
{
    const struct topology topology = {4, 2};

    make_host(true);
    cpuid_adapt(cpuid, &topology, 11, false); /* the second thread of the second core of the second socket */
    ck_assert_uint_eq(leaf(1, 0)->ebx, 11u << 24 | 8 << 16 | 0x800);
    ck_assert(!(leaf(1, 0)->ecx & 1 << 24));
    expect_level(0xb, 0, 1, 1, 2, 11);
    expect_level(0xb, 1, 2, 3, 8, 11);
    for (uint32_t i = 0; i < cpuid->nent; i++)
        ck_assert_uint_ne(cpuid->entries[i].function, 0x1f);
    ck_assert_uint_eq(leaf(0x80000008, 0)->ecx, 3 << 12 | 7);
    ck_assert(leaf(0x80000001, 0)->ecx & 1 << 1 && leaf(0x80000001, 0)->ecx & 1 << 22);
    ck_assert_uint_eq(leaf(0x8000001d, 2)->eax, 1 << 14 | 2 << 5 | 1);
    ck_assert_uint_eq(leaf(0x8000001d, 3)->eax, 7 << 14 | 3 << 5 | 1);
    ck_assert_uint_eq(leaf(0x8000001e, 0)->eax, 11);
    ck_assert_uint_eq(leaf(0x8000001e, 0)->ebx, 1 << 8 | 1);
    ck_assert_uint_eq(leaf(0x8000001e, 0)->ecx, 1);
}
END_TEST

/* Threads are told by a leaf that the host may lack; where there are none, the guest has what the host has. */
START_TEST(amd_may_lack_the_leaf_of_threads)
{
    const struct topology threads = {2, 2}, cores = {4, 1};

    for (int has_threads = 0; has_threads < 2; has_threads++) {
        make_host(true);
        cpuid->nent -= 1;
        cpuid->entries[cpuid->nent] = (struct kvm_cpuid_entry2){0};
        for (uint32_t i = 0; i < cpuid->nent; i++) {
            if (cpuid->entries[i].function == 0x80000000)
                cpuid->entries[i].eax = 0x80000008;
        }
        cpuid_adapt(cpuid, has_threads ? &threads : &cores, 3, false);
        ck_assert_uint_eq(!(leaf(0x80000001, 0)->ecx & 1 << 22), !has_threads);
        ck_assert_uint_eq(leaf(0x80000000, 0)->eax, has_threads ? 0x8000001e : 0x80000008);
        if (has_threads)
            ck_assert_uint_eq(leaf(0x8000001e, 0)->ebx, 1 << 8 | 1);
    }
}
END_TEST

START_TEST(one_cpu_has_no_siblings)
{
    const struct topology topology = {1, 1};

    for (int is_amd = 0; is_amd < 2; is_amd++) {
        make_host(is_amd);
        cpuid_adapt(cpuid, &topology, 0, false);
        ck_assert_uint_eq(leaf(1, 0)->ebx, 1 << 16 | 0x800);
        ck_assert(!(leaf(1, 0)->edx & 1 << 28));
        expect_level(0xb, 0, 1, 0, 1, 0);
        expect_level(0xb, 1, 2, 0, 1, 0);
        ck_assert(!(leaf(0x80000001, 0)->ecx & 1 << 1));
    }
}
END_TEST

/* As many leaves as there is room for, and none that says how many there are. */
START_TEST(odd_hosts_are_taken)
{
    const struct topology topology = {2, 1};

    make_host(false);
    while (cpuid->nent < CPUID_ENTRIES)
        add(0x40000000, cpuid->nent, 0, 0);
    cpuid_adapt(cpuid, &topology, 1, false);
    ck_assert_uint_eq(cpuid->nent, CPUID_ENTRIES);
    cpuid->nent = 0;
    cpuid_adapt(cpuid, &topology, 1, false);
    ck_assert_uint_eq(cpuid->nent, 0);
}
END_TEST

START_TEST(what_is_handed_over_must_be_whole)
{
    size_t whole;

    make_host(true);
    whole = sizeof(*cpuid) + cpuid->nent * sizeof(cpuid->entries[0]);
    ck_assert(cpuid_take(cpuid, whole));
    for (size_t length = 0; length < whole; length++)
        ck_assert(!cpuid_take(cpuid, length));
    ck_assert(!cpuid_take(cpuid, whole + 1));
    cpuid->nent = CPUID_ENTRIES + 1;
    ck_assert(!cpuid_take(cpuid, sizeof(*cpuid) + (CPUID_ENTRIES + 1) * sizeof(cpuid->entries[0])));
    cpuid->nent = UINT32_MAX; /* whose size would wrap round */
    ck_assert(!cpuid_take(cpuid, whole));
}
END_TEST

UNIT_RUN("cpuid", ids_have_fields, no_topology_has_too_high_ids, intel_tells_of_sockets_cores_and_threads,
         amd_tells_of_sockets_cores_and_threads, amd_may_lack_the_leaf_of_threads, one_cpu_has_no_siblings,
         odd_hosts_are_taken, what_is_handed_over_must_be_whole)
