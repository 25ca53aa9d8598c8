/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Holds hosts to the list of behaviours and prints a matrix: each behaviour, and how each host did. */
#include "conformance.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum { PASS, FAIL, UNSUPPORTED, SKIPPED } mark;

static const char *const mark_names[] = {"pass", "FAIL", "unsupported", "skipped"};

typedef struct {
    mark  mark;
    char *reason;
} result;

/* A row of the matrix: a behaviour of the list, or a property of the schema. */
typedef struct {
    char               *name;
    const behaviour    *behaviour;
    const vmh_property *property;
    result             *results; /* of each host */
} row;

static gboolean    tap, list_only;
static char      **only;
static char      **uris;
static const char *tap_host;

static const GOptionEntry options[] = {
    {"tap", 0, 0, G_OPTION_ARG_NONE, &tap, "Print results in the Test Anything Protocol", NULL},
    {"list", 0, 0, G_OPTION_ARG_NONE, &list_only, "List the behaviours", NULL},
    {"only", 0, 0, G_OPTION_ARG_STRING_ARRAY, &only, "Try only behaviours whose names match; may be repeated",
     "PATTERN"},
    {"in-lab", 0, 0, G_OPTION_ARG_STRING, &tap_host, "Take the URI from this variable; skip outside a lab",
     "VARIABLE"},
    {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &uris, NULL, "URI..."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

/* --- the rows --- */

static gboolean is_wanted(const char *name)
{
    gboolean wanted = !only;

    for (char **pattern = only; pattern && *pattern && !wanted; pattern++)
        wanted = g_pattern_match_simple(*pattern, name);
    return wanted;
}

static void add_row(GArray *rows, char *name, const behaviour *entry, const vmh_property *property)
{
    row new = {.name = name, .behaviour = entry, .property = property};

    if (!is_wanted(name))
        g_free(name);
    else
        g_array_append_val(rows, new);
}

static GArray *make_rows(void)
{
    static const behaviour *const groups[] = {host_behaviours,  create_behaviours, life_behaviours, update_behaviours,
                                              event_behaviours, job_behaviours,    guest_behaviours};
    GArray                       *rows = g_array_new(FALSE, FALSE, sizeof(row));

    for (size_t i = 0; i < G_N_ELEMENTS(groups); i++)
        for (const behaviour *entry = groups[i]; entry->name; entry++)
            add_row(rows, g_strdup(entry->name), entry, NULL);
    for (size_t i = 0; i < vmh_schema_count("vm"); i++) {
        const vmh_property *property = vmh_schema_at("vm", i);
        if (g_str_has_suffix(vmh_property_pattern(property), ".present"))
            continue; /* no value but a verb; see update.disk and update.nic */
        add_row(rows, g_strconcat("property ", vmh_property_pattern(property), NULL), NULL, property);
    }
    return rows;
}

static const char *expectation(const row *r)
{
    return r->behaviour ? r->behaviour->expectation : vmh_property_doc(r->property);
}

/* --- trying --- */

/* TRUE when all that the row needs is supported; else *reason says what is not. */
static gboolean has_what_it_needs(stage *s, const row *r, char **reason)
{
    const char *needs = r->behaviour ? r->behaviour->needs : vmh_property_pattern(r->property);
    g_auto(GStrv) names = g_strsplit(needs ? needs : "", ",", -1);

    for (char **name = names; *name && **name; name++)
        if (!stage_supports(s, *name, reason))
            return FALSE;
    return TRUE;
}

static result try_row(stage *s, const row *r)
{
    result   done = {.mark = PASS};
    char    *reason = NULL;
    gboolean supported = has_what_it_needs(s, r, &reason);

    if (supported && r->behaviour)
        r->behaviour->run(s);
    else if (supported)
        run_property(s, r->property);
    if (s->failure) {
        done = (result){FAIL, g_steal_pointer(&s->failure)};
        test_clean(s->host);
    } else if (!supported) {
        done = (result){UNSUPPORTED, g_steal_pointer(&reason)};
    } else if (s->lacking) {
        done = (result){UNSUPPORTED, g_steal_pointer(&s->lacking)};
    } else if (s->skipped) {
        done = (result){SKIPPED, g_steal_pointer(&s->skipped)};
    }
    g_clear_pointer(&s->skipped, g_free);
    g_clear_pointer(&s->lacking, g_free);
    g_free(reason);
    return done;
}

static void print_tap(const row *r, const result *got)
{
    static guint number;

    printf("%sok %u %s%s%s\n", got->mark == FAIL ? "not " : "", ++number, r->name,
           got->mark == SKIPPED ? " # SKIP " : "", got->mark == SKIPPED ? got->reason : "");
    if (got->mark == FAIL || got->mark == UNSUPPORTED) /* the latter was seen to fail as it has to */
        printf("# %s: %s\n", mark_names[got->mark], got->reason);
    fflush(stdout);
}

static gboolean try_host(const char *uri, GArray *rows, guint column, guint columns)
{
    g_autoptr(vmh_error) error = NULL;
    stage *s = stage_open(uri, &error);

    if (!s) {
        fprintf(stderr, "%s: %s\n", uri, vmh_error_message(error));
        return FALSE;
    }
    for (guint i = 0; i < rows->len; i++) {
        row *r = &g_array_index(rows, row, i);
        if (!r->results)
            r->results = g_new0(result, columns);
        r->results[column] = try_row(s, r);
        if (tap)
            print_tap(r, &r->results[column]);
        else
            fprintf(stderr, "\r\033[K%s: %s", uri, i + 1 < rows->len ? r->name : "done\n");
    }
    stage_close(s);
    return TRUE;
}

/* --- the matrix --- */

static void print_head(guint columns)
{
    for (guint i = 0; i < columns; i++)
        printf("host %u: %s\n", i + 1, uris[i]);
    printf("\n%-34s", "behaviour");
    for (guint i = 0; i < columns; i++) {
        g_autofree char *head = g_strdup_printf("host %u", i + 1);
        printf(" %-17s", head);
    }
    printf(" expectation\n");
}

static void print_matrix(GArray *rows, guint columns)
{
    g_autoptr(GString) notes = g_string_new(NULL);
    guint note = 0, count[G_N_ELEMENTS(mark_names)] = {0};

    print_head(columns);
    for (guint i = 0; i < rows->len; i++) {
        const row *r = &g_array_index(rows, row, i);
        printf("%-34s", r->name);
        for (guint j = 0; j < columns; j++) {
            const result    *got = &r->results[j];
            g_autofree char *cell = got->reason ? g_strdup_printf("%s [%u]", mark_names[got->mark], ++note) : NULL;
            count[got->mark]++;
            printf(" %-17s", cell ? cell : mark_names[got->mark]);
            if (got->reason)
                g_string_append_printf(notes, "[%u] %s\n", note, got->reason);
        }
        printf(" %s\n", expectation(r));
    }
    printf("\n%s\n", notes->str);
    for (guint i = 0; i < G_N_ELEMENTS(count); i++)
        printf("%u %s%s", count[i], mark_names[i], i + 1 < G_N_ELEMENTS(count) ? ", " : "\n");
}

static gboolean any_failed(GArray *rows, guint columns)
{
    for (guint i = 0; i < rows->len; i++)
        for (guint j = 0; j < columns; j++)
            if (g_array_index(rows, row, i).results[j].mark == FAIL)
                return TRUE;
    return FALSE;
}

static void free_rows(GArray *rows, guint columns)
{
    for (guint i = 0; i < rows->len; i++) {
        row *r = &g_array_index(rows, row, i);
        for (guint j = 0; r->results && j < columns; j++)
            g_free(r->results[j].reason);
        g_free(r->results);
        g_free(r->name);
    }
    g_array_free(rows, TRUE);
}

/* --- the program --- */

/* The URI of a lab's host. Outside a lab there is none, and that is no failure. */
static void take_uri_from_lab(void)
{
    const char *uri = g_getenv(tap_host);

    if (!uri && g_getenv("VMHOST_TEST_LAB")) {
        printf("Bail out! %s is not set in this lab\n", tap_host);
        exit(1);
    }
    if (!uri) {
        printf("1..0 # SKIP needs a lab: tests/lab/enter -- COMMAND\n");
        exit(0);
    }
    uris = g_new0(char *, 2);
    uris[0] = g_strdup(uri);
}

static void skip_without_kvm(void)
{
    if (!tap || !g_str_has_prefix(uris[0], "kvm:") || access("/dev/kvm", R_OK | W_OK) == 0)
        return;
    printf("1..0 # SKIP needs KVM: /dev/kvm: %s\n", g_strerror(errno));
    exit(0);
}

static void parse(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new("- hold hosts to the list of behaviours");
    g_autoptr(GError) problem = NULL;

    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &problem)) {
        fprintf(stderr, "%s\n", problem->message);
        exit(2);
    }
    if (tap_host)
        take_uri_from_lab();
    if (!uris && !list_only) {
        g_autofree char *help = g_option_context_get_help(context, TRUE, NULL);
        fprintf(stderr, "%s", help);
        exit(2);
    }
    if (uris)
        skip_without_kvm();
}

int main(int argc, char **argv)
{
    GArray  *rows;
    guint    columns;
    gboolean opened = TRUE, failed;

    parse(argc, argv);
    rows = make_rows();
    columns = uris ? g_strv_length(uris) : 0;
    for (guint i = 0; list_only && i < rows->len; i++)
        printf("%-34s %s\n", g_array_index(rows, row, i).name, expectation(&g_array_index(rows, row, i)));
    if (tap)
        printf("1..%u\n", rows->len * columns);
    for (guint i = 0; i < columns && opened && !list_only; i++)
        opened = try_host(uris[i], rows, i, columns);
    if (opened && !tap && !list_only)
        print_matrix(rows, columns);
    failed = !opened || (!list_only && any_failed(rows, columns));
    free_rows(rows, columns);
    g_strfreev(uris);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
