/* SPDX-License-Identifier: Apache-2.0 */
/* What the journal keeps of a plan: that it was begun, each intention before it
 * is acted on, how each VM ended, that it ended. Outcomes of steps are not in
 * here; only the papers of a release are, since they must be delivered. */
#include "orchestrator/core/plan_parts.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#define PLAN_FORMAT 1

static void set_votes(json_t *record, const Plan *plan)
{
    if (!plan->votes_ms)
        return;
    json_object_set_new(record, "votes_ms", json_integer((json_int_t)plan->votes_ms));
    json_object_set_new(record, "elected", json_boolean(plan->elected));
    if (plan->fenced)
        json_object_set_new(
            record, "fenced",
            json_pack("{s:I, s:s}", "sure_ms", (json_int_t)plan->sure_ms, "boot", ID_TEXT(plan->sure_boot)));
}

/* A time of another boot says nothing: whoever takes it up looks (plan_forget_boot()). */
static void read_fence(const json_t *fenced, Plan *plan)
{
    const char *boot = json_string_value(json_object_get(fenced, "boot"));
    const json_t *sure = json_object_get(fenced, "sure_ms");
    gboolean known = json_is_integer(sure) && boot && id_parse(boot, &plan->sure_boot, NULL);

    plan->fenced = json_is_object(fenced);
    plan->sure_ms = known ? json_integer_value(sure) : PLAN_SURE_LONG_AGO;
}

static void read_votes(const json_t *record, Plan *plan)
{
    plan->votes_ms = json_integer_value(json_object_get(record, "votes_ms"));
    plan->elected = json_is_true(json_object_get(record, "elected"));
    read_fence(json_object_get(record, "fenced"), plan);
}

json_t *plan_record_begin(const Plan *plan)
{
    json_t *vms = json_array();

    for (guint i = 0; i < plan->moves->len; i++) {
        const Move *m = plan->moves->pdata[i];

        json_array_append_new(vms,
                              json_pack("{s:s, s:s, s:o, s:b, s:b, s:O?}", "vm", ID_TEXT(m->vm), "name",
                                        m->name, "reign", reign_to_json(m->reign), "off", m->was_off, "died",
                                        m->died, "certificate", plan->forced ? m->certificate : NULL));
    }
    json_t *record = json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:b, s:b, s:b, s:b, s:o, s:I, s:I, s:I, s:o}", "format",
        PLAN_FORMAT, "begin", ID_TEXT(plan->id), "scenario", plan->scenario, "from", plan->from, "to",
        plan->to, "to_id", ID_TEXT(plan->to_id), "next", reign_to_json(plan->next), "power_off",
        plan->power_off, "reverse", plan->reverse, "forced", plan->forced, "old_is_off", plan->old_is_off,
        "point", json_from_id(plan->point), "shutdown_timeout_ms", (json_int_t)plan->shutdown_timeout_ms,
        "start_timeout_ms", (json_int_t)plan->start_timeout_ms, "deadline_ms", (json_int_t)plan->deadline_ms,
        "vms", vms);

    /* An earlier version reads no record that has what it does not know. */
    if (plan->parks) {
        json_object_set_new(record, "parks", json_true());
        json_object_set_new(record, "until_told", json_boolean(plan->until_told));
        json_object_set_new(record, "alone", json_boolean(plan->alone));
    }
    set_votes(record, plan);
    return record;
}

json_t *plan_record_intent(const Move *m, StepKind step)
{
    if (step == STEP_PROMOTE)
        return json_pack("{s:s, s:s, s:o, s:O}", "intent", step_method(step), "vm", ID_TEXT(m->vm), "tip",
                         json_from_id(m->tip), "certificate", m->certificate);
    if (step == STEP_ROLLBACK)
        return json_pack("{s:s, s:s, s:s?}", "intent", step_method(step), "vm", ID_TEXT(m->vm), "why",
                         m->why);
    return json_pack("{s:s, s:s}", "intent", step_method(step), "vm", ID_TEXT(m->vm));
}

json_t *plan_record_over(const Move *m)
{
    return json_pack("{s:s, s:s, s:i, s:s?, s:o*}", "over", ID_TEXT(m->vm), "state",
                     move_state_name(m->state), "done", (int)m->done, "why", m->why, "by_hand",
                     m->by_hand.number ? reign_to_json(m->by_hand) : NULL);
}

