/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of vmhost-ctl about a host and about the schema. */
#include "ctl.h"
#include <string.h>

static int describe_host(char **arguments)
{
    vmh_error *error = NULL;
    vmh_host  *host = NULL;
    vmh_spec  *spec;
    int        status = ctl_host(&host);

    (void)arguments;
    if (status != CLI_OK)
        return status;
    spec = vmh_host_describe(host, &error);
    status = spec ? cli_print_spec(spec, ctl.json) : cli_fail(error, "describing %s", vmh_host_uri(host));
    vmh_spec_unref(spec);
    vmh_host_unref(host);
    return status;
}

/* One answer into the table or the array. */
static int add_support(vmh_host *host, const char *name, GPtrArray *table, JsonBuilder *builder)
{
    vmh_error *error = NULL;
    char      *reason = NULL;
    int32_t    answer = vmh_host_supports(host, name, &reason, &error);

    if (answer < 0)
        return cli_fail(error, "supports");
    cli_table_add(table, name, answer ? "yes" : "no", reason ? reason : "", NULL);
    json_builder_begin_object(builder);
    cli_json_str(builder, "name", name);
    cli_json_bool(builder, "supported", answer);
    cli_json_str(builder, "reason", reason);
    json_builder_end_object(builder);
    vmh_free(reason);
    return CLI_OK;
}

/* All that a host can be asked for: the verbs, then each property. */
static char **all_names(void)
{
    GPtrArray *names = g_ptr_array_new();

    for (size_t i = 0; i < vmh_verb_count(); i++)
        g_ptr_array_add(names, g_strdup(vmh_verb_name(i)));
    for (size_t i = 0; i < vmh_schema_count("vm"); i++)
        g_ptr_array_add(names, g_strdup(vmh_property_pattern(vmh_schema_at("vm", i))));
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}

static int supports(char **arguments)
{
    g_autoptr(GPtrArray) table = cli_table_new();
    g_autoptr(JsonBuilder) builder = json_builder_new();
    g_auto(GStrv) names = arguments[0] ? g_strdupv(arguments) : all_names();
    vmh_host *host = NULL;
    int       status = ctl_host(&host);

    cli_table_add(table, "NAME", "SUPPORTED", "REASON", NULL);
    json_builder_begin_array(builder);
    for (guint i = 0; status == CLI_OK && names[i]; i++)
        status = add_support(host, names[i], table, builder);
    json_builder_end_array(builder);
    if (status == CLI_OK && ctl.json)
        cli_print_builder(builder, TRUE);
    else if (status == CLI_OK)
        cli_table_print(table);
    vmh_host_unref(host);
    return status;
}

static int list(char **arguments)
{
    g_autoptr(GPtrArray) table = cli_table_new();
    g_autoptr(JsonBuilder) builder = json_builder_new();
    vmh_host *host = NULL;
    vmh_vm  **vms = NULL;
    int       status = ctl_host(&host);

    (void)arguments;
    if (status != CLI_OK)
        return status;
    vmh_host_list_vms(host, &vms);
    cli_table_add(table, "NAME", "UUID", "STATE", NULL);
    json_builder_begin_array(builder);
    for (guint i = 0; vms && vms[i]; i++) {
        char       *name = vmh_vm_name_dup(vms[i]);
        const char *state = vmh_vm_state_name(vmh_vm_state(vms[i]));

        cli_table_add(table, name, vmh_vm_uuid(vms[i]), state, NULL);
        json_builder_begin_object(builder);
        cli_json_str(builder, "name", name);
        cli_json_str(builder, "uuid", vmh_vm_uuid(vms[i]));
        cli_json_str(builder, "state", state);
        json_builder_end_object(builder);
        vmh_free(name);
    }
    json_builder_end_array(builder);
    if (ctl.json)
        cli_print_builder(builder, TRUE);
    else
        cli_table_print(table);
    vmh_vm_list_free(vms);
    vmh_host_unref(host);
    return CLI_OK;
}

static int refresh(char **arguments)
{
    vmh_error *error = NULL;
    vmh_host  *host = NULL;
    int        status = ctl_host(&host);

    (void)arguments;
    if (status == CLI_OK && cli_finish(vmh_host_refresh(host, 0, &error), &error) < 0)
        status = cli_fail(error, "refreshing %s", vmh_host_uri(host));
    vmh_host_unref(host);
    return status;
}

static const char *type_name(int32_t type)
{
    static const char *const names[] = {NULL,       "string", "bool", "count", "number", "size", "rate",
                                        "duration", "enum",   "set",  "uuid",  "mac",    "path", "descriptor"};
    return type > 0 && type < (int32_t)G_N_ELEMENTS(names) ? names[type] : "other";
}

