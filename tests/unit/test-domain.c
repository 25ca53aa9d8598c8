/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain XML and specs: what is written is libvirt's own schema, is read back, and leaves the rest alone. */
#include "libvirt/domain-map.h"
#include "unit.h"

#include <glib/gstdio.h>
#include <libxml/relaxng.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>

#define SCHEMA "/usr/share/libvirt/schemas/domain.rng"

static const vmhi_platform qemu = {.type = "QEMU",
                                   .arch = "x86_64",
                                   .domain_type = "qemu",
                                   .accelerator = "none",
                                   .reason = "there is no /dev/kvm",
                                   .machine = "q35",
                                   .security_model = "apparmor",
                                   .uefi = TRUE,
                                   .tpm = TRUE,
                                   .virtiofs = TRUE,
                                   .vsock = TRUE,
                                   .rng = TRUE};

static const vmhi_platform test_driver = {.type = "TEST", .arch = "i686", .domain_type = "test"};
static const vmhi_platform xen = {.type = "Xen", .arch = "x86_64", .domain_type = "xen"};

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
    {"nic.<id>.link", "no", "nic.x.user=yes"},
    {"nic.<id>.inbound.rate", "10Mbit/s", "nic.x.network=n"},
    {"nic.<id>.inbound.burst", "1MiB", "nic.x.network=n;nic.x.inbound.rate=1MB/s"},
    {"nic.<id>.outbound.rate", "10Mbit/s", "nic.x.network=n"},
    {"nic.<id>.outbound.burst", "1MiB", "nic.x.network=n;nic.x.outbound.rate=1MB/s"},
    {"console.<id>.to", "unix:/run/x.sock", NULL},
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

static void set(vmh_spec *spec, const char *path, const char *value)
{
    vmh_error *error = NULL;

    vmh_spec_set(spec, path, value, &error);
    assert_no_error(error);
}

/* "path=value;…" */
static void set_all(vmh_spec *spec, const char *list)
{
    g_auto(GStrv) settings = g_strsplit(list ? list : "", ";", -1);

    for (char **setting = settings; *setting; setting++) {
        char *value = strchr(*setting, '=');

        ck_assert_ptr_nonnull(value);
        *value++ = '\0';
        set(spec, *setting, value);
    }
}

static vmh_spec *spec_of(const char *list)
{
    vmh_spec *spec = vmh_spec_new("vm", NULL);

    set_all(spec, list);
    return spec;
}

static xmlDoc *try_build(const vmhi_platform *platform, const vmh_spec *spec, vmh_error **error)
{
    g_autoptr(xmlDoc) doc = vmhi_domain_skeleton(platform, spec, error);

    return doc && vmhi_domain_apply(doc, platform, spec, error) ? g_steal_pointer(&doc) : NULL;
}

static xmlDoc *build(const vmhi_platform *platform, const char *list)
{
    g_autoptr(vmh_spec) spec = spec_of(list);
    vmh_error *error = NULL;
    xmlDoc    *doc = try_build(platform, spec, &error);

    assert_no_error(error);
    return doc;
}

static xmlDoc *parse(const char *xml)
{
    vmh_error *error = NULL;
    xmlDoc    *doc = vmhi_domain_parse(xml, &error);

    assert_no_error(error);
    return doc;
}

/* Through text, as it goes through libvirt. */
static xmlDoc *again(xmlDoc *doc)
{
    g_autofree char *text = vmhi_domain_text(doc);

    return parse(text);
}

static xmlDoc *fixture(const char *name)
{
    g_autofree char *path = g_build_filename(g_getenv("UNIT_DATA"), name, NULL);
    g_autofree char *text = NULL;

    ck_assert_msg(g_file_get_contents(path, &text, NULL, NULL), "%s is missing", path);
    return parse(text);
}

static char *value_of(const vmh_spec *spec, const char *path)
{
    return vmh_spec_get_text_dup(spec, path, NULL);
}

#define assert_value(spec, path, expected)                                                                           \
    do {                                                                                                             \
        g_autofree char *value_ = value_of(spec, path);                                                              \
        ck_assert_msg(g_strcmp0(value_, expected) == 0, "%s is %s, expected %s", path, value_ ? value_ : "not set",  \
                      (const char *)(expected) ? (const char *)(expected) : "not set");                              \
    } while (0)

