/* SPDX-License-Identifier: Apache-2.0 */
/* A task is made on the loop, goes to the thread, and always comes back, done or
 * skipped; then it is freed. Its caller is answered when it comes back or when
 * its timer fires, whichever is first. Closing answers everybody, and ends when
 * the thread's last letter, the mark, has come. */
#include "vmconnect/hypervisor/hands.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/hypervisor/connection.h"
#include "vmconnect/hypervisor/host.h"
#include "vmconnect/hypervisor/lifecycle.h"
#include "vmconnect/loop/mailbox.h"

#include <stdatomic.h>

typedef struct {
    HandsJob job;
    gint64 deadline_ms;
    atomic_bool given_up; /* answered already: not worth doing */
    gpointer result;      /* the thread's, then the loop's */
    GError *error;
    HandsDone on_done; /* the loop's, as all below */
    void *user;
    uv_timer_t timer;
} Task;

struct Hands {
    uv_loop_t *loop;
    uv_thread_t thread;
    Connection *connection; /* the thread's */
    Mailbox *to_thread;     /* Task *, or the mark */
    Mailbox *to_loop;
    GHashTable *open; /* tasks not come back */
    gboolean closing;
    void (*on_closed)(void *user);
    void *user;
};

/* The letter that ends the conversation, both ways. */
static char mark;

static void task_free(Task *t)
{
    if (t->job.free_request)
        t->job.free_request(t->job.request);
    if (t->result && t->job.free_result)
        t->job.free_result(t->result);
    g_clear_error(&t->error);
    g_free(t);
}

static void letter_free(void *letter)
{
    if (letter != &mark)
        task_free(letter);
}

/* Thread. */
static void task_run(Task *t, Connection *c)
{
    int left_ms = clock_left_ms(t->deadline_ms);
    virConnectPtr conn = connection_get(c, MIN(left_ms, CONNECTION_OPEN_MS), &t->error);

    if (conn)
        t->job.work(conn, t->job.request, &t->result, &t->error);
    if (t->error)
        g_prefix_error(&t->error, "%s: ", t->job.what);
}

static void hands_run(void *data)
{
    Hands *h = data;
    void *letter;

    while ((letter = mailbox_wait(h->to_thread, -1)) != &mark) {
        Task *t = letter;

        /* NULL: woken for nothing. */
        if (!t)
            continue;
        if (!atomic_load(&t->given_up))
            task_run(t, h->connection);
        mailbox_send(h->to_loop, t);
    }
    connection_free(h->connection);
    mailbox_send(h->to_loop, &mark);
}

/* Loop. */
static void answer(Task *t, const GError *error)
{
    gpointer result = error ? NULL : g_steal_pointer(&t->result);

    atomic_store(&t->given_up, TRUE);
    t->on_done(t->user, result, error);
}

static void on_timer_closed(uv_handle_t *timer)
{
    task_free(timer->data);
}

static void on_deadline(uv_timer_t *timer)
{
    Task *t = timer->data;
    g_autoptr(GError) error =
        g_error_new(US_ERROR, US_ERROR_TIMEOUT,
                    "%s: libvirtd has not answered in time; guests run on, replication goes on "
                    "where it can; see `systemctl status libvirtd`",
                    t->job.what);

    answer(t, error);
}

static void finish(Hands *h)
{
    uv_thread_join(&h->thread);
    mailbox_close(h->to_thread);
    mailbox_close(h->to_loop);
    g_hash_table_unref(h->open);
    h->on_closed(h->user);
    g_free(h);
}

static void on_letter(void *user, void *letter)
{
    Hands *h = user;
    Task *t = letter;

    if (letter == &mark) {
        finish(h);
        return;
    }
    g_hash_table_remove(h->open, t);
    uv_timer_stop(&t->timer);
    if (!atomic_load(&t->given_up))
        answer(t, t->error);
    uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}

Hands *hands_new(uv_loop_t *loop, const char *uri)
{
    Hands *h = g_new0(Hands, 1);
    int rc;

    h->loop = loop;
    h->open = g_hash_table_new(NULL, NULL);
    h->connection = connection_new(uri, NULL, NULL);
    h->to_thread = mailbox_new_thread(letter_free);
    h->to_loop = mailbox_new_loop(loop, on_letter, h, letter_free);
    rc = uv_thread_create(&h->thread, hands_run, h);
    g_assert(rc == 0);
    return h;
}

void hands_submit(Hands *h, const HandsJob *job, HandsDone on_done, void *user)
{
    Task *t = g_new0(Task, 1);
    gint64 timeout_ms = job->timeout_ms ? job->timeout_ms : HANDS_TIMEOUT_MS;

    g_assert(!h->closing);
    t->job = *job;
    t->on_done = on_done;
    t->user = user;
    t->deadline_ms = clock_steady_ms() + timeout_ms;
    t->timer.data = t;
    uv_timer_init(h->loop, &t->timer);
    uv_update_time(h->loop);
    uv_timer_start(&t->timer, on_deadline, (guint64)timeout_ms, 0);
    g_hash_table_add(h->open, t);
    mailbox_send(h->to_thread, t);
}

