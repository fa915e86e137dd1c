/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: the thread sets up one handle, performs it, judges what came of it and brings that to the loop. A mail that
 * some server does not take for all of its recipients is performed once for each. A cancelled
 * one is seen by libcurl's progress callback, which is called at least once a second also while nothing moves. */
#include "orchestrator/notify/carrier.h"

#include "orchestrator/notify/line.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/loop/aside.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <string.h>

#define CONNECT_MS 15000L
#define MAX_ANSWER_BYTES ((gsize)64 * 1024) /* of heads, and of bodies; the rest is not read */
#define SAID_BYTES 200
/* libcurl keeps its own deadline; this is for what it cannot. A mail server's answer to QUIT is waited for beyond it. */
#define GRACE_MS 10000

/* The thread's, and the loop's where it is atomic. */
typedef struct {
    CarrierOrder *order;
    atomic_bool cancelled;
    gsize sent; /* of a mail's body */
    gsize head_bytes, body_bytes;
    GString *said; /* the last refusal of an SMTP server, the beginning of an HTTP body */
    char complaint[CURL_ERROR_SIZE];
    atomic_uint refs;
} Trip;

struct Carrier {
    Trip *trip;
    CarrierDone on_done; /* NULL: cancelled */
    void *user;
};

CarrierOrder *carrier_order_new(void)
{
    return g_new0(CarrierOrder, 1);
}

void carrier_order_free(CarrierOrder *o)
{
    if (!o)
        return;
    g_free(o->url);
    g_free(o->ca);
    g_free(o->user);
    g_free(o->password);
    g_free(o->from);
    g_strfreev(o->to);
    g_strfreev(o->headers);
    g_free(o->body);
    g_free(o);
}

static void trip_unref(void *data)
{
    Trip *t = data;

    if (atomic_fetch_sub(&t->refs, 1) > 1)
        return;
    carrier_order_free(t->order);
    g_string_free(t->said, TRUE);
    g_free(t);
}

static void outcome_free(void *data)
{
    Outcome *o = data;

    g_clear_error(&o->error);
    json_decref(o->missed);
    g_free(o);
}

/* --- on the thread --------------------------------------------------------- */

static size_t on_head(char *data, size_t size, size_t count, void *user)
{
    Trip *t = user;
    gsize len = size * count;

    t->head_bytes += len;
    if (t->head_bytes > MAX_ANSWER_BYTES)
        return 0;
    /* The last refusal: behind it comes the goodbye. */
    if (t->order->mail && len > 0 && (data[0] == '4' || data[0] == '5')) {
        g_string_truncate(t->said, 0);
        g_string_append_len(t->said, data, (gssize)MIN(len, SAID_BYTES));
    }
    return len;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    Trip *t = user;
    gsize len = size * count;

    t->body_bytes += len;
    if (t->said->len < SAID_BYTES && !t->order->mail)
        g_string_append_len(t->said, data, (gssize)MIN(len, SAID_BYTES - t->said->len));
    return t->body_bytes > MAX_ANSWER_BYTES ? 0 : len;
}

static size_t on_wanted(char *data, size_t size, size_t count, void *user)
{
    Trip *t = user;
    gsize len = MIN(size * count, strlen(t->order->body) - t->sent);

    memcpy(data, t->order->body + t->sent, len);
    t->sent += len;
    return len;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    Trip *t = user;

    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(&t->cancelled);
}

static void settle(CURL *curl, Trip *t)
{
    const CarrierOrder *o = t->order;
    struct curl_blob ca = {o->ca, o->ca ? strlen(o->ca) : 0, CURL_BLOB_NOCOPY};

    curl_easy_setopt(curl, CURLOPT_URL, o->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, o->mail ? "smtp,smtps" : "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    /* A look-up that hangs is left behind, not waited for. */
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->complaint);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    if (o->ca)
        curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &ca);
}

static struct curl_slist *list_of(char *const *texts)
{
    struct curl_slist *list = NULL;

    for (; texts && *texts; texts++)
        list = curl_slist_append(list, *texts);
    return list;
}

/* For each answer of a mail server. */
static long answer_s(const CarrierOrder *o)
{
    return MAX(1, (long)(o->timeout_ms / 2000));
}

static void settle_mail(CURL *curl, Trip *t)
{
    const CarrierOrder *o = t->order;

    curl_easy_setopt(curl, CURLOPT_SERVER_RESPONSE_TIMEOUT, answer_s(o));
    /* Else it says QUIT when the handle is cleaned up, and waits as long as it pleases. */
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)(o->tls ? CURLUSESSL_ALL : CURLUSESSL_NONE));
    if (o->user) {
        curl_easy_setopt(curl, CURLOPT_USERNAME, o->user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, o->password);
    }
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, o->from);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_wanted);
    curl_easy_setopt(curl, CURLOPT_READDATA, t);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
}

