/* SPDX-License-Identifier: Apache-2.0 */
/* Each kind of try against who answers, answers wrongly, says nothing, says too much, or is not there. */
#include "vmconnect/base/clock.h"
#include "vmconnect/probe/prober.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG_MS 20000
#define SHORT_MS 400

/* What a server says to whoever comes. */
typedef enum { SAY, SAY_NOTHING, HANG_UP, NEVER_END } Manner;

typedef struct {
    uv_loop_t loop;
    Prober *prober;
    char *folder;
    uv_tcp_t server;
    guint16 port;
    Manner manner;
    const char *text;
    gboolean done, closed;
    ProbeResult result;
    char *why;
} Stage;

/* --- a server ------------------------------------------------------------------- */

typedef struct {
    Stage *s;
    uv_tcp_t tcp;
    uv_write_t write;
    char *chunk;
} Guest;

static void on_guest_closed(uv_handle_t *handle)
{
    Guest *g = handle->data;

    g_free(g->chunk);
    g_free(g);
}

static void guest_end(Guest *g)
{
    if (!uv_is_closing((uv_handle_t *)&g->tcp))
        uv_close((uv_handle_t *)&g->tcp, on_guest_closed);
}

static void on_written(uv_write_t *write, int status);

static void say(Guest *g, const char *text, gsize len)
{
    uv_buf_t buf = uv_buf_init((char *)text, (unsigned)len);

    g->write.data = g;
    if (uv_write(&g->write, (uv_stream_t *)&g->tcp, &buf, 1, on_written) != 0)
        guest_end(g);
}

static void on_written(uv_write_t *write, int status)
{
    Guest *g = write->data;

    if (status != 0 || g->s->manner != NEVER_END)
        guest_end(g);
    else
        say(g, g->chunk, strlen(g->chunk));
}

static void on_space(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    static char space[4096];

    (void)handle;
    (void)size;
    *buf = uv_buf_init(space, sizeof(space));
}

/* It has asked. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    Guest *g = stream->data;

    (void)buf;
    if (n < 0 || g->s->manner == HANG_UP) {
        guest_end(g);
    } else if (g->s->manner == SAY || g->s->manner == NEVER_END) {
        uv_read_stop(stream);
        say(g, g->s->text, strlen(g->s->text));
    }
}

static void on_guest(uv_stream_t *server, int status)
{
    Guest *g = g_new0(Guest, 1);

    g_assert_cmpint(status, ==, 0);
    g->s = server->data;
    g->chunk = g_strnfill(65536, 'x');
    uv_tcp_init(server->loop, &g->tcp);
    g->tcp.data = g;
    g_assert_cmpint(uv_accept(server, (uv_stream_t *)&g->tcp), ==, 0);
    uv_read_start((uv_stream_t *)&g->tcp, on_space, on_read);
}

/* --- the stage ------------------------------------------------------------------ */

static void listen_anywhere(Stage *s)
{
    struct sockaddr_in address;
    int size = sizeof(address);

    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(&s->loop, &s->server);
    s->server.data = s;
    g_assert_cmpint(uv_tcp_bind(&s->server, (struct sockaddr *)&address, 0), ==, 0);
    g_assert_cmpint(uv_listen((uv_stream_t *)&s->server, 16, on_guest), ==, 0);
    uv_tcp_getsockname(&s->server, (struct sockaddr *)&address, &size);
    s->port = g_ntohs(address.sin_port);
}

static Stage *stage_new(void)
{
    Stage *s = g_new0(Stage, 1);
    ProberPaths paths = {.libvirt_uri = "test:///default"};

    s->folder = g_dir_make_tmp("probes-XXXXXX", NULL);
    paths.script_dir = s->folder;
    uv_loop_init(&s->loop);
    s->prober = prober_new(&s->loop, &paths);
    listen_anywhere(s);
    return s;
}

static void on_closed(void *user)
{
    ((Stage *)user)->closed = TRUE;
}

static void remove_all(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        g_unlink(path);
    }
    g_rmdir(folder);
}

