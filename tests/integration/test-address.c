/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* URIs that lead nowhere: nobody's, refused, silent. Opening says what is wrong, and in time. */
#include "integration.h"

#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_MS 1500
#define SLACK_MS 3000

static vmh_host *open_within(const char *uri, vmh_error **error)
{
    g_autoptr(vmh_spec) options = vmh_spec_new("open", NULL);
    int64_t   began = test_now_ms();
    vmh_host *host;

    ck_assert_int_eq(vmh_spec_set_u64(options, "connect.timeout", TIMEOUT_MS, NULL), 0);
    host = vmh_host_open(uri, options, 0, error);
    ck_assert_msg(test_now_ms() - began < TIMEOUT_MS + SLACK_MS, "%s took %d ms", uri, (int)(test_now_ms() - began));
    return host;
}

/* A TCP socket on a free port of this machine, which never accepts. */
static int bind_port(gboolean listens, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          length = sizeof address;
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    ck_assert(!listens || listen(fd, 16) == 0);
    *port = ntohs(address.sin_port);
    return fd;
}

START_TEST(a_uri_of_nobody)
{
    static const char *const uris[] = {"",     "x",        "nobody:///system",   "://", ":",
                                       "qemu", "http://a", "vmware-nothing:///", "\n",  "file:///etc/passwd"};

    for (size_t i = 0; i < G_N_ELEMENTS(uris); i++) {
        vmh_error *error = NULL;
        vmh_host  *host = open_within(uris[i], &error);
        ck_assert_msg(host == NULL, "\"%s\" was opened", uris[i]);
        ck_assert_msg(vmh_error_code(error) == VMH_ERR_ARGUMENT, "\"%s\": %s %s", uris[i],
                      vmh_error_name(vmh_error_code(error)), vmh_error_message(error));
        ck_assert_msg(strstr(vmh_error_message(error), "qemu:///system"), "\"%s\": %s", uris[i],
                      vmh_error_message(error)); /* what there is */
        vmh_error_free(error);
    }
}
END_TEST

START_TEST(a_transport_of_nobody)
{
    vmh_error *error = NULL;

    ck_assert_ptr_null(open_within("qemu+carrier-pigeon://host/system", &error));
    ck_assert_msg(strstr(vmh_error_message(error), "+tcp, +tls, +ssh"), "%s", vmh_error_message(error));
    assert_error(VMH_ERR_ARGUMENT);
}
END_TEST

START_TEST(a_uri_that_is_no_text)
{
    g_autofree char *huge = g_strnfill(1 << 20, 'x');
    g_autofree char *long_uri = g_strconcat("qemu+tcp://127.0.0.1/", huge, NULL);
    vmh_error       *error = NULL;

    ck_assert_ptr_null(open_within("qemu:///\xff\xfe", &error));
    assert_error(VMH_ERR_ARGUMENT);
    ck_assert_ptr_null(open_within(huge, &error));
    ck_assert_uint_lt(strlen(vmh_error_message(error)), 4096);
    assert_error(VMH_ERR_ARGUMENT);
    ck_assert_ptr_null(open_within(long_uri, &error));
    ck_assert_ptr_nonnull(error);
    vmh_error_free(error);
}
END_TEST

START_TEST(a_port_that_refuses)
{
    vmh_error       *error = NULL;
    uint16_t         port;
    int              fd = bind_port(FALSE, &port);
    g_autofree char *uri = g_strdup_printf("qemu+tcp://127.0.0.1:%u/system", port);

    ck_assert_ptr_null(open_within(uri, &error));
    ck_assert_msg(strstr(vmh_error_message(error), "127.0.0.1"), "%s", vmh_error_message(error));
    ck_assert_int_eq(vmh_error_retryable(error), 1);
    ck_assert_str_eq(vmh_error_driver(error), "libvirt");
    assert_error(VMH_ERR_UNREACHABLE);
    close(fd);
}
END_TEST

START_TEST(a_port_that_is_silent)
{
    vmh_error       *error = NULL;
    uint16_t         port;
    int              fd = bind_port(TRUE, &port);
    g_autofree char *uri = g_strdup_printf("qemu+tcp://127.0.0.1:%u/system", port);

    for (guint i = 0; i < 3; i++) { /* one that hangs does not keep the next from being tried */
        ck_assert_ptr_null(open_within(uri, &error));
        ck_assert_msg(strstr(vmh_error_message(error), "connect.timeout"), "%s", vmh_error_message(error));
        assert_error(VMH_ERR_UNREACHABLE);
    }
    vmh_host_unref(open_host("test:///default")); /* the program goes on */
    close(fd);
}
END_TEST

START_TEST(a_host_that_does_not_exist)
{
    vmh_error *error = NULL;

    ck_assert_ptr_null(open_within("qemu+tcp://no-such-host.invalid/system", &error));
    ck_assert_msg(strstr(vmh_error_message(error), "no-such-host.invalid"), "%s", vmh_error_message(error));
    assert_error(VMH_ERR_UNREACHABLE);
    ck_assert_ptr_null(open_within("qemu+unix:///system?socket=/nonexistent/socket", &error));
    ck_assert_msg(strstr(vmh_error_message(error), "/nonexistent/socket"), "%s", vmh_error_message(error));
    assert_error(VMH_ERR_UNREACHABLE);
}
END_TEST

START_TEST(a_file_that_describes_no_host)
{
    g_autofree char *path = test_disk("no-xml", 0);
    g_autofree char *uri = g_strconcat("test://", path, NULL);
    vmh_error       *error = NULL;

    ck_assert_ptr_null(open_within("test:///nonexistent.xml", &error));
    ck_assert_msg(strstr(vmh_error_message(error), "/nonexistent.xml"), "%s", vmh_error_message(error));
    assert_error(VMH_ERR_NOT_FOUND);
    ck_assert(g_file_set_contents(path, "<node><domain/>", -1, NULL));
    ck_assert_ptr_null(open_within(uri, &error));
    ck_assert_ptr_nonnull(error);
    vmh_error_free(error);
    g_unlink(path);
}
END_TEST

INTEGRATION_RUN("address", FALSE, a_uri_of_nobody, a_transport_of_nobody, a_uri_that_is_no_text, a_port_that_refuses,
                a_port_that_is_silent, a_host_that_does_not_exist, a_file_that_describes_no_host)
