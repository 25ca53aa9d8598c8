/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists the VMs of all hosts given, asked at the same time: a dead one keeps nobody waiting for the others. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

static char    *timeout, *metrics;
static char   **open_options;
static gboolean as_json;

static const GOptionEntry entries[] = {
    {"json", 'j', 0, G_OPTION_ARG_NONE, &as_json, "Write JSON, numbers in base units", NULL},
    {"metrics", 'm', 0, CLI_TEXT, &metrics,
     "Show these metrics too, such as cpu.time,net.*; vmhost-ctl metrics lists them", "COLUMNS"},
    {"timeout", 0, 0, CLI_TEXT, &timeout, "The longest to wait for a host to answer", "DURATION"},
    {"open", 0, 0, CLI_TEXTS, &open_options, "An option of opening the hosts, such as auth.user", "OPTION=VALUE"},
    G_OPTION_ENTRY_NULL};

static const char description[] = "Exit codes: 0 all hosts answered; 1 one did not (the others are listed); 2 usage.";

typedef struct {
    const char *uri; /* as given; NULL is the best local host */
    GThread    *thread;
    vmh_host   *host;
    vmh_vm    **vms;
    vmh_frame  *frame;
    GHashTable *rows; /* of the frame, counted from 1, by UUID */
    int         status;
} target;

static int compare_vms(const void *a, const void *b)
{
    char *one = vmh_vm_name_dup(*(vmh_vm *const *)a), *other = vmh_vm_name_dup(*(vmh_vm *const *)b);
    int   order = strcmp(one, other);

    vmh_free(one);
    vmh_free(other);
    return order ? order : strcmp(vmh_vm_uuid(*(vmh_vm *const *)a), vmh_vm_uuid(*(vmh_vm *const *)b));
}

static void *ask(void *data)
{
    g_autofree char *columns = g_strconcat("cpu.count,memory.size", metrics ? "," : NULL, metrics, NULL);
    target          *t = data;
    vmh_error       *error = NULL;
    size_t           count;

    t->status = cli_open(t->uri, timeout, open_options, &t->host);
    if (t->status != CLI_OK)
        return NULL;
    count = vmh_host_list_vms(t->host, &t->vms);
    qsort(t->vms, count, sizeof *t->vms, compare_vms);
    t->frame = vmh_host_sample(t->host, columns, 0, &error);
    if (!t->frame) {
        t->status = cli_fail(error, "sampling \"%s\"", vmh_host_uri(t->host));
        return NULL;
    }
    t->rows = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t row = 0; row < vmh_frame_rows(t->frame); row++)
        g_hash_table_insert(t->rows, (void *)vmh_frame_row_uuid(t->frame, row), GSIZE_TO_POINTER(row + 1));
    return NULL;
}

/* A VM's cell of the frame; a VM may have come or gone since it was listed. */
static uint64_t cell(const target *t, vmh_vm *vm, const char *column)
{
    const uint64_t *values = NULL;
    size_t          row = t->rows ? GPOINTER_TO_SIZE(g_hash_table_lookup(t->rows, vmh_vm_uuid(vm))) : 0;

    if (!row || vmh_frame_column(t->frame, column, &values, NULL, NULL) < 0)
        return VMH_METRIC_NONE;
    return values[row - 1];
}

/* The metrics asked for, of all hosts: which disks and NICs there are differs. */
static GPtrArray *extra_columns(const target *targets, guint count)
{
    GPtrArray *columns = g_ptr_array_new();

    for (guint i = 0; i < count; i++) {
        for (size_t c = 0; metrics && c < vmh_frame_columns(targets[i].frame); c++) {
            const char *column = vmh_frame_column_name(targets[i].frame, c);
            if (strcmp(column, "cpu.count") != 0 && strcmp(column, "memory.size") != 0 &&
                !g_ptr_array_find_with_equal_func(columns, column, g_str_equal, NULL))
                g_ptr_array_add(columns, (void *)column);
        }
    }
    return columns;
}

