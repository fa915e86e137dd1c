/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/vitals.h"

#include <string.h>

typedef struct {
    char *name;
    Id id;
    gboolean up;
    guint misses;        /* that make it silent; 0: nobody asks */
    json_t *status;      /* the last; NULL: none since its link is up */
    GHashTable *guests;  /* Id * -> json_t * in it */
    GHashTable *checks;  /* Id * -> json_t *: a guest that it watches, with its "checks" */
    GHashTable *watched; /* Id * -> json_t *: those of a host */
    Life life;
    char *why;
    gboolean missed;     /* told: some path was missed and none answered */
    gboolean is_silent;  /* told */
    gboolean is_blind;   /* told */
    gboolean no_libvirt; /* told */
} Host;

struct Vitals {
    GPtrArray *hosts; /* Host * */
};

/* --- reading ----------------------------------------------------------------- */

static void key_free(gpointer key)
{
    g_free(key);
}

static GHashTable *by_id_new(void)
{
    return g_hash_table_new_full(id_hash, id_equal_func, key_free, NULL);
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
                                member ? json_object_get(item, member) : item);
    }
}

static void forget_status(Host *h)
{
    g_hash_table_remove_all(h->guests);
    g_hash_table_remove_all(h->checks);
    g_hash_table_remove_all(h->watched);
    json_decref(h->status);
    h->status = NULL;
}

static const char *text_of(const json_t *item, const char *key)
{
    return json_string_value(json_object_get(item, key));
}

static guint misses_of(const json_t *score)
{
    return (guint)CLAMP(json_integer_value(json_object_get(score, "misses")), 0, 1000000);
}

static gboolean is_true(const json_t *item, const char *key)
{
    return json_is_true(json_object_get(item, key));
}

/* --- hosts ------------------------------------------------------------------- */

static void host_free(gpointer data)
{
    Host *h = data;

    forget_status(h);
    g_hash_table_unref(h->guests);
    g_hash_table_unref(h->checks);
    g_hash_table_unref(h->watched);
    g_free(h->name);
    g_free(h->why);
    g_free(h);
}

Vitals *vitals_new(void)
{
    Vitals *v = g_new0(Vitals, 1);

    v->hosts = g_ptr_array_new_with_free_func(host_free);
    return v;
}

void vitals_free(Vitals *v)
{
    if (!v)
        return;
    g_ptr_array_unref(v->hosts);
    g_free(v);
}

static Host *find(const Vitals *v, const char *name)
{
    for (guint i = 0; i < v->hosts->len; i++)
        if (g_str_equal(((Host *)v->hosts->pdata[i])->name, name))
            return v->hosts->pdata[i];
    return NULL;
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
    h->watched = by_id_new();
    g_ptr_array_add(v->hosts, h);
}

void vitals_remove(Vitals *v, const char *name)
{
    Host *h = find(v, name);

    if (h)
        g_ptr_array_remove(v->hosts, h);
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
    forget_status(h);
    if (up)
        set_life(h, LIFE_ALIVE, NULL);
}

void vitals_hear(Vitals *v, const char *name, const json_t *status)
{
    Host *h = find(v, name);
    const json_t *watch = json_object_get(status, "watch");

    if (!h)
        return;
    forget_status(h);
    h->status = json_incref((json_t *)status);
    fill(h->guests, json_object_get(status, "guests"), "vm", NULL);
    fill(h->checks, json_object_get(watch, "guests"), "vm", NULL);
    fill(h->watched, json_object_get(watch, "hosts"), "id", "checks");
}

void vitals_expect(Vitals *v, const char *name, guint misses)
{
    Host *h = find(v, name);

    if (h)
        h->misses = misses;
}

/* --- who sees whom ------------------------------------------------------------ */

typedef struct {
    guint tried;
    guint answered; /* the last try, of one that was ever tried */
    guint missed;   /* as often as makes it silent */
    guint n;
} Sight;

static Sight sight_of(const json_t *checks, guint misses)
{
    Sight s = {.n = (guint)json_array_size(checks)};

    for (gsize i = 0; i < s.n; i++) {
        const json_t *score = json_array_get(checks, i);
        gboolean tried = is_true(score, "tried");

        s.tried += tried;
        s.answered += tried && misses_of(score) == 0;
        s.missed += tried && misses_of(score) >= misses;
    }
    return s;
}

/* Its own gateway does not answer; or it watches several hosts, and sees none. */
static gboolean is_blind(const Host *h)
{
    const json_t *gateway = json_object_get(json_object_get(h->status, "watch"), "gateway");
    GHashTableIter it;
    gpointer checks;
    guint hosts = 0, seen = 0;

    if (is_true(gateway, "ever") && misses_of(gateway) > 0)
        return TRUE;
    g_hash_table_iter_init(&it, h->watched);
    while (g_hash_table_iter_next(&it, NULL, &checks)) {
        Sight s = sight_of(checks, 1);

        hosts += s.tried > 0;
        seen += s.answered > 0;
    }
    return hosts > 1 && seen == 0;
}

/* What a watcher has seen of @h; NULL: it does not watch it, or its word does not count. */
static const json_t *seen_by(const Host *watcher, const Host *h)
{
    if (watcher == h || !watcher->up || !watcher->status || is_blind(watcher))
        return NULL;
    return g_hash_table_lookup(watcher->watched, &h->id);
}

static char *words_of(const Host *watcher, const json_t *checks)
{
    GString *text = g_string_new(NULL);

    g_string_append_printf(text, "its engine does not answer the controller, and %s hears nothing of it by ",
                           watcher->name);
    for (gsize i = 0; i < json_array_size(checks); i++) {
        const char *words = text_of(json_array_get(checks, i), "words");

        g_string_append_printf(text, "%s%s", i == 0 ? "" : ", ", words ? words : "?");
    }
    return g_string_free(text, FALSE);
}

