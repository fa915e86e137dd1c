/* SPDX-License-Identifier: Apache-2.0 */
/* Is it alive? What hosts say of each other and of their guests comes in, events, restarts and countdowns come out; time is a
 * number. Then a thousand scenarios at once, with whatever happens to hosts and guests, and what must always hold. */
#include "stage.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"

#include <string.h>

/* --- hosts -------------------------------------------------------------------- */

static void test_host_dies(void)
{
    g_autoptr(Stage) s = stage_new();

    stage_lose(s);
    s->path = 1;
    stage_pass(s, FALSE);
    s->path = 3;
    stage_pass_for(s, 22, FALSE);
    stage_expect(s, "[   2] PROBE_MISSED alpha\n"
                    "[   3] HOST_SILENT alpha\n"
                    "[   3] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  23] time passed -> event SWITCHOVER_REQUIRED\n"
                    "        -> web failed: a VM needs an operator\n");
    g_assert_cmpint(protection_countdown_left_ms(s->w->p, s->w->now_ms), ==, 0);
}

static gboolean was_told_of(const Stage *s, const char *code)
{
    return strstr(s->w->trace->str, code) != NULL;
}

/* Its operator restarts it: of what is so then nothing is told, and all of what is so still when he says that he has done. */
static void test_excused(void)
{
    g_autoptr(Stage) dead = stage_new();
    g_autoptr(Stage) headless = stage_new();
    g_autoptr(Stage) cut = stage_new();

    vitals_excuse(dead->v, "alpha", TRUE);
    stage_lose(dead);
    dead->path = 3;
    stage_pass_for(dead, 22, FALSE);
    g_assert_false(was_told_of(dead, "PROBE_MISSED") || was_told_of(dead, "HOST_SILENT"));
    vitals_excuse(dead->v, "alpha", FALSE);
    world_forget(dead->w);
    stage_pass_for(dead, 2, FALSE);
    stage_expect(dead, "[  24] HOST_SILENT alpha\n");

    vitals_excuse(headless->v, "alpha", TRUE);
    headless->libvirt = FALSE;
    stage_pass_for(headless, 4, TRUE);
    g_assert_false(was_told_of(headless, "HYPERVISOR"));
    vitals_excuse(headless->v, "alpha", FALSE);
    world_forget(headless->w);
    stage_pass(headless, TRUE);
    stage_expect(headless, "[   6] HYPERVISOR_SILENT alpha\n");

    vitals_excuse(cut->v, "alpha", TRUE);
    cut->via = 3;
    stage_pass_for(cut, 10, TRUE);
    stage_expect(cut, "");
    vitals_excuse(cut->v, "alpha", FALSE);
    stage_pass_for(cut, 10, TRUE);
    stage_expect(cut, "[  15] PATH_LOST alpha\n");
}

/* It is back before its guest is; and the guest is started there, once. */
static void test_host_comes_back(void)
{
    g_autoptr(Stage) s = stage_new();

    stage_lose(s);
    s->path = 3;
    stage_pass_for(s, 3, FALSE);
    world_forget(s->w);
    s->path = 0;
    stage_pass_for(s, 3, FALSE);
    stage_expect(s, "[   5] HOST_BACK alpha\n");
    stage_find(s);
    s->unheard = TRUE;
    stage_pass_for(s, 2, TRUE);
    stage_expect(s, "");
    s->unheard = FALSE;
    s->libvirt = FALSE;
    s->word = "unknown";
    stage_pass_for(s, 2, TRUE);
    stage_expect(s, "[  10] HYPERVISOR_SILENT alpha\n");
    s->libvirt = TRUE;
    s->word = "idle";
    stage_pass_for(s, 2, TRUE);
    stage_expect(s, "[  12] HYPERVISOR_BACK alpha\n"
                    "[  12] time passed -> guest.revive to alpha for web1\n");
    s->word = "alive";
    s->boots = 1;
    stage_revived(s, -1, NULL);
    s->agent = 3;
    stage_pass_for(s, 3, TRUE);
    s->agent = 0;
    stage_pass_for(s, 7, TRUE);
    stage_expect(s, "[  13] alpha did guest.revive for web1 -> event GUEST_RESTARTED\n"
                    "[  22] time passed -> event GUEST_BACK\n"
                    "        -> event COUNTDOWN_CANCELLED\n");
    g_assert_cmpint(protection_countdown_left_ms(s->w->p, s->w->now_ms), ==, -1);
}

/* A whole site loses its mains: the controller has heard of the guest before, and does not take it for one that is off. Nor does it
 * start it before beta has said that it was not made the active meanwhile. */
static void test_site_comes_back(void)
{
    g_autoptr(Stage) s = stage_new();

    stage_restart(s);
    world_link(s->w, "beta", TRUE);
    stage_find(s);
    s->word = "idle";
    stage_pass(s, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "time passed -> event GUEST_SILENT\n"
                                              "        -> event COUNTDOWN_STARTED\n"));
    stage_pass_for(s, 3, TRUE);
    g_assert_null(strstr(s->w->trace->str, "guest.revive"));
    world_hear(s->w, "alpha");
    world_hear(s->w, "beta");
    stage_pass(s, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "guest.revive to alpha for web1\n"));
}

/* It is off for all that is made of it, but for who wants to shut it down. */
static void test_paused(void)
{
    g_autoptr(Stage) s = stage_new();
    const ProtectionVm *web1 = s->w->p->vms->pdata[0];

    s->word = "paused";
    stage_pass_for(s, 30, TRUE);
    stage_expect(s, "[   2] time passed -> keep durably\n");
    g_assert_true(web1->life.state == GUEST_LIFE_OFF && web1->life.paused);
    s->word = "alive";
    stage_pass(s, TRUE);
    g_assert_true(web1->life.state == GUEST_LIFE_ALIVE && !web1->life.paused);
    world_forget(s->w);
}

/* Nor does a host that is silent from the start take one with it that was off. */
static void test_was_off(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "off";
    stage_pass_for(s, 2, TRUE);
    stage_expect(s, "[   2] time passed -> keep durably\n");
    stage_restart(s);
    world_link(s->w, "beta", TRUE);
    stage_lose(s);
    s->path = 3;
    stage_pass_for(s, 30, FALSE);
    g_assert_nonnull(strstr(s->w->trace->str, "HOST_SILENT alpha"));
    g_assert_null(strstr(s->w->trace->str, "GUEST_SILENT"));
    g_assert_null(strstr(s->w->trace->str, "COUNTDOWN"));
}

/* --- a controller that starts again ------------------------------------------------ */

/* With all that was durable of the checks. */
static void everybody_is_back(Stage *s)
{
    json_auto_t *kept = json_incref(s->w->durable);

    stage_controller_back(s, 1, EVENT_LINK_LOST);
    protection_recall_answers(kept, s->v);
}

/* …and only what people are told: what engines are is another matter. */
static void expect_told(Stage *s, const char *wanted)
{
    g_auto(GStrv) lines = g_strsplit(s->w->trace->str, "\n", -1);
    g_autoptr(GString) told = g_string_new(NULL);

    for (char **line = lines; *line; line++)
        if (strstr(*line, "event ") || (**line == '[' && !strstr(*line, " -> ")))
            g_string_append_printf(told, "%s\n", *line);
    g_assert_cmpstr(told->str, ==, wanted);
    world_forget(s->w);
}

/* Silent since a moment ago, and ten seconds of the countdown are over. */
static Stage *stage_new_of_dead_host(guint vms)
{
    Stage *s = stage_new_of(vms);

    s->w->p->scenario->policy.probe_interval_ms = 1000;
    stage_lose(s);
    s->path = 3;
    stage_pass_for(s, 10, FALSE);
    stage_expect(s, vms == 1 ? "[   2] PROBE_MISSED alpha\n"
                               "[   2] HOST_SILENT alpha\n"
                               "[   2] time passed -> event GUEST_SILENT\n"
                               "        -> event COUNTDOWN_STARTED\n"
                             : "[   2] PROBE_MISSED alpha\n"
                               "[   2] HOST_SILENT alpha\n"
                               "[   2] time passed -> event GUEST_SILENT\n"
                               "        -> event GUEST_SILENT\n"
                               "        -> event COUNTDOWN_STARTED\n");
    return s;
}

/* Nothing is told twice, the countdown goes on, and all is told when it is over. */
static void test_goes_on(void)
{
    g_autoptr(Stage) s = stage_new_of_dead_host(1);

    stage_controller_back(s, 4, EVENT_HOST_SILENT);
    g_assert_cmpint(protection_countdown_left_ms(s->w->p, s->w->now_ms), ==, 7000);
    stage_pass_for(s, 20, FALSE);
    expect_told(s, "[  22] time passed -> event SWITCHOVER_REQUIRED\n");
    stage_controller_back(s, 4, EVENT_HOST_SILENT);
    g_assert_cmpint(protection_countdown_left_ms(s->w->p, s->w->now_ms), ==, 0);
    stage_pass_for(s, 40, FALSE);
    expect_told(s, "");
    s->path = 0;
    stage_link(s, TRUE);
    stage_pass_for(s, 2, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "HOST_BACK alpha\n"));
    g_assert_nonnull(strstr(s->w->trace->str, "event GUEST_BACK\n"
                                              "        -> event COUNTDOWN_CANCELLED\n"));
}

/* It does not end in the moment in which a controller starts that has heard nobody; nor does a clock that was set forth end it. */
static void test_ended_meanwhile(void)
{
    g_autoptr(Stage) s = stage_new_of_dead_host(1);

    s->w->wall_ahead_ms += 3600000;
    stage_controller_back(s, 60, EVENT_HOST_SILENT);
    stage_pass_for(s, 10, FALSE);
    expect_told(s, "[  76] time passed -> event SWITCHOVER_REQUIRED\n");
}

/* Nobody is dead who lives when it starts. */
static void test_lives_meanwhile(void)
{
    g_autoptr(Stage) s = stage_new_of_dead_host(1);

    stage_controller_back(s, 60, EVENT_HOST_SILENT);
    stage_pass(s, FALSE);
    s->path = 0;
    stage_link(s, TRUE);
    world_forget(s->w);
    stage_pass_for(s, 30, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "HOST_BACK alpha\n"));
    g_assert_nonnull(strstr(s->w->trace->str, "event GUEST_BACK\n"
                                              "        -> event COUNTDOWN_CANCELLED\n"));
    g_assert_null(strstr(s->w->trace->str, "SILENT"));
    g_assert_null(strstr(s->w->trace->str, "REQUIRED"));
}

/* Where nobody can see them, that they were silent is all there is to know, and no countdown ends by it. */
static void test_seen_by_nobody(void)
{
    g_autoptr(Stage) s = stage_new_of_dead_host(1);

    stage_controller_back(s, 60, EVENT_HOST_SILENT);
    vitals_link(s->v, "beta", FALSE);
    world_link(s->w, "beta", FALSE);
    world_forget(s->w);
    stage_pass_for(s, 100, FALSE);
    expect_told(s, "");
    vitals_link(s->v, "beta", TRUE);
    world_link(s->w, "beta", TRUE);
    world_forget(s->w);
    s->told = 0;
    stage_pass_for(s, 2, FALSE);
    expect_told(s, "[ 172] time passed -> event SWITCHOVER_REQUIRED\n");
}

/* One of two is found so anew, and of the other nobody can say: he holds the alarm up for no longer than a countdown. */
static void test_one_is_seen(void)
{
    g_autoptr(Stage) s = stage_new_of_dead_host(2);

    stage_controller_back(s, 60, EVENT_HOST_SILENT);
    s->path = 0;
    s->word = "stalled";
    s->other = "unknown";
    stage_link(s, TRUE);
    world_forget(s->w);
    stage_pass_for(s, 30, TRUE);
    expect_told(s, "[  72] HOST_BACK alpha\n"
                   "[  91] time passed -> event SWITCHOVER_REQUIRED\n");
}

