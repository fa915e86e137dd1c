/* SPDX-License-Identifier: Apache-2.0 */
/* A request goes: submitted -> its commands are answered (inside libnbd, which
 * must not be called from there) -> put into `done` -> its callback runs, with
 * libnbd at rest. When the connection is lost the handle is closed at once, after
 * which libnbd touches no buffer any more, and all requests go the same way. */
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/image/nbd_private.h"

#include <errno.h>
#include <sys/socket.h>

#define MAX_DATA (32 * 1024 * 1024ULL)   /* of one command; QEMU's own limit */
#define MAX_ZERO (1024 * 1024 * 1024ULL) /* of one command; no data travels */
#define MAX_REQUESTS 64
#define SOCKET_BYTES (1024 * 1024)
#define MAX_IN_FLIGHT (32 * 1024 * 1024ULL)

gboolean nbd_disk_alive(const NbdDisk *disk, GError **error)
{
    if (disk->lost)
        g_propagate_error(error, g_error_copy(disk->lost));
    return !disk->lost;
}

NbdRequest *nbd_request_new(NbdDisk *disk, const char *verb, guint64 offset, guint64 len, NbdDone on_done,
                            void *user)
{
    NbdRequest *r = g_new0(NbdRequest, 1);

    g_assert(offset <= disk->size && len <= disk->size - offset);
    *r = (NbdRequest){disk, verb, offset, len, 0, 1, 0, on_done, user, {r}};
    g_queue_push_tail_link(&disk->active, &r->link);
    return r;
}

static void release(NbdRequest *r)
{
    if (--r->open > 0)
        return;
    g_queue_unlink(&r->disk->active, &r->link);
    g_queue_push_tail_link(&r->disk->done, &r->link);
}

/* Runs inside libnbd. */
static int on_command(void *user, int *error)
{
    NbdRequest *r = user;

    if (*error && !r->errnum)
        r->errnum = *error;
    release(r);
    return 1; /* libnbd may forget the command */
}

nbd_completion_callback nbd_request_completion(NbdRequest *request)
{
    /* Counted before libnbd knows of it: it may answer within the call that submits. */
    request->open++;
    return (nbd_completion_callback){.callback = on_command, .user_data = request};
}

void nbd_request_command(NbdRequest *request, gint64 cookie)
{
    if (cookie >= 0)
        return;
    if (!request->errnum)
        request->errnum = nbd_get_errno() ? nbd_get_errno() : EIO;
    release(request); /* refused: its callback will not be called */
}

void nbd_request_submitted(NbdRequest *request)
{
    release(request);
}

static void run_callback(NbdRequest *r)
{
    g_autoptr(GError) error = NULL;

    r->disk->data_in_flight -= r->data_bytes;
    if (r->errnum && r->disk->lost)
        error = g_error_copy(r->disk->lost);
    else if (r->errnum)
        us_error_errno(&error, r->errnum, "%s: %s at offset %" G_GUINT64_FORMAT, r->disk->label, r->verb,
                       r->offset);
    r->on_done(r->user, error);
    g_free(r);
}

static void run_callbacks(NbdDisk *disk)
{
    GList *link;

    while ((link = g_queue_pop_head_link(&disk->done)))
        run_callback(link->data);
}

/* Close the handle: every request is then done, the unanswered ones badly. */
static void lose(NbdDisk *disk, UsError code, const char *why)
{
    GList *link;

    if (disk->lost)
        return;
    disk->lost = g_error_new(US_ERROR, (int)code, "%s: connection given up: %s", disk->label, why);
    g_clear_pointer(&disk->h, nbd_close);
    while ((link = g_queue_pop_head_link(&disk->active))) {
        NbdRequest *r = link->data;

        r->errnum = r->errnum ? r->errnum : ENOTCONN;
        g_queue_push_tail_link(&disk->done, link);
    }
}

static void lose_if_dead(NbdDisk *disk)
{
    if (nbd_aio_is_dead(disk->h) || nbd_aio_is_closed(disk->h))
        lose(disk, US_ERROR_UNREACHABLE, nbd_get_error() ? nbd_get_error() : "closed by the server");
}

gboolean nbd_disk_prepare(NbdDisk *disk, struct pollfd *pfd)
{
    unsigned direction = disk->h ? nbd_aio_get_direction(disk->h) : 0;

    *pfd = (struct pollfd){.fd = disk->h ? nbd_aio_get_fd(disk->h) : -1};
    if (direction & LIBNBD_AIO_DIRECTION_READ)
        pfd->events |= POLLIN;
    if (direction & LIBNBD_AIO_DIRECTION_WRITE)
        pfd->events |= POLLOUT;
    return disk->lost || !g_queue_is_empty(&disk->done);
}

static void move(NbdDisk *disk, short revents)
{
    if (disk->h && revents & POLLNVAL)
        lose(disk, US_ERROR_UNREACHABLE, "its socket is closed");
    if (!disk->h)
        return;
    /* Not both: what is read may change what there is to write. */
    if (revents & (POLLIN | POLLHUP | POLLERR))
        nbd_aio_notify_read(disk->h);
    else if (revents & POLLOUT)
        nbd_aio_notify_write(disk->h);
    lose_if_dead(disk);
}

