/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/loop/aside.h"

#include <glib.h>
#include <unistd.h>

typedef struct {
    int hold[2]; /* the work waits until it can read from here; -1: it does not */
    char *got;
    guint times;
} Play;

static int freed_requests, freed_results;

static void free_request(gpointer request)
{
    g_free(request);
    __atomic_add_fetch(&freed_requests, 1, __ATOMIC_SEQ_CST);
}

static void free_result(gpointer result)
{
    g_free(result);
    __atomic_add_fetch(&freed_results, 1, __ATOMIC_SEQ_CST);
}

static gpointer work(gpointer request)
{
    int fd = *(int *)request;
    char byte;

    if (fd >= 0)
        g_assert_cmpint(read(fd, &byte, 1), ==, 1);
    return g_strdup("done");
}

static void on_done(void *user, gpointer result)
{
    Play *p = user;

    p->times++;
    p->got = result;
}

static void run(Play *p, gint64 timeout_ms)
{
    AsideWork w = {.timeout_ms = timeout_ms,
                   .work = work,
                   .request = g_memdup2(&p->hold[0], sizeof(int)),
                   .free_request = free_request,
                   .free_result = free_result};
    uv_loop_t loop;

    freed_requests = freed_results = 0;
    uv_loop_init(&loop);
    aside_run(&loop, &w, on_done, p);
    g_assert_cmpuint(p->times, ==, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&loop), ==, 0);
    g_assert_cmpuint(p->times, ==, 1);
}

static void test_done(void)
{
    Play p = {.hold = {-1, -1}};

    run(&p, 60000);
    g_assert_cmpstr(p.got, ==, "done");
    g_assert_cmpint(freed_requests, ==, 1);
    g_assert_cmpint(freed_results, ==, 0);
    g_assert_cmpuint(aside_lost(), ==, 0);
    g_free(p.got);
}

/* The loop has ended when it comes back. */
static void test_given_up(void)
{
    Play p = {0};

    g_assert_cmpint(pipe(p.hold), ==, 0);
    run(&p, 1);
    g_assert_null(p.got);
    g_assert_cmpuint(aside_lost(), ==, 1);
    g_assert_cmpint(write(p.hold[1], "x", 1), ==, 1);
    while (__atomic_load_n(&freed_requests, __ATOMIC_SEQ_CST) == 0)
        g_thread_yield();
    g_assert_cmpint(freed_results, ==, 1);
    g_assert_cmpuint(aside_lost(), ==, 0);
    close(p.hold[0]);
    close(p.hold[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loop/aside/done", test_done);
    g_test_add_func("/loop/aside/given-up", test_given_up);
    return g_test_run();
}