/* After a boot of the controller's host, whose steady clock begins again; and a wall clock that was set back. */
static void test_other_clocks(void)
{
    g_autoptr(Stage) s = stage_new_of_dead_host(1);

    s->w->wall_ahead_ms += s->w->now_ms - 1000;
    s->w->now_ms = 1000;
    stage_controller_back(s, 2, EVENT_HOST_SILENT);
    g_assert_cmpint(protection_countdown_left_ms(s->w->p, s->w->now_ms), ==, 9000);
    s->w->wall_ahead_ms -= 3600000;
    stage_controller_back(s, 2, EVENT_HOST_SILENT);
    g_assert_cmpint(protection_countdown_left_ms(s->w->p, s->w->now_ms), ==, 20000);
}

/* What is told of guests and hosts that live. */
static void test_told_before(void)
{
    g_autoptr(Stage) s = stage_new();

    stage_pass_for(s, 3, TRUE);
    s->agent = 3;
    stage_pass_for(s, 3, TRUE);
    s->libvirt = FALSE;
    stage_pass_for(s, 3, TRUE);
    stage_expect(s, "[   5] time passed -> event AGENT_SILENT\n"
                    "[   8] HYPERVISOR_SILENT alpha\n");
    stage_controller_back(s, 4, EVENT_HYPERVISOR_SILENT);
    stage_link(s, TRUE);
    world_forget(s->w);
    stage_pass_for(s, 3, TRUE);
    g_assert_null(strstr(s->w->trace->str, "SILENT"));
    s->libvirt = TRUE;
    world_forget(s->w);
    stage_pass_for(s, 30, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "HYPERVISOR_BACK alpha\n"));
    g_assert_null(strstr(s->w->trace->str, "AGENT_SILENT"));
}

/* Its kernel answers, and nothing else: that is told in the end, once, and that it is over; nobody is taken for dead. */
static void test_kernel_alone(void)
{
    g_autoptr(Stage) s = stage_new();

    stage_lose(s);
    s->beat = 2;
    s->hangs = TRUE;
    stage_pass_for(s, 30, FALSE);
    stage_expect(s, "");
    s->beat = 3;
    stage_pass_for(s, 19, FALSE);
    /* An echo that is lost is nothing new. */
    s->path = 1;
    stage_pass(s, FALSE);
    s->path = 0;
    stage_pass_for(s, 40, FALSE);
    stage_expect(s, "[  51] PROBE_MISSED alpha\n"
                    "[  52] time passed -> event HEARTBEAT_LOST\n");
    g_assert_cmpint(protection_countdown_left_ms(s->w->p, s->w->now_ms), ==, -1);
    /* Nor is a restart of the controller, which says that it is over, too. */
    stage_restart(s);
    world_link(s->w, "beta", TRUE);
    world_forget(s->w);
    stage_pass_for(s, 60, FALSE);
    g_assert_null(strstr(s->w->trace->str, "HEARTBEAT"));
    world_forget(s->w);
    s->beat = 0;
    stage_link(s, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "event HEARTBEAT_BACK\n"));
    world_forget(s->w);
    stage_pass_for(s, 5, TRUE);
    g_assert_null(strstr(s->w->trace->str, "HEARTBEAT"));
}

/* An engine that was killed, or is long about its upgrade, is no dead host, and its host says so; nor is one that hung for a while. */
static void test_engine_ended(void)
{
    g_autoptr(Stage) s = stage_new();

    stage_lose(s);
    s->beat = 10;
    stage_pass_for(s, 60, FALSE);
    s->hangs = TRUE;
    stage_pass_for(s, 15, FALSE);
    s->hangs = FALSE;
    stage_pass_for(s, 1, FALSE);
    s->hangs = TRUE;
    stage_pass_for(s, 15, FALSE);
    s->beat = 0; /* the standby hears it, if the controller does not */
    stage_pass_for(s, 1, FALSE);
    s->beat = 10;
    stage_pass_for(s, 15, FALSE);
    stage_expect(s, "");
}

/* Whom its checks from the standby know to be dead has a countdown, and no more need be told. */
static void test_hangs_and_guest_is_dead(void)
{
    g_autoptr(Stage) s = stage_new();
    ScenarioVm *vm = s->w->p->scenario->vms->pdata[0];

    g_ptr_array_add(vm->checks, check_spec_parse("tcp:web1:22@standby", NULL));
    s->has_web = TRUE;
    stage_pass_for(s, 12, TRUE);
    stage_lose(s);
    s->beat = s->web = 10;
    s->hangs = TRUE;
    stage_pass_for(s, 60, FALSE);
    g_assert_nonnull(strstr(s->w->trace->str, "event SWITCHOVER_REQUIRED"));
    g_assert_null(strstr(s->w->trace->str, "HEARTBEAT"));
}

/* The controller loses a host that the standby hears: nobody is dead. */
static void test_line_of_the_controller(void)
{
    g_autoptr(Stage) s = stage_new();

    stage_lose(s);
    stage_pass_for(s, 60, FALSE);
    stage_expect(s, "");
}

/* The standby loses a host that the controller hears. */
static void test_line_of_the_standby(void)
{
    g_autoptr(Stage) s = stage_new();

    s->path = 10;
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "[   2] PROBE_MISSED alpha\n");
}

static void miss_one(Stage *s, int calm_s)
{
    stage_pass_for(s, calm_s, TRUE);
    s->path = 1;
    stage_pass(s, TRUE);
    s->path = 0;
    stage_pass(s, TRUE);
}

/* A line that comes and goes is told of once, and again when it was whole for ten probes. */
static void test_flapping(void)
{
    g_autoptr(Stage) s = stage_new();

    for (int i = 0; i < 300; i++)
        miss_one(s, i % 9);
    stage_expect(s, "[   2] PROBE_MISSED alpha\n");
    miss_one(s, 9);
    stage_expect(s, "[1802] PROBE_MISSED alpha\n");
}

/* What comes after a silence is something new. */
static void test_silent_again(void)
{
    g_autoptr(Stage) s = stage_new();

    for (int i = 0; i < 2; i++) {
        stage_lose(s);
        s->path = 3;
        stage_pass(s, FALSE);
        stage_expect(s, i == 0 ? "[   2] PROBE_MISSED alpha\n"
                                 "[   2] HOST_SILENT alpha\n"
                                 "[   2] time passed -> event GUEST_SILENT\n"
                                 "        -> event COUNTDOWN_STARTED\n"
                               : "[   5] PROBE_MISSED alpha\n"
                                 "[   5] HOST_SILENT alpha\n"
                                 "[   5] time passed -> event GUEST_SILENT\n"
                                 "        -> event COUNTDOWN_STARTED\n");
        /* Its engine is heard before its path is. */
        stage_find(s);
        stage_pass(s, TRUE);
        s->path = 0;
        stage_pass(s, TRUE);
    }
}

/* One of two lines is lost: that is told, nobody is missed, and what is told is not told again by a controller that starts anew. */
static void test_path_lost(void)
{
    g_autoptr(Stage) s = stage_new();

    s->via = 2;
    stage_pass_for(s, 10, TRUE);
    stage_expect(s, "");
    s->via = 3;
    stage_pass_for(s, 2, TRUE);
    s->via = 0; /* it comes and goes */
    stage_pass(s, TRUE);
    s->via = 3;
    stage_pass_for(s, 10, TRUE);
    stage_expect(s, "[  18] PATH_LOST alpha\n");
    s->via = 0;
    stage_pass_for(s, 9, TRUE);
    s->via = 5;
    stage_pass_for(s, 9, TRUE);
    stage_expect(s, "");
    stage_controller_back(s, 1, EVENT_PATH_LOST);
    stage_pass_for(s, 9, TRUE);
    expect_told(s, "");
    s->via = 0;
    stage_pass_for(s, 20, TRUE);
    expect_told(s, "[  63] PATH_BACK alpha\n");
}

/* The one is back before the other is lost, and that it is whole was not told: it is another that is lost now. */
static void test_another_path_lost(void)
{
    g_autoptr(Stage) s = stage_new();

    s->via = 3;
    stage_pass_for(s, 10, TRUE);
    s->via = 0;
    s->path = 3;
    stage_pass_for(s, 10, TRUE);
    s->path = 0;
    stage_pass_for(s, 20, TRUE);
    stage_expect(s, "[   5] PATH_LOST alpha\n"
                    "[  15] PATH_LOST alpha\n"
                    "[  32] PATH_BACK alpha\n");
}

/* With a host all its paths are lost; and when it is back, it is heard on one before the others. */
static void test_paths_of_a_dead_host(void)
{
    g_autoptr(Stage) s = stage_new();

    s->via = 0;
    stage_pass(s, TRUE);
    stage_lose(s);
    s->via = s->path = 3;
    stage_pass_for(s, 19, FALSE);
    g_assert_null(strstr(s->w->trace->str, "PATH_"));
    stage_find(s);
    s->path = 0;
    stage_pass_for(s, 3, TRUE);
    s->via = 0;
    stage_pass_for(s, 30, TRUE);
    g_assert_null(strstr(s->w->trace->str, "PATH_"));
}

/* Whoever does not see its own gateway is cut off itself. */
static void test_blind(void)
{
    g_autoptr(Stage) s = stage_new();

    s->gateway = 0;
    stage_pass(s, TRUE);
    stage_lose(s);
    s->gateway = 3;
    s->path = 5;
    stage_pass_for(s, 60, FALSE);
    stage_expect(s, "[   3] WATCH_BLIND beta\n");
}

/* Its gateway alone, while others are heard, has gone by itself; it blinds nobody, so that who dies afterwards is told. */
static void test_gateway_alone(void)
{
    g_autoptr(Stage) s = stage_new();

    s->gateway = 0;
    stage_pass(s, TRUE);
    s->gateway = 9;
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "");
    stage_lose(s);
    s->path = 5;
    stage_pass_for(s, 5, FALSE);
    stage_expect(s, "[  63] PROBE_MISSED alpha\n"
                    "[  63] HOST_SILENT alpha\n"
                    "[  63] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n");
}

/* One that answers now and then makes no flood of news. */
static void test_gateway_comes_and_goes(void)
{
    g_autoptr(Stage) s = stage_new();

    s->gateway = 0;
    stage_pass(s, TRUE);
    s->path = 2;
    for (int i = 0; i < 50; i++) {
        s->gateway = i % 2 ? 3 : 0;
        stage_pass(s, TRUE);
    }
    s->gateway = s->path = 0;
    stage_pass_for(s, 20, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "WATCH_BLIND beta\n"));
    g_assert_nonnull(strstr(s->w->trace->str, "[  63] WATCH_SEES beta\n"));
    g_assert_true(strstr(s->w->trace->str, "WATCH_BLIND") == g_strrstr(s->w->trace->str, "WATCH_BLIND"));
    g_assert_true(strstr(s->w->trace->str, "WATCH_SEES") == g_strrstr(s->w->trace->str, "WATCH_SEES"));
}

/* Nor does one see anything that came up on a dead line, and whose gateway has so never answered. */
static void test_blind_from_the_start(void)
{
    g_autoptr(Stage) s = stage_new();

    s->gateway = UNRESOLVED;
    stage_lose(s);
    s->path = 5;
    stage_pass_for(s, 60, FALSE);
    s->path = s->gateway = 0;
    stage_pass_for(s, 20, FALSE);
    stage_expect(s, "[   2] WATCH_BLIND beta\n"
                    "[  72] WATCH_SEES beta\n");
}

/* One or two echoes that are lost on the way blind nobody. */
static void test_lost_echoes(void)
{
    g_autoptr(Stage) s = stage_new();

    s->gateway = 0;
    stage_pass(s, TRUE);
    s->gateway = 2;
    stage_pass_for(s, 10, TRUE);
    stage_expect(s, "");
}

/* Nor does one that watches several hosts and sees none of them; one that sees one of them sees. */
static void test_sees_none(void)
{
    g_autoptr(Stage) s = stage_new();

    s->far = 0;
    stage_pass(s, TRUE);
    stage_lose(s);
    s->path = s->far = 5;
    stage_pass_for(s, 60, FALSE);
    stage_expect(s, "[   3] WATCH_BLIND beta\n");
    s->far = 0;
    stage_pass(s, FALSE);
    stage_expect(s, "[  63] PROBE_MISSED alpha\n"
                    "[  63] HOST_SILENT alpha\n"
                    "[  63] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n");
}

