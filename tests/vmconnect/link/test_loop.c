/* SPDX-License-Identifier: Apache-2.0 */
/* Links on a loop and in threads: listener, dialling, rpc, a link that moves. */
#include "fixture.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/link/dial.h"
#include "vmconnect/link/link_loop.h"
#include "vmconnect/link/link_wait.h"
#include "vmconnect/link/listener.h"
#include "vmconnect/link/rpc.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static House house;

/* --- an engine that listens, and one who dials it --------------------------- */

typedef struct {
    uv_loop_t loop;
    Listener *listener;
    char address[32];
    Link *arrived; /* what the listener handed over */
    guint refused;
    Link *dialled;
    GError *dial_error;
    gboolean dial_done;
    gboolean both; /* arrived and dialled */

    Rpc *server;
    Rpc *client;
    GQueue owed; /* RpcReply *, in the order asked */
    GString *trace;
    gboolean closed;
    gboolean reached; /* what the test waits for */
    guint answers;
    guint answers_due;
    gboolean asked; /* owed_due questions are owed an answer */
    guint owed_due;
} Town;

static void note(Town *t, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void note(Town *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_string_append_vprintf(t->trace, format, args);
    va_end(args);
}

static void check_both(Town *t)
{
    t->both = t->arrived && t->dialled;
}

static void on_link(void *user, Link *link)
{
    Town *t = user;

    g_assert_null(t->arrived);
    t->arrived = link;
    check_both(t);
}

static void on_refused(void *user, const GError *error)
{
    Town *t = user;

    g_assert_nonnull(error);
    t->refused++;
}

static void on_dialled(void *user, Link *link, const GError *error)
{
    Town *t = user;

    g_assert_true(!link == (error != NULL));
    t->dialled = link;
    t->dial_error = error ? g_error_copy(error) : NULL;
    t->dial_done = TRUE;
    check_both(t);
}

static void town_init(Town *t)
{
    static const ListenerEvents EVENTS = {.on_link = on_link, .on_refused = on_refused};
    g_autoptr(GError) error = NULL;

    memset(t, 0, sizeof(*t));
    uv_loop_init(&t->loop);
    t->listener = listener_new(&t->loop, NULL, 0, house.standby, &EVENTS, t, &error);
    g_assert_no_error(error);
    g_snprintf(t->address, sizeof(t->address), "127.0.0.1:%u", listener_port(t->listener));
    g_queue_init(&t->owed);
    t->trace = g_string_new(NULL);
}

static void town_clear(Town *t)
{
    link_free(t->arrived);
    link_free(t->dialled);
    rpc_close(t->client, NULL);
    rpc_close(t->server, NULL);
    listener_close(t->listener);
    loop_end(&t->loop);
    g_clear_error(&t->dial_error);
    g_string_free(t->trace, TRUE);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Town, town_clear)

static LinkSettings as_controller(void)
{
    return (LinkSettings){.identity = house.controller, .purpose = PURPOSE_CONTROL};
}

static void dial(Town *t, const char *const *addresses, const LinkSettings *settings)
{
    t->dial_done = FALSE;
    g_clear_error(&t->dial_error);
    dial_start(&t->loop, addresses, settings, 5000, on_dialled, t);
    loop_until(&t->loop, &t->dial_done);
}

/* --- dialling ------------------------------------------------------------------ */

/* A port where nobody listens. */
static guint16 dead_port(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    g_assert(bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0);
    g_assert(getsockname(fd, (struct sockaddr *)&in, &len) == 0);
    close(fd);
    return ntohs(in.sin_port);
}

static void test_dial(void)
{
    g_auto(Town) t;
    LinkSettings settings = as_controller();
    g_autofree char *dead = g_strdup_printf("127.0.0.1:%u", dead_port());

    town_init(&t);
    dial(&t, (const char *const[]){dead, "not an address", t.address, NULL}, &settings);
    g_assert_no_error(t.dial_error);
    loop_until(&t.loop, &t.both);
    g_assert_cmpint(link_state(t.dialled), ==, LINK_OPEN);
    g_assert_cmpint(link_state(t.arrived), ==, LINK_OPEN);
    g_assert_cmpuint(listener_half_open(t.listener), ==, 0);
}

static void test_dial_by_name(void)
{
    g_auto(Town) t;
    LinkSettings settings = as_controller();
    g_autofree char *named = NULL;

    town_init(&t);
    named = g_strdup_printf("localhost:%u", listener_port(t.listener));
    dial(&t, (const char *const[]){named, NULL}, &settings);
    g_assert_no_error(t.dial_error);
    loop_until(&t.loop, &t.both);
    g_assert_nonnull(strstr(link_name(t.dialled), named));
}

static void test_dial_fails(void)
{
    g_auto(Town) t;
    LinkSettings settings = as_controller();
    g_autofree char *dead = g_strdup_printf("127.0.0.1:%u", dead_port());

    town_init(&t);
    dial(&t, (const char *const[]){NULL}, &settings);
    g_assert_error(t.dial_error, US_ERROR, US_ERROR_USAGE);
    g_assert_cmpstr(t.dial_error->message, ==, "no address to dial is known");
    dial(&t, (const char *const[]){dead, NULL}, &settings);
    g_assert_error(t.dial_error, US_ERROR, US_ERROR_UNREACHABLE);
    g_assert_nonnull(strstr(t.dial_error->message, "Connection refused"));
    /* What a peer said tells more than what a dead address did not. */
    settings.expect = id_random();
    dial(&t, (const char *const[]){t.address, dead, NULL}, &settings);
    g_assert_error(t.dial_error, US_ERROR, US_ERROR_DENIED);
    g_assert_true(g_str_has_prefix(t.dial_error->message, "another host answers: "));
}

static void never(void *user, Link *link, const GError *error)
{
    (void)user;
    (void)link;
    (void)error;
    g_assert_not_reached();
}

static void test_dial_cancel(void)
{
    g_auto(Town) t;
    LinkSettings settings = as_controller();
    Dial *d;

    town_init(&t);
    dial_cancel(dial_start(&t.loop, (const char *const[]){t.address, NULL}, &settings, 5000, never, NULL));
    d = dial_start(&t.loop, (const char *const[]){t.address, NULL}, &settings, 5000, never, NULL);
    uv_run(&t.loop, UV_RUN_NOWAIT); /* the look-up is under way */
    dial_cancel(d);
}

/* A host that accepts and says nothing must not use up the time of the next address. */
static void test_dial_passes_the_silent(void)
{
    g_auto(Town) t;
    LinkSettings settings = as_controller();
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(in);
    int silent = socket(AF_INET, SOCK_STREAM, 0);
    g_autofree char *address = NULL;

    g_assert(bind(silent, (struct sockaddr *)&in, sizeof(in)) == 0 && listen(silent, 5) == 0);
    g_assert(getsockname(silent, (struct sockaddr *)&in, &len) == 0);
    address = g_strdup_printf("127.0.0.1:%u", ntohs(in.sin_port));
    town_init(&t);
    dial_start(&t.loop, (const char *const[]){address, t.address, NULL}, &settings, 2500, on_dialled, &t);
    loop_until(&t.loop, &t.dial_done);
    g_assert_no_error(t.dial_error);
    loop_until(&t.loop, &t.both);
    close(silent);
}

static void test_dial_parse(void)
{
    static const struct {
        const char *text;
        const char *host; /* NULL: refused */
        guint16 port;
    } CASES[] = {{"alpha", "alpha", 7},
                 {"alpha:25000", "alpha", 25000},
                 {"10.0.0.1:1", "10.0.0.1", 1},
                 {"fe80::1", "fe80::1", 7},
                 {"[fe80::1]:99", "fe80::1", 99},
                 {"[fe80::1]", "fe80::1", 7},
                 {"", NULL, 0},
                 {":1", NULL, 0},
                 {"alpha:", NULL, 0},
                 {"alpha:0", NULL, 0},
                 {"alpha:65536", NULL, 0},
                 {"alpha:x", NULL, 0},
                 {"[]:1", NULL, 0},
                 {"[fe80::1", NULL, 0},
                 {"[fe80::1]x", NULL, 0},
                 {"[fe80::1]:", NULL, 0}};

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *host = NULL;
        guint16 port;

        g_test_message("'%s'", CASES[i].text);
        if (!CASES[i].host) {
            g_assert_false(dial_parse(CASES[i].text, 7, &host, &port, &error));
            g_assert_error(error, US_ERROR, US_ERROR_USAGE);
            continue;
        }
        g_assert_true(dial_parse(CASES[i].text, 7, &host, &port, &error));
        g_assert_cmpstr(host, ==, CASES[i].host);
        g_assert_cmpuint(port, ==, CASES[i].port);
    }
}