static void add_row(GPtrArray *table, const target *t, vmh_vm *vm, const GPtrArray *columns)
{
    char *name = vmh_vm_name_dup(vm);

    cli_table_add(table, vmh_host_uri(t->host), name, vmh_vm_uuid(vm), vmh_vm_state_name(vmh_vm_state(vm)), NULL);
    cli_table_metric(table, "cpu.count", cell(t, vm, "cpu.count"));
    cli_table_metric(table, "memory.size", cell(t, vm, "memory.size"));
    for (guint c = 0; c < columns->len; c++)
        cli_table_metric(table, columns->pdata[c], cell(t, vm, columns->pdata[c]));
    vmh_free(name);
}

static void print_table(const target *targets, guint count)
{
    g_autoptr(GPtrArray) table = cli_table_new(), columns = extra_columns(targets, count);

    cli_table_add(table, "HOST", "NAME", "UUID", "STATE", "CPUS", "MEMORY", NULL);
    for (guint c = 0; c < columns->len; c++)
        cli_table_cell(table, columns->pdata[c]);
    for (guint i = 0; i < count; i++)
        for (guint v = 0; targets[i].vms && targets[i].vms[v]; v++)
            add_row(table, &targets[i], targets[i].vms[v], columns);
    cli_table_print(table);
}

static void add_object(JsonBuilder *builder, const target *t, vmh_vm *vm, const GPtrArray *columns)
{
    char *name = vmh_vm_name_dup(vm);

    json_builder_begin_object(builder);
    cli_json_str(builder, "host", vmh_host_uri(t->host));
    cli_json_str(builder, "name", name);
    cli_json_str(builder, "uuid", vmh_vm_uuid(vm));
    cli_json_str(builder, "state", vmh_vm_state_name(vmh_vm_state(vm)));
    cli_json_u64(builder, "cpu.count", cell(t, vm, "cpu.count"));
    cli_json_u64(builder, "memory.size", cell(t, vm, "memory.size"));
    for (guint c = 0; c < columns->len; c++)
        cli_json_u64(builder, columns->pdata[c], cell(t, vm, columns->pdata[c]));
    json_builder_end_object(builder);
    vmh_free(name);
}

static void print_objects(const target *targets, guint count)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();
    g_autoptr(GPtrArray) columns = extra_columns(targets, count);

    json_builder_begin_array(builder);
    for (guint i = 0; i < count; i++)
        for (guint v = 0; targets[i].vms && targets[i].vms[v]; v++)
            add_object(builder, &targets[i], targets[i].vms[v], columns);
    json_builder_end_array(builder);
    cli_print_builder(builder, TRUE);
}

int main(int argc, char **argv)
{
    g_autofree target *targets = NULL;
    guint              count;
    int                status;

    (void)argc;
    cli_start("vmhost-list");
    status =
        cli_parse(entries, "[URI…]", "Lists the virtual machines of hosts; of the best local one when none is given.",
                  description, FALSE, &argv);
    if (status >= 0)
        return cli_end(status);
    count = MAX(g_strv_length(argv), 1);
    targets = g_new0(target, count);
    for (guint i = 0; i < count; i++) {
        targets[i].uri = argv[0] ? argv[i] : NULL;
        targets[i].thread = g_thread_new("host", ask, &targets[i]);
    }
    status = CLI_OK;
    for (guint i = 0; i < count; i++) {
        g_thread_join(targets[i].thread);
        status = MAX(status, targets[i].status);
    }
    if (status != CLI_USAGE)
        (as_json ? print_objects : print_table)(targets, count);
    for (guint i = 0; i < count; i++) {
        g_clear_pointer(&targets[i].rows, g_hash_table_unref);
        vmh_frame_unref(targets[i].frame);
        vmh_vm_list_free(targets[i].vms);
        vmh_host_unref(targets[i].host);
    }
    return cli_end(status);
}
