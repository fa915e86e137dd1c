/* SPDX-License-Identifier: Apache-2.0 */
/* The thread rings when it is done, unless it was given up by then: it does so under the lock, so that who has seen
 * that it is done may close the bell. */
#include "vmconnect/loop/aside.h"

#include <pthread.h>

/* The thread's and the loop's; who is last frees it. */
typedef struct {
    AsideWork work;
    uv_mutex_t lock;
    gboolean done; /* under lock, as all below */
    gboolean given_up;
    gpointer result;
    uv_async_t *bell;
} Errand;

/* The loop's. */
typedef struct {
    Errand *errand;
    uv_async_t bell;
    uv_timer_t deadline;
    guint open;
    AsideDone on_done;
    void *user;
} Wait;

static atomic_uint lost;

static void count_lost(const Errand *e, int n)
{
    atomic_fetch_add(&lost, (guint)n);
    if (e->work.lost)
        atomic_fetch_add(e->work.lost, (guint)n);
}

static void errand_free(Errand *e)
{
    if (e->result)
        e->work.free_result(e->result);
    e->work.free_request(e->work.request);
    uv_mutex_destroy(&e->lock);
    g_free(e);
}

static void *run(void *data)
{
    Errand *e = data;
    gpointer result = e->work.work(e->work.request);
    gboolean given_up;

    uv_mutex_lock(&e->lock);
    e->result = result;
    e->done = TRUE;
    given_up = e->given_up;
    if (!given_up)
        uv_async_send(e->bell);
    uv_mutex_unlock(&e->lock);
    if (given_up) {
        count_lost(e, -1);
        errand_free(e);
    }
    return NULL;
}

static void on_closed(uv_handle_t *handle)
{
    Wait *w = handle->data;

    if (--w->open == 0)
        g_free(w);
}

static void finish(Wait *w)
{
    Errand *e = w->errand;
    gpointer result;
    gboolean done;

    uv_mutex_lock(&e->lock);
    done = e->done;
    e->given_up = !done;
    result = g_steal_pointer(&e->result);
    if (!done)
        count_lost(e, 1);
    uv_mutex_unlock(&e->lock);
    if (done)
        errand_free(e);
    uv_close((uv_handle_t *)&w->bell, on_closed);
    uv_close((uv_handle_t *)&w->deadline, on_closed);
    w->on_done(w->user, result);
}

static void on_bell(uv_async_t *bell)
{
    finish(bell->data);
}

static void on_deadline(uv_timer_t *deadline)
{
    finish(deadline->data);
}

/* Detached, which uv_thread cannot be: nobody may have to wait for it. */
static void start_thread(Errand *e)
{
    pthread_attr_t attr;
    pthread_t thread;
    int rc;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    rc = pthread_create(&thread, &attr, run, e);
    pthread_attr_destroy(&attr);
    /* There are too many: it ends without a result, as one whose time is over. */
    if (rc != 0) {
        e->done = TRUE;
        uv_async_send(e->bell);
    }
}

void aside_run(uv_loop_t *loop, const AsideWork *work, AsideDone on_done, void *user)
{
    Errand *e = g_new0(Errand, 1);
    Wait *w = g_new0(Wait, 1);
    int rc = uv_mutex_init(&e->lock);

    g_assert(rc == 0);
    e->work = *work;
    e->bell = &w->bell;
    *w = (Wait){.errand = e, .open = 2, .on_done = on_done, .user = user};
    rc = uv_async_init(loop, &w->bell, on_bell);
    g_assert(rc == 0);
    uv_timer_init(loop, &w->deadline);
    w->bell.data = w->deadline.data = w;
    uv_timer_start(&w->deadline, on_deadline, (uint64_t)work->timeout_ms, 0);
    start_thread(e);
}

guint aside_lost(void)
{
    return atomic_load(&lost);
}
