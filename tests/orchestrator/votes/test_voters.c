/* SPDX-License-Identifier: Apache-2.0 */
/* No answer stands on a promise that is not on the disk: promises are asked for on a loop, with a clerk, on a disk that fails; the process ends
 * anywhere, and what the next one finds is what was answered. */
#include "orchestrator/votes/lease_clock.h"
#include "orchestrator/votes/voters.h"
#include "vmconnect/base/error.h"

#include <glib/gstdio.h>
#include <string.h>

static const Id VM = {{1, 2}}, OTHER = {{3, 4}};
static const Reign FIRST = {1, {{1}}}, NEXT = {2, {{2}}}, RIVAL = {2, {{3}}};

typedef struct {
    uv_loop_t loop;
    Clerk *clerk;
    char *folder, *path;
    Voters *voters;
    guint answers; /* that came */
    LeaseAnswer last;
    guint last_len;
    VoteVerdict verdict;
    GError *error; /* of the last */
} Desk;

static void open_voters(Desk *d)
{
    d->clerk = clerk_new(&d->loop);
    d->voters = voters_new(d->clerk, d->path);
}

static void close_voters(Desk *d)
{
    clerk_close(g_steal_pointer(&d->clerk));
    voters_free(g_steal_pointer(&d->voters));
}

static Desk *desk_new(void)
{
    Desk *d = g_new0(Desk, 1);

    g_assert_cmpint(uv_loop_init(&d->loop), ==, 0);
    d->folder = g_dir_make_tmp("voters-XXXXXX", NULL);
    d->path = g_build_filename(d->folder, "votes", NULL);
    open_voters(d);
    return d;
}

static void desk_free(Desk *d)
{
    close_voters(d);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&d->loop), ==, 0);
    g_unlink(d->path);
    g_rmdir(d->folder);
    g_free(d->path);
    g_free(d->folder);
    g_clear_error(&d->error);
    g_free(d);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Desk, desk_free)

static void note_error(Desk *d, const GError *error)
{
    d->answers++;
    g_clear_error(&d->error);
    if (error)
        d->error = g_error_copy(error);
}

static void on_renewed(void *user, const GArray *answers, const GError *error)
{
    Desk *d = user;

    note_error(d, error);
    d->last_len = answers ? answers->len : 0;
    if (d->last_len > 0)
        d->last = g_array_index(answers, RenewalAnswer, 0).answer;
}

static void on_voted(void *user, VoteVerdict verdict, guint64 incarnation, const GError *error)
{
    Desk *d = user;

    (void)incarnation;
    note_error(d, error);
    d->verdict = verdict;
}

static gboolean look(void *user, Id vm, VoterSight *ret_sight)
{
    (void)user;
    (void)ret_sight;
    return id_equal(vm, VM);
}

static void wait_for(Desk *d, guint answers)
{
    while (d->answers < answers)
        uv_run(&d->loop, UV_RUN_ONCE);
}

static void renew(Desk *d, Id vm, Reign reign, guint64 arm)
{
    static guint64 nonce = (guint64)7 << 32;
    g_autoptr(GArray) renewals = g_array_new(FALSE, FALSE, sizeof(Renewal));
    const Renewal one = {vm, {reign, arm, ++nonce, 1, FALSE}};
    guint before = d->answers;

    g_array_append_val(renewals, one);
    voters_renew(d->voters, renewals, look, on_renewed, d);
    wait_for(d, before + 1);
}

static void vote(Desk *d, BallotKind kind, Reign parent, Reign next)
{
    const Ballot ballot = {kind, parent, next};
    guint before = d->answers;

    voters_vote(d->voters, VM, &ballot, on_voted, d);
    wait_for(d, before + 1);
}

static void speak(Desk *d)
{
    voters_speak(d->voters, VM, FIRST, 1, 1, 65537);
}

static void test_is_kept(void)
{
    g_autoptr(Desk) d = desk_new();

    g_assert_true(voters_is_mute(d->voters, VM));
    renew(d, VM, FIRST, 1);
    g_assert_cmpint(d->last.verdict, ==, LEASE_NOT_GRANTED);
    speak(d);
    renew(d, VM, FIRST, 3);
    g_assert_cmpint(d->last.verdict, ==, LEASE_GRANTED);
    g_assert_cmpuint(d->last.incarnation, ==, 65537);
    vote(d, BALLOT_RELEASE, FIRST, NEXT);
    g_assert_cmpint(d->verdict, ==, VOTE_GIVEN);
    close_voters(d);
    open_voters(d);
    g_assert_false(voters_is_mute(d->voters, VM));
    renew(d, VM, FIRST, 3);
    g_assert_cmpint(d->last.verdict, ==, LEASE_HIGHER);
    vote(d, BALLOT_RELEASE, FIRST, NEXT);
    g_assert_cmpint(d->verdict, ==, VOTE_GIVEN);
    vote(d, BALLOT_RELEASE, FIRST, RIVAL);
    g_assert_cmpint(d->verdict, ==, VOTE_OTHER_REIGN);
}

