/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain XML and specs: what is written is libvirt's own schema, is read back, and leaves the rest alone. */
#include "domain.h"

#include <glib/gstdio.h>

/* A value for each property, and what it needs beside it. */
static const struct {
    const char *pattern;
    const char *value;
    const char *with; /* "path=value;…" */
} samples[] = {
    {"name", "a-name", NULL},
    {"uuid", "c7a5fdbd-edaf-9455-926a-d65c16db1809", NULL},
    {"title", "A title", NULL},
    {"description", "Two\nlines", NULL},
    {"metadata.<id>", " of the program's own\n", NULL},
    {"arch", "i686", NULL},
    {"machine", "pc", NULL},
    {"accelerator", "tcg", NULL},
    {"boot.kernel", "/boot/vmlinuz", NULL},
    {"boot.initrd", "/boot/initrd", "boot.kernel=/k"},
    {"boot.cmdline", "console=ttyS0 quiet", "boot.kernel=/k"},
    {"boot.firmware", "uefi", NULL},
    {"boot.order", "x,y", "disk.x.path=/d;nic.y.user=yes"},
    {"cpu.count", "3", NULL},
    {"cpu.max", "8", NULL},
    {"cpu.model", "EPYC", NULL},
    {"cpu.sockets", "2", NULL},
    {"cpu.cores", "4", NULL},
    {"cpu.threads", "2", NULL},
    {"cpu.weight", "200", NULL},
    {"cpu.limit", "1.5", NULL},
    {"cpu.pin.<n>", "0-1,3", "cpu.max=8"},
    {"numa.nodes", "0", NULL},
    {"numa.mode", "interleave", "numa.nodes=0-1"},
    {"memory.size", "256MiB", NULL},
    {"memory.max", "4GiB", NULL},
    {"memory.limit", "8GiB", NULL},
    {"memory.hugepages", "yes", NULL},
    {"memory.shared", "yes", NULL},
    {"disk.<id>.path", "/var/lib/x.img", NULL},
    {"disk.<id>.volume", "default/x.img", NULL},
    {"disk.<id>.url", "nbd://store.example:10810/x", NULL},
    {"disk.<id>.format", "qcow2", "disk.x.path=/d"},
    {"disk.<id>.media", "cdrom", NULL},
    {"disk.<id>.readonly", "yes", "disk.x.path=/d"},
    {"disk.<id>.bus", "scsi", "disk.x.path=/d"},
    {"disk.<id>.target", "vdq", "disk.x.path=/d"},
    {"disk.<id>.cache", "writeback", "disk.x.path=/d"},
    {"disk.<id>.serial", "ABC-1.2_+", "disk.x.path=/d"},
    {"disk.<id>.discard", "yes", "disk.x.path=/d"},
    {"disk.<id>.queues", "4", "disk.x.path=/d"},
    {"disk.<id>.iops.total", "100", "disk.x.path=/d"},
    {"disk.<id>.iops.read", "100", "disk.x.path=/d"},
    {"disk.<id>.iops.write", "100", "disk.x.path=/d"},
    {"disk.<id>.bandwidth.total", "1MiB/s", "disk.x.path=/d"},
    {"disk.<id>.bandwidth.read", "1MiB/s", "disk.x.path=/d"},
    {"disk.<id>.bandwidth.write", "1MiB/s", "disk.x.path=/d"},
    {"nic.<id>.network", "default", NULL},
    {"nic.<id>.bridge", "br0", NULL},
    {"nic.<id>.tap", "tap7", NULL},
    {"nic.<id>.user", "yes", NULL},
    {"nic.<id>.mac", "52:54:00:01:02:03", "nic.x.user=yes"},
    {"nic.<id>.model", "e1000e", "nic.x.user=yes"},
    {"nic.<id>.filter", "clean-traffic", "nic.x.network=n"},
    {"nic.<id>.isolated", "yes", "nic.x.network=n"},
    {"nic.<id>.vlan", "42", "nic.x.network=n"},
    {"nic.<id>.queues", "2", "nic.x.network=n"},
    {"nic.<id>.link", "no", "nic.x.user=yes"},
    {"nic.<id>.inbound.rate", "10Mbit/s", "nic.x.network=n"},
    {"nic.<id>.inbound.burst", "1MiB", "nic.x.network=n;nic.x.inbound.rate=1MB/s"},
    {"nic.<id>.outbound.rate", "10Mbit/s", "nic.x.network=n"},
    {"nic.<id>.outbound.burst", "1MiB", "nic.x.network=n;nic.x.outbound.rate=1MB/s"},
    {"console.<id>.to", "unix:/run/x.sock", NULL},
    {"console.<id>.type", "virtio", "console.x.to=pty"},
    {"rng", "no", NULL},
    {"vsock.cid", "33", NULL},
    {"share.<id>.path", "/srv/x", "memory.shared=yes"},
    {"share.<id>.readonly", "no", "memory.shared=yes;share.x.path=/srv/x"},
    {"balloon", "no", NULL},
    {"watchdog", "poweroff", NULL},
    {"tpm", "yes", NULL},
    {"security.label", "libvirt-mine", NULL},
    {"on.crash", "keep", NULL},
    {"on.shutdown", "restart", NULL},
    {"on.reboot", "stop", NULL},
};

