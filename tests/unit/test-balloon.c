/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that a guest gives back, by its balloon or as free pages that it reports: it is the host's again. */
#include "loop.h"
#include "machine.h"
#include "unit.h"
#include "virtio/balloon.h"
#include <linux/virtio_balloon.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
    PAGE = 4096,
    BLOCK = 512, /* as st_blocks counts */
    FIRST = 0x40000,
    PAGES = 128,
    INFLATE = 0,
    DEFLATE = 1,
    REPORTING = 3,
    NUMBERS = 0x8000,
    RINGS = 0x10000,
    RINGS_STEP = 0x4000
};

/* --- what the host has to give for the guest --- */

static uint64_t held(void)
{
    struct stat status;

    ck_assert_int_eq(fstat(vm.memory.descriptor, &status), 0);
    return (uint64_t)status.st_blocks * BLOCK;
}

/* Of the process, as the metric memory.rss has it among all else. */
static uint64_t resident(void)
{
    g_autofree char *status = NULL;
    const char      *line;

    ck_assert(g_file_get_contents("/proc/self/status", &status, NULL, NULL));
    line = strstr(status, "RssShmem:");
    return line ? g_ascii_strtoull(line + strlen("RssShmem:"), NULL, 10) * 1024 : 0;
}

static void expect_back(uint64_t held_before, uint64_t resident_before, unsigned pages)
{
    ck_assert_uint_eq(held(), held_before - (uint64_t)pages * PAGE);
    ck_assert_uint_eq(resident(), resident_before - (uint64_t)pages * PAGE);
}

/* --- the guest --- */

static void *run(G_GNUC_UNUSED void *data)
{
    loop_run();
    return NULL;
}

/* The loop's thread ends with the process. */
static void begin(void)
{
    struct failure failure = {0};

    make_machine();
    ck_assert_msg(balloon_plug(&vm, &failure), "%s", failure.message);
    pci_power_on();
    drive_pci(1);
    g_thread_unref(g_thread_new("loop", run, NULL));
}

static void use_memory(void)
{
    for (unsigned i = 0; i < PAGES; i++)
        *(volatile uint8_t *)at(FIRST + (uint64_t)i * PAGE) = (uint8_t)(i + 1);
}

static uint8_t first_byte(unsigned page)
{
    return *(volatile uint8_t *)at(FIRST + (uint64_t)page * PAGE);
}

/* --- tests --- */

/* Those next to each other, one alone, and none twice. */
START_TEST(what_is_in_the_balloon_is_the_hosts)
{
    struct ring ring;
    uint64_t    held_before, resident_before;
    uint32_t   *numbers;
    unsigned    count = 0;

    begin();
    ck_assert(negotiate(get_offered()));
    ring = set_up_ring(INFLATE, RINGS);
    go();
    use_memory();
    numbers = at(NUMBERS);
    for (unsigned i = 0; i < PAGES; i++) {
        if (i < 100 || i == 110)
            numbers[count++] = FIRST / PAGE + i;
    }
    describe(&ring, 0, NUMBERS, count * (uint32_t)sizeof(*numbers), 0);
    held_before = held();
    resident_before = resident();
    wait_for_used(&ring, offer_chain(&ring, 0));
    expect_back(held_before, resident_before, count);
    ck_assert_uint_eq(first_byte(99), 0);
    ck_assert_uint_eq(first_byte(100), 101);
    ck_assert_uint_eq(first_byte(110), 0);
    ck_assert_uint_eq(first_byte(111), 112);
    pci_power_off();
}
END_TEST

START_TEST(free_pages_that_are_reported_are_the_hosts)
{
    struct ring ring;
    uint64_t    held_before, resident_before;

    begin();
    ck_assert(get_offered() >> VIRTIO_BALLOON_F_REPORTING & 1);
    ck_assert(negotiate(get_offered()));
    ring = set_up_ring(REPORTING, RINGS);
    go();
    use_memory();
    describe(&ring, 0, FIRST, 64 * PAGE, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT);
    describe(&ring, 1, FIRST + 80 * PAGE, 16 * PAGE, VRING_DESC_F_WRITE);
    held_before = held();
    resident_before = resident();
    wait_for_used(&ring, offer_chain(&ring, 0));
    expect_back(held_before, resident_before, 80);
    ck_assert_uint_eq(first_byte(63), 0);
    ck_assert_uint_eq(first_byte(64), 65);
    ck_assert_uint_eq(first_byte(95), 0);
    ck_assert_uint_eq(first_byte(96), 97);
    /* Used again, it is there again. */
    use_memory();
    ck_assert_uint_eq(held(), held_before);
    pci_power_off();
}
END_TEST

UNIT_RUN("balloon", what_is_in_the_balloon_is_the_hosts, free_pages_that_are_reported_are_the_hosts)