/* But one whose gateway answers sees well: all of them are gone, as with the site that they were at. */
static void test_all_gone(void)
{
    g_autoptr(Stage) s = stage_new();

    s->far = s->gateway = 0;
    stage_pass(s, TRUE);
    stage_lose(s);
    s->path = s->far = 5;
    stage_pass_for(s, 22, FALSE);
    stage_expect(s, "[   3] PROBE_MISSED alpha\n"
                    "[   3] HOST_SILENT alpha\n"
                    "[   3] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  23] time passed -> event SWITCHOVER_REQUIRED\n"
                    "        -> web failed: a VM needs an operator\n");
}

/* The name server has died with it: what cannot be asked any more is no answer, and what else there is speaks. */
static void test_names_are_gone(void)
{
    g_autoptr(Stage) s = stage_new();

    s->gateway = 0;
    stage_pass(s, TRUE);
    stage_lose(s);
    s->path = 5;
    s->unmade = TRUE;
    stage_pass(s, FALSE);
    stage_expect(s, "[   3] PROBE_MISSED alpha\n"
                    "[   3] HOST_SILENT alpha\n"
                    "[   3] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n");
    /* Without them, nothing. */
    stage_find(s);
    s->path = 0;
    stage_pass_for(s, 5, TRUE);
    world_forget(s->w);
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "");
}

/* Nobody is left who could see it: nothing is known, and nobody could take over. */
static void test_both_gone(void)
{
    g_autoptr(Stage) s = stage_new();

    stage_lose(s);
    vitals_link(s->v, "beta", FALSE);
    for (int i = 0; i < 60; i++) {
        g_autoptr(ActionList) out = action_list_new();

        s->w->now_ms += 1000;
        vitals_step(s->v, s->w->now_ms, out);
        g_assert_cmpuint(out->len, ==, 0);
        world_do(s->w, INPUT_TICK);
    }
    stage_expect(s, "");
}

/* An engine says what has changed alone: the rest is as it was. */
static void test_changes(void)
{
    g_autoptr(Stage) s = stage_new();
    g_autoptr(ActionList) out = action_list_new();
    json_auto_t *libvirt =
        json_pack("{s:s, s:{s:b, s:s}}", "event", "changes", "libvirt", "up", 0, "why", "it hangs");
    json_auto_t *dead = json_pack("{s:s, s:[{s:s, s:s, s:s, s:i}]}", "event", "changes", "guests", "vm",
                                  ID_TEXT(world_vm(1)), "word", "dead", "why", "it crashed", "boots", 0);
    VitalsGuest guest;

    vitals_hear(s->v, "alpha", libvirt);
    vitals_step(s->v, s->w->now_ms, out);
    g_assert_cmpuint(out->len, ==, 1);
    g_assert_cmpint(((const Action *)out->pdata[0])->event->code, ==, EVENT_HYPERVISOR_SILENT);
    g_assert_true(vitals_guest(s->v, "alpha", world_vm(1), &guest));
    g_assert_cmpstr(guest.word, ==, "alive");
    vitals_hear(s->v, "alpha", dead);
    g_assert_true(vitals_guest(s->v, "alpha", world_vm(1), &guest));
    g_assert_cmpstr(guest.word, ==, "dead");
    g_assert_false(vitals_has_libvirt(s->v, "alpha"));
    /* Of a new link nothing is known before all of it was said. */
    vitals_link(s->v, "alpha", FALSE);
    vitals_link(s->v, "alpha", TRUE);
    vitals_hear(s->v, "alpha", dead);
    g_assert_false(vitals_answers(s->v, "alpha"));
    g_assert_false(vitals_guest(s->v, "alpha", world_vm(1), &guest));
}

static void test_libvirtd(void)
{
    g_autoptr(Stage) s = stage_new();

    s->libvirt = FALSE;
    stage_pass_for(s, 30, TRUE);
    s->libvirt = TRUE;
    stage_pass_for(s, 2, TRUE);
    stage_expect(s, "[   2] HYPERVISOR_SILENT alpha\n"
                    "[  32] HYPERVISOR_BACK alpha\n");
}

/* One that is back in a moment is not told, nor one that nobody needs. */
static void test_guard(void)
{
    g_autoptr(Stage) s = stage_new();

    s->guard = "is gone";
    s->unwanted = TRUE;
    stage_pass_for(s, 10, TRUE);
    stage_expect(s, "");
    s->guard = NULL;
    s->unwanted = FALSE;
    stage_pass_for(s, 2, TRUE);
    s->guard = "is gone";
    stage_pass_for(s, 2, TRUE);
    s->guard = NULL;
    stage_pass_for(s, 10, TRUE);
    stage_expect(s, "");
    s->guard = "does not answer";
    stage_pass_for(s, 10, TRUE);
    /* Nobody needs it meanwhile, which does not end that it was told. */
    s->unwanted = TRUE;
    stage_pass(s, TRUE);
    s->guard = NULL;
    stage_pass(s, TRUE);
    stage_expect(s, "[  29] GUARD_SILENT alpha\n"
                    "[  37] GUARD_BACK alpha\n");
}

/* Told once, also by a controller that is started anew; and while a host is restarted it is expected. */
static void test_guard_told_before(void)
{
    g_autoptr(Stage) s = stage_new();

    vitals_excuse(s->v, "alpha", TRUE);
    s->guard = "is gone";
    stage_pass_for(s, 10, TRUE);
    stage_expect(s, "");
    vitals_excuse(s->v, "alpha", FALSE);
    stage_pass_for(s, 10, TRUE);
    stage_expect(s, "[  15] GUARD_SILENT alpha\n");
    stage_controller_back(s, 4, EVENT_GUARD_SILENT);
    stage_link(s, TRUE);
    world_forget(s->w);
    stage_pass_for(s, 10, TRUE);
    g_assert_null(strstr(s->w->trace->str, "GUARD"));
    s->guard = NULL;
    stage_pass(s, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "GUARD_BACK alpha\n"));
}

/* Nobody is told to let go on what a guard would stop again; and a frozen one without leases was stopped by others. */
static void test_frozen_without_guard(void)
{
    static const struct {
        const char *guard, *lease, *says;
    } CASES[] = {{"is gone", "free", "systemctl restart understudy-guard"},
                 {"is gone", NULL, "(kill -CONT)"},
                 {NULL, "held", "(kill -CONT)"}};

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autoptr(Stage) s = stage_new();
        g_autofree char *text = NULL;

        s->word = "frozen";
        s->guard = CASES[i].guard;
        s->lease = CASES[i].lease;
        stage_pass_for(s, 3, TRUE);
        text = protection_frozen_text(s->w->p, protection_find(s->w->p, world_vm(1)));
        g_assert_nonnull(strstr(text, CASES[i].says));
    }
}

/* --- guests -------------------------------------------------------------------- */

static void test_guest_dies(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "dead";
    s->why = "it crashed";
    s->boots = 1;
    stage_pass(s, TRUE);
    s->word = "alive";
    s->boots = 2;
    stage_revived(s, -1, NULL);
    stage_pass_for(s, 10, TRUE);
    stage_expect(s, "[   2] time passed -> event GUEST_SILENT\n"
                    "        -> guest.revive to alpha for web1\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[   2] alpha did guest.revive for web1 -> event GUEST_RESTARTED\n"
                    "[  11] time passed -> event GUEST_BACK\n"
                    "        -> event COUNTDOWN_CANCELLED\n");
}

/* Told it is, and nothing is done about it before both the scenario and its host are released. */
static void test_held(void)
{
    g_autoptr(Stage) s = stage_new();
    json_auto_t *hold = json_pack("{s:s, s:n}", "since", "2026-11-27T12:00:00.000Z", "why");

    g_assert_true(world_step(s->w, (Input){.kind = INPUT_HOLD, .json = hold}, NULL));
    world_refused(s->w, INPUT_HOLD, "scenario 'web' is held already");
    roster_hold(s->w->roster, "alpha", hold);
    world_forget(s->w);
    s->word = "dead";
    s->why = "it crashed";
    stage_pass_for(s, 25, TRUE);
    stage_expect(s, "[   2] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  22] time passed -> event SWITCHOVER_REQUIRED\n"
                    "        -> web failed: a VM needs an operator\n");
    world_do(s->w, INPUT_UNHOLD);
    world_refused(s->w, INPUT_UNHOLD, "nobody holds scenario 'web'");
    stage_pass_for(s, 3, TRUE);
    stage_expect(s, "[  26] hold ended -> keep durably\n"
                    "        -> event SCENARIO_RELEASED\n");
    roster_hold(s->w->roster, "alpha", NULL);
    stage_pass(s, TRUE);
    stage_expect(s, "[  30] time passed -> guest.revive to alpha for web1\n");
}

/* It fails again and again, the countdown goes to its end, and nobody tries for ever. */
static void test_restart_fails(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "dead";
    stage_pass(s, TRUE);
    stage_revived(s, US_ERROR_FAILED, "no memory");
    stage_pass_for(s, 5, TRUE);
    stage_revived(s, US_ERROR_FAILED, "no memory");
    stage_pass_for(s, 5, TRUE);
    stage_revived(s, US_ERROR_FAILED, "no memory");
    stage_pass_for(s, 120, TRUE);
    stage_expect(s, "[   2] time passed -> event GUEST_SILENT\n"
                    "        -> guest.revive to alpha for web1\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[   2] alpha failed at guest.revive for web1 (no memory) -> nothing\n"
                    "[   7] time passed -> guest.revive to alpha for web1\n"
                    "[   7] alpha failed at guest.revive for web1 (no memory) -> nothing\n"
                    "[  12] time passed -> guest.revive to alpha for web1\n"
                    "[  12] alpha failed at guest.revive for web1 (no memory) -> event GUEST_RESTART_FAILED\n"
                    "[  22] time passed -> event SWITCHOVER_REQUIRED\n"
                    "        -> web failed: a VM needs an operator\n");
}

/* Its start has failed three times, which was told, five seconds ago. */
static Stage *stage_new_given_up(void)
{
    Stage *s = stage_new();

    s->w->p->scenario->policy.countdown_ms = 300000;
    s->word = "dead";
    stage_pass(s, TRUE);
    for (guint i = 0; i < 3; i++) {
        stage_revived(s, US_ERROR_FAILED, "no such file");
        stage_pass_for(s, 5, TRUE);
    }
    g_assert_nonnull(strstr(s->w->trace->str, "event GUEST_RESTART_FAILED"));
    world_forget(s->w);
    return s;
}

/* What it needs of its host comes two minutes after the boot: that it could not be started was told once, and it is tried so long. */
static void test_restart_late(void)
{
    g_autoptr(Stage) s = stage_new_given_up();
    guint tries = 3;

    for (; s->w->now_ms < 105000; tries++) {
        stage_pass_for(s, 15, TRUE);
        g_assert_nonnull(strstr(s->w->trace->str, "guest.revive to alpha for web1"));
        stage_revived(s, US_ERROR_FAILED, "no such file");
        world_forget(s->w);
    }
    g_assert_cmpuint(tries, ==, 9);
    stage_pass_for(s, 100, TRUE);
    g_assert_null(strstr(s->w->trace->str, "guest.revive"));
}

static void test_restart_late_at_last(void)
{
    g_autoptr(Stage) s = stage_new_given_up();

    stage_pass_for(s, 15, TRUE);
    world_forget(s->w);
    s->word = "alive";
    s->boots = 1;
    stage_revived(s, -1, NULL);
    stage_pass_for(s, 9, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "event GUEST_RESTARTED"));
    g_assert_nonnull(strstr(s->w->trace->str, "event GUEST_BACK"));
    s->word = "dead";
    stage_pass(s, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "event GUEST_SILENT"));
}

