/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer is worth; and servers on the loopback that answer, break off, say nothing, or never end. */
#include "vmconnect/rehearse/fetch.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HERE "127.0.0.1"
#define DEADLINE_MS 20000

static void test_answers(void)
{
    static const struct {
        const char *answer, *expect;
        gboolean good;
        const char *says;
    } CASES[] = {
        {"HTTP/1.1 200 OK\r\nA: well\r\n\r\nall is well\n", NULL, TRUE, "it answers 200: 'all is well'"},
        {"HTTP/1.1 200 OK\r\nA: b\r\n\r\nall is well\n", "is well", TRUE, "it answers 200: 'all is well'"},
        {"HTTP/1.0 302 Found\n\n", NULL, TRUE, "it answers 302: ''"},
        {"HTTP/1.1 200 OK\r\nA: well\r\n\r\nno\n", "well", FALSE,
         "it answers 200, without the text that is expected: 'no'"},
        {"HTTP/1.1 503 Busy\r\n\r\nwell\033[31m\x01 no\nnot", "well", FALSE, "it answers 503: 'well no not'"},
        {"HTTP/1.1 404 Not Found\r\n\r\n", NULL, FALSE, "it answers 404: ''"},
        {"HTTP/1.1 200 OK\r\nwell", "well", FALSE,
         "its answer is no HTTP/1, or not whole: 'HTTP/1.1 200 OK well'"},
        {"SSH-2.0-x\r\n\r\n", NULL, FALSE, "its answer is no HTTP/1, or not whole: ''"},
        {"HTTP/1.1 2", NULL, FALSE, "its answer is no HTTP/1, or not whole: 'HTTP/1.1 2'"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autofree char *exact = g_memdup2(CASES[i].answer, strlen(CASES[i].answer));
        g_autofree char *says = NULL;
        gboolean good = fetch_answer_is_good(exact, strlen(CASES[i].answer), CASES[i].expect, &says);

        g_assert_cmpstr(says, ==, CASES[i].says);
        g_assert_true(good == CASES[i].good);
    }
}

static int listen_here(guint16 *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(bind(fd, (const struct sockaddr *)&at, sizeof(at)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&at, &len), ==, 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static Fetch *begin(guint16 port, int timeout_ms)
{
    g_autoptr(GError) error = NULL;
    Fetch *f = fetch_open(HERE, port, "/health", timeout_ms, &error);

    g_assert_no_error(error);
    return f;
}

/* The connection's other side, that has heard the whole request. */
static int accept_request(int fd, Fetch *f, guint16 port)
{
    g_autofree char *wanted =
        g_strdup_printf("GET /health HTTP/1.0\r\nHost: " HERE ":%u\r\nConnection: close\r\n\r\n", port);
    char got[256] = "";
    int peer;

    g_assert_false(fetch_go_on(f, 10));
    peer = accept(fd, NULL, NULL);
    g_assert_cmpint(peer, >=, 0);
    g_assert_cmpint(recv(peer, got, strlen(wanted), MSG_WAITALL), ==, (ssize_t)strlen(wanted));
    g_assert_cmpstr(got, ==, wanted);
    return peer;
}

static void expect_says(const Fetch *f, const char *expect, gboolean good, const char *text)
{
    g_autofree char *says = NULL;

    g_assert_true(fetch_judge(f, expect, &says) == good);
    g_assert_cmpstr(says, ==, text);
}

static void test_slow(void)
{
    static const char HEAD[] = "HTTP/1.0 200 OK\r\n\r\nall is";
    guint16 port;
    int fd = listen_here(&port);
    g_autoptr(Fetch) f = begin(port, DEADLINE_MS);
    int peer = accept_request(fd, f, port);

    g_assert_cmpint(send(peer, HEAD, strlen(HEAD), 0), ==, (ssize_t)strlen(HEAD));
    g_assert_false(fetch_go_on(f, 50));
    g_assert_cmpint(send(peer, " well", 5, 0), ==, 5);
    close(peer);
    g_assert_true(fetch_go_on(f, DEADLINE_MS));
    expect_says(f, "all is well", TRUE, "it answers 200: 'all is well'");
    close(fd);
}

static void test_silent(void)
{
    guint16 port;
    int fd = listen_here(&port);
    g_autoptr(Fetch) f = begin(port, 100);
    int peer = accept_request(fd, f, port);

    while (!fetch_go_on(f, 50)) {
    }
    expect_says(f, NULL, FALSE, "it accepts a connection, and does not answer");
    close(peer);
    close(fd);
}

static void test_nobody(void)
{
    guint16 port;
    int fd = listen_here(&port);
    g_autoptr(Fetch) f = NULL;

    close(fd);
    f = begin(port, DEADLINE_MS);
    g_assert_true(fetch_go_on(f, DEADLINE_MS));
    expect_says(f, NULL, FALSE, "Connection refused");
}

/* No more than so much of it is kept. */
static void test_endless(void)
{
    static const char HEAD[] = "HTTP/1.0 200 OK\r\n\r\n";
    g_autofree char *says = NULL;
    g_autofree char *much = g_strnfill(FETCH_BYTES + 1000, 'x');
    guint16 port;
    int fd = listen_here(&port);
    g_autoptr(Fetch) f = begin(port, DEADLINE_MS);
    int peer = accept_request(fd, f, port);
    gsize sent = 0;

    for (gsize i = 0; HEAD[i]; i++)
        much[i] = HEAD[i];
    much[FETCH_BYTES] = '!';
    while (sent < FETCH_BYTES + 1000) {
        ssize_t n = send(peer, much + sent, FETCH_BYTES + 1000 - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0)
            sent += (gsize)n;
        if (fetch_go_on(f, 1))
            break;
    }
    g_assert_true(fetch_go_on(f, DEADLINE_MS));
    g_assert_cmpuint(sent, >=, FETCH_BYTES);
    g_assert_false(fetch_judge(f, "!", &says));
    g_assert_nonnull(strstr(says, "it answers 200, without the text"));
    g_assert_cmpuint(strlen(says), <, 200);
    close(peer);
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fetch/answers", test_answers);
    g_test_add_func("/fetch/slow", test_slow);
    g_test_add_func("/fetch/silent", test_silent);
    g_test_add_func("/fetch/nobody", test_nobody);
    g_test_add_func("/fetch/endless", test_endless);
    return g_test_run();
}
