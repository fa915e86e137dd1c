/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/rpc.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/link/link_loop.h"
#include "vmconnect/link/socket.h"

#include <string.h>

struct Rpc {
    uv_loop_t *loop;
    LinkLoop *ll; /* NULL: over */
    RpcEvents events;
    void *user;
    gint64 dead_ms;    /* so long a silent peer lives */
    guint refs;        /* ours, and one for each answer owed */
    GHashTable *calls; /* dialer: id -> Call, not answered */
    GHashTable *owed;  /* listener: ids not answered */
    guint64 last_id;
    uv_timer_t timer; /* the earliest deadline of the calls */
};

typedef struct {
    guint64 id;
    gint64 deadline_ms;
    RpcAnswerFunc on_answer;
    void *user;
    GError *failed; /* could not even be sent; said from the loop */
} Call;

struct RpcReply {
    Rpc *rpc; /* a reference */
    guint64 id;
};

static void rpc_unref(Rpc *rpc)
{
    if (--rpc->refs > 0)
        return;
    g_hash_table_unref(rpc->calls);
    g_hash_table_unref(rpc->owed);
    g_free(rpc);
}

static void call_free(void *data)
{
    Call *call = data;

    g_clear_error(&call->failed);
    g_free(call);
}

/* Out of the table first: the callee may do anything. */
static void answer_call(Rpc *rpc, Call *call, const json_t *result, const GError *error)
{
    g_hash_table_steal(rpc->calls, &call->id);
    call->on_answer(call->user, result, error);
    call_free(call);
}

/* Any that was asked no later than @last_id. */
static Call *first_call(Rpc *rpc, guint64 last_id)
{
    GHashTableIter iter;
    void *call;

    g_hash_table_iter_init(&iter, rpc->calls);
    while (g_hash_table_iter_next(&iter, NULL, &call))
        if (((Call *)call)->id <= last_id)
            return call;
    return NULL;
}

/* The one that is due first; NULL if there is none. */
static Call *next_due(Rpc *rpc)
{
    GHashTableIter iter;
    Call *due = NULL;
    void *value;

    g_hash_table_iter_init(&iter, rpc->calls);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Call *call = value;

        if (!due || call->deadline_ms < due->deadline_ms)
            due = call;
    }
    return due;
}

static void on_timer(uv_timer_t *timer);

static void arm(Rpc *rpc)
{
    Call *due = rpc->ll ? next_due(rpc) : NULL;

    if (due)
        uv_timer_start(&rpc->timer, on_timer, (guint64)clock_left_ms(due->deadline_ms), 0);
    else if (rpc->ll)
        uv_timer_stop(&rpc->timer);
}

static void on_timer(uv_timer_t *timer)
{
    Rpc *rpc = timer->data;
    gint64 now = clock_steady_ms();
    Call *call;

    while (rpc->ll && (call = next_due(rpc)) && call->deadline_ms <= now) {
        g_autoptr(GError) error = g_steal_pointer(&call->failed);

        if (!error)
            error = g_error_new(US_ERROR, US_ERROR_TIMEOUT,
                                "%s does not answer in time; it may still do what was asked",
                                link_name(link_loop_link(rpc->ll)));
        answer_call(rpc, call, NULL, error);
    }
    arm(rpc);
}

static void answer_all(Rpc *rpc, guint64 last_id, const GError *why)
{
    Call *call;

    while ((call = first_call(rpc, last_id))) {
        g_autoptr(GError) failed = g_steal_pointer(&call->failed);

        answer_call(rpc, call, NULL, failed ? failed : why);
    }
}

static void on_timer_closed(uv_handle_t *timer)
{
    Rpc *rpc = timer->data;

    answer_all(rpc, rpc->last_id, NULL);
    rpc_unref(rpc);
}

/* The link is gone already. Who asks again from within an answer is answered later, by
 * on_timer_closed(): else two retries would never let us out of here. */
static void end(Rpc *rpc, const GError *why)
{
    rpc->ll = NULL;
    uv_close((uv_handle_t *)&rpc->timer, on_timer_closed);
    answer_all(rpc, rpc->last_id, why);
}

static void on_closed(void *user, const GError *error)
{
    Rpc *rpc = user;
    RpcEvents events = rpc->events;
    void *whose = rpc->user;

    end(rpc, error);
    if (events.on_closed)
        events.on_closed(whose, error);
}

/* The peer broke the rules on this level. */
static void refuse_peer(Rpc *rpc, const GError *error)
{
    link_fail(link_loop_link(rpc->ll), error);
    link_loop_kick(rpc->ll);
}