/* @ret_missed: no path answered somebody's last try. */
static void judge(const Vitals *v, Host *h, gboolean *ret_missed)
{
    guint watchers = 0, silent = 0;
    char *why = NULL;

    *ret_missed = FALSE;
    for (guint i = 0; i < v->hosts->len; i++) {
        const Host *watcher = v->hosts->pdata[i];
        const json_t *checks = seen_by(watcher, h);
        Sight s = sight_of(checks, MAX(h->misses, 1));

        if (s.n == 0 || s.tried < s.n)
            continue;
        watchers++;
        *ret_missed |= s.answered == 0;
        if (s.missed < s.n)
            continue;
        silent++;
        if (!why)
            why = words_of(watcher, checks);
    }
    if (h->up || (watchers > 0 && silent < watchers))
        set_life(h, LIFE_ALIVE, NULL);
    else if (watchers > 0)
        set_life(h, LIFE_SILENT, g_steal_pointer(&why));
    else
        set_life(h, LIFE_UNKNOWN,
                 g_strdup("its engine does not answer the controller, and nobody who answers watches it"));
    g_free(why);
}

/* --- events ------------------------------------------------------------------- */

static void tell(const Host *h, EventCode code, const char *why, ActionList *out)
{
    action_publish(out, event_new(code, NULL, h->name, NULL, why));
}

static void tell_host(Host *h, gboolean missed, ActionList *out)
{
    gboolean silent = h->life == LIFE_SILENT && h->misses > 0;

    if (missed && !h->missed && h->misses > 0)
        tell(h, EVENT_PROBE_MISSED, NULL, out);
    h->missed = missed;
    if (silent && !h->is_silent)
        tell(h, EVENT_HOST_SILENT, h->why, out);
    if (h->is_silent && h->life == LIFE_ALIVE)
        tell(h, EVENT_HOST_BACK, NULL, out);
    h->is_silent = (h->is_silent && h->life != LIFE_ALIVE) || silent;
}

static void tell_blind(Host *h, ActionList *out)
{
    gboolean blind = h->up && h->status && is_blind(h);

    if (blind && !h->is_blind)
        tell(h, EVENT_WATCH_BLIND, NULL, out);
    h->is_blind = blind;
}

static void tell_libvirt(Host *h, ActionList *out)
{
    const json_t *libvirt = json_object_get(h->status, "libvirt");
    gboolean down = libvirt && !is_true(libvirt, "up");
    const char *why = text_of(libvirt, "why");

    if (!libvirt)
        return;
    if (down && !h->no_libvirt)
        tell(h, EVENT_HYPERVISOR_SILENT, why ? why : "no reason is known", out);
    if (!down && h->no_libvirt)
        tell(h, EVENT_HYPERVISOR_BACK, NULL, out);
    h->no_libvirt = down;
}

void vitals_step(Vitals *v, ActionList *out)
{
    for (guint i = 0; i < v->hosts->len; i++) {
        Host *h = v->hosts->pdata[i];
        gboolean missed;

        judge(v, h, &missed);
        tell_host(h, missed, out);
        tell_blind(h, out);
        tell_libvirt(h, out);
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

gboolean vitals_answers(const Vitals *v, const char *name)
{
    const Host *h = find(v, name);

    return h && h->up && h->status;
}

gboolean vitals_has_libvirt(const Vitals *v, const char *name)
{
    const Host *h = find(v, name);

    return h && is_true(json_object_get(h->status, "libvirt"), "up");
}

gboolean vitals_guest(const Vitals *v, const char *name, Id vm, VitalsGuest *ret_guest)
{
    const Host *h = find(v, name);
    const json_t *item = h ? g_hash_table_lookup(h->guests, &vm) : NULL;
    const char *word = text_of(item, "word");

    if (!word)
        return FALSE;
    *ret_guest = (VitalsGuest){word, text_of(item, "why"),
                               (guint)CLAMP(json_integer_value(json_object_get(item, "boots")), 0, G_MAXINT)};
    return TRUE;
}

void vitals_describe_checks(const Vitals *v, const char *name, Id vm, json_t *list)
{
    const Host *h = find(v, name);
    const json_t *checks = json_object_get(h ? g_hash_table_lookup(h->checks, &vm) : NULL, "checks");

    for (gsize i = 0; i < json_array_size(checks); i++) {
        const json_t *score = json_array_get(checks, i);

        json_array_append_new(list, json_pack("{s:s, s:s?, s:b, s:i, s:s?}", "host", name, "check",
                                              text_of(score, "words"), "answered", is_true(score, "ever"),
                                              "misses", (int)misses_of(score), "why", text_of(score, "why")));
    }
}

VitalsChecks vitals_checks(const Vitals *v, const char *name, Id vm, guint misses)
{
    const Host *h = find(v, name);
    const json_t *guest = h ? g_hash_table_lookup(h->checks, &vm) : NULL;
    const json_t *checks = json_object_get(guest, "checks");
    VitalsChecks sum = {.n = (guint)json_array_size(checks),
                        .reign = (guint64)json_integer_value(json_object_get(guest, "reign"))};

    for (gsize i = 0; i < sum.n; i++) {
        const json_t *score = json_array_get(checks, i);
        gboolean missed = misses_of(score) >= misses;
        gboolean answered = is_true(score, "tried") && misses_of(score) == 0;

        sum.answered += answered;
        if (!answered && !sum.open)
            sum.open = text_of(score, "words");
        sum.missed += missed;
        sum.proven += is_true(score, "ever");
        if (missed && !sum.words) {
            sum.why = text_of(score, "why");
            sum.words = text_of(score, "words");
        }
    }
    return sum;
}
