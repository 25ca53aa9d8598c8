/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of the domain table about CPUs, and how count, maximum and topology hang together. */
#include "libvirt/domain-map.h"

#include <math.h>
#include <string.h>

enum { PERIOD_US = 100000 };

enum { FACTOR_LIMIT = 4096 }; /* no host has more of anything; and products of a few stay in 64 bits */

static guint64 number_or(xmlNode *domain, const char *place, guint64 fallback)
{
    guint64 number;

    return vmhi_xml_number(domain, place, &number) && number ? number : fallback;
}

static guint64 factor(xmlNode *domain, const char *place)
{
    return MIN(number_or(domain, place, 1), FACTOR_LIMIT);
}

void vmhi_read_cpu_max(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    guint64 max = number_or(cell->base, "vcpu", 0);

    if (max)
        vmhi_spec_put_u64(spec, cell->path, max);
}

void vmhi_read_cpu_count(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    guint64 count = number_or(cell->base, "vcpu@current", number_or(cell->base, "vcpu", 0));

    if (count)
        vmhi_spec_put_u64(spec, cell->path, count);
}

/* What the topology of a spec multiplies to, where one is given; what is left out counts once. */
static guint64 spec_topology(const vmh_spec *spec)
{
    static const char *const paths[] = {"cpu.sockets", "cpu.cores", "cpu.threads"};
    guint64                  product = 1;
    guint64                  number;

    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++)
        if (vmhi_spec_u64(spec, paths[i], &number))
            product *= number;
    return product;
}

/* Count and maximum are one element, so both rows do the same. */
gboolean vmhi_write_cpu_count(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    xmlNode *domain = cell->base;
    guint64  max = number_or(domain, "vcpu", 0);
    guint64  count = number_or(domain, "vcpu@current", max ? max : 1);

    vmhi_spec_u64(spec, "cpu.count", &count);
    if (!vmhi_spec_u64(spec, "cpu.max", &max) && !max)
        max = MAX(count, spec_topology(spec));
    if (count > max) {
        vmhi_error_set_property(error, VMH_ERR_VALUE, cell->path,
                                "%s: %" G_GUINT64_FORMAT " CPUs are more than the cpu.max of %" G_GUINT64_FORMAT
                                "; both can be set, cpu.max for the next start",
                                cell->path, count, max);
        return FALSE;
    }
    vmhi_xml_set_number(domain, "vcpu", max);
    vmhi_xml_set(domain, "vcpu@current", NULL);
    if (count < max)
        vmhi_xml_set_number(domain, "vcpu@current", count);
    vmhi_xml_set(domain, "vcpus", NULL); /* which of them are on: libvirt's choice for the new count */
    return TRUE;
}

gboolean vmhi_write_cpu_max(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    return vmhi_write_cpu_count(cell, spec, error);
}

/* What the spec leaves open of a topology is derived, so that it multiplies to the maximum. */
gboolean vmhi_domain_fit_topology(xmlNode *domain, const vmh_spec *spec, const char *path, vmh_error **error)
{
    guint64  max = number_or(domain, "vcpu", 1);
    guint64  threads = factor(domain, "cpu/topology@threads");
    guint64  cores = factor(domain, "cpu/topology@cores");
    guint64  dies = factor(domain, "cpu/topology@dies") * factor(domain, "cpu/topology@clusters");
    guint64  sockets = 1;
    gboolean has_sockets = vmhi_spec_u64(spec, "cpu.sockets", &sockets);
    gboolean has_cores = vmhi_spec_u64(spec, "cpu.cores", &cores);

    vmhi_spec_u64(spec, "cpu.threads", &threads);
    if (!has_sockets)
        sockets = max / (dies * cores * threads);
    else if (!has_cores)
        cores = max / (sockets * dies * threads);
    if (sockets * dies * cores * threads != max) {
        vmhi_error_set_property(error, VMH_ERR_VALUE, path,
                                "%s: sockets x cores x threads must be cpu.max, which is %" G_GUINT64_FORMAT, path,
                                max);
        return FALSE;
    }
    vmhi_xml_set_number(domain, "cpu/topology@sockets", sockets);
    vmhi_xml_set_number(domain, "cpu/topology@cores", cores);
    vmhi_xml_set_number(domain, "cpu/topology@threads", threads);
    return TRUE;
}

gboolean vmhi_write_topology(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    return vmhi_domain_fit_topology(cell->base, spec, cell->path, error);
}

