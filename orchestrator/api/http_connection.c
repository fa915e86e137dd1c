/* SPDX-License-Identifier: Apache-2.0 */
/* One connection. Happy path: a head comes, its owner lets it pass, the body
 * comes, the handler gets the request, answers, the answer goes out, the next
 * head comes. Every phase has a deadline that no drip of bytes moves.
 *
 * A refused request's body is not read by anybody, but is taken off the wire for
 * a moment: closing with unread data makes the kernel send a reset, which
 * destroys the answer on its way. */
#include "orchestrator/api/http_internal.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#include <poll.h>
#include <string.h>

#define DRAIN_MS 2000
#define CHUNK_BYTES (16 * 1024)
#define HEAD_BYTES 2048

static void enter(HttpConnection *c, HttpPhase phase, gint64 within_ms)
{
    c->phase = phase;
    c->deadline_ms = within_ms < 0 ? G_MAXINT64 : clock_steady_ms() + within_ms;
    /* The library's own timers move with each byte, or end what may wait: ours stand alone. */
    lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0);
}

int http_connection_open(HttpServer *server, struct lws *wsi)
{
    HttpConnection *c = g_new0(HttpConnection, 1);

    c->server = server;
    c->wsi = wsi;
    c->link.data = c;
    c->deadline_ms = clock_steady_ms() + server->config.head_timeout_ms;
    g_queue_push_tail_link(&server->connections, &c->link);
    lws_set_opaque_user_data(wsi, c);
    return 0;
}

void http_connection_closed(HttpConnection *c)
{
    lws_set_opaque_user_data(c->wsi, NULL);
    g_queue_unlink(&c->server->connections, &c->link);
    c->server->leaving -= c->leaving;
    if (c->request)
        c->request->connection = NULL;
    /* While it is worked on it is its handler's. */
    if (c->phase != HTTP_PHASE_WORK)
        http_request_free(c->request);
    g_free(c);
}

static void refuse(HttpConnection *c, guint status, const GError *error)
{
    c->last = TRUE;
    http_request_refuse(c->request, status, error);
}

static int hand_over(HttpConnection *c)
{
    enter(c, HTTP_PHASE_WORK, -1);
    /* Nothing may be read meanwhile: what a client sends early would be offered again and again. */
    lws_rx_flow_control(c->wsi, 0);
    c->server->config.on_request(c->request, c->server->config.user);
    return 0;
}

int http_connection_head(HttpConnection *c, const char *path)
{
    const HttpConfig *config = &c->server->config;
    g_autoptr(GError) error = NULL;
    guint status;

    g_assert(!c->request);
    c->request = http_request_new(c, path, &status, &error);
    if (status == 0 && config->on_head)
        status = config->on_head(c->request, config->user, &error);
    c->known |= status == 0;
    if (status == 0 && c->request->len_bytes > config->max_body_bytes) {
        status = 413;
        g_set_error(&error, US_ERROR, US_ERROR_USAGE,
                    "a body of %" G_GSIZE_FORMAT " bytes is longer than the %" G_GSIZE_FORMAT " allowed",
                    c->request->len_bytes, config->max_body_bytes);
    }
    /* After a body the library's state is not fit for another request. */
    c->last = c->request->method != HTTP_GET || c->request->len_bytes > 0;
    if (status != 0) {
        refuse(c, status, error);
        return 0;
    }
    if (c->request->len_bytes == 0)
        return hand_over(c);
    enter(c, HTTP_PHASE_BODY, config->body_timeout_ms);
    return 0;
}

int http_connection_body(HttpConnection *c, const char *data, gsize len)
{
    if (c->phase != HTTP_PHASE_BODY)
        return 0;
    if (len > c->request->len_bytes - c->request->body->len)
        return -1;
    g_string_append_len(c->request->body, data, (gssize)len);
    return 0;
}

int http_connection_body_end(HttpConnection *c)
{
    if (c->phase != HTTP_PHASE_BODY)
        return 0;
    if (c->request->body->len != c->request->len_bytes)
        return -1;
    return hand_over(c);
}

void http_connection_answer(HttpConnection *c)
{
    enter(c, HTTP_PHASE_ANSWER, c->server->config.answer_timeout_ms);
    lws_rx_flow_control(c->wsi, 1);
    lws_callback_on_writable(c->wsi);
}

static gboolean add(struct lws *wsi, const char *name, const char *value, unsigned char **p,
                    unsigned char *end)
{
    g_autofree char *with_colon = g_strconcat(name, ":", NULL);

    return lws_add_http_header_by_name(wsi, (const unsigned char *)with_colon, (const unsigned char *)value,
                                       (int)strlen(value), p, end) == 0;
}

