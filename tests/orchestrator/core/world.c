/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include "vmconnect/base/error.h"

#include <string.h>

Id world_id(guint8 byte)
{
    Id id;

    memset(id.bytes, byte, sizeof id.bytes);
    return id;
}

Id world_vm(guint number)
{
    return world_id((guint8)(0x10 + number));
}

static char *vm_name(guint number)
{
    return g_strdup_printf("web%u", number);
}

World *world_new(guint vms)
{
    static const char *const ALPHA[] = {"10.0.0.1:25000", NULL};
    static const char *const BETA[] = {"10.0.0.2:25000", NULL};
    World *w = g_new0(World, 1);

    w->roster = roster_new();
    roster_set(w->roster, "alpha", world_id(0xa1), ALPHA);
    roster_set(w->roster, "beta", world_id(0xb2), BETA);
    w->scenario = scenario_new("web", "alpha");
    scenario_add_replica(w->scenario, "beta");
    for (guint i = 1; i <= vms; i++) {
        g_autofree char *name = vm_name(i);

        scenario_add_vm(w->scenario, world_vm(i), name);
    }
    w->trace = g_string_new(NULL);
    w->p = protection_new(w->scenario, w->roster, world_id(0xee));
    w->durable = protection_to_json(w->p);
    world_link(w, "alpha", TRUE);
    world_link(w, "beta", TRUE);
    world_hear(w, "alpha");
    world_hear(w, "beta");
    world_forget(w);
    return w;
}

void world_free(World *w)
{
    if (!w)
        return;
    protection_free(w->p);
    scenario_free(w->scenario);
    roster_free(w->roster);
    json_decref(w->durable);
    g_string_free(w->trace, TRUE);
    g_free(w->told);
    g_free(w);
}

static const char *name_of(const World *w, Id vm)
{
    const ScenarioVm *known = scenario_find_vm(w->scenario, vm);

    return known ? known->name : NULL;
}

static void narrate(World *w, const Input *in, const ActionList *out)
{
    g_autofree char *condition = input_words(in, name_of(w, in->vm));

    guint decisions = 0;

    /* What is noted beside it is no decision. */
    for (guint i = 0; i < out->len; i++) {
        const Action *a = out->pdata[i];
        g_autofree char *decision = action_words(a, name_of(w, a->vm));

        if (a->kind == ACTION_NOTE)
            continue;
        if (a->kind == ACTION_PUBLISH) {
            g_free(w->told);
            w->told = g_strdup(a->event->text);
        }
        if (decisions++ == 0)
            g_string_append_printf(w->trace, "[%4" G_GINT64_FORMAT "] %s", w->now_ms / 1000, condition);
        else
            g_string_append(w->trace, "       ");
        g_string_append_printf(w->trace, " -> %s\n", decision);
    }
    if (decisions == 0)
        g_string_append_printf(w->trace, "[%4" G_GINT64_FORMAT "] %s -> nothing\n", w->now_ms / 1000,
                               condition);
}

gboolean world_step(World *w, Input in, GError **error)
{
    g_autoptr(ActionList) out = action_list_new();

    in.now_ms = w->now_ms;
    in.wall_ms = w->now_ms + w->wall_ahead_ms;
    if (!protection_step(w->p, &in, out, error)) {
        g_assert_cmpuint(out->len, ==, 0);
        return FALSE;
    }
    for (guint i = 0; i < out->len; i++) {
        const Action *a = out->pdata[i];

        if (a->kind != ACTION_PERSIST && a->kind != ACTION_NOTE)
            continue;
        json_decref(w->durable);
        w->durable = protection_to_json(w->p);
    }
    narrate(w, &in, out);
    for (guint i = 0; w->on_call && i < out->len; i++)
        if (((const Action *)out->pdata[i])->kind == ACTION_CALL)
            w->on_call(w->ctx, out->pdata[i]);
    return TRUE;
}

static void must(World *w, Input in)
{
    GError *error = NULL;
    gboolean ok = world_step(w, in, &error);

    g_assert_no_error(error);
    g_assert_true(ok);
}

void world_do(World *w, InputKind kind)
{
    must(w, (Input){.kind = kind});
}

void world_refused(World *w, InputKind kind, const char *why)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(world_step(w, (Input){.kind = kind}, &error));
    g_assert_cmpstr(error->message, ==, why);
}

void world_link(World *w, const char *host, gboolean up)
{
    must(w, (Input){.kind = up ? INPUT_LINK_BACK : INPUT_LINK_LOST, .host = (char *)host});
}

void world_hear(World *w, const char *host)
{
    json_auto_t *status = json_pack("{s:b, s:[], s:[]}", "complete", 1, "active", "standby");

    must(w, (Input){.kind = INPUT_NEWS, .host = (char *)host, .json = status});
}

