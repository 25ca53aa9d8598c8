/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHOW(NAME) prints a constant of the public headers with its type and its value; see record. */
#include <stdio.h>
#include <string.h>
#include <vmhost/vmhost.h>

/* A macro with an argument is shown with that argument: its name is what stands before the "(". */
static int name_length(const char *name)
{
    return (int)strcspn(name, "(");
}

static inline void show_text(const char *name, const char *value)
{
    printf("%.*s text %s\n", name_length(name), name, value);
}

static inline void show_int(const char *name, int value)
{
    printf("%.*s int %d\n", name_length(name), name, value);
}

static inline void show_u64(const char *name, uint64_t value)
{
    printf("%.*s uint64 %llu\n", name_length(name), name, (unsigned long long)value);
}

#define SHOW(constant)                                                                                               \
    _Generic((constant), char * : show_text, int : show_int, uint64_t : show_u64)(#constant, constant)
