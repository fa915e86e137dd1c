/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/start_order.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define DB_ID "11111111-1111-1111-1111-111111111111"
#define WEB 3
#define VMS 3

static Id vm_id(guint i)
{
    Id id;

    memset(id.bytes, 0x10 + (int)i, sizeof id.bytes);
    return id;
}

static Scenario *three(void)
{
    static const char *const NAMES[] = {"", "db", "app", "web"};
    Scenario *s = scenario_new("web", "alpha");

    scenario_add_replica(s, "beta");
    for (guint i = 1; i <= VMS; i++)
        scenario_add_vm(s, vm_id(i), NAMES[i]);
    return s;
}

static gboolean patch(Scenario *s, const char *text, GError **error)
{
    json_auto_t *doc = json_parse(text, strlen(text), 4096, NULL);

    g_assert_nonnull(doc);
    return scenario_patch(s, doc, error);
}

static void test_document(void)
{
    g_autoptr(Scenario) s = three();
    g_autoptr(Scenario) back = NULL;
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = NULL, *again = NULL;
    const json_t *app;

    g_assert_true(patch(s,
                        "{\"vms\":{\"app\":{\"after\":[\"" DB_ID
                        "\"],\"gate\":\"probe+90s\"},\"web\":{\"after\":[\"app\",\"db\"]},\"" DB_ID
                        "\":{\"gate\":\"30s\"}}}",
                        &error));
    doc = scenario_to_json(s);
    app = json_array_get(json_object_get(doc, "vms"), 1);
    g_assert_cmpstr(json_string_value(json_array_get(json_object_get(app, "after"), 0)), ==, "db");
    g_assert_cmpstr(json_string_value(json_object_get(app, "gate")), ==, "probe+90s");
    back = scenario_from_json(doc, &error);
    g_assert_no_error(error);
    again = scenario_to_json(back);
    g_assert_true(json_equal(doc, again));
    /* While it runs, too. */
    g_assert_true(patch(back, "{\"vms\":{\"web\":{\"after\":[]},\"db\":{\"gate\":\"none\"}}}", NULL));
    g_assert_true(scenario_may_become(s, back, POLICY_MOMENT_MOVED, &error));
    g_assert_cmpuint(scenario_find_vm(back, vm_id(WEB))->after->len, ==, 0);
    /* Two of one name go by their UUIDs. */
    scenario_add_vm(back, vm_id(9), "db");
    json_decref(doc);
    doc = scenario_to_json(back);
    app = json_array_get(json_object_get(doc, "vms"), 1);
    g_assert_cmpstr(json_string_value(json_array_get(json_object_get(app, "after"), 0)), ==, DB_ID);
}

static void test_refused(void)
{
    static const struct {
        const char *text, *sentence;
    } BAD[] = {
        {"{\"vms\":{\"app\":{\"after\":[\"app\"]}}}",
         "the VMs of scenario 'web' cannot start in that order: 'app' after 'app'; nothing was changed; "
         "leave one of these out"},
        {"{\"vms\":{\"db\":{\"after\":[\"web\"]}}}",
         "the VMs of scenario 'web' cannot start in that order: 'db' after 'web' after 'app' after 'db'; "
         "nothing was changed; leave one of these out"},
        {"{\"vms\":{\"app\":{\"after\":[\"cache\"]}}}",
         "what 'app' starts after: scenario 'web' has no VM 'cache'; understudy scenario show lists those it "
         "has"},
        {"{\"vms\":{\"cache\":{\"gate\":\"none\"}}}",
         "scenario 'web' has no VM 'cache'; understudy scenario show lists those it has"},
        {"{\"vms\":{\"app\":{\"after\":\"db\"}}}",
         "VM 'app' of scenario 'web': what it starts after is a list of VMs, by name or UUID; nothing was "
         "changed"},
        {"{\"vms\":{\"app\":{\"after\":[1]}}}",
         "VM 'app' of scenario 'web': what it starts after is a list of VMs, by name or UUID; nothing was "
         "changed"},
        {"{\"vms\":[]}", "\"vms\" must be an object"},
        {"{\"vms\":{\"app\":{\"gate\":\"probe30s\"}}}",
         "'probe30s' is no gate: it is none, probe, a delay of at most 1h like 30s, or probe+30s"},
        {"{\"vms\":{\"app\":{\"gate\":\"2h\"}}}",
         "'2h' is no gate: it is none, probe, a delay of at most 1h like 30s, or probe+30s"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(Scenario) s = three();
        g_autoptr(GError) error = NULL;

        g_assert_true(
            patch(s, "{\"vms\":{\"app\":{\"after\":[\"db\"]},\"web\":{\"after\":[\"app\"]}}}", NULL));
        g_assert_false(patch(s, BAD[i].text, &error));
        g_assert_error(error, US_ERROR, US_ERROR_USAGE);
        g_assert_cmpstr(error->message, ==, BAD[i].sentence);
    }
}

static void test_gates(void)
{
    static const struct {
        const char *text, *words;
    } GOOD[] = {{"none", "runs"},
                {"probe", "answers its probe"},
                {"30s", "has run for 30s"},
                {"probe+1h", "has answered its probe for 1h"}};
    static const char *const BAD[] = {"",          "probe+", "probe+none", "+30s",
                                      "probe 30s", "30",     "nonesuch",   "-1s"};
    Gate gate;

    for (guint i = 0; i < G_N_ELEMENTS(GOOD); i++) {
        g_autofree char *text = NULL, *words = NULL;

        g_assert_true(gate_parse(GOOD[i].text, &gate, NULL));
        text = gate_text(&gate);
        words = gate_words(&gate);
        g_assert_cmpstr(text, ==, GOOD[i].text);
        g_assert_cmpstr(words, ==, GOOD[i].words);
    }
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++)
        g_assert_false(gate_parse(BAD[i], &gate, NULL));
}

static gboolean is_not_app(const void *user, Id vm)
{
    return !id_equal(vm, *(const Id *)user);
}

/* Through what does not count the order holds; what is reached twice is there once. */
static void test_before(void)
{
    g_autoptr(Scenario) s = three();
    const Id app = vm_id(2);
    g_autoptr(GArray) before = NULL;

    g_assert_true(patch(
        s, "{\"vms\":{\"app\":{\"after\":[\"db\"]},\"web\":{\"after\":[\"app\",\"db\",\"db\"]}}}", NULL));
    before = start_order_before(s, vm_id(WEB), is_not_app, &app);
    g_assert_cmpuint(before->len, ==, 1);
    g_assert_true(id_equal(g_array_index(before, Id, 0), vm_id(1)));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/start-order/gates", test_gates);
    g_test_add_func("/start-order/document", test_document);
    g_test_add_func("/start-order/refused", test_refused);
    g_test_add_func("/start-order/before", test_before);
    return g_test_run();
}
