/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic and the rules of votes and leases, one by one; all of them together are played in test_lease_sim.c. */
#include "candidate.h"
#include "orchestrator/core/lease/holder.h"
#include "vmconnect/base/error.h"

static const Reign FIRST = {1, {{1}}}, NEXT = {2, {{2}}}, OTHER = {2, {{3}}}, THIRD = {3, {{4}}};
static const LeaseTimes TIMES = {10000, 9800, 2000};

static LeaseMoment at(gint64 ms)
{
    return (LeaseMoment){1000000 + ms, 5000 + ms};
}

static void test_times(void)
{
    g_autoptr(GError) error = NULL;
    LeaseTimes t;

    g_assert_true(lease_times(20000, &t, &error));
    g_assert_cmpint(t.grant_ms, ==, 15000);
    g_assert_cmpint(t.lease_ms, ==, 14700);
    g_assert_cmpint(t.renew_ms, ==, 3000);
    g_assert_true(lease_times(300000, &t, &error));
    g_assert_cmpint(t.grant_ms, ==, 295000);
    g_assert_cmpint(t.renew_ms, ==, 5000);
    g_assert_false(lease_times(11999, &t, &error));
    g_assert_error(error, US_ERROR, US_ERROR_USAGE);
    /* The shortest there is: asked for three times, it may be lost twice, and there is time to stop. */
    g_assert_true(lease_times(LEASE_COUNTDOWN_MIN_MS, &t, NULL));
    g_assert_cmpint(t.lease_ms, >=, LEASE_STOP_MS + 3 * t.renew_ms);
}

static void test_quorum(void)
{
    static const guint WANTED[][3] = {{1, 1, 1}, {2, 2, 1}, {3, 2, 2}, {4, 3, 2}, {5, 3, 3}};

    for (guint i = 0; i < G_N_ELEMENTS(WANTED); i++) {
        LeaseQuorum q = lease_quorum(WANTED[i][0]);

        g_assert_cmpuint(q.promises, ==, WANTED[i][1]);
        g_assert_cmpuint(q.leases, ==, WANTED[i][2]);
        g_assert_cmpuint(q.promises + q.leases, >, q.voters);
        g_assert_cmpuint(2 * q.promises, >, q.voters);
    }
}

/* The holder goes by the clock that is ahead, the grantor by the one that is behind. */
static void test_clocks(void)
{
    const LeaseMoment end = at(1000);

    g_assert_cmpint(lease_left_ms(end, (LeaseMoment){1000000 + 900, 5000 + 100}), ==, 100);
    g_assert_cmpint(lease_left_ms(end, (LeaseMoment){1000000 + 100, 5000 + 1000}), ==, 0);
    g_assert_false(lease_is_over(end, (LeaseMoment){1000000 + 5000, 5000 + 999}));
    g_assert_true(lease_is_over(end, (LeaseMoment){1000000 + 1000, 5000 + 1000}));
}

static Voter voter_of(Reign reign, guint64 arm)
{
    const VoterRecord record = {reign, arm, 10000};
    Voter v;

    voter_start(&v, &record, 1, FALSE, at(0));
    return v;
}

static LeaseAnswer renew(Voter *v, Reign reign, guint64 arm, gint64 now_ms)
{
    static guint64 nonce = (guint64)7 << 32;
    const LeaseRenewal asked = {reign, arm, ++nonce, 10000, FALSE};
    const VoterSight sight = {.now = at(now_ms)};
    LeaseAnswer answer;

    (void)voter_renew(v, &asked, &sight, &answer);
    return answer;
}

static VoteVerdict vote(Voter *v, BallotKind kind, Reign parent, Reign next, gint64 now_ms)
{
    const Ballot ballot = {kind, parent, next};
    VoteVerdict verdict;

    (void)voter_vote(v, &ballot, at(now_ms), &verdict);
    return verdict;
}

