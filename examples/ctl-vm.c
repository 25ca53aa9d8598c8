/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of vmhost-ctl about one VM. */
#include "ctl.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static gboolean start, paused, transient, validate_only, persistent, wait_for_it, force, live, persist, dry_run;
static char    *generation;
static char   **sets;

/* After a verb: the VM and its state, for who asked for JSON; nothing else, as the exit code says it all. */
static void print_vm(vmh_vm *vm)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();
    char *name = vm ? vmh_vm_name_dup(vm) : NULL;

    json_builder_begin_object(builder);
    cli_json_str(builder, "name", name);
    cli_json_str(builder, "uuid", vm ? vmh_vm_uuid(vm) : NULL);
    cli_json_str(builder, "state", vm ? vmh_vm_state_name(vmh_vm_state(vm)) : NULL);
    json_builder_end_object(builder);
    cli_print_builder(builder, TRUE);
    vmh_free(name);
}

/* The verbs of one VM that are told apart by nothing but the function and its flags. */
typedef vmh_job *(*verb_function)(vmh_vm *vm, uint64_t flags, vmh_error **error);

static int act(const char *name, const char *doing, verb_function function, uint64_t flags)
{
    vmh_error *error = NULL;
    vmh_host  *host = NULL;
    vmh_vm    *vm = NULL;
    int        status = ctl_vm(name, &host, &vm);

    if (status != CLI_OK)
        return status;
    if (cli_finish(function(vm, flags, &error), &error) < 0)
        status = cli_fail(error, "%s \"%s\"", doing, name);
    else if (ctl.json)
        print_vm(vm);
    vmh_vm_unref(vm);
    vmh_host_unref(host);
    return status;
}

static int run_start(char **arguments)
{
    return act(arguments[0], "starting", vmh_vm_start, paused ? VMH_START_PAUSED : 0);
}

static int run_pause(char **arguments)
{
    return act(arguments[0], "pausing", vmh_vm_pause, 0);
}

static int run_resume(char **arguments)
{
    return act(arguments[0], "resuming", vmh_vm_resume, 0);
}

static int run_reboot(char **arguments)
{
    return act(arguments[0], "rebooting", vmh_vm_reboot, 0);
}

static int run_reset(char **arguments)
{
    return act(arguments[0], "resetting", vmh_vm_reset, 0);
}

static int run_stop(char **arguments)
{
    return act(arguments[0], "stopping", vmh_vm_stop, 0);
}

static int run_delete(char **arguments)
{
    return act(arguments[0], "deleting", vmh_vm_delete, force ? VMH_DELETE_FORCE : 0);
}

/* The guest takes its time; the queue wakes us, the state is the VM's own. */
static int wait_stopped(vmh_vm *vm, vmh_queue *queue, const char *name)
{
    guint64 limit = 0;
    gint64  deadline = G_MAXINT64;

    if (ctl.timeout && cli_duration("--timeout", ctl.timeout, &limit) != CLI_OK)
        return CLI_USAGE;
    if (limit)
        deadline = g_get_monotonic_time() + (gint64)limit * 1000;
    cli_catch_signals();
    while (!cli_signal()) {
        int32_t    state = vmh_vm_state(vm);
        vmh_event *event = NULL;

        if (state == VMH_VM_STOPPED || state == VMH_VM_CRASHED || state == VMH_VM_GONE)
            return CLI_OK;
        if (g_get_monotonic_time() >= deadline) {
            cli_notice("shutting down \"%s\": the guest was asked, and is still %s", name, vmh_vm_state_name(state));
            return CLI_FAILED;
        }
        vmh_queue_wait(queue, 100, &event, NULL);
        vmh_event_free(event);
    }
    return CLI_FAILED;
}

static int run_shutdown(char **arguments)
{
    vmh_error *error = NULL;
    vmh_host  *host = NULL;
    vmh_vm    *vm = NULL;
    vmh_queue *queue = NULL;
    int        status = ctl_vm(arguments[0], &host, &vm);

    if (status != CLI_OK)
        return status;
    queue = vmh_queue_new(host, "vm", 0, &error);
    if (cli_finish(vmh_vm_shutdown(vm, 0, &error), &error) < 0)
        status = cli_fail(error, "shutting down \"%s\"", arguments[0]);
    else if (wait_for_it)
        status = wait_stopped(vm, queue, arguments[0]);
    if (status == CLI_OK && ctl.json)
        print_vm(vm);
    vmh_queue_unref(queue);
    vmh_vm_unref(vm);
    vmh_host_unref(host);
    return status;
}

