/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/probe/http_get.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/tail.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define TOLD_BYTES 80
#define TLS_MAX 100 /* messages, either way, of a handshake and after it */

struct HttpGet {
    CURLM *turns;
    CURL *curl;
    struct stat net; /* where it was asked for */
    GString *page;
    gsize head_bytes;
    gboolean head_whole;
    guint tls_messages;
    gboolean over;
    CURLcode rc; /* when it is */
};

/* What is beyond the first part of a page is of no interest: the transfer ends there. */
static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    HttpGet *g = user;
    gsize len = size * count;

    if (g->page->len + len > HTTP_GET_BYTES) {
        g_string_append_len(g->page, data, (gssize)(HTTP_GET_BYTES - g->page->len));
        return 0;
    }
    g_string_append_len(g->page, data, (gssize)len);
    return len;
}

/* Line by line. A head that does not end is none; one that is broken off would be an answer to libcurl. */
static size_t on_head(char *data, size_t size, size_t count, void *user)
{
    HttpGet *g = user;
    gsize len = size * count;

    g->head_bytes += len;
    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
        g->head_whole = FALSE;
    else if (data[0] == '\r' || data[0] == '\n')
        g->head_whole = TRUE;
    return g->head_bytes > HTTP_GET_BYTES ? 0 : len;
}

static gboolean find_net(struct stat *ret_net)
{
    return stat("/proc/thread-self/ns/net", ret_net) == 0;
}