/* The number that an XPath expression counts. */
static int count(xmlDoc *doc, const char *expression)
{
    xmlXPathContext *context = xmlXPathNewContext(doc);
    xmlXPathObject  *object;
    int              number;

    xmlXPathRegisterNs(context, BAD_CAST "qemu", BAD_CAST "http://libvirt.org/schemas/domain/qemu/1.0");
    object = xmlXPathEvalExpression(BAD_CAST expression, context);
    ck_assert_msg(object != NULL, "%s is no XPath", expression);
    number = object->nodesetval ? object->nodesetval->nodeNr : 0;
    xmlXPathFreeObject(object);
    xmlXPathFreeContext(context);
    return number;
}

#define assert_count(doc, expression, expected) ck_assert_int_eq(count(doc, expression), expected)

/* --- the schema --- */

static void collect(void *data, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_string_append_vprintf(data, format, arguments);
    va_end(arguments);
}

static xmlRelaxNG *libvirt_schema(void)
{
    static xmlRelaxNG    *schema;
    xmlRelaxNGParserCtxt *parser;

    if (schema || !g_file_test(SCHEMA, G_FILE_TEST_EXISTS))
        return schema;
    parser = xmlRelaxNGNewParserCtxt(SCHEMA);
    schema = xmlRelaxNGParse(parser);
    xmlRelaxNGFreeParserCtxt(parser);
    ck_assert_ptr_nonnull(schema);
    return schema;
}

/* libvirt's own schema, loaded once: what virt-xml-validate does for each file. */
static void assert_valid(xmlDoc *doc, const char *what)
{
    g_autoptr(GString) complaints = g_string_new(NULL);
    g_autofree char     *text = vmhi_domain_text(doc);
    xmlRelaxNGValidCtxt *context;

    if (!libvirt_schema())
        return;
    context = xmlRelaxNGNewValidCtxt(libvirt_schema());
    xmlRelaxNGSetValidErrors(context, collect, collect, complaints);
    ck_assert_msg(xmlRelaxNGValidateDoc(context, doc) == 0, "%s: %s in %s", what, complaints->str, text);
    xmlRelaxNGFreeValidCtxt(context);
}

/* --- the tests --- */

static const char *sample_of(const char *pattern)
{
    for (gsize i = 0; i < G_N_ELEMENTS(samples); i++)
        if (g_str_equal(samples[i].pattern, pattern))
            return samples[i].value;
    return NULL;
}

