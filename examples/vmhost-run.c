/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a VM from options or a JSON file, its console on this terminal, as one would run a program. */
#include "cli.h"
#include <string.h>
#include <unistd.h>

static char    *uri, *timeout, *file, *name, *kernel, *initrd, *append, *cpus, *memory;
static char   **disks, **sets, **open_options;
static gboolean keep;

static const GOptionEntry entries[] = {
    {"connect", 'c', 0, CLI_TEXT, &uri, "The host; the best local one when not given", "URI"},
    {"file", 'f', 0, CLI_TEXT, &file, "Properties from a JSON file; \"-\" is stdin", "FILE"},
    {"name", 'n', 0, CLI_TEXT, &name, "The VM's name; made up when not given", "NAME"},
    {"kernel", 'k', 0, CLI_TEXT, &kernel, "A kernel to start directly", "PATH"},
    {"initrd", 'i', 0, CLI_TEXT, &initrd, "Its initial RAM disk", "PATH"},
    {"append", 'a', 0, CLI_TEXT, &append, "Its command line", "TEXT"},
    {"cpus", 0, 0, CLI_TEXT, &cpus, "CPUs; 1 when not given", "N"},
    {"memory", 'm', 0, CLI_TEXT, &memory, "Memory; 512MiB when not given", "SIZE"},
    {"disk", 'd', 0, CLI_TEXTS, &disks, "A raw image; named root, then disk1, disk2, … when not given",
     "[NAME=]PATH"},
    {"set", 's', 0, CLI_TEXTS, &sets, "Any property; vmhost-ctl schema lists them", "PATH=VALUE"},
    {"keep", 0, 0, G_OPTION_ARG_NONE, &keep, "The VM stays when this program leaves", NULL},
    {"timeout", 0, 0, CLI_TEXT, &timeout, "The longest to wait for the host to answer", "DURATION"},
    {"open", 0, 0, CLI_TEXTS, &open_options, "An option of opening the host, such as auth.user", "OPTION=VALUE"},
    G_OPTION_ENTRY_NULL};

static const char description[] =
    "The console of the guest is this terminal; Ctrl-] leaves. A VM lives as long as this program: it is stopped "
    "and\n"
    "deleted when the program leaves, and deleted when the guest shuts down (disks stay). With --keep it stays, and\n"
    "goes on running when it is left.\n\n"
    "A property that is a descriptor, such as nic.lan.fd, takes the number of one that this program was started\n"
    "with.\n\n"
    "Exit codes: 0 the guest shut down by itself, or was left with Ctrl-]; 1 the guest crashed or something failed;\n"
    "2 usage; 128 + the number of the signal that ended this program.\n\n"
    "Example:\n"
    "  vmhost-run -k vmlinuz -i initrd.img -a console=ttyS0 --cpus 2 -m 1GiB -d root.raw -s nic.lan.user=yes\n";

/* A path as it was typed is meant from here; the host wants it from the root. */
static int set_path(vmh_spec *spec, const char *option, const char *path, const char *typed)
{
    g_autofree char *absolute = typed ? g_canonicalize_filename(typed, NULL) : NULL;

    if (typed && !*typed)
        return cli_usage_error("%s takes a path, not an empty text", option);
    return cli_set(spec, option, path, absolute);
}

static int set_disks(vmh_spec *spec)
{
    int status = CLI_OK;

    for (guint i = 0; status == CLI_OK && disks && disks[i]; i++) {
        const char      *slash = strchr(disks[i], '/');
        const char      *equals = strchr(disks[i], '=');
        gboolean         named = equals && (!slash || equals < slash);
        g_autofree char *id = named ? g_strndup(disks[i], (gsize)(equals - disks[i]))
                              : i   ? g_strdup_printf("disk%u", i)
                                    : g_strdup("root");
        g_autofree char *path = g_strdup_printf("disk.%s.path", id);

        status = set_path(spec, "--disk", path, named ? equals + 1 : disks[i]);
    }
    return status;
}

