/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/timetable.h"

#include "orchestrator/core/rehearsal_due.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"

/* A controller that has just started hears of its engines in seconds, one that is restarted is back in minutes. */
#define PATIENCE_MS ((gint64)600 * 1000)

struct Timetable {
    Scenarios *scenarios;
    Events *events;
    TimetableBegin begin;
    void *user;
    GHashTable *due; /* scenario -> RehearsalDue * */
};

Timetable *timetable_new(Scenarios *scenarios, Events *events, TimetableBegin begin, void *user)
{
    Timetable *t = g_new0(Timetable, 1);

    t->scenarios = scenarios;
    t->events = events;
    t->begin = begin;
    t->user = user;
    t->due = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, rehearsal_due_free);
    return t;
}

void timetable_free(Timetable *t)
{
    if (!t)
        return;
    g_hash_table_unref(t->due);
    g_free(t);
}

gboolean timetable_load(Timetable *t, Database *db, GError **error)
{
    json_auto_t *newest = database_load_newest_tests(db, error);
    g_autoptr(GPtrArray) list = scenarios_list(t->scenarios);

    for (guint i = 0; i < list->len; i++)
        g_hash_table_insert(t->due, g_strdup(((const Protection *)list->pdata[i])->scenario->name),
                            rehearsal_due_new(0));
    for (gsize i = 0; i < json_array_size(newest); i++) {
        const json_t *row = json_array_get(newest, i);
        const char *scenario = json_string_value(json_object_get(row, "scenario"));
        RehearsalDue *due = scenario ? g_hash_table_lookup(t->due, scenario) : NULL;

        if (due)
            due->from_ms = json_integer_value(json_object_get(row, "begun_ms"));
    }
    return newest != NULL;
}

typedef struct {
    Timetable *t;
    char *scenario;
} Turn;

static void pass_over(const Timetable *t, const char *scenario, const GError *why)
{
    g_autoptr(Event) event = event_new(EVENT_TEST_SKIPPED, scenario, NULL, NULL, why->message);

    events_publish(t->events, event);
}

static void on_begun(void *user, const json_t *doc, const GError *error)
{
    Turn *turn = user;

    (void)doc;
    if (error && rehearsal_may_have_begun(error))
        log_warning("the integrity test whose time has come: %s", error->message);
    else if (error)
        pass_over(turn->t, turn->scenario, error);
    g_free(turn->scenario);
    g_free(turn);
}

/* FALSE: its engine does not answer, nothing was begun. */
static gboolean take_turn(Timetable *t, const char *scenario, gboolean last)
{
    RehearsalWish wish = {.limit_ms = REHEARSAL_LIMIT_MS};
    g_autoptr(GError) error = NULL;
    Turn *turn = g_new0(Turn, 1);
    gboolean silent;

    *turn = (Turn){t, g_strdup(scenario)};
    if (t->begin(t->user, scenario, &wish, on_begun, turn, &error)) {
        log_info("%s: the time of an integrity test has come -> begin", scenario);
        return TRUE;
    }
    silent = g_error_matches(error, US_ERROR, US_ERROR_UNREACHABLE) && !last;
    if (!silent)
        pass_over(t, scenario, error);
    g_free(turn->scenario);
    g_free(turn);
    return !silent;
}

static void look(Timetable *t, const Scenario *scenario, gint64 now_wall_ms)
{
    RehearsalDue *due = g_hash_table_lookup(t->due, scenario->name);
    g_autoptr(GError) error = NULL;

    if (!due) {
        due = rehearsal_due_new(now_wall_ms);
        g_hash_table_insert(t->due, g_strdup(scenario->name), due);
    }
    if (rehearsal_due_step(due, &scenario->policy, now_wall_ms, &error))
        due->until_ms = now_wall_ms + PATIENCE_MS;
    else if (error)
        pass_over(t, scenario->name, error);
    if (due->until_ms && take_turn(t, scenario->name, now_wall_ms >= due->until_ms))
        due->until_ms = 0;
}

static gboolean is_gone(gpointer name, gpointer due, gpointer scenarios)
{
    (void)due;
    return scenarios_find(scenarios, name, NULL) == NULL;
}

void timetable_tick(Timetable *t, gint64 now_wall_ms)
{
    g_autoptr(GPtrArray) list = scenarios_list(t->scenarios);

    g_hash_table_foreach_remove(t->due, is_gone, t->scenarios);
    for (guint i = 0; i < list->len; i++)
        look(t, ((const Protection *)list->pdata[i])->scenario, now_wall_ms);
}

gint64 timetable_next(const Timetable *t, const char *scenario)
{
    const RehearsalDue *due = g_hash_table_lookup(t->due, scenario);

    return due ? due->next_ms : CALENDAR_NEVER;
}
