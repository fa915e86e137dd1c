/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/fence.h"

#include "orchestrator/fence_file.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/loop/errand.h"

/* What the interface of fence agents has status end with. */
#define STATUS_ON 0
#define STATUS_OFF 2
#define STUCK_MS 2000 /* that a process which was killed may take to end */

const FenceTimes FENCE_TIMES_USUAL = {.limit_ms = 60000, .again_ms = 1000, .look_ms = 30000};

struct Fences {
    uv_loop_t *loop;
    char *folder;
    FenceTimes times;
    void (*tell)(void *user, const Event *event);
    void *user;
    GPtrArray *runs; /* Run: those under way */
    gboolean closed;
};

typedef struct {
    FenceDone done;     /* of fence_start() … */
    FenceLooked looked; /* … or of fence_look() */
    void *user;
} Waiter;

/* One host that is being switched off, or looked at. */
typedef struct {
    Fences *fences;
    char *host;
    FenceFile *file; /* NULL: it cannot be used */
    gboolean only_looks;
    const char *action; /* that its agent is at, or was last */
    Errand *errand;     /* NULL: none runs */
    uv_timer_t timer;   /* to ask again, or that its agent has not ended */
    gint64 end_ms;
    gint64 asked_ms; /* for its status */
    GArray *waiters; /* Waiter */
    GError *doubt;   /* why it is not certain yet; NULL: nothing was said of it */
} Run;

/* --- its end ------------------------------------------------------------------- */

static void on_closed(uv_handle_t *timer)
{
    Run *run = timer->data;

    g_array_unref(run->waiters);
    fence_file_free(run->file);
    g_clear_error(&run->doubt);
    g_free(run->host);
    g_free(run);
}

static void publish(const Run *run, const GError *error)
{
    const Fences *f = run->fences;
    g_autoptr(Event) event = NULL;

    if (run->only_looks || f->closed)
        return;
    event = event_new(error ? EVENT_FENCE_FAILED : EVENT_FENCED, NULL, run->host, NULL,
                      error ? error->message : run->file->agent);
    f->tell(f->user, event);
}

static void end(Run *run, gboolean is_off, const GError *error)
{
    g_ptr_array_remove_fast(run->fences->runs, run);
    publish(run, error);
    for (guint i = 0; i < run->waiters->len; i++) {
        const Waiter *w = &g_array_index(run->waiters, Waiter, i);

        if (w->looked)
            w->looked(w->user, is_off, error);
        else
            w->done(w->user, run->asked_ms, error);
    }
    uv_close((uv_handle_t *)&run->timer, on_closed);
}

static void give_up(Run *run)
{
    g_autoptr(GError) error = run->doubt ? g_steal_pointer(&run->doubt)
                                         : g_error_new(US_ERROR, US_ERROR_TIMEOUT, "it took too long");

    end(run, FALSE, error);
}

/* --- its agent ------------------------------------------------------------------- */

static void ask(Run *run, const char *action);

static void on_again(uv_timer_t *timer)
{
    ask(timer->data, "status");
}

/* An answer that was cut short at the end says less than the one before. */
static void take_doubt(Run *run, GError *steal_doubt)
{
    if (run->doubt && g_error_matches(steal_doubt, US_ERROR, US_ERROR_TIMEOUT)) {
        g_error_free(steal_doubt);
        return;
    }
    g_clear_error(&run->doubt);
    run->doubt = steal_doubt;
}

/* Until there is no time for another answer. */
static void wait_on(Run *run, GError *steal_doubt)
{
    const FenceTimes *times = &run->fences->times;

    take_doubt(run, steal_doubt);
    if (run->only_looks || clock_steady_ms() + times->again_ms >= run->end_ms)
        give_up(run);
    else
        uv_timer_start(&run->timer, on_again, (uint64_t)times->again_ms, 0);
}

static GError *says_on(const Run *run)
{
    return g_error_new(US_ERROR, US_ERROR_FAILED,
                       "%s was told to switch it off, and says of its status: it is on", run->file->agent);
}

static GError *is_unclear(const ErrandEnd *ended, const char *said)
{
    GError *error = NULL;

    (void)errand_check(ended, said, &error);
    g_prefix_error(&error, "its status is not known: ");
    return error;
}

static void on_status(Run *run, const ErrandEnd *ended, const char *said)
{
    gboolean by_itself = !ended->failure && !ended->is_late && ended->signal == 0;
    gboolean is_on = by_itself && ended->status == STATUS_ON;

    if (by_itself && ended->status == STATUS_OFF)
        end(run, TRUE, NULL);
    else if (is_on && run->only_looks)
        end(run, FALSE, NULL);
    else
        wait_on(run, is_on ? says_on(run) : is_unclear(ended, said));
}

static void on_off(Run *run, const ErrandEnd *ended, const char *said)
{
    if (errand_check(ended, said, &run->doubt))
        ask(run, "status");
    else
        give_up(run);
}