/* What is needed and was not given. */
static int set_defaults(vmh_spec *spec)
{
    g_autofree char *unique = g_strdup_printf("run-%08x", g_random_int());
    gboolean         console = FALSE;
    char           **paths = NULL;
    int              status = CLI_OK;

    vmh_spec_paths(spec, &paths);
    for (guint i = 0; paths && paths[i]; i++)
        console = console || g_str_has_prefix(paths[i], "console.");
    vmh_free(paths);
    if (!console)
        status = cli_set(spec, "console", VMH_P_CONSOLE_TO("main"), "pty");
    if (status == CLI_OK && !vmh_spec_has(spec, VMH_P_NAME))
        status = cli_set(spec, "--name", VMH_P_NAME, unique);
    if (status == CLI_OK && !vmh_spec_has(spec, VMH_P_MEMORY_SIZE))
        status = cli_set(spec, "--memory", VMH_P_MEMORY_SIZE, "512MiB");
    return status;
}

static int make_spec(vmh_spec **spec)
{
    int status = CLI_OK;

    if (file)
        status = cli_read_spec(file, spec);
    else
        *spec = vmh_spec_new("vm", NULL);
    if (status != CLI_OK || (status = cli_set(*spec, "--name", VMH_P_NAME, name)) != CLI_OK ||
        (status = set_path(*spec, "--kernel", VMH_P_BOOT_KERNEL, kernel)) != CLI_OK ||
        (status = set_path(*spec, "--initrd", VMH_P_BOOT_INITRD, initrd)) != CLI_OK ||
        (status = cli_set(*spec, "--append", VMH_P_BOOT_CMDLINE, append)) != CLI_OK ||
        (status = cli_set(*spec, "--cpus", VMH_P_CPU_COUNT, cpus)) != CLI_OK ||
        (status = cli_set(*spec, "--memory", VMH_P_MEMORY_SIZE, memory)) != CLI_OK ||
        (status = set_disks(*spec)) != CLI_OK || (status = cli_set_all(*spec, sets)) != CLI_OK)
        return status;
    return set_defaults(*spec);
}

/* How the VM ended, as far as it was told. */
typedef struct {
    int32_t state;
    char   *reason;
} ending;

/* Keeps the last state that an event told of our VM; frees the event. */
static void note(vmh_event *event, vmh_vm *vm, ending *end)
{
    if (vmh_event_type(event) == VMH_EVENT_VM_STATE &&
        g_strcmp0(vmh_event_str(event, "uuid"), vmh_vm_uuid(vm)) == 0) {
        end->state = (int32_t)vmh_event_u64(event, "state");
        g_free(end->reason);
        end->reason = g_strdup(vmh_event_str(event, "reason"));
    }
    vmh_event_free(event);
}

/*
 * The console ends a moment before the host tells why: at most five seconds. What the VM leaves is cleared away then,
 * which this program waits for, since it does so itself.
 */
static gboolean wait_stopped(vmh_vm *vm, vmh_queue *queue, ending *end)
{
    gint64     deadline = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
    vmh_event *event = NULL;
    gboolean   has_stopped = FALSE;

    do {
        int32_t present = vmh_vm_state(vm);

        while (vmh_queue_next(queue, &event, NULL) == 1)
            note(event, vm, end);
        if (present == VMH_VM_GONE)
            return TRUE;
        if (!has_stopped && (present == VMH_VM_STOPPED || present == VMH_VM_CRASHED)) {
            has_stopped = TRUE;
            end->state = present;
            deadline = g_get_monotonic_time() + 2 * G_USEC_PER_SEC;
        }
        if (vmh_queue_wait(queue, 200, &event, NULL) == 1)
            note(event, vm, end);
    } while (g_get_monotonic_time() < deadline && !cli_signal());
    return has_stopped;
}

