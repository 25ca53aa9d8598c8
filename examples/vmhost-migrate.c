/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Moves a running VM to another host, with a progress bar; Ctrl-C cancels and the VM goes on where it was. */
#include "cli.h"
#include <stdio.h>

static char    *uri, *timeout, *bandwidth, *downtime, *stall_timeout;
static char   **sets, **open_options;
static gboolean as_json, quiet;

static const GOptionEntry entries[] = {
    {"connect", 'c', 0, CLI_TEXT, &uri, "The host it is on; the best local one when not given", "URI"},
    {"bandwidth", 'b', 0, CLI_TEXT, &bandwidth, "The most it may send, such as 100MiB/s", "RATE"},
    {"downtime", 'd', 0, CLI_TEXT, &downtime, "The longest the guest may stand still, such as 300ms", "DURATION"},
    {"stall-timeout", 0, 0, CLI_TEXT, &stall_timeout, "Give up when nothing has moved for so long", "DURATION"},
    {"set", 's', 0, CLI_TEXTS, &sets, "Any option; vmhost-ctl schema migrate lists them", "OPTION=VALUE"},
    {"json", 'j', 0, G_OPTION_ARG_NONE, &as_json, "Write the result as JSON, numbers in base units", NULL},
    {"quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Show no progress", NULL},
    {"timeout", 0, 0, CLI_TEXT, &timeout, "The longest to wait for a host to answer", "DURATION"},
    {"open", 0, 0, CLI_TEXTS, &open_options, "An option of opening both hosts, such as auth.user", "OPTION=VALUE"},
    G_OPTION_ENTRY_NULL};

static const char description[] =
    "While it moves the guest goes on; when it fails or is cancelled with Ctrl-C, it goes on at the source.\n"
    "Progress is on stderr: a bar on a terminal, else a line a second.\n\n"
    "Exit codes: 0 moved; 1 it failed; 2 usage; 130 cancelled with Ctrl-C.\n\n"
    "Example:\n"
    "  vmhost-migrate -c qemu:///system web1 qemu+tls://node2/system --bandwidth 100MiB/s --downtime 300ms\n";

static void print_json(vmh_job *job, const char *label, vmh_host *from, vmh_host *to, const vmh_error *error)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();
    vmh_vm *moved = vmh_job_result_vm(job);
    int32_t code = vmh_error_code(error);

    json_builder_begin_object(builder);
    cli_json_str(builder, "outcome", code == 0 ? "done" : code == VMH_ERR_CANCELLED ? "cancelled" : "failed");
    cli_json_str(builder, "error", error ? vmh_error_message(error) : NULL);
    cli_json_str(builder, "name", label);
    cli_json_str(builder, "uuid", moved ? vmh_vm_uuid(moved) : NULL);
    cli_json_str(builder, "source", vmh_host_uri(from));
    cli_json_str(builder, "destination", vmh_host_uri(to));
    cli_json_u64(builder, "elapsed_ms", cli_progress_value(job, VMH_PROGRESS_ELAPSED_MS));
    cli_json_u64(builder, "downtime_ms", cli_progress_value(job, VMH_PROGRESS_DOWNTIME_MS));
    cli_json_u64(builder, "bytes", cli_progress_value(job, VMH_PROGRESS_BYTES_DONE));
    json_builder_end_object(builder);
    cli_print_builder(builder, TRUE);
    vmh_vm_unref(moved);
}

static void print_summary(vmh_job *job, const char *label, vmh_host *to)
{
    g_autofree char *name = cli_printable(label), *host = cli_printable(vmh_host_uri(to));
    g_autofree char *elapsed = cli_time(cli_progress_value(job, VMH_PROGRESS_ELAPSED_MS));
    g_autofree char *moved = cli_size(cli_progress_value(job, VMH_PROGRESS_BYTES_DONE));
    g_autofree char *still = cli_time(cli_progress_value(job, VMH_PROGRESS_DOWNTIME_MS));
    uint64_t         known;

    printf("%s is on %s: %s in %s", name, host, moved, elapsed);
    if (vmh_job_progress(job, VMH_PROGRESS_DOWNTIME_MS, &known, NULL) == 0)
        printf(", stood still for %s", still);
    putchar('\n');
}

/* Whether it is still here is for the host to say, not for us to guess. */
static void tell_where(vmh_vm *vm, const char *label, vmh_host *from)
{
    if (vmh_vm_state(vm) == VMH_VM_GONE)
        cli_notice("\"%s\" is not on %s any more: look at the destination", label, vmh_host_uri(from));
    else
        cli_notice("\"%s\" goes on at %s (%s)", label, vmh_host_uri(from), vmh_vm_state_name(vmh_vm_state(vm)));
}

static int migrate(vmh_host *from, const char *label, vmh_host *to, const vmh_spec *options)
{
    vmh_error *error = NULL;
    vmh_vm    *vm = vmh_host_find_vm(from, label, &error);
    vmh_job   *job = vmh_vm_migrate(vm, to, options, 0, &error);
    int        status = CLI_OK;
    int32_t    code = cli_wait(job, quiet ? CLI_PROGRESS_QUIET : CLI_PROGRESS_ALWAYS, &error);

    if (job && as_json)
        print_json(job, label, from, to, error);
    else if (code == 0)
        print_summary(job, label, to);
    if (code < 0)
        status = cli_fail(error, "migrating \"%s\"", label);
    if (job && code < 0)
        tell_where(vm, label, from);
    vmh_job_unref(job);
    vmh_vm_unref(vm);
    return status;
}

static int make_options(vmh_spec **options)
{
    int status;

    *options = vmh_spec_new("migrate", NULL);
    status = cli_set(*options, "--bandwidth", VMH_MIGRATE_BANDWIDTH, bandwidth);
    if (status == CLI_OK)
        status = cli_set(*options, "--downtime", VMH_MIGRATE_DOWNTIME, downtime);
    if (status == CLI_OK)
        status = cli_set(*options, "--stall-timeout", VMH_MIGRATE_STALL_TIMEOUT, stall_timeout);
    return status == CLI_OK ? cli_set_all(*options, sets) : status;
}

int main(int argc, char **argv)
{
    vmh_host *from = NULL, *to = NULL;
    vmh_spec *options = NULL;
    int       status;

    (void)argc;
    cli_start("vmhost-migrate");
    status = cli_parse(entries, "VM URI", "Moves a running virtual machine to the host at URI.", description, FALSE,
                       &argv);
    if (status >= 0)
        return cli_end(status);
    if (g_strv_length(argv) != 2)
        status = cli_usage_error("it takes a VM and the URI of its new host");
    else
        status = make_options(&options);
    if (status == CLI_OK)
        status = cli_open(uri, timeout, open_options, &from);
    if (status == CLI_OK)
        status = cli_open(argv[1], timeout, open_options, &to);
    if (status == CLI_OK)
        status = migrate(from, argv[0], to, options);
    vmh_spec_unref(options);
    vmh_host_unref(to);
    vmh_host_unref(from);
    return cli_end(status);
}
