/* SPDX-License-Identifier: Apache-2.0 */
/* lease_renewals - an active of many VMs and its two voters, renewed as in two hosts' engines and a controller.
 *
 *   lease_renewals VMS COUNTDOWN_MS SECONDS
 *
 * The lists are written, read and answered as they travel (renewal.h), the voters keep their promises in files. What is measured is the
 * processor time of all three together; the links between them are not part of it. Prints
 * {"frames", "periods", "renewals", "cpu_ms", "real_ms", "held"}: lists that were sent to the standby, and how many VMs hold a lease. */
#include "orchestrator/votes/leases.h"
#include "vmconnect/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static const Id STANDBY = {{0xb2}}, CONTROLLER = {{0xc3}};

typedef struct {
    uv_loop_t loop;
    uv_timer_t end;
    Clerk *clerk;
    Voters *active, *standby, *controller;
    Leases *leases;
    gboolean measures;
    guint frames, renewals;
} Bench;

typedef struct {
    Bench *b;
    Id voter;
} Asked;

static gboolean look(void *user, Id vm, VoterSight *ret_sight)
{
    (void)user;
    (void)vm;
    (void)ret_sight;
    return TRUE;
}

static void on_renewed(void *user, const GArray *answers, const GError *error)
{
    g_autofree Asked *a = user;
    json_auto_t *sent = error ? NULL : renewal_answers_to_json(answers);
    g_autofree char *text = sent ? json_dumps(sent, JSON_COMPACT) : NULL;
    json_auto_t *got = text ? json_loads(text, 0, NULL) : NULL;
    g_autoptr(GArray) list = got ? renewal_answers_from_json(got, NULL) : NULL;

    g_assert(list);
    if (a->b->leases)
        leases_hear(a->b->leases, a->voter, list);
}

static void on_ask(void *user, Id voter, const GArray *renewals)
{
    Bench *b = user;
    Asked *a = g_new0(Asked, 1);
    json_auto_t *sent = renewals_to_json(renewals);
    g_autofree char *text = json_dumps(sent, JSON_COMPACT);
    json_auto_t *got = json_loads(text, 0, NULL);
    g_autoptr(GArray) list = renewals_from_json(got, NULL);
    gboolean standby = id_equal(voter, STANDBY);

    g_assert(list);
    if (b->measures && standby) {
        b->frames++;
        b->renewals += list->len;
    }
    *a = (Asked){b, voter};
    voters_renew(standby ? b->standby : b->controller, list, look, on_renewed, a);
}

static void on_until(void *user, Id vm, const LeaseUntil *until)
{
    (void)user;
    (void)vm;
    (void)until;
}

static Id vm_of(guint i)
{
    Id id = {{0x77}};

    id.bytes[14] = (guint8)(i >> 8);
    id.bytes[15] = (guint8)i;
    return id;
}

static Voters *voters_in(Bench *b, const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);

    return voters_new(b->clerk, path);
}

static void on_end(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void run_for(Bench *b, gint64 ms)
{
    uv_timer_start(&b->end, on_end, (guint64)ms, 0);
    uv_run(&b->loop, UV_RUN_DEFAULT);
}

static gint64 cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000LL + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

int main(int argc, char **argv)
{
    static const LeasesEvents EVENTS = {on_ask, on_until};
    const Id voters[] = {STANDBY, CONTROLLER};
    const Reign reign = {1, {{1}}};
    g_autofree char *folder = g_dir_make_tmp("lease-renewals-XXXXXX", NULL);
    Bench b = {0};
    LeaseTimes times;
    gint64 cpu, real_ms;
    guint vms, held = 0;
    int seconds;

    if (argc != 4 || !lease_times(atoi(argv[2]), &times, NULL)) {
        fprintf(stderr, "usage: lease_renewals VMS COUNTDOWN_MS SECONDS\n");
        return 2;
    }
    vms = (guint)atoi(argv[1]);
    seconds = atoi(argv[3]);
    uv_loop_init(&b.loop);
    uv_timer_init(&b.loop, &b.end);
    b.clerk = clerk_new(&b.loop);
    b.active = voters_in(&b, folder, "active");
    b.standby = voters_in(&b, folder, "standby");
    b.controller = voters_in(&b, folder, "controller");
    b.leases = leases_new(&b.loop, b.active, &EVENTS, &b);
    for (guint i = 0; i < vms; i++) {
        voters_speak(b.standby, vm_of(i), reign, 0, times.grant_ms, 1);
        voters_speak(b.controller, vm_of(i), reign, 0, times.grant_ms, 1);
        leases_hold(b.leases, vm_of(i), reign, voters, 2, &times, FALSE);
        leases_arm(b.leases, vm_of(i), TRUE);
    }
    run_for(&b, 2 * times.renew_ms);
    b.measures = TRUE;
    cpu = cpu_us();
    real_ms = clock_steady_ms();
    run_for(&b, (gint64)seconds * 1000);
    cpu = cpu_us() - cpu;
    real_ms = clock_steady_ms() - real_ms;
    for (guint i = 0; i < vms; i++) {
        LeaseUntil until;

        held += leases_until(b.leases, vm_of(i), &until) && until.may_start && until.enforced;
    }
    printf("{\"frames\": %u, \"renewals\": %u, \"renew_ms\": %d, \"cpu_ms\": %.1f, \"real_ms\": %d, "
           "\"held\": %u}\n",
           b.frames, b.renewals, (int)times.renew_ms, (double)cpu / 1000, (int)real_ms, held);
    leases_close(b.leases);
    b.leases = NULL;
    clerk_close(b.clerk);
    uv_close((uv_handle_t *)&b.end, NULL);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    voters_free(b.active);
    voters_free(b.standby);
    voters_free(b.controller);
    return 0;
}
