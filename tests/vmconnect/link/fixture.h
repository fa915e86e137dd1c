/* SPDX-License-Identifier: Apache-2.0 */
/* fixture - two authorities, their programs, and links between them without a loop. */
#pragma once

#include "vmconnect/link/issuer.h"
#include "vmconnect/link/link.h"

#include <glib.h>
#include <uv.h>

#define A_YEAR (365 * 24 * (gint64)3600)

/* A folder of its own, removed by scratch_remove(). */
char *scratch_new(void);
void scratch_remove(char *dir);

/* An identity without owner in a fresh folder under @dir. */
Identity *stranger(const char *dir, Role role);

/* The same with a certificate of @issuer that ends in @seconds; negative: it has ended. */
Identity *owned(const char *dir, Role role, const Issuer *issuer, gint64 seconds);

/* The two ends of one connection on loopback. */
void connect_tcp(int *ret_dialer, int *ret_listener);

typedef struct {
    Link *dialer;
    Link *listener;
    GError *dialer_error; /* set when that end is over */
    GError *listener_error;
} Pair;

Pair pair_new(const LinkSettings *dialer, const LinkSettings *listener);
void pair_clear(Pair *pair);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pair, pair_clear)

/* Poll and pump both until @until says so; the test fails after 10 s. */
typedef gboolean (*PairUntil)(const Pair *pair);
void pair_run(Pair *pair, PairUntil until);

gboolean both_up(const Pair *pair);
gboolean both_over(const Pair *pair);

/* An open link between an engine and a controller (or engine) of one authority. */
typedef struct {
    char *dir;
    Issuer *issuer;
    Identity *controller;
    Identity *active;
    Identity *standby;
} House;

void house_init(House *house);
void house_clear(House *house);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(House, house_clear)
Pair house_pair(const House *house, Purpose purpose);

/* Turn @loop until *@until; the test fails after 20 s. */
void loop_until(uv_loop_t *loop, const gboolean *until);

/* Turns a loop every few milliseconds, and fails a test that turns it in vain. */
typedef struct {
    uv_timer_t tick;
    gint64 deadline_ms;
} LoopLimit;

void loop_limit_begin(LoopLimit *p, uv_loop_t *loop, gint64 limit_ms);
void loop_limit_end(LoopLimit *p);

/* Turn @loop until nothing is left on it, and close it. */
void loop_end(uv_loop_t *loop);
