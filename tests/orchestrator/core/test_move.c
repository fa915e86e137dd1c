/* SPDX-License-Identifier: Apache-2.0 */
/* The look before a move: what is asked of whom, in which direction, and what keeps a guest from being shut down. */
#include "orchestrator/core/verify_move.h"
#include "vmconnect/base/error.h"
#include "world.h"

#include <string.h>

#define FREE "50000000000"
#define INFO(id, free)                                                                                    \
    "{\"version\":\"0.1.0\",\"id\":\"" id "\",\"store\":{\"path\":\"/s\",\"free_bytes\":" free            \
    ",\"total_bytes\":100000000000},\"networks\":[{\"name\":\"default\",\"bridge\":null,\"active\":true," \
    "\"portgroups\":[]}],\"bridges\":[],\"hook\":true}"
#define ID_A "a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1"
#define ID_B "b2b2b2b2-b2b2-b2b2-b2b2-b2b2b2b2b2b2"
#define WEB1 "11111111-1111-1111-1111-111111111111"
#define WEB2 "12121212-1212-1212-1212-121212121212"
#define OTHER "99999999-9999-9999-9999-999999999999"
#define VM_AS(uuid, name, more)                                                                          \
    "{\"uuid\":\"" uuid "\",\"name\":\"" name "\",\"state\":\"running\",\"disks\":[],\"interfaces\":[]," \
    "\"scenario\":null" more "}"
#define VM(uuid, name) VM_AS(uuid, name, "")
#define VMS(list) "{\"vms\":[" list "]}"
#define GOOD_CHECK "{\"problems\":[],\"remarks\":[],\"data_bytes\":1,\"definition\":\"<domain/>\"}"
#define FIT(id, cause) "{\"remarks\":[{\"id\":\"" id "\",\"cause\":\"" cause "\"}]}"
#define GOOD_FIT "{\"remarks\":[],\"definition\":\"<domain type='there'/>\"}"
#define TRIAL(id) "{\"problems\":[{\"id\":\"" id "\",\"text\":\"it is odd: mend it\"}]}"

/* What the two hosts say: who runs the VMs, and who shall. NULL: all is well; "": nothing. */
typedef struct {
    const char *what;
    const char *bar; /* the first words of the refusal; NULL: there is none */
    const char *info, *vms, *fit, *trial;
    const char *from_vms, *check;
} Hosts;

static const char NO_ANSWER[] = "";

static const char *answer_of(const Hosts *h, const char *from, const VerifyCall *call)
{
    gboolean leaves = g_str_equal(call->host, from);
    const char *said = g_str_equal(call->method, "host.info")       ? (leaves ? NULL : h->info)
                       : g_str_equal(call->method, "vm.list")       ? (leaves ? h->from_vms : h->vms)
                       : g_str_equal(call->method, "vm.check")      ? h->check
                       : g_str_equal(call->method, "standby.check") ? h->fit
                                                                    : h->trial;

    if (said)
        return said;
    if (g_str_equal(call->method, "host.info"))
        return g_str_equal(call->host, "alpha") ? INFO(ID_A, FREE) : INFO(ID_B, FREE);
    if (g_str_equal(call->method, "vm.list"))
        return leaves ? VMS(VM(WEB1, "web1") "," VM(WEB2, "web2")) : VMS("");
    return g_str_equal(call->method, "vm.check")        ? GOOD_CHECK
           : g_str_equal(call->method, "standby.check") ? GOOD_FIT
                                                        : "{\"problems\":[]}";
}

/* "beta standby.check from a1a1… {"default": "lan"}\n" */
static void note(GString *trace, const VerifyCall *call)
{
    const json_t *networks = json_object_get(call->params, "networks");
    g_autofree char *map = networks ? json_dumps(networks, JSON_SORT_KEYS) : NULL;

    g_string_append_printf(trace, "%s %s", call->host, call->method);
    if (map)
        g_string_append_printf(trace, " from %.4s %s",
                               json_string_value(json_object_get(call->params, "from")), map);
    g_string_append_c(trace, '\n');
    if (map)
        g_assert_cmpstr(json_string_value(json_object_get(call->params, "host")), ==, call->host);
}

