/* SPDX-License-Identifier: Apache-2.0 */
/* Scenarios as documents. `create` builds the same document that `import` reads:
 * it asks the master for its VMs, takes all of them but those excepted, and has
 * the result checked here before it is sent. */
#include "netmap/mapping_json.h"
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/page.h"
#include "orchestrator/core/scenario.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/exam.h"
#include "vmconnect/base/json.h"

#include <stdio.h>
#include <string.h>

static Scenario *read_scenario(const char *path, GError **error)
{
    gsize len;
    g_autofree char *text = cli_read(path, SCENARIO_MAX_BYTES, &len, error);
    Scenario *s = text ? scenario_parse(text, len, error) : NULL;

    if (text && !s)
        g_prefix_error(error, "%s: ", path);
    return s;
}

static gboolean set_policy(Cli *cli, Scenario *s, GError **error)
{
    GHashTableIter iter;
    const char *name;

    g_hash_table_iter_init(&iter, cli->options);
    while (g_hash_table_iter_next(&iter, (void **)&name, NULL)) {
        g_autofree char *key = g_strdelimit(g_strdup(name), "-", '_');

        if (policy_find(key) && !policy_set(&s->policy, key, cli_option(cli, name), error))
            return FALSE;
    }
    return TRUE;
}

/* {from: to} of each --map, or null for a TO that is empty. */
static json_t *mappings(const Cli *cli, GError **error)
{
    json_auto_t *map = json_object();

    for (const char *const *one = cli_options(cli, "map"); *one; one++) {
        g_autofree char *from = NULL;
        g_autofree char *to = NULL;
        g_autoptr(GError) why = NULL;

        if (!mapping_split(*one, &from, &to, &why)) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "--map: %s", why->message);
            return NULL;
        }
        json_object_set_new(map, from, *to ? json_string(to) : json_null());
    }
    return g_steal_pointer(&map);
}

static gboolean add_mappings(const Cli *cli, Scenario *s, GError **error)
{
    json_auto_t *map = mappings(cli, error);

    return map && mapping_merge_json(s->map, map, FALSE, error);
}

/* UUIDs of the VMs meant by --@option; NULL with @error if one is not there. */
static GHashTable *meant(const Cli *cli, const char *option, const json_t *vms, GError **error)
{
    g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (const char *const *vm = cli_options(cli, option); *vm; vm++) {
        char *uuid = cli_find(vms, "uuid", "VM", *vm, error);

        if (!uuid)
            return NULL;
        g_hash_table_add(set, uuid);
    }
    return g_steal_pointer(&set);
}

static gboolean add_vms(Cli *cli, Scenario *s, GError **error)
{
    json_auto_t *doc = cli_call(cli, "vm.list", s->master, NULL, NULL, error);
    const json_t *vms = json_object_get(doc, "vms");
    g_autoptr(GHashTable) wanted = doc ? meant(cli, "vm", vms, error) : NULL;
    g_autoptr(GHashTable) unwanted = wanted ? meant(cli, "except", vms, error) : NULL;
    json_t *vm;
    gsize i;

    if (!unwanted)
        return FALSE;
    json_array_foreach((json_t *)vms, i, vm)
    {
        const char *uuid = json_string_value(json_object_get(vm, "uuid"));
        const char *name = json_string_value(json_object_get(vm, "name"));
        Id id;

        if (!uuid || !name || !id_parse(uuid, &id, error))
            return FALSE;
        if (!g_hash_table_contains(unwanted, uuid) &&
            (g_hash_table_size(wanted) == 0 || g_hash_table_contains(wanted, uuid)))
            scenario_add_vm(s, id, name);
    }
    return TRUE;
}

