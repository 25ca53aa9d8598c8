/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Behaviours of a host: what it is, what it can do, and what VMs it has. */
#include "conformance.h"

#include <string.h>

static void opens(stage *s)
{
    EXPECT(s, strcmp(vmh_host_uri(s->host), s->uri) == 0);
    EXPECT(s, vmh_host_connected(s->host) == 1);
}

static void refuses_other_options(stage *s)
{
    g_autoptr(vmh_spec) options = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_host) host = vmh_host_open(s->uri, options, 0, stage_error(s));

    EXPECT(s, !host && vmh_error_code(s->error) == VMH_ERR_ARGUMENT);
}

static void opens_readonly(stage *s)
{
    g_autoptr(vmh_spec) options = vmh_spec_new("open", NULL);
    g_autoptr(vmh_spec) spec = stage_spec(s, "readonly");
    g_autoptr(vmh_host) host = NULL;

    EXPECT(s, vmh_spec_set(options, "readonly", "yes", stage_error(s)) == 0);
    host = vmh_host_open(s->uri, options, 0, stage_error(s));
    EXPECT(s, host);
    EXPECT(s, vmh_host_list_vms(host, NULL) == vmh_host_list_vms(s->host, NULL));
    EXPECT(s, vmh_host_supports(host, "host.create", NULL, stage_error(s)) == 0);
    EXPECT_FAILS(s, VMH_ERR_UNSUPPORTED, vmh_host_create_vm(host, spec, 0, stage_error(s)));
    EXPECT(s, strstr(vmh_error_message(s->error), "readonly"));
}

static gboolean known_to(vmh_host *host, const char *uuid, const char *name)
{
    g_autoptr(vmh_vm) by_uuid = vmh_host_find_vm(host, uuid, NULL);
    g_autoptr(vmh_vm) by_name = vmh_host_find_vm(host, name, NULL);

    return by_uuid && by_name && strcmp(vmh_vm_uuid(by_uuid), vmh_vm_uuid(by_name)) == 0;
}

static void two_handles_agree(stage *s)
{
    g_autoptr(vmh_queue) queue = vmh_queue_new(s->other, "vm", 0, stage_error(s));
    g_autoptr(vmh_vm) vm = stage_vm(s, 0);
    g_autofree char *name = test_vm_name(vm);
    g_autoptr(vmh_event) added = NULL;

    EXPECT(s, queue && vm);
    added = test_wait_event(queue, VMH_EVENT_VM_ADDED, name, PATIENCE_MS);
    EXPECT(s, added);
    EXPECT(s, known_to(s->other, vmh_vm_uuid(vm), name));
    stage_remove(s, vm);
}

static void describes(stage *s)
{
    g_autoptr(vmh_spec) spec = vmh_host_describe(s->host, stage_error(s));
    g_autofree char *uri = NULL;
    uint64_t         cpus = 0, memory = 0, total = 0;

    EXPECT(s, spec && strcmp(vmh_spec_kind(spec), "host") == 0);
    uri = test_text(spec, "uri");
    EXPECT(s, strcmp(uri, s->uri) == 0);
    EXPECT(s, vmh_spec_has(spec, "driver") && vmh_spec_has(spec, "hypervisor.name") && vmh_spec_has(spec, "arch"));
    EXPECT(s, vmh_spec_get_u64(spec, "cpu.count", &cpus, stage_error(s)) == 0 && cpus >= 1);
    EXPECT(s, vmh_spec_get_u64(spec, "memory.total", &memory, stage_error(s)) == 0 && memory >= 1 << 20);
    EXPECT(s, vmh_spec_get_u64(spec, "vms.total", &total, stage_error(s)) == 0);
    EXPECT(s, total == vmh_host_list_vms(s->host, NULL));
}

static void tells_accelerator(stage *s)
{
    g_autoptr(vmh_spec) spec = vmh_host_describe(s->host, stage_error(s));
    g_autofree char *kind = NULL;
    g_autofree char *reason = NULL;

    EXPECT(s, spec);
    kind = test_text(spec, "accelerator.kind");
    reason = test_text(spec, "accelerator.reason");
    EXPECT(s, *kind && *reason);
}

static void counts_what_is_allocated(stage *s)
{
    g_autoptr(vmh_spec) before = vmh_host_describe(s->host, stage_error(s));
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);
    g_autoptr(vmh_spec) after = vmh_host_describe(s->host, stage_error(s));
    uint64_t was = 0, is = 0;

    EXPECT(s, before && vm && after);
    EXPECT(s, vmh_spec_get_u64(before, "vms.running", &was, stage_error(s)) == 0);
    EXPECT(s, vmh_spec_get_u64(after, "vms.running", &is, stage_error(s)) == 0 && is == was + 1);
    EXPECT(s, vmh_spec_get_u64(before, "memory.allocated", &was, stage_error(s)) == 0);
    EXPECT(s, vmh_spec_get_u64(after, "memory.allocated", &is, stage_error(s)) == 0 && is == was + (64 << 20));
    EXPECT(s, vmh_spec_get_u64(before, "cpu.allocated", &was, stage_error(s)) == 0);
    EXPECT(s, vmh_spec_get_u64(after, "cpu.allocated", &is, stage_error(s)) == 0 && is == was + 1);
    stage_remove(s, vm);
}

