/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that are there, and servers that do not behave. */
#include "bench.h"
#include "server.h"
#include "vault.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
#define PAGE_BYTES (64u << 10) /* what is looked at */

static void expect_page(Bench *b, const char *url, const char *expected, gint64 timeout_ms,
                        ProbeResult result, const char *why)
{
    g_autofree char *spec =
        g_strdup_printf("{\"kind\":\"http\",\"url\":\"%s\",\"expect\":\"%s\"}", url, expected);

    expect(b, spec, timeout_ms, result, why);
}

/* Of a server that behaves as @manner. */
static void expect_from(Bench *b, ServerManner manner, const char *text, const char *more,
                        const char *expected, gint64 timeout_ms, ProbeResult result, const char *why)
{
    Server *server = server_new(&b->loop, manner, text, more);

    expect_page(b, server_url(server), expected, timeout_ms, result, why);
    g_assert_cmpuint(server_came(server), ==, 1);
    server_close(server);
}

static void expect_said(Bench *b, const char *text, const char *expected, ProbeResult result, const char *why)
{
    expect_from(b, SERVER_SAYS, text, NULL, expected, LONG_MS, result, why);
}

static void test_answered(Bench *b, gconstpointer data)
{
    (void)data;
    expect_said(b, OK_HEAD "Content-Length: 8\r\n\r\nwelcome\n", "", PROBE_ANSWERED, NULL);
    expect_said(b, OK_HEAD "Content-Length: 8\r\n\r\nwelcome\n", "welcome", PROBE_ANSWERED, NULL);
    expect_said(b, "HTTP/1.1 204 No Content\r\n\r\n", "", PROBE_ANSWERED, NULL);
    /* Until it closes, and in pieces. */
    expect_said(b, OK_HEAD "\r\nwelcome", "welcome", PROBE_ANSWERED, NULL);
    expect_said(b, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nwel\r\n4\r\ncome\r\n0\r\n\r\n", "welcome",
                PROBE_ANSWERED, NULL);
    expect_said(b, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n7\r\nwelcome\r\n0\r\nX: y\r\n\r\n", "welcome",
                PROBE_ANSWERED, NULL);
    expect_from(b, SERVER_DRIPS, OK_HEAD "Content-Length: 7\r\n\r\nwelcome", NULL, "welcome", LONG_MS,
                PROBE_ANSWERED, NULL);
}

static void test_wrong(Bench *b, gconstpointer data)
{
    (void)data;
    expect_said(b, "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nwelcome", "welcome", PROBE_MISSED,
                "it answers with status 404");
    expect_said(b, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "", PROBE_MISSED,
                "it answers with status 503");
    expect_said(b, OK_HEAD "Content-Length: 7\r\n\r\nwelcom!", "welcome", PROBE_MISSED,
                "its answer has not the text");
    expect_said(b, OK_HEAD "Content-Length: 0\r\n\r\n", "welcome", PROBE_MISSED,
                "its answer has not the text");
    /* What its head says is not its page. */
    expect_said(b, OK_HEAD "X-Text: welcome\r\nContent-Length: 0\r\n\r\n", "welcome", PROBE_MISSED,
                "its answer has not the text");
}

/* It counts as an answer, and nobody goes where it leads. */
static void test_redirection(Bench *b, gconstpointer data)
{
    Server *other = server_new(&b->loop, SERVER_SAYS, OK_HEAD "Content-Length: 7\r\n\r\nwelcome", NULL);
    g_autofree char *to =
        g_strdup_printf("HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", server_url(other));

    (void)data;
    expect_said(b, to, "", PROBE_ANSWERED, NULL);
    expect_said(b, to, "welcome", PROBE_MISSED, "its answer has not the text");
    g_assert_cmpuint(server_came(other), ==, 0);
    server_close(other);
}

