/* SPDX-License-Identifier: Apache-2.0 */
/* engines - many engines in one process, for watch_2000_vms_cpu: real links, identities and enrolment; no VM.
 *
 *   engines DIR HOSTS VMS PORT
 *
 * Host I (1 to HOSTS) listens on 127.0.0.1 at PORT + I, and has its token in DIR/I/token. What it says is fleet.c's. On
 * standard input come commands, one a line, each answered by one line:
 *
 *   count        {"pushes", "bytes", "told", "protected", "sealed", "revived"}, sums since the start
 *   silent I     that machine is gone: its links break, and who watches it hears nothing
 *   dead I N     its N-th guest has died; guest.revive starts it again
 *
 * It ends with its standard input.
 *
 * A real engine of 20 VMs says status as often as this one: each VM's worker reports once a cycle, when it is over, and once
 * while it streams (worker.c: tell()), each keeper at most once a second if something is new (keeper.c: tell_if_new()).
 * At 5 s and 20 of each that is up to twelve reports a second, of which the engine makes news (serve.c). */
#include "fleet.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"
#include "vmconnect/link/enrol_loop.h"
#include "vmconnect/link/link_loop.h"
#include "vmconnect/link/listener.h"
#include "vmconnect/link/rpc.h"
#include "vmconnect/tidings.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define TICK_MS 50
#define NEWS_EACH_MS 250
#define KEEPER_MS 1000

typedef struct Fleet Fleet;

typedef struct {
    Fleet *fleet;
    FleetHost *host;
    Identity *identity;
    Listener *listener;
    EnrolDesk *desk;
    GPtrArray *visits;    /* of Visit * */
    gint64 news_at_ms;    /* when some were looked for last */
    gint64 due_ms;        /* when they are to be again; -1: there are none */
    gint64 keepers_at_ms; /* when its keepers may report next … */
    gboolean keepers;     /* … and whether they will */
} Engine;

typedef struct {
    Engine *engine;
    Rpc *rpc;
    Tidings *tidings;
} Visit;

struct Fleet {
    uv_loop_t loop;
    GPtrArray *engines; /* of Engine * */
    uv_timer_t tick;
    uv_pipe_t commands;
    GString *line;
    guint64 pushes;
    guint64 bytes;
    guint64 told; /* watch.set */
    guint64 protects;
    guint64 sealed;
    guint64 revived;
};

static Engine *engine_at(const Fleet *f, guint64 number)
{
    return number >= 1 && number <= f->engines->len ? f->engines->pdata[number - 1] : NULL;
}

static Engine *engine_of(const Fleet *f, Id id)
{
    for (guint i = 0; i < f->engines->len; i++)
        if (id_equal(((Engine *)f->engines->pdata[i])->host->id, id))
            return f->engines->pdata[i];
    return NULL;
}

/* --- news ------------------------------------------------------------------------ */

/* vmconnect/serve.c: look(). */
static void look(Engine *e, gboolean at_once)
{
    gint64 now_ms = clock_steady_ms();
    json_auto_t *status = fleet_status(e->host, now_ms);

    e->news_at_ms = now_ms;
    e->due_ms = -1;
    for (guint i = 0; i < e->visits->len; i++) {
        Visit *visit = e->visits->pdata[i];
        gint64 later_ms;
        json_auto_t *news = tidings_take(visit->tidings, status, now_ms, at_once, &later_ms);

        if (!news) {
            e->due_ms = MAX(e->due_ms, later_ms);
            continue;
        }
        e->fleet->pushes++;
        e->fleet->bytes += json_dumpb(news, NULL, 0, JSON_COMPACT);
        rpc_news(visit->rpc, news);
    }
}

static void push(Engine *e)
{
    look(e, TRUE);
}

/* vmconnect/serve.c: serve_news(). */
static void news(Engine *e)
{
    gint64 due_ms = e->news_at_ms + NEWS_EACH_MS;

    e->due_ms = e->due_ms < 0 ? due_ms : MIN(e->due_ms, due_ms);
}

/* --- what it is asked --------------------------------------------------------------- */

static Engine *host_of(void *user)
{
    return ((Visit *)user)->engine;
}

static void on_obey(void *user, RpcReply *reply, const json_t *params)
{
    (void)user;
    rpc_reply(reply,
              json_pack("{s:b, s:O}", "obeyed", TRUE, "incarnation", json_object_get(params, "incarnation")));
}

