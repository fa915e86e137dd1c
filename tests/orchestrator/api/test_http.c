/* SPDX-License-Identifier: Apache-2.0 */
/* One test for each way in which a client, or the library, can go wrong. */
#include "orchestrator/api/http.h"

#include "tests/orchestrator/api/stage.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIG_BYTES (32 * 1024 * 1024) /* more than the kernel buffers */
#define SOON_MS 10000

/* What the handler keeps: touched on the loop's thread only. */
typedef struct {
    HttpRequest *held;
    gboolean gone;
} House;

static void answer_text(HttpRequest *r, guint status, const char *text)
{
    g_autoptr(GBytes) body = g_bytes_new(text, strlen(text));

    http_request_answer(r, status, "text/plain", body);
}

static void on_request(HttpRequest *r, void *user)
{
    House *house = user;
    const char *path = http_request_path(r);
    gsize len;
    const char *body = http_request_body(r, &len);

    if (g_str_equal(path, "/hold")) {
        g_assert_null(house->held);
        house->held = r;
    } else if (g_str_equal(path, "/big")) {
        g_autoptr(GBytes) big = g_bytes_new_take(g_malloc0(BIG_BYTES), BIG_BYTES);

        http_request_answer(r, 200, "application/octet-stream", big);
    } else if (g_str_equal(path, "/empty")) {
        answer_text(r, 200, "");
    } else if (g_str_equal(path, "/length")) {
        g_autofree char *text = g_strdup_printf("%zu", len);

        answer_text(r, 200, text);
    } else {
        g_autofree char *text = g_strdup_printf("%s %s?%s|%s", http_method_name(http_request_method(r)), path,
                                                http_request_query(r), body);

        http_request_add_header(r, "x-test", "1");
        answer_text(r, 200, text);
    }
}

static void see_gone(void *user)
{
    House *house = user;

    house->gone = house->held && http_request_is_gone(house->held);
}

static void release(void *user)
{
    House *house = user;

    if (house->held)
        answer_text(g_steal_pointer(&house->held), 200, "released");
}

static Stage *open_stage(House *house, const HttpConfig *limits)
{
    HttpConfig config = limits ? *limits : (HttpConfig){0};

    config.on_request = on_request;
    config.user = house;
    return stage_new(&config);
}

static void assert_serves(Stage *stage)
{
    g_autoptr(Answer) a = stage_ask(stage, "GET", "/still", NULL, NULL);

    g_assert_cmpuint(a->status, ==, 200);
}

static void test_get(void)
{
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);
    g_autoptr(Caller) c = caller_open(stage);

    /* Three on one connection: keep-alive. */
    for (int i = 0; i < 3; i++) {
        g_autoptr(Answer) a = NULL;

        g_assert_true(caller_sendf(c, "GET /a/%d?x=a%%26b&y=c+d HTTP/1.1\r\nHost: h\r\n\r\n", i));
        a = caller_answer(c, SOON_MS);
        g_assert_cmpuint(a->status, ==, 200);
        g_assert_nonnull(strcasestr(a->head, "x-test: 1"));
        g_assert_nonnull(strcasestr(a->head, "cache-control: no-store"));
        g_assert_nonnull(strcasestr(a->head, "x-content-type-options: nosniff"));
        g_assert_null(strcasestr(a->head, "connection: close"));
        g_assert_nonnull(strstr(a->body, "?x=a%26b&y=c%20d|"));
    }
}

static void test_empty_answer(void)
{
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);
    g_autoptr(Caller) c = caller_open(stage);

    for (int i = 0; i < 2; i++) {
        g_autoptr(Answer) a = NULL;

        caller_send(c, "GET /empty HTTP/1.1\r\nHost: h\r\n\r\n", -1);
        a = caller_answer(c, SOON_MS);
        g_assert_cmpuint(a->status, ==, 200);
        g_assert_cmpuint(a->len, ==, 0);
    }
}