/* "1 to 4096", "auto|kvm|tcg", or nothing; the sizes as the library reads them. */
static char *range(const vmh_property *property)
{
    double least = vmh_property_minimum(property), most = vmh_property_maximum(property);

    switch (vmh_property_type(property)) {
    case VMH_TYPE_ENUM:
        return g_strdup(vmh_property_values(property));
    case VMH_TYPE_SIZE: {
        g_autofree char *from = cli_size((guint64)least), *to = cli_size((guint64)most);
        return most > 0 ? g_strdup_printf("%s to %s", from, to) : g_strdup("");
    }
    case VMH_TYPE_U64:
    case VMH_TYPE_F64:
    case VMH_TYPE_RATE:
    case VMH_TYPE_DURATION:
        return most > 0 ? g_strdup_printf("%.10g to %.10g", least, most) : g_strdup("");
    default:
        return g_strdup("");
    }
}

static void add_property(const vmh_property *p, GPtrArray *table, JsonBuilder *builder)
{
    g_autofree char *allowed = range(p);
    const char      *unit = vmh_property_unit(p), *fallback = vmh_property_default(p);
    const char      *live = vmh_property_readonly(p) ? "read-only" : vmh_property_live(p) ? "live" : "";

    cli_table_add(table, vmh_property_pattern(p), type_name(vmh_property_type(p)), unit ? unit : "", allowed,
                  fallback ? fallback : "", live, vmh_property_doc(p), NULL);
    json_builder_begin_object(builder);
    cli_json_str(builder, "property", vmh_property_pattern(p));
    cli_json_str(builder, "type", type_name(vmh_property_type(p)));
    cli_json_str(builder, "unit", unit);
    cli_json_str(builder, "values", vmh_property_values(p));
    cli_json_f64(builder, "minimum", vmh_property_minimum(p));
    cli_json_f64(builder, "maximum", vmh_property_maximum(p));
    cli_json_str(builder, "default", fallback);
    cli_json_bool(builder, "live", vmh_property_live(p));
    cli_json_bool(builder, "readonly", vmh_property_readonly(p));
    cli_json_str(builder, "since", vmh_property_since(p));
    cli_json_str(builder, "doc", vmh_property_doc(p));
    json_builder_end_object(builder);
}

static int schema(char **arguments)
{
    g_autoptr(GPtrArray) table = cli_table_new();
    g_autoptr(JsonBuilder) builder = json_builder_new();
    const char *kind = arguments[0] ? arguments[0] : "vm";
    vmh_error  *error = NULL;
    vmh_spec   *spec = vmh_spec_new(kind, &error); /* it knows which kinds there are */

    if (!spec) {
        cli_fail(error, "schema");
        return CLI_USAGE;
    }
    vmh_spec_unref(spec);
    cli_table_add(table, "PROPERTY", "TYPE", "UNIT", "RANGE", "DEFAULT", "CHANGES", "MEANING", NULL);
    json_builder_begin_array(builder);
    for (size_t i = 0; i < vmh_schema_count(kind); i++)
        add_property(vmh_schema_at(kind, i), table, builder);
    json_builder_end_array(builder);
    if (ctl.json)
        cli_print_builder(builder, TRUE);
    else
        cli_table_print(table);
    return CLI_OK;
}

static int metrics(char **arguments)
{
    g_autoptr(GPtrArray) table = cli_table_new();
    g_autoptr(JsonBuilder) builder = json_builder_new();

    (void)arguments;
    cli_table_add(table, "METRIC", "UNIT", "TYPE", "MEANING", NULL);
    json_builder_begin_array(builder);
    for (size_t i = 0; i < vmh_metric_count(); i++) {
        const vmh_metric *metric = vmh_metric_at(i);
        const char       *type = vmh_metric_counter(metric) ? "counter" : "gauge";

        cli_table_add(table, vmh_metric_pattern(metric), vmh_metric_unit(metric), type, vmh_metric_doc(metric), NULL);
        json_builder_begin_object(builder);
        cli_json_str(builder, "metric", vmh_metric_pattern(metric));
        cli_json_str(builder, "unit", vmh_metric_unit(metric));
        cli_json_str(builder, "type", type);
        cli_json_str(builder, "since", vmh_metric_since(metric));
        cli_json_str(builder, "doc", vmh_metric_doc(metric));
        json_builder_end_object(builder);
    }
    json_builder_end_array(builder);
    if (ctl.json)
        cli_print_builder(builder, TRUE);
    else
        cli_table_print(table);
    return CLI_OK;
}

const ctl_verb ctl_host_verbs[] = {
    {"describe-host", NULL, 0, 0, "What the host is: CPUs, memory, accelerator", NULL, describe_host},
    {"supports", "[NAME...]", 0, -1, "Whether it can do a verb or a property; all when none is named", NULL,
     supports},
    {"list", NULL, 0, 0, "The VMs it has", NULL, list},
    {"refresh", NULL, 0, 0, "List the VMs anew", NULL, refresh},
    {"schema", "[KIND]", 0, 1, "All properties of a vm, host, open or migrate", NULL, schema},
    {"metrics", NULL, 0, 0, "All metrics there are", NULL, metrics},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
