/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VM's life by request, and the events that tell all who watch. */
#include "control.h"
#include "device/pci.h"
#include "device/power.h"
#include "loop.h"
#include "parts.h"
#include "sandbox.h"
#include "virtio/console.h"
#include "virtio/device.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>

enum { CLIENTS = 64 };

struct client {
    int  descriptor; /* -1: free */
    bool watches;
};

static struct vm          *vm;
static struct serial      *serial;
static struct client       clients[CLIENTS];
static struct wire_message message; /* the one under way */
static struct wire_message reply;
static int                 last_words;
static int                 listener;     /* for clients */
static bool                is_committed; /* until then the VM is nobody's but the first client's */
/* What becomes of the VM when it wants this. */
static int policy[] = {[VM_OFF] = WIRE_DO_STOP, [VM_RESET] = WIRE_DO_RESTART, [VM_CRASH] = WIRE_DO_STOP};

/* --- telling --- */

static void drop(struct client *client)
{
    loop_remove(client->descriptor);
    close(client->descriptor);
    client->descriptor = -1;
}

/* Whoever does not read is dropped rather than waited for. */
static void send_to(struct client *client, const struct wire_message *what)
{
    if (!wire_send(client->descriptor, what, MSG_DONTWAIT))
        drop(client);
}

static void put_state(struct wire_message *what)
{
    wire_put_u64(what, WIRE_T_STATE, (uint64_t)vm->stats->state);
    wire_put_text(what, WIRE_T_REASON, vm->stats->reason);
}

static void tell_all(const struct wire_message *event)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (clients[i].descriptor >= 0 && clients[i].watches)
            send_to(&clients[i], event);
    }
}

static void set_state(int state, const char *reason)
{
    struct wire_message event;

    vm_set_state(vm, state, reason);
    wire_begin(&event, WIRE_STATE, 0);
    put_state(&event);
    tell_all(&event);
}

static void tell_of_device(enum wire_type what, const char *name)
{
    struct wire_message event;

    wire_begin(&event, what, 0);
    wire_put_text(&event, WIRE_T_NAME, name);
    tell_all(&event);
}

/* For programs that were not connected then. */
static void leave_words(int state, const char *reason)
{
    char      text[WIRE_TEXT + 16];
    const int length = snprintf(text, sizeof(text), "%s %s\n", state == WIRE_ENDED ? "ended" : "crashed", reason);

    /* A disk that is full has no room for them. */
    if (write(last_words, text, (size_t)length) < 0)
        return;
}

static void end(int state, const char *reason)
{
    vm_tear_down(vm);
    virtio_let_go();
    leave_words(state, reason);
    /* Whoever hears of the end may start the VM again, and finds nobody there. */
    loop_remove(listener);
    close(listener);
    set_state(state, reason);
    console_detach(&serial->console);
    virtio_console_detach_all();
    loop_end();
}

/* --- requests: true, with what they put into the reply --- */

static bool do_boot(struct client *client, struct failure *failure)
{
    (void)client;
    if (!vm_in_state(vm, WIRE_NEW, WIRE_NEW, failure) ||
        !vm_boot(vm, wire_u64(&message, WIRE_T_PAUSED, 0) != 0, failure))
        return false;
    set_state(vm->stats->state, "");
    return true;
}

static bool do_commit(struct client *client, struct failure *failure)
{
    (void)client;
    (void)failure;
    is_committed = true;
    return true;
}

static bool do_pause(struct client *client, struct failure *failure)
{
    (void)client;
    if (!vm_in_state(vm, WIRE_RUNNING, WIRE_PAUSED, failure))
        return false;
    if (vm->stats->state == WIRE_RUNNING) {
        vm_hold(vm);
        set_state(WIRE_PAUSED, "");
    }
    return true;
}

static bool do_resume(struct client *client, struct failure *failure)
{
    (void)client;
    if (!vm_in_state(vm, WIRE_PAUSED, WIRE_RUNNING, failure))
        return false;
    if (vm->stats->state == WIRE_PAUSED) {
        set_state(WIRE_RUNNING, "");
        vm_release(vm);
    }
    return true;
}

static bool reset(struct failure *failure)
{
    serial_reset(serial);
    power_reset();
    if (!vm_reset(vm, failure))
        return false;
    set_state(vm->stats->state, "");
    return true;
}