void vmhi_read_cpu_model(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    g_autofree char *mode = vmhi_xml_get(cell->base, "cpu@mode");
    g_autofree char *model = vmhi_xml_get(cell->base, "cpu/model");

    if (g_strcmp0(mode, "host-passthrough") == 0)
        vmhi_spec_put(spec, cell->path, "host");
    else if (g_strcmp0(mode, "maximum") == 0)
        vmhi_spec_put(spec, cell->path, "max");
    else if (g_strcmp0(mode, "host-model") != 0 && model && *g_strstrip(model))
        vmhi_spec_put(spec, cell->path, model);
}

gboolean vmhi_write_cpu_model(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    const char *wanted = vmhi_spec_str(spec, cell->path);
    gboolean    host = g_str_equal(wanted, "host");
    gboolean    max = g_str_equal(wanted, "max");
    xmlNode    *cpu = vmhi_xml_make(cell->base, "cpu");

    if (host && vmhi_xml_has(cell->base, "@type", "qemu")) {
        vmhi_error_set_property(error, VMH_ERR_UNSUPPORTED, cell->path,
                                "cpu.model: the host's own CPU needs KVM, and this guest runs on TCG; use max");
        return FALSE;
    }
    vmhi_xml_set(cpu, "model", NULL);
    vmhi_xml_set(cpu, "vendor", NULL);
    vmhi_xml_set(cpu, "@check", NULL);
    vmhi_xml_set(cpu, "@migratable", NULL);
    vmhi_xml_set(cpu, "@match", host || max || !*wanted ? NULL : "exact");
    vmhi_xml_set(cpu, "@mode", host ? "host-passthrough" : max ? "maximum" : *wanted ? "custom" : NULL);
    if (!host && !max && *wanted) {
        vmhi_xml_set(cpu, "model", wanted);
        vmhi_xml_set(cpu, "model@fallback", "allow");
    }
    return TRUE;
}

void vmhi_read_cpu_limit(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    guint64 period = number_or(cell->base, "cputune/global_period", PERIOD_US);
    guint64 quota;

    if (vmhi_xml_number(cell->base, "cputune/global_quota", &quota) && quota)
        vmhi_spec_put_f64(spec, cell->path, (double)quota / (double)period);
}

/* Of the whole VM: a quota for each vCPU would let a guest with more of them use more. */
gboolean vmhi_write_cpu_limit(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    double cpus = 0;

    (void)error;
    vmhi_spec_f64(spec, cell->path, &cpus);
    vmhi_xml_set_number(cell->base, "cputune/global_period", PERIOD_US);
    vmhi_xml_set_number(cell->base, "cputune/global_quota", (guint64)llround(cpus * PERIOD_US));
    return TRUE;
}

void vmhi_read_cpu_pin(const vmhi_domain_cell *cell, vmh_spec *spec)
{
    xmlNode *tune = vmhi_xml_child(cell->base, "cputune");

    for (xmlNode *pin = vmhi_xml_child(tune, "vcpupin"); pin; pin = vmhi_xml_next(pin, "vcpupin")) {
        g_autofree char *cpuset = vmhi_xml_get(pin, "@cpuset");
        g_autofree char *path = NULL;
        guint64          number;

        if (!cpuset || !vmhi_xml_number(pin, "@vcpu", &number))
            continue;
        path = g_strdup_printf("cpu.pin.%" G_GUINT64_FORMAT, number);
        vmhi_spec_put(spec, path, cpuset);
    }
}

gboolean vmhi_write_cpu_pin(const vmhi_domain_cell *cell, const vmh_spec *spec, vmh_error **error)
{
    const char *cpus = vmhi_spec_str(spec, cell->path);
    xmlNode    *tune = vmhi_xml_make(cell->base, "cputune");
    xmlNode    *pin = vmhi_xml_child(tune, "vcpupin");
    guint64     max = number_or(cell->base, "vcpu", 1);

    if (g_ascii_strtoull(cell->id, NULL, 10) >= max) {
        vmhi_error_set_property(error, VMH_ERR_VALUE, cell->path,
                                "%s: the VM has no such vCPU; with a cpu.max of %" G_GUINT64_FORMAT
                                " the last is %" G_GUINT64_FORMAT,
                                cell->path, max, max - 1);
        return FALSE;
    }
    while (pin && !vmhi_xml_has(pin, "@vcpu", cell->id))
        pin = vmhi_xml_next(pin, "vcpupin");
    if (!*cpus) {
        vmhi_xml_remove(pin);
        return TRUE;
    }
    if (!pin)
        pin = vmhi_xml_append(tune, "vcpupin");
    vmhi_xml_set(pin, "@vcpu", cell->id);
    vmhi_xml_set(pin, "@cpuset", cpus);
    return TRUE;
}