static const char *sample_of(const char *pattern)
{
    for (gsize i = 0; i < G_N_ELEMENTS(samples); i++)
        if (g_str_equal(samples[i].pattern, pattern))
            return samples[i].value;
    return NULL;
}

START_TEST(every_property_has_a_row_and_a_sample)
{
    /* Libvirt has none of these. */
    static const char *const absent[] = {
        "boot.format", "boot.address",     "boot.mode",        "debug.console",       "debug.exit",
        "nic.<id>.fd", "nic.<id>.address", "module.<id>.path", "module.<id>.cmdline", NULL};
    /* Not of the XML: reported of a VM, kept elsewhere, or an order to attach and detach. */
    static const char *const elsewhere[] = {"state",     "generation",        "persistent",       "security.sandbox",
                                            "autostart", "disk.<id>.present", "nic.<id>.present", NULL};
    size_t                   n;
    const vmh_property      *list = vmhi_schema_list("vm", &n);

    for (size_t i = 0; i < n; i++) {
        const char *pattern = list[i].pattern;
        gboolean    found = g_strv_contains(elsewhere, pattern);

        for (gsize j = 0; j < vmhi_domain_row_count; j++)
            found = found || g_str_equal(vmhi_domain_rows[j].pattern, pattern);
        ck_assert_msg(found, "%s has no row", pattern);
        if (!g_strv_contains(elsewhere, pattern) && !g_strv_contains(absent, pattern))
            ck_assert_msg(sample_of(pattern) != NULL, "%s has no sample", pattern);
    }
    for (gsize j = 0; j < vmhi_domain_row_count; j++)
        ck_assert_msg(vmhi_schema_lookup("vm", vmhi_domain_rows[j].pattern) != NULL, "%s: a row of no property",
                      vmhi_domain_rows[j].pattern);
}
END_TEST

static char *concrete(const char *pattern)
{
    GString *path = g_string_new(pattern);

    g_string_replace(path, "<id>", "x", 0);
    g_string_replace(path, "<n>", "0", 0);
    return g_string_free(path, FALSE);
}

START_TEST(each_property_alone_is_written_valid_and_read_back)
{
    for (gsize i = 0; i < G_N_ELEMENTS(samples); i++) {
        g_autofree char *path = concrete(samples[i].pattern);
        g_autoptr(vmh_spec) spec = spec_of("name=a;memory.size=1GiB");
        g_autoptr(vmh_spec) back = NULL;
        g_autoptr(xmlDoc) doc = NULL;
        g_autoptr(xmlDoc) reread = NULL;
        vmh_error *error = NULL;

        set_all(spec, samples[i].with);
        set(spec, path, samples[i].value);
        doc = try_build(&qemu, spec, &error);
        assert_no_error(error);
        assert_valid(doc, path);
        reread = again(doc);
        back = vmhi_domain_read(reread);
        ck_assert_msg(vmhi_spec_same(spec, back, path), "%s is not read back", path);
    }
}
END_TEST