static void test_votes_when_its_grant_is_over(void)
{
    Voter v = voter_of(FIRST, 1);

    g_assert_cmpint(vote(&v, BALLOT_ELECTION, FIRST, NEXT, 9999), ==, VOTE_SITS);
    g_assert_cmpint(renew(&v, FIRST, 1, 20000).verdict, ==, LEASE_GRANTED);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, FIRST, NEXT, 29999), ==, VOTE_KEEPS);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, FIRST, NEXT, 30000), ==, VOTE_GIVEN);
    /* From then on it keeps nobody of before, repeats itself, and promises no other. */
    g_assert_cmpint(renew(&v, FIRST, 1, 30001).verdict, ==, LEASE_HIGHER);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, FIRST, NEXT, 30002), ==, VOTE_GIVEN);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, FIRST, OTHER, 30003), ==, VOTE_OTHER_REIGN);
    g_assert_cmpint(renew(&v, OTHER, 0, 30004).verdict, ==, LEASE_CONFLICT);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, NEXT, THIRD, 90000), ==, VOTE_DISARMED);
}

static void test_arm(void)
{
    Voter v = voter_of(FIRST, 0);

    g_assert_cmpint(vote(&v, BALLOT_ELECTION, FIRST, NEXT, 50000), ==, VOTE_DISARMED);
    g_assert_cmpuint(renew(&v, FIRST, 2, 50000).arm, ==, 2);
    g_assert_cmpuint(renew(&v, FIRST, 1, 50001).arm, ==, 2); /* late */
    g_assert_cmpuint(renew(&v, FIRST, 3, 50002).arm, ==, 3);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, FIRST, NEXT, 70000), ==, VOTE_GIVEN);
    g_assert_cmpuint(v.record.arm, ==, 0);
}

/* What a release or an operator has made while nobody was armed, it heard of otherwise. */
static void test_known_otherwise(void)
{
    Voter v = voter_of(FIRST, 1);
    const LeaseRenewal asked = {FIRST, 1, 1, 10000, FALSE};
    const VoterSight sight = {.now = at(20000), .known = NEXT};
    LeaseAnswer answer;

    g_assert_true(voter_renew(&v, &asked, &sight, &answer));
    g_assert_cmpint(answer.verdict, ==, LEASE_HIGHER);
    g_assert_true(reign_equal(v.record.promised, NEXT));
    g_assert_cmpuint(v.record.arm, ==, 0);
}

static void test_obeys_a_higher_one(void)
{
    Voter v = voter_of(FIRST, 1);
    const LeaseRenewal asked = {NEXT, 0, 1, 10000, FALSE};
    VoterSight sight = {.now = at(0), .runs_lower = TRUE};
    LeaseAnswer answer;

    g_assert_false(voter_renew(&v, &asked, &sight, &answer));
    g_assert_cmpint(answer.verdict, ==, LEASE_STOP_FIRST);
    sight.runs_lower = FALSE;
    g_assert_true(voter_renew(&v, &asked, &sight, &answer));
    g_assert_cmpint(answer.verdict, ==, LEASE_GRANTED);
    g_assert_true(reign_equal(v.record.promised, NEXT));
    g_assert_cmpint(renew(&v, FIRST, 1, 1).verdict, ==, LEASE_HIGHER);
}

static void test_fenced_before(void)
{
    const VoterSight sight = {.now = at(20000)};
    const LeaseRenewal asked[] = {{FIRST, 1, ((guint64)9 << 32) + 7, 10000, FALSE},
                                  {FIRST, 1, ((guint64)8 << 32) + 1, 10000, FALSE},
                                  {FIRST, 1, ((guint64)8 << 32) + 2, 10000, TRUE}};
    Voter v = voter_of(FIRST, 1);
    LeaseAnswer answer;

    /* The two of the former process are late, and come when the next has its lease. */
    for (guint i = 0; i < G_N_ELEMENTS(asked); i++)
        (void)voter_renew(&v, &asked[i], &sight, &answer);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, FIRST, NEXT, 29999), ==, VOTE_KEEPS);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, FIRST, NEXT, 30000), ==, VOTE_GIVEN);
}

