/* SPDX-License-Identifier: Apache-2.0 */
#include "solo.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

Plan *solo_plan(World *w, PlanOptions options)
{
    GError *error = NULL;
    Plan *plan = plan_switchover(w->p, &options, &error);

    g_assert_no_error(error);
    return plan;
}

void solo_do(Solo *solo, PlanEvent ev)
{
    g_ptr_array_set_size(solo->out, 0);
    plan_step(solo->plan, &ev, solo->out);
}

Move *solo_move(const Solo *solo)
{
    return solo->plan->moves->pdata[0];
}

void solo_init_with(Solo *solo, guint vms)
{
    solo->w = world_new(vms);
    world_run(solo->w);
    solo->plan = solo_plan(solo->w, OPTIONS);
    solo->out = action_list_new();
    solo_do(solo, (PlanEvent){.kind = PLAN_BEGIN});
}

void solo_init(Solo *solo)
{
    solo_init_with(solo, 1);
}

void solo_clear(Solo *solo)
{
    plan_free(solo->plan);
    g_ptr_array_unref(solo->out);
    world_free(solo->w);
}

void solo_answer(Solo *solo, const char *method, const char *json, int code)
{
    json_auto_t *result = json ? json_parse(json, strlen(json), 4096, NULL) : NULL;
    g_autoptr(GError) failure = json ? NULL : g_error_new(US_ERROR, code, "no");

    g_assert_true(!json || result);
    solo_do(
        solo,
        (PlanEvent){
            .kind = PLAN_ANSWER, .method = method, .vm = world_vm(1), .result = result, .failure = failure});
}

void solo_tick(Solo *solo, gint64 now_ms)
{
    solo_do(solo, (PlanEvent){.kind = PLAN_TICK, .now_ms = now_ms});
}

void solo_says(Solo *solo, const char *host, const char *json)
{
    json_auto_t *status = json_parse(json, strlen(json), 4096, NULL);

    g_assert_nonnull(status);
    solo_do(solo, (PlanEvent){.kind = PLAN_NEWS, .host = host, .result = status});
}

guint solo_calls(const Solo *solo)
{
    guint n = 0;

    for (guint i = 0; i < solo->out->len; i++)
        n += ((const Action *)solo->out->pdata[i])->kind == ACTION_CALL;
    return n;
}

json_t *solo_records(const ActionList *out, json_t *records)
{
    for (guint i = 0; i < out->len; i++)
        if (((const Action *)out->pdata[i])->kind == ACTION_PERSIST)
            json_array_append(records, ((const Action *)out->pdata[i])->record);
    return records;
}

const Action *solo_last_call(const ActionList *out)
{
    const Action *last = out->pdata[out->len - 1];

    g_assert_cmpint(last->kind, ==, ACTION_CALL);
    return last;
}

const Input *solo_told_moved(const ActionList *out)
{
    for (guint i = 0; i < out->len; i++) {
        const Action *a = out->pdata[i];

        if (a->kind == ACTION_TELL && a->tell->kind == INPUT_MOVED)
            return a->tell;
    }
    return NULL;
}
