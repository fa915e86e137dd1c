/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/guard/ladder.h"

#include <string.h>

#define STILL_MS 5   /* between two looks at one that was sent SIGSTOP */
#define FENCED_MS 50 /* between two looks at one that may have been resumed */

typedef enum { RUNG_RUN, RUNG_ASK, RUNG_STOP, RUNG_KILL } Rung;

static const struct {
    LadderState from;
    LadderState to;
    LadderAct act;
    const char *why;
} EDGES[] = {
#define X(from, to, act, why) {LADDER_##from, LADDER_##to, LADDER_##act, why},
    LADDER_EDGES(X)
#undef X
};

static const struct {
    const char *name;
    Fenced fenced;
    const char *text;
} STATES[LADDER_STATE_COUNT] = {
#define X(state, how, text) {#state, how, text},
    LADDER_STATES(X)
#undef X
};

static Rung rung(const Ladder *l, LeaseMoment now)
{
    gint64 left_ms = l->is_enforced ? lease_left_ms(l->until, now) : G_MAXINT64;

    return left_ms > LADDER_ASK_MS    ? RUNG_RUN
           : left_ms > LADDER_STOP_MS ? RUNG_ASK
           : left_ms > LADDER_KILL_MS ? RUNG_STOP
                                      : RUNG_KILL;
}

static LadderState next(const Ladder *l, const LadderSight *sight)
{
    Rung at = rung(l, sight->now);

    if (at == RUNG_RUN)
        return l->state == LADDER_KILLED ? LADDER_KILLED : LADDER_RUNS;
    switch (l->state) {
    case LADDER_RUNS:
        return LADDER_ASKED;
    case LADDER_ASKED:
        return sight->said_stopped ? LADDER_PAUSED : at >= RUNG_STOP ? LADDER_HALTED : LADDER_ASKED;
    case LADDER_HALTED:
        if (sight->is_still)
            return LADDER_STOPPED;
        return at == RUNG_KILL && sight->now.boot_ms - l->halted_ms >= LADDER_GRACE_MS ? LADDER_KILLED
                                                                                       : LADDER_HALTED;
    case LADDER_PAUSED:
        return sight->said_stopped && !sight->is_busy ? LADDER_PAUSED : LADDER_HALTED;
    case LADDER_STOPPED:
        if (!sight->is_still)
            return LADDER_HALTED;
        return l->is_to_lend && lease_left_ms(l->until, sight->now) <= 0 ? LADDER_LENT : LADDER_STOPPED;
    case LADDER_LENT:
        if (sight->said_stopped)
            return LADDER_PAUSED;
        return sight->now.boot_ms - l->lent_ms >= LADDER_LENT_MS ? LADDER_HALTED : LADDER_LENT;
    default:
        return l->state;
    }
}

LadderAct ladder_step(Ladder *l, const LadderSight *sight, const char **ret_why)
{
    LadderState to = next(l, sight);

    if (to == l->state)
        return LADDER_NOTHING;
    for (guint i = 0; i < G_N_ELEMENTS(EDGES); i++)
        if (EDGES[i].from == l->state && EDGES[i].to == to) {
            l->state = to;
            if (EDGES[i].act == LADDER_STOP)
                l->halted_ms = sight->now.boot_ms;
            if (EDGES[i].act == LADDER_LEND) {
                l->lent_ms = sight->now.boot_ms;
                l->is_to_lend = FALSE;
            }
            *ret_why = EDGES[i].why;
            return EDGES[i].act;
        }
    g_assert_not_reached();
}

char *ladder_reason(const Ladder *l, LeaseMoment now, LadderAct act, const char *why)
{
    gboolean stops = act == LADDER_ASK || act == LADDER_STOP || act == LADDER_KILL;
    gint64 left_ms = l->is_enforced ? lease_left_ms(l->until, now) : 0;

    if (!stops || !l->is_enforced)
        return g_strdup(why);
    if (l->until.boot_ms == 0)
        return g_strdup_printf("it has no lease: %s", why);
    return left_ms > 0 ? g_strdup_printf("its lease ends in %.1f s: %s", (double)left_ms / 1000, why)
                       : g_strdup_printf("its lease ended %.1f s ago: %s", (double)-left_ms / 1000, why);
}

gint64 ladder_wait_ms(const Ladder *l, LeaseMoment now)
{
    gint64 left_ms = l->is_enforced ? lease_left_ms(l->until, now) : G_MAXINT64;

    switch (l->state) {
    case LADDER_RUNS:
        return l->is_enforced ? MAX(left_ms - LADDER_ASK_MS, 0) : -1;
    case LADDER_ASKED:
        return MAX(left_ms - LADDER_STOP_MS, 0);
    case LADDER_HALTED:
        return STILL_MS;
    case LADDER_PAUSED:
    case LADDER_STOPPED:
    case LADDER_LENT:
        return FENCED_MS;
    default:
        return -1; /* its end is a descriptor's */
    }
}

gint64 ladder_open_ms(const Ladder *l, LeaseMoment now)
{
    g_assert(l->is_enforced);
    return MAX(lease_left_ms(l->until, now) - LADDER_SHUT_MS, 0);
}

const char *ladder_state_text(LadderState state)
{
    return STATES[state].text;
}

const char *ladder_state_name(LadderState state)
{
    return STATES[state].name;
}

gboolean ladder_state_parse(const char *name, LadderState *ret_state)
{
    for (guint i = 0; i < LADDER_STATE_COUNT; i++)
        if (strcmp(STATES[i].name, name) == 0) {
            *ret_state = (LadderState)i;
            return TRUE;
        }
    return FALSE;
}

Fenced ladder_fenced(LadderState state)
{
    return STATES[state].fenced;
}