/* libcurl decides when it connects, and whether once more. */
static curl_socket_t on_socket(void *user, curlsocktype purpose, struct curl_sockaddr *to)
{
    const HttpGet *g = user;
    struct stat now;

    (void)purpose;
    if (!find_net(&now) || now.st_dev != g->net.st_dev || now.st_ino != g->net.st_ino)
        return CURL_SOCKET_BAD;
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* OpenSSL reads on for as long as messages come that call for nothing (HelloRequest, KeyUpdate). */
static void on_tls(int is_ours, int version, int kind, const void *data, size_t len, SSL *ssl, void *user)
{
    HttpGet *g = user;

    (void)is_ours;
    (void)version;
    (void)data;
    (void)len;
    if (kind == SSL3_RT_HANDSHAKE && ++g->tls_messages > TLS_MAX)
        SSL_set_shutdown(ssl, SSL_RECEIVED_SHUTDOWN);
}

static CURLcode on_tls_context(CURL *curl, void *context, void *user)
{
    (void)curl;
    SSL_CTX_set_msg_callback(context, on_tls);
    SSL_CTX_set_msg_callback_arg(context, user);
    return CURLE_OK;
}

HttpGet *http_get_new(const char *url, gint64 timeout_ms)
{
    HttpGet *g = g_new0(HttpGet, 1);
    gboolean has_net = find_net(&g->net);

    g_assert(has_net);
    g->page = g_string_new(NULL);
    g->turns = curl_multi_init();
    g->curl = curl_easy_init();
    g_assert(g->turns && g->curl);
    curl_easy_setopt(g->curl, CURLOPT_URL, url);
    curl_easy_setopt(g->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(g->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(g->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(g->curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(g->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(g->curl, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(g->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(g->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(g->curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(g->curl, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(g->curl, CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
    curl_easy_setopt(g->curl, CURLOPT_SSL_CTX_DATA, g);
    curl_easy_setopt(g->curl, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(g->curl, CURLOPT_OPENSOCKETDATA, g);
    curl_easy_setopt(g->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(g->curl, CURLOPT_WRITEDATA, g);
    curl_easy_setopt(g->curl, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(g->curl, CURLOPT_HEADERDATA, g);
    curl_multi_add_handle(g->turns, g->curl);
    return g;
}

void http_get_free(HttpGet *g)
{
    if (!g)
        return;
    curl_multi_remove_handle(g->turns, g->curl);
    curl_easy_cleanup(g->curl);
    curl_multi_cleanup(g->turns);
    g_string_free(g->page, TRUE);
    g_free(g);
}

static void take_end(HttpGet *g)
{
    const CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(g->turns, &left)))
        if (message->msg == CURLMSG_DONE) {
            g->over = TRUE;
            g->rc = message->data.result;
        }
}

/* One turn of libcurl's is bounded, however much comes. */
gboolean http_get_go_on(HttpGet *g, int wait_ms)
{
    gint64 until_ms = clock_steady_ms() + wait_ms;
    int running;

    while (!g->over) {
        CURLMcode rc = curl_multi_perform(g->turns, &running);

        g_assert(rc == CURLM_OK);
        take_end(g);
        if (g->over || clock_left_ms(until_ms) == 0)
            break;
        curl_multi_poll(g->turns, NULL, 0, clock_left_ms(until_ms), NULL);
    }
    return g->over;
}

static char *beginning_of(const GString *page)
{
    char *text = tail_plain(page->str, MIN(page->len, TOLD_BYTES));

    return g_strchomp(g_strdelimit(text, "\n\t", ' '));
}

/* What its system says is clearer than what libcurl makes of it. */
static char *failure_of(const HttpGet *g)
{
    curl_off_t connected_us = 0;
    long number = 0;

    curl_easy_getinfo(g->curl, CURLINFO_OS_ERRNO, &number);
    curl_easy_getinfo(g->curl, CURLINFO_CONNECT_TIME_T, &connected_us);
    if (!g->over || g->rc == CURLE_OPERATION_TIMEDOUT)
        return g_strdup(connected_us > 0 || g->tls_messages > 0
                            ? "it accepts a connection, and does not answer"
                            : "it does not answer");
    if (g->rc == CURLE_UNSUPPORTED_PROTOCOL)
        return g_strdup("what it answers is no HTTP");
    if (g->rc == CURLE_OK || g->rc == CURLE_WRITE_ERROR)
        return g_strdup("the head of its answer is not whole, or has no end");
    return g_strdup(g->rc == CURLE_COULDNT_CONNECT && number ? g_strerror((int)number)
                                                             : curl_easy_strerror(g->rc));
}

static gboolean is_sound(const HttpGet *g)
{
    return g->head_whole &&
           (g->rc == CURLE_OK || (g->rc == CURLE_WRITE_ERROR && g->page->len == HTTP_GET_BYTES));
}

/* Without a word of what the page says, which may be another each time. */
static char *finding_of(const HttpGet *g, const char *expect, gboolean *ret_answers, gboolean *ret_good)
{
    gboolean has = memmem(g->page->str, g->page->len, expect, strlen(expect)) != NULL, fits;
    long status = 0;

    curl_easy_getinfo(g->curl, CURLINFO_RESPONSE_CODE, &status);
    fits = status >= 200 && status < 400;
    *ret_answers = status != 0 && (!g->over || is_sound(g));
    *ret_good = fits && has && g->over && is_sound(g);
    if (!*ret_answers)
        return failure_of(g);
    return g_strdup_printf("it answers with status %ld%s", status,
                           fits && !has ? ", and its answer has not the text that was expected" : "");
}

gboolean http_get_judge(const HttpGet *g, const char *expect, char **ret_says)
{
    gboolean answers, good;
    char *finding = finding_of(g, expect, &answers, &good);
    g_autofree char *begins = answers ? beginning_of(g->page) : NULL;

    *ret_says = answers ? g_strdup_printf("%s: '%s'", finding, begins) : g_strdup(finding);
    g_free(finding);
    return good;
}

char *http_get(const char *url, const char *expect, gint64 timeout_ms, gboolean *ret_found)
{
    g_autoptr(HttpGet) g = http_get_new(url, timeout_ms);
    gboolean answers, good;
    curl_off_t found_us = 0;
    char *why;

    while (!http_get_go_on(g, (int)MIN(timeout_ms, G_MAXINT)))
        ;
    curl_easy_getinfo(g->curl, CURLINFO_NAMELOOKUP_TIME_T, &found_us);
    *ret_found = g->rc == CURLE_OK || found_us > 0;
    why = finding_of(g, expect, &answers, &good);
    if (good)
        g_clear_pointer(&why, g_free);
    return why;
}
