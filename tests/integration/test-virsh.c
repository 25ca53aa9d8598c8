/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Side by side with virsh: each sees the other's VMs, and neither loses what only the other knows of. */
#include "integration.h"

#include <glib/gstdio.h>

/* Has what the library does not model: devices, metadata of others, and QEMU's own arguments. */
static const char foreign_xml[] =
    "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
    "<name>%s</name>"
    "<metadata><o:mark xmlns:o='http://example.org/other'>keep &lt;this&gt;</o:mark></metadata>"
    "<memory unit='MiB'>96</memory><vcpu>1</vcpu>"
    "<os><type arch='x86_64' machine='q35'>hvm</type></os>"
    "<features><acpi/><hyperv mode='custom'><relaxed state='on'/></hyperv></features>"
    "<clock offset='utc'><timer name='pit' tickpolicy='delay'/></clock>"
    "<devices>"
    "<sound model='ich9'/><video><model type='vga'/></video>"
    "<channel type='unix'><target type='virtio' name='org.example.agent.0'/></channel>"
    "<serial type='pty'><log file='/tmp/%s.log' append='on'/><target port='0'/></serial>"
    "</devices>"
    "<qemu:commandline><qemu:env name='OTHER' value='1'/></qemu:commandline>"
    "</domain>";

static vmh_host  *host;
static char      *name;
static vmh_error *error;

static void begin(const char *what)
{
    host = open_host(lab_variable("URI_A"));
    name = test_name(what);
}

static void end(void)
{
    test_clean(host);
    vmh_host_unref(host);
    g_free(name);
}

static char *virsh(const char *command, const char *argument)
{
    return argument ? RUN("virsh", "-q", "-c", lab_variable("URI_A"), command, name, argument)
                    : RUN("virsh", "-q", "-c", lab_variable("URI_A"), command, name);
}

static void virsh_define(const char *xml)
{
    g_autofree char *path = g_strdup_printf("%s/%s.xml", lab_variable("DIR"), name);
    g_autofree char *said = NULL;

    ck_assert(g_file_set_contents(path, xml, -1, NULL));
    said = RUN("virsh", "-q", "-c", lab_variable("URI_A"), "define", path);
    g_unlink(path);
}

/* Defined twice, since libvirt puts the devices that it adds itself in their order only when it reads them again. */
static void virsh_define_foreign(void)
{
    g_autofree char *xml = g_strdup_printf(foreign_xml, name, name);
    g_autofree char *settled = NULL;

    virsh_define(xml);
    settled = virsh("dumpxml", "--inactive");
    virsh_define(settled);
}

/* The VM, once the library has heard of it. */
static vmh_vm *heard_of(vmh_queue *queue)
{
    g_autoptr(vmh_event) event = test_wait_event(queue, VMH_EVENT_VM_ADDED, name, PATIENCE_MS);

    ck_assert_ptr_nonnull(event);
    return vmh_event_vm(event);
}

static void update_title(vmh_vm *vm, uint64_t generation, int32_t expected)
{
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);

    vmh_spec_set(change, "title", "a title of ours", &error);
    assert_no_error();
    if (expected)
        assert_fails(vmh_vm_update(vm, change, VMH_UPDATE_PERSIST, generation, &error), expected);
    else
        assert_ok(vmh_vm_update(vm, change, VMH_UPDATE_PERSIST, generation, &error));
}

static uint64_t generation_of(vmh_vm *vm)
{
    g_autoptr(vmh_spec) spec = vmh_vm_describe(vm, 0, &error);
    uint64_t generation = 0;

    vmh_spec_get_u64(spec, "generation", &generation, &error);
    assert_no_error();
    return generation;
}

/* Both documents are the same, line by line, but for the title that came in. */
static void assert_only_title_is_new(const char *before, const char *after)
{
    g_auto(GStrv) old = g_strsplit(before, "\n", -1);
    g_auto(GStrv) new = g_strsplit(after, "\n", -1);
    char **was = old;
    int    titles = 0;

    for (char **is = new; *is; is++) {
        if (strcmp(*is, "  <title>a title of ours</title>") == 0)
            titles++;
        else
            ck_assert_str_eq(*is, *was ? *was++ : "(no more lines)");
    }
    ck_assert_ptr_null(*was);
    ck_assert_int_eq(titles, 1);
}

START_TEST(an_update_leaves_all_else_as_it_was)
{
    g_autoptr(vmh_queue) queue = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    g_autofree char *before = NULL, *after = NULL;

    begin("foreign");
    queue = vmh_queue_new(host, "vm", 0, &error);
    virsh_define_foreign();
    vm = heard_of(queue);
    before = virsh("dumpxml", "--inactive");
    ck_assert_ptr_nonnull(strstr(before, "qemu:env"));
    update_title(vm, 0, 0);
    after = virsh("dumpxml", "--inactive");
    assert_only_title_is_new(before, after);
    end();
}
END_TEST

START_TEST(virsh_sees_our_vm_and_we_see_what_it_does)
{
    g_autoptr(vmh_queue) queue = NULL;
    g_autoptr(vmh_event) event = NULL;
    g_autoptr(vmh_spec) spec = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    g_autofree char *state = NULL, *said = NULL;

    begin("seen");
    queue = vmh_queue_new(host, "vm", 0, &error);
    spec = test_spec(name, 96);
    vm = create(host, spec, 0);
    state = virsh("domstate", NULL);
    ck_assert_ptr_nonnull(strstr(state, "shut off"));
    said = virsh("undefine", NULL);
    event = test_wait_event(queue, VMH_EVENT_VM_REMOVED, name, PATIENCE_MS);
    ck_assert_ptr_nonnull(event);
    ck_assert_int_eq(vmh_vm_state(vm), VMH_VM_GONE);
    end();
}
END_TEST

START_TEST(a_change_by_virsh_is_a_conflict)
{
    g_autoptr(vmh_spec) spec = NULL;
    g_autoptr(vmh_vm) vm = NULL;
    g_autofree char *said = NULL;
    uint64_t         generation;

    begin("conflict");
    spec = test_spec(name, 96);
    vm = create(host, spec, 0);
    generation = generation_of(vm);
    ck_assert_uint_eq(generation_of(vm), generation);
    said = virsh("desc", "changed by somebody else");
    update_title(vm, generation, VMH_ERR_CONFLICT);
    ck_assert_uint_ne(generation_of(vm), generation);
    update_title(vm, generation_of(vm), 0);
    end();
}
END_TEST

INTEGRATION_RUN("virsh", TRUE, an_update_leaves_all_else_as_it_was, virsh_sees_our_vm_and_we_see_what_it_does,
                a_change_by_virsh_is_a_conflict)
