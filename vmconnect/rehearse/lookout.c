/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/lookout.h"

#include "netmap/isolate.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/readable.h"
#include "vmconnect/probe/http_get.h"

#include <uv.h>

#define ECHO_MS 200
#define ADDRESSES 4 /* of a card that are asked in a turn */
#define TOLD_MAX 8  /* of them are told */
#define TCP_MS 300
#define GET_MS 10000    /* a guest that has just booted may be slow */
#define GET_WAIT_MS 100 /* it goes on in the next turn */
#define CARDS_MS 1000   /* of one turn, for cards that do not answer, … */
#define ERRANDS_MS 1000 /* … and for errands: stand-ins wait to be plugged, and bounds to be kept */

typedef struct {
    gboolean answers;
    gboolean speaks; /* of cards */
    char *text;
} Sight;

/* What was asked. Only the stage's thread tries it, and has its request. */
typedef struct {
    const Exam *exam;
    const GPtrArray *nics;
    Sight sight;
    gboolean queued;
    HttpGet *get;
} Errand;

struct Lookout {
    uv_mutex_t lock;
    GHashTable *sights;  /* tap -> Sight * */
    gsize looked;        /* at so many cards; the stage's thread alone */
    GHashTable *errands; /* Exam * -> Errand * */
    GQueue asked;        /* of Errand * that wait for their turn */
};

static void sight_free(gpointer data)
{
    Sight *s = data;

    g_free(s->text);
    g_free(s);
}

static void errand_free(gpointer data)
{
    Errand *e = data;

    http_get_free(e->get);
    g_free(e->sight.text);
    g_free(e);
}

Lookout *lookout_new(void)
{
    Lookout *l = g_new0(Lookout, 1);

    uv_mutex_init(&l->lock);
    l->sights = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, sight_free);
    l->errands = g_hash_table_new_full(NULL, NULL, NULL, errand_free);
    return l;
}

void lookout_free(Lookout *l)
{
    if (!l)
        return;
    g_queue_clear(&l->asked);
    g_hash_table_unref(l->errands);
    g_hash_table_unref(l->sights);
    uv_mutex_destroy(&l->lock);
    g_free(l);
}

/* Takes @text. */
static void note(Lookout *l, const char *tap, gboolean answers, gboolean speaks, char *text)
{
    Sight *s = g_new0(Sight, 1);

    s->answers = answers;
    s->speaks = speaks;
    s->text = text;
    uv_mutex_lock(&l->lock);
    g_hash_table_replace(l->sights, g_strdup(tap), s);
    uv_mutex_unlock(&l->lock);
}

gboolean lookout_read(Lookout *l, const char *tap, gboolean *ret_speaks, char **ret_text)
{
    const Sight *s;
    gboolean answers;

    uv_mutex_lock(&l->lock);
    s = g_hash_table_lookup(l->sights, tap);
    answers = s && s->answers;
    if (ret_speaks)
        *ret_speaks = s && s->speaks;
    *ret_text = g_strdup(s ? s->text : "nothing was heard of it");
    uv_mutex_unlock(&l->lock);
    return answers;
}

