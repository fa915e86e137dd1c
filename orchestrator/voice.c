/* SPDX-License-Identifier: Apache-2.0 */
#include "orchestrator/voice.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/base/log.h"

#define ASK_LIMIT_MS 5000

struct Voice {
    Hosts *hosts;
    Scenarios *scenarios;
    guint64 incarnation;
    Clerk *clerk; /* NULL: it ends */
    Voters *voters;
    GHashTable *asked; /* set of Id *: whose standby is asked what it has promised */
};

static const Protection *find_protection(const Voice *v, Id vm)
{
    const char *name = scenarios_of_vm(v->scenarios, vm);

    return name ? scenarios_find(v->scenarios, name, NULL) : NULL;
}

/* --- renewing ------------------------------------------------------------------ */

typedef struct {
    Voice *voice;
    char *host;
} Renewing;

static void on_told(void *user, const json_t *result, const GError *error)
{
    (void)user;
    (void)result;
    if (error)
        log_debug("an answer to a renewal did not arrive: %s", error->message);
}

static void on_renewed(void *user, const GArray *answers, const GError *error)
{
    Renewing *r = user;
    Voice *v = r->voice;

    if (!error && answers->len > 0 && v->clerk) {
        json_auto_t *params = json_pack("{s:o}", "answers", renewal_answers_to_json(answers));

        hosts_call(v->hosts, r->host, "lease.answers", params, ASK_LIMIT_MS, on_told, NULL);
    }
    g_free(r->host);
    g_free(r);
}

/* A host that had one once may come back with a reign of that time, which may have a higher number than those since. */
static gboolean has_part(const ProtectionVm *vm, const char *host)
{
    return g_str_equal(vm->active, host) || g_str_equal(protection_keeper(vm), host);
}

static gboolean look(void *user, Id vm, VoterSight *ret_sight)
{
    const Renewing *r = user;
    const Voice *v = r->voice;
    const Protection *p = find_protection(v, vm);
    const ProtectionVm *known = p ? protection_find(p, vm) : NULL;

    if (!known || !has_part(known, r->host) || !protection_is_sure(p, NULL) ||
        !(protection_has_leases(p) || voters_knows(v->voters, vm)))
        return FALSE;
    ret_sight->known = known->reign;
    return TRUE;
}

typedef struct {
    Voice *voice;
    Renewal renewal; /* of its active */
} Asking;

/* The active's renewal counts, in the reign that the database has; NULL: it does not, or a plan may stand on a vote that was forgotten: its standby
 * promises by what the journal has. */
static const ProtectionVm *find_active(const Voice *v, const Renewal *r, const Protection **ret_p)
{
    const Protection *p = find_protection(v, r->vm);
    const ProtectionVm *vm = p ? protection_find(p, r->vm) : NULL;

    *ret_p = p;
    return vm && id_is_nil(p->plan) && reign_equal(vm->reign, r->renewal.reign) && protection_has_leases(p) &&
                   protection_is_sure(p, NULL)
               ? vm
               : NULL;
}

/* What the standby has promised may be a vote that this voice gave, and has forgotten. It promises nothing to an older memory any more. */
static void on_promised(void *user, const json_t *result, const GError *error)
{
    g_autofree Asking *a = user;
    Voice *v = a->voice;
    const Renewal *r = &a->renewal;
    json_int_t arm = json_integer_value(json_object_get(result, "arm"));
    const json_t *reign = json_object_get(result, "reign");
    const Protection *p;
    Reign promised = {0};

    g_hash_table_remove(v->asked, &r->vm);
    if (error || !v->clerk || arm > (json_int_t)LEASE_ARM_MAX || !find_active(v, r, &p) ||
        (!json_is_null(reign) && !reign_from_json(reign, &promised, NULL)))
        return;
    /* An arm is of its reign: one of an earlier one says nothing of this one's. */
    if (promised.number < r->renewal.reign.number) {
        promised = r->renewal.reign;
        arm = 0;
    }
    if (reign_equal(promised, r->renewal.reign))
        arm = MAX(arm, (json_int_t)r->renewal.arm);
    voters_speak(v->voters, r->vm, promised, (guint64)MAX(arm, 0), r->renewal.grant_ms, v->incarnation);
}

/* Its active asks: then its standby is the other one that must be heard. */
static void speak_of(Voice *v, const char *host, const Renewal *r)
{
    const Protection *p;
    const ProtectionVm *vm = find_active(v, r, &p);
    json_auto_t *params = NULL;
    Asking *a;

    if (!vm || !g_str_equal(vm->active, host) || !protection_vouches(p, vm) ||
        !voters_is_mute(v->voters, r->vm) || g_hash_table_contains(v->asked, &r->vm))
        return;
    g_hash_table_add(v->asked, g_memdup2(&r->vm, sizeof(r->vm)));
    a = g_new0(Asking, 1);
    *a = (Asking){v, *r};
    params = json_pack("{s:s}", "vm", ID_TEXT(r->vm));
    hosts_call(v->hosts, protection_keeper(vm), "lease.promised", params, ASK_LIMIT_MS, on_promised, a);
}

