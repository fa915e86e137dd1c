/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/probe/watch.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/link/dial.h"
#include "vmconnect/probe/beat.h"
#include "vmconnect/probe/gateway.h"

#include <string.h>

#define INTERVAL_MIN_MS 250
#define INTERVAL_MAX_MS 3600000
/* That libvirtd hangs is known after 15 s; if it does not, another's question that an agent never answers is in the way of ours. */
#define UNMADE_MS 25000
#define SUBJECTS_MAX 4096
#define CHECKS_MAX 16
#define ROUTES_MS 5000 /* how often is looked which it is */
/* How often it is asked: the loss of our own line is known before that of anybody else. */
#define GATEWAY_MS 1000
#define GATEWAY_TIMEOUT_MS 1000
#define UNRESOLVED_TRIES 3

/* One check of one subject. */
typedef struct {
    Watch *watch;
    Id subject;
    CheckSpec *spec;
    CheckScore score;
    gint64 interval_ms;
    gint64 timeout_ms;
    uv_timer_t timer;
    Probe *probe;     /* NULL: none is under way */
    Beat *beat;       /* of BEAT */
    gint64 unmade_ms; /* steady: since when no try could be made; 0: they can */
} Item;

/* A host or a guest. */
typedef struct {
    Id id;
    gint64 reign;     /* of a guest; 0: not said */
    GPtrArray *items; /* of Item *, owned */
} Subject;

struct Watch {
    uv_loop_t *loop;
    Prober *prober;
    Identity *identity;
    void (*on_news)(void *user);
    void *user;
    GPtrArray *hosts;  /* of Subject * */
    GPtrArray *guests; /* of Subject * */
    Item *gateway;     /* NULL: there is none */
    guint unresolved;  /* tries in a row at which nobody on the line said who it is */
    uv_timer_t routes; /* looks for it */
};

/* --- items ----------------------------------------------------------------- */

static void item_say(Item *item, const char *why)
{
    if (check_score_add(&item->score, why))
        item->watch->on_news(item->watch->user);
}

/* Of the agent libvirtd is asked, and whether it hangs is known. */
static gboolean is_of_the_agent(const CheckSpec *spec)
{
    return spec->kind == CHECK_AGENT || spec->kind == CHECK_COMMAND;
}

static char *contents_of(const char *path)
{
    char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? text : NULL;
}

static gboolean is_unresolved(const Watch *w)
{
    return w->unresolved >= UNRESOLVED_TRIES;
}

static void look_for_gateway(Watch *w, gboolean is_heard)
{
    g_autofree char *neighbours = is_heard ? NULL : contents_of(GATEWAY_NEIGHBOURS);
    gboolean before = is_unresolved(w);

    w->unresolved = gateway_is_unresolved(neighbours, w->gateway->spec->address)
                        ? MIN(w->unresolved + 1, UNRESOLVED_TRIES)
                        : 0;
    if (is_unresolved(w) != before)
        w->on_news(w->user);
}

static void on_probe(void *user, ProbeResult result, const char *why)
{
    Item *item = user;

    item->probe = NULL;
    /* A way out that is gone is no way out. */
    if (result == PROBE_NOT_MADE && item == item->watch->gateway)
        result = PROBE_MISSED;
    if (item == item->watch->gateway)
        look_for_gateway(item->watch, result != PROBE_MISSED);
    if (result == PROBE_NOT_MADE && !is_of_the_agent(item->spec)) {
        if (check_score_note(&item->score, why))
            item->watch->on_news(item->watch->user);
        return;
    }
    if (result != PROBE_NOT_MADE)
        item->unmade_ms = 0;
    else if (!item->unmade_ms)
        item->unmade_ms = clock_steady_ms();
    if (!item->unmade_ms || clock_steady_ms() - item->unmade_ms >= UNMADE_MS)
        item_say(item, why);
}

static void on_turn(uv_timer_t *timer)
{
    Item *item = timer->data;

    if (item->beat) {
        item->score.hangs = beat_hangs(item->beat);
        item_say(item, beat_why(item->beat, item->interval_ms * 3 / 4)); /* asked each half of it */
    } else if (!item->probe)
        item->probe =
            prober_try(item->watch->prober, item->spec, item->subject, item->timeout_ms, on_probe, item);
}