static void stage_free(Stage *s)
{
    prober_close(s->prober, on_closed, s);
    uv_close((uv_handle_t *)&s->server, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    g_assert_true(s->closed);
    g_assert_cmpint(uv_loop_close(&s->loop), ==, 0);
    remove_all(s->folder);
    g_free(s->folder);
    g_free(s->why);
    g_free(s);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Stage, stage_free)

static void on_done(void *user, ProbeResult result, const char *why)
{
    Stage *s = user;

    g_assert_false(s->done);
    s->done = TRUE;
    s->result = result;
    g_free(s->why);
    s->why = g_strdup(why);
}

static CheckSpec *check(const char *text)
{
    g_autoptr(GError) error = NULL;
    CheckSpec *spec = check_spec_parse(text, &error);

    g_assert_no_error(error);
    return spec;
}

static void try(Stage *s, const char *text, const char *expect, gint64 timeout_ms)
{
    g_autoptr(CheckSpec) spec = check(text);

    if (expect) {
        g_free(spec->expect);
        spec->expect = g_strdup(expect);
    }
    s->done = FALSE;
    prober_try(s->prober, spec, ID_NIL, timeout_ms, on_done, s);
    g_assert_false(s->done);
    while (!s->done)
        g_assert_true(uv_run(&s->loop, UV_RUN_ONCE) || s->done);
}

static void answered(Stage *s, const char *text, const char *expect)
{
    try(s, text, expect, LONG_MS);
    g_assert_cmpstr(s->why, ==, NULL);
    g_assert_cmpint(s->result, ==, PROBE_ANSWERED);
}

static void missed(Stage *s, const char *text, const char *expect, gint64 timeout_ms)
{
    try(s, text, expect, timeout_ms);
    g_assert_cmpint(s->result, ==, PROBE_MISSED);
    g_assert_nonnull(s->why);
    g_assert_true(g_utf8_validate(s->why, -1, NULL));
}

/* --- tcp and ping ------------------------------------------------------------------ */

static void test_tcp(void)
{
    g_autoptr(Stage) s = stage_new();
    g_autofree char *there = g_strdup_printf("tcp:127.0.0.1:%u", s->port);

    answered(s, there, NULL);
    missed(s, "tcp:127.0.0.1:1", NULL, LONG_MS);
}

static void test_ping(void)
{
    g_autoptr(Stage) s = NULL;

    if (getuid() != 0) {
        g_test_skip("raw sockets are root's");
        return;
    }
    s = stage_new();
    answered(s, "ping:127.0.0.1", NULL);
    answered(s, "ping:::1", NULL);
}

/* --- http ----------------------------------------------------------------------- */

static void test_http(void)
{
    g_autoptr(Stage) s = stage_new();
    g_autofree char *url = g_strdup_printf("http://127.0.0.1:%u/", s->port);

    s->text = "HTTP/1.0 200 OK\r\n\r\nthe sun shines";
    answered(s, url, "");
    answered(s, url, "sun");
    missed(s, url, "moon", LONG_MS);
    s->text = "HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n";
    answered(s, url, "");
    s->text = "HTTP/1.0 500 sorry\r\n\r\nthe sun shines";
    missed(s, url, "sun", LONG_MS);
    s->text = "\x01\xff\xfe garbage\r\n\r\n";
    missed(s, url, "", LONG_MS);
    s->manner = HANG_UP;
    missed(s, url, "", LONG_MS);
    s->manner = SAY_NOTHING;
    missed(s, url, "", SHORT_MS);
    missed(s, "http://127.0.0.1:1/", "", LONG_MS);
}

/* Of an answer without end as much is looked at as is promised, and no more. */
static void test_http_without_end(void)
{
    g_autoptr(Stage) s = stage_new();
    g_autofree char *url = g_strdup_printf("http://127.0.0.1:%u/", s->port);

    s->manner = NEVER_END;
    s->text = "HTTP/1.0 200 OK\r\n\r\nthe sun shines";
    answered(s, url, "sun");
    missed(s, url, "moon", LONG_MS);
}

/* --- scripts --------------------------------------------------------------------- */

static char *script(Stage *s, const char *name, const char *body, int mode)
{
    g_autofree char *path = g_build_filename(s->folder, name, NULL);
    g_autofree char *text = g_strdup_printf("#!/bin/sh\n%s\n", body);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(chmod(path, (mode_t)mode), ==, 0);
    return g_strconcat("script:", name, NULL);
}

static void test_script(void)
{
    g_autoptr(Stage) s = stage_new();
    g_autofree char *good = script(s, "good", "test \"$1\" = sun", 0700);
    g_autofree char *loud = script(s, "loud", "yes | head -c 8000000; yes | head -c 8000000 >&2", 0700);
    g_autofree char *endless = script(s, "endless", "yes >&2", 0700);
    g_autofree char *plain = script(s, "plain", "true", 0600);
    g_autofree char *sun = g_strconcat(good, " sun", NULL);
    g_autofree char *moon = g_strconcat(good, " moon", NULL);

    answered(s, sun, NULL);
    missed(s, moon, NULL, LONG_MS);
    answered(s, loud, NULL);
    missed(s, endless, NULL, SHORT_MS);
    missed(s, plain, NULL, LONG_MS);
    missed(s, "script:nothing", NULL, LONG_MS);
}

static pid_t pid_in(Stage *s, const char *name)
{
    g_autofree char *path = g_build_filename(s->folder, name, NULL);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? (pid_t)g_ascii_strtoll(text, NULL, 10) : 0;
}

/* What it waits for goes with it. */
static void test_script_hangs(void)
{
    g_autoptr(Stage) s = stage_new();
    g_autofree char *body = g_strdup_printf("trap '' TERM; sleep 1000 & echo $! >%s/child; wait", s->folder);
    g_autofree char *hangs = script(s, "hangs", body, 0700);
    gint64 deadline_ms;

    do
        missed(s, hangs, NULL, SHORT_MS);
    while (pid_in(s, "child") == 0);
    deadline_ms = clock_steady_ms() + LONG_MS;
    while (kill(pid_in(s, "child"), 0) == 0 && clock_steady_ms() < deadline_ms)
        g_usleep(1000);
    g_assert_cmpint(kill(pid_in(s, "child"), 0), !=, 0);
}

static void test_cancel(void)
{
    g_autoptr(Stage) s = stage_new();
    g_autofree char *slow = script(s, "slow", "sleep 0.3", 0700);
    g_autofree char *url = g_strdup_printf("http://127.0.0.1:%u/", s->port);
    g_autofree char *there = g_strdup_printf("tcp:127.0.0.1:%u", s->port);
    const char *const ALL[] = {slow, url, there};

    s->manner = SAY_NOTHING;
    for (guint i = 0; i < G_N_ELEMENTS(ALL); i++) {
        g_autoptr(CheckSpec) spec = check(ALL[i]);

        prober_cancel(prober_try(s->prober, spec, ID_NIL, SHORT_MS, on_done, s));
    }
    uv_run(&s->loop, UV_RUN_NOWAIT);
    g_assert_false(s->done);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/prober/tcp", test_tcp);
    g_test_add_func("/prober/ping", test_ping);
    g_test_add_func("/prober/http", test_http);
    g_test_add_func("/prober/http-without-end", test_http_without_end);
    g_test_add_func("/prober/script", test_script);
    g_test_add_func("/prober/script-hangs", test_script_hangs);
    g_test_add_func("/prober/cancel", test_cancel);
    return g_test_run();
}