void voice_hear(Voice *v, const char *host, const json_t *news)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) renewals = renewals_from_json(json_object_get(news, "renewals"), &error);
    Renewing *r;

    if (!v->clerk)
        return;
    if (!renewals) {
        log_warning("%s asks oddly to be renewed -> it is not: %s", host, error->message);
        return;
    }
    for (guint i = 0; i < renewals->len; i++)
        speak_of(v, host, &g_array_index(renewals, Renewal, i));
    r = g_new0(Renewing, 1);
    *r = (Renewing){v, g_strdup(host)};
    voters_renew(v->voters, renewals, look, on_renewed, r);
}

/* --- electing ------------------------------------------------------------------- */

typedef struct {
    Voice *voice;
    char *to;
    Id vm;
    Ballot ballot;
    RpcAnswerFunc done;
    void *user;
} Electing;

/* @verdict: of whoever did not want it first, @who. */
static void end_election(Electing *e, const char *who, VoteVerdict verdict, const GError *error)
{
    g_autoptr(GError) why = error                   ? g_error_copy(error)
                            : verdict == VOTE_GIVEN ? NULL
                                                    : vote_verdict_failure(verdict, who);
    json_auto_t *result = json_object();

    e->done(e->user, why ? NULL : result, why);
    g_free(e->to);
    g_free(e);
}

static void on_voted(void *user, VoteVerdict verdict, guint64 incarnation, const GError *error)
{
    (void)incarnation;
    end_election(user, "the controller", verdict, error);
}

static gboolean is_mine(const Voice *v, Id vm, BallotKind kind)
{
    return kind == BALLOT_ELECTION || voters_may_know(v->voters, vm);
}

/* Then its active has lost this voice, and the plan goes on, whatever the standby says now: a controller that was killed may not know that. */
static gboolean has_promised(const Voice *v, const Electing *e)
{
    return v->clerk && voters_knows(v->voters, e->vm) && !voters_is_mute(v->voters, e->vm) &&
           reign_equal(voters_promised(v->voters, e->vm).promised, e->ballot.next);
}

static void on_would(void *user, const json_t *result, const GError *error)
{
    Electing *e = user;
    Voice *v = e->voice;
    const char *word = json_text_of(result, "verdict");
    g_autoptr(GError) odd = NULL;
    VoteVerdict verdict = VOTE_KEEPS;

    if (!error && v->clerk)
        (void)vote_verdict_parse(word ? word : "", &verdict, &odd);
    if ((error || odd || !v->clerk || verdict != VOTE_GIVEN) && !has_promised(v, e))
        end_election(e, e->to, verdict, error ? error : odd);
    else if (is_mine(v, e->vm, e->ballot.kind))
        voters_vote(v->voters, e->vm, &e->ballot, on_voted, e);
    else
        end_election(e, e->to, VOTE_GIVEN, NULL);
}

void voice_elect(Voice *v, const char *to, Id vm, const Ballot *ballot, RpcAnswerFunc done, void *user)
{
    json_auto_t *params = json_pack("{s:s, s:o}", "vm", ID_TEXT(vm), "ballot", ballot_to_json(ballot));
    Electing *e = g_new0(Electing, 1);

    /* Nobody is renewed any more where an operator wants another reign: what is granted ends. */
    if (ballot->kind == BALLOT_FORCE && voters_knows(v->voters, vm))
        voters_close(v->voters, vm);
    *e = (Electing){v, g_strdup(to), vm, *ballot, done, user};
    hosts_call(v->hosts, to, "lease.would", params, ASK_LIMIT_MS, on_would, e);
}

guint64 voice_promised(const Voice *v, const Protection *p)
{
    guint64 highest = 0;

    for (guint i = 0; i < p->vms->len; i++) {
        Id vm = ((const ProtectionVm *)p->vms->pdata[i])->uuid;

        if (voters_knows(v->voters, vm))
            highest = MAX(highest, voters_promised(v->voters, vm).promised.number);
    }
    return highest;
}

/* --- the whole -------------------------------------------------------------------- */

Voice *voice_new(uv_loop_t *loop, const char *path, guint64 incarnation, Hosts *hosts, Scenarios *scenarios)
{
    Voice *v = g_new0(Voice, 1);

    v->hosts = hosts;
    v->scenarios = scenarios;
    v->incarnation = incarnation;
    v->clerk = clerk_new(loop);
    v->asked = g_hash_table_new_full(id_hash, id_equal_func, g_free, NULL);
    v->voters = voters_new(v->clerk, path);
    return v;
}

void voice_close(Voice *v)
{
    clerk_close(g_steal_pointer(&v->clerk));
}

void voice_free(Voice *v)
{
    if (!v)
        return;
    voters_free(v->voters);
    g_hash_table_unref(v->asked);
    g_free(v);
}
