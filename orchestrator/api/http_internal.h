/* SPDX-License-Identifier: Apache-2.0 */
/* http_internal - what the http files share among themselves.
 *
 * A connection walks HEAD → BODY → WORK → ANSWER and back to HEAD, or to its end;
 * http_connection.c. A request belongs to its connection, except while its
 * handler has it; http_request.c. */
#pragma once

#include "orchestrator/api/http.h"

#include <libwebsockets.h>

/* Room of the library's beyond max_connections, for those that are leaving. */
#define HTTP_SPARE_CONNECTIONS 64

typedef struct HttpConnection HttpConnection;

typedef enum {
    HTTP_PHASE_HEAD,   /* TLS handshake, idle, or a head that is not whole yet */
    HTTP_PHASE_BODY,   /* the body is coming */
    HTTP_PHASE_WORK,   /* the request is its handler's; nothing is read */
    HTTP_PHASE_ANSWER, /* the answer is going out */
    HTTP_PHASE_DRAIN,  /* refused: what still comes is thrown away, so that the client reads why */
} HttpPhase;

struct HttpRequest {
    HttpConnection *connection; /* NULL: the client is gone */
    HttpMethod method;
    char *path;
    char *query;
    char *bearer;
    gsize len_bytes; /* as the head announced the body */
    GString *body;

    void *attached;
    GDestroyNotify free_attached;

    guint status; /* 0: not answered */
    char *content_type;
    GPtrArray *headers; /* name, value, name, value, … */
    GBytes *answer;
    gsize sent_bytes;
    gboolean head_sent;
};

struct HttpConnection {
    HttpServer *server;
    struct lws *wsi;
    GList link; /* of server->connections */
    HttpPhase phase;
    gint64 deadline_ms; /* steady; G_MAXINT64: none */
    gboolean last;      /* no further request after this one */
    gboolean known;     /* its owner let a head of it pass */
    gboolean leaving;   /* it was pushed out; the library is closing it */
    HttpRequest *request;
};

struct HttpServer {
    uv_loop_t *loop;
    struct lws_context *context; /* NULL once the library is through with it */
    HttpConfig config;
    guint16 port;
    GQueue connections; /* of HttpConnection, oldest first */
    guint leaving;      /* of them */
    uv_timer_t sweep;   /* carries the deadlines out */
    uv_idle_t reaper;   /* takes the library down, turn by turn */
    guint reaper_turn;
    guint handles; /* of ours on the loop */
    void (*on_closed)(void *user);
    void *closed_user;
};

/* http_tls.c: make @ctx what the configuration says. FALSE with @error USAGE. */
gboolean http_tls_configure(void *ctx, const HttpConfig *config, GError **error);
/* http_request.c: out of a whole head; NULL with @error and *@ret_status for a head that cannot be served. */
HttpRequest *http_request_new(HttpConnection *connection, const char *path, guint *ret_status,
                              GError **error);
void http_request_free(HttpRequest *request);
/* Answer with {"code", "text"}. */
void http_request_refuse(HttpRequest *request, guint status, const GError *error);

/* http_connection.c: one each for what the library tells; a result other than 0 ends the connection. */
int http_connection_open(HttpServer *server, struct lws *wsi);
void http_connection_closed(HttpConnection *connection);
int http_connection_head(HttpConnection *connection, const char *path);
int http_connection_body(HttpConnection *connection, const char *data, gsize len);
int http_connection_body_end(HttpConnection *connection);
int http_connection_writable(HttpConnection *connection);
int http_connection_refuse_upgrade(HttpConnection *connection);
/* Its request has an answer now. */
void http_connection_answer(HttpConnection *connection);
/* Is there room for one more, if need be by pushing out the oldest that nobody knows? */
gboolean http_connections_make_room(HttpServer *server);
/* End those whose time is over, or whose client went while its request is worked on. */
void http_connections_sweep(HttpServer *server, gint64 now_ms);
