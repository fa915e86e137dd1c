/* SPDX-License-Identifier: Apache-2.0 */
/* The device is a file: each pet is a '.' in it, a leave in order a 'V'. Whether it would have fired is counted here. */
#include "vmconnect/guard/watchdog.h"

#include "vmconnect/base/error.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

/* Of the lease, on both clocks. */
#define END_MS 100000
#define TIMEOUT_MS (WATCHDOG_LEAST_S * 1000)
#define NOW_MS (END_MS - 10000)

static char *path;
static WatchdogDevice like;  /* what is opened */
static gboolean cannot_open; /* nothing is */
static guint opened;

static gboolean open_file(const char *device, WatchdogDevice *ret_device, GError **error)
{
    g_assert_cmpstr(device, ==, path);
    if (cannot_open) {
        g_set_error(error, US_ERROR, US_ERROR_BUSY, "another has it");
        return FALSE;
    }
    opened++;
    *ret_device = like;
    ret_device->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return TRUE;
}

static LeaseMoment at(gint64 ms)
{
    return (LeaseMoment){ms, ms};
}

typedef struct {
    GPtrArray *wards;
    Watchdog *watchdog;
} World;

static void world_init(World *w)
{
    like = (WatchdogDevice){.timeout_ms = TIMEOUT_MS};
    cannot_open = FALSE;
    opened = 0;
    w->wards = g_ptr_array_new_with_free_func(g_free);
    w->watchdog = watchdog_new(path, open_file);
}

static void world_clear(World *w)
{
    watchdog_free(w->watchdog);
    g_ptr_array_unref(w->wards);
    g_unlink(path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

/* It was given @given_ms before its end. */
static Ward *add(World *w, gboolean enforced, gint64 given_ms)
{
    Ward *ward = g_new0(Ward, 1);

    ward->ladder = (Ladder){.is_enforced = enforced, .until = {END_MS, END_MS}};
    ward->given_ms = given_ms;
    g_ptr_array_add(w->wards, ward);
    return ward;
}

/* What was written since it was last asked. */
static void expect(const char *wanted)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        text = g_strdup("");
    g_assert_cmpstr(text, ==, wanted);
    if (*text)
        g_assert_cmpint(truncate(path, 0), ==, 0);
}

static void step(World *w, gint64 now_ms)
{
    watchdog_step(w->watchdog, w->wards, at(now_ms));
}

/* --- may it be petted? --------------------------------------------------------- */

static void test_room(void)
{
    static const struct {
        gboolean enforced;
        LadderState state;
        gint64 given_ms, left_ms, room_ms;
    } CASES[] = {
        {FALSE, LADDER_RUNS, 0, -5000, G_MAXINT64},
        {TRUE, LADDER_RUNS, 10000, 10000, 6700},
        {TRUE, LADDER_RUNS, 10000, 3300, 0},
        {TRUE, LADDER_RUNS, 10000, 1000, -2300},
        {TRUE, LADDER_ASKED, 10000, 1400, -1900},
        {TRUE, LADDER_HALTED, 10000, 900, -2400},
        /* One that was killed and lives is what it is there for. */
        {TRUE, LADDER_KILLED, 10000, -100, -3400},
        {TRUE, LADDER_PAUSED, 10000, -5000, G_MAXINT64},
        {TRUE, LADDER_STOPPED, 10000, -5000, G_MAXINT64},
        /* Given to an earlier guard. */
        {TRUE, LADDER_RUNS, G_MAXINT64, 2000, -1300},
        /* The device cannot hold it, or it is none. */
        {TRUE, LADDER_RUNS, 3300, 3300, G_MAXINT64},
        {TRUE, LADDER_RUNS, 3301, 3301, 1},
        {TRUE, LADDER_RUNS, 1501, 1501, G_MAXINT64},
        {TRUE, LADDER_RUNS, 1500, 1500, -1800},
        {TRUE, LADDER_RUNS, -20, -20, -3320},
    };

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_auto(World) w = {0};
        Ward *ward;

        world_init(&w);
        ward = add(&w, CASES[i].enforced, CASES[i].given_ms);
        ward->ladder.state = CASES[i].state;
        g_assert_cmpint(watchdog_room_ms(w.wards, TIMEOUT_MS, at(END_MS - CASES[i].left_ms)), ==,
                        CASES[i].room_ms);
        /* The least of all counts, by the clock that is ahead. */
        add(&w, TRUE, 60000)->ladder.until = (LeaseMoment){END_MS + 20000, END_MS + 20000};
        g_assert_cmpint(watchdog_room_ms(w.wards, TIMEOUT_MS, at(END_MS - CASES[i].left_ms)), ==,
                        MIN(CASES[i].room_ms, CASES[i].left_ms + 20000 - 3300));
    }
}

