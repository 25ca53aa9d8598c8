/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Side by side with virsh: what it made is read and changed without loss, and each sees what the other does. */
#include "integration.h"

#include <glib/gstdio.h>
#include <unistd.h>

/* Much that we do not model, between things that we do. */
static const char foreign[] =
    "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
    "<name>%s</name><title>Foreign</title>"
    "<metadata><app:data xmlns:app='http://example.org/app'><app:owner a='1'>them &amp; us</app:owner><!-- kept -->"
    "</app:data></metadata>"
    "<memory unit='KiB'>131072</memory><currentMemory unit='KiB'>65536</currentMemory>"
    "<vcpu placement='static' cpuset='0' current='1'>2</vcpu><iothreads>1</iothreads>"
    "<cputune><shares>512</shares><emulatorpin cpuset='0'/></cputune>"
    "<sysinfo type='smbios'><bios><entry name='vendor'>vendor &lt;x&gt;</entry></bios></sysinfo>"
    "<os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/><bootmenu enable='yes' timeout='3000'/>"
    "<smbios mode='sysinfo'/></os>"
    "<features><acpi/><apic/><pae/><vmcoreinfo state='on'/></features>"
    "<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model>"
    "<topology sockets='2' dies='1' cores='1' threads='1'/><feature policy='disable' name='svm'/></cpu>"
    "<clock offset='localtime'><timer name='rtc' tickpolicy='catchup'/><timer name='hpet' present='no'/></clock>"
    "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>preserve</on_crash>"
    "<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>"
    "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>"
    "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none' discard='unmap' iothread='1'/>"
    "<source file='%s'/><target dev='vda' bus='virtio'/><serial>A1</serial></disk>"
    "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sda' bus='sata' tray='open'/>"
    "<readonly/></disk>"
    "<controller type='usb' model='qemu-xhci' ports='15'/>"
    "<interface type='user'><mac address='52:54:00:01:02:03'/><model type='virtio'/><rom enabled='no'/></interface>"
    "<serial type='pty'><target port='0'/></serial><console type='pty'><target type='serial' port='0'/></console>"
    "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
    "<input type='tablet' bus='usb'/><sound model='ich9'/><video><model type='vga' vram='16384' heads='1'/></video>"
    "<redirdev bus='usb' type='tcp'><source mode='bind' host='127.0.0.1' service='0'/></redirdev>"
    "<memballoon model='virtio'><stats period='5'/></memballoon><rng model='virtio'><rate bytes='1024' "
    "period='2000'/>"
    "<backend model='random'>/dev/urandom</backend></rng></devices>"
    "<qemu:commandline><qemu:arg value='-msg'/><qemu:arg value='timestamp=on'/></qemu:commandline>"
    "</domain>";

typedef struct {
    const char *uri;
    vmh_host   *host;
    char       *name;
    char       *disk;
    vmh_vm     *vm;
} stage;

#define VIRSH(...) RUN("virsh", "-q", "-c", lab_variable("URI_A"), __VA_ARGS__)

static void stage_open(stage *s)
{
    vmh_queue       *queue;
    vmh_event       *event;
    g_autofree char *xml = NULL, *path = test_disk("xml", 0), *output = NULL;

    *s = (stage){.uri = lab_variable("URI_A"), .name = test_name("virsh"), .disk = test_disk("virsh", 1)};
    s->host = open_host(s->uri);
    queue = vmh_queue_new(s->host, "vm", 0, NULL);
    xml = g_strdup_printf(foreign, s->name, s->disk);
    ck_assert(g_file_set_contents(path, xml, -1, NULL));
    output = VIRSH("define", path);
    event = test_wait_event(queue, VMH_EVENT_VM_ADDED, s->name, PATIENCE_MS);
    ck_assert_msg(event != NULL, "what virsh defined was not told");
    s->vm = vmh_event_vm(event);
    ck_assert_ptr_nonnull(s->vm);
    vmh_event_free(event);
    vmh_queue_unref(queue);
    g_unlink(path);
}

static void stage_close(stage *s)
{
    test_clean(s->host);
    vmh_vm_unref(s->vm);
    vmh_host_unref(s->host);
    g_unlink(s->disk);
    g_free(s->disk);
    g_free(s->name);
}

/* --- reading --- */

static void assert_value(const vmh_spec *spec, const char *path, const char *text)
{
    g_autofree char *got = test_text(spec, path);

    ck_assert_msg(strcmp(got, text) == 0, "%s is \"%s\" and was to be \"%s\"", path, got, text);
}

