/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading and freeing errors. */
#include "model/error.h"

int32_t vmh_error_code(const vmh_error *error)
{
    return error ? error->code : 0;
}

const char *vmh_error_message(const vmh_error *error)
{
    return error ? error->message : "no error";
}

const char *vmh_error_property(const vmh_error *error)
{
    return error ? error->property : NULL;
}

const char *vmh_error_driver(const vmh_error *error)
{
    return error ? error->driver : NULL;
}

int32_t vmh_error_native(const vmh_error *error)
{
    return error ? error->native : 0;
}

int32_t vmh_error_retryable(const vmh_error *error)
{
    return error && error->retryable;
}

const char *vmh_error_name(int32_t code)
{
#define NAME(code) [-(code)] = #code
    static const char *const names[] = {
        NAME(VMH_ERR_INTERNAL), NAME(VMH_ERR_ARGUMENT),    NAME(VMH_ERR_UNKNOWN_NAME), NAME(VMH_ERR_VALUE),
        NAME(VMH_ERR_NOT_SET),  NAME(VMH_ERR_NOT_FOUND),   NAME(VMH_ERR_EXISTS),       NAME(VMH_ERR_STATE),
        NAME(VMH_ERR_CONFLICT), NAME(VMH_ERR_UNSUPPORTED), NAME(VMH_ERR_PERMISSION),   NAME(VMH_ERR_UNREACHABLE),
        NAME(VMH_ERR_LOST),     NAME(VMH_ERR_TIMEOUT),     NAME(VMH_ERR_CANCELLED),    NAME(VMH_ERR_BUSY),
        NAME(VMH_ERR_RESOURCE), NAME(VMH_ERR_HYPERVISOR),
    };
#undef NAME

    return code < 0 && code > -(int32_t)G_N_ELEMENTS(names) ? names[-code] : NULL;
}

void vmh_error_free(vmh_error *error)
{
    if (!error)
        return;
    g_free(error->message);
    g_free(error->property);
    g_free(error->driver);
    g_free(error);
}
