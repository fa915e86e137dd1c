/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/policy.h"

#include "netmap/mapping_json.h"
#include "orchestrator/core/lease/lease.h"
#include "vmconnect/base/durable.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/folder.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define FORMAT 1
#define MAX_BYTES (64u << 20)
#define MIN_INTERVAL_MS 250
#define MIN_SCRATCH_BYTES (1u << 20)

struct Policy {
    char *path;
    GHashTable *active;  /* Id (in the role) -> ActiveRole */
    GHashTable *standby; /* Id (in the role) -> StandbyRole */
    guint64 serial;      /* the last that a role got */
};

static gboolean refuse(GError **error, const char *what, const char *why)
{
    g_set_error(error, US_ERROR, US_ERROR_USAGE, "%s: %s", what, why);
    return FALSE;
}

/* --- roles ------------------------------------------------------------- */

static GStrv strings_from_json(const json_t *list)
{
    g_autoptr(GStrvBuilder) out = g_strv_builder_new();

    for (gsize i = 0; i < json_array_size(list); i++)
        g_strv_builder_add(out, json_string_value(json_array_get(list, i)));
    return g_strv_builder_end(out);
}

static gboolean all_strings(const json_t *list)
{
    for (gsize i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_array_get(list, i)))
            return FALSE;
    return json_is_array(list);
}

static gboolean settings_from_json(const json_t *doc, ReplicationSettings *s, GError **error)
{
    json_int_t interval, scratch, bandwidth;
    const char *compress, *freeze;

    if (!json_read(doc, "policy", error, "{s:I, s:I, s:I, s:s, s:s}", "interval_ms", &interval,
                   "scratch_bytes", &scratch, "bandwidth_bps", &bandwidth, "compress", &compress, "freeze",
                   &freeze))
        return FALSE;
    if (interval < MIN_INTERVAL_MS || interval > G_MAXINT32)
        return refuse(error, "policy", "interval_ms is below 250 or above 24 days");
    if (scratch < MIN_SCRATCH_BYTES)
        return refuse(error, "policy", "scratch_bytes is below 1 MiB");
    if (bandwidth < 0)
        return refuse(error, "policy", "bandwidth_bps is negative");
    if (!g_strv_contains((const char *const[]){"auto", "never", "always", NULL}, compress))
        return refuse(error, "policy", "compress is none of auto, never, always");
    if (!g_strv_contains((const char *const[]){"never", "always", NULL}, freeze))
        return refuse(error, "policy", "freeze is none of never, always");
    s->interval_ms = interval;
    s->scratch_bytes = (guint64)scratch;
    s->bandwidth_bytes_per_s = (guint64)bandwidth;
    s->compress = g_strdup(compress);
    s->freeze = g_str_equal(freeze, "always");
    return TRUE;
}

static json_t *settings_to_json(const ReplicationSettings *s)
{
    return json_pack("{s:I, s:I, s:I, s:s, s:s}", "interval_ms", (json_int_t)s->interval_ms, "scratch_bytes",
                     (json_int_t)s->scratch_bytes, "bandwidth_bps", (json_int_t)s->bandwidth_bytes_per_s,
                     "compress", s->compress, "freeze", s->freeze ? "always" : "never");
}

/* Engines of before know nothing of it: it is there only if there are leases. */
static gboolean lease_from_json(const json_t *doc, LeaseSettings *lease, GError **error)
{
    json_int_t countdown_ms;
    const char *controller;
    LeaseTimes times;
    int arm;

    if (!doc)
        return TRUE;
    if (!json_read(doc, "lease", error, "{s:I, s:s, s:b}", "countdown_ms", &countdown_ms, "controller",
                   &controller, "arm", &arm) ||
        !id_parse(controller, &lease->controller, error) || !lease_times(countdown_ms, &times, error))
        return FALSE;
    lease->countdown_ms = countdown_ms;
    lease->arm = arm != 0;
    return TRUE;
}

