/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/rehearse/fetch.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/tail.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOLD_BYTES 80
#define STATUS_AT 9 /* "HTTP/1.0 200 OK" */

struct Fetch {
    int fd;
    gint64 until_ms;
    GString *request;
    gsize sent_bytes;
    GString *answer;
    int why; /* errno: it is over, because of that */
};

Fetch *fetch_open(const char *address, guint16 port, const char *path, int timeout_ms, GError **error)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    g_autoptr(Fetch) f = g_new0(Fetch, 1);

    f->fd = -1;
    f->until_ms = clock_steady_ms() + timeout_ms;
    f->answer = g_string_new(NULL);
    f->request = g_string_new(NULL);
    g_string_printf(f->request, "GET %s HTTP/1.0\r\nHost: %s:%u\r\nConnection: close\r\n\r\n", path, address,
                    port);
    if (inet_pton(AF_INET, address, &to.sin_addr) != 1) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%s' is not an IPv4 address", address);
        return NULL;
    }
    f->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (f->fd < 0) {
        us_error_errno(error, errno, "cannot open a socket for %s", address);
        return NULL;
    }
    if (connect(f->fd, (const struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
        f->why = errno;
    return g_steal_pointer(&f);
}

void fetch_close(Fetch *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    g_string_free(f->request, TRUE);
    g_string_free(f->answer, TRUE);
    g_free(f);
}

static gboolean is_for_later(void)
{
    return errno == EAGAIN || errno == EINTR;
}

/* Also where the connection turns out not to be one. */
static gboolean say(Fetch *f)
{
    ssize_t n = send(f->fd, f->request->str + f->sent_bytes, f->request->len - f->sent_bytes, MSG_NOSIGNAL);

    if (n >= 0)
        f->sent_bytes += (gsize)n;
    else if (!is_for_later())
        f->why = errno;
    return f->why == 0;
}

/* FALSE: nothing more comes. */
static gboolean hear(Fetch *f)
{
    char buffer[4096];
    ssize_t n = recv(f->fd, buffer, MIN(sizeof(buffer), FETCH_BYTES - f->answer->len), 0);

    if (n > 0)
        g_string_append_len(f->answer, buffer, n);
    else if (n < 0 && is_for_later())
        return TRUE;
    else if (n < 0)
        f->why = errno;
    return n > 0 && f->answer->len < FETCH_BYTES;
}

gboolean fetch_go_on(Fetch *f, int wait_ms)
{
    gint64 until_ms = clock_steady_ms() + wait_ms;

    while (f->why == 0 && clock_left_ms(f->until_ms) > 0) {
        gboolean asked = f->sent_bytes == f->request->len;
        struct pollfd pfd = {.fd = f->fd, .events = asked ? POLLIN : POLLOUT};
        int left_ms = clock_shorter_ms(clock_left_ms(until_ms), clock_left_ms(f->until_ms));

        if (poll(&pfd, 1, left_ms) > 0) {
            if (asked ? !hear(f) : !say(f))
                return TRUE;
        } else if (clock_left_ms(until_ms) == 0) {
            return clock_left_ms(f->until_ms) == 0;
        }
        if (clock_left_ms(until_ms) == 0)
            break; /* a guest that never stops sending holds nobody up */
    }
    return f->why != 0 || clock_left_ms(f->until_ms) == 0;
}

gboolean fetch_judge(const Fetch *f, const char *expect, char **ret_says)
{
    if (f->answer->len > 0)
        return fetch_answer_is_good(f->answer->str, f->answer->len, expect, ret_says);
    *ret_says = g_strdup(f->why                             ? g_strerror(f->why)
                         : f->sent_bytes == f->request->len ? "it accepts a connection, and does not answer"
                                                            : "it does not answer");
    return FALSE;
}

/* --- what came ------------------------------------------------------------------ */

/* Where the body begins; NULL: the head does not end. */
static const char *body_of(const char *answer, gsize len)
{
    const char *crlf = memmem(answer, len, "\r\n\r\n", 4);
    const char *lf = memmem(answer, len, "\n\n", 2);

    if (lf && (!crlf || lf < crlf))
        return lf + 2;
    return crlf ? crlf + 4 : NULL;
}

static guint status_of(const char *answer, gsize len)
{
    const char *digits = answer + STATUS_AT;

    if (len < STATUS_AT + 3 || memcmp(answer, "HTTP/1.", 7) != 0 || answer[STATUS_AT - 1] != ' ')
        return 0;
    for (guint i = 0; i < 3; i++)
        if (!g_ascii_isdigit(digits[i]))
            return 0;
    return (guint)(digits[0] - '0') * 100 + (guint)(digits[1] - '0') * 10 + (guint)(digits[2] - '0');
}

static char *beginning_of(const char *data, gsize len)
{
    char *text = tail_plain(data, MIN(len, TOLD_BYTES));

    return g_strchomp(g_strdelimit(text, "\n\t", ' '));
}

gboolean fetch_answer_is_good(const char *answer, gsize len, const char *expect, char **ret_says)
{
    const char *body = body_of(answer, len);
    guint status = status_of(answer, len);
    gsize body_len = body ? len - (gsize)(body - answer) : 0;
    g_autofree char *begins = body ? beginning_of(body, body_len) : beginning_of(answer, len);
    gboolean has = body && (!expect || memmem(body, body_len, expect, strlen(expect)));

    if (!status || !body)
        *ret_says = g_strdup_printf("its answer is no HTTP/1, or not whole: '%s'", begins);
    else if (status >= 200 && status < 400 && !has)
        *ret_says = g_strdup_printf("it answers %u, without the text that is expected: '%s'", status, begins);
    else
        *ret_says = g_strdup_printf("it answers %u: '%s'", status, begins);
    return status >= 200 && status < 400 && has;
}