/* Who holds nothing any more ends the grant, but not one that was made after it said so. */
static void test_fenced(void)
{
    const VoterSight sight = {.now = at(20000)};
    LeaseRenewal before = {FIRST, 1, ((guint64)9 << 32) + 1, 10000, TRUE},
                 asked = {FIRST, 1, ((guint64)9 << 32) + 2, 10000, FALSE},
                 after = {FIRST, 1, ((guint64)9 << 32) + 3, 10000, TRUE},
                 stranger = {FIRST, 1, ((guint64)8 << 32) + 9, 10000, TRUE};
    Voter v = voter_of(FIRST, 1);
    LeaseAnswer answer;

    (void)voter_renew(&v, &asked, &sight, &answer);
    (void)voter_renew(&v, &before, &sight, &answer);
    (void)voter_renew(&v, &stranger, &sight, &answer);
    g_assert_cmpint(answer.verdict, ==, LEASE_NOT_GRANTED);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, FIRST, NEXT, 20001), ==, VOTE_KEEPS);
    (void)voter_renew(&v, &after, &sight, &answer);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, FIRST, NEXT, 20001), ==, VOTE_GIVEN);
}

/* One whose guest was stopped asks for no lease where it hears no answer, and goes by none of before; where it hears one it asks again. */
static void test_stopped(void)
{
    Holder h;
    LeaseRenewal first, asked;
    LeaseAnswer granted = {0, LEASE_GRANTED, FIRST, 1, 1}, not_granted = {0, LEASE_NOT_GRANTED, FIRST, 1, 1};

    holder_start(&h, FIRST, 1, TRUE, lease_quorum(2), 7);
    first = holder_ask(&h, 0, FALSE, &TIMES, at(0));
    asked = holder_ask(&h, 0, TRUE, &TIMES, at(2000));
    g_assert_true(asked.fenced);
    granted.nonce = first.nonce;
    holder_hear(&h, 0, &granted);
    g_assert_cmpint(holder_left_ms(&h, at(2000)), ==, 0);
    not_granted.nonce = asked.nonce;
    holder_hear(&h, 0, &not_granted);
    asked = holder_ask(&h, 0, TRUE, &TIMES, at(4000));
    g_assert_false(asked.fenced);
    granted.nonce = asked.nonce;
    holder_hear(&h, 0, &granted);
    g_assert_cmpint(holder_left_ms(&h, at(4000)), ==, 9800);
    asked = holder_ask(&h, 0, TRUE, &TIMES, at(6000));
    g_assert_false(asked.fenced);
    g_assert_true(holder_ask(&h, 0, TRUE, &TIMES, at(8000)).fenced);
}

static void test_cap(void)
{
    Voter v = voter_of(FIRST, 1);
    LeaseRenewal asked = {FIRST, 1, 1, 30000, FALSE};
    VoterSight sight = {.now = at(20000)};
    LeaseAnswer answer;

    g_assert_true(voter_renew(&v, &asked, &sight, &answer)); /* durable before it is granted */
    g_assert_cmpint(v.record.cap_ms, ==, 30000);
    asked.grant_ms = 5000;
    g_assert_false(voter_renew(&v, &asked, &sight, &answer));
    g_assert_cmpint(v.record.cap_ms, ==, 30000); /* the long one is kept still */
    sight.now = at(45000);
    g_assert_true(voter_renew(&v, &asked, &sight, &answer));
    g_assert_cmpint(v.record.cap_ms, ==, 5000);
}

static void test_copy(void)
{
    const VoterRecord record = {FIRST, 1, 10000};
    Voter v;

    voter_start(&v, &record, 1, TRUE, at(0));
    g_assert_cmpint(renew(&v, FIRST, 1, 20000).verdict, ==, LEASE_NOT_GRANTED);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, FIRST, NEXT, 20000), ==, VOTE_MUTE);
    g_assert_cmpint(renew(&v, THIRD, 0, 20000).verdict, ==, LEASE_NOT_GRANTED);
    g_assert_true(reign_equal(v.record.promised, FIRST));
    g_assert_true(voter_speak(&v, NEXT, 3, 12000, 2, at(20000)));
    g_assert_true(reign_equal(v.record.promised, NEXT));
    g_assert_cmpint(renew(&v, NEXT, 3, 20000).verdict, ==, LEASE_GRANTED);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, NEXT, THIRD, 31999), ==, VOTE_SITS);
    g_assert_cmpint(vote(&v, BALLOT_ELECTION, NEXT, THIRD, 32000), ==, VOTE_GIVEN);
}

