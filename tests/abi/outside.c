/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a user's program outside of the tree is: it is built by pkg-config alone, and lists the VMs of a host. */
#include <stdio.h>
#include <vmhost/vmhost.h>

static int list(const char *uri, vmh_error **error)
{
    vmh_host *host = vmh_host_open(uri, NULL, 0, error);
    vmh_vm  **vms;

    if (!host)
        return -1;
    vmh_host_list_vms(host, &vms);
    for (vmh_vm **vm = vms; *vm; vm++) {
        char *name = vmh_vm_name_dup(*vm);
        printf("%s is %s\n", name, vmh_vm_state_name(vmh_vm_state(*vm)));
        vmh_free(name);
    }
    vmh_vm_list_free(vms);
    vmh_host_unref(host);
    return 0;
}

int main(int argc, char **argv)
{
    vmh_error *error = NULL;

    if (argc == 2 && list(argv[1], &error) == 0)
        return 0;
    fprintf(stderr, "%s\n", vmh_error_message(error));
    vmh_error_free(error);
    return 1;
}
