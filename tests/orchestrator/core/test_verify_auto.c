/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps a scenario from switching over by itself: each thing alone, and what excuses it. */
#include "orchestrator/core/verify.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define UUID1 "11111111-1111-1111-1111-111111111111"
#define UUID2 "22222222-2222-2222-2222-222222222222"
#define UUID3 "33333333-3333-3333-3333-333333333333"

#define INFO(machine, boot, outer)                                                                          \
    "{\"version\":\"0.1.0\",\"id\":\"" UUID2 "\",\"hook\":true,\"store\":{\"path\":\"/s\",\"free_bytes\":"  \
    "50000000000,\"total_bytes\":100000000000},\"networks\":[{\"name\":\"default\",\"bridge\":\"virbr0\","  \
    "\"over\":null,\"active\":true,\"portgroups\":[]}],\"bridges\":[{\"name\":\"virbr0\",\"ovs\":false,"    \
    "\"of_network\":true},{\"name\":\"ovs0\",\"ovs\":true,\"of_network\":false}],\"machine_id\":\"" machine \
    "\",\"boot_id\":\"" boot "\"" outer "}"
#define OWN ",\"outer\":\"\""
#define ALPHA INFO("ma", "ba", OWN)
#define BETA INFO("mb", "bb", OWN)
#define ROUTE(gateway, device) "{\"local\":false,\"gateway\":" gateway ",\"device\":\"" device "\"}"
#define ROUTES(others, asker) "{\"routes\":[" others "],\"asker\":" asker "}"
#define LINE(device) ROUTE("null", device)
#define FAST(device, sent, answered, rtt_ms)                                               \
    "{\"local\":false,\"gateway\":null,\"device\":\"" device "\",\"line\":{\"sent\":" sent \
    ",\"answered\":" answered ",\"rtt_ms\":" rtt_ms "}}"
#define GOOD_ROUTES ROUTES(LINE("eth0") "," LINE("eth1"), LINE("eth0"))
#define VMS                                                                                                  \
    "{\"vms\":[{\"uuid\":\"" UUID1 "\",\"name\":\"web1\",\"state\":\"running\",\"disks\":[],\"interfaces\":" \
    "[],\"scenario\":null},{\"uuid\":\"" UUID3 "\",\"name\":\"desk\",\"state\":\"running\",\"disks\":[],"    \
    "\"interfaces\":[],\"scenario\":null}]}"
#define CHECK(definition, live) \
    "{\"problems\":[],\"remarks\":[],\"data_bytes\":1,\"definition\":\"" definition "\",\"live\":" live "}"
#define DEFINITION(devices) "<domain><devices>" devices "</devices></domain>"
#define HELD "<interface type='network'><source network='default'/></interface>"
#define SHARE "<filesystem><source dir='/srv'/></filesystem>"
#define VSOCK "<vsock/>"
#define GOOD_CHECK CHECK(DEFINITION(HELD), "null")
#define FIT(definition) "{\"remarks\":[],\"definition\":\"" definition "\"}"
#define GOOD_FIT FIT(DEFINITION(HELD))
#define NO_PROBLEMS "{\"problems\":[]}"

typedef struct {
    const char *what;
    const char *id; /* of the findings; NULL: there is none */
    const char *cause;
    const char *alpha, *beta, *alpha_routes, *beta_routes, *check, *fit, *alpha_trial,
        *beta_trial;          /* NULL: all is well there */
    VerifyMachine controller; /* no members: one of its own */
    const char *set[2];       /* a property */
    const char *fence;        /* for this host */
    guint count;              /* of the findings; 0: one, or none without an id */
    gboolean warns;
} Case;

#define VIRTUAL INFO("ma", "ba", ",\"outer\":\"kvm\"")