static void on_info(void *user, RpcReply *reply, const json_t *params)
{
    (void)params;
    rpc_reply(reply, fleet_info(host_of(user)->host, clock_wall_ms()));
}

static void on_trial(void *user, RpcReply *reply, const json_t *params)
{
    (void)user;
    (void)params;
    rpc_reply(reply, json_pack("{s:[], s:b, s:b, s:s, s:i}", "problems", "kvm", TRUE, "hook_seen", TRUE,
                               "security", "none", "took_ms", 900));
}

static void on_list(void *user, RpcReply *reply, const json_t *params)
{
    (void)params;
    rpc_reply(reply, fleet_list(host_of(user)->host));
}

static gboolean read_vm(const json_t *params, Id *ret_id)
{
    const char *text = json_string_value(json_object_get(params, "vm"));

    return text && id_parse(text, ret_id, NULL);
}

static void refuse(RpcReply *reply)
{
    g_autoptr(GError) error = g_error_new(US_ERROR, US_ERROR_NOT_FOUND, "this host has no such VM");

    rpc_reply_error(reply, error);
}

/* The VM of this host that is meant; NULL: that was answered. */
static FleetVm *find_vm(void *user, RpcReply *reply, const json_t *params)
{
    Id id;
    FleetVm *vm = read_vm(params, &id) ? fleet_vm(host_of(user)->host, id) : NULL;

    if (!vm)
        refuse(reply);
    return vm;
}

static void on_check(void *user, RpcReply *reply, const json_t *params)
{
    const FleetVm *vm = find_vm(user, reply, params);

    if (vm)
        rpc_reply(reply, fleet_check(vm));
}

static void on_fits(void *user, RpcReply *reply, const json_t *params)
{
    (void)user;
    rpc_reply(reply,
              json_pack("{s:[], s:O}", "remarks", "definition", json_object_get(params, "definition")));
}

static void on_keep(void *user, RpcReply *reply, const json_t *params)
{
    const char *name = json_string_value(json_object_get(params, "scenario"));
    json_t *document = json_object_get(params, "document");

    if (name && json_is_object(document))
        g_hash_table_insert(host_of(user)->host->papers, g_strdup(name), json_incref(document));
    rpc_reply(reply, json_object());
}

static void on_protect(void *user, RpcReply *reply, const json_t *params)
{
    Engine *e = host_of(user);
    FleetVm *vm = find_vm(user, reply, params);

    if (!vm)
        return;
    e->fleet->protects += vm->role == NULL;
    fleet_protect(vm, params, clock_steady_ms());
    push(e);
    rpc_reply(reply, json_object());
}

static void on_admit(void *user, RpcReply *reply, const json_t *params)
{
    Engine *e = host_of(user);
    Id id;

    if (read_vm(params, &id))
        fleet_admit(e->host, id);
    push(e);
    rpc_reply(reply, json_object());
}

static void on_watch(void *user, RpcReply *reply, const json_t *params)
{
    Engine *e = host_of(user);
    g_autoptr(GError) error = NULL;

    e->fleet->told++;
    news(e);
    if (fleet_watch(e->host, params, clock_steady_ms(), &error))
        rpc_reply(reply, json_object());
    else
        rpc_reply_error(reply, error);
}

static void on_revive(void *user, RpcReply *reply, const json_t *params)
{
    Engine *e = host_of(user);
    FleetVm *vm = find_vm(user, reply, params);

    if (!vm)
        return;
    e->fleet->revived++;
    vm->dead = FALSE;
    vm->boots++;
    push(e);
    rpc_reply(reply, json_pack("{s:s}", "how", "started"));
}

static void on_status(void *user, RpcReply *reply, const json_t *params)
{
    (void)params;
    rpc_reply(reply, fleet_status(host_of(user)->host, clock_steady_ms()));
}

static const RpcMethod METHODS[] = {
    {"host.obey", on_obey},
    {"host.info", on_info},
    {"host.trial", on_trial},
    {"vm.list", on_list},
    {"vm.check", on_check},
    {"standby.check", on_fits},
    {"scenario.keep", on_keep},
    {"watch.set", on_watch},
    {"guest.revive", on_revive},
    {"active.protect", on_protect},
    {"standby.admit", on_admit},
    {"status", on_status},
    {NULL, NULL},
};

/* --- links ---------------------------------------------------------------------------- */

static void visit_free(Visit *visit)
{
    tidings_free(visit->tidings);
    g_free(visit);
}