guint hands_load(const Hands *h)
{
    return g_hash_table_size(h->open);
}

void hands_close(Hands *h, void (*on_closed)(void *user), void *user)
{
    g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_CANCELLED, "the engine is going down");
    g_autofree gpointer *open = NULL;
    guint n = 0;

    g_assert(!h->closing);
    h->closing = TRUE;
    h->on_closed = on_closed;
    h->user = user;
    open = g_hash_table_get_keys_as_array(h->open, &n);
    for (guint i = 0; i < n; i++) {
        Task *t = open[i];

        uv_timer_stop(&t->timer);
        if (!atomic_load(&t->given_up))
            answer(t, error);
    }
    mailbox_send(h->to_thread, &mark);
}

/* The everyday jobs. */

static gboolean work_inventory(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    (void)request;
    return (*ret_result = inventory_read(conn, error)) != NULL;
}

static gboolean work_vm(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Id *vm = request;

    return (*ret_result = vm_read(conn, *vm, error)) != NULL;
}

static gboolean work_definition(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Id *vm = request;

    return (*ret_result = vm_definition(conn, *vm, VM_DEFINITION_WHOLE, error)) != NULL;
}

static gboolean work_host(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    (void)request;
    return (*ret_result = host_read(conn, error)) != NULL;
}

static gboolean work_autostart_on(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Id *vm = request;

    (void)ret_result;
    return lifecycle_set_autostart(conn, *vm, TRUE, error);
}

static gboolean work_autostart_off(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Id *vm = request;

    (void)ret_result;
    return lifecycle_set_autostart(conn, *vm, FALSE, error);
}

static gboolean work_suspend(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Id *vm = request;
    const char *guest;

    (void)ret_result;
    return lifecycle_stand_still(conn, *vm, &guest, error);
}

static gboolean work_resume(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Id *vm = request;
    g_autoptr(virDomain) dom = vm_lookup(conn, *vm, error);
    VmState state;

    (void)ret_result;
    return dom && vm_state_read(dom, &state, NULL, error) &&
           (state != VM_STATE_PAUSED || lifecycle_resume(conn, *vm, error));
}

static gboolean work_set_clock(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Id *vm = request;

    (void)ret_result;
    return lifecycle_set_clock(conn, *vm, error);
}

static void json_free(gpointer doc)
{
    json_decref(doc);
}

static gpointer id_copy(Id vm)
{
    return g_memdup2(&vm, sizeof(vm));
}

void hands_inventory(Hands *h, HandsDone on_done, void *user)
{
    HandsJob job = {.what = "reading the inventory",
                    .work = work_inventory,
                    .free_result = (GDestroyNotify)inventory_free};

    hands_submit(h, &job, on_done, user);
}

void hands_vm(Hands *h, Id vm, HandsDone on_done, void *user)
{
    HandsJob job = {.what = "reading a VM",
                    .work = work_vm,
                    .request = id_copy(vm),
                    .free_request = g_free,
                    .free_result = (GDestroyNotify)vm_free};

    hands_submit(h, &job, on_done, user);
}

void hands_definition(Hands *h, Id vm, HandsDone on_done, void *user)
{
    HandsJob job = {.what = "reading a definition",
                    .work = work_definition,
                    .request = id_copy(vm),
                    .free_request = g_free,
                    .free_result = g_free};

    hands_submit(h, &job, on_done, user);
}

void hands_host(Hands *h, HandsDone on_done, void *user)
{
    HandsJob job = {.what = "reading the host", .work = work_host, .free_result = json_free};

    hands_submit(h, &job, on_done, user);
}

void hands_suspend(Hands *h, Id vm, HandsDone on_done, void *user)
{
    HandsJob job = {
        .what = "suspending a VM", .work = work_suspend, .request = id_copy(vm), .free_request = g_free};

    hands_submit(h, &job, on_done, user);
}

void hands_resume(Hands *h, Id vm, HandsDone on_done, void *user)
{
    HandsJob job = {
        .what = "resuming a VM", .work = work_resume, .request = id_copy(vm), .free_request = g_free};

    hands_submit(h, &job, on_done, user);
}

void hands_set_clock(Hands *h, Id vm, HandsDone on_done, void *user)
{
    HandsJob job = {.what = "setting a guest's clock",
                    .work = work_set_clock,
                    .request = id_copy(vm),
                    .free_request = g_free};

    hands_submit(h, &job, on_done, user);
}

void hands_set_autostart(Hands *h, Id vm, gboolean on, HandsDone on_done, void *user)
{
    HandsJob job = {.what = "setting autostart",
                    .work = on ? work_autostart_on : work_autostart_off,
                    .request = id_copy(vm),
                    .free_request = g_free};

    hands_submit(h, &job, on_done, user);
}
