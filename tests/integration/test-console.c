/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Consoles as descriptors: nothing is lost while somebody reads, and nothing waits or grows for who does not. */
#include "integration.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    vmh_host *host;
    vmh_vm   *vm;
    GString  *seen;
    int       fd;
} guest;

static void begin(guest *g, const char *cmdline)
{
    g_autofree char *name = test_name("console");
    g_autoptr(vmh_spec) spec = test_spec(name, 96);

    g->host = open_host(lab_variable("URI_A"));
    test_clean(g->host);
    g->seen = g_string_new(NULL);
    g->vm = boot_guest(g->host, spec, cmdline, &g->fd, g->seen);
}

static void end(guest *g)
{
    test_clean(g->host);
    g_string_free(g->seen, TRUE);
    vmh_vm_unref(g->vm);
    vmh_host_unref(g->host);
}

/* Reads until the end, and says whether it came. */
static gboolean ends(int fd)
{
    struct pollfd waits = {.fd = fd, .events = POLLIN};
    char          rest[4096];
    ssize_t       length = 1;

    while (length > 0 && poll(&waits, 1, PATIENCE_MS) == 1)
        length = read(fd, rest, sizeof rest);
    return length == 0;
}

START_TEST(the_descriptor_is_a_plain_one)
{
    guest g;

    begin(&g, NULL);
    ck_assert_msg(!(fcntl(g.fd, F_GETFL) & O_NONBLOCK), "it does not block");
    ck_assert_msg(fcntl(g.fd, F_GETFD) & FD_CLOEXEC, "it would leak into children");
    ck_assert(test_say(g.fd, "one two three\n"));
    ck_assert_msg(test_wait_console(g.fd, g.seen, "echo: one two three", PATIENCE_MS), "%s", g.seen->str);
    close(g.fd);
    end(&g);
}
END_TEST

