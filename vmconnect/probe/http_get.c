/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/probe/http_get.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/tail.h"

#include <curl/curl.h>
#include <string.h>

#define TOLD_BYTES 80

struct HttpGet {
    CURLM *turns;
    CURL *curl;
    GString *page;
    gsize head_bytes;
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

/* A head that does not end is none. */
static size_t on_head(char *data, size_t size, size_t count, void *user)
{
    HttpGet *g = user;

    (void)data;
    g->head_bytes += size * count;
    return g->head_bytes > HTTP_GET_BYTES ? 0 : size * count;
}

HttpGet *http_get_new(const char *url, gint64 timeout_ms)
{
    HttpGet *g = g_new0(HttpGet, 1);

    g->page = g_string_new(NULL);
    g->turns = curl_multi_init();
    g->curl = curl_easy_init();
    g_assert(g->turns && g->curl);
    curl_easy_setopt(g->curl, CURLOPT_URL, url);
    curl_easy_setopt(g->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(g->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(g->curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(g->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(g->curl, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(g->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(g->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(g->curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(g->curl, CURLOPT_SSL_VERIFYHOST, 0L);
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
        return g_strdup(connected_us > 0 ? "it accepts a connection, and does not answer"
                                         : "it does not answer");
    return g_strdup(g->rc == CURLE_COULDNT_CONNECT && number ? g_strerror((int)number)
                                                             : curl_easy_strerror(g->rc));
}

static gboolean is_sound(const HttpGet *g)
{
    return g->rc == CURLE_OK || (g->rc == CURLE_WRITE_ERROR && g->page->len == HTTP_GET_BYTES);
}

gboolean http_get_judge(const HttpGet *g, const char *expect, char **ret_says)
{
    gboolean has = memmem(g->page->str, g->page->len, expect, strlen(expect)) != NULL;
    g_autofree char *begins = beginning_of(g->page);
    long status = 0;

    curl_easy_getinfo(g->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 0 || (g->over && !is_sound(g)))
        *ret_says = failure_of(g);
    else if (status < 200 || status >= 400)
        *ret_says = g_strdup_printf("it answers with status %ld: '%s'", status, begins);
    else if (!has)
        *ret_says = g_strdup_printf(
            "it answers with status %ld, and its answer has not the text that was expected: '%s'", status,
            begins);
    else
        *ret_says = g_strdup_printf("it answers with status %ld: '%s'", status, begins);
    return status >= 200 && status < 400 && has && g->over && is_sound(g);
}

char *http_get(const char *url, const char *expect, gint64 timeout_ms, gboolean *ret_found)
{
    g_autoptr(HttpGet) g = http_get_new(url, timeout_ms);
    curl_off_t found_us = 0;
    char *says;

    while (!http_get_go_on(g, (int)MIN(timeout_ms, G_MAXINT)))
        ;
    curl_easy_getinfo(g->curl, CURLINFO_NAMELOOKUP_TIME_T, &found_us);
    *ret_found = g->rc == CURLE_OK || found_us > 0;
    if (!http_get_judge(g, expect, &says))
        return says;
    g_free(says);
    return NULL;
}