static void answers_for_each_verb(stage *s)
{
    static const char *const verbs[] = {"vm.start",      "vm.pause",    "vm.resume",    "vm.shutdown", "vm.reboot",
                                        "vm.reset",      "vm.stop",     "vm.delete",    "vm.update",   "vm.migrate",
                                        "vm.console",    "vm.connect",  "vm.listen",    "vm.describe", "host.create",
                                        "host.describe", "host.sample", "host.refresh", "host.events"};

    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
        g_autofree char *reason = NULL;
        stage_supports(s, verbs[i], &reason);
    }
}

static void answers_for_each_property(stage *s)
{
    for (size_t i = 0; i < vmh_schema_count("vm"); i++) {
        const char      *pattern = vmh_property_pattern(vmh_schema_at("vm", i));
        g_autofree char *reason = NULL;
        stage_supports(s, pattern, &reason);
    }
}

static void names_the_nearest(stage *s)
{
    EXPECT(s, vmh_host_supports(s->host, "vm.strat", NULL, stage_error(s)) == VMH_ERR_UNKNOWN_NAME);
    EXPECT(s, strstr(vmh_error_message(s->error), "vm.start"));
    EXPECT(s, vmh_host_supports(s->host, "cpu.cuont", NULL, stage_error(s)) == VMH_ERR_UNKNOWN_NAME);
    EXPECT(s, strstr(vmh_error_message(s->error), "cpu.count"));
}

static void lists_each_once(stage *s)
{
    g_autoptr(vmh_vm) mine = stage_vm(s, 0);
    vmh_vm **vms = NULL;
    size_t   count = vmh_host_list_vms(s->host, &vms), found = 0, same = 0;

    for (size_t i = 0; i < count; i++) {
        g_autofree char *name = test_vm_name(vms[i]);
        found += known_to(s->host, vmh_vm_uuid(vms[i]), name);
        same += mine && strcmp(vmh_vm_uuid(vms[i]), vmh_vm_uuid(mine)) == 0;
    }
    vmh_vm_list_free(vms);
    EXPECT(s, mine && found == count && same == 1);
    stage_remove(s, mine);
}

static void does_not_find(stage *s)
{
    g_autoptr(vmh_vm) vm = vmh_host_find_vm(s->host, "nobody-of-this-name", stage_error(s));

    EXPECT(s, !vm && vmh_error_code(s->error) == VMH_ERR_NOT_FOUND);
    EXPECT(s, strstr(vmh_error_message(s->error), "nobody-of-this-name"));
}

static void refreshes(stage *s)
{
    size_t count = vmh_host_list_vms(s->host, NULL);

    EXPECT_OK(s, vmh_host_refresh(s->host, 0, stage_error(s)));
    EXPECT(s, vmh_host_list_vms(s->host, NULL) == count);
}

static void lives_on_in_its_vms(stage *s)
{
    g_autoptr(vmh_vm) mine = stage_vm(s, 0);
    vmh_host *host = vmh_host_open(s->uri, NULL, 0, stage_error(s));
    g_autoptr(vmh_vm) vm = NULL;

    EXPECT(s, mine && host);
    vm = vmh_host_find_vm(host, vmh_vm_uuid(mine), stage_error(s));
    vmh_host_unref(host);
    EXPECT(s, vm);
    EXPECT_OK(s, vmh_vm_start(vm, 0, stage_error(s)));
    EXPECT(s, vmh_vm_state(vm) == VMH_VM_RUNNING);
    stage_remove(s, mine);
}

const behaviour host_behaviours[] = {
    {"host.open", NULL, opens, "a host tells its URI and is connected"},
    {"host.open.kind", NULL, refuses_other_options, "options of another kind than open are refused"},
    {"host.open.readonly", NULL, opens_readonly, "with readonly, VMs are seen and none is made"},
    {"host.open.twice", "host.create,host.events", two_handles_agree, "two handles see the same VMs"},
    {"host.describe", "host.describe", describes, "URI, CPUs, memory and the number of VMs are told"},
    {"host.accelerator", "host.describe", tells_accelerator, "what runs guests is told, and how that was found out"},
    {"host.allocated", "host.describe,host.create,vm.start", counts_what_is_allocated,
     "what a running VM takes is counted"},
    {"host.supports.verbs", NULL, answers_for_each_verb, "for each verb: yes, or no and trying gives the reason"},
    {"host.supports.properties", NULL, answers_for_each_property,
     "for each property: yes, or no and trying gives the reason"},
    {"host.supports.nearest", NULL, names_the_nearest, "a misspelt name is answered with the nearest"},
    {"host.list", "host.create", lists_each_once, "each VM is listed once and found by name and by UUID"},
    {"host.find.unknown", NULL, does_not_find, "who is not there is not found, by name"},
    {"host.refresh", "host.refresh", refreshes, "a list anew changes nothing where nothing changed"},
    {"host.unref", "host.create,vm.start", lives_on_in_its_vms, "a VM keeps its host alive"},
    {NULL, NULL, NULL, NULL},
};