START_TEST(what_virsh_made_is_described)
{
    stage     s;
    vmh_spec *spec;

    stage_open(&s);
    spec = vmh_vm_describe(s.vm, 0, NULL);
    ck_assert_ptr_nonnull(spec);
    assert_value(spec, "name", s.name);
    assert_value(spec, "title", "Foreign");
    assert_value(spec, "accelerator", "tcg");
    assert_value(spec, "cpu.count", "1");
    assert_value(spec, "cpu.max", "2");
    assert_value(spec, "cpu.sockets", "2");
    assert_value(spec, "cpu.model", "qemu64");
    assert_value(spec, "cpu.weight", "512");
    assert_value(spec, "memory.size", "64MiB");
    assert_value(spec, "memory.max", "128MiB");
    assert_value(spec, "disk.vda.path", s.disk);
    assert_value(spec, "disk.vda.cache", "none");
    assert_value(spec, "disk.vda.serial", "A1");
    assert_value(spec, "disk.sda.media", "cdrom");
    assert_value(spec, "on.crash", "keep");
    assert_value(spec, "rng", "yes");
    vmh_spec_unref(spec);
    stage_close(&s);
}
END_TEST

/* --- changing one thing and nothing else --- */

/* Lines of one text that the other has not, each in its number. */
static char *lines_missing(const char *from, const char *in)
{
    g_auto(GStrv) lines = g_strsplit(from, "\n", -1);
    g_auto(GStrv) others = g_strsplit(in, "\n", -1);
    GString *missing = g_string_new(NULL);

    for (char **line = lines; *line; line++) {
        char **other = others;
        while (*other && strcmp(g_strstrip(*other), g_strstrip(*line)) != 0)
            other++;
        if (*other)
            **other = '\001'; /* it is taken */
        else
            g_string_append_printf(missing, "%s\n", *line);
    }
    return g_string_free(missing, FALSE);
}

/* Only lines with one of the words (by |) come, go or change. */
static void assert_only(const char *lines, const char *words, const char *what)
{
    g_auto(GStrv) list = g_strsplit(words, "|", -1);
    g_auto(GStrv) each = g_strsplit(lines, "\n", -1);

    for (char **line = each; *line; line++) {
        gboolean expected = !**line;
        for (char **word = list; *word; word++)
            expected = expected || strstr(*line, *word);
        ck_assert_msg(expected, "%s changed the line: %s", what, *line);
    }
}

static void change(stage *s, const char *path, const char *text, const char *words)
{
    g_autofree char *before = VIRSH("dumpxml", "--inactive", s->name);
    g_autofree char *after = NULL, *gone = NULL, *come = NULL;
    g_autoptr(vmh_spec) spec = vmh_spec_new("vm", NULL);
    vmh_error *error = NULL;
    vmh_spec  *got;

    ck_assert_int_eq(vmh_spec_set(spec, path, text, &error), 0);
    assert_ok(vmh_vm_update(s->vm, spec, 0, 0, &error));
    after = VIRSH("dumpxml", "--inactive", s->name);
    gone = lines_missing(before, after);
    come = lines_missing(after, before);
    assert_only(gone, words, path);
    assert_only(come, words, path);
    ck_assert_msg(*gone || *come, "%s changed nothing", path);
    got = vmh_vm_describe(s->vm, 0, NULL);
    assert_value(got, path, text);
    vmh_spec_unref(got);
}

START_TEST(a_change_leaves_all_else_as_it_was)
{
    stage s;

    stage_open(&s);
    change(&s, "title", "Ours", "<title>");
    change(&s, "description", "new", "<description>");
    change(&s, "memory.size", "96MiB", "<currentMemory");
    change(&s, "memory.max", "256MiB", "<memory");
    change(&s, "cpu.count", "2", "<vcpu");
    change(&s, "cpu.weight", "700", "<shares>");
    change(&s, "cpu.limit", "0.5", "<global_period>|<global_quota>");
    change(&s, "cpu.pin.0", "0", "<vcpupin");
    change(&s, "memory.limit", "512MiB", "memtune>|<hard_limit");
    change(&s, "disk.vda.cache", "writeback", "cache=");
    change(&s, "disk.vda.serial", "B2", "<serial>");
    change(&s, "disk.vda.iops.total", "500", "iotune>|<total_iops_sec");
    change(&s, "on.crash", "restart", "<on_crash>");
    change(&s, "watchdog", "reset", "<watchdog|<address|watchdog>|controller|pci|<target chassis");
    change(&s, "metadata.key", "value <&>", "vmhost|metadata>|key");
    stage_close(&s);
}
END_TEST

