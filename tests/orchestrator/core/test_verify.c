/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/core/verify_fixes.h"
#include "orchestrator/core/verify_memory.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

#define UUID1 "11111111-1111-1111-1111-111111111111"
#define UUID2 "22222222-2222-2222-2222-222222222222"

#define STORE(free) "\"store\":{\"path\":\"/s\",\"free_bytes\":" free ",\"total_bytes\":100000000000}"
#define NETWORK(name, active) \
    "{\"name\":\"" name "\",\"bridge\":null,\"active\":" active ",\"portgroups\":[]}"
#define NETWORKS(list) "\"networks\":[" list "],\"bridges\":[]"
#define DEFAULT NETWORKS(NETWORK("default", "true"))
#define INFO(version, store, networks, hook) \
    "{\"version\":\"" version "\",\"id\":\"" UUID2 "\"," store "," networks ",\"hook\":" hook "}"
#define GOOD_INFO INFO("0.1.0", STORE("50000000000"), DEFAULT, "true")
#define DISK \
    "{\"target\":\"vda\",\"source\":\"/d\",\"format\":\"qcow2\",\"size_bytes\":1073741824,\"problem\":null}"
#define NIC "{\"mac\":\"52:54:00:00:00:01\",\"type\":\"network\",\"place\":\"default\"}"
#define VM(uuid, name, disks, nics, scenario)                                              \
    "{\"uuid\":\"" uuid "\",\"name\":\"" name "\",\"state\":\"running\",\"disks\":[" disks \
    "],\"interfaces\":[" nics "],\"scenario\":" scenario "}"
#define VMS(list) "{\"vms\":[" list "]}"
#define CHECK(problems, remarks)                         \
    "{\"problems\":[" problems "],\"remarks\":[" remarks \
    "],\"data_bytes\":1000000,\"definition\":\"<domain/>\"}"
#define GOOD_CHECK CHECK("", "")
#define FIT(id, cause) "{\"remarks\":[{\"id\":\"" id "\",\"cause\":\"" cause "\"}]}"
#define GOOD_FIT "{\"remarks\":[],\"definition\":\"<domain type='there'/>\"}"
#define TRIAL(problems) "{\"problems\":[" problems "],\"kvm\":true,\"hook_seen\":true,\"took_ms\":900}"
#define GOOD_TRIAL TRIAL("")
#define LARGE_INFO INFO("0.1.0", STORE("999000000000"), DEFAULT, "true")
#define LEFT(state)                                                \
    "{\"uuid\":\"" UUID1 "\",\"name\":\"web1\",\"state\":\"" state \
    "\",\"disks\":[],\"interfaces\":[],\"scenario\":null,\"given_up\":true}"
#define GOOD_VMS VMS(VM(UUID1, "web1", DISK, NIC, "null"))

static Scenario *web(void)
{
    Scenario *s = scenario_new("web", "alpha");
    Id uuid;

    scenario_add_replica(s, "beta");
    g_assert_true(id_parse(UUID1, &uuid, NULL));
    scenario_add_vm(s, uuid, "web1");
    return s;
}

static guint call_index(const VerifyFacts *f, const char *host, const char *method)
{
    for (guint i = 0; i < verify_call_count(f); i++)
        if (g_str_equal(verify_call(f, i).host, host) && g_str_equal(verify_call(f, i).method, method))
            return i;
    g_assert_not_reached();
}

static void add(VerifyFacts *f, const char *host, const char *method, const char *text)
{
    json_auto_t *doc = json_parse(text, strlen(text), 65536, NULL);

    g_assert_nonnull(doc);
    verify_facts_add(f, call_index(f, host, method), doc, NULL);
}

typedef struct {
    const char *what;
    const char *alpha_info, *alpha_vms, *beta_info, *beta_vms; /* NULL: all is well there */
    const char *id;                                            /* of the only finding; NULL: none */
    FindingSeverity severity;
    const char *cause;
    const char *check; /* alpha's to vm.check; NULL: all is well */
    const char *fit;   /* beta's to standby.check; NULL: all is well */
    const char *trial; /* beta's to host.trial; NULL: all is well */
    const char *back;  /* alpha's to standby.check; NULL: all is well */
} Case;