static const Case CASES[] = {
    {.what = "all is well"},

    {"the controller is on the replica", "votes-apart",
     "the controller runs on beta (its machine id or boot id is the same)", .controller = {"mb", "bc", ""}},
    {"the controller is on the master", "votes-apart",
     "the controller runs on alpha (its machine id or boot id is the same)", .controller = {"ma", "bc", ""}},
    {"it is in a container there", "votes-apart",
     "the controller runs on beta (its machine id or boot id is the same)", .controller = {"mc", "bb", ""}},
    {"it speaks from an address there", "votes-apart",
     "the controller runs on beta: it speaks to it from an address of its own",
     .beta_routes =
         ROUTES(LINE("eth0") "," LINE("eth1"), "{\"local\":true,\"gateway\":null,\"device\":\"lo\"}"),
     .controller = {"mc", "bc", ""}},
    {"it is a VM there", "votes-apart", "the controller runs in 'desk', a VM of alpha",
     .controller = {"mc", "bc", UUID3}},
    {"a fence is no third vote", "votes-apart", "the controller runs in 'desk', a VM of alpha",
     .controller = {"mc", "bc", UUID3}, .fence = "alpha"},
    {"nobody knows where it is", "votes-apart",
     "whether the controller runs on alpha is not known: one of the two does not say which machine it is",
     .alpha = INFO("", "", OWN), .controller = {"mc", "bc", ""}},
    {"the boot alone says that it is apart", .alpha = INFO("", "ba", OWN), .controller = {"mc", "bc", ""}},
    {"it has no machine id", .controller = {"", "bc", ""}},
    {"two hosts are one", "votes-apart",
     "alpha and beta are one machine (their machine id or boot id is the same)",
     .beta = INFO("mb", "ba", OWN)},

    {"one router to all", "votes-reached",
     "alpha reaches the other host and the controller through one router, 10.0.0.1",
     .alpha_routes = ROUTES(ROUTE("\"10.0.0.1\"", "eth0") "," ROUTE("\"10.0.0.1\"", "eth1"),
                            ROUTE("\"10.0.0.1\"", "eth0"))},
    {"the replica behind it", "votes-reached",
     "beta reaches the other host and the controller through one router, fe80::1",
     .beta_routes =
         ROUTES(ROUTE("\"fe80::1\"", "eth0") "," ROUTE("\"fe80::1\"", "eth1"), ROUTE("\"fe80::1\"", "eth0"))},
    {"a second router",
     .alpha_routes = ROUTES(ROUTE("\"10.0.0.1\"", "eth0") "," ROUTE("\"10.0.1.1\"", "eth1"),
                            ROUTE("\"10.0.0.1\"", "eth0"))},
    {"hosts on one line, the controller behind a router",
     .alpha_routes = ROUTES(LINE("eth0") "," LINE("eth0"), ROUTE("\"10.0.0.1\"", "eth1"))},
    {"the controller on the line, the replica behind a router",
     .alpha_routes = ROUTES(ROUTE("\"10.0.0.1\"", "eth1") "," ROUTE("\"10.0.0.1\"", "eth1"), LINE("eth0"))},
    {"one way that is not known, and one that is",
     .alpha_routes = ROUTES("{\"why\":\"no such name\"}," LINE("eth1"), LINE("eth0"))},
    {"one router, and what is not known", "votes-reached",
     "alpha reaches the other host and the controller through one router, 10.0.0.1",
     .alpha_routes =
         ROUTES("{\"why\":\"no such name\"}," ROUTE("\"10.0.0.1\"", "eth1"), ROUTE("\"10.0.0.1\"", "eth0"))},
    {"no way is known", "votes-reached", "by which ways alpha reaches the others is not known: no such name",
     .alpha_routes =
         ROUTES("{\"why\":\"no such name\"},{\"why\":\"no such name\"}", "{\"why\":\"no such name\"}")},
    {"an answer about less than was asked", "votes-reached",
     "alpha cannot say by which ways it reaches the others: its answer to host.routes is not one",
     .alpha_routes = ROUTES(LINE("eth0"), LINE("eth0"))},
    {"an answer of another shape", "votes-reached",
     "beta cannot say by which ways it reaches the others: its answer to host.routes is not one",
     .beta_routes = ROUTES(LINE("eth0") ",{\"gateway\":7}", LINE("eth0"))},
    {"one cable", "votes-on-one-line", "alpha reaches the other host and the controller over eth0 alone",
     .alpha_routes = ROUTES(LINE("eth0") "," LINE("eth0"), LINE("eth0")), .warns = TRUE},

    {"a line that is fast",
     .alpha_routes = ROUTES(FAST("eth0", "20", "20", "99") "," LINE("eth1"), LINE("eth0"))},
    {"one lost is none",
     .alpha_routes = ROUTES(FAST("eth0", "20", "19", "0") "," LINE("eth1"), LINE("eth0"))},
    {"who answers no echo may be told not to",
     .alpha_routes = ROUTES(FAST("eth0", "20", "0", "0") "," LINE("eth1"), LINE("eth0"))},
    {"a slow line", "votes-fast", "an echo from alpha to 10.1.0.2:25000 takes 100 ms",
     .alpha_routes = ROUTES(LINE("eth0") "," FAST("eth1", "20", "20", "100"), LINE("eth0")), .warns = TRUE},
    {"a lossy line", "votes-fast", "of 20 echoes from beta to the controller 2 did not come back",
     .beta_routes = ROUTES(LINE("eth0") "," LINE("eth1"), FAST("eth0", "20", "18", "3")), .warns = TRUE},
    {"a line of another shape", "votes-reached",
     "beta cannot say by which ways it reaches the others: its answer to host.routes is not one",
     .beta_routes = ROUTES(LINE("eth0") "," FAST("eth1", "20", "20", "\"3\""), LINE("eth0"))},

    {"a master that is a VM", "host-clock", "alpha is a VM itself (kvm)", .alpha = VIRTUAL},
    {"a replica that is one", "host-clock", "beta is a VM itself (kvm)",
     .beta = INFO("mb", "bb", ",\"outer\":\"kvm\"")},
    {"a host that does not say", "host-clock", "alpha does not say whether it is a VM itself",
     .alpha = INFO("ma", "ba", "")},
    {"its operator takes the risk", .alpha = VIRTUAL, .set = {"trust_clock", "yes"}},
    {"a fence for it", "host-clock-fenced", "alpha is a VM itself (kvm)", .alpha = VIRTUAL, .fence = "alpha",
     .warns = TRUE},
    {"a fence for the other", "host-clock", "alpha is a VM itself (kvm)", .alpha = VIRTUAL, .fence = "beta"},

    {"a folder of the host", "guest-held", "on alpha, 'web1' shares the folder /srv of its host",
     .check = CHECK(DEFINITION(HELD SHARE), "null")},
    {"the same while it runs, said once", "guest-held", "on alpha, 'web1' shares the folder /srv of its host",
     .check = CHECK(DEFINITION(SHARE), "\"" DEFINITION(SHARE) "\"")},
    {"only while it runs", "guest-held", "on alpha, 'web1' shares the folder /srv of its host",
     .check = CHECK(DEFINITION(HELD), "\"" DEFINITION(SHARE) "\"")},
    {"two of them", "guest-held", "on alpha, 'web1' shares the folder /srv of its host", .count = 2,
     .check = CHECK(DEFINITION(SHARE VSOCK), "null")},
    {"on the replica alone", "guest-held",
     "on beta, 'web1' has interface without an address on 'bridge:ovs0', where 'ovs0' is no bridge of the "
     "kernel's",
     .fit = FIT(DEFINITION("<interface type='bridge'><source bridge='ovs0'/></interface>"))},
    {"a definition that is none", "guest-held", NULL, .check = CHECK("<network/>", "null")},
    {"the master can be switched off", "guest-held-fenced", NULL, .check = CHECK(DEFINITION(SHARE), "null"),
     .fence = "alpha", .warns = TRUE},
    {"the other can", "guest-held", "on alpha, 'web1' shares the folder /srv of its host",
     .check = CHECK(DEFINITION(SHARE), "null"), .fence = "beta"},
    {"the trust is in clocks alone", "guest-held", "on alpha, 'web1' shares the folder /srv of its host",
     .check = CHECK(DEFINITION(SHARE), "null"), .set = {"trust_clock", "yes"}},

    {"nobody is paused, nor fenced", "isolation-fenced", "isolation is 'run', and no fence is set for alpha",
     .count = 2, .set = {"isolation", "run"}, .warns = TRUE},
    {"nobody is paused, one is fenced", "isolation-fenced",
     "isolation is 'run', and no fence is set for beta", .set = {"isolation", "run"}, .fence = "alpha",
     .warns = TRUE},
};

