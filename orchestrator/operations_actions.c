/* SPDX-License-Identifier: Apache-2.0 */
/* What makes a scenario do something, and what shows that before. */
#include "orchestrator/core/hold.h"
#include "orchestrator/operations.h"
#include "orchestrator/verification.h"
#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#define POINTS_MS 10000

/* --- run, stop, pause, continue ---------------------------------------- */

static void scenario_run(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;

    if (!json_read(api_call_body(call), "request", &error, "{}") ||
        !scenarios_run(c->scenarios, api_call_parameter(call, "scenario"), operation_accepted, call, &error))
        api_call_fail(call, error);
}

static void command(ApiCall *call, Controller *c, InputKind kind)
{
    g_autoptr(GError) error = NULL;

    if (!json_read(api_call_body(call), "request", &error, "{}") ||
        !scenarios_step(c->scenarios, api_call_parameter(call, "scenario"), (Input){.kind = kind},
                        operation_accepted, call, &error))
        api_call_fail(call, error);
}

static void scenario_stop(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;

    const char *name = api_call_parameter(call, "scenario");
    g_autofree char *scenario = g_strdup(name);

    if (json_read(api_call_body(call), "request", &error, "{}") &&
        scenarios_stop(c->scenarios, name, operation_accepted, call, &error))
        rehearsals_end(c->rehearsals, scenario);
    else
        api_call_fail(call, error);
}

static void scenario_pause(ApiCall *call, void *user)
{
    command(call, user, INPUT_PAUSE);
}

static void scenario_continue(ApiCall *call, void *user)
{
    command(call, user, INPUT_CONTINUE);
}

static void scenario_hold(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    json_auto_t *hold = hold_from_request(api_call_body(call), clock_wall_ms(), &error);

    if (!hold || !scenarios_step(c->scenarios, api_call_parameter(call, "scenario"),
                                 (Input){.kind = INPUT_HOLD, .json = hold}, operation_done, call, &error))
        api_call_fail(call, error);
}

static void scenario_unhold(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;

    if (!scenarios_step(c->scenarios, api_call_parameter(call, "scenario"), (Input){.kind = INPUT_UNHOLD},
                        operation_done, call, &error))
        api_call_fail(call, error);
}

/* --- what a run will send ---------------------------------------------- */

typedef struct {
    Controller *c;
    ApiCall *call;
    char *name;
    char *master;
} Preview;

/* A first copy sends what is allocated; on top of an existing one that is the bound. */
static json_t *preview_vm(const ProtectionVm *vm, const VerifyFacts *facts)
{
    const ProtectionCopy *copy = vm->copies->pdata[0];
    gint64 size_bytes = 0, data_bytes = 0;
    gboolean known = verify_vm_bytes(facts, vm->uuid, &size_bytes, &data_bytes);
    const char *how = !known ? "the master has no such VM"
                      : copy->complete
                          ? "what a comparison with the newest recovery point finds, at most that"
                          : "what is allocated, as a first copy";

    return json_pack("{s:s, s:s, s:s, s:o, s:o}", "uuid", ID_TEXT(vm->uuid), "name", vm->name, "how", how,
                     "size_bytes", known ? json_integer(size_bytes) : json_null(), "send_bytes",
                     known ? json_integer(data_bytes) : json_null());
}

static json_t *preview_of(const Protection *p, const VerifyFacts *facts)
{
    json_t *vms = json_array();

    for (guint i = 0; i < p->vms->len; i++)
        json_array_append_new(vms, preview_vm(p->vms->pdata[i], facts));
    return json_pack("{s:s, s:s, s:s, s:o}", "scenario", p->scenario->name, "from", p->scenario->master, "to",
                     (const char *)p->scenario->replicas->pdata[0], "vms", vms);
}

/* What the other host still has of it, its images say when it looks at them. */
static json_t *preview_back(const Protection *p)
{
    json_t *vms = json_array();

    for (guint i = 0; i < p->vms->len; i++) {
        const ProtectionVm *vm = p->vms->pdata[i];

        json_array_append_new(vms, json_pack("{s:s, s:s, s:s, s:n, s:n}", "uuid", ID_TEXT(vm->uuid), "name",
                                             vm->name, "how",
                                             "what changed since it was moved, or what a comparison finds",
                                             "size_bytes", "send_bytes"));
    }
    return json_pack("{s:s, s:s, s:s, s:o}", "scenario", p->scenario->name, "from",
                     protection_away(p)->active, "to", protection_keeper(protection_away(p)), "vms", vms);
}