json_t *plan_record_forced(const Plan *forced)
{
    json_t *vms = json_array();

    for (guint i = 0; i < forced->moves->len; i++) {
        const Move *m = forced->moves->pdata[i];

        json_array_append_new(vms,
                              json_pack("{s:s, s:O}", "vm", ID_TEXT(m->vm), "certificate", m->certificate));
    }
    json_t *record = json_pack("{s:b, s:b, s:o}", "forced", 1, "old_is_off", forced->old_is_off, "vms", vms);

    set_votes(record, forced);
    return record;
}

json_t *plan_record_called(void)
{
    return json_pack("{s:b}", "called", 1);
}

json_t *plan_record_end(void)
{
    return json_pack("{s:b}", "end", 1);
}

static gboolean unsound(GError **error, const char *what)
{
    g_set_error(error, US_ERROR, US_ERROR_CORRUPT,
                "a plan's journal has an unsound record (%s): the plan is left alone; look at the file",
                what);
    return FALSE;
}

static gboolean read_vms(Plan *plan, const json_t *vms, GError **error)
{
    for (gsize i = 0; i < json_array_size(vms); i++) {
        json_t *certificate = NULL;
        const char *vm, *name;
        int off = FALSE, died = FALSE;
        json_t *reign_doc;
        Reign reign;
        Move *m;
        Id id;

        if (!json_read(json_array_get(vms, i), "VM", NULL, "{s:s, s:s, s:o, s?b, s?b, s?o}", "vm", &vm,
                       "name", &name, "reign", &reign_doc, "off", &off, "died", &died, "certificate",
                       &certificate) ||
            !id_parse(vm, &id, NULL) || !reign_from_json(reign_doc, &reign, NULL) || plan_find(plan, id) ||
            (plan->forced && !json_is_object(certificate)))
            return unsound(error, "VM");
        m = plan_add_move(plan, id, name, reign);
        m->tip = plan->point;
        m->was_off = off;
        m->died = died;
        m->certificate = plan->forced ? json_incref(certificate) : NULL;
    }
    return plan->moves->len > 0 || unsound(error, "no VM");
}

static Plan *read_begin(const json_t *record, GError **error)
{
    g_autoptr(Plan) plan = NULL;
    const char *id_text, *scenario, *from, *to, *to_id;
    json_t *next, *vms;
    json_int_t shutdown_ms, start_ms, deadline_ms;
    json_int_t votes_ms = 0;
    int format, power_off, reverse = FALSE, forced = FALSE, old_is_off = FALSE, parks = FALSE,
                           until_told = FALSE, alone = FALSE, elected = FALSE;
    json_t *point = NULL, *fenced = NULL;
    Id id;

    if (!json_read(
            record, "begin", NULL,
            "{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:b, s?b, s?b, s?b, s?b, s?b, s?b, s?I, s?b, s?o, s?o, "
            "s:I, s:I, s:I, s:o}",
            "format", &format, "begin", &id_text, "scenario", &scenario, "from", &from, "to", &to, "to_id",
            &to_id, "next", &next, "power_off", &power_off, "reverse", &reverse, "forced", &forced,
            "old_is_off", &old_is_off, "parks", &parks, "until_told", &until_told, "alone", &alone,
            "votes_ms", &votes_ms, "elected", &elected, "fenced", &fenced, "point", &point,
            "shutdown_timeout_ms", &shutdown_ms, "start_timeout_ms", &start_ms, "deadline_ms", &deadline_ms,
            "vms", &vms) ||
        format != PLAN_FORMAT || !id_parse(id_text, &id, NULL)) {
        unsound(error, "begin");
        return NULL;
    }
    plan = plan_new(id, scenario, from, to);
    plan->power_off = power_off;
    plan->reverse = reverse;
    plan->forced = forced;
    plan->old_is_off = old_is_off;
    plan->parks = parks;
    plan->until_told = until_told;
    plan->alone = alone;
    read_votes(record, plan);
    if (point && !json_to_id(point, &plan->point, NULL)) {
        unsound(error, "point");
        return NULL;
    }
    plan->shutdown_timeout_ms = shutdown_ms;
    plan->start_timeout_ms = start_ms;
    plan->deadline_ms = deadline_ms;
    if (!id_parse(to_id, &plan->to_id, NULL) || !reign_from_json(next, &plan->next, NULL)) {
        unsound(error, "begin");
        return NULL;
    }
    return read_vms(plan, vms, error) ? g_steal_pointer(&plan) : NULL;
}

static Move *move_of(const Plan *plan, const json_t *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record, key));
    Id id;

    return text && id_parse(text, &id, NULL) ? plan_find(plan, id) : NULL;
}