static const Case CASES[] = {
    {"all is well"},
    {"silence is not read as an answer", "[]", NULL, NULL, NULL, "engine-answers", FINDING_ERROR,
     "the engine of alpha cannot be asked: its answer to host.info is not one"},
    {"vm list of another shape", NULL, NULL, NULL, "{\"vms\":[{\"uuid\":\"x\"}]}", "engine-answers",
     FINDING_ERROR, "the engine of beta cannot be asked: its answer to vm.list is not one"},
    {"versions too far apart", NULL, NULL, INFO("0.3.0", STORE("50000000000"), DEFAULT, "true"), NULL,
     "engine-version", FINDING_ERROR, "the engine of alpha is version 0.1.0, that of beta is 0.3.0"},
    {"versions one apart", NULL, NULL, INFO("0.2.7", STORE("50000000000"), DEFAULT, "true"), NULL},
    {"no hook", INFO("0.1.0", STORE("50000000000"), DEFAULT, "false"), NULL, NULL, NULL, "start-guard",
     FINDING_ERROR, "libvirt on alpha does not ask the engine before it starts a guest"},
    {"no such VM", NULL, VMS(""), NULL, NULL, "vm-there", FINDING_ERROR,
     "alpha has no VM 'web1' (" UUID1 ")"},
    {"taken", NULL, VMS(VM(UUID1, "web1", DISK, NIC, "\"shop\"")), NULL, NULL, "vm-taken", FINDING_ERROR,
     "the engine of alpha protects 'web1' for scenario 'shop'"},
    {"ours already", NULL, VMS(VM(UUID1, "web1", DISK, NIC, "\"web\"")), NULL, NULL},
    {"a problem that only the image knows", NULL, NULL, NULL, NULL, "disk-tracked", FINDING_ERROR,
     "disk vda of 'web1': it is odd", CHECK("\"disk vda of 'web1': it is odd\"", "")},
    {"a remark", NULL, NULL, NULL, NULL, "vm-remark", FINDING_WARNING, "disk vda of 'web1': it is slow",
     CHECK("", "\"disk vda of 'web1': it is slow\"")},
    {"a check of another shape", NULL, NULL, NULL, NULL, "vm-looked-at", FINDING_ERROR,
     "alpha cannot look at 'web1': its answer to vm.check is not one", "{\"problems\":[1],\"remarks\":[]}"},
    {"raw disk", NULL,
     VMS(VM(UUID1, "web1",
            "{\"target\":\"vdb\",\"size_bytes\":1,\"problem\":\"is raw, convert it to qcow2\"}", NIC,
            "null")),
     NULL, NULL, "disk-tracked", FINDING_ERROR, "disk vdb of 'web1': is raw, convert it to qcow2",
     CHECK("\"disk vdb of 'web1': is raw, said once\"", "")},
    {"full replica", NULL, NULL, INFO("0.1.0", STORE("1000000"), DEFAULT, "true"), NULL, "replica-full",
     FINDING_ERROR, "the store of beta has 977 KiB left"},
    {"small replica", LARGE_INFO,
     VMS(VM(UUID1, "web1", "{\"target\":\"vda\",\"size_bytes\":99000000000,\"problem\":null}", NIC, "null")),
     NULL, NULL, "replica-space", FINDING_WARNING,
     "the store of beta has 46.6 GiB left, the VMs' disks may grow to 92.2 GiB"},
    {"sizes beyond all sense", INFO("0.1.0", STORE("9223372036854775807"), DEFAULT, "true"),
     VMS(VM(UUID1, "web1",
            "{\"target\":\"vda\",\"size_bytes\":9223372036854775807,\"problem\":null},{\"target\":\"vdb\","
            "\"size_bytes\":"
            "9223372036854775807,\"problem\":null}",
            NIC, "null")),
     NULL, NULL, "replica-space", FINDING_WARNING, NULL},
    {"same UUID there", NULL, NULL, NULL, GOOD_VMS, "replica-uuid", FINDING_ERROR,
     "beta has a VM with the UUID of 'web1' (it is running)"},
    {"left there when another host became its active", NULL, NULL, NULL, VMS(LEFT("off")), NULL},
    {"it lives on there", NULL, NULL, NULL, VMS(LEFT("paused")), "replica-uuid", FINDING_ERROR,
     "beta has a VM with the UUID of 'web1' (it is paused)"},
    {"same name there", NULL, NULL, NULL, VMS(VM(UUID2, "web1", DISK, NIC, "null")), "replica-name",
     FINDING_ERROR, "beta has another VM that is called 'web1'"},
    {"little scratch",
     "{\"version\":\"0.1.0\",\"id\":\"" UUID2
     "\",\"scratch\":{\"path\":\"/s\",\"free_bytes\":1000000,\"total_bytes\":1}," STORE(
         "50000000000") "," DEFAULT ",\"hook\":true}",
     NULL, NULL, NULL, "scratch-space", FINDING_WARNING,
     "the scratch folder of alpha (/s) has 977 KiB left, each VM may use 1.00 GiB"},
    {"little scratch for the way back", NULL, NULL,
     "{\"version\":\"0.1.0\",\"id\":\"" UUID2
     "\",\"scratch\":{\"path\":\"/s\",\"free_bytes\":1000000,\"total_bytes\":1}," STORE(
         "50000000000") "," DEFAULT ",\"hook\":true}",
     NULL, "home-scratch", FINDING_WARNING,
     "the scratch folder of beta (/s) has 977 KiB left, each VM may use 1.00 GiB when it runs there"},
    {"small master", NULL,
     VMS(VM(UUID1, "web1", "{\"target\":\"vda\",\"size_bytes\":99000000000,\"problem\":null}", NIC, "null")),
     LARGE_INFO, NULL, "home-space", FINDING_WARNING,
     "the store of alpha has 46.6 GiB left, and what the VMs write while they are away may grow to 92.2 GiB"},
    {"full master", INFO("0.1.0", STORE("1000000"), DEFAULT, "true"),
     VMS(VM(UUID1, "web1", "{\"target\":\"vda\",\"size_bytes\":1,\"problem\":null}", NIC, "null")), NULL,
     NULL, "home-space", FINDING_WARNING,
     "the store of alpha has 977 KiB left, and what the VMs write while they are away may grow to 1.00 GiB"},
    {"a way back that is none", NULL, NULL, NULL, NULL, "home-fits", FINDING_WARNING,
     "'web1' could not come home from beta to alpha: the network has no bridge", NULL, GOOD_FIT, NULL,
     FIT("network-there", "the network has no bridge")},
    {"what would change at home", NULL, NULL, NULL, NULL, NULL, FINDING_WARNING, NULL, NULL, GOOD_FIT, NULL,
     FIT("media-there", "drive sda")},
    {"what only a newer master knows", NULL, NULL, NULL, NULL, NULL, FINDING_WARNING, NULL, NULL, GOOD_FIT,
     NULL, FIT("odd", "it is odd")},
    {"a way back of another shape", NULL, NULL, NULL, NULL, "home-looked", FINDING_WARNING,
     "alpha cannot say whether 'web1' could come home from beta: its answer to standby.check is not one",
     NULL, GOOD_FIT, NULL, "{}"},
    {"a poor clock",
     "{\"version\":\"0.1.0\",\"id\":\"" UUID2
     "\",\"clock_source\":\"hpet\"," STORE("50000000000") "," DEFAULT ",\"hook\":true}",
     NULL, NULL, NULL, "clock-source", FINDING_WARNING, "the kernel of alpha keeps time by 'hpet'"},
    {"what the replica finds", NULL, NULL, NULL, NULL, "network-mapped", FINDING_ERROR,
     "'web1': it is on nothing", NULL, FIT("network-mapped", "it is on nothing")},
    {"what does not go along", NULL, NULL, NULL, NULL, "media-there", FINDING_WARNING, "'web1': drive sda",
     NULL, FIT("media-there", "drive sda")},
    {"what only a newer replica knows", NULL, NULL, NULL, NULL, "replica-fits", FINDING_WARNING,
     "'web1': it is odd", NULL, FIT("odd", "it is odd")},
    {"an answer of another shape", NULL, NULL, NULL, NULL, "replica-looked", FINDING_ERROR,
     "beta cannot say whether it could run 'web1': its answer to standby.check is not one", NULL, "{}"},
    {"two interfaces with one address", NULL, VMS(VM(UUID1, "web1", DISK, NIC "," NIC, "null")), NULL, NULL,
     NULL},
    {"a trial of another shape", NULL, NULL, NULL, NULL, "host-tried", FINDING_ERROR,
     "beta cannot be tried out: its answer to host.trial is not one", NULL, NULL,
     TRIAL("{\"id\":\"trial-store\"}")},
    {"a trial that failed", NULL, NULL, NULL, NULL, "trial-socket", FINDING_ERROR,
     "on beta, it is odd: mend it", NULL, NULL,
     TRIAL("{\"id\":\"trial-socket\",\"text\":\"it is odd: mend it\"}")},
    {"a hook that is not asked is said once", NULL, NULL,
     INFO("0.1.0", STORE("50000000000"), DEFAULT, "false"), NULL, "trial-hook", FINDING_ERROR,
     "on beta, nobody asks: install it", NULL, NULL,
     TRIAL("{\"id\":\"trial-hook\",\"text\":\"nobody asks: install it\"}")},
};

