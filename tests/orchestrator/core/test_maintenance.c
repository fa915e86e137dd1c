/* SPDX-License-Identifier: Apache-2.0 */
/* A maintenance of alpha, which runs "web", and of beta, which keeps its copies: what it becomes by what is known. */
#include "orchestrator/core/maintenance.h"
#include "vmconnect/base/error.h"
#include "vmconnect/base/json.h"
#include "world.h"

#include <string.h>

#define FIRST_BOOT "11111111-1111-4111-8111-111111111111"
#define NEXT_BOOT "22222222-2222-4222-8222-222222222222"

typedef struct {
    World *w;
    GPtrArray *protections;
    json_t *doc;
    Plan *plan;
    MaintenanceSight sight;
    const char *boot;
    GString *told; /* "CODE text\n" */
} Desk;

static void free_event(gpointer event)
{
    event_free(event);
}

/* TRUE: it has become another. */
static gboolean turn(Desk *d)
{
    MaintenanceNow now = {d->w->now_ms, 1700000000000 + d->w->now_ms, d->boot};
    g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func(free_event);
    gboolean changed;

    d->sight.protection = d->w->p;
    d->sight.plan = d->plan;
    changed = maintenance_step(d->doc, &d->sight, &now, events);
    for (guint i = 0; i < events->len; i++) {
        const Event *event = events->pdata[i];

        g_string_append_printf(d->told, "%s %s\n", event_code_name(event->code), event->text);
    }
    g_assert_true(maintenance_check(d->doc, NULL));
    roster_maintain(d->w->roster, json_string_value(json_object_get(d->doc, "host")), d->doc);
    return changed;
}

static void expect(Desk *d, const char *told)
{
    g_assert_cmpstr(d->told->str, ==, told);
    g_string_truncate(d->told, 0);
}

static Desk *desk_new(const char *host, const MaintenanceWish *wish)
{
    Desk *d = g_new0(Desk, 1);

    d->w = world_new(1);
    world_run(d->w);
    d->told = g_string_new(NULL);
    d->protections = g_ptr_array_new();
    g_ptr_array_add(d->protections, d->w->p);
    d->boot = FIRST_BOOT;
    d->doc = maintenance_new(roster_find(d->w->roster, host), d->protections, wish, d->boot,
                             1700000000000 + d->w->now_ms);
    g_assert_cmpuint(maintenance_len(d->doc), ==, 1);
    return d;
}

static void desk_free(Desk *d)
{
    plan_free(d->plan);
    json_decref(d->doc);
    g_ptr_array_unref(d->protections);
    g_string_free(d->told, TRUE);
    world_free(d->w);
    g_free(d);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Desk, desk_free)

static void begin_plan(Desk *d)
{
    ParkOptions options;

    g_assert_true(maintenance_park_options(d->doc, 0, world_id(0x88), &options));
    d->plan = plan_park(d->w->p, &options, NULL);
    g_assert_nonnull(d->plan);
}

static void set_all(Desk *d, MoveState state)
{
    for (guint i = 0; i < d->plan->moves->len; i++)
        ((Move *)d->plan->moves->pdata[i])->state = state;
}

/* The VM is protected again, by a generation that is @lag_ms old. */
static void is_protected(Desk *d, gint64 lag_ms)
{
    world_link(d->w, "alpha", TRUE);
    world_link(d->w, "beta", TRUE);
    world_hear(d->w, "alpha");
    world_hear(d->w, "beta");
    world_news_more(d->w, 1, "protected", lag_ms, NULL, "{}");
}

static void make_ready(Desk *d)
{
    g_assert_false(turn(d));
    begin_plan(d);
    g_assert_true(turn(d)); /* it has begun, which is durable */
    g_assert_false(turn(d));
    set_all(d, MOVE_PARKED);
    g_assert_true(turn(d));
    g_assert_cmpint(maintenance_phase(d->doc), ==, MAINTENANCE_READY);
    expect(d, "MAINTENANCE_READY Ready for reboot: alpha (scenario 'web')\n"
              "MAINTENANCE_READY Ready for reboot: alpha (all of it, 1 scenario)\n");
}