START_TEST(all_properties_together_are_written_valid_and_read_back)
{
    g_autoptr(vmh_spec) spec = spec_of(everything);
    g_autoptr(xmlDoc) doc = build(&qemu, everything);
    g_autoptr(xmlDoc) reread = again(doc);
    g_autoptr(vmh_spec) back = vmhi_domain_read(reread);
    g_auto(GStrv) paths = vmhi_spec_list(spec);

    assert_valid(doc, "all");
    for (guint i = 0; paths[i]; i++)
        ck_assert_msg(vmhi_spec_same(spec, back, paths[i]), "%s is not read back", paths[i]);
}
END_TEST

START_TEST(virt_xml_validate_agrees)
{
    g_autofree char *program = g_find_program_in_path("virt-xml-validate");
    g_autofree char *path = NULL;
    g_autofree char *said = NULL;
    g_autoptr(xmlDoc) doc = build(&qemu, everything);
    g_autofree char *text = vmhi_domain_text(doc);
    int              fd, status = 0;

    if (!program)
        return;
    fd = g_file_open_tmp("vmhost-XXXXXX.xml", &path, NULL);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert(g_file_set_contents(path, text, -1, NULL));
    ck_assert(g_spawn_sync(NULL, (char *[]){program, path, "domain", NULL}, NULL, 0, NULL, NULL, NULL, &said, &status,
                           NULL));
    g_unlink(path);
    ck_assert_msg(status == 0, "%s", said);
}
END_TEST

/* What is read of a VM makes the same VM. */
START_TEST(a_description_makes_the_same_vm)
{
    g_autoptr(xmlDoc) doc = build(&qemu, everything);
    g_autoptr(vmh_spec) described = vmhi_domain_read(doc);
    vmh_error *error = NULL;
    g_autoptr(xmlDoc) twin = try_build(&qemu, described, &error);
    g_autoptr(vmh_spec) twin_spec = NULL;
    g_auto(GStrv) paths = vmhi_spec_list(described);

    assert_no_error(error);
    twin_spec = vmhi_domain_read(twin);
    for (guint i = 0; paths[i]; i++)
        ck_assert_msg(vmhi_spec_same(described, twin_spec, paths[i]), "%s is another", paths[i]);
    ck_assert_int_eq(count(doc, "//*"), count(twin, "//*"));
    ck_assert_int_eq(count(doc, "//@*"), count(twin, "//@*"));
}
END_TEST

START_TEST(applying_a_description_changes_nothing)
{
    static const char *const names[] = {"windows.xml", "xen-pv.xml", "esx.xml", "lxc.xml"};

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(xmlDoc) doc = fixture(names[i]);
        g_autofree char *before = vmhi_domain_text(doc);
        g_autofree char *after = NULL;
        g_autoptr(vmh_spec) spec = vmhi_domain_read(doc);
        vmh_error *error = NULL;

        ck_assert(vmhi_domain_apply(doc, &qemu, spec, &error));
        after = vmhi_domain_text(doc);
        ck_assert_str_eq(before, after);
    }
}
END_TEST

START_TEST(what_is_not_modelled_is_kept)
{
    g_autoptr(xmlDoc) doc = fixture("windows.xml");
    g_autoptr(vmh_spec) spec =
        spec_of("cpu.count=6;title=New;disk.sda.iops.total=500;disk.sdb.path=/x.iso;metadata.owner=me");
    vmh_error *error = NULL;

    ck_assert(vmhi_domain_apply(doc, &qemu, spec, &error));
    assert_no_error(error);
    assert_count(doc, "/domain/qemu:commandline/qemu:arg", 2);
    assert_count(doc, "/domain/metadata/*", 2);
    assert_count(doc, "/domain/features/hyperv/*", 3);
    assert_count(doc, "/domain/vcpu[@cpuset='0-7'][@current='6'][.='8']", 1);
    assert_count(doc, "/domain/vcpus", 0); /* would contradict the count */
    assert_count(doc, "//disk[target/@dev='sda']/driver[@io='native'][@iothread='1']", 1);
    assert_count(doc, "//disk[target/@dev='sda']/iotune[total_iops_sec='500'][total_iops_sec_max='4000']", 1);
    assert_count(doc, "//disk[target/@dev='sdb']/source[@file='/x.iso']", 1);
    assert_count(doc, "//disk", 5);
    assert_count(doc, "//hostdev|//video|//sound|//channel", 4);
}
END_TEST