static VerifyFacts *facts_of(const Scenario *s, const Case *c)
{
    VerifyFacts *f = verify_facts_new(s, NULL);
    guint n = verify_call_count(f);

    add(f, "alpha", "host.info", c->alpha_info ? c->alpha_info : GOOD_INFO);
    add(f, "alpha", "vm.list", c->alpha_vms ? c->alpha_vms : GOOD_VMS);
    add(f, "beta", "host.info", c->beta_info ? c->beta_info : GOOD_INFO);
    add(f, "alpha", "vm.check", c->check ? c->check : GOOD_CHECK);
    add(f, "alpha", "host.trial", GOOD_TRIAL);
    add(f, "beta", "host.trial", c->trial ? c->trial : GOOD_TRIAL);
    g_assert_cmpuint(verify_call_count(f), ==, n);
    add(f, "beta", "vm.list", c->beta_vms ? c->beta_vms : VMS(""));
    /* What the master said is now asked of the replica. */
    if (verify_call_count(f) > n)
        add(f, "beta", "standby.check", c->fit ? c->fit : GOOD_FIT);
    /* And what the replica made of it, of the master. */
    if (verify_call_count(f) > n + 1)
        add(f, "alpha", "standby.check", c->back ? c->back : "{\"remarks\":[]}");
    g_assert_true(verify_facts_complete(f));
    return f;
}