static void test_master(void)
{
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){0});

    make_ready(d);
    g_assert_true(maintenance_parks(d->doc, d->plan->id));
    g_assert_false(maintenance_parks(d->doc, world_id(0x99)));
    g_assert_false(maintenance_closes(d->doc, ID_TEXT(world_vm(1))));
    /* It goes down; it is the same boot as long as nobody says otherwise. */
    d->boot = NULL;
    g_assert_true(turn(d));
    g_assert_false(turn(d));
    d->boot = FIRST_BOOT;
    g_assert_true(turn(d));
    g_assert_false(turn(d));
    d->boot = NEXT_BOOT;
    g_assert_true(turn(d));
    g_assert_cmpint(maintenance_phase(d->doc), ==, MAINTENANCE_RETURNING);
    g_assert_false(turn(d));
    set_all(d, MOVE_STAYED);
    d->plan->called = d->plan->ended = TRUE;
    d->w->now_ms += 5000;
    is_protected(d, 6000); /* what it held before says nothing */
    g_assert_false(turn(d));
    is_protected(d, 900);
    g_assert_true(turn(d));
    g_assert_false(maintenance_runs(d->doc));
    /* The engine was started anew: all that it has counted is of now. */
    expect(d, "MAINTENANCE_DONE Host maintenance is complete. Replication resumed. (bytes resynchronised: 7, "
              "bytes of "
              "ordinary changes: 0)\n");
    g_assert_false(turn(d));
}

static void test_replica(void)
{
    g_autoptr(Desk) d = desk_new("beta", &(MaintenanceWish){0});

    g_assert_true(id_is_nil(maintenance_plan(d->doc, 0)));
    g_assert_true(maintenance_closes(d->doc, ID_TEXT(world_vm(1))));
    g_assert_false(maintenance_closes(d->doc, ID_TEXT(world_vm(2))));
    g_assert_false(maintenance_closes(NULL, ID_TEXT(world_vm(1))));
    g_assert_false(turn(d));
    d->sight.rested = TRUE;
    g_assert_true(turn(d));
    g_string_truncate(d->told, 0);
    g_assert_cmpint(maintenance_phase(d->doc), ==, MAINTENANCE_READY);
    g_assert_true(protection_is_held(d->w->p));
    g_assert_true(maintenance_finish(d->doc, &d->sight, NULL));
    g_assert_true(turn(d));
    d->w->now_ms += 3000;
    is_protected(d, 500);
    g_assert_true(turn(d));
    /* The engine that sends went on: what it had sent before is not of this. */
    expect(d, "MAINTENANCE_DONE Host maintenance is complete. Replication resumed without resynchronization. "
              "(bytes "
              "resynchronised: 0, bytes of ordinary changes: 0)\n");
    g_assert_false(protection_is_held(d->w->p));
}

static void test_until_finish(void)
{
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){.until_finish = TRUE});
    g_autoptr(GError) error = NULL;

    make_ready(d);
    d->boot = NEXT_BOOT;
    g_assert_false(turn(d));
    g_assert_true(maintenance_finish(d->doc, &d->sight, NULL));
    g_assert_false(maintenance_finish(d->doc, &d->sight, &error));
    g_assert_error(error, US_ERROR, US_ERROR_EXISTS);
    g_assert_true(turn(d));
    g_assert_cmpint(maintenance_phase(d->doc), ==, MAINTENANCE_RETURNING);
}

/* One that is not protected any more, for whatever reason, keeps nobody's maintenance from ever ending. */
static void test_never_whole(void)
{
    json_auto_t *then = json_pack("[s]", "beta");
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){.then = then});
    g_autoptr(GError) error = NULL;
    MaintenanceWish wish;
    json_t *none;

    make_ready(d);
    g_assert_true(maintenance_finish(d->doc, &d->sight, NULL));
    g_assert_true(turn(d));
    g_assert_false(maintenance_finish(d->doc, &d->sight, &error));
    g_assert_error(error, US_ERROR, US_ERROR_EXISTS);
    set_all(d, MOVE_STAYED);
    d->plan->called = d->plan->ended = TRUE;
    g_assert_false(turn(d));
    g_assert_true(maintenance_finish(d->doc, &d->sight, NULL));
    g_assert_true(turn(d));
    g_assert_false(maintenance_runs(d->doc));
    g_assert_null(maintenance_next(d->doc, &wish, &none));
    expect(d, "MAINTENANCE_DONE Host maintenance is complete. It was ended before all that came back was "
              "protected again.\n");
}