static void item_begin(Item *item)
{
    Watch *w = item->watch;

    if (item->spec->kind == CHECK_BEAT)
        item->beat = beat_new(w->loop, w->identity, item->subject, item->spec->address, item->interval_ms);
    uv_timer_init(w->loop, &item->timer);
    item->timer.data = item;
    /* A beat is made first. */
    uv_timer_start(&item->timer, on_turn,
                   item->beat ? (guint64)item->interval_ms
                              : (guint64)g_random_int_range(0, (gint32)item->interval_ms),
                   (guint64)item->interval_ms);
}

static void on_item_closed(uv_handle_t *handle)
{
    Item *item = handle->data;

    check_spec_free(item->spec);
    check_score_clear(&item->score);
    g_free(item);
}

static void item_free(gpointer data)
{
    Item *item = data;

    if (!item)
        return;
    prober_cancel(item->probe);
    beat_close(item->beat);
    uv_close((uv_handle_t *)&item->timer, on_item_closed);
}

static void subject_free(gpointer data)
{
    Subject *s = data;

    g_ptr_array_unref(s->items);
    g_free(s);
}

static GPtrArray *subjects_new(void)
{
    return g_ptr_array_new_with_free_func(subject_free);
}

/* --- being told ------------------------------------------------------------- */

/* What is wanted, not begun. */
typedef struct {
    Id id;
    gint64 reign;
    GPtrArray *specs; /* of CheckSpec * */
    gint64 interval_ms;
    gint64 timeout_ms;
} Wanted;

static void wanted_free(gpointer data)
{
    Wanted *wanted = data;

    g_ptr_array_unref(wanted->specs);
    g_free(wanted);
}

static gboolean check_times(const Wanted *wanted, GError **error)
{
    if (wanted->interval_ms >= INTERVAL_MIN_MS && wanted->interval_ms <= INTERVAL_MAX_MS &&
        wanted->timeout_ms >= INTERVAL_MIN_MS && wanted->timeout_ms <= wanted->interval_ms)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_USAGE,
                "a watch needs an interval of 250 ms to an hour, and a time-out of 250 ms to the interval");
    return FALSE;
}

static CheckSpec *spec_for(CheckKind kind, const char *address)
{
    CheckSpec *spec = g_new0(CheckSpec, 1);

    spec->kind = kind;
    spec->address = g_strdup(address);
    return spec;
}

/* Each address of an engine is a path: its port must answer, and the host. */
static gboolean add_paths(Wanted *wanted, const json_t *addresses, GError **error)
{
    for (gsize i = 0; i < json_array_size(addresses); i++) {
        const char *address = json_string_value(json_array_get(addresses, i));
        g_autofree char *host = NULL;
        guint16 port;

        if (!address || !dial_parse(address, 25000, &host, &port, error)) {
            if (!address)
                g_set_error_literal(error, US_ERROR, US_ERROR_USAGE, "an address is no text");
            return FALSE;
        }
        g_ptr_array_add(wanted->specs, spec_for(CHECK_BEAT, address));
        g_ptr_array_add(wanted->specs, spec_for(CHECK_PING, host));
    }
    return TRUE;
}

