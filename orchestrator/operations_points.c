/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery points: which the standbys have, and which of them are kept whatever retention says. */
#include "orchestrator/operations.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define POINTS_MS 30000

/* --- what the standbys have -------------------------------------------- */

typedef enum { POINT_RELEASE, POINT_KEEP, POINT_OPEN } PointChange;

typedef struct Points Points;
struct Points {
    Controller *c;
    ApiCall *call;
    json_t *list;
    GError *error;             /* the first */
    guint open;                /* questions that wait for an answer, and who still asks */
    void (*then)(Points *all); /* when there is none any more */
    const char *begins;        /* only points whose UUID does so, the call's; NULL: all */
    PointChange change;        /* what becomes of these */
    gboolean branch;           /* that may be what only its host holds */
};

static Points *points_new(Controller *c, ApiCall *call, void (*then)(Points *))
{
    Points *all = g_new0(Points, 1);

    *all = (Points){.c = c, .call = call, .list = json_array(), .open = 1, .then = then};
    return all;
}

static void points_close(Points *all)
{
    if (--all->open == 0)
        all->then(all);
}

static void points_answer(Points *all)
{
    if (all->error)
        api_call_fail(all->call, all->error);
    else
        api_call_answer(all->call, json_pack("{s:O}", "points", all->list));
    json_decref(all->list);
    g_clear_error(&all->error);
    g_free(all);
}

static const char *text_of(const json_t *point, const char *key)
{
    return json_string_value(json_object_get(point, key)) ?: "";
}

/* Whose points are asked for. */
typedef struct {
    Points *all;
    json_t *whose; /* {"scenario", "vm", "vm_uuid", "host"} */
    gboolean
        extra; /* the active has some only if the VM came home to them: what it cannot say is not missed */
} PointsOf;

/* When an integrity test that passed last booted it; null: none did. */
static json_t *proven_at(const Controller *c, const json_t *point)
{
    const char *text = NULL;
    Id vm, id;

    if (id_parse(text_of(point, "vm_uuid"), &vm, NULL) && id_parse(text_of(point, "id"), &id, NULL))
        text = proofs_of_point(rehearsals_proofs(c->rehearsals), vm, id);
    return text ? json_string(text) : json_null();
}

static void on_points(void *user, const json_t *result, const GError *error)
{
    g_autofree PointsOf *of = user;
    Points *all = of->all;
    const json_t *list = json_object_get(result, "points");

    if (error && !all->error && !of->extra) {
        all->error = g_error_copy(error);
        g_prefix_error(&all->error, "the points of '%s' on %s cannot be read: ", text_of(of->whose, "vm"),
                       text_of(of->whose, "host"));
    }
    for (gsize i = 0; i < json_array_size(list); i++) {
        json_t *point = json_array_get(list, i);

        if (all->begins && g_ascii_strncasecmp(text_of(point, "id"), all->begins, strlen(all->begins)) != 0)
            continue;
        point = json_copy(point);
        json_object_del(point, "definition");
        json_object_update(point, of->whose);
        json_object_set_new(point, "proven_at", proven_at(all->c, point));
        json_array_append_new(all->list, point);
    }
    json_decref(of->whose);
    points_close(all);
}

static void ask_host(Points *all, const Protection *p, const ProtectionVm *vm, const char *host,
                     gboolean extra)
{
    json_auto_t *params = json_pack("{s:s}", "vm", ID_TEXT(vm->uuid));
    PointsOf *of = g_new0(PointsOf, 1);

    *of = (PointsOf){all,
                     json_pack("{s:s, s:s, s:s, s:s}", "scenario", p->scenario->name, "vm", vm->name,
                               "vm_uuid", ID_TEXT(vm->uuid), "host", host),
                     extra};
    all->open++;
    hosts_call(all->c->hosts, host, "standby.points", params, POINTS_MS, on_points, of);
}

static void ask_points(Points *all, const Protection *p, const ProtectionVm *vm)
{
    for (guint i = 0; i < vm->copies->len; i++)
        ask_host(all, p, vm, ((const ProtectionCopy *)vm->copies->pdata[i])->host, FALSE);
    ask_host(all, p, vm, vm->active, TRUE);
}

/* Of @only, or of all its VMs if that is NULL. */
static void ask_points_of(Points *all, const Protection *p, const ProtectionVm *only)
{
    for (guint i = 0; i < p->vms->len; i++)
        if (!only || only == p->vms->pdata[i])
            ask_points(all, p, p->vms->pdata[i]);
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
    all = points_new(c, call, points_answer);
    ask_points_of(all, p, only);
    points_close(all);
}

/* --- what is kept ------------------------------------------------------- */

typedef struct {
    Points *all;
    json_t *point; /* in its list */
} Pinning;

