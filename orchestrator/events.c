/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/events.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/log.h"

typedef struct {
    gint64 until_ms;
    EventsWaiter waiter;
    void *user;
} Waiting;

struct Events {
    Database *db;
    EventsKept kept;
    GQueue *waiting; /* Waiting * */
    void (*on_come)(void *user);
    void *listener;
};

Events *events_new(Database *db, EventsKept kept)
{
    Events *events = g_new0(Events, 1);

    events->db = db;
    events->kept = kept;
    events->waiting = g_queue_new();
    return events;
}

/* A waiter may wait again at once: only those of now. */
static void wake(Events *events, gint64 now_ms, gboolean come)
{
    for (guint n = events->waiting->length; n > 0; n--) {
        Waiting *w = g_queue_pop_head(events->waiting);

        if (!come && w->until_ms > now_ms) {
            g_queue_push_tail(events->waiting, w);
            continue;
        }
        w->waiter(w->user, come);
        g_free(w);
    }
}

static void on_durable(const GError *error, void *user)
{
    Events *events = user;

    if (error) {
        log_error("an event could not be kept: %s", error->message);
        return;
    }
    wake(events, 0, TRUE);
    if (events->on_come)
        events->on_come(events->listener);
}

static LogLevel level_of(const Event *event)
{
    return (LogLevel)MAX(event_severity_syslog(event_severity(event->code)), (int)LOG_LEVEL_ERROR);
}

void events_publish(Events *events, const Event *event)
{
    guint64 sequence = database_take_sequence(events->db);
    gint64 at_ms = clock_wall_ms();
    json_auto_t *doc = event_to_json(event, sequence, at_ms);
    DatabaseChanges *changes = database_changes_new();

    log_line(level_of(event), "%s: %s%s%s", event_code_name(event->code), event->text,
             event->next ? "; " : "", event->next ? event->next : "");
    database_add_event(changes, sequence, at_ms, event->scenario, event->host, doc);
    database_forget_events(changes, (gint64)sequence - events->kept.count, at_ms - events->kept.age_ms);
    database_submit(events->db, changes, on_durable, events);
}

void events_listen(Events *events, void (*on_come)(void *user), void *user)
{
    events->on_come = on_come;
    events->listener = user;
}

void events_wait(Events *events, gint64 until_ms, EventsWaiter waiter, void *user)
{
    Waiting *w = g_new0(Waiting, 1);

    *w = (Waiting){until_ms, waiter, user};
    g_queue_push_tail(events->waiting, w);
}

void events_tick(Events *events, gint64 now_ms)
{
    wake(events, now_ms, FALSE);
}

void events_close(Events *events)
{
    wake(events, G_MAXINT64, FALSE);
}

void events_free(Events *events)
{
    if (!events)
        return;
    g_assert(g_queue_is_empty(events->waiting));
    g_queue_free(events->waiting);
    g_free(events);
}