static void test_release_and_force(void)
{
    Voter v = voter_of(FIRST, 1);

    (void)renew(&v, FIRST, 1, 0);
    g_assert_cmpint(vote(&v, BALLOT_FORCE, FIRST, NEXT, 1), ==, VOTE_SITS);
    g_assert_cmpint(vote(&v, BALLOT_RELEASE, FIRST, NEXT, 1), ==, VOTE_GIVEN);
    /* One that was given away, of which it never heard. */
    g_assert_cmpint(vote(&v, BALLOT_RELEASE, THIRD, (Reign){4, {{5}}}, 2), ==, VOTE_GIVEN);
    g_assert_cmpint(vote(&v, BALLOT_RELEASE, THIRD, (Reign){4, {{6}}}, 2), ==, VOTE_OTHER_REIGN);
    (void)renew(&v, (Reign){4, {{5}}}, 1, 20000);
    voter_close(&v, at(25000));
    g_assert_cmpint(renew(&v, (Reign){4, {{5}}}, 1, 25000).verdict, ==, LEASE_NOT_GRANTED);
    g_assert_cmpint(vote(&v, BALLOT_FORCE, FIRST, (Reign){6, {{7}}}, 29999), ==, VOTE_KEEPS);
    g_assert_cmpint(vote(&v, BALLOT_FORCE, FIRST, (Reign){6, {{7}}}, 30000), ==, VOTE_GIVEN);
    g_assert_cmpint(v.closed.boot_ms, ==, 0);
    (void)renew(&v, (Reign){6, {{7}}}, 1, 40000);
    g_assert_cmpint(vote(&v, BALLOT_CERTIFIED, FIRST, (Reign){8, {{8}}}, 40001), ==, VOTE_GIVEN);
    /* Where nobody can be elected, an operator need not wait. */
    g_assert_cmpint(vote(&v, BALLOT_FORCE, FIRST, (Reign){10, {{9}}}, 40002), ==, VOTE_GIVEN);
}

static VoteVerdict vote_fenced(Voter *v, gint64 sure_ms, gint64 now_ms)
{
    const Ballot ballot = {BALLOT_CERTIFIED, FIRST, NEXT, sure_ms};
    VoteVerdict verdict;

    (void)voter_vote(v, &ballot, at(now_ms), &verdict);
    return verdict;
}

/* A fence's word counts while nobody was heard since, and as long as that is sure. */
static void test_certain_by_a_fence(void)
{
    Voter v = voter_of(FIRST, 1);
    const LeaseRenewal old = {FIRST, 1, 1, 10000, FALSE};
    const VoterSight late = {.now = at(900000)};
    LeaseAnswer answer;

    (void)renew(&v, FIRST, 1, 100000);
    g_assert_cmpint(vote_fenced(&v, 20000, 100001), ==, VOTE_HEARD);
    /* It may have been 10 s on its way, and the clocks differ. */
    g_assert_cmpint(vote_fenced(&v, 20000, 130399), ==, VOTE_HEARD);
    g_assert_cmpint(vote_fenced(&v, BALLOT_SURE_MAX_MS, 500000000), ==, VOTE_HEARD);
    g_assert_cmpint(vote_fenced(&v, 20000, 130400), ==, VOTE_GIVEN);
    /* Promised is promised, whoever is heard then, and whenever it is asked for. */
    voter_renew(&v, &old, &late, &answer);
    g_assert_cmpint(answer.verdict, ==, LEASE_HIGHER);
    g_assert_cmpint(vote_fenced(&v, BALLOT_SURE_MAX_MS, 900000), ==, VOTE_GIVEN);
    /* Who has just begun may have heard it before; an operator knows. */
    v = voter_of(FIRST, 1);
    g_assert_cmpint(vote_fenced(&v, 5000, 15000), ==, VOTE_HEARD);
    g_assert_cmpint(vote_fenced(&v, 5000, 15100), ==, VOTE_GIVEN);
    v = voter_of(FIRST, 1);
    (void)renew(&v, FIRST, 1, 50000);
    g_assert_cmpint(vote_fenced(&v, 0, 50000), ==, VOTE_GIVEN);
    /* One that need not hold a lease asks, too; and one that says that it holds none. */
    v = voter_of(FIRST, 0);
    (void)renew(&v, FIRST, 0, 50000);
    g_assert_cmpint(vote_fenced(&v, 20000, 60000), ==, VOTE_HEARD);
}

