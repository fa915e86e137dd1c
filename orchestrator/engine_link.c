/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/engine_link.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/dial.h"

#define DIAL_MS 10000
#define BACKOFF_FIRST_MS 250
#define BACKOFF_LAST_MS 5000
#define ASK_LIMIT_MS 10000
#define WHOLE_EACH_MS 20000 /* the whole status is asked for … */
#define WANTED_EACH_MS 2000 /* … and if somebody lacks a word of it */
#define INFO_EACH_MS 30000
/* Room below what an engine takes at once. */
#define CALLS_AT_ONCE (RPC_OUTSTANDING - 16)

typedef struct {
    EngineLink *link;
    char *method;
    json_t *params;
    gint64 limit_ms;
    RpcAnswerFunc on_answer;
    void *user;
} Call;

struct EngineLink {
    uv_loop_t *loop;
    Identity *identity;
    guint64 incarnation;
    Id engine;
    char **addresses;
    EngineLinkEvents events;
    void *user;
    Dial *dial;
    Rpc *greeting;      /* dialled, and asked whether it obeys; NULL: none */
    Rpc *rpc;           /* it does; NULL: the link is not up */
    gboolean overruled; /* it does not, and that was told */
    uv_timer_t again;   /* dials again, when it fires */
    uv_timer_t soon;    /* answers what could not be sent */
    gint64 backoff_ms;
    GQueue *waiting; /* Call * */
    guint open;      /* calls that the engine has */
    char *why;
    json_t *info;
    gint64 info_at_ms;
    gint64 clock_offset_ms;
    gint64 whole_at_ms; /* when it was asked for last */
    gboolean wanted;
    gboolean asking_status;
    gboolean asking_info;
    gboolean closed;
    guint refs; /* timers, calls under way, the owner */
};

static void unref(EngineLink *link)
{
    if (--link->refs > 0)
        return;
    g_assert(g_queue_is_empty(link->waiting));
    g_queue_free(link->waiting);
    identity_unref(link->identity);
    g_strfreev(link->addresses);
    json_decref(link->info);
    g_free(link->why);
    g_free(link);
}

/* --- calls ------------------------------------------------------------- */

static void send_waiting(EngineLink *link);

static void end_call(Call *call, const json_t *result, const GError *error)
{
    EngineLink *link = call->link;

    call->on_answer(call->user, result, error);
    g_free(call->method);
    json_decref(call->params);
    g_free(call);
    unref(link);
}

static void on_answer(void *user, const json_t *result, const GError *error)
{
    Call *call = user;
    EngineLink *link = call->link;

    link->refs++;
    link->open--;
    end_call(call, result, error);
    send_waiting(link);
    unref(link);
}

static GError *unreachable(const EngineLink *link)
{
    if (link->closed)
        return g_error_new(US_ERROR, US_ERROR_CANCELLED, "the controller lets this engine go");
    return g_error_new(US_ERROR, US_ERROR_UNREACHABLE, "its engine is not reached: %s",
                       link->why ? link->why : "it is being dialled");
}

/* What came before the link was lost, or while it was down. */
static void fail_waiting(EngineLink *link)
{
    g_autoptr(GError) why = unreachable(link);
    Call *call;

    /* Only those of now: who asks again from within an answer is answered later. Who closes from within one has had the others answered. */
    for (guint n = link->waiting->length; n > 0 && (call = g_queue_pop_head(link->waiting)); n--)
        end_call(call, NULL, why);
}

static void on_soon(uv_timer_t *timer)
{
    EngineLink *link = timer->data;

    link->refs++;
    if (link->rpc)
        send_waiting(link);
    else
        fail_waiting(link);
    if (!link->rpc && link->waiting->length > 0 && !link->closed)
        uv_timer_start(&link->soon, on_soon, 0, 0);
    unref(link);
}

static void send_waiting(EngineLink *link)
{
    while (link->rpc && link->open < CALLS_AT_ONCE && link->waiting->length > 0) {
        Call *call = g_queue_pop_head(link->waiting);

        link->open++;
        rpc_call(link->rpc, call->method, call->params, call->limit_ms, on_answer, call);
    }
}