static void test_bodies(void)
{
    static const char *const METHODS[] = {"POST", "PUT", "PATCH"};
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);

    for (guint i = 0; i < G_N_ELEMENTS(METHODS); i++) {
        g_autoptr(Answer) some = stage_ask(stage, METHODS[i], "/b", NULL, "hello");
        g_autoptr(Answer) none = stage_ask(stage, METHODS[i], "/b", NULL, "");

        g_assert_cmpuint(some->status, ==, 200);
        g_assert_true(g_str_has_prefix(some->body, METHODS[i]));
        g_assert_true(g_str_has_suffix(some->body, "|hello"));
        g_assert_cmpuint(none->status, ==, 200);
        g_assert_true(g_str_has_suffix(none->body, "|"));
    }
    {
        g_autoptr(Answer) gone = stage_ask(stage, "DELETE", "/b", NULL, NULL);

        g_assert_cmpuint(gone->status, ==, 200);
    }
}

static void test_body_in_pieces(void)
{
    House house = {0};
    HttpConfig limits = {.max_body_bytes = 4 << 20};
    g_autoptr(Stage) stage = open_stage(&house, &limits);
    g_autoptr(Caller) c = caller_open(stage);
    g_autoptr(GString) piece = g_string_new(NULL);
    g_autoptr(Answer) a = NULL;

    g_string_set_size(piece, 1 << 20);
    memset(piece->str, 'x', piece->len);
    caller_sendf(c, "POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", 4 << 20);
    for (int i = 0; i < 4; i++)
        g_assert_true(caller_send(c, piece->str, (gssize)piece->len));
    a = caller_answer(c, SOON_MS);
    g_assert_cmpuint(a->status, ==, 200);
    g_assert_cmpstr(a->body, ==, "4194304");
}

static void test_big_answer(void)
{
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);
    g_autoptr(Answer) a = stage_ask(stage, "GET", "/big", NULL, NULL);

    g_assert_cmpuint(a->status, ==, 200);
    g_assert_cmpuint(a->len, ==, BIG_BYTES);
}

static void test_no_upgrade(void)
{
    static const char *const PATHS[] = {"/", "/anything", "/api/v1/events"};
    static const char *const KINDS[] = {"websocket", "h2c", "tls/9", "understudy"};
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);

    for (guint p = 0; p < G_N_ELEMENTS(PATHS); p++)
        for (guint k = 0; k < G_N_ELEMENTS(KINDS); k++)
            for (int with_protocol = 0; with_protocol < 2; with_protocol++) {
                g_autoptr(Caller) c = caller_open(stage);
                g_autoptr(Answer) a = NULL;

                caller_sendf(
                    c,
                    "GET %s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\n"
                    "HTTP2-Settings: AAMAAABkAAQAAP__\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                    PATHS[p], KINDS[k], with_protocol ? "Sec-WebSocket-Protocol: understudy\r\n" : "");
                a = caller_answer(c, SOON_MS);
                g_assert_cmpuint(a->status, !=, 101);
                g_assert_cmpuint(a->status, !=, 200);
                g_assert_true(caller_sees_end(c, SOON_MS));
            }
    assert_serves(stage);
}

static void test_only_http1(void)
{
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);
    g_autoptr(Caller) c = caller_open(stage);
    const unsigned char *chosen;
    unsigned len;

    /* The client offered h2 first. */
    SSL_get0_alpn_selected(c->ssl, &chosen, &len);
    g_assert_cmpuint(len, ==, 8);
    g_assert_cmpint(memcmp(chosen, "http/1.1", 8), ==, 0);
}

enum { CROWD = 300 };

/* While as many are leaving as there is room for, whoever comes is sent away: until the server has caught up. */
static void wait_for_a_place(const Stage *stage)
{
    gint64 deadline_ms = clock_steady_ms() + SOON_MS;
    Caller *c;

    while (!(c = caller_open(stage)))
        g_assert_cmpint(clock_steady_ms(), <, deadline_ms);
    caller_free(c);
}

/* Many who say nothing keep nobody out: the oldest of them go. */
static void test_crowd(void)
{
    House house = {0};
    HttpConfig limits = {.max_connections = CROWD, .head_timeout_ms = 60000};
    g_autoptr(Stage) stage = open_stage(&house, &limits);
    g_autoptr(GPtrArray) crowd = g_ptr_array_new_with_free_func((GDestroyNotify)caller_free);

    for (guint i = 0; i < CROWD; i++)
        g_ptr_array_add(crowd, caller_dial(stage));
    for (guint i = 0; i < 3; i++) {
        assert_serves(stage);
        g_ptr_array_add(crowd, caller_dial(stage));
    }
    g_assert_true(caller_sees_end(crowd->pdata[0], SOON_MS));
    for (guint i = 0; i < 2 * CROWD; i++)
        g_ptr_array_add(crowd, caller_dial(stage));
    wait_for_a_place(stage);
    assert_serves(stage);
}

