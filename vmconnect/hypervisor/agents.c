/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/agents.h"

struct Agents {
    guint n;
    guint open; /* hands that have not closed yet */
    void (*on_closed)(void *user);
    void *user;
    Hands *hands[];
};

Agents *agents_new(uv_loop_t *loop, const char *uri, guint n)
{
    Agents *a = g_malloc0(sizeof(Agents) + n * sizeof(Hands *));

    g_assert(n > 0);
    a->n = n;
    for (guint i = 0; i < n; i++)
        a->hands[i] = hands_new(loop, uri);
    return a;
}

static Hands *idlest(const Agents *a)
{
    Hands *best = a->hands[0];

    for (guint i = 1; i < a->n; i++)
        if (hands_load(a->hands[i]) < hands_load(best))
            best = a->hands[i];
    return best;
}

void agents_submit(Agents *a, const HandsJob *job, HandsDone on_done, void *user)
{
    hands_submit(idlest(a), job, on_done, user);
}

static void on_hand_closed(void *user)
{
    Agents *a = user;

    if (--a->open > 0)
        return;
    a->on_closed(a->user);
    g_free(a);
}

void agents_close(Agents *a, void (*on_closed)(void *user), void *user)
{
    a->on_closed = on_closed;
    a->user = user;
    a->open = a->n;
    for (guint i = 0; i < a->n; i++)
        hands_close(a->hands[i], on_hand_closed, a);
}
