/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The driver of our own engine: its table, and opening and closing its hosts. */
#include "kvm/common.h"
#include "kvm/paths.h"
#include <dlfcn.h>
#include <string.h>

static const char *const schemes[] = {"kvm:///", NULL};

static gboolean claims(const char *uri)
{
    return g_str_has_prefix(uri, "kvm:");
}

/* Nobody is led here who did not ask for it. */
static char *best_local(void)
{
    return NULL;
}

static gboolean in_process(G_GNUC_UNUSED const char *uri)
{
    return FALSE;
}

/* Root's VMs are the machine's; everybody else has their own. */
static char *default_directory(void)
{
    return geteuid() == 0 ? g_strdup("/var/lib/vmhost") : g_build_filename(g_get_user_data_dir(), "vmhost", NULL);
}

static char *directory_of(const char *uri, vmh_error **error)
{
    const char      *path = g_str_has_prefix(uri, "kvm:///") ? uri + strlen("kvm://") : NULL;
    g_autofree char *plain = path ? g_uri_unescape_string(path, NULL) : NULL;

    if (!plain || strpbrk(path, "?#"))
        vmhi_error_set(
            error, VMH_ERR_ARGUMENT,
            "\"%s\" is no host of the built-in engine: kvm:/// is, or kvm:///DIRECTORY with VMs of its own", uri);
    else
        return strcmp(plain, "/") == 0 ? default_directory() : g_steal_pointer(&plain);
    return NULL;
}

/* The library that was built and not installed has it in a directory beside itself. */
static char *beside_library(void)
{
    Dl_info          library;
    g_autofree char *directory = NULL;

    if (!dladdr((void *)(uintptr_t)beside_library, &library) || !library.dli_fname)
        return NULL;
    directory = g_path_get_dirname(library.dli_fname);
    return g_build_filename(directory, "vmm", "vmhost-vmm", NULL);
}

static char *find_vmm(vmh_error **error)
{
    g_autofree char  *built = beside_library();
    const char *const places[] = {secure_getenv("VMHOST_VMM"), built, VMHOST_INSTALLED_VMM};

    for (gsize i = 0; i < G_N_ELEMENTS(places); i++) {
        if (places[i] && access(places[i], X_OK) == 0)
            return g_canonicalize_filename(places[i], NULL);
    }
    vmhi_error_set(error, VMH_ERR_UNREACHABLE, "the program %s, which runs VMs, is not installed",
                   VMHOST_INSTALLED_VMM);
    return NULL;
}

static void quiet(vmhi_driver_host *host)
{
    if (host->watch)
        vmhi_kvm_watch_quiet(host->watch);
}

static void close_host(vmhi_driver_host *host)
{
    vmhi_kvm_watch_free(host->watch);
    vmhi_kvm_cell_free(host->cell);
    vmh_spec_unref(host->options);
    g_free(host->vmm);
    g_free(host->directory);
    g_free(host->uri);
    g_free(host);
}

static vmhi_driver_host *open_host(const char *uri, const vmh_spec *options, const vmhi_sink *sink, void *data,
                                   vmh_error **error)
{
    vmhi_driver_host *host = g_new0(vmhi_driver_host, 1);

    host->uri = g_strdup(uri);
    host->options = options ? vmhi_spec_copy(options) : NULL;
    host->sink = sink;
    host->sink_data = data;
    host->cell = vmhi_kvm_cell_new();
    host->directory = directory_of(uri, error);
    if (host->directory)
        host->vmm = find_vmm(error);
    if (host->vmm && vmhi_kvm_store_open(host->directory, error)) {
        if (vmhi_kvm_may_change(host, NULL))
            vmhi_kvm_sweep(host);
        host->watch = vmhi_kvm_watch_new(host, error);
    }
    if (host->watch)
        return host;
    close_host(host);
    return NULL;
}

/* There is nothing to lose. */
static gboolean reopen(G_GNUC_UNUSED vmhi_driver_host *host, G_GNUC_UNUSED vmh_error **error)
{
    return TRUE;
}

static char *migrate(G_GNUC_UNUSED vmhi_driver_host *host, G_GNUC_UNUSED const char *uuid,
                     G_GNUC_UNUSED vmhi_driver_host *destination, G_GNUC_UNUSED const vmh_spec *options,
                     G_GNUC_UNUSED uint64_t flags, G_GNUC_UNUSED vmhi_task *task, vmh_error **error)
{
    vmhi_error_set(error, VMH_ERR_UNSUPPORTED, "the built-in engine cannot migrate yet");
    return NULL;
}

const vmhi_driver vmhi_kvm_driver = {
    .name = VMHI_KVM,
    .schemes = schemes,
    .claims = claims,
    .best_local = best_local,
    .in_process = in_process,
    .open = open_host,
    .quiet = quiet,
    .close = close_host,
    .reopen = reopen,
    .list = vmhi_kvm_list,
    .look = vmhi_kvm_look,
    .describe = vmhi_kvm_describe,
    .supports = vmhi_kvm_supports,
    .create = vmhi_kvm_create,
    .describe_vm = vmhi_kvm_describe_vm,
    .act = vmhi_kvm_act,
    .update = vmhi_kvm_update,
    .console = vmhi_kvm_console,
    .connect = vmhi_kvm_connect_guest,
    .listen = vmhi_kvm_listen,
    .accept = vmhi_kvm_accept,
    .migrate = migrate,
    .sample = vmhi_kvm_sample,
    .samples_at_once = TRUE,
    .tells_in_order = TRUE,
};