START_TEST(a_windows_desktop_is_read)
{
    g_autoptr(xmlDoc) doc = fixture("windows.xml");
    g_autoptr(vmh_spec) spec = vmhi_domain_read(doc);

    assert_value(spec, "name", "win11");
    assert_value(spec, "title", "Desktop & more");
    assert_value(spec, "accelerator", "kvm");
    assert_value(spec, "memory.max", "8GiB");
    assert_value(spec, "memory.size", "6GiB");
    assert_value(spec, "memory.hugepages", "yes");
    assert_value(spec, "cpu.count", "4");
    assert_value(spec, "cpu.max", "8");
    assert_value(spec, "cpu.model", "host");
    assert_value(spec, "cpu.limit", "1.5");
    assert_value(spec, "boot.firmware", "uefi");
    assert_value(spec, "boot.order", "sdb,sda,mac-525400aabb01");
    assert_value(spec, "disk.sda.path", "/dev/vg0/win11");
    assert_value(spec, "disk.sda.cache", "none");
    assert_value(spec, "disk.sda.iops.total", "2000");
    assert_value(spec, "disk.sdb.media", "cdrom");
    assert_value(spec, "disk.sdb.path", NULL);
    assert_value(spec, "disk.fda.bus", NULL);
    assert_value(spec, "disk.vdb.url", "rbd://mon1.example:6789/pool/win%20data");
    assert_value(spec, "disk.vdc.target", "vdc");
    assert_value(spec, "nic.office.bridge", "br0");
    assert_value(spec, "nic.office.vlan", "42");
    assert_value(spec, "nic.office.link", "no");
    assert_value(spec, "nic.office.inbound.rate", "1MB/s");
    assert_value(spec, "nic.office.inbound.burst", "1MiB");
    assert_value(spec, "nic.mac-525400aabb01.network", NULL);
    assert_value(spec, "console.serial0.to", NULL);
    assert_value(spec, "tpm", "yes");
    assert_value(spec, "watchdog", "reset");
    assert_value(spec, "balloon", "yes");
    assert_value(spec, "rng", "no");
    assert_value(spec, "on.crash", "stop");
    assert_value(spec, "security.label", NULL); /* made up for this run */
}
END_TEST

START_TEST(other_hypervisors_are_read)
{
    g_autoptr(xmlDoc) pv = fixture("xen-pv.xml");
    g_autoptr(vmh_spec) xen_spec = vmhi_domain_read(pv);
    g_autoptr(xmlDoc) esx = fixture("esx.xml");
    g_autoptr(vmh_spec) esx_spec = vmhi_domain_read(esx);
    g_autoptr(xmlDoc) lxc = fixture("lxc.xml");
    g_autoptr(vmh_spec) lxc_spec = vmhi_domain_read(lxc);

    assert_value(xen_spec, "accelerator", NULL);
    assert_value(xen_spec, "boot.kernel", "/boot/vmlinuz");
    assert_value(xen_spec, "boot.firmware", NULL);
    assert_value(xen_spec, "memory.size", "256MiB");
    assert_value(xen_spec, "disk.xvda.path", "/dev/vg/pv1");
    assert_value(xen_spec, "nic.mac-00163e010203.bridge", "xenbr0");
    assert_value(xen_spec, "console.console0.to", "pty");
    assert_value(xen_spec, "on.shutdown", NULL);
    assert_value(xen_spec, "on.crash", "restart");
    assert_value(esx_spec, "name", "db <01>");
    assert_value(esx_spec, "disk.sda.target", "sda");
    assert_value(esx_spec, "nic.mac-0050569148c7.model", "vmxnet3");
    assert_value(lxc_spec, "memory.max", "64MiB");
    assert_value(lxc_spec, "console.console0.to", "pty");
    assert_value(lxc_spec, "console.console0-2.to", "pty");
}
END_TEST

