/* SPDX-License-Identifier: Apache-2.0 */
/* A request that goes on when it is looked at: servers that are slow, say nothing, or never end. What an answer is worth is test_prober_http.c's. */
#include "alone.h"
#include "vault.h"
#include "vmconnect/probe/http_get.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HERE "127.0.0.1"
#define DEADLINE_MS 20000

static gboolean is_alone;

static int listen_at(guint16 port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(bind(fd, (const struct sockaddr *)&at, sizeof(at)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

static int listen_here(guint16 *ret_port)
{
    struct sockaddr_in at = {0};
    socklen_t len = sizeof(at);
    int fd = listen_at(0);

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

/* Who has said nothing in TLS yet keeps nobody, nor does who says it slowly. */
static void test_slow_tls(void)
{
    static const char RECORD[] = {22, 3, 3, 0, 80, 2}; /* a ServerHello is begun */
    guint16 port;
    int fd = listen_here(&port);
    g_autofree char *url = g_strdup_printf("https://" HERE ":%u/", port);
    g_autoptr(HttpGet) f = http_get_new(url, 200);
    int peer;

    g_assert_false(http_get_go_on(f, 10));
    peer = accept(fd, NULL, NULL);
    g_assert_cmpint(send(peer, RECORD, sizeof(RECORD), 0), ==, sizeof(RECORD));
    while (!http_get_go_on(f, 10)) {
    }
    expect_says(f, "", FALSE, "it accepts a connection, and does not answer");
    close(peer);
    close(fd);
}

/* OpenSSL would read on for as long as something comes. */
static void talk(void *data)
{
    static guint8 record[5 + 16384] = {22, 3, 3, 0x40}; /* HelloRequest, and nothing else */
    int fd = *(int *)data, peer = accept(fd, NULL, NULL);

    while (send(peer, record, sizeof(record), MSG_NOSIGNAL) > 0) {
    }
    close(peer);
}

static void test_endless_hello(void)
{
    guint16 port;
    int fd = listen_here(&port);
    g_autofree char *url = g_strdup_printf("https://" HERE ":%u/", port);
    HttpGet *f = http_get_new(url, 60000);
    uv_thread_t talker;

    g_assert_cmpint(uv_thread_create(&talker, talk, &fd), ==, 0);
    g_assert_true(http_get_go_on(f, DEADLINE_MS));
    expect_says(f, "", FALSE, "SSL connect error");
    http_get_free(f);
    uv_thread_join(&talker);
    close(fd);
}

static void test_endless_tls(void)
{
    guint16 port;
    int fd = listen_here(&port);
    g_autofree char *says = NULL;
    HttpGet *f;
    Vault v;

    vault_open(&v, fd, NULL);
    f = http_get_new(v.url, 60000);
    g_assert_true(http_get_go_on(f, DEADLINE_MS));
    g_assert_false(http_get_judge(f, "", &says));
    http_get_free(f);
    vault_close(&v);
}

/* It is asked for at home; elsewhere somebody listens at that port. */
static void test_elsewhere(void)
{
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), fd;
    g_autoptr(HttpGet) f = NULL;
    guint16 port;

    if (!is_alone) {
        g_test_skip("it takes root to have networks of one's own");
        close(home);
        return;
    }
    fd = listen_here(&port);
    f = begin(port, DEADLINE_MS);
    close(fd);
    g_assert_true(alone());
    fd = listen_at(port);
    g_assert_true(http_get_go_on(f, DEADLINE_MS));
    expect_says(f, "", FALSE, "Couldn't connect to server");
    g_assert_cmpint(setns(home, CLONE_NEWNET), ==, 0);
    close(fd);
    close(home);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    is_alone = alone();
    g_test_add_func("/http_get/slow", test_slow);
    g_test_add_func("/http_get/silent", test_silent);
    g_test_add_func("/http_get/nobody", test_nobody);
    g_test_add_func("/http_get/endless", test_endless);
    g_test_add_func("/http_get/slow TLS", test_slow_tls);
    g_test_add_func("/http_get/endless before TLS", test_endless_hello);
    g_test_add_func("/http_get/endless in TLS", test_endless_tls);
    g_test_add_func("/http_get/elsewhere", test_elsewhere);
    return g_test_run();
}