static CURLcode perform_post(CURL *curl, Trip *t)
{
    struct curl_slist *headers = list_of(t->order->headers);
    CURLcode rc;

    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)t->order->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(t->order->body));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, t->order->body);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    rc = curl_easy_perform(curl);
    curl_slist_free_all(headers);
    return rc;
}

/* --- what came of it ------------------------------------------------------- */

static const struct {
    CURLcode rc;
    UsError code;
    const char *why; /* NULL: in libcurl's words */
} FAILURES[] = {
    {CURLE_COULDNT_RESOLVE_HOST, US_ERROR_UNREACHABLE,
     "its name cannot be resolved: correct it, or look at this machine's name servers"},
    {CURLE_COULDNT_CONNECT, US_ERROR_UNREACHABLE,
     "nobody takes the connection: look whether the server runs, at its port, and what filters packets "
     "between"},
    {CURLE_OPERATION_TIMEDOUT, US_ERROR_TIMEOUT,
     "no answer in time: look at the server, and what filters packets between"},
    {CURLE_PEER_FAILED_VERIFICATION, US_ERROR_DENIED,
     "its certificate is not believed: give the authority with --ca FILE, or name the server as its "
     "certificate does"},
    {CURLE_SSL_CONNECT_ERROR, US_ERROR_FAILED,
     "TLS with it cannot be begun: look at its port, and whether TLS begins at once there (smtps, https)"},
    {CURLE_USE_SSL_FAILED, US_ERROR_DENIED,
     "it offers no TLS and nothing was told to it: let it offer STARTTLS, or --tls never if the line is "
     "safe"},
    {CURLE_LOGIN_DENIED, US_ERROR_DENIED, "it refuses user and password: correct them"},
};

static void fail_by_server(const Trip *t, long status, CURLcode rc, GError **error)
{
    g_autofree char *said = line_of(t->said->str, SAID_BYTES);
    const char *shown = g_strstrip(said);

    if (!t->order->mail && status >= 300 && status < 400)
        g_set_error(error, US_ERROR, US_ERROR_FAILED,
                    "it answers with a redirection (status %ld), which is not followed: take the final URL",
                    status);
    else if (status > 0)
        g_set_error(error, US_ERROR, US_ERROR_FAILED, "it does not take it: status %ld%s%s", status,
                    *shown ? ": " : "", shown);
    else
        g_set_error(error, US_ERROR, US_ERROR_FAILED, "the dialogue broke off: %s",
                    t->complaint[0] ? t->complaint : curl_easy_strerror(rc));
}

/* Does a webhook's status say that it is this message that it does not take, and not whom it is from, where it goes, or when? */
static gboolean is_about_message(long status)
{
    static const long OTHERS[] = {401, 403, 404, 408, 410, 429};

    for (guint i = 0; i < G_N_ELEMENTS(OTHERS); i++)
        if (status == OTHERS[i])
            return FALSE;
    return status >= 400 && status < 500;
}

/* A no to what it has read: of a mail, after all of its body. */
static gboolean is_refused(const Trip *t, long status, CURLcode rc)
{
    if (t->order->mail)
        return t->sent > 0 && t->sent == strlen(t->order->body) && status >= 500 && status < 600;
    return rc == CURLE_OK && is_about_message(status);
}

static GError *judge(CURL *curl, const Trip *t, CURLcode rc, gboolean *ret_refused)
{
    GError *error = NULL;
    long status = 0;

    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    /* A mail is taken when the dialogue says so; of HTTP the status counts, however much comes behind it. */
    if (t->order->mail ? rc == CURLE_OK
                       : status >= 200 && status < 300 && (rc == CURLE_OK || t->body_bytes > 0))
        return NULL;
    for (guint i = 0; i < G_N_ELEMENTS(FAILURES); i++)
        if (FAILURES[i].rc == rc) {
            g_set_error_literal(&error, US_ERROR, (int)FAILURES[i].code, FAILURES[i].why);
            return error;
        }
    *ret_refused = is_refused(t, status, rc);
    /* Of a dialogue of mail, what was said last may have been a yes. */
    fail_by_server(t,
                   t->order->mail   ? (status >= 400 ? status : 0)
                   : rc == CURLE_OK ? status
                                    : 0,
                   rc, &error);
    return error;
}

/* --- to whom ---------------------------------------------------------------- */

