/* SPDX-License-Identifier: Apache-2.0 */
/* An active's leases and its two voters, on one loop, each with a file of its own: renewed in lists, armed when that is durable, over when nobody
 * answers or another reign is the one. Nothing here depends on how long a turn takes: what is waited for is the state. */
#include "orchestrator/votes/lease_clock.h"
#include "orchestrator/votes/leases.h"

#include <glib/gstdio.h>
#include <string.h>

#define VMS 200

static const Id STANDBY = {{0xb}}, CONTROLLER = {{0xc}}, VM = {{1}};
static const Reign FIRST = {1, {{1}}}, NEXT = {2, {{2}}};
static const LeaseTimes SHORT = {2200, 2100, 20}, LONG = {600000, 590000, 20};

typedef struct {
    uv_loop_t loop;
    Clerk *clerk;
    char *folders[3], *paths[3]; /* the active's, the standby's, the controller's */
    Voters *active, *standby, *controller;
    Leases *leases;
    gboolean deaf[2];   /* nobody hears the standby, the controller */
    guint lists, items; /* that were sent to the standby */
    guint64 arm_told;   /* the highest */
    LeaseUntil until;   /* the last that was told of VM */
    guint told;
} Desk;

static gboolean look(void *user, Id vm, VoterSight *ret_sight)
{
    (void)vm;
    (void)user;
    (void)ret_sight;
    return TRUE;
}

typedef struct {
    Desk *d;
    Id voter;
} Asked;

static void on_renewed(void *user, const GArray *answers, const GError *error)
{
    g_autofree Asked *a = user;

    if (!error && a->d->leases && !a->d->deaf[id_equal(a->voter, CONTROLLER)])
        leases_hear(a->d->leases, a->voter, answers);
}

static gboolean look_for_asked(void *user, Id vm, VoterSight *ret_sight)
{
    return look(((Asked *)user)->d, vm, ret_sight);
}

static void on_ask(void *user, Id voter, const GArray *renewals)
{
    Desk *d = user;
    gboolean controller = id_equal(voter, CONTROLLER);
    Asked *a = g_new0(Asked, 1);

    *a = (Asked){d, voter};
    if (!controller) {
        d->lists++;
        d->items += renewals->len;
    }
    for (guint i = 0; i < renewals->len; i++)
        d->arm_told = MAX(d->arm_told, g_array_index(renewals, Renewal, i).renewal.arm);
    voters_renew(controller ? d->controller : d->standby, renewals, look_for_asked, on_renewed, a);
}

static void on_until(void *user, Id vm, const LeaseUntil *until)
{
    Desk *d = user;

    if (!id_equal(vm, VM))
        return;
    d->until = *until;
    d->told++;
}

static Voters *open_voters(Desk *d, guint at, const char *name)
{
    d->folders[at] = g_dir_make_tmp("leases-XXXXXX", NULL);
    d->paths[at] = g_build_filename(d->folders[at], name, NULL);
    return voters_new(d->clerk, d->paths[at]);
}

static const LeasesEvents EVENTS = {on_ask, on_until};

static Desk *desk_new(const LeaseTimes *times)
{
    const Id voters[] = {STANDBY, CONTROLLER};
    Desk *d = g_new0(Desk, 1);

    g_assert_cmpint(uv_loop_init(&d->loop), ==, 0);
    d->clerk = clerk_new(&d->loop);
    d->active = open_voters(d, 0, "active");
    d->standby = open_voters(d, 1, "standby");
    d->controller = open_voters(d, 2, "controller");
    voters_speak(d->standby, VM, FIRST, 0, 1, 65537);
    voters_speak(d->controller, VM, FIRST, 0, 1, 65537);
    d->leases = leases_new(&d->loop, d->active, &EVENTS, d);
    leases_hold(d->leases, VM, FIRST, voters, 2, times, FALSE);
    return d;
}

static void desk_free(Desk *d)
{
    leases_close(d->leases);
    d->leases = NULL;
    clerk_close(d->clerk);
    voters_free(d->active);
    voters_free(d->standby);
    voters_free(d->controller);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    g_assert_cmpint(uv_loop_close(&d->loop), ==, 0);
    for (guint i = 0; i < 3; i++) {
        g_unlink(d->paths[i]);
        g_rmdir(d->folders[i]);
        g_free(d->paths[i]);
        g_free(d->folders[i]);
    }
    g_free(d);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Desk, desk_free)

#define UNTIL(d, condition) \
    while (!(condition))    \
    uv_run(&(d)->loop, UV_RUN_ONCE)

static LeaseUntil now_of(const Desk *d)
{
    LeaseUntil until;

    g_assert_true(leases_until(d->leases, VM, &until));
    return until;
}

