/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What domain XML or a host cannot have is refused with its property, by us or by libvirt's word. */
#include "domain.h"

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
    {"boot.kernel=/k;boot.format=flat", &qemu, VMH_ERR_UNSUPPORTED, "boot.format", "flat binaries"},
    {"boot.kernel=/k;boot.mode=real", &qemu, VMH_ERR_UNSUPPORTED, "boot.mode", "flat binaries"},
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
    {"nic.x.user=yes;nic.x.queues=2", &qemu, VMH_ERR_UNSUPPORTED, "nic.x.queues", "user space"},
    {"nic.x.network=n;nic.x.model=e1000;nic.x.queues=2", &qemu, VMH_ERR_UNSUPPORTED, "nic.x.queues", "virtio"},
    {"disk.x.path=/x;disk.x.bus=sata;disk.x.queues=2", &qemu, VMH_ERR_UNSUPPORTED, "disk.x.queues", "virtio"},
    {"disk.x.path=/x;disk.x.queues=2", &xen, VMH_ERR_UNSUPPORTED, "disk.x.queues", "QEMU"},
    {"nic.x.network=n;nic.x.queues=2", &xen, VMH_ERR_UNSUPPORTED, "nic.x.queues", "QEMU"},
    {"nic.x.network=n;nic.x.address=10.0.0.1", &qemu, VMH_ERR_UNSUPPORTED, "nic.x.address", "network"},
    {"disk.x.path=/x;disk.x.bus=ide", &qemu, VMH_ERR_UNSUPPORTED, "disk.x.bus", "q35 has no IDE"},
    {"disk.x.path=/x;disk.x.bus=ide;machine=pc-q35-7.2", &qemu, VMH_ERR_UNSUPPORTED, "disk.x.bus", "sata"},
    {"disk.x.media=cdrom;disk.x.target=hda", &qemu, VMH_ERR_UNSUPPORTED, "disk.x.bus", "IDE"},
    {"memory.shared=yes;share.x.path=/x;share.x.readonly=yes", &qemu, VMH_ERR_UNSUPPORTED, "share.x.readonly",
     "read-only on the host"},
    {"accelerator=kvm", &test_driver, VMH_ERR_UNSUPPORTED, "accelerator", "leave it at auto"},
    {"share.x.path=/x", &qemu, VMH_ERR_VALUE, "share.x.path", "memory.shared"},
    {"debug.exit=244", &qemu, VMH_ERR_UNSUPPORTED, "debug.exit", "built-in engine"},
    {"debug.console=/x", &test_driver, VMH_ERR_UNSUPPORTED, "debug.console", "built-in engine"},
    {"module.x.path=/x", &qemu, VMH_ERR_UNSUPPORTED, "module.x.path", "multiboot"},
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

UNIT_RUN("domain-refusal", what_cannot_be_is_refused_with_its_property, a_message_of_libvirt_names_its_property,
         what_a_hypervisor_misses_is_not_found, a_session_says_what_it_may_not,
         a_host_says_what_it_leaves_no_choice_of, an_older_machine_has_ide,
         what_a_host_lacks_is_refused_only_when_asked_for)
