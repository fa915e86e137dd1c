/* SPDX-License-Identifier: Apache-2.0 */
/* However many guests' agents hang, the others are asked: "hangs" is work that waits until the test lets it go. */
#include "turn.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/agents.h"
#include "vmconnect/hypervisor/event_uv.h"

#include <stdatomic.h>

#define TEST_URI "test:///default"
#define N_HANDS 4
#define N_HANGING 6
#define LONG_MS 10000
#define SHORT_MS 200

static uv_loop_t loop;
static uv_sem_t go;
static atomic_int n_begun, n_ended;

typedef struct {
    gboolean done;
    int code; /* 0: it was answered */
} Answer;

static gboolean nothing_left(void *user)
{
    (void)user;
    return event_uv_watches() == 0;
}

static gboolean hang(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    (void)conn;
    (void)request;
    (void)ret_result;
    atomic_fetch_add(&n_begun, 1);
    uv_sem_wait(&go);
    atomic_fetch_add(&n_ended, 1);
    g_set_error_literal(error, US_ERROR, US_ERROR_FAILED, "it does not answer");
    return FALSE;
}

static gboolean answer(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    (void)conn;
    (void)request;
    (void)ret_result;
    (void)error;
    return TRUE;
}

static void on_done(void *user, gpointer result, const GError *error)
{
    Answer *a = user;

    (void)result;
    g_assert_false(a->done);
    a->done = TRUE;
    a->code = error ? error->code : 0;
}

static void submit(Agents *agents, Id vm, gboolean (*work)(virConnectPtr, gpointer, gpointer *, GError **),
                   gint64 timeout_ms, Answer *a)
{
    HandsJob job = {.what = "asking", .timeout_ms = timeout_ms, .work = work};

    *a = (Answer){0};
    agents_submit(agents, vm, &job, on_done, a);
}

static int ask(Agents *agents, Id vm, gboolean (*work)(virConnectPtr, gpointer, gpointer *, GError **),
               gint64 timeout_ms)
{
    Answer a;

    submit(agents, vm, work, timeout_ms, &a);
    g_assert_true(turn_until(&loop, turn_is_set, &a.done, 2 * (gint64)LONG_MS));
    return a.code;
}

static void on_closed(void *user)
{
    *(gboolean *)user = TRUE;
}

static void close_agents(Agents *agents)
{
    gboolean closed = FALSE;

    agents_close(agents, on_closed, &closed);
    g_assert_true(turn_until(&loop, turn_is_set, &closed, 20000));
}

/* It keeps its thread until @go, longer than it was given. On a loaded machine that may be over before it has begun. */
static void ask_hanging(Agents *agents, Id vm)
{
    int before = atomic_load(&n_begun);

    do
        g_assert_cmpint(ask(agents, vm, hang, SHORT_MS), ==, US_ERROR_TIMEOUT);
    while (atomic_load(&n_begun) == before);
    uv_sem_post(&go);
    /* Or the next one would be let go in its place. */
    while (atomic_load(&n_ended) < atomic_load(&n_begun))
        g_thread_yield();
}

/* Each hangs once where everybody is asked, then only where its like are. */
static void test_many_hang(void)
{
    Agents *agents = agents_new(&loop, TEST_URI, N_HANDS);
    Answer hanging[N_HANGING];
    Id vms[N_HANGING];

    for (guint i = 0; i < N_HANGING; i++) {
        vms[i] = id_random();
        ask_hanging(agents, vms[i]);
    }
    atomic_store(&n_begun, 0);
    atomic_store(&n_ended, 0);
    for (guint i = 0; i < N_HANGING; i++)
        submit(agents, vms[i], hang, SHORT_MS, &hanging[i]);
    for (guint i = 0; i < 2 * N_HANDS; i++)
        g_assert_cmpint(ask(agents, id_random(), answer, LONG_MS), ==, 0);
    for (guint i = 0; i < N_HANGING; i++) {
        g_assert_true(turn_until(&loop, turn_is_set, &hanging[i].done, LONG_MS));
        g_assert_cmpint(hanging[i].code, ==, US_ERROR_TIMEOUT);
    }
    g_assert_cmpint(atomic_load(&n_begun), <=, N_HANDS / 2);
    for (guint i = 0; i < N_HANGING; i++)
        uv_sem_post(&go);
    close_agents(agents);
    while (uv_sem_trywait(&go) == 0)
        ;
}

/* One that answers again is asked where everybody is; so is one whose question was never put. */
static void test_back(void)
{
    Agents *agents = agents_new(&loop, TEST_URI, 2);
    Id silent = id_random();
    Id back = id_random();
    Id late = id_random();
    Answer holding;

    ask_hanging(agents, silent);
    ask_hanging(agents, back);
    g_assert_cmpint(ask(agents, back, answer, LONG_MS), ==, 0);

    /* On the hands of those that answer: what comes behind it is not put. */
    submit(agents, id_random(), hang, LONG_MS, &holding);
    g_assert_cmpint(ask(agents, late, answer, SHORT_MS), ==, US_ERROR_TIMEOUT);
    uv_sem_post(&go);
    g_assert_true(turn_until(&loop, turn_is_set, &holding.done, LONG_MS));

    /* On those of the silent: neither waits behind it. */
    submit(agents, silent, hang, LONG_MS, &holding);
    g_assert_cmpint(ask(agents, back, answer, LONG_MS), ==, 0);
    g_assert_cmpint(ask(agents, late, answer, LONG_MS), ==, 0);
    g_assert_false(holding.done);
    uv_sem_post(&go);
    g_assert_true(turn_until(&loop, turn_is_set, &holding.done, LONG_MS));
    close_agents(agents);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    uv_loop_init(&loop);
    uv_sem_init(&go, 0);
    event_uv_start(&loop);
    g_test_add_func("/agents/many-hang", test_many_hang);
    g_test_add_func("/agents/back", test_back);
    rc = g_test_run();
    g_assert_true(turn_until(&loop, nothing_left, NULL, 20000));
    event_uv_stop();
    uv_sem_destroy(&go);
    uv_loop_close(&loop);
    return rc;
}
