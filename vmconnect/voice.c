/* SPDX-License-Identifier: Apache-2.0 */
#include "vmconnect/voice.h"

#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "vmconnect/engine.h"

struct Voice {
    Engine *engine;
    Voters *voters;
    GHashTable *admitted; /* set of Id *: since this engine runs */
};

Voice *voice_new(Engine *engine)
{
    g_autofree char *path = g_build_filename(engine->paths.state, "votes", NULL);
    Voice *v = g_new0(Voice, 1);

    v->engine = engine;
    v->voters = voters_new(engine->clerk, path);
    v->admitted = g_hash_table_new_full(id_hash, id_equal_func, g_free, NULL);
    return v;
}

void voice_free(Voice *v)
{
    if (!v)
        return;
    voters_free(v->voters);
    g_hash_table_unref(v->admitted);
    g_free(v);
}

Voters *voice_voters(const Voice *v)
{
    return v->voters;
}

typedef struct {
    Voice *voice;
    Id peer;
    VoiceAnswered done;
    void *user;
} Renewing;

/* What it knows of the VM otherwise, and whether the asker is whom the controller has admitted. */
static gboolean look(void *user, Id vm, VoterSight *ret_sight)
{
    const Renewing *r = user;
    const Policy *policy = r->voice->engine->policy;
    const ActiveRole *active = policy_active(policy, vm);
    const StandbyRole *standby = policy_standby(policy, vm);

    ret_sight->known = active ? active->reign : standby ? standby->reign : (Reign){0};
    ret_sight->runs_lower = active || roles_is_promoted(r->voice->engine->roles, vm);
    return active || (standby && id_equal(standby->active, r->peer));
}

/* Everybody was heard: the controller, which has admitted this reign's active since, and that, which asks. */
static void speak_of(Voice *v, Id peer, const Renewal *r)
{
    const StandbyRole *role = policy_standby(v->engine->policy, r->vm);

    if (role && id_equal(role->active, peer) && reign_equal(role->reign, r->renewal.reign) &&
        g_hash_table_contains(v->admitted, &r->vm) && voters_is_mute(v->voters, r->vm))
        voters_speak(v->voters, r->vm, role->reign, r->renewal.arm, r->renewal.grant_ms,
                     v->engine->obeyed.incarnation);
}

static void on_renewed(void *user, const GArray *answers, const GError *error)
{
    g_autofree Renewing *r = user;
    json_auto_t *result = error ? NULL : json_pack("{s:o}", "answers", renewal_answers_to_json(answers));

    r->done(r->user, result, error);
}

void voice_renew(Voice *v, Id peer, const json_t *params, VoiceAnswered done, void *user)
{
    g_autoptr(GArray) renewals = NULL;
    g_autoptr(GError) error = NULL;
    Renewing *r;
    json_t *list;

    if (!json_read(params, "lease.renew", &error, "{s:o}", "renewals", &list) ||
        !(renewals = renewals_from_json(list, &error))) {
        done(user, NULL, error);
        return;
    }
    for (guint i = 0; i < renewals->len; i++)
        speak_of(v, peer, &g_array_index(renewals, Renewal, i));
    r = g_new0(Renewing, 1);
    *r = (Renewing){v, peer, done, user};
    voters_renew(v->voters, renewals, look, on_renewed, r);
}

void voice_admitted(Voice *v, Id vm)
{
    g_hash_table_add(v->admitted, g_memdup2(&vm, sizeof(vm)));
}

json_t *voice_promised(const Voice *v, Id vm)
{
    VoterRecord record = voters_promised(v->voters, vm);

    return json_pack("{s:o, s:I}", "reign",
                     record.promised.number ? reign_to_json(record.promised) : json_null(), "arm",
                     (json_int_t)record.arm);
}

VoteVerdict voice_would_vote(Voice *v, Id vm, const Ballot *ballot)
{
    if (!voters_may_know(v->voters, vm) && ballot->kind != BALLOT_ELECTION)
        return VOTE_GIVEN;
    /* What its operator wants by force is not waited for in vain. */
    if (ballot->kind == BALLOT_FORCE)
        voters_close(v->voters, vm);
    return voters_would_vote(v->voters, vm, ballot);
}

typedef struct {
    VoiceAnswered done;
    void *user;
} Voting;

static void on_voted(void *user, VoteVerdict verdict, guint64 incarnation, const GError *error)
{
    g_autofree Voting *voting = user;
    g_autoptr(GError) why = error                   ? g_error_copy(error)
                            : verdict == VOTE_GIVEN ? NULL
                                                    : vote_verdict_failure(verdict, "this standby");

    (void)incarnation;
    voting->done(voting->user, NULL, why);
}

void voice_vote(Voice *v, Id vm, const Ballot *ballot, VoiceAnswered done, void *user)
{
    Voting *voting;

    if (!voters_may_know(v->voters, vm) && ballot->kind != BALLOT_ELECTION) {
        done(user, NULL, NULL);
        return;
    }
    voting = g_new0(Voting, 1);
    *voting = (Voting){done, user};
    voters_vote(v->voters, vm, ballot, on_voted, voting);
}
