/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine says as a voter of the copies that it keeps. Policy, clerk and voters with their file are the real ones; each test begins with a
 * file that may have been lost. */
#include "hypervisor/turn.h"
#include "vmconnect/base/error.h"
#include "vmconnect/engine.h"

#include <glib/gstdio.h>

#define PATIENCE_MS 20000

typedef struct {
    Engine e;
    char *dir;
    Id vm, active, other;
    gboolean promoted; /* the copy was, here */
    Reign reign;       /* that is asked for … */
    guint64 arm;       /* … so armed */
    guint64 nonce;
    /* The last answer. */
    gboolean answered;
    json_t *result;
    GError *error;
} World;

static World *world;

gboolean roles_is_promoted(const Roles *roles, Id vm)
{
    (void)roles;
    (void)vm;
    return world->promoted;
}

static const Reign REIGN = {1, {{1}}};

static void keep_copy(World *w)
{
    StandbyRole *role = g_new0(StandbyRole, 1);

    role->vm = w->vm;
    role->scenario = g_strdup("web");
    role->name = g_strdup("web1");
    role->reign = REIGN;
    role->active = w->active;
    policy_set_standby(w->e.policy, role);
}

static void begin(World *w, gconstpointer data)
{
    g_autofree char *policy = NULL;

    (void)data;
    world = w;
    w->dir = g_dir_make_tmp("understudy-XXXXXX", NULL);
    w->vm = id_random();
    w->active = id_random();
    w->other = id_random();
    policy = g_build_filename(w->dir, "policy.json", NULL);
    w->e.paths.state = w->dir;
    w->e.policy = policy_load(policy, NULL);
    uv_loop_init(&w->e.loop);
    w->e.clerk = clerk_new(&w->e.loop);
    w->e.obeyed.incarnation = 7;
    w->reign = REIGN;
    w->e.voice = voice_new(&w->e);
    keep_copy(w);
}

static void forget_answer(World *w)
{
    json_decref(w->result);
    w->result = NULL;
    g_clear_error(&w->error);
    w->answered = FALSE;
}

static void end(World *w, gconstpointer data)
{
    g_autofree char *remove = g_strdup_printf("rm -rf '%s'", w->dir);

    (void)data;
    clerk_close(w->e.clerk);
    uv_run(&w->e.loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&w->e.loop), ==, 0);
    voice_free(w->e.voice);
    policy_free(w->e.policy);
    forget_answer(w);
    g_assert_cmpint(system(remove), ==, 0);
    g_free(w->dir);
}

static void on_answer(void *user, const json_t *result, const GError *error)
{
    World *w = user;

    g_assert_false(w->answered);
    w->answered = TRUE;
    w->result = json_deep_copy(result);
    w->error = error ? g_error_copy(error) : NULL;
}

/* What @peer is answered of the VM; "": nothing. */
static const char *renew(World *w, Id peer)
{
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(Renewal));
    Renewal asked = {w->vm,
                     {.reign = w->reign,
                      .arm = w->arm,
                      .nonce = G_GUINT64_CONSTANT(1) << 32 | ++w->nonce,
                      .grant_ms = 7000}};
    json_auto_t *params = NULL;
    const json_t *answers;

    g_array_append_val(list, asked);
    params = json_pack("{s:o}", "renewals", renewals_to_json(list));
    forget_answer(w);
    voice_renew(w->e.voice, peer, params, on_answer, w);
    g_assert_true(turn_until(&w->e.loop, turn_is_set, &w->answered, PATIENCE_MS));
    g_assert_no_error(w->error);
    answers = json_object_get(w->result, "answers");
    if (json_array_size(answers) == 0)
        return "";
    return json_string_value(json_object_get(json_array_get(answers, 0), "verdict"));
}

/* Whoever may have forgotten its promises says nothing before the controller has admitted the active, and that has asked. */
static void test_renew(World *w, gconstpointer data)
{
    (void)data;
    g_assert_cmpstr(renew(w, w->active), ==, "not granted");
    voice_admitted(w->e.voice, w->vm);
    g_assert_cmpstr(renew(w, w->other), ==, "");
    g_assert_cmpstr(renew(w, w->active), ==, "granted");
    w->promoted = TRUE;
    policy_forget_standby(w->e.policy, w->vm);
    g_assert_cmpstr(renew(w, w->active), ==, "");
}

