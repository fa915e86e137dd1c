/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: greeting, qmp_capabilities, then one command at a time; whatever
 * else arrives while its reply is awaited is an event (queued) or the late
 * reply of a call that was given up (dropped). A lost or nonsensical peer breaks
 * the connection for good: the first reason is kept and repeated. */
#include "vmconnect/image/qmp.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_EVENTS 256

struct Qmp {
    int fd;
    int cancel_fd;
    char *peer;
    QmpDecoder *decoder;
    GQueue events; /* of QmpMessage * */
    gint64 last_id;
    GError *broken;
};

/* QEMU has no error class for these; its sentence (in the C locale) is all there is. */
static const struct {
    const char *words;
    UsError code;
} SENTENCES[] = {
    {"No space left on device", US_ERROR_NO_SPACE},
    {"Disk quota exceeded", US_ERROR_NO_SPACE},
    {"No such file or directory", US_ERROR_NOT_FOUND},
    {"\" lock", US_ERROR_BUSY}, /* Failed to get "write" lock */
    {"Failed to find node", US_ERROR_NOT_FOUND},
    {"is busy", US_ERROR_BUSY},
    {"Too many open files", US_ERROR_BUSY},
    {"Cannot allocate memory", US_ERROR_BUSY},
    {"Input/output error", US_ERROR_IO},
    {"Read-only file system", US_ERROR_IO},
    {"Permission denied", US_ERROR_DENIED},
    {"is not found", US_ERROR_NOT_FOUND},
    {"is inconsistent and cannot be used", US_ERROR_UNSUPPORTED}, /* a bitmap that was not saved */
    {"Image is corrupt", US_ERROR_CORRUPT},
    {"Image is not in", US_ERROR_CORRUPT}, /* … qcow2 format */
};

UsError qmp_error_code(const char *text)
{
    for (guint i = 0; i < G_N_ELEMENTS(SENTENCES); i++)
        if (strstr(text, SENTENCES[i].words))
            return SENTENCES[i].code;
    return US_ERROR_FAILED;
}

static gboolean break_off(Qmp *qmp, UsError code, const char *why, GError **error)
{
    g_assert(!qmp->broken);
    qmp->broken = g_error_new(US_ERROR, (int)code, "%s: %s", qmp->peer, why);
    g_propagate_error(error, g_error_copy(qmp->broken));
    return FALSE;
}

static gboolean still_whole(const Qmp *qmp, GError **error)
{
    if (qmp->broken)
        g_propagate_error(error, g_error_copy(qmp->broken));
    return !qmp->broken;
}

static void queue_event(Qmp *qmp, QmpMessage *event)
{
    g_queue_push_tail(&qmp->events, event);
    if (qmp->events.length > MAX_EVENTS)
        qmp_message_free(g_queue_pop_head(&qmp->events));
}

