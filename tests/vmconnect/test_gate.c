/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes in by the port, and to whom they are led, over real sockets. What is asked, and who keeps a VM, are fakes. */
#include "link/fixture.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/engine.h"
#include "vmconnect/link/dial.h"

#include <signal.h>
#include <string.h>

#define LIMIT_MS 30000
#define PATIENCE_MS 60000
#define PEERS_MAX 256

static House house;

/* --- what the gate leads to ---------------------------------------------------- */

static void on_who(void *user, RpcReply *reply, const json_t *params)
{
    const Visit *visit = user;

    (void)params;
    rpc_reply(reply, json_pack("{s:s}", "controller", ID_TEXT(visit->controller)));
}

const RpcMethod SERVE_METHODS[] = {{"who", on_who}, {NULL, NULL}};
const RpcMethod SERVE_METHODS_OF_ROOT[] = {{NULL, NULL}};

static RpcReply *owed;

static void on_peer(void *user, RpcReply *reply, const json_t *params)
{
    const PeerVisit *visit = user;

    (void)params;
    g_assert_nonnull(visit->engine);
    g_assert_true(g_ptr_array_find(visit->engine->peer_visits, visit, NULL));
    rpc_reply(reply, json_pack("{s:s}", "peer", ID_TEXT(visit->peer)));
}

static void on_later(void *user, RpcReply *reply, const json_t *params)
{
    (void)user;
    (void)params;
    g_assert_null(owed);
    owed = reply;
}

const RpcMethod SERVE_METHODS_OF_PEERS[] = {{"who.peer", on_peer}, {"later", on_later}, {NULL, NULL}};

void serve_news(Engine *engine)
{
    (void)engine;
}

void roles_attach(Roles *roles, Id vm, Link *link, Reign reign, json_t *images)
{
    (void)roles;
    (void)vm;
    (void)link;
    (void)reign;
    (void)images;
    g_assert_not_reached();
}

/* --- the engine, and who dials it ------------------------------------------------ */

typedef struct {
    Engine e;
    char address[32];
    LoopLimit limit;
    GPtrArray *dialled; /* of Rpc *, that are up */
    GError *error;      /* why the last one is not, or not any more */
    char *answer;       /* the last one, or the name of its error */
} Room;

typedef struct {
    Room *room;
    Rpc *rpc;
} Dialled;

static void turn(Room *r)
{
    uv_run(&r->e.loop, UV_RUN_ONCE);
}

static void say_error(Room *r, const GError *error)
{
    g_clear_error(&r->error);
    r->error = g_error_copy(error);
}

static void on_closed(void *user, const GError *error)
{
    Dialled *d = user;

    say_error(d->room, error);
    g_ptr_array_remove_fast(d->room->dialled, d);
    g_free(d);
}

static void on_dialled(void *user, Link *link, const GError *error)
{
    static const RpcEvents EVENTS = {.on_closed = on_closed};
    Room *r = user;
    Dialled *d;

    if (error) {
        say_error(r, error);
        return;
    }
    d = g_new0(Dialled, 1);
    d->room = r;
    d->rpc = rpc_new(&r->e.loop, link, &EVENTS, d);
    g_ptr_array_add(r->dialled, d);
}

/* Until it is up, or it is known why not; NULL then. */
static Rpc *dial(Room *r, Identity *who, Purpose purpose)
{
    LinkSettings settings = {.identity = who, .purpose = purpose};
    guint before = r->dialled->len;

    g_clear_error(&r->error);
    dial_start(&r->e.loop, (const char *const[]){r->address, NULL}, &settings, LIMIT_MS, on_dialled, r);
    while (r->dialled->len == before && !r->error)
        turn(r);
    return r->dialled->len > before ? ((Dialled *)r->dialled->pdata[before])->rpc : NULL;
}

static void on_answer(void *user, const json_t *result, const GError *error)
{
    Room *r = user;

    g_assert_null(r->answer);
    r->answer = error ? g_strdup(us_error_name((UsError)error->code)) : json_dumps(result, JSON_COMPACT);
}

static void ask(Room *r, Rpc *rpc, const char *method, const char *answer)
{
    rpc_call(rpc, method, NULL, LIMIT_MS, on_answer, r);
    while (!r->answer)
        turn(r);
    g_assert_cmpstr(r->answer, ==, answer);
    g_clear_pointer(&r->answer, g_free);
}

static void leave(Room *r, guint i)
{
    Dialled *d = g_ptr_array_remove_index_fast(r->dialled, i);

    rpc_close(d->rpc, NULL);
    g_free(d);
}

