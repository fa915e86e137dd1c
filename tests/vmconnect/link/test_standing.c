/* SPDX-License-Identifier: Apache-2.0 */
/* A link that is dialled again whenever it is lost, over real sockets. What it tells its owner, and what the owner's questions
 * are answered, is one trace. */
#include "answerer.h"
#include "fixture.h"

#include "vmconnect/base/error.h"
#include "vmconnect/link/standing.h"

#include <signal.h>
#include <string.h>

#define LIMIT_MS 15000
#define PATIENCE_MS 30000
#define FAREWELL "nobody wants it any more"
/* As many as it lets a peer have at a time. */
#define AT_ONCE (RPC_OUTSTANDING - 16)

static House house;

typedef struct {
    uv_loop_t loop;
    LoopLimit limit;
    Answerer engine;
    Answerer elsewhere;
    Standing *standing; /* NULL: closed … */
    Standing *asked;    /* … which may be asked still */
    GString *trace;
    char *said;           /* of the last error */
    const char *close_at; /* closed when this was noted */
    const char *ask_at;   /* asked `echo` when this was noted, once */
    gboolean reached;     /* the trace is as long as is expected */
    gsize due;
} Room;

static void ask(Room *r, const char *method);

static void note(Room *r, const char *what, const char *more)
{
    g_string_append_printf(r->trace, "%s%s ", what, more);
    if (r->ask_at && g_str_has_suffix(r->trace->str, r->ask_at)) {
        r->ask_at = NULL;
        ask(r, "echo");
        g_string_append(r->trace, "asked ");
    }
    if (r->close_at && g_str_has_suffix(r->trace->str, r->close_at)) {
        r->close_at = NULL;
        standing_close(g_steal_pointer(&r->standing), FAREWELL);
        g_string_append(r->trace, "closed ");
    }
    r->reached = r->trace->len >= r->due;
}

static void note_error(Room *r, const char *what, const GError *error)
{
    g_free(r->said);
    r->said = g_strdup(error->message);
    note(r, what, us_error_name((UsError)error->code));
}

/* Turn until that much was noted, and this it must be. */
static void expect(Room *r, const char *trace)
{
    r->due = strlen(trace);
    r->reached = r->trace->len >= r->due;
    loop_until(&r->loop, &r->reached);
    g_assert_cmpstr(r->trace->str, ==, trace);
    g_string_truncate(r->trace, 0);
}

static void on_answer(void *user, const json_t *result, const GError *error)
{
    g_assert_true(!result == (error != NULL));
    if (error)
        note_error(user, "!", error);
    else
        note(user, "answer", "");
}

static void ask(Room *r, const char *method)
{
    standing_call(r->asked, method, NULL, LIMIT_MS, on_answer, r);
}

static const char *greet(void *user, const Hello *hello, json_t **ret_params)
{
    (void)user;
    g_assert_cmpuint(hello->version_max, ==, HELLO_VERSION_MAX);
    *ret_params = json_pack("{s:i}", "memory", 7);
    return "greet";
}

static const char *greet_not(void *user, const Hello *hello, json_t **ret_params)
{
    (void)user;
    (void)hello;
    (void)ret_params;
    return NULL;
}

static gboolean is_welcome(void *user, const json_t *answer, GError **error)
{
    (void)user;
    if (json_object_get(answer, "welcome"))
        return TRUE;
    g_set_error_literal(error, US_ERROR, US_ERROR_REFUSED, "it has another guest");
    return FALSE;
}

static void on_unwelcome(void *user)
{
    note(user, "unwelcome", "");
}

static void on_up(void *user)
{
    note(user, "up", "");
}

static void on_down(void *user, const GError *why)
{
    note_error(user, "down:", why);
}

static void on_news(void *user, const json_t *news)
{
    note(user, "news:", json_string_value(json_object_get(news, "event")));
}

static void on_gone(void *user)
{
    note(user, "gone", "");
}

static const StandingEvents EVENTS = {
    .on_unwelcome = on_unwelcome, .on_up = on_up, .on_down = on_down, .on_news = on_news, .on_gone = on_gone};

static void stand_with(Room *r, const char *address, const StandingEvents *events)
{
    r->standing = standing_new(&r->loop, house.controller, PURPOSE_CONTROL, identity_peer(house.standby).id,
                               (const char *const[]){address, NULL}, events, r);
    r->asked = r->standing;
}

static void stand(Room *r)
{
    stand_with(r, r->engine.address, &EVENTS);
}