/* Nobody else says that it does not come back. */
static void test_late(void)
{
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){0});

    make_ready(d);
    for (guint times = 0; times < 2; times++) {
        d->boot = NULL;
        g_assert_true(turn(d)); /* since when is durable */
        d->w->now_ms += 1799999;
        g_assert_false(turn(d));
        d->w->now_ms += 1;
        g_assert_true(turn(d));
        expect(d, "MAINTENANCE_LATE alpha is in maintenance still: it has not answered for 30 min\n");
        d->w->now_ms += 3600000;
        g_assert_false(turn(d));
        d->boot = FIRST_BOOT;
        g_assert_true(turn(d));
        g_assert_false(turn(d));
    }
    d->boot = NEXT_BOOT;
    g_assert_true(turn(d));
    d->plan->called = d->plan->ended = TRUE;
    d->w->now_ms += 1800000;
    g_assert_true(turn(d));
    expect(
        d,
        "MAINTENANCE_LATE alpha is in maintenance still: it is on its way back for 30 min, and not all of it "
        "runs, or is protected\n");
    g_assert_false(turn(d));
}

static void test_plan_is_lost(void)
{
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){0});

    begin_plan(d);
    g_assert_true(turn(d));
    g_clear_pointer(&d->plan, plan_free);
    g_assert_true(turn(d));
    g_assert_cmpint(maintenance_phase(d->doc), ==, MAINTENANCE_RETURNING);
}

/* Nobody is shut down for a last generation that its standby does not take. */
static void test_no_switchover_to_it(void)
{
    g_autoptr(Desk) d = desk_new("beta", &(MaintenanceWish){0});
    PlanOptions options = {.id = world_id(0x77), .reign = world_id(0x88)};
    g_autoptr(Plan) before = plan_switchover(d->w->p, &options, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_nonnull(before);
    g_assert_false(turn(d));
    g_assert_null(plan_switchover(d->w->p, &options, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_assert_nonnull(strstr(error->message, "understudy maintenance finish beta"));
}

/* What one VM failed of is told, once all of it is back. */
static void test_failed(void)
{
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){0});

    begin_plan(d);
    g_assert_true(turn(d));
    ((Move *)d->plan->moves->pdata[0])->why = g_strdup("the guest did not shut down");
    d->plan->called = TRUE;
    g_assert_true(turn(d));
    g_assert_cmpint(maintenance_phase(d->doc), ==, MAINTENANCE_RETURNING);
    g_assert_false(turn(d));
    d->plan->ended = TRUE;
    g_assert_true(turn(d));
    expect(d, "MAINTENANCE_FAILED alpha could not be prepared for its maintenance: 'web1' of scenario 'web': "
              "the guest "
              "did not shut down; what was shut down for it is started again\n");
}

static void test_never_begun(void)
{
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){0});

    d->sight.why = "a plan runs";
    g_assert_true(turn(d));
    g_assert_true(turn(d));
    g_assert_false(maintenance_runs(d->doc));
    g_assert_nonnull(strstr(d->told->str, "MAINTENANCE_FAILED"));
}

static void test_booted_too_early(void)
{
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){0});

    begin_plan(d);
    g_assert_true(turn(d));
    d->boot = NEXT_BOOT;
    g_assert_true(turn(d));
    d->plan->ended = TRUE;
    g_assert_true(turn(d));
    expect(d, "MAINTENANCE_FAILED alpha could not be prepared for its maintenance: it was booted before it "
              "was ready; what "
              "was shut down for it is started again\n");
}

/* VM @vm runs on @host, protected by a generation that is @lag_ms old. */
static void runs_on(Desk *d, const char *host, guint64 term, gint64 lag_ms)
{
    world_moved(d->w, host, term, TRUE);
    world_news_more(d->w, 1, "protected", lag_ms, NULL, "{}");
}

