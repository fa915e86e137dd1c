/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include "tests/tree.h"
#include "tests/vmconnect/link/fixture.h"

#include <string.h>

void bench_open(Bench *b, const char *libvirt_uri)
{
    ProberPaths paths;

    memset(b, 0, sizeof(*b));
    b->dir = g_dir_make_tmp("understudy-probe-XXXXXX", NULL);
    g_assert_nonnull(b->dir);
    g_assert_cmpint(uv_loop_init(&b->loop), ==, 0);
    paths = (ProberPaths){libvirt_uri, b->dir};
    b->prober = prober_new(&b->loop, &paths);
}

static void on_closed(void *user)
{
    Bench *b = user;

    g_assert_false(b->closed);
    b->closed = TRUE;
}

void bench_close(Bench *b)
{
    prober_close(b->prober, on_closed, b);
    loop_until(&b->loop, &b->closed);
    loop_end(&b->loop);
    tree_remove(b->dir);
    g_free(b->dir);
}

static void set_up(Bench *b, gconstpointer data)
{
    (void)data;
    bench_open(b, NO_LIBVIRT);
}

static void tear_down(Bench *b, gconstpointer data)
{
    (void)data;
    bench_close(b);
}

void bench_add(const char *path, void (*test)(Bench *bench, gconstpointer data))
{
    g_test_add(path, Bench, NULL, set_up, test, tear_down);
}

static void on_done(void *user, ProbeResult result, const char *why)
{
    Try *t = user;

    g_assert_nonnull(t->probe); /* never from within prober_try() */
    g_assert_true((result == PROBE_ANSWERED) == (why == NULL));
    g_assert_true(!why || g_utf8_validate(why, -1, NULL));
    t->probe = NULL;
    t->done = TRUE;
    t->times++;
    t->result = result;
    t->why = g_strdup(why);
}

void try_begin(Try *t, Bench *bench, const char *spec, Id vm, gint64 timeout_ms)
{
    g_autoptr(GError) error = NULL;

    *t = (Try){.bench = bench, .spec = check_spec_parse(spec, &error)};
    g_assert_no_error(error);
    t->probe = prober_try(bench->prober, t->spec, vm, timeout_ms, on_done, t);
}

void try_wait(Try *t)
{
    g_assert_true(turn_until(&t->bench->loop, turn_is_set, &t->done, PATIENCE_MS));
    g_assert_cmpuint(t->times, ==, 1);
}

void try_clear(Try *t)
{
    prober_cancel(t->probe);
    check_spec_free(t->spec);
    g_free(t->why);
}

void expect_of(Bench *bench, const char *spec, Id vm, gint64 timeout_ms, ProbeResult result, const char *why)
{
    g_auto(Try) t = {0};

    try_begin(&t, bench, spec, vm, timeout_ms);
    try_wait(&t);
    if (t.result != result || (why && (!t.why || !strstr(t.why, why))))
        g_error("%s: result %d, %s", spec, t.result, t.why ? t.why : "answered");
}

void expect(Bench *bench, const char *spec, gint64 timeout_ms, ProbeResult result, const char *why)
{
    expect_of(bench, spec, ID_NIL, timeout_ms, result, why);
}
