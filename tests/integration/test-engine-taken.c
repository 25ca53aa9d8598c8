/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's process that a guest has taken over says what it likes to the programs that drive it: none of them dies. */
#include "engine.h"

#include "../../lib/vmm/wire.h"
#include <fcntl.h>
#include <sys/mman.h>

static int counters; /* which it shares, and can take away again */

static void answer(int connection, struct wire_message *message)
{
    const struct wire_header header = wire_header(message);

    wire_close_descriptors(message);
    wire_begin(message, WIRE_DONE, header.id);
    wire_put_u64(message, WIRE_T_STATE, WIRE_RUNNING);
    wire_put_text(message, WIRE_T_REASON, "");
    wire_put_text(message, WIRE_T_SANDBOX, "none");
    if (header.type == WIRE_WATCH)
        wire_put_descriptor(message, counters);
    wire_send(connection, message, 0);
}

static void *serve_client(void *data)
{
    const int           connection = GPOINTER_TO_INT(data);
    struct wire_message message;

    while (wire_receive(connection, &message, 0) == 1)
        answer(connection, &message);
    close(connection);
    return NULL;
}

static void *serve(void *data)
{
    int connection;

    while ((connection = accept(GPOINTER_TO_INT(data), NULL, NULL)) >= 0)
        g_thread_unref(g_thread_new("client", serve_client, GINT_TO_POINTER(connection)));
    return NULL;
}

/* In the place of the process of a VM that is not running. */
static void take_over(vmh_vm *vm, int shared)
{
    const struct wire_stats stats = {.magic = WIRE_STATS_MAGIC, .version = WIRE_VERSION, .state = WIRE_RUNNING};
    struct sockaddr_un      address;
    const int               place = engine_address(vm, &address);
    const int               listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    close(place);
    ck_assert_int_eq(listen(listener, 8), 0);
    counters = shared;
    ck_assert_int_eq(write(counters, &stats, sizeof stats), sizeof stats);
    g_thread_unref(g_thread_new("taken", serve, GINT_TO_POINTER(listener)));
}

static void expect_survival(int shared)
{
    g_autoptr(vmh_host) host = open_host(engine_uri());
    g_autoptr(vmh_vm) vm = engine_create(host, "taken", NULL, 0);
    g_autoptr(vmh_error) error = NULL;

    take_over(vm, shared);
    g_autoptr(vmh_host) other = open_host(engine_uri());
    g_autoptr(vmh_vm) seen = engine_find(other, "taken");
    ck_assert(test_wait_state(seen, VMH_VM_RUNNING, PATIENCE_MS));
    ck_assert_int_eq(ftruncate(counters, 0), 0);
    g_autoptr(vmh_frame) frame = vmh_host_sample(other, "memory.size,cpu.count", 0, &error);
    assert_no_error();
    ck_assert_ptr_nonnull(frame);
}

START_TEST(counters_that_can_be_taken_away_are_not_read)
{
    expect_survival(memfd_create("counters", MFD_CLOEXEC));
}
END_TEST

START_TEST(a_file_of_another_kind_is_not_read)
{
    g_autofree char *path = engine_file("counters");

    expect_survival(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {counters_that_can_be_taken_away_are_not_read, a_file_of_another_kind_is_not_read};

    return engine_run("engine-taken", tests, G_N_ELEMENTS(tests));
}