static void test_move(void)
{
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){.move = TRUE});
    MaintenanceNow now;
    ParkOptions options;

    g_assert_true(maintenance_moves(d->doc, 0));
    g_assert_false(maintenance_park_options(d->doc, 0, world_id(0x88), &options));
    d->plan = plan_switchover(
        d->w->p, &(PlanOptions){.id = maintenance_plan(d->doc, 0), .reign = {{0x88}}, .reverse = TRUE}, NULL);
    g_assert_nonnull(d->plan);
    g_assert_true(turn(d)); /* it has begun */
    d->plan->ended = TRUE;
    runs_on(d, "beta", 2, -1);
    g_assert_false(turn(d)); /* not protected there yet */
    world_news_more(d->w, 1, "protected", 300, NULL, "{}");
    g_assert_true(turn(d));
    g_assert_true(maintenance_closes_all(d->doc, 0));
    g_assert_false(turn(d));
    d->sight.rested = TRUE;
    g_assert_true(turn(d));
    g_assert_cmpint(maintenance_phase(d->doc), ==, MAINTENANCE_READY);
    g_assert_false(turn(d));
    d->boot = NEXT_BOOT;
    g_assert_true(turn(d));
    d->sight.rested = FALSE;
    d->w->now_ms += 4000;
    now = (MaintenanceNow){d->w->now_ms, 1700000000000 + d->w->now_ms, NEXT_BOOT};
    g_assert_false(turn(d)); /* what alpha has is from before the boot */
    world_news_more(d->w, 1, "protected", 300, NULL, "{}");
    g_assert_false(maintenance_may_come_home(d->doc, 0, &d->sight, &now));
    g_assert_true(turn(d)); /* what was sent there is noted first */
    g_assert_true(maintenance_may_come_home(d->doc, 0, &d->sight, &now));
    g_string_truncate(d->told, 0);
    g_assert_false(turn(d));
    d->w->now_ms += 4000;
    runs_on(d, "alpha", 3, 300);
    g_assert_true(turn(d));
    g_assert_false(maintenance_runs(d->doc));
    /* Seven were sent for each of the two ways. */
    expect(d, "MAINTENANCE_DONE Host maintenance is complete. Replication resumed. (bytes resynchronised: "
              "14, bytes of "
              "ordinary changes: 0)\n");
}

/* Whose end came while the way was looked at. */
static void test_not_moved_any_more(void)
{
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){.move = TRUE});
    Id plan = maintenance_plan(d->doc, 0);

    g_assert_false(turn(d));
    g_assert_true(maintenance_is_prepared(d->w->p, plan));
    g_assert_false(maintenance_is_prepared(d->w->p, world_id(0x99)));
    g_assert_true(maintenance_finish(d->doc, &d->sight, NULL));
    g_assert_true(turn(d));
    g_assert_false(maintenance_is_prepared(d->w->p, plan));
    g_assert_true(turn(d));
    g_assert_false(maintenance_runs(d->doc));
}

/* It is over all the same, and says so. */
static void test_stays_away(void)
{
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){.move = TRUE});

    runs_on(d, "beta", 2, 300);
    g_assert_true(turn(d));
    d->sight.rested = TRUE;
    g_assert_true(turn(d));
    g_assert_true(maintenance_finish(d->doc, &d->sight, NULL));
    g_assert_true(turn(d));
    d->w->now_ms += 4000;
    world_news_more(d->w, 1, "protected", 300, NULL, "{}");
    g_assert_true(turn(d));
    d->sight.stays = "alpha has no network 'br7'";
    g_assert_true(turn(d));
    g_string_truncate(d->told, 0);
    g_assert_true(turn(d));
    g_assert_nonnull(strstr(
        d->told->str, "The VMs of scenario 'web' stay where they were moved: alpha has no network 'br7'."));
}

static void test_rolling(void)
{
    json_auto_t *then = json_pack("[s, s]", "beta", "gamma");
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){.patient = TRUE, .then = then});
    json_auto_t *rest = NULL, *none = NULL;
    MaintenanceWish wish;

    make_ready(d);
    g_assert_null(maintenance_next(d->doc, &wish, &none));
    g_assert_true(maintenance_finish(d->doc, &d->sight, NULL));
    g_assert_true(turn(d));
    d->plan->called = d->plan->ended = TRUE;
    d->w->now_ms += 3000;
    is_protected(d, 500);
    g_assert_true(turn(d));
    g_assert_cmpstr(maintenance_next(d->doc, &wish, &rest), ==, "beta");
    g_assert_true(wish.patient && !wish.power_off && !wish.move);
    json_object_set_new(d->doc, "move", json_true());
    json_decref(rest);
    g_assert_cmpstr(maintenance_next(d->doc, &wish, &rest), ==, "beta");
    g_assert_true(wish.move);
    g_assert_cmpuint(json_array_size(rest), ==, 1);
    maintenance_forget_next(d->doc);
    g_assert_null(maintenance_next(d->doc, &wish, &none));
    g_string_truncate(d->told, 0);
}

