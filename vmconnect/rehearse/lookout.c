/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/lookout.h"

#include "vmconnect/base/json.h"

#include <poll.h>
#include <uv.h>

#define ECHO_MS 200
#define ADDRESSES 4 /* of a card that are asked in a turn */
#define TOLD_MAX 8  /* of them are told */

typedef struct {
    gboolean answers;
    char *text;
} Sight;

struct Lookout {
    uv_mutex_t lock;
    GHashTable *sights; /* tap -> Sight * */
    gsize looked;       /* at so many cards; the stage's thread alone */
};

static void sight_free(gpointer data)
{
    Sight *s = data;

    g_free(s->text);
    g_free(s);
}

Lookout *lookout_new(void)
{
    Lookout *l = g_new0(Lookout, 1);

    uv_mutex_init(&l->lock);
    l->sights = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, sight_free);
    return l;
}

void lookout_free(Lookout *l)
{
    if (!l)
        return;
    g_hash_table_unref(l->sights);
    uv_mutex_destroy(&l->lock);
    g_free(l);
}

/* Takes @text. */
static void note(Lookout *l, const char *tap, gboolean answers, char *text)
{
    Sight *s = g_new0(Sight, 1);

    s->answers = answers;
    s->text = text;
    uv_mutex_lock(&l->lock);
    g_hash_table_replace(l->sights, g_strdup(tap), s);
    uv_mutex_unlock(&l->lock);
}

gboolean lookout_read(Lookout *l, const char *tap, char **ret_text)
{
    const Sight *s;
    gboolean answers;

    uv_mutex_lock(&l->lock);
    s = g_hash_table_lookup(l->sights, tap);
    answers = s && s->answers;
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

static gboolean is_busy(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) > 0;
}

/* The first that answers of those whose turn it is, @turn by @turn. */
static const char *find_answer(Stage *stage, const json_t *card, gsize turn, int busy_fd)
{
    const char *place = json_string_value(json_object_get(card, "place"));
    const json_t *addresses = json_object_get(card, "addresses");
    gsize n = json_array_size(addresses);

    for (gsize i = 0; i < MIN(n, ADDRESSES) && !is_busy(busy_fd); i++) {
        const char *address = json_string_value(json_array_get(addresses, (turn * ADDRESSES + i) % n));

        if (stage_ping(stage, place, address, ECHO_MS, NULL))
            return address;
    }
    return NULL;
}

static void look_at(Lookout *l, Stage *stage, const json_t *card, gsize turn, int busy_fd)
{
    const char *tap = json_string_value(json_object_get(card, "tap"));
    g_autofree char *before = NULL;
    const char *address;

    if (lookout_read(l, tap, &before))
        return;
    address = find_answer(stage, card, turn, busy_fd);
    note(l, tap, address != NULL, address ? g_strdup_printf("it answers at %s", address) : heard(card));
}

void lookout_turn(Lookout *l, Stage *stage, int busy_fd)
{
    json_auto_t *cards = is_busy(busy_fd) ? NULL : stage_seen(stage, NULL);
    gsize n = json_array_size(cards);

    for (gsize i = 0; i < n && !is_busy(busy_fd); i++, l->looked++)
        look_at(l, stage, json_array_get(cards, l->looked % n), l->looked / n, busy_fd);
}