/* Of a page that never ends the beginning is looked at. */
static void test_endless(Bench *b, gconstpointer data)
{
    g_autofree char *rest = g_strnfill(PAGE_BYTES, 'x');
    g_autofree char *whole =
        g_strdup_printf(OK_HEAD "\r\n%.*swelcome", (int)(PAGE_BYTES - strlen("welcome")), rest);
    g_autofree char *beyond = g_strconcat(OK_HEAD "\r\n", rest, "welcome", NULL);
    g_autofree char *header = g_strdup_printf("X-Rest: %.1000s\r\n", rest);

    (void)data;
    expect_from(b, SERVER_ENDLESS, OK_HEAD "\r\nwelcome", rest, "welcome", LONG_MS, PROBE_ANSWERED, NULL);
    expect_from(b, SERVER_ENDLESS, OK_HEAD "Content-Length: 99999999999\r\n\r\n", rest, "", LONG_MS,
                PROBE_ANSWERED, NULL);
    expect_from(b, SERVER_ENDLESS, OK_HEAD "\r\n", rest, "welcome", LONG_MS, PROBE_MISSED,
                "its answer has not the text");
    expect_from(b, SERVER_ENDLESS, "HTTP/1.1 500 Oops\r\n\r\nwelcome", rest, "welcome", LONG_MS, PROBE_MISSED,
                "it answers with status 500");
    /* The last bytes that are looked at, and the first that are not. */
    expect_from(b, SERVER_ENDLESS, whole, rest, "welcome", LONG_MS, PROBE_ANSWERED, NULL);
    expect_said(b, whole, "welcome", PROBE_ANSWERED, NULL);
    expect_from(b, SERVER_ENDLESS, beyond, rest, "welcome", LONG_MS, PROBE_MISSED,
                "its answer has not the text");
    /* A head that never ends. */
    expect_from(b, SERVER_ENDLESS, OK_HEAD, header, "", LONG_MS, PROBE_MISSED, "the head of its answer");
    expect_from(b, SERVER_ENDLESS, OK_HEAD "X-Rest: ", rest, "", LONG_MS, PROBE_MISSED, NULL);
}

static void test_in_time(Bench *b, gconstpointer data)
{
    static const char SLOW[] = OK_HEAD "Content-Length: 99999\r\n\r\n";
    g_autofree char *rest = g_strnfill(99999, 'x');
    g_autofree char *page = g_strconcat(SLOW, rest, NULL);

    (void)data;
    expect_from(b, SERVER_SILENT, NULL, NULL, "", SHORT_MS, PROBE_MISSED, NULL);
    expect_from(b, SERVER_DRIPS, page, NULL, "", SHORT_MS, PROBE_MISSED, NULL);
}

