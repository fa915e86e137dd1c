/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/scenario.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define UUID1 "11111111-1111-4111-8111-111111111111"
#define UUID2 "22222222-2222-4222-8222-222222222222"

static Id uuid(const char *text)
{
    Id id;
    gboolean ok = id_parse(text, &id, NULL);

    g_assert_true(ok);
    return id;
}

static Scenario *web(void)
{
    Scenario *s = scenario_new("web", "alpha");

    scenario_add_replica(s, "beta");
    scenario_add_vm(s, uuid(UUID1), "web1");
    return s;
}

static void test_round_trip(void)
{
    g_autoptr(Scenario) s = web();
    g_autoptr(Scenario) back = NULL;
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = NULL, *again = NULL;

    scenario_add_vm(s, uuid(UUID2), "Büro \"A\" & <B>");
    g_assert_true(mapping_set(s->map, "default", "office", NULL));
    g_assert_true(mapping_set(s->map, "default", "other,test=lab", NULL));
    g_assert_true(policy_set(&s->policy, "interval", "1s", NULL));
    doc = scenario_to_json(s);
    back = scenario_from_json(doc, &error);
    g_assert_no_error(error);
    again = scenario_to_json(back);
    g_assert_true(json_equal(doc, again));
    g_assert_cmpuint(back->map->rules->len, ==, 1);
    g_assert_true(scenario_has_host(back, "beta"));
    g_assert_false(scenario_has_host(back, "gamma"));
    g_assert_cmpstr(scenario_find_vm(back, uuid(UUID2))->name, ==, "Büro \"A\" & <B>");
}

#define DOC(rest) "{\"format\":1,\"name\":\"web\",\"master\":\"alpha\"," rest "}"
#define VMS "\"vms\":[{\"uuid\":\"" UUID1 "\",\"name\":\"web1\"}]"
#define BETA "\"replicas\":[\"beta\"]"

static void test_small_document(void)
{
    static const char TEXT[] = DOC(BETA "," VMS);
    g_autoptr(GError) error = NULL;
    g_autoptr(Scenario) s = scenario_parse(TEXT, strlen(TEXT), &error);

    g_assert_no_error(error);
    g_assert_cmpint(s->policy.interval_ms, ==, 5000);
    g_assert_cmpuint(s->map->rules->len, ==, 0);
}

static void test_refused_documents(void)
{
    static const struct {
        const char *text;
        int code;
        const char *part; /* of the sentence */
    } BAD[] = {
        {"", US_ERROR_USAGE, "not a JSON document"},
        {"[]", US_ERROR_USAGE, "it has no \"format\""},
        {"{}", US_ERROR_USAGE, "it has no \"format\""},
        {"{\"format\":\"1\"}", US_ERROR_USAGE, "it has no \"format\""},
        {"{\"format\":2}", US_ERROR_UNSUPPORTED, "is of format 2, this version reads up to 1"},
        {DOC(BETA "," VMS ",\"colour\":\"red\""), US_ERROR_USAGE, "colour"},
        {DOC(BETA), US_ERROR_USAGE, "vms"},
        {DOC(VMS), US_ERROR_USAGE, "replicas"},
        {DOC("\"replicas\":\"beta\"," VMS), US_ERROR_USAGE, "is a list of host names"},
        {DOC("\"replicas\":[1]," VMS), US_ERROR_USAGE, "is a list of host names"},
        {DOC("\"replicas\":[]," VMS), US_ERROR_USAGE, "has no replica host"},
        {DOC("\"replicas\":[\"alpha\"]," VMS), US_ERROR_USAGE, "is master and replica"},
        {DOC("\"replicas\":[\"beta\",\"gamma\"]," VMS), US_ERROR_UNSUPPORTED, "this version keeps one copy"},
        {DOC("\"replicas\":[\"be/ta\"]," VMS), US_ERROR_USAGE, "cannot be the name of a host"},
        {DOC(BETA ",\"vms\":{}"), US_ERROR_USAGE, "\"vms\" is a list"},
        {DOC(BETA ",\"vms\":[]"), US_ERROR_USAGE, "has no VM"},
        {DOC(BETA ",\"vms\":[{\"uuid\":\"x\",\"name\":\"web1\"}]"), US_ERROR_USAGE, "x"},
        {DOC(BETA ",\"vms\":[{\"uuid\":\"" UUID1 "\",\"name\":\"\"}]"), US_ERROR_USAGE, "no usable name"},
        {DOC(BETA ",\"vms\":[{\"uuid\":\"" UUID1 "\",\"name\":\"a\"},{\"uuid\":\"" UUID1
                  "\",\"name\":\"b\"}]"),
         US_ERROR_USAGE, "is named twice"},
        {DOC(BETA "," VMS ",\"map\":[]"), US_ERROR_USAGE, "it is an object of places"},
        {DOC(BETA "," VMS ",\"map\":{\"default\":1}"), US_ERROR_USAGE, "is not mapped to a text"},
        {DOC(BETA "," VMS ",\"map\":{\"default\":\"\"}"), US_ERROR_USAGE, "says nothing"},
        {DOC(BETA "," VMS ",\"map\":{\"default\":\"x\",\"network:default\":\"y\"}"), US_ERROR_USAGE,
         "two rules are about one place"},
        {DOC(BETA "," VMS ",\"map\":{\"a\":\"x\",\"b\":\"y,test=x\"}"), US_ERROR_USAGE,
         "is to be a test network"},
        {DOC(BETA "," VMS ",\"policy\":[]"), US_ERROR_USAGE, "a policy is an object"},
        {DOC(BETA "," VMS ",\"policy\":{\"switchover\":\"auto\",\"countdown\":\"5s\"}"), US_ERROR_USAGE,
         "countdown 5s is too short for switchover=auto"},
        {DOC(BETA "," VMS ",\"policy\":{\"speed\":\"1\"}"), US_ERROR_USAGE, "there is no property 'speed'"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Scenario) s = scenario_parse(BAD[i].text, strlen(BAD[i].text), &error);

        g_assert_null(s);
        g_assert_error(error, US_ERROR, BAD[i].code);
        g_assert_nonnull(strstr(error->message, BAD[i].part));
    }
}

