/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which drivers this build has: the only place that knows them all. */
#include "driver.h"

extern const vmhi_driver vmhi_kvm_driver;
extern const vmhi_driver vmhi_libvirt_driver;

const vmhi_driver *const vmhi_drivers[] = {&vmhi_kvm_driver, &vmhi_libvirt_driver, NULL};