static void test_may_start(void)
{
    g_autoptr(Desk) d = desk_new(&LONG);

    g_assert_false(now_of(d).may_start);
    UNTIL(d, d->until.may_start);
    g_assert_false(d->until.enforced);
    leases_let_go(d->leases, VM);
    g_assert_false(leases_until(d->leases, VM, &d->until));
}

/* One whose protection ends, and begins again in the same reign, is not stopped before it has a lease. */
static void test_held_again(void)
{
    const Id voters[] = {STANDBY, CONTROLLER};
    g_autoptr(Desk) d = desk_new(&LONG);

    UNTIL(d, d->until.may_start);
    leases_arm(d->leases, VM, TRUE);
    UNTIL(d, d->arm_told == 1);
    leases_let_go(d->leases, VM);
    leases_hold(d->leases, VM, FIRST, voters, 2, &LONG, FALSE);
    g_assert_false(now_of(d).enforced);
    leases_arm(d->leases, VM, TRUE);
    UNTIL(d, d->arm_told == 3);
    g_assert_true(now_of(d).enforced && now_of(d).may_start);
}

/* The same while an arm is being kept: that was the former holder's, and the one that is told is the one that is durable. */
static void test_held_again_meanwhile(void)
{
    const Id voters[] = {STANDBY, CONTROLLER};
    g_autoptr(Desk) d = desk_new(&LONG);
    guint lists;

    UNTIL(d, d->until.may_arm);
    leases_arm(d->leases, VM, TRUE);
    leases_let_go(d->leases, VM);
    leases_hold(d->leases, VM, FIRST, voters, 2, &LONG, FALSE);
    lists = d->lists;
    UNTIL(d, d->lists >= lists + 5);
    g_assert_cmpuint(d->arm_told, ==, 2);
    g_assert_cmpuint(voters_own_arm(d->active, VM, FIRST), ==, 2);
    g_assert_false(now_of(d).enforced);
}

static void on_kept(void *user, const GError *error)
{
    g_assert_no_error(error);
    *(gboolean *)user = TRUE;
}

/* A process of the active ends, and its file is gone when the next one begins. */
static void lose_file(Desk *d)
{
    const Id other = {{9}};
    gboolean kept = FALSE;

    leases_close(g_steal_pointer(&d->leases));
    voters_keep_arm(d->active, other, FIRST, 1, on_kept, &kept);
    UNTIL(d, kept);
    voters_free(d->active);
    g_assert_cmpint(g_unlink(d->paths[0]), ==, 0);
    d->active = voters_new(d->clerk, d->paths[0]);
    d->leases = leases_new(&d->loop, d->active, &EVENTS, d);
}

/* Its own file was lost: whoever was armed since is armed still, and held to its lease. */
static void test_forgotten_arm(void)
{
    const Id voters[] = {STANDBY, CONTROLLER};
    g_autoptr(Desk) d = desk_new(&LONG);

    UNTIL(d, d->until.may_start);
    leases_arm(d->leases, VM, TRUE);
    UNTIL(d, voters_promised(d->standby, VM).arm == 1 && voters_promised(d->controller, VM).arm == 1);
    lose_file(d);
    d->told = 0;
    leases_hold(d->leases, VM, FIRST, voters, 2, &LONG, FALSE);
    UNTIL(d, d->until.may_start && d->told > 1);
    UNTIL(d, voters_own_arm(d->active, VM, FIRST) >= 1);
    /* Nobody wants it armed: that is told, and confirmed, as ever. */
    UNTIL(d, voters_promised(d->standby, VM).arm == 2 || voters_promised(d->controller, VM).arm == 2);
    UNTIL(d, !now_of(d).enforced);
}

/* Two hundred are one list for each voter, time after time. */
static void test_lists(void)
{
    const Id voters[] = {STANDBY, CONTROLLER};
    g_autoptr(Desk) d = desk_new(&LONG);
    guint lists, items;

    for (guint i = 2; i <= VMS; i++) {
        const Id vm = {{0, (guint8)(i >> 8), (guint8)i}};

        voters_speak(d->standby, vm, FIRST, 0, 1, 65537);
        voters_speak(d->controller, vm, FIRST, 0, 1, 65537);
        leases_hold(d->leases, vm, FIRST, voters, 2, &LONG, FALSE);
    }
    UNTIL(d, d->items >= VMS);
    lists = d->lists;
    items = d->items;
    UNTIL(d, d->lists >= lists + 5);
    g_assert_cmpuint(d->items - items, ==, (d->lists - lists) * VMS);
}

