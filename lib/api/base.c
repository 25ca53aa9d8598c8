/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The version, and the way to free what the library gave away. */
#include <glib.h>
#include <vmhost/base.h>

void vmh_free(void *memory)
{
    g_free(memory);
}

const char *vmh_version(void)
{
    return VMHOST_VERSION;
}