static void test_clocks(void)
{
    g_auto(World) w = {0};

    world_init(&w);
    add(&w, TRUE, 10000)->ladder.until = (LeaseMoment){END_MS, 5000};
    g_assert_cmpint(watchdog_room_ms(w.wards, TIMEOUT_MS, (LeaseMoment){END_MS - 9000, 1000}), ==, 700);
    g_assert_cmpint(watchdog_room_ms(w.wards, TIMEOUT_MS, (LeaseMoment){END_MS - 4000, -9000}), ==, 700);
}

/* --- the device ------------------------------------------------------------------- */

/* It is open while somebody needs it, and only then. */
static void test_open(void)
{
    g_auto(World) w = {0};
    Ward *ward;

    world_init(&w);
    ward = add(&w, FALSE, 0);
    g_assert_true(watchdog_begin(w.watchdog, w.wards, at(NOW_MS), NULL));
    expect("V");
    step(&w, NOW_MS);
    g_assert_cmpint(watchdog_wait_ms(w.watchdog, w.wards, at(NOW_MS)), ==, -1);
    expect("");
    ward->ladder.is_enforced = TRUE;
    ward->given_ms = 10000;
    step(&w, NOW_MS);
    step(&w, NOW_MS + 500);
    expect("..");
    g_assert_cmpint(watchdog_wait_ms(w.watchdog, w.wards, at(NOW_MS)), ==, 1000);
    ward->ladder.is_enforced = FALSE;
    step(&w, NOW_MS + 600);
    expect("V");
    step(&w, NOW_MS + 700);
    expect("");
    g_assert_cmpuint(opened, ==, 2);
}

/* Who dies leaves it to fire, and so does who is told to end too early. */
static void test_ends(void)
{
    g_auto(World) w = {0};

    world_init(&w);
    add(&w, TRUE, 10000);
    g_assert_true(watchdog_begin(w.watchdog, w.wards, at(NOW_MS), NULL));
    expect(".");
    watchdog_end(w.watchdog, w.wards);
    expect("");
    g_assert_true(watchdog_begin(w.watchdog, w.wards, at(NOW_MS), NULL));
    expect(".");
    g_clear_pointer(&w.watchdog, watchdog_free);
    expect("");
    w.watchdog = watchdog_new(path, open_file);
    g_ptr_array_set_size(w.wards, 0);
    g_assert_true(watchdog_begin(w.watchdog, w.wards, at(NOW_MS), NULL));
    expect("V");
}

/* What cannot be stopped is petted for ever. */
static void test_stays(void)
{
    g_auto(World) w = {0};

    world_init(&w);
    like.stays = TRUE;
    g_assert_true(watchdog_begin(w.watchdog, w.wards, at(NOW_MS), NULL));
    step(&w, NOW_MS);
    expect("..");
    g_assert_cmpint(watchdog_wait_ms(w.watchdog, w.wards, at(NOW_MS)), ==, 1000);
}

/* Opening is petting: near the end of a lease the next guard leaves it to what the former has begun, until the guest stands still. */
static void test_taken_over_late(void)
{
    g_auto(World) w = {0};
    Ward *ward;

    world_init(&w);
    ward = add(&w, TRUE, G_MAXINT64);
    g_assert_true(watchdog_begin(w.watchdog, w.wards, at(END_MS - 2000), NULL));
    step(&w, END_MS - 1900);
    g_assert_cmpuint(opened, ==, 0);
    g_assert_cmpint(watchdog_wait_ms(w.watchdog, w.wards, at(END_MS - 1900)), ==, -1);
    ward->ladder.state = LADDER_STOPPED;
    step(&w, END_MS - 900);
    expect(".");
}