START_TEST(odd_documents_are_read_and_survive_a_change)
{
    g_autoptr(xmlDoc) doc = fixture("odd.xml");
    g_autoptr(vmh_spec) spec = vmhi_domain_read(doc);
    g_autoptr(vmh_spec) change = spec_of("cpu.count=2;cpu.max=2;cpu.threads=2;memory.size=1GiB;memory.max=2GiB;"
                                         "disk.vda.path=/x;disk.new.path=/y;nic.n.user=yes;boot.order=new,n");
    vmh_error *error = NULL;

    assert_value(spec, "name", NULL);
    assert_value(spec, "uuid", NULL);
    assert_value(spec, "memory.max", NULL);
    assert_value(spec, "memory.size", NULL);
    assert_value(spec, "metadata.ok", "fine");
    assert_value(spec, "disk.same.target", "vda");
    vmhi_domain_apply(doc, &qemu, change, &error);
    vmh_error_free(error);
    ck_assert_uint_ne(vmhi_domain_generation(doc, doc), 0);
    ck_assert_ptr_null(vmhi_domain_parse("<network/>", NULL));
    ck_assert_ptr_null(vmhi_domain_parse("", NULL));
    ck_assert_ptr_null(vmhi_domain_parse(NULL, NULL));
}
END_TEST

static xmlNode *nth_element(xmlNode *node, int *n)
{
    for (; node; node = node->next) {
        xmlNode *found;

        if (node->type != XML_ELEMENT_NODE)
            continue;
        if ((*n)-- == 0)
            return node;
        found = nth_element(node->children, n);
        if (found)
            return found;
    }
    return NULL;
}

/* Whatever is missing or nonsense in a document: it is read, and a change succeeds or says why not. */
static void read_and_change(xmlDoc *doc)
{
    g_autoptr(vmh_spec) wanted = spec_of("cpu.count=2;cpu.cores=2;memory.size=1GiB;boot.order=x;disk.x.path=/x;"
                                         "disk.sda.iops.read=1;nic.office.link=yes;nic.y.user=yes;metadata.k=v");
    vmh_error *error = NULL;

    vmh_spec_unref(vmhi_domain_read(doc));
    ck_assert_uint_ne(vmhi_domain_generation(doc, doc), 0);
    ck_assert(vmhi_domain_apply(doc, &qemu, wanted, &error) || error != NULL);
    vmh_error_free(error);
}

START_TEST(a_document_may_lack_anything)
{
    static const char *const names[] = {"windows.xml", "xen-pv.xml", "esx.xml", "lxc.xml", "odd.xml"};

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(xmlDoc) whole = fixture(names[i]);

        for (int n = 1;; n++) {
            g_autoptr(xmlDoc) without = xmlCopyDoc(whole, 1);
            g_autoptr(xmlDoc) nonsense = xmlCopyDoc(whole, 1);
            int      again_n = n, there_n = n;
            xmlNode *node = nth_element(without->children, &again_n);
            xmlNode *other = nth_element(nonsense->children, &there_n);

            if (!node)
                break;
            vmhi_xml_remove(node);
            read_and_change(without);
            for (xmlAttr *attribute = other->properties; attribute; attribute = attribute->next)
                xmlNodeSetContent((xmlNode *)attribute, BAD_CAST "-18446744073709551616");
            read_and_change(nonsense);
        }
    }
}
END_TEST

