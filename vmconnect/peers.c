/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/peers.h"

#include "vmconnect/base/error.h"
#include "vmconnect/link/standing.h"

typedef struct {
    Id engine;
    char **addresses;
    Standing *standing; /* NULL: without an owner nobody is dialled */
} PeerLink;

/* A call that no link has. */
typedef struct {
    GError *error;
    RpcAnswerFunc on_answer;
    void *user;
} Lost;

struct Peers {
    uv_loop_t *loop;
    Identity *identity; /* NULL: none */
    GHashTable *links;  /* Id * (the link's own) -> PeerLink * */
    uv_timer_t soon;    /* answers who is lost */
    GQueue *lost;       /* Lost * */
    gboolean closed;
};

/* --- who there is ------------------------------------------------------ */

static void stand(const Peers *peers, PeerLink *link)
{
    static const StandingEvents NONE = {0};

    if (peers->identity)
        link->standing = standing_new(peers->loop, peers->identity, PURPOSE_PEER, link->engine,
                                      (const char *const *)link->addresses, &NONE, NULL);
}

/* Whoever is answered by this may call anything of ours: what is let go is in no table any more. */
static void let_go(gpointer standing)
{
    standing_close(standing, "this engine does not ask that one any more");
}

static GPtrArray *leaving_new(void)
{
    return g_ptr_array_new_with_free_func(let_go);
}

/* Without its standing, which is to be let go later. */
static void forget(gpointer data)
{
    PeerLink *link = data;

    g_strfreev(link->addresses);
    g_free(link);
}

Peers *peers_new(uv_loop_t *loop, Identity *identity)
{
    Peers *peers = g_new0(Peers, 1);

    peers->loop = loop;
    peers->identity = identity ? identity_ref(identity) : NULL;
    peers->links = g_hash_table_new_full(id_hash, id_equal_func, NULL, forget);
    peers->lost = g_queue_new();
    uv_timer_init(loop, &peers->soon);
    peers->soon.data = peers;
    return peers;
}

void peers_set_identity(Peers *peers, Identity *identity)
{
    g_autoptr(GPtrArray) leaving = leaving_new();
    GHashTableIter iter;
    gpointer value;

    g_clear_pointer(&peers->identity, identity_unref);
    peers->identity = identity ? identity_ref(identity) : NULL;
    g_hash_table_iter_init(&iter, peers->links);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        PeerLink *link = value;

        g_ptr_array_add(leaving, g_steal_pointer(&link->standing));
        stand(peers, link);
    }
}

static void move(PeerLink *link, const char *const *addresses)
{
    if (g_strv_equal((const char *const *)link->addresses, addresses))
        return;
    g_strfreev(link->addresses);
    link->addresses = g_strdupv((char **)addresses);
    if (link->standing)
        standing_move(link->standing, addresses);
}

void peers_want(Peers *peers, Id engine, const char *const *addresses)
{
    PeerLink *link = g_hash_table_lookup(peers->links, &engine);

    if (peers->closed)
        return;
    if (link) {
        move(link, addresses);
        return;
    }
    link = g_new0(PeerLink, 1);
    link->engine = engine;
    link->addresses = g_strdupv((char **)addresses);
    stand(peers, link);
    g_hash_table_insert(peers->links, &link->engine, link);
}

void peers_keep_only(Peers *peers, GHashTable *wanted)
{
    g_autoptr(GPtrArray) leaving = leaving_new();
    GHashTableIter iter;
    gpointer engine, value;

    g_hash_table_iter_init(&iter, peers->links);
    while (g_hash_table_iter_next(&iter, &engine, &value))
        if (!g_hash_table_contains(wanted, engine)) {
            g_ptr_array_add(leaving, g_steal_pointer(&((PeerLink *)value)->standing));
            g_hash_table_iter_remove(&iter);
        }
}

gboolean peers_is_up(const Peers *peers, Id engine)
{
    const PeerLink *link = g_hash_table_lookup(peers->links, &engine);

    return link && link->standing && standing_is_up(link->standing);
}

/* --- calls ------------------------------------------------------------- */

static void answer_lost(Peers *peers)
{
    /* Only those of now: who asks again from within an answer is answered later. */
    for (guint n = peers->lost->length; n > 0; n--) {
        Lost *lost = g_queue_pop_head(peers->lost);

        lost->on_answer(lost->user, NULL, lost->error);
        g_error_free(lost->error);
        g_free(lost);
    }
}

static void on_soon(uv_timer_t *timer)
{
    answer_lost(timer->data);
}

static GError *why_lost(const Peers *peers)
{
    if (peers->closed)
        return g_error_new_literal(US_ERROR, US_ERROR_CANCELLED, "this engine ends");
    return g_error_new(US_ERROR, US_ERROR_UNREACHABLE, "its engine is not reached: %s",
                       peers->identity ? "this one does not ask it" : "this one has no owner");
}

static void lose(Peers *peers, RpcAnswerFunc on_answer, void *user)
{
    Lost *lost = g_new0(Lost, 1);

    *lost = (Lost){why_lost(peers), on_answer, user};
    g_queue_push_tail(peers->lost, lost);
    if (!peers->closed)
        uv_timer_start(&peers->soon, on_soon, 0, 0);
}

void peers_call(Peers *peers, Id engine, const char *method, const json_t *params, gint64 limit_ms,
                RpcAnswerFunc on_answer, void *user)
{
    PeerLink *link = g_hash_table_lookup(peers->links, &engine);

    if (link && link->standing)
        standing_call(link->standing, method, params, limit_ms, on_answer, user);
    else
        lose(peers, on_answer, user);
}

/* --- the end ----------------------------------------------------------- */

static void on_soon_closed(uv_handle_t *timer)
{
    Peers *peers = timer->data;

    answer_lost(peers);
    g_assert(g_queue_is_empty(peers->lost));
    g_queue_free(peers->lost);
    g_hash_table_unref(peers->links);
    g_clear_pointer(&peers->identity, identity_unref);
    g_free(peers);
}

void peers_close(Peers *peers)
{
    g_autoptr(GHashTable) nobody = NULL;

    if (!peers)
        return;
    nobody = g_hash_table_new(id_hash, id_equal_func);
    peers->closed = TRUE;
    uv_close((uv_handle_t *)&peers->soon, on_soon_closed);
    peers_keep_only(peers, nobody);
}