/* What has no part here is not answered, and leaves nothing. */
static void test_of_others(void)
{
    g_autoptr(Desk) d = desk_new();

    renew(d, OTHER, FIRST, 1);
    g_assert_no_error(d->error);
    g_assert_cmpuint(d->last_len, ==, 0);
    g_assert_false(g_file_test(d->path, G_FILE_TEST_EXISTS));
}

/* The disk takes nothing: nobody is answered, not even who asks again, until it does. */
static void test_disk_fails(void)
{
    g_autoptr(Desk) d = desk_new();

    speak(d);
    renew(d, VM, FIRST, 1);
    g_assert_cmpint(d->last.verdict, ==, LEASE_GRANTED);
    g_unlink(d->path);
    g_rmdir(d->folder);
    vote(d, BALLOT_RELEASE, FIRST, NEXT);
    g_assert_nonnull(d->error);
    vote(d, BALLOT_RELEASE, FIRST, NEXT);
    g_assert_nonnull(d->error);
    renew(d, VM, FIRST, 1);
    g_assert_nonnull(d->error);
    g_assert_cmpint(g_mkdir(d->folder, 0700), ==, 0);
    vote(d, BALLOT_RELEASE, FIRST, NEXT);
    g_assert_no_error(d->error);
    g_assert_cmpint(d->verdict, ==, VOTE_GIVEN);
    close_voters(d);
    open_voters(d);
    renew(d, VM, FIRST, 1);
    g_assert_cmpint(d->last.verdict, ==, LEASE_HIGHER);
}

/* A vote that nobody has heard of is none: the active is renewed, and who asks next may be another. */
static void test_vote_is_taken_back(void)
{
    g_autoptr(Desk) d = desk_new();
    const Ballot next = {BALLOT_ELECTION, FIRST, NEXT};
    guint before;

    speak(d);
    renew(d, VM, FIRST, 1);
    while (voters_would_vote(d->voters, VM, &next) != VOTE_GIVEN)
        ;
    g_unlink(d->path);
    g_rmdir(d->folder);
    vote(d, BALLOT_ELECTION, FIRST, NEXT);
    g_assert_nonnull(d->error);
    /* Also one that was being written when somebody came who would be told of it. */
    before = d->answers;
    voters_vote(d->voters, VM, &next, on_voted, d);
    renew(d, VM, FIRST, 3);
    wait_for(d, before + 2);
    g_assert_nonnull(d->error);
    g_assert_cmpint(g_mkdir(d->folder, 0700), ==, 0);
    renew(d, VM, FIRST, 3);
    g_assert_cmpint(d->last.verdict, ==, LEASE_GRANTED);
    while (voters_would_vote(d->voters, VM, &next) != VOTE_GIVEN)
        ;
    vote(d, BALLOT_ELECTION, FIRST, RIVAL);
    g_assert_no_error(d->error);
    g_assert_cmpint(d->verdict, ==, VOTE_GIVEN);
    close_voters(d);
    open_voters(d);
    g_assert_true(reign_equal(voters_promised(d->voters, VM).promised, RIVAL));
}

/* A renewal that changes nothing is no write. */
static void test_costs_no_write(void)
{
    g_autoptr(Desk) d = desk_new();
    GStatBuf before, after;

    speak(d);
    renew(d, VM, FIRST, 1);
    g_assert_cmpint(g_stat(d->path, &before), ==, 0);
    for (guint i = 0; i < 100; i++)
        renew(d, VM, FIRST, 1);
    g_assert_cmpint(g_stat(d->path, &after), ==, 0);
    g_assert_cmpuint(before.st_ino, ==, after.st_ino);
}

