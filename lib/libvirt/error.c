/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's errors become ours: one table of codes, and nothing written to the terminal. */
#include "libvirt/common.h"

#include <errno.h>
#include <string.h>

/* What is not listed is the hypervisor's own failure, VMH_ERR_HYPERVISOR. */
static const struct {
    int     native;
    int32_t code;
} codes[] = {
    {VIR_ERR_NO_MEMORY, VMH_ERR_RESOURCE},
    {VIR_ERR_NO_SUPPORT, VMH_ERR_UNSUPPORTED},
    {VIR_ERR_OPERATION_UNSUPPORTED, VMH_ERR_UNSUPPORTED},
    {VIR_ERR_CONFIG_UNSUPPORTED, VMH_ERR_UNSUPPORTED},
    {VIR_ERR_ARGUMENT_UNSUPPORTED, VMH_ERR_UNSUPPORTED},
    {VIR_ERR_NO_SECURITY_MODEL, VMH_ERR_UNSUPPORTED},
    {VIR_ERR_CPU_INCOMPATIBLE, VMH_ERR_UNSUPPORTED},
    {VIR_ERR_MIGRATE_UNSAFE, VMH_ERR_UNSUPPORTED},
    {VIR_ERR_UNKNOWN_HOST, VMH_ERR_UNREACHABLE},
    {VIR_ERR_NO_CONNECT, VMH_ERR_UNREACHABLE},
    {VIR_ERR_GNUTLS_ERROR, VMH_ERR_UNREACHABLE},
    {VIR_ERR_SSH, VMH_ERR_UNREACHABLE},
    {VIR_ERR_LIBSSH, VMH_ERR_UNREACHABLE},
    {VIR_ERR_RPC, VMH_ERR_UNREACHABLE},
    {VIR_ERR_INVALID_CONN, VMH_ERR_LOST},
    {VIR_ERR_INVALID_ARG, VMH_ERR_VALUE},
    {VIR_ERR_XML_ERROR, VMH_ERR_VALUE},
    {VIR_ERR_XML_DETAIL, VMH_ERR_VALUE},
    {VIR_ERR_XML_INVALID_SCHEMA, VMH_ERR_VALUE},
    {VIR_ERR_INVALID_MAC, VMH_ERR_VALUE},
    {VIR_ERR_OVERFLOW, VMH_ERR_VALUE},
    {VIR_ERR_NO_OS, VMH_ERR_VALUE},
    {VIR_ERR_NO_NAME, VMH_ERR_VALUE},
    {VIR_ERR_NO_SOURCE, VMH_ERR_VALUE},
    {VIR_ERR_NO_TARGET, VMH_ERR_VALUE},
    {VIR_ERR_DOM_EXIST, VMH_ERR_EXISTS},
    {VIR_ERR_NETWORK_EXIST, VMH_ERR_EXISTS},
    {VIR_ERR_STORAGE_VOL_EXIST, VMH_ERR_EXISTS},
    {VIR_ERR_NO_DOMAIN, VMH_ERR_NOT_FOUND},
    {VIR_ERR_NO_KERNEL, VMH_ERR_NOT_FOUND},
    {VIR_ERR_NO_NETWORK, VMH_ERR_NOT_FOUND},
    {VIR_ERR_NO_STORAGE_POOL, VMH_ERR_NOT_FOUND},
    {VIR_ERR_NO_STORAGE_VOL, VMH_ERR_NOT_FOUND},
    {VIR_ERR_NO_INTERFACE, VMH_ERR_NOT_FOUND},
    {VIR_ERR_NO_NWFILTER, VMH_ERR_NOT_FOUND},
    {VIR_ERR_NO_SECRET, VMH_ERR_NOT_FOUND},
    {VIR_ERR_NO_NODE_DEVICE, VMH_ERR_NOT_FOUND},
    {VIR_ERR_NO_DOMAIN_SNAPSHOT, VMH_ERR_NOT_FOUND},
    {VIR_ERR_NO_DOMAIN_CHECKPOINT, VMH_ERR_NOT_FOUND},
    {VIR_ERR_NO_DOMAIN_METADATA, VMH_ERR_NOT_FOUND},
    {VIR_ERR_DEVICE_MISSING, VMH_ERR_NOT_FOUND},
    {VIR_ERR_OPERATION_INVALID, VMH_ERR_STATE},
    {VIR_ERR_SNAPSHOT_REVERT_RISKY, VMH_ERR_STATE},
    {VIR_ERR_OPERATION_DENIED, VMH_ERR_PERMISSION},
    {VIR_ERR_ACCESS_DENIED, VMH_ERR_PERMISSION},
    {VIR_ERR_AUTH_FAILED, VMH_ERR_PERMISSION},
    {VIR_ERR_AUTH_CANCELLED, VMH_ERR_PERMISSION},
    {VIR_ERR_AUTH_UNAVAILABLE, VMH_ERR_PERMISSION},
    {VIR_ERR_OPERATION_TIMEOUT, VMH_ERR_BUSY}, /* another operation held the VM for too long */
    {VIR_ERR_BLOCK_COPY_ACTIVE, VMH_ERR_BUSY},
    {VIR_ERR_RESOURCE_BUSY, VMH_ERR_BUSY},
    {VIR_ERR_OPERATION_ABORTED, VMH_ERR_CANCELLED},
};

