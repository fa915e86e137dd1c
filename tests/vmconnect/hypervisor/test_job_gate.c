/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/hypervisor/job_gate.h"

#include <stdatomic.h>
#include <uv.h>

#define ROUNDS 20000

static const Id VM = {{1}};
static const Id OTHER = {{2}};

typedef struct {
    JobGate *gate;
    uv_sem_t about_to_close;
    atomic_bool closed;
    atomic_bool connecting;
} Shared;

static void test_open_and_closed(void)
{
    g_autoptr(JobGate) gate = job_gate_new();

    job_gate_open(gate, VM);
    g_assert_true(job_gate_enter(gate, VM));
    g_assert_true(job_gate_enter(gate, VM));
    job_gate_leave(gate, VM);
    job_gate_leave(gate, VM);
    job_gate_close(gate, VM);
    g_assert_false(job_gate_enter(gate, VM));
    g_assert_true(job_gate_enter(gate, OTHER));
    job_gate_leave(gate, OTHER);
    job_gate_ended(gate, VM);
    g_assert_false(job_gate_enter(gate, VM));
    job_gate_open(gate, VM);
    g_assert_true(job_gate_enter(gate, VM));
    job_gate_leave(gate, VM);
}

/* Who ends a job slowly may meet the next one, and would end that. */
static void test_next_job_meets_the_ender_of_the_last(void)
{
    g_autoptr(JobGate) gate = job_gate_new();

    job_gate_open(gate, VM);
    job_gate_close(gate, VM);
    job_gate_open(gate, VM);
    g_assert_false(job_gate_enter(gate, VM));
    job_gate_ended(gate, VM);
    g_assert_true(job_gate_enter(gate, VM));
    job_gate_leave(gate, VM);
}

static void close_it(void *user)
{
    Shared *s = user;

    uv_sem_post(&s->about_to_close);
    job_gate_close(s->gate, VM);
    atomic_store(&s->closed, TRUE);
    job_gate_ended(s->gate, VM);
}

static void test_close_waits(void)
{
    Shared s = {.gate = job_gate_new()};
    uv_thread_t thread;

    g_assert_cmpint(uv_sem_init(&s.about_to_close, 0), ==, 0);
    g_assert_true(job_gate_enter(s.gate, VM));
    g_assert_cmpint(uv_thread_create(&thread, close_it, &s), ==, 0);
    uv_sem_wait(&s.about_to_close);
    /* It closes soon, and then lets nobody else in while it waits for us. */
    while (job_gate_enter(s.gate, VM))
        job_gate_leave(s.gate, VM);
    g_assert_false(atomic_load(&s.closed));
    job_gate_leave(s.gate, VM);
    uv_thread_join(&thread);
    g_assert_true(atomic_load(&s.closed));
    uv_sem_destroy(&s.about_to_close);
    job_gate_unref(s.gate);
}

/* A rescuer and its job after job, against a worker that connects all the time. */
static void end_jobs(void *user)
{
    Shared *s = user;

    for (guint i = 0; i < ROUNDS; i++) {
        job_gate_close(s->gate, VM);
        job_gate_open(s->gate, VM);
        g_assert_false(atomic_load(&s->connecting));
        job_gate_ended(s->gate, VM);
    }
    atomic_store(&s->closed, TRUE);
}

static void test_never_both(void)
{
    Shared s = {.gate = job_gate_new()};
    uv_thread_t thread;
    guint entered = 0;

    g_assert_cmpint(uv_thread_create(&thread, end_jobs, &s), ==, 0);
    while (!atomic_load(&s.closed)) {
        if (!job_gate_enter(s.gate, VM))
            continue;
        entered++;
        atomic_store(&s.connecting, TRUE);
        atomic_store(&s.connecting, FALSE);
        job_gate_leave(s.gate, VM);
    }
    uv_thread_join(&thread);
    g_test_message("entered %u times", entered);
    g_assert_true(job_gate_enter(s.gate, VM));
    job_gate_leave(s.gate, VM);
    job_gate_unref(s.gate);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/job_gate/open and closed, each VM for itself", test_open_and_closed);
    g_test_add_func("/job_gate/a new job waits for who ends the one before",
                    test_next_job_meets_the_ender_of_the_last);
    g_test_add_func("/job_gate/closing waits for who is inside, and lets nobody else in", test_close_waits);
    g_test_add_func("/job_gate/no job ends while somebody connects to it", test_never_both);
    return g_test_run();
}