/* A late one that nobody was asked for is asked for again, and what was told is not told once more. */
static void test_restart_late_not_asked(void)
{
    g_autoptr(Stage) s = stage_new_given_up();

    stage_pass_for(s, 15, TRUE);
    world_forget(s->w);
    stage_revived(s, US_ERROR_BUSY, "alpha was not asked");
    stage_pass_for(s, 6, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "guest.revive to alpha for web1"));
    for (guint i = 0; i < 3; i++) {
        stage_revived(s, US_ERROR_FAILED, "no such file");
        stage_pass_for(s, 6, TRUE);
    }
    g_assert_null(strstr(s->w->trace->str, "GUEST_RESTART_FAILED"));
}

/* Nobody was asked, since the controller's disk was full: it is when there is room, also if it had been given up by then. */
static void test_restart_not_asked(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "dead";
    stage_pass_for(s, 15, TRUE);
    world_forget(s->w);
    stage_revived(s, US_ERROR_BUSY, "alpha was not asked");
    stage_pass_for(s, 6, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "guest.revive to alpha for web1"));
}

/* What comes after the countdown's end is not waited for. */
static void test_restart_fails_late(void)
{
    g_autoptr(Stage) s = stage_new();

    s->w->p->scenario->policy.countdown_ms = 5000;
    s->word = "dead";
    stage_pass(s, TRUE);
    world_forget(s->w);
    stage_revived(s, US_ERROR_FAILED, "no memory");
    stage_pass_for(s, 20, TRUE);
    stage_expect(s, "[   2] alpha failed at guest.revive for web1 (no memory) -> event GUEST_RESTART_FAILED\n"
                    "[   7] time passed -> event SWITCHOVER_REQUIRED\n"
                    "        -> web failed: a VM needs an operator\n");
}

/* A slow libvirtd ends the new QEMU, too. What its host says of the old one until then is no second death. */
static void test_dies_again(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "dead";
    s->boots = 1;
    stage_pass(s, TRUE);
    stage_revived(s, -1, NULL);
    stage_pass_for(s, 3, TRUE);
    world_forget(s->w);
    s->boots = 3;
    stage_pass_for(s, 6, TRUE);
    stage_expect(s, "[  11] time passed -> guest.revive to alpha for web1\n");
    s->word = "alive";
    s->boots = 4;
    stage_revived(s, -1, NULL);
    world_forget(s->w);
    stage_pass_for(s, 9, TRUE);
    stage_expect(s, "[  20] time passed -> event GUEST_BACK\n"
                    "        -> event COUNTDOWN_CANCELLED\n");
}

/* Who cannot be started yet is started when libvirtd can. */
static void test_dies_without_libvirtd(void)
{
    g_autoptr(Stage) s = stage_new();

    s->libvirt = FALSE;
    stage_pass(s, TRUE);
    s->word = "dead";
    stage_pass_for(s, 15, TRUE);
    stage_expect(s, "[   2] HYPERVISOR_SILENT alpha\n"
                    "[   3] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n");
    /* It has not noticed. */
    s->libvirt = TRUE;
    s->word = "unknown";
    stage_pass(s, TRUE);
    s->word = "dead";
    stage_pass(s, TRUE);
    stage_expect(s, "[  18] HYPERVISOR_BACK alpha\n"
                    "[  19] time passed -> guest.revive to alpha for web1\n");
}

/* Nor is a start that failed while libvirtd was ill the last one. */
static void test_libvirtd_locked_up(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "dead";
    stage_pass(s, TRUE);
    stage_revived(s, US_ERROR_TIMEOUT, "it hangs");
    stage_pass(s, TRUE);
    s->libvirt = FALSE;
    s->word = "unknown";
    stage_pass_for(s, 25, TRUE);
    world_forget(s->w);
    s->libvirt = TRUE;
    s->word = "idle";
    stage_pass_for(s, 6, TRUE);
    stage_expect(s, "[  29] HYPERVISOR_BACK alpha\n"
                    "[  29] time passed -> guest.revive to alpha for web1\n");
}

/* It is his: neither is it started again, nor does it count as one that does not answer. */
static void test_ended_by_its_user(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "dead";
    stage_pass(s, TRUE);
    world_forget(s->w);
    s->word = "off";
    s->boots = 1;
    stage_pass_for(s, 3, TRUE);
    stage_revived(s, -1, NULL);
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "[   3] time passed -> keep durably\n"
                    "        -> event COUNTDOWN_CANCELLED\n"
                    "[   5] alpha did guest.revive for web1 -> nothing\n");
}

/* Nor is what somebody says of another try, or of another host, the answer. */
static void test_late_answers(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "dead";
    stage_pass(s, TRUE);
    stage_revived(s, US_ERROR_FAILED, "no memory");
    stage_pass_for(s, 5, TRUE);
    world_forget(s->w);
    world_answer(s->w, "beta", "guest.revive", 1, -1, NULL);
    g_assert_true(world_step(s->w,
                             (Input){.kind = INPUT_ANSWER,
                                     .host = (char *)"alpha",
                                     .method = "guest.revive",
                                     .vm = world_vm(1),
                                     .order = 1},
                             NULL));
    g_assert_null(strstr(s->w->trace->str, "GUEST_RESTARTED"));
    world_forget(s->w);
    g_assert_true(world_step(s->w,
                             (Input){.kind = INPUT_ANSWER,
                                     .host = (char *)"alpha",
                                     .method = "guest.revive",
                                     .vm = world_vm(1),
                                     .order = 2},
                             NULL));
    g_assert_nonnull(strstr(s->w->trace->str, "GUEST_RESTARTED"));
}

/* Its user was quicker: it is not reset under him. */
static void test_started_by_its_user(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "dead";
    s->boots = 1;
    stage_pass(s, TRUE);
    stage_revived(s, US_ERROR_FAILED, "no memory");
    world_forget(s->w);
    s->word = "alive";
    s->boots = 2;
    stage_pass_for(s, 9, TRUE);
    stage_expect(s, "[  11] time passed -> event GUEST_BACK\n"
                    "        -> event COUNTDOWN_CANCELLED\n");
}

/* Started, but it never answers again. */
static void test_restart_in_vain(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "dead";
    stage_pass(s, TRUE);
    stage_revived(s, -1, NULL);
    s->word = "alive";
    s->boots = 1;
    s->agent = 5;
    stage_pass_for(s, 9, TRUE);
    world_forget(s->w);
    stage_pass_for(s, 2, TRUE);
    stage_expect(s, "[  12] time passed -> event GUEST_RESTART_FAILED\n");
}

/* The countdown is over while a start is under way, and that succeeds at the last second. */
static void test_last_second(void)
{
    g_autoptr(Stage) s = stage_new();

    s->w->p->scenario->policy.countdown_ms = 5000;
    s->word = "dead";
    stage_pass(s, TRUE);
    stage_revived(s, -1, NULL);
    s->word = "alive";
    s->boots = 1;
    s->agent = 5;
    stage_pass_for(s, 8, TRUE);
    world_forget(s->w);
    s->agent = 0;
    stage_pass(s, TRUE);
    stage_expect(s, "[  11] time passed -> event GUEST_BACK\n"
                    "        -> event COUNTDOWN_CANCELLED\n");
}

static void test_users_will(void)
{
    static const char *const WORDS[] = {"off", "idle"};

    for (guint i = 0; i < G_N_ELEMENTS(WORDS); i++) {
        g_autoptr(Stage) s = stage_new();

        s->word = "off";
        stage_pass(s, TRUE);
        s->word = WORDS[i];
        stage_pass_for(s, 60, TRUE);
        stage_lose(s);
        s->path = 5;
        stage_pass_for(s, 60, FALSE);
        stage_expect(s, "[  63] PROBE_MISSED alpha\n"
                        "[  63] HOST_SILENT alpha\n");
    }
}

/* Each time is told, but for those of before anybody listened, and nothing is done about it. */
static void test_watchdog(void)
{
    g_autoptr(Stage) s = stage_new();

    s->barks = 1;
    s->boots++;
    stage_pass_for(s, 30, TRUE);
    s->barks = 3;
    stage_pass_for(s, 30, TRUE);
    stage_expect(s, "[   2] time passed -> event GUEST_WATCHDOG\n"
                    "[  32] time passed -> event GUEST_WATCHDOG\n");
    /* Its engine was started anew, and counts anew. */
    s->barks = 0;
    stage_pass(s, TRUE);
    s->barks = 1;
    stage_pass(s, TRUE);
    stage_expect(s, "[  63] time passed -> event GUEST_WATCHDOG\n");
}

/* Told, also if its engine came too late to see for how long. */
static void test_halts(void)
{
    g_autoptr(Stage) s = stage_new();

    stage_pass(s, TRUE);
    s->halts = 1;
    s->halted_ms = 1500;
    stage_pass(s, TRUE);
    s->halts = 2;
    s->halted_ms = 0;
    stage_pass_for(s, 30, TRUE);
    stage_expect(s, "[   3] time passed -> event LEASE_LOST\n"
                    "[   4] time passed -> event LEASE_LOST\n");
}

static void test_agent_alone(void)
{
    g_autoptr(Stage) s = stage_new();

    s->agent = 5;
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "[   2] time passed -> event AGENT_SILENT\n");
    s->boots = 1; /* its user resets it */
    stage_pass_for(s, 5, TRUE);
    stage_expect(s, "");
    s->agent = 0;
    stage_pass_for(s, 30, TRUE);
    stage_expect(s, "[  67] time passed -> event AGENT_BACK\n");
}

/* Nor is it news again when its host was away for a while. */
static void test_agent_after_a_blink(void)
{
    g_autoptr(Stage) s = stage_new();

    s->agent = 5;
    stage_pass(s, TRUE);
    world_forget(s->w);
    stage_lose(s);
    stage_pass_for(s, 3, FALSE);
    stage_find(s);
    s->unheard = TRUE;
    stage_pass_for(s, 3, TRUE);
    s->unheard = FALSE;
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "");
}

/* Nor is it its silence that libvirtd hung; what was missed meanwhile is known for a while after that. */
static void test_agent_behind_libvirtd(void)
{
    g_autoptr(Stage) s = stage_new();

    s->libvirt = FALSE;
    s->agent = 5;
    stage_pass_for(s, 60, TRUE);
    s->libvirt = TRUE;
    stage_pass_for(s, 10, TRUE);
    s->agent = 0;
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "[   2] HYPERVISOR_SILENT alpha\n"
                    "[  62] HYPERVISOR_BACK alpha\n");
    s->libvirt = FALSE;
    stage_pass_for(s, 10, TRUE);
    s->libvirt = TRUE;
    s->agent = 5;
    stage_pass_for(s, 30, TRUE);
    stage_expect(s, "[ 132] HYPERVISOR_SILENT alpha\n"
                    "[ 142] HYPERVISOR_BACK alpha\n"
                    "[ 162] time passed -> event AGENT_SILENT\n");
}

static void test_never_had_an_agent(void)
{
    g_autoptr(Stage) s = stage_new();

    s->agent = -1;
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "");
    /* And it is started all the same, and back at once. */
    s->word = "dead";
    stage_pass(s, TRUE);
    s->word = "alive";
    s->boots = 1;
    stage_revived(s, -1, NULL);
    stage_pass(s, TRUE);
    stage_expect(s, "[  62] time passed -> event GUEST_SILENT\n"
                    "        -> guest.revive to alpha for web1\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  62] alpha did guest.revive for web1 -> event GUEST_RESTARTED\n"
                    "[  63] time passed -> event GUEST_BACK\n"
                    "        -> event COUNTDOWN_CANCELLED\n");
}

static void watch_web(Stage *s)
{
    json_auto_t *doc = json_pack("{s:s, s:s, s:i}", "kind", "tcp", "address", "10.0.0.9", "port", 80);
    ScenarioVm *vm = s->w->p->scenario->vms->pdata[0];

    g_ptr_array_add(vm->checks, check_spec_from_json(doc, NULL));
    s->has_web = TRUE;
    s->agent = -1;
}

/* It may ask for what is not there: then it is no sign of death, nor is one of life waited for. */
static void test_never_answered(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    s->web = -1;
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "[  12] time passed -> event CHECK_UNANSWERED\n");
    s->word = "dead";
    stage_pass(s, TRUE);
    s->word = "alive";
    s->boots = 1;
    stage_revived(s, -1, NULL);
    world_forget(s->w);
    stage_pass(s, TRUE);
    stage_expect(s, "[  63] time passed -> event GUEST_BACK\n"
                    "        -> event COUNTDOWN_CANCELLED\n");
}