/* Read once. FALSE with @error if the peer is gone; nothing there is no error. */
static gboolean receive(Qmp *qmp, GError **error)
{
    char buf[16384];
    gssize n = recv(qmp->fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (n > 0)
        qmp_decoder_feed(qmp->decoder, buf, (gsize)n);
    else if (n == 0)
        return break_off(qmp, US_ERROR_UNREACHABLE, "the connection was closed", error);
    else if (errno != EAGAIN && errno != EINTR)
        return break_off(qmp, US_ERROR_UNREACHABLE, g_strerror(errno), error);
    return TRUE;
}

/* The next message that is here already; NULL without @error: none yet. */
static QmpMessage *decode(Qmp *qmp, GError **error)
{
    g_autoptr(GError) why = NULL;
    QmpMessage *m = qmp_decoder_next(qmp->decoder, &why);

    if (why)
        break_off(qmp, US_ERROR_PROTOCOL, why->message, error);
    return m;
}

static QmpMessage *next_message(Qmp *qmp, gint64 deadline, GError **error)
{
    for (;;) {
        QmpMessage *m = decode(qmp, error);

        if (m || qmp->broken)
            return m;
        if (!wait_fd(qmp->fd, POLLIN, qmp->cancel_fd, deadline, qmp->peer, NULL, error) ||
            !receive(qmp, error))
            return NULL;
    }
}

static gboolean send_line(Qmp *qmp, const char *line, gint64 deadline, GError **error)
{
    gsize len = strlen(line);
    gsize done = 0;

    while (done < len) {
        gssize n = send(qmp->fd, line + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0) {
            done += (gsize)n;
        } else if (errno != EAGAIN && errno != EINTR) {
            return break_off(qmp, US_ERROR_UNREACHABLE, g_strerror(errno), error);
        } else if (!wait_fd(qmp->fd, POLLOUT, qmp->cancel_fd, deadline, qmp->peer, NULL, error)) {
            /* Half a command is out: what follows would be read as its rest. */
            if (done > 0)
                break_off(qmp, US_ERROR_UNREACHABLE, "it stopped reading in the middle of a command", NULL);
            return FALSE;
        }
    }
    return TRUE;
}

/* Deal with a message that nobody awaits (stolen). */
static gboolean put_aside(Qmp *qmp, QmpMessage *message, GError **error)
{
    g_autoptr(QmpMessage) m = message;

    if (m->kind == QMP_EVENT)
        queue_event(qmp, g_steal_pointer(&m));
    else if (m->kind == QMP_GREETING || m->id < 0 || m->id > qmp->last_id)
        return break_off(qmp, US_ERROR_PROTOCOL, m->text ? m->text : "a message out of turn", error);
    return TRUE; /* the late reply to a call that was given up */
}

static QmpMessage *await_reply(Qmp *qmp, gint64 id, gint64 deadline, GError **error)
{
    QmpMessage *m;

    while ((m = next_message(qmp, deadline, error))) {
        if (m->id == id)
            return m;
        if (!put_aside(qmp, m, error))
            return NULL;
    }
    return NULL;
}

static gboolean take_result(const QmpMessage *reply, const char *command, json_t **ret_result, GError **error)
{
    if (reply->kind == QMP_FAILURE) {
        g_set_error(error, US_ERROR, (int)qmp_error_code(reply->text), "%s: %s (%s)", command, reply->text,
                    reply->name);
        return FALSE;
    }
    if (ret_result)
        *ret_result = json_incref(reply->data);
    return TRUE;
}

gboolean qmp_call(Qmp *qmp, const char *command, json_t *args, int timeout_ms, json_t **ret_result,
                  GError **error)
{
    gint64 id = ++qmp->last_id;
    g_autofree char *line = qmp_message_command(command, args, id);
    gint64 deadline = wait_deadline(timeout_ms);
    g_autoptr(QmpMessage) reply = NULL;

    if (!still_whole(qmp, error) || !send_line(qmp, line, deadline, error))
        return FALSE;
    reply = await_reply(qmp, id, deadline, error);
    if (!reply) {
        g_prefix_error(error, "%s: ", command);
        return FALSE;
    }
    return take_result(reply, command, ret_result, error);
}

void qmp_set_cancel(Qmp *qmp, int cancel_fd)
{
    qmp->cancel_fd = cancel_fd;
}

int qmp_cancel(const Qmp *qmp)
{
    return qmp->cancel_fd;
}

int qmp_fd(const Qmp *qmp)
{
    return qmp->fd;
}

static gboolean sort_what_is_here(Qmp *qmp, GError **error)
{
    QmpMessage *m;

    while ((m = decode(qmp, error)))
        if (!put_aside(qmp, m, error))
            return FALSE;
    return !qmp->broken;
}

gboolean qmp_pump(Qmp *qmp, GError **error)
{
    return still_whole(qmp, error) && receive(qmp, error) && sort_what_is_here(qmp, error);
}

QmpMessage *qmp_take_event(Qmp *qmp)
{
    return g_queue_pop_head(&qmp->events);
}

gboolean qmp_wait_event(Qmp *qmp, int timeout_ms, GError **error)
{
    gint64 deadline = wait_deadline(timeout_ms);

    if (!still_whole(qmp, error) || !sort_what_is_here(qmp, error))
        return FALSE;
    while (g_queue_is_empty(&qmp->events))
        if (!wait_fd(qmp->fd, POLLIN, qmp->cancel_fd, deadline, qmp->peer, NULL, error) ||
            !qmp_pump(qmp, error))
            return FALSE;
    return TRUE;
}

static gboolean negotiate(Qmp *qmp, gint64 deadline, GError **error)
{
    g_autoptr(QmpMessage) greeting = next_message(qmp, deadline, error);

    if (!greeting)
        return FALSE;
    if (greeting->kind != QMP_GREETING)
        return break_off(qmp, US_ERROR_PROTOCOL, "it does not begin with a greeting", error);
    return qmp_call(qmp, "qmp_capabilities", NULL, clock_left_ms(deadline), NULL, error);
}

static Qmp *qmp_new(int fd, const char *peer, gint64 deadline, GError **error)
{
    g_autoptr(Qmp) qmp = g_new0(Qmp, 1);

    qmp->fd = fd;
    qmp->cancel_fd = -1;
    qmp->peer = g_strdup(peer);
    qmp->decoder = qmp_decoder_new();
    g_queue_init(&qmp->events);
    return negotiate(qmp, deadline, error) ? g_steal_pointer(&qmp) : NULL;
}

Qmp *qmp_new_fd(int fd, const char *peer, int timeout_ms, GError **error)
{
    return qmp_new(fd, peer, wait_deadline(timeout_ms), error);
}

Qmp *qmp_open(const char *path, const char *peer, int timeout_ms, GError **error)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    gint64 deadline = wait_deadline(timeout_ms);
    int fd;

    if (g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path)) >= sizeof(addr.sun_path)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s: a socket's path has at most %zu bytes", path,
                    sizeof(addr.sun_path) - 1);
        return NULL;
    }
    /* Non-blocking: a unix socket whose backlog is full would hold a blocking connect for ever. */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE, "%s: cannot connect to %s: %s", peer, path,
                    g_strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    return qmp_new(fd, peer, deadline, error);
}

void qmp_close(Qmp *qmp)
{
    QmpMessage *m;

    if (!qmp)
        return;
    while ((m = g_queue_pop_head(&qmp->events)))
        qmp_message_free(m);
    close(qmp->fd);
    qmp_decoder_free(qmp->decoder);
    g_clear_error(&qmp->broken);
    g_free(qmp->peer);
    g_free(qmp);
}