static void on_pinned(void *user, const json_t *result, const GError *error)
{
    g_autofree Pinning *p = user;
    Points *all = p->all;

    if (!error && all->change == POINT_OPEN) {
        json_object_set(p->point, "disks", json_object_get(result, "disks"));
    } else if (!error) {
        json_object_set_new(p->point, "pinned", json_boolean(all->change == POINT_KEEP));
    } else if (!all->error) {
        all->error = g_error_copy(error);
        g_prefix_error(&all->error, "point %s of '%s' on %s stays as it was: ", text_of(p->point, "id"),
                       text_of(p->point, "vm"), text_of(p->point, "host"));
    }
    points_close(all);
}

static void pin(Points *all, json_t *point)
{
    json_auto_t *params =
        json_pack("{s:s, s:s}", "vm", text_of(point, "vm_uuid"), "point", text_of(point, "id"));
    Pinning *p = g_new0(Pinning, 1);

    *p = (Pinning){all, point};
    all->open++;
    if (all->change == POINT_OPEN)
        json_object_del(point, "disks");
    else
        json_object_set_new(params, "pinned", json_boolean(all->change == POINT_KEEP));
    hosts_call(all->c->hosts, text_of(point, "host"),
               all->change == POINT_OPEN ? "standby.open" : "standby.pin", params, POINTS_MS, on_pinned, p);
}

/* What was found must be one point, on however many hosts. What could not be read only matters if there is none. */
static GError *found_failure(const Points *all)
{
    const char *id = text_of(json_array_get(all->list, 0), "id");

    if (json_array_size(all->list) == 0 && all->error)
        return g_error_new(
            US_ERROR, all->error->code,
            "no point '%s' was found among those that can be read, nothing was changed: %s; try again "
            "when they can be",
            all->begins, all->error->message);
    if (json_array_size(all->list) == 0)
        return g_error_new(
            US_ERROR, US_ERROR_NOT_FOUND,
            "there is no point '%s', nothing was changed: understudy points SCENARIO lists those "
            "there are",
            all->begins);
    for (gsize i = 1; i < json_array_size(all->list); i++)
        if (!g_str_equal(text_of(json_array_get(all->list, i), "id"), id))
            return g_error_new(US_ERROR, US_ERROR_USAGE,
                               "'%s' means more than one point, nothing was changed: say more of its UUID",
                               all->begins);
    return NULL;
}

/* Who asks to read it is served by any host that lets him: another one may have it for a moment only. */
static void opened_answer(Points *all)
{
    for (gsize i = json_array_size(all->list); i-- > 0;)
        if (!json_object_get(json_array_get(all->list, i), "disks"))
            json_array_remove(all->list, i);
    if (json_array_size(all->list) > 0)
        g_clear_error(&all->error);
    points_answer(all);
}

/* Whoever lets a point go has not been asked whether he means what is nowhere else. */
static GError *branch_failure(const Points *all)
{
    json_t *point;
    gsize i;

    json_array_foreach(all->list, i, point)
    {
        if (all->change == POINT_RELEASE && !all->branch && json_is_true(json_object_get(point, "branch")))
            return g_error_new(US_ERROR, US_ERROR_REFUSED,
                               "point %s of '%s' on %s is a branch: what only it holds would be lost, so "
                               "nothing was changed; `understudy branch release %s` lets it go",
                               text_of(point, "id"), text_of(point, "vm"), text_of(point, "host"),
                               text_of(point, "id"));
    }
    return NULL;
}

static void pin_found(Points *all)
{
    GError *failure = found_failure(all) ?: branch_failure(all);
    json_t *point;
    gsize i;

    g_clear_error(&all->error);
    all->error = failure;
    all->then = all->change == POINT_OPEN && !failure ? opened_answer : points_answer;
    all->open = 1;
    json_array_foreach(all->list, i, point)
    {
        if (!failure)
            pin(all, point);
    }
    points_close(all);
}

static void find_and_change(ApiCall *call, Controller *c, PointChange change)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) scenarios = NULL;
    Points *all;
    int branch = FALSE;

    if (!json_read(api_call_body(call), "request", &error, change == POINT_RELEASE ? "{s?b}" : "{}", "branch",
                   &branch)) {
        api_call_fail(call, error);
        return;
    }
    all = points_new(c, call, pin_found);
    all->begins = api_call_parameter(call, "point");
    all->change = change;
    all->branch = branch;
    scenarios = scenarios_list(c->scenarios);
    for (guint i = 0; i < scenarios->len; i++)
        ask_points_of(all, scenarios->pdata[i], NULL);
    points_close(all);
}

static void point_open(ApiCall *call, void *user)
{
    find_and_change(call, user, POINT_OPEN);
}

static void point_keep(ApiCall *call, void *user)
{
    find_and_change(call, user, POINT_KEEP);
}

static void point_release(ApiCall *call, void *user)
{
    find_and_change(call, user, POINT_RELEASE);
}

const Operation OPERATIONS_POINTS[] = {
    {"scenario.points", scenario_points},
    {"point.open", point_open},
    {"point.keep", point_keep},
    {"point.release", point_release},
    {NULL, NULL},
};