void engine_link_call(EngineLink *link, const char *method, const json_t *params, gint64 limit_ms,
                      RpcAnswerFunc on_answer_to, void *user)
{
    Call *call = g_new0(Call, 1);

    *call = (Call){link,     g_strdup(method), params ? json_incref((json_t *)params) : json_object(),
                   limit_ms, on_answer_to,     user};
    link->refs++;
    g_queue_push_tail(link->waiting, call);
    if (link->rpc)
        send_waiting(link);
    else if (!link->closed)
        uv_timer_start(&link->soon, on_soon, 0, 0);
}

/* --- what the engine says ---------------------------------------------- */

static void heard(EngineLink *link, const json_t *status)
{
    if (!link->closed)
        link->events.on_news(link->user, status);
}

static void on_news(void *user, const json_t *news)
{
    EngineLink *link = user;

    const char *event = json_string_value(json_object_get(news, "event"));

    if (link->rpc && (g_strcmp0(event, "status") == 0 || g_strcmp0(event, "changes") == 0))
        heard(link, news);
}

static void on_status(void *user, const json_t *result, const GError *error)
{
    EngineLink *link = user;

    link->asking_status = FALSE;
    if (!error)
        heard(link, result);
}

static void ask_status(EngineLink *link)
{
    if (link->asking_status)
        return;
    link->asking_status = TRUE;
    link->wanted = FALSE;
    link->whole_at_ms = clock_steady_ms();
    engine_link_call(link, "status", NULL, ASK_LIMIT_MS, on_status, link);
}

static void on_info(void *user, const json_t *result, const GError *error)
{
    EngineLink *link = user;
    const json_t *wall = json_object_get(result, "wall_ms");

    link->asking_info = FALSE;
    if (error)
        return;
    json_decref(link->info);
    link->info = json_deep_copy(result);
    if (json_is_integer(wall))
        link->clock_offset_ms = json_integer_value(wall) - clock_wall_ms();
}

static void ask_info(EngineLink *link)
{
    if (link->asking_info)
        return;
    link->asking_info = TRUE;
    link->info_at_ms = clock_steady_ms();
    engine_link_call(link, "host.info", NULL, ASK_LIMIT_MS, on_info, link);
}

void engine_link_want_status(EngineLink *link)
{
    link->wanted = TRUE;
}

void engine_link_tick(EngineLink *link)
{
    gint64 now_ms = clock_steady_ms();

    if (!link->rpc)
        return;
    if (now_ms - link->whole_at_ms >= (link->wanted ? WANTED_EACH_MS : WHOLE_EACH_MS))
        ask_status(link);
    if (now_ms - link->info_at_ms >= INFO_EACH_MS)
        ask_info(link);
}

/* --- the connection ---------------------------------------------------- */

static void dial(EngineLink *link);

static void on_again(uv_timer_t *timer)
{
    dial(timer->data);
}

static void dial_later(EngineLink *link, const GError *why)
{
    g_free(link->why);
    link->why = g_strdup(why->message);
    uv_timer_start(&link->again, on_again, (guint64)link->backoff_ms, 0);
    link->backoff_ms = MIN(2 * link->backoff_ms, BACKOFF_LAST_MS);
}

static void on_closed(void *user, const GError *error)
{
    EngineLink *link = user;
    gboolean was_up = link->rpc != NULL;

    /* By somebody who was told just before that his call is lost. */
    if (link->closed)
        return;
    link->greeting = link->rpc = NULL;
    dial_later(link, error);
    if (link->waiting->length > 0)
        uv_timer_start(&link->soon, on_soon, 0, 0);
    if (was_up)
        link->events.on_down(link->user, error);
}

static void go_up(EngineLink *link)
{
    link->rpc = g_steal_pointer(&link->greeting);
    link->overruled = FALSE;
    link->backoff_ms = BACKOFF_FIRST_MS;
    g_clear_pointer(&link->why, g_free);
    link->events.on_up(link->user);
    ask_info(link);
    ask_status(link);
    send_waiting(link);
}

static void give_up(EngineLink *link, const GError *why)
{
    rpc_close(g_steal_pointer(&link->greeting), NULL);
    dial_later(link, why);
    if (link->waiting->length > 0)
        uv_timer_start(&link->soon, on_soon, 0, 0);
}

