/* SPDX-License-Identifier: Apache-2.0 */
/* rpc - questions and answers on a link for control, or of a peer.
 *
 * The dialer asks (rpc_call), the listener answers in any order and, on one for control, sends news
 * unasked. At most RPC_OUTSTANDING questions are open; one more is answered
 * BUSY without being looked at. The link's heartbeat finds a dead peer: silent
 * for RPC_PING_MS it is asked, for RPC_DEAD_MS (RPC_PEER_DEAD_MS on a link of a peer, who asks every few seconds for what
 * does not wait) it is gone, and what it asked before is not done any more. Loop thread only. */
#pragma once

#include "vmconnect/link/link.h"

#include <glib.h>
#include <jansson.h>
#include <uv.h>

#define RPC_OUTSTANDING 64
#define RPC_PING_MS 2000
#define RPC_DEAD_MS 8000
#define RPC_PEER_DEAD_MS 6000

typedef struct Rpc Rpc;

/* An answer owed. Exactly one of the two functions ends it, now or later, also after
 * the link is gone (then nothing is sent). */
typedef struct RpcReply RpcReply;
void rpc_reply(RpcReply *reply, json_t *result);            /* takes @result, an object */
void rpc_reply_error(RpcReply *reply, const GError *error); /* @error stays the caller's */

/* Where the question came from, as socket.h writes it: "10.0.0.3:41234"; NULL: its link is over. The caller frees. */
char *rpc_asked_from(const RpcReply *reply);

typedef struct {
    const char *method;
    /* @params: an object, borrowed. */
    void (*on_call)(void *user, RpcReply *reply, const json_t *params);
} RpcMethod;

typedef struct {
    /* Listener: what can be asked; ends with a NULL method. Anything else is NOT_FOUND. */
    const RpcMethod *methods;
    /* Listener: may this be asked now? FALSE with @error is the answer. NULL: everything may. */
    gboolean (*admits)(void *user, const char *method, GError **error);
    /* Dialer: an object, borrowed. May be NULL. */
    void (*on_news)(void *user, const json_t *news);
    /* The link is over; open calls were answered with the same error just before. The Rpc is gone. */
    void (*on_closed)(void *user, const GError *error);
} RpcEvents;

/* Its link is over: on_closed() comes, or has come. */
gboolean rpc_is_over(const Rpc *rpc);

/* Takes @link, OPEN and for control or of a peer. */
Rpc *rpc_new(uv_loop_t *loop, Link *link, const RpcEvents *events, void *user);

typedef void (*RpcAnswerFunc)(void *user, const json_t *result, const GError *error);

/* Dialer: ask. @params is an object and stays the caller's (NULL: {}). @on_answer is
 * called once, never before this returns: result or error, both borrowed. TIMEOUT
 * means only that: the peer may still do it. */
void rpc_call(Rpc *rpc, const char *method, const json_t *params, gint64 timeout_ms, RpcAnswerFunc on_answer,
              void *user);

/* Listener, on a link for control: tell. @news is an object and stays the caller's. A peer that does not read loses
 * its link, so that news cannot pile up. */
void rpc_news(Rpc *rpc, const json_t *news);

/* Close: @why NULL says BYE, else FAIL. Open calls are answered CANCELLED before this
 * returns; on_closed is not called. NULL is accepted. */
void rpc_close(Rpc *rpc, const GError *why);
