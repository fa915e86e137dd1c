/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/link/standing.h"

#include "vmconnect/base/error.h"
#include "vmconnect/link/dial.h"

#define DIAL_MS 10000
#define BACKOFF_FIRST_MS 250
#define BACKOFF_LAST_MS 2000
#define GREETING_LIMIT_MS 10000
/* Room below what a peer takes at once. */
#define CALLS_AT_ONCE (RPC_OUTSTANDING - 16)

typedef struct {
    Standing *standing;
    char *method;
    json_t *params;
    gint64 limit_ms;
    RpcAnswerFunc on_answer;
    void *user;
} Call;

struct Standing {
    uv_loop_t *loop;
    Identity *identity;
    Purpose purpose;
    Id engine;
    char **addresses;
    StandingEvents events;
    void *user;
    Dial *dial;
    Rpc *greeting;    /* dialled, and its first question was asked; NULL: none */
    Rpc *rpc;         /* it is up; NULL: it is not */
    uv_timer_t again; /* dials again, when it fires */
    uv_timer_t soon;  /* answers what could not be sent */
    gint64 backoff_ms;
    GQueue *waiting; /* Call * */
    guint open;      /* calls that the peer has */
    char *why;
    gboolean closed;
    guint refs; /* timers, calls under way, the owner */
};

static void unref(Standing *standing)
{
    if (--standing->refs > 0)
        return;
    g_assert(g_queue_is_empty(standing->waiting));
    g_queue_free(standing->waiting);
    identity_unref(standing->identity);
    g_strfreev(standing->addresses);
    g_free(standing->why);
    if (standing->events.on_gone)
        standing->events.on_gone(standing->user);
    g_free(standing);
}

/* --- calls ------------------------------------------------------------- */

static void send_waiting(Standing *standing);

static void end_call(Call *call, const json_t *result, const GError *error)
{
    Standing *standing = call->standing;

    call->on_answer(call->user, result, error);
    g_free(call->method);
    json_decref(call->params);
    g_free(call);
    unref(standing);
}

static void on_answer(void *user, const json_t *result, const GError *error)
{
    Call *call = user;
    Standing *standing = call->standing;

    standing->refs++;
    standing->open--;
    end_call(call, result, error);
    send_waiting(standing);
    unref(standing);
}

static GError *unreachable(const Standing *standing)
{
    if (standing->closed)
        return g_error_new_literal(US_ERROR, US_ERROR_CANCELLED, standing->why);
    return g_error_new(US_ERROR, US_ERROR_UNREACHABLE, "its engine is not reached: %s",
                       standing->why ? standing->why : "it is being dialled");
}

/* What came before the link was lost, or while it was down. */
static void fail_waiting(Standing *standing)
{
    g_autoptr(GError) why = unreachable(standing);
    Call *call;

    /* Only those of now: who asks again from within an answer is answered later. Who closes from within one has had the others answered. */
    for (guint n = standing->waiting->length; n > 0 && (call = g_queue_pop_head(standing->waiting)); n--)
        end_call(call, NULL, why);
}

static void on_soon(uv_timer_t *timer);

/* Never before who asks has returned. */
static void answer_soon(Standing *standing)
{
    if (standing->waiting->length > 0 && !standing->closed)
        uv_timer_start(&standing->soon, on_soon, 0, 0);
}

static void on_soon(uv_timer_t *timer)
{
    Standing *standing = timer->data;

    standing->refs++;
    if (standing->rpc)
        send_waiting(standing);
    else
        fail_waiting(standing);
    unref(standing);
}

static void send_waiting(Standing *standing)
{
    while (standing->rpc && standing->open < CALLS_AT_ONCE && standing->waiting->length > 0) {
        Call *call = g_queue_pop_head(standing->waiting);

        standing->open++;
        rpc_call(standing->rpc, call->method, call->params, call->limit_ms, on_answer, call);
    }
}

void standing_call(Standing *standing, const char *method, const json_t *params, gint64 limit_ms,
                   RpcAnswerFunc on_answer_to, void *user)
{
    Call *call = g_new0(Call, 1);

    *call = (Call){standing, g_strdup(method), params ? json_incref((json_t *)params) : json_object(),
                   limit_ms, on_answer_to,     user};
    standing->refs++;
    g_queue_push_tail(standing->waiting, call);
    if (standing->rpc)
        send_waiting(standing);
    else
        answer_soon(standing);
}

/* --- the connection ---------------------------------------------------- */

static void dial(Standing *standing);

static void on_again(uv_timer_t *timer)
{
    dial(timer->data);
}

static void dial_later(Standing *standing, const GError *why)
{
    g_free(standing->why);
    standing->why = g_strdup(why->message);
    uv_timer_start(&standing->again, on_again, (guint64)standing->backoff_ms, 0);
    standing->backoff_ms = MIN(2 * standing->backoff_ms, BACKOFF_LAST_MS);
}

static void on_news(void *user, const json_t *news)
{
    const Standing *standing = user;

    if (standing->rpc && standing->events.on_news)
        standing->events.on_news(standing->user, news);
}