/* Of two that come at once each is answered by its own, in their order, and the disk is asked as often as it must be. */
static void test_at_once(void)
{
    g_autoptr(Desk) d = desk_new();
    const Ballot next = {BALLOT_RELEASE, FIRST, NEXT}, rival = {BALLOT_RELEASE, FIRST, RIVAL};

    speak(d);
    voters_vote(d->voters, VM, &next, on_voted, d);
    voters_vote(d->voters, VM, &rival, on_voted, d);
    wait_for(d, 1);
    wait_for(d, 2);
    g_assert_cmpint(d->verdict, ==, VOTE_OTHER_REIGN);
    close_voters(d);
    open_voters(d);
    vote(d, BALLOT_RELEASE, FIRST, NEXT);
    g_assert_cmpint(d->verdict, ==, VOTE_GIVEN);
}

/* Put back from a copy it is mute, for each VM until everybody was heard of that one; also after another start. */
static void test_copy(void)
{
    g_autoptr(Desk) d = desk_new();
    g_autofree char *text = NULL;
    gsize len;

    speak(d);
    renew(d, VM, FIRST, 1);
    close_voters(d);
    g_assert_true(g_file_get_contents(d->path, &text, &len, NULL));
    g_unlink(d->path);
    g_assert_true(g_file_set_contents(d->path, text, (gssize)len, NULL));
    open_voters(d);
    g_assert_true(voters_is_mute(d->voters, VM));
    voters_speak(d->voters, OTHER, FIRST, 1, 1, 131073);
    close_voters(d);
    open_voters(d);
    g_assert_false(voters_is_mute(d->voters, OTHER));
    g_assert_true(voters_is_mute(d->voters, VM));
    voters_speak(d->voters, VM, NEXT, 1, 1, 131073);
    renew(d, VM, FIRST, 1);
    g_assert_cmpint(d->last.verdict, ==, LEASE_HIGHER);
}

/* It sits out what it may have granted, as long as that is, by the time since its process began. */
static void test_sits(void)
{
    g_autoptr(Desk) d = desk_new();
    const Ballot election = {BALLOT_ELECTION, FIRST, NEXT};

    voters_speak(d->voters, VM, FIRST, 1, 60000, 65537);
    renew(d, VM, FIRST, 1);
    g_assert_cmpint(voters_would_vote(d->voters, VM, &election), ==, VOTE_SITS);
    close_voters(d);
    open_voters(d);
    g_assert_cmpint(voters_would_vote(d->voters, VM, &election), ==, VOTE_SITS);
    voters_close(d->voters, VM);
    renew(d, VM, FIRST, 1);
    g_assert_cmpint(d->last.verdict, ==, LEASE_NOT_GRANTED);
}

/* --- as it travels ----------------------------------------------------------- */

static void test_travels(void)
{
    g_autoptr(GArray) renewals = g_array_new(FALSE, FALSE, sizeof(Renewal));
    g_autoptr(GArray) answers = g_array_new(FALSE, FALSE, sizeof(RenewalAnswer));
    const Renewal one = {VM, {NEXT, 3, G_MAXUINT64, 15000, TRUE}};
    const RenewalAnswer back = {OTHER, {G_MAXUINT64 - 1, LEASE_CONFLICT, FIRST, 4, (guint64)1 << 63}};
    const Ballot ballot = {BALLOT_CERTIFIED, FIRST, NEXT, 4711};
    json_auto_t *asked = NULL, *answered = NULL, *voted = ballot_to_json(&ballot);
    g_autoptr(GArray) asked_again = NULL, answered_again = NULL;
    const Renewal *r;
    const RenewalAnswer *a;
    Ballot again;
    VoteVerdict verdict;

    g_array_append_val(renewals, one);
    g_array_append_val(answers, back);
    asked = renewals_to_json(renewals);
    answered = renewal_answers_to_json(answers);
    asked_again = renewals_from_json(asked, NULL);
    answered_again = renewal_answers_from_json(answered, NULL);
    r = &g_array_index(asked_again, Renewal, 0);
    a = &g_array_index(answered_again, RenewalAnswer, 0);
    g_assert_true(id_equal(r->vm, VM) && reign_equal(r->renewal.reign, NEXT) && r->renewal.arm == 3 &&
                  r->renewal.nonce == G_MAXUINT64 && r->renewal.grant_ms == 15000 && r->renewal.fenced);
    g_assert_true(id_equal(a->vm, OTHER) && a->answer.nonce == G_MAXUINT64 - 1 &&
                  a->answer.verdict == LEASE_CONFLICT && a->answer.incarnation == (guint64)1 << 63);
    g_assert_true(ballot_from_json(voted, &again, NULL));
    g_assert_true(again.kind == BALLOT_CERTIFIED && reign_equal(again.next, NEXT) && again.sure_ms == 4711);
    json_object_set_new(voted, "sure_ms", json_integer(-1));
    g_assert_false(ballot_from_json(voted, &again, NULL));
    json_object_set_new(voted, "sure_ms", json_integer(BALLOT_SURE_MAX_MS + 1));
    g_assert_false(ballot_from_json(voted, &again, NULL));
    json_object_del(voted, "sure_ms");
    g_assert_true(ballot_from_json(voted, &again, NULL) && again.sure_ms == 0);
    for (guint i = VOTE_GIVEN; i <= VOTE_HEARD; i++) {
        g_assert_true(vote_verdict_parse(vote_verdict_name((VoteVerdict)i), &verdict, NULL));
        g_assert_cmpint(verdict, ==, i);
    }
}

