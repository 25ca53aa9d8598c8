/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's documents as libvirt has them now: what is kept for the next start, and what runs. */
#pragma once

#include "libvirt/domain.h"

typedef struct {
    xmlDoc  *kept; /* NULL: transient */
    xmlDoc  *run;  /* NULL: stopped */
    uint64_t generation;
} vmhi_documents;

/* FALSE with VMH_ERR_NOT_FOUND when the VM went meanwhile. */
gboolean vmhi_documents_read(vmhi_documents *documents, virDomainPtr domain, vmh_error **error);
void     vmhi_documents_clear(vmhi_documents *documents);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(vmhi_documents, vmhi_documents_clear)