START_TEST(a_device_comes_and_goes_without_a_trace)
{
    g_autofree char *path = test_disk("second", 1);
    g_autofree char *before = NULL, *after = NULL, *gone = NULL, *come = NULL;
    g_autoptr(vmh_spec) add = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_spec) take = vmh_spec_new("vm", NULL);
    vmh_error *error = NULL;
    stage      s;

    stage_open(&s);
    before = VIRSH("dumpxml", "--inactive", s.name);
    vmh_spec_set_str(add, "disk.second.path", path, &error);
    vmh_spec_set(take, "disk.second.present", "no", &error);
    assert_ok(vmh_vm_update(s.vm, add, 0, 0, &error));
    assert_ok(vmh_vm_update(s.vm, take, 0, 0, &error));
    after = VIRSH("dumpxml", "--inactive", s.name);
    gone = lines_missing(before, after);
    come = lines_missing(after, before);
    ck_assert_str_eq(gone, "");
    assert_only(come, "controller|<address|<target chassis|<model name='pcie-root-port'|<alias", "the disk");
    stage_close(&s);
    g_unlink(path);
}
END_TEST

/* --- what virsh does is told, and conflicts --- */

static vmh_event *next(vmh_queue *queue, stage *s, int32_t type, const char *what)
{
    vmh_event *event = test_wait_event(queue, type, s->name, PATIENCE_MS);

    ck_assert_msg(event != NULL, "what virsh did was not told: %s", what);
    return event;
}

static void assert_state_told(vmh_queue *queue, stage *s, const char *verb, const char *state)
{
    vmh_event *event = NULL;

    g_free(VIRSH(verb, s->name));
    do {
        vmh_event_free(event);
        event = next(queue, s, VMH_EVENT_VM_STATE, verb);
    } while (strcmp(vmh_event_str(event, "state"), state) != 0);
    vmh_event_free(event);
}

START_TEST(what_virsh_does_is_told)
{
    vmh_queue       *queue;
    g_autofree char *output = NULL;
    stage            s;

    stage_open(&s);
    queue = vmh_queue_new(s.host, "vm", 0, NULL);
    assert_state_told(queue, &s, "start", "running");
    assert_state_told(queue, &s, "suspend", "paused");
    assert_state_told(queue, &s, "resume", "running");
    output = VIRSH("desc", s.name, "--live", "--title", "theirs");
    vmh_event_free(next(queue, &s, VMH_EVENT_VM_CHANGED, "desc"));
    assert_state_told(queue, &s, "destroy", "stopped");
    g_free(output);
    output = VIRSH("undefine", s.name);
    vmh_event_free(next(queue, &s, VMH_EVENT_VM_REMOVED, "undefine"));
    ck_assert_int_eq(vmh_vm_state(s.vm), VMH_VM_GONE);
    vmh_queue_unref(queue);
    stage_close(&s);
}
END_TEST

START_TEST(a_renamed_one_is_the_same)
{
    g_autofree char *new_name = test_name("renamed");
    g_autofree char *output = NULL, *told = NULL;
    g_autoptr(vmh_vm) old = NULL;
    g_autoptr(vmh_vm) found = NULL;
    vmh_error *error = NULL;
    int64_t    end = test_now_ms() + 20000;
    stage      s;

    stage_open(&s);
    output = VIRSH("domrename", s.name, new_name);
    while (!found && test_now_ms() < end) {
        g_usleep(5000);
        found = vmh_host_find_vm(s.host, new_name, NULL);
    }
    ck_assert_ptr_nonnull(found);
    ck_assert_str_eq(vmh_vm_uuid(found), vmh_vm_uuid(s.vm));
    told = test_vm_name(s.vm);
    ck_assert_str_eq(told, new_name);
    old = vmh_host_find_vm(s.host, s.name, &error);
    ck_assert_ptr_null(old);
    assert_error(VMH_ERR_NOT_FOUND);
    assert_ok(vmh_vm_start(s.vm, VMH_START_PAUSED, &error)); /* the handle still works */
    stage_close(&s);
}
END_TEST

