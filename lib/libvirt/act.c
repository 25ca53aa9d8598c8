/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs without arguments. What state a VM is in is asked only when a verb failed, so that success is one call.
 */
#include "libvirt/domain.h"

/* 0, negative when libvirt failed, or REFUSED when it was not asked because of the VM's state. */
typedef int (*verb_call)(virDomainPtr domain, uint64_t flags);

enum { REFUSED = 1 };

static int start(virDomainPtr domain, uint64_t flags)
{
    return flags & VMH_START_PAUSED ? virDomainCreateWithFlags(domain, VIR_DOMAIN_START_PAUSED)
                                    : virDomainCreate(domain);
}

static int pause_vm(virDomainPtr domain, uint64_t flags)
{
    (void)flags;
    return virDomainSuspend(domain);
}

static int resume(virDomainPtr domain, uint64_t flags)
{
    (void)flags;
    return virDomainResume(domain);
}

static int shut_down(virDomainPtr domain, uint64_t flags)
{
    (void)flags;
    return virDomainShutdown(domain);
}

static int reboot(virDomainPtr domain, uint64_t flags)
{
    (void)flags;
    return virDomainReboot(domain, 0);
}

static int reset(virDomainPtr domain, uint64_t flags)
{
    (void)flags;
    return virDomainReset(domain, 0);
}

static int stop(virDomainPtr domain, uint64_t flags)
{
    (void)flags;
    return virDomainDestroy(domain);
}

/*
 * What the host keeps beside the definition would stand in the way and is useless without it; hosts differ in which
 * of it they know, so the most is asked for first.
 */
int vmhi_libvirt_undefine(virDomainPtr domain)
{
    static const unsigned int flags[] = {
        VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM |
            VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA,
        VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM,
        VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA,
        VIR_DOMAIN_UNDEFINE_MANAGED_SAVE,
    };

    for (gsize i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (virDomainUndefineFlags(domain, flags[i]) == 0)
            return 0;
        if (vmhi_libvirt_code(virGetLastError()) != VMH_ERR_UNSUPPORTED)
            return -1;
    }
    return virDomainUndefine(domain);
}

static gboolean is_gone(void)
{
    return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN;
}

/* libvirt would undefine a running VM and let it run on, transient: refused here. */
static int delete_vm(virDomainPtr domain, uint64_t flags)
{
    int active = virDomainIsActive(domain);

    if (active < 0)
        return -1;
    if (active && !(flags & VMH_DELETE_FORCE))
        return REFUSED;
    if (active && virDomainDestroy(domain) < 0 && virDomainIsActive(domain) != 0)
        return is_gone() ? 0 : -1;
    if (vmhi_libvirt_undefine(domain) == 0)
        return 0;
    return active && is_gone() ? 0 : -1; /* A transient one went with its stop. */
}

#define BIT(state) (1u << (state))
#define RUNS (BIT(VMH_VM_RUNNING) | BIT(VMH_VM_STOPPING))
#define STANDS (BIT(VMH_VM_PAUSED) | BIT(VMH_VM_SUSPENDED))

/*
 * `needs` and `from` say in which states the verb makes sense; in `goal`, it has nothing left to do. `state` and
 * `detail` are what it leads to, in libvirt's numbers, where that is sure.
 */
static const struct {
    const char *doing;
    const char *needs;
    unsigned    from;
    int32_t     goal;
    verb_call   call;
    int         state;
    int         detail;
} verbs[] = {
    [VMHI_START] = {"starting", "a stopped VM", BIT(VMH_VM_STOPPED) | BIT(VMH_VM_CRASHED), 0, start,
                    VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED},
    [VMHI_PAUSE] = {"pausing", "a running VM", RUNS, VMH_VM_PAUSED, pause_vm, VIR_DOMAIN_PAUSED,
                    VIR_DOMAIN_PAUSED_USER},
    [VMHI_RESUME] = {"resuming", "a paused VM", STANDS, VMH_VM_RUNNING, resume, VIR_DOMAIN_RUNNING,
                     VIR_DOMAIN_RUNNING_UNPAUSED},
    [VMHI_SHUTDOWN] = {"shutting down", "a running VM", RUNS | STANDS, 0, shut_down, 0, 0},
    [VMHI_REBOOT] = {"rebooting", "a running VM", RUNS | STANDS, 0, reboot, 0, 0},
    [VMHI_RESET] = {"resetting", "a running VM", RUNS | STANDS | BIT(VMH_VM_CRASHED), 0, reset, 0, 0},
    [VMHI_STOP] = {"stopping", "a running VM", RUNS | STANDS | BIT(VMH_VM_CRASHED), 0, stop, VIR_DOMAIN_SHUTOFF,
                   VIR_DOMAIN_SHUTOFF_DESTROYED},
    [VMHI_DELETE] = {"deleting", "a stopped VM, or the flag VMH_DELETE_FORCE", BIT(VMH_VM_STOPPED), 0, delete_vm, 0,
                     0},
};