START_TEST(every_property_has_a_row_and_a_sample)
{
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
        if (!g_strv_contains(elsewhere, pattern) && !g_str_equal(pattern, "nic.<id>.address"))
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

static const char everything[] =
    "name=all;uuid=c7a5fdbd-edaf-9455-926a-d65c16db1809;title=T;description=D;metadata.a=1;metadata.b=2;"
    "accelerator=tcg;machine=q35;boot.kernel=/k;boot.initrd=/i;boot.cmdline=quiet;boot.firmware=uefi;"
    "boot.order=root,lan;cpu.count=2;cpu.max=8;cpu.model=max;cpu.sockets=2;cpu.cores=2;cpu.threads=2;cpu.weight=50;"
    "cpu.limit=0.25;cpu.pin.0=0;cpu.pin.7=1;numa.nodes=0-1;numa.mode=interleave;memory.size=1GiB;memory.max=2GiB;"
    "memory.limit=3GiB;memory.hugepages=yes;memory.shared=yes;disk.root.path=/var/x.qcow2;disk.root.format=qcow2;"
    "disk.root.cache=none;disk.root.serial=S1;disk.root.discard=yes;disk.root.iops.read=10;disk.root.iops.write=20;"
    "disk.root.bandwidth.total=1MiB/s;disk.cd.media=cdrom;disk.cd.path=/x.iso;disk.block.path=/dev/vg/x;"
    "disk.net.url=https://example.org/a/b.img?c=d;disk.vol.volume=p/v;disk.usb.path=/u;disk.usb.bus=usb;"
    "disk.scsi.path=/s;disk.scsi.bus=scsi;nic.lan.network=default;nic.lan.filter=clean-traffic;nic.lan.isolated=yes;"
    "nic.lan.inbound.rate=1MB/s;nic.lan.inbound.burst=2MiB;nic.lan.outbound.rate=3MB/s;nic.dmz.bridge=br0;"
    "nic.dmz.vlan=7;nic.dmz.link=no;nic.out.user=yes;nic.out.model=e1000;nic.raw.tap=tap0;"
    "nic.raw.mac=52:54:00:00:00:07;console.main.to=pty;console.then.to=file:/var/log/x;rng=yes;vsock.cid=9;"
    "share.data.path=/srv;balloon=yes;watchdog=reset;tpm=yes;security.label=L;on.crash=keep;"
    "on.shutdown=restart;on.reboot=stop";

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

/* --- names of devices --- */

START_TEST(names_are_kept_where_aliases_are_and_where_not)
{
    static const char *const list = "name=a;memory.size=64MiB;disk.root.path=/a;disk.vda.path=/b;nic.lan.network=n;"
                                    "console.c.to=pty;disk.data.path=/c";
    const vmhi_platform     *platforms[] = {&qemu, &test_driver, &xen};

    for (gsize i = 0; i < G_N_ELEMENTS(platforms); i++) {
        g_autoptr(xmlDoc) doc = build(platforms[i], list);
        g_autoptr(xmlDoc) reread = again(doc);
        g_autoptr(vmh_spec) spec = NULL;

        if (platforms[i] == &xen) /* which forgets every alias */
            for (xmlNode *node = vmhi_domain_devices(reread); node; node = xmlNextElementSibling(node))
                vmhi_xml_set(node, "alias", NULL);
        spec = vmhi_domain_read(reread);
        assert_value(spec, "disk.root.path", "/a");
        assert_value(spec, "disk.vda.path", "/b");
        assert_value(spec, "disk.data.path", "/c");
        assert_value(spec, "nic.lan.network", "n");
        assert_value(spec, "console.c.to", "pty");
    }
}
END_TEST

START_TEST(one_name_for_devices_of_several_classes)
{
    g_autoptr(xmlDoc) doc =
        build(&qemu, "name=a;memory.size=64MiB;memory.shared=yes;disk.data.path=/a;nic.data.user=yes;"
                     "share.data.path=/c;console.data.to=pty");

    assert_count(doc, "//alias[not(@name = preceding::alias/@name)]", 4);
}
END_TEST

START_TEST(an_alias_alone_tells_the_device)
{
    static const char *const expected[][2] = {{"ua-disk-root", "disk.root"},
                                              {"ua-nic-a-b", "nic.a-b"},
                                              {"ua-other", "ua-other"},
                                              {"virtio-disk0", "virtio-disk0"}};

    for (gsize i = 0; i < G_N_ELEMENTS(expected); i++) {
        g_autofree char *path = vmhi_domain_alias_path(expected[i][0]);

        ck_assert_str_eq(path, expected[i][1]);
    }
}
END_TEST

START_TEST(targets_are_chosen_and_the_first_to_boot_comes_first)
{
    g_autoptr(xmlDoc) doc = build(&qemu, "name=a;memory.size=64MiB;disk.a.path=/a;disk.b.path=/b;disk.c.path=/c;"
                                         "disk.c.target=vda;disk.cd.media=cdrom;boot.order=b");
    g_autoptr(vmh_spec) spec = vmhi_domain_read(doc);

    assert_value(spec, "disk.c.target", "vda");
    assert_value(spec, "disk.b.target", "vdb");
    assert_value(spec, "disk.a.target", "vdc");
    assert_value(spec, "disk.cd.target", "sda");
    assert_value(spec, "disk.cd.bus", "sata");
}
END_TEST

START_TEST(a_name_survives_another_bus)
{
    g_autoptr(xmlDoc) doc = fixture("windows.xml");
    g_autoptr(vmh_spec) change = spec_of("disk.vdb.bus=sata");
    g_autoptr(vmh_spec) spec = NULL;

    ck_assert(vmhi_domain_apply(doc, &qemu, change, NULL));
    spec = vmhi_domain_read(doc);
    assert_value(spec, "disk.vdb.bus", "sata");
    assert_value(spec, "disk.vdb.target", "sdc");
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

START_TEST(many_disks)
{
    g_autoptr(vmh_spec) spec = spec_of("name=a;memory.size=64MiB");
    g_autoptr(xmlDoc) doc = NULL;
    vmh_error *error = NULL;

    for (int i = 0; i < 60; i++) {
        g_autofree char *path = g_strdup_printf("disk.d%02d.path", i);

        set(spec, path, "/d");
    }
    doc = try_build(&qemu, spec, &error);
    assert_no_error(error);
    assert_count(doc, "//disk/target[not(@dev = preceding::target/@dev)]", 60);
    assert_count(doc, "//disk/target[@dev='vdz' or @dev='vdaa' or @dev='vdbh']", 3);
}
END_TEST

START_TEST(a_device_is_removed_and_its_name_forgotten)
{
    g_autoptr(xmlDoc) doc = build(&xen, "name=a;memory.size=64MiB;disk.root.path=/a;disk.data.path=/b");
    g_autoptr(vmh_spec) change = spec_of("disk.data.present=no;disk.never.present=no");
    g_autoptr(vmh_spec) spec = NULL;

    ck_assert(vmhi_domain_apply(doc, &xen, change, NULL));
    spec = vmhi_domain_read(doc);
    assert_value(spec, "disk.root.path", "/a");
    assert_value(spec, "disk.data.path", NULL);
    assert_count(doc, "//disk", 1);
    assert_count(doc, "/domain/metadata/*/*", 1);
}
END_TEST

/* --- what cannot be --- */

static const struct {
    const char          *list;
    const vmhi_platform *platform;
    int32_t              code;
    const char          *property;
    const char          *part;
} refusals[] = {
    {"cpu.count=4;cpu.max=2", &qemu, VMH_ERR_VALUE, "cpu.count", "cpu.max of 2"},
    {"cpu.max=6;cpu.cores=4", &qemu, VMH_ERR_VALUE, "cpu.cores", "which is 6"},
    {"cpu.pin.2=0;cpu.count=2", &qemu, VMH_ERR_VALUE, "cpu.pin.2", "the last is 1"},
    {"cpu.model=host", &qemu, VMH_ERR_UNSUPPORTED, "cpu.model", "needs KVM"},
    {"accelerator=kvm", &qemu, VMH_ERR_UNSUPPORTED, "accelerator", "no /dev/kvm"},
    {"accelerator=tcg", &xen, VMH_ERR_UNSUPPORTED, "accelerator", "auto"},
    {"memory.size=2GiB;memory.max=1GiB", &qemu, VMH_ERR_VALUE, "memory.size", "memory.max"},
    {"memory.size=1GiB;memory.max=2GiB;balloon=no", &qemu, VMH_ERR_VALUE, "memory.size", "balloon"},
    {"numa.mode=preferred", &qemu, VMH_ERR_VALUE, "numa.mode", "numa.nodes"},
    {"boot.order=x", &qemu, VMH_ERR_NOT_FOUND, "boot.order", "\"x\""},
    {"boot.order=x,x;disk.x.path=/x", &qemu, VMH_ERR_VALUE, "boot.order", "twice"},
    {"disk.x.cache=none", &qemu, VMH_ERR_VALUE, "disk.x.path", "needs one of"},
    {"disk.x.path=/x;disk.x.volume=p/v", &qemu, VMH_ERR_VALUE, "disk.x.path", "one of"},
    {"disk.x.url=ftp://h/x", &qemu, VMH_ERR_VALUE, "disk.x.url", "nbd://"},
    {"disk.x.url=nbd:///x", &qemu, VMH_ERR_VALUE, "disk.x.url", "no host"},
    {"disk.x.url=https://me:secret@h/x", &qemu, VMH_ERR_VALUE, "disk.x.url", "password"},
    {"disk.x.path=/x;disk.x.format=vhdx", &qemu, VMH_ERR_UNSUPPORTED, "disk.x.format", "vhdx"},
    {"disk.x.path=/x;disk.y.path=/y;disk.x.target=vda;disk.y.target=vda", &qemu, VMH_ERR_EXISTS, "disk.x.target",
     "vda"},
    {"disk.x.path=/x;disk.x.iops.total=1;disk.x.iops.read=1", &qemu, VMH_ERR_VALUE, "disk.x.iops.total", "either"},
    {"nic.x.model=virtio", &qemu, VMH_ERR_VALUE, "nic.x.network", "one of"},
    {"nic.x.user=yes;nic.x.network=n", &qemu, VMH_ERR_VALUE, "nic.x.network", "one of"},
    {"nic.x.network=n;nic.x.inbound.burst=1MiB", &qemu, VMH_ERR_VALUE, "nic.x.inbound.burst", "inbound.rate"},
    {"nic.x.user=yes;nic.x.inbound.rate=1MB/s", &qemu, VMH_ERR_UNSUPPORTED, "nic.x.inbound.rate", "user space"},
    {"nic.x.network=n;nic.x.address=10.0.0.1", &qemu, VMH_ERR_UNSUPPORTED, "nic.x.address", "network"},
    {"disk.x.path=/x;disk.x.bus=ide", &qemu, VMH_ERR_UNSUPPORTED, "disk.x.bus", "q35 has no IDE"},
    {"disk.x.path=/x;disk.x.bus=ide;machine=pc-q35-7.2", &qemu, VMH_ERR_UNSUPPORTED, "disk.x.bus", "sata"},
    {"disk.x.media=cdrom;disk.x.target=hda", &qemu, VMH_ERR_UNSUPPORTED, "disk.x.bus", "IDE"},
    {"memory.shared=yes;share.x.path=/x;share.x.readonly=yes", &qemu, VMH_ERR_UNSUPPORTED, "share.x.readonly",
     "read-only on the host"},
    {"accelerator=kvm", &test_driver, VMH_ERR_UNSUPPORTED, "accelerator", "leave it at auto"},
    {"share.x.path=/x", &qemu, VMH_ERR_VALUE, "share.x.path", "memory.shared"},
    {"tpm=yes", &xen, VMH_ERR_UNSUPPORTED, "tpm", "QEMU"},
    {"security.label=x", &xen, VMH_ERR_UNSUPPORTED, "security.label", "AppArmor"},
};

START_TEST(what_cannot_be_is_refused_with_its_property)
{
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        g_autoptr(vmh_spec) spec = spec_of("name=a;memory.size=1GiB");
        g_autoptr(xmlDoc) doc = NULL;
        vmh_error *error = NULL;

        set_all(spec, refusals[i].list);
        doc = try_build(refusals[i].platform, spec, &error);
        ck_assert_msg(doc == NULL && error, "%s is not refused", refusals[i].list);
        ck_assert_msg(g_strcmp0(error->property, refusals[i].property) == 0, "%s: about %s", refusals[i].list,
                      error->property);
        assert_error(error, refusals[i].code, refusals[i].part);
    }
}
END_TEST

START_TEST(a_message_of_libvirt_names_its_property)
{
    g_autoptr(vmh_spec) spec = spec_of("name=a;disk.a.path=/x;disk.b.path=/x/y;nic.n.network=lan;cpu.model=Nonsense;"
                                       "disk.v.volume=pool/volume;console.c.to=file:/var/log/c;nic.t.tap=tap0");
    static const char *const expected[][2] = {{"Cannot access storage file '/x/y' (as uid:0)", "disk.b.path"},
                                              {"Could not open /x: Permission denied", "disk.a.path"},
                                              {"no network with matching name 'lan'", "nic.n.network"},
                                              {"Unknown CPU model Nonsense", "cpu.model"},
                                              {"no storage pool with matching name 'pool'", "disk.v.volume"},
                                              {"no storage vol with matching name 'volume'", "disk.v.volume"},
                                              {"Unable to open file: /var/log/c: No such file", "console.c.to"},
                                              {"target managed='no' but specified dev doesn't exist", "nic.t.tap"},
                                              {"a lan of no kind", NULL},
                                              {NULL, NULL}};

    for (gsize i = 0; i < G_N_ELEMENTS(expected); i++) {
        g_autofree char *path = vmhi_domain_blame(spec, expected[i][0]);

        ck_assert_pstr_eq(path, expected[i][1]);
    }
}
END_TEST

START_TEST(what_a_hypervisor_misses_is_not_found)
{
    static const struct {
        const char *message;
        int32_t     code;
    } cases[] = {{"could not open kernel file '/k': No such file or directory", VMH_ERR_NOT_FOUND},
                 {"'file' driver requires '/k' to be a regular file", VMH_ERR_VALUE},
                 {"/k: it broke", VMH_ERR_HYPERVISOR},
                 {"/other: No such file or directory", VMH_ERR_HYPERVISOR}};
    g_autoptr(vmh_spec) spec = spec_of("boot.kernel=/k");

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        vmh_error *error = NULL;

        vmhi_error_set(&error, VMH_ERR_HYPERVISOR, "%s", cases[i].message);
        vmhi_domain_explain(error, spec);
        ck_assert_pstr_eq(error->property, strstr(cases[i].message, "/k") ? "boot.kernel" : NULL);
        assert_error(error, cases[i].code, cases[i].message);
    }
}
END_TEST

