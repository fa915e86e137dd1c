/* SPDX-License-Identifier: Apache-2.0 */
/* A watch's life: made by libvirt on any thread, it gets its id and stands in
 * the table; its change is queued and the loop is woken; the loop opens, alters
 * or closes uv's handle to match. Removal takes it out of the table at once, so
 * no callback starts afterwards; libvirt's opaque, and with it the socket that
 * uv still polls, is freed in uv's close callback and not before. */
#include "vmconnect/hypervisor/event_uv.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <signal.h>

typedef struct {
    int id;
    int fd;          /* -1: a timer */
    gboolean queued; /* under lock, as the next four */
    gboolean removed;
    int events;      /* VIR_EVENT_HANDLE_* wanted */
    int timeout_ms;  /* -1 off, 0 each turn */
    gboolean opened; /* loop only: uv knows the handle */
    union {
        uv_handle_t handle;
        uv_poll_t poll;
        uv_timer_t timer;
    } uv;
    virEventHandleCallback on_fd;
    virEventTimeoutCallback on_time;
    void *opaque;
    virFreeCallback free_opaque;
} Watch;

static struct {
    uv_loop_t *loop;
    uv_async_t bell;
    uv_mutex_t lock;
    GHashTable *watches; /* id -> Watch; not the removed ones */
    GQueue changed;      /* of Watch *, each at most once */
    guint alive;         /* watches whose memory is still there */
    int next_id;
    gboolean stopped;
} us;

/* Under the lock. Order is kept: a descriptor's number may come again in a later watch. */
static void queue_change(Watch *w)
{
    if (w->queued)
        return;
    w->queued = TRUE;
    g_queue_push_tail(&us.changed, w);
    uv_async_send(&us.bell);
}

static int add_watch(Watch *w)
{
    int id;

    uv_mutex_lock(&us.lock);
    if (us.stopped) {
        uv_mutex_unlock(&us.lock);
        g_free(w);
        return -1;
    }
    id = w->id = us.next_id++;
    g_hash_table_insert(us.watches, GINT_TO_POINTER(id), w);
    us.alive++;
    queue_change(w);
    uv_mutex_unlock(&us.lock);
    return id;
}

static int add_handle(int fd, int events, virEventHandleCallback cb, void *opaque,
                      virFreeCallback free_opaque)
{
    Watch *w = g_new0(Watch, 1);

    w->fd = fd;
    w->events = events;
    w->on_fd = cb;
    w->opaque = opaque;
    w->free_opaque = free_opaque;
    return add_watch(w);
}

static int add_timeout(int timeout_ms, virEventTimeoutCallback cb, void *opaque, virFreeCallback free_opaque)
{
    Watch *w = g_new0(Watch, 1);

    w->fd = -1;
    w->timeout_ms = timeout_ms;
    w->on_time = cb;
    w->opaque = opaque;
    w->free_opaque = free_opaque;
    return add_watch(w);
}

static void update_handle(int id, int events)
{
    Watch *w;

    uv_mutex_lock(&us.lock);
    w = g_hash_table_lookup(us.watches, GINT_TO_POINTER(id));
    if (w) {
        w->events = events;
        queue_change(w);
    }
    uv_mutex_unlock(&us.lock);
}

static void update_timeout(int id, int timeout_ms)
{
    Watch *w;

    uv_mutex_lock(&us.lock);
    w = g_hash_table_lookup(us.watches, GINT_TO_POINTER(id));
    if (w) {
        w->timeout_ms = timeout_ms;
        queue_change(w);
    }
    uv_mutex_unlock(&us.lock);
}

static int remove_watch(int id)
{
    Watch *w;

    uv_mutex_lock(&us.lock);
    w = g_hash_table_lookup(us.watches, GINT_TO_POINTER(id));
    if (w) {
        g_hash_table_remove(us.watches, GINT_TO_POINTER(id));
        w->removed = TRUE;
        queue_change(w);
    }
    uv_mutex_unlock(&us.lock);
    return w ? 0 : -1;
}

static void watch_free(Watch *w)
{
    if (w->free_opaque)
        w->free_opaque(w->opaque);
    g_free(w);
    uv_mutex_lock(&us.lock);
    us.alive--;
    uv_mutex_unlock(&us.lock);
}

static void on_closed(uv_handle_t *handle)
{
    watch_free(handle->data);
}

static int to_uv(int events)
{
    return (events & VIR_EVENT_HANDLE_READABLE ? UV_READABLE : 0) |
           (events & VIR_EVENT_HANDLE_WRITABLE ? UV_WRITABLE : 0) |
           (events & VIR_EVENT_HANDLE_HANGUP ? UV_DISCONNECT : 0);
}