/* …and whoever is known stays. */
static void test_known_crowd(void)
{
    House house = {0};
    HttpConfig limits = {.max_connections = 20, .idle_timeout_ms = 60000};
    g_autoptr(Stage) stage = open_stage(&house, &limits);
    g_autoptr(GPtrArray) crowd = g_ptr_array_new_with_free_func((GDestroyNotify)caller_free);
    g_autoptr(Caller) outside = NULL;

    for (guint i = 0; i < 20; i++) {
        g_autoptr(Answer) a = NULL;

        g_ptr_array_add(crowd, caller_open(stage));
        caller_send(crowd->pdata[i], "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", -1);
        a = caller_answer(crowd->pdata[i], SOON_MS);
        g_assert_cmpuint(a->status, ==, 200);
    }
    outside = caller_dial(stage);
    g_assert_true(caller_sees_end(outside, SOON_MS));
    for (guint i = 0; i < 20; i++) {
        g_autoptr(Answer) a = NULL;

        caller_send(crowd->pdata[i], "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", -1);
        a = caller_answer(crowd->pdata[i], SOON_MS);
        g_assert_cmpuint(a->status, ==, 200);
    }
}

/* Dribble @text, a byte each 20 ms, until the server closes; how long that was after @start, when its limit had not begun. */
static gint64 dribble(Caller *c, gint64 start, const char *text, gint64 timeout_ms)
{
    for (const char *p = text; clock_steady_ms() < start + timeout_ms; p = p[0] && p[1] ? p + 1 : p) {
        if (caller_sees_end(c, 20) || !caller_send(c, p, 1))
            return clock_steady_ms() - start;
    }
    g_test_fail_printf("the server let a client dribble for %" G_GINT64_FORMAT " ms", timeout_ms);
    return timeout_ms;
}

static void test_slow_heads(void)
{
    House house = {0};
    HttpConfig limits = {.head_timeout_ms = 1500, .idle_timeout_ms = 300};
    g_autoptr(Stage) stage = open_stage(&house, &limits);
    gint64 start = clock_steady_ms();
    g_autoptr(Caller) silent_tcp = caller_dial(stage);
    g_autoptr(Caller) silent_tls = caller_open(stage);
    g_autoptr(Caller) hello = caller_dial(stage);
    g_autoptr(Caller) slow = NULL;
    g_autoptr(Caller) lines = NULL;
    g_autoptr(Caller) idle = NULL;
    g_autoptr(Answer) a = NULL;

    g_assert_true(caller_sees_end(silent_tcp, 5000));
    g_assert_true(caller_sees_end(silent_tls, 5000));
    dribble(hello, start, "\x16\x03\x01\x02\x01", 10000);
    start = clock_steady_ms();
    slow = caller_open(stage);
    g_assert_cmpint(dribble(slow, start,
                            "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                            10000),
                    >=, 1000);
    lines = caller_open(stage);
    caller_send(lines, "GET / HTTP/1.1\r\n", -1);
    g_assert_true(caller_sees_end(lines, 5000));
    idle = caller_open(stage);
    caller_send(idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", -1);
    a = caller_answer(idle, SOON_MS);
    g_assert_cmpuint(a->status, ==, 200);
    g_assert_true(caller_sees_end(idle, 5000));
    assert_serves(stage);
}

static void test_prefix_header(void)
{
    static const char *const NAMES[] = {"X-a", "X-Auth", "X-Forward", "Con", "Auth", "A", "Cook"};
    House house = {0};
    HttpConfig limits = {.head_timeout_ms = 1500};
    g_autoptr(Stage) stage = open_stage(&house, &limits);

    /* The library's parser may wait for ever behind such a last header. */
    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++) {
        g_autoptr(Caller) c = caller_open(stage);
        g_autoptr(Answer) a = NULL;

        caller_sendf(c, "GET / HTTP/1.1\r\nHost: h\r\n%s: 1\r\n\r\n", NAMES[i]);
        a = caller_answer(c, 5000);
        if (a->status != 200)
            g_assert_cmpuint(a->status, ==, 0);
    }
    assert_serves(stage);
}

static void test_refused_bodies(void)
{
    static const struct {
        const char *request;
        guint status;
        const char *says;
    } CASES[] = {
        {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 411,
         "in chunks"},
        {"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 411,
         "in chunks"},
        {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", 411,
         "in chunks"},
        {"POST / HTTP/1.1\r\nHost: h\r\n\r\n", 411, "needs a Content-Length"},
        {"PATCH / HTTP/1.1\r\nHost: h\r\n\r\n", 411, "needs a Content-Length"},
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400, "not a number"},
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400,
         "not a number"},
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x10\r\n\r\n", 400, "not a number"},
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 400, "not a number"},
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n", 413,
         "longer than the 1048576 allowed"},
        {"OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n", 405, "not served"},
        {"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", 405, "not served"},
        {"GET /%ff HTTP/1.1\r\nHost: h\r\n\r\n", 400, "not UTF-8"},
    };
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autoptr(Caller) c = caller_open(stage);
        g_autoptr(Answer) a = NULL;

        caller_send(c, CASES[i].request, -1);
        a = caller_answer(c, SOON_MS);
        g_test_message("%s", CASES[i].request);
        g_assert_cmpuint(a->status, ==, CASES[i].status);
        g_assert_nonnull(strstr(a->body, CASES[i].says));
        g_assert_nonnull(strcasestr(a->head, "connection: close"));
        if (i == 0)
            g_assert_true(caller_sees_end(c, SOON_MS));
    }
}