/* The kernel does not end it: so it is not waited for. */
static void on_stuck(uv_timer_t *timer)
{
    Run *run = timer->data;

    errand_cancel(g_steal_pointer(&run->errand));
    g_clear_error(&run->doubt);
    run->doubt = g_error_new(US_ERROR, US_ERROR_TIMEOUT, "%s could not even be killed",
                             run->file ? run->file->agent : "it");
    give_up(run);
}

static void on_end(void *user, const ErrandEnd *ended)
{
    Run *run = user;
    g_autofree char *said = run->file ? fence_file_hide(run->file, ended->said, ended->is_cut) : g_strdup("");

    run->errand = NULL;
    uv_timer_stop(&run->timer);
    if (*said)
        log_info("%s: %s of %s said: %s", ended->path, run->action, run->host, said);
    if (g_str_equal(run->action, "status"))
        on_status(run, ended, said);
    else
        on_off(run, ended, said);
}

static void ask_agent(Run *run, const GError *refusal)
{
    g_autofree char *told =
        run->file ? g_strdup_printf("%saction=%s\n", run->file->told, run->action) : g_strdup("");
    gint64 left_ms = run->end_ms - clock_steady_ms();
    const ErrandOrder order = {.path = run->file ? run->file->agent : run->host,
                               .input = told,
                               .limit_ms = MAX(left_ms, 1),
                               .refusal = refusal};

    run->errand = errand_start(run->fences->loop, &order, on_end, run);
    uv_timer_start(&run->timer, on_stuck, (uint64_t)(order.limit_ms + STUCK_MS), 0);
}

static void ask(Run *run, const char *action)
{
    log_notice("host %s: its fence, %s, is asked for %s", run->host, run->file->agent, action);
    run->action = action;
    run->asked_ms = clock_steady_ms();
    ask_agent(run, NULL);
}

/* --- its beginning ---------------------------------------------------------------- */

/* What cannot be used is said as what could not be started is. */
static void begin(Run *run, const char *action)
{
    g_autoptr(GError) refusal = NULL;

    run->file = fence_file_read(run->fences->folder, run->host, &refusal);
    if (run->file) {
        ask(run, action);
        return;
    }
    run->action = "off";
    ask_agent(run, refusal);
}

static Run *find(const Fences *f, const char *host)
{
    for (guint i = 0; i < f->runs->len; i++) {
        Run *run = f->runs->pdata[i];

        if (!run->only_looks && g_str_equal(run->host, host))
            return run;
    }
    return NULL;
}

static Run *run_new(Fences *f, const char *host, gboolean only_looks)
{
    Run *run = g_new0(Run, 1);

    g_assert(!f->closed);
    *run = (Run){.fences = f,
                 .host = g_strdup(host),
                 .only_looks = only_looks,
                 .end_ms = clock_steady_ms() + (only_looks ? f->times.look_ms : f->times.limit_ms),
                 .waiters = g_array_new(FALSE, FALSE, sizeof(Waiter))};
    uv_timer_init(f->loop, &run->timer);
    run->timer.data = run;
    g_ptr_array_add(f->runs, run);
    return run;
}

void fence_start(Fences *f, const char *host, FenceDone done, void *user)
{
    const Waiter waiter = {.done = done, .user = user};
    Run *run = find(f, host), *known = run;

    if (!known)
        run = run_new(f, host, FALSE);
    g_array_append_val(run->waiters, waiter);
    if (!known)
        begin(run, "off");
}

void fence_look(Fences *f, const char *host, FenceLooked looked, void *user)
{
    const Waiter waiter = {.looked = looked, .user = user};
    Run *run = run_new(f, host, TRUE);

    g_array_append_val(run->waiters, waiter);
    begin(run, "status");
}

/* --- the whole -------------------------------------------------------------------- */

gboolean fence_is_set(const Fences *f, const char *host)
{
    return fence_file_exists(f->folder, host);
}

json_t *fence_describe(const Fences *f, const char *host)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FenceFile) file = NULL;

    if (!fence_is_set(f, host))
        return json_null();
    file = fence_file_read(f->folder, host, &error);
    return json_pack("{s:s?, s:s?}", "agent", file ? file->agent : NULL, "why",
                     error ? error->message : NULL);
}

Fences *fences_new(uv_loop_t *loop, const char *folder, const FenceTimes *times,
                   void (*tell)(void *user, const Event *event), void *user)
{
    Fences *f = g_new0(Fences, 1);

    *f = (Fences){.loop = loop,
                  .folder = g_strdup(folder),
                  .times = *times,
                  .tell = tell,
                  .user = user,
                  .runs = g_ptr_array_new()};
    return f;
}

void fences_close(Fences *f)
{
    g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_CANCELLED, "the controller has ended");

    f->closed = TRUE;
    while (f->runs->len > 0) {
        Run *run = f->runs->pdata[0];

        if (run->errand)
            errand_cancel(run->errand);
        end(run, FALSE, error);
    }
}

void fences_free(Fences *f)
{
    if (!f)
        return;
    g_ptr_array_unref(f->runs);
    g_free(f->folder);
    g_free(f);
}
