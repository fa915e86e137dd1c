/* SPDX-License-Identifier: Apache-2.0 */
/* peers - this engine's links to the engines of its standbys.
 *
 * One standing link (vmconnect/link/standing.h) for each engine that is wanted, made when it is wanted first and closed
 * when nobody wants it any more. What is asked is worth something now or not at all: while a link is down its calls are
 * answered UNREACHABLE, none waits for it. What is said on a link is not known here. Loop thread only. */
#pragma once

#include "vmconnect/link/rpc.h"

typedef struct Peers Peers;

/* @identity is referenced. NULL, as of an engine that has no owner: nobody is dialled. */
Peers *peers_new(uv_loop_t *loop, Identity *identity);

/* There is another owner, or none (NULL): all links are made anew, of what is open on them the answer is CANCELLED. */
void peers_set_identity(Peers *peers, Identity *identity);

/* @engine is dialled from now on at @addresses, a NULL-terminated list. Said again it is nothing, with other addresses the link
 * moves: at once, unless it is up. */
void peers_want(Peers *peers, Id engine, const char *const *addresses);

/* Who is not in @wanted, whose keys are Id *, is not wanted any more: what is open there is answered CANCELLED. */
void peers_keep_only(Peers *peers, GHashTable *wanted);

gboolean peers_is_up(const Peers *peers, Id engine);

/* Ask. @params stays the caller's (NULL: {}); @on_answer is called once, never before this returns, also if @engine is
 * not wanted or not reached (UNREACHABLE). @limit_ms counts from when it is sent: of a hundred calls at once some wait. */
void peers_call(Peers *peers, Id engine, const char *method, const json_t *params, gint64 limit_ms,
                RpcAnswerFunc on_answer, void *user);

/* Open calls are answered CANCELLED; who asks again from within such an answer is answered so, too, once. It frees itself
 * when the loop is through with it. NULL is accepted. */
void peers_close(Peers *peers);