static Scenario *web(const char *switchover, const Case *c)
{
    Scenario *s = scenario_new("web", "alpha");
    Id uuid;

    scenario_add_replica(s, "beta");
    g_assert_true(id_parse(UUID1, &uuid, NULL));
    scenario_add_vm(s, uuid, "web1");
    g_assert_true(policy_set(&s->policy, "switchover", switchover, NULL));
    if (c->set[0])
        g_assert_true(policy_set(&s->policy, c->set[0], c->set[1], NULL));
    g_assert_true(scenario_check(s, NULL));
    return s;
}

static const char *answer_of(const Case *c, VerifyCall call)
{
    gboolean alpha = g_str_equal(call.host, "alpha");
    const char *said = NULL, *well = NO_PROBLEMS;

    if (g_str_equal(call.method, "host.info")) {
        said = alpha ? c->alpha : c->beta;
        well = alpha ? ALPHA : BETA;
    } else if (g_str_equal(call.method, "host.routes")) {
        said = alpha ? c->alpha_routes : c->beta_routes;
        well = GOOD_ROUTES;
    } else if (g_str_equal(call.method, "host.trial")) {
        said = alpha ? c->alpha_trial : c->beta_trial;
    } else if (g_str_equal(call.method, "vm.list")) {
        well = alpha ? VMS : "{\"vms\":[]}";
    } else if (g_str_equal(call.method, "vm.check")) {
        said = c->check;
        well = GOOD_CHECK;
    } else if (g_str_equal(call.method, "standby.check")) {
        said = alpha ? NULL : c->fit;
        well = alpha ? "{\"remarks\":[]}" : GOOD_FIT;
    }
    return said ? said : well;
}