/* Everything is asked and answered; the trace says what. */
static GPtrArray *look(World *w, const Plan *plan, const Hosts *h)
{
    static VerifyFacts *facts; /* its findings borrow the hosts' names */
    g_autoptr(GError) silent = g_error_new_literal(US_ERROR, US_ERROR_UNREACHABLE, "it is silent");

    g_clear_pointer(&facts, verify_facts_free);
    world_forget(w);
    facts = verify_move_facts(w->p, plan);
    for (guint i = 0; i < verify_call_count(facts); i++) {
        VerifyCall call = verify_call(facts, i);
        const char *text = answer_of(h, plan->from, &call);
        json_auto_t *doc = *text ? json_loads(text, 0, NULL) : NULL;

        g_assert_true(doc || !*text);
        note(w->trace, &call);
        verify_facts_add(facts, i, doc, doc ? NULL : silent);
    }
    g_assert_true(verify_facts_complete(facts));
    return verify_check(facts);
}

/* Protected, and told the map {"default": "lan"}. */
static World *running(guint vms)
{
    World *w = world_new(vms);
    json_auto_t *networks = json_pack("{s:s}", "default", "lan");

    world_do(w, INPUT_RUN);
    g_assert_true(world_step(w, (Input){.kind = INPUT_VERIFIED, .networks = networks}, NULL));
    for (guint i = 1; i <= vms; i++) {
        world_answer(w, "beta", "standby.admit", i, -1, NULL);
        world_answer(w, "alpha", "active.protect", i, -1, NULL);
        world_news(w, i, "protected", 500, NULL);
    }
    return w;
}

static World *away(guint vms)
{
    World *w = running(vms);

    world_moved(w, "beta", 2, TRUE);
    for (guint i = 1; i <= vms; i++) {
        world_answer(w, "alpha", "standby.admit", i, -1, NULL);
        world_answer(w, "beta", "active.protect", i, -1, NULL);
        world_news(w, i, "protected", 500, NULL);
    }
    return w;
}

static Plan *planned(const World *w, PlanOptions o)
{
    g_autoptr(GError) error = NULL;
    Plan *plan;

    o.id = world_id(0x77);
    o.reign = world_id(0x88);
    plan = plan_switchover(w->p, &o, &error);
    g_assert_no_error(error);
    return plan;
}

/* Who shall run it is tried out, and judges what the other says that it is, by the map as it was told that. */
static void test_there(void)
{
    g_autoptr(World) w = running(2);
    g_autoptr(Plan) plan = planned(w, (PlanOptions){0});
    g_autoptr(GPtrArray) findings = look(w, plan, &(Hosts){0});

    g_assert_no_error(verify_move_failure(findings));
    world_expect(w, "alpha host.info\n"
                    "alpha vm.list\n"
                    "beta host.info\n"
                    "beta vm.list\n"
                    "beta host.trial\n"
                    "alpha vm.check\n"
                    "alpha vm.check\n"
                    "beta standby.check from a1a1 {\"default\": \"lan\"}\n"
                    "beta standby.check from a1a1 {\"default\": \"lan\"}\n");
}

/* The same the other way round. */
static void test_home(void)
{
    g_autoptr(World) w = away(1);
    g_autoptr(Plan) plan = planned(w, (PlanOptions){.home = TRUE});
    g_autoptr(GPtrArray) findings = look(w, plan, &(Hosts){0});

    g_assert_no_error(verify_move_failure(findings));
    world_expect(w, "beta host.info\n"
                    "beta vm.list\n"
                    "alpha host.info\n"
                    "alpha vm.list\n"
                    "alpha host.trial\n"
                    "beta vm.check\n"
                    "alpha standby.check from b2b2 {\"lan\": \"default\"}\n");
}

static const Hosts HOSTS[] = {
    {"all is well"},
    {"its network is gone", "'web1': it is on nothing (network-there): define and start the network",
     .fit = FIT("network-there", "it is on nothing")},
    {"something of it does not go along", .fit = FIT("media-there", "drive sda")},
    {"another has its name", "%s has another VM that is called 'web1' (replica-name): rename one of the two",
     .vms = VMS(VM(OTHER, "web1"))},
    {"another has its UUID",
     "%s has a VM with the UUID of 'web1' (it is running) (replica-uuid): ", .vms = VMS(VM(WEB1, "copy"))},
    {"it was left there",
     .vms = VMS("{\"uuid\":\"" WEB1 "\",\"name\":\"web1\",\"state\":\"off\",\"disks\":[],\"interfaces\":[],"
                "\"scenario\":null,\"given_up\":true}")},
    {"no room", "the store of %s has 977 KiB left (replica-full): make room", .info = INFO(ID_B, "1000000")},
    {"nothing can be defined", "on %s, it is odd: mend it (trial-define): ", .trial = TRIAL("trial-define")},
    {"nothing starts", "on %s, it is odd: mend it (trial-start): ", .trial = TRIAL("trial-start")},
    {"the scratch folder is full", .trial = TRIAL("trial-scratch")},
    {"it cannot be tried out", "%s cannot be tried out: it is silent (host-tried): ", .trial = NO_ANSWER},
    {"it cannot say",
     "%s cannot say whether it could run 'web1': it is silent (replica-looked): ", .fit = NO_ANSWER},
    {"it is silent", "the engine of %s cannot be asked: it is silent (engine-answers): ", .info = NO_ANSWER},
    /* One moves away from what is sick. */
    {"nobody says what the VM is", .check = NO_ANSWER},
    {"the VM is gone", "%s has no VM 'web1'", .from_vms = VMS("")},
    {"a disk cannot be tracked",
     .check = "{\"problems\":[\"it is raw\"],\"remarks\":[],\"data_bytes\":1,\"definition\":\"<domain/>\"}"},
    {"two things",
     "%s has another VM that is called 'web1' (replica-name): rename one of the two (and 1 more); nothing "
     "was shut down",
     .vms = VMS(VM(OTHER, "web1")), .fit = FIT("network-there", "it is on nothing")},
};