static Outcome send_mail(CURL *curl, Trip *t, char *const *recipients, gint64 left_ms, CURLcode *ret_rc)
{
    struct curl_slist *to = list_of(recipients);
    Outcome outcome = {0};

    t->sent = t->head_bytes = 0;
    t->complaint[0] = '\0';
    g_string_truncate(t->said, 0);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)left_ms);
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
    *ret_rc = curl_easy_perform(curl);
    outcome.error = judge(curl, t, *ret_rc, &outcome.refused);
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, NULL);
    curl_slist_free_all(to);
    return outcome;
}

/* A dialogue that the server ended with a no before it had the mail: it may take it for some of them. */
static gboolean may_suit_some(const Trip *t, CURLcode rc)
{
    return rc == CURLE_SEND_ERROR && t->said->len > 0 && g_strv_length(t->order->to) > 1;
}

/* What it does not take for one of them, or what there is no time for, is his alone, if somebody has it. If nobody has, and
 * some refuse the mail itself, it is his alone whose mailbox is gone, or who was not reached: he may take it one day. */
static void send_one_by_one(CURL *curl, Trip *t, gint64 end_ms, Outcome *outcome)
{
    json_auto_t *refused = json_object();
    json_auto_t *others = json_object();
    guint had = 0;

    for (char *const *to = t->order->to; *to && !atomic_load(&t->cancelled); to++) {
        char *const one[] = {*to, NULL};
        gint64 left_ms = clock_left_ms(end_ms);
        Outcome his = {0};
        CURLcode rc;

        if (left_ms > 0)
            his = send_mail(curl, t, one, left_ms, &rc);
        else
            his.error =
                g_error_new(US_ERROR, US_ERROR_TIMEOUT, "the others have taken all the time there is");
        had += his.error == NULL;
        if (his.error)
            json_object_set_new(his.refused ? refused : others, *to, json_string(his.error->message));
        if (his.error && (!outcome->error || his.refused > outcome->refused)) {
            g_clear_error(&outcome->error);
            outcome->error = g_steal_pointer(&his.error);
            outcome->refused = his.refused;
        }
        g_clear_error(&his.error);
    }
    if (had > 0) {
        json_object_update(others, refused);
        g_clear_error(&outcome->error);
        outcome->refused = FALSE;
    }
    if ((had > 0 || outcome->refused) && json_object_size(others) > 0)
        outcome->missed = g_steal_pointer(&others);
}

static void carry_mail(CURL *curl, Trip *t, Outcome *outcome)
{
    gint64 end_ms = clock_steady_ms() + t->order->timeout_ms;
    CURLcode rc;

    settle_mail(curl, t);
    *outcome = send_mail(curl, t, t->order->to, t->order->timeout_ms, &rc);
    if (!outcome->error || !may_suit_some(t, rc))
        return;
    g_clear_error(&outcome->error);
    send_one_by_one(curl, t, end_ms, outcome);
}

static gpointer run(gpointer request)
{
    Trip *t = request;
    Outcome *outcome = g_new0(Outcome, 1);
    CURL *curl = curl_easy_init();

    g_assert(curl);
    settle(curl, t);
    if (t->order->mail)
        carry_mail(curl, t, outcome);
    else
        outcome->error = judge(curl, t, perform_post(curl, t), &outcome->refused);
    curl_easy_cleanup(curl);
    return outcome;
}

/* --- on the loop ------------------------------------------------------------ */

static void on_aside(void *user, gpointer result)
{
    Carrier *c = user;
    Outcome *outcome = result;

    if (!outcome) {
        outcome = g_new0(Outcome, 1);
        outcome->error = g_error_new(US_ERROR, US_ERROR_TIMEOUT, "no answer in time");
    }
    if (c->on_done)
        c->on_done(c->user, outcome);
    atomic_store(&c->trip->cancelled, TRUE);
    trip_unref(c->trip);
    outcome_free(outcome);
    g_free(c);
}

Carrier *carrier_start(uv_loop_t *loop, CarrierOrder *order, CarrierDone on_done, void *user)
{
    Carrier *c = g_new0(Carrier, 1);
    Trip *t = g_new0(Trip, 1);
    AsideWork work = {.timeout_ms = order->timeout_ms + 1000 * answer_s(order) + GRACE_MS,
                      .work = run,
                      .request = t,
                      .free_request = trip_unref,
                      .free_result = outcome_free};

    t->order = order;
    t->said = g_string_new(NULL);
    atomic_init(&t->refs, 2);
    *c = (Carrier){t, on_done, user};
    aside_run(loop, &work, on_aside, c);
    return c;
}

void carrier_cancel(Carrier *carrier)
{
    if (!carrier)
        return;
    carrier->on_done = NULL;
    atomic_store(&carrier->trip->cancelled, TRUE);
}
