/* SPDX-License-Identifier: Apache-2.0 */
/* Round: read what waits -> make a message -> keep where it ends -> send it -> keep that it was delivered -> read. One step
 * at a time; pump() begins the next. A message that could not be sent stays as it is until it was. */
#include "orchestrator/notify/courier.h"

#include "orchestrator/notify/apart.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"

#define DIGEST_EVENTS 500
#define DIGEST_BYTES ((gsize)512 * 1024)
#define READ_AGAIN_MS 5000

struct Courier {
    const CourierGround *ground;
    Id id;
    Channel *channel; /* of one who is apart: the whole's */
    Courier *whole;   /* he is apart from this one, and has a reference to it; NULL: this is the channel's */
    char *recipient;  /* who that is */
    Apart *apart;     /* of the whole; NULL: this is one of them */
    Pace pace;
    guint64 cursor;    /* all up to it are delivered, or not for this channel */
    guint64 kept;      /* the cursor that is durable */
    gint64 keep_at_ms; /* when it is to be the other; 0: nobody has thought of it */
    guint64 upto;      /* where the message under way ends; 0: none */
    guint64 asked;     /* where what is being read ends; 0: nowhere */
    guint64 delivered;
    gint64 delivered_at_ms; /* wall; 0: never */
    gboolean told;          /* that it fails for long */
    char *error;            /* the last failure; NULL: none since it was delivered */

    Message *message;
    Sending *sending;
    gboolean news; /* there may be events after the cursor */
    gboolean held; /* none of them is critical: they wait for the rate */
    gboolean busy; /* reading or keeping */
    gboolean closed;
    guint refs;        /* the owner's, the timer's, and one for each question to the database */
    uv_timer_t *timer; /* NULL: not started */
};

static void pump(Courier *c);

static void unref(Courier *c)
{
    if (--c->refs > 0)
        return;
    if (c->whole) {
        unref(c->whole);
    } else {
        apart_free(c->apart);
        channel_free(c->channel);
    }
    g_free(c->recipient);
    pace_clear(&c->pace);
    message_free(c->message);
    g_free(c->error);
    g_free(c);
}

static void on_timer(uv_timer_t *timer)
{
    pump(timer->data);
}

static void on_timer_closed(uv_handle_t *timer)
{
    Courier *c = timer->data;

    g_free(timer);
    unref(c);
}

static void arm(Courier *c, gint64 at_ms)
{
    gint64 now_ms = clock_steady_ms();

    uv_update_time(c->timer->loop);
    uv_timer_start(c->timer, on_timer, at_ms > now_ms ? (uint64_t)(at_ms - now_ms) : 0, 0);
}

static Courier *make(const CourierGround *ground, Id id, Channel *channel)
{
    Courier *c = g_new0(Courier, 1);

    *c = (Courier){.ground = ground, .id = id, .channel = channel, .news = TRUE, .refs = 1};
    pace_init(&c->pace, &ground->pace, channel->rate);
    return c;
}

void courier_start(Courier *c)
{
    c->timer = g_new0(uv_timer_t, 1);
    c->timer->data = c;
    c->refs++;
    uv_timer_init(c->ground->ground.loop, c->timer);
}

/* --- state ----------------------------------------------------------------- */

json_t *courier_first_state(guint64 newest)
{
    return json_pack("{s:I}", "cursor", (json_int_t)newest);
}

json_t *courier_state(const Courier *c)
{
    json_t *apart = c->apart ? apart_to_json(c->apart) : NULL;

    return json_pack("{s:I, s:I, s:I, s:I, s:b, s:o, s:o*}", "cursor", (json_int_t)c->cursor, "upto",
                     (json_int_t)c->upto, "delivered", (json_int_t)c->delivered, "delivered_at",
                     (json_int_t)c->delivered_at_ms, "told", c->told, "pace",
                     pace_to_json(&c->pace, clock_steady_ms(), clock_wall_ms()), "apart", apart);
}