static void on_gone(void *user, const GError *error)
{
    Visit *visit = user;

    (void)error;
    g_ptr_array_remove_fast(visit->engine->visits, visit);
    visit_free(visit);
}

static void on_link(void *user, Link *link)
{
    Engine *e = user;
    RpcEvents events = {.methods = METHODS, .on_closed = on_gone};
    Visit *visit;

    if (link_state(link) == LINK_STRANGER && e->desk) {
        enrol_desk_take(e->desk, link);
        return;
    }
    if (link_state(link) != LINK_OPEN || link_purpose(link) != PURPOSE_CONTROL) {
        link_free(link);
        return;
    }
    visit = g_new0(Visit, 1);
    visit->engine = e;
    visit->tidings = tidings_new(FALSE);
    visit->rpc = rpc_new(&e->fleet->loop, link, &events, visit);
    g_ptr_array_add(e->visits, visit);
    news(e);
}

static gboolean may_enrol(void *user)
{
    const Engine *e = user;

    return e->desk && enrol_desk_live(e->desk);
}

static void on_owned(void *user, Identity *identity)
{
    Engine *e = user;

    identity_unref(e->identity);
    e->identity = identity;
    listener_set_identity(e->listener, identity);
}

static void leave(Engine *e)
{
    listener_close(g_steal_pointer(&e->listener));
    while (e->visits->len > 0) {
        Visit *visit = g_ptr_array_remove_index_fast(e->visits, 0);

        rpc_close(visit->rpc, NULL);
        visit_free(visit);
    }
}

static gboolean engine_begin(Engine *e, const char *dir, guint16 port, GError **error)
{
    g_autofree char *folder = g_strdup_printf("%s/%u", dir, e->host->number);
    g_autofree char *state = g_build_filename(folder, "token.json", NULL);
    g_autofree char *token = g_build_filename(folder, "token", NULL);
    ListenerEvents gate = {.may_enrol = may_enrol, .on_link = on_link};
    EnrolDeskEvents desk = {.on_owned = on_owned};

    g_mkdir_with_parents(folder, 0700);
    e->identity = identity_open(folder, ROLE_ENGINE, error);
    if (!e->identity)
        return FALSE;
    e->host->id = identity_peer(e->identity).id;
    e->listener = listener_new(&e->fleet->loop, "127.0.0.1", port, e->identity, &gate, e, error);
    if (e->listener && !identity_is_owned(e->identity))
        e->desk = enrol_desk_new(&e->fleet->loop, e->identity, state, token, &desk, e, error);
    return e->listener && e->desk;
}

/* --- time passes ------------------------------------------------------------------------ */

static void seal(Engine *e, FleetVm *vm, gint64 now_ms)
{
    Engine *other = engine_of(e->fleet, fleet_standby_of(vm));
    FleetCopy *copy = other ? fleet_copy(other->host, vm->id) : NULL;

    fleet_seal(vm, now_ms, clock_wall_ms());
    vm->due_ms += vm->interval_ms;
    e->fleet->sealed++;
    news(e);
    if (!copy || other->host->silent)
        return;
    json_decref(copy->tip);
    copy->tip = json_incref(vm->tip);
    other->keepers = TRUE;
}

static void cycle(Engine *e, gint64 now_ms)
{
    for (guint i = 0; i < e->host->vms->len; i++) {
        FleetVm *vm = e->host->vms->pdata[i];

        if (!vm->role)
            continue;
        if (now_ms >= vm->due_ms)
            seal(e, vm, now_ms);
        else if (now_ms + vm->cycle_ms / 2 >= vm->due_ms && now_ms + vm->cycle_ms / 2 < vm->due_ms + TICK_MS)
            news(e); /* it streams */
    }
}

static void probe(Engine *e, gint64 now_ms)
{
    for (guint i = 0; i < e->host->subjects->len; i++) {
        FleetSubject *s = e->host->subjects->pdata[i];
        const Engine *other = g_str_equal(s->key, "id") ? engine_of(e->fleet, s->id) : NULL;
        guint misses = other && other->host->silent ? MIN(s->misses + 1, 10) : 0;

        if (now_ms < s->due_ms)
            continue;
        s->due_ms += s->interval_ms;
        if (!s->tried || misses != s->misses)
            news(e);
        s->tried = TRUE;
        s->misses = misses;
    }
}