static gboolean replay_intent(Move *m, const json_t *record, GError **error)
{
    const char *method = json_string_value(json_object_get(record, "intent"));
    const json_t *tip = json_object_get(record, "tip");
    json_t *certificate = json_object_get(record, "certificate");

    if (!m || !method)
        return unsound(error, "intent");
    m->begun = TRUE;
    if (g_str_equal(method, step_method(STEP_ROLLBACK))) {
        m->rolling = TRUE;
        g_free(m->why);
        m->why = g_strdup(json_string_value(json_object_get(record, "why")));
    }
    if (!g_str_equal(method, step_method(STEP_PROMOTE)))
        return TRUE;
    if (!certificate || !tip || !json_to_id(tip, &m->tip, NULL))
        return unsound(error, "intent to promote");
    json_decref(m->certificate);
    m->certificate = json_deep_copy(certificate);
    m->done = STEP_RELEASE + 1;
    m->elected = TRUE;
    return TRUE;
}

static gboolean replay_over(Move *m, const json_t *record, GError **error)
{
    const char *state = json_string_value(json_object_get(record, "state"));
    const json_t *by_hand = json_object_get(record, "by_hand");

    if (!m || !state)
        return unsound(error, "over");
    for (MoveState s = MOVE_MOVED; s <= MOVE_DOWN; s++)
        if (g_str_equal(state, move_state_name(s)))
            m->state = s;
    m->done = (guint)json_integer_value(json_object_get(record, "done"));
    g_free(m->why);
    m->why = g_strdup(json_string_value(json_object_get(record, "why")));
    if (by_hand && !reign_from_json(by_hand, &m->by_hand, NULL))
        return unsound(error, "over");
    return move_is_over(m) || unsound(error, "over");
}

gboolean plan_goes_on(const Plan *plan, const Protection *p)
{
    return !plan->ended && p && id_equal(p->plan, plan->id);
}

void plan_conclude(Plan *plan, const Protection *p)
{
    EACH_MOVE (plan, m) {
        const ProtectionVm *vm = p ? protection_find(p, m->vm) : NULL;

        if (move_is_over(m))
            continue;
        m->state = vm && vm->reign.number >= plan->next.number && g_str_equal(vm->active, plan->to)
                       ? MOVE_MOVED
                       : MOVE_STAYED;
        if (m->state == MOVE_MOVED)
            m->done = MAX(m->done, STEP_PROMOTE + 1);
        else if (!m->why)
            move_set_why(m, "the controller could not write the plan's journal to its end");
    }
    plan->ended = TRUE;
}

static gboolean replay_forced(Plan *plan, const json_t *record, GError **error)
{
    const json_t *vms = json_object_get(record, "vms");
    json_t *one;
    gsize i;

    plan->forced = TRUE;
    plan->parks = plan->called = plan->alone = FALSE;
    plan->old_is_off = json_is_true(json_object_get(record, "old_is_off"));
    read_votes(record, plan);
    json_array_foreach(vms, i, one)
    {
        Move *m = move_of(plan, one, "vm");
        json_t *certificate = json_object_get(one, "certificate");

        if (!m || m->certificate || move_is_over(m) || !json_is_object(certificate))
            return unsound(error, "forced");
        m->rolling = FALSE;
        m->certificate = json_incref(certificate);
    }
    return json_array_size(vms) > 0 || unsound(error, "forced");
}

static gboolean replay(Plan *plan, const json_t *record, GError **error)
{
    if (json_object_get(record, "forced"))
        return replay_forced(plan, record, error);
    if (json_object_get(record, "intent"))
        return replay_intent(move_of(plan, record, "vm"), record, error);
    if (json_object_get(record, "over"))
        return replay_over(move_of(plan, record, "over"), record, error);
    if (json_is_true(json_object_get(record, "called"))) {
        plan->called = TRUE;
        return TRUE;
    }
    if (!json_is_true(json_object_get(record, "end")))
        return unsound(error, "unknown");
    plan->ended = TRUE;
    return TRUE;
}

void plan_forget_boot(Plan *plan, Id now)
{
    if (plan->fenced && !id_equal(plan->sure_boot, now))
        plan->sure_ms = PLAN_SURE_LONG_AGO;
}

Plan *plan_from_records(const json_t *records, GError **error)
{
    g_autoptr(Plan) plan = read_begin(json_array_get(records, 0), error);

    for (gsize i = 1; plan && i < json_array_size(records); i++)
        if (!replay(plan, json_array_get(records, i), error))
            return NULL;
    return g_steal_pointer(&plan);
}
