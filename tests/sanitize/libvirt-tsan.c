/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Only in builds under ThreadSanitizer: gives libvirt's letting go a name that tsan-suppressions can know. libvirt
 * counts references by atomics of its own that are not seen: who frees an object last seems to race with who let go
 * of it before.
 */
#include <dlfcn.h>
#include <libvirt/libvirt.h>

/* A function of its own: of one that is not instrumented, only who called the caller stands on the stack. */
__attribute__((noinline)) static void let_go(virDomainPtr domain, int *result)
{
    *result = ((typeof(&virDomainFree))dlsym(RTLD_NEXT, "virDomainFree"))(domain);
}

int virDomainFree(virDomainPtr domain)
{
    int result;

    let_go(domain, &result);
    return result;
}

/* A list of records lets go of their domains likewise. */
__attribute__((noinline)) static void let_go_of_all(virDomainStatsRecordPtr *records, volatile int *done)
{
    ((typeof(&virDomainStatsRecordListFree))dlsym(RTLD_NEXT, "virDomainStatsRecordListFree"))(records);
    *done = 1;
}

void virDomainStatsRecordListFree(virDomainStatsRecordPtr *records)
{
    volatile int done = 0;

    let_go_of_all(records, &done);
    (void)done;
}