START_TEST(the_end_of_the_vm_is_the_end_of_the_console)
{
    g_autoptr(vmh_error) error = NULL;
    guest g;

    begin(&g, NULL);
    assert_ok(vmh_vm_stop(g.vm, 0, &error));
    ck_assert(ends(g.fd));
    ck_assert_msg(send(g.fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "writing after the end succeeds");
    close(g.fd);
    ck_assert_int_eq(vmh_vm_console(g.vm, NULL, 0, &error), VMH_ERR_STATE);
    assert_error(VMH_ERR_STATE);
    end(&g);
}
END_TEST

START_TEST(it_is_one_readers_unless_forced)
{
    g_autoptr(vmh_error) error = NULL;
    guest g;
    int   second;

    begin(&g, NULL);
    ck_assert_int_lt(vmh_vm_console(g.vm, "main", 0, &error), 0);
    assert_error(VMH_ERR_BUSY);
    ck_assert_int_lt(vmh_vm_console(g.vm, "nobody", 0, &error), 0);
    ck_assert_str_eq(vmh_error_property(error), "console.nobody");
    assert_error(VMH_ERR_NOT_FOUND);

    second = vmh_vm_console(g.vm, "main", VMH_CONSOLE_FORCE, &error);
    assert_no_error();
    ck_assert_msg(ends(g.fd), "the first still has it");
    close(g.fd);
    ck_assert(test_say(second, "mine\n"));
    ck_assert_msg(test_wait_console(second, g.seen, "echo: mine", PATIENCE_MS), "%s", g.seen->str);
    close(second);
    end(&g);
}
END_TEST

static guint descriptors(void)
{
    g_autoptr(GDir) directory = g_dir_open("/proc/self/fd", 0, NULL);
    guint count = 0;

    while (g_dir_read_name(directory))
        count++;
    return count;
}

/* The console is free again as soon as the host has heard that it was closed, and nothing is left of it. */
START_TEST(a_closed_console_can_be_opened_again)
{
    g_autoptr(vmh_error) error = NULL;
    int64_t until;
    guint   before;
    guest   g;

    begin(&g, NULL);
    before = descriptors();
    for (int i = 0; i < 20; i++) {
        close(g.fd);
        until = test_now_ms() + PATIENCE_MS;
        do {
            g_clear_pointer(&error, vmh_error_free);
            g.fd = vmh_vm_console(g.vm, NULL, 0, &error);
        } while (g.fd < 0 && vmh_error_code(error) == VMH_ERR_BUSY && test_now_ms() < until);
        ck_assert_msg(g.fd >= 0, "%s", vmh_error_message(error));
    }
    until = test_now_ms() + PATIENCE_MS;
    while (descriptors() > before && test_now_ms() < until)
        g_usleep(10000);
    ck_assert_uint_le(descriptors(), before);
    close(g.fd);
    end(&g);
}
END_TEST

START_TEST(half_closed_it_still_delivers)
{
    guest g;

    begin(&g, NULL);
    ck_assert(test_say(g.fd, "last words\n"));
    ck_assert_int_eq(shutdown(g.fd, SHUT_WR), 0);
    ck_assert_msg(test_wait_console(g.fd, g.seen, "echo: last words", PATIENCE_MS), "%s", g.seen->str);
    close(g.fd);
    end(&g);
}
END_TEST

static guint64 resident_kib(void)
{
    g_autofree char *text = NULL;
    const char      *line;

    ck_assert(g_file_get_contents("/proc/self/status", &text, NULL, NULL));
    line = strstr(text, "VmRSS:");
    return line ? g_ascii_strtoull(line + 6, NULL, 10) : 0;
}

/* The guest says each line again; who writes much and reads nothing must neither hang the library nor fill it. */
START_TEST(who_does_not_read_costs_no_memory_and_stops_nobody)
{
    g_autoptr(vmh_error) error = NULL;
    char    line[1024];
    guint64 before;
    guest   g;

    begin(&g, NULL);
    before = resident_kib();
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    ck_assert_int_eq(fcntl(g.fd, F_SETFL, O_NONBLOCK), 0);
    for (int64_t until = test_now_ms() + 3000; test_now_ms() < until;) {
        struct pollfd waits = {.fd = g.fd, .events = POLLOUT};
        if (poll(&waits, 1, 100) > 0)
            ck_assert_msg(write(g.fd, line, sizeof line) > 0 || errno == EAGAIN, "%s", strerror(errno));
    }
    ck_assert_uint_lt(resident_kib(), before + 16 * 1024);
    assert_ok(vmh_vm_pause(g.vm, 0, &error));
    ck_assert(test_wait_state(g.vm, VMH_VM_PAUSED, PATIENCE_MS));
    close(g.fd);
    end(&g);
}
END_TEST

/* How many numbered lines came, one after the other from the first on; what is read is taken out. */
static guint take_flood(GString *seen, guint number)
{
    char *line = seen->str;

    for (char *end; (end = strchr(line, '\n')); line = end + 1) {
        guint told;
        if (sscanf(line, "flood %u", &told) != 1)
            continue;
        ck_assert_msg(told == number + 1, "line %u follows on line %u", told, number);
        ck_assert_msg(end - line == 63, "line %u is damaged: %.*s", told, (int)(end - line), line);
        number = told;
    }
    g_string_erase(seen, 0, line - seen->str);
    return number;
}

/* A MiB that is written in one go, and a reader that dawdles, but not by more than what waits for it. */
START_TEST(a_flood_arrives_whole)
{
    guint   lines = 16 * 1024, number;
    char    buffer[8192];
    ssize_t length;
    guest   g;

    begin(&g, "flood=16384");
    number = take_flood(g.seen, 0);
    while (number < lines && (length = read(g.fd, buffer, sizeof buffer)) > 0) {
        g_string_append_len(g.seen, buffer, length);
        number = take_flood(g.seen, number);
        g_usleep(number % 16 ? 5000 : 100000);
    }
    ck_assert_msg(number == lines, "the console ends after line %u of %u", number, lines);
    ck_assert_msg(test_wait_console(g.fd, g.seen, "tick 2", PATIENCE_MS), "%s", last_words(g.seen));
    close(g.fd);
    end(&g);
}
END_TEST

START_TEST(it_ends_with_its_host)
{
    guest g;

    begin(&g, NULL);
    vmh_vm_unref(g.vm);
    vmh_host_unref(g.host);
    ck_assert(ends(g.fd));
    close(g.fd);
    g.host = open_host(lab_variable("URI_A"));
    g.vm = NULL;
    end(&g);
}
END_TEST

INTEGRATION_RUN("console", TRUE, the_descriptor_is_a_plain_one, the_end_of_the_vm_is_the_end_of_the_console,
                it_is_one_readers_unless_forced, a_closed_console_can_be_opened_again, half_closed_it_still_delivers,
                who_does_not_read_costs_no_memory_and_stops_nobody, a_flood_arrives_whole, it_ends_with_its_host)
