/* SPDX-License-Identifier: Apache-2.0 */
/* Target: plan_from_records() and what an interrupted plan does next: an array of
 * journal records, then answers of the active to plan.state. */
#include "orchestrator/core/plan.h"
#include "vmconnect/base/json.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len);

static void step(Plan *plan, PlanEvent ev)
{
    g_autoptr(ActionList) out = action_list_new();

    plan_step(plan, &ev, out);
}

static void answer_all(Plan *plan, const json_t *state, gint64 now_ms)
{
    step(plan, (PlanEvent){.kind = PLAN_TICK, .now_ms = now_ms});
    for (guint i = 0; i < plan->moves->len; i++)
        step(plan, (PlanEvent){.kind = PLAN_ANSWER,
                               .method = "plan.state",
                               .vm = ((const Move *)plan->moves->pdata[i])->vm,
                               .result = state,
                               .now_ms = now_ms});
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize len)
{
    json_auto_t *doc = json_parse((const char *)data, len, 65536, NULL);
    const json_t *states = json_object_get(doc, "states");
    g_autoptr(Plan) plan = doc ? plan_from_records(json_object_get(doc, "records"), NULL) : NULL;
    g_autofree char *text = NULL;

    if (!plan || plan->ended)
        return 0;
    plan->from_up = TRUE;
    step(plan, (PlanEvent){.kind = PLAN_RESUME});
    for (gsize i = 0; i < json_array_size(states); i++)
        answer_all(plan, json_array_get(states, i), (gint64)(i + 1) * 5000);
    text = plan_text(plan);
    return 0;
}
