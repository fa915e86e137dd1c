/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/vitals.h"

#include "orchestrator/core/lost_paths.h"
#include "orchestrator/core/news.h"
#include "vmconnect/base/json.h"

/* So many probes must be answered in a row before one that is missed is news again: a path that comes and goes is one thing. */
#define CALM_PROBES 10
/* Echoes of its own gateway, a second apart (watch.c), that a host misses in a row before it counts as cut off itself: one is lost now and
 * then. */
#define BLIND_MISSES 3
/* Who sees for as long sees well. */
#define SEES_MS 10000
/* A guard that is restarted, or was killed, is back before. */
#define GUARD_MS 3000

/* Who looks after a host, and does not count as blind. */
typedef struct {
    guint n;
    guint silent;      /* of these, hear nothing of it */
    gboolean missed;   /* no path answered the last try of one */
    char *why;         /* of the first that is silent */
    EngineLife engine; /* the most telling that one of them has to say */
    GHashTable
        *lost; /* paths on which one of them does not hear it, and does on another: sight_of_lost_paths() */
} Watchers;

/* What a host hears of those that it watches: so many, of so many that were tried. */
typedef struct {
    guint seen, n;
} View;

typedef struct {
    char *name;
    Id id;
    gboolean up;
    guint misses;       /* that make it silent; 0: nobody asks */
    gint64 interval_ms; /* of the probes */
    gboolean heard;     /* a whole status since its link is up */
    json_t *libvirt;    /* the last word of it; NULL: none */
    json_t *guard;      /* the same */
    json_t *gateway;    /* the same */
    GHashTable *guests; /* Id * -> json_t * */
    GHashTable *checks; /* Id * -> json_t *: a guest that it watches, with its "checks" */
    GHashTable *
        answered; /* Id * -> json_t *: {"reign", words: true}, checks that were answered at some time; outlives its engine */
    GHashTable *watched; /* Id * -> json_t *: those of a host */
    Life life;
    char *why;
    View view;           /* as of the last step */
    gboolean blind;      /* what it sees of others does not count */
    Watchers seen;       /* of who sees it */
    gboolean missed;     /* some path was missed and none answered */
    gint64 missed_ms;    /* when that was so last; 0: never, or in a silence that is over */
    gboolean was_silent; /* told, and its paths are missed since */
    gboolean is_silent;  /* told */
    gboolean is_blind;   /* told */
    gboolean no_libvirt; /* told */
    gboolean no_guard;   /* told */
    gint64 unguarded_ms; /* since when it does not answer; 0: it does */
    gboolean excused;    /* of that nothing is told now */
    gint64 sees_ms;      /* … and since when it is not so any more; 0: it is */
    gint64 alone_ms;     /* since when its gateway alone is missed; 0: it is not */
    LostPaths lost;      /* of those to it */
} Host;

struct Vitals {
    GPtrArray *hosts;    /* Host * */
    GHashTable *by_name; /* its own -> Host * */
    GHashTable *by_id;   /* Id * (its own) -> Host * */
    gboolean stale;      /* something has come since the last step that may change what is known of hosts */
};

/* --- reading ----------------------------------------------------------------- */

static void key_free(gpointer key)
{
    g_free(key);
}

static void doc_free(gpointer doc)
{
    json_decref(doc);
}

static GHashTable *by_id_new(void)
{
    return g_hash_table_new_full(id_hash, id_equal_func, key_free, doc_free);
}

static void fill(GHashTable *by_id, const json_t *list, const char *key, const char *member)
{
    g_hash_table_remove_all(by_id);
    for (gsize i = 0; i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        const char *text = json_string_value(json_object_get(item, key));
        Id id;

        if (text && id_parse(text, &id, NULL))
            g_hash_table_insert(by_id, g_memdup2(&id, sizeof(id)),
                                json_incref(member ? json_object_get(item, member) : item));
    }
}