static int run_create(char **arguments)
{
    uint64_t flags = (start || paused || transient ? VMH_CREATE_START : 0) | (paused ? VMH_CREATE_PAUSED : 0) |
                     (transient ? VMH_CREATE_TRANSIENT : 0) | (validate_only ? VMH_CREATE_VALIDATE_ONLY : 0);
    const char *name = NULL;
    vmh_error  *error = NULL;
    vmh_host   *host = NULL;
    vmh_spec   *spec = NULL;
    vmh_job    *job = NULL;
    vmh_vm     *vm = NULL;
    int         status = CLI_OK;

    if (arguments[0])
        status = cli_read_spec(arguments[0], &spec);
    else
        spec = vmh_spec_new("vm", NULL);
    if (status == CLI_OK)
        status = cli_set_all(spec, sets);
    if (status == CLI_OK)
        status = ctl_host(&host);
    if (status == CLI_OK) {
        vmh_spec_get_str(spec, VMH_P_NAME, &name, NULL);
        job = vmh_host_create_vm(host, spec, flags, &error);
        if (cli_wait(job, CLI_PROGRESS_TERMINAL, &error) < 0)
            status = cli_fail(error, name ? "creating \"%s\"" : "creating a VM", name);
    }
    vm = vmh_job_result_vm(job);
    if (status == CLI_OK && ctl.json)
        print_vm(vm);
    else if (vm)
        puts(vmh_vm_uuid(vm));
    vmh_vm_unref(vm);
    vmh_job_unref(job);
    vmh_host_unref(host);
    vmh_spec_unref(spec);
    return status;
}

static int run_show(char **arguments)
{
    vmh_error *error = NULL;
    vmh_host  *host = NULL;
    vmh_vm    *vm = NULL;
    vmh_spec  *spec;
    int        status = ctl_vm(arguments[0], &host, &vm);

    if (status != CLI_OK)
        return status;
    spec = vmh_vm_describe(vm, persistent ? VMH_DESCRIBE_PERSISTENT : 0, &error);
    status = spec ? cli_print_spec(spec, ctl.json) : cli_fail(error, "describing \"%s\"", arguments[0]);
    vmh_spec_unref(spec);
    vmh_vm_unref(vm);
    vmh_host_unref(host);
    return status;
}

static void print_verdicts(const vmh_job *job)
{
    static const char *const names[] = {"?", "applied", "after restart", "unchanged", "refused"};
    g_autoptr(GPtrArray) table = cli_table_new();
    g_autoptr(JsonBuilder) builder = json_builder_new();

    cli_table_add(table, "PROPERTY", "VERDICT", "REASON", NULL);
    json_builder_begin_array(builder);
    for (size_t i = 0; i < vmh_job_verdict_count(job); i++) {
        int32_t     verdict = vmh_job_verdict(job, i);
        const char *name = names[verdict > 0 && verdict < (int32_t)G_N_ELEMENTS(names) ? verdict : 0];
        const char *reason = vmh_job_verdict_reason(job, i);

        cli_table_add(table, vmh_job_verdict_property(job, i), name, reason ? reason : "", NULL);
        json_builder_begin_object(builder);
        cli_json_str(builder, "property", vmh_job_verdict_property(job, i));
        cli_json_str(builder, "verdict", name);
        cli_json_str(builder, "reason", reason);
        json_builder_end_object(builder);
    }
    json_builder_end_array(builder);
    if (ctl.json)
        cli_print_builder(builder, TRUE);
    else
        cli_table_print(table);
}