START_TEST(a_change_by_virsh_is_a_conflict)
{
    static const char *const commands[][3] = {
        {"desc", "--title", "theirs"}, {"setmaxmem", "200000", "--config"}, {"setvcpus", "2", "--config"}};
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    vmh_error *error = NULL;
    stage      s;

    stage_open(&s);
    vmh_spec_set(change, "description", "ours", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_autoptr(vmh_spec) spec = vmh_vm_describe(s.vm, 0, NULL);
        g_autoptr(vmh_spec) after = NULL;
        g_autofree char *output = NULL;
        uint64_t         generation = 0;
        ck_assert_int_eq(vmh_spec_get_u64(spec, "generation", &generation, NULL), 0);
        output = VIRSH(commands[i][0], s.name, commands[i][1], commands[i][2]);
        assert_fails(vmh_vm_update(s.vm, change, 0, generation, &error), VMH_ERR_CONFLICT);
        after = vmh_vm_describe(s.vm, 0, NULL);
        assert_value(after, "description", "");
    }
    assert_ok(vmh_vm_update(s.vm, change, 0, 0, &error));
    stage_close(&s);
}
END_TEST

/* --- what we make, virsh sees --- */

START_TEST(virsh_sees_what_we_made)
{
    g_autofree char *name = test_name("ours <&>");
    g_autofree char *state = NULL, *list = NULL, *xml = NULL, *valid = NULL, *path = test_disk("ours", 0);
    g_autoptr(vmh_spec) spec = test_spec(name, 64);
    g_autoptr(vmh_host) host = open_host(lab_variable("URI_A"));
    g_autoptr(vmh_vm) vm = NULL;
    vmh_error *error = NULL;

    vmh_spec_set(spec, "nic.lan.user", "yes", NULL);
    vmh_spec_set(spec, "console.main.to", "pty", NULL);
    vm = create(host, spec, VMH_CREATE_START);
    state = VIRSH("domstate", name);
    ck_assert_str_eq(g_strstrip(state), "running");
    list = VIRSH("list", "--name");
    ck_assert_ptr_nonnull(strstr(list, name));
    xml = VIRSH("dumpxml", "--inactive", name);
    ck_assert(g_file_set_contents(path, xml, -1, NULL));
    valid = RUN("virt-xml-validate", path, "domain");
    assert_ok(vmh_vm_pause(vm, 0, &error));
    g_free(state);
    state = VIRSH("domstate", name);
    ck_assert_str_eq(g_strstrip(state), "paused");
    test_clean(host);
    g_unlink(path);
}
END_TEST

START_TEST(what_is_made_empty_is_gone_from_what_runs)
{
    static const char *const paths[] = {"nic.lan.filter", "cpu.pin.0", "numa.nodes"};
    g_autofree char         *name = test_name("empty"), *before = NULL, *live = NULL, *kept = NULL;
    g_autoptr(vmh_spec) spec = test_spec(name, 64), update = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_host) host = open_host(lab_variable("URI_A"));
    g_autoptr(vmh_vm) vm = NULL;
    vmh_error *error = NULL;

    vmh_spec_set(spec, "nic.lan.network", "default", NULL);
    vmh_spec_set(spec, "nic.lan.filter", "clean-traffic", NULL);
    vmh_spec_set(spec, "cpu.pin.0", "0", NULL);
    vmh_spec_set(spec, "numa.nodes", "0", NULL);
    vm = create(host, spec, VMH_CREATE_START);
    before = VIRSH("dumpxml", name);
    ck_assert(strstr(before, "<filterref") && strstr(before, "<vcpupin") && strstr(before, "<numatune"));
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
        ck_assert_int_eq(vmh_spec_set(update, paths[i], "", &error), 0);
    assert_ok(vmh_vm_update(vm, update, 0, 0, &error));
    live = VIRSH("dumpxml", name);
    kept = VIRSH("dumpxml", "--inactive", name);
    ck_assert_msg(!strstr(live, "<filterref"), "%s", live);
    ck_assert_msg(!strstr(kept, "<filterref") && !strstr(kept, "<vcpupin") && !strstr(kept, "<numatune"), "%s", kept);
    test_clean(host);
}
END_TEST

INTEGRATION_RUN("virsh", TRUE, what_is_made_empty_is_gone_from_what_runs, what_virsh_made_is_described,
                a_change_leaves_all_else_as_it_was, a_device_comes_and_goes_without_a_trace, what_virsh_does_is_told,
                a_renamed_one_is_the_same, a_change_by_virsh_is_a_conflict, virsh_sees_what_we_made)