static void forget_status(Host *h)
{
    g_hash_table_remove_all(h->guests);
    g_hash_table_remove_all(h->checks);
    g_hash_table_remove_all(h->watched);
    g_clear_pointer(&h->libvirt, json_decref);
    g_clear_pointer(&h->guard, json_decref);
    g_clear_pointer(&h->gateway, json_decref);
    h->heard = FALSE;
}

/* --- hosts ------------------------------------------------------------------- */

static void clear_watchers(Watchers *w)
{
    g_free(w->why);
    g_clear_pointer(&w->lost, g_hash_table_unref);
    *w = (Watchers){0};
}

static void host_free(gpointer data)
{
    Host *h = data;

    forget_status(h);
    g_hash_table_unref(h->guests);
    g_hash_table_unref(h->checks);
    g_hash_table_unref(h->answered);
    g_hash_table_unref(h->watched);
    lost_paths_clear(&h->lost);
    g_free(h->name);
    g_free(h->why);
    clear_watchers(&h->seen);
    g_free(h);
}

Vitals *vitals_new(void)
{
    Vitals *v = g_new0(Vitals, 1);

    v->hosts = g_ptr_array_new_with_free_func(host_free);
    v->by_name = g_hash_table_new(g_str_hash, g_str_equal);
    v->by_id = g_hash_table_new(id_hash, id_equal_func);
    return v;
}

void vitals_free(Vitals *v)
{
    if (!v)
        return;
    g_hash_table_unref(v->by_name);
    g_hash_table_unref(v->by_id);
    g_ptr_array_unref(v->hosts);
    g_free(v);
}

static Host *find(const Vitals *v, const char *name)
{
    return name ? g_hash_table_lookup(v->by_name, name) : NULL;
}

void vitals_add(Vitals *v, const char *name, Id id)
{
    Host *h;

    if (find(v, name))
        return;
    h = g_new0(Host, 1);
    h->name = g_strdup(name);
    h->id = id;
    h->guests = by_id_new();
    h->checks = by_id_new();
    h->answered = by_id_new();
    h->watched = by_id_new();
    lost_paths_init(&h->lost);
    g_ptr_array_add(v->hosts, h);
    g_hash_table_insert(v->by_name, h->name, h);
    g_hash_table_insert(v->by_id, &h->id, h);
    v->stale = TRUE;
}

void vitals_recall(Vitals *v, const char *name, EventCode told)
{
    Host *h = find(v, name);

    h->is_silent |= told == EVENT_HOST_SILENT;
    h->no_libvirt |= told == EVENT_HYPERVISOR_SILENT;
    h->no_guard |= told == EVENT_GUARD_SILENT;
    h->is_blind |= told == EVENT_WATCH_BLIND;
    if (told == EVENT_PATH_LOST)
        lost_paths_recall(&h->lost);
}

void vitals_remove(Vitals *v, const char *name)
{
    Host *h = find(v, name);

    if (!h)
        return;
    g_hash_table_remove(v->by_name, h->name);
    g_hash_table_remove(v->by_id, &h->id);
    g_ptr_array_remove(v->hosts, h);
    v->stale = TRUE;
}

static void set_life(Host *h, Life life, char *steal_why)
{
    h->life = life;
    g_free(h->why);
    h->why = steal_why;
}

void vitals_link(Vitals *v, const char *name, gboolean up)
{
    Host *h = find(v, name);

    if (!h)
        return;
    h->up = up;
    v->stale = TRUE;
    forget_status(h);
    if (up)
        set_life(h, LIFE_ALIVE, NULL);
}

static void take_part(json_t **part, json_t *word)
{
    json_decref(*part);
    *part = json_incref(word);
}

static gint64 reign_of(const json_t *item)
{
    return json_integer_value(json_object_get(item, "reign"));
}