static gboolean write_head(HttpConnection *c)
{
    unsigned char buf[LWS_PRE + HEAD_BYTES];
    unsigned char *start = buf + LWS_PRE;
    unsigned char *p = start;
    unsigned char *end = buf + sizeof buf;
    HttpRequest *r = c->request;
    gboolean ok = lws_add_http_header_status(c->wsi, r->status, &p, end) == 0 &&
                  lws_add_http_header_content_length(c->wsi, g_bytes_get_size(r->answer), &p, end) == 0 &&
                  add(c->wsi, "content-type", r->content_type, &p, end) &&
                  add(c->wsi, "cache-control", "no-store", &p, end) &&
                  add(c->wsi, "x-content-type-options", "nosniff", &p, end) &&
                  (!c->last || add(c->wsi, "connection", "close", &p, end));

    for (guint i = 0; ok && i < r->headers->len; i += 2)
        ok = add(c->wsi, r->headers->pdata[i], r->headers->pdata[i + 1], &p, end);
    return ok && lws_finalize_write_http_header(c->wsi, start, &p, end) == 0;
}

static gboolean write_chunk(HttpConnection *c)
{
    unsigned char buf[LWS_PRE + CHUNK_BYTES];
    HttpRequest *r = c->request;
    gsize total;
    const guint8 *data = g_bytes_get_data(r->answer, &total);
    gsize len = MIN(total - r->sent_bytes, CHUNK_BYTES);
    gboolean end = r->sent_bytes + len == total;

    if (len > 0)
        memcpy(buf + LWS_PRE, data + r->sent_bytes, len);
    r->sent_bytes += len;
    return lws_write(c->wsi, buf + LWS_PRE, len, end ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) >= (int)len;
}

static int finish(HttpConnection *c)
{
    gboolean unread = c->request->len_bytes > c->request->body->len || c->request->status == 411;

    g_clear_pointer(&c->request, http_request_free);
    if (c->last && unread) {
        enter(c, HTTP_PHASE_DRAIN, DRAIN_MS);
        return 0;
    }
    if (c->last || lws_http_transaction_completed(c->wsi))
        return -1;
    enter(c, HTTP_PHASE_HEAD, c->server->config.idle_timeout_ms + c->server->config.head_timeout_ms);
    return 0;
}

int http_connection_writable(HttpConnection *c)
{
    HttpRequest *r = c->request;

    if (c->phase != HTTP_PHASE_ANSWER)
        return 0;
    if (!r->head_sent) {
        r->head_sent = TRUE;
        if (!write_head(c))
            return -1;
    } else if (!write_chunk(c)) {
        return -1;
    }
    if (r->sent_bytes == g_bytes_get_size(r->answer) && (r->sent_bytes > 0 || r->head_sent))
        return finish(c);
    lws_callback_on_writable(c->wsi);
    return 0;
}

int http_connection_refuse_upgrade(HttpConnection *c)
{
    static const char BODY[] = "{\"code\":\"unsupported\",\"text\":\"nothing is served over an upgrade\"}";
    g_autofree char *text = g_strdup_printf("HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
                                            "content-length: %zu\r\nconnection: close\r\n\r\n%s",
                                            sizeof BODY - 1, BODY);
    gsize len = strlen(text);
    g_autofree unsigned char *buf = g_malloc(LWS_PRE + len + 1);

    /* An unknown kind was answered by the library already. */
    if (!lws_hdr_total_length(c->wsi, WSI_TOKEN_UPGRADE))
        return -1;
    memcpy(buf + LWS_PRE, text, len + 1);
    lws_write(c->wsi, buf + LWS_PRE, len, LWS_WRITE_HTTP_HEADERS);
    return -1;
}

static gboolean client_left(const HttpConnection *c)
{
    struct pollfd p = {.fd = lws_get_socket_fd(c->wsi), .events = POLLRDHUP};

    return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void end(HttpConnection *c)
{
    lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

/* Who has shown no token yet must not keep others out by being many. */
static gboolean push_out_oldest(HttpServer *server)
{
    for (GList *l = server->connections.head; l; l = l->next) {
        HttpConnection *c = l->data;

        if (c->known || c->leaving)
            continue;
        c->leaving = TRUE;
        server->leaving++;
        end(c);
        return TRUE;
    }
    return FALSE;
}

/* The library is through with one that leaves a turn later: only so many may do so at a time. */
gboolean http_connections_make_room(HttpServer *server)
{
    guint staying = server->connections.length - server->leaving;

    if (staying < server->config.max_connections)
        return TRUE;
    return server->leaving < HTTP_SPARE_CONNECTIONS && push_out_oldest(server);
}

void http_connections_sweep(HttpServer *server, gint64 now_ms)
{
    for (GList *l = server->connections.head, *next; l; l = next) {
        HttpConnection *c = l->data;

        next = l->next;
        /* While nothing is read the library does not see a client leave. */
        if (c->deadline_ms <= now_ms || (c->phase == HTTP_PHASE_WORK && client_left(c)))
            end(c);
    }
}