/* It hangs with a living agent: what its operator chose says so, and it is reset. */
static void test_hangs(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    stage_pass(s, TRUE);
    s->web = 3;
    stage_pass(s, TRUE);
    stage_expect(s, "[   3] time passed -> event GUEST_SILENT\n"
                    "        -> guest.revive to alpha for web1\n"
                    "        -> event COUNTDOWN_STARTED\n");
}

/* Its user shuts it down: what it offers ends first, and it is not reset meanwhile. One that is still there afterwards hangs. */
static void test_shuts_down(void)
{
    g_autoptr(Stage) s = stage_new();

    s->w->p->scenario->policy.countdown_ms = 300000;
    s->w->p->scenario->policy.reset_after_ms = 60000;
    watch_web(s);
    stage_pass(s, TRUE);
    s->web = 3;
    stage_pass_for(s, 59, TRUE);
    s->word = "off";
    stage_pass_for(s, 10, TRUE);
    stage_expect(s, "[   3] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  62] time passed -> keep durably\n"
                    "        -> event COUNTDOWN_CANCELLED\n");
    s->word = "alive";
    s->boots = 1;
    s->web = 0;
    stage_pass_for(s, 15, TRUE);
    stage_expect(s, "[  72] time passed -> keep durably\n");
    s->web = 3;
    stage_pass_for(s, 70, TRUE);
    stage_expect(s, "[  87] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[ 147] time passed -> guest.revive to alpha for web1\n");
}

/* Two that are missed by their standby in one moment, and live by the word of their host, are cut off from it. */
static void test_cut_off_together(void)
{
    g_autoptr(Stage) s = stage_new_of(2);
    GPtrArray *vms = s->w->p->scenario->vms;

    watch_web(s);
    g_ptr_array_add(((ScenarioVm *)vms->pdata[1])->checks,
                    check_spec_copy(((ScenarioVm *)vms->pdata[0])->checks->pdata[0]));
    s->second = 0;
    stage_pass(s, TRUE);
    s->web = s->second = 3;
    stage_pass_for(s, 40, TRUE);
    g_assert_null(strstr(s->w->trace->str, "guest.revive"));
    g_assert_nonnull(strstr(s->w->trace->str, "SWITCHOVER_REQUIRED"));
    /* One of them answers again: the other one hangs. */
    s->second = 0;
    stage_pass(s, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "guest.revive to alpha for web1"));
}

/* Of several checks one that is answered is enough, or each of them must be. */
static void test_any_or_all(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    s->ssh = 0;
    stage_pass(s, TRUE);
    s->web = 9;
    stage_pass_for(s, 30, TRUE);
    stage_expect(s, "");
    s->ssh = 3;
    stage_pass(s, TRUE);
    stage_expect(s, "[  33] time passed -> event GUEST_SILENT\n"
                    "        -> guest.revive to alpha for web1\n"
                    "        -> event COUNTDOWN_STARTED\n");
    stage_revived(s, -1, NULL);
    s->boots = 1;
    s->ssh = 0;
    stage_pass_for(s, 10, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "GUEST_BACK"));
    world_forget(s->w);
    ((ScenarioVm *)s->w->p->scenario->vms->pdata[0])->need_all = TRUE;
    stage_pass(s, TRUE);
    stage_expect(s, "[  44] time passed -> event GUEST_SILENT\n"
                    "        -> guest.revive to alpha for web1\n"
                    "        -> event COUNTDOWN_STARTED\n");
}

static Stage *stage_new_in_order(const char *gate)
{
    Stage *s = stage_new_of(2);
    GPtrArray *vms = s->w->p->scenario->vms;
    const Id second = world_vm(2);

    g_array_append_val(((ScenarioVm *)vms->pdata[0])->after, second);
    g_assert_true(gate_parse(gate, &((ScenarioVm *)vms->pdata[1])->gate, NULL));
    return s;
}

static void both_die(Stage *s)
{
    s->word = s->other = "dead";
    stage_pass_for(s, 3, TRUE);
    stage_expect(s, "[   2] time passed -> event GUEST_SILENT\n"
                    "        -> event GUEST_SILENT\n"
                    "        -> guest.revive to alpha for web2\n"
                    "        -> event COUNTDOWN_STARTED\n");
    g_assert_true(id_equal(((ProtectionVm *)s->w->p->vms->pdata[0])->life.waits_for, world_vm(2)));
}

static void second_is_back(Stage *s)
{
    s->other = "alive";
    s->other_boots = 1;
    world_answer(s->w, "alpha", "guest.revive", 2, -1, NULL);
    world_forget(s->w);
}

/* One after the other, as in a plan. */
static void test_in_order(void)
{
    g_autoptr(Stage) s = stage_new_in_order("none");

    both_die(s);
    second_is_back(s);
    stage_pass(s, TRUE);
    stage_expect(s, "[   5] time passed -> event GUEST_BACK\n"
                    "        -> guest.revive to alpha for web1\n");
    g_assert_true(id_is_nil(((ProtectionVm *)s->w->p->vms->pdata[0])->life.waits_for));
}

static void test_behind_a_gate(void)
{
    g_autoptr(Stage) s = stage_new_in_order("5s");

    both_die(s);
    second_is_back(s);
    stage_pass_for(s, 6, TRUE);
    stage_expect(s, "[   5] time passed -> event GUEST_BACK\n"
                    "[  10] time passed -> guest.revive to alpha for web1\n");
    /* That was then: now it dies alone. */
    s->word = "alive";
    s->boots = 1;
    stage_revived(s, -1, NULL);
    stage_pass_for(s, 20, TRUE);
    world_forget(s->w);
    s->word = "dead";
    stage_pass_for(s, 3, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "guest.revive to alpha for web1"));
}

/* Both die in one moment, and the one that is started after the other is heard of first. */
static void test_heard_of_first(void)
{
    g_autoptr(Stage) s = stage_new_in_order("none");

    s->word = "dead";
    stage_pass(s, TRUE);
    s->other = "dead";
    stage_pass_for(s, 3, TRUE);
    stage_expect(s, "[   2] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[   3] time passed -> event GUEST_SILENT\n"
                    "        -> guest.revive to alpha for web2\n");
    second_is_back(s);
    stage_pass(s, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "guest.revive to alpha for web1"));
}

/* A probe that nobody ever answered holds nobody up for longer than a start may take. */
static void test_behind_a_mute_gate(void)
{
    g_autoptr(Stage) s = stage_new_in_order("probe");

    both_die(s);
    second_is_back(s);
    stage_pass_for(s, 10, TRUE);
    stage_expect(s, "[   5] time passed -> event GUEST_BACK\n"
                    "[  12] time passed -> guest.revive to alpha for web1\n");
}

/* The countdown does not end for one whose turn has not come yet. */
static void test_zero_before_its_turn(void)
{
    g_autoptr(Stage) s = stage_new_in_order("30s");

    both_die(s);
    second_is_back(s);
    stage_pass_for(s, 31, TRUE);
    stage_expect(s, "[   5] time passed -> event GUEST_BACK\n"
                    "[  35] time passed -> guest.revive to alpha for web1\n");
    s->word = "alive";
    s->boots = 1;
    stage_revived(s, -1, NULL);
    stage_pass_for(s, 9, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "COUNTDOWN_CANCELLED"));
    g_assert_null(strstr(s->w->trace->str, "SWITCHOVER_REQUIRED"));
}

/* What cannot be started is not waited for. */
static void test_behind_one_that_fails(void)
{
    g_autoptr(Stage) s = stage_new_in_order("none");

    both_die(s);
    for (int i = 0; i < 3; i++) {
        world_answer(s->w, "alpha", "guest.revive", 2, US_ERROR_FAILED, "no");
        stage_pass_for(s, 5, TRUE);
    }
    g_assert_nonnull(strstr(s->w->trace->str, "event GUEST_RESTART_FAILED"));
    g_assert_nonnull(strstr(s->w->trace->str, "guest.revive to alpha for web1"));
}

/* A line between the two hosts that is cut kills no guest that the standby asks; nor is one dead that is asked again a moment after
 * its host is heard. */
static void test_behind_a_cut_line(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    stage_pass(s, TRUE);
    s->path = s->web = 1;
    stage_pass(s, TRUE);
    s->path = s->web = 9;
    stage_pass_for(s, 60, TRUE);
    s->path = 0;
    stage_pass_for(s, 2, TRUE);
    s->web = 0;
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "[   3] PROBE_MISSED alpha\n");
    /* If that goes on, it is the guest. */
    s->web = 3;
    stage_pass(s, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "GUEST_SILENT"));
}

/* Any of two is enough, and one of them cannot be asked at present: it might be that one. */
static void test_half_heard(void)
{
    g_autoptr(Stage) s = stage_new();
    json_auto_t *agent = json_pack("{s:s}", "kind", "agent");

    watch_web(s);
    g_ptr_array_add(((ScenarioVm *)s->w->p->scenario->vms->pdata[0])->checks,
                    check_spec_from_json(agent, NULL));
    s->agent = 9;
    stage_pass_for(s, 10, TRUE);
    vitals_link(s->v, "beta", FALSE);
    stage_pass_for(s, 60, TRUE);
    s->told = 0;
    vitals_link(s->v, "beta", TRUE);
    stage_pass_for(s, 10, TRUE);
    stage_expect(s, "");
    s->web = 3;
    stage_pass(s, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "GUEST_SILENT"));
}

/* The standby's host has the controller, too, and both start anew while the guest hangs: it did answer before. */
static void test_forgotten_by_all(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    s->w->p->scenario->policy.restart = RESTART_NEVER;
    s->web = 0;
    stage_pass_for(s, 2, TRUE);
    everybody_is_back(s);
    stage_link(s, TRUE);
    s->forgetful = TRUE;
    s->web = 3;
    stage_pass_for(s, 5, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "event GUEST_SILENT\n"
                                              "        -> event COUNTDOWN_STARTED\n"));
}

/* It hangs, and then the engine that asks it is started anew: nobody has answered by that, nor is it forgotten who did. */
static void test_forgotten_scores(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    s->w->p->scenario->policy.restart = RESTART_NEVER;
    stage_pass(s, TRUE);
    s->web = 3;
    stage_pass_for(s, 2, TRUE);
    vitals_link(s->v, "beta", FALSE);
    stage_pass_for(s, 2, TRUE);
    vitals_link(s->v, "beta", TRUE);
    s->told = 0;
    s->forgetful = TRUE;
    s->web = 1;
    stage_pass_for(s, 2, TRUE);
    s->web = 9;
    stage_pass_for(s, 30, TRUE);
    s->web = 0;
    s->forgetful = FALSE;
    stage_pass(s, TRUE);
    stage_expect(s, "[   3] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  23] time passed -> event SWITCHOVER_REQUIRED\n"
                    "        -> web failed: a VM needs an operator\n"
                    "[  39] time passed -> event GUEST_BACK\n"
                    "        -> event COUNTDOWN_CANCELLED\n"
                    "        -> web running: the cause was removed, every VM is protected\n");
}

/* Nobody lives there any more that could say so: its host answers an echo, and no more. What its operator chose is missed from the
 * standby all the same. */
static void test_hangs_with_its_host(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    stage_pass(s, TRUE);
    stage_lose(s);
    stage_pass_for(s, 60, FALSE);
    stage_expect(s, "");
    s->web = 2;
    stage_pass_for(s, 2, FALSE);
    s->web = 3;
    stage_pass_for(s, 22, FALSE);
    stage_expect(s, "[  65] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  85] time passed -> event SWITCHOVER_REQUIRED\n"
                    "        -> web failed: a VM needs an operator\n");
    g_assert_cmpstr(((ProtectionVm *)s->w->p->vms->pdata[0])->life.why, ==, "tcp web1");
    /* It thaws: the guest is not started, it has only to answer. */
    stage_find(s);
    s->web = 0;
    stage_pass_for(s, 3, TRUE);
    stage_expect(s, "[  87] time passed -> event GUEST_BACK\n"
                    "        -> event COUNTDOWN_CANCELLED\n"
                    "        -> web running: the cause was removed, every VM is protected\n");
}

