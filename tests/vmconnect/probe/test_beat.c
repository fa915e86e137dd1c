/* SPDX-License-Identifier: Apache-2.0 */
/* An engine that answers, one that stops, another than was meant, and whoever else has its port. */
#include "post.h"
#include "server.h"

#include "tests/vmconnect/hypervisor/turn.h"
#include "tests/vmconnect/link/fixture.h"
#include "vmconnect/probe/beat.h"

#include <signal.h>
#include <string.h>

#define PATIENCE_MS 30000
#define INTERVAL_MS 400         /* a handshake fits in it on a busy machine, too */
#define EVER_MS (gint64)3600000 /* was it ever heard? */

static House house;

typedef struct {
    uv_loop_t loop;
    Post post;
    Beat *beat;
    gint64 within_ms;
    const char *why; /* that is waited for; NULL: it is heard */
    guint awaited;   /* that many came, or were refused */
} Room;

static void set_up(Room *r, gconstpointer data)
{
    (void)data;
    uv_loop_init(&r->loop);
}

static void tear_down(Room *r, gconstpointer data)
{
    (void)data;
    beat_close(r->beat);
    post_close(&r->post);
    loop_end(&r->loop);
}

static void listen_as(Room *r, Identity *identity)
{
    post_open(&r->post, &r->loop, identity);
}

static void beat_as(Room *r, Identity *identity, guint16 port)
{
    g_autofree char *address = g_strdup_printf("127.0.0.1:%u", port);

    r->beat = beat_new(&r->loop, identity, identity_peer(house.standby).id, address, INTERVAL_MS);
}

static void beat_at(Room *r, guint16 port)
{
    beat_as(r, house.active, port);
}

static gboolean says(void *user)
{
    const Room *r = user;
    const char *why = beat_why(r->beat, r->within_ms);

    return r->why ? why && strstr(why, r->why) : why == NULL;
}

static void await(Room *r, gint64 within_ms, const char *why)
{
    r->within_ms = within_ms;
    r->why = why;
    if (!turn_until(&r->loop, says, r, PATIENCE_MS))
        g_error("waited for %s: %s", why ? why : "a beat", beat_why(r->beat, within_ms));
}

static gboolean came(void *user)
{
    const Room *r = user;

    return r->post.came + r->post.refused >= r->awaited;
}

static void await_visits(Room *r, guint n)
{
    r->awaited = n;
    g_assert_true(turn_until(&r->loop, came, r, PATIENCE_MS));
}

static void test_answers(Room *r, gconstpointer data)
{
    guint n;

    (void)data;
    listen_as(r, house.standby);
    beat_at(r, r->post.port);
    g_assert_nonnull(beat_why(r->beat, EVER_MS)); /* nobody was asked yet */
    await(r, EVER_MS, NULL);
    /* It is asked again and again on the same link: it was heard just now, which passes, and it is heard anew. */
    n = r->post.came;
    for (guint i = 0; i < 3; i++) {
        await(r, 0, "its engine says nothing");
        await(r, 20, NULL);
    }
    g_assert_cmpuint(r->post.came, ==, n);
}

static void test_nobody(Room *r, gconstpointer data)
{
    (void)data;
    beat_at(r, dead_port());
    await(r, EVER_MS, "Connection refused");
    g_assert_false(beat_hangs(r->beat));
}

/* It breaks off, is dialled in vain, and is there again. */
static void test_stops_and_is_back(Room *r, gconstpointer data)
{
    (void)data;
    listen_as(r, house.standby);
    beat_at(r, r->post.port);
    await(r, EVER_MS, NULL);
    post_close(&r->post);
    await(r, INTERVAL_MS, "Connection refused");
    g_assert_null(beat_why(r->beat, EVER_MS));
    listen_as(r, house.standby);
    await(r, INTERVAL_MS, NULL);
    g_assert_cmpuint(r->post.came, >=, 2);
}

/* Its host is there, and it is not: the link stands, and nobody says anything on it. */
static void test_falls_silent(Room *r, gconstpointer data)
{
    Link *held;

    (void)data;
    listen_as(r, house.standby);
    beat_at(r, r->post.port);
    await(r, EVER_MS, NULL);
    g_assert_cmpuint(r->post.links->len, ==, 1);
    held = link_loop_release(g_steal_pointer((LinkLoop **)r->post.links->pdata[0]));
    post_shut(&r->post);
    await(r, INTERVAL_MS, "its engine says nothing");
    await(r, INTERVAL_MS, "the peer is silent"); /* it is given up, and dialled anew … */
    await(r, INTERVAL_MS, "Connection refused"); /* … in vain */
    link_free(held);
}