static gboolean set_hosts(const Cli *cli, Scenario *s, GError **error)
{
    const char *master = cli_option(cli, "master");
    const char *replica = cli_option(cli, "replica");
    g_auto(GStrv) replicas = replica ? g_strsplit(replica, ",", 0) : NULL;

    if (master) {
        g_free(s->master);
        s->master = g_strdup(master);
    }
    if (replica)
        g_ptr_array_set_size(s->replicas, 0);
    for (char **r = replicas; r && *r; r++)
        scenario_add_replica(s, *r);
    if (s->master && s->master[0] && s->replicas->len > 0)
        return TRUE;
    g_set_error(error, US_ERROR, US_ERROR_USAGE,
                "scenario create needs --master HOST and --replica HOST, or --file FILE");
    return FALSE;
}

/* From the options, or from --file with the options over it. */
static Scenario *draft(Cli *cli, GError **error)
{
    const char *name = cli_argument(cli, 0);
    const char *file = cli_option(cli, "file");
    g_autoptr(Scenario) s = file ? read_scenario(file, error) : scenario_new(name, "");

    if (!s)
        return NULL;
    g_free(s->name);
    s->name = g_strdup(name);
    if (!scenario_name_check("scenario", name, error) || !set_hosts(cli, s, error) ||
        !set_policy(cli, s, error) || !add_mappings(cli, s, error))
        return NULL;
    if (cli_option(cli, "vm"))
        g_ptr_array_set_size(s->vms, 0);
    if (s->vms->len == 0 && !add_vms(cli, s, error))
        return NULL;
    return scenario_check(s, error) ? g_steal_pointer(&s) : NULL;
}

static gboolean send_document(Cli *cli, const char *operation, const Scenario *s, GError **error)
{
    json_auto_t *body = scenario_to_json(s);
    json_auto_t *doc = cli_call(cli, operation, NULL, NULL, body, error);

    if (!doc)
        return FALSE;
    cli_show(cli, doc,
             g_strdup_printf("scenario '%s': %u VM%s of %s, replica %s; understudy run %s protects %s\n",
                             s->name, s->vms->len, s->vms->len == 1 ? "" : "s", s->master,
                             (char *)s->replicas->pdata[0], s->name, s->vms->len == 1 ? "it" : "them"));
    return TRUE;
}

gboolean command_scenario_create(Cli *cli, GError **error)
{
    g_autoptr(Scenario) s = draft(cli, error);

    return s && send_document(cli, "scenario.create", s, error);
}

gboolean command_scenario_import(Cli *cli, GError **error)
{
    g_autoptr(Scenario) s = read_scenario(cli_argument(cli, 0), error);

    return s && send_document(cli, "scenario.import", s, error);
}

gboolean command_scenario_list(Cli *cli, GError **error)
{
    static const char *const TITLES[] = {"NAME", "STATE", "MASTER", "REPLICAS", "ACTIVE", ">VMS", NULL};
    json_auto_t *doc = cli_call(cli, "scenario.list", NULL, NULL, NULL, error);
    g_autoptr(Page) page = page_new(TITLES);
    json_t *s;
    gsize i;

    if (!doc)
        return FALSE;
    json_array_foreach(json_object_get(doc, "scenarios"), i, s)
    {
        page_value(page, s, "name");
        page_value(page, s, "state");
        page_value(page, s, "master");
        page_value(page, s, "replicas");
        page_value(page, s, "active");
        page_cellf(page, "%zu", json_array_size(json_object_get(s, "vms")));
    }
    cli_show(cli, doc, page_text(page, 0));
    return TRUE;
}

gboolean command_scenario_show(Cli *cli, GError **error)
{
    json_auto_t *doc = cli_call(cli, "scenario.show", cli_argument(cli, 0), NULL, NULL, error);

    if (!doc)
        return FALSE;
    cli_show(cli, doc, page_of(doc));
    return TRUE;
}

/* A document for a file: always JSON. */
gboolean command_scenario_export(Cli *cli, GError **error)
{
    json_auto_t *doc = cli_call(cli, "scenario.export", cli_argument(cli, 0), NULL, NULL, error);

    if (!doc)
        return FALSE;
    cli->json = TRUE;
    cli_show(cli, doc, NULL);
    return TRUE;
}

