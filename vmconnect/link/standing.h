/* SPDX-License-Identifier: Apache-2.0 */
/* standing - a link on which one asks, dialled again whenever it is lost.
 *
 * It lives for as long as its owner wants the peer; the connection under it comes and goes. Whoever is not reached is
 * dialled again, after 1/4 s, 1/2 s, 1 s, 2 s. More calls than a peer takes at once (rpc.h) wait here; while the link is
 * down none waits. Loop thread only. */
#pragma once

#include "vmconnect/link/rpc.h"

typedef struct Standing Standing;

/* Any may be NULL, the first two only together; these only look. Inside the others everything is allowed, also the close. */
typedef struct {
    /* The first question of a connection, before whose answer nothing else is asked and the link is not up: its method, and
     * *@ret_params, which are taken. @hello is what was agreed. NULL: there is none. */
    const char *(*greet)(void *user, const Hello *hello, json_t **ret_params);
    /* Is it up with that answer? FALSE with @error: why not; then the connection ends, and it is dialled again in 2 s. */
    gboolean (*is_welcome)(void *user, const json_t *answer, GError **error);
    /* It was not: the connection has ended, standing_why() says it. */
    void (*on_unwelcome)(void *user);
    void (*on_up)(void *user);
    /* @why: what ended it. Calls that were open have been answered. */
    void (*on_down)(void *user, const GError *why);
    /* Unasked, while it is up; borrowed. */
    void (*on_news)(void *user, const json_t *news);
    /* After the close: it is gone, and nothing comes any more. */
    void (*on_gone)(void *user);
} StandingEvents;

/* Dials @engine at once. @identity is referenced, @addresses are copied. @purpose is one that rpc_new() takes. */
Standing *standing_new(uv_loop_t *loop, Identity *identity, Purpose purpose, Id engine,
                       const char *const *addresses, const StandingEvents *events, void *user);

gboolean standing_is_up(const Standing *standing);
/* Why it is not up; borrowed, NULL while it is, or before the first attempt has ended. */
const char *standing_why(const Standing *standing);

/* Ask. @params stays the caller's (NULL: {}); @on_answer is called once, never before this returns, also if the link is down
 * (UNREACHABLE) or closed (CANCELLED). @limit_ms counts from when it is sent. */
void standing_call(Standing *standing, const char *method, const json_t *params, gint64 limit_ms,
                   RpcAnswerFunc on_answer, void *user);

/* Dialled at @addresses from now on: at once, unless it is up. */
void standing_move(Standing *standing, const char *const *addresses);

/* No event comes any more but on_gone(), when the loop is through with it; until then it may be asked still. Calls that the peer has
 * are answered CANCELLED, and so are those that wait, with @why. NULL is accepted. */
void standing_close(Standing *standing, const char *why);
