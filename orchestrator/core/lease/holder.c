/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/lease/holder.h"

void holder_start(Holder *h, Reign reign, guint64 arm, gboolean enforces, LeaseQuorum quorum, guint32 process)
{
    *h = (Holder){.reign = reign,
                  .arm = arm,
                  .enforces = arm > 0 && (enforces || lease_is_armed(arm)),
                  .quorum = quorum,
                  .nonce = (guint64)process << 32};
}

/* What it may have granted it may take back at this word: none of it counts any more, nor what is on its way. */
static void give_up(HolderVoter *v)
{
    for (guint i = 0; i < HOLDER_ASKED; i++)
        v->nonces[i] = 0;
    v->answered = FALSE;
}

LeaseRenewal holder_ask(Holder *h, guint voter, gboolean stopped, const LeaseTimes *times, LeaseMoment now)
{
    HolderVoter *v = &h->voters[voter];
    gboolean fenced = stopped && !v->hears;

    g_assert(voter < h->quorum.voters);
    if (fenced)
        give_up(v);
    v->hears = FALSE;
    h->nonce++;
    v->nonces[v->next] = h->nonce;
    v->ends[v->next] = lease_moment_after(now, times->lease_ms);
    v->next = (v->next + 1) % HOLDER_ASKED;
    return (LeaseRenewal){
        .reign = h->reign, .arm = h->arm, .nonce = h->nonce, .grant_ms = times->grant_ms, .fenced = fenced};
}

/* NULL: it was asked by another process, or so long ago that it does not matter any more. */
static const LeaseMoment *end_of(const HolderVoter *v, guint64 nonce)
{
    for (guint i = 0; i < HOLDER_ASKED; i++)
        if (v->nonces[i] == nonce)
            return &v->ends[i];
    return NULL;
}

static guint confirmed(const Holder *h)
{
    guint n = 0;

    for (guint i = 0; i < h->quorum.voters; i++)
        n += h->voters[i].answered && h->voters[i].arm >= h->arm;
    return n;
}

/* Nobody else counts it: a higher one was told from here, and forgotten with the file that has it. */
static void remember(Holder *h, guint64 arm)
{
    if (arm <= h->arm)
        return;
    h->arm = arm;
    h->enforces |= lease_is_armed(arm);
}

void holder_hear(Holder *h, guint voter, const LeaseAnswer *answer)
{
    HolderVoter *v = &h->voters[voter];
    const LeaseMoment *end = end_of(v, answer->nonce);

    g_assert(voter < h->quorum.voters);
    if (!end || answer->incarnation < v->incarnation)
        return;
    v->incarnation = answer->incarnation;
    v->hears |= v->nonces[(v->next + HOLDER_ASKED - 1) % HOLDER_ASKED] == answer->nonce;
    if (answer->verdict == LEASE_HIGHER && answer->reign.number > h->higher.number)
        h->higher = answer->reign;
    h->rival |= answer->verdict == LEASE_CONFLICT;
    if (!reign_equal(answer->reign, h->reign))
        return;
    v->arm = MAX(v->arm, answer->arm);
    remember(h, answer->arm);
    if (answer->verdict != LEASE_GRANTED)
        return;
    v->until = v->answered ? lease_moment_later(v->until, *end) : *end;
    v->answered = TRUE;
    if (!lease_is_armed(h->arm) && confirmed(h) >= h->quorum.leases)
        h->enforces = FALSE;
}

gboolean holder_arm(Holder *h)
{
    if (lease_is_armed(h->arm))
        return FALSE;
    h->arm++;
    h->enforces = TRUE;
    return TRUE;
}

gboolean holder_disarm(Holder *h)
{
    if (!lease_is_armed(h->arm))
        return FALSE;
    h->arm++;
    return TRUE;
}

/* What is left until fewer than @many voters keep it. */
static gint64 left_of(const Holder *h, guint many, LeaseMoment now)
{
    gint64 left[LEASE_VOTERS_MAX];
    guint n = 0;

    for (guint i = 0; i < h->quorum.voters; i++) {
        gint64 one = h->voters[i].answered ? lease_left_ms(h->voters[i].until, now) : 0;
        guint at = n++;

        for (; at > 0 && left[at - 1] < one; at--)
            left[at] = left[at - 1];
        left[at] = one;
    }
    return left[many - 1];
}

gint64 holder_left_ms(const Holder *h, LeaseMoment now)
{
    return left_of(h, h->quorum.leases, now);
}

static gboolean is_over(const Holder *h)
{
    return h->higher.number > 0 || h->rival;
}

gboolean holder_may_start(const Holder *h, LeaseMoment now)
{
    return !is_over(h) && holder_left_ms(h, now) > LEASE_STOP_MS;
}

gboolean holder_may_arm(const Holder *h, LeaseMoment now)
{
    return !is_over(h) && left_of(h, MAX(h->quorum.leases, h->quorum.promises), now) > LEASE_STOP_MS;
}

gboolean holder_may_go_on(const Holder *h, LeaseMoment now)
{
    return !is_over(h) && (!h->enforces || holder_left_ms(h, now) > 0);
}