START_TEST(hostile_text_is_only_text)
{
    static const char *const texts[] = {"]]>",
                                        "<script>alert(1)</script>",
                                        "' or \"1\"='1",
                                        "&amp;&#10;&x;",
                                        "${IFS}$(reboot)",
                                        "--><name>b</name><!--",
                                        "\xe2\x80\xae\xf0\x9f\x90\x8d"};
    static const char *const paths[] = {"title", "description", "metadata.k", "boot.cmdline", "security.label"};

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        for (gsize j = 0; j < G_N_ELEMENTS(paths); j++) {
            g_autoptr(vmh_spec) spec = spec_of("name=a;memory.size=1GiB");
            g_autoptr(xmlDoc) doc = NULL;
            g_autoptr(xmlDoc) reread = NULL;
            g_autoptr(vmh_spec) back = NULL;
            vmh_error *error = NULL;

            set(spec, paths[j], texts[i]);
            doc = try_build(&qemu, spec, &error);
            assert_no_error(error);
            reread = again(doc);
            back = vmhi_domain_read(reread);
            ck_assert_msg(vmhi_spec_same(spec, back, paths[j]), "%s: %s", paths[j], texts[i]);
            assert_count(reread, "/domain/name", 1);
        }
}
END_TEST

START_TEST(an_empty_text_takes_away)
{
    g_autoptr(xmlDoc) doc = build(&qemu, everything);
    g_autoptr(vmh_spec) change =
        spec_of("nic.lan.filter=;boot.kernel=;boot.initrd=;boot.cmdline=;cpu.model=;cpu.pin.0=;"
                "numa.nodes=;boot.order=;title=;disk.root.serial=;security.label=");
    g_autoptr(vmh_spec) spec = NULL;
    g_auto(GStrv) paths = vmhi_spec_list(change);
    vmh_error *error = NULL;

    vmhi_xml_set(vmhi_domain_device(doc, "nic", "lan"), "filterref/parameter@name", "IP");
    vmhi_domain_apply(doc, &qemu, change, &error);
    assert_no_error(error);
    assert_valid(doc, "what is left");
    spec = vmhi_domain_read(doc);
    for (guint i = 0; paths[i]; i++)
        assert_value(spec, paths[i], NULL);
    assert_value(spec, "cpu.pin.7", "1");
    assert_value(spec, "nic.lan.network", "default");
    assert_count(doc, "//filterref", 0);
}
END_TEST

/* --- generation --- */

static void change(xmlDoc *doc, const char *place, const char *value)
{
    vmhi_xml_set(xmlDocGetRootElement(doc), place, value);
}

START_TEST(the_generation_is_of_what_somebody_chose)
{
    g_autoptr(xmlDoc) kept = build(&qemu, everything);
    g_autoptr(xmlDoc) run = again(kept);
    guint64 stopped = vmhi_domain_generation(kept, NULL);

    ck_assert_uint_eq(vmhi_domain_generation(kept, run), stopped);
    change(run, "@id", "7");
    change(run, "currentMemory", "1234"); /* the balloon */
    change(run, "devices/disk/backingStore", "");
    change(run, "devices/interface/target@dev", "vnet0");
    change(run, "devices/rng/alias@name", "rng0");
    change(run, "clock@adjustment", "17");
    change(run, "devices/serial/source@path", "/dev/pts/9");
    ck_assert_uint_eq(vmhi_domain_generation(kept, run), stopped);

    change(run, "vcpu@current", "3");
    ck_assert_uint_ne(vmhi_domain_generation(kept, run), stopped);
    change(run, "vcpu@current", "2");
    ck_assert_uint_eq(vmhi_domain_generation(kept, run), stopped);
    change(run, "devices/disk/source@file", "/other");
    ck_assert_uint_ne(vmhi_domain_generation(kept, run), stopped);
    change(kept, "title", "other");
    ck_assert_uint_ne(vmhi_domain_generation(kept, NULL), stopped);
    ck_assert_uint_lt(stopped, G_GUINT64_CONSTANT(1) << 53);
    ck_assert_uint_ne(vmhi_domain_generation(NULL, run), 0);
}
END_TEST

UNIT_RUN("domain", every_property_has_a_row_and_a_sample, each_property_alone_is_written_valid_and_read_back,
         all_properties_together_are_written_valid_and_read_back, virt_xml_validate_agrees,
         a_description_makes_the_same_vm, applying_a_description_changes_nothing, what_is_not_modelled_is_kept,
         a_windows_desktop_is_read, other_hypervisors_are_read, odd_documents_are_read_and_survive_a_change,
         a_document_may_lack_anything, hostile_text_is_only_text, an_empty_text_takes_away,
         the_generation_is_of_what_somebody_chose)
