/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/engine_link.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"

#define ASK_LIMIT_MS 10000
#define WHOLE_EACH_MS 20000 /* the whole status is asked for … */
#define WANTED_EACH_MS 2000 /* … and if somebody lacks a word of it */
#define INFO_EACH_MS 30000

struct EngineLink {
    Standing *standing;
    guint64 incarnation;
    EngineLinkEvents events;
    void *user;
    gboolean overruled; /* it does not obey, and that was told */
    json_t *info;
    gint64 info_at_ms;
    gint64 clock_offset_ms;
    gint64 whole_at_ms; /* when it was asked for last */
    gboolean wanted;
    gboolean asking_status;
    gboolean asking_info;
    gboolean closed;
};

void engine_link_call(EngineLink *link, const char *method, const json_t *params, gint64 limit_ms,
                      RpcAnswerFunc on_answer, void *user)
{
    standing_call(link->standing, method, params, limit_ms, on_answer, user);
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

    if (g_strcmp0(event, "status") == 0 || g_strcmp0(event, "changes") == 0)
        heard(link, news);
    else if (g_strcmp0(event, "renewals") == 0 && !link->closed)
        link->events.on_renewals(link->user, news);
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

    if (!standing_is_up(link->standing))
        return;
    if (now_ms - link->whole_at_ms >= (link->wanted ? WANTED_EACH_MS : WHOLE_EACH_MS))
        ask_status(link);
    if (now_ms - link->info_at_ms >= INFO_EACH_MS)
        ask_info(link);
}

/* --- the connection ---------------------------------------------------- */

/* Nothing else is said before its answer. */
static const char *ask_obedience(void *user, const Hello *hello, json_t **ret_params)
{
    const EngineLink *link = user;

    if (hello->version_max < HELLO_VERSION_OBEY)
        return NULL;
    *ret_params = json_pack("{s:I}", "incarnation", (json_int_t)link->incarnation);
    return "host.obey";
}

static gboolean obeys(void *user, const json_t *answer, GError **error)
{
    const EngineLink *link = user;

    if (json_is_true(json_object_get(answer, "obeyed")))
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "it obeys another controller with the identity of this one and a newer memory (incarnation "
                "%" JSON_INTEGER_FORMAT ", this one has %" G_GUINT64_FORMAT ")",
                json_integer_value(json_object_get(answer, "incarnation")), link->incarnation);
    return FALSE;
}

static void on_overruled(void *user)
{
    EngineLink *link = user;

    if (!link->overruled)
        link->events.on_overruled(link->user);
    link->overruled = TRUE;
}

static void on_up(void *user)
{
    EngineLink *link = user;

    link->overruled = FALSE;
    link->events.on_up(link->user);
    ask_info(link);
    ask_status(link);
}

static void on_down(void *user, const GError *why)
{
    EngineLink *link = user;

    link->events.on_down(link->user, why);
}

static void on_gone(void *user)
{
    EngineLink *link = user;

    json_decref(link->info);
    g_free(link);
}

EngineLink *engine_link_new(uv_loop_t *loop, Identity *identity, guint64 incarnation, Id engine,
                            const char *const *addresses, const EngineLinkEvents *events, void *user)
{
    static const StandingEvents EVENTS = {.greet = ask_obedience,
                                          .is_welcome = obeys,
                                          .on_unwelcome = on_overruled,
                                          .on_up = on_up,
                                          .on_down = on_down,
                                          .on_news = on_news,
                                          .on_gone = on_gone};
    EngineLink *link = g_new0(EngineLink, 1);

    link->incarnation = incarnation;
    link->events = *events;
    link->user = user;
    link->standing = standing_new(loop, identity, PURPOSE_CONTROL, engine, addresses, &EVENTS, link);
    return link;
}

void engine_link_move(EngineLink *link, const char *const *addresses)
{
    standing_move(link->standing, addresses);
}

gboolean engine_link_is_up(const EngineLink *link)
{
    return standing_is_up(link->standing);
}

const char *engine_link_why(const EngineLink *link)
{
    return standing_why(link->standing);
}

const json_t *engine_link_info(const EngineLink *link)
{
    return link->info;
}

gint64 engine_link_clock_offset_ms(const EngineLink *link)
{
    return link->clock_offset_ms;
}

void engine_link_close(EngineLink *link)
{
    if (!link)
        return;
    link->closed = TRUE;
    standing_close(link->standing, "the controller lets this engine go");
}