static bool do_reset(struct client *client, struct failure *failure)
{
    (void)client;
    if (vm->stats->state != WIRE_KEPT && !vm_in_state(vm, WIRE_RUNNING, WIRE_PAUSED, failure))
        return false;
    if (reset(failure))
        return true;
    end(WIRE_CRASHED, failure->message);
    return false;
}

static bool do_button(struct client *client, struct failure *failure)
{
    (void)client;
    if (!vm_in_state(vm, WIRE_RUNNING, WIRE_RUNNING, failure))
        return false;
    power_button();
    return true;
}

static bool do_policy(struct client *client, struct failure *failure)
{
    static const uint32_t tags[] = {
        [VM_OFF] = WIRE_T_ON_SHUTDOWN, [VM_RESET] = WIRE_T_ON_REBOOT, [VM_CRASH] = WIRE_T_ON_CRASH};

    (void)client;
    for (enum vm_wish wish = VM_OFF; wish <= VM_CRASH; wish++) {
        const uint64_t what = wire_u64(&message, tags[wish], (uint64_t)policy[wish]);

        if (what > (wish == VM_CRASH ? WIRE_DO_KEEP : WIRE_DO_RESTART))
            return fail(failure, WIRE_UNSUPPORTED, NULL, "this VMM does not know what to do (%llu)",
                        (unsigned long long)what);
        policy[wish] = (int)what;
    }
    return true;
}

static bool do_stop(struct client *client, struct failure *failure)
{
    (void)client;
    (void)failure;
    return true; /* ended after the reply, in answer() */
}

static bool do_console(struct client *client, struct failure *failure)
{
    const char     *name = wire_text(&message, WIRE_T_NAME);
    struct console *console = name ? virtio_console_find(name) : &serial->console;
    int             descriptor;

    (void)client;
    if (!console)
        return fail(failure, WIRE_ABSENT, NULL, "there is no virtio console \"%s\"", name);
    descriptor = console_open(console, wire_u64(&message, WIRE_T_FORCE, 0) != 0, failure);
    if (descriptor >= 0)
        wire_put_descriptor(&reply, descriptor);
    return descriptor >= 0;
}

static bool do_look(struct client *client, struct failure *failure)
{
    char devices[PCI_SLOTS * VIRTIO_NAME + 1];

    (void)client;
    (void)failure;
    put_state(&reply);
    wire_put_text(&reply, WIRE_T_SANDBOX, sandbox_text());
    virtio_list(devices, sizeof(devices));
    wire_put_text(&reply, WIRE_T_DEVICES, devices);
    return true;
}

static bool do_watch(struct client *client, struct failure *failure)
{
    (void)failure;
    client->watches = true;
    put_state(&reply);
    wire_put_text(&reply, WIRE_T_SANDBOX, sandbox_text());
    /* Duplicated, since what a reply brings is closed when it was sent. */
    wire_put_descriptor(&reply, fcntl(vm->stats_descriptor, F_DUPFD_CLOEXEC, 0));
    return true;
}

static const struct {
    uint16_t type;
    bool (*serve)(struct client *client, struct failure *failure);
} requests[] = {
    {WIRE_BOOT, do_boot},     {WIRE_PAUSE, do_pause},   {WIRE_RESUME, do_resume},   {WIRE_RESET, do_reset},
    {WIRE_BUTTON, do_button}, {WIRE_STOP, do_stop},     {WIRE_CONSOLE, do_console}, {WIRE_WATCH, do_watch},
    {WIRE_LOOK, do_look},     {WIRE_POLICY, do_policy}, {WIRE_COMMIT, do_commit},
};

static bool serve(struct client *client, uint16_t type, struct failure *failure)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        if (requests[i].type == type)
            return requests[i].serve(client, failure);
    }
    return parts_serve(&message, type, failure);
}

