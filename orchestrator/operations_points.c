/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery points: which the standbys have, and which of them are kept whatever retention says. */
#include "orchestrator/operations.h"
#include "vmconnect/base/error.h"

#define POINTS_MS 30000

typedef struct {
    ApiCall *call;
    json_t *points;
    guint open;
    GError *error; /* the first */
} Points;

typedef struct {
    Points *all;
    char *vm;
    char *host;
} PointsOf;

static void points_end(Points *all)
{
    if (--all->open > 0)
        return;
    if (all->error) {
        api_call_fail(all->call, all->error);
        json_decref(all->points);
    } else {
        api_call_answer(all->call, json_pack("{s:o}", "points", all->points));
    }
    g_clear_error(&all->error);
    g_free(all);
}

static void on_points(void *user, const json_t *result, const GError *error)
{
    PointsOf *of = user;
    const json_t *list = json_object_get(result, "points");

    if (error && !of->all->error) {
        of->all->error = g_error_copy(error);
        g_prefix_error(&of->all->error, "the points of '%s' on %s cannot be read: ", of->vm, of->host);
    }
    for (gsize i = 0; i < json_array_size(list); i++) {
        json_t *point = json_copy(json_array_get(list, i));

        json_object_del(point, "definition");
        json_object_set_new(point, "vm", json_string(of->vm));
        json_object_set_new(point, "host", json_string(of->host));
        json_array_append_new(of->all->points, point);
    }
    points_end(of->all);
    g_free(of->vm);
    g_free(of->host);
    g_free(of);
}

static void ask_points(Controller *c, Points *all, const ProtectionVm *vm)
{
    json_auto_t *params = json_pack("{s:s}", "vm", ID_TEXT(vm->uuid));

    for (guint i = 0; i < vm->copies->len; i++) {
        const ProtectionCopy *copy = vm->copies->pdata[i];
        PointsOf *of = g_new0(PointsOf, 1);

        *of = (PointsOf){all, g_strdup(vm->name), g_strdup(copy->host)};
        all->open++;
        hosts_call(c->hosts, copy->host, "standby.points", params, POINTS_MS, on_points, of);
    }
}

/* The VM that is meant, or FALSE; all of them if none is named. */
static gboolean read_vm(const ApiCall *call, const Protection *p, const ProtectionVm **ret_vm, GError **error)
{
    const char *text = api_call_query(call, "vm");
    Id id;

    *ret_vm = NULL;
    if (!text)
        return TRUE;
    if (!id_parse(text, &id, error))
        return FALSE;
    *ret_vm = protection_find(p, id);
    if (!*ret_vm)
        g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "scenario '%s' has no VM %s", p->scenario->name,
                    text);
    return *ret_vm != NULL;
}

static void scenario_points(ApiCall *call, void *user)
{
    Controller *c = user;
    g_autoptr(GError) error = NULL;
    const Protection *p = scenarios_find(c->scenarios, api_call_parameter(call, "scenario"), &error);
    const ProtectionVm *only;
    Points *all;

    if (!p || !read_vm(call, p, &only, &error)) {
        api_call_fail(call, error);
        return;
    }
    all = g_new0(Points, 1);
    *all = (Points){call, json_array(), 1, NULL};
    for (guint i = 0; i < p->vms->len; i++)
        if (!only || only == p->vms->pdata[i])
            ask_points(c, all, p->vms->pdata[i]);
    points_end(all);
}

const Operation OPERATIONS_POINTS[] = {
    {"scenario.points", scenario_points},
    {NULL, NULL},
};