/* An engine that was started anew has forgotten what was answered, and would never miss it. */
static void remember_answers(Host *h, const Id *vm, const json_t *guest)
{
    const json_t *checks = json_object_get(guest, "checks");
    json_t *known = g_hash_table_lookup(h->answered, vm);

    if (!known || reign_of(known) != reign_of(guest)) {
        known = json_pack("{s:I}", "reign", (json_int_t)reign_of(guest));
        g_hash_table_insert(h->answered, g_memdup2(vm, sizeof(*vm)), known);
    }
    for (gsize i = 0; i < json_array_size(checks); i++) {
        const json_t *score = json_array_get(checks, i);

        if (score_was_answered(score) && score_words(score))
            json_object_set_new(known, score_words(score), json_true());
    }
}

static gboolean was_answered(const Host *h, Id vm, const json_t *guest, const json_t *score)
{
    const json_t *known = g_hash_table_lookup(h->answered, &vm);
    const char *words = score_words(score);

    return score_was_answered(score) || (known && words && reign_of(known) == reign_of(guest) &&
                                         json_is_true(json_object_get(known, words)));
}

static void take_watch(Host *h, const json_t *watch)
{
    GHashTableIter it;
    gpointer vm, guest;

    fill(h->checks, json_object_get(watch, "guests"), "vm", NULL);
    g_hash_table_iter_init(&it, h->checks);
    while (g_hash_table_iter_next(&it, &vm, &guest))
        remember_answers(h, vm, guest);
    fill(h->watched, json_object_get(watch, "hosts"), "id", "checks");
    take_part(&h->gateway, json_object_get(watch, "gateway"));
}

void vitals_hear(Vitals *v, const char *name, const json_t *status)
{
    Host *h = find(v, name);
    json_t *guests = json_object_get(status, "guests"), *libvirt = json_object_get(status, "libvirt"),
           *guard = json_object_get(status, "guard"), *watch = json_object_get(status, "watch");
    gboolean part = news_is_part(status);

    /* What has changed means nothing before it is known what there was. */
    if (!h || (part && !h->heard))
        return;
    if (!part)
        forget_status(h);
    h->heard = TRUE;
    if (guests)
        fill(h->guests, guests, "vm", NULL);
    if (libvirt)
        take_part(&h->libvirt, libvirt);
    if (guard)
        take_part(&h->guard, guard);
    if (watch)
        take_watch(h, watch);
    v->stale |= !part || libvirt || guard || watch;
}

void vitals_expect(Vitals *v, const char *name, guint misses, gint64 interval_ms)
{
    Host *h = find(v, name);

    if (!h)
        return;
    v->stale |= h->misses != misses;
    h->misses = misses;
    h->interval_ms = interval_ms;
}

/* --- who sees whom ------------------------------------------------------------ */

static View view_of(const Host *h)
{
    View view = {0};
    GHashTableIter it;
    gpointer checks;

    g_hash_table_iter_init(&it, h->watched);
    while (g_hash_table_iter_next(&it, NULL, &checks)) {
        Sight s = sight_of(checks, 1);

        view.n += s.tried > 0;
        view.seen += s.answered > 0;
    }
    return view;
}

/* Of all that it watches the longest. */
static gint64 interval_of(const Vitals *v, const Host *h)
{
    GHashTableIter it;
    gint64 longest_ms = 0;
    gpointer id;

    g_hash_table_iter_init(&it, h->watched);
    while (g_hash_table_iter_next(&it, &id, NULL)) {
        const Host *other = g_hash_table_lookup(v->by_id, id);

        longest_ms = MAX(longest_ms, other ? other->interval_ms : 0);
    }
    return longest_ms;
}

/* A gateway that is silent while others are heard, by tries that were made since, has gone by itself: it says nothing of the line, until
 * it answers again. */
static gboolean is_alone(const Vitals *v, Host *h, gint64 now_ms)
{
    gint64 since_ms;

    if (score_misses(h->gateway) == 0)
        h->alone_ms = 0;
    else if (h->alone_ms == 0 && h->view.seen > 0)
        h->alone_ms = now_ms;
    if (h->alone_ms == 0)
        return FALSE;
    since_ms = h->alone_ms + 2 * interval_of(v, h);
    if (h->view.seen == 0 && now_ms < since_ms)
        h->alone_ms = 0;
    return h->alone_ms > 0 && now_ms >= since_ms;
}