static int from_uv(int status, int events)
{
    if (status < 0)
        return VIR_EVENT_HANDLE_ERROR;
    return (events & UV_READABLE ? VIR_EVENT_HANDLE_READABLE : 0) |
           (events & UV_WRITABLE ? VIR_EVENT_HANDLE_WRITABLE : 0) |
           (events & UV_DISCONNECT ? VIR_EVENT_HANDLE_HANGUP : 0);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    Watch *w = poll->data;
    int what = from_uv(status, events);

    uv_mutex_lock(&us.lock);
    /* What libvirt asked for since uv looked: a thread that waits for its answer reads the socket itself. */
    what &= w->removed ? 0 : w->events | VIR_EVENT_HANDLE_ERROR | VIR_EVENT_HANDLE_HANGUP;
    uv_mutex_unlock(&us.lock);
    if (what)
        w->on_fd(w->id, w->fd, what, w->opaque);
}

static void on_timer(uv_timer_t *timer)
{
    Watch *w = timer->data;
    gboolean due;

    uv_mutex_lock(&us.lock);
    due = !w->removed && w->timeout_ms >= 0;
    uv_mutex_unlock(&us.lock);
    if (due)
        w->on_time(w->id, w->opaque);
}

static void open_handle(Watch *w)
{
    int rc = w->fd < 0 ? uv_timer_init(us.loop, &w->uv.timer) : uv_poll_init(us.loop, &w->uv.poll, w->fd);

    /* libvirt gives us its own sockets only, each once. */
    g_assert(rc == 0);
    w->uv.handle.data = w;
    w->opened = TRUE;
}

static void apply(Watch *w, int events, int timeout_ms)
{
    if (!w->opened)
        open_handle(w);
    if (w->fd < 0) {
        /* A repeat of 1 ms stands for "each turn": libvirt wants it soon, not a spinning loop. */
        if (timeout_ms < 0)
            uv_timer_stop(&w->uv.timer);
        else
            uv_timer_start(&w->uv.timer, on_timer, (guint64)timeout_ms, MAX(1, (guint64)timeout_ms));
    } else if (to_uv(events)) {
        uv_poll_start(&w->uv.poll, to_uv(events), on_poll);
    } else {
        uv_poll_stop(&w->uv.poll);
    }
}

static void on_bell(uv_async_t *bell)
{
    (void)bell;
    for (;;) {
        Watch *w;
        gboolean removed = FALSE;
        int events = 0;
        int timeout_ms = -1;

        uv_mutex_lock(&us.lock);
        w = g_queue_pop_head(&us.changed);
        if (w) {
            w->queued = FALSE;
            removed = w->removed;
            events = w->events;
            timeout_ms = w->timeout_ms;
        }
        uv_mutex_unlock(&us.lock);
        if (!w)
            return;
        if (!removed)
            apply(w, events, timeout_ms);
        else if (w->opened)
            uv_close(&w->uv.handle, on_closed);
        else
            watch_free(w);
    }
}

void event_uv_start(uv_loop_t *loop)
{
    int rc;

    g_assert(!us.loop);
    us.loop = loop;
    us.next_id = 1;
    us.watches = g_hash_table_new(NULL, NULL);
    g_queue_init(&us.changed);
    rc = uv_mutex_init(&us.lock);
    g_assert(rc == 0);
    rc = uv_async_init(loop, &us.bell, on_bell);
    g_assert(rc == 0);
    signal(SIGPIPE, SIG_IGN);
    rc = virInitialize();
    g_assert(rc == 0);
    virEventRegisterImpl(add_handle, update_handle, remove_watch, add_timeout, update_timeout, remove_watch);
}

gboolean event_uv_is_started(void)
{
    return us.loop != NULL;
}

guint event_uv_watches(void)
{
    guint n;

    uv_mutex_lock(&us.lock);
    n = us.alive;
    uv_mutex_unlock(&us.lock);
    return n;
}

static void on_late(uv_timer_t *timer)
{
    *(gboolean *)timer->data = TRUE;
}

gboolean event_uv_drain(guint64 timeout_ms)
{
    gboolean late = FALSE;
    uv_timer_t timer;

    uv_timer_init(us.loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, on_late, timeout_ms, 0);
    while (event_uv_watches() > 0 && !late)
        uv_run(us.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(us.loop, UV_RUN_NOWAIT); /* it lies on our stack */
    return event_uv_watches() == 0;
}

void event_uv_stop(void)
{
    g_assert(us.loop && event_uv_watches() == 0);
    uv_mutex_lock(&us.lock);
    us.stopped = TRUE;
    uv_mutex_unlock(&us.lock);
    uv_close((uv_handle_t *)&us.bell, NULL);
}
