/* SPDX-License-Identifier: Apache-2.0 */
/* gate - who comes in by the port, and to whom they are led.
 *
 * The certificate says who somebody is; what for, their hello. A controller's
 * link becomes an Rpc, and so does that of root on this host, who may ask less; an active's bulk link waits here for its ATTACH, is
 * checked against what the controller has admitted, and goes to the keeper; another engine's beat is kept, and nothing is said on it;
 * a link of a peer, another engine that asks, becomes an Rpc with methods of its own; a stranger may only enrol. */
#include "vmconnect/base/error.h"
#include "vmconnect/base/log.h"
#include "vmconnect/engine.h"
#include "vmconnect/link/bulk.h"
#include "vmconnect/link/link_loop.h"

/* A controller that has let us go ends its link itself; said goodbye by us it would cry that a host is lost. */
#define LEAVE_MS 500

/* --- controllers ------------------------------------------------------- */

static void visit_free(Visit *visit)
{
    tidings_free(visit->tidings);
    g_free(visit);
}

static void on_controller_gone(void *user, const GError *error)
{
    Visit *visit = user;

    log_info("link of the controller over (%s) -> replication goes on by the last policy", error->message);
    g_ptr_array_remove_fast(visit->engine->visits, visit);
    visit_free(visit);
}

/* Who dials with this engine's own key is root on this host. */
static gboolean is_root_here(const Engine *engine, const Link *link)
{
    return id_equal(link_peer(link).id, identity_peer(engine->identity).id);
}

/* How new its memory is comes first, and nothing comes after that of an older one. */
static gboolean admits(void *user, const char *method, GError **error)
{
    const Visit *visit = user;

    if (visit->former)
        g_set_error_literal(
            error, US_ERROR, US_ERROR_REFUSED,
            "this engine obeys somebody else by now: another owner, or another controller with "
            "a newer memory; nothing was done");
    else if (visit->is_measured && visit->incarnation == 0 && !g_str_equal(method, "host.obey"))
        g_set_error_literal(error, US_ERROR, US_ERROR_PROTOCOL, "host.obey is the first question of a link");
    else
        return TRUE;
    return FALSE;
}

static void receive_controller(Engine *engine, Link *link)
{
    gboolean root = is_root_here(engine, link);
    RpcEvents events = {.methods = root ? SERVE_METHODS_OF_ROOT : SERVE_METHODS,
                        .admits = admits,
                        .on_closed = on_controller_gone};
    Visit *visit = g_new0(Visit, 1);

    log_info("%s is there%s", link_name(link), root ? ": root on this host" : "");
    visit->engine = engine;
    visit->controller = link_peer(link).id;
    visit->is_measured = !root && link_hello(link)->version_max >= HELLO_VERSION_OBEY;
    visit->tidings = tidings_new(link_hello(link)->version_max < HELLO_VERSION_CHANGES);
    visit->rpc = rpc_new(&engine->loop, link, &events, visit);
    g_ptr_array_add(engine->visits, visit);
    serve_news(engine);
}

/* --- actives ----------------------------------------------------------- */

typedef struct {
    Engine *engine;
    LinkLoop *link;
} Arrival;

static void arrival_free(Arrival *a)
{
    g_ptr_array_remove_fast(a->engine->arriving, a);
    g_free(a);
}

/* Is this the active that the controller admitted, in the reign it admitted? */
static gboolean check_attach(const Engine *engine, const Attach *attach, Peer peer, GError **error)
{
    const StandbyRole *role = policy_standby(engine->policy, attach->vm);
    const ActiveRole *active = policy_active(engine->policy, attach->vm);
    guint64 known = active ? active->reign.number : role ? role->reign.number : 0;
    const char *why = NULL;

    if (known > attach->reign.number)
        why = "its reign is over: a higher one is known here, and nothing of a former one is taken any more";
    else if (!role)
        why = "this host keeps no copy of that VM: the controller has not admitted it here";
    else if (!id_equal(attach->standby, identity_peer(engine->identity).id))
        why = "this is not the host it is looking for: its addresses are out of date";
    else if (!id_equal(role->active, peer.id))
        why = "another host is admitted as the active of that VM";
    else if (!g_str_equal(role->scenario, attach->scenario))
        why = "that VM is kept for another scenario";
    else if (!reign_equal(role->reign, attach->reign))
        why = "its reign is not the one that was admitted here";
    if (why)
        g_set_error(error, US_ERROR, known > attach->reign.number ? US_ERROR_OVERTAKEN : US_ERROR_REFUSED,
                    "refused to replicate VM %s: %s", ID_TEXT(attach->vm), why);
    return why == NULL;
}

static void refuse(Arrival *a, const GError *error)
{
    log_notice("%s: %s", link_name(link_loop_link(a->link)), error->message);
    link_fail(link_loop_link(a->link), error);
    link_loop_kick(a->link);
}

static void on_attach(void *user, Frame *taken)
{
    Arrival *a = user;
    g_autoptr(Frame) frame = taken;
    g_autoptr(GError) error = NULL;
    g_auto(Attach) attach = {0};
    json_t *doc = NULL;

    if (frame->head.type == MESSAGE_ATTACH)
        doc = message_decode_json(frame, &error);
    else
        g_set_error(&error, US_ERROR, US_ERROR_PROTOCOL, "a bulk link begins with ATTACH");
    if (doc && attach_from_json(doc, &attach, &error) &&
        check_attach(a->engine, &attach, link_peer(link_loop_link(a->link)), &error)) {
        Engine *engine = a->engine;
        LinkLoop *link = a->link;

        arrival_free(a);
        roles_attach(engine->roles, attach.vm, link_loop_release(link), attach.reign,
                     json_incref(attach.images));
    } else {
        refuse(a, error);
    }
    json_decref(doc);
}