static gboolean prepare_mate(WaitMate *mate, struct pollfd *pfd)
{
    NbdDisk *disk = (NbdDisk *)mate;

    if (!disk->h || g_queue_is_empty(&disk->active))
        return FALSE;
    nbd_disk_prepare(disk, pfd);
    return TRUE;
}

static void move_mate(WaitMate *mate, short revents)
{
    move((NbdDisk *)mate, revents);
}

gboolean nbd_disk_pump(NbdDisk *disk, short revents, GError **error)
{
    move(disk, revents);
    run_callbacks(disk);
    return nbd_disk_alive(disk, error);
}

gboolean nbd_disk_turn(NbdDisk *disk, gint64 deadline_ms, GError **error)
{
    g_autoptr(GError) why = NULL;
    struct pollfd pfd;
    short revents = 0;

    if (!nbd_disk_prepare(disk, &pfd) &&
        !wait_fd(pfd.fd, pfd.events, disk->cancel_fd, deadline_ms, "the NBD server", &revents, &why)) {
        lose(disk, (UsError)why->code, why->message);
        revents = 0;
    }
    return nbd_disk_pump(disk, revents, error);
}

/* Not the server's own words for a missing export, but libnbd's code for them. */
static gboolean connect_failed(const NbdDisk *disk, GError **error)
{
    UsError code = nbd_get_errno() == ENOENT ? US_ERROR_NOT_FOUND : US_ERROR_UNREACHABLE;

    g_set_error(error, US_ERROR, (int)code, "%s: cannot connect: %s", disk->label, nbd_get_error());
    return FALSE;
}

static gboolean negotiate(NbdDisk *disk, gint64 deadline, GError **error)
{
    while (!nbd_aio_is_ready(disk->h)) {
        struct pollfd pfd;
        short revents;
        int rc;

        nbd_disk_prepare(disk, &pfd);
        if (!wait_fd(pfd.fd, pfd.events, disk->cancel_fd, deadline, "the NBD server", &revents, error)) {
            g_prefix_error(error, "%s: ", disk->label);
            return FALSE;
        }
        rc = revents & POLLOUT ? nbd_aio_notify_write(disk->h) : nbd_aio_notify_read(disk->h);
        if (rc != 0 || nbd_aio_is_dead(disk->h) || nbd_aio_is_closed(disk->h))
            return connect_failed(disk, error);
    }
    return TRUE;
}

static gboolean take_facts(NbdDisk *disk, GError **error)
{
    gint64 size = nbd_get_size(disk->h);
    gint64 max = nbd_get_block_size(disk->h, LIBNBD_SIZE_MAXIMUM);

    if (size < 0)
        return connect_failed(disk, error);
    disk->size = (guint64)size;
    disk->max_data = max > 0 ? MIN((guint64)max, MAX_DATA) : MAX_DATA;
    disk->read_only = nbd_is_read_only(disk->h) == 1;
    disk->can_flush = nbd_can_flush(disk->h) == 1;
    if (disk->context && nbd_can_meta_context(disk->h, disk->context) != 1) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "%s: the NBD server does not offer %s",
                    disk->label, disk->context);
        return FALSE;
    }
    return TRUE;
}

/* A block of data is larger than what a socket holds by default, and each piece would wake the
 * server. As root we may have more; without it everything works, too. */
