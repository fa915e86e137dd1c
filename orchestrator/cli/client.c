/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/cli/client.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <curl/curl.h>
#include <string.h>

#define CONNECT_S 5L
#define ANSWER_S 120L /* the longest but one: verification of many VMs; a long poll is shorter */
/* A host that is gone is noticed also by who waits without a limit. */
#define PROBE_AFTER_S 30L
#define PROBE_EACH_S 10L
#define MAX_ANSWER_BYTES ((gsize)64 * 1024 * 1024)

struct Client {
    char *url;
    char *ca;
    char *authorization;
    CURL *curl;
    char complaint[CURL_ERROR_SIZE]; /* of the last call, in curl's words */
};

Client *client_new(const char *url, const char *ca, const char *token)
{
    Client *c = g_new0(Client, 1);

    curl_global_init(CURL_GLOBAL_DEFAULT);
    c->url = g_strdup(url);
    if (g_str_has_suffix(c->url, "/"))
        c->url[strlen(c->url) - 1] = '\0';
    c->ca = g_strdup(ca);
    c->authorization = g_strconcat("Authorization: Bearer ", token, NULL);
    c->curl = curl_easy_init();
    g_assert(c->curl);
    return c;
}

void client_free(Client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    g_free(c->url);
    g_free(c->ca);
    g_free(c->authorization);
    g_free(c);
    curl_global_cleanup();
}

const char *client_url(const Client *c)
{
    return c->url;
}

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
    GString *answer = user;

    if (answer->len + size * count > MAX_ANSWER_BYTES)
        return 0;
    g_string_append_len(answer, data, (gssize)(size * count));
    return size * count;
}

static void settle(CURL *curl, const char *url, GString *answer, char *complaint)
{
    complaint[0] = '\0';
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, complaint);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, ANSWER_S);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, PROBE_AFTER_S);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPINTVL, PROBE_EACH_S);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
}

/* Nobody but the pinned authority: neither the system's store nor its folder. */
static void pin(CURL *curl, const char *ca)
{
    struct curl_blob blob = {.data = (void *)ca, .len = strlen(ca), .flags = CURL_BLOB_COPY};

    curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
    curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

/* curl has one code for a certificate of a stranger, and for our controller's that does not name
 * what we asked for; its sentences of the latter are all about a "subject name". */
static gboolean is_other_name(const char *complaint)
{
    return strstr(complaint, "subject name") != NULL;
}

static gboolean fail(CURLcode rc, const char *complaint, const char *url, GError **error)
{
    switch (rc) {
    case CURLE_PEER_FAILED_VERIFICATION:
        if (is_other_name(complaint)) {
            g_set_error(error, US_ERROR, US_ERROR_DENIED,
                        "the certificate of the controller at %s does not cover that name or address: "
                        "nothing was sent; add it to names= in the controller's configuration and restart "
                        "it, or use a name that it has",
                        url);
            break;
        }
        g_set_error(error, US_ERROR, US_ERROR_DENIED,
                    "what answers at %s is not the controller that was logged in to (%s): nothing was sent; "
                    "log in again "
                    "if its authority was made anew, else somebody is in between",
                    url, curl_easy_strerror(rc));
        break;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        g_set_error(error, US_ERROR, US_ERROR_USAGE,
                    "'%s' is not a controller's address: it looks like https://HOST:25443", url);
        break;
    default:
        g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE,
                    "the controller at %s cannot be reached: %s; replication goes on without it; look at the "
                    "understudy-controller service, or name another with --controller",
                    url, curl_easy_strerror(rc));
    }
    return FALSE;
}

static json_t *read_answer(CURL *curl, const char *url, const GString *answer, GError **error)
{
    json_auto_t *doc = json_parse(answer->str, answer->len, MAX_ANSWER_BYTES, NULL);
    long status = 0;

    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (!json_is_object(doc)) {
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL,
                    "what answers at %s does not speak our language (status %ld)", url, status);
        return NULL;
    }
    if (status >= 200 && status < 300)
        return g_steal_pointer(&doc);
    g_propagate_error(error, json_to_error(doc));
    return NULL;
}

/* Copies are deleted one VM after the other, each within its own limit at the controller; so is a channel tested. */
long client_answer_s(const char *operation)
{
    return g_str_equal(operation, "scenario.delete") || g_str_equal(operation, "notify.test") ? 0 : ANSWER_S;
}

static char *full_url(const Client *c, const ApiRoute *route, const char *const *parameters,
                      const json_t *query)
{
    g_autofree char *path = api_route_url(route, parameters);
    g_autoptr(GString) url = g_string_new(c->url);
    const char *key;
    json_t *value;
    char mark = '?';

    g_string_append(url, path);
    json_object_foreach((json_t *)query, key, value)
    {
        g_string_append_printf(url, "%c%s=", mark, key);
        g_string_append_uri_escaped(url, json_string_value(value), NULL, FALSE);
        mark = '&';
    }
    return g_strdup(url->str);
}

json_t *client_call(Client *c, const char *operation, const char *const *parameters, const json_t *query,
                    const json_t *body, GError **error)
{
    static const char *const NONE[] = {NULL};
    const ApiRoute *route = api_route_by_name(operation);
    g_autofree char *url = full_url(c, route, parameters ? parameters : NONE, query);
    g_autofree char *text = body ? json_text(body) : g_strdup("{}");
    g_autoptr(GString) answer = g_string_new(NULL);
    struct curl_slist *headers = curl_slist_append(NULL, c->authorization);
    CURLcode rc;

    headers = curl_slist_append(headers, "Expect:"); /* the server has no 100-continue */
    settle(c->curl, url, answer, c->complaint);
    pin(c->curl, c->ca);
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, client_answer_s(operation));
    if (route->has_body) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(text));
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, text);
    }
    curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, http_method_name(route->method));
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
    rc = curl_easy_perform(c->curl);
    curl_slist_free_all(headers);
    if (rc != CURLE_OK) {
        fail(rc, c->complaint, c->url, error);
        return NULL;
    }
    return read_answer(c->curl, c->url, answer, error);
}

/* The last certificate of the chain that was shown. */
static char *last_certificate(CURL *curl)
{
    struct curl_certinfo *info = NULL;
    const char *pem = NULL;

    if (curl_easy_getinfo(curl, CURLINFO_CERTINFO, &info) != CURLE_OK || !info || info->num_of_certs < 2)
        return NULL;
    for (struct curl_slist *l = info->certinfo[info->num_of_certs - 1]; l; l = l->next)
        if (g_str_has_prefix(l->data, "Cert:"))
            pem = l->data + strlen("Cert:");
    return pem ? g_strdup(pem) : NULL;
}

char *client_fetch_authority(const char *url, GError **error)
{
    g_autoptr(GString) answer = g_string_new(NULL);
    g_autofree char *path = g_strconcat(url, API_PREFIX, NULL);
    char complaint[CURL_ERROR_SIZE];
    CURL *curl;
    char *pem = NULL;
    CURLcode rc;

    curl_global_init(CURL_GLOBAL_DEFAULT);
    curl = curl_easy_init();
    settle(curl, path, answer, complaint);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L); /* to be confirmed; nothing secret is sent */
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(curl, CURLOPT_CERTINFO, 1L);
    rc = curl_easy_perform(curl);
    if (rc == CURLE_OK)
        pem = last_certificate(curl);
    if (rc != CURLE_OK)
        fail(rc, complaint, url, error);
    else if (!pem)
        g_set_error(error, US_ERROR, US_ERROR_PROTOCOL,
                    "what answers at %s shows no authority: it is not a controller", url);
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    return pem;
}