static void on_arrival_gone(void *user, const GError *error)
{
    (void)error;
    arrival_free(user);
}

static void receive_active(Engine *engine, Link *link)
{
    LinkLoopEvents events = {.on_frame = on_attach, .on_closed = on_arrival_gone};
    Arrival *a = g_new0(Arrival, 1);

    a->engine = engine;
    a->link = link_loop_new(&engine->loop, link, &events, a);
    g_ptr_array_add(engine->arriving, a);
}

/* --- beats --------------------------------------------------------------- */

#define BEAT_PING_MS 10000
#define BEAT_DEAD_MS 30000
#define BEATS_MAX 256

static void on_word(void *user, Frame *taken)
{
    frame_free(taken);
    (void)user;
}

/* The link itself answers, for as long as this loop turns. */
static void receive_beat(Engine *engine, Link *link)
{
    LinkLoopEvents events = {.on_frame = on_word, .on_closed = on_arrival_gone};
    Arrival *a;

    if (engine->arriving->len >= BEATS_MAX) {
        link_free(link);
        return;
    }
    a = g_new0(Arrival, 1);
    a->engine = engine;
    link_set_heartbeat(link, BEAT_PING_MS, BEAT_DEAD_MS);
    a->link = link_loop_new(&engine->loop, link, &events, a);
    g_ptr_array_add(engine->arriving, a);
}

/* --- peers --------------------------------------------------------------- */

#define PEERS_MAX 256

static void on_peer_gone(void *user, const GError *error)
{
    PeerVisit *visit = user;

    log_info("link of engine %s over (%s)", ID_TEXT(visit->peer), error->message);
    g_ptr_array_remove_fast(visit->engine->peer_visits, visit);
    g_free(visit);
}

static void receive_peer(Engine *engine, Link *link)
{
    static const RpcEvents EVENTS = {.methods = SERVE_METHODS_OF_PEERS, .on_closed = on_peer_gone};
    PeerVisit *visit;

    if (engine->peer_visits->len >= PEERS_MAX) {
        g_autoptr(GError) why =
            g_error_new(US_ERROR, US_ERROR_BUSY, "this engine has %d links of others already", PEERS_MAX);

        rpc_close(rpc_new(&engine->loop, link, &(RpcEvents){0}, NULL), why);
        return;
    }
    log_info("%s is there: it may ask", link_name(link));
    visit = g_new0(PeerVisit, 1);
    visit->engine = engine;
    visit->peer = link_peer(link).id;
    visit->rpc = rpc_new(&engine->loop, link, &EVENTS, visit);
    g_ptr_array_add(engine->peer_visits, visit);
}

static void close_peers(Engine *engine)
{
    while (engine->peer_visits->len > 0) {
        PeerVisit *visit = g_ptr_array_remove_index_fast(engine->peer_visits, 0);

        rpc_close(visit->rpc, NULL);
        g_free(visit);
    }
}

/* --- all --------------------------------------------------------------- */

void gate_on_link(void *user, Link *link)
{
    Engine *engine = user;

    if (link_state(link) == LINK_STRANGER && engine->desk)
        enrol_desk_take(engine->desk, link);
    else if (link_state(link) == LINK_OPEN && link_purpose(link) == PURPOSE_CONTROL)
        receive_controller(engine, link);
    else if (link_state(link) == LINK_OPEN && link_purpose(link) == PURPOSE_BULK)
        receive_active(engine, link);
    else if (link_state(link) == LINK_OPEN && link_purpose(link) == PURPOSE_BEAT)
        receive_beat(engine, link);
    else if (link_state(link) == LINK_OPEN && link_purpose(link) == PURPOSE_PEER)
        receive_peer(engine, link);
    else
        link_free(link);
}

void gate_on_refused(void *user, const GError *error)
{
    (void)user;
    log_notice("not let in: %s", error->message);
}

void gate_init(Engine *engine)
{
    engine->visits = g_ptr_array_new();
    engine->peer_visits = g_ptr_array_new();
    engine->arriving = g_ptr_array_new();
    uv_timer_init(&engine->loop, &engine->leave_timer);
    engine->leave_timer.data = engine;
}

static void close_visits(Engine *engine, gboolean former_only)
{
    for (guint i = engine->visits->len; i > 0; i--) {
        Visit *visit = engine->visits->pdata[i - 1];

        if (former_only && !visit->former)
            continue;
        g_ptr_array_remove_index_fast(engine->visits, i - 1);
        rpc_close(visit->rpc, NULL);
        visit_free(visit);
    }
}

static void on_leave(uv_timer_t *timer)
{
    close_visits(timer->data, TRUE);
}

void gate_leave(Engine *engine)
{
    uv_timer_start(&engine->leave_timer, on_leave, LEAVE_MS, 0);
}

void gate_leave_former(Engine *engine)
{
    for (guint i = 0; i < engine->visits->len; i++)
        ((Visit *)engine->visits->pdata[i])->former = TRUE;
    close_peers(engine);
    gate_leave(engine);
}

void gate_close(Engine *engine)
{
    close_visits(engine, FALSE);
    close_peers(engine);
    while (engine->arriving->len > 0) {
        Arrival *a = engine->arriving->pdata[0];

        link_loop_close(a->link);
        arrival_free(a);
    }
    uv_close((uv_handle_t *)&engine->leave_timer, NULL);
}