static int32_t code_of_errno(int number)
{
    switch (number) {
    case EACCES:
    case EPERM:
        return VMH_ERR_PERMISSION;
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
        return VMH_ERR_RESOURCE;
    case ENOENT:
        return VMH_ERR_NOT_FOUND;
    case EBUSY:
        return VMH_ERR_BUSY;
    default:
        return VMH_ERR_HYPERVISOR;
    }
}

/* libvirt has one code for several things; where it matters to a program, its words tell them apart. */
static const struct {
    int         native;
    int         domain; /* -1: any */
    const char *words;
    int32_t     code;
} meanings[] = {
    {VIR_ERR_OPERATION_FAILED, -1, "already exists", VMH_ERR_EXISTS},
    {VIR_ERR_OPERATION_FAILED, -1, "guest CPU doesn't match specification", VMH_ERR_UNSUPPORTED},
    {VIR_ERR_INVALID_ARG, -1, "unsupported flags", VMH_ERR_UNSUPPORTED},
    {VIR_ERR_INTERNAL_ERROR, VIR_FROM_TEST, "not running", VMH_ERR_STATE},
    {VIR_ERR_INTERNAL_ERROR, VIR_FROM_TEST, "not paused", VMH_ERR_STATE},
    {VIR_ERR_INTERNAL_ERROR, VIR_FROM_TEST, "already running", VMH_ERR_STATE},
};

/* 0: no words of it are known. */
static int32_t code_of_words(const virError *error)
{
    for (gsize i = 0; error->message && i < G_N_ELEMENTS(meanings); i++)
        if (meanings[i].native == error->code && (meanings[i].domain == -1 || meanings[i].domain == error->domain) &&
            strstr(error->message, meanings[i].words))
            return meanings[i].code;
    return 0;
}

int32_t vmhi_libvirt_code(const virError *error)
{
    if (error->code == VIR_ERR_SYSTEM_ERROR && error->domain == VIR_FROM_RPC)
        return code_of_errno(error->int1) == VMH_ERR_PERMISSION ? VMH_ERR_PERMISSION : VMH_ERR_UNREACHABLE;
    if (error->code == VIR_ERR_SYSTEM_ERROR)
        return code_of_errno(error->int1);
    if (error->code == VIR_ERR_INTERNAL_ERROR && error->domain == VIR_FROM_RPC)
        return VMH_ERR_UNREACHABLE;
    if (code_of_words(error))
        return code_of_words(error);
    for (gsize i = 0; i < G_N_ELEMENTS(codes); i++)
        if (codes[i].native == error->code)
            return codes[i].code;
    return VMH_ERR_HYPERVISOR;
}

void vmhi_libvirt_error(vmh_error **error, const char *property, const char *doing)
{
    virErrorPtr      last = virGetLastError();
    int              native = last ? last->code : 0;
    int32_t          code = last ? vmhi_libvirt_code(last) : VMH_ERR_HYPERVISOR;
    g_autofree char *message = g_strdup(last && last->message ? last->message : "libvirt gave no reason");

    if (last && last->domain == VIR_FROM_RPC && vmhi_libvirt_broke(message))
        code = VMH_ERR_LOST;
    vmhi_error_set_native(error, code, VMHI_LIBVIRT, native, property, "%s: %s", doing, message);
}

static void ignore(void *data, virErrorPtr error)
{
    (void)data;
    (void)error;
}

/*
 * Unless told otherwise, libvirt writes each error to stderr. Connections of ours have a handler of their own
 * (connection.c); but an open that fails has no connection yet and goes to the process's handler, which can be set
 * and never asked for. So ours is set when the library is loaded, before main(): a program that sets its own, as
 * programs do from main() on, has it for good, and is never overruled later. (One that loads the library with
 * dlopen() sets its handler after that.)
 */
__attribute__((constructor)) static void silence(void)
{
    virSetErrorFunc(NULL, ignore);
}