/* {key: value}; each value is tried here first. */
static json_t *changed_policy(const Cli *cli, GError **error)
{
    json_auto_t *policy = json_object();
    Policy scratch;

    policy_init(&scratch);
    for (guint i = 1; i < cli->arguments->len; i++) {
        g_auto(GStrv) pair = g_strsplit(cli_argument(cli, i), "=", 2);

        if (g_strv_length(pair) != 2) {
            g_set_error(error, US_ERROR, US_ERROR_USAGE, "'%s' must be KEY=VALUE", cli_argument(cli, i));
            return NULL;
        }
        g_strdelimit(pair[0], "-", '_');
        if (!policy_set(&scratch, pair[0], pair[1], error))
            return NULL;
        json_object_set_new(policy, pair[0], json_string(pair[1]));
    }
    return g_steal_pointer(&policy);
}

/* The list of --check; NULL with @error. */
static json_t *wanted_checks(const Cli *cli, GError **error)
{
    json_auto_t *list = json_array();

    for (const char *const *one = cli_options(cli, "check"); *one; one++) {
        g_autoptr(CheckSpec) spec = NULL;

        if (g_str_equal(*one, "none"))
            continue;
        spec = check_spec_parse(*one, error);
        if (!spec) {
            g_prefix_error(error, "--check %s: ", *one);
            return NULL;
        }
        json_array_append_new(list, check_spec_to_json(spec));
    }
    return g_steal_pointer(&list);
}

/* The list of --test-check; NULL with @error. */
static json_t *wanted_exams(const Cli *cli, GError **error)
{
    json_auto_t *list = json_array();

    for (const char *const *one = cli_options(cli, "test-check"); *one; one++) {
        g_autoptr(Exam) exam = NULL;

        if (g_str_equal(*one, "none"))
            continue;
        exam = exam_parse(*one, error);
        if (!exam) {
            g_prefix_error(error, "--test-check %s: ", *one);
            return NULL;
        }
        json_array_append_new(list, json_string(*one));
    }
    return g_steal_pointer(&list);
}

/* UUIDs of what --after names among @vms; NULL with @error. */
static json_t *wanted_after(const Cli *cli, const json_t *vms, GError **error)
{
    json_auto_t *list = json_array();

    for (const char *const *vm = cli_options(cli, "after"); *vm; vm++) {
        g_autofree char *uuid = NULL;

        if (g_str_equal(*vm, "none"))
            continue;
        uuid = cli_find(vms, "uuid", "VM", *vm, error);
        if (!uuid)
            return NULL;
        json_array_append_new(list, json_string(uuid));
    }
    return g_steal_pointer(&list);
}

/* What becomes of each of @vms that is meant. */
static json_t *vm_change(const Cli *cli, const json_t *vms, GError **error)
{
    const char *gate = cli_option(cli, "gate");
    json_auto_t *checks = cli_option(cli, "check") ? wanted_checks(cli, error) : NULL;
    json_auto_t *exams = cli_option(cli, "test-check") ? wanted_exams(cli, error) : NULL;
    json_auto_t *after = NULL;
    Gate scratch;

    if ((cli_option(cli, "check") && !checks) || (cli_option(cli, "test-check") && !exams) ||
        (gate && !gate_parse(gate, &scratch, error)))
        return NULL;
    after = cli_option(cli, "after") ? wanted_after(cli, vms, error) : NULL;
    if (cli_option(cli, "after") && !after)
        return NULL;
    return json_pack("{s:O*, s:s*, s:O*, s:s*, s:O*}", "checks", checks, "need", cli_option(cli, "need"),
                     "after", after, "gate", gate, "test_checks", exams);
}

/* Is something said of VMs? */
static gboolean has_rules(const Cli *cli)
{
    static const char *const RULES[] = {"check", "after", "gate", "test-check"};

    for (guint i = 0; i < G_N_ELEMENTS(RULES); i++)
        if (cli_option(cli, RULES[i]))
            return TRUE;
    return FALSE;
}