static void test_odd(void)
{
    static const char *const ODD[] = {
        "{}",
        "[1]",
        "[{}]",
        "null",
        "[{\"vm\":\"x\",\"reign\":{\"number\":1,\"id\":\"01000000-0000-0000-0000-000000000000\"},\"arm\":0,"
        "\"nonce\":\"0000000000000001\",\"grant_ms\":1,\"fenced\":false}]",
        "[{\"vm\":\"01000000-0000-0000-0000-000000000000\",\"reign\":{\"number\":1,\"id\":\"01000000-0000-"
        "0000-"
        "0000-000000000000\"},\"arm\":-1,\"nonce\":\"0000000000000001\",\"grant_ms\":1,\"fenced\":false}]",
        "[{\"vm\":\"01000000-0000-0000-0000-000000000000\",\"reign\":{\"number\":1,\"id\":\"01000000-0000-"
        "0000-"
        "0000-000000000000\"},\"arm\":1,\"nonce\":\"-000000000000001\",\"grant_ms\":1,\"fenced\":false}]",
        "[{\"vm\":\"01000000-0000-0000-0000-000000000000\",\"reign\":{\"number\":1,\"id\":\"01000000-0000-"
        "0000-"
        "0000-000000000000\"},\"arm\":1,\"nonce\":\"1\",\"grant_ms\":1,\"fenced\":false}]",
        "[{\"vm\":\"01000000-0000-0000-0000-000000000000\",\"reign\":{\"number\":1,\"id\":\"01000000-0000-"
        "0000-"
        "0000-000000000000\"},\"arm\":9223372036854775807,\"nonce\":\"0000000000000001\",\"grant_ms\":1,"
        "\"fenced\":false}]",
        "[{\"vm\":\"01000000-0000-0000-0000-000000000000\",\"reign\":{\"number\":9223372036854775807,\"id\":"
        "\"01000000-0000-0000-0000-000000000000\"},\"arm\":1,\"nonce\":\"0000000000000001\",\"grant_ms\":1,"
        "\"fenced\":false}]"};
    json_auto_t *many = json_array();
    g_autoptr(GError) error = NULL;
    VoteVerdict verdict;

    for (guint i = 0; i < G_N_ELEMENTS(ODD); i++) {
        json_auto_t *doc = json_loads(ODD[i], JSON_DECODE_ANY, NULL);
        g_autoptr(GError) why = NULL;

        g_assert_nonnull(doc);
        g_assert_null(renewals_from_json(doc, &why));
        g_assert_error(why, US_ERROR, US_ERROR_USAGE);
        g_assert_null(renewal_answers_from_json(doc, NULL));
    }
    for (guint i = 0; i <= RENEWALS_MAX; i++)
        json_array_append_new(many, json_object());
    g_assert_null(renewals_from_json(many, &error));
    g_assert_nonnull(strstr(error->message, "at most"));
    g_assert_false(vote_verdict_parse("perhaps", &verdict, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/voters/is-kept", test_is_kept);
    g_test_add_func("/voters/of-others", test_of_others);
    g_test_add_func("/voters/disk-fails", test_disk_fails);
    g_test_add_func("/voters/vote-is-taken-back", test_vote_is_taken_back);
    g_test_add_func("/voters/costs-no-write", test_costs_no_write);
    g_test_add_func("/voters/at-once", test_at_once);
    g_test_add_func("/voters/copy", test_copy);
    g_test_add_func("/voters/sits", test_sits);
    g_test_add_func("/renewal/travels", test_travels);
    g_test_add_func("/renewal/odd", test_odd);
    return g_test_run();
}
