/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/promote_here.h"

#include "vmconnect/base/clock.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/hypervisor/guard_file.h"
#include "vmconnect/link/dial.h"
#include "vmconnect/link/link_wait.h"
#include "vmconnect/policy.h"

#define DIAL_MS 10000
#define POINTS_MS 30000
#define PROMOTE_MS 300000

typedef struct {
    const PromotePlace *place;
    Link *link;
    guint64 asked; /* id of the last question */
    Id plan;
    Id reign; /* of the next reign, where none was begun */
} Asking;

static void asking_clear(Asking *a)
{
    if (a->link)
        link_wait_close(a->link, NULL);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Asking, asking_clear)

/* --- questions to this host's engine -------------------------------------- */

static gboolean dial(Asking *a, GError **error)
{
    g_autoptr(Identity) identity = identity_open(a->place->identity_dir, ROLE_ENGINE, error);
    const char *const addresses[] = {a->place->address, NULL};
    LinkSettings settings = {.identity = identity, .purpose = PURPOSE_CONTROL};

    if (!identity)
        return FALSE;
    settings.expect = identity_peer(identity).id;
    a->link = dial_blocking(addresses, &settings, DIAL_MS, -1, error);
    if (a->link)
        return TRUE;
    g_prefix_error(error, "the engine of this host must run to do it, and does not answer "
                          "(`systemctl start understudy-engine`): ");
    return FALSE;
}

static json_t *answer_of(const Frame *frame, GError **error)
{
    json_auto_t *doc = message_decode_json(frame, error);
    json_t *result = doc ? json_object_get(doc, "result") : NULL;

    if (doc && !result)
        g_propagate_error(error, json_to_error(json_object_get(doc, "error")));
    return result ? json_incref(result) : NULL;
}

static json_t *ask(Asking *a, const char *method, const json_t *params, gint64 limit_ms, GError **error)
{
    json_auto_t *doc = json_pack("{s:s, s:O}", "method", method, "params", params);
    gint64 deadline_ms = clock_steady_ms() + limit_ms;

    if (!link_send_json(a->link, MESSAGE_REQUEST, ++a->asked, doc, error))
        return NULL;
    while (TRUE) {
        g_autoptr(Frame) frame = link_wait(a->link, deadline_ms, -1, error);

        if (!frame)
            return NULL;
        if (frame->head.type == MESSAGE_ANSWER && frame->head.id == a->asked)
            return answer_of(frame, error);
    }
}

/* --- one VM ---------------------------------------------------------------- */

/* The highest reign that this host has promised to anybody, whatever came of it. */
static gboolean read_promised(Asking *a, Id vm, guint64 *ret_number, GError **error)
{
    json_auto_t *params = json_pack("{s:s}", "vm", ID_TEXT(vm));
    json_auto_t *result = ask(a, "lease.promised", params, POINTS_MS, error);
    const json_t *doc = json_object_get(result, "reign");
    Reign reign = {0};

    if (!result || (!json_is_null(doc) && !reign_from_json(doc, &reign, error)))
        return FALSE;
    *ret_number = reign.number;
    return TRUE;
}

/* *@ret_ours: it is this host's already. */
static gboolean next_reign(Asking *a, const StandbyRole *role, Reign *ret_reign, gboolean *ret_ours,
                           GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Guard) guard = guard_read(a->place->guard_dir, role->vm, &why);
    guint64 highest;
    gboolean ours;

    if (!guard && !g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (!read_promised(a, role->vm, &highest, error))
        return FALSE;
    /* Of an earlier reign than the copy is of, it was put back. */
    ours = guard && guard->role == GUARD_ACTIVE && guard->reign.number >= role->reign.number;
    *ret_ours = ours && !guard->journal_open;
    /* A promotion that did not come to its end goes on in its reign. The next number may have been given away by a
     * release that this host has not heard of. */
    highest = MAX(highest, MAX(role->reign.number, guard ? guard->reign.number : 0));
    *ret_reign = ours ? guard->reign : (Reign){highest + 2, a->reign};
    return TRUE;
}

/* As standby.points has them; NULL: it does not say. */
static json_t *points_of(Asking *a, Id vm, GError **error)
{
    json_auto_t *params = json_pack("{s:s, s:b}", "vm", ID_TEXT(vm), "urgent", 1);
    json_auto_t *result = ask(a, "standby.points", params, POINTS_MS, error);

    return result ? json_incref(json_object_get(result, "points")) : NULL;
}

static const json_t *find_point(const json_t *points, const char *id)
{
    for (gsize i = 0; id && i < json_array_size(points); i++)
        if (g_strcmp0(json_text_of(json_array_get(points, i), "id"), id) == 0)
            return json_array_get(points, i);
    return NULL;
}

/* When a branch was cut says nothing: that is when it was found. */
static char *origin_of(const json_t *points, const char *id)
{
    const json_t *point = find_point(points, id);
    const char *cut = json_text_of(point, "cut_at");

    if (json_is_true(json_object_get(point, "branch")))
        return g_strdup_printf("from branch %s, what this host wrote alone in reign %" JSON_INTEGER_FORMAT,
                               id, json_integer_value(json_object_get(point, "term")));
    return cut ? g_strdup_printf("as it was at %s", cut) : g_strdup_printf("from point %s", id ? id : "?");
}