/* Each fault is found by exactly one check. */
static void test_checks(void)
{
    g_autoptr(Scenario) s = web();

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        const Case *c = &CASES[i];
        g_autoptr(VerifyFacts) f = facts_of(s, c);
        g_autoptr(GPtrArray) findings = verify_check(f);
        const Finding *one = findings->len ? findings->pdata[0] : NULL;

        g_test_message("%s", c->what);
        g_assert_cmpuint(findings->len, ==, c->id ? 1 : 0);
        if (!one)
            continue;
        g_assert_cmpstr(one->id, ==, c->id);
        g_assert_cmpint(one->severity, ==, c->severity);
        if (c->cause)
            g_assert_cmpstr(one->cause, ==, c->cause);
        g_assert_cmpuint(verify_errors(findings), ==, c->severity == FINDING_ERROR);
    }
}

static const json_t *asked_networks(const VerifyFacts *f)
{
    return json_object_get(verify_call(f, call_index(f, "beta", "standby.check")).params, "networks");
}

/* One network on each side maps by itself, and the replica is asked with that. */
static void test_map(void)
{
    static const Case ONE = {
        .beta_info = INFO("0.1.0", STORE("50000000000"), NETWORKS(NETWORK("lan", "true")), "true")};
    static const Case TWO = {.beta_info =
                                 INFO("0.1.0", STORE("50000000000"),
                                      NETWORKS(NETWORK("lan", "true") "," NETWORK("dmz", "true")), "true")};
    g_autoptr(Scenario) s = web();
    g_autoptr(VerifyFacts) alone = facts_of(s, &ONE);
    g_autoptr(VerifyFacts) two = facts_of(s, &TWO);
    json_auto_t *by_itself = verify_networks(alone);
    json_auto_t *lan = json_pack("{s:s}", "default", "lan");

    g_assert_true(json_equal(by_itself, lan));
    g_assert_true(json_equal(asked_networks(alone), lan));
    g_assert_cmpuint(json_object_size(asked_networks(two)), ==, 0);
}

/* The master is asked as a standby would be: with what came of the VM, and the map read backwards. */
static void test_way_back(void)
{
    static const Case OFFICE = {
        .alpha_info = INFO("0.1.0", STORE("50000000000"),
                           NETWORKS(NETWORK("default", "true") "," NETWORK("dmz", "true")), "true"),
        .beta_info = INFO("0.1.0", STORE("50000000000"), NETWORKS(NETWORK("office", "true")), "true")};
    static const Case OLD = {.fit = "{\"remarks\":[]}"};
    g_autoptr(Scenario) s = web();
    g_autoptr(VerifyFacts) old = facts_of(s, &OLD);
    g_autoptr(VerifyFacts) f = NULL;
    json_auto_t *office = json_pack("{s:s}", "office", "default");
    const json_t *params;

    for (guint i = 0; i < verify_call_count(old); i++)
        g_assert_false(g_str_equal(verify_call(old, i).host, "alpha") &&
                       g_str_equal(verify_call(old, i).method, "standby.check"));
    g_assert_true(mapping_set(s->map, "default", "office", NULL));
    g_assert_true(mapping_set(s->map, "dmz", "office", NULL));
    f = facts_of(s, &OFFICE);
    params = verify_call(f, call_index(f, "alpha", "standby.check")).params;
    g_assert_cmpstr(json_string_value(json_object_get(params, "definition")), ==, "<domain type='there'/>");
    g_assert_cmpstr(json_string_value(json_object_get(params, "host")), ==, "alpha");
    g_assert_cmpstr(json_string_value(json_object_get(params, "from")), ==, UUID2);
    g_assert_true(json_equal(json_object_get(params, "networks"), office));
}

/* It keeps nobody from being switched over. */
static void test_way_back_is_no_takeover(void)
{
    static const Case CASE = {.fit = GOOD_FIT, .back = FIT("network-there", "it is gone")};
    g_autoptr(Scenario) s = web();
    g_autoptr(VerifyFacts) f = facts_of(s, &CASE);
    g_autoptr(GPtrArray) findings = verify_check(f);

    g_assert_cmpuint(findings->len, ==, 1);
    g_assert_cmpstr(((const Finding *)findings->pdata[0])->remedy, ==,
                    "define and start the network there, with autostart, or map another");
    g_assert_null(verify_failure(findings));
    g_assert_false(((const Finding *)findings->pdata[0])->bars_move);
}