static void test_holder(void)
{
    Voter standby = voter_of(FIRST, 0);
    VoterSight sight = {.now = at(100)};
    LeaseRenewal asked, old;
    LeaseAnswer answer;
    Holder h;

    holder_start(&h, FIRST, 0, FALSE, lease_quorum(2), 7);
    g_assert_true(holder_may_go_on(&h, at(0)));
    g_assert_false(holder_may_start(&h, at(0))); /* nobody says that there is no higher one */
    asked = holder_ask(&h, 0, FALSE, &TIMES, at(0));
    (void)voter_renew(&standby, &asked, &sight, &answer);
    holder_hear(&h, 0, &answer);
    g_assert_cmpint(holder_left_ms(&h, at(100)), ==, 9700); /* from when it was asked */
    g_assert_true(holder_may_start(&h, at(100)));
    g_assert_false(holder_may_arm(&h, at(100))); /* of two, one speaks: nobody could be elected */
    g_assert_true(holder_arm(&h));
    g_assert_true(holder_may_go_on(&h, at(9799)));
    g_assert_false(holder_may_go_on(&h, at(9800)));
    g_assert_false(holder_may_start(&h, at(9800 - LEASE_STOP_MS)));
    old = asked;
    asked = holder_ask(&h, 0, FALSE, &TIMES, at(5000));
    (void)voter_renew(&standby, &asked, &sight, &answer);
    holder_hear(&h, 0, &answer);
    answer.nonce = old.nonce;
    holder_hear(&h, 0, &answer); /* late, and twice */
    g_assert_cmpint(holder_left_ms(&h, at(5000)), ==, 9800);
    answer.nonce = 12345;
    holder_hear(&h, 1, &answer); /* to another process */
    g_assert_false(h.voters[1].answered);
    /* Told first, and enforced until it is confirmed. */
    g_assert_true(holder_disarm(&h));
    g_assert_true(h.enforces);
    asked = holder_ask(&h, 0, FALSE, &TIMES, at(6000));
    (void)voter_renew(&standby, &asked, &sight, &answer);
    holder_hear(&h, 0, &answer);
    g_assert_false(h.enforces);
    g_assert_true(holder_may_go_on(&h, at(100000)));
    /* Another is the active now. */
    answer = (LeaseAnswer){holder_ask(&h, 1, FALSE, &TIMES, at(7000)).nonce, LEASE_HIGHER, NEXT, 0, 1};
    holder_hear(&h, 1, &answer);
    g_assert_false(holder_may_go_on(&h, at(7000)));
}

/* A voter that knows of a later arm than its active, whose file was put back, confirms no disarming by that. */
static void test_holder_forgets(void)
{
    Holder h;
    LeaseAnswer answer;

    holder_start(&h, FIRST, 2, TRUE, lease_quorum(2), 7);
    answer = (LeaseAnswer){holder_ask(&h, 0, FALSE, &TIMES, at(0)).nonce, LEASE_GRANTED, FIRST, 3, 1};
    holder_hear(&h, 0, &answer);
    g_assert_true(holder_may_go_on(&h, at(100)));
    g_assert_false(holder_may_go_on(&h, at(100000)));
    g_assert_cmpuint(h.arm, ==, 3);
    g_assert_true(holder_disarm(&h));
    answer = (LeaseAnswer){holder_ask(&h, 0, FALSE, &TIMES, at(5000)).nonce, LEASE_GRANTED, FIRST, 4, 1};
    holder_hear(&h, 0, &answer);
    g_assert_true(holder_may_go_on(&h, at(100000)));
    /* All of it is forgotten: it enforces as soon as it hears. */
    holder_start(&h, FIRST, 0, FALSE, lease_quorum(2), 8);
    answer = (LeaseAnswer){holder_ask(&h, 1, FALSE, &TIMES, at(0)).nonce, LEASE_NOT_GRANTED, FIRST, 3, 1};
    holder_hear(&h, 1, &answer);
    g_assert_false(holder_may_go_on(&h, at(0)));
}

