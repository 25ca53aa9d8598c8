/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The same guest on both sides: on the engine of our own, and on QEMU's microvm. */
#pragma once

#include "bench.h"

#include <sys/types.h>

typedef struct {
    const char *memory_mib;
    const char *kernel;
    const char *initrd;   /* NULL: none */
    const char *cmdline;  /* NULL: none */
    const char *qemu_cpu; /* NULL: QEMU's own; "host" is what ours is, and QEMU refuses it where KVM is emulated */
    const char *flat_at;  /* NULL: no flat binary; otherwise where it is put and begins, in real mode */
    const char *disk;     /* NULL: none; a file */
    int         nic;      /* 0: none; a connected stream socket, the caller's */
} bench_guest;

/* A guest that runs. Its console is where it is heard; a side has a VM or a process. */
typedef struct {
    vmh_job *job;
    vmh_vm  *vm;
    pid_t    process;
    int      console;
} bench_running;

/* A host of the engine's in a directory of its own, which bench_own_host_free() removes. */
vmh_host *bench_own_host(void);
void      bench_own_host_free(vmh_host *host);

bench_running bench_start_ours(vmh_host *host, const bench_guest *guest);
/* Only asks for it; its console is a pipe, so that the guest is heard as soon as it speaks, as QEMU's is. */
bench_running bench_begin_ours(vmh_host *host, const bench_guest *guest);
bench_running bench_start_peer(const bench_guest *guest);

/* Reads until the guest has said the text; "" is its first byte. */
void bench_hear(const bench_running *running, const char *text);
void bench_end(bench_running *running);

/* A connection to the process of a VM of bench_own_host(), and which process that is. */
int bench_connect(const vmh_vm *vm, pid_t *process);
