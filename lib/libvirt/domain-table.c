/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one table that says where each property of a VM stands in libvirt's domain XML, how it is read and
 * written, and which hosts cannot have it. Rows are applied in this order.
 */
#include "libvirt/domain-map.h"

/* --- obstacles: why a kind of host cannot have a property --- */

static gboolean is_qemu(const vmhi_platform *platform)
{
    /* libvirt's test driver keeps whatever it is given, as a stand-in for any other. */
    return vmhi_domain_is(platform, "QEMU") || vmhi_domain_is(platform, "TEST");
}

static const char *not_qemu(const vmhi_platform *platform)
{
    return is_qemu(platform) ? NULL : "libvirt has this for QEMU only";
}

static const char *no_cgroups(const vmhi_platform *platform)
{
    if (platform->session)
        return "an unprivileged libvirt (a session) may not use control groups; open qemu:///system";
    return not_qemu(platform);
}

static const char *no_debug_ports(const vmhi_platform *platform)
{
    (void)platform;
    return "only the built-in engine, kvm:///, has ports for test kernels";
}

static const char *no_modules(const vmhi_platform *platform)
{
    (void)platform;
    return "only the built-in engine, kvm:///, boots a multiboot kernel with modules";
}

static const char *no_descriptors(const vmhi_platform *platform)
{
    (void)platform;
    return "libvirt takes no descriptor for a NIC; name a device of the host by nic.<id>.tap";
}

static const char *no_bridges(const vmhi_platform *platform)
{
    return platform->session ? "an unprivileged libvirt (a session) may not plug NICs into the host's networks; use "
                               "nic.<id>.user, or open qemu:///system"
                             : NULL;
}

static const char *no_nic_queues(const vmhi_platform *platform)
{
    return platform->session ? no_bridges(platform) : not_qemu(platform);
}

static const char *no_uefi(const vmhi_platform *platform)
{
    if (vmhi_domain_is(platform, "QEMU") && !platform->uefi)
        return "the host has no UEFI firmware that libvirt knows; install one, such as OVMF";
    return not_qemu(platform);
}

static const char *no_tpm(const vmhi_platform *platform)
{
    if (vmhi_domain_is(platform, "QEMU") && !platform->tpm)
        return "the host's QEMU or libvirt has no emulated TPM; install swtpm";
    return not_qemu(platform);
}

static const char *no_choice(const vmhi_platform *platform)
{
    return vmhi_domain_is(platform, "QEMU") ? NULL : "the hypervisor has one of its own; leave it at auto";
}

static const char *no_shares(const vmhi_platform *platform)
{
    if (vmhi_domain_is(platform, "QEMU") && platform->session)
        return "an unprivileged libvirt (a session) has no virtiofs; open qemu:///system";
    if (vmhi_domain_is(platform, "QEMU") && !platform->virtiofs)
        return "the host's QEMU has no virtiofs";
    return not_qemu(platform);
}

static const char *no_readonly_shares(const vmhi_platform *platform)
{
    if (vmhi_domain_is(platform, "QEMU") && !no_shares(platform))
        return "libvirt's virtiofs is never read-only; share a directory that is read-only on the host";
    return no_shares(platform);
}

static const char *no_vsock(const vmhi_platform *platform)
{
    if (vmhi_domain_is(platform, "QEMU") && !platform->vsock)
        return "the host's QEMU has no vsock device";
    return not_qemu(platform);
}

static const char *no_rng(const vmhi_platform *platform)
{
    if (vmhi_domain_is(platform, "QEMU") && !platform->rng)
        return "the host's QEMU has no random number device";
    return not_qemu(platform);
}

static const char *no_labels(const vmhi_platform *platform)
{
    return platform->security_model ? NULL : "the host confines by no labels: it has neither AppArmor nor SELinux";
}

static const char *on_vsphere(const vmhi_platform *platform)
{
    return vmhi_domain_is(platform, "ESX") ? "libvirt does not keep this on vSphere" : NULL;
}

static const char *address(const vmhi_platform *platform)
{
    (void)platform;
    return "the address belongs to the network's own configuration, which libvmhost does not change; reserve it "
           "there";
}

static const char *flat(const vmhi_platform *platform)
{
    (void)platform;
    return "libvirt's hypervisors find out themselves what a kernel is, and boot no flat binaries";
}

#define TEXT vmhi_read_text, vmhi_write_text
#define WORDS vmhi_read_words, vmhi_write_words
#define NUMBER vmhi_read_number, vmhi_write_number
#define MEMORY vmhi_read_memory, vmhi_write_memory
#define PRESENCE vmhi_read_presence, vmhi_write_presence
#define OWN(name) vmhi_read_##name, vmhi_write_##name

#define ACTIONS "stop=destroy,restart=restart"
#define CACHES                                                                                                       \
    "default=,default=default,none=none,writethrough=writethrough,writeback=writeback,directsync=directsync,unsafe=" \
    "unsafe"

