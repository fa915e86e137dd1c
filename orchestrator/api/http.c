/* SPDX-License-Identifier: Apache-2.0 */
/* The library's settings and its whole life: created on our loop, told to end,
 * and freed when the loop has turned often enough for its handles to be gone. */
#include "orchestrator/api/http_internal.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/listen_address.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SWEEP_MS 250
/* Turn 1 closes the connections' handles, turn 2 the library's own, and 3 finds them closed. */
#define REAPER_FREES 4

static HttpServer *server_of(struct lws *wsi)
{
    return lws_context_user(lws_get_context(wsi));
}

static int on_tls_context(struct lws *wsi, void *ctx)
{
    HttpServer *server = server_of(wsi);

    /* Checked before with a context of our own: only memory can run out here. */
    return http_tls_configure(ctx, &server->config, NULL) ? 0 : 1;
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    HttpConnection *c = wsi ? lws_get_opaque_user_data(wsi) : NULL;

    switch (reason) {
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
        return on_tls_context(wsi, user);
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
        return !http_connections_make_room(server_of(wsi));
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
        return http_connection_open(server_of(wsi), wsi);
    case LWS_CALLBACK_WSI_DESTROY:
        if (c)
            http_connection_closed(c);
        return 0;
    case LWS_CALLBACK_HTTP:
        return c ? http_connection_head(c, in) : -1;
    case LWS_CALLBACK_HTTP_BODY:
        return c ? http_connection_body(c, in, len) : -1;
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return c ? http_connection_body_end(c) : -1;
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return c ? http_connection_writable(c) : -1;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return c ? http_connection_refuse_upgrade(c) : -1;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: /* a WebSocket, on whatever path */
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_RAW_ADOPT: /* CONNECT */
    case LWS_CALLBACK_RAW_RX:
        return -1;
    default:
        return 0;
    }
}

static const struct lws_protocols PROTOCOLS[] = {{.name = "understudy", .callback = on_lws}, {NULL}};

static void on_sweep(uv_timer_t *timer)
{
    http_connections_sweep(timer->data, clock_steady_ms());
}

/* The library says only "no" of a taken port: ask the kernel first. */
static gboolean check_address(const HttpConfig *config, GError **error)
{
    struct sockaddr_storage addr;
    const char *text = config->address ? config->address : "0.0.0.0";
    socklen_t len;
    int one = 1;
    int fd;
    int rc;

    if (!listen_address_parse(text, config->port, &addr, &len, error))
        return FALSE;
    fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return us_error_errno(error, errno, "cannot listen on %s", text);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    rc = bind(fd, (struct sockaddr *)&addr, len) == 0 ? 0 : errno;
    close(fd);
    if (rc == EADDRINUSE) {
        g_set_error(
            error, US_ERROR, US_ERROR_BUSY,
            "another program listens on %s port %u: the API cannot be served; end it or choose another port",
            text, config->port);
        return FALSE;
    }
    return rc == 0 || us_error_errno(error, rc, "cannot listen on %s port %u", text, config->port);
}

static gboolean check_tls(const HttpConfig *config, GError **error)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    gboolean ok = http_tls_configure(ctx, config, error);

    SSL_CTX_free(ctx);
    return ok;
}

static void fill_defaults(HttpConfig *config)
{
    config->max_connections = config->max_connections ? config->max_connections : 512;
    config->max_body_bytes = config->max_body_bytes ? config->max_body_bytes : 1024 * 1024;
    config->head_timeout_ms = config->head_timeout_ms ? config->head_timeout_ms : 8000;
    config->idle_timeout_ms = config->idle_timeout_ms ? config->idle_timeout_ms : 10000;
    config->body_timeout_ms = config->body_timeout_ms ? config->body_timeout_ms : 30000;
    config->answer_timeout_ms = config->answer_timeout_ms ? config->answer_timeout_ms : 60000;
}

