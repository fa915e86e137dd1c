/* SPDX-License-Identifier: Apache-2.0 */
/* Looking whether a scenario could run, and putting right what can be put right by itself: one thing after the other, then
 * looking again. */
#include "orchestrator/core/verify_fixes.h"
#include "orchestrator/operations.h"
#include "orchestrator/verification.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

/* A network's start waits for its dnsmasq. */
#define PREPARE_MS 30000

typedef struct {
    Controller *c;
    ApiCall *call;
    char *name;
    char *master;
    gboolean fix;     /* still to be done */
    json_t *agreed;   /* to what its operator said yes, as texts; NULL: to all */
    GPtrArray *fixes; /* being done; NULL: not yet */
    guint at;
    json_t *map;   /* rules to be added */
    json_t *fixed; /* what was done, as texts */
} Look;

static void look_free(Look *l)
{
    g_free(l->name);
    g_free(l->master);
    g_clear_pointer(&l->fixes, g_ptr_array_unref);
    json_decref(l->agreed);
    json_decref(l->map);
    json_decref(l->fixed);
    g_free(l);
}

static void fail(Look *l, const GError *error)
{
    api_call_fail(l->call, error);
    look_free(l);
}

static void look(Look *l);
static void fix_next(Look *l);

/* --- putting right --------------------------------------------------------- */

static void on_prepared(void *user, const json_t *result, const GError *error)
{
    Look *l = user;
    const Fix *fix = l->fixes->pdata[l->at];

    (void)result;
    if (error) {
        g_autoptr(GError) why = g_error_copy(error);

        g_prefix_error(
            &why, "could not %s (what stands before it in the list is done, but for the map): ", fix->text);
        fail(l, why);
        return;
    }
    if (fix->map)
        json_object_set_new(l->map, fix->map, json_string(fix->to));
    json_array_append_new(l->fixed, json_string(fix->text));
    l->at++;
    fix_next(l);
}

static void prepare(Look *l, const char *definition)
{
    const Fix *fix = l->fixes->pdata[l->at];
    json_auto_t *params = json_object();

    if (fix->network)
        json_object_set_new(params, "network", json_string(fix->network));
    if (definition)
        json_object_set_new(params, "definition", json_string(definition));
    if (fix->folders)
        json_object_set_new(params, "folders", json_true());
    hosts_call(l->c->hosts, fix->host, "host.prepare", params, PREPARE_MS, on_prepared, l);
}

static void on_definition(void *user, const json_t *result, const GError *error)
{
    const char *definition = json_string_value(json_object_get(result, "definition"));
    g_autoptr(GError) odd = NULL;

    if (!error && !definition) {
        odd = g_error_new(US_ERROR, US_ERROR_PROTOCOL, "its answer to network.definition is not one");
        error = odd;
    }
    if (error)
        on_prepared(user, NULL, error);
    else
        prepare(user, definition);
}

static void on_mapped(void *user, const GError *error)
{
    if (error)
        fail(user, error);
    else
        look(user);
}

static void set_map(Look *l)
{
    g_autoptr(GError) error = NULL;
    const Protection *p = scenarios_find(l->c->scenarios, l->name, &error);
    g_autoptr(Scenario) to = p ? scenario_copy(p->scenario) : NULL;
    json_auto_t *patch = json_pack("{s:O}", "map", l->map);

    if (!to || !scenario_patch(to, patch, &error) ||
        !scenarios_set(l->c->scenarios, to, on_mapped, l, &error))
        fail(l, error);
}

static void fix_next(Look *l)
{
    const Fix *fix = l->at < l->fixes->len ? l->fixes->pdata[l->at] : NULL;
    json_auto_t *name = fix && fix->like ? json_pack("{s:s}", "name", fix->like) : NULL;

    if (name)
        hosts_call(l->c->hosts, l->master, "network.definition", name, PREPARE_MS, on_definition, l);
    else if (fix && fix->host)
        prepare(l, NULL);
    else if (fix)
        on_prepared(l, NULL, NULL);
    else if (json_object_size(l->map) > 0)
        set_map(l);
    else
        look(l);
}

/* --- looking ---------------------------------------------------------------- */

static void answer(Look *l, const GPtrArray *findings, const GPtrArray *fixes)
{
    json_t *doc = verify_to_json(findings);

    json_object_set_new(doc, "fixes", verify_fixes_to_json(fixes));
    json_object_set(doc, "fixed", l->fixed);
    api_call_answer(l->call, doc);
    look_free(l);
}

static gboolean is_agreed(const Look *l, const GPtrArray *fixes)
{
    if (!l->agreed)
        return TRUE;
    for (guint i = 0; i < fixes->len; i++)
        if (g_strcmp0(json_string_value(json_array_get(l->agreed, i)),
                      ((const Fix *)fixes->pdata[i])->text) != 0)
            return FALSE;
    return json_array_size(l->agreed) == fixes->len;
}

static void on_verified(void *user, const VerifyFacts *facts)
{
    Look *l = user;
    g_autoptr(GPtrArray) findings = verify_check(facts);
    g_autoptr(GPtrArray) fixes = verify_fixes(facts, findings);

    if (!l->fix || fixes->len == 0) {
        answer(l, findings, fixes);
        return;
    }
    if (!is_agreed(l, fixes)) {
        g_autoptr(GError) changed =
            g_error_new(US_ERROR, US_ERROR_REFUSED,
                        "what would be done is not what was shown any more: nothing was done; look again");

        fail(l, changed);
        return;
    }
    l->fix = FALSE;
    l->fixes = g_steal_pointer(&fixes);
    fix_next(l);
}

static void look(Look *l)
{
    g_autoptr(GError) error = NULL;
    const Protection *p = scenarios_find(l->c->scenarios, l->name, &error);

    if (p)
        verification_start(l->c->hosts, p->scenario, protection_networks(p), on_verified, l);
    else
        fail(l, error);
}

/* There "the replica has a VM of this UUID" is no trouble, and what would be done about it is. */
static gboolean expect_at_home(const Protection *p, GError **error)
{
    const ProtectionVm *vm = protection_away(p);
    const char *master = p->scenario->master;

    if (!vm)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_REFUSED,
                "nothing was verified: '%s' runs on %s, and what is verified is the way from %s; it is not "
                "protected there: verify again when it is back on %s",
                vm->name, vm->active, master, master);
    return FALSE;
}

static void scenario_verify(ApiCall *call, void *user)
{
    Controller *c = user;
    const char *name = api_call_parameter(call, "scenario");
    g_autoptr(GError) error = NULL;
    const Protection *p = scenarios_find(c->scenarios, name, &error);
    json_t *agreed = NULL;
    int fix = FALSE;
    Look *l;

    if (!p || !expect_at_home(p, &error) ||
        !json_read(api_call_body(call), "request", &error, "{s?b, s?o}", "fix", &fix, "fixes", &agreed)) {
        api_call_fail(call, error);
        return;
    }
    l = g_new0(Look, 1);
    *l = (Look){.c = c,
                .call = call,
                .name = g_strdup(name),
                .master = g_strdup(p->scenario->master),
                .fix = fix,
                .agreed = json_incref(agreed),
                .map = json_object(),
                .fixed = json_array()};
    look(l);
}

const Operation OPERATIONS_VERIFY[] = {
    {"scenario.verify", scenario_verify},
    {NULL, NULL},
};