/* --- the listener ------------------------------------------------------------------ */

static void test_listener_errors(void)
{
    g_auto(Town) t;
    static const ListenerEvents EVENTS = {.on_link = on_link};
    g_autoptr(GError) error = NULL;

    town_init(&t);
    g_assert_null(
        listener_new(&t.loop, "127.0.0.1", listener_port(t.listener), house.standby, &EVENTS, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    g_clear_error(&error);
    g_assert_null(listener_new(&t.loop, "alpha", 0, house.standby, &EVENTS, NULL, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
}

/* Seventy who say nothing do not keep an honest one out, and are no more than 64. */
static void test_half_open(void)
{
    g_auto(Town) t;
    LinkSettings settings = as_controller();
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int idle[70];

    town_init(&t);
    in.sin_port = htons(listener_port(t.listener));
    for (guint i = 0; i < G_N_ELEMENTS(idle); i++) {
        idle[i] = socket(AF_INET, SOCK_STREAM, 0);
        g_assert(connect(idle[i], (struct sockaddr *)&in, sizeof(in)) == 0);
        /* Random bytes, too. */
        if (i % 7 == 0)
            g_assert(write(idle[i], "GET / HTTP/1.1\r\n\r\n", 18) == 18);
        uv_run(&t.loop, UV_RUN_NOWAIT);
        g_assert_cmpuint(listener_half_open(t.listener), <=, LISTENER_HALF_OPEN);
    }
    dial(&t, (const char *const[]){t.address, NULL}, &settings);
    g_assert_no_error(t.dial_error);
    loop_until(&t.loop, &t.both);
    g_assert_cmpuint(t.refused, >=, 10);
    for (guint i = 0; i < G_N_ELEMENTS(idle); i++)
        close(idle[i]);
}

/* --- rpc ------------------------------------------------------------------------------ */

static void on_echo(void *user, RpcReply *reply, const json_t *params)
{
    (void)user;
    rpc_reply(reply, json_deep_copy(params));
}

static void on_refuse(void *user, RpcReply *reply, const json_t *params)
{
    g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_REFUSED, "unsafe now");

    (void)user;
    (void)params;
    rpc_reply_error(reply, error);
}

static void on_later(void *user, RpcReply *reply, const json_t *params)
{
    Town *t = user;

    (void)params;
    g_queue_push_tail(&t->owed, reply);
    t->asked = g_queue_get_length(&t->owed) == t->owed_due;
}

static const RpcMethod METHODS[] = {
    {"echo", on_echo}, {"refuse", on_refuse}, {"later", on_later}, {NULL, NULL}};

static void on_news(void *user, const json_t *news)
{
    Town *t = user;
    g_autofree char *text = json_dumps(news, JSON_COMPACT);

    note(t, "news %s\n", text);
    t->reached = TRUE;
}

static void on_client_closed(void *user, const GError *error)
{
    Town *t = user;

    note(t, "closed: %s\n", us_error_name((UsError)error->code));
    t->client = NULL;
    t->closed = TRUE;
}

static void on_server_closed(void *user, const GError *error)
{
    Town *t = user;

    (void)error;
    t->server = NULL;
}

static void rpc_town_init(Town *t)
{
    static const RpcEvents SERVER = {.methods = METHODS, .on_closed = on_server_closed};
    static const RpcEvents CLIENT = {.on_news = on_news, .on_closed = on_client_closed};
    LinkSettings settings = as_controller();

    town_init(t);
    dial(t, (const char *const[]){t->address, NULL}, &settings);
    g_assert_no_error(t->dial_error);
    loop_until(&t->loop, &t->both);
    t->server = rpc_new(&t->loop, g_steal_pointer(&t->arrived), &SERVER, t);
    t->client = rpc_new(&t->loop, g_steal_pointer(&t->dialled), &CLIENT, t);
}

static void on_answer(void *user, const json_t *result, const GError *error)
{
    Town *t = user;
    g_autofree char *text = result ? json_dumps(result, JSON_COMPACT) : NULL;

    if (error)
        note(t, "%s: %s\n", us_error_name((UsError)error->code), error->message);
    else
        note(t, "%s\n", text);
    t->reached = ++t->answers == t->answers_due;
}

static void wait_answers(Town *t, guint n)
{
    t->answers_due = n;
    t->reached = t->answers == n;
    loop_until(&t->loop, &t->reached);
}

static void test_rpc(void)
{
    g_auto(Town) t;
    json_auto_t *params = json_pack("{s:s}", "name",
                                    "w\xc3\xa9"
                                    "b");
    json_auto_t *news = json_pack("{s:s}", "event", "status");

    rpc_town_init(&t);
    rpc_call(t.client, "echo", params, 5000, on_answer, &t);
    g_assert_cmpuint(t.answers, ==, 0); /* never before it returns */
    rpc_call(t.client, "refuse", NULL, 5000, on_answer, &t);
    rpc_call(t.client, "no.such", NULL, 5000, on_answer, &t);
    wait_answers(&t, 3);
    g_assert_cmpstr(t.trace->str, ==,
                    "{\"name\":\"w\xc3\xa9"
                    "b\"}\n"
                    "refused: unsafe now\n"
                    "not-found: this engine knows no method 'no.such'\n");
    g_string_truncate(t.trace, 0);
    t.reached = FALSE;
    rpc_news(t.server, news);
    loop_until(&t.loop, &t.reached);
    g_assert_cmpstr(t.trace->str, ==, "news {\"event\":\"status\"}\n");
}

static void wait_asked(Town *t, guint n)
{
    t->owed_due = n;
    t->asked = g_queue_get_length(&t->owed) == n;
    loop_until(&t->loop, &t->asked);
}

static void answer_owed(Town *t, const char *text)
{
    rpc_reply(g_queue_pop_tail(&t->owed), json_pack("{s:s}", "was", text));
}

static void test_rpc_out_of_order(void)
{
    g_auto(Town) t;

    rpc_town_init(&t);
    rpc_call(t.client, "later", NULL, 5000, on_answer, &t);
    rpc_call(t.client, "later", NULL, 5000, on_answer, &t);
    wait_asked(&t, 2);
    answer_owed(&t, "second");
    wait_answers(&t, 1);
    answer_owed(&t, "first");
    wait_answers(&t, 2);
    g_assert_cmpstr(t.trace->str, ==, "{\"was\":\"second\"}\n{\"was\":\"first\"}\n");
}

static void test_rpc_timeout(void)
{
    g_auto(Town) t;

    rpc_town_init(&t);
    rpc_call(t.client, "later", NULL, 50, on_answer, &t);
    wait_answers(&t, 1);
    g_assert_true(g_str_has_prefix(t.trace->str, "timeout: engine "));
    g_assert_true(
        g_str_has_suffix(t.trace->str, " does not answer in time; it may still do what was asked\n"));
    /* The late answer is dropped, and the link goes on. */
    wait_asked(&t, 1);
    answer_owed(&t, "late");
    g_string_truncate(t.trace, 0);
    rpc_call(t.client, "refuse", NULL, 5000, on_answer, &t);
    wait_answers(&t, 2);
    g_assert_cmpstr(t.trace->str, ==, "refused: unsafe now\n");
}

static void test_rpc_outstanding(void)
{
    g_auto(Town) t;

    rpc_town_init(&t);
    for (guint i = 0; i <= RPC_OUTSTANDING; i++)
        rpc_call(t.client, "later", NULL, 5000, on_answer, &t);
    wait_answers(&t, 1);
    g_assert_true(g_str_has_prefix(t.trace->str, "busy: 64 questions to engine "));
    wait_asked(&t, RPC_OUTSTANDING);
    while (!g_queue_is_empty(&t.owed))
        answer_owed(&t, "x");
    wait_answers(&t, 1 + RPC_OUTSTANDING);
}

static void test_rpc_peer_leaves(void)
{
    g_auto(Town) t;
    g_autoptr(GError) why = g_error_new(US_ERROR, US_ERROR_CANCELLED, "the engine stops");

    rpc_town_init(&t);
    rpc_call(t.client, "later", NULL, 5000, on_answer, &t);
    wait_asked(&t, 1);
    rpc_close(t.server, why);
    t.server = NULL;
    loop_until(&t.loop, &t.closed);
    g_assert_cmpuint(t.answers, ==, 1);
    g_assert_nonnull(strstr(t.trace->str, ": the engine stops\nclosed: cancelled\n"));
    /* Owed still, and harmless. */
    answer_owed(&t, "nobody hears it");
}

typedef struct {
    Town *town;
    guint times;
} Stubborn;

static void on_ask_again(void *user, const json_t *result, const GError *error)
{
    Stubborn *s = user;

    g_assert_null(result);
    g_assert_nonnull(error);
    if (++s->times == 1)
        rpc_call(s->town->client, "later", NULL, 5000, on_ask_again, s);
}

/* Who asks again when told that the link is gone gets an answer, and we get out. */
static void test_rpc_ask_again(void)
{
    g_auto(Town) t;
    Stubborn s = {&t, 0};

    rpc_town_init(&t);
    rpc_call(t.client, "later", NULL, 5000, on_ask_again, &s);
    rpc_close(t.client, NULL);
    t.client = NULL;
    while (s.times < 2)
        uv_run(&t.loop, UV_RUN_ONCE);
    while (!g_queue_is_empty(&t.owed))
        answer_owed(&t, "x");
}

/* Who asks and is gone before it was heard wants nothing any more. */
static void test_rpc_given_up(void)
{
    g_auto(Town) t;

    rpc_town_init(&t);
    rpc_call(t.client, "echo", NULL, 5000, on_answer, &t);
    wait_answers(&t, 1);
    rpc_call(t.client, "later", NULL, 5000, on_answer, &t);
    rpc_close(t.client, NULL);
    t.client = NULL;
    while (t.server)
        uv_run(&t.loop, UV_RUN_ONCE);
    g_assert_true(g_queue_is_empty(&t.owed));
}

/* A peer below rpc: two open questions with one number. */
static void test_rpc_hostile(void)
{
    static const RpcEvents SERVER = {.methods = METHODS, .on_closed = on_server_closed};
    g_auto(Town) t;
    LinkSettings settings = as_controller();
    json_auto_t *doc = json_pack("{s:s, s:{}}", "method", "later", "params");
    json_auto_t *bad = json_pack("{s:s, s:[]}", "method", "later", "params");
    json_auto_t *worse = json_pack("{s:i}", "method", 1);
    g_autoptr(GError) error = NULL;

    town_init(&t);
    dial(&t, (const char *const[]){t.address, NULL}, &settings);
    loop_until(&t.loop, &t.both);
    t.server = rpc_new(&t.loop, g_steal_pointer(&t.arrived), &SERVER, &t);
    g_assert_true(link_send_json(t.dialled, MESSAGE_REQUEST, 1, bad, NULL));
    g_assert_true(link_send_json(t.dialled, MESSAGE_REQUEST, 2, worse, NULL));
    g_assert_true(link_send_json(t.dialled, MESSAGE_REQUEST, 7, doc, NULL));
    g_assert_true(link_send_json(t.dialled, MESSAGE_REQUEST, 7, doc, NULL));
    while (link_pump(t.dialled, 0, &error))
        uv_run(&t.loop, UV_RUN_NOWAIT);
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_assert_true(g_str_has_suffix(error->message, ": two open questions have the number 7"));
    for (guint64 id = 1; id <= 2; id++) {
        g_autoptr(Frame) frame = link_take(t.dialled);

        g_assert_cmpuint(frame->head.type, ==, MESSAGE_ANSWER);
        g_assert_cmpuint(frame->head.id, ==, id);
        g_assert_nonnull(g_strstr_len((char *)frame->payload, frame->head.len, "usage"));
    }
    while (t.server)
        uv_run(&t.loop, UV_RUN_ONCE);
    while (!g_queue_is_empty(&t.owed))
        answer_owed(&t, "x");
}

/* A peer that does not keep to the limit is told so, question by question. */
static void test_rpc_too_many(void)
{
    static const RpcEvents SERVER = {.methods = METHODS, .on_closed = on_server_closed};
    g_auto(Town) t;
    LinkSettings settings = as_controller();
    json_auto_t *doc = json_pack("{s:s, s:{}}", "method", "later", "params");
    g_autoptr(Frame) frame = NULL;

    town_init(&t);
    dial(&t, (const char *const[]){t.address, NULL}, &settings);
    loop_until(&t.loop, &t.both);
    t.server = rpc_new(&t.loop, g_steal_pointer(&t.arrived), &SERVER, &t);
    for (guint i = 1; i <= RPC_OUTSTANDING + 1; i++)
        g_assert_true(link_send_json(t.dialled, MESSAGE_REQUEST, i, doc, NULL));
    while (!(frame = link_take(t.dialled))) {
        g_assert_true(link_pump(t.dialled, 0, NULL));
        uv_run(&t.loop, UV_RUN_NOWAIT);
    }
    g_assert_cmpuint(frame->head.id, ==, RPC_OUTSTANDING + 1);
    g_assert_nonnull(g_strstr_len((char *)frame->payload, frame->head.len, "\"busy\""));
    g_assert_cmpuint(g_queue_get_length(&t.owed), ==, RPC_OUTSTANDING);
    while (!g_queue_is_empty(&t.owed))
        answer_owed(&t, "x");
}

/* --- peers ------------------------------------------------------------------------------- */

static void peers_dial(Town *t, Identity *who)
{
    LinkSettings settings = {.identity = who, .purpose = PURPOSE_PEER};

    dial(t, (const char *const[]){t->address, NULL}, &settings);
}

static void test_rpc_peer(void)
{
    static const RpcEvents SERVER = {.methods = METHODS, .on_closed = on_server_closed};
    static const RpcEvents CLIENT = {.on_closed = on_client_closed};
    g_auto(Town) t;

    town_init(&t);
    peers_dial(&t, house.active);
    g_assert_no_error(t.dial_error);
    loop_until(&t.loop, &t.both);
    g_assert_cmpint(link_purpose(t.arrived), ==, PURPOSE_PEER);
    t.server = rpc_new(&t.loop, g_steal_pointer(&t.arrived), &SERVER, &t);
    t.client = rpc_new(&t.loop, g_steal_pointer(&t.dialled), &CLIENT, &t);
    rpc_call(t.client, "echo", NULL, 5000, on_answer, &t);
    rpc_call(t.client, "refuse", NULL, 5000, on_answer, &t);
    wait_answers(&t, 2);
    g_assert_cmpstr(t.trace->str, ==, "{}\nrefused: unsafe now\n");
}

static void test_rpc_peer_refused(void)
{
    g_auto(Town) t;
    g_autoptr(Issuer) other = issuer_new("test", NULL);
    g_autoptr(Identity) foreign = owned(house.dir, ROLE_ENGINE, other, A_YEAR);

    town_init(&t);
    peers_dial(&t, house.controller);
    g_assert_error(t.dial_error, US_ERROR, US_ERROR_DENIED);
    g_assert_nonnull(
        strstr(t.dial_error->message, "a link for peer may not be opened by the role controller"));
    /* An engine of another owner. */
    peers_dial(&t, foreign);
    g_assert_error(t.dial_error, US_ERROR, US_ERROR_DENIED);
    g_assert_null(t.arrived);
}

/* One that says nothing any more, as a host that stands still, is given up. */
static void test_rpc_peer_silent(void)
{
    static const RpcEvents CLIENT = {.on_closed = on_client_closed};
    g_auto(Town) t;

    town_init(&t);
    peers_dial(&t, house.active);
    loop_until(&t.loop, &t.both);
    t.client = rpc_new(&t.loop, g_steal_pointer(&t.dialled), &CLIENT, &t);
    rpc_call(t.client, "echo", NULL, 60000, on_answer, &t);
    loop_until(&t.loop, &t.closed);
    g_assert_true(g_str_has_prefix(t.trace->str, "unreachable: "));
    g_assert_true(g_str_has_suffix(t.trace->str, "closed: unreachable\n"));
}

/* --- threads ------------------------------------------------------------------------------ */

#define BLOCKS 64

/* The standby's worker: takes what comes and answers SEALED at SEAL. */
static void standby_worker(void *user)
{
    Link *link = user;
    gint64 deadline = clock_steady_ms() + 20000;
    guint blocks = 0;

    for (;;) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Frame) frame = link_wait(link, deadline, -1, &error);
        MessageData d;

        if (!frame) {
            g_assert_error(error, US_ERROR, US_ERROR_CANCELLED); /* the peer's BYE */
            break;
        }
        if (frame->head.type == MESSAGE_DATA) {
            g_assert_true(message_decode_data(frame, &d, NULL));
            g_assert_true(message_verify_data(&d, d.payload, NULL));
            blocks++;
            continue;
        }
        json_auto_t *doc = stamp_to_json((Stamp){ID_NIL, blocks});

        g_assert_true(link_send_json(link, MESSAGE_SEALED, 0, doc, NULL));
    }
    g_assert_cmpuint(blocks, ==, BLOCKS);
    link_free(link);
}

typedef struct {
    const char *address;
    gboolean done;
    uv_async_t bell;
    guint64 sealed_blocks;
    int wake_fd;
} Active;

static void active_worker(void *user)
{
    Active *a = user;
    LinkSettings settings = {
        .identity = house.active, .purpose = PURPOSE_BULK, .expect = identity_peer(house.standby).id};
    g_autoptr(GError) error = NULL;
    Link *link = dial_blocking((const char *const[]){a->address, NULL}, &settings, 10000, a->wake_fd, &error);
    g_autofree guint8 *bytes = g_malloc0(256 * 1024);
    MessageData d = {.len = 256 * 1024, .payload = bytes, .payload_len = 256 * 1024};
    gint64 deadline = clock_steady_ms() + 20000;
    g_autoptr(Frame) sealed = NULL;
    json_auto_t *nothing = json_object();
    json_auto_t *doc = NULL;
    Stamp stamp;

    g_assert_no_error(error);
    d.checksum = message_checksum(bytes, d.len);
    for (guint i = 0; i < BLOCKS; i++) {
        d.offset = (guint64)i * d.len;
        g_assert_true(link_send_data(link, &d, NULL, NULL, &error));
        g_assert_true(link_wait_sent(link, 1 << 20, deadline, -1, &error));
    }
    g_assert_true(link_send_json(link, MESSAGE_SEAL, 0, nothing, &error));
    sealed = link_wait_for(link, MESSAGE_SEALED, deadline, a->wake_fd, &error);
    g_assert_no_error(error);
    doc = message_decode_json(sealed, &error);
    g_assert_true(stamp_from_json(doc, &stamp, &error));
    a->sealed_blocks = (guint64)stamp.at_ms;
    link_wait_close(link, NULL);
    uv_async_send(&a->bell);
}

static void on_bell(uv_async_t *bell)
{
    ((Active *)bell->data)->done = TRUE;
}

/* The loop does handshake and hello; then the link is a worker's. */
static void test_moves_to_thread(void)
{
    g_auto(Town) t;
    Active a = {0};
    uv_thread_t active, standby;
    gboolean arrived = FALSE;

    town_init(&t);
    a.address = t.address;
    a.wake_fd = eventfd(0, EFD_CLOEXEC);
    a.bell.data = &a;
    uv_async_init(&t.loop, &a.bell, on_bell);
    uv_thread_create(&active, active_worker, &a);
    while (!t.arrived)
        uv_run(&t.loop, UV_RUN_ONCE);
    arrived = link_state(t.arrived) == LINK_OPEN;
    g_assert_true(arrived);
    g_assert_cmpint(link_purpose(t.arrived), ==, PURPOSE_BULK);
    uv_thread_create(&standby, standby_worker, g_steal_pointer(&t.arrived));
    loop_until(&t.loop, &a.done);
    uv_thread_join(&active);
    uv_thread_join(&standby);
    g_assert_cmpuint(a.sealed_blocks, ==, BLOCKS);
    uv_close((uv_handle_t *)&a.bell, NULL);
    close(a.wake_fd);
}

static gboolean never_called(const Pair *pair)
{
    return pair->dialer_error != NULL;
}

static void test_wait(void)
{
    g_auto(Pair) pair = house_pair(&house, PURPOSE_BULK);
    g_autoptr(GBytes) zero = message_encode_range((MessageRange){0, 1, 0});
    g_autoptr(GError) error = NULL;
    int wake = eventfd(1, EFD_CLOEXEC);
    Frame *frame;

    /* Woken: neither frame nor error. */
    g_assert_null(link_wait(pair.listener, -1, wake, &error));
    g_assert_no_error(error);
    /* Late. */
    g_assert_null(link_wait(pair.listener, clock_steady_ms() + 20, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    g_clear_error(&error);
    /* Not what was due. */
    g_assert_true(link_send(pair.dialer, MESSAGE_ZERO, 0, zero, NULL));
    g_assert_true(link_wait_sent(pair.dialer, 0, clock_steady_ms() + 5000, -1, &error));
    g_assert_null(link_wait_for(pair.listener, MESSAGE_DATA, clock_steady_ms() + 5000, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_PROTOCOL);
    g_assert_true(g_str_has_suffix(error->message, ": ZERO came where DATA was due"));
    g_clear_error(&error);
    /* A frame before the end of the link comes before the end. */
    g_assert_true(link_send(pair.dialer, MESSAGE_ZERO, 0, zero, NULL));
    link_bye(pair.dialer);
    pair.listener_error = g_error_new_literal(US_ERROR, US_ERROR_FAILED, "waited for below");
    while (link_queued_bytes(pair.dialer) > 0)
        g_assert_true(link_pump(pair.dialer, 0, NULL));
    frame = link_wait(pair.listener, clock_steady_ms() + 5000, wake, &error);
    while (!frame && !error)
        frame = link_wait(pair.listener, clock_steady_ms() + 5000, -1, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(frame->head.type, ==, MESSAGE_ZERO);
    frame_free(frame);
    g_assert_null(link_wait(pair.listener, clock_steady_ms() + 5000, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    pair_run(&pair, never_called);
    close(wake);
}

static void test_dial_blocking_fails(void)
{
    LinkSettings settings = {.identity = house.active, .purpose = PURPOSE_BULK};
    g_autofree char *dead = g_strdup_printf("127.0.0.1:%u", dead_port());
    g_autoptr(GError) error = NULL;
    int wake = eventfd(1, EFD_CLOEXEC);
    int silent = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(in);
    g_autofree char *address = NULL;

    g_assert_null(dial_blocking((const char *const[]){dead, NULL}, &settings, 2000, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_UNREACHABLE);
    g_clear_error(&error);
    g_assert_null(dial_blocking((const char *const[]){NULL}, &settings, 2000, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    g_clear_error(&error);
    g_assert(bind(silent, (struct sockaddr *)&in, sizeof(in)) == 0 && listen(silent, 5) == 0);
    g_assert(getsockname(silent, (struct sockaddr *)&in, &len) == 0);
    address = g_strdup_printf("127.0.0.1:%u", ntohs(in.sin_port));
    g_assert_null(dial_blocking((const char *const[]){address, NULL}, &settings, 2000, wake, &error));
    g_assert_error(error, US_ERROR, US_ERROR_CANCELLED);
    g_clear_error(&error);
    g_assert_null(dial_blocking((const char *const[]){address, NULL}, &settings, 300, -1, &error));
    g_assert_error(error, US_ERROR, US_ERROR_TIMEOUT);
    close(silent);
    close(wake);
}

int main(int argc, char **argv)
{
    int rc;

    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    house_init(&house);
    g_test_add_func("/link/dial/second-address", test_dial);
    g_test_add_func("/link/dial/name", test_dial_by_name);
    g_test_add_func("/link/dial/fails", test_dial_fails);
    g_test_add_func("/link/dial/cancel", test_dial_cancel);
    g_test_add_func("/link/dial/silent", test_dial_passes_the_silent);
    g_test_add_func("/link/dial/parse", test_dial_parse);
    g_test_add_func("/link/dial/blocking-fails", test_dial_blocking_fails);
    g_test_add_func("/link/listener/errors", test_listener_errors);
    g_test_add_func("/link/listener/half-open", test_half_open);
    g_test_add_func("/link/rpc/answers", test_rpc);
    g_test_add_func("/link/rpc/out-of-order", test_rpc_out_of_order);
    g_test_add_func("/link/rpc/timeout", test_rpc_timeout);
    g_test_add_func("/link/rpc/outstanding", test_rpc_outstanding);
    g_test_add_func("/link/rpc/peer-leaves", test_rpc_peer_leaves);
    g_test_add_func("/link/rpc/ask-again", test_rpc_ask_again);
    g_test_add_func("/link/rpc/given-up", test_rpc_given_up);
    g_test_add_func("/link/rpc/hostile", test_rpc_hostile);
    g_test_add_func("/link/rpc/too-many", test_rpc_too_many);
    g_test_add_func("/link/rpc/peer", test_rpc_peer);
    g_test_add_func("/link/rpc/peer/refused", test_rpc_peer_refused);
    g_test_add_func("/link/rpc/peer/silent", test_rpc_peer_silent);
    g_test_add_func("/link/thread/move", test_moves_to_thread);
    g_test_add_func("/link/thread/wait", test_wait);
    rc = g_test_run();
    house_clear(&house);
    return rc;
}
