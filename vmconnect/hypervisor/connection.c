/* SPDX-License-Identifier: Apache-2.0 */
/* connection_get() finds the connection alive and returns it. Else: the old one
 * is closed, an opener thread calls virConnectOpen(), and the owner waits for it
 * up to its deadline. An opener that is late goes on; the next connection_get()
 * waits for the same one, so a hung libvirtd costs one thread a connection at
 * most. An owner that goes away first leaves the opener to close what it got. */
#include "vmconnect/hypervisor/connection.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/fault.h"
#include "vmconnect/hypervisor/event_uv.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000

/* What libvirt's close callback holds: it may come while the owner is leaving. */
typedef struct {
    atomic_uint refs;
    atomic_bool lost;
    gboolean watched; /* libvirt has it, and calls on_close() */
    uv_mutex_t lock;
    void (*on_lost)(void *user); /* under lock; NULL once the owner has left */
    void *user;
} Line;

typedef struct {
    char *uri;
    Line *line;
    uv_mutex_t lock;
    uv_cond_t done_cond;
    gboolean done;      /* under lock, as all below */
    gboolean abandoned; /* the opener frees it all */
    virConnectPtr conn;
    GError *error;
} Opener;

struct Connection {
    char *uri;
    void (*on_lost)(void *user);
    void *user;
    virConnectPtr conn;
    Line *line; /* of conn */
    Opener *opener;
    guint64 count;
    gint64 retry_at_ms;
    gint64 backoff_ms;
    GError *refusal;
};

static Line *line_new(Connection *c)
{
    Line *line = g_new0(Line, 1);
    int rc = uv_mutex_init(&line->lock);

    g_assert(rc == 0);
    line->refs = 1;
    line->on_lost = c->on_lost;
    line->user = c->user;
    return line;
}

static void line_unref(void *data)
{
    Line *line = data;

    if (atomic_fetch_sub(&line->refs, 1) != 1)
        return;
    uv_mutex_destroy(&line->lock);
    g_free(line);
}

static void line_leave(Line *line)
{
    uv_mutex_lock(&line->lock);
    line->on_lost = NULL;
    uv_mutex_unlock(&line->lock);
    line_unref(line);
}

/* On whichever thread found the socket dead. */
static void on_close(virConnectPtr conn, int reason, void *data)
{
    Line *line = data;

    (void)conn;
    (void)reason;
    atomic_store(&line->lost, TRUE);
    uv_mutex_lock(&line->lock);
    if (line->on_lost)
        line->on_lost(line->user);
    uv_mutex_unlock(&line->lock);
}

/* Each error is taken from the call that failed; what libvirt prints itself would be said twice. */
static void be_silent(void *user, virErrorPtr error)
{
    (void)user;
    (void)error;
}

static void silence(void)
{
    virSetErrorFunc(NULL, be_silent);
}

/* A driver without keepalive is within this process (test:///): it has nothing
 * to lose and takes no close callback, without saying so. Nor is anything heard of a connection in a process that turns no
 * loop: a command, which asks and ends. */
static virConnectPtr open_watched(const char *uri, Line *line, GError **error)
{
    virConnectPtr conn = virConnectOpen(uri);

    if (!conn) {
        virt_error(error, "libvirtd does not accept a connection to %s", uri);
        return NULL;
    }
    if (!event_uv_is_started() ||
        virConnectSetKeepAlive(conn, CONNECTION_KEEPALIVE_S, CONNECTION_KEEPALIVE_COUNT) != 0)
        return conn;
    atomic_fetch_add(&line->refs, 1);
    line->watched = virConnectRegisterCloseCallback(conn, on_close, line, line_unref) == 0;
    if (!line->watched)
        line_unref(line);
    return conn;
}

/* Not on_close's thread; may wait for keepalive. */
static void close_watched(virConnectPtr conn, Line *line)
{
    gboolean watched = line->watched;

    line_leave(line);
    if (watched)
        virConnectUnregisterCloseCallback(conn, on_close);
    virConnectClose(conn);
}

static void opener_free(Opener *o)
{
    if (o->conn)
        close_watched(o->conn, o->line);
    else if (o->line)
        line_leave(o->line);
    g_clear_error(&o->error);
    uv_cond_destroy(&o->done_cond);
    uv_mutex_destroy(&o->lock);
    g_free(o->uri);
    g_free(o);
}

static void *opener_run(void *data)
{
    Opener *o = data;
    GError *error = NULL;
    virConnectPtr conn = open_watched(o->uri, o->line, &error);
    gboolean abandoned;

    uv_mutex_lock(&o->lock);
    o->conn = conn;
    o->error = error;
    o->done = TRUE;
    abandoned = o->abandoned;
    uv_cond_signal(&o->done_cond);
    uv_mutex_unlock(&o->lock);
    if (abandoned)
        opener_free(o);
    return NULL;
}

