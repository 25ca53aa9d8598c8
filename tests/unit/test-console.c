/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Consoles of the VMM: what waits for whoever opens one, and virtio's as a guest drives them. */
#include "loop.h"
#include "machine.h"
#include "unit.h"
#include "virtio/console.h"
#include <fcntl.h>
#include <sys/mman.h>

enum { RX = 0, TX = 1, RX_RING = 0x1000, TX_RING = 0x4000, DATA = 0x10000 };

static struct console *console;
static struct ring     receive, transmit;

static void *run_loop(void *data)
{
    (void)data;
    loop_run();
    return NULL;
}

/* The loop runs beside the test, as it does beside the vCPUs. */
static void start_loop(void)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, run_loop, NULL), 0);
}

static struct console *plug(const char *name)
{
    struct failure  failure = {0};
    struct console *plugged = virtio_console_plug(&vm, name, &failure);

    ck_assert_msg(plugged != NULL, "%s", failure.message);
    return plugged;
}

static void start_driver(void)
{
    ck_assert(negotiate(0));
    receive = set_up_ring(RX, RX_RING);
    transmit = set_up_ring(TX, TX_RING);
    go();
}

static void make_console(void)
{
    make_machine();
    console = plug("main");
    pci_power_on();
    drive_pci(1);
    start_loop();
    start_driver();
}

static void say(const char *text)
{
    strcpy(at(DATA), text);
    describe(&transmit, 0, DATA, (uint32_t)strlen(text), 0);
    wait_for_used(&transmit, offer_chain(&transmit, 0));
}

static int open_console(bool force)
{
    struct failure failure = {0};
    const int      descriptor = console_open(console, force, &failure);

    ck_assert_msg(descriptor >= 0, "%s", failure.message);
    return descriptor;
}

static void assert_reads(int descriptor, const char *text)
{
    char got[256] = "";

    ck_assert_int_eq(recv(descriptor, got, strlen(text), MSG_WAITALL), (ssize_t)strlen(text));
    ck_assert_str_eq(got, text);
}

START_TEST(what_nobody_reads_waits)
{
    int descriptor;

    make_console();
    say("one ");
    say("two");
    descriptor = open_console(false);
    assert_reads(descriptor, "one two");
    say("three");
    assert_reads(descriptor, "three");
}
END_TEST

START_TEST(parts_are_one_text)
{
    int descriptor;

    make_console();
    memcpy(at(DATA), "abcdef", 6);
    describe(&transmit, 0, DATA, 2, VRING_DESC_F_NEXT);
    describe(&transmit, 1, DATA + 2, 0, VRING_DESC_F_NEXT);
    describe(&transmit, 2, DATA + 2, 4, 0);
    offer_chain(&transmit, 0);
    describe(&transmit, 3, DATA, 0, 0); /* says nothing */
    offer_chain(&transmit, 3);
    wait_for_used(&transmit, 2);
    descriptor = open_console(false);
    assert_reads(descriptor, "abcdef");
}
END_TEST

/* Much more than is stored, in one chain of the same page: all of it is taken, and the first of it kept. */
START_TEST(a_flood_is_taken_and_cut)
{
    static char text[CONSOLE_STORE];
    int         descriptor;

    make_console();
    memset(at(DATA), 'x', MACHINE_MEMORY - DATA);
    for (unsigned i = 0; i < RING_SIZE; i++)
        describe(&transmit, i, DATA, MACHINE_MEMORY - DATA, i + 1 < RING_SIZE ? VRING_DESC_F_NEXT : 0);
    offer_chain(&transmit, 0);
    wait_for_used(&transmit, 1);
    descriptor = open_console(false);
    ck_assert_int_eq(recv(descriptor, text, sizeof(text), MSG_WAITALL), sizeof(text));
    ck_assert_int_eq(text[sizeof(text) - 1], 'x');
    say("end");
    assert_reads(descriptor, "end");
}
END_TEST

START_TEST(a_file_gets_all_of_it)
{
    const int      file = memfd_create("log", MFD_CLOEXEC);
    struct failure failure = {0};
    const off_t    size = (off_t)3 * (MACHINE_MEMORY - DATA);

    make_console();
    ck_assert(console_direct(console, WIRE_SERIAL_FILE, file, &failure));
    for (unsigned i = 0; i < 3; i++)
        describe(&transmit, i, DATA, MACHINE_MEMORY - DATA, i < 2 ? VRING_DESC_F_NEXT : 0);
    offer_chain(&transmit, 0);
    wait_for_used(&transmit, 1);
    ck_assert_int_eq(lseek(file, 0, SEEK_END), size);
    ck_assert_int_eq(console_open(console, true, &failure), -1);
    ck_assert_int_eq(failure.code, WIRE_UNSUPPORTED);
    ck_assert(!console_direct(console, WIRE_SERIAL_FILE, 0, &failure));
}
END_TEST

