/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/probe/http_get.h"

#include <curl/curl.h>

#include <string.h>

#define PAGE_MAX (64u << 10)

/* What is beyond the first part of a page is of no interest: the transfer ends there. */
static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    GString *page = user;
    gsize len = size * count;

    if (page->len + len > PAGE_MAX) {
        g_string_append_len(page, data, (gssize)(PAGE_MAX - page->len));
        return 0;
    }
    g_string_append_len(page, data, (gssize)len);
    return len;
}

static CURLcode perform(CURL *curl, const char *url, gint64 timeout_ms, GString *page)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, page);
    return curl_easy_perform(curl);
}

char *http_get(const char *url, const char *expect, gint64 timeout_ms, gboolean *ret_found)
{
    CURL *curl = curl_easy_init();
    GString *page = g_string_new(NULL);
    curl_off_t found_us = 0;
    long status = 0;
    char *why = NULL;
    CURLcode rc;

    g_assert(curl);
    rc = perform(curl, url, timeout_ms, page);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_NAMELOOKUP_TIME_T, &found_us);
    curl_easy_cleanup(curl);
    *ret_found = rc == CURLE_OK || found_us > 0;
    if (rc != CURLE_OK && (rc != CURLE_WRITE_ERROR || page->len < PAGE_MAX))
        why = g_strdup(curl_easy_strerror(rc));
    else if (status < 200 || status >= 400)
        why = g_strdup_printf("it answers with status %ld", status);
    else if (!memmem(page->str, page->len, expect, strlen(expect)))
        why = g_strdup("its answer has not the text that was expected");
    g_string_free(page, TRUE);
    return why;
}