static void test_cannot_be_opened(void)
{
    g_auto(World) w = {0};
    g_autoptr(GError) error = NULL;

    world_init(&w);
    cannot_open = TRUE;
    add(&w, TRUE, 60000)->ladder.until = at(NOW_MS + 60000);
    g_assert_false(watchdog_begin(w.watchdog, w.wards, at(NOW_MS), &error));
    g_assert_error(error, US_ERROR, US_ERROR_BUSY);
    step(&w, NOW_MS);
    g_assert_cmpint(watchdog_wait_ms(w.watchdog, w.wards, at(NOW_MS + 1)), ==, 9999);
    cannot_open = FALSE;
    step(&w, NOW_MS + 9999);
    expect("");
    step(&w, NOW_MS + 10000);
    expect(".");
}

/* How long it waits is known only when it is open. */
static void test_slow_device(void)
{
    g_auto(World) w = {0};
    Ward *ward;

    world_init(&w);
    like.timeout_ms = 9000;
    ward = add(&w, TRUE, 20000);
    step(&w, END_MS - 9000);
    g_assert_cmpuint(opened, ==, 1);
    expect("");
    ward->ladder.until = at(END_MS + 20000);
    step(&w, END_MS - 8000);
    expect(".");
    g_assert_cmpint(watchdog_wait_ms(w.watchdog, w.wards, at(END_MS - 8000)), ==, 3000);
}

static void test_no_device(void)
{
    g_autoptr(GError) none = NULL, plain = NULL, deaf = NULL;
    WatchdogDevice device;

    g_assert_false(watchdog_open_device("/nowhere/watchdog", &device, &none));
    g_assert_error(none, US_ERROR, US_ERROR_NOT_FOUND);
    g_assert_false(watchdog_open_device("/etc/passwd", &device, &plain));
    g_assert_error(plain, US_ERROR, US_ERROR_USAGE);
    /* A device, and no watchdog. */
    g_assert_false(watchdog_open_device("/dev/null", &device, &deaf));
    g_assert_error(deaf, US_ERROR, US_ERROR_UNSUPPORTED);
}

/* --- in time --------------------------------------------------------------------------- */

typedef struct {
    gboolean obeys_libvirt, obeys_stop, obeys_kill;
    gint64 hangs_at_ms;  /* the guard does, from then on */
    gint64 renewed_ms;   /* the lease was, this often, until … */
    gint64 renewals_end; /* … then */
    gint64 timeout_ms;
} Play;

/* One guest, from its first lease on, as the sentry goes about it. Returns when the host is reset, or -1; *@ret_ends: of the last lease. */
static gint64 play(const Play *p, gint64 *ret_ends)
{
    g_auto(World) w = {0};
    Ward *ward;
    gint64 petted_ms = -1, wake_ms = 0, lease_ms = 14700;

    world_init(&w);
    like.timeout_ms = p->timeout_ms;
    ward = add(&w, TRUE, lease_ms);
    ward->ladder.until = at(lease_ms);
    for (gint64 now_ms = 0; now_ms < 120000; now_ms++) {
        LadderSight sight = {.now = at(now_ms)};
        gint64 wait_ms, ladder_ms;
        const char *why;

        if (petted_ms >= 0 && now_ms >= petted_ms + p->timeout_ms) {
            *ret_ends = ward->ladder.until.boot_ms;
            return now_ms;
        }
        if (now_ms >= p->hangs_at_ms)
            continue;
        if (now_ms > 0 && now_ms < p->renewals_end && now_ms % p->renewed_ms == 0) {
            ward->ladder.until = at(now_ms + lease_ms);
            ward->given_ms = lease_ms;
            wake_ms = now_ms;
        }
        if (now_ms < wake_ms)
            continue;
        sight.said_stopped = p->obeys_libvirt && ward->ladder.state != LADDER_RUNS;
        sight.is_still = p->obeys_stop && ward->ladder.state >= LADDER_HALTED;
        while (ladder_step(&ward->ladder, &sight, &why) != LADDER_NOTHING) {
            sight.said_stopped = p->obeys_libvirt;
            sight.is_still = p->obeys_stop;
        }
        if (ward->ladder.state == LADDER_KILLED && p->obeys_kill)
            g_ptr_array_set_size(w.wards, 0);
        step(&w, now_ms);
        {
            g_autofree char *text = NULL;

            if (g_file_get_contents(path, &text, NULL, NULL) && *text) {
                petted_ms = strchr(text, 'V') ? -1 : now_ms;
                g_assert_cmpint(truncate(path, 0), ==, 0);
            }
        }
        if (w.wards->len == 0) {
            *ret_ends = 0;
            return petted_ms < 0 ? -1 : petted_ms + p->timeout_ms;
        }
        wait_ms = watchdog_wait_ms(w.watchdog, w.wards, at(now_ms));
        ladder_ms = ladder_wait_ms(&ward->ladder, at(now_ms));
        wait_ms = wait_ms < 0 ? ladder_ms : ladder_ms < 0 ? wait_ms : MIN(wait_ms, ladder_ms);
        wake_ms = wait_ms < 0 ? G_MAXINT64 : now_ms + MAX(wait_ms, 1);
    }
    *ret_ends = ward->ladder.until.boot_ms;
    return -1;
}