static void widen(const NbdDisk *disk)
{
    int bytes = SOCKET_BYTES;

    (void)setsockopt(nbd_aio_get_fd(disk->h), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
}

static gboolean connect_to(NbdDisk *disk, const NbdSpec *spec, GError **error)
{
    /* Structured replies are what a context needs. To a plain read QEMU then answers in as many pieces
     * as the range has in the image, each asked for by itself, at the cost of its guest. Nobody looks into the buffer
     * of a read that failed, so none is cleared before. */
    if (!disk->h || nbd_set_export_name(disk->h, spec->export_name) != 0 ||
        nbd_set_pread_initialize(disk->h, false) != 0 ||
        nbd_set_request_structured_replies(disk->h, spec->context != NULL) != 0 ||
        (spec->context && nbd_add_meta_context(disk->h, spec->context) != 0))
        return connect_failed(disk, error);
    if (nbd_aio_connect_unix(disk->h, spec->socket_path) != 0) {
        g_set_error(error, US_ERROR, US_ERROR_UNREACHABLE, "%s: %s", disk->label, nbd_get_error());
        return FALSE;
    }
    widen(disk);
    return negotiate(disk, wait_deadline(spec->timeout_ms), error) && take_facts(disk, error);
}

NbdDisk *nbd_disk_open(const NbdSpec *spec, GError **error)
{
    g_autoptr(NbdDisk) disk = g_new0(NbdDisk, 1);

    disk->h = nbd_create();
    disk->label = g_strdup_printf("disk %s", spec->disk);
    disk->context = g_strdup(spec->context);
    disk->cancel_fd = spec->cancel_fd > 0 ? spec->cancel_fd : -1;
    g_queue_init(&disk->active);
    g_queue_init(&disk->done);
    disk->mate.prepare = prepare_mate;
    disk->mate.move = move_mate;
    wait_join(&disk->mate);
    return connect_to(disk, spec, error) ? g_steal_pointer(&disk) : NULL;
}

void nbd_disk_close(NbdDisk *disk)
{
    if (!disk)
        return;
    wait_leave(&disk->mate);
    lose(disk, US_ERROR_CANCELLED, "closed on this side");
    run_callbacks(disk);
    g_clear_error(&disk->lost);
    g_free(disk->label);
    g_free(disk->context);
    g_free(disk);
}

guint64 nbd_disk_size(const NbdDisk *disk)
{
    return disk->size;
}

gboolean nbd_disk_read_only(const NbdDisk *disk)
{
    return disk->read_only;
}

guint nbd_disk_in_flight(const NbdDisk *disk)
{
    return disk->active.length + disk->done.length;
}

gboolean nbd_disk_has_room(const NbdDisk *disk)
{
    return nbd_disk_in_flight(disk) < MAX_REQUESTS && disk->data_in_flight < MAX_IN_FLIGHT;
}

static NbdRequest *data_request(NbdDisk *disk, const char *verb, guint64 offset, gsize len, NbdDone on_done,
                                void *user)
{
    NbdRequest *r = nbd_request_new(disk, verb, offset, len, on_done, user);

    r->data_bytes = len;
    disk->data_in_flight += len;
    return r;
}

gboolean nbd_disk_read(NbdDisk *disk, void *data, guint64 offset, gsize len, NbdDone on_done, void *user,
                       GError **error)
{
    NbdRequest *r;

    if (!nbd_disk_alive(disk, error))
        return FALSE;
    r = data_request(disk, "reading", offset, len, on_done, user);
    for (gsize at = 0; at < len; at += disk->max_data)
        nbd_request_command(r, nbd_aio_pread(disk->h, (guint8 *)data + at, MIN(len - at, disk->max_data),
                                             offset + at, nbd_request_completion(r), 0));
    nbd_request_submitted(r);
    return TRUE;
}

gboolean nbd_disk_write(NbdDisk *disk, const void *data, guint64 offset, gsize len, NbdDone on_done,
                        void *user, GError **error)
{
    NbdRequest *r;

    if (!nbd_disk_alive(disk, error))
        return FALSE;
    r = data_request(disk, "writing", offset, len, on_done, user);
    for (gsize at = 0; at < len; at += disk->max_data)
        nbd_request_command(r,
                            nbd_aio_pwrite(disk->h, (const guint8 *)data + at, MIN(len - at, disk->max_data),
                                           offset + at, nbd_request_completion(r), 0));
    nbd_request_submitted(r);
    return TRUE;
}

gboolean nbd_disk_zero(NbdDisk *disk, guint64 offset, guint64 len, NbdDone on_done, void *user,
                       GError **error)
{
    NbdRequest *r;

    if (!nbd_disk_alive(disk, error))
        return FALSE;
    r = nbd_request_new(disk, "zeroing", offset, len, on_done, user);
    /* Without NO_HOLE, so that the server need not allocate. */
    for (guint64 at = 0; at < len; at += MAX_ZERO)
        nbd_request_command(
            r, nbd_aio_zero(disk->h, MIN(len - at, MAX_ZERO), offset + at, nbd_request_completion(r), 0));
    nbd_request_submitted(r);
    return TRUE;
}

gboolean nbd_disk_drain(NbdDisk *disk, int timeout_ms, GError **error)
{
    gint64 deadline = wait_deadline(timeout_ms);

    /* Of one that was lost while another was waited for, the callbacks are still due. */
    while (nbd_disk_in_flight(disk) > 0)
        if (!nbd_disk_turn(disk, deadline, error))
            return FALSE;
    return nbd_disk_alive(disk, error);
}

static void on_flushed(void *user, const GError *error)
{
    GError **why = user;

    if (error)
        *why = g_error_copy(error);
}

gboolean nbd_disk_flush(NbdDisk *disk, int timeout_ms, GError **error)
{
    gint64 deadline = wait_deadline(timeout_ms);
    g_autoptr(GError) why = NULL;
    NbdRequest *r;

    if (!nbd_disk_drain(disk, timeout_ms, error))
        return FALSE;
    if (!disk->can_flush) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED, "%s: the NBD server cannot flush", disk->label);
        return FALSE;
    }
    r = nbd_request_new(disk, "flushing", 0, 0, on_flushed, &why);
    nbd_request_command(r, nbd_aio_flush(disk->h, nbd_request_completion(r), 0));
    nbd_request_submitted(r);
    if (!nbd_disk_drain(disk, clock_left_ms(deadline), error))
        return FALSE;
    if (why)
        g_propagate_error(error, g_steal_pointer(&why));
    return !why;
}
