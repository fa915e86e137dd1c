/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/events.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/log.h"

#define RETRY_MS 10000

typedef struct {
    gint64 until_ms;
    EventsWaiter waiter;
    void *user;
} Waiting;

typedef struct {
    gint64 at_ms;
    char *scenario, *host;
    json_t *doc;
} Record;

/* On its way to the database. */
typedef struct {
    Events *events;
    GPtrArray *records;
    gboolean tries; /* the oldest of those that could not be kept, alone: is there room again? */
} Batch;

struct Events {
    Database *db;
    EventsKept kept;
    GPtrArray *unkept; /* of Record *, oldest first: there was no room for them */
    gboolean is_full;  /* … and is none yet */
    gint64 retry_ms;   /* … before which it is not looked */
    GQueue *waiting;   /* Waiting * */
    void (*on_come)(void *user);
    void *listener;
};

static void record_free(gpointer data)
{
    Record *r = data;

    g_free(r->scenario);
    g_free(r->host);
    json_decref(r->doc);
    g_free(r);
}

static GPtrArray *records_new(void)
{
    return g_ptr_array_new_with_free_func(record_free);
}

Events *events_new(Database *db, EventsKept kept)
{
    Events *events = g_new0(Events, 1);

    events->db = db;
    events->kept = kept;
    events->unkept = records_new();
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

static void limit(Events *events)
{
    guint over = events->unkept->len > EVENTS_UNKEPT_MAX ? events->unkept->len - EVENTS_UNKEPT_MAX : 0;

    if (over == 0)
        return;
    log_error("the oldest %u events that could not be kept are in this log alone", over);
    g_ptr_array_remove_range(events->unkept, 0, over);
}

static void hold(Events *events, Batch *batch, const GError *error)
{
    if (!events->is_full)
        log_error("events cannot be kept, and nobody is told of them before they can: %s", error->message);
    if (batch->tries) {
        g_ptr_array_extend_and_steal(batch->records, g_steal_pointer(&events->unkept));
        events->unkept = g_steal_pointer(&batch->records);
    } else {
        g_ptr_array_extend_and_steal(events->unkept, g_steal_pointer(&batch->records));
    }
    limit(events);
    events->is_full = TRUE;
    events->retry_ms = clock_steady_ms() + RETRY_MS;
}

static void keep(Events *events, GPtrArray *records, gboolean tries);

static void keep_unkept(Events *events)
{
    GPtrArray *records = g_steal_pointer(&events->unkept);

    log_notice("events are kept again");
    events->unkept = records_new();
    events->is_full = FALSE;
    if (records->len)
        keep(events, records, FALSE);
    else
        g_ptr_array_unref(records);
}

static void on_durable(const GError *error, void *user)
{
    g_autofree Batch *batch = user;
    Events *events = batch->events;

    if (error && !database_is_lost(error)) {
        hold(events, batch, error);
        return;
    }
    g_ptr_array_unref(batch->records);
    if (error) {
        log_error("an event could not be kept: %s", error->message);
        return;
    }
    if (batch->tries)
        keep_unkept(events);
    wake(events, 0, TRUE);
    if (events->on_come)
        events->on_come(events->listener);
}

/* Takes @records, of which there is at least one. */
static void keep(Events *events, GPtrArray *records, gboolean tries)
{
    DatabaseChanges *changes = database_changes_new();
    Batch *batch = g_new0(Batch, 1);
    guint64 sequence = 0;

    for (guint i = 0; i < records->len; i++) {
        const Record *r = records->pdata[i];

        sequence = database_take_sequence(events->db);
        json_object_set_new(r->doc, "sequence", json_integer((json_int_t)sequence));
        database_add_event(changes, sequence, r->at_ms, r->scenario, r->host, r->doc);
    }
    database_forget_events(changes, (gint64)sequence - events->kept.count,
                           clock_wall_ms() - events->kept.age_ms);
    *batch = (Batch){events, records, tries};
    database_submit(events->db, changes, on_durable, batch);
}

static LogLevel level_of(const Event *event)
{
    return (LogLevel)MAX(event_severity_syslog(event_severity(event->code)), (int)LOG_LEVEL_ERROR);
}

void events_publish(Events *events, const Event *event)
{
    Record *r = g_new0(Record, 1);
    GPtrArray *records;

    log_line(level_of(event), "%s: %s%s%s", event_code_name(event->code), event->text,
             event->next ? "; " : "", event->next ? event->next : "");
    r->at_ms = clock_wall_ms();
    r->scenario = g_strdup(event->scenario);
    r->host = g_strdup(event->host);
    r->doc = event_to_json(event, 0, r->at_ms);
    if (events->is_full) {
        g_ptr_array_add(events->unkept, r);
        limit(events);
        return;
    }
    records = records_new();
    g_ptr_array_add(records, r);
    keep(events, records, FALSE);
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
    GPtrArray *records;

    wake(events, now_ms, FALSE);
    if (!events->is_full || events->unkept->len == 0 || now_ms < events->retry_ms)
        return;
    events->retry_ms = G_MAXINT64;
    records = records_new();
    g_ptr_array_add(records, g_ptr_array_steal_index(events->unkept, 0));
    keep(events, records, TRUE);
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
    if (events->unkept->len)
        log_error("the last %u events are in this log alone", events->unkept->len);
    g_ptr_array_unref(events->unkept);
    g_free(events);
}
