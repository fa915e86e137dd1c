/* SPDX-License-Identifier: Apache-2.0 */
/* Which rescues are sent out, and what it means when they come back. */
#include "vmconnect/hypervisor/rescuer.h"

#include "turn.h"
#include "vmconnect/hypervisor/rescue.h"

static const Id VM = {{1}};

/* A rescue that comes back when the test says so. */
typedef struct {
    uv_mutex_t lock;
    guint sent;
    RescueFlags flags;
    void (*on_done)(void *user, RescueOutcome *outcome);
    void *user;
} Fake;

static Fake fake;

void rescue_start(const char *uri, const char *run_folder, JobGate *gate, Id vm, RescueFlags flags,
                  void (*on_done)(void *user, RescueOutcome *outcome), void *user)
{
    (void)uri;
    (void)run_folder;
    (void)gate;
    g_assert_true(id_equal(vm, VM));
    uv_mutex_lock(&fake.lock);
    fake.sent++;
    fake.flags = flags;
    fake.on_done = on_done;
    fake.user = user;
    uv_mutex_unlock(&fake.lock);
}

void rescue_outcome_free(RescueOutcome *o)
{
    g_free(o);
}

static gboolean has_sent(void *n)
{
    gboolean has;

    uv_mutex_lock(&fake.lock);
    has = fake.sent >= *(guint *)n;
    uv_mutex_unlock(&fake.lock);
    return has;
}

static void wait_for(uv_loop_t *loop, guint n)
{
    g_assert_true(turn_until(loop, has_sent, &n, 10000));
}

static void come_back(void)
{
    RescueOutcome *outcome = g_new0(RescueOutcome, 1);

    outcome->vm = VM;
    outcome->flags = fake.flags;
    fake.on_done(fake.user, outcome);
}

static void on_news(void *user, const RescuerNews *news)
{
    (void)user;
    (void)news;
}

static void on_closed(void *user)
{
    *(gboolean *)user = TRUE;
}

static void watch(Rescuer *r)
{
    RescuerWatch overdue = {.vm = VM, .end_by_ms = clock_steady_ms()};

    rescuer_watch(r, &overdue);
}

/* The last job's rescue comes back when the next job is watched: that one is not over with it. */
static void test_a_late_rescue(void)
{
    uv_loop_t loop;
    gboolean closed = FALSE;
    Rescuer *r;

    uv_loop_init(&loop);
    uv_mutex_init(&fake.lock);
    r = rescuer_new(&loop, "test:///default", "/nowhere", on_news, NULL);
    watch(r);
    wait_for(&loop, 1);
    watch(r);
    come_back();
    wait_for(&loop, 2);
    come_back();
    rescuer_unwatch(r, VM);
    rescuer_close(r, on_closed, &closed);
    g_assert_true(turn_until(&loop, turn_is_set, &closed, 10000));
    uv_run(&loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&loop), ==, 0);
    uv_mutex_destroy(&fake.lock);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rescuer/a-late-rescue", test_a_late_rescue);
    return g_test_run();
}