static char *heard(const json_t *card)
{
    const json_t *addresses = json_object_get(card, "addresses");
    g_autoptr(GString) text = g_string_new(NULL);
    json_t *one;
    gsize i;

    if (json_array_size(addresses) > 0) {
        g_string_append(text, "it does not answer at");
        json_array_foreach(addresses, i, one)
        {
            if (i == TOLD_MAX) {
                g_string_append(text, " …");
                break;
            }
            g_string_append_printf(text, " %s", json_string_value(one));
        }
    } else if (json_is_true(json_object_get(card, "dhcp"))) {
        g_string_append(text, "it asks for an address (DHCP), and has none yet");
    } else if (json_is_true(json_object_get(card, "ip")) || json_is_true(json_object_get(card, "nd"))) {
        g_string_append(text, "it was heard, and has said no IPv4 address");
    } else {
        g_string_append(text, "nothing was heard of it");
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static gboolean speaks(const json_t *card)
{
    return json_array_size(json_object_get(card, "addresses")) > 0 ||
           json_is_true(json_object_get(card, "dhcp"));
}

static gboolean is_busy(int fd)
{
    return readable_within(fd, 0);
}

/* What the first that answers of those whose turn it is, @turn by @turn, does; NULL: none answers. The caller frees. */
static char *find_answer(Stage *stage, const json_t *card, gsize turn, int busy_fd)
{
    const char *place = json_string_value(json_object_get(card, "place"));
    const json_t *addresses = json_object_get(card, "addresses");
    gsize n = json_array_size(addresses);

    for (gsize i = 0; i < MIN(n, ADDRESSES) && !is_busy(busy_fd); i++) {
        const char *address = json_string_value(json_array_get(addresses, (turn * ADDRESSES + i) % n));

        if (stage_ping(stage, place, address, ECHO_MS, NULL))
            return g_strdup_printf("it answers at %s", address);
        if (stage_resolves(stage, place, address))
            return g_strdup_printf("it answers at %s, but no echo (ARP alone)", address);
    }
    return NULL;
}

static void look_at(Lookout *l, Stage *stage, const json_t *card, gsize turn, int busy_fd)
{
    const char *tap = json_string_value(json_object_get(card, "tap"));
    g_autofree char *before = NULL;
    char *answer;

    if (lookout_read(l, tap, NULL, &before))
        return;
    answer = find_answer(stage, card, turn, busy_fd);
    note(l, tap, answer != NULL, speaks(card), answer ? answer : heard(card));
}

/* --- errands ---------------------------------------------------------------- */

gboolean lookout_ask(Lookout *l, const Exam *exam, const GPtrArray *nics, char **ret_says)
{
    gboolean passed;
    Errand *e;

    uv_mutex_lock(&l->lock);
    e = g_hash_table_lookup(l->errands, exam);
    if (!e) {
        e = g_new0(Errand, 1);
        *e = (Errand){.exam = exam, .nics = nics};
        g_hash_table_insert(l->errands, (gpointer)exam, e);
    }
    passed = e->sight.answers;
    *ret_says = g_strdup(e->sight.text ? e->sight.text : "it was not tried yet");
    if (!passed && !e->queued) {
        e->queued = TRUE;
        g_queue_push_tail(&l->asked, e);
    }
    uv_mutex_unlock(&l->lock);
    return passed;
}

/* Those that are asked meanwhile wait for the next turn. */
static guint count_asked(Lookout *l)
{
    guint n;

    uv_mutex_lock(&l->lock);
    n = l->asked.length;
    uv_mutex_unlock(&l->lock);
    return n;
}

static Errand *take_errand(Lookout *l)
{
    Errand *e;

    uv_mutex_lock(&l->lock);
    e = g_queue_pop_head(&l->asked);
    e->queued = FALSE;
    uv_mutex_unlock(&l->lock);
    return e;
}

/* Takes @says. */
static void note_errand(Lookout *l, Errand *e, gboolean passed, char *says)
{
    uv_mutex_lock(&l->lock);
    e->sight.answers = passed;
    g_free(e->sight.text);
    e->sight.text = says;
    uv_mutex_unlock(&l->lock);
}

/* Its first address, or @address if its guest has said that; NULL: neither. */
static const char *address_of(const json_t *cards, const IsolatedNic *nic, const char *address)
{
    json_t *card, *one;
    gsize i, k;

    json_array_foreach(cards, i, card)
    {
        if (g_strcmp0(json_string_value(json_object_get(card, "tap")), nic->tap) != 0)
            continue;
        json_array_foreach(json_object_get(card, "addresses"), k, one)
        {
            if (!address || g_str_equal(json_string_value(one), address))
                return json_string_value(one);
        }
    }
    return NULL;
}

/* One that has said nothing may do so when it is asked for. */
static void provoke(Stage *stage, const Errand *e)
{
    for (guint i = 0; i < e->nics->len; i++)
        (void)stage_ping(stage, ((const IsolatedNic *)e->nics->pdata[i])->place, e->exam->address,
                         GET_WAIT_MS, NULL);
}

/* The card that it is asked at, NULL: none can be, *@ret_says then. */
static const IsolatedNic *find_nic(Stage *stage, const json_t *cards, const Errand *e,
                                   const char **ret_address, char **ret_says)
{
    gboolean sought = TRUE;

    for (guint i = 0; i < e->nics->len && sought; i++) {
        const IsolatedNic *nic = e->nics->pdata[i];

        if (nic->down)
            continue;
        *ret_address = address_of(cards, nic, e->exam->address);
        if (*ret_address)
            return nic;
        sought = e->exam->address != NULL;
    }
    if (e->nics->len == 0) {
        *ret_says = g_strdup("it has no network card");
    } else if (e->exam->address) {
        *ret_says = g_strdup_printf("none of its cards has said that %s is its own", e->exam->address);
        provoke(stage, e);
    } else {
        *ret_says = g_strdup("its first card has said no IPv4 address yet");
    }
    return NULL;
}

static gboolean try_http(Errand *e, const char *address, char **ret_says)
{
    gboolean over, good;

    if (!e->get) {
        g_autofree char *url = g_strdup_printf("%s://%s:%u%s", e->exam->kind == EXAM_HTTPS ? "https" : "http",
                                               address, e->exam->port, e->exam->path);

        e->get = http_get_new(url, GET_MS);
    }
    over = http_get_go_on(e->get, GET_WAIT_MS);
    good = http_get_judge(e->get, e->exam->expect ? e->exam->expect : "", ret_says);
    if (over)
        g_clear_pointer(&e->get, http_get_free);
    return good;
}

static gboolean try_kind(Stage *stage, Errand *e, const char *place, const char *address, char **ret_says,
                         GError **error)
{
    if (e->exam->kind == EXAM_PING)
        return stage_ping(stage, place, address, ECHO_MS, error);
    if (e->exam->kind == EXAM_TCP)
        return stage_connect(stage, place, address, e->exam->port, TCP_MS, error);
    return stage_enter(stage, place, error) && try_http(e, address, ret_says);
}

static void try_at(Lookout *l, Stage *stage, Errand *e, const char *place, const char *address)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *says = NULL;
    gboolean good = try_kind(stage, e, place, address, &says, &error);

    if (e->get && e->sight.text)
        return; /* it is still being asked, and what came of it before says more */
    if (says)
        note_errand(l, e, good, g_strdup_printf("%s: %s", address, says));
    else if (good)
        note_errand(l, e, TRUE, g_strdup_printf("it answers at %s", address));
    else
        note_errand(l, e, FALSE, g_strdup_printf("%s (its card is on '%s')", error->message, place));
}

static void try_errand(Lookout *l, Stage *stage, const json_t *cards, Errand *e)
{
    const char *address = NULL;
    char *says = NULL;
    const IsolatedNic *nic = find_nic(stage, cards, e, &address, &says);

    if (nic)
        try_at(l, stage, e, nic->place, address);
    else
        note_errand(l, e, FALSE, says);
}

void lookout_turn(Lookout *l, Stage *stage, int busy_fd)
{
    json_auto_t *cards = is_busy(busy_fd) ? NULL : stage_seen(stage, NULL);
    gsize n = json_array_size(cards);
    gint64 until_ms = clock_steady_ms() + CARDS_MS;

    for (gsize i = 0; i < n && clock_left_ms(until_ms) > 0 && !is_busy(busy_fd); i++, l->looked++)
        look_at(l, stage, json_array_get(cards, l->looked % n), l->looked / n, busy_fd);
    until_ms = clock_steady_ms() + ERRANDS_MS;
    for (guint left = count_asked(l); left > 0 && clock_left_ms(until_ms) > 0 && !is_busy(busy_fd); left--)
        try_errand(l, stage, cards, take_errand(l));
}

void lookout_end(Lookout *l)
{
    GHashTableIter iter;
    gpointer e;

    uv_mutex_lock(&l->lock);
    g_hash_table_iter_init(&iter, l->errands);
    while (g_hash_table_iter_next(&iter, NULL, &e))
        g_clear_pointer(&((Errand *)e)->get, http_get_free);
    uv_mutex_unlock(&l->lock);
}
