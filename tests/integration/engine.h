/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the built-in engine share: hosts of their own, small guests, and the processes behind VMs. */
#pragma once

#include "integration.h"
#include <sys/un.h>

/* The main() of a test, whose VMs and files are gone when it ends. It is skipped where there is no KVM. */
int engine_run(const char *name, const TTest *const *tests, size_t count);

/* The host of the test under way, and the directory that holds its VMs. */
const char *engine_uri(void);
const char *engine_directory(void);
/* The path of a file there, for g_free(). */
char *engine_file(const char *name);

/* A VM that boots the small guest with these arguments, on a host of the engine's. */
vmh_spec *engine_spec(const char *name, const char *cmdline);
vmh_vm   *engine_create(vmh_host *host, const char *name, const char *cmdline, uint64_t flags);
/* Waits for the host to have heard of it. */
vmh_vm *engine_find(vmh_host *host, const char *name);

/* A flat binary; and one of our guests in ring 3. The console of each is the file "console". */
vmh_spec *engine_flat_spec(const char *name, const char *kernel, const char *cmdline);
vmh_spec *engine_guest_spec(const char *guest, const char *cmdline);
/* What such a VM has said until it stopped by itself; it is deleted. length may be NULL. */
char *engine_words(vmh_vm *vm, gsize *length);
/* The number that the guest gave to this name in its words. */
guint64 engine_value(const char *words, const char *name);

/*
 * Where a VM's process listens, wherever the tree is: a socket's path may have only 107 bytes. It leads through the
 * descriptor that is returned, which is to be closed when it was used.
 */
int engine_address(vmh_vm *vm, struct sockaddr_un *address);
/* One more connection to a VM's process; and how many it has. */
int   engine_connect(vmh_vm *vm);
guint engine_connections(pid_t process);

/* The process of a VM that runs; and waiting until one has ended. */
pid_t    engine_process(vmh_vm *vm);
gboolean engine_wait_gone(pid_t process, int64_t timeout_ms);

/* How many files there are below the directory, and how many VMMs this test has begun that have not ended. */
guint engine_files(void);
guint engine_processes(void);

/* Runs this same program with these arguments, and gives what it printed. It must succeed. */
char *engine_second(const char *const *arguments);
#define SECOND(...) engine_second((const char *const[]){__VA_ARGS__, NULL})
