/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the built-in engine share: hosts of their own, small guests, and the processes behind VMs. */
#pragma once

#include "integration.h"

/* The main() of a test, whose VMs and files are gone when it ends. It is skipped where there is no KVM. */
int engine_run(const char *name, const TTest *const *tests, size_t count);

/* The host of the test under way, and the directory that holds its VMs. */
const char *engine_uri(void);
const char *engine_directory(void);

/* A VM that boots the small guest with these arguments, on a host of the engine's. */
vmh_spec *engine_spec(const char *name, const char *cmdline);
vmh_vm   *engine_create(vmh_host *host, const char *name, const char *cmdline, uint64_t flags);
/* Waits for the host to have heard of it. */
vmh_vm *engine_find(vmh_host *host, const char *name);

/* The process of a VM that runs; and waiting until one has ended. */
pid_t    engine_process(vmh_vm *vm);
gboolean engine_wait_gone(pid_t process, int64_t timeout_ms);

/* How many files there are below the directory, and how many VMMs this test has begun that have not ended. */
guint engine_files(void);
guint engine_processes(void);

/* Runs this same program with these arguments, and gives what it printed. It must succeed. */
char *engine_second(const char *const *arguments);
#define SECOND(...) engine_second((const char *const[]){__VA_ARGS__, NULL})