/* Its host says that it has died, and is lost: that its check was answered before is no sign of life. */
static void test_dies_with_its_host(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    stage_pass(s, TRUE);
    s->word = "stalled";
    stage_pass(s, TRUE);
    stage_lose(s);
    stage_pass_for(s, 2, FALSE);
    s->web = 1;
    stage_pass_for(s, 30, FALSE);
    stage_expect(s, "[  23] time passed -> event SWITCHOVER_REQUIRED\n"
                    "        -> web failed: a VM needs an operator\n");
    s->web = 0;
    stage_pass(s, FALSE);
    stage_expect(s, "[  36] time passed -> event GUEST_BACK\n"
                    "        -> event COUNTDOWN_CANCELLED\n"
                    "        -> web running: the cause was removed, every VM is protected\n");
}

/* A guest that answers lives, whatever is heard of its host. */
static void test_answers_on_a_silent_host(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    stage_pass(s, TRUE);
    stage_lose(s);
    s->path = 3;
    stage_pass_for(s, 60, FALSE);
    g_assert_nonnull(strstr(s->w->trace->str, "HOST_SILENT alpha"));
    g_assert_null(strstr(s->w->trace->str, "GUEST_SILENT"));
    world_forget(s->w);
    s->web = 3;
    stage_pass_for(s, 2, FALSE);
    stage_expect(s, "[  63] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n");
}

/* Nor does a standby that sees nobody see that it is gone; nor is one that was off dead. */
static void test_missed_by_the_blind(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    s->gateway = 0;
    stage_pass(s, TRUE);
    stage_lose(s);
    s->gateway = 3;
    s->web = 3;
    stage_pass_for(s, 60, FALSE);
    g_assert_null(strstr(s->w->trace->str, "GUEST_SILENT"));
    stage_find(s);
    s->gateway = 0;
    s->word = "off";
    stage_pass_for(s, 10, TRUE);
    stage_lose(s);
    stage_pass_for(s, 60, FALSE);
    stage_expect(s, "");
}

/* Its host is back after the end of the countdown: what cannot be done at once is tried again all the same, as often as before. */
static void test_back_after_zero(void)
{
    g_autoptr(Stage) s = stage_new();

    stage_lose(s);
    s->path = 3;
    stage_pass_for(s, 30, FALSE);
    stage_find(s);
    s->path = 0;
    s->word = "idle";
    stage_pass(s, TRUE);
    stage_revived(s, US_ERROR_BUSY, "not yet");
    world_forget(s->w);
    stage_pass_for(s, 6, TRUE);
    stage_expect(s, "[  37] time passed -> guest.revive to alpha for web1\n");
}

/* Its user has it started anew when we have given up: it has as long as any start. */
static void test_in_its_users_hands(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "dead";
    stage_pass(s, TRUE);
    s->word = "alive";
    s->boots = 1;
    s->agent = 9;
    stage_revived(s, -1, NULL);
    stage_pass_for(s, 60, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "GUEST_RESTART_FAILED"));
    world_forget(s->w);
    s->boots = 2;
    stage_pass_for(s, 30, TRUE);
    stage_expect(s, "[  73] time passed -> event GUEST_BACK\n"
                    "        -> event AGENT_SILENT\n"
                    "        -> event COUNTDOWN_CANCELLED\n"
                    "        -> web running: the cause was removed, every VM is protected\n");
}

/* Not even a reset can be made: it is tried three times, and told. */
static void test_reset_fails(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    stage_pass(s, TRUE);
    s->web = 3;
    for (int i = 0; i < 3; i++) {
        stage_pass(s, TRUE);
        stage_revived(s, US_ERROR_FAILED, "no");
        stage_pass_for(s, 4, TRUE);
    }
    stage_pass_for(s, 30, TRUE);
    stage_expect(s, "[   3] time passed -> event GUEST_SILENT\n"
                    "        -> guest.revive to alpha for web1\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[   3] alpha failed at guest.revive for web1 (no) -> nothing\n"
                    "[   8] time passed -> guest.revive to alpha for web1\n"
                    "[   8] alpha failed at guest.revive for web1 (no) -> nothing\n"
                    "[  13] time passed -> guest.revive to alpha for web1\n"
                    "[  13] alpha failed at guest.revive for web1 (no) -> event GUEST_RESTART_FAILED\n"
                    "[  23] time passed -> event SWITCHOVER_REQUIRED\n"
                    "        -> web failed: a VM needs an operator\n");
}

/* A standby that sees nothing says nothing of guests, neither that one has died nor that it is back. */
static void test_blind_standby(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    s->gateway = 0;
    stage_pass(s, TRUE);
    s->gateway = s->path = 3;
    s->web = 3;
    stage_pass_for(s, 30, TRUE);
    s->gateway = s->path = 0;
    stage_pass_for(s, 4, TRUE);
    s->web = 0;
    stage_pass_for(s, 30, TRUE);
    stage_expect(s, "[   3] WATCH_BLIND beta\n"
                    "[  43] WATCH_SEES beta\n");
    s->web = 3;
    stage_pass(s, TRUE);
    stage_revived(s, US_ERROR_FAILED, "no");
    world_forget(s->w);
    s->gateway = s->path = 3;
    stage_pass_for(s, 10, TRUE);
    g_assert_null(strstr(s->w->trace->str, "GUEST_BACK"));
    s->gateway = s->path = s->web = 0;
    world_forget(s->w);
    stage_pass_for(s, 25, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "GUEST_BACK"));
}

/* While it reboots by itself it has the time that a start may take. */
static void test_reboots(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    stage_pass(s, TRUE);
    s->boots = 1;
    s->web = 5;
    stage_pass_for(s, 9, TRUE);
    s->web = 0;
    stage_pass_for(s, 20, TRUE);
    stage_expect(s, "");
    s->boots = 2;
    s->web = 5;
    stage_pass_for(s, 10, TRUE);
    stage_expect(s, "");
    stage_pass(s, TRUE);
    stage_expect(s, "[  42] time passed -> event GUEST_SILENT\n"
                    "        -> guest.revive to alpha for web1\n"
                    "        -> event COUNTDOWN_STARTED\n");
}

/* Nothing that a start would mend. */
static void test_stands_still(void)
{
    static const char *const WORDS[] = {"frozen", "stalled"};

    for (guint i = 0; i < G_N_ELEMENTS(WORDS); i++) {
        g_autoptr(Stage) s = stage_new();

        s->word = WORDS[i];
        stage_pass_for(s, 21, TRUE);
        s->word = "alive";
        stage_pass(s, TRUE);
        stage_expect(s, "[   2] time passed -> event GUEST_SILENT\n"
                        "        -> event COUNTDOWN_STARTED\n"
                        "[  22] time passed -> event SWITCHOVER_REQUIRED\n"
                        "        -> web failed: a VM needs an operator\n"
                        "[  23] time passed -> event GUEST_BACK\n"
                        "        -> event COUNTDOWN_CANCELLED\n"
                        "        -> web running: the cause was removed, every VM is protected\n");
    }
}

static void test_restart_never(void)
{
    g_autoptr(Stage) s = stage_new();

    s->w->p->scenario->policy.restart = RESTART_NEVER;
    s->word = "dead";
    stage_pass_for(s, 21, TRUE);
    stage_expect(s, "[   2] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  22] time passed -> event SWITCHOVER_REQUIRED\n"
                    "        -> web failed: a VM needs an operator\n");
}

/* What a plan has shut down is not dead. */
static void test_plan(void)
{
    g_autoptr(Stage) s = stage_new();

    s->w->p->plan = world_id(0x77);
    s->word = "dead";
    s->path = 5;
    stage_pass_for(s, 60, TRUE);
    s->w->p->plan = ID_NIL;
    stage_expect(s, "[   2] PROBE_MISSED alpha\n"
                    "[   2] time passed -> web switching: a plan was begun\n");
}

/* Of a guest that it does not move is known afterwards what was before. */
static void test_plan_of_others(void)
{
    static const char *const WORDS[] = {"alive", "off"};

    for (guint i = 0; i < G_N_ELEMENTS(WORDS); i++) {
        g_autoptr(Stage) s = stage_new();

        s->word = WORDS[i];
        stage_pass(s, TRUE);
        s->w->p->plan = world_id(0x77);
        stage_pass_for(s, 5, TRUE);
        stage_lose(s);
        s->w->p->plan = ID_NIL;
        s->path = 5;
        stage_pass_for(s, 5, FALSE);
        g_assert_true(!strstr(s->w->trace->str, "GUEST_SILENT") == (i == 1));
        stage_find(s);
        s->word = "idle";
        s->path = 0;
        world_answer(s->w, "alpha", "active.protect", 1, -1, NULL);
        stage_pass(s, TRUE);
        g_assert_true(!strstr(s->w->trace->str, "guest.revive") == (i == 1));
    }
}

/* What it has taken back is started anew, and has its time for that. */
static void test_plan_taken_back(void)
{
    g_autoptr(Stage) s = stage_new();

    watch_web(s);
    stage_pass(s, TRUE);
    s->w->p->plan = world_id(0x77);
    s->web = 5;
    stage_pass_for(s, 5, TRUE);
    s->w->p->plan = ID_NIL;
    s->boots = 3;
    world_forget(s->w);
    stage_pass_for(s, 9, TRUE);
    g_assert_null(strstr(s->w->trace->str, "event"));
    stage_pass_for(s, 3, TRUE);
    g_assert_nonnull(strstr(s->w->trace->str, "event GUEST_SILENT"));
}

/* Where it runs now nothing is known of it, and its old host's silence means nothing. */
static void test_moved(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "dead";
    stage_pass(s, TRUE);
    world_moved(s->w, "beta", 2, TRUE);
    stage_lose(s);
    s->path = 5;
    stage_pass_for(s, 60, FALSE);
    stage_expect(s, "[   3] PROBE_MISSED alpha\n"
                    "[   3] HOST_SILENT alpha\n");
}

/* A host that answers and has no such guest any more gives nobody back who was silent; of one that lived it is not known. */
static void test_not_named(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "frozen";
    stage_pass(s, TRUE);
    s->word = NULL;
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "[   2] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  22] time passed -> event SWITCHOVER_REQUIRED\n"
                    "        -> web failed: a VM needs an operator\n");
}

static void test_alive_and_not_named(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = NULL;
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "");
    g_assert_cmpint(protection_find(s->w->p, world_vm(1))->life.state, ==, GUEST_LIFE_UNKNOWN);
}

/* The first is frozen, and nobody does anything about it: the second has its own countdown. */
static void test_second_one(void)
{
    g_autoptr(Stage) s = stage_new_of(2);

    s->word = "frozen";
    stage_pass_for(s, 30, TRUE);
    s->other = "frozen";
    stage_pass_for(s, 30, TRUE);
    stage_expect(s, "[   2] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  22] time passed -> event SWITCHOVER_REQUIRED\n"
                    "        -> web failed: a VM needs an operator\n"
                    "[  32] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  52] time passed -> event SWITCHOVER_REQUIRED\n");
}

/* One that is started again meanwhile takes nothing back of what is required for the other, nor is that told again. */
static void test_second_one_lives(void)
{
    g_autoptr(Stage) s = stage_new_of(2);

    s->word = "frozen";
    stage_pass_for(s, 30, TRUE);
    world_forget(s->w);
    s->other = "frozen";
    stage_pass(s, TRUE);
    g_assert_true(s->w->p->countdown.over);
    g_assert_cmpint(protection_countdown_left_ms(s->w->p, s->w->now_ms), ==, 0);
    s->other = "alive";
    stage_pass_for(s, 60, TRUE);
    stage_expect(s, "[  32] time passed -> event GUEST_SILENT\n"
                    "        -> event COUNTDOWN_STARTED\n"
                    "[  33] time passed -> event GUEST_BACK\n");
    g_assert_true(s->w->p->countdown.over);
}