static gboolean read_state(Courier *c, const json_t *state, GError **error)
{
    json_int_t cursor, upto = 0, delivered = 0, delivered_at = 0;
    json_t *pace = NULL, *apart = NULL;
    int told = FALSE;

    if (!json_read(state, "channel", error, "{s:I, s?I, s?I, s?I, s?b, s?o, s?o*}", "cursor", &cursor, "upto",
                   &upto, "delivered", &delivered, "delivered_at", &delivered_at, "told", &told, "pace",
                   &pace, "apart", &apart))
        return FALSE;
    /* A number that was given out and never became durable is given out again. */
    c->cursor = MIN((guint64)cursor, database_last_sequence(c->ground->db));
    c->kept = c->cursor;
    c->upto = (guint64)upto > c->cursor ? (guint64)upto : 0;
    c->delivered = (guint64)delivered;
    c->delivered_at_ms = delivered_at;
    c->told = told;
    pace_from_json(&c->pace, pace, clock_steady_ms(), clock_wall_ms());
    return !c->apart || apart_read(c->apart, apart, error);
}

static void on_kept(const GError *error, void *user)
{
    Courier *c = user;

    c->busy = FALSE;
    /* Then what is delivered now may be delivered again after a restart, but it is delivered. */
    if (error)
        log_warning("how far channel '%s' has come is not durable: %s", c->channel->name, error->message);
    pump(c);
    unref(c);
}

static void keep(Courier *c)
{
    json_auto_t *state = courier_state(c->whole ? c->whole : c);
    DatabaseChanges *changes = database_changes_new();

    c->busy = TRUE;
    c->refs++;
    c->kept = c->cursor;
    c->keep_at_ms = 0;
    database_put_channel_state(changes, c->id, state);
    database_submit(c->ground->db, changes, on_kept, c);
}

/* --- sending ---------------------------------------------------------------- */

static void publish_failed(Courier *c, const char *why)
{
    g_autofree char *whom = c->whole ? g_strdup_printf("%s: %s", c->recipient, why) : NULL;
    g_autoptr(Event) event = whom ? event_new_about_recipient(EVENT_RECIPIENT_REFUSED, c->channel->name, whom)
                                  : event_new_about_channel(EVENT_NOTIFY_FAILED, c->channel->name, why);

    c->ground->on_event(c->ground->user, event);
}

static void publish_back(Courier *c)
{
    g_autoptr(Event) event =
        c->whole ? event_new_about_recipient(EVENT_RECIPIENT_BACK, c->channel->name, c->recipient)
                 : event_new_about_channel(EVENT_NOTIFY_BACK, c->channel->name, NULL);

    c->ground->on_event(c->ground->user, event);
}

static void poke_apart(Courier *c)
{
    if (c->apart)
        apart_poke(c->apart);
}

static void on_delivered(Courier *c)
{
    pace_sent(&c->pace, clock_steady_ms());
    g_clear_pointer(&c->message, message_free);
    g_clear_pointer(&c->error, g_free);
    c->cursor = c->delivered = c->upto;
    c->delivered_at_ms = clock_wall_ms();
    c->upto = 0;
    c->news = TRUE;
    c->held = FALSE;
    if (c->told) {
        c->told = FALSE;
        publish_back(c);
    }
    keep(c);
    poke_apart(c);
}

void courier_note_failure(Courier *c, const char *why)
{
    if (!c->pace.failing)
        log_warning("channel '%s' does not %s%s: %s -> tried again and again, what waits is kept",
                    c->channel->name, c->whole ? "reach " : "deliver", c->whole ? c->recipient : "", why);
    pace_failed(&c->pace, clock_steady_ms());
    g_free(c->error);
    c->error = g_strdup(why);
}