/* Its own gateway does not answer, and did before, or is not there to be asked; or, without one that would say so, it watches several
 * hosts, and sees none: a gateway that answers shows that all of those are gone. */
static gboolean is_blind(const Vitals *v, Host *h, gint64 now_ms)
{
    gboolean alone = is_alone(v, h, now_ms);

    if (!alone && (score_was_answered(h->gateway) || json_is_true(json_object_get(h->gateway, "unresolved"))))
        return score_misses(h->gateway) >= BLIND_MISSES;
    return h->view.n > 1 && h->view.seen == 0;
}

static void add_sight(Host *h, const Host *watcher, const json_t *checks)
{
    Sight s = sight_of(checks, MAX(h->misses, 1));
    Watchers *w = &h->seen;

    if (s.n == 0 || s.tried < s.n)
        return;
    w->n++;
    w->missed |= s.answered == 0;
    if (s.missed < s.n)
        return;
    w->silent++;
    if (!w->why) {
        g_autofree char *words = sight_words(checks);

        w->why =
            g_strdup_printf("its engine does not answer the controller, and %s hears nothing of it by %s",
                            watcher->name, words);
    }
}

static void add_paths(Host *h, const Host *watcher, const json_t *checks)
{
    guint misses = MAX(h->misses, 1);
    EngineLife engine = sight_of_engine(checks, misses);
    Watchers *w = &h->seen;

    w->engine = MAX(w->engine, engine);
    /* A beat and an echo are one path. */
    if (engine != ENGINE_HEARD || json_array_size(checks) <= 2)
        return;
    if (!w->lost)
        w->lost = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    sight_of_lost_paths(checks, misses, watcher->name, w->lost);
}

static gboolean counts(const Host *watcher)
{
    return watcher->up && watcher->heard && !watcher->blind;
}

/* What a watcher has seen, as far as its word counts. */
static void add_sights(const Vitals *v, const Host *watcher)
{
    GHashTableIter it;
    gpointer id, checks;

    if (!counts(watcher))
        return;
    g_hash_table_iter_init(&it, watcher->watched);
    while (g_hash_table_iter_next(&it, &id, &checks)) {
        Host *h = g_hash_table_lookup(v->by_id, id);

        if (!h || h == watcher)
            continue;
        add_sight(h, watcher, checks);
        add_paths(h, watcher, checks);
    }
}

static void look_around(const Vitals *v, gint64 now_ms)
{
    for (guint i = 0; i < v->hosts->len; i++) {
        Host *h = v->hosts->pdata[i];

        clear_watchers(&h->seen);
        h->view = view_of(h);
        h->blind = is_blind(v, h, now_ms);
    }
    for (guint i = 0; i < v->hosts->len; i++)
        add_sights(v, v->hosts->pdata[i]);
}

static void judge(Host *h)
{
    const Watchers *w = &h->seen;

    if (h->up || (w->n > 0 && w->silent < w->n))
        set_life(h, LIFE_ALIVE, NULL);
    else if (w->n > 0)
        set_life(h, LIFE_SILENT, g_strdup(w->why));
    else
        set_life(h, LIFE_UNKNOWN,
                 g_strdup("its engine does not answer the controller, and nobody who answers watches it"));
}

/* --- events ------------------------------------------------------------------- */

static void tell(const Host *h, EventCode code, const char *why, ActionList *out)
{
    action_publish(out, event_new(code, NULL, h->name, NULL, why));
}

static gboolean is_calm(const Host *h, gint64 now_ms)
{
    return h->missed_ms == 0 || now_ms >= h->missed_ms + CALM_PROBES * h->interval_ms;
}

static void tell_missed(Host *h, gint64 now_ms, ActionList *out)
{
    gboolean missed = h->seen.missed;

    if (missed && !h->missed && !h->is_silent && !h->excused && h->misses > 0 && is_calm(h, now_ms))
        tell(h, EVENT_PROBE_MISSED, NULL, out);
    if (missed || h->missed)
        h->missed_ms = missed || !h->was_silent ? now_ms : 0;
    h->was_silent &= missed;
    h->missed = missed;
}