/* Of three voters two keep it: the lease is as long as the second longest. */
static void test_holder_of_several(void)
{
    Holder h;

    holder_start(&h, FIRST, 1, TRUE, lease_quorum(3), 7);
    for (guint i = 0; i < 3; i++) {
        LeaseAnswer answer = {holder_ask(&h, i, FALSE, &TIMES, at(1000 * i)).nonce, LEASE_GRANTED, FIRST, 1,
                              1};

        g_assert_cmpint(holder_left_ms(&h, at(2000)), ==, i < 2 ? 0 : 7800);
        holder_hear(&h, i, &answer);
    }
    g_assert_cmpint(holder_left_ms(&h, at(2000)), ==, 8800);
}

/* A process that begins does not know whether the disarming was confirmed. */
static void test_holder_begins_anew(void)
{
    Holder h;

    holder_start(&h, FIRST, 2, TRUE, lease_quorum(2), 7);
    g_assert_true(h.enforces);
    holder_start(&h, FIRST, 2, FALSE, lease_quorum(2), 7);
    g_assert_false(h.enforces);
    holder_start(&h, FIRST, 1, FALSE, lease_quorum(2), 7);
    g_assert_true(h.enforces);
    holder_start(&h, FIRST, 0, TRUE, lease_quorum(2), 7);
    g_assert_false(h.enforces);
}

static void test_candidate(void)
{
    const Ballot ballot = {BALLOT_ELECTION, FIRST, NEXT}, another = {BALLOT_ELECTION, FIRST, OTHER};
    Candidate c = {0};

    candidate_stand(&c, &ballot, lease_quorum(2));
    g_assert_false(candidate_has_others(&c));
    candidate_hear(&c, 1, &ballot, VOTE_KEEPS, 1);
    candidate_hear(&c, 1, &another, VOTE_GIVEN, 1);
    g_assert_false(candidate_has_others(&c));
    candidate_hear(&c, 1, &ballot, VOTE_GIVEN, 1);
    g_assert_true(candidate_has_others(&c));
    candidate_void(&c, 1, 2);
    g_assert_false(candidate_has_others(&c));
    candidate_hear(&c, 1, &ballot, VOTE_GIVEN, 1); /* it was on its way */
    g_assert_false(candidate_has_others(&c));
    candidate_hear(&c, 1, &ballot, VOTE_GIVEN, 2);
    g_assert_true(candidate_has_others(&c));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lease/times", test_times);
    g_test_add_func("/lease/quorum", test_quorum);
    g_test_add_func("/lease/clocks", test_clocks);
    g_test_add_func("/lease/voter/grant", test_votes_when_its_grant_is_over);
    g_test_add_func("/lease/voter/arm", test_arm);
    g_test_add_func("/lease/voter/known-otherwise", test_known_otherwise);
    g_test_add_func("/lease/voter/higher", test_obeys_a_higher_one);
    g_test_add_func("/lease/voter/fenced", test_fenced);
    g_test_add_func("/lease/voter/fenced-before", test_fenced_before);
    g_test_add_func("/lease/holder/stopped", test_stopped);
    g_test_add_func("/lease/voter/cap", test_cap);
    g_test_add_func("/lease/voter/copy", test_copy);
    g_test_add_func("/lease/voter/release-and-force", test_release_and_force);
    g_test_add_func("/lease/certain-by-a-fence", test_certain_by_a_fence);
    g_test_add_func("/lease/holder", test_holder);
    g_test_add_func("/lease/holder/several", test_holder_of_several);
    g_test_add_func("/lease/holder/anew", test_holder_begins_anew);
    g_test_add_func("/lease/holder/forgets", test_holder_forgets);
    g_test_add_func("/lease/candidate", test_candidate);
    return g_test_run();
}