static void test_names(void)
{
    static const char *const GOOD[] = {"web", "a", "0", "Web-1.prod_x"};
    static const char *const BAD[] = {"", "-web", ".", "..", "a b", "a/b", "wéb", "a\n"};
    g_autofree char *longest = g_strnfill(SCENARIO_MAX_NAME, 'a');
    g_autofree char *longer = g_strnfill(SCENARIO_MAX_NAME + 1, 'a');

    for (guint i = 0; i < G_N_ELEMENTS(GOOD); i++)
        g_assert_true(scenario_name_check("scenario", GOOD[i], NULL));
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++)
        g_assert_false(scenario_name_check("scenario", BAD[i], NULL));
    g_assert_true(scenario_name_check("scenario", longest, NULL));
    g_assert_false(scenario_name_check("scenario", longer, NULL));
}

static void test_beside(void)
{
    g_autoptr(GPtrArray) others = g_ptr_array_new();
    g_autoptr(Scenario) s = web();
    g_autoptr(Scenario) same_name = web();
    g_autoptr(Scenario) same_vm = web();
    g_autoptr(GError) error = NULL;

    g_assert_true(scenario_check_beside(s, others, FALSE, &error));
    g_ptr_array_add(others, same_name);
    g_assert_false(scenario_check_beside(s, others, FALSE, &error));
    g_assert_error(error, US_ERROR, US_ERROR_EXISTS);
    g_assert_cmpstr(error->message, ==, "there is a scenario 'web' already: choose another name");
    g_clear_error(&error);
    g_assert_true(scenario_check_beside(s, others, TRUE, &error));

    g_free(same_vm->name);
    same_vm->name = g_strdup("shop");
    g_ptr_array_add(others, same_vm);
    g_assert_false(scenario_check_beside(s, others, TRUE, &error));
    g_assert_error(error, US_ERROR, US_ERROR_EXISTS);
    g_assert_cmpstr(
        error->message, ==,
        "VM 'web1' is already in scenario 'shop': a VM is protected by one scenario; take it out there "
        "first");
}