static void set_up(Room *r, gconstpointer data)
{
    static const ListenerEvents EVENTS = {.on_link = gate_on_link, .on_refused = gate_on_refused};
    g_autoptr(GError) error = NULL;

    (void)data;
    memset(r, 0, sizeof(*r));
    uv_loop_init(&r->e.loop);
    loop_limit_begin(&r->limit, &r->e.loop, PATIENCE_MS);
    r->e.identity = identity_ref(house.standby);
    gate_init(&r->e);
    r->e.listener = listener_new(&r->e.loop, "127.0.0.1", 0, house.standby, &EVENTS, &r->e, &error);
    g_assert_no_error(error);
    g_snprintf(r->address, sizeof(r->address), "127.0.0.1:%u", listener_port(r->e.listener));
    r->dialled = g_ptr_array_new();
}

static void tear_down(Room *r, gconstpointer data)
{
    (void)data;
    listener_close(r->e.listener);
    gate_close(&r->e);
    g_assert_cmpuint(r->e.peer_visits->len, ==, 0);
    while (r->dialled->len > 0)
        turn(r);
    loop_limit_end(&r->limit);
    loop_end(&r->e.loop);
    g_ptr_array_unref(r->dialled);
    g_ptr_array_unref(r->e.visits);
    g_ptr_array_unref(r->e.peer_visits);
    g_ptr_array_unref(r->e.arriving);
    identity_unref(r->e.identity);
    g_clear_error(&r->error);
}

/* --- peers --------------------------------------------------------------------------- */

static void test_peer(Room *r, gconstpointer data)
{
    g_autofree char *me = g_strdup_printf("{\"peer\":\"%s\"}", ID_TEXT(identity_peer(house.active).id));
    Rpc *peer = dial(r, house.active, PURPOSE_PEER);

    (void)data;
    g_assert_nonnull(peer);
    ask(r, peer, "who.peer", me);
    /* What is the controller's is not a peer's … */
    ask(r, peer, "who", "not-found");
    leave(r, 0);
    while (r->e.peer_visits->len > 0)
        turn(r);
}

/* … nor the other way round. */
static void test_controller(Room *r, gconstpointer data)
{
    g_autofree char *me =
        g_strdup_printf("{\"controller\":\"%s\"}", ID_TEXT(identity_peer(house.controller).id));
    Rpc *controller = dial(r, house.controller, PURPOSE_CONTROL);

    (void)data;
    rpc_call(controller, "host.obey", NULL, LIMIT_MS, on_answer, r);
    while (!r->answer)
        turn(r);
    g_clear_pointer(&r->answer, g_free);
    ((Visit *)r->e.visits->pdata[0])->incarnation = 1;
    ask(r, controller, "who", me);
    ask(r, controller, "who.peer", "not-found");
    g_assert_null(dial(r, house.controller, PURPOSE_PEER));
    g_assert_error(r->error, US_ERROR, US_ERROR_DENIED);
    g_assert_cmpuint(r->e.peer_visits->len, ==, 0);
}

static void test_too_many(Room *r, gconstpointer data)
{
    (void)data;
    for (guint i = 0; i < PEERS_MAX; i++)
        g_assert_nonnull(dial(r, house.active, PURPOSE_PEER));
    while (r->e.peer_visits->len < PEERS_MAX)
        turn(r);
    g_clear_error(&r->error);
    dial(r, house.active, PURPOSE_PEER);
    while (!r->error)
        turn(r);
    g_assert_error(r->error, US_ERROR, US_ERROR_BUSY);
    g_assert_nonnull(strstr(r->error->message, "this engine has 256 links of others already"));
    g_assert_cmpuint(r->e.peer_visits->len, ==, PEERS_MAX);
    /* There is room again when one leaves. */
    leave(r, 0);
    while (r->e.peer_visits->len == PEERS_MAX)
        turn(r);
    ask(r, dial(r, house.active, PURPOSE_PEER), "who", "not-found");
}

/* What was owed to a peer of a former owner is not said any more, and harms nobody. */
static void test_former(Room *r, gconstpointer data)
{
    Rpc *peer = dial(r, house.active, PURPOSE_PEER);

    (void)data;
    rpc_call(peer, "later", NULL, LIMIT_MS, on_answer, r);
    while (!owed)
        turn(r);
    gate_leave_former(&r->e);
    g_assert_cmpuint(r->e.peer_visits->len, ==, 0);
    rpc_reply(g_steal_pointer(&owed), json_object());
    while (r->dialled->len > 0)
        turn(r);
    g_assert_cmpstr(r->answer, ==, "cancelled");
    g_clear_pointer(&r->answer, g_free);
}

static void add(const char *path, void (*test)(Room *r, gconstpointer data))
{
    g_test_add(path, Room, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    int rc;

    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_LEVEL_WARNING);
    g_test_init(&argc, &argv, NULL);
    house_init(&house);
    add("/gate/peer", test_peer);
    add("/gate/peer/controller", test_controller);
    add("/gate/peer/too many", test_too_many);
    add("/gate/peer/of a former owner", test_former);
    rc = g_test_run();
    house_clear(&house);
    return rc;
}