static void be_overruled(EngineLink *link, const json_t *result)
{
    g_autoptr(GError) why = g_error_new(
        US_ERROR, US_ERROR_REFUSED,
        "it obeys another controller with the identity of this one and a newer memory (incarnation "
        "%" JSON_INTEGER_FORMAT ", this one has %" G_GUINT64_FORMAT ")",
        json_integer_value(json_object_get(result, "incarnation")), link->incarnation);

    link->backoff_ms = BACKOFF_LAST_MS;
    give_up(link, why);
    if (!link->overruled)
        link->events.on_overruled(link->user);
    link->overruled = TRUE;
}

/* A lost link is on_closed()'s, and one that was closed here is nobody's any more. */
static void on_obeyed(void *user, const json_t *result, const GError *error)
{
    EngineLink *link = user;

    if (link->greeting && !rpc_is_over(link->greeting)) {
        if (error)
            give_up(link, error);
        else if (json_is_true(json_object_get(result, "obeyed")))
            go_up(link);
        else
            be_overruled(link, result);
    }
    unref(link);
}

/* Nothing else is said before its answer. */
static void ask_obedience(EngineLink *link)
{
    json_auto_t *params = json_pack("{s:I}", "incarnation", (json_int_t)link->incarnation);

    link->refs++;
    rpc_call(link->greeting, "host.obey", params, ASK_LIMIT_MS, on_obeyed, link);
}

static void on_dialled(void *user, Link *open, const GError *error)
{
    EngineLink *link = user;
    RpcEvents events = {.on_news = on_news, .on_closed = on_closed};
    gboolean old;

    link->dial = NULL;
    if (error) {
        dial_later(link, error);
        return;
    }
    old = link_hello(open)->version_max < HELLO_VERSION_OBEY;
    link->greeting = rpc_new(link->loop, open, &events, link);
    if (old)
        go_up(link);
    else
        ask_obedience(link);
}

static void dial(EngineLink *link)
{
    LinkSettings settings = {.identity = link->identity, .purpose = PURPOSE_CONTROL, .expect = link->engine};

    link->dial =
        dial_start(link->loop, (const char *const *)link->addresses, &settings, DIAL_MS, on_dialled, link);
}

EngineLink *engine_link_new(uv_loop_t *loop, Identity *identity, guint64 incarnation, Id engine,
                            const char *const *addresses, const EngineLinkEvents *events, void *user)
{
    EngineLink *link = g_new0(EngineLink, 1);

    link->loop = loop;
    link->identity = identity_ref(identity);
    link->incarnation = incarnation;
    link->engine = engine;
    link->addresses = g_strdupv((char **)addresses);
    link->events = *events;
    link->user = user;
    link->backoff_ms = BACKOFF_FIRST_MS;
    link->waiting = g_queue_new();
    link->refs = 3;
    uv_timer_init(loop, &link->again);
    uv_timer_init(loop, &link->soon);
    link->again.data = link->soon.data = link;
    dial(link);
    return link;
}

void engine_link_move(EngineLink *link, const char *const *addresses)
{
    g_strfreev(link->addresses);
    link->addresses = g_strdupv((char **)addresses);
    link->backoff_ms = BACKOFF_FIRST_MS;
    if (link->rpc || link->greeting)
        return;
    uv_timer_stop(&link->again);
    dial_cancel(g_steal_pointer(&link->dial));
    dial(link);
}

gboolean engine_link_is_up(const EngineLink *link)
{
    return link->rpc != NULL;
}

const char *engine_link_why(const EngineLink *link)
{
    return link->why;
}

const json_t *engine_link_info(const EngineLink *link)
{
    return link->info;
}

gint64 engine_link_clock_offset_ms(const EngineLink *link)
{
    return link->clock_offset_ms;
}

static void on_timer_closed(uv_handle_t *timer)
{
    EngineLink *link = timer->data;

    fail_waiting(link); /* asked after the close */
    unref(link);
}

void engine_link_close(EngineLink *link)
{
    if (!link)
        return;
    link->closed = TRUE;
    dial_cancel(g_steal_pointer(&link->dial));
    rpc_close(g_steal_pointer(&link->greeting), NULL);
    rpc_close(g_steal_pointer(&link->rpc), NULL);
    fail_waiting(link);
    uv_close((uv_handle_t *)&link->again, on_timer_closed);
    uv_close((uv_handle_t *)&link->soon, on_timer_closed);
    unref(link);
}