static void stand_greeting(Room *r)
{
    StandingEvents events = EVENTS;

    events.greet = greet;
    events.is_welcome = is_welcome;
    stand_with(r, r->engine.address, &events);
}

static void set_up(Room *r, gconstpointer data)
{
    (void)data;
    memset(r, 0, sizeof(*r));
    uv_loop_init(&r->loop);
    loop_limit_begin(&r->limit, &r->loop, PATIENCE_MS);
    r->trace = g_string_new(NULL);
    answerer_open(&r->engine, &r->loop, house.standby);
}

static void tear_down(Room *r, gconstpointer data)
{
    (void)data;
    standing_close(r->standing, FAREWELL);
    answerer_close(&r->engine);
    answerer_close(&r->elsewhere);
    loop_limit_end(&r->limit);
    loop_end(&r->loop);
    g_string_free(r->trace, TRUE);
    g_free(r->said);
}

/* --- asking ------------------------------------------------------------------ */

static void test_asks(Room *r, gconstpointer data)
{
    json_auto_t *news = json_pack("{s:s}", "event", "rain");

    (void)data;
    stand(r);
    g_assert_null(standing_why(r->standing));
    expect(r, "up ");
    g_assert_true(standing_is_up(r->standing));
    g_assert_null(standing_why(r->standing));
    ask(r, "echo");
    ask(r, "nonsense");
    g_assert_cmpstr(r->trace->str, ==, ""); /* never before it returns */
    expect(r, "answer !not-found ");
    answerer_tell(&r->engine, news);
    expect(r, "news:rain ");
}

/* More than a peer takes at once wait here, and none is answered BUSY. */
static void test_many(Room *r, gconstpointer data)
{
    g_autoptr(GString) all = g_string_new(NULL);

    (void)data;
    stand(r);
    expect(r, "up ");
    for (guint i = 0; i < 3 * RPC_OUTSTANDING; i++) {
        ask(r, "later");
        g_string_append(all, "answer ");
    }
    r->due = all->len;
    r->reached = FALSE;
    while (!r->reached) {
        answerer_pay(&r->engine);
        uv_run(&r->loop, UV_RUN_ONCE);
    }
    g_assert_cmpuint(r->engine.owed_most, <=, AT_ONCE);
    expect(r, all->str);
}

/* --- while it is down ----------------------------------------------------------- */

static void test_down(Room *r, gconstpointer data)
{
    (void)data;
    answerer_shut(&r->engine);
    stand(r);
    ask(r, "echo");
    g_assert_cmpstr(r->trace->str, ==, "");
    expect(r, "!unreachable ");
    g_assert_cmpstr(r->said, ==, "its engine is not reached: it is being dialled");
    while (!standing_why(r->standing))
        uv_run(&r->loop, UV_RUN_ONCE);
    g_assert_nonnull(strstr(standing_why(r->standing), "Connection refused"));
    /* Who asks again at once is answered later, and again. */
    r->ask_at = "!unreachable ";
    ask(r, "echo");
    expect(r, "!unreachable asked !unreachable ");
    g_assert_nonnull(strstr(r->said, "its engine is not reached: "));
    g_assert_nonnull(strstr(r->said, "Connection refused"));
    /* It has been dialled again all the while. */
    answerer_open(&r->engine, &r->loop, house.standby);
    expect(r, "up ");
}

static void test_lost_and_back(Room *r, gconstpointer data)
{
    g_autoptr(GError) why = g_error_new_literal(US_ERROR, US_ERROR_BUSY, "the engine has other things to do");
    g_autoptr(GString) lost = g_string_new("down:busy ");

    (void)data;
    stand(r);
    expect(r, "up ");
    for (guint i = 0; i < 3 * AT_ONCE; i++) { /* most of them wait */
        ask(r, "later");
        if (i >= AT_ONCE)
            g_string_append(lost, "!unreachable ");
    }
    while (r->engine.owed.length < AT_ONCE)
        uv_run(&r->loop, UV_RUN_ONCE);
    answerer_drop(&r->engine, why);
    while (standing_is_up(r->standing))
        uv_run(&r->loop, UV_RUN_ONCE);
    /* First what it had, then the end; what waited is not kept for a link that may come. */
    for (guint i = 0; i < AT_ONCE; i++) {
        g_assert_true(g_str_has_prefix(r->trace->str, "!busy "));
        g_string_erase(r->trace, 0, strlen("!busy "));
    }
    g_assert_true(g_str_has_prefix(r->trace->str, "down:busy "));
    g_assert_nonnull(strstr(standing_why(r->standing), "the engine has other things to do"));
    expect(r, lost->str);
    expect(r, "up ");
    g_assert_null(standing_why(r->standing));
    ask(r, "echo");
    expect(r, "answer ");
}

