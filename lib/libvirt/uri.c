/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which URIs are libvirt's, which of them a library may open, and the one that stands for the best local host. */
#include "libvirt/common.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char *const schemes[] = {"qemu",     "xen",          "lxc",    "ch",   "vbox", "bhyve",
                                      "vz",       "openvz",       "esx",    "vpx",  "gsx",  "vmwareplayer",
                                      "vmwarews", "vmwarefusion", "hyperv", "test", NULL};

static const char *const transports[] = {"unix", "tcp", "tls", "ssh", "libssh", "libssh2", NULL};

/* The scheme and the transport, in lower case; FALSE when it is no URI. *transport is NULL where there is none. */
static gboolean split(const char *uri, char **scheme, char **transport)
{
    const char *colon = strchr(uri, ':');
    char       *plus;

    if (!colon)
        return FALSE;
    *scheme = g_ascii_strdown(uri, colon - uri);
    plus = strchr(*scheme, '+');
    *transport = plus ? g_strdup(plus + 1) : NULL;
    if (plus)
        *plus = '\0';
    return TRUE;
}

gboolean vmhi_libvirt_claims(const char *uri)
{
    g_autofree char *scheme = NULL, *transport = NULL;

    return split(uri, &scheme, &transport) && g_strv_contains(schemes, scheme);
}

gboolean vmhi_libvirt_in_process(const char *uri)
{
    return g_ascii_strncasecmp(uri, "test:///", 8) == 0;
}

gboolean vmhi_libvirt_is_local(const char *uri)
{
    g_autofree char *scheme = NULL, *transport = NULL;
    g_autoptr(GUri) parsed = g_uri_parse(uri, G_URI_FLAGS_NON_DNS | G_URI_FLAGS_HAS_PASSWORD, NULL);

    return parsed && split(uri, &scheme, &transport) && (!transport || g_str_equal(transport, "unix")) &&
           (!g_uri_get_host(parsed) || !*g_uri_get_host(parsed));
}

static gboolean refuse(vmh_error **error, const char *uri, const char *why)
{
    g_autofree char *excerpt = vmhi_excerpt(uri);

    vmhi_error_set(error, VMH_ERR_ARGUMENT, "the URI \"%s\" %s", excerpt, why);
    return FALSE;
}

static gboolean begins_with_dash(const char *text)
{
    return text && text[0] == '-';
}

static gboolean has_control(const char *text)
{
    for (; text && *text; text++)
        if (g_ascii_iscntrl(*text))
            return TRUE;
    return FALSE;
}

/* A URI may come from anybody. libvirt has parameters that run a program of the URI's choice on this machine. */
static gboolean check_parts(const char *uri, GUri *parsed, vmh_error **error)
{
    g_autoptr(GHashTable) query = NULL;

    if (has_control(uri) || has_control(g_uri_get_host(parsed)) || has_control(g_uri_get_user(parsed)) ||
        has_control(g_uri_get_path(parsed)))
        return refuse(error, uri, "has control characters in it");
    if (begins_with_dash(g_uri_get_host(parsed)) || begins_with_dash(g_uri_get_user(parsed)))
        return refuse(error, uri, "has a host or user that begins with a dash, which ssh would take for an option");
    if (!g_uri_get_query(parsed))
        return TRUE;
    query = g_uri_parse_params(g_uri_get_query(parsed), -1, "&;", G_URI_PARAMS_CASE_INSENSITIVE, NULL);
    if (!query)
        return refuse(error, uri, "has malformed parameters; they are written ?name=value&name=value");
    if (g_hash_table_contains(query, "command"))
        return refuse(error, uri,
                      "names a command to run on this machine; put a program named ssh first in PATH instead");
    return TRUE;
}

/* Of a file that is not there libvirt's XML parser complains on stderr, and libvirt says only "failed to parse". */
static gboolean check_file(const char *uri, GUri *parsed, vmh_error **error)
{
    const char *path = g_uri_get_path(parsed);
    int         reason;

    if (!vmhi_libvirt_in_process(uri) || g_str_equal(path, "/default") || access(path, R_OK) == 0)
        return TRUE;
    reason = errno;
    vmhi_error_set_native(error, reason == EACCES ? VMH_ERR_PERMISSION : VMH_ERR_NOT_FOUND, VMHI_LIBVIRT, reason,
                          NULL, "the file %s that is to describe the test host: %s", path, g_strerror(reason));
    return FALSE;
}

/* ssh would ask on the terminal for a password or an unknown host's key; a library does not. */
static char *without_terminal(const char *uri, GUri *parsed)
{
    const char *query = g_uri_get_query(parsed);

    if (query && strstr(query, "no_tty="))
        return g_strdup(uri);
    return g_strdup_printf("%s%sno_tty=1", uri, query ? "&" : "?");
}

char *vmhi_libvirt_uri(const char *uri, vmh_error **error)
{
    g_autofree char *scheme = NULL, *transport = NULL;
    g_autoptr(GUri) parsed = NULL;
    g_autoptr(GError) why = NULL;

    parsed = g_uri_parse(uri, G_URI_FLAGS_NON_DNS | G_URI_FLAGS_HAS_PASSWORD, &why);
    if (!parsed || !split(uri, &scheme, &transport)) {
        refuse(error, uri, why ? why->message : "has no scheme");
        return NULL;
    }
    if (transport && !g_strv_contains(transports, transport)) {
        refuse(error, uri, "has a transport there is not; there are +unix, +tcp, +tls, +ssh, +libssh and +libssh2");
        return NULL;
    }
    if (!check_parts(uri, parsed, error) || !check_file(uri, parsed, error))
        return NULL;
    return g_strcmp0(transport, "ssh") == 0 ? without_terminal(uri, parsed) : g_strdup(uri);
}

/* Is somebody there, and may we? Never waits: a connect() to a full socket fails, which is an answer as well. */
static gboolean answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    gboolean           yes;
    int                fd;

    if (strlen(path) >= sizeof(address.sun_path))
        return FALSE;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return FALSE;
    yes = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN;
    close(fd);
    return yes;
}

static gboolean installed(const char *program)
{
    g_autofree char *found = g_find_program_in_path(program);
    g_autofree char *system = g_build_filename("/usr/sbin", program, NULL);

    return found || g_file_test(system, G_FILE_TEST_IS_EXECUTABLE);
}

char *vmhi_libvirt_best_local(void)
{
    if (answers("/run/libvirt/libvirt-sock") || answers("/run/libvirt/virtqemud-sock"))
        return g_strdup("qemu:///system");
    /* libvirt has no session for root: it would go to the system's daemon, which is not there. */
    if (geteuid() != 0 && (installed("libvirtd") || installed("virtqemud")))
        return g_strdup("qemu:///session");
    return NULL;
}
