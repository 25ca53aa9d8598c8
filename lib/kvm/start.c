/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a spec to a guest that runs: files are opened here, and a VMM gets their descriptors. */
#include "kvm/common.h"
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

enum { KVM = 0, LISTENER = 1, CONNECTION = 2, WORDS = 3, TABLE = 4, CELL = 2 };

struct vmhi_kvm_starting {
    const vmhi_driver_host *host;
    char                   *uuid;
    const vmh_spec         *spec;
    int                     ours; /* our end of the first connection */
    int                     process;
    int                     table[TABLE];
    GPtrArray              *made; /* paths that a start that fails removes */
    struct wire_message     message;
    guint                   posted;    /* requests whose replies were not collected yet */
    gboolean                is_silent; /* it did not answer in time */
};

/* --- files --- */

void vmhi_kvm_made(vmhi_kvm_starting *s, const char *path)
{
    g_ptr_array_add(s->made, g_strdup(path));
}

/* Neither this nor the VMM waits for a pipe. */
int vmhi_kvm_open_output(vmhi_kvm_starting *s, const char *path)
{
    const int how = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    const int made = open(path, how | O_EXCL, 0600);

    if (made < 0)
        return errno == EEXIST ? open(path, how, 0600) : -1;
    vmhi_kvm_made(s, path);
    return made;
}

/* --- the table of descriptors --- */

/* Bound here, where there is a file system. */
static int bind_socket(const vmhi_kvm_starting *s, const char *file, int type, vmh_error **error)
{
    g_autofree char   *path = vmhi_kvm_path(s->host, s->uuid, file);
    struct sockaddr_un address;
    const int          directory = vmhi_kvm_address(s->host, s->uuid, file, &address);
    int                listener = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    g_unlink(path); /* of a VMM that is gone */
    if (directory < 0 || listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0) {
        vmhi_error_set_native(error, VMH_ERR_HYPERVISOR, VMHI_KVM, errno, NULL, "cannot make the socket %s: %s", path,
                              g_strerror(errno));
        vmhi_kvm_close(listener);
        listener = -1;
    }
    vmhi_kvm_close(directory);
    return listener;
}

static int open_words(const vmhi_kvm_starting *s, vmh_error **error)
{
    g_autofree char *path = vmhi_kvm_path(s->host, s->uuid, VMHI_KVM_WORDS);
    const int        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (descriptor >= 0)
        vmhi_kvm_words_begin(descriptor);
    else
        vmhi_error_set_native(error, VMH_ERR_HYPERVISOR, VMHI_KVM, errno, NULL, "cannot write %s: %s", path,
                              g_strerror(errno));
    return descriptor;
}

static gboolean make_table(vmhi_kvm_starting *s, vmh_error **error)
{
    int pair[2];

    s->table[KVM] = vmhi_kvm_open_device(error);
    if (s->table[KVM] < 0)
        return FALSE;
    s->table[LISTENER] = bind_socket(s, VMHI_KVM_CONTROL, SOCK_SEQPACKET, error); /* the VMM listens */
    if (s->table[LISTENER] < 0)
        return FALSE;
    s->table[WORDS] = open_words(s, error);
    if (s->table[WORDS] < 0)
        return FALSE;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        vmhi_error_set(error, VMH_ERR_HYPERVISOR, "no socket for the VM: %s", g_strerror(errno));
        return FALSE;
    }
    vmhi_kvm_be_patient(pair[0], vmhi_kvm_patience(s->host));
    s->ours = pair[0];
    s->table[CONNECTION] = pair[1];
    return TRUE;
}

static void close_table(vmhi_kvm_starting *s)
{
    for (int i = 0; i < TABLE; i++) {
        if (s->table[i] >= 0)
            close(s->table[i]);
    }
}

/* --- what the VMM is told --- */

/* Each reply that is waited for costs two switches between processes: what depends on nothing goes on its way. */
gboolean vmhi_kvm_tell(vmhi_kvm_starting *s, const struct wire_message *message, vmh_error **error)
{
    if (!vmhi_kvm_post(s->ours, message, error))
        return FALSE;
    s->posted++;
    return TRUE;
}