static void expect_one(const VerifyFacts *f, const char *id, const char *cause)
{
    g_autoptr(GPtrArray) findings = verify_check(f);

    g_assert_cmpuint(findings->len, ==, 1);
    g_assert_cmpstr(((const Finding *)findings->pdata[0])->id, ==, id);
    g_assert_cmpstr(((const Finding *)findings->pdata[0])->cause, ==, cause);
}

static Scenario *seeded(void)
{
    Scenario *s = web();

    g_assert_true(policy_set(&s->policy, "seed", "/media/usb", NULL));
    return s;
}

/* All that is asked of a scenario with a seed, and @said (NULL: @failure) of it. */
static VerifyFacts *seed_facts(const Scenario *s, const char *said, const GError *failure)
{
    VerifyFacts *f = verify_facts_new(s, NULL);

    for (guint i = 0; i < verify_call_count(f); i++) {
        const char *method = verify_call(f, i).method;
        gboolean master = g_str_equal(verify_call(f, i).host, "alpha");
        const char *text = g_str_equal(method, "host.info")       ? GOOD_INFO
                           : g_str_equal(method, "vm.list")       ? (master ? GOOD_VMS : VMS(""))
                           : g_str_equal(method, "vm.check")      ? GOOD_CHECK
                           : g_str_equal(method, "standby.check") ? "{\"remarks\":[]}"
                           : g_str_equal(method, "standby.seed")  ? said
                                                                  : GOOD_TRIAL;
        json_auto_t *doc = text ? json_loads(text, 0, NULL) : NULL;

        verify_facts_add(f, i, doc, text ? NULL : failure);
    }
    return f;
}

/* Its replica is asked what is there, and says why something cannot be used. */
static void test_seed(void)
{
    static const struct {
        const char *said, *id, *cause;
    } SEEDS[] = {
        {"{\"vms\":[{\"vm\":\"" UUID1 "\",\"disks\":{\"vda\":65536},\"why\":null}]}", NULL, NULL},
        {"{\"vms\":[{\"vm\":\"" UUID1 "\",\"disks\":{},\"why\":\"no copy of it is in /media/usb\"}]}",
         "seed-usable", "the seed of 'web1' on beta: no copy of it is in /media/usb"},
        {"{\"vms\":[{\"vm\":\"x\"}]}", "seed-looked",
         "beta cannot look into the folder of the seed, /media/usb: its answer to standby.seed is not one"},
        {NULL, "seed-looked", "beta cannot look into the folder of the seed, /media/usb: it hangs"},
    };
    g_autoptr(GError) hangs = g_error_new_literal(US_ERROR, US_ERROR_TIMEOUT, "it hangs");
    g_autoptr(Scenario) s = seeded();
    json_auto_t *running = json_object();
    json_auto_t *asked = json_pack("{s:s, s:[{s:s, s:s, s:{s:s}}]}", "seed", "/media/usb", "vms", "vm", UUID1,
                                   "name", "web1", "images", "vda", "d");
    g_autoptr(VerifyFacts) runs = verify_facts_new(s, running);

    for (guint i = 0; i < G_N_ELEMENTS(SEEDS); i++) {
        g_autoptr(VerifyFacts) f = seed_facts(s, SEEDS[i].said, hangs);
        g_autoptr(GPtrArray) findings = verify_check(f);

        g_assert_true(json_equal(verify_call(f, call_index(f, "beta", "standby.seed")).params, asked));
        g_assert_cmpuint(findings->len, ==, SEEDS[i].id ? 1 : 0);
        g_assert_cmpuint(verify_errors(findings), ==, 0);
        if (SEEDS[i].id)
            expect_one(f, SEEDS[i].id, SEEDS[i].cause);
    }
    /* One that runs has begun from it, or will not any more. */
    add(runs, "alpha", "host.info", GOOD_INFO);
    add(runs, "alpha", "vm.list", GOOD_VMS);
    add(runs, "beta", "host.info", GOOD_INFO);
    add(runs, "alpha", "vm.check", GOOD_CHECK);
    add(runs, "alpha", "host.trial", GOOD_TRIAL);
    add(runs, "beta", "host.trial", GOOD_TRIAL);
    add(runs, "beta", "vm.list", VMS(""));
    for (guint i = 0; i < verify_call_count(runs); i++)
        g_assert_cmpstr(verify_call(runs, i).method, !=, "standby.seed");
}