/* One of before, which knows no beats, says so: then it lives. Here it takes none of a controller. */
static void test_refuses(Room *r, gconstpointer data)
{
    (void)data;
    listen_as(r, house.standby);
    beat_as(r, house.controller, r->post.port);
    await(r, EVER_MS, NULL);
    await(r, 0, "may not be opened by the role controller");
    await_visits(r, 3);
    g_assert_cmpuint(r->post.came, ==, 0);
}

/* --- who answers in its place -------------------------------------------------- */

/* What is on its port has been tried twice, and was never taken for it. */
static void expect_never(Room *r, guint visits)
{
    await_visits(r, visits);
    g_assert_nonnull(beat_why(r->beat, EVER_MS));
}

static void test_another_engine(Room *r, gconstpointer data)
{
    g_autoptr(Identity) other = owned(house.dir, ROLE_ENGINE, house.issuer, A_YEAR);

    (void)data;
    listen_as(r, other);
    beat_at(r, r->post.port);
    await(r, EVER_MS, "another host answers");
    expect_never(r, 2);
}

static void test_stranger(Room *r, gconstpointer data)
{
    g_autoptr(Issuer) issuer = issuer_new("elsewhere", NULL);
    g_autoptr(Identity) other = owned(house.dir, ROLE_ENGINE, issuer, A_YEAR);

    (void)data;
    listen_as(r, other);
    beat_at(r, r->post.port);
    await(r, EVER_MS, "is not trusted");
    expect_never(r, 2);
}

static gboolean was_tried_twice(void *user)
{
    return server_left(user) >= 2;
}

static void test_garbage(Room *r, gconstpointer data)
{
    static const struct {
        ServerManner manner;
        const char *text;
    } CASES[] = {
        {SERVER_CLOSES, NULL},
        {SERVER_SAYS, ""},
        {SERVER_SAYS, "HTTP/1.1 400 Bad Request\r\n\r\n"},
        {SERVER_BLURTS, "SSH-2.0-OpenSSH_9.2p1\r\n"},
        {SERVER_BLURTS, "\x16\x03\x03\xff\xff\x02garbage"},
        {SERVER_SAYS, "\x15\x03\x03\x01\x02\x02\x28"},
        {SERVER_ENDLESS, "\x16\x03\x03\x40"},
        {SERVER_SILENT, NULL},
    };

    (void)data;
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        Server *server = server_new(&r->loop, CASES[i].manner, CASES[i].text, "xxxxxxxx");

        beat_at(r, server_port(server));
        g_assert_true(turn_until(&r->loop, was_tried_twice, server, PATIENCE_MS));
        if (!beat_why(r->beat, EVER_MS))
            g_error("garbage %u was taken for a beat", i);
        beat_close(g_steal_pointer(&r->beat));
        server_close(server);
    }
}

/* The kernel takes the connection, and nobody else does. */
static void test_hangs(Room *r, gconstpointer data)
{
    Server *silent = server_new(&r->loop, SERVER_SILENT, NULL, NULL);

    (void)data;
    beat_at(r, server_port(silent));
    await(r, EVER_MS, "in time");
    g_assert_true(beat_hangs(r->beat));
    server_close(silent);
}

/* --- leaving -------------------------------------------------------------------- */

/* Before it dials, while it does, while it waits to dial again, and on its link. */
static void test_close(Room *r, gconstpointer data)
{
    Server *silent = server_new(&r->loop, SERVER_SILENT, NULL, NULL);

    (void)data;
    beat_close(NULL);
    beat_at(r, server_port(silent));
    beat_close(g_steal_pointer(&r->beat));
    beat_at(r, server_port(silent));
    while (server_came(silent) == 0)
        uv_run(&r->loop, UV_RUN_ONCE);
    beat_close(g_steal_pointer(&r->beat));
    beat_at(r, dead_port());
    await(r, EVER_MS, "Connection refused");
    beat_close(g_steal_pointer(&r->beat));
    listen_as(r, house.standby);
    beat_at(r, r->post.port);
    await(r, EVER_MS, NULL);
    server_close(silent);
}

static void add(const char *path, void (*test)(Room *rost, gconstpointer data))
{
    g_test_add(path, Room, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    house_init(&house);
    add("/beat/answers", test_answers);
    add("/beat/nobody is there", test_nobody);
    add("/beat/stops, and is back", test_stops_and_is_back);
    add("/beat/falls silent", test_falls_silent);
    add("/beat/refuses, and lives", test_refuses);
    add("/beat/another engine than was meant", test_another_engine);
    add("/beat/a stranger", test_stranger);
    add("/beat/garbage", test_garbage);
    add("/beat/hangs", test_hangs);
    add("/beat/closed at each stage", test_close);
    rc = g_test_run();
    house_clear(&house);
    return rc;
}
