/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files that a guest begins with: its kernel, its initrd, and the modules of a multiboot kernel. */
#include "kvm/common.h"
#include <fcntl.h>
#include <sys/stat.h>

static int open_file(const char *property, const char *path, vmh_error **error)
{
    const int   descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;

    if (descriptor < 0)
        vmhi_error_set_native(error, vmhi_kvm_file_error(errno), VMHI_KVM, errno, property, "%s: cannot open %s: %s",
                              property, path, g_strerror(errno));
    if (descriptor < 0 || (fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)))
        return descriptor;
    vmhi_error_set_property(error, VMH_ERR_VALUE, property, "%s: %s is not a regular file", property, path);
    close(descriptor);
    return -1;
}

static gboolean check_file(const vmh_spec *spec, const char *property, vmh_error **error)
{
    const char *path = vmhi_spec_str(spec, property);
    const int   descriptor = path ? open_file(property, path, error) : -1;

    if (descriptor >= 0)
        close(descriptor);
    return !path || descriptor >= 0;
}

gboolean vmhi_kvm_check_files(const vmh_spec *spec, vmh_error **error)
{
    g_auto(GStrv) ids = vmhi_spec_ids(spec, "module");

    for (guint i = 0; ids[i]; i++) {
        g_autofree char *path = vmhi_path("module", ids[i], "path");

        if (!check_file(spec, path, error))
            return FALSE;
    }
    return check_file(spec, "boot.kernel", error) && check_file(spec, "boot.initrd", error);
}

static void put_kernel(struct wire_message *message, const vmh_spec *spec)
{
    static const char *const modes[] = {[WIRE_MODE_REAL] = "real",
                                        [WIRE_MODE_PROTECTED] = "protected",
                                        [WIRE_MODE_LONG] = "long",
                                        [WIRE_MODE_USER] = "user"};
    const char              *mode = vmhi_spec_str_or_default(spec, "vm", "boot.mode");
    uint64_t                 number = WIRE_MODE_REAL;

    if (!vmhi_kvm_is_flat(spec))
        return;
    while (!g_str_equal(mode, modes[number]))
        number++;
    wire_put_u64(message, WIRE_T_KIND, WIRE_KERNEL_FLAT);
    wire_put_u64(message, WIRE_T_MODE, number);
    wire_put_u64(message, WIRE_T_ADDRESS, vmhi_spec_u64_or_default(spec, "vm", "boot.address"));
}

static gboolean add_image(vmhi_kvm_starting *starting, const vmh_spec *spec, uint16_t type, const char *property,
                          const char *cmdline, vmh_error **error)
{
    const char         *path = vmhi_spec_str(spec, property);
    struct wire_message message;
    int                 descriptor;
    gboolean            done;

    if (!path)
        return TRUE;
    descriptor = open_file(property, path, error);
    if (descriptor < 0)
        return FALSE;
    wire_begin(&message, type, 1);
    wire_put_descriptor(&message, descriptor);
    if (cmdline)
        wire_put_text(&message, WIRE_T_CMDLINE, cmdline);
    if (type == WIRE_KERNEL)
        put_kernel(&message, spec);
    done = vmhi_kvm_tell(starting, &message, error);
    close(descriptor);
    return done;
}

/* An initrd is the first of them. */
static gboolean add_modules(vmhi_kvm_starting *starting, const vmh_spec *spec, vmh_error **error)
{
    g_auto(GStrv) ids = vmhi_spec_ids(spec, "module");

    for (guint i = 0; ids[i]; i++) {
        g_autofree char *path = vmhi_path("module", ids[i], "path");
        g_autofree char *property = vmhi_path("module", ids[i], "cmdline");
        const char      *cmdline = vmhi_spec_str(spec, property);

        if (cmdline && *cmdline && !vmhi_spec_str(spec, path)) {
            vmhi_error_set_property(error, VMH_ERR_VALUE, path, "%s: a module is a file, so set this", path);
            return FALSE;
        }
        if (!add_image(starting, spec, WIRE_INITRD, path, cmdline, error))
            return FALSE;
    }
    return TRUE;
}

gboolean vmhi_kvm_add_images(vmhi_kvm_starting *starting, const vmh_spec *spec, vmh_error **error)
{
    return add_image(starting, spec, WIRE_KERNEL, "boot.kernel", vmhi_spec_str(spec, "boot.cmdline"), error) &&
           add_image(starting, spec, WIRE_INITRD, "boot.initrd", NULL, error) && add_modules(starting, spec, error);
}