/* A guard that does its work never has its host reset: whatever stops the guest, and if the lease is renewed without end. */
static void test_never_in_vain(void)
{
    static const Play PLAYS[] = {
        {TRUE, TRUE, TRUE, G_MAXINT64, 3000, 30000, TIMEOUT_MS},
        {FALSE, TRUE, TRUE, G_MAXINT64, 3000, 30000, TIMEOUT_MS},
        {FALSE, FALSE, TRUE, G_MAXINT64, 3000, 30000, TIMEOUT_MS},
        {FALSE, FALSE, FALSE, G_MAXINT64, 3000, G_MAXINT64, TIMEOUT_MS},
        {TRUE, TRUE, TRUE, G_MAXINT64, 3000, 30000, 10000},
        {FALSE, FALSE, TRUE, G_MAXINT64, 3000, 30000, 10000},
        /* Two of three answers are lost. */
        {FALSE, FALSE, TRUE, G_MAXINT64, 9000, 60000, TIMEOUT_MS},
    };

    for (guint i = 0; i < G_N_ELEMENTS(PLAYS); i++) {
        gint64 ends_ms;

        g_test_message("%u", i);
        g_assert_cmpint(play(&PLAYS[i], &ends_ms), ==, -1);
    }
}

/* One that hangs, at whatever moment, does before the lease ends, and so does a guest that nothing stops. */
static void test_in_time(void)
{
    Play p = {TRUE, TRUE, TRUE, 0, 3000, 20000, TIMEOUT_MS};
    gint64 ends_ms, fired_ms;

    for (p.timeout_ms = TIMEOUT_MS; p.timeout_ms <= 10000; p.timeout_ms += 7000)
        for (p.hangs_at_ms = 1; p.hangs_at_ms < 31000; p.hangs_at_ms += 311) {
            fired_ms = play(&p, &ends_ms);
            g_assert_cmpint(fired_ms, >=, 0);
            g_assert_cmpint(fired_ms, <=, ends_ms - WATCHDOG_EARLY_MS);
        }
    p = (Play){FALSE, FALSE, FALSE, G_MAXINT64, 3000, 20000, TIMEOUT_MS};
    fired_ms = play(&p, &ends_ms);
    g_assert_cmpint(fired_ms, <=, ends_ms - WATCHDOG_EARLY_MS);
    /* … and not much before, for it may stop yet. */
    g_assert_cmpint(fired_ms, >, ends_ms - LADDER_KILL_MS);
}

int main(int argc, char **argv)
{
    g_autofree char *folder = g_dir_make_tmp("understudy-watchdog-XXXXXX", NULL);
    int rc;

    g_test_init(&argc, &argv, NULL);
    path = g_build_filename(folder, "device", NULL);
    g_test_add_func("/watchdog/room", test_room);
    g_test_add_func("/watchdog/clocks", test_clocks);
    g_test_add_func("/watchdog/open", test_open);
    g_test_add_func("/watchdog/ends", test_ends);
    g_test_add_func("/watchdog/stays", test_stays);
    g_test_add_func("/watchdog/taken-over-late", test_taken_over_late);
    g_test_add_func("/watchdog/cannot-be-opened", test_cannot_be_opened);
    g_test_add_func("/watchdog/slow-device", test_slow_device);
    g_test_add_func("/watchdog/no-device", test_no_device);
    g_test_add_func("/watchdog/never-in-vain", test_never_in_vain);
    g_test_add_func("/watchdog/in-time", test_in_time);
    rc = g_test_run();
    g_free(path);
    g_rmdir(folder);
    return rc;
}