static json_t *lease_to_json(const LeaseSettings *lease)
{
    return lease->countdown_ms == 0
               ? NULL
               : json_pack("{s:I, s:s, s:b}", "countdown_ms", (json_int_t)lease->countdown_ms, "controller",
                           ID_TEXT(lease->controller), "arm", lease->arm);
}

static gboolean peer_from_json(const json_t *doc, ActiveRole *role, GError **error)
{
    const char *id, *name;
    json_t *addresses;

    if (!json_read(doc, "standby", error, "{s:s, s:s, s:o}", "id", &id, "name", &name, "addresses",
                   &addresses) ||
        !id_parse(id, &role->standby, error))
        return FALSE;
    if (!all_strings(addresses) || json_array_size(addresses) == 0)
        return refuse(error, "standby", "addresses is not a list of at least one HOST:PORT");
    role->host = g_strdup(name);
    role->addresses = strings_from_json(addresses);
    return TRUE;
}

ActiveRole *active_role_from_json(const json_t *doc, GError **error)
{
    g_autoptr(ActiveRole) role = g_new0(ActiveRole, 1);
    const char *vm, *scenario;
    json_t *reign, *standby, *settings, *lease = NULL;
    int paused = FALSE, vouched = FALSE;

    if (!json_read(doc, "active role", error, "{s:s, s:s, s:o, s:o, s:o, s?o, s?b, s?b}", "vm", &vm,
                   "scenario", &scenario, "reign", &reign, "standby", &standby, "policy", &settings, "lease",
                   &lease, "paused", &paused, "vouched", &vouched) ||
        !id_parse(vm, &role->vm, error) || !reign_from_json(reign, &role->reign, error) ||
        !peer_from_json(standby, role, error) || !settings_from_json(settings, &role->settings, error) ||
        !lease_from_json(lease, &role->lease, error))
        return NULL;
    if (!*scenario) {
        refuse(error, "active role", "the scenario has no name");
        return NULL;
    }
    role->scenario = g_strdup(scenario);
    role->paused = paused;
    role->vouched = vouched;
    return g_steal_pointer(&role);
}

static json_t *strings_to_json(char *const *list)
{
    json_t *out = json_array();

    for (; *list; list++)
        json_array_append_new(out, json_string(*list));
    return out;
}

json_t *active_role_to_json(const ActiveRole *role)
{
    return json_pack("{s:s, s:s, s:o, s:{s:s, s:s, s:o}, s:o, s:o*, s:b, s:b}", "vm", ID_TEXT(role->vm),
                     "scenario", role->scenario, "reign", reign_to_json(role->reign), "standby", "id",
                     ID_TEXT(role->standby), "name", role->host, "addresses",
                     strings_to_json(role->addresses), "policy", settings_to_json(&role->settings), "lease",
                     lease_to_json(&role->lease), "paused", role->paused, "vouched", role->vouched);
}

ActiveRole *active_role_copy(const ActiveRole *role)
{
    json_auto_t *doc = active_role_to_json(role);
    ActiveRole *copy = active_role_from_json(doc, NULL);

    g_assert(copy);
    copy->serial = role->serial;
    return copy;
}

void active_role_free(ActiveRole *role)
{
    if (!role)
        return;
    g_free(role->scenario);
    g_free(role->host);
    g_strfreev(role->addresses);
    g_free(role->settings.compress);
    g_free(role);
}

gboolean retain_from_json(const json_t *doc, RetentionPolicy *ret_retain, GError **error)
{
    int newest, hourly, daily = 0, weekly = 0;

    if (!json_read(doc, "retain", error, "{s:i, s:i, s?i, s?i}", "newest", &newest, "hourly", &hourly,
                   "daily", &daily, "weekly", &weekly))
        return FALSE;
    if (newest < 1 || hourly < 0 || daily < 0 || weekly < 0)
        return refuse(error, "retain", "newest is below 1, or another count below 0");
    *ret_retain = (RetentionPolicy){
        .newest = (guint)newest, .hours = (guint)hourly, .days = (guint)daily, .weeks = (guint)weekly};
    return TRUE;
}