/* What the controller knows by itself, and whether the three are three. */
static void test_apart(void)
{
    static const Case GUEST = {
        .beta_info = "{\"version\":\"0.1.0\",\"id\":\"" UUID2 "\",\"system_uuid\":\"" UUID1
                     "\",\"machine_id\":\"m\"," STORE("50000000000") "," DEFAULT ",\"hook\":true}"};
    g_autoptr(Scenario) s = web();
    g_autoptr(VerifyFacts) well = facts_of(s, &CASES[0]);
    g_autoptr(VerifyFacts) guest = facts_of(s, &GUEST);
    g_autoptr(GPtrArray) findings = NULL;

    verify_facts_set_clock(well, "alpha", -500);
    verify_facts_set_clock(well, "beta", 1400);
    verify_facts_set_machine(well, &(VerifyMachine){"", "", ""});
    findings = verify_check(well);
    g_assert_cmpuint(findings->len, ==, 0);
    verify_facts_set_clock(well, "beta", 4800);
    expect_one(well, "clocks-agree", "the clocks of alpha and beta are 5.3 s apart");
    expect_one(guest, "replica-apart", "beta is a guest of alpha, the VM 'web1'");
    verify_facts_set_machine(guest, &(VerifyMachine){"m", "", ""});
    g_ptr_array_unref(findings);
    findings = verify_check(guest);
    g_assert_cmpuint(findings->len, ==, 2);
    g_assert_cmpstr(((const Finding *)findings->pdata[1])->cause, ==,
                    "the controller runs on beta, a replica of this scenario");
}

#define DEFINITION(network)                                                                          \
    "{\"problems\":[],\"remarks\":[],\"data_bytes\":1,\"definition\":\"<domain><devices><interface " \
    "type='network'>"                                                                                \
    "<source network='" network "'/></interface></devices></domain>\"}"

static void expect_fix(const Case *c, const char *from, const char *to, const char *what)
{
    g_autoptr(Scenario) s = web();
    g_autoptr(VerifyFacts) f = NULL;
    g_autoptr(GPtrArray) findings = NULL;
    g_autoptr(GPtrArray) fixes = NULL;

    if (from)
        g_assert_true(mapping_set(s->map, from, to, NULL));
    f = facts_of(s, c);
    findings = verify_check(f);
    fixes = verify_fixes(f, findings);
    g_assert_cmpuint(fixes->len, ==, what ? 1 : 0);
    if (what)
        g_assert_cmpstr(((const Fix *)fixes->pdata[0])->text, ==, what);
}

/* What can be put right by itself, in the words that its operator says yes to. */
static void test_fixes(void)
{
    static const char ALPHA[] = INFO("0.1.0", STORE("50000000000"),
                                     NETWORKS(NETWORK("default", "true") "," NETWORK("dmz", "true")), "true");
    static const char BETA[] =
        INFO("0.1.0", STORE("50000000000"),
             NETWORKS(NETWORK("lan", "true") "," NETWORK("asleep", "false") "," NETWORK("default", "true")),
             "true");
    static const Case CASE = {.alpha_info = ALPHA, .beta_info = BETA, .check = DEFINITION("default")};
    static const Case ON_DMZ = {.alpha_info = ALPHA, .beta_info = BETA, .check = DEFINITION("dmz")};
    static const Case ON_NOWHERE = {.alpha_info = ALPHA, .beta_info = BETA, .check = DEFINITION("nowhere")};

    expect_fix(&CASES[0], NULL, NULL, NULL);
    expect_fix(&CASE, "default", "lan", NULL);
    expect_fix(&CASE, "default", "asleep", "start network 'asleep' on beta, now and whenever beta starts");
    expect_fix(&CASE, "default", "gone",
               "define network 'gone' on beta as alpha has 'default', and start it");
    expect_fix(&CASE, NULL, NULL, "map 'default' of alpha to 'default' of beta");
    expect_fix(&ON_DMZ, NULL, NULL,
               "define network 'dmz' on beta as alpha has 'dmz', and start it; map the one to the other");
    expect_fix(&ON_NOWHERE, NULL, NULL, NULL);
    expect_fix(&ON_NOWHERE, "bridge:br0", "gone", NULL);
}

static void expect_rule_found(const char *from, const char *to, const char *back, const char *cause)
{
    static const Case CASE = {
        .beta_info = INFO("0.1.0", STORE("50000000000"),
                          NETWORKS(NETWORK("lan", "true") "," NETWORK("asleep", "false")), "true")};
    g_autoptr(Scenario) s = web();
    g_autoptr(VerifyFacts) f = NULL;
    g_autoptr(GPtrArray) findings = NULL;

    g_assert_true(mapping_set(s->map, from, to, NULL));
    if (back)
        g_assert_true(mapping_set(s->map, to, back, NULL));
    f = facts_of(s, &CASE);
    findings = verify_check(f);
    g_assert_cmpuint(findings->len, ==, 1);
    g_assert_cmpstr(((const Finding *)findings->pdata[0])->id, ==, "map-leads");
    g_assert_cmpstr(((const Finding *)findings->pdata[0])->cause, ==, cause);
    {
        json_auto_t *doc = verify_to_json(findings);

        g_assert_cmpuint(json_array_size(json_object_get(doc, "findings")), ==, 1);
    }
}