static Opener *opener_start(Connection *c, GError **error)
{
    Opener *o = g_new0(Opener, 1);
    pthread_attr_t attr;
    pthread_t thread;
    int why = fault_at();
    int rc = uv_mutex_init(&o->lock);

    g_assert(rc == 0);
    rc = uv_cond_init(&o->done_cond);
    g_assert(rc == 0);
    o->uri = g_strdup(c->uri);
    o->line = line_new(c);
    /* Detached, which uv_thread cannot be: nobody may have to wait for it. */
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    rc = why ? why : pthread_create(&thread, &attr, opener_run, o);
    pthread_attr_destroy(&attr);
    if (rc == 0)
        return o;
    us_error_errno(error, rc, "this host lets the engine have no thread to connect to libvirtd with");
    opener_free(o);
    return NULL;
}

static gboolean opener_wait(Opener *o, gint64 timeout_ms)
{
    gint64 deadline_ms = clock_steady_ms() + timeout_ms;
    gint64 left_ms;
    gboolean done;

    uv_mutex_lock(&o->lock);
    while (!o->done && (left_ms = deadline_ms - clock_steady_ms()) > 0)
        uv_cond_timedwait(&o->done_cond, &o->lock, (guint64)left_ms * 1000000);
    done = o->done;
    uv_mutex_unlock(&o->lock);
    return done;
}

static void opener_abandon(Opener *o)
{
    gboolean done;

    uv_mutex_lock(&o->lock);
    done = o->done;
    o->abandoned = TRUE;
    uv_mutex_unlock(&o->lock);
    if (done)
        opener_free(o);
}

Connection *connection_new(const char *uri, void (*on_lost)(void *user), void *user)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    Connection *c = g_new0(Connection, 1);

    pthread_once(&once, silence);
    c->uri = g_strdup(uri);
    c->on_lost = on_lost;
    c->user = user;
    c->backoff_ms = BACKOFF_MIN_MS;
    return c;
}

static void drop(Connection *c)
{
    if (!c->conn)
        return;
    close_watched(g_steal_pointer(&c->conn), g_steal_pointer(&c->line));
}

void connection_free(Connection *c)
{
    if (!c)
        return;
    if (c->opener)
        opener_abandon(c->opener);
    drop(c);
    g_clear_error(&c->refusal);
    g_free(c->uri);
    g_free(c);
}

gboolean connection_is_live(const Connection *c)
{
    return c->conn && !atomic_load(&c->line->lost) && virConnectIsAlive(c->conn) != 0;
}

static void back_off(Connection *c, GError *refusal)
{
    g_clear_error(&c->refusal);
    c->refusal = refusal;
    c->retry_at_ms = clock_steady_ms() + c->backoff_ms;
    c->backoff_ms = MIN(c->backoff_ms * 2, BACKOFF_MAX_MS);
}

/* Take over what the opener got. */
static gboolean settle(Connection *c, GError **error)
{
    Opener *o = g_steal_pointer(&c->opener);

    if (o->conn) {
        c->conn = g_steal_pointer(&o->conn);
        c->line = g_steal_pointer(&o->line);
        c->count++;
        c->backoff_ms = BACKOFF_MIN_MS;
        c->retry_at_ms = 0;
        g_clear_error(&c->refusal);
        opener_free(o);
        return TRUE;
    }
    back_off(c, g_error_new(US_ERROR, US_ERROR_UNREACHABLE, "%s", o->error->message));
    g_propagate_error(error, g_error_copy(c->refusal));
    opener_free(o);
    return FALSE;
}

virConnectPtr connection_get(Connection *c, gint64 timeout_ms, GError **error)
{
    if (connection_is_live(c))
        return c->conn;
    drop(c);
    if (!c->opener) {
        if (c->refusal && clock_steady_ms() < c->retry_at_ms) {
            g_propagate_error(error, g_error_copy(c->refusal));
            return NULL;
        }
        c->opener = opener_start(c, error);
    }
    if (!c->opener)
        return NULL;
    if (!opener_wait(c->opener, timeout_ms)) {
        g_set_error(
            error, US_ERROR, US_ERROR_TIMEOUT,
            "libvirtd took a connection to %s and has not answered for %" G_GINT64_FORMAT
            " ms: guests run on, but nothing can be asked about them; see `systemctl status libvirtd`",
            c->uri, timeout_ms);
        return NULL;
    }
    return settle(c, error) ? c->conn : NULL;
}

guint64 connection_count(const Connection *c)
{
    return c->count;
}

gint64 connection_wait_ms(const Connection *c)
{
    return c->refusal ? clock_left_ms(c->retry_at_ms) : 0;
}
