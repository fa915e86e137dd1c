/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/notify/notifier.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"

#include <curl/curl.h>

#define HOUR_MS ((gint64)3600 * 1000)

struct Notifier {
    CourierGround ground;
    GPtrArray *couriers; /* Courier *, by name */
    GPtrArray *tests;    /* Test * */
    gboolean closed;
};

CourierGround notifier_ground(uv_loop_t *loop, const char *hooks)
{
    return (CourierGround){
        .ground = {.loop = loop,
                   .hooks = (char *)hooks,
                   .syslog = (char *)"/dev/log",
                   .mail_ms = 120000,
                   .webhook_ms = 30000,
                   .hook_ms = 30000},
        .pace = {.window_ms = HOUR_MS, .first_pause_ms = 1000, .longest_pause_ms = 300000, .long_ms = 600000},
        .idle_ms = 60000};
}

Notifier *notifier_new(const CourierGround *ground)
{
    Notifier *n = g_new0(Notifier, 1);

    /* Never undone: a thread that was given up may use it to the end of the process. */
    curl_global_init(CURL_GLOBAL_DEFAULT);
    n->ground = *ground;
    n->ground.ground.hooks = g_strdup(ground->ground.hooks);
    n->ground.ground.syslog = g_strdup(ground->ground.syslog);
    n->couriers = g_ptr_array_new();
    n->tests = g_ptr_array_new();
    return n;
}

/* --- the list ------------------------------------------------------------------ */

static const char *name_of(const Courier *c)
{
    return courier_channel(c)->name;
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(name_of(*(Courier *const *)a), name_of(*(Courier *const *)b));
}

static Courier *find(const Notifier *n, const char *name, GError **error)
{
    for (guint i = 0; i < n->couriers->len; i++)
        if (g_str_equal(name_of(n->couriers->pdata[i]), name))
            return n->couriers->pdata[i];
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                "there is no channel '%s': understudy notify list shows those there are", name);
    return NULL;
}

static void insert(Notifier *n, Courier *c)
{
    g_ptr_array_add(n->couriers, c);
    g_ptr_array_sort(n->couriers, by_name);
}

static gboolean load_one(Notifier *n, const json_t *row, GError **error)
{
    g_autoptr(Channel) channel = NULL;
    const char *name;
    json_t *id_text, *doc, *state;
    Courier *courier;
    Id id;

    if (!json_read(row, "channel", error, "{s:o, s:s, s:o, s:o}", "id", &id_text, "name", &name, "doc", &doc,
                   "state", &state) ||
        !json_to_id(id_text, &id, error))
        return FALSE;
    channel = channel_from_json(doc, error);
    if (!channel) {
        g_prefix_error(error, "channel '%s': ", name);
        return FALSE;
    }
    courier = courier_new(&n->ground, id, g_steal_pointer(&channel), state, error);
    if (courier)
        insert(n, courier);
    return courier != NULL;
}

gboolean notifier_load(Notifier *n, const json_t *channels, GError **error)
{
    json_t *row;
    gsize i;

    json_array_foreach((json_t *)channels, i, row)
    {
        g_autoptr(GError) why = NULL;

        if (!load_one(n, row, &why)) {
            g_set_error(error, US_ERROR, US_ERROR_CORRUPT, "the database holds what is no channel: %s",
                        why->message);
            return FALSE;
        }
    }
    return TRUE;
}

void notifier_poke(Notifier *n)
{
    for (guint i = 0; i < n->couriers->len && !n->closed; i++)
        courier_poke(n->couriers->pdata[i]);
}

/* --- add and remove -------------------------------------------------------------- */

typedef struct {
    Notifier *n;
    Channel *channel; /* NULL: it is removed */
    Id id;
    json_t *state;
    NotifierDone done;
    void *user;
} Change;

static void on_changed(const GError *error, void *user)
{
    Change *change = user;
    Notifier *n = change->n;

    if (!error && change->channel && !n->closed) {
        Courier *c =
            courier_new(&n->ground, change->id, g_steal_pointer(&change->channel), change->state, NULL);

        g_assert(c);
        insert(n, c);
        courier_poke(c);
    }
    change->done(change->user, error);
    channel_free(change->channel);
    json_decref(change->state);
    g_free(change);
}

static gboolean check_room(const Notifier *n, const char *name, GError **error)
{
    if (find(n, name, NULL)) {
        g_set_error(error, US_ERROR, US_ERROR_EXISTS,
                    "there is a channel '%s' already: take another name, or remove that one first", name);
        return FALSE;
    }
    if (n->couriers->len >= NOTIFIER_MAX_CHANNELS) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "there are %d channels, which is the most: remove one first", NOTIFIER_MAX_CHANNELS);
        return FALSE;
    }
    return TRUE;
}

