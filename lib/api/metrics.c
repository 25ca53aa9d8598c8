/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* metrics.h: taking a frame of a host. What a frame and a metric are stands in the model. */
#include "api/call.h"
#include "api/check.h"

static void keep(void *link)
{
    vmhi_link_ref(link);
}

static void drop(void *link)
{
    vmhi_link_unref(link);
}

vmh_frame *vmh_host_sample(vmh_host *host, const char *columns, uint64_t flags, vmh_error **error)
{
    vmhi_link *link;

    if (!vmhi_check(host, "host", error) || !vmhi_check_flags(flags, 0, error))
        return NULL;
    link = host->link;
    if (!vmhi_call_supported(link, "host.sample", error))
        return NULL;
    return vmhi_sampling_take(&link->sampling, link->driver, link->remote,
                              link->in_process || link->driver->samples_at_once, columns,
                              vmhi_link_option_ms(link, "sample.timeout"), keep, drop, link, error);
}
