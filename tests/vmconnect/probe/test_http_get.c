/* SPDX-License-Identifier: Apache-2.0 */
/* A request that goes on when it is looked at: servers that are slow, say nothing, or never end. What an answer is worth is test_prober_http.c's. */
#include "vmconnect/probe/http_get.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HERE "127.0.0.1"
#define DEADLINE_MS 20000

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

static HttpGet *begin(guint16 port, int timeout_ms)
{
    g_autofree char *url = g_strdup_printf("http://" HERE ":%u/health", port);

    return http_get_new(url, timeout_ms);
}

/* The connection's other side, that has heard the whole request. */
static int accept_request(int fd, HttpGet *g, guint16 port)
{
    g_autofree char *host = g_strdup_printf("Host: " HERE ":%u\r\n", port);
    char got[1024] = "";
    gsize len = 0;
    int peer;

    g_assert_false(http_get_go_on(g, 10));
    peer = accept(fd, NULL, NULL);
    g_assert_cmpint(peer, >=, 0);
    while (!strstr(got, "\r\n\r\n")) {
        ssize_t n = recv(peer, got + len, sizeof(got) - 1 - len, MSG_DONTWAIT);

        len += n > 0 ? (gsize)n : 0;
        g_assert_false(http_get_go_on(g, 10));
    }
    g_assert_true(g_str_has_prefix(got, "GET /health HTTP/1.1\r\n"));
    g_assert_nonnull(strstr(got, host));
    return peer;
}

static void expect_says(const HttpGet *g, const char *expect, gboolean good, const char *text)
{
    g_autofree char *says = NULL;

    g_assert_true(http_get_judge(g, expect, &says) == good);
    g_assert_cmpstr(says, ==, text);
}

static void test_slow(void)
{
    static const char HEAD[] = "HTTP/1.0 200 OK\r\n\r\nall is";
    guint16 port;
    int fd = listen_here(&port);
    g_autoptr(HttpGet) f = begin(port, DEADLINE_MS);
    int peer = accept_request(fd, f, port);

    g_assert_cmpint(send(peer, HEAD, strlen(HEAD), 0), ==, (ssize_t)strlen(HEAD));
    g_assert_false(http_get_go_on(f, 50));
    expect_says(f, "well", FALSE,
                "it answers with status 200, and its answer has not the text that was expected: 'all is'");
    g_assert_cmpint(send(peer, " well", 5, 0), ==, 5);
    close(peer);
    g_assert_true(http_get_go_on(f, DEADLINE_MS));
    expect_says(f, "all is well", TRUE, "it answers with status 200: 'all is well'");
    close(fd);
}

static void test_silent(void)
{
    guint16 port;
    int fd = listen_here(&port);
    g_autoptr(HttpGet) f = begin(port, 100);
    int peer = accept_request(fd, f, port);

    while (!http_get_go_on(f, 50)) {
    }
    expect_says(f, "", FALSE, "it accepts a connection, and does not answer");
    close(peer);
    close(fd);
}

static void test_nobody(void)
{
    guint16 port;
    int fd = listen_here(&port);
    g_autoptr(HttpGet) f = NULL;

    close(fd);
    f = begin(port, DEADLINE_MS);
    g_assert_true(http_get_go_on(f, DEADLINE_MS));
    expect_says(f, "", FALSE, "Connection refused");
}

/* No more than so much of it is kept. */
static void test_endless(void)
{
    static const char HEAD[] = "HTTP/1.0 200 OK\r\n\r\n";
    const gsize much_bytes = HTTP_GET_BYTES + (1u << 20);
    g_autofree char *says = NULL;
    g_autofree char *much = g_strnfill(much_bytes, 'x');
    guint16 port;
    int fd = listen_here(&port);
    g_autoptr(HttpGet) f = begin(port, DEADLINE_MS);
    int peer = accept_request(fd, f, port);
    gsize sent = 0;

    for (gsize i = 0; HEAD[i]; i++)
        much[i] = HEAD[i];
    much[strlen(HEAD) + HTTP_GET_BYTES] = '!';
    while (sent < much_bytes) {
        ssize_t n = send(peer, much + sent, much_bytes - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0)
            sent += (gsize)n;
        if (http_get_go_on(f, 1))
            break;
    }
    g_assert_true(http_get_go_on(f, DEADLINE_MS));
    g_assert_cmpuint(sent, >=, HTTP_GET_BYTES);
    g_assert_false(http_get_judge(f, "!", &says));
    g_assert_nonnull(strstr(says, "it answers with status 200, and its answer has not the text"));
    g_assert_cmpuint(strlen(says), <, 200);
    close(peer);
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/http_get/slow", test_slow);
    g_test_add_func("/http_get/silent", test_silent);
    g_test_add_func("/http_get/nobody", test_nobody);
    g_test_add_func("/http_get/endless", test_endless);
    return g_test_run();
}