static void test_may_become(void)
{
    g_autoptr(Scenario) s = web();
    g_autoptr(Scenario) faster = scenario_copy(s);
    g_autoptr(Scenario) larger = scenario_copy(s);
    g_autoptr(Scenario) renamed = scenario_copy(s);
    g_autoptr(GError) error = NULL;

    faster->policy.interval_ms = 1000;
    scenario_add_vm(larger, uuid(UUID2), "web2");
    renamed->name[0] = 'x';
    g_assert_true(scenario_may_become(s, faster, POLICY_MOMENT_RUNNING, &error));
    g_assert_true(scenario_may_become(s, larger, POLICY_MOMENT_STOPPED, &error));
    g_assert_false(scenario_may_become(s, larger, POLICY_MOMENT_RUNNING, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_false(scenario_may_become(s, renamed, POLICY_MOMENT_STOPPED, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
}

static json_t *json(const char *text)
{
    json_t *doc = json_loads(text, 0, NULL);

    g_assert_nonnull(doc);
    return doc;
}

static void test_patch(void)
{
    static const char *const BAD[] = {
        "{}",
        "[]",
        "{\"name\":\"x\"}",
        "{\"policy\":[]}",
        "{\"policy\":{\"interval\":5}}",
        "{\"policy\":{\"speed\":\"1\"}}",
        "{\"map\":\"x\"}",
        "{\"map\":{\"default\":1}}",
        "{\"map\":{\"default\":\"\"}}",
        "{\"vms\":{\"web1\":{\"test_checks\":\"agent\"}}}",
        "{\"vms\":{\"web1\":{\"test_checks\":[\"frob\"]}}}",
        "{\"vms\":{\"web1\":{\"test_checks\":[1]}}}",
    };
    g_autoptr(Scenario) s = web();
    g_autoptr(Scenario) before = scenario_copy(s);
    json_auto_t *both = json("{\"policy\":{\"interval\":\"3s\"},\"map\":{\"dmz\":\"outer\"}}");
    json_auto_t *out = json("{\"map\":{\"dmz\":null,\"never\":null}}");
    g_autoptr(GError) error = NULL;

    g_assert_true(scenario_patch(s, both, &error));
    g_assert_cmpint(s->policy.interval_ms, ==, 3000);
    g_assert_cmpuint(s->map->rules->len, ==, before->map->rules->len + 1);
    g_assert_true(scenario_may_become(before, s, POLICY_MOMENT_STOPPED, &error));
    g_assert_false(scenario_may_become(before, s, POLICY_MOMENT_RUNNING, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_assert_true(scenario_patch(s, out, NULL));
    g_assert_cmpuint(s->map->rules->len, ==, before->map->rules->len);
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(Scenario) spoilt = scenario_copy(s);
        json_auto_t *patch = json(BAD[i]);
        g_autoptr(GError) why = NULL;

        g_assert_false(scenario_patch(spoilt, patch, &why));
        g_assert_error(why, US_ERROR, US_ERROR_USAGE);
    }
}

/* What it must show in a test may change while it runs, goes with copies and documents, and can be taken back. */
static void test_test_checks(void)
{
    g_autoptr(Scenario) s = web();
    g_autoptr(Scenario) before = scenario_copy(s);
    g_autoptr(Scenario) copy = NULL;
    g_autoptr(Scenario) back = NULL;
    json_auto_t *patch = json("{\"vms\":{\"web1\":{\"test_checks\":[\"agent\",\"tcp:80\"]}}}");
    json_auto_t *none = json("{\"vms\":{\"web1\":{\"test_checks\":[]}}}");
    json_auto_t *other = json("{\"vms\":{\"web1\":{\"gate\":\"10s\"}}}");
    json_auto_t *doc = NULL;

    g_assert_true(scenario_patch(s, patch, NULL));
    g_assert_true(scenario_patch(s, other, NULL));
    g_assert_true(scenario_may_become(before, s, POLICY_MOMENT_RUNNING, NULL));
    copy = scenario_copy(s);
    doc = scenario_to_json(copy);
    back = scenario_from_json(doc, NULL);
    g_assert_cmpuint(json_array_size(scenario_find_vm(back, uuid(UUID1))->exams), ==, 2);
    scenario_set_rules(before, back);
    g_assert_nonnull(scenario_find_vm(before, uuid(UUID1))->exams);
    g_assert_true(scenario_patch(s, none, NULL));
    g_assert_null(scenario_find_vm(s, uuid(UUID1))->exams);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scenario/round-trip", test_round_trip);
    g_test_add_func("/scenario/small-document", test_small_document);
    g_test_add_func("/scenario/refused-documents", test_refused_documents);
    g_test_add_func("/scenario/names", test_names);
    g_test_add_func("/scenario/beside", test_beside);
    g_test_add_func("/scenario/may-become", test_may_become);
    g_test_add_func("/scenario/patch", test_patch);
    g_test_add_func("/scenario/test-checks", test_test_checks);
    return g_test_run();
}
