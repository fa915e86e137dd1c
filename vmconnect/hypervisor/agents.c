/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/agents.h"

#include "vmconnect/base/clock.h"

#include <stdatomic.h>

#define SLOW_MS 1000

struct Agents {
    GHashTable *slow; /* set of Id *: who kept a thread longer than SLOW_MS the last time */
    guint n;
    guint open; /* hands that have not closed yet */
    void (*on_closed)(void *user);
    void *user;
    Hands *hands[];
};

/* Its asker and its hands each have one reference: the answer may come before the work ends. */
typedef struct {
    Agents *agents; /* the asker's, as all before the job */
    Id vm;
    HandsDone on_done;
    void *user;
    HandsJob job;
    atomic_bool begun; /* its time was not over while others were asked … */
    atomic_bool quick; /* … and it has ended, soon */
} Question;

Agents *agents_new(uv_loop_t *loop, const char *uri, guint n)
{
    Agents *a = g_malloc0(sizeof(Agents) + n * sizeof(Hands *));

    g_assert(n >= 2);
    a->slow = g_hash_table_new_full(id_hash, id_equal_func, g_free, NULL);
    a->n = n;
    for (guint i = 0; i < n; i++)
        a->hands[i] = hands_new(loop, uri);
    return a;
}

static Hands *idlest(const Agents *a, gboolean slow)
{
    guint end = slow ? a->n / 2 : a->n;
    Hands *best = NULL;

    for (guint i = slow ? 0 : a->n / 2; i < end; i++)
        if (!best || hands_load(a->hands[i]) < hands_load(best))
            best = a->hands[i];
    return best;
}

static void question_clear(gpointer data)
{
    Question *q = data;

    if (q->job.free_request)
        q->job.free_request(q->job.request);
}

static void question_unref(gpointer question)
{
    g_atomic_rc_box_release_full(question, question_clear);
}

/* On the hands' thread. */
static gboolean put(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    Question *q = request;
    gint64 begun_ms = clock_steady_ms();
    gboolean ok;

    atomic_store(&q->begun, TRUE);
    ok = q->job.work(conn, q->job.request, ret_result, error);
    atomic_store(&q->quick, clock_steady_ms() - begun_ms <= SLOW_MS);
    return ok;
}

/* What was never begun says nothing of its agent. */
static void on_answer(void *user, gpointer result, const GError *error)
{
    Question *q = user;

    if (atomic_load(&q->quick))
        g_hash_table_remove(q->agents->slow, &q->vm);
    else if (atomic_load(&q->begun))
        g_hash_table_add(q->agents->slow, g_memdup2(&q->vm, sizeof(q->vm)));
    q->on_done(q->user, result, error);
    question_unref(q);
}

void agents_submit(Agents *a, Id vm, const HandsJob *job, HandsDone on_done, void *user)
{
    Question *q = g_atomic_rc_box_new0(Question);
    HandsJob outer = *job;

    q->agents = a;
    q->vm = vm;
    q->on_done = on_done;
    q->user = user;
    q->job = *job;
    outer.work = put;
    outer.request = g_atomic_rc_box_acquire(q);
    outer.free_request = question_unref;
    hands_submit(idlest(a, g_hash_table_contains(a->slow, &vm)), &outer, on_answer, q);
}

static void on_hand_closed(void *user)
{
    Agents *a = user;

    if (--a->open > 0)
        return;
    g_hash_table_unref(a->slow);
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