/* Can the VM's state be what was wrong? Not when it is gone, the host, or somebody in the way. */
static gboolean may_be_state(int32_t code)
{
    return code == VMH_ERR_STATE || code == VMH_ERR_HYPERVISOR;
}

static int32_t look(virDomainPtr domain)
{
    int         native, detail;
    const char *reason;

    return virDomainGetState(domain, &native, &detail, 0) < 0 ? VMH_VM_UNKNOWN
                                                              : vmhi_libvirt_state(native, detail, &reason);
}

/* A start that failed may do so for a file or a network that is not there. */
static void blame_property(virDomainPtr domain, vmh_error *failure)
{
    g_autofree char *xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE);
    g_autoptr(xmlDoc) doc = xml ? vmhi_domain_parse(xml, NULL) : NULL;
    g_autoptr(vmh_spec) spec = doc ? vmhi_domain_read(doc) : NULL;

    if (!spec)
        return;
    vmhi_spec_unset(spec, "name", NULL); /* quoted in many a message, and never at fault here */
    vmhi_domain_explain(failure, spec);
}

/*
 * The verb failed: has it nothing to do, was it the state, or what libvirt says? TRUE: it is done after all. The
 * state may have changed again since; then libvirt's own word stands, whose code tells whether it was the state.
 */
static gboolean explain(virDomainPtr domain, const char *name, vmhi_verb verb, int status, vmh_error **error)
{
    g_autofree char *doing = g_strdup_printf("%s VM \"%s\"", verbs[verb].doing, name);
    g_autoptr(vmh_error) failure = NULL;
    int32_t state;

    if (status == REFUSED)
        vmhi_error_set(&failure, VMH_ERR_STATE, "%s needs %s", doing, verbs[verb].needs);
    else
        vmhi_libvirt_error(&failure, NULL, doing);
    if (verb == VMHI_START && failure->code != VMH_ERR_STATE)
        blame_property(domain, failure);
    state = may_be_state(failure->code) ? look(domain) : VMH_VM_UNKNOWN;
    if (verbs[verb].goal && state == verbs[verb].goal)
        return TRUE; /* QEMU succeeds here, other hosts do not: we do everywhere. */
    if (verb == VMHI_RESUME && state == VMH_VM_SUSPENDED)
        return virDomainPMWakeup(domain, 0) == 0 || (vmhi_libvirt_error(error, NULL, doing), FALSE);
    if (state == VMH_VM_UNKNOWN || (verbs[verb].from & BIT(state)))
        vmhi_error_move(error, g_steal_pointer(&failure));
    else
        vmhi_error_set_native(error, VMH_ERR_STATE, VMHI_LIBVIRT, failure->native, NULL, "\"%s\" is %s; %s needs %s",
                              name, vmh_vm_state_name(state), verbs[verb].doing, verbs[verb].needs);
    return FALSE;
}

/* Spares the caller a look, which on a host far away is a call of its own. A transient VM goes when it stops. */
static void tell(vmhi_driver_host *host, virDomainPtr domain, vmhi_vm_info *info, vmhi_verb verb, uint64_t flags,
                 vmhi_visit visit, void *data)
{
    if (verbs[verb].state == VIR_DOMAIN_NOSTATE)
        return;
    info->persistent = vmhi_libvirt_is_persistent(host, info->uuid, domain);
    if (verb == VMHI_STOP && !info->persistent)
        return;
    if (verb == VMHI_START && (flags & VMH_START_PAUSED))
        info->state = vmhi_libvirt_state(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER, &info->reason);
    else
        info->state = vmhi_libvirt_state(verbs[verb].state, verbs[verb].detail, &info->reason);
    visit(data, info);
}

gboolean vmhi_libvirt_act(vmhi_driver_host *host, const char *uuid, vmhi_verb verb, uint64_t flags, vmhi_task *task,
                          vmhi_visit visit, void *data, vmh_error **error)
{
    g_autoptr(virDomain) domain = vmhi_libvirt_domain(host, uuid, error);
    vmhi_vm_info info = {.uuid = uuid};
    int          status;

    (void)task; /* These are over at once, or cannot be stopped half-way. */
    if (!domain)
        return FALSE;
    info.name = virDomainGetName(domain); /* Asked for later, it would reset the error. */
    status = verbs[verb].call(domain, flags);
    if (status == 0) {
        tell(host, domain, &info, verb, flags, visit, data);
        return TRUE;
    }
    if (verb == VMHI_START && (flags & VMH_START_PAUSED) && virGetLastErrorCode() == VIR_ERR_INVALID_ARG) {
        vmhi_error_set_native(error, VMH_ERR_UNSUPPORTED, VMHI_LIBVIRT, VIR_ERR_INVALID_ARG, NULL,
                              "starting VM \"%s\": this host starts no VM paused", info.name);
        return FALSE;
    }
    return explain(domain, info.name, verb, status, error);
}