/* What is this host's already may have failed to start after that: asked again, the engine sees to it. */
static gboolean promote(Asking *a, const StandbyRole *role, Id point, GError **error)
{
    json_auto_t *points = NULL;
    json_auto_t *params = NULL;
    json_auto_t *result = NULL;
    g_autofree char *origin = NULL;
    gboolean ours;
    Reign reign;

    if (!next_reign(a, role, &reign, &ours, error))
        return FALSE;
    params =
        json_pack("{s:s, s:s, s:o, s:o, s:b, s:{s:b, s:b, s:b, s:b}}", "plan", ID_TEXT(a->plan), "vm",
                  ID_TEXT(role->vm), "tip", json_from_id(point), "reign_next", reign_to_json(reign),
                  "by_hand", 1, "certificate", "forced", 1, "old_is_off", 1, "running", 1, "autostart", 0);
    result = ask(a, "plan.promote", params, PROMOTE_MS, error);
    if (!result)
        return FALSE;
    points = points_of(a, role->vm, NULL);
    origin = origin_of(points, json_text_of(result, "point"));
    g_print("%s: running%s%s, in reign %" G_GUINT64_FORMAT "\n", role->name,
            ours ? "; this host is its active already" : ", ", ours ? "" : origin, reign.number);
    return TRUE;
}

/* --- all -------------------------------------------------------------------- */

static char *scenarios_of(const GPtrArray *roles)
{
    g_autoptr(GTree) names = g_tree_new((GCompareFunc)g_strcmp0);
    g_autoptr(GString) list = g_string_new(NULL);

    for (guint i = 0; i < roles->len; i++)
        g_tree_insert(names, ((const StandbyRole *)roles->pdata[i])->scenario,
                      ((const StandbyRole *)roles->pdata[i])->scenario);
    for (GTreeNode *n = g_tree_node_first(names); n; n = g_tree_node_next(n))
        g_string_append_printf(list, "%s'%s'", list->len ? ", " : "", (const char *)g_tree_node_key(n));
    return g_string_free(g_steal_pointer(&list), FALSE);
}

static gboolean select_roles(GPtrArray *roles, const char *scenario, GError **error)
{
    g_autofree char *known = scenarios_of(roles);

    for (guint i = roles->len; i-- > 0;)
        if (!g_str_equal(((const StandbyRole *)roles->pdata[i])->scenario, scenario))
            g_ptr_array_remove_index(roles, i);
    if (roles->len > 0)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND, "this host keeps no copy for a scenario '%s'; %s%s",
                scenario, *known ? "it does for " : "it keeps none at all", known);
    return FALSE;
}

static void list_points(const StandbyRole *role, const json_t *points)
{
    for (gsize i = 0; i < json_array_size(points); i++) {
        const char *id = json_text_of(json_array_get(points, i), "id");
        g_autofree char *origin = origin_of(points, id);

        g_printerr("%s: point %s, %s\n", role->name, id, origin);
    }
}

/* A point is of one VM. Which points there are is said only here: who has a controller asks that. */
static gboolean select_role_of(Asking *a, GPtrArray *roles, Id point, GError **error)
{
    g_autoptr(GPtrArray) lists = g_ptr_array_new_with_free_func((GDestroyNotify)json_decref);
    guint kept = roles->len;

    for (guint i = 0; i < roles->len; i++) {
        json_t *points = points_of(a, ((const StandbyRole *)roles->pdata[i])->vm, error);

        if (!points)
            return FALSE;
        g_ptr_array_add(lists, points);
        if (find_point(points, ID_TEXT(point)))
            kept = i;
    }
    if (kept < roles->len) {
        g_ptr_array_remove_range(roles, kept + 1, roles->len - kept - 1);
        g_ptr_array_remove_range(roles, 0, kept);
        return TRUE;
    }
    for (guint i = 0; i < roles->len; i++)
        list_points(roles->pdata[i], lists->pdata[i]);
    g_set_error(error, US_ERROR, US_ERROR_NOT_FOUND,
                "there is no whole point %s on this host, nothing was promoted: name one of those above",
                ID_TEXT(point));
    return FALSE;
}

gboolean promote_here(const PromotePlace *place, const char *scenario, Id point, GError **error)
{
    g_auto(Asking) asking = {.place = place, .plan = id_random(), .reign = id_random()};
    g_autoptr(Policy) policy = policy_load(place->policy, error);
    g_autoptr(GPtrArray) roles = policy ? policy_standbys(policy) : NULL;
    g_autoptr(GError) first = NULL;
    guint failed = 0;

    if (!roles || !select_roles(roles, scenario, error) || !dial(&asking, error) ||
        (!id_is_nil(point) && !select_role_of(&asking, roles, point, error)))
        return FALSE;
    for (guint i = 0; i < roles->len; i++) {
        const StandbyRole *role = roles->pdata[i];
        g_autoptr(GError) why = NULL;

        if (promote(&asking, role, point, &why))
            continue;
        failed++;
        g_printerr("%s: not promoted: %s\n", role->name, why->message);
        if (!first)
            first = g_steal_pointer(&why);
    }
    if (!first)
        return TRUE;
    g_set_error(error, US_ERROR, first->code,
                "%u of %u VMs of scenario '%s' were not promoted, as said above", failed, roles->len,
                scenario);
    return FALSE;
}
