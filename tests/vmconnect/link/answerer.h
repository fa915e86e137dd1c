/* SPDX-License-Identifier: Apache-2.0 */
/* answerer - an engine's port on 127.0.0.1 whose links answer questions. On the loop.
 *
 * `echo` is answered with its parameters, `later` when the test says so, `greet` with what the test has set. */
#pragma once

#include "vmconnect/link/listener.h"
#include "vmconnect/link/rpc.h"

#include <glib.h>
#include <uv.h>

typedef struct {
    uv_loop_t *loop;
    Listener *listener;
    char address[32]; /* stays the same when it is opened again */
    GPtrArray *links; /* that are up */
    guint came;
    guint refused;
    GString *asked; /* the methods, in their order */
    GQueue owed;    /* RpcReply *, in the order asked */
    guint owed_most;
    json_t *welcome; /* NULL: `greet` is answered FAILED */
} Answerer;

/* As @identity; an Answerer of zeroes gets any port. */
void answerer_open(Answerer *a, uv_loop_t *loop, Identity *identity);
/* Nobody listens any more; links stay. */
void answerer_shut(Answerer *a);
/* Links end. @why NULL: politely. */
void answerer_drop(Answerer *a, const GError *why);
/* What is owed is answered with {}. */
void answerer_pay(Answerer *a);
/* With all links. One that was never opened is accepted. */
void answerer_close(Answerer *a);

/* To all links. */
void answerer_tell(Answerer *a, const json_t *news);