/* --- the dialer's side --------------------------------------------------- */

static void take_answer(Rpc *rpc, guint64 id, const json_t *doc)
{
    Call *call = g_hash_table_lookup(rpc->calls, &id);
    g_autoptr(GError) error = NULL;
    json_t *result = json_object_get(doc, "result");
    json_t *failure = json_object_get(doc, "error");

    /* Answered already, by its time-out. */
    if (!call)
        return;
    if (json_object_size(doc) != 1 || !(json_is_object(result) || failure))
        error = g_error_new(US_ERROR, US_ERROR_PROTOCOL, "the answer is neither a result nor an error");
    else if (failure)
        error = json_to_error(failure);
    answer_call(rpc, call, error ? NULL : result, error);
    arm(rpc);
}

void rpc_call(Rpc *rpc, const char *method, const json_t *params, gint64 timeout_ms, RpcAnswerFunc on_answer,
              void *user)
{
    json_auto_t *doc = json_pack("{s:s, s:o}", "method", method, "params",
                                 params ? json_incref((json_t *)params) : json_object());
    Call *call = g_new0(Call, 1);

    call->id = ++rpc->last_id;
    call->deadline_ms = clock_steady_ms() + timeout_ms;
    call->on_answer = on_answer;
    call->user = user;
    if (!rpc->ll)
        g_set_error(&call->failed, US_ERROR, US_ERROR_UNREACHABLE, "the link is closed");
    else if (g_hash_table_size(rpc->calls) >= RPC_OUTSTANDING)
        g_set_error(&call->failed, US_ERROR, US_ERROR_BUSY, "%d questions to %s are open already",
                    RPC_OUTSTANDING, link_name(link_loop_link(rpc->ll)));
    else if (link_send_json(link_loop_link(rpc->ll), MESSAGE_REQUEST, call->id, doc, &call->failed))
        link_loop_kick(rpc->ll);
    if (call->failed)
        call->deadline_ms = clock_steady_ms();
    g_hash_table_insert(rpc->calls, &call->id, call);
    arm(rpc);
}

/* --- the listener's side -------------------------------------------------- */

static void send_answer(Rpc *rpc, guint64 id, const char *key, json_t *value)
{
    json_auto_t *doc = json_pack("{s:o}", key, value);
    g_autoptr(GError) error = NULL;

    if (!rpc->ll || link_state(link_loop_link(rpc->ll)) == LINK_CLOSED)
        return;
    if (!link_send_json(link_loop_link(rpc->ll), MESSAGE_ANSWER, id, doc, &error)) {
        /* Too long: say that; it cannot be too long again. */
        if (g_error_matches(error, US_ERROR, US_ERROR_REFUSED))
            send_answer(rpc, id, "error", json_from_error(error));
        else
            refuse_peer(rpc, error);
        return;
    }
    link_loop_kick(rpc->ll);
}

/* Consumes @reply and @value. */
char *rpc_asked_from(const RpcReply *reply_owed)
{
    LinkLoop *ll = reply_owed->rpc->ll;

    return ll ? socket_peer_text(link_fd(link_loop_link(ll))) : NULL;
}

static void reply(RpcReply *reply_owed, const char *key, json_t *value)
{
    Rpc *rpc = reply_owed->rpc;

    g_hash_table_remove(rpc->owed, &reply_owed->id);
    send_answer(rpc, reply_owed->id, key, value);
    g_free(reply_owed);
    rpc_unref(rpc);
}

void rpc_reply(RpcReply *reply_owed, json_t *result)
{
    g_assert(json_is_object(result));
    reply(reply_owed, "result", result);
}

void rpc_reply_error(RpcReply *reply_owed, const GError *error)
{
    reply(reply_owed, "error", json_from_error(error));
}

static void refuse(Rpc *rpc, guint64 id, UsError code, const char *text)
{
    g_autoptr(GError) error = g_error_new_literal(US_ERROR, code, text);

    send_answer(rpc, id, "error", json_from_error(error));
}

static void serve(Rpc *rpc, guint64 id, const char *method, const json_t *params)
{
    const RpcMethod *m = rpc->events.methods;
    g_autoptr(GError) why = NULL;
    RpcReply *owed;

    while (m && m->method && strcmp(m->method, method) != 0)
        m++;
    if (!m || !m->method) {
        g_autofree char *text = g_strdup_printf("this engine knows no method '%.64s'", method);

        refuse(rpc, id, US_ERROR_NOT_FOUND, text);
        return;
    }
    if (rpc->events.admits && !rpc->events.admits(rpc->user, method, &why)) {
        send_answer(rpc, id, "error", json_from_error(why));
        return;
    }
    owed = g_new0(RpcReply, 1);
    owed->rpc = rpc;
    owed->id = id;
    rpc->refs++;
    g_hash_table_add(rpc->owed, g_memdup2(&id, sizeof(id)));
    m->on_call(rpc->user, owed, params);
}

