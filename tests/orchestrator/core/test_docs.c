/* SPDX-License-Identifier: Apache-2.0 */
/* docs/states.md, docs/events.md, docs/properties.md and docs/verification.md are made from the tables. With
 * UNDERSTUDY_REGENERATE set they are written, else compared. */
#include "orchestrator/core/event.h"
#include "orchestrator/core/plan.h"
#include "orchestrator/core/policy.h"
#include "orchestrator/core/states.h"
#include "orchestrator/core/verify.h"

#include <string.h>

#define DOCS TEST_DATA "/../../../docs/"

static void compare(const char *path, const char *want)
{
    g_autofree char *got = NULL;
    GError *error = NULL;

    if (g_getenv("UNDERSTUDY_REGENERATE"))
        g_file_set_contents(path, want, -1, &error);
    g_assert_no_error(error);
    g_file_get_contents(path, &got, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(got, ==, want);
}

static void test_states(void)
{
    static const StateMachine *(*const MACHINES[])(void) = {copy_machine, scenario_machine, move_machine};
    g_autoptr(GString) text = g_string_new(
        "# States\n\nMade from the edge lists in `orchestrator/core`; a test compares. A move that is not in "
        "a table does not exist.\n");

    for (guint i = 0; i < G_N_ELEMENTS(MACHINES); i++) {
        g_autofree char *section = state_machine_text(MACHINES[i]());

        g_string_append_printf(text, "\n%s", section);
    }
    compare(DOCS "states.md", text->str);
}

static void test_events(void)
{
    g_autofree char *catalogue = event_catalogue_text();
    g_autofree char *text = g_strdup_printf(
        "# Events\n\nMade from the catalogue in `orchestrator/core/event.h`; a test compares. Severities and "
        "their syslog "
        "levels: info (info), significant (notice), warning (warning), error (err), critical (crit).\n"
        "What {command} is depends on what is left: `understudy switchover`, with `--force` if the host is "
        "gone and "
        "with `--power-off` if its guest runs and does not answer; of a QEMU that stands still, how to end "
        "that.\n\n%s",
        catalogue);

    compare(DOCS "events.md", text);
}

/* The section of a page that is made from the table: between its title and the next one. */
static void test_manual(void)
{
    static const char PAGE[] = TEST_DATA "/../../../packaging/man/man1/understudy.1";
    static const char TITLE[] = ".SH PROPERTIES\nOf a scenario, given to scenario create as --KEY VALUE, to "
                                "scenario set as KEY=VALUE.\n";
    g_autofree char *properties = policy_manual();
    g_autofree char *page = NULL;
    g_autofree char *want = NULL;
    char *begin, *end;

    g_assert_true(g_file_get_contents(PAGE, &page, NULL, NULL));
    begin = strstr(page, TITLE);
    g_assert_nonnull(begin);
    end = strstr(begin + strlen(TITLE), ".SH ");
    g_assert_nonnull(end);
    begin[strlen(TITLE) - 1] = '\0';
    want = g_strconcat(page, "\n", properties, end, NULL);
    compare(PAGE, want);
}

static void test_verification(void)
{
    g_autofree char *text = verify_catalogue_text();

    compare(DOCS "verification.md", text);
}

static void test_properties(void)
{
    g_autofree char *help = policy_help();
    g_autofree char *text = g_strdup_printf("# Properties of a scenario\n\nMade from the table in "
                                            "`orchestrator/core/policy.c`; a test compares.\n\n```\n%s```\n",
                                            help);

    compare(DOCS "properties.md", text);
}

/* No two edges between the same states, none from a state to itself, every state is reached. */
static void test_machines_are_sound(void)
{
    static const StateMachine *(*const MACHINES[])(void) = {copy_machine, scenario_machine, move_machine};

    for (guint k = 0; k < G_N_ELEMENTS(MACHINES); k++) {
        const StateMachine *m = MACHINES[k]();
        g_autofree gboolean *reached = g_new0(gboolean, m->states);

        for (guint i = 0; i < m->count; i++) {
            g_assert_cmpint(m->edges[i].from, !=, m->edges[i].to);
            g_assert_true(state_may_move(m, m->edges[i].from, m->edges[i].to) == &m->edges[i]);
            reached[m->edges[i].to] = TRUE;
        }
        for (guint s = 0; s < m->states; s++)
            g_assert_true(reached[s] || (k == 2 && s == MOVE_WAITING));
    }
}

/* Every template can be filled in, and what it does not name may be missing. */
static void test_events_can_be_made(void)
{
    g_autoptr(Event) odd = event_new(EVENT_VM_STAYED, "web", "alpha", "{why}", "guest {vm} stays up");
    json_auto_t *doc = event_to_json(odd, 17, 1795299414123);
    json_auto_t *want = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "sequence", 17, "at",
                                  "2026-11-21T22:16:54.123Z", "code", "VM_STAYED", "severity", "warning",
                                  "scenario", "web", "host", "alpha", "vm", "{why}", "text",
                                  "'{why}' was not moved and stays on alpha: guest {vm} stays up", "next",
                                  "remove the cause, then understudy switchover web --vm {why}");

    g_assert_true(json_equal(doc, want));
    for (EventCode code = EVENT_NONE + 1; code <= EVENT_SWITCHOVER_FAILED; code++) {
        g_autoptr(Event) e = code == EVENT_SWITCHOVER_REQUIRED
                                 ? event_new_with_command(code, "web", "so", "do this")
                                 : event_new(code, "web", "beta", "web1", "so");

        g_assert_null(strchr(e->text, '{'));
        g_assert_true(e->next == NULL || strchr(e->next, '{') == NULL);
        g_assert_cmpint(event_severity_syslog(event_severity(code)), <=, 6);
    }
    for (EventCode code = EVENT_NOTIFY_FAILED; code <= EVENT_EVENTS_FORGOTTEN; code++) {
        gboolean whole = code < EVENT_RECIPIENT_REFUSED || code > EVENT_MESSAGE_REFUSED;
        g_autoptr(Event) e =
            whole ? event_new_about_channel(code, "ops", "so") : event_new_through_channel(code, "ops", "so");
        json_auto_t *about = event_to_json(e, 1, 0);

        g_assert_nonnull(strstr(e->text, "'ops'"));
        g_assert_null(strchr(e->text, '{'));
        g_assert_cmpstr(json_string_value(json_object_get(about, "channel")), ==, whole ? "ops" : NULL);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/docs/states", test_states);
    g_test_add_func("/docs/events", test_events);
    g_test_add_func("/docs/properties", test_properties);
    g_test_add_func("/docs/verification", test_verification);
    g_test_add_func("/docs/manual", test_manual);
    g_test_add_func("/docs/machines-are-sound", test_machines_are_sound);
    g_test_add_func("/docs/events-can-be-made", test_events_can_be_made);
    return g_test_run();
}
