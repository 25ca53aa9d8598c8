/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of domain XML share. */
#pragma once

#include "libvirt/domain-map.h"
#include "unit.h"

/* Hosts that need not be there. */
extern const vmhi_platform qemu, test_driver, xen;

/* As much as one VM can have, in the form that set_all() reads. */
extern const char everything[];

void      set(vmh_spec *spec, const char *path, const char *value);
void      set_all(vmh_spec *spec, const char *list); /* "path=value;…" */
vmh_spec *spec_of(const char *list);

/* The document of a new VM; build() fails the test where that cannot be. */
xmlDoc *try_build(const vmhi_platform *platform, const vmh_spec *spec, vmh_error **error);
xmlDoc *build(const vmhi_platform *platform, const char *list);

xmlDoc *parse(const char *xml);
xmlDoc *again(xmlDoc *doc); /* through text, as it goes through libvirt */
xmlDoc *fixture(const char *name);

char *value_of(const vmh_spec *spec, const char *path);

#define assert_value(spec, path, expected)                                                                           \
    do {                                                                                                             \
        g_autofree char *value_ = value_of(spec, path);                                                              \
        ck_assert_msg(g_strcmp0(value_, expected) == 0, "%s is %s, expected %s", path, value_ ? value_ : "not set",  \
                      (const char *)(expected) ? (const char *)(expected) : "not set");                              \
    } while (0)

/* The number of nodes that an XPath expression finds. */
int count(xmlDoc *doc, const char *expression);

#define assert_count(doc, expression, expected) ck_assert_int_eq(count(doc, expression), expected)

/* By libvirt's own schema: what virt-xml-validate does for each file. */
void assert_valid(xmlDoc *doc, const char *what);