static int run_update(char **arguments)
{
    uint64_t flags =
        (live ? VMH_UPDATE_LIVE : 0) | (persist ? VMH_UPDATE_PERSIST : 0) | (dry_run ? VMH_UPDATE_DRY_RUN : 0);
    vmh_error *error = NULL;
    vmh_host  *host = NULL;
    vmh_spec  *spec = vmh_spec_new("vm", NULL);
    vmh_vm    *vm = NULL;
    vmh_job   *job = NULL;
    guint64    expected = 0;
    int        status = cli_set_all(spec, arguments + 1);

    if (status == CLI_OK && generation &&
        !g_ascii_string_to_unsigned(generation, 10, 0, G_MAXUINT64, &expected, NULL))
        status = cli_usage_error("--generation: \"%s\" is not the number that show gave", generation);
    if (status == CLI_OK)
        status = ctl_vm(arguments[0], &host, &vm);
    if (status == CLI_OK) {
        job = vmh_vm_update(vm, spec, flags, expected, &error);
        if (cli_wait(job, CLI_PROGRESS_TERMINAL, &error) < 0)
            status = CLI_FAILED;
        if (vmh_job_verdict_count(job))
            print_verdicts(job);
        if (status != CLI_OK)
            cli_fail(error, "updating \"%s\"", arguments[0]);
    }
    vmh_job_unref(job);
    vmh_vm_unref(vm);
    vmh_host_unref(host);
    vmh_spec_unref(spec);
    return status;
}

static int run_migrate(char **arguments)
{
    vmh_error *error = NULL;
    vmh_host  *host = NULL, *destination = NULL;
    vmh_spec  *options = vmh_spec_new("migrate", NULL);
    vmh_vm    *vm = NULL, *moved = NULL;
    vmh_job   *job = NULL;
    int        status = cli_set_all(options, sets);

    if (status == CLI_OK)
        status = ctl_vm(arguments[0], &host, &vm);
    if (status == CLI_OK)
        status = cli_open(arguments[1], ctl.timeout, ctl.open_options, &destination);
    if (status == CLI_OK) {
        job = vmh_vm_migrate(vm, destination, options, 0, &error);
        if (cli_wait(job, CLI_PROGRESS_TERMINAL, &error) < 0)
            status = cli_fail(error, "migrating \"%s\"", arguments[0]);
    }
    moved = vmh_job_result_vm(job);
    if (status == CLI_OK && ctl.json)
        print_vm(moved);
    vmh_vm_unref(moved);
    vmh_job_unref(job);
    vmh_vm_unref(vm);
    vmh_host_unref(destination);
    vmh_host_unref(host);
    vmh_spec_unref(options);
    return status;
}

static int run_console(char **arguments)
{
    vmh_error *error = NULL;
    vmh_host  *host = NULL;
    vmh_vm    *vm = NULL;
    int        status = ctl_vm(arguments[0], &host, &vm), fd;

    if (status != CLI_OK)
        return status;
    fd = vmh_vm_console(vm, arguments[1], force ? VMH_CONSOLE_FORCE : 0, &error);
    if (fd < 0) {
        status = cli_fail(error, "opening a console of \"%s\"", arguments[0]);
    } else {
        if (isatty(STDIN_FILENO))
            cli_notice("this is the console of \"%s\"; Ctrl-] leaves it", arguments[0]);
        if (cli_console(fd) == CLI_CONSOLE_OUTPUT)
            status = CLI_FAILED;
    }
    vmh_vm_unref(vm);
    vmh_host_unref(host);
    return status;
}

/* The next connection of the guest's; what listens is closed. */
static int accept_one(vmh_vm *vm, int listener, vmh_error **error)
{
    int32_t fd = VMH_ERR_TIMEOUT;

    cli_catch_signals();
    while (fd == VMH_ERR_TIMEOUT && !cli_signal()) {
        vmh_error_free(*error);
        *error = NULL;
        fd = vmh_vm_accept(vm, listener, 100, NULL, 0, error);
    }
    close(listener);
    return fd;
}

static int run_vsock(char **arguments)
{
    gboolean   listens = strcmp(arguments[1], "listen") == 0;
    vmh_error *error = NULL;
    vmh_host  *host = NULL;
    vmh_vm    *vm = NULL;
    guint64    port;
    int        status, fd;

    if (!listens && strcmp(arguments[1], "connect") != 0)
        return cli_usage_error("vsock: \"%s\" is neither connect nor listen", arguments[1]);
    if (!g_ascii_string_to_unsigned(arguments[2], 10, 0, G_MAXUINT32 - 1, &port, NULL))
        return cli_usage_error("vsock: \"%s\" is no port from 0 to %u", arguments[2], G_MAXUINT32 - 1);
    status = ctl_vm(arguments[0], &host, &vm);
    if (status != CLI_OK)
        return status;
    fd = listens ? vmh_vm_listen(vm, (uint32_t)port, 0, &error) : vmh_vm_connect(vm, (uint32_t)port, 0, &error);
    if (fd >= 0 && listens)
        fd = accept_one(vm, fd, &error);
    if (fd >= 0)
        status = cli_stream(fd) == CLI_CONSOLE_OUTPUT ? CLI_FAILED : CLI_OK;
    else if (cli_signal())
        vmh_error_free(error);
    else
        status = cli_fail(error, "%s port %s of \"%s\"", listens ? "listening at" : "connecting to", arguments[2],
                          arguments[0]);
    vmh_vm_unref(vm);
    vmh_host_unref(host);
    return status;
}

