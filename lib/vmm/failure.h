/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Why a request failed, in the words that the library's user reads. */
#pragma once

#include "wire.h"
#include <stdarg.h>
#include <stdio.h>

struct failure {
    int         code;     /* WIRE_UNSUPPORTED and so on */
    const char *property; /* constant, or NULL */
    char        message[WIRE_TEXT];
};

/* Always false, for the caller to return. */
__attribute__((format(printf, 4, 5))) static inline bool fail(struct failure *failure, int code, const char *property,
                                                              const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    failure->code = code;
    failure->property = property;
    vsnprintf(failure->message, sizeof(failure->message), format, arguments);
    va_end(arguments);
    return false;
}
