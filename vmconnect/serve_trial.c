/* SPDX-License-Identifier: Apache-2.0 */
/* serve_trial - a host is tried out, by hands of their own: a trial takes seconds, and what else
 * is asked of libvirt does not wait for it.
 *
 * Trials come one after the other. A result is the answer for all who asked before it was there, and one
 * without a problem for some time after: many scenarios are verified by one trial, one that takes long
 * does not keep the host busy, and who has mended something sees it at once. */
#include "vmconnect/serve_parts.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/log.h"
#include "vmconnect/hypervisor/trial_mark.h"
#include "vmconnect/trial/leftovers.h"
#include "vmconnect/trial/trial.h"

/* For a host where libvirt asks QEMU anew what it can do at each start and each definition, ten seconds each time. */
#define TRIAL_MS 80000
/* A good one is good for so many times as long as it took. */
#define GOOD_FOR_TIMES 4
#define HOOK_FILE "/etc/libvirt/hooks/qemu.d/understudy"

/* The thread's. */
struct Trials {
    TrialSite site;
    json_t *last; /* NULL: none yet */
    gint64 begun_ms;
    gint64 ended_ms;
};

typedef struct {
    Trials *trials;
    EngineFacts *facts;
    gint64 asked_ms;
} Request;

Trials *trials_new(const EnginePaths *paths)
{
    Trials *t = g_new0(Trials, 1);

    t->site = (TrialSite){.store_dir = paths->store,
                          .run_dir = paths->run,
                          .nbd_dir = paths->nbd,
                          .scratch_dir = paths->scratch,
                          .hook_file = HOOK_FILE,
                          .hook_mark = TRIAL_MARK};
    return t;
}

void trials_free(Trials *t)
{
    if (!t)
        return;
    json_decref(t->last);
    g_free(t);
}

static gboolean answers(const Trials *t, gint64 asked_ms)
{
    gint64 good_ms = GOOD_FOR_TIMES * (t->ended_ms - t->begun_ms);

    if (!t->last)
        return FALSE;
    return asked_ms <= t->ended_ms ||
           (json_array_size(json_object_get(t->last, "problems")) == 0 && asked_ms <= t->ended_ms + good_ms);
}

static gboolean try_host(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    const Request *r = request;
    Trials *t = r->trials;

    /* A verification begins: what was read for others is old. */
    r->facts->until_ms = 0;
    if (!answers(t, r->asked_ms)) {
        g_clear_pointer(&t->last, json_decref);
        t->begun_ms = clock_steady_ms();
        t->last = trial_run(conn, &t->site, error);
        t->ended_ms = clock_steady_ms();
    }
    *ret_result = t->last ? json_deep_copy(t->last) : NULL;
    return t->last != NULL;
}

static gboolean tidy(virConnectPtr conn, gpointer request, gpointer *ret_result, GError **error)
{
    (void)ret_result;
    return leftovers_remove(conn, &((const Request *)request)->trials->site, error);
}

static void submit(Engine *e, HandsJob job, HandsDone on_done, void *user)
{
    Request *r = g_new(Request, 1);

    *r = (Request){e->trials, &e->facts, clock_steady_ms()};
    job.timeout_ms = TRIAL_MS;
    job.request = r;
    job.free_request = g_free;
    job.free_result = serve_free_json;
    hands_submit(e->trial_hands, &job, on_done, user);
}

void serve_host_trial(void *user, RpcReply *reply, const json_t *params)
{
    HandsJob job = {.what = "trying the host", .work = try_host};

    (void)params;
    submit(((Visit *)user)->engine, job, serve_json, reply);
}

static void on_tidy(void *user, gpointer result, const GError *error)
{
    (void)user;
    (void)result;
    if (error)
        log_warning("%s -> the next trial removes it", error->message);
}

void serve_trial_tidy(Engine *engine)
{
    HandsJob job = {.what = "removing what a trial has left", .work = tidy};

    submit(engine, job, on_tidy, NULL);
}
