/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/orchestrator/api/stage.h"

#include "vmconnect/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

/* --- keys --- */

static StageKeys keys;

static void sh(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void sh(const char *format, ...)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *script = NULL;
    const char *argv[] = {"sh", "-ec", NULL, NULL};
    int status;
    va_list args;

    va_start(args, format);
    script = g_strdup_vprintf(format, args);
    va_end(args);
    argv[2] = script;
    g_assert_true(g_spawn_sync(keys.dir, (char **)argv, NULL,
                               G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL, NULL,
                               &status, &error));
    g_assert_cmpint(status, ==, 0);
}

static char *slurp(const char *name)
{
    g_autofree char *path = g_build_filename(keys.dir, name, NULL);
    char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static void issue(const char *name, const char *cn, const char *san)
{
    sh("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key -out %s.csr -subj "
       "/CN=%s\n"
       "printf 'subjectAltName=%s\\n' >%s.ext\n"
       "openssl x509 -req -in %s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile %s.ext -out "
       "%s.pem\n",
       name, name, cn, san, name, name, name, name);
}

const StageKeys *stage_keys(void)
{
    if (keys.dir)
        return &keys;
    keys.dir = g_dir_make_tmp("understudy-stage-XXXXXX", NULL);
    sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem "
       "-days 30 "
       "-subj /CN=stage-ca\n"
       "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout stranger.key -out "
       "stranger.pem "
       "-days 30 -subj /CN=stranger\n");
    issue("server", "localhost", "DNS:localhost,IP:127.0.0.1");
    keys.ca = slurp("ca.pem");
    sh("cat server.pem ca.pem >chain.pem");
    keys.server_certificate = slurp("chain.pem"); /* shows its authority, as the controller does */
    keys.server_key = slurp("server.key");
    keys.stranger_certificate = slurp("stranger.pem");
    keys.stranger_key = slurp("stranger.key");
    return &keys;
}

void stage_keys_free(void)
{
    if (!keys.dir)
        return;
    sh("rm -rf -- \"$PWD\"");
    g_free(keys.dir);
    g_free(keys.ca);
    g_free(keys.server_certificate);
    g_free(keys.server_key);
    g_free(keys.stranger_certificate);
    g_free(keys.stranger_key);
    memset(&keys, 0, sizeof keys);
}

/* --- server --- */

struct Stage {
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t bell;
    uv_mutex_t lock;
    uv_cond_t done;
    void (*call)(void *user);
    void *call_user;
    HttpConfig config;
    HttpServer *server;
    guint16 port;
    gboolean ready;
};

static void on_bell(uv_async_t *bell)
{
    Stage *stage = bell->data;

    uv_mutex_lock(&stage->lock);
    if (stage->call) {
        stage->call(stage->call_user);
        stage->call = NULL;
        uv_cond_signal(&stage->done);
    }
    uv_mutex_unlock(&stage->lock);
}

static void run(void *data)
{
    Stage *stage = data;
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(uv_loop_init(&stage->loop), ==, 0);
    uv_async_init(&stage->loop, &stage->bell, on_bell);
    stage->bell.data = stage;
    stage->server = http_server_new(&stage->loop, &stage->config, &error);
    g_assert_no_error(error);
    uv_mutex_lock(&stage->lock);
    stage->port = http_server_port(stage->server);
    stage->ready = TRUE;
    uv_cond_signal(&stage->done);
    uv_mutex_unlock(&stage->lock);
    uv_run(&stage->loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&stage->loop), ==, 0);
}

Stage *stage_new(const HttpConfig *config)
{
    Stage *stage = g_new0(Stage, 1);
    const StageKeys *k = stage_keys();

    stage->config = *config;
    stage->config.address = "127.0.0.1";
    stage->config.certificate = k->server_certificate;
    stage->config.key = k->server_key;
    uv_mutex_init(&stage->lock);
    uv_cond_init(&stage->done);
    uv_mutex_lock(&stage->lock);
    g_assert_cmpint(uv_thread_create(&stage->thread, run, stage), ==, 0);
    while (!stage->ready)
        uv_cond_wait(&stage->done, &stage->lock);
    uv_mutex_unlock(&stage->lock);
    return stage;
}

guint16 stage_port(const Stage *stage)
{
    return stage->port;
}

HttpServer *stage_server(Stage *stage)
{
    return stage->server;
}

void stage_call(Stage *stage, void (*call)(void *user), void *user)
{
    uv_mutex_lock(&stage->lock);
    stage->call = call;
    stage->call_user = user;
    uv_async_send(&stage->bell);
    while (stage->call)
        uv_cond_wait(&stage->done, &stage->lock);
    uv_mutex_unlock(&stage->lock);
}