static VerifyFacts *facts_of(const Scenario *s, const Case *c)
{
    static const char *const AT_ALPHA[] = {"alpha:25000", "10.1.0.1:25000", NULL};
    static const char *const AT_BETA[] = {"beta:25000", "10.1.0.2:25000", NULL};
    VerifyFacts *f = verify_facts_new(s, NULL);

    verify_facts_set_addresses(f, "alpha", AT_ALPHA);
    verify_facts_set_addresses(f, "beta", AT_BETA);
    verify_facts_set_machine(f,
                             c->controller.machine_id ? &c->controller : &(VerifyMachine){"mc", "bc", UUID2});
    if (c->fence)
        verify_facts_set_fence(f, c->fence);
    for (guint i = 0; i < verify_call_count(f); i++) {
        const char *text = answer_of(c, verify_call(f, i));
        json_auto_t *doc = json_parse(text, strlen(text), 65536, NULL);

        g_assert_nonnull(doc);
        verify_facts_add(f, i, doc, NULL);
    }
    g_assert_true(verify_facts_complete(f));
    return f;
}

static void look_at(const Case *c)
{
    g_autoptr(Scenario) s = web("auto", c);
    g_autoptr(VerifyFacts) f = facts_of(s, c);
    g_autoptr(GPtrArray) findings = verify_check(f);
    g_autoptr(GError) barred = verify_auto_failure(findings);
    g_autoptr(GError) failure = verify_failure(findings);
    const Finding *first = findings->len ? findings->pdata[0] : NULL;

    g_test_message("%s", c->what);
    g_assert_cmpuint(findings->len, ==, c->id ? MAX(c->count, 1u) : 0);
    g_assert_cmpint(barred != NULL, ==, c->id && !c->warns);
    g_assert_cmpint(failure != NULL, ==, c->id && !c->warns);
    if (!first)
        return;
    g_assert_cmpstr(first->id, ==, c->id);
    if (c->cause)
        g_assert_cmpstr(first->cause, ==, c->cause);
    g_assert_false(first->bars_move);
    g_assert_cmpint(verify_rests_on_fence(findings), ==,
                    g_str_has_suffix(c->id, "-fenced") && !g_str_has_prefix(c->id, "isolation"));
    if (barred)
        g_assert_error(barred, US_ERROR, US_ERROR_VERIFY);
}

static void test_checks(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++)
        look_at(&CASES[i]);
}

/* Where the operator starts each switchover, nothing of it is asked, nor stands in the way: a controller beside a host is a warning. */
static void test_manual(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        const Case *c = &CASES[i];
        g_autoptr(Scenario) s = web("manual", c);
        g_autoptr(VerifyFacts) f = facts_of(s, c);
        g_autoptr(GPtrArray) findings = verify_check(f);

        g_test_message("%s", c->what);
        g_assert_cmpuint(verify_errors(findings), ==, 0);
        for (guint k = 0; k < findings->len; k++)
            g_assert_cmpstr(((const Finding *)findings->pdata[k])->id, ==, "controller-apart");
        for (guint k = 0; k < verify_call_count(f); k++)
            g_assert_cmpstr(verify_call(f, k).method, !=, "host.routes");
    }
}

/* Each is asked for its ways to the other, on each address, before it is tried out. */
static void test_questions(void)
{
    g_autoptr(Scenario) s = web("auto", &CASES[0]);
    g_autoptr(VerifyFacts) f = facts_of(s, &CASES[0]);
    json_auto_t *to_beta = json_pack("{s:[s, s]}", "addresses", "beta:25000", "10.1.0.2:25000");
    gboolean tried = FALSE, asked = FALSE;

    for (guint i = 0; i < verify_call_count(f); i++) {
        VerifyCall call = verify_call(f, i);

        if (!g_str_equal(call.host, "alpha"))
            continue;
        tried |= g_str_equal(call.method, "host.trial");
        if (!g_str_equal(call.method, "host.routes"))
            continue;
        g_assert_false(tried);
        g_assert_true(json_equal(call.params, to_beta));
        asked = TRUE;
    }
    g_assert_true(asked && tried);
}