static void test_oversize_is_readable(void)
{
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);
    g_autoptr(Caller) c = caller_open(stage);
    g_autofree char *megabyte = g_malloc0(1 << 20);
    g_autoptr(Answer) a = NULL;

    /* A client that sends all before it reads must not find a reset instead of the answer. */
    caller_sendf(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", 8 << 20);
    for (int i = 0; i < 8; i++)
        g_assert_true(caller_send(c, megabyte, 1 << 20));
    a = caller_answer(c, SOON_MS);
    g_assert_cmpuint(a->status, ==, 413);
}

static void test_slow_body(void)
{
    House house = {0};
    HttpConfig limits = {.body_timeout_ms = 600};
    g_autoptr(Stage) stage = open_stage(&house, &limits);
    g_autoptr(Caller) c = caller_open(stage);
    gint64 start = clock_steady_ms();

    caller_send(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n", -1);
    g_assert_cmpint(dribble(c, start, "x", 10000), >=, 300);
    assert_serves(stage);
}

typedef struct {
    Stage *stage;
    guint open;
} Count;

static void count_connections(void *user)
{
    Count *count = user;

    count->open = http_server_connections(stage_server(count->stage));
}

static void test_unread_answer(void)
{
    House house = {0};
    HttpConfig limits = {.answer_timeout_ms = 700};
    g_autoptr(Stage) stage = open_stage(&house, &limits);
    g_autoptr(Caller) c = caller_open(stage);
    Count count = {stage, 1};

    caller_send(c, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n", -1);
    for (gint64 end = clock_steady_ms() + SOON_MS; count.open > 0; g_usleep(20000)) {
        g_assert_cmpint(clock_steady_ms(), <, end);
        stage_call(stage, count_connections, &count);
    }
    assert_serves(stage);
}

static void test_long_head(void)
{
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);
    g_autoptr(Caller) c = caller_open(stage);
    g_autofree char *long_value = g_strnfill(64 * 1024, 'a');

    caller_sendf(c, "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n\r\n", long_value);
    g_assert_true(caller_sees_end(c, 5000));
    assert_serves(stage);
}

/* A part of a query that has no room is no end of the query. */
static void test_long_query(void)
{
    static const struct {
        gsize len; /* of the value of x */
        guint status;
    } CASES[] = {{4093, 200}, {4094, 400}, {6000, 400}};
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autofree char *value = g_strnfill(CASES[i].len, 'v');
        g_autofree char *path = g_strdup_printf("/a?a=1&&x=%s&b=2", value);
        g_autoptr(Answer) a = stage_ask(stage, "GET", path, NULL, NULL);

        g_assert_cmpuint(a->status, ==, CASES[i].status);
        g_assert_nonnull(strstr(a->body, CASES[i].status == 200 ? "&b=2|" : "longer than 4095 bytes"));
    }
}

