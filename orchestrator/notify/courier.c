/* SPDX-License-Identifier: Apache-2.0 */
/* Round: read what waits -> make a message -> keep where it ends -> send it -> keep that it was delivered -> read. One step
 * at a time; pump() begins the next. A message that could not be sent stays as it is until it was.
 *
 * One that was refused -> keep that it is in doubt -> read behind it. While nothing is taken, what has not been tried yet
 * comes first, then those in doubt, in turn; of several events, in halves. Once one was taken, those in doubt come first: a
 * single event that is refused even then -> tell -> keep that it is none any more. */
#include "orchestrator/notify/courier.h"

#include "orchestrator/notify/apart.h"
#include "orchestrator/notify/doubts.h"
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
    Doubts doubts;     /* refused, and perhaps at fault */
    guint64 cursor;    /* all up to it are delivered, in doubt, given up, or not for this channel */
    guint64 kept;      /* the cursor that is durable */
    gint64 keep_at_ms; /* when it is to be the other; 0: nobody has thought of it */
    guint64 upto;      /* where the message under way ends, if it is the next; 0: none */
    guint64 asked;     /* where what is being read ends; 0: nowhere */
    guint64 delivered;
    gint64 delivered_at_ms; /* wall; 0: never */
    gboolean told;          /* that it fails for long */
    char *error;            /* the last failure; NULL: none since it was delivered */
    guint64 refused;        /* of the whole: how many were given up, those of its recipients, too */
    json_t *last_refused;   /* … and the last of them, as courier_describe() has it; NULL: none */

    Message *message;
    gboolean again; /* it is, or what is being read, the one in doubt whose turn it is */
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
    doubts_clear(&c->doubts);
    json_decref(c->last_refused);
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
    doubts_init(&c->doubts);
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

static json_t *refused_of(const Courier *c)
{
    return json_pack("{s:I, s:O?}", "count", (json_int_t)c->refused, "last", c->last_refused);
}

json_t *courier_state(const Courier *c)
{
    json_t *apart = c->apart ? apart_to_json(c->apart) : NULL;
    json_t *refused = c->refused > 0 ? refused_of(c) : NULL;

    return json_pack("{s:I, s:I, s:I, s:I, s:b, s:o, s:o*, s:o*, s:o*}", "cursor", (json_int_t)c->cursor,
                     "upto", (json_int_t)c->upto, "delivered", (json_int_t)c->delivered, "delivered_at",
                     (json_int_t)c->delivered_at_ms, "told", c->told, "pace",
                     pace_to_json(&c->pace, clock_steady_ms(), clock_wall_ms()), "doubts",
                     doubts_to_json(&c->doubts), "refused", refused, "apart", apart);
}

static gboolean read_refused(Courier *c, const json_t *doc, GError **error)
{
    json_int_t count = 0;
    json_t *last = NULL;

    if (doc && !json_read(doc, "what was refused", error, "{s:I, s:o}", "count", &count, "last", &last))
        return FALSE;
    c->refused = (guint64)count;
    c->last_refused = json_incref(last);
    return TRUE;
}

static gboolean read_state(Courier *c, const json_t *state, GError **error)
{
    json_int_t cursor, upto = 0, delivered = 0, delivered_at = 0;
    json_t *pace = NULL, *doubts = NULL, *refused = NULL, *apart = NULL;
    guint64 newest = database_last_sequence(c->ground->db);
    int told = FALSE;

    if (!json_read(state, "channel", error, "{s:I, s?I, s?I, s?I, s?b, s?o, s?o, s?o, s?o*}", "cursor",
                   &cursor, "upto", &upto, "delivered", &delivered, "delivered_at", &delivered_at, "told",
                   &told, "pace", &pace, "doubts", &doubts, "refused", &refused, "apart", &apart) ||
        !doubts_from_json(&c->doubts, doubts, newest, error) || !read_refused(c, refused, error))
        return FALSE;
    /* A number that was given out and never became durable is given out again. */
    c->cursor = MIN((guint64)cursor, newest);
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
    g_autoptr(Event) event = whom ? event_new_through_channel(EVENT_RECIPIENT_REFUSED, c->channel->name, whom)
                                  : event_new_about_channel(EVENT_NOTIFY_FAILED, c->channel->name, why);

    c->ground->on_event(c->ground->user, event);
}

static void publish_back(Courier *c)
{
    g_autoptr(Event) event =
        c->whole ? event_new_through_channel(EVENT_RECIPIENT_BACK, c->channel->name, c->recipient)
                 : event_new_about_channel(EVENT_NOTIFY_BACK, c->channel->name, NULL);

    c->ground->on_event(c->ground->user, event);
}

static void poke_apart(Courier *c)
{
    if (c->apart)
        apart_poke(c->apart);
}

/* Delivered, in doubt or given up: the message under way is none any more. */
static void pass(Courier *c)
{
    g_clear_pointer(&c->message, message_free);
    if (!c->again) {
        c->cursor = c->upto;
        c->upto = 0;
    }
    c->again = FALSE;
    c->news = TRUE;
    c->held = FALSE;
}