void notifier_add(Notifier *n, Channel *channel, NotifierDone done, void *user)
{
    g_autoptr(Channel) given = channel;
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = channel_to_json(channel);
    DatabaseChanges *changes;
    Change *change;

    if (!check_room(n, channel->name, &error)) {
        done(user, error);
        return;
    }
    change = g_new0(Change, 1);
    *change = (Change){.n = n,
                       .id = id_random(),
                       .state = courier_first_state(database_last_sequence(n->ground.db)),
                       .done = done,
                       .user = user};
    changes = database_changes_new();
    database_put_channel(changes, change->id, channel->name, doc, change->state);
    change->channel = g_steal_pointer(&given);
    database_submit(n->ground.db, changes, on_changed, change);
}

/* Its courier ends at once: one that could not be removed is there again after a restart. */
void notifier_remove(Notifier *n, const char *name, NotifierDone done, void *user)
{
    g_autoptr(GError) error = NULL;
    Courier *c = find(n, name, &error);
    DatabaseChanges *changes;
    Change *change;

    if (!c) {
        done(user, error);
        return;
    }
    change = g_new0(Change, 1);
    *change = (Change){.n = n, .done = done, .user = user};
    changes = database_changes_new();
    database_delete_channel(changes, courier_id(c));
    database_submit(n->ground.db, changes, on_changed, change);
    g_ptr_array_remove(n->couriers, c);
    courier_close(c, FALSE);
}

/* --- test ------------------------------------------------------------------------- */

typedef struct {
    Notifier *n;
    char *name;
    Sending *sending;
    NotifierDone done;
    void *user;
} Test;

static void test_end(Test *t, const GError *error)
{
    g_ptr_array_remove_fast(t->n->tests, t);
    t->done(t->user, error);
    g_free(t->name);
    g_free(t);
}

/* Some have it: NULL, that is all. */
static GError *not_all(const json_t *missed)
{
    GString *text = g_string_new(NULL);
    GError *error = NULL;
    const char *to;
    json_t *why;

    json_object_foreach((json_t *)missed, to, why) g_string_append_printf(
        text, "%s%s does not have it (%s)", text->len ? ", " : "", to, json_string_value(why));
    if (text->len > 0)
        g_set_error(&error, US_ERROR, US_ERROR_FAILED, "%s; the others do", text->str);
    g_string_free(text, TRUE);
    return error;
}

static void on_tested(void *user, const Outcome *outcome)
{
    Test *t = user;
    Courier *c = find(t->n, t->name, NULL);
    g_autoptr(GError) partly = not_all(outcome->missed);

    if (!outcome->error && c)
        courier_retry(c);
    test_end(t, outcome->error ? outcome->error : partly);
}

void notifier_test(Notifier *n, const char *name, NotifierDone done, void *user)
{
    g_autoptr(GError) error = NULL;
    Courier *c = find(n, name, &error);
    g_autoptr(Message) message = NULL;
    Test *t;

    if (!c) {
        done(user, error);
        return;
    }
    message = message_new_test(n->ground.controller, name, clock_wall_ms());
    t = g_new0(Test, 1);
    *t = (Test){.n = n, .name = g_strdup(name), .done = done, .user = user};
    g_ptr_array_add(n->tests, t);
    t->sending =
        sending_start(&n->ground.ground, courier_channel(c), courier_channel(c)->to, message, on_tested, t);
}

/* --- for people --------------------------------------------------------------------- */

typedef struct {
    json_t *list;
    guint open;
    NotifierDescribed done;
    void *user;
} Describing;

static void on_described(void *user, const json_t *doc)
{
    Describing *d = user;

    if (doc)
        json_array_append(d->list, (json_t *)doc);
    if (--d->open > 0)
        return;
    d->done(d->user, json_pack("{s:o}", "channels", d->list), NULL);
    g_free(d);
}

/* The database answers in the order it is asked: the list is in that of the names. */
void notifier_describe(Notifier *n, const char *name, NotifierDescribed done, void *user)
{
    g_autoptr(GError) error = NULL;
    Courier *one = name ? find(n, name, &error) : NULL;
    Describing *d;

    if (error) {
        done(user, NULL, error);
        return;
    }
    d = g_new0(Describing, 1);
    *d = (Describing){.list = json_array(), .open = 1, .done = done, .user = user};
    for (guint i = 0; i < n->couriers->len; i++)
        if (!one || one == n->couriers->pdata[i]) {
            d->open++;
            courier_describe(n->couriers->pdata[i], on_described, d);
        }
    on_described(d, NULL);
}

/* --- end ------------------------------------------------------------------------------ */

void notifier_close(Notifier *n)
{
    g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_CANCELLED, "the controller ends");

    n->closed = TRUE;
    while (n->tests->len > 0) {
        Test *t = n->tests->pdata[0];

        sending_cancel(t->sending);
        test_end(t, error);
    }
    for (guint i = 0; i < n->couriers->len; i++)
        courier_close(n->couriers->pdata[i], TRUE);
    g_ptr_array_set_size(n->couriers, 0);
}

void notifier_free(Notifier *n)
{
    if (!n)
        return;
    g_assert(n->couriers->len == 0 && n->tests->len == 0);
    g_ptr_array_unref(n->couriers);
    g_ptr_array_unref(n->tests);
    g_free(n->ground.ground.hooks);
    g_free(n->ground.ground.syslog);
    g_free(n);
}
