/* SPDX-License-Identifier: Apache-2.0 */
/* Is each copy what its VM's disks are? The engines of the actives find out, `status` shows how far they are. */
#include "orchestrator/operations.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#define ASK_MS 30000

typedef struct {
    Controller *c;
    ApiCall *call;
    json_t *list;  /* {"vm", "name", "host", "compare"} */
    GError *error; /* the first */
    guint open;    /* questions that wait for an answer, and who still asks */
} Comparisons;

typedef struct {
    Comparisons *all;
    json_t *whose; /* of the list, without "compare" */
} Asked;

static void close_one(Comparisons *all)
{
    if (--all->open > 0)
        return;
    if (all->error)
        api_call_fail(all->call, all->error);
    else
        api_call_answer(all->call, json_pack("{s:O}", "vms", all->list));
    json_decref(all->list);
    g_clear_error(&all->error);
    g_free(all);
}

static void on_begun(void *user, const json_t *result, const GError *error)
{
    g_autofree Asked *asked = user;
    Comparisons *all = asked->all;

    if (!error) {
        json_object_set(asked->whose, "compare", (json_t *)result);
        json_array_append(all->list, asked->whose);
    } else if (!all->error) {
        all->error = g_error_copy(error);
        g_prefix_error(&all->error, "the copy of '%s' is not compared: ",
                       json_string_value(json_object_get(asked->whose, "name")));
    }
    json_decref(asked->whose);
    close_one(all);
}

static void ask(Comparisons *all, const ProtectionVm *vm, gboolean repair)
{
    json_auto_t *params = json_pack("{s:s, s:b}", "vm", ID_TEXT(vm->uuid), "repair", repair);
    Asked *asked = g_new0(Asked, 1);

    *asked = (Asked){all, json_pack("{s:s, s:s, s:s}", "vm", ID_TEXT(vm->uuid), "name", vm->name, "host",
                                    protection_keeper(vm))};
    all->open++;
    hosts_call(all->c->hosts, vm->active, "active.compare", params, ASK_MS, on_begun, asked);
}

static gboolean may_compare(const Protection *p, GError **error)
{
    const char *name = p->scenario->name;

    if (!id_is_nil(p->plan))
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "a plan moves the VMs of scenario '%s': nothing is compared before its end", name);
    else if (p->goal != GOAL_RUNNING)
        g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                    "scenario '%s' is %s: nothing is compared; use 'understudy %s %s' first", name,
                    p->goal == GOAL_PAUSED ? "paused" : "stopped",
                    p->goal == GOAL_PAUSED ? "continue" : "run", name);
    else
        return TRUE;
    return FALSE;
}

static void scenario_compare(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const Protection *p = scenarios_find(c->scenarios, api_call_parameter(call, "scenario"), &error);
    int repair = FALSE;
    Comparisons *all;

    if (!p || !json_read(api_call_body(call), "compare", &error, "{s?b}", "repair", &repair) ||
        !protection_is_sure(p, &error) || !may_compare(p, &error)) {
        api_call_fail(call, error);
        return;
    }
    all = g_new0(Comparisons, 1);
    *all = (Comparisons){.c = c, .call = call, .list = json_array(), .open = 1};
    for (guint i = 0; i < p->vms->len; i++)
        ask(all, p->vms->pdata[i], repair);
    close_one(all);
}

const Operation OPERATIONS_COMPARE[] = {
    {"scenario.compare", scenario_compare},
    {NULL, NULL},
};