static gboolean check_vm_options(const Cli *cli, GError **error)
{
    const char *what = cli_option(cli, "need") && !cli_option(cli, "check") ? "--need goes with --check"
                       : cli_option(cli, "vm") && !has_rules(cli)
                           ? "--vm goes with --check, --test-check, --after and --gate"
                           : NULL;

    if (what)
        g_set_error_literal(error, US_ERROR, US_ERROR_USAGE, what);
    return !what;
}

/* {UUID: change} of the VMs meant; empty if nothing was said of any. */
static json_t *changed_vms(Cli *cli, GError **error)
{
    json_auto_t *doc = NULL;
    json_auto_t *change = NULL;
    json_auto_t *changed = json_object();
    g_autoptr(GHashTable) wanted = NULL;
    json_t *vm;
    gsize i;

    if (!check_vm_options(cli, error))
        return NULL;
    if (!has_rules(cli))
        return g_steal_pointer(&changed);
    doc = cli_call(cli, "scenario.show", cli_argument(cli, 0), NULL, NULL, error);
    wanted = doc ? meant(cli, "vm", json_object_get(doc, "vms"), error) : NULL;
    change = wanted ? vm_change(cli, json_object_get(doc, "vms"), error) : NULL;
    if (!change)
        return NULL;
    json_array_foreach(json_object_get(doc, "vms"), i, vm)
    {
        const char *uuid = json_string_value(json_object_get(vm, "uuid"));

        if (uuid && (g_hash_table_size(wanted) == 0 || g_hash_table_contains(wanted, uuid)))
            json_object_set(changed, uuid, change);
    }
    return g_steal_pointer(&changed);
}

static json_t *changes(Cli *cli, GError **error)
{
    json_auto_t *policy = changed_policy(cli, error);
    json_auto_t *map = policy ? mappings(cli, error) : NULL;
    json_auto_t *vms = map ? changed_vms(cli, error) : NULL;
    json_auto_t *body = json_object();

    if (!vms)
        return NULL;
    if (json_object_size(policy) > 0)
        json_object_set(body, "policy", policy);
    if (json_object_size(map) > 0)
        json_object_set(body, "map", map);
    if (json_object_size(vms) > 0)
        json_object_set(body, "vms", vms);
    if (json_object_size(body) > 0)
        return g_steal_pointer(&body);
    g_set_error(error, US_ERROR, US_ERROR_USAGE,
                "scenario set needs KEY=VALUE, --map FROM=TO, --check CHECK, --test-check CHECK, --after VM "
                "or --gate GATE: --help "
                "lists them");
    return NULL;
}

gboolean command_scenario_set(Cli *cli, GError **error)
{
    json_auto_t *body = changes(cli, error);
    json_auto_t *doc = body ? cli_call(cli, "scenario.set", cli_argument(cli, 0), NULL, body, error) : NULL;

    if (!doc)
        return FALSE;
    cli_show(cli, doc, g_strdup_printf("scenario '%s' is changed\n", cli_argument(cli, 0)));
    return TRUE;
}

gboolean command_scenario_delete(Cli *cli, GError **error)
{
    const char *name = cli_argument(cli, 0);
    gboolean purge = cli_flag(cli, "purge");
    json_auto_t *query =
        json_pack("{s:s*, s:s*}", "purge", purge ? "1" : NULL, "force", cli_flag(cli, "force") ? "1" : NULL);
    g_autofree char *question =
        g_strdup_printf("Forget scenario '%s'%s", name,
                        purge ? " and delete its copies with all their recovery points?" : "?");
    json_auto_t *doc = NULL;

    if (!cli_confirm(cli, question, error))
        return FALSE;
    if (purge && cli->terminal)
        fputs("deleting the copies, one VM after the other\n", stderr);
    doc = cli_call(cli, "scenario.delete", name, query, NULL, error);
    if (!doc)
        return FALSE;
    cli_show(
        cli, doc,
        g_strdup_printf("scenario '%s' is gone%s\n", name, purge ? ", and its copies" : "; its copies stay"));
    return TRUE;
}
