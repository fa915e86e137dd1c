/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/orchestrator/notify/sink.h"

#include "tests/orchestrator/api/stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define STEP_MS 20

struct Sink {
    SinkKind kind;
    SinkTls tls;
    SSL_CTX *context;
    guint port;
    uv_thread_t thread;
    uv_mutex_t lock;

    /* Under the lock. */
    int listener; /* -1: closed */
    SinkManner manner;
    gboolean end;
    GPtrArray *messages;
    guint connections;
    char *credentials;
    char *refused; /* a recipient; NULL: none */
    char *refused_text;
    guint status; /* … and how it is said */
};

/* A connection, the thread's. */
typedef struct {
    Sink *sink;
    int fd;
    SSL *ssl;
    char line[8192];
} Peer;

static SinkManner manner_of(Sink *s)
{
    SinkManner manner;

    uv_mutex_lock(&s->lock);
    manner = s->manner;
    uv_mutex_unlock(&s->lock);
    return manner;
}

static gboolean is_over(Sink *s)
{
    gboolean end;

    uv_mutex_lock(&s->lock);
    end = s->end;
    uv_mutex_unlock(&s->lock);
    return end;
}

/* --- bytes: everything waits in small steps, so that the end of the test is seen ------- */

static gboolean peer_wait(Peer *p, short events)
{
    while (!is_over(p->sink)) {
        struct pollfd pfd = {p->fd, events, 0};

        if (poll(&pfd, 1, STEP_MS) > 0)
            return TRUE;
    }
    return FALSE;
}

static gssize peer_read(Peer *p, char *buf, gsize len)
{
    for (;;) {
        gssize n;

        if (p->ssl) {
            n = SSL_read(p->ssl, buf, (int)len);
            if (n > 0)
                return n;
            if (SSL_get_error(p->ssl, (int)n) != SSL_ERROR_WANT_READ)
                return -1;
        } else {
            n = recv(p->fd, buf, len, 0);
            if (n > 0)
                return n;
            if (n == 0 || errno != EAGAIN)
                return -1;
        }
        if (!peer_wait(p, POLLIN))
            return -1;
    }
}

static gboolean peer_write(Peer *p, const char *data, gsize len)
{
    while (len > 0) {
        gssize n = p->ssl ? SSL_write(p->ssl, data, (int)len) : send(p->fd, data, len, MSG_NOSIGNAL);

        if (n > 0) {
            data += n;
            len -= (gsize)n;
            continue;
        }
        if (p->ssl ? SSL_get_error(p->ssl, (int)n) != SSL_ERROR_WANT_WRITE : errno != EAGAIN)
            return FALSE;
        if (!peer_wait(p, POLLOUT))
            return FALSE;
    }
    return TRUE;
}

static gboolean say(Peer *p, const char *text)
{
    if (manner_of(p->sink) != SINK_SLOW)
        return peer_write(p, text, strlen(text));
    for (; *text; text++) {
        if (!peer_write(p, text, 1))
            return FALSE;
        g_usleep(1000);
    }
    return TRUE;
}

/* A line without its end; FALSE at the end of the connection. */
static gboolean read_line(Peer *p)
{
    for (gsize len = 0; len < sizeof p->line - 1; len++) {
        if (peer_read(p, p->line + len, 1) != 1)
            return FALSE;
        if (p->line[len] == '\n') {
            p->line[len > 0 && p->line[len - 1] == '\r' ? len - 1 : len] = '\0';
            return TRUE;
        }
    }
    return FALSE;
}

static void wait_for_end(Peer *p)
{
    char drop[4096];

    while (peer_read(p, drop, sizeof drop) > 0)
        ;
}

static void flood(Peer *p, const char *piece)
{
    g_autoptr(GString) block = g_string_new(NULL);

    while (block->len < 65536)
        g_string_append(block, piece);
    for (gsize sent = 0; sent < (gsize)1 << 30; sent += block->len)
        if (!peer_write(p, block->str, block->len))
            return;
}