static void on_failed(Courier *c, const GError *error)
{
    gboolean first = !c->pace.failing;

    courier_note_failure(c, error->message);
    if (!c->told && pace_is_long(&c->pace, clock_steady_ms())) {
        c->told = TRUE;
        publish_failed(c, error->message);
        first = TRUE;
    }
    /* Since when, and whether it was told, outlives a restart. */
    if (first)
        keep(c);
    else
        pump(c);
}

/* Of the message under way, which the others have: it is the first that he is to be brought. */
static void part_with(Courier *c, const char *recipient, const char *why)
{
    json_auto_t *state =
        json_pack("{s:I, s:I}", "cursor", (json_int_t)c->cursor, "upto", (json_int_t)c->upto);

    apart_part(c->apart, recipient, state, why);
}

/* @missed stand in the state that says that the others have it. */
static void on_sent(void *user, const GError *error, const json_t *missed)
{
    Courier *c = user;
    const char *recipient;
    json_t *why;

    c->sending = NULL;
    json_object_foreach((json_t *)missed, recipient, why) part_with(c, recipient, json_string_value(why));
    if (error)
        on_failed(c, error);
    else
        on_delivered(c);
}

/* Those that its messages go to. */
static char **recipients_of(const Courier *c)
{
    char *const his[] = {c->recipient, NULL};

    return c->whole ? g_strdupv((char **)his) : apart_others(c->apart, c->channel->to);
}

static void start(Courier *c)
{
    g_auto(GStrv) to = recipients_of(c);

    c->sending = sending_start(&c->ground->ground, c->channel, to, c->message, on_sent, c);
}

/* --- reading ----------------------------------------------------------------- */

static guint64 sequence_of(const json_t *event)
{
    return (guint64)json_integer_value(json_object_get(event, "sequence"));
}