static void on_tick(uv_timer_t *timer)
{
    Fleet *f = timer->data;
    gint64 now_ms = clock_steady_ms();

    for (guint i = 0; i < f->engines->len; i++) {
        Engine *e = f->engines->pdata[i];

        if (e->host->silent)
            continue;
        cycle(e, now_ms);
        probe(e, now_ms);
        if (e->keepers && now_ms >= e->keepers_at_ms) {
            e->keepers = FALSE;
            e->keepers_at_ms = now_ms + KEEPER_MS / 4; /* each of them once a second, and not all at once */
            news(e);
        }
        if (e->due_ms >= 0 && now_ms >= e->due_ms)
            look(e, FALSE);
    }
}

/* --- commands ------------------------------------------------------------------------------ */

static void say_counts(const Fleet *f)
{
    json_auto_t *doc =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "pushes", (json_int_t)f->pushes, "bytes",
                  (json_int_t)f->bytes, "told", (json_int_t)f->told, "protected", (json_int_t)f->protects,
                  "sealed", (json_int_t)f->sealed, "revived", (json_int_t)f->revived);
    g_autofree char *text = json_text(doc);

    g_print("%s\n", text);
}

static void fall_silent(Engine *e)
{
    e->host->silent = TRUE;
    leave(e);
    g_print("silent\n");
}

static void kill_guest(Engine *e, guint64 number)
{
    FleetVm *vm = e->host->vms->pdata[number - 1];

    vm->dead = TRUE;
    push(e);
    g_print("dead\n");
}

static void obey(Fleet *f, const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    guint n = g_strv_length(words);
    Engine *e = n > 1 ? engine_at(f, g_ascii_strtoull(words[1], NULL, 10)) : NULL;
    guint64 vm = n > 2 ? g_ascii_strtoull(words[2], NULL, 10) : 0;

    if (g_str_equal(line, "count"))
        say_counts(f);
    else if (e && n == 2 && g_str_equal(words[0], "silent"))
        fall_silent(e);
    else if (e && vm >= 1 && vm <= e->host->vms->len && g_str_equal(words[0], "dead"))
        kill_guest(e, vm);
    else
        g_print("what is '%s'?\n", line);
    fflush(stdout);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
    static char room[4096];

    (void)handle;
    (void)wanted;
    *buf = uv_buf_init(room, sizeof(room));
}

static void on_commands(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    Fleet *f = stream->data;
    const char *end;

    if (n < 0) {
        uv_stop(&f->loop);
        return;
    }
    g_string_append_len(f->line, buf->base, n);
    while ((end = strchr(f->line->str, '\n'))) {
        g_autofree char *line = g_strndup(f->line->str, (gsize)(end - f->line->str));

        g_string_erase(f->line, 0, end - f->line->str + 1);
        obey(f, line);
    }
}

/* --- all -------------------------------------------------------------------------------------- */

static gboolean fleet_begin(Fleet *f, char **argv, GError **error)
{
    guint hosts = (guint)g_ascii_strtoull(argv[2], NULL, 10),
          vms = (guint)g_ascii_strtoull(argv[3], NULL, 10);
    guint port = (guint)g_ascii_strtoull(argv[4], NULL, 10);

    for (guint i = 1; i <= hosts; i++) {
        Engine *e = g_new0(Engine, 1);

        e->fleet = f;
        e->due_ms = -1;
        e->host = fleet_host_new(i, vms);
        e->visits = g_ptr_array_new();
        g_ptr_array_add(f->engines, e);
        if (!engine_begin(e, argv[1], (guint16)(port + i), error))
            return FALSE;
    }
    return TRUE;
}

int main(int argc, char **argv)
{
    Fleet f = {.engines = g_ptr_array_new(), .line = g_string_new(NULL)};
    g_autoptr(GError) error = NULL;

    if (argc != 5) {
        g_printerr("usage: engines DIR HOSTS VMS PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&f.loop);
    if (!fleet_begin(&f, argv, &error)) {
        g_printerr("engines: %s\n", error->message);
        return 1;
    }
    uv_timer_init(&f.loop, &f.tick);
    f.tick.data = f.commands.data = &f;
    uv_timer_start(&f.tick, on_tick, TICK_MS, TICK_MS);
    uv_pipe_init(&f.loop, &f.commands, 0);
    f.commands.data = &f;
    uv_pipe_open(&f.commands, 0);
    uv_read_start((uv_stream_t *)&f.commands, on_alloc, on_commands);
    g_print("ready\n");
    fflush(stdout);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    /* Nothing is cleaned up: what it had was nobody's. */
    return 0;
}