static void test_garbage(void)
{
    static const char *const BAD[] = {"\r\n\r\n",
                                      "GET\r\n\r\n",
                                      "GET / HTTP/1.1\nHost: h\n\n",
                                      "\x00\x01\x02\xff",
                                      "BREW /pot HTTP/1.1\r\n\r\n",
                                      "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
                                      "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n",
                                      "GET /a%00b HTTP/1.1\r\nHost: h\r\n\r\n",
                                      "GET / HTTP/1.1\r\n: \r\n\r\n",
                                      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"};
    House house = {0};
    HttpConfig limits = {.head_timeout_ms = 1500, .idle_timeout_ms = 100};
    g_autoptr(Stage) stage = open_stage(&house, &limits);
    g_autoptr(Caller) plain = caller_dial(stage);
    guint32 seed = 1;

    caller_send(plain, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", -1);
    g_assert_true(caller_sees_end(plain, 5000));
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(Caller) c = caller_open(stage);

        caller_send(c, BAD[i], -1);
        g_assert_true(caller_sees_end(c, 5000));
    }
    for (guint i = 0; i < 20; i++) {
        g_autoptr(Caller) c = caller_open(stage);
        char noise[512];

        for (gsize b = 0; b < sizeof noise; b++)
            noise[b] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
        caller_send(c, noise, sizeof noise);
        g_assert_true(caller_sees_end(c, 5000));
    }
    assert_serves(stage);
}

static void test_dots(void)
{
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);
    g_autoptr(Answer) a = stage_ask(stage, "GET", "/a/../../b/%2e%2e/c//./d", NULL, NULL);

    g_assert_cmpuint(a->status, ==, 200);
    g_assert_null(strstr(a->body, ".."));
}

static gboolean wait_gone(Stage *stage, House *house)
{
    for (gint64 end = clock_steady_ms() + SOON_MS; clock_steady_ms() < end; g_usleep(10000)) {
        stage_call(stage, see_gone, house);
        if (house->gone)
            return TRUE;
    }
    return FALSE;
}

static void see_held(void *user)
{
    House *house = user;

    house->gone = house->held != NULL;
}

static void wait_held(Stage *stage, House *house)
{
    for (gint64 end = clock_steady_ms() + SOON_MS; !house->gone; g_usleep(5000)) {
        g_assert_cmpint(clock_steady_ms(), <, end);
        stage_call(stage, see_held, house);
    }
    house->gone = FALSE;
}

static void test_answer_later(void)
{
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);
    g_autoptr(Caller) c = caller_open(stage);
    g_autoptr(Answer) a = NULL;

    caller_send(c, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", -1);
    wait_held(stage, &house);
    assert_serves(stage);
    stage_call(stage, release, &house);
    a = caller_answer(c, SOON_MS);
    g_assert_cmpstr(a->body, ==, "released");
}

static void test_client_leaves(void)
{
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);

    {
        g_autoptr(Caller) c = caller_open(stage);

        caller_send(c, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n", -1);
        wait_held(stage, &house);
        SSL_shutdown(c->ssl);
    }
    g_assert_true(wait_gone(stage, &house));
    stage_call(stage, release, &house);
    assert_serves(stage);
}

static void test_early_bird(void)
{
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);
    g_autoptr(Caller) c = caller_open(stage);
    g_autoptr(Answer) first = NULL;
    g_autoptr(Answer) second = NULL;
    gint64 cpu_ms;

    /* The second request comes while the first is worked on: no turning in circles, then both answered. */
    caller_send(c, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n", -1);
    wait_held(stage, &house);
    caller_send(c, "GET /last HTTP/1.1\r\nHost: h\r\n\r\n", -1);
    cpu_ms = stage_cpu_ms(stage);
    g_usleep(600000); /* a stretch to measure, nothing to wait for */
    g_assert_cmpint(stage_cpu_ms(stage) - cpu_ms, <, 200);
    stage_call(stage, release, &house);
    first = caller_answer(c, SOON_MS);
    g_assert_cmpstr(first->body, ==, "released");
    second = caller_answer(c, SOON_MS);
    g_assert_true(g_str_has_prefix(second->body, "GET /next?"));
}

