/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs in the test guest: gives back what comes over its sockets to the host (vsock). It takes connections at port 5,
 * and connects to port 9 of the host, again and again until somebody is there.
 */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OWN_PORT = 5, HOST_PORT = 9, PAUSE_US = 100000 };

static void echo(int stream)
{
    static char bytes[65536];
    ssize_t     got;

    while ((got = read(stream, bytes, sizeof(bytes))) > 0) {
        for (ssize_t done = 0; done < got;) {
            const ssize_t count = send(stream, bytes + done, (size_t)(got - done), MSG_NOSIGNAL);

            if (count < 0)
                return;
            done += count;
        }
    }
}

static int make_socket(void)
{
    const int made = socket(AF_VSOCK, SOCK_STREAM, 0);

    if (made < 0)
        perror("echo: socket");
    return made;
}

static int serve(void)
{
    const struct sockaddr_vm own = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = OWN_PORT};
    const int                listener = make_socket();

    if (bind(listener, (const struct sockaddr *)&own, sizeof(own)) < 0 || listen(listener, 8) < 0) {
        perror("echo: listening");
        return 1;
    }
    printf("vmhost-guest: echoing\n");
    fflush(stdout);
    for (;;) {
        const int stream = accept(listener, NULL, NULL);

        echo(stream);
        close(stream);
    }
}

static int call(void)
{
    const struct sockaddr_vm host = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = HOST_PORT};

    for (;;) {
        const int stream = make_socket();

        if (stream < 0)
            return 1;
        if (connect(stream, (const struct sockaddr *)&host, sizeof(host)) == 0)
            echo(stream);
        close(stream);
        usleep(PAUSE_US);
    }
}

int main(void)
{
    return fork() == 0 ? call() : serve();
}