static gboolean begin_tls(Peer *p)
{
    p->ssl = SSL_new(p->sink->context);
    SSL_set_fd(p->ssl, p->fd);
    for (;;) {
        int rc = SSL_accept(p->ssl);
        int why = SSL_get_error(p->ssl, rc);

        if (rc == 1)
            return TRUE;
        if ((why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) ||
            !peer_wait(p, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT))
            return FALSE;
    }
}

/* 0: it is taken, as far as this goes. Else the status that refuses it. */
static guint keep(Sink *s, const char *message)
{
    guint status;

    uv_mutex_lock(&s->lock);
    status = s->refused_text && strstr(message, s->refused_text) ? s->status : 0;
    if (status == 0)
        g_ptr_array_add(s->messages, g_strdup(message));
    uv_mutex_unlock(&s->lock);
    return status;
}

static gboolean say_status(Peer *p, const char *before, guint status, const char *after)
{
    g_autofree char *text = g_strdup_printf("%s%u%s", before, status, after);

    return say(p, text);
}

/* What is the same for both kinds: TRUE if the connection is used up. */
static gboolean misbehave_at_once(Peer *p)
{
    switch (manner_of(p->sink)) {
    case SINK_SILENT:
        wait_for_end(p);
        return TRUE;
    case SINK_GARBAGE:
        say(p, "\x01\x02 \xff\xfe nothing of this means anything \r\n\r\n\x03\r\n");
        wait_for_end(p);
        return TRUE;
    default:
        return FALSE;
    }
}

/* --- SMTP --------------------------------------------------------------------------------- */

static gboolean take_data(Peer *p, GString *mail)
{
    SinkManner manner = manner_of(p->sink);

    if (!say(p, "354 go on\r\n"))
        return FALSE;
    for (guint lines = 0;; lines++) {
        if (!read_line(p) || (manner == SINK_BREAKS && lines == 3))
            return FALSE;
        if (g_str_equal(p->line, "."))
            break;
        g_string_append_printf(mail, "%s\n", p->line[0] == '.' ? p->line + 1 : p->line);
    }
    return TRUE;
}

static gboolean is_refused(Sink *s, const char *line)
{
    gboolean refused;

    uv_mutex_lock(&s->lock);
    refused = s->refused && g_str_has_prefix(line, "RCPT") && strstr(line, s->refused);
    uv_mutex_unlock(&s->lock);
    return refused;
}

static gboolean command(Peer *p, GString *mail)
{
    SinkManner manner = manner_of(p->sink);
    guint status;

    if (g_str_has_prefix(p->line, "EHLO"))
        return say(p, p->sink->tls == SINK_STARTTLS && !p->ssl ? "250-sink\r\n250 STARTTLS\r\n"
                                                               : "250-sink\r\n250 AUTH PLAIN\r\n");
    if (g_str_equal(p->line, "STARTTLS"))
        return say(p, "220 go on\r\n") && begin_tls(p);
    if (g_str_equal(p->line, "AUTH PLAIN")) {
        if (!say(p, "334 \r\n") || !read_line(p))
            return FALSE;
        uv_mutex_lock(&p->sink->lock);
        g_free(p->sink->credentials);
        p->sink->credentials = g_strdup(p->line);
        uv_mutex_unlock(&p->sink->lock);
        return say(p, manner == SINK_REFUSES ? "535 no\r\n" : "235 welcome\r\n");
    }
    if (is_refused(p->sink, p->line))
        return say(p, "550 5.1.1 nobody of that name\r\n");
    if (g_str_has_prefix(p->line, "MAIL") || g_str_has_prefix(p->line, "RCPT")) {
        g_string_append_printf(mail, "%s\n", p->line);
        return say(p, manner == SINK_REFUSES ? "550 5.1.1 not \x1b[31mhere\r\n" : "250 ok\r\n");
    }
    if (g_str_equal(p->line, "DATA")) {
        if (!take_data(p, mail))
            return FALSE;
        status = keep(p->sink, mail->str);
        g_string_truncate(mail, 0);
        if (status)
            return say_status(p, "", status, " not this one\r\n");
        if (manner == SINK_LATE) {
            wait_for_end(p);
            return FALSE;
        }
        return say(p, "250 taken\r\n");
    }
    if (g_str_equal(p->line, "QUIT") && manner == SINK_HANGS_UP) {
        wait_for_end(p);
        return FALSE;
    }
    return say(p, g_str_equal(p->line, "QUIT") ? "221 bye\r\n" : "502 what?\r\n");
}