/* What is to be typed depends on what is left. */
static void expect_way_out(const Stage *s, const char *wanted)
{
    g_autofree char *found = protection_way_out(s->w->p);

    g_assert_cmpstr(found, ==, wanted);
}

static void test_way_out(void)
{
    g_autoptr(Stage) s = stage_new();
    ProtectionVm *vm = s->w->p->vms->pdata[0];

    s->w->p->scenario->policy.restart = RESTART_NEVER;
    s->word = "dead";
    stage_pass(s, TRUE);
    expect_way_out(s, "understudy switchover web (shows what would be lost, and asks)");
    s->word = "frozen";
    stage_pass(s, TRUE);
    expect_way_out(s, "the QEMU of 'web1' on alpha stands still: look who stopped it, and let it go on (kill "
                      "-CONT), or end it (kill -KILL): then the VM is started anew, or can be moved: "
                      "understudy switchover web");
    s->word = "stalled";
    stage_pass(s, TRUE);
    expect_way_out(s, "understudy switchover web --power-off (shows what would be lost, and asks)");
    stage_lose(s);
    s->path = 3;
    stage_pass(s, FALSE);
    expect_way_out(s, "understudy switchover web --force (shows what would be lost, and asks)");
    ((ProtectionCopy *)vm->copies->pdata[0])->complete = FALSE;
    expect_way_out(s, "no other host has a copy to go on from: bring the host back, or start the VM there");
}

/* --- what is told has an end ---------------------------------------------------- */

static void begin_plan(Stage *s)
{
    s->w->p->plan = world_id(0x77);
    stage_pass_for(s, 5, TRUE);
}

/* What was told before a plan that moves nothing ends after it, if that is over. */
static void test_lives_after_a_plan(void)
{
    g_autoptr(Stage) s = stage_new();

    s->word = "frozen";
    stage_pass_for(s, 3, TRUE);
    begin_plan(s);
    g_assert_cmpint(protection_countdown_left_ms(s->w->p, s->w->now_ms), ==, -1);
    s->word = "alive";
    stage_pass_for(s, 5, TRUE);
    s->w->p->plan = ID_NIL;
    stage_pass_for(s, 60, TRUE);
    expect_told(s, "[   2] time passed -> event GUEST_SILENT\n"
                   "        -> event COUNTDOWN_STARTED\n"
                   "[  22] time passed -> event GUEST_BACK\n"
                   "        -> event COUNTDOWN_CANCELLED\n");
}

/* Else it is told no second time, and all of the countdown is ahead again; nor does a restart of the controller change that. */
static void test_silent_after_a_plan(void)
{
    for (guint restarts = 0; restarts < 2; restarts++) {
        g_autoptr(Stage) s = stage_new();

        s->word = "frozen";
        stage_pass_for(s, 15, TRUE);
        begin_plan(s);
        if (restarts) {
            stage_restart(s);
            world_link(s->w, "beta", TRUE);
            stage_link(s, TRUE);
            stage_pass(s, TRUE);
        }
        world_forget(s->w);
        s->w->p->plan = ID_NIL;
        stage_pass_for(s, 19, TRUE);
        expect_told(s, "");
        stage_pass_for(s, 60, TRUE);
        g_assert_true(strstr(s->w->trace->str, "event SWITCHOVER_REQUIRED") ==
                      g_strrstr(s->w->trace->str, "event "));
        world_forget(s->w);
        begin_plan(s);
        s->w->p->plan = ID_NIL;
        stage_pass_for(s, 60, TRUE);
        expect_told(s, ""); /* it is required still */
        g_assert_true(s->w->p->countdown.over);
        s->word = "alive";
        stage_pass(s, TRUE);
        g_assert_nonnull(
            strstr(s->w->trace->str, "event GUEST_BACK\n        -> event COUNTDOWN_CANCELLED\n"));
    }
}

/* One that was late, and one that was not: the one has its end, and the other no second one. */
static void test_late_after_a_plan(void)
{
    for (guint lives = 0; lives < 2; lives++) {
        g_autoptr(Stage) s = stage_new_of(2);

        s->word = "frozen";
        stage_pass_for(s, 30, TRUE);
        s->other = "frozen";
        stage_pass_for(s, 5, TRUE);
        begin_plan(s);
        world_forget(s->w);
        s->w->p->plan = ID_NIL;
        if (lives)
            s->other = "alive";
        stage_pass_for(s, 60, TRUE);
        expect_told(s, lives ? "        -> event GUEST_BACK\n"
                             : "[  62] time passed -> event SWITCHOVER_REQUIRED\n");
        g_assert_true(s->w->p->countdown.over);
    }
}

/* What is moved is silent no more: the countdown is over with it, once, and nothing is known of it where it runs. */
static void test_moved_and_over(void)
{
    g_autoptr(Stage) s = stage_new();
    const Input begun = {.kind = INPUT_PLAN_BEGUN, .plan = world_id(0x77), .host = (char *)"beta"};
    const Input ended = {.kind = INPUT_PLAN_ENDED, .plan = world_id(0x77), .host = (char *)"beta"};
    const Input moved = {.kind = INPUT_MOVED,
                         .plan = world_id(0x77),
                         .vm = world_vm(1),
                         .host = (char *)"beta",
                         .reign = {.number = 2, .id = world_id(0x72)},
                         .unlocked = TRUE,
                         .reverse = TRUE};

    s->word = "frozen";
    s->agent = 5;
    stage_pass_for(s, 30, TRUE);
    world_forget(s->w);
    g_assert_true(world_step(s->w, begun, NULL));
    g_assert_null(strstr(s->w->trace->str, "COUNTDOWN"));
    g_assert_true(world_step(s->w, moved, NULL));
    g_assert_nonnull(strstr(s->w->trace->str, "event COUNTDOWN_CANCELLED"));
    world_forget(s->w);
    g_assert_true(world_step(s->w, ended, NULL));
    stage_pass_for(s, 30, TRUE);
    g_assert_null(strstr(s->w->trace->str, "COUNTDOWN"));
    g_assert_null(strstr(s->w->trace->str, "GUEST_"));
    g_assert_null(strstr(s->w->trace->str, "web failed"));
}

/* A host whose engine hangs is heard again, though its guests have gone. */
static void test_hang_after_a_plan(void)
{
    for (guint moves = 0; moves < 2; moves++) {
        g_autoptr(Stage) s = stage_new();

        stage_lose(s);
        s->beat = 3;
        s->hangs = TRUE;
        stage_pass_for(s, 30, FALSE);
        g_assert_nonnull(strstr(s->w->trace->str, "event HEARTBEAT_LOST"));
        world_forget(s->w);
        if (moves)
            world_moved(s->w, "beta", 2, TRUE);
        else
            s->w->p->plan = world_id(0x77);
        stage_pass_for(s, 30, FALSE);
        s->w->p->plan = ID_NIL;
        stage_pass_for(s, 30, FALSE);
        g_assert_null(strstr(s->w->trace->str, "HEARTBEAT"));
        s->beat = 0;
        stage_link(s, TRUE);
        stage_pass_for(s, 5, TRUE);
        g_assert_nonnull(strstr(s->w->trace->str, "event HEARTBEAT_BACK"));
        g_assert_true(strstr(s->w->trace->str, "HEARTBEAT") == g_strrstr(s->w->trace->str, "HEARTBEAT"));
    }
}

/* It answers when it is on again; and of a plan that does not move it that is none. */
static void test_agent_after_off(void)
{
    g_autoptr(Stage) s = stage_new();

    s->agent = 5;
    stage_pass_for(s, 3, TRUE);
    s->word = "off";
    stage_pass_for(s, 3, TRUE);
    s->word = "alive";
    s->boots = 1;
    stage_pass_for(s, 30, TRUE);
    begin_plan(s);
    s->w->p->plan = ID_NIL;
    stage_pass_for(s, 30, TRUE);
    s->agent = 0;
    stage_pass_for(s, 30, TRUE);
    expect_told(s, "[   2] time passed -> event AGENT_SILENT\n"
                   "[  73] time passed -> event AGENT_BACK\n");
}

/* Nobody asks the agent alone any more. */
static void test_agent_behind_checks(void)
{
    g_autoptr(Stage) s = stage_new();

    s->agent = 5;
    stage_pass_for(s, 3, TRUE);
    world_forget(s->w);
    watch_web(s);
    stage_pass_for(s, 30, TRUE);
    expect_told(s, "");
    g_assert_false(((ProtectionVm *)s->w->p->vms->pdata[0])->life.mute);
}

/* The active's engine has no role to give up, and nothing is forced of one that answers. */
static void test_way_out_not_named(void)
{
    for (guint vms = 1; vms <= 2; vms++) {
        g_autoptr(Stage) s = stage_new_of(vms);
        g_autofree char *wanted = g_strdup_printf(
            "the engine of alpha answers, and has no part in 'web1' any more, so that no switchover can move "
            "it: make sure that it does not run on alpha, then, as root on beta, which keeps its copy: "
            "understudy-engine promote web --old-is-off%s",
            vms == 1 ? ""
                     : " --point ID (one of its points: without it the other VMs whose copies are there are "
                       "promoted, too)");

        s->word = "frozen";
        stage_pass(s, TRUE);
        s->word = NULL;
        stage_pass_for(s, 30, TRUE);
        expect_way_out(s, wanted);
        stage_lose(s);
        s->path = 3;
        stage_pass(s, FALSE);
        expect_way_out(s, "understudy switchover web --force (shows what would be lost, and asks)");
    }
}

/* --- a thousand ------------------------------------------------------------------ */

/* What must hold, whatever comes: the trace of one scenario, event by event. */
typedef struct {
    Stage *s;
    GRand *chance;
    guint seed;
    GString *story; /* all that happened so far, for who wants to know how it came to that */
    gboolean alpha; /* its engine is heard */
    gboolean counting, required, silent;
    guint countdowns, restarts, ends;
    gint64 restarted_ms;
} Tale;

