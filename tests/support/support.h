/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests that use the library as a program does have in common: handles, waiting, and VMs to try. */
#pragma once

#include <glib.h>
#include <vmhost/vmhost.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_error, vmh_error_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_spec, vmh_spec_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_host, vmh_host_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_vm, vmh_vm_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_job, vmh_job_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_queue, vmh_queue_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_event, vmh_event_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(vmh_frame, vmh_frame_unref)

/* Nothing here takes as long; a test that waits for so long has found something that never comes. */
#define PATIENCE_MS 120000

/* A name that no other VM has: it begins with test_prefix(), which children of this process share. The caller's. */
const char *test_prefix(void);
char       *test_name(const char *what);

/* Deletes whatever VM has a name with the prefix, running or not. */
void test_clean(vmh_host *host);

/* A small VM: name, one CPU and memory_mib. */
vmh_spec *test_spec(const char *name, unsigned memory_mib);

/* Adds the lab's kernel, with `cmdline` after its own arguments, and a console. FALSE: there is no kernel. */
gboolean test_spec_boot(vmh_spec *spec, const char *cmdline);

/* The name of a VM, for g_free(). */
char *test_vm_name(const vmh_vm *vm);

/* The text of a property in a spec, "" when it is not set. The caller's. */
char *test_text(const vmh_spec *spec, const char *path);

/* A raw image of that size, sparse, which the hosts of the lab see as well. The caller's, for g_unlink(). */
char *test_disk(const char *what, unsigned mib);

/* Waits for a VM's state. */
gboolean test_wait_state(vmh_vm *vm, int32_t state, int64_t timeout_ms);

/* Waits until no VM has this name. */
gboolean test_wait_unknown(vmh_host *host, const char *name, int64_t timeout_ms);

/* Pulls events until one has this type and, when name is not NULL, this name. NULL: none came. */
vmh_event *test_wait_event(vmh_queue *queue, int32_t type, const char *name, int64_t timeout_ms);

/* Reads a console until `text` has come or the time is up; what came is appended to `seen`. */
gboolean test_wait_console(int fd, GString *seen, const char *text, int64_t timeout_ms);
gboolean test_say(int fd, const char *text);

/* Milliseconds of a clock that only goes forward. */
int64_t test_now_ms(void);