void world_answer(World *w, const char *host, const char *method, guint vm, int code, const char *why)
{
    g_autoptr(GError) failure = code < 0 ? NULL : g_error_new_literal(US_ERROR, code, why);

    must(w, (Input){.kind = INPUT_ANSWER,
                    .host = (char *)host,
                    .method = method,
                    .vm = world_vm(vm),
                    .failure = failure});
}

static json_t *tip_json(World *w, guint vm, gint64 lag_ms)
{
    if (lag_ms < 0)
        return json_null();
    return json_pack("{s:s, s:i, s:I, s:s, s:s}", "id", ID_TEXT(world_id((guint8)(0x40 + vm))), "term", 1,
                     "sequence", (json_int_t)++w->sequence[vm], "cut_at", "2026-11-21T22:16:54.123Z",
                     "sealed_at", "2026-11-21T22:16:54.500Z");
}

void world_news(World *w, guint vm, const char *state, gint64 lag_ms, const char *why)
{
    world_news_more(w, vm, state, lag_ms, why, "{}");
}

void world_news_more(World *w, guint vm, const char *state, gint64 lag_ms, const char *why, const char *more)
{
    json_auto_t *extra = json_loads(more, 0, NULL);
    const ProtectionVm *known = protection_find(w->p, world_vm(vm));
    const char *standby = g_str_equal(known->active, "alpha") ? "beta" : "alpha";
    json_auto_t *status =
        json_pack("{s:[{s:s, s:o, s:s, s:s, s:s, s:i, s:[{s:s, s:s, s:o, s:s?, s:{s:i, s:i, s:i, s:i, s:n, "
                  "s:i}, s:o}]}]}",
                  "active", "vm", ID_TEXT(world_vm(vm)), "reign", reign_to_json(known->reign), "state", state,
                  "guest", "alive", "tracking", "bitmap", "spool_bytes", 131072, "standbys", "host", standby,
                  "state", state, "lag_ms", lag_ms < 0 ? json_null() : json_integer(lag_ms), "why", why,
                  "sync", "done_bytes", 10, "total_bytes", 20, "sent_bytes", 5, "rate_bps", 1, "left_s",
                  "synced_bytes", 7, "tip", tip_json(w, vm, lag_ms));

    g_assert_true(status && extra);
    json_object_update(json_array_get(json_object_get(status, "active"), 0), extra);
    must(w, (Input){.kind = INPUT_NEWS, .host = known->active, .json = status});
}

void world_run(World *w)
{
    world_do(w, INPUT_RUN);
    world_do(w, INPUT_VERIFIED);
    for (guint i = 1; i <= w->scenario->vms->len; i++) {
        world_answer(w, "beta", "standby.admit", i, -1, NULL);
        world_answer(w, "alpha", "active.protect", i, -1, NULL);
        world_news(w, i, "protected", 500, NULL);
    }
    g_assert_cmpint(w->p->state, ==, SCENARIO_RUNNING);
    world_forget(w);
}

static void move_one(World *w, guint vm, const char *host, guint64 term, gboolean reverse)
{
    const Id plan = world_id(0x77);

    must(w, (Input){.kind = INPUT_MOVING, .plan = plan, .vm = world_vm(vm)});
    must(w, (Input){.kind = INPUT_MOVED,
                    .plan = plan,
                    .vm = world_vm(vm),
                    .host = (char *)host,
                    .reign = {term, world_id(0x88)},
                    .unlocked = TRUE,
                    .reverse = reverse});
}

void world_moved(World *w, const char *host, guint64 term, gboolean reverse)
{
    const Id plan = world_id(0x77);

    must(w, (Input){.kind = INPUT_PLAN_BEGUN, .plan = plan, .host = (char *)host});
    for (guint i = 1; i <= w->scenario->vms->len; i++)
        move_one(w, i, host, term, reverse);
    must(w, (Input){.kind = INPUT_PLAN_ENDED, .plan = plan, .host = (char *)host});
}

void world_restart(World *w)
{
    GError *error = NULL;

    protection_free(w->p);
    w->p = protection_from_json(w->durable, w->scenario, w->roster, &error);
    g_assert_no_error(error);
    g_string_append_printf(w->trace, "[%4" G_GINT64_FORMAT "] the controller starts again -> %s %s\n",
                           w->now_ms / 1000, w->scenario->name, scenario_state_name(w->p->state));
}

void world_expect(World *w, const char *trace)
{
    if (!g_str_equal(w->trace->str, trace))
        g_test_message("got:\n%s", w->trace->str);
    g_assert_cmpstr(w->trace->str, ==, trace);
    world_forget(w);
}

void world_forget(World *w)
{
    g_string_truncate(w->trace, 0);
}
