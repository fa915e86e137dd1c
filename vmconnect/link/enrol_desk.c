/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's side of enrol_loop.h. One thing is stored at a time, in order: two
 * wrong proofs at once must count as two. A visit is one stranger's link; it lives
 * until its link is over and the pool has let go of it. */
#include "vmconnect/link/enrol_loop.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/link_loop.h"

#include <openssl/crypto.h>
#include <string.h>

#define VISITS_MAX 16
#define WATCH_MS 1000

struct EnrolDesk {
    uv_loop_t *loop;
    Identity *identity;
    char *path;
    char *print_path;
    TokenState state;
    EnrolDeskEvents events;
    void *user;
    GQueue visits;
    GQueue to_store; /* of Visit *, the first is in the pool */
    uv_work_t work;
    gboolean working; /* the pool has work */
    uv_fs_poll_t watch;
    gboolean watch_closed;
    gboolean closing;

    /* For the pool, while it works. */
    TokenState store_state;
    Identity *store_identity;
    GError *store_error;
};

typedef struct {
    EnrolDesk *desk;
    LinkLoop *ll; /* NULL: over */
    EnrolEngine *engine;
    EnrolStep step; /* being stored */
    gboolean storing;
} Visit;

/* --- files ------------------------------------------------------------------ */

static gboolean print_token(const TokenState *state, const char *print_path, GError **error)
{
    g_autofree char *dir = g_path_get_dirname(print_path);
    g_autofree char *text = token_format(&state->token);
    g_autofree char *line = g_strconcat(text, "\n", NULL);

    return durable_mkdir(dir, 0700, error) && durable_replace(print_path, line, strlen(line), 0600, error);
}

static gboolean renew(const Identity *identity, const char *path, const char *print_path,
                      TokenState *ret_state, GError **error)
{
    Peer me = identity_peer(identity);
    TokenState state = token_state_new(me.fingerprint, clock_wall_ms());

    if (!token_state_save(&state, path, error) || !print_token(&state, print_path, error))
        return FALSE;
    *ret_state = state;
    return TRUE;
}

gboolean enrol_token_renew(const Identity *identity, const char *path, const char *print_path,
                           char **ret_text, GError **error)
{
    TokenState state;

    if (identity_is_owned(identity)) {
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "this engine has an owner; a token would be of no use until 'understudy-engine disown'");
        return FALSE;
    }
    if (!renew(identity, path, print_path, &state, error))
        return FALSE;
    *ret_text = token_format(&state.token);
    return TRUE;
}

/* Is this the state of a token for our key? */
static gboolean fits(const EnrolDesk *desk, const TokenState *state)
{
    Peer me = identity_peer(desk->identity);

    return memcmp(state->token.fingerprint, me.fingerprint, FINGERPRINT_LEN) == 0;
}