/* Who has no lease is not armed: it would have to be stopped at once. Nor is one whose lease one voter keeps: the other could not elect anybody. */
static void test_not_armed_without(void)
{
    g_autoptr(Desk) d = desk_new(&LONG);

    d->deaf[0] = d->deaf[1] = TRUE;
    leases_arm(d->leases, VM, TRUE);
    UNTIL(d, d->lists >= 5);
    g_assert_cmpuint(d->arm_told, ==, 0);
    g_assert_false(now_of(d).enforced);
    d->deaf[0] = FALSE;
    UNTIL(d, now_of(d).may_start && d->lists >= 10);
    g_assert_cmpuint(d->arm_told, ==, 0);
    g_assert_false(now_of(d).enforced || now_of(d).may_arm);
    d->deaf[1] = FALSE;
    UNTIL(d, d->arm_told == 1);
    g_assert_true(now_of(d).enforced && now_of(d).may_start);
}

/* One voter is enough, and none is not. */
static void test_nobody_answers(void)
{
    g_autoptr(Desk) d = desk_new(&SHORT);

    UNTIL(d, d->told > 0);
    leases_arm(d->leases, VM, TRUE);
    UNTIL(d, d->until.enforced);
    d->deaf[0] = TRUE;
    UNTIL(d, d->told > 20);
    g_assert_cmpint(lease_left_ms(d->until.until, lease_clock_now()), >, 0);
    d->deaf[1] = TRUE;
    UNTIL(d, lease_left_ms(now_of(d).until, lease_clock_now()) <= 0);
    g_assert_true(now_of(d).enforced);
    /* Stopped it says so; answered again it may start again. */
    leases_stopped(d->leases, VM, TRUE);
    d->deaf[0] = d->deaf[1] = FALSE;
    d->told = 0;
    UNTIL(d, lease_left_ms(d->until.until, lease_clock_now()) > 0);
    g_assert_false(d->until.is_over);
}

/* No voter hears of an arm that is not durable; when it is, it is enforced before it is told. */
static void test_arm_is_durable(void)
{
    g_autoptr(Desk) d = desk_new(&LONG);
    guint lists;

    UNTIL(d, d->until.may_arm);
    g_assert_cmpint(g_rmdir(d->folders[0]), ==, 0);
    leases_arm(d->leases, VM, TRUE);
    lists = d->lists;
    UNTIL(d, d->lists > lists + 3);
    g_assert_cmpuint(d->arm_told, ==, 0);
    g_assert_false(now_of(d).enforced);
    g_assert_cmpint(g_mkdir(d->folders[0], 0700), ==, 0);
    UNTIL(d, d->arm_told > 0);
    g_assert_true(now_of(d).enforced);
    g_assert_cmpuint(voters_own_arm(d->active, VM, FIRST), ==, 1);
    g_assert_cmpuint(voters_own_arm(d->active, VM, NEXT), ==, 0);
    leases_arm(d->leases, VM, FALSE);
    UNTIL(d, !now_of(d).enforced);
    g_assert_cmpuint(d->arm_told, ==, 2);
}

static void on_voted(void *user, VoteVerdict verdict, guint64 incarnation, const GError *error)
{
    (void)incarnation;
    g_assert_no_error(error);
    *(VoteVerdict *)user = verdict;
}

static void test_another_reign(void)
{
    const Ballot ballot = {BALLOT_CERTIFIED, FIRST, NEXT};
    g_autoptr(Desk) d = desk_new(&LONG);
    VoteVerdict verdict = VOTE_MUTE;

    UNTIL(d, d->until.may_start);
    voters_vote(d->standby, VM, &ballot, on_voted, &verdict);
    UNTIL(d, d->until.is_over);
    g_assert_cmpint(verdict, ==, VOTE_GIVEN);
    g_assert_false(now_of(d).may_start);
}

/* An arm is being kept while all of it ends. */
static void test_ends_in_the_middle(void)
{
    g_autoptr(Desk) d = desk_new(&LONG);

    UNTIL(d, d->until.may_arm);
    leases_arm(d->leases, VM, TRUE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/leases/may-start", test_may_start);
    g_test_add_func("/leases/held-again", test_held_again);
    g_test_add_func("/leases/held-again-meanwhile", test_held_again_meanwhile);
    g_test_add_func("/leases/forgotten-arm", test_forgotten_arm);
    g_test_add_func("/leases/lists", test_lists);
    g_test_add_func("/leases/not-armed-without", test_not_armed_without);
    g_test_add_func("/leases/nobody-answers", test_nobody_answers);
    g_test_add_func("/leases/arm-is-durable", test_arm_is_durable);
    g_test_add_func("/leases/another-reign", test_another_reign);
    g_test_add_func("/leases/ends-in-the-middle", test_ends_in_the_middle);
    return g_test_run();
}