/* Another engine than is meant is none. */
static void test_another(Room *r, gconstpointer data)
{
    (void)data;
    answerer_open(&r->elsewhere, &r->loop, house.active);
    stand_with(r, r->elsewhere.address, &EVENTS);
    while (r->elsewhere.refused < 2)
        uv_run(&r->loop, UV_RUN_ONCE);
    g_assert_false(standing_is_up(r->standing));
    g_assert_nonnull(strstr(standing_why(r->standing), "another host answers: "));
}

/* --- the greeting ------------------------------------------------------------------ */

static void test_greeting(Room *r, gconstpointer data)
{
    (void)data;
    r->engine.welcome = json_pack("{s:b}", "welcome", 1);
    r->ask_at = "up ";
    stand_greeting(r);
    expect(r, "up asked ");
    expect(r, "answer ");
    g_assert_cmpstr(r->engine.asked->str, ==, "greet echo ");
}

/* Who asks meanwhile asks a link that is down. */
static void test_greeting_first(Room *r, gconstpointer data)
{
    json_auto_t *news = json_pack("{s:s}", "event", "rain");

    (void)data;
    stand_greeting(r);
    while (r->engine.came == 0)
        uv_run(&r->loop, UV_RUN_ONCE);
    answerer_tell(&r->engine, news);
    ask(r, "echo");
    expect(r, "!unreachable ");
    while (!standing_why(r->standing))
        uv_run(&r->loop, UV_RUN_ONCE);
    g_assert_cmpstr(r->engine.asked->str, ==, "greet ");
    g_assert_cmpstr(standing_why(r->standing), ==, "not in the mood");
    g_assert_false(standing_is_up(r->standing));
    /* An answer that is none is asked for again soon. */
    r->engine.welcome = json_pack("{s:b}", "welcome", 1);
    expect(r, "up ");
    g_assert_cmpstr(r->engine.asked->str, ==, "greet greet ");
}

static void test_unwelcome(Room *r, gconstpointer data)
{
    (void)data;
    r->engine.welcome = json_object();
    stand_greeting(r);
    expect(r, "unwelcome ");
    g_assert_false(standing_is_up(r->standing));
    g_assert_cmpstr(standing_why(r->standing), ==, "it has another guest");
    while (r->engine.links->len > 0)
        uv_run(&r->loop, UV_RUN_ONCE);
    json_object_set_new(r->engine.welcome, "welcome", json_true());
    standing_move(r->standing, (const char *const[]){r->engine.address, NULL});
    expect(r, "up ");
}

/* It is up as it is. */
static void test_no_greeting(Room *r, gconstpointer data)
{
    StandingEvents events = EVENTS;

    (void)data;
    events.greet = greet_not;
    events.is_welcome = is_welcome;
    stand_with(r, r->engine.address, &events);
    expect(r, "up ");
    g_assert_cmpstr(r->engine.asked->str, ==, "");
}

/* --- other addresses --------------------------------------------------------------- */

static void test_move(Room *r, gconstpointer data)
{
    (void)data;
    answerer_shut(&r->engine);
    answerer_open(&r->elsewhere, &r->loop, house.standby);
    stand(r);
    standing_move(r->standing, (const char *const[]){r->elsewhere.address, NULL}); /* while it is dialled */
    expect(r, "up ");
    g_assert_cmpuint(r->elsewhere.came, ==, 1);
    /* One that is up stays so; then it is the new address that is dialled. */
    answerer_open(&r->engine, &r->loop, house.standby);
    standing_move(r->standing, (const char *const[]){r->engine.address, NULL});
    ask(r, "echo");
    expect(r, "answer ");
    g_assert_cmpuint(r->engine.came, ==, 0);
    answerer_drop(&r->elsewhere, NULL);
    expect(r, "down:cancelled up ");
    g_assert_cmpuint(r->engine.came, ==, 1);
}

/* It waits to dial the former address again. */
static void test_move_waiting(Room *r, gconstpointer data)
{
    (void)data;
    answerer_shut(&r->engine);
    answerer_open(&r->elsewhere, &r->loop, house.standby);
    stand(r);
    while (!standing_why(r->standing))
        uv_run(&r->loop, UV_RUN_ONCE);
    standing_move(r->standing, (const char *const[]){r->elsewhere.address, NULL});
    expect(r, "up ");
}