json_t *retain_to_json(RetentionPolicy retain)
{
    json_t *doc = json_pack("{s:i, s:i}", "newest", (int)retain.newest, "hourly", (int)retain.hours);

    if (retain.days)
        json_object_set_new(doc, "daily", json_integer((json_int_t)retain.days));
    if (retain.weeks)
        json_object_set_new(doc, "weekly", json_integer((json_int_t)retain.weeks));
    return doc;
}

StandbyRole *standby_role_from_json(const json_t *doc, GError **error)
{
    g_autoptr(StandbyRole) role = g_new0(StandbyRole, 1);
    g_autoptr(Mapping) map = NULL;
    const char *vm, *scenario, *name, *active, *seed = NULL;
    json_t *reign, *networks, *retain;

    if (!json_read(doc, "standby role", error, "{s:s, s:s, s:s, s:o, s:{s:s}, s:o, s:o, s?s}", "vm", &vm,
                   "scenario", &scenario, "name", &name, "reign", &reign, "active", "id", &active, "networks",
                   &networks, "retain", &retain, "seed", &seed) ||
        !id_parse(vm, &role->vm, error) || !id_parse(active, &role->active, error) ||
        !reign_from_json(reign, &role->reign, error) || !retain_from_json(retain, &role->retain, error) ||
        (seed && !folder_check("seed", seed, error)))
        return NULL;
    map = mapping_from_json(networks, error);
    if (!map)
        return NULL;
    if (!*scenario || !*name) {
        refuse(error, "standby role", "a name is empty");
        return NULL;
    }
    role->scenario = g_strdup(scenario);
    role->name = g_strdup(name);
    role->networks = json_deep_copy(networks);
    role->seed = g_strdup(seed);
    return g_steal_pointer(&role);
}

json_t *standby_role_to_json(const StandbyRole *role)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:{s:s}, s:O, s:o, s:s*}", "vm", ID_TEXT(role->vm), "scenario",
                     role->scenario, "name", role->name, "reign", reign_to_json(role->reign), "active", "id",
                     ID_TEXT(role->active), "networks", role->networks, "retain",
                     retain_to_json(role->retain), "seed", role->seed);
}

StandbyRole *standby_role_copy(const StandbyRole *role)
{
    json_auto_t *doc = standby_role_to_json(role);
    StandbyRole *copy = standby_role_from_json(doc, NULL);

    g_assert(copy);
    copy->serial = role->serial;
    return copy;
}

void standby_role_free(StandbyRole *role)
{
    if (!role)
        return;
    g_free(role->scenario);
    g_free(role->name);
    g_free(role->seed);
    json_decref(role->networks);
    g_free(role);
}

/* --- the document ------------------------------------------------------ */

static Policy *policy_new(const char *path)
{
    Policy *policy = g_new0(Policy, 1);

    policy->path = g_strdup(path);
    policy->active = g_hash_table_new_full(id_hash, id_equal_func, NULL, (GDestroyNotify)active_role_free);
    policy->standby = g_hash_table_new_full(id_hash, id_equal_func, NULL, (GDestroyNotify)standby_role_free);
    return policy;
}

void policy_free(Policy *policy)
{
    if (!policy)
        return;
    g_hash_table_destroy(policy->active);
    g_hash_table_destroy(policy->standby);
    g_free(policy->path);
    g_free(policy);
}

static gboolean read_roles(Policy *policy, const json_t *active, const json_t *standby, GError **error)
{
    for (gsize i = 0; i < json_array_size(active); i++) {
        ActiveRole *role = active_role_from_json(json_array_get(active, i), error);

        if (!role)
            return FALSE;
        policy_set_active(policy, role);
    }
    for (gsize i = 0; i < json_array_size(standby); i++) {
        StandbyRole *role = standby_role_from_json(json_array_get(standby, i), error);

        if (!role)
            return FALSE;
        policy_set_standby(policy, role);
    }
    return TRUE;
}

