/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/verification.h"

#include "orchestrator/fence_file.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/machine.h"

/* Reading hundreds of definitions takes libvirt some seconds. */
#define LIMIT_MS 30000
/* A host is tried out with a VM, and asked for its ways on the same thread: more than its engine's own time for that, less than the command line waits. */
#define TRIAL_LIMIT_MS 90000

typedef struct {
    Hosts *hosts;
    VerifyFacts *facts;
    guint asked; /* calls */
    VerificationDone done;
    void *user;
} Verification;

typedef struct {
    Verification *verification;
    guint index;
} Question;

static void ask_all(Verification *v);

static void on_answer(void *user, const json_t *result, const GError *error)
{
    g_autofree Question *q = user;
    Verification *v = q->verification;

    verify_facts_add(v->facts, q->index, result, error);
    ask_all(v);
    if (!verify_facts_complete(v->facts))
        return;
    v->done(v->user, v->facts);
    verify_facts_free(v->facts);
    g_free(v);
}

static void ask(Verification *v, guint index)
{
    VerifyCall call = verify_call(v->facts, index);
    gboolean waits = g_str_equal(call.method, "host.trial") || g_str_equal(call.method, "host.routes");
    gint64 limit_ms = waits ? TRIAL_LIMIT_MS : LIMIT_MS;
    Question *q = g_new0(Question, 1);

    *q = (Question){v, index};
    hosts_call(v->hosts, call.host, call.method, call.params, limit_ms, on_answer, q);
}

/* Answers may bring more questions. */
static void ask_all(Verification *v)
{
    while (v->asked < verify_call_count(v->facts))
        ask(v, v->asked++);
}

static void tell_machine(VerifyFacts *facts)
{
    g_autofree char *machine = machine_id();
    g_autofree char *system_uuid = machine_system_uuid();
    Id boot = ID_NIL;

    machine_boot_id(&boot, NULL);
    verify_facts_set_machine(facts,
                             &(VerifyMachine){machine, id_is_nil(boot) ? "" : ID_TEXT(boot), system_uuid});
}

static void tell_of(const Hosts *hosts, VerifyFacts *facts, const char *host)
{
    const RosterHost *known = roster_find(hosts_roster(hosts), host);
    g_autoptr(FenceFile) fence = fence_file_read(FENCE_FOLDER, host, NULL);
    gint64 offset_ms;

    if (hosts_clock_offset(hosts, host, &offset_ms))
        verify_facts_set_clock(facts, host, offset_ms);
    if (known)
        verify_facts_set_addresses(facts, host, (const char *const *)known->addresses);
    if (fence)
        verify_facts_set_fence(facts, host);
}

static void tell_what_we_know(const Hosts *hosts, VerifyFacts *facts, const Scenario *s)
{
    tell_machine(facts);
    tell_of(hosts, facts, s->master);
    for (guint i = 0; i < s->replicas->len; i++)
        tell_of(hosts, facts, s->replicas->pdata[i]);
}

static void start(Hosts *hosts, VerifyFacts *steal_facts, VerificationDone done, void *user)
{
    Verification *v = g_new0(Verification, 1);

    *v = (Verification){hosts, steal_facts, 0, done, user};
    ask_all(v);
}

void verification_start(Hosts *hosts, const Scenario *scenario, const json_t *networks, VerificationDone done,
                        void *user)
{
    VerifyFacts *facts = verify_facts_new(scenario, networks);

    tell_what_we_know(hosts, facts, scenario);
    start(hosts, facts, done, user);
}

void verification_start_move(Hosts *hosts, const Protection *p, const Plan *plan, VerificationDone done,
                             void *user)
{
    start(hosts, verify_move_facts(p, plan), done, user);
}
