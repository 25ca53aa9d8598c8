/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pinning vCPUs: a VMM keeps its threads to the host's CPUs that it is told of. */
#include "kvm/common.h"
#include <string.h>

#define PIN "cpu.pin."

gboolean vmhi_kvm_is_pin(const char *path)
{
    return g_str_has_prefix(path, PIN);
}

/* "0-2,5" to bits. FALSE: what has no bit is on no host. */
static gboolean read_set(const char *text, uint8_t bits[WIRE_CPU_SET])
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    gboolean fits = TRUE;

    for (guint i = 0; parts[i]; i++) {
        char    *rest;
        uint64_t first = g_ascii_strtoull(parts[i], &rest, 10);
        uint64_t last = *rest == '-' ? g_ascii_strtoull(rest + 1, NULL, 10) : first;

        for (; first <= last && first < WIRE_CPU_SET * 8; first++)
            bits[first / 8] |= (uint8_t)(1u << first % 8);
        fits = fits && last < WIRE_CPU_SET * 8;
    }
    return fits;
}

gboolean vmhi_kvm_check_pin(const vmh_spec *spec, const char *path, vmh_error **error)
{
    const char      *text = vmhi_kvm_is_pin(path) ? vmhi_spec_str(spec, path) : NULL;
    g_autofree char *online = NULL;
    uint8_t          wanted[WIRE_CPU_SET] = {0}, there[WIRE_CPU_SET] = {0};
    gboolean         fits;

    if (!text || !*text || !g_file_get_contents("/sys/devices/system/cpu/online", &online, NULL, NULL))
        return TRUE;
    fits = read_set(text, wanted);
    read_set(g_strchomp(online), there);
    for (gsize i = 0; i < WIRE_CPU_SET; i++)
        fits = fits && !(wanted[i] & ~there[i]);
    if (!fits)
        vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s: %s is not all among the CPUs of this host: %s", path,
                                text, online);
    return fits;
}

void vmhi_kvm_put_pin(struct wire_message *message, const vmh_spec *spec, const char *path)
{
    const char *text = vmhi_spec_str(spec, path);
    uint8_t     bits[WIRE_CPU_SET] = {0};

    if (text && *text)
        read_set(text, bits);
    else
        memset(bits, 0xff, sizeof(bits)); /* anywhere */
    wire_begin(message, WIRE_PIN, 1);
    wire_put_u64(message, WIRE_T_CPU, g_ascii_strtoull(path + strlen(PIN), NULL, 10));
    wire_put(message, WIRE_T_CPU_SET, bits, sizeof(bits));
}