/* web2 was moved to beta before: alpha runs web1 and keeps the copy of web2. */
static World *world_new_of_both(void)
{
    World *w = world_new(2);
    const Id plan = world_id(0x77);

    world_run(w);
    world_step(w, (Input){.kind = INPUT_PLAN_BEGUN, .plan = plan, .host = (char *)"beta"}, NULL);
    world_step(w, (Input){.kind = INPUT_MOVING, .plan = plan, .vm = world_vm(2)}, NULL);
    world_step(w,
               (Input){.kind = INPUT_MOVED,
                       .plan = plan,
                       .vm = world_vm(2),
                       .host = (char *)"beta",
                       .reign = {2, world_id(0x88)},
                       .reverse = TRUE},
               NULL);
    world_step(w, (Input){.kind = INPUT_PLAN_ENDED, .plan = plan, .host = (char *)"beta"}, NULL);
    return w;
}

/* What it runs is parked, and the copies that it keeps are closed: of each scenario two parts, told of as one. */
static void test_both_parts(void)
{
    static const char *const HOSTS[] = {"alpha", "beta"};
    g_autoptr(World) w = world_new_of_both();
    g_autoptr(GPtrArray) protections = g_ptr_array_new(), told = g_ptr_array_new_with_free_func(free_event);
    const MaintenanceWish wish = {0};

    g_ptr_array_add(protections, w->p);
    for (guint i = 0; i < G_N_ELEMENTS(HOSTS); i++) {
        const RosterHost *host = roster_find(w->roster, HOSTS[i]);
        json_auto_t *doc = maintenance_new(host, protections, &wish, FIRST_BOOT, 1700000000000);
        json_auto_t *preview = maintenance_preview(host, protections, &wish);
        g_autoptr(GArray) runs = maintenance_vms(doc, 0), kept = maintenance_vms(doc, 1);
        g_autoptr(Plan) plan = NULL;
        MaintenanceNow now = {w->now_ms, 1700000000000, FIRST_BOOT};
        MaintenanceSight parts[2] = {{.protection = w->p}, {.protection = w->p, .rested = TRUE}};
        ParkOptions options;

        g_assert_cmpuint(json_array_size(json_object_get(preview, "scenarios")), ==, 2);
        g_assert_cmpuint(maintenance_len(doc), ==, 2);
        g_assert_true(runs->len == 1 && id_equal(g_array_index(runs, Id, 0), world_vm(i == 0 ? 1 : 2)));
        g_assert_true(kept->len == 1 && id_equal(g_array_index(kept, Id, 0), world_vm(i == 0 ? 2 : 1)));
        g_assert_false(maintenance_closes_all(doc, 0));
        g_assert_true(maintenance_closes_all(doc, 1));
        if (i > 0)
            continue;
        g_assert_true(maintenance_park_options(doc, 0, world_id(0x99), &options));
        plan = plan_park(w->p, &options, NULL);
        g_assert_true(plan && plan->moves->len == 1);
        parts[0].plan = plan;
        g_assert_true(maintenance_step(doc, parts, &now, told));
        ((Move *)plan->moves->pdata[0])->state = MOVE_PARKED;
        parts[1].rested = FALSE;
        maintenance_step(doc, parts, &now, told);
        g_assert_cmpint(maintenance_phase(doc), ==, MAINTENANCE_PREPARING);
        parts[1].rested = TRUE;
        g_assert_true(maintenance_step(doc, parts, &now, told));
        g_assert_cmpint(maintenance_phase(doc), ==, MAINTENANCE_READY);
        g_assert_cmpuint(told->len, ==, 3);
        g_assert_nonnull(strstr(((const Event *)told->pdata[2])->text, "(all of it, 1 scenario)"));
    }
}