static void on_delivered(Courier *c)
{
    pace_sent(&c->pace, clock_steady_ms());
    g_clear_pointer(&c->error, g_free);
    c->delivered = MAX(c->delivered, c->again ? doubts_current(&c->doubts)->upto : c->upto);
    c->delivered_at_ms = clock_wall_ms();
    if (c->again)
        doubts_settle(&c->doubts);
    else
        doubts_rewind(&c->doubts);
    pass(c);
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

/* Must the state be kept? Since when it fails, and whether it was told, outlives a restart. */
static gboolean fail(Courier *c, const char *why)
{
    gboolean first = !c->pace.failing;
    gboolean told = c->told;

    courier_note_failure(c, why);
    if (!c->told && pace_is_long(&c->pace, clock_steady_ms())) {
        c->told = TRUE;
        publish_failed(c, why);
    }
    return first || c->told != told;
}

static void on_failed(Courier *c, const GError *error)
{
    if (fail(c, error->message))
        keep(c);
    else
        pump(c);
}

/* It has been refused twice, and others were taken between: before it is kept that it is given up, it is told, that a
 * restart between the two tells it twice rather than never. */
static void give_up(Courier *c, const char *answer)
{
    Courier *whole = c->whole ? c->whole : c;
    g_autofree char *which = message_title(c->message);
    g_autofree char *why =
        g_strdup_printf("%s%s%s: %s", which, c->whole ? " to " : "", c->whole ? c->recipient : "", answer);
    g_autoptr(Event) event = event_new_through_channel(EVENT_MESSAGE_REFUSED, c->channel->name, why);

    /* Else one that is refused for what it quotes would be told of by the next one, without end. */
    if (message_is_only(c->message, EVENT_MESSAGE_REFUSED))
        log_warning("channel '%s' does not deliver %s -> given up", c->channel->name, why);
    else
        c->ground->on_event(c->ground->user, event);
    json_decref(whole->last_refused);
    whole->last_refused =
        json_pack("{s:O, s:O, s:s?, s:s, s:s}", "sequence", json_object_get(c->message->document, "sequence"),
                  "code", json_object_get(c->message->document, "code"), "to", c->recipient, "at",
                  clock_format(clock_wall_ms(), (char[CLOCK_TEXT_LEN + 1]){0}), "error", answer);
    whole->refused++;
    doubts_settle(&c->doubts);
    pass(c);
    keep(c);
}

static guint64 sequence_of(const json_t *event)
{
    return (guint64)json_integer_value(json_object_get(event, "sequence"));
}

/* One of its events may be at fault for the others, or their number: it is sent in halves from now on. FALSE: it is but one,
 * or not to be split now. What the history has forgotten of it since is one of its events. */
static gboolean split(Courier *c)
{
    gsize n = json_array_size(c->message->events);

    return n > 1 && doubts_split(&c->doubts, sequence_of(json_array_get(c->message->events, n / 2 - 1)),
                                 n / 2, n - n / 2);
}

/* For the first time, it is in doubt; once more, and it is a single event, and others were taken meanwhile, it is at fault. */
static void on_refused(Courier *c, const char *answer)
{
    gsize n = json_array_size(c->message->events);

    if (c->again && n == 1 && !c->pace.failing) {
        give_up(c, answer);
        return;
    }
    if (!c->again)
        doubts_add(&c->doubts, (Doubt){c->cursor, c->upto, n});
    else if (!split(c))
        doubts_turn(&c->doubts);
    fail(c, answer);
    pass(c);
    keep(c);
    poke_apart(c);
}

/* Of the message under way, which the others have: it is among those that he is to be brought. */
static void part_with(Courier *c, const char *recipient, const char *why)
{
    json_auto_t *state = json_pack("{s:I, s:I, s:o*}", "cursor", (json_int_t)c->cursor, "upto",
                                   (json_int_t)c->upto, "doubts", doubts_to_json(&c->doubts));

    apart_part(c->apart, recipient, state, why);
}

/* Who missed it stands in the state that says what the others have. */
static void on_sent(void *user, const Outcome *outcome)
{
    Courier *c = user;
    const char *recipient;
    json_t *why;

    c->sending = NULL;
    json_object_foreach(outcome->missed, recipient, why) part_with(c, recipient, json_string_value(why));
    if (!outcome->error)
        on_delivered(c);
    else if (outcome->refused)
        on_refused(c, outcome->error->message);
    else
        on_failed(c, outcome->error);
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

/* One that says what the history has forgotten meanwhile, as the first. */
static void add_forgotten(const Courier *c, json_t *events, guint64 first, guint64 last)
{
    g_autofree char *which =
        g_strdup_printf("events %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, first, last);
    g_autoptr(Event) event = event_new_about_channel(EVENT_EVENTS_FORGOTTEN, c->channel->name, which);

    json_array_insert_new(events, 0, event_to_json(event, last, clock_wall_ms()));
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

static void make_message(Courier *c, const json_t *events)
{
    c->message = message_new(c->ground->controller, c->id, c->channel->name, (json_t *)events);
}

static void make_next(Courier *c, const json_t *found, guint64 oldest)
{
    json_auto_t *events = cut(found);

    c->upto = sequence_of(json_array_get(events, json_array_size(events) - 1));
    if (oldest > c->cursor + 1)
        add_forgotten(c, events, c->cursor + 1, oldest - 1);
    make_message(c, events);
    keep(c);
}

/* @oldest: 0 if the history is empty. */
static void make_again(Courier *c, const json_t *found, guint64 oldest)
{
    const Doubt *doubt = doubts_current(&c->doubts);
    json_auto_t *events = cut(found);

    if (oldest == 0 || oldest > doubt->upto)
        add_forgotten(c, events, doubt->after + 1, doubt->upto);
    else if (oldest > doubt->after + 1)
        add_forgotten(c, events, doubt->after + 1, oldest - 1);
    if (json_array_size(events) > 0) {
        make_message(c, events);
    } else {
        doubts_settle(&c->doubts);
        c->again = FALSE;
    }
    pump(c);
}

static void on_rows(const json_t *rows, const GError *error, void *user)
{
    Courier *c = user;
    const json_t *row = json_array_get(rows, 0);
    const json_t *events = json_object_get(row, "events");
    guint64 newest = (guint64)json_integer_value(json_object_get(row, "newest"));
    guint64 oldest = (guint64)json_integer_value(json_object_get(row, "oldest"));

    c->busy = FALSE;
    if (c->closed || error) {
        if (!c->closed) {
            log_warning("channel '%s' cannot read the history: %s", c->channel->name, error->message);
            c->news = TRUE;
            arm(c, clock_steady_ms() + READ_AGAIN_MS);
        }
    } else if (c->again) {
        make_again(c, events, oldest);
    } else if (json_array_size(events) > 0) {
        make_next(c, events, oldest);
    } else {
        c->cursor = MAX(c->cursor, c->asked ? c->asked : newest);
        c->news |= c->upto > 0; /* of that message nothing is left */
        c->upto = 0;
        pump(c);
        poke_apart(c);
    }
    unref(c);
}

static void query(Courier *c, const json_t *severities, guint64 after, guint64 upto, guint limit,
                  DatabaseRows on_answer, void *user)
{
    json_auto_t *scenarios = channel_scenarios(c->channel);
    DatabaseBacklog backlog = {.after = after,
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

static void read_events(Courier *c, guint64 after, guint64 upto, guint limit)
{
    json_auto_t *severities = channel_severities(c->channel);

    c->busy = TRUE;
    c->refs++;
    query(c, severities, after, upto, limit, on_rows, c);
}

/* What @allowed says, or the very message that was under way before a restart. */
static void read_waiting(Courier *c, guint allowed)
{
    c->again = FALSE;
    c->asked = c->upto ? c->upto : end_of(c);
    c->news = FALSE;
    read_events(c, c->cursor, c->asked, c->upto || allowed == 1 ? DIGEST_EVENTS : 1);
}

static void read_again(Courier *c)
{
    const Doubt *doubt = doubts_current(&c->doubts);

    c->again = TRUE;
    read_events(c, doubt->after, doubt->upto, DIGEST_EVENTS);
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
    query(c, severities, c->cursor, end_of(c), 1, on_critical, c);
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
           one->cursor == one->whole->cursor && !doubts_current(&one->doubts) &&
           !doubts_current(&one->whole->doubts);
}

/* Between two messages, so that none is lost or brought twice. */
static gboolean take_back(Courier *c)
{
    return c->apart && !c->message && c->upto == 0 && apart_take_back(c->apart);
}

/* Those in doubt come first once one was taken; before, only if there is nothing else that could be tried. */
static gboolean is_in_doubt(Courier *c, gint64 now_ms)
{
    gboolean waits = c->news && !(c->held && pace_allowed(&c->pace, now_ms) == 0);

    return doubts_current(&c->doubts) && c->upto == 0 &&
           (!c->pace.failing || !waits || doubts_are_many(&c->doubts));
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
    } else if (is_in_doubt(c, now_ms)) {
        /* What comes until then is tried before it. */
        if (c->pace.next_try_ms > now_ms)
            arm(c, c->pace.next_try_ms);
        else
            read_again(c);
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

    if (c->message || doubts_current(&c->doubts))
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
    json_int_t all = json_integer_value(waiting) + (json_int_t)doubts_events(&c->doubts);
    json_t *state = json_pack("{s:o, s:o, s:o, s:o, s:o, s:s?, s:o, s:o}", "delivered",
                              c->delivered ? json_integer((json_int_t)c->delivered) : json_null(),
                              "delivered_at", c->delivered_at_ms ? at(c->delivered_at_ms) : json_null(),
                              "waiting", waiting ? json_integer(all) : json_null(), "refused", refused_of(c),
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
    query(c, severities, c->cursor, 0, 0, on_counted, d);
}