/* Each of HOSTS, said by the host that shall run the VMs, or by the one that does. */
static void check_all(World *w, const Plan *plan)
{
    for (guint i = 0; i < G_N_ELEMENTS(HOSTS); i++) {
        const Hosts *h = &HOSTS[i];
        g_autoptr(GPtrArray) findings = look(w, plan, h);
        g_autoptr(GError) failure = verify_move_failure(findings);
        g_auto(GStrv) parts = g_strsplit(h->bar ? h->bar : "", "%s", 2);
        g_autofree char *wanted = g_strjoinv(h->from_vms ? plan->from : plan->to, parts);

        g_test_message("to %s: %s: %s", plan->to, h->what, failure ? failure->message : "");
        if (!h->bar) {
            g_assert_no_error(failure);
            continue;
        }
        g_assert_error(failure, US_ERROR, US_ERROR_VERIFY);
        g_assert_true(g_str_has_prefix(failure->message, wanted));
        g_assert_true(g_str_has_suffix(failure->message, "; nothing was shut down"));
    }
}

/* What would keep a VM from being started where it goes, or leaves that unknown, keeps it from being shut down; what would
 * only be a pity there does not. In both directions. */
static void test_bars(void)
{
    g_autoptr(World) here = running(1);
    g_autoptr(World) there = away(1);
    g_autoptr(Plan) go = planned(here, (PlanOptions){0});
    g_autoptr(Plan) back = planned(there, (PlanOptions){.home = TRUE});

    check_all(here, go);
    check_all(there, back);
}

/* What stands in the way of a VM that stays does not count. */
static void test_only_who_moves(void)
{
    g_autoptr(World) w = running(2);
    const Id second = world_vm(2);
    g_autoptr(Plan) plan = planned(w, (PlanOptions){.vms = &second, .vm_count = 1});
    g_autoptr(GPtrArray) findings = look(w, plan, &(Hosts){.vms = VMS(VM(OTHER, "web1"))});

    g_assert_no_error(verify_move_failure(findings));
}

/* Nobody is left to say what the VM is, and nobody waits for a trial: what is known at once is told. */
static void test_forced(void)
{
    g_autoptr(World) w = running(1);
    g_autoptr(Plan) plan = NULL;
    g_autoptr(GPtrArray) findings = NULL;
    json_auto_t *warnings = NULL;

    world_link(w, "alpha", FALSE);
    plan = planned(w, (PlanOptions){.force = TRUE});
    findings =
        look(w, plan, &(Hosts){.from_vms = NO_ANSWER, .check = NO_ANSWER, .vms = VMS(VM(OTHER, "web1"))});
    world_expect(w, "alpha host.info\n"
                    "alpha vm.list\n"
                    "beta host.info\n"
                    "beta vm.list\n"
                    "alpha vm.check\n");
    warnings = verify_move_warnings(findings, "beta");
    g_assert_cmpuint(json_array_size(warnings), ==, 1);
    g_assert_cmpstr(json_string_value(json_array_get(warnings, 0)), ==,
                    "beta has another VM that is called 'web1' (replica-name): rename one of the two");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/move/there", test_there);
    g_test_add_func("/move/home", test_home);
    g_test_add_func("/move/bars", test_bars);
    g_test_add_func("/move/only-who-moves", test_only_who_moves);
    g_test_add_func("/move/forced", test_forced);
    return g_test_run();
}