START_TEST(a_session_says_what_it_may_not)
{
    static const char *const forbidden[] = {"cpu.weight", "memory.limit", "nic.<id>.bridge", "share.<id>.path",
                                            "nic.<id>.inbound.rate"};
    static const char *const allowed[] = {"cpu.count",       "nic.<id>.user", "disk.<id>.iops.total",
                                          "console.<id>.to", "state",         "autostart"};
    vmhi_platform            session = qemu;

    session.session = TRUE;
    for (gsize i = 0; i < G_N_ELEMENTS(forbidden); i++) {
        g_autofree char *reason = NULL;

        ck_assert(!vmhi_domain_supports(&session, forbidden[i], &reason));
        ck_assert_ptr_nonnull(strstr(reason, "qemu:///system"));
        ck_assert(vmhi_domain_supports(&qemu, forbidden[i], NULL));
    }
    for (gsize i = 0; i < G_N_ELEMENTS(allowed); i++)
        ck_assert(vmhi_domain_supports(&session, allowed[i], NULL));
}
END_TEST

START_TEST(a_host_says_what_it_leaves_no_choice_of)
{
    g_autofree char *accelerator = NULL, *share = NULL;
    g_autoptr(xmlDoc) doc =
        build(&test_driver, "name=a;memory.size=64MiB;memory.shared=yes;share.x.path=/x;share.x.readonly=yes");

    ck_assert(!vmhi_domain_supports(&test_driver, "accelerator", &accelerator));
    ck_assert_ptr_nonnull(strstr(accelerator, "auto"));
    ck_assert(vmhi_domain_supports(&qemu, "accelerator", NULL));
    ck_assert(!vmhi_domain_supports(&qemu, "share.<id>.readonly", &share));
    ck_assert_ptr_nonnull(strstr(share, "on the host"));
    ck_assert(vmhi_domain_supports(&test_driver, "share.<id>.readonly", NULL));
    assert_count(doc, "//filesystem/readonly", 1);
}
END_TEST