/* A guest that hears nobody is found before others are shut down; one that is off is not asked. */
static void test_stands_still(void)
{
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){0});
    const RosterHost *alpha = roster_find(d->w->roster, "alpha");
    ProtectionVm *web1 = d->w->p->vms->pdata[0];
    json_auto_t *paused = NULL, *off = NULL;
    g_autoptr(GError) error = NULL;

    web1->life.state = GUEST_LIFE_OFF;
    web1->life.paused = TRUE;
    g_free(web1->life.why);
    web1->life.why = g_strdup("it is paused");
    paused = maintenance_preview(alpha, d->protections, &(MaintenanceWish){0});
    g_assert_false(maintenance_may_begin(paused, &error));
    g_assert_nonnull(
        strstr(error->message, "'web1' cannot be shut down, since it is paused: resume it first"));
    web1->life.paused = FALSE;
    off = maintenance_preview(alpha, d->protections, &(MaintenanceWish){0});
    g_assert_true(maintenance_may_begin(off, NULL));
}

static void test_preview(void)
{
    g_autoptr(Desk) d = desk_new("alpha", &(MaintenanceWish){0});
    const RosterHost *alpha = roster_find(d->w->roster, "alpha"), *beta = roster_find(d->w->roster, "beta");
    json_auto_t *good = maintenance_preview(alpha, d->protections, &(MaintenanceWish){0});
    g_autoptr(GError) error = NULL;
    json_auto_t *busy = NULL;

    g_assert_true(maintenance_may_begin(good, &error));
    roster_maintain(d->w->roster, "alpha", d->doc);
    busy = maintenance_preview(beta, d->protections, &(MaintenanceWish){0});
    g_assert_false(maintenance_may_begin(busy, &error));
    g_assert_error(error, US_ERROR, US_ERROR_REFUSED);
    g_assert_nonnull(strstr(error->message, "alpha is in maintenance"));
}

static void test_unsound(void)
{
    static const char *const ODD[] = {
        "{}", "[]", "{\"id\":\"x\"}",
        "{\"id\":\"x\",\"host\":\"a\",\"state\":\"over\",\"since\":\"t\",\"until_finish\":false,"
        "\"finish\":false,\"scenarios\":[]}",
        "{\"id\":\"x\",\"host\":\"a\",\"state\":\"ready\",\"since\":\"t\",\"until_finish\":false,"
        "\"finish\":false,\"scenarios\":[{\"scenario\":\"web\",\"plan\":\"no id\",\"begun\":false,"
        "\"ready\":false,\"vms\":[]}]}"};

    for (guint i = 0; i < G_N_ELEMENTS(ODD); i++) {
        json_auto_t *doc = json_loads(ODD[i], 0, NULL);

        g_assert_nonnull(doc);
        g_assert_false(maintenance_check(doc, NULL));
    }
    g_assert_true(maintenance_check(NULL, NULL));
    g_assert_false(maintenance_runs(NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/maintenance/master", test_master);
    g_test_add_func("/maintenance/replica", test_replica);
    g_test_add_func("/maintenance/until_finish", test_until_finish);
    g_test_add_func("/maintenance/never_whole", test_never_whole);
    g_test_add_func("/maintenance/late", test_late);
    g_test_add_func("/maintenance/plan_is_lost", test_plan_is_lost);
    g_test_add_func("/maintenance/no_switchover_to_it", test_no_switchover_to_it);
    g_test_add_func("/maintenance/failed", test_failed);
    g_test_add_func("/maintenance/never_begun", test_never_begun);
    g_test_add_func("/maintenance/booted_too_early", test_booted_too_early);
    g_test_add_func("/maintenance/move", test_move);
    g_test_add_func("/maintenance/not_moved_any_more", test_not_moved_any_more);
    g_test_add_func("/maintenance/stays_away", test_stays_away);
    g_test_add_func("/maintenance/rolling", test_rolling);
    g_test_add_func("/maintenance/both_parts", test_both_parts);
    g_test_add_func("/maintenance/stands_still", test_stands_still);
    g_test_add_func("/maintenance/preview", test_preview);
    g_test_add_func("/maintenance/unsound", test_unsound);
    return g_test_run();
}