gint64 stage_cpu_ms(Stage *stage)
{
    struct timespec ts;
    clockid_t id;

    g_assert_cmpint(pthread_getcpuclockid(stage->thread, &id), ==, 0);
    clock_gettime(id, &ts);
    return (gint64)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void on_closed(void *user)
{
    Stage *stage = user;

    uv_close((uv_handle_t *)&stage->bell, NULL);
}

static void close_server(void *user)
{
    Stage *stage = user;

    http_server_close(stage->server, on_closed, stage);
}

void stage_free(Stage *stage)
{
    if (!stage)
        return;
    stage_call(stage, close_server, stage);
    g_assert_cmpint(uv_thread_join(&stage->thread), ==, 0);
    uv_mutex_destroy(&stage->lock);
    uv_cond_destroy(&stage->done);
    g_free(stage);
}

/* --- client --- */

Caller *caller_dial(const Stage *stage)
{
    Caller *c = g_new0(Caller, 1);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(stage->port)};

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(c->fd, (struct sockaddr *)&addr, sizeof addr), ==, 0);
    return c;
}

Caller *caller_open(const Stage *stage)
{
    static const unsigned char ALPN[] = "\x02h2\x08http/1.1";
    g_autoptr(Caller) c = caller_dial(stage);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct timeval limit = {.tv_sec = 10};

    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    SSL_CTX_set_alpn_protos(ctx, ALPN, sizeof ALPN - 1);
    c->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set_fd(c->ssl, c->fd);
    if (SSL_connect(c->ssl) != 1) {
        ERR_clear_error();
        return NULL;
    }
    return g_steal_pointer(&c);
}

void caller_free(Caller *c)
{
    if (!c)
        return;
    if (c->ssl)
        SSL_free(c->ssl);
    close(c->fd);
    g_free(c);
}

gboolean caller_send(Caller *c, const char *data, gssize len)
{
    gsize left = len < 0 ? strlen(data) : (gsize)len;

    while (left > 0) {
        int n = c->ssl ? SSL_write(c->ssl, data, (int)MIN(left, 65536))
                       : (int)send(c->fd, data, MIN(left, 65536), MSG_NOSIGNAL);

        if (n <= 0) {
            ERR_clear_error();
            return FALSE;
        }
        data += n;
        left -= (gsize)n;
    }
    return TRUE;
}

gboolean caller_sendf(Caller *c, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    return caller_send(c, text, -1);
}

/* Bytes read, 0 at the end (also by a reset), -1 when @deadline_ms passed. */
static int read_some(Caller *c, char *buf, int size, gint64 deadline_ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    struct timeval limit;
    gint64 left = deadline_ms - clock_steady_ms();
    int n;

    if (left <= 0)
        return -1;
    if (!(c->ssl && SSL_pending(c->ssl)) && poll(&p, 1, (int)left) <= 0)
        return -1;
    limit = (struct timeval){.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000 + 1};
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    n = c->ssl ? SSL_read(c->ssl, buf, size) : (int)recv(c->fd, buf, (gsize)size, 0);
    if (n > 0)
        return n;
    if (c->ssl && SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ)
        return -1;
    ERR_clear_error();
    return 0;
}

gboolean caller_sees_end(Caller *c, gint64 timeout_ms)
{
    gint64 deadline_ms = clock_steady_ms() + timeout_ms;
    char buf[4096];
    int n;

    while ((n = read_some(c, buf, sizeof buf, deadline_ms)) > 0)
        ;
    return n == 0;
}

static gsize announced(const char *head)
{
    const char *at = strcasestr(head, "content-length:");

    return at ? g_ascii_strtoull(at + strlen("content-length:"), NULL, 10) : 0;
}

Answer *caller_answer(Caller *c, gint64 timeout_ms)
{
    gint64 deadline_ms = clock_steady_ms() + timeout_ms;
    g_autoptr(GString) all = g_string_new(NULL);
    Answer *answer = g_new0(Answer, 1);
    char *end = NULL;
    char buf[1];
    int n = 1;

    /* Byte by byte: what follows belongs to the next answer. */
    while (!(end = strstr(all->str, "\r\n\r\n")) && (n = read_some(c, buf, 1, deadline_ms)) > 0)
        g_string_append_c(all, buf[0]);
    g_assert_cmpint(n, >=, 0);
    if (!end)
        return answer;
    answer->head = g_strdup(all->str);
    answer->len = announced(answer->head);
    answer->body = g_malloc0(answer->len + 1);
    for (gsize got = 0; got < answer->len; got += (gsize)n) {
        n = read_some(c, answer->body + got, (int)(answer->len - got), deadline_ms);
        g_assert_cmpint(n, >=, 0);
        if (n == 0)
            return answer;
    }
    answer->status = (guint)atoi(answer->head + strlen("HTTP/1.1 "));
    return answer;
}

void answer_free(Answer *answer)
{
    g_free(answer->head);
    g_free(answer->body);
    g_free(answer);
}

Answer *stage_ask(const Stage *stage, const char *method, const char *path, const char *token,
                  const char *body)
{
    g_autoptr(Caller) c = caller_open(stage);

    g_assert_nonnull(c);
    caller_sendf(c, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path);
    if (token)
        caller_sendf(c, "Authorization: Bearer %s\r\n", token);
    if (body)
        caller_sendf(c, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    else
        caller_send(c, "\r\n", -1);
    return caller_answer(c, 10000);
}