START_TEST(an_older_machine_has_ide)
{
    g_autoptr(xmlDoc) doc = build(&qemu, "name=a;memory.size=64MiB;machine=pc;disk.x.path=/x;disk.x.bus=ide");

    assert_count(doc, "//disk/target[@bus='ide' and @dev='hda']", 1);
}
END_TEST

START_TEST(what_a_host_lacks_is_refused_only_when_asked_for)
{
    g_autoptr(vmh_spec) spec = spec_of("name=a;memory.size=1GiB;tpm=no;rng=no;watchdog=none;boot.firmware=bios");
    vmhi_platform bare = {.type = "QEMU", .arch = "x86_64", .domain_type = "qemu"};
    vmh_error    *error = NULL;
    g_autoptr(xmlDoc) doc = try_build(&bare, spec, &error);

    assert_no_error(error);
    assert_count(doc, "//rng|//tpm|//watchdog", 0);
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
         a_document_may_lack_anything, hostile_text_is_only_text, names_are_kept_where_aliases_are_and_where_not,
         one_name_for_devices_of_several_classes, an_alias_alone_tells_the_device,
         targets_are_chosen_and_the_first_to_boot_comes_first, a_name_survives_another_bus, many_disks,
         an_empty_text_takes_away, a_device_is_removed_and_its_name_forgotten,
         what_cannot_be_is_refused_with_its_property, a_message_of_libvirt_names_its_property,
         what_a_hypervisor_misses_is_not_found, a_session_says_what_it_may_not,
         a_host_says_what_it_leaves_no_choice_of, an_older_machine_has_ide,
         what_a_host_lacks_is_refused_only_when_asked_for, the_generation_is_of_what_somebody_chose)