START_TEST(one_at_a_time_has_it_open)
{
    struct failure failure = {0};
    int            first, second;
    char           byte;

    make_console();
    first = open_console(false);
    ck_assert_int_eq(console_open(console, false, &failure), -1);
    ck_assert_int_eq(failure.code, WIRE_BUSY);
    second = open_console(true);
    ck_assert_int_eq(recv(first, &byte, 1, 0), 0);
    say("mine");
    assert_reads(second, "mine");
}
END_TEST

static void offer_room(uint16_t head, uint32_t size)
{
    describe(&receive, head, DATA + 0x1000u * (head + 1u), size, VRING_DESC_F_WRITE);
    offer_chain(&receive, head);
}

START_TEST(input_waits_for_room)
{
    int descriptor;

    make_console();
    descriptor = open_console(false);
    ck_assert_int_eq(send(descriptor, "hello, world", 12, 0), 12);
    offer_room(0, 5);
    wait_for_used(&receive, 1);
    ck_assert_uint_eq(receive.used->ring[0].len, 5);
    ck_assert_int_eq(memcmp(at(DATA + 0x1000), "hello", 5), 0);
    offer_room(1, 64);
    wait_for_used(&receive, 2);
    ck_assert_uint_eq(receive.used->ring[1].len, 7);
    ck_assert_int_eq(memcmp(at(DATA + 0x2000), ", world", 7), 0);
    /* Room that was there before. */
    offer_room(2, 64);
    ck_assert_int_eq(send(descriptor, "x", 1, 0), 1);
    wait_for_used(&receive, 3);
    ck_assert_int_eq(*(char *)at(DATA + 0x3000), 'x');
}
END_TEST

START_TEST(input_waits_for_a_driver)
{
    int descriptor;

    make_console();
    set_status(0);
    descriptor = open_console(false);
    ck_assert_int_eq(send(descriptor, "early", 5, 0), 5);
    start_driver();
    offer_room(0, 64);
    wait_for_used(&receive, 1);
    ck_assert_int_eq(memcmp(at(DATA + 0x1000), "early", 5), 0);
}
END_TEST

START_TEST(last_words_are_heard)
{
    int descriptor;

    make_machine();
    console = plug("main");
    pci_power_on();
    drive_pci(1);
    start_driver();
    /* The loop has not come to it when the power goes off. */
    strcpy(at(DATA), "good bye");
    describe(&transmit, 0, DATA, 8, 0);
    offer_chain(&transmit, 0);
    pci_power_off();
    descriptor = open_console(false);
    assert_reads(descriptor, "good bye");
}
END_TEST

START_TEST(what_makes_no_sense_breaks_one_console)
{
    make_console();
    ck_assert_ptr_eq(virtio_console_find("main"), console);
    ck_assert_ptr_null(virtio_console_find("other"));
    describe(&receive, 0, DATA, 16, 0); /* for input, and not writable */
    offer_chain(&receive, 0);
    ck_assert_int_eq(send(open_console(false), "x", 1, 0), 1);
    wait_for_break();
    start_driver();
    describe(&transmit, 0, DATA, 16, VRING_DESC_F_NEXT);
    transmit.descriptors[0].next = 0;
    offer_chain(&transmit, 0);
    wait_for_break();
    start_driver();
    describe(&transmit, 0, MACHINE_MEMORY - 1, 2, 0);
    offer_chain(&transmit, 0);
    wait_for_break();
    start_driver();
    say("well again");
    set_status(0);
    start_driver();
    say("and again");
}
END_TEST

/* A guest that takes what there was no room for before the loop knows that there was none. */
static unsigned take_half(void *data, const uint8_t *bytes, unsigned count)
{
    unsigned *taken = data;

    (void)bytes;
    __atomic_add_fetch(taken, (count + 1) / 2, __ATOMIC_RELEASE);
    if (count > 1)
        console_ready(console);
    return (count + 1) / 2;
}

START_TEST(room_that_comes_at_once_is_seen)
{
    static struct console serial;
    unsigned              taken = 0;
    const gint64          limit = g_get_monotonic_time() + MACHINE_PATIENCE_S * G_USEC_PER_SEC;

    ck_assert(loop_init());
    ck_assert(console_init(&serial, take_half, &taken));
    console = &serial;
    start_loop();
    ck_assert_int_eq(send(open_console(false), "0123456789", 10, 0), 10);
    while (__atomic_load_n(&taken, __ATOMIC_ACQUIRE) < 10) {
        ck_assert_msg(g_get_monotonic_time() < limit, "only %u were taken", taken);
        g_usleep(100);
    }
}
END_TEST

UNIT_RUN("console", what_nobody_reads_waits, parts_are_one_text, a_flood_is_taken_and_cut, a_file_gets_all_of_it,
         one_at_a_time_has_it_open, input_waits_for_room, input_waits_for_a_driver, last_words_are_heard,
         what_makes_no_sense_breaks_one_console, room_that_comes_at_once_is_seen)
