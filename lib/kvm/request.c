/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests over the wire, each with its reply. */
#include "kvm/common.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/time.h>

int vmhi_kvm_address(const vmhi_driver_host *host, const char *uuid, const char *file, struct sockaddr_un *address)
{
    g_autofree char *path = vmhi_kvm_path(host, uuid, NULL);
    const int        directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", directory, file);
    return directory;
}

void vmhi_kvm_close(int descriptor)
{
    const int native = errno;

    if (descriptor >= 0)
        close(descriptor);
    errno = native;
}

void vmhi_kvm_be_patient(int connection, gint64 patience_us)
{
    const struct timeval patience = {.tv_sec = patience_us / G_USEC_PER_SEC, .tv_usec = patience_us % G_USEC_PER_SEC};

    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

int vmhi_kvm_connect_to(const vmhi_driver_host *host, const char *uuid, const char *file, int type, int patience_s)
{
    struct sockaddr_un address;
    const int          directory = vmhi_kvm_address(host, uuid, file, &address);
    int                connection = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    if (connection >= 0)
        vmhi_kvm_be_patient(connection, patience_s * G_USEC_PER_SEC);
    if (connection >= 0 && (directory < 0 || connect(connection, (struct sockaddr *)&address, sizeof(address)) < 0)) {
        close(connection);
        connection = -1;
    }
    vmhi_kvm_close(directory);
    return connection;
}

int vmhi_kvm_connect(const vmhi_driver_host *host, const char *uuid, int patience_s)
{
    return vmhi_kvm_connect_to(host, uuid, VMHI_KVM_CONTROL, SOCK_SEQPACKET, patience_s);
}

static int32_t code_of(uint64_t wire_code)
{
    switch (wire_code) {
    case WIRE_UNSUPPORTED:
        return VMH_ERR_UNSUPPORTED;
    case WIRE_VALUE:
        return VMH_ERR_VALUE;
    case WIRE_WRONG_STATE:
        return VMH_ERR_STATE;
    case WIRE_BUSY:
        return VMH_ERR_BUSY;
    case WIRE_ABSENT:
        return VMH_ERR_NOT_FOUND;
    default:
        return VMH_ERR_HYPERVISOR;
    }
}

static void refused(const struct wire_message *reply, vmh_error **error)
{
    const char    *text = wire_text(reply, WIRE_T_MESSAGE);
    const char    *property = wire_text(reply, WIRE_T_PROPERTY);
    const char    *message = text ? text : "the VMM gave no reason";
    const gboolean is_named = !property || g_str_has_prefix(message, property);

    vmhi_error_set_native(error, code_of(wire_u64(reply, WIRE_T_CODE, WIRE_HOST)), VMHI_KVM, 0, property, "%s%s%s",
                          is_named ? "" : property, is_named ? "" : ": ", message);
}

gboolean vmhi_kvm_refused(vmh_error **error, vmh_error *refused, const char *property)
{
    if (refused->property) {
        vmhi_error_move(error, refused);
        return FALSE;
    }
    vmhi_error_set_property(error, vmh_error_code(refused), property, "%s: %s", property, vmh_error_message(refused));
    vmh_error_free(refused);
    return FALSE;
}

static gboolean lost(int got, vmh_error **error)
{
    const gboolean silent = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);

    vmhi_error_set(error, silent ? VMH_ERR_TIMEOUT : VMH_ERR_STATE,
                   silent ? "the VM's process does not answer" : "the VM has just ended");
    return FALSE;
}

gboolean vmhi_kvm_post(int connection, const struct wire_message *message, vmh_error **error)
{
    return wire_send(connection, message, 0) || lost(-1, error);
}

gboolean vmhi_kvm_collect(int connection, struct wire_message *message, vmh_error **error)
{
    struct wire_header header;
    int                got;

    do {
        got = wire_receive(connection, message, 0);
        header = wire_header(message);
    } while (got == 1 && header.id == 0); /* events of a connection that watches */
    if (got != 1)
        return lost(got, error);
    if (header.type == WIRE_DONE)
        return TRUE;
    refused(message, error);
    wire_close_descriptors(message);
    return FALSE;
}

gint64 vmhi_kvm_patience(const vmhi_driver_host *host)
{
    const gint64 timeout_us = (gint64)vmhi_spec_u64_or_default(host->options, "open", "call.timeout") * 1000;

    return MIN(VMHI_KVM_PATIENCE_S * G_USEC_PER_SEC, timeout_us / 2);
}

gboolean vmhi_kvm_request(int connection, struct wire_message *message, vmh_error **error)
{
    return vmhi_kvm_post(connection, message, error) && vmhi_kvm_collect(connection, message, error);
}

void vmhi_kvm_wrong_state(const vmhi_driver_host *host, const char *uuid, vmh_error **error)
{
    g_auto(vmhi_kvm_condition) now = vmhi_kvm_look_at(host, uuid);

    if (vmhi_kvm_exists(host, uuid, NULL))
        vmhi_error_set(error, VMH_ERR_STATE, "the VM is %s", vmh_vm_state_name(now.state));
    else
        vmhi_kvm_not_found(error, uuid);
}

gboolean vmhi_kvm_ask(const vmhi_driver_host *host, const char *uuid, struct wire_message *message, vmh_error **error)
{
    const int connection = vmhi_kvm_connect(host, uuid, VMHI_KVM_PATIENCE_S);
    gboolean  done;

    if (connection < 0) {
        vmhi_kvm_wrong_state(host, uuid, error);
        return FALSE;
    }
    done = vmhi_kvm_request(connection, message, error);
    close(connection);
    return done;
}

int32_t vmhi_kvm_state(uint64_t wire_state)
{
    static const int32_t states[] = {
        [WIRE_NEW] = VMH_VM_STOPPED,       [WIRE_RUNNING] = VMH_VM_RUNNING, [WIRE_PAUSED] = VMH_VM_PAUSED,
        [WIRE_STOPPING] = VMH_VM_STOPPING, [WIRE_ENDED] = VMH_VM_STOPPED,   [WIRE_CRASHED] = VMH_VM_CRASHED,
        [WIRE_KEPT] = VMH_VM_CRASHED,
    };

    return wire_state < G_N_ELEMENTS(states) ? states[wire_state] : VMH_VM_UNKNOWN;
}