static void test_rules(void)
{
    expect_rule_found("gone", "lan", NULL, "'gone' is mapped, which alpha does not have");
    expect_rule_found("default", "gone", NULL,
                      "'default' is mapped to 'gone', which beta does not have, or has not started");
    expect_rule_found("default", "asleep", NULL,
                      "'default' is mapped to 'asleep', which beta does not have, or has not started");
    expect_rule_found(
        "default", "lan,test=gone", NULL,
        "tests of what is on 'default' are mapped to 'gone', which beta does not have, or has not started");
}

/* A loop: the way back is in the rule already. */
static void test_turned_rule(void)
{
    static const Case CASE = {
        .beta_info = INFO("0.1.0", STORE("50000000000"), NETWORKS(NETWORK("lan", "true")), "true")};
    g_autoptr(Scenario) s = web();
    g_autoptr(VerifyFacts) f = NULL;
    g_autoptr(GPtrArray) findings = NULL;

    g_assert_true(mapping_set(s->map, "default", "lan", NULL));
    g_assert_true(mapping_set(s->map, "lan", "default", NULL));
    f = facts_of(s, &CASE);
    findings = verify_check(f);
    g_assert_cmpuint(findings->len, ==, 2);
    g_assert_cmpstr(((const Finding *)findings->pdata[0])->cause, ==,
                    "'lan' is mapped, which alpha does not have; the rule for the way there is the rule for "
                    "the way back");
}

/* Two VMs of one scenario with one MAC address on one network. */
static void test_macs(void)
{
    static const Case CASE = {
        .alpha_vms = VMS(VM(UUID1, "web1", DISK, NIC, "null") "," VM(UUID2, "web2", DISK, NIC, "null"))};
    g_autoptr(Scenario) s = web();
    g_autoptr(VerifyFacts) f = NULL;
    g_autoptr(GPtrArray) findings = NULL;
    Id second;

    g_assert_true(id_parse(UUID2, &second, NULL));
    scenario_add_vm(s, second, "web2");
    f = verify_facts_new(s, NULL);
    for (guint i = 0; !verify_facts_complete(f); i++) {
        VerifyCall call = verify_call(f, i);
        gboolean master = g_str_equal(call.host, "alpha");
        const char *text = g_str_equal(call.method, "host.info")    ? GOOD_INFO
                           : g_str_equal(call.method, "vm.list")    ? master ? CASE.alpha_vms : VMS("")
                              : g_str_equal(call.method, "host.trial") ? GOOD_TRIAL
                           : g_str_equal(call.method, "vm.check")   ? GOOD_CHECK
                                                                    : FIT("media-there", "x");
        json_auto_t *doc = json_loads(text, 0, NULL);

        verify_facts_add(f, i, doc, NULL);
    }
    findings = verify_check(f);
    g_assert_cmpuint(findings->len, ==, 3);
    g_assert_cmpstr(((const Finding *)findings->pdata[0])->cause, ==,
                    "'web1' and 'web2' both have the MAC address 52:54:00:00:00:01 on 'default'");
}

/* A silent engine is one finding, not ten. */
static void test_silent_engine(void)
{
    g_autoptr(Scenario) s = web();
    g_autoptr(VerifyFacts) f = verify_facts_new(s, NULL);
    g_autoptr(GError) silence = g_error_new(US_ERROR, US_ERROR_UNREACHABLE, "no route to 10.0.0.2");
    g_autoptr(GPtrArray) findings = NULL;
    g_autoptr(GError) failure = NULL;
    json_auto_t *doc = NULL;

    add(f, "alpha", "host.info", GOOD_INFO);
    add(f, "alpha", "vm.list", GOOD_VMS);
    add(f, "alpha", "vm.check", GOOD_CHECK);
    add(f, "alpha", "host.trial", GOOD_TRIAL);
    verify_facts_add(f, call_index(f, "beta", "host.trial"), NULL, silence);
    verify_facts_add(f, call_index(f, "beta", "host.info"), NULL, silence);
    verify_facts_add(f, call_index(f, "beta", "vm.list"), NULL, silence);
    g_assert_null(verify_silence(f, "alpha"));
    failure = verify_silence(f, "beta");
    g_assert_error(failure, US_ERROR, US_ERROR_UNREACHABLE);
    g_clear_error(&failure);
    findings = verify_check(f);
    g_assert_cmpuint(findings->len, ==, 1);
    failure = verify_failure(findings);
    g_assert_error(failure, US_ERROR, US_ERROR_VERIFY);
    g_assert_cmpstr(
        failure->message, ==,
        "the engine of beta cannot be asked: no route to 10.0.0.2: nothing can be replicated; look at the "
        "host, its network and the understudy-engine service");
    doc = verify_to_json(findings);
    g_assert_cmpint(json_integer_value(json_object_get(doc, "errors")), ==, 1);
    g_assert_cmpint(json_integer_value(json_object_get(doc, "warnings")), ==, 0);
    g_assert_cmpstr(
        json_string_value(json_object_get(json_array_get(json_object_get(doc, "findings"), 0), "host")), ==,
        "beta");
}