static void on_looked(void *user, const VerifyFacts *facts)
{
    Preview *v = user;
    g_autoptr(GError) error = verify_silence(facts, v->master);
    const Protection *p = error ? NULL : scenarios_find(v->c->scenarios, v->name, &error);

    if (p)
        api_call_answer(v->call, preview_of(p, facts));
    else
        api_call_fail(v->call, error);
    g_free(v->name);
    g_free(v->master);
    g_free(v);
}

static void scenario_preview(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const char *name = api_call_parameter(call, "scenario");
    const Protection *p = scenarios_find(c->scenarios, name, &error);
    Preview *v;

    if (!p) {
        api_call_fail(call, error);
        return;
    }
    if (protection_away(p)) {
        api_call_answer(call, preview_back(p));
        return;
    }
    v = g_new0(Preview, 1);
    *v = (Preview){c, call, g_strdup(name), g_strdup(p->scenario->master)};
    verification_start(c->hosts, p->scenario, protection_networks(p), on_looked, v);
}

/* --- switchover -------------------------------------------------------- */

typedef struct {
    PlanOptions options; /* .vms is @ids' */
    GArray *ids;         /* Id */
    gboolean preview;
} Wanted;

static void wanted_clear(Wanted *w)
{
    g_clear_pointer(&w->ids, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Wanted, wanted_clear)

static gboolean read_ids(Wanted *w, const json_t *list, GError **error)
{
    w->ids = g_array_new(FALSE, FALSE, sizeof(Id));
    if (list && !json_is_array(list)) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "\"vms\" must be an array of UUIDs");
        return FALSE;
    }
    /* Of a choice that came out empty nobody means all. */
    if (list && json_array_size(list) == 0) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "\"vms\" names no VM: leave it out to move all of them");
        return FALSE;
    }
    for (gsize i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        Id id;

        if (!id_parse(text ? text : "", &id, error))
            return FALSE;
        g_array_append_val(w->ids, id);
    }
    w->options.vms = w->ids->len ? (const Id *)(const void *)w->ids->data : NULL;
    w->options.vm_count = w->ids->len;
    return TRUE;
}

static gboolean read_wanted(const json_t *body, Wanted *w, GError **error)
{
    json_t *vms = NULL;
    int preview = FALSE;
    int power_off = FALSE;
    int reverse = PLAN_REVERSE_BY_POLICY;
    int force = FALSE;
    int old_is_off = FALSE;
    const char *point = NULL;

    if (!json_read(body, "switchover", error, "{s?b, s?b, s?b, s?b, s?b, s?s, s?s, s?o}", "preview", &preview,
                   "power_off", &power_off, "reverse", &reverse, "force", &force, "old_is_off", &old_is_off,
                   "point", &point, "to", &w->options.to, "vms", &vms) ||
        (point && !id_parse(point, &w->options.point, error)) || !read_ids(w, vms, error))
        return FALSE;
    if (old_is_off && !force) {
        g_set_error(error, US_ERROR, US_ERROR_USAGE, "--old-is-off certifies something for --force alone");
        return FALSE;
    }
    w->options.force = force;
    w->options.old_is_off = old_is_off;
    w->options.now_ms = clock_steady_ms();
    w->options.reverse = reverse;
    w->preview = preview;
    w->options.power_off = power_off;
    w->options.id = id_random();
    w->options.reign = id_random();
    return TRUE;
}

typedef struct {
    ApiCall *call;
    Id plan;
} Started;

static void on_begun(void *user, const GError *error)
{
    g_autofree Started *s = user;

    if (error)
        api_call_fail(s->call, error);
    else
        api_call_accept(s->call, ID_TEXT(s->plan));
}

static void start(Controller *c, ApiCall *call, Plan *steal_plan)
{
    g_autoptr(GError) error = NULL;
    Started *s = g_new0(Started, 1);

    *s = (Started){call, steal_plan->id};
    if (plans_start(c->plans, steal_plan, on_begun, s, &error))
        return;
    api_call_fail(call, error);
    g_free(s);
}

typedef struct {
    Controller *c;
    ApiCall *call;
    gboolean home; /* a switchback */
} Asked;

/* From the call's own body, each time: what it allows may have changed meanwhile. */
static Plan *wanted_plan(const Asked *a, Wanted *w, GError **error)
{
    const Protection *p = scenarios_find(a->c->scenarios, api_call_parameter(a->call, "scenario"), error);

    if (!p || !read_wanted(api_call_body(a->call), w, error))
        return NULL;
    w->options.home = a->home;
    w->options.running = runner_find_running(plans_runner(a->c->plans), p->scenario->name);
    w->options.promised = voice_promised(a->c->voice, p);
    return plan_switchover(p, &w->options, error);
}