static void test_stop_with_live_clients(void)
{
    House house = {0};
    Stage *stage = open_stage(&house, NULL);
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)caller_free);
    Caller *waiting = caller_open(stage);

    caller_send(waiting, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n", -1);
    g_ptr_array_add(all, waiting);
    wait_held(stage, &house);
    for (int i = 0; i < 5; i++) {
        Caller *half_head = caller_open(stage);
        Caller *half_body = caller_open(stage);
        Caller *unread = caller_open(stage);
        Caller *idle = caller_open(stage);
        Caller *refused = caller_open(stage);

        g_ptr_array_add(all, caller_dial(stage));
        caller_send(half_head, "GET / HT", -1);
        caller_send(half_body, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhal", -1);
        caller_send(unread, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n", -1);
        caller_send(refused, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\nhal", -1);
        g_ptr_array_add(all, half_head);
        g_ptr_array_add(all, half_body);
        g_ptr_array_add(all, unread);
        g_ptr_array_add(all, idle);
        g_ptr_array_add(all, refused);
    }
    assert_serves(stage);
    stage_free(stage); /* asserts that the loop is empty */
    for (guint i = 0; i < all->len; i++)
        g_assert_true(caller_sees_end(all->pdata[i], 5000));
    /* The handler's request outlived its server. */
    g_assert_true(http_request_is_gone(house.held));
    release(&house);
}

static void test_cannot_start(void)
{
    const StageKeys *k = stage_keys();
    House house = {0};
    g_autoptr(Stage) stage = open_stage(&house, NULL);
    HttpConfig good = {.address = "127.0.0.1",
                       .certificate = k->server_certificate,
                       .key = k->server_key,
                       .on_request = on_request};
    struct {
        HttpConfig config;
        UsError code;
        const char *says;
    } cases[] = {{good, US_ERROR_BUSY, "another program listens"},
                 {good, US_ERROR_USAGE, "not a numeric address"},
                 {good, US_ERROR_USAGE, "certificate cannot be used"},
                 {good, US_ERROR_USAGE, "key cannot be used"}};
    uv_loop_t loop;

    cases[0].config.port = stage_port(stage);
    cases[1].config.address = "localhost";
    cases[2].config.certificate = "hello";
    cases[3].config.key = k->stranger_key;
    uv_loop_init(&loop);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(http_server_new(&loop, &cases[i].config, &error));
        g_assert_error(error, US_ERROR, (int)cases[i].code);
        g_assert_nonnull(strstr(error->message, cases[i].says));
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&loop), ==, 0);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    g_test_add_func("/api/http/get", test_get);
    g_test_add_func("/api/http/empty-answer", test_empty_answer);
    g_test_add_func("/api/http/bodies", test_bodies);
    g_test_add_func("/api/http/body-in-pieces", test_body_in_pieces);
    g_test_add_func("/api/http/big-answer", test_big_answer);
    g_test_add_func("/api/http/no-upgrade", test_no_upgrade);
    g_test_add_func("/api/http/only-http1", test_only_http1);
    g_test_add_func("/api/http/crowd", test_crowd);
    g_test_add_func("/api/http/known-crowd", test_known_crowd);
    g_test_add_func("/api/http/slow-heads", test_slow_heads);
    g_test_add_func("/api/http/prefix-header", test_prefix_header);
    g_test_add_func("/api/http/refused-bodies", test_refused_bodies);
    g_test_add_func("/api/http/oversize-is-readable", test_oversize_is_readable);
    g_test_add_func("/api/http/slow-body", test_slow_body);
    g_test_add_func("/api/http/unread-answer", test_unread_answer);
    g_test_add_func("/api/http/long-head", test_long_head);
    g_test_add_func("/api/http/long-query", test_long_query);
    g_test_add_func("/api/http/garbage", test_garbage);
    g_test_add_func("/api/http/dots", test_dots);
    g_test_add_func("/api/http/answer-later", test_answer_later);
    g_test_add_func("/api/http/client-leaves", test_client_leaves);
    g_test_add_func("/api/http/early-bird", test_early_bird);
    g_test_add_func("/api/http/stop-with-live-clients", test_stop_with_live_clients);
    g_test_add_func("/api/http/cannot-start", test_cannot_start);
    rc = g_test_run();
    stage_keys_free();
    return rc;
}