/* What the end of the console means for the exit code. */
static int ended(vmh_vm *vm, vmh_queue *queue, const char *label)
{
    ending end = {.state = VMH_VM_UNKNOWN};
    int    status = CLI_FAILED;

    if (!wait_stopped(vm, queue, &end))
        cli_notice("the console of \"%s\" ended, but the guest did not", label);
    else if (end.state != VMH_VM_CRASHED)
        status = CLI_OK;
    else if (end.reason && *end.reason)
        cli_notice("the guest of \"%s\" crashed: %s", label, end.reason);
    else
        cli_notice("the guest of \"%s\" crashed", label);
    g_free(end.reason);
    return status;
}

/* Stopping removes it as well: it was made to last for one run. It may be stopping by itself just now. */
static int leave(vmh_vm *vm, const char *label)
{
    vmh_error *error = NULL;
    int32_t    state = vmh_vm_state(vm), code;

    if (state == VMH_VM_GONE || state == VMH_VM_STOPPED)
        return CLI_OK;
    if (keep) {
        cli_notice("\"%s\" goes on; vmhost-ctl console \"%s\" comes back to it", label, label);
        return CLI_OK;
    }
    code = vmh_job_finish(vmh_vm_stop(vm, 0, &error), -1, &error);
    if (code != 0 && code != VMH_ERR_NOT_FOUND && code != VMH_ERR_STATE)
        return cli_fail(error, "stopping \"%s\"", label);
    vmh_error_free(error);
    return CLI_OK;
}

/* Paused until the console is open, so that its first word is not lost. */
static int attach(vmh_vm *vm, vmh_queue *queue, const char *label)
{
    vmh_error *error = NULL;
    int        fd = vmh_vm_console(vm, NULL, 0, &error);

    if (fd < 0)
        return cli_fail(error, "opening a console of \"%s\"", label);
    if (cli_finish(vmh_vm_resume(vm, 0, &error), &error) < 0) {
        close(fd);
        return cli_fail(error, "starting \"%s\"", label);
    }
    if (isatty(STDIN_FILENO))
        cli_notice("this is the console of \"%s\"; Ctrl-] leaves it", label);
    switch (cli_console(fd)) {
    case CLI_CONSOLE_ENDED:
        return ended(vm, queue, label);
    case CLI_CONSOLE_OUTPUT:
        cli_notice("the console of \"%s\" cannot be shown any more", label);
        return CLI_FAILED;
    default:
        return CLI_OK;
    }
}

static int run(vmh_host *host, vmh_spec *spec)
{
    g_autofree char *label = NULL;
    uint64_t         flags = VMH_CREATE_START | VMH_CREATE_PAUSED | (keep ? 0 : VMH_CREATE_TRANSIENT);
    vmh_error       *error = NULL;
    vmh_queue       *queue;
    vmh_job         *job;
    vmh_vm          *vm = NULL;
    int              status, left = CLI_OK;

    label = vmh_spec_get_text_dup(spec, VMH_P_NAME, &error);
    queue = vmh_queue_new(host, "vm", 0, &error);
    job = vmh_host_create_vm(host, spec, flags, &error);
    if (cli_wait(job, CLI_PROGRESS_TERMINAL, &error) == 0)
        vm = vmh_job_result_vm(job);
    status = vm ? attach(vm, queue, label) : cli_fail(error, "creating \"%s\"", label);
    if (vm)
        left = leave(vm, label);
    vmh_vm_unref(vm);
    vmh_job_unref(job);
    vmh_queue_unref(queue);
    return status ? status : left;
}

int main(int argc, char **argv)
{
    vmh_host *host = NULL;
    vmh_spec *spec = NULL;
    int       status;

    (void)argc;
    cli_start("vmhost-run");
    status = cli_parse(entries, NULL, "Runs a virtual machine on this terminal.", description, FALSE, &argv);
    if (status >= 0)
        return cli_end(status);
    status = argv[0] ? cli_usage_error("\"%s\": there is no such argument", argv[0]) : make_spec(&spec);
    if (status == CLI_OK)
        status = cli_open(uri, timeout, open_options, &host);
    if (status == CLI_OK)
        status = run(host, spec);
    vmh_spec_unref(spec);
    vmh_host_unref(host);
    return cli_end(status);
}
