/* SPDX-License-Identifier: Apache-2.0 */
/* errand - a program of somebody else's, run with bounds.
 *
 * It is started in a session of its own, with nothing of ours but what it is told; both of its outputs are read to their end, the first
 * bytes of them are kept. At its deadline the whole session is killed. Who has ended is not waited for because somebody whom he started holds his
 * output. Whether the program may be run is its caller's to know. */
#pragma once

#include <glib.h>
#include <uv.h>

#define ERRAND_KEPT_BYTES 2048

typedef struct {
    const char *path;
    const char *const *env; /* beside PATH and LC_ALL; NULL: nothing */
    const char *input;
    gint64 limit_ms;
    const GError *refusal; /* it is not started, but told as one that could not be; NULL: it is */
} ErrandOrder;

/* How it ended; borrowed. */
typedef struct {
    const char *path;
    const GError *failure; /* it could not be started */
    gboolean is_late;      /* it was killed at its deadline … */
    gint64 limit_ms;       /* … which was this */
    int signal;            /* that ended it otherwise; 0: none */
    gint64 status;
    const char *said; /* "" if it said nothing */
    gboolean is_cut;  /* it said more than that */
} ErrandEnd;

typedef struct Errand Errand;
typedef void (*ErrandDone)(void *user, const ErrandEnd *end);

/* @order is borrowed until this returns. @done once, never before that; the errand is gone then. */
Errand *errand_start(uv_loop_t *loop, const ErrandOrder *order, ErrandDone done, void *user);
/* It is killed, and nobody is told. */
void errand_cancel(Errand *e);

/* Did it end by itself with status 0? FALSE with @error: why it could not be started; TIMEOUT, FAILED, with what it @said. */
gboolean errand_check(const ErrandEnd *end, const char *said, GError **error);
