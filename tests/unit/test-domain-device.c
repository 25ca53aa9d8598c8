/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices in domain XML: what the user calls them is kept, and each finds its place. */
#include "domain.h"

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

START_TEST(a_console_is_a_serial_port_or_a_virtio_device)
{
    g_autoptr(xmlDoc) doc = build(&qemu, "name=a;memory.size=64MiB;console.a.to=pty;console.b.to=file:/b;"
                                         "console.b.type=virtio;console.c.type=serial;console.c.to=pty");
    g_autoptr(vmh_spec) spec = vmhi_domain_read(doc);
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    g_autoptr(vmh_spec) after = NULL;
    vmh_error *error = NULL;

    assert_count(doc, "/domain/devices/serial", 2);
    assert_count(doc, "/domain/devices/console[@type='file'][target/@type='virtio']", 1);
    assert_value(spec, "console.a.type", "serial");
    assert_value(spec, "console.b.type", "virtio");
    assert_value(spec, "console.b.to", "file:/b");
    set_all(change, "console.a.type=virtio;console.b.type=serial");
    ck_assert(vmhi_domain_apply(doc, &qemu, change, &error));
    after = vmhi_domain_read(doc);
    assert_value(after, "console.a.type", "virtio");
    assert_value(after, "console.a.to", "pty");
    assert_value(after, "console.b.type", "serial");
    assert_value(after, "console.b.to", "file:/b");
    assert_count(doc, "/domain/devices/serial/target[@port='2']", 1);
}
END_TEST

START_TEST(consoles_of_others_have_no_type)
{
    g_autoptr(xmlDoc) doc = build(&xen, "name=a;memory.size=64MiB;console.a.to=pty");
    g_autoptr(vmh_spec) spec = vmhi_domain_read(doc);
    g_autoptr(vmh_spec) change = vmh_spec_new("vm", NULL);
    vmh_error *error = NULL;

    assert_value(spec, "console.a.type", NULL);
    set(change, "console.a.type", "virtio");
    ck_assert(!vmhi_domain_apply(doc, &xen, change, &error));
    assert_error(error, VMH_ERR_UNSUPPORTED, "console.a.type");
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

START_TEST(one_queue_of_a_nic_is_not_said)
{
    g_autoptr(xmlDoc) doc =
        build(&qemu, "name=a;memory.size=64MiB;nic.x.network=n;nic.x.queues=4;disk.r.path=/d;disk.r.queues=1");
    g_autoptr(vmh_spec) change = spec_of("nic.x.queues=1");

    assert_count(doc, "//interface/driver[@queues='4']", 1);
    assert_count(doc, "//disk/driver[@queues='1']", 1);
    ck_assert(vmhi_domain_apply(doc, &qemu, change, NULL));
    assert_count(doc, "//interface/driver[@queues]", 0);
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

UNIT_RUN("domain-device", names_are_kept_where_aliases_are_and_where_not, one_name_for_devices_of_several_classes,
         a_console_is_a_serial_port_or_a_virtio_device, consoles_of_others_have_no_type,
         an_alias_alone_tells_the_device, targets_are_chosen_and_the_first_to_boot_comes_first,
         a_name_survives_another_bus, one_queue_of_a_nic_is_not_said, many_disks, a_device_is_removed_and_its_name_forgotten)