static void test_breaks_off(Bench *b, gconstpointer data)
{
    g_autofree char *dead = g_strdup_printf("http://127.0.0.1:%u/", dead_port());

    (void)data;
    expect_page(b, dead, "", LONG_MS, PROBE_MISSED, NULL);
    expect_page(b, "http://999.1.1.1/", "", LONG_MS, PROBE_NOT_MADE, NULL);
    expect_page(b, "http://", "", LONG_MS, PROBE_NOT_MADE, NULL);
    expect_from(b, SERVER_CLOSES, NULL, NULL, "", LONG_MS, PROBE_MISSED, NULL);
    expect_said(b, "", "", PROBE_MISSED, NULL);
    expect_said(b, "HTTP/1.1 200", "welcome", PROBE_MISSED, NULL);
    expect_said(b, OK_HEAD, "", PROBE_MISSED, "the head of its answer is not whole");
    expect_said(b, "HTTP/1.1 100 Continue\r\n\r\n" OK_HEAD, "", PROBE_MISSED,
                "the head of its answer is not whole");
    expect_said(b, OK_HEAD "Content-Length: 9\r\n\r\nwelcome", "welcome", PROBE_MISSED, NULL);
    expect_said(b, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n7\r\nwelcome", "welcome", PROBE_MISSED, NULL);
}

static void test_garbage(Bench *b, gconstpointer data)
{
    static const char *const GARBAGE[] = {
        "SSH-2.0-OpenSSH_9.2p1\r\n",
        "welcome",
        "\x15\x03\x01\x02\x02\x16\xff\xfe\n\n\n",
        "HTTP/9.9 200 OK\r\n\r\nwelcome",
        "HTTP/1.1 abc\r\n\r\nwelcome",
        OK_HEAD "Content-Length: -5\r\n\r\nwelcome",
        OK_HEAD "Transfer-Encoding: chunked\r\n\r\nzzz\r\nwelcome",
    };

    (void)data;
    for (guint i = 0; i < G_N_ELEMENTS(GARBAGE); i++) {
        expect_said(b, GARBAGE[i], "welcome", PROBE_MISSED, NULL);
        expect_from(b, SERVER_BLURTS, GARBAGE[i], NULL, "welcome", LONG_MS, PROBE_MISSED, NULL);
    }
}

/* --- https ------------------------------------------------------------------ */

static int listen_here(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(bind(fd, (struct sockaddr *)&at, sizeof(at)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

static void expect_over_tls(Bench *b, const char *text, ProbeResult result, const char *why)
{
    Vault vault;

    vault_open(&vault, listen_here(), text);
    expect_page(b, vault.url, "welcome", LONG_MS, result, why);
    vault_close(&vault);
}

/* The question is whether it lives, not who it is. */
static void test_tls(Bench *b, gconstpointer data)
{
    (void)data;
    expect_over_tls(b, OK_HEAD "Content-Length: 7\r\n\r\nwelcome", PROBE_ANSWERED, NULL);
    expect_over_tls(b, OK_HEAD "Content-Length: 7\r\n\r\nwelcom!", PROBE_MISSED,
                    "its answer has not the text");
    expect_over_tls(b, "HTTP/1.1 401 No\r\nContent-Length: 7\r\n\r\nwelcome", PROBE_MISSED, "status 401");
}

/* Who speaks no TLS where it was to be spoken has not answered. */
static void test_no_tls(Bench *b, gconstpointer data)
{
    static const ServerManner MANNERS[] = {SERVER_SAYS, SERVER_BLURTS, SERVER_CLOSES};

    (void)data;
    for (guint i = 0; i < G_N_ELEMENTS(MANNERS); i++) {
        Server *server = server_new(&b->loop, MANNERS[i], OK_HEAD "Content-Length: 7\r\n\r\nwelcome", NULL);
        g_autofree char *url = g_strdup_printf("https://127.0.0.1:%u/", server_port(server));

        expect_page(b, url, "welcome", LONG_MS, PROBE_MISSED, NULL);
        server_close(server);
    }
}

/* --- several ------------------------------------------------------------------ */

static void test_overlapping(Bench *b, gconstpointer data)
{
    Server *silent = server_new(&b->loop, SERVER_SILENT, NULL, NULL);
    Server *says = server_new(&b->loop, SERVER_SAYS, OK_HEAD "Content-Length: 0\r\n\r\n", NULL);
    Server *refuses = server_new(&b->loop, SERVER_SAYS, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", NULL);
    g_auto(Try) first = {0};
    g_auto(Try) second = {0};
    g_auto(Try) third = {0};

    (void)data;
    try_begin(&first, b, server_url(silent), ID_NIL, 3000);
    try_begin(&second, b, server_url(says), ID_NIL, LONG_MS);
    try_begin(&third, b, server_url(refuses), ID_NIL, LONG_MS);
    try_wait(&third);
    try_wait(&second);
    g_assert_cmpint(second.result, ==, PROBE_ANSWERED);
    g_assert_cmpint(third.result, ==, PROBE_MISSED);
    try_wait(&first);
    g_assert_cmpint(first.result, ==, PROBE_MISSED);
    server_close(silent);
    server_close(says);
    server_close(refuses);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    /* Where a proxy is named, nobody asks it. */
    g_setenv("http_proxy", "http://127.0.0.1:1/", TRUE);
    g_setenv("https_proxy", "http://127.0.0.1:1/", TRUE);
    bench_add("/prober/http/a page is there", test_answered);
    bench_add("/prober/http/another page than was expected", test_wrong);
    bench_add("/prober/http/a redirection is not followed", test_redirection);
    bench_add("/prober/http/what has no end", test_endless);
    bench_add("/prober/http/slow or silent", test_in_time);
    bench_add("/prober/http/what breaks off", test_breaks_off);
    bench_add("/prober/http/garbage", test_garbage);
    bench_add("/prober/https/any certificate will do", test_tls);
    bench_add("/prober/https/no TLS", test_no_tls);
    bench_add("/prober/http/several have each their own answer", test_overlapping);
    return g_test_run();
}
