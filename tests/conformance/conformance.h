/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of behaviours that every driver is held to, and the stage on which each is tried. */
#pragma once

#include "support.h"

/* One host under test. */
typedef struct {
    const char *uri;
    vmh_host   *host;
    vmh_host   *other;   /* a second connection to the same host */
    vmh_error  *error;   /* of the last call */
    char       *failure; /* why the behaviour that is tried failed, or NULL */
    char       *skipped; /* why it cannot be tried here, or NULL */
    char       *lacking; /* why the host cannot do it, where only trying could tell, or NULL */
    vmh_vm     *guest;   /* a Linux that runs, shared by what needs one */
    int         console; /* its console, or -1 */
    GString    *seen;    /* what it said */
    GPtrArray  *files;   /* images to remove at the end */
} stage;

typedef struct {
    const char *name;
    const char *needs; /* verbs and properties, with commas; NULL: none */
    void (*run)(stage *s);
    const char *expectation;
} behaviour;

/* Each group ends with an entry without name. */
extern const behaviour host_behaviours[];
extern const behaviour create_behaviours[];
extern const behaviour life_behaviours[];
extern const behaviour update_behaviours[];
extern const behaviour event_behaviours[];
extern const behaviour job_behaviours[];
extern const behaviour guest_behaviours[];

/* A property of the schema is a behaviour as well: set when a VM is made, it is read back the same. */
void run_property(stage *s, const vmh_property *property);

/* Sets the property, and what it needs, to a value that makes sense. FALSE: there is none to be known. */
gboolean set_property(stage *s, vmh_spec *spec, const vmh_property *property);

/* --- stage.c --- */
stage *stage_open(const char *uri, vmh_error **error);
void   stage_close(stage *s);

/* Is it supported? When not, `reason` says why, and that trying fails with that reason has been seen. */
gboolean stage_supports(stage *s, const char *name, char **reason);

/* Forgets the last call's error; so that it can be given to the next call. */
vmh_error **stage_error(stage *s);
void        stage_fail(stage *s, const char *file, int line, const char *format, ...) G_GNUC_PRINTF(4, 5);
void        stage_skip(stage *s, const char *reason);

/* What flags ask for can be asked of no vmh_host_supports(): TRUE when the last call failed with UNSUPPORTED. */
gboolean stage_lacks(stage *s);

/* Ends a job; FALSE, with the failure noted, when it did not end with `code` (0: success). */
gboolean stage_job(stage *s, const char *file, int line, const char *call, vmh_job *job, int32_t code);

#define EXPECT(s, condition)                                                                                         \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            stage_fail(s, __FILE__, __LINE__, "%s", #condition);                                                     \
            return;                                                                                                  \
        }                                                                                                            \
    } while (0)

/* `call` returns a job and takes stage_error(s). */
#define EXPECT_OK(s, call)                                                                                           \
    do {                                                                                                             \
        if (!stage_job(s, __FILE__, __LINE__, #call, call, 0))                                                       \
            return;                                                                                                  \
    } while (0)

#define EXPECT_FAILS(s, code, call)                                                                                  \
    do {                                                                                                             \
        if (!stage_job(s, __FILE__, __LINE__, #call, call, code))                                                    \
            return;                                                                                                  \
    } while (0)

/* A VM that the behaviour can do with what it likes; NULL with the failure noted. */
vmh_vm   *stage_vm(stage *s, uint64_t flags);
vmh_vm   *stage_paused_vm(stage *s);
vmh_vm   *stage_create(stage *s, const vmh_spec *spec, uint64_t flags);
vmh_spec *stage_spec(stage *s, const char *what);
void      stage_remove(stage *s, vmh_vm *vm);

/* The path of a new image of one MiB, for g_free(). */
char *stage_disk(stage *s, const char *what);

/* Sets a property where the host supports it; TRUE when it was set. */
gboolean stage_set(stage *s, vmh_spec *spec, const char *path, const char *text);

/* Whether the two say the same of each path that `wanted` sets, but for those in `except`; else a failure. */
gboolean stage_same(stage *s, const vmh_spec *wanted, const vmh_spec *got, const char *const *except);

/* The shared guest with its console open, booted when first asked for; FALSE: skipped, or failed. */
gboolean stage_guest(stage *s);