static void tell_host(Host *h, ActionList *out)
{
    gboolean silent = h->life == LIFE_SILENT && h->misses > 0 && !h->excused;

    if (silent && !h->is_silent)
        tell(h, EVENT_HOST_SILENT, h->why, out);
    if (h->is_silent && h->life == LIFE_ALIVE)
        tell(h, EVENT_HOST_BACK, NULL, out);
    h->is_silent = (h->is_silent && h->life != LIFE_ALIVE) || silent;
    h->was_silent |= silent;
}

/* Of one that says nothing, or looks after nobody, it is not known. FALSE: it is not over yet whether it is so or so. */
static gboolean tell_blind(Host *h, gint64 now_ms, ActionList *out)
{
    if (!h->up || !h->heard || h->view.n == 0)
        return TRUE;
    /* Before it hears nobody of those, either, it may be its gateway alone. */
    if (h->blind && !h->is_blind && !h->excused && h->view.seen == 0) {
        tell(h, EVENT_WATCH_BLIND, NULL, out);
        h->is_blind = TRUE;
    }
    if (h->blind || !h->is_blind)
        h->sees_ms = 0;
    else if (h->sees_ms == 0)
        h->sees_ms = now_ms;
    if (h->sees_ms == 0 || now_ms < h->sees_ms + SEES_MS)
        return h->sees_ms == 0;
    tell(h, EVENT_WATCH_SEES, NULL, out);
    h->is_blind = FALSE;
    return TRUE;
}

/* FALSE: it is not over yet whether it is so or so. */
static gboolean tell_paths(Host *h, gint64 now_ms, ActionList *out)
{
    GHashTable *lost = h->seen.lost;
    LostPathsNews news;

    if (h->misses == 0 || h->excused)
        return TRUE;
    news = lost_paths_step(&h->lost, lost, h->seen.engine == ENGINE_HEARD, h->misses * h->interval_ms,
                           CALM_PROBES * h->interval_ms, now_ms);
    if (news == LOST_PATHS_LOST) {
        g_autofree char *words = lost_paths_words(lost);

        tell(h, EVENT_PATH_LOST, words, out);
    }
    if (news == LOST_PATHS_BACK)
        tell(h, EVENT_PATH_BACK, NULL, out);
    return news != LOST_PATHS_UNSURE;
}

static void tell_libvirt(Host *h, ActionList *out)
{
    const json_t *up = json_object_get(h->libvirt, "up");
    gboolean down = json_is_false(up);
    const char *why = json_text_of(h->libvirt, "why");

    /* An engine that has just started has not heard it yet: that is no silence. */
    if (!json_is_boolean(up) || (down && h->excused))
        return;
    if (down && !h->no_libvirt)
        tell(h, EVENT_HYPERVISOR_SILENT, why ? why : "no reason is known", out);
    if (!down && h->no_libvirt)
        tell(h, EVENT_HYPERVISOR_BACK, NULL, out);
    h->no_libvirt = down;
}

/* One that nobody needs is not told; FALSE: it is not over yet whether it is so or so. */
static gboolean tell_guard(Host *h, gint64 now_ms, ActionList *out)
{
    const json_t *up = json_object_get(h->guard, "up");
    gboolean down = json_is_false(up) && json_is_true(json_object_get(h->guard, "wanted"));
    const char *why = json_text_of(h->guard, "why");

    if (json_is_true(up) && h->no_guard) {
        tell(h, EVENT_GUARD_BACK, NULL, out);
        h->no_guard = FALSE;
    }
    if (!down || h->no_guard || h->excused) {
        h->unguarded_ms = 0;
        return TRUE;
    }
    if (h->unguarded_ms == 0)
        h->unguarded_ms = now_ms;
    if (now_ms < h->unguarded_ms + GUARD_MS)
        return FALSE;
    tell(h, EVENT_GUARD_SILENT, why ? why : "does not answer", out);
    h->no_guard = TRUE;
    return TRUE;
}