/* One that says what the history has forgotten meanwhile, as the first. */
static void add_forgotten(const Courier *c, json_t *events, guint64 oldest)
{
    g_autofree char *which =
        g_strdup_printf("events %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, c->cursor + 1, oldest - 1);
    g_autoptr(Event) event = event_new_about_channel(EVENT_EVENTS_FORGOTTEN, c->channel->name, which);

    json_array_insert_new(events, 0, event_to_json(event, oldest - 1, clock_wall_ms()));
}

/* The beginning of what waits that is not too long; one at least. */
static json_t *cut(const json_t *events)
{
    json_t *list = json_array();
    gsize bytes = 0, i;
    json_t *event;

    json_array_foreach((json_t *)events, i, event)
    {
        bytes += json_dumpb(event, NULL, 0, 0);
        if (i > 0 && bytes > DIGEST_BYTES)
            break;
        json_array_append(list, event);
    }
    return list;
}

static void make_message(Courier *c, const json_t *found, guint64 oldest)
{
    json_auto_t *events = cut(found);

    c->upto = sequence_of(json_array_get(events, json_array_size(events) - 1));
    if (oldest > c->cursor + 1)
        add_forgotten(c, events, oldest);
    c->message = message_new(c->ground->controller, c->id, c->channel->name, events);
}

static void on_rows(const json_t *rows, const GError *error, void *user)
{
    Courier *c = user;
    const json_t *row = json_array_get(rows, 0);
    const json_t *events = json_object_get(row, "events");
    guint64 newest = (guint64)json_integer_value(json_object_get(row, "newest"));

    c->busy = FALSE;
    if (c->closed || error) {
        if (!c->closed) {
            log_warning("channel '%s' cannot read the history: %s", c->channel->name, error->message);
            c->news = TRUE;
            arm(c, clock_steady_ms() + READ_AGAIN_MS);
        }
    } else if (json_array_size(events) > 0) {
        make_message(c, events, (guint64)json_integer_value(json_object_get(row, "oldest")));
        keep(c);
    } else {
        c->cursor = MAX(c->cursor, c->asked ? c->asked : newest);
        c->news |= c->upto > 0; /* of that message nothing is left */
        c->upto = 0;
        pump(c);
        poke_apart(c);
    }
    unref(c);
}

static void query(Courier *c, const json_t *severities, guint64 upto, guint limit, DatabaseRows on_answer,
                  void *user)
{
    json_auto_t *scenarios = channel_scenarios(c->channel);
    DatabaseBacklog backlog = {.after = c->cursor,
                               .upto = upto,
                               .severities = severities,
                               .scenarios = scenarios,
                               .not_about = c->channel->name,
                               .limit = limit};

    database_query_backlog(c->ground->db, &backlog, on_answer, user);
}

/* Who is apart is not brought what the others do not have yet: that they get together. 0: all. */
static guint64 end_of(const Courier *c)
{
    return c->whole ? c->whole->cursor : 0;
}

/* What @allowed says, or the very message that was under way before a restart. */
static void read_waiting(Courier *c, guint allowed)
{
    json_auto_t *severities = channel_severities(c->channel);

    c->asked = c->upto ? c->upto : end_of(c);
    c->busy = TRUE;
    c->refs++;
    c->news = FALSE;
    query(c, severities, c->asked, c->upto || allowed == 1 ? DIGEST_EVENTS : 1, on_rows, c);
}

static void on_critical(const json_t *rows, const GError *error, void *user)
{
    Courier *c = user;
    const json_t *events = json_object_get(json_array_get(rows, 0), "events");

    c->busy = FALSE;
    if (!error && json_array_size(events) > 0 && !c->closed) {
        read_waiting(c, 1);
    } else {
        c->held = TRUE;
        pump(c);
    }
    unref(c);
}

/* What is critical waits for no rate: it comes at once, with all that waits before it. */
static void look_for_critical(Courier *c)
{
    json_auto_t *severities = json_pack("[s]", event_severity_name(EVENT_CRITICAL));

    c->busy = TRUE;
    c->refs++;
    query(c, severities, end_of(c), 1, on_critical, c);
}

/* Not each time: for a channel that wants little the disk would be written again and again. */
static void keep_at_times(Courier *c, gint64 now_ms)
{
    if (c->keep_at_ms == 0)
        c->keep_at_ms = now_ms + c->ground->idle_ms;
    if (now_ms >= c->keep_at_ms)
        keep(c);
    else
        arm(c, c->keep_at_ms);
}

gboolean courier_is_level(const Courier *one)
{
    return !one->busy && !one->sending && !one->message && one->upto == 0 &&
           one->cursor == one->whole->cursor;
}

/* Between two messages, so that none is lost or brought twice. */
static gboolean take_back(Courier *c)
{
    return c->apart && !c->message && c->upto == 0 && apart_take_back(c->apart);
}

static void pump(Courier *c)
{
    gint64 now_ms = clock_steady_ms();

    if (c->closed || c->busy || c->sending)
        return;
    if (take_back(c)) {
        keep(c);
    } else if (c->message) {
        if (c->pace.next_try_ms > now_ms)
            arm(c, c->pace.next_try_ms);
        else
            start(c);
    } else if (c->news || c->upto) {
        guint allowed = pace_allowed(&c->pace, now_ms);

        if (allowed > 0 || c->upto)
            read_waiting(c, allowed);
        else if (c->held)
            arm(c, pace_free_ms(&c->pace, now_ms));
        else
            look_for_critical(c);
    } else if (c->whole) {
        pump(c->whole);
    } else if (c->cursor != c->kept) {
        keep_at_times(c, now_ms);
    }
}

/* --- outside ------------------------------------------------------------------ */

Courier *courier_new(const CourierGround *ground, Id id, Channel *channel, const json_t *state,
                     GError **error)
{
    Courier *c = make(ground, id, channel);

    c->apart = apart_new(c);
    if (!read_state(c, state, error)) {
        if (error)
            (*error)->code = US_ERROR_CORRUPT;
        courier_close(c, FALSE);
        return NULL;
    }
    courier_start(c);
    apart_start(c->apart);
    return c;
}

Courier *courier_new_apart(Courier *whole, const char *recipient, const json_t *state, GError **error)
{
    Courier *one = make(whole->ground, whole->id, whole->channel);

    whole->refs++;
    one->whole = whole;
    one->recipient = g_strdup(recipient);
    if (read_state(one, state, error))
        return one;
    courier_close(one, FALSE);
    return NULL;
}

void courier_poke(Courier *c)
{
    c->news = TRUE;
    c->held = FALSE;
    pump(c);
}

void courier_retry(Courier *c)
{
    pace_retry(&c->pace);
    pump(c);
    if (c->apart)
        apart_retry(c->apart);
}

Id courier_id(const Courier *c)
{
    return c->id;
}

const char *courier_recipient(const Courier *one)
{
    return one->recipient;
}

const Channel *courier_channel(const Courier *c)
{
    return c->channel;
}

void courier_close(Courier *c, gboolean keep_state)
{
    c->closed = TRUE;
    sending_cancel(g_steal_pointer(&c->sending));
    if (keep_state && c->cursor != c->kept)
        keep(c);
    if (c->apart)
        apart_close(c->apart);
    if (c->timer)
        uv_close((uv_handle_t *)c->timer, on_timer_closed);
    unref(c);
}

/* --- for people ---------------------------------------------------------------- */

typedef struct {
    Courier *c;
    void (*on_described)(void *user, const json_t *doc);
    void *user;
} Describing;

static json_t *at(gint64 wall_ms)
{
    return json_string(clock_format(wall_ms, (char[CLOCK_TEXT_LEN + 1]){0}));
}

/* When something waits for a pause or for the rate, else null. */
static json_t *next_try(Courier *c, gint64 now_ms)
{
    gint64 at_ms = now_ms;

    if (c->message)
        at_ms = c->pace.next_try_ms;
    else if (c->news)
        at_ms = pace_free_ms(&c->pace, now_ms);
    return at_ms > now_ms ? at(clock_wall_ms() + (at_ms - now_ms)) : json_null();
}

static json_t *failing_since(const Courier *c)
{
    gint64 since_ms = clock_wall_ms() - (clock_steady_ms() - c->pace.failing_since_ms);

    return c->pace.failing ? at(MAX(0, since_ms)) : json_null();
}

json_t *courier_trouble(Courier *one)
{
    return json_pack("{s:s, s:o, s:s?, s:o}", "to", one->recipient, "failing_since", failing_since(one),
                     "error", one->error, "next_try_at", next_try(one, clock_steady_ms()));
}

static json_t *describe(Courier *c, const json_t *waiting)
{
    json_t *doc = channel_describe(c->channel);
    json_t *state = json_pack("{s:o, s:o, s:o, s:o, s:s?, s:o, s:o}", "delivered",
                              c->delivered ? json_integer((json_int_t)c->delivered) : json_null(),
                              "delivered_at", c->delivered_at_ms ? at(c->delivered_at_ms) : json_null(),
                              "waiting", waiting ? json_incref((json_t *)waiting) : json_null(),
                              "failing_since", failing_since(c), "error", c->error, "next_try_at",
                              next_try(c, clock_steady_ms()), "apart", apart_describe(c->apart));

    json_object_set_new(doc, "state", state);
    return doc;
}

static void on_counted(const json_t *rows, const GError *error, void *user)
{
    Describing *d = user;
    json_auto_t *doc = describe(d->c, error ? NULL : json_object_get(json_array_get(rows, 0), "waiting"));

    d->on_described(d->user, doc);
    unref(d->c);
    g_free(d);
}

void courier_describe(Courier *c, void (*on_described)(void *user, const json_t *doc), void *user)
{
    json_auto_t *severities = channel_severities(c->channel);
    Describing *d = g_new0(Describing, 1);

    *d = (Describing){c, on_described, user};
    c->refs++;
    query(c, severities, 0, 0, on_counted, d);
}