static void test_bytes(void)
{
    g_autoptr(Scenario) s = web();
    g_autoptr(VerifyFacts) f = facts_of(s, &CASES[0]);
    gint64 size_bytes, data_bytes;
    Id uuid;

    g_assert_true(id_parse(UUID1, &uuid, NULL));
    g_assert_true(verify_vm_bytes(f, uuid, &size_bytes, &data_bytes));
    g_assert_cmpint(size_bytes, ==, 1073741824);
    g_assert_cmpint(data_bytes, ==, 1000000);
    g_assert_true(id_parse(UUID2, &uuid, NULL));
    g_assert_false(verify_vm_bytes(f, uuid, &size_bytes, &data_bytes));
}

static void test_no_failure(void)
{
    g_autoptr(Scenario) s = web();
    g_autoptr(VerifyFacts) f = facts_of(s, &CASES[0]);
    g_autoptr(GPtrArray) findings = verify_check(f);

    g_assert_null(verify_failure(findings));
}

/* Only a change of the answer is news, the worst of it first; what is measured does not count. */
static void test_memory(void)
{
    static const Case SMALL = {.beta_info = INFO("0.1.0", STORE("1000000"), DEFAULT, "true")};
    static const Case SMALLER = {.beta_info = INFO("0.1.0", STORE("900000"), DEFAULT, "true")};
    static const Case REMARK = {.check = CHECK("", "\"it is slow\"")};
    g_autoptr(Scenario) s = web();
    g_autoptr(VerifyFacts) as_it_was = facts_of(s, &CASES[0]);
    g_autoptr(VerifyFacts) with_little = facts_of(s, &SMALL);
    g_autoptr(VerifyFacts) with_less = facts_of(s, &SMALLER);
    g_autoptr(VerifyFacts) with_a_remark = facts_of(s, &REMARK);
    g_autoptr(GPtrArray) well = verify_check(as_it_was);
    g_autoptr(GPtrArray) small = verify_check(with_little);
    g_autoptr(GPtrArray) smaller = verify_check(with_less);
    g_autoptr(GPtrArray) slow = verify_check(with_a_remark);
    g_autoptr(VerifyMemory) knows_well = verify_memory_new(well);
    g_autoptr(VerifyMemory) knows_small = verify_memory_new(small);
    g_autoptr(Event) trouble = verify_memory_news(knows_well, small, "web");
    g_autoptr(Event) first = verify_memory_news(NULL, small, "web");
    g_autoptr(Event) clear = verify_memory_news(knows_small, slow, "web");
    g_autoptr(Event) remark = verify_memory_news(knows_well, slow, "web");

    g_assert_cmpint(trouble->code, ==, EVENT_VERIFY_TROUBLE);
    g_assert_cmpstr(trouble->host, ==, "beta");
    g_assert_nonnull(strstr(trouble->text, "the store of beta has 977 KiB left"));
    g_assert_cmpint(first->code, ==, EVENT_VERIFY_TROUBLE);
    g_assert_cmpint(clear->code, ==, EVENT_VERIFY_CLEAR);
    g_assert_cmpint(remark->code, ==, EVENT_VERIFY_REMARK);
    g_assert_null(verify_memory_news(knows_small, smaller, "web"));
    g_assert_null(verify_memory_news(knows_well, well, "web"));
    g_assert_null(verify_memory_news(NULL, slow, "web"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/verify/checks", test_checks);
    g_test_add_func("/verify/map", test_map);
    g_test_add_func("/verify/way-back", test_way_back);
    g_test_add_func("/verify/way-back-is-no-takeover", test_way_back_is_no_takeover);
    g_test_add_func("/verify/seed", test_seed);
    g_test_add_func("/verify/apart", test_apart);
    g_test_add_func("/verify/fixes", test_fixes);
    g_test_add_func("/verify/rules", test_rules);
    g_test_add_func("/verify/turned-rule", test_turned_rule);
    g_test_add_func("/verify/macs", test_macs);
    g_test_add_func("/verify/silent-engine", test_silent_engine);
    g_test_add_func("/verify/memory", test_memory);
    g_test_add_func("/verify/bytes", test_bytes);
    g_test_add_func("/verify/no-failure", test_no_failure);
    return g_test_run();
}
