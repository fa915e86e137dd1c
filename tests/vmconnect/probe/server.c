/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DRIP_MS 1

struct Server {
    uv_tcp_t tcp;
    ServerManner manner;
    const char *text;
    const char *more;
    guint16 port;
    char *url;
    GPtrArray *visits;
    guint came;
    guint left;
    gboolean closed; /* uv has let go of tcp */
};

typedef struct {
    Server *server;
    uv_tcp_t tcp;
    uv_timer_t drip;
    uv_write_t write;
    uv_shutdown_t shutdown;
    char in[4096];
    gsize said; /* bytes of `text` */
    gboolean begun;
    guint handles;
} Visit;

static void try_free(Server *s)
{
    if (!s->closed || s->visits->len > 0)
        return;
    g_ptr_array_unref(s->visits);
    g_free(s->url);
    g_free(s);
}

static void on_visit_closed(uv_handle_t *handle)
{
    Visit *v = handle->data;
    Server *s = v->server;

    if (--v->handles > 0)
        return;
    g_ptr_array_remove_fast(s->visits, v);
    s->left++;
    g_free(v);
    try_free(s);
}

static void visit_close(Visit *v)
{
    if (uv_is_closing((uv_handle_t *)&v->tcp))
        return;
    uv_close((uv_handle_t *)&v->tcp, on_visit_closed);
    uv_close((uv_handle_t *)&v->drip, on_visit_closed);
}

static void say(Visit *v, const char *text, gsize len, uv_write_cb on_said)
{
    uv_buf_t buf = uv_buf_init((char *)text, (guint)len);

    v->write.data = v;
    if (uv_write(&v->write, (uv_stream_t *)&v->tcp, &buf, 1, on_said) != 0)
        visit_close(v);
}

static void on_shut(uv_shutdown_t *request, int status)
{
    (void)status;
    visit_close(request->data);
}

/* What was said arrives whole: no reset overtakes it. */
static void on_last_said(uv_write_t *request, int status)
{
    Visit *v = request->data;

    v->shutdown.data = v;
    if (status != 0 || uv_shutdown(&v->shutdown, (uv_stream_t *)&v->tcp, on_shut) != 0)
        visit_close(v);
}

static void on_more_said(uv_write_t *request, int status)
{
    Visit *v = request->data;

    if (status != 0)
        visit_close(v);
    else
        say(v, v->server->more, strlen(v->server->more), on_more_said);
}

static void on_drip(uv_timer_t *timer);

static void on_drop_said(uv_write_t *request, int status)
{
    Visit *v = request->data;

    if (status != 0)
        visit_close(v);
    else
        uv_timer_start(&v->drip, on_drip, DRIP_MS, 0);
}

static void on_drip(uv_timer_t *timer)
{
    Visit *v = timer->data;
    gsize left = strlen(v->server->text) - v->said;

    say(v, v->server->text + v->said++, 1, left == 1 ? on_last_said : on_drop_said);
}

static void begin(Visit *v)
{
    const Server *s = v->server;

    v->begun = TRUE;
    if (s->manner == SERVER_SAYS || s->manner == SERVER_BLURTS)
        say(v, s->text, strlen(s->text), on_last_said);
    else if (s->manner == SERVER_ENDLESS)
        say(v, s->text, strlen(s->text), on_more_said);
    else if (s->manner == SERVER_DRIPS)
        uv_timer_start(&v->drip, on_drip, DRIP_MS, 0);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    Visit *v = handle->data;

    (void)suggested;
    *buf = uv_buf_init(v->in, sizeof(v->in));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    Visit *v = stream->data;

    (void)buf;
    if (n < 0)
        visit_close(v);
    else if (n > 0 && !v->begun)
        begin(v);
}

static void on_visit(uv_stream_t *door, int status)
{
    Server *s = door->data;
    Visit *v = g_new0(Visit, 1);

    g_assert_cmpint(status, ==, 0);
    v->server = s;
    v->handles = 2;
    uv_tcp_init(door->loop, &v->tcp);
    uv_timer_init(door->loop, &v->drip);
    v->tcp.data = v->drip.data = v;
    g_ptr_array_add(s->visits, v);
    s->came++;
    g_assert_cmpint(uv_accept(door, (uv_stream_t *)&v->tcp), ==, 0);
    if (s->manner == SERVER_CLOSES) {
        visit_close(v);
        return;
    }
    uv_read_start((uv_stream_t *)&v->tcp, give_room, on_read);
    if (s->manner == SERVER_BLURTS)
        begin(v);
}

Server *server_new(uv_loop_t *loop, ServerManner manner, const char *text, const char *more)
{
    Server *s = g_new0(Server, 1);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int len = sizeof(at);

    s->manner = manner;
    s->text = text ? text : "";
    s->more = more ? more : "";
    s->visits = g_ptr_array_new();
    uv_tcp_init(loop, &s->tcp);
    s->tcp.data = s;
    g_assert_cmpint(uv_tcp_bind(&s->tcp, (struct sockaddr *)&at, 0), ==, 0);
    g_assert_cmpint(uv_listen((uv_stream_t *)&s->tcp, 16, on_visit), ==, 0);
    g_assert_cmpint(uv_tcp_getsockname(&s->tcp, (struct sockaddr *)&at, &len), ==, 0);
    s->port = ntohs(at.sin_port);
    s->url = g_strdup_printf("http://127.0.0.1:%u/", s->port);
    return s;
}

guint16 server_port(const Server *s)
{
    return s->port;
}

const char *server_url(const Server *s)
{
    return s->url;
}

guint server_came(const Server *s)
{
    return s->came;
}

guint server_left(const Server *s)
{
    return s->left;
}

static void on_closed(uv_handle_t *handle)
{
    Server *s = handle->data;

    s->closed = TRUE;
    try_free(s);
}

void server_close(Server *s)
{
    for (guint i = 0; i < s->visits->len; i++)
        visit_close(s->visits->pdata[i]);
    uv_close((uv_handle_t *)&s->tcp, on_closed);
}

guint16 dead_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(bind(fd, (struct sockaddr *)&at, sizeof(at)), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&at, &len), ==, 0);
    close(fd);
    return ntohs(at.sin_port);
}