/* A move is looked at without any of it: what bars a beginning by itself bars no operator. */
static void test_move(void)
{
    g_autoptr(Scenario) s = web("auto", &CASES[0]);
    g_autoptr(VerifyFacts) f = verify_facts_new_one_way(s, NULL, TRUE);

    for (guint i = 0; i < verify_call_count(f); i++)
        g_assert_cmpstr(verify_call(f, i).method, !=, "host.routes");
}

/* What would be in the way of a takeover, by who has it: a master that is sick is a reason for one. */
static void test_takeover(void)
{
    static const struct {
        const char *what;
        Case c;
        gboolean bars;
    } TAKEOVERS[] = {
        {"all is well", {0}, FALSE},
        {"the master's disks",
         {.check = "{\"problems\":[\"it is odd\"],\"remarks\":[],\"data_bytes\":1,"
                   "\"definition\":\"<domain/>\"}"},
         FALSE},
        {"the master's trial", {.alpha_trial = "{}"}, FALSE},
        {"a master that starts whatever is asked for",
         {.alpha_trial = "{\"problems\":[{\"id\":\"trial-hook\",\"text\":\"nobody asks\"}]}"},
         TRUE},
        {"the replica's trial", {.beta_trial = "{}"}, TRUE},
        {"what the VM would lack there",
         {.fit = "{\"remarks\":[{\"id\":\"network-there\",\"cause\":\"x\"}]}"},
         TRUE},
        {"a guest that is not held", {.check = CHECK(DEFINITION(VSOCK), "null")}, TRUE},
        {"a remark", {.alpha_routes = ROUTES(LINE("eth0") "," LINE("eth0"), LINE("eth0"))}, FALSE},
    };

    for (guint i = 0; i < G_N_ELEMENTS(TAKEOVERS); i++) {
        g_autoptr(Scenario) s = web("auto", &TAKEOVERS[i].c);
        g_autoptr(VerifyFacts) f = facts_of(s, &TAKEOVERS[i].c);
        g_autoptr(GPtrArray) findings = verify_check(f);
        g_autoptr(GError) failure = verify_takeover_failure(findings, "alpha");

        g_test_message("%s", TAKEOVERS[i].what);
        g_assert_cmpuint(findings->len, ==, i == 0 ? 0 : 1);
        g_assert_cmpint(failure != NULL, ==, TAKEOVERS[i].bars);
    }
}

/* A silent host is one finding, here too. */
static void test_silence(void)
{
    g_autoptr(Scenario) s = web("auto", &CASES[0]);
    g_autoptr(VerifyFacts) f = verify_facts_new(s, NULL);
    g_autoptr(GError) silence = g_error_new(US_ERROR, US_ERROR_UNREACHABLE, "no route to 10.0.0.2");
    g_autoptr(GPtrArray) findings = NULL;

    verify_facts_set_machine(f, &(VerifyMachine){"mc", "bc", ""});
    for (guint i = 0; i < verify_call_count(f); i++) {
        VerifyCall call = verify_call(f, i);
        const char *text = answer_of(&CASES[0], call);
        json_auto_t *doc = g_str_equal(call.method, "host.routes")
                               ? json_pack("{s:[], s:{s:b, s:n, s:s}}", "routes", "asker", "local", 0,
                                           "gateway", "device", "eth0")
                               : json_parse(text, strlen(text), 65536, NULL);

        verify_facts_add(f, i, doc, g_str_equal(call.host, "beta") ? silence : NULL);
    }
    findings = verify_check(f);
    g_assert_cmpuint(verify_errors(findings), ==, 1);
    g_assert_cmpstr(((const Finding *)findings->pdata[0])->id, ==, "engine-answers");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/verify-auto/checks", test_checks);
    g_test_add_func("/verify-auto/manual", test_manual);
    g_test_add_func("/verify-auto/questions", test_questions);
    g_test_add_func("/verify-auto/move", test_move);
    g_test_add_func("/verify-auto/takeover", test_takeover);
    g_test_add_func("/verify-auto/silence", test_silence);
    return g_test_run();
}