static gboolean tell(vmhi_kvm_starting *s, vmh_error **error)
{
    return vmhi_kvm_tell(s, &s->message, error);
}

/* The first refusal is the reason for all. */
static gboolean settle(vmhi_kvm_starting *s, vmh_error **error)
{
    for (; s->posted; s->posted--) {
        if (!vmhi_kvm_collect(s->ours, &s->message, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean tell_machine(vmhi_kvm_starting *s, vmh_error **error)
{
    uint64_t      memory = 0;
    vmhi_kvm_cpus cpus;

    if (!vmhi_kvm_topology(s->spec, &cpus, error))
        return FALSE;
    vmhi_spec_u64(s->spec, "memory.size", &memory);
    vmhi_spec_u64(s->spec, "memory.max", &memory);
    wire_begin(&s->message, WIRE_MACHINE, 1);
    wire_put_u64(&s->message, WIRE_T_MEMORY, memory);
    wire_put_u64(&s->message, WIRE_T_CPUS, cpus.count);
    wire_put_u64(&s->message, WIRE_T_CORES, cpus.cores);
    wire_put_u64(&s->message, WIRE_T_THREADS, cpus.threads);
    vmhi_kvm_put_cpuid(&s->message);
    return tell(s, error);
}

static gboolean tell_transport(vmhi_kvm_starting *s, vmh_error **error)
{
    wire_begin(&s->message, WIRE_MMIO, 1);
    return !vmhi_kvm_is_without_bus(s->spec) || tell(s, error);
}

static gboolean tell_balloon(vmhi_kvm_starting *s, vmh_error **error)
{
    uint64_t memory = 0;

    if (!vmhi_spec_bool_or_default(s->spec, "vm", "balloon"))
        return TRUE;
    vmhi_spec_u64(s->spec, "memory.size", &memory);
    vmhi_kvm_put_balloon(&s->message, memory);
    return tell(s, error);
}

static gboolean tell_rng(vmhi_kvm_starting *s, vmh_error **error)
{
    wire_begin(&s->message, WIRE_RNG, 1);
    return !vmhi_spec_bool_or_default(s->spec, "vm", "rng") || tell(s, error);
}

/* Where there is a device, programs reach it by a socket of its own. */
static gboolean tell_vsock(vmhi_kvm_starting *s, vmh_error **error)
{
    uint64_t cid;
    int      listener;
    gboolean done;

    if (!vmhi_spec_u64(s->spec, "vsock.cid", &cid))
        return TRUE;
    listener = bind_socket(s, VMHI_KVM_VSOCK, SOCK_STREAM | SOCK_NONBLOCK, error);
    if (listener < 0)
        return FALSE;
    listen(listener, SOMAXCONN);
    wire_begin(&s->message, WIRE_VSOCK, 1);
    wire_put_u64(&s->message, WIRE_T_CID, cid);
    wire_put_descriptor(&s->message, listener);
    done = tell(s, error);
    close(listener);
    return done;
}

void vmhi_kvm_put_balloon(struct wire_message *message, uint64_t memory)
{
    wire_begin(message, WIRE_BALLOON, 1);
    wire_put_u64(message, WIRE_T_MEMORY, memory);
}

/* --- the debug ports --- */

static gboolean tell_debug(vmhi_kvm_starting *s, vmh_error **error)
{
    const char *path = vmhi_spec_str(s->spec, "debug.console");
    uint64_t    port = 0;
    int         file = -1;
    gboolean    done;

    vmhi_spec_u64(s->spec, "debug.exit", &port);
    if (!path && !port)
        return TRUE;
    wire_begin(&s->message, WIRE_DEBUG, 1);
    wire_put_u64(&s->message, WIRE_T_ADDRESS, port);
    if (path) {
        file = vmhi_kvm_open_output(s, path);
        if (file < 0) {
            vmhi_error_set_native(error, vmhi_kvm_file_error(errno), VMHI_KVM, errno, "debug.console",
                                  "debug.console: cannot open %s: %s", path, g_strerror(errno));
            return FALSE;
        }
        wire_put_descriptor(&s->message, file);
    }
    done = tell(s, error);
    vmhi_kvm_close(file);
    return done;
}

/* --- what becomes of it --- */

static void put_policy(struct wire_message *message, const vmh_spec *spec, const char *property, uint32_t tag)
{
    static const char *const words[] = {
        [WIRE_DO_STOP] = "stop", [WIRE_DO_RESTART] = "restart", [WIRE_DO_KEEP] = "keep"};
    const char *value = vmhi_spec_str(spec, property);

    for (uint64_t i = 0; value && i < G_N_ELEMENTS(words); i++) {
        if (g_str_equal(value, words[i]))
            wire_put_u64(message, tag, i);
    }
}

void vmhi_kvm_put_policy(struct wire_message *message, const vmh_spec *spec)
{
    wire_begin(message, WIRE_POLICY, 1);
    put_policy(message, spec, "on.crash", WIRE_T_ON_CRASH);
    put_policy(message, spec, "on.shutdown", WIRE_T_ON_SHUTDOWN);
    put_policy(message, spec, "on.reboot", WIRE_T_ON_REBOOT);
}

static gboolean tell_policy(vmhi_kvm_starting *s, vmh_error **error)
{
    vmhi_kvm_put_policy(&s->message, s->spec);
    return tell(s, error);
}

static gboolean tell_pins(vmhi_kvm_starting *s, vmh_error **error)
{
    g_auto(GStrv) paths = vmhi_spec_list(s->spec);

    for (guint i = 0; paths[i]; i++) {
        vmh_error *refused = NULL;

        if (!vmhi_kvm_is_pin(paths[i]))
            continue;
        if (!vmhi_kvm_check_pin(s->spec, paths[i], error) || !settle(s, error))
            return FALSE;
        vmhi_kvm_put_pin(&s->message, s->spec, paths[i]);
        if (!vmhi_kvm_request(s->ours, &s->message, &refused))
            return vmhi_kvm_refused(error, refused, paths[i]);
    }
    return TRUE;
}

/*
 * The groups come before the guest's memory is used, all of which is to be counted. Who listens at its socket is who
 * the VMM is, and it does by its first answer.
 */
static gboolean join_groups(vmhi_kvm_starting *s, vmh_error **error)
{
    return !vmhi_kvm_group_is_wanted(s->spec) ||
           (settle(s, error) && vmhi_kvm_group_apply(s->host, s->uuid, s->spec, error));
}

static gboolean tell_all(vmhi_kvm_starting *s, gboolean paused, vmh_error **error)
{
    if (!vmhi_spec_str(s->spec, "boot.kernel")) {
        vmhi_error_set_property(error, VMH_ERR_VALUE, "boot.kernel",
                                "there is nothing to boot: the built-in engine has no firmware, so set boot.kernel");
        return FALSE;
    }
    if (!tell_machine(s, error) || !join_groups(s, error) || !tell_pins(s, error) || !tell_transport(s, error) ||
        !vmhi_kvm_add_images(s, s->spec, error) || !vmhi_kvm_add_consoles(s, s->spec, error) ||
        !tell_debug(s, error) || !tell_policy(s, error) || !tell_balloon(s, error) || !tell_rng(s, error) ||
        !tell_vsock(s, error) || !settle(s, error) || !vmhi_kvm_add_devices(s->host, s->ours, s->spec, error))
        return FALSE;
    wire_begin(&s->message, WIRE_BOOT, 1);
    wire_put_u64(&s->message, WIRE_T_PAUSED, paused ? 1 : 0);
    return vmhi_kvm_request(s->ours, &s->message, error);
}

/*
 * Whom a VMM becomes that root starts: a user of its own, of numbers that nobody gives to people, services or
 * containers. Of the UUID, so that nothing needs to be written down: two VMs have the same one time in 268 million.
 */
static unsigned user_of(const char *uuid)
{
    enum { FIRST_USER = 0x70000000, USERS = 0x0fffffff };

    return FIRST_USER + g_str_hash(uuid) % USERS;
}

/* --- the verbs --- */

static gboolean spawn(vmhi_kvm_starting *s, vmh_error **error)
{
    char             name[] = "vmhost-vmm", wire[] = "--wire=1", cell[] = "--cell";
    g_autofree char *user = g_strdup_printf("--user=%u", user_of(s->uuid));
    int              table[TABLE + CELL];
    const gboolean   has_cell = vmhi_kvm_cell_get(s->host, &table[TABLE], &table[TABLE + 1]);
    char *const      arguments[] = {name, wire, user, has_cell ? cell : NULL, NULL};

    memcpy(table, s->table, sizeof(s->table));
    s->process = vmhi_kvm_spawn(s->host->vmm, arguments, table, has_cell ? TABLE + CELL : TABLE, error);
    return s->process >= 0;
}

/*
 * Nothing of the start stays; how the VM ended before that is forgotten. A process that did not answer in time is not
 * asked to end.
 */
static void give_up(vmhi_kvm_starting *s)
{
    static const char *const files[] = {VMHI_KVM_CONTROL, VMHI_KVM_VSOCK, VMHI_KVM_WORDS};

    if (s->process >= 0)
        vmhi_kvm_end(s->is_silent ? -1 : s->ours, s->process);
    for (gsize i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = vmhi_kvm_path(s->host, s->uuid, files[i]);

        g_unlink(path);
    }
    for (guint i = 0; i < s->made->len; i++)
        g_unlink(s->made->pdata[i]);
    vmhi_kvm_group_remove(s->host, s->uuid);
}

static void free_starting(vmhi_kvm_starting *s)
{
    vmhi_kvm_close(s->ours);
    vmhi_kvm_reap(s->host, s->process);
    g_ptr_array_unref(s->made);
    g_free(s->uuid);
    g_free(s);
}

vmhi_kvm_starting *vmhi_kvm_start_begin(const vmhi_driver_host *host, const char *uuid, vmh_error **error)
{
    vmhi_kvm_starting *s = g_new0(vmhi_kvm_starting, 1);
    gboolean           done;

    *s = (vmhi_kvm_starting){
        .host = host, .uuid = g_strdup(uuid), .ours = -1, .process = -1, .table = {-1, -1, -1, -1}};
    s->made = g_ptr_array_new_with_free_func(g_free);
    vmhi_kvm_clear_away(host, uuid); /* of a VMM whose end nobody saw */
    done = make_table(s, error) && spawn(s, error);
    close_table(s);
    if (done)
        return s;
    give_up(s);
    free_starting(s);
    return NULL;
}

gboolean vmhi_kvm_start_boot(vmhi_kvm_starting *s, const vmh_spec *spec, gboolean paused, vmh_error **error)
{
    g_autoptr(vmh_error) failure = NULL;
    gboolean done;

    s->spec = spec;
    done = tell_all(s, paused, &failure) && vmhi_kvm_write(s->host, s->uuid, VMHI_KVM_RUNNING, spec, &failure);
    s->is_silent = vmh_error_code(failure) == VMH_ERR_TIMEOUT;
    if (failure)
        vmhi_error_move(error, g_steal_pointer(&failure));
    return done;
}

/* That it could not be told means that it has ended, which others tell. */
void vmhi_kvm_start_end(vmhi_kvm_starting *s, gboolean is_wanted)
{
    wire_begin(&s->message, WIRE_COMMIT, 1);
    if (is_wanted)
        vmhi_kvm_post(s->ours, &s->message, NULL);
    else
        give_up(s);
    free_starting(s);
}

gboolean vmhi_kvm_start(const vmhi_driver_host *host, const char *uuid, const vmh_spec *spec, gboolean paused,
                        vmh_error **error)
{
    vmhi_kvm_starting *starting = vmhi_kvm_start_begin(host, uuid, error);
    const gboolean     done = starting && vmhi_kvm_start_boot(starting, spec, paused, error);

    if (starting)
        vmhi_kvm_start_end(starting, done);
    return done;
}