void vitals_excuse(Vitals *v, const char *name, gboolean excused)
{
    Host *h = find(v, name);

    v->stale |= h->excused != excused;
    h->excused = excused;
}

void vitals_step(Vitals *v, gint64 now_ms, ActionList *out)
{
    if (!v->stale)
        return;
    v->stale = FALSE;
    look_around(v, now_ms);
    for (guint i = 0; i < v->hosts->len; i++) {
        judge(v->hosts->pdata[i]);
        v->stale |= !tell_blind(v->hosts->pdata[i], now_ms, out);
    }
    for (guint i = 0; i < v->hosts->len; i++) {
        Host *h = v->hosts->pdata[i];

        tell_missed(h, now_ms, out);
        tell_host(h, out);
        tell_libvirt(h, out);
        v->stale |= !tell_guard(h, now_ms, out);
        v->stale |= !tell_paths(h, now_ms, out);
    }
}

/* --- asked --------------------------------------------------------------------- */

Life vitals_host(const Vitals *v, const char *name, const char **ret_why)
{
    const Host *h = find(v, name);

    if (ret_why)
        *ret_why = h ? h->why : NULL;
    return h ? h->life : LIFE_UNKNOWN;
}

EngineLife vitals_engine(const Vitals *v, const char *name)
{
    const Host *h = find(v, name);

    return !h ? ENGINE_UNKNOWN : h->up ? ENGINE_HEARD : h->seen.engine;
}

gboolean vitals_answers(const Vitals *v, const char *name)
{
    const Host *h = find(v, name);

    return h && h->up && h->heard;
}

const char *vitals_who_hears(const Vitals *v, const char *name)
{
    const Host *h = find(v, name);

    for (guint i = 0; h && i < v->hosts->len; i++) {
        const Host *watcher = v->hosts->pdata[i];
        const json_t *checks = watcher == h ? NULL : g_hash_table_lookup(watcher->watched, &h->id);

        if (counts(watcher) && sight_of(checks, 1).answered > 0)
            return watcher->name;
    }
    return NULL;
}

gint64 vitals_silence_ms(const Vitals *v, const char *name)
{
    const Host *h = find(v, name);
    guint misses = G_MAXUINT;

    for (guint i = 0; h && i < v->hosts->len; i++) {
        const Host *watcher = v->hosts->pdata[i];
        const json_t *checks = watcher == h ? NULL : g_hash_table_lookup(watcher->watched, &h->id);

        for (gsize k = 0; counts(watcher) && k < json_array_size(checks); k++)
            if (score_was_tried(json_array_get(checks, k)))
                misses = MIN(misses, score_misses(json_array_get(checks, k)));
    }
    return misses == G_MAXUINT ? 0 : misses * h->interval_ms;
}

static json_t *describe_score(const Host *watcher, const json_t *score, gboolean ever)
{
    return json_pack("{s:s, s:s?, s:b, s:i, s:s?}", "host", watcher->name, "check", score_words(score),
                     "answered", ever, "misses", (int)score_misses(score), "why", score_why(score));
}

json_t *vitals_describe_host(const Vitals *v, const char *name)
{
    const Host *h = find(v, name);
    json_t *list = json_array();

    for (guint i = 0; h && i < v->hosts->len; i++) {
        const Host *watcher = v->hosts->pdata[i];
        const json_t *checks = g_hash_table_lookup(watcher->watched, &h->id);

        for (gsize k = 0; k < json_array_size(checks); k++) {
            const json_t *score = json_array_get(checks, k);

            json_array_append_new(list, describe_score(watcher, score, score_was_answered(score)));
        }
    }
    return list;
}

gboolean vitals_hears(const Vitals *v, const char *watcher, const char *name)
{
    const Host *w = find(v, watcher), *h = find(v, name);
    Sight s = sight_of(w && h ? g_hash_table_lookup(w->watched, &h->id) : NULL, 1);

    return s.n == 0 || s.answered > 0;
}

