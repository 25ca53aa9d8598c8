/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvmhost: create, configure, move, protect and watch virtual machines. The one header to include. */
#ifndef VMHOST_VMHOST_H
#define VMHOST_VMHOST_H

#include <vmhost/base.h>
#include <vmhost/error.h>
#include <vmhost/event.h>
#include <vmhost/host.h>
#include <vmhost/job.h>
#include <vmhost/metrics.h>
#include <vmhost/properties.h>
#include <vmhost/spec.h>
#include <vmhost/vm.h>

#endif
