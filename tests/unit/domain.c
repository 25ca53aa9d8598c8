/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of domain XML share: hosts that need not be there, specs and documents, and libvirt's schema. */
#include "domain.h"

#include <libxml/relaxng.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>

#define SCHEMA "/usr/share/libvirt/schemas/domain.rng"

const vmhi_platform qemu = {.type = "QEMU",
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

const vmhi_platform test_driver = {.type = "TEST", .arch = "i686", .domain_type = "test"};
const vmhi_platform xen = {.type = "Xen", .arch = "x86_64", .domain_type = "xen"};

const char everything[] =
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

/* --- specs and documents --- */

void set(vmh_spec *spec, const char *path, const char *value)
{
    vmh_error *error = NULL;

    vmh_spec_set(spec, path, value, &error);
    assert_no_error(error);
}

/* "path=value;…" */
void set_all(vmh_spec *spec, const char *list)
{
    g_auto(GStrv) settings = g_strsplit(list ? list : "", ";", -1);

    for (char **setting = settings; *setting; setting++) {
        char *value = strchr(*setting, '=');

        ck_assert_ptr_nonnull(value);
        *value++ = '\0';
        set(spec, *setting, value);
    }
}

vmh_spec *spec_of(const char *list)
{
    vmh_spec *spec = vmh_spec_new("vm", NULL);

    set_all(spec, list);
    return spec;
}

xmlDoc *try_build(const vmhi_platform *platform, const vmh_spec *spec, vmh_error **error)
{
    g_autoptr(xmlDoc) doc = vmhi_domain_skeleton(platform, spec, error);

    return doc && vmhi_domain_apply(doc, platform, spec, error) ? g_steal_pointer(&doc) : NULL;
}

xmlDoc *build(const vmhi_platform *platform, const char *list)
{
    g_autoptr(vmh_spec) spec = spec_of(list);
    vmh_error *error = NULL;
    xmlDoc    *doc = try_build(platform, spec, &error);

    assert_no_error(error);
    return doc;
}

xmlDoc *parse(const char *xml)
{
    vmh_error *error = NULL;
    xmlDoc    *doc = vmhi_domain_parse(xml, &error);

    assert_no_error(error);
    return doc;
}

/* Through text, as it goes through libvirt. */
xmlDoc *again(xmlDoc *doc)
{
    g_autofree char *text = vmhi_domain_text(doc);

    return parse(text);
}

xmlDoc *fixture(const char *name)
{
    g_autofree char *path = g_build_filename(g_getenv("UNIT_DATA"), name, NULL);
    g_autofree char *text = NULL;

    ck_assert_msg(g_file_get_contents(path, &text, NULL, NULL), "%s is missing", path);
    return parse(text);
}

char *value_of(const vmh_spec *spec, const char *path)
{
    return vmh_spec_get_text_dup(spec, path, NULL);
}

/* The number that an XPath expression counts. */
int count(xmlDoc *doc, const char *expression)
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
void assert_valid(xmlDoc *doc, const char *what)
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
