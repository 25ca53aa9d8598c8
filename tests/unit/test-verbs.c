/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Verbs: each is known by its name, and a misspelt one is told the nearest. */
#include "model/verbs.h"
#include "unit.h"

#include <vmhost/host.h>

START_TEST(every_verb_is_known_and_documented)
{
    ck_assert_uint_gt(vmh_verb_count(), 10);
    for (size_t i = 0; i < vmh_verb_count(); i++) {
        g_autofree char *copy = g_strdup(vmh_verb_name(i));
        ck_assert_ptr_eq(vmhi_verb_lookup(copy), vmh_verb_name(i));
        ck_assert_str_ne(vmh_verb_doc(i), "");
    }
    ck_assert_ptr_null(vmh_verb_name(vmh_verb_count()));
    ck_assert_ptr_null(vmh_verb_doc(SIZE_MAX));
    ck_assert_ptr_null(vmhi_verb_lookup("vm.fly"));
}
END_TEST

START_TEST(a_misspelt_verb_names_the_nearest)
{
    vmh_error *error = NULL;

    ck_assert_ptr_null(vmhi_verb_require("vm.migrte", &error));
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "\"vm.migrate\"");
    ck_assert_ptr_null(vmhi_verb_require("nothing near any of them", &error));
    assert_error(error, VMH_ERR_UNKNOWN_NAME, "\"nothing near any of them\"");
}
END_TEST

UNIT_RUN("verbs", every_verb_is_known_and_documented, a_misspelt_verb_names_the_nearest)