/* It runs here itself, in a lower reign, as far as is known. */
static void test_stop_first(World *w, gconstpointer data)
{
    (void)data;
    voice_admitted(w->e.voice, w->vm);
    g_assert_cmpstr(renew(w, w->active), ==, "granted");
    w->promoted = TRUE;
    w->reign = (Reign){2, {{2}}};
    g_assert_cmpstr(renew(w, w->active), ==, "stop first");
}

static void test_odd(World *w, gconstpointer data)
{
    json_auto_t *odd = json_pack("{s:[{}]}", "renewals");
    json_auto_t *none = json_object();

    (void)data;
    voice_renew(w->e.voice, w->active, odd, on_answer, w);
    g_assert_nonnull(w->error);
    forget_answer(w);
    voice_renew(w->e.voice, w->active, none, on_answer, w);
    g_assert_nonnull(w->error);
}

static void vote(World *w, const Ballot *ballot)
{
    forget_answer(w);
    voice_vote(w->e.voice, w->vm, ballot, on_answer, w);
    g_assert_true(turn_until(&w->e.loop, turn_is_set, &w->answered, PATIENCE_MS));
}

/* It does not vote while it grants; asked whether it would by force it grants nothing any more. What its active has released is promised. */
static void test_vote(World *w, gconstpointer data)
{
    Ballot ballot = {BALLOT_ELECTION, REIGN, {2, {{2}}}, 0};
    json_auto_t *promised = NULL;

    (void)data;
    w->arm = 1;
    voice_admitted(w->e.voice, w->vm);
    g_assert_cmpstr(renew(w, w->active), ==, "granted");
    g_assert_cmpint(voice_would_vote(w->e.voice, w->vm, &ballot), !=, VOTE_GIVEN);
    vote(w, &ballot);
    g_assert_nonnull(w->error);
    ballot.kind = BALLOT_FORCE;
    g_assert_cmpint(voice_would_vote(w->e.voice, w->vm, &ballot), !=, VOTE_GIVEN);
    /* It is closed: nothing is added to what it has granted. */
    g_assert_cmpstr(renew(w, w->active), ==, "not granted");
    ballot.kind = BALLOT_RELEASE;
    vote(w, &ballot);
    g_assert_no_error(w->error);
    promised = voice_promised(w->e.voice, w->vm);
    g_assert_cmpint(json_integer_value(json_object_get(json_object_get(promised, "reign"), "number")), ==, 2);
    g_assert_cmpstr(renew(w, w->active), ==, "higher");
}

/* One that never had to do with leases has nothing to say, but to an election. */
static void test_vote_of_nothing(World *w, gconstpointer data)
{
    Ballot ballot = {BALLOT_FORCE, REIGN, {3, {{3}}}, 0};
    const Id known = w->vm;

    (void)data;
    voice_admitted(w->e.voice, w->vm);
    g_assert_cmpstr(renew(w, w->active), ==, "granted");
    voice_free(w->e.voice);
    w->e.voice = voice_new(&w->e);
    w->vm = id_random();
    g_assert_cmpint(voice_would_vote(w->e.voice, w->vm, &ballot), ==, VOTE_GIVEN);
    vote(w, &ballot);
    g_assert_no_error(w->error);
    ballot.kind = BALLOT_ELECTION;
    g_assert_cmpint(voice_would_vote(w->e.voice, w->vm, &ballot), !=, VOTE_GIVEN);
    vote(w, &ballot);
    g_assert_nonnull(w->error);
    w->vm = known;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/voice-here/renew", World, NULL, begin, test_renew, end);
    g_test_add("/voice-here/stop-first", World, NULL, begin, test_stop_first, end);
    g_test_add("/voice-here/odd", World, NULL, begin, test_odd, end);
    g_test_add("/voice-here/vote", World, NULL, begin, test_vote, end);
    g_test_add("/voice-here/vote-of-nothing", World, NULL, begin, test_vote_of_nothing, end);
    return g_test_run();
}