static void answer(struct client *client)
{
    const struct wire_header header = wire_header(&message);
    struct failure           failure = {0};

    wire_begin(&reply, WIRE_DONE, header.id);
    if (!serve(client, header.type, &failure)) {
        wire_begin(&reply, WIRE_FAILED, header.id);
        wire_put_u64(&reply, WIRE_T_CODE, (uint64_t)failure.code);
        wire_put_text(&reply, WIRE_T_MESSAGE, failure.message);
        if (failure.property)
            wire_put_text(&reply, WIRE_T_PROPERTY, failure.property);
    }
    if (client->descriptor >= 0)
        send_to(client, &reply);
    wire_close_descriptors(&reply);
    wire_close_descriptors(&message);
    if (header.type == WIRE_STOP)
        end(WIRE_ENDED, "it was stopped");
}

/* --- the loop's handlers --- */

/* Whoever started us was gone before others could find the VM. */
static void abandon(void)
{
    if (vm->stats->state == WIRE_NEW)
        loop_end();
    else
        end(WIRE_ENDED, "the program that started it ended before it had");
}

static void on_message(void *data, uint32_t events)
{
    struct client *client = data;
    const int      got = wire_receive(client->descriptor, &message, MSG_DONTWAIT);

    (void)events;
    if (got == 1) {
        answer(client);
    } else if (got == 0 || errno != EAGAIN) {
        drop(client);
    }
    if (!is_committed && clients[0].descriptor < 0)
        abandon();
}

static bool add_client(int descriptor)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (clients[i].descriptor >= 0)
            continue;
        clients[i] = (struct client){.descriptor = descriptor};
        if (loop_add(descriptor, EPOLLIN, on_message, &clients[i]))
            return true;
        clients[i].descriptor = -1;
        break;
    }
    close(descriptor);
    return false;
}

static void on_connection(void *data, uint32_t events)
{
    const int descriptor = loop_accept(listener);

    (void)data;
    (void)events;
    if (descriptor >= 0)
        add_client(descriptor);
}

static void on_wish(void *data, uint32_t events)
{
    struct failure failure = {0};
    enum vm_wish   wish;
    uint64_t       count;
    char           reason[WIRE_TEXT];

    (void)data;
    (void)events;
    if (read(vm->wish_descriptor, &count, sizeof(count)) < 0)
        return;
    pthread_mutex_lock(&vm->lock);
    wish = vm->wish;
    memcpy(reason, vm->wish_reason, sizeof(reason));
    pthread_mutex_unlock(&vm->lock);
    if (wish == VM_NOTHING)
        return;
    if (policy[wish] == WIRE_DO_KEEP)
        set_state(WIRE_KEPT, reason);
    else if (policy[wish] == WIRE_DO_STOP)
        end(wish == VM_CRASH ? WIRE_CRASHED : WIRE_ENDED, reason);
    else if (!reset(&failure))
        end(WIRE_CRASHED, failure.message);
}

/* Held vCPUs are in no device. */
static void on_ejected(void *data, uint32_t events)
{
    struct pci_function *function;
    uint64_t             count;

    (void)data;
    (void)events;
    if (read(vm->eject_descriptor, &count, sizeof(count)) < 0)
        return;
    vm_hold(vm);
    while ((function = pci_take_ejected())) {
        char name[VIRTIO_NAME];

        snprintf(name, sizeof(name), "%s", function->name);
        function->kind->destroy(function);
        tell_of_device(WIRE_UNPLUGGED, name);
    }
    if (vm->stats->state == WIRE_RUNNING)
        vm_release(vm);
}

static void on_lost(void *data, uint32_t events)
{
    const struct virtio_device *device;
    uint64_t                    count;

    (void)data;
    (void)events;
    if (read(vm->lost_descriptor, &count, sizeof(count)) < 0)
        return;
    while ((device = virtio_take_lost()))
        tell_of_device(WIRE_LOST, device->name);
}

bool control_init(struct vm *machine, struct serial *port, int where, int first, int words)
{
    listener = where;
    last_words = words;
    vm = machine;
    serial = port;
    parts_init(machine, port);
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i].descriptor = -1;
    /* Not by whoever bound it: it is the listener whom the other side takes for its peer. */
    return listen(listener, CLIENTS) == 0 && loop_add(vm->wish_descriptor, EPOLLIN, on_wish, NULL) &&
           loop_add(vm->eject_descriptor, EPOLLIN, on_ejected, NULL) &&
           loop_add(vm->lost_descriptor, EPOLLIN, on_lost, NULL) && add_client(first) &&
           loop_add(listener, EPOLLIN, on_connection, NULL);
}