/* A guest that could not be started there is not shut down here. */
static void on_looked_before(void *user, const VerifyFacts *facts)
{
    g_autofree Asked *a = user;
    g_auto(Wanted) w = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(Plan) plan = wanted_plan(a, &w, &error);
    g_autoptr(GPtrArray) findings = verify_check(facts);

    if (plan)
        error = verify_move_failure(findings);
    if (error)
        api_call_fail(a->call, error);
    else
        start(a->c, a->call, g_steal_pointer(&plan));
}

/* By force nobody is kept from it, and hears of it. */
static void on_looked_before_force(void *user, const VerifyFacts *facts)
{
    g_autofree Asked *a = user;
    g_auto(Wanted) w = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(Plan) plan = wanted_plan(a, &w, &error);
    g_autoptr(GPtrArray) findings = verify_check(facts);
    json_t *doc;

    if (!plan) {
        api_call_fail(a->call, error);
        return;
    }
    doc = plan_to_json(plan);
    json_object_set_new(doc, "warnings", verify_move_warnings(findings, plan->to));
    api_call_answer(a->call, doc);
}

static void go(Asked *steal_asked)
{
    g_autofree Asked *a = steal_asked;
    Controller *c = a->c;
    ApiCall *call = a->call;
    g_autoptr(GError) error = NULL;
    g_auto(Wanted) w = {0};
    g_autoptr(Plan) plan = wanted_plan(a, &w, &error);
    const Protection *p = scenarios_find(c->scenarios, api_call_parameter(call, "scenario"), NULL);

    if (!plan)
        api_call_fail(call, error);
    else if (w.preview && !plan->forced)
        api_call_answer(call, plan_to_json(plan));
    else if (!w.preview && plan->forced)
        start(c, call, g_steal_pointer(&plan));
    else
        verification_start_move(c->hosts, p, plan, plan->forced ? on_looked_before_force : on_looked_before,
                                g_steal_pointer(&a));
}

static gboolean has_point(const json_t *points, Id point)
{
    json_t *one;
    gsize i;

    json_array_foreach(points, i, one) if (g_strcmp0(json_string_value(json_object_get(one, "id")),
                                                     ID_TEXT(point)) == 0) return TRUE;
    return FALSE;
}

/* A plan goes on until its VM runs: one that never could is not begun. */
static void on_points(void *user, const json_t *result, const GError *failure)
{
    g_autofree Asked *a = user;
    g_autoptr(GError) error = failure ? g_error_copy(failure) : NULL;
    g_auto(Wanted) w = {0};
    g_autoptr(Plan) plan = error ? NULL : wanted_plan(a, &w, &error);

    if (plan && !has_point(json_object_get(result, "points"), plan->point))
        g_set_error(
            &error, US_ERROR, US_ERROR_NOT_FOUND,
            "there is no whole point %s on %s: nothing was begun; 'understudy points %s' lists those that "
            "are kept",
            ID_TEXT(plan->point), plan->to, plan->scenario);
    if (error)
        api_call_fail(a->call, error);
    else
        go(g_steal_pointer(&a));
}

static void move(Controller *c, ApiCall *call, gboolean home)
{
    g_autofree Asked *asked = g_new0(Asked, 1);
    g_autoptr(GError) error = NULL;
    g_auto(Wanted) w = {0};
    g_autoptr(Plan) plan = NULL;
    json_auto_t *params = NULL;

    *asked = (Asked){c, call, home};
    plan = wanted_plan(asked, &w, &error);
    if (!plan) {
        api_call_fail(call, error);
        return;
    }
    if (id_is_nil(plan->point)) {
        go(g_steal_pointer(&asked));
        return;
    }
    params = json_pack("{s:s, s:b}", "vm", ID_TEXT(((const Move *)plan->moves->pdata[0])->vm), "urgent", 1);
    hosts_call(c->hosts, plan->to, "standby.points", params, POINTS_MS, on_points, g_steal_pointer(&asked));
}

static void scenario_switchover(ApiCall *call, void *user)
{
    move(user, call, FALSE);
}

static void scenario_switchback(ApiCall *call, void *user)
{
    move(user, call, TRUE);
}

const Operation OPERATIONS_ACTIONS[] = {
    {"scenario.run", scenario_run},
    {"scenario.stop", scenario_stop},
    {"scenario.pause", scenario_pause},
    {"scenario.continue", scenario_continue},
    {"scenario.hold", scenario_hold},
    {"scenario.unhold", scenario_unhold},
    {"scenario.preview", scenario_preview},
    {"scenario.switchover", scenario_switchover},
    {"scenario.switchback", scenario_switchback},
    {NULL, NULL},
};
