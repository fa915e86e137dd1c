/* SPDX-License-Identifier: Apache-2.0 */
/* http - an HTTPS server on the controller's loop.
 *
 * HTTP/1.1 over TLS, JSON or bytes out, one whole body in; the http files are the
 * only ones that know which library does it. It knows nothing of paths, tokens or
 * operations: that is api.h. Every phase of a connection has a deadline of ours and every
 * size a limit, so that a slow, silent or hostile client costs one connection
 * at most. A WebSocket upgrade is refused on every path. All calls and
 * callbacks on the loop's thread. */
#pragma once

#include <glib.h>
#include <uv.h>

typedef enum {
    HTTP_GET,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
} HttpMethod;

/* `GET`; in routes.c, since clients need it too. */
const char *http_method_name(HttpMethod method);

typedef struct HttpServer HttpServer;

/* One request. It lives until it is answered, exactly once, whatever becomes of
 * the client or the server meanwhile: an answer to a client that is gone is dropped. */
typedef struct HttpRequest HttpRequest;

typedef struct {
    const char *address; /* numeric address to bind; NULL: every IPv4 address, "::": IPv6 too */
    guint16 port;        /* 0: the kernel chooses, http_server_port() tells */

    const char *certificate; /* PEM, the server's own first */
    const char *key;         /* PEM */
    guint max_connections;   /* 0: 512; one more pushes out the oldest of which on_head let none pass */
    gsize max_body_bytes;    /* 0: 1 MiB; a longer body is answered 413 */
    guint head_timeout_ms;   /* 0: 8 s from connect to a whole head (TLS handshake included) */
    guint idle_timeout_ms;   /* 0: 10 s more for a connection that has been served already */
    guint body_timeout_ms;   /* 0: 30 s for the whole body */
    guint answer_timeout_ms; /* 0: 60 s for the client to take the whole answer */

    /* The head is there, the body is not: 0 to go on, or the status to refuse
     * with, @error saying why. The body of a refused request is never read. */
    guint (*on_head)(HttpRequest *request, void *user, GError **error);
    /* The whole request; answer it now or later. */
    void (*on_request)(HttpRequest *request, void *user);
    void *user;
} HttpConfig;

/* Listen. NULL with @error: USAGE for a certificate or key that is not one,
 * BUSY where the port is taken, IO otherwise. @config is copied. */
HttpServer *http_server_new(uv_loop_t *loop, const HttpConfig *config, GError **error);

guint16 http_server_port(const HttpServer *server);

/* Connections there are now. */
guint http_server_connections(const HttpServer *server);

/* Stop listening, end every connection, free. @on_closed (may be NULL) comes from
 * the loop when nothing of the server is left on it; unanswered requests are
 * still their holder's to answer. NULL @server is accepted (no callback then). */
void http_server_close(HttpServer *server, void (*on_closed)(void *user), void *user);

HttpMethod http_request_method(const HttpRequest *request);
/* Decoded, normalised (no `..`), always starting with `/`. */
const char *http_request_path(const HttpRequest *request);
/* `a=1&b=2` as it came, still percent-encoded; "" if none. */
const char *http_request_query(const HttpRequest *request);
/* What follows `Authorization: Bearer `, or NULL. */
const char *http_request_bearer(const HttpRequest *request);
/* The body, NUL-terminated beside its length; empty before on_request. */
const char *http_request_body(const HttpRequest *request, gsize *ret_len);
/* TRUE once nobody waits for the answer any more. */
gboolean http_request_is_gone(const HttpRequest *request);

/* For the layer above: a pointer of its own, freed with the request. */
void http_request_attach(HttpRequest *request, void *data, GDestroyNotify free_data);
void *http_request_attached(const HttpRequest *request);

/* One more header of the answer; neither may have CR or LF. */
void http_request_add_header(HttpRequest *request, const char *name, const char *value);

/* Answer and give @request away. @content_type as the header has it (no CR or LF);
 * @body is referenced. */
void http_request_answer(HttpRequest *request, guint status, const char *content_type, GBytes *body);