static struct lws_context *create_context(HttpServer *server)
{
    void *loops[] = {server->loop};
    gboolean v6 = server->config.address && strchr(server->config.address, ':');
    struct lws_context_creation_info info = {
        .port = server->config.port,
        .iface = server->config.address,
        .protocols = PROTOCOLS,
        .user = server,
        .gid = -1,
        .uid = -1,
        .foreign_loops = loops,
        .pcontext = &server->context,
        .alpn = "http/1.1",
        /* A slot is held by each half-open connection too: one for every connection there may be. */
        .max_http_header_pool =
            (unsigned short)MIN(server->config.max_connections + HTTP_SPARE_CONNECTIONS, G_MAXUINT16),
        .max_http_header_data = 8192,
        /* A whole TLS record must fit: the library forgets to come back for the rest of one. */
        .pt_serv_buf_size = 20 * 1024,
        /* Else a table for every descriptor that the process might open. */
        .fd_limit_per_thread = server->config.max_connections + 2 * HTTP_SPARE_CONNECTIONS,
        .timeout_secs = 60, /* not to be met: every phase has a deadline of ours */
        .keepalive_timeout = 60,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
                   LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX | LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND |
                   LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS | LWS_SERVER_OPTION_UV_NO_SIGSEGV_SIGFPE_SPIN |
                   (v6 ? 0 : LWS_SERVER_OPTION_DISABLE_IPV6),
    };

    lws_set_log_level(0, NULL);
    return lws_create_context(&info);
}

static void on_handle_closed(uv_handle_t *handle)
{
    HttpServer *server = handle->data;

    if (--server->handles > 0)
        return;
    if (server->on_closed)
        server->on_closed(server->closed_user);
    g_free((char *)server->config.address);
    g_free((char *)server->config.certificate);
    g_free((char *)server->config.key);
    g_free(server);
}

static void close_handles(HttpServer *server)
{
    uv_close((uv_handle_t *)&server->sweep, on_handle_closed);
    uv_close((uv_handle_t *)&server->reaper, on_handle_closed);
}

static void on_reaper(uv_idle_t *idle)
{
    HttpServer *server = idle->data;

    server->reaper_turn++;
    if (server->reaper_turn == 1 || (server->reaper_turn >= REAPER_FREES && server->context))
        lws_context_destroy(server->context);
    if (!server->context)
        close_handles(server);
}

static HttpServer *server_new(uv_loop_t *loop, const HttpConfig *config)
{
    HttpServer *server = g_new0(HttpServer, 1);

    server->loop = loop;
    server->config = *config;
    server->config.address = g_strdup(config->address);
    server->config.certificate = g_strdup(config->certificate);
    server->config.key = g_strdup(config->key);
    fill_defaults(&server->config);
    g_queue_init(&server->connections);
    uv_timer_init(loop, &server->sweep);
    uv_idle_init(loop, &server->reaper);
    server->sweep.data = server;
    server->reaper.data = server;
    server->handles = 2;
    return server;
}

HttpServer *http_server_new(uv_loop_t *loop, const HttpConfig *config, GError **error)
{
    HttpServer *server;

    g_assert(config->certificate && config->key && config->on_request);
    if (!check_address(config, error) || !check_tls(config, error))
        return NULL;
    server = server_new(loop, config);
    server->context = create_context(server);
    if (!server->context) {
        g_set_error(
            error, US_ERROR, US_ERROR_IO,
            "the HTTPS server cannot start on port %u: is the package libwebsockets-evlib-uv installed?",
            config->port);
        close_handles(server);
        return NULL;
    }
    server->port = (guint16)lws_get_vhost_listen_port(lws_get_vhost_by_name(server->context, "default"));
    uv_timer_start(&server->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    return server;
}

guint16 http_server_port(const HttpServer *server)
{
    return server->port;
}

guint http_server_connections(const HttpServer *server)
{
    return server->connections.length;
}

void http_server_close(HttpServer *server, void (*on_closed)(void *user), void *user)
{
    if (!server)
        return;
    server->on_closed = on_closed;
    server->closed_user = user;
    uv_timer_stop(&server->sweep);
    /* Not at once: we may be in a callback of the library. */
    uv_idle_start(&server->reaper, on_reaper);
}