gboolean vitals_is_blind(const Vitals *v, const char *name)
{
    const Host *h = find(v, name);

    return h && h->blind;
}

gboolean vitals_has_libvirt(const Vitals *v, const char *name)
{
    const Host *h = find(v, name);

    return h && json_is_true(json_object_get(h->libvirt, "up"));
}

gboolean vitals_has_guard(const Vitals *v, const char *name)
{
    const Host *h = find(v, name);

    return !h || !json_is_false(json_object_get(h->guard, "up"));
}

json_t *vitals_describe_guard(const Vitals *v, const char *name)
{
    const Host *h = find(v, name);
    json_t *up = h ? json_object_get(h->guard, "up") : NULL;

    if (!up)
        return json_null();
    return json_pack("{s:O, s:s?, s:b}", "answers", up, "why", json_text_of(h->guard, "why"), "older",
                     json_is_true(json_object_get(h->guard, "older")));
}

static guint count_of(const json_t *item, const char *what)
{
    return (guint)CLAMP(json_integer_value(json_object_get(item, what)), 0, G_MAXINT);
}

gboolean vitals_guest(const Vitals *v, const char *name, Id vm, VitalsGuest *ret_guest)
{
    const Host *h = find(v, name);
    const json_t *item = h ? g_hash_table_lookup(h->guests, &vm) : NULL;
    const char *word = json_text_of(item, "word");

    if (!word)
        return FALSE;
    *ret_guest = (VitalsGuest){.word = word,
                               .lease = json_text_of(item, "lease"),
                               .why = json_text_of(item, "why"),
                               .boots = count_of(item, "boots"),
                               .halts = count_of(item, "halts"),
                               .halted_ms = count_of(item, "halted_ms"),
                               .barks = count_of(item, "barks"),
                               .bark = json_text_of(item, "bark")};
    return TRUE;
}

json_t *vitals_answers_of(const Vitals *v, const char *name, Id vm)
{
    const Host *h = find(v, name);

    return h ? g_hash_table_lookup(h->answered, &vm) : NULL;
}

void vitals_recall_answers(Vitals *v, const char *name, Id vm, const json_t *answers)
{
    Host *h = find(v, name);

    if (h && json_is_object(answers))
        g_hash_table_insert(h->answered, g_memdup2(&vm, sizeof(vm)), json_deep_copy(answers));
}

void vitals_describe_checks(const Vitals *v, const char *name, Id vm, json_t *list)
{
    const Host *h = find(v, name);
    const json_t *guest = h ? g_hash_table_lookup(h->checks, &vm) : NULL;
    const json_t *checks = json_object_get(guest, "checks");

    for (gsize i = 0; h && i < json_array_size(checks); i++) {
        const json_t *score = json_array_get(checks, i);

        json_array_append_new(list, describe_score(h, score, was_answered(h, vm, guest, score)));
    }
}

VitalsChecks vitals_checks(const Vitals *v, const char *name, Id vm, guint misses)
{
    const Host *h = find(v, name);
    const json_t *guest = h ? g_hash_table_lookup(h->checks, &vm) : NULL;
    const json_t *checks = json_object_get(guest, "checks");
    VitalsChecks sum = {.n = (guint)json_array_size(checks),
                        .reign = (guint64)json_integer_value(json_object_get(guest, "reign"))};

    for (gsize i = 0; h && i < sum.n; i++) {
        const json_t *score = json_array_get(checks, i);
        gboolean ever = was_answered(h, vm, guest, score);
        gboolean missed = ever && score_misses(score) >= misses;
        gboolean answered = score_is_answered(score);

        sum.answered += answered;
        if (!answered && !sum.open)
            sum.open = score_words(score);
        if (!ever && !sum.never && score_was_tried(score))
            sum.never = score_words(score);
        sum.missed += missed;
        sum.proven += ever;
        if (missed && !sum.words) {
            sum.why = score_why(score);
            sum.words = score_words(score);
        }
    }
    return sum;
}