static gboolean load_or_renew(EnrolDesk *desk, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (token_state_load(desk->path, &desk->state, &why)) {
        if (fits(desk, &desk->state) && token_state_live(&desk->state, clock_wall_ms()))
            return print_token(&desk->state, desk->print_path, error);
    } else if (g_error_matches(why, US_ERROR, US_ERROR_REFUSED)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    return renew(desk->identity, desk->path, desk->print_path, &desk->state, error);
}

/* --- the end of a desk -------------------------------------------------------- */

static void maybe_free(EnrolDesk *desk)
{
    if (!desk->closing || desk->working || !desk->watch_closed || !g_queue_is_empty(&desk->visits))
        return;
    identity_unref(desk->identity);
    g_free(desk->path);
    g_free(desk->print_path);
    OPENSSL_cleanse(&desk->state, sizeof(desk->state));
    g_free(desk);
}

static void maybe_free_visit(Visit *visit)
{
    EnrolDesk *desk = visit->desk;

    if (visit->ll || visit->storing)
        return;
    g_queue_remove(&desk->visits, visit);
    enrol_engine_free(visit->engine);
    enrol_step_clear(&visit->step);
    g_free(visit);
    maybe_free(desk);
}

/* --- storing -------------------------------------------------------------------- */

static void store_next(EnrolDesk *desk);

static gboolean same_token(const TokenState *a, const TokenState *b)
{
    return CRYPTO_memcmp(&a->token, &b->token, sizeof(a->token)) == 0;
}

static void store_count(EnrolDesk *desk)
{
    TokenState there;

    /* A newer token may have been written just now; a count for the old one must not undo it. */
    if (token_state_load(desk->path, &there, NULL) && !same_token(&there, &desk->store_state))
        return;
    if (token_state_save(&desk->store_state, desk->path, &desk->store_error) &&
        desk->store_state.wrong >= TOKEN_WRONG_MAX)
        durable_remove(desk->print_path, &desk->store_error);
}

/* In the pool. */
static void store(uv_work_t *work)
{
    EnrolDesk *desk = work->data;
    Visit *visit = g_queue_peek_head(&desk->to_store);

    if (visit->step.store == ENROL_STORE_TOKEN) {
        store_count(desk);
        return;
    }
    desk->store_identity =
        identity_adopt(desk->identity, visit->step.certificate, visit->step.authority, &desk->store_error);
    /* The owner is durable: from here on the token's file is only litter, which an owned engine ignores. */
    if (desk->store_identity) {
        durable_remove(desk->path, NULL);
        durable_remove(desk->print_path, NULL);
    }
}

static void answer(Visit *visit)
{
    g_autoptr(GError) error = NULL;

    if (!visit->ll)
        return;
    if (!visit->step.fail &&
        !link_send_json(link_loop_link(visit->ll), visit->step.type, 0, visit->step.doc, &error))
        visit->step.fail = g_steal_pointer(&error);
    if (visit->step.fail)
        link_fail(link_loop_link(visit->ll), visit->step.fail);
    link_loop_kick(visit->ll);
}

/* The engine has an owner: everybody else has come too late. */
static void close_others(EnrolDesk *desk, Visit *winner)
{
    g_autoptr(GError) late = g_error_new(US_ERROR, US_ERROR_DENIED, "this engine has just got another owner");

    for (GList *l = desk->visits.head; l; l = l->next) {
        Visit *visit = l->data;

        if (visit == winner || !visit->ll)
            continue;
        link_fail(link_loop_link(visit->ll), late);
        link_loop_kick(visit->ll);
    }
}

static void stored_owner(EnrolDesk *desk, Visit *visit, Identity *owned, GError *failed)
{
    if (!owned) {
        desk->state.used = FALSE;
        visit->step.fail = failed;
        g_prefix_error(&visit->step.fail, "the engine cannot store its certificate: ");
        return;
    }
    identity_unref(desk->identity);
    desk->identity = identity_ref(owned);
    close_others(desk, visit);
    if (desk->events.on_owned && !desk->closing)
        desk->events.on_owned(desk->user, owned);
    else
        identity_unref(owned);
}

static void stored_token(EnrolDesk *desk, Visit *visit, GError *failed)
{
    /* In memory it is counted all the same. */
    g_clear_error(&failed);
    if (desk->events.on_wrong && !desk->closing && visit->ll)
        desk->events.on_wrong(desk->user, link_name(link_loop_link(visit->ll)),
                              TOKEN_WRONG_MAX - desk->state.wrong);
}

static void on_stored(uv_work_t *work, int status)
{
    EnrolDesk *desk = work->data;
    Visit *visit = g_queue_pop_head(&desk->to_store);
    Identity *owned = g_steal_pointer(&desk->store_identity);
    GError *failed = g_steal_pointer(&desk->store_error);

    (void)status;
    desk->working = FALSE;
    if (visit->step.store == ENROL_STORE_OWNER)
        stored_owner(desk, visit, owned, failed);
    else
        stored_token(desk, visit, failed);
    answer(visit);
    visit->storing = FALSE;
    store_next(desk);
    maybe_free_visit(visit);
}

static void store_next(EnrolDesk *desk)
{
    int rc;

    if (desk->working || g_queue_is_empty(&desk->to_store))
        return;
    desk->working = TRUE;
    desk->store_state = desk->state;
    desk->work.data = desk;
    rc = uv_queue_work(desk->loop, &desk->work, store, on_stored);
    g_assert(rc == 0);
}

/* --- visits ------------------------------------------------------------------------ */

static void on_frame(void *user, Frame *whole)
{
    Visit *visit = user;
    EnrolDesk *desk = visit->desk;
    g_autoptr(Frame) frame = whole;

    /* Nothing is due while something is stored. */
    if (visit->storing || link_state(link_loop_link(visit->ll)) == LINK_CLOSING)
        return;
    enrol_step_clear(&visit->step);
    enrol_engine_take(visit->engine, frame, clock_wall_ms(), &visit->step);
    if (visit->step.store == ENROL_STORE_NOTHING) {
        answer(visit);
        return;
    }
    visit->storing = TRUE;
    g_queue_push_tail(&desk->to_store, visit);
    store_next(desk);
}

static void on_closed(void *user, const GError *error)
{
    Visit *visit = user;

    (void)error;
    visit->ll = NULL;
    maybe_free_visit(visit);
}

void enrol_desk_take(EnrolDesk *desk, Link *link)
{
    static const LinkLoopEvents EVENTS = {.on_frame = on_frame, .on_closed = on_closed};
    EnrolBinding binding = {0};
    Peer me = identity_peer(desk->identity);
    Peer them = link_peer(link);
    Visit *visit;

    g_assert(link_state(link) == LINK_STRANGER);
    if (g_queue_get_length(&desk->visits) >= VISITS_MAX || identity_is_owned(desk->identity)) {
        link_free(link);
        return;
    }
    link_binding(link, LINK_BINDING_ENROL, binding.session);
    memcpy(binding.dialer, them.fingerprint, FINGERPRINT_LEN);
    memcpy(binding.listener, me.fingerprint, FINGERPRINT_LEN);
    visit = g_new0(Visit, 1);
    visit->desk = desk;
    visit->engine = enrol_engine_new(desk->identity, &desk->state, &binding);
    visit->ll = link_loop_new(desk->loop, link, &EVENTS, visit);
    g_queue_push_tail(&desk->visits, visit);
}

/* --- the desk ------------------------------------------------------------------------ */

/* `understudy-engine token` wrote a new one. */
static void on_token_file(uv_fs_poll_t *watch, int status, const uv_stat_t *before, const uv_stat_t *now)
{
    EnrolDesk *desk = watch->data;
    TokenState state;

    (void)before;
    (void)now;
    /* A file of 200 bytes that was written a moment ago: read without the pool. */
    if (status < 0 || identity_is_owned(desk->identity) || !token_state_load(desk->path, &state, NULL))
        return;
    if (fits(desk, &state) && !same_token(&state, &desk->state))
        desk->state = state;
}

EnrolDesk *enrol_desk_new(uv_loop_t *loop, Identity *identity, const char *path, const char *print_path,
                          const EnrolDeskEvents *events, void *user, GError **error)
{
    EnrolDesk *desk = g_new0(EnrolDesk, 1);
    int rc;

    g_assert(!identity_is_owned(identity));
    desk->loop = loop;
    desk->identity = identity_ref(identity);
    desk->path = g_strdup(path);
    desk->print_path = g_strdup(print_path);
    desk->events = *events;
    desk->user = user;
    g_queue_init(&desk->visits);
    g_queue_init(&desk->to_store);
    if (!load_or_renew(desk, error)) {
        desk->closing = desk->watch_closed = TRUE;
        maybe_free(desk);
        return NULL;
    }
    rc = uv_fs_poll_init(loop, &desk->watch);
    g_assert(rc == 0);
    desk->watch.data = desk;
    uv_fs_poll_start(&desk->watch, on_token_file, path, WATCH_MS);
    return desk;
}

gboolean enrol_desk_live(const EnrolDesk *desk)
{
    return !identity_is_owned(desk->identity) && token_state_live(&desk->state, clock_wall_ms());
}

static void on_watch_closed(uv_handle_t *watch)
{
    EnrolDesk *desk = watch->data;

    desk->watch_closed = TRUE;
    maybe_free(desk);
}

void enrol_desk_close(EnrolDesk *desk)
{
    GList *next;

    if (!desk || desk->closing)
        return;
    desk->closing = TRUE;
    uv_close((uv_handle_t *)&desk->watch, on_watch_closed);
    for (GList *l = desk->visits.head; l; l = next) {
        Visit *visit = l->data;

        next = l->next;
        link_loop_close(g_steal_pointer(&visit->ll));
        maybe_free_visit(visit);
    }
}