static void on_closed(void *user, const GError *error)
{
    Standing *standing = user;
    gboolean was_up = standing->rpc != NULL;

    /* By somebody who was told just before that his call is lost. */
    if (standing->closed)
        return;
    standing->greeting = standing->rpc = NULL;
    dial_later(standing, error);
    answer_soon(standing);
    if (was_up && standing->events.on_down)
        standing->events.on_down(standing->user, error);
}

static void go_up(Standing *standing)
{
    standing->rpc = g_steal_pointer(&standing->greeting);
    standing->backoff_ms = BACKOFF_FIRST_MS;
    g_clear_pointer(&standing->why, g_free);
    if (standing->events.on_up)
        standing->events.on_up(standing->user);
    send_waiting(standing);
}

static void give_up(Standing *standing, const GError *why)
{
    rpc_close(g_steal_pointer(&standing->greeting), NULL);
    dial_later(standing, why);
    answer_soon(standing);
}

static void be_unwelcome(Standing *standing, const GError *why)
{
    standing->backoff_ms = BACKOFF_LAST_MS;
    give_up(standing, why);
    if (standing->events.on_unwelcome)
        standing->events.on_unwelcome(standing->user);
}

/* A lost link is on_closed()'s, and one that was closed here is nobody's any more. */
static void on_greeted(void *user, const json_t *result, const GError *error)
{
    Standing *standing = user;
    g_autoptr(GError) why = NULL;

    if (standing->greeting && !rpc_is_over(standing->greeting)) {
        if (error)
            give_up(standing, error);
        else if (standing->events.is_welcome(standing->user, result, &why))
            go_up(standing);
        else
            be_unwelcome(standing, why);
    }
    unref(standing);
}

static void greet(Standing *standing, const Hello *hello)
{
    json_auto_t *params = NULL;
    const char *method =
        standing->events.greet ? standing->events.greet(standing->user, hello, &params) : NULL;

    if (!method) {
        go_up(standing);
        return;
    }
    standing->refs++;
    rpc_call(standing->greeting, method, params, GREETING_LIMIT_MS, on_greeted, standing);
}

static void on_dialled(void *user, Link *open, const GError *error)
{
    Standing *standing = user;
    RpcEvents events = {.on_news = on_news, .on_closed = on_closed};
    Hello hello;

    standing->dial = NULL;
    if (error) {
        dial_later(standing, error);
        return;
    }
    hello = *link_hello(open);
    standing->greeting = rpc_new(standing->loop, open, &events, standing);
    greet(standing, &hello);
}

static void dial(Standing *standing)
{
    LinkSettings settings = {
        .identity = standing->identity, .purpose = standing->purpose, .expect = standing->engine};

    standing->dial = dial_start(standing->loop, (const char *const *)standing->addresses, &settings, DIAL_MS,
                                on_dialled, standing);
}

Standing *standing_new(uv_loop_t *loop, Identity *identity, Purpose purpose, Id engine,
                       const char *const *addresses, const StandingEvents *events, void *user)
{
    Standing *standing = g_new0(Standing, 1);

    g_assert(!events->greet == !events->is_welcome);
    standing->loop = loop;
    standing->identity = identity_ref(identity);
    standing->purpose = purpose;
    standing->engine = engine;
    standing->addresses = g_strdupv((char **)addresses);
    standing->events = *events;
    standing->user = user;
    standing->backoff_ms = BACKOFF_FIRST_MS;
    standing->waiting = g_queue_new();
    standing->refs = 3;
    uv_timer_init(loop, &standing->again);
    uv_timer_init(loop, &standing->soon);
    standing->again.data = standing->soon.data = standing;
    dial(standing);
    return standing;
}

void standing_move(Standing *standing, const char *const *addresses)
{
    g_strfreev(standing->addresses);
    standing->addresses = g_strdupv((char **)addresses);
    standing->backoff_ms = BACKOFF_FIRST_MS;
    if (standing->rpc || standing->greeting)
        return;
    uv_timer_stop(&standing->again);
    dial_cancel(g_steal_pointer(&standing->dial));
    dial(standing);
}

gboolean standing_is_up(const Standing *standing)
{
    return standing->rpc != NULL;
}

const char *standing_why(const Standing *standing)
{
    return standing->why;
}

static void on_timer_closed(uv_handle_t *timer)
{
    Standing *standing = timer->data;

    fail_waiting(standing); /* asked after the close */
    unref(standing);
}

void standing_close(Standing *standing, const char *why)
{
    if (!standing)
        return;
    g_free(standing->why);
    standing->why = g_strdup(why);
    standing->closed = TRUE;
    dial_cancel(g_steal_pointer(&standing->dial));
    rpc_close(g_steal_pointer(&standing->greeting), NULL);
    rpc_close(g_steal_pointer(&standing->rpc), NULL);
    fail_waiting(standing);
    uv_close((uv_handle_t *)&standing->again, on_timer_closed);
    uv_close((uv_handle_t *)&standing->soon, on_timer_closed);
    unref(standing);
}