static void serve_smtp(Peer *p)
{
    g_autoptr(GString) mail = g_string_new(NULL);

    if (manner_of(p->sink) == SINK_FLOODS || manner_of(p->sink) == SINK_HEADS) {
        flood(p, "220-welcome to a server that has much to say\r\n");
        return;
    }
    if (!say(p, "220 sink\r\n"))
        return;
    while (read_line(p))
        if (!command(p, mail))
            return;
}

/* --- HTTP --------------------------------------------------------------------------------- */

static gboolean read_request(Peer *p, GString *request)
{
    gsize left = 0;

    while (read_line(p) && p->line[0]) {
        g_string_append_printf(request, "%s\n", p->line);
        if (g_ascii_strncasecmp(p->line, "content-length: ", 16) == 0)
            left = strtoul(p->line + 16, NULL, 10);
    }
    g_string_append_c(request, '\n');
    if (manner_of(p->sink) == SINK_BREAKS)
        return FALSE;
    while (left > 0) {
        gssize n = peer_read(p, p->line, MIN(left, sizeof p->line));

        if (n <= 0)
            return FALSE;
        g_string_append_len(request, p->line, n);
        left -= (gsize)n;
    }
    return TRUE;
}

static void serve_http(Peer *p)
{
    g_autoptr(GString) request = g_string_new(NULL);
    guint status;

    if (!read_request(p, request))
        return;
    status = keep(p->sink, request->str);
    if (status) {
        say_status(p, "HTTP/1.1 ", status, " no\r\nContent-Length: 12\r\n\r\nnot this one");
        return;
    }
    switch (manner_of(p->sink)) {
    case SINK_REFUSES:
        say(p, "HTTP/1.1 503 later\r\nContent-Length: 13\r\n\r\ntoo \x1b[31mbusy");
        break;
    case SINK_REDIRECTS:
        say(p, "HTTP/1.1 302 there\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
        break;
    case SINK_FLOODS:
        if (say(p, "HTTP/1.1 200 ok\r\n\r\n"))
            flood(p, "more and more ");
        break;
    case SINK_HEADS:
        if (say(p, "HTTP/1.1 200 ok\r\n"))
            flood(p, "X-More: and more\r\n");
        break;
    case SINK_LATE:
        wait_for_end(p);
        break;
    default:
        say(p, "HTTP/1.1 204 ok\r\n\r\n");
        break;
    }
}

/* --- the thread ------------------------------------------------------------------------------ */

static void serve(Sink *s, int fd)
{
    Peer p = {.sink = s, .fd = fd};

    fcntl(fd, F_SETFL, O_NONBLOCK);
    if ((s->tls != SINK_TLS || begin_tls(&p)) && !misbehave_at_once(&p)) {
        if (s->kind == SINK_SMTP)
            serve_smtp(&p);
        else
            serve_http(&p);
    }
    SSL_free(p.ssl);
    ERR_clear_error();
    close(fd);
}

static void run(void *user)
{
    Sink *s = user;

    while (!is_over(s)) {
        struct pollfd pfd = {-1, POLLIN, 0};
        int fd = -1;

        uv_mutex_lock(&s->lock);
        pfd.fd = s->listener;
        if (pfd.fd >= 0 && poll(&pfd, 1, 0) > 0) {
            fd = accept4(pfd.fd, NULL, NULL, SOCK_CLOEXEC);
            s->connections += fd >= 0;
        }
        uv_mutex_unlock(&s->lock);
        if (fd >= 0)
            serve(s, fd);
        else
            g_usleep(1000);
    }
}

void sink_open_port(Sink *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((guint16)s->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    g_assert_cmpint(bind(fd, (const struct sockaddr *)&address, len), ==, 0);
    g_assert_cmpint(listen(fd, 16), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &len), ==, 0);
    s->port = ntohs(address.sin_port);
    uv_mutex_lock(&s->lock);
    s->listener = fd;
    uv_mutex_unlock(&s->lock);
}

void sink_close_port(Sink *s)
{
    uv_mutex_lock(&s->lock);
    if (s->listener >= 0)
        close(s->listener);
    s->listener = -1;
    uv_mutex_unlock(&s->lock);
}

static SSL_CTX *context_new(void)
{
    const StageKeys *keys = stage_keys();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    g_autofree char *certificate = g_build_filename(keys->dir, "sink.crt", NULL);
    g_autofree char *key = g_build_filename(keys->dir, "sink.key", NULL);

    g_assert_true(g_file_set_contents(certificate, keys->server_certificate, -1, NULL));
    g_assert_true(g_file_set_contents(key, keys->server_key, -1, NULL));
    g_assert_cmpint(SSL_CTX_use_certificate_chain_file(context, certificate), ==, 1);
    g_assert_cmpint(SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM), ==, 1);
    unlink(certificate);
    unlink(key);
    return context;
}