static gboolean read_document(Policy *policy, const char *text, gsize len, GError **error)
{
    json_auto_t *doc = json_parse(text, len, MAX_BYTES, error);
    json_t *active, *standby;
    int format;

    if (!doc || !json_read(doc, "policy file", error, "{s:i*}", "format", &format))
        return FALSE;
    if (format > FORMAT) {
        g_set_error(error, US_ERROR, US_ERROR_UNSUPPORTED,
                    "written by a newer version (format %d, this one knows %d)", format, FORMAT);
        return FALSE;
    }
    return json_read(doc, "policy file", error, "{s:i, s:o, s:o}", "format", &format, "active", &active,
                     "standby", &standby) &&
           read_roles(policy, active, standby, error);
}

Policy *policy_parse(const char *path, const char *text, gsize len, GError **error)
{
    g_autoptr(Policy) policy = policy_new(path);

    return read_document(policy, text, len, error) ? g_steal_pointer(&policy) : NULL;
}

Policy *policy_load(const char *path, GError **error)
{
    Policy *policy = NULL;
    g_autoptr(GError) why = NULL;
    g_autofree char *text = NULL;
    gsize len;

    if (!durable_read(path, &text, &len, &why)) {
        if (g_error_matches(why, US_ERROR, US_ERROR_NOT_FOUND))
            return policy_new(path);
        g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    policy = policy_parse(path, text, len, &why);
    if (policy)
        return policy;
    g_set_error(
        error, US_ERROR,
        g_error_matches(why, US_ERROR, US_ERROR_UNSUPPORTED) ? US_ERROR_UNSUPPORTED : US_ERROR_CORRUPT,
        "%s: %s; nothing on this host is replicated until it is readable: put back a copy, or move it aside "
        "and let the controller send its policy again",
        path, why->message);
    return NULL;
}

char *policy_text(const Policy *policy)
{
    json_t *active = json_array();
    json_t *standby = json_array();
    json_auto_t *doc = json_pack("{s:i, s:o, s:o}", "format", FORMAT, "active", active, "standby", standby);
    GHashTableIter it;
    gpointer role;

    g_hash_table_iter_init(&it, policy->active);
    while (g_hash_table_iter_next(&it, NULL, &role))
        json_array_append_new(active, active_role_to_json(role));
    g_hash_table_iter_init(&it, policy->standby);
    while (g_hash_table_iter_next(&it, NULL, &role))
        json_array_append_new(standby, standby_role_to_json(role));
    return json_text(doc);
}

const char *policy_path(const Policy *policy)
{
    return policy->path;
}

ActiveRole *policy_active(const Policy *policy, Id vm)
{
    return g_hash_table_lookup(policy->active, &vm);
}

StandbyRole *policy_standby(const Policy *policy, Id vm)
{
    return g_hash_table_lookup(policy->standby, &vm);
}

static GPtrArray *values(GHashTable *table)
{
    GPtrArray *out = g_ptr_array_new();
    GHashTableIter it;
    gpointer role;

    g_hash_table_iter_init(&it, table);
    while (g_hash_table_iter_next(&it, NULL, &role))
        g_ptr_array_add(out, role);
    return out;
}

GPtrArray *policy_actives(const Policy *policy)
{
    return values(policy->active);
}

GPtrArray *policy_standbys(const Policy *policy)
{
    return values(policy->standby);
}

void policy_set_active(Policy *policy, ActiveRole *role)
{
    if (!role->serial)
        role->serial = ++policy->serial;
    g_hash_table_replace(policy->active, &role->vm, role);
}

void policy_set_standby(Policy *policy, StandbyRole *role)
{
    if (!role->serial)
        role->serial = ++policy->serial;
    g_hash_table_replace(policy->standby, &role->vm, role);
}

void policy_forget_active(Policy *policy, Id vm)
{
    g_hash_table_remove(policy->active, &vm);
}

void policy_forget_standby(Policy *policy, Id vm)
{
    g_hash_table_remove(policy->standby, &vm);
}