static gboolean add_checks(Wanted *wanted, const json_t *checks, GError **error)
{
    for (gsize i = 0; i < json_array_size(checks); i++) {
        CheckSpec *spec = check_spec_from_json(json_array_get(checks, i), error);

        if (!spec)
            return FALSE;
        g_ptr_array_add(wanted->specs, spec);
        if (spec->kind == CHECK_BEAT) {
            g_set_error_literal(error, US_ERROR, US_ERROR_USAGE, "a guest has no engine");
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean is_list(const json_t *doc, gsize max, const char *of_what, GError **error)
{
    if (json_is_array(doc) && json_array_size(doc) <= max)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "a watch needs a list of at most %zu %s", max, of_what);
    return FALSE;
}

static Wanted *read_wanted(const json_t *doc, const char *id_key, const char *list_key, GError **error)
{
    Wanted *wanted = g_new0(Wanted, 1);
    json_int_t interval_ms, timeout_ms, reign = 0;
    const char *id;
    json_t *list;

    wanted->specs = g_ptr_array_new_with_free_func((GDestroyNotify)check_spec_free);
    if (json_read(doc, "watch", error, "{s:s, s?I, s:o, s:I, s:I}", id_key, &id, "reign", &reign, list_key,
                  &list, "interval_ms", &interval_ms, "timeout_ms", &timeout_ms) &&
        id_parse(id, &wanted->id, error)) {
        wanted->reign = reign;
        wanted->interval_ms = interval_ms;
        wanted->timeout_ms = timeout_ms;
        if (is_list(list, CHECKS_MAX, "checks of one host or guest", error) && check_times(wanted, error) &&
            (g_str_equal(id_key, "id") ? add_paths(wanted, list, error) : add_checks(wanted, list, error)))
            return wanted;
    }
    wanted_free(wanted);
    return NULL;
}

static GPtrArray *read_list(const json_t *list, const char *id_key, const char *list_key, GError **error)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(wanted_free);

    if (!is_list(list, SUBJECTS_MAX, "hosts or guests", error))
        return NULL;
    for (gsize i = 0; i < json_array_size(list); i++) {
        Wanted *wanted = read_wanted(json_array_get(list, i), id_key, list_key, error);

        if (!wanted)
            return NULL;
        g_ptr_array_add(all, wanted);
    }
    return g_steal_pointer(&all);
}

/* The same check goes on as it is, but not in another reign: what answered before ran elsewhere. */
static Item *take_item(GPtrArray *subjects, const Wanted *wanted, const CheckSpec *spec)
{
    for (guint i = 0; i < subjects->len; i++) {
        const Subject *s = subjects->pdata[i];

        for (guint k = 0; id_equal(s->id, wanted->id) && s->reign == wanted->reign && k < s->items->len;
             k++) {
            Item *item = s->items->pdata[k];

            if (item && item->interval_ms == wanted->interval_ms && item->timeout_ms == wanted->timeout_ms &&
                check_spec_equal(item->spec, spec)) {
                s->items->pdata[k] = NULL;
                return item;
            }
        }
    }
    return NULL;
}

static Item *item_new(Watch *w, Id subject, CheckSpec *steal_spec, gint64 interval_ms, gint64 timeout_ms)
{
    Item *item = g_new0(Item, 1);

    item->watch = w;
    item->subject = subject;
    item->spec = steal_spec;
    item->interval_ms = interval_ms;
    item->timeout_ms = timeout_ms;
    item_begin(item);
    return item;
}

static void replace(Watch *w, GPtrArray **subjects, GPtrArray *all_wanted)
{
    GPtrArray *before = *subjects;

    *subjects = subjects_new();
    for (guint i = 0; i < all_wanted->len; i++) {
        Wanted *wanted = all_wanted->pdata[i];
        Subject *s = g_new0(Subject, 1);

        s->id = wanted->id;
        s->reign = wanted->reign;
        s->items = g_ptr_array_new_with_free_func(item_free);
        g_ptr_array_add(*subjects, s);
        while (wanted->specs->len > 0) {
            CheckSpec *spec = wanted->specs->pdata[0];
            Item *item = take_item(before, wanted, spec);

            if (item)
                g_ptr_array_remove_index(wanted->specs, 0);
            else
                item = item_new(w, wanted->id, g_ptr_array_steal_index(wanted->specs, 0), wanted->interval_ms,
                                wanted->timeout_ms);
            g_ptr_array_add(s->items, item);
        }
    }
    g_ptr_array_unref(before);
}

gboolean watch_set(Watch *w, const json_t *params, GError **error)
{
    g_autoptr(GPtrArray) hosts = NULL;
    g_autoptr(GPtrArray) guests = NULL;
    json_t *host_list, *guest_list;

    if (!json_read(params, "watch.set", error, "{s:o, s:o}", "hosts", &host_list, "guests", &guest_list))
        return FALSE;
    hosts = read_list(host_list, "id", "addresses", error);
    guests = hosts ? read_list(guest_list, "vm", "checks", error) : NULL;
    if (!guests)
        return FALSE;
    if (hosts->len > 0 && !w->identity) {
        g_set_error_literal(error, US_ERROR, US_ERROR_REFUSED, "this engine has no owner: it watches nobody");
        return FALSE;
    }
    replace(w, &w->hosts, hosts);
    replace(w, &w->guests, guests);
    w->on_news(w->user);
    return TRUE;
}

/* --- the gateway ------------------------------------------------------------- */

static void on_routes(uv_timer_t *timer)
{
    Watch *w = timer->data;
    g_autofree char *address = w->hosts->len > 0 ? gateway_here() : NULL;

    if (w->gateway && g_strcmp0(w->gateway->spec->address, address) == 0)
        return;
    /* With its line a host may lose its routes: who was the way out is still asked. */
    if (w->gateway && w->hosts->len > 0 && !address)
        return;
    g_clear_pointer(&w->gateway, item_free);
    w->unresolved = 0;
    if (address)
        w->gateway = item_new(w, ID_NIL, spec_for(CHECK_PING, address), GATEWAY_MS, GATEWAY_TIMEOUT_MS);
}

/* --- all --------------------------------------------------------------------- */

Watch *watch_new(uv_loop_t *loop, const ProberPaths *paths, void (*on_news)(void *user), void *user)
{
    Watch *w = g_new0(Watch, 1);

    w->loop = loop;
    w->prober = prober_new(loop, paths);
    w->on_news = on_news;
    w->user = user;
    w->hosts = subjects_new();
    w->guests = subjects_new();
    uv_timer_init(loop, &w->routes);
    w->routes.data = w;
    uv_timer_start(&w->routes, on_routes, ROUTES_MS, ROUTES_MS);
    return w;
}

static void forget(Watch *w)
{
    g_ptr_array_set_size(w->hosts, 0);
    g_ptr_array_set_size(w->guests, 0);
    g_clear_pointer(&w->gateway, item_free);
}

void watch_set_identity(Watch *w, Identity *identity)
{
    if (identity == w->identity)
        return;
    forget(w);
    g_clear_pointer(&w->identity, identity_unref);
    w->identity = identity ? identity_ref(identity) : NULL;
}

static json_t *scores(const GPtrArray *items)
{
    json_t *list = json_array();

    for (guint i = 0; i < items->len; i++) {
        const Item *item = items->pdata[i];

        json_array_append_new(list, check_score_to_json(&item->score, item->spec));
    }
    return list;
}

static json_t *told(const GPtrArray *subjects, const char *id_key)
{
    json_t *list = json_array();

    for (guint i = 0; i < subjects->len; i++) {
        const Subject *s = subjects->pdata[i];

        json_t *one = json_pack("{s:s, s:o}", id_key, ID_TEXT(s->id), "checks", scores(s->items));

        if (s->reign)
            json_object_set_new(one, "reign", json_integer(s->reign));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *gateway_told(const Watch *w)
{
    json_t *score;

    if (!w->gateway)
        return json_null();
    score = check_score_to_json(&w->gateway->score, w->gateway->spec);
    json_object_set_new(score, "unresolved", json_boolean(is_unresolved(w)));
    return score;
}

json_t *watch_status(const Watch *w)
{
    return json_pack("{s:o, s:o, s:o}", "hosts", told(w->hosts, "id"), "guests", told(w->guests, "vm"),
                     "gateway", gateway_told(w));
}

static void on_routes_closed(uv_handle_t *handle)
{
    g_free(handle->data);
}

void watch_close(Watch *w, void (*on_closed)(void *user), void *user)
{
    forget(w);
    g_ptr_array_unref(w->hosts);
    g_ptr_array_unref(w->guests);
    g_clear_pointer(&w->identity, identity_unref);
    prober_close(w->prober, on_closed, user);
    uv_close((uv_handle_t *)&w->routes, on_routes_closed);
}