Sink *sink_new(SinkKind kind, SinkTls tls)
{
    Sink *s = g_new0(Sink, 1);

    s->kind = kind;
    s->tls = tls;
    s->context = tls == SINK_PLAIN ? NULL : context_new();
    s->messages = g_ptr_array_new_with_free_func(g_free);
    uv_mutex_init(&s->lock);
    sink_open_port(s);
    g_assert_cmpint(uv_thread_create(&s->thread, run, s), ==, 0);
    return s;
}

void sink_manner(Sink *s, SinkManner manner)
{
    uv_mutex_lock(&s->lock);
    s->manner = manner;
    uv_mutex_unlock(&s->lock);
}

guint sink_port(const Sink *s)
{
    return s->port;
}

guint sink_count(Sink *s)
{
    guint count;

    uv_mutex_lock(&s->lock);
    count = s->messages->len;
    uv_mutex_unlock(&s->lock);
    return count;
}

char *sink_message(Sink *s, guint i)
{
    char *message;

    uv_mutex_lock(&s->lock);
    g_assert_cmpuint(i, <, s->messages->len);
    message = g_strdup(s->messages->pdata[i]);
    uv_mutex_unlock(&s->lock);
    return message;
}

guint sink_connections(Sink *s)
{
    guint count;

    uv_mutex_lock(&s->lock);
    count = s->connections;
    uv_mutex_unlock(&s->lock);
    return count;
}

void sink_refuse(Sink *s, const char *recipient)
{
    uv_mutex_lock(&s->lock);
    g_free(s->refused);
    s->refused = g_strdup(recipient);
    uv_mutex_unlock(&s->lock);
}

void sink_refuse_text(Sink *s, const char *text, guint status)
{
    uv_mutex_lock(&s->lock);
    g_free(s->refused_text);
    s->refused_text = g_strdup(text);
    s->status = status;
    uv_mutex_unlock(&s->lock);
}

char *sink_credentials(Sink *s)
{
    char *credentials;

    uv_mutex_lock(&s->lock);
    credentials = g_strdup(s->credentials);
    uv_mutex_unlock(&s->lock);
    return credentials;
}

void sink_free(Sink *s)
{
    uv_mutex_lock(&s->lock);
    s->end = TRUE;
    uv_mutex_unlock(&s->lock);
    uv_thread_join(&s->thread);
    sink_close_port(s);
    uv_mutex_destroy(&s->lock);
    SSL_CTX_free(s->context);
    g_ptr_array_unref(s->messages);
    g_free(s->credentials);
    g_free(s->refused);
    g_free(s->refused_text);
    g_free(s);
}