static const GOptionEntry create_options[] = {
    {"start", 0, 0, G_OPTION_ARG_NONE, &start, "Run it at once", NULL},
    {"paused", 0, 0, G_OPTION_ARG_NONE, &paused, "Start it, its CPUs waiting for resume", NULL},
    {"transient", 0, 0, G_OPTION_ARG_NONE, &transient, "Start it, and forget it when it stops", NULL},
    {"validate-only", 0, 0, G_OPTION_ARG_NONE, &validate_only, "Check all, create nothing", NULL},
    {"set", 's', 0, CLI_TEXTS, &sets, "A property, over those of the file", "PATH=VALUE"},
    G_OPTION_ENTRY_NULL};
static const GOptionEntry show_options[] = {
    {"persistent", 0, 0, G_OPTION_ARG_NONE, &persistent, "What the next start will use", NULL}, G_OPTION_ENTRY_NULL};
static const GOptionEntry start_options[] = {
    {"paused", 0, 0, G_OPTION_ARG_NONE, &paused, "Its CPUs wait for resume", NULL}, G_OPTION_ENTRY_NULL};
static const GOptionEntry shutdown_options[] = {
    {"wait", 'w', 0, G_OPTION_ARG_NONE, &wait_for_it, "Wait until it has stopped, --timeout at most", NULL},
    G_OPTION_ENTRY_NULL};
static const GOptionEntry delete_options[] = {
    {"force", 'f', 0, G_OPTION_ARG_NONE, &force, "Also a running one", NULL}, G_OPTION_ENTRY_NULL};
static const GOptionEntry update_options[] = {
    {"live", 'l', 0, G_OPTION_ARG_NONE, &live, "Change what runs now", NULL},
    {"persist", 'p', 0, G_OPTION_ARG_NONE, &persist, "Change what the next start will use", NULL},
    {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Change nothing, tell what would happen", NULL},
    {"generation", 0, 0, CLI_TEXT, &generation, "Refuse when it was changed since show gave this", "N"},
    G_OPTION_ENTRY_NULL};
static const GOptionEntry migrate_options[] = {
    {"set", 's', 0, CLI_TEXTS, &sets, "An option; schema migrate lists them", "OPTION=VALUE"}, G_OPTION_ENTRY_NULL};
static const GOptionEntry console_options[] = {
    {"force", 'f', 0, G_OPTION_ARG_NONE, &force, "Take it from whoever has it", NULL}, G_OPTION_ENTRY_NULL};

const ctl_verb ctl_vm_verbs[] = {
    {"create", "[FILE|-]", 0, 1, "Create a VM from JSON and --set; print its UUID", create_options, run_create},
    {"show", "VM", 1, 1, "What a VM is: all its properties", show_options, run_show},
    {"start", "VM", 1, 1, "Start it", start_options, run_start},
    {"pause", "VM", 1, 1, "Let its CPUs stand still", NULL, run_pause},
    {"resume", "VM", 1, 1, "Let them go on", NULL, run_resume},
    {"shutdown", "VM", 1, 1, "Ask the guest to shut down", shutdown_options, run_shutdown},
    {"reboot", "VM", 1, 1, "Ask the guest to restart", NULL, run_reboot},
    {"reset", "VM", 1, 1, "Restart it at once, without asking", NULL, run_reset},
    {"stop", "VM", 1, 1, "Stop it at once, without asking", NULL, run_stop},
    {"delete", "VM", 1, 1, "Remove it from the host; its disks stay", delete_options, run_delete},
    {"update", "VM PATH=VALUE...", 2, -1, "Change properties, with a verdict on each", update_options, run_update},
    {"migrate", "VM URI", 2, 2, "Move it to another host while it runs", migrate_options, run_migrate},
    {"console", "VM [NAME]", 1, 2, "Its console on this terminal", console_options, run_console},
    {"vsock", "VM connect|listen PORT", 3, 3, "Join standard input and output with a socket of the guest's", NULL,
     run_vsock},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
