/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starts a guest on the engine and on QEMU, and ends it. What fails ends the program. */
#include "sides.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEARD_MAX = 64 * 1024, ARGUMENTS = 32, PATIENCE_MS = 300000 };

#define NIC 3 /* the descriptor that QEMU has of its NIC's stream */

static char directory[] = "/tmp/vmhost-bench-XXXXXX";

vmh_host *bench_own_host(void)
{
    char uri[64];

    bench_require(mkdtemp(directory) != NULL, NULL, "mkdtemp");
    snprintf(uri, sizeof(uri), "kvm://%s", directory);
    return bench_open(uri);
}

void bench_own_host_free(vmh_host *host)
{
    char command[64];

    vmh_host_unref(host);
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    bench_require(system(command) == 0, NULL, command);
}

static vmh_spec *make_spec(const bench_guest *guest)
{
    static unsigned number;
    vmh_error      *error = NULL;
    vmh_spec       *spec = vmh_spec_new("vm", &error);
    char            name[32], memory[32];

    snprintf(name, sizeof(name), "bench-%u", number++);
    snprintf(memory, sizeof(memory), "%sMiB", guest->memory_mib);
    vmh_spec_set(spec, "name", name, &error);
    vmh_spec_set(spec, "memory.size", memory, &error);
    vmh_spec_set(spec, "boot.kernel", guest->kernel, &error);
    if (guest->initrd)
        vmh_spec_set(spec, "boot.initrd", guest->initrd, &error);
    if (guest->cmdline)
        vmh_spec_set(spec, "boot.cmdline", guest->cmdline, &error);
    if (guest->flat_at) {
        vmh_spec_set(spec, "boot.format", "flat", &error);
        vmh_spec_set(spec, "boot.mode", "real", &error);
        vmh_spec_set(spec, "boot.address", guest->flat_at, &error);
    }
    if (guest->disk)
        vmh_spec_set_str(spec, "disk.data.path", guest->disk, &error);
    if (guest->nic)
        vmh_spec_set_fd(spec, "nic.lan.fd", guest->nic, &error);
    bench_require(error == NULL, error, "the spec");
    return spec;
}

bench_running bench_start_ours(vmh_host *host, const bench_guest *guest)
{
    vmh_error    *error = NULL;
    vmh_spec     *spec = make_spec(guest);
    bench_running running = {0};

    running.job = vmh_host_create_vm(host, spec, VMH_CREATE_START | VMH_CREATE_TRANSIENT, &error);
    bench_require(vmh_job_wait(running.job, -1, &error) == 0, error, "vmh_host_create_vm");
    running.vm = vmh_job_result_vm(running.job);
    running.console = vmh_vm_console(running.vm, NULL, 0, &error);
    bench_require(running.console >= 0, error, "vmh_vm_console");
    vmh_spec_unref(spec);
    return running;
}

/* Opened for both ways, so that neither side waits for the other. */
static int open_pipe(vmh_spec *spec)
{
    vmh_error  *error = NULL;
    char        to[64];
    const char *path = to + strlen("file:");
    int         descriptor;

    snprintf(to, sizeof(to), "file:%s/console", directory);
    bench_require(mkfifo(path, 0600) == 0 || errno == EEXIST, NULL, "mkfifo");
    descriptor = open(path, O_RDWR | O_CLOEXEC);
    bench_require(descriptor >= 0, NULL, path);
    vmh_spec_set(spec, "console.main.to", to, &error);
    bench_require(error == NULL, error, "console.main.to");
    return descriptor;
}

bench_running bench_begin_ours(vmh_host *host, const bench_guest *guest)
{
    vmh_error    *error = NULL;
    vmh_spec     *spec = make_spec(guest);
    bench_running running = {.console = open_pipe(spec)};

    running.job = vmh_host_create_vm(host, spec, VMH_CREATE_START | VMH_CREATE_TRANSIENT, &error);
    bench_require(running.job != NULL, error, "vmh_host_create_vm");
    vmh_spec_unref(spec);
    return running;
}

static size_t add(char **arguments, size_t count, const char *option, const char *value)
{
    if (!value)
        return count;
    arguments[count] = (char *)option;
    arguments[count + 1] = (char *)value;
    return count + 2;
}

static size_t add_devices(char **arguments, size_t count, const bench_guest *guest)
{
    static char drive[256];

    if (guest->disk) {
        snprintf(drive, sizeof(drive), "if=none,id=data,format=raw,file=%s", guest->disk);
        count = add(arguments, count, "-drive", drive);
        count = add(arguments, count, "-device", "virtio-blk-device,drive=data");
    }
    if (guest->nic) {
        count = add(arguments, count, "-netdev", "socket,id=lan,fd=" G_STRINGIFY(NIC));
        count = add(arguments, count, "-device", "virtio-net-device,netdev=lan");
    }
    return count;
}

bench_running bench_start_peer(const bench_guest *guest)
{
    char *arguments[ARGUMENTS] = {"qemu-system-x86_64", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"};
    size_t                     count = 5;
    posix_spawn_file_actions_t actions;
    bench_running              running = {0};
    int                        pipes[2];

    count = add(arguments, count, "-M", "microvm");
    count = add(arguments, count, "-accel", "kvm");
    count = add(arguments, count, "-cpu", guest->qemu_cpu);
    count = add(arguments, count, "-serial", "stdio");
    count = add(arguments, count, "-m", guest->memory_mib);
    count = add(arguments, count, "-kernel", guest->kernel);
    count = add(arguments, count, "-initrd", guest->initrd);
    count = add(arguments, count, "-append", guest->cmdline);
    add_devices(arguments, count, guest);
    bench_require(pipe2(pipes, O_CLOEXEC) == 0, NULL, "pipe2");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    if (guest->nic)
        posix_spawn_file_actions_adddup2(&actions, guest->nic, NIC);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    bench_require(posix_spawnp(&running.process, arguments[0], &actions, NULL, arguments, environ) == 0, NULL,
                  "QEMU");
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    running.console = pipes[0];
    return running;
}

void bench_hear(const bench_running *running, const char *text)
{
    struct pollfd waits = {.fd = running->console, .events = POLLIN};
    char         *heard = calloc(1, HEARD_MAX);
    size_t        length = 0;
    ssize_t       more;

    do {
        bench_require(poll(&waits, 1, PATIENCE_MS) > 0, NULL, "the guest stays silent");
        more = read(running->console, heard + length, HEARD_MAX - 1 - length);
        bench_require(more > 0, NULL, "listening to the guest");
        length += (size_t)more;
    } while (!memmem(heard, length, text, strlen(text)));
    free(heard);
}

void bench_end(bench_running *running)
{
    vmh_error *error = NULL;

    close(running->console);
    if (running->job && !running->vm) {
        bench_require(vmh_job_wait(running->job, -1, &error) == 0, error, "vmh_host_create_vm");
        running->vm = vmh_job_result_vm(running->job);
    }
    if (running->vm) {
        bench_require(vmh_job_finish(vmh_vm_stop(running->vm, 0, &error), -1, &error) == 0, error, "vmh_vm_stop");
    } else {
        kill(running->process, SIGKILL);
        waitpid(running->process, NULL, 0);
    }
    vmh_vm_unref(running->vm);
    vmh_job_unref(running->job);
}

int bench_connect(const vmh_vm *vm, pid_t *process)
{
    const int          connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred       peer;
    socklen_t          size = sizeof(peer);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/vms/%s/control", directory, vmh_vm_uuid(vm));
    bench_require(connect(connection, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                      getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0,
                  NULL, address.sun_path);
    *process = peer.pid;
    return connection;
}