#define MUST(tale, condition)                                                                     \
    do {                                                                                          \
        if (!(condition))                                                                         \
            g_error("scenario %u: not so: %s\n%s", (tale)->seed, #condition, (tale)->story->str); \
    } while (0)

static void take_countdown(Tale *t, const char *line)
{
    if (strstr(line, "COUNTDOWN_STARTED")) {
        MUST(t, !t->counting && t->silent);
        t->counting = TRUE;
        t->countdowns++;
    } else if (strstr(line, "COUNTDOWN_CANCELLED")) {
        MUST(t, t->counting);
        t->counting = t->required = FALSE;
    } else if (strstr(line, "SWITCHOVER_REQUIRED")) {
        MUST(t, t->counting && !t->required);
        t->required = TRUE;
        t->ends++;
    }
}

static void take_guest(Tale *t, const char *line)
{
    if (strstr(line, "GUEST_SILENT")) {
        MUST(t, !t->silent);
        t->silent = TRUE;
    } else if (strstr(line, "GUEST_BACK")) {
        MUST(t, t->silent);
        t->silent = FALSE;
    } else if (strstr(line, "guest.revive to")) {
        MUST(t, t->silent && t->alpha && t->s->libvirt);
        MUST(t, t->restarted_ms == 0 || t->s->w->now_ms >= t->restarted_ms + 5000);
        t->restarted_ms = t->s->w->now_ms;
        t->restarts++;
    }
}

static void check_told(Tale *t)
{
    g_auto(GStrv) lines = g_strsplit(t->s->w->trace->str, "\n", -1);
    const Protection *p = t->s->w->p;
    const ProtectionLife *now = &((ProtectionVm *)p->vms->pdata[0])->life;

    for (char **line = lines; *line; line++) {
        if (!strstr(*line, "time passed -> nothing"))
            g_string_append_printf(t->story, "%s\n", *line);
        take_countdown(t, *line);
        take_guest(t, *line);
    }
    world_forget(t->s->w);
    /* One that its user ends meanwhile is not said to be back. */
    if (now->state == GUEST_LIFE_OFF)
        t->silent = FALSE;
    MUST(t, t->silent == (now->state == GUEST_LIFE_SILENT));
    MUST(t, t->counting == p->countdown.runs && t->counting == t->silent);
    MUST(t, t->required == p->countdown.over);
}

static void happens(Tale *t)
{
    static const char *const WORDS[] = {"alive", "alive", "alive",   "alive",  "off",
                                        "idle",  "dead",  "stalled", "frozen", "unknown"};
    GRand *r = t->chance;
    Stage *s = t->s;

    if (g_rand_int_range(r, 0, 20) == 0)
        s->word = WORDS[g_rand_int_range(r, 0, G_N_ELEMENTS(WORDS))];
    if (g_rand_int_range(r, 0, 30) == 0)
        s->boots++;
    if (g_rand_int_range(r, 0, 20) == 0)
        s->agent = g_rand_int_range(r, -1, 6);
    if (g_rand_int_range(r, 0, 20) == 0)
        s->path = g_rand_int_range(r, 0, 6);
    if (s->has_web && g_rand_int_range(r, 0, 20) == 0)
        s->web = g_rand_int_range(r, 0, 6);
    if (g_rand_int_range(r, 0, 40) == 0)
        s->libvirt = !s->libvirt;
    if (g_rand_int_range(r, 0, 40) == 0) {
        t->alpha = !t->alpha;
        stage_link(s, t->alpha);
    }
    if (g_rand_int_range(r, 0, 60) == 0) {
        stage_restart(s);
        world_link(s->w, "beta", TRUE);
        if (t->alpha)
            stage_link(s, TRUE);
        g_string_append(t->story, "the controller starts again\n");
    }
    g_string_append_printf(t->story,
                           "[%4" G_GINT64_FORMAT "] %s, boot %u, agent %d, path %d, web %d, %s, %s\n",
                           s->w->now_ms / 1000, s->word, s->boots, s->agent, s->path, s->web,
                           s->libvirt ? "libvirtd" : "no libvirtd", t->alpha ? "heard" : "not heard");
    if (((ProtectionVm *)s->w->p->vms->pdata[0])->life.reviving && g_rand_int_range(r, 0, 4) == 0)
        stage_revived(s, g_rand_boolean(r) ? -1 : US_ERROR_FAILED, "because");
}

/* In the end all is well, and known to be. */
static void ends_well(Tale *t)
{
    t->s->word = "alive";
    t->s->agent = t->s->path = t->s->web = 0;
    t->s->libvirt = TRUE;
    if (!t->alpha)
        stage_find(t->s);
    stage_pass_for(t->s, 30, TRUE);
    MUST(t, protection_countdown_left_ms(t->s->w->p, t->s->w->now_ms) == -1);
}

/* Every other one has a check that its operator chose. */
static void begin_tale(Tale *t, guint seed)
{
    *t = (Tale){stage_new(), g_rand_new_with_seed(seed), seed, g_string_new(NULL), .alpha = TRUE};
    if (seed % 2)
        watch_web(t->s);
}

static void end_tale(Tale *t)
{
    g_rand_free(t->chance);
    g_string_free(t->story, TRUE);
    stage_free(t->s);
}

static void test_thousand(void)
{
    g_autofree Tale *tales = g_new0(Tale, 1000);
    guint countdowns = 0, restarts = 0, ends = 0;

    for (guint i = 0; i < 1000; i++)
        begin_tale(&tales[i], i);
    for (guint second = 0; second < 200; second++)
        for (Tale *t = tales; t < tales + 1000; t++) {
            happens(t);
            stage_pass(t->s, t->alpha);
            check_told(t);
        }
    for (Tale *t = tales; t < tales + 1000; t++) {
        ends_well(t);
        countdowns += t->countdowns;
        restarts += t->restarts;
        ends += t->ends;
        if (t->seed == 1)
            g_test_message("the first with a check:\n%s", t->story->str);
        end_tale(t);
    }
    g_test_message("%u countdowns, %u restarts, %u switchovers required", countdowns, restarts, ends);
    g_assert_cmpuint(restarts, >, 500);
    g_assert_cmpuint(ends, >, 300);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/life/host/dies", test_host_dies);
    g_test_add_func("/life/host/excused", test_excused);
    g_test_add_func("/life/guest/paused", test_paused);
    g_test_add_func("/life/host/comes-back", test_host_comes_back);
    g_test_add_func("/life/controller/goes-on", test_goes_on);
    g_test_add_func("/life/controller/ended-meanwhile", test_ended_meanwhile);
    g_test_add_func("/life/controller/lives-meanwhile", test_lives_meanwhile);
    g_test_add_func("/life/controller/seen-by-nobody", test_seen_by_nobody);
    g_test_add_func("/life/controller/one-is-seen", test_one_is_seen);
    g_test_add_func("/life/controller/other-clocks", test_other_clocks);
    g_test_add_func("/life/controller/told-before", test_told_before);
    g_test_add_func("/life/host/kernel-alone", test_kernel_alone);
    g_test_add_func("/life/host/engine-ended", test_engine_ended);
    g_test_add_func("/life/host/hangs-and-guest-is-dead", test_hangs_and_guest_is_dead);
    g_test_add_func("/life/host/line-of-the-controller", test_line_of_the_controller);
    g_test_add_func("/life/host/line-of-the-standby", test_line_of_the_standby);
    g_test_add_func("/life/host/flapping", test_flapping);
    g_test_add_func("/life/host/silent-again", test_silent_again);
    g_test_add_func("/life/host/path-lost", test_path_lost);
    g_test_add_func("/life/host/paths-of-a-dead-host", test_paths_of_a_dead_host);
    g_test_add_func("/life/host/blind", test_blind);
    g_test_add_func("/life/host/another-path-lost", test_another_path_lost);
    g_test_add_func("/life/host/gateway-alone", test_gateway_alone);
    g_test_add_func("/life/host/gateway-comes-and-goes", test_gateway_comes_and_goes);
    g_test_add_func("/life/host/blind-from-the-start", test_blind_from_the_start);
    g_test_add_func("/life/host/lost-echoes", test_lost_echoes);
    g_test_add_func("/life/host/sees-none", test_sees_none);
    g_test_add_func("/life/host/all-gone", test_all_gone);
    g_test_add_func("/life/host/names-are-gone", test_names_are_gone);
    g_test_add_func("/life/host/both-gone", test_both_gone);
    g_test_add_func("/life/host/libvirtd", test_libvirtd);
    g_test_add_func("/life/host/guard", test_guard);
    g_test_add_func("/life/host/guard-told-before", test_guard_told_before);
    g_test_add_func("/life/host/frozen-without-guard", test_frozen_without_guard);
    g_test_add_func("/life/host/changes", test_changes);
    g_test_add_func("/life/host/site-comes-back", test_site_comes_back);
    g_test_add_func("/life/host/was-off", test_was_off);
    g_test_add_func("/life/guest/held", test_held);
    g_test_add_func("/life/guest/dies", test_guest_dies);
    g_test_add_func("/life/guest/restart-fails", test_restart_fails);
    g_test_add_func("/life/guest/restart-late", test_restart_late);
    g_test_add_func("/life/guest/restart-late-at-last", test_restart_late_at_last);
    g_test_add_func("/life/guest/restart-late-not-asked", test_restart_late_not_asked);
    g_test_add_func("/life/guest/restart-not-asked", test_restart_not_asked);
    g_test_add_func("/life/guest/restart-fails-late", test_restart_fails_late);
    g_test_add_func("/life/guest/dies-again", test_dies_again);
    g_test_add_func("/life/guest/dies-without-libvirtd", test_dies_without_libvirtd);
    g_test_add_func("/life/guest/libvirtd-locked-up", test_libvirtd_locked_up);
    g_test_add_func("/life/guest/ended-by-its-user", test_ended_by_its_user);
    g_test_add_func("/life/guest/late-answers", test_late_answers);
    g_test_add_func("/life/guest/started-by-its-user", test_started_by_its_user);
    g_test_add_func("/life/guest/restart-in-vain", test_restart_in_vain);
    g_test_add_func("/life/guest/last-second", test_last_second);
    g_test_add_func("/life/guest/users-will", test_users_will);
    g_test_add_func("/life/guest/watchdog", test_watchdog);
    g_test_add_func("/life/guest/halts", test_halts);
    g_test_add_func("/life/guest/agent-alone", test_agent_alone);
    g_test_add_func("/life/guest/agent-after-a-blink", test_agent_after_a_blink);
    g_test_add_func("/life/guest/agent-behind-libvirtd", test_agent_behind_libvirtd);
    g_test_add_func("/life/guest/never-had-an-agent", test_never_had_an_agent);
    g_test_add_func("/life/guest/never-answered", test_never_answered);
    g_test_add_func("/life/guest/hangs", test_hangs);
    g_test_add_func("/life/guest/shuts-down", test_shuts_down);
    g_test_add_func("/life/guest/cut-off-together", test_cut_off_together);
    g_test_add_func("/life/guest/behind-a-cut-line", test_behind_a_cut_line);
    g_test_add_func("/life/guest/half-heard", test_half_heard);
    g_test_add_func("/life/guest/forgotten-scores", test_forgotten_scores);
    g_test_add_func("/life/guest/forgotten-by-all", test_forgotten_by_all);
    g_test_add_func("/life/guest/zero-before-its-turn", test_zero_before_its_turn);
    g_test_add_func("/life/guest/back-after-zero", test_back_after_zero);
    g_test_add_func("/life/guest/in-its-users-hands", test_in_its_users_hands);
    g_test_add_func("/life/guest/in-order", test_in_order);
    g_test_add_func("/life/guest/heard-of-first", test_heard_of_first);
    g_test_add_func("/life/guest/behind-a-gate", test_behind_a_gate);
    g_test_add_func("/life/guest/behind-a-mute-gate", test_behind_a_mute_gate);
    g_test_add_func("/life/guest/behind-one-that-fails", test_behind_one_that_fails);
    g_test_add_func("/life/guest/any-or-all", test_any_or_all);
    g_test_add_func("/life/guest/hangs-with-its-host", test_hangs_with_its_host);
    g_test_add_func("/life/guest/dies-with-its-host", test_dies_with_its_host);
    g_test_add_func("/life/guest/answers-on-a-silent-host", test_answers_on_a_silent_host);
    g_test_add_func("/life/guest/missed-by-the-blind", test_missed_by_the_blind);
    g_test_add_func("/life/guest/reset-fails", test_reset_fails);
    g_test_add_func("/life/guest/blind-standby", test_blind_standby);
    g_test_add_func("/life/guest/reboots", test_reboots);
    g_test_add_func("/life/guest/stands-still", test_stands_still);
    g_test_add_func("/life/guest/restart-never", test_restart_never);
    g_test_add_func("/life/guest/plan", test_plan);
    g_test_add_func("/life/guest/plan-of-others", test_plan_of_others);
    g_test_add_func("/life/guest/plan-taken-back", test_plan_taken_back);
    g_test_add_func("/life/guest/moved", test_moved);
    g_test_add_func("/life/guest/not-named", test_not_named);
    g_test_add_func("/life/guest/alive-and-not-named", test_alive_and_not_named);
    g_test_add_func("/life/guest/second-one", test_second_one);
    g_test_add_func("/life/guest/second-one-lives", test_second_one_lives);
    g_test_add_func("/life/guest/plan-and-lives", test_lives_after_a_plan);
    g_test_add_func("/life/guest/plan-and-silent", test_silent_after_a_plan);
    g_test_add_func("/life/guest/plan-and-late", test_late_after_a_plan);
    g_test_add_func("/life/guest/moved-and-over", test_moved_and_over);
    g_test_add_func("/life/guest/plan-and-hang", test_hang_after_a_plan);
    g_test_add_func("/life/guest/agent-after-off", test_agent_after_off);
    g_test_add_func("/life/guest/agent-behind-checks", test_agent_behind_checks);
    g_test_add_func("/life/way-out", test_way_out);
    g_test_add_func("/life/way-out/not-named", test_way_out_not_named);
    g_test_add_func("/life/thousand", test_thousand);
    return g_test_run();
}