/* What the bandwidth of a NIC counts in: tc's "kbps" are thousands, its "kb" are not. */
enum { RATE_UNIT = 1000, BURST_UNIT = 1024 };

const vmhi_domain_row vmhi_domain_rows[] = {
    {"name", "name", TEXT, NULL, NULL, 0},
    {"uuid", "uuid", TEXT, NULL, NULL, 0},
    {"title", "title", TEXT, on_vsphere, NULL, 0},
    {"description", "description", TEXT, NULL, NULL, 0},
    {"metadata.<id>", "metadata", OWN(metadata), on_vsphere, NULL, 0},

    {"arch", "os/type@arch", TEXT, NULL, NULL, 0},
    {"machine", "os/type@machine", TEXT, NULL, NULL, 0},
    {"accelerator", "@type", OWN(accelerator), no_choice, NULL, 0},
    {"boot.kernel", "os/kernel", TEXT, on_vsphere, NULL, 0},
    {"boot.initrd", "os/initrd", TEXT, on_vsphere, NULL, 0},
    {"boot.cmdline", "os/cmdline", TEXT, on_vsphere, NULL, 0},
    {"boot.format", NULL, NULL, NULL, flat, NULL, 0},
    {"boot.address", NULL, NULL, NULL, flat, NULL, 0},
    {"boot.mode", NULL, NULL, NULL, flat, NULL, 0},
    {"module.<id>.path", NULL, NULL, NULL, no_modules, NULL, 0},
    {"module.<id>.cmdline", NULL, NULL, NULL, no_modules, NULL, 0},
    {"boot.firmware", "os@firmware", OWN(firmware), no_uefi, NULL, 0},
    {"boot.order", "devices/*/boot@order", OWN(boot_order), not_qemu, NULL, 0},

    {"cpu.count", "vcpu@current", OWN(cpu_count), NULL, NULL, 0},
    {"cpu.max", "vcpu", OWN(cpu_max), NULL, NULL, 0},
    {"cpu.model", "cpu/model", OWN(cpu_model), not_qemu, NULL, 0},
    {"cpu.sockets", "cpu/topology@sockets", vmhi_read_number, vmhi_write_topology, NULL, NULL, 0},
    {"cpu.cores", "cpu/topology@cores", vmhi_read_number, vmhi_write_topology, NULL, NULL, 0},
    {"cpu.threads", "cpu/topology@threads", vmhi_read_number, vmhi_write_topology, NULL, NULL, 0},
    {"cpu.weight", "cputune/shares", NUMBER, no_cgroups, NULL, 0},
    {"cpu.limit", "cputune/global_quota", OWN(cpu_limit), no_cgroups, NULL, 0},
    {"cpu.pin.<n>", "cputune/vcpupin", OWN(cpu_pin), NULL, NULL, 0},
    {"numa.nodes", "numatune/memory@nodeset", vmhi_read_text, vmhi_write_numa, no_cgroups, NULL, 0},
    {"numa.mode", "numatune/memory@mode", WORDS, no_cgroups,
     "strict=strict,preferred=preferred,interleave=interleave", 0},

    {"memory.size", "currentMemory", MEMORY, NULL, NULL, 0},
    {"memory.max", "memory", MEMORY, NULL, NULL, 0},
    {"memory.limit", "memtune/hard_limit", MEMORY, no_cgroups, NULL, 0},
    {"memory.hugepages", "memoryBacking/hugepages", PRESENCE, not_qemu, NULL, 0},
    {"memory.shared", "memoryBacking/access@mode", vmhi_read_words, vmhi_write_memory_shared, not_qemu,
     "yes=shared,no=private,no=", 0},

    {"disk.<id>.path", "source@file", OWN(disk_path), NULL, NULL, 0},
    {"disk.<id>.volume", "source@volume", OWN(disk_volume), NULL, NULL, 0},
    {"disk.<id>.url", "source@name", OWN(disk_url), NULL, NULL, 0},
    {"disk.<id>.format", "driver@type", vmhi_read_words, vmhi_write_disk_format, NULL,
     "raw=raw,qcow2=qcow2,vmdk=vmdk,vdi=vdi", 0},
    {"disk.<id>.media", "@device", WORDS, NULL, "disk=disk,cdrom=cdrom,disk=,disk=lun", 0},
    {"disk.<id>.readonly", "readonly", PRESENCE, NULL, NULL, 0},
    {"disk.<id>.bus", "target@bus", vmhi_read_text, vmhi_write_disk_bus, NULL, NULL, 0},
    {"disk.<id>.target", "target@dev", TEXT, NULL, NULL, 0},
    {"disk.<id>.cache", "driver@cache", WORDS, not_qemu, CACHES, 0},
    {"disk.<id>.serial", "serial", TEXT, not_qemu, NULL, 0},
    {"disk.<id>.discard", "driver@discard", WORDS, NULL, "yes=unmap,no=,no=ignore", 0},
    {"disk.<id>.queues", "driver@queues", NUMBER, not_qemu, NULL, 0},
    {"disk.<id>.iops.total", "iotune/total_iops_sec", NUMBER, not_qemu, NULL, 0},
    {"disk.<id>.iops.read", "iotune/read_iops_sec", NUMBER, not_qemu, NULL, 0},
    {"disk.<id>.iops.write", "iotune/write_iops_sec", NUMBER, not_qemu, NULL, 0},
    {"disk.<id>.bandwidth.total", "iotune/total_bytes_sec", NUMBER, not_qemu, NULL, 0},
    {"disk.<id>.bandwidth.read", "iotune/read_bytes_sec", NUMBER, not_qemu, NULL, 0},
    {"disk.<id>.bandwidth.write", "iotune/write_bytes_sec", NUMBER, not_qemu, NULL, 0},

    {"nic.<id>.user", "@type", OWN(nic_user), not_qemu, NULL, 0},
    {"nic.<id>.network", "source@network", OWN(nic_source), no_bridges, NULL, 0},
    {"nic.<id>.bridge", "source@bridge", OWN(nic_source), no_bridges, NULL, 0},
    {"nic.<id>.tap", "target@dev", OWN(nic_tap), not_qemu, NULL, 0},
    {"nic.<id>.fd", NULL, NULL, NULL, no_descriptors, NULL, 0},
    {"nic.<id>.mac", "mac@address", TEXT, NULL, NULL, 0},
    {"nic.<id>.model", "model@type", TEXT, NULL, NULL, 0},
    {"nic.<id>.address", NULL, NULL, NULL, address, NULL, 0},
    {"nic.<id>.filter", "filterref@filter", vmhi_read_text, vmhi_write_nic_filter, no_bridges, NULL, 0},
    {"nic.<id>.isolated", "port@isolated", WORDS, no_bridges, "yes=yes,no=,no=no", 0},
    {"nic.<id>.vlan", "vlan/tag@id", NUMBER, no_bridges, NULL, 0},
    {"nic.<id>.queues", "driver@queues", vmhi_read_number, vmhi_write_nic_queues, no_nic_queues, NULL, 0},
    {"nic.<id>.link", "link@state", WORDS, not_qemu, "yes=up,no=down,yes=", 0},
    {"nic.<id>.inbound.rate", "bandwidth/inbound@average", NUMBER, no_bridges, NULL, RATE_UNIT},
    {"nic.<id>.inbound.burst", "bandwidth/inbound@burst", NUMBER, no_bridges, NULL, BURST_UNIT},
    {"nic.<id>.outbound.rate", "bandwidth/outbound@average", NUMBER, no_bridges, NULL, RATE_UNIT},
    {"nic.<id>.outbound.burst", "bandwidth/outbound@burst", NUMBER, no_bridges, NULL, BURST_UNIT},

    {"console.<id>.to", "source", OWN(console), on_vsphere, NULL, 0},
    {"console.<id>.type", "target@type", OWN(console_type), not_qemu, NULL, 0},
    {"share.<id>.path", "source@dir", TEXT, no_shares, NULL, 0},
    {"share.<id>.readonly", "readonly", PRESENCE, no_readonly_shares, NULL, 0},
    {"rng", "devices/rng", vmhi_read_presence, vmhi_write_rng, no_rng, NULL, 0},
    {"debug.console", NULL, NULL, NULL, no_debug_ports, NULL, 0},
    {"debug.exit", NULL, NULL, NULL, no_debug_ports, NULL, 0},
    {"vsock.cid", "devices/vsock/cid@address", vmhi_read_number, vmhi_write_vsock, no_vsock, NULL, 0},
    {"balloon", "devices/memballoon@model", vmhi_read_words, vmhi_write_balloon, on_vsphere,
     "yes=virtio,yes=virtio-transitional,yes=virtio-non-transitional,yes=xen,no=none", 0},
    {"watchdog", "devices/watchdog@action", vmhi_read_words, vmhi_write_watchdog, not_qemu,
     "none=,none=none,reset=reset,poweroff=poweroff,pause=pause", 0},
    {"tpm", "devices/tpm", OWN(tpm), no_tpm, NULL, 0},
    {"security.label", "seclabel", OWN(security_label), no_labels, NULL, 0},
    {"on.crash", "on_crash", WORDS, NULL,
     ACTIONS ",keep=preserve,stop=coredump-destroy,restart=coredump-restart,restart=rename-restart", 0},
    {"on.shutdown", "on_poweroff", WORDS, NULL, ACTIONS ",restart=rename-restart", 0},
    {"on.reboot", "on_reboot", WORDS, NULL, ACTIONS ",restart=rename-restart", 0},
};

const gsize vmhi_domain_row_count = G_N_ELEMENTS(vmhi_domain_rows);