/* Who asked is gone, or has heard nothing of us for so long that he has given us up, as after a program stood still. What he asked
 * for may not be wanted any more: he asks again. */
static gboolean is_given_up(const Rpc *rpc)
{
    return link_state(link_loop_link(rpc->ll)) == LINK_CLOSED || link_loop_stood_ms(rpc->ll) >= rpc->dead_ms;
}

static void take_request(Rpc *rpc, guint64 id, const json_t *doc)
{
    g_autoptr(GError) error = NULL;
    const char *method;
    json_t *params;

    if (!json_read(doc, "REQUEST", &error, "{s:s, s:o}", "method", &method, "params", &params)) {
        refuse(rpc, id, US_ERROR_USAGE, error->message);
        return;
    }
    if (g_hash_table_contains(rpc->owed, &id)) {
        error = g_error_new(US_ERROR, US_ERROR_PROTOCOL,
                            "two open questions have the number %" G_GUINT64_FORMAT, id);
        refuse_peer(rpc, error);
    } else if (g_hash_table_size(rpc->owed) >= RPC_OUTSTANDING) {
        refuse(rpc, id, US_ERROR_BUSY, "too many questions are open; ask again later");
    } else if (!json_is_object(params)) {
        refuse(rpc, id, US_ERROR_USAGE, "params is not an object");
    } else {
        serve(rpc, id, method, params);
    }
}

void rpc_news(Rpc *rpc, const json_t *news)
{
    g_autoptr(GError) error = NULL;

    g_assert(rpc->ll);
    if (link_send_json(link_loop_link(rpc->ll), MESSAGE_NEWS, 0, news, &error))
        link_loop_kick(rpc->ll);
    else if (link_state(link_loop_link(rpc->ll)) == LINK_OPEN)
        refuse_peer(rpc, error);
}

/* --- both ------------------------------------------------------------------ */

static void on_frame(void *user, Frame *whole)
{
    Rpc *rpc = user;
    g_autoptr(Frame) frame = whole;
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = NULL;

    /* What still came after we refused the peer. */
    if (link_state(link_loop_link(rpc->ll)) == LINK_CLOSING)
        return;
    doc = message_decode_json(frame, &error);
    if (!doc)
        refuse_peer(rpc, error);
    else if (frame->head.type == MESSAGE_REQUEST && is_given_up(rpc))
        refuse(rpc, frame->head.id, US_ERROR_TIMEOUT, "it was not looked at in time: ask again");
    else if (frame->head.type == MESSAGE_REQUEST)
        take_request(rpc, frame->head.id, doc);
    else if (frame->head.type == MESSAGE_ANSWER)
        take_answer(rpc, frame->head.id, doc);
    else if (rpc->events.on_news)
        rpc->events.on_news(rpc->user, doc);
}

gboolean rpc_is_over(const Rpc *rpc)
{
    return !rpc->ll;
}

Rpc *rpc_new(uv_loop_t *loop, Link *link, const RpcEvents *events, void *user)
{
    static const LinkLoopEvents EVENTS = {.on_frame = on_frame, .on_closed = on_closed};
    Rpc *rpc = g_new0(Rpc, 1);
    int rc = uv_timer_init(loop, &rpc->timer);

    g_assert(rc == 0 && (link_purpose(link) & MESSAGE_PURPOSE_ASK));
    rpc->timer.data = rpc;
    rpc->loop = loop;
    rpc->refs = 1;
    rpc->events = *events;
    rpc->user = user;
    rpc->calls = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, call_free);
    rpc->owed = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    rpc->dead_ms = link_purpose(link) == PURPOSE_PEER ? RPC_PEER_DEAD_MS : RPC_DEAD_MS;
    link_set_heartbeat(link, RPC_PING_MS, rpc->dead_ms);
    rpc->ll = link_loop_new(loop, link, &EVENTS, rpc);
    return rpc;
}

void rpc_close(Rpc *rpc, const GError *why)
{
    g_autoptr(GError) closed = NULL;

    if (!rpc || !rpc->ll)
        return;
    link_loop_leave(rpc->ll, why);
    closed = why ? g_error_copy(why) : g_error_new(US_ERROR, US_ERROR_CANCELLED, "the link was closed here");
    end(rpc, closed);
}