/* --- the end ------------------------------------------------------------------------ */

/* While it dials, before it does again, and with a greeting under way. */
static void test_close_down(Room *r, gconstpointer data)
{
    (void)data;
    standing_close(NULL, NULL);
    stand(r);
    ask(r, "echo");
    standing_close(g_steal_pointer(&r->standing), FAREWELL);
    expect(r, "!cancelled ");
    g_assert_cmpstr(r->said, ==, FAREWELL);
    expect(r, "gone ");
    answerer_shut(&r->engine);
    stand(r);
    while (!standing_why(r->standing))
        uv_run(&r->loop, UV_RUN_ONCE);
    standing_close(g_steal_pointer(&r->standing), FAREWELL);
    expect(r, "gone ");
    answerer_open(&r->engine, &r->loop, house.standby);
    stand_greeting(r);
    while (r->engine.asked->len == 0)
        uv_run(&r->loop, UV_RUN_ONCE);
    standing_close(g_steal_pointer(&r->standing), FAREWELL);
    expect(r, "gone ");
}

/* With what the peer has, and with what waits. */
static void test_close_up(Room *r, gconstpointer data)
{
    g_autoptr(GString) all = g_string_new(NULL);

    (void)data;
    stand(r);
    expect(r, "up ");
    for (guint i = 0; i <= AT_ONCE; i++) {
        ask(r, "later");
        g_string_append(all, "!cancelled ");
    }
    standing_close(g_steal_pointer(&r->standing), FAREWELL);
    g_assert_false(standing_is_up(r->asked));
    g_assert_cmpstr(r->trace->str, ==, all->str);
    g_string_truncate(r->trace, 0);
    /* Until the loop is through with it. */
    ask(r, "echo");
    g_assert_cmpstr(r->trace->str, ==, "");
    expect(r, "!cancelled gone ");
    g_assert_cmpstr(r->said, ==, FAREWELL);
}

/* Inside whatever it says. */
static void test_close_inside(Room *r, gconstpointer data)
{
    g_autoptr(GError) why = g_error_new_literal(US_ERROR, US_ERROR_BUSY, "the engine has other things to do");

    (void)data;
    r->close_at = "up ";
    stand(r);
    expect(r, "up closed gone ");

    stand(r);
    expect(r, "up ");
    r->close_at = "answer ";
    ask(r, "echo");
    ask(r, "echo");
    expect(r, "answer !cancelled closed gone ");

    r->close_at = "down:busy ";
    stand(r);
    expect(r, "up ");
    answerer_drop(&r->engine, why);
    expect(r, "down:busy closed gone ");

    /* In the answer to a question that is lost with the link; in the next one somebody asks again. */
    stand(r);
    expect(r, "up ");
    r->close_at = "!busy ";
    r->ask_at = "!busy closed !busy ";
    ask(r, "later");
    ask(r, "later");
    while (r->engine.owed.length < 2)
        uv_run(&r->loop, UV_RUN_ONCE);
    answerer_drop(&r->engine, why);
    expect(r, "!busy closed !busy asked !cancelled gone ");
    g_assert_cmpstr(r->said, ==, FAREWELL);

    r->engine.welcome = json_object();
    r->close_at = "unwelcome ";
    stand_greeting(r);
    expect(r, "unwelcome closed gone ");

    answerer_shut(&r->engine);
    r->close_at = "!unreachable ";
    stand(r);
    ask(r, "echo");
    ask(r, "echo");
    expect(r, "!unreachable !cancelled closed gone ");
}

static void add(const char *path, void (*test)(Room *r, gconstpointer data))
{
    g_test_add(path, Room, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    int rc;

    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    house_init(&house);
    add("/standing/asks", test_asks);
    add("/standing/many", test_many);
    add("/standing/down", test_down);
    add("/standing/lost and back", test_lost_and_back);
    add("/standing/another engine than was meant", test_another);
    add("/standing/greeting", test_greeting);
    add("/standing/greeting/before its answer", test_greeting_first);
    add("/standing/greeting/unwelcome", test_unwelcome);
    add("/standing/greeting/none", test_no_greeting);
    add("/standing/move", test_move);
    add("/standing/move/while it waits", test_move_waiting);
    add("/standing/close/down", test_close_down);
    add("/standing/close/up", test_close_up);
    add("/standing/close/inside", test_close_inside);
    rc = g_test_run();
    house_clear(&house);
    return rc;
}
